//! One failure: what happened, whether trying again can help, and the facts.
//!
//! Whoever meets a failure decides all three at once; the router obeys the verdict and never
//! reads text. How a kind looks to a caller is one table in the server (`server/src/error.rs`).

use std::{borrow::Cow, collections::BTreeMap, fmt, time::Duration};

use crate::limits::RateLimitReport;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened. Each kind is one `ErrorReason` of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    // the caller's
    FieldInvalid,
    FilterInvalid,
    PageTokenInvalid,
    RequestIdReused,
    OffsetInvalid,
    StreamExpired,
    ClientTooSlow,
    UnsupportedParameter,
    UnsupportedMediaType,
    SchemaInvalid,
    ContextTooLong,
    MessageTooLarge,
    NotFound,
    ResourceExists,
    ResourceInUse,
    EtagMismatch,
    KeyMissing,
    KeyInvalid,
    KeyExpired,
    RoleInsufficient,
    ModelNotAllowed,
    OriginNotAllowed,
    SourceUriForbidden,
    FeatureDisabled,
    // the provider's answer to this request
    UpstreamRejected,
    ContentBlocked,
    // our account at the provider
    NoUsableAccount,
    CredentialsRejected,
    UpstreamRateLimited,
    UpstreamQuotaSpent,
    // the provider's health
    UpstreamUnavailable,
    UpstreamTruncated,
    UpstreamTimeout,
    UpstreamProtocol,
    // ours
    CapabilityUnsupported,
    MethodDisabled,
    RateLimited,
    BudgetExceeded,
    TooManyStreams,
    ShuttingDown,
    StoreUnavailable,
    StorageFull,
    StoredDataCorrupt,
    DeadlineExceeded,
    Cancelled,
    Bug,
}

/// What a later try could do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same call fails everywhere.
    Never,
    /// The same call may succeed here after this wait.
    Later(Duration),
    /// The same call may succeed with another account or provider, not with this one.
    Elsewhere,
}

/// One field of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, as the contract names it: `messages[2].parts[0].text`.
    pub field: String,
    /// What is wrong with it and what to do.
    pub description: String,
}

/// The resource that a failure speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Contract type, such as `mediary.v1.Model`.
    pub kind: &'static str,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    retry: Retry,
    message: Cow<'static, str>,
    facts: BTreeMap<&'static str, String>,
    violations: Vec<Violation>,
    resource: Option<Resource>,
    limits: Option<RateLimitReport>,
}

impl Error {
    /// A failure of this kind with the kind's usual verdict. Messages are short, lower case, and
    /// name the mend; they never hold keys, prompts or raw bodies.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: kind.usual_retry(),
            message: message.into(),
            facts: BTreeMap::new(),
            violations: Vec::new(),
            resource: None,
            limits: None,
        }))
    }

    /// A request field that is wrong.
    pub fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::new(Kind::FieldInvalid, "the request is not valid").violation(field, description)
    }

    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        let name = name.into();
        let mut error = Self::new(Kind::NotFound, format!("{name} does not exist"));
        error.0.resource = Some(Resource { kind, name });
        error
    }

    pub fn bug(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Bug, message)
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry = Retry::Later(wait);
        self
    }

    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    #[must_use]
    pub fn fact(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.facts.insert(key, value.into());
        self
    }

    /// With what is left of the account's limits; as facts too, where those are what refused.
    #[must_use]
    pub fn with_limits(mut self, limits: RateLimitReport) -> Self {
        self.0.limits = Some(limits);
        if self.0.kind == Kind::UpstreamRateLimited {
            self.0.facts.extend(limits.facts());
        }
        self
    }

    #[must_use]
    pub fn violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.violations.push(Violation { field: field.into(), description: description.into() });
        self
    }

    /// Adds the violations of another failure, so that a caller hears of all of them at once.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.violations.extend(other.0.violations);
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn facts(&self) -> &BTreeMap<&'static str, String> {
        &self.0.facts
    }

    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    pub fn resource(&self) -> Option<&Resource> {
        self.0.resource.as_ref()
    }

    pub fn limits(&self) -> Option<RateLimitReport> {
        self.0.limits
    }

    /// Whether another candidate of the plan may be asked.
    pub fn may_succeed_elsewhere(&self) -> bool {
        !matches!(self.0.retry, Retry::Never)
    }
}

impl Kind {
    fn usual_retry(self) -> Retry {
        const SOON: Retry = Retry::Later(Duration::from_secs(1));
        match self {
            Self::FieldInvalid
            | Self::FilterInvalid
            | Self::PageTokenInvalid
            | Self::RequestIdReused
            | Self::OffsetInvalid
            | Self::StreamExpired
            | Self::ClientTooSlow
            | Self::UnsupportedParameter
            | Self::UnsupportedMediaType
            | Self::SchemaInvalid
            | Self::ContextTooLong
            | Self::MessageTooLarge
            | Self::NotFound
            | Self::ResourceExists
            | Self::ResourceInUse
            | Self::EtagMismatch
            | Self::KeyMissing
            | Self::KeyInvalid
            | Self::KeyExpired
            | Self::RoleInsufficient
            | Self::ModelNotAllowed
            | Self::OriginNotAllowed
            | Self::SourceUriForbidden
            | Self::FeatureDisabled
            | Self::UpstreamRejected
            | Self::ContentBlocked
            | Self::NoUsableAccount
            | Self::CapabilityUnsupported
            | Self::MethodDisabled
            | Self::BudgetExceeded
            | Self::StorageFull
            | Self::StoredDataCorrupt
            | Self::DeadlineExceeded
            | Self::Cancelled
            | Self::Bug => Retry::Never,
            Self::CredentialsRejected | Self::UpstreamQuotaSpent | Self::UpstreamProtocol => {
                Retry::Elsewhere
            }
            Self::UpstreamRateLimited
            | Self::UpstreamUnavailable
            | Self::UpstreamTruncated
            | Self::UpstreamTimeout
            | Self::RateLimited
            | Self::TooManyStreams
            | Self::ShuttingDown
            | Self::StoreUnavailable => SOON,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for Violation { field, description } in &self.0.violations {
            write!(f, "; {field}: {description}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
