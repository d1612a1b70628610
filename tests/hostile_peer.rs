//! Peers that mean harm, as raw HTTP/2 frames: each is let go of, and everybody else is served.

mod support;

use std::time::{Duration, Instant};

use support::{
    House,
    ask::{listen, question},
    house::many_files,
    peer::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE,
        PRIORITY, Peer, RST_STREAM, SETTINGS, WINDOW_UPDATE, call, frame,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Sends `attack(stream)` for many streams, a hundred at a time, until the server has had enough;
/// how many it took.
async fn streams_until_closed(house: &House, attack: impl Fn(u32) -> Vec<u8>) -> u32 {
    let mut peer = Peer::connect(house).await;
    let mut sent = 0;
    while sent < 20_000 {
        let streams = (sent..sent + 100).flat_map(|n| attack(n * 2 + 1));
        let streams: Vec<u8> = streams.chain(frame(PING, 0, 0, &[7; 8])).collect();
        sent += 100;
        if !peer.send(&streams).await {
            return sent;
        }
        // Answered once it has dealt with them all.
        loop {
            match peer.read().await {
                None => return sent,
                Some(frame) if frame.kind == GOAWAY => return sent,
                Some(frame) if frame.kind == PING => break,
                Some(_) => {}
            }
        }
    }
    sent
}

/// How long each of `count` small calls takes, sorted.
async fn times_of_others(house: &House, count: usize) -> Vec<Duration> {
    let client = house.client();
    let mut times = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        client.server_info().await.unwrap();
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    times
}

/// Writes `frames` as fast as they are taken for `length`, and reads whatever comes; the share of a
/// core that it costs the server, and how much of one is still used a second later.
async fn cost_of_flood(house: &House, peer: Peer, frames: &[u8], length: Duration) -> (f64, f64) {
    let (mut reads, mut writes) = peer.stream.into_split();
    let share = |from: Duration, length: Duration| {
        house.cpu().saturating_sub(from).as_secs_f64() / length.as_secs_f64()
    };
    let (begin, from) = (Instant::now(), house.cpu());
    let flood =
        async { while begin.elapsed() < length && writes.write_all(frames).await.is_ok() {} };
    let swallow = async {
        let mut bytes = vec![0; 65_536];
        while matches!(reads.read(&mut bytes).await, Ok(1..)) {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = timeout(length, flood) => {}
        () = swallow => {}
    }
    let during = share(from, begin.elapsed());
    drop((reads, writes));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (begin, from) = (Instant::now(), house.cpu());
    tokio::time::sleep(Duration::from_millis(500)).await;
    (during, share(from, begin.elapsed()))
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
    assert!(sent <= 1_300, "{sent} streams were accepted");
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
    assert!(window <= 1_300 && priority <= 1_300, "{window} {priority}");
    still_serves(&house).await;
}

#[tokio::test]
async fn others_do_not_notice_resets_beside_them() {
    let house = House::new();
    let quiet = times_of_others(&house, 100).await;
    let attack = async {
        loop {
            streams_until_closed(&house, |id| {
                [call(id, 0), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat()
            })
            .await;
        }
    };
    let beside = tokio::select! {
        times = times_of_others(&house, 100) => times,
        () = attack => unreachable!("it never ends"),
    };
    let of = |times: &[Duration], percent: usize| times[times.len() * percent / 100];
    println!(
        "beside resets: p50 {:?} -> {:?}, p99 {:?} -> {:?}",
        of(&quiet, 50),
        of(&beside, 50),
        of(&quiet, 99),
        of(&beside, 99)
    );
    assert!(of(&beside, 50) <= of(&quiet, 50) + Duration::from_millis(20));
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

/// What it costs is counted for a debug build, which needs several times as much as a release.
const MOST_OF_A_CORE: f64 = 0.15;

#[tokio::test]
async fn floods_of_pings_and_settings_cost_little_and_nothing_afterwards() {
    let house = House::new();
    let pings = frame(PING, 0, 0, &[1; 8]).repeat(1_000);
    let settings = frame(SETTINGS, 0, 0, &[]).repeat(1_000);
    let updates = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(1_000);
    let length = Duration::from_secs(2);
    for (name, frames) in [("PING", &pings), ("SETTINGS", &settings)] {
        let peer = Peer::connect(&house).await;
        let (during, after) = cost_of_flood(&house, peer, frames, length).await;
        println!("{name} flood: {:.1} % of a core, {:.1} % after", during * 100.0, after * 100.0);
        assert!(during <= MOST_OF_A_CORE, "{name}: {during}");
        assert!(after <= 0.05, "{name}: {after}");
    }
    // Cheaper for the peer, because a caller that reads a lot sends many: it is slowed down later.
    let peer = Peer::connect(&house).await;
    let (during, _) = cost_of_flood(&house, peer, &updates, length).await;
    println!("WINDOW_UPDATE flood: {:.1} % of a core", during * 100.0);
    assert!(during <= 2.0 * MOST_OF_A_CORE, "{during}");
    still_serves(&house).await;
    // An open call is no licence. Another house: this one still reads what was sent to it.
    let house = House::new();
    let mut peer = Peer::connect(&house).await;
    assert!(peer.send(&call(1, 0)).await);
    let (during, after) = cost_of_flood(&house, peer, &pings, length).await;
    println!("PING flood beside a call: {:.1} % of a core", during * 100.0);
    assert!(during <= MOST_OF_A_CORE && after <= 0.05, "{during} {after}");
    still_serves(&house).await;
}

#[tokio::test]
async fn a_flood_of_empty_data_ends_with_its_connection() {
    let house = House::new();
    let before = house.rss_kib();
    let mut peer = Peer::connect(&house).await;
    assert!(peer.send(&call(1, 0)).await);
    let empty = frame(DATA, 0, 1, &[]).repeat(1_000);
    let mut sent = 0;
    while sent < 1_000 && peer.send(&empty).await {
        sent += 1;
    }
    assert!(sent < 1_000, "a million frames of nothing were taken");
    let grown = house.rss_kib().saturating_sub(before);
    println!("empty DATA: closed after fewer than {} frames, {grown} KiB", (sent + 1) * 1_000);
    assert!(grown <= 2_048, "{grown} KiB");
    still_serves(&house).await;
}

/// Sends a header block in frames of 16,000 bytes; how the server takes it.
async fn answer_to_headers(house: &House, block: &[u8]) -> Option<Frame> {
    let mut peer = Peer::connect(house).await;
    let mut pieces = block.chunks(16_000).peekable();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let flags = if kind == HEADERS { end | END_STREAM } else { end };
        if !peer.send(&frame(kind, flags, 1, piece)).await {
            break;
        }
        kind = CONTINUATION;
    }
    while let Some(frame) = peer.read().await {
        if matches!(frame.kind, GOAWAY | RST_STREAM | HEADERS) {
            return Some(frame);
        }
    }
    None
}

#[tokio::test]
async fn headers_of_a_megabyte_and_a_bomb_of_references_are_refused_and_not_kept() {
    let house = House::new();
    still_serves(&house).await;
    let before = house.rss_kib();
    let start = call(1, 0)[9..].to_vec();

    // A megabyte of its own.
    let mut large = start.clone();
    for _ in 0..1_000 {
        // Not to be indexed; a name of three letters; 1,000 = 127 + 873 bytes.
        large.extend_from_slice(&[0, 3, b'x', b'-', b'y', 127, 0xe9, 0x06]);
        large.extend_from_slice(&[b'v'; 1_000]);
    }
    // A value of 3,900 bytes, indexed once and referred to a hundred thousand times.
    let mut bomb = start;
    bomb.extend_from_slice(&[0x40, 3, b'x', b'-', b'y', 127, 0xbd, 0x1d]);
    bomb.extend_from_slice(&[b'v'; 3_900]);
    bomb.extend_from_slice(&[0xbe; 100_000]);

    for (name, block) in [("a megabyte", large), ("100,000 references", bomb)] {
        let answer = answer_to_headers(&house, &block).await;
        let grown = house.rss_kib().saturating_sub(before);
        let told = answer.as_ref().map(|frame| (frame.kind, frame.payload.clone()));
        println!("{name} of headers: {told:?}, {grown} KiB");
        // 431, or the connection's or the stream's end: never a call.
        if let Some((HEADERS, payload)) = told {
            assert!(payload.windows(3).any(|part| part == b"431"), "{name}: {payload:?}");
        }
        assert!(grown <= 2_048, "{name}: {grown} KiB");
    }
    still_serves(&house).await;
}

#[tokio::test]
async fn a_header_that_comes_byte_by_byte_ends_in_time() {
    let house = House::plan().config("listen.handshake_timeout = \"400ms\"").start();
    let settings = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let open = {
        let mut open = call(1, 0);
        open[4] = 0; // no END_HEADERS: the rest is owed
        open
    };
    // What is said at once, and what then comes a byte at a time.
    for (name, at_once, drip) in [
        ("HTTP/2 without SETTINGS", PREFACE.to_vec(), vec![0; 3]),
        (
            "HTTP/2, its header",
            [&settings[..], &call(1, 0)[..9]].concat(),
            call(1, 0)[9..].to_vec(),
        ),
        ("HTTP/2, no end of it", [&settings[..], &open].concat(), Vec::new()),
        ("HTTP/1.1", b"POST / HTTP/1.1\r\n".to_vec(), b"x: y".repeat(100)),
    ] {
        let mut peer = TcpStream::connect(&house.address).await.unwrap();
        peer.write_all(&at_once).await.unwrap();
        let begin = Instant::now();
        let (mut reads, mut writes) = peer.split();
        let drip = async {
            for byte in drip {
                if writes.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut rest = Vec::new();
        tokio::select! {
            closed = timeout(Duration::from_secs(5), reads.read_to_end(&mut rest)) => {
                assert!(closed.is_ok(), "{name}: it still holds its connection");
            }
            () = drip => {}
        }
        let took = begin.elapsed();
        println!("{name}: let go after {took:?}");
        assert!(took >= Duration::from_millis(350) && took < Duration::from_secs(3), "{took:?}");
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
async fn five_thousand_silent_peers_keep_nobody_out() {
    many_files();
    let house = House::plan()
        .config("listen.handshake_timeout = \"2s\"\nlisten.max_connections = 1000")
        .start();
    let mut silent = Vec::new();
    for _ in 0..5_000 {
        silent.push(TcpStream::connect(&house.address).await.unwrap());
    }
    // At once: it has the place of a peer that says nothing.
    still_serves(&house).await;
    let begin = Instant::now();
    for peer in &mut silent {
        let closed = timeout(Duration::from_secs(10), peer.read(&mut [0; 1])).await;
        assert!(closed.is_ok(), "a silent peer still holds its connection");
    }
    println!("5,000 silent peers: the last was let go {:?} later", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_caller_keeps_its_place_and_newcomers_wait_for_none() {
    let house = House::plan().config("listen.max_connections = 3").start();
    let url = house.url();
    let client = || mediary_client::Client::builder().url(&url).build().unwrap();
    // Two thirds of three for one address.
    let (one, two, three) = (client(), client(), client());
    one.server_info().await.unwrap();
    two.server_info().await.unwrap();
    assert!(three.server_info().await.is_err(), "a third connection was let in");
    one.server_info().await.unwrap();
    drop(two);
    let begin = Instant::now();
    while three.server_info().await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(5), "the place was not freed");
    }
    assert!(house.log().contains("listen.max_connections_per_address"), "{}", house.log());
}

#[tokio::test]
async fn few_descriptors_lower_the_number_of_connections_and_spin_nothing() {
    let house = House::plan().open_files(64).start();
    assert!(house.log().contains("max_connections is lowered from 16384 to 32"), "{}", house.log());
    let mut silent = Vec::new();
    for _ in 0..120 {
        silent.push(TcpStream::connect(&house.address).await.unwrap());
    }
    still_serves(&house).await;
    let (begin, from) = (Instant::now(), house.cpu());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let share = (house.cpu() - from).as_secs_f64() / begin.elapsed().as_secs_f64();
    println!("120 connections with 64 files: {:.1} % of a core", share * 100.0);
    assert!(share <= 0.1, "{share}");
    drop(silent);
    still_serves(&house).await;
}

#[tokio::test]
async fn a_process_without_a_descriptor_left_waits_and_recovers() {
    let house = House::new();
    // Whatever it has open now is all it may have.
    let open = house.open_files();
    let limit = |most: usize| {
        let done = std::process::Command::new("prlimit")
            .args([format!("--pid={}", house.pid()), format!("--nofile={most}:")])
            .status();
        assert!(done.unwrap().success());
    };
    limit(open);
    let waiting = TcpStream::connect(&house.address).await.unwrap();
    house.wait_for_log("cannot accept a connection");
    let (begin, from) = (Instant::now(), house.cpu());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let share = (house.cpu() - from).as_secs_f64() / begin.elapsed().as_secs_f64();
    println!("no descriptor left: {:.1} % of a core", share * 100.0);
    assert!(share <= 0.1, "{share}");
    limit(open + 50);
    still_serves(&house).await;
    drop(waiting);
}
