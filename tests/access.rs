//! Who may call what: keys, roles, owners, and what is noted of it.

mod support;

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use mediary_client::Client;
use mediary_proto::{
    FILE_DESCRIPTOR_SET,
    admin::{
        self as pb, api_key_service_client::ApiKeyServiceClient,
        audit_service_client::AuditServiceClient,
    },
    options::Role,
    v1,
};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use support::{
    House,
    ask::question,
    wire::{Answer, GRPC, WEB, WEB_TEXT, Wire, info, with},
};
use tonic::{Code, Status};

const ADMIN: &str = "an-admin-key-of-the-configuration";

/// A server that admits nobody without a key.
fn locked() -> House {
    House::plan()
        .config("auth.anonymous_role = \"none\"")
        .config("auth.admin_key = \"env:ADMIN\"")
        .env("ADMIN", ADMIN)
        .start()
}

fn client(house: &House, key: &str) -> Client {
    Client::builder().url(house.url()).api_key(key).build().expect("a client")
}

fn keys(client: &Client) -> ApiKeyServiceClient<mediary_client::Transport> {
    ApiKeyServiceClient::new(client.raw().transport())
}

/// Makes a key and tells its name and secret.
async fn key(house: &House, wanted: pb::ApiKey) -> (String, String) {
    let request = pb::CreateApiKeyRequest { api_key: Some(wanted), ..Default::default() };
    let made = keys(&client(house, ADMIN)).create_api_key(request).await.expect("a key");
    let made = made.into_inner();
    (made.api_key.unwrap().name, made.secret)
}

fn of(role: Role) -> pb::ApiKey {
    pb::ApiKey { role: role.into(), ..Default::default() }
}

/// A stream that has nothing to say for a minute.
fn slow() -> v1::StreamTextRequest {
    let options = [("sandbox".to_owned(), "{\"latency_ms\": 60000}".to_owned())].into();
    let parameters = v1::TextParameters { provider_options_json: options, ..Default::default() };
    v1::StreamTextRequest {
        parameters: Some(parameters),
        ..question("sandbox-text", "hello").into()
    }
}

fn rpcs() -> Vec<MethodDescriptor> {
    let contract = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let ours = contract.services().filter(|one| one.package_name().starts_with("mediary."));
    ours.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn required(rpc: &MethodDescriptor) -> i32 {
    let pool = rpc.parent_pool();
    let extension = pool.get_extension_by_name("mediary.options.v1.policy").unwrap();
    let options = rpc.options();
    let policy = options.get_extension(&extension);
    let role = policy.as_message().unwrap().get_field_by_name("required_role").unwrap();
    role.as_enum_number().unwrap()
}

/// What the gate says of an empty request.
fn verdict(answer: &Answer) -> &'static str {
    let Some(status) = answer.status.as_ref().filter(|status| status.code() != Code::Ok) else {
        return "admitted";
    };
    match (status.code(), info(status).reason.as_str()) {
        (Code::Unauthenticated, "KEY_MISSING") => "missing",
        (Code::Unauthenticated, "KEY_INVALID") => "invalid",
        (Code::PermissionDenied, "ROLE_INSUFFICIENT") => "denied",
        (Code::Unauthenticated | Code::PermissionDenied, other) => panic!("{other}"),
        _ => "admitted",
    }
}

#[tokio::test]
async fn every_method_admits_who_it_says_and_nobody_else_over_every_wire() {
    let house = locked();
    let mut callers = vec![("none", None, 0), ("wrong", Some("mdy_x".to_owned()), 0)];
    for role in [Role::Viewer, Role::User, Role::Operator, Role::Admin] {
        let (_, secret) = key(&house, of(role)).await;
        callers.push((role.as_str_name(), Some(secret), role as i32));
    }
    let (http1, http2) = (Wire::http1(&house), Wire::http2(&house));
    let mut cells = BTreeMap::<&str, usize>::new();
    for rpc in rpcs() {
        let required = required(&rpc);
        let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
        for (name, secret, role) in &callers {
            for (wire, content_type) in
                [(&http2, GRPC), (&http1, WEB), (&http2, WEB), (&http1, WEB_TEXT)]
            {
                let call = wire.call_of_bytes(content_type, &path, &support::wire::frame(&[]));
                let call = match secret {
                    Some(secret) => with(call, "authorization", &format!("Bearer {secret}")),
                    None => call,
                };
                // Watches and the like would not end by themselves.
                let answer = wire.ask(with(call, "grpc-timeout", "1S")).await;
                let expected = match *name {
                    "none" => "missing",
                    "wrong" => "invalid",
                    _ if *role >= required => "admitted",
                    _ => "denied",
                };
                assert_eq!(verdict(&answer), expected, "{path} {name} {content_type} {answer:?}");
                *cells.entry(expected).or_default() += 1;
            }
        }
    }
    println!("cells of the matrix: {cells:?}");
    assert!(cells["admitted"] > 500 && cells["denied"] > 500, "{cells:?}");
}

#[tokio::test]
async fn what_belongs_to_one_owner_is_as_if_there_were_none_to_another() {
    let house = locked();
    let (_, mine) = key(&house, pb::ApiKey { owner: "me".to_owned(), ..of(Role::User) }).await;
    let (_, also_mine) = key(&house, pb::ApiKey { owner: "me".to_owned(), ..of(Role::User) }).await;
    let (_, other) = key(&house, of(Role::User)).await;
    let (_, operator) = key(&house, of(Role::Operator)).await;
    let request = v1::StreamTextRequest {
        resumable: true,
        request_id: "018f4ea0-0000-7000-8000-000000000001".to_owned(),
        ..slow()
    };
    let mut text = client(&house, &mine).raw().text();
    let mut stream = text.stream_text(request.clone()).await.unwrap().into_inner();
    let Some(v1::text_event::Kind::Started(started)) =
        stream.next().await.unwrap().unwrap().event.unwrap().kind
    else {
        panic!("a stream begins with started");
    };
    let name = started.generation;
    let resume = v1::ResumeTextRequest { generation: name.clone(), after_sequence: 0 };
    for (secret, sees) in [(&also_mine, true), (&other, false), (&operator, true)] {
        let resumed = client(&house, secret).raw().text().resume_text(resume.clone()).await;
        assert_eq!(resumed.is_ok(), sees, "{resumed:?}");
        if let Err(status) = resumed {
            assert_eq!((status.code(), info(&status).reason), (Code::NotFound, expired()));
        }
    }
    // The same request id of another owner is another request.
    let theirs = client(&house, &other).raw().text().stream_text(request).await.unwrap();
    let event = theirs.into_inner().next().await.unwrap().unwrap().event.unwrap();
    let Some(v1::text_event::Kind::Started(theirs)) = event.kind else { panic!("{event:?}") };
    assert_ne!(theirs.generation, name);
    let stop = v1::StopTextRequest { generation: name, ..Default::default() };
    let refused = client(&house, &other).raw().text().stop_text(stop.clone()).await.unwrap_err();
    assert_eq!((refused.code(), info(&refused).reason), (Code::NotFound, expired()));
    client(&house, &also_mine).raw().text().stop_text(stop).await.unwrap();
}

fn expired() -> String {
    "STREAM_EXPIRED".to_owned()
}

#[tokio::test]
async fn a_page_token_is_good_for_its_owner_alone_and_outlives_the_process() {
    let mut house = locked();
    let (_, mine) = key(&house, of(Role::Viewer)).await;
    let (_, other) = key(&house, of(Role::Viewer)).await;
    let request = v1::ListModelsRequest {
        parent: "providers/-".to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let page = client(&house, &mine).raw().models().list_models(request.clone()).await.unwrap();
    let page_token = page.into_inner().next_page_token;
    let next = v1::ListModelsRequest { page_token, ..request };
    client(&house, &mine).raw().models().list_models(next.clone()).await.unwrap();
    let refused = client(&house, &other).raw().models().list_models(next.clone()).await;
    assert_eq!(info(&refused.unwrap_err()).reason, "PAGE_TOKEN_INVALID");
    house.kill_and_restart();
    client(&house, &mine).raw().models().list_models(next).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_kept_as_a_hash_and_found_again_after_a_kill() {
    let mut house = locked();
    let (name, secret) = key(&house, of(Role::User)).await;
    let mut admin = keys(&client(&house, ADMIN));
    let request = pb::GetApiKeyRequest { name: name.clone() };
    let shown = admin.get_api_key(request).await.unwrap().into_inner().api_key.unwrap();
    assert_eq!(shown.key_hint, secret[secret.len() - 4..]);
    assert_eq!(shown.owner, name.strip_prefix("apiKeys/").unwrap());
    assert!(!format!("{shown:?}").contains(&secret));
    house.kill_and_restart();
    client(&house, &secret).server_info().await.expect("the key still opens");
    house.signal("TERM");
    house.wait_for_exit(std::time::Duration::from_secs(10));
    for entry in std::fs::read_dir(house.folder.path().join("data")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let is_in = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_in, "the secret stands in the store");
    }
    assert!(!house.log().contains(&secret));
}

#[tokio::test]
async fn a_change_holds_for_the_next_call_and_a_deletion_ends_open_streams() {
    let house = locked();
    let (name, secret) = key(&house, of(Role::User)).await;
    let caller = client(&house, &secret);
    let mut admin = keys(&client(&house, ADMIN));
    let update = |enabled: bool| pb::UpdateApiKeyRequest {
        api_key: Some(pb::ApiKey {
            name: name.clone(),
            enabled: Some(enabled),
            ..Default::default()
        }),
        ..Default::default()
    };
    admin.update_api_key(update(false)).await.unwrap();
    let refused = caller.raw().server().get_server_info(v1::GetServerInfoRequest {}).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code(), info(&refused).reason.as_str()), invalid());
    admin.update_api_key(update(true)).await.unwrap();
    caller.server_info().await.expect("it is enabled again");

    let mut stream = caller.raw().text().stream_text(slow()).await.unwrap().into_inner();
    stream.next().await.unwrap().expect("it has started");
    admin.delete_api_key(pb::DeleteApiKeyRequest { name, ..Default::default() }).await.unwrap();
    let begin = std::time::Instant::now();
    let end = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(status)) => break status,
            None => panic!("it ended as if it were whole"),
        }
    };
    println!("an open stream ended {} ms after its key was deleted", begin.elapsed().as_millis());
    assert!(begin.elapsed() < std::time::Duration::from_secs(5));
    assert_eq!((end.code(), info(&end).reason.as_str()), invalid());
}

fn invalid() -> (Code, &'static str) {
    (Code::Unauthenticated, "KEY_INVALID")
}

#[tokio::test]
async fn limits_of_a_key_hold_and_say_when_to_come_back() {
    let house = locked();
    let limits = pb::RateLimits { requests_per_minute: Some(3), ..Default::default() };
    let (_, secret) = key(&house, pb::ApiKey { limits: Some(limits), ..of(Role::User) }).await;
    let caller = client(&house, &secret);
    let mut refused = None;
    for _ in 0..8 {
        // A minute may begin between two calls, once.
        if let Err(status) =
            caller.raw().server().get_server_info(v1::GetServerInfoRequest {}).await
        {
            refused = Some(status);
            break;
        }
    }
    let refused = refused.expect("four calls do not fit");
    let details = tonic_types::StatusExt::get_error_details(&refused);
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(info(&refused).reason, "RATE_LIMITED");
    let wait = details.retry_info().unwrap().retry_delay.unwrap();
    assert!(wait.as_secs() >= 1 && wait.as_secs() <= 60, "{wait:?}");
}

#[tokio::test]
async fn a_key_may_have_so_many_streams_open_and_no_more() {
    let house = House::plan()
        .config("auth.max_streams_per_key = 2")
        .config("auth.admin_key = \"env:ADMIN\"")
        .env("ADMIN", ADMIN)
        .start();
    let (_, secret) = key(&house, of(Role::User)).await;
    let caller = client(&house, &secret);
    let open =
        || async { caller.raw().text().stream_text(slow()).await.map(tonic::Response::into_inner) };
    let (_first, second) = (open().await.unwrap(), open().await.unwrap());
    let refused = open().await.unwrap_err();
    assert_eq!(info(&refused).reason, "TOO_MANY_STREAMS");
    drop(second);
    // The server hears of it a moment later.
    let again = async {
        while open().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), again).await.expect("a place is free");
}

#[tokio::test]
async fn a_key_uses_the_models_that_it_names() {
    let house = locked();
    let allowed_models = vec!["providers/openai/models/-".to_owned()];
    let (_, secret) = key(&house, pb::ApiKey { allowed_models, ..of(Role::User) }).await;
    let request: v1::GenerateTextRequest = question("sandbox-text", "hi").into();
    let refused = client(&house, &secret).raw().text().generate_text(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(info(&refused).reason, "MODEL_NOT_ALLOWED");
}

#[tokio::test]
async fn a_repeated_request_makes_one_key_and_tells_its_secret_once() {
    let house = locked();
    let mut admin = keys(&client(&house, ADMIN));
    let request = pb::CreateApiKeyRequest {
        api_key: Some(of(Role::User)),
        request_id: "018f4ea0-0000-7000-8000-000000000002".to_owned(),
        ..Default::default()
    };
    let first = admin.create_api_key(request.clone()).await.unwrap();
    assert!(first.metadata().get("idempotent-replayed").is_none());
    let again = admin.create_api_key(request.clone()).await.unwrap();
    assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
    let (first, again) = (first.into_inner(), again.into_inner());
    assert_eq!(first.api_key.unwrap().name, again.api_key.unwrap().name);
    assert!(!first.secret.is_empty() && again.secret.is_empty());
    let other = pb::CreateApiKeyRequest { api_key: Some(of(Role::Admin)), ..request };
    let refused = admin.create_api_key(other).await.unwrap_err();
    assert_eq!(info(&refused).reason, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_stale_version_changes_nothing_and_a_check_leaves_nothing() {
    let house = locked();
    let mut admin = keys(&client(&house, ADMIN));
    let (name, _) = key(&house, of(Role::User)).await;
    let read = pb::GetApiKeyRequest { name: name.clone() };
    let before = admin.get_api_key(read.clone()).await.unwrap().into_inner().api_key.unwrap();
    let rename = |display_name: &str, etag: &str| pb::UpdateApiKeyRequest {
        api_key: Some(pb::ApiKey {
            name: name.clone(),
            display_name: display_name.to_owned(),
            etag: etag.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let checked = pb::UpdateApiKeyRequest { validate_only: true, ..rename("checked", "") };
    let checked = admin.update_api_key(checked).await.unwrap().into_inner().api_key.unwrap();
    assert_eq!(checked.display_name, "checked");
    let now = admin.get_api_key(read.clone()).await.unwrap().into_inner().api_key.unwrap();
    assert_eq!(now, before);
    admin.update_api_key(rename("first", &before.etag)).await.unwrap();
    let refused = admin.update_api_key(rename("second", &before.etag)).await.unwrap_err();
    assert_eq!((refused.code(), info(&refused).reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    let now = admin.get_api_key(read).await.unwrap().into_inner().api_key.unwrap();
    assert_eq!(now.display_name, "first");
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_key_is_said_at_once() {
    let house = locked();
    let wanted = pb::ApiKey {
        display_name: "a\nb".to_owned(),
        allowed_models: vec!["gpt".to_owned()],
        allowed_routes: vec!["text".to_owned()],
        limits: Some(pb::RateLimits { requests_per_day: Some(0), ..Default::default() }),
        expire_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let request = pb::CreateApiKeyRequest { api_key: Some(wanted), ..Default::default() };
    let refused = keys(&client(&house, ADMIN)).create_api_key(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let details = tonic_types::StatusExt::get_error_details(&refused);
    let fields: Vec<_> =
        details.bad_request().unwrap().field_violations.iter().map(|one| &one.field).collect();
    assert_eq!(
        fields,
        [
            "api_key.role",
            "api_key.display_name",
            "api_key.expire_time",
            "api_key.allowed_routes[0]",
            "api_key.allowed_models[0]",
            "api_key.limits.requests_per_day",
        ]
    );
}

#[tokio::test]
async fn the_rust_client_lists_page_after_page() {
    let house = locked();
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(key(&house, of(Role::User)).await.0);
    }
    names.sort_unstable();
    let admin = client(&house, ADMIN);
    let request = pb::ListApiKeysRequest { page_size: 1, ..Default::default() };
    let keys: Vec<_> = admin.list_api_keys(request).try_collect().await.unwrap();
    assert_eq!(keys.into_iter().map(|key| key.name).collect::<Vec<_>>(), names);
    let request = pb::ListAuditEventsRequest { page_size: 2, ..Default::default() };
    let events: Vec<_> = admin.list_audit_events(request).try_collect().await.unwrap();
    assert_eq!(events.len(), 3);
    let nobody = client(&house, "nobody").list_api_keys(pb::ListApiKeysRequest::default());
    let refused = nobody.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(refused.reason(), "KEY_INVALID");
}

#[tokio::test]
async fn who_changed_what_and_who_was_refused_is_kept() {
    let house = locked();
    let (name, secret) = key(&house, of(Role::Operator)).await;
    let request = pb::CreateApiKeyRequest { api_key: Some(of(Role::Admin)), ..Default::default() };
    keys(&client(&house, &secret)).create_api_key(request).await.unwrap_err();
    let mut audit = AuditServiceClient::new(client(&house, ADMIN).raw().transport());
    let list = |filter: &str, page_token: String| pb::ListAuditEventsRequest {
        filter: filter.to_owned(),
        page_size: 1,
        page_token,
        ..Default::default()
    };
    let newest = audit.list_audit_events(list("", String::new())).await.unwrap().into_inner();
    let [refused] = newest.audit_events.as_slice() else { panic!("{newest:?}") };
    assert_eq!(
        (refused.outcome.as_str(), refused.reason.as_str()),
        ("PERMISSION_DENIED", "ROLE_INSUFFICIENT")
    );
    assert_eq!((&refused.api_key, refused.peer_address.as_str()), (&name, "127.0.0.1"));
    let older = audit.list_audit_events(list("", newest.next_page_token)).await.unwrap();
    let [made] = older.get_ref().audit_events.as_slice() else { panic!("{older:?}") };
    assert_eq!((made.outcome.as_str(), made.actor.as_str()), ("OK", "admin"));
    assert_eq!(made.method, "mediary.admin.v1.ApiKeyService.CreateApiKey");
    assert_eq!((&made.resource, made.after_hash.len()), (&name, 32));
    let filtered = list("outcome = \"OK\" AND method:\"ApiKeyService\"", String::new());
    let filtered = audit.list_audit_events(filtered).await.unwrap().into_inner();
    assert_eq!(filtered.audit_events[0].name, made.name);
    assert!(filtered.next_page_token.is_empty());
}

#[tokio::test]
async fn a_wrong_key_is_told_nothing_but_that_a_right_one_is_needed() {
    let house = locked();
    let (_, secret) = key(&house, of(Role::User)).await;
    let (known, unknown) = (format!("{}x", &secret[..secret.len() - 1]), "mdy_nobody".to_owned());
    let wire = Wire::http2(&house);
    let mut said = Vec::new();
    for sent in [None, Some(known), Some(unknown), Some(String::new())] {
        let call = wire.call(
            GRPC,
            "/mediary.v1.ServerService/GetServerInfo",
            &v1::GetServerInfoRequest {},
        );
        let call = match &sent {
            Some(key) => with(call, "authorization", &format!("Bearer {key}")),
            None => call,
        };
        let answer = wire.ask(call).await;
        assert_eq!(answer.code(), Code::Unauthenticated);
        said.push(answer.status.as_ref().map(Status::message).unwrap().to_owned());
    }
    assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
    // In the address it is no key.
    let path = format!("/mediary.v1.ServerService/GetServerInfo?key={secret}");
    let answer = wire.ask(wire.call(GRPC, &path, &v1::GetServerInfoRequest {})).await;
    assert_eq!(answer.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn reflection_is_for_operators_and_health_for_everybody() {
    let house = locked();
    let (_, user) = key(&house, of(Role::User)).await;
    let (_, operator) = key(&house, of(Role::Operator)).await;
    let wire = Wire::http2(&house);
    let health = "/grpc.health.v1.Health/Check";
    let answer = wire.ask(wire.call_of_bytes(GRPC, health, &support::wire::frame(&[]))).await;
    assert_eq!(answer.code(), Code::Ok);
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for (secret, expected) in [(&user, Code::PermissionDenied), (&operator, Code::Ok)] {
        let call = wire.call_of_bytes(GRPC, reflection, &support::wire::frame(&[0x3a, 0]));
        let call = with(call, "authorization", &format!("Bearer {secret}"));
        assert_eq!(wire.ask(call).await.code(), expected);
    }
    let call = wire.call_of_bytes(GRPC, reflection, &support::wire::frame(&[0x3a, 0]));
    assert_eq!(wire.ask(call).await.code(), Code::Unauthenticated);
}
