//! Keeps what was asked of providers: hears how attempts end, and writes them in batches.
//!
//! Owns: the queue between calls and the store, when a batch is written, what happens while the
//! store cannot write, and forgetting what is old.
//! Leaves: what is kept and how it is asked for (the store), how that looks (`service::usage`), and
//! who tells of an attempt (`routing::desk`).
//!
//! A call never waits for the store once it is routed. While the store is slower than calls end,
//! new ones wait at the door, and are refused after a moment. What is queued is lost by a crash of
//! the process alone: that is what ended within the last [`WINDOW`], or more while the store fails.

mod entry;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mediary_domain::{Error, Kind, Result};
use mediary_store::{AttemptRow, Error as StoreError, Shared};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

pub use self::entry::{Entry, kind};
use crate::clock::Clock;

/// Rows of one transaction.
const BATCH: usize = 1_024;
/// How long a row waits for others to share its transaction.
const WINDOW: Duration = Duration::from_millis(200);
/// Rows that may wait before new calls do.
const MANY: u64 = 16_384;
/// Rows that may wait at all. Beyond, they are lost, and told to be.
const MOST: u64 = 131_072;
/// How long a new call waits for room.
const AT_THE_DOOR: Duration = Duration::from_secs(2);
/// How long a reader waits for what is queued.
const TO_CATCH_UP: Duration = Duration::from_secs(1);
/// Waits after failures of the store: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a store that fails is tried after the server was told to stop.
const LAST_TRIES: Duration = Duration::from_secs(5);
/// How often what is old is forgotten, how much at a time, and the rest between two times.
const SWEEPING: Duration = Duration::from_secs(600);
const FORGOTTEN_AT_ONCE: u32 = 1_000;
const BREATH: Duration = Duration::from_millis(50);

/// A cheap handle.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    store: Shared,
    clock: Clock,
    queue: Mutex<Vec<Entry>>,
    /// Something is in the queue.
    some: Notify,
    /// There is a reason not to wait for more.
    hurry: Notify,
    /// Entries that came.
    heard: AtomicU64,
    /// Entries that are written or lost; changes wake who waits for room.
    done: watch::Sender<u64>,
    failures: AtomicU64,
    lost: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How the ledger stands, for those who watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Attempts that are not written yet.
    pub queued: u64,
    pub written: u64,
    /// Batches that the store did not take.
    pub failures: u64,
    /// Attempts that will never be written.
    pub lost: u64,
}

impl Ledger {
    /// Takes up where the store was left, and begins to write.
    pub async fn begin(store: Shared, clock: Clock) -> Result<Self> {
        let next_id = store.ledger().last_id().await?.saturating_add(1);
        let ledger = Self(Arc::new(Inner {
            store,
            clock,
            queue: Mutex::default(),
            some: Notify::new(),
            hurry: Notify::new(),
            heard: AtomicU64::new(0),
            done: watch::Sender::new(0),
            failures: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }));
        let writer = Writer { ledger: ledger.clone(), next_id };
        ledger.0.tasks.spawn(writer.run());
        ledger.0.tasks.close();
        Ok(ledger)
    }

    /// Waits for room, for a moment: what a new call does before it is routed.
    pub async fn admit(&self) -> Result<()> {
        if self.0.waiting() < MANY {
            return Ok(());
        }
        let mut done = self.0.done.subscribe();
        let heard = &self.0.heard;
        let room = done.wait_for(|done| heard.load(Ordering::Acquire).saturating_sub(*done) < MANY);
        match timeout(AT_THE_DOOR, room).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(
                Kind::StoreUnavailable,
                "the store is too slow to keep what calls cost: try again",
            )),
        }
    }

    /// Takes an entry; never waits.
    pub fn note(&self, entry: Entry) {
        let mut queue = self.0.queue();
        if self.0.waiting() >= MOST {
            drop(queue);
            if self.0.lost.fetch_add(1, Ordering::Relaxed) == 0 {
                error!("the ledger is full and the store does not write: attempts are lost");
            }
            return;
        }
        queue.push(entry);
        self.0.heard.fetch_add(1, Ordering::Release);
        let queued = queue.len();
        drop(queue);
        if queued == 1 {
            self.0.some.notify_one();
        } else if queued == BATCH {
            self.0.hurry.notify_one();
        }
    }

    /// Has written what ended up to now, or waits no longer for a store that fails.
    pub async fn catch_up(&self) {
        let heard = self.0.heard.load(Ordering::Acquire);
        let mut done = self.0.done.subscribe();
        if *done.borrow_and_update() >= heard {
            return;
        }
        self.0.hurry.notify_one();
        let _ = timeout(TO_CATCH_UP, done.wait_for(|done| *done >= heard)).await;
    }

    pub fn figures(&self) -> Figures {
        let lost = self.0.lost.load(Ordering::Relaxed);
        let heard = self.0.heard.load(Ordering::Acquire);
        let queued = self.0.waiting();
        Figures {
            queued,
            written: heard.saturating_sub(queued),
            failures: self.0.failures.load(Ordering::Relaxed),
            lost,
        }
    }

    /// Forgets now and then what ended longer ago than `retention`, for ever.
    pub async fn sweep(&self, retention: Duration) {
        loop {
            let swept = match self.0.clock.wall().checked_sub(retention) {
                Some(time) => self.0.store.ledger().forget_before(time, FORGOTTEN_AT_ONCE).await,
                None => Ok(0),
            };
            match swept {
                Ok(n) if n >= u64::from(FORGOTTEN_AT_ONCE) => sleep(BREATH).await,
                Ok(_) => sleep(SWEEPING).await,
                Err(error) => {
                    warn!("old attempts are not forgotten: {error}");
                    sleep(SWEEPING).await;
                }
            }
        }
    }

    /// Writes what is queued, and nothing any more after that.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.wait().await;
        let Figures { queued, written, failures, lost } = self.figures();
        info!(
            queued,
            written, failures, lost, "the ledger is closed, with {written} attempts more"
        );
    }
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Vec<Entry>> {
        // A poisoned lock guards plain data that is whole between any two statements.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> u64 {
        self.heard.load(Ordering::Acquire).saturating_sub(*self.done.borrow())
    }
}

/// The task behind the queue.
struct Writer {
    ledger: Ledger,
    next_id: i64,
}

impl Writer {
    async fn run(mut self) {
        let inner = self.ledger.0.clone();
        while !inner.stop.is_cancelled() {
            tokio::select! {
                () = inner.some.notified() => {}
                () = inner.stop.cancelled() => break,
            }
            tokio::select! {
                () = sleep(WINDOW) => {}
                () = inner.hurry.notified() => {}
                () = inner.stop.cancelled() => {}
            }
            self.write_all().await;
        }
        self.write_all().await;
    }

    /// Everything that is queued, also what comes meanwhile if it is a batch.
    async fn write_all(&mut self) {
        loop {
            let entries = std::mem::take(&mut *self.ledger.0.queue());
            for some in entries.chunks(BATCH) {
                let ids = self.next_id..;
                let rows: Arc<[AttemptRow]> =
                    some.iter().zip(ids).map(|(entry, id)| entry.row(id)).collect();
                self.next_id = self.next_id.saturating_add(rows.len() as i64);
                self.write(rows).await;
                let written = some.len() as u64;
                self.ledger.0.done.send_modify(|done| *done += written);
            }
            if entries.len() < BATCH {
                return;
            }
        }
    }

    /// Keeps a batch, however long that takes; gives up when the server ends.
    async fn write(&self, rows: Arc<[AttemptRow]>) {
        let inner = &*self.ledger.0;
        let mut wait = FIRST_WAIT;
        let mut tried: u32 = 0;
        let mut patience = std::pin::pin!(async {
            inner.stop.cancelled().await;
            sleep(LAST_TRIES).await;
        });
        loop {
            let Err(failure) = inner.store.ledger().append(rows.clone()).await else { break };
            tried += 1;
            inner.failures.fetch_add(1, Ordering::Relaxed);
            warn!(
                rows = rows.len(),
                tried,
                "{} attempts are not in the ledger yet, try {tried} failed: {failure}",
                rows.len()
            );
            if matches!(failure, StoreError::Bug(_) | StoreError::Corrupt(_)) && tried > 1 {
                // One row may be the reason: the others are kept.
                self.write_each(&rows).await;
                return;
            }
            tokio::select! {
                () = sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
                () = &mut patience => {
                    self.lose(rows.len() as u64, &failure);
                    return;
                }
            }
        }
        if tried > 0 {
            info!(rows = rows.len(), "the ledger is written again");
        }
    }

    async fn write_each(&self, rows: &[AttemptRow]) {
        for row in rows {
            let one = Arc::from([row.clone()]);
            if let Err(failure) = self.ledger.0.store.ledger().append(one).await {
                self.lose(1, &failure);
            }
        }
    }

    fn lose(&self, rows: u64, failure: &StoreError) {
        self.ledger.0.lost.fetch_add(rows, Ordering::Relaxed);
        error!(rows, "{rows} attempts are lost to the ledger: {failure}");
    }
}

#[cfg(test)]
mod tests;
