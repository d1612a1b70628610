//! Google's Gemini API: `generateContent`, whole and streamed.
//!
//! Owns: the JSON of contents and parts, the signatures that thoughts go back with, and how Google
//! says no. Leaves: images, speech and video of the same API.
//! Source: Gemini API reference (generateContent, thinking, thought signatures, structured output,
//! grounding), google.rpc.Status.

mod answer;
mod citations;
mod failure;
mod request;
mod schema;
mod signature;

use async_trait::async_trait;
use mediary_domain::{Capability, ChatCall, Parameter, Result};

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
        &[Capability::TextToText, Capability::ImageToText]
    }

    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream> {
        let body = request::body(cx, call)?;
        let reply = self.upstream.post(cx, &path(cx), body).await?;
        let decoder = answer::Decoder::new(cx.clone(), self.clock.clone());
        Ok(Box::pin(WireStream::new(reply.body, decoder)))
    }
}

fn path(cx: &CallContext) -> String {
    let model = &cx.model.provider_model_id;
    // A tuned model is called by its whole name.
    let folder = if model.contains('/') { "" } else { "models/" };
    let method =
        if cx.model.streams() { "streamGenerateContent?alt=sse" } else { "generateContent" };
    format!("/{folder}{model}:{method}")
}
