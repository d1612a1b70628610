//! The layers of a configuration, each laid over the one before.
//!
//! Owns: finding and reading the file, `MEDIARY__SECTION__KEY`, and overrides by dotted key.
//! Leaves: whether the values are right (`validate`, `checks`); the defaults (`sections`).

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    CONFIG_VARIABLE, USUAL_FILE,
    draft::{Draft, Mark, Part},
    environment::Environment,
    problem::Place,
    schema, validate,
};

const PREFIX: &str = "MEDIARY__";

/// The file: the one that is named, or the usual one if it exists.
pub(super) fn read_file(draft: &mut Draft, named: Option<PathBuf>, environment: &Environment) {
    let by_variable = || environment.get(CONFIG_VARIABLE).map(PathBuf::from);
    let usual = || Some(PathBuf::from(USUAL_FILE)).filter(|path| path.exists());
    let help = named
        .is_none()
        .then(by_variable)
        .flatten()
        .map(|_| format!("{CONFIG_VARIABLE} names this file"));
    let Some(path) = named.or_else(by_variable).or_else(usual) else { return };
    match std::fs::read_to_string(&path) {
        Ok(content) => read_text(draft, &path, &content),
        Err(error) => {
            draft.report_place(Place::File(path), format!("cannot be read: {error}"), help);
        }
    }
}

fn read_text(draft: &mut Draft, path: &Path, content: &str) {
    let text = draft.keep(Place::File(path.to_path_buf()), content);
    let (table, errors) = DeTable::parse_recoverable(content);
    for error in errors {
        let range = error.span().unwrap_or_default();
        draft.report_syntax(text, range, "", error.message().to_owned());
    }
    if draft.is_readable() {
        draft.tree = Value::Object(plant_table(draft, text, "", table.get_ref()));
    }
}

/// Variables that set a key: sections and keys in capitals, joined by two underscores.
pub(super) fn lay_environment(draft: &mut Draft, environment: &Environment) {
    let keys = schema::keys(&draft.schema);
    for (variable, raw) in environment.starting_with(PREFIX) {
        let name_of = |key: &str| format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"));
        let place = Place::Variable(variable.to_owned());
        match keys.iter().find(|key| name_of(key) == variable) {
            Some(key) => lay(draft, place, key, raw),
            None => {
                let wanted = variable[PREFIX.len()..].to_lowercase().replace("__", ".");
                let message = "unknown variable: there is no such key".to_owned();
                let help = validate::nearest(&wanted, keys.iter().map(String::as_str))
                    .map(|key| format!("did you mean `{}`?", name_of(key)));
                draft.report_place(place, message, help);
            }
        }
    }
}

/// Dotted keys and values of the command line.
pub(super) fn lay_overrides(draft: &mut Draft, overrides: &[(String, String)]) {
    let keys = schema::keys(&draft.schema);
    for (key, raw) in overrides {
        let place = Place::Override(key.clone());
        if keys.contains(key) {
            lay(draft, place, key, raw);
        } else {
            let help = validate::nearest(key, keys.iter().map(String::as_str))
                .map(|key| format!("did you mean `{key}`?"));
            draft.report_place(place, "there is no such key".to_owned(), help);
        }
    }
}

/// Sets one key: a text is taken as it stands, anything else is a TOML value.
fn lay(draft: &mut Draft, place: Place, key: &str, raw: &str) {
    let path: Vec<&str> = key.split('.').collect();
    let pointer = format!("/{}", path.join("/"));
    let kind = schema::at(&draft.schema, &pointer).map(schema::type_of).unwrap_or_default();
    let (is_text, is_list) = (kind == "string", kind == "array");
    let text = draft.keep(place, raw);
    let whole = Mark { text, key: 0..raw.len(), value: 0..raw.len() };
    draft.mark(&pointer, whole);
    let value = match DeValue::parse(raw) {
        Ok(value) if !is_text => plant(draft, text, &pointer, &value),
        Err(error) if is_list => {
            let range = error.span().unwrap_or_default();
            let message = format!("must be a list in TOML: {}", error.message());
            draft.report_syntax(text, range, key, message);
            None
        }
        _ => Some(Value::String(raw.to_owned())),
    };
    if let Some(value) = value {
        draft.put(&path, value);
    }
}

fn plant_table(
    draft: &mut Draft,
    text: usize,
    pointer: &str,
    table: &DeTable<'_>,
) -> Map<String, Value> {
    let mut planted = Map::new();
    for (key, value) in table {
        let name = key.get_ref();
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        draft.mark(&pointer, Mark { text, key: key.span(), value: value.span() });
        if let Some(value) = plant(draft, text, &pointer, value) {
            planted.insert(name.to_string(), value);
        }
    }
    planted
}

/// Takes a TOML value over; none where JSON has no such value, which is reported.
fn plant(
    draft: &mut Draft,
    text: usize,
    pointer: &str,
    value: &Spanned<DeValue<'_>>,
) -> Option<Value> {
    let message = match value.get_ref() {
        DeValue::String(content) => return Some(Value::String(content.to_string())),
        DeValue::Boolean(content) => return Some(Value::Bool(*content)),
        DeValue::Table(table) => {
            return Some(Value::Object(plant_table(draft, text, pointer, table)));
        }
        DeValue::Array(items) => {
            let mut planted = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let pointer = format!("{pointer}/{index}");
                draft.mark(&pointer, Mark { text, key: item.span(), value: item.span() });
                planted.push(plant(draft, text, &pointer, item).unwrap_or_default());
            }
            return Some(Value::Array(planted));
        }
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => return Some(number.into()),
            Err(_) => "the number is too large",
        },
        DeValue::Float(_) => "no key takes a fraction",
        DeValue::Datetime(_) => "no key takes a date or a time; a text stands in quotes",
    };
    draft.report(pointer, Part::Value, message.to_owned(), None);
    None
}
