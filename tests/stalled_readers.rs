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

const STALL: Duration = Duration::from_secs(4);
const CONFIG: &str = "stream.stall_timeout = \"4s\"";
const STALLED: usize = 500;

fn delta(bytes: usize) -> String {
    let choice = format!(r#"{{"index":0,"delta":{{"content":"{}"}}}}"#, "word ".repeat(bytes / 5));
    format!("data: {{\"model\":\"m\",\"choices\":[{choice}]}}\n\n")
}

/// A vendor that has more to say than all buffers on the way hold: `size` bytes in pieces of `piece`.
async fn talkative(size: usize, piece: usize, pace: Duration) -> (House, Vendor) {
    let vendor = Vendor::start().await;
    let delta = delta(piece);
    let all = Reply::sse(delta.repeat(size / delta.len())).in_pieces_of(delta.len());
    vendor.always(all.paced(pace));
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

/// A peer that asks, reads nothing more, and has little room for what is sent to it.
async fn stalled(house: &House, request: &[u8]) -> Peer {
    let peer = asking(house, request).await;
    socket2::SockRef::from(&peer.stream).set_recv_buffer_size(4_096).unwrap();
    peer
}

/// A peer with room for everything, in both windows.
async fn asking(house: &House, request: &[u8]) -> Peer {
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
    let (mut last, mut calm) = (house.rss_kib(), 0);
    while calm < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = house.rss_kib();
        calm = if now <= last + 64 { calm + 1 } else { 0 };
        last = now;
    }
    last
}

/// Connects all readers, and tells what each of them costs once nothing grows any more.
async fn all_stalled(house: &House, count: usize, request: &[u8]) -> (Vec<Peer>, f64) {
    let before = house.rss_kib();
    let mut peers = Vec::new();
    for _ in 0..count {
        peers.push(stalled(house, request).await);
    }
    let held = settled_rss(house).await;
    (peers, held.saturating_sub(before) as f64 / count as f64)
}

#[tokio::test]
async fn five_hundred_stalled_readers_are_let_go_in_time_and_nobody_waits_for_them() {
    many_files();
    let (house, vendor) = talkative(4 << 20, 6_000, Duration::from_millis(50)).await;
    listen(&house, question("sandbox-text", "say hello")).await;
    let files = house.open_files();
    let (peers, each) = all_stalled(&house, STALLED, &everything()).await;
    vendor.wait_for_calls(STALLED).await;
    let begin = Instant::now();

    // Somebody who reads is served beside them.
    let mut times = Vec::new();
    for _ in 0..50 {
        let ask = Instant::now();
        let heard = listen(&house, question("sandbox-text", "say hello")).await;
        assert!(heard.failure.is_none(), "{heard:?}");
        times.push(ask.elapsed());
    }
    times.sort_unstable();

    while house.open_files() > files + 10 {
        assert!(begin.elapsed() < STALL + Duration::from_secs(5), "still held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "{STALLED} stalled readers: {each:.1} KiB each with their calls to the vendor, all let go \
         {:?} later; an answer beside them took {:?} (p99 {:?})",
        begin.elapsed(),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
    );
    drop(peers);
}

/// What a stall adds to what the same stream costs while its reader waits for the vendor.
#[tokio::test]
async fn little_is_held_for_a_reader_that_stalls() {
    const READERS: usize = 150;
    const PIECE: usize = 1_000;
    let (read, vendor) = talkative(4 << 20, PIECE, Duration::ZERO).await;
    let one = delta(PIECE);
    vendor.always(Reply::sse(one.repeat(2)).in_pieces_of(one.len()).hang_after(one.len()));
    listen(&read, question("sandbox-text", "say hello")).await;
    let before = read.rss_kib();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(asking(&read, &everything()).await);
    }
    for reader in &mut readers {
        let mut bytes = 0;
        while bytes < PIECE {
            let frame = reader.read().await.expect("the stream is open");
            bytes += frame.payload.len();
        }
    }
    let reading = settled_rss(&read).await.saturating_sub(before) as f64 / READERS as f64;

    let (full, _vendor) = talkative(4 << 20, PIECE, Duration::ZERO).await;
    listen(&full, question("sandbox-text", "say hello")).await;
    let (_peers, stalled) = all_stalled(&full, READERS, &everything()).await;
    println!("a stream that is read: {reading:.1} KiB, one that is not: {stalled:.1} KiB");
    assert!(stalled - reading <= 64.0, "{reading} KiB, {stalled} KiB");
}

#[tokio::test]
async fn the_call_to_the_vendor_ends_with_its_reader() {
    let (house, vendor) = talkative(24 << 20, 400, Duration::ZERO).await;
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
    let (house, vendor) = talkative(24 << 20, 400, Duration::ZERO).await;
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
