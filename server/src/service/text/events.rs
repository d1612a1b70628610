//! The streamed answer: numbered events with exactly one end, and our words -> contract words.

use std::{
    pin::pin,
    time::{Duration, Instant, SystemTime},
};

use async_stream::stream;
use futures::Stream;
use mediary_domain as domain;
use mediary_domain::{Answer, AnswerPart, ChatEvent, Error, Kind};
use mediary_proto::v1::{
    self, AttemptState, AttemptSummary, Failed, FinishReason, Finished, Heartbeat, MessageRole,
    Notice, Started, StreamTextResponse, TextEvent, UsageSource, part, reasoning_delta,
    text_event::Kind as Event,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{super::layers, Accepted};
use crate::{
    clock::Clock,
    error,
    routing::{Outcome, Step},
};

/// What every stream gets beside its events.
pub struct Envelope {
    pub clock: Clock,
    pub heartbeat: Duration,
    pub deadline: Option<layers::Deadline>,
    pub closing: CancellationToken,
}

enum Turn {
    Step(Option<Step>),
    Silence,
    Late,
    Closing,
}

impl Envelope {
    /// Event 1 is `started`; the last is `finished` or `failed`, and nothing follows it but the
    /// status. Dropping the stream closes the connection to the provider.
    pub fn events(
        self,
        accepted: Accepted,
    ) -> impl Stream<Item = Result<StreamTextResponse, Status>> + Send {
        let Accepted { mut run, generation, include_reasoning, warnings, model, provider } =
            accepted;
        stream! {
            let mut sequence = 1;
            yield Ok(event(sequence, Event::Started(Started {
                generation: format!("generations/{generation}"),
                model,
                provider,
                resumable_until_time: None,
                warnings: warnings.into_iter().map(warning).collect(),
            })));
            let begin = self.clock.now();
            let mut last = begin;
            let mut silence = pin!(tokio::time::sleep(self.heartbeat));
            let mut late = pin!(sleep_until(self.deadline.map(|deadline| deadline.0)));
            loop {
                let turn = tokio::select! {
                    biased;
                    step = run.next() => Turn::Step(step),
                    () = &mut late => Turn::Late,
                    () = self.closing.cancelled() => Turn::Closing,
                    () = &mut silence => Turn::Silence,
                };
                let failure = match turn {
                    Turn::Step(Some(Step::Piece(piece))) => {
                        if let Some(piece) = wire_event(piece, include_reasoning) {
                            sequence += 1;
                            last = self.clock.now();
                            yield Ok(event(sequence, piece));
                        }
                        continue;
                    }
                    Turn::Step(Some(Step::Fallback { failure, next })) => {
                        sequence += 1;
                        last = self.clock.now();
                        yield Ok(event(sequence, Event::Notice(Notice {
                            kind: "fallback".to_owned(),
                            detail: format!("{}; asking {next}", failure.message()),
                            retry_time: None,
                            model: next,
                        })));
                        continue;
                    }
                    Turn::Silence => {
                        // The alarm is set anew once a silence, not once a token.
                        let quiet = self.clock.now().saturating_duration_since(last);
                        let rest = match self.heartbeat.checked_sub(quiet) {
                            Some(rest) if !rest.is_zero() => rest,
                            _ => {
                                last = self.clock.now();
                                yield Ok(event(sequence, Event::Heartbeat(Heartbeat {
                                    server_time: Some(self.clock.wall().into()),
                                })));
                                self.heartbeat
                            }
                        };
                        silence.set(tokio::time::sleep(rest));
                        continue;
                    }
                    Turn::Step(Some(Step::Finished { reason, native })) => {
                        sequence += 1;
                        let end = finished(run.outcome(), run.elapsed(), reason, native);
                        yield Ok(event(sequence, Event::Finished(end)));
                        return;
                    }
                    Turn::Step(Some(Step::Failed(failure))) => failure,
                    Turn::Step(None) => Error::bug("an answer ended without its end"),
                    Turn::Late => run.stop(layers::deadline_exceeded(run.elapsed())),
                    Turn::Closing => run.stop(shutting_down()),
                };
                sequence += 1;
                yield Ok(event(sequence, Event::Failed(failed(run.outcome(), &failure))));
                yield Err(error::status(&failure));
                return;
            }
        }
    }
}

/// Without a deadline: never.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn event(sequence: i64, kind: Event) -> StreamTextResponse {
    StreamTextResponse { event: Some(TextEvent { sequence, kind: Some(kind) }) }
}

pub fn shutting_down() -> Error {
    Error::new(Kind::ShuttingDown, "the server is shutting down: try again")
}

fn finished(
    outcome: &Outcome,
    elapsed: Duration,
    reason: domain::FinishReason,
    native: String,
) -> Finished {
    Finished {
        finish_reason: finish_reason(reason).into(),
        provider_finish_reason: native,
        refusal: outcome.refusal.clone(),
        usage: outcome.usage.as_ref().map(usage),
        cost_pico_usd: outcome.cost.0,
        model: outcome.model.clone(),
        provider_model_id: outcome.provider_model_id.clone(),
        attempts: attempts(outcome),
        first_token_duration: outcome.first_token.and_then(duration),
        total_duration: duration(elapsed),
    }
}

fn failed(outcome: &Outcome, failure: &Error) -> Failed {
    Failed {
        status: Some(error::rpc_status(failure)),
        usage: outcome.usage.as_ref().map(usage),
        cost_pico_usd: outcome.cost.0,
        retryable: matches!(failure.retry(), domain::Retry::Later(_)),
        attempts: attempts(outcome),
        model: outcome.model.clone(),
    }
}

fn wire_event(piece: ChatEvent, include_reasoning: bool) -> Option<Event> {
    Some(match piece {
        ChatEvent::Text { part, text } => {
            Event::TextDelta(v1::TextDelta { part_index: index(part), text })
        }
        ChatEvent::Reasoning { part, text } => {
            if !include_reasoning {
                return None;
            }
            Event::ReasoningDelta(v1::ReasoningDelta {
                part_index: index(part),
                content: Some(reasoning_delta::Content::Text(text)),
            })
        }
        ChatEvent::ReasoningState { part, state } => Event::ReasoningDelta(v1::ReasoningDelta {
            part_index: index(part),
            content: Some(reasoning_delta::Content::OpaqueState(state)),
        }),
        ChatEvent::ToolCall { part, call_id, tool_name } => {
            Event::ToolCallDelta(v1::ToolCallDelta {
                part_index: index(part),
                call_id,
                tool_name,
                arguments_json_delta: String::new(),
            })
        }
        ChatEvent::ToolArguments { part, json } => Event::ToolCallDelta(v1::ToolCallDelta {
            part_index: index(part),
            call_id: String::new(),
            tool_name: String::new(),
            arguments_json_delta: json,
        }),
        ChatEvent::PartDone { part, kind } => {
            let kind = match kind {
                domain::PartKind::Text => v1::PartKind::Text,
                domain::PartKind::Reasoning => v1::PartKind::Reasoning,
                domain::PartKind::ToolCall => v1::PartKind::ToolCall,
            };
            Event::PartDone(v1::PartDone { part_index: index(part), kind: kind.into() })
        }
        ChatEvent::Citation(one) => Event::Citation(citation(one)),
        // Counted by the run; told at the end.
        ChatEvent::Model(_)
        | ChatEvent::Refusal(_)
        | ChatEvent::Usage(_)
        | ChatEvent::Finished { .. } => return None,
    })
}

fn index(part: u32) -> i32 {
    i32::try_from(part).unwrap_or(i32::MAX)
}

/// The answer as the next turn of the conversation.
pub fn message(answer: &Answer, provider: &str, include_reasoning: bool) -> v1::Message {
    let parts = answer.parts.iter().map(|one| v1::Part {
        kind: Some(match one {
            AnswerPart::Text(text) => part::Kind::Text(text.clone()),
            AnswerPart::Reasoning { text, state } => part::Kind::Reasoning(v1::Reasoning {
                text: if include_reasoning { text.clone() } else { String::new() },
                opaque_state: state.clone(),
                provider: provider.to_owned(),
            }),
            AnswerPart::ToolCall { call_id, tool_name, arguments_json } => {
                part::Kind::ToolCall(v1::ToolCall {
                    call_id: call_id.clone(),
                    tool_name: tool_name.clone(),
                    arguments_json: arguments_json.clone(),
                })
            }
        }),
    });
    let is_said = |part: &v1::Part| match &part.kind {
        Some(part::Kind::Reasoning(one)) => !one.text.is_empty() || !one.opaque_state.is_empty(),
        _ => true,
    };
    v1::Message { role: MessageRole::Assistant.into(), parts: parts.filter(is_said).collect() }
}

pub fn finish_reason(reason: domain::FinishReason) -> FinishReason {
    match reason {
        domain::FinishReason::Stop => FinishReason::Stop,
        domain::FinishReason::Length => FinishReason::Length,
        domain::FinishReason::ToolCalls => FinishReason::ToolCalls,
        domain::FinishReason::ContentFilter => FinishReason::ContentFilter,
        domain::FinishReason::Other => FinishReason::Other,
    }
}

pub fn usage(usage: &domain::TokenUsage) -> v1::TokenUsage {
    v1::TokenUsage {
        input_tokens: usage.input,
        cached_input_tokens: usage.cached_input,
        cache_write_tokens: usage.cache_write,
        output_tokens: usage.output,
        reasoning_tokens: usage.reasoning,
        input_by_modality: Vec::new(),
        output_by_modality: Vec::new(),
        source: match usage.source {
            domain::UsageSource::Reported => UsageSource::Reported,
            domain::UsageSource::Estimated => UsageSource::Estimated,
        }
        .into(),
    }
}

pub fn attempts(outcome: &Outcome) -> Vec<AttemptSummary> {
    let summaries = outcome.attempts.iter().zip(1..).map(|(one, index)| AttemptSummary {
        index,
        model: one.model.clone(),
        state: match (&one.end, &one.failure) {
            (None, _) => AttemptState::Running,
            (Some(_), None) => AttemptState::Succeeded,
            (Some(_), Some(_)) => AttemptState::Failed,
        }
        .into(),
        start_time: Some(one.start.into()),
        end_time: one.end.map(SystemTime::into),
        http_status: one
            .failure
            .as_ref()
            .and_then(|failure| failure.facts().get("upstreamStatus")?.parse().ok()),
        status: one.failure.as_ref().map(error::rpc_status),
        usage: one.usage.as_ref().map(usage),
        cost_pico_usd: one.cost.0,
        outcome_known: one.end.is_some()
            && !one.failure.as_ref().is_some_and(|failure| is_open(failure.kind())),
        ..AttemptSummary::default()
    });
    summaries.collect()
}

/// Failures after which the provider may still have done, and charged, the work.
fn is_open(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::UpstreamTruncated
            | Kind::UpstreamTimeout
            | Kind::DeadlineExceeded
            | Kind::ShuttingDown
            | Kind::Cancelled
    )
}

pub fn warning(one: domain::Warning) -> v1::Warning {
    v1::Warning { code: one.code.to_owned(), field: one.field, detail: one.detail }
}

pub fn citation(one: domain::Citation) -> v1::Citation {
    v1::Citation {
        part_index: index(one.part),
        start: one.start,
        end: one.end,
        uri: one.uri,
        title: one.title,
        cited_text: one.cited_text,
    }
}

pub fn duration(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}
