//! Where settings came from.
//!
//! Owns: the list of all settings in force, with keys of providers masked.

use std::{fmt, path::PathBuf};

use serde_json::Value;

use super::{
    draft::{Draft, dotted},
    schema, secret,
};

/// The layer that a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Environment { variable: String },
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => f.write_str(variable),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// A setting in force.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Dotted, as in `listen.address` or `accounts[0].id`.
    pub key: String,
    /// Empty where nothing is set.
    pub value: String,
    pub origin: Origin,
}

/// Every setting in the order of the schema.
pub(super) fn settings(draft: &Draft) -> Vec<Setting> {
    let mut settings = Vec::new();
    collect(draft, &draft.schema, "", &mut settings);
    settings
}

fn collect(draft: &Draft, node: &Value, pointer: &str, settings: &mut Vec<Setting>) {
    let value = draft.tree.pointer(pointer);
    let list = value.and_then(Value::as_array).filter(|list| !list.is_empty());
    if node.get("properties").is_some() {
        for (key, inner) in schema::properties(node) {
            collect(draft, inner, &format!("{pointer}/{key}"), settings);
        }
    } else if let (Some(list), Some(items)) = (list, node.get("items"))
        && items.get("properties").is_some()
    {
        for index in 0..list.len() {
            collect(draft, items, &format!("{pointer}/{index}"), settings);
        }
    } else {
        let value = value.or_else(|| node.get("default"));
        let value = match value {
            None => String::new(),
            Some(Value::String(text)) => {
                let is_open = !schema::is_secret(node) || secret::is_reference(text);
                if is_open { text.clone() } else { secret::MASK.to_owned() }
            }
            Some(other) => other.to_string(),
        };
        let origin = draft.origin(pointer);
        settings.push(Setting { key: dotted(pointer), value, origin });
    }
}
