//! A process that is killed while it writes or migrates loses nothing that it acknowledged, and
//! leaves nothing half done. The seed of its chance is printed: `MEDIARY_STORE_SEED` uses it again.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::{path::Path, sync::Arc, time::Duration};

use mediary_store::{Saved, Store as _};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use support::{Helper, Since, account, change, open, say, task, whole};
use tempfile::TempDir;
use tokio::task::JoinSet;

const KILLS: u32 = 50;
const CALLERS: u32 = 16;

/// When the kill of a round comes: in every fourth round while the helper starts, else while it
/// works.
fn moment(round: u32, chance: &mut StdRng) -> (Since, Duration) {
    let since = if round.is_multiple_of(4) { Since::ItsStart } else { Since::ItsFirstWord };
    (since, Duration::from_millis(chance.random_range(0..200)))
}

/// A new seed for each run, so that every run looks elsewhere.
#[expect(clippy::disallowed_methods, reason = "chance is what this test is about")]
fn chance(of: &str) -> StdRng {
    let given = std::env::var("MEDIARY_STORE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    say(&format!("{of}: MEDIARY_STORE_SEED={seed}"));
    StdRng::seed_from_u64(seed)
}

/// Helper: writes until it is killed, and says each id once it is acknowledged.
#[tokio::test]
async fn writes_until_killed() {
    let Some(task) = task() else { return };
    let (directory, round) = task.rsplit_once('#').expect("a directory and a round");
    let store = Arc::new(open(Path::new(directory)).await);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (store, round) = (Arc::clone(&store), round.to_owned());
        callers.spawn(async move {
            for number in 0_u64.. {
                let id = format!("{round}-{caller}-{number}");
                let saved = store.accounts().create(account(&id), change(&id)).await;
                assert!(matches!(saved, Ok(Saved::Done(_))), "{saved:?}");
                say(&format!("kept {id}"));
            }
        });
    }
    callers.join_all().await;
}

/// Helper: makes one store after the other until it is killed.
#[tokio::test]
async fn migrates_until_killed() {
    let Some(task) = task() else { return };
    for number in 0_u64.. {
        let directory = Path::new(&task).join(number.to_string());
        open(&directory).await.close().await;
        say(&format!("made {number}"));
    }
}

#[tokio::test]
async fn fifty_kills_while_writing_lose_nothing_that_was_acknowledged() {
    let directory = TempDir::new().expect("a directory");
    let mut chance = chance("kills while writing");
    let (mut acknowledged, mut while_opening) = (Vec::new(), 0);
    for round in 0..KILLS {
        let (since, wait) = moment(round, &mut chance);
        let task = format!("{}#{round}", directory.path().display());
        let heard = Helper::start("writes_until_killed", &task).killed(since, wait, "kept ");
        while_opening += u32::from(heard.is_empty());
        acknowledged.extend(heard);
        // Every other time the next helper finds the file as the kill left it.
        if round % 2 == 1 {
            continue;
        }
        open(directory.path()).await.close().await;
        let kept = whole(directory.path()).await;
        for id in &acknowledged {
            assert!(kept.binary_search(id).is_ok(), "round {round}: {id} was acknowledged");
        }
    }
    open(directory.path()).await.close().await;
    let kept = whole(directory.path()).await;
    assert!(acknowledged.iter().all(|id| kept.binary_search(id).is_ok()));
    say(&format!(
        "{KILLS} kills, {while_opening} of them before the first row: {} rows acknowledged, all \
         of {} kept rows whole",
        acknowledged.len(),
        kept.len()
    ));
}

#[tokio::test]
async fn fifty_kills_while_migrating_leave_a_store_that_opens() {
    let directory = TempDir::new().expect("a directory");
    let mut chance = chance("kills while migrating");
    let mut stores = 0;
    for round in 0..KILLS {
        let place = directory.path().join(round.to_string());
        std::fs::create_dir(&place).expect("a directory");
        let (since, wait) = moment(round, &mut chance);
        let task = place.display().to_string();
        drop(Helper::start("migrates_until_killed", &task).killed(since, wait, "made "));
        for entry in std::fs::read_dir(&place).expect("a list") {
            let store_directory = entry.expect("an entry").path();
            let store = open(&store_directory).await;
            let saved = store.accounts().create(account("a1"), change("a1")).await;
            assert!(matches!(saved, Ok(Saved::Done(_))), "{saved:?}");
            store.close().await;
            assert_eq!(whole(&store_directory).await, ["a1"]);
            stores += 1;
        }
    }
    say(&format!("{KILLS} kills, {stores} stores, all of them open and whole"));
}
