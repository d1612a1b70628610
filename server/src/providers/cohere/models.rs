//! The list of models, page by page.

use mediary_domain::{Capability, Inspection, LiveModel, Result};
use serde::Deserialize;

use super::{Cohere, failure::not_it, units::whole};
use crate::{dialect::pages, provider::CallContext};

/// Longest page that is read.
const PAGE_LIMIT: usize = 4 << 20;

impl Cohere {
    pub(super) async fn models(&self, cx: &CallContext) -> Result<Inspection> {
        let mut models = Vec::new();
        let mut after = String::new();
        for _ in 0..pages::MOST {
            let path = format!("/v1/models?page_size=1000{after}");
            let json = self.upstream.get(cx, &path).await?.body.read_all(PAGE_LIMIT).await?;
            let Ok(Page { models: Some(listed), next_page_token }) = serde_json::from_slice(&json)
            else {
                return Err(not_it(cx, &json));
            };
            models.extend(listed.into_iter().map(Listed::into_model));
            match next_page_token.filter(|token| pages::is_token(token)) {
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

/// Cohere's words for what a model can do besides, and the contract's.
const FEATURES: [(&str, &str); 4] = [
    ("tools", "tools"),
    ("json_schema", "json-schema"),
    ("json_mode", "json-object"),
    ("reasoning", "reasoning"),
];

impl Listed {
    fn into_model(self) -> LiveModel {
        let endpoints = self.endpoints.unwrap_or_default();
        let serves = |name: &str| endpoints.iter().any(|one| one == name);
        let sees = self.supports_vision == Some(true);
        let capabilities = [
            (Capability::TextToText, serves("chat")),
            (Capability::ImageToText, serves("chat") && sees),
            (Capability::TextEmbedding, serves("embed")),
        ];
        let told = self.features.unwrap_or_default();
        let told = FEATURES.iter().filter(|(word, _)| told.iter().any(|one| one == word));
        let chat = [("streaming", serves("chat")), ("vision", serves("chat") && sees)];
        let chat = chat.into_iter().filter(|(_, is)| *is).map(|(name, _)| name);
        LiveModel {
            id: self.name,
            context_tokens: whole(self.context_length),
            capabilities: capabilities
                .into_iter()
                .filter(|(_, is)| *is)
                .map(|(one, _)| one)
                .collect(),
            features: chat.chain(told.map(|(_, name)| *name)).collect(),
            ..LiveModel::default()
        }
    }
}
