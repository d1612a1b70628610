//! Accounts: the standard five, the state, the provider.

use super::{account, at, done, plain, stamp};
use crate::{AccountState, Error, Page, Saved, Secret, Shared, Version};

pub async fn an_account_comes_back_as_it_was_kept(store: &Shared) {
    let secrets = [account("x").secret, Secret::None, Secret::Reference("env:KEY".into())];
    let (mut expected, mut number) = (Vec::new(), 0);
    for secret in secrets {
        for state in AccountState::ALL {
            number += 1;
            let mut one = account(&format!("a{number}"));
            one.secret = secret.clone();
            one.state = state;
            let kept = done(store.accounts().create(one.clone(), plain(number)).await);
            one.stamp = stamp(number, number, number);
            assert_eq!(kept, one);
            assert_eq!(store.accounts().get(&one.id).await, Ok(Some(one.clone())));
            expected.push(one);
        }
    }
    let listed = store.accounts().list(Page::first(50)).await.expect("a list");
    assert_eq!(listed.rows, expected);
    assert_eq!(listed.next, None);
    assert_eq!(store.accounts().get("a99").await, Ok(None));
    let taken = store.accounts().create(account("a1"), plain(20)).await;
    assert_eq!(taken, Err(Error::Exists("accounts/a1".into())));
}

pub async fn accounts_are_found_by_provider(store: &Shared) {
    for (id, provider) in [("b", "groq"), ("c", "openai"), ("a", "groq"), ("d", "groq-2")] {
        let mut one = account(id);
        one.provider = provider.into();
        done(store.accounts().create(one, plain(0)).await);
    }
    let found = store.accounts().by_provider("groq").await.expect("a list");
    assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(store.accounts().by_provider("gro_").await, Ok(Vec::new()));
}

pub async fn an_update_keeps_what_it_may_not_change(store: &Shared) {
    let made = done(store.accounts().create(account("a1"), plain(1)).await);
    let mut wanted = made.clone();
    wanted.provider = "groq".into();
    wanted.origin = "config".into();
    wanted.display_name = "Other".into();
    wanted.secret = Secret::Reference("file:/run/key".into());
    wanted.key_hint = String::new();
    wanted.key_fingerprint = "beef".into();
    wanted.state = AccountState::Disabled;
    wanted.settings_json = "{}".into();
    wanted.stamp.create_time = at(99);
    let kept = done(store.accounts().update(wanted.clone(), None, plain(2)).await);
    wanted.provider = made.provider;
    wanted.origin = made.origin;
    wanted.stamp = stamp(2, 1, 2);
    assert_eq!(kept, wanted);
    assert_eq!(store.accounts().get("a1").await, Ok(Some(wanted)));
    let missing = store.accounts().update(account("a2"), None, plain(3)).await;
    assert_eq!(missing, Ok(Saved::Missing));
}

pub async fn a_state_that_holds_already_is_no_change(store: &Shared) {
    let accounts = store.accounts();
    let mut expected = done(accounts.create(account("a1"), plain(1)).await);
    let same = accounts.set_state("a1", AccountState::Active, None, plain(2)).await;
    assert_eq!(done(same), expected);
    let other = accounts.set_state("a1", AccountState::CredentialsRejected, None, plain(3)).await;
    expected.state = AccountState::CredentialsRejected;
    expected.stamp = stamp(2, 1, 3);
    assert_eq!(done(other), expected);
    let stale = accounts.set_state("a1", AccountState::Active, Some(Version(1)), plain(4)).await;
    assert_eq!(stale, Err(Error::EtagMismatch("accounts/a1".into())));
    let missing = accounts.set_state("a2", AccountState::Active, None, plain(5)).await;
    assert_eq!(missing, Ok(Saved::Missing));
    assert_eq!(accounts.get("a1").await, Ok(Some(expected)));
}

pub async fn a_deleted_account_is_gone(store: &Shared) {
    let accounts = store.accounts();
    let first = done(accounts.create(account("a1"), plain(1)).await);
    done(accounts.delete("a1", Some(first.stamp.version), plain(2)).await);
    assert_eq!(accounts.get("a1").await, Ok(None));
    assert_eq!(accounts.delete("a1", None, plain(3)).await, Ok(Saved::Missing));
    let second = done(accounts.create(account("a1"), plain(4)).await);
    assert!(second.stamp.version > first.stamp.version, "a version never comes again");
}

pub async fn a_stale_version_changes_nothing(store: &Shared) {
    let accounts = store.accounts();
    let first = done(accounts.create(account("a1"), plain(1)).await);
    let second = done(accounts.update(account("a1"), Some(Version(1)), plain(2)).await);
    let stale = Err(Error::EtagMismatch("accounts/a1".into()));
    assert_eq!(accounts.update(first, Some(Version(1)), plain(3)).await, stale);
    let stale = Err(Error::EtagMismatch("accounts/a1".into()));
    assert_eq!(accounts.delete("a1", Some(Version(1)), plain(3)).await, stale);
    assert_eq!(accounts.get("a1").await, Ok(Some(second)));
}
