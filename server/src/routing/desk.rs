//! What is known of a call beside what it asks, and who hears how its attempts end.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use mediary_domain::{Capability, Error, Result};
use tracing::debug;

use super::{
    accounts::Accounts,
    outcome::Attempt,
    strategy::{Learned, Lesson, Verdict},
};
use crate::{
    access::{Caller, Key, Role},
    clock::Clock,
    ledger::{Entry, Ledger},
    provider::ModelRow,
    telemetry::{Metrics, Tally},
};

/// Whose call it is, and what it is for.
pub struct CallFacts {
    /// The id of its generation; a call that is none has one that nobody is told.
    pub id: Arc<str>,
    pub kind: CallKind,
    pub capability: Capability,
    pub owner: Arc<str>,
    pub role: Role,
    /// `None` = it came without one.
    pub key: Option<Arc<Key>>,
    /// The task that was named, as `routes/{task}`. Empty = none was.
    pub route: String,
    pub labels: BTreeMap<String, String>,
    /// What its RPC adds up.
    pub tally: Tally,
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
            role: caller.role,
            key: caller.key.clone(),
            route: String::new(),
            labels: BTreeMap::new(),
            tally: caller.tally.clone(),
        }
    }
}

/// What every call is served with. A cheap handle.
#[derive(Clone)]
pub struct Desk {
    pub clock: Clock,
    pub accounts: Accounts,
    pub metrics: Metrics,
    pub learned: Learned,
    ledger: Ledger,
}

impl Desk {
    pub fn new(
        clock: Clock,
        accounts: Accounts,
        metrics: Metrics,
        ledger: Ledger,
        learned: Learned,
    ) -> Self {
        Self { clock, accounts, metrics, learned, ledger }
    }

    /// A call goes on with the next candidate.
    pub fn fell_back(&self, from: &ModelRow, to: &ModelRow, why: &Error) {
        self.metrics.fallback(from, to, why);
    }

    /// Waits until what a call does can be kept: before it is routed, and for a moment only.
    pub async fn admit(&self) -> Result<()> {
        self.ledger.admit().await
    }

    /// Hears of an attempt that has ended: exactly once of each, however it ended. `accepted` is
    /// when its call was; `is_last` tells that no other attempt is to follow.
    pub fn ended(
        &self,
        call: &Arc<CallFacts>,
        attempt: &Attempt,
        accepted: Instant,
        is_last: bool,
    ) {
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
        self.metrics.attempt(call, attempt);
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
        self.ledger.note(Entry {
            call: call.clone(),
            attempt: attempt.clone(),
            is_last,
            call_took: self.clock.now().saturating_duration_since(accepted),
        });
    }
}
