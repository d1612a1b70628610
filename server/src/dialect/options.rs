//! The body of a call as JSON, and options that only one provider knows, laid over it.

use mediary_domain::{Error, Result, TextParameters};
use serde::Serialize;
use serde_json::{Map, Value};

/// The body as JSON, with the caller's options for this provider laid over it: a key of theirs
/// replaces ours. They were checked to be an object at the door.
pub fn with_options<B: Serialize>(
    body: &B,
    provider: &str,
    parameters: &TextParameters,
) -> Result<Vec<u8>> {
    with_options_of(body, provider, &parameters.provider_options)
}

/// The same for calls that are no chat.
pub fn with_options_of<B: Serialize>(
    body: &B,
    provider: &str,
    options: &[(String, String)],
) -> Result<Vec<u8>> {
    laid_over(body, provider, options, |body, options| body.extend(options))
}

/// The same for wires whose settings lie in objects within the body: objects are merged, lists
/// grow, anything else of theirs replaces ours.
pub fn with_deep_options<B: Serialize>(
    body: &B,
    provider: &str,
    parameters: &TextParameters,
) -> Result<Vec<u8>> {
    laid_over(body, provider, &parameters.provider_options, merge)
}

fn laid_over<B: Serialize>(
    body: &B,
    provider: &str,
    options: &[(String, String)],
    lay: fn(&mut Map<String, Value>, Map<String, Value>),
) -> Result<Vec<u8>> {
    let options = options.iter().find(|(id, _)| id == provider);
    let Some((_, options)) = options else {
        return written(body);
    };
    let mut whole = serde_json::to_value(body).map_err(unwritable)?;
    if let (Value::Object(whole), Ok(Value::Object(options))) =
        (&mut whole, serde_json::from_str(options))
    {
        lay(whole, options);
    }
    written(&whole)
}

/// A body without options of the caller's.
pub fn written<B: Serialize>(body: &B) -> Result<Vec<u8>> {
    serde_json::to_vec(body).map_err(unwritable)
}

fn unwritable(_: serde_json::Error) -> Error {
    Error::bug("a request body cannot be written as JSON")
}

/// The door keeps options shallow, so the depth of this is bounded.
fn merge(ours: &mut Map<String, Value>, theirs: Map<String, Value>) {
    for (key, value) in theirs {
        match (ours.get_mut(&key), value) {
            (Some(Value::Object(ours)), Value::Object(theirs)) => merge(ours, theirs),
            (Some(Value::Array(ours)), Value::Array(theirs)) => ours.extend(theirs),
            (_, value) => {
                ours.insert(key, value);
            }
        }
    }
}
