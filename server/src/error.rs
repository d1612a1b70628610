//! How a failure looks to a caller: the one table from our kinds to gRPC.
//!
//! Source: google.rpc.Code and AIP-193. Every status carries exactly one `ErrorInfo`; `RetryInfo`
//! if and only if waiting helps; the other details where they say more than the reason.

use mediary_domain::{Error, Kind, Retry};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{
    ErrorDetail, ErrorDetails, FieldViolation, PreconditionViolation, QuotaViolation,
    StatusExt as _,
};

/// The `ErrorInfo.domain` of every failure.
pub const DOMAIN: &str = "mediary.dev";

/// All details together stay below 4 KiB, whatever a caller or a provider wrote: they travel in
/// headers, and clients refuse long ones (gRPC's own at 8 KiB).
const MESSAGE_LIMIT: usize = 640;
const FACT_LIMIT: usize = 512;
const NAME_LIMIT: usize = 256;
const FIELD_LIMIT: usize = 256;
/// Of all fields that are wrong, with what is wrong with them.
const FIELDS_LIMIT: usize = 2 << 10;

/// Trailer that tells gRPC clients when to try again (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The code and the reason of a kind.
pub fn code_and_reason(kind: Kind) -> (Code, &'static str) {
    match kind {
        Kind::FieldInvalid => (Code::InvalidArgument, "FIELD_INVALID"),
        Kind::FilterInvalid => (Code::InvalidArgument, "FILTER_INVALID"),
        Kind::PageTokenInvalid => (Code::InvalidArgument, "PAGE_TOKEN_INVALID"),
        Kind::RequestIdReused => (Code::InvalidArgument, "REQUEST_ID_REUSED"),
        Kind::OffsetInvalid => (Code::OutOfRange, "OFFSET_INVALID"),
        Kind::StreamExpired => (Code::NotFound, "STREAM_EXPIRED"),
        Kind::ClientTooSlow => (Code::ResourceExhausted, "CLIENT_TOO_SLOW"),
        Kind::UnsupportedParameter => (Code::InvalidArgument, "UNSUPPORTED_PARAMETER"),
        Kind::UnsupportedMediaType => (Code::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE"),
        Kind::SchemaInvalid => (Code::InvalidArgument, "SCHEMA_INVALID"),
        Kind::ContextTooLong => (Code::InvalidArgument, "CONTEXT_TOO_LONG"),
        Kind::SourceUriForbidden => (Code::InvalidArgument, "SOURCE_URI_FORBIDDEN"),
        Kind::UpstreamRejected => (Code::InvalidArgument, "UPSTREAM_REJECTED_REQUEST"),
        Kind::KeyMissing => (Code::Unauthenticated, "KEY_MISSING"),
        Kind::KeyInvalid => (Code::Unauthenticated, "KEY_INVALID"),
        Kind::KeyExpired => (Code::Unauthenticated, "KEY_EXPIRED"),
        Kind::RoleInsufficient => (Code::PermissionDenied, "ROLE_INSUFFICIENT"),
        Kind::ModelNotAllowed => (Code::PermissionDenied, "MODEL_NOT_ALLOWED"),
        Kind::OriginNotAllowed => (Code::PermissionDenied, "ORIGIN_NOT_ALLOWED"),
        Kind::NotFound => (Code::NotFound, "RESOURCE_NOT_FOUND"),
        Kind::ResourceExists => (Code::AlreadyExists, "RESOURCE_EXISTS"),
        Kind::ResourceInUse => (Code::FailedPrecondition, "RESOURCE_IN_USE"),
        Kind::EtagMismatch => (Code::Aborted, "ETAG_MISMATCH"),
        Kind::FeatureDisabled => (Code::FailedPrecondition, "FEATURE_DISABLED"),
        Kind::NoUsableAccount => (Code::FailedPrecondition, "NO_USABLE_ACCOUNT"),
        Kind::CredentialsRejected => (Code::FailedPrecondition, "CREDENTIALS_REJECTED"),
        Kind::ContentBlocked => (Code::FailedPrecondition, "CONTENT_BLOCKED"),
        Kind::UpstreamRateLimited | Kind::UpstreamQuotaSpent => {
            (Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED")
        }
        Kind::MessageTooLarge => (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        Kind::BudgetExceeded => (Code::ResourceExhausted, "BUDGET_EXCEEDED"),
        Kind::RateLimited => (Code::ResourceExhausted, "RATE_LIMITED"),
        Kind::TooManyStreams => (Code::ResourceExhausted, "TOO_MANY_STREAMS"),
        Kind::UpstreamUnavailable => (Code::Unavailable, "UPSTREAM_UNAVAILABLE"),
        Kind::UpstreamTruncated => (Code::Unavailable, "UPSTREAM_TRUNCATED"),
        Kind::ShuttingDown => (Code::Unavailable, "SHUTTING_DOWN"),
        Kind::StoreUnavailable => (Code::Unavailable, "STORE_UNAVAILABLE"),
        Kind::StorageFull => (Code::ResourceExhausted, "STORAGE_FULL"),
        Kind::StoredDataCorrupt => (Code::DataLoss, "STORED_DATA_CORRUPT"),
        Kind::DeadlineExceeded => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        Kind::UpstreamTimeout => (Code::DeadlineExceeded, "UPSTREAM_TIMEOUT"),
        Kind::Cancelled => (Code::Cancelled, "CANCELLED_BY_CLIENT"),
        Kind::CapabilityUnsupported => (Code::Unimplemented, "CAPABILITY_UNSUPPORTED"),
        Kind::MethodDisabled => (Code::Unimplemented, "METHOD_DISABLED"),
        Kind::Bug => (Code::Internal, "INTERNAL_BUG"),
        Kind::UpstreamProtocol => (Code::Internal, "UPSTREAM_PROTOCOL_ERROR"),
    }
}

/// Name of a code, as google.rpc.Code writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The status that a caller gets for `error`.
pub fn status(error: &Error) -> Status {
    let (code, reason) = code_and_reason(error.kind());
    let facts = error.facts().iter().map(|(key, value)| (*key, cut(value, FACT_LIMIT)));
    // The first field that is wrong is a fact as well.
    let field = error.violations().first().filter(|_| code == Code::InvalidArgument);
    let field = field.map(|one| ("field", cut(&one.field, FIELD_LIMIT)));
    // So is the resource that it speaks of.
    let resource = error.resource().filter(|_| !error.facts().contains_key("resource"));
    let resource = resource.map(|one| ("resource", cut(&one.name, FACT_LIMIT)));
    let facts = facts.chain(field).chain(resource).map(|(key, value)| (key.to_owned(), value));
    let mut details = ErrorDetails::with_error_info(
        reason,
        DOMAIN,
        facts.collect::<std::collections::HashMap<_, _>>(),
    );
    let wait = match error.retry() {
        // For an expired deadline it is the caller's choice (AIP-194).
        Retry::Later(wait) if code != Code::DeadlineExceeded => Some(wait),
        _ => None,
    };
    if let Some(wait) = wait {
        details.set_retry_info(Some(wait));
    }
    let fields = fields(error);
    let message = message(error, &fields);
    if !fields.is_empty() {
        details.set_bad_request(fields);
    }
    if let Some(resource) = error.resource() {
        let name = cut(&resource.name, NAME_LIMIT);
        details.set_resource_info(resource.kind, name, "", cut(error.message(), MESSAGE_LIMIT));
    }
    let subject =
        error.facts().get("provider").map_or_else(String::new, |id| format!("providers/{id}"));
    let what = cut(error.message(), MESSAGE_LIMIT);
    match code {
        Code::ResourceExhausted => {
            details.set_quota_failure(vec![QuotaViolation::new(subject, what)]);
        }
        Code::FailedPrecondition => {
            let violation = PreconditionViolation::new(reason, subject, what);
            details.set_precondition_failure(vec![violation]);
        }
        _ => {}
    }
    let mut status = Status::with_error_details(code, message, details);
    if let Some(wait) = wait
        && let Ok(value) = wait.as_millis().to_string().parse()
    {
        status.metadata_mut().insert(PUSHBACK, value);
    }
    status
}

/// As many of the fields that are wrong as there is room for, from the first.
fn fields(error: &Error) -> Vec<FieldViolation> {
    let mut room = FIELDS_LIMIT;
    let fields = error.violations().iter().map_while(|one| {
        let field =
            FieldViolation::new(cut(&one.field, FIELD_LIMIT), cut(&one.description, FIELD_LIMIT));
        room = room.checked_sub(field.field.len() + field.description.len() + 8)?;
        Some(field)
    });
    fields.collect()
}

/// The failure in one line, with the fields that are wrong and how many more there are.
fn message(error: &Error, fields: &[FieldViolation]) -> String {
    let mut message = cut(error.message(), MESSAGE_LIMIT);
    let mut told = 0;
    for FieldViolation { field, description, .. } in fields {
        if message.len() + field.len() + description.len() > MESSAGE_LIMIT {
            break;
        }
        message.push_str(&format!("; {field}: {description}"));
        told += 1;
    }
    match error.violations().len() - told {
        0 => {}
        more => message.push_str(&format!("; and {more} more")),
    }
    message
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}\u{2026}", &text[..text.floor_char_boundary(most - 3)])
}

/// The same failure as it stands inside a message (`failed.status`, `Job.error`).
pub fn rpc_status(error: &Error) -> tonic_types::pb::Status {
    let status = status(error);
    tonic_types::pb::Status::decode(status.details()).unwrap_or_else(|_| tonic_types::pb::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// Gives a status that a library made (a body too large, a message that cannot be decoded) the
/// `ErrorInfo` that every failure of ours carries. `None` where it has one already.
pub fn completed(status: &Status) -> Option<Status> {
    let has_info = status
        .check_error_details_vec()
        .is_ok_and(|all| all.iter().any(|one| matches!(one, ErrorDetail::ErrorInfo(_))));
    if has_info || status.code() == Code::Ok {
        return None;
    }
    let kind = match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => Kind::MessageTooLarge,
        // tonic refuses what is compressed with the same code as what does not exist.
        Code::Unimplemented if status.message().contains("compressed") => {
            Kind::CapabilityUnsupported
        }
        Code::Unimplemented => Kind::MethodDisabled,
        Code::DeadlineExceeded => Kind::DeadlineExceeded,
        Code::Cancelled => Kind::Cancelled,
        Code::NotFound => Kind::NotFound,
        Code::Internal | Code::InvalidArgument => Kind::FieldInvalid,
        _ => Kind::Bug,
    };
    Some(self::status(&Error::new(kind, status.message().to_owned())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_limit_tells_when_to_come_back_and_whose_it_is() {
        let error = Error::new(Kind::UpstreamRateLimited, "too many calls")
            .retry_after(Duration::from_millis(1_500))
            .fact("provider", "groq");
        let status = status(&error);
        let details = status.get_error_details();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(details.error_info().unwrap().reason, "UPSTREAM_RATE_LIMITED");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(1_500)));
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "providers/groq");
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "1500");
        assert_eq!(rpc_status(&error).details.len(), 3);
    }

    #[test]
    fn what_time_does_not_cure_carries_no_retry_info() {
        let status = status(&Error::field("messages", "must hold at least one message"));
        let details = status.get_error_details();
        assert!(details.retry_info().is_none());
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "messages");
    }

    #[test]
    fn a_librarys_status_is_completed_once() {
        let bare = Status::out_of_range("decoded message length too large");
        let done = completed(&bare).unwrap();
        assert_eq!(done.code(), Code::ResourceExhausted);
        assert!(completed(&done).is_none());
        // What health says of a service that it does not know.
        assert_eq!(completed(&Status::not_found("no")).unwrap().code(), Code::NotFound);
    }
}
