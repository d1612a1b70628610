//! Changes of what exists: each is decided on one moment, tried out before it is kept, and kept
//! only if that moment still holds.
//!
//! Owns: the rules that all of them share. Leaves: the rows (`catalog`, `account`, `route`).

use mediary_domain::{Error, Kind, Result};
use mediary_proto::{admin, v1};
use mediary_store::{Change, Requests, Saved, Stamp, Version};
use prost::{Message, Name};
use prost_types::FieldMask;
use tokio::sync::MutexGuard;
use tonic::Response;

use super::{
    change::{self, Changing, Effect},
    mask::{self, Masked},
    problems::Problems,
};
use crate::registry::{Complaint, Keeper, Moment};

/// How often a change is decided anew because somebody else was faster.
const TRIES: usize = 5;

/// A turn at deciding: nobody else in this process decides on a change meanwhile.
pub struct Turn<'a> {
    keeper: &'a Keeper,
    name: &'a str,
    tries: usize,
    _held: MutexGuard<'a, ()>,
}

/// What a request has made or changed, now or before.
pub struct Made {
    name: String,
    replayed: bool,
}

/// A resource as callers see it.
pub trait Resource: Message + Name + Default {
    fn etag(&self) -> &str;
    /// As it is hashed: the version of what is not kept yet is nobody's.
    fn without_etag(self) -> Self;
}

/// What a call wants of a resource that it makes or changes.
pub struct Saving<'a, T> {
    pub changing: Changing,
    pub given: &'a T,
    pub mask: Option<&'a FieldMask>,
    pub is_new: bool,
    pub allow_missing: bool,
    pub validate_only: bool,
}

macro_rules! resources {
    ($($resource:ty),*) => {$(
        impl Resource for $resource {
            fn etag(&self) -> &str {
                &self.etag
            }

            fn without_etag(self) -> Self {
                Self { etag: String::new(), ..self }
            }
        }
    )*};
}

resources!(v1::Model, v1::Provider, admin::Account, admin::Preset, admin::Route, admin::Workflow);

impl<'a> Turn<'a> {
    /// Waits for a turn at `name`.
    pub async fn at(keeper: &'a Keeper, name: &'a str) -> Self {
        Self { keeper, name, tries: 0, _held: keeper.turn().await }
    }

    /// The moment to decide on, each time that there is something to decide.
    pub async fn moment(&mut self) -> Result<Moment> {
        if self.tries == TRIES {
            return Err(change::changed_meanwhile(self.name));
        }
        self.tries += 1;
        self.keeper.moment().await
    }

    /// What became of the change. `None`: its moment has passed, so decide anew.
    pub async fn kept<T>(&self, saved: mediary_store::Result<Saved<T>>) -> Result<Option<Made>> {
        match saved {
            Ok(Saved::Done(_)) => {
                self.keeper.refresh().await?;
                Ok(Some(Made { name: self.name.to_owned(), replayed: false }))
            }
            Ok(Saved::Replayed(name)) => Ok(Some(Made { name, replayed: true })),
            // Gone, made or changed since.
            Ok(Saved::Missing) | Err(mediary_store::Error::Outdated) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What this very request has made or changed before, if it did.
pub async fn repeated(changing: &Changing, requests: &dyn Requests) -> Result<Option<Made>> {
    let name = changing.replayed(requests).await?;
    Ok(name.map(|name| Made { name, replayed: true }))
}

impl Made {
    /// Answers with what callers see under its name.
    pub fn answer<T>(self, shown: impl FnOnce(&str) -> Result<T>) -> Result<Response<T>> {
        Ok(change::answer(shown(&self.name)?, self.replayed))
    }

    /// Answers that it is gone.
    pub fn gone(self) -> Response<()> {
        change::answer((), self.replayed)
    }
}

impl<T: Resource> Saving<'_, T> {
    /// What is wanted, laid over what is there. `is_stored` = the store has a row of it, be it
    /// readable or not.
    pub fn laid_over(
        &self,
        before: Option<&T>,
        is_stored: bool,
        name: &str,
        missing: impl FnOnce(&str) -> Error,
        not_set: &[&str],
    ) -> Result<Masked<T>> {
        if self.is_new && (before.is_some() || is_stored) {
            return Err(exists(name));
        }
        if before.is_none() && !self.allow_missing {
            return Err(missing(name));
        }
        let nothing = T::default();
        let existing = before.unwrap_or(&nothing);
        if !self.is_new {
            check_etag(self.given.etag(), existing.etag(), name)?;
        }
        mask::lay(existing, self.given, self.mask, not_set)
    }

    /// What is kept together with the row.
    pub fn change(
        &self,
        moment: &Moment,
        name: &str,
        before: Option<&T>,
        after: T,
        fields: &[String],
    ) -> Change {
        let effect = Effect {
            resource: name.to_owned(),
            before: before.map(change::hash),
            after: Some(change::hash(&after.without_etag())),
            fields: fields.to_vec(),
        };
        self.changing.change(effect).based_on(moment.rows.version)
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

/// What is to be deleted is not there.
pub fn gone(allow_missing: bool, missing: impl FnOnce() -> Error) -> Result<Response<()>> {
    if allow_missing { Ok(Response::new(())) } else { Err(missing()) }
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
