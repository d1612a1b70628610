//! Adding up: one pass over the rows of a time, in SQLite, with exact whole numbers.
//!
//! Rows are grouped by the bin of their latency as well, so that the times within which a part of
//! the calls was done need no list of all times: a sum comes with the few bins that it has. Sorting
//! spills to disk, not into memory.

use std::{collections::BTreeMap, time::Duration};

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

/// Of the rows of one bucket, facet and bin, and of one value of each label that is asked for.
/// Tokens of one attempt beyond a trillion are somebody's joke, and must not make all sums fail.
/// Money is added in halves, which cannot overflow.
const PARTS: &str = ", COUNT(*) AS attempts, COUNT(a.is_estimated) AS counted,
    MAX(a.is_estimated) AS is_estimated, SUM(MIN(a.input_tokens, 1000000000000)) AS input,
    SUM(MIN(a.cached_input_tokens, 1000000000000)) AS cached,
    SUM(MIN(a.cache_write_tokens, 1000000000000)) AS written,
    SUM(MIN(a.output_tokens, 1000000000000)) AS output,
    SUM(MIN(a.reasoning_tokens, 1000000000000)) AS reasoning,
    SUM(a.cost >> 32) AS high, SUM(a.cost & 4294967295) AS low, SUM(a.is_last) AS calls";

/// What else counts as a call: attempts after which another was to come, and none came. They are
/// few, and looked for apart, so that the many need not be.
const LEFT: &str = ", 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, COUNT(*)";
const IS_LEFT: &str = " AND NOT a.is_last AND NOT EXISTS (
    SELECT 1 FROM attempts AS later WHERE later.call = a.call AND later.idx > a.idx)";

/// The parts of one group, added up.
const SUMS: &str = ", SUM(p.attempts), SUM(p.counted), MAX(p.is_estimated), SUM(p.input),
    SUM(p.cached), SUM(p.written), SUM(p.output), SUM(p.reasoning), SUM(p.high), SUM(p.low),
    SUM(p.calls), GROUP_CONCAT(p.bin || ' ' || p.attempts, ' ')";

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
    while let Some(row) = rows.try_next().await? {
        if sums.len() == asked.most {
            return Ok(None);
        }
        sums.push(sum(&row, asked.group_by.len())?);
    }
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
    query.push(SUMS).push(" FROM (");
    push_parts(&mut query, asked, PARTS, "");
    query.push(" UNION ALL ");
    push_parts(&mut query, asked, LEFT, IS_LEFT);
    let columns = numbers(asked.group_by.len() + 1);
    query.push(") AS p JOIN attempt_facets AS f ON f.id = p.facet GROUP BY ").push(&columns);
    query.push(" ORDER BY ").push(&columns);
    query
}

fn push_parts(query: &mut QueryBuilder<Sqlite>, asked: &UsageAsked, sums: &str, only: &str) {
    query.push("SELECT ");
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
    let mut columns = 3;
    for (at, field) in labels {
        query.push(", ");
        wanted::push_field(query, field);
        query.push(format!(" AS label{at}"));
        columns += 1;
    }
    query.push(sums).push(" FROM attempts AS a");
    if asked.wanted != Wanted::default() {
        query.push(" JOIN attempt_facets AS f ON f.id = a.facet");
        query.push(" LEFT JOIN attempt_notes AS n ON n.attempt = a.id");
    }
    query.push(" WHERE a.ended_at >= ").push_bind(to_micros(asked.from));
    query.push(" AND a.ended_at < ").push_bind(to_micros(asked.until)).push(" AND ");
    wanted::push(query, &asked.wanted);
    query.push(only).push(" GROUP BY ").push(numbers(columns));
}

/// `1, 2, 3`
fn numbers(columns: usize) -> String {
    (1..=columns).map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

fn sum(row: &SqliteRow, groups: usize) -> Result<UsageSum> {
    let at = groups + 1;
    let counted: i64 = row.try_get(at + 1)?;
    let usage = TokenUsage {
        source: match row.try_get::<Option<i64>, _>(at + 2)? {
            Some(1) => UsageSource::Estimated,
            _ => UsageSource::Reported,
        },
        input: row.try_get::<Option<i64>, _>(at + 3)?.unwrap_or(0),
        cached_input: row.try_get(at + 4)?,
        cache_write: row.try_get(at + 5)?,
        output: row.try_get::<Option<i64>, _>(at + 6)?.unwrap_or(0),
        reasoning: row.try_get(at + 7)?,
        cost: None,
        billed: None,
    };
    let binned = binned(row.try_get::<Option<&str>, _>(at + 11)?.unwrap_or_default());
    Ok(UsageSum {
        bucket: row.try_get(0)?,
        groups: (1..=groups).map(|at| row.try_get(at)).collect::<Result<_, _>>()?,
        calls: row.try_get(at + 10)?,
        calls_succeeded: binned.values().sum(),
        attempts: row.try_get(at)?,
        usage: (counted > 0).then_some(usage),
        cost: whole(row.try_get(at + 8)?, row.try_get(at + 9)?),
        took: bins::took(&binned.into_iter().collect::<Vec<_>>()),
    })
}

/// Bins of latency, each with how many fell into it: `bin count bin count`.
fn binned(text: &str) -> BTreeMap<i64, i64> {
    let mut binned = BTreeMap::new();
    let mut numbers = text.split(' ').map_while(|number| number.parse::<i64>().ok());
    while let (Some(bin), Some(count)) = (numbers.next(), numbers.next()) {
        *binned.entry(bin).or_default() += count;
    }
    binned
}
