//! Members that answer side by side, and one answer found from theirs.
//!
//! Each member is a run of its own, so each of its attempts is heard of and paid for like any
//! other. Who is no longer needed is stopped, which stops its spending.
//! Leaves: what a judge is asked and how its word is read (`judge`).

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use mediary_domain::{Answer, AnswerPart, ChatCall, Error, FinishReason, Kind, Result, Warning};

use super::judge;
use crate::{
    registry::EnsembleMode,
    routing::{
        course::Manner,
        desk::{CallFacts, Desk},
        fit::fit,
        outcome::{Alternate, Outcome, Together},
        plan::{Candidate, Group},
        run::{Run, Step},
    },
};

pub struct Ensemble {
    desk: Desk,
    call: Arc<CallFacts>,
    group: Arc<Group>,
    manner: Manner,
    together: Arc<Together>,
    began: Instant,
    members: Vec<Member>,
    /// Members in the order in which they ended well.
    good: Vec<usize>,
    judge: Option<Run>,
    stage: Stage,
    /// Steps that are known and not told yet.
    ready: VecDeque<Step>,
    served_by: Server,
    first_token: Option<Duration>,
}

struct Member {
    run: Run,
    answer: Answer,
    end: Option<Result<(FinishReason, String)>>,
    warnings: Vec<Warning>,
    chosen: bool,
    reason: String,
}

#[derive(Clone, Copy)]
enum Server {
    Member(usize),
    Judge,
}

enum Stage {
    Gathering,
    /// What a member says is passed on.
    Passing(usize),
    /// A judge is listened to; what it has said.
    Choosing(Answer),
    /// The judge writes; what it has written and nobody was told yet.
    Merging(Answer),
    Over,
}

impl Ensemble {
    pub fn new(
        group: Arc<Group>,
        candidates: VecDeque<Candidate>,
        call: Arc<CallFacts>,
        desk: Desk,
        manner: Manner,
        together: &Arc<Together>,
        more_follow: bool,
    ) -> Self {
        // The accounts of one model stand together.
        let mut of_members: Vec<VecDeque<Candidate>> = Vec::new();
        for candidate in candidates {
            match of_members.last_mut() {
                Some(last)
                    if last.back().is_some_and(|one| one.model.name == candidate.model.name) =>
                {
                    last.push_back(candidate);
                }
                _ => of_members.push(VecDeque::from([candidate])),
            }
        }
        let member = |candidates: VecDeque<Candidate>| Member {
            warnings: candidates.front().map(|one| one.warnings.clone()).unwrap_or_default(),
            run: Run::new(candidates, call.clone(), desk.clone())
                .together(together.clone(), more_follow)
                .member(),
            answer: Answer::default(),
            end: None,
            chosen: false,
            reason: String::new(),
        };
        Self {
            members: of_members.into_iter().map(member).collect(),
            began: desk.clock.now(),
            desk,
            call,
            group,
            manner,
            together: together.clone(),
            good: Vec::new(),
            judge: None,
            stage: Stage::Gathering,
            ready: VecDeque::new(),
            served_by: Server::Member(0),
            first_token: None,
        }
    }

    /// Lets the call in at each member that lets it in; one is enough.
    pub async fn begin(&mut self) -> Result<()> {
        for member in &mut self.members {
            if let Err(error) = member.run.begin().await {
                member.end = Some(Err(error));
            }
        }
        self.together.gather(self.members.iter().filter(|one| one.end.is_none()).count());
        let mut refused = self.members.iter().filter_map(|one| one.end.as_ref()?.as_ref().err());
        match refused.next() {
            Some(error) if self.members.iter().all(|one| one.end.is_some()) => {
                let error = error.clone();
                self.stage = Stage::Over;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// The first that is asked, once the call has begun.
    pub fn first(&self) -> Option<&Candidate> {
        self.members.iter().find_map(|one| one.run.first())
    }

    /// Whether any of the answer was told.
    pub fn has_spoken(&self) -> bool {
        self.first_token.is_some()
    }

    /// The next step; `None` after the last. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            match &mut self.stage {
                Stage::Over => return None,
                Stage::Gathering => match any(&mut self.members).await {
                    Some((at, step)) => self.gather(at, step),
                    None => self.fail(Error::bug("an ensemble has no member left")),
                },
                Stage::Passing(at) => {
                    let at = *at;
                    let step = self.members[at].run.next().await;
                    return Some(self.pass(at, step));
                }
                Stage::Choosing(_) | Stage::Merging(_) => {
                    let step = match &mut self.judge {
                        Some(run) => run.next().await,
                        None => None,
                    };
                    let step = step.unwrap_or_else(|| Step::Failed(Error::bug("a judge is gone")));
                    if matches!(self.stage, Stage::Choosing(_)) {
                        self.hear_choice(step);
                    } else {
                        self.hear_merged(step);
                    }
                }
            }
        }
    }

    pub fn stop(&mut self, error: Error) -> Error {
        for member in &mut self.members {
            member.stop(&error);
        }
        if let Some(judge) = &mut self.judge {
            judge.stop(error.clone());
        }
        self.ready.clear();
        self.stage = Stage::Over;
        error
    }

    /// All attempts with their costs, who serves, and what each member has answered.
    pub fn outcome(&self) -> Outcome {
        let runs = self.members.iter().map(|one| &one.run).chain(&self.judge);
        let mut attempts: Vec<_> =
            runs.clone().flat_map(|run| run.outcome().attempts.iter().cloned()).collect();
        attempts.sort_by_key(|attempt| attempt.index);
        let runs_left_out =
            runs.clone().flat_map(|run| run.outcome().left_out.iter().cloned()).collect();
        let cost = runs.fold(Default::default(), |sum, run| sum + run.outcome().cost);
        let served_by = match (self.served_by, &self.judge) {
            (Server::Judge, Some(judge)) => judge.outcome(),
            (Server::Member(at), _) => self.members[at].run.outcome(),
            (Server::Judge, None) => self.members[0].run.outcome(),
        };
        Outcome {
            attempts,
            model: served_by.model.clone(),
            provider: served_by.provider.clone(),
            provider_model_id: served_by.provider_model_id.clone(),
            refusal: served_by.refusal.clone(),
            limits: served_by.limits,
            cost,
            first_token: self.first_token,
            alternates: match self.manner.streams {
                // A stream does not tell them.
                true => Vec::new(),
                false => self.members.iter().map(Member::alternate).collect(),
            },
            left_out: runs_left_out,
            ..Outcome::default()
        }
    }

    fn mode(&self) -> EnsembleMode {
        self.group.settings.mode
    }

    fn gather(&mut self, at: usize, step: Option<Step>) {
        let member = &mut self.members[at];
        match step {
            Some(Step::Piece(piece)) => {
                if self.manner.streams && self.group.settings.mode == EnsembleMode::First {
                    self.choose(at, String::new());
                    self.stage = Stage::Passing(at);
                    self.speak();
                    self.ready.push_back(Step::Piece(piece));
                } else {
                    member.answer.add(piece);
                }
                return;
            }
            // Another account of the same model.
            Some(Step::Fallback { warnings, .. } | Step::Restarted { warnings, .. }) => {
                member.answer = Answer::default();
                member.warnings = warnings;
                return;
            }
            Some(Step::Chosen { .. } | Step::Warned(_)) => return,
            Some(Step::Finished { reason, native }) => {
                member.end = Some(Ok((reason, native)));
                if member.is_good() {
                    self.good.push(at);
                }
            }
            Some(Step::Failed(error)) => member.end = Some(Err(error)),
            None => member.end = Some(Err(Error::bug("an answer ended without its end"))),
        }
        self.decide();
    }

    /// Whether enough have answered, and what follows.
    fn decide(&mut self) {
        let is_last = self.members.iter().all(|one| one.end.is_some());
        if self.mode() == EnsembleMode::First {
            if let Some(&at) = self.good.first() {
                return self.tell(at, String::new());
            }
        } else {
            let quorum = self.group.settings.quorum;
            let is_enough = quorum.is_some_and(|quorum| self.good.len() >= quorum);
            if !self.good.is_empty() && (is_enough || is_last) {
                self.stop_the_others(None);
                if is_last && quorum.is_some_and(|quorum| self.good.len() < quorum) {
                    let detail = format!("only {} members have answered", self.good.len());
                    self.warn("ensemble-quorum", detail);
                }
                return self.begin_judging();
            }
        }
        if is_last {
            self.nobody_is_good();
        }
    }

    /// An answer that is none, such as a refusal, is told where there is no better; else the failure
    /// of the first member.
    fn nobody_is_good(&mut self) {
        if let Some(at) = self.members.iter().position(|one| matches!(one.end, Some(Ok(_)))) {
            return self.tell(at, String::new());
        }
        let failures = || self.members.iter().filter_map(|one| one.end.as_ref()?.as_ref().err());
        // One that time cures, if there is one.
        let curable = failures().find(|error| error.may_succeed_elsewhere());
        let failure = curable.or_else(|| failures().next()).cloned();
        let failure = failure.unwrap_or_else(|| Error::bug("an ensemble has no members"));
        let tried = self.outcome().attempts.len();
        self.fail(failure.fact("attempts", tried.to_string()));
    }

    fn begin_judging(&mut self) {
        let candidates: Vec<usize> = match self.mode() {
            // Only text can be merged.
            EnsembleMode::Merge => {
                let has_text = |at: &usize| self.members[*at].answer.has_text();
                self.good.iter().copied().filter(has_text).collect()
            }
            _ => self.good.clone(),
        };
        if let [] | [_] = candidates[..] {
            // Nothing to compare: nobody is paid for it.
            let only = candidates.first().or(self.good.first()).copied();
            return self.tell(only.unwrap_or_default(), String::new());
        }
        self.good = candidates;
        let answers: Vec<&Answer> = self.good.iter().map(|at| &self.members[*at].answer).collect();
        match judges(&self.group, &answers) {
            Ok(candidates) => {
                let run = Run::new(candidates, self.call.clone(), self.desk.clone());
                self.judge = Some(run.together(self.together.clone(), false));
                self.stage = match self.mode() {
                    EnsembleMode::Merge => Stage::Merging(Answer::default()),
                    _ => Stage::Choosing(Answer::default()),
                };
            }
            Err(error) => self.do_without_judge(&error),
        }
    }

    fn hear_choice(&mut self, step: Step) {
        let Stage::Choosing(said) = &mut self.stage else { return };
        match step {
            Step::Piece(piece) => said.add(piece),
            Step::Fallback { .. } | Step::Restarted { .. } => *said = Answer::default(),
            Step::Chosen { .. } | Step::Warned(_) => {}
            Step::Failed(error) => self.do_without_judge(&error),
            Step::Finished { .. } => match judge::verdict(&said.text(), self.good.len()) {
                Ok(verdict) => self.tell(self.good[verdict.choice], verdict.reason),
                Err(error) => self.do_without_judge(&error),
            },
        }
    }

    fn hear_merged(&mut self, step: Step) {
        let Stage::Merging(written) = &mut self.stage else { return };
        match step {
            Step::Piece(piece) if self.manner.streams => {
                self.served_by = Server::Judge;
                self.speak();
                self.ready.push_back(Step::Piece(piece));
            }
            Step::Piece(piece) => written.add(piece),
            Step::Fallback { .. } | Step::Restarted { .. } => *written = Answer::default(),
            Step::Chosen { .. } | Step::Warned(_) => {}
            Step::Finished { reason, native } => {
                let written = std::mem::take(written);
                self.served_by = Server::Judge;
                for at in &self.good {
                    self.members[*at].chosen = true;
                }
                if !self.manner.streams {
                    self.speak();
                }
                self.ready.extend(written.into_events().into_iter().map(Step::Piece));
                self.ready.push_back(Step::Finished { reason, native });
                self.stage = Stage::Over;
            }
            Step::Failed(error) if !self.has_spoken() => self.do_without_judge(&error),
            // What was told cannot be taken back unasked.
            Step::Failed(error) if !self.manner.may_restart => self.fail(error),
            Step::Failed(error) => {
                let at = self.good.first().copied().unwrap_or_default();
                let next = self.members[at].run.outcome().model.clone();
                let warnings = self.members[at].warnings.clone();
                self.ready.push_back(Step::Restarted { failure: error, next, warnings });
                self.tell(at, String::new());
            }
        }
    }

    /// The first good answer has to do.
    fn do_without_judge(&mut self, error: &Error) {
        let at = self.good.first().copied().unwrap_or_default();
        let detail = format!("no judge has decided, the first good answer was taken: {error}");
        self.warn("ensemble-judge", detail);
        self.tell(at, String::new());
    }

    /// What the caller is told besides the answer.
    fn warn(&mut self, code: &'static str, detail: String) {
        let warning = Warning { code, field: "target.preset".to_owned(), detail };
        self.ready.push_back(Step::Warned(warning));
    }

    /// Tells the whole answer of a member.
    fn tell(&mut self, at: usize, reason: String) {
        self.choose(at, reason);
        self.speak();
        let member = &self.members[at];
        let pieces = member.answer.clone().into_events();
        self.ready.extend(pieces.into_iter().map(Step::Piece));
        if let Some(Ok((reason, native))) = &member.end {
            self.ready.push_back(Step::Finished { reason: *reason, native: native.clone() });
        }
        self.stage = Stage::Over;
    }

    /// Makes a member's answer the answer, and stops the others.
    fn choose(&mut self, at: usize, reason: String) {
        self.stop_the_others(Some(at));
        let member = &mut self.members[at];
        member.chosen = true;
        member.reason.clone_from(&reason);
        self.served_by = Server::Member(at);
        let chosen = Step::Chosen {
            model: member.run.outcome().model.clone(),
            reason,
            warnings: member.warnings.clone(),
        };
        // Before what there is to warn of, which is added to the warnings of the one that is chosen.
        self.ready.push_front(chosen);
    }

    fn stop_the_others(&mut self, chosen: Option<usize>) {
        let error = Error::new(Kind::Cancelled, "another member's answer was taken");
        for (at, member) in self.members.iter_mut().enumerate() {
            if Some(at) != chosen {
                member.stop(&error);
            }
        }
    }

    fn pass(&mut self, at: usize, step: Option<Step>) -> Step {
        let member = &mut self.members[at];
        match step {
            Some(Step::Finished { reason, native }) => {
                member.end = Some(Ok((reason, native.clone())));
                self.stage = Stage::Over;
                Step::Finished { reason, native }
            }
            Some(Step::Failed(error)) => {
                member.end = Some(Err(error.clone()));
                self.stage = Stage::Over;
                Step::Failed(error)
            }
            Some(step) => step,
            None => {
                self.stage = Stage::Over;
                Step::Failed(Error::bug("an answer ended without its end"))
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.stop_the_others(None);
        self.ready.push_back(Step::Failed(error));
        self.stage = Stage::Over;
    }

    fn speak(&mut self) {
        let now = self.desk.clock.now();
        self.first_token.get_or_insert(now.saturating_duration_since(self.began));
    }
}

impl Member {
    fn stop(&mut self, error: &Error) {
        if self.end.is_none() {
            self.end = Some(Err(self.run.stop(error.clone())));
        }
    }

    /// Whether its answer is one: whole, not empty and no refusal.
    fn is_good(&self) -> bool {
        let is_whole = matches!(&self.end, Some(Ok((reason, _)))
            if *reason != FinishReason::ContentFilter);
        let calls = |part: &AnswerPart| matches!(part, AnswerPart::ToolCall { .. });
        is_whole
            && self.run.outcome().refusal.is_empty()
            && (self.answer.has_text() || self.answer.parts.iter().any(calls))
    }

    fn alternate(&self) -> Alternate {
        let outcome = self.run.outcome();
        let end = self.end.as_ref().and_then(|end| end.as_ref().ok());
        Alternate {
            model: outcome.model.clone(),
            provider: outcome.provider.clone(),
            answer: end.map(|_| self.answer.clone()),
            finish_reason: end.map(|(reason, _)| *reason),
            usage: outcome.usage(),
            cost: outcome.cost,
            chosen: self.chosen,
            reason: self.reason.clone(),
            failure: self.end.as_ref().and_then(|end| end.as_ref().err()).cloned(),
        }
    }
}

/// The next step of whoever has one first. Steps that are not taken stay with their runs.
async fn any(members: &mut [Member]) -> Option<(usize, Option<Step>)> {
    if members.iter().all(|one| one.end.is_some()) {
        return None;
    }
    let step = poll_fn(|cx| {
        for (at, member) in members.iter_mut().enumerate().filter(|(_, one)| one.end.is_none()) {
            if let Poll::Ready(step) = pin!(member.run.next()).poll(cx) {
                return Poll::Ready((at, step));
            }
        }
        Poll::Pending
    });
    Some(step.await)
}

/// Those who can judge these answers, each with the question as its model takes it.
fn judges(group: &Group, answers: &[&Answer]) -> Result<VecDeque<Candidate>> {
    let settings = &group.settings;
    let seats = group.judge.as_ref().map_err(Clone::clone)?;
    let calls: Vec<Arc<ChatCall>> = match settings.mode {
        EnsembleMode::Merge => {
            vec![Arc::new(judge::merging(&group.call, answers, &settings.criteria))]
        }
        _ => judge::formats(answers.len())
            .map(|format| judge::choosing(&group.call, answers, &settings.criteria, format))
            .map(Arc::new)
            .into(),
    };
    let mut refused = None;
    let mut candidates = VecDeque::new();
    for seat in seats {
        // A model that is not described is not known to take a format.
        let calls = if seat.model.described { &calls[..] } else { &calls[calls.len() - 1..] };
        let fitted = calls.iter().map(|call| fit(&seat.provider, &seat.model, call));
        let fitted = fitted.reduce(|first, next| first.or(next));
        match fitted {
            Some(Ok((call, _))) => candidates.push_back(Candidate {
                provider: seat.provider.clone(),
                adapter: seat.adapter.clone(),
                model: seat.model.clone(),
                account: seat.account.clone(),
                preset: group.preset.clone(),
                call,
                warnings: Vec::new(),
                timeout: None,
                group: None,
                is_last_resort: false,
            }),
            Some(Err(error)) => refused = Some(error),
            None => {}
        }
    }
    match (candidates.is_empty(), refused) {
        (true, Some(error)) => Err(error),
        (true, None) => Err(Error::new(Kind::NoUsableAccount, "nobody can be asked to judge")),
        (false, _) => Ok(candidates),
    }
}
