//! What OpenRouter is sent and what becomes of its answers: signed thinking goes back as it came,
//! and its own cost is the cost of the call.

mod support;

use mediary_client::{
    message,
    v1::{self, part::Kind},
};
use serde_json::json;
use support::{House, Reply, Vendor};

const MODEL: &str = "providers/openrouter/models/anthropic-claude-haiku-4-5";

const THOUGHT: &str = concat!(
    ": OPENROUTER PROCESSING\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"reasoning":"The lamp ","reasoning_details":[{"type":"reasoning.text","text":"The lamp ","format":"anthropic-claude-v1","index":0}]}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"reasoning":"first.","reasoning_details":[{"type":"reasoning.text","text":"first.","index":0}]}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.text","signature":"c2lnbmVk","index":0}]}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"content":"It is lit."}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":"c2VhbGVk","index":1}]},"finish_reason":"stop"}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":9,"completion_tokens":2,"cost":0.0125}}"#,
    "\n\ndata: [DONE]\n\n",
);

#[tokio::test]
async fn signed_thinking_goes_back_as_it_came_and_the_vendors_cost_counts() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("OPENROUTER_API_KEY", "key-of-the-test")
        .env("OPENROUTER_BASE_URL", format!("{}/api/v1", vendor.url()))
        .start();
    vendor.replies([Reply::sse(THOUGHT), Reply::sse(THOUGHT)]);
    let ask = |messages: Vec<v1::Message>| v1::GenerateTextRequest {
        target: Some(mediary_client::target::model(MODEL)),
        messages,
        ..Default::default()
    };
    let mut conversation = vec![message::user("light the lamp")];

    let answer = house.client().generate(ask(conversation.clone())).await.unwrap();

    assert_eq!(answer.cost_pico_usd, 12_500_000_000);
    let said = answer.message.unwrap();
    assert!(said.parts.iter().any(|part| part.kind == Some(Kind::Text("It is lit.".to_owned()))));
    conversation.extend([said, message::user("and now?")]);
    house.client().generate(ask(conversation)).await.unwrap();

    let asked = vendor.asked();
    assert_eq!(asked[0].header("http-referer"), Some("https://mediary.dev"));
    assert_eq!(asked[0].header("x-title"), Some("Mediary"));
    assert_eq!(
        asked[1].json()["messages"][1],
        json!({
            "role": "assistant",
            "content": "It is lit.",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "The lamp first.", "signature": "c2lnbmVk",
                 "format": "anthropic-claude-v1", "index": 0},
                {"type": "reasoning.encrypted", "data": "c2VhbGVk", "index": 1},
            ],
        })
    );
}
