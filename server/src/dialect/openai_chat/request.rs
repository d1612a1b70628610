//! Builds the body of a chat call.

use std::borrow::Cow;

use mediary_domain::{
    ChatCall, Message, Part, Reasoning, ResponseFormat, Result, Role, ToolCall, ToolChoice,
    ToolResult,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::quirks::{
    MaxTokensField, Quirks, ReasoningEffort, ReasoningHistory, RequiredWord, SeedField, SystemRole,
    ToolCallId,
};
use crate::{
    dialect::{
        functions::{WireTool, WireToolCall},
        options::with_options,
        said::{ImageUrl, joined_text, raw},
    },
    provider::CallContext,
};

pub fn body(quirks: &Quirks, cx: &CallContext, call: &ChatCall) -> Result<Vec<u8>> {
    let parameters = &call.parameters;
    let streams = cx.model.streams();
    let limit = parameters.max_output_tokens;
    let effort = parameters.reasoning.as_ref();
    let body = Body {
        model: &cx.model.provider_model_id,
        messages: messages(quirks, cx, call),
        stream: streams,
        stream_options: (streams && quirks.stream_options)
            .then_some(StreamOptions { include_usage: true }),
        max_tokens: limit.filter(|_| quirks.max_tokens_field == MaxTokensField::MaxTokens),
        max_completion_tokens: limit
            .filter(|_| quirks.max_tokens_field == MaxTokensField::MaxCompletionTokens),
        temperature: parameters.temperature,
        top_p: parameters.top_p,
        top_k: parameters.top_k,
        seed: parameters.seed.filter(|_| quirks.seed_field == SeedField::Seed),
        random_seed: parameters.seed.filter(|_| quirks.seed_field == SeedField::RandomSeed),
        frequency_penalty: parameters.frequency_penalty,
        presence_penalty: parameters.presence_penalty,
        stop: &parameters.stop,
        reasoning_effort: effort
            .filter(|_| quirks.reasoning_effort == ReasoningEffort::Field)
            .and_then(|reasoning| reasoning.effort.as_deref()),
        reasoning: effort
            .filter(|one| {
                quirks.reasoning_effort == ReasoningEffort::Object
                    && (one.effort.is_some() || one.budget_tokens.is_some())
            })
            .map(|one| ReasoningObject {
                effort: one.effort.as_deref(),
                max_tokens: one.budget_tokens,
            }),
        response_format: response_format(&parameters.response_format)?,
        tools: parameters.tools.iter().map(WireTool::of).collect::<Result<_>>()?,
        tool_choice: tool_choice(quirks, &parameters.tool_choice),
        parallel_tool_calls: parameters.parallel_tool_calls,
    };
    with_options(&body, &cx.provider.id, parameters)
}

fn messages<'a>(quirks: &Quirks, cx: &CallContext, call: &'a ChatCall) -> Vec<WireMessage<'a>> {
    let mut wire = Vec::with_capacity(call.messages.len());
    for message in &call.messages {
        match message.role {
            Role::System => wire.push(WireMessage {
                content: Some(content(&message.parts)),
                ..WireMessage::of(match quirks.system_role {
                    SystemRole::System => "system",
                    SystemRole::Developer => "developer",
                })
            }),
            Role::User => wire.push(WireMessage {
                content: Some(content(&message.parts)),
                ..WireMessage::of("user")
            }),
            Role::Assistant => wire.push(assistant(quirks, cx, message)),
            Role::Tool => {}
        }
        // Results may stand in a tool message or beside a user's words; on this wire each is a
        // message of its own.
        for part in &message.parts {
            if let Part::ToolResult(result) = part {
                wire.push(tool_result(quirks, result));
            }
        }
    }
    wire.retain(|message| !message.is_empty());
    wire
}

fn assistant<'a>(quirks: &Quirks, cx: &CallContext, message: &'a Message) -> WireMessage<'a> {
    let mut wire = WireMessage::of("assistant");
    let text = joined_text(&message.parts);
    let reasoning = own_reasoning(cx, &message.parts);
    wire.content = (!text.is_empty()).then_some(Content::Text(text));
    wire.tool_calls = message
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolCall(call) => Some(tool_call(quirks, call)),
            _ => None,
        })
        .collect();
    if quirks.reasoning_history == ReasoningHistory::Details {
        wire.reasoning_details = own_details(cx, &message.parts);
    }
    if !reasoning.is_empty() {
        match quirks.reasoning_history {
            ReasoningHistory::Details if !wire.reasoning_details.is_empty() => {}
            ReasoningHistory::Details => wire.reasoning = Some(reasoning),
            ReasoningHistory::Drop => {}
            ReasoningHistory::ReasoningContent => wire.reasoning_content = Some(reasoning),
            ReasoningHistory::Reasoning => wire.reasoning = Some(reasoning),
            ReasoningHistory::ThinkingParts => {
                let mut parts = vec![WirePart::Thinking {
                    thinking: vec![WirePart::Text { text: Cow::Owned(reasoning) }],
                }];
                if let Some(Content::Text(text)) = wire.content.take() {
                    parts.push(WirePart::Text { text });
                }
                wire.content = Some(Content::Parts(parts));
            }
        }
    }
    wire
}

/// Reasoning goes back only to the provider that wrote it.
fn own_reasoning(cx: &CallContext, parts: &[Part]) -> String {
    let own = parts.iter().filter_map(|part| match part {
        Part::Reasoning(Reasoning { text, provider, .. }) if *provider == cx.provider.id => {
            Some(text.as_str())
        }
        _ => None,
    });
    own.collect()
}

/// The blocks that the decoder kept as state, as they came.
fn own_details<'a>(cx: &CallContext, parts: &'a [Part]) -> Vec<&'a RawValue> {
    let own = parts.iter().filter_map(|part| match part {
        Part::Reasoning(one) if one.provider == cx.provider.id => {
            serde_json::from_slice::<Vec<&RawValue>>(&one.opaque_state).ok()
        }
        _ => None,
    });
    own.flatten().collect()
}

fn tool_call<'a>(quirks: &Quirks, call: &'a ToolCall) -> WireToolCall<'a> {
    WireToolCall::new(call_id(quirks, &call.call_id), &call.tool_name, &call.arguments_json)
}

fn tool_result<'a>(quirks: &Quirks, result: &'a ToolResult) -> WireMessage<'a> {
    WireMessage {
        content: Some(content(&result.parts)),
        tool_call_id: Some(call_id(quirks, &result.call_id)),
        ..WireMessage::of("tool")
    }
}

/// Ids of other vendors are rewritten where a vendor insists on its own shape; the same id always
/// becomes the same nine characters.
fn call_id<'a>(quirks: &Quirks, id: &'a str) -> Cow<'a, str> {
    let fits = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if quirks.tool_call_id == ToolCallId::Any || fits {
        return Cow::Borrowed(id);
    }
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut short = String::with_capacity(9);
    for _ in 0..9 {
        short.push(char::from(ALPHABET[(hash % 36) as usize]));
        hash /= 36;
    }
    Cow::Owned(short)
}

/// A string where text is all there is, else a list of parts.
fn content(parts: &[Part]) -> Content<'_> {
    if !parts.iter().any(|part| matches!(part, Part::Image(_))) {
        return Content::Text(joined_text(parts));
    }
    let wire = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(WirePart::Text { text: Cow::Borrowed(text) }),
        Part::Image(image) => Some(WirePart::ImageUrl { image_url: image.into() }),
        _ => None,
    });
    Content::Parts(wire.collect())
}

fn tool_choice<'a>(quirks: &Quirks, choice: &'a ToolChoice) -> Option<WireToolChoice<'a>> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(WireToolChoice::Word("none")),
        ToolChoice::Required => Some(WireToolChoice::Word(match quirks.tool_choice_required {
            RequiredWord::Required => "required",
            RequiredWord::Any => "any",
        })),
        ToolChoice::Tool(name) => {
            Some(WireToolChoice::Named { kind: "function", function: Named { name } })
        }
    }
}

fn response_format(format: &ResponseFormat) -> Result<Option<WireFormat<'_>>> {
    Ok(match format {
        ResponseFormat::Text => None,
        ResponseFormat::Json => Some(WireFormat::JsonObject),
        ResponseFormat::JsonSchema { name, schema_json, strict } => Some(WireFormat::JsonSchema {
            json_schema: WireSchema { name, schema: raw(schema_json)?, strict: *strict },
        }),
    })
}

// --- wire ---

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random_seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<ReasoningObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<WireFormat<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WireToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct ReasoningObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<i64>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireToolCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<&'a RawValue>,
}

impl WireMessage<'_> {
    fn of(role: &'static str) -> Self {
        Self {
            role,
            content: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            reasoning_content: None,
            reasoning: None,
            reasoning_details: Vec::new(),
        }
    }

    /// A user's turn that held only tool results leaves nothing behind.
    fn is_empty(&self) -> bool {
        let says_nothing = match &self.content {
            None => true,
            Some(Content::Text(text)) => text.is_empty() && self.role == "user",
            Some(Content::Parts(parts)) => parts.is_empty(),
        };
        says_nothing && self.tool_calls.is_empty()
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<WirePart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WirePart<'a> {
    Text { text: Cow<'a, str> },
    ImageUrl { image_url: ImageUrl },
    Thinking { thinking: Vec<WirePart<'a>> },
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireToolChoice<'a> {
    Word(&'static str),
    Named {
        #[serde(rename = "type")]
        kind: &'static str,
        function: Named<'a>,
    },
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireFormat<'a> {
    JsonObject,
    JsonSchema { json_schema: WireSchema<'a> },
}

#[derive(Serialize)]
struct WireSchema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a RawValue>,
    strict: bool,
}
