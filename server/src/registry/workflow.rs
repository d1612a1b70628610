//! The row of a workflow: a stored plan of several steps.

use std::time::Duration;

use mediary_domain::{MediaKind, Target};
use mediary_store::Stamp;
use serde::{Deserialize, Serialize};

use super::preset::AdaptiveRow;

/// A workflow, as the store has it. Its templates and conditions are checked where it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowRow {
    pub id: String,
    pub display_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub kind: WorkflowKind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterRow>,
    pub steps: Vec<StepRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveRow>,
    #[serde(skip)]
    pub stamp: Stamp,
}

/// How a step's candidates are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowKind {
    Simple,
    Adaptive,
}

/// What a run must be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterRow {
    pub key: String,
    pub kind: MediaKind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default)]
    pub required: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub default_text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRow {
    pub id: String,
    pub display_name: String,
    pub input_template_json: String,
    /// `None` = the default of the capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub condition: String,
    #[serde(default)]
    pub on_failure: OnFailure,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub for_each: String,
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// What follows when a step fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    #[default]
    Stop,
    Skip,
    Continue,
}

impl WorkflowRow {
    pub fn name(&self) -> String {
        format!("workflows/{}", self.id)
    }

    /// All that its steps name, each with its step.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.steps.iter().filter_map(|step| step.target.as_ref())
    }
}
