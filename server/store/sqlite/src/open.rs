//! Opening: the lock, the check after a crash, the migrations, then the writer and the readers.

use std::time::Duration;

use mediary_store::{Error, Result};
use sqlx::{
    ConnectOptions as _, SqliteConnection,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Settings, SqliteStore,
    fault::Fault,
    ledger::Facets,
    lock::Lock,
    reader::Readers,
    unit,
    writer::{self, Parts},
};

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long SQLite waits for a lock that another program holds on the file, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes in a page: SQLite's own default.
const PAGE: u64 = 4_096;
/// The write-ahead log is cut back to this when it begins anew.
const LOG_KEPT: &str = "67108864";

impl SqliteStore {
    /// Opens the store of a data directory: makes it, repairs it after a crash, or brings it to
    /// this release's tables.
    pub async fn open(settings: Settings) -> Result<Self> {
        Self::open_with(settings, &MIGRATIONS).await
    }

    pub(crate) async fn open_with(settings: Settings, migrations: &Migrator) -> Result<Self> {
        Self::start(settings, migrations).await.map_err(|Fault(error)| error)
    }

    async fn start(settings: Settings, migrations: &Migrator) -> Result<Self, Fault> {
        let lock = Lock::take(&settings.directory)?;
        let left_open = lock.was_left_open();
        let options = options(&settings, &lock)?;
        let mut connection = options.connect().await?;
        if left_open {
            tracing::info!("the store was not closed the last time: checking it");
            check(&mut connection).await?;
        }
        migrate(&mut connection, migrations).await?;
        let version = unit::current_version(&mut connection).await?;
        let readers =
            Readers::open(options.clone(), settings.readers, settings.read_timeout).await?;
        let (sender, changes) = watch::channel(version);
        let (writer, task) = writer::new(Parts {
            options,
            connection,
            changes: sender,
            readers: readers.clone(),
            lock,
            window: settings.window,
            timeout: settings.write_timeout,
        });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(task.run(stop.clone()));
        tasks.close();
        let (adding_up, facets) = (Semaphore::new(1), Facets::default());
        Ok(Self { readers, writer, adding_up, facets, changes, tasks, stop })
    }
}

fn options(settings: &Settings, lock: &Lock) -> Result<SqliteConnectOptions> {
    let options = SqliteConnectOptions::new()
        .filename(lock.database()?)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("journal_size_limit", LOG_KEPT)
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging();
    Ok(match settings.max_bytes {
        Some(bytes) => options.pragma("max_page_count", (bytes / PAGE).max(1).to_string()),
        None => options,
    })
}

async fn check(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection).await?;
    if found != "ok" {
        Err(Error::Corrupt(format!("{found}: restore a backup")))?;
    }
    Ok(())
}

/// Each migration is a transaction of its own, with the record that it was made.
async fn migrate(connection: &mut SqliteConnection, migrations: &Migrator) -> Result<(), Fault> {
    let known = migrations.iter().map(|one| one.version).max().unwrap_or(0);
    match migrations.run(connection).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) if found > known => {
            Err(Error::NewerSchema { found, known })?
        }
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => Err(error)?,
        Err(other) => Err(Error::Corrupt(other.to_string()))?,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use mediary_store::{Store as _, Version};

    use super::*;

    #[tokio::test]
    async fn the_store_of_every_earlier_release_opens() {
        for made in 1..=MIGRATIONS.iter().count() {
            let directory = tempfile::TempDir::new().expect("a directory");
            let earlier = MIGRATIONS.iter().take(made).cloned().collect();
            let earlier = Migrator { migrations: Cow::Owned(earlier), ..Migrator::DEFAULT };
            let settings = Settings::new(directory.path());
            SqliteStore::open_with(settings.clone(), &earlier).await.expect("then").close().await;
            let store = SqliteStore::open(settings.clone()).await.expect("now");
            assert_eq!(store.registry().rows().await.expect("all tables").version, Version(0));
            assert_eq!(store.routes().get("r").await, Ok(None));
            store.close().await;
            let back = SqliteStore::open_with(settings, &earlier).await.map(drop);
            assert_eq!(back.is_err(), made < MIGRATIONS.iter().count(), "{back:?}");
        }
    }
}
