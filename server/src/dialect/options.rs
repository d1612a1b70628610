//! Options that only one provider knows, laid over the body of a call.

use mediary_domain::{Error, Result, TextParameters};
use serde::Serialize;
use serde_json::Value;

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
    let broken = |_| Error::bug("a request body cannot be written as JSON");
    let options = options.iter().find(|(id, _)| id == provider);
    let Some((_, options)) = options else {
        return serde_json::to_vec(body).map_err(broken);
    };
    let mut whole = serde_json::to_value(body).map_err(broken)?;
    if let (Value::Object(whole), Ok(Value::Object(options))) =
        (&mut whole, serde_json::from_str(options))
    {
        whole.extend(options);
    }
    serde_json::to_vec(&whole).map_err(broken)
}
