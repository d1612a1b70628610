//! Bytes that are no answer, or a good one in odd dress, at OpenAI's Responses API and in Ollama's
//! lines. vendor_misbehaves.rs does the same to the older wires.

mod support;

use std::time::Duration;

use support::{
    Reply, Vendor,
    ask::{listen, question},
    vendors::{DEEP, Failure, HOMELY, OLLAMA_HELLO, RESPONSES_HELLO, Street, failure_of, follow},
};
use tonic::Code;

const PROTOCOL: (Code, &str) = (Code::Internal, "UPSTREAM_PROTOCOL_ERROR");
const TRUNCATED: (Code, &str) = (Code::Unavailable, "UPSTREAM_TRUNCATED");
const UNAVAILABLE: (Code, &str) = (Code::Unavailable, "UPSTREAM_UNAVAILABLE");

const HELLOS: [(&str, &str, &str); 2] =
    [(DEEP, "text/event-stream", RESPONSES_HELLO), (HOMELY, "application/x-ndjson", OLLAMA_HELLO)];

fn vendor<'a>(street: &'a Street, model: &str) -> &'a Vendor {
    if model == HOMELY { &street.ollama } else { &street.openai }
}

async fn answers(street: &Street, model: &str, reply: Reply) -> Failure {
    vendor(street, model).always(reply);
    failure_of(&street.house, model).await
}

#[tokio::test]
async fn a_web_page_is_no_answer() {
    let street = Street::new().await;
    let page =
        "\r\n<!DOCTYPE html><html><body>Sign in to the Wi-Fi of the secret café</body></html>";
    for (model, kind, _) in HELLOS {
        for (status, kind, is) in
            [(200, "text/html", PROTOCOL), (200, kind, PROTOCOL), (502, "text/html", UNAVAILABLE)]
        {
            let failure = answers(&street, model, Reply::new(status, kind, page)).await;
            assert_eq!(failure.is(), is, "{model} {status} {kind}");
            let told = failure.all();
            assert!(!told.contains("html") && !told.contains("secret café"), "{told}");
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_no_answer_and_cost_a_refusal_its_words_only() {
    let street = Street::new().await;
    for (model, kind, hello) in HELLOS {
        let (before, after) = hello.split_once("lo!").unwrap();
        for bytes in [b"\xff\xfe".as_slice(), b"\0", b"\xed\xa0\x80", b"\\ud800"] {
            let body = [before.as_bytes(), bytes, after.as_bytes()].concat();
            let failure = answers(&street, model, Reply::new(200, kind, body)).await;
            assert_eq!((failure.is(), &*failure.text), (PROTOCOL, "Hel"), "{model} {bytes:?}");
        }
        let refusal = b"{\"error\":\"bad \xff\xfe\"}".as_slice();
        let failure = answers(&street, model, Reply::json(400, refusal)).await;
        assert_eq!(failure.is(), (Code::InvalidArgument, "UPSTREAM_REJECTED_REQUEST"), "{model}");
    }
}

#[tokio::test]
async fn an_endless_line_is_refused_with_little_of_it_held_and_its_connection_dropped() {
    let street = Street::new().await;
    for (model, kind, _) in HELLOS {
        let start =
            if model == HOMELY { "{\"message\":{\"content\":\"" } else { "data: {\"a\":\"" };
        // More than any limit of a line, and more than the server may grow by.
        let endless = format!("{start}{}", "a".repeat(64 << 20));
        let length = endless.len();
        let before = street.house.peak_kib();

        let reply = Reply::new(200, kind, endless).hang_after(length).in_pieces_of(64 << 10);
        let failure = answers(&street, model, reply).await;

        assert_eq!(failure.is(), PROTOCOL, "{model}");
        assert!(!failure.failed.retryable);
        vendor(&street, model).wait_for_leavers(2).await;
        let grown = street.house.peak_kib().saturating_sub(before);
        assert!(grown < 32 << 10, "{model}: {grown} KiB more for a line of {length}");
    }
}

#[tokio::test]
async fn a_wrong_length_is_an_answer_that_is_cut_or_one_that_is_whole_without_its_rest() {
    let street = Street::new().await;
    for (model, kind, hello) in HELLOS {
        // Too long a promise: the last event is there, and the answer is over with it.
        let long = Reply::new(200, kind, hello).with_length(hello.len() + 100);
        vendor(&street, model).always(long);
        let heard = listen(&street.house, question(model, "say hello")).await;
        assert_eq!((&*heard.text(), heard.terminals()), ("Hello!", 1), "{model}");
        heard.finished();
        // Too short a one: what is beyond it does not belong to the answer.
        let end = hello.find("lo!").unwrap();
        let failure = answers(&street, model, Reply::new(200, kind, hello).with_length(end)).await;
        assert_eq!(failure.is(), TRUNCATED, "{model}");
        assert_eq!(failure.text, "Hel", "{model}");
        assert!(failure.failed.retryable);
    }
}

#[tokio::test]
async fn what_keeps_a_connection_alive_is_no_part_of_the_answer() {
    let street = Street::with("outbound.idle_timeout = \"2s\"").await;
    let comments = ": keep-alive\n\n".repeat(10_000) + RESPONSES_HELLO;
    let between =
        RESPONSES_HELLO.replace("event: response.completed", ": wait\n\nevent: response.completed");
    let blank = "\n \r\n\n".repeat(10_000) + OLLAMA_HELLO;
    let no_end = OLLAMA_HELLO.trim_end().to_owned();
    for (model, kind, body) in [
        (DEEP, "text/event-stream", comments),
        (DEEP, "text/event-stream", between),
        (HOMELY, "application/x-ndjson", blank),
        (HOMELY, "application/x-ndjson", no_end),
        (HOMELY, "text/plain", OLLAMA_HELLO.replace('\n', "\r\n")),
    ] {
        vendor(&street, model).always(Reply::new(200, kind, body));
        let (events, end) = follow(&street.house, question(model, "say hello")).await;
        assert!(end.is_ok(), "{model}: {end:?}");
        let heard = listen(&street.house, question(model, "say hello")).await;
        assert_eq!((&*heard.text(), heard.terminals()), ("Hello!", 1), "{model}");
        assert_eq!(events.len(), heard.events.len());
    }
    // A pace slower than none, faster than the silence that is allowed.
    let slow = Reply::sse(RESPONSES_HELLO).in_pieces_of(200).paced(Duration::from_millis(20));
    street.openai.always(slow);
    assert_eq!(listen(&street.house, question(DEEP, "say hello")).await.text(), "Hello!");
}
