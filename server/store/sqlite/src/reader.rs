//! Reading: a few connections that cannot write, and a limit on every query.
//!
//! A reader sees what was committed before it began and waits for no writer. A query beyond its
//! limit is stopped inside SQLite too, so that its connection is free again at once.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mediary_store::Error;
use sqlx::{
    Sqlite,
    pool::{PoolConnection, PoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePool},
};

use crate::fault::{Fault, Result};

/// How often a running query looks whether it was stopped, in steps of SQLite's machine.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

#[derive(Clone)]
pub(crate) struct Readers {
    pool: SqlitePool,
    timeout: Duration,
}

/// Stops one query that takes too long.
pub(crate) struct Limit {
    stop: Arc<AtomicBool>,
    timeout: Duration,
}

impl Readers {
    pub async fn open(
        options: SqliteConnectOptions,
        count: u32,
        timeout: Duration,
    ) -> Result<Self> {
        let pool = PoolOptions::new()
            .max_connections(count.max(1))
            .min_connections(1)
            .acquire_timeout(timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Self { pool, timeout })
    }

    /// A connection for one query or one read transaction, and the limit to run it under.
    pub async fn begin(&self) -> Result<(PoolConnection<Sqlite>, Limit)> {
        self.begin_within(self.timeout).await
    }

    /// The same with a limit of its own.
    pub async fn begin_within(&self, timeout: Duration) -> Result<(PoolConnection<Sqlite>, Limit)> {
        let mut connection = self.pool.acquire().await?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        connection
            .lock_handle()
            .await?
            .set_progress_handler(STEPS_BETWEEN_LOOKS, move || !seen.load(Ordering::Relaxed));
        Ok((connection, Limit { stop, timeout }))
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Limit {
    pub async fn of<T>(
        self,
        query: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        self.of_all(async { Ok(query.await?) }).await
    }

    /// The same for several queries that answer one question.
    pub async fn of_all<T>(self, queries: impl Future<Output = Result<T>>) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, queries).await {
            Ok(answer) => answer.map_err(|Fault(error)| error),
            Err(_) => {
                self.stop.store(true, Ordering::Relaxed);
                Err(Error::Unavailable(format!("no answer within {:?}", self.timeout)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteJournalMode;

    use super::*;

    #[tokio::test]
    async fn a_query_beyond_its_limit_is_stopped_and_its_connection_free_again() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let options = SqliteConnectOptions::new()
            .filename(directory.path().join("mediary.db"))
            .journal_mode(SqliteJournalMode::Wal)
            .create_if_missing(true);
        let readers = Readers::open(options, 1, Duration::from_millis(200)).await.expect("readers");
        for _ in 0..3 {
            let (mut connection, limit) = readers.begin().await.expect("the one connection");
            let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                           SELECT count(*) FROM n";
            let query = sqlx::query_scalar::<_, i64>(endless).fetch_one(&mut *connection);
            let answer = limit.of(query).await;
            assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
            drop(connection);
            let (mut connection, limit) = readers.begin().await.expect("free again");
            let one = sqlx::query_scalar::<_, i64>("SELECT 1").fetch_one(&mut *connection);
            assert_eq!(limit.of(one).await, Ok(1));
            let write = sqlx::query("CREATE TABLE t (x)").execute(&mut *connection).await;
            assert!(write.is_err(), "a reader cannot write");
        }
    }
}
