//! The only outbound HTTP client.
//!
//! Owns: connections, timeouts, authentication headers, size caps, and what a broken connection
//! means. Leaves: what the bytes say (`dialect`, `providers`).
//! Redirects are never followed: a key must not travel to another host.

mod body;
mod retry_after;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mediary_domain::{Error, Kind, Result};

pub use self::{body::Body, retry_after::retry_after};
use crate::{
    clock::Clock,
    provider::{AuthScheme, CallContext},
};

/// A cheap handle to the shared client.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    clock: Clock,
}

/// The head of a provider's answer, and its body as it comes.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
}

impl Http {
    #[expect(clippy::disallowed_methods, reason = "this is the room that may")]
    pub fn new(clock: Clock, connect_timeout: Duration) -> Result<Self> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connect_timeout)
            .tcp_nodelay(true)
            .no_proxy()
            .user_agent(concat!("mediary/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| Error::bug("the HTTP client cannot be built"))?;
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
        let request = self
            .client
            .post(address(cx, path))
            .headers(headers(cx, wire_headers)?)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body));
        self.send(cx, request).await
    }

    /// Asks for `path` of the account's base URL, with the account's credentials.
    pub async fn get(
        &self,
        cx: &CallContext,
        path: &str,
        wire_headers: &[(&'static str, &'static str)],
    ) -> Result<Reply> {
        let request = self.client.get(address(cx, path)).headers(headers(cx, wire_headers)?);
        self.send(cx, request).await
    }

    async fn send(&self, cx: &CallContext, request: reqwest::RequestBuilder) -> Result<Reply> {
        let Ok(sent) = tokio::time::timeout(cx.provider.idle_timeout, request.send()).await else {
            return Err(silent(cx));
        };
        let response = sent.map_err(|error| broken(cx, &error, Phase::BeforeAnswer))?;
        Ok(Reply {
            status: response.status(),
            headers: response.headers().clone(),
            body: Body::new(response, cx, &self.clock),
        })
    }
}

/// Where an operation of the account's provider lies.
fn address(cx: &CallContext, path: &str) -> String {
    let (provider, account) = (&cx.provider, &cx.account);
    let version = account.settings.protocol.api_version.as_deref();
    let address = match (&provider.versioned, version) {
        (Some(versioned), Some(_)) => versioned,
        _ => &provider.address,
    };
    address.of(&account.base_uri, path, &cx.model.provider_model_id, version)
}

fn headers(cx: &CallContext, wire_headers: &[(&'static str, &'static str)]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in wire_headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    for (name, value) in &cx.provider.headers {
        headers.insert(
            HeaderName::try_from(name).map_err(|_| unusable(cx))?,
            HeaderValue::try_from(value).map_err(|_| unusable(cx))?,
        );
    }
    if let Some(secret) = cx.account.secret() {
        let bearer = AuthScheme::Bearer;
        let usual = &cx.provider.auth.scheme;
        let (name, value) = match if cx.account.settings.protocol.bearer { &bearer } else { usual }
        {
            AuthScheme::Bearer => (header::AUTHORIZATION, format!("Bearer {secret}")),
            AuthScheme::Header(name) => {
                (HeaderName::try_from(name).map_err(|_| unusable(cx))?, secret.to_owned())
            }
            AuthScheme::None => return Ok(headers),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| {
            Error::new(
                Kind::CredentialsRejected,
                "the account's key holds a character that no HTTP header may hold",
            )
            .fact("provider", cx.provider.id.as_str())
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    BeforeAnswer,
    InAnswer,
}

/// What a connection that fails means. The text of the library's error is not passed on: it may
/// hold the URL.
fn broken(cx: &CallContext, error: &reqwest::Error, phase: Phase) -> Error {
    let (kind, message) = if error.is_timeout() {
        (Kind::UpstreamTimeout, "the provider did not answer in time")
    } else if error.is_connect() {
        (Kind::UpstreamUnavailable, "the provider cannot be reached")
    } else if phase == Phase::InAnswer {
        (Kind::UpstreamTruncated, "the provider's answer was cut off")
    } else {
        (Kind::UpstreamUnavailable, "the provider closed the connection without an answer")
    };
    Error::new(kind, message).fact("provider", cx.provider.id.as_str())
}
