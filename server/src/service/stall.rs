//! Readers that stop reading: their streams are ended, so that neither memory nor a provider is
//! held for them.
//!
//! A body is polled only when its reader has room for more. One that had more to give and was not
//! asked for it within the patience is stalled: it is dropped, which closes the connection to the
//! provider, and the stream is reset when its reader comes back.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};
use tracing::info;

use super::{layers::Places, measure::Measure};
use crate::{access, clock::Clock, error::status};

/// How often all streams are looked at, at most and at least.
const ROUNDS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Watches every open stream.
#[derive(Clone)]
pub struct Stalls(Arc<Inner>);

struct Inner {
    clock: Clock,
    patience: Duration,
    streams: Mutex<Vec<Weak<Mutex<Watched>>>>,
}

struct Watched {
    /// `None` once it was ended for its reader's silence.
    body: Option<Body>,
    /// When the reader took something and left; `None` while it waits for us.
    left: Option<Instant>,
    measure: Measure,
}

impl Stalls {
    /// `patience`: how long a reader may leave a stream alone that has more for it.
    pub fn new(clock: Clock, patience: Duration) -> Self {
        Self(Arc::new(Inner { clock, patience, streams: Mutex::default() }))
    }

    /// Has the body of a streamed answer watched and measured; its `places` are given back with the
    /// body.
    pub(super) fn watch(
        &self,
        response: Response<Body>,
        places: Places,
        measure: Measure,
    ) -> Response<Body> {
        response.map(|body| {
            let left = Some(self.0.clock.now());
            let watched = Arc::new(Mutex::new(Watched { body: Some(body), left, measure }));
            lock(&self.0.streams).push(Arc::downgrade(&watched));
            Body::new(WatchedBody { watched, clock: self.0.clock.clone(), places })
        })
    }

    /// Looks after them for ever.
    pub async fn sweep(&self) {
        let round = (self.0.patience / 10).clamp(ROUNDS.0, ROUNDS.1);
        loop {
            tokio::time::sleep(round).await;
            let ended = self.end_stalled();
            if ended > 0 {
                info!(streams = ended, "ended {ended} streams whose readers stopped reading");
            }
        }
    }

    fn end_stalled(&self) -> usize {
        let now = self.0.clock.now();
        let open: Vec<_> = {
            let mut streams = lock(&self.0.streams);
            streams.retain(|stream| stream.strong_count() > 0);
            streams.iter().filter_map(Weak::upgrade).collect()
        };
        let stalled = open.iter().filter_map(|stream| {
            let mut stream = lock(stream);
            let left = stream.left?;
            if now.saturating_duration_since(left) < self.0.patience {
                return None;
            }
            stream.measure.stalled();
            stream.body.take()
        });
        // Dropped here, after the locks.
        let stalled: Vec<Body> = stalled.collect();
        stalled.len()
    }
}

struct WatchedBody {
    watched: Arc<Mutex<Watched>>,
    clock: Clock,
    /// Given back when the stream ends.
    places: Places,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let watched = self.watched.clone();
        let mut watched = lock(&watched);
        let Some(body) = &mut watched.body else {
            return Poll::Ready(Some(Err(Status::cancelled("the reader was silent too long"))));
        };
        let mut frame = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            watched.measure.trailers(trailers);
        }
        watched.left = frame.is_ready().then(|| self.clock.now());
        // Looked at between two frames only, so that it costs a running stream nothing.
        if frame.is_pending() && self.places.poll_revoked(cx).is_ready() {
            watched.body = None;
            let mut trailers = HeaderMap::new();
            let _ = status(&access::revoked()).add_header(&mut trailers);
            watched.measure.trailers(&mut trailers);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.watched).body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.watched).body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole between any two statements, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::SystemTime,
    };

    use http_body_util::{BodyExt as _, Full, StreamBody};
    use uuid::Uuid;

    use super::*;
    use crate::{clock::Source, telemetry::Metrics};

    struct Stepped(Instant, AtomicU64);

    impl Source for Stepped {
        fn now(&self) -> Instant {
            self.0 + Duration::from_secs(self.1.load(Ordering::Relaxed))
        }
        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
        fn id(&self) -> Uuid {
            Uuid::nil()
        }
        fn chance(&self) -> f64 {
            0.0
        }
        fn fill(&self, _: &mut [u8]) {}
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the moment from which the test's clock counts")]
    async fn a_stream_is_ended_when_its_reader_leaves_it_and_not_while_the_provider_thinks() {
        let source = Arc::new(Stepped(Instant::now(), AtomicU64::new(0)));
        let stalls = Stalls::new(Clock::new(source.clone()), Duration::from_secs(30));
        let metrics = Metrics::new().unwrap();
        let clock = Clock::new(source.clone());
        let measure = || Measure::begin(metrics.clone(), clock.clone(), None).streaming();
        let data =
            |text: &'static str| Ok::<_, Status>(Frame::data(Bytes::from_static(text.as_bytes())));
        let frames = async_stream::stream! {
            yield data("one");
            yield data("two");
            std::future::pending::<()>().await;
        };
        let frames = StreamBody::new(frames);
        let response = stalls.watch(Response::new(Body::new(frames)), Places::default(), measure());
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        source.1.store(29, Ordering::Relaxed);
        assert_eq!(stalls.end_stalled(), 0);
        body.frame().await.unwrap().unwrap();
        // It waits for the provider, however long that takes.
        assert!(futures::poll!(std::pin::pin!(body.frame())).is_pending());
        source.1.store(500, Ordering::Relaxed);
        assert_eq!(stalls.end_stalled(), 0);

        let response = stalls.watch(
            Response::new(Body::new(Full::from("never read"))),
            Places::default(),
            measure(),
        );
        source.1.store(530, Ordering::Relaxed);
        assert_eq!(stalls.end_stalled(), 1);
        assert!(response.into_body().frame().await.unwrap().is_err());
        drop(body);
        let told = metrics.text();
        assert!(told.contains("mediary_stream_cancelled_total{by=\"stall\"} 1"), "{told}");
        assert!(told.contains("mediary_stream_cancelled_total{by=\"client\"} 1"), "{told}");
        assert!(told.contains("mediary_stream_open 0"), "{told}");
    }
}
