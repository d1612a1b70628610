//! Keeps what exists up to date: reads what the store holds and swaps what everybody reads.
//!
//! Owns: when that is done. After a change of ours it is done before the change is answered, so
//! that a caller sees what it wrote; after somebody else's as soon as the store tells. And trying
//! a change out before it is kept. Leaves: what the rows mean (`access`, `overlay`).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use mediary_domain::{Error, Result};
use mediary_store::{RegistryRows, Shared, Version};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::sleep,
};
use tracing::warn;

use super::{Base, Complaint, Registry, Snapshot};
use crate::{access::Access, clock::Clock};

/// How often what has ended is forgotten, and how much of it at a time.
const TIDYING: Duration = Duration::from_secs(600);
const FORGOTTEN_AT_ONCE: u32 = 1_000;

pub struct Keeper {
    store: Shared,
    access: Access,
    base: Arc<Base>,
    registry: Registry,
    known: Mutex<Known>,
    /// Held by whoever decides on a change, until it is kept and seen.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// The version that is read; `None` before the first time.
    version: Option<Version>,
    /// What was told in the log already.
    told: BTreeSet<Complaint>,
}

/// What the store holds, and what exists because of it.
pub struct Moment {
    pub rows: RegistryRows,
    pub snapshot: Arc<Snapshot>,
}

impl Keeper {
    pub fn new(store: Shared, access: Access, base: Arc<Base>, registry: Registry) -> Self {
        Self { store, access, base, registry, known: Mutex::default(), turn: Mutex::default() }
    }

    pub fn base(&self) -> &Base {
        &self.base
    }

    /// Takes over what the store holds, for the first time: what no process can go on with is
    /// returned.
    pub async fn begin(&self) -> Result<(), String> {
        let complaints = self.read().await.map_err(|error| error.to_string())?.1;
        let fatal = complaints.into_iter().filter(|one| one.is_fatal).map(|one| one.problem);
        let fatal: Vec<String> = fatal.collect();
        if fatal.is_empty() { Ok(()) } else { Err(fatal.join("\n")) }
    }

    /// Takes over what the store holds now.
    pub async fn refresh(&self) -> Result<()> {
        self.read().await.map(drop)
    }

    /// What the store holds now, taken over.
    pub async fn moment(&self) -> Result<Moment> {
        let rows = self.read().await?.0;
        Ok(Moment { rows, snapshot: self.registry.now() })
    }

    /// Waits until nobody else in this process decides on a change. The store alone keeps changes
    /// apart; without this, those that come together would refuse each other.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// What would exist if the store held `rows`, and what would be wrong with them.
    pub async fn try_out(&self, rows: RegistryRows) -> Result<(Arc<Snapshot>, Vec<Complaint>)> {
        let (snapshot, complaints, _) = self.built(rows).await?;
        Ok((Arc::new(snapshot), complaints))
    }

    /// Forgets requests whose repeats are no longer known, for ever.
    pub async fn tidy(&self, clock: &Clock) {
        loop {
            match self.store.requests().forget_ended(clock.wall(), FORGOTTEN_AT_ONCE).await {
                Ok(n) if n >= u64::from(FORGOTTEN_AT_ONCE) => {}
                Ok(_) => sleep(TIDYING).await,
                Err(error) => {
                    warn!("requests that have ended are not forgotten: {error}");
                    sleep(TIDYING).await;
                }
            }
        }
    }

    /// Follows the store for ever.
    pub async fn follow(&self) {
        let mut changes = self.store.registry().changes();
        while changes.changed().await.is_ok() {
            changes.borrow_and_update();
            if let Err(error) = self.refresh().await {
                warn!(kind = ?error.kind(), "what the store holds cannot be read: {error}");
            }
        }
    }

    async fn read(&self) -> Result<(RegistryRows, Vec<Complaint>)> {
        let mut known = self.known.lock().await;
        let rows = self.store.registry().rows().await?;
        if known.version == Some(rows.version) {
            return Ok((rows, Vec::new()));
        }
        self.access.take(&rows.api_keys);
        let (snapshot, complaints, rows) = self.built(rows).await?;
        self.registry.swap(snapshot);
        known.version = Some(rows.version);
        let now: BTreeSet<Complaint> = complaints.iter().cloned().collect();
        for one in now.difference(&known.told).filter(|one| !one.is_fatal) {
            warn!(resource = %one.name, "{}: {}", one.name, one.problem);
        }
        known.told = now;
        Ok((rows, complaints))
    }

    /// Opens keys and reads files: not for a thread that calls wait for.
    async fn built(&self, rows: RegistryRows) -> Result<(Snapshot, Vec<Complaint>, RegistryRows)> {
        let (base, before) = (self.base.clone(), self.registry.now());
        let building = tokio::task::spawn_blocking(move || {
            let (snapshot, complaints) = base.with(&rows, &before);
            (snapshot, complaints, rows)
        });
        building.await.map_err(|_| Error::bug("what exists cannot be put together"))
    }
}
