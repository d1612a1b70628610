//! Peers that mean harm, as raw HTTP/2 frames: each is let go of, and everybody else is served.

mod support;

use std::time::{Duration, Instant};

use support::{
    House,
    ask::{listen, question},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One connection that writes what it likes.
struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Peer {
    async fn connect(house: &House) -> Self {
        let stream = TcpStream::connect(&house.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut peer = Self { stream, buffer: Vec::new() };
        peer.stream.write_all(PREFACE).await.unwrap();
        peer.stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        peer
    }

    /// False once the server has closed.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` once the server has closed.
    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some((head, rest)) = self.buffer.split_first_chunk::<9>() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                if rest.len() >= length {
                    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    let frame = Frame { kind: head[3], stream, payload: rest[..length].to_vec() };
                    self.buffer.drain(..9 + length);
                    return Some(frame);
                }
            }
            match timeout(Duration::from_secs(10), self.stream.read_buf(&mut self.buffer)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return None,
                Err(_) => panic!("the server neither answered nor closed"),
            }
        }
    }

    /// Reads until the server says goodbye or closes.
    async fn is_sent_away(&mut self) -> bool {
        while let Some(frame) = self.read().await {
            if frame.kind == GOAWAY {
                return true;
            }
        }
        true
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A call of StreamText that never sends its message. HPACK: static names, literal values.
fn call(stream: u32, flags: u8) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [(4_u8, "/mediary.v1.TextService/StreamText"), (1, "localhost")] {
        block.push(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value.as_bytes());
    }
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    frame(HEADERS, flags | END_HEADERS, stream, &block)
}

/// Sends `attack(stream)` for many streams until the server has had enough; how many it took.
async fn streams_until_closed(house: &House, attack: impl Fn(u32) -> Vec<u8>) -> u32 {
    let mut peer = Peer::connect(house).await;
    let mut sent = 0;
    while sent < 20_000 {
        sent += 1;
        let id = sent * 2 - 1;
        if !peer.send(&attack(id)).await {
            break;
        }
        // The goodbye is looked for now and then; a peer that reads nothing is cut off as well.
        if sent % 50 == 0 {
            tokio::task::yield_now().await;
            let mut seen = [0; 65_536];
            if let Ok(0) = peer.stream.try_read(&mut seen) {
                break;
            }
        }
    }
    sent
}

async fn still_serves(house: &House) {
    let begin = Instant::now();
    let heard = listen(house, question("sandbox-text", "say hello")).await;
    assert!(heard.text().contains("Hello"), "{heard:?}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_nobody_elses() {
    let house = House::new();
    let sent = streams_until_closed(&house, |id| {
        [call(id, 0), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat()
    })
    .await;
    println!("rapid reset: closed after {sent} streams");
    assert!(sent < 20_000, "20,000 streams were accepted");
    still_serves(&house).await;
}

#[tokio::test]
async fn a_server_that_is_made_to_reset_ends_the_connection_by_either_trigger() {
    let house = House::new();
    // Illegal on a stream: an increment of nothing, and a stream that depends on itself.
    let by_window = |id: u32| [call(id, 0), frame(WINDOW_UPDATE, 0, id, &[0; 4])].concat();
    let by_priority = |id: u32| {
        let itself = [id.to_be_bytes().as_slice(), &[1]].concat();
        [call(id, 0), frame(PRIORITY, 0, id, &itself)].concat()
    };
    let window = streams_until_closed(&house, by_window).await;
    let priority = streams_until_closed(&house, by_priority).await;
    println!("made to reset: closed after {window} (window) and {priority} (priority) streams");
    assert!(window < 20_000 && priority < 20_000, "{window} {priority}");
    still_serves(&house).await;
}

#[tokio::test]
async fn the_number_of_open_streams_is_told_and_kept() {
    let house = House::plan().config("listen.max_streams_per_connection = 7").start();
    let mut peer = Peer::connect(&house).await;
    let settings = loop {
        let frame = peer.read().await.expect("settings");
        if frame.kind == SETTINGS && !frame.payload.is_empty() {
            break frame;
        }
    };
    let told = settings.payload.chunks(6).find(|one| one[..2] == [0, 3]);
    assert_eq!(told.map(|one| u32::from_be_bytes([one[2], one[3], one[4], one[5]])), Some(7));

    for id in 0..8 {
        assert!(peer.send(&call(id * 2 + 1, 0)).await);
    }
    let refused = loop {
        let frame = peer.read().await.expect("a refusal");
        if frame.kind == RST_STREAM {
            break frame;
        }
    };
    // REFUSED_STREAM.
    assert_eq!((refused.stream, refused.payload), (15, vec![0, 0, 0, 7]));
}

#[tokio::test]
async fn headers_without_end_or_measure_end_the_connection() {
    let house = House::new();
    let mut endless = Peer::connect(&house).await;
    let mut open = call(1, 0);
    open[4] = 0;
    assert!(endless.send(&open).await);
    for _ in 0..10_000 {
        if !endless.send(&frame(CONTINUATION, 0, 1, &[0; 512])).await {
            break;
        }
    }
    assert!(endless.is_sent_away().await);

    // More than 16 KiB of headers, properly framed.
    let mut large = Peer::connect(&house).await;
    let mut block = call(1, 0)[9..].to_vec();
    for n in 0..200_u8 {
        block.extend_from_slice(&[0, 5, b'x', b'-', b'a' + n % 26, b'a' + n / 26, b'z', 127, 73]);
        block.extend_from_slice(&[b'v'; 200]);
    }
    let (first, rest) = block.split_at(16_000);
    large.send(&frame(HEADERS, END_STREAM, 1, first)).await;
    for (n, piece) in rest.chunks(16_000).enumerate() {
        let is_last = (n + 1) * 16_000 >= rest.len();
        large.send(&frame(CONTINUATION, if is_last { END_HEADERS } else { 0 }, 1, piece)).await;
    }
    let answer = loop {
        match large.read().await {
            None => break None,
            Some(frame) if matches!(frame.kind, GOAWAY | RST_STREAM | HEADERS) => {
                break Some(frame);
            }
            Some(_) => {}
        }
    };
    println!("headers of 41 KiB: {:?}", answer.map(|frame| (frame.kind, frame.payload.len())));
    still_serves(&house).await;
}

#[tokio::test]
async fn a_flood_of_pings_ends_with_its_connection_and_costs_nobody_else() {
    let house = House::new();
    let mut peer = Peer::connect(&house).await;
    let pings = frame(PING, 0, 0, &[1; 8]).repeat(1_000);
    for _ in 0..100 {
        if !matches!(timeout(Duration::from_millis(200), peer.send(&pings)).await, Ok(true)) {
            break;
        }
    }
    still_serves(&house).await;
}

#[tokio::test]
async fn peers_that_say_nothing_or_half_a_word_are_let_go() {
    let house = House::plan().config("listen.handshake_timeout = \"300ms\"").start();
    for word in [&b""[..], &PREFACE[..10], b"POST / HT"] {
        let mut peer = TcpStream::connect(&house.address).await.unwrap();
        peer.write_all(word).await.unwrap();
        let begin = Instant::now();
        let mut rest = Vec::new();
        let closed = timeout(Duration::from_secs(5), peer.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{word:?} still holds its connection");
        assert!(begin.elapsed() >= Duration::from_millis(250), "{word:?}: {:?}", begin.elapsed());
    }
    still_serves(&house).await;
}

#[tokio::test]
async fn five_hundred_silent_peers_keep_nobody_out() {
    let house = House::plan()
        .config("listen.handshake_timeout = \"500ms\"\nlisten.max_connections = 100")
        .start();
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(TcpStream::connect(&house.address).await.unwrap());
    }
    let heard =
        timeout(Duration::from_secs(10), listen(&house, question("sandbox-text", "say hello")));
    assert!(heard.await.expect("served in time").text().contains("Hello"));
    drop(silent);
}
