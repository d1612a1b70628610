//! What a call through Mediary costs, beside the least program that does the same.
//!
//! Owns: the arguments, and the order of what is printed. See docs/benchmark.md.

mod figures;
mod grpc;
mod load;
mod openai;
mod process;
mod promises;
mod report;
mod rounds;
mod targets;

use std::{error::Error, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use hyper::header::{HeaderName, HeaderValue};

use self::{
    load::Caller,
    openai::Peer,
    process::Watched,
    rounds::Plan,
    targets::{Bench, Target},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The conversation of every call.
const SYSTEM: &str = "You are a helpful assistant. Answer briefly.";
const QUESTION: &str = "Which of the planets has the shortest day, and how long is it?";

/// Measures Mediary, or another gateway, beside the yardstick; prints a table in Markdown.
#[derive(Parser)]
#[command(name = "make bench", version)]
struct Arguments {
    /// Shorter and fewer rounds: at most 45 seconds
    #[arg(long)]
    quick: bool,
    /// Fail when a bar is missed
    #[arg(long)]
    strict: bool,
    /// Rounds of load, instead of 7 (3 with --quick)
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// The server to measure, instead of the one beside this program
    #[arg(long, value_name = "PATH", env = "MEDIARY_BIN")]
    mediary: Option<PathBuf>,
    /// Where the mock vendor listens; one that listens there already is used. A free port is taken
    /// where this is left out, 127.0.0.1:8490 with --against
    #[arg(long, value_name = "HOST:PORT")]
    vendor: Option<SocketAddr>,
    #[command(flatten)]
    gateway: Gateway,
}

/// A gateway to measure in the place of Mediary.
#[derive(clap::Args)]
#[command(next_help_heading = "Another gateway")]
struct Gateway {
    /// An OpenAI-compatible gateway that runs and has the mock vendor behind it
    #[arg(long, value_name = "HOST:PORT")]
    against: Option<String>,
    /// What stands before /chat/completions
    #[arg(long, value_name = "PATH", default_value = "/v1", requires = "against")]
    base_path: String,
    /// How it names the models; {} stands for one, many, paced and hang
    #[arg(long, value_name = "NAME", default_value = "{}", requires = "against")]
    model: String,
    /// A header of every call, such as "authorization: Bearer sk-1"
    #[arg(long = "header", value_name = "NAME: VALUE", requires = "against")]
    headers: Vec<String>,
    /// Its processes, where those that listen on its port are not all
    #[arg(long = "pid", value_name = "PID", requires = "against")]
    ids: Vec<u32>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut plan = if arguments.quick { Plan::quick() } else { Plan::full() };
    plan.rounds = arguments.rounds.unwrap_or(plan.rounds);
    let mut vendor = arguments.vendor;
    if arguments.gateway.against.is_some() {
        vendor = vendor.or(Some(([127, 0, 0, 1], 8490).into()));
    }
    let bench = Bench::new(arguments.mediary, vendor)?;
    let gateway = arguments.gateway.target()?;
    let is_mediary = gateway.is_none();
    let subject = if is_mediary { "Mediary" } else { "gateway" };

    println!("{}\n", report::machine());
    let outcome = rounds::run(&plan, &bench, gateway).await?;
    println!("{}", report::table(&outcome, subject));
    println!("{}", report::notes(&outcome, subject));
    if !is_mediary {
        return Ok(ExitCode::SUCCESS);
    }
    let (lines, kept) = report::checks(&outcome);
    print!("{lines}");
    Ok(if arguments.strict && !kept { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Gateway {
    /// `None`: Mediary is measured.
    fn target(self) -> Result<Option<Target>> {
        let Some(address) = self.against else { return Ok(None) };
        let watched = if self.ids.is_empty() {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            Watched::listening_on(port.ok_or("--against must be of the form HOST:PORT")?)?
        } else {
            Watched::these(self.ids)
        };
        let headers: Result<Vec<_>> = self.headers.iter().map(|line| header(line)).collect();
        let peer = Peer {
            address,
            base_path: self.base_path,
            model: self.model,
            headers: headers?,
            whole_streams: false,
        };
        Ok(Some(Target { caller: Caller::OpenAi(Arc::new(peer)), watched, server: None }))
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':').ok_or("--header must be of the form NAME: VALUE")?;
    Ok((name.trim().parse()?, value.trim().parse()?))
}
