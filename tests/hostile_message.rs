//! Messages that mean harm: too large, packed, nested without end, or made of a million nothings.
//! Each is refused or ignored, for little time and memory.

mod support;

use std::time::Duration;

use support::{
    House,
    wire::{GRPC, WEB, Wire, frame, with},
};
use tonic::Code;

const STREAM_TEXT: &str = "/mediary.v1.TextService/StreamText";
const GENERATE_TEXT: &str = "/mediary.v1.TextService/GenerateText";

/// Of `StreamTextRequest`, `Message`, `Part` and `ToolResult`.
const MESSAGES: u8 = 2;
const PARTS: u8 = 2;
const TOOL_RESULT: u8 = 4;

/// Fifty milliseconds of a release build, which is ten times as fast as what is tested here.
const MOST_TIME: Duration = Duration::from_millis(500);

/// A field with a length: its key and what it holds.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut left = content.len();
    while left > 127 {
        bytes.push(u8::try_from(left & 127).unwrap() | 128);
        left >>= 7;
    }
    bytes.push(u8::try_from(left).unwrap());
    bytes.extend_from_slice(content);
    bytes
}

#[tokio::test]
async fn a_message_is_measured_before_room_is_made_for_it() {
    let house = House::new();
    let wire = Wire::http2(&house);
    wire.ask(wire.call(GRPC, STREAM_TEXT, &())).await;
    let before = house.rss_kib();
    for (name, length) in [("4 GiB", u32::MAX), ("4 MiB + 1", (4 << 20) + 1)] {
        for content_type in [GRPC, WEB] {
            let start = [&[0][..], &length.to_be_bytes(), b"the rest never comes"].concat();
            let answer = wire.ask(wire.call_of_bytes(content_type, STREAM_TEXT, &start)).await;
            assert_eq!(answer.code(), Code::ResourceExhausted, "{name} {content_type}");
            assert_eq!(answer.reason(), "MESSAGE_TOO_LARGE", "{name} {content_type}");
        }
    }
    let grown = house.rss_kib().saturating_sub(before);
    println!("lengths that are too large: {grown} KiB");
    assert!(grown <= 2_048, "{grown} KiB");
}

#[tokio::test]
async fn packed_messages_are_refused_with_their_reason_and_never_unpacked() {
    let house = House::new();
    let wire = Wire::http2(&house);
    wire.ask(wire.call(GRPC, STREAM_TEXT, &())).await;
    // A gigabyte of zeros in a megabyte: what comes after the first bytes does not matter.
    let mut packed = vec![1, 0, 16, 0, 0, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    packed.resize(5 + (1 << 20), 0);
    let (memory, time) = (house.rss_kib(), house.cpu());
    for encoding in ["gzip", "deflate", "zstd", "br"] {
        let call = with(wire.call_of_bytes(GRPC, STREAM_TEXT, &packed), "grpc-encoding", encoding);
        let answer = wire.ask(call).await;
        assert_eq!(answer.code(), Code::Unimplemented, "{encoding}");
        assert_eq!(answer.reason(), "CAPABILITY_UNSUPPORTED", "{encoding}");
        let status = answer.status.unwrap();
        assert!(status.message().contains(encoding), "{}", status.message());
    }
    // The flag without the header.
    let answer = wire.ask(wire.call_of_bytes(GRPC, STREAM_TEXT, &packed)).await;
    assert_eq!(answer.code(), Code::InvalidArgument);
    let (memory, time) = (house.rss_kib().saturating_sub(memory), house.cpu() - time);
    println!("packed messages: {memory} KiB, {time:?} of CPU");
    assert!(memory <= 4_096, "{memory} KiB");
}

/// What the server makes of a request of these bytes, and what that takes it.
async fn asked(house: &House, wire: &Wire, bytes: &[u8]) -> (Code, String, Duration, u64) {
    let (memory, time) = (house.rss_kib(), house.cpu());
    let answer = wire.ask(wire.call_of_bytes(GRPC, GENERATE_TEXT, &frame(bytes))).await;
    let (time, memory) = (house.cpu() - time, house.rss_kib().saturating_sub(memory));
    let reason = if answer.code() == Code::Ok { String::new() } else { answer.reason() };
    (answer.code(), reason, time, memory)
}

#[tokio::test]
async fn protobuf_that_means_harm_is_refused_or_ignored_for_little() {
    let house = House::new();
    let wire = Wire::http2(&house);
    let user = [&[8, 2][..], &field(PARTS, &field(1, b"say hello"))].concat();
    let sound = [field(1, &field(1, b"sandbox-text")), field(MESSAGES, &user)].concat();
    assert_eq!(asked(&house, &wire, &sound).await.0, Code::Ok);

    // Ten thousand results of tools within one another.
    let mut known = Vec::new();
    for _ in 0..5_000 {
        known = field(TOOL_RESULT, &field(PARTS, &known));
    }
    let known = field(MESSAGES, &field(PARTS, &known));
    // The same as groups of a field that nobody knows.
    let unknown = [[0xfb, 1].repeat(10_000), [0xfc, 1].repeat(10_000)].concat();
    let million = |piece: &[u8]| piece.repeat(1_000_000.min((4 << 20) / piece.len() - 100));
    let duplicate: Vec<u8> = (0..100_000).flat_map(|_| field(1, b"say hello")).collect();
    let duplicate = [&[8, 2][..], &field(PARTS, &duplicate)].concat();

    let refused = (Code::InvalidArgument, "FIELD_INVALID");
    let ignored = (Code::Ok, "");
    for (name, bytes, expected) in [
        ("10,000 deep", known, refused),
        ("10,000 deep, unknown", unknown, refused),
        ("a million unknown fields", [&sound[..], &million(&[0xf8, 1, 1])].concat(), ignored),
        ("a million empty unknown fields", [&sound[..], &million(&[0xfa, 1, 0])].concat(), ignored),
        ("a million times the same field", [&sound[..], &million(&[48, 0])].concat(), ignored),
        ("a million empty messages", million(&field(MESSAGES, &[])), refused),
        ("a million empty parts", field(MESSAGES, &million(&field(PARTS, &[]))), refused),
        ("a million empty labels", [&sound[..], &million(&field(4, &[]))].concat(), refused),
        ("invalid UTF-8", field(MESSAGES, &field(PARTS, &field(1, b"\xff\xfe"))), refused),
        ("an unknown role", field(MESSAGES, &[8, 99, 18, 0]), refused),
        ("a text said 100,000 times", [&sound[..], &field(MESSAGES, &duplicate)].concat(), ignored),
    ] {
        let (code, reason, time, memory) = asked(&house, &wire, &bytes).await;
        println!("{name}: {code:?} {reason}, {time:?} of CPU, {memory} KiB");
        assert_eq!((code, reason.as_str()), expected, "{name}");
        assert!(time <= MOST_TIME && memory <= 8_192, "{name}: {time:?}, {memory} KiB");
    }
    assert_eq!(asked(&house, &wire, &sound).await.0, Code::Ok);
}
