//! The row of a model.

use std::time::SystemTime;

use mediary_domain::{Capability, MediaKind, Parameter, Price, PriceUnit};
use serde::Deserialize;

use super::ProviderRow;

/// A model as one provider serves it, as `catalog/models/<provider>.toml` describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRow {
    pub id: String,
    /// `providers/{provider}/models/{id}`; made when the row is read.
    #[serde(skip)]
    pub name: String,
    #[serde(skip)]
    pub provider: String,
    pub provider_model_id: String,
    /// The wire that it is asked with; empty in a row = its provider's.
    #[serde(default)]
    pub dialect: String,
    #[serde(default)]
    pub display_name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub family: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub capabilities: Vec<Capability>,
    pub input_kinds: Vec<MediaKind>,
    pub output_kinds: Vec<MediaKind>,
    #[serde(default)]
    pub context_tokens: Option<i64>,
    #[serde(default)]
    pub max_output_tokens: Option<i64>,
    /// Length of the vectors that it makes, where nothing else is asked for.
    #[serde(default)]
    pub dimensions: Option<u32>,
    /// Texts that one question may embed; `None` = as many as the contract allows.
    #[serde(default)]
    pub max_batch: Option<usize>,
    #[serde(default)]
    pub features: Vec<String>,
    /// Parameters that this model refuses although its provider takes them.
    #[serde(default)]
    pub refuses: Vec<Parameter>,
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Id of the model of the same provider that takes its place.
    #[serde(default)]
    pub replacement: String,
    /// Capabilities for which target `auto` may take it.
    #[serde(default)]
    pub default_for: Vec<Capability>,
    #[serde(default)]
    pub prices: Vec<DatedPrice>,
    /// Whether anybody wrote down what it can do; otherwise its provider decides.
    #[serde(skip, default = "described")]
    pub described: bool,
}

fn described() -> bool {
    true
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    #[default]
    Active,
    Deprecated,
    Retired,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "PriceRow")]
pub struct DatedPrice {
    pub price: Price,
    /// From when it holds; `None` = always.
    pub effective: Option<SystemTime>,
    pub source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceRow {
    unit: String,
    micro_usd_per_million: i64,
    #[serde(default)]
    effective: String,
    #[serde(default)]
    source: String,
}

impl TryFrom<PriceRow> for DatedPrice {
    type Error = String;

    fn try_from(row: PriceRow) -> Result<Self, String> {
        let unit = PriceUnit::from_id(&row.unit)
            .ok_or_else(|| format!("price unit {:?} is not known", row.unit))?;
        if row.micro_usd_per_million < 0 {
            return Err("a price cannot be negative".to_owned());
        }
        let effective = match row.effective.as_str() {
            "" => None,
            date => Some(
                humantime::parse_rfc3339_weak(&format!("{date}T00:00:00Z"))
                    .map_err(|_| format!("effective {date:?} is not a date such as 2026-01-31"))?,
            ),
        };
        Ok(Self {
            price: Price { unit, micro_usd_per_million: row.micro_usd_per_million },
            effective,
            source: row.source,
        })
    }
}

impl ModelRow {
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|one| one == feature)
    }

    /// Whether its answers come in pieces; otherwise the whole answer is asked for at once.
    pub fn streams(&self) -> bool {
        self.has("streaming")
    }

    /// The prices in effect at `now`: of each unit the latest that has begun.
    pub fn prices_at(&self, now: SystemTime) -> Vec<Price> {
        let mut current: Vec<&DatedPrice> = Vec::new();
        for price in self.prices.iter().filter(|one| one.effective.is_none_or(|from| from <= now)) {
            match current.iter_mut().find(|one| one.price.unit == price.price.unit) {
                Some(known) if known.effective <= price.effective => *known = price,
                Some(_) => {}
                None => current.push(price),
            }
        }
        current.into_iter().map(|one| one.price.clone()).collect()
    }

    /// The row of a model that nobody has described, at a provider that takes any name.
    pub fn undescribed(provider: &ProviderRow, id: &str) -> Self {
        let dialect = provider.dialect.clone();
        let provider = provider.id.as_str();
        Self {
            id: id.to_owned(),
            name: format!("providers/{provider}/models/{id}"),
            provider: provider.to_owned(),
            provider_model_id: id.to_owned(),
            dialect,
            display_name: id.to_owned(),
            description: String::new(),
            family: String::new(),
            aliases: Vec::new(),
            capabilities: vec![
                Capability::TextToText,
                Capability::ImageToText,
                Capability::TextEmbedding,
            ],
            input_kinds: vec![MediaKind::Text, MediaKind::Image],
            output_kinds: vec![MediaKind::Text, MediaKind::Vector],
            context_tokens: None,
            max_output_tokens: None,
            dimensions: None,
            max_batch: None,
            features: vec!["streaming".to_owned()],
            refuses: Vec::new(),
            lifecycle: Lifecycle::Active,
            replacement: String::new(),
            default_for: Vec::new(),
            prices: Vec::new(),
            described: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_latest_price_that_has_begun_counts() {
        let row: ModelRow = toml::from_str(
            r#"
            id = "m"
            provider_model_id = "m"
            capabilities = ["text-to-text"]
            input_kinds = ["text"]
            output_kinds = ["text"]
            prices = [
              { unit = "input-token", micro_usd_per_million = 3, effective = "1970-01-03" },
              { unit = "input-token", micro_usd_per_million = 1 },
              { unit = "input-token", micro_usd_per_million = 2, effective = "1970-01-02" },
            ]"#,
        )
        .unwrap();
        let at = |days: u64| {
            row.prices_at(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400))[0]
                .micro_usd_per_million
        };
        assert_eq!([at(0), at(1), at(2), at(900)], [1, 2, 3, 3]);
    }
}
