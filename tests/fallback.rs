//! Somebody else takes over: another account or another model answers where one failed, before the
//! first token and never after it; nothing is paid twice, and no key goes astray.

mod support;

use std::time::Duration;

use mediary_client::{
    target,
    v1::{self, AttemptState, text_event::Kind},
};
use support::{
    House, Reply, Vendor,
    ask::{Heard, listen, question},
    vendors::{
        ANTHROPIC_HELLO, ANTHROPIC_KEY, BARE, CAREFUL, IN, LIMITED, OPENAI_HELLO, OPENAI_KEY, OUT,
        QUICK, Street, UNAVAILABLE, account, after_the_first_token, anthropic_error, failure,
        failure_of, openai_error, rows,
    },
};
use tonic::Code;

fn with_fallback(model: &str, models: &[&str]) -> v1::StreamTextRequest {
    let models = models.iter().map(ToString::to_string).collect();
    let fallback = Some(v1::Fallback { allow: Some(true), models });
    let target = v1::ModelTarget { fallback, ..target::model(model) };
    v1::StreamTextRequest { target: Some(target), ..question(model, "say hello").into() }
}

fn notices(heard: &Heard) -> Vec<&v1::Notice> {
    let notices = heard.kinds().filter_map(|kind| match kind {
        Kind::Notice(notice) => Some(notice),
        _ => None,
    });
    notices.collect()
}

/// A server with two accounts at OpenAI.
async fn two_accounts() -> (House, Vendor, Vendor) {
    let (first, second) = (Vendor::start().await, Vendor::start().await);
    let config = account("openai", "key-of-the-first", &format!("{}/v1", first.url()))
        + &account("openai", "key-of-the-second", &format!("{}/v1", second.url()));
    (rows(House::plan()).config(&config).start(), first, second)
}

fn trouble() -> Reply {
    Reply::json(503, openai_error("server_error", "", "The engine is overloaded"))
}

#[tokio::test]
async fn the_second_account_takes_over_before_the_first_token() {
    let (house, first, second) = two_accounts().await;
    second.always(Reply::sse(OPENAI_HELLO));
    for (reply, code) in [
        (Reply::json(401, openai_error("", "invalid_api_key", "no")), Code::FailedPrecondition),
        (Reply::json(429, openai_error("", "rate_limit_exceeded", "no")), Code::ResourceExhausted),
        (trouble(), Code::Unavailable),
    ] {
        let status = reply.status;
        first.always(reply);
        let heard = listen(&house, with_fallback(QUICK, &[])).await;

        assert_eq!((heard.text().as_str(), heard.terminals()), ("Hello!", 1));
        let [notice] = notices(&heard)[..] else { panic!("one notice: {:?}", heard.events) };
        assert_eq!((notice.kind.as_str(), notice.model.as_str()), ("fallback", QUICK));
        assert!(!notice.detail.is_empty());
        let end = heard.finished();
        let [lost, won] = end.attempts.as_slice() else { panic!("two attempts") };
        assert_eq!((lost.index, lost.state()), (1, AttemptState::Failed));
        assert_eq!(lost.http_status, Some(i32::from(status)));
        assert_eq!(lost.status.as_ref().unwrap().code, code as i32);
        assert_eq!((won.index, won.state()), (2, AttemptState::Succeeded));
        assert_eq!(end.cost_pico_usd, 9 * IN + 2 * OUT);
    }
    for (vendor, key) in [(first, "key-of-the-first"), (second, "key-of-the-second")] {
        for asked in vendor.asked() {
            assert_eq!(asked.header("authorization"), Some(format!("Bearer {key}").as_str()));
        }
    }
}

#[tokio::test]
async fn the_fallback_model_takes_over_in_both_calls_and_keys_stay_at_home() {
    let street = Street::new().await;
    street.openai.always(trouble());
    street.anthropic.always(Reply::sse(ANTHROPIC_HELLO));

    let heard = listen(&street.house, with_fallback(QUICK, &[CAREFUL])).await;
    let v1::StreamTextRequest { target, messages, .. } = with_fallback(QUICK, &[CAREFUL]);
    let whole = v1::GenerateTextRequest { target, messages, ..Default::default() };
    let answer = street.house.client().generate(whole).await.unwrap();

    assert_eq!(heard.started().model, QUICK);
    assert_eq!(notices(&heard)[0].model, CAREFUL);
    let end = heard.finished();
    assert_eq!((end.model.as_str(), end.provider_model_id.as_str()), (CAREFUL, "careful-1"));
    assert_eq!((answer.model.as_str(), answer.attempts.len()), (CAREFUL, 2));
    let models: Vec<_> = end.attempts.iter().map(|one| one.model.as_str()).collect();
    assert_eq!(models, [QUICK, CAREFUL]);
    for asked in street.openai.asked() {
        let bearer = format!("Bearer {OPENAI_KEY}");
        assert_eq!(asked.header("authorization"), Some(bearer.as_str()));
        assert_eq!(asked.header("x-api-key"), None);
        assert!(!format!("{asked:?}").contains(ANTHROPIC_KEY));
    }
    for asked in street.anthropic.asked() {
        assert_eq!(asked.header("x-api-key"), Some(ANTHROPIC_KEY));
        assert_eq!(asked.header("authorization"), None);
        assert!(!format!("{asked:?}").contains(OPENAI_KEY));
        assert!(!String::from_utf8_lossy(&asked.body).contains("sk-"));
    }
}

#[tokio::test]
async fn nobody_takes_over_once_something_was_said() {
    let street = Street::new().await;
    street.anthropic.always(Reply::sse(ANTHROPIC_HELLO));
    let error = String::from_utf8(openai_error("server_error", "", "sorry")).unwrap();
    let body = after_the_first_token(&format!("data: {error}\n\n"));
    street.openai.always(Reply::sse(body));

    let failure = failure(&street.house, with_fallback(QUICK, &[CAREFUL])).await;

    assert_eq!((failure.is(), failure.text.as_str()), (UNAVAILABLE, "Hel"));
    assert_eq!(failure.failed.attempts.len(), 1);
    assert!(street.anthropic.asked().is_empty());
}

#[tokio::test]
async fn what_was_used_before_somebody_took_over_is_paid_too() {
    let street = Street::new().await;
    street.openai.always(Reply::sse(OPENAI_HELLO));
    let (start, _) = ANTHROPIC_HELLO.split_once("\n\n").unwrap();
    let error = String::from_utf8(anthropic_error("overloaded_error", "Overloaded")).unwrap();
    street.anthropic.always(Reply::sse(format!("{start}\n\nevent: error\ndata: {error}\n\n")));

    let heard = listen(&street.house, with_fallback(CAREFUL, &[QUICK])).await;

    let end = heard.finished();
    let costs: Vec<_> = end.attempts.iter().map(|one| one.cost_pico_usd).collect();
    assert_eq!(costs, [9 * IN + OUT, 9 * IN + 2 * OUT]);
    assert_eq!(end.cost_pico_usd, costs.iter().sum::<i64>());
}

#[tokio::test]
async fn a_named_model_is_not_replaced_unless_the_caller_allows_it() {
    let (house, first, second) = two_accounts().await;
    first.always(trouble());
    second.always(Reply::sse(OPENAI_HELLO));

    let failure = failure_of(&house, QUICK).await;

    assert_eq!(failure.is(), UNAVAILABLE);
    assert_eq!(failure.failed.attempts.len(), 1);
    assert!(second.asked().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_wrong_everywhere() {
    let street = Street::new().await;
    street.anthropic.always(Reply::sse(ANTHROPIC_HELLO));
    let body = openai_error("invalid_request_error", "", "messages: unexpected role");
    street.openai.always(Reply::json(400, body));

    let failure = failure(&street.house, with_fallback(QUICK, &[CAREFUL])).await;

    assert_eq!(failure.is(), (Code::InvalidArgument, "UPSTREAM_REJECTED_REQUEST"));
    assert!(street.anthropic.asked().is_empty());
}

/// Waiting cures the first, so the caller must hear of it although the second was asked last.
#[tokio::test]
async fn when_nobody_answers_the_last_failure_that_time_cures_is_told() {
    let (house, first, second) = two_accounts().await;
    let limit = openai_error("requests", "rate_limit_exceeded", "Rate limit reached");
    first.always(Reply::json(429, limit).header("retry-after", "7"));
    second.always(Reply::json(401, openai_error("", "invalid_api_key", "no")));

    let failure = failure(&house, with_fallback(QUICK, &[])).await;

    assert_eq!((failure.is(), failure.wait()), (LIMITED, Some(Duration::from_secs(7))));
    assert!(failure.failed.retryable);
    assert_eq!(failure.fact("attempts"), "2");
    let codes: Vec<_> =
        failure.failed.attempts.iter().map(|one| one.status.as_ref().unwrap().code).collect();
    assert_eq!(codes, [Code::ResourceExhausted as i32, Code::FailedPrecondition as i32]);
}

#[tokio::test]
async fn what_the_fallback_model_does_not_take_is_told() {
    let street = Street::new().await;
    street.openai.replies([trouble(), Reply::sse(OPENAI_HELLO)]);
    let mut request = with_fallback(QUICK, &[BARE]);
    let tool = v1::Tool { tool_name: "weather".to_owned(), ..v1::Tool::default() };
    request.parameters = Some(v1::TextParameters {
        tools: vec![tool],
        unsupported_parameter_policy: v1::UnsupportedParameterPolicy::Drop.into(),
        ..Default::default()
    });

    let heard = listen(&street.house, request.clone()).await;
    street.openai.replies([trouble(), Reply::sse(OPENAI_HELLO)]);
    let v1::StreamTextRequest { target, messages, parameters, .. } = request;
    let whole = v1::GenerateTextRequest { target, messages, parameters, ..Default::default() };
    let answer = street.house.client().generate(whole).await.unwrap();

    assert_eq!(answer.model, BARE);
    let told: Vec<_> = answer.warnings.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(told, ["parameters.tools"]);
    assert_eq!(heard.started().warnings, [], "the first model takes it");
    assert!(notices(&heard)[0].detail.contains("parameters.tools"), "{:?}", notices(&heard));
}
