//! Writing: one task, one connection, many callers in one transaction.
//!
//! Owns: the queue; which units share a transaction; when each is answered, which is after the
//! commit is on disk. A unit that is refused is rolled back alone and its neighbours stay. If the
//! transaction itself fails, its units are tried again one by one.
//! Leaves: what a unit does (`unit`).

use std::time::Duration;

use async_trait::async_trait;
use mediary_store::{Change, Error, Saved, Version, to_micros};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    fault::{Fault, Result},
    lock::Lock,
    reader::Readers,
    unit::{self, Effect, Unit},
};

/// Units that may wait; more wait to wait.
const QUEUE: usize = 1_024;
/// Most units in one transaction.
const BATCH: usize = 256;

/// Where callers hand in their units.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
    timeout: Duration,
}

impl Writer {
    pub async fn change<D, T>(
        &self,
        change: Change,
        data: D,
        effect: Effect<D, T>,
    ) -> Result<Saved<T>, Error>
    where
        D: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Task { change, data, effect, outcome: None, reply });
        let exchange = async {
            let closed = || Error::Unavailable("it is closed".into());
            self.queue.send(job).await.map_err(|_| closed())?;
            answer.await.map_err(|_| closed())?
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| {
            Err(Error::Unavailable(format!("nothing was written within {:?}", self.timeout)))
        })
    }

    /// A write that no request id and no audit event goes with.
    pub async fn note<D, T>(&self, data: D, effect: Effect<D, T>) -> Result<T, Error>
    where
        D: Send + Sync + 'static,
        T: Send + 'static,
    {
        let change = Change::at(std::time::UNIX_EPOCH);
        let saved = self.change(change, data, effect).await?;
        saved.done().ok_or_else(|| Error::Bug("a note was not kept".into()))
    }
}

/// One unit in the queue.
#[async_trait]
trait Job: Send {
    /// Whether somebody still waits for it.
    fn is_wanted(&self) -> bool;
    async fn apply(&mut self, connection: &mut SqliteConnection) -> Result<Applied>;
    fn answer(self: Box<Self>, end: Result<(), Error>);
}

enum Applied {
    /// To be kept; the version that it took.
    Keep(Option<Version>),
    /// Nothing of it may stay.
    Undo,
}

struct Task<D, T> {
    change: Change,
    data: D,
    effect: Effect<D, T>,
    outcome: Option<Saved<T>>,
    reply: oneshot::Sender<Result<Saved<T>, Error>>,
}

#[async_trait]
impl<D: Send + Sync, T: Send> Job for Task<D, T> {
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    async fn apply(&mut self, connection: &mut SqliteConnection) -> Result<Applied> {
        let mut unit = Unit::new(connection, to_micros(self.change.at));
        let saved = unit::apply(&mut unit, &self.change, self.effect, &self.data).await?;
        let applied = match saved {
            Saved::Done(_) => Applied::Keep(unit.taken()),
            Saved::Replayed(_) | Saved::Missing => Applied::Undo,
        };
        self.outcome = Some(saved);
        Ok(applied)
    }

    fn answer(self: Box<Self>, end: Result<(), Error>) {
        let outcome = self.outcome.ok_or_else(|| Error::Bug("a unit has no outcome".into()));
        // Nobody waits any more: the unit is kept or not all the same.
        let _ = self.reply.send(end.and(outcome));
    }
}

/// The task behind the queue.
pub(crate) struct Loop {
    queue: mpsc::Receiver<Box<dyn Job>>,
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    changes: watch::Sender<Version>,
    window: Duration,
    last_batch: usize,
    /// Closed before the writer, so that the writer is the last to leave and tidies the file.
    readers: Readers,
    /// Held until the end.
    _lock: Lock,
}

/// What the loop is made of.
pub(crate) struct Parts {
    pub options: SqliteConnectOptions,
    pub connection: SqliteConnection,
    pub changes: watch::Sender<Version>,
    pub readers: Readers,
    pub lock: Lock,
    pub window: Duration,
    pub timeout: Duration,
}

pub(crate) fn new(parts: Parts) -> (Writer, Loop) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let writer = Writer { queue: sender, timeout: parts.timeout };
    let task = Loop {
        queue,
        options: parts.options,
        connection: Some(parts.connection),
        changes: parts.changes,
        window: parts.window,
        last_batch: 0,
        readers: parts.readers,
        _lock: parts.lock,
    };
    (writer, task)
}

impl Loop {
    /// Runs until it is told to stop, or nobody can hand in anything; what was handed in before is
    /// finished.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                first = self.queue.recv() => first,
                () = stop.cancelled() => {
                    self.queue.close();
                    self.queue.recv().await
                }
            };
            let Some(first) = first else { break };
            let batch = self.gather(first).await;
            self.last_batch = batch.len();
            self.write(batch).await;
        }
        self.readers.close().await;
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store was not closed cleanly");
        }
    }

    /// All that wait. Where many write at once the next are on their way: they get the window.
    async fn gather(&mut self, first: Box<dyn Job>) -> Vec<Box<dyn Job>> {
        let mut batch = vec![first];
        let expected = self.last_batch;
        let more = async {
            loop {
                while batch.len() < BATCH
                    && let Ok(job) = self.queue.try_recv()
                {
                    batch.push(job);
                }
                if batch.len() >= expected.min(BATCH) {
                    break;
                }
                match self.queue.recv().await {
                    Some(job) => batch.push(job),
                    None => break,
                }
            }
        };
        // Out of time: those that came are enough.
        let _ = tokio::time::timeout(self.window, more).await;
        batch.retain(|job| job.is_wanted());
        batch
    }

    async fn write(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let mut ends = match self.transaction(&mut batch).await {
            Ok(ends) => ends,
            Err(fault) if batch.len() == 1 => vec![Err(fault.0)],
            Err(fault) => {
                tracing::warn!(error = %fault.0, "a transaction failed; its units go one by one");
                let mut ends = Vec::with_capacity(batch.len());
                for job in &mut batch {
                    let alone = self.transaction(std::slice::from_mut(job)).await;
                    ends.extend(alone.unwrap_or_else(|fault| vec![Err(fault.0)]));
                }
                ends
            }
        };
        for (job, end) in batch.drain(..).zip(ends.drain(..)) {
            job.answer(end);
        }
    }

    /// One transaction: how each unit ended, or why none was kept.
    async fn transaction(&mut self, batch: &mut [Box<dyn Job>]) -> Result<Vec<Result<(), Error>>> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        match in_transaction(&mut connection, batch).await {
            Ok((ends, version)) => {
                self.connection = Some(connection);
                if let Some(version) = version {
                    self.changes.send_replace(version);
                }
                Ok(ends)
            }
            Err(fault) => {
                // SQLite may have rolled back by itself; a connection that cannot be brought to
                // rest is replaced.
                let _ = run(&mut connection, "ROLLBACK").await;
                if run(&mut connection, "BEGIN").await.is_ok()
                    && run(&mut connection, "ROLLBACK").await.is_ok()
                {
                    self.connection = Some(connection);
                }
                Err(fault)
            }
        }
    }
}

async fn in_transaction(
    connection: &mut SqliteConnection,
    batch: &mut [Box<dyn Job>],
) -> Result<(Vec<Result<(), Error>>, Option<Version>)> {
    let mut ends = Vec::with_capacity(batch.len());
    let mut version = None;
    run(connection, "BEGIN IMMEDIATE").await?;
    for job in batch {
        run(connection, "SAVEPOINT unit").await?;
        let (end, undo) = match job.apply(connection).await {
            Ok(Applied::Keep(taken)) => {
                version = taken.or(version);
                (Ok(()), false)
            }
            Ok(Applied::Undo) => (Ok(()), true),
            Err(fault) if fault.spoils_transaction() => return Err(fault),
            Err(Fault(error)) => (Err(error), true),
        };
        if undo {
            run(connection, "ROLLBACK TO unit").await?;
        }
        run(connection, "RELEASE unit").await?;
        ends.push(end);
    }
    run(connection, "COMMIT").await?;
    Ok((ends, version))
}

async fn run(connection: &mut SqliteConnection, statement: &'static str) -> Result<()> {
    sqlx::query(statement).execute(connection).await?;
    Ok(())
}
