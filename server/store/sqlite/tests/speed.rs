//! How fast it writes, printed; and that reading waits for no writer.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use mediary_store::{
    AttemptField, CatalogKey, CatalogRow, Change, Saved, Stamp, Store as _, UsageAsked, Wanted,
};
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

/// How long adding up 200,000 attempts may take in a debug build, where SQLite is not optimized.
const SUMMED: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_of_200_000_attempts_is_added_up_in_time() {
    let directory = TempDir::new().expect("a directory");
    let store = open(directory.path()).await;
    let mut file = raw(directory.path()).await;
    // A month with an attempt every 13 seconds: 5 models, 40 owners, every tenth call falls back.
    for statement in [
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 119)
        INSERT INTO attempt_facets SELECT i, 'chat', 'owner-' || (i % 40), 'apiKeys/k' || (i % 40),
            'text-to-text', '', '', 'providers/p/models/m' || (i % 5), 'providers/p',
            'accounts/a' || (i % 3) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199999)
        INSERT INTO attempts SELECT i + 1, i % 120, 'g' || (i - (i % 10 = 1)), 1 + (i % 10 = 1),
            i % 10 <> 0, i % 10 = 0, 1795000000000000 + i * 13000000,
            1795000001000000 + i * 13000000, 1000, 1000, CASE WHEN i % 10 <> 0 THEN i % 700 END,
            10, 0, 10, NULL, NULL, 5, NULL, 1000000007, '{\"team\":\"t' || (i % 7) || '\"}' FROM n",
    ] {
        sqlx::query(statement).execute(&mut file).await.expect("rows");
    }
    let from = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let asked = |bucket: Option<u64>, group_by: &[AttemptField]| UsageAsked {
        from,
        until: from + Duration::from_secs(31 * 86_400),
        bucket: bucket.map(Duration::from_secs),
        group_by: group_by.to_vec(),
        wanted: Wanted::default(),
        most: 50_000,
    };
    let (model, owner) = (AttemptField::Model, AttemptField::Owner);
    let team = AttemptField::Label("team".into());
    for asked in [
        asked(None, &[]),
        asked(None, std::slice::from_ref(&model)),
        asked(Some(86_400), &[model.clone(), owner]),
        asked(Some(3_600), &[model]),
        asked(Some(86_400), &[team]),
    ] {
        let begin = started();
        let sums = store.ledger().sums(asked.clone()).await.expect("sums").expect("all of them");
        let took = begin.elapsed();
        say(&format!(
            "{} sums of 200,000 attempts, buckets of {:?}, by {:?}: {took:?}",
            sums.len(),
            asked.bucket,
            asked.group_by
        ));
        assert!(took < SUMMED, "{took:?}");
        assert_eq!(sums.iter().map(|sum| sum.attempts).sum::<i64>(), 200_000);
        assert_eq!(sums.iter().map(|sum| sum.calls).sum::<i64>(), 180_000);
        assert_eq!(sums.iter().map(|sum| sum.cost).sum::<i128>(), 200_000 * 1_000_000_007);
    }
    store.close().await;
}
