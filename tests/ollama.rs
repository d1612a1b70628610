//! What Ollama is sent: options in their object, arguments as objects, results by the name of their
//! tool; and where its server is found.

mod support;

use mediary_client::v1::{self, MessageRole, part::Kind};
use serde_json::json;
use support::{House, Reply, Vendor};

const MODEL: &str = "providers/ollama/models/qwen3:4b";

const CALLED: &str = r#"{"model":"qwen3:4b","done":true,"done_reason":"stop","eval_count":7,"prompt_eval_count":9,
  "message":{"role":"assistant","content":"","thinking":"The tide table.",
    "tool_calls":[{"function":{"name":"tide","arguments":{"harbour":"Husum"}}}]}}"#;

#[tokio::test]
async fn a_conversation_with_a_tool_is_sent_as_the_server_reads_it() {
    let vendor = Vendor::start().await;
    let address = vendor.url().trim_start_matches("http://").to_owned();
    let house = House::plan().env("OLLAMA_HOST", address).start();
    vendor.replies([Reply::json(200, CALLED), Reply::json(200, CALLED)]);
    let ask = |messages: Vec<v1::Message>| v1::GenerateTextRequest {
        target: Some(mediary_client::target::model(MODEL)),
        messages,
        parameters: Some(v1::TextParameters {
            max_output_tokens: Some(64),
            temperature: Some(0.5),
            top_k: Some(4),
            seed: Some(7),
            stop: vec!["END".to_owned()],
            tools: vec![v1::Tool {
                tool_name: "tide".to_owned(),
                parameters_schema_json: r#"{"type":"object"}"#.to_owned(),
                ..Default::default()
            }],
            response_format: Some(v1::ResponseFormat {
                format: Some(v1::response_format::Format::JsonSchema(v1::JsonSchemaFormat {
                    schema_json: r#"{"type":"object","properties":{"b":{},"a":{}}}"#.to_owned(),
                    ..Default::default()
                })),
            }),
            reasoning: Some(v1::ReasoningOptions {
                effort: "high".to_owned(),
                include: true,
                ..Default::default()
            }),
            provider_options_json: [(
                "ollama".to_owned(),
                r#"{"options":{"num_ctx":8192},"keep_alive":"5m"}"#.to_owned(),
            )]
            .into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut conversation = vec![mediary_client::message::user("when is high water?")];

    let answer = house.client().generate(ask(conversation.clone())).await.unwrap();

    assert_eq!(answer.finish_reason(), v1::FinishReason::ToolCalls);
    conversation.push(answer.message.unwrap());
    let result = v1::ToolResult {
        call_id: "call_0".to_owned(),
        parts: vec![v1::Part { kind: Some(Kind::Text("at six".to_owned())) }],
        is_error: false,
    };
    conversation
        .push(mediary_client::message::of(MessageRole::Tool, vec![Kind::ToolResult(result)]));
    house.client().generate(ask(conversation)).await.unwrap();

    let asked = vendor.asked();
    assert_eq!(asked[1].path, "/api/chat");
    assert_eq!(asked[1].header("authorization"), None);
    let body = asked[1].json();
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": "when is high water?"},
            {"role": "assistant", "content": "", "thinking": "The tide table.", "tool_calls": [
                {"id": "call_0", "function": {"name": "tide", "arguments": {"harbour": "Husum"}}}
            ]},
            {"role": "tool", "content": "at six", "tool_name": "tide", "tool_call_id": "call_0"},
        ])
    );
    assert_eq!(
        body["options"],
        json!({"num_predict": 64, "temperature": 0.5, "top_k": 4, "seed": 7, "stop": ["END"],
               "num_ctx": 8192})
    );
    assert_eq!((&body["think"], &body["keep_alive"]), (&json!("high"), &json!("5m")));
    assert_eq!(body["format"].to_string(), r#"{"type":"object","properties":{"b":{},"a":{}}}"#);
}

#[tokio::test]
async fn without_its_address_it_cannot_be_called_and_says_what_is_missing() {
    let house = House::new();
    let request = v1::GenerateTextRequest {
        target: Some(mediary_client::target::model(MODEL)),
        messages: vec![mediary_client::message::user("hello")],
        ..Default::default()
    };

    let refusal = house.client().generate(request).await.unwrap_err();

    assert_eq!(refusal.reason(), "NO_USABLE_ACCOUNT");
    assert_eq!(refusal.metadata()["requiredEnv"], "OLLAMA_BASE_URL");
}
