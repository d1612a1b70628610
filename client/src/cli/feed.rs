//! What commands are fed with besides their arguments: files, standard input, secrets.

use std::{
    fs::File,
    io::{self, BufRead as _, IsTerminal as _, Read, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;

use super::problem::Problem;
use crate::env;

/// Largest description of a resource.
pub(super) const FILE_LIMIT: u64 = 2 << 20;
/// Largest secret.
const SECRET_LIMIT: u64 = 64 << 10;

/// Where a secret is read. It is never an argument, which every process of the machine could see.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SecretArgs {
    /// Read the key from this variable of your environment
    #[arg(long, value_name = "VARIABLE", conflicts_with_all = ["key_file", "key_stdin"])]
    key_env: Option<String>,
    /// Read the key from this file
    #[arg(long, value_name = "FILE", conflicts_with = "key_stdin")]
    key_file: Option<PathBuf>,
    /// Read the key from standard input
    #[arg(long)]
    key_stdin: bool,
}

/// Consent to what cannot be taken back.
#[derive(Debug, Clone, Default, Args)]
pub struct ConsentArgs {
    /// Do it without asking
    #[arg(short, long)]
    pub(super) yes: bool,
}

impl SecretArgs {
    /// The secret. None = no option names one.
    pub(super) fn read(&self) -> Result<Option<String>, Problem> {
        let (name, text) = if let Some(variable) = &self.key_env {
            let value = env::var(variable)
                .ok_or_else(|| Problem::Usage(format!("the variable {variable} is not set")))?;
            (format!("the variable {variable}"), value)
        } else if let Some(file) = &self.key_file {
            let name = named(file);
            (name.clone(), text(&name, open(file)?, SECRET_LIMIT)?)
        } else if self.key_stdin {
            let name = "standard input".to_owned();
            (name.clone(), text(&name, io::stdin().lock(), SECRET_LIMIT)?)
        } else {
            return Ok(None);
        };
        let secret = text.trim();
        if secret.is_empty() {
            return Err(Problem::Usage(format!("{name} holds no key: it is empty")));
        }
        if secret.contains(char::is_control) {
            return Err(Problem::Usage(format!(
                "{name} holds more than a key: it has lines or control characters"
            )));
        }
        Ok(Some(secret.to_owned()))
    }

    /// The option that names the secret.
    pub(super) fn option(&self) -> &'static str {
        match self {
            Self { key_env: Some(_), .. } => "--key-env",
            Self { key_file: Some(_), .. } => "--key-file",
            _ => "--key-stdin",
        }
    }
}

impl ConsentArgs {
    /// Asks, where somebody can answer, whether to go on with `deed`, such as `delete apiKeys/x`.
    pub(super) fn ask(&self, deed: &str) -> Result<(), Problem> {
        let asked = io::stdin().is_terminal() && io::stderr().is_terminal();
        if self.yes {
            return Ok(());
        }
        if !asked {
            return Err(Problem::Usage(format!("to {deed}, add --yes: there is nobody to ask")));
        }
        let mut stderr = io::stderr().lock();
        // Nobody can be told that stderr is gone; then there is no answer either.
        let _ = write!(stderr, "{deed}? [y/N] ");
        let _ = stderr.flush();
        let mut answer = String::new();
        let _ = io::stdin().lock().read_line(&mut answer);
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Problem::Declined),
        }
    }
}

/// What a file holds, or standard input for `-`, and how to call it.
pub(super) fn file_or_stdin(file: &Path, limit: u64) -> Result<(String, String), Problem> {
    let (name, text) = if file == Path::new("-") {
        let name = "standard input".to_owned();
        (name.clone(), text(&name, io::stdin().lock(), limit)?)
    } else {
        let name = named(file);
        (name.clone(), text(&name, open(file)?, limit)?)
    };
    Ok((name, text))
}

pub(super) fn named(file: &Path) -> String {
    format!("`{}`", file.display())
}

pub(super) fn open(file: &Path) -> Result<File, Problem> {
    File::open(file)
        .map_err(|error| Problem::Usage(format!("cannot read `{}`: {error}", file.display())))
}

pub(super) fn text(name: &str, from: impl Read, limit: u64) -> Result<String, Problem> {
    String::from_utf8(bytes(name, from, limit)?)
        .map_err(|_| Problem::Usage(format!("{name} is not text in UTF-8")))
}

pub(super) fn bytes(name: &str, from: impl Read, limit: u64) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    from.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Problem::Usage(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > limit {
        let limit = if limit < 1 << 20 {
            format!("{} KiB", limit >> 10)
        } else {
            format!("{} MiB", limit >> 20)
        };
        return Err(Problem::Usage(format!(
            "{name} is larger than {limit}, the most a request can carry"
        )));
    }
    Ok(bytes)
}
