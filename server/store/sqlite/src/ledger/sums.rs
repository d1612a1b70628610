//! Adding up: one pass over the rows of a time, in SQLite, with exact whole numbers.
//!
//! Rows are grouped by the bin of their latency as well, so that the times within which a part of
//! the calls was done need no second pass and no list of all times; the groups of one bucket come
//! one after the other and are put together here. Sorting spills to disk, not into memory.

use std::time::Duration;

use futures::TryStreamExt as _;
use mediary_store::{
    AttemptField, Error, TokenUsage, UsageAsked, UsageSource, UsageSum, Wanted, ledger::bins,
    to_micros,
};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::wanted;
use crate::fault::Result;

/// Longest time that adding up may take, beside the wait for its turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(25);

/// A call is counted with its last attempt: one after which no other was to come, or none came.
const CALL: &str = "(a.is_last OR NOT EXISTS (
    SELECT 1 FROM attempts AS n WHERE n.call = a.call AND n.idx > a.idx))";

/// Of the rows of one bucket, facet and bin, and of one value of each label that is asked for.
/// Tokens of one attempt beyond a trillion are somebody's joke, and must not make all sums fail.
/// Money is added in halves, which cannot overflow.
const PARTS: &str = "COUNT(*) AS attempts, COUNT(a.is_estimated) AS counted,
    MAX(a.is_estimated) AS is_estimated, SUM(MIN(a.input_tokens, 1000000000000)) AS input,
    SUM(MIN(a.cached_input_tokens, 1000000000000)) AS cached,
    SUM(MIN(a.cache_write_tokens, 1000000000000)) AS written,
    SUM(MIN(a.output_tokens, 1000000000000)) AS output,
    SUM(MIN(a.reasoning_tokens, 1000000000000)) AS reasoning,
    SUM(a.cost >> 32) AS high, SUM(a.cost & 4294967295) AS low";

/// The parts of one group, added up.
const SUMS: &str = "p.bin, SUM(p.attempts), SUM(p.counted), MAX(p.is_estimated), SUM(p.input),
    SUM(p.cached), SUM(p.written), SUM(p.output), SUM(p.reasoning), SUM(p.high), SUM(p.low),
    SUM(p.calls)";

/// The sum of amounts that were added in halves.
pub(super) fn whole(high: i64, low: i64) -> i128 {
    (i128::from(high) << 32) + i128::from(low)
}

/// `None` = there are more sums than asked for.
pub(super) async fn add_up(
    connection: &mut SqliteConnection,
    asked: &UsageAsked,
) -> Result<Option<Vec<UsageSum>>> {
    if !asked.group_by.iter().all(is_shared) {
        Err(Error::Bug("no sums are made by what each attempt has of its own".into()))?;
    }
    let mut query = select(asked);
    let mut rows = query.build().fetch(connection);
    let mut sums: Vec<UsageSum> = Vec::new();
    let mut binned: Vec<(i64, i64)> = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let mut part = part(&row, asked.group_by.len())?;
        if part.bin.is_some() {
            part.sum.calls_succeeded = part.sum.attempts;
        }
        let is_same = sums
            .last()
            .is_some_and(|sum| sum.bucket == part.sum.bucket && sum.groups == part.sum.groups);
        if !is_same {
            finish(&mut sums, &mut binned);
            if sums.len() == asked.most {
                return Ok(None);
            }
        }
        if let Some(bin) = part.bin {
            binned.push((bin, part.sum.attempts));
        }
        match sums.last_mut() {
            Some(sum) if is_same => add(sum, part.sum),
            _ => sums.push(part.sum),
        }
    }
    finish(&mut sums, &mut binned);
    Ok(Some(sums))
}

/// Whether many attempts have it in common.
fn is_shared(field: &AttemptField) -> bool {
    match field {
        AttemptField::Call
        | AttemptField::State
        | AttemptField::Reason
        | AttemptField::HttpStatus
        | AttemptField::Start
        | AttemptField::Cost => false,
        AttemptField::Kind
        | AttemptField::Owner
        | AttemptField::ApiKey
        | AttemptField::Capability
        | AttemptField::Route
        | AttemptField::Preset
        | AttemptField::Model
        | AttemptField::Provider
        | AttemptField::Account
        | AttemptField::Label(_) => true,
    }
}

/// First by numbers alone, over all rows; then the few parts by the texts of their facets.
fn select(asked: &UsageAsked) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT p.bucket");
    for (at, field) in asked.group_by.iter().enumerate() {
        match field {
            AttemptField::Label(_) => query.push(format!(", COALESCE(p.label{at}, '')")),
            field => query.push(", ").push(wanted::column(field)),
        };
    }
    query.push(", ").push(SUMS).push(" FROM (SELECT ");
    match asked.bucket {
        Some(bucket) => {
            let micros = i64::try_from(bucket.as_micros()).unwrap_or(i64::MAX).max(1);
            query.push("a.ended_at / ").push_bind(micros);
        }
        None => {
            query.push("0");
        }
    }
    query.push(" AS bucket, a.facet AS facet, a.latency_bin AS bin");
    let labels = asked.group_by.iter().enumerate();
    let labels = labels.filter(|(_, field)| matches!(field, AttemptField::Label(_)));
    let mut columns = vec!["1".to_owned(), "2".to_owned(), "3".to_owned()];
    for (at, field) in labels {
        query.push(", ");
        wanted::push_field(&mut query, field);
        query.push(format!(" AS label{at}"));
        columns.push((columns.len() + 1).to_string());
    }
    query.push(", ").push(PARTS).push(", SUM(").push(CALL).push(") AS calls FROM attempts AS a");
    if asked.wanted != Wanted::default() {
        query.push(" JOIN attempt_facets AS f ON f.id = a.facet");
        query.push(" LEFT JOIN attempt_notes AS n ON n.attempt = a.id");
    }
    query.push(" WHERE a.ended_at >= ").push_bind(to_micros(asked.from));
    query.push(" AND a.ended_at < ").push_bind(to_micros(asked.until)).push(" AND ");
    wanted::push(&mut query, &asked.wanted);
    query.push(" GROUP BY ").push(columns.join(", "));
    query.push(") AS p JOIN attempt_facets AS f ON f.id = p.facet");
    let columns: Vec<String> =
        (1..=asked.group_by.len() + 2).map(|number| number.to_string()).collect();
    let columns = columns.join(", ");
    query.push(" GROUP BY ").push(&columns).push(" ORDER BY ").push(&columns);
    query
}

/// The rows of one group that fell into one bin.
struct Part {
    bin: Option<i64>,
    sum: UsageSum,
}

fn part(row: &SqliteRow, groups: usize) -> Result<Part> {
    let at = groups + 1;
    let counted: i64 = row.try_get(at + 2)?;
    let usage = TokenUsage {
        source: match row.try_get::<Option<i64>, _>(at + 3)? {
            Some(1) => UsageSource::Estimated,
            _ => UsageSource::Reported,
        },
        input: row.try_get::<Option<i64>, _>(at + 4)?.unwrap_or(0),
        cached_input: row.try_get(at + 5)?,
        cache_write: row.try_get(at + 6)?,
        output: row.try_get::<Option<i64>, _>(at + 7)?.unwrap_or(0),
        reasoning: row.try_get(at + 8)?,
        cost: None,
        billed: None,
    };
    Ok(Part {
        bin: row.try_get(at)?,
        sum: UsageSum {
            bucket: row.try_get(0)?,
            groups: (1..=groups).map(|at| row.try_get(at)).collect::<Result<_, _>>()?,
            attempts: row.try_get(at + 1)?,
            usage: (counted > 0).then_some(usage),
            cost: whole(row.try_get(at + 9)?, row.try_get(at + 10)?),
            calls: row.try_get(at + 11)?,
            calls_succeeded: 0,
            took: Default::default(),
        },
    })
}

fn add(sum: &mut UsageSum, part: UsageSum) {
    sum.attempts += part.attempts;
    sum.calls += part.calls;
    sum.calls_succeeded += part.calls_succeeded;
    sum.cost += part.cost;
    sum.usage = match (sum.usage, part.usage) {
        (Some(one), Some(other)) => Some(one.plus(other)),
        (one, other) => one.or(other),
    };
}

/// The last sum is whole.
fn finish(sums: &mut [UsageSum], binned: &mut Vec<(i64, i64)>) {
    if let Some(sum) = sums.last_mut() {
        sum.took = bins::took(binned);
    }
    binned.clear();
}
