//! PresetService: groups of models that serve one capability together.
//!
//! Owns: the RPCs. Leaves: what a preset may be and how it looks (`wire`), what becomes of it
//! (`registry`, `routing`).

pub mod wire;

use std::sync::Arc;

use mediary_domain::{Error, Result};
use mediary_proto::admin::{
    CreatePresetRequest, CreatePresetResponse, DeletePresetRequest, DeletePresetResponse,
    GetPresetRequest, GetPresetResponse, ListPresetsRequest, ListPresetsResponse, Preset,
    RestoreDefaultPresetsRequest, RestoreDefaultPresetsResponse, UpdatePresetRequest,
    UpdatePresetResponse, preset_service_server::PresetService,
};
use mediary_store::{RecipeKey, RecipeRow as Row, Shared, Stamp};
use tonic::{Request, Response, Status};

use super::{
    change::{self, Changing, Effect},
    decide::{self, Saving, Turn},
    listing::{Asked, PageTokens},
    names,
};
use crate::{
    clock::Clock,
    error::status,
    registry::{DELETED, Keeper, Moment, Origin, Registry, Snapshot},
    routing::Learned,
};

const CREATE: &str = "mediary.admin.v1.PresetService.CreatePreset";
const UPDATE: &str = "mediary.admin.v1.PresetService.UpdatePreset";
const DELETE: &str = "mediary.admin.v1.PresetService.DeletePreset";
const RESTORE: &str = "mediary.admin.v1.PresetService.RestoreDefaultPresets";

pub const METHODS: &[&str] = &[
    CREATE,
    "mediary.admin.v1.PresetService.GetPreset",
    wire::PRESETS.rpc,
    UPDATE,
    DELETE,
    RESTORE,
];

pub struct PresetApi {
    store: Shared,
    keeper: Arc<Keeper>,
    registry: Registry,
    learned: Learned,
    pages: Arc<PageTokens>,
    clock: Clock,
}

impl PresetApi {
    pub fn new(
        store: Shared,
        keeper: Arc<Keeper>,
        registry: Registry,
        learned: Learned,
        pages: Arc<PageTokens>,
        clock: Clock,
    ) -> Self {
        Self { store, keeper, registry, learned, pages, clock }
    }

    async fn create(&self, request: Request<CreatePresetRequest>) -> Result<Response<Preset>> {
        let CreatePresetRequest { preset, preset_id, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, CREATE, &request, request_id)?;
        let id = match preset_id.as_str() {
            "" => self.clock.resource_id('p'),
            chosen => {
                names::chosen_id("preset_id", chosen)?;
                chosen.to_owned()
            }
        };
        let saving = Saving {
            changing,
            given: &preset.clone().unwrap_or_default(),
            mask: None,
            is_new: true,
            allow_missing: true,
            validate_only: *validate_only,
        };
        self.save(&id, saving).await
    }

    async fn update(&self, request: Request<UpdatePresetRequest>) -> Result<Response<Preset>> {
        let UpdatePresetRequest { preset, update_mask, allow_missing, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, UPDATE, &request, request_id)?;
        let given = preset.clone().unwrap_or_default();
        let id = names::id_in("preset.name", &given.name, wire::COLLECTION)?;
        if *allow_missing {
            names::chosen_id("preset.name", id)?;
        }
        let saving = Saving {
            changing,
            given: &given,
            mask: update_mask.as_ref(),
            is_new: false,
            allow_missing: *allow_missing,
            validate_only: *validate_only,
        };
        self.save(id, saving).await
    }

    async fn save(&self, id: &str, saving: Saving<'_, Preset>) -> Result<Response<Preset>> {
        let name = format!("{}/{id}", wire::COLLECTION);
        let shown = |name: &str| self.get(name);
        if let Some(made) = decide::repeated(&saving.changing, self.store.requests()).await? {
            return made.answer(shown);
        }
        let mut turn = Turn::at(&self.keeper, &name).await;
        loop {
            let moment = turn.moment().await?;
            let existing = moment.snapshot.presets.get(id);
            let before = existing.map(|row| wire::view(row));
            let kept = stored(&moment, id);
            let masked = saving.laid_over(
                before.as_ref(),
                kept.is_some_and(|row| row.origin != DELETED),
                &name,
                wire::missing,
                wire::NOT_SET,
            )?;
            let preset =
                wire::parse(id, masked.resource, existing.map(|row| &**row), &moment.snapshot)?;
            let row = Row {
                key: RecipeKey::Preset(id.to_owned()),
                origin: Origin::Manual.as_str().to_owned(),
                json: serde_json::to_string(&preset)
                    .map_err(|_| Error::bug("a preset cannot be written"))?,
                stamp: kept.map_or_else(Stamp::default, |row| row.stamp),
            };
            let mut rows = moment.rows.clone();
            rows.recipes.retain(|one| one.key != row.key);
            rows.recipes.push(row.clone());
            let (trial, complaints) = self.keeper.try_out(rows).await?;
            decide::taken(&complaints, &name, "preset")?;
            let after = view(&trial, id).ok_or_else(|| wire::missing(&name))?;
            if saving.validate_only {
                return Ok(Response::new(after));
            }
            let change = saving.change(&moment, &name, before.as_ref(), after, &masked.fields);
            let saved = self.store.recipes().put(row, change).await;
            if let Some(made) = turn.kept(saved).await? {
                return made.answer(shown);
            }
        }
    }

    async fn delete(&self, request: Request<DeletePresetRequest>) -> Result<Response<()>> {
        let DeletePresetRequest { name, etag, allow_missing, force, request_id } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, DELETE, &request, request_id)?;
        let id = names::id_in("name", name, wire::COLLECTION)?;
        if let Some(made) = decide::repeated(&changing, self.store.requests()).await? {
            return Ok(made.gone());
        }
        let mut turn = Turn::at(&self.keeper, name).await;
        loop {
            let moment = turn.moment().await?;
            let known = view(&moment.snapshot, id);
            let kept = stored(&moment, id).filter(|row| row.origin != DELETED);
            let base = self.keeper.base();
            let is_built_in = base.has_built_in_preset(id);
            if known.is_none() && kept.is_none() {
                return decide::gone(*allow_missing, || wire::missing(name));
            }
            if kept.is_none() && !is_built_in {
                let mend = "take it out of presets.toml in the catalog folder";
                return Err(decide::not_ours(name, mend));
            }
            let present = match (&known, kept) {
                (Some(known), _) => known.etag.clone(),
                (None, Some(row)) => decide::etag(&row.stamp),
                (None, None) => String::new(),
            };
            decide::check_etag(etag, &present, name)?;
            let stays = !is_built_in && base.presets().any(|row| row.id == id);
            if !stays && !force {
                let by = moment.snapshot.users_of_preset(id);
                if !by.is_empty() {
                    let mend = "change those first, or set force to delete it all the same";
                    return Err(decide::in_use(name, &by, mend));
                }
            }
            let change = changing.deletion(name, known.as_ref()).based_on(moment.rows.version);
            let key = RecipeKey::Preset(id.to_owned());
            let made = if is_built_in {
                let hidden = Row {
                    key,
                    origin: DELETED.to_owned(),
                    json: "{}".to_owned(),
                    stamp: Stamp::default(),
                };
                turn.kept(self.store.recipes().put(hidden, change).await).await?
            } else {
                turn.kept(self.store.recipes().delete(vec![key], change).await).await?
            };
            if let Some(made) = made {
                self.learned.forget(id);
                return Ok(made.gone());
            }
        }
    }

    async fn restore(
        &self,
        request: Request<RestoreDefaultPresetsRequest>,
    ) -> Result<Response<RestoreDefaultPresetsResponse>> {
        let RestoreDefaultPresetsRequest { overwrite, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, RESTORE, &request, request_id)?;
        let shown = |names: &str| {
            let presets = names.split(',').filter_map(|name| self.get(name).ok());
            Ok(RestoreDefaultPresetsResponse { presets: presets.collect() })
        };
        if let Some(made) = decide::repeated(&changing, self.store.requests()).await? {
            return made.answer(shown);
        }
        let mut names = String::new();
        let mut turn = Turn::at(&self.keeper, wire::COLLECTION).await;
        loop {
            let moment = turn.moment().await?;
            let is_meant = |row: &&Row| {
                matches!(&row.key, RecipeKey::Preset(id)
                    if self.keeper.base().has_built_in_preset(id)
                        && (*overwrite || row.origin == DELETED))
            };
            let keys: Vec<RecipeKey> =
                moment.rows.recipes.iter().filter(is_meant).map(|row| row.key.clone()).collect();
            if keys.is_empty() {
                return Ok(Response::new(RestoreDefaultPresetsResponse::default()));
            }
            if *validate_only {
                let mut rows = moment.rows.clone();
                rows.recipes.retain(|row| !keys.contains(&row.key));
                let (trial, _) = self.keeper.try_out(rows).await?;
                let presets = keys.iter().filter_map(|key| view(&trial, key.id())).collect();
                return Ok(Response::new(RestoreDefaultPresetsResponse { presets }));
            }
            names.clear();
            names.push_str(&keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
            let effect = Effect { resource: names.clone(), ..Effect::default() };
            let change = changing.change(effect).based_on(moment.rows.version);
            let saved = self.store.recipes().delete(keys, change).await;
            if let Some(_made) = turn.kept(saved).await? {
                return Ok(Response::new(shown(&names)?));
            }
        }
    }

    fn get(&self, name: &str) -> Result<Preset> {
        let id = names::id_in("name", name, wire::COLLECTION)?;
        let snapshot = self.registry.now();
        let row = snapshot.presets.get(id).ok_or_else(|| wire::missing(name))?;
        Ok(wire::with_what_is_known(row, &self.learned))
    }

    fn list(&self, request: &Request<ListPresetsRequest>) -> Result<ListPresetsResponse> {
        let caller = change::caller(request)?;
        let ListPresetsRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked {
            owner: &caller.owner,
            parent: "",
            filter,
            order_by,
            page_size: *page_size,
            page_token,
        };
        let snapshot = self.registry.now();
        let rows = snapshot.presets.values().map(|row| wire::View::new(row));
        let page = wire::PRESETS.page(rows, &asked, &self.pages)?;
        let known = |one: &wire::View<'_>| wire::with_what_is_known(one.row, &self.learned);
        Ok(ListPresetsResponse {
            presets: page.rows.iter().map(known).collect(),
            next_page_token: page.next_page_token,
        })
    }
}

fn view(snapshot: &Snapshot, id: &str) -> Option<Preset> {
    snapshot.presets.get(id).map(|row| wire::view(row))
}

/// The row of the store, be it readable or not.
fn stored<'a>(moment: &'a Moment, id: &str) -> Option<&'a Row> {
    let is_meant = |row: &&Row| matches!(&row.key, RecipeKey::Preset(one) if one == id);
    moment.rows.recipes.iter().find(is_meant)
}

#[tonic::async_trait]
impl PresetService for PresetApi {
    async fn create_preset(
        &self,
        request: Request<CreatePresetRequest>,
    ) -> Result<Response<CreatePresetResponse>, Status> {
        let saved = self.create(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|preset| CreatePresetResponse { preset: Some(preset) }))
    }

    async fn get_preset(
        &self,
        request: Request<GetPresetRequest>,
    ) -> Result<Response<GetPresetResponse>, Status> {
        let preset = self.get(&request.get_ref().name).map_err(|error| status(&error))?;
        Ok(Response::new(GetPresetResponse { preset: Some(preset) }))
    }

    async fn list_presets(
        &self,
        request: Request<ListPresetsRequest>,
    ) -> Result<Response<ListPresetsResponse>, Status> {
        self.list(&request).map(Response::new).map_err(|error| status(&error))
    }

    async fn update_preset(
        &self,
        request: Request<UpdatePresetRequest>,
    ) -> Result<Response<UpdatePresetResponse>, Status> {
        let saved = self.update(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|preset| UpdatePresetResponse { preset: Some(preset) }))
    }

    async fn delete_preset(
        &self,
        request: Request<DeletePresetRequest>,
    ) -> Result<Response<DeletePresetResponse>, Status> {
        let gone = self.delete(request).await.map_err(|error| status(&error))?;
        Ok(gone.map(|()| DeletePresetResponse {}))
    }

    async fn restore_default_presets(
        &self,
        request: Request<RestoreDefaultPresetsRequest>,
    ) -> Result<Response<RestoreDefaultPresetsResponse>, Status> {
        self.restore(request).await.map_err(|error| status(&error))
    }
}
