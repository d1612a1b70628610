//! What every call that changes something has in common.
//!
//! Owns: who makes the change, how its request is known again, and the audit event that is kept
//! with it. Leaves: the change itself (the services), keeping it (the store).

use std::time::{Duration, SystemTime};

use mediary_domain::{Error, Kind, Result};
use mediary_store::{
    AuditEvent, Change, Request as KeptRequest, RequestKey, Requests, Saved, Version,
};
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, metadata::MetadataValue};
use uuid::Uuid;

use crate::{
    access::{Caller, Role},
    clock::Clock,
};

/// How long a repeat is known.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// Response header of an answer that was given before.
const REPLAYED: &str = "idempotent-replayed";

/// A call that changes something.
#[derive(Clone)]
pub struct Changing {
    pub caller: Caller,
    pub at: SystemTime,
    /// Full name of the RPC.
    method: &'static str,
    /// Empty = a repeat has another effect.
    request_id: String,
    payload_hash: [u8; 32],
    audit_id: String,
}

/// What a change does, as the audit log tells it.
#[derive(Default)]
pub struct Effect {
    /// Name of the resource.
    pub resource: String,
    pub before: Option<[u8; 32]>,
    pub after: Option<[u8; 32]>,
    /// Paths.
    pub fields: Vec<String>,
}

/// The caller of a request that has passed the gate.
pub fn caller<T>(request: &Request<T>) -> Result<Caller> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| Error::bug("a call reached its method without its caller"))
}

impl Changing {
    /// Refuses a request id that is none.
    pub fn begin<M: Message>(
        clock: &Clock,
        method: &'static str,
        request: &Request<M>,
        request_id: &str,
    ) -> Result<Self> {
        if !request_id.is_empty() && (request_id.len() > 36 || Uuid::parse_str(request_id).is_err())
        {
            let expected = "must be a UUID of at most 36 characters, or empty";
            return Err(Error::field("request_id", expected));
        }
        Ok(Self {
            caller: caller(request)?,
            at: clock.wall(),
            method,
            request_id: request_id.to_owned(),
            payload_hash: Sha256::digest(request.get_ref().encode_to_vec()).into(),
            audit_id: clock.resource_id('e'),
        })
    }

    /// What the server does by itself; `what` stands in the place of the RPC.
    pub fn of_server(clock: &Clock, what: &'static str, role: Role) -> Self {
        Self {
            caller: Caller::anonymous("server", role),
            at: clock.wall(),
            method: what,
            request_id: String::new(),
            payload_hash: [0; 32],
            audit_id: clock.resource_id('e'),
        }
    }

    /// Name of what this very request made or changed before, if it did.
    pub async fn replayed(&self, requests: &dyn Requests) -> Result<Option<String>> {
        if self.request_id.is_empty() {
            return Ok(None);
        }
        Ok(requests.find(&self.key(), self.payload_hash, self.at).await?)
    }

    /// One more effect of the same call, with an audit event of its own.
    pub fn another(&self, clock: &Clock) -> Self {
        Self { audit_id: clock.resource_id('e'), ..self.clone() }
    }

    /// What is kept together with the effect.
    pub fn change(&self, effect: Effect) -> Change {
        if self.request_id.is_empty() {
            return self.again(effect);
        }
        let request = KeptRequest {
            key: self.key(),
            payload_hash: self.payload_hash,
            resource: effect.resource.clone(),
            window: WINDOW,
        };
        self.again(effect).repeatable(request)
    }

    /// What is kept together with a deletion.
    pub fn deletion(&self, name: &str, before: Option<&impl Message>) -> Change {
        self.change(Effect {
            resource: name.to_owned(),
            before: before.map(hash),
            ..Effect::default()
        })
    }

    /// The same of a call whose repeat does its work again.
    pub fn again(&self, effect: Effect) -> Change {
        Change::at(self.at).audited(self.event(effect))
    }

    /// The audit event of a call that succeeded.
    pub fn event(&self, effect: Effect) -> AuditEvent {
        AuditEvent {
            id: self.audit_id.clone(),
            at: self.at,
            actor: self.caller.owner.to_string(),
            api_key: self.caller.key.as_ref().map(|key| key.name()).unwrap_or_default(),
            method: self.method.to_owned(),
            resource: effect.resource,
            before_hash: effect.before,
            after_hash: effect.after,
            outcome: "OK".to_owned(),
            reason: String::new(),
            peer_address: self.caller.address.map(|ip| ip.to_string()).unwrap_or_default(),
            request_id: self.request_id.clone(),
            changed_fields: effect.fields,
        }
    }

    fn key(&self) -> RequestKey {
        RequestKey {
            owner: self.caller.owner.to_string(),
            method: self.method.to_owned(),
            request_id: self.request_id.clone(),
        }
    }
}

/// Hash of a resource as callers see it: secrets are not in it.
pub fn hash(resource: &impl Message) -> [u8; 32] {
    Sha256::digest(resource.encode_to_vec()).into()
}

/// The version that an `etag` of a request names; none = any.
pub fn version(etag: &str, resource: &str) -> Result<Option<Version>> {
    if etag.is_empty() {
        return Ok(None);
    }
    match Version::from_etag(etag) {
        Some(version) => Ok(Some(version)),
        None => Err(changed_meanwhile(resource)),
    }
}

/// The resource is not at the version that the caller meant.
pub fn changed_meanwhile(resource: &str) -> Error {
    let message = format!("{resource} was changed meanwhile: read it and try again");
    Error::new(Kind::EtagMismatch, message).fact("resource", resource)
}

/// An answer that was given before says so in its headers.
pub fn answer<T>(message: T, replayed: bool) -> Response<T> {
    let mut response = Response::new(message);
    if replayed {
        response.metadata_mut().insert(REPLAYED, MetadataValue::from_static("true"));
    }
    response
}

/// What became of a deletion: whether it was done before.
pub fn deleted<T>(
    saved: Saved<T>,
    allow_missing: bool,
    missing: impl FnOnce() -> Error,
) -> Result<bool> {
    match saved {
        Saved::Done(_) => Ok(false),
        Saved::Replayed(_) => Ok(true),
        Saved::Missing if allow_missing => Ok(false),
        Saved::Missing => Err(missing()),
    }
}
