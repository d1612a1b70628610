//! EmbedText: texts become vectors.

use std::{collections::BTreeMap, sync::Arc};

use mediary_domain::{Capability, ChatCall, EmbedCall, EmbedOptions, Result, TextParameters};
use mediary_proto::v1::{EmbedTextRequest, EmbedTextResponse, Embedding};
use tonic::Request;

use super::{TextApi, events, limits, parse};
use crate::{
    routing::{CallFacts, CallKind, Wish, check_size, embed, plan},
    service::{change, problems::Problems},
};

/// A request that is checked.
struct Asked {
    wish: Wish,
    call: EmbedCall,
    labels: BTreeMap<String, String>,
}

impl TextApi {
    pub(super) async fn embed(
        &self,
        request: Request<EmbedTextRequest>,
    ) -> Result<EmbedTextResponse> {
        let caller = change::caller(&request)?;
        let Asked { mut wish, call, labels } = asked(request.into_inner())?;
        wish.permit = caller.permit();
        self.desk.admit().await?;
        // Who may be asked does not depend on the texts.
        let nothing = ChatCall { messages: Vec::new(), parameters: TextParameters::default() };
        let plan = plan(&self.registry.now(), &wish, nothing, self.setting())?;
        let most = limits::VECTOR_BYTES;
        let id = self.clock.resource_id('g').into();
        let facts = Arc::new(CallFacts {
            route: wish.route(),
            labels,
            ..CallFacts::new(id, CallKind::Embeddings, wish.capability, &caller)
        });
        let done = embed(plan, &call, most, &facts, &self.desk).await?;
        let vectors = done.embedded.vectors;
        check_size(vectors.len(), vectors.iter().map(Vec::len).max().unwrap_or(0), most)?;
        Ok(EmbedTextResponse {
            embeddings: vectors.into_iter().map(|values| Embedding { values }).collect(),
            usage: done.outcome.usage().as_ref().map(events::usage),
            cost_pico_usd: done.outcome.cost.0,
            model: done.outcome.model.clone(),
            provider_model_id: done.outcome.provider_model_id.clone(),
            attempts: events::attempts(&done.outcome),
            warnings: done.warnings.into_iter().map(events::warning).collect(),
        })
    }
}

fn asked(request: EmbedTextRequest) -> Result<Asked> {
    let mut problems = Problems::default();
    let EmbedTextRequest {
        target,
        texts,
        dimensions,
        purpose,
        provider_options_json,
        labels,
        request_id,
    } = request;
    parse::check_labels(&labels, &mut problems);
    parse::check_request_id(&request_id, &mut problems);
    if texts.is_empty() || texts.len() > limits::EMBED_TEXTS {
        problems.field("texts", format!("must hold 1 to {} texts", limits::EMBED_TEXTS));
    }
    if let Some(at) = texts.iter().position(String::is_empty) {
        problems.field(format!("texts[{at}]"), "must not be empty");
    }
    if texts.iter().map(String::len).sum::<usize>() > limits::TEXT_BYTES {
        let most = limits::TEXT_BYTES;
        problems.field("texts", format!("hold at most {most} bytes in all"));
    }
    let dimensions = dimensions.map(|length| match u32::try_from(length) {
        Ok(length) if length > 0 => length,
        _ => {
            problems.field("dimensions", "must be at least 1");
            1
        }
    });
    if purpose.chars().count() > limits::PURPOSE {
        problems.field("purpose", format!("holds at most {} characters", limits::PURPOSE));
    }
    let options = EmbedOptions {
        dimensions,
        purpose,
        provider_options: parse::provider_options(
            "provider_options_json",
            provider_options_json,
            &mut problems,
        ),
    };
    let capability = Capability::TextEmbedding;
    let target = target.unwrap_or_default();
    let wish = parse::wish(target, capability, &[capability.as_str()], &mut problems);
    problems.result(Asked { wish, call: EmbedCall { texts, options }, labels })
}
