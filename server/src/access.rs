//! Who calls, with which key, and how much they may do.
//!
//! Owns: the keys of callers as they hold now, what a presented key leads to, roles, and limits
//! per key. Leaves: which method needs which role (`service::methods`), keeping keys (the store),
//! making and changing them (`service::api_key`).
//! Invariant: deny by default. Who cannot be identified has no role at all.

mod caller;
mod key;
mod limits;
mod role;
mod token;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use http::{HeaderMap, header::AUTHORIZATION};
use mediary_domain::{Error, Kind, Result};
use mediary_store::{ApiKey, ApiKeys};
use tracing::warn;

pub use self::{
    caller::{Caller, Permit},
    key::{Key, KeySettings},
    limits::{CallPlace, StreamPlace},
    role::Role,
    token::Token,
};
use crate::{clock::Clock, config::Secret};

/// Owner of what is done with the key of the configuration.
const CONFIGURED_OWNER: &str = "admin";
/// How often it is noted when keys were used.
const NOTING: Duration = Duration::from_secs(20);

/// Everybody who may call, as of now.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    clock: Clock,
    terms: Terms,
    configured: Option<Arc<Key>>,
    keys: ArcSwap<Keys>,
}

/// What holds where the store says nothing.
pub struct Terms {
    /// A key of the configuration, with the role admin.
    pub admin_key: Option<Secret>,
    pub max_streams_per_key: u32,
}

/// By the public part of what callers send.
type Keys = HashMap<String, Arc<Key>>;

impl Access {
    pub fn new(clock: Clock, terms: Terms) -> Self {
        let configured = terms.admin_key.as_ref().map(|key| {
            let most_streams = terms.max_streams_per_key;
            Arc::new(Key::configured(CONFIGURED_OWNER, key.expose(), most_streams))
        });
        Self(Arc::new(Inner { clock, terms, configured, keys: ArcSwap::default() }))
    }

    /// Takes over the keys that the store holds. One that is gone or may not be used any more
    /// takes its open streams with it.
    pub fn take(&self, rows: &[ApiKey]) {
        let before = self.0.keys.load();
        let most_streams = self.0.terms.max_streams_per_key;
        let mut keys = Keys::with_capacity(rows.len());
        for row in rows {
            let known = before.get(&row.prefix).filter(|key| key.id == row.id);
            match Key::kept(row, known, most_streams) {
                Ok(key) => {
                    keys.insert(row.prefix.clone(), Arc::new(key));
                }
                // It admits nobody rather than too much.
                Err(problem) => warn!(key = %row.id, "key {} cannot be read: {problem}", row.id),
            }
        }
        for (prefix, key) in before.iter() {
            if keys.get(prefix).is_none_or(|now| now.id != key.id || !now.enabled) {
                key.revoke();
            }
        }
        self.0.keys.store(Arc::new(keys));
    }

    /// Whether somebody could call with the role admin and a key.
    pub fn has_admin_key(&self) -> bool {
        let is_admin = |key: &Arc<Key>| key.role == Role::Admin && key.enabled;
        self.0.configured.is_some() || self.0.keys.load().values().any(is_admin)
    }

    /// Who calls; `anonymous` is who does so without a key, if anybody may. What is wrong with a
    /// key is told by the reason alone: same text for all.
    pub fn identify(&self, headers: &HeaderMap, anonymous: Option<&Caller>) -> Result<Caller> {
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = sent.next() else {
            return anonymous.cloned().ok_or_else(|| refused(Kind::KeyMissing));
        };
        let text = value.to_str().ok().filter(|_| sent.next().is_none());
        let text = text.and_then(bearer).ok_or_else(|| refused(Kind::KeyInvalid))?;
        self.0.caller_of(text)
    }

    /// Notes now and then when keys were used, for ever.
    pub async fn note_use(&self, store: &dyn ApiKeys) {
        loop {
            tokio::time::sleep(NOTING).await;
            self.note_use_now(store).await;
        }
    }

    /// Notes when keys were used since the last time.
    pub async fn note_use_now(&self, store: &dyn ApiKeys) {
        let keys = self.0.keys.load_full();
        let used = keys.values().filter_map(|key| Some((key.id.clone(), key.take_use()?)));
        let used: Vec<(String, SystemTime)> = used.collect();
        if !used.is_empty()
            && let Err(error) = store.touch(used).await
        {
            warn!("when keys were used is not noted: {error}");
        }
    }
}

impl Inner {
    fn caller_of(&self, text: &str) -> Result<Caller> {
        let hash = token::hash(text);
        let keys = self.keys.load();
        // The same work for every text, found or not.
        let found = Token::prefix_of(text).and_then(|prefix| keys.get(prefix));
        let fits = found.map_or_else(|| key::fits_nothing(&hash), |key| key.fits(&hash));
        let configured = self.configured.as_ref().filter(|key| key.fits(&hash));
        let key = match (found, configured) {
            (Some(key), _) if fits => key,
            (_, Some(key)) => key,
            _ => return Err(refused(Kind::KeyInvalid)),
        };
        if !key.enabled {
            return Err(refused(Kind::KeyInvalid));
        }
        let now = self.clock.wall();
        if key.expire_time.is_some_and(|end| end <= now) {
            return Err(refused(Kind::KeyExpired));
        }
        key.note_use(now);
        Ok(Caller::with_key(key.clone()))
    }
}

/// What follows `Bearer` (RFC 6750; the scheme in any case, as RFC 9110 has it).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

/// The key of an open stream may not be used any more.
pub fn revoked() -> Error {
    refused(Kind::KeyInvalid)
}

fn refused(kind: Kind) -> Error {
    Error::new(kind, "a valid key is needed: send it as `authorization: Bearer KEY`")
}

#[cfg(test)]
mod tests;
