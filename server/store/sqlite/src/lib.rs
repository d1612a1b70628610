//! The store in one SQLite file.
//!
//! Owns: the data directory, the tables and their migrations, every SQL text, the one writer and
//! the readers. What is answered with `Done` is on disk: write-ahead log, synced at each commit.
//! Leaves: what the rows mean.
//!
//! One file a noun; `open` brings the file into shape, `writer` and `reader` are the two ways in,
//! `unit` is what one change consists of.

mod accounts;
mod api_keys;
mod audit;
mod catalog;
mod columns;
mod fault;
mod learning;
mod ledger;
mod lock;
mod open;
mod quotas;
mod reader;
mod recipes;
mod registry;
mod requests;
mod routes;
mod unit;
mod writer;

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use mediary_store as store;
use sqlx::{Sqlite, pool::PoolConnection};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    fault::Fault,
    reader::{Limit, Readers},
    writer::Writer,
};

/// Where the store is, and its limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data directory; made if it is not there.
    pub directory: PathBuf,
    /// Connections that read at the same time.
    pub readers: u32,
    /// Longest time a question may take.
    pub read_timeout: Duration,
    /// Longest time until a change is answered, its wait in the queue included.
    pub write_timeout: Duration,
    /// Longest time that a change waits for others to share its commit. Only where several wrote
    /// at once before.
    pub window: Duration,
    /// Largest size of the database file, the write-ahead log not counted. None = the disk.
    pub max_bytes: Option<u64>,
}

impl Settings {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            readers: 4,
            read_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(6),
            window: Duration::from_millis(1),
            max_bytes: None,
        }
    }
}

/// The store. Dropped without [`store::Store::close`] it ends by itself, soon after.
pub struct SqliteStore {
    readers: Readers,
    writer: Writer,
    /// Whoever adds up the ledger.
    adding_up: Semaphore,
    facets: ledger::Facets,
    changes: watch::Receiver<store::Version>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl SqliteStore {
    async fn reader(&self) -> store::Result<(PoolConnection<Sqlite>, Limit)> {
        self.readers.begin().await.map_err(|Fault(error)| error)
    }
}

#[async_trait]
impl store::Store for SqliteStore {
    fn api_keys(&self) -> &dyn store::ApiKeys {
        self
    }

    fn accounts(&self) -> &dyn store::Accounts {
        self
    }

    fn catalog(&self) -> &dyn store::CatalogRows {
        self
    }

    fn routes(&self) -> &dyn store::Routes {
        self
    }

    fn recipes(&self) -> &dyn store::Recipes {
        self
    }

    fn learning(&self) -> &dyn store::Learning {
        self
    }

    fn audit(&self) -> &dyn store::Audit {
        self
    }

    fn requests(&self) -> &dyn store::Requests {
        self
    }

    fn registry(&self) -> &dyn store::Registry {
        self
    }

    fn quotas(&self) -> &dyn store::Quotas {
        self
    }

    fn ledger(&self) -> &dyn store::Ledger {
        self
    }

    async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}
