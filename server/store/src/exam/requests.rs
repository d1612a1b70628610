//! Request ids: one effect for one request, however often and from however many it comes.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{account, at, done, plain, request, request_key};
use crate::{Error, Page, Saved, Shared};

pub async fn a_repeat_is_told_what_was_made(store: &Shared) {
    let change = plain(0).repeatable(request("r1", "accounts/a1"));
    assert_eq!(store.requests().find(&request_key("r1"), [1; 32], at(0)).await, Ok(None));
    done(store.accounts().create(account("a1"), change).await);
    // The repeat brings an id of its own, which is not used.
    let repeat = plain(1).repeatable(request("r1", "accounts/a2"));
    let told = store.accounts().create(account("a2"), repeat).await;
    assert_eq!(told, Ok(Saved::Replayed("accounts/a1".into())));
    assert_eq!(store.accounts().get("a2").await, Ok(None));
    let found = store.requests().find(&request_key("r1"), [1; 32], at(1)).await;
    assert_eq!(found, Ok(Some("accounts/a1".into())));
    // A repeat of a deletion is no miss.
    let delete = || plain(2).repeatable(request("r2", "accounts/a1"));
    done(store.accounts().delete("a1", None, delete()).await);
    let told = store.accounts().delete("a1", None, delete()).await;
    assert_eq!(told, Ok(Saved::Replayed("accounts/a1".into())));
}

pub async fn another_payload_is_refused(store: &Shared) {
    let first = request("r1", "accounts/a1");
    done(store.accounts().create(account("a1"), plain(0).repeatable(first.clone())).await);
    let mut other = first;
    other.payload_hash = [2; 32];
    let refused = store.accounts().create(account("a2"), plain(1).repeatable(other)).await;
    assert_eq!(refused, Err(Error::RequestIdReused));
    let found = store.requests().find(&request_key("r1"), [2; 32], at(1)).await;
    assert_eq!(found, Err(Error::RequestIdReused));
    assert_eq!(store.accounts().get("a2").await, Ok(None));
}

pub async fn owners_and_methods_are_apart(store: &Shared) {
    let first = request("r1", "accounts/a1");
    let mut other_owner = first.clone();
    other_owner.key.owner = "bob".into();
    let mut other_method = first.clone();
    other_method.key.method = "mediary.admin.v1.AccountService.UpdateAccount".into();
    for (id, request) in [("a1", first), ("a2", other_owner), ("a3", other_method)] {
        done(store.accounts().create(account(id), plain(0).repeatable(request)).await);
    }
}

pub async fn after_the_window_it_is_a_new_request(store: &Shared) {
    let known_a_minute = || request("r1", "accounts/a1");
    done(store.accounts().create(account("a1"), plain(0).repeatable(known_a_minute())).await);
    let just_inside = plain(59).repeatable(known_a_minute());
    let told = store.accounts().create(account("a2"), just_inside).await;
    assert_eq!(told, Ok(Saved::Replayed("accounts/a1".into())));
    assert_eq!(store.requests().find(&request_key("r1"), [1; 32], at(60)).await, Ok(None));
    let mut after = request("r1", "accounts/a2");
    after.payload_hash = [2; 32];
    done(store.accounts().create(account("a2"), plain(60).repeatable(after)).await);
    let found = store.requests().find(&request_key("r1"), [2; 32], at(119)).await;
    assert_eq!(found, Ok(Some("accounts/a2".into())), "with a window of its own");
}

pub async fn only_what_has_ended_is_forgotten(store: &Shared) {
    for number in 0..10 {
        let id = format!("r{number}");
        let change = plain(number).repeatable(request(&id, "accounts/x"));
        done(store.accounts().create(account(&id), change).await);
    }
    let requests = store.requests();
    assert_eq!(requests.forget_ended(at(59), 100).await, Ok(0));
    assert_eq!(requests.forget_ended(at(64), 3).await, Ok(3), "no more than asked for");
    assert_eq!(requests.forget_ended(at(64), 100).await, Ok(2));
    assert_eq!(requests.forget_ended(at(64), 100).await, Ok(0));
    let still = requests.find(&request_key("r5"), [1; 32], at(20)).await;
    assert_eq!(still, Ok(Some("accounts/x".into())));
}

pub async fn of_64_twins_one_has_an_effect(store: &Shared) {
    for round in 0..5 {
        let mut twins = JoinSet::new();
        for twin in 0..64 {
            let store = Arc::clone(store);
            twins.spawn(async move {
                let id = format!("round-{round}-twin-{twin}");
                let request = request(&format!("r{round}"), &format!("accounts/{id}"));
                let change = plain(0).repeatable(request);
                store.accounts().create(account(&id), change).await.expect("an answer")
            });
        }
        let (mut made, mut told) = (Vec::new(), Vec::new());
        for answer in twins.join_all().await {
            match answer {
                Saved::Done(row) => made.push(format!("accounts/{}", row.id)),
                Saved::Replayed(resource) => told.push(resource),
                Saved::Missing => panic!("nothing is missing"),
            }
        }
        assert_eq!((made.len(), told.len()), (1, 63));
        assert!(told.iter().all(|resource| *resource == made[0]));
        let rows = store.accounts().list(Page::first(1_000)).await.expect("a list").rows;
        assert_eq!(rows.len(), round + 1);
    }
}

pub async fn twins_with_other_payloads_are_refused(store: &Shared) {
    let mut twins = JoinSet::new();
    for twin in 0..64 {
        let store = Arc::clone(store);
        twins.spawn(async move {
            let id = format!("twin-{twin}");
            let mut request = request("r1", &format!("accounts/{id}"));
            request.payload_hash = [twin; 32];
            store.accounts().create(account(&id), plain(0).repeatable(request)).await
        });
    }
    let answers = twins.join_all().await;
    let made = answers.iter().filter(|answer| matches!(answer, Ok(Saved::Done(_)))).count();
    let refused =
        answers.iter().filter(|answer| matches!(answer, Err(Error::RequestIdReused))).count();
    assert_eq!((made, refused), (1, 63));
}
