//! Walks a plan: asks one candidate after the other until one answers.
//!
//! Falls back before the first token only, unless the caller lets it start over: what a caller has
//! read is never taken back unasked. Every attempt is recorded, with what it used and what it cost.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use mediary_domain::{
    ChatEvent, Error, FinishReason, Kind, PicoUsd, Result, Retry, Warning, cost_of_tokens,
};
use tokio::time::Sleep;
use tracing::warn;

use super::{
    accounts::Place,
    desk::{CallFacts, Desk},
    left_out::{LeftOut, Why},
    limits::Expected,
    outcome::{Attempt, Outcome, Together},
    plan::Candidate,
};
use crate::provider::{CallContext, ChatStream, ModelRow, accounting};

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
    /// A candidate failed after its first token and the next is asked: all pieces are void.
    Restarted {
        failure: Error,
        next: String,
        warnings: Vec<Warning>,
    },
    /// The answer of this member of an ensemble is taken.
    Chosen {
        model: String,
        /// The judge's. Empty = nobody was asked.
        reason: String,
        warnings: Vec<Warning>,
    },
    /// The answer is not quite what was asked for.
    Warned(Warning),
    Finished {
        reason: FinishReason,
        native: String,
    },
    Failed(Error),
}

/// One candidate after the other. Dropping it closes the connection to the provider.
pub struct Run {
    desk: Desk,
    call: Arc<CallFacts>,
    waiting: VecDeque<Candidate>,
    now: State,
    accepted: Instant,
    outcome: Outcome,
    spoke: bool,
    /// The last failure that time cures: what a caller hears if nobody answers.
    curable: Option<Error>,
    /// Whether a failure after the first token may start over.
    may_restart: bool,
    /// What the running attempt has read and written, to be charged if it ends unreported.
    read: i64,
    written: usize,
    /// What the running attempt holds.
    place: Option<Place>,
    /// Bytes of an answer that what is reserved is enough for.
    covered: usize,
    /// Numbers the attempts of the whole call.
    together: Arc<Together>,
    /// One of several that are asked side by side.
    is_member: bool,
    /// Others are asked when this one fails.
    more_follows: bool,
    /// When the running attempt has taken too long.
    limit: Option<Pin<Box<Sleep>>>,
}

type Reserving = Pin<Box<dyn Future<Output = Result<Place>> + Send>>;

enum State {
    Idle,
    /// Limits that the store has to be asked for.
    Reserving(Reserving, Box<Candidate>),
    /// It may be asked, and is not yet.
    Ready(Box<Candidate>),
    Asking(Pin<Box<dyn Future<Output = Result<ChatStream>> + Send>>, Arc<Candidate>),
    /// The call itself is let go: a long one would be held as long as the answer runs.
    Answering(ChatStream, Arc<ModelRow>),
    Over,
}

impl Run {
    pub fn new(waiting: VecDeque<Candidate>, call: Arc<CallFacts>, desk: Desk) -> Self {
        Self {
            accepted: desk.clock.now(),
            desk,
            waiting,
            now: State::Idle,
            outcome: Outcome::of(&call),
            call,
            spoke: false,
            curable: None,
            may_restart: false,
            read: 0,
            written: 0,
            place: None,
            covered: usize::MAX,
            together: Arc::default(),
            is_member: false,
            more_follows: false,
            limit: None,
        }
    }

    /// Is one of several runs of the same call; `more_follow` when it fails.
    pub fn together(mut self, together: Arc<Together>, more_follow: bool) -> Self {
        self.together = together;
        self.more_follows = more_follow;
        self
    }

    /// Is asked beside others.
    pub fn member(mut self) -> Self {
        self.is_member = true;
        self
    }

    /// Whether any of an answer has come.
    pub fn has_spoken(&self) -> bool {
        self.spoke
    }

    /// Finds the first candidate that lets the call in, and asks it nothing yet. Who is not called
    /// this begins with the first step.
    pub async fn begin(&mut self) -> Result<()> {
        loop {
            let refused = match &mut self.now {
                State::Idle => match self.waiting.pop_front() {
                    Some(candidate) => self.enter(candidate).err(),
                    None => return Err(self.nobody()),
                },
                State::Reserving(reserving, _) => {
                    let reserved = reserving.await;
                    self.reserved(reserved).err()
                }
                State::Ready(_) | State::Asking(..) | State::Answering(..) | State::Over => {
                    return Ok(());
                }
            };
            if let Some(error) = refused {
                self.note_curable(&error);
                if self.waiting.is_empty() {
                    self.now = State::Over;
                    return Err(self.final_error(error));
                }
            }
        }
    }

    /// The candidate that is asked first, once the call has begun.
    pub fn first(&self) -> Option<&Candidate> {
        match &self.now {
            State::Ready(candidate) => Some(candidate),
            _ => None,
        }
    }

    /// Lets a failure after the first token start over with the next candidate.
    pub fn restarting(mut self, may_restart: bool) -> Self {
        self.may_restart = may_restart;
        self
    }

    /// What is known up to now.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    pub fn elapsed(&self) -> Duration {
        self.desk.clock.now().saturating_duration_since(self.accepted)
    }

    /// The next step; `None` after the last. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Option<Step> {
        loop {
            match &mut self.now {
                State::Over => return None,
                State::Idle => match self.waiting.pop_front() {
                    Some(candidate) => {
                        if let Err(error) = self.enter(candidate) {
                            return Some(self.refused(error));
                        }
                    }
                    None => {
                        self.now = State::Over;
                        return Some(Step::Failed(self.nobody()));
                    }
                },
                State::Reserving(reserving, _) => {
                    let reserved = reserving.await;
                    if let Err(error) = self.reserved(reserved) {
                        return Some(self.refused(error));
                    }
                }
                State::Ready(_) => {
                    if let State::Ready(candidate) = std::mem::replace(&mut self.now, State::Idle) {
                        self.ask(*candidate);
                    }
                }
                State::Asking(asked, candidate) => match within(&mut self.limit, asked).await {
                    Ok(Ok(answer)) => {
                        let answer = accounting::accounted(answer, &candidate.call);
                        self.read = accounting::estimate_input(&candidate.call);
                        self.written = 0;
                        self.now = State::Answering(answer, candidate.model.clone());
                    }
                    Ok(Err(error)) | Err(error) => return Some(self.failed(error)),
                },
                State::Answering(answer, _) => match within(&mut self.limit, answer.next()).await {
                    Ok(Some(Ok(event))) => {
                        if let Some(step) = self.take(event) {
                            return Some(step);
                        }
                    }
                    Ok(Some(Err(error))) | Err(error) => return Some(self.failed(error)),
                    Ok(None) => {
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
        self.close_attempt(Some(error.clone()), true);
        self.now = State::Over;
        error
    }

    /// Lets the call in at a candidate, as far as that needs no waiting.
    fn enter(&mut self, candidate: Candidate) -> Result<()> {
        let nobody_else = self.waiting.is_empty() && self.outcome.attempts.is_empty();
        let is_last = candidate.is_last_resort || nobody_else;
        let again = !self.outcome.attempts.is_empty();
        let key = self.call.key.as_deref();
        let wall = self.desk.clock.wall();
        let expected = || candidate.expected(wall);
        let accounts = &self.desk.accounts;
        match accounts.enter(&candidate.account, key, expected, is_last, again) {
            Ok((place, demands)) if demands.is_empty() => {
                self.place = Some(place);
                self.now = State::Ready(Box::new(candidate));
            }
            Ok((place, demands)) => {
                let limits = accounts.limits().clone();
                let reserving = async move { Ok(place.holding(limits.reserve(demands).await?)) };
                self.now = State::Reserving(Box::pin(reserving), Box::new(candidate));
            }
            Err(error) => {
                self.leave_out(&candidate, error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    fn reserved(&mut self, reserved: Result<Place>) -> Result<()> {
        let State::Reserving(_, candidate) = std::mem::replace(&mut self.now, State::Idle) else {
            return Ok(());
        };
        match reserved {
            Ok(place) => {
                self.place = Some(place);
                self.now = State::Ready(candidate);
                Ok(())
            }
            Err(error) => {
                self.leave_out(&candidate, error.clone());
                Err(error)
            }
        }
    }

    fn leave_out(&mut self, candidate: &Candidate, error: Error) {
        self.outcome.left_out.push(LeftOut {
            model: candidate.model.name.clone(),
            account: Some(candidate.account.clone()),
            why: Why::refused(error),
        });
    }

    /// A candidate did not let the call in: the next one may.
    fn refused(&mut self, error: Error) -> Step {
        self.note_curable(&error);
        if let Some(next) = self.waiting.front() {
            let (next, warnings) = (next.model.name.clone(), next.warnings.clone());
            return Step::Fallback { failure: error, next, warnings };
        }
        self.now = State::Over;
        Step::Failed(self.final_error(error))
    }

    fn note_curable(&mut self, error: &Error) {
        if matches!(error.retry(), Retry::Later(_)) {
            self.curable = Some(error.clone());
        }
    }

    /// What a caller hears when nobody else is asked: a failure that time cures, if there was one.
    fn final_error(&mut self, error: Error) -> Error {
        let error = match (error.retry(), self.curable.take()) {
            (Retry::Elsewhere, Some(curable)) if !self.spoke => curable,
            _ => error,
        };
        let tried = self.outcome.attempts.len();
        if tried > 1 { error.fact("attempts", tried.to_string()) } else { error }
    }

    fn nobody(&self) -> Error {
        Error::bug("a plan held no candidate")
    }

    fn ask(&mut self, candidate: Candidate) {
        self.covered = match &self.place {
            Some(place) if !place.is_free() => {
                accounting::bytes_of(accounting::expected(&candidate.model, &candidate.call).output)
            }
            _ => usize::MAX,
        };
        self.outcome.model.clone_from(&candidate.model.name);
        self.outcome.provider.clone_from(&candidate.provider.id);
        self.limit = candidate.timeout.map(|limit| Box::pin(tokio::time::sleep(limit)));
        self.outcome.limits = None;
        self.outcome.attempts.push(Attempt {
            index: self.together.next_number(),
            provider: candidate.provider.clone(),
            model: candidate.model.clone(),
            account: candidate.account.clone(),
            preset: candidate.preset.clone(),
            start: self.desk.clock.wall(),
            began: self.desk.clock.now(),
            first_token: None,
            limits: None,
            chunks: 0,
            took: Duration::ZERO,
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
            ChatEvent::Limits(limits) => {
                self.outcome.limits = Some(limits);
                None
            }
            ChatEvent::Usage(usage) => {
                self.outcome.usage = Some(usage);
                None
            }
            ChatEvent::Refusal(text) => {
                self.speak();
                self.outcome.refusal.push_str(&text);
                None
            }
            ChatEvent::Finished { reason, native } => {
                self.close_attempt(None, true);
                self.now = State::Over;
                Some(Step::Finished { reason, native })
            }
            piece => {
                if !self.spoke {
                    self.speak();
                    self.outcome.first_token = Some(self.elapsed());
                    let now = self.desk.clock.now();
                    if let Some(attempt) = self.outcome.attempts.last_mut() {
                        attempt.first_token = Some(now.saturating_duration_since(attempt.began));
                    }
                }
                if let Some(attempt) = self.outcome.attempts.last_mut() {
                    attempt.chunks = attempt.chunks.saturating_add(1);
                }
                self.written += accounting::written(&piece);
                if self.written > self.covered
                    && let Err(error) = self.grow()
                {
                    return Some(Step::Failed(self.stop(error)));
                }
                Some(Step::Piece(piece))
            }
        }
    }

    /// The answer is longer than was expected: reserves a quarter more.
    fn grow(&mut self) -> Result<()> {
        let State::Answering(_, model) = &self.now else { return Ok(()) };
        self.covered = self.covered.saturating_add(self.covered / 4);
        let usage = accounting::estimated(self.read, self.covered);
        let expected = Expected::of(&usage, &model.prices_at(self.desk.clock.wall()));
        self.place.as_mut().map_or(Ok(()), |place| place.grow(expected))
    }

    /// The first of an answer has come.
    fn speak(&mut self) {
        self.spoke = true;
        if !self.may_restart {
            // Nobody else will be asked: their copies of the call are let go.
            self.waiting = VecDeque::new();
        }
    }

    fn failed(&mut self, error: Error) -> Step {
        self.outcome.limits = error.limits().or(self.outcome.limits);
        let goes_on = error.may_succeed_elsewhere()
            && (!self.spoke || self.may_restart)
            && !self.waiting.is_empty();
        self.close_attempt(Some(error.clone()), !goes_on);
        self.now = State::Idle;
        let status = error.facts().get("httpStatus").map_or("", String::as_str);
        warn!(
            generation = %self.call.id,
            model = %self.outcome.model,
            kind = ?error.kind(),
            upstream_status = status,
            "attempt {} at {} failed: {:?}",
            self.outcome.attempts.len(),
            self.outcome.model,
            error.kind(),
        );
        if goes_on && let Some(next) = self.waiting.front() {
            if let Some(last) = self.outcome.attempts.last() {
                self.desk.fell_back(&last.model, &next.model, &error);
            }
            let (next, warnings) = (next.model.name.clone(), next.warnings.clone());
            self.note_curable(&error);
            return self.go_on(error, next, warnings);
        }
        self.now = State::Over;
        Step::Failed(self.final_error(error))
    }

    /// Forgets what the failed attempt said.
    fn go_on(&mut self, failure: Error, next: String, warnings: Vec<Warning>) -> Step {
        self.outcome.usage = None;
        self.outcome.provider_model_id.clear();
        if !std::mem::take(&mut self.spoke) {
            return Step::Fallback { failure, next, warnings };
        }
        self.outcome.refusal.clear();
        self.outcome.first_token = None;
        Step::Restarted { failure, next, warnings }
    }

    fn close_attempt(&mut self, failure: Option<Error>, is_last: bool) {
        let model = match &self.now {
            State::Asking(_, candidate) => &candidate.model,
            State::Answering(_, model) => model,
            State::Idle | State::Reserving(..) | State::Ready(_) | State::Over => {
                self.place = None;
                return;
            }
        };
        // Cut off, stopped or late: what was written is paid for all the same.
        if self.spoke && self.outcome.usage.is_none() {
            self.outcome.usage = Some(accounting::estimated(self.read, self.written));
        }
        let usage = self.outcome.usage;
        if let Some(attempt) = self.outcome.attempts.last_mut() {
            let cost = usage.map(|usage| cost_of_tokens(&usage, &model.prices_at(attempt.start)));
            attempt.end = Some(self.desk.clock.wall());
            attempt.took = self.desk.clock.now().saturating_duration_since(attempt.began);
            attempt.failure = failure;
            attempt.usage = usage;
            attempt.limits = self.outcome.limits;
            attempt.cost = cost.unwrap_or_default();
            self.outcome.cost += attempt.cost;
            let is_last = is_last
                && match &attempt.failure {
                    None => self.together.conclude(),
                    Some(_) if self.more_follows => false,
                    Some(_) if self.is_member && !self.together.was_last_member() => false,
                    Some(_) => self.together.conclude(),
                };
            self.desk.ended(&self.call, attempt, self.accepted, is_last);
            if let Some(place) = self.place.take() {
                place.settle(usage.as_ref(), attempt.cost);
            }
        }
    }
}

/// Waits for it, if the attempt may take so long.
async fn within<T>(
    limit: &mut Option<Pin<Box<Sleep>>>,
    work: impl Future<Output = T>,
) -> Result<T> {
    let Some(limit) = limit else { return Ok(work.await) };
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = limit => Err(too_slow()),
    }
}

/// The failure of a member that took longer than its preset allows.
pub fn too_slow() -> Error {
    Error::new(Kind::UpstreamTimeout, "the model took longer than its preset allows")
}

impl Drop for Run {
    /// Nobody listens any more: what runs is let go, and what it cost is booked.
    fn drop(&mut self) {
        self.close_attempt(Some(Error::new(Kind::Cancelled, "the caller went away")), true);
    }
}
