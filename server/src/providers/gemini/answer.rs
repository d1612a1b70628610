//! Reads an answer: one object, a list of them, or a stream of them, each with the next piece.
//!
//! There is no last event: the body ends, and an answer is whole if a reason to finish was named.

use mediary_domain::{ChatEvent, FinishReason, PartKind, Result, TokenUsage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    citations::{Citations, Grounding, Metadata},
    failure::of_event,
    signature::{self, Place},
};
use crate::{
    clock::Clock,
    dialect::{
        failure::{cut, garbled, no_answer},
        parts::{Parts, Queue},
        sse,
        text::Text,
        wire_stream::Decode,
    },
    provider::CallContext,
};

/// The value that a field of Google's has when it is not set.
const UNSET: [&str; 2] = ["FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED"];

pub struct Decoder {
    cx: CallContext,
    clock: Clock,
    parts: Parts,
    citations: Citations,
    usage: Option<Usage>,
    model_named: bool,
    /// What the ids of calls begin with, where Google gives them none.
    answer_id: Option<String>,
    calls: usize,
    native: Option<String>,
    /// The prompt was blocked: `native` says why.
    blocked: bool,
    /// Why Google ended it, in words.
    message: Option<String>,
}

impl Decoder {
    pub fn new(cx: CallContext, clock: Clock) -> Self {
        Self {
            cx,
            clock,
            parts: Parts::default(),
            citations: Citations::default(),
            usage: None,
            model_named: false,
            answer_id: None,
            calls: 0,
            native: None,
            blocked: false,
            message: None,
        }
    }

    fn piece(&mut self, json: &[u8], out: &mut Queue) -> Result<()> {
        let piece: Piece<'_> =
            serde_json::from_slice(json).map_err(|error| garbled(&self.cx, &error))?;
        if piece.error.is_some_and(|error| error.get() != "null") {
            return Err(of_event(&self.cx, json));
        }
        if let Some(model) = piece.model_version.filter(|model| !model.is_empty())
            && !self.model_named
        {
            self.model_named = true;
            out.push_back(ChatEvent::Model(model.into_string()));
        }
        if let Some(id) = piece.response_id.filter(|id| !id.is_empty()) {
            self.answer_id.get_or_insert_with(|| id.into_string());
        }
        if let Some(usage) = piece.usage_metadata {
            self.usage.get_or_insert_default().merge(usage);
        }
        if let Some(feedback) = piece.prompt_feedback
            && let Some(reason) = feedback.block_reason.and_then(set)
        {
            self.blocked = true;
            self.native = Some(reason);
            self.message = feedback.block_reason_message.map(Text::into_string);
        }
        for candidate in piece.candidates.unwrap_or_default() {
            // One answer is asked for; another candidate is nobody's.
            if candidate.index.unwrap_or(0) == 0 {
                self.candidate(candidate, out);
            }
        }
        Ok(())
    }

    fn candidate(&mut self, candidate: Candidate<'_>, out: &mut Queue) {
        let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
        let mut bases = Vec::new();
        for part in parts {
            bases.push(self.citations.length());
            self.part(part, out);
        }
        if let Some(grounding) = candidate.grounding_metadata {
            self.citations.ground(grounding, &bases);
        }
        if let Some(metadata) = candidate.citation_metadata {
            self.citations.cite(metadata);
        }
        // Some models name a reason in every piece: the last one counts, at the end of the body.
        if let Some(reason) = candidate.finish_reason.and_then(set)
            && !self.blocked
        {
            self.native = Some(reason);
            self.message = candidate.finish_message.map(Text::into_string);
        }
    }

    fn part(&mut self, part: Part<'_>, out: &mut Queue) {
        let signature = part.thought_signature.filter(|one| !one.is_empty());
        let text = part.text.map(Text::into_string).unwrap_or_default();
        if let Some(call) = part.function_call {
            if let Some(signature) = signature {
                self.signed(Place::Call, &signature, out);
            }
            self.call(call, out);
        } else if part.thought.unwrap_or(false) {
            self.parts.reasoning(text, out);
            if let Some(signature) = signature {
                self.signed(Place::Thought, &signature, out);
            }
        } else if let Some(signature) = signature {
            // A signed text goes back as it came: it is not joined to what was said before.
            let place = if text.is_empty() { Place::Alone } else { Place::Text };
            if place == Place::Text {
                self.parts.close_flow(out);
                self.text(text, out);
            }
            self.signed(place, &signature, out);
        } else if !text.is_empty() {
            self.text(text, out);
        }
    }

    fn text(&mut self, text: String, out: &mut Queue) {
        let part = self.parts.flow(PartKind::Text, out);
        self.citations.said(part, &text);
        out.push_back(ChatEvent::Text { part, text });
    }

    fn signed(&mut self, place: Place, signature: &str, out: &mut Queue) {
        let part = self.parts.flow(PartKind::Reasoning, out);
        let state = signature::state(place, signature);
        out.push_back(ChatEvent::ReasoningState { part, state });
        self.parts.close_flow(out);
    }

    /// A call comes whole.
    fn call(&mut self, call: FunctionCall<'_>, out: &mut Queue) {
        self.parts.close_flow(out);
        let id = match call.id.filter(|id| !id.is_empty()) {
            Some(id) => id.into_string(),
            None => {
                let clock = &self.clock;
                let answer = self.answer_id.get_or_insert_with(|| clock.resource_id('c'));
                format!("call_{answer}_{}", self.calls)
            }
        };
        self.calls += 1;
        let name = call.name.map(Text::into_string).unwrap_or_default();
        let part = self.parts.open_tool(id, name, out);
        let arguments = call.args.map(RawValue::get).filter(|json| *json != "null");
        let json = arguments.unwrap_or("{}").to_owned();
        out.push_back(ChatEvent::ToolArguments { part, json });
        self.parts.close_tool(part, out);
    }

    /// Every piece counts anew: the numbers are told once, at the end.
    fn tell_usage(&mut self, out: &mut Queue) {
        if let Some(usage) = self.usage.take()
            && let Some(total) = usage.total()
        {
            out.push_back(ChatEvent::Usage(total));
        }
    }
}

fn set(word: Text<'_>) -> Option<String> {
    (!word.is_empty() && !UNSET.contains(&&*word)).then(|| word.into_string())
}

impl Decode for Decoder {
    fn event(&mut self, event: &sse::Event, out: &mut Queue) -> Result<()> {
        let outcome = match event.data.trim_ascii() {
            _ if event.name.as_ref() == b"error" => Err(of_event(&self.cx, &event.data)),
            b"" | b"[DONE]" => Ok(()),
            json => self.piece(json, out),
        };
        outcome.inspect_err(|_| self.tell_usage(out))
    }

    fn whole(&mut self, body: &[u8], out: &mut Queue) -> Result<()> {
        if body.starts_with(b"[") {
            let pieces: Vec<&RawValue> =
                serde_json::from_slice(body).map_err(|error| garbled(&self.cx, &error))?;
            for piece in pieces {
                self.piece(piece.get().as_bytes(), out)?;
            }
        } else {
            self.piece(body, out)?;
            let is_said = |event: &ChatEvent| !matches!(event, ChatEvent::Model(_));
            if self.native.is_none() && !out.iter().any(is_said) {
                return Err(no_answer(&self.cx));
            }
            self.native.get_or_insert_default();
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Queue) -> Result<()> {
        let Some(native) = self.native.take() else {
            self.tell_usage(out);
            return Err(cut(&self.cx));
        };
        let reason = match self.blocked {
            true => FinishReason::ContentFilter,
            false => reason(&native, self.calls > 0),
        };
        self.parts.close_all(out);
        self.citations.tell(out);
        if let Some(message) = self.message.take().filter(|message| !message.is_empty())
            && reason == FinishReason::ContentFilter
        {
            out.push_back(ChatEvent::Refusal(message));
        }
        self.tell_usage(out);
        out.push_back(ChatEvent::Finished { reason, native });
        Ok(())
    }
}

/// Calls end with `STOP` like any other answer.
fn reason(native: &str, has_calls: bool) -> FinishReason {
    match native {
        "STOP" | "" if has_calls => FinishReason::ToolCalls,
        "STOP" | "" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

// --- wire ---

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Piece<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow, default)]
    prompt_feedback: Option<PromptFeedback<'a>>,
    #[serde(default)]
    usage_metadata: Option<Usage>,
    #[serde(borrow, default)]
    model_version: Option<Text<'a>>,
    #[serde(borrow, default)]
    response_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback<'a> {
    #[serde(borrow, default)]
    block_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    block_reason_message: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    finish_message: Option<Text<'a>>,
    #[serde(borrow, default)]
    grounding_metadata: Option<Grounding<'a>>,
    #[serde(borrow, default)]
    citation_metadata: Option<Metadata<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Option<Vec<Part<'a>>>,
}

/// What Google's own tools do (`executableCode`, ...) has no place in the contract.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(default)]
    thought: Option<bool>,
    #[serde(borrow, default)]
    thought_signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    function_call: Option<FunctionCall<'a>>,
}

#[derive(Deserialize)]
struct FunctionCall<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    #[serde(default)]
    prompt_token_count: Option<i64>,
    #[serde(default)]
    cached_content_token_count: Option<i64>,
    #[serde(default)]
    candidates_token_count: Option<i64>,
    #[serde(default)]
    thoughts_token_count: Option<i64>,
    /// What the vendor's own tools brought into the prompt; not part of its count.
    #[serde(default)]
    tool_use_prompt_token_count: Option<i64>,
}

impl Usage {
    /// Numbers are cumulative; a later report replaces the fields that it holds.
    fn merge(&mut self, later: Self) {
        self.prompt_token_count = later.prompt_token_count.or(self.prompt_token_count);
        self.cached_content_token_count =
            later.cached_content_token_count.or(self.cached_content_token_count);
        self.candidates_token_count = later.candidates_token_count.or(self.candidates_token_count);
        self.thoughts_token_count = later.thoughts_token_count.or(self.thoughts_token_count);
        self.tool_use_prompt_token_count =
            later.tool_use_prompt_token_count.or(self.tool_use_prompt_token_count);
    }

    /// `None` where nothing was counted.
    fn total(&self) -> Option<TokenUsage> {
        let output = self.candidates_token_count.or(self.thoughts_token_count);
        self.prompt_token_count.or(output)?;
        Some(TokenUsage {
            input: self.prompt_token_count.unwrap_or(0)
                + self.tool_use_prompt_token_count.unwrap_or(0),
            cached_input: self.cached_content_token_count,
            output: self.candidates_token_count.unwrap_or(0)
                + self.thoughts_token_count.unwrap_or(0),
            reasoning: self.thoughts_token_count,
            ..TokenUsage::default()
        })
    }
}
