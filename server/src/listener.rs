//! Accepts connections, with every limit set, until it is told to stop.
//!
//! Owns: sockets, HTTP/1.1 and HTTP/2 (h2c) settings, the drain. Leaves: what is answered.
//! tonic's own server hides limits that decide our safety, so hyper-util is driven directly.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{config::ListenSection, service::layers::Front};

/// Bytes that wait for one slow reader of a stream.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that a peer may make us reset before its connection is closed (CVE-2025-8671).
const LOCAL_RESETS: usize = 1_024;
/// Streams that a peer may reset before we answered (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// How an HTTP/2 connection begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const GREETING_PAUSE: Duration = Duration::from_millis(20);
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// How long a loop that cannot accept (no descriptors left) waits before it tries again.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// What streams get to say why they end, once the drain time is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Tells the house to stop.
#[derive(Clone, Default)]
pub struct Signals {
    /// No new work; what runs may finish.
    pub draining: CancellationToken,
    /// What still runs must end now.
    pub closing: CancellationToken,
}

pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use: stop the other server or set listen.address")
        }
        _ => format!("{address} cannot be bound: {error}"),
    })
}

/// Serves until `signals.draining`, then ends every connection within the drain time. Meanwhile it
/// answers new ones still: probes shall hear that it leaves, and callers that it takes no new work.
pub async fn serve(listener: TcpListener, app: Front, listen: &ListenSection, signals: Signals) {
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let mut door = Door {
        listener,
        places: Arc::new(Semaphore::new(listen.max_connections)),
        http: builder(listen),
        app,
        first_byte: listen.handshake_timeout.get(),
    };
    tokio::select! {
        biased;
        () = signals.draining.cancelled() => {}
        () = door.admit(&connections, || Some(graceful.watcher())) => {}
    }
    connections.close();
    // Nobody waits for the late ones: they end with the process.
    let late = TaskTracker::new();
    door.http.http1().keep_alive(false);
    tokio::select! {
        biased;
        () = drain(graceful, &connections, listen.drain_timeout.get(), &signals) => {}
        () = door.admit(&late, || None) => {}
    }
}

/// What takes connections in.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    http: auto::Builder<TokioExecutor>,
    app: Front,
    first_byte: Duration,
}

impl Door {
    /// Never ends. A connection with a watcher ends when it is told to.
    async fn admit(&self, connections: &TaskTracker, watcher: impl Fn() -> Option<Watcher>) {
        loop {
            let Some((stream, peer, place)) = accept(&self.listener, &self.places).await else {
                sleep(ACCEPT_BACK_OFF).await;
                continue;
            };
            let service = TowerToHyperService::new(self.app.for_peer(peer.ip()));
            let (http, watcher, first_byte) = (self.http.clone(), watcher(), self.first_byte);
            connections.spawn(async move {
                let _place = place;
                // A peer that says nothing, or only half of HTTP/2's first word, holds no connection.
                if !matches!(timeout(first_byte, greeted(&stream)).await, Ok(true)) {
                    return;
                }
                let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
                // How a peer leaves is its own affair.
                let _ = match watcher {
                    Some(watcher) => watcher.watch(connection.into_owned()).await,
                    None => connection.await,
                };
            });
        }
    }
}

/// Waits until it is clear which HTTP the peer speaks; from then on hyper's own limits hold.
async fn greeted(stream: &TcpStream) -> bool {
    let mut start = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut start).await {
            Ok(0) | Err(_) => return false,
            Ok(n) if n == PREFACE.len() || !PREFACE.starts_with(&start[..n]) => return true,
            // What was peeked at stays: only time brings more.
            Ok(_) => sleep(GREETING_PAUSE).await,
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Tokens are small: waiting to fill a packet costs 40 ms each.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) => {
            warn!(error = %error, "cannot accept a connection: {error}");
            None
        }
    }
}

fn builder(listen: &ListenSection) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(listen.handshake_timeout.get())
        .max_buf_size(usize::max(8 << 10, listen.max_header_bytes as usize));
    builder
        .http2()
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

async fn drain(
    graceful: GracefulShutdown,
    connections: &TaskTracker,
    patience: Duration,
    signals: &Signals,
) {
    info!(connections = connections.len(), "draining {} connections", connections.len());
    let goaway = graceful.shutdown();
    let all = async {
        goaway.await;
        connections.wait().await;
    };
    tokio::pin!(all);
    tokio::select! {
        () = &mut all => return,
        () = sleep(patience) => {}
        () = signals.closing.cancelled() => {}
    }
    signals.closing.cancel();
    if timeout(LAST_WORDS, all).await.is_err() {
        warn!(connections = connections.len(), "{} connections did not end", connections.len());
    }
}
