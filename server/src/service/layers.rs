//! What every call passes, outermost first: the one visible stack.
//!
//! Order is meaning. Origin stands before everything else, because a page that may not call must
//! not be answered; the policy stands inside grpc-web, so that both wires meet the same rules.
//! A program that speaks gRPC itself goes straight to the policy: what is for browsers costs it
//! nothing. All steps of one call share one future.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::Router;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, Method as HttpMethod, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use mediary_domain::{Error, Kind};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tonic::{Status, body::Body, codegen::BoxFuture};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, Service, ServiceExt as _};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};

use super::{
    measure::{GRPC_STATUS, Measure, OVERHEAD, UPSTREAM},
    methods::{Method, Methods},
    services::Services,
    stall::Stalls,
    trail::Trail,
};
use crate::{
    access::{Access, CallPlace, Caller, Role, StreamPlace},
    clock::{self, Clock},
    error,
    telemetry::{Metrics, Tally},
};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

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
    pub access: Access,
    /// Who calls without a key, if anybody may.
    pub anonymous: Option<Caller>,
    pub trail: Trail,
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
    pub metrics: Metrics,
    /// Fired when no new work is taken.
    pub draining: CancellationToken,
    /// Counts those that are open.
    pub calls: TaskTracker,
}

/// One port for both: gRPC and grpc-web, and everything else.
#[derive(Clone)]
pub struct Front {
    doors: Arc<Doors>,
    /// Who is at the other end of the connection.
    address: Option<IpAddr>,
}

/// Stands in the extensions of every request.
#[derive(Clone, Copy)]
struct PeerAddress(IpAddr);

struct Doors {
    calls: Calls,
    /// The same calls, as browsers make them.
    web: Cors<GrpcWebService<Calls>>,
    http: Router,
}

impl Front {
    pub fn new(services: Services, http: Router, gate: Gate) -> Self {
        let gate = Arc::new(gate);
        let calls = Calls(Arc::new(Inside { gate: gate.clone(), services }));
        let web = cors(gate).layer(GrpcWebLayer::new().layer(calls.clone()));
        Self { doors: Arc::new(Doors { calls, web, http }), address: None }
    }

    /// The same for one connection.
    pub fn for_peer(&self, address: IpAddr) -> Self {
        Self { doors: self.doors.clone(), address: Some(address.to_canonical()) }
    }
}

impl Service<http::Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Incoming>) -> Self::Future {
        let doors = self.doors.clone();
        if let Some(address) = self.address {
            request.extensions_mut().insert(PeerAddress(address));
        }
        let peer = Peer::of(&request);
        // 0. Whoever calls the server by a name that is not its own gets nowhere.
        if let Some(wrong) = doors.calls.0.gate.wrong_host(&request) {
            let answer = match peer {
                Peer::Other => misdirected(),
                Peer::Program | Peer::Browser => {
                    let message =
                        "the server is not called by this name: add it to listen.allowed_hosts";
                    refused(&Error::new(Kind::OriginNotAllowed, message).fact("host", wrong))
                }
            };
            return async { Ok(answer) }.boxed();
        }
        // Every call is a POST (gRPC over HTTP/2, requests); tonic does not look.
        let is_call = matches!(*request.method(), HttpMethod::POST | HttpMethod::OPTIONS);
        if !is_call && !matches!(peer, Peer::Other) {
            return async { Ok(bare(StatusCode::METHOD_NOT_ALLOWED, "")) }.boxed();
        }
        match peer {
            Peer::Program => {
                let request = request.map(Body::new);
                async move { Ok(doors.calls.answer(request).await) }.boxed()
            }
            Peer::Browser => {
                let request = request.map(Body::new);
                async move { Ok(browser(&doors, request).await) }.boxed()
            }
            Peer::Other => {
                let answer = doors.http.clone().oneshot(request);
                async move { answer.await.map(|response| response.map(Body::new)) }.boxed()
            }
        }
    }
}

enum Peer {
    /// Speaks gRPC over HTTP/2, and is no page.
    Program,
    /// Speaks grpc-web, or comes from a page, or asks whether it may.
    Browser,
    /// No call at all.
    Other,
}

impl Peer {
    fn of<B>(request: &http::Request<B>) -> Self {
        let headers = request.headers();
        let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |it| it.as_bytes());
        match content_type.strip_prefix(b"application/grpc") {
            Some(rest)
                if request.version() == Version::HTTP_2
                    && !rest.starts_with(b"-")
                    && !headers.contains_key(header::ORIGIN) =>
            {
                Self::Program
            }
            Some(_) => Self::Browser,
            None if request.method() == HttpMethod::OPTIONS
                && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) =>
            {
                Self::Browser
            }
            None => Self::Other,
        }
    }
}

/// What stands before the calls of browsers.
async fn browser(doors: &Doors, request: Request) -> Response {
    // 1. Who is refused hears why.
    hear_out(request, |request| async {
        // 2. Pages of other origins are refused.
        if let Err(error) = doors.calls.0.gate.origin(request.headers()) {
            return refused(&error);
        }
        // 3. Browsers may read what the gRPC client needs.
        // 4. grpc-web, binary and text, becomes gRPC.
        match doors.web.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    })
    .await
}

/// What every call passes, over either wire.
#[derive(Clone)]
struct Calls(Arc<Inside>);

struct Inside {
    gate: Arc<Gate>,
    services: Services,
}

impl Calls {
    async fn answer(&self, mut request: Request) -> Response {
        let Inside { gate, .. } = &*self.0;
        let method = gate.methods.get(request.uri().path());
        let rpc = method.map(|method| method.rpc.clone()).or_else(|| standard(&request));
        let measure = Measure::begin(gate.metrics.clone(), gate.clock.clone(), rpc);
        request.extensions_mut().insert(measure.tally().clone());
        // 5. Is it served, to this caller, and how long may it take?
        let admitted = gate.admit(method, &mut request);
        let asking = method.filter(|method| method.audited);
        let asking = asking.and_then(|method| Some((method, request.extensions().get().cloned()?)));
        let response = match admitted {
            Ok(pass) => self.pass(pass, measure, request).await,
            Err(error) => measure.cover(refused(&error)),
        };
        // 9. What was tried and refused is noted.
        if let Some((method, caller)) = asking {
            gate.trail.note(method, &caller, response.headers()).await;
        }
        response
    }

    async fn pass(&self, pass: Pass, measure: Measure, request: Request) -> Response {
        let Pass { wait, streams, places } = pass;
        let measure = if streams { measure.streaming() } else { measure };
        let response = self.ask(wait, streams, request).await;
        // 7. A stream whose reader stops reading is ended. 8. How it went is told at its end.
        if streams && !response.headers().contains_key(GRPC_STATUS) {
            self.0.gate.stalls.watch(response, places, measure)
        } else {
            measure.cover(response)
        }
    }

    async fn ask(&self, wait: Option<Duration>, streams: bool, request: Request) -> Response {
        let Some(call) = self.0.services.find(request.uri().path()) else {
            return refused(&unknown(request.uri().path()));
        };
        let answer = call(request).map(|answer| answer.unwrap_or_else(|never| match never {}));
        // A method ends its own stream, with an event that says why; but a request that never comes
        // whole gets to no method.
        let grace = if streams { TO_SAY_WHY } else { Duration::ZERO };
        let response = match wait {
            None => answer.await,
            Some(wait) => match tokio::time::timeout(wait.saturating_add(grace), answer).await {
                Ok(response) => response,
                Err(_) => return refused(&deadline_exceeded(wait)),
            },
        };
        // 6. A library's bare status gets its reason.
        complete(response)
    }
}

impl Service<Request> for Calls {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let calls = self.clone();
        async move { Ok(calls.answer(request).await) }.boxed()
    }
}

/// Over HTTP/1.1 a peer that still sends does not listen: it would see the connection break and
/// not the reason. So what is left of a refused request is read first, within reason.
async fn hear_out<F: Future<Output = Response>>(
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    if request.version() > Version::HTTP_11 {
        return answer(request).await;
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
    let response = answer(Request::from_parts(head, inner)).await;
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
    let exposed = exposed.map(HeaderName::from_static).into_iter().chain([OVERHEAD, UPSTREAM]);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, head| {
            origin.to_str().is_ok_and(|origin| gate.allows(origin, &head.headers))
        }))
        .allow_methods([HttpMethod::POST])
        .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
        .expose_headers(exposed.collect::<Vec<_>>())
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

    /// A page may have its own name point at this machine (DNS rebinding): its browser then takes
    /// the server for that page's own, sends no `Origin` with a simple request, and shows the
    /// answer. What it cannot do is to call it by another name. The name, where it is wrong.
    fn wrong_host<B>(&self, request: &http::Request<B>) -> Option<String> {
        let called = request.uri().authority().map(|authority| authority.as_str());
        let header = request.headers().get(header::HOST);
        let header = header.map(|value| value.to_str().unwrap_or_default());
        let mut names = called.into_iter().chain(header);
        names.find(|host| !self.is_called(host)).map(str::to_owned)
    }

    /// Only browsers send `Origin`, and they cannot be made to lie about it.
    fn origin(&self, headers: &HeaderMap) -> Result<(), Error> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        if self.allows(origin, headers) {
            return Ok(());
        }
        let message = "this origin may not call: add it to listen.allowed_origins";
        Err(Error::new(Kind::OriginNotAllowed, message).fact("origin", origin))
    }

    /// Decides about a call by what stands in its head, and notes in its extensions what its
    /// method needs to know: who calls, and until when it must have ended.
    fn admit(&self, method: Option<&Method>, request: &mut Request) -> Result<Pass, Error> {
        let Some(method) = method else { return self.admit_foreign(request) };
        if !self.serves_admin && method.is_admin() {
            let message = "the admin services do not answer here: call admin.address, or set \
                           admin.on_public";
            let error = Error::new(Kind::MethodDisabled, message);
            return Err(error.fact("method", method.full_name.as_str()));
        }
        let caller = self.caller(request)?;
        if caller.role < method.role {
            let message = format!(
                "{} needs the role {}, and this caller is {}",
                method.full_name,
                method.role.as_str(),
                caller.role.as_str()
            );
            request.extensions_mut().insert(caller);
            let error = Error::new(Kind::RoleInsufficient, message);
            return Err(error.fact("requiredRole", method.role.as_str()));
        }
        let places = self.places(&caller, method);
        request.extensions_mut().insert(caller);
        let places = places?;
        if !method.is_served {
            let message = format!("{} is not built into this server", method.full_name);
            let error = Error::new(Kind::MethodDisabled, message);
            return Err(error.fact("method", method.full_name.as_str()));
        }
        if self.draining.is_cancelled() {
            let message = "the server is shutting down and takes no new work: try again";
            return Err(Error::new(Kind::ShuttingDown, message));
        }
        let asked = asked_timeout(request.headers())?.unwrap_or(method.default_deadline);
        let wait = asked.min(method.max_deadline);
        let deadline = clock::after(self.clock.now(), wait);
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(Deadline(deadline));
        }
        Ok(Pass { wait: deadline.is_some().then_some(wait), streams: method.streams, places })
    }

    /// Health and reflection are not ours and have no policy. Health is for everybody, and tells
    /// nothing; the contract is for those who run the server.
    fn admit_foreign(&self, request: &Request) -> Result<Pass, Error> {
        let path = request.uri().path();
        if path.starts_with("/mediary.") {
            return Err(unknown(path));
        }
        if path.starts_with("/grpc.reflection.") && self.caller(request)?.role < Role::Operator {
            let message = "reflection needs the role operator";
            return Err(Error::new(Kind::RoleInsufficient, message));
        }
        Ok(Pass { wait: None, streams: false, places: Places::default() })
    }

    fn caller(&self, request: &Request) -> Result<Caller, Error> {
        let address = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
        let tally = request.extensions().get::<Tally>().cloned().unwrap_or_default();
        let known = self.access.identify(request.headers(), self.anonymous.as_ref())?;
        Ok(Caller { address, tally, ..known })
    }

    fn places(&self, caller: &Caller, method: &Method) -> Result<Places, Error> {
        let open = Some(self.calls.token());
        let Some(key) = &caller.key else { return Ok(Places { open, ..Places::default() }) };
        Ok(Places {
            open,
            call: Some(key.begin_call(&self.clock)?),
            stream: if method.streams { Some(key.begin_stream()?) } else { None },
        })
    }
}

/// What was decided about a call.
struct Pass {
    /// After which it is ended from here.
    wait: Option<Duration>,
    streams: bool,
    places: Places,
}

/// What a call takes up until it is over: of the drain's patience, and of the limits of its key.
#[derive(Default)]
pub struct Places {
    #[expect(dead_code, reason = "what counts is when it is dropped")]
    open: Option<TaskTrackerToken>,
    #[expect(dead_code, reason = "what counts is when it is dropped")]
    call: Option<CallPlace>,
    stream: Option<StreamPlace>,
}

impl Places {
    /// Ready once the key of the stream may not be used any more.
    pub fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.as_mut().map_or(Poll::Pending, |stream| stream.poll_revoked(cx))
    }
}

/// What a client may call a loopback address; names that end in .localhost never leave a machine
/// (RFC 6761, 6.3).
fn is_this_machine(name: &str) -> bool {
    const BELOW: &str = ".localhost";
    let name = name.strip_suffix('.').unwrap_or(name);
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let end = name.len().checked_sub(BELOW.len()).and_then(|at| name.get(at..));
    name.eq_ignore_ascii_case("localhost")
        || end.is_some_and(|end| end.eq_ignore_ascii_case(BELOW))
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
fn complete(mut response: Response) -> Response {
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
    error::status(error).into_http()
}

fn misdirected() -> Response {
    let message = "this server is not called by this name: see listen.allowed_hosts\n";
    bare(StatusCode::MISDIRECTED_REQUEST, message)
}

/// An answer to what is no call.
fn bare(status: StatusCode, text: &'static str) -> Response {
    let mut response =
        http::Response::new(Body::new(Full::from(text).map_err(|never| match never {})));
    *response.status_mut() = status;
    response
}

/// The name of an RPC of the standard services; what callers make up is none.
fn standard(request: &Request) -> Option<Arc<str>> {
    const ALL: [&str; 4] = [
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ];
    let asked = request.uri().path().strip_prefix('/')?;
    ALL.iter().find(|one| **one == asked).map(|one| Arc::from(*one))
}

/// No RPC of the contract and none of the standard services.
fn unknown(path: &str) -> Error {
    let method = path.trim_start_matches('/').replace('/', ".");
    let message = format!("{method} is not a method of this server");
    Error::new(Kind::MethodDisabled, message).fact("method", method)
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
