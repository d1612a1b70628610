//! Reads an answer, whole or in chunks. Nothing but `choices` may be relied on, and not always.

use mediary_domain::{ChatEvent, FinishReason, PartKind, Result, TokenUsage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{
        failure::{cut, garbled, no_answer},
        openai::{failure, usage::Usage},
        parts::{Parts, Queue},
        sse,
        text::Text,
        wire_stream::Decode,
    },
    Quirks,
    content::{Content, Thinking},
    details::{Detail, Details},
    sources::{Annotation, Sources},
    think::ThinkTags,
};
use crate::provider::CallContext;

pub struct Decoder {
    cx: CallContext,
    parts: Parts,
    tools: Vec<Tool>,
    think: Option<ThinkTags>,
    details: Details,
    sources: Sources,
    model_named: bool,
    usage: Option<TokenUsage>,
    /// Whether `usage` was passed on.
    is_told: bool,
    native: Option<String>,
    /// `[DONE]` was seen, or the answer came in one piece.
    ended: bool,
    finished: bool,
}

/// A tool call under way, and what its pieces are recognised by.
struct Tool {
    index: Option<u32>,
    id: String,
    part: u32,
}

impl Decoder {
    pub fn new(cx: CallContext, quirks: &Quirks) -> Self {
        Self {
            think: quirks.think_tags.then(ThinkTags::default),
            cx,
            parts: Parts::default(),
            tools: Vec::new(),
            details: Details::default(),
            sources: Sources::default(),
            model_named: false,
            usage: None,
            is_told: false,
            native: None,
            ended: false,
            finished: false,
        }
    }

    fn chunk(&mut self, json: &[u8], out: &mut Queue) -> Result<()> {
        let mut chunk: Chunk<'_> =
            serde_json::from_slice(json).map_err(|error| garbled(&self.cx, &error))?;
        let groq = chunk.x_groq.take().unwrap_or_default();
        let usage = chunk.usage.take().or(groq.usage);
        if let Some(usage) = usage {
            self.usage = Some(usage.total());
            self.is_told = false;
        }
        if let Some(why) = groq.error.filter(|why| !why.is_empty()) {
            return Err(failure::in_words(&self.cx, why.into_string()));
        }
        let otherwise = [chunk.detail, chunk.message];
        if failure::says_no(chunk.error, otherwise, chunk.choices.is_some()) {
            return Err(failure::of_event(&self.cx, json));
        }
        self.sources.found(chunk.search_results, chunk.citations);
        if !self.model_named
            && let Some(model) = chunk.model
            && !model.is_empty()
        {
            self.model_named = true;
            out.push_back(ChatEvent::Model(model.into_string()));
        }
        for choice in chunk.choices.unwrap_or_default() {
            // One answer is asked for; another candidate is nobody's.
            if choice.index.unwrap_or(0) == 0 {
                self.choice(choice, out)?;
            }
        }
        Ok(())
    }

    fn choice(&mut self, choice: Choice<'_>, out: &mut Queue) -> Result<()> {
        if let Some(delta) = choice.delta.or(choice.message) {
            self.delta(delta, out);
        }
        match choice.finish_reason.as_deref() {
            None | Some("") => {}
            Some("error") => {
                return Err(failure::interrupted(&self.cx, "error", failure::Interrupted::Failed));
            }
            Some(word @ "insufficient_system_resource") => {
                return Err(failure::interrupted(&self.cx, word, failure::Interrupted::Overloaded));
            }
            Some(word) => self.native = Some(word.to_owned()),
        }
        Ok(())
    }

    fn delta(&mut self, delta: Delta<'_>, out: &mut Queue) {
        let mut told = [delta.reasoning_content, delta.reasoning].into_iter().flatten();
        let told = told.find(|text| !text.is_empty());
        let details = delta.reasoning_details.unwrap_or_default();
        match told {
            Some(reasoning) => self.parts.reasoning(reasoning.into_string(), out),
            None => details.iter().for_each(|one| self.parts.reasoning(one.said(), out)),
        }
        self.details.add(details);
        let says_more = delta.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty())
            || delta.content.is_text();
        if says_more {
            self.details.seal(&mut self.parts, out);
        }
        match delta.content {
            Content::Nothing => {}
            Content::Text(text) => self.text(text.into_string(), out),
            Content::Parts(parts) => {
                // Neighbouring texts of one list are one piece.
                let mut text = String::new();
                for part in parts {
                    if let Some(thinking) = part.thinking {
                        self.text(std::mem::take(&mut text), out);
                        self.parts.reasoning(Thinking::into_string(thinking), out);
                    } else if let Some(more) = part.text {
                        text.push_str(&more);
                    }
                }
                self.text(text, out);
            }
        }
        for annotation in delta.annotations.unwrap_or_default() {
            self.sources.cite(annotation, &self.parts, out);
        }
        if let Some(refusal) = delta.refusal
            && !refusal.is_empty()
        {
            out.push_back(ChatEvent::Refusal(refusal.into_string()));
        }
        for (position, call) in delta.tool_calls.unwrap_or_default().into_iter().enumerate() {
            self.tool_call(position, call, out);
        }
    }

    fn text(&mut self, text: String, out: &mut Queue) {
        match &mut self.think {
            None => self.parts.text(text, out),
            Some(think) => think.feed(&text, &mut self.parts, out),
        }
    }

    /// Pieces of a call are joined by index, else by id, else by position.
    fn tool_call(&mut self, position: usize, call: ToolCall<'_>, out: &mut Queue) {
        let Some(function) = call.function else {
            // A tool of another type (`custom`) was not asked for by us.
            return;
        };
        let id = call.id.map(Text::into_string).unwrap_or_default();
        let name = function.name.map(Text::into_string).unwrap_or_default();
        let known = match call.index {
            Some(_) => self.tools.iter().position(|tool| tool.index == call.index),
            None if !id.is_empty() => self.tools.iter().position(|tool| tool.id == id),
            None if name.is_empty() => {
                self.tools.len().checked_sub(1).map(|last| position.min(last))
            }
            None => None,
        };
        let part = match known {
            Some(at) => self.tools[at].part,
            None => {
                let id = if id.is_empty() { format!("call_{}", self.tools.len()) } else { id };
                let part = self.parts.open_tool(id.clone(), name, out);
                self.tools.push(Tool { index: call.index, id, part });
                part
            }
        };
        if let Some(json) = function.arguments.and_then(arguments) {
            out.push_back(ChatEvent::ToolArguments { part, json });
        }
    }

    /// Numbers come in every chunk from some vendors: they are told once, at the end.
    fn tell_usage(&mut self, out: &mut Queue) {
        if let Some(usage) = self.usage
            && !self.is_told
        {
            self.is_told = true;
            out.push_back(ChatEvent::Usage(usage));
        }
    }

    fn finish(&mut self, out: &mut Queue) {
        if self.finished {
            return;
        }
        self.finished = true;
        if let Some(think) = &mut self.think {
            think.end(&mut self.parts, out);
        }
        if !self.details.is_empty() {
            self.parts.flow(PartKind::Reasoning, out);
            self.details.seal(&mut self.parts, out);
        }
        self.sources.tell(&self.parts, out);
        self.parts.close_all(out);
        self.tell_usage(out);
        let native = self.native.take().unwrap_or_default();
        out.push_back(ChatEvent::Finished {
            reason: reason(&native, !self.tools.is_empty()),
            native,
        });
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: &sse::Event, out: &mut Queue) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        let outcome = match event.data.trim_ascii() {
            _ if event.name.as_ref() == b"error" => Err(failure::of_event(&self.cx, &event.data)),
            b"" => Ok(()),
            b"[DONE]" => {
                self.ended = true;
                self.end(out)
            }
            json => self.chunk(json, out),
        };
        outcome.inspect_err(|_| self.tell_usage(out))
    }

    fn whole(&mut self, body: &[u8], out: &mut Queue) -> Result<()> {
        self.chunk(body, out)?;
        if !self.model_named && self.native.is_none() && self.usage.is_none() && out.is_empty() {
            return Err(no_answer(&self.cx));
        }
        self.ended = true;
        Ok(())
    }

    fn end(&mut self, out: &mut Queue) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        if !self.ended && self.native.is_none() {
            self.tell_usage(out);
            return Err(cut(&self.cx));
        }
        self.finish(out);
        Ok(())
    }
}

/// Arguments come as a JSON string, or (from some servers) as the object itself.
fn arguments(raw: &RawValue) -> Option<String> {
    let json = match raw.get() {
        "null" => return None,
        text if text.starts_with('"') => serde_json::from_str::<String>(text).ok()?,
        object => object.to_owned(),
    };
    (!json.is_empty()).then_some(json)
}

fn reason(native: &str, has_tools: bool) -> FinishReason {
    match native {
        "length" | "model_length" | "max_tokens" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        "stop" => FinishReason::Stop,
        _ if has_tools => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}

// --- wire ---

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(borrow, default)]
    x_groq: Option<XGroq<'a>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    /// Perplexity, in every chunk.
    #[serde(borrow, default)]
    search_results: Option<&'a RawValue>,
    #[serde(borrow, default)]
    citations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    message: Option<Delta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Content<'a>,
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning: Option<Text<'a>>,
    #[serde(default)]
    reasoning_details: Option<Vec<Detail>>,
    #[serde(default)]
    annotations: Option<Vec<Annotation>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct XGroq<'a> {
    #[serde(default)]
    usage: Option<Usage>,
    /// Why the stream stops before its end.
    #[serde(borrow, default)]
    error: Option<Text<'a>>,
}
