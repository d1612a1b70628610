//! Streams that resume: what was told can be heard again, byte for byte, with one call to the
//! vendor; and a stop that reaches it.

mod support;

use std::time::Duration;

use futures::StreamExt as _;
use mediary_client::{Client, v1, v1::text_event::Kind};
use support::{House, Reply, Vendor, ask::question, saw::Saw};
use tonic_types::StatusExt as _;

const MODEL: &str = "providers/openai/models/gpt-4-1-mini";

/// A long answer with reasoning, tools and characters of every width.
fn long_answer() -> String {
    let mut body = String::new();
    let mut chunk = |delta: serde_json::Value| {
        let chunk = serde_json::json!({"model": "m", "choices": [{"index": 0, "delta": delta}]});
        body.push_str(&format!("data: {chunk}\n\n"));
    };
    for n in 0..40 {
        chunk(serde_json::json!({"reasoning_content": format!("thought {n}; ")}));
    }
    for n in 0..300 {
        chunk(serde_json::json!({"content": format!("wörd {n} 🌍こん ")}));
    }
    for n in 0..30 {
        let mut call = serde_json::json!({"index": 0, "function": {"arguments": if n == 0 { "{\"x\":\"" } else { "é" }}});
        if n == 0 {
            call["id"] = "call_1".into();
            call["function"]["name"] = "weather".into();
        }
        chunk(serde_json::json!({"tool_calls": [call]}));
    }
    chunk(serde_json::json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"}"}}]}));
    body.push_str(
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    );
    body.push_str("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":370}}\n\ndata: [DONE]\n\n");
    body
}

async fn house_with_a_vendor(more: &str) -> (House, Vendor) {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .config(more)
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    (house, vendor)
}

fn resumable(text: &str) -> v1::StreamTextRequest {
    let mut request = v1::StreamTextRequest::from(question(MODEL, text));
    request.parameters = Some(v1::TextParameters {
        reasoning: Some(v1::ReasoningOptions { include: true, ..Default::default() }),
        ..Default::default()
    });
    request.resumable = true;
    request
}

fn is_heartbeat(event: &v1::TextEvent) -> bool {
    matches!(event.kind, Some(Kind::Heartbeat(_)))
}

/// Hears up to `most` events of a stream, then lets go of it.
async fn hear(
    stream: mediary_client::Result<mediary_client::TextStream>,
    most: usize,
) -> Vec<v1::TextEvent> {
    let mut stream = stream.expect("the stream begins");
    let mut events = Vec::new();
    while events.len() < most {
        match stream.next().await {
            Some(event) => events.push(event.expect("an event")),
            None => break,
        }
    }
    events.retain(|event| !is_heartbeat(event));
    events
}

fn generation(events: &[v1::TextEvent]) -> String {
    match &events[0].kind {
        Some(Kind::Started(started)) => started.generation.clone(),
        other => panic!("not started: {other:?}"),
    }
}

async fn refusal(client: &Client, generation: &str, after: i64) -> String {
    let request =
        v1::ResumeTextRequest { generation: generation.to_owned(), after_sequence: after };
    match client.raw().text().resume_text(request).await {
        Ok(_) => panic!("{generation} was resumed"),
        Err(status) => status.get_error_details().error_info().unwrap().reason.clone(),
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_again_and_again_resumes_to_the_very_same_answer() {
    let (house, vendor) = house_with_a_vendor("").await;
    let client = house.client();
    vendor.always(Reply::sse(long_answer()).in_pieces_of(512).paced(Duration::from_micros(300)));

    for round in 0..12_usize {
        let mut heard = hear(client.stream(resumable("tell")).await, 1 + round * 7).await;
        let name = generation(&heard);
        let mut cuts = 0;
        while !matches!(heard.last().unwrap().kind, Some(Kind::Finished(_))) {
            let last = heard.last().unwrap().sequence;
            heard
                .extend(hear(client.resume(&name, last).await, 1 + (cuts * 13 + round) % 60).await);
            cuts += 1;
        }
        let whole = hear(client.resume(&name, 0).await, usize::MAX).await;
        assert_eq!(heard, whole, "round {round} with {cuts} cuts");
        assert!(cuts > 3, "{cuts}");
        let numbers: Vec<i64> = whole.iter().map(|event| event.sequence).collect();
        assert_eq!(numbers, (1..=whole.len() as i64).collect::<Vec<_>>());
    }
    assert_eq!(vendor.asked().len(), 12, "each generation is asked for once");
}

#[tokio::test]
async fn readers_side_by_side_hear_the_same() {
    let (house, vendor) = house_with_a_vendor("").await;
    let client = house.client();
    vendor.always(Reply::sse(long_answer()).in_pieces_of(512).paced(Duration::from_millis(1)));

    let mut stream = client.stream(resumable("tell")).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    let name = generation(std::slice::from_ref(&first));
    let (own, one, two) = tokio::join!(
        hear(Ok(stream), usize::MAX),
        async { hear(client.resume(&name, 0).await, usize::MAX).await },
        async { hear(client.resume(&name, 1).await, usize::MAX).await },
    );

    assert_eq!(own, two);
    assert_eq!(one[0], first);
    assert_eq!(one[1..], two);
    assert_eq!(vendor.asked().len(), 1);
}

#[tokio::test]
async fn the_same_request_id_attaches_and_another_request_under_it_is_refused() {
    let (house, vendor) = house_with_a_vendor("").await;
    let client = house.client();
    vendor.always(Reply::sse(long_answer()).in_pieces_of(512).paced(Duration::from_millis(1)));
    let id = "0190f3a0-0000-7000-8000-000000000001".to_owned();
    let request = v1::StreamTextRequest { request_id: id.clone(), ..resumable("tell") };

    let stream = client.stream(request.clone()).await;
    let (one, two) = tokio::join!(hear(stream, usize::MAX), async {
        hear(client.stream(request.clone()).await, usize::MAX).await
    },);
    let later = hear(client.stream(request).await, usize::MAX).await;
    let other = v1::StreamTextRequest { request_id: id, ..resumable("something else") };
    let refused = client.raw().text().stream_text(other).await.unwrap_err();

    assert_eq!(one, two);
    assert_eq!(one, later);
    assert_eq!(vendor.asked().len(), 1);
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "REQUEST_ID_REUSED");
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "request_id");
}

#[tokio::test]
async fn a_generation_that_nobody_hears_for_its_grace_stops_the_vendor() {
    let (house, vendor) = house_with_a_vendor("").await;
    let client = house.client();
    vendor.always(Reply::sse(long_answer()).hang_after(4_000));
    let mut request = resumable("tell");
    request.disconnect_grace = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });

    let heard = hear(client.stream(request).await, 10).await;
    vendor.wait_for_leavers(1).await;
    let rest = hear(client.resume(generation(&heard), 10).await, usize::MAX).await;

    let Some(Kind::Finished(end)) = &rest.last().unwrap().kind else { panic!("{rest:?}") };
    assert_eq!(end.finish_reason(), v1::FinishReason::Cancelled);
}

#[tokio::test]
async fn a_stop_ends_the_stream_and_closes_the_vendors_socket() {
    for is_resumable in [true, false] {
        let (house, vendor) = house_with_a_vendor("").await;
        let client = house.client();
        vendor.always(Reply::sse(long_answer()).hang_after(4_000));
        let request = v1::StreamTextRequest { resumable: is_resumable, ..resumable("tell") };

        let mut stream = client.stream(request).await.unwrap();
        let first = stream.next().await.unwrap().unwrap();
        let name = generation(std::slice::from_ref(&first));
        stream.next().await.unwrap().unwrap();
        let (rest, stopped) = tokio::join!(hear(Ok(stream), usize::MAX), client.stop(&name));
        vendor.wait_for_leavers(1).await;

        let stopped = stopped.unwrap();
        assert_eq!(stopped.state(), v1::GenerationState::Cancelled);
        assert_eq!(stopped.last_sequence, rest.last().unwrap().sequence);
        let Some(Kind::Finished(end)) = &rest.last().unwrap().kind else { panic!("{rest:?}") };
        assert_eq!(end.finish_reason(), v1::FinishReason::Cancelled);
        let again = client.stop(&name).await;
        assert_eq!(again.is_ok(), is_resumable, "only a kept generation can be stopped twice");
    }
}

#[tokio::test]
async fn what_is_not_kept_or_was_never_told_is_refused_by_name() {
    let (house, vendor) = house_with_a_vendor("").await;
    let client = house.client();
    vendor.always(Reply::sse(long_answer()));

    let kept = hear(client.stream(resumable("tell")).await, usize::MAX).await;
    let name = generation(&kept);
    let end = kept.last().unwrap().sequence;
    let request = v1::StreamTextRequest { resumable: false, ..resumable("tell") };
    let gone = hear(client.stream(request).await, usize::MAX).await;

    assert_eq!(refusal(&client, &name, end + 1).await, "OFFSET_INVALID");
    assert_eq!(refusal(&client, &name, -1).await, "OFFSET_INVALID");
    assert_eq!(refusal(&client, &generation(&gone), 0).await, "STREAM_EXPIRED");
    assert_eq!(refusal(&client, "generations/gnothing", 0).await, "STREAM_EXPIRED");
    // Nothing lies behind the end.
    let request = v1::ResumeTextRequest { generation: name, after_sequence: end };
    let mut rest = client.raw().text().resume_text(request).await.unwrap().into_inner();
    assert!(rest.message().await.unwrap().is_none());
}

#[tokio::test]
async fn the_rust_client_comes_back_by_itself_until_the_answer_is_whole() {
    let (house, vendor) = house_with_a_vendor("").await;
    vendor.always(Reply::sse(long_answer()).in_pieces_of(512).paced(Duration::from_millis(5)));
    let whole = hear(house.client().stream(resumable("tell")).await, usize::MAX).await;

    // A frame that is cut is lost whole, and what was told meanwhile comes in one frame: every
    // fourth connection is long enough for the largest.
    let saw = Saw::before(&house.address, vec![3_000, 4_001, 2_777, 30_000]).await;
    let client = Client::builder().url(&saw.url).build().unwrap();
    let heard = hear(client.stream(resumable("tell")).await, usize::MAX).await;

    assert!(saw.cuts() >= 2, "{} cuts", saw.cuts());
    assert_eq!(heard.len(), whole.len());
    let told = |events: &[v1::TextEvent]| {
        let middle = events[1..events.len() - 1].iter();
        middle.map(|event| event.kind.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(&heard), told(&whole));
    assert!(matches!(heard.last().unwrap().kind, Some(Kind::Finished(_))));
    assert_eq!(vendor.asked().len(), 2, "the vendor is asked once for each answer");
}
