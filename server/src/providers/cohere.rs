//! Cohere's API, version 2.
//!
//! Owns: the JSON of a chat call, its stream of blocks, plans and calls, of embeddings and of the
//! list of models, and how Cohere says no. A count of tokens it does not have: its tokenizer counts
//! texts, not what a chat makes of them.
//! Source: Cohere API reference (chat, chat with streaming, embed, models, errors).

mod answer;
mod embed;
mod failure;
mod models;
mod request;
mod units;

use async_trait::async_trait;
use mediary_domain::{Capability, ChatCall, EmbedOptions, Embedded, Inspection, Parameter, Result};

use super::Setup;
use crate::{
    dialect::{exchange::Upstream, wire_stream::WireStream},
    provider::{CallContext, ChatStream, Provider},
};

/// What no model of this API takes.
pub const REFUSED: &[Parameter] = &[
    // Several calls in one turn cannot be turned off, so there is no such switch.
    Parameter::ParallelToolCalls,
];

/// State of a reasoning part that was a plan for tools begins with this and goes back as one.
const PLAN: &str = "tool_plan:";
/// State of a thought, which Cohere does not seal: it says that the text is to go back.
const THOUGHT: &str = "thinking";

pub struct Cohere {
    upstream: Upstream,
}

impl Cohere {
    pub fn new(setup: &Setup) -> Self {
        Self { upstream: setup.upstream(failure::of_reply) }
    }
}

#[async_trait]
impl Provider for Cohere {
    fn offers(&self) -> &[Capability] {
        &[Capability::TextToText, Capability::ImageToText, Capability::TextEmbedding]
    }

    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream> {
        let body = request::body(cx, call)?;
        let shows_thinking = call.parameters.reasoning.as_ref().is_some_and(|one| one.include);
        let reply = self.upstream.post(cx, "/v2/chat", body).await?;
        let decoder = answer::Decoder::new(cx.clone(), shows_thinking);
        Ok(Box::pin(WireStream::new(reply, decoder)))
    }

    async fn embed(
        &self,
        cx: &CallContext,
        texts: &[String],
        options: &EmbedOptions,
    ) -> Result<Embedded> {
        let body = embed::body(cx, texts, options)?;
        let reply = self.upstream.post(cx, "/v2/embed", body).await?;
        embed::read(cx, reply, texts.len()).await
    }

    async fn inspect(&self, cx: &CallContext) -> Result<Inspection> {
        self.models(cx).await
    }
}
