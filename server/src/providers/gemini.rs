//! Google's Gemini API: `generateContent`, whole and streamed, counts, embeddings, models.
//!
//! Owns: the JSON of contents and parts, the signatures that thoughts go back with, and how Google
//! says no. Leaves: images, speech and video of the same API.
//! Source: Gemini API reference (generateContent, thinking, thought signatures, structured output,
//! grounding, countTokens, batchEmbedContents, models), google.rpc.Status.

mod answer;
mod citations;
mod embed;
mod failure;
mod models;
mod request;
mod schema;
mod signature;

use async_trait::async_trait;
use mediary_domain::{Capability, ChatCall, EmbedOptions, Embedded, Inspection, Parameter, Result};
use serde::Deserialize;

use super::Setup;
use crate::{
    clock::Clock,
    dialect::{exchange::Upstream, wire_stream::WireStream},
    provider::{CallContext, ChatStream, Provider},
};

/// What no model of this API takes.
pub const REFUSED: &[Parameter] = &[
    // Several calls in one turn cannot be turned off, so there is no such switch.
    Parameter::ParallelToolCalls,
];

/// What the name of a model begins with that is not a caller's own.
const MODELS: &str = "models/";
/// Longest count that is read.
const COUNT_LIMIT: usize = 64 << 10;

pub struct Gemini {
    upstream: Upstream,
    clock: Clock,
}

impl Gemini {
    pub fn new(setup: &Setup) -> Self {
        Self { upstream: setup.upstream(failure::of_reply), clock: setup.clock.clone() }
    }
}

#[async_trait]
impl Provider for Gemini {
    fn offers(&self) -> &[Capability] {
        &[Capability::TextToText, Capability::ImageToText, Capability::TextEmbedding]
    }

    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream> {
        let body = request::body(cx, call)?;
        let method =
            if cx.model.streams() { "streamGenerateContent?alt=sse" } else { "generateContent" };
        let reply = self.upstream.post(cx, &path(cx, method), body).await?;
        let decoder = answer::Decoder::new(cx.clone(), self.clock.clone());
        Ok(Box::pin(WireStream::new(reply, decoder)))
    }

    async fn embed(
        &self,
        cx: &CallContext,
        texts: &[String],
        options: &EmbedOptions,
    ) -> Result<Embedded> {
        let body = embed::body(cx, texts, options)?;
        let reply = self.upstream.post(cx, &path(cx, "batchEmbedContents"), body).await?;
        embed::read(cx, reply, texts.len()).await
    }

    async fn count_tokens(&self, cx: &CallContext, call: &ChatCall) -> Result<i64> {
        let body = request::count_body(cx, call)?;
        let reply = self.upstream.post(cx, &path(cx, "countTokens"), body).await?;
        let json = reply.body.read_all(COUNT_LIMIT).await?;
        let count = serde_json::from_slice::<Count>(&json);
        count.map(|count| count.total_tokens).map_err(|_| failure::not_it(cx, &json))
    }

    async fn inspect(&self, cx: &CallContext) -> Result<Inspection> {
        self.models(cx).await
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    total_tokens: i64,
}

fn path(cx: &CallContext, method: &str) -> String {
    format!("/{}:{method}", model_path(cx))
}

/// A tuned model is called by its whole name.
fn model_path(cx: &CallContext) -> String {
    let model = &cx.model.provider_model_id;
    if model.contains('/') { model.clone() } else { format!("{MODELS}{model}") }
}
