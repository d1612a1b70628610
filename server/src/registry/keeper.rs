//! Keeps what exists up to date: reads what the store holds and swaps what everybody reads.
//!
//! Owns: when that is done. After a change of ours it is done before the change is answered, so
//! that a caller sees what it wrote; after somebody else's as soon as the store tells.
//! Leaves: what the rows mean (`access`, the snapshot).

use std::time::Duration;

use mediary_domain::Result;
use mediary_store::{Shared, Version};
use tokio::{sync::Mutex, time::sleep};
use tracing::warn;

use crate::{access::Access, clock::Clock};

/// How often what has ended is forgotten, and how much of it at a time.
const TIDYING: Duration = Duration::from_secs(600);
const FORGOTTEN_AT_ONCE: u32 = 1_000;

pub struct Keeper {
    store: Shared,
    access: Access,
    /// The version that is read; `None` before the first time.
    known: Mutex<Option<Version>>,
}

impl Keeper {
    pub fn new(store: Shared, access: Access) -> Self {
        Self { store, access, known: Mutex::new(None) }
    }

    /// Takes over what the store holds now.
    pub async fn refresh(&self) -> Result<()> {
        let mut known = self.known.lock().await;
        let rows = self.store.registry().rows().await?;
        if *known == Some(rows.version) {
            return Ok(());
        }
        self.access.take(&rows.api_keys);
        *known = Some(rows.version);
        Ok(())
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
}
