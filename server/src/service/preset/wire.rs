//! How a preset looks, and what an operator may make of it.

use std::{collections::HashSet, time::Duration};

use mediary_domain::{Capability, Error, MediaKind, Result, TextParameters};
use mediary_proto::{
    admin::{
        AdaptiveSettings, CallStatistics, EnsembleMode as WireMode, EnsembleSettings, LearnedState,
        Preset, PresetMember, PresetStrategy, TargetParameters,
    },
    v1::MediaParameters,
};
use mediary_store::Stamp;

use crate::{
    registry::{
        AdaptiveRow, EnsembleMode, EnsembleRow, MOST_MEMBERS, MemberRow, Origin, PresetRow,
        Snapshot, Strategy, is_weight,
    },
    routing::{Learned, Statistics},
    service::{
        decide::{self, check_readable},
        listing::{Field, FieldKind, Listing, Row as Listed, Value},
        problems::Problems,
        route::parameters,
        text::parse::parameters as text,
    },
};

pub const COLLECTION: &str = "presets";
/// Fields that a change never sets.
pub const NOT_SET: &[&str] =
    &["name", "statistics", "built_in", "origin", "create_time", "update_time", "etag"];

const LONGEST_NAME: usize = 128;
const LONGEST_TEXT: usize = 1_024;
const STRATEGY: &str = "PRESET_STRATEGY_";

pub const PRESETS: Listing = Listing {
    rpc: "mediary.admin.v1.PresetService.ListPresets",
    filter: &[
        Field::new("name", FieldKind::Text),
        Field::new("display_name", FieldKind::Text),
        Field::new("capability", FieldKind::Text),
        Field::new(
            "strategy",
            FieldKind::Word {
                prefix: STRATEGY,
                words: &["SEQUENTIAL", "WEIGHTED", "ENSEMBLE", "ADAPTIVE"],
            },
        ),
        Field::new("priority", FieldKind::Number),
    ],
    order: &["name", "display_name", "priority", "create_time"],
    usual_order: "name",
};

/// A preset with its name, for lists.
pub struct View<'a> {
    pub row: &'a PresetRow,
    name: String,
}

impl<'a> View<'a> {
    pub fn new(row: &'a PresetRow) -> Self {
        Self { name: row.name(), row }
    }
}

impl Listed for View<'_> {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        match field {
            "name" => self.name.as_str().into(),
            "display_name" => self.row.display_name.as_str().into(),
            "capability" => self.row.capability.as_str().into(),
            "strategy" => match self.row.strategy {
                Strategy::Sequential => "SEQUENTIAL".into(),
                Strategy::Weighted => "WEIGHTED".into(),
                Strategy::Ensemble => "ENSEMBLE".into(),
                Strategy::Adaptive => "ADAPTIVE".into(),
            },
            "priority" => Value::Number(self.row.priority.into()),
            "create_time" => {
                self.row.stamp.map_or(Value::Missing, |stamp| Value::Time(stamp.create_time))
            }
            _ => Value::Missing,
        }
    }
}

pub fn missing(name: &str) -> Error {
    Error::not_found("mediary.admin.v1.Preset", name)
}

/// As it is kept; what was counted and learned since is not in it.
pub fn view(row: &PresetRow) -> Preset {
    let stamp = row.stamp.filter(|stamp| *stamp != Stamp::default());
    let whole = Preset {
        name: row.name(),
        display_name: row.display_name.clone(),
        description: row.description.clone(),
        capability: row.capability.as_str().to_owned(),
        strategy: match row.strategy {
            Strategy::Sequential => PresetStrategy::Sequential,
            Strategy::Weighted => PresetStrategy::Weighted,
            Strategy::Ensemble => PresetStrategy::Ensemble,
            Strategy::Adaptive => PresetStrategy::Adaptive,
        }
        .into(),
        members: row.members.iter().map(member_view).collect(),
        ensemble: row.ensemble.as_ref().map(ensemble_view),
        priority: row.priority,
        enabled: Some(row.enabled),
        statistics: None,
        built_in: row.built_in,
        create_time: stamp.map(|stamp| stamp.create_time.into()),
        update_time: stamp.map(|stamp| stamp.update_time.into()),
        etag: String::new(),
        adaptive: row.adaptive.as_ref().map(adaptive_view),
        origin: row.origin.as_str().to_owned(),
    };
    let etag = decide::etag_of(row.stamp.as_ref(), &whole);
    Preset { etag, ..whole }
}

/// With what was counted, and what was learned where that is made use of.
pub fn with_what_is_known(row: &PresetRow, learned: &Learned) -> Preset {
    let mut preset = view(row);
    preset.statistics = statistics(learned.statistics(&row.id));
    if row.strategy == Strategy::Adaptive {
        for member in &mut preset.members {
            member.learned = learned_state(learned, &row.id, &member.model);
        }
    }
    preset
}

fn statistics(statistics: Statistics) -> Option<CallStatistics> {
    Some(CallStatistics {
        requests: statistics.attempts,
        successes: statistics.successes,
        success_rate: statistics.success_rate(),
        cost_pico_usd: statistics.cost.0,
    })
}

fn learned_state(learned: &Learned, preset: &str, model: &str) -> Option<LearnedState> {
    let (arm, at) = learned.arm(preset, model)?;
    let mean_duration = arm.duration.and_then(|one| Duration::try_from_secs_f64(one).ok());
    Some(LearnedState {
        attempts: i64::try_from(arm.attempts).unwrap_or(i64::MAX),
        evidence: arm.evidence(),
        success_rate: arm.success_rate(),
        mean_duration: mean_duration.and_then(|one| one.try_into().ok()),
        mean_cost_pico_usd: arm.cost.map(|one| one.round() as i64),
        update_time: Some(at.into()),
    })
}

fn member_view(member: &MemberRow) -> PresetMember {
    let is_kept = member.parameters != TextParameters::default();
    PresetMember {
        model: member.model.clone(),
        weight: member.weight,
        parameters: is_kept.then(|| TargetParameters {
            text: Some(parameters::view(&member.parameters)),
            media: None,
        }),
        timeout: member.timeout.and_then(|limit| limit.try_into().ok()),
        learned: None,
    }
}

fn ensemble_view(ensemble: &EnsembleRow) -> EnsembleSettings {
    EnsembleSettings {
        mode: match ensemble.mode {
            EnsembleMode::First => WireMode::First,
            EnsembleMode::Best => WireMode::Best,
            EnsembleMode::Merge => WireMode::Merge,
        }
        .into(),
        judge_model: ensemble.judge_model.clone(),
        quorum: ensemble.quorum.and_then(|quorum| quorum.try_into().ok()),
        criteria: ensemble.criteria.clone(),
    }
}

pub fn adaptive_view(adaptive: &AdaptiveRow) -> AdaptiveSettings {
    AdaptiveSettings {
        exploration_share: adaptive.exploration_share,
        success_weight: adaptive.success_weight,
        latency_weight: adaptive.latency_weight,
        cost_weight: adaptive.cost_weight,
    }
}

/// The row that the contract's preset describes. Everything that is wrong is said at once.
pub fn parse(
    id: &str,
    wire: Preset,
    before: Option<&PresetRow>,
    snapshot: &Snapshot,
) -> Result<PresetRow> {
    let mut problems = Problems::default();
    check_readable("preset.display_name", &wire.display_name, LONGEST_NAME, &mut problems);
    check_readable("preset.description", &wire.description, LONGEST_TEXT, &mut problems);
    let capability = Capability::from_id(&wire.capability);
    match (capability, before) {
        (None, _) => {
            let known: Vec<_> = Capability::ALL.iter().map(|one| one.as_str()).collect();
            problems.field("preset.capability", format!("must be one of {}", known.join(", ")));
        }
        (Some(capability), Some(before)) if capability != before.capability => {
            let stays = before.capability.as_str();
            let problem = format!("cannot be changed from {stays}: make another preset");
            problems.field("preset.capability", problem);
        }
        _ => {}
    }
    let strategy = match wire.strategy() {
        PresetStrategy::Sequential => Some(Strategy::Sequential),
        PresetStrategy::Weighted => Some(Strategy::Weighted),
        PresetStrategy::Ensemble => Some(Strategy::Ensemble),
        PresetStrategy::Adaptive => Some(Strategy::Adaptive),
        PresetStrategy::Unspecified => {
            let problem = "must be SEQUENTIAL, WEIGHTED, ENSEMBLE or ADAPTIVE";
            problems.field("preset.strategy", problem);
            None
        }
    };
    let count = wire.members.len();
    if count == 0 || count > MOST_MEMBERS {
        problems.field("preset.members", format!("holds 1 to {MOST_MEMBERS} models"));
    }
    let members = members(wire.members, capability, snapshot, &mut problems);
    let ensemble = match (wire.ensemble, strategy) {
        (Some(_), Some(other)) if other != Strategy::Ensemble => {
            problems.field("preset.ensemble", "is for ENSEMBLE only: leave it unset");
            None
        }
        (None, Some(Strategy::Ensemble)) => {
            problems.field("preset.ensemble", "is required for ENSEMBLE");
            None
        }
        (given, _) => given.map(|one| ensemble(one, count, capability, snapshot, &mut problems)),
    };
    let adaptive = wire.adaptive.map(|one| adaptive(one, "preset.adaptive", &mut problems));
    if adaptive.is_some() && strategy.is_some_and(|one| one != Strategy::Adaptive) {
        problems.field("preset.adaptive", "is for ADAPTIVE only: leave it unset");
    }
    problems.result(())?;
    let (Some(capability), Some(strategy)) = (capability, strategy) else {
        return Err(Error::bug("a preset that is wrong in nothing lacks its strategy"));
    };
    Ok(PresetRow {
        id: id.to_owned(),
        display_name: match wire.display_name.as_str() {
            "" => id.to_owned(),
            name => name.to_owned(),
        },
        description: wire.description,
        capability,
        strategy,
        members,
        ensemble,
        adaptive,
        priority: wire.priority,
        enabled: wire.enabled.unwrap_or(true),
        origin: Origin::Manual,
        built_in: false,
        stamp: None,
    })
}

fn members(
    wire: Vec<PresetMember>,
    capability: Option<Capability>,
    snapshot: &Snapshot,
    problems: &mut Problems,
) -> Vec<MemberRow> {
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    for (at, one) in wire.into_iter().enumerate() {
        let field = format!("preset.members[{at}]");
        let named = model(&format!("{field}.model"), &one.model, capability, snapshot, problems);
        if let Some(name) = &named
            && !seen.insert(name.clone())
        {
            problems.field(format!("{field}.model"), "stands among the members twice");
        }
        if one.weight.is_some_and(|weight| !is_weight(weight)) {
            problems.field(format!("{field}.weight"), "must be a number above 0");
        }
        let TargetParameters { text: of_text, media } = one.parameters.unwrap_or_default();
        if media.is_some_and(|media| media != MediaParameters::default()) {
            let problem = "this server has no media: leave it unset";
            problems.field(format!("{field}.parameters.media"), problem);
        }
        let mut wrong = Problems::default();
        let parameters = text::parse(of_text.unwrap_or_default(), &mut wrong);
        problems.part(wrong, "parameters.", &format!("{field}.parameters.text."));
        let timeout = one.timeout.map(Duration::try_from);
        if timeout.as_ref().is_some_and(|limit| !matches!(limit, Ok(limit) if !limit.is_zero())) {
            problems.field(format!("{field}.timeout"), "must be longer than 0");
        }
        members.push(MemberRow {
            model: named.unwrap_or_default(),
            weight: one.weight,
            parameters: TextParameters { set: Default::default(), ..parameters },
            timeout: timeout.and_then(Result::ok),
        });
    }
    members
}

fn ensemble(
    wire: EnsembleSettings,
    members: usize,
    capability: Option<Capability>,
    snapshot: &Snapshot,
    problems: &mut Problems,
) -> EnsembleRow {
    let makes = |kind| capability.is_some_and(|one| one.outputs() == [kind]);
    if makes(MediaKind::Vector) {
        let problem = "vectors of several models cannot be compared: choose another strategy";
        problems.field("preset.ensemble", problem);
    }
    let mode = match wire.mode() {
        WireMode::First => Some(EnsembleMode::First),
        WireMode::Best => Some(EnsembleMode::Best),
        WireMode::Merge => Some(EnsembleMode::Merge),
        WireMode::Unspecified => {
            problems.field("preset.ensemble.mode", "must be FIRST, BEST or MERGE");
            None
        }
    };
    if mode == Some(EnsembleMode::Merge) && capability.is_some() && !makes(MediaKind::Text) {
        problems.field("preset.ensemble.mode", "MERGE is for text only");
    }
    let field = "preset.ensemble.judge_model";
    let judge_model = match (wire.judge_model.as_str(), mode) {
        ("", Some(EnsembleMode::Best | EnsembleMode::Merge)) => {
            problems.field(field, "is required for BEST and MERGE");
            String::new()
        }
        ("", _) => String::new(),
        (name, _) => {
            // Whatever is judged, the judge writes text.
            let text = Some(Capability::TextToText);
            model(field, name, text, snapshot, problems).unwrap_or_default()
        }
    };
    let quorum = wire.quorum.map(|quorum| usize::try_from(quorum).unwrap_or(0));
    if quorum.is_some_and(|quorum| !(1..=members).contains(&quorum)) {
        let problem = format!("must lie between 1 and {members}, the number of members");
        problems.field("preset.ensemble.quorum", problem);
    }
    if wire.criteria.chars().count() > LONGEST_TEXT {
        let problem = format!("must have at most {LONGEST_TEXT} characters");
        problems.field("preset.ensemble.criteria", problem);
    }
    EnsembleRow {
        mode: mode.unwrap_or(EnsembleMode::First),
        judge_model,
        quorum,
        criteria: wire.criteria,
    }
}

pub fn adaptive(wire: AdaptiveSettings, field: &str, problems: &mut Problems) -> AdaptiveRow {
    let AdaptiveSettings { exploration_share, success_weight, latency_weight, cost_weight } = wire;
    let row = AdaptiveRow { exploration_share, success_weight, latency_weight, cost_weight };
    if exploration_share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        problems.field(format!("{field}.exploration_share"), "must lie between 0 and 1");
    }
    let mut is_wrong = false;
    for (name, weight) in [
        ("success_weight", success_weight),
        ("latency_weight", latency_weight),
        ("cost_weight", cost_weight),
    ] {
        if weight.is_some_and(|weight| !weight.is_finite() || weight < 0.0) {
            problems.field(format!("{field}.{name}"), "must be a number of at least 0");
            is_wrong = true;
        }
    }
    let (success, latency, cost) = row.weights();
    if !is_wrong && success + latency + cost <= 0.0 {
        problems.field(field, "one weight at least must be above 0");
    }
    row
}

/// Kept under its resource name, so that it stays this model when others come.
pub fn model(
    field: &str,
    name: &str,
    capability: Option<Capability>,
    snapshot: &Snapshot,
    problems: &mut Problems,
) -> Option<String> {
    if name.is_empty() {
        problems.field(field, "is required: providers/{provider}/models/{model}");
        return None;
    }
    let model = match snapshot.model(name) {
        Ok(model) => model,
        Err(error) => {
            let problem = match error.violations().first() {
                Some(violation) => violation.description.clone(),
                None => match error.facts().get("didYouMean") {
                    Some(near) => format!("{}; did you mean {near}?", error.message()),
                    None => error.message().to_owned(),
                },
            };
            problems.field(field, problem);
            return None;
        }
    };
    if let Some(capability) = capability
        && !model.capabilities.contains(&capability)
    {
        let problem = format!("{} does not do {}", model.name, capability.as_str());
        problems.field(field, problem);
    }
    Some(model.name.clone())
}
