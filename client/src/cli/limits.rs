//! Limits of calls and of money, as options.

use std::str::FromStr;

use clap::Args;
use mediary_proto::admin;
use serde_json::Value;

use super::draft::{Draft, NONE};

/// Digits of a USD after the point that are kept: 1e-12 USD.
const PLACES: usize = 12;

/// Limits of calls; `none` takes one away.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct LimitArgs {
    /// Most requests per minute, or none
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<Most>,
    /// Most requests per day (UTC), or none
    #[arg(long, value_name = "N")]
    requests_per_day: Option<Most>,
    /// Most tokens per minute, input and output, or none
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<Most>,
    /// Most tokens per day (UTC), input and output, or none
    #[arg(long, value_name = "N")]
    tokens_per_day: Option<Most>,
    /// Most calls at the same time, or none
    #[arg(long, value_name = "N")]
    concurrent_requests: Option<Most>,
}

/// Limits of money; `none` takes one away.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct BudgetArgs {
    /// Most cost per day (UTC) in USD, such as 2.50, or none
    #[arg(long, value_name = "USD")]
    usd_per_day: Option<Usd>,
    /// Most cost per calendar month (UTC) in USD, or none
    #[arg(long, value_name = "USD")]
    usd_per_month: Option<Usd>,
}

/// A limit, or its absence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Most(Option<i64>);

/// An amount of money in 1e-12 USD, or its absence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usd(pub(super) Option<i64>);

impl LimitArgs {
    /// Puts them into the message at `path`.
    pub(super) fn lay(&self, draft: &mut Draft, path: &str) {
        for (field, option, most) in [
            ("requests_per_minute", "--requests-per-minute", self.requests_per_minute),
            ("requests_per_day", "--requests-per-day", self.requests_per_day),
            ("tokens_per_minute", "--tokens-per-minute", self.tokens_per_minute),
            ("tokens_per_day", "--tokens-per-day", self.tokens_per_day),
            ("concurrent_requests", "--concurrent-requests", self.concurrent_requests),
        ] {
            draft.maybe(&format!("{path}.{field}"), option, most.map(|most| most.0));
        }
    }
}

impl BudgetArgs {
    /// Puts them into the message `budget`.
    pub(super) fn lay(&self, draft: &mut Draft) {
        let per_day = self.usd_per_day.map(|most| most.0);
        draft.maybe("budget.day_cost_pico_usd", "--usd-per-day", per_day);
        let per_month = self.usd_per_month.map(|most| most.0);
        draft.maybe("budget.month_cost_pico_usd", "--usd-per-month", per_month);
    }
}

impl FromStr for Most {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            NONE => Ok(Self(None)),
            _ => text.parse().map(|most| Self(Some(most))).map_err(|_| "must be a number or none"),
        }
    }
}

impl FromStr for Usd {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            NONE => Ok(Self(None)),
            _ => pico(text).map(|pico| Self(Some(pico))).ok_or("must be USD such as 2.50, or none"),
        }
    }
}

/// USD in tenths of a power, without the rounding of floating point.
fn pico(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > PLACES || !digits(whole) || !digits(part) {
        return None;
    }
    format!("{whole}{part:0<PLACES$}").parse().ok()
}

/// An amount for people, without needless zeros.
pub(super) fn usd(pico: i64) -> String {
    let (whole, part) = (pico / 1_000_000_000_000, (pico % 1_000_000_000_000).unsigned_abs());
    let part = format!("{part:0PLACES$}");
    let part = part.trim_end_matches('0');
    format!("${whole}.{part:0<2}")
}

/// Limits and budget in a line.
pub(super) fn words(limits: Option<&admin::RateLimits>, budget: Option<&admin::Budget>) -> String {
    let limits = limits.cloned().unwrap_or_default();
    let budget = budget.cloned().unwrap_or_default();
    let counted = [
        (limits.requests_per_minute, "requests per minute"),
        (limits.requests_per_day, "requests per day"),
        (limits.tokens_per_minute, "tokens per minute"),
        (limits.tokens_per_day, "tokens per day"),
        (limits.concurrent_requests.map(i64::from), "at a time"),
    ];
    let counted = counted.into_iter().filter_map(|(most, of)| Some(format!("{} {of}", most?)));
    let money = [(budget.day_cost_pico_usd, "per day"), (budget.month_cost_pico_usd, "per month")];
    let money = money.into_iter().filter_map(|(most, of)| Some(format!("{} {of}", usd(most?))));
    counted.chain(money).collect::<Vec<_>>().join(", ")
}

impl From<Usd> for Value {
    fn from(usd: Usd) -> Self {
        usd.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact() {
        for (text, pico) in [
            ("0", 0),
            ("2.5", 2_500_000_000_000),
            ("0.1", 100_000_000_000),
            ("0.000000000001", 1),
            ("9000000", 9_000_000_000_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Usd(Some(pico))), "{text}");
        }
        assert_eq!("none".parse(), Ok(Usd(None)));
        for text in ["", "-1", "1e3", "1.0000000000001", "10000000", ".5", "$5"] {
            assert!(text.parse::<Usd>().is_err(), "{text}");
        }
        assert_eq!(usd(2_500_000_000_000), "$2.50");
        assert_eq!(usd(78_000_000), "$0.000078");
    }

    #[test]
    fn limits_are_told_in_a_line() {
        let limits = admin::RateLimits {
            requests_per_day: Some(5),
            concurrent_requests: Some(2),
            ..Default::default()
        };
        let budget =
            admin::Budget { day_cost_pico_usd: Some(1_500_000_000_000), ..Default::default() };
        assert_eq!(
            words(Some(&limits), Some(&budget)),
            "5 requests per day, 2 at a time, $1.50 per day"
        );
    }
}
