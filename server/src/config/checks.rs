//! Rules that span keys, or reach out of the configuration.
//!
//! Owns: unique accounts, the public address, folders that must exist, and fetching the keys of
//! accounts from where they are kept. The files of TLS are `certificates`.
//! Leaves: what one value may look like (`formats`); whether a provider exists (`registry`).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    certificates::{self, Files},
    draft::{Draft, Part, dotted},
    environment::Environment,
    origin::Origin,
    secret::{self, Secret},
};

const ADMIN_KEY: &str = "/auth/admin_key";
const VAULT_KEYS: [&str; 2] = ["/vault/key", "/vault/former_key"];
/// 128 random bits in base64, and no word that people think of.
const SHORTEST_ADMIN_KEY: usize = 24;

/// What the checks found out on their way.
pub(super) struct Checked {
    /// The keys of the accounts, in their order.
    pub(super) account_keys: Vec<Option<Secret>>,
    pub(super) admin_key: Option<Secret>,
    pub(super) vault_key: Option<Secret>,
    pub(super) former_vault_key: Option<Secret>,
    /// These three with a relative path made to start at the right folder.
    pub(super) catalog_directory: Option<PathBuf>,
    pub(super) store_directory: Option<PathBuf>,
    pub(super) readable_directory: Option<PathBuf>,
    pub(super) listen_tls: Files,
    pub(super) admin_tls: Files,
    pub(super) warnings: Vec<String>,
}

/// Reports what is wrong; values that the schema has refused already are passed over.
pub(super) fn run(draft: &mut Draft, environment: &Environment) -> Checked {
    let listen_tls = certificates::check(draft, "/listen/tls");
    let admin_tls = certificates::check(draft, "/admin/tls");
    let encrypts = listen_tls.certificate.is_some();
    public_address(draft, "/listen/address", encrypts);
    public_address(draft, "/admin/address", encrypts || admin_tls.certificate.is_some());
    unique_accounts(draft);
    let mut warnings = Vec::new();
    let mut key =
        |draft: &mut Draft, pointer: &str| key(draft, pointer, environment, &mut warnings);
    let accounts = 0..draft.accounts().len();
    let account_keys = accounts.map(|n| key(draft, &format!("/accounts/{n}/api_key"))).collect();
    let admin_key = key(draft, ADMIN_KEY);
    let [vault_key, former_vault_key] = VAULT_KEYS.map(|pointer| key(draft, pointer));
    if admin_key.as_ref().is_some_and(|key| key.expose().len() < SHORTEST_ADMIN_KEY) {
        let message = format!("must have at least {SHORTEST_ADMIN_KEY} characters");
        let help = "make one with `openssl rand -base64 32`".to_owned();
        draft.report(ADMIN_KEY, Part::Value, message, Some(help));
    }
    for (pointer, key) in VAULT_KEYS.iter().zip([&vault_key, &former_vault_key]) {
        if key.as_ref().is_some_and(|key| key.sealing_bytes().is_none()) {
            let help = "make one with `openssl rand -base64 32`".to_owned();
            draft.report(pointer, Part::Value, "must be 32 bytes in base64".to_owned(), Some(help));
        }
    }
    Checked {
        account_keys,
        admin_key,
        vault_key,
        former_vault_key,
        catalog_directory: directory(draft, "/catalog/directory"),
        store_directory: path(draft, "/store/directory"),
        readable_directory: directory(draft, "/vault/readable_directory"),
        listen_tls,
        admin_tls,
        warnings,
    }
}

fn public_address(draft: &mut Draft, pointer: &str, encrypts: bool) {
    let address = draft.text_at(pointer).and_then(|text| text.parse::<SocketAddr>().ok());
    let is_public = address.is_some_and(|one| !one.ip().to_canonical().is_loopback());
    let allowed = draft.tree.pointer("/listen/allow_insecure_public");
    if is_public && !encrypts && allowed != Some(&Value::Bool(true)) {
        let message = "other machines can reach this address, and the server has no certificate to \
                       encrypt with";
        let help = "listen on 127.0.0.1, set listen.tls.certificate and listen.tls.key, or set \
                    listen.allow_insecure_public = true where a proxy in front does TLS";
        draft.report(pointer, Part::Value, message.to_owned(), Some(help.to_owned()));
    }
}

fn unique_accounts(draft: &mut Draft) {
    let mut first_of: BTreeMap<String, String> = BTreeMap::new();
    for index in 0..draft.accounts().len() {
        let pointer = format!("/accounts/{index}/id");
        let Some(id) = draft.text_at(&pointer).map(str::to_owned) else { continue };
        if let Some(first) = first_of.get(&id) {
            let message = format!("there is another account named `{id}`");
            let help = format!("the first one is at {}", draft.origin(first));
            draft.report(&pointer, Part::Value, message, Some(help));
        } else {
            first_of.insert(id, pointer);
        }
    }
}

/// A folder that must be there.
fn directory(draft: &mut Draft, pointer: &str) -> Option<PathBuf> {
    let path = path(draft, pointer)?;
    if !path.is_dir() {
        let message = format!("{} is not a folder", path.display());
        draft.report(pointer, Part::Value, message, None);
    }
    Some(path)
}

fn path(draft: &Draft, pointer: &str) -> Option<PathBuf> {
    Some(draft.folder(pointer).join(draft.text_at(pointer)?))
}

fn key(
    draft: &mut Draft,
    pointer: &str,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Option<Secret> {
    let text = draft.text_at(pointer).filter(|text| !text.is_empty())?;
    let folder: &Path = &draft.folder(pointer);
    match secret::resolve(text, environment, folder) {
        Ok(resolved) => {
            let origin = draft.origin(pointer);
            if resolved.in_clear && !matches!(origin, Origin::Environment { .. }) {
                warnings.push(format!(
                    "{origin}: {} holds the key itself; with \"env:NAME\" or \"file:PATH\" it \
                     stays out of the configuration",
                    dotted(pointer)
                ));
            }
            resolved.secret
        }
        Err(message) => {
            draft.report(pointer, Part::Value, message, None);
            None
        }
    }
}
