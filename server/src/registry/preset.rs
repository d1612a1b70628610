//! The row of a preset: a named group of models that serve one capability together.

use std::{collections::BTreeSet, time::Duration};

use mediary_domain::{Capability, MediaKind, TextParameters};
use mediary_store::Stamp;
use serde::{Deserialize, Serialize};

use super::Origin;

/// Models of one preset, at most.
pub const MOST_MEMBERS: usize = 8;

/// A preset, as the built-in catalog, `presets.toml` of the catalog folder or the store has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresetRow {
    pub id: String,
    #[serde(default)]
    pub display_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What every member can do.
    pub capability: Capability,
    pub strategy: Strategy,
    pub members: Vec<MemberRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<EnsembleRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveRow>,
    /// The highest of a capability answers for target `auto`; one below 0 never does.
    #[serde(default)]
    pub priority: i32,
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(skip)]
    pub origin: Origin,
    /// Whether a new server has one of this id.
    #[serde(skip)]
    pub built_in: bool,
    /// Set where the store has a row of it.
    #[serde(skip)]
    pub stamp: Option<Stamp>,
}

/// How members are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    Sequential,
    Weighted,
    Ensemble,
    Adaptive,
}

/// A model of a preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberRow {
    /// Its resource name; in files any name that leads to one model.
    pub model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Taken where a request sets none of its own.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub parameters: TextParameters,
    /// How long it may take.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// How an ensemble finds its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsembleRow {
    pub mode: EnsembleMode,
    /// Who judges; named like a member. Empty = nobody.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub judge_model: String,
    /// How many members must answer before the judge begins; `None` = all that do not fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<usize>,
    /// What the judge shall look for. Empty = the quality of the answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub criteria: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnsembleMode {
    /// The first good answer.
    First,
    /// The one that the judge chooses.
    Best,
    /// A new one that the judge writes from all.
    Merge,
}

/// How `Adaptive` weighs; `None` = the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exploration_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_weight: Option<f64>,
}

impl PresetRow {
    pub fn name(&self) -> String {
        format!("presets/{}", self.id)
    }

    /// Whether it names the model, as a member or as its judge, by whichever name.
    pub fn names(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        let judge = self.ensemble.as_ref().map(|one| one.judge_model.as_str());
        self.members.iter().map(|one| one.model.as_str()).chain(judge).any(is_meant)
    }

    /// What cannot be, whatever exists.
    pub fn problem(&self) -> Option<String> {
        let members = self.members.len();
        if members == 0 || members > MOST_MEMBERS {
            return Some(format!("it must have 1 to {MOST_MEMBERS} members"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.members.iter().find(|one| !seen.insert(&one.model)) {
            return Some(format!("{} stands among its members twice", twice.model));
        }
        if self.members.iter().any(|one| !one.weight.is_none_or(is_weight)) {
            return Some("a weight must be above 0".to_owned());
        }
        if self.members.iter().any(|one| one.timeout.is_some_and(|limit| limit.is_zero())) {
            return Some("a timeout must be above 0".to_owned());
        }
        if let Some(problem) = self.adaptive.as_ref().and_then(AdaptiveRow::problem) {
            return Some(problem.to_owned());
        }
        if self.adaptive.is_some() && self.strategy != Strategy::Adaptive {
            return Some("adaptive is for the strategy adaptive".to_owned());
        }
        match (&self.ensemble, self.strategy) {
            (Some(ensemble), Strategy::Ensemble) => ensemble.problem(members, self.capability),
            (None, Strategy::Ensemble) => Some("an ensemble needs its settings".to_owned()),
            (Some(_), _) => Some("ensemble is for the strategy ensemble".to_owned()),
            (None, _) => None,
        }
    }
}

impl EnsembleRow {
    fn problem(&self, members: usize, capability: Capability) -> Option<String> {
        if capability.outputs() == [MediaKind::Vector] {
            return Some("vectors cannot be compared by an ensemble".to_owned());
        }
        if self.mode != EnsembleMode::First && self.judge_model.is_empty() {
            return Some("a judge_model is needed".to_owned());
        }
        if self.mode == EnsembleMode::Merge && capability.outputs() != [MediaKind::Text] {
            return Some("only text can be merged".to_owned());
        }
        let fits = self.quorum.is_none_or(|quorum| (1..=members).contains(&quorum));
        (!fits).then(|| "quorum must lie between 1 and the number of members".to_owned())
    }
}

impl AdaptiveRow {
    /// What cannot be.
    pub fn problem(&self) -> Option<&'static str> {
        if self.exploration_share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Some("exploration_share must lie between 0 and 1");
        }
        let (success, latency, cost) = self.weights();
        if [success, latency, cost].iter().any(|one| !one.is_finite() || *one < 0.0) {
            return Some("a weight must be at least 0");
        }
        (success + latency + cost <= 0.0).then_some("one weight at least must be above 0")
    }

    /// Part of calls that try something else.
    pub fn exploration(&self) -> f64 {
        self.exploration_share.unwrap_or(0.05)
    }

    /// Of success, of low latency, of low cost.
    pub fn weights(&self) -> (f64, f64, f64) {
        let latency = self.latency_weight.unwrap_or(0.2);
        (self.success_weight.unwrap_or(1.0), latency, self.cost_weight.unwrap_or(0.2))
    }
}

pub fn is_weight(weight: f64) -> bool {
    weight.is_finite() && weight > 0.0
}

fn yes() -> bool {
    true
}

fn is_unset(parameters: &TextParameters) -> bool {
    *parameters == TextParameters::default()
}
