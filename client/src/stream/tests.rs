//! The rules of a stream, each shown with a scripted server.

#[cfg(test)]
use futures::stream;
use mediary_proto::v1::{self, text_event::Kind};
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;

type Reply = std::result::Result<Option<v1::TextEvent>, Status>;

const IDLE: Duration = Duration::from_secs(120);

fn event(sequence: i64, kind: Kind) -> Reply {
    Ok(Some(v1::TextEvent { sequence, kind: Some(kind) }))
}

fn started(sequence: i64) -> Reply {
    let started =
        v1::Started { model: "providers/sandbox/models/sandbox-text".into(), ..Default::default() };
    event(sequence, Kind::Started(started))
}

fn text(sequence: i64, text: &str) -> Reply {
    event(sequence, Kind::TextDelta(v1::TextDelta { part_index: 0, text: text.into() }))
}

fn heartbeat(sequence: i64) -> Reply {
    event(sequence, Kind::Heartbeat(v1::Heartbeat::default()))
}

fn finished(sequence: i64) -> Reply {
    let stop = v1::FinishReason::Stop.into();
    event(sequence, Kind::Finished(v1::Finished { finish_reason: stop, ..Default::default() }))
}

fn unknown(sequence: i64) -> Reply {
    Ok(Some(v1::TextEvent { sequence, kind: None }))
}

fn refused() -> Status {
    let details = ErrorDetails::with_error_info("OVERLOADED", "mediary.dev", []);
    Status::with_error_details(Code::Unavailable, "too much work", details)
}

fn whole() -> Vec<Reply> {
    vec![started(1), text(2, "Hel"), text(3, "lo"), finished(4)]
}

/// The answer so far, and how the stream ended.
async fn read(script: Vec<Reply>) -> (Answer, Option<Error>) {
    follow(TextStream::new(stream::iter(script), IDLE)).await
}

async fn follow(mut events: TextStream) -> (Answer, Option<Error>) {
    let mut answer = Answer::default();
    let mut end = None;
    while let Some(event) = events.next().await {
        assert!(end.is_none(), "an error is the last thing a stream says");
        match event {
            Ok(event) => answer.add(&event),
            Err(error) => end = Some(error),
        }
    }
    assert!(events.next().await.is_none(), "a stream that ended stays ended");
    (answer, end)
}

#[tokio::test]
async fn a_whole_stream_gives_the_answer() {
    let (answer, end) = read(whole()).await;
    assert!(end.is_none());
    assert_eq!(answer.text(), "Hello");
    assert_eq!(answer.finish_reason(), v1::FinishReason::Stop);
    assert!(answer.is_complete());
}

#[tokio::test]
async fn a_stream_cut_anywhere_is_truncated_whatever_its_status_says() {
    for kept in 0..whole().len() {
        let statuses = [None, Some(Status::ok("")), Some(Status::unavailable("connection reset"))];
        for status in statuses {
            let mut script = whole();
            script.truncate(kept);
            script.extend(status.map(Err));
            let (answer, end) = read(script).await;

            let Some(Error::Truncated { last_sequence, .. }) = &end else {
                panic!("{kept}: {end:?}")
            };
            assert_eq!(*last_sequence, kept as i64);
            assert!(!answer.is_complete());
        }
    }
}

#[tokio::test]
async fn a_truncation_says_how_far_it_came_and_why() {
    let (_, end) = read(vec![started(1), text(2, "Hel"), Err(refused())]).await;
    let end = end.expect("a truncation");
    assert_eq!((end.reason(), end.status()), ("STREAM_TRUNCATED", Code::Unavailable));
    assert_eq!(end.metadata()["lastSequence"], "2");
    let Error::Truncated { cause: Some(cause), .. } = &end else { panic!("{end:?}") };
    assert_eq!(cause.reason(), "OVERLOADED");
}

#[tokio::test]
async fn a_refusal_before_the_first_event_keeps_its_reason() {
    let (_, end) = read(vec![Err(refused())]).await;
    assert!(matches!(&end, Some(Error::Unavailable { .. })), "{end:?}");
}

#[tokio::test]
async fn a_gap_a_duplicate_and_a_false_start_are_refused() {
    let gap = vec![started(1), text(3, "lo"), finished(4)];
    let duplicate = vec![started(1), text(2, "Hel"), text(2, "Hel"), finished(3)];
    let late = vec![started(2), finished(3)];
    let short_count = vec![started(1), text(2, "Hel"), text(3, "lo"), finished(3)];
    for script in [gap, duplicate, late, short_count] {
        let (answer, end) = read(script).await;
        assert!(matches!(&end, Some(Error::Protocol(_))), "{end:?}");
        assert!(!answer.is_complete());
    }
}

#[tokio::test]
async fn a_heartbeat_repeats_the_last_sequence() {
    let script = vec![started(1), heartbeat(1), heartbeat(1), text(2, "Hello"), finished(3)];
    let (answer, end) = read(script).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(answer.text(), "Hello");

    let (_, end) = read(vec![started(1), heartbeat(2), finished(2)]).await;
    assert!(matches!(&end, Some(Error::Protocol(_))), "{end:?}");
}

#[tokio::test]
async fn an_unknown_event_is_left_out_but_counted() {
    let script = vec![started(1), unknown(2), text(3, "Hello"), unknown(4), finished(5)];
    let mut events = TextStream::new(stream::iter(script), IDLE);
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(event.expect("a whole stream").sequence);
    }
    assert_eq!(seen, [1, 3, 5]);
    assert_eq!((events.unknown_events(), events.last_sequence()), (2, 5));
}

#[tokio::test]
async fn a_message_without_event_is_refused() {
    let (_, end) = read(vec![started(1), Ok(None), finished(2)]).await;
    assert!(matches!(&end, Some(Error::Protocol(_))), "{end:?}");
}

#[tokio::test]
async fn nothing_is_read_after_the_terminal_event() {
    let mut script = whole();
    script.extend([text(5, " again"), Err(Status::internal("late"))]);
    let (answer, end) = read(script).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(answer.text(), "Hello");
}

#[tokio::test]
async fn a_failure_is_delivered_and_then_thrown() {
    let status = tonic_types::pb::Status {
        code: Code::Unavailable as i32,
        message: "the provider fails".into(),
        details: Vec::new(),
    };
    let failed = v1::Failed { status: Some(status), cost_pico_usd: 7, ..Default::default() };
    let script = vec![started(1), text(2, "Hel"), event(3, Kind::Failed(failed))];
    let (answer, end) = read(script).await;
    assert_eq!(answer.failed.as_ref().map(|failed| failed.cost_pico_usd), Some(7));
    let Some(end @ Error::Unavailable { .. }) = end else { panic!("{end:?}") };
    assert_eq!(end.message(), "the provider fails");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_stream_and_heartbeats_keep_it() {
    let alive = stream::iter(vec![started(1)]).chain(stream::unfold(0, |beats| async move {
        sleep(IDLE - Duration::from_secs(1)).await;
        (beats < 3).then(|| (heartbeat(1), beats + 1))
    }));
    let (_, end) = follow(TextStream::new(alive.chain(stream::iter([finished(2)])), IDLE)).await;
    assert!(end.is_none(), "{end:?}");

    let silent = stream::iter(vec![started(1)]).chain(stream::pending());
    let (_, end) = follow(TextStream::new(silent, IDLE)).await;
    assert!(matches!(&end, Some(Error::Timeout(_))), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_closes_does_not_hold_a_whole_answer() {
    let events = stream::iter(whole()).chain(stream::pending());
    let (answer, end) = follow(TextStream::new(events, IDLE)).await;
    assert!(end.is_none() && answer.is_complete());
}

#[tokio::test]
async fn a_resumed_stream_counts_on() {
    let events = TextStream::new(stream::iter([text(8, "lo"), finished(9)]), IDLE).after(7);
    let (answer, end) = follow(events).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(answer.text(), "lo");
}
