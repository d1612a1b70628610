//! TextService: a conversation goes in, an answer comes out, whole or as it is written.

mod answer;
mod compare;
mod counting;
mod embedding;
pub mod events;
mod generation;
pub mod limits;
pub mod parse;
mod reading;
mod repeats;
mod telling;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::StreamExt as _;
use mediary_domain::{Capability, ChatCall, Error, Result};
use mediary_proto::v1::{
    CompareTextRequest, CompareTextResponse, CountTokensRequest, CountTokensResponse,
    EmbedTextRequest, EmbedTextResponse, GenerateTextRequest, GenerateTextResponse,
    ResumeTextRequest, ResumeTextResponse, StopTextRequest, StopTextResponse, StreamTextRequest,
    StreamTextResponse, text_service_server::TextService,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codegen::BoxStream};

use self::{
    generation::{Driver, Generation, Generations, Known, RETENTION, Terms},
    parse::Asked,
    reading::Pulse,
    repeats::{Key, Repeats, Turn},
    telling::{Limits, Telling},
};
use super::{change, layers::Deadline};
use crate::{
    access::Caller,
    clock::Clock,
    error::status,
    registry::Registry,
    routing::{CallFacts, CallKind, Course, Desk, Manner, Setting, plan},
};

pub const METHODS: &[&str] = &[
    "mediary.v1.TextService.GenerateText",
    "mediary.v1.TextService.StreamText",
    "mediary.v1.TextService.CompareText",
    "mediary.v1.TextService.ResumeText",
    "mediary.v1.TextService.StopText",
    "mediary.v1.TextService.CountTokens",
    "mediary.v1.TextService.EmbedText",
];

/// How long StopText waits for a generation to end before it shows it as it stands.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Text, and what it needs of the house.
pub struct TextApi {
    registry: Registry,
    clock: Clock,
    desk: Desk,
    generations: Generations,
    repeats: Repeats,
    pulse: Pulse,
    sandbox_in_auto: bool,
    /// Fired when running streams must end because the server does.
    closing: CancellationToken,
}

/// A call that is checked and routed, and not yet asked.
struct Accepted {
    run: Course,
    generation: Arc<str>,
    include_reasoning: bool,
    warnings: Vec<mediary_domain::Warning>,
    model: String,
    provider: String,
    resumable_until: Option<SystemTime>,
}

impl TextApi {
    pub fn new(
        registry: Registry,
        desk: Desk,
        heartbeat: Duration,
        sandbox_in_auto: bool,
        closing: CancellationToken,
    ) -> Self {
        let clock = desk.clock.clone();
        Self {
            registry,
            desk,
            generations: Generations::new(clock.clone()),
            repeats: Repeats::new(clock.clone()),
            pulse: Pulse { clock: clock.clone(), heartbeat },
            clock,
            sandbox_in_auto,
            closing,
        }
    }

    fn setting(&self) -> Setting<'_> {
        Setting {
            sandbox_in_auto: self.sandbox_in_auto,
            now: self.clock.wall(),
            accounts: &self.desk.accounts,
            learned: &self.desk.learned,
            chance: Some(&self.clock),
        }
    }

    async fn accept(
        &self,
        asked: Asked,
        caller: &Caller,
        generation: Arc<str>,
        streams: bool,
    ) -> Result<Accepted> {
        let snapshot = self.registry.now();
        let wish = &asked.wish;
        let call = CallFacts {
            route: wish.route(),
            labels: asked.labels,
            ..CallFacts::new(generation.clone(), CallKind::Chat, wish.capability, caller)
        };
        let plan = plan(&snapshot, wish, asked.call, self.setting())?;
        let manner = Manner { may_restart: asked.allow_restart, streams };
        let shows_reasoning = |call: &ChatCall| {
            call.parameters.reasoning.as_ref().is_some_and(|reasoning| reasoning.include)
        };
        let include_reasoning = shows_reasoning(&plan.call)
            || plan.candidates.iter().any(|one| shows_reasoning(&one.call));
        let mut run = Course::new(plan, call.into(), self.desk.clone(), manner);
        run.begin().await?;
        let first = run.first().ok_or_else(|| Error::bug("a call began with nobody"))?;
        Ok(Accepted {
            warnings: first.warnings.clone(),
            model: first.model.name.clone(),
            provider: first.provider.name(),
            run,
            resumable_until: asked.grace.map(|_| self.clock.wall() + RETENTION),
            generation,
            include_reasoning,
        })
    }

    async fn generate(&self, asked: Asked, caller: &Caller) -> Result<GenerateTextResponse> {
        self.desk.admit().await?;
        let id = self.clock.resource_id('g').into();
        answer::collect(self.accept(asked, caller, id, false).await?, &self.closing).await
    }

    /// Answers, unless the same request was answered already.
    async fn generate_once(
        &self,
        request: Request<GenerateTextRequest>,
    ) -> Result<Response<GenerateTextResponse>> {
        let caller = change::caller(&request)?;
        let mut asked = Asked::generate(request.into_inner(), &caller)?;
        let request_id = std::mem::take(&mut asked.request_id);
        if request_id.is_empty() {
            return self.generate(asked, &caller).await.map(Response::new);
        }
        let key = Key { owner: caller.owner.clone(), request_id };
        match self.repeats.turn(key, std::mem::take(&mut asked.fingerprint)).await? {
            Turn::Again(answer) => Ok(change::answer(GenerateTextResponse::clone(&answer), true)),
            Turn::First(pen) => {
                let outcome = self.generate(asked, &caller).await;
                pen.write(&outcome);
                outcome.map(Response::new)
            }
        }
    }

    async fn stream(
        &self,
        request: Request<StreamTextRequest>,
    ) -> Result<BoxStream<StreamTextResponse>> {
        let (caller, deadline) = (change::caller(&request)?, deadline(&request));
        let asked = Asked::stream(request.into_inner(), &caller)?;
        let id: Arc<str> = self.clock.resource_id('g').into();
        let terms = Terms {
            id: id.clone(),
            owner: caller.owner.clone(),
            grace: asked.grace,
            request_id: asked.request_id.clone(),
            request: asked.fingerprint.clone(),
        };
        self.desk.admit().await?;
        // Routed before it is noted: what is refused leaves nothing behind.
        let accepted = self.accept(asked, &caller, id, true).await?;
        let events = match self.generations.open(terms)? {
            Known::Same(generation) => {
                let listening = self.generations.listen(generation);
                self.pulse.replay(listening, 0, deadline).boxed()
            }
            Known::New(generation) => {
                self.pulse.live(self.drive(generation, accepted, deadline)).boxed()
            }
        };
        Ok(Box::pin(
            events.map(|event| event.map(|event| StreamTextResponse { event: Some(event) })),
        ))
    }

    fn drive(
        &self,
        generation: Arc<Generation>,
        accepted: Accepted,
        deadline: Option<Instant>,
    ) -> Driver {
        let limits = Limits {
            deadline,
            closing: self.closing.clone(),
            stopping: generation.stopping.clone(),
        };
        self.generations.drive(generation, Telling::new(accepted, limits))
    }

    fn resume(
        &self,
        request: &Request<ResumeTextRequest>,
    ) -> Result<BoxStream<ResumeTextResponse>> {
        let (caller, deadline) = (change::caller(request)?, deadline(request));
        let ResumeTextRequest { generation: name, after_sequence } = request.get_ref();
        let after = *after_sequence;
        let generation = self.generations.find(&caller, name)?;
        if !generation.is_kept() {
            return Err(generation::expired(name));
        }
        if after < 0 || after > generation.last_sequence() {
            let last = generation.last_sequence();
            return Err(Error::new(
                mediary_domain::Kind::OffsetInvalid,
                format!("after_sequence must lie between 0 and {last}"),
            ));
        }
        let listening = self.generations.listen(generation);
        let events = self.pulse.replay(listening, after, deadline);
        Ok(Box::pin(
            events.map(|event| event.map(|event| ResumeTextResponse { event: Some(event) })),
        ))
    }
}

#[tonic::async_trait]
impl TextService for TextApi {
    async fn generate_text(
        &self,
        request: Request<GenerateTextRequest>,
    ) -> Result<Response<GenerateTextResponse>, Status> {
        self.generate_once(request).await.map_err(|error| status(&error))
    }

    async fn stream_text(
        &self,
        request: Request<StreamTextRequest>,
    ) -> Result<Response<BoxStream<StreamTextResponse>>, Status> {
        let events = self.stream(request).await;
        events.map(Response::new).map_err(|error| status(&error))
    }

    async fn compare_text(
        &self,
        request: Request<CompareTextRequest>,
    ) -> Result<Response<BoxStream<CompareTextResponse>>, Status> {
        let events = self.compare(request).await;
        events.map(Response::new).map_err(|error| status(&error))
    }

    async fn resume_text(
        &self,
        request: Request<ResumeTextRequest>,
    ) -> Result<Response<BoxStream<ResumeTextResponse>>, Status> {
        let events = self.resume(&request);
        events.map(Response::new).map_err(|error| status(&error))
    }

    async fn stop_text(
        &self,
        request: Request<StopTextRequest>,
    ) -> Result<Response<StopTextResponse>, Status> {
        let found = change::caller(&request)
            .and_then(|caller| self.generations.find(&caller, &request.get_ref().generation));
        let generation = found.map_err(|error| status(&error))?;
        generation.stop(STOP_PATIENCE).await;
        Ok(Response::new(StopTextResponse { generation: Some(generation.view()) }))
    }

    async fn count_tokens(
        &self,
        request: Request<CountTokensRequest>,
    ) -> Result<Response<CountTokensResponse>, Status> {
        let counted = self.count(request).await;
        counted.map(Response::new).map_err(|error| status(&error))
    }

    async fn embed_text(
        &self,
        request: Request<EmbedTextRequest>,
    ) -> Result<Response<EmbedTextResponse>, Status> {
        let embedded = self.embed(request).await;
        embedded.map(Response::new).map_err(|error| status(&error))
    }
}

fn deadline<T>(request: &Request<T>) -> Option<Instant> {
    request.extensions().get::<Deadline>().map(|deadline| deadline.0)
}

/// Text is what this service is for, with or without pictures to look at.
fn capability(has_images: bool) -> Capability {
    if has_images { Capability::ImageToText } else { Capability::TextToText }
}
