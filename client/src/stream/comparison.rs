//! Several answers to one question as they are written.
//!
//! Owns: reading the events, the idle limit, and how the stream may end. Leaves: which event may
//! come next (`sequence`), putting the answers together (`Answer`).
//! Invariant: the stream ends without an error only after `finished`.

use std::{
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use tokio::time::timeout;
use tonic::Status;

use super::{
    CLOSING,
    sequence::{Sequence, Verdict},
};
use crate::{Answer, Error, Result, v1, v1::compare_event::Kind};

/// Events of one comparison, each of a member or of the whole. Ends after `finished`; after
/// `failed` the typed error follows; a stream that closes before either ends with
/// [`Error::Truncated`]. Dropping it stops every member.
#[must_use = "a comparison that is dropped stops its members"]
pub struct Comparison(BoxStream<'static, Result<v1::CompareEvent>>);

impl Comparison {
    /// Reads the events of the RPC. Call it inside a Tokio runtime.
    pub(crate) fn new(
        events: impl Stream<Item = std::result::Result<Option<v1::CompareEvent>, Status>>
        + Send
        + 'static,
        idle: Duration,
    ) -> Self {
        let reading = Reading {
            events: events.boxed(),
            idle,
            whole: Sequence::default(),
            members: BTreeMap::new(),
            end: End::Open,
        };
        Self(
            stream::unfold(reading, |mut reading| async {
                let next = reading.next().await?;
                Some((next, reading))
            })
            .boxed(),
        )
    }

    /// Reads to the end and puts the answers together, in the order of the members. A member that
    /// failed has its reason in [`Answer::failed`]; all of them failing is an error.
    pub async fn answers(mut self) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        while let Some(event) = self.try_next().await? {
            let Some(Kind::Member(v1::CompareMemberEvent { member, event: Some(event) })) =
                event.kind
            else {
                continue;
            };
            let at = usize::try_from(member).unwrap_or_default();
            if answers.len() <= at {
                answers.resize_with(at + 1, Answer::default);
            }
            answers[at].add(&event);
        }
        Ok(answers)
    }
}

impl Stream for Comparison {
    type Item = Result<v1::CompareEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Comparison").finish_non_exhaustive()
    }
}

struct Reading {
    events: BoxStream<'static, std::result::Result<Option<v1::CompareEvent>, Status>>,
    idle: Duration,
    whole: Sequence,
    members: BTreeMap<i32, Sequence>,
    end: End,
}

enum End {
    Open,
    /// `failed` was delivered; this follows.
    Failing(Error),
    /// `finished` was delivered; only the status is still out.
    Closing,
    Closed,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<v1::CompareEvent>> {
        loop {
            match std::mem::replace(&mut self.end, End::Closed) {
                End::Open => self.end = End::Open,
                End::Failing(error) => return self.close(Some(error)),
                End::Closing => {
                    let _ = timeout(CLOSING, self.events.next()).await;
                    return self.close(None);
                }
                End::Closed => return None,
            }
            let event = match timeout(self.idle, self.events.next()).await {
                Ok(Some(Ok(Some(event)))) => event,
                Ok(Some(Ok(None))) => {
                    let error = Error::protocol("a message of the stream holds no event");
                    return self.close(Some(error));
                }
                Ok(Some(Err(status))) => {
                    let cause = Error::from(status);
                    let is_refusal = self.whole.last() == 0 && !cause.reason().is_empty();
                    let lost = |cause| Error::truncated(self.whole.last(), Some(cause));
                    let error = if is_refusal { cause } else { lost(cause) };
                    return self.close(Some(error));
                }
                Ok(None) => return self.close(Some(Error::truncated(self.whole.last(), None))),
                Err(_) => {
                    let silence = self.idle.as_secs_f64();
                    let message = format!("the stream was silent for {silence} s");
                    return self.close(Some(Error::timeout(message)));
                }
            };
            match self.admit(&event) {
                Ok(true) => return Some(Ok(event)),
                Ok(false) => {}
                Err(error) => return self.close(Some(error)),
            }
        }
    }

    /// Whether the event is known; an error if it is not the one that was due.
    fn admit(&mut self, event: &v1::CompareEvent) -> Result<bool> {
        self.whole.count(event.sequence, matches!(event.kind, Some(Kind::Heartbeat(_))))?;
        match &event.kind {
            Some(Kind::Member(v1::CompareMemberEvent { member, event: Some(event) })) => {
                let known = self.members.entry(*member).or_default();
                return match known.admit(event) {
                    Verdict::Broken(error) => Err(error),
                    Verdict::Skip => Ok(false),
                    // How a member ends is told by its event.
                    Verdict::Deliver | Verdict::Finished | Verdict::Failed(_) => Ok(true),
                };
            }
            Some(Kind::Member(_)) => {
                return Err(Error::protocol("an event of a member holds no event"));
            }
            Some(Kind::Finished(_)) => self.end = End::Closing,
            Some(Kind::Failed(failed)) => {
                self.end = End::Failing(Error::from(failed.status.clone().unwrap_or_default()));
            }
            Some(Kind::Heartbeat(_)) => {}
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Lets go of the connection.
    fn close(&mut self, error: Option<Error>) -> Option<Result<v1::CompareEvent>> {
        self.end = End::Closed;
        self.events = stream::empty().boxed();
        error.map(Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::text_event;

    type Reply = std::result::Result<Option<v1::CompareEvent>, Status>;

    fn event(sequence: i64, kind: Kind) -> Reply {
        Ok(Some(v1::CompareEvent { sequence, kind: Some(kind) }))
    }

    fn of(member: i32, sequence: i64, kind: text_event::Kind) -> Kind {
        let event = Some(v1::TextEvent { sequence, kind: Some(kind) });
        Kind::Member(v1::CompareMemberEvent { member, event })
    }

    fn started() -> text_event::Kind {
        text_event::Kind::Started(v1::Started::default())
    }

    fn text(text: &str) -> text_event::Kind {
        text_event::Kind::TextDelta(v1::TextDelta { part_index: 0, text: text.into() })
    }

    fn ended() -> text_event::Kind {
        text_event::Kind::Finished(v1::Finished::default())
    }

    fn whole() -> Vec<Reply> {
        vec![
            event(1, of(1, 1, started())),
            event(2, of(0, 1, started())),
            event(3, of(1, 2, text("one"))),
            event(3, Kind::Heartbeat(v1::Heartbeat::default())),
            event(4, of(0, 2, text("nought"))),
            event(5, of(1, 3, ended())),
            event(6, of(0, 3, ended())),
            event(7, Kind::Finished(v1::CompareFinished::default())),
        ]
    }

    async fn read(script: Vec<Reply>) -> Result<Vec<Answer>> {
        Comparison::new(stream::iter(script), Duration::from_secs(120)).answers().await
    }

    #[tokio::test]
    async fn each_members_answer_is_put_together_apart() {
        let answers = read(whole()).await.expect("a whole comparison");
        let texts: Vec<_> = answers.iter().map(Answer::text).collect();
        assert_eq!(texts, ["nought", "one"]);
        assert!(answers.iter().all(Answer::is_complete));
    }

    #[tokio::test]
    async fn a_comparison_cut_anywhere_is_truncated() {
        for kept in 0..whole().len() {
            let mut script = whole();
            script.truncate(kept);
            let end = read(script).await.expect_err("a cut");
            assert!(matches!(end, Error::Truncated { .. }), "{kept}: {end:?}");
        }
    }

    #[tokio::test]
    async fn a_loss_is_seen_in_the_whole_and_within_a_member() {
        let mut gap = whole();
        drop(gap.remove(2));
        let mut within = whole();
        within[4] = event(4, of(0, 3, text("nought")));
        for script in [gap, within] {
            let end = read(script).await.expect_err("a loss");
            assert!(matches!(end, Error::Protocol(_)), "{end:?}");
        }
    }

    #[tokio::test]
    async fn what_is_unknown_is_counted_and_left_out() {
        let mut script = whole();
        script[3] = Ok(Some(v1::CompareEvent { sequence: 4, kind: None }));
        for (at, reply) in (4..).zip(&mut script[4..]) {
            let Ok(Some(event)) = reply else { continue };
            event.sequence = at + 1;
        }
        assert_eq!(read(script).await.expect("a whole comparison").len(), 2);
    }

    #[tokio::test]
    async fn the_failure_of_all_is_thrown() {
        let status =
            tonic_types::pb::Status { code: 14, message: "all fail".into(), details: vec![] };
        let failed = v1::CompareFailed { status: Some(status), ..Default::default() };
        let end = read(vec![event(1, Kind::Failed(failed))]).await.expect_err("a failure");
        assert!(matches!(end, Error::Unavailable { .. }) && end.message() == "all fail");
    }
}
