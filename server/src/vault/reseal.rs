//! Seals anew, at start, what the former key has sealed.

use mediary_domain::Result;
use mediary_store::{Account, Change, Error, Page, Saved, Sealed, Secret as Kept, Store};
use tracing::{info, warn};

use super::Vault;
use crate::{clock::Clock, config::Secret};

const BATCH: u32 = 100;

/// After it nothing needs the former key. What cannot be opened stays as it is.
pub async fn reseal(store: &dyn Store, vault: &Vault, clock: &Clock) -> Result<()> {
    let mut page = Page::first(BATCH);
    loop {
        let batch = store.accounts().list(page).await?;
        for account in batch.rows {
            let Some((name, secret)) = stale(vault, &account) else { continue };
            let only = Some(account.stamp.version);
            let account = Account {
                secret: Kept::Sealed(vault.seal(&name, &secret)?),
                key_fingerprint: vault.fingerprint(&secret),
                ..account
            };
            match store.accounts().update(account, only, Change::at(clock.wall())).await {
                Ok(Saved::Done(_)) => info!("the key of {name} is sealed anew"),
                // Somebody else has changed it, and sealed it with the present key by that.
                Ok(_) | Err(Error::EtagMismatch(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match batch.next {
            Some(last) => page = Page::after(last, BATCH),
            None => return Ok(()),
        }
    }
}

fn stale(vault: &Vault, account: &Account) -> Option<(String, Secret)> {
    let Kept::Sealed(sealed) = &account.secret else { return None };
    let name = format!("accounts/{}", account.id);
    let sealed: &Sealed = Some(sealed).filter(|sealed| vault.is_stale(sealed))?;
    match vault.open(&name, sealed) {
        Ok(secret) => Some((name, secret)),
        Err(problem) => {
            warn!("{name} is not sealed anew: {problem}");
            None
        }
    }
}
