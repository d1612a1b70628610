//! What every call passes, outermost first: the one visible stack.
//!
//! Order is meaning. Origin stands before everything else, because a page that may not call must
//! not be answered; the policy stands inside grpc-web, so that both wires meet the same rules.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, Method as HttpMethod, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::StreamBody;
use mediary_domain::{Error, Kind};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;
use tonic_web::GrpcWebLayer;
use tower::ServiceExt as _;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{methods::Methods, stall::Stalls};
use crate::{
    clock::{self, Clock},
    error,
};

/// What is read of a request that was refused already.
const MOST_HEARD_OUT: usize = 64 << 20;
const LONGEST_HEARD_OUT: Duration = Duration::from_secs(5);
/// What a stream gets beyond its deadline to begin with its end.
const TO_SAY_WHY: Duration = Duration::from_secs(1);

/// When a call must have ended; every method finds it in its request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

pub struct Gate {
    pub methods: Methods,
    pub allowed_origins: Vec<String>,
    pub clock: Clock,
    /// Whether only this machine reaches the listener.
    pub is_loopback: bool,
    /// Whether the admin services answer on this listener.
    pub serves_admin: bool,
    /// By which the server may be called where only this machine reaches it.
    pub allowed_hosts: Vec<String>,
    /// Scheme, host and port of `server.public_base_uri`.
    pub public_origin: Option<String>,
    pub stalls: Stalls,
    /// Fired when no new work is taken.
    pub draining: CancellationToken,
    /// Counts those that are open.
    pub calls: TaskTracker,
}

/// One port for both: gRPC and grpc-web go to `grpc`, everything else to `http`. Whoever calls the
/// server by a name that is not its own gets to neither.
pub fn front(grpc: Router, http: Router, gate: Arc<Gate>) -> Router {
    http.fallback(move |request: Request| async move {
        if is_grpc(&request) {
            match *request.method() {
                // Every call is one (gRPC over HTTP/2, requests); tonic does not look.
                HttpMethod::POST | HttpMethod::OPTIONS => {
                    grpc.oneshot(request).await.into_response()
                }
                _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
            }
        } else {
            StatusCode::NOT_FOUND.into_response()
        }
    })
    .layer(from_fn_with_state(gate, host))
}

/// By content type, or a browser asking whether it may send one.
fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
        || (request.method() == HttpMethod::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD))
}

/// Wraps the gRPC services.
pub fn stack(services: Router, gate: Arc<Gate>) -> Router {
    // axum applies the last layer first: read from the bottom up.
    services
        .fallback(unknown)
        // 5. A library's bare status gets its reason.
        .layer(from_fn(complete))
        // 4. Is it served, and how long may it take?
        .layer(from_fn_with_state(gate.clone(), policy))
        // 3. grpc-web, binary and text, becomes gRPC.
        .layer(GrpcWebLayer::new())
        // 2. Browsers may read what the gRPC client needs.
        .layer(cors(gate.clone()))
        // 1. Pages of other origins are refused.
        .layer(from_fn_with_state(gate, origin))
        // 0. Who is refused hears why.
        .layer(from_fn(hear_out))
}

/// Over HTTP/1.1 a peer that still sends does not listen: it would see the connection break and
/// not the reason. So what is left of a refused request is read first, within reason.
async fn hear_out(request: Request, next: Next) -> Response {
    if request.version() > Version::HTTP_11 {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body));
    let frames = |body: Arc<Mutex<Body>>| {
        futures::stream::poll_fn(move |cx| {
            let mut body = body.lock().unwrap_or_else(PoisonError::into_inner);
            Pin::new(&mut *body).poll_frame(cx)
        })
    };
    let inner = Body::new(StreamBody::new(frames(body.clone())));
    let response = next.run(Request::from_parts(head, inner)).await;
    if response.headers().contains_key("grpc-status") {
        let mut rest = frames(body);
        let all = async {
            let mut left = MOST_HEARD_OUT;
            while left > 0
                && let Some(Ok(frame)) = rest.next().await
            {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            }
        };
        let _ = tokio::time::timeout(LONGEST_HEARD_OUT, all).await;
    }
    response
}

fn cors(gate: Arc<Gate>) -> CorsLayer {
    let exposed =
        ["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-retry-pushback-ms"];
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, head| {
            origin.to_str().is_ok_and(|origin| gate.allows(origin, &head.headers))
        }))
        .allow_methods([HttpMethod::POST])
        .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
        .expose_headers(exposed.map(HeaderName::from_static))
        .max_age(Duration::from_secs(3_600))
}

impl Gate {
    /// A page on this machine, one that is configured, or one of the address that the server is
    /// reached by. What a request calls its host proves nothing on a loopback listener: a page may
    /// have its own name point there (DNS rebinding).
    fn allows(&self, origin: &str, request: &HeaderMap) -> bool {
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        let asked = request.get(header::HOST).and_then(|value| value.to_str().ok());
        is_loopback(host)
            || self.allowed_origins.iter().any(|one| one == origin)
            || self.public_origin.as_deref() == Some(origin)
            || (!self.is_loopback && !host.is_empty() && asked == Some(host))
    }

    /// Whether `host`, with its port if there is one, means this server.
    fn is_called(&self, host: &str) -> bool {
        let name = without_port(host);
        let is_one =
            |known: &str| host.eq_ignore_ascii_case(known) || name.eq_ignore_ascii_case(known);
        let public = self.public_origin.as_deref().and_then(|origin| origin.split_once("://"));
        !self.is_loopback
            || is_this_machine(name)
            || self.allowed_hosts.iter().any(|known| is_one(known))
            || public.is_some_and(|(_, known)| is_one(without_port(known)))
    }
}

/// What a client may call a loopback address; names that end in .localhost never leave a machine
/// (RFC 6761, 6.3).
fn is_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
    name == "localhost"
        || name.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|one| one.to_canonical().is_loopback())
}

fn is_loopback(host: &str) -> bool {
    matches!(without_port(host), "localhost" | "127.0.0.1" | "[::1]")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A page may have its own name point at this machine (DNS rebinding): its browser then takes the
/// server for that page's own, sends no `Origin` with a simple request, and shows the answer. What
/// it cannot do is to call it by another name.
async fn host(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let called = request.uri().authority().map(|authority| authority.as_str());
    let header = request.headers().get(header::HOST).map(|value| value.to_str().unwrap_or(""));
    let Some(wrong) = called.into_iter().chain(header).find(|host| !gate.is_called(host)) else {
        return next.run(request).await;
    };
    if is_grpc(&request) {
        let message = "the server is not called by this name: add it to listen.allowed_hosts";
        return refused(&Error::new(Kind::OriginNotAllowed, message).fact("host", wrong));
    }
    let message = "this server is not called by this name: see listen.allowed_hosts\n";
    (StatusCode::MISDIRECTED_REQUEST, message).into_response()
}

/// Only browsers send `Origin`, and they cannot be made to lie about it.
async fn origin(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return next.run(request).await;
    };
    let origin = origin.to_str().unwrap_or_default();
    if gate.allows(origin, request.headers()) {
        return next.run(request).await;
    }
    refused(
        &Error::new(
            Kind::OriginNotAllowed,
            "this origin may not call: add it to listen.allowed_origins",
        )
        .fact("origin", origin),
    )
}

async fn policy(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let Some(method) = gate.methods.get(path) else {
        if path.starts_with("/mediary.") {
            return unknown(request).await;
        }
        // Health and reflection are not ours and have no policy.
        return next.run(request).await;
    };
    if !gate.serves_admin && path.starts_with("/mediary.admin.") {
        let message = "the admin services do not answer here: call admin.address, or set \
                       admin.on_public";
        return refused(
            &Error::new(Kind::MethodDisabled, message).fact("method", method.full_name.as_str()),
        );
    }
    if !method.is_served {
        let message = format!("{} is not built into this server", method.full_name);
        return refused(
            &Error::new(Kind::MethodDisabled, message).fact("method", method.full_name.as_str()),
        );
    }
    if gate.draining.is_cancelled() {
        return refused(&Error::new(
            Kind::ShuttingDown,
            "the server is shutting down and takes no new work: try again",
        ));
    }
    let asked = match asked_timeout(request.headers()) {
        Ok(asked) => asked.unwrap_or(method.default_deadline),
        Err(error) => return refused(&error),
    };
    let wait = asked.min(method.max_deadline);
    let now = gate.clock.now();
    let Some(deadline) = clock::after(now, wait) else { return next.run(request).await };
    request.extensions_mut().insert(Deadline(deadline));
    let call = gate.calls.token();
    // A method ends its own stream, with an event that says why; but a request that never comes
    // whole gets to no method.
    let most = if method.streams { wait.saturating_add(TO_SAY_WHY) } else { wait };
    match tokio::time::timeout(most, next.run(request)).await {
        Ok(response) if method.streams => gate.stalls.watch(response, call),
        Ok(response) => response,
        Err(_) => refused(&deadline_exceeded(wait)),
    }
}

pub fn deadline_exceeded(wait: Duration) -> Error {
    Error::new(
        Kind::DeadlineExceeded,
        format!("the call took longer than its deadline of {}", humantime::format_duration(wait)),
    )
}

/// `grpc-timeout`: at most eight digits and a unit. Source: gRPC over HTTP/2, requests.
fn asked_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let bad = || Error::field("grpc-timeout", "must be up to eight digits and one of H M S m u n");
    let text = value.to_str().map_err(|_| bad())?;
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    if digits.len() > 8 || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let n: u64 = digits.parse().map_err(|_| bad())?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(n * 3_600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return Err(bad()),
    }))
}

/// Statuses that tonic makes by itself (a message too large, bytes that are no message) have no
/// reason yet.
async fn complete(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let completed = Status::from_header_map(response.headers()).and_then(|s| error::completed(&s));
    if let Some(status) = completed {
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
            response.headers_mut().remove(name);
        }
        // A status that does not fit into headers keeps the number that it has.
        let _ = status.add_header(response.headers_mut());
    }
    response
}

fn refused(error: &Error) -> Response {
    error::status(error).into_http::<axum::body::Body>().into_response()
}

/// No RPC of the contract and none of the standard services.
async fn unknown(request: Request) -> Response {
    let method = request.uri().path().trim_start_matches('/').replace('/', ".");
    let message = format!("{method} is not a method of this server");
    refused(&Error::new(Kind::MethodDisabled, message).fact("method", method))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn timeouts_of_the_wire_are_read_and_nonsense_is_refused() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("grpc-timeout"),
                HeaderValue::from_str(text).unwrap(),
            )]);
            asked_timeout(&headers)
        };
        assert_eq!(read("250m").unwrap(), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H").unwrap(), Some(Duration::from_secs(99_999_999 * 3_600)));
        for nonsense in ["", "S", "5", "-1S", "123456789S", "5 S", "5x", "é"] {
            assert!(read(nonsense).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn what_clients_call_a_loopback_address_is_this_machine() {
        for name in
            ["localhost", "LocalHost.", "a.localhost", "127.0.0.1", "127.8.0.1", "[::1]", "::1"]
        {
            assert!(is_this_machine(name), "{name}");
        }
        for name in ["", "localhost.evil.example", "evillocalhost", "127.0.0.1.nip.io", "0.0.0.0"] {
            assert!(!is_this_machine(name), "{name}");
        }
    }

    #[test]
    fn loopback_is_a_name_not_a_prefix() {
        assert!(
            is_loopback("localhost:5173") && is_loopback("[::1]:80") && is_loopback("127.0.0.1")
        );
        assert!(!is_loopback("localhost.evil.example") && !is_loopback("127.0.0.1.evil:80"));
    }
}
