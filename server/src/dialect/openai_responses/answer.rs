//! Reads a response: items as they grow, or the whole object.

use bytes::Bytes;
use mediary_domain::{ChatEvent, Citation, Error, FinishReason, PartKind, Result, TokenUsage};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    dialect::{
        failure::{cut, garbled, no_answer},
        openai::{failure, usage::Usage},
        parts::{Parts, Queue},
        sse,
        text::Text,
        wire_stream::Decode,
    },
    provider::CallContext,
};

pub struct Decoder {
    cx: CallContext,
    parts: Parts,
    /// Pieces that have said something, the one that flows last.
    spoken: Vec<Piece>,
    tools: Vec<Tool>,
    /// Items that are complete, by index.
    done: Vec<u32>,
    refused: bool,
    model_named: bool,
    finished: bool,
}

/// What a delta belongs to: the index of its item, and which part of that.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Piece {
    item: u32,
    kind: PieceKind,
    index: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PieceKind {
    Text,
    Summary,
    Thought,
}

struct Tool {
    item: u32,
    part: u32,
    has_arguments: bool,
}

impl Decoder {
    pub fn new(cx: CallContext) -> Self {
        Self {
            cx,
            parts: Parts::default(),
            spoken: Vec::new(),
            tools: Vec::new(),
            done: Vec::new(),
            refused: false,
            model_named: false,
            finished: false,
        }
    }

    fn read(&mut self, json: &[u8], out: &mut Queue) -> Result<()> {
        let event: Event<'_> = serde_json::from_slice(json).map_err(|e| garbled(&self.cx, &e))?;
        let item = event.output_index.unwrap_or(0);
        let of = |kind, index: Option<u32>| Piece { item, kind, index: index.unwrap_or(0) };
        match &*event.kind {
            "response.output_text.delta" => {
                let text = self.said(event.delta)?;
                self.grow(of(PieceKind::Text, event.content_index), text, out);
            }
            "response.reasoning_summary_text.delta" => {
                let text = self.said(event.delta)?;
                self.grow(of(PieceKind::Summary, event.summary_index), text, out);
            }
            "response.reasoning_text.delta" | "response.reasoning.delta" => {
                let text = self.said(event.delta)?;
                self.grow(of(PieceKind::Thought, event.content_index), text, out);
            }
            "response.refusal.delta" => {
                let words = self.said(event.delta)?;
                self.refuse(words, out);
            }
            "response.output_text.annotation.added" => {
                if let Some(annotation) = event.annotation.and_then(parse::<Annotation<'_>>) {
                    self.cite(annotation, out);
                }
            }
            "response.output_item.added" => {
                if let Some(one) = event.item.and_then(parse::<Item<'_>>)
                    && one.kind.as_deref() == Some("function_call")
                {
                    self.open_tool(item, one, out);
                }
            }
            "response.function_call_arguments.delta" => {
                let piece = self.said(event.delta)?;
                self.arguments(item, piece, out);
            }
            "response.output_item.done" => {
                if let Some(one) = event.item.and_then(parse::<Item<'_>>) {
                    self.complete(item, one, out);
                }
            }
            "error" => return Err(failure::of_event(&self.cx, json)),
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => {
                let response = event.response.ok_or_else(|| no_answer(&self.cx))?;
                return self.end_with(response, out);
            }
            // Its beginning tells the model. A refusal under status 200 has no type at all.
            "" => return Err(failure::of_event(&self.cx, json)),
            _ => {
                if let Some(started) = event.response.and_then(parse::<Started<'_>>) {
                    self.name_model(started.model, out);
                }
            }
        }
        Ok(())
    }

    /// The words of a delta. A text that cannot be read is no text that may be left out; what is no
    /// text at all says nothing.
    fn said(&self, delta: Option<&RawValue>) -> Result<String> {
        match delta.map(RawValue::get) {
            Some(json) if json.starts_with('"') => serde_json::from_str::<Text<'_>>(json)
                .map(Text::into_string)
                .map_err(|error| garbled(&self.cx, &error)),
            _ => Ok(String::new()),
        }
    }

    fn name_model(&mut self, model: Option<Text<'_>>, out: &mut Queue) {
        if let Some(model) = model.filter(|model| !self.model_named && !model.is_empty()) {
            self.model_named = true;
            out.push_back(ChatEvent::Model(model.into_string()));
        }
    }

    /// Each piece is a part of its own.
    fn grow(&mut self, piece: Piece, text: String, out: &mut Queue) {
        if text.is_empty() {
            return;
        }
        if self.spoken.last() != Some(&piece) {
            self.parts.close_flow(out);
            self.spoken.push(piece);
        }
        match piece.kind {
            PieceKind::Text => self.parts.text(text, out),
            PieceKind::Summary | PieceKind::Thought => self.parts.reasoning(text, out),
        }
    }

    /// What was not said in pieces is said at once.
    fn say(&mut self, piece: Piece, text: Option<Text<'_>>, out: &mut Queue) -> bool {
        let is_new = !self.spoken.contains(&piece);
        if is_new {
            self.grow(piece, text.map(Text::into_string).unwrap_or_default(), out);
        }
        is_new
    }

    fn refuse(&mut self, text: String, out: &mut Queue) {
        if !text.is_empty() {
            self.refused = true;
            out.push_back(ChatEvent::Refusal(text));
        }
    }

    fn cite(&self, annotation: Annotation<'_>, out: &mut Queue) {
        let text = |text: Option<Text<'_>>| text.map(Text::into_string).unwrap_or_default();
        let Some(part) = self.parts.last_text() else { return };
        if annotation.url.is_none() && annotation.filename.is_none() {
            return;
        }
        out.push_back(ChatEvent::Citation(Citation {
            part,
            start: annotation.start_index.unwrap_or(0),
            end: annotation.end_index.unwrap_or(0),
            uri: text(annotation.url),
            title: text(annotation.title.or(annotation.filename)),
            cited_text: String::new(),
        }));
    }

    fn open_tool(&mut self, item: u32, call: Item<'_>, out: &mut Queue) -> usize {
        self.parts.close_flow(out);
        let id = call.call_id.or(call.id).filter(|id| !id.is_empty());
        let id = id.map_or_else(|| format!("call_{}", self.tools.len()), Text::into_string);
        let name = call.name.map(Text::into_string).unwrap_or_default();
        let part = self.parts.open_tool(id, name, out);
        self.tools.push(Tool { item, part, has_arguments: false });
        self.tools.len() - 1
    }

    fn arguments(&mut self, item: u32, json: String, out: &mut Queue) {
        let Some(tool) = self.tools.iter_mut().rfind(|tool| tool.item == item) else { return };
        if !json.is_empty() {
            tool.has_arguments = true;
            out.push_back(ChatEvent::ToolArguments { part: tool.part, json });
        }
    }

    fn complete(&mut self, at: u32, mut item: Item<'_>, out: &mut Queue) {
        if self.done.contains(&at) {
            return;
        }
        match item.kind.as_deref() {
            Some("message") => self.complete_message(at, item, out),
            Some("reasoning") => self.complete_thought(at, item, out),
            Some("function_call") => {
                let arguments = item.arguments.take().map(Text::into_string);
                let known = self.tools.iter().position(|tool| tool.item == at);
                let index = known.unwrap_or_else(|| self.open_tool(at, item, out));
                if !self.tools[index].has_arguments {
                    self.arguments(at, arguments.unwrap_or_default(), out);
                }
                self.parts.close_tool(self.tools[index].part, out);
            }
            // What the vendor's own tools did, and items that are not known yet.
            _ => {}
        }
        self.done.push(at);
    }

    fn complete_message(&mut self, at: u32, item: Item<'_>, out: &mut Queue) {
        let was_silent = !self.refused;
        for (index, part) in (0..).zip(item.content.unwrap_or_default()) {
            let piece = Piece { item: at, kind: PieceKind::Text, index };
            if self.say(piece, part.text, out) {
                for annotation in part.annotations.unwrap_or_default() {
                    self.cite(annotation, out);
                }
            }
            if let Some(refusal) = part.refusal.filter(|_| was_silent) {
                self.refuse(refusal.into_string(), out);
            }
        }
        self.parts.close_flow(out);
    }

    /// The seal belongs to the whole item: its last part carries it.
    fn complete_thought(&mut self, at: u32, item: Item<'_>, out: &mut Queue) {
        for (kind, parts) in
            [(PieceKind::Summary, item.summary), (PieceKind::Thought, item.content)]
        {
            for (index, part) in (0..).zip(parts.unwrap_or_default()) {
                self.say(Piece { item: at, kind, index }, part.text, out);
            }
        }
        if let Some(seal) = item.encrypted_content.filter(|seal| !seal.is_empty()) {
            if self.spoken.last().is_none_or(|piece| piece.item != at) {
                self.parts.close_flow(out);
            }
            let part = self.parts.flow(PartKind::Reasoning, out);
            let state = Bytes::from(seal.into_string());
            out.push_back(ChatEvent::ReasoningState { part, state });
        }
        self.parts.close_flow(out);
    }

    /// The whole object: the end of a stream, or all there is.
    fn end_with(&mut self, json: &RawValue, out: &mut Queue) -> Result<()> {
        let response: Response<'_> =
            serde_json::from_str(json.get()).map_err(|error| garbled(&self.cx, &error))?;
        let usage = response.usage.map(Usage::total);
        let tell = |usage: Option<TokenUsage>, out: &mut Queue| {
            out.extend(usage.map(ChatEvent::Usage));
        };
        let otherwise = [response.detail, response.message];
        let is_failed = response.status.as_deref() == Some("failed");
        if is_failed || failure::says_no(response.error, otherwise, response.output.is_some()) {
            tell(usage, out);
            return Err(failure::of_event(&self.cx, json.get().as_bytes()));
        }
        self.name_model(response.model, out);
        let Some(items) = response.output else { return Err(no_answer(&self.cx)) };
        if self.spoken.is_empty() && self.tools.is_empty() {
            for (at, item) in (0..).zip(items) {
                self.complete(at, item, out);
            }
        }
        let reason = response.incomplete_details.and_then(|details| details.reason);
        let native = match (response.status.as_deref(), reason) {
            (Some("queued" | "in_progress"), _) => return Err(no_answer(&self.cx)),
            (Some("cancelled"), _) => {
                tell(usage, out);
                return Err(interrupted(&self.cx));
            }
            (_, Some(reason)) => reason.into_string(),
            (Some(status), None) => status.to_owned(),
            (None, None) => String::new(),
        };
        self.finished = true;
        self.parts.close_all(out);
        tell(usage, out);
        let reason = reason_of(&native, !self.tools.is_empty());
        out.push_back(ChatEvent::Finished { reason, native });
        Ok(())
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: &sse::Event, out: &mut Queue) -> Result<()> {
        match event.data.trim_ascii() {
            _ if self.finished => Ok(()),
            // Routers end with it (OpenRouter), OpenAI does not.
            b"" | b"[DONE]" => Ok(()),
            json => self.read(json, out),
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Queue) -> Result<()> {
        let json = serde_json::from_slice(body).map_err(|error| garbled(&self.cx, &error))?;
        self.end_with(json, out)
    }

    fn end(&mut self, _: &mut Queue) -> Result<()> {
        if self.finished { Ok(()) } else { Err(cut(&self.cx)) }
    }
}

fn interrupted(cx: &CallContext) -> Error {
    failure::interrupted(cx, "cancelled", failure::Interrupted::Failed)
}

fn reason_of(native: &str, has_tools: bool) -> FinishReason {
    match native {
        "max_output_tokens" | "max_tokens" | "length" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        "completed" | "" if has_tools => FinishReason::ToolCalls,
        "completed" | "" => FinishReason::Stop,
        _ => FinishReason::Other,
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a RawValue) -> Option<T> {
    serde_json::from_str(json.get()).ok()
}

// --- wire ---

/// Fields whose shape depends on the type are read once the type is known: an event of a type that
/// is not known yet must not fail.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Text<'a>,
    #[serde(default)]
    output_index: Option<u32>,
    #[serde(default)]
    content_index: Option<u32>,
    #[serde(default)]
    summary_index: Option<u32>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Started<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    status: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    output: Option<Vec<Item<'a>>>,
    #[serde(borrow, default)]
    incomplete_details: Option<Incomplete<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    call_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    arguments: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    content: Option<Vec<ContentPart<'a>>>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    summary: Option<Vec<ContentPart<'a>>>,
    #[serde(borrow, default)]
    encrypted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct ContentPart<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    annotations: Option<Vec<Annotation<'a>>>,
}

#[derive(Deserialize)]
struct Annotation<'a> {
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
    #[serde(borrow, default)]
    filename: Option<Text<'a>>,
    #[serde(default)]
    start_index: Option<i64>,
    #[serde(default)]
    end_index: Option<i64>,
}

/// Items of the vendor's own tools use the same names for other things.
fn lenient<'de: 'a, 'a, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'a>,
{
    let json = <&'a RawValue>::deserialize(from)?;
    Ok(parse(json))
}
