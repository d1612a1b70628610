//! QueryUsage: a question of a time, split and filtered by what attempts have in common.

use std::time::{Duration, SystemTime};

use mediary_domain::{Error, Result};
use mediary_proto::admin::{QueryUsageRequest, UsageBucket, UsageGroup, UsageInterval};
use mediary_store::{AttemptField, UsageAsked, UsageSum, Wanted, from_micros, to_micros};

use super::wanted;
use crate::service::{
    listing::{Field, FieldKind, Filter, Row, Term, Value},
    problems::Problems,
    text::events,
};

pub const RPC: &str = "mediary.admin.v1.UsageService.QueryUsage";
pub const ORDER: &[&str] = &["start_time", "cost_pico_usd", "requests"];
pub const USUAL_ORDER: &str = "start_time";

const FILTER: &[Field] = &[
    Field::new("model", FieldKind::Text),
    Field::new("provider", FieldKind::Text),
    Field::new("account", FieldKind::Text),
    Field::new("preset", FieldKind::Text),
    Field::new("route", FieldKind::Text),
    Field::new("owner", FieldKind::Text),
    Field::new("api_key", FieldKind::Text),
    Field::new("capability", FieldKind::Text),
    Field::new("labels", FieldKind::Labels),
];

/// Keys of one question.
const MOST_KEYS: usize = 4;
/// Sums of one question.
const MOST_SUMS: usize = 50_000;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A question that is checked.
pub struct Question {
    from: SystemTime,
    until: SystemTime,
    bucket: Option<Duration>,
    keys: Vec<String>,
    fields: Vec<AttemptField>,
    wanted: Wanted,
}

/// A sum as it is sorted and shown.
pub struct Summed {
    pub bucket: UsageBucket,
    /// Begin and groups: no two have the same.
    place: String,
}

impl Question {
    pub fn read(request: &QueryUsageRequest, now: SystemTime) -> Result<Self> {
        let mut problems = Problems::default();
        let mut time = |field: &str, time: Option<prost_types::Timestamp>| {
            let time = time.map(SystemTime::try_from);
            if matches!(time, Some(Err(_))) {
                problems.field(field, "is no point in time");
            }
            time.and_then(Result::ok)
        };
        let from = time("start_time", request.start_time);
        let until = time("end_time", request.end_time).unwrap_or(now);
        if request.start_time.is_none() {
            problems.field("start_time", "is required");
        }
        let length = from.map(|from| until.duration_since(from).unwrap_or_default());
        if length == Some(Duration::ZERO) {
            problems.field("end_time", "must lie after start_time");
        }
        let interval = UsageInterval::try_from(request.interval);
        let (bucket, most) = match interval {
            Ok(UsageInterval::Unspecified) => (None, None),
            Ok(UsageInterval::Minute) => (Some(MINUTE), Some(("24 hours", DAY))),
            Ok(UsageInterval::Hour) => (Some(HOUR), Some(("31 days", 31 * DAY))),
            Ok(UsageInterval::Day) => (Some(DAY), Some(("400 days", 400 * DAY))),
            Err(_) => {
                problems.field("interval", "is not known");
                (None, None)
            }
        };
        if let (Some(length), Some((words, seconds))) = (length, most)
            && length > Duration::from_secs(seconds)
        {
            let message = format!("buckets of that length are made of at most {words}");
            problems.field("interval", message);
        }
        let fields = fields(&request.group_by, &mut problems);
        let filter = Filter::parse(&request.filter, FILTER)?;
        problems.result(Self {
            from: from.unwrap_or(SystemTime::UNIX_EPOCH),
            until,
            bucket: bucket.map(Duration::from_secs),
            keys: request.group_by.clone(),
            fields,
            wanted: wanted::wanted(&filter, &term),
        })
    }

    /// What a page token is bound to beside what every list has. An end that is not set moves on
    /// with the time, and is not part of it.
    pub fn scope(&self, request: &QueryUsageRequest) -> String {
        format!(
            "{} {:?} {} {:?}",
            to_micros(self.from),
            request.end_time.map(|_| to_micros(self.until)),
            request.interval,
            self.keys
        )
    }

    pub fn asked(&self) -> UsageAsked {
        UsageAsked {
            from: self.from,
            until: self.until,
            bucket: self.bucket,
            group_by: self.fields.clone(),
            wanted: self.wanted.clone(),
            most: MOST_SUMS,
        }
    }

    pub fn rows(&self, sums: Option<Vec<UsageSum>>) -> Result<Vec<Summed>> {
        let Some(sums) = sums else {
            let message = format!(
                "makes more than {MOST_SUMS} buckets: ask for less time, longer buckets or fewer \
                 keys, or filter"
            );
            return Err(Error::field("group_by", message));
        };
        Ok(sums.into_iter().map(|sum| self.row(sum)).collect())
    }

    fn row(&self, sum: UsageSum) -> Summed {
        // The first and the last bucket are no longer than what was asked for.
        let (start, end) = match self.bucket {
            None => (self.from, self.until),
            Some(length) => {
                let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
                let start = from_micros(sum.bucket.saturating_mul(micros));
                (start.max(self.from), (start + length).min(self.until))
            }
        };
        let mut place = format!("{:020}", to_micros(start));
        for group in &sum.groups {
            place.push('\0');
            place.push_str(group);
        }
        let groups = self.keys.iter().zip(sum.groups);
        let groups = groups.map(|(key, value)| UsageGroup { key: key.clone(), value });
        Summed {
            place,
            bucket: UsageBucket {
                start_time: Some(start.into()),
                end_time: Some(end.into()),
                groups: groups.collect(),
                requests: sum.calls,
                successes: sum.calls_succeeded,
                usage: sum.usage.as_ref().map(events::usage),
                media_usage: None,
                // 9 million dollars: more does not fit into the contract.
                cost_pico_usd: i64::try_from(sum.cost).unwrap_or(i64::MAX),
                latency_p50_duration: sum.took.p50.and_then(events::duration),
                latency_p95_duration: sum.took.p95.and_then(events::duration),
                latency_p99_duration: sum.took.p99.and_then(events::duration),
                attempts: sum.attempts,
            },
        }
    }
}

impl Row for Summed {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        match field {
            "start_time" => self.place.as_str().into(),
            "cost_pico_usd" => Value::Number(self.bucket.cost_pico_usd),
            "requests" => Value::Number(self.bucket.requests),
            _ => Value::Missing,
        }
    }
}

fn fields(keys: &[String], problems: &mut Problems) -> Vec<AttemptField> {
    if keys.len() > MOST_KEYS {
        problems.field("group_by", format!("holds at most {MOST_KEYS} keys"));
    }
    let mut fields = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        let label = key.strip_prefix("labels.").filter(|label| !label.is_empty());
        let field = match label {
            Some(label) => Some(AttemptField::Label(label.to_owned())),
            None => field(key),
        };
        match field {
            Some(field) if fields.contains(&field) => {
                problems.field(format!("group_by[{at}]"), "stands twice");
            }
            Some(field) => fields.push(field),
            None => problems.field(
                format!("group_by[{at}]"),
                "must be model, provider, account, preset, route, owner, api_key, capability, or \
                 labels. and the key of a label",
            ),
        }
    }
    fields
}

fn field(key: &str) -> Option<AttemptField> {
    Some(match key {
        "model" => AttemptField::Model,
        "provider" => AttemptField::Provider,
        "account" => AttemptField::Account,
        "preset" => AttemptField::Preset,
        "route" => AttemptField::Route,
        "owner" => AttemptField::Owner,
        "api_key" => AttemptField::ApiKey,
        "capability" => AttemptField::Capability,
        _ => return None,
    })
}

fn term(term: &Term) -> Wanted {
    let field = match &term.key {
        Some(label) => Some(AttemptField::Label(label.clone())),
        None => field(term.field),
    };
    field.map_or_else(wanted::nothing, |field| wanted::test(field, &term.test))
}
