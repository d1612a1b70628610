//! A provider's body as it comes: bounded in silence, and in size when read whole.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use mediary_domain::Result;
use tokio::time::Sleep;

use super::{Phase, broken, too_long};
use crate::{clock::Clock, provider::CallContext};

type Chunks = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// Yields the bytes of an answer. Silence longer than the provider's idle timeout is a failure.
/// Dropping it closes the connection: the provider stops and so does the bill.
pub struct Body {
    chunks: Chunks,
    cx: CallContext,
    clock: Clock,
    idle: Duration,
    last: Instant,
    /// Armed once for a stretch of silence, not once a chunk.
    alarm: Pin<Box<Sleep>>,
}

impl Body {
    pub(super) fn new(response: reqwest::Response, cx: &CallContext, clock: &Clock) -> Self {
        let idle = cx.provider.idle_timeout;
        Self {
            chunks: Box::pin(response.bytes_stream()),
            cx: cx.clone(),
            last: clock.now(),
            clock: clock.clone(),
            alarm: Box::pin(tokio::time::sleep(idle)),
            idle,
        }
    }

    pub fn poll_chunk(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        match self.chunks.as_mut().poll_next(task) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.last = self.clock.now();
                return Poll::Ready(Some(Ok(chunk)));
            }
            Poll::Ready(Some(Err(error))) => {
                return Poll::Ready(Some(Err(broken(&self.cx, &error, Phase::InAnswer))));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        loop {
            ready!(self.alarm.as_mut().poll(task));
            let silent = self.clock.now().saturating_duration_since(self.last);
            if silent >= self.idle {
                return Poll::Ready(Some(Err(super::silent(&self.cx))));
            }
            self.alarm = Box::pin(tokio::time::sleep(self.idle - silent));
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
