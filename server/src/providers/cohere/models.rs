//! The list of models, page by page.

use mediary_domain::{Capability, Inspection, LiveModel, Result};
use serde::Deserialize;

use super::{Cohere, failure::not_it, units::whole};
use crate::{
    dialect::listing::{self, told},
    provider::CallContext,
};

/// Longest page that is read.
const PAGE_LIMIT: usize = 4 << 20;

impl Cohere {
    pub(super) async fn models(&self, cx: &CallContext) -> Result<Inspection> {
        let mut models = Vec::new();
        let mut after = String::new();
        for _ in 0..listing::MOST_PAGES {
            let path = format!("/v1/models?page_size=1000{after}");
            let json = self.upstream.get(cx, &path).await?.body.read_all(PAGE_LIMIT).await?;
            let Ok(Page { models: Some(listed), next_page_token }) = serde_json::from_slice(&json)
            else {
                return Err(not_it(cx, &json));
            };
            models.extend(listed.into_iter().map(Listed::into_model));
            match next_page_token.filter(|token| listing::is_token(token)) {
                Some(token) => after = format!("&page_token={token}"),
                None => break,
            }
        }
        Ok(Inspection { models })
    }
}

// --- wire ---

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    models: Option<Vec<Listed>>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    endpoints: Option<Vec<String>>,
    #[serde(default)]
    context_length: Option<f64>,
    #[serde(default)]
    features: Option<Vec<String>>,
    #[serde(default)]
    supports_vision: Option<bool>,
}

impl Listed {
    fn into_model(self) -> LiveModel {
        let has =
            |list: &Option<Vec<String>>, word: &str| list.iter().flatten().any(|one| one == word);
        let chats = has(&self.endpoints, "chat");
        let sees = chats && self.supports_vision == Some(true);
        LiveModel {
            context_tokens: whole(self.context_length),
            capabilities: told([
                (Capability::TextToText, chats),
                (Capability::ImageToText, sees),
                (Capability::TextEmbedding, has(&self.endpoints, "embed")),
            ]),
            features: told([
                ("streaming", chats),
                ("vision", sees),
                ("tools", has(&self.features, "tools")),
                ("json-schema", has(&self.features, "json_schema")),
                ("json-object", has(&self.features, "json_mode")),
                ("reasoning", has(&self.features, "reasoning")),
            ]),
            id: self.name,
            ..LiveModel::default()
        }
    }
}
