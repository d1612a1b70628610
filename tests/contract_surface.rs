//! The whole surface of the contract over real gRPC: what is served, what is not, how both say
//! so, and how the server takes its leave.

mod support;

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, stream};
use http::{Method, StatusCode};
use mediary_client::v1::{self, text_event::Kind};
use mediary_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use support::{
    House,
    ask::question,
    wire::{self, GRPC, WEB, WEB_TEXT, Wire, frame, with},
};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const SERVER_INFO: &str = "/mediary.v1.ServerService/GetServerInfo";
const STREAM_TEXT: &str = "/mediary.v1.TextService/StreamText";
const LIST_MODELS: &str = "/mediary.v1.ModelService/ListModels";

fn contract() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()
}

/// Every RPC that we define.
fn rpcs(contract: &DescriptorPool) -> Vec<MethodDescriptor> {
    let services = contract.services().filter(|one| one.package_name().starts_with("mediary."));
    services.flat_map(|one| one.methods().collect::<Vec<_>>()).collect()
}

fn path(rpc: &MethodDescriptor) -> String {
    format!("/{}/{}", rpc.parent_service().full_name(), rpc.name())
}

/// The names that `ErrorInfo.reason` may have.
fn reasons(contract: &DescriptorPool) -> BTreeSet<String> {
    let reasons = contract.get_enum_by_name("mediary.v1.ErrorReason").unwrap();
    let names = reasons.values().filter(|value| value.number() != 0);
    names.map(|value| value.name().strip_prefix("ERROR_REASON_").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_rpc_of_the_contract_is_served_or_says_that_it_is_not() {
    let house = House::new();
    let wire = Wire::http2(&house);
    let features = house.client().server_info().await.unwrap().features;
    let contract = contract();
    let reasons = reasons(&contract);
    let mut known = BTreeSet::new();

    for rpc in rpcs(&contract) {
        let answer = wire.ask(wire.call(GRPC, &path(&rpc), &())).await;

        let name = rpc.full_name();
        assert_eq!(answer.http, StatusCode::OK, "{name}");
        if answer.code() == Code::Ok {
            assert!(features.iter().any(|one| one == name), "{name} answers and is no feature");
        } else {
            let info = answer.info();
            assert!(reasons.contains(&info.reason), "{name}: {info:?}");
            assert_eq!(info.domain, "mediary.dev", "{name}");
            if features.iter().any(|one| one == name) {
                assert_ne!(info.reason, "METHOD_DISABLED", "{name}");
            } else {
                assert_eq!(answer.code(), Code::Unimplemented, "{name}");
                assert_eq!(info.reason, "METHOD_DISABLED", "{name}");
                assert_eq!(info.metadata["method"], name);
                assert!(answer.status.as_ref().unwrap().message().contains(name));
            }
        }
        known.insert(name.to_owned());
    }

    let unknown: Vec<_> = features.iter().filter(|one| !known.contains(*one)).collect();
    assert!(unknown.is_empty(), "features that are not in the contract: {unknown:?}");
    println!("{} RPCs, {} of them served", known.len(), features.len());
}

#[tokio::test]
async fn what_is_no_method_says_so_and_what_is_no_call_is_not_found() {
    let house = House::new();
    let wire = Wire::http2(&house);
    for path in
        ["/mediary.v1.TextService/Sing", "/mediary.v9.TextService/StreamText", "/no.Such/Thing"]
    {
        for content_type in [GRPC, WEB, WEB_TEXT] {
            let answer = wire.ask(wire.call(content_type, path, &())).await;
            assert_eq!(answer.code(), Code::Unimplemented, "{path} {content_type}");
            let info = answer.info();
            assert_eq!(info.reason, "METHOD_DISABLED", "{path} {content_type}");
            assert_eq!(info.domain, "mediary.dev", "{path} {content_type}");
            let method = path.trim_start_matches('/').replace('/', ".");
            assert_eq!(info.metadata["method"], method, "{path} {content_type}");
        }
    }

    for wire in [Wire::http1(&house), wire] {
        let nowhere = wire.send(wire.bare(Method::GET, "/nowhere")).await;
        assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
        let rest = wire.bare(Method::POST, STREAM_TEXT);
        let rest = wire.send(with(rest, "content-type", "application/json")).await;
        assert_eq!(rest.status(), StatusCode::NOT_FOUND);
        let here = wire.send(wire.bare(Method::GET, "/readyz")).await;
        assert_eq!(here.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn health_speaks_for_the_server_and_for_each_service() {
    let house = House::new();
    let features = house.client().server_info().await.unwrap().features;
    let services: BTreeSet<&str> =
        features.iter().map(|name| name.rsplit_once('.').unwrap().0).collect();
    assert!(services.len() >= 3, "{services:?}");
    let mut health = HealthClient::new(house.client().raw().transport());

    for service in services.iter().copied().chain([""]) {
        let reply = health.check(HealthCheckRequest { service: service.to_owned() }).await;
        assert_eq!(reply.unwrap().get_ref().status(), ServingStatus::Serving, "{service:?}");
    }

    let unknown = HealthCheckRequest { service: "mediary.v1.JukeboxService".to_owned() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
}

/// Both versions have the same messages in modules of their own.
macro_rules! reflected {
    ($version:ident, $house:expr) => {{
        use prost::Message as _;
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest as Ask,
            server_reflection_response::MessageResponse as Told,
        };
        let mut client = ServerReflectionClient::new($house.client().raw().transport());
        let ask = |ask| ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
        let questions = [
            ask(Ask::ListServices(String::new())),
            ask(Ask::FileContainingSymbol("mediary.v1.TextService".to_owned())),
            ask(Ask::FileByFilename("mediary/options/v1/options.proto".to_owned())),
        ];
        let replies = client.server_reflection_info(stream::iter(questions)).await.unwrap();
        let mut replies = replies.into_inner();
        let mut services = Vec::new();
        let mut files = Vec::new();
        while let Some(Ok(reply)) = replies.next().await {
            match reply.message_response.unwrap() {
                Told::ListServicesResponse(list) => {
                    services.extend(list.service.into_iter().map(|one| one.name));
                }
                Told::FileDescriptorResponse(found) => {
                    assert!(!found.file_descriptor_proto.is_empty());
                    for bytes in found.file_descriptor_proto {
                        let name = prost_types::FileDescriptorProto::decode(bytes.as_ref());
                        files.push((name.unwrap().name().to_owned(), bytes.to_vec()));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        (services, files)
    }};
}

#[tokio::test]
async fn reflection_tells_the_contract_with_the_options_of_its_methods_in_both_versions() {
    let house = House::new();
    let contract = contract();
    for (services, files) in [reflected!(v1, house), reflected!(v1alpha, house)] {
        for rpc in rpcs(&contract) {
            let service = rpc.parent_service();
            assert!(services.iter().any(|name| name == service.full_name()), "{services:?}");
        }
        assert!(services.iter().any(|name| name == "grpc.health.v1.Health"), "{services:?}");

        // Policies are extensions: whoever asks needs the very bytes that we were built with.
        for (name, bytes) in &files {
            let is_whole = FILE_DESCRIPTOR_SET.windows(bytes.len()).any(|one| one == bytes);
            assert!(is_whole, "{name} is not as it was compiled");
        }
        assert!(files.iter().any(|(name, _)| name == "mediary/v1/text.proto"));
        assert!(files.iter().any(|(name, _)| name == "mediary/options/v1/options.proto"));
    }
}

/// A request that the sandbox answers as `options` say.
fn staged(options: &str) -> v1::StreamTextRequest {
    let mut request = question("sandbox-text", "say hello");
    request.parameters.provider_options_json =
        [("sandbox".to_owned(), options.to_owned())].into_iter().collect();
    request.into()
}

#[tokio::test]
async fn a_stop_takes_no_new_work_and_lets_a_running_answer_finish() {
    let mut house = House::new();
    let paced = staged(r#"{"tokens": 80, "tokens_per_second": 40}"#);
    let mut answer = house.client().stream(paced).await.unwrap();
    while !matches!(answer.next().await.unwrap().unwrap().kind, Some(Kind::TextDelta(_))) {}
    let mut health = HealthClient::new(house.client().raw().transport());
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let before = watched.message().await.unwrap().unwrap();
    assert_eq!(before.status(), ServingStatus::Serving);

    house.signal("TERM");

    let after = watched.message().await.unwrap().unwrap();
    assert_eq!(after.status(), ServingStatus::NotServing);
    drop((watched, health));
    // From here on the answer is all that keeps the server.
    for wire in [Wire::http1(&house), Wire::http2(&house)] {
        let ready = wire.send(wire.bare(Method::GET, "/readyz")).await;
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
        let alive = wire.send(wire.bare(Method::GET, "/livez")).await;
        assert_eq!(alive.status(), StatusCode::OK);
    }
    let wire = Wire::http2(&house);
    let late = wire.ask(wire.call(GRPC, STREAM_TEXT, &staged("{}"))).await;
    assert_eq!((late.code(), late.reason().as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    let asked = HealthClient::new(house.client().raw().transport());
    let asked = { asked }.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(asked.get_ref().status(), ServingStatus::NotServing);

    let mut words = 0;
    let end = loop {
        match answer.next().await.expect("an end").unwrap().kind.unwrap() {
            Kind::TextDelta(_) => words += 1,
            Kind::Finished(end) => break end,
            _ => {}
        }
    };
    assert_eq!(end.usage.unwrap().output_tokens, 80);
    assert_eq!(words, 79, "one came before the stop");
    assert!(answer.next().await.is_none());
    let (_, well) = house.wait_for_exit(Duration::from_secs(5));
    assert!(well, "{}", house.log());
}

#[tokio::test]
async fn an_answer_that_outlives_the_drain_is_ended_with_its_reason() {
    let mut house = House::plan().config("listen.drain_timeout = \"300ms\"").start();
    let endless = staged(r#"{"hang_after": 3}"#);
    let mut answer = house.client().raw().text().stream_text(endless).await.unwrap().into_inner();
    let mut kinds = Vec::new();
    while kinds.len() < 4 {
        kinds.push(answer.message().await.unwrap().unwrap().event.unwrap().kind.unwrap());
    }
    assert!(matches!(kinds[3], Kind::TextDelta(_)), "{kinds:?}");

    house.signal("TERM");

    let last = answer.message().await.unwrap().unwrap().event.unwrap();
    let Some(Kind::Failed(failed)) = last.kind else { panic!("{last:?}") };
    assert!(failed.retryable);
    let status = answer.message().await.expect_err("the status that follows");
    assert_eq!(failed.status.unwrap().code, Code::Unavailable as i32);
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(wire::info(&status).reason, "SHUTTING_DOWN");
    let (took, well) = house.wait_for_exit(Duration::from_secs(5));
    assert!(well, "after {took:?}: {}", house.log());
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_with_its_reason() {
    let house = House::new();
    let large = question("sandbox-text", &"x".repeat(5 << 20));
    let large = v1::StreamTextRequest::from(large);
    for (wire, content_type) in [
        (Wire::http2(&house), GRPC),
        (Wire::http2(&house), WEB),
        (Wire::http2(&house), WEB_TEXT),
        (Wire::http1(&house), WEB),
        (Wire::http1(&house), WEB_TEXT),
    ] {
        let answer = wire.ask(wire.call(content_type, STREAM_TEXT, &large)).await;
        assert_eq!(answer.code(), Code::ResourceExhausted, "{content_type}");
        assert_eq!(answer.reason(), "MESSAGE_TOO_LARGE", "{content_type}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_mistake() {
    let house = House::new();
    for wire in [Wire::http1(&house), Wire::http2(&house)] {
        for content_type in [GRPC, WEB, WEB_TEXT] {
            if content_type == GRPC && wire.is_http1() {
                continue;
            }
            for path in [STREAM_TEXT, LIST_MODELS, "/mediary.v1.TextService/GenerateText"] {
                for nonsense in [frame(b"\xff\xff\xff\xff"), frame(&[0x0a, 0x7f, 1]), Vec::new()] {
                    let call = wire.call_of_bytes(content_type, path, &nonsense);
                    let answer = wire.ask(call).await;
                    let what = format!("{path} {content_type} {nonsense:?}");
                    assert_eq!(answer.code(), Code::InvalidArgument, "{what}");
                    assert_eq!(answer.reason(), "FIELD_INVALID", "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_timeout_that_cannot_be_read_is_refused() {
    let house = House::new();
    let wire = Wire::http2(&house);
    for nonsense in ["soon", "5", "S", "-1S", "1.5S", "123456789S", "5x", ""] {
        for (content_type, path) in [(GRPC, STREAM_TEXT), (GRPC, SERVER_INFO), (WEB, SERVER_INFO)] {
            let call = with(wire.call(content_type, path, &()), "grpc-timeout", nonsense);
            let answer = wire.ask(call).await;
            assert_eq!(answer.code(), Code::InvalidArgument, "{nonsense:?} {path}");
            assert_eq!(answer.reason(), "FIELD_INVALID", "{nonsense:?} {path}");
            let (_, fields) = support::ask::said(answer.status.as_ref().unwrap());
            assert_eq!(fields[0].0, "grpc-timeout", "{nonsense:?} {path}");
        }
    }
    let call = with(wire.call(GRPC, SERVER_INFO, &()), "grpc-timeout", "20S");
    assert_eq!(wire.ask(call).await.code(), Code::Ok);
}
