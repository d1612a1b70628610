//! What a provider says of its own models, whatever shape its list has, what becomes of the rows,
//! and what a test of an account finds.

mod support;

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use mediary_client::v1;
use mediary_proto::admin::{self as pb, AccountState};
use serde_json::{Value, json};
use support::{
    House, Reply, Vendor,
    admin::{
        account, accounts, add_account, add_model, add_provider, catalog, model, provider_at,
        refresh, test_account, the_account,
    },
    ask::{listen, question, said},
    house::{run, well},
    recordings, replay,
};
use tonic::Code;

const KEY: &str = "key-of-the-test";
/// 32 bytes in base64.
const VAULT_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A server with one account, `a`, at a provider that the vendor plays.
fn with_account(provider: &str, vendor: &Vendor) -> House {
    let account = format!(
        "accounts = [{{ id = \"a\", provider = \"{provider}\", api_key = \"env:KEY\", \
         base_uri = \"{}\" }}]",
        vendor.url()
    );
    House::plan().config(&account).env("KEY", KEY).start()
}

async fn models(house: &House, provider: &str, filter: &str) -> Vec<v1::Model> {
    let request = v1::ListModelsRequest {
        parent: format!("providers/{provider}"),
        filter: filter.to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    house.client().list_models(request).try_collect().await.unwrap()
}

/// One model as it was understood: id, name, context, longest answer, capabilities, features.
async fn listed(provider: &str, vendor: &Vendor) -> Vec<Value> {
    let house = with_account(provider, vendor);
    let refreshes = refresh(&house, &format!("providers/{provider}")).await;
    assert_eq!((refreshes.len(), &refreshes[0].error), (1, &None));
    let found = models(&house, provider, "origin = DISCOVERED").await;
    let named: BTreeSet<&String> = found.iter().map(|model| &model.name).collect();
    assert_eq!(refreshes[0].added_models.iter().collect::<BTreeSet<_>>(), named);
    let facts = found.iter().map(|model| {
        assert!(model.prices.is_empty(), "{model:?}");
        json!([
            model.provider_model_id,
            model.display_name,
            model.context_tokens,
            model.max_output_tokens,
            model.capabilities,
            model.features
        ])
    });
    facts.collect()
}

async fn of_one_list(provider: &str, list: &Value) -> Vec<Value> {
    let vendor = Vendor::start().await;
    vendor.replies([Reply::json(200, list.to_string())]);
    listed(provider, &vendor).await
}

#[tokio::test]
async fn each_vendors_own_words_are_understood() {
    let openrouter = json!({"data": [{
        "id": "a/b", "name": "A: B", "context_length": 1000,
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        "pricing": {"prompt": "0.000003", "completion": "0.000015"},
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
            ["tools", "vision", "reasoning", "seed", "streaming"]
        ])]
    );
    // Together's list is bare, and a price of another shape hides no model.
    let together = json!([{"id": "e", "type": "embedding", "display_name": "E",
                           "context_length": 512, "pricing": {"input": 0.02}}]);
    assert_eq!(
        of_one_list("together", &together).await,
        [json!(["e", "E", 512, null, ["text-embedding"], []])]
    );
    let both = ["text-to-text", "image-to-text"];
    let mistral = json!({"data": [{"id": "m", "max_context_length": 256,
        "capabilities": {"completion_chat": true, "function_calling": true, "vision": true}}]});
    assert_eq!(
        of_one_list("mistral", &mistral).await,
        [json!(["m", "m", 256, null, both, ["tools", "vision", "streaming"]])]
    );
    // What a list does not tell is what the wire usually does.
    let usual = ["text-to-text", "image-to-text", "text-embedding"];
    // Groq tells some facts under two names at once.
    let groq = json!({"data": [{"id": "g", "context_window": 8, "context_length": 8,
                                "max_completion_tokens": 4, "max_output_length": 4}]});
    assert_eq!(of_one_list("groq", &groq).await, [json!(["g", "g", 8, 4, usual, ["streaming"]])]);
    let llama = json!({"data": [{"id": "l.gguf", "meta": {"n_ctx": 4096, "n_ctx_train": 40960}}]});
    assert_eq!(
        of_one_list("llama-cpp", &llama).await,
        [json!(["l.gguf", "l-gguf", 4096, null, usual, ["streaming"]])]
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

    let models = listed("ollama", &vendor).await;

    let both = ["text-to-text", "image-to-text"];
    let features = ["tools", "vision", "reasoning", "streaming"];
    assert_eq!(models, [json!(["qwen3:4b", "qwen3-4b", 40960, null, both, features])]);
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

    let models = listed("anthropic", &vendor).await;

    assert_eq!(
        models,
        [
            json!([
                "c-1",
                "C 1",
                9,
                5,
                ["text-to-text", "image-to-text"],
                ["streaming", "tools", "vision", "reasoning"]
            ]),
            json!(["c-2", "c-2", null, null, ["text-to-text"], ["streaming", "tools"]]),
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
        listed("gemini", &vendor).await,
        [
            json!(["e-1", "e-1", null, null, ["text-embedding"], []]),
            json!(["g-1", "G 1", 9, 5, ["text-to-text"], ["streaming", "reasoning"]]),
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
        listed("cohere", &vendor).await,
        [
            json!(["c-1", "c-1", 9, null, both, features]),
            json!(["e-1", "e-1", 9, null, ["text-embedding"], []]),
        ]
    );
    let paths: Vec<_> = vendor.asked().into_iter().map(|one| one.path).collect();
    assert_eq!(paths, ["/v1/models?page_size=1000", "/v1/models?page_size=1000&page_token=a"]);
}

#[tokio::test]
async fn what_google_and_cohere_say_of_a_key_and_lists_that_are_none_are_seen() {
    let google = json!({"error": {"code": 400, "message": "API key not valid.",
        "status": "INVALID_ARGUMENT"}});
    for (provider, refusal) in [
        ("gemini", Reply::json(400, google.to_string())),
        ("cohere", Reply::json(401, r#"{"message":"invalid api token"}"#)),
    ] {
        let vendor = Vendor::start().await;
        vendor.replies([refusal]);
        let found = test_account(&with_account(provider, &vendor), "a").await.unwrap();
        let error = found.error.expect("a finding");
        assert!(!found.accepted, "{provider}");
        assert_eq!(error.code, Code::FailedPrecondition as i32, "{provider}: {error:?}");
    }
    for (provider, body) in [("gemini", "{}"), ("cohere", r#"{"message":"trial key"}"#)] {
        let vendor = Vendor::start().await;
        vendor.replies([Reply::json(200, body)]);
        let house = with_account(provider, &vendor);
        let refreshes = refresh(&house, &format!("providers/{provider}")).await;
        assert!(refreshes[0].error.is_some(), "{provider}: {refreshes:?}");
    }
}

// --- testing accounts ---

fn list_of(ids: &[&str]) -> Reply {
    let data: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
    Reply::json(200, json!({ "data": data }).to_string())
}

/// What OpenAI says of a key that it does not know, as it was recorded.
fn recorded_refusal() -> Reply {
    let cases = recordings::all(&recordings::own());
    let case = cases.iter().find(|case| case.name == "openai/error-auth").expect("a recording");
    assert_eq!(case.response.status, 401);
    replay::reply(case, 0)
}

async fn state(house: &House, id: &str) -> AccountState {
    the_account(house, id).await.unwrap().state()
}

/// Outcome, resource and changed fields of the events of a method, newest first.
async fn audited(house: &House, method: &str) -> Vec<(String, String, String)> {
    let filter = format!("method:\"{method}\"");
    let request = pb::ListAuditEventsRequest { filter, ..Default::default() };
    let events: Vec<_> = house.client().list_audit_events(request).try_collect().await.unwrap();
    let facts = events
        .into_iter()
        .map(|event| (event.outcome, event.resource, event.changed_fields.join(",")));
    facts.collect()
}

fn event(outcome: &str, resource: &str, fields: &str) -> (String, String, String) {
    (outcome.to_owned(), resource.to_owned(), fields.to_owned())
}

#[tokio::test]
async fn a_key_that_is_taken_is_told_with_what_it_may_use() {
    let vendor = Vendor::start().await;
    vendor.replies([list_of(&["one", "two"])]);
    let house = with_account("openai", &vendor);

    let found = test_account(&house, "a").await.unwrap();

    assert!(found.accepted && found.conclusive && found.error.is_none(), "{found:?}");
    assert_eq!(found.models_listed, Some(2));
    assert!(found.latency_duration.is_some() && found.test_time.is_some(), "{found:?}");
    let asked = vendor.last_asked();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/models"));
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(audited(&house, "TestAccount").await, [event("OK", "accounts/a", "")]);
    // Nothing was changed by it.
    assert_eq!(the_account(&house, "a").await.unwrap().create_time, None);
}

#[tokio::test]
async fn a_key_that_is_refused_rests_until_it_is_taken_wherever_it_came_from() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("MEDIARY__VAULT__KEY", VAULT_KEY)
        .env("OPENAI_API_KEY", KEY)
        .env("OPENAI_BASE_URL", vendor.url())
        .start();
    add_provider(&house, "acme", provider_at(&vendor.url())).await;
    add_model(&house, "acme", "m", model("m")).await;
    add_account(&house, "acme-1", account("acme", KEY)).await;
    for (id, model) in [("openai-env", "gpt-4-1-mini"), ("acme-1", "m")] {
        vendor.replies([recorded_refusal(), list_of(&["m"])]);
        let found = test_account(&house, id).await.unwrap();
        assert!(!found.accepted && found.conclusive, "{found:?}");
        let error = found.error.unwrap();
        assert!(error.message.len() > 10 && !error.message.contains(KEY), "{error:?}");
        assert!(found.latency_duration.is_some() && found.models_listed.is_none());
        assert_eq!(state(&house, id).await, AccountState::CredentialsRejected);
        let heard = listen(&house, question(model, "hello")).await;
        assert_eq!(heard.reason(), "NO_USABLE_ACCOUNT");

        assert!(test_account(&house, id).await.unwrap().accepted);
        assert_eq!(state(&house, id).await, AccountState::Active);
    }
    let changed = |id: &str| event("OK", &format!("accounts/{id}"), "state");
    assert_eq!(
        audited(&house, "TestAccount").await,
        [changed("acme-1"), changed("acme-1"), changed("openai-env"), changed("openai-env")]
    );

    // What an operator has disabled is tested and stays so.
    let name = "accounts/acme-1".to_owned();
    let request = pb::DisableAccountRequest { name, ..Default::default() };
    accounts(&house).disable_account(request).await.unwrap();
    vendor.replies([recorded_refusal(), list_of(&["m"])]);
    for accepted in [false, true] {
        assert_eq!(test_account(&house, "acme-1").await.unwrap().accepted, accepted);
        assert_eq!(state(&house, "acme-1").await, AccountState::Disabled);
    }
}

#[tokio::test]
async fn what_says_nothing_of_the_key_leaves_the_account_as_it_was() {
    let vendor = Vendor::start().await;
    let house = with_account("openai", &vendor);
    let limited = r#"{"error":{"message":"no","code":"rate_limit_exceeded"}}"#;
    for (reply, reason, is_reached) in [
        (Reply::json(200, limited), Code::ResourceExhausted, true),
        (Reply::json(200, "<html>"), Code::Internal, true),
        (Reply::json(503, "{}"), Code::Unavailable, true),
    ] {
        vendor.replies([reply]);
        let found = test_account(&house, "a").await.unwrap();
        let code = found.error.as_ref().map(|error| Code::from(error.code));
        assert_eq!((found.accepted, found.conclusive, code), (false, true, Some(reason)));
        assert_eq!(found.latency_duration.is_some(), is_reached);
        assert_eq!(state(&house, "a").await, AccountState::Active);
    }
    let missing = test_account(&house, "nobody").await.unwrap_err();
    assert_eq!((missing.code(), said(&missing).0), (Code::NotFound, "RESOURCE_NOT_FOUND".into()));
    let wrong = pb::TestAccountRequest { name: "accounts/a".into(), request_id: "x".into() };
    let wrong = accounts(&house).test_account(wrong).await.unwrap_err();
    assert_eq!(said(&wrong).1[0].0, "request_id");
}

#[tokio::test]
async fn where_nothing_answers_in_time_the_test_says_so_before_its_own_time_is_up() {
    let vendor = Vendor::start().await;
    vendor.replies([Reply::json(200, "{}").hang_after(0)]);
    let house = with_account("openai", &vendor);
    let mut request = tonic::Request::new(pb::TestAccountRequest {
        name: "accounts/a".to_owned(),
        ..Default::default()
    });
    request.set_timeout(std::time::Duration::from_secs(2));

    let found = accounts(&house).test_account(request).await.unwrap().into_inner();

    let found = found.account_test.unwrap();
    assert!(!found.accepted && found.latency_duration.is_none(), "{found:?}");
    assert_eq!(found.error.unwrap().code, Code::DeadlineExceeded as i32);
}

#[tokio::test]
async fn where_no_call_is_free_only_the_form_of_the_key_is_looked_at() {
    let found = test_account(&House::new(), "sandbox-env").await.unwrap();
    assert!(found.accepted && !found.conclusive && found.error.is_none(), "{found:?}");
    assert_eq!((found.models_listed, found.latency_duration), (None, None));

    let mute = House::plan().config("accounts = [{ id = \"mute\", provider = \"openai\" }]");
    let found = test_account(&mute.start(), "mute").await.unwrap();
    assert!(!found.accepted && !found.conclusive, "{found:?}");
    assert!(found.error.unwrap().message.contains("no key"));
}

// --- refreshing models ---

const ACME: &str = "providers/acme";

fn names(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| format!("{ACME}/models/{id}")).collect()
}

/// `acme` at the vendor, with one model that was written by hand.
async fn with_acme(vendor: &Vendor) -> House {
    let house = House::plan().env("MEDIARY__VAULT__KEY", VAULT_KEY).start();
    add_provider(&house, "acme", provider_at(&vendor.url())).await;
    let hand = v1::Model { context_tokens: Some(7), aliases: vec!["Nick".into()], ..model("Hand") };
    add_model(&house, "acme", "hand", hand).await;
    add_account(&house, "acme-1", account("acme", KEY)).await;
    house
}

fn sized(models: &[(&str, i64)]) -> Reply {
    let data = models.iter().map(|(id, n)| json!({ "id": id, "max_model_len": n }));
    Reply::json(200, json!({ "data": data.collect::<Vec<_>>() }).to_string())
}

#[tokio::test]
async fn a_list_adds_updates_and_retires_and_leaves_alone_what_was_written_by_hand() {
    let vendor = Vendor::start().await;
    let mut house = with_acme(&vendor).await;
    let by_hand = models(&house, "acme", "").await;
    let first = || sized(&[("Hand", 1), ("Nick", 1), ("New/1.5", 100), ("hand!", 5), ("Gone", 9)]);
    vendor.replies([first(), first()]);

    // Only told, at first.
    let dry = pb::RefreshModelsRequest {
        parent: ACME.to_owned(),
        validate_only: true,
        ..Default::default()
    };
    let told = catalog(&house).refresh_models(dry).await.unwrap().into_inner().refreshes;
    assert_eq!(told[0].added_models, names(&["new-1-5", "hand-2", "gone"]));
    assert_eq!(models(&house, "acme", "").await, by_hand);
    assert!(audited(&house, "RefreshModels").await.is_empty());

    assert_eq!(refresh(&house, ACME).await, told);
    assert_eq!(models(&house, "acme", "origin = MANUAL").await, by_hand);
    let new = house.client().get_model(&names(&["new-1-5"])[0]).await.unwrap();
    assert_eq!((new.provider_model_id.as_str(), new.context_tokens), ("New/1.5", Some(100)));
    assert_eq!(new.origin(), v1::ModelOrigin::Discovered);

    // Another size, one model fewer, and one that was taken over by hand.
    let gone = v1::Model { name: names(&["hand-2"])[0].clone(), ..model("hand!") };
    let request = pb::UpdateModelRequest { model: Some(gone), ..Default::default() };
    let taken_over = catalog(&house).update_model(request).await.unwrap().into_inner().model;
    let second = || sized(&[("Hand", 2), ("New/1.5", 200)]);
    vendor.replies([second(), second(), first()]);
    let told = refresh(&house, ACME).await.remove(0);
    assert!(told.added_models.is_empty(), "{told:?}");
    assert_eq!(told.updated_models, names(&["new-1-5"]));
    assert_eq!(told.retired_models, names(&["gone"]));
    assert_eq!(told.error, None);
    house.kill_and_restart();
    let client = house.client();
    assert_eq!(client.get_model(&names(&["new-1-5"])[0]).await.unwrap().context_tokens, Some(200));
    let gone = client.get_model(&names(&["gone"])[0]).await.unwrap();
    assert_eq!(gone.lifecycle(), v1::ModelLifecycle::Retired);
    assert_eq!(Some(client.get_model(&names(&["hand-2"])[0]).await.unwrap()), taken_over);
    assert_eq!(client.get_model(&by_hand[0].name).await.unwrap(), by_hand[0]);

    // The same list again changes nothing, and one with the model again brings it back.
    let none = refresh(&house, ACME).await.remove(0);
    assert_eq!(none, pb::ModelRefresh { provider: ACME.to_owned(), ..Default::default() });
    let back = refresh(&house, ACME).await.remove(0);
    assert_eq!(back.updated_models, names(&["gone", "new-1-5"]));
    let changed = |fields| event("OK", ACME, fields);
    assert_eq!(
        audited(&house, "RefreshModels").await,
        [changed("models"), changed(""), changed("models"), changed("models")]
    );
}

#[tokio::test]
async fn a_model_of_a_list_is_asked_for_whatever_its_provider_takes() {
    let vendor = Vendor::start().await;
    let house = with_acme(&vendor).await;
    vendor.replies([
        list_of(&["fresh"]),
        Reply::sse(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\
                    \"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ),
    ]);
    refresh(&house, ACME).await;
    let tool = v1::Tool { tool_name: "look".to_owned(), ..Default::default() };
    let parameters = v1::TextParameters { tools: vec![tool], ..Default::default() };
    let request =
        v1::StreamTextRequest { parameters: Some(parameters), ..question("fresh", "hello").into() };

    assert_eq!(listen(&house, request).await.text(), "Hi");
    assert_eq!(vendor.last_asked().json()["tools"][0]["function"]["name"], "look");
}

#[tokio::test]
async fn one_provider_that_fails_is_told_beside_those_that_do_not() {
    let (good, bad) = (Vendor::start().await, Vendor::start().await);
    good.replies([list_of(&["fresh"])]);
    bad.replies([recorded_refusal()]);
    let house = with_acme(&good).await;
    add_provider(&house, "bad", provider_at(&bad.url())).await;
    add_account(&house, "bad-1", account("bad", KEY)).await;

    let refreshes = refresh(&house, "providers/-").await;

    let told: Vec<_> = refreshes.iter().map(|one| one.provider.as_str()).collect();
    // The sandbox has no list.
    assert_eq!(told, [ACME, "providers/bad"]);
    assert_eq!((&refreshes[0].added_models, &refreshes[0].error), (&names(&["fresh"]), &None));
    let error = refreshes[1].error.as_ref().unwrap();
    assert_eq!(error.code, Code::FailedPrecondition as i32);
    assert!(!error.message.contains(KEY), "{error:?}");
    let mut events = audited(&house, "RefreshModels").await;
    events.sort();
    assert_eq!(
        events,
        [event("FAILED_PRECONDITION", "providers/bad", ""), event("OK", ACME, "models")]
    );

    // Asked by name, who has no list or no account says so.
    for (parent, code) in
        [("providers/sandbox", Code::Unimplemented), ("providers/openai", Code::FailedPrecondition)]
    {
        let refreshes = refresh(&house, parent).await;
        assert_eq!(refreshes.len(), 1);
        assert_eq!(refreshes[0].error.as_ref().unwrap().code, code as i32, "{refreshes:?}");
    }
    for (parent, reason) in [("providers/nobody", "RESOURCE_NOT_FOUND"), ("acme", "FIELD_INVALID")]
    {
        let request = pb::RefreshModelsRequest { parent: parent.to_owned(), ..Default::default() };
        let refused = catalog(&house).refresh_models(request).await.unwrap_err();
        assert_eq!(said(&refused).0, reason);
    }
}

#[tokio::test]
async fn a_list_without_end_fills_no_more_than_its_share() {
    let vendor = Vendor::start().await;
    let house = with_acme(&vendor).await;
    let ids = |from: usize, to: usize| (from..to).map(|n| format!("m{n}")).collect::<Vec<_>>();
    let many = |ids: &[String]| list_of(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    vendor.replies([many(&ids(0, 2_100)), many(&ids(50, 2_100))]);

    let told = refresh(&house, ACME).await.remove(0);
    assert_eq!(told.added_models.len(), 2_000);
    // What had no room is not taken for gone, and what is gone makes no room.
    let told = refresh(&house, ACME).await.remove(0);
    assert_eq!((told.added_models.len(), told.retired_models.len()), (0, 50));
}

#[tokio::test]
async fn the_command_line_refreshes_and_tests() {
    let (good, bad) = (Vendor::start().await, Vendor::start().await);
    let house = with_acme(&good).await;
    let ask = async |arguments: &'static [&'static str]| {
        let (folder, url) = (house.folder.path().to_owned(), house.url());
        let asking = move || run(&folder, &[("MEDIARY_URL", &url)], arguments, "");
        tokio::task::spawn_blocking(asking).await.unwrap()
    };
    good.always(list_of(&["fresh"]));
    let dry = well(ask(&["models", "refresh", "acme", "--dry-run"]).await);
    assert!(dry.stdout.contains("fresh") && dry.stdout.contains("added"), "{dry:?}");
    assert!(dry.stderr.contains("nothing is changed"), "{dry:?}");
    let done = well(ask(&["models", "refresh", "-o", "id"]).await);
    assert_eq!(done.stdout, "providers/acme/models/fresh\n");
    let again = well(ask(&["models", "refresh"]).await);
    assert!(again.stdout.is_empty() && again.stderr.contains("nothing new"), "{again:?}");

    let tested = well(ask(&["accounts", "test", "acme-1"]).await);
    assert!(tested.stdout.contains("accepts its key, and lists 1 models"), "{tested:?}");

    bad.always(recorded_refusal());
    add_provider(&house, "bad", provider_at(&bad.url())).await;
    add_account(&house, "bad-1", account("bad", KEY)).await;
    let failed = ask(&["models", "refresh"]).await;
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("error: providers/bad: "), "{failed:?}");
    assert_eq!(ask(&["accounts", "test", "bad-1"]).await.code, 1);
}
