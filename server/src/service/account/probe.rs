//! TestAccount: whether a provider takes the credentials that are stored.
//!
//! Owns: what a test found, and what follows for the account. Leaves: asking (`inspect`).

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use mediary_domain::{Error, Inspection, Kind, Result};
use mediary_proto::admin::{AccountTest, TestAccountRequest};
use mediary_store::AccountState;
use tonic::Request;

use super::{AccountApi, TEST, effect, wire};
use crate::{
    error,
    registry::{Account, Entry},
    service::{
        change::{Changing, Effect},
        decide::Turn,
        inspect, names,
    },
};

impl AccountApi {
    pub(super) async fn test(&self, request: Request<TestAccountRequest>) -> Result<AccountTest> {
        let TestAccountRequest { name, request_id } = request.get_ref();
        let changing = Changing::begin(&self.clock, TEST, &request, request_id)?;
        let id = names::id_in("name", name, wire::COLLECTION)?;
        let snapshot = self.registry.now();
        let account = snapshot.accounts.get(id).ok_or_else(|| wire::missing(name))?;
        let entry = snapshot.providers.get(&account.provider);
        let entry = entry.ok_or_else(|| Error::bug("an account has no provider"))?;
        let mut found =
            AccountTest { test_time: Some(changing.at.into()), ..AccountTest::default() };
        if let Err(problem) = check_form(entry, account) {
            found.error = Some(error::rpc_status(&problem));
            self.note(&changing, account, None).await?;
            return Ok(found);
        }
        let begin = self.clock.now();
        let answer = inspect::ask(entry, account, inspect::until(&request, &self.clock)).await;
        let took = self.clock.now().saturating_duration_since(begin);
        let verdict = tell(&answer, took, &mut found);
        if verdict == Some(true) {
            self.accounts.is_well(account);
        }
        self.note(&changing, account, verdict).await?;
        Ok(found)
    }

    /// Keeps that the account was tested, and how it stands since. `verdict` = whether the provider
    /// takes its credentials, if it said so.
    async fn note(
        &self,
        changing: &Changing,
        tested: &Arc<Account>,
        verdict: Option<bool>,
    ) -> Result<()> {
        let name = tested.name();
        let mut turn = Turn::at(&self.keeper, &name).await;
        loop {
            let moment = turn.moment().await?;
            let known = moment.snapshot.accounts.get(&tested.id);
            // What was found of another key says nothing of this one.
            let known = known.filter(|known| {
                known.key_fingerprint == tested.key_fingerprint && known.base_uri == tested.base_uri
            });
            let known = known.and_then(|known| Some((known, next(known.state, verdict?)?)));
            let Some((known, state)) = known else {
                let effect = Effect { resource: tested.name(), ..Effect::default() };
                return Ok(self.store.audit().append(changing.event(effect)).await?);
            };
            let change = changing.again(effect(known, state));
            let saved = self.put_state(&moment, known, state, change).await;
            if turn.kept(saved).await?.is_some() {
                return Ok(());
            }
        }
    }
}

/// What no provider has to be asked for.
fn check_form(entry: &Entry, account: &Account) -> Result<()> {
    let wrong = |problem: &str| {
        let problem = format!("{}: {problem}", account.name());
        Error::new(Kind::NoUsableAccount, problem).fact("provider", account.provider.as_str())
    };
    if let Some(fault) = &account.fault {
        return Err(wrong(fault));
    }
    match account.secret() {
        None if entry.row.auth.required => Err(wrong("it has no key: send one")),
        Some(key) if key.is_empty() || HeaderValue::try_from(key).is_err() => {
            Err(wrong("its key holds characters that no HTTP header may hold: send it again"))
        }
        _ => Ok(()),
    }
}

/// Writes down what an answer means; whether the credentials are taken, if it says so.
fn tell(answer: &Result<Inspection>, took: Duration, found: &mut AccountTest) -> Option<bool> {
    let error = match answer {
        Ok(inspection) => {
            found.accepted = true;
            found.conclusive = true;
            found.models_listed = i32::try_from(inspection.models.len()).ok();
            found.latency_duration = prost_types::Duration::try_from(took).ok();
            return Some(true);
        }
        Err(error) if error.kind() == Kind::CapabilityUnsupported => {
            found.accepted = true;
            return None;
        }
        Err(error) => error,
    };
    found.conclusive = true;
    found.error = Some(error::rpc_status(error));
    let never_came = matches!(error.kind(), Kind::UpstreamUnavailable | Kind::UpstreamTimeout)
        && !error.facts().contains_key("httpStatus");
    if !never_came {
        found.latency_duration = prost_types::Duration::try_from(took).ok();
    }
    (error.kind() == Kind::CredentialsRejected).then_some(false)
}

/// How an account stands after a test, if that is another way. What an operator has disabled stays
/// so.
fn next(state: AccountState, is_accepted: bool) -> Option<AccountState> {
    match (state, is_accepted) {
        (AccountState::CredentialsRejected, true) => Some(AccountState::Active),
        (AccountState::Active, false) => Some(AccountState::CredentialsRejected),
        (AccountState::Active, true)
        | (AccountState::CredentialsRejected, false)
        | (AccountState::Disabled, _) => None,
    }
}
