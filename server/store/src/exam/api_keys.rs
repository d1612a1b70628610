//! Keys of callers: the standard five, the prefix, the last use.

use super::{api_key, at, done, plain, stamp};
use crate::{Error, Page, Saved, Shared, Version};

pub async fn a_key_comes_back_as_it_was_kept(store: &Shared) {
    let keys = store.api_keys();
    let mut first = api_key("k1");
    assert_eq!(done(keys.create(first.clone(), plain(1)).await).stamp, stamp(1, 1, 1));
    first.stamp = stamp(1, 1, 1);
    let mut second = api_key("k2");
    second.enabled = false;
    second.expire_time = None;
    done(keys.create(second.clone(), plain(2)).await);
    second.stamp = stamp(2, 2, 2);
    assert_eq!(keys.get("k1").await, Ok(Some(first.clone())));
    assert_eq!(keys.by_prefix("p-k2").await, Ok(Some(second.clone())));
    assert_eq!(keys.by_prefix("p-k").await, Ok(None));
    assert_eq!(keys.get("K1").await, Ok(None));
    let listed = keys.list(Page::first(50)).await.expect("a list");
    assert_eq!((listed.rows, listed.next), (vec![first, second], None));
}

pub async fn a_taken_id_or_prefix_is_refused(store: &Shared) {
    let keys = store.api_keys();
    let first = done(keys.create(api_key("k1"), plain(1)).await);
    let taken = keys.create(api_key("k1"), plain(2)).await;
    assert_eq!(taken, Err(Error::Exists("apiKeys/k1".into())));
    let mut same_prefix = api_key("k2");
    same_prefix.prefix = first.prefix.clone();
    let taken = keys.create(same_prefix, plain(2)).await;
    assert_eq!(taken, Err(Error::Exists("apiKeys/k2".into())));
    assert_eq!(keys.get("k2").await, Ok(None));
    assert_eq!(keys.get("k1").await, Ok(Some(first)));
}

pub async fn an_update_keeps_what_it_may_not_change(store: &Shared) {
    let keys = store.api_keys();
    let made = done(keys.create(api_key("k1"), plain(1)).await);
    let mut wanted = made.clone();
    wanted.prefix = "stolen".into();
    wanted.secret_hash = [0; 32];
    wanted.key_hint = "0000".into();
    wanted.owner = "bob".into();
    wanted.last_used_time = Some(at(5));
    wanted.display_name = "Desk".into();
    wanted.role = "admin".into();
    wanted.enabled = false;
    wanted.expire_time = None;
    wanted.settings_json = r#"{"limits":{}}"#.into();
    let kept = done(keys.update(wanted.clone(), None, plain(2)).await);
    wanted.prefix = made.prefix;
    wanted.secret_hash = made.secret_hash;
    wanted.key_hint = made.key_hint;
    wanted.owner = made.owner;
    wanted.last_used_time = None;
    wanted.stamp = stamp(2, 1, 2);
    assert_eq!(kept, wanted);
    assert_eq!(keys.get("k1").await, Ok(Some(wanted)));
    assert_eq!(keys.update(api_key("k2"), None, plain(3)).await, Ok(Saved::Missing));
}

pub async fn use_is_noted_without_a_new_version(store: &Shared) {
    let keys = store.api_keys();
    done(keys.create(api_key("k1"), plain(1)).await);
    done(keys.create(api_key("k2"), plain(2)).await);
    let used = vec![("k1".into(), at(60)), ("k9".into(), at(60)), ("k2".into(), at(120))];
    assert_eq!(keys.touch(used).await, Ok(2));
    assert_eq!(keys.touch(vec![("k2".into(), at(60))]).await, Ok(1));
    assert_eq!(keys.touch(Vec::new()).await, Ok(0));
    let rows = keys.list(Page::first(50)).await.expect("a list").rows;
    assert_eq!(rows[0].last_used_time, Some(at(60)));
    assert_eq!(rows[1].last_used_time, Some(at(120)), "never back in time");
    assert_eq!(rows[1].stamp, stamp(2, 2, 2));
    assert_eq!(store.registry().version().await, Ok(Version(2)));
}

pub async fn a_deleted_key_is_gone(store: &Shared) {
    let keys = store.api_keys();
    done(keys.create(api_key("k1"), plain(1)).await);
    done(keys.delete("k1", None, plain(2)).await);
    assert_eq!(keys.get("k1").await, Ok(None));
    assert_eq!(keys.by_prefix("p-k1").await, Ok(None));
    assert_eq!(keys.delete("k1", None, plain(3)).await, Ok(Saved::Missing));
    assert_eq!(done(keys.create(api_key("k1"), plain(4)).await).stamp, stamp(3, 4, 4));
}

pub async fn a_stale_version_changes_nothing(store: &Shared) {
    let keys = store.api_keys();
    done(keys.create(api_key("k1"), plain(1)).await);
    let second = done(keys.update(api_key("k1"), Some(Version(1)), plain(2)).await);
    let stale = keys.update(api_key("k1"), Some(Version(1)), plain(3)).await;
    assert_eq!(stale, Err(Error::EtagMismatch("apiKeys/k1".into())));
    let stale = keys.delete("k1", Some(Version(3)), plain(3)).await;
    assert_eq!(stale, Err(Error::EtagMismatch("apiKeys/k1".into())));
    assert_eq!(keys.get("k1").await, Ok(Some(second)));
}
