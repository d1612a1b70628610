//! A peer that writes HTTP/2 frames as it likes (RFC 9113), over one connection.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::House;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One connection that writes what it likes.
pub struct Peer {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Peer {
    pub async fn connect(house: &House) -> Self {
        let stream = TcpStream::connect(&house.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut peer = Self { stream, buffer: Vec::new() };
        peer.stream.write_all(PREFACE).await.unwrap();
        peer.stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        peer
    }

    /// False once the server has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` once the server has closed.
    pub async fn read(&mut self) -> Option<Frame> {
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
    pub async fn is_sent_away(&mut self) -> bool {
        while let Some(frame) = self.read().await {
            if frame.kind == GOAWAY {
                return true;
            }
        }
        true
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A call of StreamText that never sends its message. HPACK: static names, literal values.
pub fn call(stream: u32, flags: u8) -> Vec<u8> {
    call_of("/mediary.v1.TextService/StreamText", stream, flags)
}

/// The same of any method.
pub fn call_of(path: &str, stream: u32, flags: u8) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [(4_u8, path), (1, "localhost")] {
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

/// A message of gRPC in a frame of data; nothing follows it.
pub fn message(stream: u32, message: &[u8]) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, &super::wire::frame(message))
}
