//! The numbers of an answer, under the names of either text wire, and what it costs where the
//! vendor says so.

use mediary_domain::{PicoUsd, TokenUsage};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub struct Usage {
    #[serde(default, alias = "input_tokens")]
    prompt_tokens: Option<i64>,
    #[serde(default, alias = "output_tokens")]
    completion_tokens: Option<i64>,
    #[serde(default)]
    total_tokens: Option<i64>,
    #[serde(default, alias = "input_tokens_details")]
    prompt_tokens_details: Option<InputDetails>,
    #[serde(default, alias = "output_tokens_details")]
    completion_tokens_details: Option<OutputDetails>,
    /// Together.
    #[serde(default)]
    cached_tokens: Option<i64>,
    /// DeepSeek.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<i64>,
    #[serde(default)]
    cost: Option<Cost>,
    /// xAI, in 1e-10 dollars.
    #[serde(default)]
    cost_in_usd_ticks: Option<i64>,
}

#[derive(Deserialize)]
struct InputDetails {
    #[serde(default)]
    cached_tokens: Option<i64>,
    #[serde(default)]
    cache_write_tokens: Option<i64>,
}

#[derive(Deserialize)]
struct OutputDetails {
    #[serde(default)]
    reasoning_tokens: Option<i64>,
}

impl Usage {
    pub fn total(self) -> TokenUsage {
        let input = self.prompt_tokens_details;
        let cached = input.as_ref().and_then(|details| details.cached_tokens);
        let reasoning = self.completion_tokens_details.and_then(|details| details.reasoning_tokens);
        let prompt = self.prompt_tokens.unwrap_or(0);
        let completion = self.completion_tokens.unwrap_or(0);
        // Some vendors (xAI) leave reasoning out of the completion; their total tells.
        let hidden = reasoning
            .filter(|tokens| self.total_tokens == Some(prompt + completion + tokens))
            .unwrap_or(0);
        let ticks = self.cost_in_usd_ticks.map(|ticks| PicoUsd(ticks.saturating_mul(100)));
        TokenUsage {
            input: prompt,
            cached_input: cached.or(self.prompt_cache_hit_tokens).or(self.cached_tokens),
            cache_write: input.and_then(|details| details.cache_write_tokens),
            output: completion + hidden,
            reasoning,
            cost: self.cost.and_then(Cost::usd).or(ticks),
            ..TokenUsage::default()
        }
    }
}

/// `cost`: a number of dollars (OpenRouter), or parts of it with their sum (Perplexity).
#[derive(Clone, Copy)]
struct Cost(Option<f64>);

impl Cost {
    fn usd(self) -> Option<PicoUsd> {
        self.0.and_then(PicoUsd::from_usd)
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Sum {
            total_cost: f64,
        }
        let json = <&RawValue>::deserialize(deserializer)?.get();
        let sum = || serde_json::from_str::<Sum>(json).map(|sum| sum.total_cost);
        Ok(Self(serde_json::from_str(json).or_else(|_| sum()).ok()))
    }
}
