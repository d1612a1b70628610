//! A cable that breaks again and again: each connection carries some bytes of the server's, then
//! it is reset.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

pub struct Saw {
    pub url: String,
    cuts: Arc<AtomicUsize>,
}

impl Saw {
    /// In front of `server`; connection `n` carries `teeth[n % teeth.len()]` bytes.
    pub async fn before(server: &str, teeth: Vec<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (server, cuts) = (server.to_owned(), Arc::new(AtomicUsize::new(0)));
        let counted = cuts.clone();
        tokio::spawn(async move {
            for most in teeth.iter().cycle() {
                let Ok((client, _)) = listener.accept().await else { return };
                let Ok(server) = TcpStream::connect(&server).await else { return };
                tokio::spawn(carry(client, server, *most, counted.clone()));
            }
        });
        Self { url, cuts }
    }

    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Acquire)
    }
}

async fn carry(client: TcpStream, server: TcpStream, most: usize, cuts: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async { drop(tokio::io::copy(&mut from_client, &mut to_server).await) };
    let down = async {
        let mut left = most;
        let mut buffer = vec![0; 4_096];
        while left > 0 {
            let room = left.min(buffer.len());
            let Ok(read @ 1..) = from_server.read(&mut buffer[..room]).await else { return false };
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return false;
            }
            left -= read;
        }
        true
    };
    let is_cut = tokio::select! {
        is_cut = down => is_cut,
        () = up => false,
    };
    if is_cut {
        cuts.fetch_add(1, Ordering::AcqRel);
        if let Ok(client) = from_client.reunite(to_client) {
            let _ = client.set_zero_linger();
        }
    }
}
