//! How Cohere says no: a flat object with a message, and seldom a type.

use mediary_domain::Error;
use serde_json::Value;

use crate::{
    dialect::{
        exchange::Refusal,
        failure::{Class, Words, garbled, no_answer, refused},
    },
    provider::CallContext,
};

/// A refusal by status.
pub fn of_reply(cx: &CallContext, refusal: &Refusal) -> Error {
    let Refusal { status, body, retry_after } = refusal;
    let words = words(body);
    let class = classify(Class::of_status(*status), status.as_u16(), &words);
    refused(cx, class, Some(*status), words, *retry_after)
}

/// A refusal in place of an answer or within one, under status 200.
pub fn of_event(cx: &CallContext, json: &[u8]) -> Error {
    let words = words(json);
    refused(cx, classify(Class::ServerError, 200, &words), None, words, None)
}

/// JSON under status 200 that has not what was asked for: a refusal in its place, or nothing.
pub fn not_it(cx: &CallContext, json: &[u8]) -> Error {
    match serde_json::from_slice::<Value>(json) {
        Ok(other) if other["message"].is_string() => of_event(cx, json),
        Ok(_) => no_answer(cx),
        Err(error) => garbled(cx, &error),
    }
}

/// An answer that ends with a reason that is no end.
pub fn interrupted(cx: &CallContext, reason: &str, message: Option<&str>) -> Error {
    let class = if reason == "TIMEOUT" { Class::Timeout } else { Class::ServerError };
    let words = Words {
        message: message.unwrap_or("the provider interrupted the answer").to_owned(),
        code: reason.to_owned(),
        ..Words::default()
    };
    refused(cx, class, None, words, None)
}

fn words(body: &[u8]) -> Words {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    Words { message: text("message"), kind: text("error_type"), ..Words::default() }
}

fn classify(by_status: Class, status: u16, words: &Words) -> Class {
    let message = words.message.to_ascii_lowercase();
    let says = |needles: &[&str]| needles.iter().any(|needle| message.contains(needle));
    match status {
        _ if words.kind == "TOO_MANY_TOKENS" || message.starts_with("too many tokens") => {
            Class::ContextLength
        }
        // A trial key has calls for a minute and calls for a month.
        429 if says(&["/ month", "per month", "a month", "monthly"]) => Class::QuotaExhausted,
        498 if says(&["blocked"]) => Class::ContentFilter,
        498 => Class::Authentication,
        _ => by_status,
    }
}
