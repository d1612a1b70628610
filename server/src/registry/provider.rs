//! The row of a provider.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderName, HeaderValue, header};
use mediary_domain::Parameter;
use mediary_store::Stamp;
use serde::{Deserialize, Serialize};

use super::{Address, Origin};
use crate::{
    dialect::{openai, openai_chat, openai_responses},
    transport::RateLimitHeaders,
};

/// Headers that belong to the connection or carry the key.
const NOT_FIXED: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TRANSFER_ENCODING,
];

/// A vendor or a local server, as `catalog/providers/<id>.toml` describes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioned: Option<Address>,
    /// Headers that tell what is left of an account's limits.
    #[serde(default)]
    pub rate_limits: RateLimitHeaders,
    #[serde(default)]
    pub openai: openai::Quirks,
    #[serde(default)]
    pub openai_chat: openai_chat::Quirks,
    #[serde(default)]
    pub openai_responses: openai_responses::Quirks,
    /// Longest silence of a running answer; from the configuration.
    #[serde(skip)]
    pub idle_timeout: Duration,
    #[serde(skip)]
    pub origin: Origin,
    /// Set where the store has a row of it.
    #[serde(skip)]
    pub stamp: Option<Stamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    #[default]
    Remote,
    Local,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, try_from = "AuthRow", into = "AuthRow")]
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

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct AuthRow {
    scheme: String,
    #[serde(skip_serializing_if = "String::is_empty")]
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

impl From<Auth> for AuthRow {
    fn from(auth: Auth) -> Self {
        let header = match &auth.scheme {
            AuthScheme::Header(name) => name.clone(),
            AuthScheme::Bearer | AuthScheme::None => String::new(),
        };
        Self {
            scheme: auth.scheme.as_str().to_owned(),
            header,
            required: Some(auth.required),
            key_env: auth.key_env,
            bearer_env: auth.bearer_env,
            base_uri_env: auth.base_uri_env,
        }
    }
}

impl AuthScheme {
    /// How a wire sends its key where nobody says otherwise.
    pub fn usual(dialect: &str) -> Self {
        match dialect {
            "anthropic" => Self::Header("x-api-key".to_owned()),
            "gemini" => Self::Header("x-goog-api-key".to_owned()),
            "sandbox" => Self::None,
            _ => Self::Bearer,
        }
    }

    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Header(_) => "header",
            Self::None => "none",
        }
    }
}

impl ProviderRow {
    /// A row that says nothing but its wire.
    pub fn plain(id: &str, dialect: &str) -> Self {
        Self {
            id: id.to_owned(),
            display_name: String::new(),
            dialect: dialect.to_owned(),
            kind: ProviderKind::Remote,
            base_uri: String::new(),
            documentation_uri: String::new(),
            open_models: false,
            headers: BTreeMap::new(),
            auth: Auth::default(),
            address: Address::default(),
            versioned: None,
            rate_limits: RateLimitHeaders::default(),
            openai: openai::Quirks::default(),
            openai_chat: openai_chat::Quirks::default(),
            openai_responses: openai_responses::Quirks::default(),
            idle_timeout: Duration::ZERO,
            origin: Origin::Config,
            stamp: None,
        }
    }

    /// The environment variables that it names, whatever they are for.
    pub fn variables(&self) -> impl Iterator<Item = &String> {
        let versioned = self.versioned.as_ref().map(|one| &one.api_version_env);
        let own = [
            &self.auth.key_env,
            &self.auth.bearer_env,
            &self.auth.base_uri_env,
            &self.address.api_version_env,
        ];
        own.into_iter().chain(versioned).flatten()
    }

    /// What would break every call, each with its path in the row.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        for (name, value) in &self.headers {
            let path = || format!("headers.{name}");
            match HeaderName::try_from(name) {
                Ok(known) if NOT_FIXED.contains(&known) => {
                    problems.push((path(), "is not a fixed header".to_owned()));
                }
                Ok(_) if HeaderValue::try_from(value).is_ok() => {}
                Ok(_) => problems.push((path(), "is no value of a header".to_owned())),
                Err(_) => problems.push((path(), "is no name of a header".to_owned())),
            }
        }
        if let AuthScheme::Header(name) = &self.auth.scheme
            && HeaderName::try_from(name).is_err()
        {
            problems.push(("auth.header".to_owned(), "is no name of a header".to_owned()));
        }
        problems
    }

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
