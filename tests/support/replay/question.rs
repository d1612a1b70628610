//! What a recorded request asks, in the contract's words; and what two requests are compared by.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use mediary_client::v1::{self, MessageRole, Part, part, response_format::Format};
use serde_json::{Value, json};

use super::{asked_model, dialect, plain, provider_of, slug, wire};
use crate::support::recordings::Case;

/// A name, and how what it names is read from a body.
type Meaning = (&'static str, fn(&Value) -> Value);

/// What a request means, whoever wrote it: each is compared between the recording and what we send.
pub const MEANINGS: [Meaning; 9] = [
    ("model", |body| body["model"].clone()),
    ("roles and texts", turns),
    ("pictures", |body| json!(pictures(body))),
    ("tools", tool_names),
    ("response format", |body| match response_format(body).and_then(|one| one.format) {
        None | Some(Format::Text(_)) => Value::Null,
        Some(Format::Json(_)) => json!("json"),
        Some(Format::JsonSchema(_)) => json!("schema"),
    }),
    // Unset means auto, or none where there are no tools.
    ("tool choice", |body| match &body["tool_choice"] {
        Value::String(word) if word == "auto" => Value::Null,
        choice if choice["type"] == "auto" => Value::Null,
        choice => choice.clone(),
    }),
    ("temperature", |body| {
        let set = body["temperature"].as_f64().or(body["options"]["temperature"].as_f64());
        set.map_or(Value::Null, |n| json!(n))
    }),
    ("seed", |body| json!(seed(body))),
    ("thinking budget", |body| body["thinking_budget"].clone()),
];

/// The recorded request, as OpenAI's chat would say it.
pub fn plainly(case: &Case) -> Value {
    plain::body(wire(case), &case.request.body)
}

pub fn request(case: &Case) -> v1::StreamTextRequest {
    let recorded = &case.request.body;
    let body = &plainly(case);
    let name = format!(
        "providers/{}/models/{}",
        provider_of(case),
        slug(&asked_model(case), case.streams(), dialect(case))
    );
    let mut messages: Vec<v1::Message> = system(body).into_iter().collect();
    for message in turns_of(body) {
        messages.extend(contract_messages(&message));
    }
    if messages.is_empty() {
        messages.push(mediary_client::message::user("hello"));
    }
    let mut parameters = parameters(body);
    let options = plain::options(wire(case), recorded);
    if options.as_object().is_some_and(|options| !options.is_empty()) {
        parameters.provider_options_json.insert(provider_of(case), options.to_string());
    }
    v1::StreamTextRequest {
        target: Some(mediary_client::target::model(name)),
        messages,
        parameters: Some(parameters),
        ..Default::default()
    }
}

fn system(body: &Value) -> Option<v1::Message> {
    let text = match &body["system"] {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n\n"),
        _ => return None,
    };
    Some(mediary_client::message::system(text))
}

/// Messages, or the items of a response call: a lone text is a user's.
pub fn turns_of(body: &Value) -> Vec<Value> {
    match (&body["messages"], &body["input"]) {
        (Value::Array(messages), _) => messages.clone(),
        (_, Value::Array(items)) => items.iter().map(item_as_message).collect(),
        (_, Value::String(text)) => vec![json!({"role": "user", "content": text})],
        _ => match &body["prompt"] {
            Value::String(text) => vec![json!({"role": "user", "content": text})],
            _ => Vec::new(),
        },
    }
}

/// An item of a response call in the words of a chat.
fn item_as_message(item: &Value) -> Value {
    match item["type"].as_str() {
        Some("function_call") => {
            let function = json!({"name": item["name"], "arguments": item["arguments"]});
            let call = json!({"id": item["call_id"], "function": function});
            json!({"role": "assistant", "tool_calls": [call]})
        }
        Some("function_call_output") => json!({
            "role": "tool", "tool_call_id": item["call_id"], "content": item["output"],
        }),
        Some("reasoning") => json!({"role": "assistant", "content": ""}),
        _ => item.clone(),
    }
}

fn contract_messages(message: &Value) -> Vec<v1::Message> {
    let role = match message["role"].as_str().unwrap_or_default() {
        "system" | "developer" => MessageRole::System,
        "assistant" => MessageRole::Assistant,
        "tool" => MessageRole::Tool,
        _ => MessageRole::User,
    };
    if role == MessageRole::Tool {
        let result = v1::ToolResult {
            call_id: message["tool_call_id"].as_str().unwrap_or("call").to_owned(),
            parts: content_parts(&message["content"]),
            is_error: false,
        };
        return vec![of(role, vec![part::Kind::ToolResult(result)])];
    }
    let mut kinds: Vec<part::Kind> = Vec::new();
    let mut results: Vec<part::Kind> = Vec::new();
    match &message["content"] {
        Value::Array(blocks) => {
            for block in blocks {
                match block["type"].as_str().unwrap_or_default() {
                    "tool_use" => kinds.push(part::Kind::ToolCall(v1::ToolCall {
                        call_id: text(&block["id"]),
                        tool_name: text(&block["name"]),
                        arguments_json: block["input"].to_string(),
                    })),
                    "tool_result" => results.push(part::Kind::ToolResult(v1::ToolResult {
                        call_id: text(&block["tool_use_id"]),
                        parts: content_parts(&block["content"]),
                        is_error: block["is_error"].as_bool().unwrap_or(false),
                    })),
                    _ => kinds.extend(content_kind(block)),
                }
            }
        }
        content => kinds.extend(content_parts(content).into_iter().filter_map(|part| part.kind)),
    }
    kinds.extend(message["images"].as_array().into_iter().flatten().map(|_| pixel()));
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        if call["function"].is_object() {
            let arguments = &call["function"]["arguments"];
            kinds.push(part::Kind::ToolCall(v1::ToolCall {
                call_id: call["id"].as_str().unwrap_or("call").to_owned(),
                tool_name: text(&call["function"]["name"]),
                arguments_json: arguments.as_str().map_or(arguments.to_string(), str::to_owned),
            }));
        }
    }
    let mut messages = Vec::new();
    if !results.is_empty() {
        messages.push(of(MessageRole::Tool, results));
    }
    if !kinds.is_empty() {
        messages.push(of(role, kinds));
    }
    messages
}

fn of(role: MessageRole, kinds: Vec<part::Kind>) -> v1::Message {
    mediary_client::message::of(role, kinds)
}

fn content_parts(content: &Value) -> Vec<Part> {
    let kinds: Vec<part::Kind> = match content {
        Value::String(text) if !text.is_empty() => vec![part::Kind::Text(text.clone())],
        Value::Array(blocks) => blocks.iter().filter_map(content_kind).collect(),
        _ => Vec::new(),
    };
    kinds.into_iter().map(|kind| Part { kind: Some(kind) }).collect()
}

fn content_kind(block: &Value) -> Option<part::Kind> {
    if let Some(text) = block["text"].as_str() {
        return (!text.is_empty()).then(|| part::Kind::Text(text.to_owned()));
    }
    // Recordings shorten images: a picture of our own stands in for each.
    let is_image = matches!(block["type"].as_str(), Some("image" | "input_image"));
    (block["image_url"].is_object() || is_image).then(pixel)
}

fn pixel() -> part::Kind {
    let content = BASE64.decode(PIXEL).unwrap().into();
    let inline = v1::InlineAsset { media_type: "image/png".to_owned(), content };
    part::Kind::Asset(v1::AssetRef { source: Some(v1::asset_ref::Source::Inline(inline)) })
}

/// A PNG of one pixel.
pub const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn parameters(body: &Value) -> v1::TextParameters {
    let tools = body["tools"].as_array().into_iter().flatten().filter_map(|tool| {
        // `{type: function, function: {..}}`, or a flat form; others are not ours.
        let function = if tool["function"].is_object() { &tool["function"] } else { tool };
        let schema = [&function["parameters"], &function["input_schema"]];
        let schema = schema.into_iter().find(|schema| schema.is_object());
        if !is_function(tool) {
            return None;
        }
        Some(v1::Tool {
            tool_name: text(&function["name"]),
            description: text(&function["description"]),
            parameters_schema_json: schema.map(Value::to_string).unwrap_or_default(),
            strict: function["strict"].as_bool().unwrap_or(false),
        })
    });
    let limit = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
    v1::TextParameters {
        max_output_tokens: limit
            .into_iter()
            .find_map(|name| body[name].as_i64())
            .or(body["options"]["num_predict"].as_i64()),
        temperature: body["temperature"].as_f64().or(body["options"]["temperature"].as_f64()),
        tools: tools.collect(),
        tool_choice: tool_choice(&body["tool_choice"]),
        response_format: response_format(body),
        reasoning: Some(v1::ReasoningOptions {
            include: true,
            budget_tokens: body["thinking_budget"].as_i64(),
            ..Default::default()
        }),
        seed: seed(body),
        unsupported_parameter_policy: v1::UnsupportedParameterPolicy::Drop.into(),
        ..Default::default()
    }
}

/// A tool of the caller's own, in any of three forms.
fn is_function(tool: &Value) -> bool {
    tool["function"].is_object()
        || tool["input_schema"].is_object()
        || (tool["type"] == "function" && tool["name"].is_string())
}

fn tool_choice(choice: &Value) -> Option<v1::ToolChoice> {
    use v1::tool_choice::Choice;
    let word = choice.as_str().or(choice["type"].as_str())?;
    let choice = match word {
        "none" => Choice::None(v1::NoneChoice {}),
        "required" | "any" => Choice::Required(v1::RequiredChoice {}),
        "function" if choice["name"].is_string() => Choice::ToolName(text(&choice["name"])),
        "function" => Choice::ToolName(text(&choice["function"]["name"])),
        "tool" => Choice::ToolName(text(&choice["name"])),
        _ => return None,
    };
    Some(v1::ToolChoice { choice: Some(choice) })
}

pub fn response_format(body: &Value) -> Option<v1::ResponseFormat> {
    let (openai, anthropic) = (&body["response_format"], &body["output_config"]["format"]);
    let (flat, ollama) = (&body["text"]["format"], &body["format"]);
    let schema = |name: &Value, schema: &Value, strict: bool| {
        Format::JsonSchema(v1::JsonSchemaFormat {
            name: text(name),
            schema_json: schema.to_string(),
            strict,
        })
    };
    let format = if openai["type"] == "json_schema" {
        let inner = &openai["json_schema"];
        schema(&inner["name"], &inner["schema"], inner["strict"].as_bool().unwrap_or(false))
    } else if openai["type"] == "json_object" {
        Format::Json(v1::JsonFormat {})
    } else if anthropic["type"] == "json_schema" {
        schema(&Value::Null, &anthropic["schema"], false)
    } else if flat["type"] == "json_schema" {
        schema(&flat["name"], &flat["schema"], flat["strict"].as_bool().unwrap_or(false))
    } else if flat["type"] == "json_object" || ollama == "json" {
        Format::Json(v1::JsonFormat {})
    } else if ollama.is_object() {
        schema(&Value::Null, ollama, false)
    } else {
        return None;
    };
    Some(v1::ResponseFormat { format: Some(format) })
}

pub fn seed(body: &Value) -> Option<i64> {
    let seeds = [&body["seed"], &body["random_seed"], &body["options"]["seed"]];
    seeds.into_iter().find_map(Value::as_i64)
}

/// How many pictures the conversation holds; those in the results of tools are not told apart.
pub fn pictures(body: &Value) -> usize {
    let of_message = |message: &Value| {
        let blocks = message["content"].as_array().into_iter().flatten();
        let is_picture = |block: &&Value| {
            matches!(block["type"].as_str(), Some("image" | "image_url" | "input_image"))
        };
        blocks.filter(is_picture).count() + message["images"].as_array().map_or(0, Vec::len)
    };
    turns_of(body).iter().map(of_message).sum()
}

/// Role and text of every turn, neighbours of one role joined, empty ones left out.
fn turns(body: &Value) -> Value {
    let mut turns: Vec<(String, String)> = Vec::new();
    for message in turns_of(body) {
        let role = match message["role"].as_str().unwrap_or_default() {
            "developer" => "system",
            role => role,
        };
        let said = spoken(&message["content"]);
        if said.is_empty() {
            continue;
        }
        match turns.last_mut() {
            Some((last, all)) if last == role => all.push_str(&said),
            _ => turns.push((role.to_owned(), said)),
        }
    }
    json!(turns)
}

fn spoken(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .map(|block| match block["type"].as_str() {
                Some("tool_result") => spoken(&block["content"]),
                _ => text(&block["text"]),
            })
            .collect(),
        _ => String::new(),
    }
}

fn tool_names(body: &Value) -> Value {
    let names = body["tools"].as_array().into_iter().flatten().filter_map(|tool| {
        match tool["function"]["name"].as_str() {
            Some(name) => Some(name.to_owned()),
            None => is_function(tool).then(|| text(&tool["name"])),
        }
    });
    json!(names.collect::<Vec<_>>())
}
