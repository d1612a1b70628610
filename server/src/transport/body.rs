//! A provider's body as it comes: bounded in silence, and in size when read whole.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http_body::Body as _;
use hyper::body::Incoming;
use mediary_domain::Result;
use tokio::time::Sleep;

use super::{cut_off, silent, too_long};
use crate::{clock::Clock, provider::CallContext};

/// Yields the bytes of an answer. Silence longer than the provider's idle timeout is a failure.
/// Dropping it closes the connection: the provider stops and so does the bill.
pub struct Body {
    incoming: Incoming,
    cx: CallContext,
    clock: Clock,
    idle: Duration,
    last: Instant,
    /// Armed once for a stretch of silence, not once a chunk.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Body {
    pub(super) fn new(incoming: Incoming, cx: &CallContext, clock: &Clock) -> Self {
        Self {
            incoming,
            cx: cx.clone(),
            last: clock.now(),
            clock: clock.clone(),
            alarm: None,
            idle: cx.provider.idle_timeout,
        }
    }

    pub fn poll_chunk(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(task) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers say nothing here.
                    let Ok(chunk) = frame.into_data() else { continue };
                    self.last = self.clock.now();
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(cut_off(&self.cx)))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        loop {
            let wait = |wait| Box::pin(tokio::time::sleep(wait));
            let alarm = self.alarm.get_or_insert_with(|| wait(self.idle));
            ready!(alarm.as_mut().poll(task));
            let quiet = self.clock.now().saturating_duration_since(self.last);
            if quiet >= self.idle {
                return Poll::Ready(Some(Err(silent(&self.cx))));
            }
            self.alarm = Some(wait(self.idle - quiet));
        }
    }

    /// All of a body that is one piece of JSON; longer than `limit` is a failure.
    pub async fn read_all(mut self, limit: usize) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await {
            all.extend_from_slice(&chunk?);
            if all.len() > limit {
                return Err(too_long(limit));
            }
        }
        Ok(all.freeze())
    }

    /// As much of the body as came, up to `limit`: for failures, where half a text is better
    /// than none.
    pub async fn read_some(mut self, limit: usize) -> Bytes {
        let mut some = BytesMut::new();
        while let Some(Ok(chunk)) = self.next().await {
            some.extend_from_slice(&chunk);
            if some.len() >= limit {
                some.truncate(limit);
                break;
            }
        }
        some.freeze()
    }
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_chunk(task)
    }
}
