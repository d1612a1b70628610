//! The RPCs of models.

use mediary_domain::{Error, Result};
use mediary_proto::{
    admin::{CreateModelRequest, DeleteModelRequest, UpdateModelRequest},
    v1::Model,
};
use mediary_store::CatalogKey;
use tonic::{Request, Response};

use super::{CREATE_MODEL, CatalogApi, DELETE_MODEL, UPDATE_MODEL, model, stored, with};
use crate::{
    registry::Snapshot,
    service::{
        change::Changing,
        decide::{self, Saving, Turn},
        model::{no_provider, rows, wire},
        names,
    },
};

impl CatalogApi {
    pub(super) async fn create_model(
        &self,
        request: Request<CreateModelRequest>,
    ) -> Result<Response<Model>> {
        let CreateModelRequest { parent, model, model_id, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, CREATE_MODEL, &request, request_id)?;
        let given = model.clone().unwrap_or_default();
        let provider = names::id_in("parent", parent, "providers")?;
        let id = match model_id.as_str() {
            "" => model::made_id(&given.provider_model_id).ok_or_else(|| {
                let problem = "must be given: none can be made from the provider's own id";
                Error::field("model_id", problem)
            })?,
            id => names::chosen_id("model_id", id).map(|()| id.to_owned())?,
        };
        let saving = Saving {
            changing,
            given: &given,
            mask: None,
            is_new: true,
            allow_missing: true,
            validate_only: *validate_only,
        };
        self.save_model(provider, &id, saving).await
    }

    pub(super) async fn update_model(
        &self,
        request: Request<UpdateModelRequest>,
    ) -> Result<Response<Model>> {
        let UpdateModelRequest { model, update_mask, allow_missing, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, UPDATE_MODEL, &request, request_id)?;
        let given = model.clone().unwrap_or_default();
        let (provider, id) = ids("model.name", &given.name)?;
        if *allow_missing {
            names::chosen_id("model.name", id)?;
        }
        let saving = Saving {
            changing,
            given: &given,
            mask: update_mask.as_ref(),
            is_new: false,
            allow_missing: *allow_missing,
            validate_only: *validate_only,
        };
        self.save_model(provider, id, saving).await
    }

    async fn save_model(
        &self,
        provider: &str,
        id: &str,
        saving: Saving<'_, Model>,
    ) -> Result<Response<Model>> {
        let key = CatalogKey::Model { provider: provider.to_owned(), id: id.to_owned() };
        let name = key.to_string();
        let shown = |name: &str| self.model(name);
        if let Some(made) = decide::repeated(&saving.changing, self.store.requests()).await? {
            return made.answer(shown);
        }
        let mut turn = Turn::at(&self.keeper, &name).await;
        loop {
            let moment = turn.moment().await?;
            let entry = moment.snapshot.providers.get(provider);
            let entry = entry.ok_or_else(|| no_provider(&format!("providers/{provider}")))?;
            let before = view(&moment.snapshot, &name);
            let is_stored = stored(&moment.rows, &key).is_some();
            let masked =
                saving.laid_over(before.as_ref(), is_stored, &name, missing, model::NOT_SET)?;
            let row = moment.snapshot.models.get(&name).map(|row| &**row);
            let row = model::parse(&entry.row, id, &masked.resource, row)?;
            let replacement = format!("providers/{provider}/models/{}", row.replacement);
            if !row.replacement.is_empty() && !moment.snapshot.models.contains_key(&replacement) {
                return Err(Error::field(
                    "model.replacement",
                    format!("{replacement} is no model"),
                ));
            }
            let json = serde_json::to_string(&row)
                .map_err(|_| Error::bug("a model's row cannot be written"))?;
            let (row, rows) = with(&moment.rows, key.clone(), json);
            let (trial, complaints) = self.keeper.try_out(rows).await?;
            decide::taken(&complaints, &name, "model")?;
            let after = view(&trial, &name).ok_or_else(|| missing(&name))?;
            if saving.validate_only {
                return Ok(Response::new(after));
            }
            let change = saving.change(&moment, &name, before.as_ref(), after, &masked.fields);
            let saved = self.put(row, is_stored, change).await;
            if let Some(made) = turn.kept(saved).await? {
                return made.answer(shown);
            }
        }
    }

    pub(super) async fn delete_model(
        &self,
        request: Request<DeleteModelRequest>,
    ) -> Result<Response<()>> {
        let DeleteModelRequest { name, etag, allow_missing, force, request_id } = request.get_ref();
        let changing = Changing::begin(&self.clock, DELETE_MODEL, &request, request_id)?;
        let (provider, id) = ids("name", name)?;
        let key = CatalogKey::Model { provider: provider.to_owned(), id: id.to_owned() };
        if let Some(made) = decide::repeated(&changing, self.store.requests()).await? {
            return Ok(made.gone());
        }
        let mut turn = Turn::at(&self.keeper, name).await;
        loop {
            let moment = turn.moment().await?;
            let Some(row) = stored(&moment.rows, &key) else {
                if moment.snapshot.models.contains_key(name) {
                    let mend = "it is built in or stands in the catalog folder; to keep it from \
                                being used, set enabled to false";
                    return Err(decide::not_ours(name, mend));
                }
                return decide::gone(*allow_missing, || missing(name));
            };
            decide::check_etag(etag, &decide::etag(&row.stamp), name)?;
            let lies_over_another = self.keeper.base().has_model(name);
            if !lies_over_another && !force {
                let by = named_by(&moment.snapshot, name);
                if !by.is_empty() {
                    let mend = "change those first, or set force to delete it all the same";
                    return Err(decide::in_use(name, &by, mend));
                }
            }
            let before = view(&moment.snapshot, name);
            let change = changing.deletion(name, before.as_ref()).based_on(moment.rows.version);
            let saved = self.store.catalog().delete(&key, None, change).await;
            if let Some(made) = turn.kept(saved).await? {
                return Ok(made.gone());
            }
        }
    }

    fn model(&self, name: &str) -> Result<Model> {
        view(&self.registry.now(), name).ok_or_else(|| missing(name))
    }
}

fn view(snapshot: &Snapshot, name: &str) -> Option<Model> {
    rows::model(snapshot, name).map(|found| wire::model(&found))
}

/// What names the model.
fn named_by(snapshot: &Snapshot, name: &str) -> Vec<String> {
    let is_meant = |named: &str| snapshot.named(named).is_ok_and(|model| model.name == name);
    snapshot.users_of_models(is_meant)
}

/// `provider` and `model` in `providers/{provider}/models/{model}`.
fn ids<'a>(field: &'static str, name: &'a str) -> Result<(&'a str, &'a str)> {
    let parts = name.strip_prefix("providers/").and_then(|rest| rest.split_once("/models/"));
    let is_segment = |one: &str| !one.is_empty() && !one.contains('/');
    parts
        .filter(|(provider, model)| name.len() <= 512 && is_segment(provider) && is_segment(model))
        .ok_or_else(|| Error::field(field, "must be providers/{provider}/models/{model}"))
}

fn missing(name: &str) -> Error {
    Error::not_found("mediary.v1.Model", name)
}
