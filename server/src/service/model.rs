//! ModelService: what can be done, by whom, and with which models.
//!
//! Owns: the RPCs and what names they take. Leaves: which rows there are and what can be asked of
//! them (`rows`), how they look (`wire`), who would serve a call (`resolve`), filters, orders and
//! pages (`listing`).

mod resolve;
pub mod rows;
pub mod wire;

use std::sync::Arc;

use mediary_domain::{Error, Result};
use mediary_proto::v1::{
    GetModelRequest, GetModelResponse, GetProviderRequest, GetProviderResponse,
    ListCapabilitiesRequest, ListCapabilitiesResponse, ListModelsRequest, ListModelsResponse,
    ListProvidersRequest, ListProvidersResponse, ResolveTargetRequest, ResolveTargetResponse,
    model_service_server::ModelService,
};
use tonic::{Request, Response, Status};

use super::{
    change,
    listing::{Asked, PageTokens},
};
use crate::{
    access::Caller,
    clock::Clock,
    error::status,
    registry::Registry,
    routing::{Accounts, Learned},
};

pub const METHODS: &[&str] = &[
    rows::CAPABILITIES.rpc,
    rows::PROVIDERS.rpc,
    "mediary.v1.ModelService.GetProvider",
    rows::MODELS.rpc,
    "mediary.v1.ModelService.GetModel",
    "mediary.v1.ModelService.ResolveTarget",
];

/// The longest name that is looked up, and repeated in a failure.
const MAX_NAME_BYTES: usize = 512;

pub struct ModelApi {
    registry: Registry,
    accounts: Accounts,
    learned: Learned,
    pages: Arc<PageTokens>,
    clock: Clock,
    sandbox_in_auto: bool,
}

impl ModelApi {
    pub fn new(
        registry: Registry,
        accounts: Accounts,
        learned: Learned,
        pages: Arc<PageTokens>,
        clock: Clock,
        sandbox_in_auto: bool,
    ) -> Self {
        Self { registry, accounts, learned, pages, clock, sandbox_in_auto }
    }

    fn capabilities(
        &self,
        caller: &Caller,
        request: &ListCapabilitiesRequest,
    ) -> Result<ListCapabilitiesResponse> {
        let asked = Asked {
            owner: &caller.owner,
            page_size: request.page_size,
            page_token: &request.page_token,
            ..Asked::default()
        };
        let snapshot = self.registry.now();
        let page = rows::CAPABILITIES.page(rows::capabilities(&snapshot), &asked, &self.pages)?;
        Ok(ListCapabilitiesResponse {
            capabilities: page.rows.iter().map(wire::capability).collect(),
            next_page_token: page.next_page_token,
        })
    }

    fn providers(
        &self,
        caller: &Caller,
        request: &ListProvidersRequest,
    ) -> Result<ListProvidersResponse> {
        let asked = Asked {
            owner: &caller.owner,
            parent: "",
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let snapshot = self.registry.now();
        let page = rows::PROVIDERS.page(rows::providers(&snapshot), &asked, &self.pages)?;
        Ok(ListProvidersResponse {
            providers: page.rows.iter().map(|row| wire::provider(row, caller.role)).collect(),
            next_page_token: page.next_page_token,
        })
    }

    fn provider(
        &self,
        caller: &Caller,
        request: &GetProviderRequest,
    ) -> Result<GetProviderResponse> {
        let id = provider_id("name", &request.name)?;
        let snapshot = self.registry.now();
        let row = rows::provider(&snapshot, id).ok_or_else(|| no_provider(&request.name))?;
        Ok(GetProviderResponse { provider: Some(wire::provider(&row, caller.role)) })
    }

    fn models(&self, caller: &Caller, request: &ListModelsRequest) -> Result<ListModelsResponse> {
        let asked = Asked {
            owner: &caller.owner,
            parent: &request.parent,
            filter: &request.filter,
            order_by: &request.order_by,
            page_size: request.page_size,
            page_token: &request.page_token,
        };
        let snapshot = self.registry.now();
        let of = match provider_id("parent", &request.parent)? {
            "-" => None,
            id if snapshot.providers.contains_key(id) => Some(id),
            _ => return Err(no_provider(&request.parent)),
        };
        let page = rows::MODELS.page(rows::models(&snapshot, of), &asked, &self.pages)?;
        Ok(ListModelsResponse {
            models: page.rows.iter().map(wire::model).collect(),
            next_page_token: page.next_page_token,
        })
    }

    fn model(&self, request: &GetModelRequest) -> Result<GetModelResponse> {
        let name = model_name(&request.name)?;
        let snapshot = self.registry.now();
        let row = rows::model(&snapshot, name)
            .ok_or_else(|| Error::not_found("mediary.v1.Model", name))?;
        Ok(GetModelResponse { model: Some(wire::model(&row)) })
    }
}

#[tonic::async_trait]
impl ModelService for ModelApi {
    async fn list_capabilities(
        &self,
        request: Request<ListCapabilitiesRequest>,
    ) -> Result<Response<ListCapabilitiesResponse>, Status> {
        answer(
            change::caller(&request)
                .and_then(|caller| self.capabilities(&caller, request.get_ref())),
        )
    }

    async fn list_providers(
        &self,
        request: Request<ListProvidersRequest>,
    ) -> Result<Response<ListProvidersResponse>, Status> {
        answer(
            change::caller(&request).and_then(|caller| self.providers(&caller, request.get_ref())),
        )
    }

    async fn get_provider(
        &self,
        request: Request<GetProviderRequest>,
    ) -> Result<Response<GetProviderResponse>, Status> {
        answer(
            change::caller(&request).and_then(|caller| self.provider(&caller, request.get_ref())),
        )
    }

    async fn list_models(
        &self,
        request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        answer(change::caller(&request).and_then(|caller| self.models(&caller, request.get_ref())))
    }

    async fn resolve_target(
        &self,
        request: Request<ResolveTargetRequest>,
    ) -> Result<Response<ResolveTargetResponse>, Status> {
        answer(change::caller(&request).and_then(|caller| self.resolve(&caller, request.get_ref())))
    }

    async fn get_model(
        &self,
        request: Request<GetModelRequest>,
    ) -> Result<Response<GetModelResponse>, Status> {
        answer(self.model(request.get_ref()))
    }
}

fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| status(&error))
}

/// `id` in `providers/{id}`; a parent may also name all of them, as `-`.
fn provider_id<'a>(field: &'static str, name: &'a str) -> Result<&'a str> {
    let id = name.strip_prefix("providers/").filter(|id| !id.is_empty() && !id.contains('/'));
    match id.filter(|_| name.len() <= MAX_NAME_BYTES) {
        Some("-") if field == "parent" => Ok("-"),
        Some(id) if id != "-" => Ok(id),
        _ if field == "parent" => {
            Err(Error::field(field, "must be providers/{provider}, or providers/- for all"))
        }
        _ => Err(Error::field(field, "must be providers/{provider}")),
    }
}

/// Names of models nobody described may hold any characters; they are well formed, and not found.
fn model_name(name: &str) -> Result<&str> {
    let parts = name.strip_prefix("providers/").and_then(|rest| rest.split_once("/models/"));
    match parts {
        Some((provider, model))
            if !provider.is_empty() && !model.is_empty() && name.len() <= MAX_NAME_BYTES =>
        {
            Ok(name)
        }
        _ => Err(Error::field("name", "must be providers/{provider}/models/{model}")),
    }
}

pub fn no_provider(name: &str) -> Error {
    Error::not_found("mediary.v1.Provider", name)
}

#[cfg(test)]
mod tests;
