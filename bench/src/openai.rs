//! Calls as a program calls an OpenAI-compatible server: hyper, one call at a time on a connection.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

use crate::{QUESTION, Result, SYSTEM};

/// A server, and how it wants to be called.
pub struct Peer {
    /// Host and port.
    pub address: String,
    /// What stands before `/chat/completions`.
    pub base_path: String,
    /// The model's name, `{}` for `one`, `many`, `paced` and `hang`.
    pub model: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A whole answer is asked for as a stream, as Mediary does, and read to its end.
    pub whole_streams: bool,
}

pub struct Connection {
    peer: Arc<Peer>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub async fn open(peer: Arc<Peer>) -> Result<Self> {
        let sender = Some(connect(&peer).await?);
        Ok(Self { peer, sender })
    }

    /// Tokens that the answer claims.
    pub async fn whole(&mut self, model: &str) -> Result<i64> {
        if self.peer.whole_streams {
            return self.stream(model, || ()).await;
        }
        let body = self.ask(model, false).await?.into_body().collect().await?.to_bytes();
        let answer: Chunk = serde_json::from_slice(&body)?;
        Ok(answer.usage.ok_or("an answer without usage")?.completion_tokens)
    }

    /// Tokens that came, each told to `seen`.
    pub async fn stream(&mut self, model: &str, mut seen: impl FnMut()) -> Result<i64> {
        let mut body = self.ask(model, true).await?.into_body();
        let mut lines = Lines::default();
        let (mut tokens, mut done) = (0, false);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            lines.feed(&data, |line| match line {
                Line::Token => {
                    tokens += 1;
                    seen();
                }
                Line::Done => done = true,
                Line::Other => {}
            });
        }
        if done { Ok(tokens) } else { Err("a stream without [DONE]".into()) }
    }

    /// Opens a stream and reads its first token; the rest is for the caller to leave.
    pub async fn hold(&mut self, model: &str) -> Result<Incoming> {
        let mut body = self.ask(model, true).await?.into_body();
        let (mut lines, mut came) = (Lines::default(), false);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            lines.feed(&data, |line| came |= matches!(line, Line::Token));
            if came {
                return Ok(body);
            }
        }
        Err("a stream without a token".into())
    }

    async fn ask(&mut self, model: &str, stream: bool) -> Result<Response<Incoming>> {
        let peer = self.peer.clone();
        let mut body = json!({
            "model": peer.model.replace("{}", model),
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": QUESTION},
            ],
            "stream": stream,
        });
        if stream {
            body["stream_options"] = json!({"include_usage": true});
        }
        let mut request = Request::post(format!("{}/chat/completions", peer.base_path))
            .header(HOST, peer.address.as_str())
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in &peer.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(body.to_string()))?;
        // A server may close after an answer: the next call opens a new connection.
        let kept = match self.sender.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = match kept {
            Some(sender) => sender,
            None => connect(&peer).await?,
        };
        let response = sender.send_request(request).await?;
        self.sender = Some(sender);
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let said = response.into_body().collect().await?.to_bytes();
        Err(format!("{status}: {}", String::from_utf8_lossy(&said)).into())
    }
}

async fn connect(peer: &Peer) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(&peer.address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

enum Line {
    Token,
    Done,
    Other,
}

/// Cuts a body into lines, wherever its frames end.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, data: &[u8], mut line: impl FnMut(Line)) {
        self.rest.extend_from_slice(data);
        let mut start = 0;
        while let Some(end) = memchr::memchr(b'\n', &self.rest[start..]) {
            line(read(&self.rest[start..start + end]));
            start += end + 1;
        }
        self.rest.drain(..start);
    }
}

fn read(line: &[u8]) -> Line {
    let Some(data) = line.strip_prefix(b"data:") else { return Line::Other };
    match data.trim_ascii() {
        b"[DONE]" => Line::Done,
        data => {
            let chunk = serde_json::from_slice::<Chunk>(data).unwrap_or_default();
            let choice = chunk.choices.into_iter().next().unwrap_or_default();
            let text = choice.delta.and_then(|delta| delta.content).unwrap_or_default();
            if text.is_empty() { Line::Other } else { Line::Token }
        }
    }
}

// --- wire ---

#[derive(Default, Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Default, Deserialize)]
struct Choice {
    delta: Option<Delta>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    completion_tokens: i64,
}
