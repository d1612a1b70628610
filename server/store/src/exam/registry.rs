//! The version of the registry: when it moves, who hears of it, what it is good for.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{account, api_key, done, event, model, plain, provider, route};
use crate::{AccountState, CatalogKey, Error, Shared, Version};

async fn version(store: &Shared) -> u64 {
    store.registry().version().await.expect("a version").0
}

pub async fn every_change_is_one_version(store: &Shared) {
    let (keys, accounts) = (store.api_keys(), store.accounts());
    let (catalog, routes) = (store.catalog(), store.routes());
    assert_eq!(version(store).await, 0);
    done(keys.create(api_key("k"), plain(0)).await);
    done(keys.update(api_key("k"), None, plain(0)).await);
    done(keys.delete("k", None, plain(0)).await);
    assert_eq!(version(store).await, 3);
    done(accounts.create(account("a"), plain(0)).await);
    done(accounts.update(account("a"), None, plain(0)).await);
    done(accounts.set_state("a", AccountState::Disabled, None, plain(0)).await);
    done(accounts.delete("a", None, plain(0)).await);
    assert_eq!(version(store).await, 7);
    done(catalog.create(provider("p"), plain(0)).await);
    done(catalog.update(provider("p"), None, plain(0)).await);
    done(catalog.put(vec![model("p", "m"), model("p", "n")], plain(0)).await);
    done(
        catalog
            .delete(&CatalogKey::Model { provider: "p".into(), id: "m".into() }, None, plain(0))
            .await,
    );
    done(catalog.delete_provider("p", None, plain(0)).await);
    assert_eq!(version(store).await, 12);
    done(routes.create(route("r"), plain(0)).await);
    done(routes.update(route("r"), None, plain(0)).await);
    done(routes.put(route("r"), plain(0)).await);
    done(routes.delete("r", None, plain(0)).await);
    assert_eq!(version(store).await, 16);
    assert_eq!(*store.registry().changes().borrow(), Version(16));
}

pub async fn what_is_no_change_is_no_version(store: &Shared) {
    done(store.accounts().create(account("a"), plain(0)).await);
    let mut changes = store.registry().changes();
    changes.mark_unchanged();
    done(store.accounts().set_state("a", AccountState::Active, None, plain(0)).await);
    store.audit().append(event("e")).await.expect("kept");
    store.accounts().create(account("a"), plain(0)).await.expect_err("it exists");
    store.routes().delete("r", None, plain(0)).await.expect("missing");
    store.requests().forget_ended(super::at(9), 10).await.expect("forgotten");
    assert_eq!(version(store).await, 1);
    assert!(!changes.has_changed().expect("the store is open"));
}

pub async fn who_waits_is_woken(store: &Shared) {
    let mut changes = store.registry().changes();
    let waiting = tokio::task::JoinSet::from_iter([async move {
        timeout(Duration::from_secs(5), changes.wait_for(|version| *version >= Version(3)))
            .await
            .expect("woken in time")
            .map(|version| *version)
            .expect("the store is open")
    }]);
    for id in ["a", "b", "c"] {
        done(store.accounts().create(account(id), plain(0)).await);
        let known = *store.registry().changes().borrow();
        assert_eq!(known.0, version(store).await, "told before the caller is answered");
    }
    assert_eq!(waiting.join_all().await, [Version(3)]);
}

pub async fn rows_are_of_one_moment(store: &Shared) {
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store = Arc::clone(store);
        writers.spawn(async move {
            for number in 0..10 {
                let id = format!("x{writer}-{number}");
                done(store.accounts().create(account(&id), plain(0)).await);
                done(store.routes().create(route(&id), plain(0)).await);
                done(store.catalog().create(provider(&id), plain(0)).await);
                done(store.api_keys().create(api_key(&id), plain(0)).await);
            }
        });
    }
    loop {
        let rows = store.registry().rows().await.expect("the rows");
        let stamps = rows.accounts.iter().map(|row| row.stamp);
        let stamps = stamps.chain(rows.routes.iter().map(|row| row.stamp));
        let stamps = stamps.chain(rows.catalog.iter().map(|row| row.stamp));
        let stamps = stamps.chain(rows.api_keys.iter().map(|row| row.stamp));
        let mut versions: Vec<u64> = stamps.map(|stamp| stamp.version.0).collect();
        versions.sort_unstable();
        let expected: Vec<u64> = (1..=rows.version.0).collect();
        assert_eq!(versions, expected, "one row for each version up to that of the rows");
        if rows.version == Version(320) {
            break;
        }
        tokio::task::yield_now().await;
    }
    writers.join_all().await;
}

pub async fn a_change_based_on_another_version_is_refused(store: &Shared) {
    done(store.routes().create(route("r"), plain(0)).await);
    let basis = store.registry().rows().await.expect("the rows").version;
    done(store.routes().create(route("s"), plain(0)).await);
    let refused = store.routes().delete("r", None, plain(0).based_on(basis)).await;
    assert_eq!(refused, Err(Error::Outdated));
    done(store.routes().delete("r", None, plain(0).based_on(Version(2))).await);
}

pub async fn its_salt_stays(store: &Shared) {
    let salt = store.registry().salt().await.expect("salt");
    done(store.routes().create(route("r"), plain(0)).await);
    assert_eq!(store.registry().salt().await.expect("salt"), salt);
    assert_ne!(salt, [0; 32]);
}
