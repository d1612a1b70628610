//! Several models side by side: one stream of what each tells, one end, and one cancellation that
//! reaches every vendor.

mod support;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use mediary_client::{
    Answer, Client, TextRequest, message, target,
    v1::{self, compare_event, text_event::Kind},
};
use mediary_proto::{admin as pb, options::Role};
use prost::Message as _;
use support::{
    House, Reply, Vendor, ask,
    peer::{self, Peer, call_of},
    vendors::{ANTHROPIC_HELLO, CAREFUL, OPENAI_HELLO, QUICK, Street},
    wire::{GRPC, WEB, WEB_TEXT, Wire, info, with},
};
use tonic::{Code, IntoRequest, Request, Status};

const COMPARE_TEXT: &str = "/mediary.v1.TextService/CompareText";
const SANDBOX: &str = "providers/sandbox/models/sandbox-text";

fn between(models: &[&str]) -> v1::CompareTextRequest {
    TextRequest::default().user("say hello").compare(models.iter().copied().map(target::model))
}

/// A member that the sandbox plays as `options` say.
fn staged(options: &str) -> v1::CompareMember {
    let options = [("sandbox".to_owned(), options.to_owned())].into();
    v1::CompareMember {
        target: Some(target::model("sandbox-text")),
        parameters: Some(v1::TextParameters {
            provider_options_json: options,
            ..Default::default()
        }),
    }
}

fn of(members: Vec<v1::CompareMember>) -> v1::CompareTextRequest {
    let messages = vec![message::user("say hello")];
    v1::CompareTextRequest { members, messages, ..Default::default() }
}

/// Everything that the wire carried, checked by the rules of the contract alone.
#[derive(Default)]
struct Heard {
    /// Whose event came, in order.
    order: Vec<usize>,
    members: Vec<Vec<v1::TextEvent>>,
    beats: usize,
    end: Option<compare_event::Kind>,
    status: Option<Status>,
}

impl Heard {
    fn add(&mut self, sequence: &mut i64, event: v1::CompareEvent) {
        assert!(self.end.is_none(), "something follows the end: {event:?}");
        let kind = event.kind.expect("a kind");
        if let compare_event::Kind::Heartbeat(_) = kind {
            assert_eq!(event.sequence, *sequence);
            self.beats += 1;
            return;
        }
        *sequence += 1;
        assert_eq!(event.sequence, *sequence);
        let compare_event::Kind::Member(one) = kind else {
            self.end = Some(kind);
            return;
        };
        let (at, event) = (usize::try_from(one.member).unwrap(), one.event.unwrap());
        self.members.resize_with(self.members.len().max(at + 1), Vec::new);
        self.members[at].push(event);
        self.order.push(at);
    }

    /// Every member has ended once, with numbers of its own.
    fn checked(self) -> Self {
        for (at, events) in self.members.iter().enumerate() {
            let numbers: Vec<i64> = events.iter().map(|event| event.sequence).collect();
            assert_eq!(numbers, (1..).take(numbers.len()).collect::<Vec<i64>>(), "member {at}");
            let is_end =
                |one: &v1::TextEvent| matches!(one.kind, Some(Kind::Finished(_) | Kind::Failed(_)));
            assert!(events.last().is_some_and(is_end), "member {at}: {events:?}");
            assert_eq!(events.iter().filter(|one| is_end(one)).count(), 1, "member {at}");
        }
        self
    }

    fn text(&self, member: usize) -> String {
        let mut answer = Answer::default();
        self.members[member].iter().for_each(|event| answer.add(event));
        answer.text()
    }

    fn finished(&self) -> &v1::CompareFinished {
        match &self.end {
            Some(compare_event::Kind::Finished(end)) => end,
            other => panic!("not finished: {other:?} {:?}", self.status),
        }
    }

    fn failed(&self) -> &v1::CompareFailed {
        match &self.end {
            Some(compare_event::Kind::Failed(end)) => end,
            other => panic!("not failed: {other:?} {:?}", self.status),
        }
    }

    fn end_of(&self, member: usize) -> &Kind {
        self.members[member].last().unwrap().kind.as_ref().unwrap()
    }

    fn reason_of(&self, member: usize) -> String {
        match self.end_of(member) {
            Kind::Failed(failed) => {
                let status = failed.status.clone().unwrap();
                let info = tonic_types::RpcStatusExt::get_details_error_info(&status).unwrap();
                assert_eq!(info.domain, "mediary.dev");
                info.reason
            }
            other => panic!("member {member} did not fail: {other:?}"),
        }
    }
}

async fn listen(house: &House, request: impl IntoRequest<v1::CompareTextRequest>) -> Heard {
    let mut heard = Heard::default();
    let mut raw = ask::without_a_timer(house);
    let mut stream = match raw.compare_text(request).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return Heard { status: Some(status), ..heard },
    };
    let mut sequence = 0;
    loop {
        match stream.message().await {
            Ok(Some(response)) => heard.add(&mut sequence, response.event.expect("an event")),
            Ok(None) => return heard.checked(),
            Err(status) => return Heard { status: Some(status), ..heard }.checked(),
        }
    }
}

#[tokio::test]
async fn members_answer_at_once_and_their_events_interleave() {
    let house = House::new();
    let paced = r#"{"tokens": 40, "tokens_per_second": 100}"#;
    let begin = Instant::now();

    let heard = listen(&house, of(vec![staged(paced), staged(paced), staged(paced)])).await;

    // One after the other would take 1.2 s and change the member twice.
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
    let changes = heard.order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes > 40, "{changes} changes in {} events", heard.order.len());
    for member in 0..3 {
        assert_eq!(heard.text(member), heard.text(0));
        assert!(matches!(heard.members[member][0].kind, Some(Kind::Started(_))));
    }
    let end = heard.finished();
    assert_eq!((end.finished_members, end.failed_members), (3, 0));
    assert!(end.total_duration.is_some());
}

#[tokio::test]
async fn the_end_has_the_sum_of_what_the_members_used_and_cost() {
    let street = Street::new().await;
    street.openai.replies([Reply::sse(OPENAI_HELLO)]);
    street.anthropic.replies([Reply::sse(ANTHROPIC_HELLO)]);

    let heard = listen(&street.house, between(&[QUICK, CAREFUL])).await;

    assert_eq!((heard.text(0).as_str(), heard.text(1).as_str()), ("Hello!", "Hello!"));
    let end = heard.finished();
    let usage = end.usage.clone().unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (18, 4));
    let costs = [0, 1].map(|member| match heard.end_of(member) {
        Kind::Finished(end) => end.cost_pico_usd,
        other => panic!("{other:?}"),
    });
    // 9 tokens at 1 and 2 at 2 USD per million, twice.
    assert_eq!(costs, [13_000_000, 13_000_000]);
    assert_eq!(end.cost_pico_usd, 26_000_000);
}

#[tokio::test]
async fn a_member_answers_by_its_own_parameters_and_the_others_by_those_of_all() {
    let street = Street::new().await;
    street.openai.always(Reply::sse(OPENAI_HELLO));
    let own = v1::TextParameters { temperature: Some(1.5), ..Default::default() };
    let request = v1::CompareTextRequest {
        members: vec![
            v1::CompareMember { target: Some(target::model(QUICK)), parameters: None },
            v1::CompareMember { target: Some(target::model(QUICK)), parameters: Some(own) },
        ],
        parameters: Some(v1::TextParameters { temperature: Some(0.5), ..Default::default() }),
        ..between(&[])
    };

    let heard = listen(&street.house, request).await;

    assert_eq!(heard.finished().finished_members, 2);
    let mut asked: Vec<_> =
        street.openai.asked().iter().map(|one| one.json()["temperature"].to_string()).collect();
    asked.sort();
    assert_eq!(asked, ["0.5", "1.5"]);
}

#[tokio::test]
async fn dropping_the_stream_reaches_every_vendor_at_once() {
    let mut times = Vec::new();
    for _ in 0..3 {
        let street = Street::new().await;
        street.openai.replies([Reply::sse(OPENAI_HELLO).hang_after(90)]);
        street.anthropic.replies([Reply::sse(ANTHROPIC_HELLO).after(Duration::from_secs(60))]);
        let mut stream = street.house.client().compare(between(&[QUICK, CAREFUL])).await.unwrap();
        stream.next().await.unwrap().unwrap();
        // Both are asked although neither has ended: they run side by side.
        street.openai.wait_for_calls(1).await;
        street.anthropic.wait_for_calls(1).await;

        let dropped = Instant::now();
        drop(stream);

        let left =
            [street.openai.wait_for_leavers(1).await, street.anthropic.wait_for_leavers(1).await];
        times.push(left.into_iter().max().unwrap() - dropped);
    }
    println!("the last vendor heard of it after {times:?}");
    // Of a busy machine, the best of three.
    assert!(*times.iter().min().unwrap() < Duration::from_millis(100), "{times:?}");
    assert!(times.iter().all(|time| *time < Duration::from_millis(500)), "{times:?}");
}

#[tokio::test]
async fn a_deadline_ends_every_member_in_band_and_at_its_vendor() {
    let street = Street::new().await;
    street.openai.replies([Reply::sse(OPENAI_HELLO).hang_after(90)]);
    street.anthropic.replies([Reply::sse(ANTHROPIC_HELLO).after(Duration::from_secs(60))]);
    let mut request = Request::new(between(&[QUICK, CAREFUL]));
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());

    let heard = listen(&street.house, request).await;

    for member in [0, 1] {
        assert_eq!(heard.reason_of(member), "DEADLINE_EXCEEDED");
    }
    assert_eq!(heard.failed().status.as_ref().unwrap().code, Code::DeadlineExceeded as i32);
    assert_eq!(heard.status.unwrap().code(), Code::DeadlineExceeded);
    street.openai.wait_for_leavers(1).await;
    street.anthropic.wait_for_leavers(1).await;
}

#[tokio::test]
async fn a_member_that_is_refused_or_fails_ends_alone() {
    let street = Street::new().await;
    street.openai.replies([Reply::json(500, r#"{"error":{"message":"broken"}}"#)]);
    let members = ["no-such-model", SANDBOX, QUICK];

    let heard = listen(&street.house, between(&members)).await;

    assert_eq!(heard.reason_of(0), "RESOURCE_NOT_FOUND");
    assert_eq!(heard.members[0].len(), 1, "it never began: {:?}", heard.members[0]);
    assert!(heard.text(1).contains("say hello"));
    assert_eq!(heard.reason_of(2), "UPSTREAM_UNAVAILABLE");
    let end = heard.finished();
    assert_eq!((end.finished_members, end.failed_members), (1, 2));
    assert!(heard.status.is_none());

    // The Rust client shows the same.
    street.openai.replies([Reply::json(500, r#"{"error":{"message":"broken"}}"#)]);
    let answers = street.house.client().compare(between(&members)).await.unwrap();
    let answers = answers.answers().await.unwrap();
    let whole: Vec<bool> = answers.iter().map(Answer::is_complete).collect();
    assert_eq!(whole, [false, true, false]);
}

#[tokio::test]
async fn when_nobody_can_be_asked_there_is_no_stream_and_when_all_fail_it_says_why() {
    let street = Street::new().await;
    let refused = listen(&street.house, between(&["no-such-model", "nor-this"])).await;
    let status = refused.status.expect("a status");
    assert_eq!(
        (status.code(), info(&status).reason.as_str()),
        (Code::NotFound, "RESOURCE_NOT_FOUND")
    );
    assert!(refused.order.is_empty() && refused.end.is_none());

    street.openai.replies([Reply::json(400, r#"{"error":{"message":"no"}}"#)]);
    let busy = Reply::json(429, r#"{"error":{"message":"slow down"}}"#).header("retry-after", "7");
    street.anthropic.replies([busy]);
    let heard = listen(&street.house, between(&[QUICK, CAREFUL])).await;
    // The one that time cures, though it is not the first.
    let status = heard.status.clone().expect("a status");
    assert_eq!(info(&status).reason, "UPSTREAM_RATE_LIMITED");
    let failed = heard.failed();
    assert!(failed.retryable);
    let told = failed.status.as_ref().unwrap();
    assert_eq!((told.code, told.message.as_str()), (status.code() as i32, status.message()));
}

#[tokio::test]
async fn one_member_can_be_stopped_and_the_others_go_on() {
    let house = House::new();
    let endless = staged(r#"{"tokens": 1000000, "tokens_per_second": 50}"#);
    let short = staged(r#"{"tokens": 60, "tokens_per_second": 100}"#);
    let mut raw = ask::without_a_timer(&house);
    let mut stream = raw.compare_text(of(vec![endless, short])).await.unwrap().into_inner();
    let (mut heard, mut sequence) = (Heard::default(), 0);
    while let Some(response) = stream.message().await.unwrap() {
        let event = response.event.unwrap();
        if let Some(compare_event::Kind::Member(v1::CompareMemberEvent {
            member: 0,
            event: Some(v1::TextEvent { kind: Some(Kind::Started(started)), .. }),
        })) = &event.kind
        {
            house.client().stop(started.generation.as_str()).await.unwrap();
        }
        heard.add(&mut sequence, event);
    }
    let heard = heard.checked();
    let Kind::Finished(stopped) = heard.end_of(0) else { panic!("{:?}", heard.end_of(0)) };
    assert_eq!(stopped.finish_reason(), v1::FinishReason::Cancelled);
    let Kind::Finished(whole) = heard.end_of(1) else { panic!("{:?}", heard.end_of(1)) };
    assert_eq!(whole.finish_reason(), v1::FinishReason::Stop);
    assert_eq!(heard.finished().finished_members, 2);
}

#[tokio::test]
async fn silence_is_filled_with_heartbeats_of_the_whole() {
    let house = House::plan().config("stream.heartbeat_interval = \"50ms\"").start();
    let slow = staged(r#"{"latency_ms": 400, "tokens": 2}"#);
    let heard = listen(&house, of(vec![slow.clone(), slow])).await;
    assert!((3..=9).contains(&heard.beats), "{} heartbeats in 400 ms", heard.beats);
    let within = heard.members.iter().flatten();
    assert_eq!(within.filter(|one| matches!(one.kind, Some(Kind::Heartbeat(_)))).count(), 0);
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_by_its_place() {
    let house = House::new();
    let said = |status: &Status| ask::said(status);
    for models in [&[SANDBOX][..], &[SANDBOX; 9]] {
        let status = listen(&house, between(models)).await.status.expect("a refusal");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(said(&status).1[0].0, "members");
    }
    let mut request = between(&[SANDBOX, ""]);
    request.members[0].parameters =
        Some(v1::TextParameters { temperature: Some(9.0), ..Default::default() });
    request.members[1].target.as_mut().unwrap().account = "accounts/a".to_owned();
    request.request_id = "no uuid".to_owned();
    request.messages.clear();
    let status = listen(&house, request).await.status.expect("a refusal");
    let (reason, fields) = said(&status);
    let fields: Vec<&str> = fields.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(reason, "FIELD_INVALID");
    for field in [
        "request_id",
        "messages",
        "members[0].parameters.temperature",
        "members[1].target.account",
        "members[1].target.model",
    ] {
        assert!(fields.contains(&field), "{field} is not among {fields:?}");
    }
}

#[tokio::test]
async fn a_key_compares_the_models_that_it_may_use() {
    let house = House::plan()
        .config("auth.anonymous_role = \"none\"")
        .config("auth.admin_key = \"env:ADMIN\"")
        .env("ADMIN", "an-admin-key-of-the-configuration")
        .start();
    let client = |key: &str| Client::builder().url(house.url()).api_key(key).build().unwrap();
    let wanted = pb::ApiKey {
        role: Role::User.into(),
        allowed_models: vec!["providers/sandbox/models/sandbox-text".to_owned()],
        ..Default::default()
    };
    let request = pb::CreateApiKeyRequest { api_key: Some(wanted), ..Default::default() };
    let admin = client("an-admin-key-of-the-configuration");
    let made = admin.raw().keys().create_api_key(request).await.unwrap().into_inner();
    let answers =
        client(&made.secret).compare(between(&[SANDBOX, "sandbox-reasoning"])).await.unwrap();
    let answers = answers.answers().await.unwrap();
    assert!(answers[0].is_complete());
    let refused = answers[1].failed.as_ref().unwrap().status.as_ref().unwrap();
    assert_eq!(refused.code, Code::PermissionDenied as i32);
}

#[tokio::test]
async fn browsers_hear_the_same_over_both_kinds_of_grpc_web() {
    let house = House::new();
    let request = of(vec![staged(r#"{"tokens": 5}"#), staged(r#"{"tokens": 7}"#)]);
    for (wire, content_type) in [
        (Wire::http2(&house), GRPC),
        (Wire::http1(&house), WEB),
        (Wire::http2(&house), WEB),
        (Wire::http1(&house), WEB_TEXT),
    ] {
        let call = wire.call(content_type, COMPARE_TEXT, &request);
        let answer = wire.ask(with(call, "origin", "http://localhost:5173")).await;
        assert_eq!(answer.code(), Code::Ok, "{content_type}: {answer:?}");
        let (mut heard, mut sequence) = (Heard::default(), 0);
        for message in &answer.messages {
            let response = v1::CompareTextResponse::decode(message.clone()).unwrap();
            heard.add(&mut sequence, response.event.unwrap());
        }
        assert_eq!(heard.checked().finished().finished_members, 2, "{content_type}");
    }
}

#[tokio::test]
async fn a_reader_that_stalls_holds_little_and_is_let_go() {
    let house = House::plan().config("stream.stall_timeout = \"1s\"").start();
    let before = house.rss_kib();
    let endless = staged(r#"{"tokens": 100000, "tokens_per_second": 20000}"#);
    let request = of(std::iter::repeat_n(endless, 8).collect()).encode_to_vec();
    // Reads whatever comes, and never says that there is room for more.
    let mut peer = Peer::connect(&house).await;
    let ask = [call_of(COMPARE_TEXT, 1, 0), peer::message(1, &request)].concat();
    assert!(peer.send(&ask).await);
    let mut bytes = 0;
    while bytes < 60_000 {
        bytes += peer.read().await.expect("the stream is open").payload.len();
    }
    house.wait_for_log("ended 1 streams whose readers stopped reading");
    let grown = house.peak_kib().saturating_sub(before);
    println!("eight members of a reader that stalls take {grown} KiB");
    assert!(grown < 16 << 10, "{grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_each_line_behind_its_member() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    let asked = ["compare", "say", "hello", "-m", "sandbox-text", "-m", "sandbox-reasoning"];
    let ran = house.run(&asked, "");
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    for tag in ["sandbox-text      | ", "sandbox-reasoning | "] {
        assert!(
            lines.iter().any(|line| line.starts_with(tag) && line.contains("say hello")),
            "{ran:?}"
        );
    }

    let json = house.run(&[&asked[..], &["-o", "json"]].concat(), "");
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["members"][1]["target"], "sandbox-reasoning");
    assert_eq!(json["members"][0]["complete"], true);
    assert!(json["members"][0]["text"].as_str().unwrap().contains("say hello"));

    let partly = house.run(&["compare", "hi", "-m", "sandbox-text", "-m", "no-such-model"], "");
    assert_eq!(partly.code, 1, "{partly:?}");
    assert!(partly.stdout.contains("sandbox-text  | "), "{partly:?}");
    assert!(partly.stderr.contains("no-such-model | error: "), "{partly:?}");
    assert!(partly.stderr.contains("1 of 2 did not answer"), "{partly:?}");
    assert_eq!(house.run(&["compare", "hi", "-m", "sandbox-text"], "").code, 1);
}
