//! Why a call failed: one variant per cause, made from the google.rpc details of a status.
//!
//! Source: `mediary/v1/errors.proto`. The reason (`Error::reason`) is stable, the message is for
//! people.

use std::{collections::BTreeMap, error::Error as StdError, fmt, time::Duration};

use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, RpcStatusExt as _, StatusExt as _, pb};

/// What every call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. New variants may come.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client was set up wrongly; nothing was sent.
    #[error("{0}")]
    Setup(Box<Facts>),
    /// No connection: nobody listens there, or the name or the certificate is wrong.
    #[error("{0}")]
    Unreachable(Box<Facts>),
    /// The request is wrong.
    #[error("{facts}")]
    BadRequest {
        /// The fields that are wrong, where the server could name them.
        violations: Vec<Violation>,
        facts: Box<Facts>,
    },
    /// The key is missing, unknown or over.
    #[error("{0}")]
    Unauthenticated(Box<Facts>),
    /// The key may not do this.
    #[error("{0}")]
    PermissionDenied(Box<Facts>),
    /// What was named does not exist, or belongs to somebody else.
    #[error("{0}")]
    NotFound(Box<Facts>),
    /// The chosen id is taken.
    #[error("{0}")]
    AlreadyExists(Box<Facts>),
    /// The server is not in a state to do it, such as no account for the provider.
    #[error("{0}")]
    Precondition(Box<Facts>),
    /// Somebody else changed it meanwhile.
    #[error("{0}")]
    Conflict(Box<Facts>),
    /// The point asked for lies outside of what is kept.
    #[error("{0}")]
    OutOfRange(Box<Facts>),
    /// A rate, a budget or a size limit was met.
    #[error("{facts}")]
    RateLimited {
        /// When waiting helps, how long.
        retry_after: Option<Duration>,
        facts: Box<Facts>,
    },
    /// The server or every provider fails at the moment.
    #[error("{facts}")]
    Unavailable {
        /// How long to wait, where the server said so.
        retry_after: Option<Duration>,
        facts: Box<Facts>,
    },
    /// Time ran out, here or at the server.
    #[error("{0}")]
    Timeout(Box<Facts>),
    /// Somebody stopped it.
    #[error("{0}")]
    Cancelled(Box<Facts>),
    /// The stream closed before its terminal event: what arrived is not a whole answer.
    #[error("{facts}")]
    Truncated {
        /// Sequence of the last event that arrived.
        last_sequence: i64,
        /// The status that the stream closed with. None = it closed as if all were well.
        #[source]
        cause: Option<Box<Error>>,
        facts: Box<Facts>,
    },
    /// The server broke a rule of the contract, such as a hole in a sequence.
    #[error("{0}")]
    Protocol(Box<Facts>),
    /// The server or the model cannot do this at all.
    #[error("{0}")]
    Unimplemented(Box<Facts>),
    /// A defect of the server.
    #[error("{0}")]
    Internal(Box<Facts>),
    /// Stored data cannot be read back.
    #[error("{0}")]
    DataLoss(Box<Facts>),
}

/// What is known about a failure, whatever its kind.
#[derive(Debug, Clone)]
pub struct Facts {
    code: Code,
    message: String,
    reason: String,
    metadata: BTreeMap<String, String>,
    request_id: String,
}

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, such as `parameters.temperature`.
    pub field: String,
    /// What is wrong with it, one sentence.
    pub description: String,
}

impl Error {
    /// The stable reason, such as `NO_USABLE_ACCOUNT`. Empty = the failure did not come from a Mediary.
    pub fn reason(&self) -> &str {
        &self.facts().reason
    }

    /// The facts that belong to the reason, by their lowerCamel names.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.facts().metadata
    }

    /// One sentence for people.
    pub fn message(&self) -> &str {
        &self.facts().message
    }

    /// The gRPC code.
    pub fn status(&self) -> Code {
        self.facts().code
    }

    /// The id under which the server's operator finds the failure. Empty = it gave none.
    pub fn request_id(&self) -> &str {
        &self.facts().request_id
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Unreachable(_) | Self::Truncated { .. } => true,
            Self::RateLimited { retry_after, .. } => retry_after.is_some(),
            _ => false,
        }
    }

    /// How long the server asks to wait before the next try. None = it did not say, or waiting does
    /// not help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    fn facts(&self) -> &Facts {
        match self {
            Self::BadRequest { facts, .. }
            | Self::RateLimited { facts, .. }
            | Self::Unavailable { facts, .. }
            | Self::Truncated { facts, .. }
            | Self::Setup(facts)
            | Self::Unreachable(facts)
            | Self::Unauthenticated(facts)
            | Self::PermissionDenied(facts)
            | Self::NotFound(facts)
            | Self::AlreadyExists(facts)
            | Self::Precondition(facts)
            | Self::Conflict(facts)
            | Self::OutOfRange(facts)
            | Self::Timeout(facts)
            | Self::Cancelled(facts)
            | Self::Protocol(facts)
            | Self::Unimplemented(facts)
            | Self::Internal(facts)
            | Self::DataLoss(facts) => facts,
        }
    }
}

// --- failures that the client makes itself ---

impl Error {
    pub(crate) fn setup(message: impl Into<String>) -> Self {
        Self::Setup(Facts::local(Code::InvalidArgument, message))
    }

    pub(crate) fn timeout(message: impl Into<String>) -> Self {
        let mut facts = Facts::local(Code::DeadlineExceeded, message);
        facts.reason = "DEADLINE_EXCEEDED".to_owned();
        Self::Timeout(facts)
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::Protocol(Facts::local(Code::Internal, message))
    }

    pub(crate) fn truncated(last_sequence: i64, cause: Option<Self>) -> Self {
        let mut message = format!("the stream closed after event {last_sequence}, before its end");
        if let Some(cause) = &cause {
            message = format!("{message}: {}", cause.message());
        }
        let mut facts = Facts::local(Code::Unavailable, message);
        facts.reason = "STREAM_TRUNCATED".to_owned();
        facts.metadata.insert("lastSequence".to_owned(), last_sequence.to_string());
        Self::Truncated { last_sequence, cause: cause.map(Box::new), facts }
    }
}

// --- failures that arrive ---

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if has_source::<ConnectError>(&status) {
            let message = format!("cannot reach the server: {}", root(&status));
            return Self::Unreachable(Facts::local(Code::Unavailable, message));
        }
        if has_source::<TimeoutExpired>(&status) {
            return Self::timeout("the call took longer than it may");
        }
        // A connection that breaks during a call has no code of its own, or that of the request
        // which was still waiting for it.
        let code = match status.code() {
            Code::Unknown | Code::Cancelled if has_source::<tonic::transport::Error>(&status) => {
                Code::Unavailable
            }
            code => code,
        };
        sort(code, status.message(), &status.get_error_details())
    }
}

impl From<pb::Status> for Error {
    fn from(status: pb::Status) -> Self {
        sort(Code::from_i32(status.code), &status.message, &status.get_error_details())
    }
}

fn sort(code: Code, message: &str, details: &ErrorDetails) -> Error {
    let facts = Box::new(Facts::received(code, message, details));
    let retry_after = details.retry_info().and_then(|info| info.retry_delay);
    match code {
        Code::InvalidArgument => Error::BadRequest { violations: violations(details), facts },
        Code::Unauthenticated => Error::Unauthenticated(facts),
        Code::PermissionDenied => Error::PermissionDenied(facts),
        Code::NotFound => Error::NotFound(facts),
        Code::AlreadyExists => Error::AlreadyExists(facts),
        Code::FailedPrecondition => Error::Precondition(facts),
        Code::Aborted => Error::Conflict(facts),
        Code::OutOfRange => Error::OutOfRange(facts),
        Code::ResourceExhausted => Error::RateLimited { retry_after, facts },
        Code::Unavailable => Error::Unavailable { retry_after, facts },
        Code::DeadlineExceeded => Error::Timeout(facts),
        Code::Cancelled => Error::Cancelled(facts),
        Code::Unimplemented => Error::Unimplemented(facts),
        Code::DataLoss => Error::DataLoss(facts),
        Code::Ok | Code::Unknown | Code::Internal => Error::Internal(facts),
    }
}

fn violations(details: &ErrorDetails) -> Vec<Violation> {
    let fields = details.bad_request().map(|bad| bad.field_violations.as_slice());
    fields
        .unwrap_or_default()
        .iter()
        .map(|one| Violation { field: one.field.clone(), description: one.description.clone() })
        .collect()
}

fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |error: &&'a (dyn StdError + 'static)| (**error).source())
}

fn has_source<E: StdError + 'static>(status: &Status) -> bool {
    sources(status).any(|error| error.is::<E>())
}

/// What lies at the bottom, such as `Connection refused (os error 111)`.
fn root(status: &Status) -> String {
    sources(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

impl Facts {
    fn local(code: Code, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            code,
            message: message.into(),
            reason: String::new(),
            metadata: BTreeMap::new(),
            request_id: String::new(),
        })
    }

    fn received(code: Code, message: &str, details: &ErrorDetails) -> Self {
        let message = if message.is_empty() { code.description() } else { message };
        let info = details.error_info().cloned();
        let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
        let request_id = details.request_info().map(|info| info.request_id.clone());
        Self {
            code,
            message: message.to_owned(),
            reason,
            metadata: metadata.into_iter().collect(),
            request_id: request_id.unwrap_or_default(),
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_limit_tells_when_to_come_back() {
        let facts = HashMap::from([("quota".to_owned(), "rpm".to_owned())]);
        let mut details = ErrorDetails::with_error_info("RATE_LIMITED", "mediary.dev", facts);
        details.set_retry_info(Some(Duration::from_secs(7)));
        let error = Error::from(Status::with_error_details(
            Code::ResourceExhausted,
            "too many calls",
            details,
        ));

        let Error::RateLimited { retry_after, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*retry_after, Some(Duration::from_secs(7)));
        assert_eq!((error.reason(), error.message()), ("RATE_LIMITED", "too many calls"));
        assert_eq!(error.metadata()["quota"], "rpm");
        assert!(error.is_retryable());
    }

    #[test]
    fn a_wrong_request_names_its_fields() {
        let details = ErrorDetails::with_bad_request_violation("messages", "must not be empty");
        let error = Error::from(Status::with_error_details(Code::InvalidArgument, "no", details));

        let Error::BadRequest { violations, .. } = error else { panic!("{error:?}") };
        assert_eq!(violations[0].field, "messages");
    }

    #[test]
    fn every_code_has_a_variant() {
        for code in 0..=16 {
            let error = Error::from(Status::new(Code::from_i32(code), ""));
            assert_eq!(error.status(), Code::from_i32(code));
            assert!(!error.message().is_empty());
        }
    }
}
