//! The list of models, page by page.

use mediary_domain::{Capability, Inspection, LiveModel, Result};
use serde::Deserialize;

use super::{Gemini, MODELS, failure::not_it};
use crate::{
    dialect::listing::{self, told},
    provider::CallContext,
};

/// Longest page that is read.
const PAGE_LIMIT: usize = 4 << 20;

impl Gemini {
    pub(super) async fn models(&self, cx: &CallContext) -> Result<Inspection> {
        let mut models = Vec::new();
        let mut after = String::new();
        for at in 0..listing::MOST_PAGES {
            let path = format!("/models?pageSize=1000{after}");
            let json = self.upstream.get(cx, &path).await?.body.read_all(PAGE_LIMIT).await?;
            let Ok(page) = serde_json::from_slice::<Page>(&json) else {
                return Err(not_it(cx, &json));
            };
            match page.models {
                Some(listed) => models.extend(listed.into_iter().map(Listed::into_model)),
                // Fields that hold nothing are not sent: so is the last page of a long list.
                None if at > 0 => {}
                None => return Err(not_it(cx, &json)),
            }
            match page.next_page_token.filter(|token| listing::is_token(token)) {
                Some(token) => after = format!("&pageToken={token}"),
                None => break,
            }
        }
        Ok(Inspection { models })
    }
}

// --- wire ---

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    models: Option<Vec<Listed>>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    input_token_limit: Option<i64>,
    #[serde(default)]
    output_token_limit: Option<i64>,
    #[serde(default)]
    supported_generation_methods: Vec<String>,
    #[serde(default)]
    thinking: Option<bool>,
}

/// Parts of the names of models that answer with something else than text, although their method is
/// the same.
const NO_TEXT: [&str; 4] = ["-image", "-tts", "-audio", "lyria"];

impl Listed {
    /// The methods tell it, and the name where a method tells too little.
    fn into_model(self) -> LiveModel {
        let has = |name: &str| self.supported_generation_methods.iter().any(|one| one == name);
        let is_text = has("generateContent") && !NO_TEXT.iter().any(|no| self.name.contains(no));
        let thinks = is_text && self.thinking == Some(true);
        LiveModel {
            id: self.name.strip_prefix(MODELS).unwrap_or(&self.name).to_owned(),
            display_name: self.display_name.unwrap_or_default(),
            context_tokens: self.input_token_limit,
            // Of a model that makes vectors this is no number of tokens.
            max_output_tokens: self.output_token_limit.filter(|_| is_text),
            capabilities: told([
                (Capability::TextToText, is_text),
                (Capability::TextEmbedding, has("embedContent")),
            ]),
            features: told([("streaming", is_text), ("reasoning", thinks)]),
            prices: Vec::new(),
        }
    }
}
