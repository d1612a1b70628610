//! Money in pico-dollars, and what tokens cost.
//!
//! Every price is a whole number of pico-USD per unit (six decimals in USD per million tokens are
//! one), so sums are exact and never rounded.

use std::ops::{Add, AddAssign};

use crate::usage::TokenUsage;

/// 1e-12 US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PicoUsd(pub i64);

impl PicoUsd {
    /// An amount that a provider reports as a JSON number of dollars.
    pub fn from_usd(usd: f64) -> Option<Self> {
        let pico = (usd * 1e12).round();
        // A float that is too large saturates when it is cast.
        (pico.is_finite() && pico >= 0.0).then_some(Self(pico as i64))
    }
}

impl Add for PicoUsd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for PicoUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What a price is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceUnit {
    InputToken,
    CachedInputToken,
    CacheWriteToken,
    OutputToken,
    /// The part of the output that was thought and not said.
    ReasoningToken,
    Image,
    Megapixel,
    Second,
    Character,
    Page,
    /// A call, whatever it is for.
    Request,
}

/// In which unit a price is written down: both are a whole number of pico-USD per unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceScale {
    /// Micro-USD per million units.
    PerMillion,
    /// Micro-USD per unit.
    PerUnit,
}

/// Pico-USD of a micro-USD.
const PICO_PER_MICRO: i64 = 1_000_000;

impl PriceUnit {
    pub const ALL: [Self; 11] = [
        Self::InputToken,
        Self::CachedInputToken,
        Self::CacheWriteToken,
        Self::OutputToken,
        Self::ReasoningToken,
        Self::Image,
        Self::Megapixel,
        Self::Second,
        Self::Character,
        Self::Page,
        Self::Request,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::InputToken => "input-token",
            Self::CachedInputToken => "cached-input-token",
            Self::CacheWriteToken => "cache-write-token",
            Self::OutputToken => "output-token",
            Self::ReasoningToken => "reasoning-token",
            Self::Image => "image",
            Self::Megapixel => "megapixel",
            Self::Second => "second",
            Self::Character => "character",
            Self::Page => "page",
            Self::Request => "request",
        }
    }

    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == id)
    }

    pub fn scale(self) -> PriceScale {
        match self {
            Self::InputToken
            | Self::CachedInputToken
            | Self::CacheWriteToken
            | Self::OutputToken
            | Self::ReasoningToken
            | Self::Character => PriceScale::PerMillion,
            Self::Image | Self::Megapixel | Self::Second | Self::Page | Self::Request => {
                PriceScale::PerUnit
            }
        }
    }
}

/// One price row: micro-USD per million units, which is pico-USD per unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub unit: PriceUnit,
    pub micro_usd_per_million: i64,
}

impl Price {
    /// A price as it is written for its unit. `None` = it is negative, or too high to be one.
    pub fn written(unit: PriceUnit, micro_usd: i64) -> Option<Self> {
        let micro_usd_per_million = match unit.scale() {
            PriceScale::PerMillion => micro_usd,
            PriceScale::PerUnit => micro_usd.checked_mul(PICO_PER_MICRO)?,
        };
        (micro_usd >= 0).then_some(Self { unit, micro_usd_per_million })
    }

    /// The number that is written for its unit.
    pub fn micro_usd(&self) -> i64 {
        match self.unit.scale() {
            PriceScale::PerMillion => self.micro_usd_per_million,
            PriceScale::PerUnit => self.micro_usd_per_million / PICO_PER_MICRO,
        }
    }
}

fn rate(unit: PriceUnit, prices: &[Price]) -> Option<i64> {
    prices.iter().find(|price| price.unit == unit).map(|price| price.micro_usd_per_million)
}

/// What `usage` costs: what the provider says, else at `prices`, of what it says that it bills, else
/// of what was counted. A cached or cache-write token without a price of its own costs an input
/// token, a reasoning token an output token; a model without prices costs nothing. A price for a
/// request is added once.
pub fn cost_of_tokens(usage: &TokenUsage, prices: &[Price]) -> PicoUsd {
    if let Some(cost) = usage.cost {
        return cost;
    }
    let rate = |unit: PriceUnit| rate(unit, prices);
    let input = rate(PriceUnit::InputToken).unwrap_or(0);
    let output = rate(PriceUnit::OutputToken).unwrap_or(0);
    let mut cost = PicoUsd(rate(PriceUnit::Request).unwrap_or(0));
    if let Some(billed) = usage.billed {
        return cost
            + PicoUsd(billed.input.saturating_mul(input))
            + PicoUsd(billed.output.saturating_mul(output));
    }
    let cached = usage.cached_input.unwrap_or(0);
    let written = usage.cache_write.unwrap_or(0);
    let plain = usage.input.saturating_sub(cached).saturating_sub(written).max(0);
    let thought = usage.reasoning.unwrap_or(0).clamp(0, usage.output.max(0));
    for (tokens, price) in [
        (plain, input),
        (cached, rate(PriceUnit::CachedInputToken).unwrap_or(input)),
        (written, rate(PriceUnit::CacheWriteToken).unwrap_or(input)),
        (usage.output.saturating_sub(thought), output),
        (thought, rate(PriceUnit::ReasoningToken).unwrap_or(output)),
    ] {
        cost += PicoUsd(tokens.saturating_mul(price));
    }
    cost
}

/// What so much of a unit costs, in millionths of it: half a second is 500,000. What is less than a
/// pico-USD is rounded to the nearest, a half up. `None` = it has no price.
pub fn cost_of(unit: PriceUnit, millionths: i64, prices: &[Price]) -> Option<PicoUsd> {
    const WHOLE: i128 = 1_000_000;
    let rate = rate(unit, prices)?;
    let exact = i128::from(millionths.max(0)) * i128::from(rate);
    Some(PicoUsd(i64::try_from((exact + WHOLE / 2) / WHOLE).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_and_written_tokens_are_priced_apart_and_never_twice() {
        let prices = [
            (PriceUnit::InputToken, 3_000_000),
            (PriceUnit::CachedInputToken, 300_000),
            (PriceUnit::CacheWriteToken, 3_750_000),
            (PriceUnit::OutputToken, 15_000_000),
        ]
        .map(|(unit, micro_usd_per_million)| Price { unit, micro_usd_per_million });
        let usage = TokenUsage {
            input: 1_000,
            cached_input: Some(600),
            cache_write: Some(100),
            output: 10,
            ..TokenUsage::default()
        };
        assert_eq!(
            cost_of_tokens(&usage, &prices),
            PicoUsd(300 * 3_000_000 + 600 * 300_000 + 100 * 3_750_000 + 10 * 15_000_000)
        );
        assert_eq!(cost_of_tokens(&usage, &[]), PicoUsd(0));
        let billed = Some(crate::Billed { input: 7, output: 3 });
        assert_eq!(
            cost_of_tokens(&TokenUsage { billed, ..usage }, &prices),
            PicoUsd(7 * 3_000_000 + 3 * 15_000_000)
        );
    }

    #[test]
    fn thoughts_and_calls_are_priced_where_a_row_has_a_price() {
        let price = |unit, micro_usd| Price::written(unit, micro_usd).expect("a price");
        let tokens =
            [price(PriceUnit::InputToken, 1_000_000), price(PriceUnit::OutputToken, 2_000_000)];
        let usage =
            TokenUsage { input: 10, output: 5, reasoning: Some(3), ..TokenUsage::default() };
        assert_eq!(cost_of_tokens(&usage, &tokens), PicoUsd(10 * 1_000_000 + 5 * 2_000_000));
        let [input, output] = tokens;
        let all = [
            input,
            output,
            price(PriceUnit::ReasoningToken, 7_000_000),
            // A cent for each call.
            price(PriceUnit::Request, 10_000),
        ];
        assert_eq!(
            cost_of_tokens(&usage, &all),
            PicoUsd(10_000_000_000 + 10 * 1_000_000 + 2 * 2_000_000 + 3 * 7_000_000)
        );
        // More thought than written is somebody's mistake, and is not paid twice.
        let odd = TokenUsage { reasoning: Some(9), ..usage };
        assert_eq!(
            cost_of_tokens(&odd, &all),
            PicoUsd(10_000_000_000 + 10 * 1_000_000 + 5 * 7_000_000)
        );
    }

    #[test]
    fn parts_of_a_unit_are_exact_to_the_pico_dollar() {
        let prices = [
            Price::written(PriceUnit::Second, 35_001).expect("a price"),
            Price::written(PriceUnit::Character, 15).expect("a price"),
        ];
        let cost = |unit, millionths| cost_of(unit, millionths, &prices);
        assert_eq!(cost(PriceUnit::Second, 1_000_000), Some(PicoUsd(35_001_000_000)));
        assert_eq!(cost(PriceUnit::Second, 8_500_000), Some(PicoUsd(297_508_500_000)));
        assert_eq!(cost(PriceUnit::Second, 1), Some(PicoUsd(35_001)));
        assert_eq!(cost(PriceUnit::Character, 4_000_000), Some(PicoUsd(60)));
        assert_eq!(cost(PriceUnit::Character, 33_333), Some(PicoUsd(0)));
        assert_eq!(cost(PriceUnit::Character, 33_334), Some(PicoUsd(1)));
        assert_eq!(cost(PriceUnit::Image, 1_000_000), None);
        assert_eq!(cost(PriceUnit::Second, i64::MAX), Some(PicoUsd(i64::MAX)));
    }

    #[test]
    fn a_price_is_written_per_unit_or_per_million_as_its_unit_has_it() {
        for unit in PriceUnit::ALL {
            assert_eq!(PriceUnit::from_id(unit.as_str()), Some(unit));
            let price = Price::written(unit, 40_000).expect("a price");
            assert_eq!(price.micro_usd(), 40_000);
            assert_eq!(Price::written(unit, -1), None);
        }
        assert_eq!(Price::written(PriceUnit::Image, i64::MAX), None);
        let image = Price::written(PriceUnit::Image, 40_000).expect("a price");
        // Four cents.
        assert_eq!(cost_of(PriceUnit::Image, 1_000_000, &[image]), PicoUsd::from_usd(0.04));
    }

    #[test]
    fn what_the_provider_charges_counts_more_than_any_price() {
        let usage =
            TokenUsage { input: 9, cost: PicoUsd::from_usd(0.000_011_3), ..TokenUsage::default() };
        let prices = [Price { unit: PriceUnit::InputToken, micro_usd_per_million: 1 }];
        assert_eq!(cost_of_tokens(&usage, &prices), PicoUsd(11_300_000));
        for nonsense in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(PicoUsd::from_usd(nonsense), None);
        }
    }
}
