//! The one seam to everything upstream.
//!
//! Owns: the trait, and what a call is given. Leaves: every wire (`providers`, `dialect`), and
//! everything that is common to all of them (the wrappers below this room, `routing`).

pub mod accounting;

use std::{pin::Pin, sync::Arc};

use async_trait::async_trait;
use futures::Stream;
use mediary_domain::{
    Capability, ChatCall, ChatEvent, EmbedOptions, Embedded, Error, Inspection, Kind, Result, Retry,
};

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

    /// Texts into vectors, in their order; never more texts than the model's row takes at once.
    async fn embed(
        &self,
        cx: &CallContext,
        texts: &[String],
        options: &EmbedOptions,
    ) -> Result<Embedded> {
        let _ = (texts, options);
        Err(unsupported(cx, "makes no vectors"))
    }

    /// How many tokens the model would read, counted by the provider and free of charge.
    async fn count_tokens(&self, cx: &CallContext, call: &ChatCall) -> Result<i64> {
        let _ = call;
        Err(uncounted(cx))
    }

    /// Free credential check and live model list, where the provider has them.
    async fn inspect(&self, cx: &CallContext) -> Result<Inspection> {
        Err(unsupported(cx, "does not list its models"))
    }
}

/// The provider does not count tokens by itself.
pub fn uncounted(cx: &CallContext) -> Error {
    unsupported(cx, "does not count tokens")
}

fn unsupported(cx: &CallContext, what: &str) -> Error {
    Error::new(Kind::CapabilityUnsupported, format!("{} {what}", cx.provider.display_name))
        .with_retry(Retry::Elsewhere)
        .fact("provider", cx.provider.id.as_str())
}

/// What one call runs with.
#[derive(Clone)]
pub struct CallContext {
    pub provider: Arc<ProviderRow>,
    pub model: Arc<ModelRow>,
    pub account: Arc<Account>,
}

impl CallContext {
    /// For what concerns an account and no model.
    pub fn of_account(provider: Arc<ProviderRow>, account: Arc<Account>) -> Self {
        let model =
            Arc::new(ModelRow { name: String::new(), ..ModelRow::undescribed(&provider, "") });
        Self { provider, model, account }
    }
}
