//! How each call went: how long it took, how much of that was ours, and who ended it.
//!
//! Owns: the trailers that say so to the caller. Leaves: the figures (`telemetry`).
//! A call is measured from its head to the end of its body; one that is dropped before was left by
//! its caller.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use mediary_domain::Kind;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;
use tracing::debug;

use crate::{
    clock::Clock,
    error,
    telemetry::{CallEnd, Metrics, Tally},
};

/// Where a status stands.
pub const GRPC_STATUS: &str = "grpc-status";
/// Milliseconds that the call took beside those in which providers were at work.
pub const OVERHEAD: HeaderName = HeaderName::from_static("mediary-overhead-ms");
/// Milliseconds in which providers were at work.
pub const UPSTREAM: HeaderName = HeaderName::from_static("mediary-upstream-ms");

/// One call while it runs. Dropped before its end, its caller has gone.
pub struct Measure {
    metrics: Metrics,
    clock: Clock,
    rpc: Option<Arc<str>>,
    begin: Instant,
    tally: Tally,
    is_stream: bool,
    is_over: bool,
}

impl Measure {
    pub fn begin(metrics: Metrics, clock: Clock, rpc: Option<Arc<str>>) -> Self {
        let (begin, tally) = (clock.now(), Tally::begin());
        Self { metrics, clock, rpc, begin, tally, is_stream: false, is_over: false }
    }

    /// What those who serve the call add to.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts it among the open streams.
    pub fn streaming(mut self) -> Self {
        self.is_stream = true;
        self.metrics.stream_opened();
        self
    }

    /// An answer whose head is its end already; or its body, measured.
    pub fn cover(mut self, mut response: Response<Body>) -> Response<Body> {
        if response.headers().contains_key(GRPC_STATUS) {
            self.trailers(response.headers_mut());
            return response;
        }
        response.map(|body| Body::new(Measured { body, measure: self }))
    }

    /// Reads how it ended, and adds how long it took.
    pub fn trailers(&mut self, trailers: &mut HeaderMap) {
        let Some(end) = End::read(trailers) else { return };
        let by = match end.code {
            Code::Ok => self.is_stopped().then_some("stop"),
            Code::DeadlineExceeded => Some("deadline"),
            Code::Unauthenticated => Some("key"),
            Code::Unavailable if end.reason == "SHUTTING_DOWN" => Some("shutdown"),
            _ => None,
        };
        if let Some(split) = self.close(&end, by) {
            for (name, time) in [(OVERHEAD, split.ours), (UPSTREAM, split.upstream)] {
                let millis = format!("{:.3}", time.as_secs_f64() * 1e3);
                if let Ok(value) = HeaderValue::try_from(millis) {
                    trailers.insert(name, value);
                }
            }
        }
    }

    /// Its reader has stopped reading.
    pub fn stalled(&mut self) {
        self.close(&End::LEFT, Some("stall"));
    }

    /// Whether its answer was whole only as far as somebody let it go.
    fn is_stopped(&self) -> bool {
        self.is_stream && self.tally.last().is_some_and(|one| one.failure == Some(Kind::Cancelled))
    }

    fn close(&mut self, end: &End, by: Option<&'static str>) -> Option<Split> {
        if std::mem::replace(&mut self.is_over, true) {
            return None;
        }
        if self.is_stream {
            self.metrics.stream_closed(by);
        }
        let end = CallEnd {
            rpc: self.rpc.as_deref(),
            code: error::code_name(end.code),
            reason: &end.reason,
            took: self.clock.now().saturating_duration_since(self.begin),
        };
        if let Some(served) = self.tally.last() {
            let first = served.first_token;
            let wait = first.map(|first| first.saturating_duration_since(self.begin));
            self.metrics.served(&end, &served, wait);
        }
        let ours = self.metrics.call(&end, &self.tally);
        let split = ours.map(|ours| Split { ours, upstream: end.took.saturating_sub(ours) });
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        debug!(
            rpc = end.rpc.unwrap_or_default(),
            code = end.code,
            reason = end.reason,
            ended_by = by,
            took_ms = millis(end.took),
            overhead_ms = split.as_ref().map(|split| millis(split.ours)),
            upstream_ms = split.as_ref().map(|split| millis(split.upstream)),
            "a call has ended: {}",
            end.code,
        );
        split
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        if !self.is_over {
            self.close(&End::LEFT, Some("client"));
        }
    }
}

/// Whose time it was.
struct Split {
    ours: Duration,
    upstream: Duration,
}

/// A status without what nobody here asks for.
struct End {
    code: Code,
    /// Of its `ErrorInfo`; empty = it has none.
    reason: String,
}

impl End {
    /// Of a call whose caller is gone.
    const LEFT: Self = Self { code: Code::Cancelled, reason: String::new() };

    /// Cheap for a call that went well.
    fn read(trailers: &HeaderMap) -> Option<Self> {
        if trailers.get(GRPC_STATUS)?.as_bytes() == b"0" {
            return Some(Self { code: Code::Ok, reason: String::new() });
        }
        let status = Status::from_header_map(trailers)?;
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        Some(Self { code: status.code(), reason })
    }
}

/// The body of an answer that is no watched stream.
struct Measured {
    body: Body,
    measure: Measure,
}

impl HttpBody for Measured {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            self.measure.trailers(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
