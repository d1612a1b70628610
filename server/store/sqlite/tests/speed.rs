//! How fast it writes, printed; and that reading waits for no writer.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mediary_store::{CatalogKey, CatalogRow, Change, Saved, Stamp, Store as _};
use support::{account, change, now, open, raw, say};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// The longest that a read may take beside a writer. Without one it takes well below 10 ms.
const PROMPT: Duration = Duration::from_millis(500);

#[expect(clippy::disallowed_methods, reason = "measuring needs a clock")]
fn started() -> Instant {
    Instant::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_per_second() {
    let directory = TempDir::new().expect("a directory");
    let store = Arc::new(open(directory.path()).await);
    for (callers, each) in [(1, 300), (8, 100), (32, 100), (128, 25)] {
        let begin = started();
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for number in 0..each {
                    let id = format!("{callers}-{caller}-{number}");
                    let saved = store.accounts().create(account(&id), change(&id)).await;
                    assert!(matches!(saved, Ok(Saved::Done(_))), "{saved:?}");
                }
            });
        }
        tasks.join_all().await;
        let took = begin.elapsed();
        let rate = f64::from(callers * each) / took.as_secs_f64();
        say(&format!(
            "{callers} callers: {rate:.0} creates a second, {:.2} ms each (request, row, event, \
             version; synced)",
            took.as_secs_f64() * 1_000.0 / f64::from(each)
        ));
    }
    let begin = started();
    for number in 0..2_000 {
        let id = format!("1-0-{}", number % 300);
        assert!(store.accounts().get(&id).await.expect("read").is_some());
    }
    say(&format!("1 caller: {:.0} reads a second", 2_000.0 / begin.elapsed().as_secs_f64()));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_waits_for_no_writer() {
    let directory = TempDir::new().expect("a directory");
    let store = Arc::new(open(directory.path()).await);
    store.accounts().create(account("a1"), change("a1")).await.expect("kept");
    // A transaction that is not over while we read.
    let mut other = raw(directory.path()).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("begun");
    sqlx::query("UPDATE accounts SET display_name = 'not yet'")
        .execute(&mut other)
        .await
        .expect("");
    let mut longest = Duration::ZERO;
    for _ in 0..100 {
        let begin = started();
        let row = store.accounts().get("a1").await.expect("read").expect("there");
        assert_eq!(row.display_name, "Team", "what is not committed is not seen");
        longest = longest.max(begin.elapsed());
    }
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("over");
    // A long unit of our own.
    let rows = (0..20_000).map(|number| CatalogRow {
        key: CatalogKey::Model { provider: "p".into(), id: format!("m{number}") },
        origin: "listing".into(),
        json: "{}".into(),
        stamp: Stamp::default(),
    });
    let rows: Vec<_> = rows.collect();
    let writing = Arc::clone(&store);
    let mut long = JoinSet::new();
    long.spawn(async move { writing.catalog().put(rows, Change::at(now())).await });
    let mut reads = 0;
    while long.try_join_next().is_none() {
        let begin = started();
        store.accounts().get("a1").await.expect("read");
        longest = longest.max(begin.elapsed());
        reads += 1;
    }
    say(&format!("{reads} reads beside one long unit, the longest took {longest:?}"));
    assert!(reads > 10 && longest < PROMPT, "{reads} reads, the longest {longest:?}");
    store.close().await;
}
