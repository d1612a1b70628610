//! Builds the body of a response call.

use std::borrow::Cow;

use mediary_domain::{
    ChatCall, Message, Part, Reasoning, ResponseFormat, Result, Role, TextParameters, ToolChoice,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Quirks;
use crate::{
    dialect::{
        options::with_options,
        said::{data_uri, joined_text, raw},
    },
    provider::CallContext,
};

/// What a tool without arguments takes.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;

pub fn body(quirks: &Quirks, cx: &CallContext, call: &ChatCall) -> Result<Vec<u8>> {
    let parameters = &call.parameters;
    let seals = quirks.encrypted_reasoning && cx.model.has("reasoning");
    let body = Body {
        question: question(quirks, cx, call)?,
        stream: cx.model.streams(),
        store: false,
        include: if seals { &["reasoning.encrypted_content"] } else { &[] },
        max_output_tokens: parameters.max_output_tokens,
        temperature: parameters.temperature,
        top_p: parameters.top_p,
    };
    with_options(&body, &cx.provider.id, parameters)
}

/// The same question, to be counted rather than answered.
pub fn count_body(quirks: &Quirks, cx: &CallContext, call: &ChatCall) -> Result<Vec<u8>> {
    with_options(&question(quirks, cx, call)?, &cx.provider.id, &TextParameters::default())
}

fn question<'a>(quirks: &Quirks, cx: &'a CallContext, call: &'a ChatCall) -> Result<Question<'a>> {
    let parameters = &call.parameters;
    Ok(Question {
        model: &cx.model.provider_model_id,
        input: items(quirks, cx, &call.messages),
        reasoning: reasoning(quirks, cx, parameters),
        text: format(&parameters.response_format)?,
        tools: tools(parameters)?,
        tool_choice: tool_choice(&parameters.tool_choice),
        parallel_tool_calls: parameters.parallel_tool_calls,
    })
}

fn items<'a>(quirks: &Quirks, cx: &CallContext, messages: &'a [Message]) -> Vec<Item<'a>> {
    let mut items = Vec::with_capacity(messages.len());
    for message in messages {
        match message.role {
            Role::System => said("system", &message.parts, &mut items),
            Role::User => said("user", &message.parts, &mut items),
            Role::Assistant => assistant(quirks, cx, &message.parts, &mut items),
            Role::Tool => {}
        }
        for part in &message.parts {
            if let Part::ToolResult(result) = part {
                items.push(Item::FunctionCallOutput {
                    call_id: &result.call_id,
                    output: content(&result.parts),
                });
            }
        }
    }
    items
}

fn said<'a>(role: &'static str, parts: &'a [Part], items: &mut Vec<Item<'a>>) {
    let content = content(parts);
    if !content.is_empty() {
        items.push(Item::Message { role, content });
    }
}

/// A turn of the model is a list of items, in the order in which it made them.
fn assistant<'a>(quirks: &Quirks, cx: &CallContext, parts: &'a [Part], items: &mut Vec<Item<'a>>) {
    let mut thought = Vec::new();
    let mut rest = parts;
    while let Some((part, after)) = rest.split_first() {
        match part {
            Part::Text(_) => {
                let texts = rest.iter().take_while(|one| matches!(one, Part::Text(_))).count();
                let text = joined_text(&rest[..texts]);
                if !text.is_empty() {
                    let content = Content::Parts(vec![ContentPart::OutputText { text }]);
                    items.push(Item::Message { role: "assistant", content });
                }
                rest = &rest[texts..];
                continue;
            }
            Part::ToolCall(call) => items.push(Item::FunctionCall {
                call_id: &call.call_id,
                name: &call.tool_name,
                arguments: &call.arguments_json,
            }),
            Part::Reasoning(one) if one.provider == cx.provider.id => {
                thought.push(one);
                let goes_on = matches!(after.first(), Some(Part::Reasoning(_)));
                if !one.opaque_state.is_empty() || !goes_on {
                    items.extend(thinking(quirks, &std::mem::take(&mut thought)));
                }
            }
            _ => {}
        }
        rest = after;
    }
}

/// One item of thinking. Its parts are told one by one, and the last of them carries the seal.
fn thinking<'a>(quirks: &Quirks, parts: &[&'a Reasoning]) -> Option<Item<'a>> {
    let sealed = parts.last().map(|one| &one.opaque_state).filter(|state| !state.is_empty());
    let texts = parts.iter().map(|one| one.text.as_str()).filter(|text| !text.is_empty());
    match sealed.and_then(|state| std::str::from_utf8(state).ok()) {
        Some(state) => Some(Item::Reasoning {
            summary: texts.map(|text| ContentPart::SummaryText { text }).collect(),
            content: Vec::new(),
            encrypted_content: Some(state),
        }),
        None if quirks.reasoning_text_history => Some(Item::Reasoning {
            summary: Vec::new(),
            content: texts.map(|text| ContentPart::ReasoningText { text }).collect(),
            encrypted_content: None,
        }),
        None => None,
    }
}

/// A string where text is all there is, else a list of parts.
fn content(parts: &[Part]) -> Content<'_> {
    if !parts.iter().any(|part| matches!(part, Part::Image(_))) {
        return Content::Text(joined_text(parts));
    }
    let wire = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(ContentPart::InputText { text }),
        Part::Image(image) => Some(ContentPart::InputImage { image_url: data_uri(image) }),
        _ => None,
    });
    Content::Parts(wire.collect())
}

fn reasoning<'a>(
    quirks: &Quirks,
    cx: &CallContext,
    parameters: &'a TextParameters,
) -> Option<WireReasoning<'a>> {
    let asked = parameters.reasoning.as_ref()?;
    let shows = asked.include && quirks.reasoning_summary && cx.model.has("reasoning");
    let wire = WireReasoning { effort: asked.effort.as_deref(), summary: shows.then_some("auto") };
    (wire.effort.is_some() || wire.summary.is_some()).then_some(wire)
}

fn format(format: &ResponseFormat) -> Result<Option<WireText<'_>>> {
    Ok(match format {
        ResponseFormat::Text => None,
        ResponseFormat::Json => Some(WireText { format: WireFormat::JsonObject }),
        ResponseFormat::JsonSchema { name, schema_json, strict } => Some(WireText {
            format: WireFormat::JsonSchema { name, schema: raw(schema_json)?, strict: *strict },
        }),
    })
}

fn tools(parameters: &TextParameters) -> Result<Vec<WireTool<'_>>> {
    let tools = parameters.tools.iter().map(|tool| {
        let schema = match tool.parameters_schema_json.as_str() {
            "" => NO_ARGUMENTS,
            schema => schema,
        };
        Ok(WireTool {
            kind: "function",
            name: &tool.tool_name,
            description: &tool.description,
            parameters: raw(schema)?,
            strict: tool.strict,
        })
    });
    tools.collect()
}

fn tool_choice(choice: &ToolChoice) -> Option<WireToolChoice<'_>> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(WireToolChoice::Word("none")),
        ToolChoice::Required => Some(WireToolChoice::Word("required")),
        ToolChoice::Tool(name) => Some(WireToolChoice::Named { kind: "function", name }),
    }
}

// --- wire ---

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    question: Question<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    include: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<WireReasoning<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<WireText<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WireToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item<'a> {
    Message {
        role: &'static str,
        content: Content<'a>,
    },
    FunctionCall {
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: Content<'a>,
    },
    Reasoning {
        summary: Vec<ContentPart<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<ContentPart<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<ContentPart<'a>>),
}

impl Content<'_> {
    /// A user's turn that held only tool results leaves nothing behind.
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Parts(parts) => parts.is_empty(),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'a> {
    InputText { text: &'a str },
    InputImage { image_url: String },
    OutputText { text: Cow<'a, str> },
    SummaryText { text: &'a str },
    ReasoningText { text: &'a str },
}

#[derive(Serialize)]
struct WireReasoning<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

#[derive(Serialize)]
struct WireText<'a> {
    format: WireFormat<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireFormat<'a> {
    JsonObject,
    JsonSchema { name: &'a str, schema: Option<&'a RawValue>, strict: bool },
}

/// `strict` is always sent: where it is left out, OpenAI takes it for true.
#[derive(Serialize)]
struct WireTool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    strict: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireToolChoice<'a> {
    Word(&'static str),
    Named {
        #[serde(rename = "type")]
        kind: &'static str,
        name: &'a str,
    },
}
