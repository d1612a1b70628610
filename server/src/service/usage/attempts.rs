//! ListAttempts: single attempts at providers, failed ones included.

use std::collections::HashMap;

use mediary_domain::{Error, Result};
use mediary_proto::{
    admin::AttemptRecord,
    v1::{AttemptState as WireState, AttemptSummary},
};
use mediary_store::{
    AttemptCursor, AttemptFailure, AttemptField, AttemptRow, AttemptState, AttemptsAsked,
    FieldTest, Wanted,
};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _, pb};

use super::wanted;
use crate::{
    error::DOMAIN,
    ledger::kind,
    provider::AuthScheme,
    registry::Snapshot,
    routing::CallKind,
    service::{
        listing::{
            Asked, Field, FieldKind, Filter, Key, Listing, Order, PageTokens, Pattern, Scope, Term,
            Test, page_size,
        },
        text::events,
    },
};

const GENERATIONS: &str = "generations/";

pub const ATTEMPTS: Listing = Listing {
    rpc: "mediary.admin.v1.UsageService.ListAttempts",
    filter: &[
        Field::new("job", FieldKind::Text),
        Field::new("generation", FieldKind::Text),
        Field::new("model", FieldKind::Text),
        Field::new("provider", FieldKind::Text),
        Field::new("account", FieldKind::Text),
        Field::new("owner", FieldKind::Text),
        Field::new(
            "state",
            FieldKind::Word {
                prefix: "ATTEMPT_STATE_",
                words: &["RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"],
            },
        ),
        Field::new("reason", FieldKind::Text),
        Field::new("http_status", FieldKind::Number),
        Field::new("start_time", FieldKind::Time),
    ],
    order: &["start_time", "cost_pico_usd"],
    usual_order: "start_time desc",
};

/// A page that is asked for.
pub struct Page {
    scope: Scope,
    pub asked: AttemptsAsked,
}

impl Page {
    pub fn read(asked: &Asked<'_>, tokens: &PageTokens) -> Result<Self> {
        let filter = Filter::parse(asked.filter, ATTEMPTS.filter)?;
        let order = Order::parse(asked.order_by, ATTEMPTS.order, ATTEMPTS.usual_order)?;
        let size = page_size(asked.page_size)?;
        let scope = Scope::of(ATTEMPTS.rpc, asked);
        let after = match asked.page_token {
            "" => None,
            token => Some(cursor(&tokens.open(&scope, token)?)?),
        };
        let order = order.columns().iter().map(|column| {
            let field = match column.field {
                "cost_pico_usd" => AttemptField::Cost,
                _ => AttemptField::Start,
            };
            (field, column.descending)
        });
        Ok(Self {
            scope,
            asked: AttemptsAsked {
                wanted: wanted::wanted(&filter, &term),
                order: order.collect(),
                after,
                limit: u32::try_from(size).unwrap_or(u32::MAX),
            },
        })
    }

    pub fn token_behind(&self, cursor: &AttemptCursor, tokens: &PageTokens) -> Result<String> {
        let keys = cursor.values.iter().chain([&cursor.id]).map(|number| Key::Number(*number));
        tokens.seal(&self.scope, &keys.collect::<Vec<_>>())
    }
}

fn cursor(keys: &[Key]) -> Result<AttemptCursor> {
    let numbers = keys.iter().map(|key| match key {
        Key::Number(number) => Some(*number),
        _ => None,
    });
    let numbers: Option<Vec<i64>> = numbers.collect();
    match numbers.as_deref() {
        Some([values @ .., id]) => Ok(AttemptCursor { values: values.to_vec(), id: *id }),
        _ => Err(Error::bug("a page token of the ledger holds no place in it")),
    }
}

fn term(term: &Term) -> Wanted {
    let field = match term.field {
        // No job makes attempts yet.
        "job" => return wanted::nothing(),
        "generation" => return generation(&term.test),
        "state" => return state(&term.test),
        "model" => AttemptField::Model,
        "provider" => AttemptField::Provider,
        "account" => AttemptField::Account,
        "owner" => AttemptField::Owner,
        "reason" => AttemptField::Reason,
        "http_status" => AttemptField::HttpStatus,
        _ => AttemptField::Start,
    };
    wanted::test(field, &term.test)
}

/// The store keeps the ids of calls, and not every call is a generation.
fn generation(test: &Test) -> Wanted {
    let chats = FieldTest::Fits {
        text: kind(CallKind::Chat).to_owned(),
        is_open_before: false,
        is_open_after: false,
        ignores_case: false,
    };
    let chats = Wanted::Field(AttemptField::Kind, chats);
    let of_call = match test {
        Test::Fits(pattern) if !pattern.is_open_before => {
            match pattern.text.strip_prefix(GENERATIONS) {
                Some(rest) => {
                    let pattern = Pattern { text: rest.to_owned(), ..pattern.clone() };
                    Wanted::Field(AttemptField::Call, wanted::fits(&pattern))
                }
                // `gen*` fits them all, `g12` none.
                None if pattern.is_open_after && GENERATIONS.starts_with(&pattern.text) => {
                    Wanted::default()
                }
                None => wanted::nothing(),
            }
        }
        Test::Fits(pattern) if pattern.is_open_after && GENERATIONS.contains(&pattern.text) => {
            Wanted::default()
        }
        Test::Set => Wanted::default(),
        test => {
            // What stands before every id says nothing of the id.
            let test = match test {
                Test::Fits(pattern) => Test::Fits(Pattern {
                    text: pattern.text.rsplit('/').next().unwrap_or_default().to_owned(),
                    ..pattern.clone()
                }),
                Test::Text(comparison, text) => {
                    let rest = text.strip_prefix(GENERATIONS).unwrap_or(text);
                    Test::Text(*comparison, rest.to_owned())
                }
                other => other.clone(),
            };
            wanted::test(AttemptField::Call, &test)
        }
    };
    Wanted::All(vec![chats, of_call])
}

/// The store's words are in lower case.
fn state(test: &Test) -> Wanted {
    match test {
        Test::Fits(pattern) => {
            let text = pattern.text.to_lowercase();
            wanted::test(AttemptField::State, &Test::Fits(Pattern { text, ..pattern.clone() }))
        }
        test => wanted::test(AttemptField::State, test),
    }
}

pub fn view(row: AttemptRow, registry: &Snapshot) -> AttemptRecord {
    let is_generation = row.kind == kind(CallKind::Chat);
    let failure = row.failure.as_ref();
    let provider = row.provider.strip_prefix("providers/").unwrap_or_default();
    let account_hint = registry.providers.get(provider).and_then(|entry| {
        let id = row.account.strip_prefix("accounts/")?;
        let account = entry.accounts.iter().find(|account| account.id == id);
        let is_needed = entry.row.auth.scheme != AuthScheme::None;
        // One that is gone has left its id.
        is_needed.then(|| account.map_or(id, |account| account.display_name.as_str()).to_owned())
    });
    let attempt = AttemptSummary {
        index: i32::try_from(row.index).unwrap_or(i32::MAX),
        model: row.model,
        account_hint: account_hint.unwrap_or_default(),
        provider_task_id: String::new(),
        state: match row.state {
            AttemptState::Succeeded => WireState::Succeeded,
            AttemptState::Failed => WireState::Failed,
            AttemptState::Cancelled => WireState::Cancelled,
        }
        .into(),
        start_time: Some(row.start.into()),
        end_time: Some(row.end.into()),
        http_status: failure.and_then(|failure| failure.http_status),
        status: failure.map(rpc_status),
        usage: row.usage.as_ref().map(events::usage),
        media_usage: None,
        cost_pico_usd: row.cost.0,
        outcome_known: !failure.is_some_and(|failure| events::is_open_reason(&failure.reason)),
    };
    AttemptRecord {
        attempt: Some(attempt),
        job: String::new(),
        generation: if is_generation {
            format!("{GENERATIONS}{}", row.call)
        } else {
            String::new()
        },
        account: row.account,
        owner: row.owner,
        api_key: row.api_key,
        capability: row.capability,
        upstream_excerpt: row.failure.map(|failure| failure.excerpt).unwrap_or_default(),
        upstream_request_id: row.upstream_request_id,
        first_byte_duration: row.first_token.and_then(events::duration),
    }
}

/// The failure as far as it is kept.
fn rpc_status(failure: &AttemptFailure) -> pb::Status {
    let details =
        ErrorDetails::with_error_info(&failure.reason, DOMAIN, HashMap::<String, String>::new());
    let code = Code::from_i32(failure.code);
    let status = Status::with_error_details(code, failure.message.as_str(), details);
    pb::Status::decode(status.details()).unwrap_or_default()
}
