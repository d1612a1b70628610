//! Accounts as they are: whose calls fail, who wants to be left alone, whose key is refused; what
//! operators see of it, and what callers are spared.

mod support;

use std::time::{Duration, Instant};

use mediary_client::v1;
use mediary_proto::admin::{self as pb, AccountState, BreakerState};
use support::{
    House, Reply, Vendor,
    admin::{
        account, accounts, add_account, add_model, add_provider, model, provider_at, resolved,
        test_account, the_account, to_model,
    },
    ask::{listen, question, said},
    vendors::OPENAI_HELLO,
};
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

const VAULT_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const MODEL: &str = "providers/shop/models/m";

/// A server with one provider, played by two vendors, and an account at each.
struct Street {
    house: House,
    left: Vendor,
    right: Vendor,
}

impl Street {
    async fn new() -> Self {
        let street = Self::with_one().await;
        let right = pb::Account {
            base_uri: format!("{}/v1", street.right.url()),
            ..account("shop", "sk-right")
        };
        add_account(&street.house, "right", right).await;
        street
    }

    /// Without the account at the right one.
    async fn with_one() -> Self {
        let (left, right) = (Vendor::start().await, Vendor::start().await);
        for vendor in [&left, &right] {
            vendor.always(Reply::sse(OPENAI_HELLO));
        }
        let house = House::plan().env("MEDIARY__VAULT__KEY", VAULT_KEY).start();
        add_provider(&house, "shop", provider_at(&left.url())).await;
        add_model(&house, "shop", "m", model("m-1")).await;
        add_account(&house, "left", account("shop", "sk-left")).await;
        Self { house, left, right }
    }

    async fn ask(&self) -> Result<String, String> {
        let heard = listen(&self.house, question(MODEL, "hello")).await;
        match &heard.failure {
            Some(failure) => Err(failure.reason().to_owned()),
            None => Ok(heard.text()),
        }
    }

    async fn state(&self, id: &str) -> (AccountState, pb::AccountHealth) {
        let account = the_account(&self.house, id).await.unwrap();
        (account.state(), account.health.unwrap())
    }

    /// The word for each account, in the order in which they are told.
    async fn words(&self) -> Vec<String> {
        let request =
            v1::ResolveTargetRequest { target: Some(to_model(MODEL)), ..Default::default() };
        let told = resolved(&self.house, request).await.unwrap();
        let words = told.candidates.iter();
        words.map(|one| format!("{} {}", one.account_hint, one.reason)).collect()
    }
}

#[tokio::test]
async fn an_account_that_fails_is_left_alone_and_the_other_serves() {
    let street = Street::new().await;
    street.left.always(Reply::json(503, r#"{"error":{"message":"down","type":"server_error"}}"#));
    // A request that names its model may still be served by another account of it.
    for _ in 0..40 {
        let fallback = Some(v1::Fallback { allow: Some(true), ..Default::default() });
        let target = Some(v1::ModelTarget { fallback, ..to_model(MODEL) });
        let request: v1::StreamTextRequest = question(MODEL, "hello").into();
        let heard = listen(&street.house, v1::StreamTextRequest { target, ..request }).await;
        assert_eq!(heard.text(), "Hello!");
    }
    let asked = street.left.asked().len();
    assert!((5..=8).contains(&asked), "{asked} of 40 calls went to the one that fails");
    let (state, health) = street.state("left").await;
    assert_eq!(state, AccountState::Failing);
    assert_eq!(health.breaker_state(), BreakerState::Open);
    assert!(health.retry_time.is_some() && health.last_error.is_some(), "{health:?}");
    assert!(health.consecutive_failures >= 5, "{health:?}");
    assert_eq!(street.words().await, ["right chosen", "left breaker-open"]);
    let (state, health) = street.state("right").await;
    assert_eq!(state, AccountState::Active);
    let hour = &health.success_windows[1];
    assert_eq!((hour.requests, hour.successes), (40, 40));
    let statistics = health.statistics.unwrap();
    assert_eq!(statistics.cost_pico_usd, 40 * 13_000_000);
    assert_eq!(health.day_cost_pico_usd, 40 * 13_000_000);
}

#[tokio::test]
async fn who_says_when_to_come_back_is_left_alone_until_then() {
    let street = Street::with_one().await;
    let busy = r#"{"error":{"message":"slow down","type":"rate_limit_exceeded"}}"#;
    street.left.replies([Reply::json(429, busy).header("retry-after", "2")]);
    assert_eq!(street.ask().await, Err("UPSTREAM_RATE_LIMITED".to_owned()));
    let begin = Instant::now();
    let refused = listen(&street.house, question(MODEL, "hello")).await.failure.unwrap();
    assert_eq!(refused.reason(), "UPSTREAM_RATE_LIMITED", "{refused}");
    let (state, health) = street.state("left").await;
    assert_eq!(state, AccountState::RateLimited);
    assert!(health.retry_time.is_some());
    assert_eq!(street.left.asked().len(), 1, "it was asked although it wanted to be left alone");
    while street.ask().await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begin.elapsed() >= Duration::from_millis(1_800), "{:?}", begin.elapsed());
    assert_eq!(street.state("left").await.0, AccountState::Active);
}

#[tokio::test]
async fn a_refused_key_closes_the_account_for_good() {
    let mut street = Street::with_one().await;
    let refusal = r#"{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}"#;
    street.left.replies([Reply::json(401, refusal)]);
    assert_eq!(street.ask().await, Err("CREDENTIALS_REJECTED".to_owned()));
    for _ in 0..3 {
        assert!(street.ask().await.is_err());
    }
    assert_eq!(street.left.asked().len(), 1);
    assert_eq!(street.state("left").await.0, AccountState::CredentialsRejected);
    // Kept, and written down who found it.
    street.house.wait_for_log("refuses the key of accounts/left");
    street.house.kill_and_restart();
    assert_eq!(street.state("left").await.0, AccountState::CredentialsRejected);
    assert!(street.ask().await.is_err());
    assert_eq!(street.left.asked().len(), 1);
    // A test that goes well opens it again, and so does an operator.
    street.left.replies([Reply::json(200, r#"{"data":[{"id":"m-1"}]}"#)]);
    assert!(test_account(&street.house, "left").await.unwrap().accepted);
    assert_eq!(street.ask().await, Ok("Hello!".to_owned()));
    street.left.replies([Reply::json(401, refusal)]);
    assert!(street.ask().await.is_err());
    let enable =
        || pb::EnableAccountRequest { name: "accounts/left".to_owned(), ..Default::default() };
    while street.state("left").await.1.last_error.is_none()
        || accounts(&street.house)
            .enable_account(enable())
            .await
            .unwrap()
            .into_inner()
            .account
            .unwrap()
            .state()
            != AccountState::Active
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(street.ask().await, Ok("Hello!".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_outage_is_not_amplified_and_ends_for_all() {
    let street = Street::new().await;
    let down = || Reply::json(503, "{}");
    street.left.always(down());
    street.right.always(down());
    let client = street.house.client();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let mut calls = JoinSet::new();
        for _ in 0..20 {
            let client = client.clone();
            calls.spawn(async move {
                let begin = Instant::now();
                let request: v1::GenerateTextRequest = question(MODEL, "hello").into();
                (client.raw().text().generate_text(request).await, begin.elapsed())
            });
        }
        for (ended, took) in calls.join_all().await {
            let status = ended.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            assert_eq!(said(&status).0, "UPSTREAM_UNAVAILABLE");
            assert!(status.get_error_details().retry_info().is_some(), "{status:?}");
            slowest = slowest.max(took);
        }
    }
    let asked = street.left.asked().len() + street.right.asked().len();
    println!("400 calls in an outage: {asked} at the vendors, the slowest took {slowest:?}");
    assert!(asked <= 480, "{asked}");
    for vendor in [&street.left, &street.right] {
        vendor.always(Reply::sse(OPENAI_HELLO));
    }
    let begin = Instant::now();
    while street.ask().await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it never came back");
    }
    println!("served again after {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_hangs_does_not_slow_another() {
    let healthy = Vendor::start().await;
    healthy.always(Reply::sse(OPENAI_HELLO));
    let street = Street::with_one().await;
    add_provider(&street.house, "fast", provider_at(&healthy.url())).await;
    add_model(&street.house, "fast", "m", model("m-1")).await;
    add_account(&street.house, "fast", account("fast", "sk-fast")).await;
    let client = street.house.client();
    let times = async |count: usize| {
        let mut times = Vec::new();
        for _ in 0..count {
            let begin = Instant::now();
            let request: v1::GenerateTextRequest =
                question("providers/fast/models/m", "hello").into();
            client.raw().text().generate_text(request).await.unwrap();
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        (times[count / 2], times[count * 99 / 100])
    };
    let _ = times(50).await;
    let alone = times(200).await;
    // Accepts and never answers; a hundred wait for it.
    street.left.always(Reply::sse("").hang_after(0));
    let mut waiting = JoinSet::new();
    for _ in 0..100 {
        let client = street.house.client();
        waiting.spawn(async move {
            let mut request =
                tonic::Request::new(v1::GenerateTextRequest::from(question(MODEL, "x")));
            request.set_timeout(Duration::from_secs(3));
            client.raw().text().generate_text(request).await
        });
    }
    street.left.wait_for_calls(100).await;
    let beside = times(200).await;
    println!("p50, p99 of the healthy one: {alone:?} alone, {beside:?} beside one that hangs");
    assert!(beside.0 <= alone.0 * 11 / 10 + Duration::from_millis(2), "{alone:?} {beside:?}");
    for ended in waiting.join_all().await {
        assert_eq!(ended.unwrap_err().code(), Code::DeadlineExceeded);
    }
    // Those who gave up have told what it is like.
    assert_eq!(street.state("left").await.0, AccountState::Failing);
    let begin = Instant::now();
    let held = street.ask();
    let refused = tokio::time::timeout(Duration::from_millis(300), held).await;
    drop(refused);
    println!("a call to the one that hangs: {:?}", begin.elapsed());
}
