//! What an entry of the price map says of a model.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::decimal;

/// What the map calls a provider, and what it is here. All others go by one name.
const PROVIDERS: [(&str, &str); 7] = [
    ("azure_ai", "azure-inference"),
    ("cohere_chat", "cohere"),
    ("fireworks_ai", "fireworks"),
    ("nvidia_nim", "nvidia"),
    ("together_ai", "together"),
    ("fireworks_ai-embedding-models", "fireworks"),
    ("lm_studio", "lm-studio"),
];
/// Prices of a token, with the unit of ours.
const PRICES: [(&str, &str); 4] = [
    ("input_cost_per_token", "input-token"),
    ("output_cost_per_token", "output-token"),
    ("cache_read_input_token_cost", "cached-input-token"),
    ("cache_creation_input_token_cost", "cache-write-token"),
];
const FEATURES: [(&str, &str); 5] = [
    ("supports_function_calling", "tools"),
    ("supports_parallel_function_calling", "parallel-tools"),
    ("supports_response_schema", "json-schema"),
    ("supports_vision", "vision"),
    ("supports_reasoning", "reasoning"),
];

/// The fields of an entry, as they stand there.
type Fields = BTreeMap<String, Box<RawValue>>;

/// A model that can be told of here.
#[derive(Debug)]
pub(super) struct Entry {
    /// Id of the provider here.
    pub(super) provider: String,
    /// The provider's own id of the model.
    pub(super) id: String,
    pub(super) mode: Mode,
    /// Units with pico-USD for one.
    pub(super) prices: Vec<(&'static str, i64)>,
    pub(super) context_tokens: Option<i64>,
    pub(super) max_output_tokens: Option<i64>,
    /// What it says about features, either way.
    pub(super) features: Vec<(&'static str, bool)>,
    /// The price list that it was read from; empty = not told.
    pub(super) source: String,
    /// The day on which its provider ends it; empty = not told.
    pub(super) end: String,
    /// What of the entry is not taken, or not quite.
    pub(super) remarks: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Chat,
    Responses,
    Embedding,
}

/// The entries of a map, by key.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Box<RawValue>>, serde_json::Error> {
    serde_json::from_str(text)
}

/// What an entry says, or why that has no place here.
pub(super) fn describe(key: &str, json: &RawValue, known: &[String]) -> Result<Entry, String> {
    if key == "sample_spec" {
        return Err("explains the map".to_owned());
    }
    let fields: Fields =
        serde_json::from_str(json.get()).map_err(|_| "is no JSON object".to_owned())?;
    let theirs = text(&fields, "litellm_provider").ok_or("names no litellm_provider")?;
    let mode = match text(&fields, "mode").as_deref() {
        Some("chat") => Mode::Chat,
        Some("responses") => Mode::Responses,
        Some("embedding") => Mode::Embedding,
        Some(other) => return Err(format!("mode {other} is not imported")),
        None => return Err("names no mode".to_owned()),
    };
    let provider = provider(&theirs, known)
        .ok_or_else(|| format!("no provider here is what the map calls {theirs}"))?;
    let prefixed = key.split_once('/').filter(|(prefix, _)| *prefix == theirs);
    let id = prefixed.map_or(key, |(_, id)| id);
    if id.starts_with("ft:") {
        return Err("stands for all models that were fine-tuned from one".to_owned());
    }
    if theirs == "azure" && id.contains('/') {
        return Err("is the price of a region, and no deployment's name".to_owned());
    }
    let mut remarks = Vec::new();
    let prices = prices(&fields, mode, &mut remarks)?;
    let features = FEATURES
        .into_iter()
        .filter_map(|(theirs, ours)| Some((ours, fields.get(theirs)?.get().parse::<bool>().ok()?)));
    Ok(Entry {
        provider,
        id: id.to_owned(),
        mode,
        prices,
        context_tokens: tokens(&fields, "max_input_tokens", &mut remarks),
        max_output_tokens: match mode {
            Mode::Embedding => None,
            Mode::Chat | Mode::Responses => tokens(&fields, "max_output_tokens", &mut remarks),
        },
        features: features.filter(|_| mode != Mode::Embedding).collect(),
        source: text(&fields, "source").unwrap_or_default(),
        end: text(&fields, "deprecation_date").unwrap_or_default(),
        remarks,
    })
}

impl Entry {
    /// What makes two entries speak of the same model.
    pub(super) fn place(&self) -> (String, String) {
        (self.provider.clone(), self.id.clone())
    }

    /// Whether it says that the model has this.
    pub(super) fn has(&self, feature: &str) -> bool {
        self.features.contains(&(feature, true))
    }
}

/// The provider here that the map calls so.
fn provider(theirs: &str, known: &[String]) -> Option<String> {
    let renamed = PROVIDERS.iter().find(|(name, _)| *name == theirs).map(|(_, id)| *id);
    let id = renamed.map_or_else(|| theirs.replace('_', "-"), str::to_owned);
    known.contains(&id).then_some(id)
}

fn prices(
    fields: &Fields,
    mode: Mode,
    remarks: &mut Vec<String>,
) -> Result<Vec<(&'static str, i64)>, String> {
    let mut prices = Vec::new();
    for (field, unit) in PRICES {
        let Some(json) = fields.get(field).map(|json| json.get()).filter(|json| *json != "null")
        else {
            continue;
        };
        // Whoever embeds pays nothing for what comes out, and the map says so with a zero.
        if mode == Mode::Embedding && unit != "input-token" {
            continue;
        }
        let price = decimal::pico(json).map_err(|problem| format!("{field} {problem}"))?;
        if price.is_rounded {
            remarks.push(format!("{field} {json} is rounded to {}e-12", price.pico));
        }
        prices.push((unit, price.pico));
    }
    if !prices.iter().any(|(unit, _)| matches!(*unit, "input-token" | "output-token")) {
        return Err("names no price of a token".to_owned());
    }
    let is_tier = |field: &&String| field.contains("_token") && field.contains("_above_");
    if fields.keys().any(|field| is_tier(&field)) {
        remarks.push("other prices of long questions are not kept".to_owned());
    }
    Ok(prices)
}

/// A number of tokens, however it is written.
fn tokens(fields: &Fields, field: &str, remarks: &mut Vec<String>) -> Option<i64> {
    let json = fields.get(field)?.get();
    let written = json.trim_matches('"');
    if json == "null" {
        return None;
    }
    let whole = written.strip_suffix(".0").unwrap_or(written);
    let number = whole.parse().ok().filter(|number: &i64| *number > 0);
    if number.is_none() && whole != "0" {
        remarks.push(format!("{field} is no number of tokens"));
    }
    number
}

fn text(fields: &Fields, field: &str) -> Option<String> {
    serde_json::from_str(fields.get(field)?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, json: &str) -> Result<Entry, String> {
        let known = ["openai", "azure", "azure-inference", "gemini", "together", "sandbox"]
            .map(str::to_owned);
        describe(key, &RawValue::from_string(json.to_owned()).unwrap(), &known)
    }

    #[test]
    fn an_entry_is_read_with_its_exact_prices() {
        let entry = of(
            "gpt-4o",
            r#"{"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 128000,
                "max_output_tokens": "16384", "max_tokens": 16384, "input_cost_per_token": 2.5e-06,
                "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06,
                "cache_creation_input_token_cost": null, "supports_vision": true,
                "supports_function_calling": true, "supports_reasoning": false,
                "input_cost_per_token_above_200k_tokens": 5e-06, "source": "https://x.example",
                "supports_web_search": "maybe"}"#,
        );
        let entry = entry.unwrap();
        assert_eq!((entry.provider.as_str(), entry.id.as_str()), ("openai", "gpt-4o"));
        let prices = [
            ("input-token", 2_500_000),
            ("output-token", 10_000_000),
            ("cached-input-token", 1_250_000),
        ];
        assert_eq!(entry.prices, prices);
        assert_eq!((entry.context_tokens, entry.max_output_tokens), (Some(128_000), Some(16_384)));
        assert_eq!(entry.features, [("tools", true), ("vision", true), ("reasoning", false)]);
        assert_eq!(entry.source, "https://x.example");
        assert_eq!(entry.remarks, ["other prices of long questions are not kept"]);
    }

    #[test]
    fn the_prefix_of_the_map_is_no_part_of_an_id() {
        let chat = |key: &str, provider: &str| {
            let json = format!(
                r#"{{"litellm_provider": "{provider}", "mode": "chat", "input_cost_per_token": 1e-6}}"#
            );
            of(key, &json).map(|entry| (entry.provider, entry.id))
        };
        for (key, provider, ours, id) in [
            ("gemini/gemini-2.5-pro", "gemini", "gemini", "gemini-2.5-pro"),
            ("together_ai/meta-llama/L-3", "together_ai", "together", "meta-llama/L-3"),
            ("azure_ai/mistral-nemo", "azure_ai", "azure-inference", "mistral-nemo"),
            ("azure/gpt-4o", "azure", "azure", "gpt-4o"),
        ] {
            assert_eq!(chat(key, provider), Ok((ours.to_owned(), id.to_owned())), "{key}");
        }
        assert!(chat("azure/eu/gpt-4o", "azure").is_err_and(|why| why.contains("region")));
        assert!(chat("ft:gpt-4o", "openai").is_err_and(|why| why.contains("fine-tuned")));
        assert!(chat("x/y", "bedrock").is_err_and(|why| why.contains("bedrock")));
    }

    #[test]
    fn what_has_no_place_here_says_why() {
        let openai = r#""litellm_provider": "openai""#;
        for (key, json, why) in [
            ("sample_spec", "{}".to_owned(), "explains the map"),
            ("a", "[1]".to_owned(), "no JSON object"),
            ("a", "{}".to_owned(), "names no litellm_provider"),
            ("a", r#"{"litellm_provider": 7}"#.to_owned(), "names no litellm_provider"),
            ("a", format!("{{{openai}}}"), "names no mode"),
            ("a", format!(r#"{{{openai}, "mode": "image_generation"}}"#), "image_generation"),
            ("a", format!(r#"{{{openai}, "mode": "chat"}}"#), "no price of a token"),
            (
                "a",
                format!(r#"{{{openai}, "mode": "chat", "input_cost_per_token": "free"}}"#),
                "input_cost_per_token is no number",
            ),
            (
                "a",
                format!(r#"{{{openai}, "mode": "chat", "output_cost_per_token": -1e-6}}"#),
                "output_cost_per_token is negative",
            ),
        ] {
            let told = of(key, &json).unwrap_err();
            assert!(told.contains(why), "{json}: {told}");
        }
        assert!(read("[]").is_err() && read("{\"a\": ").is_err());
    }
}
