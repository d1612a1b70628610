#[cfg(test)]
use std::{
    sync::Mutex as Lock,
    time::{Instant, UNIX_EPOCH},
};

use mediary_domain::{Retry, UsageSource};
use mediary_store_sqlite::{Settings, SqliteStore};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::{
    clock::{Source, Steady},
    provider::{ModelRow, ProviderRow},
};

/// A clock that stands until it is moved, and chances from a seed.
struct Held {
    begin: Instant,
    passed: Lock<Duration>,
    seed: Lock<u64>,
}

impl Source for Held {
    fn now(&self) -> Instant {
        self.begin + *self.passed.lock().unwrap()
    }
    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_000_000) + *self.passed.lock().unwrap()
    }
    fn id(&self) -> Uuid {
        Uuid::nil()
    }
    /// splitmix64.
    fn chance(&self) -> f64 {
        let mut seed = self.seed.lock().unwrap();
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *seed;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
    fn fill(&self, _: &mut [u8]) {}
}

struct Room {
    held: Arc<Held>,
    accounts: Accounts,
    rejected: mpsc::UnboundedReceiver<Arc<Account>>,
    _folder: TempDir,
}

impl Room {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(Settings::new(folder.path())).await.unwrap();
        let begin = Clock::system().now();
        let held = Arc::new(Held { begin, passed: Lock::default(), seed: Lock::new(7) });
        let clock = Clock::new(held.clone());
        let limits = Limits::new(Arc::new(store), Steady::new(clock.clone(), None));
        let (accounts, rejected) = Accounts::new(clock, limits, true);
        Self { held, accounts, rejected, _folder: folder }
    }

    fn pass(&self, time: Duration) {
        *self.held.passed.lock().unwrap() += time;
    }

    fn attempt(&self, account: &Arc<Account>, took: f64, failure: Option<Error>) -> Attempt {
        let provider: ProviderRow =
            toml::from_str("id = 'p'\ndisplay_name = 'P'\ndialect = 'openai_chat'").unwrap();
        Attempt {
            index: 1,
            model: Arc::new(ModelRow::undescribed(&provider, "m")),
            provider: Arc::new(provider),
            account: account.clone(),
            preset: Arc::default(),
            start: self.held.wall(),
            began: self.held.now(),
            chunks: 0,
            limits: None,
            first_token: failure.is_none().then(|| Duration::from_secs_f64(took)),
            took: Duration::from_secs_f64(took),
            end: Some(self.held.wall()),
            failure,
            usage: Some(TokenUsage { source: UsageSource::Estimated, ..TokenUsage::default() }),
            cost: PicoUsd(3),
        }
    }

    fn ends(&self, account: &Arc<Account>, took: f64, failure: Option<Error>) {
        self.accounts.ended(&self.attempt(account, took, failure));
    }

    fn choice(&self, accounts: &[Arc<Account>]) -> Choice {
        self.accounts.choose(accounts.iter(), Expected::default)
    }

    fn enter(&self, account: &Account, is_last: bool) -> Result<Place, Error> {
        let entered = self.accounts.enter(account, None, Expected::default, is_last, false);
        entered.map(|(place, _)| place)
    }
}

fn account(id: &str, weight: f64) -> Arc<Account> {
    let mut account = Account::new(id.to_owned(), "https://example.com", None);
    account.settings.weight = Some(weight);
    Arc::new(account)
}

fn unavailable() -> Option<Error> {
    Some(Error::new(Kind::UpstreamUnavailable, "down"))
}

#[tokio::test]
async fn equals_are_chosen_by_their_weights() {
    let room = Room::new().await;
    let accounts = [account("a", 3.0), account("b", 1.0)];
    let first = (0..4_000).filter(|_| room.choice(&accounts).open[0].id == "a").count();
    assert!((2_900..3_100).contains(&first), "{first}");
}

#[tokio::test]
async fn the_faster_and_the_more_reliable_one_is_asked_first() {
    let room = Room::new().await;
    let accounts = [account("slow", 5.0), account("fast", 1.0), account("flaky", 5.0)];
    for n in 0..30 {
        room.ends(&accounts[0], 2.0, None);
        room.ends(&accounts[1], 0.2, None);
        room.ends(&accounts[2], 0.2, if n % 2 == 0 { unavailable() } else { None });
    }
    let mut firsts = HashMap::<String, usize>::new();
    for _ in 0..1_000 {
        let choice = room.choice(&accounts);
        assert_eq!(choice.open.len(), 3);
        *firsts.entry(choice.open[0].id.clone()).or_default() += 1;
    }
    // Chance picks two of the three, mostly the heavier ones; of these the better one is asked.
    assert_eq!(firsts.get("slow"), None, "{firsts:?}");
    // Calls that run make the fast one the slower choice.
    let busy: Vec<Place> = (0..20).map(|_| room.enter(&accounts[1], false).unwrap()).collect();
    let first = room.choice(&accounts[..2]).open[0].id.clone();
    assert_eq!(first, "slow");
    drop(busy);
    assert_eq!(room.choice(&accounts[..2]).open[0].id, "fast");
}

#[tokio::test]
async fn who_asks_to_be_left_alone_is_left_alone_so_long() {
    let room = Room::new().await;
    let limited = account("a", 1.0);
    let refusal = Error::new(Kind::UpstreamRateLimited, "slow down");
    room.ends(&limited, 0.1, Some(refusal.retry_after(Duration::from_secs(20))));
    let closed = room.choice(std::slice::from_ref(&limited)).closed.pop().unwrap().1;
    assert!(matches!(closed, Closed::Limited(_)));
    assert_eq!(closed.error().retry(), Retry::Later(Duration::from_secs(20)));
    assert!(room.enter(&limited, true).is_err(), "not even where nobody else can be asked");
    room.pass(Duration::from_secs(20));
    assert_eq!(room.choice(std::slice::from_ref(&limited)).open.len(), 1);
}

#[tokio::test]
async fn a_key_that_is_refused_closes_the_account_until_it_is_another() {
    let mut room = Room::new().await;
    let known = account("a", 1.0);
    let of_a_model = Error::new(Kind::CredentialsRejected, "no").fact("upstreamKind", "permission");
    room.ends(&known, 0.1, Some(of_a_model));
    assert_eq!(room.choice(std::slice::from_ref(&known)).open.len(), 1);
    let refusal =
        Error::new(Kind::CredentialsRejected, "no").fact("upstreamKind", "authentication");
    room.ends(&known, 0.1, Some(refusal));
    assert_eq!(room.rejected.recv().await.unwrap().id, "a");
    let closed = room.choice(std::slice::from_ref(&known)).closed.pop().unwrap().1;
    assert!(matches!(closed, Closed::Rejected(_)));
    let mut other = Account::clone(&known);
    other.key_fingerprint = "new".to_owned();
    assert_eq!(room.choice(&[Arc::new(other)]).open.len(), 1);
    assert_eq!(room.accounts.standing(&known).requests, 1);
}

#[tokio::test]
async fn a_provider_that_hangs_is_found_out_by_those_who_give_up() {
    let room = Room::new().await;
    let hangs = account("a", 1.0);
    let late = || Some(Error::new(Kind::DeadlineExceeded, "too late"));
    for _ in 0..20 {
        // In a hurry: that says nothing.
        room.ends(&hangs, 0.05, late());
    }
    assert_eq!(room.choice(std::slice::from_ref(&hangs)).open.len(), 1);
    for _ in 0..5 {
        room.ends(&hangs, 2.0, late());
    }
    let closed = room.choice(std::slice::from_ref(&hangs)).closed.pop().unwrap().1;
    assert!(matches!(closed, Closed::Broken(_)));
    // The last one is tried by one call at a time.
    let probe = room.enter(&hangs, true).unwrap();
    assert!(room.enter(&hangs, true).is_err());
    drop(probe);
    assert!(room.enter(&hangs, true).is_ok());
}

#[tokio::test]
async fn so_many_calls_at_once_and_no_more() {
    let room = Room::new().await;
    let mut one = Account::clone(&account("a", 1.0));
    let most = crate::registry::Limits {
        concurrent_requests: Some(2),
        ..crate::registry::Limits::default()
    };
    one.settings.limits = Some(most);
    let held = [room.enter(&one, false).unwrap(), room.enter(&one, false).unwrap()];
    assert_eq!(room.enter(&one, false).err().unwrap().kind(), Kind::RateLimited);
    drop(held);
    assert!(room.enter(&one, false).is_ok());
}

#[tokio::test]
async fn calls_that_failed_elsewhere_do_not_crowd_out_an_account() {
    let room = Room::new().await;
    let one = account("a", 1.0);
    let again = || room.accounts.enter(&one, None, Expected::default, false, true);
    let mut held: Vec<_> = (0..3).map(|_| again().unwrap().0).collect();
    assert!(again().is_err());
    held.extend((0..12).map(|_| room.enter(&one, false).unwrap()));
    // A fifth of those that run, on top.
    let more: Vec<_> = (0..20).map_while(|_| again().ok()).collect();
    assert!((3..=4).contains(&more.len()), "{}", more.len());
}
