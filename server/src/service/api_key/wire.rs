//! How a key looks to an admin, and what an admin may make of it.

use std::time::{Duration, SystemTime};

use mediary_domain::{Error, Result};
use mediary_proto::{
    admin::{ApiKey, Budget, RateLimits},
    options,
};
use mediary_store::{ApiKey as Row, Stamp};

use crate::{
    access::{KeySettings, Role},
    service::{
        listing::{Field, FieldKind, Listing, Row as Listed, Value},
        methods, names,
    },
};

pub const COLLECTION: &str = "apiKeys";
/// Fields that a change never sets.
pub const NOT_SET: &[&str] = &[
    "name",
    "key_hint",
    "last_used_time",
    "day_cost_pico_usd",
    "month_cost_pico_usd",
    "create_time",
    "update_time",
    "etag",
];

const ROLE: &str = "ROLE_";
const MOST_NAMES: usize = 100;
const LONGEST_TEXT: usize = 128;

pub const KEYS: Listing = Listing {
    rpc: "mediary.admin.v1.ApiKeyService.ListApiKeys",
    filter: &[
        Field::new("name", FieldKind::Text),
        Field::new("display_name", FieldKind::Text),
        Field::new(
            "role",
            FieldKind::Word { prefix: ROLE, words: &["VIEWER", "USER", "OPERATOR", "ADMIN"] },
        ),
        Field::new("owner", FieldKind::Text),
        Field::new("enabled", FieldKind::Bool),
        Field::new("expire_time", FieldKind::Time),
        Field::new("last_used_time", FieldKind::Time),
    ],
    order: &["name", "display_name", "create_time", "last_used_time"],
    usual_order: "name",
};

/// A row with its name, for lists.
pub struct Kept {
    pub row: Row,
    name: String,
}

impl Kept {
    pub fn new(row: Row) -> Self {
        Self { name: name(&row.id), row }
    }
}

impl Listed for Kept {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        let time = |time: Option<SystemTime>| time.map_or(Value::Missing, Value::Time);
        match field {
            "name" => self.name.as_str().into(),
            "display_name" => self.row.display_name.as_str().into(),
            "role" => Value::Text(self.row.role.to_uppercase().into()),
            "owner" => self.row.owner.as_str().into(),
            "enabled" => Value::Bool(self.row.enabled),
            "expire_time" => time(self.row.expire_time),
            "last_used_time" => time(self.row.last_used_time),
            "create_time" => Value::Time(self.row.stamp.create_time),
            _ => Value::Missing,
        }
    }
}

pub fn name(id: &str) -> String {
    format!("{COLLECTION}/{id}")
}

pub fn missing(name: &str) -> Error {
    Error::not_found("mediary.admin.v1.ApiKey", name)
}

/// The key without its secret, which nobody has.
pub fn view(row: &Row) -> ApiKey {
    // What cannot be read admits nobody, and is shown as empty.
    let settings: KeySettings = serde_json::from_str(&row.settings_json).unwrap_or_default();
    let KeySettings { allowed_routes, allowed_models, .. } = &settings;
    let is_kept = row.stamp != Stamp::default();
    ApiKey {
        name: name(&row.id),
        display_name: row.display_name.clone(),
        role: Role::parse(&row.role).map_or(options::Role::Unspecified, wire_role).into(),
        owner: row.owner.clone(),
        key_hint: row.key_hint.clone(),
        allowed_routes: allowed_routes.clone(),
        allowed_models: allowed_models.clone(),
        limits: limits(&settings),
        budget: budget(&settings),
        enabled: Some(row.enabled),
        expire_time: row.expire_time.map(Into::into),
        last_used_time: row.last_used_time.map(Into::into),
        day_cost_pico_usd: 0,
        month_cost_pico_usd: 0,
        create_time: is_kept.then(|| row.stamp.create_time.into()),
        update_time: is_kept.then(|| row.stamp.update_time.into()),
        etag: if is_kept { row.stamp.version.to_etag() } else { String::new() },
    }
}

fn limits(settings: &KeySettings) -> Option<RateLimits> {
    let limits = RateLimits {
        requests_per_minute: settings.requests_per_minute.map(i64::from),
        requests_per_day: settings.requests_per_day.map(i64::from),
        concurrent_requests: settings.concurrent_requests.and_then(|most| i32::try_from(most).ok()),
        tokens_per_minute: settings.tokens_per_minute,
        tokens_per_day: settings.tokens_per_day,
    };
    (limits != RateLimits::default()).then_some(limits)
}

fn budget(settings: &KeySettings) -> Option<Budget> {
    let budget = Budget {
        day_cost_pico_usd: settings.day_pico_usd,
        month_cost_pico_usd: settings.month_pico_usd,
    };
    (budget != Budget::default()).then_some(budget)
}

fn wire_role(role: Role) -> options::Role {
    match role {
        Role::Viewer => options::Role::Viewer,
        Role::User => options::Role::User,
        Role::Operator => options::Role::Operator,
        Role::Admin => options::Role::Admin,
    }
}

/// What an admin wants the key to be; owner, secret and stamp are not in it. Everything that is
/// wrong is said at once. `now`: the key is made, and must not have ended.
pub fn parse(id: &str, wire: ApiKey, now: Option<SystemTime>) -> Result<Row> {
    let mut problems: Option<Error> = None;
    let mut wrong = |field: &str, description: String| {
        let error = Error::field(format!("api_key.{field}"), description);
        problems = Some(match problems.take() {
            Some(first) => first.and(error),
            None => error,
        });
    };
    let role = methods::role(wire.role());
    if role.is_none() {
        wrong("role", "must be viewer, user, operator or admin".to_owned());
    }
    if is_unreadable(&wire.display_name) {
        wrong("display_name", readable());
    }
    let expire_time = wire.expire_time.map(SystemTime::try_from);
    match (&expire_time, now) {
        (Some(Err(_)), _) => wrong("expire_time", "is no time".to_owned()),
        (Some(Ok(end)), Some(now)) if *end <= now => {
            wrong("expire_time", "lies in the past".to_owned());
        }
        _ => {}
    }
    let is_route = |name: &str| name.strip_prefix("routes/").is_some_and(names::is_id);
    let is_model = |name: &str| {
        let parts = name.strip_prefix("providers/").and_then(|rest| rest.split_once("/models/"));
        parts.is_some_and(|(provider, model)| names::is_id(provider) && !model.is_empty())
    };
    for (field, list, fits, expected) in [
        (
            "allowed_routes",
            &wire.allowed_routes,
            &is_route as &dyn Fn(&str) -> bool,
            "routes/{task}",
        ),
        (
            "allowed_models",
            &wire.allowed_models,
            &is_model,
            "providers/{provider}/models/{model}, or providers/{provider}/models/- for all of it",
        ),
    ] {
        if list.len() > MOST_NAMES {
            wrong(field, format!("holds at most {MOST_NAMES} names"));
        }
        for (n, name) in list.iter().enumerate() {
            if name.len() > 512 || !fits(name) {
                wrong(&format!("{field}[{n}]"), format!("must be {expected}"));
            }
        }
    }
    let limits = wire.limits.unwrap_or_default();
    let mut number = |field: &str, limit: Option<i64>| {
        let number = u32::try_from(limit?).ok().filter(|number| *number > 0);
        if number.is_none() {
            wrong(&format!("limits.{field}"), "must lie between 1 and 4294967295".to_owned());
        }
        number
    };
    let requests_per_minute = number("requests_per_minute", limits.requests_per_minute);
    let requests_per_day = number("requests_per_day", limits.requests_per_day);
    let concurrent_requests =
        number("concurrent_requests", limits.concurrent_requests.map(i64::from));
    for (field, limit) in
        [("tokens_per_minute", limits.tokens_per_minute), ("tokens_per_day", limits.tokens_per_day)]
    {
        if limit.is_some_and(|limit| limit < 1) {
            wrong(&format!("limits.{field}"), "must be at least 1".to_owned());
        }
    }
    let budget = wire.budget.unwrap_or_default();
    for (field, most) in [
        ("day_cost_pico_usd", budget.day_cost_pico_usd),
        ("month_cost_pico_usd", budget.month_cost_pico_usd),
    ] {
        if most.is_some_and(|most| most < 0) {
            wrong(&format!("budget.{field}"), "must not be negative".to_owned());
        }
    }
    let (Some(role), None) = (role, &problems) else {
        return Err(problems.unwrap_or_else(|| Error::bug("a key that is wrong in nothing")));
    };
    let settings = KeySettings {
        allowed_routes: wire.allowed_routes,
        allowed_models: wire.allowed_models,
        requests_per_minute,
        requests_per_day,
        concurrent_requests,
        tokens_per_minute: limits.tokens_per_minute,
        tokens_per_day: limits.tokens_per_day,
        day_pico_usd: budget.day_cost_pico_usd,
        month_pico_usd: budget.month_cost_pico_usd,
    };
    Ok(Row {
        id: id.to_owned(),
        prefix: String::new(),
        secret_hash: [0; 32],
        key_hint: String::new(),
        owner: String::new(),
        display_name: match wire.display_name.as_str() {
            "" => id.to_owned(),
            name => name.to_owned(),
        },
        role: role.as_str().to_owned(),
        enabled: wire.enabled.unwrap_or(true),
        expire_time: expire_time.and_then(Result::ok).map(to_micros),
        last_used_time: None,
        settings_json: serde_json::to_string(&settings)
            .map_err(|_| Error::bug("the settings of a key cannot be written"))?,
        stamp: Stamp::default(),
    })
}

/// The store keeps microseconds; what is shown before it is kept is shown alike.
fn to_micros(time: SystemTime) -> SystemTime {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => {
            let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
        }
        Err(_) => SystemTime::UNIX_EPOCH,
    }
}

/// Whose work the key does; without a word an owner of its own.
pub fn owner(named: &str, id: &str) -> Result<String> {
    match named {
        "" => Ok(id.to_owned()),
        _ if is_unreadable(named) => Err(Error::field("api_key.owner", readable())),
        _ => Ok(named.to_owned()),
    }
}

fn is_unreadable(text: &str) -> bool {
    text.chars().count() > LONGEST_TEXT || text.chars().any(char::is_control)
}

fn readable() -> String {
    format!("must have at most {LONGEST_TEXT} characters, none of them a control character")
}
