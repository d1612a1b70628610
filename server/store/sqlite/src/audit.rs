//! Who changed what.

use async_trait::async_trait;
use mediary_store::{
    Audit, AuditCursor, AuditEvent, AuditFilter, AuditRow, Error, Order, Paged, Result, Saved,
    Text, from_micros, to_micros,
};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::{
    SqliteStore,
    columns::{hash, rows_for},
    fault::{Fault, Result as Inner},
    unit::Unit,
};

#[async_trait]
impl Audit for SqliteStore {
    async fn append(&self, event: AuditEvent) -> Result<()> {
        self.writer.note(event, |unit, event| Box::pin(append(unit, event))).await
    }

    async fn list(
        &self,
        filter: AuditFilter,
        after: Option<AuditCursor>,
        limit: u32,
    ) -> Result<Paged<AuditRow, AuditCursor>> {
        let (mut connection, time_limit) = self.reader().await?;
        let mut query = select(&filter, after, limit);
        let columns: Vec<Columns> =
            time_limit.of(query.build_query_as().fetch_all(&mut *connection)).await?;
        let rows = columns.into_iter().map(AuditRow::try_from).collect::<Inner<_>>();
        let rows = rows.map_err(|Fault(error)| error)?;
        Ok(Paged::cut(rows, limit, |row: &AuditRow| row.cursor))
    }
}

async fn append(unit: &mut Unit<'_>, event: &AuditEvent) -> Inner<Saved<()>> {
    insert(unit.connection, event).await?;
    Ok(Saved::Done(()))
}

/// Keeps an event, within the transaction that is going on.
pub(crate) async fn insert(connection: &mut SqliteConnection, event: &AuditEvent) -> Inner<()> {
    let at = to_micros(event.at);
    let before_hash = event.before_hash.as_ref().map(<[u8; 32]>::as_slice);
    let after_hash = event.after_hash.as_ref().map(<[u8; 32]>::as_slice);
    let changed_fields = serde_json::to_string(&event.changed_fields)
        .map_err(|error| Error::Bug(error.to_string()))?;
    let made = sqlx::query!(
        "INSERT INTO audit (id, at, actor, api_key, method, resource, before_hash, after_hash,
             outcome, reason, peer_address, request_id, changed_fields)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT DO NOTHING",
        event.id,
        at,
        event.actor,
        event.api_key,
        event.method,
        event.resource,
        before_hash,
        after_hash,
        event.outcome,
        event.reason,
        event.peer_address,
        event.request_id,
        changed_fields
    )
    .execute(connection)
    .await?;
    if made.rows_affected() == 0 {
        Err(Error::Exists(name(&event.id)))?;
    }
    Ok(())
}

/// The texts are ours; what callers say is bound, and compared without wildcards.
fn select(filter: &AuditFilter, after: Option<AuditCursor>, limit: u32) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM audit WHERE TRUE");
    let texts = [
        (" AND actor", &filter.actor),
        (" AND api_key", &filter.api_key),
        (" AND method", &filter.method),
        (" AND resource", &filter.resource),
        (" AND outcome", &filter.outcome),
    ];
    for (column, text) in texts {
        match text {
            None => {}
            Some(Text::Is(text)) => {
                query.push(column).push(" = ").push_bind(text.clone());
            }
            Some(Text::Contains(text)) => {
                let name = column.trim_start_matches(" AND ");
                query
                    .push(" AND instr(")
                    .push(name)
                    .push(", ")
                    .push_bind(text.clone())
                    .push(") > 0");
            }
        }
    }
    if let Some(from) = filter.from {
        query.push(" AND at >= ").push_bind(to_micros(from));
    }
    if let Some(until) = filter.until {
        query.push(" AND at < ").push_bind(to_micros(until));
    }
    let (beyond, order) = match filter.order {
        Order::NewestFirst => (" AND sequence < ", " ORDER BY sequence DESC LIMIT "),
        Order::OldestFirst => (" AND sequence > ", " ORDER BY sequence LIMIT "),
    };
    if let Some(AuditCursor(sequence)) = after {
        query.push(beyond).push_bind(sequence);
    }
    query.push(order).push_bind(rows_for(limit));
    query
}

fn name(id: &str) -> String {
    format!("auditEvents/{id}")
}

#[derive(sqlx::FromRow)]
struct Columns {
    sequence: i64,
    id: String,
    at: i64,
    actor: String,
    api_key: String,
    method: String,
    resource: String,
    before_hash: Option<Vec<u8>>,
    after_hash: Option<Vec<u8>>,
    outcome: String,
    reason: String,
    peer_address: String,
    request_id: String,
    changed_fields: String,
}

impl TryFrom<Columns> for AuditRow {
    type Error = Fault;

    fn try_from(row: Columns) -> Inner<Self> {
        let name = name(&row.id);
        let changed_fields = serde_json::from_str(&row.changed_fields)
            .map_err(|error| Error::Corrupt(format!("{name}: {error}")))?;
        let event = AuditEvent {
            id: row.id,
            at: from_micros(row.at),
            actor: row.actor,
            api_key: row.api_key,
            method: row.method,
            resource: row.resource,
            before_hash: row.before_hash.map(|bytes| hash(bytes, &name)).transpose()?,
            after_hash: row.after_hash.map(|bytes| hash(bytes, &name)).transpose()?,
            outcome: row.outcome,
            reason: row.reason,
            peer_address: row.peer_address,
            request_id: row.request_id,
            changed_fields,
        };
        Ok(Self { cursor: AuditCursor(row.sequence), event })
    }
}
