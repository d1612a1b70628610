//! A resource as options and a file describe it, on its way to the server.
//!
//! Owns: which fields are set and by which option, the field mask that follows from it, and telling
//! a complaint of the server by the option. Leaves: what the fields are (each command).

use std::path::{Path, PathBuf};

use clap::Args;
use prost::{Message, Name};
use prost_types::FieldMask;
use serde_json::{Map, Value};

use super::{
    feed, json,
    problem::{Problem, Refusal},
};
use crate::Error;

/// Takes away what a field holds.
pub(super) const NONE: &str = "none";

/// Where more of a resource can come from.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FileArgs {
    /// Fields from this file, JSON or TOML with the names that `-o json` prints; - = stdin. Options win
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// How a change is made.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ChangeArgs {
    /// Only check it; nothing is changed
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Change exactly this version, as `show` prints it
    #[arg(long, value_name = "ETAG")]
    pub(super) etag: Option<String>,
}

/// The fields that are set. Holds secrets, so it cannot be printed.
pub(super) struct Draft {
    /// Field of the request that carries the resource, such as `api_key`.
    noun: &'static str,
    fields: Map<String, Value>,
    mask: Vec<String>,
    /// Which option set which path.
    options: Vec<(String, String)>,
}

impl Draft {
    /// With the fields of the file, where there is one.
    pub(super) fn new(noun: &'static str, file: &FileArgs) -> Result<Self, Problem> {
        let fields = match &file.file {
            Some(file) => read(file)?,
            None => Map::new(),
        };
        let mask = fields.keys().cloned().collect();
        Ok(Self { noun, fields, mask, options: Vec::new() })
    }

    /// Sets a field, such as `limits.requests_per_day`. Null takes away what it holds.
    pub(super) fn set(&mut self, path: &str, option: &str, value: impl Into<Value>) {
        self.keep(path, value.into());
        self.options.push((path.to_owned(), option.to_owned()));
        // A field of the file is in the mask as a whole.
        let is_in = |known: &String| {
            path.strip_prefix(known.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if !self.mask.iter().any(is_in) {
            self.mask.push(path.to_owned());
        }
    }

    /// Sets a field that an option gave.
    pub(super) fn maybe(&mut self, path: &str, option: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(path, option, value);
        }
    }

    /// Sets a text; `none` takes it away.
    pub(super) fn text(&mut self, path: &str, option: &str, value: Option<&str>) {
        match value {
            Some(NONE) => self.set(path, option, Value::Null),
            value => self.maybe(path, option, value),
        }
    }

    /// Sets a list; a lone `none` empties it.
    pub(super) fn list(&mut self, path: &str, option: &str, values: &[impl AsRef<str>]) {
        match values {
            [] => {}
            [only] if only.as_ref() == NONE => self.set(path, option, Value::Null),
            all => {
                let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
                self.set(path, option, all);
            }
        }
    }

    /// Puts a field in that is no change, such as the name of what is changed.
    pub(super) fn keep(&mut self, path: &str, value: Value) {
        let mut fields = &mut self.fields;
        let mut rest = path;
        while let Some((head, tail)) = rest.split_once('.') {
            let inner = fields.entry(head).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            let Value::Object(inner) = inner else { return };
            (fields, rest) = (inner, tail);
        }
        fields.insert(rest.to_owned(), value);
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// What to change, and the mask that says so.
    pub(super) fn change<M: Message + Name + Default>(
        mut self,
        name: String,
        change: &ChangeArgs,
    ) -> Result<(M, FieldMask, Sent), Problem> {
        self.mask.retain(|path| !matches!(path.as_str(), "name" | "etag"));
        if self.mask.is_empty() {
            let message = "there is nothing to change: name options, or a file with -f";
            return Err(Problem::Usage(message.to_owned()));
        }
        self.keep("name", name.into());
        if let Some(etag) = &change.etag {
            self.keep("etag", quoted(etag).into());
        }
        let mask = FieldMask { paths: std::mem::take(&mut self.mask) };
        let (resource, sent) = self.finish()?;
        Ok((resource, mask, sent))
    }

    /// The resource, and what is needed to understand complaints about it.
    pub(super) fn finish<M: Message + Name + Default>(self) -> Result<(M, Sent), Problem> {
        let resource = json::read(Value::Object(self.fields)).map_err(|why| {
            Problem::Usage(format!("this is no {}: {why}", self.noun.replace('_', " ")))
        })?;
        Ok((resource, Sent { noun: self.noun, options: self.options }))
    }
}

/// What was sent, for when it is refused.
pub(super) struct Sent {
    noun: &'static str,
    options: Vec<(String, String)>,
}

impl Sent {
    /// A failure in the words of the command line.
    pub(super) fn refused(&self, error: Error) -> Problem {
        let Error::BadRequest { violations, .. } = &error else { return error.into() };
        let refusals = violations.iter().map(|one| Refusal {
            option: self.option(&one.field).map(str::to_owned),
            field: one.field.clone(),
            description: one.description.clone(),
        });
        let refusals: Vec<Refusal> = refusals.collect();
        if refusals.iter().any(|one| one.option.is_some()) {
            Problem::Refused { error, refusals }
        } else {
            error.into()
        }
    }

    /// The option that set a field of the request, or the one that would.
    fn option(&self, field: &str) -> Option<&str> {
        // `api_key_id` stands beside `api_key`.
        if field.strip_prefix(self.noun) == Some("_id") {
            return Some("--id");
        }
        let path = field.strip_prefix(self.noun)?.strip_prefix('.')?;
        let is_meant = |set: &str| {
            path.strip_prefix(set)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                || set.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
        };
        let (_, option) = self.options.iter().find(|(set, _)| is_meant(set))?;
        Some(option)
    }

    /// Names the option for a field that nothing has set.
    pub(super) fn would_set(mut self, path: &str, option: &str) -> Self {
        self.options.push((path.to_owned(), option.to_owned()));
        self
    }
}

/// An etag as the server knows it. Its quotes are a shell's to eat, so they may be left out.
pub(super) fn quoted(etag: &str) -> String {
    if etag.is_empty() || etag.contains('"') { etag.to_owned() } else { format!("\"{etag}\"") }
}

/// An etag as people name it.
pub(super) fn bare(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

fn read(file: &Path) -> Result<Map<String, Value>, Problem> {
    let (name, text) = feed::file_or_stdin(file, feed::FILE_LIMIT)?;
    let wrong = |why: String| Problem::Usage(format!("{name} {why}"));
    // Only an object begins like this, and no line of TOML does.
    let value = if text.trim_start().starts_with(['{', '[']) && !is_table_head(&text) {
        serde_json::from_str(&text).map_err(|error| wrong(format!("is not JSON: {error}")))?
    } else {
        toml::from_str(&text).map_err(|error| {
            // Without the line itself, which may hold a secret.
            let before = error.span().map(|span| &text[..span.start.min(text.len())]);
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            wrong(format!("is not TOML: line {line}: {}", error.message()))
        })?
    };
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(wrong("must hold one object".to_owned())),
    }
}

/// Whether a text begins with the head of a TOML table, such as `[limits]`.
fn is_table_head(text: &str) -> bool {
    let line = text.trim_start().lines().next().unwrap_or_default().trim();
    let head = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    head.is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains([',', '"'])
    })
}

#[cfg(test)]
mod tests {
    use mediary_proto::admin::ApiKey;

    use super::*;

    fn draft() -> Draft {
        Draft::new("api_key", &FileArgs::default()).expect("no file")
    }

    #[test]
    fn options_become_fields_and_their_mask() {
        let mut draft = draft();
        draft.set("limits.requests_per_day", "--requests-per-day", 5);
        draft.list("allowed_models", "--model", &["none"]);
        draft.maybe("display_name", "--name", None::<&str>);
        let etag = ChangeArgs { etag: Some("v1".into()), dry_run: false };
        let (key, mask, _) = draft.change::<ApiKey>("apiKeys/k".into(), &etag).expect("a key");
        assert_eq!((key.name.as_str(), key.etag.as_str()), ("apiKeys/k", "\"v1\""));
        assert_eq!(key.limits.expect("limits").requests_per_day, Some(5));
        assert_eq!(mask.paths, ["limits.requests_per_day", "allowed_models"]);
    }

    #[test]
    fn a_change_of_nothing_is_refused() {
        let mut draft = draft();
        draft.keep("etag", "v1".into());
        let change = draft.change::<ApiKey>("apiKeys/k".into(), &ChangeArgs::default());
        assert!(matches!(change, Err(Problem::Usage(_))));
    }

    #[test]
    fn a_complaint_is_told_by_its_option() {
        let mut draft = draft();
        draft.set("allowed_models", "--model", vec!["gpt"]);
        draft.set("budget.day_cost_pico_usd", "--usd-per-day", 1);
        let (_, sent) = draft.finish::<ApiKey>().expect("a key");
        let sent = sent.would_set("role", "--role");
        for (field, option) in [
            ("api_key.allowed_models[0]", Some("--model")),
            ("api_key.budget", Some("--usd-per-day")),
            ("api_key.role", Some("--role")),
            ("api_key_id", Some("--id")),
            ("api_key.allowed", None),
            ("api_key.display_name", None),
            ("request_id", None),
        ] {
            assert_eq!(sent.option(field), option, "{field}");
        }
    }

    #[test]
    fn a_field_that_is_none_of_the_contract_is_named() {
        let mut draft = draft();
        draft.keep("colour", "red".into());
        let Err(Problem::Usage(why)) = draft.finish::<ApiKey>() else { panic!("it has no colour") };
        assert!(why.contains("colour"), "{why}");
    }

    #[test]
    fn a_table_of_toml_is_no_list_of_json() {
        assert!(is_table_head("[limits]\nrequests_per_day = 5"));
        assert!(!is_table_head("[{\"name\": \"x\"}]"));
        assert!(!is_table_head("{\"name\": \"x\"}"));
    }
}
