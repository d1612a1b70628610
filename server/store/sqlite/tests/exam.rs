//! The exam that every backend passes.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use mediary_store::Shared;
use mediary_store_sqlite::{Settings, SqliteStore};
use tempfile::TempDir;

async fn fresh() -> (Shared, TempDir) {
    let directory = TempDir::new().expect("a directory");
    let store = SqliteStore::open(Settings::new(directory.path())).await.expect("a store");
    (Arc::new(store), directory)
}

mediary_store::exam!(fresh);
