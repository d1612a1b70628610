//! What Mediary keeps, by noun.
//!
//! Owns: a trait for each noun, named after what callers need; the rows; what goes with a change
//! (the caller's request id, the audit event); what can go wrong. With the feature `exam`, the
//! questions that every backend answers before it may be called one.
//! Leaves: SQL and files (the backends below this folder), what the texts in the rows mean (the
//! server), encryption (rows hold secrets sealed or hashed), times and ids (parameters).
//!
//! Three rules hold for every backend:
//!
//! - A change is one unit: the effect, the record of the request id, the audit event and the step
//!   of the registry's version are kept together or not at all, and durable when the call returns.
//! - What is not there is an answer ([`Option`], [`Saved::Missing`]), not an error.
//! - A text comes back as it went in, whatever it holds.

mod change;
mod error;
#[cfg(feature = "exam")]
pub mod exam;
pub mod ledger;
mod page;
mod quota;
mod row;
mod time;
mod version;

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use tokio::sync::watch;

pub use change::{AuditEvent, Change, Request, RequestKey, Saved};
pub use error::{Error, Result};
pub use ledger::{
    AccountOutcome, AccountTotals, AttemptCursor, AttemptFailure, AttemptField, AttemptRow,
    AttemptState, AttemptsAsked, Compared, FieldTest, Took, UsageAsked, UsageSum, Wanted,
};
pub use mediary_domain::{Billed, PicoUsd, TokenUsage, UsageSource};
pub use page::{AuditCursor, AuditFilter, Order, Page, Paged, Text};
pub use quota::{Lease, Leased, SteadyTime, Unused};
pub use row::{
    Account, AccountState, ApiKey, AuditRow, CatalogKey, CatalogRow, Learned, RecipeKey, RecipeRow,
    RegistryRows, Removed, Route, Sealed, Secret, Stamp,
};
pub use time::{from_micros, to_micros};
pub use version::Version;

/// A store: one handle to every noun, shared by the whole process.
#[async_trait]
pub trait Store: Send + Sync {
    fn api_keys(&self) -> &dyn ApiKeys;
    fn accounts(&self) -> &dyn Accounts;
    fn catalog(&self) -> &dyn CatalogRows;
    fn routes(&self) -> &dyn Routes;
    fn recipes(&self) -> &dyn Recipes;
    fn learning(&self) -> &dyn Learning;
    fn audit(&self) -> &dyn Audit;
    fn requests(&self) -> &dyn Requests;
    fn registry(&self) -> &dyn Registry;
    fn quotas(&self) -> &dyn Quotas;
    fn ledger(&self) -> &dyn Ledger;

    /// Finishes what was accepted, then lets go of everything. Later calls are refused.
    async fn close(&self);
}

/// A store that many share.
pub type Shared = Arc<dyn Store>;

/// Keys with which callers reach Mediary.
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// Keeps a new key; its id and its prefix must both be free.
    async fn create(&self, key: ApiKey, change: Change) -> Result<Saved<ApiKey>>;
    async fn get(&self, id: &str) -> Result<Option<ApiKey>>;
    /// The key whose public part callers show.
    async fn by_prefix(&self, prefix: &str) -> Result<Option<ApiKey>>;
    /// By id.
    async fn list(&self, page: Page) -> Result<Paged<ApiKey>>;
    /// Replaces what may change: the name, the role, the settings, whether it is enabled, when it
    /// ends. Owner, prefix, hash and hint stay.
    async fn update(
        &self,
        key: ApiKey,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<ApiKey>>;
    async fn delete(&self, id: &str, only: Option<Version>, change: Change) -> Result<Saved<()>>;
    /// Notes when keys were last used: a batch, no new version, never back in time. Tells how
    /// many of them exist.
    async fn touch(&self, used: Vec<(String, SystemTime)>) -> Result<u64>;
}

/// Accounts at providers.
#[async_trait]
pub trait Accounts: Send + Sync {
    async fn create(&self, account: Account, change: Change) -> Result<Saved<Account>>;
    async fn get(&self, id: &str) -> Result<Option<Account>>;
    /// By id.
    async fn list(&self, page: Page) -> Result<Paged<Account>>;
    /// All of one provider, by id.
    async fn by_provider(&self, provider: &str) -> Result<Vec<Account>>;
    /// Replaces everything but id, provider, origin and when it was made.
    async fn update(
        &self,
        account: Account,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<Account>>;
    /// Changes how it stands and nothing else. One that stands so already keeps its version.
    async fn set_state(
        &self,
        id: &str,
        state: AccountState,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<Account>>;
    async fn delete(&self, id: &str, only: Option<Version>, change: Change) -> Result<Saved<()>>;
}

/// Providers and models that are kept, over or beside the built-in ones.
#[async_trait]
pub trait CatalogRows: Send + Sync {
    /// All, providers first, each kind by parent and id.
    async fn all(&self) -> Result<Vec<CatalogRow>>;
    async fn get(&self, key: &CatalogKey) -> Result<Option<CatalogRow>>;
    async fn create(&self, row: CatalogRow, change: Change) -> Result<Saved<CatalogRow>>;
    async fn update(
        &self,
        row: CatalogRow,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<CatalogRow>>;
    /// Makes or replaces all of them, or none.
    async fn put(&self, rows: Vec<CatalogRow>, change: Change) -> Result<Saved<Vec<CatalogRow>>>;
    async fn delete(
        &self,
        key: &CatalogKey,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<()>>;
    /// Deletes a provider together with its models and accounts.
    async fn delete_provider(
        &self,
        id: &str,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<Removed>>;
}

/// Who serves a task.
#[async_trait]
pub trait Routes: Send + Sync {
    async fn create(&self, route: Route, change: Change) -> Result<Saved<Route>>;
    async fn get(&self, id: &str) -> Result<Option<Route>>;
    /// By id.
    async fn list(&self, page: Page) -> Result<Paged<Route>>;
    async fn update(
        &self,
        route: Route,
        only: Option<Version>,
        change: Change,
    ) -> Result<Saved<Route>>;
    /// Makes it or replaces it: how a task is assigned.
    async fn put(&self, route: Route, change: Change) -> Result<Saved<Route>>;
    async fn delete(&self, id: &str, only: Option<Version>, change: Change) -> Result<Saved<()>>;
}

/// What operators put together from models: presets and workflows.
#[async_trait]
pub trait Recipes: Send + Sync {
    /// All, presets first, each kind by id.
    async fn all(&self) -> Result<Vec<RecipeRow>>;
    async fn get(&self, key: &RecipeKey) -> Result<Option<RecipeRow>>;
    /// Makes it or replaces it.
    async fn put(&self, row: RecipeRow, change: Change) -> Result<Saved<RecipeRow>>;
    /// Deletes those of them that are there, and what was learned of them. [`Saved::Missing`]:
    /// none is.
    async fn delete(&self, keys: Vec<RecipeKey>, change: Change) -> Result<Saved<()>>;
}

/// What attempts have taught about the members of presets: notes, of no version.
#[async_trait]
pub trait Learning: Send + Sync {
    /// All, by preset and member.
    async fn all(&self) -> Result<Vec<Learned>>;
    /// Makes them or replaces them, all or none.
    async fn keep(&self, rows: Vec<Learned>) -> Result<()>;
}

/// Who changed what. Events are only ever added.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Keeps an event that no change carries: a call that was refused.
    async fn append(&self, event: AuditEvent) -> Result<()>;
    /// In the order in which they were kept, newest first unless the filter says otherwise.
    async fn list(
        &self,
        filter: AuditFilter,
        after: Option<AuditCursor>,
        limit: u32,
    ) -> Result<Paged<AuditRow, AuditCursor>>;
}

/// Request ids that were used, so that a repeated call has one effect. They are kept by the
/// change that they belong to ([`Change::repeatable`]).
#[async_trait]
pub trait Requests: Send + Sync {
    /// What the request made, if it was kept and is still valid at `now`. The same id with another
    /// payload is [`Error::RequestIdReused`].
    async fn find(
        &self,
        key: &RequestKey,
        payload_hash: [u8; 32],
        now: SystemTime,
    ) -> Result<Option<String>>;
    /// Forgets at most `limit` of those that ended at `now` or before. Tells how many.
    async fn forget_ended(&self, now: SystemTime, limit: u32) -> Result<u64>;
}

/// What limits have given out. All that share a store share it, so that together they never use
/// more than a limit allows.
#[async_trait]
pub trait Quotas: Send + Sync {
    /// Gives out what the limit leaves, and forgets what no longer counts.
    async fn lease(&self, lease: Lease) -> Result<Leased>;
    /// Takes back what was not used.
    async fn give_back(&self, unused: Vec<Unused>) -> Result<()>;
    /// The last moment that was kept.
    async fn steady_time(&self) -> Result<Option<SteadyTime>>;
    async fn keep_steady_time(&self, time: SteadyTime) -> Result<()>;
}

/// What a process needs in order to know what exists, and to hear when that changes.
#[async_trait]
pub trait Registry: Send + Sync {
    /// One higher after every change of an account, a catalog row, a route, a recipe or a key.
    async fn version(&self) -> Result<Version>;
    /// All rows as they stood together at one version.
    async fn rows(&self) -> Result<RegistryRows>;
    /// Chance that was made with the store and never changes.
    async fn salt(&self) -> Result<[u8; 32]>;
    /// The version that this process knows, and a wake-up at each later one. It may skip some.
    fn changes(&self) -> watch::Receiver<Version>;
}

/// What was asked of providers. Rows are added and, once they are old, removed; never changed.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// The highest id that was ever kept and is not forgotten; 0 where there is none.
    async fn last_id(&self) -> Result<i64>;
    /// Keeps all of them together. Rows whose id is kept already stay as they are, so a batch whose
    /// fate is not known can be appended again.
    async fn append(&self, rows: Arc<[AttemptRow]>) -> Result<()>;
    async fn list(&self, asked: AttemptsAsked) -> Result<Paged<AttemptRow, AttemptCursor>>;
    /// Sums in the order of buckets and groups, which are fields that many attempts share: not call,
    /// state, reason, status, start and cost. `None` = there are more than asked for.
    async fn sums(&self, asked: UsageAsked) -> Result<Option<Vec<UsageSum>>>;
    /// What every account was asked and did in attempts that ended at `since` or later.
    async fn totals(&self, since: SystemTime) -> Result<Vec<AccountTotals>>;
    /// How the last attempts with each account ended, oldest first: at most `most` of an account,
    /// and none that ended before `since`.
    async fn outcomes(&self, since: SystemTime, most: u32) -> Result<Vec<AccountOutcome>>;
    /// Forgets at most `limit` of those that ended before that time. Tells how many.
    async fn forget_before(&self, time: SystemTime, limit: u32) -> Result<u64>;
}
