//! What is known of a call beside what it asks, and who hears how its attempts end.

use std::{collections::BTreeMap, sync::Arc};

use mediary_domain::{Capability, Error};
use tracing::debug;

use super::{
    accounts::Accounts,
    run::Attempt,
    strategy::{Learned, Lesson, Verdict},
};
use crate::{
    access::{Caller, Key},
    clock::Clock,
};

/// Whose call it is, and what it is for.
pub struct CallFacts {
    /// The id of its generation; a call that is none has one that nobody is told.
    pub id: Arc<str>,
    pub kind: CallKind,
    pub capability: Capability,
    pub owner: Arc<str>,
    /// `None` = it came without one.
    pub key: Option<Arc<Key>>,
    /// The task that was named, as `routes/{task}`. Empty = none was.
    pub route: String,
    pub labels: BTreeMap<String, String>,
}

/// What sort of work a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Chat,
    Embeddings,
}

impl CallFacts {
    pub fn new(id: Arc<str>, kind: CallKind, capability: Capability, caller: &Caller) -> Self {
        Self {
            id,
            kind,
            capability,
            owner: caller.owner.clone(),
            key: caller.key.clone(),
            route: String::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// What every call is served with. A cheap handle.
#[derive(Clone)]
pub struct Desk {
    pub clock: Clock,
    pub accounts: Accounts,
    pub learned: Learned,
}

impl Desk {
    pub fn new(clock: Clock, accounts: Accounts, learned: Learned) -> Self {
        Self { clock, accounts, learned }
    }

    /// Hears of an attempt that has ended: exactly once of each, however it ended.
    pub fn ended(&self, call: &CallFacts, attempt: &Attempt) {
        if let Some(preset) = attempt.preset.strip_prefix("presets/") {
            self.learned.hear(&Lesson {
                preset,
                member: &attempt.model.name,
                verdict: Verdict::of(attempt.failure.as_ref()),
                took: attempt.took,
                cost: attempt.cost,
                at: self.clock.wall(),
            });
        }
        self.accounts.ended(attempt);
        debug!(
            call = %call.id,
            kind = ?call.kind,
            capability = call.capability.as_str(),
            owner = %call.owner,
            key = call.key.as_ref().map(|key| key.name()),
            route = call.route,
            preset = %attempt.preset,
            labels = call.labels.len(),
            account = attempt.account.id,
            model = attempt.model.name,
            failure = ?attempt.failure.as_ref().map(Error::kind),
            took = ?attempt.took,
            "attempt {} has ended",
            attempt.index,
        );
    }
}
