//! What exists: providers, models and accounts, in one immutable snapshot.
//!
//! Owns: reading rows (built in, from a folder, from the environment), checking them, and finding
//! what a caller names. Leaves: choosing among what was found (`routing`).
//! Invariant: a snapshot is whole and checked; readers hold it without a lock and it is swapped,
//! never changed.

mod account;
mod address;
mod find;
mod keeper;
mod load;
mod model;
mod provider;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

pub use self::{
    account::Account,
    address::Address,
    keeper::Keeper,
    load::{Rows, load},
    model::{DatedPrice, Lifecycle, ModelRow},
    provider::{AuthScheme, ProviderKind, ProviderRow},
};
use crate::provider::Provider;

/// One provider: its row, the adapters that speak its wires, and the accounts we have there.
pub struct Entry {
    pub row: Arc<ProviderRow>,
    pub adapters: Adapters,
    pub accounts: Vec<Arc<Account>>,
}

/// What speaks to one provider: the adapter of its own dialect, and one more for each other
/// dialect that a row of its models names.
pub struct Adapters {
    own: Arc<dyn Provider>,
    others: BTreeMap<String, Arc<dyn Provider>>,
}

impl Adapters {
    /// The provider's own: for what concerns no single model.
    pub fn own(&self) -> &Arc<dyn Provider> {
        &self.own
    }

    /// The one that asks this model.
    pub fn of(&self, model: &ModelRow) -> &Arc<dyn Provider> {
        self.others.get(&model.dialect).unwrap_or(&self.own)
    }
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
