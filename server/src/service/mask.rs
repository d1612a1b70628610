//! Field masks: which fields of a resource a change sets (AIP-134, AIP-161).
//!
//! Owns: reading a mask and laying one message over another by it, for any resource: both are
//! taken apart by the descriptor set. Leaves: what the values mean (the services).

use std::{collections::BTreeSet, sync::LazyLock};

use mediary_domain::{Error, Result};
use mediary_proto::FILE_DESCRIPTOR_SET;
use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _, Value,
};
use prost_types::FieldMask;

/// Replaces every field that can be set.
const ALL: &str = "*";

/// The contract takes a while to read, so that is done once.
static CONTRACT: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());

/// A resource after a change, and which of its fields the change names, by path.
pub struct Masked<M> {
    pub resource: M,
    pub fields: Vec<String>,
}

/// Lays `given` over `existing`: what the mask names, or without one what is set. Fields of
/// `not_set` (output only, name and etag) stay as they are, whoever names them.
pub fn lay<M: Message + Name + Default>(
    existing: &M,
    given: &M,
    mask: Option<&FieldMask>,
    not_set: &[&str],
) -> Result<Masked<M>> {
    let given = taken_apart(given)?;
    let mut whole = taken_apart(existing)?;
    let fields = fields(&whole.descriptor(), &given, mask, not_set)?;
    for path in &fields {
        copy(&given, &mut whole, path);
    }
    let resource = M::decode(whole.encode_to_vec().as_slice());
    Ok(Masked { resource: resource.map_err(|_| broken())?, fields })
}

fn fields(
    resource: &MessageDescriptor,
    given: &DynamicMessage,
    mask: Option<&FieldMask>,
    not_set: &[&str],
) -> Result<Vec<String>> {
    let may_be_set = |path: &str| {
        let top = path.split('.').next().unwrap_or_default();
        !not_set.contains(&top)
    };
    let names = || resource.fields().map(|field| field.name().to_owned());
    let paths: BTreeSet<String> = match mask {
        None => given.fields().map(|(field, _)| field.name().to_owned()).collect(),
        Some(mask) if mask.paths.iter().any(|path| path == ALL) => {
            if mask.paths.len() > 1 {
                return Err(Error::field("update_mask", "where * stands nothing else may stand"));
            }
            names().collect()
        }
        Some(mask) => {
            let unknown = mask.paths.iter().filter(|path| find(resource, path).is_none());
            let unknown: Vec<&str> = unknown.map(String::as_str).collect();
            if !unknown.is_empty() {
                let all: Vec<String> = names().filter(|name| may_be_set(name)).collect();
                let message = format!(
                    "{} is no field of {}; fields are {}",
                    unknown.join(", "),
                    resource.name(),
                    all.join(", ")
                );
                return Err(Error::field("update_mask", message));
            }
            mask.paths.iter().cloned().collect()
        }
    };
    Ok(paths.into_iter().filter(|path| may_be_set(path)).collect())
}

/// The field at a path; only the last segment may be a list or a map.
fn find(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    match path.split_once('.') {
        None => message.get_field_by_name(path),
        Some((head, rest)) => {
            let field = message.get_field_by_name(head)?;
            let is_single = !field.is_list() && !field.is_map();
            find(field.kind().as_message().filter(|_| is_single)?, rest)
        }
    }
}

fn copy(given: &DynamicMessage, whole: &mut DynamicMessage, path: &str) {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let Some(field) = whole.descriptor().get_field_by_name(head) else { return };
    let Some(rest) = rest else {
        if given.has_field(&field) {
            whole.set_field(&field, given.get_field(&field).into_owned());
        } else {
            whole.clear_field(&field);
        }
        return;
    };
    let inner = given.get_field(&field);
    if let (Some(inner), Value::Message(target)) = (inner.as_message(), whole.get_field_mut(&field))
    {
        copy(inner, target, rest);
    }
}

fn taken_apart<M: Message + Name>(message: &M) -> Result<DynamicMessage> {
    let descriptor = CONTRACT.as_ref().and_then(|pool| pool.get_message_by_name(&M::full_name()));
    let descriptor = descriptor.ok_or_else(broken)?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(|_| broken())
}

fn broken() -> Error {
    Error::bug("a resource cannot be taken apart by its mask")
}

#[cfg(test)]
mod tests {
    use mediary_proto::admin::{ApiKey, RateLimits};

    use super::*;

    const NOT_SET: &[&str] = &["name", "etag", "key_hint"];

    fn key(display_name: &str, per_minute: Option<i64>, hint: &str) -> ApiKey {
        ApiKey {
            name: "apiKeys/k".to_owned(),
            display_name: display_name.to_owned(),
            key_hint: hint.to_owned(),
            allowed_models: vec!["m".to_owned()],
            limits: per_minute.map(|requests| RateLimits {
                requests_per_minute: Some(requests),
                ..RateLimits::default()
            }),
            ..ApiKey::default()
        }
    }

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }
    }

    #[test]
    fn without_a_mask_what_is_set_counts_and_what_is_not_stays() {
        let given =
            ApiKey { allowed_models: Vec::new(), name: "x".to_owned(), ..key("new", None, "evil") };
        let done = lay(&key("old", Some(5), "hint"), &given, None, NOT_SET).unwrap();
        assert_eq!(done.resource, key("new", Some(5), "hint"));
        assert_eq!(done.fields, ["display_name"]);
    }

    #[test]
    fn a_mask_clears_what_it_names_and_is_not_set() {
        let given = ApiKey::default();
        let existing = key("old", Some(5), "hint");
        let done = lay(&existing, &given, Some(&mask(&["allowed_models"])), NOT_SET).unwrap();
        assert!(done.resource.allowed_models.is_empty());
        assert_eq!(done.resource.display_name, "old");
        let inner = mask(&["limits.requests_per_minute"]);
        let done = lay(&existing, &given, Some(&inner), NOT_SET).unwrap();
        assert_eq!(done.resource.limits, Some(RateLimits::default()));
        let done = lay(&existing, &given, Some(&mask(&["*"])), NOT_SET).unwrap();
        let cleared = ApiKey { allowed_models: Vec::new(), ..key("", None, "hint") };
        assert_eq!(done.resource, cleared);
    }

    #[test]
    fn what_is_no_field_is_refused_with_those_that_are() {
        let existing = key("old", None, "");
        for path in ["colour", "limits.colour", "allowed_models.x", "", "*,*", "limits."] {
            let error = lay(&existing, &existing, Some(&mask(&[path])), NOT_SET).err().unwrap();
            assert_eq!(error.violations()[0].field, "update_mask", "{path:?}");
        }
        assert!(lay(&existing, &existing, Some(&mask(&["*", "role"])), NOT_SET).is_err());
        // Output only: ignored.
        assert!(lay(&existing, &existing, Some(&mask(&["key_hint"])), NOT_SET).is_ok());
    }
}
