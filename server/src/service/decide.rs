//! Changes of what exists: each is decided on one moment, tried out before it is kept, and kept
//! only if that moment still holds.
//!
//! Owns: the rules that all of them share. Leaves: the rows (`catalog`, `account`, `route`).

use mediary_domain::{Error, Kind, Result};
use mediary_store::{Saved, Stamp, Version};
use prost::Message;

use super::{change, problems::Problems};
use crate::registry::Complaint;

/// How often a change is decided anew because somebody else was faster.
pub const TRIES: usize = 5;

/// What became of keeping a change.
pub enum Outcome {
    Done,
    /// The moment that it was decided on has passed.
    Again,
    /// Name of what the same request made before.
    Replayed(String),
}

pub fn outcome<T>(saved: mediary_store::Result<Saved<T>>) -> Result<Outcome> {
    match saved {
        Ok(Saved::Done(_)) => Ok(Outcome::Done),
        Ok(Saved::Replayed(name)) => Ok(Outcome::Replayed(name)),
        // Gone, made or changed since.
        Ok(Saved::Missing) | Err(mediary_store::Error::Outdated) => Ok(Outcome::Again),
        Err(error) => Err(error.into()),
    }
}

/// The version that a request names must be the one that stands; none = any.
pub fn check_etag(given: &str, present: &str, name: &str) -> Result<()> {
    if given.is_empty() || given == present { Ok(()) } else { Err(change::changed_meanwhile(name)) }
}

/// A row that was tried out must have been taken.
pub fn taken(complaints: &[Complaint], name: &str, field: &str) -> Result<()> {
    match complaints.iter().find(|one| one.name == name) {
        Some(complaint) => Err(Error::field(field, complaint.problem.as_str())),
        None => Ok(()),
    }
}

pub fn exists(name: &str) -> Error {
    mediary_store::Error::Exists(name.to_owned()).into()
}

/// What stands below the store is deleted where it stands.
pub fn not_ours(name: &str, mend: &str) -> Error {
    let message = format!("{name} is not kept by the store: {mend}");
    Error::new(Kind::ResourceInUse, message).fact("resource", name)
}

/// Others hold on to it.
pub fn in_use(name: &str, by: &[String], mend: &str) -> Error {
    const SHOWN: usize = 5;
    let more = by.len().saturating_sub(SHOWN);
    let shown: Vec<&str> = by.iter().take(SHOWN).map(String::as_str).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!("{name} is used by {}{more}: {mend}", shown.join(", "));
    Error::new(Kind::ResourceInUse, message)
        .fact("resource", name)
        .fact("usedBy", by.first().map_or("", String::as_str))
}

/// The version of a row as callers see it; empty for one that is not kept yet.
pub fn etag(stamp: &Stamp) -> String {
    if stamp.version == Version(0) { String::new() } else { stamp.version.to_etag() }
}

/// The same of a row that may stand below the store: then a hash of what is shown.
pub fn etag_of(stamp: Option<&Stamp>, shown: &impl Message) -> String {
    if let Some(stamp) = stamp {
        return etag(stamp);
    }
    let short: String =
        change::hash(shown)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{short}\"")
}

/// A text for people to read.
pub fn check_readable(field: &str, text: &str, most: usize, problems: &mut Problems) {
    if text.chars().count() > most || text.chars().any(char::is_control) {
        let problem =
            format!("must have at most {most} characters, none of them a control character");
        problems.field(field, problem);
    }
}
