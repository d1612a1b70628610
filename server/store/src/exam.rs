//! The exam: what every backend must answer alike.
//!
//! Owns: the questions, one async function each, and the samples they are asked with. A backend
//! sits it with [`crate::exam!`], which makes one test of every question.
//! Leaves: what only one backend can be asked (files, processes, SQL): its own tests.

#![expect(clippy::expect_used, clippy::panic, reason = "who fails the exam is told by a panic")]

pub mod accounts;
pub mod api_keys;
pub mod audit;
pub mod catalog;
pub mod learning;
pub mod ledger;
pub mod pages;
pub mod quotas;
pub mod recipes;
pub mod registry;
pub mod requests;
pub mod routes;
pub mod texts;
pub mod units;

use std::{
    fmt::Debug,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    Account, AccountState, ApiKey, AuditEvent, CatalogKey, CatalogRow, Change, RecipeKey,
    RecipeRow, Request, RequestKey, Route, Saved, Sealed, Secret, Stamp,
};

/// Makes a test of every question. `$fresh` is an async function that gives an empty store and
/// whatever must be kept while it is used: `(mediary_store::Shared, impl Sized)`.
#[macro_export]
macro_rules! exam {
    ($fresh:ident) => {
        $crate::exam! { @questions $fresh
            accounts {
                an_account_comes_back_as_it_was_kept
                accounts_are_found_by_provider
                an_update_keeps_what_it_may_not_change
                a_state_that_holds_already_is_no_change
                a_deleted_account_is_gone
                a_stale_version_changes_nothing
            }
            api_keys {
                a_key_comes_back_as_it_was_kept
                a_taken_id_or_prefix_is_refused
                an_update_keeps_what_it_may_not_change
                use_is_noted_without_a_new_version
                a_deleted_key_is_gone
                a_stale_version_changes_nothing
            }
            audit {
                an_event_comes_back_as_it_was_kept
                events_come_newest_first_in_the_order_they_were_kept
                filters_mean_what_they_say
                pages_hold_every_event_once_while_others_come
                an_event_is_kept_once
            }
            catalog {
                providers_come_before_models
                a_row_is_made_changed_and_deleted
                a_refresh_is_kept_as_a_whole
                a_provider_takes_its_models_and_accounts_with_it
                a_stale_version_changes_nothing
            }
            ledger {
                an_attempt_comes_back_as_it_was_kept
                a_batch_is_kept_once
                pages_hold_every_attempt_once_in_every_order
                filters_mean_what_they_say
                sums_are_exact_and_a_call_counts_with_its_last_attempt
                sums_fall_into_the_buckets_in_which_attempts_ended
                accounts_are_told_what_they_did
                only_what_is_old_is_forgotten
            }
            learning {
                what_was_learned_comes_back_and_is_no_change
                what_was_learned_goes_with_its_preset
            }
            pages {
                pages_hold_every_row_once
                rows_that_come_and_go_neither_repeat_nor_hide_others
            }
            recipes {
                presets_come_before_workflows
                a_recipe_is_put_and_deleted
                several_are_deleted_at_once
            }
            quotas {
                a_limit_gives_out_what_it_has
                a_clock_that_is_set_back_gives_nothing_out_twice
                what_was_not_used_can_be_had_again
                many_at_once_get_no_more_than_there_is
                its_time_is_kept
            }
            registry {
                every_change_is_one_version
                what_is_no_change_is_no_version
                who_waits_is_woken
                rows_are_of_one_moment
                a_change_based_on_another_version_is_refused
                its_salt_stays
            }
            requests {
                a_repeat_is_told_what_was_made
                another_payload_is_refused
                owners_and_methods_are_apart
                after_the_window_it_is_a_new_request
                only_what_has_ended_is_forgotten
                of_64_twins_one_has_an_effect
                twins_with_other_payloads_are_refused
            }
            routes {
                a_route_is_made_changed_and_deleted
                a_route_can_be_put
                a_stale_version_changes_nothing
            }
            texts {
                a_text_comes_back_as_it_went_in
                no_text_is_read_as_a_command
            }
            units {
                a_unit_whose_last_step_fails_leaves_nothing
                a_refused_effect_leaves_no_request_and_no_event
                a_missing_row_leaves_no_request_and_no_event
                who_is_refused_does_not_harm_its_neighbours
                everything_that_goes_with_a_change_is_kept
                a_closed_store_refuses
            }
        }
    };
    (@questions $fresh:ident $($noun:ident { $($question:ident)* })*) => {
        $(mod $noun {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $question() {
                let (store, _kept) = super::$fresh().await;
                $crate::exam::$noun::$question(&store).await;
                store.close().await;
            })*
        })*
    };
}

/// A moment, in seconds after the beginning of the exam.
fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds)
}

/// A change that nothing goes with.
fn plain(seconds: u64) -> Change {
    Change::at(at(seconds))
}

fn done<T: Debug>(saved: crate::Result<Saved<T>>) -> T {
    match saved {
        Ok(Saved::Done(row)) => row,
        other => panic!("it should have been kept: {other:?}"),
    }
}

fn stamp(version: u64, made: u64, changed: u64) -> Stamp {
    Stamp { version: crate::Version(version), create_time: at(made), update_time: at(changed) }
}

fn account(id: &str) -> Account {
    Account {
        id: id.into(),
        provider: "openai".into(),
        display_name: "Team".into(),
        secret: Secret::Sealed(Sealed { key_id: "k1".into(), bytes: vec![0, 255, 7] }),
        key_hint: "wxyz".into(),
        key_fingerprint: "f00d".into(),
        state: AccountState::Active,
        origin: "manual".into(),
        settings_json: r#"{"weight":2}"#.into(),
        stamp: Stamp::default(),
    }
}

fn api_key(id: &str) -> ApiKey {
    ApiKey {
        id: id.into(),
        prefix: format!("p-{id}"),
        secret_hash: [7; 32],
        key_hint: "abcd".into(),
        owner: "ann".into(),
        display_name: "Laptop".into(),
        role: "user".into(),
        enabled: true,
        expire_time: Some(at(1_000_000)),
        last_used_time: None,
        settings_json: "{}".into(),
        stamp: Stamp::default(),
    }
}

fn provider(id: &str) -> CatalogRow {
    catalog_row(CatalogKey::Provider(id.into()))
}

fn model(provider: &str, id: &str) -> CatalogRow {
    catalog_row(CatalogKey::Model { provider: provider.into(), id: id.into() })
}

fn catalog_row(key: CatalogKey) -> CatalogRow {
    let json = format!(r#"{{"name":"{key}"}}"#);
    CatalogRow { key, origin: "manual".into(), json, stamp: Stamp::default() }
}

fn route(id: &str) -> Route {
    Route {
        id: id.into(),
        origin: "manual".into(),
        json: r#"{"capability":"chat"}"#.into(),
        stamp: Stamp::default(),
    }
}

fn preset(id: &str) -> RecipeRow {
    recipe(RecipeKey::Preset(id.into()))
}

fn workflow(id: &str) -> RecipeRow {
    recipe(RecipeKey::Workflow(id.into()))
}

fn recipe(key: RecipeKey) -> RecipeRow {
    let json = format!(r#"{{"name":"{key}"}}"#);
    RecipeRow { key, origin: "manual".into(), json, stamp: Stamp::default() }
}

fn event(id: &str) -> AuditEvent {
    AuditEvent {
        id: id.into(),
        at: at(0),
        actor: "ann".into(),
        api_key: "key-1".into(),
        method: "mediary.admin.v1.AccountService.CreateAccount".into(),
        resource: "accounts/a1".into(),
        before_hash: None,
        after_hash: Some([9; 32]),
        outcome: "OK".into(),
        reason: String::new(),
        peer_address: "127.0.0.1".into(),
        request_id: String::new(),
        changed_fields: vec!["limits".into(), "weight".into()],
    }
}

fn request_key(request_id: &str) -> RequestKey {
    RequestKey {
        owner: "ann".into(),
        method: "mediary.admin.v1.AccountService.CreateAccount".into(),
        request_id: request_id.into(),
    }
}

/// A request that is known for a minute.
fn request(request_id: &str, resource: &str) -> Request {
    Request {
        key: request_key(request_id),
        payload_hash: [1; 32],
        resource: resource.into(),
        window: Duration::from_secs(60),
    }
}
