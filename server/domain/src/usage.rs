//! What a call consumed.

/// Tokens of one call. `input` is the whole prompt, cached and cache-write parts included;
/// `output` is everything generated, reasoning included. `None` = the provider did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    pub input: i64,
    pub cached_input: Option<i64>,
    pub cache_write: Option<i64>,
    pub output: i64,
    pub reasoning: Option<i64>,
    pub source: UsageSource,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageSource {
    /// Counted by the provider.
    #[default]
    Reported,
    /// Counted by us because the provider sent no numbers.
    Estimated,
}

impl TokenUsage {
    /// Both together. Estimated as soon as one of them is.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        fn sum(one: Option<i64>, other: Option<i64>) -> Option<i64> {
            one.or(other).map(|_| one.unwrap_or(0).saturating_add(other.unwrap_or(0)))
        }
        let is_estimated = [self.source, other.source].contains(&UsageSource::Estimated);
        Self {
            input: self.input.saturating_add(other.input),
            cached_input: sum(self.cached_input, other.cached_input),
            cache_write: sum(self.cache_write, other.cache_write),
            output: self.output.saturating_add(other.output),
            reasoning: sum(self.reasoning, other.reasoning),
            source: if is_estimated { UsageSource::Estimated } else { UsageSource::Reported },
        }
    }
}
