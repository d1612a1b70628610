//! Puts an answer together from the events of its stream.
//!
//! Leaves: whether the events are in order (`TextStream`).

use std::collections::BTreeMap;

use mediary_proto::v1::{
    self, FinishReason, MessageRole, Part, part, reasoning_delta::Content, text_event::Kind,
};

/// What has arrived of an answer. It is whole once [`Answer::is_complete`] says so.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The generation, `generations/{generation}`.
    pub generation: String,
    /// The model that serves, `providers/{provider}/models/{model}`.
    pub model: String,
    /// Sources that the model cited.
    pub citations: Vec<v1::Citation>,
    /// What was changed or dropped from the request.
    pub warnings: Vec<v1::Warning>,
    /// Tokens used so far.
    pub usage: Option<v1::TokenUsage>,
    /// How it ended, after the last event of a whole answer.
    pub finished: Option<v1::Finished>,
    /// How it failed.
    pub failed: Option<v1::Failed>,
    parts: BTreeMap<i32, part::Kind>,
}

impl Answer {
    /// Takes in the next event.
    pub fn add(&mut self, event: &v1::TextEvent) {
        match &event.kind {
            Some(Kind::Started(started)) => {
                self.generation.clone_from(&started.generation);
                self.serve(&started.model);
                self.warnings.clone_from(&started.warnings);
            }
            Some(Kind::Notice(notice)) => self.serve(&notice.model),
            Some(Kind::TextDelta(delta)) => self.add_text(delta),
            Some(Kind::ReasoningDelta(delta)) => self.add_reasoning(delta),
            Some(Kind::ToolCallDelta(delta)) => self.add_tool_call(delta),
            Some(Kind::Citation(citation)) => self.citations.push(citation.clone()),
            Some(Kind::Usage(update)) => self.count(update.usage.as_ref()),
            Some(Kind::Restarted(restarted)) => self.restart(restarted),
            Some(Kind::Finished(finished)) => {
                self.serve(&finished.model);
                self.count(finished.usage.as_ref());
                self.finished = Some(finished.clone());
            }
            Some(Kind::Failed(failed)) => {
                self.serve(&failed.model);
                self.count(failed.usage.as_ref());
                self.failed = Some(failed.clone());
            }
            Some(Kind::PartDone(_) | Kind::Heartbeat(_)) | None => {}
        }
    }

    /// Whether the whole answer is here.
    pub fn is_complete(&self) -> bool {
        self.finished.is_some()
    }

    /// All text, part after part.
    pub fn text(&self) -> String {
        self.collect(|kind| match kind {
            part::Kind::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// All readable thinking, part after part.
    pub fn reasoning(&self) -> String {
        self.collect(|kind| match kind {
            part::Kind::Reasoning(reasoning) => Some(reasoning.text.as_str()),
            _ => None,
        })
    }

    /// The tools that the model wants called, with whole arguments once the answer is complete.
    pub fn tool_calls(&self) -> Vec<&v1::ToolCall> {
        let calls = self.parts.values().map(|kind| match kind {
            part::Kind::ToolCall(call) => Some(call),
            _ => None,
        });
        calls.flatten().collect()
    }

    /// What the model said when it declined. Empty = it did not decline in words.
    pub fn refusal(&self) -> &str {
        self.finished.as_ref().map_or("", |finished| &finished.refusal)
    }

    /// Why it ended. Unspecified = it has not.
    pub fn finish_reason(&self) -> FinishReason {
        match &self.finished {
            None => FinishReason::Unspecified,
            // A reason that this client does not know is an other one.
            Some(finished) => {
                FinishReason::try_from(finished.finish_reason).unwrap_or(FinishReason::Other)
            }
        }
    }

    /// The turn to append to the conversation, sealed thinking included.
    pub fn message(&self) -> v1::Message {
        let kinds = self.parts.values().filter(|kind| !is_empty(kind)).cloned().map(|mut kind| {
            // Thoughts that are not sealed go back to their writer as well.
            if let part::Kind::Reasoning(reasoning) = &mut kind {
                reasoning.provider = self.provider().to_owned();
            }
            Part { kind: Some(kind) }
        });
        v1::Message { role: MessageRole::Assistant.into(), parts: kinds.collect() }
    }

    /// The same answer as if it had come in one message.
    pub fn into_response(self) -> v1::GenerateTextResponse {
        let message = Some(self.message());
        let finished = self.finished.unwrap_or_default();
        let failed = self.failed.unwrap_or_default();
        v1::GenerateTextResponse {
            message,
            finish_reason: finished.finish_reason,
            provider_finish_reason: finished.provider_finish_reason,
            refusal: finished.refusal,
            usage: self.usage,
            cost_pico_usd: finished.cost_pico_usd.max(failed.cost_pico_usd),
            model: self.model,
            provider_model_id: finished.provider_model_id,
            attempts: [finished.attempts, failed.attempts].concat(),
            left_out: [finished.left_out, failed.left_out].concat(),
            generation: self.generation,
            warnings: self.warnings,
            alternates: Vec::new(),
            first_token_duration: finished.first_token_duration,
            total_duration: finished.total_duration,
            citations: self.citations,
        }
    }

    fn collect(&self, text: impl Fn(&part::Kind) -> Option<&str>) -> String {
        self.parts.values().filter_map(text).collect()
    }

    /// Provider id of the serving model.
    fn provider(&self) -> &str {
        self.model.split('/').nth(1).unwrap_or_default()
    }

    fn serve(&mut self, model: &str) {
        if !model.is_empty() {
            model.clone_into(&mut self.model);
        }
    }

    fn count(&mut self, usage: Option<&v1::TokenUsage>) {
        if let Some(usage) = usage {
            self.usage = Some(usage.clone());
        }
    }

    fn restart(&mut self, restarted: &v1::Restarted) {
        let from = restarted.discard_from_part_index;
        self.parts.retain(|index, _| *index < from);
        self.citations.retain(|citation| citation.part_index < from);
        self.serve(&restarted.model);
    }

    fn add_text(&mut self, delta: &v1::TextDelta) {
        let empty = || part::Kind::Text(String::new());
        if let part::Kind::Text(text) = self.parts.entry(delta.part_index).or_insert_with(empty) {
            text.push_str(&delta.text);
        }
    }

    fn add_reasoning(&mut self, delta: &v1::ReasoningDelta) {
        let empty = || part::Kind::Reasoning(v1::Reasoning::default());
        let part = self.parts.entry(delta.part_index).or_insert_with(empty);
        let part::Kind::Reasoning(reasoning) = part else { return };
        match &delta.content {
            Some(Content::Text(text)) => reasoning.text.push_str(text),
            Some(Content::OpaqueState(piece)) => {
                reasoning.opaque_state = [&reasoning.opaque_state[..], piece].concat().into();
            }
            None => {}
        }
    }

    fn add_tool_call(&mut self, delta: &v1::ToolCallDelta) {
        let empty = || part::Kind::ToolCall(v1::ToolCall::default());
        let part = self.parts.entry(delta.part_index).or_insert_with(empty);
        let part::Kind::ToolCall(call) = part else { return };
        if !delta.call_id.is_empty() {
            call.call_id.clone_from(&delta.call_id);
        }
        if !delta.tool_name.is_empty() {
            call.tool_name.clone_from(&delta.tool_name);
        }
        call.arguments_json.push_str(&delta.arguments_json_delta);
    }
}

/// Such a part would be refused in the next turn.
fn is_empty(kind: &part::Kind) -> bool {
    match kind {
        part::Kind::Text(text) => text.is_empty(),
        part::Kind::Reasoning(one) => one.text.is_empty() && one.opaque_state.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(kinds: impl IntoIterator<Item = Kind>) -> Answer {
        let mut answer = Answer::default();
        for kind in kinds {
            answer.add(&v1::TextEvent { sequence: 0, kind: Some(kind) });
        }
        answer
    }

    fn text(part_index: i32, text: &str) -> Kind {
        Kind::TextDelta(v1::TextDelta { part_index, text: text.into() })
    }

    fn call(part_index: i32, call_id: &str, tool_name: &str, arguments: &str) -> Kind {
        Kind::ToolCallDelta(v1::ToolCallDelta {
            part_index,
            call_id: call_id.into(),
            tool_name: tool_name.into(),
            arguments_json_delta: arguments.into(),
        })
    }

    fn thought(content: Content) -> Kind {
        Kind::ReasoningDelta(v1::ReasoningDelta { part_index: 0, content: Some(content) })
    }

    #[test]
    fn interleaved_tool_calls_keep_their_own_arguments() {
        let answer = collect([
            call(0, "a", "weather", r#"{"city":"#),
            call(1, "b", "time", "{"),
            call(0, "", "", r#""Oslo"}"#),
            call(1, "", "", "}"),
        ]);
        let calls = answer.tool_calls();
        assert_eq!(calls[0].arguments_json, r#"{"city":"Oslo"}"#);
        assert_eq!((calls[1].tool_name.as_str(), calls[1].arguments_json.as_str()), ("time", "{}"));
    }

    #[test]
    fn sealed_thinking_goes_back_with_its_provider() {
        let started =
            v1::Started { model: "providers/gemini/models/x".into(), ..Default::default() };
        let answer = collect([
            Kind::Started(started),
            thought(Content::Text("hm".into())),
            thought(Content::OpaqueState(vec![1, 2].into())),
            thought(Content::OpaqueState(vec![3].into())),
            text(1, "Hello"),
        ]);
        assert_eq!((answer.reasoning().as_str(), answer.text().as_str()), ("hm", "Hello"));
        let message = answer.message();
        let Some(part::Kind::Reasoning(reasoning)) = &message.parts[0].kind else { panic!() };
        assert_eq!(reasoning.opaque_state[..], [1, 2, 3]);
        assert_eq!(reasoning.provider, "gemini");
    }

    #[test]
    fn a_restart_voids_what_came_before() {
        let answer = collect([
            text(0, "half an ans"),
            Kind::Citation(v1::Citation::default()),
            Kind::Restarted(v1::Restarted { model: "m".into(), ..Default::default() }),
            text(0, "whole"),
        ]);
        assert_eq!((answer.text().as_str(), answer.model.as_str()), ("whole", "m"));
        assert!(answer.citations.is_empty());
    }
}
