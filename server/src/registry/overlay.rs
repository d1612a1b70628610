//! Lays the rows of the store over those below.
//!
//! Invariant: a row that cannot be read or built never evicts a good one. What was last good in
//! this process stays, else what lies below; it is told, and stops nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mediary_domain::Target;
use mediary_store::{Account as Stored, CatalogKey, RegistryRows, Stamp, Version};

use super::{Base, Entry, ModelRow, Origin, ProviderRow, RouteRow, STREAMING, Snapshot};

/// What is wrong with a row that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// Of the resource.
    pub name: String,
    /// Of the row; `None` = it is not the store's.
    pub version: Option<Version>,
    pub problem: String,
    /// At start there is no going on with it.
    pub is_fatal: bool,
}

impl Complaint {
    fn stored(name: String, stamp: &Stamp, problem: impl Into<String>) -> Self {
        Self { name, version: Some(stamp.version), problem: problem.into(), is_fatal: false }
    }
}

impl Base {
    /// What exists when the store holds `rows`; `before` is what existed until now.
    pub fn with(&self, rows: &RegistryRows, before: &Snapshot) -> (Snapshot, Vec<Complaint>) {
        let mut complaints = Vec::new();
        let mut snapshot = Snapshot::default();
        self.lay_providers(rows, before, &mut snapshot, &mut complaints);
        self.lay_models(rows, before, &mut snapshot, &mut complaints);
        self.lay_accounts(rows, before, &mut snapshot, &mut complaints);
        self.lay_presets(rows, before, &mut snapshot, &mut complaints);
        self.lay_workflows(rows, before, &mut snapshot, &mut complaints);
        self.lay_routes(rows, before, &mut snapshot, &mut complaints);
        (snapshot, complaints)
    }

    fn lay_providers(
        &self,
        rows: &RegistryRows,
        before: &Snapshot,
        snapshot: &mut Snapshot,
        complaints: &mut Vec<Complaint>,
    ) {
        for (id, row) in &self.providers {
            // Was built once, when it was read.
            if let Ok(entry) = self.entry(row.clone()) {
                snapshot.providers.insert(id.clone(), entry);
            }
        }
        for row in &rows.catalog {
            let CatalogKey::Provider(id) = &row.key else { continue };
            let origin = Origin::of_stored(&row.origin);
            match self.provider(id, &row.json, origin, row.stamp) {
                Ok(entry) => {
                    snapshot.providers.insert(id.clone(), entry);
                }
                Err(problem) => {
                    let known = before.providers.get(id).filter(|one| one.row.stamp.is_some());
                    let stays = known.and_then(|one| {
                        let row =
                            ProviderRow { stamp: Some(row.stamp), ..ProviderRow::clone(&one.row) };
                        self.entry(Arc::new(row)).ok()
                    });
                    complaints.push(Complaint::stored(row.key.to_string(), &row.stamp, problem));
                    if let Some(entry) = stays {
                        snapshot.providers.insert(id.clone(), entry);
                    }
                }
            }
        }
    }

    fn provider(
        &self,
        id: &str,
        json: &str,
        origin: Origin,
        stamp: Stamp,
    ) -> Result<Entry, String> {
        let row: ProviderRow = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let row = ProviderRow {
            id: id.to_owned(),
            idle_timeout: self.idle_timeout,
            origin,
            stamp: Some(stamp),
            ..row
        };
        match row.problems().into_iter().next() {
            Some((path, problem)) => Err(format!("{path} {problem}")),
            None => self.entry(Arc::new(row)),
        }
    }

    fn lay_models(
        &self,
        rows: &RegistryRows,
        before: &Snapshot,
        snapshot: &mut Snapshot,
        complaints: &mut Vec<Complaint>,
    ) {
        snapshot.models = self.models.clone();
        self.move_to_new_dialects(snapshot);
        for row in &rows.catalog {
            let CatalogKey::Model { provider, id } = &row.key else { continue };
            let name = row.key.to_string();
            let origin = Origin::of_stored(&row.origin);
            // What somebody wrote down since says more than a list does.
            if origin == Origin::Discovered && self.has_model(&name) {
                continue;
            }
            let Some(entry) = snapshot.providers.get_mut(provider) else {
                let problem = format!("there is no provider {provider:?} for it");
                complaints.push(Complaint::stored(name, &row.stamp, problem));
                continue;
            };
            let model = serde_json::from_str::<ModelRow>(&row.json);
            let model = model.map_err(|error| error.to_string()).and_then(|model| {
                let model = ModelRow {
                    id: id.clone(),
                    // A list that tells no features leaves them to the provider.
                    described: origin != Origin::Discovered
                        || model.features.iter().any(|one| one != STREAMING),
                    origin,
                    stamp: Some(row.stamp),
                    ..model
                };
                let model = model.placed(&entry.row);
                self.speak(entry, &model.dialect)?;
                Ok(model)
            });
            match model {
                Ok(model) => {
                    snapshot.models.insert(name, Arc::new(model));
                }
                Err(problem) => {
                    let known = before.models.get(&name).filter(|one| one.stamp.is_some());
                    if let Some(known) = known {
                        let stamp = Some(row.stamp);
                        let stays = ModelRow { stamp, ..ModelRow::clone(known) };
                        snapshot.models.insert(name.clone(), Arc::new(stays));
                    }
                    complaints.push(Complaint::stored(name, &row.stamp, problem));
                }
            }
        }
    }

    /// Models below the store that are asked with the dialect of their provider are asked with its
    /// new one, where that was changed.
    fn move_to_new_dialects(&self, snapshot: &mut Snapshot) {
        for model in snapshot.models.values_mut() {
            let Some(entry) = snapshot.providers.get_mut(&model.provider) else { continue };
            let before = self.providers.get(&model.provider).map(|row| &row.dialect);
            if before == Some(&model.dialect) && model.dialect != entry.row.dialect {
                let dialect = entry.row.dialect.clone();
                *model = Arc::new(ModelRow { dialect, ..ModelRow::clone(model) });
            }
            // Was tried when it was read.
            let _ = self.speak(entry, &model.dialect);
        }
    }

    fn lay_accounts(
        &self,
        rows: &RegistryRows,
        before: &Snapshot,
        snapshot: &mut Snapshot,
        complaints: &mut Vec<Complaint>,
    ) {
        let mut by_provider: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
        for row in &rows.accounts {
            if snapshot.providers.contains_key(&row.provider) {
                by_provider.entry(&row.provider).or_default().push(row);
            } else {
                let problem = format!("there is no provider {:?} for it", row.provider);
                let name = format!("accounts/{}", row.id);
                complaints.push(Complaint::stored(name, &row.stamp, problem));
            }
        }
        let mut taken = BTreeSet::new();
        for (id, entry) in &mut snapshot.providers {
            let stored = by_provider.remove(id.as_str()).unwrap_or_default();
            let accounts = self.accounts_of(&entry.row, &stored, |row, problem| {
                let name = format!("accounts/{}", row.id);
                complaints.push(Complaint::stored(name, &row.stamp, problem));
                before.accounts.get(&row.id).filter(|one| one.stamp.is_some()).cloned()
            });
            for account in accounts {
                if let (Some(fault), Some(stamp)) = (&account.fault, &account.stamp) {
                    complaints.push(Complaint::stored(account.name(), stamp, fault.clone()));
                }
                // The id of a stored account may be that of one below at another provider.
                if taken.insert(account.id.clone()) || account.stamp.is_some() {
                    snapshot.accounts.insert(account.id.clone(), account.clone());
                }
                entry.accounts.push(account);
            }
        }
    }

    fn lay_routes(
        &self,
        rows: &RegistryRows,
        before: &Snapshot,
        snapshot: &mut Snapshot,
        complaints: &mut Vec<Complaint>,
    ) {
        let mut routes = BTreeMap::new();
        for (task, (file, row)) in &self.routes {
            if let Some(problem) = unknown_target(snapshot, row) {
                complaints.push(Complaint {
                    name: row.name(),
                    version: None,
                    problem: format!("{file}: task {task:?}: {problem}"),
                    is_fatal: !self.names_hidden_preset(row),
                });
            }
            routes.insert(task.clone(), row.clone());
        }
        for variables in &self.tasks {
            match variables.route(snapshot) {
                Ok(row) => {
                    routes.insert(row.task.clone(), Arc::new(row));
                }
                Err(problem) => {
                    let known = before.routes.get(&variables.task);
                    let known = known.filter(|row| row.origin == Origin::Environment);
                    routes.extend(known.map(|row| (row.task.clone(), row.clone())));
                    complaints.push(Complaint {
                        name: format!("routes/{}", variables.task),
                        version: None,
                        problem,
                        is_fatal: variables.is_ours,
                    });
                }
            }
        }
        for row in &rows.routes {
            let name = format!("routes/{}", row.id);
            match route(&row.id, &row.json, row.stamp) {
                Ok(route) => {
                    if let Some(problem) = unknown_target(snapshot, &route) {
                        complaints.push(Complaint::stored(name, &row.stamp, problem));
                    }
                    routes.insert(row.id.clone(), Arc::new(route));
                }
                Err(problem) => {
                    complaints.push(Complaint::stored(name, &row.stamp, problem));
                    let known = before.routes.get(&row.id).filter(|one| one.stamp.is_some());
                    if let Some(known) = known {
                        let stays = RouteRow { stamp: Some(row.stamp), ..RouteRow::clone(known) };
                        routes.insert(row.id.clone(), Arc::new(stays));
                    }
                }
            }
        }
        snapshot.routes = routes;
    }
}

impl Base {
    /// Whether it names a preset that stands below the store: only a deletion can have hidden it,
    /// and that stops no start.
    fn names_hidden_preset(&self, route: &RouteRow) -> bool {
        route.targets().any(|target| match target {
            Target::Preset(name) => {
                self.presets.contains_key(name.strip_prefix("presets/").unwrap_or(name))
            }
            _ => false,
        })
    }
}

fn route(task: &str, json: &str, stamp: Stamp) -> Result<RouteRow, String> {
    let row: RouteRow = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let row = RouteRow { task: task.to_owned(), origin: Origin::Manual, stamp: Some(stamp), ..row };
    row.problem().map_or(Ok(row), Err)
}

/// The first target that leads nowhere.
fn unknown_target(snapshot: &Snapshot, route: &RouteRow) -> Option<String> {
    route.targets().find_map(|target| match target {
        Target::Model(name) => snapshot.model(name).err().map(|error| error.to_string()),
        Target::Preset(name) => snapshot.preset(name).err().map(|error| error.to_string()),
        Target::Route(_) | Target::Auto => None,
    })
}
