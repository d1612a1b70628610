//! What a caller hears when our account's limit at a vendor is reached: whose it is, how long to
//! wait, and what is left.

mod support;

use std::time::Duration;

use support::{
    House, Reply, Vendor,
    vendors::{CAREFUL, Failure, QUICK, Street, failure_of},
};
use tonic::Code;

const LIMITED: (Code, &str) = (Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED");
const OPENAI: &str =
    r#"{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}"#;
const ANTHROPIC: &str =
    r#"{"type":"error","error":{"type":"rate_limit_error","message":"Too many tokens"}}"#;

fn limited(body: &str, headers: &[(&str, &str)]) -> Reply {
    headers.iter().fold(Reply::json(429, body), |reply, (name, value)| reply.header(name, value))
}

/// How the model of a provider that speaks OpenAI's wire fails, at a vendor that answers so.
async fn at(provider: &str, model: &str, headers: &[(&str, &str)]) -> Failure {
    let vendor = Vendor::start().await;
    let account = format!(
        "[[accounts]]\nid = \"a\"\nprovider = \"{provider}\"\napi_key = \"k\"\nbase_uri = \"{}\"\n",
        vendor.url()
    );
    let house = House::plan()
        // Each answer is heard, whatever the one before has said.
        .env("MEDIARY__OUTBOUND__ACCOUNT_HEALTH", "false")
        .config(&account)
        .start();
    vendor.always(limited(OPENAI, headers));
    failure_of(&house, &format!("providers/{provider}/models/{model}")).await
}

#[tokio::test]
async fn a_rate_limit_tells_how_long_to_wait_and_whose_it_is() {
    let street = Street::new().await;
    for (name, value, wait) in [
        ("retry-after", "7", Duration::from_secs(7)),
        ("retry-after-ms", "1500", Duration::from_millis(1_500)),
        ("retry-after", "soon", Duration::from_secs(1)),
    ] {
        street.openai.always(limited(OPENAI, &[(name, value)]));
        let failure = failure_of(&street.house, QUICK).await;
        assert_eq!((failure.is(), failure.wait()), (LIMITED, Some(wait)), "{name}: {value}");
        assert!(failure.failed.retryable);
        let quota = failure.details.quota_failure().expect("whose limit it is");
        assert_eq!(quota.violations[0].subject, "providers/openai");
        assert_eq!(failure.fact("requestsRemaining"), "", "nobody told");
    }
    street.anthropic.always(limited(ANTHROPIC, &[("retry-after", "20")]));
    let failure = failure_of(&street.house, CAREFUL).await;
    assert_eq!((failure.is(), failure.wait()), (LIMITED, Some(Duration::from_secs(20))));
}

#[tokio::test]
async fn what_is_left_is_told_as_the_vendor_tells_it() {
    let (openai, mistral, together) = (
        [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0.5s")],
        [
            ("x-ratelimit-remaining-req-minute", "0"),
            ("x-ratelimit-remaining-tokens-minute", "97828"),
        ],
        [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")],
    );
    for (provider, model, headers, facts) in [
        ("groq", "gpt-oss-20b", &openai[..], ["0", "360500ms", "", ""]),
        ("azure", "harbour", &[("x-ratelimit-reset-tokens", "7")], ["", "", "", "7000ms"]),
        ("mistral", "mistral-large-4", &mistral, ["0", "", "97828", ""]),
        ("together", "any", &together, ["0", "2000ms", "", ""]),
    ] {
        let failure = at(provider, model, headers).await;
        assert_eq!(failure.is(), LIMITED, "{provider}");
        let told = ["requestsRemaining", "requestsReset", "tokensRemaining", "tokensReset"];
        assert_eq!(told.map(|key| failure.fact(key)), facts, "{provider}");
    }
    let street = Street::new().await;
    let long_ago = [
        ("anthropic-ratelimit-tokens-remaining", "0"),
        ("anthropic-ratelimit-tokens-reset", "2026-02-17T19:30:51Z"),
        ("anthropic-ratelimit-requests-remaining", "3999"),
    ];
    street.anthropic.always(limited(ANTHROPIC, &long_ago));
    let failure = failure_of(&street.house, CAREFUL).await;
    assert_eq!(failure.fact("tokensRemaining"), "0");
    assert_eq!(failure.fact("tokensReset"), "0ms");
    assert_eq!(failure.fact("requestsRemaining"), "3999");
}

#[tokio::test]
async fn what_is_left_is_not_told_of_other_failures() {
    let street = Street::new().await;
    let reply = Reply::json(500, "{}").header("x-ratelimit-remaining-requests", "12");
    street.openai.always(reply);
    let failure = failure_of(&street.house, QUICK).await;
    assert_eq!(failure.reason, "UPSTREAM_UNAVAILABLE");
    assert_eq!(failure.fact("requestsRemaining"), "");
}
