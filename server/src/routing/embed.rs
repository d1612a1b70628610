//! Walks a plan for vectors: asks one candidate after the other until one gives them all.

use mediary_domain::{
    EmbedCall, EmbedOptions, Embedded, Error, Kind, Result, Retry, TokenUsage, UsageSource,
    Warning, cost_of_tokens,
};
use tracing::warn;

use super::{
    accounts::Place,
    desk::{CallFacts, Desk},
    limits::Expected,
    plan::{Candidate, Plan},
    run::{Attempt, Outcome, too_slow},
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
    facts: &CallFacts,
    desk: &Desk,
) -> Result<Vectors> {
    let clock = &desk.clock;
    let mut outcome = Outcome::default();
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
        let (start, began) = (clock.wall(), clock.now());
        let mut embedded = Embedded::default();
        let asked = ask(&candidate, &cx, &call.texts, &options, &mut embedded);
        let asked = match candidate.timeout {
            Some(limit) => tokio::time::timeout(limit, asked).await.unwrap_or(Err(too_slow())),
            None => asked.await,
        };
        let cost = embedded
            .usage
            .map(|usage| cost_of_tokens(&usage, &candidate.model.prices_at(clock.wall())))
            .unwrap_or_default();
        outcome.cost += cost;
        let attempt = Attempt {
            index: outcome.attempts.len() + 1,
            model: candidate.model.clone(),
            account: candidate.account.clone(),
            preset: candidate.preset.clone(),
            start,
            began,
            first_token: None,
            took: clock.now().saturating_duration_since(began),
            end: Some(clock.wall()),
            failure: asked.as_ref().err().cloned(),
            usage: embedded.usage,
            cost,
        };
        desk.ended(facts, &attempt);
        place.settle(attempt.usage.as_ref(), cost);
        outcome.attempts.push(attempt);
        match asked {
            Ok(()) => {
                outcome.model.clone_from(&candidate.model.name);
                outcome.provider.clone_from(&candidate.provider.id);
                outcome.provider_model_id.clone_from(&embedded.model);
                let warnings = candidate.warnings.into_iter().chain(fitted).collect();
                return Ok(Vectors { embedded, outcome, warnings });
            }
            Err(error) => {
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
                if error.may_succeed_elsewhere() && waiting.peek().is_some() {
                    continue;
                }
                return Err(told(error, curable, outcome.attempts.len()));
            }
        }
    }
    Err(Error::bug("a plan held no candidate"))
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
