//! How to answer.

use std::{collections::HashSet, ops::RangeInclusive};

use mediary_domain::{
    Error, Kind, ReasoningOptions, ResponseFormat, SetNevertheless, TextParameters, Tool,
    ToolChoice, UnsupportedPolicy,
};
use mediary_proto::v1::{
    self, UnsupportedParameterPolicy as WirePolicy, response_format::Format, tool_choice::Choice,
};
use serde_json::Value;

use super::{super::limits, Problems};

/// Keys of a provider's body that are the contract's to set.
const OWNED_KEYS: [&str; 12] = [
    "model",
    "messages",
    "input",
    "texts",
    "requests",
    "content",
    "stream",
    "stream_options",
    "system",
    "contents",
    "systemInstruction",
    "system_instruction",
];

pub fn parse(wire: v1::TextParameters, problems: &mut Problems) -> TextParameters {
    let policy = wire.unsupported_parameter_policy();
    at_least("max_output_tokens", wire.max_output_tokens, 1, problems);
    at_least("top_k", wire.top_k, 1, problems);
    within("temperature", wire.temperature, 0.0..=2.0, problems);
    within("top_p", wire.top_p, f64::MIN_POSITIVE..=1.0, problems);
    within("frequency_penalty", wire.frequency_penalty, -2.0..=2.0, problems);
    within("presence_penalty", wire.presence_penalty, -2.0..=2.0, problems);
    if wire.stop.len() > limits::STOPS || wire.stop.iter().any(String::is_empty) {
        let most = limits::STOPS;
        problems.field("parameters.stop", format!("holds at most {most} texts, none empty"));
    }
    let tools = tools(wire.tools, problems);
    let set = SetNevertheless {
        response_format: wire.response_format.as_ref().is_some_and(|one| one.format.is_some()),
        tool_choice: wire.tool_choice.as_ref().is_some_and(|one| one.choice.is_some()),
        unsupported: policy != WirePolicy::Unspecified,
    };
    TextParameters {
        max_output_tokens: wire.max_output_tokens,
        temperature: wire.temperature,
        top_p: wire.top_p,
        top_k: wire.top_k,
        seed: wire.seed,
        frequency_penalty: wire.frequency_penalty,
        presence_penalty: wire.presence_penalty,
        stop: wire.stop,
        reasoning: wire.reasoning.map(|one| reasoning(one, problems)),
        response_format: response_format(wire.response_format, problems),
        tool_choice: tool_choice(wire.tool_choice, &tools, problems),
        tools,
        parallel_tool_calls: wire.parallel_tool_calls,
        unsupported: match policy {
            WirePolicy::Drop => UnsupportedPolicy::Drop,
            WirePolicy::Unspecified | WirePolicy::Reject => UnsupportedPolicy::Reject,
        },
        provider_options: provider_options(
            "parameters.provider_options_json",
            wire.provider_options_json,
            problems,
        ),
        set,
    }
}

fn at_least(name: &str, value: Option<i64>, least: i64, problems: &mut Problems) {
    if value.is_some_and(|value| value < least) {
        problems.field(format!("parameters.{name}"), format!("must be at least {least}"));
    }
}

fn within(name: &str, value: Option<f64>, range: RangeInclusive<f64>, problems: &mut Problems) {
    if value.is_some_and(|value| !range.contains(&value)) {
        let least = if *range.start() == f64::MIN_POSITIVE { "above 0" } else { "at least -2" };
        let least = if *range.start() == 0.0 { "at least 0" } else { least };
        problems.field(
            format!("parameters.{name}"),
            format!("must be {least} and at most {}", range.end()),
        );
    }
}

fn reasoning(wire: v1::ReasoningOptions, problems: &mut Problems) -> ReasoningOptions {
    at_least("reasoning.budget_tokens", wire.budget_tokens, 0, problems);
    ReasoningOptions {
        effort: (!wire.effort.is_empty()).then_some(wire.effort),
        budget_tokens: wire.budget_tokens,
        include: wire.include,
    }
}

fn response_format(wire: Option<v1::ResponseFormat>, problems: &mut Problems) -> ResponseFormat {
    match wire.and_then(|wire| wire.format) {
        None | Some(Format::Text(_)) => ResponseFormat::Text,
        Some(Format::Json(_)) => ResponseFormat::Json,
        Some(Format::JsonSchema(wire)) => {
            let field = "parameters.response_format.json_schema";
            let name = if wire.name.is_empty() { "answer".to_owned() } else { wire.name };
            check_name(&format!("{field}.name"), &name, problems);
            if wire.schema_json.is_empty() {
                problems.field(format!("{field}.schema_json"), "is required");
            } else {
                check_schema(&format!("{field}.schema_json"), &wire.schema_json, problems);
            }
            ResponseFormat::JsonSchema { name, schema_json: wire.schema_json, strict: wire.strict }
        }
    }
}

fn tools(wire: Vec<v1::Tool>, problems: &mut Problems) -> Vec<Tool> {
    if wire.len() > limits::TOOLS {
        problems.field("parameters.tools", format!("holds at most {} tools", limits::TOOLS));
    }
    let mut names = HashSet::new();
    for (index, tool) in wire.iter().enumerate() {
        let field = format!("parameters.tools[{index}]");
        check_name(&format!("{field}.tool_name"), &tool.tool_name, problems);
        if !names.insert(tool.tool_name.as_str()) {
            problems.field(format!("{field}.tool_name"), "stands twice");
        }
        if !tool.parameters_schema_json.is_empty() {
            let field = format!("{field}.parameters_schema_json");
            check_schema(&field, &tool.parameters_schema_json, problems);
        }
    }
    wire.into_iter()
        .map(|tool| Tool {
            tool_name: tool.tool_name,
            description: tool.description,
            parameters_schema_json: tool.parameters_schema_json,
            strict: tool.strict,
        })
        .collect()
}

fn tool_choice(
    wire: Option<v1::ToolChoice>,
    tools: &[Tool],
    problems: &mut Problems,
) -> ToolChoice {
    match wire.and_then(|wire| wire.choice) {
        None | Some(Choice::Auto(_)) => ToolChoice::Auto,
        Some(Choice::None(_)) => ToolChoice::None,
        Some(Choice::Required(_)) => {
            if tools.is_empty() {
                problems.field("parameters.tool_choice.required", "needs at least one tool");
            }
            ToolChoice::Required
        }
        Some(Choice::ToolName(name)) => {
            if !tools.iter().any(|tool| tool.tool_name == name) {
                problems.field("parameters.tool_choice.tool_name", "must name one of the tools");
            }
            ToolChoice::Tool(name)
        }
    }
}

/// Options that only one provider has, found in `field`.
pub(in super::super) fn provider_options(
    field: &str,
    wire: std::collections::BTreeMap<String, String>,
    problems: &mut Problems,
) -> Vec<(String, String)> {
    if wire.values().map(String::len).sum::<usize>() > limits::JSON_BYTES {
        problems.field(field, format!("holds at most {} bytes in all", limits::JSON_BYTES));
        return Vec::new();
    }
    for (provider, json) in &wire {
        let field = format!("{field}[{provider}]");
        match serde_json::from_str::<Value>(json) {
            Ok(value @ Value::Object(_)) if depth(&value) > limits::JSON_DEPTH => {
                problems.field(field, format!("is deeper than {} levels", limits::JSON_DEPTH));
            }
            Ok(Value::Object(object)) => {
                for key in OWNED_KEYS.into_iter().filter(|key| object.contains_key(*key)) {
                    problems.field(
                        field.clone(),
                        format!("{key:?} is set by the request itself, not as an option"),
                    );
                }
            }
            Ok(_) => problems.field(field, "must be a JSON object"),
            Err(error) => problems.field(field, format!("is not JSON: {error}")),
        }
    }
    wire.into_iter().collect()
}

fn check_name(field: &str, name: &str, problems: &mut Problems) {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !fits {
        problems.field(field, "must be 1 to 64 letters, digits, underscores and dashes");
    }
}

fn check_schema(field: &str, json: &str, problems: &mut Problems) {
    let mut invalid = |what: String| {
        problems.add(
            Error::new(Kind::SchemaInvalid, "a JSON Schema is not valid").violation(field, what),
        );
    };
    if json.len() > limits::JSON_BYTES {
        return invalid(format!("holds at most {} bytes", limits::JSON_BYTES));
    }
    let schema = match serde_json::from_str::<Value>(json) {
        Ok(schema @ Value::Object(_)) => schema,
        Ok(_) => return invalid("must be a JSON object".to_owned()),
        Err(error) => return invalid(format!("is not JSON: {error}")),
    };
    if depth(&schema) > limits::JSON_DEPTH {
        return invalid(format!("is deeper than {} levels", limits::JSON_DEPTH));
    }
    if let Err(error) = jsonschema::meta::validate(&schema) {
        invalid(format!("{}: {error}", error.instance_path()));
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
