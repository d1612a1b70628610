//! The options of every command, and the server that they mean.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};

use super::{
    out::{Out, Tone},
    problem::Problem,
};
use crate::{
    env,
    profile::{Place, Wish},
};

/// Where help lists the options of every command.
const GLOBAL: &str = "Server and output";

/// Options of every command. What none of them names comes from the environment, then from the
/// chosen profile, then from the defaults.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Address of the server [env: MEDIARY_URL] [default: http://127.0.0.1:8484]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Key to call the server with [env: MEDIARY_API_KEY]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "KEY")]
    pub(super) api_key: Option<Key>,
    /// Certificates (PEM) of who may vouch for the server, instead of the usual ones [env: MEDIARY_CA]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Profile that names the server, see `mediary profile` [env: MEDIARY_PROFILE]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME")]
    pub(super) profile: Option<String>,
    /// How results are printed: table, json, jsonl (an object a line), csv (lists) or id (only ids)
    #[arg(short, long, global = true, help_heading = GLOBAL, value_name = "FORM", value_enum, default_value = "table", hide_possible_values = true)]
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
    /// The same, one object a line
    Jsonl,
    /// For spreadsheets: lists with a header
    Csv,
    /// Only the ids, one a line
    Id,
}

/// A key, which prints as `***`.
#[derive(Clone)]
pub struct Key(pub(super) String);

impl Global {
    /// Which server is meant.
    pub(super) fn place(&self, out: &Out) -> Result<Place, Problem> {
        let place = Place::settle(Wish {
            profile: self.profile.clone(),
            url: self.url.clone(),
            api_key: self.api_key.as_ref().map(|key| key.0.clone()),
            ca: self.ca.clone(),
        })?;
        if let (Some(name), None, None) = (&self.profile, &self.url, &place.profile) {
            let note =
                format!("{} names another server than the profile `{name}`, and wins", env::URL);
            out.note(Tone::Warning, &note);
        }
        Ok(place)
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
