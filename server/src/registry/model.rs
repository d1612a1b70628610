//! The row of a model.

use std::time::SystemTime;

use mediary_domain::{Capability, MediaKind, Parameter, Price, PriceScale, PriceUnit};
use mediary_store::Stamp;
use serde::{Deserialize, Serialize};

use super::{Origin, ProviderRow};

/// The feature of a model whose answers come in pieces.
pub const STREAMING: &str = "streaming";

/// A model as one provider serves it, as `catalog/models/<provider>.toml` describes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dialect: String,
    #[serde(default)]
    pub display_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub family: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    pub capabilities: Vec<Capability>,
    pub input_kinds: Vec<MediaKind>,
    pub output_kinds: Vec<MediaKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<i64>,
    /// Length of the vectors that it makes, where nothing else is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
    /// Texts that one question may embed; `None` = as many as the contract allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Parameters that this model refuses although its provider takes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refuses: Vec<Parameter>,
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Id of the model of the same provider that takes its place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub replacement: String,
    /// Capabilities for which target `auto` may take it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_for: Vec<Capability>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<DatedPrice>,
    /// Whether it may be chosen.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether anybody wrote down what it can do; otherwise its provider decides.
    #[serde(skip, default = "yes")]
    pub described: bool,
    #[serde(skip)]
    pub origin: Origin,
    /// Set where the store has a row of it.
    #[serde(skip)]
    pub stamp: Option<Stamp>,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    #[default]
    Active,
    Deprecated,
    Retired,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "PriceRow", into = "PriceRow")]
pub struct DatedPrice {
    pub price: Price,
    /// From when it holds; `None` = always.
    pub effective: Option<SystemTime>,
    pub source: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PriceRow {
    unit: String,
    /// Of tokens and characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    micro_usd_per_million: Option<i64>,
    /// Of everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    micro_usd_per_unit: Option<i64>,
    /// A day, or a moment of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    effective: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    source: String,
}

impl TryFrom<PriceRow> for DatedPrice {
    type Error = String;

    fn try_from(row: PriceRow) -> Result<Self, String> {
        let unit = PriceUnit::from_id(&row.unit)
            .ok_or_else(|| format!("price unit {:?} is not known", row.unit))?;
        let rate = match (unit.scale(), row.micro_usd_per_million, row.micro_usd_per_unit) {
            (PriceScale::PerMillion, Some(rate), None)
            | (PriceScale::PerUnit, None, Some(rate)) => rate,
            (PriceScale::PerMillion, ..) => {
                return Err(format!("the price of {} is micro_usd_per_million", row.unit));
            }
            (PriceScale::PerUnit, ..) => {
                return Err(format!("the price of {} is micro_usd_per_unit", row.unit));
            }
        };
        let price = Price::written(unit, rate).ok_or_else(|| match rate {
            ..0 => "a price cannot be negative".to_owned(),
            _ => format!("{rate} is too high for a price"),
        })?;
        let effective = match row.effective.as_str() {
            "" => None,
            date => Some(
                humantime::parse_rfc3339(date)
                    .or_else(|_| humantime::parse_rfc3339_weak(&format!("{date}T00:00:00Z")))
                    .map_err(|_| format!("effective {date:?} is not a date such as 2026-01-31"))?,
            ),
        };
        Ok(Self { price, effective, source: row.source })
    }
}

impl From<DatedPrice> for PriceRow {
    fn from(dated: DatedPrice) -> Self {
        let effective = dated.effective.map(|from| humantime::format_rfc3339(from).to_string());
        let rate = Some(dated.price.micro_usd());
        let (micro_usd_per_million, micro_usd_per_unit) = match dated.price.unit.scale() {
            PriceScale::PerMillion => (rate, None),
            PriceScale::PerUnit => (None, rate),
        };
        Self {
            unit: dated.price.unit.as_str().to_owned(),
            micro_usd_per_million,
            micro_usd_per_unit,
            effective: effective.unwrap_or_default(),
            source: dated.source,
        }
    }
}

impl ModelRow {
    /// Fills in what a row leaves to its place.
    pub fn placed(mut self, provider: &ProviderRow) -> Self {
        self.provider.clone_from(&provider.id);
        self.name = format!("providers/{}/models/{}", provider.id, self.id);
        if self.dialect.is_empty() {
            self.dialect.clone_from(&provider.dialect);
        }
        if self.display_name.is_empty() {
            self.display_name.clone_from(&self.id);
        }
        self
    }

    /// Whether target `auto` may take it for that.
    pub fn is_default_for(&self, capability: Capability) -> bool {
        self.enabled
            && self.lifecycle == Lifecycle::Active
            && self.default_for.contains(&capability)
    }

    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|one| one == feature)
    }

    /// Whether its answers come in pieces; otherwise the whole answer is asked for at once.
    pub fn streams(&self) -> bool {
        self.has(STREAMING)
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
            features: vec![STREAMING.to_owned()],
            refuses: Vec::new(),
            lifecycle: Lifecycle::Active,
            replacement: String::new(),
            default_for: Vec::new(),
            prices: Vec::new(),
            enabled: true,
            described: false,
            origin: Origin::Config,
            stamp: None,
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

    #[test]
    fn a_row_is_the_same_after_it_was_kept() {
        let row: ModelRow = toml::from_str(
            r#"
            id = "m"
            provider_model_id = "M/1"
            capabilities = ["text-to-text"]
            input_kinds = ["text"]
            output_kinds = ["text"]
            refuses = ["top_k"]
            lifecycle = "deprecated"
            prices = [
              { unit = "input-token", micro_usd_per_million = 3, effective = "2026-01-03" },
              { unit = "output-token", micro_usd_per_million = 1, source = "s" },
            ]"#,
        )
        .unwrap();
        let json = serde_json::to_string(&row).unwrap();
        let back: ModelRow = serde_json::from_str(&json).unwrap();
        assert_eq!(format!("{back:?}"), format!("{row:?}"), "{json}");
    }
}
