//! The ledger: what was asked of providers, an attempt a row, and what can be asked of the rows.
//!
//! A row is written once, when its attempt has ended, and never changed; it goes when it is old.
//! Everything that is counted by time is counted at the end of the attempt, so a stretch of time
//! that is over does not change any more.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use mediary_domain::{PicoUsd, TokenUsage};

/// One try at one model with one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// Given by who appends, each higher than the one before.
    pub id: i64,
    /// Of the call that it belongs to.
    pub call: String,
    /// What sort of call that is, a word of the server's.
    pub kind: String,
    /// Its number within its call, from 1.
    pub index: i64,
    /// Whether no other was to follow when it ended.
    pub is_last: bool,
    pub owner: String,
    /// `apiKeys/{key}`. This and the names below: empty = there is none.
    pub api_key: String,
    pub capability: String,
    /// `routes/{task}`
    pub route: String,
    /// `presets/{preset}`
    pub preset: String,
    /// `providers/{provider}/models/{model}`
    pub model: String,
    /// `providers/{provider}`
    pub provider: String,
    /// `accounts/{account}`
    pub account: String,
    pub start: SystemTime,
    pub end: SystemTime,
    pub took: Duration,
    /// From the acceptance of its call to its own end.
    pub call_took: Duration,
    pub first_token: Option<Duration>,
    pub state: AttemptState,
    /// Set unless it succeeded.
    pub failure: Option<AttemptFailure>,
    /// The provider's own id of the request. Empty = none is known.
    pub upstream_request_id: String,
    pub usage: Option<TokenUsage>,
    pub cost: PicoUsd,
    pub labels: BTreeMap<String, String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptState {
    Succeeded,
    Failed,
    Cancelled,
}

impl AttemptState {
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Why an attempt did not succeed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptFailure {
    /// The gRPC code.
    pub code: i32,
    /// The contract's reason.
    pub reason: String,
    pub message: String,
    /// `None` = no answer came.
    pub http_status: Option<i32>,
    /// What the provider said. Empty = nothing that was understood.
    pub excerpt: String,
}

/// A field of the rows that can be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttemptField {
    Call,
    Kind,
    Owner,
    ApiKey,
    Capability,
    Route,
    Preset,
    Model,
    Provider,
    Account,
    /// Its word.
    State,
    Reason,
    HttpStatus,
    /// In microseconds, as [`crate::to_micros`] has them.
    Start,
    Cost,
    /// The label of that key; missing where there is none.
    Label(String),
}

/// Which rows are wanted. A test of a field that is missing does not hold, so its negation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    All(Vec<Wanted>),
    Any(Vec<Wanted>),
    Not(Box<Wanted>),
    Field(AttemptField, FieldTest),
}

impl Default for Wanted {
    /// Every row.
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

/// What the value of a field must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldTest {
    /// There is one, and it is no empty text.
    Set,
    Number(Compared, i64),
    /// By code points.
    Text(Compared, String),
    /// A text with this in it. No character has a special meaning.
    Fits {
        text: String,
        is_open_before: bool,
        is_open_after: bool,
        /// `text` is in lower case. Of letters beyond ASCII the case counts all the same.
        ignores_case: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A page of attempts.
#[derive(Clone, Debug, Default)]
pub struct AttemptsAsked {
    pub wanted: Wanted,
    /// The most important first; each field is a number ([`AttemptField::Start`],
    /// [`AttemptField::Cost`]), and whether it descends. Ids break ties.
    pub order: Vec<(AttemptField, bool)>,
    pub after: Option<AttemptCursor>,
    /// Most rows; 0 counts as 1.
    pub limit: u32,
}

/// Behind which row a page begins: its values in the fields of the order, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptCursor {
    pub values: Vec<i64>,
    pub id: i64,
}

/// What was used within a stretch of time.
#[derive(Clone, Debug)]
pub struct UsageAsked {
    pub from: SystemTime,
    pub until: SystemTime,
    /// Length of a bucket, in whole seconds; they begin at multiples of it since 1970. `None` =
    /// one for the whole time.
    pub bucket: Option<Duration>,
    pub group_by: Vec<AttemptField>,
    pub wanted: Wanted,
    /// Most sums.
    pub most: usize,
}

/// What a group used in a bucket. An attempt counts where it stands; a call counts once, with its
/// last attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageSum {
    /// Number of its bucket since 1970; 0 where there is one for the whole time.
    pub bucket: i64,
    /// In the order of `group_by`; empty = the rows have none.
    pub groups: Vec<String>,
    pub calls: i64,
    pub calls_succeeded: i64,
    pub attempts: i64,
    pub usage: Option<TokenUsage>,
    /// In 1e-12 USD. Wider than what one attempt can cost, so that it never overflows.
    pub cost: i128,
    /// Of calls that succeeded, from their acceptance.
    pub took: Took,
}

/// Times within which a part of the calls was done. `None` = there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    pub p50: Option<Duration>,
    pub p95: Option<Duration>,
    pub p99: Option<Duration>,
}

/// What was asked of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountTotals {
    /// `accounts/{account}`
    pub account: String,
    /// Attempts.
    pub requests: i64,
    pub successes: i64,
    /// In and out.
    pub tokens: i64,
    pub cost: PicoUsd,
}

/// How one attempt with an account ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountOutcome {
    pub account: String,
    pub model: String,
    pub end: SystemTime,
    pub took: Duration,
    pub state: AttemptState,
    /// Empty = it succeeded.
    pub reason: String,
}

/// Times sorted into bins, so that their order statistics need no sorting. What comes out is at
/// most 1/128 away from what went in; below 128 microseconds it is exact.
pub mod bins {
    use std::time::Duration;

    use super::Took;

    /// Bins of each power of two.
    const PARTS: u64 = 64;

    pub fn of(took: Duration) -> i64 {
        // Longer ones would be 290 years.
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX >> 1).min(u64::MAX >> 1);
        let shift = (micros | 1).ilog2().saturating_sub(PARTS.ilog2());
        (u64::from(shift) * PARTS + (micros >> shift)) as i64
    }

    /// The middle of a bin.
    pub fn middle(bin: i64) -> Duration {
        let bin = u64::try_from(bin).unwrap_or(0);
        let shift = (bin / PARTS).saturating_sub(1).min(57);
        let lower = (bin - shift * PARTS) << shift;
        Duration::from_micros(lower + ((1 << shift) >> 1))
    }

    /// Of bins in ascending order, with how many fell into each: by nearest rank.
    pub fn took(counted: &[(i64, i64)]) -> Took {
        let all: i64 = counted.iter().map(|(_, count)| count).sum();
        let within = |percent: i64| {
            let rank = (all.saturating_mul(percent) + 99) / 100;
            let mut seen = 0;
            let found = counted.iter().find(|(_, count)| {
                seen += count;
                seen >= rank
            });
            found.map(|(bin, _)| middle(*bin))
        };
        Took { p50: within(50), p95: within(95), p99: within(99) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_time_stays_within_its_bin_and_order_is_kept() {
            let mut before = -1;
            for micros in (0..3_000).chain((12..63).map(|bit| 1_u64 << bit)) {
                let took = Duration::from_micros(micros);
                let bin = of(took);
                if micros < 3_000 {
                    assert!(bin == before || bin == before + 1, "{micros}");
                    before = bin;
                }
                let off = middle(bin).as_micros().abs_diff(u128::from(micros));
                assert!(off * 128 <= u128::from(micros), "{micros} became {:?}", middle(bin));
            }
            assert!(of(Duration::MAX) > of(Duration::from_secs(86_400)));
        }

        #[test]
        fn the_rank_is_the_nearest() {
            let millis = |took: Option<Duration>| took.map(|took| took.as_micros());
            assert_eq!(took(&[]), Took::default());
            let one = took(&[(7, 1)]);
            assert_eq!([one.p50, one.p95, one.p99].map(millis), [Some(7); 3]);
            let hundred: Vec<(i64, i64)> = (1..=100).map(|bin| (bin, 1)).collect();
            let of_hundred = took(&hundred);
            assert_eq!(
                [of_hundred.p50, of_hundred.p95, of_hundred.p99].map(millis),
                [Some(50), Some(95), Some(99)]
            );
        }
    }
}
