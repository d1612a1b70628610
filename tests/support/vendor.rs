//! A vendor's HTTP endpoint: answers with given bytes, cut into given pieces, and tells what it
//! was asked and when its peer went away.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::sleep,
};

/// One answer of the vendor.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Bytes of one HTTP chunk; 0 = all in one.
    pub piece: usize,
    /// Waits before each chunk.
    pub pace: Duration,
    /// Waits before the status line.
    pub delay: Duration,
    /// The connection closes after this many bytes of the body, without its end.
    pub cut_after: Option<usize>,
    /// Nothing more is sent after this many bytes of the body; the connection stays open.
    pub hang_after: Option<usize>,
    /// The length that is promised, whatever is sent; `None` = the body comes in chunks.
    pub length: Option<usize>,
    /// No answer at all: the connection closes once the request is read.
    pub close_at_once: bool,
}

/// What the vendor was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

#[derive(Clone)]
pub struct Vendor {
    pub address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    replies: Mutex<VecDeque<Reply>>,
    always: Mutex<Option<Reply>>,
    asked: Mutex<Vec<Asked>>,
    left: Mutex<Vec<Instant>>,
    changed: Notify,
}

impl State {
    fn peer_left(&self) {
        self.left.lock().unwrap().push(Instant::now());
        self.changed.notify_waiters();
    }
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: Bytes::from(body.into()),
            piece: 0,
            pace: Duration::ZERO,
            delay: Duration::ZERO,
            cut_after: None,
            hang_after: None,
            length: None,
            close_at_once: false,
        }
    }

    pub fn sse(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, "text/event-stream", body)
    }

    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "application/json", body)
    }

    pub fn in_pieces_of(mut self, piece: usize) -> Self {
        self.piece = piece;
        self
    }

    pub fn paced(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    pub fn hang_after(mut self, bytes: usize) -> Self {
        self.hang_after = Some(bytes);
        self
    }

    pub fn with_length(mut self, bytes: usize) -> Self {
        self.length = Some(bytes);
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Vendor {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let vendor = Self { address, state: state.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let _ = serve(stream, state).await;
                });
            }
        });
        vendor
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers of the next calls, one after the other.
    pub fn replies(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.replies.lock().unwrap().extend(replies);
    }

    /// The answer once the others are used up.
    pub fn always(&self, reply: Reply) {
        *self.state.always.lock().unwrap() = Some(reply);
    }

    /// Everything it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    pub fn last_asked(&self) -> Asked {
        self.asked().pop().expect("the vendor was asked")
    }

    /// Waits until it was asked `count` times.
    pub async fn wait_for_calls(&self, count: usize) {
        self.wait(|| self.state.asked.lock().unwrap().len() >= count).await;
    }

    /// Waits until `count` peers have closed their connection before the answer was over, and
    /// tells when the last of them did.
    pub async fn wait_for_leavers(&self, count: usize) -> Instant {
        self.wait(|| self.state.left.lock().unwrap().len() >= count).await;
        self.state.left.lock().unwrap()[count - 1]
    }

    async fn wait(&self, is_so: impl Fn() -> bool) {
        let waiting = async {
            loop {
                let changed = self.state.changed.notified();
                if is_so() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it happens in time");
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(asked) = read_request(&mut stream, &mut buffer).await? {
        state.asked.lock().unwrap().push(asked);
        state.changed.notify_waiters();
        let next = state.replies.lock().unwrap().pop_front();
        let reply = next.or_else(|| state.always.lock().unwrap().clone());
        let reply = reply.unwrap_or_else(|| Reply::json(404, r#"{"error":"no reply is set"}"#));
        match answer(&mut stream, reply, &state).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(_) => {
                state.peer_left();
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whether the connection may serve another call.
async fn answer(stream: &mut TcpStream, reply: Reply, state: &State) -> std::io::Result<bool> {
    if reply.close_at_once {
        return Ok(false);
    }
    if !reply.delay.is_zero() && !stays(stream, reply.delay, state).await {
        return Ok(false);
    }
    let framing = match reply.length {
        Some(length) => format!("content-length: {length}"),
        None => "transfer-encoding: chunked".to_owned(),
    };
    let mut head = format!("HTTP/1.1 {} X\r\n{framing}\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    if reply.length.is_some() {
        stream.write_all(&reply.body).await?;
        return Ok(false);
    }
    let end = [reply.cut_after, reply.hang_after].into_iter().flatten().min();
    let body = &reply.body[..end.unwrap_or(reply.body.len()).min(reply.body.len())];
    let piece = if reply.piece == 0 { body.len().max(1) } else { reply.piece };
    // Many small chunks in one write: the reader sees every chunk apart all the same.
    let mut pending = Vec::new();
    for chunk in body.chunks(piece) {
        if !reply.pace.is_zero() && !stays(stream, reply.pace, state).await {
            return Ok(false);
        }
        pending.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        pending.extend_from_slice(chunk);
        pending.extend_from_slice(b"\r\n");
        if !reply.pace.is_zero() || pending.len() > 8_192 {
            stream.write_all(&pending).await?;
            pending.clear();
        }
    }
    stream.write_all(&pending).await?;
    if reply.hang_after.is_some() {
        stays(stream, Duration::from_secs(600), state).await;
        return Ok(false);
    }
    if reply.cut_after.is_some() {
        return Ok(false);
    }
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(true)
}

/// Waits; false if the peer went away meanwhile.
async fn stays(stream: &mut TcpStream, wait: Duration, state: &State) -> bool {
    tokio::select! {
        () = sleep(wait) => true,
        _ = stream.read_u8() => {
            state.peer_left();
            false
        }
    }
}

async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<Asked>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        if let Ok(httparse::Status::Complete(start)) = request.parse(buffer) {
            let headers: Vec<(String, String)> = request
                .headers
                .iter()
                .map(|one| (one.name.to_owned(), String::from_utf8_lossy(one.value).into_owned()))
                .collect();
            let length = headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.parse().unwrap());
            if buffer.len() >= start + length {
                let asked = Asked {
                    method: request.method.unwrap().to_owned(),
                    path: request.path.unwrap().to_owned(),
                    headers,
                    body: buffer[start..start + length].to_vec(),
                };
                buffer.drain(..start + length);
                return Ok(Some(asked));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
