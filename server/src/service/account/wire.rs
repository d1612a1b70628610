//! How an account looks to operators and admins, and what an admin may make of it.

use http::HeaderValue;
use mediary_domain::{Error, Kind, Result};
use mediary_proto::admin::{
    self as pb, AccountHealth, AccountState as WireState, BreakerState, account::Credential,
};
use mediary_store::{AccountState, Stamp};
use serde_json::{Map, Value as Json};

use crate::{
    access::Role,
    config::{self, ProtocolSettings, Secret},
    error,
    registry::{Account, AccountSettings, Budget, Limits},
    routing::{Position, SHOWN, Standing},
    service::{
        decide::{self, check_readable},
        listing::{Field, FieldKind, Listing, Row as Listed, Value},
        names,
        problems::Problems,
    },
};

pub const COLLECTION: &str = "accounts";
/// Fields that a change never sets.
pub const NOT_SET: &[&str] = &[
    "name",
    "key_hint",
    "key_fingerprint",
    "state",
    "health",
    "origin",
    "create_time",
    "update_time",
    "etag",
];

const STATE: &str = "ACCOUNT_STATE_";
const LONGEST_NAME: usize = 128;
const LONGEST_KEY: usize = 16 * 1024;
const LONGEST_URI: usize = 2048;
const MOST_SETTINGS: usize = 64 * 1024;
const MOST_MODELS: usize = 1_000;

pub const ACCOUNTS: Listing = Listing {
    rpc: "mediary.admin.v1.AccountService.ListAccounts",
    filter: &[
        Field::new("name", FieldKind::Text),
        Field::new("display_name", FieldKind::Text),
        Field::new("provider", FieldKind::Text),
        Field::new(
            "state",
            FieldKind::Word {
                prefix: STATE,
                words: &[
                    "ACTIVE",
                    "DISABLED",
                    "RATE_LIMITED",
                    "FAILING",
                    "CREDENTIALS_REJECTED",
                    "UNUSABLE",
                ],
            },
        ),
        Field::new("origin", FieldKind::Text),
    ],
    order: &["name", "display_name", "provider", "create_time"],
    usual_order: "name",
};

/// An account as it is now, with its names, for lists.
pub struct View<'a> {
    pub account: &'a Account,
    pub standing: Standing,
    name: String,
    provider: String,
}

impl<'a> View<'a> {
    pub fn new(account: &'a Account, standing: Standing) -> Self {
        let provider = format!("providers/{}", account.provider);
        Self { name: account.name(), provider, account, standing }
    }
}

impl Listed for View<'_> {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        match field {
            "name" => self.name.as_str().into(),
            "display_name" => self.account.display_name.as_str().into(),
            "provider" => self.provider.as_str().into(),
            "state" => {
                let word = state_now(self.account, &self.standing).as_str_name();
                word.strip_prefix(STATE).unwrap_or(word).into()
            }
            "origin" => self.account.origin.as_str().into(),
            "create_time" => match self.account.stamp {
                Some(stamp) => Value::Time(stamp.create_time),
                None => Value::Missing,
            },
            _ => Value::Missing,
        }
    }
}

pub fn missing(name: &str) -> Error {
    Error::not_found("mediary.admin.v1.Account", name)
}

fn state(account: &Account) -> WireState {
    match (account.state, &account.fault) {
        (AccountState::Disabled, _) => WireState::Disabled,
        (AccountState::CredentialsRejected, _) => WireState::CredentialsRejected,
        (AccountState::Active, Some(_)) => WireState::Unusable,
        (AccountState::Active, None) => WireState::Active,
    }
}

fn state_now(account: &Account, standing: &Standing) -> WireState {
    match state(account) {
        WireState::Active if standing.rejected => WireState::CredentialsRejected,
        WireState::Active if standing.closed_until.is_some() => WireState::RateLimited,
        WireState::Active if standing.position != Position::Closed => WireState::Failing,
        state => state,
    }
}

/// The account as it is now, with how its calls go.
pub fn shown(account: &Account, standing: &Standing, role: Role) -> pb::Account {
    let fixed = view(account, role);
    let health = fixed.health.unwrap_or_else(|| health(standing));
    pb::Account { state: state_now(account, standing).into(), health: Some(health), ..fixed }
}

fn health(standing: &Standing) -> AccountHealth {
    let windows = SHOWN.iter().zip(standing.windows).map(|(length, (requests, successes))| {
        let window_duration = prost_types::Duration::try_from(*length).ok();
        pb::SuccessWindow { window_duration, requests, successes }
    });
    let (last_error, last_error_time) = match &standing.last_error {
        Some((error, time)) => (Some(error::rpc_status(error)), Some((*time).into())),
        None => (None, None),
    };
    AccountHealth {
        success_windows: windows.collect(),
        consecutive_failures: i32::try_from(standing.failures_in_a_row).unwrap_or(i32::MAX),
        breaker_state: match standing.position {
            Position::Closed => BreakerState::Closed,
            Position::Open(_) => BreakerState::Open,
            Position::HalfOpen => BreakerState::HalfOpen,
        }
        .into(),
        retry_time: standing.retry_time.map(Into::into),
        last_error,
        last_error_time,
        day_cost_pico_usd: standing.day_cost.0,
        month_cost_pico_usd: standing.month_cost.0,
        statistics: Some(pb::CallStatistics {
            requests: standing.requests,
            successes: standing.successes,
            success_rate: standing.success_rate,
            cost_pico_usd: standing.cost.0,
        }),
        latency_duration: standing
            .latency
            .and_then(|latency| prost_types::Duration::try_from(latency).ok()),
    }
}

fn protocol(settings: &ProtocolSettings) -> String {
    if settings.is_usual() {
        return String::new();
    }
    serde_json::to_string(settings).unwrap_or_default()
}

/// The account without its secret, as it is kept: what a version of it is.
pub fn view(account: &Account, role: Role) -> pb::Account {
    let settings = &account.settings;
    let stamp = account.stamp.filter(|stamp| *stamp != Stamp::default());
    let whole = pb::Account {
        name: account.name(),
        provider: format!("providers/{}", account.provider),
        display_name: account.display_name.clone(),
        credential: None,
        key_hint: account.key_hint.clone(),
        key_fingerprint: account.key_fingerprint.clone(),
        base_uri: settings.base_uri.clone(),
        settings_json: protocol(&settings.protocol),
        limits: settings.limits.map(|limits| pb::RateLimits {
            requests_per_minute: limits.requests_per_minute,
            requests_per_day: limits.requests_per_day,
            tokens_per_minute: limits.tokens_per_minute,
            tokens_per_day: limits.tokens_per_day,
            concurrent_requests: limits.concurrent_requests,
        }),
        budget: settings.budget.map(|budget| pb::Budget {
            day_cost_pico_usd: budget.day_pico_usd,
            month_cost_pico_usd: budget.month_pico_usd,
        }),
        weight: settings.weight,
        allowed_models: settings.allowed_models.clone(),
        state: state(account).into(),
        health: account.fault.as_ref().map(|fault| AccountHealth {
            breaker_state: BreakerState::Open.into(),
            last_error: Some(error::rpc_status(&Error::new(Kind::NoUsableAccount, fault.clone()))),
            ..AccountHealth::default()
        }),
        origin: account.origin.as_str().to_owned(),
        create_time: stamp.map(|stamp| stamp.create_time.into()),
        update_time: stamp.map(|stamp| stamp.update_time.into()),
        etag: String::new(),
    };
    let etag = decide::etag_of(account.stamp.as_ref(), &whole);
    let base_uri = if role >= Role::Admin { whole.base_uri.clone() } else { String::new() };
    pb::Account { base_uri, etag, ..whole }
}

/// What an admin wants an account to be.
pub struct Wanted {
    pub display_name: String,
    /// Without the address that the key is for.
    pub settings: AccountSettings,
    /// `None` = the key stays.
    pub credential: Option<NewCredential>,
}

pub enum NewCredential {
    Key(Secret),
    Reference(String),
}

/// Everything that is wrong is said at once; whether a reference may be followed is asked later.
pub fn parse(id: &str, provider: &str, wire: pb::Account) -> Result<Wanted> {
    let mut problems = Problems::default();
    check_readable("account.display_name", &wire.display_name, LONGEST_NAME, &mut problems);
    let credential = match wire.credential {
        None => None,
        Some(Credential::ApiKey(key)) => {
            let is_sendable = HeaderValue::try_from(key.as_str()).is_ok() && key.trim() == key;
            if key.is_empty() || key.len() > LONGEST_KEY || !is_sendable {
                let problem = "must be a key without white space around it, line breaks and other \
                               characters that no HTTP header may hold";
                problems.field("account.api_key", problem);
            }
            Some(NewCredential::Key(Secret::new(key)))
        }
        Some(Credential::SecretRef(text)) => Some(NewCredential::Reference(text)),
    };
    if !wire.base_uri.is_empty()
        && (wire.base_uri.len() > LONGEST_URI || !config::is_http_uri(&wire.base_uri))
    {
        let problem = "must be an http or https address such as https://api.example.com/v1, \
                       without user, password, query and fragment";
        problems.field("account.base_uri", problem);
    }
    let protocol = match wire.settings_json.as_str() {
        "" => ProtocolSettings::default(),
        text if text.len() > MOST_SETTINGS => {
            problems.field("account.settings_json", format!("has more than {MOST_SETTINGS} bytes"));
            ProtocolSettings::default()
        }
        // By way of an object: a struct would be read from a list as well.
        text => serde_json::from_str::<Map<String, Json>>(text)
            .and_then(|object| serde_json::from_value(Json::Object(object)))
            .unwrap_or_else(|error| {
                problems.field("account.settings_json", format!("is not what is known: {error}"));
                ProtocolSettings::default()
            }),
    };
    if wire.weight.is_some_and(|weight| !weight.is_finite() || weight <= 0.0) {
        problems.field("account.weight", "must be above 0");
    }
    if wire.allowed_models.len() > MOST_MODELS {
        problems.field("account.allowed_models", format!("holds at most {MOST_MODELS} names"));
    }
    let prefix = format!("providers/{provider}/models/");
    for (n, name) in wire.allowed_models.iter().enumerate() {
        let is_one = name.strip_prefix(&prefix).is_some_and(|model| !model.is_empty());
        if !is_one || name.len() > 512 {
            let problem = format!("must be {prefix}{{model}}");
            problems.field(format!("account.allowed_models[{n}]"), problem);
        }
    }
    let limits = wire.limits.map(|limits| limits_of(&limits, &mut problems));
    let budget = wire.budget.map(|budget| budget_of(&budget, &mut problems));
    problems.result(Wanted {
        display_name: match wire.display_name.as_str() {
            "" => id.to_owned(),
            name => name.to_owned(),
        },
        settings: AccountSettings {
            base_uri: wire.base_uri.trim_end_matches('/').to_owned(),
            key_for: String::new(),
            protocol,
            allowed_models: wire.allowed_models,
            weight: wire.weight,
            limits: limits.filter(|limits| *limits != Limits::default()),
            budget: budget.filter(|budget| *budget != Budget::default()),
        },
        credential,
    })
}

fn limits_of(wire: &pb::RateLimits, problems: &mut Problems) -> Limits {
    for (field, limit) in [
        ("requests_per_minute", wire.requests_per_minute),
        ("requests_per_day", wire.requests_per_day),
        ("tokens_per_minute", wire.tokens_per_minute),
        ("tokens_per_day", wire.tokens_per_day),
        ("concurrent_requests", wire.concurrent_requests.map(i64::from)),
    ] {
        if limit.is_some_and(|limit| limit < 1) {
            problems.field(format!("account.limits.{field}"), "must be at least 1");
        }
    }
    Limits {
        requests_per_minute: wire.requests_per_minute,
        requests_per_day: wire.requests_per_day,
        tokens_per_minute: wire.tokens_per_minute,
        tokens_per_day: wire.tokens_per_day,
        concurrent_requests: wire.concurrent_requests,
    }
}

fn budget_of(wire: &pb::Budget, problems: &mut Problems) -> Budget {
    for (field, most) in [
        ("day_cost_pico_usd", wire.day_cost_pico_usd),
        ("month_cost_pico_usd", wire.month_cost_pico_usd),
    ] {
        if most.is_some_and(|most| most < 0) {
            problems.field(format!("account.budget.{field}"), "must not be negative");
        }
    }
    Budget { day_pico_usd: wire.day_cost_pico_usd, month_pico_usd: wire.month_cost_pico_usd }
}

/// The provider that an account names.
pub fn provider(named: &str) -> Result<&str> {
    let id = names::id_in("account.provider", named, "providers");
    id.map_err(|_| Error::field("account.provider", "must be providers/{provider}"))
}
