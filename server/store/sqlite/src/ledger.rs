//! What was asked of providers.
//!
//! Owns: adding, listing and forgetting. Leaves: what stands in the columns (`columns`), which rows
//! are wanted (`wanted`), adding up (`sums`).

mod columns;
mod sums;
mod wanted;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use mediary_store::{
    AccountOutcome, AccountTotals, AttemptCursor, AttemptFailure, AttemptField, AttemptRow,
    AttemptsAsked, Error, Ledger, Paged, PicoUsd, Result, Saved, UsageAsked, UsageSum, from_micros,
    to_micros,
};
use sqlx::{QueryBuilder, Sqlite};

use self::columns::Columns;
use crate::{
    SqliteStore,
    columns::rows_for,
    fault::{Fault, Result as Inner},
    unit::Unit,
};

/// Rows of one statement: large enough to share its cost, small enough for SQLite's limit.
const AT_ONCE: usize = 64;
/// Facets whose numbers are held in memory.
const MOST_KNOWN: usize = 10_000;

#[async_trait]
impl Ledger for SqliteStore {
    async fn last_id(&self) -> Result<i64> {
        let (mut connection, limit) = self.reader().await?;
        let query =
            sqlx::query_scalar!(r#"SELECT COALESCE(MAX(id), 0) AS "id!: i64" FROM attempts"#);
        limit.of(query.fetch_one(&mut *connection)).await
    }

    async fn append(&self, rows: Arc<[AttemptRow]>) -> Result<()> {
        let batch = Batch { rows, facets: self.facets.clone() };
        let new = self.writer.note(batch, |unit, batch| Box::pin(append(unit, batch))).await?;
        // Not before they are kept: what is rolled back has no number.
        self.facets.learn(new);
        Ok(())
    }

    async fn list(&self, asked: AttemptsAsked) -> Result<Paged<AttemptRow, AttemptCursor>> {
        let (mut connection, limit) = self.reader().await?;
        let mut query = page(&asked)?;
        let found = query.build_query_as::<Columns>().fetch_all(&mut *connection);
        let rows = limit.of(found).await?.into_iter().map(AttemptRow::try_from);
        let rows = rows.collect::<Inner<_>>().map_err(|Fault(error)| error)?;
        Ok(Paged::cut(rows, asked.limit, |row: &AttemptRow| AttemptCursor {
            values: asked.order.iter().map(|(field, _)| number(row, field)).collect(),
            id: row.id,
        }))
    }

    async fn sums(&self, asked: UsageAsked) -> Result<Option<Vec<UsageSum>>> {
        // One at a time: whoever adds up a year must not take every reader.
        let turn = tokio::time::timeout(sums::PATIENCE, self.adding_up.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Error::Unavailable("others are adding up".into()));
        };
        let begun = self.readers.begin_within(sums::PATIENCE).await;
        let (mut connection, limit) = begun.map_err(|Fault(error)| error)?;
        limit.of_all(sums::add_up(&mut connection, &asked)).await
    }

    async fn totals(&self, since: SystemTime) -> Result<Vec<AccountTotals>> {
        let begun = self.readers.begin_within(sums::PATIENCE).await;
        let (mut connection, limit) = begun.map_err(|Fault(error)| error)?;
        let since = to_micros(since);
        let query = sqlx::query!(
            r#"SELECT f.account, COUNT(*) AS "requests!: i64",
                   SUM(a.state = 0) AS "successes!: i64",
                   SUM(MIN(COALESCE(input_tokens, 0) + COALESCE(output_tokens, 0), 1000000000000))
                       AS "tokens!: i64",
                   SUM(cost >> 32) AS "cost_high!: i64", SUM(cost & 4294967295) AS "cost_low!: i64"
               FROM attempts AS a JOIN attempt_facets AS f ON f.id = a.facet
               WHERE a.ended_at >= ?1 GROUP BY f.account"#,
            since
        );
        let rows = limit.of(query.fetch_all(&mut *connection)).await?;
        let totals = rows.into_iter().map(|row| AccountTotals {
            account: row.account,
            requests: row.requests,
            successes: row.successes,
            tokens: row.tokens,
            cost: PicoUsd(
                i64::try_from(sums::whole(row.cost_high, row.cost_low)).unwrap_or(i64::MAX),
            ),
        });
        Ok(totals.collect())
    }

    async fn outcomes(&self, since: SystemTime, most: u32) -> Result<Vec<AccountOutcome>> {
        let begun = self.readers.begin_within(sums::PATIENCE).await;
        let (mut connection, limit) = begun.map_err(|Fault(error)| error)?;
        let (since, most) = (to_micros(since), i64::from(most));
        let query = sqlx::query!(
            r#"SELECT account, model, ended_at, took, state,
                   COALESCE(n.reason, '') AS "reason!: String"
               FROM (
                   SELECT a.id, f.account, f.model, a.ended_at, a.took, a.state,
                       ROW_NUMBER() OVER (PARTITION BY f.account ORDER BY a.id DESC) AS number
                   FROM attempts AS a JOIN attempt_facets AS f ON f.id = a.facet
                   WHERE a.ended_at >= ?1) AS last
               LEFT JOIN attempt_notes AS n ON n.attempt = last.id
               WHERE number <= ?2 ORDER BY last.id"#,
            since,
            most
        );
        let rows = limit.of(query.fetch_all(&mut *connection)).await?;
        let outcomes = rows.into_iter().map(|row| {
            Ok(AccountOutcome {
                account: row.account,
                model: row.model,
                end: from_micros(row.ended_at),
                took: Duration::from_micros(row.took.unsigned_abs()),
                state: columns::state(row.state)?,
                reason: row.reason,
            })
        });
        outcomes.collect::<Inner<_>>().map_err(|Fault(error)| error)
    }

    async fn forget_before(&self, time: SystemTime, limit: u32) -> Result<u64> {
        let data = (to_micros(time), i64::from(limit));
        self.writer.note(data, |unit, data| Box::pin(forget(unit, data))).await
    }
}

/// Rows on their way, and what is known of their facets.
struct Batch {
    rows: Arc<[AttemptRow]>,
    facets: Facets,
}

/// Numbers of facets that were kept. A cheap handle.
#[derive(Clone, Default)]
pub(crate) struct Facets(Arc<Mutex<HashMap<String, i64>>>);

impl Facets {
    fn known(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        // A poisoned lock guards plain data that is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, new: HashMap<String, i64>) {
        if !new.is_empty() {
            let mut known = self.known();
            if known.len() > MOST_KNOWN {
                known.clear();
            }
            known.extend(new);
        }
    }
}

async fn append(unit: &mut Unit<'_>, batch: &Batch) -> Inner<Saved<HashMap<String, i64>>> {
    let mut new = HashMap::new();
    let mut rest = &batch.rows[..];
    while !rest.is_empty() {
        // Few sizes, so that few statements are prepared.
        let size = [AT_ONCE, 8, 1].into_iter().find(|size| *size <= rest.len()).unwrap_or(1);
        let (some, others) = rest.split_at(size);
        rest = others;
        let mut facets = Vec::with_capacity(size);
        for row in some {
            let key = columns::facet_key(row);
            let known = batch.facets.known().get(&key).copied();
            let number = match known.or_else(|| new.get(&key).copied()) {
                Some(number) => number,
                None => {
                    let number = facet(unit, row).await?;
                    new.insert(key, number);
                    number
                }
            };
            facets.push(number);
        }
        let mut query = columns::insert(some, &facets)?;
        query.build().execute(&mut *unit.connection).await?;
        for row in some {
            if let Some(failure) = columns::note(row) {
                note(unit, row, &failure).await?;
            }
        }
    }
    Ok(Saved::Done(new))
}

/// The number of the facets of a row; they get one if they are new.
async fn facet(unit: &mut Unit<'_>, row: &AttemptRow) -> Inner<i64> {
    let query = sqlx::query_scalar!(
        r#"INSERT INTO attempt_facets
               (kind, owner, api_key, capability, route, preset, model, provider, account)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
           ON CONFLICT DO UPDATE SET kind = ?1 RETURNING id AS "id!: i64""#,
        row.kind,
        row.owner,
        row.api_key,
        row.capability,
        row.route,
        row.preset,
        row.model,
        row.provider,
        row.account
    );
    Ok(query.fetch_one(&mut *unit.connection).await?)
}

async fn note(unit: &mut Unit<'_>, row: &AttemptRow, failure: &AttemptFailure) -> Inner<()> {
    let usage = row.usage.unwrap_or_default();
    let (input, output) = usage.billed.map(|billed| (billed.input, billed.output)).unzip();
    let reported = usage.cost.map(|cost| cost.0);
    sqlx::query!(
        "INSERT INTO attempt_notes (attempt, code, reason, message, http_status, excerpt,
             upstream_request_id, billed_input_tokens, billed_output_tokens, reported_cost)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
        row.id,
        failure.code,
        failure.reason,
        failure.message,
        failure.http_status,
        failure.excerpt,
        row.upstream_request_id,
        input,
        output,
        reported
    )
    .execute(&mut *unit.connection)
    .await?;
    Ok(())
}

async fn forget(unit: &mut Unit<'_>, (time, limit): &(i64, i64)) -> Inner<Saved<u64>> {
    let forgotten = sqlx::query!(
        "DELETE FROM attempts WHERE id IN (
             SELECT id FROM attempts WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2)",
        time,
        limit
    )
    .execute(&mut *unit.connection)
    .await?;
    Ok(Saved::Done(forgotten.rows_affected()))
}

fn page(asked: &AttemptsAsked) -> Result<QueryBuilder<Sqlite>> {
    let mut query = QueryBuilder::new(
        "SELECT a.*, f.kind, f.owner, f.api_key, f.capability, f.route, f.preset, f.model,
             f.provider, f.account, n.code, n.reason, n.message, n.http_status, n.excerpt,
             n.upstream_request_id, n.billed_input_tokens, n.billed_output_tokens, n.reported_cost
         FROM attempts AS a JOIN attempt_facets AS f ON f.id = a.facet
         LEFT JOIN attempt_notes AS n ON n.attempt = a.id WHERE ",
    );
    wanted::push(&mut query, &asked.wanted);
    if let Some(after) = &asked.after {
        if after.values.len() != asked.order.len() {
            return Err(Error::Bug("a place in the ledger is of another order".into()));
        }
        push_behind(&mut query, &asked.order, after);
    }
    query.push(" ORDER BY ");
    for (field, descends) in &asked.order {
        query.push(wanted::column(field)).push(if *descends { " DESC, " } else { ", " });
    }
    query.push(if ids_descend(&asked.order) { "a.id DESC" } else { "a.id" });
    query.push(" LIMIT ").push_bind(rows_for(asked.limit));
    Ok(query)
}

/// The newest first means the last that was kept as well.
fn ids_descend(order: &[(AttemptField, bool)]) -> bool {
    order.last().is_some_and(|(_, descends)| *descends)
}

/// Behind a row in every column's own direction; the first alone can be looked up in an index.
fn push_behind(
    query: &mut QueryBuilder<Sqlite>,
    order: &[(AttemptField, bool)],
    after: &AttemptCursor,
) {
    let mut columns: Vec<(&str, bool, i64)> = Vec::new();
    for ((field, descends), value) in order.iter().zip(&after.values) {
        columns.push((wanted::column(field), *descends, *value));
    }
    if let Some((column, descends, value)) = columns.first() {
        query.push(" AND ").push(column).push(if *descends { " <= " } else { " >= " });
        query.push_bind(*value);
    }
    columns.push(("a.id", ids_descend(order), after.id));
    query.push(" AND (FALSE");
    for (at, (column, descends, value)) in columns.iter().enumerate() {
        query.push(" OR (");
        for (equal, _, value) in &columns[..at] {
            query.push(equal).push(" = ").push_bind(*value).push(" AND ");
        }
        query.push(column).push(if *descends { " < " } else { " > " }).push_bind(*value);
        query.push(")");
    }
    query.push(")");
}

/// What a row is ordered by.
fn number(row: &AttemptRow, field: &AttemptField) -> i64 {
    match field {
        AttemptField::Cost => row.cost.0,
        _ => to_micros(row.start),
    }
}
