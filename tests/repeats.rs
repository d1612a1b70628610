//! Whole answers that are asked for twice: the same request with the same id is answered once.

mod support;

use std::time::Duration;

use mediary_client::v1::{self, text_service_client::TextServiceClient};
use support::{
    House, Reply, Vendor,
    ask::{self, question},
    vendors::OPENAI_HELLO,
};
use tonic::{Code, Request, Response, Status};

const MODEL: &str = "providers/openai/models/gpt-4-1-mini";
const ID: &str = "018f0000-0000-7000-8000-000000000001";

async fn house_with_a_vendor() -> (House, Vendor) {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    (house, vendor)
}

fn named(text: &str) -> v1::GenerateTextRequest {
    let request = question(MODEL, text).into();
    v1::GenerateTextRequest { request_id: ID.to_owned(), ..request }
}

async fn ask(
    house: &House,
    request: v1::GenerateTextRequest,
) -> Result<Response<v1::GenerateTextResponse>, Status> {
    ask::without_a_timer(house).generate_text(request).await
}

fn is_replayed(answer: &Response<v1::GenerateTextResponse>) -> bool {
    answer.metadata().get("idempotent-replayed").is_some_and(|value| value == "true")
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_the_vendor_is_asked_once() {
    let (house, vendor) = house_with_a_vendor().await;
    vendor.replies([Reply::sse(OPENAI_HELLO)]);

    let first = ask(&house, named("say hello")).await.unwrap();
    let second = ask(&house, named("say hello")).await.unwrap();

    assert_eq!((is_replayed(&first), is_replayed(&second)), (false, true));
    assert_eq!(first.into_inner(), second.into_inner());
    assert_eq!(vendor.asked().len(), 1);
}

#[tokio::test]
async fn twins_wait_for_the_one_that_runs() {
    let (house, vendor) = house_with_a_vendor().await;
    vendor.replies([Reply::sse(OPENAI_HELLO).after(Duration::from_millis(300))]);

    let twins = (0..8).map(|_| ask(&house, named("say hello")));
    let answers = futures::future::join_all(twins).await;

    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|one| !is_replayed(one)).count(), 1);
    assert!(answers.iter().all(|one| one.get_ref() == answers[0].get_ref()));
    assert_eq!(vendor.asked().len(), 1);
}

#[tokio::test]
async fn another_request_under_the_same_id_is_refused() {
    let (house, vendor) = house_with_a_vendor().await;
    vendor.replies([Reply::sse(OPENAI_HELLO)]);

    ask(&house, named("say hello")).await.unwrap();
    let status = ask(&house, named("say goodbye")).await.unwrap_err();

    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(ask::said(&status).0, "REQUEST_ID_REUSED");
    assert_eq!(vendor.asked().len(), 1);
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let (house, vendor) = house_with_a_vendor().await;
    vendor.replies([Reply::json(503, "{}"), Reply::sse(OPENAI_HELLO)]);

    let status = ask(&house, named("say hello")).await.unwrap_err();
    let answer = ask(&house, named("say hello")).await.unwrap();

    assert_eq!(status.code(), Code::Unavailable);
    assert!(!is_replayed(&answer));
    assert_eq!(vendor.asked().len(), 2);
}

#[tokio::test]
async fn when_the_first_hangs_up_a_waiting_twin_goes_on_by_itself() {
    let (house, vendor) = house_with_a_vendor().await;
    vendor.replies([Reply::sse(OPENAI_HELLO).hang_after(80), Reply::sse(OPENAI_HELLO)]);

    let first = tokio::spawn(call(ask::without_a_timer(&house), named("say hello")));
    vendor.wait_for_calls(1).await;
    let mut twin = Box::pin(ask(&house, named("say hello")));
    // It reaches the server, and waits.
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut twin).await.is_err());
    assert_eq!(vendor.asked().len(), 1);
    first.abort();

    vendor.wait_for_leavers(1).await;
    let answer = twin.await.unwrap();
    assert!(!is_replayed(&answer));
    assert_eq!(vendor.asked().len(), 2);
}

async fn call(
    mut client: TextServiceClient<ask::Bare>,
    request: v1::GenerateTextRequest,
) -> Result<Response<v1::GenerateTextResponse>, Status> {
    client.generate_text(Request::new(request)).await
}
