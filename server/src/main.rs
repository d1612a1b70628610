//! The one binary: `mediary serve` is the server, every other command is a client of it.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use mediary_client::cli;
use mediary_server::{
    app::App,
    clock::Clock,
    config::{self, Environment, Loaded, Source},
    telemetry,
};
use serde_json::{Value, json};
use tikv_jemallocator::Jemalloc;
use tokio::signal::unix::{SignalKind, signal};

/// It gives memory back after load, which glibc's does not. `.cargo/config.toml` says how soon.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// One typed gRPC service in front of every generative-AI provider.
#[derive(Parser)]
#[command(name = "mediary", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    global: cli::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(Serve),
    /// Check, show and describe the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script
    Completions { shell: cli::Shell },
    #[command(flatten)]
    Client(cli::Command),
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    source: SourceArguments,
    /// Address to listen on, such as 127.0.0.1:8484
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// For a first look: `auto` may be answered by the sandbox, and the next steps are printed
    #[arg(long)]
    dev: bool,
    /// Check the configuration and the catalog, and stop
    #[arg(long)]
    check: bool,
}

#[derive(Args)]
struct SourceArguments {
    /// Configuration file; without it MEDIARY_CONFIG, else ./mediary.toml if it exists
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one key: --set listen.address=127.0.0.1:9000
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    overrides: Vec<(String, String)>,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Report everything that is wrong with the configuration
    Check(SourceArguments),
    /// Show every key and its value, secrets masked
    Show(Show),
    /// Print the JSON Schema of the configuration file
    Schema,
}

#[derive(Args)]
struct Show {
    #[command(flatten)]
    source: SourceArguments,
    /// Show also where each value comes from
    #[arg(long)]
    origin: bool,
}

fn main() -> ExitCode {
    let matches = cli::grouped(Arguments::command()).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command {
        Command::Serve(serve) => block_on(run(serve)),
        Command::Config(command) => configuration(command, arguments.global.output),
        Command::Completions { shell } => cli::completions(shell, &mut Arguments::command()),
        Command::Client(command) => block_on(cli::run(arguments.global, command)),
    }
}

fn block_on(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => failed(&format!("the runtime cannot be started: {error}")),
    }
}

async fn run(serve: Serve) -> ExitCode {
    let mut source = source(serve.source);
    source.overrides.extend(serve.listen.map(|address| ("listen.address".to_owned(), address)));
    if serve.dev {
        source.overrides.push(("catalog.auto_includes_sandbox".to_owned(), "true".to_owned()));
    }
    let loaded = match config::load(source) {
        Ok(loaded) => loaded,
        Err(problems) => return misconfigured(&problems.to_string()),
    };
    if serve.check {
        return match App::check(&loaded, &Clock::system()) {
            Ok(()) => said("the configuration and the catalog are sound\n"),
            Err(problems) => misconfigured(&problems),
        };
    }
    if let Err(problem) = telemetry::start(&loaded.config.log) {
        return misconfigured(&problem);
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    // Heard from here on: whoever can connect can also end the server in good order.
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (mut term, mut int) = match signals {
        (Ok(term), Ok(int)) => (term, int),
        (Err(error), _) | (_, Err(error)) => {
            return failed(&format!("signals cannot be heard: {error}"));
        }
    };
    let app = match App::build(loaded, Clock::system()).await {
        Ok(app) => app,
        Err(problem) => return failed(&problem),
    };
    let signals = app.signals();
    match app.addresses() {
        Ok(addresses) => {
            for (address, whom) in addresses.iter().zip(["listening", "listening to admins"]) {
                tracing::info!(address = %address, "{whom} on {address}");
            }
            if let (true, Some(address)) = (serve.dev, addresses.first()) {
                said(&next_steps(&address.to_string()));
            }
        }
        Err(error) => return failed(&format!("the listener has no address: {error}")),
    }
    let reloaded = async {
        // Where there is nothing to read again, a closed terminal ends the server as ever.
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        while hangup.recv().await.is_some() {
            signals.reload.send_replace(());
        }
    };
    let reloads = app.reloads();
    let stopped = async {
        let mut terminated = async || {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        // The first signal lets work finish, the second does not.
        terminated().await;
        signals.draining.cancel();
        terminated().await;
        signals.closing.cancel();
    };
    tokio::select! {
        () = app.run() => {}
        () = async { stopped.await; std::future::pending().await } => {}
        () = async { reloaded.await; std::future::pending().await }, if reloads => {}
    }
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

fn configuration(command: ConfigCommand, output: cli::Output) -> ExitCode {
    match command {
        ConfigCommand::Schema => said(&config::schema_json()),
        ConfigCommand::Check(arguments) => match config::load(source(arguments)) {
            Ok(Loaded { warnings, .. }) => {
                let warnings: String =
                    warnings.iter().map(|one| format!("warning: {one}\n")).collect();
                said(&format!("{warnings}the configuration is sound\n"))
            }
            Err(problems) => misconfigured(&problems.to_string()),
        },
        ConfigCommand::Show(Show { source: arguments, origin }) => {
            match config::load(source(arguments)) {
                Ok(loaded) => said(&shown(&loaded, origin, output)),
                Err(problems) => misconfigured(&problems.to_string()),
            }
        }
    }
}

/// Every setting in the form that was asked for.
fn shown(loaded: &Loaded, with_origin: bool, output: cli::Output) -> String {
    let settings = loaded.show_origins().into_iter();
    let object = |(key, value, origin): (String, String, String)| {
        let mut one = json!({ "key": key, "value": value });
        if with_origin {
            one["origin"] = origin.into();
        }
        one
    };
    match output {
        cli::Output::Id => settings.map(|(key, ..)| format!("{key}\n")).collect(),
        cli::Output::Jsonl => settings.map(|one| format!("{}\n", object(one))).collect(),
        cli::Output::Json => {
            let settings: Vec<Value> = settings.map(object).collect();
            format!("{:#}\n", json!({ "settings": settings }))
        }
        // Values may hold anything; there is one a line.
        cli::Output::Csv | cli::Output::Table => settings
            .map(|(key, value, origin)| match with_origin {
                true => format!("{key} = {value}  # {origin}\n"),
                false => format!("{key} = {value}\n"),
            })
            .collect(),
    }
}

fn source(arguments: SourceArguments) -> Source {
    Source {
        path: arguments.config,
        environment: Environment::capture(),
        overrides: arguments.overrides,
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be of the form KEY=VALUE".to_owned()),
    }
}

fn next_steps(address: &str) -> String {
    // As it was called, so that the lines can be copied.
    let mediary = std::env::args().next().unwrap_or_else(|| "mediary".to_owned());
    format!(
        "
Mediary is ready. No key is needed: the sandbox answers. Try, in another terminal:

  # stream an answer on the command line
  {mediary} chat \"say hello\"
  # what could answer
  {mediary} models
  # which provider needs which key
  {mediary} doctor
  # the contract by hand, with grpcurl or buf
  grpcurl -plaintext {address} list

A real model: set OPENAI_API_KEY, ANTHROPIC_API_KEY or another key, and start again.
"
    )
}

fn said(text: &str) -> ExitCode {
    // A closed pipe is the reader's wish.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn failed(problem: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {problem}");
    ExitCode::FAILURE
}

fn misconfigured(problems: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{problems}");
    ExitCode::from(2)
}
