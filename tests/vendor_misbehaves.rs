//! Whatever a vendor does, a caller sees exactly one end with the right code, in band, as the
//! status and from the unary call alike; nothing is paid twice, and no key goes astray.

mod support;

use std::{net::TcpListener, time::Duration};

use mediary_client::v1;
use support::{
    House, Reply, Vendor,
    ask::{listen, question},
    vendors::{
        ANTHROPIC_HELLO, ANTHROPIC_KEY, CAREFUL, CREDENTIALS, Failure, IN, LIMITED, OPENAI_HELLO,
        OPENAI_KEY, OUT, PROTOCOL, QUICK, Street, TIMEOUT, TRUNCATED, UNAVAILABLE, account,
        after_the_first_token, anthropic_error, failure_of, openai_error, rows,
    },
};
use tonic::Code;

async fn openai_answers(reply: Reply) -> (Street, Failure) {
    let street = Street::new().await;
    street.openai.always(reply);
    let failure = failure_of(&street.house, QUICK).await;
    assert_eq!(street.openai.asked().len(), 2, "one try for each of the two calls");
    (street, failure)
}

async fn anthropic_answers(reply: Reply) -> (Street, Failure) {
    let street = Street::new().await;
    street.anthropic.always(reply);
    let failure = failure_of(&street.house, CAREFUL).await;
    assert_eq!(street.anthropic.asked().len(), 2, "one try for each of the two calls");
    (street, failure)
}

// --- refusals ---

#[tokio::test]
async fn a_rejected_key_is_reported_and_shown_nowhere() {
    let street = Street::with("log.level = \"trace\"").await;
    for status in [401, 403] {
        let words = format!("Incorrect API key provided: {OPENAI_KEY}. Find yours at the site.");
        let body = openai_error(OPENAI_KEY, "invalid_api_key", &words);
        street.openai.always(Reply::json(status, body));
        let words = format!("invalid x-api-key {ANTHROPIC_KEY}");
        street
            .anthropic
            .always(Reply::json(status, anthropic_error("authentication_error", &words)));
        for (model, provider) in [(QUICK, "openai"), (CAREFUL, "anthropic")] {
            let failure = failure_of(&street.house, model).await;
            assert_eq!(failure.is(), CREDENTIALS, "{model} {status}");
            assert_eq!(failure.fact("provider"), provider);
            assert_eq!(failure.fact("httpStatus"), status.to_string());
            assert!(!failure.failed.retryable);
            assert_eq!(failure.wait(), None);
            assert!(failure.message.contains("***"), "{}", failure.message);
            let told = failure.all() + &street.house.log();
            assert!(!told.contains(OPENAI_KEY) && !told.contains(ANTHROPIC_KEY), "{told}");
        }
    }
    assert!(street.house.log().contains("attempt 1"), "the log tells of the attempts");
}

#[tokio::test]
async fn a_spent_quota_is_no_matter_of_waiting() {
    let spent = "You exceeded your current quota, please check your plan.";
    let quota = openai_error("insufficient_quota", "insufficient_quota", spent);
    for reply in [
        Reply::json(429, quota).header("retry-after", "9"),
        Reply::json(402, openai_error("billing", "", "Payment required")),
    ] {
        let (_street, failure) = openai_answers(reply).await;
        assert_eq!(failure.is(), LIMITED);
        assert_eq!(failure.wait(), None);
        assert!(!failure.failed.retryable);
        assert!(failure.details.quota_failure().is_some());
    }
    let reply = Reply::json(400, anthropic_error("billing_error", "Your balance is too low"));
    let (_street, failure) = anthropic_answers(reply).await;
    assert_eq!((failure.is(), failure.wait()), (LIMITED, None));
}

#[tokio::test]
async fn a_vendor_in_trouble_can_be_asked_again_later() {
    let street = Street::new().await;
    for (status, is) in [
        (500, UNAVAILABLE),
        (502, UNAVAILABLE),
        (503, UNAVAILABLE),
        (529, UNAVAILABLE),
        (408, TIMEOUT),
        (504, TIMEOUT),
        (524, TIMEOUT),
    ] {
        for body in ["", "upstream connect error", "{\"error\":{\"message\":\"try later\"}}"] {
            street.openai.always(Reply::json(status, body));
            street.anthropic.always(Reply::json(status, body));
            for model in [QUICK, CAREFUL] {
                let failure = failure_of(&street.house, model).await;
                assert_eq!(failure.is(), is, "{status} {body:?} at {model}");
                assert!(failure.failed.retryable, "{status} {body:?} at {model}");
                // For an expired deadline it is the caller's choice.
                assert_eq!(failure.wait().is_some(), is == UNAVAILABLE, "{status} at {model}");
                assert_eq!(failure.fact("httpStatus"), status.to_string());
            }
        }
    }
    street.openai.always(Reply::json(503, "").header("retry-after", "3"));
    let failure = failure_of(&street.house, QUICK).await;
    assert_eq!(failure.wait(), Some(Duration::from_secs(3)));
}

#[tokio::test]
async fn a_vendors_long_words_are_cut_and_cleaned() {
    let words = |count: usize| format!("\u{1b}[31m{}", "né€🌍\u{0}".repeat(count));
    for (count, is_read) in [(500, true), (20_000, false)] {
        let words = words(count);
        let reply = Reply::json(400, openai_error(&words, &words, &words));
        let (_street, failure) = openai_answers(reply).await;
        assert_eq!(failure.is(), (Code::InvalidArgument, "UPSTREAM_REJECTED_REQUEST"));
        assert!(failure.message.len() < 600, "{}", failure.message.len());
        assert!(!failure.message.contains(['\u{1b}', '\0']));
        assert_eq!(failure.message.contains("né€🌍"), is_read, "{}", failure.message);
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Vendor::start().await;
        elsewhere.always(Reply::sse(OPENAI_HELLO));
        let to = format!("{}/v1/chat/completions", elsewhere.url());
        let reply = Reply::new(status, "text/html", "moved").header("location", &to);
        let (_street, failure) = openai_answers(reply).await;
        assert_eq!(failure.is(), PROTOCOL, "{status}: the caller did nothing wrong");
        assert!(elsewhere.asked().is_empty(), "{status}");
    }
}

// --- answers that are none ---

#[tokio::test]
async fn a_web_page_is_no_answer() {
    let page = "<!DOCTYPE html><html><body>Sign in to the Wi-Fi of the secret café</body></html>";
    for (status, is) in [(200, PROTOCOL), (502, UNAVAILABLE)] {
        let reply = || Reply::new(status, "text/html", format!("\r\n{page}"));
        let (_street, openai) = openai_answers(reply()).await;
        let (_street, anthropic) = anthropic_answers(reply()).await;
        for failure in [openai, anthropic] {
            assert_eq!(failure.is(), is, "{status}");
            assert_eq!(failure.text, "");
            let told = failure.all();
            assert!(!told.contains("html") && !told.contains("secret café"), "{told}");
        }
    }
}

#[tokio::test]
async fn half_a_json_is_no_answer() {
    let half = r#"{"model":"quick-1","choices":[{"index":0,"message":{"content":"Hel"#;
    for reply in [
        Reply::json(200, half),
        Reply::json(200, half).cut_after(half.len()),
        Reply::sse(format!("data: {half}\n\n")),
        Reply::sse(format!("data: {half}\n\ndata: [DONE]\n\n")),
        Reply::sse(format!("data: {half}")),
    ] {
        let (_street, failure) = openai_answers(reply.clone()).await;
        assert_eq!(failure.is(), TRUNCATED, "{reply:?}");
        assert_eq!(failure.text, "");
        assert!(failure.failed.retryable);
    }
    for reply in [
        Reply::json(200, r#"{"type":"message","content":[{"type":"text","te"#),
        Reply::sse("event: message_start\ndata: {\"type\":\"mess\n\n"),
    ] {
        let (_street, failure) = anthropic_answers(reply.clone()).await;
        assert_eq!(failure.is(), TRUNCATED, "{reply:?}");
    }
}

#[tokio::test]
async fn another_json_is_no_answer() {
    for body in ["{\"hello\":\"world\"}", "{}", "[]", "[{\"a\":1}]"] {
        let (_street, failure) = openai_answers(Reply::json(200, body)).await;
        assert_eq!(failure.is(), PROTOCOL, "{body}");
        let (_street, failure) = anthropic_answers(Reply::json(200, body)).await;
        assert_eq!(failure.is(), PROTOCOL, "{body}");
    }
    let (_street, failure) = openai_answers(Reply::sse("data: hello there\n\n")).await;
    assert_eq!(failure.is(), PROTOCOL);
}

#[tokio::test]
async fn nothing_at_all_is_no_answer() {
    let nothing = Reply::sse("");
    let blank = Reply::sse("\n\n \r\n\n");
    let cut = Reply::sse(OPENAI_HELLO).cut_after(0);
    let done = Reply::sse(": hello\n\nevent: ping\n\n");
    for reply in [nothing, blank, cut, done] {
        let (_street, openai) = openai_answers(reply.clone()).await;
        let (_street, anthropic) = anthropic_answers(reply).await;
        for failure in [openai, anthropic] {
            assert_eq!(failure.is(), TRUNCATED);
            assert!(failure.failed.retryable);
        }
    }
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer_is_not_tried_again_by_itself() {
    let closed = Reply { close_at_once: true, ..Reply::sse("") };
    let (street, failure) = openai_answers(closed.clone()).await;
    assert_eq!(failure.is(), UNAVAILABLE);
    assert!(failure.failed.retryable);

    // Nor on a connection that has served before: the vendor may have done the work.
    street.openai.replies([Reply::sse(OPENAI_HELLO), closed]);
    let first = listen(&street.house, question(QUICK, "say hello")).await;
    let second = listen(&street.house, question(QUICK, "say hello")).await;
    assert_eq!(first.text(), "Hello!");
    assert_eq!(second.reason(), "UPSTREAM_UNAVAILABLE");
    assert_eq!(street.openai.asked().len(), 4);
}

#[tokio::test]
async fn a_vendor_that_nobody_reaches_is_unavailable() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = account("openai", OPENAI_KEY, &format!("http://{gone}/v1"));
    let house = rows(House::plan()).config(&config).start();

    let failure = failure_of(&house, QUICK).await;

    assert_eq!(failure.is(), UNAVAILABLE);
    assert!(failure.failed.retryable && failure.wait().is_some());
    assert_eq!(failure.failed.usage, None);
    let told = failure.all();
    assert!(!told.contains(&gone.to_string()), "the address is the operator's: {told}");
}

// --- answers that break ---

#[tokio::test]
async fn an_error_in_place_of_the_first_token_is_the_answers_failure() {
    let error = String::from_utf8(openai_error("server_error", "", "The server had an error"));
    for body in [
        format!("data: {}\n\n", error.clone().unwrap()),
        format!("event: error\ndata: {}\n\n", error.clone().unwrap()),
        error.unwrap(),
    ] {
        let (_street, failure) = openai_answers(Reply::sse(body.clone())).await;
        assert_eq!(failure.is(), UNAVAILABLE, "{body}");
        assert_eq!((failure.text.as_str(), failure.failed.retryable), ("", true));
        assert_eq!(failure.fact("upstreamMessage"), "The server had an error");
    }
    let error = anthropic_error("overloaded_error", "Overloaded");
    let body = [b"event: error\ndata: ", error.as_slice(), b"\n\n"].concat();
    let (_street, failure) = anthropic_answers(Reply::sse(body)).await;
    assert_eq!(failure.is(), UNAVAILABLE);
}

#[tokio::test]
async fn an_error_after_the_first_token_keeps_what_was_said_and_used() {
    let error = String::from_utf8(openai_error("server_error", "", "The server had an error"));
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}";
    let body = after_the_first_token(&format!("{usage}\n\ndata: {}\n\n", error.unwrap()));
    let (_street, openai) = openai_answers(Reply::sse(body)).await;

    let end = ANTHROPIC_HELLO.find("event: content_block_stop").unwrap();
    let error = String::from_utf8(anthropic_error("overloaded_error", "Overloaded")).unwrap();
    let body = format!("{}event: error\ndata: {error}\n\n", &ANTHROPIC_HELLO[..end]);
    let (_street, anthropic) = anthropic_answers(Reply::sse(body)).await;

    assert_eq!((openai.text.as_str(), anthropic.text.as_str()), ("Hel", "Hello!"));
    for failure in [openai, anthropic] {
        assert_eq!(failure.is(), UNAVAILABLE);
        assert!(failure.failed.retryable);
        let usage = failure.failed.usage.clone().expect("what was reported");
        assert_eq!((usage.input_tokens, usage.output_tokens), (9, 1));
        assert_eq!(usage.source(), v1::UsageSource::Reported);
        assert_eq!(failure.failed.cost_pico_usd, 9 * IN + OUT);
        let [attempt] = failure.failed.attempts.as_slice() else { panic!("one attempt") };
        assert_eq!(attempt.state(), AttemptState::Failed);
        assert_eq!(attempt.cost_pico_usd, 9 * IN + OUT);
        assert_eq!(attempt.status.as_ref().unwrap().code, Code::Unavailable as i32);
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_its_end_is_cut() {
    let end = OPENAI_HELLO.find("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish").unwrap();
    let (_street, failure) = openai_answers(Reply::sse(&OPENAI_HELLO[..end])).await;
    assert_eq!((failure.is(), failure.text.as_str()), (TRUNCATED, "Hello!"));
    assert!(failure.failed.retryable);
    assert!(!failure.failed.attempts[0].outcome_known, "the vendor may have done the work");

    let end = ANTHROPIC_HELLO.find("event: message_stop").unwrap();
    let (_street, failure) = anthropic_answers(Reply::sse(&ANTHROPIC_HELLO[..end])).await;
    assert_eq!((failure.is(), failure.text.as_str()), (TRUNCATED, "Hello!"));
    assert_eq!(failure.failed.cost_pico_usd, 9 * IN + 2 * OUT);
}

#[tokio::test]
async fn an_answer_with_its_reason_to_finish_is_whole_without_the_last_word() {
    let street = Street::new().await;
    street.openai.always(Reply::sse(OPENAI_HELLO.replace("data: [DONE]\n\n", "")));
    let heard = listen(&street.house, question(QUICK, "say hello")).await;
    assert_eq!((heard.text().as_str(), heard.terminals()), ("Hello!", 1));
    assert_eq!(heard.finished().finish_reason(), v1::FinishReason::Stop);
}

#[tokio::test]
async fn what_comes_after_the_end_is_not_read() {
    let street = Street::new().await;
    let late = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" and more\"}}]}\n\n\
                data: {\"error\":{\"message\":\"too late\"}}\n\n";
    street.openai.always(Reply::sse(format!("{OPENAI_HELLO}{late}")));
    street.anthropic.always(Reply::sse(format!("{ANTHROPIC_HELLO}{late}")));
    for model in [QUICK, CAREFUL] {
        let heard = listen(&street.house, question(model, "say hello")).await;
        assert_eq!((heard.text().as_str(), heard.terminals()), ("Hello!", 1), "{model}");
        heard.finished();
    }
}

// --- time ---

#[tokio::test]
async fn a_vendor_that_falls_silent_is_given_up() {
    let street = Street::with("outbound.idle_timeout = \"300ms\"").await;
    let body = after_the_first_token("");
    street.openai.always(Reply::sse(body.clone()).hang_after(body.len()));

    let failure = failure_of(&street.house, QUICK).await;

    assert_eq!((failure.is(), failure.text.as_str()), (TIMEOUT, "Hel"));
    assert!(failure.failed.retryable);
    assert_eq!(failure.wait(), None, "for an expired deadline it is the caller's choice");
    street.openai.wait_for_leavers(2).await;
}

#[tokio::test]
async fn a_vendor_that_never_begins_to_answer_is_given_up() {
    let street = Street::with("outbound.idle_timeout = \"300ms\"").await;
    let never = Reply::sse("").after(Duration::from_secs(600));
    street.openai.always(never.clone());
    street.anthropic.always(never);
    for model in [QUICK, CAREFUL] {
        let failure =
            tokio::time::timeout(Duration::from_secs(10), failure_of(&street.house, model))
                .await
                .expect("the silence before the answer is bounded as well");
        assert_eq!(failure.is(), TIMEOUT, "{model}");
        assert!(failure.failed.retryable);
    }
    street.openai.wait_for_leavers(2).await;
    street.anthropic.wait_for_leavers(2).await;
}

#[tokio::test]
async fn a_refusal_that_stops_half_way_is_a_refusal_still() {
    let street = Street::with("outbound.idle_timeout = \"300ms\"").await;
    street.openai.always(Reply::json(503, "{\"error\":{\"mess").hang_after(10));
    let failure = failure_of(&street.house, QUICK).await;
    assert_eq!(failure.is(), UNAVAILABLE);
}

#[tokio::test]
async fn a_vendor_that_is_slow_but_never_silent_is_heard_out() {
    let street = Street::with("outbound.idle_timeout = \"400ms\"").await;
    let slow = Reply::sse(OPENAI_HELLO).in_pieces_of(40).paced(Duration::from_millis(100));
    street.openai.always(slow);
    let heard = listen(&street.house, question(QUICK, "say hello")).await;
    assert_eq!(heard.text(), "Hello!");
    heard.finished();
}

// --- bytes ---

#[tokio::test]
async fn an_endless_line_is_refused_and_its_connection_dropped() {
    let street = Street::new().await;
    let endless = format!("data: {}", "a".repeat(2 << 20));
    let endless = Reply::sse(endless.clone()).hang_after(endless.len());
    street.openai.always(endless.clone());
    street.anthropic.always(endless);
    for model in [QUICK, CAREFUL] {
        let failure = failure_of(&street.house, model).await;
        assert_eq!(failure.is(), PROTOCOL, "{model}");
        assert!(!failure.failed.retryable);
    }
    street.openai.wait_for_leavers(2).await;
    street.anthropic.wait_for_leavers(2).await;

    // Many short lines that are one event are no better.
    street
        .openai
        .always(Reply::sse("data: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(50_000)));
    assert_eq!(failure_of(&street.house, QUICK).await.is(), PROTOCOL);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_no_answer() {
    let event = |content: &[u8]| {
        let head = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"".as_slice();
        [head, content, b"\"}}]}\n\ndata: [DONE]\n\n"].concat()
    };
    for content in [b"Hel\xff\xfe".as_slice(), b"Hel\0lo", b"\xed\xa0\x80", b"\\ud800"] {
        let (_street, failure) = openai_answers(Reply::sse(event(content))).await;
        assert_eq!(failure.is(), PROTOCOL, "{content:?}");
        assert_eq!(failure.text, "");
    }
    // In a refusal they only cost the words.
    let refusal = b"{\"error\":{\"message\":\"bad \xff\xfe\"}}".as_slice();
    let (_street, failure) = openai_answers(Reply::json(400, refusal)).await;
    assert_eq!(failure.is(), (Code::InvalidArgument, "UPSTREAM_REJECTED_REQUEST"));
}

#[tokio::test]
async fn odd_dress_does_not_hide_a_good_answer() {
    let street = Street::new().await;
    let whole = "{\"model\":\"quick-1\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\
                 \"message\":{\"content\":\"Hello!\"}}]}";
    let escaped = OPENAI_HELLO.replace("lo!", "lo!\\u0000");
    for (what, reply, text) in [
        ("no content type", Reply::new(200, "", OPENAI_HELLO), "Hello!"),
        ("a web page's", Reply::new(200, "text/html", OPENAI_HELLO), "Hello!"),
        ("JSON's", Reply::json(200, OPENAI_HELLO), "Hello!"),
        ("a stream's", Reply::sse(whole), "Hello!"),
        ("another success", Reply::new(203, "text/event-stream", OPENAI_HELLO), "Hello!"),
        ("comments", Reply::sse(": wait\n\n".repeat(10_000) + OPENAI_HELLO), "Hello!"),
        ("comments and no blank lines", Reply::sse(":\n".repeat(10_000) + OPENAI_HELLO), "Hello!"),
        ("stray NULs", Reply::sse(format!("\0\0\n\n{OPENAI_HELLO}")), "Hello!"),
        ("an escaped NUL", Reply::sse(escaped), "Hello!\0"),
    ] {
        street.openai.replies([reply]);
        let heard = listen(&street.house, question(QUICK, "say hello")).await;
        assert_eq!((heard.text().as_str(), heard.terminals()), (text, 1), "{what}");
        heard.finished();
    }
}
