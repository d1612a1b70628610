//! The server's leave: every open call hears why it ends, nobody holds the process up, and its port
//! is free for a successor as soon as that is right.

mod support;

use std::time::{Duration, Instant};

use futures::{StreamExt as _, future::join_all};
use mediary_client::{
    TextRequest,
    v1::{self, text_event::Kind},
};
use prost::Message as _;
use support::{
    House,
    ask::{listen, question},
    peer::{PREFACE, Peer, SETTINGS, WINDOW_UPDATE, call, frame, message},
    wire,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tonic::{Code, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Room for what a loaded machine adds.
const SLACK: Duration = Duration::from_secs(3);

fn staged(options: &str) -> TextRequest {
    let mut request = question("sandbox-text", "say hello");
    request.parameters.provider_options_json =
        [("sandbox".to_owned(), options.to_owned())].into_iter().collect();
    request
}

fn hanging() -> v1::StreamTextRequest {
    staged(r#"{"hang_after": 2}"#).into()
}

/// `count` streams over several connections, each of which has said something.
async fn open_streams(house: &House, count: usize) -> Vec<Streaming<v1::StreamTextResponse>> {
    let clients: Vec<_> = (0..count.div_ceil(200)).map(|_| house.client()).collect();
    let open = (0..count).map(|n| {
        let mut text = clients[n % clients.len()].raw().text();
        async move {
            let mut stream = text.stream_text(hanging()).await.unwrap().into_inner();
            while !matches!(kind(&mut stream).await, Kind::TextDelta(_)) {}
            stream
        }
    });
    join_all(open).await
}

async fn kind(stream: &mut Streaming<v1::StreamTextResponse>) -> Kind {
    stream.message().await.unwrap().unwrap().event.unwrap().kind.unwrap()
}

/// The last words of a stream; counted: did it hear why?
async fn hears_why(mut stream: Streaming<v1::StreamTextResponse>) -> bool {
    let mut told = false;
    loop {
        match stream.message().await {
            Ok(Some(response)) => {
                let kind = response.event.unwrap().kind.unwrap();
                told |= matches!(kind, Kind::Failed(failed)
                    if failed.status.as_ref().is_some_and(|one| one.code == Code::Unavailable as i32));
            }
            Ok(None) => return false,
            Err(status) => {
                return told
                    && status.code() == Code::Unavailable
                    && wire::info(&status).reason == "SHUTTING_DOWN";
            }
        }
    }
}

#[tokio::test]
async fn a_thousand_open_streams_hear_why_they_end_and_the_process_exits_in_time() {
    let mut house = House::plan().config("listen.drain_timeout = \"2s\"").start();
    let streams = open_streams(&house, 1_000).await;
    let begin = Instant::now();
    house.signal("TERM");
    let told = join_all(streams.into_iter().map(hears_why)).await;
    let told = told.into_iter().filter(|told| *told).count();
    let last = begin.elapsed();
    let (_, well) = house.wait_for_exit(Duration::from_secs(10));
    println!(
        "1,000 streams, a drain of 2 s: {told} heard why, the last after {} ms; exit after {} ms",
        last.as_millis(),
        begin.elapsed().as_millis()
    );
    assert_eq!(told, 1_000);
    assert!(well && begin.elapsed() < Duration::from_secs(10), "{}", house.log());
}

#[tokio::test]
async fn a_second_signal_ends_open_calls_at_once() {
    let mut house = House::new();
    let streams = open_streams(&house, 20).await;
    house.signal("TERM");
    house.wait_for_log("draining");
    let begin = Instant::now();
    house.signal("TERM");
    assert!(join_all(streams.into_iter().map(hears_why)).await.into_iter().all(|told| told));
    let (_, well) = house.wait_for_exit(SLACK);
    println!("second signal: exit after {} ms", begin.elapsed().as_millis());
    assert!(well, "{}", house.log());
}

#[tokio::test]
async fn a_peer_that_never_reads_holds_nobody_up() {
    let mut house = House::plan().config("listen.drain_timeout = \"500ms\"").start();
    let endless = v1::StreamTextRequest::from(staged(r#"{"tokens": 1000000}"#)).encode_to_vec();
    let mut peer = Peer::connect(&house).await;
    let window = (1_u32 << 31) - 1;
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    let ask = [
        frame(SETTINGS, 0, 0, &settings),
        frame(WINDOW_UPDATE, 0, 0, &(window - 65_535).to_be_bytes()),
        call(1, 0),
        message(1, &endless),
        // Another one never sends its message.
        call(3, 0),
    ];
    assert!(peer.send(&ask.concat()).await);
    while peer.stream.readable().await.is_err() {}
    let begin = Instant::now();
    house.signal("TERM");
    let (_, well) = house.wait_for_exit(Duration::from_secs(10));
    println!("a peer that never reads: exit after {} ms", begin.elapsed().as_millis());
    assert!(well, "{}", house.log());
}

#[tokio::test]
async fn watchers_of_health_and_peers_without_a_call_hold_nobody_up() {
    let mut house = House::new();
    let mut health = HealthClient::new(house.client().raw().transport());
    let mut watched = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let silent = TcpStream::connect(&house.address).await.unwrap();
    let mut half = TcpStream::connect(&house.address).await.unwrap();
    half.write_all(&PREFACE[..10]).await.unwrap();
    let idle = Peer::connect(&house).await;
    let mut kept_alive = TcpStream::connect(&house.address).await.unwrap();
    kept_alive.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    kept_alive.readable().await.unwrap();

    let begin = Instant::now();
    house.signal("TERM");
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let (_, well) = house.wait_for_exit(SLACK);
    println!("no open call: exit after {} ms", begin.elapsed().as_millis());
    assert!(well, "{}", house.log());
    drop((silent, half, idle, kept_alive));
}

#[tokio::test]
async fn a_successor_has_the_port_while_the_last_answers_are_finished() {
    let mut house = House::plan().config("listen.farewell_timeout = \"200ms\"").start();
    let mut answer =
        house.client().stream(staged(r#"{"tokens": 100, "tokens_per_second": 25}"#)).await.unwrap();
    answer.next().await.unwrap().unwrap();
    house.signal("TERM");
    house.wait_for_log("the addresses are free");
    let successor =
        House::plan().config(&format!("listen.address = \"{}\"", house.address)).start();
    let heard = listen(&successor, question("sandbox-text", "say hello")).await;
    assert!(heard.text().contains("Hello"), "{heard:?}");

    let mut finished = false;
    while let Some(event) = answer.next().await {
        finished |= matches!(event.unwrap().kind, Some(Kind::Finished(_)));
    }
    assert!(finished, "the last answer was cut off");
    assert!(house.wait_for_exit(SLACK).1, "{}", house.log());
}
