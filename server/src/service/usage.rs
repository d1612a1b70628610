//! UsageService: what was used, by whom, and what it cost.
//!
//! Owns: the questions and how the answers look. Leaves: the rows and the sums (the store), writing
//! them (`ledger`). Before each answer the ledger is asked to write what has ended, so that a call
//! that was answered is counted.

mod attempts;
mod sums;
mod wanted;

use std::sync::Arc;

use mediary_domain::Result;
use mediary_proto::admin::{
    ListAttemptsRequest, ListAttemptsResponse, QueryUsageRequest, QueryUsageResponse,
    usage_service_server::UsageService,
};
use mediary_store::Shared;
use tonic::{Request, Response, Status};

use super::{
    change,
    listing::{Asked, Order, PageTokens, Scope, page_size},
};
use crate::{clock::Clock, error::status, ledger::Ledger, registry::Registry};

pub const METHODS: &[&str] = &[sums::RPC, attempts::ATTEMPTS.rpc];

pub struct UsageApi {
    store: Shared,
    ledger: Ledger,
    registry: Registry,
    pages: Arc<PageTokens>,
    clock: Clock,
}

impl UsageApi {
    pub fn new(
        store: Shared,
        ledger: Ledger,
        registry: Registry,
        pages: Arc<PageTokens>,
        clock: Clock,
    ) -> Self {
        Self { store, ledger, registry, pages, clock }
    }

    async fn query(&self, request: Request<QueryUsageRequest>) -> Result<QueryUsageResponse> {
        let caller = change::caller(&request)?;
        let request = request.get_ref();
        let question = sums::Question::read(request, self.clock.wall())?;
        let parent = question.scope(request);
        let asked = Asked {
            owner: &caller.owner,
            parent: &parent,
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let order = Order::parse(asked.order_by, sums::ORDER, sums::USUAL_ORDER)?;
        page_size(asked.page_size)?;
        self.ledger.catch_up().await;
        let sums = self.store.ledger().sums(question.asked()).await?;
        let (scope, size) = (Scope::of(sums::RPC, &asked), asked.page_size);
        let rows = question.rows(sums)?;
        let page = self.pages.page(&scope, &order, rows, size, asked.page_token)?;
        Ok(QueryUsageResponse {
            usage_buckets: page.rows.into_iter().map(|row| row.bucket).collect(),
            next_page_token: page.next_page_token,
        })
    }

    async fn list(&self, request: Request<ListAttemptsRequest>) -> Result<ListAttemptsResponse> {
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
        let page = attempts::Page::read(&asked, &self.pages)?;
        self.ledger.catch_up().await;
        let found = self.store.ledger().list(page.asked.clone()).await?;
        let next_page_token = match &found.next {
            Some(cursor) => page.token_behind(cursor, &self.pages)?,
            None => String::new(),
        };
        let registry = self.registry.now();
        Ok(ListAttemptsResponse {
            attempts: found.rows.into_iter().map(|row| attempts::view(row, &registry)).collect(),
            next_page_token,
        })
    }
}

#[tonic::async_trait]
impl UsageService for UsageApi {
    async fn query_usage(
        &self,
        request: Request<QueryUsageRequest>,
    ) -> Result<Response<QueryUsageResponse>, Status> {
        self.query(request).await.map(Response::new).map_err(|error| status(&error))
    }

    async fn list_attempts(
        &self,
        request: Request<ListAttemptsRequest>,
    ) -> Result<Response<ListAttemptsResponse>, Status> {
        self.list(request).await.map(Response::new).map_err(|error| status(&error))
    }
}
