//! Accepts connections, with every limit set, until it is told to stop.
//!
//! Owns: sockets, TLS, HTTP/1.1 and HTTP/2 settings, places, the drain. Leaves: what is answered.
//! tonic's own server hides limits that decide our safety, so hyper is driven directly.

mod door;
mod frames;
mod places;
mod socket;
pub mod tls;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::future::join_all;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::{door::Door, socket::Patience, tls::Tls};
use crate::{clock::Clock, config::ListenSection, service::layers::Front};

/// What calls get to say why they end, once the drain time is over.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// What connections get to be closed in order, once no call is open.
const GOODBYE: Duration = Duration::from_secs(1);
/// Files that are no connections of callers: those to providers, the store, the log.
const OTHER_FILES: usize = 32;

/// Tells the house to stop, or to look at its certificates.
#[derive(Clone, Default)]
pub struct Signals {
    /// No new work; what runs may finish.
    pub draining: CancellationToken,
    /// What still runs must end now.
    pub closing: CancellationToken,
    /// The files of TLS shall be read again.
    pub reload: watch::Sender<()>,
    /// Open calls: a drain waits for them and for nothing else.
    pub calls: TaskTracker,
}

/// An address that is listened on, and what answers there.
pub struct Entrance {
    pub listener: TcpListener,
    pub front: Front,
    pub tls: Option<Arc<Tls>>,
}

pub async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use: stop the other server or set {key}")
        }
        _ => format!("{address} cannot be bound: {error}"),
    })
}

/// As many connections as are configured, or as the process may open files for: its limit is raised
/// as far as it may be, and a quarter of it is kept for everything else.
pub fn connections_that_fit(configured: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { raised } else { limit };
    let Some(files) = limit.current.and_then(|files| usize::try_from(files).ok()) else {
        return configured;
    };
    let fit = files.saturating_sub((files / 4).max(OTHER_FILES)).max(1);
    if fit < configured {
        warn!(
            files,
            connections = fit,
            "the process may open {files} files: listen.max_connections is lowered from \
             {configured} to {fit}"
        );
    }
    configured.min(fit)
}

/// Serves until `signals.draining`, then ends every connection within the drain time.
///
/// For a while it answers new connections still: probes shall hear that it leaves, and callers that
/// it takes no new work. Then the addresses are free for a successor.
pub async fn serve(
    entrances: Vec<Entrance>,
    listen: &ListenSection,
    stall: Duration,
    clock: &Clock,
    signals: Signals,
) {
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let patience = Patience { header: listen.handshake_timeout.get(), stall };
    let mut doors: Vec<Door> = entrances
        .into_iter()
        .map(|entrance| Door::new(entrance, listen, patience, clock))
        .collect();
    tokio::select! {
        biased;
        () = signals.draining.cancelled() => {}
        _ = join_all(doors.iter().map(|door| door.admit(&connections, || Some(graceful.watcher())))) => {}
    }
    connections.close();
    // Nobody waits for the late ones: they end with the process.
    let late = TaskTracker::new();
    let farewell = listen.farewell_timeout.get();
    let part = async {
        doors.iter_mut().for_each(Door::closes_behind_everyone);
        let answering = join_all(doors.iter().map(|door| door.admit(&late, || None)));
        let _ = timeout(farewell, answering).await;
        drop(doors);
        info!("the addresses are free for a successor");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = drain(graceful, &connections, listen.drain_timeout.get(), &signals) => {}
        () = part => {}
    }
}

/// Open calls have the whole drain time; a connection without one, such as of a peer that watches
/// our health or says nothing, has no more than a moment.
async fn drain(
    graceful: GracefulShutdown,
    connections: &TaskTracker,
    patience: Duration,
    signals: &Signals,
) {
    let calls = &signals.calls;
    info!(
        connections = connections.len(),
        calls = calls.len(),
        "draining {} connections with {} open calls",
        connections.len(),
        calls.len()
    );
    calls.close();
    let closed = async {
        graceful.shutdown().await;
        connections.wait().await;
    };
    tokio::pin!(closed);
    tokio::select! {
        () = &mut closed => return,
        () = calls.wait() => {}
        () = sleep(patience) => {}
        () = signals.closing.cancelled() => {}
    }
    if !calls.is_empty() {
        signals.closing.cancel();
        tokio::select! {
            () = &mut closed => return,
            () = calls.wait() => {}
            () = sleep(LAST_WORDS) => {}
        }
    }
    let _ = timeout(GOODBYE, closed).await;
    if !calls.is_empty() {
        warn!(calls = calls.len(), "{} calls did not end", calls.len());
    }
}
