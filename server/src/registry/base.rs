//! Everything that is known without the store, read and checked once, at start.
//!
//! The order of rows, weakest first: built-in catalog, catalog folder, environment, configuration
//! file, store. A stronger row of the same id replaces a weaker one; accounts of the store may also
//! lie over one of the configuration or the environment and leave it its key (`accounts`). Routes
//! of the environment are stronger than those of the folder.
//! A bad row here is named with its file and stops the start; one of the store does not
//! (`overlay`).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;

use super::{
    Adapters, Entry, ModelRow, Origin, PresetRow, ProviderRow, RouteRow,
    accounts::OfConfig,
    files::{self, InFiles},
    recipes,
    tasks::TaskVariables,
};
use crate::{
    config::{AccountSection, Environment},
    provider::Provider,
    vault::{Readable, Vault},
};

/// What is given to the reader beside the built-in rows.
pub struct Rows<'a> {
    pub folder: Option<&'a Path>,
    pub accounts: &'a [AccountSection],
    pub environment: &'a Environment,
    pub idle_timeout: Duration,
}

/// Makes the adapter that speaks a dialect to the provider of a row.
pub type Build = Box<dyn Fn(&str, &ProviderRow) -> Result<Arc<dyn Provider>, String> + Send + Sync>;

/// The rows below the store, and what it takes to lay the store's over them.
pub struct Base {
    pub(super) providers: BTreeMap<String, Arc<ProviderRow>>,
    /// By resource name.
    pub(super) models: BTreeMap<String, Arc<ModelRow>>,
    /// Of the configuration, in its order.
    pub(super) accounts: Vec<OfConfig>,
    /// Of the folder, by task, each with its file.
    pub(super) routes: BTreeMap<String, (String, Arc<RouteRow>)>,
    /// Built in or of the folder, by id, each with its file.
    pub(super) presets: InFiles<Arc<PresetRow>>,
    pub(super) tasks: Vec<TaskVariables>,
    pub(super) idle_timeout: Duration,
    pub(super) vault: Vault,
    pub(super) readable: Readable,
    build: Build,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    models: Vec<ModelRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteFile {
    routes: Vec<RouteRow>,
}

impl Base {
    /// Reads everything. All problems are returned at once.
    pub fn read(
        rows: &Rows<'_>,
        vault: Vault,
        readable: Readable,
        build: Build,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let providers = providers(rows, &mut problems);
        let models = models(rows, &providers, &mut problems);
        let routes = routes(rows, &mut problems);
        let presets = recipes::presets(rows.folder, &mut problems);
        for (origin, row) in providers.values() {
            if let Err(problem) = build(&row.dialect, row) {
                problems.push(format!("{origin}: {problem}"));
            }
        }
        for (origin, model) in models.values() {
            let (_, provider) = &providers[&model.provider];
            if model.dialect != provider.dialect
                && let Err(problem) = build(&model.dialect, provider)
            {
                problems.push(format!("{origin}: model {:?}: {problem}", model.id));
            }
        }
        for section in rows.accounts {
            if !providers.contains_key(&section.provider) {
                problems.push(format!(
                    "account {}: there is no provider {:?}",
                    section.id, section.provider
                ));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let base = Self {
            providers: providers.into_iter().map(|(id, (_, row))| (id, Arc::new(row))).collect(),
            models: models.into_iter().map(|(name, (_, row))| (name, Arc::new(row))).collect(),
            accounts: rows.accounts.iter().map(OfConfig::new).collect(),
            routes,
            presets,
            tasks: TaskVariables::all(rows.environment),
            idle_timeout: rows.idle_timeout,
            vault,
            readable,
            build,
        };
        let lost = base.accounts.iter().filter_map(|account| base.lost(account));
        let lost: Vec<String> = lost.collect();
        if lost.is_empty() { Ok(base) } else { Err(lost) }
    }

    /// Whether a provider stands below the store.
    pub fn has_provider(&self, id: &str) -> bool {
        self.providers.contains_key(id)
    }

    /// Whether the model of that resource name stands below the store.
    pub fn has_model(&self, name: &str) -> bool {
        self.models.contains_key(name)
    }

    /// An entry without accounts, which speaks the provider's own dialect.
    pub(super) fn entry(&self, row: Arc<ProviderRow>) -> Result<Entry, String> {
        let own = (self.build)(&row.dialect, &row)?;
        let adapters = Adapters { own, others: BTreeMap::new() };
        Ok(Entry { row, adapters, accounts: Vec::new() })
    }

    /// Has the entry speak the dialect of one of its models as well.
    pub(super) fn speak(&self, entry: &mut Entry, dialect: &str) -> Result<(), String> {
        if dialect != entry.row.dialect && !entry.adapters.others.contains_key(dialect) {
            let adapter = (self.build)(dialect, &entry.row)?;
            entry.adapters.others.insert(dialect.to_owned(), adapter);
        }
        Ok(())
    }
}

fn providers(rows: &Rows<'_>, problems: &mut Vec<String>) -> InFiles<ProviderRow> {
    let mut providers = BTreeMap::new();
    for (origin, text) in files::of_kind(rows.folder, "providers", problems) {
        match toml::from_str::<ProviderRow>(&text) {
            Ok(mut row) => {
                row.idle_timeout = rows.idle_timeout;
                files::check_id(&origin, &row.id, problems);
                for (path, problem) in row.problems() {
                    problems.push(format!("{origin}: {path} {problem}"));
                }
                providers.insert(row.id.clone(), (origin, row));
            }
            Err(error) => problems.push(format!("{origin}: {error}")),
        }
    }
    providers
}

fn models(
    rows: &Rows<'_>,
    providers: &InFiles<ProviderRow>,
    problems: &mut Vec<String>,
) -> InFiles<ModelRow> {
    let mut models: InFiles<ModelRow> = BTreeMap::new();
    for (origin, text) in files::of_kind(rows.folder, "models", problems) {
        let provider = files::stem(&origin).to_owned();
        if !providers.contains_key(&provider) {
            problems.push(format!("{origin}: there is no provider {provider:?} for these models"));
            continue;
        }
        match toml::from_str::<ModelFile>(&text) {
            Ok(file) => {
                let mut ids = BTreeSet::new();
                for row in file.models {
                    files::check_id(&origin, &row.id, problems);
                    if !ids.insert(row.id.clone()) {
                        problems.push(format!("{origin}: model {:?} stands there twice", row.id));
                    }
                    let row = row.placed(&providers[&provider].1);
                    models.insert(row.name.clone(), (origin.clone(), row));
                }
            }
            Err(error) => problems.push(format!("{origin}: {error}")),
        }
    }
    for (origin, row) in models.values() {
        let ModelRow { id, provider, replacement, .. } = row;
        let name = format!("providers/{provider}/models/{replacement}");
        if !replacement.is_empty() && !models.contains_key(&name) {
            problems.push(format!(
                "{origin}: the replacement {replacement:?} of model {id:?} is no model of {provider}"
            ));
        }
    }
    models
}

fn routes(rows: &Rows<'_>, problems: &mut Vec<String>) -> InFiles<Arc<RouteRow>> {
    let mut routes = BTreeMap::new();
    let Some((origin, text)) = files::single(rows.folder, "routes.toml", problems) else {
        return routes;
    };
    match toml::from_str::<RouteFile>(&text) {
        Ok(file) => {
            for mut row in file.routes {
                files::check_id(&origin, &row.task, problems);
                if let Some(problem) = row.problem() {
                    problems.push(format!("{origin}: task {:?}: {problem}", row.task));
                }
                if row.display_name.is_empty() {
                    row.display_name.clone_from(&row.task);
                }
                row.origin = Origin::Config;
                let task = row.task.clone();
                if routes.insert(task.clone(), (origin.clone(), Arc::new(row))).is_some() {
                    problems.push(format!("{origin}: task {task:?} stands there twice"));
                }
            }
        }
        Err(error) => problems.push(format!("{origin}: {error}")),
    }
    routes
}
