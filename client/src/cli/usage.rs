//! `usage` and `attempts`: what was used and what it cost, added up or one by one.

use clap::{Args, ValueEnum};
use mediary_proto::{
    admin::{AttemptRecord, ListAttemptsRequest, QueryUsageRequest, UsageBucket, UsageInterval},
    v1::{AttemptState, TokenUsage, UsageSource},
};
use prost_types::{Duration, Timestamp};
use serde_json::json;

use super::{
    global::Output,
    json,
    limits::usd,
    out::Out,
    problem::Problem,
    show::{self, Columns, ListArgs, Listed, quote},
    table::{csv, id, table, word},
    when::{When, time},
};
use crate::Client;

const ATTEMPTS: Columns<AttemptRecord> = Columns {
    list: "attempts",
    header: &["TIME", "MODEL", "ACCOUNT", "OWNER", "STATE", "TOKENS", "COST", "TOOK", "GENERATION"],
    row: attempt,
    id: |one| id(&one.generation),
};

/// Options of `usage`.
#[derive(Debug, Clone, Args)]
pub struct UsageArgs {
    /// From when: 12h, 7d, 2027-01-31
    #[arg(long, value_name = "WHEN", default_value = "24h")]
    since: When,
    /// Until when; without it until now
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
    /// Split by up to 4 of model, provider, account, preset, route, owner, api_key, capability,
    /// labels.KEY; with commas or again
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    by: Vec<String>,
    /// A row for each minute, hour or day (UTC)
    #[arg(long, value_name = "LENGTH", value_enum)]
    interval: Option<Interval>,
    /// Sort by start_time, cost_pico_usd or requests, each with ' desc' if wanted
    #[arg(long, value_name = "FIELDS")]
    order_by: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Length of a row of `usage`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Interval {
    Minute,
    Hour,
    Day,
}

/// Options of `attempts`.
#[derive(Debug, Clone, Args)]
pub struct AttemptsArgs {
    /// Only what began within this time or after this date: 12h, 7d, 2027-01-31
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// Only what began before
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
    /// Only those of a generation
    #[arg(long, value_name = "ID")]
    generation: Option<String>,
    /// Only what did not go well
    #[arg(long)]
    failed: bool,
    /// Sort by start_time or cost_pico_usd, each with ' desc' if wanted
    #[arg(long, value_name = "FIELDS")]
    order_by: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// `usage`
pub(super) async fn run(client: &Client, out: &Out, args: UsageArgs) -> Result<(), Problem> {
    let request = QueryUsageRequest {
        // Never is since the beginning.
        start_time: Some(args.since.past().unwrap_or_default()),
        end_time: args.until.and_then(When::past),
        interval: args.interval.map_or(UsageInterval::Unspecified, Interval::wire).into(),
        group_by: args.by.clone(),
        filter: args.list.filter_and([]),
        order_by: args.order_by.clone().unwrap_or_default(),
        ..Default::default()
    };
    let fetch = async |page_size, page_token| {
        let request = QueryUsageRequest { page_size, page_token, ..request.clone() };
        let page =
            client.call(request, async |raw, request| raw.usage().query_usage(request).await);
        let page = page.await?;
        Ok((page.usage_buckets, page.next_page_token))
    };
    let listed = args.list.read(fetch).await?;
    print(out, &args.by, &listed)
}

/// `attempts`
pub(super) async fn attempts(
    client: &Client,
    out: &Out,
    args: AttemptsArgs,
) -> Result<(), Problem> {
    let bound = |when: Option<When>, comparison: &str| {
        let time = when.and_then(When::past)?;
        Some(format!("start_time {comparison} {}", quote(&time.to_string())))
    };
    let generation = args
        .generation
        .map(|name| format!("generation = {}", quote(&format!("generations/{}", id(&name)))));
    let failed = args.failed.then(|| "state != SUCCEEDED".to_owned());
    let wanted = [bound(args.since, ">="), bound(args.until, "<"), generation, failed];
    let filter = args.list.filter_and(wanted.into_iter().flatten());
    let order_by = args.order_by.unwrap_or_default();
    let fetch = async |page_size, page_token| {
        let (filter, order_by) = (filter.clone(), order_by.clone());
        let request = ListAttemptsRequest { page_size, page_token, filter, order_by };
        let page =
            client.call(request, async |raw, request| raw.usage().list_attempts(request).await);
        let mut page = page.await?;
        // The details of a status are binary; code and message are kept.
        let attempts = page.attempts.iter_mut().filter_map(|one| one.attempt.as_mut());
        attempts.filter_map(|one| one.status.as_mut()).for_each(|status| status.details.clear());
        Ok((page.attempts, page.next_page_token))
    };
    show::list(out, &ATTEMPTS, &args.list.read(fetch).await?)
}

impl Interval {
    fn wire(self) -> UsageInterval {
        match self {
            Self::Minute => UsageInterval::Minute,
            Self::Hour => UsageInterval::Hour,
            Self::Day => UsageInterval::Day,
        }
    }
}

/// The columns depend on what was split by.
fn print(out: &Out, by: &[String], listed: &Listed<UsageBucket>) -> Result<(), Problem> {
    let buckets = &listed.items;
    match out.form {
        Output::Json => {
            out.json(&json!({ "usage_buckets": json::list(buckets), "more": listed.more }))?;
        }
        Output::Jsonl => buckets.iter().try_for_each(|one| out.json(&json::message(one)))?,
        Output::Id => {
            return Err(Problem::Usage("usage has no ids: try another --output".to_owned()));
        }
        Output::Csv => {
            let header = ["start_time", "end_time"].into_iter();
            let header = header.chain(by.iter().map(String::as_str)).chain(EXACT);
            out.text(&csv(header, buckets.iter().map(exact))?)?;
        }
        Output::Table => {
            let keys: Vec<String> = by.iter().map(|key| key.to_uppercase()).collect();
            let header = ["FROM"].into_iter().chain(keys.iter().map(String::as_str));
            let header: Vec<&str> = header.chain(HEADER).collect();
            out.line(&table(out, &header, buckets.iter().map(row)))?;
        }
    }
    show::more(out, listed.more);
    Ok(())
}

const HEADER: [&str; 8] = ["REQUESTS", "GOOD", "ATTEMPTS", "IN", "OUT", "COST", "P50", "P95"];
const EXACT: [&str; 14] = [
    "requests",
    "successes",
    "attempts",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "is_estimated",
    "cost_pico_usd",
    "cost_usd",
    "latency_p50_seconds",
    "latency_p95_seconds",
    "latency_p99_seconds",
];

fn row(one: &UsageBucket) -> Vec<String> {
    let usage = one.usage.clone().unwrap_or_default();
    let start = [time(one.start_time.as_ref())].into_iter();
    let groups = one.groups.iter().map(|group| group.value.clone());
    let figures = [
        one.requests.to_string(),
        one.successes.to_string(),
        one.attempts.to_string(),
        usage.input_tokens.to_string(),
        usage.output_tokens.to_string(),
        usd(one.cost_pico_usd),
        took(one.latency_p50_duration.as_ref()),
        took(one.latency_p95_duration.as_ref()),
    ];
    start.chain(groups).chain(figures).collect()
}

/// For programs: nothing is rounded, and what is not known is empty.
fn exact(one: &UsageBucket) -> Vec<String> {
    let usage = one.usage.as_ref();
    let count = |of: fn(&TokenUsage) -> Option<i64>| {
        usage.and_then(of).map(|count| count.to_string()).unwrap_or_default()
    };
    let times = [one.start_time.as_ref(), one.end_time.as_ref()];
    let times = times.map(|time| time.map(Timestamp::to_string).unwrap_or_default());
    let groups = one.groups.iter().map(|group| group.value.clone());
    let estimated = usage.map(|usage| (usage.source() == UsageSource::Estimated).to_string());
    let figures = [
        one.requests.to_string(),
        one.successes.to_string(),
        one.attempts.to_string(),
        count(|usage| Some(usage.input_tokens)),
        count(|usage| usage.cached_input_tokens),
        count(|usage| usage.cache_write_tokens),
        count(|usage| Some(usage.output_tokens)),
        count(|usage| usage.reasoning_tokens),
        estimated.unwrap_or_default(),
        one.cost_pico_usd.to_string(),
        usd(one.cost_pico_usd).trim_start_matches('$').to_owned(),
        seconds(one.latency_p50_duration.as_ref()),
        seconds(one.latency_p95_duration.as_ref()),
        seconds(one.latency_p99_duration.as_ref()),
    ];
    times.into_iter().chain(groups).chain(figures).collect()
}

fn attempt(one: &AttemptRecord) -> Vec<String> {
    let attempt = one.attempt.clone().unwrap_or_default();
    let usage = attempt.usage.clone().unwrap_or_default();
    let state = word(attempt.state().as_str_name(), "ATTEMPT_STATE_");
    let state = match (attempt.state(), attempt.http_status) {
        (AttemptState::Succeeded, _) => state,
        (_, Some(status)) => format!("{state} ({status})"),
        (_, None) => state,
    };
    let length = attempt.end_time.zip(attempt.start_time).and_then(|(end, start)| {
        let between =
            |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
        let nanos = u64::try_from(between(end) - between(start)).ok()?;
        Duration::try_from(std::time::Duration::from_nanos(nanos)).ok()
    });
    vec![
        time(attempt.start_time.as_ref()),
        attempt.model,
        attempt.account_hint,
        one.owner.clone(),
        state,
        format!("{}+{}", usage.input_tokens, usage.output_tokens),
        usd(attempt.cost_pico_usd),
        took(length.as_ref()),
        id(&one.generation).to_owned(),
    ]
}

/// A time for people: to the millisecond.
fn took(time: Option<&Duration>) -> String {
    let millis = time.map(|time| time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000);
    match millis {
        None => String::new(),
        Some(millis @ ..10_000) => format!("{millis}ms"),
        Some(millis) => format!("{}.{}s", millis / 1_000, millis % 1_000 / 100),
    }
}

fn seconds(time: Option<&Duration>) -> String {
    time.map(|time| format!("{}.{:06}", time.seconds, time.nanos / 1_000)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_short_for_people_and_exact_for_programs() {
        let time = |seconds, nanos| Duration { seconds, nanos };
        assert_eq!(took(Some(&time(0, 1_500_000))), "1ms");
        assert_eq!(took(Some(&time(9, 999_000_000))), "9999ms");
        assert_eq!(took(Some(&time(61, 250_000_000))), "61.2s");
        assert_eq!((took(None), seconds(None)), (String::new(), String::new()));
        assert_eq!(seconds(Some(&time(1, 5_000))), "1.000005");
    }
}
