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

impl Billed {
    fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
        }
    }
}

impl TokenUsage {
    /// What is paid: what was counted, unless the provider says otherwise.
    fn paid(&self) -> Billed {
        self.billed.unwrap_or(Billed { input: self.input, output: self.output })
    }

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
            // What is charged for a part says nothing of the rest.
            cost: self.cost.zip(other.cost).map(|(one, other)| one + other),
            billed: match (self.billed, other.billed) {
                (None, None) => None,
                _ => Some(self.paid().plus(other.paid())),
            },
            source: if is_estimated { UsageSource::Estimated } else { UsageSource::Reported },
        }
    }
}
