//! Readers that stop reading: little is held for them, their calls to the provider end, and their
//! connections with them; everybody else goes on.

mod support;

use std::time::{Duration, Instant};

use mediary_client::v1::StreamTextRequest;
use prost::Message as _;
use support::{
    House, Reply, Vendor,
    ask::{listen, question},
    house::many_files,
    peer::{Peer, SETTINGS, WINDOW_UPDATE, call, frame, message},
    vendors::QUICK,
};
use tokio::{io::AsyncReadExt as _, time::timeout};

const STALL: Duration = Duration::from_secs(2);
const CONFIG: &str = "stream.stall_timeout = \"2s\"";
const STALLED: usize = 500;

/// A vendor that has more to say than all buffers on the way hold: `size` bytes in pieces of `piece`.
async fn talkative(size: usize, piece: usize) -> (House, Vendor) {
    let vendor = Vendor::start().await;
    let choice = format!(r#"{{"index":0,"delta":{{"content":"{}"}}}}"#, "word ".repeat(piece / 5));
    let delta = format!("data: {{\"model\":\"m\",\"choices\":[{choice}]}}\n\n");
    vendor.always(Reply::sse(delta.repeat(size / delta.len())).in_pieces_of(delta.len()));
    let house = support::vendors::rows(House::plan())
        .config(CONFIG)
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    (house, vendor)
}

/// The bytes of a request for all that it says.
fn everything() -> Vec<u8> {
    StreamTextRequest::from(question(QUICK, "say hello")).encode_to_vec()
}

/// A peer with room for everything, in both windows, that asks and reads nothing more.
async fn stalled(house: &House, request: &[u8]) -> Peer {
    let mut peer = Peer::connect(house).await;
    let window = (1_u32 << 31) - 1;
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    let ask = [
        frame(SETTINGS, 0, 0, &settings),
        frame(WINDOW_UPDATE, 0, 0, &(window - 65_535).to_be_bytes()),
        call(1, 0),
        message(1, request),
    ];
    assert!(peer.send(&ask.concat()).await);
    peer
}

/// Waits until it has not grown for a while.
async fn settled_rss(house: &House) -> u64 {
    let mut last = house.rss_kib();
    loop {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let now = house.rss_kib();
        if now <= last + 64 {
            return now;
        }
        last = now;
    }
}

#[tokio::test]
async fn five_hundred_stalled_readers_are_held_little_for_and_let_go_in_time() {
    many_files();
    let (house, vendor) = talkative(2 << 20, 4_000).await;
    for _ in 0..20 {
        listen(&house, question("sandbox-text", "say hello")).await;
    }
    let (files, before) = (house.open_files(), house.rss_kib());
    let request = everything();

    // Connected first, so that none is let go before all have stalled.
    let begin = Instant::now();
    let mut peers = Vec::new();
    for _ in 0..STALLED {
        peers.push(stalled(&house, &request).await);
    }
    vendor.wait_for_calls(STALLED).await;
    let held = settled_rss(&house).await;
    let measured = begin.elapsed();
    let each = held.saturating_sub(before) as f64 / STALLED as f64;

    // Somebody who reads is served beside them.
    let mut times = Vec::new();
    while begin.elapsed() < STALL {
        let ask = Instant::now();
        let heard = listen(&house, question("sandbox-text", "say hello")).await;
        assert!(heard.failure.is_none(), "{heard:?}");
        times.push(ask.elapsed());
    }
    times.sort_unstable();

    while house.open_files() > files + 10 {
        assert!(begin.elapsed() < measured + STALL + Duration::from_secs(5), "still held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "{STALLED} stalled readers: {each:.1} KiB each after {measured:?}, all let go after {:?}; \
         an answer beside them took {:?} (p99 {:?})",
        begin.elapsed(),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
    );
    assert!(each <= 64.0, "{each} KiB for each");
    for peer in &mut peers {
        let mut rest = Vec::new();
        let closed = timeout(Duration::from_secs(5), peer.stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "a stalled reader still holds its connection");
    }
}

#[tokio::test]
async fn the_call_to_the_vendor_ends_with_its_reader() {
    let (house, vendor) = talkative(24 << 20, 400).await;
    let request = everything();
    let peer = stalled(&house, &request).await;
    vendor.wait_for_calls(1).await;
    let asked = Instant::now();
    let left = vendor.wait_for_leavers(1).await - asked;
    println!("the vendor's socket was closed {left:?} after the question");
    assert!(left >= STALL && left < STALL + Duration::from_secs(3), "{left:?}");
    drop(peer);
}

#[tokio::test]
async fn a_reader_that_opens_no_window_loses_its_stream_and_keeps_its_connection() {
    let (house, vendor) = talkative(24 << 20, 400).await;
    let request = everything();
    // Reads whatever comes, and never says that there is room for more.
    let mut peer = Peer::connect(&house).await;
    assert!(peer.send(&[call(1, 0), message(1, &request)].concat()).await);
    let reading = async { while peer.read().await.is_some() {} };
    tokio::select! {
        () = reading => panic!("the connection was closed"),
        _ = vendor.wait_for_leavers(1) => {}
    }
    house.wait_for_log("ended 1 streams whose readers stopped reading");
}
