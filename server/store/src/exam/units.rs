//! One change, all of it or nothing.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{account, at, done, event, plain, request, request_key, route};
use crate::{AuditFilter, Change, Error, Page, Saved, Shared, Version};

/// What can be seen of the whole store.
async fn seen(store: &Shared) -> (usize, usize, usize, Version, Option<String>) {
    let accounts = store.accounts().list(Page::first(1_000)).await.expect("a list").rows.len();
    let routes = store.routes().list(Page::first(1_000)).await.expect("a list").rows.len();
    let events = store.audit().list(AuditFilter::default(), None, 1_000).await.expect("a list");
    let version = store.registry().version().await.expect("a version");
    let request = store.requests().find(&request_key("r1"), [1; 32], at(1)).await.expect("a look");
    (accounts, routes, events.rows.len(), version, request)
}

fn everything() -> Change {
    plain(0).repeatable(request("r1", "accounts/a1")).audited(event("e1"))
}

pub async fn everything_that_goes_with_a_change_is_kept(store: &Shared) {
    done(store.accounts().create(account("a1"), everything()).await);
    let made = Some("accounts/a1".to_owned());
    assert_eq!(seen(store).await, (1, 0, 1, Version(1), made.clone()));
    let told = store.accounts().create(account("a1"), everything()).await;
    assert_eq!(told, Ok(Saved::Replayed("accounts/a1".into())));
    assert_eq!(seen(store).await, (1, 0, 1, Version(1), made));
}

pub async fn a_unit_whose_last_step_fails_leaves_nothing(store: &Shared) {
    // The audit event is the last step of a unit; that its id is taken makes it fail.
    store.audit().append(event("e1")).await.expect("kept");
    let before = seen(store).await;
    let mut changes = store.registry().changes();
    changes.mark_unchanged();
    let taken = Error::Exists("auditEvents/e1".into());
    assert_eq!(store.accounts().create(account("a1"), everything()).await, Err(taken.clone()));
    assert_eq!(store.routes().put(route("r"), everything()).await, Err(taken));
    assert_eq!(seen(store).await, before);
    assert!(!changes.has_changed().expect("the store is open"), "nobody was woken");
    // The same request is new, and works.
    let change = plain(1).repeatable(request("r1", "accounts/a1")).audited(event("e2"));
    done(store.accounts().create(account("a1"), change).await);
    assert_eq!(seen(store).await, (1, 0, 2, Version(1), Some("accounts/a1".into())));
}

pub async fn a_refused_effect_leaves_no_request_and_no_event(store: &Shared) {
    done(store.accounts().create(account("a1"), plain(0)).await);
    let before = seen(store).await;
    let taken = store.accounts().create(account("a1"), everything()).await;
    assert_eq!(taken, Err(Error::Exists("accounts/a1".into())));
    let stale = store.accounts().delete("a1", Some(Version(7)), everything()).await;
    assert_eq!(stale, Err(Error::EtagMismatch("accounts/a1".into())));
    let outdated = store.routes().put(route("r"), everything().based_on(Version(7))).await;
    assert_eq!(outdated, Err(Error::Outdated));
    assert_eq!(seen(store).await, before);
}

pub async fn a_missing_row_leaves_no_request_and_no_event(store: &Shared) {
    let before = seen(store).await;
    let update = store.accounts().update(account("a1"), None, everything()).await;
    assert_eq!(update, Ok(Saved::Missing));
    assert_eq!(store.routes().delete("r", None, everything()).await, Ok(Saved::Missing));
    assert_eq!(seen(store).await, before);
}

pub async fn who_is_refused_does_not_harm_its_neighbours(store: &Shared) {
    done(store.accounts().create(account("taken"), plain(0)).await);
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let store = Arc::clone(store);
        callers.spawn(async move {
            let fine = caller % 2 == 0;
            let id = if fine { format!("a{caller}") } else { "taken".into() };
            let change = plain(0).audited(event(&format!("e{caller}")));
            let answer = store.accounts().create(account(&id), change).await;
            assert_eq!(matches!(answer, Ok(Saved::Done(_))), fine, "{answer:?}");
        });
    }
    callers.join_all().await;
    assert_eq!(seen(store).await, (33, 0, 32, Version(33), None));
}

pub async fn a_closed_store_refuses(store: &Shared) {
    done(store.accounts().create(account("a1"), plain(0)).await);
    store.close().await;
    store.close().await;
    let read = store.accounts().get("a1").await;
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    let write = store.accounts().create(account("a2"), plain(0)).await;
    assert!(matches!(write, Err(Error::Unavailable(_))), "{write:?}");
}
