//! The load: a fixed number of callers, each asking again as soon as it has its answer.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::{
    Result, grpc,
    openai::{self, Peer},
};

/// Longest time that is told apart, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;
/// A server that fails this often is not measured any further.
const MOST_FAILURES: u64 = 100;

/// How a server is called.
#[derive(Clone)]
pub enum Caller {
    Grpc(SocketAddr),
    OpenAi(Arc<Peer>),
}

enum Connection {
    Grpc(grpc::Connection),
    OpenAi(openai::Connection),
}

#[derive(Clone, Copy)]
pub enum Kind {
    Whole,
    Stream,
}

/// One stretch of load.
#[derive(Clone, Copy)]
pub struct Phase {
    pub kind: Kind,
    pub model: &'static str,
    /// gRPC callers share them; an HTTP/1.1 caller has its own.
    pub connections: usize,
    pub callers: usize,
    pub length: Duration,
}

/// What came of it. Times are in nanoseconds.
pub struct Sample {
    pub calls: u64,
    pub tokens: u64,
    pub failures: u64,
    pub first_failure: Option<String>,
    pub length: Duration,
    /// From the question to the end of the answer.
    pub whole: Histogram<u64>,
    /// From the question to the first token.
    pub first: Histogram<u64>,
    /// From token to token.
    pub gaps: Histogram<u64>,
}

impl Caller {
    async fn connect(&self) -> Result<Connection> {
        Ok(match self {
            Self::Grpc(address) => Connection::Grpc(grpc::Connection::open(*address).await?),
            Self::OpenAi(peer) => Connection::OpenAi(openai::Connection::open(peer.clone()).await?),
        })
    }

    /// One connection for each of `callers`.
    async fn connections(&self, connections: usize, callers: usize) -> Result<Vec<Connection>> {
        let mut all = Vec::with_capacity(callers);
        for at in 0..callers {
            let shared = match all.get(at % connections) {
                Some(Connection::Grpc(shared)) => Some(Connection::Grpc(shared.clone())),
                _ => None,
            };
            all.push(match shared {
                Some(shared) => shared,
                None => self.connect().await?,
            });
        }
        Ok(all)
    }

    /// Opens `count` streams that say one token and no more. They end with the value.
    pub async fn hold(&self, connections: usize, count: usize) -> Result<Held> {
        let mut held = Vec::with_capacity(count);
        for mut connection in self.connections(connections, count).await? {
            match &mut connection {
                Connection::Grpc(one) => drop_later(&mut held, one.hold("hang").await?),
                Connection::OpenAi(one) => drop_later(&mut held, one.hold("hang").await?),
            }
            drop_later(&mut held, connection);
        }
        Ok(Held { _streams: held })
    }

    pub async fn run(&self, phase: Phase) -> Result<Sample> {
        let start = Instant::now();
        let until = start + phase.length;
        let mut callers = JoinSet::new();
        for connection in self.connections(phase.connections, phase.callers).await? {
            callers.spawn(call(connection, phase, until));
        }
        let mut all = Sample::new()?;
        while let Some(one) = callers.join_next().await {
            all.add(one??)?;
        }
        all.length = start.elapsed();
        Ok(all)
    }
}

/// Streams that are open as long as this lives.
pub struct Held {
    _streams: Vec<Box<dyn Send>>,
}

fn drop_later(held: &mut Vec<Box<dyn Send>>, one: impl Send + 'static) {
    held.push(Box::new(one));
}

async fn call(mut connection: Connection, phase: Phase, until: Instant) -> Result<Sample> {
    let mut sample = Sample::new()?;
    while Instant::now() < until && sample.failures < MOST_FAILURES {
        let start = Instant::now();
        let mut last = None;
        let (first, gaps) = (&mut sample.first, &mut sample.gaps);
        let seen = || {
            let now = Instant::now();
            let (times, since) = match last.replace(now) {
                None => (&mut *first, start),
                Some(before) => (&mut *gaps, before),
            };
            times.saturating_record(nanoseconds(now - since));
        };
        let outcome = match (&mut connection, phase.kind) {
            (Connection::Grpc(one), Kind::Whole) => one.whole(phase.model).await,
            (Connection::Grpc(one), Kind::Stream) => one.stream(phase.model, seen).await,
            (Connection::OpenAi(one), Kind::Whole) => one.whole(phase.model).await,
            (Connection::OpenAi(one), Kind::Stream) => one.stream(phase.model, seen).await,
        };
        match outcome {
            Ok(tokens) => {
                sample.calls += 1;
                sample.tokens += u64::try_from(tokens)?;
                sample.whole.saturating_record(nanoseconds(start.elapsed()));
            }
            Err(failure) => {
                sample.failures += 1;
                sample.first_failure.get_or_insert_with(|| failure.to_string());
            }
        }
    }
    Ok(sample)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(LONGEST)
}

impl Sample {
    fn new() -> Result<Self> {
        let times = || Histogram::new_with_bounds(1_000, LONGEST, 3);
        Ok(Self {
            calls: 0,
            tokens: 0,
            failures: 0,
            first_failure: None,
            length: Duration::ZERO,
            whole: times()?,
            first: times()?,
            gaps: times()?,
        })
    }

    fn add(&mut self, other: Self) -> Result<()> {
        self.calls += other.calls;
        self.tokens += other.tokens;
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.whole.add(other.whole)?;
        self.first.add(other.first)?;
        self.gaps.add(other.gaps)?;
        Ok(())
    }
}
