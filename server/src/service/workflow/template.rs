//! What the templates and conditions of a step speak of.
//!
//! Owns: the little language of `{{...}}`. Leaves: what becomes of it in a run; nothing runs
//! workflows yet.

use crate::service::listing::{Field, FieldKind, Filter};

/// Something that stands in a template for what is only known in a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    Argument(String),
    Step(String),
    /// The item that a step runs for.
    Item,
}

const EXPECTED: &str =
    "must be arguments.KEY, steps.ID.text, steps.ID.asset, steps.ID.json.PATH or item";

/// What a condition may speak of.
const CONDITION: &[Field] =
    &[Field::new("arguments", FieldKind::Labels), Field::new("steps", FieldKind::Labels)];

/// Everything that stands between `{{` and `}}`.
pub fn references(template: &str) -> Result<Vec<Reference>, String> {
    let mut references = Vec::new();
    let mut rest = template;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((inner, after)) = after.split_once("}}") else {
            return Err("a {{ is not closed by }}".to_owned());
        };
        let words: Vec<&str> = inner.trim().split('.').collect();
        references.push(match words.as_slice() {
            ["item"] => Reference::Item,
            ["arguments", key] if !key.is_empty() => Reference::Argument((*key).to_owned()),
            ["steps", id, "text" | "asset" | "json"] => Reference::Step((*id).to_owned()),
            ["steps", id, "json", path @ ..] if path.iter().all(|one| !one.is_empty()) => {
                Reference::Step((*id).to_owned())
            }
            _ => {
                let shown: String = inner.trim().chars().take(60).collect();
                return Err(format!("{{{{{shown}}}}} {EXPECTED}"));
            }
        });
        rest = after;
    }
    Ok(references)
}

/// What a condition speaks of.
pub fn condition(text: &str) -> Result<Vec<Reference>, String> {
    let filter = Filter::parse(text, CONDITION).map_err(|error| {
        let violation = error.violations().first();
        violation.map_or_else(|| error.to_string(), |one| one.description.clone())
    })?;
    let mut references = Vec::new();
    of_filter(&filter, &mut references)?;
    Ok(references)
}

fn of_filter(filter: &Filter, references: &mut Vec<Reference>) -> Result<(), String> {
    match filter {
        Filter::All(parts) | Filter::Any(parts) => {
            parts.iter().try_for_each(|part| of_filter(part, references))
        }
        Filter::Not(part) => of_filter(part, references),
        Filter::Term(term) => {
            let key = term.key.clone().unwrap_or_default();
            references.push(match term.field {
                "arguments" => Reference::Argument(key),
                _ => match key.strip_suffix(".state") {
                    Some(id) => Reference::Step(id.to_owned()),
                    None => return Err(format!("steps.{key} must be steps.ID.state")),
                },
            });
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_braces_is_found() {
        let found = references(
            "a {{arguments.topic}} {{ steps.plan.json.slides }}{{steps.plan.text}} {{item}} }} {",
        );
        let step = || Reference::Step("plan".to_owned());
        let topic = Reference::Argument("topic".to_owned());
        assert_eq!(found, Ok(vec![topic, step(), step(), Reference::Item]));
        assert_eq!(references("no braces"), Ok(Vec::new()));
        for wrong in [
            "{{",
            "{{}}",
            "{{x}}",
            "{{arguments}}",
            "{{arguments.}}",
            "{{steps.a}}",
            "{{steps.a.video}}",
            "{{steps.a.json.}}",
            "{{item.x}}",
        ] {
            assert!(references(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_condition_speaks_of_arguments_and_of_how_steps_ended() {
        let found = condition("arguments.style = \"bold\" AND NOT steps.plan.state = FAILED");
        let style = Reference::Argument("style".to_owned());
        assert_eq!(found, Ok(vec![style, Reference::Step("plan".to_owned())]));
        for wrong in ["style = 1", "steps.plan = 1", "steps.plan.text = 1", "arguments.a ="] {
            assert!(condition(wrong).is_err(), "{wrong}");
        }
    }
}
