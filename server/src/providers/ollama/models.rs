//! The models that are there: `/api/tags` names them, `/api/show` tells what each can do.

use futures::{StreamExt as _, stream};
use mediary_domain::{Capability, Inspection, LiveModel, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Ollama;
use crate::{
    dialect::{
        failure::{garbled, no_answer},
        listing::told,
        options::written,
    },
    provider::CallContext,
};

const LIST_LIMIT: usize = 4 << 20;
/// A model's template, licence and tensors come with its facts.
const SHOW_LIMIT: usize = 16 << 20;
/// Questions to the server at a time.
const AT_ONCE: usize = 4;

impl Ollama {
    pub(super) async fn models(&self, cx: &CallContext) -> Result<Inspection> {
        let json = self.upstream.get(cx, "/api/tags").await?.body.read_all(LIST_LIMIT).await?;
        let tags: Tags = serde_json::from_slice(&json).map_err(|error| garbled(cx, &error))?;
        let tags = tags.models.ok_or_else(|| no_answer(cx))?;
        let models = stream::iter(tags).map(|tag| async move {
            // A model whose facts cannot be had is there all the same.
            let facts = self.show(cx, &tag.name).await.unwrap_or_default();
            facts.into_model(tag)
        });
        Ok(Inspection { models: models.buffered(AT_ONCE).collect().await })
    }

    async fn show(&self, cx: &CallContext, model: &str) -> Result<Facts> {
        let body = written(&Show { model })?;
        let json =
            self.upstream.post(cx, "/api/show", body).await?.body.read_all(SHOW_LIMIT).await?;
        serde_json::from_slice(&json).map_err(|error| garbled(cx, &error))
    }
}

impl Facts {
    fn into_model(self, tag: Tag) -> LiveModel {
        let has = |name: &str| self.capabilities.iter().any(|one| one == name);
        let capabilities = told([
            (Capability::TextToText, has("completion")),
            (Capability::ImageToText, has("completion") && has("vision")),
            (Capability::TextEmbedding, has("embedding")),
        ]);
        let features = told([
            ("tools", has("tools")),
            ("vision", has("vision")),
            ("reasoning", has("thinking")),
        ]);
        let length = self.model_info.iter().find(|(key, _)| key.ends_with(".context_length"));
        LiveModel {
            context_tokens: length.and_then(|(_, value)| value.as_i64()),
            capabilities,
            features,
            id: tag.name,
            ..LiveModel::default()
        }
    }
}

// --- wire ---

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    models: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

#[derive(Serialize)]
struct Show<'a> {
    model: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Facts {
    capabilities: Vec<String>,
    model_info: Map<String, Value>,
}
