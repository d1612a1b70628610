//! A key as it holds now, and what has become of it since the process began.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mediary_domain::Result;
use mediary_store::ApiKey;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;

use super::{
    Role,
    limits::{CallPlace, Counts, StreamPlace},
    token,
};
use crate::clock::Clock;

/// A key with which callers reach the server.
pub struct Key {
    pub id: String,
    pub owner: Arc<str>,
    pub role: Role,
    pub enabled: bool,
    pub expire_time: Option<SystemTime>,
    pub settings: KeySettings,
    hash: [u8; 32],
    most_streams: u32,
    life: Arc<Life>,
}

/// What of a key the store keeps as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeySettings {
    /// `routes/{task}`; empty = all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_routes: Vec<String>,
    /// `providers/{provider}/models/{model}` or `providers/{provider}/models/-`; empty = all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_models: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_pico_usd: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month_pico_usd: Option<i64>,
}

/// What outlives a change of the row.
#[derive(Default)]
struct Life {
    revoked: CancellationToken,
    counts: Arc<Counts>,
    /// Minutes since 1970 of the last use that was not noted yet; 0 = there is none.
    used: AtomicI64,
}

impl Key {
    /// As the store keeps it; `known` is the same key as it was before.
    pub(super) fn kept(
        row: &ApiKey,
        known: Option<&Arc<Self>>,
        most_streams: u32,
    ) -> Result<Self, String> {
        let role = Role::parse(&row.role).ok_or_else(|| format!("its role is {:?}", row.role))?;
        let settings = match row.settings_json.as_str() {
            "" => KeySettings::default(),
            json => serde_json::from_str(json).map_err(|error| error.to_string())?,
        };
        // A key that was revoked and is enabled again begins a new life.
        let known = known.filter(|key| !key.life.revoked.is_cancelled());
        Ok(Self {
            id: row.id.clone(),
            owner: row.owner.as_str().into(),
            role,
            enabled: row.enabled,
            expire_time: row.expire_time,
            settings,
            hash: row.secret_hash,
            most_streams,
            life: known.map(|key| key.life.clone()).unwrap_or_default(),
        })
    }

    /// The one of the configuration.
    pub(super) fn configured(owner: &str, secret: &str, most_streams: u32) -> Self {
        Self {
            id: String::new(),
            owner: owner.into(),
            role: Role::Admin,
            enabled: true,
            expire_time: None,
            settings: KeySettings::default(),
            hash: token::hash(secret),
            most_streams,
            life: Arc::default(),
        }
    }

    /// `apiKeys/{id}`; empty for the key of the configuration.
    pub fn name(&self) -> String {
        if self.id.is_empty() { String::new() } else { format!("apiKeys/{}", self.id) }
    }

    pub(super) fn fits(&self, hash: &[u8; 32]) -> bool {
        self.hash.ct_eq(hash).into()
    }

    pub(super) fn revoke(&self) {
        self.life.revoked.cancel();
    }

    /// Fired when the key is deleted or disabled.
    #[cfg(test)]
    pub fn revoked(&self) -> &CancellationToken {
        &self.life.revoked
    }

    /// Counts a call; refused where a limit is reached.
    pub fn begin_call(&self, clock: &Clock) -> Result<CallPlace> {
        self.life.counts.begin_call(&self.settings, clock.wall())
    }

    /// Counts an open stream; refused where the key has too many.
    pub fn begin_stream(&self) -> Result<StreamPlace> {
        self.life.counts.begin_stream(self.most_streams, &self.life.revoked)
    }

    pub(super) fn note_use(&self, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let minute = i64::try_from(since.as_secs() / 60).unwrap_or(i64::MAX);
        // Read first: a write by every call would have all cores fight for the line.
        if self.life.used.load(Ordering::Relaxed) != minute {
            self.life.used.store(minute, Ordering::Relaxed);
        }
    }

    /// When it was last used, if that was not taken yet.
    pub(super) fn take_use(&self) -> Option<SystemTime> {
        let minute = u64::try_from(self.life.used.swap(0, Ordering::Relaxed)).ok()?;
        (minute > 0).then(|| UNIX_EPOCH + Duration::from_secs(minute.saturating_mul(60)))
    }
}

/// Takes as long as a comparison with a key that was found.
pub(super) fn fits_nothing(hash: &[u8; 32]) -> bool {
    let _: bool = [0; 32].ct_eq(hash).into();
    false
}
