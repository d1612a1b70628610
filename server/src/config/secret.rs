//! Keys of providers: kept out of sight, and found where a reference points.
//!
//! Owns: [`Secret`], and the notations `env:NAME`, `file:PATH`, `${NAME}` and `${NAME:-default}`.
//! Leaves: which header carries the key (`transport`), and keys that live in a store.
//! Invariant: the text is read by [`Secret::expose`] alone; printing gives `***`.

use std::{fmt, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::environment::Environment;

/// What is shown in place of a key.
pub(super) const MASK: &str = "***";

/// A key in clear, overwritten when dropped.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The key in clear: for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The 32 bytes that a sealing key writes in base64.
    pub fn sealing_bytes(&self) -> Option<Zeroizing<[u8; 32]>> {
        let bytes = Zeroizing::new(BASE64.decode(self.expose()).ok()?);
        <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// What a configured text turned out to be.
pub(super) struct Resolved {
    /// None where the reference allows for nothing: `${NAME:-}`.
    pub(super) secret: Option<Secret>,
    /// The key itself stands in the configuration.
    pub(super) in_clear: bool,
}

/// Follows the reference in `text`; a relative path starts at `folder`.
pub(super) fn resolve(
    text: &str,
    environment: &Environment,
    folder: &Path,
) -> Result<Resolved, String> {
    let (found, in_clear) = if let Some(name) = text.strip_prefix("env:") {
        (variable(name, environment)?, false)
    } else if let Some(path) = text.strip_prefix("file:") {
        (read(&folder.join(path))?, false)
    } else {
        expand(text, environment)?
    };
    let key = found.trim();
    if key.chars().any(char::is_control) {
        return Err("the key contains a line break or another control character".to_owned());
    }
    let secret = (!key.is_empty()).then(|| Secret::new(key.to_owned()));
    Ok(Resolved { in_clear: in_clear && secret.is_some(), secret })
}

/// Whether `text` says where the key is and nothing of what it is, so that it may be shown.
pub(super) fn is_reference(text: &str) -> bool {
    let braced = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let name = text.strip_prefix("env:").or(braced);
    name.is_some_and(is_name) || text.starts_with("file:")
}

fn variable(name: &str, environment: &Environment) -> Result<Zeroizing<String>, String> {
    if !is_name(name) {
        return Err("`env:` must be followed by the name of a variable".to_owned());
    }
    let value = environment.get(name).filter(|value| !value.trim().is_empty());
    let value = value.ok_or_else(|| format!("the environment variable {name} is not set"))?;
    Ok(Zeroizing::new(value.to_owned()))
}

fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    if text.trim().is_empty() { Err(format!("{name} is empty")) } else { Ok(Zeroizing::new(text)) }
}

/// Puts variables in for `${NAME}`; also tells whether what results was written down in clear.
fn expand(text: &str, environment: &Environment) -> Result<(Zeroizing<String>, bool), String> {
    let mut whole = Zeroizing::new(String::with_capacity(text.len()));
    let mut in_clear = !text.contains("${");
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inner, after) =
            after.split_once('}').ok_or_else(|| "`${` is not closed with `}`".to_owned())?;
        whole.push_str(before);
        match inner.split_once(":-") {
            Some((name, default)) if is_name(name) => {
                let value = environment.get(name);
                in_clear |= value.is_none() && !default.is_empty();
                whole.push_str(value.unwrap_or(default));
            }
            None if is_name(inner) => whole.push_str(&variable(inner, environment)?),
            _ => return Err("`${` must be followed by the name of a variable".to_owned()),
        }
        rest = after;
    }
    whole.push_str(rest);
    Ok((whole, in_clear))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
