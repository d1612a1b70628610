//! From contract words to ours: checked here, trusted afterwards. Everything that is wrong with a
//! request is said at once.

mod message;
pub mod parameters;

use std::{collections::BTreeMap, time::Duration};

use mediary_domain::{Capability, ChatCall, Result, Target};
use mediary_proto::v1::{
    self, CompareMember, CompareTextRequest, CountTokensRequest, GenerateTextRequest,
    StreamTextRequest, model_target::Target as WireTarget,
};
use prost::Message;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub(super) use self::parameters::provider_options;
use super::super::problems::Problems;
use super::{capability, limits};
use crate::{
    access::{Caller, Permit},
    routing::Wish,
};

/// What a text call may be for.
const TEXT: [&str; 2] = ["text-to-text", "image-to-text"];

/// A request that is checked.
#[derive(Clone)]
pub struct Asked {
    pub wish: Wish,
    pub call: ChatCall,
    /// For usage reports.
    pub labels: BTreeMap<String, String>,
    /// How long it goes on when its stream is lost; `None` = it stops at once.
    pub grace: Option<Duration>,
    /// Whether it may start over after its first token.
    pub allow_restart: bool,
    pub request_id: String,
    /// SHA-256 of the request without its id, to know it again.
    pub fingerprint: Vec<u8>,
}

impl Asked {
    /// A question that is counted and not asked.
    pub fn count(request: CountTokensRequest, caller: &Caller) -> Result<Self> {
        let mut problems = Problems::default();
        let CountTokensRequest { target, messages, parameters } = request;
        let asked =
            asked(target, messages, parameters, BTreeMap::new(), String::new(), &mut problems);
        problems.result(asked.of(caller))
    }

    pub fn generate(request: GenerateTextRequest, caller: &Caller) -> Result<Self> {
        let mut problems = Problems::default();
        let fingerprint = match &*request.request_id {
            "" => Vec::new(),
            _ => fingerprint(&GenerateTextRequest { request_id: String::new(), ..request.clone() }),
        };
        let GenerateTextRequest { target, messages, parameters, labels, request_id } = request;
        let asked = asked(target, messages, parameters, labels, request_id, &mut problems);
        let asked = Self { fingerprint, ..asked };
        problems.result(asked.of(caller))
    }

    pub fn stream(request: StreamTextRequest, caller: &Caller) -> Result<Self> {
        let mut problems = Problems::default();
        let fingerprint = match (&*request.request_id, request.resumable) {
            ("", _) | (_, false) => Vec::new(),
            _ => fingerprint(&StreamTextRequest { request_id: String::new(), ..request.clone() }),
        };
        let StreamTextRequest {
            target,
            messages,
            parameters,
            labels,
            request_id,
            resumable,
            disconnect_grace,
            allow_restart,
        } = request;
        let grace = resumable.then(|| grace(disconnect_grace, &mut problems));
        let asked = asked(target, messages, parameters, labels, request_id, &mut problems);
        let asked = Self { grace, allow_restart, fingerprint, ..asked };
        problems.result(asked.of(caller))
    }

    /// The same question for each member, with what each says of its own.
    pub fn compare(request: CompareTextRequest, caller: &Caller) -> Result<Vec<Self>> {
        let mut problems = Problems::default();
        let CompareTextRequest { members, messages, parameters, labels, request_id } = request;
        let (fewest, most) = limits::MEMBERS;
        if !(fewest..=most).contains(&members.len()) {
            problems.field("members", format!("must hold {fewest} to {most} members"));
            return problems.result(Vec::new());
        }
        let whole = asked(None, messages, parameters, labels, request_id, &mut problems);
        let all =
            members.into_iter().enumerate().map(|(at, CompareMember { target, parameters })| {
                let mut own = Problems::default();
                let target = target.unwrap_or_default();
                let wish = wish(target, whole.wish.capability, &TEXT, &mut own);
                let mut asked = Self { wish, ..whole.clone() }.of(caller);
                if let Some(parameters) = parameters {
                    asked.call.parameters = parameters::parse(parameters, &mut own);
                }
                problems.part(own, "", &format!("members[{at}]."));
                asked
            });
        let all = all.collect();
        problems.result(all)
    }

    /// With what its caller may use.
    fn of(mut self, caller: &Caller) -> Self {
        self.wish.permit = caller.permit();
        self
    }
}

/// What stays the same when a request is sent again, given without its id.
fn fingerprint(request: &impl Message) -> Vec<u8> {
    Sha256::digest(request.encode_to_vec()).to_vec()
}

fn grace(wire: Option<prost_types::Duration>, problems: &mut Problems) -> Duration {
    let Some(wire) = wire else { return limits::GRACE };
    match Duration::try_from(wire) {
        Ok(grace) if grace <= limits::MOST_GRACE => grace,
        _ => {
            problems.field("disconnect_grace", "must lie between 0 and 10 minutes");
            limits::GRACE
        }
    }
}

fn asked(
    target: Option<v1::ModelTarget>,
    messages: Vec<v1::Message>,
    parameters: Option<v1::TextParameters>,
    labels: BTreeMap<String, String>,
    request_id: String,
    problems: &mut Problems,
) -> Asked {
    check_labels(&labels, problems);
    check_request_id(&request_id, problems);
    let messages = message::parse_all(messages, problems);
    let parameters = parameters::parse(parameters.unwrap_or_default(), problems);
    let has_images = messages
        .iter()
        .flat_map(|message| &message.parts)
        .any(|part| matches!(part, mediary_domain::Part::Image(_)));
    Asked {
        wish: wish(target.unwrap_or_default(), capability(has_images), &TEXT, problems),
        call: ChatCall { messages, parameters },
        labels,
        grace: None,
        allow_restart: false,
        request_id,
        fingerprint: Vec::new(),
    }
}

/// What the caller wants; `allowed` are the capabilities that an `auto` target may name.
pub fn wish(
    target: v1::ModelTarget,
    capability: Capability,
    allowed: &[&str],
    problems: &mut Problems,
) -> Wish {
    if !target.account.is_empty() {
        problems.field("target.account", "this server chooses the account: leave it empty");
    }
    let fallback = target.fallback.unwrap_or_default();
    if fallback.models.len() > limits::FALLBACK_MODELS {
        let most = limits::FALLBACK_MODELS;
        problems.field("target.fallback.models", format!("holds at most {most} models"));
    }
    let named = |name: String, field: &str, problems: &mut Problems| {
        if name.is_empty() {
            problems.field(field, "must not be empty");
        }
        name
    };
    let mut is_explicit = false;
    let target = match target.target {
        Some(WireTarget::Model(name)) => {
            is_explicit = true;
            Target::Model(named(name, "target.model", problems))
        }
        Some(WireTarget::Preset(name)) => Target::Preset(named(name, "target.preset", problems)),
        Some(WireTarget::Route(task)) => Target::Route(named(task, "target.route", problems)),
        Some(WireTarget::Auto(auto)) => {
            let named = auto.capability.as_str();
            if !named.is_empty() && !allowed.contains(&named) {
                let problem = format!("must be {}, or empty", allowed.join(" or "));
                problems.field("target.auto.capability", problem);
            }
            Target::Auto
        }
        None => Target::Auto,
    };
    Wish {
        target,
        capability,
        permit: Permit::default(),
        allow_fallback: fallback.allow.unwrap_or(!is_explicit || !fallback.models.is_empty()),
        fallback_models: fallback.models,
        expected_usage: None,
    }
}

pub(super) fn check_request_id(request_id: &str, problems: &mut Problems) {
    if !request_id.is_empty() && (request_id.len() > 36 || Uuid::parse_str(request_id).is_err()) {
        problems.field("request_id", "must be a UUID of at most 36 characters, or empty");
    }
}

pub(super) fn check_labels(labels: &BTreeMap<String, String>, problems: &mut Problems) {
    if labels.len() > limits::LABELS {
        problems.field("labels", format!("holds at most {} labels", limits::LABELS));
    }
    for (key, value) in labels {
        let (name, content) = (key.chars().count(), value.chars().count());
        if name == 0 || name > limits::LABEL_KEY || content > limits::LABEL_VALUE {
            problems.field(
                "labels",
                format!(
                    "a key has 1 to {} characters and a value at most {}",
                    limits::LABEL_KEY,
                    limits::LABEL_VALUE
                ),
            );
            break;
        }
    }
}
