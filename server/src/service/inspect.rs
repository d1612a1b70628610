//! Asks a provider what it says of itself: whether it takes a key, and which models it has.
//!
//! Owns: how long that may take of a call's time. Leaves: what is made of the answer (`account`,
//! `catalog`).

use std::{sync::Arc, time::Instant};

use mediary_domain::{Error, Inspection, Kind, Result};
use tokio::time::timeout_at;
use tonic::Request;

use super::layers::Deadline;
use crate::{
    clock::Clock,
    provider::CallContext,
    registry::{Account, Entry},
};

/// When a provider must have answered: a tenth of the call's time is for what is made of it.
pub fn until<T>(request: &Request<T>, clock: &Clock) -> Option<Instant> {
    let Deadline(deadline) = request.extensions().get::<Deadline>()?;
    let left = deadline.saturating_duration_since(clock.now());
    deadline.checked_sub(left / 10)
}

/// What the provider tells the account. [`Kind::CapabilityUnsupported`] where it has no call that
/// costs nothing.
pub async fn ask(
    entry: &Entry,
    account: &Arc<Account>,
    until: Option<Instant>,
) -> Result<Inspection> {
    let cx = CallContext::of_account(entry.row.clone(), account.clone());
    let asking = entry.adapters.own().inspect(&cx);
    let Some(until) = until else { return asking.await };
    timeout_at(until.into(), asking).await.unwrap_or_else(|_| {
        let message = format!("{} did not answer in the time of this call", cx.provider.id);
        let error = Error::new(Kind::UpstreamTimeout, message);
        Err(error.fact("provider", cx.provider.id.as_str()))
    })
}
