//! Walks a plan: asks one candidate after the other until one answers.
//!
//! Falls back before the first token only: what a caller has read is never taken back. Every
//! attempt is recorded, with what it used and what it cost.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::StreamExt as _;
use mediary_domain::{
    ChatEvent, Error, FinishReason, Kind, PicoUsd, Result, Retry, TokenUsage, Warning,
    cost_of_tokens,
};
use tracing::warn;

use super::plan::{Candidate, Plan};
use crate::{
    clock::Clock,
    provider::{CallContext, ChatStream, accounting},
};

/// One try at one candidate.
#[derive(Clone)]
pub struct Attempt {
    pub model: String,
    pub start: SystemTime,
    /// `None` while it runs.
    pub end: Option<SystemTime>,
    pub failure: Option<Error>,
    pub usage: Option<TokenUsage>,
    pub cost: PicoUsd,
}

/// What has become of a call so far; whole once it has ended.
#[derive(Clone, Default)]
pub struct Outcome {
    pub attempts: Vec<Attempt>,
    /// Resource name of the model that serves, or was tried last.
    pub model: String,
    /// Id of its provider.
    pub provider: String,
    /// The model name that the provider's answer carries.
    pub provider_model_id: String,
    pub refusal: String,
    pub usage: Option<TokenUsage>,
    /// Of all attempts.
    pub cost: PicoUsd,
    /// From acceptance to the first piece of the answer.
    pub first_token: Option<Duration>,
}

pub enum Step {
    /// A piece of the answer.
    Piece(ChatEvent),
    /// A candidate failed and the next is asked.
    Fallback {
        failure: Error,
        next: String,
        /// What of the call the next one does not take.
        warnings: Vec<Warning>,
    },
    Finished {
        reason: FinishReason,
        native: String,
    },
    Failed(Error),
}

/// A call on its way. Dropping it closes the connection to the provider.
pub struct Run {
    clock: Clock,
    generation: Arc<str>,
    waiting: VecDeque<Candidate>,
    now: State,
    accepted: Instant,
    outcome: Outcome,
    spoke: bool,
    /// The last failure that time cures: what a caller hears if nobody answers.
    curable: Option<Error>,
}

enum State {
    Idle,
    Asking(Pin<Box<dyn Future<Output = Result<ChatStream>> + Send>>, Arc<Candidate>),
    Answering(ChatStream, Arc<Candidate>),
    Over,
}

impl Run {
    pub fn new(plan: Plan, generation: Arc<str>, clock: Clock) -> Self {
        Self {
            accepted: clock.now(),
            clock,
            generation,
            waiting: plan.candidates.into(),
            now: State::Idle,
            outcome: Outcome::default(),
            spoke: false,
            curable: None,
        }
    }

    /// What is known up to now.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    pub fn elapsed(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.accepted)
    }

    /// The next step; `None` after the last. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Option<Step> {
        loop {
            match &mut self.now {
                State::Over => return None,
                State::Idle => match self.waiting.pop_front() {
                    Some(candidate) => self.ask(candidate),
                    None => {
                        self.now = State::Over;
                        return Some(Step::Failed(Error::bug("a plan held no candidate")));
                    }
                },
                State::Asking(asked, candidate) => match asked.await {
                    Ok(answer) => {
                        let answer = accounting::accounted(answer, &candidate.call);
                        self.now = State::Answering(answer, candidate.clone());
                    }
                    Err(error) => return Some(self.failed(error)),
                },
                State::Answering(answer, _) => match answer.next().await {
                    Some(Ok(event)) => {
                        if let Some(step) = self.take(event) {
                            return Some(step);
                        }
                    }
                    Some(Err(error)) => return Some(self.failed(error)),
                    None => {
                        return Some(self.failed(Error::new(
                            Kind::UpstreamTruncated,
                            "the provider's answer ended before it was finished",
                        )));
                    }
                },
            }
        }
    }

    /// Ends the call from outside, as a deadline or a shutdown does.
    pub fn stop(&mut self, error: Error) -> Error {
        self.waiting.clear();
        self.close_attempt(Some(error.clone()));
        self.now = State::Over;
        error
    }

    fn ask(&mut self, candidate: Candidate) {
        self.outcome.model.clone_from(&candidate.model.name);
        self.outcome.provider.clone_from(&candidate.provider.id);
        self.outcome.attempts.push(Attempt {
            model: candidate.model.name.clone(),
            start: self.clock.wall(),
            end: None,
            failure: None,
            usage: None,
            cost: PicoUsd::default(),
        });
        let cx = CallContext {
            provider: candidate.provider.clone(),
            model: candidate.model.clone(),
            account: candidate.account.clone(),
        };
        let candidate = Arc::new(candidate);
        let asked = candidate.clone();
        let answer = async move { asked.adapter.chat(&cx, &asked.call).await };
        self.now = State::Asking(Box::pin(answer), candidate);
    }

    fn take(&mut self, event: ChatEvent) -> Option<Step> {
        match event {
            ChatEvent::Model(model) => {
                self.outcome.provider_model_id = model;
                None
            }
            ChatEvent::Usage(usage) => {
                self.outcome.usage = Some(usage);
                None
            }
            ChatEvent::Refusal(text) => {
                self.spoke = true;
                self.outcome.refusal.push_str(&text);
                None
            }
            ChatEvent::Finished { reason, native } => {
                self.close_attempt(None);
                self.now = State::Over;
                Some(Step::Finished { reason, native })
            }
            piece => {
                if !self.spoke {
                    self.spoke = true;
                    self.outcome.first_token = Some(self.elapsed());
                }
                Some(Step::Piece(piece))
            }
        }
    }

    fn failed(&mut self, error: Error) -> Step {
        self.close_attempt(Some(error.clone()));
        self.now = State::Idle;
        let status = error.facts().get("httpStatus").map_or("", String::as_str);
        warn!(
            generation = %self.generation,
            model = %self.outcome.model,
            kind = ?error.kind(),
            upstream_status = status,
            "attempt {} at {} failed: {:?}",
            self.outcome.attempts.len(),
            self.outcome.model,
            error.kind(),
        );
        if !self.spoke
            && error.may_succeed_elsewhere()
            && let Some(next) = self.waiting.front()
        {
            self.outcome.usage = None;
            self.outcome.provider_model_id.clear();
            if matches!(error.retry(), Retry::Later(_)) {
                self.curable = Some(error.clone());
            }
            return Step::Fallback {
                failure: error,
                next: next.model.name.clone(),
                warnings: next.warnings.clone(),
            };
        }
        let error = match (error.retry(), self.curable.take()) {
            (Retry::Elsewhere, Some(curable)) if !self.spoke => curable,
            _ => error,
        };
        self.now = State::Over;
        let tried = self.outcome.attempts.len();
        Step::Failed(if tried > 1 { error.fact("attempts", tried.to_string()) } else { error })
    }

    fn close_attempt(&mut self, failure: Option<Error>) {
        let prices = match &self.now {
            State::Asking(_, candidate) | State::Answering(_, candidate) => {
                candidate.model.prices_at(self.clock.wall())
            }
            State::Idle | State::Over => return,
        };
        let usage = self.outcome.usage;
        let cost = usage.map(|usage| cost_of_tokens(&usage, &prices)).unwrap_or_default();
        if let Some(attempt) = self.outcome.attempts.last_mut() {
            attempt.end = Some(self.clock.wall());
            attempt.failure = failure;
            attempt.usage = usage;
            attempt.cost = cost;
        }
        self.outcome.cost += cost;
    }
}
