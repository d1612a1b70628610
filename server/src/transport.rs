//! The only outbound HTTP client.
//!
//! Owns: connections, timeouts, authentication headers, size caps, and what a broken connection
//! means. Leaves: what the bytes say (`dialect`, `providers`).
//! Redirects are never followed: a key must not travel to another host.

mod body;
mod connector;
mod rate_limits;
mod retry_after;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{self, Client},
    rt::{TokioExecutor, TokioTimer},
};
use mediary_domain::{Error, Kind, RateLimitReport, Result};

use self::connector::Connector;
pub use self::{
    body::Body,
    rate_limits::RateLimitHeaders,
    retry_after::{leading_duration, retry_after},
};
use crate::{
    clock::Clock,
    provider::{AuthScheme, CallContext},
};

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("mediary/", env!("CARGO_PKG_VERSION")));
/// Bytes that are read of an answer while nobody takes them, its head included.
const READ_AHEAD: usize = 16 << 10;
/// How long a connection that nobody uses is kept for the next call.
const KEPT: Duration = Duration::from_secs(90);
/// How many of them, for each address: what a burst leaves behind is memory at both ends.
const MOST_KEPT: usize = 32;

/// A cheap handle to the shared client.
#[derive(Clone)]
pub struct Http {
    client: Client<Connector, Full<Bytes>>,
    clock: Clock,
}

/// The head of a provider's answer, and its body as it comes.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// What is left of the account's limits, where the provider tells it.
    pub limits: Option<RateLimitReport>,
    pub body: Body,
}

impl Http {
    #[expect(clippy::disallowed_methods, reason = "this is the room that may")]
    pub fn new(clock: Clock, connect_timeout: Duration) -> Result<Self> {
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .http1_max_buf_size(READ_AHEAD)
            .pool_max_idle_per_host(MOST_KEPT)
            .build(Connector::new(connect_timeout)?);
        Ok(Self { client, clock })
    }

    /// Sends a JSON body to `path` of the account's base URL, with the account's credentials and
    /// the wire's own headers.
    pub async fn post_json(
        &self,
        cx: &CallContext,
        path: &str,
        wire_headers: &[(&'static str, &'static str)],
        body: Vec<u8>,
    ) -> Result<Reply> {
        let body = Bytes::from(body);
        self.send(cx, || {
            let mut request = Request::new(Full::from(body.clone()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = address(cx, path)?;
            *request.headers_mut() = headers(cx, wire_headers)?;
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
            Ok(request)
        })
        .await
    }

    /// Asks for `path` of the account's base URL, with the account's credentials.
    pub async fn get(
        &self,
        cx: &CallContext,
        path: &str,
        wire_headers: &[(&'static str, &'static str)],
    ) -> Result<Reply> {
        self.send(cx, || {
            let mut request = Request::new(Full::default());
            *request.uri_mut() = address(cx, path)?;
            *request.headers_mut() = headers(cx, wire_headers)?;
            Ok(request)
        })
        .await
    }

    async fn send(
        &self,
        cx: &CallContext,
        request: impl Fn() -> Result<Request<Full<Bytes>>>,
    ) -> Result<Reply> {
        let first = request()?;
        let answer = async {
            match self.client.request(first).await {
                Err(error) if connector::is_unseen(&error) => {
                    Ok::<_, Error>(self.client.request(request()?).await)
                }
                answer => Ok(answer),
            }
        };
        let Ok(answer) = tokio::time::timeout(cx.provider.idle_timeout, answer).await else {
            return Err(silent(cx));
        };
        let (head, body) = answer?.map_err(|error| not_answered(cx, &error))?.into_parts();
        Ok(Reply {
            status: head.status,
            limits: cx.provider.rate_limits.report(&head.headers, self.clock.wall()),
            headers: head.headers,
            body: Body::new(body, cx, &self.clock),
        })
    }
}

/// Where an operation of the account's provider lies.
fn address(cx: &CallContext, path: &str) -> Result<Uri> {
    let (provider, account) = (&cx.provider, &cx.account);
    let version = account.settings.protocol.api_version.as_deref();
    let address = match (&provider.versioned, version) {
        (Some(versioned), Some(_)) => versioned,
        _ => &provider.address,
    };
    let address = address.of(&account.base_uri, path, &cx.model.provider_model_id, version);
    Uri::try_from(address).map_err(|_| {
        Error::bug("the account's base_uri is not a URI").fact("provider", provider.id.as_str())
    })
}

fn headers(cx: &CallContext, wire_headers: &[(&'static str, &'static str)]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    for (name, value) in wire_headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    for (name, value) in &cx.provider.headers {
        headers.insert(
            HeaderName::try_from(name).map_err(|_| unusable(cx))?,
            HeaderValue::try_from(value).map_err(|_| unusable(cx))?,
        );
    }
    if let Some((name, value)) = credentials(cx)? {
        headers.insert(name, value);
    }
    Ok(headers)
}

fn credentials(cx: &CallContext) -> Result<Option<(HeaderName, HeaderValue)>> {
    let Some(secret) = cx.account.secret() else { return Ok(None) };
    let (bearer, usual) = (AuthScheme::Bearer, &cx.provider.auth.scheme);
    let (name, value) = match if cx.account.settings.protocol.bearer { &bearer } else { usual } {
        AuthScheme::Bearer => {
            (header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {secret}")))
        }
        AuthScheme::Header(name) => {
            let name = HeaderName::try_from(name).map_err(|_| unusable(cx))?;
            (name, HeaderValue::try_from(secret))
        }
        AuthScheme::None => return Ok(None),
    };
    let mut value = value.map_err(|_| {
        Error::new(
            Kind::CredentialsRejected,
            "the account's key holds a character that no HTTP header may hold",
        )
        .fact("provider", cx.provider.id.as_str())
    })?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

fn unusable(cx: &CallContext) -> Error {
    Error::bug("a fixed header of the provider's row is not valid")
        .fact("provider", cx.provider.id.as_str())
}

fn too_long(limit: usize) -> Error {
    let message = format!("the provider's answer is longer than {limit} bytes");
    Error::new(Kind::UpstreamProtocol, message)
}

/// The provider sent nothing for its idle timeout, before its answer or within.
fn silent(cx: &CallContext) -> Error {
    Error::new(Kind::UpstreamTimeout, "the provider fell silent")
        .fact("provider", cx.provider.id.as_str())
}

/// No answer began. The text of the library's error is not passed on: it may hold the address.
fn not_answered(cx: &CallContext, error: &legacy::Error) -> Error {
    let (kind, message) = if connector::is_timeout(error) {
        (Kind::UpstreamTimeout, "the provider did not answer in time")
    } else if error.is_connect() {
        (Kind::UpstreamUnavailable, "the provider cannot be reached")
    } else {
        (Kind::UpstreamUnavailable, "the provider closed the connection without an answer")
    };
    Error::new(kind, message).fact("provider", cx.provider.id.as_str())
}

/// An answer began, and its connection failed.
fn cut_off(cx: &CallContext) -> Error {
    Error::new(Kind::UpstreamTruncated, "the provider's answer was cut off")
        .fact("provider", cx.provider.id.as_str())
}
