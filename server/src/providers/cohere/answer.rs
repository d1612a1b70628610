//! Reads an answer: blocks, plans and calls as they grow, or a whole message.

use mediary_domain::{Billed, ChatEvent, Citation, FinishReason, PartKind, Result, TokenUsage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    PLAN, THOUGHT,
    failure::{interrupted, of_event},
    units::{Units, whole},
};
use crate::{
    dialect::{
        failure::{cut, garbled, no_answer},
        parts::{Parts, Queue},
        sole::Sole,
        sse,
        text::Text,
        wire_stream::Decode,
    },
    provider::CallContext,
};

pub struct Decoder {
    cx: CallContext,
    parts: Parts,
    /// Blocks of content and the parts that they became.
    blocks: Vec<Block>,
    calls: Vec<Call>,
    /// What the model means to do with tools, as far as it is told.
    plan: String,
    native: Option<String>,
    /// Whether the caller gets to read thoughts, and can send them back.
    shows_thinking: bool,
    finished: bool,
}

struct Block {
    index: u32,
    part: u32,
    kind: PartKind,
}

struct Call {
    index: u32,
    part: u32,
    has_arguments: bool,
}

impl Decoder {
    pub fn new(cx: CallContext, shows_thinking: bool) -> Self {
        Self {
            shows_thinking,
            cx,
            parts: Parts::default(),
            blocks: Vec::new(),
            calls: Vec::new(),
            plan: String::new(),
            native: None,
            finished: false,
        }
    }

    fn content(&mut self, index: u32, content: Content<'_>, out: &mut Queue) {
        let text = content.text.map(Text::into_string).unwrap_or_default();
        let thinking = content.thinking.map(Text::into_string).unwrap_or_default();
        let is_thinking = content.kind.as_deref() == Some("thinking") || !thinking.is_empty();
        let kind = if is_thinking { PartKind::Reasoning } else { PartKind::Text };
        if text.is_empty() && thinking.is_empty() {
            return;
        }
        self.close_plan(out);
        if self.blocks.last().is_some_and(|last| last.index != index) {
            self.parts.close_flow(out);
        }
        let part = self.parts.flow(kind, out);
        if self.blocks.last().is_none_or(|last| last.part != part) {
            self.blocks.push(Block { index, part, kind });
            if kind == PartKind::Reasoning && self.shows_thinking {
                let state = THOUGHT.into();
                out.push_back(ChatEvent::ReasoningState { part, state });
            }
        }
        out.push_back(match kind {
            PartKind::Reasoning => ChatEvent::Reasoning { part, text: thinking },
            _ => ChatEvent::Text { part, text },
        });
    }

    fn plan(&mut self, text: String, out: &mut Queue) {
        if text.is_empty() {
            return;
        }
        if self.plan.is_empty() {
            self.parts.close_flow(out);
        }
        self.plan.push_str(&text);
        self.parts.reasoning(text, out);
    }

    /// A plan goes back as a plan, whether or not its reader may see it.
    fn close_plan(&mut self, out: &mut Queue) {
        if self.plan.is_empty() {
            return;
        }
        let part = self.parts.flow(PartKind::Reasoning, out);
        let state = [PLAN, &std::mem::take(&mut self.plan)].concat().into();
        out.push_back(ChatEvent::ReasoningState { part, state });
        self.parts.close_flow(out);
    }

    fn open_call(&mut self, index: u32, call: ToolCall<'_>, out: &mut Queue) {
        self.close_plan(out);
        self.parts.close_flow(out);
        let function = call.function.unwrap_or_default();
        let id = match call.id.filter(|id| !id.is_empty()) {
            Some(id) => id.into_string(),
            None => format!("call_{}", self.calls.len()),
        };
        let name = function.name.map(Text::into_string).unwrap_or_default();
        let part = self.parts.open_tool(id, name, out);
        self.calls.push(Call { index, part, has_arguments: false });
        self.grow_call(index, function.arguments, out);
    }

    fn grow_call(&mut self, index: u32, arguments: Option<Text<'_>>, out: &mut Queue) {
        let json = arguments.map(Text::into_string).unwrap_or_default();
        let call = self.calls.iter_mut().rfind(|call| call.index == index);
        if let Some(call) = call.filter(|_| !json.is_empty()) {
            call.has_arguments = true;
            out.push_back(ChatEvent::ToolArguments { part: call.part, json });
        }
    }

    fn close_call(&mut self, index: u32, out: &mut Queue) {
        if let Some(call) = self.calls.iter().rfind(|call| call.index == index) {
            if !call.has_arguments {
                let json = "{}".to_owned();
                out.push_back(ChatEvent::ToolArguments { part: call.part, json });
            }
            self.parts.close_tool(call.part, out);
        }
    }

    /// Only what speaks of the answer's text: plans and thoughts are cited as well.
    fn citation(&self, citation: WireCitation<'_>, out: &mut Queue) {
        if citation.kind.as_deref().is_some_and(|kind| kind != "TEXT_CONTENT") {
            return;
        }
        let texts = self.blocks.iter().filter(|block| block.kind == PartKind::Text);
        let named =
            |block: &&Block| citation.content_index.is_none_or(|index| index == block.index);
        let Some(block) = texts.clone().rfind(named).or_else(|| texts.clone().next_back()) else {
            return;
        };
        let place = Citation {
            part: block.part,
            start: citation.start.unwrap_or(0),
            end: citation.end.unwrap_or(0),
            ..Citation::default()
        };
        for source in citation.sources.unwrap_or_default() {
            let id = source.id.map(Text::into_string).unwrap_or_default();
            let document = source.document.unwrap_or_default();
            let title = text(document.title);
            out.push_back(ChatEvent::Citation(Citation {
                uri: text(document.url),
                title: if title.is_empty() { id } else { title },
                cited_text: text(document.text.or(document.snippet)),
                ..place.clone()
            }));
        }
    }

    fn close(
        &mut self,
        reason: Option<Text<'_>>,
        usage: Option<Usage>,
        error: Option<Text<'_>>,
        out: &mut Queue,
    ) -> Result<()> {
        if let Some(total) = usage.and_then(Usage::total) {
            out.push_back(ChatEvent::Usage(total));
        }
        let native = reason.map(Text::into_string).unwrap_or_default();
        let error = error.as_deref().filter(|words| !words.is_empty());
        if matches!(native.as_str(), "ERROR" | "TIMEOUT") || error.is_some() {
            return Err(interrupted(&self.cx, &native, error));
        }
        self.native = Some(native);
        Ok(())
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: &sse::Event, out: &mut Queue) -> Result<()> {
        let json = event.data.trim_ascii();
        if self.finished || json.is_empty() || json == b"[DONE]" {
            return Ok(());
        }
        let wire: Event<'_> =
            serde_json::from_slice(json).map_err(|error| garbled(&self.cx, &error))?;
        let name = wire.kind.as_deref().unwrap_or_default().as_bytes();
        let name = if name.is_empty() { event.name.as_ref() } else { name };
        let index = wire.index.unwrap_or(0);
        let delta = wire.delta.unwrap_or_default();
        let message = delta.message.unwrap_or_default();
        match name {
            b"content-start" | b"content-delta" => {
                if let Sole(Some(content)) = message.content {
                    self.content(index, content, out);
                }
            }
            b"tool-plan-delta" => {
                self.plan(message.tool_plan.map(Text::into_string).unwrap_or_default(), out);
            }
            b"tool-call-start" => {
                if let Sole(Some(call)) = message.tool_calls {
                    self.open_call(index, call, out);
                }
            }
            b"tool-call-delta" => {
                if let Sole(Some(call)) = message.tool_calls {
                    self.grow_call(index, call.function.and_then(|one| one.arguments), out);
                }
            }
            b"tool-call-end" => self.close_call(index, out),
            b"citation-start" => {
                if let Sole(Some(citation)) = message.citations {
                    self.citation(citation, out);
                }
            }
            b"message-end" => {
                self.close(delta.finish_reason, delta.usage, delta.error, out)?;
                return self.end(out);
            }
            b"error" => return Err(of_event(&self.cx, json)),
            b"" if wire.message.is_some() => return Err(of_event(&self.cx, json)),
            // `content-end` says no more than the next block does.
            _ => {}
        }
        Ok(())
    }

    fn whole(&mut self, body: &[u8], out: &mut Queue) -> Result<()> {
        let answer: Answer<'_> =
            serde_json::from_slice(body).map_err(|error| garbled(&self.cx, &error))?;
        let message: Message<'_> = match answer.message.map(RawValue::get) {
            // A refusal has its words where an answer has its message.
            Some(words) if words.starts_with('"') => return Err(of_event(&self.cx, body)),
            Some(json) if json.starts_with('{') => {
                serde_json::from_str(json).map_err(|error| garbled(&self.cx, &error))?
            }
            _ => return Err(no_answer(&self.cx)),
        };
        for (index, content) in (0..).zip(message.content.unwrap_or_default()) {
            self.content(index, content, out);
        }
        self.plan(message.tool_plan.map(Text::into_string).unwrap_or_default(), out);
        for (index, call) in (0..).zip(message.tool_calls.unwrap_or_default()) {
            self.open_call(index, call, out);
            self.close_call(index, out);
        }
        for citation in message.citations.unwrap_or_default() {
            self.citation(citation, out);
        }
        self.close(answer.finish_reason, answer.usage, None, out)
    }

    fn end(&mut self, out: &mut Queue) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        let Some(native) = self.native.take() else {
            return Err(cut(&self.cx));
        };
        self.finished = true;
        self.close_plan(out);
        self.parts.close_all(out);
        let reason = reason(&native, !self.calls.is_empty());
        out.push_back(ChatEvent::Finished { reason, native });
        Ok(())
    }
}

/// A string of a document; anything else is no text.
fn text(raw: Option<&RawValue>) -> String {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn reason(native: &str, has_calls: bool) -> FinishReason {
    match native {
        "COMPLETE" | "STOP_SEQUENCE" => FinishReason::Stop,
        "MAX_TOKENS" | "ERROR_LIMIT" => FinishReason::Length,
        "TOOL_CALL" => FinishReason::ToolCalls,
        "ERROR_TOXIC" => FinishReason::ContentFilter,
        "" if has_calls => FinishReason::ToolCalls,
        "" => FinishReason::Stop,
        _ => FinishReason::Other,
    }
}

// --- wire ---

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    /// Of a refusal in the place of an event.
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    message: Option<Grown<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(borrow, default)]
    error: Option<Text<'a>>,
}

/// `message-start` has empty lists where every other event has one object.
#[derive(Default, Deserialize)]
struct Grown<'a> {
    #[serde(borrow, default)]
    content: Sole<Content<'a>>,
    #[serde(borrow, default)]
    tool_plan: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Sole<ToolCall<'a>>,
    #[serde(borrow, default)]
    citations: Sole<WireCitation<'a>>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<Vec<Content<'a>>>,
    #[serde(borrow, default)]
    tool_plan: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow, default)]
    citations: Option<Vec<WireCitation<'a>>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Default, Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    arguments: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct WireCitation<'a> {
    #[serde(default)]
    start: Option<i64>,
    #[serde(default)]
    end: Option<i64>,
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(default)]
    content_index: Option<u32>,
    #[serde(borrow, default)]
    sources: Option<Vec<Source<'a>>>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    document: Option<Document<'a>>,
}

/// The caller's own document, which may hold anything: these are the names that Cohere's guides
/// use.
#[derive(Default, Deserialize)]
struct Document<'a> {
    #[serde(borrow, default)]
    url: Option<&'a RawValue>,
    #[serde(borrow, default)]
    title: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    snippet: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    billed_units: Option<Units>,
    #[serde(default)]
    tokens: Option<Units>,
    #[serde(default)]
    cached_tokens: Option<f64>,
}

impl Usage {
    /// `tokens` counts what Cohere puts before the prompt; `billed_units` is what is paid.
    fn total(self) -> Option<TokenUsage> {
        let units = self.tokens.or(self.billed_units)?;
        Some(TokenUsage {
            input: units.input().unwrap_or(0),
            cached_input: whole(self.cached_tokens),
            output: units.output().unwrap_or(0),
            reasoning: units.reasoning(),
            billed: self.billed_units.map(|billed| Billed {
                input: billed.input().unwrap_or(0),
                output: billed.output().unwrap_or(0),
            }),
            ..TokenUsage::default()
        })
    }
}
