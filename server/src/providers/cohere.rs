//! Cohere's chat, version 2.
//!
//! Owns: the JSON of a chat call, its stream of blocks, plans and calls, and how Cohere says no.
//! Source: Cohere API reference (chat, chat with streaming, errors).

mod answer;
mod failure;
mod request;

use async_trait::async_trait;
use mediary_domain::{Capability, ChatCall, Parameter, Result};

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
        &[Capability::TextToText, Capability::ImageToText]
    }

    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream> {
        let body = request::body(cx, call)?;
        let shows_thinking = call.parameters.reasoning.as_ref().is_some_and(|one| one.include);
        let reply = self.upstream.post(cx, "/v2/chat", body).await?;
        let decoder = answer::Decoder::new(cx.clone(), shows_thinking);
        Ok(Box::pin(WireStream::new(reply.body, decoder)))
    }
}
