//! Turns what a caller named into an ordered list of candidates, and of those left out.
//!
//! Invariant: a plan is never empty; no candidate means an error, made here.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use mediary_domain::{
    Capability, ChatCall, Error, Kind, PicoUsd, Result, Retry, Target, TextParameters, TokenUsage,
    Warning, cost_of_tokens,
};

use super::{
    accounts::{Accounts, Closed},
    fit::fit,
    left_out::{self, LeftOut, Why},
    limits::Expected,
    strategy::{self, Learned},
};
use crate::{
    access::Permit,
    clock::Clock,
    provider::{Account, ModelRow, Provider, ProviderRow, accounting},
    registry::{EnsembleRow, Entry, Lifecycle, MemberRow, PresetRow, RouteRow, Snapshot, Strategy},
};

/// What the caller wants, beside the call itself.
#[derive(Clone)]
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
    /// What is known of the members of presets.
    pub learned: &'a Learned,
    /// Chance, for the order of members; `None` = the order to be expected is wanted.
    pub chance: Option<&'a Clock>,
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
    /// How long it may take; `None` = as long as the call.
    pub timeout: Option<Duration>,
    /// The ensemble that it is a member of: they are asked side by side. Members stand together.
    pub group: Option<Arc<Group>>,
    /// Nobody else could be asked, although its calls fail: it is tried, one call at a time.
    pub is_last_resort: bool,
}

/// An ensemble.
pub struct Group {
    /// `presets/{preset}`.
    pub preset: Arc<str>,
    pub settings: EnsembleRow,
    /// Who may judge, or why nobody can.
    pub judge: Result<Vec<Seat>>,
    /// The question, as no model in particular takes it.
    pub call: Arc<ChatCall>,
}

/// One model with one account.
pub struct Seat {
    pub provider: Arc<ProviderRow>,
    pub adapter: Arc<dyn Provider>,
    pub model: Arc<ModelRow>,
    pub account: Arc<Account>,
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
    // A member's parameters stand between the caller's and the route's.
    let own = route.map(|_| call.parameters.clone());
    if let Some(route) = route {
        call.parameters = call.parameters.or(&route.parameters);
    }
    let call = Arc::new(call);
    let asked = Asked { snapshot, wish, setting, call: &call };
    let mut named = match route {
        Some(route) => asked.route(route),
        None => asked.target(&wish.target)?,
    };
    for name in &wish.fallback_models {
        named.push(Named::Model(snapshot.named(name)?, None));
    }
    let mut survey = Plan { candidates: Vec::new(), left_out: Vec::new(), call: call.clone() };
    let mut last_resort = None;
    for (at, one) in named.iter().enumerate() {
        let (model, member) = match one {
            Named::Model(model, member) => (model, member.as_ref()),
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
        let kept = member.map(|one| &one.row().parameters);
        let kept = kept.filter(|kept| **kept != TextParameters::default());
        let call = match kept {
            None => call.clone(),
            Some(kept) => {
                let own = own.as_ref().unwrap_or(&call.parameters).clone().or(kept);
                let parameters = match route {
                    Some(route) => own.or(&route.parameters),
                    None => own,
                };
                Arc::new(ChatCall { messages: call.messages.clone(), parameters })
            }
        };
        match considered(snapshot, entry, model, wish, &call, most, setting.now) {
            Ok((call, warnings)) => {
                let candidate = |account: &Arc<Account>| Candidate {
                    provider: entry.row.clone(),
                    adapter: entry.adapters.of(model).clone(),
                    model: model.clone(),
                    account: account.clone(),
                    preset: member.map(|one| one.name.clone()).unwrap_or_default(),
                    call: call.clone(),
                    warnings: warnings.clone(),
                    timeout: member.and_then(|one| one.row().timeout),
                    group: member.and_then(|one| one.group.clone()),
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
    let first = survey.first();
    if !wish.allow_fallback && survey.candidates.len() > first {
        let chosen = survey.candidates[0].model.name.clone();
        let mut beyond: Vec<String> =
            survey.candidates.drain(first..).map(|one| one.model.name.clone()).collect();
        beyond.dedup();
        beyond.retain(|model| *model != chosen);
        let beyond = beyond.into_iter().map(|model| LeftOut::model(&model, Why::NoFallback));
        survey.left_out.extend(beyond);
    }
    Ok(survey)
}

impl Plan {
    /// How many candidates are asked first: all members of an ensemble, else one.
    pub fn first(&self) -> usize {
        let Some(first) = self.candidates.first() else { return 0 };
        let Some(group) = &first.group else { return 1 };
        let is_same =
            |one: &&Candidate| one.group.as_ref().is_some_and(|own| Arc::ptr_eq(own, group));
        self.candidates.iter().take_while(is_same).count()
    }
}

/// What a name leads to.
enum Named {
    Model(Arc<ModelRow>, Option<Member>),
    Unknown(String, Error),
}

/// What a preset adds to a model.
#[derive(Clone)]
struct Member {
    /// `presets/{preset}`.
    name: Arc<str>,
    preset: Arc<PresetRow>,
    at: usize,
    group: Option<Arc<Group>>,
}

impl Member {
    fn row(&self) -> &MemberRow {
        &self.preset.members[self.at]
    }
}

impl Named {
    fn is(&self, model: &ModelRow) -> bool {
        matches!(self, Self::Model(one, _) if one.name == model.name)
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

/// Finds what targets lead to.
struct Asked<'a> {
    snapshot: &'a Snapshot,
    wish: &'a Wish,
    setting: Setting<'a>,
    call: &'a Arc<ChatCall>,
}

impl Asked<'_> {
    /// What a route names; one that leads nowhere does not stop the others.
    fn route(&self, route: &RouteRow) -> Vec<Named> {
        let mut named = Vec::new();
        for target in route.targets() {
            match self.target(target) {
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

    fn target(&self, target: &Target) -> Result<Vec<Named>> {
        match target {
            Target::Model(name) => Ok(vec![Named::Model(self.snapshot.named(name)?, None)]),
            Target::Auto => Ok(self.auto()),
            Target::Preset(name) => {
                let preset = self.snapshot.preset(name)?;
                left_out::check_preset(&preset, self.wish.capability)?;
                Ok(self.preset(&preset))
            }
            Target::Route(task) => {
                Err(Error::not_found("mediary.admin.v1.Route", format!("routes/{task}")))
            }
        }
    }

    /// The members of a preset, in the order in which they are asked this time.
    fn preset(&self, preset: &Arc<PresetRow>) -> Vec<Named> {
        let name: Arc<str> = preset.name().into();
        let ensemble = preset.ensemble.as_ref().filter(|_| preset.strategy == Strategy::Ensemble);
        let group = ensemble.map(|settings| {
            Arc::new(Group {
                preset: name.clone(),
                settings: settings.clone(),
                judge: self.judge(&settings.judge_model),
                call: self.call.clone(),
            })
        });
        let order = strategy::order(preset, self.setting.learned, self.setting.chance);
        let member = |at: usize| match self.snapshot.named(&preset.members[at].model) {
            Ok(model) => {
                let (name, preset, group) = (name.clone(), preset.clone(), group.clone());
                Named::Model(model, Some(Member { name, preset, at, group }))
            }
            Err(error) => Named::Unknown(preset.members[at].model.clone(), error),
        };
        order.into_iter().map(member).collect()
    }

    fn judge(&self, named: &str) -> Result<Vec<Seat>> {
        let model = self.snapshot.model(named)?;
        if !self.wish.permit.allows_model(&model.name) {
            return Err(left_out::not_allowed(&model));
        }
        if !model.enabled {
            return Err(left_out::disabled(&model));
        }
        let Some(entry) = self.snapshot.providers.get(&model.provider) else {
            return Err(Error::not_found("mediary.v1.Provider", model.provider.as_str()));
        };
        let serving = entry.accounts.iter().filter(|account| account.serves(&model));
        let seat = |account: &Arc<Account>| Seat {
            provider: entry.row.clone(),
            adapter: entry.adapters.of(&model).clone(),
            model: model.clone(),
            account: account.clone(),
        };
        let choice = self.setting.accounts.choose(serving, Expected::default);
        match choice.open.iter().map(seat).collect::<Vec<_>>() {
            seats if seats.is_empty() => Err(left_out::no_account(entry)),
            seats => Ok(seats),
        }
    }

    /// The members of the capability's preset, then one model a provider, by id; the sandbox last.
    fn auto(&self) -> Vec<Named> {
        let Self { snapshot, wish, setting, .. } = self;
        let capability = wish.capability;
        let preset = snapshot.preset_of(capability).map(|preset| self.preset(preset));
        let is_auto = |one: &Named| match one {
            Named::Model(model, _) => setting.sandbox_in_auto || model.provider != "sandbox",
            // Nobody has named it.
            Named::Unknown(..) => false,
        };
        let (pretend, real): (Vec<_>, Vec<_>) = snapshot
            .models
            .values()
            .filter(|model| model.is_default_for(capability))
            .cloned()
            .partition(|model| model.provider == "sandbox");
        let defaults = real.into_iter().chain(pretend).map(|model| Named::Model(model, None));
        preset.into_iter().flatten().chain(defaults).filter(is_auto).collect()
    }
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
