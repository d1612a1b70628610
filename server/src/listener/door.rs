//! One address: lets peers in, and speaks HTTP with them.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::Request;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::{GracefulConnection, Watcher},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tower::Service as _;
use tracing::warn;

use super::{
    Entrance,
    places::{Place, Places},
    socket::{Http, Patience, Socket},
    tls::Tls,
};
use crate::{clock::Clock, config::ListenSection, service::layers::Front};

/// Bytes that wait for one slow reader of a stream. A token is a frame of its own, and h2 keeps
/// several times its size to remember it.
const SEND_BUFFER: usize = 4 << 10;
/// Bytes that wait in the kernel for a slow reader, beyond those on their way.
const UNSENT: u32 = 32 << 10;
/// Streams that a peer may make us reset before its connection is closed (CVE-2025-8671).
const LOCAL_RESETS: usize = 1_024;
/// Streams that a peer may reset before we answered (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// How long a loop that cannot accept (no descriptors left) waits before it tries again.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// What takes connections in at one address.
pub struct Door {
    listener: TcpListener,
    front: Front,
    tls: Option<Arc<Tls>>,
    places: Arc<Places>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    patience: Patience,
    clock: Clock,
}

impl Door {
    pub fn new(
        entrance: Entrance,
        listen: &ListenSection,
        patience: Patience,
        clock: &Clock,
    ) -> Self {
        let Entrance { listener, front, tls } = entrance;
        let places = Places::new(listen.max_connections, listen.max_connections_per_address);
        let (http1, http2) = (http1(listen), http2(listen));
        Self { listener, front, tls, places, http1, http2, patience, clock: clock.clone() }
    }

    /// From now on HTTP/1.1 connections end after their answer.
    pub fn closes_behind_everyone(&mut self) {
        self.http1.keep_alive(false);
    }

    /// Never ends. A connection with a watcher ends when it is told to.
    pub async fn admit(&self, connections: &TaskTracker, watcher: impl Fn() -> Option<Watcher>) {
        loop {
            let Some((stream, peer, place)) = self.accept().await else { continue };
            let guest = Guest {
                place: Arc::new(place),
                front: self.front.for_peer(peer),
                http1: self.http1.clone(),
                http2: self.http2.clone(),
                patience: self.patience,
                clock: self.clock.clone(),
                watcher: watcher(),
            };
            let acceptor = self.tls.as_ref().map(|tls| tls.acceptor());
            connections.spawn(async move {
                let taken = guest.place.taken.clone();
                let conversation = async {
                    match acceptor {
                        None => guest.converse(async { Some(stream) }).await,
                        Some(acceptor) => {
                            guest.converse(async { acceptor.accept(stream).await.ok() }).await;
                        }
                    }
                };
                tokio::select! {
                    () = conversation => {}
                    () = taken.cancelled() => {}
                }
            });
        }
    }

    async fn accept(&self) -> Option<(TcpStream, IpAddr, Place)> {
        let (stream, peer) = match self.listener.accept().await {
            Ok(accepted) => accepted,
            // The peer left before it was let in.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return None,
            Err(error) => {
                warn!(error = %error, "cannot accept a connection: {error}");
                self.places.evict();
                sleep(ACCEPT_BACK_OFF).await;
                return None;
            }
        };
        let Some(place) = self.places.take(peer.ip()) else {
            warn_once();
            return None;
        };
        // Tokens are small: waiting to fill a packet costs 40 ms each.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
        Some((stream, peer.ip(), place))
    }
}

/// A peer that was let in.
struct Guest {
    place: Arc<Place>,
    front: Front,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    patience: Patience,
    clock: Clock,
    watcher: Option<Watcher>,
}

impl Guest {
    /// Until one of both leaves. How a peer leaves is its own affair.
    async fn converse<S>(self, connected: impl Future<Output = Option<S>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { place, front, http1, http2, patience, clock, watcher } = self;
        // A peer that says nothing, or only half of its first word, holds no connection.
        let greeted = timeout(patience.header, async {
            Socket::greeted(connected.await?, patience, &clock).await
        });
        let Ok(Some((socket, http))) = greeted.await else { return };
        let io = TokioIo::new(socket);
        let service = service_fn(move |request: Request<Incoming>| {
            place.called();
            front.clone().call(request)
        });
        match http {
            Http::One => serve(http1.serve_connection(io, service), watcher).await,
            Http::Two => serve(http2.serve_connection(io, service), watcher).await,
        }
    }
}

async fn serve(connection: impl GracefulConnection, watcher: Option<Watcher>) {
    let _ = match watcher {
        Some(watcher) => watcher.watch(connection).await,
        None => connection.await,
    };
}

/// Once: an attack must not fill the log as well.
fn warn_once() {
    static WARNED: OnceLock<()> = OnceLock::new();
    WARNED.get_or_init(|| {
        warn!(
            "a connection was refused: listen.max_connections or \
             listen.max_connections_per_address of them are in use (said once)"
        );
    });
}

fn http1(listen: &ListenSection) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(listen.handshake_timeout.get())
        .max_buf_size(usize::max(8 << 10, listen.max_header_bytes as usize));
    builder
}

fn http2(listen: &ListenSection) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(listen.max_streams_per_connection)
        .max_send_buf_size(SEND_BUFFER)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_header_list_size(listen.max_header_bytes)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(listen.keepalive_interval.get())
        .keep_alive_timeout(listen.keepalive_timeout.get());
    builder
}
