//! `profile`: servers by name, for this user.
//!
//! Owns: the commands, and writing the file so that nobody else can read it. Leaves: what the file
//! says, and when it counts (`crate::profile`).

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    draft::NONE,
    feed::{ConsentArgs, SecretArgs},
    global::{Global, Output},
    out::{Out, Tone},
    problem::Problem,
    table::{csv, table},
};
use crate::{
    Client, env,
    profile::{Profile, Profiles},
};

const HEAD: &str = "# Servers by name. `mediary profile` writes this file; it may hold keys.\n\n";

/// What to do with profiles.
#[derive(Debug, Clone, Subcommand)]
pub enum ProfileCommand {
    /// List profiles; the one in use has a star
    List,
    /// Show one profile, without its key
    Show {
        /// Its name; without it the one in use
        name: Option<String>,
    },
    /// Make or change a profile: profile set prod --url https://... --key-stdin
    Set(SetArgs),
    /// Use a profile from now on, where nothing else names a server
    Use {
        /// Its name, or `none`
        name: String,
    },
    /// Delete a profile
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        consent: ConsentArgs,
    },
}

/// Options of `profile set`; --url and --ca are those of every command.
#[derive(Debug, Clone, Args)]
pub struct SetArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    secret: SecretArgs,
    /// Forget its key
    #[arg(long, conflicts_with_all = ["key_env", "key_file", "key_stdin"])]
    no_key: bool,
}

/// `profile`
pub(super) fn run(out: &Out, global: &Global, command: ProfileCommand) -> Result<(), Problem> {
    let mut profiles = Profiles::load()?;
    match command {
        ProfileCommand::List => list(out, &profiles, global),
        ProfileCommand::Show { name } => {
            let chosen = name.or_else(|| used(&profiles, global));
            let name = chosen.ok_or_else(|| {
                Problem::Usage(
                    "no profile is in use: name one, or `mediary profile use` it".to_owned(),
                )
            })?;
            show(out, &name, profiles.get(&name)?, used(&profiles, global))
        }
        ProfileCommand::Set(args) => set(out, profiles, global, args),
        ProfileCommand::Use { name } if name == NONE => {
            profiles.default = None;
            save(&profiles)
        }
        ProfileCommand::Use { name } => {
            profiles.get(&name)?;
            profiles.default = Some(name);
            save(&profiles)
        }
        ProfileCommand::Delete { name, consent } => {
            profiles.get(&name)?;
            consent.ask(&format!("delete the profile {name}"))?;
            profiles.by_name.remove(&name);
            profiles.default = profiles.default.filter(|default| *default != name);
            save(&profiles)
        }
    }
}

fn set(out: &Out, mut profiles: Profiles, global: &Global, args: SetArgs) -> Result<(), Problem> {
    let is_name = |name: &str| {
        name != NONE
            && name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if !is_name(&args.name) {
        let why = "is no name for a profile: use letters, digits, - _ and ., at most 64";
        return Err(Problem::Usage(format!("`{}` {why}", args.name)));
    }
    let mut profile = profiles.by_name.get(&args.name).cloned().unwrap_or_default();
    let was = profile.address().to_owned();
    if let Some(url) = &global.url {
        profile.url = Some(url.clone());
    }
    if let Some(file) = &global.ca {
        let file = fs::canonicalize(file).map_err(|error| {
            Problem::Usage(format!("cannot read `{}`: {error}", file.display()))
        })?;
        profile.ca = Some(file);
    }
    let named = global.api_key.as_ref().map(|key| key.0.clone());
    let given = match args.secret.read()? {
        Some(key) => Some(key),
        None => named,
    };
    if let Some(key) = given {
        profile.api_key = Some(key);
    } else if args.no_key {
        profile.api_key = None;
    } else if profile.address() != was && profile.api_key.take().is_some() {
        let why =
            format!("its key was for {was} and is forgotten: give the new one with --key-stdin");
        out.note(Tone::Warning, &why);
    }
    // What cannot be called is told now and not at the next command.
    Client::builder().url(profile.address()).maybe_api_key(profile.api_key.clone()).build()?;
    if profiles.by_name.is_empty() {
        profiles.default = Some(args.name.clone());
    }
    profiles.by_name.insert(args.name.clone(), profile.clone());
    save(&profiles)?;
    show(out, &args.name, &profile, used(&profiles, global))
}

/// The profile of the next command that names none.
fn used(profiles: &Profiles, global: &Global) -> Option<String> {
    let named = global.profile.clone().or_else(|| env::var(env::PROFILE));
    named.or_else(|| profiles.default.clone())
}

fn list(out: &Out, profiles: &Profiles, global: &Global) -> Result<(), Problem> {
    let used = used(profiles, global);
    let is_used = |name: &String| used.as_ref() == Some(name);
    let all = profiles.by_name.iter();
    match out.form {
        Output::Id => profiles.by_name.keys().try_for_each(|name| out.line(name)),
        Output::Json => {
            let all: Vec<Value> = all.map(|(name, one)| view(name, one, is_used(name))).collect();
            out.json(&json!({ "profiles": all }))
        }
        Output::Jsonl => {
            let mut all = all.map(|(name, one)| view(name, one, is_used(name)));
            all.try_for_each(|one| out.json(&one))
        }
        Output::Csv | Output::Table => {
            let rows = all.map(|(name, one)| {
                let star = if is_used(name) { "*" } else { "" };
                vec![
                    format!("{name}{star}"),
                    one.address().to_owned(),
                    key(one).to_owned(),
                    ca(one),
                ]
            });
            if out.form == Output::Csv {
                return out.text(&csv(["profile", "server", "key", "certificates"], rows)?);
            }
            out.line(&table(out, &["PROFILE", "SERVER", "KEY", "CERTIFICATES"], rows))
        }
    }
}

fn show(out: &Out, name: &str, profile: &Profile, used: Option<String>) -> Result<(), Problem> {
    let used = used.as_deref() == Some(name);
    match out.form {
        Output::Id => out.line(name),
        Output::Json | Output::Jsonl => out.json(&view(name, profile, used)),
        Output::Csv | Output::Table => {
            let rows = [
                ("name", name.to_owned()),
                ("server", profile.address().to_owned()),
                ("key", key(profile).to_owned()),
                ("certificates", ca(profile)),
            ];
            let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
            let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
            if out.form == Output::Csv {
                return out.text(&csv(["field", "value"], rows)?);
            }
            out.line(&table(out, &[], rows))
        }
    }
}

fn view(name: &str, profile: &Profile, used: bool) -> Value {
    json!({
        "name": name,
        "url": profile.address(),
        "has_key": profile.api_key.is_some(),
        "ca": profile.ca,
        "used": used,
    })
}

fn key(profile: &Profile) -> &'static str {
    if profile.api_key.is_some() { "***" } else { "none" }
}

fn ca(profile: &Profile) -> String {
    profile.ca.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
}

/// Writes the whole file beside the old one and puts it in its place, for this user alone.
fn save(profiles: &Profiles) -> Result<(), Problem> {
    let Some(path) = Profiles::path() else {
        let why = "there is no place for profiles: set HOME or XDG_CONFIG_HOME";
        return Err(Problem::Usage(why.to_owned()));
    };
    let text = toml::to_string(profiles).map_err(|error| Problem::Usage(error.to_string()))?;
    replace(&path, &format!("{HEAD}{text}"))
        .map_err(|error| Problem::Usage(format!("cannot write `{}`: {error}", path.display())))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let beside = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
