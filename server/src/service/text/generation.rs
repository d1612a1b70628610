//! Generations that run or are kept: what they told, who stops them, who may hear them again.
//!
//! A generation is driven by the stream that asked for it, with no task in between. When that
//! stream is lost, a resumable one goes on in a task of its own for its grace; any other stops.
//! Invariant: an event is in the log before any reader has it, so all readers hear the same.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use mediary_domain::{Error, Kind, Result};
use mediary_proto::v1::{self, GenerationState, TextEvent, text_event};
use prost::Message as _;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::telling::{Telling, is_terminal};
use crate::{access::Caller, clock::Clock, routing::Outcome};

/// Bytes of events that one generation keeps.
const LOG_BYTES: usize = 1 << 20;
/// Bytes that ended generations keep in all; the oldest go first.
const KEPT_BYTES: usize = 64 << 20;
/// How long an ended generation can be heard again.
pub const RETENTION: Duration = Duration::from_secs(600);

/// Every generation of this process by id.
#[derive(Clone)]
pub struct Generations(Arc<Inner>);

struct Inner {
    clock: Clock,
    books: Mutex<Books>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Books {
    by_id: HashMap<Arc<str>, Arc<Generation>>,
    by_request: HashMap<RequestKey, (Vec<u8>, Weak<Generation>)>,
    /// Ended ones that are kept, oldest first.
    ended: VecDeque<(Arc<str>, usize)>,
    kept_bytes: usize,
}

/// Owner and request id.
type RequestKey = (Arc<str>, String);

/// How a generation behaves when nobody listens.
pub struct Terms {
    pub id: Arc<str>,
    /// Who asked; what others asked for is not found by it.
    pub owner: Arc<str>,
    /// Goes on for this long without a listener; `None` = stops at once and keeps nothing.
    pub grace: Option<Duration>,
    /// The caller's request id and the bytes of its request; empty = none.
    pub request_id: String,
    pub request: Vec<u8>,
}

pub struct Generation {
    id: Arc<str>,
    grace: Option<Duration>,
    request: RequestKey,
    log: Mutex<Log>,
    /// Sequence of the last event.
    last: AtomicI64,
    /// Marked by what somebody may wait for: the end, and any event of a kept one.
    told: watch::Sender<()>,
    pub stopping: CancellationToken,
    listeners: AtomicUsize,
    /// When the last reader left; before that, when it began.
    left_at: Mutex<Instant>,
}

#[derive(Default)]
struct Log {
    /// Sequence of the first event that is kept.
    first: i64,
    events: VecDeque<TextEvent>,
    bytes: usize,
    end: Option<TextEvent>,
    failure: Option<Error>,
}

/// What a request id leads to.
pub enum Known {
    /// The same request runs or is kept.
    Same(Arc<Generation>),
    New(Arc<Generation>),
}

/// What a reader finds behind a sequence.
pub enum Heard {
    Events(Vec<TextEvent>),
    /// Nothing yet.
    Waiting,
    /// The end was heard; the failure it ended with.
    Over(Option<Error>),
    /// It was kept once, and is no more.
    Trimmed,
}

impl Generations {
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { clock, books: Mutex::default(), tasks: TaskTracker::new() }))
    }

    /// Opens the books for a generation, or finds the one that the same request began.
    pub fn open(&self, terms: Terms) -> Result<Known> {
        let key = (terms.owner, terms.request_id);
        let is_repeatable = !key.1.is_empty() && terms.grace.is_some();
        let mut books = self.books();
        if is_repeatable
            && let Some((request, known)) = books.by_request.get(&key)
            && let Some(known) = known.upgrade()
        {
            if *request == terms.request {
                return Ok(Known::Same(known));
            }
            return Err(Error::new(
                Kind::RequestIdReused,
                "this request_id was used for another request: make a new one",
            )
            .violation("request_id", "was used for another request within its retention"));
        }
        let generation = Arc::new(Generation {
            id: terms.id.clone(),
            grace: terms.grace,
            request: key.clone(),
            log: Mutex::new(Log { first: 1, ..Log::default() }),
            last: AtomicI64::new(0),
            told: watch::Sender::new(()),
            stopping: CancellationToken::new(),
            listeners: AtomicUsize::new(0),
            left_at: Mutex::new(self.0.clock.now()),
        });
        books.by_id.insert(terms.id, generation.clone());
        if is_repeatable {
            let known = (terms.request, Arc::downgrade(&generation));
            books.by_request.insert(key, known);
        }
        Ok(Known::New(generation))
    }

    /// The generation of that resource name. One that the caller may not see is as if there were
    /// none.
    pub fn find(&self, caller: &Caller, name: &str) -> Result<Arc<Generation>> {
        let id = name.strip_prefix("generations/").unwrap_or_default();
        let found = self.books().by_id.get(id).cloned();
        found.filter(|found| caller.sees(&found.request.0)).ok_or_else(|| expired(name))
    }

    /// Drives a generation for the stream that asked for it.
    pub fn drive(&self, generation: Arc<Generation>, telling: Telling) -> Driver {
        Driver {
            telling: Some(telling),
            listening: Some(self.listen(generation.clone())),
            generation,
            generations: self.clone(),
        }
    }

    /// Counts a reader of the log.
    pub fn listen(&self, generation: Arc<Generation>) -> Listening {
        Listening::to(generation, self.0.clock.clone())
    }

    fn ended(&self, generation: &Arc<Generation>) {
        let mut books = self.books();
        if generation.grace.is_none() {
            books.forget(&generation.id);
            return;
        }
        let bytes = generation.log().bytes;
        books.kept_bytes += bytes;
        books.ended.push_back((generation.id.clone(), bytes));
        while books.kept_bytes > KEPT_BYTES {
            let Some((oldest, bytes)) = books.ended.pop_front() else { break };
            books.kept_bytes -= bytes;
            books.forget(&oldest);
        }
        drop(books);
        let (generations, id) = (self.clone(), generation.id.clone());
        self.0.tasks.spawn(async move {
            tokio::time::sleep(RETENTION).await;
            generations.books().expire(&id);
        });
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A poisoned lock guards plain data that is whole between any two statements.
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn expire(&mut self, id: &str) {
        if let Some(at) = self.ended.iter().position(|(kept, _)| &**kept == id) {
            let bytes = self.ended.remove(at).map_or(0, |(_, bytes)| bytes);
            self.kept_bytes -= bytes;
            self.forget(id);
        }
    }

    fn forget(&mut self, id: &str) {
        if let Some(generation) = self.by_id.remove(id)
            && generation.is_kept()
        {
            self.by_request.remove(&generation.request);
        }
    }
}

pub fn expired(name: &str) -> Error {
    Error::new(Kind::StreamExpired, format!("{name} does not run and is not kept any more"))
}

impl Generation {
    pub fn name(&self) -> String {
        format!("generations/{}", self.id)
    }

    pub fn is_kept(&self) -> bool {
        self.grace.is_some()
    }

    /// What lies behind `after`.
    pub fn hear(&self, after: i64) -> Heard {
        let log = self.log();
        if after + 1 < log.first {
            return Heard::Trimmed;
        }
        let behind = usize::try_from(after + 1 - log.first).unwrap_or(usize::MAX);
        let events: Vec<_> = log.events.range(behind.min(log.events.len())..).cloned().collect();
        match (events.is_empty(), &log.end) {
            (false, _) => Heard::Events(events),
            (true, Some(_)) => Heard::Over(log.failure.clone()),
            (true, None) => Heard::Waiting,
        }
    }

    /// Follows a kept one; marked as changed by every event.
    pub fn follow(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    pub fn last_sequence(&self) -> i64 {
        self.last.load(Ordering::Acquire)
    }

    /// The contract's view of it.
    pub fn view(&self) -> v1::Generation {
        let log = self.log();
        let (state, usage, cost_pico_usd) = match log.end.as_ref().and_then(|end| end.kind.as_ref())
        {
            Some(text_event::Kind::Finished(end)) => {
                let is_stopped = end.finish_reason() == v1::FinishReason::Cancelled;
                let state =
                    if is_stopped { GenerationState::Cancelled } else { GenerationState::Finished };
                (state, end.usage.clone(), end.cost_pico_usd)
            }
            Some(text_event::Kind::Failed(end)) => {
                (GenerationState::Failed, end.usage.clone(), end.cost_pico_usd)
            }
            _ => (GenerationState::Running, None, 0),
        };
        v1::Generation {
            name: self.name(),
            state: state.into(),
            usage,
            cost_pico_usd,
            last_sequence: self.last_sequence(),
        }
    }

    fn append(&self, event: &TextEvent, failure: Option<&Error>) {
        let is_end = is_terminal(event);
        self.last.store(event.sequence, Ordering::Release);
        if self.is_kept() || is_end {
            let mut log = self.log();
            if self.is_kept() {
                log.bytes += event.encoded_len();
                log.events.push_back(event.clone());
                while log.bytes > LOG_BYTES && log.events.len() > 1 {
                    let oldest = log.events.pop_front();
                    log.bytes -= oldest.map_or(0, |event| event.encoded_len());
                    log.first += 1;
                }
            }
            if is_end {
                log.end = Some(event.clone());
                log.failure = failure.cloned();
            }
            drop(log);
            self.told.send_replace(());
        }
    }

    /// Waits for its end.
    async fn is_over(&self) {
        let mut told = self.follow();
        while self.log().end.is_none() && told.changed().await.is_ok() {}
    }

    fn left_at(&self) -> Instant {
        *self.left_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self, now: Instant) {
        *self.left_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Asks for its end, and waits for it no longer than `patience`.
    pub async fn stop(&self, patience: Duration) {
        self.stopping.cancel();
        // One that is slow to end is shown as it stands.
        let _ = tokio::time::timeout(patience, self.is_over()).await;
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a generation to the stream that asked for it, and to the log. When that stream is lost
/// before the end, a kept generation goes on alone; any other ends with it.
pub struct Driver {
    telling: Option<Telling>,
    listening: Option<Listening>,
    generation: Arc<Generation>,
    generations: Generations,
}

impl Driver {
    pub async fn next(&mut self) -> Option<TextEvent> {
        let telling = self.telling.as_mut()?;
        let event = telling.next().await?;
        self.generation.append(&event, telling.failure());
        if is_terminal(&event) {
            self.generations.ended(&self.generation);
        }
        Some(event)
    }

    pub fn failure(&self) -> Option<&Error> {
        self.telling.as_ref().and_then(Telling::failure)
    }

    /// What it has used and cost up to now.
    pub fn outcome(&self) -> Option<Cow<'_, Outcome>> {
        self.telling.as_ref().map(Telling::outcome)
    }

    /// Goes on without the stream that asked: until the end, or until nobody has listened for the
    /// whole grace.
    async fn go_on(mut self, grace: Duration) {
        let generation = self.generation.clone();
        let alone = async {
            loop {
                let left = generation.left_at();
                tokio::time::sleep_until((left + grace).into()).await;
                if generation.listeners.load(Ordering::Acquire) == 0 && generation.left_at() == left
                {
                    return generation.stopping.cancel();
                }
            }
        };
        let telling = async { while self.next().await.is_some() {} };
        tokio::join!(telling, async {
            tokio::select! {
                () = alone => {}
                () = generation.is_over() => {}
            }
        });
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let listening = self.listening.take();
        let Some(telling) = self.telling.take() else { return };
        if self.generation.log().end.is_some() {
            return;
        }
        match self.generation.grace {
            // Lost by the stream that asked, not by a task that the runtime ended.
            Some(grace) if listening.is_some() => {
                let driver = Self {
                    telling: Some(telling),
                    listening: None,
                    generation: self.generation.clone(),
                    generations: self.generations.clone(),
                };
                self.generations.0.tasks.spawn(driver.go_on(grace));
            }
            _ => self.generations.books().forget(&self.generation.id),
        }
    }
}

/// Counts a reader for as long as it lives.
pub struct Listening {
    generation: Arc<Generation>,
    clock: Clock,
}

impl Listening {
    fn to(generation: Arc<Generation>, clock: Clock) -> Self {
        generation.listeners.fetch_add(1, Ordering::AcqRel);
        Self { generation, clock }
    }
}

impl std::ops::Deref for Listening {
    type Target = Generation;
    fn deref(&self) -> &Generation {
        &self.generation
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.generation.left(self.clock.now());
        self.generation.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}
