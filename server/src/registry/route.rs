//! The row of a route: who serves a task.

use mediary_domain::{Capability, Target, TextParameters};
use mediary_store::Stamp;
use serde::{Deserialize, Serialize};

use super::Origin;

/// Who is asked after the target fails, at most.
pub const MOST_FALLBACKS: usize = 8;

/// A task, as `routes.toml` of the catalog folder, the environment or the store assigns it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRow {
    pub task: String,
    #[serde(default)]
    pub display_name: String,
    /// What the task needs.
    pub capability: Capability,
    /// A model, a preset or `auto`, never another route.
    pub target: Target,
    /// Asked in this order when the target fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Target>,
    /// Taken where a request sets none of its own.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub parameters: TextParameters,
    /// Most that a call may be expected to cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost_pico_usd: Option<i64>,
    #[serde(skip)]
    pub origin: Origin,
    /// Set where the store has a row of it.
    #[serde(skip)]
    pub stamp: Option<Stamp>,
}

impl RouteRow {
    pub fn name(&self) -> String {
        format!("routes/{}", self.task)
    }

    /// All that it names, in the order in which they are asked.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.target).chain(&self.fallbacks)
    }

    /// Whether it names the model, by whichever name.
    pub fn names(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        self.targets().any(|target| matches!(target, Target::Model(name) if is_meant(name)))
    }

    /// What cannot be, whatever exists.
    pub fn problem(&self) -> Option<String> {
        if self.targets().any(|target| matches!(target, Target::Route(_))) {
            return Some("a route cannot name another route".to_owned());
        }
        if self.fallbacks.len() > MOST_FALLBACKS {
            return Some(format!("it has more than {MOST_FALLBACKS} fallbacks"));
        }
        self.max_cost_pico_usd
            .is_some_and(|most| most < 0)
            .then(|| "max_cost_pico_usd cannot be negative".to_owned())
    }
}

fn is_unset(parameters: &TextParameters) -> bool {
    *parameters == TextParameters::default()
}
