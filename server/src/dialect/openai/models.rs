//! The list of models: `{data: [..]}`, a bare list, and whatever facts a vendor adds to an id.

use mediary_domain::{Capability, Inspection, LiveModel, PicoUsd, Price, PriceUnit, Result};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{OpenAi, not_it};
use crate::{dialect::listing::told, provider::CallContext};

/// Longest list that is read; OpenRouter's is below 1 MiB.
const LIST_LIMIT: usize = 16 << 20;

impl OpenAi {
    /// A free check of the key, and the models that it may use.
    pub async fn inspect(&self, cx: &CallContext) -> Result<Inspection> {
        let reply = self.upstream.get(cx, &self.quirks.models_path).await?;
        let json = reply.body.read_all(LIST_LIMIT).await?;
        let listed = match json.trim_ascii_start().first() {
            Some(b'[') => serde_json::from_slice(&json).ok(),
            _ => serde_json::from_slice::<List<'_>>(&json).ok().and_then(|list| list.data),
        };
        // A model that cannot be read does not hide the others.
        let models = listed.ok_or_else(|| not_it(cx, &json))?;
        let models = models.into_iter().filter_map(|one: &RawValue| {
            serde_json::from_str::<Listed>(one.get()).ok().map(Listed::into_model)
        });
        Ok(Inspection { models: models.collect() })
    }
}

// --- wire ---

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    data: Option<Vec<&'a RawValue>>,
}

/// Only `id` can be relied on; what is of another shape than expected is as if it were not there.
#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    display_name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    context_window: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    context_length: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    max_context_length: Option<i64>,
    /// vLLM.
    #[serde(default, deserialize_with = "lenient")]
    max_model_len: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    max_completion_tokens: Option<i64>,
    /// Together: `chat`, `embedding`, ...
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    kind: Option<String>,
    /// Mistral: a flag by ability.
    #[serde(default, deserialize_with = "lenient")]
    capabilities: Option<Flags>,
    /// OpenRouter.
    #[serde(default, deserialize_with = "lenient")]
    architecture: Option<Modalities>,
    #[serde(default, deserialize_with = "lenient")]
    input_modalities: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lenient")]
    output_modalities: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lenient")]
    supported_parameters: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lenient")]
    top_provider: Option<TopProvider>,
    #[serde(default, deserialize_with = "lenient")]
    pricing: Option<Pricing>,
    /// llama.cpp.
    #[serde(default, deserialize_with = "lenient")]
    meta: Option<Meta>,
}

fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    let json = <&RawValue>::deserialize(from)?;
    Ok(serde_json::from_str(json.get()).ok())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Flags {
    completion_chat: bool,
    function_calling: bool,
    vision: bool,
    reasoning: bool,
}

#[derive(Deserialize)]
struct Modalities {
    #[serde(default)]
    input_modalities: Vec<String>,
    #[serde(default)]
    output_modalities: Vec<String>,
}

#[derive(Deserialize)]
struct TopProvider {
    #[serde(default)]
    max_completion_tokens: Option<i64>,
}

/// OpenRouter: dollars a token, as text.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Pricing {
    prompt: Option<String>,
    completion: Option<String>,
    input_cache_read: Option<String>,
    input_cache_write: Option<String>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    n_ctx: Option<i64>,
    #[serde(default)]
    n_ctx_train: Option<i64>,
}

impl Listed {
    fn into_model(self) -> LiveModel {
        let capabilities = self.capabilities_told();
        let flags = self.capabilities.unwrap_or_default();
        let parameters = self.supported_parameters.unwrap_or_default();
        let takes = |name: &str| parameters.iter().any(|one| one == name);
        let features = told([
            ("tools", flags.function_calling || takes("tools")),
            ("vision", capabilities.contains(&Capability::ImageToText)),
            ("reasoning", flags.reasoning || takes("reasoning")),
            ("json-schema", takes("structured_outputs")),
            ("json-object", takes("response_format")),
            ("seed", takes("seed")),
        ]);
        let meta = self.meta.and_then(|meta| meta.n_ctx.or(meta.n_ctx_train));
        LiveModel {
            id: self.id,
            display_name: self.display_name.or(self.name).or(self.title).unwrap_or_default(),
            context_tokens: self
                .context_window
                .or(self.context_length)
                .or(self.max_context_length)
                .or(self.max_model_len)
                .or(meta),
            max_output_tokens: self
                .max_completion_tokens
                .or(self.top_provider.and_then(|one| one.max_completion_tokens)),
            capabilities,
            features,
            prices: self.pricing.unwrap_or_default().prices(),
        }
    }

    /// What the vendor's words say it does; empty where it says nothing that we know.
    fn capabilities_told(&self) -> Vec<Capability> {
        if let Some(flags) = &self.capabilities
            && flags.completion_chat
        {
            return text(flags.vision);
        }
        let (inputs, outputs) = match &self.architecture {
            Some(one) => (one.input_modalities.as_slice(), one.output_modalities.as_slice()),
            None => (
                self.input_modalities.as_deref().unwrap_or_default(),
                self.output_modalities.as_deref().unwrap_or_default(),
            ),
        };
        let has = |words: &[String], word: &str| words.iter().any(|one| one == word);
        let mut told = Vec::new();
        if has(outputs, "text") && has(inputs, "text") {
            told.extend(text(has(inputs, "image")));
        }
        if has(outputs, "embeddings") {
            told.push(Capability::TextEmbedding);
        }
        match self.kind.as_deref() {
            Some("chat" | "language" | "code") => told.push(Capability::TextToText),
            Some("embedding") => told.push(Capability::TextEmbedding),
            _ => {}
        }
        told
    }
}

fn text(with_images: bool) -> Vec<Capability> {
    told([(Capability::TextToText, true), (Capability::ImageToText, with_images)])
}

impl Pricing {
    fn prices(self) -> Vec<Price> {
        let units = [
            (PriceUnit::InputToken, self.prompt),
            (PriceUnit::OutputToken, self.completion),
            (PriceUnit::CachedInputToken, self.input_cache_read),
            (PriceUnit::CacheWriteToken, self.input_cache_write),
        ];
        // Dollars a token in pico-dollars are micro-dollars a million of them.
        let prices = units.into_iter().filter_map(|(unit, usd)| {
            let PicoUsd(micro_usd_per_million) = PicoUsd::from_usd(usd?.parse().ok()?)?;
            Some(Price { unit, micro_usd_per_million })
        });
        prices.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_a_token_become_prices_and_what_is_none_is_left_out() {
        let listed: Listed = serde_json::from_str(
            r#"{"id": "m", "pricing": {"prompt": "0.000003", "completion": "0.000015",
                "input_cache_read": "0.0000003", "input_cache_write": "free"}}"#,
        )
        .unwrap();
        let prices = listed.into_model().prices;
        let told: Vec<_> =
            prices.iter().map(|price| (price.unit.as_str(), price.micro_usd_per_million)).collect();
        assert_eq!(
            told,
            [
                ("input-token", 3_000_000),
                ("output-token", 15_000_000),
                ("cached-input-token", 300_000)
            ]
        );
    }
}
