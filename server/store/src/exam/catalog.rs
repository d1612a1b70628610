//! The catalog: providers, models, and what goes with a provider.

use super::{account, done, model, plain, provider, stamp};
use crate::{CatalogKey, Error, Removed, Saved, Shared, Version};

async fn keys(store: &Shared) -> Vec<String> {
    let rows = store.catalog().all().await.expect("a list");
    rows.iter().map(|row| row.key.to_string()).collect()
}

pub async fn providers_come_before_models(store: &Shared) {
    let rows =
        vec![model("b", "m"), provider("b"), model("a", "z"), provider("c"), model("a", "y")];
    done(store.catalog().put(rows, plain(1)).await);
    let expected = [
        "providers/b",
        "providers/c",
        "providers/a/models/y",
        "providers/a/models/z",
        "providers/b/models/m",
    ];
    assert_eq!(keys(store).await, expected);
}

pub async fn a_row_is_made_changed_and_deleted(store: &Shared) {
    let catalog = store.catalog();
    for (made_at, mut row) in [(1, provider("same")), (4, model("same", "same"))] {
        let missing = catalog.update(row.clone(), None, plain(made_at)).await;
        assert_eq!(missing, Ok(Saved::Missing));
        let made = done(catalog.create(row.clone(), plain(made_at)).await);
        row.stamp = stamp(made_at, made_at, made_at);
        assert_eq!(made, row);
        assert_eq!(catalog.get(&row.key).await, Ok(Some(row.clone())));
        let taken = catalog.create(row.clone(), plain(made_at)).await;
        assert_eq!(taken, Err(Error::Exists(row.key.to_string())));
        row.json = "{}".into();
        row.origin = "listing".into();
        let changed = done(catalog.update(row.clone(), None, plain(made_at + 1)).await);
        row.stamp = stamp(made_at + 1, made_at, made_at + 1);
        assert_eq!(changed, row);
        done(catalog.delete(&row.key, None, plain(made_at + 2)).await);
        assert_eq!(catalog.get(&row.key).await, Ok(None));
        assert_eq!(catalog.delete(&row.key, None, plain(9)).await, Ok(Saved::Missing));
    }
    assert_eq!(keys(store).await, [""; 0]);
}

pub async fn a_refresh_is_kept_as_a_whole(store: &Shared) {
    let catalog = store.catalog();
    done(catalog.create(model("p", "old"), plain(1)).await);
    let mut old = model("p", "old");
    old.json = r#"{"retired":true}"#.into();
    let mut new = model("p", "new");
    let kept = done(catalog.put(vec![old.clone(), new.clone()], plain(2)).await);
    old.stamp = stamp(2, 1, 2);
    new.stamp = stamp(2, 2, 2);
    assert_eq!(kept, [old, new]);
    assert_eq!(done(catalog.put(Vec::new(), plain(3)).await), []);
    assert_eq!(store.registry().version().await, Ok(Version(2)));
}

pub async fn a_provider_takes_its_models_and_accounts_with_it(store: &Shared) {
    let catalog = store.catalog();
    let rows =
        vec![provider("p"), model("p", "m1"), model("p", "m2"), provider("q"), model("q", "m1")];
    done(catalog.put(rows, plain(1)).await);
    for (id, of) in [("a1", "p"), ("a2", "q")] {
        let mut one = account(id);
        one.provider = of.into();
        done(store.accounts().create(one, plain(2)).await);
    }
    assert_eq!(catalog.delete_provider("x", None, plain(3)).await, Ok(Saved::Missing));
    let removed = done(catalog.delete_provider("p", Some(Version(1)), plain(4)).await);
    assert_eq!(removed, Removed { models: 2, accounts: 1 });
    assert_eq!(keys(store).await, ["providers/q", "providers/q/models/m1"]);
    assert_eq!(store.accounts().get("a1").await, Ok(None));
    assert!(store.accounts().get("a2").await.expect("an account").is_some());
    assert_eq!(store.registry().version().await, Ok(Version(4)));
}

pub async fn a_stale_version_changes_nothing(store: &Shared) {
    let catalog = store.catalog();
    done(catalog.create(provider("p"), plain(1)).await);
    let kept = done(catalog.update(provider("p"), Some(Version(1)), plain(2)).await);
    let stale = Error::EtagMismatch("providers/p".into());
    let key = CatalogKey::Provider("p".into());
    let update = catalog.update(provider("p"), Some(Version(1)), plain(3)).await;
    assert_eq!(update, Err(stale.clone()));
    assert_eq!(catalog.delete(&key, Some(Version(1)), plain(3)).await, Err(stale.clone()));
    assert_eq!(catalog.delete_provider("p", Some(Version(1)), plain(3)).await, Err(stale));
    assert_eq!(catalog.get(&key).await, Ok(Some(kept)));
}
