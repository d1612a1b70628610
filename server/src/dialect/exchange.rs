//! One question to a vendor, for every wire: send, read the refusal or begin to read the answer.

use std::time::Duration;

use http::StatusCode;
use mediary_domain::{Error, Result};

use super::wire_stream::{Decode, WireStream};
use crate::{
    clock::Clock,
    provider::{CallContext, ChatStream},
    transport::{Http, retry_after},
};

/// Longest refusal that is read.
const REFUSAL_LIMIT: usize = 64 << 10;

/// Reads a refusal: its status, its body, and the wait that the headers ask for.
pub type Refuse = fn(&CallContext, StatusCode, &[u8], Option<Duration>) -> Error;

/// Sends `body` and answers with the stream that `decoder` reads. Whether the vendor streams or
/// answers in one piece is seen from what it sends.
pub async fn ask<D: Decode + 'static>(
    (http, clock): (&Http, &Clock),
    cx: &CallContext,
    path: &str,
    body: Vec<u8>,
    refuse: Refuse,
    decoder: D,
) -> Result<ChatStream> {
    let reply = http.post_json(cx, path, &[], body).await?;
    if !reply.status.is_success() {
        let wait = retry_after(&reply.headers, clock.wall());
        let body = reply.body.read_some(REFUSAL_LIMIT).await;
        return Err(refuse(cx, reply.status, &body, wait));
    }
    Ok(Box::pin(WireStream::new(reply.body, decoder)))
}
