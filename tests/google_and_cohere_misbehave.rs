//! The same at Gemini and Cohere, whose wires have words of their own for it.

mod support;

use std::time::Duration;

use support::{
    Reply,
    ask::{listen, question},
    vendors::{
        CLEAR, COHERE_HELLO, COHERE_KEY, CREDENTIALS, Failure, GEMINI_HELLO, GEMINI_KEY, LIMITED,
        PROTOCOL, SWIFT, Street, TRUNCATED, UNAVAILABLE, failure_of,
    },
};
use tonic::Code;

/// What each of the two makes of the same reply.
async fn both_answer(street: &Street, reply: &Reply) -> [Failure; 2] {
    street.gemini.always(reply.clone());
    street.cohere.always(reply.clone());
    [failure_of(&street.house, SWIFT).await, failure_of(&street.house, CLEAR).await]
}

#[tokio::test]
async fn what_is_no_answer_is_none_at_gemini_and_cohere_either() {
    let street = Street::new().await;
    let page = "<html>Sign in to the Wi-Fi of the secret café</html>";
    let endless = format!("data: {}", "a".repeat(2 << 20));
    let bare = "data: {\"a\":1}\n\n{\"not\": \"closed";
    for (what, reply, is) in [
        ("a web page", Reply::new(200, "text/html", page), PROTOCOL),
        ("a web page with a status", Reply::new(502, "text/html", page), UNAVAILABLE),
        ("an endless line", Reply::sse(endless.clone()).hang_after(endless.len()), PROTOCOL),
        ("many lines", Reply::sse("data: aaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(80_000)), PROTOCOL),
        (
            "no text",
            Reply::sse(b"data: {\"modelVersion\":\"\xff\",\"type\":\"\xff\"}\n\n".as_slice()),
            PROTOCOL,
        ),
        ("nothing", Reply::sse(""), TRUNCATED),
        ("blanks", Reply::sse("\n\n \r\n\n"), TRUNCATED),
        ("comments", Reply::sse(": keep-alive\n\n".repeat(1_000)), TRUNCATED),
        ("half an event", Reply::sse("data: {\"candidates\":[{\"con"), TRUNCATED),
        ("half a JSON", Reply::json(200, "{\"candidates\":[{\"con"), TRUNCATED),
        ("half a list", Reply::json(200, "[{\"candidates\":[]},"), TRUNCATED),
        ("another JSON", Reply::json(200, "{\"hello\":\"world\"}"), PROTOCOL),
        ("an empty JSON", Reply::json(200, "{}"), PROTOCOL),
        ("no JSON", Reply::sse("data: hello there\n\n"), PROTOCOL),
        ("more promised than sent", Reply::sse(": hi\n\n").with_length(900), TRUNCATED),
        ("an error that is not closed", Reply::sse(bare), UNAVAILABLE),
    ] {
        for failure in both_answer(&street, &reply).await {
            if what == "an error that is not closed" && failure.fact("provider") == "cohere" {
                // Cohere's failures are framed like its events.
                assert_eq!(failure.code, Code::Unavailable, "{what}");
                continue;
            }
            assert_eq!((failure.is(), failure.text.as_str()), (is, ""), "{what}");
            let told = failure.all();
            assert!(!told.contains("html") && !told.contains("secret café"), "{told}");
        }
    }
    for nothing in
        ["{\"candidates\":[]}", "{\"candidates\":[{\"content\":{}}],\"usageMetadata\":{}}"]
    {
        street.gemini.always(Reply::json(200, nothing));
        assert_eq!(failure_of(&street.house, SWIFT).await.is(), PROTOCOL, "{nothing}");
    }
}

#[tokio::test]
async fn an_answer_of_gemini_or_cohere_that_is_cut_is_never_taken_for_whole() {
    let street = Street::new().await;
    let end = COHERE_HELLO.find("event: message-end").unwrap();
    for (vendor, model, hello, end) in [
        (&street.gemini, SWIFT, GEMINI_HELLO, GEMINI_HELLO.len()),
        (&street.cohere, CLEAR, COHERE_HELLO, end),
    ] {
        for cut in (0..end).step_by(11) {
            let too_short = Reply::sse(&hello[..cut]).with_length(hello.len());
            for reply in [Reply::sse(hello).cut_after(cut), too_short] {
                vendor.replies([reply]);
                let heard = listen(&street.house, question(model, "say hello")).await;
                assert!(heard.failed().retryable, "{model} cut after {cut}");
                assert_eq!(heard.reason(), "UPSTREAM_TRUNCATED", "{model} cut after {cut}");
                assert!("Hello!".starts_with(&heard.text()));
            }
        }
        // The promised length ends within the answer.
        vendor.replies([Reply::sse(hello).with_length(end / 2)]);
        let heard = listen(&street.house, question(model, "say hello")).await;
        assert_eq!(heard.reason(), "UPSTREAM_TRUNCATED", "{model}");
        vendor.replies([
            Reply::json(200, hello),
            Reply::new(200, "", hello).with_length(hello.len()),
        ]);
        for _ in 0..2 {
            let heard = listen(&street.house, question(model, "say hello")).await;
            assert_eq!((heard.text().as_str(), heard.terminals()), ("Hello!", 1), "{model}");
            heard.finished();
        }
    }
}

#[tokio::test]
async fn google_asks_for_waits_in_its_body_and_a_spent_day_is_no_matter_of_waiting() {
    let street = Street::new().await;
    let limited = |delay: &str, quota: &str| {
        let details = serde_json::json!([
            { "@type": "type.googleapis.com/google.rpc.QuotaFailure",
              "violations": [{ "quotaId": quota }] },
            { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay },
        ]);
        let error = serde_json::json!({ "error": {
            "code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded", "details": details,
        }});
        Reply::json(429, error.to_string())
    };
    for (delay, quota, wait) in [
        ("48s", "RequestsPerMinute", Some(Duration::from_secs(48))),
        ("1.5s", "RequestsPerMinute", Some(Duration::from_millis(1_500))),
        ("soon", "RequestsPerMinute", Some(Duration::from_secs(1))),
        ("-3s", "RequestsPerMinute", Some(Duration::from_secs(1))),
        ("48s", "RequestsPerDay", None),
    ] {
        street.gemini.always(limited(delay, quota));
        let failure = failure_of(&street.house, SWIFT).await;
        assert_eq!((failure.is(), failure.wait()), (LIMITED, wait), "{delay} {quota}");
        assert_eq!(failure.failed.retryable, wait.is_some());
    }
    street.gemini.always(limited("soon", "").header("retry-after", "7"));
    assert_eq!(failure_of(&street.house, SWIFT).await.wait(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn the_keys_of_google_and_cohere_are_shown_nowhere() {
    let street = Street::with("log.level = \"trace\"").await;
    let words = format!("API key not valid: {GEMINI_KEY}.");
    let reason = serde_json::json!([{
        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
    }]);
    let error = serde_json::json!({ "error": {
        "code": 400, "status": "INVALID_ARGUMENT", "message": words, "details": reason,
    }});
    street.gemini.always(Reply::json(400, error.to_string()));
    let words = serde_json::json!({ "message": format!("Incorrect API key: {COHERE_KEY}") });
    street.cohere.always(Reply::json(401, words.to_string()));
    for model in [SWIFT, CLEAR] {
        let failure = failure_of(&street.house, model).await;
        assert_eq!(failure.is(), CREDENTIALS, "{model}");
        assert!(failure.message.contains("***"), "{}", failure.message);
        let told = failure.all() + &street.house.log();
        assert!(!told.contains(GEMINI_KEY) && !told.contains(COHERE_KEY), "{told}");
    }
    for asked in street.gemini.asked() {
        assert!(!asked.path.contains(GEMINI_KEY), "{}", asked.path);
    }
}
