//! Walks a plan for vectors: asks one candidate after the other until one gives them all.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mediary_domain::{
    EmbedCall, EmbedOptions, Embedded, Error, Kind, PicoUsd, Result, Retry, TokenUsage,
    UsageSource, Warning, cost_of_tokens,
};
use tracing::warn;

use super::{
    accounts::Place,
    desk::{CallFacts, Desk},
    limits::Expected,
    outcome::{Attempt, Outcome},
    plan::{Candidate, Plan},
    run::too_slow,
};
use crate::provider::{CallContext, ModelRow, ProviderRow, accounting};

/// Texts of one question where the model's row names no other number: OpenAI's limit.
const MAX_BATCH: usize = 2_048;

/// What has become of a call.
pub struct Vectors {
    pub embedded: Embedded,
    pub outcome: Outcome,
    pub warnings: Vec<Warning>,
}

/// The vectors of the first candidate that gives them. `most` is how many bytes all of them may
/// have: an answer that cannot be delivered is not paid for, where that can be known before.
pub async fn embed(
    plan: Plan,
    call: &EmbedCall,
    most: usize,
    facts: &Arc<CallFacts>,
    desk: &Desk,
) -> Result<Vectors> {
    let accepted = desk.clock.now();
    let mut outcome = Outcome::of(facts);
    let mut curable = None;
    let mut waiting = plan.candidates.into_iter().peekable();
    while let Some(candidate) = waiting.next() {
        let (options, fitted) = match fit(&candidate.provider, &candidate.model, call, most) {
            Ok(fitted) => fitted,
            // Another model of the plan may take it.
            Err(_) if waiting.peek().is_some() => continue,
            Err(error) => return Err(error),
        };
        let place = match enter(&candidate, call, facts, desk, waiting.peek().is_none()).await {
            Ok(place) => place,
            Err(error) if waiting.peek().is_some() => {
                if matches!(error.retry(), Retry::Later(_)) {
                    curable = Some(error);
                }
                continue;
            }
            Err(error) => return Err(told(error, curable, outcome.attempts.len())),
        };
        let cx = CallContext {
            provider: candidate.provider.clone(),
            model: candidate.model.clone(),
            account: candidate.account.clone(),
        };
        let mut asking =
            Asking::begin(&candidate, place, outcome.attempts.len() + 1, facts, desk, accepted);
        let asked = ask(&candidate, &cx, &call.texts, &options, &mut asking.embedded);
        let asked = match candidate.timeout {
            Some(limit) => tokio::time::timeout(limit, asked).await.unwrap_or(Err(too_slow())),
            None => asked.await,
        };
        let failure = asked.err();
        let goes_on =
            waiting.peek().is_some() && failure.as_ref().is_some_and(Error::may_succeed_elsewhere);
        let (attempt, embedded) = asking.end(failure.clone(), !goes_on);
        outcome.cost += attempt.cost;
        outcome.attempts.push(attempt);
        let Some(error) = failure else {
            outcome.model.clone_from(&candidate.model.name);
            outcome.provider.clone_from(&candidate.provider.id);
            outcome.provider_model_id.clone_from(&embedded.model);
            let warnings = candidate.warnings.into_iter().chain(fitted).collect();
            return Ok(Vectors { embedded, outcome, warnings });
        };
        warn!(
            model = %candidate.model.name,
            kind = ?error.kind(),
            "attempt {} at {} failed: {:?}",
            outcome.attempts.len(),
            candidate.model.name,
            error.kind(),
        );
        if matches!(error.retry(), Retry::Later(_)) {
            curable = Some(error.clone());
        }
        if !goes_on {
            return Err(told(error, curable, outcome.attempts.len()));
        }
        if let Some(next) = waiting.peek() {
            desk.fell_back(&candidate.model, &next.model, &error);
        }
    }
    Err(Error::bug("a plan held no candidate"))
}

/// An attempt that runs, and what it has given so far. Dropped before it ends, its caller went
/// away: it ends all the same, and what came is booked.
struct Asking<'a> {
    desk: &'a Desk,
    facts: &'a Arc<CallFacts>,
    accepted: Instant,
    /// What it holds of limits, until it is settled.
    place: Option<Place>,
    attempt: Attempt,
    is_over: bool,
    embedded: Embedded,
}

impl<'a> Asking<'a> {
    fn begin(
        candidate: &Candidate,
        place: Place,
        index: usize,
        facts: &'a Arc<CallFacts>,
        desk: &'a Desk,
        accepted: Instant,
    ) -> Self {
        let attempt = Attempt {
            index,
            provider: candidate.provider.clone(),
            model: candidate.model.clone(),
            account: candidate.account.clone(),
            preset: candidate.preset.clone(),
            start: desk.clock.wall(),
            began: desk.clock.now(),
            first_token: None,
            chunks: 0,
            limits: None,
            took: Duration::ZERO,
            end: None,
            failure: None,
            usage: None,
            cost: PicoUsd::default(),
        };
        let embedded = Embedded::default();
        let place = Some(place);
        Self { desk, facts, accepted, place, attempt, is_over: false, embedded }
    }

    fn end(mut self, failure: Option<Error>, is_last: bool) -> (Attempt, Embedded) {
        self.close(failure, is_last);
        (self.attempt.clone(), std::mem::take(&mut self.embedded))
    }

    fn close(&mut self, failure: Option<Error>, is_last: bool) {
        self.is_over = true;
        let attempt = &mut self.attempt;
        let prices = attempt.model.prices_at(attempt.start);
        attempt.usage = self.embedded.usage;
        let cost = attempt.usage.map(|usage| cost_of_tokens(&usage, &prices));
        attempt.cost = cost.unwrap_or_default();
        attempt.took = self.desk.clock.now().saturating_duration_since(attempt.began);
        attempt.end = Some(self.desk.clock.wall());
        attempt.failure = failure;
        self.desk.ended(self.facts, attempt, self.accepted, is_last);
        if let Some(place) = self.place.take() {
            place.settle(attempt.usage.as_ref(), attempt.cost);
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.close(Some(Error::new(Kind::Cancelled, "the caller went away")), true);
        }
    }
}

/// What a caller hears when nobody answers: a failure that time cures, if there was one.
fn told(error: Error, curable: Option<Error>, tried: usize) -> Error {
    let error = match (error.retry(), curable) {
        (Retry::Elsewhere, Some(curable)) => curable,
        _ => error,
    };
    if tried > 1 { error.fact("attempts", tried.to_string()) } else { error }
}

/// Lets the call in, limits included.
async fn enter(
    candidate: &Candidate,
    call: &EmbedCall,
    facts: &CallFacts,
    desk: &Desk,
    is_last: bool,
) -> Result<Place> {
    let expected = || {
        let input = call.texts.iter().map(|text| accounting::of_text(text.len())).sum();
        let usage = TokenUsage { input, ..TokenUsage::default() };
        Expected::of(&usage, &candidate.model.prices_at(desk.clock.wall()))
    };
    let (key, is_last) = (facts.key.as_deref(), candidate.is_last_resort || is_last);
    let (place, demands) =
        desk.accounts.enter(&candidate.account, key, expected, is_last, false)?;
    Ok(place.holding(desk.accounts.limits().reserve(demands).await?))
}

/// All texts, as many at a time as the model takes. What came before a failure was paid for.
async fn ask(
    candidate: &Candidate,
    cx: &CallContext,
    texts: &[String],
    options: &EmbedOptions,
    embedded: &mut Embedded,
) -> Result<()> {
    for some in texts.chunks(candidate.model.max_batch.unwrap_or(MAX_BATCH).max(1)) {
        let Embedded { vectors, model, usage } = candidate.adapter.embed(cx, some, options).await?;
        let usage = usage.unwrap_or_else(|| TokenUsage {
            input: some.iter().map(|text| accounting::of_text(text.len())).sum(),
            source: UsageSource::Estimated,
            ..TokenUsage::default()
        });
        embedded.vectors.extend(vectors);
        embedded.model = model;
        embedded.usage = Some(match embedded.usage {
            Some(before) => before.plus(usage),
            None => usage,
        });
    }
    Ok(())
}

/// The options as the model takes them, and what was left out.
fn fit(
    provider: &ProviderRow,
    model: &ModelRow,
    call: &EmbedCall,
    most: usize,
) -> Result<(EmbedOptions, Vec<Warning>)> {
    let mut options = call.options.clone();
    let mut warnings = Vec::new();
    if options.dimensions.is_some() && model.described && !model.has("dimensions") {
        return Err(Error::new(
            Kind::UnsupportedParameter,
            format!("{} does not let the length of its vectors be chosen", model.name),
        )
        .fact("model", model.name.as_str())
        .violation("dimensions", "leave it out, or choose another model"));
    }
    if let Some(length) = options.dimensions.or(model.dimensions) {
        check_size(call.texts.len(), length as usize, most)?;
    }
    let takes_purpose =
        provider.takes_purpose(&model.dialect) && (!model.described || model.has("purpose"));
    if !options.purpose.is_empty() && !takes_purpose {
        options.purpose.clear();
        warnings.push(Warning {
            code: "parameter-dropped",
            field: "purpose".to_owned(),
            detail: format!("{} does not take it; it was left out", model.name),
        });
    }
    Ok((options, warnings))
}

/// Whether so many vectors of that length fit into one answer.
pub fn check_size(vectors: usize, length: usize, most: usize) -> Result<()> {
    let bytes = vectors.saturating_mul(length).saturating_mul(size_of::<f32>());
    if bytes <= most {
        return Ok(());
    }
    let message = format!("{vectors} vectors of {length} numbers are more than {most} bytes");
    Err(Error::new(Kind::MessageTooLarge, message)
        .violation("texts", "embed fewer at once, or ask for shorter vectors"))
}
