//! Tasks: who serves them, from the environment, from files and at run time; and who would serve
//! a call, with the reasons.

mod support;

use mediary_client::{Client, v1};
use mediary_proto::{
    admin::{self as pb, api_key_service_client::ApiKeyServiceClient},
    options::Role,
};
use support::{
    House, Reply, Vendor,
    admin::{
        account, add_account, add_model, add_provider, add_route, catalog, model, provider_at,
        resolved, route, routes, to_model, to_route,
    },
    ask::{listen, question, said},
    house::run,
};
use tempfile::TempDir;
use tonic::Code;

fn hello(target: v1::ModelTarget) -> v1::StreamTextRequest {
    v1::StreamTextRequest { target: Some(target), ..question("", "hello").into() }
}

fn to_auto(capability: &str) -> v1::ModelTarget {
    let auto = v1::AutoTarget { capability: capability.to_owned() };
    v1::ModelTarget { target: Some(v1::model_target::Target::Auto(auto)), ..Default::default() }
}

fn ask(target: v1::ModelTarget) -> v1::ResolveTargetRequest {
    v1::ResolveTargetRequest { target: Some(target), ..Default::default() }
}

/// Each model with the word for it and whether it would be asked.
fn told(response: &v1::ResolveTargetResponse) -> Vec<(&str, &str, bool)> {
    let last = |name: &'_ str| name.rfind('/').map_or(0, |at| at + 1);
    let all = response.candidates.iter();
    all.map(|one| (&one.model[last(&one.model)..], one.reason.as_str(), one.usable)).collect()
}

async fn the_route(house: &House, task: &str) -> pb::Route {
    let request = pb::GetRouteRequest { name: format!("routes/{task}") };
    routes(house).get_route(request).await.expect("a route").into_inner().route.unwrap()
}

#[tokio::test]
async fn variables_assign_tasks_and_a_stored_route_lies_over_them() {
    let house = House::plan()
        .env("MEDIARY_TASK_TEXT_PROVIDER", "sandbox")
        .env("MEDIARY_TASK_TEXT_MODEL", "sandbox-text")
        .env("MEDIARY_TASK_TEXT_FALLBACK", "sandbox-reasoning, gpt-5-4-mini")
        .env("MEDIARY_TASK_MY_OWN_PROVIDER", "sandbox")
        .env("AI_VIDEO_SLIDES_MODEL", "sandbox-reasoning")
        // Ours win over the older ones.
        .env("AI_TEXT_MODEL", "sandbox-reasoning")
        // Of other software.
        .env("AI_AGENT_MODEL", "gpt-of-somebody-else")
        .env("AI_GATEWAY_URL", "http://x")
        .start();
    let listed = routes(&house).list_routes(pb::ListRoutesRequest::default()).await.unwrap();
    let listed = listed.into_inner().routes;
    let names: Vec<&str> = listed.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["routes/my-own", "routes/text", "routes/video-slides"]);
    assert!(listed.iter().all(|route| route.origin == "environment"), "{listed:?}");
    assert_eq!(listed[1].fallbacks.len(), 2);
    assert!(house.log().contains("AI_AGENT_MODEL"), "{}", house.log());
    for (task, model) in [
        ("text", "sandbox-text"),
        ("routes/video-slides", "sandbox-reasoning"),
        ("my-own", "sandbox-text"),
    ] {
        let heard = listen(&house, hello(to_route(task))).await;
        assert_eq!(heard.finished().model, format!("providers/sandbox/models/{model}"), "{task}");
    }
    let refused = listen(&house, hello(to_route("nothing"))).await.failure.unwrap();
    assert_eq!(refused.reason(), "RESOURCE_NOT_FOUND");
    assert!(refused.to_string().contains("my-own, text, video-slides"), "{refused}");

    let over = pb::UpdateRouteRequest {
        route: Some(pb::Route {
            name: "routes/text".to_owned(),
            target: Some(to_model("sandbox-reasoning")),
            ..Default::default()
        }),
        ..Default::default()
    };
    let changed = routes(&house).update_route(over).await.unwrap().into_inner().route.unwrap();
    assert_eq!((changed.origin.as_str(), changed.fallbacks.len()), ("manual", 2));
    let heard = listen(&house, hello(to_route("text"))).await;
    assert_eq!(heard.finished().model, "providers/sandbox/models/sandbox-reasoning");
    let delete = pb::DeleteRouteRequest { name: "routes/text".to_owned(), ..Default::default() };
    routes(&house).delete_route(delete.clone()).await.unwrap();
    assert_eq!(the_route(&house, "text").await, listed[1]);
    let refused = routes(&house).delete_route(delete).await.unwrap_err();
    assert_eq!(said(&refused).0, "RESOURCE_IN_USE");
    let assign = pb::UpdateRouteRequest {
        route: Some(pb::Route { name: "routes/new".to_owned(), ..route("sandbox-text", &[]) }),
        allow_missing: true,
        ..Default::default()
    };
    routes(&house).update_route(assign).await.unwrap();
    assert_eq!(the_route(&house, "new").await.origin, "manual");
}

#[test]
fn a_variable_of_ours_that_leads_nowhere_stops_the_start_and_is_named() {
    for (variables, named) in [
        (vec![("MEDIARY_TASK_TEXT_MODEL", "no-such-model")], "MEDIARY_TASK_TEXT_MODEL"),
        (vec![("MEDIARY_TASK_TEXT_PROVIDER", "nobody")], "MEDIARY_TASK_TEXT_PROVIDER"),
        (
            vec![
                ("MEDIARY_TASK_TEXT_MODEL", "sandbox-text"),
                ("MEDIARY_TASK_TEXT_FALLBACK", "sandbox-text,no-such-model"),
            ],
            "MEDIARY_TASK_TEXT_FALLBACK",
        ),
        (vec![("MEDIARY_TASK_TEXT_FALLBACK", "sandbox-text")], "MEDIARY_TASK_TEXT_MODEL"),
        (vec![("MEDIARY_TASK_IMAGE_MODEL", "sandbox-text")], "does not do text-to-image"),
    ] {
        let folder = TempDir::new().unwrap();
        let listen = [("MEDIARY__LISTEN__ADDRESS", "127.0.0.1:0")];
        let variables = [&listen[..], &variables].concat();
        for arguments in [&["serve"][..], &["serve", "--check"]] {
            let ran = run(folder.path(), &variables, arguments, "");
            assert_ne!(ran.code, 0);
            assert!(ran.stderr.contains(named), "{named}: {}", ran.stderr);
        }
    }
}

#[tokio::test]
async fn a_file_assigns_tasks_and_its_parameters_give_way_to_the_callers() {
    let vendor = Vendor::start().await;
    vendor.always(Reply::json(500, "{}"));
    let file = r#"
        [[routes]]
        task = "text"
        capability = "text-to-text"
        target = { model = "providers/vllm/models/any" }
        fallbacks = [{ model = "sandbox-text" }]
        parameters = { temperature = 0.25, max_output_tokens = 7, stop = ["halt"] }
    "#;
    let house = House::plan()
        .row("routes.toml", file)
        .env("VLLM_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    let parameters = v1::TextParameters { temperature: Some(1.5), ..Default::default() };
    let request = v1::StreamTextRequest { parameters: Some(parameters), ..hello(to_route("text")) };
    let heard = listen(&house, request).await;
    // Who served, and what was tried before.
    let finished = heard.finished();
    assert_eq!(finished.model, "providers/sandbox/models/sandbox-text");
    let tried: Vec<&str> = finished.attempts.iter().map(|one| one.model.as_str()).collect();
    assert_eq!(tried, ["providers/vllm/models/any", "providers/sandbox/models/sandbox-text"]);
    let sent = vendor.last_asked().json();
    assert_eq!((&sent["temperature"], &sent["max_tokens"]), (&1.5.into(), &7.into()), "{sent}");
    assert_eq!(sent["stop"], serde_json::json!(["halt"]));
    assert_eq!(the_route(&house, "text").await.origin, "config");
}

#[tokio::test]
async fn what_a_route_may_be_is_checked_as_a_whole() {
    let house = House::new();
    let odd = pb::Route {
        capability: "text-to-text".to_owned(),
        target: Some(to_route("other")),
        fallbacks: vec![to_model("no-such"), v1::ModelTarget::default(), to_auto("text-to-image")],
        parameters: Some(pb::TargetParameters {
            text: Some(v1::TextParameters { temperature: Some(9.0), ..Default::default() }),
            media: None,
        }),
        max_cost_pico_usd: Some(-1),
        ..Default::default()
    };
    let create = |route: pb::Route| pb::CreateRouteRequest {
        route: Some(route),
        route_id: "odd".to_owned(),
        ..Default::default()
    };
    let refused = routes(&house).create_route(create(odd)).await.unwrap_err();
    let fields: Vec<String> = said(&refused).1.into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        [
            "route.target.route",
            "route.fallbacks[0].model",
            "route.fallbacks[1]",
            "route.fallbacks[2].auto.capability",
            "route.parameters.text.temperature",
            "route.max_cost_pico_usd",
        ]
    );
    let preset = v1::ModelTarget {
        target: Some(v1::model_target::Target::Preset("p".to_owned())),
        ..Default::default()
    };
    let refused = pb::Route { target: Some(preset), ..route("sandbox-text", &[]) };
    let refused = routes(&house).create_route(create(refused)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let many = vec!["sandbox-text"; 9];
    let refused = routes(&house).create_route(create(route("sandbox-text", &many))).await;
    assert_eq!(said(&refused.unwrap_err()).1[0].0, "route.fallbacks");
    let image = pb::Route { capability: "text-to-image".to_owned(), ..route("sandbox-text", &[]) };
    let refused = routes(&house).create_route(create(image)).await.unwrap_err();
    assert_eq!(said(&refused).1[0].0, "route.target.model");
}

#[tokio::test]
async fn a_resolved_target_tells_who_would_serve_who_would_not_and_why() {
    let house = House::plan()
        .env("MEDIARY__VAULT__KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
        .start();
    add_provider(&house, "acme", provider_at("http://acme.test")).await;
    let retired = v1::ModelLifecycle::Retired.into();
    for (id, more) in [
        ("good", model("Good")),
        ("old", v1::Model { lifecycle: retired, ..model("Old") }),
        ("off", v1::Model { enabled: Some(false), ..model("Off") }),
        ("eyes", v1::Model { capabilities: vec!["image-to-text".to_owned()], ..model("Eyes") }),
    ] {
        add_model(&house, "acme", id, more).await;
    }
    add_account(&house, "acme-1", account("acme", "sk-of-acme-0123456789")).await;
    let models = ["old", "off", "gpt-5-4-mini", "sandbox-text"];
    let listed = add_route(&house, "work", route("good", &models[2..])).await;
    assert_eq!(listed.fallbacks.len(), 2);

    let usage = v1::TokenUsage { input_tokens: 1_000, output_tokens: 10, ..Default::default() };
    let request = v1::ResolveTargetRequest { expected_usage: Some(usage), ..ask(to_route("work")) };
    let response = resolved(&house, request).await.unwrap();
    assert_eq!(response.capability, "text-to-text");
    assert_eq!(
        told(&response),
        [
            ("good", "chosen", true),
            ("sandbox-text", "fallback", true),
            ("gpt-5-4-mini", "no-account", false)
        ]
    );
    let chosen = &response.candidates[0];
    assert_eq!(chosen.account_hint, "acme-1");
    assert_eq!(chosen.estimated_cost_pico_usd, Some(1_000 * 1_000_000 + 10 * 2_000_000));
    assert!(response.candidates[2].detail.contains("OPENAI_API_KEY"), "{response:?}");
    assert!(response.candidates.iter().all(|one| !one.detail.is_empty()));

    for (model, reason) in [("old", "retired"), ("off", "disabled")] {
        let response = resolved(&house, ask(to_model(model))).await.unwrap();
        assert_eq!(told(&response), [(model, reason, false)]);
    }
    let request =
        v1::ResolveTargetRequest { capability: "text-to-text".to_owned(), ..ask(to_model("eyes")) };
    let response = resolved(&house, request).await.unwrap();
    assert_eq!(told(&response), [("eyes", "unsupported-capability", false)]);
    let tools = vec![v1::Tool { tool_name: "look".to_owned(), ..Default::default() }];
    let request = v1::ResolveTargetRequest {
        parameters: Some(v1::TextParameters { tools, ..Default::default() }),
        ..ask(to_route("work"))
    };
    let response = resolved(&house, request).await.unwrap();
    assert_eq!(told(&response)[0], ("sandbox-text", "chosen", true));
    assert_eq!(told(&response)[1], ("good", "unsupported-parameter", false));

    // What a route allows a call to cost.
    let cheap = pb::UpdateRouteRequest {
        route: Some(pb::Route {
            name: "routes/work".to_owned(),
            max_cost_pico_usd: Some(1),
            fallbacks: Vec::new(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["max_cost_pico_usd".to_owned(), "fallbacks".to_owned()],
        }),
        ..Default::default()
    };
    routes(&house).update_route(cheap).await.unwrap();
    let response = resolved(&house, ask(to_route("work"))).await.unwrap();
    assert_eq!(told(&response), [("good", "too-expensive", false)]);
    let refused = listen(&house, hello(to_route("work"))).await;
    assert_eq!(refused.reason(), "BUDGET_EXCEEDED");

    // The account is taken away: operators are told which it was.
    let disable =
        pb::DisableAccountRequest { name: "accounts/acme-1".to_owned(), ..Default::default() };
    support::admin::accounts(&house).disable_account(disable).await.unwrap();
    let response = resolved(&house, ask(to_model("good"))).await.unwrap();
    assert_eq!(told(&response), [("good", "no-account", false)]);
    assert!(response.candidates[0].detail.contains("accounts/acme-1 is disabled"), "{response:?}");

    for (request, field) in [
        (ask(v1::ModelTarget::default()), "capability"),
        (
            v1::ResolveTargetRequest { capability: "to-sing".to_owned(), ..ask(to_auto("")) },
            "capability",
        ),
    ] {
        let refused = resolved(&house, request).await.unwrap_err();
        assert_eq!(said(&refused).1[0].0, field);
    }
    let auto = resolved(&house, ask(to_auto("text-to-text"))).await.unwrap();
    assert!(auto.candidates.iter().any(|one| one.reason == "no-account"), "{auto:?}");
    assert!(auto.candidates.iter().all(|one| !one.usable), "{auto:?}");
    let nobody = resolved(&house, ask(to_auto("text-to-video"))).await.unwrap_err();
    assert_eq!(said(&nobody).0, "NO_USABLE_ACCOUNT");
}

#[tokio::test]
async fn a_key_uses_the_routes_and_models_that_it_names() {
    let house = House::plan()
        .config("auth.anonymous_role = \"admin\"")
        .env("MEDIARY_TASK_TEXT_MODEL", "sandbox-text")
        .env("MEDIARY_TASK_TEXT_FALLBACK", "sandbox-reasoning")
        .env("MEDIARY_TASK_OTHER_MODEL", "sandbox-text")
        .start();
    let request = pb::CreateApiKeyRequest {
        api_key: Some(pb::ApiKey {
            role: Role::User.into(),
            allowed_routes: vec!["routes/text".to_owned()],
            allowed_models: vec!["providers/sandbox/models/sandbox-reasoning".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut keys = ApiKeyServiceClient::new(house.client().raw().transport());
    let secret = keys.create_api_key(request).await.unwrap().into_inner().secret;
    let user = Client::builder().url(house.url()).api_key(&secret).build().unwrap();

    let request: v1::GenerateTextRequest = question("", "hello").into();
    let by_route =
        |task: &str| v1::GenerateTextRequest { target: Some(to_route(task)), ..request.clone() };
    let answer = user.raw().text().generate_text(by_route("text")).await.unwrap().into_inner();
    assert_eq!(answer.model, "providers/sandbox/models/sandbox-reasoning");
    let refused = user.raw().text().generate_text(by_route("other")).await.unwrap_err();
    assert_eq!(
        (refused.code(), said(&refused).0.as_str()),
        (Code::PermissionDenied, "MODEL_NOT_ALLOWED")
    );
    let by_model = v1::GenerateTextRequest { target: Some(to_model("sandbox-text")), ..request };
    let refused = user.raw().text().generate_text(by_model).await.unwrap_err();
    assert_eq!(said(&refused).0, "MODEL_NOT_ALLOWED");

    let response = user.raw().models().resolve_target(ask(to_route("text"))).await.unwrap();
    let response = response.into_inner();
    assert_eq!(
        told(&response),
        [("sandbox-reasoning", "chosen", true), ("sandbox-text", "not-allowed", false)]
    );
    assert_eq!(response.candidates[0].account_hint, "");
    // Only those who may see where a provider is called do.
    let get = v1::GetProviderRequest { name: "providers/openai".to_owned() };
    let seen = user.raw().models().get_provider(get.clone()).await.unwrap().into_inner();
    let seen = seen.provider.unwrap();
    assert_eq!((seen.base_uri.as_str(), seen.auth_scheme.as_str()), ("", ""));
    let seen = house.client().raw().models().get_provider(get).await.unwrap().into_inner();
    let seen = seen.provider.unwrap();
    assert_eq!(
        (seen.base_uri.as_str(), seen.auth_scheme.as_str()),
        ("https://api.openai.com/v1", "bearer")
    );
    assert!(seen.protocol_settings_json.contains("OPENAI_API_KEY"), "{seen:?}");
}

#[tokio::test]
async fn a_route_outlives_a_model_that_is_forced_away() {
    let house = House::new();
    add_provider(&house, "acme", provider_at("http://acme.test")).await;
    add_model(&house, "acme", "m", model("M")).await;
    add_route(&house, "work", route("m", &["sandbox-text"])).await;
    let name = "providers/acme/models/m".to_owned();
    let request = pb::DeleteModelRequest { name, force: true, ..Default::default() };
    catalog(&house).delete_model(request).await.unwrap();
    let heard = listen(&house, hello(to_route("work"))).await;
    assert_eq!(heard.finished().model, "providers/sandbox/models/sandbox-text");
    let response = resolved(&house, ask(to_route("work"))).await.unwrap();
    assert_eq!(told(&response), [("sandbox-text", "chosen", true), ("m", "not-found", false)]);
}
