//! What an operator can set, read once at start.
//!
//! Owns: the layers (defaults, file, environment, command line), where each value came from, all
//! problems at once with their place, and the keys of providers until somebody needs them.
//! Leaves: whether a provider exists (`registry`), and what a setting does (the room it names).
//! Invariant: a `Loaded` is sound; nothing downstream checks a setting again.

mod certificates;
mod checks;
mod draft;
mod environment;
mod excerpt;
mod formats;
mod layers;
mod origin;
mod problem;
mod schema;
mod secret;
mod sections;
mod validate;
mod values;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use environment::Environment;
pub use formats::is_http_uri;
pub use origin::{Origin, Setting};
pub use problem::{Problem, Problems};
pub use schema::schema_json;
pub use secret::Secret;
pub use sections::{
    AccountSection, AdminSection, AnonymousRole, AuthSection, CatalogSection, ClientAuth, Config,
    ListenSection, LogFormat, LogSection, OutboundSection, ProtocolSettings, ServerSection,
    StoreSection, StreamSection, TelemetrySection, TlsSection, VaultSection,
};
pub use values::HumanDuration;

use draft::Draft;

/// Names the configuration file where no `--config` does.
const CONFIG_VARIABLE: &str = "MEDIARY_CONFIG";
/// Read from the working directory where nothing names a file and it exists.
const USUAL_FILE: &str = "mediary.toml";

/// Where the configuration is read from.
#[derive(Debug, Default)]
pub struct Source {
    /// The file of `--config`; it must exist.
    pub path: Option<PathBuf>,
    pub environment: Environment,
    /// From the command line: dotted key and value, strongest of all.
    pub overrides: Vec<(String, String)>,
}

/// A configuration that passed every check.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// As captured at start, for the rows of the catalog that name variables of their own.
    pub environment: Environment,
    /// Works, but should be changed; each names its place.
    pub warnings: Vec<String>,
    /// Every setting with its value and where that came from, in the order of the schema.
    pub origins: Vec<Setting>,
}

impl Loaded {
    /// Key, value (keys of providers masked) and origin of every setting, as text.
    pub fn show_origins(&self) -> Vec<(String, String, String)> {
        let row = |one: &Setting| (one.key.clone(), one.value.clone(), one.origin.to_string());
        self.origins.iter().map(row).collect()
    }
}

/// Reads all layers, each over the one before, and reports everything that is wrong with them.
pub fn load(source: Source) -> Result<Loaded, Problems> {
    let mut draft = Draft::new(schema::schema());
    layers::read_file(&mut draft, source.path, &source.environment);
    layers::lay_environment(&mut draft, &source.environment);
    layers::lay_overrides(&mut draft, &source.overrides);
    if !draft.is_readable() {
        return Err(draft.into_problems()); // half a file would only give false alarms
    }
    validate::against_schema(&mut draft);
    let checked = checks::run(&mut draft, &source.environment);
    let origins = origin::settings(&draft);
    let mut config: Config = draft.finish()?;
    for (account, key) in config.accounts.iter_mut().zip(checked.account_keys) {
        account.api_key = key;
    }
    config.catalog.directory = checked.catalog_directory;
    if let Some(directory) = checked.store_directory {
        config.store.directory = directory;
    }
    config.vault.readable_directory = checked.readable_directory;
    config.auth.admin_key = checked.admin_key;
    config.vault.key = checked.vault_key;
    config.vault.former_key = checked.former_vault_key;
    checked.listen_tls.place(&mut config.listen.tls);
    checked.admin_tls.place(&mut config.admin.tls);
    Ok(Loaded { config, environment: source.environment, warnings: checked.warnings, origins })
}
