//! An account at a provider: where it is called and with which key.

use std::fmt;

use crate::config::{ProtocolSettings, Secret};

/// Credentials are bound to the address they are for; no request can change it.
pub struct Account {
    pub id: String,
    /// Without a slash at the end.
    pub base_uri: String,
    pub protocol: ProtocolSettings,
    secret: Option<Secret>,
}

impl Account {
    pub fn new(id: String, base_uri: &str, secret: Option<Secret>) -> Self {
        Self {
            id,
            base_uri: base_uri.trim_end_matches('/').to_owned(),
            protocol: ProtocolSettings::default(),
            secret,
        }
    }

    #[must_use]
    pub fn with(self, protocol: ProtocolSettings) -> Self {
        Self { protocol, ..self }
    }

    /// The key in clear: for the one header that carries it, and for hiding it in texts.
    pub fn secret(&self) -> Option<&str> {
        self.secret.as_ref().map(Secret::expose)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("id", &self.id).finish_non_exhaustive()
    }
}
