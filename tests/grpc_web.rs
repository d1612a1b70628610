//! Browsers: both kinds of grpc-web by their bytes, who may call, and streams that break.

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, StatusCode};
use mediary_client::{
    Client, Error, message, target,
    v1::{self, StreamTextResponse, part, text_event::Kind},
};
use prost::Message as _;
use support::{
    House, Reply, Vendor,
    ask::{Heard, question},
    cut::{Cable, Cut, events_in},
    wire::{Call, Listener, WEB, WEB_TEXT, Wire, with},
};
use tonic::Code;
use tonic_types::RpcStatusExt as _;

const STREAM_TEXT: &str = "/mediary.v1.TextService/StreamText";
const SERVER_INFO: &str = "/mediary.v1.ServerService/GetServerInfo";

/// Every way in which a browser may call.
fn browsers(house: &House) -> Vec<(String, Wire, &'static str)> {
    let mut all = Vec::new();
    for content_type in [WEB, WEB_TEXT] {
        all.push((format!("HTTP/1.1 {content_type}"), Wire::http1(house), content_type));
        all.push((format!("HTTP/2 {content_type}"), Wire::http2(house), content_type));
    }
    all
}

/// A request that the sandbox answers as `options` say.
fn staged(options: &str) -> v1::StreamTextRequest {
    let mut request = question("sandbox-text", "say hello");
    request.parameters.provider_options_json =
        [("sandbox".to_owned(), options.to_owned())].into_iter().collect();
    request.into()
}

fn kind(message: &Bytes) -> Kind {
    let reply = StreamTextResponse::decode(message.clone()).unwrap();
    reply.event.unwrap().kind.unwrap()
}

#[tokio::test]
async fn an_answer_reaches_a_browser_piece_by_piece() {
    let house = House::new();
    let paced = staged(r#"{"tokens": 30, "tokens_per_second": 60}"#);
    for (browser, wire, content_type) in browsers(&house) {
        let response = wire.send(wire.call(content_type, STREAM_TEXT, &paced)).await;
        let told = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(told.starts_with(content_type), "{browser}: {told}");

        let mut listener = Listener::new(response);
        let (mut pieces_with_text, mut pieces_before_the_end) = (0, 0);
        let mut is_over = false;
        while let Some(messages) = listener.next().await {
            let kinds: Vec<Kind> = messages.iter().map(kind).collect();
            pieces_with_text +=
                usize::from(kinds.iter().any(|kind| matches!(kind, Kind::TextDelta(_))));
            if kinds.iter().any(|kind| matches!(kind, Kind::Finished(_))) {
                is_over = true;
            } else if !is_over {
                pieces_before_the_end = pieces_with_text;
            }
        }

        let answer = listener.answer();
        // 30 words; on a busy machine some share a piece, never most of them.
        assert!(pieces_before_the_end >= 10, "{browser}: {pieces_before_the_end} pieces");
        assert!(matches!(kind(answer.messages.last().unwrap()), Kind::Finished(_)), "{browser}");
        assert_eq!(answer.trailer_frames.len(), 1, "{browser}");
        assert!(answer.trailer_frames[0].contains("grpc-status:0"), "{browser}: {answer:?}");
        assert_eq!((answer.http, answer.code()), (StatusCode::OK, Code::Ok), "{browser}");
    }
}

#[tokio::test]
async fn a_failure_within_an_answer_is_told_in_band_and_in_the_trailer_frame() {
    let house = House::new();
    let failing = staged(r#"{"fail": {"kind": "overloaded", "after_tokens": 3}}"#);
    for (browser, wire, content_type) in browsers(&house) {
        let answer = wire.ask(wire.call(content_type, STREAM_TEXT, &failing)).await;

        let Kind::Failed(failed) = kind(answer.messages.last().unwrap()) else {
            panic!("{browser}: {answer:?}");
        };
        let told = failed.status.unwrap();
        assert_eq!(told.code, Code::Unavailable as i32, "{browser}");
        assert_eq!(answer.trailer_frames.len(), 1, "{browser}");
        assert!(answer.trailer_frames[0].contains("grpc-status:14"), "{browser}: {answer:?}");
        assert!(answer.trailer_frames[0].contains("grpc-status-details-bin:"), "{browser}");
        assert_eq!(answer.reason(), "UPSTREAM_UNAVAILABLE", "{browser}");
        // The same details, in any order.
        let details = |status: &tonic_types::pb::Status| {
            let mut all: Vec<_> = status.details.iter().map(|one| one.type_url.clone()).collect();
            all.sort();
            all
        };
        let outside = answer.status.as_ref().unwrap();
        let outside = tonic_types::pb::Status::decode(outside.details()).unwrap();
        assert_eq!(details(&told), details(&outside), "{browser}");
        assert_eq!(told.message, outside.message, "{browser}");
        let inside = told.get_error_details();
        assert_eq!(inside.error_info().unwrap().metadata, answer.info().metadata, "{browser}");
    }
}

#[tokio::test]
async fn a_refusal_before_the_answer_is_a_status_with_its_details() {
    let house = House::new();
    let refused = v1::StreamTextRequest::from(question("no-such-model", "hello"));
    for (browser, wire, content_type) in browsers(&house) {
        let call = wire.call(content_type, STREAM_TEXT, &refused);
        let answer = wire.ask(with(call, "origin", "http://localhost:5173")).await;

        assert!(answer.messages.is_empty(), "{browser}: {answer:?}");
        assert_eq!(answer.code(), Code::NotFound, "{browser}");
        assert_eq!(answer.reason(), "RESOURCE_NOT_FOUND", "{browser}");
        let told = answer.header("content-type").unwrap();
        assert!(told.starts_with(content_type), "{browser}: {told}");
        // The page must be able to read it.
        let readable = answer.header("access-control-expose-headers").unwrap();
        for header in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
            assert!(readable.split(',').any(|one| one.trim() == header), "{browser}: {readable}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:5173"));
    }
}

#[tokio::test]
async fn a_deadline_in_a_header_ends_the_answer_in_band() {
    let house = House::new();
    let endless = staged(r#"{"hang_after": 3}"#);
    for (browser, wire, content_type) in browsers(&house) {
        let call = wire.call(content_type, STREAM_TEXT, &endless);
        let answer = wire.ask(with(call, "grpc-timeout", "250m")).await;

        let words = answer.messages.iter().filter(|one| matches!(kind(one), Kind::TextDelta(_)));
        assert_eq!(words.count(), 3, "{browser}");
        let last = kind(answer.messages.last().unwrap());
        assert!(matches!(last, Kind::Failed(_)), "{browser}: {last:?}");
        assert_eq!(answer.code(), Code::DeadlineExceeded, "{browser}");
        assert_eq!(answer.reason(), "DEADLINE_EXCEEDED", "{browser}");
    }
}

const ALLOWED: &str = "https://app.example.com";
const LOOPBACK: &str = "http://localhost:5173";
const FOREIGN: [&str; 5] = [
    "https://evil.example.com",
    "https://app.example.com.evil.test",
    "http://app.example.com",
    "http://localhost.evil.test",
    "null",
];

fn guarded() -> House {
    House::plan().config(&format!("listen.allowed_origins = [{ALLOWED:?}]")).start()
}

/// What a browser asks before a page may send what is no plain form.
fn preflight(wire: &Wire, origin: &str) -> Call {
    let asked = "authorization,content-type,grpc-timeout,x-grpc-web";
    let call = with(wire.bare(Method::OPTIONS, STREAM_TEXT), "origin", origin);
    let call = with(call, "access-control-request-method", "POST");
    with(call, "access-control-request-headers", asked)
}

#[tokio::test]
async fn a_preflight_lets_in_our_pages_and_no_others() {
    let house = guarded();
    for wire in [Wire::http1(&house), Wire::http2(&house)] {
        for origin in [ALLOWED, LOOPBACK, "http://127.0.0.1:3000", "http://[::1]:8080"] {
            let answer = wire.send(preflight(&wire, origin)).await;
            let header = |name: &str| answer.headers()[name].to_str().unwrap().to_lowercase();

            assert!(answer.status().is_success(), "{origin}: {answer:?}");
            assert_eq!(header("access-control-allow-origin"), origin);
            assert!(header("access-control-allow-methods").contains("post"), "{origin}");
            for name in ["authorization", "content-type", "grpc-timeout", "x-grpc-web"] {
                assert!(header("access-control-allow-headers").contains(name), "{origin}: {name}");
            }
            assert!(header("access-control-max-age").parse::<u32>().unwrap() > 0);
            assert!(header("vary").contains("origin"), "a cache must not mix up origins");
        }
        for origin in FOREIGN {
            let answer = wire.send(preflight(&wire, origin)).await;
            let allowed = answer.headers().get("access-control-allow-origin");
            assert_eq!(allowed, None, "{origin}");
        }
    }
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_is_refused_whatever_it_sends() {
    let house = guarded();
    for (browser, wire, content_type) in browsers(&house) {
        for origin in [ALLOWED, LOOPBACK] {
            let call = wire.call(content_type, SERVER_INFO, &());
            let answer = wire.ask(with(call, "origin", origin)).await;
            assert_eq!(answer.code(), Code::Ok, "{browser} {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{browser}");
        }
        for origin in FOREIGN {
            let call = wire.call(content_type, SERVER_INFO, &());
            let answer = wire.ask(with(call, "origin", origin)).await;
            assert!(answer.messages.is_empty(), "{browser} {origin}: it was answered");
            assert_eq!(answer.code(), Code::PermissionDenied, "{browser} {origin}");
            let info = answer.info();
            assert_eq!(info.reason, "ORIGIN_NOT_ALLOWED", "{browser} {origin}");
            assert_eq!(info.metadata["origin"], origin, "{browser}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{browser} {origin}");
        }
    }
}

#[tokio::test]
async fn closing_the_page_reaches_the_vendor() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    let begun = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n";
    let model = "providers/openai/models/gpt-4-1-mini";
    let asked = v1::StreamTextRequest::from(question(model, "say hello"));
    for (calls, (browser, wire, content_type)) in browsers(&house).into_iter().enumerate() {
        vendor.replies([Reply::sse(begun).hang_after(begun.len())]);
        let response = wire.send(wire.call(content_type, STREAM_TEXT, &asked)).await;
        let mut listener = Listener::new(response);
        let mut said = String::new();
        while said.is_empty() {
            for message in listener.next().await.unwrap() {
                if let Kind::TextDelta(delta) = kind(&message) {
                    said.push_str(&delta.text);
                }
            }
        }
        assert_eq!(said, "Hel", "{browser}");

        drop((listener, wire));

        vendor.wait_for_leavers(calls + 1).await;
    }
}

/// Everything that an answer can hold, in letters of one to four bytes.
fn rich_questions() -> [(&'static str, v1::StreamTextRequest); 2] {
    let schema = r#"{"type": "object", "required": ["city", "note"], "properties": {
        "city": {"const": "Kraków – 東京"}, "note": {"const": "żółw 🐢 naïve"}}}"#;
    let parameters = v1::TextParameters {
        reasoning: Some(v1::ReasoningOptions {
            effort: "minimal".to_owned(),
            include: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    let tools = ["weather", "notes"].map(|tool_name| v1::Tool {
        tool_name: tool_name.to_owned(),
        parameters_schema_json: schema.to_owned(),
        ..Default::default()
    });
    let calls = v1::TextParameters {
        tools: tools.into(),
        parallel_tool_calls: Some(true),
        ..parameters.clone()
    };
    let spoken =
        r#"{"text": "Grüße aus 東京 🐢, naïve żółw — fin. One more word, and the end 🎉"}"#;
    let text = v1::TextParameters {
        provider_options_json: [("sandbox".to_owned(), spoken.to_owned())].into_iter().collect(),
        ..parameters
    };
    [("tool calls", calls), ("text", text)].map(|(name, parameters)| {
        let user =
            message::of(v1::MessageRole::User, [part::Kind::Text("Grüße — 東京 🐢".to_owned())]);
        let request = v1::StreamTextRequest {
            target: Some(target::model("sandbox-reasoning")),
            messages: vec![user],
            parameters: Some(parameters),
            ..Default::default()
        };
        (name, request)
    })
}

/// What came of one call over a cable that breaks.
struct Broken {
    cut: Cut,
    heard: Heard,
    passed: Vec<u8>,
}

async fn over_a_cable(
    house: &House,
    request: v1::StreamTextRequest,
    after: Option<usize>,
    cut: Cut,
) -> Broken {
    let cable = Cable::to(&house.address, after, cut).await;
    let patience = Duration::from_secs(20);
    let client = Client::builder().url(&cable.url).idle_timeout(patience).build().unwrap();
    let mut heard = Heard::default();
    match client.stream(request).await {
        Ok(mut stream) => {
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => heard.events.push(event),
                    Err(failure) => heard.failure = Some(failure),
                }
            }
        }
        Err(failure) => heard.failure = Some(failure),
    }
    drop(client);
    Broken { cut, heard, passed: cable.passed().await }
}

impl Broken {
    fn is_finished(&self) -> bool {
        self.heard.kinds().any(|kind| matches!(kind, Kind::Finished(_)))
    }

    /// What is wrong with what the client made of it.
    fn verdict(&self) -> Option<String> {
        let sent = events_in(&self.passed);
        let Heard { events, failure } = &self.heard;
        if !sent.starts_with(events) {
            return Some(format!("it heard {} events, {} arrived", events.len(), sent.len()));
        }
        let end_arrived = sent.iter().any(|one| matches!(one.kind, Some(Kind::Finished(_))));
        match (self.is_finished(), failure) {
            // A reset may throw away what had arrived; a connection that just ends may not.
            (false, _) if end_arrived && self.cut == Cut::Fin => {
                Some(format!("the end arrived, and it ended with {failure:?}"))
            }
            (true, None) => None,
            (true, Some(failure)) => Some(format!("finished, and then {failure:?}")),
            (false, None) => Some("it ended without an end and without a failure".to_owned()),
            (false, Some(failure)) => match failure {
                Error::Truncated { last_sequence, .. } => {
                    let last = events.last().map_or(0, |event| event.sequence);
                    (*last_sequence != last).then(|| format!("{last_sequence} for {last}"))
                }
                Error::Unavailable { .. } | Error::Unreachable(_) if events.is_empty() => None,
                other => Some(format!("{other:?}")),
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_cut_at_any_byte_is_never_taken_for_a_whole_one() {
    let house = House::new();
    let (mut cuts, mut wrong) = (0, Vec::new());
    for (name, request) in rich_questions() {
        let whole = over_a_cable(&house, request.clone(), None, Cut::Fin).await;
        assert_eq!(whole.verdict(), None, "{name}");
        assert!(whole.is_finished(), "{name}: {:?}", whole.heard);
        assert_eq!(whole.heard.events, events_in(&whole.passed), "{name}");
        assert!(whole.heard.events.len() > 20, "{name}: {}", whole.heard.events.len());

        let length = whole.passed.len();
        // Where the call meets a connection that is going, it is a matter of luck how far it comes.
        let plan = std::iter::repeat_n(0, 50).chain(0..length).flat_map(|after| {
            let reset = (after % 4 == 0).then_some((after, Cut::Reset));
            [Some((after, Cut::Fin)), reset].into_iter().flatten()
        });
        let runs = futures::stream::iter(plan).map(|(after, cut)| {
            let call = over_a_cable(&house, request.clone(), Some(after), cut);
            async move { (after, call.await) }
        });
        let mut runs = std::pin::pin!(runs.buffer_unordered(4));
        let mut finished = 0;
        while let Some((after, broken)) = runs.next().await {
            cuts += 1;
            finished += usize::from(broken.is_finished());
            if let Some(what) = broken.verdict() {
                let cut = broken.cut;
                wrong.push(format!("{name}, {cut:?} after byte {after} of {length}: {what}"));
            }
        }
        println!("{name}: {length} bytes, finished in {finished} cuts that came after its end");
    }
    println!("{cuts} cuts, {} wrong verdicts", wrong.len());
    assert!(wrong.is_empty(), "{} of {cuts} cuts:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_page_that_points_its_own_name_at_this_machine_is_foreign_all_the_same() {
    let house = guarded();
    for (browser, wire, content_type) in browsers(&house) {
        let call = wire.call(content_type, SERVER_INFO, &());
        let call = with(call, "host", "evil.example:8484");
        let answer = wire.ask(with(call, "origin", "http://evil.example:8484")).await;
        assert_eq!(answer.code(), Code::PermissionDenied, "{browser}");
        assert_eq!(answer.info().reason, "ORIGIN_NOT_ALLOWED", "{browser}");
    }
}
