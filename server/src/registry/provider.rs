//! The row of a provider.

use std::{collections::BTreeMap, time::Duration};

use mediary_domain::Parameter;
use serde::Deserialize;

use super::Address;
use crate::dialect::{openai, openai_chat, openai_responses};

/// A vendor or a local server, as `catalog/providers/<id>.toml` describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderRow {
    pub id: String,
    pub display_name: String,
    /// Which adapter speaks its wire; one of `providers::ENTRIES`. A model's row may name another.
    pub dialect: String,
    #[serde(default)]
    pub kind: ProviderKind,
    /// Where it is called, without a slash at the end.
    #[serde(default)]
    pub base_uri: String,
    #[serde(default)]
    pub documentation_uri: String,
    /// Any model name may be asked for; a row is not needed.
    #[serde(default)]
    pub open_models: bool,
    /// Fixed headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub auth: Auth,
    /// Where its operations lie below the base URL.
    #[serde(default)]
    pub address: Address,
    /// The same for accounts that name a version of the API.
    #[serde(default)]
    pub versioned: Option<Address>,
    #[serde(default)]
    pub openai: openai::Quirks,
    #[serde(default)]
    pub openai_chat: openai_chat::Quirks,
    #[serde(default)]
    pub openai_responses: openai_responses::Quirks,
    /// Longest silence of a running answer; from the configuration.
    #[serde(skip)]
    pub idle_timeout: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    #[default]
    Remote,
    Local,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "AuthRow")]
pub struct Auth {
    pub scheme: AuthScheme,
    /// Without a key the provider cannot be called.
    pub required: bool,
    /// Environment variables that hold the key; the first that is set wins.
    pub key_env: Vec<String>,
    /// Environment variables that hold a token instead, which is sent as a bearer.
    pub bearer_env: Vec<String>,
    /// Environment variables that hold another base URL.
    pub base_uri_env: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    Bearer,
    Header(String),
    None,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AuthRow {
    scheme: String,
    header: String,
    required: Option<bool>,
    key_env: Vec<String>,
    bearer_env: Vec<String>,
    base_uri_env: Vec<String>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            scheme: AuthScheme::Bearer,
            required: true,
            key_env: Vec::new(),
            bearer_env: Vec::new(),
            base_uri_env: Vec::new(),
        }
    }
}

impl TryFrom<AuthRow> for Auth {
    type Error = String;

    fn try_from(row: AuthRow) -> Result<Self, String> {
        let scheme = match (row.scheme.as_str(), row.header.as_str()) {
            ("" | "bearer", "") => AuthScheme::Bearer,
            ("header", header) if !header.is_empty() => AuthScheme::Header(header.to_owned()),
            ("none", "") => AuthScheme::None,
            ("header", _) => return Err("auth.header must name the header".to_owned()),
            ("bearer" | "none" | "", _) => {
                return Err("auth.header goes with scheme = \"header\" only".to_owned());
            }
            (other, _) => {
                return Err(format!(
                    "auth.scheme {other:?} is not one of \"bearer\", \"header\", \"none\""
                ));
            }
        };
        Ok(Self {
            required: row.required.unwrap_or(scheme != AuthScheme::None),
            scheme,
            key_env: row.key_env,
            bearer_env: row.bearer_env,
            base_uri_env: row.base_uri_env,
        })
    }
}

impl ProviderRow {
    pub fn name(&self) -> String {
        format!("providers/{}", self.id)
    }

    pub fn is_local(&self) -> bool {
        self.kind == ProviderKind::Local
    }

    /// Parameters that no model of this provider takes when asked with `dialect`.
    pub fn refused(&self, dialect: &str) -> Vec<Parameter> {
        match dialect {
            "openai_chat" => self.openai_chat.refused(),
            "openai_responses" => self.openai_responses.refused(),
            "anthropic" => crate::providers::anthropic::REFUSED.to_vec(),
            "cohere" => crate::providers::cohere::REFUSED.to_vec(),
            "gemini" => crate::providers::gemini::REFUSED.to_vec(),
            "ollama" => crate::providers::ollama::REFUSED.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Whether its vectors can be asked for with what they are for.
    pub fn takes_purpose(&self, dialect: &str) -> bool {
        match dialect {
            "openai_chat" | "openai_responses" => !self.openai.purpose_field.is_empty(),
            "ollama" | "sandbox" => false,
            _ => true,
        }
    }

    /// Its key variables, then those of its address.
    pub fn required_env(&self) -> Vec<String> {
        let key = self.auth.key_env.first().filter(|_| self.auth.scheme != AuthScheme::None);
        let address = self.auth.base_uri_env.first();
        let has_none = self.base_uri.is_empty() && self.auth.required;
        match (self.auth.required, self.is_local()) {
            (true, _) => {
                let address = address.filter(|_| has_none);
                key.into_iter().chain(address).cloned().collect()
            }
            (false, true) => address.into_iter().cloned().collect(),
            (false, false) => Vec::new(),
        }
    }
}
