//! Anthropic's Messages API.
//!
//! Owns: the JSON of a message call, its stream of content blocks, and how it says no.
//! Source: Anthropic API reference (messages, streaming, errors).

mod answer;
mod models;
mod request;

use async_trait::async_trait;
use http::StatusCode;
use mediary_domain::{Capability, ChatCall, Error, Inspection, Parameter, Result};
use serde::Deserialize;

use super::Setup;
use crate::{
    dialect::{
        exchange::{self, Upstream},
        failure::{self, Class, Words, refused},
        wire_stream::WireStream,
    },
    provider::{CallContext, ChatStream, Provider},
};

/// What no model of this API takes.
pub const REFUSED: &[Parameter] = &[
    Parameter::Seed,
    Parameter::FrequencyPenalty,
    Parameter::PresencePenalty,
    // There is no "any JSON" mode; a schema there is.
    Parameter::JsonObject,
];

const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");
/// Longest count that is read.
const COUNT_LIMIT: usize = 64 << 10;

pub struct Anthropic {
    upstream: Upstream,
}

impl Anthropic {
    pub fn new(setup: &Setup) -> Self {
        Self { upstream: setup.upstream(of_reply).with_headers(&[VERSION]) }
    }
}

#[async_trait]
impl Provider for Anthropic {
    fn offers(&self) -> &[Capability] {
        &[Capability::TextToText, Capability::ImageToText]
    }

    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream> {
        let body = request::body(cx, call)?;
        let reply = self.upstream.post(cx, "/v1/messages", body).await?;
        Ok(Box::pin(WireStream::new(reply, answer::Decoder::new(cx.clone()))))
    }

    async fn count_tokens(&self, cx: &CallContext, call: &ChatCall) -> Result<i64> {
        let body = request::count_body(cx, call)?;
        let reply = self.upstream.post(cx, "/v1/messages/count_tokens", body).await?;
        let json = reply.body.read_all(COUNT_LIMIT).await?;
        let count = serde_json::from_slice::<Count>(&json);
        count.map(|count| count.input_tokens).map_err(|error| failure::garbled(cx, &error))
    }

    async fn inspect(&self, cx: &CallContext) -> Result<Inspection> {
        self.models(cx).await
    }
}

#[derive(Deserialize)]
struct Count {
    input_tokens: i64,
}

// --- failures ---

#[derive(Deserialize)]
struct Refusal {
    error: RefusalWords,
}

#[derive(Deserialize)]
struct RefusalWords {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
}

impl Refusal {
    fn into_words(self) -> Words {
        Words { message: self.error.message, kind: self.error.kind, ..Words::default() }
    }
}

fn of_reply(cx: &CallContext, refusal: &exchange::Refusal) -> Error {
    let words = serde_json::from_slice::<Refusal>(&refusal.body).map(Refusal::into_words);
    let words = words.unwrap_or_default();
    let class = classify(Some(refusal.status), &words);
    refused(cx, class, Some(refusal.status), words, refusal.retry_after)
}

/// A failure inside a stream, under status 200.
fn of_event(cx: &CallContext, data: &[u8]) -> Error {
    let words = serde_json::from_slice::<Refusal>(data).map(Refusal::into_words);
    let words = words.unwrap_or_default();
    refused(cx, classify(None, &words), None, words, None)
}

fn classify(status: Option<StatusCode>, words: &Words) -> Class {
    match words.kind.as_str() {
        "authentication_error" => Class::Authentication,
        "permission_error" => Class::Permission,
        "billing_error" => Class::QuotaExhausted,
        "not_found_error" => Class::NotFound,
        "rate_limit_error" => Class::RateLimited,
        "overloaded_error" => Class::Overloaded,
        "timeout_error" => Class::Timeout,
        "api_error" => Class::ServerError,
        "invalid_request_error" if words.message.starts_with("Your credit balance is too low") => {
            Class::QuotaExhausted
        }
        "invalid_request_error" if words.message.starts_with("prompt is too long") => {
            Class::ContextLength
        }
        "invalid_request_error" | "request_too_large" => Class::InvalidRequest,
        _ => status.map_or(Class::ServerError, Class::of_status),
    }
}
