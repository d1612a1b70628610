//! The RPCs of providers.

use mediary_domain::{Error, Result};
use mediary_proto::{
    admin::{CreateProviderRequest, DeleteProviderRequest, UpdateProviderRequest},
    v1::Provider,
};
use mediary_store::{CatalogKey, RegistryRows};
use tonic::{Request, Response};

use super::{
    CREATE_PROVIDER, CatalogApi, DELETE_PROVIDER, UPDATE_PROVIDER, provider, stored, with,
};
use crate::{
    access::Role,
    registry::Snapshot,
    service::{
        change::Changing,
        decide::{self, Saving, Turn},
        model::{no_provider, rows, wire},
        names,
    },
};

const COLLECTION: &str = "providers";

impl CatalogApi {
    pub(super) async fn create_provider(
        &self,
        request: Request<CreateProviderRequest>,
    ) -> Result<Response<Provider>> {
        let CreateProviderRequest { provider, provider_id, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, CREATE_PROVIDER, &request, request_id)?;
        names::chosen_id("provider_id", provider_id)?;
        let saving = Saving {
            changing,
            given: &provider.clone().unwrap_or_default(),
            mask: None,
            is_new: true,
            allow_missing: true,
            validate_only: *validate_only,
        };
        self.save_provider(provider_id, saving).await
    }

    pub(super) async fn update_provider(
        &self,
        request: Request<UpdateProviderRequest>,
    ) -> Result<Response<Provider>> {
        let UpdateProviderRequest {
            provider,
            update_mask,
            allow_missing,
            request_id,
            validate_only,
        } = request.get_ref();
        let changing = Changing::begin(&self.clock, UPDATE_PROVIDER, &request, request_id)?;
        let given = provider.clone().unwrap_or_default();
        let id = names::id_in("provider.name", &given.name, COLLECTION)?;
        if *allow_missing {
            names::chosen_id("provider.name", id)?;
        }
        let saving = Saving {
            changing,
            given: &given,
            mask: update_mask.as_ref(),
            is_new: false,
            allow_missing: *allow_missing,
            validate_only: *validate_only,
        };
        self.save_provider(id, saving).await
    }

    async fn save_provider(
        &self,
        id: &str,
        saving: Saving<'_, Provider>,
    ) -> Result<Response<Provider>> {
        let key = CatalogKey::Provider(id.to_owned());
        let name = key.to_string();
        let shown = |_: &str| self.provider(id);
        if let Some(made) = decide::repeated(&saving.changing, self.store.requests()).await? {
            return made.answer(shown);
        }
        let mut turn = Turn::at(&self.keeper, &name).await;
        loop {
            let moment = turn.moment().await?;
            let before = view(&moment.snapshot, id);
            let is_stored = stored(&moment.rows, &key).is_some();
            let masked = saving.laid_over(
                before.as_ref(),
                is_stored,
                &name,
                no_provider,
                provider::NOT_SET,
            )?;
            let base = self.keeper.base();
            let row = provider::parse(id, &masked.resource, before.as_ref(), &masked.fields, base)?;
            let json = serde_json::to_string(&row)
                .map_err(|_| Error::bug("a provider's row cannot be written"))?;
            let (row, rows) = with(&moment.rows, key.clone(), json);
            let (trial, complaints) = self.keeper.try_out(rows).await?;
            decide::taken(&complaints, &name, "provider")?;
            let after = view(&trial, id).ok_or_else(|| no_provider(&name))?;
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

    pub(super) async fn delete_provider(
        &self,
        request: Request<DeleteProviderRequest>,
    ) -> Result<Response<()>> {
        let DeleteProviderRequest { name, etag, allow_missing, force, request_id } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, DELETE_PROVIDER, &request, request_id)?;
        let id = names::id_in("name", name, COLLECTION)?;
        let key = CatalogKey::Provider(id.to_owned());
        if let Some(made) = decide::repeated(&changing, self.store.requests()).await? {
            return Ok(made.gone());
        }
        let mut turn = Turn::at(&self.keeper, name).await;
        loop {
            let moment = turn.moment().await?;
            let Some(row) = stored(&moment.rows, &key) else {
                if moment.snapshot.providers.contains_key(id) {
                    let mend = "it is built in or stands in the catalog folder; to keep it from \
                                being used, disable its accounts";
                    return Err(decide::not_ours(name, mend));
                }
                return decide::gone(*allow_missing, || no_provider(name));
            };
            decide::check_etag(etag, &decide::etag(&row.stamp), name)?;
            let lies_over_another = self.keeper.base().has_provider(id);
            if !lies_over_another && !force {
                let by = held_by(&moment.rows, &moment.snapshot, id);
                if !by.is_empty() {
                    let mend = "delete those first, or set force to delete its models and accounts";
                    return Err(decide::in_use(name, &by, mend));
                }
            }
            let before = view(&moment.snapshot, id);
            let change = changing.deletion(name, before.as_ref()).based_on(moment.rows.version);
            let catalog = self.store.catalog();
            let made = if lies_over_another {
                turn.kept(catalog.delete(&key, None, change).await).await?
            } else {
                turn.kept(catalog.delete_provider(id, None, change).await).await?
            };
            if let Some(made) = made {
                return Ok(made.gone());
            }
        }
    }

    fn provider(&self, id: &str) -> Result<Provider> {
        let found = view(&self.registry.now(), id);
        found.ok_or_else(|| no_provider(&format!("{COLLECTION}/{id}")))
    }
}

/// As an admin sees it: nobody else changes providers.
fn view(snapshot: &Snapshot, id: &str) -> Option<Provider> {
    rows::provider(snapshot, id).map(|found| wire::provider(&found, Role::Admin))
}

/// Models and accounts of the store, and what names one of its models.
fn held_by(rows: &RegistryRows, snapshot: &Snapshot, id: &str) -> Vec<String> {
    let models = rows
        .catalog
        .iter()
        .map(|row| &row.key)
        .filter(|key| matches!(key, CatalogKey::Model { provider, .. } if provider == id));
    let accounts = rows.accounts.iter().filter(|account| account.provider == id);
    let is_meant = |named: &str| snapshot.named(named).is_ok_and(|model| model.provider == id);
    let names = models.map(ToString::to_string);
    let names = names.chain(accounts.map(|account| format!("accounts/{}", account.id)));
    names.chain(snapshot.users_of_models(is_meant)).collect()
}
