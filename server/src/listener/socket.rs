//! A connection's bytes, on their way between the socket and hyper.
//!
//! Owns: what was read to learn which HTTP is spoken, the pace of a peer that floods (`frames`),
//! and the patience with one that does not read, or does not finish what it began.
//! It costs a read no lock and no allocation.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::frames::Frames;
use crate::clock::Clock;

/// How HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

/// How long a peer may take.
#[derive(Clone, Copy)]
pub struct Patience {
    /// For the end of what it has begun to say.
    pub header: Duration,
    /// To read what it is sent.
    pub stall: Duration,
}

pub struct Socket<S> {
    inner: S,
    start: [u8; PREFACE.len()],
    /// Of `start`, what hyper has not seen.
    unseen: std::ops::Range<usize>,
    frames: Option<Frames>,
    patience: Patience,
    pause: Option<Pin<Box<Sleep>>>,
    owed: Option<Pin<Box<Sleep>>>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + Unpin> Socket<S> {
    /// Waits until it is clear which HTTP the peer speaks; `None` if it leaves before.
    pub async fn greeted(mut inner: S, patience: Patience, clock: &Clock) -> Option<(Self, Http)> {
        let mut start = [0; PREFACE.len()];
        let mut filled = 0;
        let http = loop {
            match inner.read(&mut start[filled..]).await {
                Ok(0) | Err(_) => return None,
                Ok(n) => filled += n,
            }
            if start[..filled] != PREFACE[..filled] {
                break Http::One;
            }
            if filled == PREFACE.len() {
                break Http::Two;
            }
        };
        let frames = (http == Http::Two).then(|| Frames::new(clock.clone()));
        let unseen = 0..filled;
        let socket =
            Self { inner, start, unseen, frames, patience, pause: None, owed: None, stalled: None };
        Some((socket, http))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.unseen.is_empty() {
            let here = this.unseen.len().min(buffer.remaining());
            buffer.put_slice(&this.start[this.unseen.start..][..here]);
            this.unseen.start += here;
            return Poll::Ready(Ok(()));
        }
        let Some(frames) = &mut this.frames else {
            return Pin::new(&mut this.inner).poll_read(cx, buffer);
        };
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buffer);
        if read.is_ready() {
            frames.take(&buffer.filled()[before..]);
            this.pause = frames.overdrawn().map(|wait| Box::pin(sleep(wait)));
            if !frames.is_owed() {
                this.owed = None;
            }
            return read;
        }
        if frames.is_owed() {
            wait(&mut this.owed, this.patience.header, cx)?;
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// Counts the time in which the peer takes nothing.
    fn taken<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stalled = None;
        } else {
            wait(&mut self.stalled, self.patience.stall, cx)?;
        }
        done
    }
}

/// Fails once `patience` has passed since the first call.
fn wait(
    timer: &mut Option<Pin<Box<Sleep>>>,
    patience: Duration,
    cx: &mut Context<'_>,
) -> io::Result<()> {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep(patience)));
    match timer.as_mut().poll(cx) {
        Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
        Poll::Pending => Ok(()),
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.taken(cx, done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.inner).poll_write_vectored(cx, pieces);
        this.taken(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.inner).poll_flush(cx);
        this.taken(cx, done)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
