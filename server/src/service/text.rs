//! TextService: a conversation goes in, an answer comes out, whole or as it is written.

mod answer;
mod events;
pub mod limits;
mod parse;

use std::{sync::Arc, time::Duration};

use mediary_domain::{Capability, Error};
use mediary_proto::v1::{
    GenerateTextRequest, GenerateTextResponse, StreamTextRequest, StreamTextResponse,
    text_service_server::TextService,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codegen::BoxStream};

use self::{events::Envelope, parse::Asked};
use super::layers::Deadline;
use crate::{
    clock::Clock,
    error::status,
    registry::Registry,
    routing::{Run, plan},
};

pub const METHODS: &[&str] =
    &["mediary.v1.TextService.GenerateText", "mediary.v1.TextService.StreamText"];

/// What a text call needs of the house.
pub struct TextApi {
    pub registry: Registry,
    pub clock: Clock,
    pub heartbeat: Duration,
    pub sandbox_in_auto: bool,
    /// Fired when running streams must end because the server does.
    pub closing: CancellationToken,
}

/// A call that is checked and routed, and not yet asked.
struct Accepted {
    run: Run,
    generation: Arc<str>,
    include_reasoning: bool,
    warnings: Vec<mediary_domain::Warning>,
    model: String,
    provider: String,
}

impl TextApi {
    fn accept(&self, asked: Asked) -> Result<Accepted, Error> {
        let include_reasoning =
            asked.call.parameters.reasoning.as_ref().is_some_and(|reasoning| reasoning.include);
        let snapshot = self.registry.now();
        let plan = plan(&snapshot, &asked.wish, asked.call, self.sandbox_in_auto)?;
        let generation: Arc<str> = self.clock.resource_id('g').into();
        let first = &plan.candidates[0];
        Ok(Accepted {
            warnings: first.warnings.clone(),
            model: first.model.name.clone(),
            provider: first.provider.name(),
            run: Run::new(plan, generation.clone(), self.clock.clone()),
            generation,
            include_reasoning,
        })
    }
}

#[tonic::async_trait]
impl TextService for TextApi {
    async fn generate_text(
        &self,
        request: Request<GenerateTextRequest>,
    ) -> Result<Response<GenerateTextResponse>, Status> {
        let asked = Asked::generate(request.into_inner()).map_err(|error| status(&error))?;
        let accepted = self.accept(asked).map_err(|error| status(&error))?;
        let answer = answer::collect(accepted, &self.closing).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    async fn stream_text(
        &self,
        request: Request<StreamTextRequest>,
    ) -> Result<Response<BoxStream<StreamTextResponse>>, Status> {
        let deadline = request.extensions().get::<Deadline>().copied();
        let asked = Asked::stream(request.into_inner()).map_err(|error| status(&error))?;
        let accepted = self.accept(asked).map_err(|error| status(&error))?;
        let envelope = Envelope {
            clock: self.clock.clone(),
            heartbeat: self.heartbeat,
            deadline,
            closing: self.closing.clone(),
        };
        Ok(Response::new(Box::pin(envelope.events(accepted))))
    }
}

/// Text is what this service is for, with or without pictures to look at.
fn capability(has_images: bool) -> Capability {
    if has_images { Capability::ImageToText } else { Capability::TextToText }
}
