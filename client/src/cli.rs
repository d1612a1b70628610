//! The commands that talk to a server. They know the contract and nothing of the server's inside.
//!
//! Owns: the options that every command has, the choice of the command, and the exit code.
//! Leaves: starting a server, and the parser as a whole (the `mediary` binary flattens [`Global`]
//! and [`Command`] into its own).

mod catalog;
mod chat;
mod doctor;
mod json;
mod out;
mod problem;
mod table;

use std::{convert::Infallible, fmt, path::PathBuf, process::ExitCode, str::FromStr};

use clap::{Args, Subcommand, ValueEnum};
pub use clap_complete::Shell;

use self::{out::Out, problem::Problem};
use crate::{Client, DEFAULT_URL, env};

/// Where help lists the options of every command.
const GLOBAL: &str = "Server and output";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Address of the server
    #[arg(long, global = true, help_heading = GLOBAL, env = env::URL, value_name = "URL", default_value = DEFAULT_URL)]
    pub url: String,
    /// Key to call the server with
    #[arg(long, global = true, help_heading = GLOBAL, env = env::API_KEY, value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<Key>,
    /// Certificates in PEM that may have signed the server's; without it those that everybody trusts
    #[arg(long, global = true, help_heading = GLOBAL, env = env::CA, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How results are printed
    #[arg(short, long, global = true, help_heading = GLOBAL, value_name = "FORM", value_enum, default_value = "table")]
    pub output: Output,
    /// Never colour; NO_COLOR does the same
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub no_color: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs: field names as in the contract
    Json,
}

/// A key, which prints as `***`.
#[derive(Clone)]
pub struct Key(String);

/// What to do at a server.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Ask a model, once or in a conversation
    Chat(Box<chat::ChatArgs>),
    /// List models, or show one
    Models(catalog::ModelsArgs),
    /// List providers, configured or not
    Providers,
    /// List what can be done
    Capabilities,
    /// Check the server and what it could use, with a fix for each finding
    Doctor,
}

/// Does what the command line says, prints, and tells how it went: 0 done, 1 failed or cut short,
/// 2 wrong usage, 3 cannot reach the server, 4 not allowed, 5 over a limit, 130 interrupted.
pub async fn run(global: Global, command: Command) -> ExitCode {
    let out = Out::new(global.output == Output::Json, global.no_color);
    let done = match global.client() {
        Err(problem) => Err(problem),
        Ok(client) => match command {
            Command::Chat(args) => chat::run(&client, &out, &global.url, *args).await,
            Command::Models(args) => catalog::models(&client, &out, args).await,
            Command::Providers => catalog::providers(&client, &out).await,
            Command::Capabilities => catalog::capabilities(&client, &out).await,
            Command::Doctor => doctor::run(&client, &out, &global.url).await,
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            problem.tell(&out, &global.url);
            ExitCode::from(problem.exit_code())
        }
    }
}

/// Prints the completions of the whole `command` for a shell.
pub fn completions(shell: Shell, command: &mut clap::Command) -> ExitCode {
    let name = command.get_name().to_owned();
    // In memory first: a closed pipe would make the generator panic.
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    match out::raw(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => ExitCode::from(problem.exit_code()),
    }
}

impl Global {
    fn client(&self) -> Result<Client, Problem> {
        let key = self.api_key.as_ref().map(|key| key.0.clone());
        let builder = Client::builder().url(&self.url).maybe_api_key(key);
        let builder = match &self.ca {
            Some(path) => builder.ca_file(path)?,
            None => builder,
        };
        Ok(builder.build()?)
    }
}

impl FromStr for Key {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "mediary")]
    struct Whole {
        #[command(flatten)]
        global: Global,
        #[command(subcommand)]
        command: Command,
    }

    #[test]
    fn the_commands_fit_into_a_parser() {
        <Whole as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn global_options_may_stand_behind_the_command() {
        let whole = Whole::parse_from(["mediary", "models", "-o", "json", "--api-key", "secret"]);
        assert_eq!(whole.global.output, Output::Json);
        assert!(!format!("{whole:?}").contains("secret"));
    }

    #[test]
    fn only_one_target_can_be_named() {
        let twice = ["mediary", "chat", "--model", "a", "--preset", "b", "hi"];
        assert!(Whole::try_parse_from(twice).is_err());
    }
}
