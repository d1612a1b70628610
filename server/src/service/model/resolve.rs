//! ResolveTarget: who would be asked now, who would not, and why.

use std::sync::Arc;

use mediary_domain::{
    Capability, ChatCall, Error, Kind, Result, TokenUsage, UsageSource, Warning, cost_of_tokens,
};
use mediary_proto::v1::{
    self, ResolveTargetRequest, ResolveTargetResponse, TargetCandidate,
    model_target::Target as WireTarget,
};

use super::ModelApi;
use crate::{
    access::{Caller, Role},
    registry::{Account, AuthScheme, ModelRow, ProviderRow, Snapshot},
    routing::{Candidate, LeftOut, Setting, Why, Wish, survey},
    service::{
        problems::Problems,
        text::{
            events,
            parse::{self, parameters},
        },
    },
};

impl ModelApi {
    pub(super) fn resolve(
        &self,
        caller: &Caller,
        request: &ResolveTargetRequest,
    ) -> Result<ResolveTargetResponse> {
        let snapshot = self.registry.now();
        let now = self.clock.wall();
        let mut problems = Problems::default();
        let target = request.target.clone().unwrap_or_default();
        let capability = capability(&snapshot, &target, &request.capability, &mut problems)?;
        let parameters =
            parameters::parse(request.parameters.clone().unwrap_or_default(), &mut problems);
        let wish = parse::wish(target, capability, &[capability.as_str()], &mut problems);
        let expected = request.expected_usage.as_ref().map(|usage| expected(usage, &mut problems));
        let wish = Wish { permit: caller.permit(), expected_usage: expected, ..wish };
        problems.result(())?;
        let call = ChatCall { messages: Vec::new(), parameters };
        let setting = Setting {
            sandbox_in_auto: self.sandbox_in_auto,
            now,
            accounts: &self.accounts,
            learned: &self.learned,
            chance: None,
        };
        let survey = survey(&snapshot, &wish, call, setting)?;
        let cost = |model: &ModelRow| {
            let prices = model.prices_at(now);
            let usage = expected.filter(|_| !prices.is_empty())?;
            Some(cost_of_tokens(&usage, &prices).0)
        };
        let first = survey.first();
        let tried = survey.candidates.iter().enumerate().map(|(at, one)| TargetCandidate {
            estimated_cost_pico_usd: cost(&one.model),
            ..candidate(at < first, one, caller.role)
        });
        let left = survey.left_out.iter().map(|one| {
            let model = snapshot.models.get(&one.model);
            TargetCandidate {
                estimated_cost_pico_usd: model.and_then(|model| cost(model)),
                ..left_out(&snapshot, one, model, caller.role)
            }
        });
        let candidates: Vec<TargetCandidate> = tried.chain(left).collect();
        if candidates.is_empty() {
            let message = format!("no model is taken for {} by itself", capability.as_str());
            let error = Error::new(Kind::NoUsableAccount, message);
            return Err(error.fact("capability", capability.as_str()));
        }
        let warnings: Vec<Warning> =
            survey.candidates.first().map(|one| one.warnings.clone()).unwrap_or_default();
        Ok(ResolveTargetResponse {
            capability: capability.as_str().to_owned(),
            candidates,
            warnings: warnings.into_iter().map(events::warning).collect(),
        })
    }
}

/// What shall be done: what is said, else what the target is for.
fn capability(
    snapshot: &Snapshot,
    target: &v1::ModelTarget,
    said: &str,
    problems: &mut Problems,
) -> Result<Capability> {
    let told = match (&target.target, said) {
        (_, said) if !said.is_empty() => Some(said.to_owned()),
        (Some(WireTarget::Auto(auto)), _) => Some(auto.capability.clone()),
        (Some(WireTarget::Route(named)), _) => {
            let task = named.strip_prefix("routes/").unwrap_or(named);
            let route = snapshot.routes.get(task);
            // Where there is none, the survey says so.
            Some(route.map_or(Capability::TextToText, |one| one.capability).as_str().to_owned())
        }
        (Some(WireTarget::Preset(named)), _) if !named.is_empty() => {
            Some(snapshot.preset(named)?.capability.as_str().to_owned())
        }
        (Some(WireTarget::Model(name)), _) if !name.is_empty() => {
            let model = snapshot.named(name)?;
            let is_text = model.capabilities.contains(&Capability::TextToText);
            let first = model.capabilities.first().copied();
            let main = if is_text { Some(Capability::TextToText) } else { first };
            main.map(|one| one.as_str().to_owned())
        }
        _ => None,
    };
    let told = told.filter(|told| !told.is_empty());
    match told.as_deref().map(|told| (told, Capability::from_id(told))) {
        Some((_, Some(capability))) => Ok(capability),
        Some((told, None)) => {
            let known: Vec<_> = Capability::ALL.iter().map(|one| one.as_str()).collect();
            let problem = format!("{told:?} is not one of {}", known.join(", "));
            problems.field("capability", problem);
            Ok(Capability::TextToText)
        }
        None => {
            problems.field("capability", "is required: the target does not tell");
            Ok(Capability::TextToText)
        }
    }
}

fn expected(usage: &v1::TokenUsage, problems: &mut Problems) -> TokenUsage {
    let mut number = |field: &str, number: i64| {
        if number < 0 {
            problems.field(format!("expected_usage.{field}"), "must not be negative");
        }
        number
    };
    TokenUsage {
        input: number("input_tokens", usage.input_tokens),
        cached_input: usage.cached_input_tokens.map(|one| number("cached_input_tokens", one)),
        cache_write: usage.cache_write_tokens.map(|one| number("cache_write_tokens", one)),
        output: number("output_tokens", usage.output_tokens),
        source: UsageSource::Estimated,
        ..TokenUsage::default()
    }
}

fn candidate(is_first: bool, one: &Candidate, role: Role) -> TargetCandidate {
    let (reason, detail) = if is_first && one.group.is_some() {
        ("chosen", "it is asked side by side with the other members of its preset")
    } else if is_first {
        ("chosen", "it is asked first")
    } else {
        ("fallback", "it is asked when those before it fail in a way that it may not")
    };
    TargetCandidate {
        model: one.model.name.clone(),
        account_hint: hint(&one.provider, &one.account, role),
        reason: reason.to_owned(),
        usable: true,
        detail: detail.to_owned(),
        estimated_cost_pico_usd: None,
    }
}

/// Which account, for those who may know it and where there is more than one to tell apart.
fn hint(provider: &ProviderRow, account: &Account, role: Role) -> String {
    if role >= Role::Operator && provider.auth.scheme != AuthScheme::None {
        account.display_name.clone()
    } else {
        String::new()
    }
}

fn left_out(
    snapshot: &Snapshot,
    one: &LeftOut,
    model: Option<&Arc<ModelRow>>,
    role: Role,
) -> TargetCandidate {
    let mut detail = one.why.detail();
    if let (Why::NoAccount(_), Some(model)) = (&one.why, model)
        && role >= Role::Operator
        && let Some(entry) = snapshot.providers.get(&model.provider)
        && !entry.accounts.is_empty()
    {
        let each: Vec<String> =
            entry.accounts.iter().take(3).map(|account| account.why_not(model)).collect();
        detail = format!("no account can be used: {}", each.join("; "));
    }
    let account = one.account.as_ref().and_then(|account| {
        let entry = snapshot.providers.get(&account.provider)?;
        Some(hint(&entry.row, account, role))
    });
    TargetCandidate {
        model: one.model.clone(),
        account_hint: account.unwrap_or_default(),
        reason: one.why.word().to_owned(),
        usable: false,
        detail,
        estimated_cost_pico_usd: None,
    }
}
