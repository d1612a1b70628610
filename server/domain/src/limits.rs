//! What a provider says of the limits of an account.

use std::time::Duration;

/// What is left of an account's limits, as told with an answer. `None` = the provider did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimitReport {
    pub requests_remaining: Option<i64>,
    /// Until all requests are there again.
    pub requests_reset: Option<Duration>,
    pub tokens_remaining: Option<i64>,
    /// Until all tokens are there again.
    pub tokens_reset: Option<Duration>,
}

impl RateLimitReport {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As facts of a failure.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (&'static str, String)> {
        let count = |key, count: Option<i64>| Some((key, count?.to_string()));
        let wait = |key, wait: Option<Duration>| Some((key, format!("{}ms", wait?.as_millis())));
        [
            count("requestsRemaining", self.requests_remaining),
            wait("requestsReset", self.requests_reset),
            count("tokensRemaining", self.tokens_remaining),
            wait("tokensReset", self.tokens_reset),
        ]
        .into_iter()
        .flatten()
    }
}
