//! The unary answer: the stream, collected.

use mediary_domain::{Answer, Error, Kind, Result};
use mediary_proto::v1::GenerateTextResponse;
use tokio_util::sync::CancellationToken;

use super::{Accepted, events};
use crate::routing::Step;

/// Runs the call to its end. Dropping the future closes the connection to the provider.
pub async fn collect(
    accepted: Accepted,
    closing: &CancellationToken,
) -> Result<GenerateTextResponse> {
    let Accepted { mut run, generation, include_reasoning, mut warnings, .. } = accepted;
    let mut answer = Answer::default();
    loop {
        let step = tokio::select! {
            biased;
            step = run.next() => step,
            () = closing.cancelled() => return Err(run.stop(events::shutting_down())),
        };
        match step {
            Some(Step::Piece(piece)) => {
                answer.add(piece);
            }
            Some(
                Step::Fallback { warnings: of_next, .. }
                | Step::Restarted { warnings: of_next, .. },
            ) => {
                answer = Answer::default();
                warnings = of_next;
            }
            // The reason goes with the alternates.
            Some(Step::Chosen { warnings: of_chosen, .. }) => warnings = of_chosen,
            Some(Step::Warned(warning)) => warnings.push(warning),
            Some(Step::Failed(error)) => return Err(error),
            Some(Step::Finished { reason, native }) => {
                let outcome = &*run.outcome();
                return Ok(GenerateTextResponse {
                    message: Some(events::message(&answer, &outcome.provider, include_reasoning)),
                    finish_reason: events::finish_reason(reason).into(),
                    provider_finish_reason: native,
                    refusal: outcome.refusal.clone(),
                    usage: outcome.usage().as_ref().map(events::usage),
                    cost_pico_usd: outcome.cost.0,
                    model: outcome.model.clone(),
                    provider_model_id: outcome.provider_model_id.clone(),
                    attempts: events::attempts(outcome),
                    left_out: events::left_out(outcome),
                    generation: format!("generations/{generation}"),
                    warnings: warnings.into_iter().map(events::warning).collect(),
                    alternates: events::alternates(outcome, include_reasoning),
                    first_token_duration: outcome.first_token.and_then(events::duration),
                    total_duration: events::duration(run.elapsed()),
                    citations: answer.citations.into_iter().map(events::citation).collect(),
                });
            }
            None => return Err(Error::new(Kind::Bug, "an answer ended without its end")),
        }
    }
}
