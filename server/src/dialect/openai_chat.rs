//! OpenAI's chat completions, and the many vendors that speak them.
//!
//! Owns: the JSON of a chat call and its answer, whole and streamed, tolerant of what compatible
//! servers make of it. What differs between vendors is data: [`Quirks`].
//! Source: OpenAI API reference (chat), and each vendor's own notes on compatibility.

mod answer;
mod content;
mod failure;
mod quirks;
mod request;
mod think;

use async_trait::async_trait;
use mediary_domain::{Capability, ChatCall, Result};

pub use self::quirks::Quirks;
use super::wire_stream::WireStream;
use crate::{
    clock::Clock,
    provider::{CallContext, ChatStream, Provider},
    transport::Http,
};

/// Longest refusal that is read.
const REFUSAL_LIMIT: usize = 64 << 10;

pub struct OpenAiChat {
    http: Http,
    clock: Clock,
    quirks: Quirks,
}

impl OpenAiChat {
    pub fn new(http: Http, clock: Clock, quirks: Quirks) -> Self {
        Self { http, clock, quirks }
    }
}

#[async_trait]
impl Provider for OpenAiChat {
    fn offers(&self) -> &[Capability] {
        &[Capability::TextToText, Capability::ImageToText]
    }

    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream> {
        let body = request::body(&self.quirks, cx, call)?;
        let reply = self.http.post_json(cx, "/chat/completions", &[], body).await?;
        if !reply.status.is_success() {
            let wait = crate::transport::retry_after(&reply.headers, self.clock.wall());
            let text = reply.body.read_some(REFUSAL_LIMIT).await;
            return Err(failure::of_reply(cx, reply.status, &text, wait));
        }
        let decoder = answer::Decoder::new(cx.clone(), &self.quirks);
        Ok(Box::pin(WireStream::new(reply.body, decoder)))
    }
}
