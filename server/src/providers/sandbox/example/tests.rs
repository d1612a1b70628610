#[cfg(test)]
use super::*;

fn made(schema: &str, seed: u64) -> Result<Value> {
    any("schema", schema, &mut Words::new(seed, "test"))
}

#[test]
fn every_value_fits_its_schema_and_comes_again() {
    let schemas = [
        "true",
        "{}",
        r#"{"type": "object", "properties": {"city": {"type": "string", "minLength": 30,
            "maxLength": 31}, "days": {"type": "integer", "minimum": 3, "maximum": 4}, "open":
            {"type": "boolean"}}, "required": ["city", "days"], "additionalProperties": false}"#,
        r#"{"enum": ["celsius", "kelvin", null, 7]}"#,
        r#"{"const": {"a": [1, 2]}}"#,
        r#"{"type": "string", "default": "tea", "examples": ["coffee"]}"#,
        r#"{"type": "string", "default": "too long", "maxLength": 3}"#,
        r#"{"type": "object", "properties": {"date": {"type": "string", "format": "date"}, "at":
            {"type": "string", "format": "date-time"}, "t": {"type": "string", "format": "time"},
            "site": {"type": "string", "format": "uri"}, "mail": {"type": "string", "format":
            "email"}, "id": {"type": "string", "format": "uuid"}, "v4": {"type": "string",
            "format": "ipv4"}, "v6": {"type": "string", "format": "ipv6"}, "long": {"type":
            "string", "format": "duration"}, "host": {"type": "string", "format": "hostname"}}}"#,
        r##"{"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"name":
            {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["name", "children", "next"]}}}"##,
        r#"{"anyOf": [{"type": "string", "maxLength": 2}, {"type": "integer"}]}"#,
        r#"{"oneOf": [{"type": "number", "multipleOf": 5}, {"type": "number", "multipleOf": 3}]}"#,
        r##"{"allOf": [{"$ref": "#/definitions/base"}, {"properties": {"age": {"minimum": 18,
            "type": "integer"}}, "required": ["age"]}], "definitions": {"base": {"type": "object",
            "properties": {"age": {"type": "number", "maximum": 18.5}}}}}"##,
        r#"{"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 6},
            "minItems": 6, "uniqueItems": true}"#,
        r#"{"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}], "items": false}"#,
        r#"{"type": "array", "items": {"type": "integer"}, "contains": {"minimum": 500},
            "minContains": 2}"#,
        r#"{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001}"#,
        r#"{"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.1}"#,
        r#"{"type": "integer", "exclusiveMaximum": -10, "multipleOf": 7}"#,
        r#"{"type": "integer", "minimum": 4503599627370496, "maximum": 4503599627370499}"#,
        r#"{"type": ["null", "string"], "pattern": "^[A-Z]{3}-\\d{2,4}(alpha|beta)?$"}"#,
        r#"{"type": "string", "pattern": "^(?:[a-z0-9_]+\\.)+[^a-z ]x*$", "minLength": 12}"#,
        r#"{"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3,
            "propertyNames": {"pattern": "^k[0-9]{5}$"}}"#,
        r#"{"type": "object", "required": ["a", "b"], "maxProperties": 2, "properties": {"c":
            {"type": "string"}}, "additionalProperties": {"type": "boolean"}}"#,
        r#"{"type": "object", "properties": {"kind": {"enum": ["card", "cash"]}}, "required":
            ["kind"], "if": {"properties": {"kind": {"const": "card"}}}, "then": {"properties":
            {"number": {"type": "string", "pattern": "^\\d{16}$"}}, "required": ["number"]},
            "else": {"required": ["coins"]}}"#,
        r#"{"properties": {"never": false, "always": true}}"#,
    ];
    for schema in schemas {
        let parsed: Value = serde_json::from_str(schema).unwrap();
        let validator = jsonschema::options().should_validate_formats(true).build(&parsed).unwrap();
        for seed in 0..50 {
            let value = made(schema, seed).unwrap_or_else(|error| panic!("{schema}: {error}"));
            assert!(validator.is_valid(&value), "{schema}: {value}");
            assert_eq!(value, made(schema, seed).unwrap());
        }
    }
}

#[test]
fn members_keep_the_order_of_the_schema_and_optional_ones_are_there() {
    let schema = r#"{"type": "object", "properties": {"z": {"const": 1}, "a": {"default": "x"}}}"#;
    assert_eq!(made(schema, 1).unwrap().to_string(), r#"{"z":1,"a":"x"}"#);
}

#[test]
fn what_nothing_fits_is_refused_and_says_where() {
    for (schema, words) in [
        ("{", "it is not JSON:"),
        (r#"{"type": "strong"}"#, "it is not a JSON Schema:"),
        (r#"{"$ref": "https://example.com/other.json"}"#, "it is not a JSON Schema:"),
        ("false", "the sandbox finds no value for it"),
        (r#"{"type": "integer", "minimum": 2, "maximum": 1}"#, "the sandbox finds no value"),
        (r#"{"type": "string", "pattern": "^(?=b)a"}"#, "the sandbox finds no value for it"),
        (
            r#"{"type": "string", "not": {"type": "string"}}"#,
            "the sandbox finds no value for it because of /not",
        ),
        (
            r##"{"properties": {"a": {"$ref": "#"}}, "required": ["a"]}"##,
            "the sandbox finds no value",
        ),
    ] {
        let error = made(schema, 1).unwrap_err();
        assert_eq!(error.kind(), Kind::SchemaInvalid);
        let [violation] = error.violations() else { panic!("{error}") };
        assert!(violation.description.starts_with(words), "{schema}: {}", violation.description);
    }
}

#[test]
fn a_schema_that_explodes_is_given_up() {
    let level = |n: usize| {
        let next = n + 1;
        let member = format!(r##"{{"$ref": "#/$defs/d{next}"}}"##);
        format!(
            r#""d{n}": {{"type": "object", "required": ["a", "b", "c"], "properties": {{"a": {member}, "b": {member}, "c": {member}}}}}"#
        )
    };
    let defs: Vec<_> = (0..30).map(level).chain([r#""d30": {"const": 0}"#.to_owned()]).collect();
    let schema = format!(r##"{{"$ref": "#/$defs/d0", "$defs": {{{}}}}}"##, defs.join(","));
    assert!(made(&schema, 1).is_err());
    for schema in [
        r#"{"type": "array", "items": {"type": "array", "items": {}, "minItems": 200}, "minItems": 200}"#,
        r#"{"type": "string", "minLength": 1000000000}"#,
        r#"{"type": "string", "pattern": "^((a{4000}){4000}){4000}$"}"#,
        r#"{"type": "array", "minItems": 1000000000}"#,
    ] {
        assert!(made(schema, 1).is_err(), "{schema}");
    }
}

#[test]
fn a_schema_that_is_made_of_itself_does_no_harm() {
    for schema in [
        r##"{"$ref": "#"}"##,
        r##"{"allOf": [{"$ref": "#"}]}"##,
        r##"{"anyOf": [{"$ref": "#"}, {"type": "string"}]}"##,
        r##"{"oneOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#"}]}}}"##,
        r##"{"if": {"$ref": "#"}, "then": {"$ref": "#"}}"##,
        r##"{"$dynamicRef": "#x", "$dynamicAnchor": "x", "allOf": [{"$dynamicRef": "#x"}]}"##,
        r##"{"properties": {"a": {"dependentSchemas": {"b": {"$ref": "#/properties/a"}}}}}"##,
    ] {
        drop(made(schema, 1));
    }
}
