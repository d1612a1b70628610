//! The calls. Each one is the contract's, with typed errors and a time limit.
//!
//! Leaves: the connection (`connect`), the rules of streams (`stream`), paging (`pages`).

use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _};
use mediary_proto::{
    admin::{
        account_service_client::AccountServiceClient, api_key_service_client::ApiKeyServiceClient,
        audit_service_client::AuditServiceClient, catalog_service_client::CatalogServiceClient,
        preset_service_client::PresetServiceClient, route_service_client::RouteServiceClient,
        usage_service_client::UsageServiceClient, workflow_service_client::WorkflowServiceClient,
    },
    v1::{
        self, model_service_client::ModelServiceClient, server_service_client::ServerServiceClient,
        text_service_client::TextServiceClient,
    },
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    Builder, Comparison, Error, Result, TextStream, Transport, connect::Limits, pages::items,
    stream::Events,
};

/// A Mediary. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
    limits: Limits,
}

/// The generated stubs, for what has no call of its own here. They return plain statuses; `Error`
/// is made from one by `Error::from`.
#[derive(Debug, Clone)]
pub struct Raw(Transport);

impl Client {
    /// Starts with the defaults: `http://127.0.0.1:8484` and no key.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The server of `MEDIARY_URL` with the key of `MEDIARY_API_KEY`; what is not set comes from the
    /// profiles of the command line.
    pub fn from_env() -> Result<Self> {
        Builder::from_env()?.build()
    }

    pub(crate) fn new(transport: Transport, limits: Limits) -> Self {
        Self { transport, limits }
    }

    /// The generated stubs on this connection.
    pub fn raw(&self) -> Raw {
        Raw(self.transport.clone())
    }

    /// Makes one call of the stubs, with typed errors and the time limit of calls that are no stream:
    /// `client.call(request, async |raw, request| raw.keys().get_api_key(request).await)`.
    pub async fn call<Q, A>(
        &self,
        request: Q,
        call: impl AsyncFnOnce(Raw, Request<Q>) -> std::result::Result<Response<A>, Status>,
    ) -> Result<A> {
        let limit = self.limits.unary;
        within(limit, call(self.raw(), timed(request, limit))).await
    }
}

/// Text.
impl Client {
    /// Answers a conversation in one message.
    pub async fn generate(
        &self,
        request: impl Into<v1::GenerateTextRequest>,
    ) -> Result<v1::GenerateTextResponse> {
        let mut request = request.into();
        fill(&mut request.request_id);
        let limit = self.limits.generate;
        within(limit, self.raw().text().generate_text(timed(request, limit))).await
    }

    /// Answers a conversation as a stream of events. Dropping the stream stops the provider, unless
    /// the request is resumable; such a stream comes back by itself when its connection is lost.
    pub async fn stream(&self, request: impl Into<v1::StreamTextRequest>) -> Result<TextStream> {
        let mut request = request.into();
        fill(&mut request.request_id);
        let is_resumable = request.resumable;
        let mut text = self.raw().text();
        let events = within(self.limits.idle, text.stream_text(request)).await?;
        let events = events.map(|reply| reply.map(|reply| reply.event));
        let stream = TextStream::new(events, self.limits.idle);
        if !is_resumable {
            return Ok(stream);
        }
        let client = self.clone();
        Ok(stream.resuming(Box::new(move |generation, after| {
            let client = client.clone();
            async move { client.resumed(generation, after).await }.boxed()
        })))
    }

    /// Answers a conversation with several models side by side. Dropping the stream stops them all.
    pub async fn compare(&self, request: impl Into<v1::CompareTextRequest>) -> Result<Comparison> {
        let mut text = self.raw().text();
        let events = within(self.limits.idle, text.compare_text(request.into())).await?;
        let events = events.map(|reply| reply.map(|reply| reply.event));
        Ok(Comparison::new(events, self.limits.idle))
    }

    /// Goes on with a resumable generation after the event `after_sequence`; 0 = from its start.
    pub async fn resume(
        &self,
        generation: impl Into<String>,
        after_sequence: i64,
    ) -> Result<TextStream> {
        let events = self.resumed(generation.into(), after_sequence).await?;
        Ok(TextStream::new(events, self.limits.idle).after(after_sequence))
    }

    async fn resumed(&self, generation: String, after_sequence: i64) -> Result<Events> {
        let request = v1::ResumeTextRequest { generation, after_sequence };
        let mut text = self.raw().text();
        let events = within(self.limits.idle, text.resume_text(request)).await?;
        Ok(events.map(|reply| reply.map(|reply| reply.event)).boxed())
    }

    /// Stops a generation, also one that another connection listens to.
    pub async fn stop(&self, generation: impl Into<String>) -> Result<v1::Generation> {
        let request = v1::StopTextRequest { generation: generation.into(), ..Default::default() };
        let limit = self.limits.unary;
        let reply = within(limit, self.raw().text().stop_text(timed(request, limit))).await?;
        reply.generation.ok_or_else(|| empty("generation"))
    }
}

/// Text, measured.
impl Client {
    /// Turns texts into vectors.
    pub async fn embed(&self, mut request: v1::EmbedTextRequest) -> Result<v1::EmbedTextResponse> {
        fill(&mut request.request_id);
        let limit = self.limits.generate;
        within(limit, self.raw().text().embed_text(timed(request, limit))).await
    }

    /// Counts the tokens of a conversation without answering it.
    pub async fn count_tokens(
        &self,
        request: v1::CountTokensRequest,
    ) -> Result<v1::CountTokensResponse> {
        let limit = self.limits.unary;
        within(limit, self.raw().text().count_tokens(timed(request, limit))).await
    }
}

/// What there is.
impl Client {
    /// Every model, page after page. An empty `parent` means all providers.
    pub fn list_models(
        &self,
        request: v1::ListModelsRequest,
    ) -> impl Stream<Item = Result<v1::Model>> + Send + use<> {
        let client = self.clone();
        items(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = v1::ListModelsRequest { page_token, ..request.clone() };
            async move {
                let page = client.models_page(request).await?;
                Ok((page.models, page.next_page_token))
            }
        })
    }

    /// One page of models.
    pub async fn models_page(
        &self,
        mut request: v1::ListModelsRequest,
    ) -> Result<v1::ListModelsResponse> {
        if request.parent.is_empty() {
            request.parent = "providers/-".to_owned();
        }
        let limit = self.limits.unary;
        within(limit, self.raw().models().list_models(timed(request, limit))).await
    }

    /// The model `providers/{provider}/models/{model}`.
    pub async fn get_model(&self, name: impl Into<String>) -> Result<v1::Model> {
        let limit = self.limits.unary;
        let request = timed(v1::GetModelRequest { name: name.into() }, limit);
        let reply = within(limit, self.raw().models().get_model(request)).await?;
        reply.model.ok_or_else(|| empty("model"))
    }

    /// Every provider, configured or not.
    pub fn list_providers(
        &self,
        request: v1::ListProvidersRequest,
    ) -> impl Stream<Item = Result<v1::Provider>> + Send + use<> {
        let (models, limit) = (self.raw().models(), self.limits.unary);
        items(request.page_token.clone(), move |page_token| {
            let mut models = models.clone();
            let request = v1::ListProvidersRequest { page_token, ..request.clone() };
            async move {
                let page = within(limit, models.list_providers(timed(request, limit))).await?;
                Ok((page.providers, page.next_page_token))
            }
        })
    }

    /// Everything that Mediary can do.
    pub fn list_capabilities(
        &self,
        request: v1::ListCapabilitiesRequest,
    ) -> impl Stream<Item = Result<v1::Capability>> + Send + use<> {
        let (models, limit) = (self.raw().models(), self.limits.unary);
        items(request.page_token.clone(), move |page_token| {
            let mut models = models.clone();
            let request = v1::ListCapabilitiesRequest { page_token, ..request.clone() };
            async move {
                let page = within(limit, models.list_capabilities(timed(request, limit))).await?;
                Ok((page.capabilities, page.next_page_token))
            }
        })
    }

    /// Version, limits and features of the server.
    pub async fn server_info(&self) -> Result<v1::ServerInfo> {
        let limit = self.limits.unary;
        let request = timed(v1::GetServerInfoRequest::default(), limit);
        let reply = within(limit, self.raw().server().get_server_info(request)).await?;
        reply.server_info.ok_or_else(|| empty("server_info"))
    }
}

impl Raw {
    pub fn text(&self) -> TextServiceClient<Transport> {
        TextServiceClient::new(self.0.clone())
    }

    pub fn models(&self) -> ModelServiceClient<Transport> {
        ModelServiceClient::new(self.0.clone())
    }

    pub fn server(&self) -> ServerServiceClient<Transport> {
        ServerServiceClient::new(self.0.clone())
    }

    pub fn keys(&self) -> ApiKeyServiceClient<Transport> {
        ApiKeyServiceClient::new(self.0.clone())
    }

    pub fn accounts(&self) -> AccountServiceClient<Transport> {
        AccountServiceClient::new(self.0.clone())
    }

    pub fn routes(&self) -> RouteServiceClient<Transport> {
        RouteServiceClient::new(self.0.clone())
    }

    pub fn presets(&self) -> PresetServiceClient<Transport> {
        PresetServiceClient::new(self.0.clone())
    }

    pub fn workflows(&self) -> WorkflowServiceClient<Transport> {
        WorkflowServiceClient::new(self.0.clone())
    }

    pub fn catalog(&self) -> CatalogServiceClient<Transport> {
        CatalogServiceClient::new(self.0.clone())
    }

    pub fn audit(&self) -> AuditServiceClient<Transport> {
        AuditServiceClient::new(self.0.clone())
    }

    pub fn usage(&self) -> UsageServiceClient<Transport> {
        UsageServiceClient::new(self.0.clone())
    }

    /// What any other generated client of `mediary_proto` can be made from.
    pub fn transport(&self) -> Transport {
        self.0.clone()
    }
}

/// A request that tells the server how long the caller waits.
fn timed<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = std::result::Result<Response<T>, Status>>,
) -> Result<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(reply) => Ok(reply?.into_inner()),
        Err(_) => Err(Error::timeout(format!("no answer within {} s", limit.as_secs_f64()))),
    }
}

fn fill(request_id: &mut String) {
    if request_id.is_empty() {
        *request_id = request_id_of_its_own();
    }
}

/// Makes a call safe to repeat.
#[expect(clippy::disallowed_methods, reason = "the client's one source of ids")]
pub(crate) fn request_id_of_its_own() -> String {
    Uuid::now_v7().to_string()
}

pub(crate) fn empty(field: &str) -> Error {
    Error::protocol(format!("the answer has no {field}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        (listener, url)
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unreachable() {
        let (listener, url) = listener();
        drop(listener);
        let client = Client::builder().url(url).build().expect("a plain address");
        let error = client.server_info().await.expect_err("nobody listens");
        assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
        let error = client.stream(crate::TextRequest::default()).await.expect_err("nobody listens");
        assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let (_silent, url) = listener();
        let limit = Duration::from_millis(50);
        let client = Client::builder().url(url).unary_timeout(limit).idle_timeout(limit).build();
        let client = client.expect("a plain address");
        let error = client.server_info().await.expect_err("nobody answers");
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
        let error = client.stream(crate::TextRequest::default()).await.expect_err("nobody answers");
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    }
}
