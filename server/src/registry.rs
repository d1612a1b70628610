//! What exists: providers, models and accounts, in one immutable snapshot.
//!
//! Owns: reading rows (built in, from a folder, from the environment, from the store), checking
//! them, laying one over the other, and finding what a caller names. Leaves: choosing among what
//! was found (`routing`), keeping rows (the store), opening keys (`vault`).
//! Invariant: a snapshot is whole and checked; readers hold it without a lock and it is swapped,
//! never changed.

mod account;
mod accounts;
mod address;
mod base;
mod files;
mod find;
mod keeper;
mod model;
mod origin;
mod overlay;
mod preset;
mod provider;
mod recipes;
mod route;
mod tasks;
mod workflow;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

pub use self::{
    account::{Account, AccountSettings, Budget, Limits},
    address::Address,
    base::{Base, Rows},
    keeper::{Keeper, Moment},
    model::{DatedPrice, Lifecycle, ModelRow, STREAMING},
    origin::Origin,
    overlay::Complaint,
    preset::{
        AdaptiveRow, EnsembleMode, EnsembleRow, MOST_MEMBERS, MemberRow, PresetRow, Strategy,
        is_weight,
    },
    provider::{AuthScheme, ProviderKind, ProviderRow},
    recipes::DELETED,
    route::{MOST_FALLBACKS, RouteRow},
    workflow::{OnFailure, ParameterRow, StepRow, WorkflowKind, WorkflowRow},
};
use crate::provider::Provider;

/// One provider: its row, the adapters that speak its wires, and the accounts we have there.
pub struct Entry {
    pub row: Arc<ProviderRow>,
    pub adapters: Adapters,
    /// Usable or not, in the order in which they are asked.
    pub accounts: Vec<Arc<Account>>,
}

impl Entry {
    /// Accounts that can be used.
    pub fn usable(&self) -> usize {
        self.accounts.iter().filter(|account| account.is_usable()).count()
    }

    /// Whether any account may be asked for the model.
    pub fn serves(&self, model: &ModelRow) -> bool {
        self.accounts.iter().any(|account| account.serves(model))
    }
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
    /// By id.
    pub accounts: BTreeMap<String, Arc<Account>>,
    /// By task.
    pub routes: BTreeMap<String, Arc<RouteRow>>,
    /// By id.
    pub presets: BTreeMap<String, Arc<PresetRow>>,
    /// By id.
    pub workflows: BTreeMap<String, Arc<WorkflowRow>>,
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

    fn swap(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}

#[cfg(test)]
mod tests;
