//! A vendor that costs nothing: answers `POST */chat/completions` as OpenAI does, at once.
//!
//! The last segment of the model's name says how: `one` = 1 token, `many` = 64 tokens at once,
//! `paced` = 64 tokens, one each 5 ms, `hang` = 1 token, then silence until the caller leaves.
//! With `stream` it is SSE, every event a chunk of its own as vendors send it, usage and `[DONE]`
//! included; without it one JSON body. One thread, keep-alive, TCP_NODELAY.

use std::{convert::Infallible, error::Error, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, sleep_until},
};

/// Tokens of `many` and `paced`.
const TOKENS: usize = 64;
const PACE: Duration = Duration::from_millis(5);
const MODELS: &[&str] = &["one", "many", "paced", "hang"];

type Body = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    model: &'a str,
    #[serde(default)]
    stream: bool,
}

/// The bytes of every event, made once.
#[derive(Clone)]
struct Script {
    token: Bytes,
    finish: Bytes,
    done: Bytes,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = match std::env::args().nth(1) {
        Some(address) => address.parse()?,
        None => return Err("usage: mediary-bench-vendor ADDRESS:PORT".into()),
    };
    let listener = TcpListener::bind(address).await?;
    let script = Script::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptors left: callers will close some.
            sleep(PACE).await;
            continue;
        };
        stream.set_nodelay(true)?;
        let script = script.clone();
        let service = service_fn(move |request| answer(request, script.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>, script: Script) -> hyper::Result<Response<Body>> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    if path.ends_with("/models") {
        return Ok(json(StatusCode::OK, models()));
    }
    let Ok(asked) = serde_json::from_slice::<Asked<'_>>(&body) else {
        return Ok(refused("the body is not a chat completion request"));
    };
    let mode = asked.model.rsplit('/').next().unwrap_or_default();
    let tokens = if mode == "many" || mode == "paced" { TOKENS } else { 1 };
    if !MODELS.contains(&mode) || !path.ends_with("/chat/completions") {
        return Ok(refused("this vendor has only the models one, many, paced and hang"));
    }
    if !asked.stream {
        return Ok(json(StatusCode::OK, whole(tokens)));
    }
    let end = stream::iter([script.finish, usage(tokens), script.done]);
    let start = stream::iter(std::iter::repeat_n(script.token, tokens));
    Ok(match mode {
        "paced" => events(paced(start.chain(end))),
        "hang" => events(start.chain(stream::pending())),
        _ => events(start.chain(end)),
    })
}

/// The first at once, then one each [`PACE`]; what follows the last token comes with it.
fn paced(all: impl Stream<Item = Bytes> + Send + 'static) -> impl Stream<Item = Bytes> + Send {
    let start = Instant::now();
    all.zip(stream::iter(0..)).then(move |(event, at): (Bytes, u32)| async move {
        sleep_until(start + PACE * at.min(TOKENS as u32 - 1)).await;
        event
    })
}

fn events(all: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames = all.map(|event| Ok(Frame::data(event)));
    response(StatusCode::OK, "text/event-stream", StreamBody::new(frames).boxed_unsync())
}

fn json(status: StatusCode, body: String) -> Response<Body> {
    response(status, "application/json", Full::from(body).boxed_unsync())
}

fn refused(why: &str) -> Response<Body> {
    json(StatusCode::BAD_REQUEST, format!(r#"{{"error":{{"message":"{why}","type":"invalid"}}}}"#))
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

// --- wire ---

impl Script {
    fn new() -> Self {
        Self {
            token: event(
                r#""choices":[{"index":0,"delta":{"role":"assistant","content":" token"},"logprobs":null,"finish_reason":null}],"usage":null"#,
            ),
            finish: event(
                r#""choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null"#,
            ),
            done: Bytes::from_static(b"data: [DONE]\n\n"),
        }
    }
}

fn event(rest: &str) -> Bytes {
    format!("data: {{{},{rest}}}\n\n", head("chat.completion.chunk")).into()
}

fn head(object: &str) -> String {
    format!(
        r#""id":"chatcmpl-D5f0bK2mNq8sTuVwXyZ01234","object":"{object}","created":1790000000,"model":"bench-2026-01-01","system_fingerprint":"fp_0123456789""#
    )
}

fn usage(tokens: usize) -> Bytes {
    event(&format!(r#""choices":[],"usage":{}"#, numbers(tokens)))
}

fn numbers(tokens: usize) -> String {
    let total = 20 + tokens;
    format!(
        r#"{{"prompt_tokens":20,"completion_tokens":{tokens},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}}"#
    )
}

fn whole(tokens: usize) -> String {
    let (head, text, usage) = (head("chat.completion"), " token".repeat(tokens), numbers(tokens));
    format!(
        r#"{{{head},"choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{usage}}}"#
    )
}

fn models() -> String {
    let rows = MODELS.iter().map(|id| format!(r#"{{"id":"{id}","object":"model","created":0}}"#));
    format!(r#"{{"object":"list","data":[{}]}}"#, rows.collect::<Vec<_>>().join(","))
}
