//! Limits and budgets hold: for many callers at once, across a crash, and whatever the clock says.

mod support;

use std::time::Duration;

use mediary_client::{Client, v1};
use mediary_proto::{
    admin::{self as pb, api_key_service_client::ApiKeyServiceClient},
    options::Role,
};
use support::{
    House, Reply, Vendor,
    admin::{
        account, add_account, add_model, add_provider, change_account, model, provider_at,
        resolved, the_account, to_model,
    },
    ask::{listen, question, said},
    vendors::OPENAI_HELLO,
};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const VAULT_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const MODEL: &str = "providers/shop/models/m";
/// 9 tokens in at 1 USD a million, 2 out at 2.
const COST: i64 = 9 * 1_000_000 + 2 * 2_000_000;

/// A server with one vendor that always answers, and one account there.
async fn shop(limits: pb::RateLimits, budget: pb::Budget) -> (House, Vendor) {
    let vendor = Vendor::start().await;
    vendor.always(Reply::sse(OPENAI_HELLO));
    let house = House::plan().env("MEDIARY__VAULT__KEY", VAULT_KEY).start();
    add_provider(&house, "shop", provider_at(&vendor.url())).await;
    add_model(&house, "shop", "m", model("m-1")).await;
    let one =
        pb::Account { limits: Some(limits), budget: Some(budget), ..account("shop", "sk-shop") };
    add_account(&house, "till", one).await;
    (house, vendor)
}

/// How many of so many callers that come at once are served, and what the others are told.
async fn crowd(house: &House, count: usize) -> (usize, Vec<Status>) {
    let mut calls = JoinSet::new();
    let client = house.client();
    for _ in 0..count {
        let client = client.clone();
        calls.spawn(async move {
            let request = v1::GenerateTextRequest {
                parameters: Some(v1::TextParameters {
                    max_output_tokens: Some(10),
                    ..Default::default()
                }),
                ..question(MODEL, "hello").into()
            };
            client.raw().text().generate_text(request).await.map(drop)
        });
    }
    let ended = calls.join_all().await;
    let refused: Vec<Status> = ended.into_iter().filter_map(Result::err).collect();
    (count - refused.len(), refused)
}

fn are_all(refused: &[Status], reason: &str) {
    for status in refused {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert_eq!(said(status).0, reason, "{status}");
        let wait = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
        assert!(wait.is_some_and(|wait| !wait.is_zero()), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_callers_get_a_minutes_worth_and_a_crash_gives_no_more() {
    let sixty = pb::RateLimits { requests_per_minute: Some(60), ..Default::default() };
    let (mut house, vendor) = shop(sixty, pb::Budget::default()).await;
    let (served, refused) = crowd(&house, 500).await;
    assert_eq!((served, vendor.asked().len()), (60, 60));
    are_all(&refused, "RATE_LIMITED");

    // Who asks is told before anything is asked.
    let request = v1::ResolveTargetRequest { target: Some(to_model(MODEL)), ..Default::default() };
    let told = resolved(&house, request).await.unwrap();
    assert_eq!(told.candidates[0].reason, "limit-reached", "{told:?}");

    // The clock is an hour ahead, then an hour behind, for processes that know nothing of it.
    let library = std::fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
    let mut library = library.map(|one| one.path().join("faketime/libfaketimeMT.so.1"));
    let library = library.find(|path| path.exists());
    let library = library.expect("libfaketime, which scripts/test installs");
    house.set_env("LD_PRELOAD", library.to_str().unwrap());
    house.set_env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    for jump in ["+3600", "-3600"] {
        house.set_env("FAKETIME", jump);
        house.kill_and_restart();
        let (served, refused) = crowd(&house, 50).await;
        assert_eq!((served, vendor.asked().len()), (0, 60), "the clock jumped by {jump}");
        are_all(&refused, "RATE_LIMITED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_a_cent_is_never_overspent() {
    // As much as 40 calls cost.
    let day = pb::Budget { day_cost_pico_usd: Some(40 * COST), ..Default::default() };
    let (mut house, vendor) = shop(pb::RateLimits::default(), day).await;
    let mut spent = 0;
    for round in 0..6 {
        let (served, refused) = crowd(&house, 100).await;
        spent += i64::try_from(served).unwrap() * COST;
        assert!(spent <= 40 * COST, "{spent} in round {round}");
        are_all(&refused, "BUDGET_EXCEEDED");
        if round == 2 {
            house.kill_and_restart();
        }
    }
    // What was reserved and not used was given back: most of it could be spent.
    assert!(spent >= 20 * COST, "only {spent}");
    assert_eq!(i64::try_from(vendor.asked().len()).unwrap() * COST, spent);
    // More money, more calls.
    let more = pb::Budget { day_cost_pico_usd: Some(400 * COST), ..Default::default() };
    let till = pb::Account { budget: Some(more), ..the_account(&house, "till").await.unwrap() };
    change_account(&house, pb::Account { etag: String::new(), ..till }).await.unwrap();
    assert_eq!(crowd(&house, 5).await.0, 5);
}

#[tokio::test]
async fn where_one_account_may_no_more_another_serves_and_the_answer_says_so() {
    let two = pb::RateLimits { requests_per_minute: Some(2), ..Default::default() };
    let (house, vendor) = shop(two, pb::Budget::default()).await;
    add_account(&house, "spare", account("shop", "sk-spare")).await;
    let (mut told, mut calls) = (Vec::new(), 0);
    // Chance chooses among equals: sooner or later the first has had its two.
    while told.is_empty() && calls < 500 {
        let heard = listen(&house, question(MODEL, "hello")).await;
        assert_eq!(heard.text(), "Hello!");
        told.extend(heard.finished().left_out.clone());
        calls += 1;
    }
    // Once the first had no more, each answer says why it was not asked.
    assert!(!told.is_empty());
    for one in &told {
        let said = (one.account_hint.as_str(), one.reason.as_str(), one.usable);
        assert_eq!(said, ("till", "limit-reached", false), "{one:?}");
    }
    let keys = vendor.asked();
    let of = |key: &str| {
        keys.iter()
            .filter(|one| one.header("authorization") == Some(&format!("Bearer {key}")))
            .count()
    };
    assert_eq!(of("sk-shop"), 2);
    assert_eq!(of("sk-shop") + of("sk-spare"), calls);
}

#[tokio::test]
async fn an_account_without_money_serves_what_is_free() {
    let none = pb::Budget { month_cost_pico_usd: Some(0), ..Default::default() };
    let (house, vendor) = shop(pb::RateLimits::default(), none).await;
    let refused = listen(&house, question(MODEL, "hello")).await.failure.unwrap();
    assert_eq!(refused.reason(), "BUDGET_EXCEEDED", "{refused}");
    let free = v1::Model { prices: Vec::new(), ..model("m-2") };
    add_model(&house, "shop", "free", free).await;
    let heard = listen(&house, question("providers/shop/models/free", "hello")).await;
    assert_eq!(heard.text(), "Hello!");
    assert_eq!(vendor.asked().len(), 1);
}

#[tokio::test]
async fn a_key_has_a_budget_of_its_own() {
    let (house, vendor) = shop(pb::RateLimits::default(), pb::Budget::default()).await;
    let key = pb::ApiKey {
        role: Role::User.into(),
        limits: Some(pb::RateLimits { tokens_per_day: Some(100_000), ..Default::default() }),
        // As much as three calls cost, and what is expected of the third.
        budget: Some(pb::Budget { day_cost_pico_usd: Some(5 * COST), ..Default::default() }),
        ..Default::default()
    };
    let request = pb::CreateApiKeyRequest { api_key: Some(key), ..Default::default() };
    let mut keys = ApiKeyServiceClient::new(house.client().raw().transport());
    let made = keys.create_api_key(request).await.unwrap().into_inner();
    let limited = made.api_key.as_ref().unwrap();
    assert_eq!(limited.budget.unwrap().day_cost_pico_usd, Some(5 * COST));
    let holder = Client::builder().url(house.url()).api_key(&made.secret).build().unwrap();
    let mut served = 0;
    let refused = loop {
        let parameters = v1::TextParameters { max_output_tokens: Some(10), ..Default::default() };
        let request = v1::GenerateTextRequest {
            parameters: Some(parameters),
            ..question(MODEL, "hello").into()
        };
        match holder.raw().text().generate_text(request).await {
            Ok(_) => served += 1,
            Err(refused) => break refused,
        }
        assert!(served <= 5, "a budget for five calls has served {served}");
    };
    assert!(served >= 3, "{served}");
    are_all(std::slice::from_ref(&refused), "BUDGET_EXCEEDED");
    assert!(refused.message().contains(&limited.name), "{refused}");
    assert_eq!(vendor.asked().len(), served);
    // Others are served.
    assert_eq!(listen(&house, question(MODEL, "hello")).await.text(), "Hello!");
}

#[tokio::test]
async fn an_answer_that_outgrows_its_budget_is_stopped() {
    // 1,000 tokens are expected of an answer that nobody limits; this one is far longer.
    let words = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"0123456789 0123456789 \"}}]}\n\n";
    let day = pb::Budget { day_cost_pico_usd: Some(4_000 * 2_000_000), ..Default::default() };
    let (house, vendor) = shop(pb::RateLimits::default(), day).await;
    vendor.always(
        Reply::sse(words.repeat(20_000)).paced(Duration::from_micros(50)).in_pieces_of(4_096),
    );
    let heard = listen(&house, question(MODEL, "hello")).await;
    let failed = heard.failed();
    assert_eq!(heard.reason(), "BUDGET_EXCEEDED", "{failed:?}");
    // It wrote as many tokens as there was money for, and not many more.
    let tokens = failed.usage.as_ref().unwrap().output_tokens;
    assert!((3_000..5_000).contains(&tokens), "{tokens}");
    let again = listen(&house, question(MODEL, "hello")).await;
    assert_eq!(again.failure.unwrap().reason(), "BUDGET_EXCEEDED");
}
