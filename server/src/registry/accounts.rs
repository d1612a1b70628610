//! Which accounts there are at a provider, and with which key each is called.
//!
//! Strongest first: those of the store, those of the configuration, the one that the environment
//! gives. A row of the store may lie over one of the others: without a key of its own it keeps
//! theirs, and when it goes they are as they were.
//! Invariant: a key travels to the address that it was given for, and to no other. What a variable
//! holds is for the provider whose row in the catalog names it, at the address of that row.

use std::sync::Arc;

use mediary_store::{Account as Stored, AccountState, Secret as Kept};

use super::{Account, AccountSettings, AuthScheme, Base, Origin, ProviderRow};
use crate::{
    config::{AccountSection, ProtocolSettings, Secret},
    vault::{self, Reference},
};

/// An account of the configuration.
pub struct OfConfig {
    id: String,
    provider: String,
    base_uri: String,
    protocol: ProtocolSettings,
    secret: Option<Secret>,
}

impl OfConfig {
    pub fn new(section: &AccountSection) -> Self {
        Self {
            id: section.id.clone(),
            provider: section.provider.clone(),
            base_uri: section.base_uri.clone().unwrap_or_default(),
            protocol: section.settings.clone(),
            secret: section.api_key.clone(),
        }
    }
}

/// What an account stands on before the store is looked at.
struct Below {
    account: Account,
    /// Where its key may go.
    key_for: String,
}

impl Base {
    /// The accounts of a provider. `stored` are its rows, each of which may be wrong: then it is
    /// told to `spoilt`, which gives what to use instead.
    pub(super) fn accounts_of<'a>(
        &self,
        provider: &ProviderRow,
        stored: &[&'a Stored],
        mut spoilt: impl FnMut(&'a Stored, String) -> Option<Arc<Account>>,
    ) -> Vec<Arc<Account>> {
        let address = self.address(provider);
        let mut below: Vec<Below> = self.of_config(provider, &address).collect();
        below.extend(self.of_environment(provider, &address));
        let mut own = Vec::new();
        for row in stored {
            let under = below.iter().position(|one| one.account.id == row.id);
            let laid = match self.laid(row, under.map(|at| &below[at]), &address, provider) {
                Ok(account) => Some(Arc::new(account)),
                Err(problem) => spoilt(row, problem),
            };
            if let Some(account) = laid {
                if let Some(at) = under {
                    below.remove(at);
                }
                own.push(account);
            }
        }
        own.extend(below.into_iter().map(|one| Arc::new(one.account)));
        own
    }

    /// The address that the configuration gives an account of its own, where a row of that origin
    /// lies over it.
    pub fn configured_address(&self, id: &str, origin: &str) -> &str {
        let lies_over = Origin::of_account(origin) != Origin::Manual;
        let below = self.accounts.iter().find(|one| lies_over && one.id == id);
        below.map_or("", |one| plain(&one.base_uri))
    }

    /// Where a provider is called. A variable moves it, unless its address was changed at run time.
    pub fn address(&self, provider: &ProviderRow) -> String {
        let under = self.providers.get(&provider.id);
        let is_moved = under.is_some_and(|under| under.base_uri != provider.base_uri);
        let names = provider.auth.base_uri_env.iter().filter(|name| {
            let is_of_catalog = under.is_some_and(|row| row.auth.base_uri_env.contains(name));
            is_of_catalog || self.readable.names(name)
        });
        let variable = names.filter(|_| !is_moved).find_map(|name| self.variable(name));
        let named = variable.map(|named| whole_address(named, &provider.base_uri));
        plain(named.as_deref().unwrap_or(&provider.base_uri)).to_owned()
    }

    /// Where the catalog calls a provider: what keys of the configuration were given for.
    fn address_of_catalog(&self, provider: &str) -> Option<String> {
        self.providers.get(provider).map(|row| self.address(row))
    }

    fn of_config<'a>(
        &'a self,
        provider: &'a ProviderRow,
        address: &'a str,
    ) -> impl Iterator<Item = Below> + 'a {
        let of_provider = self.accounts.iter().filter(|one| one.provider == provider.id);
        of_provider.map(move |one| {
            let own = (!one.base_uri.is_empty()).then(|| plain(&one.base_uri).to_owned());
            let key_for = own.clone().or_else(|| self.address_of_catalog(&provider.id));
            let mut account =
                Account::new(one.id.clone(), own.as_deref().unwrap_or(address), one.secret.clone());
            account.settings.base_uri = own.unwrap_or_default();
            account.settings.protocol = one.protocol.clone();
            self.below(account, provider, key_for.unwrap_or_default())
        })
    }

    /// The account that needs no word of the configuration: a variable is set, or nothing is asked.
    fn of_environment(&self, provider: &ProviderRow, address: &str) -> Option<Below> {
        let auth = &provider.auth;
        let takes_key = auth.scheme != AuthScheme::None;
        let keys = auth.key_env.iter().filter(|_| takes_key).map(|name| (name, false));
        let tokens = auth.bearer_env.iter().filter(|_| takes_key).map(|name| (name, true));
        let mut found = keys.chain(tokens).filter_map(|(name, is_token)| {
            let key_for = self.may_read(name, &provider.id, address).ok()?;
            Some((Secret::new(self.variable(name)?.to_owned()), key_for, is_token))
        });
        let found = found.next();
        let has_address = auth.base_uri_env.iter().any(|name| self.variable(name).is_some());
        let is_named = found.is_some() || has_address;
        let suffices = found.is_some() || !auth.required;
        let is_open = provider.base_uri.is_empty() || provider.origin == Origin::Manual;
        let needs_nothing = auth.scheme == AuthScheme::None && is_open;
        let is_whole = is_named && suffices && !address.is_empty();
        if !needs_nothing && !is_whole {
            return None;
        }
        let (secret, key_for, bearer) = match found {
            Some((secret, key_for, is_token)) => (Some(secret), key_for, is_token),
            None => (None, address.to_owned(), false),
        };
        let versions = provider.versioned.iter().flat_map(|one| &one.api_version_env);
        let version = versions.filter(|name| self.may_name(name, &provider.id));
        let version = version.filter_map(|name| self.variable(name)).next();
        let mut account = Account::new(format!("{}-env", provider.id), address, secret);
        account.origin = if needs_nothing { Origin::Config } else { Origin::Environment };
        account.settings.protocol =
            ProtocolSettings { api_version: version.map(str::to_owned), bearer };
        Some(self.below(account, provider, key_for))
    }

    fn below(&self, mut account: Account, provider: &ProviderRow, key_for: String) -> Below {
        account.provider.clone_from(&provider.id);
        self.mark(&mut account);
        if account.secret.is_some() && account.base_uri != key_for {
            lock(&mut account, &key_for);
        }
        Below { account, key_for }
    }

    /// A row of the store, over what stands below it.
    fn laid(
        &self,
        row: &Stored,
        below: Option<&Below>,
        address: &str,
        provider: &ProviderRow,
    ) -> Result<Account, String> {
        let settings: AccountSettings = match row.settings_json.as_str() {
            "" => AccountSettings::default(),
            json => serde_json::from_str(json).map_err(|error| error.to_string())?,
        };
        let is_overlay = Origin::of_account(&row.origin) != Origin::Manual;
        let below = below.filter(|_| is_overlay);
        let below_it = below.map_or("", |one| one.account.settings.base_uri.as_str());
        let own = [plain(&settings.base_uri), below_it].into_iter().find(|one| !one.is_empty());
        let own = own.map(str::to_owned);
        let base_uri = own.clone().unwrap_or_else(|| address.to_owned());
        let (secret, key_for) = match &row.secret {
            Kept::None => match below {
                Some(one) => (Ok(one.account.secret.clone()), one.key_for.clone()),
                None => (Ok(None), String::new()),
            },
            Kept::Sealed(sealed) => {
                let opened = self.vault.open(&format!("accounts/{}", row.id), sealed);
                (opened.map(Some), settings.key_for.clone())
            }
            Kept::Reference(text) => {
                (self.follow(text, &provider.id, &base_uri).map(Some), settings.key_for.clone())
            }
        };
        let protocol = match below {
            Some(one) if settings.protocol.is_usual() => one.account.settings.protocol.clone(),
            _ => settings.protocol.clone(),
        };
        let settings = AccountSettings { protocol, base_uri: own.unwrap_or_default(), ..settings };
        let mut account = Account {
            provider: provider.id.clone(),
            display_name: match row.display_name.as_str() {
                "" => row.id.clone(),
                name => name.to_owned(),
            },
            settings,
            state: row.state,
            key_hint: row.key_hint.clone(),
            key_fingerprint: row.key_fingerprint.clone(),
            origin: below.map_or(Origin::Manual, |one| one.account.origin),
            stamp: Some(row.stamp),
            ..Account::new(row.id.clone(), &base_uri, None)
        };
        match secret {
            Ok(Some(_)) if account.base_uri != plain(&key_for) => lock(&mut account, &key_for),
            Ok(secret) => account.secret = secret,
            Err(problem) => account.fault = Some(problem),
        }
        if is_overlay && below.is_none() && row.secret == Kept::None {
            account.fault = Some(format!(
                "it lay over an account of the {} that is gone: send its key, or delete it",
                row.origin
            ));
        }
        self.mark(&mut account);
        // Another key than the one that was refused.
        if account.state == AccountState::CredentialsRejected
            && !row.key_fingerprint.is_empty()
            && row.key_fingerprint != account.key_fingerprint
        {
            account.state = AccountState::Active;
        }
        Ok(account)
    }

    /// The key at a place that an account names.
    fn follow(&self, reference: &str, provider: &str, address: &str) -> Result<Secret, String> {
        match Reference::parse(reference)? {
            Reference::File(path) => self.readable.file(path),
            Reference::Variable(name) => {
                let key_for = self.may_read(name, provider, address)?;
                if key_for != address {
                    return Err(format!("{name} is for {key_for} alone"));
                }
                self.readable.variable(name)
            }
        }
    }

    /// Whether an account of the provider may name the place, to be called at that address.
    pub fn may_follow(&self, reference: &str, provider: &str, address: &str) -> Result<(), String> {
        match Reference::parse(reference)? {
            Reference::File(path) => self.readable.allows(path),
            Reference::Variable(name) => match self.may_read(name, provider, address)? {
                key_for if key_for == address => Ok(()),
                key_for => Err(format!("{name} is for {key_for} alone")),
            },
        }
    }

    /// Whether a row of the provider may name the variable at all.
    pub fn may_name(&self, variable: &str, provider: &str) -> bool {
        let names = |row: &Arc<ProviderRow>| row.variables().any(|one| one == variable);
        self.readable.names(variable) || self.providers.get(provider).is_some_and(names)
    }

    /// The address that the key in a variable may go to, from an account at `address`.
    fn may_read(&self, name: &str, provider: &str, address: &str) -> Result<String, String> {
        if self.readable.names(name) {
            return Ok(address.to_owned());
        }
        let row = self.providers.get(provider);
        let keys = |row: &ProviderRow| {
            [&row.auth.key_env, &row.auth.bearer_env].into_iter().flatten().any(|one| one == name)
        };
        let row = row.filter(|row| keys(row));
        row.map(|row| self.address(row)).ok_or_else(|| {
            format!(
                "the variable {name} may not be read: name it in vault.readable_variables of the \
                 server's configuration"
            )
        })
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.readable.environment().get(name)
    }

    fn mark(&self, account: &mut Account) {
        if let Some(secret) = &account.secret {
            account.key_hint = vault::hint(secret);
            account.key_fingerprint = self.vault.fingerprint(secret);
        }
    }

    /// What is wrong with an account of the configuration that has nowhere to be called.
    pub(super) fn lost(&self, account: &OfConfig) -> Option<String> {
        let row = self.providers.get(&account.provider)?;
        let has_none = account.base_uri.is_empty() && self.address(row).is_empty();
        (has_none && row.auth.scheme != AuthScheme::None).then(|| {
            let (id, provider) = (&account.id, &row.display_name);
            format!("account {id}: {provider} has an address for each customer: set base_uri")
        })
    }

    pub fn vault(&self) -> &vault::Vault {
        &self.vault
    }
}

/// Takes the key away from an account that would send it elsewhere.
fn lock(account: &mut Account, key_for: &str) {
    account.secret = None;
    account.fault = Some(format!(
        "its key was given for {key_for}, and it would be called at {}: send the key again",
        account.base_uri
    ));
}

fn plain(address: &str) -> &str {
    address.trim_end_matches('/')
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
