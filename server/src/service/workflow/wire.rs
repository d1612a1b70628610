//! How a workflow looks, and what an operator may make of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mediary_domain::{Error, MediaKind, Result, Target};
use mediary_proto::{
    admin::{
        StepFailurePolicy, Workflow, WorkflowKind as WireKind, WorkflowParameter, WorkflowStep,
    },
    v1::{ModelTarget, model_target::Target as WireTarget},
};
use mediary_store::Stamp;

use super::template::{self, Reference};
use crate::{
    registry::{OnFailure, ParameterRow, Snapshot, StepRow, WorkflowKind, WorkflowRow},
    service::{
        decide::{self, check_readable},
        listing::{Field, FieldKind, Listing, Row as Listed, Value},
        names,
        preset::wire::{adaptive, adaptive_view, model},
        problems::Problems,
        route::wire::target_view,
    },
};

pub const COLLECTION: &str = "workflows";
/// Fields that a change never sets.
pub const NOT_SET: &[&str] =
    &["name", "statistics", "built_in", "create_time", "update_time", "etag"];

const LONGEST_NAME: usize = 128;
const LONGEST_TEXT: usize = 1_024;
const MOST_STEPS: usize = 32;
const MOST_PARAMETERS: usize = 64;
const LONGEST_TEMPLATE: usize = 64 * 1024;
/// Fields of the `input` of a job.
const INPUTS: [&str; 12] = [
    "text",
    "image",
    "video",
    "avatar",
    "speech",
    "cloned_speech",
    "voice",
    "transcription",
    "document",
    "workflow",
    "audio",
    "composition",
];

pub const WORKFLOWS: Listing = Listing {
    rpc: "mediary.admin.v1.WorkflowService.ListWorkflows",
    filter: &[
        Field::new("name", FieldKind::Text),
        Field::new("display_name", FieldKind::Text),
        Field::new(
            "kind",
            FieldKind::Word { prefix: "WORKFLOW_KIND_", words: &["SIMPLE", "ADAPTIVE"] },
        ),
    ],
    order: &["name", "display_name", "create_time"],
    usual_order: "name",
};

/// A workflow with its name, for lists.
pub struct View<'a> {
    pub row: &'a WorkflowRow,
    name: String,
}

impl<'a> View<'a> {
    pub fn new(row: &'a WorkflowRow) -> Self {
        Self { name: row.name(), row }
    }
}

impl Listed for View<'_> {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        match field {
            "name" => self.name.as_str().into(),
            "display_name" => self.row.display_name.as_str().into(),
            "kind" => match self.row.kind {
                WorkflowKind::Simple => "SIMPLE".into(),
                WorkflowKind::Adaptive => "ADAPTIVE".into(),
            },
            "create_time" => Value::Time(self.row.stamp.create_time),
            _ => Value::Missing,
        }
    }
}

pub fn missing(name: &str) -> Error {
    Error::not_found("mediary.admin.v1.Workflow", name)
}

pub fn view(row: &WorkflowRow) -> Workflow {
    let stamp = Some(row.stamp).filter(|stamp| *stamp != Stamp::default());
    Workflow {
        name: row.name(),
        display_name: row.display_name.clone(),
        description: row.description.clone(),
        kind: match row.kind {
            WorkflowKind::Simple => WireKind::Simple,
            WorkflowKind::Adaptive => WireKind::Adaptive,
        }
        .into(),
        parameters: row.parameters.iter().map(parameter_view).collect(),
        steps: row.steps.iter().map(step_view).collect(),
        adaptive: row.adaptive.as_ref().map(adaptive_view),
        statistics: None,
        built_in: false,
        create_time: stamp.map(|stamp| stamp.create_time.into()),
        update_time: stamp.map(|stamp| stamp.update_time.into()),
        etag: decide::etag(&row.stamp),
    }
}

fn parameter_view(row: &ParameterRow) -> WorkflowParameter {
    WorkflowParameter {
        key: row.key.clone(),
        kind: row.kind.as_str().to_owned(),
        description: row.description.clone(),
        required: row.required,
        default_text: row.default_text.clone(),
    }
}

fn step_view(row: &StepRow) -> WorkflowStep {
    WorkflowStep {
        id: row.id.clone(),
        display_name: row.display_name.clone(),
        input_template_json: row.input_template_json.clone(),
        target: row.target.as_ref().map(target_view),
        depends_on: row.depends_on.clone(),
        condition: row.condition.clone(),
        on_failure: match row.on_failure {
            OnFailure::Stop => StepFailurePolicy::Stop,
            OnFailure::Skip => StepFailurePolicy::Skip,
            OnFailure::Continue => StepFailurePolicy::Continue,
        }
        .into(),
        for_each: row.for_each.clone(),
        timeout: row.timeout.and_then(|limit| limit.try_into().ok()),
    }
}

/// The row that the contract's workflow describes. Everything that is wrong is said at once.
pub fn parse(id: &str, wire: Workflow, snapshot: &Snapshot) -> Result<WorkflowRow> {
    let mut problems = Problems::default();
    check_readable("workflow.display_name", &wire.display_name, LONGEST_NAME, &mut problems);
    check_readable("workflow.description", &wire.description, LONGEST_TEXT, &mut problems);
    let kind = match wire.kind() {
        WireKind::Simple => Some(WorkflowKind::Simple),
        WireKind::Adaptive => Some(WorkflowKind::Adaptive),
        WireKind::Unspecified => {
            problems.field("workflow.kind", "must be SIMPLE or ADAPTIVE");
            None
        }
    };
    let adaptive = wire.adaptive.map(|one| adaptive(one, "workflow.adaptive", &mut problems));
    if adaptive.is_some() && kind == Some(WorkflowKind::Simple) {
        problems.field("workflow.adaptive", "is for ADAPTIVE only: leave it unset");
    }
    let parameters = parameters(wire.parameters, &mut problems);
    if wire.steps.is_empty() || wire.steps.len() > MOST_STEPS {
        problems.field("workflow.steps", format!("holds 1 to {MOST_STEPS} steps"));
    }
    let steps = steps(wire.steps, &parameters, snapshot, &mut problems);
    problems.result(())?;
    let Some(kind) = kind else {
        return Err(Error::bug("a workflow that is wrong in nothing lacks its kind"));
    };
    Ok(WorkflowRow {
        id: id.to_owned(),
        display_name: match wire.display_name.as_str() {
            "" => id.to_owned(),
            name => name.to_owned(),
        },
        description: wire.description,
        kind,
        parameters,
        steps,
        adaptive,
        stamp: Stamp::default(),
    })
}

fn parameters(wire: Vec<WorkflowParameter>, problems: &mut Problems) -> Vec<ParameterRow> {
    if wire.len() > MOST_PARAMETERS {
        problems.field("workflow.parameters", format!("holds at most {MOST_PARAMETERS}"));
    }
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for (at, one) in wire.into_iter().enumerate() {
        let field = format!("workflow.parameters[{at}]");
        let is_key = one.key.len() <= 63
            && one.key.starts_with(|c: char| c.is_ascii_lowercase())
            && one.key.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if !is_key {
            let problem = "must be a lower-case letter followed by up to 62 lower-case letters, \
                           digits and underscores";
            problems.field(format!("{field}.key"), problem);
        } else if !seen.insert(one.key.clone()) {
            problems.field(format!("{field}.key"), "stands there twice");
        }
        let kind = match one.kind.as_str() {
            "" | "text" => MediaKind::Text,
            "image" => MediaKind::Image,
            "audio" => MediaKind::Audio,
            "video" => MediaKind::Video,
            "document" => MediaKind::Document,
            _ => {
                let problem = "must be text, image, audio, video or document";
                problems.field(format!("{field}.kind"), problem);
                MediaKind::Text
            }
        };
        if kind != MediaKind::Text && !one.default_text.is_empty() {
            problems.field(format!("{field}.default_text"), "is for text only: leave it empty");
        }
        if one.default_text.len() > LONGEST_TEMPLATE {
            let problem = format!("must have at most {LONGEST_TEMPLATE} bytes");
            problems.field(format!("{field}.default_text"), problem);
        }
        let described = format!("{field}.description");
        check_readable(&described, &one.description, LONGEST_TEXT, problems);
        rows.push(ParameterRow {
            key: one.key,
            kind,
            description: one.description,
            required: one.required,
            default_text: one.default_text,
        });
    }
    rows
}

fn steps(
    wire: Vec<WorkflowStep>,
    parameters: &[ParameterRow],
    snapshot: &Snapshot,
    problems: &mut Problems,
) -> Vec<StepRow> {
    let ids: Vec<String> = wire.iter().map(|step| step.id.clone()).collect();
    let keys: BTreeSet<&str> = parameters.iter().map(|one| one.key.as_str()).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut rows = Vec::new();
    for (at, one) in wire.into_iter().enumerate() {
        let field = format!("workflow.steps[{at}]");
        if !names::is_id(&one.id) {
            let problem = "must be a lower-case letter followed by up to 62 lower-case letters, \
                           digits and dashes, not ending in a dash";
            problems.field(format!("{field}.id"), problem);
        } else if ids[..at].contains(&one.id) {
            problems.field(format!("{field}.id"), "is the id of an earlier step");
        }
        let named = format!("{field}.display_name");
        check_readable(&named, &one.display_name, LONGEST_NAME, problems);
        let on_failure = match StepFailurePolicy::try_from(one.on_failure) {
            Ok(StepFailurePolicy::Unspecified | StepFailurePolicy::Stop) => OnFailure::Stop,
            Ok(StepFailurePolicy::Skip) => OnFailure::Skip,
            Ok(StepFailurePolicy::Continue) => OnFailure::Continue,
            Err(_) => {
                problems.field(format!("{field}.on_failure"), "must be STOP, SKIP or CONTINUE");
                OnFailure::Stop
            }
        };
        let timeout = one.timeout.map(Duration::try_from);
        if timeout.as_ref().is_some_and(|limit| !matches!(limit, Ok(limit) if !limit.is_zero())) {
            problems.field(format!("{field}.timeout"), "must be longer than 0");
        }
        check_input(&field, &one.input_template_json, problems);
        let after = edges.entry(one.id.clone()).or_default();
        for (place, text) in [
            ("input_template_json", &one.input_template_json),
            ("for_each", &one.for_each),
            ("condition", &one.condition),
        ] {
            let place_of = format!("{field}.{place}");
            let found = match place {
                "condition" if text.is_empty() => Ok(Vec::new()),
                "condition" => template::condition(text),
                _ => template::references(text),
            };
            let may_name_item = place == "input_template_json" && !one.for_each.is_empty();
            match found {
                Err(problem) => problems.field(place_of, problem),
                Ok(found) => {
                    for reference in found {
                        match reference {
                            Reference::Argument(key) if !keys.contains(key.as_str()) => {
                                let problem = format!("{key} is no parameter of the workflow");
                                problems.field(place_of.as_str(), problem);
                            }
                            Reference::Step(id) if !ids.contains(&id) => {
                                let problem = format!("{id} is no step of the workflow");
                                problems.field(place_of.as_str(), problem);
                            }
                            Reference::Item if !may_name_item => {
                                let problem = "item is for the template of a step with for_each";
                                problems.field(place_of.as_str(), problem);
                            }
                            Reference::Step(id) => {
                                after.insert(id);
                            }
                            Reference::Argument(_) | Reference::Item => {}
                        }
                    }
                }
            }
        }
        for (n, id) in one.depends_on.iter().enumerate() {
            let place = format!("{field}.depends_on[{n}]");
            if !ids.contains(id) {
                problems.field(place, format!("{id:?} is no step of the workflow"));
            } else if one.depends_on[..n].contains(id) {
                problems.field(place, "stands there twice");
            } else {
                after.insert(id.clone());
            }
        }
        let target = one.target.filter(|target| *target != ModelTarget::default());
        let target = target.and_then(|one| parse_target(&field, one, snapshot, problems));
        rows.push(StepRow {
            display_name: match one.display_name.as_str() {
                "" => one.id.clone(),
                name => name.to_owned(),
            },
            id: one.id,
            input_template_json: one.input_template_json,
            target,
            depends_on: one.depends_on,
            condition: one.condition,
            on_failure,
            for_each: one.for_each,
            timeout: timeout.and_then(Result::ok),
        });
    }
    let circle = circle(edges);
    if !circle.is_empty() {
        let circle: Vec<String> = circle.into_iter().collect();
        let problem = format!("these wait for each other: {}", circle.join(", "));
        problems.field("workflow.steps", problem);
    }
    rows
}

/// A template is JSON as it stands: what is put in for `{{...}}` stands within its texts.
fn check_input(field: &str, template: &str, problems: &mut Problems) {
    let field = format!("{field}.input_template_json");
    if template.is_empty() {
        return problems.field(field, "is required: the input of a job as JSON object text");
    }
    if template.len() > LONGEST_TEMPLATE {
        return problems.field(field, format!("must have at most {LONGEST_TEMPLATE} bytes"));
    }
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(template) {
        Err(error) => problems.field(field, format!("is not a JSON object: {error}")),
        Ok(input) => {
            let names: Vec<&str> = input.keys().map(String::as_str).collect();
            if !matches!(names[..], [only] if INPUTS.contains(&only)) {
                let known = INPUTS.join(", ");
                problems.field(field, format!("must have exactly one key, one of {known}"));
            }
        }
    }
}

fn parse_target(
    field: &str,
    wire: ModelTarget,
    snapshot: &Snapshot,
    problems: &mut Problems,
) -> Option<Target> {
    let field = format!("{field}.target");
    if wire.fallback.is_some() {
        let problem = "is not kept with a step: name a preset or a route instead";
        problems.field(format!("{field}.fallback"), problem);
    }
    if !wire.account.is_empty() {
        let problem = "this server chooses the account: leave it empty";
        problems.field(format!("{field}.account"), problem);
    }
    match wire.target? {
        WireTarget::Model(name) => {
            model(&format!("{field}.model"), &name, None, snapshot, problems).map(Target::Model)
        }
        WireTarget::Preset(name) => match snapshot.preset(&name) {
            Ok(preset) => Some(Target::Preset(preset.name())),
            Err(error) => {
                problems.field(format!("{field}.preset"), error.message().to_owned());
                None
            }
        },
        WireTarget::Route(name) => {
            let task = name.strip_prefix("routes/").unwrap_or(&name);
            if snapshot.routes.contains_key(task) {
                return Some(Target::Route(format!("routes/{task}")));
            }
            problems.field(format!("{field}.route"), format!("routes/{task} does not exist"));
            None
        }
        WireTarget::Auto(_) => Some(Target::Auto),
    }
}

/// The steps that wait for each other, and those that wait for them.
fn circle(mut edges: BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    loop {
        let free: BTreeSet<String> = edges
            .iter()
            .filter(|(_, after)| !after.iter().any(|one| edges.contains_key(one)))
            .map(|(id, _)| id.clone())
            .collect();
        if free.is_empty() {
            return edges.into_keys().collect();
        }
        edges.retain(|id, _| !free.contains(id));
    }
}
