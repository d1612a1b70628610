//! ApiKeyService: the keys with which callers reach the server.
//!
//! Owns: the RPCs, and what they let a key be. Leaves: how a key looks (`wire`), what it is good
//! for when it is presented (`access`).

mod wire;

use std::sync::Arc;

use mediary_domain::{Error, Result};
use mediary_proto::admin::{
    ApiKey, CreateApiKeyRequest, CreateApiKeyResponse, DeleteApiKeyRequest, DeleteApiKeyResponse,
    GetApiKeyRequest, GetApiKeyResponse, ListApiKeysRequest, ListApiKeysResponse,
    UpdateApiKeyRequest, UpdateApiKeyResponse, api_key_service_server::ApiKeyService,
};
use mediary_store::{ApiKey as Row, Saved, Shared, Stamp};
use tonic::{Request, Response, Status};

use super::{
    change::{self, Changing, Effect},
    listing::{Asked, PageTokens},
    mask, names,
};
use crate::{access::Token, clock::Clock, error::status, registry::Keeper};

const CREATE: &str = "mediary.admin.v1.ApiKeyService.CreateApiKey";
const UPDATE: &str = "mediary.admin.v1.ApiKeyService.UpdateApiKey";
const DELETE: &str = "mediary.admin.v1.ApiKeyService.DeleteApiKey";

pub const METHODS: &[&str] =
    &[CREATE, "mediary.admin.v1.ApiKeyService.GetApiKey", wire::KEYS.rpc, UPDATE, DELETE];

/// How often a change is tried again on what somebody else has changed meanwhile.
const TRIES: usize = 5;

pub struct ApiKeyApi {
    store: Shared,
    keeper: Arc<Keeper>,
    pages: Arc<PageTokens>,
    clock: Clock,
}

impl ApiKeyApi {
    pub fn new(store: Shared, keeper: Arc<Keeper>, pages: Arc<PageTokens>, clock: Clock) -> Self {
        Self { store, keeper, pages, clock }
    }

    async fn create(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<CreateApiKeyResponse>> {
        let CreateApiKeyRequest { api_key_id, request_id, validate_only, .. } = request.get_ref();
        let changing = Changing::begin(&self.clock, CREATE, &request, request_id)?;
        let replay = |name: String| async move {
            let key = self.get(&name).await?;
            let made =
                CreateApiKeyResponse { api_key: Some(wire::view(&key)), secret: String::new() };
            Ok(change::answer(made, true))
        };
        if let Some(name) = changing.replayed(self.store.requests()).await? {
            return replay(name).await;
        }
        let id = match api_key_id.as_str() {
            "" => self.clock.resource_id('k'),
            id => names::chosen_id("api_key_id", id).map(|()| id.to_owned())?,
        };
        let given = request.get_ref().api_key.clone().unwrap_or_default();
        let token = Token::new(&self.clock);
        let row = Row {
            prefix: token.prefix.clone(),
            secret_hash: token.hash,
            key_hint: token.hint.clone(),
            owner: wire::owner(&given.owner, &id)?,
            last_used_time: None,
            stamp: Stamp::default(),
            ..wire::parse(&id, given, Some(self.clock.wall()))?
        };
        if *validate_only {
            if self.store.api_keys().get(&id).await?.is_some() {
                return Err(mediary_store::Error::Exists(wire::name(&id)).into());
            }
            let made =
                CreateApiKeyResponse { api_key: Some(wire::view(&row)), secret: String::new() };
            return Ok(Response::new(made));
        }
        let effect = Effect {
            resource: wire::name(&id),
            after: Some(change::hash(&wire::view(&row))),
            ..Effect::default()
        };
        match self.store.api_keys().create(row, changing.change(effect)).await? {
            Saved::Done(row) => {
                self.keeper.refresh().await?;
                Ok(Response::new(CreateApiKeyResponse {
                    api_key: Some(wire::view(&row)),
                    secret: token.text.as_str().to_owned(),
                }))
            }
            Saved::Replayed(name) => replay(name).await,
            Saved::Missing => Err(Error::bug("a new key is missing")),
        }
    }

    async fn update(
        &self,
        request: Request<UpdateApiKeyRequest>,
    ) -> Result<Response<UpdateApiKeyResponse>> {
        let UpdateApiKeyRequest { api_key, update_mask, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, UPDATE, &request, request_id)?;
        let given = api_key.clone().unwrap_or_default();
        let id = names::id_in("api_key.name", &given.name, wire::COLLECTION)?;
        let respond = |row: &Row, replayed: bool| {
            change::answer(UpdateApiKeyResponse { api_key: Some(wire::view(row)) }, replayed)
        };
        if let Some(name) = changing.replayed(self.store.requests()).await? {
            return Ok(respond(&self.get(&name).await?, true));
        }
        let wanted = change::version(&given.etag, &given.name)?;
        for _ in 0..TRIES {
            let row = self.get(&given.name).await?;
            let before = wire::view(&row);
            let masked = mask::lay(&before, &given, update_mask.as_ref(), wire::NOT_SET)?;
            if masked.resource.owner != row.owner {
                return Err(Error::field("api_key.owner", "cannot be changed: make another key"));
            }
            let changed = wire::parse(id, masked.resource, None)?;
            let row = Row {
                prefix: row.prefix,
                secret_hash: row.secret_hash,
                key_hint: row.key_hint,
                owner: row.owner,
                last_used_time: row.last_used_time,
                stamp: row.stamp,
                ..changed
            };
            if *validate_only {
                return match wanted.is_none_or(|wanted| wanted == row.stamp.version) {
                    true => Ok(respond(&row, false)),
                    false => Err(change::changed_meanwhile(&given.name)),
                };
            }
            let after = ApiKey { etag: String::new(), ..wire::view(&row) };
            let effect = Effect {
                resource: given.name.clone(),
                before: Some(change::hash(&before)),
                after: Some(change::hash(&after)),
                fields: masked.fields,
            };
            let only = Some(wanted.unwrap_or(row.stamp.version));
            match self.store.api_keys().update(row, only, changing.change(effect)).await {
                Ok(Saved::Done(row)) => {
                    self.keeper.refresh().await?;
                    return Ok(respond(&row, false));
                }
                Ok(Saved::Replayed(name)) => return Ok(respond(&self.get(&name).await?, true)),
                Ok(Saved::Missing) => return Err(wire::missing(&given.name)),
                // Read anew and laid over that, unless the caller meant one version.
                Err(mediary_store::Error::EtagMismatch(_)) if wanted.is_none() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(change::changed_meanwhile(&given.name))
    }

    async fn delete(
        &self,
        request: Request<DeleteApiKeyRequest>,
    ) -> Result<Response<DeleteApiKeyResponse>> {
        let DeleteApiKeyRequest { name, etag, allow_missing, request_id } = request.get_ref();
        let changing = Changing::begin(&self.clock, DELETE, &request, request_id)?;
        let id = names::id_in("name", name, wire::COLLECTION)?;
        let only = change::version(etag, name)?;
        let before = self.store.api_keys().get(id).await?;
        let effect = Effect {
            resource: name.clone(),
            before: before.map(|row| change::hash(&wire::view(&row))),
            ..Effect::default()
        };
        let saved = self.store.api_keys().delete(id, only, changing.change(effect)).await?;
        self.keeper.refresh().await?;
        let replayed = change::deleted(saved, *allow_missing, || wire::missing(name))?;
        Ok(change::answer(DeleteApiKeyResponse {}, replayed))
    }

    async fn list(&self, request: Request<ListApiKeysRequest>) -> Result<ListApiKeysResponse> {
        let caller = change::caller(&request)?;
        let ListApiKeysRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked {
            owner: &caller.owner,
            parent: "",
            filter,
            order_by,
            page_size: *page_size,
            page_token,
        };
        let rows = self.store.registry().rows().await?.api_keys;
        let page = wire::KEYS.page(rows.into_iter().map(wire::Kept::new), &asked, &self.pages)?;
        Ok(ListApiKeysResponse {
            api_keys: page.rows.iter().map(|kept| wire::view(&kept.row)).collect(),
            next_page_token: page.next_page_token,
        })
    }

    async fn get(&self, name: &str) -> Result<Row> {
        let id = names::id_in("name", name, wire::COLLECTION)?;
        self.store.api_keys().get(id).await?.ok_or_else(|| wire::missing(name))
    }
}

#[tonic::async_trait]
impl ApiKeyService for ApiKeyApi {
    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<CreateApiKeyResponse>, Status> {
        self.create(request).await.map_err(|error| status(&error))
    }

    async fn get_api_key(
        &self,
        request: Request<GetApiKeyRequest>,
    ) -> Result<Response<GetApiKeyResponse>, Status> {
        let row = self.get(&request.get_ref().name).await.map_err(|error| status(&error))?;
        Ok(Response::new(GetApiKeyResponse { api_key: Some(wire::view(&row)) }))
    }

    async fn list_api_keys(
        &self,
        request: Request<ListApiKeysRequest>,
    ) -> Result<Response<ListApiKeysResponse>, Status> {
        self.list(request).await.map(Response::new).map_err(|error| status(&error))
    }

    async fn update_api_key(
        &self,
        request: Request<UpdateApiKeyRequest>,
    ) -> Result<Response<UpdateApiKeyResponse>, Status> {
        self.update(request).await.map_err(|error| status(&error))
    }

    async fn delete_api_key(
        &self,
        request: Request<DeleteApiKeyRequest>,
    ) -> Result<Response<DeleteApiKeyResponse>, Status> {
        self.delete(request).await.map_err(|error| status(&error))
    }
}
