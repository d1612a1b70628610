//! Why a model would not be asked, as a word, a sentence and a failure.

use std::sync::Arc;

use mediary_domain::{Capability, Error, Kind, PicoUsd};

use super::accounts::Closed;
use crate::{
    provider::{Account, ModelRow, ProviderRow},
    registry::{Entry, PresetRow},
};

/// A model that is named and not asked, at all or with one of its accounts.
#[derive(Clone)]
pub struct LeftOut {
    /// Its resource name; what was written where there is no such model.
    pub model: String,
    /// `None` = with any.
    pub account: Option<Arc<Account>>,
    pub why: Why,
}

impl LeftOut {
    pub fn model(name: &str, why: Why) -> Self {
        Self { model: name.to_owned(), account: None, why }
    }
}

#[derive(Clone)]
pub enum Why {
    /// No account at its provider may be used for it.
    NoAccount(Error),
    /// The caller's key does not name it.
    NotAllowed(Error),
    /// It does not take what was asked for.
    UnsupportedParameter(Error),
    /// It, or the wire to it, cannot do what is needed.
    UnsupportedCapability(Error),
    Retired(Error),
    Disabled(Error),
    /// A call is expected to cost more than the route allows.
    TooDear(Error),
    /// Nothing of that name exists.
    Unknown(Error),
    /// The provider does not take the key.
    CredentialsRejected(Error),
    /// The provider wants to be left alone for a while.
    RateLimited(Error),
    /// Its calls fail; it is tried again in a while.
    BreakerOpen(Error),
    /// A limit of the account is used up.
    LimitReached(Error),
    /// A budget of the account is used up.
    BudgetExceeded(Error),
    /// It would only be asked after another has failed, and the request forbids that.
    NoFallback,
}

impl Why {
    /// As the contract writes it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoAccount(_) => "no-account",
            Self::NotAllowed(_) => "not-allowed",
            Self::UnsupportedParameter(_) => "unsupported-parameter",
            Self::UnsupportedCapability(_) => "unsupported-capability",
            Self::Retired(_) => "retired",
            Self::Disabled(_) => "disabled",
            Self::TooDear(_) => "too-expensive",
            Self::Unknown(_) => "not-found",
            Self::CredentialsRejected(_) => "credentials-rejected",
            Self::RateLimited(_) => "rate-limited",
            Self::BreakerOpen(_) => "breaker-open",
            Self::LimitReached(_) => "limit-reached",
            Self::BudgetExceeded(_) => "budget-exceeded",
            Self::NoFallback => "no-fallback",
        }
    }

    /// In one sentence.
    pub fn detail(&self) -> String {
        match self.error() {
            Some(error) => error.to_string(),
            None => "the request allows no fallback".to_owned(),
        }
    }

    /// What a caller hears who gets nobody else.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::NoAccount(error)
            | Self::NotAllowed(error)
            | Self::UnsupportedParameter(error)
            | Self::UnsupportedCapability(error)
            | Self::Retired(error)
            | Self::Disabled(error)
            | Self::TooDear(error)
            | Self::Unknown(error)
            | Self::CredentialsRejected(error)
            | Self::RateLimited(error)
            | Self::BreakerOpen(error)
            | Self::LimitReached(error)
            | Self::BudgetExceeded(error) => Some(error),
            Self::NoFallback => None,
        }
    }
}

impl From<Closed> for Why {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Rejected(error) => Self::CredentialsRejected(error),
            Closed::Limited(error) => Self::RateLimited(error),
            Closed::Broken(error) => Self::BreakerOpen(error),
            Closed::Full(error) if error.kind() == Kind::BudgetExceeded => {
                Self::BudgetExceeded(error)
            }
            Closed::Full(error) => Self::LimitReached(error),
        }
    }
}

impl Why {
    /// Why an account would not let a call in.
    pub fn refused(error: Error) -> Self {
        match error.kind() {
            Kind::CredentialsRejected => Self::CredentialsRejected(error),
            Kind::UpstreamRateLimited => Self::RateLimited(error),
            Kind::UpstreamUnavailable => Self::BreakerOpen(error),
            Kind::BudgetExceeded => Self::BudgetExceeded(error),
            _ => Self::LimitReached(error),
        }
    }
}

pub fn not_allowed(model: &ModelRow) -> Error {
    let message = format!("this key may not use {}: its allowed_models do not name it", model.name);
    Error::new(Kind::ModelNotAllowed, message).fact("model", model.name.as_str())
}

pub fn route_not_allowed(task: &str) -> Error {
    let name = format!("routes/{task}");
    let message = format!("this key may not use {name}: its allowed_routes do not name it");
    Error::new(Kind::ModelNotAllowed, message).fact("route", name)
}

/// Whether a preset that was named may serve this.
pub fn check_preset(preset: &PresetRow, capability: Capability) -> Result<(), Error> {
    if !preset.enabled {
        return Err(Error::not_found("mediary.admin.v1.Preset", preset.name())
            .violation("target.preset", "an operator has disabled the preset"));
    }
    // With pictures to look at or without: both are text.
    if preset.capability.outputs() != capability.outputs() {
        let (is, wanted) = (preset.capability.as_str(), capability.as_str());
        let message = format!("{} is for {is}, and this call is {wanted}", preset.name());
        return Err(Error::new(Kind::CapabilityUnsupported, message)
            .fact("preset", preset.name())
            .fact("capability", wanted));
    }
    Ok(())
}

pub fn disabled(model: &ModelRow) -> Error {
    Error::not_found("mediary.v1.Model", model.name.as_str())
        .violation("target.model", "an operator has disabled the model")
}

pub fn unsupported(model: &ModelRow, capability: Capability) -> Error {
    Error::new(
        Kind::CapabilityUnsupported,
        format!("{} does not do {}", model.name, capability.as_str()),
    )
    .fact("model", model.name.as_str())
    .fact("capability", capability.as_str())
}

pub fn too_dear(model: &ModelRow, estimate: PicoUsd, most: i64) -> Error {
    let message = format!(
        "a call of {} is expected to cost {} pico-USD, and the route allows {most}",
        model.name, estimate.0
    );
    Error::new(Kind::BudgetExceeded, message).fact("quota", "max_cost_pico_usd")
}

pub fn no_account(entry: &Entry) -> Error {
    let row: &ProviderRow = &entry.row;
    let env = row.required_env();
    let mend = match (entry.accounts.is_empty(), env.is_empty()) {
        // Which ones, and why, is for operators to see.
        (false, _) => {
            "those that exist are disabled, lack their key or may not use the model".to_owned()
        }
        (true, true) => "add an account for it".to_owned(),
        (true, false) => format!("set {} or add an account for it", env.join(" and ")),
    };
    Error::new(
        Kind::NoUsableAccount,
        format!("no account at {} can be used: {mend}", row.display_name),
    )
    .fact("provider", row.id.as_str())
    .fact("requiredEnv", env.join(","))
}

pub fn nobody(capability: Capability) -> Error {
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
