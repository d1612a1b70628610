//! Whole answers that can be asked for again: the same request with the same id gets the answer
//! of the first and pays nothing.
//!
//! Who comes while the first still waits, waits with it and hears the same, be it a failure. Only
//! answers are kept. When the first is dropped, those who wait begin anew, one for all.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mediary_domain::{Error, Kind, Result};
use mediary_proto::v1::GenerateTextResponse;
use prost::Message as _;
use tokio::sync::watch;

use crate::clock::Clock;

/// How long an answer is kept.
const RETENTION: Duration = Duration::from_secs(600);
/// Bytes of all answers that are kept; the oldest go first.
const KEPT_BYTES: usize = 32 << 20;

type Outcome = Result<Arc<GenerateTextResponse>>;

/// Whose request it is, and its id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub owner: Arc<str>,
    pub request_id: String,
}

#[derive(Clone)]
pub struct Repeats(Arc<Inner>);

struct Inner {
    clock: Clock,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    known: HashMap<Key, Known>,
    /// Answers that are kept, oldest first, with when they came and how long they are.
    kept: VecDeque<(Key, Instant, usize)>,
    kept_bytes: usize,
}

struct Known {
    /// Of the request without its id.
    fingerprint: Vec<u8>,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// Who asks.
pub enum Turn {
    /// Somebody asked before; this is what came of it.
    Again(Arc<GenerateTextResponse>),
    /// Nobody did: tell it what comes.
    First(Pen),
}

impl Repeats {
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { clock, books: Mutex::default() }))
    }

    /// Waits while the same request is being answered.
    pub async fn turn(&self, key: Key, fingerprint: Vec<u8>) -> Result<Turn> {
        loop {
            let mut outcome = match self.look(&key, &fingerprint)? {
                Ok(outcome) => outcome,
                Err(pen) => return Ok(Turn::First(pen)),
            };
            let told = outcome.wait_for(Option::is_some).await;
            if let Ok(Some(outcome)) = told.map(|outcome| outcome.clone()) {
                return outcome.map(Turn::Again);
            }
            // The first was dropped.
        }
    }

    fn look(
        &self,
        key: &Key,
        fingerprint: &[u8],
    ) -> Result<std::result::Result<watch::Receiver<Option<Outcome>>, Pen>> {
        let mut books = self.books();
        books.expire(self.0.clock.now());
        match books.known.get(key) {
            Some(known) if known.fingerprint == fingerprint => Ok(Ok(known.outcome.clone())),
            Some(_) => Err(Error::new(
                Kind::RequestIdReused,
                "this request_id was used for another request: make a new one",
            )
            .violation("request_id", "was used for another request within 10 minutes")),
            None => {
                let (told, outcome) = watch::channel(None);
                let known = Known { fingerprint: fingerprint.to_vec(), outcome };
                books.known.insert(key.clone(), known);
                Ok(Err(Pen { repeats: self.clone(), key: key.clone(), told, is_kept: false }))
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A poisoned lock guards plain data that is whole between any two statements.
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn keep(&mut self, key: Key, now: Instant, bytes: usize) {
        self.kept.push_back((key, now, bytes));
        self.kept_bytes += bytes;
        while self.kept_bytes > KEPT_BYTES {
            self.forget_oldest();
        }
    }

    fn expire(&mut self, now: Instant) {
        while self
            .kept
            .front()
            .is_some_and(|(_, since, _)| now.saturating_duration_since(*since) >= RETENTION)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((key, _, bytes)) = self.kept.pop_front() {
            self.kept_bytes -= bytes;
            self.known.remove(&key);
        }
    }
}

/// What the first writes its outcome with. Dropped before, it leaves nothing behind.
pub struct Pen {
    repeats: Repeats,
    key: Key,
    told: watch::Sender<Option<Outcome>>,
    is_kept: bool,
}

impl Pen {
    pub fn write(mut self, outcome: &Result<GenerateTextResponse>) {
        let outcome = outcome.as_ref().map_err(Error::clone);
        if let Ok(answer) = outcome {
            self.is_kept = true;
            let now = self.repeats.0.clock.now();
            self.repeats.books().keep(self.key.clone(), now, answer.encoded_len());
        }
        self.told.send_replace(Some(outcome.map(|answer| Arc::new(answer.clone()))));
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        if !self.is_kept {
            self.repeats.books().known.remove(&self.key);
        }
    }
}
