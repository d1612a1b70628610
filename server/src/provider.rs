//! The one seam to everything upstream.
//!
//! Owns: the trait, and what a call is given. Leaves: every wire (`providers`, `dialect`), and
//! everything that is common to all of them (the wrappers below this room, `routing`).

pub mod accounting;

use std::{pin::Pin, sync::Arc};

use async_trait::async_trait;
use futures::Stream;
use mediary_domain::{Capability, ChatCall, ChatEvent, Result};

pub use crate::registry::{Account, AuthScheme, ModelRow, ProviderRow};

/// The events of one answer. Ends after `Finished` or the first failure; dropping it closes the
/// connection to the provider.
pub type ChatStream = Pin<Box<dyn Stream<Item = Result<ChatEvent>> + Send>>;

/// One upstream API. Knows its wire and nothing else: keys, limits, retries, storage and metrics
/// wrap it.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What it can do.
    fn offers(&self) -> &[Capability];

    /// Text is always a stream; the unary answer is that stream, collected. Returns once the
    /// provider has accepted the call.
    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream>;
}

/// What one call runs with.
#[derive(Clone)]
pub struct CallContext {
    pub provider: Arc<ProviderRow>,
    pub model: Arc<ModelRow>,
    pub account: Arc<Account>,
}
