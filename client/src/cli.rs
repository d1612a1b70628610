//! The commands that talk to a server. They know the contract and nothing of the server's inside.
//!
//! Owns: the options that every command has, the choice of the command, and the exit code.
//! Leaves: starting a server, and the parser as a whole (the `mediary` binary flattens [`Global`]
//! and [`Command`] into its own).

mod accounts;
mod audit;
mod capabilities;
mod chat;
mod compare;
mod doctor;
mod draft;
mod feed;
mod global;
mod help;
mod json;
mod keys;
mod limits;
mod models;
mod out;
mod presets;
mod problem;
mod profile;
mod providers;
mod resolve;
mod routes;
mod show;
mod table;
mod usage;
mod when;
mod workflows;

use std::process::ExitCode;

use clap::Subcommand;
pub use clap_complete::Shell;

pub use self::{
    global::{Global, Key, Output},
    help::grouped,
};
use self::{out::Out, problem::Problem};
use crate::{Client, DEFAULT_URL, connect::Builder, profile::Place};

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    #[command(flatten)]
    AtServer(AtServer),
    /// Servers by name, for you
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
}

/// What to do at a server.
#[derive(Debug, Clone, Subcommand)]
pub enum AtServer {
    /// Ask a model, once or in a conversation
    Chat(Box<chat::ChatArgs>),
    /// Ask several models the same, side by side
    Compare(compare::CompareArgs),
    /// List models, show, add or change one
    Models(models::ModelsArgs),
    /// List providers, configured or not; show, add or change one
    Providers(providers::ProvidersArgs),
    /// List what can be done
    Capabilities,
    /// Keys with which callers reach the server
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Accounts at providers: their secrets, limits and state
    #[command(subcommand)]
    Accounts(accounts::AccountsCommand),
    /// Who serves each task
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
    /// Groups of models that answer together
    #[command(subcommand)]
    Presets(presets::PresetsCommand),
    /// Stored plans of several steps
    #[command(subcommand)]
    Workflows(workflows::WorkflowsCommand),
    /// Explain who would serve a model, preset or task, and who would not
    Resolve(resolve::ResolveArgs),
    /// List who changed what
    Audit(audit::AuditArgs),
    /// Add up what was used and what it cost
    Usage(usage::UsageArgs),
    /// List single attempts at providers, failed ones included
    Attempts(usage::AttemptsArgs),
    /// Check the server and what it could use, with a fix for each finding
    Doctor,
}

/// Does what the command line says, prints, and tells how it went: 0 done, 1 failed or cut short,
/// 2 wrong usage, 3 cannot reach the server, 4 not allowed, 5 over a limit, 130 interrupted.
pub async fn run(global: Global, command: Command) -> ExitCode {
    let out = Out::new(global.output, global.no_color);
    let (url, done) = match command {
        // A profile that cannot be used is mended here.
        Command::Profile(command) => (DEFAULT_URL.to_owned(), profile::run(&out, &global, command)),
        Command::AtServer(command) => match global.place(&out) {
            Ok(place) => (place.url.clone(), call(&place, &out, command).await),
            Err(problem) => (DEFAULT_URL.to_owned(), Err(problem)),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            problem.tell(&out, &url);
            ExitCode::from(problem.exit_code())
        }
    }
}

async fn call(place: &Place, out: &Out, command: AtServer) -> Result<(), Problem> {
    let client: Client = Builder::at(place)?.build()?;
    match command {
        AtServer::Chat(_) | AtServer::Compare(_) | AtServer::Doctor if out.form == Output::Id => {
            Err(Problem::Usage("this has no ids: `-o id` is for lists and resources".to_owned()))
        }
        AtServer::Chat(_) | AtServer::Doctor if out.form == Output::Csv => {
            Err(Problem::Usage("this is no list: `-o csv` is for lists".to_owned()))
        }
        AtServer::Chat(args) => chat::run(&client, out, &place.url, *args).await,
        AtServer::Compare(args) => compare::run(&client, out, args).await,
        AtServer::Models(args) => models::run(&client, out, args).await,
        AtServer::Providers(args) => providers::run(&client, out, args).await,
        AtServer::Capabilities => capabilities::run(&client, out).await,
        AtServer::Keys(command) => keys::run(&client, out, command).await,
        AtServer::Accounts(command) => accounts::run(&client, out, command).await,
        AtServer::Routes(command) => routes::run(&client, out, command).await,
        AtServer::Presets(command) => presets::run(&client, out, command).await,
        AtServer::Workflows(command) => workflows::run(&client, out, command).await,
        AtServer::Resolve(args) => resolve::run(&client, out, args).await,
        AtServer::Audit(args) => audit::run(&client, out, args).await,
        AtServer::Usage(args) => usage::run(&client, out, args).await,
        AtServer::Attempts(args) => usage::attempts(&client, out, args).await,
        AtServer::Doctor => doctor::run(&client, out, place).await,
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
        grouped(<Whole as clap::CommandFactory>::command()).debug_assert();
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
