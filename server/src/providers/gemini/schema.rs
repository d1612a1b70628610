//! Fits a JSON Schema to what Gemini keeps to.
//!
//! Gemini takes any JSON Schema and ignores the keywords that it does not enforce. A caller who
//! demands the schema hears of those instead. Source: Gemini API reference, `responseJsonSchema`.

use std::borrow::Cow;

use mediary_domain::{Error, Kind, Result};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::dialect::said::raw;

/// Keywords that restrict an answer and are not enforced.
const IGNORED: [&str; 24] = [
    "not",
    "allOf",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "unevaluatedItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "pattern",
    "minLength",
    "maxLength",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "$dynamicRef",
];

/// The schema as it is sent. `binds` = what Gemini does not enforce is refused.
pub fn fitted(json: &str, binds: bool) -> Result<Option<Cow<'_, RawValue>>> {
    let Some(written) = raw(json)? else { return Ok(None) };
    let unreadable = |_| Error::bug("unchecked JSON reached a wire");
    let mut schema: Value = serde_json::from_str(json).map_err(unreadable)?;
    let mut walk = Walk { ignored: Vec::new(), is_changed: false };
    walk.schema(&mut schema, "#");
    if binds && !walk.ignored.is_empty() {
        return Err(refusal(&walk.ignored));
    }
    if !walk.is_changed {
        return Ok(Some(Cow::Borrowed(written)));
    }
    to_raw_value(&schema).map(|raw| Some(Cow::Owned(raw))).map_err(unreadable)
}

fn refusal(ignored: &[String]) -> Error {
    let error =
        Error::new(Kind::UnsupportedParameter, "the model cannot guarantee the whole schema");
    ignored.iter().fold(error, |error, at| {
        error.violation(
            "parameters.response_format.json_schema.schema_json",
            format!("{at} is not enforced by the provider: leave it out, or set strict to false"),
        )
    })
}

struct Walk {
    /// Where keywords stand that are not enforced.
    ignored: Vec<String>,
    is_changed: bool,
}

impl Walk {
    fn schema(&mut self, schema: &mut Value, at: &str) {
        let Value::Object(schema) = schema else { return };
        for keyword in IGNORED.iter().filter(|keyword| schema.contains_key(**keyword)) {
            self.ignored.push(format!("{at}/{keyword}"));
        }
        self.constant(schema, at);
        for (keyword, value) in schema.iter_mut() {
            let at = format!("{at}/{keyword}");
            match (keyword.as_str(), value) {
                ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                    for (name, schema) in named.iter_mut() {
                        self.schema(schema, &format!("{at}/{name}"));
                    }
                }
                ("anyOf" | "oneOf" | "prefixItems", Value::Array(list)) => {
                    for (index, schema) in list.iter_mut().enumerate() {
                        self.schema(schema, &format!("{at}/{index}"));
                    }
                }
                ("items" | "additionalProperties", schema) => self.schema(schema, &at),
                _ => {}
            }
        }
    }

    /// `const` is not enforced; an `enum` of one string or number is, and says the same.
    fn constant(&mut self, schema: &mut Map<String, Value>, at: &str) {
        let Some(constant) = schema.get("const") else { return };
        if !(constant.is_string() || constant.is_number()) || schema.contains_key("enum") {
            return self.ignored.push(format!("{at}/const"));
        }
        self.is_changed = true;
        *schema = std::mem::take(schema)
            .into_iter()
            .map(|(keyword, value)| match keyword.as_str() {
                "const" => ("enum".to_owned(), Value::Array(vec![value])),
                _ => (keyword, value),
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_becomes_a_choice_of_one_and_the_order_stays() {
        let json = r#"{"type":"object","properties":{"kind":{"const":"cat"},"age":{"type":"integer","minimum":0}}}"#;
        let sent = fitted(json, true).unwrap().unwrap();
        assert_eq!(sent.get(), json.replace(r#""const":"cat""#, r#""enum":["cat"]"#));
        let plain = r#"{ "type": "string" }"#;
        assert_eq!(fitted(plain, true).unwrap().unwrap().get(), plain);
    }

    #[test]
    fn what_is_not_enforced_is_refused_where_the_schema_binds() {
        // A property that is called like a keyword is none.
        let json = r#"{"properties":{"pattern":{"type":"string","pattern":"^a"}},"not":{}}"#;
        assert!(fitted(json, false).unwrap().is_some());
        let error = fitted(json, true).unwrap_err();
        let told: Vec<_> = error.violations().iter().map(|one| one.description.as_str()).collect();
        assert_eq!(error.kind(), Kind::UnsupportedParameter);
        assert!(told[0].starts_with("#/not is not enforced"), "{told:?}");
        assert!(told[1].starts_with("#/properties/pattern/pattern is not"), "{told:?}");
    }
}
