//! `/v2/embed`: several texts at once, as floats.

use mediary_domain::{EmbedOptions, Embedded, Result, TokenUsage};
use serde::{Deserialize, Serialize};

use super::{failure::not_it, units::Units};
use crate::{
    dialect::{failure::miscounted, options::with_options_of},
    provider::CallContext,
    transport::Reply,
};

/// Longest answer: 96 vectors of 1,536 numbers, and the texts, which come back.
const ANSWER_LIMIT: usize = 32 << 20;

pub fn body(cx: &CallContext, texts: &[String], options: &EmbedOptions) -> Result<Vec<u8>> {
    let body = Body {
        model: &cx.model.provider_model_id,
        texts,
        input_type: input_type(&options.purpose),
        embedding_types: ["float"],
        output_dimension: options.dimensions,
        // A text that is too long is refused rather than cut without a word.
        truncate: "NONE",
    };
    with_options_of(&body, &cx.provider.id, &options.provider_options)
}

/// Cohere's word for a purpose of the contract; any other is Cohere's own already. There must be
/// one.
fn input_type(purpose: &str) -> &str {
    match purpose {
        "" | "document" => "search_document",
        "query" => "search_query",
        other => other,
    }
}

pub async fn read(cx: &CallContext, reply: Reply, asked: usize) -> Result<Embedded> {
    let json = reply.body.read_all(ANSWER_LIMIT).await?;
    let Ok(Answer { embeddings: Some(embeddings), meta }) = serde_json::from_slice(&json) else {
        return Err(not_it(cx, &json));
    };
    let (Vectors::ByType { float: vectors } | Vectors::Plain(vectors)) = embeddings;
    if vectors.len() != asked {
        return Err(miscounted(cx, vectors.len(), asked));
    }
    let billed = meta.and_then(|meta| meta.billed_units).and_then(|units| units.input());
    Ok(Embedded {
        vectors,
        model: String::new(),
        usage: billed.map(|input| TokenUsage { input, ..TokenUsage::default() }),
    })
}

// --- wire ---

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    texts: &'a [String],
    input_type: &'a str,
    embedding_types: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<u32>,
    truncate: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    embeddings: Option<Vectors>,
    #[serde(default)]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Vectors {
    ByType {
        float: Vec<Vec<f32>>,
    },
    /// What version 1 answers, and gateways that know no other.
    Plain(Vec<Vec<f32>>),
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    billed_units: Option<Units>,
}
