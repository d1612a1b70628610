//! What a reader of a stream gets: the events, a sign of life in silence, and the closing status.

use std::{
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use async_stream::stream;
use futures::Stream;
use mediary_domain::{Error, Kind};
use mediary_proto::v1::{Heartbeat, TextEvent, text_event::Kind as Event};
use tokio::time::Sleep;
use tonic::Status;

use super::generation::{Driver, Heard, Listening};
use crate::{clock::Clock, error::status, service::layers};

/// Keeps a silent stream alive.
#[derive(Clone)]
pub struct Pulse {
    pub clock: Clock,
    pub heartbeat: Duration,
}

impl Pulse {
    /// A generation as it is told. Dropping the stream stops it, unless it is kept.
    pub fn live(
        &self,
        mut driver: Driver,
    ) -> impl Stream<Item = Result<TextEvent, Status>> + Send + use<> {
        let pulse = self.clone();
        stream! {
            let (mut sequence, mut last) = (0, pulse.clock.now());
            let mut silence = pin!(tokio::time::sleep(pulse.heartbeat));
            loop {
                let event = tokio::select! {
                    biased;
                    event = driver.next() => event,
                    () = &mut silence => {
                        if pulse.is_silent(&mut last, silence.as_mut()) {
                            yield Ok(pulse.beat(sequence));
                        }
                        continue;
                    }
                };
                let Some(event) = event else { break };
                sequence = event.sequence;
                last = pulse.clock.now();
                yield Ok(event);
            }
            if let Some(failure) = driver.failure() {
                yield Err(status(failure));
            }
        }
    }

    /// A kept generation from its log: what lies behind `after`, then what comes. The reader's own
    /// deadline ends the reading and not the generation, so no event tells of it.
    pub fn replay(
        &self,
        listening: Listening,
        mut after: i64,
        deadline: Option<Instant>,
    ) -> impl Stream<Item = Result<TextEvent, Status>> + Send + use<> {
        let pulse = self.clone();
        stream! {
            let mut told = listening.follow();
            let begin = pulse.clock.now();
            let mut last = begin;
            let mut silence = pin!(tokio::time::sleep(pulse.heartbeat));
            let mut late = pin!(sleep_until(deadline));
            loop {
                match listening.hear(after) {
                    Heard::Events(events) => {
                        for event in events {
                            after = event.sequence;
                            last = pulse.clock.now();
                            yield Ok(event);
                        }
                    }
                    Heard::Over(failure) => {
                        if let Some(failure) = failure {
                            yield Err(status(&failure));
                        }
                        return;
                    }
                    Heard::Trimmed => {
                        yield Err(status(&Error::new(
                            Kind::ClientTooSlow,
                            "events were dropped before they were read: begin anew",
                        )));
                        return;
                    }
                    Heard::Waiting => tokio::select! {
                        biased;
                        _ = told.changed() => {}
                        () = &mut late => {
                            let waited = pulse.clock.now().saturating_duration_since(begin);
                            yield Err(status(&layers::deadline_exceeded(waited)));
                            return;
                        }
                        () = &mut silence => {
                            if pulse.is_silent(&mut last, silence.as_mut()) {
                                yield Ok(pulse.beat(after));
                            }
                        }
                    },
                }
            }
        }
    }

    /// Called when the alarm rings; sets it anew. It is set once a silence, not once a token.
    pub fn is_silent(&self, last: &mut Instant, mut alarm: Pin<&mut Sleep>) -> bool {
        let now = self.clock.now();
        let quiet = now.saturating_duration_since(*last);
        let rest = self.heartbeat.saturating_sub(quiet);
        let is_silent = rest.is_zero();
        if is_silent {
            *last = now;
        }
        alarm.set(tokio::time::sleep(if is_silent { self.heartbeat } else { rest }));
        is_silent
    }

    /// A heartbeat repeats the sequence of the event before it.
    fn beat(&self, sequence: i64) -> TextEvent {
        TextEvent { sequence, kind: Some(Event::Heartbeat(self.heart())) }
    }

    /// What a heartbeat tells.
    pub fn heart(&self) -> Heartbeat {
        Heartbeat { server_time: Some(self.clock.wall().into()) }
    }
}

/// Without a deadline: never.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
