//! What a provider says of itself when it is asked with an account.

use crate::{capability::Capability, money::Price};

/// The account works, and these are the models that it may use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection {
    /// In the provider's order.
    pub models: Vec<LiveModel>,
}

/// A model as its provider lists it. Whatever is empty or `None` was not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveModel {
    /// The provider's own id.
    pub id: String,
    pub display_name: String,
    pub context_tokens: Option<i64>,
    pub max_output_tokens: Option<i64>,
    pub capabilities: Vec<Capability>,
    /// Words of `Model.features` that the provider vouches for.
    pub features: Vec<&'static str>,
    pub prices: Vec<Price>,
}
