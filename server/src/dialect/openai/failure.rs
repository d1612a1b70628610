//! How OpenAI and who speaks like it say no: five shapes of body, and what their words mean.

use std::time::Duration;

use http::StatusCode;
use mediary_domain::Error;
use serde_json::{Value, value::RawValue};

use crate::{
    dialect::{
        exchange::Refusal,
        failure::{Class, Words, refused},
    },
    provider::CallContext,
};

/// A refusal by status.
pub fn of_reply(cx: &CallContext, refusal: &Refusal) -> Error {
    let Refusal { status, body, retry_after } = refusal;
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let (words, cause) = words(&json);
    let class = classify(cx, Some(*status), &words, &cause);
    // Hugging Face, while a model is loaded: seconds.
    let estimated = json.get("estimated_time").and_then(Value::as_f64);
    let estimated = estimated.and_then(|wait| Duration::try_from_secs_f64(wait).ok());
    refused(cx, class, Some(*status), words, retry_after.or(estimated))
}

/// A refusal inside a stream: an event of its own.
pub fn of_event(cx: &CallContext, data: &[u8]) -> Error {
    let (words, cause) = serde_json::from_slice(data).map(|json| words(&json)).unwrap_or_default();
    refused(cx, classify(cx, None, &words, &cause), None, words, None)
}

/// A refusal that is one text and nothing else.
pub fn in_words(cx: &CallContext, message: String) -> Error {
    let words = Words { message, ..Words::default() };
    refused(cx, classify(cx, None, &words, ""), None, words, None)
}

/// Whether a body under status 200 says no in the place of an answer: by its `error`, or where it
/// is nothing else, by its `detail` or `message`.
pub fn says_no(
    error: Option<&RawValue>,
    otherwise: [Option<&RawValue>; 2],
    is_answer: bool,
) -> bool {
    let is_set = |raw: Option<&RawValue>| raw.is_some_and(|value| value.get() != "null");
    is_set(error) || (!is_answer && otherwise.into_iter().any(is_set))
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

/// Finds the vendor's words in `{error: {..} | ".."}`, `{detail: ..}`, or the flat object itself;
/// and what gateways tell of the cause beside them.
fn words(json: &Value) -> (Words, String) {
    let (at, outer) = match json.get("error") {
        Some(inner @ Value::Object(_)) => (inner, json),
        Some(Value::String(text)) => {
            let words = Words {
                message: text.clone(),
                kind: text_of(json.get("type")),
                code: text_of(json.get("code")),
                param: text_of(json.get("param")),
            };
            return (words, String::new());
        }
        // Hugging Face: several texts.
        Some(list @ Value::Array(_)) => {
            return (Words { message: message_of(list), ..Words::default() }, String::new());
        }
        _ => (json, json),
    };
    let message = [at.get("message"), outer.get("message"), outer.get("detail")]
        .into_iter()
        .flatten()
        .map(message_of)
        .find(|text| !text.is_empty())
        .unwrap_or_default();
    let words = Words {
        message,
        kind: text_of(at.get("type")),
        code: text_of(at.get("code")),
        param: text_of(at.get("param")),
    };
    // OpenRouter's metadata, Azure's inner error.
    let cause = [
        at.pointer("/metadata/error_type"),
        at.pointer("/metadata/raw"),
        at.pointer("/innererror/code"),
    ];
    let text = |cause: Option<&Value>| match cause {
        Some(Value::Object(object)) => Value::Object(object.clone()).to_string(),
        cause => text_of(cause),
    };
    (words, cause.map(text).join(" ").to_ascii_lowercase())
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
                let what = text_of(one.get("msg").or(Some(one)));
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

/// How vendors say that a question is too long.
const CONTEXT: [&str; 5] = [
    "maximum context length",
    "available context size",
    "context window",
    "context length",
    "max context",
];

/// Words decide before numbers: vendors agree on their words more than on their statuses.
fn classify(cx: &CallContext, status: Option<StatusCode>, words: &Words, cause: &str) -> Class {
    let message = words.message.to_ascii_lowercase();
    let code = words.code.as_str();
    let says = |needles: &[&str]| needles.iter().any(|needle| message.contains(needle));
    let caused = |needles: &[&str]| needles.iter().any(|needle| cause.contains(needle));
    let named = |names: &[&str]| names.contains(&code) || names.contains(&words.kind.as_str());

    if named(&[
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_balance",
        "insufficient_balance_error",
        "exceeded_current_quota_error",
    ]) || says(&["exceeded your monthly included credits", "used all available credits"])
    {
        return Class::QuotaExhausted;
    }
    if named(&["context_length_exceeded", "exceed_context_size_error"])
        || says(&CONTEXT)
        || caused(&CONTEXT)
        || caused(&["context_length_exceeded"])
    {
        return Class::ContextLength;
    }
    if named(&["tool_use_failed"]) {
        return Class::ModelOutput;
    }
    if named(&["content_filter", "content_policy_violation", "moderation_blocked"])
        || caused(&["responsibleaipolicyviolation", "content_policy_violation"])
    {
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
    if named(&["model_not_found", "invalid_model", "model_not_available", "DeploymentNotFound"])
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
