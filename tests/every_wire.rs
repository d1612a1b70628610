//! One conversation, at every wire: a tool is called after a thought, its result goes back together
//! with the thought, another vendor takes over half way and gets no thoughts, and the first one goes
//! on. What we send is compared.

mod support;

use mediary_client::{
    TextRequest, message,
    v1::{self, FinishReason, MessageRole, part::Kind as Part},
};
use serde_json::{Value, json};
use support::{
    Reply, Vendor,
    ask::question,
    vendors::{CAREFUL, CLEAR, DEEP, FRANK, HOMELY, SWIFT, Street},
};

const THOUGHT: &str = "The flag points east.";
const TEXT: &str = "I will look.";
/// What a vendor seals its thought with.
const SEAL: &str = "c2VhbGVk";
const RESULT: &str = "12 knots";

struct Wire {
    model: &'static str,
    vendor: fn(&Street) -> &Vendor,
    path: &'static str,
    /// The field of the body that holds the conversation.
    talk: &'static str,
    /// An answer with a thought, a text and a call.
    calls: Value,
    /// "Hello!"
    hello: Value,
    /// The conversation once the result is there, as this vendor is sent it.
    so_far: Value,
    /// "Hello!" and the question after it, as this vendor is sent them.
    then: Value,
}

fn call(arguments: &Value) -> Value {
    json!({ "id": "call_1", "type": "function",
            "function": { "name": "wind", "arguments": arguments } })
}

fn wires() -> [Wire; 6] {
    let at_sea = json!({ "at": "sea" });
    let written = json!(r#"{"at":"sea"}"#);
    let said = |role: &str, text: &str| json!({ "role": role, "content": text });
    let block = |text: &str| json!([{ "type": "text", "text": text }]);
    let item = |role: &str, text: &str| json!({ "type": "message", "role": role, "content": text });
    let spoken = |text: &str| {
        json!({ "type": "message", "role": "assistant",
                "content": [{ "type": "output_text", "text": text }] })
    };
    let parts = |role: &str, parts: Value| json!({ "role": role, "parts": parts });
    let chat = |message: Value, end: &str| json!({ "model": "frank-1", "choices": [{ "message": message, "finish_reason": end }] });
    let responses = |output: Value| json!({ "status": "completed", "output": output });
    let anthropic = |content: Value, end: &str| json!({ "type": "message", "role": "assistant", "content": content, "stop_reason": end });
    let gemini = |parts: Value| json!({ "candidates": [{ "content": { "parts": parts }, "finishReason": "STOP" }] });
    let cohere = |message: Value, end: &str| json!({ "message": message, "finish_reason": end });
    let ollama =
        |message: Value| json!({ "message": message, "done": true, "done_reason": "stop" });
    let thinking = json!({ "type": "thinking", "thinking": THOUGHT, "signature": SEAL });
    let tool_use = json!({ "type": "tool_use", "id": "call_1", "name": "wind", "input": at_sea });
    let sealed = json!({ "type": "reasoning", "encrypted_content": SEAL,
                         "summary": [{ "type": "summary_text", "text": THOUGHT }] });
    let function_call = json!({ "type": "function_call", "call_id": "call_1", "name": "wind",
                                "arguments": written });
    let signed = json!({ "functionCall": { "id": "call_1", "name": "wind", "args": at_sea },
                         "thoughtSignature": SEAL });
    let thought_and_text = json!([{ "type": "thinking", "thinking": THOUGHT },
                                  { "type": "text", "text": TEXT }]);
    [
        Wire {
            model: FRANK,
            vendor: |street| &street.deepseek,
            path: "/chat/completions",
            talk: "messages",
            calls: chat(
                json!({ "role": "assistant", "reasoning_content": THOUGHT, "content": TEXT,
                        "tool_calls": [call(&written)] }),
                "tool_calls",
            ),
            hello: chat(said("assistant", "Hello!"), "stop"),
            so_far: json!([
                said("user", "Wind?"),
                { "role": "assistant", "reasoning_content": THOUGHT, "content": TEXT,
                  "tool_calls": [call(&written)] },
                { "role": "tool", "tool_call_id": "call_1", "content": RESULT },
            ]),
            then: json!([said("assistant", "Hello!"), said("user", "And now?")]),
        },
        Wire {
            model: DEEP,
            vendor: |street| &street.openai,
            path: "/v1/responses",
            talk: "input",
            calls: responses(json!([sealed, spoken(TEXT), function_call])),
            hello: responses(json!([spoken("Hello!")])),
            so_far: json!([
                item("user", "Wind?"),
                sealed,
                spoken(TEXT),
                function_call,
                { "type": "function_call_output", "call_id": "call_1", "output": RESULT },
            ]),
            then: json!([spoken("Hello!"), item("user", "And now?")]),
        },
        Wire {
            model: CAREFUL,
            vendor: |street| &street.anthropic,
            path: "/v1/messages",
            talk: "messages",
            calls: anthropic(
                json!([thinking, { "type": "text", "text": TEXT }, tool_use]),
                "tool_use",
            ),
            hello: anthropic(block("Hello!"), "end_turn"),
            so_far: json!([
                { "role": "user", "content": block("Wind?") },
                { "role": "assistant",
                  "content": [thinking, { "type": "text", "text": TEXT }, tool_use] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "call_1", "content": block(RESULT) },
                ]},
            ]),
            then: json!([
                { "role": "assistant", "content": block("Hello!") },
                { "role": "user", "content": block("And now?") },
            ]),
        },
        Wire {
            model: SWIFT,
            vendor: |street| &street.gemini,
            path: "/models/swift-1:streamGenerateContent?alt=sse",
            talk: "contents",
            calls: gemini(json!([
                { "text": THOUGHT, "thought": true }, { "text": TEXT }, signed,
            ])),
            hello: gemini(json!([{ "text": "Hello!" }])),
            // A thought is not sealed by its text: the signature alone goes back.
            so_far: json!([
                parts("user", json!([{ "text": "Wind?" }])),
                parts("model", json!([{ "text": TEXT }, signed])),
                parts(
                    "user",
                    json!([{ "functionResponse": {
                        "id": "call_1", "name": "wind", "response": { "output": RESULT },
                    }}])
                ),
            ]),
            then: json!([
                parts("model", json!([{ "text": "Hello!" }])),
                parts("user", json!([{ "text": "And now?" }])),
            ]),
        },
        Wire {
            model: CLEAR,
            vendor: |street| &street.cohere,
            path: "/v2/chat",
            talk: "messages",
            calls: cohere(
                json!({ "content": thought_and_text, "tool_calls": [call(&written)] }),
                "TOOL_CALL",
            ),
            hello: cohere(json!({ "content": block("Hello!") }), "COMPLETE"),
            so_far: json!([
                said("user", "Wind?"),
                { "role": "assistant", "content": thought_and_text,
                  "tool_calls": [call(&written)] },
                { "role": "tool", "tool_call_id": "call_1", "content": RESULT },
            ]),
            then: json!([said("assistant", "Hello!"), said("user", "And now?")]),
        },
        Wire {
            model: HOMELY,
            vendor: |street| &street.ollama,
            path: "/api/chat",
            talk: "messages",
            calls: ollama(json!({ "role": "assistant", "thinking": THOUGHT, "content": TEXT,
                                  "tool_calls": [call(&at_sea)] })),
            hello: ollama(said("assistant", "Hello!")),
            so_far: json!([
                said("user", "Wind?"),
                { "role": "assistant", "thinking": THOUGHT, "content": TEXT, "tool_calls": [
                    { "id": "call_1", "function": { "name": "wind", "arguments": at_sea } },
                ]},
                { "role": "tool", "tool_name": "wind", "tool_call_id": "call_1",
                  "content": RESULT },
            ]),
            then: json!([said("assistant", "Hello!"), said("user", "And now?")]),
        },
    ]
}

fn wind() -> v1::Tool {
    v1::Tool {
        tool_name: "wind".to_owned(),
        description: "The wind".to_owned(),
        parameters_schema_json: r#"{"type":"object","properties":{"at":{"type":"string"}}}"#
            .to_owned(),
        strict: false,
    }
}

/// The answer of a vendor, and the warnings that came with it.
async fn answer(street: &Street, request: TextRequest) -> (v1::GenerateTextResponse, Vec<String>) {
    let answer = street.house.client().generate(request).await.unwrap();
    let warnings = answer.warnings.iter().map(|one| one.code.clone()).collect();
    (answer, warnings)
}

fn to(wire: &Wire, talk: &TextRequest) -> TextRequest {
    TextRequest { target: question(wire.model, "").target, ..talk.clone() }
}

fn joined(a: &Value, b: &Value) -> Value {
    a.as_array().into_iter().chain(b.as_array()).flatten().cloned().collect()
}

#[tokio::test]
async fn a_conversation_goes_on_at_every_wire_and_from_each_to_the_next() {
    let street = Street::new().await;
    let wires = wires();
    for (at, wire) in wires.iter().enumerate() {
        let (name, vendor) = (wire.model, (wire.vendor)(&street));
        let sent = |vendor: &Vendor, talk: &str| vendor.last_asked().json()[talk].clone();
        let mut talk = question(wire.model, "Wind?");
        talk.parameters.tools = vec![wind()];
        talk.parameters.reasoning =
            Some(v1::ReasoningOptions { include: true, ..Default::default() });

        vendor.always(Reply::json(200, wire.calls.to_string()));
        let (called, _) = answer(&street, talk.clone()).await;
        assert_eq!(called.finish_reason(), FinishReason::ToolCalls, "{name}");
        assert_eq!(vendor.last_asked().path, wire.path);
        assert_eq!(sent(vendor, wire.talk)[0], wire.so_far[0], "{name}");
        let said = called.message.expect("a message");
        let kinds = said.parts.iter().filter_map(|part| part.kind.clone());
        let mut seen = (String::new(), String::new(), Vec::new());
        for kind in kinds {
            match kind {
                Part::Reasoning(one) => seen.0.push_str(&one.text),
                Part::Text(text) => seen.1.push_str(&text),
                Part::ToolCall(call) => seen.2.push((call.call_id, call.tool_name)),
                _ => {}
            }
        }
        let wanted = [("call_1".to_owned(), "wind".to_owned())];
        assert_eq!((&*seen.0, &*seen.1, &seen.2[..]), (THOUGHT, TEXT, &wanted[..]), "{name}");

        // The result goes back, and with it what the vendor thought.
        let result = v1::ToolResult {
            call_id: "call_1".to_owned(),
            parts: vec![v1::Part { kind: Some(Part::Text(RESULT.to_owned())) }],
            is_error: false,
        };
        let talk =
            talk.message(said).message(message::of(MessageRole::Tool, [Part::ToolResult(result)]));
        vendor.always(Reply::json(200, wire.hello.to_string()));
        let (hello, warnings) = answer(&street, talk.clone()).await;
        assert_eq!(sent(vendor, wire.talk), wire.so_far, "{name}");
        assert!(warnings.is_empty(), "{name}: {warnings:?}");

        // The next vendor takes over: words, call and result are its, the thoughts are not.
        let talk = talk.message(hello.message.expect("a message")).user("And now?");
        let next = &wires[(at + 1) % wires.len()];
        let other = (next.vendor)(&street);
        other.always(Reply::json(200, next.hello.to_string()));
        let (taken, warnings) = answer(&street, to(next, &talk)).await;
        assert_eq!(warnings, ["reasoning-dropped"], "{name}");
        let body = String::from_utf8(other.last_asked().body).unwrap();
        assert!(!body.contains(THOUGHT) && !body.contains(SEAL), "{name}: {body}");
        for word in [TEXT, RESULT, "call_1", "wind", "Hello!"] {
            assert!(body.contains(word), "{name}: {word} is missing in {body}");
        }
        let all = sent(other, next.talk);
        let end = next.then.as_array().unwrap();
        assert!(all.as_array().unwrap().ends_with(end), "{name}: {all}");

        // And the first goes on, with its own thoughts where they stood.
        let talk = talk.message(taken.message.expect("a message")).user("And now?");
        let (_, warnings) = answer(&street, talk).await;
        let expected = joined(&joined(&wire.so_far, &wire.then), &wire.then);
        assert_eq!(sent(vendor, wire.talk), expected, "{name}");
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
    }
}
