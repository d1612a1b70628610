//! Keys stay where they belong: planted ones are looked for everywhere else.

mod support;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use mediary_client::Client;
use mediary_proto::{
    FILE_DESCRIPTOR_SET,
    admin::{self as pb, api_key_service_client::ApiKeyServiceClient},
    options::Role,
    v1,
};
use prost_reflect::DescriptorPool;
use support::{
    House, Reply, Vendor,
    ask::question,
    house,
    wire::{GRPC, Wire, with},
};

const ADMIN: &str = "planted-admin-5f1d8c0a9b7e";
const ENVIRONMENT: &str = "planted-environment-0c9d3e7f";
const FILE: &str = "planted-file-7b2a4c6d8e0f";
const IN_CLEAR: &str = "planted-in-clear-9e8d7c6b5a4f";
/// 32 bytes in base64.
const VAULT: &str = "cGxhbnRlZC12YXVsdC1rZXktMDEyMzQ1Njc4OWFiY2Q=";

/// A model of each provider, and the key it is called with.
const MODELS: [(&str, &str); 3] = [
    ("providers/openai/models/gpt-4-1-mini", ENVIRONMENT),
    ("providers/groq/models/gpt-oss-20b", FILE),
    ("providers/deepseek/models/deepseek-v4-pro", IN_CLEAR),
];

/// Where something was found that must not be there.
#[derive(Default)]
struct Hunt {
    markers: Vec<String>,
    looked_at: usize,
    hits: Vec<String>,
}

impl Hunt {
    fn look(&mut self, place: &str, bytes: &[u8]) {
        self.looked_at += 1;
        for marker in &self.markers {
            if bytes.windows(marker.len()).any(|window| window == marker.as_bytes()) {
                self.hits.push(format!("{marker} in {place}"));
            }
        }
    }

    fn look_below(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.look_below(&path);
            } else {
                self.look(&path.display().to_string(), &fs::read(&path).unwrap());
            }
        }
    }
}

/// Answers of a vendor that repeats the key it was called with, in every way there is.
fn echoes(key: &str) -> Vec<Reply> {
    let error = |status: u16, text: &str| {
        let body = format!("{{\"error\":{{\"message\":\"{text} {key}\",\"code\":\"{key}\"}}}}");
        Reply::json(status, body)
    };
    let broken = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}]}}\n\ndata: {{\"error\":{{\"message\":\"{key}\"}}}}\n\n"
    );
    vec![
        error(400, "bad request"),
        error(401, "Incorrect API key provided:"),
        error(403, "not yours:"),
        error(404, "no model"),
        error(429, "slow down").header("retry-after", key),
        error(500, "it broke"),
        Reply::new(502, "text/html", format!("<html>{key}</html>")),
        Reply::json(200, format!("{{\"not\": {key}")),
        Reply::json(200, format!("{{\"error\":{{\"message\":\"{key}\"}}}}")),
        Reply::sse(broken),
        Reply::sse(format!("data: {key}\n\n")),
        Reply::new(307, "text/plain", key).header("location", &format!("http://{key}.test/")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_keys_are_found_nowhere_but_where_they_were_put() {
    let vendor = Vendor::start().await;
    let account = |provider: &str, key: &str| {
        let uri = format!("{}/v1", vendor.url());
        format!(
            "[[accounts]]
id = \"{provider}\"
provider = \"{provider}\"
api_key = \"{key}\"
\
             base_uri = \"{uri}\"
"
        )
    };
    let mut house = House::plan()
        .env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
        .config("log.level = \"trace\"")
        .config("auth.anonymous_role = \"none\"")
        .config("auth.admin_key = \"env:PLANTED_ADMIN\"")
        .config("vault.key = \"env:PLANTED_VAULT\"")
        .config(&account("groq", "file:key.txt"))
        .config(&account("deepseek", IN_CLEAR))
        .file("key.txt", FILE)
        .env("PLANTED_ADMIN", ADMIN)
        .env("PLANTED_VAULT", VAULT)
        .env("OPENAI_API_KEY", ENVIRONMENT)
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    let client = |key: &str| Client::builder().url(house.url()).api_key(key).build().unwrap();
    let admin = client(ADMIN);
    let made = pb::CreateApiKeyRequest {
        api_key: Some(pb::ApiKey { role: Role::User.into(), ..Default::default() }),
        ..Default::default()
    };
    let mut keys = ApiKeyServiceClient::new(admin.raw().transport());
    let caller = keys.create_api_key(made).await.unwrap().into_inner().secret;
    let planted = [ADMIN, ENVIRONMENT, FILE, IN_CLEAR, VAULT, caller.as_str()];
    let mut hunt = Hunt { markers: planted.map(str::to_owned).to_vec(), ..Hunt::default() };

    // Whatever the vendor says of the key it was given.
    for (model, reply) in
        MODELS.iter().flat_map(|(model, key)| echoes(key).into_iter().map(move |one| (*model, one)))
    {
        vendor.always(reply.clone());
        let request: v1::GenerateTextRequest = question(model, "hello").into();
        match client(&caller).raw().text().generate_text(request).await {
            Ok(answer) => hunt.look("an answer", format!("{answer:?}").as_bytes()),
            Err(status) => {
                hunt.look("a status", format!("{status:?}").as_bytes());
                hunt.look("the details of a status", status.details());
            }
        }
        let request: v1::StreamTextRequest = question(model, "hello").into();
        let events = client(&caller).raw().text().stream_text(request).await;
        let mut events = events.unwrap().into_inner();
        while let Some(event) = events.next().await {
            hunt.look("an event", format!("{event:?}").as_bytes());
        }
    }
    for key in [ENVIRONMENT, FILE, IN_CLEAR] {
        let header = format!("Bearer {key}");
        let is_used = vendor.asked().iter().any(|one| one.header("authorization") == Some(&header));
        assert!(is_used, "the vendor was called with {key}");
    }

    // Every method there is, asked by an admin and by a wrong key with a right one in it.
    let contract = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let wire = Wire::http2(&house);
    let ours = contract.services().filter(|one| one.package_name().starts_with("mediary."));
    for rpc in ours.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
        for key in [ADMIN.to_owned(), format!("{caller}x"), caller.clone()] {
            let call = wire.call_of_bytes(GRPC, &path, &support::wire::frame(&[]));
            let call = with(call, "authorization", &format!("Bearer {key}"));
            let answer = wire.ask(with(call, "grpc-timeout", "1S")).await;
            hunt.look(&path, format!("{answer:?}").as_bytes());
            for message in &answer.messages {
                hunt.look(&path, message);
            }
        }
    }

    // The figures, to who may read them and to who may not.
    let http1 = Wire::http1(&house);
    for (key, is_told) in [(ADMIN, true), (caller.as_str(), false), (ENVIRONMENT, false)] {
        let call = http1.bare(http::Method::GET, "/metrics");
        let call = with(call, "authorization", &format!("Bearer {key}"));
        let body = http1.send(call).await.into_body().collect().await.unwrap().to_bytes();
        let told = String::from_utf8_lossy(&body);
        assert_eq!(told.contains("mediary_attempts_total{"), is_told, "{told}");
        hunt.look("/metrics", &body);
    }

    // What the machine shows of the process, and what it wrote.
    let cmdline = fs::read(format!("/proc/{}/cmdline", house.pid())).unwrap();
    hunt.look("the command line of the process", &cmdline);
    let environment = BTreeMap::from([
        ("PLANTED_ADMIN", ADMIN),
        ("PLANTED_VAULT", VAULT),
        ("OPENAI_API_KEY", ENVIRONMENT),
        ("MEDIARY_API_KEY", ADMIN),
    ]);
    let url = house.url();
    let mut environment: Vec<_> = environment.into_iter().collect();
    environment.push(("MEDIARY_URL", url.as_str()));
    for arguments in [&["config", "show"][..], &["config", "check"], &["doctor"], &["providers"]] {
        let ran = house::run(house.folder.path(), &environment, arguments, "");
        hunt.look(&format!("{arguments:?}"), format!("{ran:?}").as_bytes());
    }
    let broken = house.folder.path().join("broken.toml");
    fs::write(&broken, format!("[[accounts]]\nid = \"a\"\nprovider = 7\napi_key = \"{FILE}\nx\n"))
        .unwrap();
    let arguments = ["config", "check", "--config", "broken.toml"];
    let ran = house::run(house.folder.path(), &environment, &arguments, "");
    assert_eq!(ran.code, 2);
    hunt.look("a report of what is wrong", format!("{ran:?}").as_bytes());
    house.signal("TERM");
    house.wait_for_exit(Duration::from_secs(30));
    let log = house.log();
    assert!(log.contains("\"TRACE\""), "the log is as talkative as it can be");
    hunt.look("the log", log.as_bytes());
    hunt.look_below(&house.folder.path().join("data"));

    println!("secrets: {} hits in {} places looked at", hunt.hits.len(), hunt.looked_at);
    hunt.hits.dedup();
    assert!(hunt.hits.is_empty(), "{:#?}", hunt.hits);
    assert!(hunt.looked_at > 300);
}
