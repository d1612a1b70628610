//! What is not as it should be: accounts, keys of callers, and how this command calls the server.

use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt as _};

use mediary_proto::{
    admin::{Account, AccountState, ApiKey, CreateAccountRequest, account},
    v1::Provider,
};
use serde_json::{Value, json};

use crate::{
    Client, Error,
    cli::{
        accounts, keys,
        problem::Problem,
        show::ListArgs,
        table::id,
        when::{seconds_until, time},
    },
    profile::{Place, Profiles},
};

/// A key that ends within these days is worth a word.
const SOON_DAYS: i64 = 14;
const DAY: i64 = 86_400;

/// What was found out.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) all: Vec<Finding>,
    /// What could not be looked at, and why.
    pub(super) unseen: Vec<String>,
}

/// One thing that is not as it should be, and what to do about it.
#[derive(Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) about: String,
    pub(super) problem: String,
    pub(super) fix: String,
}

impl Findings {
    /// Looks at what the caller may see.
    pub(super) async fn look(
        client: &Client,
        place: &Place,
        providers: &[Provider],
    ) -> Result<Self, Problem> {
        let mut findings = Self::default();
        findings.all.extend(open_line(place));
        findings.all.extend(readable_profiles());
        let everything = ListArgs { filter: None, all_pages: true };
        if let Some(listed) =
            findings.may_see("accounts", accounts::read(client, &everything, "").await)?
        {
            findings.all.extend(listed.items.iter().filter_map(of_account));
        }
        if let Some(listed) = findings.may_see("keys", keys::read(client, &everything, "").await)? {
            findings.all.extend(listed.items.iter().filter_map(of_key));
            // Only an admin gets here, and only an admin may add accounts.
            findings.all.extend(vault(client, providers).await);
        }
        Ok(findings)
    }

    /// Nothing, with a word about it, where the caller may not look or the server cannot.
    fn may_see<T>(&mut self, what: &str, looked: Result<T, Problem>) -> Result<Option<T>, Problem> {
        match looked {
            Ok(seen) => Ok(Some(seen)),
            Err(Problem::Call(error @ (Error::PermissionDenied(_) | Error::Unimplemented(_)))) => {
                self.unseen.push(format!("{what}: {}", error.message()));
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }
}

impl Finding {
    pub(super) fn json(&self) -> Value {
        json!({ "about": self.about, "problem": self.problem, "fix": self.fix })
    }
}

/// Whether the server could keep the key of an account: no call tells, so one is only checked.
async fn vault(client: &Client, providers: &[Provider]) -> Option<Finding> {
    let takes_key = providers.iter().find(|one| !one.required_env.is_empty())?;
    let account = Account {
        provider: takes_key.name.clone(),
        credential: Some(account::Credential::ApiKey("a-key-that-is-not-kept".to_owned())),
        ..Default::default()
    };
    let request =
        CreateAccountRequest { account: Some(account), validate_only: true, ..Default::default() };
    let reply = client
        .call(request, async |raw, request| raw.accounts().create_account(request).await)
        .await;
    let error = reply.err().filter(|error| error.reason() == "FEATURE_DISABLED")?;
    Some(Finding {
        about: "vault".to_owned(),
        problem: "the server cannot keep keys of accounts: it has no key to seal them".to_owned(),
        fix: error.message().to_owned(),
    })
}

fn of_account(account: &Account) -> Option<Finding> {
    let name = id(&account.name);
    let failure = account.health.as_ref().and_then(|health| health.last_error.as_ref());
    let why = failure.map(|error| format!(": {}", error.message)).unwrap_or_default();
    let (problem, fix) = match AccountState::try_from(account.state) {
        Ok(AccountState::Active | AccountState::RateLimited) => return None,
        Ok(AccountState::CredentialsRejected) => (
            format!("the provider rejects its key{why}"),
            format!("mediary accounts update {name} --key-stdin && mediary accounts test {name}"),
        ),
        Ok(AccountState::Failing) => {
            (format!("its calls fail{why}"), format!("mediary accounts test {name}"))
        }
        Ok(AccountState::Disabled) => {
            ("an operator has disabled it".to_owned(), format!("mediary accounts enable {name}"))
        }
        // The contract may get new states, and none that it does not name is usable.
        _ => (
            format!("it cannot be used{why}"),
            format!("mediary accounts update {name} --key-stdin, with its key"),
        ),
    };
    Some(Finding { about: account.name.clone(), problem, fix })
}

fn of_key(key: &ApiKey) -> Option<Finding> {
    let end = key.expire_time.as_ref().filter(|_| key.enabled != Some(false))?;
    let left = seconds_until(end);
    let problem = match left {
        ..=0 => format!("it ended at {}", time(Some(end))),
        1.. if left < SOON_DAYS * DAY => format!("it ends in {} days", left / DAY),
        _ => return None,
    };
    let name = id(&key.name);
    let fix = match left {
        ..=0 => format!("mediary keys delete {name}; or keys update {name} --expires 90d"),
        _ => format!("mediary keys update {name} --expires 90d"),
    };
    Some(Finding { about: key.name.clone(), problem, fix })
}

/// A key that travels where others can read it.
fn open_line(place: &Place) -> Option<Finding> {
    let host = place.url.strip_prefix("http://").or(Some(&place.url));
    let host = host.filter(|host| !host.contains("://") && place.api_key.is_some())?;
    let host = host.trim_end_matches('/');
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
    let is_here =
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    (!is_here).then(|| Finding {
        about: place.url.clone(),
        problem: "your key travels there unencrypted".to_owned(),
        fix: "use an https:// address, of a proxy that does TLS".to_owned(),
    })
}

fn readable_profiles() -> Option<Finding> {
    let path = Profiles::path()?;
    let mode = fs::metadata(&path).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| Finding {
        about: path.display().to_string(),
        problem: "others can read your profiles".to_owned(),
        fix: format!("chmod 600 {}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::cli::when::now;

    #[test]
    fn a_key_that_ends_soon_is_told_with_its_fix() {
        let ends_in = |days: i64| {
            let mut end = Timestamp::from(now());
            end.seconds += days * DAY + 60;
            ApiKey { name: "apiKeys/k".into(), expire_time: Some(end), ..Default::default() }
        };
        let found = of_key(&ends_in(3)).expect("it is soon");
        assert_eq!(found.problem, "it ends in 3 days");
        assert_eq!(found.fix, "mediary keys update k --expires 90d");
        assert!(of_key(&ends_in(-1)).expect("it is over").problem.starts_with("it ended at "));
        assert_eq!(of_key(&ends_in(15)), None);
        assert_eq!(of_key(&ApiKey { enabled: Some(false), ..ends_in(3) }), None);
    }

    #[test]
    fn an_account_that_is_not_used_is_told_with_its_fix() {
        let account = |state: AccountState| Account {
            name: "accounts/a".into(),
            state: state.into(),
            ..Default::default()
        };
        let found = of_account(&account(AccountState::CredentialsRejected)).expect("a finding");
        assert!(found.fix.contains("accounts update a --key-stdin"), "{}", found.fix);
        assert_eq!(of_account(&account(AccountState::Active)), None);
        let unknown = Account { state: 99, ..account(AccountState::Active) };
        assert_eq!(of_account(&unknown).expect("a finding").problem, "it cannot be used");
    }

    #[test]
    fn a_key_is_told_apart_from_the_line_it_travels_on() {
        let place = |url: &str| Place {
            url: url.into(),
            api_key: Some("k".into()),
            ca: None,
            profile: None,
        };
        for safe in ["http://127.0.0.1:8484", "http://[::1]:8484/", "localhost:8484", "https://x"] {
            assert_eq!(open_line(&place(safe)), None, "{safe}");
        }
        assert!(open_line(&place("http://10.0.0.1:8484")).is_some());
        assert!(open_line(&place("mediary.example")).is_some());
        assert!(open_line(&Place { api_key: None, ..place("http://10.0.0.1") }).is_none());
    }
}
