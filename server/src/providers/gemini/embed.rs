//! `batchEmbedContents`: several texts at once. Google counts nothing there.

use mediary_domain::{EmbedOptions, Embedded, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{failure::not_it, model_path};
use crate::{
    dialect::{
        failure::miscounted,
        options::{with_options_of, written},
    },
    provider::CallContext,
    transport::Reply,
};

/// Longest answer: 100 vectors of 3,072 numbers, written out with white space.
const ANSWER_LIMIT: usize = 16 << 20;

/// A caller's options are laid over the question of each text.
pub fn body(cx: &CallContext, texts: &[String], options: &EmbedOptions) -> Result<Vec<u8>> {
    let model = model_path(cx);
    let requests = texts.iter().map(|text| {
        let one = One {
            model: &model,
            content: Content { parts: [Part { text }] },
            task_type: task_type(&options.purpose),
            output_dimensionality: options.dimensions,
        };
        let json = with_options_of(&one, &cx.provider.id, &options.provider_options)?;
        serde_json::from_slice(&json).map_err(|_| Error::bug("a body that we wrote is no JSON"))
    });
    let requests = requests.collect::<Result<Vec<Box<RawValue>>>>()?;
    written(&Body { requests })
}

/// Google's word for a purpose of the contract; any other is Google's own already.
fn task_type(purpose: &str) -> &str {
    match purpose {
        "query" => "RETRIEVAL_QUERY",
        "document" => "RETRIEVAL_DOCUMENT",
        "classification" => "CLASSIFICATION",
        "clustering" => "CLUSTERING",
        "similarity" => "SEMANTIC_SIMILARITY",
        other => other,
    }
}

pub async fn read(cx: &CallContext, reply: Reply, asked: usize) -> Result<Embedded> {
    let json = reply.body.read_all(ANSWER_LIMIT).await?;
    let Ok(Answer { embeddings: Some(embeddings) }) = serde_json::from_slice(&json) else {
        return Err(not_it(cx, &json));
    };
    if embeddings.len() != asked {
        return Err(miscounted(cx, embeddings.len(), asked));
    }
    let vectors = embeddings.into_iter().map(|one| one.values).collect();
    Ok(Embedded { vectors, ..Embedded::default() })
}

// --- wire ---

#[derive(Serialize)]
struct Body {
    requests: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    model: &'a str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    task_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u32>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    embeddings: Option<Vec<Vector>>,
}

#[derive(Deserialize)]
struct Vector {
    values: Vec<f32>,
}
