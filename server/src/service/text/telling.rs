//! A generation as its numbered events, without any reader: `started` first, exactly one end.

use std::{
    borrow::Cow,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use mediary_domain::{Error, Kind};
use mediary_proto::v1::{
    Failed, FinishReason, Finished, Notice, Restarted, Started, TextEvent,
    text_event::Kind as Event,
};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Accepted, events};
use crate::{
    routing::{Outcome, Step},
    service::layers,
};

/// What can end a generation from outside.
pub struct Limits {
    pub deadline: Option<Instant>,
    /// The server ends.
    pub closing: CancellationToken,
    /// The caller asked for the end.
    pub stopping: CancellationToken,
}

pin_project! {
    /// The limits, to wait for: made once a generation, not once a token.
    struct Stops {
        #[pin]
        late: Sleep,
        #[pin]
        closing: WaitForCancellationFutureOwned,
        #[pin]
        stopping: WaitForCancellationFutureOwned,
    }
}

enum Stop {
    Late,
    Closing,
    Asked,
}

impl Stops {
    fn of(limits: Limits) -> Self {
        /// Longer than any method's deadline.
        const NEVER: Duration = Duration::from_secs(86_400 * 365);
        Self {
            late: match limits.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()),
                None => tokio::time::sleep(NEVER),
            },
            closing: limits.closing.cancelled_owned(),
            stopping: limits.stopping.cancelled_owned(),
        }
    }
}

impl Future for Stops {
    type Output = Stop;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Stop> {
        let this = self.project();
        if this.late.poll(task).is_ready() {
            Poll::Ready(Stop::Late)
        } else if this.closing.poll(task).is_ready() {
            Poll::Ready(Stop::Closing)
        } else {
            this.stopping.poll(task).map(|()| Stop::Asked)
        }
    }
}

/// Tells a generation event by event. Dropping it closes the connection to the provider.
pub struct Telling {
    accepted: Accepted,
    stops: Pin<Box<Stops>>,
    sequence: i64,
    failure: Option<Error>,
    is_over: bool,
}

impl Telling {
    pub fn new(accepted: Accepted, limits: Limits) -> Self {
        let stops = Box::pin(Stops::of(limits));
        Self { accepted, stops, sequence: 0, failure: None, is_over: false }
    }

    /// Why it failed, once `failed` was told.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// What it has used and cost up to now.
    pub fn outcome(&self) -> Cow<'_, Outcome> {
        self.accepted.run.outcome()
    }

    /// The next event; `None` after the last. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Option<TextEvent> {
        if self.is_over {
            return None;
        }
        if self.sequence == 0 {
            let started = self.started();
            return Some(self.tell(started));
        }
        loop {
            let Accepted { run, include_reasoning, .. } = &mut self.accepted;
            let step = tokio::select! {
                biased;
                step = run.next() => step,
                stop = &mut self.stops => match stop {
                    Stop::Late => {
                        let error = layers::deadline_exceeded(run.elapsed());
                        Some(Step::Failed(run.stop(error)))
                    }
                    Stop::Closing => Some(Step::Failed(run.stop(events::shutting_down()))),
                    Stop::Asked => {
                        run.stop(Error::new(Kind::Cancelled, "the caller stopped it"));
                        let mut end = events::finished(&run.outcome(), run.elapsed(), String::new());
                        end.set_finish_reason(FinishReason::Cancelled);
                        return Some(self.end(Event::Finished(end)));
                    }
                }
            };
            return Some(match step {
                Some(Step::Piece(piece)) => match events::piece(piece, *include_reasoning) {
                    Some(event) => self.tell(event),
                    None => continue,
                },
                Some(Step::Fallback { failure, next, warnings }) => {
                    self.tell(Event::Notice(Notice {
                        kind: "fallback".to_owned(),
                        detail: events::fallback_detail(&failure, &next, &warnings),
                        retry_time: None,
                        model: next,
                    }))
                }
                Some(Step::Restarted { failure, next, warnings }) => {
                    self.tell(Event::Restarted(Restarted {
                        reason: events::fallback_detail(&failure, &next, &warnings),
                        model: next,
                        discard_from_part_index: 0,
                    }))
                }
                Some(Step::Chosen { model, reason, warnings }) => {
                    self.tell(Event::Notice(Notice {
                        kind: "chosen".to_owned(),
                        detail: events::choice_detail(&model, &reason, &warnings),
                        retry_time: None,
                        model,
                    }))
                }
                Some(Step::Warned(warning)) => self.tell(Event::Notice(Notice {
                    kind: warning.code.to_owned(),
                    detail: warning.detail,
                    ..Notice::default()
                })),
                Some(Step::Finished { reason, native }) => {
                    let mut end = events::finished(&run.outcome(), run.elapsed(), native);
                    end.set_finish_reason(events::finish_reason(reason));
                    self.end(Event::Finished(end))
                }
                Some(Step::Failed(failure)) => self.fail(failure),
                None => self.fail(Error::bug("an answer ended without its end")),
            });
        }
    }

    fn started(&mut self) -> Event {
        let Accepted { generation, model, provider, warnings, resumable_until, .. } =
            &mut self.accepted;
        Event::Started(Started {
            generation: format!("generations/{generation}"),
            model: std::mem::take(model),
            provider: std::mem::take(provider),
            resumable_until_time: resumable_until.map(Into::into),
            warnings: std::mem::take(warnings).into_iter().map(events::warning).collect(),
        })
    }

    fn fail(&mut self, failure: Error) -> TextEvent {
        let failed: Failed = events::failed(&self.accepted.run.outcome(), &failure);
        self.failure = Some(failure);
        self.end(Event::Failed(failed))
    }

    fn end(&mut self, end: Event) -> TextEvent {
        self.is_over = true;
        self.tell(end)
    }

    fn tell(&mut self, kind: Event) -> TextEvent {
        self.sequence += 1;
        TextEvent { sequence: self.sequence, kind: Some(kind) }
    }
}

/// Whether nothing follows it.
pub fn is_terminal(event: &TextEvent) -> bool {
    matches!(event.kind, Some(Event::Finished(Finished { .. }) | Event::Failed(Failed { .. })))
}
