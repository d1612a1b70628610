//! Ollama's own API, at a local server or in its cloud.
//!
//! Owns: the JSON of a chat and its lines, of embeddings and of the models that are there, and how
//! it says no. Leaves: pulling models and running the server.
//! Source: Ollama API reference (chat, embed, tags, show), thinking, structured outputs.

mod answer;
mod embed;
mod models;
mod request;

use async_trait::async_trait;
use http::{HeaderMap, StatusCode, header};
use mediary_domain::{
    Capability, ChatCall, EmbedOptions, Embedded, Error, Inspection, Parameter, Result,
};
use serde::Deserialize;
use serde_json::Value;

use super::Setup;
use crate::{
    dialect::{
        exchange::{Refusal, Upstream},
        failure::{Class, Words, refused},
        wire_stream::WireStream,
    },
    provider::{CallContext, ChatStream, Provider},
};

/// What no model of this API takes.
pub const REFUSED: &[Parameter] = &[
    Parameter::ParallelToolCalls,
    // Whether a tool is called is the model's choice.
    Parameter::ToolChoice,
];

pub struct Ollama {
    upstream: Upstream,
}

impl Ollama {
    pub fn new(setup: &Setup) -> Self {
        Self { upstream: setup.upstream(of_reply) }
    }
}

#[async_trait]
impl Provider for Ollama {
    fn offers(&self) -> &[Capability] {
        &[Capability::TextToText, Capability::ImageToText, Capability::TextEmbedding]
    }

    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream> {
        let reply = self.upstream.post(cx, "/api/chat", request::body(cx, call)?).await?;
        let decoder = answer::Decoder::new(cx.clone());
        Ok(if is_one_json(&reply.headers) {
            Box::pin(WireStream::new(reply, decoder))
        } else {
            Box::pin(WireStream::of_lines(reply, decoder))
        })
    }

    async fn embed(
        &self,
        cx: &CallContext,
        texts: &[String],
        options: &EmbedOptions,
    ) -> Result<Embedded> {
        let reply = self.upstream.post(cx, "/api/embed", embed::body(cx, texts, options)?).await?;
        embed::read(cx, reply, texts.len()).await
    }

    async fn inspect(&self, cx: &CallContext) -> Result<Inspection> {
        self.models(cx).await
    }
}

fn is_one_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

// --- failures ---

/// `{"error": "text"}`; its cloud also sends the object of OpenAI's API.
#[derive(Deserialize)]
struct Says {
    error: Value,
}

fn words(json: &[u8]) -> Words {
    let error = serde_json::from_slice::<Says>(json).map(|says| says.error).unwrap_or_default();
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match error.as_str() {
        Some(message) => Words { message: message.to_owned(), ..Words::default() },
        None => Words {
            message: text("message"),
            kind: text("type"),
            code: text("code"),
            param: text("param"),
        },
    }
}

fn of_reply(cx: &CallContext, refusal: &Refusal) -> Error {
    let words = words(&refusal.body);
    let class = classify(Some(refusal.status), &words.message);
    refused(cx, class, Some(refusal.status), words, refusal.retry_after)
}

/// A failure inside an answer, under status 200.
fn of_line(cx: &CallContext, json: &[u8]) -> Error {
    let words = words(json);
    refused(cx, classify(None, &words.message), None, words, None)
}

/// There are no codes: a few texts say more than the status.
fn classify(status: Option<StatusCode>, message: &str) -> Class {
    let message = message.to_ascii_lowercase();
    let says = |needles: &[&str]| needles.iter().any(|needle| message.contains(needle));
    if says(&["context length", "max context"]) {
        return Class::ContextLength;
    }
    if says(&["does not support"]) {
        return Class::Unsupported;
    }
    if message.contains("model") && says(&["not found", "try pulling"]) {
        return Class::NotFound;
    }
    if says(&["requires more system memory"]) {
        return Class::Misconfigured;
    }
    if says(&["server busy"]) {
        return Class::Overloaded;
    }
    status.map_or(Class::ServerError, Class::of_status)
}
