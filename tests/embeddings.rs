//! EmbedText and CountTokens: vectors in the order of their texts, at what cost; and how long a
//! question is, counted or estimated.

mod support;

use mediary_client::{Error, message, target, v1};
use serde_json::{Value, json};
use support::{House, Reply, Vendor};

const SANDBOX: &str = "providers/sandbox/models/sandbox-embedding";
const SMALL: &str = "providers/openai/models/text-embedding-3-small";

fn embed(model: &str, texts: &[&str]) -> v1::EmbedTextRequest {
    v1::EmbedTextRequest {
        target: Some(target::model(model)),
        texts: texts.iter().map(|&text| text.to_owned()).collect(),
        ..Default::default()
    }
}

fn count(model: &str, text: &str) -> v1::CountTokensRequest {
    v1::CountTokensRequest {
        target: Some(target::model(model)),
        messages: vec![message::user(text)],
        ..Default::default()
    }
}

async fn openai() -> (House, Vendor) {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .env("GROQ_API_KEY", "key-of-the-test")
        .env("GROQ_BASE_URL", format!("{}/groq", vendor.url()))
        .start();
    (house, vendor)
}

/// Vectors whose first number is the index, in any order.
fn vectors(indexes: &[usize]) -> String {
    let data: Vec<Value> =
        indexes.iter().map(|at| json!({"index": at, "embedding": [at, 0.5]})).collect();
    json!({"data": data, "model": "small-1", "usage": {"prompt_tokens": 4, "total_tokens": 4}})
        .to_string()
}

fn violations(failure: &Error) -> Vec<&str> {
    match failure {
        Error::BadRequest { violations, .. } => {
            violations.iter().map(|one| one.field.as_str()).collect()
        }
        other => panic!("not a bad request: {other:?}"),
    }
}

#[tokio::test]
async fn texts_that_share_words_lie_near_each_other_in_the_sandbox() {
    let house = House::new();
    let mut request =
        embed(SANDBOX, &["the tide rises at six", "at six the tide rises", "a red lighthouse"]);
    request.dimensions = Some(64);

    let answer = house.client().embed(request).await.unwrap();

    let [a, b, c] = &answer.embeddings[..] else { panic!("{} vectors", answer.embeddings.len()) };
    let near = |one: &v1::Embedding, other: &v1::Embedding| -> f32 {
        one.values.iter().zip(&other.values).map(|(x, y)| x * y).sum()
    };
    assert_eq!(a.values.len(), 64);
    assert!((near(a, a) - 1.0).abs() < 1e-4);
    assert!(near(a, b) > 0.99 && near(a, c) < 0.7, "{} {}", near(a, b), near(a, c));
    assert_eq!(answer.usage.unwrap().input_tokens, 5 + 5 + 3);
    assert_eq!(answer.cost_pico_usd, 13_000_000);
    assert_eq!(answer.model, SANDBOX);
}

#[tokio::test]
async fn vectors_come_in_the_order_of_their_texts_and_cost_what_their_tokens_cost() {
    let (house, vendor) = openai().await;
    vendor.replies([Reply::json(200, vectors(&[2, 0, 1]))]);
    let mut request = embed(SMALL, &["a", "b", "c"]);
    request.purpose = "query".to_owned();
    request.dimensions = Some(2);

    let answer = house.client().embed(request).await.unwrap();

    let firsts: Vec<f32> = answer.embeddings.iter().map(|one| one.values[0]).collect();
    assert_eq!(firsts, [0.0, 1.0, 2.0]);
    assert_eq!(answer.provider_model_id, "small-1");
    // 4 tokens at 0.02 USD per million.
    assert_eq!(answer.cost_pico_usd, 4 * 20_000);
    assert_eq!(answer.attempts.len(), 1);
    // This vendor has no word for what vectors are for.
    assert_eq!(answer.warnings[0].field, "purpose");
    let asked = vendor.last_asked();
    assert_eq!(asked.path, "/v1/embeddings");
    assert_eq!(
        asked.json(),
        json!({"model": "text-embedding-3-small", "input": ["a", "b", "c"], "dimensions": 2,
               "encoding_format": "base64"})
    );
}

#[tokio::test]
async fn more_texts_than_a_model_takes_are_asked_for_in_turns() {
    let vendor = Vendor::start().await;
    let row = "[[models]]\nid = \"two\"\nprovider_model_id = \"two\"\nmax_batch = 2\n\
               capabilities = [\"text-embedding\"]\ninput_kinds = [\"text\"]\n\
               output_kinds = [\"vector\"]\n";
    let house = House::plan()
        .env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", vendor.url())
        .row("models/openai.toml", row)
        .start();
    vendor.replies([Reply::json(200, vectors(&[0, 1])), Reply::json(200, vectors(&[0]))]);

    let answer =
        house.client().embed(embed("providers/openai/models/two", &["a", "b", "c"])).await.unwrap();

    assert_eq!(answer.embeddings.len(), 3);
    assert_eq!(answer.usage.unwrap().input_tokens, 8);
    let sent: Vec<Value> = vendor.asked().iter().map(|one| one.json()["input"].clone()).collect();
    assert_eq!(sent, [json!(["a", "b"]), json!(["c"])]);
}

#[tokio::test]
async fn a_failure_of_the_vendor_is_told_as_for_any_other_call() {
    let (house, vendor) = openai().await;
    let limited = json!({"error": {"message": "slow down", "code": "rate_limit_exceeded"}});
    vendor.replies([
        Reply::json(429, limited.to_string()).header("retry-after", "7"),
        Reply::json(200, vectors(&[0])),
        Reply::json(200, r#"{"error":{"message":"no such model","code":"model_not_found"}}"#),
    ]);

    let limited = house.client().embed(embed(SMALL, &["a"])).await.unwrap_err();
    let short = house.client().embed(embed(SMALL, &["a", "b"])).await.unwrap_err();
    let unknown = house.client().embed(embed(SMALL, &["a"])).await.unwrap_err();

    assert_eq!(limited.reason(), "UPSTREAM_RATE_LIMITED");
    assert_eq!(limited.retry_after().map(|wait| wait.as_secs()), Some(7));
    assert_eq!(short.reason(), "UPSTREAM_PROTOCOL_ERROR");
    assert_eq!(unknown.reason(), "RESOURCE_NOT_FOUND");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_at_once_and_nobody_is_asked() {
    let (house, vendor) = openai().await;
    let client = house.client();
    let wrong = v1::EmbedTextRequest {
        texts: vec!["a".to_owned(), String::new()],
        dimensions: Some(0),
        purpose: "p".repeat(65),
        provider_options_json: [("openai".to_owned(), r#"{"input": 1}"#.to_owned())].into(),
        request_id: "not a uuid".to_owned(),
        target: Some(target::model(SMALL)),
        ..Default::default()
    };

    let failure = client.embed(wrong).await.unwrap_err();

    let fields = violations(&failure);
    for field in ["texts[1]", "dimensions", "purpose", "request_id"] {
        assert!(fields.contains(&field), "{field} is missing in {fields:?}");
    }
    assert!(fields.contains(&"provider_options_json[openai]"), "{fields:?}");
    let none = client.embed(embed(SMALL, &[])).await.unwrap_err();
    assert_eq!(violations(&none), ["texts"]);
    let chat = client.embed(embed("providers/openai/models/gpt-5-4", &["a"])).await.unwrap_err();
    assert_eq!(chat.reason(), "CAPABILITY_UNSUPPORTED");
    let mut fixed = embed("providers/openai/models/text-embedding-ada-002", &["a"]);
    fixed.dimensions = Some(8);
    let fixed = client.embed(fixed).await.unwrap_err();
    assert_eq!((fixed.reason(), violations(&fixed)), ("UNSUPPORTED_PARAMETER", vec!["dimensions"]));
    // 1,000 vectors of 1,536 numbers do not fit into one answer; they are not paid for.
    let many = client.embed(embed(SMALL, &vec!["a"; 1_000])).await.unwrap_err();
    assert_eq!(many.reason(), "MESSAGE_TOO_LARGE");
    assert!(vendor.asked().is_empty());
}

#[tokio::test]
async fn a_count_is_the_providers_or_marked_as_an_estimate() {
    let (house, vendor) = openai().await;
    let client = house.client();
    vendor.replies([
        Reply::json(200, r#"{"object":"response.input_tokens","input_tokens":11}"#),
        Reply::json(200, r#"{"object":"response.input_tokens","input_tokens":12}"#),
    ]);

    let counted = client.count_tokens(count("gpt-6-luna", "say hello")).await.unwrap();
    let of_a_chat_model =
        client.count_tokens(count("providers/openai/models/gpt-5-4", "say hello")).await.unwrap();
    let estimated = client
        .count_tokens(count("providers/groq/models/gpt-oss-20b", "say hello, friend"))
        .await
        .unwrap();
    let sandbox = client.count_tokens(count("sandbox-text", "say hello")).await.unwrap();

    assert_eq!((counted.input_tokens, counted.exact), (11, true));
    assert_eq!(counted.model, "providers/openai/models/gpt-6-luna");
    assert_eq!(counted.context_tokens, Some(1_050_000));
    assert_eq!((of_a_chat_model.input_tokens, of_a_chat_model.exact), (12, true));
    // 4 for the message, and a token for every 4 of its 17 bytes.
    assert_eq!((estimated.input_tokens, estimated.exact), (4 + 5, false));
    assert_eq!((sandbox.input_tokens, sandbox.exact), (2, true));
    let asked = vendor.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].path, "/v1/responses/input_tokens");
    assert_eq!(
        asked[0].json(),
        json!({"model": "gpt-6-luna",
               "input": [{"type": "message", "role": "user", "content": "say hello"}]})
    );
}

#[tokio::test]
async fn anthropic_counts_what_it_would_be_asked() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
        .env("ANTHROPIC_API_KEY", "key-of-the-test")
        .env("ANTHROPIC_BASE_URL", vendor.url())
        .start();
    vendor.replies([Reply::json(200, r#"{"input_tokens":14}"#)]);
    let mut request = count("claude-opus-5", "say hello");
    request.messages.insert(0, message::system("be brief"));
    request.parameters =
        Some(v1::TextParameters { max_output_tokens: Some(9), ..Default::default() });

    let counted = house.client().count_tokens(request).await.unwrap();

    assert_eq!((counted.input_tokens, counted.exact), (14, true));
    let asked = vendor.last_asked();
    assert_eq!(asked.path, "/v1/messages/count_tokens");
    assert_eq!(
        asked.json(),
        json!({"model": "claude-opus-5", "system": "be brief",
               "messages": [{"role": "user", "content": [{"type": "text", "text": "say hello"}]}]})
    );
}

#[tokio::test]
async fn gemini_is_asked_for_each_text_and_told_what_the_vectors_are_for_where_it_can_be() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
        .env("GEMINI_API_KEY", "key-of-the-test")
        .env("GEMINI_BASE_URL", vendor.url())
        .start();
    vendor.always(Reply::json(200, r#"{"embeddings":[{"values":[1]},{"values":[2]}]}"#));
    let mut request = embed("providers/gemini/models/gemini-embedding-001", &["a", "b"]);
    request.purpose = "query".to_owned();
    request.dimensions = Some(1);
    request.provider_options_json = [("gemini".to_owned(), r#"{"title": "t"}"#.to_owned())].into();

    let answer = house.client().embed(request.clone()).await.unwrap();

    let firsts: Vec<f32> = answer.embeddings.iter().map(|one| one.values[0]).collect();
    assert_eq!(firsts, [1.0, 2.0]);
    assert!(answer.warnings.iter().all(|one| one.field != "purpose"), "{:?}", answer.warnings);
    // Nothing is counted there.
    assert_eq!(answer.usage.unwrap().source(), v1::UsageSource::Estimated);
    let asked = vendor.last_asked();
    assert_eq!(asked.path, "/models/gemini-embedding-001:batchEmbedContents");
    let one = |text: &str| {
        json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]},
               "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 1, "title": "t"})
    };
    assert_eq!(asked.json(), json!({"requests": [one("a"), one("b")]}));

    // The generation after it is told in the text itself.
    request.target = Some(target::model("providers/gemini/models/gemini-embedding-2"));
    request.provider_options_json.clear();
    let answer = house.client().embed(request).await.unwrap();
    assert_eq!(answer.warnings[0].field, "purpose");
    assert!(vendor.last_asked().json()["requests"][0]["taskType"].is_null());
}

#[tokio::test]
async fn cohere_is_always_told_what_the_vectors_are_for_and_bills_its_tokens() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
        .env("COHERE_API_KEY", "key-of-the-test")
        .env("COHERE_BASE_URL", vendor.url())
        .start();
    let answer = r#"{"embeddings":{"float":[[1]]},"meta":{"billed_units":{"input_tokens":3.0}}}"#;
    for (purpose, input_type) in
        [("", "search_document"), ("query", "search_query"), ("clustering", "clustering")]
    {
        vendor.replies([Reply::json(200, answer)]);
        let mut request = embed("providers/cohere/models/embed-v4-0", &["a"]);
        request.purpose = purpose.to_owned();

        let answer = house.client().embed(request).await.unwrap();

        // 3 tokens at 0.12 USD per million.
        assert_eq!((answer.usage.unwrap().input_tokens, answer.cost_pico_usd), (3, 360_000));
        assert_eq!(
            vendor.last_asked().json(),
            json!({"model": "embed-v4.0", "texts": ["a"], "input_type": input_type,
                   "embedding_types": ["float"], "truncate": "NONE"})
        );
    }
    let client = house.client();
    vendor.replies([Reply::json(200, r#"{"id":"x","message":"too many tokens: 600"}"#)]);
    let long = client.embed(embed("providers/cohere/models/embed-v4-0", &["a"])).await.unwrap_err();
    assert_eq!(long.reason(), "CONTEXT_TOO_LONG");
    let fields = embed("providers/cohere/models/embed-english-v3-0", &["a"]);
    let fixed = v1::EmbedTextRequest { dimensions: Some(8), ..fields };
    let fixed = client.embed(fixed).await.unwrap_err();
    assert_eq!((fixed.reason(), violations(&fixed)), ("UNSUPPORTED_PARAMETER", vec!["dimensions"]));
}

#[tokio::test]
async fn gemini_counts_everything_that_it_would_read_and_cohere_counts_nothing() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
        .env("GEMINI_API_KEY", "key-of-the-test")
        .env("GEMINI_BASE_URL", vendor.url())
        .env("COHERE_API_KEY", "key-of-the-test")
        .env("COHERE_BASE_URL", vendor.url())
        .start();
    vendor.replies([Reply::json(200, r#"{"totalTokens":14}"#)]);
    let mut request = count("providers/gemini/models/gemini-3-5-flash", "say hello");
    request.messages.insert(0, message::system("be brief"));
    request.parameters =
        Some(v1::TextParameters { max_output_tokens: Some(9), ..Default::default() });

    let counted = house.client().count_tokens(request).await.unwrap();
    let estimated = house.client().count_tokens(count("command-a-03-2025", "say hello")).await;

    assert_eq!((counted.input_tokens, counted.exact), (14, true));
    assert!(!estimated.unwrap().exact);
    let asked = vendor.last_asked();
    assert_eq!((vendor.asked().len(), &*asked.path), (1, "/models/gemini-3.5-flash:countTokens"));
    assert_eq!(
        asked.json(),
        json!({"generateContentRequest": {
            "model": "models/gemini-3.5-flash",
            "systemInstruction": {"parts": [{"text": "be brief"}]},
            "contents": [{"role": "user", "parts": [{"text": "say hello"}]}],
        }})
    );
}
