//! A configuration against its schema.
//!
//! Owns: unknown keys, missing keys, wrong types and values out of bounds, and the words for them.
//! Leaves: rules that a schema cannot tell (`checks`).

use std::collections::BTreeSet;

use jsonschema::{ValidationError, error::ValidationErrorKind as Kind};
use serde_json::Value;

use super::{
    draft::{Draft, Part, dotted},
    formats, schema,
};

/// Names less alike than this are not offered instead of one another.
const ALIKE: f64 = 0.6;

/// A finding of the validator in our words.
struct Finding {
    pointer: String,
    part: Part,
    message: String,
    help: Option<String>,
}

/// Reports every value that the schema refuses, the first reason of each.
pub(super) fn against_schema(draft: &mut Draft) {
    let mut options = jsonschema::options().should_validate_formats(true);
    for format in &formats::FORMATS {
        options = options.with_format(format.name, format.accepts);
    }
    let found: Vec<Finding> = match options.build(&draft.schema) {
        Ok(validator) => {
            let errors = validator.iter_errors(&draft.tree);
            errors.flat_map(|error| findings(&draft.schema, &error)).collect()
        }
        Err(error) => return draft.report("", Part::Value, error.to_string(), None),
    };
    let mut seen = BTreeSet::new();
    for Finding { pointer, part, message, help } in found {
        if seen.insert(pointer.clone()) {
            draft.report(&pointer, part, message, help);
        }
    }
}

fn findings(root: &Value, error: &ValidationError<'_>) -> Vec<Finding> {
    let table = error.instance_path().to_string();
    let node = schema::at(root, &table).unwrap_or(root);
    if let Kind::AdditionalProperties { unexpected } = error.kind() {
        return unexpected.iter().map(|key| unknown(root, node, &table, key)).collect();
    }
    if let Kind::Required { property } = error.kind() {
        let key = property.as_str().unwrap_or_default();
        let what = schema::property(node, key).and_then(|node| node.get("description"));
        return vec![Finding {
            pointer: format!("{table}/{key}"),
            part: Part::Value,
            message: "is missing".to_owned(),
            help: what.and_then(Value::as_str).map(str::to_owned),
        }];
    }
    let (message, help) = match error.kind() {
        Kind::Type { .. } => (wrong_type(node, &table, error.instance()), None),
        Kind::Enum { options } => {
            let words: Vec<_> =
                options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let word = error.instance().as_str().unwrap_or_default();
            let help = nearest(word, words.iter().copied());
            (
                format!("must be one of {}", list(&words)),
                help.map(|near| format!("did you mean `{near}`?")),
            )
        }
        Kind::Minimum { limit } => (format!("must be at least {limit}"), None),
        Kind::Maximum { limit } => (format!("must be at most {limit}"), None),
        Kind::MinLength { .. } => ("must not be empty".to_owned(), None),
        Kind::Pattern { .. } | Kind::Format { .. } => {
            let name = node.get("format").and_then(Value::as_str).unwrap_or_default();
            let expects = formats::by_name(name).map_or("well formed", |format| format.expects);
            (format!("must be {expects}"), None)
        }
        _ => (error.masked_with("the value").to_string(), None),
    };
    vec![Finding { pointer: table, part: Part::Value, message, help }]
}

fn unknown(root: &Value, node: &Value, table: &str, key: &str) -> Finding {
    let known: Vec<_> = schema::properties(node).map(|(key, _)| key).collect();
    let elsewhere = || {
        let all = schema::keys(root);
        let same = all.into_iter().find(|one| one.rsplit('.').next() == Some(key))?;
        Some(format!("`{key}` exists as `{same}`"))
    };
    let help = nearest(key, known.iter().copied())
        .map(|near| format!("did you mean `{near}`?"))
        .or_else(elsewhere)
        .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
    let name = if table.is_empty() { "the top level".to_owned() } else { dotted(table) };
    Finding {
        pointer: format!("{table}/{}", key.replace('~', "~0").replace('/', "~1")),
        part: Part::Key,
        message: format!("unknown key in {name}"),
        help: Some(help),
    }
}

fn wrong_type(node: &Value, pointer: &str, value: &Value) -> String {
    let header = format!("a list of tables, each headed [[{}]]", dotted(pointer));
    let has_tables = node.get("items").is_some_and(|items| schema::type_of(items) == "object");
    let wanted = match schema::type_of(node) {
        "integer" => "a whole number",
        "boolean" => "true or false",
        "array" if has_tables => &header,
        "array" => "a list",
        "object" => "a table",
        _ => "a text in quotes",
    };
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    };
    format!("must be {wanted}, not {found}")
}

fn list(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// The candidate most like `word`, if any is like it.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let rated = candidates
        .into_iter()
        .map(|one| (strsim::normalized_damerau_levenshtein(word, one), one))
        .filter(|(alike, _)| *alike >= ALIKE);
    rated.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, one)| one)
}
