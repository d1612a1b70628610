//! JSON Schemas as data: local references, and several schemas made one.
//!
//! Owns: what "this and that" means for two schemas, as far as an example needs it. Whether a
//! value really fits is decided by the validator, never here.

use serde_json::{Map, Value, json};

pub(super) type Object = Map<String, Value>;

/// Longest chain of references that is followed.
const CHAIN: usize = 16;

/// What a local reference such as `#/$defs/point` stands for.
pub(super) fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let fragment = reference.strip_prefix('#')?;
    if fragment.is_empty() || fragment.starts_with('/') {
        return root.pointer(&decoded(fragment)?);
    }
    let defs = ["$defs", "definitions"].into_iter().filter_map(|key| root.get(key)?.as_object());
    defs.flat_map(Map::values)
        .find(|one| one.get("$anchor").and_then(Value::as_str) == Some(fragment))
}

/// Both at once. `None` where nothing can fit both.
pub(super) fn both(root: &Value, one: &Object, other: &Value) -> Option<Object> {
    let mut other = other;
    let mut all = one.clone();
    for _ in 0..CHAIN {
        let added = match other {
            Value::Bool(true) => return Some(all),
            Value::Object(added) => added,
            _ => return None,
        };
        for (key, value) in added {
            if key != "$ref" {
                merge(&mut all, key, value)?;
            }
        }
        match added.get("$ref").and_then(Value::as_str) {
            Some(reference) => other = resolve(root, reference)?,
            None => return Some(all),
        }
    }
    None
}

/// Adds one keyword.
fn merge(all: &mut Object, key: &str, value: &Value) -> Option<()> {
    let Some(have) = all.get_mut(key) else {
        all.insert(key.to_owned(), value.clone());
        return Some(());
    };
    if have == value {
        return Some(());
    }
    match key {
        "properties" | "patternProperties" | "$defs" | "definitions" => {
            let (have, more) = (have.as_object_mut()?, value.as_object()?);
            for (name, schema) in more {
                match have.get_mut(name) {
                    Some(old) => *old = json!({ "allOf": [old.take(), schema] }),
                    None => drop(have.insert(name.clone(), schema.clone())),
                }
            }
        }
        "required" | "allOf" => {
            let more = value.as_array()?.iter().cloned();
            have.as_array_mut()?.extend(more);
        }
        "type" => {
            let shared = shared_types(have, value);
            *have = match shared.len() {
                0 => return None,
                _ => Value::Array(shared),
            };
        }
        "enum" => {
            let others = value.as_array()?;
            have.as_array_mut()?.retain(|one| others.contains(one));
        }
        "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" => {
            if value.as_f64()? > have.as_f64()? {
                *have = value.clone();
            }
        }
        "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" => {
            if value.as_f64()? < have.as_f64()? {
                *have = value.clone();
            }
        }
        "items" | "additionalProperties" | "propertyNames" | "contains" => {
            *have = json!({ "allOf": [have.take(), value] });
        }
        // A second choice waits until the first is made.
        "anyOf" | "oneOf" => merge(all, "allOf", &json!([{ key: value }]))?,
        _ => *have = value.clone(),
    }
    Some(())
}

fn shared_types(one: &Value, other: &Value) -> Vec<Value> {
    let (one, other) = (types(one), types(other));
    let has = |all: &[&str], name: &str| all.contains(&name);
    let shared = one.iter().filter_map(|name| match *name {
        name if has(&other, name) => Some(name),
        "number" if has(&other, "integer") => Some("integer"),
        "integer" if has(&other, "number") => Some("integer"),
        _ => None,
    });
    shared.map(Value::from).collect()
}

/// The names in a `type` keyword.
pub(super) fn types(keyword: &Value) -> Vec<&str> {
    match keyword {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a value is of one of the schema's types.
pub(super) fn has_type(schema: &Object, value: &Value) -> bool {
    let Some(keyword) = schema.get("type") else { return true };
    let fits = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    };
    types(keyword).into_iter().any(fits)
}

/// A URI fragment without its percent signs.
fn decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (char::from(rest.next()?), char::from(rest.next()?));
                u8::try_from(high.to_digit(16)? * 16 + low.to_digit(16)?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
