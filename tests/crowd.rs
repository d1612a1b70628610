//! A crowd of slow streams: nothing is lost, and each costs little.
//!
//! 1,000 streams over 5 connections for ten seconds, so that it fits among the other tests. The
//! whole of it, with a release build of the server:
//! `MEDIARY_CROWD=10000 MEDIARY_CROWD_SECONDS=600 MEDIARY_BIN=target/release/mediary cargo test --test crowd -- --nocapture`

mod support;

use std::time::{Duration, Instant};

use futures::future::join_all;
use mediary_client::v1::{StreamTextRequest, StreamTextResponse, text_event::Kind};
use support::{
    House, Reply, Vendor,
    ask::{listen, question},
    house::many_files,
    vendors::{OPENAI_HELLO, QUICK, rows},
};
use tonic::Streaming;

const PER_CONNECTION: usize = 200;

fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |value| value.parse().expect("a number"))
}

/// Reads one answer to its end; how many tokens came, and the longest wait for one.
async fn heard(mut stream: Streaming<StreamTextResponse>) -> Result<(usize, Duration), String> {
    let (mut tokens, mut sequence, mut longest) = (0, 1, Duration::ZERO);
    let mut last = Instant::now();
    loop {
        let next = stream.message().await.map_err(|status| status.to_string())?;
        let Some(event) = next.and_then(|response| response.event) else {
            return Err(format!("no end after {tokens} tokens"));
        };
        match event.kind {
            Some(Kind::Heartbeat(_)) => continue,
            _ if event.sequence != sequence + 1 => {
                return Err(format!("{} follows {sequence}", event.sequence));
            }
            Some(Kind::TextDelta(_)) => {
                tokens += 1;
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            Some(Kind::Finished(_)) => return Ok((tokens, longest)),
            Some(Kind::Failed(failed)) => return Err(format!("{failed:?}")),
            _ => {}
        }
        sequence = event.sequence;
    }
}

/// Opens `count` streams that say a token a second, hears them out, and tells what they cost.
async fn crowd(house: &House, count: usize, seconds: usize, request: StreamTextRequest) {
    let before = house.rss_kib();
    let clients: Vec<_> = (0..count.div_ceil(PER_CONNECTION)).map(|_| house.client()).collect();
    let begin = Instant::now();
    let opening = (0..count).map(|n| {
        let (mut text, request) = (clients[n % clients.len()].raw().text(), request.clone());
        async move {
            let mut stream = text.stream_text(request).await.expect("it starts").into_inner();
            stream.message().await.expect("the first event").expect("the first event");
            stream
        }
    });
    let streams = join_all(opening).await;
    let each = house.rss_kib().saturating_sub(before) as f64 / count as f64;
    let (opened, cpu) = (begin.elapsed(), house.cpu());
    // On a machine that is too busy the first ones end before the last ones begin.
    let all_open = opened < Duration::from_secs(seconds as u64);

    let tasks: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(heard(stream))).collect();
    let answers = join_all(tasks).await.into_iter().map(Result::unwrap);
    let answers: Result<Vec<_>, String> = answers.collect();
    let answers = answers.unwrap();
    let share = (house.cpu() - cpu).as_secs_f64() / (begin.elapsed() - opened).as_secs_f64();

    let tokens: usize = answers.iter().map(|(tokens, _)| tokens).sum();
    let longest = answers.iter().map(|(_, longest)| *longest).max().unwrap();
    println!(
        "{count} streams over {} connections, opened in {opened:?}: {each:.1} KiB each, {:.0} % of \
         a core, {tokens} tokens, {} lost; the longest wait for one was {longest:?}",
        clients.len(),
        share * 100.0,
        count * seconds - tokens,
    );
    assert_eq!(tokens, count * seconds);
    // A debug build needs more.
    let most = if std::env::var_os("MEDIARY_BIN").is_some() { 32.0 } else { 64.0 };
    assert!(each <= most || !all_open, "{each} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_streams_loses_nothing_and_costs_little() {
    many_files();
    let (count, seconds) = (number("MEDIARY_CROWD", 1_000), number("MEDIARY_CROWD_SECONDS", 10));
    let house = House::new();
    for _ in 0..20 {
        listen(&house, question("sandbox-text", "say hello")).await;
    }
    let mut request = question("sandbox-text", "say hello");
    let options = format!(r#"{{"tokens": {seconds}, "tokens_per_second": 1}}"#);
    request.parameters.provider_options_json =
        [("sandbox".to_owned(), options)].into_iter().collect();
    crowd(&house, count, seconds, request.into()).await;
}

/// Each has a connection to the vendor: half of the files that a process may have open here.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_streams_of_a_vendor_loses_nothing_and_costs_little() {
    many_files();
    let count = number("MEDIARY_CROWD", 1_000).min(8_000) / 2;
    let seconds = number("MEDIARY_CROWD_SECONDS", 10);
    let vendor = Vendor::start().await;
    let house = rows(House::plan())
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    vendor.replies((0..20).map(|_| Reply::sse(OPENAI_HELLO)));
    for _ in 0..20 {
        listen(&house, question(QUICK, "say hello")).await;
    }
    let delta = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"}}]}\n\n";
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
               data: [DONE]\n\n";
    let all = Reply::sse(delta.repeat(seconds) + end).in_pieces_of(delta.len());
    vendor.always(all.paced(Duration::from_secs(1)));
    crowd(&house, count, seconds, question(QUICK, "say hello").into()).await;
}
