//! Turns what a caller named into an ordered list of candidates.
//!
//! Invariant: a plan is never empty; no candidate means an error, made here.

use std::sync::Arc;

use mediary_domain::{Capability, ChatCall, Error, Kind, Result, Target, Warning};

use super::fit::fit;
use crate::{
    access::Permit,
    provider::{Account, ModelRow, Provider, ProviderRow},
    registry::{Entry, Lifecycle, Snapshot},
};

/// What the caller wants, beside the call itself.
pub struct Wish {
    pub target: Target,
    pub capability: Capability,
    /// What the caller may use.
    pub permit: Permit,
    /// Models to try after the target's own.
    pub fallback_models: Vec<String>,
    /// Whether candidates after the first may serve.
    pub allow_fallback: bool,
}

/// Candidates, best first.
pub struct Plan {
    pub candidates: Vec<Candidate>,
}

/// One model with one account, and the call as this model takes it.
pub struct Candidate {
    pub provider: Arc<ProviderRow>,
    pub adapter: Arc<dyn Provider>,
    pub model: Arc<ModelRow>,
    pub account: Arc<Account>,
    pub call: Arc<ChatCall>,
    pub warnings: Vec<Warning>,
}

/// The plan for a call. `sandbox_in_auto`: whether target `auto` may be answered by the sandbox.
pub fn plan(
    snapshot: &Snapshot,
    wish: &Wish,
    call: ChatCall,
    sandbox_in_auto: bool,
) -> Result<Plan> {
    let models = models(snapshot, wish, sandbox_in_auto)?;
    let call = Arc::new(call);
    let mut candidates = Vec::new();
    let mut refusal = None;
    for model in &models {
        let Some(entry) = snapshot.providers.get(&model.provider) else { continue };
        let outcome = allowed(&wish.permit, model)
            .and_then(|()| check(entry, model, wish.capability))
            .and_then(|()| fit(&entry.row, model, &call));
        let (call, warnings) = match outcome {
            Ok(fitted) => fitted,
            Err(error) => {
                refusal.get_or_insert(error);
                continue;
            }
        };
        for account in &entry.accounts {
            candidates.push(Candidate {
                provider: entry.row.clone(),
                adapter: entry.adapter.clone(),
                model: model.clone(),
                account: account.clone(),
                call: call.clone(),
                warnings: warnings.clone(),
            });
        }
        if entry.accounts.is_empty() {
            refusal.get_or_insert_with(|| no_account(&entry.row));
        }
    }
    if !wish.allow_fallback {
        candidates.truncate(1);
    }
    match (candidates.is_empty(), refusal) {
        (false, _) => Ok(Plan { candidates }),
        (true, Some(error)) => Err(error),
        (true, None) => Err(nobody(wish.capability)),
    }
}

fn models(snapshot: &Snapshot, wish: &Wish, sandbox: bool) -> Result<Vec<Arc<ModelRow>>> {
    let mut models = match &wish.target {
        Target::Model(name) => vec![snapshot.model(name)?],
        Target::Auto => defaults(snapshot, wish.capability, sandbox),
        Target::Preset(name) => return Err(Error::not_found("mediary.admin.v1.Preset", name)),
        Target::Route(task) => {
            return Err(Error::not_found("mediary.admin.v1.Route", format!("routes/{task}")));
        }
    };
    for name in &wish.fallback_models {
        models.push(snapshot.model(name)?);
    }
    Ok(models)
}

/// One model a provider, the providers that can be called, by id; the sandbox last.
fn defaults(snapshot: &Snapshot, capability: Capability, sandbox: bool) -> Vec<Arc<ModelRow>> {
    let fits = |model: &&Arc<ModelRow>| {
        model.default_for.contains(&capability)
            && model.lifecycle == Lifecycle::Active
            && snapshot.is_callable(&model.provider)
    };
    let (pretend, real): (Vec<_>, Vec<_>) = snapshot
        .models
        .values()
        .filter(fits)
        .cloned()
        .partition(|model| model.provider == "sandbox");
    real.into_iter().chain(pretend.into_iter().filter(|_| sandbox)).collect()
}

fn allowed(permit: &Permit, model: &ModelRow) -> Result<()> {
    if permit.allows_model(&model.name) {
        return Ok(());
    }
    let message = format!("this key may not use {}: its allowed_models do not name it", model.name);
    Err(Error::new(Kind::ModelNotAllowed, message).fact("model", model.name.as_str()))
}

/// The model must have it, and its wire must be able to ask for it.
fn check(entry: &Entry, model: &ModelRow, capability: Capability) -> Result<()> {
    if model.capabilities.contains(&capability) && entry.adapter.offers().contains(&capability) {
        return Ok(());
    }
    Err(Error::new(
        Kind::CapabilityUnsupported,
        format!("{} does not do {}", model.name, capability.as_str()),
    )
    .fact("model", model.name.as_str())
    .fact("capability", capability.as_str()))
}

fn no_account(row: &ProviderRow) -> Error {
    let env = row.required_env();
    let mend = if env.is_empty() {
        "add an account for it".to_owned()
    } else {
        format!("set {} or add an account for it", env.join(" and "))
    };
    Error::new(
        Kind::NoUsableAccount,
        format!("no account at {} can be used: {mend}", row.display_name),
    )
    .fact("provider", row.id.as_str())
    .fact("requiredEnv", env.join(","))
}

fn nobody(capability: Capability) -> Error {
    Error::new(
        Kind::NoUsableAccount,
        format!(
            "no provider with an account does {}: set the key of one, or name a model such as \
             sandbox-text",
            capability.as_str()
        ),
    )
    .fact("capability", capability.as_str())
}
