//! Turns what a caller named into an ordered list of candidates, and of those left out.
//!
//! Invariant: a plan is never empty; no candidate means an error, made here.

use std::{sync::Arc, time::SystemTime};

use mediary_domain::{
    Capability, ChatCall, Error, Kind, PicoUsd, Result, Retry, Target, TokenUsage, Warning,
    cost_of_tokens,
};

use super::{
    accounts::{Accounts, Closed},
    fit::fit,
    left_out::{self, LeftOut, Why},
    limits::Expected,
};
use crate::{
    access::Permit,
    provider::{Account, ModelRow, Provider, ProviderRow, accounting},
    registry::{Entry, Lifecycle, RouteRow, Snapshot},
};

/// What the caller wants, beside the call itself.
pub struct Wish {
    pub target: Target,
    pub capability: Capability,
    /// What the caller may use.
    pub permit: Permit,
    /// Models to try after the target's own.
    pub fallback_models: Vec<String>,
    /// Whether candidates after the first may serve.
    pub allow_fallback: bool,
    /// What the call will use, where somebody knows.
    pub expected_usage: Option<TokenUsage>,
}

impl Wish {
    /// The task that is named, as `routes/{task}`; empty if none is.
    pub fn route(&self) -> String {
        match &self.target {
            Target::Route(named) => format!("routes/{}", task_of(named)),
            Target::Model(_) | Target::Preset(_) | Target::Auto => String::new(),
        }
    }
}

fn task_of(named: &str) -> &str {
    named.strip_prefix("routes/").unwrap_or(named)
}

/// What does not depend on the call.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Whether target `auto` may be answered by the sandbox.
    pub sandbox_in_auto: bool,
    pub now: SystemTime,
    pub accounts: &'a Accounts,
}

/// Who is asked.
pub struct Plan {
    /// Best first. Empty in a survey only.
    pub candidates: Vec<Candidate>,
    /// In the order in which they were named.
    pub left_out: Vec<LeftOut>,
    /// The call with the parameters that its route keeps.
    pub call: Arc<ChatCall>,
}

/// One model with one account, and the call as this model takes it.
pub struct Candidate {
    pub provider: Arc<ProviderRow>,
    pub adapter: Arc<dyn Provider>,
    pub model: Arc<ModelRow>,
    pub account: Arc<Account>,
    /// `presets/{preset}` that brought it in. Empty = none did.
    pub preset: Arc<str>,
    pub call: Arc<ChatCall>,
    pub warnings: Vec<Warning>,
    /// Nobody else could be asked, although its calls fail: it is tried, one call at a time.
    pub is_last_resort: bool,
}

impl Candidate {
    /// What the call will probably use here.
    pub fn expected(&self, now: SystemTime) -> Expected {
        let usage = accounting::expected(&self.model, &self.call);
        Expected::of(&usage, &self.model.prices_at(now))
    }
}

/// The plan for a call.
pub fn plan(
    snapshot: &Snapshot,
    wish: &Wish,
    call: ChatCall,
    setting: Setting<'_>,
) -> Result<Plan> {
    let survey = survey(snapshot, wish, call, setting)?;
    if survey.candidates.is_empty() { Err(refusal(&survey, wish)) } else { Ok(survey) }
}

/// Who would be asked and who would not, be it nobody.
pub fn survey(
    snapshot: &Snapshot,
    wish: &Wish,
    mut call: ChatCall,
    setting: Setting<'_>,
) -> Result<Plan> {
    let route = match &wish.target {
        Target::Route(task) => Some(route(snapshot, task, wish)?),
        Target::Model(_) | Target::Preset(_) | Target::Auto => None,
    };
    let named = match route {
        Some(route) => of_route(snapshot, route, wish, setting),
        None => of_target(snapshot, &wish.target, wish, setting)?,
    };
    let mut named: Vec<Named> = named;
    for name in &wish.fallback_models {
        named.push(Named::Model(snapshot.named(name)?));
    }
    if let Some(route) = route {
        call.parameters = call.parameters.or(&route.parameters);
    }
    let call = Arc::new(call);
    let mut survey = Plan { candidates: Vec::new(), left_out: Vec::new(), call: call.clone() };
    let mut last_resort = None;
    for (at, one) in named.iter().enumerate() {
        let model = match one {
            Named::Model(model) => model,
            Named::Unknown(name, error) => {
                let why = Why::Unknown(error.clone());
                survey.left_out.push(LeftOut::model(name, why));
                continue;
            }
        };
        if named[..at].iter().any(|earlier| earlier.is(model)) {
            continue;
        }
        let Some(entry) = snapshot.providers.get(&model.provider) else { continue };
        let most = route.and_then(|route| route.max_cost_pico_usd);
        match considered(snapshot, entry, model, wish, &call, most, setting.now) {
            Ok((call, warnings)) => {
                let candidate = |account: &Arc<Account>| Candidate {
                    provider: entry.row.clone(),
                    adapter: entry.adapters.of(model).clone(),
                    model: model.clone(),
                    account: account.clone(),
                    preset: Arc::default(),
                    call: call.clone(),
                    warnings: warnings.clone(),
                    is_last_resort: false,
                };
                let serving = entry.accounts.iter().filter(|account| account.serves(model));
                let expected = || {
                    let usage = wish.expected_usage;
                    let usage = usage.unwrap_or_else(|| accounting::expected(model, &call));
                    Expected::of(&usage, &model.prices_at(setting.now))
                };
                let choice = setting.accounts.choose(serving, expected);
                survey.candidates.extend(choice.open.iter().map(candidate));
                for (account, closed) in choice.closed {
                    if matches!(closed, Closed::Broken(_)) && last_resort.is_none() {
                        last_resort = Some(candidate(&account));
                    }
                    survey.left_out.push(LeftOut {
                        model: model.name.clone(),
                        account: Some(account),
                        why: closed.into(),
                    });
                }
            }
            Err(why) => survey.left_out.push(LeftOut::model(&model.name, why)),
        }
    }
    if survey.candidates.is_empty()
        && let Some(last) = last_resort
    {
        let is_it = |one: &LeftOut| {
            one.account.as_ref().is_some_and(|account| account.id == last.account.id)
        };
        survey.left_out.retain(|one| one.model != last.model.name || !is_it(one));
        survey.candidates.push(Candidate { is_last_resort: true, ..last });
    }
    if !wish.allow_fallback && survey.candidates.len() > 1 {
        let chosen = survey.candidates[0].model.name.clone();
        let mut beyond: Vec<String> =
            survey.candidates.drain(1..).map(|one| one.model.name.clone()).collect();
        beyond.dedup();
        beyond.retain(|model| *model != chosen);
        let beyond = beyond.into_iter().map(|model| LeftOut::model(&model, Why::NoFallback));
        survey.left_out.extend(beyond);
    }
    Ok(survey)
}

/// What a name leads to.
enum Named {
    Model(Arc<ModelRow>),
    Unknown(String, Error),
}

impl Named {
    fn is(&self, model: &ModelRow) -> bool {
        matches!(self, Self::Model(one) if one.name == model.name)
    }
}

/// The route of a task, if it is one of this kind of call and the caller may use it.
fn route<'a>(snapshot: &'a Snapshot, named: &str, wish: &Wish) -> Result<&'a RouteRow> {
    let task = task_of(named);
    if !wish.permit.allows_route(task) {
        return Err(left_out::route_not_allowed(task));
    }
    let Some(route) = snapshot.routes.get(task) else {
        let known: Vec<&str> = snapshot.routes.keys().map(String::as_str).take(20).collect();
        let known = if known.is_empty() {
            "no task is assigned; an operator assigns one with RouteService".to_owned()
        } else {
            format!("tasks are {}", known.join(", "))
        };
        return Err(Error::not_found("mediary.admin.v1.Route", format!("routes/{task}"))
            .violation("target.route", known));
    };
    // With pictures to look at or without: both are text.
    if route.capability.outputs() != wish.capability.outputs() {
        let (is, wanted) = (route.capability.as_str(), wish.capability.as_str());
        let message = format!("routes/{task} is for {is}, and this call is {wanted}");
        return Err(Error::new(Kind::CapabilityUnsupported, message)
            .fact("route", format!("routes/{task}"))
            .fact("capability", wanted));
    }
    Ok(route)
}

/// What a route names; one that leads nowhere does not stop the others.
fn of_route(
    snapshot: &Snapshot,
    route: &RouteRow,
    wish: &Wish,
    setting: Setting<'_>,
) -> Vec<Named> {
    let mut named = Vec::new();
    for target in route.targets() {
        match of_target(snapshot, target, wish, setting) {
            Ok(found) => named.extend(found),
            Err(error) => {
                let name = match target {
                    Target::Model(name) | Target::Preset(name) | Target::Route(name) => {
                        name.clone()
                    }
                    Target::Auto => "auto".to_owned(),
                };
                named.push(Named::Unknown(name, error));
            }
        }
    }
    named
}

fn of_target(
    snapshot: &Snapshot,
    target: &Target,
    wish: &Wish,
    setting: Setting<'_>,
) -> Result<Vec<Named>> {
    match target {
        Target::Model(name) => Ok(vec![Named::Model(snapshot.named(name)?)]),
        Target::Auto => Ok(defaults(snapshot, wish.capability, setting.sandbox_in_auto)),
        Target::Preset(name) => Err(Error::not_found("mediary.admin.v1.Preset", name)),
        Target::Route(task) => {
            Err(Error::not_found("mediary.admin.v1.Route", format!("routes/{task}")))
        }
    }
}

/// One model a provider, by id; the sandbox last.
fn defaults(snapshot: &Snapshot, capability: Capability, sandbox: bool) -> Vec<Named> {
    let (pretend, real): (Vec<_>, Vec<_>) = snapshot
        .models
        .values()
        .filter(|model| model.is_default_for(capability))
        .cloned()
        .partition(|model| model.provider == "sandbox");
    let pretend = pretend.into_iter().filter(|_| sandbox);
    real.into_iter().chain(pretend).map(Named::Model).collect()
}

/// The call as the model takes it, or why the model is left out.
fn considered(
    snapshot: &Snapshot,
    entry: &Entry,
    model: &Arc<ModelRow>,
    wish: &Wish,
    call: &Arc<ChatCall>,
    most: Option<i64>,
    now: SystemTime,
) -> Result<(Arc<ChatCall>, Vec<Warning>), Why> {
    if !wish.permit.allows_model(&model.name) {
        return Err(Why::NotAllowed(left_out::not_allowed(model)));
    }
    if model.lifecycle == Lifecycle::Retired {
        return Err(Why::Retired(snapshot.retired(model)));
    }
    if !model.enabled {
        return Err(Why::Disabled(left_out::disabled(model)));
    }
    // The model must have it, and its wire must be able to ask for it.
    let offers = entry.adapters.of(model).offers();
    if !model.capabilities.contains(&wish.capability) || !offers.contains(&wish.capability) {
        return Err(Why::UnsupportedCapability(left_out::unsupported(model, wish.capability)));
    }
    let fitted = fit(&entry.row, model, call).map_err(Why::UnsupportedParameter)?;
    if let Some(most) = most
        && let Some(estimate) = expected_cost(model, wish, &fitted.0, now)
        && estimate.0 > most
    {
        return Err(Why::TooDear(left_out::too_dear(model, estimate, most)));
    }
    if !entry.serves(model) {
        return Err(Why::NoAccount(left_out::no_account(entry)));
    }
    Ok(fitted)
}

/// What a call will probably cost; none where no price is known.
fn expected_cost(
    model: &ModelRow,
    wish: &Wish,
    call: &ChatCall,
    now: SystemTime,
) -> Option<PicoUsd> {
    let prices = model.prices_at(now);
    let usage = wish.expected_usage.unwrap_or_else(|| accounting::expected(model, call));
    (!prices.is_empty()).then(|| cost_of_tokens(&usage, &prices))
}

/// What a caller hears when nobody is left.
fn refusal(survey: &Plan, wish: &Wish) -> Error {
    let errors = || survey.left_out.iter().filter_map(|one| one.why.error());
    // Who has only to wait is told for how long.
    let wait = |error: &Error| match error.retry() {
        Retry::Later(wait) => Some(wait),
        Retry::Never | Retry::Elsewhere => None,
    };
    if let Some(soonest) =
        errors().filter_map(|error| Some((wait(error)?, error))).min_by_key(|one| one.0)
    {
        return soonest.1.clone();
    }
    let mut errors = errors();
    let is_auto = matches!(wish.target, Target::Auto) && wish.fallback_models.is_empty();
    let first = if is_auto {
        errors.find(|error| error.kind() != Kind::NoUsableAccount)
    } else {
        errors.next()
    };
    first.cloned().unwrap_or_else(|| left_out::nobody(wish.capability))
}
