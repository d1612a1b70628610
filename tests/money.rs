//! Money is exact: every recording that carries usage is played with prices, and what it costs is
//! worked out here once more, from the text of the price row and the numbers of the recording.

mod support;

use std::{path::Path, time::SystemTime};

use futures::TryStreamExt as _;
use mediary_client::v1::{self, text_event::Kind};
use mediary_proto::admin::{ListAttemptsRequest, QueryUsageRequest};
use serde_json::Value;
use support::{
    ask::listen,
    recordings::{self, Case},
    replay::{self, Stage, question},
};

/// Prices that no two have a factor in common with, so that no mistake goes unnoticed.
const PRICES: &str = r#"
{ unit = "input-token", micro_usd_per_million = 3000017 },
{ unit = "cached-input-token", micro_usd_per_million = 300007 },
{ unit = "cache-write-token", micro_usd_per_million = 3750019 },
{ unit = "output-token", micro_usd_per_million = 15000023 },
{ unit = "reasoning-token", micro_usd_per_million = 14000029 },
{ unit = "request", micro_usd_per_unit = 31 },
{ unit = "input-token", micro_usd_per_million = 1, effective = "2020-01-01" },
{ unit = "output-token", micro_usd_per_million = 999999999, effective = "2999-01-01" },
"#;

/// The price of a unit that holds now, in pico-USD, read from the row's text.
fn price(unit: &str) -> i128 {
    let named = format!("unit = {unit:?}");
    let mut rows = PRICES.lines().filter(|row| row.contains(&named) && !row.contains("2999"));
    let row = rows.next_back().expect("a price");
    let number = |key: &str| {
        let (_, rest) = row.split_once(&format!("{key} = "))?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<i128>().ok()
    };
    match (number("micro_usd_per_million"), number("micro_usd_per_unit")) {
        (Some(rate), None) => rate,
        (None, Some(rate)) => rate * 1_000_000,
        _ => panic!("{row}"),
    }
}

/// What an answer costs, in pico-USD: what the vendor charges, else what it bills, else what was
/// counted. Numbers that the recording lacks are those that the caller was told.
fn worth(case: &Case, told: Option<&v1::TokenUsage>) -> i128 {
    let Some(told) = told else { return 0 };
    if let Some(usd) = case.fact("cost").cloned().or_else(|| charged(case)) {
        return pico(&usd);
    }
    let fact = |name: &str| case.number_fact(name).map(i128::from);
    if let Some((input, output)) = billed(case) {
        return price("request") + input * price("input-token") + output * price("output-token");
    }
    let or = |name: &str, told: Option<i64>| fact(name).or(told.map(i128::from)).unwrap_or(0);
    let input = or("input_tokens", Some(told.input_tokens));
    let output = or("output_tokens", Some(told.output_tokens));
    let cached = or("cached_input_tokens", told.cached_input_tokens);
    let written = or("cache_write_tokens", told.cache_write_tokens);
    let thought = or("reasoning_tokens", told.reasoning_tokens).min(output);
    price("request")
        + (input - cached - written).max(0) * price("input-token")
        + cached * price("cached-input-token")
        + written * price("cache-write-token")
        + (output - thought) * price("output-token")
        + thought * price("reasoning-token")
}

/// What OpenRouter says that it charges, where the facts of the recording do not repeat it.
fn charged(case: &Case) -> Option<Value> {
    let body = String::from_utf8_lossy(&case.body()).into_owned();
    let (_, rest) = body.rsplit_once("\"cost\":").filter(|_| case.provider == "openrouter")?;
    let end = rest.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+' | 'e' | 'E'))?;
    serde_json::from_str(&rest[..end]).ok()
}

/// What a vendor says that it bills, where that is not what it counts: as its bytes have it.
fn billed(case: &Case) -> Option<(i128, i128)> {
    let body = String::from_utf8_lossy(&case.body()).into_owned();
    let (_, units) = body.rsplit_once("\"billed_units\"")?;
    let units = units.split_once('}')?.0;
    let number = |key: &str| {
        let (_, rest) = units.split_once(&format!("{key:?}"))?;
        let digits = rest.trim_start_matches([':', ' ']);
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some((number("input_tokens")?, number("output_tokens").unwrap_or(0)))
}

/// A JSON number of dollars, without floating point.
fn pico(usd: &Value) -> i128 {
    let text = usd.to_string();
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let number: i128 = format!("{whole}{part}").parse().expect("a number");
    let places = 12 + exponent.parse::<i32>().expect("an exponent")
        - i32::try_from(part.len()).expect("few digits");
    if places >= 0 {
        return number * 10_i128.pow(places.unsigned_abs());
    }
    let by = 10_i128.pow(places.unsigned_abs());
    (number + by / 2) / by
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recording_costs_what_its_price_row_says_to_the_last_pico_dollar() {
    let mut cases = recordings::all(&recordings::own());
    if let Some(folder) = std::env::var_os("MEDIARY_FIXTURES") {
        cases.extend(recordings::all(Path::new(&folder)));
    }
    cases.retain(replay::is_supported);
    let stage = Stage::priced(&cases, PRICES).await;
    let begin = SystemTime::now();
    let (mut wrong, mut total, mut priced, mut tried) = (Vec::new(), 0, 0, 0);
    for case in &cases {
        stage.vendor.replies([replay::reply(case, 0)]);
        let heard = listen(&stage.house, question::request(case)).await;
        let (usage, cost, attempts) = match heard.kinds().last() {
            Some(Kind::Finished(end)) => (&end.usage, end.cost_pico_usd, &end.attempts),
            Some(Kind::Failed(end)) => (&end.usage, end.cost_pico_usd, &end.attempts),
            other => panic!("{}: no end: {other:?}", case.name),
        };
        let worth = worth(case, usage.as_ref());
        if i128::from(cost) != worth {
            wrong.push(format!("{}: costs {cost}, its row says {worth}: {usage:?}", case.name));
        }
        let of_attempts: i64 = attempts.iter().map(|one| one.cost_pico_usd).sum();
        assert_eq!(of_attempts, cost, "{}: what its attempts cost", case.name);
        total += i128::from(cost);
        priced += usize::from(cost > 0);
        tried += attempts.len();
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(priced > 100, "{priced} of {} cases cost something", cases.len());

    let client = stage.house.client();
    let request = ListAttemptsRequest { page_size: 1_000, ..Default::default() };
    let rows: Vec<_> = client.list_attempts(request).try_collect().await.expect("attempts");
    let costs = rows.iter().map(|row| row.attempt.as_ref().expect("an attempt").cost_pico_usd);
    assert_eq!(costs.map(i128::from).sum::<i128>(), total, "the rows of the ledger");
    assert_eq!(rows.len(), tried);
    for keys in [&[][..], &["model"], &["account", "provider"]] {
        let request = QueryUsageRequest {
            start_time: Some(begin.into()),
            group_by: keys.iter().map(|&key| key.to_owned()).collect(),
            page_size: 1_000,
            ..Default::default()
        };
        let buckets: Vec<_> = client.query_usage(request).try_collect().await.expect("usage");
        let sum: i128 = buckets.iter().map(|one| i128::from(one.cost_pico_usd)).sum();
        assert_eq!(sum, total, "usage by {keys:?}");
    }
    println!("{} recordings, {priced} of them priced, {total} pico-USD in all", cases.len());
}
