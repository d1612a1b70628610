//! Questions to a vendor and what it accepts of them, for every wire.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use mediary_domain::{Error, Result};

use crate::{
    clock::Clock,
    provider::CallContext,
    transport::{Http, Reply, retry_after},
};

/// Longest refusal that is read.
const REFUSAL_LIMIT: usize = 64 << 10;

/// A refusal by status, as far as it is read.
pub struct Refusal {
    pub status: StatusCode,
    pub body: Bytes,
    /// What the headers ask for.
    pub retry_after: Option<Duration>,
}

/// Reads a refusal in the words of one wire.
pub type Refuse = fn(&CallContext, &Refusal) -> Error;

/// Sends a wire's questions. A success comes back as it is, anything else as the failure that the
/// vendor's words mean.
#[derive(Clone)]
pub struct Upstream {
    http: Http,
    clock: Clock,
    headers: &'static [(&'static str, &'static str)],
    refuse: Refuse,
}

impl Upstream {
    pub fn new(http: Http, clock: Clock, refuse: Refuse) -> Self {
        Self { http, clock, headers: &[], refuse }
    }

    /// With headers that every question of the wire has.
    pub fn with_headers(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    pub async fn post(&self, cx: &CallContext, path: &str, body: Vec<u8>) -> Result<Reply> {
        let reply = self.http.post_json(cx, path, self.headers, body).await?;
        self.accepted(cx, reply).await
    }

    pub async fn get(&self, cx: &CallContext, path: &str) -> Result<Reply> {
        let reply = self.http.get(cx, path, self.headers).await?;
        self.accepted(cx, reply).await
    }

    async fn accepted(&self, cx: &CallContext, reply: Reply) -> Result<Reply> {
        if reply.status.is_success() {
            return Ok(reply);
        }
        let refusal = Refusal {
            status: reply.status,
            retry_after: retry_after(&reply.headers, self.clock.wall()),
            body: reply.body.read_some(REFUSAL_LIMIT).await,
        };
        let error = (self.refuse)(cx, &refusal);
        Err(match reply.limits {
            Some(limits) => error.with_limits(limits),
            None => error,
        })
    }
}
