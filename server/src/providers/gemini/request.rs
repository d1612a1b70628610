//! Builds the body of a call.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use mediary_domain::{
    ChatCall, Error, Image, Kind, Message, Part, ReasoningOptions, ResponseFormat, Result, Role,
    TextParameters, ToolChoice, ToolResult, UnsupportedPolicy,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    model_path, schema,
    signature::{self, NOT_SIGNED, Place},
};
use crate::{
    dialect::{
        effort,
        options::{with_deep_options, written},
        said::{joined_text, raw, system},
    },
    provider::CallContext,
};

/// The feature of models that count their thinking in tokens and know no words for it (2.5).
const BUDGET_ONLY: &str = "reasoning-budget";

pub fn body(cx: &CallContext, call: &ChatCall) -> Result<Vec<u8>> {
    let generation_config = Some(generation_config(cx, &call.parameters)?);
    let body = Body { generation_config, ..question(cx, call)? };
    with_deep_options(&body, &cx.provider.id, &call.parameters)
}

/// The same question, to be counted rather than answered.
pub fn count_body(cx: &CallContext, call: &ChatCall) -> Result<Vec<u8>> {
    let body = CountBody {
        generate_content_request: Body { model: Some(model_path(cx)), ..question(cx, call)? },
    };
    written(&body)
}

/// Everything that the model reads.
fn question<'a>(cx: &CallContext, call: &'a ChatCall) -> Result<Body<'a>> {
    Ok(Body {
        model: None,
        system_instruction: system(&call.messages)
            .map(|text| Content { role: None, parts: vec![WirePart::text(text.into())] }),
        contents: contents(cx, &call.messages)?,
        tools: tools(&call.parameters)?,
        tool_config: tool_config(&call.parameters),
        generation_config: None,
    })
}

/// The results of one turn's calls stand together, in the order of the calls.
fn contents<'a>(cx: &CallContext, messages: &'a [Message]) -> Result<Vec<Content<'a>>> {
    let mut called: HashMap<&str, Called<'_>> = HashMap::new();
    let mut contents: Vec<Content<'_>> = Vec::new();
    let mut before = None;
    for message in messages {
        let (role, parts) = match message.role {
            Role::System => continue,
            Role::User => ("user", heard(&message.parts)),
            Role::Tool => ("user", results(&message.parts, &called)?),
            Role::Assistant => {
                for part in &message.parts {
                    if let Part::ToolCall(call) = part {
                        let order = called.len();
                        called.insert(&call.call_id, Called { order, name: &call.tool_name });
                    }
                }
                ("model", spoken(cx, &message.parts)?)
            }
        };
        match contents.last_mut() {
            Some(last) if before == Some(message.role) => last.parts.extend(parts),
            _ => contents.push(Content { role: Some(role), parts }),
        }
        before = Some(message.role);
    }
    for content in &mut contents {
        content.parts.sort_by_key(|part| part.order);
    }
    contents.retain(|content| !content.parts.is_empty());
    Ok(contents)
}

struct Called<'a> {
    order: usize,
    name: &'a str,
}

fn heard(parts: &[Part]) -> Vec<WirePart<'_>> {
    let wire = parts.iter().filter_map(|part| match part {
        Part::Text(text) if !text.is_empty() => Some(WirePart::text(text.into())),
        Part::Image(image) => {
            Some(WirePart { inline_data: Some(Blob::of(image)), ..WirePart::default() })
        }
        _ => None,
    });
    wire.collect()
}

fn results<'a>(parts: &'a [Part], called: &HashMap<&str, Called<'a>>) -> Result<Vec<WirePart<'a>>> {
    let results = parts.iter().filter_map(|part| match part {
        Part::ToolResult(result) => Some(result),
        _ => None,
    });
    results
        .map(|result| {
            // A result of no call is the vendor's to refuse.
            let (name, order) = called
                .get(result.call_id.as_str())
                .map_or((result.call_id.as_str(), usize::MAX), |call| (call.name, call.order));
            Ok(WirePart {
                function_response: Some(response(result, name)?),
                order,
                ..WirePart::default()
            })
        })
        .collect()
}

/// JSON of a tool is passed on as JSON, anything else as a text.
fn response<'a>(result: &'a ToolResult, name: &'a str) -> Result<FunctionResponse<'a>> {
    let said = match joined_text(&result.parts) {
        Cow::Borrowed(json) if json.starts_with(['{', '[']) => {
            raw(json).map_or(Said::Text(json.into()), |raw| raw.map_or(Said::Nothing, Said::Json))
        }
        text => Said::Text(text),
    };
    let images = result.parts.iter().filter_map(|part| match part {
        Part::Image(image) => {
            Some(WirePart { inline_data: Some(Blob::of(image)), ..WirePart::default() })
        }
        _ => None,
    });
    Ok(FunctionResponse {
        id: &result.call_id,
        name,
        response: match result.is_error {
            true => Outcome::Error(said),
            false => Outcome::Output(said),
        },
        parts: images.collect(),
    })
}

/// What the model said, each signature at the part that it came with.
fn spoken<'a>(cx: &CallContext, parts: &'a [Part]) -> Result<Vec<WirePart<'a>>> {
    let mut wire: Vec<WirePart<'_>> = Vec::with_capacity(parts.len());
    // A caller may have moved all reasoning to the front: signatures of calls wait for theirs.
    let mut waiting: VecDeque<&str> = VecDeque::new();
    for part in parts {
        match part {
            Part::Text(text) if !text.is_empty() => wire.push(WirePart::text(text.into())),
            Part::ToolCall(call) => wire.push(WirePart {
                function_call: Some(FunctionCall {
                    id: &call.call_id,
                    name: &call.tool_name,
                    args: raw(&call.arguments_json)?,
                }),
                thought_signature: waiting.pop_front(),
                ..WirePart::default()
            }),
            Part::Reasoning(one) if one.provider == cx.provider.id => {
                match signature::read(&one.opaque_state) {
                    Some((Place::Call, signature)) => waiting.push_back(signature),
                    Some((Place::Text, signature)) => match wire.last_mut() {
                        Some(last) if last.is_unsigned_text() => {
                            last.thought_signature = Some(signature);
                        }
                        _ => wire.push(WirePart::signed("".into(), signature)),
                    },
                    Some((Place::Alone, signature)) => {
                        wire.push(WirePart::signed("".into(), signature));
                    }
                    Some((Place::Thought, signature)) => wire.push(WirePart {
                        thought: true,
                        ..WirePart::signed(one.text.as_str().into(), signature)
                    }),
                    None => {}
                }
            }
            _ => {}
        }
    }
    // The first call of a turn must be signed where a model thinks by levels (Gemini 3).
    if cx.model.has("reasoning")
        && !cx.model.has(BUDGET_ONLY)
        && let Some(first) = wire.iter_mut().find(|part| part.function_call.is_some())
    {
        first.thought_signature.get_or_insert(NOT_SIGNED);
    }
    Ok(wire)
}

fn tools(parameters: &TextParameters) -> Result<Vec<Tools<'_>>> {
    if parameters.tools.is_empty() {
        return Ok(Vec::new());
    }
    let declarations = parameters.tools.iter().map(|tool| {
        Ok(Declaration {
            name: &tool.tool_name,
            description: &tool.description,
            parameters_json_schema: raw(&tool.parameters_schema_json)?,
        })
    });
    Ok(vec![Tools { function_declarations: declarations.collect::<Result<_>>()? }])
}

fn tool_config(parameters: &TextParameters) -> Option<ToolConfig<'_>> {
    let (mode, allowed) = match &parameters.tool_choice {
        // Calls keep to their schemas in this mode, and text stays allowed.
        ToolChoice::Auto if parameters.tools.iter().any(|tool| tool.strict) => ("VALIDATED", None),
        ToolChoice::Auto => return None,
        ToolChoice::None => ("NONE", None),
        ToolChoice::Required => ("ANY", None),
        ToolChoice::Tool(name) => ("ANY", Some([name.as_str()])),
    };
    let function_calling_config = CallingConfig { mode, allowed_function_names: allowed };
    Some(ToolConfig { function_calling_config })
}

fn generation_config<'a>(
    cx: &CallContext,
    parameters: &'a TextParameters,
) -> Result<GenerationConfig<'a>> {
    let (response_mime_type, response_json_schema) = match &parameters.response_format {
        ResponseFormat::Text => (None, None),
        ResponseFormat::Json => (Some("application/json"), None),
        ResponseFormat::JsonSchema { schema_json, strict, .. } => {
            let binds = *strict && parameters.unsupported == UnsupportedPolicy::Reject;
            (Some("application/json"), schema::fitted(schema_json, binds)?)
        }
    };
    Ok(GenerationConfig {
        max_output_tokens: parameters.max_output_tokens,
        temperature: parameters.temperature,
        top_p: parameters.top_p,
        top_k: parameters.top_k,
        seed: parameters.seed,
        frequency_penalty: parameters.frequency_penalty,
        presence_penalty: parameters.presence_penalty,
        stop_sequences: &parameters.stop,
        response_mime_type,
        response_json_schema,
        thinking_config: match &parameters.reasoning {
            Some(reasoning) if cx.model.has("reasoning") => thinking(cx, reasoning)?,
            _ => None,
        },
    })
}

/// A level and a budget exclude each other; the level is what newer models are made for.
fn thinking<'a>(
    cx: &CallContext,
    reasoning: &'a ReasoningOptions,
) -> Result<Option<ThinkingConfig<'a>>> {
    let effort = reasoning.effort.as_deref();
    let (budget, level) = match (reasoning.budget_tokens, effort) {
        (_, Some(word)) if !cx.model.has(BUDGET_ONLY) => match word {
            "none" => (None, Some("minimal")),
            "xhigh" | "max" => (None, Some("high")),
            word => (None, Some(word)),
        },
        (Some(budget), _) => (Some(budget), None),
        (None, Some(word)) => match effort::budget(word) {
            Some(budget) => (Some(budget), None),
            None => return Err(unknown_effort(cx)),
        },
        (None, None) => (None, None),
    };
    let config = ThinkingConfig {
        include_thoughts: reasoning.include,
        thinking_budget: budget,
        thinking_level: level,
    };
    let is_asked = reasoning.include || budget.is_some() || level.is_some();
    Ok(is_asked.then_some(config))
}

fn unknown_effort(cx: &CallContext) -> Error {
    Error::new(Kind::UnsupportedParameter, "the model does not know this effort")
        .fact("model", cx.model.name.as_str())
        .violation(
            "parameters.reasoning.effort",
            "must be one of none, minimal, low, medium, high, xhigh, max; or set budget_tokens",
        )
}

// --- wire ---

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    /// Only where the address does not speak for the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation_config: Option<GenerationConfig<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CountBody<'a> {
    generate_content_request: Body<'a>,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<WirePart<'a>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct WirePart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<Blob<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<FunctionResponse<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
    /// Of the call that a result answers; other parts stay as they stand.
    #[serde(skip)]
    order: usize,
}

impl<'a> WirePart<'a> {
    fn text(text: Cow<'a, str>) -> Self {
        Self { text: Some(text), ..Self::default() }
    }

    fn signed(text: Cow<'a, str>, signature: &'a str) -> Self {
        Self { thought_signature: Some(signature), ..Self::text(text) }
    }

    fn is_unsigned_text(&self) -> bool {
        self.text.is_some() && !self.thought && self.thought_signature.is_none()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    mime_type: &'a str,
    data: String,
}

impl<'a> Blob<'a> {
    fn of(image: &'a Image) -> Self {
        Self { mime_type: &image.media_type, data: BASE64.encode(&image.content) }
    }
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct FunctionResponse<'a> {
    id: &'a str,
    name: &'a str,
    response: Outcome<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<WirePart<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome<'a> {
    Output(Said<'a>),
    Error(Said<'a>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    Nothing,
    Json(&'a RawValue),
    Text(Cow<'a, str>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    function_calling_config: CallingConfig<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallingConfig<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_function_names: Option<[&'a str; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<i64>,
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
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    include_thoughts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'a str>,
}
