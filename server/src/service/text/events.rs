//! Our words -> contract words.

use std::time::{Duration, SystemTime};

use mediary_domain as domain;
use mediary_domain::{Answer, AnswerPart, ChatEvent, Error, Kind};
use mediary_proto::v1::{
    self, AttemptState, AttemptSummary, Failed, FinishReason, Finished, MessageRole,
    TargetCandidate, UsageSource, part, reasoning_delta, text_event::Kind as Event,
};

use crate::{
    error,
    provider::AuthScheme,
    routing::{Outcome, Why},
};

/// Of those who were not asked, an answer tells so many.
const MOST_LEFT_OUT: usize = 20;

pub fn shutting_down() -> Error {
    Error::new(Kind::ShuttingDown, "the server is shutting down: try again")
}

/// Why and where the call goes on, and what is left out there.
pub fn fallback_detail(failure: &Error, next: &str, warnings: &[domain::Warning]) -> String {
    let mut detail = format!("{}; asking {next}", failure.message());
    for warning in warnings {
        detail.push_str(&format!("; {}: {}", warning.field, warning.detail));
    }
    detail
}

/// Whose answer is taken, why, and what was left out there.
pub fn choice_detail(model: &str, reason: &str, warnings: &[domain::Warning]) -> String {
    let mut detail = match reason {
        "" => format!("{model} answers"),
        reason => format!("{model} answers: {reason}"),
    };
    for warning in warnings {
        detail.push_str(&format!("; {}: {}", warning.field, warning.detail));
    }
    detail
}

/// The answers of the members of an ensemble.
pub fn alternates(outcome: &Outcome, include_reasoning: bool) -> Vec<v1::AlternateAnswer> {
    let alternates = outcome.alternates.iter().map(|one| v1::AlternateAnswer {
        message: one.answer.as_ref().map(|said| message(said, &one.provider, include_reasoning)),
        model: one.model.clone(),
        finish_reason: one.finish_reason.map_or(FinishReason::Unspecified, finish_reason).into(),
        usage: one.usage.as_ref().map(usage),
        cost_pico_usd: one.cost.0,
        chosen: one.chosen,
        selection_reason: one.reason.clone(),
        status: one.failure.as_ref().map(error::rpc_status),
    });
    alternates.collect()
}

/// The end of a whole answer, but for why it ended.
pub fn finished(outcome: &Outcome, elapsed: Duration, native: String) -> Finished {
    Finished {
        finish_reason: FinishReason::Unspecified.into(),
        provider_finish_reason: native,
        refusal: outcome.refusal.clone(),
        usage: outcome.usage().as_ref().map(usage),
        cost_pico_usd: outcome.cost.0,
        model: outcome.model.clone(),
        provider_model_id: outcome.provider_model_id.clone(),
        attempts: attempts(outcome),
        left_out: left_out(outcome),
        first_token_duration: outcome.first_token.and_then(duration),
        total_duration: duration(elapsed),
    }
}

pub fn failed(outcome: &Outcome, failure: &Error) -> Failed {
    Failed {
        status: Some(error::rpc_status(failure)),
        usage: outcome.usage().as_ref().map(usage),
        cost_pico_usd: outcome.cost.0,
        retryable: matches!(failure.retry(), domain::Retry::Later(_)),
        attempts: attempts(outcome),
        model: outcome.model.clone(),
        left_out: left_out(outcome),
    }
}

/// A piece of an answer as its event; `None` where it is told in another way.
pub fn piece(piece: ChatEvent, include_reasoning: bool) -> Option<Event> {
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
        | ChatEvent::Limits(_)
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
    let summaries = outcome.attempts.iter().map(|one| AttemptSummary {
        index: i32::try_from(one.index).unwrap_or(i32::MAX),
        model: one.model.name.clone(),
        account_hint: if outcome.shows_accounts && one.provider.auth.scheme != AuthScheme::None {
            one.account.display_name.clone()
        } else {
            String::new()
        },
        state: match (&one.end, &one.failure) {
            (None, _) => AttemptState::Running,
            (Some(_), None) => AttemptState::Succeeded,
            (Some(_), Some(failure)) if failure.kind() == Kind::Cancelled => {
                AttemptState::Cancelled
            }
            (Some(_), Some(_)) => AttemptState::Failed,
        }
        .into(),
        start_time: Some(one.start.into()),
        end_time: one.end.map(SystemTime::into),
        http_status: one
            .failure
            .as_ref()
            .and_then(|failure| failure.facts().get("httpStatus")?.parse().ok()),
        status: one.failure.as_ref().map(error::rpc_status),
        usage: one.usage.as_ref().map(usage),
        cost_pico_usd: one.cost.0,
        outcome_known: one.end.is_some()
            && !one.failure.as_ref().is_some_and(|failure| is_open(failure.kind())),
        ..AttemptSummary::default()
    });
    summaries.collect()
}

/// The same of a reason that was kept.
pub fn is_open_reason(reason: &str) -> bool {
    OPEN.iter().any(|kind| error::code_and_reason(*kind).1 == reason)
}

/// Who could have been asked and was not. That a provider has no account is no news to anybody.
pub fn left_out(outcome: &Outcome) -> Vec<TargetCandidate> {
    let told = outcome.left_out.iter().filter(|one| !matches!(one.why, Why::NoAccount(_)));
    let told = told.take(MOST_LEFT_OUT).map(|one| {
        let account = one.account.as_ref().filter(|_| outcome.shows_accounts);
        TargetCandidate {
            model: one.model.clone(),
            account_hint: account.map(|one| one.display_name.clone()).unwrap_or_default(),
            reason: one.why.word().to_owned(),
            usable: false,
            detail: one.why.detail(),
            estimated_cost_pico_usd: None,
        }
    });
    told.collect()
}

/// Failures after which the provider may still have done, and charged, the work.
const OPEN: [Kind; 5] = [
    Kind::UpstreamTruncated,
    Kind::UpstreamTimeout,
    Kind::DeadlineExceeded,
    Kind::ShuttingDown,
    Kind::Cancelled,
];

fn is_open(kind: Kind) -> bool {
    OPEN.contains(&kind)
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
