//! What a provider's headers say of the limits of an account.
//!
//! Owns: the names, which are data of a provider's row, and the forms of their values, which can be
//! told apart by their look. Leaves: what follows from a report (`routing`).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName};
use mediary_domain::RateLimitReport;
use serde::{Deserialize, Serialize};

use super::retry_after::leading_duration;

/// A number from here on is a moment and no wait: seconds since 1970, or milliseconds.
const UNIX_SECONDS: f64 = 1e9;
const UNIX_MILLISECONDS: f64 = 1e11;

/// The headers of a provider, the first that is there counts; the `[rate_limits]` table of its row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitHeaders {
    pub requests: Vec<Pair>,
    pub tokens: Vec<Pair>,
}

/// Two headers: what is left, and when it is whole again. Written with `*` where the one says
/// `remaining` and the other `reset`, such as `x-ratelimit-*-requests`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pair {
    pattern: String,
    remaining: HeaderName,
    reset: HeaderName,
}

impl Default for RateLimitHeaders {
    /// Those of OpenAI and of Anthropic, and of all who speak like them.
    fn default() -> Self {
        let pairs = |patterns: &[&str]| {
            let pairs = patterns.iter().map(|&one| Pair::try_from(one.to_owned()));
            pairs.filter_map(Result::ok).collect()
        };
        Self {
            requests: pairs(&["x-ratelimit-*-requests", "anthropic-ratelimit-requests-*"]),
            tokens: pairs(&[
                "x-ratelimit-*-tokens",
                "anthropic-ratelimit-tokens-*",
                "anthropic-ratelimit-input-tokens-*",
            ]),
        }
    }
}

impl TryFrom<String> for Pair {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        let name = |word: &str| {
            let name = pattern.replacen('*', word, 1);
            HeaderName::try_from(name).map_err(|_| format!("{pattern:?} is no name of a header"))
        };
        if !pattern.contains('*') {
            let problem = "needs a * where the headers say \"remaining\" and \"reset\"";
            return Err(format!("{pattern:?} {problem}"));
        }
        Ok(Self { remaining: name("remaining")?, reset: name("reset")?, pattern })
    }
}

impl From<Pair> for String {
    fn from(pair: Pair) -> Self {
        pair.pattern
    }
}

impl RateLimitHeaders {
    /// What the headers tell at `now`, if they tell anything.
    pub fn report(&self, headers: &HeaderMap, now: SystemTime) -> Option<RateLimitReport> {
        let (requests_remaining, requests_reset) = read(&self.requests, headers, now);
        let (tokens_remaining, tokens_reset) = read(&self.tokens, headers, now);
        let report =
            RateLimitReport { requests_remaining, requests_reset, tokens_remaining, tokens_reset };
        (!report.is_empty()).then_some(report)
    }
}

fn read(pairs: &[Pair], headers: &HeaderMap, now: SystemTime) -> (Option<i64>, Option<Duration>) {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let first = pairs.iter().find_map(|pair| {
        let left = text(&pair.remaining).and_then(|text| text.parse().ok());
        let left = left.filter(|left| *left >= 0);
        let reset = text(&pair.reset).and_then(|text| wait(text, now));
        (left.is_some() || reset.is_some()).then_some((left, reset))
    });
    first.unwrap_or_default()
}

/// The wait that a value means: `6m0s`, `120ms`, `7` (seconds), a moment of RFC 3339 or since
/// 1970. What has passed is no wait.
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let since = |moment: SystemTime| moment.duration_since(now).unwrap_or_default();
    if let Ok(number) = text.parse::<f64>() {
        let (seconds, is_moment) = match number {
            ms if ms >= UNIX_MILLISECONDS => (ms / 1_000.0, true),
            seconds => (seconds, seconds >= UNIX_SECONDS),
        };
        let told = Duration::try_from_secs_f64(seconds).ok()?;
        return if is_moment {
            SystemTime::UNIX_EPOCH.checked_add(told).map(since)
        } else {
            Some(told)
        };
    }
    match leading_duration(text) {
        Some((wait, "")) => Some(wait),
        _ => humantime::parse_rfc3339(text).ok().map(since),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &RateLimitHeaders, pairs: &[(&str, &str)], now: &str) -> RateLimitReport {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap()));
        let now = humantime::parse_rfc3339(now).unwrap();
        names.report(&headers.collect(), now).unwrap_or_default()
    }

    fn of(
        requests: (Option<i64>, Option<u64>),
        tokens: (Option<i64>, Option<u64>),
    ) -> RateLimitReport {
        RateLimitReport {
            requests_remaining: requests.0,
            requests_reset: requests.1.map(Duration::from_millis),
            tokens_remaining: tokens.0,
            tokens_reset: tokens.1.map(Duration::from_millis),
        }
    }

    const NOW: &str = "2026-08-19T14:34:12Z";

    #[test]
    fn durations_are_read_as_openai_and_groq_send_them() {
        let usual = RateLimitHeaders::default();
        let openai = [
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9997"),
            ("x-ratelimit-remaining-tokens", "199992"),
            ("x-ratelimit-reset-requests", "22.564s"),
            ("x-ratelimit-reset-tokens", "2ms"),
        ];
        let want = of((Some(9_997), Some(22_564)), (Some(199_992), Some(2)));
        assert_eq!(told(&usual, &openai, NOW), want);
        let groq = [
            ("x-ratelimit-remaining-requests", "14397"),
            ("x-ratelimit-reset-requests", "2m59.56s"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ];
        let want = of((Some(14_397), Some(179_560)), (None, Some(360_000)));
        assert_eq!(told(&usual, &groq, NOW), want);
    }

    #[test]
    fn moments_are_read_as_anthropic_sends_them() {
        let headers = [
            ("anthropic-ratelimit-input-tokens-remaining", "2000000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2026-08-19T14:34:13Z"),
            ("anthropic-ratelimit-tokens-remaining", "2399000"),
            ("anthropic-ratelimit-tokens-reset", "2026-08-19T14:34:11Z"),
        ];
        let want = of((Some(3_999), Some(1_000)), (Some(2_399_000), Some(0)));
        assert_eq!(told(&RateLimitHeaders::default(), &headers, NOW), want);
    }

    #[test]
    fn plain_numbers_are_seconds_or_moments_since_1970() {
        let usual = RateLimitHeaders::default();
        let reset =
            |value: &str| told(&usual, &[("x-ratelimit-reset-tokens", value)], NOW).tokens_reset;
        let now = 1_787_150_052_u64;
        assert_eq!(reset("7"), Some(Duration::from_secs(7)));
        assert_eq!(reset("0"), Some(Duration::ZERO));
        assert_eq!(reset(&(now + 30).to_string()), Some(Duration::from_secs(30)));
        assert_eq!(reset(&format!("{}500", now + 1)), Some(Duration::from_millis(1_500)));
        for nonsense in ["", "soon", "-1", "NaN", "inf", "5 apples", "12ms ago"] {
            assert_eq!(reset(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_row_may_name_other_headers() {
        let names: RateLimitHeaders = toml::from_str(
            "requests = [\"x-ratelimit-*-req-minute\"]\ntokens = [\"x-ratelimit-*-tokens-minute\"]",
        )
        .unwrap();
        let mistral = [
            ("x-ratelimit-remaining-req-minute", "357"),
            ("x-ratelimit-remaining-tokens-minute", "97828"),
            ("x-ratelimit-tokens-query-cost", "97"),
        ];
        assert_eq!(told(&names, &mistral, NOW), of((Some(357), None), (Some(97_828), None)));
        assert_eq!(told(&RateLimitHeaders::default(), &mistral, NOW), RateLimitReport::default());
        for wrong in ["x-ratelimit-remaining", "x ratelimit-*"] {
            let text = format!("requests = [\"{wrong}\"]");
            assert!(toml::from_str::<RateLimitHeaders>(&text).is_err(), "{wrong}");
        }
    }
}
