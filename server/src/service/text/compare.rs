//! CompareText: one conversation, several members at once, one stream of what they tell.
//!
//! Owns: whose turn it is, the numbers of the merged stream, and its one end. Leaves: what a member
//! tells, and when it stops (`telling`).
//! A member is asked for its next event only when the reader takes one, so a slow reader slows all
//! of them down and nothing piles up here.

use std::{
    borrow::Cow,
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use async_stream::stream;
use futures::Stream;
use mediary_domain::{Error, PicoUsd, Result, Retry, TokenUsage};
use mediary_proto::v1::{
    CompareEvent, CompareFailed, CompareFinished, CompareMemberEvent, CompareTextRequest,
    CompareTextResponse, TextEvent, compare_event::Kind, text_event::Kind as Event,
};
use tonic::{Request, Status, codegen::BoxStream};

use super::{
    TextApi, deadline, events,
    generation::{Driver, Known, Terms},
    parse::Asked,
    reading::Pulse,
    telling::is_terminal,
};
use crate::{
    access::Caller,
    error::{rpc_status, status},
    routing::Outcome,
    service::change,
};

/// One of those that are compared.
struct Member {
    teller: Teller,
    is_over: bool,
}

enum Teller {
    Accepted(Box<Driver>),
    /// It was never asked.
    Refused(Error),
}

impl Member {
    /// Its next event; `None` after the last. May be dropped and called again: nothing is lost.
    async fn next(&mut self) -> Option<TextEvent> {
        if self.is_over {
            return None;
        }
        let event = match &mut self.teller {
            Teller::Accepted(driver) => driver.next().await?,
            Teller::Refused(error) => TextEvent {
                sequence: 1,
                kind: Some(Event::Failed(events::failed(&Outcome::default(), error))),
            },
        };
        self.is_over = is_terminal(&event);
        Some(event)
    }

    /// Why it failed, once it has ended.
    fn failure(&self) -> Option<&Error> {
        match &self.teller {
            Teller::Accepted(driver) => driver.failure(),
            Teller::Refused(error) => Some(error),
        }
    }

    fn outcome(&self) -> Option<Cow<'_, Outcome>> {
        match &self.teller {
            Teller::Accepted(driver) => driver.outcome(),
            Teller::Refused(_) => None,
        }
    }
}

/// All members. Dropping them closes the connection to every provider.
struct Members {
    all: Vec<Member>,
    /// Who is looked at last.
    turn: usize,
}

impl Members {
    /// The next event of any, and whose it is; `None` once all have ended. They are looked at in
    /// turns, so that none waits for a quick one.
    async fn next(&mut self) -> Option<(usize, TextEvent)> {
        poll_fn(|cx| {
            let mut is_over = true;
            for _ in 0..self.all.len() {
                self.turn = (self.turn + 1) % self.all.len();
                match pin!(self.all[self.turn].next()).poll(cx) {
                    Poll::Ready(Some(event)) => return Poll::Ready(Some((self.turn, event))),
                    Poll::Ready(None) => {}
                    Poll::Pending => is_over = false,
                }
            }
            if is_over { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    fn usage(&self) -> Option<TokenUsage> {
        let outcomes = self.all.iter().filter_map(Member::outcome);
        outcomes.filter_map(|one| one.usage()).reduce(TokenUsage::plus)
    }

    fn cost(&self) -> PicoUsd {
        let outcomes = self.all.iter().filter_map(Member::outcome);
        outcomes.fold(PicoUsd::default(), |sum, outcome| sum + outcome.cost)
    }

    fn failures(&self) -> impl Iterator<Item = &Error> {
        self.all.iter().filter_map(Member::failure)
    }

    /// The end of the whole, once all have ended, and what it failed with.
    fn end(&self, pulse: &Pulse, begin: Instant) -> (Kind, Option<Error>) {
        let usage = self.usage().as_ref().map(events::usage);
        let cost_pico_usd = self.cost().0;
        let failed = self.failures().count();
        if failed == self.all.len()
            && let Some(failure) = worth_telling(self.failures())
        {
            let end = CompareFailed {
                status: Some(rpc_status(failure)),
                usage,
                cost_pico_usd,
                retryable: matches!(failure.retry(), Retry::Later(_)),
            };
            return (Kind::Failed(end), Some(failure.clone()));
        }
        let took = pulse.clock.now().saturating_duration_since(begin);
        let end = CompareFinished {
            usage,
            cost_pico_usd,
            finished_members: count(self.all.len() - failed),
            failed_members: count(failed),
            total_duration: events::duration(took),
        };
        (Kind::Finished(end), None)
    }
}

/// Of the failures of all members: the first that time cures, else the first.
fn worth_telling<'a>(mut failures: impl Iterator<Item = &'a Error>) -> Option<&'a Error> {
    let first = failures.next()?;
    let mut all = std::iter::once(first).chain(failures);
    Some(all.find(|one| matches!(one.retry(), Retry::Later(_))).unwrap_or(first))
}

fn count(members: usize) -> i32 {
    i32::try_from(members).unwrap_or(i32::MAX)
}

impl TextApi {
    pub(super) async fn compare(
        &self,
        request: Request<CompareTextRequest>,
    ) -> Result<BoxStream<CompareTextResponse>> {
        let (caller, deadline) = (change::caller(&request)?, deadline(&request));
        let asked = Asked::compare(request.into_inner(), &caller)?;
        let mut all = Vec::with_capacity(asked.len());
        for asked in asked {
            let teller = match self.member(asked, &caller, deadline).await {
                Ok(driver) => Teller::Accepted(Box::new(driver)),
                Err(error) => Teller::Refused(error),
            };
            all.push(Member { teller, is_over: false });
        }
        let members = Members { turn: all.len() - 1, all };
        if members.failures().count() == members.all.len()
            && let Some(error) = worth_telling(members.failures())
        {
            return Err(error.clone());
        }
        Ok(Box::pin(merged(self.pulse.clone(), members)))
    }

    /// A member is a generation like any other, so it can be stopped alone.
    async fn member(
        &self,
        asked: Asked,
        caller: &Caller,
        deadline: Option<Instant>,
    ) -> Result<Driver> {
        let id: Arc<str> = self.clock.resource_id('g').into();
        let terms = Terms {
            id: id.clone(),
            owner: caller.owner.clone(),
            grace: None,
            request_id: String::new(),
            request: Vec::new(),
        };
        let accepted = self.accept(asked, caller, id, true).await?;
        match self.generations.open(terms)? {
            Known::New(generation) => Ok(self.drive(generation, accepted, deadline)),
            Known::Same(_) => Err(Error::bug("a generation without a request id was known")),
        }
    }
}

fn merged(
    pulse: Pulse,
    mut members: Members,
) -> impl Stream<Item = Result<CompareTextResponse, Status>> + Send {
    let told = |sequence, kind| CompareTextResponse {
        event: Some(CompareEvent { sequence, kind: Some(kind) }),
    };
    stream! {
        let begin = pulse.clock.now();
        let (mut sequence, mut last) = (0, begin);
        let mut silence = pin!(tokio::time::sleep(pulse.heartbeat));
        loop {
            let next = tokio::select! {
                biased;
                next = members.next() => next,
                () = &mut silence => {
                    if pulse.is_silent(&mut last, silence.as_mut()) {
                        yield Ok(told(sequence, Kind::Heartbeat(pulse.heart())));
                    }
                    continue;
                }
            };
            let Some((member, event)) = next else { break };
            sequence += 1;
            last = pulse.clock.now();
            let member = CompareMemberEvent { member: count(member), event: Some(event) };
            yield Ok(told(sequence, Kind::Member(member)));
        }
        let (end, failure) = members.end(&pulse, begin);
        yield Ok(told(sequence + 1, end));
        if let Some(failure) = failure {
            yield Err(status(&failure));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mediary_domain::Kind as Failure;

    use super::*;

    #[test]
    fn of_several_failures_the_one_that_time_cures_is_told() {
        let never = Error::new(Failure::NotFound, "no such model");
        let later = Error::new(Failure::UpstreamRateLimited, "too many calls")
            .retry_after(Duration::from_secs(2));
        let told = |all: [&Error; 2]| worth_telling(all.into_iter()).unwrap().kind();
        assert_eq!(told([&never, &later]), Failure::UpstreamRateLimited);
        assert_eq!(told([&later, &never]), Failure::UpstreamRateLimited);
        assert_eq!(told([&never, &never]), Failure::NotFound);
        assert!(worth_telling(std::iter::empty()).is_none());
    }
}
