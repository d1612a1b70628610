//! A value that fits a JSON Schema.
//!
//! Owns: making a candidate from the keywords, several times where chance decides, and proving
//! the one that is answered with the validator. Leaves: combining schemas (`schema`), patterns
//! (`pattern`). No schema can make it work for long: values, depth and lengths are bounded.

mod compound;
mod scalar;
#[cfg(test)]
mod tests;

use mediary_domain::{Error, Kind, Result, Retry};
use serde_json::{Value, json};

use self::scalar::{number, string};
use super::{
    schema::{Object, both, has_type, resolve},
    words::Words,
};

/// Candidates that are tried; the first keeps to the examples and the order of the schema.
const ROUNDS: usize = 8;
/// Most values that are made for one answer, in all rounds.
const VALUES: usize = 4000;
const DEPTH: usize = 40;
/// Most items or members that a schema gets.
const LONGEST: usize = 256;

/// A value for the schema in `field` of the request.
pub(super) fn any(field: &str, schema_json: &str, words: &mut Words) -> Result<Value> {
    find(field, schema_json, words, |_| true)
}

/// A value that is an object, whether or not the schema demands it.
pub(super) fn object(field: &str, schema_json: &str, words: &mut Words) -> Result<Value> {
    find(field, schema_json, words, Value::is_object)
}

fn find(field: &str, json: &str, words: &mut Words, suits: fn(&Value) -> bool) -> Result<Value> {
    let schema: Value = serde_json::from_str(json)
        .map_err(|error| invalid(field, format!("it is not JSON: {error}")))?;
    let validator = jsonschema::options()
        .offline()
        .build(&schema)
        .map_err(|error| invalid(field, format!("it is not a JSON Schema: {}", error.masked())))?;
    let mut maker =
        Maker { root: &schema, words, left: VALUES, depth: 0, refs: Vec::new(), round: 0 };
    let mut unmet = None;
    while maker.round < ROUNDS {
        let value = maker.any(&schema).filter(suits).or_else(|| Some(json!({})).filter(suits));
        match value.as_ref().map(|value| validator.validate(value)) {
            Some(Ok(())) => return value.ok_or_else(|| Error::bug("a value was made and lost")),
            Some(Err(error)) => unmet = Some(error.schema_path().to_string()),
            None => {}
        }
        maker.round += 1;
    }
    let at = unmet.map(|path| format!(" because of {path}")).unwrap_or_default();
    Err(invalid(field, format!("the sandbox finds no value for it{at}"))
        .with_retry(Retry::Elsewhere))
}

fn invalid(field: &str, what: String) -> Error {
    Error::new(Kind::SchemaInvalid, "the sandbox cannot answer in this schema")
        .violation(field, what)
}

struct Maker<'a> {
    root: &'a Value,
    words: &'a mut Words,
    left: usize,
    depth: usize,
    /// References that are being followed: an example does not contain itself.
    refs: Vec<String>,
    round: usize,
}

impl Maker<'_> {
    fn any(&mut self, schema: &Value) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        if self.depth == DEPTH {
            return None;
        }
        match schema {
            Value::Bool(true) => Some(self.words.pair().into()),
            Value::Object(schema) => {
                self.depth += 1;
                let value = self.combined(schema);
                self.depth -= 1;
                value
            }
            _ => None,
        }
    }

    /// Takes one keyword that speaks of other schemas out of the way, until none is left.
    fn combined(&mut self, schema: &Object) -> Option<Value> {
        if let Some(value) = self.given(schema) {
            return Some(value);
        }
        let without = |keys: &[&str]| {
            let mut rest = schema.clone();
            rest.retain(|key, _| !keys.contains(&key.as_str()));
            rest
        };
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            return self.referred(reference, &without(&["$ref"]));
        }
        if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
            let mut whole = without(&["allOf"]);
            for one in all {
                whole = both(self.root, &whole, one)?;
            }
            return self.any(&Value::Object(whole));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(branches) = schema.get(key).and_then(Value::as_array) {
                let rest = without(&[key]);
                let start = if self.round == 0 { 0 } else { self.words.below(branches.len()) };
                return (0..branches.len()).find_map(|index| {
                    let branch = &branches[(start + index) % branches.len()];
                    let whole = both(self.root, &rest, branch)?;
                    self.any(&Value::Object(whole))
                });
            }
        }
        if let Some(condition) = schema.get("if") {
            let rest = without(&["if", "then", "else"]);
            let (is_met, next) = match self.round % 2 {
                0 => (condition, "then"),
                _ => (&Value::Bool(true), "else"),
            };
            let whole = both(self.root, &rest, is_met)?;
            let whole = both(self.root, &whole, schema.get(next).unwrap_or(&Value::Bool(true)))?;
            return self.any(&Value::Object(whole));
        }
        self.plain(schema)
    }

    fn referred(&mut self, reference: &str, rest: &Object) -> Option<Value> {
        if self.refs.iter().any(|one| one == reference) {
            return None;
        }
        let target = resolve(self.root, reference)?;
        self.refs.push(reference.to_owned());
        let value = match target {
            target if rest.is_empty() => self.any(target),
            target => {
                both(self.root, rest, target).and_then(|whole| self.any(&Value::Object(whole)))
            }
        };
        self.refs.pop();
        value
    }

    /// What the schema says itself: its constant, one of its choices, its default, its example.
    fn given(&mut self, schema: &Object) -> Option<Value> {
        if let Some(value) = schema.get("const") {
            return Some(value.clone());
        }
        if let Some(all) = schema.get("enum").and_then(Value::as_array) {
            let fitting: Vec<_> = all.iter().filter(|one| has_type(schema, one)).collect();
            return fitting.get(self.words.below(fitting.len())).map(|one| (*one).clone());
        }
        if self.round > 0 {
            return None;
        }
        let example = schema.get("examples").and_then(|all| all.get(0));
        let given = schema.get("default").or(example);
        given.filter(|value| has_type(schema, value)).cloned()
    }

    fn plain(&mut self, schema: &Object) -> Option<Value> {
        match self.kind(schema) {
            "null" => Some(Value::Null),
            "boolean" => Some((self.words.below(2) == 0).into()),
            "integer" => number(schema, true, self.words),
            "number" => number(schema, false, self.words),
            "object" => self.members(schema),
            "array" => self.items(schema),
            "string" => string(schema, self.words).map(Value::String),
            _ => None,
        }
    }
}

/// A keyword that counts.
fn size(schema: &Object, key: &str) -> Option<usize> {
    let number = schema.get(key)?;
    number
        .as_u64()
        .or_else(|| number.as_f64().map(|n| n as u64))
        .and_then(|n| usize::try_from(n).ok())
}
