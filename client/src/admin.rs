//! What a server keeps beside its catalog, as lists that read page after page: keys of callers,
//! accounts, routes, what was changed, and what was used. All other calls of these services: `Client::call`.

use futures::Stream;
use mediary_proto::admin::{
    Account, ApiKey, AttemptRecord, AuditEvent, ListAccountsRequest, ListApiKeysRequest,
    ListAttemptsRequest, ListAuditEventsRequest, ListRoutesRequest, QueryUsageRequest, Route,
    UsageBucket,
};

use crate::{Client, Result, pages::items};

impl Client {
    /// Every key of a caller.
    pub fn list_api_keys(
        &self,
        request: ListApiKeysRequest,
    ) -> impl Stream<Item = Result<ApiKey>> + Send + use<> {
        let client = self.clone();
        items(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = ListApiKeysRequest { page_token, ..request.clone() };
            async move {
                let page = client
                    .call(request, async |raw, request| raw.keys().list_api_keys(request).await)
                    .await?;
                Ok((page.api_keys, page.next_page_token))
            }
        })
    }

    /// Every account at a provider.
    pub fn list_accounts(
        &self,
        request: ListAccountsRequest,
    ) -> impl Stream<Item = Result<Account>> + Send + use<> {
        let client = self.clone();
        items(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = ListAccountsRequest { page_token, ..request.clone() };
            async move {
                let page = client
                    .call(request, async |raw, request| raw.accounts().list_accounts(request).await)
                    .await?;
                Ok((page.accounts, page.next_page_token))
            }
        })
    }

    /// Every task that is assigned.
    pub fn list_routes(
        &self,
        request: ListRoutesRequest,
    ) -> impl Stream<Item = Result<Route>> + Send + use<> {
        let client = self.clone();
        items(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = ListRoutesRequest { page_token, ..request.clone() };
            async move {
                let page = client
                    .call(request, async |raw, request| raw.routes().list_routes(request).await)
                    .await?;
                Ok((page.routes, page.next_page_token))
            }
        })
    }

    /// What was changed or tried, newest first unless asked otherwise.
    pub fn list_audit_events(
        &self,
        request: ListAuditEventsRequest,
    ) -> impl Stream<Item = Result<AuditEvent>> + Send + use<> {
        let client = self.clone();
        items(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = ListAuditEventsRequest { page_token, ..request.clone() };
            async move {
                let page = client
                    .call(request, async |raw, request| {
                        raw.audit().list_audit_events(request).await
                    })
                    .await?;
                Ok((page.audit_events, page.next_page_token))
            }
        })
    }
    /// What was used within a time, bucket by bucket.
    pub fn query_usage(
        &self,
        request: QueryUsageRequest,
    ) -> impl Stream<Item = Result<UsageBucket>> + Send + use<> {
        let client = self.clone();
        items(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = QueryUsageRequest { page_token, ..request.clone() };
            async move {
                let page = client
                    .call(request, async |raw, request| raw.usage().query_usage(request).await)
                    .await?;
                Ok((page.usage_buckets, page.next_page_token))
            }
        })
    }

    /// Every attempt at a provider that is kept, newest first unless asked otherwise.
    pub fn list_attempts(
        &self,
        request: ListAttemptsRequest,
    ) -> impl Stream<Item = Result<AttemptRecord>> + Send + use<> {
        let client = self.clone();
        items(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = ListAttemptsRequest { page_token, ..request.clone() };
            async move {
                let page = client
                    .call(request, async |raw, request| raw.usage().list_attempts(request).await)
                    .await?;
                Ok((page.attempts, page.next_page_token))
            }
        })
    }
}
