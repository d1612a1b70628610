//! Builds the body of a chat.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use mediary_domain::{
    ChatCall, Image, Message, Part, ResponseFormat, Result, Role, TextParameters, ToolChoice,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    dialect::{
        functions::WireTool,
        options::with_deep_options,
        said::{joined_text, raw},
    },
    provider::CallContext,
};

pub fn body(cx: &CallContext, call: &ChatCall) -> Result<Vec<u8>> {
    let parameters = &call.parameters;
    // There is no "call none": what is not there cannot be called.
    let tools = match parameters.tool_choice {
        ToolChoice::None => &[],
        _ => parameters.tools.as_slice(),
    };
    let body = Body {
        model: &cx.model.provider_model_id,
        messages: messages(cx, &call.messages)?,
        // Left out, it means true.
        stream: cx.model.streams(),
        tools: tools
            .iter()
            .map(|tool| Ok(WireTool::of(tool)?.without_strict()))
            .collect::<Result<_>>()?,
        format: format(&parameters.response_format)?,
        think: think(parameters),
        options: options(parameters),
    };
    with_deep_options(&body, &cx.provider.id, parameters)
}

fn messages<'a>(cx: &CallContext, messages: &'a [Message]) -> Result<Vec<WireMessage<'a>>> {
    let mut wire = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        match message.role {
            Role::System => wire.push(said("system", &message.parts)),
            Role::User => wire.push(said("user", &message.parts)),
            Role::Assistant => wire.push(WireMessage {
                thinking: own_thinking(cx, &message.parts),
                tool_calls: tool_calls(&message.parts)?,
                ..said("assistant", &message.parts)
            }),
            Role::Tool => {}
        }
        for part in &message.parts {
            if let Part::ToolResult(result) = part {
                wire.push(WireMessage {
                    tool_name: tool_name(&messages[..at], &result.call_id),
                    tool_call_id: Some(&result.call_id),
                    ..said("tool", &result.parts)
                });
            }
        }
    }
    wire.retain(|one| one.role != "user" || !one.content.is_empty() || !one.images.is_empty());
    Ok(wire)
}

fn said<'a>(role: &'static str, parts: &'a [Part]) -> WireMessage<'a> {
    let images = parts.iter().filter_map(|part| match part {
        Part::Image(Image { content, .. }) => Some(BASE64.encode(content)),
        _ => None,
    });
    WireMessage {
        role,
        content: joined_text(parts),
        images: images.collect(),
        ..WireMessage::default()
    }
}

/// Results are told apart by the name of their tool; the id is for new versions.
fn tool_name<'a>(before: &'a [Message], call_id: &str) -> Option<&'a str> {
    let calls = before.iter().rev().flat_map(|message| &message.parts);
    let mut names = calls.filter_map(|part| match part {
        Part::ToolCall(call) if call.call_id == call_id => Some(call.tool_name.as_str()),
        _ => None,
    });
    names.next()
}

fn tool_calls(parts: &[Part]) -> Result<Vec<WireToolCall<'_>>> {
    let calls = parts.iter().filter_map(|part| match part {
        Part::ToolCall(call) => Some(call),
        _ => None,
    });
    calls
        .map(|call| {
            let arguments = raw(&call.arguments_json)?;
            let function = WireFunction { name: &call.tool_name, arguments };
            Ok(WireToolCall { id: &call.call_id, function })
        })
        .collect()
}

/// Thinking goes back only to the provider that wrote it.
fn own_thinking(cx: &CallContext, parts: &[Part]) -> String {
    let own = parts.iter().filter_map(|part| match part {
        Part::Reasoning(one) if one.provider == cx.provider.id => Some(one.text.as_str()),
        _ => None,
    });
    own.collect()
}

fn format(format: &ResponseFormat) -> Result<Option<Format<'_>>> {
    Ok(match format {
        ResponseFormat::Text => None,
        ResponseFormat::Json => Some(Format::Word("json")),
        ResponseFormat::JsonSchema { schema_json, .. } => raw(schema_json)?.map(Format::Schema),
    })
}

fn think(parameters: &TextParameters) -> Option<Think> {
    let reasoning = parameters.reasoning.as_ref()?;
    match (reasoning.effort.as_deref(), reasoning.budget_tokens) {
        (Some("none"), _) | (None, Some(0)) => Some(Think::Switch(false)),
        (Some("minimal" | "low"), _) => Some(Think::Word("low")),
        (Some("medium"), _) => Some(Think::Word("medium")),
        (Some("high"), _) => Some(Think::Word("high")),
        (Some("xhigh" | "max"), _) => Some(Think::Word("max")),
        (Some(_), _) | (None, Some(_)) => Some(Think::Switch(true)),
        (None, None) => None,
    }
}

fn options(parameters: &TextParameters) -> Options<'_> {
    Options {
        num_predict: parameters.max_output_tokens,
        temperature: parameters.temperature,
        top_p: parameters.top_p,
        top_k: parameters.top_k,
        seed: parameters.seed,
        frequency_penalty: parameters.frequency_penalty,
        presence_penalty: parameters.presence_penalty,
        stop: &parameters.stop,
    }
}

// --- wire ---

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Think>,
    options: Options<'a>,
}

#[derive(Default, Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireToolCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
struct WireToolCall<'a> {
    id: &'a str,
    function: WireFunction<'a>,
}

/// Arguments are an object here, not the text of one.
#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    arguments: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Format<'a> {
    Word(&'static str),
    Schema(&'a RawValue),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Think {
    Switch(bool),
    Word(&'static str),
}

#[derive(Serialize)]
struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
}
