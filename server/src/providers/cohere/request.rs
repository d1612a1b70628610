//! Builds the body of a chat call.

use std::borrow::Cow;

use mediary_domain::{
    ChatCall, Error, Image, Kind, Message, Part, ReasoningOptions, ResponseFormat, Result, Role,
    TextParameters, ToolChoice, ToolResult,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::PLAN;
use crate::{
    dialect::{
        effort,
        functions::{WireTool, WireToolCall},
        options::with_options,
        said::{ImageUrl, joined_text, raw},
    },
    provider::CallContext,
};

pub fn body(cx: &CallContext, call: &ChatCall) -> Result<Vec<u8>> {
    let parameters = &call.parameters;
    let body = Body {
        model: &cx.model.provider_model_id,
        messages: messages(cx, &call.messages)?,
        stream: cx.model.streams(),
        max_tokens: parameters.max_output_tokens,
        temperature: parameters.temperature,
        // Cohere takes no more than this, which leaves out next to nothing.
        p: parameters.top_p.map(|p| p.clamp(0.01, 0.99)),
        k: parameters.top_k,
        seed: parameters.seed,
        frequency_penalty: parameters.frequency_penalty,
        presence_penalty: parameters.presence_penalty,
        stop_sequences: &parameters.stop,
        thinking: parameters.reasoning.as_ref().and_then(thinking),
        response_format: response_format(&parameters.response_format)?,
        tools: tools(parameters)?,
        tool_choice: match &parameters.tool_choice {
            ToolChoice::Auto => None,
            ToolChoice::None if parameters.tools.is_empty() => None,
            ToolChoice::None => Some("NONE"),
            ToolChoice::Required | ToolChoice::Tool(_) => Some("REQUIRED"),
        },
        strict_tools: parameters.tools.iter().any(|tool| tool.strict),
    };
    with_options(&body, &cx.provider.id, parameters)
}

fn messages<'a>(cx: &CallContext, messages: &'a [Message]) -> Result<Vec<WireMessage<'a>>> {
    let mut wire = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        match message.role {
            Role::System => wire.push(WireMessage::of("system", heard(&message.parts))),
            Role::User => wire.push(WireMessage::of("user", heard(&message.parts))),
            Role::Assistant => wire.push(spoken(cx, &message.parts)),
            Role::Tool => {
                for (at, part) in message.parts.iter().enumerate() {
                    if let Part::ToolResult(result) = part {
                        wire.push(tool_result(result, index, at)?);
                    }
                }
            }
        }
    }
    wire.retain(|message| message.content.is_some() || !message.tool_calls.is_empty());
    Ok(wire)
}

/// A string where text is all there is, else a list of parts.
fn heard(parts: &[Part]) -> Option<Content<'_>> {
    if !parts.iter().any(|part| matches!(part, Part::Image(_))) {
        return Some(Content::Text(joined_text(parts)));
    }
    let blocks = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(Block::Text { text: text.as_str().into() }),
        Part::Image(image) => Some(Block::of_image(image)),
        _ => None,
    });
    Some(Content::Blocks(blocks.collect()))
}

/// Plans and thoughts go back only to the provider that wrote them.
fn spoken<'a>(cx: &CallContext, parts: &'a [Part]) -> WireMessage<'a> {
    let mut wire = WireMessage::of("assistant", None);
    let mut thoughts = String::new();
    for part in parts {
        match part {
            Part::ToolCall(call) => wire.tool_calls.push(WireToolCall::new(
                call.call_id.as_str().into(),
                &call.tool_name,
                &call.arguments_json,
            )),
            Part::Reasoning(one) if one.provider == cx.provider.id => {
                match one.opaque_state.strip_prefix(PLAN.as_bytes()).map(std::str::from_utf8) {
                    Some(plan) => wire.tool_plan = plan.ok().filter(|plan| !plan.is_empty()),
                    None => thoughts.push_str(&one.text),
                }
            }
            _ => {}
        }
    }
    let text = joined_text(parts);
    wire.content = match (thoughts.is_empty(), text.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Content::Text(text)),
        (false, is_silent) => {
            let mut blocks = vec![Block::Thinking { thinking: thoughts }];
            if !is_silent {
                blocks.push(Block::Text { text });
            }
            Some(Content::Blocks(blocks))
        }
    };
    wire
}

fn tool_result(result: &ToolResult, message: usize, part: usize) -> Result<WireMessage<'_>> {
    if result.parts.iter().any(|part| matches!(part, Part::Image(_))) {
        let field = format!("messages[{message}].parts[{part}].tool_result.parts");
        return Err(Error::new(
            Kind::UnsupportedParameter,
            "the provider looks at no image in a tool's result",
        )
        .violation(field, "send the image in a message of the user, or choose another model"));
    }
    let text = joined_text(&result.parts);
    // There is no word for a tool that failed: the result itself says so.
    let content = match result.is_error {
        true => Cow::Owned(serde_json::json!({ "error": text }).to_string()),
        false => text,
    };
    Ok(WireMessage {
        tool_call_id: Some(&result.call_id),
        ..WireMessage::of("tool", Some(Content::Text(content)))
    })
}

fn thinking(reasoning: &ReasoningOptions) -> Option<Thinking> {
    let (budget, effort) = (reasoning.budget_tokens, reasoning.effort.as_deref());
    match budget.or_else(|| effort.and_then(effort::budget)) {
        Some(0) => Some(Thinking::Disabled),
        Some(budget) => Some(Thinking::Enabled { token_budget: Some(budget) }),
        None => effort.map(|_| Thinking::Enabled { token_budget: None }),
    }
}

fn response_format(format: &ResponseFormat) -> Result<Option<WireFormat<'_>>> {
    let json_schema = match format {
        ResponseFormat::Text => return Ok(None),
        ResponseFormat::Json => None,
        ResponseFormat::JsonSchema { schema_json, .. } => raw(schema_json)?,
    };
    Ok(Some(WireFormat { kind: "json_object", json_schema }))
}

/// One tool cannot be named; where it is the only one there is, some tool is that tool.
fn tools(parameters: &TextParameters) -> Result<Vec<WireTool<'_>>> {
    let is_wanted = |name: &str| match &parameters.tool_choice {
        ToolChoice::Tool(only) => only == name,
        _ => true,
    };
    let tools = parameters.tools.iter().filter(|tool| is_wanted(&tool.tool_name));
    tools.map(|tool| WireTool::of(tool).map(WireTool::without_strict)).collect()
}

// --- wire ---

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<WireFormat<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict_tools: bool,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireToolCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_plan: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

impl<'a> WireMessage<'a> {
    fn of(role: &'static str, content: Option<Content<'a>>) -> Self {
        Self { role, content, tool_calls: Vec::new(), tool_plan: None, tool_call_id: None }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<Block<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: Cow<'a, str> },
    Thinking { thinking: String },
    ImageUrl { image_url: ImageUrl },
}

impl Block<'_> {
    fn of_image(image: &Image) -> Self {
        Self::ImageUrl { image_url: image.into() }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Thinking {
    Enabled {
        #[serde(skip_serializing_if = "Option::is_none")]
        token_budget: Option<i64>,
    },
    Disabled,
}

#[derive(Serialize)]
struct WireFormat<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<&'a RawValue>,
}
