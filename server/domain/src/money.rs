//! Money in pico-dollars, and what tokens cost.
//!
//! A price of at most six decimals in USD per million tokens is a whole number of pico-USD per
//! token, so sums are exact and never rounded.

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceUnit {
    InputToken,
    CachedInputToken,
    CacheWriteToken,
    OutputToken,
}

impl PriceUnit {
    pub const ALL: [Self; 4] =
        [Self::InputToken, Self::CachedInputToken, Self::CacheWriteToken, Self::OutputToken];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::InputToken => "input-token",
            Self::CachedInputToken => "cached-input-token",
            Self::CacheWriteToken => "cache-write-token",
            Self::OutputToken => "output-token",
        }
    }

    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == id)
    }
}

/// One price row: micro-USD per million units, which is pico-USD per unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub unit: PriceUnit,
    pub micro_usd_per_million: i64,
}

/// What `usage` costs: what the provider says, else at `prices`, of what it says that it bills, else
/// of what was counted. A cached or cache-write token without a price of its own costs an input
/// token; a model without prices costs nothing.
pub fn cost_of_tokens(usage: &TokenUsage, prices: &[Price]) -> PicoUsd {
    if let Some(cost) = usage.cost {
        return cost;
    }
    let rate = |unit: PriceUnit| {
        prices.iter().find(|price| price.unit == unit).map(|price| price.micro_usd_per_million)
    };
    let input = rate(PriceUnit::InputToken).unwrap_or(0);
    let output = rate(PriceUnit::OutputToken).unwrap_or(0);
    if let Some(billed) = usage.billed {
        return PicoUsd(billed.input.saturating_mul(input))
            + PicoUsd(billed.output.saturating_mul(output));
    }
    let cached = usage.cached_input.unwrap_or(0);
    let written = usage.cache_write.unwrap_or(0);
    let plain = (usage.input - cached - written).max(0);
    let mut cost = PicoUsd::default();
    for (tokens, price) in [
        (plain, input),
        (cached, rate(PriceUnit::CachedInputToken).unwrap_or(input)),
        (written, rate(PriceUnit::CacheWriteToken).unwrap_or(input)),
        (usage.output, output),
    ] {
        cost += PicoUsd(tokens.saturating_mul(price));
    }
    cost
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
