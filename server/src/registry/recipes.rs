//! Presets and workflows: reads those that stand below the store, and lays the store's over them.
//!
//! Invariant: a built-in preset that was deleted stays so. Its row in the store hides it until the
//! presets of a new server are restored.

use std::{cmp::Reverse, collections::BTreeMap, path::Path, sync::Arc};

use mediary_domain::{Capability, Target};
use mediary_store::{RecipeKey, RecipeRow, RegistryRows};
use serde::Deserialize;

use super::{
    Base, Origin, Snapshot,
    files::{self, InFiles},
    overlay::Complaint,
    preset::PresetRow,
    workflow::WorkflowRow,
};

/// Origin of a row that hides a preset below the store.
pub const DELETED: &str = "deleted";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PresetFile {
    presets: Vec<PresetRow>,
}

/// Those that are built in, and over them those of the folder.
pub(super) fn presets(
    folder: Option<&Path>,
    problems: &mut Vec<String>,
) -> InFiles<Arc<PresetRow>> {
    let mut presets = BTreeMap::new();
    if let Some((file, text)) = files::built_in("presets.toml") {
        read(&file, &text, Origin::BuiltIn, &mut presets, problems);
    }
    if let Some((file, text)) = files::single(folder, "presets.toml", problems) {
        let mut own = BTreeMap::new();
        read(&file, &text, Origin::Config, &mut own, problems);
        for (id, (file, mut row)) in own {
            let built_in = presets.contains_key(&id);
            Arc::make_mut(&mut row).built_in = built_in;
            presets.insert(id, (file, row));
        }
    }
    presets
}

fn read(
    file: &str,
    text: &str,
    origin: Origin,
    presets: &mut InFiles<Arc<PresetRow>>,
    problems: &mut Vec<String>,
) {
    let rows = match toml::from_str::<PresetFile>(text) {
        Ok(rows) => rows.presets,
        Err(error) => return problems.push(format!("{file}: {error}")),
    };
    for mut row in rows {
        files::check_id(file, &row.id, problems);
        if let Some(problem) = row.problem() {
            problems.push(format!("{file}: preset {:?}: {problem}", row.id));
        }
        if row.display_name.is_empty() {
            row.display_name.clone_from(&row.id);
        }
        row.origin = origin;
        row.built_in = origin == Origin::BuiltIn;
        let id = row.id.clone();
        if presets.insert(id.clone(), (file.to_owned(), Arc::new(row))).is_some() {
            problems.push(format!("{file}: preset {id:?} stands there twice"));
        }
    }
}

impl Base {
    /// Whether a new server has a preset of that id.
    pub fn has_built_in_preset(&self, id: &str) -> bool {
        self.presets.get(id).is_some_and(|(_, row)| row.built_in)
    }

    /// The presets below the store, by id.
    pub fn presets(&self) -> impl Iterator<Item = &Arc<PresetRow>> {
        self.presets.values().map(|(_, row)| row)
    }

    pub(super) fn lay_presets(
        &self,
        rows: &RegistryRows,
        before: &Snapshot,
        snapshot: &mut Snapshot,
        complaints: &mut Vec<Complaint>,
    ) {
        for (id, (file, row)) in &self.presets {
            match named(snapshot, row) {
                Ok(row) => {
                    snapshot.presets.insert(id.clone(), Arc::new(row));
                }
                Err(problem) => complaints.push(Complaint {
                    name: row.name(),
                    version: None,
                    problem: format!("{file}: preset {id:?}: {problem}"),
                    is_fatal: true,
                }),
            }
        }
        for row in &rows.recipes {
            let RecipeKey::Preset(id) = &row.key else { continue };
            if row.origin == DELETED {
                snapshot.presets.remove(id);
                continue;
            }
            match self.preset(id, row) {
                Ok(preset) => {
                    // One that names what is gone serves with those that are left.
                    if let Err(problem) = named(snapshot, &preset) {
                        complaints.push(complaint(row, problem));
                    }
                    snapshot.presets.insert(id.clone(), Arc::new(preset));
                }
                Err(problem) => {
                    complaints.push(complaint(row, problem));
                    let known = before.presets.get(id).filter(|one| one.stamp.is_some());
                    if let Some(known) = known {
                        let stamp = Some(row.stamp);
                        let stays = PresetRow { stamp, ..PresetRow::clone(known) };
                        snapshot.presets.insert(id.clone(), Arc::new(stays));
                    }
                }
            }
        }
    }

    fn preset(&self, id: &str, row: &RecipeRow) -> Result<PresetRow, String> {
        let preset: PresetRow =
            serde_json::from_str(&row.json).map_err(|error| error.to_string())?;
        let preset = PresetRow {
            id: id.to_owned(),
            origin: Origin::Manual,
            built_in: self.has_built_in_preset(id),
            stamp: Some(row.stamp),
            ..preset
        };
        preset.problem().map_or(Ok(preset), Err)
    }

    pub(super) fn lay_workflows(
        &self,
        rows: &RegistryRows,
        before: &Snapshot,
        snapshot: &mut Snapshot,
        complaints: &mut Vec<Complaint>,
    ) {
        for row in &rows.recipes {
            let RecipeKey::Workflow(id) = &row.key else { continue };
            match serde_json::from_str::<WorkflowRow>(&row.json) {
                Ok(workflow) => {
                    let workflow = WorkflowRow { id: id.clone(), stamp: row.stamp, ..workflow };
                    snapshot.workflows.insert(id.clone(), Arc::new(workflow));
                }
                Err(error) => {
                    complaints.push(complaint(row, error.to_string()));
                    if let Some(known) = before.workflows.get(id) {
                        let stays = WorkflowRow { stamp: row.stamp, ..WorkflowRow::clone(known) };
                        snapshot.workflows.insert(id.clone(), Arc::new(stays));
                    }
                }
            }
        }
    }
}

impl Snapshot {
    /// The preset that answers where a capability is asked for and nobody named: the one of highest
    /// priority, not below 0; of equals one that somebody has made, then by id.
    pub fn preset_of(&self, capability: Capability) -> Option<&Arc<PresetRow>> {
        let is_meant = |one: &&Arc<PresetRow>| {
            one.enabled && one.priority >= 0 && one.capability == capability
        };
        let rank = |one: &&Arc<PresetRow>| (Reverse(one.priority), one.built_in);
        self.presets.values().filter(is_meant).min_by_key(rank)
    }

    /// Routes, presets and workflows that name a model which is meant.
    pub fn users_of_models(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let routes = self.routes.values().filter(|route| route.names(&is_meant));
        let presets = self.presets.values().filter(|preset| preset.names(&is_meant));
        let workflows = self.workflows.values().filter(|workflow| {
            let names = |target: &Target| matches!(target, Target::Model(name) if is_meant(name));
            workflow.targets().any(names)
        });
        let names = routes.map(|route| route.name()).chain(presets.map(|preset| preset.name()));
        names.chain(workflows.map(|workflow| workflow.name())).collect()
    }

    /// Routes and workflows that name the preset.
    pub fn users_of_preset(&self, id: &str) -> Vec<String> {
        let names = |target: &Target| match target {
            Target::Preset(name) => name.strip_prefix("presets/").unwrap_or(name) == id,
            _ => false,
        };
        let routes = self.routes.values().filter(|route| route.targets().any(names));
        let workflows = self.workflows.values().filter(|workflow| workflow.targets().any(names));
        let names = routes.map(|route| route.name());
        names.chain(workflows.map(|workflow| workflow.name())).collect()
    }

    /// Workflows that name the route.
    pub fn users_of_route(&self, task: &str) -> Vec<String> {
        let names = |target: &Target| match target {
            Target::Route(name) => name.strip_prefix("routes/").unwrap_or(name) == task,
            _ => false,
        };
        let workflows = self.workflows.values().filter(|workflow| workflow.targets().any(names));
        workflows.map(|workflow| workflow.name()).collect()
    }
}

/// The same with the resource names of its models, or the first that leads nowhere.
fn named(snapshot: &Snapshot, preset: &PresetRow) -> Result<PresetRow, String> {
    let name = |named: &str| match snapshot.model(named) {
        Ok(model) => Ok(model.name.clone()),
        Err(error) => Err(error.to_string()),
    };
    let mut preset = preset.clone();
    for member in &mut preset.members {
        member.model = name(&member.model)?;
    }
    if let Some(ensemble) = preset.ensemble.as_mut().filter(|one| !one.judge_model.is_empty()) {
        ensemble.judge_model = name(&ensemble.judge_model)?;
    }
    // Two names may lead to one model.
    preset.problem().map_or(Ok(preset), Err)
}

fn complaint(row: &RecipeRow, problem: String) -> Complaint {
    Complaint {
        name: row.key.to_string(),
        version: Some(row.stamp.version),
        problem,
        is_fatal: false,
    }
}
