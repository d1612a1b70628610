//! `/embeddings`: texts become vectors, as numbers or as base64 of little-endian floats.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use mediary_domain::{EmbedOptions, Embedded, Result};
use serde::{
    Deserialize, Serialize,
    de::{self, SeqAccess},
};
use serde_json::{Map, Value};

use super::{DimensionsField, OpenAi, not_it, usage::Usage};
use crate::{
    dialect::{failure::miscounted, options::with_options_of},
    provider::CallContext,
};

/// Longest answer: 2,048 vectors of 3,072 numbers, written out.
const ANSWER_LIMIT: usize = 160 << 20;

impl OpenAi {
    pub async fn embed(
        &self,
        cx: &CallContext,
        texts: &[String],
        options: &EmbedOptions,
    ) -> Result<Embedded> {
        let body = self.embed_body(cx, texts, options)?;
        let reply = self.upstream.post(cx, "/embeddings", body).await?;
        let json = reply.body.read_all(ANSWER_LIMIT).await?;
        read(cx, &json, texts.len())
    }

    fn embed_body(
        &self,
        cx: &CallContext,
        texts: &[String],
        options: &EmbedOptions,
    ) -> Result<Vec<u8>> {
        let by = self.quirks.dimensions_field;
        let mut purpose = Map::new();
        if !options.purpose.is_empty() && !self.quirks.purpose_field.is_empty() {
            let word = Value::String(options.purpose.clone());
            purpose.insert(self.quirks.purpose_field.clone(), word);
        }
        let body = Body {
            model: &cx.model.provider_model_id,
            input: texts,
            dimensions: options.dimensions.filter(|_| by == DimensionsField::Dimensions),
            output_dimension: options.dimensions.filter(|_| by == DimensionsField::OutputDimension),
            encoding_format: self.quirks.embeddings_base64.then_some("base64"),
            purpose,
        };
        with_options_of(&body, &cx.provider.id, &options.provider_options)
    }
}

fn read(cx: &CallContext, json: &[u8], asked: usize) -> Result<Embedded> {
    let Ok(Answer { data: Some(mut data), model, usage }) = serde_json::from_slice(json) else {
        return Err(not_it(cx, json));
    };
    if data.len() != asked {
        return Err(miscounted(cx, data.len(), asked));
    }
    // The order is that of the index, where there is one.
    data.sort_by_key(|one| one.index);
    Ok(Embedded {
        vectors: data.into_iter().map(|one| one.embedding.0).collect(),
        model: model.unwrap_or_default(),
        usage: usage.map(Usage::total),
    })
}

// --- wire ---

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(flatten)]
    purpose: Map<String, Value>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Option<Vec<Datum>>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Datum {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vector,
}

struct Vector(Vec<f32>);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Vector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of numbers, or base64 of floats")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vector, E> {
                let bytes = BASE64.decode(text).map_err(E::custom)?;
                let (floats, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(E::custom("half a float"));
                }
                Ok(Vector(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vector, A::Error> {
                let mut numbers = Vec::with_capacity(seq.size_hint().unwrap_or(1_024));
                while let Some(number) = seq.next_element()? {
                    numbers.push(number);
                }
                Ok(Vector(numbers))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
