//! What an operator may make of a model.

use std::time::{Duration, SystemTime};

use mediary_domain::{Capability, MediaKind, Price, PriceScale, PriceUnit, Result};
use mediary_proto::v1::{self, Model, ModelLifecycle, price::Rate};

use crate::{
    registry::{DatedPrice, Lifecycle, ModelRow, ProviderRow},
    service::{decide::check_readable, names, problems::Problems},
};

/// Fields that a change never sets.
pub const NOT_SET: &[&str] =
    &["name", "availability", "statistics", "local", "origin", "update_time", "etag"];

const MOST_ITEMS: usize = 100;
const LONGEST_NAME: usize = 128;
const LONGEST_ID: usize = 256;
const LONGEST_TEXT: usize = 1_000;
/// The last moment whose year has four digits.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// The row that the contract's model describes. What the contract does not show stays as `before`.
pub fn parse(
    provider: &ProviderRow,
    id: &str,
    wire: &Model,
    before: Option<&ModelRow>,
) -> Result<ModelRow> {
    let mut problems = Problems::default();
    if wire.provider_model_id.is_empty() {
        problems.field("model.provider_model_id", "is required");
    }
    for (field, text, most) in [
        ("provider_model_id", &wire.provider_model_id, LONGEST_ID),
        ("display_name", &wire.display_name, LONGEST_NAME),
        ("description", &wire.description, LONGEST_TEXT),
        ("family", &wire.family, LONGEST_NAME),
    ] {
        check_readable(&format!("model.{field}"), text, most, &mut problems);
    }
    for (field, list) in [("aliases", &wire.aliases), ("features", &wire.features)] {
        short(field, list.len(), &mut problems);
        for (n, one) in list.iter().enumerate() {
            let field = format!("model.{field}[{n}]");
            if one.is_empty() {
                problems.field(field.clone(), "must not be empty");
            }
            check_readable(&field, one, LONGEST_ID, &mut problems);
        }
    }
    if wire.capabilities.is_empty() {
        problems.field("model.capabilities", "must name at least one");
    }
    let capabilities =
        words("capabilities", &wire.capabilities, Capability::from_id, &mut problems);
    let kind = |word: &str| {
        let all = Capability::ALL.iter().flat_map(|one| one.inputs().iter().chain(one.outputs()));
        all.copied().find(|kind: &MediaKind| kind.as_str() == word)
    };
    let mut input_kinds = words("input_kinds", &wire.input_kinds, kind, &mut problems);
    let mut output_kinds = words("output_kinds", &wire.output_kinds, kind, &mut problems);
    // What is not said follows from what it can do.
    for capability in &capabilities {
        if wire.input_kinds.is_empty() {
            add(&mut input_kinds, capability.inputs());
        }
        if wire.output_kinds.is_empty() {
            add(&mut output_kinds, capability.outputs());
        }
    }
    for (field, number) in
        [("context_tokens", wire.context_tokens), ("max_output_tokens", wire.max_output_tokens)]
    {
        if number.is_some_and(|number| number < 1) {
            problems.field(format!("model.{field}"), "must be at least 1");
        }
    }
    for (field, is_set) in [
        ("parameter_schema_json", !wire.parameter_schema_json.is_empty()),
        ("limits", wire.limits.is_some()),
    ] {
        if is_set {
            problems.field(format!("model.{field}"), "is not kept by this server: leave it unset");
        }
    }
    short("prices", wire.prices.len(), &mut problems);
    let prices = wire.prices.iter().enumerate();
    let prices = prices.filter_map(|(n, one)| price(n, one, &mut problems)).collect();
    let lifecycle = match wire.lifecycle() {
        ModelLifecycle::Unspecified | ModelLifecycle::Active => Lifecycle::Active,
        ModelLifecycle::Deprecated => Lifecycle::Deprecated,
        ModelLifecycle::Retired => Lifecycle::Retired,
    };
    let parent = format!("providers/{}/models/", provider.id);
    let replacement = wire.replacement.strip_prefix(&parent).unwrap_or_default();
    if !wire.replacement.is_empty() && (!names::is_id(replacement) || replacement == id) {
        let problem = format!("must be another model of the same provider, {parent}{{model}}");
        problems.field("model.replacement", problem);
    }
    let mut row = before.cloned().unwrap_or_else(|| ModelRow::undescribed(provider, id));
    // It follows its provider, where that changes.
    if row.dialect == provider.dialect {
        row.dialect.clear();
    }
    let row = ModelRow {
        provider_model_id: wire.provider_model_id.clone(),
        display_name: wire.display_name.clone(),
        description: wire.description.clone(),
        family: wire.family.clone(),
        aliases: wire.aliases.clone(),
        capabilities,
        input_kinds,
        output_kinds,
        context_tokens: wire.context_tokens,
        max_output_tokens: wire.max_output_tokens,
        features: wire.features.clone(),
        lifecycle,
        replacement: replacement.to_owned(),
        prices,
        enabled: wire.enabled.unwrap_or(true),
        described: true,
        ..row
    };
    problems.result(row)
}

/// An id out of the provider's own: `meta-llama/Llama-3.3-70B` -> `meta-llama-llama-3-3-70b`.
pub fn made_id(provider_model_id: &str) -> Option<String> {
    let mut id = String::new();
    for letter in provider_model_id.chars().map(|letter| letter.to_ascii_lowercase()) {
        if letter.is_ascii_lowercase() || (letter.is_ascii_digit() && !id.is_empty()) {
            id.push(letter);
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    let id = id.trim_end_matches('-');
    names::is_id(id).then(|| id.to_owned())
}

fn short(field: &str, length: usize, problems: &mut Problems) {
    if length > MOST_ITEMS {
        problems.field(format!("model.{field}"), format!("holds at most {MOST_ITEMS}"));
    }
}

fn words<T: PartialEq>(
    field: &str,
    words: &[String],
    known: impl Fn(&str) -> Option<T>,
    problems: &mut Problems,
) -> Vec<T> {
    let mut found = Vec::new();
    for (n, word) in words.iter().enumerate() {
        match known(word) {
            Some(one) if found.contains(&one) => {
                problems.field(format!("model.{field}[{n}]"), "stands twice");
            }
            Some(one) => found.push(one),
            None => problems.field(
                format!("model.{field}[{n}]"),
                "is not known; ListCapabilities tells which words are",
            ),
        }
    }
    found
}

fn add(kinds: &mut Vec<MediaKind>, more: &[MediaKind]) {
    for kind in more {
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
}

fn price(n: usize, wire: &v1::Price, problems: &mut Problems) -> Option<DatedPrice> {
    let mut wrong = |field: &str, problem: &str| {
        problems.field(format!("model.prices[{n}].{field}"), problem);
    };
    let unit = PriceUnit::from_id(&wire.unit);
    if unit.is_none() {
        let known: Vec<_> = PriceUnit::ALL.iter().map(|unit| unit.as_str()).collect();
        wrong("unit", &format!("must be one of {}", known.join(", ")));
    }
    let price = unit.and_then(|unit| {
        let (field, rate) = match (unit.scale(), wire.rate) {
            (PriceScale::PerMillion, Some(Rate::MicroUsdPerMillion(rate))) => {
                ("micro_usd_per_million", Some(rate))
            }
            (PriceScale::PerMillion, _) => ("micro_usd_per_million", None),
            (PriceScale::PerUnit, Some(Rate::MicroUsdPerUnit(rate))) => {
                ("micro_usd_per_unit", Some(rate))
            }
            (PriceScale::PerUnit, _) => ("micro_usd_per_unit", None),
        };
        let price = rate.and_then(|rate| Price::written(unit, rate));
        match (rate, &price) {
            (None, _) => wrong(field, &format!("is required for the unit {}", unit.as_str())),
            (Some(..0), _) => wrong(field, "must not be negative"),
            (Some(_), None) => wrong(field, "is too high for a price"),
            (Some(_), Some(_)) => {}
        }
        price
    });
    let effective = match wire.effective_time.map(SystemTime::try_from) {
        None => None,
        Some(Ok(time))
            if time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|at| at <= LAST) =>
        {
            Some(time)
        }
        Some(_) => {
            wrong("effective_time", "must lie between 1970 and 9999");
            None
        }
    };
    if wire.source.len() > LONGEST_TEXT || wire.source.chars().any(char::is_control) {
        wrong("source", "must be a text of at most 1000 bytes without control characters");
    }
    Some(DatedPrice { price: price?, effective, source: wire.source.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_from_the_providers_own() {
        for (own, id) in [
            ("meta-llama/Llama-3.3-70B", Some("meta-llama-llama-3-3-70b")),
            ("gpt-5.4 mini", Some("gpt-5-4-mini")),
            ("4o", Some("o")),
            ("claude:0-", Some("claude-0")),
            ("123", None),
            ("\u{e4}", None),
        ] {
            assert_eq!(made_id(own).as_deref(), id, "{own}");
        }
    }
}
