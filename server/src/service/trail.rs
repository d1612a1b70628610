//! What was tried and refused: audited calls that failed leave an event as well. Those that
//! succeed carry theirs in their change.

use http::HeaderMap;
use mediary_store::{AuditEvent, Shared};
use tonic::Status;
use tonic_types::StatusExt as _;
use tracing::warn;

use super::methods::Method;
use crate::{access::Caller, clock::Clock, error::code_name};

/// The audit log, for those who only add to it.
pub struct Trail {
    pub store: Shared,
    pub clock: Clock,
}

impl Trail {
    /// Notes that a call of `method` failed; nothing if it did not.
    pub async fn note(&self, method: &Method, caller: &Caller, answer: &HeaderMap) {
        let Some(status) = Status::from_header_map(answer) else { return };
        if status.code() == tonic::Code::Ok {
            return;
        }
        let reason = status.get_details_error_info().map(|info| info.reason);
        let event = AuditEvent {
            id: self.clock.resource_id('e'),
            at: self.clock.wall(),
            actor: caller.owner.to_string(),
            api_key: caller.key.as_ref().map(|key| key.name()).unwrap_or_default(),
            method: method.full_name.clone(),
            resource: String::new(),
            before_hash: None,
            after_hash: None,
            outcome: code_name(status.code()).to_owned(),
            reason: reason.unwrap_or_default(),
            peer_address: caller.address.map(|ip| ip.to_string()).unwrap_or_default(),
            request_id: String::new(),
            changed_fields: Vec::new(),
        };
        if let Err(error) = self.store.audit().append(event).await {
            warn!(method = %method.full_name, "a refused call is not in the audit log: {error}");
        }
    }
}
