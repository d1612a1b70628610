//! What a provider's refusal means, in one table for all wires.
//!
//! A wire reads its own words (status, type, code, message) into a [`Class`]; this turns the class
//! into our kind, verdict and facts. Messages are redacted and cut here, so that no adapter can
//! forget it.

use std::time::Duration;

use http::StatusCode;
use mediary_domain::{Error, Kind, Retry};

use crate::{provider::CallContext, transport::leading_duration};

/// Longest piece of a provider's message that a caller sees.
const MESSAGE_LIMIT: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Authentication,
    Permission,
    NotFound,
    InvalidRequest,
    /// One parameter of the request, named by the provider.
    Parameter,
    /// The provider cannot do this at all.
    Unsupported,
    ContextLength,
    ContentFilter,
    QuotaExhausted,
    RateLimited,
    Overloaded,
    ServerError,
    /// A server error that will not go away by itself, such as a missing start option.
    Misconfigured,
    Timeout,
    /// The provider stopped the work by itself.
    Cancelled,
    /// It points elsewhere, where no key is sent: the account's address is wrong.
    Redirect,
    /// The model wrote something that the provider could not use; another try may succeed.
    ModelOutput,
}

impl Class {
    /// The word for it in `ErrorInfo.metadata.upstreamKind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Permission => "permission",
            Self::NotFound => "not_found",
            Self::InvalidRequest | Self::Parameter => "invalid_request",
            Self::Unsupported => "unsupported",
            Self::ContextLength => "context_length",
            Self::ContentFilter => "content_filter",
            Self::QuotaExhausted => "quota_exhausted",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::ServerError | Self::Misconfigured => "server_error",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Redirect => "redirect",
            Self::ModelOutput => "model_output_invalid",
        }
    }

    /// What a status alone says, where the body says nothing more.
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            300..=399 => Self::Redirect,
            401 => Self::Authentication,
            402 => Self::QuotaExhausted,
            403 => Self::Permission,
            404 | 410 => Self::NotFound,
            408 | 504 | 524 => Self::Timeout,
            409 | 425 | 498 => Self::Overloaded,
            429 => Self::RateLimited,
            499 => Self::Cancelled,
            502 | 503 | 529 => Self::Overloaded,
            501 => Self::Unsupported,
            500.. => Self::ServerError,
            _ => Self::InvalidRequest,
        }
    }

    fn kind_and_retry(self) -> (Kind, Option<Retry>) {
        const SOON: Retry = Retry::Later(Duration::from_secs(1));
        const LATER: Retry = Retry::Later(Duration::from_secs(5));
        match self {
            Self::Authentication | Self::Permission => (Kind::CredentialsRejected, None),
            Self::NotFound => (Kind::NotFound, Some(Retry::Elsewhere)),
            Self::InvalidRequest => (Kind::UpstreamRejected, None),
            Self::Parameter => (Kind::UnsupportedParameter, None),
            Self::Unsupported => (Kind::CapabilityUnsupported, Some(Retry::Elsewhere)),
            Self::ContextLength => (Kind::ContextTooLong, None),
            Self::ContentFilter => (Kind::ContentBlocked, None),
            Self::QuotaExhausted => (Kind::UpstreamQuotaSpent, None),
            Self::RateLimited => (Kind::UpstreamRateLimited, Some(SOON)),
            Self::Overloaded => (Kind::UpstreamUnavailable, Some(LATER)),
            Self::ServerError | Self::Cancelled => (Kind::UpstreamUnavailable, Some(SOON)),
            Self::Misconfigured => (Kind::UpstreamRejected, Some(Retry::Elsewhere)),
            Self::Timeout => (Kind::UpstreamTimeout, Some(SOON)),
            Self::Redirect => (Kind::UpstreamProtocol, None),
            Self::ModelOutput => (Kind::UpstreamUnavailable, Some(SOON)),
        }
    }
}

/// A refusal in the provider's own words.
#[derive(Clone, Debug, Default)]
pub struct Words {
    pub message: String,
    pub kind: String,
    pub code: String,
    pub param: String,
}

/// The failure that a caller gets for a refusal.
pub fn refused(
    cx: &CallContext,
    class: Class,
    status: Option<StatusCode>,
    words: Words,
    retry_after: Option<Duration>,
) -> Error {
    let (kind, retry) = class.kind_and_retry();
    let said = said(cx, &words.message);
    let message = match (said.is_empty(), status) {
        (false, _) => format!("{}: {said}", cx.provider.id),
        (true, Some(status)) => format!("{} answered {}", cx.provider.id, status.as_u16()),
        (true, None) => format!("{} reported a failure", cx.provider.id),
    };
    let mut error = Error::new(kind, message)
        .fact("provider", cx.provider.id.as_str())
        .fact("upstreamKind", class.as_str());
    if !cx.model.name.is_empty() {
        error = error.fact("model", cx.model.name.as_str());
    }
    if let Some(retry) = retry {
        error = error.with_retry(retry);
    }
    let wait = retry_after.or_else(|| wait_in_words(&words.message));
    if let (Some(wait), Retry::Later(_)) = (wait, error.retry()) {
        error = error.retry_after(wait);
    }
    if let Some(status) = status {
        error = error.fact("httpStatus", status.as_u16().to_string());
    }
    for (key, word) in [
        ("upstreamMessage", said),
        ("upstreamType", said_short(cx, &words.kind)),
        ("upstreamCode", said_short(cx, &words.code)),
        ("upstreamParam", said_short(cx, &words.param)),
    ] {
        if !word.is_empty() {
            error = error.fact(key, word);
        }
    }
    if class == Class::Parameter && !words.param.is_empty() {
        let field = format!("parameters.{}", words.param);
        error = error.violation(field, "the model does not take this parameter: leave it out");
    }
    error
}

/// The wait that a text asks for where no header does: "try again in 7.66s", "in 1m2.5s", "retry
/// after 6 seconds", "try again after 20 seconds".
fn wait_in_words(message: &str) -> Option<Duration> {
    const ASKS: [&str; 3] = ["try again in ", "retry after ", "try again after "];
    let (_, rest) = ASKS.into_iter().find_map(|words| message.split_once(words))?;
    leading_duration(rest.trim_start()).map(|(wait, _)| wait)
}

/// JSON that cannot be read, or stops half way.
pub fn garbled(cx: &CallContext, error: &serde_json::Error) -> Error {
    if error.is_eof() {
        return cut(cx);
    }
    let message = "the provider's answer is not the JSON of its API";
    Error::new(Kind::UpstreamProtocol, message).fact("provider", cx.provider.id.as_str())
}

/// The body ended without the end of the answer.
pub fn cut(cx: &CallContext) -> Error {
    let message = "the provider's answer ended before it was finished";
    Error::new(Kind::UpstreamTruncated, message).fact("provider", cx.provider.id.as_str())
}

/// Valid JSON that is neither an answer nor an error.
pub fn no_answer(cx: &CallContext) -> Error {
    let message = "the provider's answer holds neither an answer nor an error";
    Error::new(Kind::UpstreamProtocol, message).fact("provider", cx.provider.id.as_str())
}

/// Another number of vectors than of texts.
pub fn miscounted(cx: &CallContext, came: usize, asked: usize) -> Error {
    let message = format!("{came} vectors came for {asked} texts");
    Error::new(Kind::UpstreamProtocol, message).fact("provider", cx.provider.id.as_str())
}

fn said_short(cx: &CallContext, text: &str) -> String {
    let mut text = said(cx, text);
    text.truncate(text.floor_char_boundary(120));
    text
}

/// A provider's text without our key, without control characters, at most [`MESSAGE_LIMIT`] long.
fn said(cx: &CallContext, text: &str) -> String {
    let mut text: String = match cx.account.secret() {
        Some(secret) if !secret.is_empty() => text.replace(secret, "***"),
        _ => text.to_owned(),
    };
    text.retain(|c| !c.is_control() || c == '\n' || c == '\t');
    text.truncate(text.floor_char_boundary(MESSAGE_LIMIT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_from_words_and_nonsense_is_not() {
        let wait = |text: &str| wait_in_words(text).map(|wait| wait.as_millis());
        assert_eq!(wait("Rate limit reached. Please try again in 7.66s. Visit"), Some(7_660));
        assert_eq!(wait("Please try again in 1m2.5s."), Some(62_500));
        assert_eq!(wait("Please try again in 250ms."), Some(250));
        assert_eq!(wait("Please retry after 6 seconds."), Some(6_000));
        assert_eq!(wait("please try again after 1 seconds"), Some(1_000));
        assert_eq!(wait("please try again in 2 minutes"), Some(120_000));
        for nonsense in ["try again in a moment", "try again", "retry after .s", "try again in 9"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }
}
