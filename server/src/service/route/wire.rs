//! How a route looks, and what an operator may make of it.

use mediary_domain::{Capability, Error, Result, Target, TextParameters};
use mediary_proto::{
    admin::{Route, TargetParameters},
    v1::{self, AutoTarget, MediaParameters, ModelTarget, model_target::Target as WireTarget},
};
use mediary_store::Stamp;

use super::parameters;
use crate::{
    registry::{MOST_FALLBACKS, Origin, RouteRow, Snapshot},
    service::{
        decide::{self, check_readable},
        listing::{Field, FieldKind, Listing, Row as Listed, Value},
        problems::Problems,
        text::parse::parameters as text,
    },
};

pub const COLLECTION: &str = "routes";
/// Fields that a change never sets.
pub const NOT_SET: &[&str] =
    &["name", "origin", "statistics", "create_time", "update_time", "etag"];

const LONGEST_NAME: usize = 128;

pub const ROUTES: Listing = Listing {
    rpc: "mediary.admin.v1.RouteService.ListRoutes",
    filter: &[
        Field::new("name", FieldKind::Text),
        Field::new("display_name", FieldKind::Text),
        Field::new("capability", FieldKind::Text),
        Field::new("origin", FieldKind::Text),
    ],
    order: &["name", "create_time", "update_time"],
    usual_order: "name",
};

/// A route with its name, for lists.
pub struct View<'a> {
    pub row: &'a RouteRow,
    name: String,
}

impl<'a> View<'a> {
    pub fn new(row: &'a RouteRow) -> Self {
        Self { name: row.name(), row }
    }
}

impl Listed for View<'_> {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        let time = |pick: fn(Stamp) -> std::time::SystemTime| {
            self.row.stamp.map_or(Value::Missing, |stamp| Value::Time(pick(stamp)))
        };
        match field {
            "name" => self.name.as_str().into(),
            "display_name" => self.row.display_name.as_str().into(),
            "capability" => self.row.capability.as_str().into(),
            "origin" => self.row.origin.as_str().into(),
            "create_time" => time(|stamp| stamp.create_time),
            "update_time" => time(|stamp| stamp.update_time),
            _ => Value::Missing,
        }
    }
}

pub fn missing(name: &str) -> Error {
    Error::not_found("mediary.admin.v1.Route", name)
}

pub fn view(row: &RouteRow) -> Route {
    let stamp = row.stamp.filter(|stamp| *stamp != Stamp::default());
    let is_kept = row.parameters != TextParameters::default();
    let whole = Route {
        name: row.name(),
        display_name: row.display_name.clone(),
        capability: row.capability.as_str().to_owned(),
        target: Some(target_view(&row.target)),
        fallbacks: row.fallbacks.iter().map(target_view).collect(),
        parameters: is_kept.then(|| TargetParameters {
            text: Some(parameters::view(&row.parameters)),
            media: None,
        }),
        max_cost_pico_usd: row.max_cost_pico_usd,
        origin: row.origin.as_str().to_owned(),
        statistics: None,
        create_time: stamp.map(|stamp| stamp.create_time.into()),
        update_time: stamp.map(|stamp| stamp.update_time.into()),
        etag: String::new(),
    };
    let etag = decide::etag_of(row.stamp.as_ref(), &whole);
    Route { etag, ..whole }
}

pub fn target_view(target: &Target) -> ModelTarget {
    let target = match target {
        Target::Model(name) => WireTarget::Model(name.clone()),
        Target::Preset(name) => WireTarget::Preset(name.clone()),
        Target::Route(task) => WireTarget::Route(task.clone()),
        Target::Auto => WireTarget::Auto(AutoTarget::default()),
    };
    ModelTarget { target: Some(target), ..ModelTarget::default() }
}

/// The row that the contract's route describes. Everything that is wrong is said at once.
pub fn parse(task: &str, wire: Route, snapshot: &Snapshot) -> Result<RouteRow> {
    let mut problems = Problems::default();
    check_readable("route.display_name", &wire.display_name, LONGEST_NAME, &mut problems);
    let capability = Capability::from_id(&wire.capability);
    if capability.is_none() {
        let known: Vec<_> = Capability::ALL.iter().map(|one| one.as_str()).collect();
        problems.field("route.capability", format!("must be one of {}", known.join(", ")));
    }
    let find = Finding { snapshot, capability };
    let first = find.target("route.target", wire.target.unwrap_or_default(), &mut problems);
    if wire.fallbacks.len() > MOST_FALLBACKS {
        problems.field("route.fallbacks", format!("holds at most {MOST_FALLBACKS}"));
    }
    let fallbacks = wire.fallbacks.into_iter().enumerate();
    let fallbacks: Vec<Target> = fallbacks
        .filter_map(|(n, one)| find.target(&format!("route.fallbacks[{n}]"), one, &mut problems))
        .collect();
    let TargetParameters { text, media } = wire.parameters.unwrap_or_default();
    if media.is_some_and(|media| media != MediaParameters::default()) {
        let problem = "this server has no media: leave it unset";
        problems.field("route.parameters.media", problem);
    }
    let mut of_text = Problems::default();
    let parameters = text::parse(text.unwrap_or_default(), &mut of_text);
    problems.part(of_text, "parameters.", "route.parameters.text.");
    if wire.max_cost_pico_usd.is_some_and(|most| most < 0) {
        problems.field("route.max_cost_pico_usd", "must not be negative");
    }
    problems.result(())?;
    let (Some(target), Some(capability)) = (first, capability) else {
        return Err(Error::bug("a route that is wrong in nothing lacks its target"));
    };
    Ok(RouteRow {
        task: task.to_owned(),
        display_name: match wire.display_name.as_str() {
            "" => task.to_owned(),
            name => name.to_owned(),
        },
        capability,
        target,
        fallbacks,
        parameters: TextParameters { set: Default::default(), ..parameters },
        max_cost_pico_usd: wire.max_cost_pico_usd,
        origin: Origin::Manual,
        stamp: None,
    })
}

/// Finds what targets name.
struct Finding<'a> {
    snapshot: &'a Snapshot,
    capability: Option<Capability>,
}

impl Finding<'_> {
    fn target(
        &self,
        field: &str,
        wire: v1::ModelTarget,
        problems: &mut Problems,
    ) -> Option<Target> {
        if wire.fallback.is_some() {
            problems.field(format!("{field}.fallback"), "stands in the route's own fallbacks");
        }
        if !wire.account.is_empty() {
            let problem = "this server chooses the account: leave it empty";
            problems.field(format!("{field}.account"), problem);
        }
        match wire.target {
            Some(WireTarget::Model(name)) => self.model(field, &name, problems),
            Some(WireTarget::Auto(auto)) => {
                let is_own = self.capability.is_some_and(|one| one.as_str() == auto.capability);
                if !auto.capability.is_empty() && !is_own {
                    let problem = "must be the route's own capability, or empty";
                    problems.field(format!("{field}.auto.capability"), problem);
                }
                Some(Target::Auto)
            }
            Some(WireTarget::Preset(name)) => self.preset(field, &name, problems),
            Some(WireTarget::Route(_)) => {
                problems.field(format!("{field}.route"), "a route cannot name another route");
                None
            }
            None => {
                problems.field(field, "is required: a model, a preset, or auto");
                None
            }
        }
    }

    /// Kept under its resource name.
    fn preset(&self, field: &str, name: &str, problems: &mut Problems) -> Option<Target> {
        let preset = match self.snapshot.preset(name) {
            Ok(preset) => preset,
            Err(error) => {
                problems.add(error);
                return None;
            }
        };
        if let Some(capability) = self.capability
            && capability.outputs() != preset.capability.outputs()
        {
            let (is, wanted) = (preset.capability.as_str(), capability.as_str());
            let problem = format!("{} is for {is}, not for {wanted}", preset.name());
            problems.field(format!("{field}.preset"), problem);
        }
        Some(Target::Preset(preset.name()))
    }

    /// Kept under its resource name, so that it stays this model when others come.
    fn model(&self, field: &str, name: &str, problems: &mut Problems) -> Option<Target> {
        let field = format!("{field}.model");
        let model = match self.snapshot.model(name) {
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
        if let Some(capability) = self.capability
            && !model.capabilities.contains(&capability)
        {
            let problem = format!("{} does not do {}", model.name, capability.as_str());
            problems.field(field, problem);
        }
        Some(Target::Model(model.name.clone()))
    }
}
