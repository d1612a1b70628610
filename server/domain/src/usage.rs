//! What a call consumed.

use crate::money::PicoUsd;

/// Tokens of one call. `input` is the whole prompt, cached and cache-write parts included;
/// `output` is everything generated, reasoning included. `None` = the provider did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    pub input: i64,
    pub cached_input: Option<i64>,
    pub cache_write: Option<i64>,
    pub output: i64,
    pub reasoning: Option<i64>,
    /// What the provider says that it charges for the call.
    pub cost: Option<PicoUsd>,
    /// What is paid, where the provider says that it differs from what was counted.
    pub billed: Option<Billed>,
    pub source: UsageSource,
}

/// Tokens that are paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Billed {
    pub input: i64,
    pub output: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageSource {
    /// Counted by the provider.
    #[default]
    Reported,
    /// Counted by us because the provider sent no numbers.
    Estimated,
}
