//! Reads rows into a snapshot: the built-in ones, then a folder laid over them, then accounts
//! from the configuration and the environment.
//!
//! Order: a row of the folder replaces the built-in row of the same id; accounts of the
//! configuration come before the one that the environment gives. A bad row is named with its file
//! and stops the start; it never replaces a good one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use include_dir::{Dir, include_dir};
use serde::Deserialize;

use super::{Account, Adapters, AuthScheme, Entry, ModelRow, ProviderRow, Snapshot};
use crate::{
    config::{AccountSection, Environment, ProtocolSettings, Secret},
    provider::Provider,
};

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/catalog");

/// What is given to the loader beside the built-in rows.
pub struct Rows<'a> {
    pub folder: Option<&'a Path>,
    pub accounts: &'a [AccountSection],
    pub environment: &'a Environment,
    pub idle_timeout: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    models: Vec<ModelRow>,
}

/// Reads everything; `build` makes the adapter that speaks a dialect to the provider of a row. All
/// problems are returned at once.
pub fn load(
    rows: &Rows<'_>,
    build: impl Fn(&str, &ProviderRow) -> Result<Arc<dyn Provider>, String>,
) -> Result<Snapshot, Vec<String>> {
    let mut problems = Vec::new();
    // Each row with the file that it stands in.
    let mut providers: BTreeMap<String, (String, ProviderRow)> = BTreeMap::new();
    let mut models: BTreeMap<String, (String, ModelRow)> = BTreeMap::new();
    for (origin, text) in files(rows.folder, "providers", &mut problems) {
        match toml::from_str::<ProviderRow>(&text) {
            Ok(mut row) => {
                row.idle_timeout = rows.idle_timeout;
                check_id(&origin, &row.id, &mut problems);
                providers.insert(row.id.clone(), (origin, row));
            }
            Err(error) => problems.push(format!("{origin}: {error}")),
        }
    }
    for (origin, text) in files(rows.folder, "models", &mut problems) {
        let provider = stem(&origin).to_owned();
        if !providers.contains_key(&provider) {
            problems.push(format!("{origin}: there is no provider {provider:?} for these models"));
            continue;
        }
        match toml::from_str::<ModelFile>(&text) {
            Ok(file) => {
                let mut ids = BTreeSet::new();
                for mut row in file.models {
                    check_id(&origin, &row.id, &mut problems);
                    if !ids.insert(row.id.clone()) {
                        problems.push(format!("{origin}: model {:?} stands there twice", row.id));
                    }
                    row.provider.clone_from(&provider);
                    if row.dialect.is_empty() {
                        row.dialect.clone_from(&providers[&provider].1.dialect);
                    }
                    row.name = format!("providers/{provider}/models/{}", row.id);
                    if row.display_name.is_empty() {
                        row.display_name.clone_from(&row.id);
                    }
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
    let mut snapshot = Snapshot::default();
    for (id, (origin, row)) in providers {
        let own = match build(&row.dialect, &row) {
            Ok(adapter) => adapter,
            Err(problem) => {
                problems.push(format!("{origin}: {problem}"));
                continue;
            }
        };
        let mut others = BTreeMap::new();
        for (origin, model) in models.values().filter(|(_, model)| model.provider == id) {
            if model.dialect == row.dialect || others.contains_key(&model.dialect) {
                continue;
            }
            match build(&model.dialect, &row) {
                Ok(adapter) => {
                    others.insert(model.dialect.clone(), adapter);
                }
                Err(problem) => problems.push(format!("{origin}: model {:?}: {problem}", model.id)),
            }
        }
        let accounts = accounts(&row, rows);
        let adapters = Adapters { own, others };
        snapshot.providers.insert(id, Entry { row: Arc::new(row), adapters, accounts });
    }
    for section in rows.accounts {
        let Some(entry) = snapshot.providers.get(&section.provider) else {
            problems.push(format!(
                "account {}: there is no provider {:?}",
                section.id, section.provider
            ));
            continue;
        };
        let is_lost =
            |account: &Arc<Account>| account.id == section.id && account.base_uri.is_empty();
        if entry.row.auth.scheme != AuthScheme::None && entry.accounts.iter().any(is_lost) {
            problems.push(format!(
                "account {}: {} has an address for each customer: set base_uri",
                section.id, entry.row.display_name
            ));
        }
    }
    let models = models.into_iter().map(|(name, (_, row))| (name, Arc::new(row)));
    snapshot.models = models.collect();
    if problems.is_empty() { Ok(snapshot) } else { Err(problems) }
}

fn accounts(row: &ProviderRow, rows: &Rows<'_>) -> Vec<Arc<Account>> {
    let from_env = |names: &[String]| names.iter().find_map(|name| rows.environment.get(name));
    let named = from_env(&row.auth.base_uri_env).map(|named| whole_address(named, &row.base_uri));
    let base_uri = named.as_deref().unwrap_or(&row.base_uri);
    let mut accounts: Vec<_> = rows
        .accounts
        .iter()
        .filter(|section| section.provider == row.id)
        .map(|section| {
            let base_uri = section.base_uri.as_deref().unwrap_or(base_uri);
            let key = section.api_key.clone();
            let account = Account::new(section.id.clone(), base_uri, key);
            Arc::new(account.with(section.settings.clone()))
        })
        .collect();
    let key = from_env(&row.auth.key_env).filter(|_| row.auth.scheme != AuthScheme::None);
    let token = from_env(&row.auth.bearer_env).filter(|_| key.is_none());
    let key = key.or(token).map(|key| Secret::new(key.to_owned()));
    let is_named = key.is_some() || named.is_some();
    let needs_nothing = row.auth.scheme == AuthScheme::None && row.base_uri.is_empty();
    let suffices = key.is_some() || !row.auth.required;
    if needs_nothing || (is_named && suffices && !base_uri.is_empty()) {
        let version = row.versioned.as_ref().and_then(|one| from_env(&one.api_version_env));
        let protocol =
            ProtocolSettings { api_version: version.map(str::to_owned), bearer: token.is_some() };
        let id = format!("{}-env", row.id);
        accounts.push(Arc::new(Account::new(id, base_uri, key).with(protocol)));
    }
    accounts
}

/// An address as local servers write it, `host` or `host:port`, with what it lacks taken from the
/// usual one. An address to listen on everywhere is this machine's.
fn whole_address(named: &str, usual: &str) -> String {
    if named.contains("://") {
        return named.to_owned();
    }
    let named = named.trim_end_matches('/');
    let (host, port) = match named.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (named, None),
    };
    let port = port.or_else(|| usual.rsplit_once(':').map(|(_, port)| port)).unwrap_or("80");
    let host = if matches!(host, "" | "0.0.0.0" | "[::]") { "127.0.0.1" } else { host };
    format!("http://{host}:{port}")
}

/// Files of one kind of row, built-in ones first, each with where it comes from.
fn files(folder: Option<&Path>, kind: &str, problems: &mut Vec<String>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let built_in = BUILT_IN.get_dir(kind).map(|dir| dir.files()).into_iter().flatten();
    for file in built_in {
        if let Some(text) = file.contents_utf8() {
            found.push((format!("catalog/{}", file.path().display()), text.to_owned()));
        }
    }
    let Some(folder) = folder.map(|folder| folder.join(kind)) else {
        return found;
    };
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return found;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    paths.sort();
    for path in paths {
        match std::fs::read_to_string(&path) {
            Ok(text) => found.push((path.display().to_string(), text)),
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    found
}

fn stem(origin: &str) -> &str {
    let file = origin.rsplit('/').next().unwrap_or(origin);
    file.strip_suffix(".toml").unwrap_or(file)
}

/// RFC 1034 labels: what a segment of a resource name may be.
fn check_id(origin: &str, id: &str, problems: &mut Vec<String>) {
    let fits = id.len() <= 63
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && !id.ends_with('-')
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        problems.push(format!(
            "{origin}: id {id:?} is not of the form [a-z]([a-z0-9-]{{0,61}}[a-z0-9])?"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_scheme_or_port_is_made_whole() {
        for (named, whole) in [
            ("https://example.com/api", "https://example.com/api"),
            ("gpu-box", "http://gpu-box:11434"),
            ("gpu-box:8000/", "http://gpu-box:8000"),
            ("0.0.0.0:11435", "http://127.0.0.1:11435"),
            (":11436", "http://127.0.0.1:11436"),
        ] {
            assert_eq!(whole_address(named, "http://127.0.0.1:11434"), whole);
        }
    }
}
