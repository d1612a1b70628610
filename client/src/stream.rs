//! A text answer as it is written.
//!
//! Owns: reading events, the idle limit, how a stream may end, and coming back to a resumable one
//! whose connection was lost. Leaves: what an event may be (`sequence`), putting the answer
//! together (`Answer`).
//! Invariant: the stream ends without an error only after `finished`.

pub(crate) mod comparison;
mod sequence;
#[cfg(test)]
mod tests;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{
    FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream::BoxStream,
};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use self::sequence::{Sequence, Verdict};
use crate::{Answer, Error, Result, v1};

/// How long the closing status is waited for once the answer is complete.
const CLOSING: Duration = Duration::from_secs(1);
/// How often a lost stream is come back to before an event arrives again.
const COMEBACKS: u32 = 6;
/// Before the second comeback; doubled for each further one. The first is at once.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Events as they arrive; `None` inside = a message without one.
pub(crate) type Events = BoxStream<'static, std::result::Result<Option<v1::TextEvent>, Status>>;
/// Asks for the events of a generation that follow a sequence.
pub(crate) type Resume = Box<dyn Fn(String, i64) -> BoxFuture<'static, Result<Events>> + Send>;

/// How a lost stream is come back to.
struct Comeback {
    resume: Resume,
    /// Known once `started` has told that it is resumable.
    generation: Option<String>,
    tries: u32,
}

/// Events of one answer. Ends after `finished`; after `failed` the typed error follows; a stream
/// that closes before either ends with [`Error::Truncated`]. Dropping it stops the answer.
#[must_use = "a stream that is dropped stops the answer"]
pub struct TextStream {
    events: Events,
    comeback: Option<Comeback>,
    sequence: Sequence,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    state: State,
}

enum State {
    Reading,
    /// The connection was lost; this brings the rest.
    Resuming(BoxFuture<'static, Result<Events>>),
    /// `failed` was delivered; this follows.
    Failing(Error),
    /// `finished` was delivered; only the status is still out.
    Closing,
    Done,
}

impl TextStream {
    /// Reads the events of any stream RPC. Call it inside a Tokio runtime.
    pub(crate) fn new(
        events: impl Stream<Item = std::result::Result<Option<v1::TextEvent>, Status>> + Send + 'static,
        idle: Duration,
    ) -> Self {
        Self {
            events: events.boxed(),
            comeback: None,
            sequence: Sequence::default(),
            idle,
            timer: Box::pin(sleep(idle)),
            state: State::Reading,
        }
    }

    /// Expects the events after `sequence` instead of all.
    pub(crate) fn after(mut self, sequence: i64) -> Self {
        self.sequence = Sequence::after(sequence);
        self
    }

    /// Comes back by itself when the connection of a resumable stream is lost.
    pub(crate) fn resuming(mut self, resume: Resume) -> Self {
        self.comeback = Some(Comeback { resume, generation: None, tries: 0 });
        self
    }

    /// Sequence of the last event that arrived.
    pub fn last_sequence(&self) -> i64 {
        self.sequence.last()
    }

    /// Events of a kind that this client does not know; they were counted and left out.
    pub fn unknown_events(&self) -> u64 {
        self.sequence.unknown()
    }

    /// Reads to the end and puts the answer together.
    pub async fn answer(mut self) -> Result<Answer> {
        let mut answer = Answer::default();
        while let Some(event) = self.try_next().await? {
            answer.add(&event);
        }
        Ok(answer)
    }

    fn take(&mut self, event: Option<v1::TextEvent>) -> Option<Result<v1::TextEvent>> {
        self.wait(self.idle);
        let Some(event) = event else {
            return self.end(Error::protocol("a message of the stream holds no event"));
        };
        if let Some(comeback) = &mut self.comeback {
            comeback.tries = 0;
            if let Some(v1::text_event::Kind::Started(started)) = &event.kind
                && started.resumable_until_time.is_some()
            {
                comeback.generation = Some(started.generation.clone());
            }
        }
        match self.sequence.admit(&event) {
            Verdict::Skip => return None,
            Verdict::Deliver => {}
            Verdict::Broken(error) => return self.end(error),
            Verdict::Failed(error) => self.state = State::Failing(error),
            Verdict::Finished => {
                self.state = State::Closing;
                self.wait(CLOSING);
            }
        }
        Some(Ok(event))
    }

    /// The connection is over, and no terminal event came.
    fn closed(&mut self, status: Option<Status>) -> Option<Result<v1::TextEvent>> {
        let cause = status.map(Error::from);
        match cause {
            // A refusal before the stream began is a plain status with a reason.
            Some(refusal) if self.sequence.last() == 0 && !refusal.reason().is_empty() => {
                self.end(refusal)
            }
            cause => self.lost(cause),
        }
    }

    /// The rest is fetched where it can be; else what arrived is not a whole answer.
    fn lost(&mut self, cause: Option<Error>) -> Option<Result<v1::TextEvent>> {
        let last = self.sequence.last();
        let helps = cause.as_ref().is_none_or(may_come_back);
        let Some(Comeback { resume, generation: Some(generation), tries }) = &mut self.comeback
        else {
            return self.end(Error::truncated(last, cause));
        };
        if !helps || *tries >= COMEBACKS {
            return self.end(Error::truncated(last, cause));
        }
        let wait = if *tries == 0 { Duration::ZERO } else { BACK_OFF * 2_u32.pow(*tries - 1) };
        *tries += 1;
        let resumed = resume(generation.clone(), last);
        self.state = State::Resuming(
            async move {
                sleep(wait).await;
                resumed.await
            }
            .boxed(),
        );
        None
    }

    fn end(&mut self, error: Error) -> Option<Result<v1::TextEvent>> {
        self.finish();
        Some(Err(error))
    }

    /// Lets go of the connection.
    fn finish(&mut self) {
        self.state = State::Done;
        self.events = futures::stream::empty().boxed();
    }

    fn wait(&mut self, limit: Duration) {
        self.timer.as_mut().set(sleep(limit));
    }
}

impl Stream for TextStream {
    type Item = Result<v1::TextEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Failing(error) => return Poll::Ready(this.end(error)),
                State::Resuming(mut resumed) => {
                    let Poll::Ready(resumed) = resumed.poll_unpin(cx) else {
                        this.state = State::Resuming(resumed);
                        return Poll::Pending;
                    };
                    this.state = State::Reading;
                    match resumed {
                        Ok(events) => {
                            this.events = events;
                            this.wait(this.idle);
                        }
                        Err(error) => {
                            if let Some(end) = this.lost(Some(error)) {
                                return Poll::Ready(Some(end));
                            }
                        }
                    }
                    continue;
                }
                state => this.state = state,
            }
            let next = match this.events.poll_next_unpin(cx) {
                Poll::Ready(next) => Some(next),
                Poll::Pending => {
                    ready!(this.timer.as_mut().poll(cx));
                    None
                }
            };
            if let State::Closing = this.state {
                this.finish();
                continue;
            }
            let delivered = match next {
                Some(Some(Ok(event))) => this.take(event),
                Some(Some(Err(status))) => this.closed(Some(status)),
                Some(None) => this.closed(None),
                None => {
                    let silence = this.idle.as_secs_f64();
                    let timeout = Error::timeout(format!("the stream was silent for {silence} s"));
                    if this.comeback.is_some() { this.lost(None) } else { this.end(timeout) }
                }
            };
            if delivered.is_some() {
                return Poll::Ready(delivered);
            }
        }
    }
}

/// Whether another connection may bring what this one did not.
fn may_come_back(cause: &Error) -> bool {
    match cause {
        Error::Unreachable(_) | Error::Unavailable { .. } => true,
        // A connection that breaks shows as one of these, without a reason.
        Error::Internal(_) | Error::Cancelled(_) => cause.reason().is_empty(),
        _ => cause.reason() == "CLIENT_TOO_SLOW",
    }
}

impl std::fmt::Debug for TextStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextStream").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
