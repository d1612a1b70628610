//! What `/metrics` tells, to whom, and that docs/metrics.md says the same.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use mediary_client::{Client, target, v1};
use mediary_proto::{admin as pb, options::Role};
use support::{
    House, Reply,
    ask::{self, listen, question},
    vendors::{ANTHROPIC_HELLO, CAREFUL, OLLAMA_HELLO, OPENAI_HELLO, OPENAI_KEY, QUICK, Street},
    wire::{GRPC, WEB, WEB_TEXT, Wire, with},
};

const PAGE: &str = include_str!("../docs/metrics.md");
const ADMIN: &str = "an-admin-key-of-the-configuration";

async fn get(wire: &Wire, key: Option<&str>) -> (StatusCode, String) {
    let call = wire.bare(Method::GET, "/metrics");
    let call = match key {
        Some(key) => with(call, "authorization", &format!("Bearer {key}")),
        None => call,
    };
    let response = wire.send(call).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn read(house: &House) -> Figures {
    let (status, text) = get(&Wire::http1(house), None).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    Figures(text)
}

struct Figures(String);

impl Figures {
    /// The sample that begins with `name` and has these labels.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in:\n{}", self.0))
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.0.lines().find(|line| {
            let is_it = line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            is_it && labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")))
        })?;
        Some(found.rsplit_once(' ').unwrap().1.parse().unwrap())
    }

    /// Type and labels of every family.
    fn families(&self) -> BTreeMap<String, (String, BTreeSet<String>)> {
        let types = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let mut families: BTreeMap<String, (String, BTreeSet<String>)> = types
            .map(|(name, kind)| (name.to_owned(), (kind.to_owned(), BTreeSet::new())))
            .collect();
        for line in self.0.lines().filter(|line| !line.starts_with('#')) {
            let (sample, labels) =
                line.split_once('{').unwrap_or((line.split(' ').next().unwrap(), ""));
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|end| sample.strip_suffix(end))
                .find(|name| families.contains_key(*name))
                .unwrap_or(sample);
            let labels = labels.split("\",").filter_map(|one| one.split_once("=\""));
            let names = labels.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
            let (_, known) = families.get_mut(family).unwrap_or_else(|| panic!("{line}"));
            known.extend(names);
        }
        families
    }
}

/// The table of the page.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    rows.filter(|cells| cells.len() == 7)
        .map(|cells| {
            let labels = cells[4].split(", ").map(|one| one.trim_matches('`').to_owned());
            let labels = labels.filter(|one| !one.is_empty()).collect();
            (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
        })
        .collect()
}

/// A call of each sort that leaves a figure.
async fn busy() -> Street {
    let street = Street::new().await;
    let broken = Reply::json(500, r#"{"error":{"message":"broken"}}"#);
    street.openai.replies([Reply::sse(OPENAI_HELLO), broken]);
    street.anthropic.replies([Reply::sse(ANTHROPIC_HELLO)]);
    assert_eq!(listen(&street.house, question(QUICK, "a secret question")).await.text(), "Hello!");
    let mut target = target::model(QUICK);
    target.fallback = Some(v1::Fallback { allow: Some(true), models: vec![CAREFUL.to_owned()] });
    let request = v1::StreamTextRequest { target: Some(target), ..question("", "hi").into() };
    assert_eq!(listen(&street.house, request).await.text(), "Hello!");
    street
}

#[tokio::test]
async fn the_page_lists_what_is_told_and_nothing_else() {
    let street = busy().await;
    let told = read(&street.house).await.families();
    assert_eq!(documented(), told);
    assert!(told.len() >= 16);
}

#[test]
fn alerts_name_series_and_labels_that_there_are() {
    let alerts = include_str!("../deploy/prometheus/alerts.yml");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = alerts.split(|c| !is_name(c));
    let named = words.filter(|word| {
        ["gen_ai_", "rpc_", "mediary_"].iter().any(|prefix| word.starts_with(prefix))
    });
    let documented = documented();
    let mut series = 0;
    for word in named {
        let ends = ["_bucket", "_sum", "_count", ""];
        let mut families = ends.iter().filter_map(|end| word.strip_suffix(end));
        let is_series = families.any(|name| documented.contains_key(name));
        let is_label = documented.values().any(|(_, labels)| labels.contains(word));
        assert!(is_series || is_label, "{word} is neither a series nor a label");
        series += usize::from(is_series);
    }
    assert!(series > 8, "{series}");
}

#[tokio::test]
async fn attempts_tokens_costs_and_times_are_counted_by_provider() {
    let street = busy().await;
    let told = read(&street.house).await;

    let openai = ("provider", "openai");
    let reason = ("reason", "UPSTREAM_UNAVAILABLE");
    assert_eq!(told.value("mediary_attempts_total", &[openai, ("outcome", "ok")]), 1.0);
    assert_eq!(told.value("mediary_attempts_total", &[openai, ("outcome", "error"), reason]), 1.0);
    let fallback = [("from", "openai"), ("to", "anthropic"), reason];
    assert_eq!(told.value("mediary_fallbacks_total", &fallback), 1.0);
    let cost = told.value("mediary_cost_usd_total", &[openai, ("model", "quick-1")]);
    assert!((cost - 0.000_013).abs() < 1e-12, "{cost}");

    let names = [
        ("gen_ai_operation_name", "chat"),
        ("gen_ai_provider_name", "openai"),
        ("gen_ai_request_model", "quick-1"),
    ];
    for (kind, tokens) in [("input", 9.0), ("output", 2.0)] {
        let labels = [&names[..], &[("gen_ai_token_type", kind)]].concat();
        assert_eq!(told.value("gen_ai_client_token_usage_sum", &labels), tokens);
    }
    let well = [&names[..], &[("error_type", "")]].concat();
    let ill = [&names[..], &[("error_type", "UPSTREAM_UNAVAILABLE")]].concat();
    assert_eq!(told.value("gen_ai_client_operation_duration_seconds_count", &well), 1.0);
    assert_eq!(told.value("gen_ai_client_operation_duration_seconds_count", &ill), 1.0);
    for name in [
        "gen_ai_client_operation_time_to_first_chunk_seconds_count",
        "gen_ai_client_operation_time_per_output_chunk_seconds_count",
        "gen_ai_server_request_duration_seconds_count",
        "gen_ai_server_time_to_first_token_seconds_count",
        "gen_ai_server_time_per_output_token_seconds_count",
    ] {
        assert_eq!(told.value(name, &names), 1.0, "{name}");
    }
    // The call that fell back was served by the other, and went well.
    let other = [("gen_ai_provider_name", "anthropic"), ("error_type", "")];
    assert_eq!(told.value("gen_ai_server_request_duration_seconds_count", &other), 1.0);

    let stream = ("rpc_method", "mediary.v1.TextService/StreamText");
    let ok = ("rpc_response_status_code", "OK");
    assert_eq!(told.value("rpc_server_call_duration_seconds_count", &[stream, ok]), 2.0);
    assert_eq!(told.value("mediary_overhead_seconds_count", &[stream]), 2.0);
    assert_eq!(told.value("mediary_stream_open", &[]), 0.0);
}

#[tokio::test]
async fn streams_are_counted_while_they_are_open_and_by_who_ended_them() {
    let street = Street::new().await;
    street.openai.always(Reply::sse(OPENAI_HELLO).hang_after(90));
    let mut stream = street.house.client().stream(question(QUICK, "hi")).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(read(&street.house).await.value("mediary_stream_open", &[]), 1.0);
    street.openai.wait_for_calls(1).await;
    drop(stream);
    street.openai.wait_for_leavers(1).await;

    let mut request = tonic::Request::new(v1::StreamTextRequest::from(question(QUICK, "hi")));
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let late = ask::without_a_timer(&street.house).stream_text(request).await.unwrap();
    let mut late = late.into_inner();
    while let Ok(Some(_)) = late.message().await {}

    let mut stopped = street.house.client().stream(question(QUICK, "hi")).await.unwrap();
    while let Some(Ok(event)) = stopped.next().await {
        if let Some(v1::text_event::Kind::Started(started)) = event.kind {
            street.house.client().stop(started.generation).await.unwrap();
        }
    }

    let told = read(&street.house).await;
    for by in ["client", "deadline", "stop"] {
        assert_eq!(told.value("mediary_stream_cancelled_total", &[("by", by)]), 1.0, "{by}");
    }
    assert_eq!(told.value("mediary_stream_open", &[]), 0.0);
    let cancelled = [("outcome", "cancelled"), ("provider", "openai")];
    assert_eq!(told.value("mediary_attempts_total", &cancelled), 2.0);
}

#[tokio::test]
async fn what_callers_make_up_is_no_label_and_secrets_are_nowhere() {
    let street = busy().await;
    let wire = Wire::http2(&street.house);
    for path in ["/mediary.v1.TextService/Sing", "/my.own/Thing", "/grpc.health.v1.Health/Sing"] {
        wire.ask(wire.call(GRPC, path, &())).await;
    }
    let mut labelled =
        question("providers/ollama/models/a-name-of-the-caller", "a secret question");
    labelled.labels = [("team".to_owned(), "a-label-of-the-caller".to_owned())].into();
    street.ollama.replies([Reply::new(200, "application/x-ndjson", OLLAMA_HELLO)]);
    assert_eq!(listen(&street.house, labelled).await.text(), "Hello!");

    let Figures(told) = read(&street.house).await;
    for word in [
        "Sing",
        "Thing",
        "of-the-caller",
        "secret",
        "Hello",
        OPENAI_KEY,
        "generations/",
        "loopback",
    ] {
        assert!(!told.contains(word), "{word} in:\n{told}");
    }
    let told = Figures(told);
    let other = ("rpc_method", "_OTHER");
    assert_eq!(told.value("rpc_server_call_duration_seconds_count", &[other]), 3.0);
    told.value("mediary_cost_usd_total", &[("model", "_OTHER")]);
}

#[tokio::test]
async fn it_is_told_on_this_machine_on_the_admin_listener_and_else_only_when_asked_for() {
    const PUBLIC: &str = "listen.address = \"0.0.0.0:0\"\nlisten.allow_insecure_public = true";
    const OWN: &str = "admin.address = \"127.0.0.1:0\"";
    const ASKED: &str = "telemetry.metrics_on_public = true\nauth.anonymous_role = \"operator\"";
    for (config, expected) in [
        ("", StatusCode::OK),
        (OWN, StatusCode::NOT_FOUND),
        (PUBLIC, StatusCode::NOT_FOUND),
        (&format!("{PUBLIC}\n{ASKED}"), StatusCode::OK),
    ] {
        let house = House::plan().config(config).start();
        assert_eq!(get(&Wire::http1(&house), None).await.0, expected, "{config}");
        assert_eq!(get(&Wire::http2(&house), None).await.0, expected, "{config}");
        if config == OWN {
            let admin = Wire::http2_at(&house.admin_address());
            assert_eq!(get(&admin, None).await.0, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn it_is_told_to_operators() {
    let house = House::plan()
        .config("auth.anonymous_role = \"none\"")
        .config("auth.admin_key = \"env:ADMIN\"")
        .env("ADMIN", ADMIN)
        .start();
    let client = Client::builder().url(house.url()).api_key(ADMIN).build().unwrap();
    let wire = Wire::http1(&house);
    assert_eq!(get(&wire, None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&wire, Some("wrong")).await.0, StatusCode::UNAUTHORIZED);
    for (role, expected) in [
        (Role::Viewer, StatusCode::FORBIDDEN),
        (Role::User, StatusCode::FORBIDDEN),
        (Role::Operator, StatusCode::OK),
    ] {
        let wanted = pb::ApiKey { role: role.into(), ..Default::default() };
        let request = pb::CreateApiKeyRequest { api_key: Some(wanted), ..Default::default() };
        let made = client.raw().keys().create_api_key(request).await.unwrap().into_inner();
        let (status, text) = get(&wire, Some(&made.secret)).await;
        assert_eq!(status, expected, "{role:?} {text}");
        assert_eq!(text.contains("# TYPE"), expected == StatusCode::OK);
    }
    assert_eq!(get(&wire, Some(ADMIN)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn each_call_ends_with_whose_time_it_was_over_every_wire() {
    let street = Street::new().await;
    let wait = std::time::Duration::from_millis(150);
    street.openai.always(Reply::sse(OPENAI_HELLO).after(wait));
    let house = &street.house;
    let stream = v1::StreamTextRequest::from(question(QUICK, "hi"));
    let whole = v1::GenerateTextRequest::from(question(QUICK, "hi"));
    let millis = |text: &str, name: &str| -> f64 {
        let line = text.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {text:?}")).trim().parse().unwrap()
    };
    for path in ["StreamText", "GenerateText"] {
        let path = format!("/mediary.v1.TextService/{path}");
        for (wire, content_type) in
            [(Wire::http1(house), WEB), (Wire::http2(house), WEB), (Wire::http1(house), WEB_TEXT)]
        {
            let call = match path.ends_with("StreamText") {
                true => wire.call(content_type, &path, &stream),
                false => wire.call(content_type, &path, &whole),
            };
            let answer = wire.ask(call).await;
            let frame = answer.trailer_frames.first().expect("a trailer frame");
            let upstream = millis(frame, "mediary-upstream-ms");
            let overhead = millis(frame, "mediary-overhead-ms");
            assert!((150.0..1_500.0).contains(&upstream), "{frame}");
            assert!(overhead > 0.0 && overhead < 100.0, "{frame}");
        }
    }
    // gRPC itself, unary and streamed.
    let mut raw = ask::without_a_timer(house);
    let unary = raw.generate_text(whole).await.unwrap();
    let told = |metadata: &tonic::metadata::MetadataMap| -> f64 {
        metadata.get("mediary-upstream-ms").unwrap().to_str().unwrap().parse().unwrap()
    };
    assert!(told(unary.metadata()) >= 150.0);
    let mut events = raw.stream_text(stream).await.unwrap().into_inner();
    while events.message().await.unwrap().is_some() {}
    let trailers = events.trailers().await.unwrap().expect("trailers");
    assert!(told(&trailers) >= 150.0);
    // A failure as well; a refusal that asked nobody has nothing to tell.
    street.openai.always(Reply::json(400, r#"{"error":{"message":"no"}}"#).after(wait));
    let failed = raw.generate_text(v1::GenerateTextRequest::from(question(QUICK, "hi"))).await;
    assert!(told(failed.unwrap_err().metadata()) >= 150.0);
    let refused = raw.generate_text(v1::GenerateTextRequest::from(question("nobody", "hi"))).await;
    assert!(refused.unwrap_err().metadata().get("mediary-upstream-ms").is_none());
}
