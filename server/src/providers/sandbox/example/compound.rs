//! Objects and arrays that fit their keywords, and the type to make where a schema leaves it open.

use serde_json::{Map, Value};

use super::{
    super::schema::{Object, both, types},
    LONGEST, Maker, size,
};

impl Maker<'_> {
    /// The type that is made: one of those named, else the one that the keywords speak of.
    pub(super) fn kind<'s>(&self, schema: &'s Object) -> &'s str {
        if let Some(named) = schema.get("type") {
            let named = types(named);
            let solid: Vec<_> = named.iter().filter(|name| **name != "null").collect();
            return solid.get(self.round % solid.len().max(1)).map_or("null", |name| name);
        }
        let has = |keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
        match () {
            () if has(&["properties", "required", "additionalProperties", "minProperties"]) => {
                "object"
            }
            () if has(&["items", "prefixItems", "minItems", "contains"]) => "array",
            () if has(&[
                "minimum",
                "maximum",
                "exclusiveMinimum",
                "exclusiveMaximum",
                "multipleOf",
            ]) =>
            {
                "number"
            }
            () => "string",
        }
    }

    pub(super) fn members(&mut self, schema: &Object) -> Option<Value> {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let required = schema.get("required").and_then(Value::as_array);
        let required: Vec<_> = required.into_iter().flatten().filter_map(Value::as_str).collect();
        let rest = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
        let most = size(schema, "maxProperties").unwrap_or(LONGEST);

        let mut members = Map::new();
        let mut optional = most.saturating_sub(required.len());
        for (name, schema) in properties {
            let must = required.contains(&name.as_str());
            if !must && optional == 0 {
                continue;
            }
            match self.any(schema) {
                Some(value) => drop(members.insert(name.clone(), value)),
                None if must => return None,
                None => continue,
            }
            optional -= usize::from(!must);
        }
        for name in required {
            if !members.contains_key(name) {
                members.insert(name.to_owned(), self.any(rest)?);
            }
        }
        // A map without named members shows what a member looks like.
        let shown = usize::from(properties.is_empty() && rest.is_object() && most > 0);
        let least = size(schema, "minProperties").unwrap_or(shown).min(LONGEST);
        let names = schema.get("propertyNames");
        for index in 0..least * 2 {
            if members.len() >= least {
                break;
            }
            let name = match names {
                Some(names) => self.any(names)?.as_str()?.to_owned(),
                None => format!("{}_{}", self.words.noun(), index + 1),
            };
            let Some(value) = self.any(rest) else { break };
            members.insert(name, value);
        }
        Some(Value::Object(members))
    }

    pub(super) fn items(&mut self, schema: &Object) -> Option<Value> {
        let first = schema.get("prefixItems").and_then(Value::as_array);
        let first = first.map_or(&[][..], Vec::as_slice);
        let (rest, contained) = (schema.get("items"), schema.get("contains"));
        let most = size(schema, "maxItems").unwrap_or(LONGEST);
        let least = size(schema, "minItems").unwrap_or(0);
        let wanted = least.max(first.len()).max(usize::from(rest.is_some())).min(most);
        let is_unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let holds = size(schema, "minContains").unwrap_or(1);

        let mut items = Vec::new();
        let wanted = wanted.max(if contained.is_some() { first.len() + holds } else { 0 });
        if wanted > LONGEST {
            return None;
        }
        for index in 0..wanted {
            let schema = first.get(index).or(rest).unwrap_or(&Value::Bool(true));
            let item = match contained {
                Some(contained) if (first.len()..first.len() + holds).contains(&index) => {
                    let both = both(self.root, &Map::new(), schema)
                        .and_then(|schema| both(self.root, &schema, contained))?;
                    self.any(&Value::Object(both))
                }
                _ => self.any(schema),
            };
            let Some(mut item) = item else { break };
            for _ in 0..32 {
                if !is_unique || !items.contains(&item) {
                    break;
                }
                item = self.any(schema)?;
            }
            items.push(item);
        }
        (items.len() >= least).then_some(Value::Array(items))
    }
}
