//! OpenAI's Responses API, and the vendors and servers that speak it beside their chat.
//!
//! Owns: the JSON of a response, whole and streamed, asked for without anything being stored at the
//! vendor: what a model thought comes back sealed and goes out again with the next turn.
//! Source: OpenAI API reference (responses, streaming events), and each vendor's own notes.

mod answer;
mod quirks;
mod request;

use async_trait::async_trait;
use mediary_domain::{Capability, ChatCall, EmbedOptions, Embedded, Inspection, Result};

pub use self::{quirks::Quirks, request::count_body};
use super::{openai::OpenAi, wire_stream::WireStream};
use crate::provider::{CallContext, ChatStream, Provider};

pub struct OpenAiResponses {
    api: OpenAi,
    quirks: Quirks,
}

impl OpenAiResponses {
    pub fn new(api: OpenAi, quirks: Quirks) -> Self {
        Self { api, quirks }
    }
}

#[async_trait]
impl Provider for OpenAiResponses {
    fn offers(&self) -> &[Capability] {
        &[Capability::TextToText, Capability::ImageToText, Capability::TextEmbedding]
    }

    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream> {
        let body = request::body(&self.quirks, cx, call)?;
        let reply = self.api.upstream.post(cx, "/responses", body).await?;
        Ok(Box::pin(WireStream::new(reply, answer::Decoder::new(cx.clone()))))
    }

    async fn embed(
        &self,
        cx: &CallContext,
        texts: &[String],
        options: &EmbedOptions,
    ) -> Result<Embedded> {
        self.api.embed(cx, texts, options).await
    }

    async fn count_tokens(&self, cx: &CallContext, call: &ChatCall) -> Result<i64> {
        self.api.count_tokens(cx, call, &self.quirks).await
    }

    async fn inspect(&self, cx: &CallContext) -> Result<Inspection> {
        self.api.inspect(cx).await
    }
}
