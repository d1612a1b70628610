//! Contract messages as JSON: canonical, with the field names of the contract in snake_case,
//! 64-bit numbers as numbers, and fields without a value shown.

use std::sync::LazyLock;

use mediary_proto::{FILE_DESCRIPTOR_SET, v1};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Value, json, value::Serializer};

use super::problem::Problem;

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());

/// A message as JSON. Null only if the build of the contract is broken.
pub(super) fn message<M: Message + Name>(message: &M) -> Value {
    convert(message).unwrap_or_default()
}

/// A list of messages as JSON.
pub(super) fn list<M: Message + Name>(messages: &[M]) -> Value {
    messages.iter().map(message).collect()
}

/// A message from JSON, or why it is none.
pub(super) fn read<M: Message + Name + Default>(json: Value) -> Result<M, String> {
    let descriptor = descriptor::<M>().ok_or("the contract is broken")?;
    let dynamic =
        DynamicMessage::deserialize(descriptor, json).map_err(|error| error.to_string())?;
    M::decode(dynamic.encode_to_vec().as_slice()).map_err(|error| error.to_string())
}

/// An answer, whole or not: the contract's answer with `text`, `complete` and `error` before it.
pub(super) fn answer(mut response: v1::GenerateTextResponse, problem: Option<&Problem>) -> Value {
    let text: String = texts(&response).collect();
    // The details of a status are binary; code and message are kept.
    let attempts = response.attempts.iter_mut().filter_map(|attempt| attempt.status.as_mut());
    let alternates = response.alternates.iter_mut().filter_map(|other| other.status.as_mut());
    for status in attempts.chain(alternates) {
        status.details.clear();
    }
    let mut whole = json!({
        "complete": problem.is_none(),
        "text": text,
        "error": problem.map(Problem::json),
    });
    if let (Value::Object(whole), Value::Object(fields)) = (&mut whole, message(&response)) {
        whole.extend(fields);
    }
    whole
}

/// The text parts of an answer.
pub(super) fn texts(response: &v1::GenerateTextResponse) -> impl Iterator<Item = &str> {
    let parts = response.message.iter().flat_map(|message| &message.parts);
    parts.filter_map(|part| match &part.kind {
        Some(v1::part::Kind::Text(text)) => Some(text.as_str()),
        _ => None,
    })
}

fn descriptor<M: Name>() -> Option<MessageDescriptor> {
    POOL.as_ref()?.get_message_by_name(&M::full_name())
}

fn convert<M: Message + Name>(message: &M) -> Option<Value> {
    let descriptor = descriptor::<M>()?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok()?;
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false)
        .skip_default_fields(false);
    dynamic.serialize_with_options(Serializer, &options).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    #[test]
    fn names_and_numbers_are_those_of_the_contract() {
        let model = v1::Model {
            name: "providers/sandbox/models/sandbox-text".into(),
            context_tokens: Some(8192),
            availability: v1::ModelAvailability::Usable.into(),
            ..Default::default()
        };
        let json = super::message(&model);
        assert_eq!(json["context_tokens"], 8192);
        assert_eq!(json["availability"], "MODEL_AVAILABILITY_USABLE");
        assert_eq!(json["aliases"], json!([]));
    }

    #[test]
    fn a_failed_answer_never_looks_complete() {
        let status = tonic_types::pb::Status {
            code: 14,
            message: "cut".into(),
            details: vec![prost_types::Any {
                type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
                value: vec![1],
            }],
        };
        let response = v1::GenerateTextResponse {
            message: Some(message::assistant("half")),
            attempts: vec![v1::AttemptSummary { status: Some(status), ..Default::default() }],
            ..Default::default()
        };
        let json = answer(response, Some(&Problem::Cut("cut short".into())));
        assert_eq!((&json["complete"], &json["text"]), (&json!(false), &json!("half")));
        assert_eq!(json["error"]["message"], "cut short");
        assert_eq!(json["attempts"][0]["status"]["message"], "cut");
    }
}
