//! An account at a provider: where it is called and with which key.

use std::fmt;

use mediary_store::{AccountState, Stamp};
use serde::{Deserialize, Serialize};

use super::{ModelRow, Origin};
use crate::config::{ProtocolSettings, Secret};

/// Credentials are bound to the address they are for; no request can change it.
#[derive(Clone)]
pub struct Account {
    pub id: String,
    /// Id of the provider.
    pub provider: String,
    pub display_name: String,
    /// Without a slash at the end.
    pub base_uri: String,
    pub settings: AccountSettings,
    /// How an operator or a provider has left it.
    pub state: AccountState,
    /// Why it cannot be used, however it stands; a sentence that names the mend.
    pub fault: Option<String>,
    pub key_hint: String,
    pub key_fingerprint: String,
    pub origin: Origin,
    /// Set where the store has a row of it.
    pub stamp: Option<Stamp>,
    pub(super) secret: Option<Secret>,
}

/// What of an account the store keeps as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountSettings {
    /// Its own address. Empty = that of the provider.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub base_uri: String,
    /// The address that its key was given for: it travels to no other. Empty = it has no key here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_for: String,
    #[serde(skip_serializing_if = "ProtocolSettings::is_usual")]
    pub protocol: ProtocolSettings,
    /// `providers/{provider}/models/{model}`. Empty = all of its provider.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_models: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// Of calls. `None` = no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<i32>,
}

/// Of money, in 1e-12 USD. `None` = no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_pico_usd: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month_pico_usd: Option<i64>,
}

impl Account {
    pub fn new(id: String, base_uri: &str, secret: Option<Secret>) -> Self {
        Self {
            display_name: id.clone(),
            id,
            provider: String::new(),
            base_uri: base_uri.trim_end_matches('/').to_owned(),
            settings: AccountSettings::default(),
            state: AccountState::Active,
            fault: None,
            key_hint: String::new(),
            key_fingerprint: String::new(),
            origin: Origin::Config,
            stamp: None,
            secret,
        }
    }

    pub fn name(&self) -> String {
        format!("accounts/{}", self.id)
    }

    /// The key in clear: for the one header that carries it, and for hiding it in texts.
    pub fn secret(&self) -> Option<&str> {
        self.secret.as_ref().map(Secret::expose)
    }

    /// Whether it may be asked at all.
    pub fn is_usable(&self) -> bool {
        self.state == AccountState::Active && self.fault.is_none()
    }

    /// Whether it may be asked for that model.
    pub fn serves(&self, model: &ModelRow) -> bool {
        let allowed = &self.settings.allowed_models;
        self.is_usable() && (allowed.is_empty() || allowed.contains(&model.name))
    }

    /// Why it is not asked for a model, in one sentence.
    pub fn why_not(&self, model: &ModelRow) -> String {
        let name = self.name();
        match (self.state, &self.fault) {
            (AccountState::Disabled, _) => format!("{name} is disabled"),
            (AccountState::CredentialsRejected, _) => {
                format!("{name} was refused by the provider: send another key or enable it")
            }
            (AccountState::Active, Some(fault)) => format!("{name}: {fault}"),
            (AccountState::Active, None) => format!("{name} may not be used for {}", model.name),
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("id", &self.id).finish_non_exhaustive()
    }
}
