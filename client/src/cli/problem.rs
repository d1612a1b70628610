//! What can go wrong in a command: its words, its fix and its exit code.

use std::{fmt, io};

use serde_json::{Value, json};

use super::out::{Out, Tone};
use crate::Error;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) enum Problem {
    /// The command line or a file it names is wrong.
    Usage(String),
    /// What was named is not there.
    Absent(String),
    /// The server, or the way to it.
    Call(Error),
    /// The server, where it is known which options it complains about.
    Refused { error: Error, refusals: Vec<Refusal> },
    /// What was looked at is not as it should be, and what to do about it.
    Finding { message: String, fix: String },
    /// Whoever was asked said no.
    Declined,
    /// The answer ended in good order, but is not whole.
    Cut(String),
    /// Ctrl+C.
    Interrupted,
    /// Nobody takes the result.
    Output(io::Error),
}

/// A field that the server refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The option that sets it. None = it is known by its field alone.
    pub(super) option: Option<String>,
    pub(super) field: String,
    pub(super) description: String,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Setup(_) => Self::Usage(error.message().to_owned()),
            error => Self::Call(error),
        }
    }
}

impl Problem {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Call(Error::Unreachable(_)) => 3,
            Self::Call(Error::Unauthenticated(_) | Error::PermissionDenied(_)) => 4,
            Self::Call(Error::RateLimited { .. }) => 5,
            Self::Absent(_)
            | Self::Call(_)
            | Self::Refused { .. }
            | Self::Finding { .. }
            | Self::Declined
            | Self::Cut(_)
            | Self::Output(_) => 1,
            Self::Interrupted => 130,
        }
    }

    /// Says what happened and what to do about it, on stderr.
    pub(super) fn tell(&self, out: &Out, url: &str) {
        // Whoever closed the pipe knows.
        if matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return;
        }
        out.aside(Tone::Bad, "error: ");
        out.note(Tone::Plain, &self.message());
        if let Self::Refused { refusals, .. } = self
            && let [_first_is_the_message, more @ ..] = refusals.as_slice()
        {
            for one in more {
                out.note(Tone::Plain, &format!("       {one}"));
            }
        }
        if let Self::Call(Error::BadRequest { violations, .. }) = self {
            // The message names as many as have room in it.
            let told = self.message();
            for one in violations.iter().filter(|one| !told.contains(&one.description)) {
                out.note(Tone::Plain, &format!("  {}: {}", one.field, one.description));
            }
        }
        if let Self::Call(error) | Self::Refused { error, .. } = self
            && !error.request_id().is_empty()
        {
            out.note(Tone::Aside, &format!("  report it with the id {}", error.request_id()));
        }
        if let Some(fix) = self.fix(url) {
            out.aside(Tone::Fix, "fix: ");
            out.note(Tone::Plain, &fix);
        }
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Call(error) | Self::Refused { error, .. } => json!({
                "reason": error.reason(),
                "code": format!("{:?}", error.status()),
                "message": error.message(),
                "metadata": error.metadata(),
            }),
            other => {
                json!({ "reason": "", "code": "", "message": other.message(), "metadata": {} })
            }
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Usage(message) | Self::Absent(message) | Self::Cut(message) => message.clone(),
            Self::Call(error) => error.message().to_owned(),
            Self::Refused { error, refusals } => {
                refusals.first().map_or_else(|| error.message().to_owned(), ToString::to_string)
            }
            Self::Finding { message, .. } => message.clone(),
            Self::Declined => "nothing was done".to_owned(),
            Self::Interrupted => "interrupted; the answer is not whole".to_owned(),
            Self::Output(error) => format!("cannot write the result: {error}"),
        }
    }

    fn fix(&self, url: &str) -> Option<String> {
        match self {
            Self::Call(error) | Self::Refused { error, .. } => fix(error, url),
            Self::Finding { fix, .. } => Some(fix.clone()),
            Self::Absent(_) => Some("`mediary models` lists what there is".to_owned()),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.option {
            Some(option) => write!(f, "{option}: {}", self.description),
            None => write!(f, "{}: {}", self.field, self.description),
        }
    }
}

/// What to do about a failure, where it is known.
fn fix(error: &Error, url: &str) -> Option<String> {
    let fact = |key: &str| error.metadata().get(key).map_or("", String::as_str);
    let known = match error.reason() {
        "KEY_MISSING" => "name your key with --api-key or MEDIARY_API_KEY".to_owned(),
        "KEY_INVALID" | "KEY_EXPIRED" => {
            "check --api-key or MEDIARY_API_KEY; your operator can make a new key".to_owned()
        }
        "ROLE_INSUFFICIENT" => {
            format!("use a key of role {}", or(fact("requiredRole"), "operator"))
        }
        "NO_USABLE_ACCOUNT" => {
            let set = match fact("requiredEnv") {
                "" => "give the server a key of the provider".to_owned(),
                variables => format!("where the server runs, {}", export(variables.split(','))),
            };
            let add = match fact("provider") {
                "" => "PROVIDER",
                provider => provider,
            };
            format!(
                "{set}, or `mediary accounts add {add} --key-stdin`; or try `--model sandbox-text`, \
                 which needs none"
            )
        }
        "CREDENTIALS_REJECTED" => {
            format!(
                "check the key of the server's account at {}",
                or(fact("provider"), "the provider")
            )
        }
        "RESOURCE_NOT_FOUND" if fact("resource").starts_with("routes/") => {
            "`mediary routes set TASK --model MODEL` assigns a task".to_owned()
        }
        "RESOURCE_NOT_FOUND" => {
            format!("`mediary {}` lists what there is", lister(fact("resource")))
        }
        "RESOURCE_EXISTS" => "choose another id, or change what is there with `update`".to_owned(),
        "RESOURCE_IN_USE" => "change what depends on it first; or see --force".to_owned(),
        "ETAG_MISMATCH" => {
            "look at it with `show`, and try again with the etag that stands there".to_owned()
        }
        "METHOD_DISABLED" => format!("use a server that has it: {url} is of another version"),
        "CAPABILITY_UNSUPPORTED" if !fact("capability").is_empty() => {
            format!("`mediary models --capability {}` lists who can", fact("capability"))
        }
        "UNSUPPORTED_PARAMETER" => format!("leave out {}", or(fact("field"), "the parameter")),
        "CONTEXT_TOO_LONG" => {
            "shorten the conversation, or choose a model with more context".to_owned()
        }
        "RUNTIME_NOT_AVAILABLE" => {
            format!("start {} on the server's machine", or(fact("localRuntime"), "the runtime"))
        }
        "STREAM_TRUNCATED" | "UPSTREAM_TRUNCATED" => {
            "ask again; what arrived is not whole".to_owned()
        }
        _ => return general(error, url),
    };
    Some(known)
}

/// What helps when the reason tells nothing special.
fn general(error: &Error, url: &str) -> Option<String> {
    match error {
        Error::Unreachable(_) => {
            Some(format!("start it with `mediary serve`, or name another with --url (tried {url})"))
        }
        Error::RateLimited { retry_after: Some(wait), .. }
        | Error::Unavailable { retry_after: Some(wait), .. } => {
            Some(format!("try again in {} s", wait.as_secs_f64().ceil()))
        }
        Error::Unimplemented(_) => Some(format!("check that {url} is a Mediary of this version")),
        _ => None,
    }
}

/// The command that lists what a resource is one of.
fn lister(resource: &str) -> &'static str {
    match resource.split('/').next().unwrap_or_default() {
        "apiKeys" => "keys list",
        "accounts" => "accounts list",
        "providers" if !resource.contains("/models/") => "providers",
        _ => "models",
    }
}

/// A line to copy into a shell.
pub(super) fn export<'a>(variables: impl IntoIterator<Item = &'a str>) -> String {
    let set = variables.into_iter().map(|name| format!(" {}=...", name.trim()));
    format!("export{}", set.collect::<String>())
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn problem(code: Code, reason: &str, facts: &[(&str, &str)]) -> Problem {
        let facts = facts.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let details = ErrorDetails::with_error_info(
            reason,
            "mediary.dev",
            facts.collect::<std::collections::HashMap<_, _>>(),
        );
        Problem::from(Error::from(Status::with_error_details(code, "no", details)))
    }

    #[test]
    fn the_exit_code_tells_the_kind() {
        let codes = [
            (Code::Unauthenticated, "KEY_MISSING", 4),
            (Code::PermissionDenied, "MODEL_NOT_ALLOWED", 4),
            (Code::ResourceExhausted, "RATE_LIMITED", 5),
            (Code::Unavailable, "UPSTREAM_UNAVAILABLE", 1),
            (Code::FailedPrecondition, "NO_USABLE_ACCOUNT", 1),
        ];
        for (code, reason, exit) in codes {
            assert_eq!(problem(code, reason, &[]).exit_code(), exit, "{reason}");
        }
        assert_eq!(Problem::Interrupted.exit_code(), 130);
    }

    #[test]
    fn a_missing_account_shows_the_line_to_copy() {
        let facts = [("provider", "openai"), ("requiredEnv", "OPENAI_API_KEY")];
        let problem = problem(Code::FailedPrecondition, "NO_USABLE_ACCOUNT", &facts);
        let fix = problem.fix("http://x").expect("a known reason");
        assert!(fix.contains("export OPENAI_API_KEY=...") && fix.contains("sandbox-text"), "{fix}");
    }
}
