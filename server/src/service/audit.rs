//! AuditService: who changed what.
//!
//! Events are read from the store in the order they were kept, and looked at one by one: a filter
//! that fits few of them gives pages that are short, or empty, before the last.

use std::{sync::Arc, time::SystemTime};

use mediary_domain::{Error, Result};
use mediary_proto::admin::{
    AuditEvent, ListAuditEventsRequest, ListAuditEventsResponse, audit_service_server::AuditService,
};
use mediary_store::{AuditCursor, AuditFilter, AuditRow, Order as Direction, Shared};
use tonic::{Request, Response, Status};

use super::{
    change,
    listing::{
        Asked, Field, FieldKind, Filter, Key, Listing, Order, PageTokens, Row, Scope, Value,
        page_size,
    },
};
use crate::error::status;

const EVENTS: Listing = Listing {
    rpc: "mediary.admin.v1.AuditService.ListAuditEvents",
    filter: &[
        Field::new("event_time", FieldKind::Time),
        Field::new("method", FieldKind::Text),
        Field::new("resource", FieldKind::Text),
        Field::new("actor", FieldKind::Text),
        Field::new("api_key", FieldKind::Text),
        Field::new("outcome", FieldKind::Text),
    ],
    order: &["event_time"],
    usual_order: "event_time desc",
};

pub const METHODS: &[&str] = &[EVENTS.rpc];

/// Rows that are read at a time.
const BATCH: u32 = 500;
/// Rows that one call looks at.
const MOST_LOOKED_AT: usize = 10_000;

pub struct AuditApi {
    store: Shared,
    pages: Arc<PageTokens>,
}

impl AuditApi {
    pub fn new(store: Shared, pages: Arc<PageTokens>) -> Self {
        Self { store, pages }
    }

    async fn list(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<ListAuditEventsResponse> {
        let caller = change::caller(&request)?;
        let request = request.get_ref();
        let asked = Asked {
            owner: &caller.owner,
            parent: "",
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let filter = Filter::parse(asked.filter, EVENTS.filter)?;
        let order = Order::parse(asked.order_by, EVENTS.order, EVENTS.usual_order)?;
        let newest_first = order.columns().first().is_some_and(|column| column.descending);
        let direction = if newest_first { Direction::NewestFirst } else { Direction::OldestFirst };
        let wanted = AuditFilter { order: direction, ..AuditFilter::default() };
        let size = page_size(asked.page_size)?;
        let scope = Scope::of(EVENTS.rpc, &asked);
        let mut after = match asked.page_token {
            "" => None,
            token => Some(cursor(&self.pages.open(&scope, token)?)?),
        };
        let mut found: Vec<AuditRow> = Vec::new();
        let mut looked_at = 0;
        let more = 'pages: loop {
            let batch = self.store.audit().list(wanted.clone(), after, BATCH).await?;
            let is_last = batch.next.is_none();
            for row in batch.rows {
                if found.len() == size {
                    break 'pages true;
                }
                after = Some(row.cursor);
                looked_at += 1;
                if filter.accepts(&row) {
                    found.push(row);
                }
            }
            if is_last {
                break false;
            }
            if looked_at >= MOST_LOOKED_AT {
                break true;
            }
        };
        let next_page_token = match after.filter(|_| more) {
            Some(AuditCursor(sequence)) => self.pages.seal(&scope, &[Key::Number(sequence)])?,
            None => String::new(),
        };
        Ok(ListAuditEventsResponse {
            audit_events: found.into_iter().map(view).collect(),
            next_page_token,
        })
    }
}

#[tonic::async_trait]
impl AuditService for AuditApi {
    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        self.list(request).await.map(Response::new).map_err(|error| status(&error))
    }
}

fn cursor(keys: &[Key]) -> Result<AuditCursor> {
    match keys {
        [Key::Number(sequence)] => Ok(AuditCursor(*sequence)),
        _ => Err(Error::bug("a page token of the audit log holds no place in it")),
    }
}

fn view(row: AuditRow) -> AuditEvent {
    let event = row.event;
    let bytes = |hash: Option<[u8; 32]>| hash.map(|hash| hash.to_vec()).unwrap_or_default();
    AuditEvent {
        name: format!("auditEvents/{}", event.id),
        event_time: Some(event.at.into()),
        actor: event.actor,
        api_key: event.api_key,
        method: event.method,
        resource: event.resource,
        before_hash: bytes(event.before_hash).into(),
        after_hash: bytes(event.after_hash).into(),
        outcome: event.outcome,
        reason: event.reason,
        peer_address: event.peer_address,
        request_id: event.request_id,
        changed_fields: event.changed_fields,
    }
}

impl Row for AuditRow {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        let event = &self.event;
        match field {
            "event_time" => Value::Time(SystemTime::clone(&event.at)),
            "method" => event.method.as_str().into(),
            "resource" => event.resource.as_str().into(),
            "actor" => event.actor.as_str().into(),
            "api_key" => event.api_key.as_str().into(),
            "outcome" => event.outcome.as_str().into(),
            _ => Value::Missing,
        }
    }
}
