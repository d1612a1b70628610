//! Reads an answer: one object, or lines of which the last one says that it is.

use mediary_domain::{ChatEvent, FinishReason, Result, TokenUsage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::of_line;
use crate::{
    dialect::{
        failure::{cut, garbled, no_answer},
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
    tools: usize,
    model_named: bool,
    finished: bool,
}

impl Decoder {
    pub fn new(cx: CallContext) -> Self {
        Self { cx, parts: Parts::default(), tools: 0, model_named: false, finished: false }
    }

    fn line(&mut self, line: Line<'_>, out: &mut Queue) {
        if let Some(model) = line.model.filter(|model| !self.model_named && !model.is_empty()) {
            self.model_named = true;
            out.push_back(ChatEvent::Model(model.into_string()));
        }
        let message = line.message.unwrap_or_default();
        for thinking in [message.thinking, line.thinking].into_iter().flatten() {
            self.parts.reasoning(thinking.into_string(), out);
        }
        for text in [message.content, line.response].into_iter().flatten() {
            self.parts.text(text.into_string(), out);
        }
        for call in message.tool_calls.unwrap_or_default() {
            self.tool_call(call, out);
        }
        if line.done.unwrap_or(false) {
            let usage = line.eval_count.or(line.prompt_eval_count).map(|_| TokenUsage {
                input: line.prompt_eval_count.unwrap_or(0),
                output: line.eval_count.unwrap_or(0),
                ..TokenUsage::default()
            });
            self.finish(usage, line.done_reason, out);
        }
    }

    /// A call comes whole; old versions give it no id.
    fn tool_call(&mut self, call: ToolCall<'_>, out: &mut Queue) {
        let Some(function) = call.function else { return };
        self.parts.close_flow(out);
        let id = call.id.filter(|id| !id.is_empty());
        let id = id.map_or_else(|| format!("call_{}", self.tools), Text::into_string);
        let name = function.name.map(Text::into_string).unwrap_or_default();
        self.tools += 1;
        let part = self.parts.open_tool(id, name, out);
        let json = function.arguments.map_or("{}", RawValue::get).to_owned();
        out.push_back(ChatEvent::ToolArguments { part, json });
        self.parts.close_tool(part, out);
    }

    fn finish(&mut self, usage: Option<TokenUsage>, native: Option<Text<'_>>, out: &mut Queue) {
        self.finished = true;
        self.parts.close_all(out);
        out.extend(usage.map(ChatEvent::Usage));
        let native = native.map(Text::into_string).unwrap_or_default();
        let reason = match native.as_str() {
            "length" => FinishReason::Length,
            // "stop", also where tools are called; "load" and "unload" of an empty question.
            _ if self.tools > 0 => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        };
        out.push_back(ChatEvent::Finished { reason, native });
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: &sse::Event, out: &mut Queue) -> Result<()> {
        let json = event.data.trim_ascii();
        if self.finished || json.is_empty() {
            return Ok(());
        }
        let line: Line<'_> =
            serde_json::from_slice(json).map_err(|error| garbled(&self.cx, &error))?;
        if line.error.is_some() {
            return Err(of_line(&self.cx, json));
        }
        self.line(line, out);
        Ok(())
    }

    /// A proxy may have renamed the lines to one JSON value.
    fn whole(&mut self, body: &[u8], out: &mut Queue) -> Result<()> {
        for one in serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>() {
            let json = one.map_err(|error| garbled(&self.cx, &error))?.get();
            let line: Line<'_> =
                serde_json::from_str(json).map_err(|error| garbled(&self.cx, &error))?;
            if line.error.is_some() {
                return Err(of_line(&self.cx, json.as_bytes()));
            }
            if line.message.is_none() && line.response.is_none() && line.done.is_none() {
                return Err(no_answer(&self.cx));
            }
            self.line(line, out);
        }
        Ok(())
    }

    fn end(&mut self, _: &mut Queue) -> Result<()> {
        if self.finished { Ok(()) } else { Err(cut(&self.cx)) }
    }
}

// --- wire ---

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    /// What `/api/generate` calls the text, and servers made after it.
    #[serde(borrow, default)]
    response: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(default)]
    done: Option<bool>,
    #[serde(borrow, default)]
    done_reason: Option<Text<'a>>,
    /// Absent where the whole prompt was cached, in old versions.
    #[serde(default)]
    prompt_eval_count: Option<i64>,
    #[serde(default)]
    eval_count: Option<i64>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
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
