//! CatalogService: providers and models, changed while the server runs.
//!
//! Owns: the RPCs, and who holds on to what. Leaves: what a row may be (`provider`, `model`,
//! `settings`, `listed`), how it looks (`model::wire`), what becomes of it (`registry`).

mod listed;
mod model;
mod models;
mod provider;
mod providers;
mod refresh;
pub mod settings;

use std::sync::Arc;

use mediary_proto::{
    admin::{
        CreateModelRequest, CreateModelResponse, CreateProviderRequest, CreateProviderResponse,
        DeleteModelRequest, DeleteModelResponse, DeleteProviderRequest, DeleteProviderResponse,
        RefreshModelsRequest, RefreshModelsResponse, UpdateModelRequest, UpdateModelResponse,
        UpdateProviderRequest, UpdateProviderResponse, catalog_service_server::CatalogService,
    },
    v1,
};
use mediary_store::{CatalogKey, CatalogRow, Change, RegistryRows, Saved, Shared, Stamp};
use tonic::{Request, Response, Status};

use crate::{
    clock::Clock,
    error::status,
    registry::{Keeper, Origin, Registry},
};

const CREATE_PROVIDER: &str = "mediary.admin.v1.CatalogService.CreateProvider";
const UPDATE_PROVIDER: &str = "mediary.admin.v1.CatalogService.UpdateProvider";
const DELETE_PROVIDER: &str = "mediary.admin.v1.CatalogService.DeleteProvider";
const CREATE_MODEL: &str = "mediary.admin.v1.CatalogService.CreateModel";
const UPDATE_MODEL: &str = "mediary.admin.v1.CatalogService.UpdateModel";
const DELETE_MODEL: &str = "mediary.admin.v1.CatalogService.DeleteModel";
const REFRESH_MODELS: &str = "mediary.admin.v1.CatalogService.RefreshModels";

pub const METHODS: &[&str] = &[
    CREATE_PROVIDER,
    UPDATE_PROVIDER,
    DELETE_PROVIDER,
    CREATE_MODEL,
    UPDATE_MODEL,
    DELETE_MODEL,
    REFRESH_MODELS,
];

pub struct CatalogApi {
    store: Shared,
    keeper: Arc<Keeper>,
    registry: Registry,
    clock: Clock,
}

impl CatalogApi {
    pub fn new(store: Shared, keeper: Arc<Keeper>, registry: Registry, clock: Clock) -> Self {
        Self { store, keeper, registry, clock }
    }

    async fn put(
        &self,
        row: CatalogRow,
        is_stored: bool,
        change: Change,
    ) -> mediary_store::Result<Saved<CatalogRow>> {
        let catalog = self.store.catalog();
        if is_stored {
            catalog.update(row, None, change).await
        } else {
            catalog.create(row, change).await
        }
    }
}

/// The row of the store, be it readable or not.
fn stored<'a>(rows: &'a RegistryRows, key: &CatalogKey) -> Option<&'a CatalogRow> {
    rows.catalog.iter().find(|row| row.key == *key)
}

/// The rows with this one among them.
fn with(rows: &RegistryRows, key: CatalogKey, json: String) -> (CatalogRow, RegistryRows) {
    let stamp = stored(rows, &key).map_or_else(Stamp::default, |row| row.stamp);
    let row = CatalogRow { key, origin: Origin::Manual.as_str().to_owned(), json, stamp };
    let mut rows = rows.clone();
    rows.catalog.retain(|one| one.key != row.key);
    rows.catalog.push(row.clone());
    (row, rows)
}

#[tonic::async_trait]
impl CatalogService for CatalogApi {
    async fn create_provider(
        &self,
        request: Request<CreateProviderRequest>,
    ) -> Result<Response<CreateProviderResponse>, Status> {
        let saved = self.create_provider(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|provider| CreateProviderResponse { provider: Some(provider) }))
    }

    async fn update_provider(
        &self,
        request: Request<UpdateProviderRequest>,
    ) -> Result<Response<UpdateProviderResponse>, Status> {
        let saved = self.update_provider(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|provider| UpdateProviderResponse { provider: Some(provider) }))
    }

    async fn delete_provider(
        &self,
        request: Request<DeleteProviderRequest>,
    ) -> Result<Response<DeleteProviderResponse>, Status> {
        let gone = self.delete_provider(request).await.map_err(|error| status(&error))?;
        Ok(gone.map(|()| DeleteProviderResponse {}))
    }

    async fn create_model(
        &self,
        request: Request<CreateModelRequest>,
    ) -> Result<Response<CreateModelResponse>, Status> {
        let saved = self.create_model(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|model: v1::Model| CreateModelResponse { model: Some(model) }))
    }

    async fn update_model(
        &self,
        request: Request<UpdateModelRequest>,
    ) -> Result<Response<UpdateModelResponse>, Status> {
        let saved = self.update_model(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|model: v1::Model| UpdateModelResponse { model: Some(model) }))
    }

    async fn delete_model(
        &self,
        request: Request<DeleteModelRequest>,
    ) -> Result<Response<DeleteModelResponse>, Status> {
        let gone = self.delete_model(request).await.map_err(|error| status(&error))?;
        Ok(gone.map(|()| DeleteModelResponse {}))
    }

    async fn refresh_models(
        &self,
        request: Request<RefreshModelsRequest>,
    ) -> Result<Response<RefreshModelsResponse>, Status> {
        let refreshes = self.refresh_models(request).await.map_err(|error| status(&error))?;
        Ok(Response::new(RefreshModelsResponse { refreshes }))
    }
}
