//! How vendors of this dialect say no: five shapes of body, and what their words mean.

use std::time::Duration;

use http::StatusCode;
use mediary_domain::Error;
use serde_json::Value;

use super::{
    super::failure::{Class, Words, refused},
    answer::Chunk,
};
use crate::provider::CallContext;

/// A refusal by status.
pub fn of_reply(
    cx: &CallContext,
    status: StatusCode,
    body: &[u8],
    retry_after: Option<Duration>,
) -> Error {
    let words = serde_json::from_slice(body).map(|json| words(&json)).unwrap_or_default();
    let class = classify(cx, Some(status), &words);
    refused(cx, class, Some(status), words, retry_after)
}

/// A refusal inside a stream: an event of its own.
pub fn of_event(cx: &CallContext, data: &[u8]) -> Error {
    let words = match serde_json::from_slice(data) {
        Ok(json) => words(&json),
        Err(_) => Words::default(),
    };
    refused(cx, classify(cx, None, &words), None, words, None)
}

/// A refusal in place of an answer, under status 200.
pub fn in_answer(cx: &CallContext, json: &[u8], chunk: &Chunk<'_>) -> Option<Error> {
    let is_set = |raw: Option<&serde_json::value::RawValue>| raw.is_some_and(|v| v.get() != "null");
    let says_no = is_set(chunk.error)
        || (chunk.choices.is_none() && (is_set(chunk.detail) || is_set(chunk.message)));
    says_no.then(|| of_event(cx, json))
}

pub enum Interrupted {
    Failed,
    Overloaded,
}

/// The answer ended with a finish reason that is no end.
pub fn interrupted(cx: &CallContext, word: &str, how: Interrupted) -> Error {
    let class = match how {
        Interrupted::Failed => Class::ServerError,
        Interrupted::Overloaded => Class::Overloaded,
    };
    let message = "the provider interrupted the answer".to_owned();
    refused(cx, class, None, Words { message, code: word.to_owned(), ..Words::default() }, None)
}

/// Finds the vendor's words in `{error: {..} | ".."}`, `{detail: ..}`, or the flat object itself.
fn words(json: &Value) -> Words {
    let (at, outer) = match json.get("error") {
        Some(inner @ Value::Object(_)) => (inner, json),
        Some(Value::String(text)) => {
            return Words {
                message: text.clone(),
                kind: text_of(json.get("type")),
                code: text_of(json.get("code")),
                param: text_of(json.get("param")),
            };
        }
        _ => (json, json),
    };
    let message = [at.get("message"), outer.get("message"), outer.get("detail")]
        .into_iter()
        .flatten()
        .map(message_of)
        .find(|text| !text.is_empty())
        .unwrap_or_default();
    Words {
        message,
        kind: text_of(at.get("type")),
        code: text_of(at.get("code")),
        param: text_of(at.get("param")),
    }
}

/// A message is a string, or validation details: `{detail: [{loc, msg}]}` or the list itself.
fn message_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(object) => object.get("detail").map(message_of).unwrap_or_default(),
        Value::Array(list) => {
            let lines = list.iter().map(|one| {
                let at = one.get("loc").and_then(Value::as_array).map(|path| {
                    path.iter().map(|step| text_of(Some(step))).collect::<Vec<_>>().join(".")
                });
                let what = text_of(one.get("msg"));
                at.map_or(what.clone(), |at| format!("{at}: {what}"))
            });
            lines.collect::<Vec<_>>().join("; ")
        }
        _ => String::new(),
    }
}

fn text_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// Words decide before numbers: vendors agree on their words more than on their statuses.
fn classify(cx: &CallContext, status: Option<StatusCode>, words: &Words) -> Class {
    let message = words.message.to_ascii_lowercase();
    let code = words.code.as_str();
    let says = |needles: &[&str]| needles.iter().any(|needle| message.contains(needle));
    let named = |names: &[&str]| names.contains(&code) || names.contains(&words.kind.as_str());

    if named(&["insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"]) {
        return Class::QuotaExhausted;
    }
    if named(&["context_length_exceeded", "exceed_context_size_error"])
        || says(&[
            "maximum context length",
            "available context size",
            "context window",
            "context length",
        ])
    {
        return Class::ContextLength;
    }
    if named(&["tool_use_failed"]) {
        return Class::ModelOutput;
    }
    if named(&["content_filter", "content_policy_violation", "moderation_blocked"]) {
        return Class::ContentFilter;
    }
    if named(&["unsupported_parameter", "unsupported_value"]) && !words.param.is_empty() {
        return Class::Parameter;
    }
    if named(&["invalid_api_key", "authentication_error"])
        || says(&["incorrect api key", "invalid api key"])
    {
        return Class::Authentication;
    }
    if named(&["model_not_found", "invalid_model", "model_not_available"])
        || says(&["model not found", "invalid model"])
    {
        return Class::NotFound;
    }
    if named(&["rate_limit_exceeded", "1300"]) {
        return Class::RateLimited;
    }
    if named(&["3505", "unavailable_error", "service_unavailable", "overloaded_error"]) {
        return Class::Overloaded;
    }
    // A number in the place of the code is the status that the vendor did not send.
    let told = status.or_else(|| StatusCode::from_bytes(code.as_bytes()).ok());
    match told.map_or(Class::ServerError, Class::of_status) {
        // A server of one's own that answers 500 mostly lacks an option, not a moment.
        Class::ServerError if cx.provider.is_local() && status.is_some() => Class::Misconfigured,
        class => class,
    }
}
