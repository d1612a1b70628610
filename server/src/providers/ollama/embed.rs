//! `/api/embed`: several texts at once.

use mediary_domain::{EmbedOptions, Embedded, Result, TokenUsage};
use serde::{Deserialize, Serialize};

use super::of_line;
use crate::{
    dialect::{
        failure::{garbled, miscounted, no_answer},
        options::with_options_of,
    },
    provider::CallContext,
    transport::Reply,
};

/// Longest answer: 2,048 vectors of 4,096 numbers, written out.
const ANSWER_LIMIT: usize = 160 << 20;

pub fn body(cx: &CallContext, texts: &[String], options: &EmbedOptions) -> Result<Vec<u8>> {
    let body = Body {
        model: &cx.model.provider_model_id,
        input: texts,
        dimensions: options.dimensions,
        // A text that is too long is refused rather than cut without a word.
        truncate: false,
    };
    with_options_of(&body, &cx.provider.id, &options.provider_options)
}

pub async fn read(cx: &CallContext, reply: Reply, asked: usize) -> Result<Embedded> {
    let json = reply.body.read_all(ANSWER_LIMIT).await?;
    let answer: Answer = serde_json::from_slice(&json).map_err(|error| garbled(cx, &error))?;
    let vectors = match (answer.embeddings, answer.embedding) {
        (Some(vectors), _) => vectors,
        (None, Some(vector)) => vec![vector],
        (None, None) if answer.error.is_some() => return Err(of_line(cx, &json)),
        (None, None) => return Err(no_answer(cx)),
    };
    if vectors.len() != asked {
        return Err(miscounted(cx, vectors.len(), asked));
    }
    Ok(Embedded {
        vectors,
        model: answer.model.unwrap_or_default(),
        usage: answer.prompt_eval_count.map(|input| TokenUsage { input, ..TokenUsage::default() }),
    })
}

// --- wire ---

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
    truncate: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    embeddings: Option<Vec<Vec<f32>>>,
    /// What the older `/api/embeddings` answers, for its one text.
    #[serde(default)]
    embedding: Option<Vec<f32>>,
    #[serde(default)]
    prompt_eval_count: Option<i64>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}
