//! What can go wrong in a store. What is not there is no error.

use mediary_domain::{Error as DomainError, Kind, Retry};

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

/// As callers hear of it: what is inside the machine stays in the log.
impl From<Error> for DomainError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Exists(name) => Self::new(Kind::ResourceExists, message).fact("resource", name),
            Error::EtagMismatch(name) => {
                Self::new(Kind::EtagMismatch, format!("{message}: read it and try again"))
                    .fact("resource", name)
            }
            Error::Outdated => {
                Self::new(Kind::EtagMismatch, format!("{message}: read it and try again"))
            }
            Error::RequestIdReused => {
                Self::new(Kind::RequestIdReused, message).violation("request_id", "use a new one")
            }
            Error::Full => Self::new(Kind::StorageFull, message),
            Error::Unavailable(_) => {
                Self::new(Kind::StoreUnavailable, "the store is not available now: try again")
            }
            Error::NewerSchema { .. } | Error::InUse(_) => {
                Self::new(Kind::StoreUnavailable, message).with_retry(Retry::Never)
            }
            Error::Corrupt(_) => Self::new(
                Kind::StoredDataCorrupt,
                "stored data is corrupt: the server's log says which, restore a backup",
            ),
            Error::Bug(_) => Self::bug("the store failed: the server's log says why"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_time_cures_is_tried_again() {
        let kind_and_retry = |error| {
            let error = DomainError::from(error);
            (error.kind(), error.retry() != Retry::Never)
        };
        assert_eq!(
            kind_and_retry(Error::Unavailable("/secret/place".into())),
            (Kind::StoreUnavailable, true)
        );
        assert_eq!(kind_and_retry(Error::Full), (Kind::StorageFull, false));
        assert_eq!(kind_and_retry(Error::Outdated), (Kind::EtagMismatch, false));
        let newer = Error::NewerSchema { found: 9, known: 4 };
        assert_eq!(kind_and_retry(newer), (Kind::StoreUnavailable, false));
    }

    #[test]
    fn what_is_inside_the_machine_is_not_told() {
        for inside in
            [Error::Unavailable("/x".into()), Error::Corrupt("/x".into()), Error::Bug("/x".into())]
        {
            assert!(!DomainError::from(inside).to_string().contains("/x"));
        }
    }
}
