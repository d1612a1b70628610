//! Which event may come next.
//!
//! Source: the rules of `TextEvent` in `mediary/v1/text.proto`. Knows nothing of connections.

use crate::{
    Error,
    v1::{TextEvent, text_event::Kind},
};

/// What an event means for its stream.
pub(super) enum Verdict {
    Deliver,
    /// A kind that this client does not know: counted, not delivered.
    Skip,
    /// Terminal: the answer is complete.
    Finished,
    /// Terminal: the answer failed for this reason.
    Failed(Error),
    /// The event is not the one that was due.
    Broken(Error),
}

/// How far a stream has come.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    last: i64,
    unknown: u64,
}

impl Sequence {
    pub(super) fn after(last: i64) -> Self {
        Self { last, unknown: 0 }
    }

    pub(super) fn last(&self) -> i64 {
        self.last
    }

    pub(super) fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Judges the next event. One more than the last is due; a heartbeat repeats the last. So the
    /// sequence of `finished` is the number of events, and a lost one cannot go unseen.
    pub(super) fn admit(&mut self, event: &TextEvent) -> Verdict {
        let is_beat = matches!(event.kind, Some(Kind::Heartbeat(_)));
        if let Err(error) = self.count(event.sequence, is_beat) {
            return Verdict::Broken(error);
        }
        match &event.kind {
            None => {
                self.unknown += 1;
                Verdict::Skip
            }
            Some(Kind::Finished(_)) => Verdict::Finished,
            Some(Kind::Failed(failed)) => {
                Verdict::Failed(Error::from(failed.status.clone().unwrap_or_default()))
            }
            Some(_) => Verdict::Deliver,
        }
    }

    /// The same for the number alone.
    pub(super) fn count(&mut self, sequence: i64, is_beat: bool) -> Result<(), Error> {
        let due = if is_beat { self.last } else { self.last.saturating_add(1) };
        if sequence != due {
            return Err(Error::protocol(format!("event {sequence} came where {due} was due")));
        }
        self.last = due;
        Ok(())
    }
}
