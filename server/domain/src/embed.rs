//! Texts that become vectors.

use crate::usage::TokenUsage;

/// Texts to embed, checked: none is empty and they are not too many.
#[derive(Clone, Debug)]
pub struct EmbedCall {
    pub texts: Vec<String>,
    pub options: EmbedOptions,
}

#[derive(Clone, Debug, Default)]
pub struct EmbedOptions {
    /// Length of the vectors; `None` = the model's own.
    pub dimensions: Option<u32>,
    /// What the vectors are for, such as `query`; empty = not told.
    pub purpose: String,
    /// JSON object for the provider that runs, by provider id; merged into the request body last.
    pub provider_options: Vec<(String, String)>,
}

/// Vectors in the order of their texts.
#[derive(Clone, Debug, Default)]
pub struct Embedded {
    pub vectors: Vec<Vec<f32>>,
    /// The model name that the provider's answer carries; empty = it carries none.
    pub model: String,
    /// `None` = the provider did not count.
    pub usage: Option<TokenUsage>,
}
