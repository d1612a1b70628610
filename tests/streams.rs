//! What a text stream promises: numbered events, one end, a deadline that binds, and a
//! cancellation that reaches the vendor's socket.

mod support;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use mediary_client::{Error, v1, v1::text_event::Kind};
use support::{
    House, Reply, Vendor,
    ask::{self, listen, question},
};
use tonic::Request;

const HELLO: &str = "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n\
                     data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo!\"}}]}\n\n\
                     data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
                     data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n\
                     data: [DONE]\n\n";
const MODEL: &str = "providers/openai/models/gpt-4-1-mini";

async fn house_with_a_vendor(more: &str) -> (House, Vendor) {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .config(more)
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    (house, vendor)
}

#[tokio::test]
async fn events_are_numbered_without_gaps_and_end_exactly_once() {
    let (house, vendor) = house_with_a_vendor("").await;
    vendor.replies([Reply::sse(HELLO)]);

    let heard = listen(&house, question(MODEL, "say hello")).await;

    let numbers: Vec<i64> = heard.events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (1..=i64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    assert!(matches!(heard.events[0].kind, Some(Kind::Started(_))));
    assert_eq!(heard.started().model, MODEL);
    assert!(heard.started().generation.starts_with("generations/g"));
    assert_eq!((heard.text().as_str(), heard.terminals()), ("Hello!", 1));
    let end = heard.finished();
    assert_eq!(end.model, MODEL);
    assert_eq!(end.provider_model_id, "m");
    assert_eq!(end.attempts.len(), 1);
    let usage = end.usage.clone().unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (9, 2));
    // 9 tokens at 0.40 and 2 at 1.60 USD per million.
    assert_eq!(end.cost_pico_usd, 9 * 400_000 + 2 * 1_600_000);
    assert!(heard.failure.is_none());
}

#[tokio::test]
async fn the_unary_answer_is_the_stream_collected() {
    let (house, vendor) = house_with_a_vendor("").await;
    vendor.replies([Reply::sse(HELLO), Reply::sse(HELLO)]);

    let heard = listen(&house, question(MODEL, "say hello")).await;
    let answer = house.client().generate(question(MODEL, "say hello")).await.unwrap();

    let end = heard.finished();
    assert_eq!(answer.message.unwrap(), mediary_client::message::assistant("Hello!"));
    assert_eq!(answer.finish_reason, end.finish_reason);
    assert_eq!(answer.usage, end.usage);
    assert_eq!(answer.cost_pico_usd, end.cost_pico_usd);
    let [first, second] = vendor.asked().try_into().unwrap();
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn usage_is_estimated_and_marked_so_when_the_vendor_sends_none() {
    let (house, vendor) = house_with_a_vendor("").await;
    let silent = HELLO.replace(",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}", "");
    vendor.replies([Reply::sse(silent)]);

    let heard = listen(&house, question(MODEL, "say hello")).await;

    let usage = heard.finished().usage.clone().unwrap();
    assert_eq!(usage.source(), v1::UsageSource::Estimated);
    assert!(usage.input_tokens > 0 && usage.output_tokens > 0);
}

#[tokio::test]
async fn silence_is_filled_with_heartbeats_that_repeat_the_last_number() {
    let (house, vendor) = house_with_a_vendor("stream.heartbeat_interval = \"50ms\"").await;
    vendor.replies([Reply::sse(HELLO).after(Duration::from_millis(400))]);

    let heard = listen(&house, question(MODEL, "say hello")).await;

    let beats = heard.events.iter().filter(|one| matches!(one.kind, Some(Kind::Heartbeat(_))));
    let beats: Vec<_> = beats.collect();
    assert!((3..=9).contains(&beats.len()), "{} heartbeats in 400 ms", beats.len());
    assert!(beats.iter().all(|beat| beat.sequence == 1));
    assert_eq!(heard.text(), "Hello!");
}

#[tokio::test]
async fn dropping_a_stream_half_way_closes_the_vendors_socket() {
    let (house, vendor) = house_with_a_vendor("").await;
    vendor.replies([Reply::sse(HELLO).hang_after(80)]);

    let mut stream = house.client().stream(question(MODEL, "say hello")).await.unwrap();
    while let Some(event) = stream.next().await {
        if matches!(event.unwrap().kind, Some(Kind::TextDelta(_))) {
            break;
        }
    }
    let dropped = Instant::now();
    drop(stream);

    let left = vendor.wait_for_leavers(1).await;
    assert!(left - dropped < Duration::from_millis(500), "{:?}", left - dropped);
}

#[tokio::test]
async fn dropping_a_stream_before_the_first_token_closes_the_vendors_socket() {
    let (house, vendor) = house_with_a_vendor("").await;
    vendor.replies([Reply::sse(HELLO).after(Duration::from_secs(60))]);

    let mut stream = house.client().stream(question(MODEL, "say hello")).await.unwrap();
    assert!(matches!(stream.next().await.unwrap().unwrap().kind, Some(Kind::Started(_))));
    vendor.wait_for_calls(1).await;
    let dropped = Instant::now();
    drop(stream);

    let left = vendor.wait_for_leavers(1).await;
    assert!(left - dropped < Duration::from_millis(500), "{:?}", left - dropped);
}

#[tokio::test]
async fn dropping_a_unary_call_closes_the_vendors_socket() {
    let (house, vendor) = house_with_a_vendor("").await;
    vendor.replies([Reply::sse(HELLO).hang_after(80)]);

    let client = house.client();
    let mut call = Box::pin(client.generate(question(MODEL, "say hello")));
    tokio::select! {
        answer = &mut call => panic!("answered: {answer:?}"),
        () = vendor.wait_for_calls(1) => {}
    }
    let dropped = Instant::now();
    drop(call);

    let left = vendor.wait_for_leavers(1).await;
    assert!(left - dropped < Duration::from_millis(500), "{:?}", left - dropped);
}

#[tokio::test]
async fn a_deadline_ends_a_running_stream_in_band_and_closes_the_vendors_socket() {
    let (house, vendor) = house_with_a_vendor("").await;
    vendor.replies([Reply::sse(HELLO[..HELLO.find("\n\n").unwrap() + 2].repeat(200))
        .in_pieces_of(75)
        .paced(Duration::from_millis(20))]);

    let mut request = Request::new(v1::StreamTextRequest::from(question(MODEL, "say hello")));
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let begin = Instant::now();
    let mut raw = ask::without_a_timer(&house);
    let mut stream = raw.stream_text(request).await.unwrap().into_inner();
    let mut last = None;
    let status = loop {
        match stream.message().await {
            Ok(Some(response)) => last = response.event.unwrap().kind,
            Ok(None) => panic!("the stream ended with OK"),
            Err(status) => break status,
        }
    };

    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_millis(450), "{took:?}");
    let Some(Kind::Failed(failed)) = last else { panic!("the last event is {last:?}") };
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    assert_eq!(failed.status.unwrap().code, tonic::Code::DeadlineExceeded as i32);
    assert_eq!(ask::said(&status).0, "DEADLINE_EXCEEDED");
    vendor.wait_for_leavers(1).await;
}

#[tokio::test]
async fn a_deadline_ends_a_unary_call_and_closes_the_vendors_socket() {
    let (house, vendor) = house_with_a_vendor("").await;
    vendor.replies([Reply::sse(HELLO).after(Duration::from_secs(60))]);

    let mut request = Request::new(v1::GenerateTextRequest::from(question(MODEL, "say hello")));
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let begin = Instant::now();
    let mut raw = ask::without_a_timer(&house);
    let status = raw.generate_text(request).await.unwrap_err();

    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_millis(350), "{took:?}");
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    assert_eq!(ask::said(&status).0, "DEADLINE_EXCEEDED");
    vendor.wait_for_leavers(1).await;
}

#[tokio::test]
async fn an_answer_that_is_cut_is_never_taken_for_whole() {
    let (house, vendor) = house_with_a_vendor("").await;
    let end = HELLO.find("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish").unwrap();
    for cut in (0..end).step_by(7) {
        vendor.replies([Reply::sse(HELLO).cut_after(cut)]);
        let heard = listen(&house, question(MODEL, "say hello")).await;
        let failed = heard.failed();
        assert!(failed.retryable, "cut after {cut}");
        assert_eq!(heard.reason(), "UPSTREAM_TRUNCATED", "cut after {cut}");
        assert!("Hello!".starts_with(&heard.text()));
        assert!(matches!(heard.failure, Some(Error::Unavailable { .. })));
    }
}

#[tokio::test]
async fn a_conversation_goes_on_with_tools_and_their_results() {
    let house = House::new();
    let client = house.client();
    let tool = v1::Tool {
        tool_name: "weather".to_owned(),
        description: "The weather of a city".to_owned(),
        parameters_schema_json:
            r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#
                .to_owned(),
        strict: false,
    };
    let mut request = question("sandbox-text", "What is the weather in Oslo?");
    request.parameters.tools = vec![tool];

    let first = client.generate(request.clone()).await.unwrap();
    let asked = first.message.clone().unwrap();
    let Some(v1::part::Kind::ToolCall(call)) =
        asked.parts.iter().find_map(|part| match &part.kind {
            Some(kind @ v1::part::Kind::ToolCall(_)) => Some(kind.clone()),
            _ => None,
        })
    else {
        panic!("no tool was called: {asked:?}")
    };
    let result = v1::ToolResult {
        call_id: call.call_id.clone(),
        parts: vec![v1::Part { kind: Some(v1::part::Kind::Text("4 °C and rain".to_owned())) }],
        is_error: false,
    };
    let request = request.message(asked).message(mediary_client::message::of(
        v1::MessageRole::Tool,
        [v1::part::Kind::ToolResult(result)],
    ));
    let heard = listen(&house, request).await;

    assert_eq!(first.finish_reason(), v1::FinishReason::ToolCalls);
    assert_eq!(call.tool_name, "weather");
    assert!(
        serde_json::from_str::<serde_json::Value>(&call.arguments_json).unwrap()["city"]
            .is_string()
    );
    assert!(heard.text().contains("4 °C and rain"), "{}", heard.text());
    assert_eq!(heard.finished().finish_reason(), v1::FinishReason::Stop);
}
