//! Keeps what exists up to date: reads what the store holds and swaps what everybody reads.
//!
//! Owns: when that is done. After a change of ours it is done before the change is answered, so
//! that a caller sees what it wrote; after somebody else's as soon as the store tells.
//! Leaves: what the rows mean (`access`, the snapshot).

use mediary_domain::Result;
use mediary_store::{Shared, Version};
use tokio::sync::Mutex;
use tracing::warn;

use crate::access::Access;

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
