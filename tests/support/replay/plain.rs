//! Requests of wires that are not OpenAI's, in OpenAI's words: what a request means is compared and
//! asked in one form.

use serde_json::{Map, Value, json};

/// A recorded or a sent body, as OpenAI's chat would say it.
pub fn body(wire: &str, body: &Value) -> Value {
    match wire {
        "gemini" => gemini(body),
        "cohere-v2" => cohere(body),
        _ => body.clone(),
    }
}

/// What of a recorded body only the provider's own options can say.
pub fn options(wire: &str, body: &Value) -> Value {
    let keys: &[&str] = match wire {
        "gemini" => &["cachedContent", "safetySettings"],
        "cohere-v2" => &["documents", "citation_options", "safety_mode"],
        _ => &[],
    };
    let mut options = Map::new();
    for key in keys {
        if let Some(value) = body.get(*key).filter(|value| **value != json!([])) {
            options.insert((*key).to_owned(), value.clone());
        }
    }
    let tools: Vec<_> = list(&body["tools"]).filter(|_| wire == "gemini").cloned().collect();
    let own: Vec<_> = tools.into_iter().filter(|tool| declarations(tool).is_null()).collect();
    if !own.is_empty() {
        options.insert("tools".to_owned(), own.into());
    }
    Value::Object(options)
}

fn cohere(body: &Value) -> Value {
    let mut plain = body.clone();
    if let Some(word) = body["tool_choice"].as_str() {
        plain["tool_choice"] = word.to_lowercase().into();
    }
    let schema = [&body["response_format"]["json_schema"], &body["response_format"]["schema"]];
    if let Some(schema) = schema.into_iter().find(|schema| schema.is_object()) {
        plain["response_format"] = of_schema(schema);
    }
    plain
}

fn of_schema(schema: &Value) -> Value {
    json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema } })
}

fn gemini(body: &Value) -> Value {
    if !body["contents"].is_array() {
        return Value::Null;
    }
    let mut messages = Vec::new();
    let system = either(body, "systemInstruction", "system_instruction");
    if system.is_object() {
        let texts: Vec<_> =
            list(&system["parts"]).filter_map(|part| part["text"].as_str()).collect();
        messages.push(json!({ "role": "system", "content": texts.join("\n\n") }));
    }
    for content in list(&body["contents"]) {
        messages.extend(gemini_turn(content));
    }
    let tools = list(&body["tools"]).flat_map(|tools| list(declarations(tools))).map(|tool| {
        let schemas = ["parameters", "parametersJsonSchema", "parameters_json_schema"];
        let schema = schemas.into_iter().map(|name| &tool[name]).find(|one| one.is_object());
        let schema = schema.cloned().map(lower_types).unwrap_or_default();
        json!({ "type": "function", "function": {
            "name": tool["name"], "description": tool["description"], "parameters": schema,
        }})
    });
    let config = either(body, "generationConfig", "generation_config");
    let mut plain = json!({
        "messages": messages,
        "tools": tools.collect::<Vec<_>>(),
        "temperature": config["temperature"],
        "max_tokens": config["maxOutputTokens"],
        "seed": config["seed"],
        "thinking_budget": config["thinkingConfig"]["thinkingBudget"],
    });
    let calling = &either(body, "toolConfig", "tool_config")["functionCallingConfig"];
    plain["tool_choice"] = match (calling["mode"].as_str(), &calling["allowedFunctionNames"][0]) {
        (Some("ANY"), Value::String(name)) => {
            json!({ "type": "function", "function": { "name": name } })
        }
        (Some("ANY"), _) => json!("required"),
        (Some("NONE"), _) => json!("none"),
        _ => Value::Null,
    };
    if config["responseMimeType"] == "application/json" {
        let schemas = [&config["responseJsonSchema"], &config["responseSchema"]];
        let schema = schemas.into_iter().find(|one| one.is_object()).cloned();
        plain["response_format"] = schema.map_or_else(
            || json!({ "type": "json_object" }),
            |schema| of_schema(&lower_types(schema)),
        );
    }
    plain
}

/// The results of a turn are messages of their own, and so are the words beside them.
fn gemini_turn(content: &Value) -> Vec<Value> {
    let role = if content["role"] == "model" { "assistant" } else { "user" };
    let (mut results, mut blocks, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for part in list(&content["parts"]) {
        let call = either(part, "functionCall", "function_call");
        let response = either(part, "functionResponse", "function_response");
        if call.is_object() {
            calls.push(json!({ "id": id(call), "type": "function", "function": {
                "name": call["name"], "arguments": call["args"].to_string(),
            }}));
        } else if response.is_object() {
            let text = unwrapped(&response["response"]);
            results.push(json!({ "role": "tool", "tool_call_id": id(response), "content": text }));
        } else if part["text"].is_string() && part["thought"] != true {
            blocks.push(json!({ "type": "text", "text": part["text"] }));
        } else if either(part, "inlineData", "inline_data").is_object() {
            blocks.push(json!({ "type": "image" }));
        }
    }
    if !blocks.is_empty() || !calls.is_empty() {
        let mut said = json!({ "role": role, "content": blocks });
        if !calls.is_empty() {
            said["tool_calls"] = calls.into();
        }
        results.push(said);
    }
    results
}

/// Where a model gave no id, calls and results are matched by name.
fn id(of: &Value) -> Value {
    if of["id"].is_string() { of["id"].clone() } else { of["name"].clone() }
}

/// A result without the key that it was put under to be an object.
fn unwrapped(response: &Value) -> String {
    let inner = match response.as_object() {
        Some(object) if object.len() == 1 => ["output", "result", "content", "error"]
            .into_iter()
            .find_map(|key| object.get(key))
            .unwrap_or(response),
        _ => response,
    };
    inner.as_str().map_or_else(|| inner.to_string(), str::to_owned)
}

fn declarations(tools: &Value) -> &Value {
    either(tools, "functionDeclarations", "function_declarations")
}

fn either<'a>(of: &'a Value, name: &str, other: &str) -> &'a Value {
    if of[name].is_null() { &of[other] } else { &of[name] }
}

fn list(of: &Value) -> impl Iterator<Item = &Value> {
    of.as_array().into_iter().flatten()
}

/// Google's own schemas write their types in capitals.
fn lower_types(schema: Value) -> Value {
    match schema {
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(kind) if key == "type" => (key, kind.to_lowercase().into()),
                value => (key, lower_types(value)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(lower_types).collect(),
        other => other,
    }
}
