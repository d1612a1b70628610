//! The list of models, page by page.

use mediary_domain::{Capability, Inspection, LiveModel, Result};
use serde::Deserialize;

use super::Anthropic;
use crate::{
    dialect::{
        failure::garbled,
        listing::{self, told},
    },
    provider::CallContext,
};

/// Longest page that is read.
const PAGE_LIMIT: usize = 4 << 20;

impl Anthropic {
    pub(super) async fn models(&self, cx: &CallContext) -> Result<Inspection> {
        let mut models = Vec::new();
        let mut after = String::new();
        for _ in 0..listing::MOST_PAGES {
            let path = format!("/v1/models?limit=1000{after}");
            let reply = self.upstream.get(cx, &path).await?;
            let json = reply.body.read_all(PAGE_LIMIT).await?;
            let page: Page = serde_json::from_slice(&json).map_err(|error| garbled(cx, &error))?;
            models.extend(page.data.into_iter().map(Listed::into_model));
            match page.last_id.filter(|_| page.has_more) {
                Some(last) if listing::is_token(&last) => after = format!("&after_id={last}"),
                _ => break,
            }
        }
        Ok(Inspection { models })
    }
}

// --- wire ---

#[derive(Deserialize)]
struct Page {
    data: Vec<Listed>,
    #[serde(default)]
    has_more: bool,
    #[serde(default)]
    last_id: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    max_input_tokens: Option<i64>,
    #[serde(default)]
    max_tokens: Option<i64>,
    #[serde(default)]
    capabilities: Option<Abilities>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Abilities {
    image_input: Ability,
    structured_outputs: Ability,
    thinking: Ability,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ability {
    supported: bool,
}

impl Listed {
    /// Every model of this API answers text and calls tools.
    fn into_model(self) -> LiveModel {
        let can = self.capabilities.unwrap_or_default();
        let features = told([
            ("streaming", true),
            ("tools", true),
            ("vision", can.image_input.supported),
            ("json-schema", can.structured_outputs.supported),
            ("reasoning", can.thinking.supported),
        ]);
        let capabilities = told([
            (Capability::TextToText, true),
            (Capability::ImageToText, can.image_input.supported),
        ]);
        LiveModel {
            id: self.id,
            display_name: self.display_name.unwrap_or_default(),
            context_tokens: self.max_input_tokens,
            max_output_tokens: self.max_tokens,
            capabilities,
            features,
            prices: Vec::new(),
        }
    }
}
