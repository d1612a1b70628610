//! The rows. Texts that end in `_json` are opaque here: the server writes and reads them.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{change::AuditEvent, page::AuditCursor, version::Version};

/// What the store sets itself; on the way in it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub version: Version,
    pub create_time: SystemTime,
    pub update_time: SystemTime,
}

impl Default for Stamp {
    fn default() -> Self {
        Self { version: Version(0), create_time: UNIX_EPOCH, update_time: UNIX_EPOCH }
    }
}

/// A key with which callers reach Mediary. The secret itself is not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    /// Public part of what callers send, to find the row by.
    pub prefix: String,
    pub secret_hash: [u8; 32],
    /// Last characters of the secret.
    pub key_hint: String,
    pub owner: String,
    pub display_name: String,
    pub role: String,
    pub enabled: bool,
    pub expire_time: Option<SystemTime>,
    /// Set by [`crate::ApiKeys::touch`] alone.
    pub last_used_time: Option<SystemTime>,
    /// What it may use, and its limits.
    pub settings_json: String,
    pub stamp: Stamp,
}

/// An account at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: String,
    /// Id of the provider.
    pub provider: String,
    pub display_name: String,
    pub secret: Secret,
    /// Last characters of the secret. Empty = none are shown.
    pub key_hint: String,
    /// Tells equal secrets from different ones.
    pub key_fingerprint: String,
    pub state: AccountState,
    /// `manual`, or what the row overlays.
    pub origin: String,
    /// Address, settings of the protocol, limits, budget, weight, models.
    pub settings_json: String,
    pub stamp: Stamp,
}

/// What an account signs in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    None,
    Sealed(Sealed),
    /// Where the server reads it, such as `env:NAME`.
    Reference(String),
}

/// A secret that only the holder of the sealing key can read.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key sealed it.
    pub key_id: String,
    pub bytes: Vec<u8>,
}

/// How an account stands, as far as that outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountState {
    Active,
    Disabled,
    CredentialsRejected,
}

impl AccountState {
    pub const ALL: [Self; 3] = [Self::Active, Self::Disabled, Self::CredentialsRejected];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::CredentialsRejected => "credentials_rejected",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Which row of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CatalogKey {
    Provider(String),
    Model { provider: String, id: String },
}

impl CatalogKey {
    /// The kind as it is kept.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Provider(_) => "provider",
            Self::Model { .. } => "model",
        }
    }

    /// The provider of a model; empty for a provider.
    pub fn parent(&self) -> &str {
        match self {
            Self::Provider(_) => "",
            Self::Model { provider, .. } => provider,
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Self::Provider(id) | Self::Model { id, .. } => id,
        }
    }

    /// From the three as they are kept.
    pub fn from_parts(kind: &str, parent: String, id: String) -> Option<Self> {
        match kind {
            "provider" if parent.is_empty() => Some(Self::Provider(id)),
            "model" => Some(Self::Model { provider: parent, id }),
            _ => None,
        }
    }
}

impl fmt::Display for CatalogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(id) => write!(f, "providers/{id}"),
            Self::Model { provider, id } => write!(f, "providers/{provider}/models/{id}"),
        }
    }
}

/// A provider or a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogRow {
    pub key: CatalogKey,
    pub origin: String,
    pub json: String,
    pub stamp: Stamp,
}

/// Who serves a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The task.
    pub id: String,
    pub origin: String,
    pub json: String,
    pub stamp: Stamp,
}

/// Which recipe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecipeKey {
    Preset(String),
    Workflow(String),
}

impl RecipeKey {
    /// The kind as it is kept.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Preset(_) => "preset",
            Self::Workflow(_) => "workflow",
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Self::Preset(id) | Self::Workflow(id) => id,
        }
    }

    /// From the two as they are kept.
    pub fn from_parts(kind: &str, id: String) -> Option<Self> {
        match kind {
            "preset" => Some(Self::Preset(id)),
            "workflow" => Some(Self::Workflow(id)),
            _ => None,
        }
    }
}

impl fmt::Display for RecipeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s/{}", self.kind(), self.id())
    }
}

/// A preset or a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeRow {
    pub key: RecipeKey,
    /// `deleted` = it hides one that stands below the store.
    pub origin: String,
    pub json: String,
    pub stamp: Stamp,
}

/// What attempts have taught about a member of a preset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Id of the preset.
    pub preset: String,
    /// Name of the member's model.
    pub member: String,
    pub json: String,
    pub update_time: SystemTime,
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    pub cursor: AuditCursor,
    pub event: AuditEvent,
}

/// Everything that the registry is made of, at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryRows {
    pub version: Version,
    pub catalog: Vec<CatalogRow>,
    pub accounts: Vec<Account>,
    pub routes: Vec<Route>,
    pub recipes: Vec<RecipeRow>,
    pub api_keys: Vec<ApiKey>,
}

/// What went with a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    pub models: u64,
    pub accounts: u64,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}, {} bytes)", self.key_id, self.bytes.len())
    }
}
