//! OpenAI's chat completions, and the many vendors that speak them.
//!
//! Owns: the JSON of a chat call and its answer, whole and streamed, tolerant of what compatible
//! servers make of it. What differs between vendors is data: [`Quirks`].
//! Source: OpenAI API reference (chat), and each vendor's own notes on compatibility.

mod answer;
mod content;
mod details;
mod quirks;
mod request;
mod sources;
mod think;

use async_trait::async_trait;
use mediary_domain::{Capability, ChatCall, EmbedOptions, Embedded, Inspection, Result};

pub use self::quirks::Quirks;
use super::{openai::OpenAi, openai_responses, wire_stream::WireStream};
use crate::provider::{CallContext, ChatStream, Provider};

pub struct OpenAiChat {
    api: OpenAi,
    quirks: Quirks,
}

impl OpenAiChat {
    pub fn new(api: OpenAi, quirks: Quirks) -> Self {
        Self { api, quirks }
    }
}

#[async_trait]
impl Provider for OpenAiChat {
    fn offers(&self) -> &[Capability] {
        &[Capability::TextToText, Capability::ImageToText, Capability::TextEmbedding]
    }

    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream> {
        let body = request::body(&self.quirks, cx, call)?;
        let reply = self.api.upstream.post(cx, "/chat/completions", body).await?;
        let decoder = answer::Decoder::new(cx.clone(), &self.quirks);
        Ok(Box::pin(WireStream::new(reply, decoder)))
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
        self.api.count_tokens(cx, call, &openai_responses::Quirks::default()).await
    }

    async fn inspect(&self, cx: &CallContext) -> Result<Inspection> {
        self.api.inspect(cx).await
    }
}
