//! Reads an answer: content blocks as they grow, or a whole message.

use bytes::Bytes;
use mediary_domain::{ChatEvent, Citation, Error, FinishReason, PartKind, Result, TokenUsage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{of_event, request::REDACTED};
use crate::{
    dialect::{
        parts::{Parts, Queue},
        sse,
        text::{self, Text},
        wire_stream::Decode,
    },
    provider::CallContext,
};

pub struct Decoder {
    cx: CallContext,
    parts: Parts,
    blocks: Vec<Open>,
    usage: Usage,
    has_tools: bool,
    native: Option<String>,
    ended: bool,
    finished: bool,
}

/// A block that grows.
struct Open {
    index: u32,
    what: What,
}

enum What {
    Text { part: u32, length: i64, citations: Vec<Citation> },
    Thinking { part: u32, signature: String },
    Tool { part: u32, has_arguments: bool },
}

impl Decoder {
    pub fn new(cx: CallContext) -> Self {
        Self {
            cx,
            parts: Parts::default(),
            blocks: Vec::new(),
            usage: Usage::default(),
            has_tools: false,
            native: None,
            ended: false,
            finished: false,
        }
    }

    fn start(&mut self, message: Message<'_>, out: &mut Queue) {
        if let Some(model) = message.model.filter(|model| !model.is_empty()) {
            out.push_back(ChatEvent::Model(model.into_string()));
        }
        if let Some(usage) = message.usage {
            self.count(usage, out);
        }
    }

    /// Numbers are cumulative; a later report replaces the fields that it holds.
    fn count(&mut self, usage: Usage, out: &mut Queue) {
        self.usage.merge(usage);
        out.push_back(ChatEvent::Usage(self.usage.total()));
    }

    fn open(&mut self, index: u32, block: Block<'_>, out: &mut Queue) {
        let what = match &*block.kind {
            "text" => {
                self.parts.close_flow(out);
                let part = self.parts.flow(PartKind::Text, out);
                What::Text { part, length: 0, citations: Vec::new() }
            }
            "thinking" => {
                self.parts.close_flow(out);
                let part = self.parts.flow(PartKind::Reasoning, out);
                What::Thinking { part, signature: String::new() }
            }
            "redacted_thinking" => {
                self.parts.close_flow(out);
                let part = self.parts.flow(PartKind::Reasoning, out);
                let data = block.data.as_deref().unwrap_or_default();
                let state = Bytes::from([REDACTED, data.as_bytes()].concat());
                out.push_back(ChatEvent::ReasoningState { part, state });
                What::Thinking { part, signature: String::new() }
            }
            "tool_use" => {
                self.parts.close_flow(out);
                self.has_tools = true;
                let id = block.id.map(Text::into_string).unwrap_or_default();
                let name = block.name.map(Text::into_string).unwrap_or_default();
                let part = self.parts.open_tool(id, name, out);
                What::Tool { part, has_arguments: false }
            }
            // What the vendor's own tools do, and blocks that are not known yet.
            _ => return,
        };
        self.blocks.push(Open { index, what });
        if let Some(text) = block.text {
            self.grow(index, Delta { text: Some(text), ..Delta::of("text_delta") }, out);
        }
        if let Some(thinking) = block.thinking {
            let delta = Delta { thinking: Some(thinking), ..Delta::of("thinking_delta") };
            self.grow(index, delta, out);
        }
        if let Some(signature) = block.signature {
            let delta = Delta { signature: Some(signature), ..Delta::of("signature_delta") };
            self.grow(index, delta, out);
        }
        for citation in block.citations.unwrap_or_default() {
            let delta = Delta { citation: Some(citation), ..Delta::of("citations_delta") };
            self.grow(index, delta, out);
        }
        // In a stream the input of a starting block is an empty placeholder.
        if let Some(input) = block.input.filter(|raw| raw.get() != "{}") {
            let delta = Delta {
                partial_json: Some(Text(input.get().into())),
                ..Delta::of("input_json_delta")
            };
            self.grow(index, delta, out);
        }
    }

    fn grow(&mut self, index: u32, delta: Delta<'_>, out: &mut Queue) {
        let Some(block) = self.blocks.iter_mut().find(|block| block.index == index) else {
            return;
        };
        match (&*delta.kind, &mut block.what) {
            ("text_delta", What::Text { part, length, .. }) => {
                let text = delta.text.map(Text::into_string).unwrap_or_default();
                *length += i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
                if !text.is_empty() {
                    out.push_back(ChatEvent::Text { part: *part, text });
                }
            }
            ("citations_delta", What::Text { part, citations, .. }) => {
                if let Some(citation) = delta.citation {
                    citations.push(citation.at(*part));
                }
            }
            ("thinking_delta", What::Thinking { part, .. }) => {
                let text = delta.thinking.map(Text::into_string).unwrap_or_default();
                if !text.is_empty() {
                    out.push_back(ChatEvent::Reasoning { part: *part, text });
                }
            }
            ("signature_delta", What::Thinking { signature, .. }) => {
                signature.push_str(delta.signature.as_deref().unwrap_or_default());
            }
            ("input_json_delta", What::Tool { part, has_arguments }) => {
                let json = delta.partial_json.map(Text::into_string).unwrap_or_default();
                if !json.is_empty() {
                    *has_arguments = true;
                    out.push_back(ChatEvent::ToolArguments { part: *part, json });
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, index: u32, out: &mut Queue) {
        let Some(at) = self.blocks.iter().position(|block| block.index == index) else {
            return;
        };
        match self.blocks.remove(at).what {
            What::Text { length, citations, .. } => {
                // A citation speaks of its whole block, whose length is known only now.
                for citation in citations {
                    out.push_back(ChatEvent::Citation(Citation { end: length, ..citation }));
                }
                self.parts.close_flow(out);
            }
            What::Thinking { part, signature } => {
                if !signature.is_empty() {
                    out.push_back(ChatEvent::ReasoningState { part, state: signature.into() });
                }
                self.parts.close_flow(out);
            }
            What::Tool { part, has_arguments } => {
                if !has_arguments {
                    out.push_back(ChatEvent::ToolArguments { part, json: "{}".to_owned() });
                }
                self.parts.close_tool(part, out);
            }
        }
    }

    fn garbled(&self, error: &serde_json::Error) -> Error {
        crate::dialect::failure::garbled(&self.cx, error)
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: &sse::Event, out: &mut Queue) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        let json = event.data.trim_ascii();
        if json.is_empty() {
            return Ok(());
        }
        let event: Event<'_> = text::read(json).map_err(|e| self.garbled(&e))?;
        match (&*event.kind, event.index.unwrap_or(0)) {
            ("message_start", _) => {
                if let Some(message) = event.message {
                    self.start(*message, out);
                }
            }
            ("content_block_start", index) => {
                if let Some(block) = event.content_block {
                    self.open(index, *block, out);
                }
            }
            ("content_block_delta", index) => {
                if let Some(delta) = event.delta {
                    self.grow(index, delta, out);
                }
            }
            ("content_block_stop", index) => self.close(index, out),
            ("message_delta", _) => {
                if let Some(reason) = event.delta.and_then(|delta| delta.stop_reason) {
                    self.native = Some(reason.into_string());
                }
                if let Some(usage) = event.usage {
                    self.count(usage, out);
                }
            }
            ("message_stop", _) => {
                self.ended = true;
                return self.end(out);
            }
            ("error", _) => return Err(of_event(&self.cx, json)),
            _ => {}
        }
        Ok(())
    }

    fn whole(&mut self, body: &[u8], out: &mut Queue) -> Result<()> {
        let message: Message<'_> = text::read(body).map_err(|e| self.garbled(&e))?;
        if message.kind.as_deref() == Some("error") {
            return Err(of_event(&self.cx, body));
        }
        let Some(content) = message.content else {
            return Err(crate::dialect::failure::no_answer(&self.cx));
        };
        self.native = message.stop_reason.map(Text::into_string);
        self.start(
            Message { model: message.model, usage: message.usage, ..Message::default() },
            out,
        );
        for (index, block) in (0..).zip(content) {
            self.open(index, block, out);
            self.close(index, out);
        }
        self.ended = true;
        Ok(())
    }

    fn end(&mut self, out: &mut Queue) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        if !self.ended {
            return Err(crate::dialect::failure::cut(&self.cx));
        }
        self.finished = true;
        self.parts.close_all(out);
        let native = self.native.take().unwrap_or_default();
        out.push_back(ChatEvent::Finished { reason: reason(&native, self.has_tools), native });
        Ok(())
    }
}

fn reason(native: &str, has_tools: bool) -> FinishReason {
    match native {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        "" if has_tools => FinishReason::ToolCalls,
        "" => FinishReason::Stop,
        _ => FinishReason::Other,
    }
}

// --- wire ---

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    index: Option<u32>,
    // Apart, because they are large and few: most events are a small delta.
    #[serde(borrow, default)]
    message: Option<Box<Message<'a>>>,
    #[serde(borrow, default)]
    content_block: Option<Box<Block<'a>>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Default, Deserialize)]
struct Message<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Option<Vec<Block<'a>>>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    citations: Option<Vec<WireCitation<'a>>>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    /// Absent in `message_delta`.
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    citation: Option<WireCitation<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
}

impl Delta<'_> {
    fn of(kind: &'static str) -> Self {
        Self { kind: Text(kind.into()), ..Self::default() }
    }
}

#[derive(Deserialize)]
struct WireCitation<'a> {
    #[serde(borrow, default)]
    cited_text: Option<Text<'a>>,
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
    #[serde(borrow, default)]
    document_title: Option<Text<'a>>,
}

impl WireCitation<'_> {
    fn at(self, part: u32) -> Citation {
        let text = |text: Option<Text<'_>>| text.map(Text::into_string).unwrap_or_default();
        Citation {
            part,
            uri: text(self.url),
            title: text(self.title.or(self.document_title)),
            cited_text: text(self.cited_text),
            ..Citation::default()
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
struct Usage {
    #[serde(default)]
    input_tokens: Option<i64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<i64>,
    #[serde(default)]
    cache_read_input_tokens: Option<i64>,
    #[serde(default)]
    output_tokens: Option<i64>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    thinking_tokens: Option<i64>,
}

impl Usage {
    fn merge(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens =
            later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens =
            later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
    }

    /// `input_tokens` of this wire leaves the cache out.
    fn total(&self) -> TokenUsage {
        let written = self.cache_creation_input_tokens;
        let read = self.cache_read_input_tokens;
        TokenUsage {
            input: self.input_tokens.unwrap_or(0) + written.unwrap_or(0) + read.unwrap_or(0),
            cached_input: read,
            cache_write: written,
            output: self.output_tokens.unwrap_or(0),
            reasoning: self.output_tokens_details.and_then(|details| details.thinking_tokens),
            ..TokenUsage::default()
        }
    }
}
