//! The JSON Schema of the configuration, made from the types.
//!
//! Owns: the published document, and walking it: which key exists, of what type, with which
//! default.
//! Leaves: the keys themselves (`sections`).
//! Invariant: no `$ref`, so that a path through the settings is a path through the schema.

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform as _},
};
use serde_json::{Map, Value};

use super::sections::Config;

const ID: &str = "https://mediary.dev/schema/config.json";
const TITLE: &str = "Mediary server configuration";

/// The schema as it is published, ending in a line break.
pub fn schema_json() -> String {
    format!("{:#}\n", schema())
}

pub(super) fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|one| one.inline_subschemas = true);
    let mut made = settings.into_generator().into_root_schema_for::<Config>();
    RecursiveTransform(tidy).transform(&mut made);
    let mut schema = Map::new();
    for (key, text) in [("$schema", ""), ("$id", ID), ("title", TITLE)] {
        schema.insert(key.to_owned(), text.into()); // these lead the document
    }
    schema.extend(made.as_object().into_iter().flatten().map(|(key, value)| match key.as_str() {
        "title" => (key.clone(), TITLE.into()),
        _ => (key.clone(), value.clone()),
    }));
    Value::Object(schema)
}

/// TOML knows no null: an optional key is one that may be left out. Explanations are one line.
fn tidy(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
}

/// The schema of what lies at `pointer` of a configuration.
pub(super) fn at<'s>(schema: &'s Value, pointer: &str) -> Option<&'s Value> {
    super::draft::segments(pointer).try_fold(schema, |node, segment| match node.get("items") {
        Some(items) => Some(items),
        None => property(node, segment),
    })
}

pub(super) fn property<'s>(node: &'s Value, key: &str) -> Option<&'s Value> {
    node.get("properties")?.get(key)
}

/// Keys of a table with their schemas; nothing for anything else.
pub(super) fn properties(node: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let found = node.get("properties").and_then(Value::as_object).into_iter().flatten();
    found.map(|(key, node)| (key.as_str(), node))
}

pub(super) fn type_of(node: &Value) -> &str {
    node.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Written but never shown.
pub(super) fn is_secret(node: &Value) -> bool {
    node.get("writeOnly") == Some(&Value::Bool(true))
}

/// Dotted keys that one value can be set for; a list counts as one.
pub(super) fn keys(schema: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    collect(schema, "", &mut keys);
    keys
}

fn collect(node: &Value, path: &str, keys: &mut Vec<String>) {
    for (key, inner) in properties(node) {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match type_of(inner) {
            "object" => collect(inner, &path, keys),
            _ => keys.push(path),
        }
    }
}
