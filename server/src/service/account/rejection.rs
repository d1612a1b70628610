//! What follows when a provider refuses the key of an account: it is kept, so that no replica and no
//! later process asks again with a key that is known to be refused.

use std::sync::Arc;

use mediary_domain::Result;
use mediary_store::AccountState;
use tokio::sync::mpsc;
use tracing::warn;

use super::{AccountApi, effect};
use crate::{
    access::Role,
    registry::Account,
    service::{change::Changing, decide::Turn},
};

/// What stands in the audit log in the place of an RPC.
const REJECTED: &str = "server/credentials-rejected";

impl AccountApi {
    /// Keeps what calls have found, for ever.
    pub async fn keep_rejections(&self, mut rejected: mpsc::UnboundedReceiver<Arc<Account>>) {
        while let Some(account) = rejected.recv().await {
            let name = account.name();
            match self.keep_rejection(&account).await {
                Ok(()) => warn!(
                    account = name,
                    "the provider refuses the key of {name}: it is not used any more"
                ),
                Err(error) => warn!(
                    account = name,
                    "the provider refuses the key of {name}, which could not be kept: {error}"
                ),
            }
        }
        std::future::pending().await
    }

    async fn keep_rejection(&self, asked: &Account) -> Result<()> {
        let changing = Changing::of_server(&self.clock, REJECTED, Role::Admin);
        let name = asked.name();
        let mut turn = Turn::at(&self.keeper, &name).await;
        loop {
            let moment = turn.moment().await?;
            let known = moment.snapshot.accounts.get(&asked.id);
            // What was found of another key says nothing of this one.
            let known = known.filter(|known| {
                known.state == AccountState::Active
                    && known.key_fingerprint == asked.key_fingerprint
                    && known.base_uri == asked.base_uri
            });
            let Some(known) = known else { return Ok(()) };
            let state = AccountState::CredentialsRejected;
            let change = changing.again(effect(known, state));
            let saved = self.put_state(&moment, known, state, change).await;
            if turn.kept(saved).await?.is_some() {
                return Ok(());
            }
        }
    }
}
