//! RefreshModels: the providers' own lists become rows.
//!
//! Owns: who is asked, and keeping what each list changes. Leaves: what that is (`listed`).
//! Invariant: what goes wrong at one provider is told of it and stops no other.

use std::{sync::Arc, time::Instant};

use futures::{StreamExt as _, stream};
use mediary_domain::{Error, Inspection, Kind, Result};
use mediary_proto::admin::{ModelRefresh, RefreshModelsRequest};
use mediary_store::{AuditEvent, CatalogKey, CatalogRow, Stamp};
use tonic::Request;
use tracing::warn;

use super::{
    CatalogApi, REFRESH_MODELS,
    listed::{self, Merged},
};
use crate::{
    error::{self, code_and_reason, code_name},
    registry::{Entry, ModelRow, Moment, Origin, ProviderRow, Snapshot},
    service::{
        change::{Changing, Effect},
        decide::Turn,
        inspect,
        model::no_provider,
        names,
    },
};

/// In place of an id: all that are configured.
const ALL: &str = "-";
const AT_ONCE: usize = 8;

/// One call.
struct Refreshing {
    changing: Changing,
    snapshot: Arc<Snapshot>,
    until: Option<Instant>,
    /// All that are configured, and not one that was named.
    all: bool,
    validate_only: bool,
}

impl CatalogApi {
    pub(super) async fn refresh_models(
        &self,
        request: Request<RefreshModelsRequest>,
    ) -> Result<Vec<ModelRefresh>> {
        let RefreshModelsRequest { parent, request_id, validate_only } = request.get_ref();
        let changing = Changing::begin(&self.clock, REFRESH_MODELS, &request, request_id)?;
        let named = names::id_in("parent", parent, "providers")?;
        let snapshot = self.registry.now();
        let ids: Vec<String> = match named {
            ALL => {
                let configured = snapshot.providers.iter().filter(|(_, entry)| entry.usable() > 0);
                configured.map(|(id, _)| id.clone()).collect()
            }
            id if snapshot.providers.contains_key(id) => vec![id.to_owned()],
            _ => return Err(no_provider(parent)),
        };
        let until = inspect::until(&request, &self.clock);
        let (all, validate_only) = (named == ALL, *validate_only);
        let call = Refreshing { changing, snapshot, until, all, validate_only };
        let refreshing = stream::iter(ids).map(|id| self.refresh_one(&call, id));
        let refreshes: Vec<Option<ModelRefresh>> = refreshing.buffered(AT_ONCE).collect().await;
        let refreshes: Vec<ModelRefresh> = refreshes.into_iter().flatten().collect();
        if refreshes.is_empty() && !validate_only {
            let effect = Effect { resource: parent.clone(), ..Effect::default() };
            self.store.audit().append(call.changing.event(effect)).await?;
        }
        Ok(refreshes)
    }

    /// What became of one provider. `None` = it has no list, and was not named.
    async fn refresh_one(&self, call: &Refreshing, id: String) -> Option<ModelRefresh> {
        let name = format!("providers/{id}");
        let changing = call.changing.another(&self.clock);
        let read = match call.snapshot.providers.get(&id) {
            Some(entry) => list(entry, call.until).await,
            None => Err(no_provider(&name)),
        };
        let refreshed = match read {
            Ok(list) => self.keep(&changing, &id, &list, call.validate_only).await,
            Err(error) => Err(error),
        };
        let error = match refreshed {
            Ok(refresh) => return Some(refresh),
            Err(error) if call.all && error.kind() == Kind::CapabilityUnsupported => return None,
            Err(error) => error,
        };
        if !call.validate_only {
            self.note(&changing, &name, &error).await;
        }
        let status = error::rpc_status(&error);
        Some(ModelRefresh { provider: name, error: Some(status), ..Default::default() })
    }

    /// Has the audit log tell of a provider whose list could not be had.
    async fn note(&self, changing: &Changing, provider: &str, error: &Error) {
        let (code, reason) = code_and_reason(error.kind());
        let effect = Effect { resource: provider.to_owned(), ..Effect::default() };
        let event = AuditEvent {
            outcome: code_name(code).to_owned(),
            reason: reason.to_owned(),
            ..changing.event(effect)
        };
        if let Err(error) = self.store.audit().append(event).await {
            warn!(resource = %provider, "a refresh that failed is not in the audit log: {error}");
        }
    }

    async fn keep(
        &self,
        changing: &Changing,
        provider: &str,
        list: &Inspection,
        validate_only: bool,
    ) -> Result<ModelRefresh> {
        let name = format!("providers/{provider}");
        let mut turn = Turn::at(&self.keeper, &name).await;
        loop {
            let moment = turn.moment().await?;
            let entry =
                moment.snapshot.providers.get(provider).ok_or_else(|| no_provider(&name))?;
            let merged = merge(&moment, entry, list);
            let refresh = told(&name, &merged);
            if validate_only {
                return Ok(refresh);
            }
            if merged.left_out > 0 {
                warn!(resource = %name, "{} models of its list have no room", merged.left_out);
            }
            let Merged { added, updated, retired, .. } = &merged;
            let rows = added.iter().chain(updated).chain(retired);
            let rows: Vec<_> = rows.map(|row| kept(row, &entry.row)).collect::<Result<_>>()?;
            let mut effect = Effect { resource: name.clone(), ..Effect::default() };
            if rows.is_empty() {
                self.store.audit().append(changing.event(effect)).await?;
                return Ok(refresh);
            }
            effect.fields.push("models".to_owned());
            let change = changing.again(effect).based_on(moment.rows.version);
            let saved = self.store.catalog().put(rows, change).await;
            if turn.kept(saved).await?.is_some() {
                return Ok(refresh);
            }
        }
    }
}

/// The list that the first account gets whose credentials are taken.
async fn list(entry: &Entry, until: Option<Instant>) -> Result<Inspection> {
    let name = entry.row.name();
    let mut refused = None;
    for account in entry.accounts.iter().filter(|account| account.is_usable()) {
        match inspect::ask(entry, account, until).await {
            Err(error) if error.kind() == Kind::CredentialsRejected => refused = Some(error),
            answer => return answer,
        }
    }
    Err(refused.unwrap_or_else(|| {
        let message = format!("{name} has no account that can be used: add one");
        Error::new(Kind::NoUsableAccount, message).fact("provider", entry.row.id.as_str())
    }))
}

fn merge(moment: &Moment, entry: &Entry, list: &Inspection) -> Merged {
    let provider = &entry.row.id;
    let known = moment.snapshot.models.values().filter(|row| row.provider == *provider);
    let known: Vec<&ModelRow> = known.map(|row| &**row).collect();
    let stored = moment.rows.catalog.iter().filter_map(|row| match &row.key {
        CatalogKey::Model { provider: of, id } if of == provider => Some(id.as_str()),
        _ => None,
    });
    listed::merge(entry, &known, stored, &list.models)
}

fn told(provider: &str, merged: &Merged) -> ModelRefresh {
    let names = |rows: &[ModelRow]| rows.iter().map(|row| row.name.clone()).collect();
    ModelRefresh {
        provider: provider.to_owned(),
        added_models: names(&merged.added),
        updated_models: names(&merged.updated),
        retired_models: names(&merged.retired),
        error: None,
    }
}

fn kept(row: &ModelRow, provider: &ProviderRow) -> Result<CatalogRow> {
    let mut row = row.clone();
    // It follows its provider, where that changes.
    if row.dialect == provider.dialect {
        row.dialect.clear();
    }
    let json = serde_json::to_string(&row);
    Ok(CatalogRow {
        key: CatalogKey::Model { provider: provider.id.clone(), id: row.id },
        origin: Origin::Discovered.as_str().to_owned(),
        json: json.map_err(|_| Error::bug("a model's row cannot be written"))?,
        stamp: Stamp::default(),
    })
}
