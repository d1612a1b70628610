#[cfg(test)]
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use mediary_domain::{Capability, PicoUsd};
use mediary_store::{
    self as store, AccountOutcome, AccountTotals, AttemptCursor, AttemptState, AttemptsAsked,
    Paged, Store, UsageAsked, UsageSum,
};
use mediary_store_sqlite::{Settings, SqliteStore};
use tempfile::TempDir;

use super::*;
use crate::{
    access::{Caller, Role},
    provider::{Account, ModelRow, ProviderRow},
    routing::{Attempt, CallFacts, CallKind},
};

/// A store whose ledger does not write while it is told not to.
struct Moody {
    inner: SqliteStore,
    refuses: AtomicBool,
    appended: AtomicU64,
}

#[async_trait]
impl Store for Moody {
    fn api_keys(&self) -> &dyn store::ApiKeys {
        &self.inner
    }
    fn accounts(&self) -> &dyn store::Accounts {
        &self.inner
    }
    fn catalog(&self) -> &dyn store::CatalogRows {
        &self.inner
    }
    fn routes(&self) -> &dyn store::Routes {
        &self.inner
    }
    fn recipes(&self) -> &dyn store::Recipes {
        &self.inner
    }
    fn learning(&self) -> &dyn store::Learning {
        &self.inner
    }
    fn audit(&self) -> &dyn store::Audit {
        &self.inner
    }
    fn requests(&self) -> &dyn store::Requests {
        &self.inner
    }
    fn registry(&self) -> &dyn store::Registry {
        &self.inner
    }
    fn quotas(&self) -> &dyn store::Quotas {
        &self.inner
    }
    fn ledger(&self) -> &dyn store::Ledger {
        self
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl store::Ledger for Moody {
    async fn last_id(&self) -> store::Result<i64> {
        self.inner.last_id().await
    }
    async fn append(&self, rows: Arc<[AttemptRow]>) -> store::Result<()> {
        self.appended.fetch_add(1, Ordering::Relaxed);
        if self.refuses.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("it is in a bad mood".to_owned()));
        }
        self.inner.append(rows).await
    }
    async fn list(&self, asked: AttemptsAsked) -> store::Result<Paged<AttemptRow, AttemptCursor>> {
        self.inner.list(asked).await
    }
    async fn sums(&self, asked: UsageAsked) -> store::Result<Option<Vec<UsageSum>>> {
        self.inner.sums(asked).await
    }
    async fn totals(&self, since: std::time::SystemTime) -> store::Result<Vec<AccountTotals>> {
        self.inner.totals(since).await
    }
    async fn outcomes(
        &self,
        since: std::time::SystemTime,
        most: u32,
    ) -> store::Result<Vec<AccountOutcome>> {
        self.inner.outcomes(since, most).await
    }
    async fn forget_before(&self, time: std::time::SystemTime, limit: u32) -> store::Result<u64> {
        self.inner.forget_before(time, limit).await
    }
}

async fn moody() -> (Arc<Moody>, Ledger, TempDir) {
    let folder = TempDir::new().unwrap();
    let inner = SqliteStore::open(Settings::new(folder.path())).await.unwrap();
    let store = Moody { inner, refuses: AtomicBool::new(false), appended: AtomicU64::new(0) };
    let store = Arc::new(store);
    let ledger = Ledger::begin(store.clone(), Clock::system()).await.unwrap();
    (store, ledger, folder)
}

/// An attempt of a call that ended well.
struct Sample {
    provider: Arc<ProviderRow>,
    model: Arc<ModelRow>,
    account: Arc<Account>,
    clock: Clock,
}

impl Sample {
    fn new() -> Self {
        let row = "id = \"p\"\ndisplay_name = \"P\"\ndialect = \"openai_chat\"\n";
        let provider: ProviderRow = toml::from_str(row).unwrap();
        let model = ModelRow::undescribed(&provider, "m");
        let account = Account::new("a".to_owned(), "", None);
        Self {
            provider: provider.into(),
            model: model.into(),
            account: account.into(),
            clock: Clock::system(),
        }
    }

    fn entry(&self, call: usize) -> Entry {
        let caller = Caller::anonymous("ann", Role::User);
        let id = format!("g{call}").into();
        Entry {
            call: CallFacts::new(id, CallKind::Chat, Capability::TextToText, &caller).into(),
            attempt: Attempt {
                index: 1,
                provider: self.provider.clone(),
                model: self.model.clone(),
                account: self.account.clone(),
                preset: Arc::default(),
                start: self.clock.wall(),
                began: self.clock.now(),
                chunks: 0,
                limits: None,
                first_token: None,
                took: Duration::from_millis(5),
                end: Some(self.clock.wall()),
                failure: None,
                usage: None,
                cost: PicoUsd(7),
            },
            is_last: true,
            call_took: Duration::from_millis(6),
        }
    }
}

async fn kept(store: &Moody) -> Vec<AttemptRow> {
    let asked = AttemptsAsked { limit: u32::MAX, ..AttemptsAsked::default() };
    store::Ledger::list(&store.inner, asked).await.unwrap().rows
}

#[tokio::test(flavor = "multi_thread")]
async fn many_entries_share_few_batches_and_none_is_lost_at_the_end() {
    let (store, ledger, _folder) = moody().await;
    let sample = Sample::new();
    for call in 0..3_000 {
        ledger.note(sample.entry(call));
    }
    ledger.close().await;
    let rows = kept(&store).await;
    assert_eq!(rows.len(), 3_000);
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, (1..=3_000).collect::<Vec<_>>());
    assert!(rows.iter().enumerate().all(|(call, row)| row.call == format!("g{call}")));
    let row = &rows[0];
    assert_eq!((row.provider.as_str(), row.account.as_str()), ("providers/p", "accounts/a"));
    assert_eq!((row.state, row.cost), (AttemptState::Succeeded, PicoUsd(7)));
    let batches = store.appended.load(Ordering::Relaxed);
    assert!(batches <= 30, "{batches} batches");
    let figures = Figures { queued: 0, written: 3_000, failures: 0, lost: 0 };
    assert_eq!(ledger.figures(), figures);
    // The next process goes on behind them.
    let next = Ledger::begin(store.clone(), Clock::system()).await.unwrap();
    next.note(sample.entry(3_000));
    next.close().await;
    assert_eq!(kept(&store).await.last().map(|row| row.id), Some(3_001));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_tried_again_and_every_row_is_kept_once() {
    let (store, ledger, _folder) = moody().await;
    let sample = Sample::new();
    store.refuses.store(true, Ordering::Relaxed);
    for call in 0..50 {
        ledger.note(sample.entry(call));
    }
    // Waits no longer than it may.
    ledger.catch_up().await;
    assert!(ledger.figures().failures > 0);
    assert_eq!((ledger.figures().queued, kept(&store).await.len()), (50, 0));
    ledger.admit().await.expect("there is room still");
    store.refuses.store(false, Ordering::Relaxed);
    while ledger.figures().queued > 0 {
        ledger.catch_up().await;
    }
    assert_eq!(kept(&store).await.len(), 50);
    assert_eq!(ledger.figures().lost, 0);
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_holds_new_calls_up_and_never_an_end() {
    let (store, ledger, _folder) = moody().await;
    let sample = Sample::new();
    store.refuses.store(true, Ordering::Relaxed);
    for call in 0..usize::try_from(MANY).unwrap() + 10 {
        ledger.note(sample.entry(call));
    }
    let refused = ledger.admit().await.expect_err("there is no room");
    assert_eq!(refused.kind(), Kind::StoreUnavailable);
    let waiting = ledger.clone();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { waiting.admit().await });
    store.refuses.store(false, Ordering::Relaxed);
    // Whoever waits is let in, or was refused a moment before.
    let _ = tasks.join_all().await;
    while ledger.figures().queued > 0 {
        ledger.catch_up().await;
    }
    ledger.admit().await.expect("there is room again");
    assert_eq!(kept(&store).await.len() as u64, MANY + 10);
    ledger.close().await;
}
