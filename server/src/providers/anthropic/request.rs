//! Builds the body of a message call.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use mediary_domain::{
    ChatCall, Error, Image, Message, Part, Reasoning, ResponseFormat, Result, Role, TextParameters,
    ToolChoice, ToolResult,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    dialect::{
        options::{with_options, written},
        said::system,
    },
    provider::CallContext,
};

/// The limit is mandatory on this wire; this one where neither caller nor row names one.
const DEFAULT_MAX_TOKENS: i64 = 4_096;
/// The least that may be thought with.
const LEAST_BUDGET: i64 = 1_024;
/// Reasoning state of a redacted block begins with this, so that it goes back as one.
pub const REDACTED: &[u8] = b"redacted:";

pub fn body(cx: &CallContext, call: &ChatCall) -> Result<Vec<u8>> {
    let parameters = &call.parameters;
    let thinking = thinking(parameters);
    let asked = parameters.max_output_tokens.or(cx.model.max_output_tokens);
    let mut max_tokens = asked.unwrap_or(DEFAULT_MAX_TOKENS);
    if let Some(Thinking::Enabled { budget_tokens }) = thinking {
        max_tokens = max_tokens.max(budget_tokens + 1);
    }
    let effort = parameters.reasoning.as_ref().and_then(|one| one.effort.as_deref());
    let body = Body {
        model: &cx.model.provider_model_id,
        max_tokens,
        system: system(&call.messages),
        messages: messages(cx, &call.messages)?,
        stream: cx.model.streams(),
        temperature: parameters.temperature,
        top_p: parameters.top_p,
        top_k: parameters.top_k,
        stop_sequences: &parameters.stop,
        thinking,
        output_config: output_config(effort, &parameters.response_format)?,
        tools: tools(parameters)?,
        tool_choice: tool_choice(parameters),
    };
    with_options(&body, &cx.provider.id, parameters)
}

/// The same question, to be counted rather than answered: what only shapes the answer is refused.
pub fn count_body(cx: &CallContext, call: &ChatCall) -> Result<Vec<u8>> {
    let parameters = &call.parameters;
    let effort = parameters.reasoning.as_ref().and_then(|one| one.effort.as_deref());
    let body = CountBody {
        model: &cx.model.provider_model_id,
        system: system(&call.messages),
        messages: messages(cx, &call.messages)?,
        thinking: thinking(parameters),
        output_config: output_config(effort, &parameters.response_format)?,
        tools: tools(parameters)?,
        tool_choice: tool_choice(parameters),
    };
    written(&body)
}

/// Turns alternate on this wire: neighbours of the same role become one message, and results of
/// tools belong to the user.
fn messages<'a>(cx: &CallContext, messages: &'a [Message]) -> Result<Vec<WireMessage<'a>>> {
    let mut wire: Vec<WireMessage<'_>> = Vec::new();
    for message in messages {
        let role = match message.role {
            Role::System => continue,
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        let mut blocks = Vec::with_capacity(message.parts.len());
        for part in &message.parts {
            blocks.extend(block(cx, part)?);
        }
        match wire.last_mut() {
            Some(last) if last.role == role => last.content.append(&mut blocks),
            _ => wire.push(WireMessage { role, content: blocks }),
        }
    }
    wire.retain(|message| !message.content.is_empty());
    Ok(wire)
}

fn block<'a>(cx: &CallContext, part: &'a Part) -> Result<Option<Block<'a>>> {
    Ok(match part {
        Part::Text(text) if text.is_empty() => None,
        Part::Text(text) => Some(Block::Text { text }),
        Part::Image(one) => Some(image(one)),
        Part::ToolCall(call) => Some(Block::ToolUse {
            id: &call.call_id,
            name: &call.tool_name,
            input: raw_object(&call.arguments_json)?,
        }),
        Part::ToolResult(result) => Some(tool_result(result)),
        Part::Reasoning(reasoning) => thought(cx, reasoning),
    })
}

fn image(image: &Image) -> Block<'_> {
    Block::Image {
        source: Source::Base64 {
            media_type: &image.media_type,
            data: BASE64.encode(&image.content),
        },
    }
}

fn tool_result(result: &ToolResult) -> Block<'_> {
    let content = result.parts.iter().filter_map(|part| match part {
        Part::Text(text) if !text.is_empty() => Some(Block::Text { text }),
        Part::Image(one) => Some(image(one)),
        _ => None,
    });
    Block::ToolResult {
        tool_use_id: &result.call_id,
        content: content.collect(),
        is_error: result.is_error,
    }
}

/// Thinking goes back unchanged and only with its signature; without one it would be refused.
fn thought<'a>(cx: &CallContext, reasoning: &'a Reasoning) -> Option<Block<'a>> {
    if reasoning.provider != cx.provider.id || reasoning.opaque_state.is_empty() {
        return None;
    }
    let state = std::str::from_utf8(&reasoning.opaque_state).ok()?;
    Some(match reasoning.opaque_state.strip_prefix(REDACTED) {
        Some(data) => Block::RedactedThinking { data: std::str::from_utf8(data).ok()? },
        None => Block::Thinking { thinking: &reasoning.text, signature: state },
    })
}

fn thinking(parameters: &TextParameters) -> Option<Thinking> {
    let reasoning = parameters.reasoning.as_ref()?;
    match reasoning.budget_tokens {
        Some(0) => Some(Thinking::Disabled),
        Some(budget) => Some(Thinking::Enabled { budget_tokens: budget.max(LEAST_BUDGET) }),
        None if reasoning.effort.as_deref() == Some("none") => Some(Thinking::Disabled),
        None if reasoning.effort.is_some() => Some(Thinking::Adaptive {
            display: if reasoning.include { "summarized" } else { "omitted" },
        }),
        None => None,
    }
}

fn output_config<'a>(
    effort: Option<&'a str>,
    format: &'a ResponseFormat,
) -> Result<Option<OutputConfig<'a>>> {
    let format = match format {
        ResponseFormat::JsonSchema { schema_json, .. } => {
            Some(WireFormat { kind: "json_schema", schema: raw_object(schema_json)? })
        }
        ResponseFormat::Text | ResponseFormat::Json => None,
    };
    let effort = effort.filter(|word| *word != "none");
    Ok((format.is_some() || effort.is_some()).then_some(OutputConfig { effort, format }))
}

fn tools(parameters: &TextParameters) -> Result<Vec<WireTool<'_>>> {
    let tools = parameters.tools.iter().map(|tool| {
        let schema = match tool.parameters_schema_json.as_str() {
            "" => r#"{"type":"object"}"#,
            schema => schema,
        };
        Ok(WireTool {
            name: &tool.tool_name,
            description: &tool.description,
            input_schema: raw_object(schema)?,
            strict: tool.strict,
        })
    });
    tools.collect()
}

fn tool_choice(parameters: &TextParameters) -> Option<WireToolChoice<'_>> {
    let one_at_a_time = parameters.parallel_tool_calls == Some(false);
    let disable_parallel_tool_use = one_at_a_time.then_some(true);
    match &parameters.tool_choice {
        ToolChoice::Auto if parameters.tools.is_empty() || !one_at_a_time => None,
        ToolChoice::Auto => {
            Some(WireToolChoice { kind: "auto", name: None, disable_parallel_tool_use })
        }
        ToolChoice::None => {
            Some(WireToolChoice { kind: "none", name: None, disable_parallel_tool_use: None })
        }
        ToolChoice::Required => {
            Some(WireToolChoice { kind: "any", name: None, disable_parallel_tool_use })
        }
        ToolChoice::Tool(name) => {
            Some(WireToolChoice { kind: "tool", name: Some(name), disable_parallel_tool_use })
        }
    }
}

/// JSON that was checked at the door, passed on as it was written.
fn raw_object(json: &str) -> Result<Cow<'_, RawValue>> {
    let json = if json.is_empty() { "{}" } else { json };
    serde_json::from_str::<&RawValue>(json)
        .map(Cow::Borrowed)
        .map_err(|_| Error::bug("unchecked JSON reached a wire"))
}

// --- wire ---

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<i64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WireToolChoice<'a>>,
}

#[derive(Serialize)]
struct CountBody<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WireToolChoice<'a>>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: &'a str,
    },
    Image {
        source: Source<'a>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Cow<'a, RawValue>,
    },
    ToolResult {
        tool_use_id: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source<'a> {
    Base64 { media_type: &'a str, data: String },
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Thinking {
    Enabled { budget_tokens: i64 },
    Adaptive { display: &'static str },
    Disabled,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<WireFormat<'a>>,
}

#[derive(Serialize)]
struct WireFormat<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: Cow<'a, RawValue>,
}

#[derive(Serialize)]
struct WireTool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    input_schema: Cow<'a, RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
}

#[derive(Serialize)]
struct WireToolChoice<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_parallel_tool_use: Option<bool>,
}
