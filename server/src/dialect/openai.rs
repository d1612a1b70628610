//! What OpenAI's endpoints share, whichever of its text wires a model is asked with: how they say
//! no, embeddings, the list of models, the count of a question.
//!
//! Source: OpenAI API reference (embeddings, models), and each vendor's own notes on compatibility.

pub mod embeddings;
pub mod failure;
pub mod models;
pub mod usage;

use mediary_domain::{ChatCall, Error, Result};
use serde::{Deserialize, Serialize};

use super::{exchange::Upstream, openai_responses};
use crate::provider::{CallContext, uncounted};

/// Longest count that is read.
const COUNT_LIMIT: usize = 64 << 10;

/// What a vendor does differently beside its text wires; the `[openai]` table of its row.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// Whether vectors may be asked for as base64, a third of their size as numbers.
    pub embeddings_base64: bool,
    /// The field that says how long vectors shall be.
    pub dimensions_field: DimensionsField,
    /// The field that says what vectors are for; empty = there is none.
    pub purpose_field: String,
    /// Where models are listed.
    pub models_path: String,
    /// Whether `/responses/input_tokens` counts a question.
    pub counts_tokens: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            embeddings_base64: false,
            dimensions_field: DimensionsField::Dimensions,
            purpose_field: String::new(),
            models_path: "/models".to_owned(),
            counts_tokens: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DimensionsField {
    Dimensions,
    OutputDimension,
}

/// A handle to the endpoints.
#[derive(Clone)]
pub struct OpenAi {
    pub upstream: Upstream,
    pub quirks: Quirks,
}

impl OpenAi {
    /// What `/responses/input_tokens` counts, for the models of the chat as well.
    pub async fn count_tokens(
        &self,
        cx: &CallContext,
        call: &ChatCall,
        quirks: &openai_responses::Quirks,
    ) -> Result<i64> {
        #[derive(Deserialize)]
        struct Count {
            input_tokens: i64,
        }
        if !self.quirks.counts_tokens {
            return Err(uncounted(cx));
        }
        let body = openai_responses::count_body(quirks, cx, call)?;
        let reply = self.upstream.post(cx, "/responses/input_tokens", body).await?;
        let json = reply.body.read_all(COUNT_LIMIT).await?;
        let count = serde_json::from_slice::<Count>(&json);
        count.map(|count| count.input_tokens).map_err(|_| not_it(cx, &json))
    }
}

/// JSON under status 200 that has not what was asked for: a refusal in its place, or nothing.
fn not_it(cx: &CallContext, json: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Otherwise<'a> {
        #[serde(borrow, default)]
        error: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow, default)]
        detail: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow, default)]
        message: Option<&'a serde_json::value::RawValue>,
    }
    match serde_json::from_slice::<Otherwise<'_>>(json) {
        Ok(one) if failure::says_no(one.error, [one.detail, one.message], false) => {
            failure::of_event(cx, json)
        }
        Ok(_) => super::failure::no_answer(cx),
        Err(error) => super::failure::garbled(cx, &error),
    }
}
