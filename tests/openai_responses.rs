//! What a model asked with the Responses API is sent: its own thinking comes back to it sealed, in
//! the place where it thought it, and nothing is stored at the vendor.

mod support;

use mediary_client::v1::{self, MessageRole, part::Kind};
use serde_json::{Value, json};
use support::{
    House, Reply, Vendor,
    ask::{listen, question},
};

const MODEL: &str = "providers/openai/models/gpt-6-luna";
/// The same vendor's chat.
const CHAT_MODEL: &str = "providers/openai/models/gpt-5-4";

const THOUGHT_AND_CALLED: &str = r#"{
  "object": "response", "status": "completed", "model": "gpt-6-luna-1",
  "output": [
    {"id": "rs_1", "type": "reasoning", "encrypted_content": "c2VhbGVk",
     "summary": [{"type": "summary_text", "text": "First. "}, {"type": "summary_text", "text": "Then."}]},
    {"id": "msg_1", "type": "message", "role": "assistant",
     "content": [{"type": "output_text", "text": "Let me look.", "annotations": [
       {"type": "url_citation", "start_index": 4, "end_index": 6, "url": "https://example.com/me", "title": "Me"}]}]},
    {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "tide", "arguments": "{\"harbour\":\"Husum\"}"}
  ],
  "usage": {"input_tokens": 9, "output_tokens": 2}
}"#;

async fn house_with_a_vendor() -> (House, Vendor) {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    (house, vendor)
}

fn asked(messages: Vec<v1::Message>) -> v1::GenerateTextRequest {
    let tide = v1::Tool {
        tool_name: "tide".to_owned(),
        parameters_schema_json: r#"{"type":"object"}"#.to_owned(),
        ..Default::default()
    };
    v1::GenerateTextRequest {
        target: Some(mediary_client::target::model(MODEL)),
        messages,
        parameters: Some(v1::TextParameters {
            max_output_tokens: Some(64),
            tools: vec![tide],
            tool_choice: Some(v1::ToolChoice {
                choice: Some(v1::tool_choice::Choice::ToolName("tide".to_owned())),
            }),
            reasoning: Some(v1::ReasoningOptions {
                effort: "low".to_owned(),
                include: true,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn thinking_goes_back_sealed_between_the_turns_it_belongs_to() {
    let (house, vendor) = house_with_a_vendor().await;
    vendor.replies([Reply::json(200, THOUGHT_AND_CALLED), Reply::json(200, THOUGHT_AND_CALLED)]);
    let client = house.client();
    let mut conversation = vec![mediary_client::message::user("when is high water?")];

    let answer = client.generate(asked(conversation.clone())).await.unwrap();

    let citation = &answer.citations[0];
    assert_eq!((citation.part_index, citation.start, citation.end), (2, 4, 6));
    assert_eq!((citation.uri.as_str(), citation.title.as_str()), ("https://example.com/me", "Me"));
    conversation.push(answer.message.unwrap());
    let result = v1::ToolResult {
        call_id: "call_1".to_owned(),
        parts: vec![v1::Part { kind: Some(Kind::Text("at six".to_owned())) }],
        is_error: false,
    };
    conversation
        .push(mediary_client::message::of(MessageRole::Tool, vec![Kind::ToolResult(result)]));
    client.generate(asked(conversation)).await.unwrap();

    let [first, second] = &vendor.asked()[..] else { panic!("asked twice") };
    assert_eq!(first.path, "/v1/responses");
    let body = second.json();
    assert_eq!(
        body["input"],
        json!([
            {"type": "message", "role": "user", "content": "when is high water?"},
            {"type": "reasoning", "encrypted_content": "c2VhbGVk", "summary": [
                {"type": "summary_text", "text": "First. "},
                {"type": "summary_text", "text": "Then."},
            ]},
            {"type": "message", "role": "assistant",
             "content": [{"type": "output_text", "text": "Let me look."}]},
            {"type": "function_call", "call_id": "call_1", "name": "tide",
             "arguments": "{\"harbour\":\"Husum\"}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "at six"},
        ])
    );
    assert_eq!(body["store"], json!(false));
    assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
    assert_eq!(body["reasoning"], json!({"effort": "low", "summary": "auto"}));
    assert_eq!(body["max_output_tokens"], json!(64));
    assert_eq!(body["tool_choice"], json!({"type": "function", "name": "tide"}));
    // Left out, OpenAI would take it for true.
    assert_eq!(body["tools"][0]["strict"], json!(false));
}

#[tokio::test]
async fn the_wire_is_that_of_the_model_and_what_it_lacks_is_refused_by_name() {
    let (house, vendor) = house_with_a_vendor().await;
    let hello = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello!\"},\
                 \"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    vendor.replies([Reply::sse(hello)]);

    let heard = listen(&house, question(CHAT_MODEL, "say hello")).await;

    assert_eq!(heard.text(), "Hello!");
    assert_eq!(vendor.asked()[0].path, "/v1/chat/completions");
    let seeded = v1::GenerateTextRequest {
        target: Some(mediary_client::target::model(MODEL)),
        messages: vec![mediary_client::message::user("say hello")],
        parameters: Some(v1::TextParameters { seed: Some(7), ..Default::default() }),
        ..Default::default()
    };
    let refusal = house.client().generate(seeded).await.unwrap_err();
    assert_eq!(refusal.reason(), "UNSUPPORTED_PARAMETER");
    assert_eq!(refusal.metadata()["field"], "parameters.seed");
    assert_eq!(vendor.asked().len(), 1);
}

#[tokio::test]
async fn a_row_with_an_unknown_dialect_stops_the_start_by_name() {
    let folder = tempfile::TempDir::new().unwrap();
    let models = folder.path().join("catalog/models");
    std::fs::create_dir_all(&models).unwrap();
    let row = "[[models]]\nid = \"m\"\nprovider_model_id = \"m\"\ndialect = \"morse\"\n\
               capabilities = [\"text-to-text\"]\ninput_kinds = [\"text\"]\noutput_kinds = [\"text\"]\n";
    std::fs::write(models.join("openai.toml"), row).unwrap();

    let ran = support::house::run(
        folder.path(),
        &[],
        &["serve", "--set", "catalog.directory=catalog", "--set", "listen.address=127.0.0.1:0"],
        "",
    );

    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("model \"m\": dialect \"morse\" is not one of"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_refusal_in_the_place_of_an_answer_is_a_failure() {
    let (house, vendor) = house_with_a_vendor().await;
    let refusal: Value = json!({"error": {"message": "slow down", "code": "rate_limit_exceeded"}});
    vendor.replies([Reply::json(200, refusal.to_string())]);

    let heard = listen(&house, question(MODEL, "say hello")).await;

    assert_eq!(heard.reason(), "UPSTREAM_RATE_LIMITED");
    assert!(heard.failed().retryable);
}
