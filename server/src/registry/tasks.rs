//! Routes that variables assign: `MEDIARY_TASK_<TASK>_PROVIDER`, `_MODEL` and `_FALLBACK`, and for
//! four tasks the older `AI_<TASK>_...`.
//!
//! Owns: the names of the variables and what they say together. They name models as people do, so
//! what they mean is looked up among what exists.

use std::collections::{BTreeMap, BTreeSet};

use mediary_domain::{Capability, Target, TextParameters};

use super::{Lifecycle, ModelRow, Origin, RouteRow, Snapshot, files, route::MOST_FALLBACKS};
use crate::config::Environment;

const PREFIX: &str = "MEDIARY_TASK_";
const OLD_PREFIX: &str = "AI_";
/// Other software uses names that begin with `AI_` too.
const OLD_TASKS: [&str; 4] = ["AGENT", "IMAGE", "TEXT", "VIDEO_SLIDES"];
const PROVIDER: &str = "_PROVIDER";
const MODEL: &str = "_MODEL";
const FALLBACK: &str = "_FALLBACK";

/// What tasks of these names need; others take what their model does first.
const NEEDS: [(&str, Capability); 6] = [
    ("agent", Capability::TextToText),
    ("audio", Capability::TextToAudio),
    ("document", Capability::TextToDocument),
    ("image", Capability::TextToImage),
    ("text", Capability::TextToText),
    ("video", Capability::TextToVideo),
];

/// What the variables of one task say.
pub struct TaskVariables {
    pub task: String,
    /// Without what tells the three apart.
    variables: String,
    provider: String,
    model: String,
    fallbacks: Vec<String>,
    /// Nobody else uses such names: what is wrong stops the start.
    pub is_ours: bool,
}

impl TaskVariables {
    pub fn all(environment: &Environment) -> Vec<Self> {
        let mut tasks: BTreeMap<String, String> = BTreeMap::new();
        for word in OLD_TASKS {
            tasks.insert(task(word), format!("{OLD_PREFIX}{word}"));
        }
        let words: BTreeSet<&str> = environment
            .starting_with(PREFIX)
            .filter_map(|(name, _)| {
                let rest = name.strip_prefix(PREFIX)?;
                [PROVIDER, MODEL, FALLBACK].iter().find_map(|end| rest.strip_suffix(end))
            })
            .collect();
        for word in words {
            tasks.insert(task(word), format!("{PREFIX}{word}"));
        }
        let read = |(task, variables): (String, String)| {
            let value = |end: &str| environment.get(&format!("{variables}{end}"));
            let fallbacks = value(FALLBACK).unwrap_or_default().split(',').map(str::trim);
            let one = Self {
                provider: value(PROVIDER).unwrap_or_default().trim().to_owned(),
                model: value(MODEL).unwrap_or_default().trim().to_owned(),
                fallbacks: fallbacks.filter(|one| !one.is_empty()).map(str::to_owned).collect(),
                is_ours: variables.starts_with(PREFIX),
                task,
                variables,
            };
            let says_something =
                !one.provider.is_empty() || !one.model.is_empty() || !one.fallbacks.is_empty();
            says_something.then_some(one)
        };
        tasks.into_iter().filter_map(read).collect()
    }

    /// The route, or which variable is wrong and why.
    pub fn route(&self, snapshot: &Snapshot) -> Result<RouteRow, String> {
        let says = |end: &str, problem: String| format!("{}{end}: {problem}", self.variables);
        if !files::is_id(&self.task) {
            return Err(says("", format!("{:?} cannot be the name of a task", self.task)));
        }
        let need = NEEDS.iter().find(|(task, _)| *task == self.task).map(|(_, need)| *need);
        let first = match (self.provider.as_str(), self.model.as_str()) {
            ("", "") => {
                return Err(says(
                    FALLBACK,
                    format!("{0}{PROVIDER} or {0}{MODEL} must be set as well", self.variables),
                ));
            }
            ("", model) => by_any_name(snapshot, model).map_err(|problem| says(MODEL, problem))?,
            (provider, model) => {
                let id = provider.to_lowercase().replace('_', "-");
                if !snapshot.providers.contains_key(&id) {
                    return Err(says(PROVIDER, format!("there is no provider {provider:?}")));
                }
                let found = if model.is_empty() {
                    usual(snapshot, &id, need.unwrap_or(Capability::TextToText))
                } else {
                    of_provider(snapshot, &id, model)
                };
                found.map_err(|problem| says(MODEL, problem))?
            }
        };
        let capability = match need.or(first.capabilities.first().copied()) {
            Some(need) if first.capabilities.contains(&need) => need,
            Some(need) => {
                let problem = format!("{} does not do {}", first.name, need.as_str());
                return Err(says(MODEL, problem));
            }
            None => return Err(says(MODEL, format!("{} can do nothing", first.name))),
        };
        if self.fallbacks.len() > MOST_FALLBACKS {
            return Err(says(FALLBACK, format!("names more than {MOST_FALLBACKS} models")));
        }
        let mut fallbacks = Vec::new();
        for name in &self.fallbacks {
            let row = by_any_name(snapshot, name).map_err(|problem| says(FALLBACK, problem))?;
            fallbacks.push(Target::Model(row.name));
        }
        Ok(RouteRow {
            task: self.task.clone(),
            display_name: self.task.clone(),
            capability,
            target: Target::Model(first.name),
            fallbacks,
            parameters: TextParameters::default(),
            max_cost_pico_usd: None,
            origin: Origin::Environment,
            stamp: None,
        })
    }
}

fn task(word: &str) -> String {
    word.to_lowercase().replace('_', "-")
}

fn by_any_name(snapshot: &Snapshot, name: &str) -> Result<ModelRow, String> {
    match snapshot.model(name) {
        Ok(row) => Ok(ModelRow::clone(&row)),
        Err(error) => Err(match error.facts().get("didYouMean") {
            Some(near) => format!("there is no model {name:?}; did you mean {near}?"),
            None => error.to_string(),
        }),
    }
}

/// A model of that provider by its id, an alias or the provider's own id.
fn of_provider(snapshot: &Snapshot, provider: &str, named: &str) -> Result<ModelRow, String> {
    let mut own = snapshot.models.values().filter(|row| row.provider == provider);
    let found = own.find(|row| {
        row.id == named
            || row.provider_model_id == named
            || row.aliases.iter().any(|alias| alias == named)
    });
    match found {
        Some(row) => by_any_name(snapshot, &row.name),
        None => by_any_name(snapshot, &format!("providers/{provider}/models/{named}"))
            .map_err(|_| format!("{provider} has no model {named:?}")),
    }
}

/// The model that a provider is asked for where none is named.
fn usual(snapshot: &Snapshot, provider: &str, need: Capability) -> Result<ModelRow, String> {
    let own = || {
        snapshot.models.values().filter(|row| {
            row.provider == provider
                && row.enabled
                && row.lifecycle == Lifecycle::Active
                && row.capabilities.contains(&need)
        })
    };
    let default = own().find(|row| row.is_default_for(need)).or_else(|| match own().count() {
        1 => own().next(),
        _ => None,
    });
    default.map(|row| ModelRow::clone(row)).ok_or_else(|| {
        format!("{provider} has no model that is taken for {} by itself: name one", need.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Vec<TaskVariables> {
        TaskVariables::all(&variables.iter().copied().collect())
    }

    #[test]
    fn our_names_win_over_the_older_ones_of_the_same_task() {
        let tasks = of(&[
            ("AI_VIDEO_SLIDES_MODEL", "old"),
            ("AI_TEXT_MODEL", "kept"),
            ("AI_LYRICS_MODEL", "not one of the four"),
            ("MEDIARY_TASK_VIDEO_SLIDES_MODEL", "new"),
            ("MEDIARY_TASK_VIDEO_SLIDES_FALLBACK", " a, b ,,"),
            ("MEDIARY_TASK_LYRICS_PROVIDER", "sandbox"),
            ("MEDIARY_TASK_TEXT_COLOUR", "none of ours"),
            ("MEDIARY__LISTEN__ADDRESS", "x"),
        ]);
        let told: Vec<_> =
            tasks.iter().map(|one| (one.task.as_str(), one.model.as_str(), one.is_ours)).collect();
        assert_eq!(
            told,
            [("lyrics", "", true), ("text", "kept", false), ("video-slides", "new", true)]
        );
        assert_eq!(tasks[2].fallbacks, ["a", "b"]);
    }
}
