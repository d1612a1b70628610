//! What becomes of a call: its attempts, its members, what it used and cost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use mediary_domain::{Answer, Error, FinishReason, PicoUsd, RateLimitReport, TokenUsage};

use super::{desk::CallFacts, left_out::LeftOut};
use crate::{
    access::Role,
    provider::{Account, ModelRow, ProviderRow},
};

/// One try at one candidate.
#[derive(Clone)]
pub struct Attempt {
    /// Its number within its call, from 1.
    pub index: usize,
    pub provider: Arc<ProviderRow>,
    pub model: Arc<ModelRow>,
    pub account: Arc<Account>,
    /// `presets/{preset}` that brought it in. Empty = none did.
    pub preset: Arc<str>,
    pub start: SystemTime,
    pub began: Instant,
    /// From its begin to the first piece of its answer.
    pub first_token: Option<Duration>,
    /// Pieces of its answer.
    pub chunks: u32,
    /// What is left of the account's limits, where the provider tells.
    pub limits: Option<RateLimitReport>,
    /// From its begin to its end.
    pub took: Duration,
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
    /// Who was not asked, and why.
    pub left_out: Vec<LeftOut>,
    /// Id of its provider.
    pub provider: String,
    /// The model name that the provider's answer carries.
    pub provider_model_id: String,
    pub refusal: String,
    /// Of the attempt that runs, or ran last.
    pub(super) usage: Option<TokenUsage>,
    /// What is left of the limits of the account that was asked last.
    pub limits: Option<RateLimitReport>,
    /// Of all attempts.
    pub cost: PicoUsd,
    /// From acceptance to the first piece of the answer.
    pub first_token: Option<Duration>,
    /// Whether the caller may know which accounts were asked.
    pub shows_accounts: bool,
    /// What each member of an ensemble has answered. Empty = there was none.
    pub alternates: Vec<Alternate>,
}

/// What one member of an ensemble has answered.
#[derive(Clone)]
pub struct Alternate {
    /// Resource name of its model.
    pub model: String,
    /// Id of its provider.
    pub provider: String,
    /// `None` = it failed, or was stopped.
    pub answer: Option<Answer>,
    pub finish_reason: Option<FinishReason>,
    pub usage: Option<TokenUsage>,
    pub cost: PicoUsd,
    /// Whether it became the answer, or part of it.
    pub chosen: bool,
    /// The judge's reason. Empty = it gave none.
    pub reason: String,
    pub failure: Option<Error>,
}

impl Outcome {
    /// Of a call that has not begun.
    pub fn of(call: &CallFacts) -> Self {
        Self { shows_accounts: call.role >= Role::Operator, ..Self::default() }
    }

    /// With what went before it in the same call.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        self.attempts.splice(0..0, before.attempts.iter().cloned());
        self.alternates.splice(0..0, before.alternates.iter().cloned());
        self.left_out.splice(0..0, before.left_out.iter().cloned());
        self.cost += before.cost;
        self
    }

    /// Tokens of all attempts. `None`: none are known.
    pub fn usage(&self) -> Option<TokenUsage> {
        self.attempts.iter().filter_map(|attempt| attempt.usage).reduce(TokenUsage::plus)
    }
}

/// What all runs of one call share, so that its attempts have numbers and it counts once.
#[derive(Default)]
pub struct Together {
    attempts: AtomicUsize,
    is_concluded: AtomicBool,
    /// Members of an ensemble that may still answer.
    members: AtomicUsize,
}

impl Together {
    pub fn next_number(&self) -> usize {
        self.attempts.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// So many members are asked side by side.
    pub fn gather(&self, members: usize) {
        self.members.store(members, Ordering::Relaxed);
    }

    /// One of them has failed: whether no other may still answer.
    pub fn was_last_member(&self) -> bool {
        self.members.fetch_sub(1, Ordering::Relaxed) <= 1
    }

    /// The call has its end: told to the first that asks.
    pub fn conclude(&self) -> bool {
        !self.is_concluded.swap(true, Ordering::Relaxed)
    }
}
