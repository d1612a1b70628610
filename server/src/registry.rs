//! What exists: providers, models and accounts, in one immutable snapshot.
//!
//! Owns: reading rows (built in, from a folder, from the environment), checking them, and finding
//! what a caller names. Leaves: choosing among what was found (`routing`).
//! Invariant: a snapshot is whole and checked; readers hold it without a lock and it is swapped,
//! never changed.

mod account;
mod find;
mod keeper;
mod load;
mod model;
mod provider;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

pub use self::{
    account::Account,
    keeper::Keeper,
    load::{Rows, load},
    model::{DatedPrice, Lifecycle, ModelRow},
    provider::{AuthScheme, ProviderKind, ProviderRow},
};
use crate::provider::Provider;

/// One provider: its row, the adapter that speaks its wire, and the accounts we have there.
pub struct Entry {
    pub row: Arc<ProviderRow>,
    pub adapter: Arc<dyn Provider>,
    pub accounts: Vec<Arc<Account>>,
}

/// Everything that exists at one moment.
#[derive(Default)]
pub struct Snapshot {
    /// By provider id.
    pub providers: BTreeMap<String, Entry>,
    /// By resource name.
    pub models: BTreeMap<String, Arc<ModelRow>>,
}

/// The handle that everybody reads through.
#[derive(Clone)]
pub struct Registry(Arc<ArcSwap<Snapshot>>);

impl Registry {
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(snapshot)))
    }

    pub fn now(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}
