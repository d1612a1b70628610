//! Answers that start over: a provider that fails after its first token, and another that takes
//! its place, where the caller allows it.

mod support;

use mediary_client::{Answer, target, v1, v1::text_event::Kind};
use support::{
    Reply,
    ask::{listen, question},
    vendors::{ANTHROPIC_HELLO, CAREFUL, OPENAI_HELLO, QUICK, Street},
};

/// Asks the first model, then the others; a failure after the first token may start over.
fn restarting(model: &str, others: &[&str]) -> v1::StreamTextRequest {
    let models = others.iter().map(|&one| one.to_owned()).collect();
    let fallback = Some(v1::Fallback { allow: Some(true), models });
    let target = Some(v1::ModelTarget { fallback, ..target::model(model) });
    let request = question(model, "say hello").into();
    v1::StreamTextRequest { target, allow_restart: true, ..request }
}

/// Says "Hel" and breaks.
fn broken() -> Reply {
    Reply::sse(OPENAI_HELLO).cut_after(OPENAI_HELLO.find("\n\n").unwrap() + 2)
}

#[tokio::test]
async fn a_provider_that_breaks_half_way_is_replaced_and_its_words_are_void() {
    let street = Street::new().await;
    street.openai.replies([broken()]);
    street.anthropic.replies([Reply::sse(ANTHROPIC_HELLO)]);

    let heard = listen(&street.house, restarting(QUICK, &[CAREFUL])).await;

    let at = heard.kinds().position(|kind| matches!(kind, Kind::Restarted(_))).expect("a restart");
    let Some(Kind::Restarted(restarted)) = heard.kinds().nth(at) else { unreachable!() };
    assert_eq!((restarted.model.as_str(), restarted.discard_from_part_index), (CAREFUL, 0));
    assert!(restarted.reason.contains("was cut off"), "{}", restarted.reason);
    assert_eq!(heard.text(), "HelHello!");
    assert_eq!(heard.terminals(), 1);
    let numbers: Vec<i64> = heard.events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (1..=i64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());

    // What the client puts together holds nothing of the first.
    let mut answer = Answer::default();
    heard.events.iter().for_each(|event| answer.add(event));
    assert_eq!(answer.text(), "Hello!");
    assert_eq!(heard.finished().model, CAREFUL);
}

#[tokio::test]
async fn what_the_broken_attempt_used_is_counted_and_charged() {
    let street = Street::new().await;
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n";
    let told = format!("{}\n\n{usage}", &OPENAI_HELLO[..OPENAI_HELLO.find("\n\n").unwrap()]);
    for (broken, read, written, source) in [
        (Reply::sse(told), 9, 1, v1::UsageSource::Reported),
        (broken(), 7, 1, v1::UsageSource::Estimated),
    ] {
        street.openai.replies([broken]);
        street.anthropic.replies([Reply::sse(ANTHROPIC_HELLO)]);

        let heard = listen(&street.house, restarting(QUICK, &[CAREFUL])).await;

        let end = heard.finished();
        let [first, second] = &end.attempts[..] else { panic!("{:?}", end.attempts) };
        assert_eq!(first.state(), v1::AttemptState::Failed);
        assert_eq!(second.state(), v1::AttemptState::Succeeded);
        let used = first.usage.as_ref().expect("what the first used");
        assert_eq!((used.input_tokens, used.output_tokens), (read, written));
        assert_eq!(used.source(), source);
        let all = end.usage.as_ref().expect("what both used");
        assert_eq!((all.input_tokens, all.output_tokens), (read + 9, written + 2));
        assert_eq!(all.source(), source);
        // 1 and 2 USD per million.
        assert_eq!(end.cost_pico_usd, 1_000_000 * (read + 9) + 2_000_000 * (written + 2));
        assert_eq!(end.cost_pico_usd, first.cost_pico_usd + second.cost_pico_usd);
    }
}

#[tokio::test]
async fn the_last_candidates_failure_is_final_and_so_is_any_that_none_can_cure() {
    let street = Street::new().await;
    street.openai.replies([broken()]);
    street.anthropic.replies([Reply::sse(ANTHROPIC_HELLO).cut_after(300)]);
    let heard = listen(&street.house, restarting(QUICK, &[CAREFUL])).await;
    assert_eq!(heard.reason(), "UPSTREAM_TRUNCATED");
    assert_eq!(heard.failed().attempts.len(), 2);
    assert_eq!(heard.terminals(), 1);

    // Nobody else is named.
    street.openai.replies([broken()]);
    let heard = listen(&street.house, restarting(QUICK, &[])).await;
    assert_eq!((heard.reason().as_str(), heard.text().as_str()), ("UPSTREAM_TRUNCATED", "Hel"));
}

#[tokio::test]
async fn without_leave_a_failure_after_the_first_token_is_final() {
    let street = Street::new().await;
    street.openai.replies([broken()]);

    let request = v1::StreamTextRequest { allow_restart: false, ..restarting(QUICK, &[CAREFUL]) };
    let heard = listen(&street.house, request).await;

    assert_eq!(heard.reason(), "UPSTREAM_TRUNCATED");
    assert_eq!(street.anthropic.asked().len(), 0);
}
