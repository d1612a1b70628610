//! A cable between a client and a server that breaks after a given byte of the answer.

use std::{collections::HashMap, io};

use mediary_client::v1::{StreamTextResponse, TextEvent};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How the peer sees the connection end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// FIN: the peer sent all it had to say, as it seems.
    Fin,
    /// RST.
    Reset,
}

/// One connection's worth of cable.
pub struct Cable {
    pub url: String,
    passed: JoinHandle<io::Result<Vec<u8>>>,
}

impl Cable {
    /// Breaks after `after` bytes from the server; `None` = never.
    #[expect(clippy::disallowed_methods, reason = "ends with the connection, and is waited for")]
    pub async fn to(server: &str, after: Option<usize>, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = server.to_owned();
        let passed = tokio::spawn(async move {
            let (client, _) = listener.accept().await?;
            let server = TcpStream::connect(server).await?;
            carry(client, server, after.unwrap_or(usize::MAX), cut).await
        });
        Self { url, passed }
    }

    /// The bytes of the server that went through, once the client has hung up.
    pub async fn passed(self) -> Vec<u8> {
        self.passed.await.unwrap().unwrap()
    }
}

async fn carry(client: TcpStream, server: TcpStream, most: usize, cut: Cut) -> io::Result<Vec<u8>> {
    for end in [&client, &server] {
        end.set_nodelay(true)?;
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut passed = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    let down = async {
        while passed.len() < most {
            let room = buffer.len().min(most - passed.len());
            let read = from_server.read(&mut buffer[..room]).await.unwrap_or(0);
            if read == 0 || to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            passed.extend_from_slice(&buffer[..read]);
        }
    };
    let up = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    tokio::select! {
        () = down => {}
        () = up => return Ok(passed),
    }
    match cut {
        Cut::Reset => {
            let client = from_client.reunite(to_client).unwrap();
            client.set_zero_linger()?;
        }
        Cut::Fin => {
            to_client.shutdown().await?;
            // What is left unread when a socket closes makes a reset of it.
            let _ = tokio::io::copy(&mut from_client, &mut tokio::io::sink()).await;
        }
    }
    Ok(passed)
}

/// What a reader of HTTP/2 and gRPC could know from these bytes: every event that is complete in
/// them, whole frames or not.
pub fn events_in(bytes: &[u8]) -> Vec<TextEvent> {
    let mut data: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut rest = bytes;
    while let Some((head, body)) = rest.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let there = length.min(body.len());
        if head[3] == 0 {
            data.entry(stream).or_default().extend_from_slice(&body[..there]);
        }
        rest = &body[there..];
    }
    assert!(data.len() <= 1, "one call, one stream");
    let data = data.into_values().next().unwrap_or_default();
    let mut events = Vec::new();
    let mut rest = data.as_slice();
    while let Some((head, body)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some((message, next)) = body.split_at_checked(length) else { break };
        events.extend(StreamTextResponse::decode(message).expect("an event").event);
        rest = next;
    }
    events
}
