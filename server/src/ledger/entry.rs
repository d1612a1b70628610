//! An attempt on its way to the ledger, and the row that it becomes.

use std::{sync::Arc, time::Duration};

use mediary_domain::{Error, Kind};
use mediary_store::{AttemptFailure, AttemptRow, AttemptState};

use crate::{
    error::code_and_reason,
    routing::{Attempt, CallFacts, CallKind},
};

/// Longest text of a failure that is kept, in bytes.
const LONGEST: usize = 512;

/// An attempt that has ended. Made where calls are waited for: it shares what it can, and becomes a
/// row in the writer's own time.
pub struct Entry {
    pub call: Arc<CallFacts>,
    pub attempt: Attempt,
    /// Whether no other is to follow.
    pub is_last: bool,
    /// From the acceptance of the call to the end of this attempt.
    pub call_took: Duration,
}

impl Entry {
    pub(super) fn row(&self, id: i64) -> AttemptRow {
        let Self { call, attempt, is_last, call_took } = self;
        let failure = attempt.failure.as_ref();
        AttemptRow {
            id,
            call: call.id.as_ref().to_owned(),
            kind: kind(call.kind).to_owned(),
            index: i64::try_from(attempt.index).unwrap_or(i64::MAX),
            is_last: *is_last,
            owner: call.owner.as_ref().to_owned(),
            api_key: call.key.as_ref().map(|key| key.name()).unwrap_or_default(),
            capability: call.capability.as_str().to_owned(),
            route: call.route.clone(),
            preset: attempt.preset.as_ref().to_owned(),
            model: attempt.model.name.clone(),
            provider: attempt.provider.name(),
            account: attempt.account.name(),
            start: attempt.start,
            end: attempt.end.unwrap_or(attempt.start),
            took: attempt.took,
            call_took: *call_took,
            first_token: attempt.first_token,
            state: match failure.map(Error::kind) {
                None => AttemptState::Succeeded,
                Some(Kind::Cancelled) => AttemptState::Cancelled,
                Some(_) => AttemptState::Failed,
            },
            failure: failure.map(told),
            upstream_request_id: String::new(),
            usage: attempt.usage,
            cost: attempt.cost,
            labels: call.labels.clone(),
        }
    }
}

/// The word that is kept for a sort of call.
pub fn kind(kind: CallKind) -> &'static str {
    match kind {
        CallKind::Chat => "chat",
        CallKind::Embeddings => "embeddings",
    }
}

fn told(failure: &Error) -> AttemptFailure {
    let (code, reason) = code_and_reason(failure.kind());
    let fact = |key: &str| failure.facts().get(key).map_or("", String::as_str);
    AttemptFailure {
        code: code as i32,
        reason: reason.to_owned(),
        message: cut(failure.message()),
        http_status: fact("httpStatus").parse().ok(),
        // Whoever read it has taken our key out of it.
        excerpt: cut(fact("upstreamMessage")),
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}
