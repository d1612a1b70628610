//! How an attempt stands in its columns, and comes back from them.

use std::time::Duration;

use mediary_store::{
    AttemptFailure, AttemptRow, AttemptState, Billed, Error, PicoUsd, TokenUsage, UsageSource,
    from_micros, ledger::bins, to_micros,
};
use sqlx::{QueryBuilder, Sqlite};

use crate::fault::{Fault, Result};

const ATTEMPTS: &str = "INSERT INTO attempts (id, facet, call, idx, is_last, state, started_at, \
     ended_at, took, call_took, latency_bin, first_token, is_estimated, input_tokens, \
     cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, labels) ";

/// One statement for all of them; `facets` are those of the rows, in their order.
pub(super) fn insert(rows: &[AttemptRow], facets: &[i64]) -> Result<QueryBuilder<Sqlite>> {
    let labels = rows.iter().map(|row| match row.labels.is_empty() {
        true => Ok(None),
        false => serde_json::to_string(&row.labels).map(Some),
    });
    let labels = labels.collect::<std::result::Result<Vec<Option<String>>, _>>();
    let labels = labels.map_err(|error| Error::Bug(error.to_string()))?;
    let mut query = QueryBuilder::new(ATTEMPTS);
    let all = rows.iter().zip(facets).zip(labels);
    query.push_values(all, |mut values, ((row, facet), labels)| {
        let is_success = row.is_last && row.state == AttemptState::Succeeded;
        let usage = row.usage.as_ref();
        values.push_bind(row.id);
        values.push_bind(*facet);
        values.push_bind(row.call.as_str());
        values.push_bind(row.index);
        values.push_bind(row.is_last);
        values.push_bind(number(row.state));
        values.push_bind(to_micros(row.start));
        values.push_bind(to_micros(row.end));
        values.push_bind(micros(row.took));
        values.push_bind(micros(row.call_took));
        values.push_bind(is_success.then(|| bins::of(row.call_took)));
        values.push_bind(row.first_token.map(micros));
        values.push_bind(usage.map(|usage| usage.source == UsageSource::Estimated));
        values.push_bind(usage.map(|usage| usage.input));
        values.push_bind(usage.and_then(|usage| usage.cached_input));
        values.push_bind(usage.and_then(|usage| usage.cache_write));
        values.push_bind(usage.map(|usage| usage.output));
        values.push_bind(usage.and_then(|usage| usage.reasoning));
        values.push_bind(row.cost.0);
        values.push_bind(labels);
    });
    query.push(" ON CONFLICT (id) DO NOTHING");
    Ok(query)
}

/// What a row has beside what every row has. `None` = nothing.
pub(super) fn note(row: &AttemptRow) -> Option<AttemptFailure> {
    let usage = row.usage.unwrap_or_default();
    let is_plain = row.failure.is_none()
        && row.upstream_request_id.is_empty()
        && usage.billed.is_none()
        && usage.cost.is_none();
    (!is_plain).then(|| row.failure.clone().unwrap_or_default())
}

/// What tells the facets of a row from others.
pub(super) fn facet_key(row: &AttemptRow) -> String {
    let mut key = String::with_capacity(256);
    for text in [
        &row.kind,
        &row.owner,
        &row.api_key,
        &row.capability,
        &row.route,
        &row.preset,
        &row.model,
        &row.provider,
        &row.account,
    ] {
        // Nobody can write it in the middle of a name.
        key.push_str(text);
        key.push('\0');
    }
    key
}

fn number(state: AttemptState) -> i64 {
    match state {
        AttemptState::Succeeded => 0,
        AttemptState::Failed => 1,
        AttemptState::Cancelled => 2,
    }
}

fn micros(took: Duration) -> i64 {
    i64::try_from(took.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

pub(super) fn state(number: i64) -> Result<AttemptState> {
    match number {
        0 => Ok(AttemptState::Succeeded),
        1 => Ok(AttemptState::Failed),
        2 => Ok(AttemptState::Cancelled),
        other => Err(Error::Corrupt(format!("the state of an attempt is {other}")))?,
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct Columns {
    id: i64,
    call: String,
    kind: String,
    idx: i64,
    is_last: bool,
    owner: String,
    api_key: String,
    capability: String,
    route: String,
    preset: String,
    model: String,
    provider: String,
    account: String,
    started_at: i64,
    ended_at: i64,
    took: i64,
    call_took: i64,
    first_token: Option<i64>,
    state: i64,
    code: Option<i32>,
    reason: Option<String>,
    message: Option<String>,
    http_status: Option<i32>,
    excerpt: Option<String>,
    upstream_request_id: Option<String>,
    is_estimated: Option<bool>,
    input_tokens: Option<i64>,
    cached_input_tokens: Option<i64>,
    cache_write_tokens: Option<i64>,
    output_tokens: Option<i64>,
    reasoning_tokens: Option<i64>,
    billed_input_tokens: Option<i64>,
    billed_output_tokens: Option<i64>,
    reported_cost: Option<i64>,
    cost: i64,
    labels: Option<String>,
}

impl TryFrom<Columns> for AttemptRow {
    type Error = Fault;

    fn try_from(row: Columns) -> Result<Self> {
        let labels = row.labels.as_deref().map(serde_json::from_str).transpose();
        let labels = labels
            .map_err(|error| Error::Corrupt(format!("the labels of a call: {error}")))?
            .unwrap_or_default();
        let state = state(row.state)?;
        let billed = row.billed_input_tokens.zip(row.billed_output_tokens);
        let usage = row.is_estimated.map(|is_estimated| TokenUsage {
            input: row.input_tokens.unwrap_or(0),
            cached_input: row.cached_input_tokens,
            cache_write: row.cache_write_tokens,
            output: row.output_tokens.unwrap_or(0),
            reasoning: row.reasoning_tokens,
            cost: row.reported_cost.map(PicoUsd),
            billed: billed.map(|(input, output)| Billed { input, output }),
            source: if is_estimated { UsageSource::Estimated } else { UsageSource::Reported },
        });
        let failure = (state != AttemptState::Succeeded).then(|| AttemptFailure {
            code: row.code.unwrap_or(0),
            reason: row.reason.unwrap_or_default(),
            message: row.message.unwrap_or_default(),
            http_status: row.http_status,
            excerpt: row.excerpt.unwrap_or_default(),
        });
        Ok(Self {
            id: row.id,
            call: row.call,
            kind: row.kind,
            index: row.idx,
            is_last: row.is_last,
            owner: row.owner,
            api_key: row.api_key,
            capability: row.capability,
            route: row.route,
            preset: row.preset,
            model: row.model,
            provider: row.provider,
            account: row.account,
            start: from_micros(row.started_at),
            end: from_micros(row.ended_at),
            took: duration(row.took),
            call_took: duration(row.call_took),
            first_token: row.first_token.map(duration),
            state,
            failure,
            upstream_request_id: row.upstream_request_id.unwrap_or_default(),
            usage,
            cost: PicoUsd(row.cost),
            labels,
        })
    }
}
