//! Two promises in time: a stream that its caller leaves lets the vendor go at once, and a deadline
//! ends a stream when it says.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::{
    Result,
    figures::{Figure, Figures, Who},
    grpc::Connection,
    targets::Bench,
};

/// Streams that are open while one after another is left.
const STREAMS: usize = 300;
const CONNECTIONS: usize = 10;
const DEADLINE: Duration = Duration::from_millis(250);
/// A vendor that hears nothing for this long was not let go at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// One token as OpenAI streams it, in a chunk; the stream stays open behind it.
const TOKEN: &str =
    "data: {\"model\":\"hang\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"}}]}\n\n";

/// Measures Mediary, before a vendor that notes when it is left.
pub async fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let (address, mut left) = vendor().await?;
    let mediary = bench.mediary_before(address)?;
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(mediary.address).await?);
    }

    let mut streams = Vec::with_capacity(STREAMS);
    for at in 0..STREAMS {
        streams.push(connections[at % CONNECTIONS].hold("hang").await?);
    }
    let mut waits = Vec::with_capacity(STREAMS);
    for stream in streams {
        let begin = Instant::now();
        drop(stream);
        let end = tokio::time::timeout(PATIENCE, left.recv()).await?;
        waits.push(end.ok_or("the vendor ended")?.saturating_duration_since(begin));
    }
    push(figures, (Figure::CancelP50, Figure::CancelP99), &waits)?;

    let calls = (0..STREAMS).map(|at| {
        let mut connection = connections[at % CONNECTIONS].clone();
        async move { connection.expire("hang", DEADLINE).await }
    });
    let late: Vec<Duration> = try_join_all(calls).await?;
    push(figures, (Figure::LateP50, Figure::LateP99), &late)
}

fn push(figures: &mut Figures, names: (Figure, Figure), times: &[Duration]) -> Result<()> {
    let mut all = Histogram::<u64>::new(3)?;
    for time in times {
        all.record(u64::try_from(time.as_micros())?.max(1))?;
    }
    figures.push(Who::Subject, names.0, all.value_at_quantile(0.5) as f64);
    figures.push(Who::Subject, names.1, all.value_at_quantile(0.99) as f64);
    Ok(())
}

/// Listens, says one token to each that asks, and tells when it is left.
async fn vendor() -> Result<(SocketAddr, mpsc::UnboundedReceiver<Instant>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (left, leavings) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let left = left.clone();
            tokio::spawn(async move {
                if answer(stream).await.is_ok() {
                    // Nobody listens once everything is measured.
                    let _ = left.send(Instant::now());
                }
            });
        }
    });
    Ok((address, leavings))
}

/// Returns once the peer has closed.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut some = [0; 4096];
    // The question is one packet on loopback, and what it says does not matter.
    if stream.read(&mut some).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
    let answer = format!("{head}\r\n\r\n{:x}\r\n{TOKEN}\r\n", TOKEN.len());
    stream.write_all(answer.as_bytes()).await?;
    // A reset is a way to leave as well.
    while !matches!(stream.read(&mut some).await, Ok(0) | Err(_)) {}
    Ok(())
}
