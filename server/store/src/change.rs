//! What goes with a change, and what became of it.

use std::time::{Duration, SystemTime};

use crate::version::Version;

/// Everything that is kept together with the effect of one call.
#[derive(Clone, Debug)]
pub struct Change {
    /// When it is made.
    pub at: SystemTime,
    /// The caller's request id. None = a repeat makes another effect.
    pub request: Option<Request>,
    /// Who does it. None = nobody asks.
    pub audit: Option<AuditEvent>,
    /// The registry's version that it was decided on: at any other it is refused
    /// ([`crate::Error::Outdated`]). For rules that span rows, such as "no route names this model".
    pub based_on: Option<Version>,
}

impl Change {
    pub fn at(at: SystemTime) -> Self {
        Self { at, request: None, audit: None, based_on: None }
    }

    /// A repeat of the request has no further effect.
    #[must_use]
    pub fn repeatable(mut self, request: Request) -> Self {
        self.request = Some(request);
        self
    }

    #[must_use]
    pub fn audited(mut self, event: AuditEvent) -> Self {
        self.audit = Some(event);
        self
    }

    #[must_use]
    pub fn based_on(mut self, version: Version) -> Self {
        self.based_on = Some(version);
        self
    }
}

/// Whose request id it is: another owner's or another method's is another request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey {
    pub owner: String,
    /// Full name of the RPC.
    pub method: String,
    pub request_id: String,
}

/// A request that may come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub key: RequestKey,
    /// Of the canonical bytes of the request.
    pub payload_hash: [u8; 32],
    /// Name of the resource that it makes or changes: what a repeat is told.
    pub resource: String,
    /// How long a repeat is known.
    pub window: Duration,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved<T> {
    /// It is kept, durably. The row as it is now.
    Done(T),
    /// The request was kept before; nothing changed now. Name of what it made then.
    Replayed(String),
    /// There is no such row; nothing changed.
    Missing,
}

impl<T> Saved<T> {
    /// The row, if this call changed it.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(row) => Some(row),
            Self::Replayed(_) | Self::Missing => None,
        }
    }
}

/// A call that changed something, or tried to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Must be free.
    pub id: String,
    pub at: SystemTime,
    pub actor: String,
    /// Id of the key. Empty = none was used.
    pub api_key: String,
    pub method: String,
    pub resource: String,
    pub before_hash: Option<[u8; 32]>,
    pub after_hash: Option<[u8; 32]>,
    pub outcome: String,
    pub reason: String,
    pub peer_address: String,
    pub request_id: String,
    /// Paths, never values.
    pub changed_fields: Vec<String>,
}
