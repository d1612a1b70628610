//! What can go wrong in a store. What is not there is no error.

use mediary_domain::{Error as DomainError, Kind};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The id is taken. The resource by name.
    #[error("{0} exists already")]
    Exists(String),
    /// The row is not at the version that the change was meant for. The resource by name.
    #[error("{0} was changed meanwhile")]
    EtagMismatch(String),
    /// What exists is not at the version that the change was decided on.
    #[error("the registry was changed meanwhile")]
    Outdated,
    /// The same request id came with another payload.
    #[error("request_id was used for another request")]
    RequestIdReused,
    /// The store cannot answer now: locked, too slow, closed, an input or output error. Whether a
    /// change was kept is not known; a repeat with the same request id is safe.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// There is no room left; nothing was changed, and what is kept can still be read.
    #[error("the store is full: free disk space")]
    Full,
    /// What is kept cannot be understood.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
    /// A later release has changed the tables.
    #[error(
        "the store has schema {found}, this release knows up to {known}: use the release that \
         made it, or restore a backup"
    )]
    NewerSchema { found: i64, known: i64 },
    /// Another process uses it.
    #[error("{0}")]
    InUse(String),
    /// A fault of ours.
    #[error("store: {0}")]
    Bug(String),
}
