//! What a provider says of its own models, whatever shape its list has, and that a key that is
//! refused is seen by it.

mod support;

use mediary_server::{app, clock::Clock, config};
use serde_json::{Value, json};
use support::{Reply, Vendor};

/// One model as it was understood: id, name, context, longest answer, capabilities, features,
/// prices.
async fn listed(provider: &str, vendor: &Vendor) -> Result<Vec<Value>, String> {
    let account = format!(
        "[{{ id = \"a\", provider = \"{provider}\", api_key = \"key-of-the-test\", base_uri = \"{}\" }}]",
        vendor.url()
    );
    let source =
        config::Source { overrides: vec![("accounts".to_owned(), account)], ..Default::default() };
    let loaded = config::load(source).expect("a configuration");
    let found = app::inspect(&loaded, &Clock::system(), provider).await;
    let found = found.map_err(|failure| format!("{:?}: {failure}", failure.kind()))?;
    let models = found.models.into_iter().map(|model| {
        let capabilities: Vec<_> = model.capabilities.iter().map(|one| one.as_str()).collect();
        let prices: Vec<_> = model
            .prices
            .iter()
            .map(|price| json!([price.unit.as_str(), price.micro_usd_per_million]))
            .collect();
        json!([
            model.id,
            model.display_name,
            model.context_tokens,
            model.max_output_tokens,
            capabilities,
            model.features,
            prices
        ])
    });
    Ok(models.collect())
}

async fn of_one_list(provider: &str, list: &Value) -> Vec<Value> {
    let vendor = Vendor::start().await;
    vendor.replies([Reply::json(200, list.to_string())]);
    listed(provider, &vendor).await.expect("a list")
}

#[tokio::test]
async fn each_vendors_own_words_are_understood() {
    let openrouter = json!({"data": [{
        "id": "a/b", "name": "A: B", "context_length": 1000,
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        "pricing": {"prompt": "0.000003", "completion": "0.000015", "input_cache_read": "0.0000003"},
        "top_provider": {"max_completion_tokens": 64},
        "supported_parameters": ["tools", "reasoning", "seed"],
    }]});
    assert_eq!(
        of_one_list("openrouter", &openrouter).await,
        [json!([
            "a/b",
            "A: B",
            1000,
            64,
            ["text-to-text", "image-to-text"],
            ["tools", "vision", "reasoning", "seed"],
            [
                ["input-token", 3_000_000],
                ["output-token", 15_000_000],
                ["cached-input-token", 300_000]
            ]
        ])]
    );
    // Together's list is bare, and a price of another shape hides no model.
    let together = json!([{"id": "e", "type": "embedding", "display_name": "E",
                           "context_length": 512, "pricing": {"input": 0.02}}]);
    assert_eq!(
        of_one_list("together", &together).await,
        [json!(["e", "E", 512, null, ["text-embedding"], [], []])]
    );
    let mistral = json!({"data": [{"id": "m", "max_context_length": 256,
        "capabilities": {"completion_chat": true, "function_calling": true, "vision": true}}]});
    assert_eq!(
        of_one_list("mistral", &mistral).await,
        [json!(["m", "", 256, null, ["text-to-text", "image-to-text"], ["tools", "vision"], []])]
    );
    // Groq tells some facts under two names at once.
    let groq = json!({"data": [{"id": "g", "context_window": 8, "context_length": 8,
                                "max_completion_tokens": 4, "max_output_length": 4}]});
    assert_eq!(of_one_list("groq", &groq).await, [json!(["g", "", 8, 4, [], [], []])]);
    let llama = json!({"data": [{"id": "l.gguf", "meta": {"n_ctx": 4096, "n_ctx_train": 40960}}]});
    assert_eq!(
        of_one_list("llama-cpp", &llama).await,
        [json!(["l.gguf", "", 4096, null, [], [], []])]
    );
}

#[tokio::test]
async fn ollama_is_asked_about_each_of_its_models() {
    let vendor = Vendor::start().await;
    vendor.replies([
        Reply::json(200, r#"{"models":[{"name":"qwen3:4b"}]}"#),
        Reply::json(
            200,
            r#"{"capabilities":["completion","tools","thinking","vision"],
                "model_info":{"general.architecture":"qwen3","qwen3.context_length":40960}}"#,
        ),
    ]);

    let models = listed("ollama", &vendor).await.unwrap();

    let both = ["text-to-text", "image-to-text"];
    let features = ["tools", "vision", "reasoning"];
    assert_eq!(models, [json!(["qwen3:4b", "", 40960, null, both, features, []])]);
    let asked = vendor.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("GET", "/api/tags"));
    assert_eq!(
        (asked[1].path.as_str(), asked[1].json()),
        ("/api/show", json!({"model": "qwen3:4b"}))
    );
}

#[tokio::test]
async fn anthropics_list_is_read_to_its_last_page() {
    let vendor = Vendor::start().await;
    vendor.replies([
        Reply::json(
            200,
            r#"{"data":[{"id":"c-1","display_name":"C 1","max_input_tokens":9,"max_tokens":5,
                "capabilities":{"image_input":{"supported":true},"thinking":{"supported":true}}}],
                "has_more":true,"last_id":"c-1"}"#,
        ),
        Reply::json(200, r#"{"data":[{"id":"c-2"}],"has_more":false}"#),
    ]);

    let models = listed("anthropic", &vendor).await.unwrap();

    assert_eq!(
        models,
        [
            json!([
                "c-1",
                "C 1",
                9,
                5,
                ["text-to-text", "image-to-text"],
                ["streaming", "tools", "vision", "reasoning"],
                []
            ]),
            json!(["c-2", "", null, null, ["text-to-text"], ["streaming", "tools"], []]),
        ]
    );
    let paths: Vec<_> = vendor.asked().into_iter().map(|one| one.path).collect();
    assert_eq!(paths, ["/v1/models?limit=1000", "/v1/models?limit=1000&after_id=c-1"]);
}

#[tokio::test]
async fn google_and_cohere_are_read_to_their_last_page() {
    let vendor = Vendor::start().await;
    let chat = json!({"name": "models/g-1", "displayName": "G 1", "inputTokenLimit": 9,
        "outputTokenLimit": 5, "supportedGenerationMethods": ["generateContent"], "thinking": true});
    let speech = json!({"name": "models/g-1-tts", "outputTokenLimit": 5,
        "supportedGenerationMethods": ["generateContent"]});
    let vectors = json!({"name": "models/e-1", "outputTokenLimit": 1,
        "supportedGenerationMethods": ["embedContent"]});
    vendor.replies([
        Reply::json(200, json!({"models": [chat, speech], "nextPageToken": "a-_="}).to_string()),
        Reply::json(200, json!({"models": [vectors], "nextPageToken": "b"}).to_string()),
        Reply::json(200, "{}"),
    ]);

    assert_eq!(
        listed("gemini", &vendor).await.unwrap(),
        [
            json!(["g-1", "G 1", 9, 5, ["text-to-text"], ["streaming", "reasoning"], []]),
            json!(["g-1-tts", "", null, null, [], [], []]),
            json!(["e-1", "", null, null, ["text-embedding"], [], []]),
        ]
    );
    let paths: Vec<_> = vendor.asked().into_iter().map(|one| one.path).collect();
    let first = "/models?pageSize=1000";
    assert_eq!(paths, [first, &format!("{first}&pageToken=a-_="), &format!("{first}&pageToken=b")]);

    let vendor = Vendor::start().await;
    let chat = json!({"name": "c-1", "endpoints": ["chat"], "context_length": 9,
        "features": ["tools", "json_schema", "citations"], "supports_vision": true});
    let vectors = json!({"name": "e-1", "endpoints": ["embed"], "context_length": 9.0});
    vendor.replies([
        Reply::json(200, json!({"models": [chat], "next_page_token": "a"}).to_string()),
        // A token that would be another address ends the list.
        Reply::json(200, json!({"models": [vectors], "next_page_token": "b&x=/"}).to_string()),
    ]);

    let both = ["text-to-text", "image-to-text"];
    let features = ["streaming", "vision", "tools", "json-schema"];
    assert_eq!(
        listed("cohere", &vendor).await.unwrap(),
        [
            json!(["c-1", "", 9, null, both, features, []]),
            json!(["e-1", "", 9, null, ["text-embedding"], [], []]),
        ]
    );
    let paths: Vec<_> = vendor.asked().into_iter().map(|one| one.path).collect();
    assert_eq!(paths, ["/v1/models?page_size=1000", "/v1/models?page_size=1000&page_token=a"]);

    // A key that is refused, and a list that is none.
    let key = json!({"error": {"code": 400, "message": "API key not valid.",
        "status": "INVALID_ARGUMENT"}});
    vendor.replies([
        Reply::json(400, key.to_string()),
        Reply::json(200, "{}"),
        Reply::json(401, r#"{"message":"invalid api token"}"#),
        Reply::json(200, r#"{"message":"trial key"}"#),
    ]);
    for (provider, kind) in [
        ("gemini", "CredentialsRejected"),
        ("gemini", "UpstreamProtocol"),
        ("cohere", "CredentialsRejected"),
        ("cohere", "UpstreamUnavailable"),
    ] {
        let failure = listed(provider, &vendor).await.unwrap_err();
        assert!(failure.starts_with(kind), "{provider}: {failure}");
    }
}

#[tokio::test]
async fn a_refused_key_is_seen_and_so_is_a_list_that_is_none() {
    let vendor = Vendor::start().await;
    vendor.replies([
        Reply::json(401, r#"{"error":{"message":"bad key-of-the-test","code":"invalid_api_key"}}"#),
        Reply::json(200, r#"{"error":{"message":"no","code":"rate_limit_exceeded"}}"#),
        Reply::json(200, "<html>"),
    ]);

    let refused = listed("openai", &vendor).await.unwrap_err();
    assert!(refused.starts_with("CredentialsRejected"), "{refused}");
    assert!(!refused.contains("key-of-the-test"), "{refused}");
    let limited = listed("openai", &vendor).await.unwrap_err();
    assert!(limited.starts_with("UpstreamRateLimited"), "{limited}");
    let page = listed("openai", &vendor).await.unwrap_err();
    assert!(page.starts_with("UpstreamProtocol"), "{page}");
    // The sandbox has no list, and says so.
    let account = "[]".to_owned();
    let source =
        config::Source { overrides: vec![("accounts".to_owned(), account)], ..Default::default() };
    let loaded = config::load(source).unwrap();
    let none = app::inspect(&loaded, &Clock::system(), "sandbox").await.unwrap_err();
    assert_eq!(format!("{:?}", none.kind()), "CapabilityUnsupported");
}
