//! A call from its plan to its end: one stretch of the plan after the other.
//!
//! Owns: where an ensemble stands in a plan, and going on behind it. Leaves: asking one candidate
//! after the other (`run`), asking several side by side (`strategy::ensemble`).

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use mediary_domain::{Error, Result, Retry};

use super::{
    desk::{CallFacts, Desk},
    outcome::{Outcome, Together},
    plan::{Candidate, Plan},
    run::{Run, Step},
    strategy::Ensemble,
};

/// How an answer is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Whether a failure after the first token may start over.
    pub may_restart: bool,
    /// Whether it is read as it is written, rather than once it is whole.
    pub streams: bool,
}

/// A call on its way. Dropping it closes all connections to providers.
pub struct Course {
    desk: Desk,
    call: Arc<CallFacts>,
    manner: Manner,
    waiting: VecDeque<Candidate>,
    now: Now,
    together: Arc<Together>,
    accepted: Instant,
    /// What became of earlier stretches.
    before: Outcome,
    /// The last failure of those that time cures.
    curable: Option<Error>,
}

enum Now {
    Run(Box<Run>),
    Ensemble(Box<Ensemble>),
}

impl Course {
    pub fn new(plan: Plan, call: Arc<CallFacts>, desk: Desk, manner: Manner) -> Self {
        let mut waiting = VecDeque::from(plan.candidates);
        let together = Arc::new(Together::default());
        let now = stretch(&mut waiting, &call, &desk, manner, &together);
        let accepted = desk.clock.now();
        let before = Outcome { left_out: plan.left_out, ..Outcome::of(&call) };
        let curable = None;
        Self { desk, call, manner, waiting, now, together, accepted, before, curable }
    }

    /// Finds the first candidate that lets the call in, and asks it nothing yet; all members of an
    /// ensemble. Who is not called this begins with the first step.
    pub async fn begin(&mut self) -> Result<()> {
        loop {
            let begun = match &mut self.now {
                Now::Run(run) => run.begin().await,
                Now::Ensemble(ensemble) => ensemble.begin().await,
            };
            let Err(error) = begun else { return Ok(()) };
            if let Step::Failed(error) = self.failed(error, false) {
                return Err(error);
            }
        }
    }

    /// The candidate that is asked first, once the call has begun.
    pub fn first(&self) -> Option<&Candidate> {
        match &self.now {
            Now::Run(run) => run.first(),
            Now::Ensemble(ensemble) => ensemble.first(),
        }
    }

    /// What is known up to now.
    pub fn outcome(&self) -> Cow<'_, Outcome> {
        let now = match &self.now {
            Now::Run(run) => Cow::Borrowed(run.outcome()),
            Now::Ensemble(ensemble) => Cow::Owned(ensemble.outcome()),
        };
        if self.before.attempts.is_empty() && self.before.left_out.is_empty() {
            return now;
        }
        Cow::Owned(now.into_owned().after(&self.before))
    }

    pub fn elapsed(&self) -> Duration {
        self.desk.clock.now().saturating_duration_since(self.accepted)
    }

    /// The next step; `None` after the last. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Option<Step> {
        let (step, spoke) = match &mut self.now {
            Now::Run(run) => (run.next().await?, run.has_spoken()),
            Now::Ensemble(ensemble) => (ensemble.next().await?, ensemble.has_spoken()),
        };
        match step {
            Step::Failed(error) => Some(self.failed(error, spoke)),
            step => Some(step),
        }
    }

    /// Ends the call from outside, as a deadline or a shutdown does.
    pub fn stop(&mut self, error: Error) -> Error {
        self.waiting.clear();
        match &mut self.now {
            Now::Run(run) => run.stop(error),
            Now::Ensemble(ensemble) => ensemble.stop(error),
        }
    }

    fn failed(&mut self, error: Error, spoke: bool) -> Step {
        let goes_on = error.may_succeed_elsewhere()
            && !self.waiting.is_empty()
            && (!spoke || self.manner.may_restart);
        if !goes_on {
            return Step::Failed(match (error.retry(), self.curable.take()) {
                (Retry::Elsewhere, Some(curable)) if !spoke => curable,
                _ => error,
            });
        }
        if matches!(error.retry(), Retry::Later(_)) {
            self.curable = Some(error.clone());
        }
        self.before = self.outcome().into_owned();
        let next = self.waiting.front().map(|one| (one.model.name.clone(), one.warnings.clone()));
        let (next, warnings) = next.unwrap_or_default();
        let Self { waiting, call, desk, manner, together, .. } = self;
        self.now = stretch(waiting, call, desk, *manner, together);
        let failure = error;
        if spoke {
            Step::Restarted { failure, next, warnings }
        } else {
            Step::Fallback { failure, next, warnings }
        }
    }
}

/// What the plan begins with: the members of one ensemble, or all before the next.
fn stretch(
    waiting: &mut VecDeque<Candidate>,
    call: &Arc<CallFacts>,
    desk: &Desk,
    manner: Manner,
    together: &Arc<Together>,
) -> Now {
    let group = waiting.front().and_then(|one| one.group.clone());
    let is_same = |one: &Candidate| match (&one.group, &group) {
        (Some(one), Some(group)) => Arc::ptr_eq(one, group),
        (one, group) => one.is_none() && group.is_none(),
    };
    let count = waiting.iter().take_while(|one| is_same(one)).count();
    let candidates: VecDeque<Candidate> = waiting.drain(..count).collect();
    match group {
        Some(group) => {
            let more = !waiting.is_empty();
            let desk = desk.clone();
            let ensemble =
                Ensemble::new(group, candidates, call.clone(), desk, manner, together, more);
            Now::Ensemble(Box::new(ensemble))
        }
        None => {
            let run = Run::new(candidates, call.clone(), desk.clone());
            let run = run.restarting(manner.may_restart);
            Now::Run(Box::new(run.together(together.clone(), !waiting.is_empty())))
        }
    }
}
