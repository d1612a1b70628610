//! The data directory: who may use it, what is in it, what becomes of it when things go wrong.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{fs, path::Path, time::Duration};

use mediary_store::{Error, Page, Saved, Store as _};
use mediary_store_sqlite::{Settings, SqliteStore};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::Connection as _;
use support::{Helper, account, change, open, raw, say, task, whole};
use tempfile::TempDir;

async fn refusal(directory: &Path) -> Error {
    match SqliteStore::open(Settings::new(directory)).await {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => error,
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a list").map(|entry| entry.expect("an entry"));
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Helper: holds the store until it is killed.
#[tokio::test]
async fn holds_the_store() {
    let Some(task) = task() else { return };
    let _store = open(Path::new(&task)).await;
    say("open");
    std::future::pending().await
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_is_gone() {
    let directory = TempDir::new().expect("a directory");
    let mut first = Helper::start("holds_the_store", &directory.path().display().to_string());
    first.wait_for("open");
    let refused = refusal(directory.path()).await;
    let message = refused.to_string();
    assert!(matches!(refused, Error::InUse(_)), "{message}");
    assert!(message.contains(&directory.path().display().to_string()), "{message}");
    assert!(message.contains(&format!("(process {})", first.id())), "{message}");
    drop(first);
    open(directory.path()).await.close().await;
}

#[tokio::test]
async fn a_second_store_in_the_same_process_is_refused_too() {
    let directory = TempDir::new().expect("a directory");
    let store = open(directory.path()).await;
    assert!(matches!(refusal(directory.path()).await, Error::InUse(_)));
    store.close().await;
    open(directory.path()).await.close().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = TempDir::new().expect("a directory");
    let store = open(directory.path()).await;
    store.accounts().create(account("a1"), change("a1")).await.expect("kept");
    store.close().await;
    let mut newer = raw(directory.path()).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9001, 'later', TRUE, x'00', 0)",
    )
    .execute(&mut newer)
    .await
    .expect("a later migration");
    newer.close().await.expect("closed");
    let before = fs::read(directory.path().join("mediary.db")).expect("the file");
    let refused = refusal(directory.path()).await;
    assert!(matches!(refused, Error::NewerSchema { found: 9001, known: 8 }), "{refused}");
    assert!(refused.to_string().contains("use the release that made it"), "{refused}");
    let after = fs::read(directory.path().join("mediary.db")).expect("the file");
    assert!(before == after, "nothing was written");
    assert_eq!(whole(directory.path()).await, ["a1"]);
}

#[tokio::test]
async fn a_clean_end_leaves_one_file_and_the_lock() {
    let directory = TempDir::new().expect("a directory");
    let place = directory.path().join("made/by/us");
    let store = open(&place).await;
    store.accounts().create(account("a1"), change("a1")).await.expect("kept");
    assert_eq!(store.accounts().get("a2").await, Ok(None));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(&place), 0o700);
        for name in names(&place) {
            assert_eq!(mode(&place.join(&name)), 0o600, "{name}");
        }
    }
    store.close().await;
    assert_eq!(names(&place), ["mediary.db", "mediary.lock"]);
}

#[tokio::test]
async fn what_is_dropped_without_a_close_is_kept() {
    let directory = TempDir::new().expect("a directory");
    let store = open(directory.path()).await;
    store.accounts().create(account("a1"), change("a1")).await.expect("kept");
    drop(store);
    while !matches!(SqliteStore::open(Settings::new(directory.path())).await, Ok(_store)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(whole(directory.path()).await, ["a1"]);
}

#[tokio::test]
async fn a_damaged_file_is_found_after_a_crash() {
    let directory = TempDir::new().expect("a directory");
    let store = open(directory.path()).await;
    for number in 0..300 {
        let id = format!("a{number}");
        store.accounts().create(account(&id), change(&id)).await.expect("kept");
    }
    store.close().await;
    let path = directory.path().join("mediary.db");
    let mut bytes = fs::read(&path).expect("the file");
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 8_192].fill(0xa5);
    fs::write(&path, bytes).expect("damaged");
    fs::write(directory.path().join("mediary.db-wal"), b"").expect("as a crash leaves it");
    let refused = refusal(directory.path()).await;
    assert!(matches!(refused, Error::Corrupt(_)), "{refused}");
    assert!(refused.to_string().contains("restore a backup"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = TempDir::new().expect("a directory");
    fs::write(directory.path().join("mediary.db"), [0x42; 10_000]).expect("a file");
    let refused = refusal(directory.path()).await;
    assert!(matches!(refused, Error::Corrupt(_)), "{refused}");
}

/// What a loss of power may leave: the log up to some point, units whole up to there.
#[tokio::test]
async fn a_torn_log_leaves_whole_units() {
    let directory = TempDir::new().expect("a directory");
    let store = open(directory.path()).await;
    for number in 0..60 {
        let id = format!("a{number:02}");
        store.accounts().create(account(&id), change(&id)).await.expect("kept");
    }
    let database = fs::read(directory.path().join("mediary.db")).expect("the file");
    let log = fs::read(directory.path().join("mediary.db-wal")).expect("the log");
    store.close().await;
    let mut chance = StdRng::seed_from_u64(7);
    let mut lengths = Vec::new();
    for _ in 0..30 {
        let torn = TempDir::new().expect("a directory");
        let cut = chance.random_range(0..log.len());
        fs::write(torn.path().join("mediary.db"), &database).expect("a copy");
        fs::write(torn.path().join("mediary.db-wal"), &log[..cut]).expect("a torn log");
        open(torn.path()).await.close().await;
        let kept = whole(torn.path()).await;
        let expected: Vec<String> = (0..kept.len()).map(|number| format!("a{number:02}")).collect();
        assert_eq!(kept, expected, "cut at {cut}");
        lengths.push(kept.len());
    }
    assert!(lengths.iter().any(|length| (1..60).contains(length)), "{lengths:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_writes_reads_on_and_recovers() {
    let directory = TempDir::new().expect("a directory");
    let settings = Settings { max_bytes: Some(512 * 1_024), ..Settings::new(directory.path()) };
    let store = std::sync::Arc::new(SqliteStore::open(settings).await.expect("a store"));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..16 {
        let store = std::sync::Arc::clone(&store);
        callers.spawn(async move {
            for number in 0.. {
                let id = format!("a{caller:02}-{number:03}");
                let mut one = account(&id);
                one.settings_json = "x".repeat(8_000);
                match store.accounts().create(one, change(&id)).await {
                    Ok(Saved::Done(_)) => {}
                    Err(Error::Full) => return number,
                    other => panic!("{other:?}"),
                }
            }
            0
        });
    }
    let kept: usize = callers.join_all().await.into_iter().sum();
    let rows = store.accounts().list(Page::first(1_000)).await.expect("it still reads").rows;
    assert_eq!(rows.len(), kept, "what was refused is not there");
    assert!(kept > 10);
    for row in rows.iter().take(5) {
        let change = mediary_store::Change::at(support::now());
        store.accounts().delete(&row.id, None, change).await.expect("room is made");
    }
    let saved = store.accounts().create(account("b1"), change("b1")).await;
    assert!(matches!(saved, Ok(Saved::Done(_))), "{saved:?}");
    store.close().await;
}

#[tokio::test]
async fn a_backup_of_a_running_store_is_a_store() {
    let (directory, other) = (TempDir::new().expect("one"), TempDir::new().expect("two"));
    let store = open(directory.path()).await;
    store.accounts().create(account("a1"), change("a1")).await.expect("kept");
    let mut raw = raw(directory.path()).await;
    sqlx::query("VACUUM INTO ?")
        .bind(other.path().join("mediary.db").display().to_string())
        .execute(&mut raw)
        .await
        .expect("a copy");
    raw.close().await.expect("closed");
    store.accounts().create(account("a2"), change("a2")).await.expect("kept");
    store.close().await;
    open(other.path()).await.close().await;
    assert_eq!(whole(other.path()).await, ["a1"]);
}

/// Another program keeps the file locked: the answer comes in time, and says so.
#[tokio::test]
async fn a_locked_file_refuses_writes_in_time() {
    let directory = TempDir::new().expect("a directory");
    let settings =
        Settings { write_timeout: Duration::from_millis(300), ..Settings::new(directory.path()) };
    let store = SqliteStore::open(settings).await.expect("a store");
    let mut other = raw(directory.path()).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("locked");
    let refused = store.accounts().create(account("a1"), change("a1")).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("unlocked");
    other.close().await.expect("closed");
    // The repeat has one effect, whether the first was kept or not.
    let saved = store.accounts().create(account("a1"), change("a1")).await;
    assert!(matches!(saved, Ok(Saved::Done(_) | Saved::Replayed(_))), "{saved:?}");
    store.close().await;
    assert_eq!(whole(directory.path()).await, ["a1"]);
}
