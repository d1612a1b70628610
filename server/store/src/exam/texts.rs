//! Texts that look like something else.

use super::{account, api_key, at, done, event, model, plain, provider, request, route, stamp};
use crate::{AuditFilter, Page, Saved, Shared, Text};

/// 1 KiB each.
fn awkward() -> Vec<String> {
    [
        "'",
        "\"",
        "%",
        "_",
        "\\",
        "\0",
        "a\0b",
        "' OR '1'='1' --",
        "'); DROP TABLE accounts; --",
        "?1 :name $1 @x {}",
        "\u{feff}\u{202e}é漢🦀",
        "\r\n\t",
        "*]['`;/*",
    ]
    .into_iter()
    .map(|part| {
        let mut text = part.repeat(1_024 / part.len());
        text.extend(std::iter::repeat_n('x', 1_024 - text.len()));
        text
    })
    .collect()
}

pub async fn a_text_comes_back_as_it_went_in(store: &Shared) {
    let mut number = 0;
    for text in awkward() {
        number += 1;
        let mut one = account(&text);
        one.provider = text.clone();
        one.display_name = text.clone();
        one.settings_json = text.clone();
        let change = plain(0).repeatable(request(&text, &text));
        let kept = done(store.accounts().create(one.clone(), change).await);
        one.stamp = stamp(number, 0, 0);
        assert_eq!(kept, one);
        assert_eq!(store.accounts().get(&text).await, Ok(Some(one.clone())));
        assert_eq!(store.accounts().by_provider(&text).await, Ok(vec![one.clone()]));
        let again = plain(0).repeatable(request(&text, "other"));
        assert_eq!(store.accounts().create(one, again).await, Ok(Saved::Replayed(text.clone())));

        number += 1;
        let key = done(store.api_keys().create(api_key(&text), plain(0)).await);
        assert_eq!(store.api_keys().by_prefix(&key.prefix).await, Ok(Some(key)));
        number += 1;
        let row = done(store.catalog().create(model(&text, &text), plain(0)).await);
        assert_eq!(store.catalog().get(&row.key).await, Ok(Some(row)));
        number += 1;
        let row = done(store.catalog().create(provider(&text), plain(0)).await);
        assert_eq!(store.catalog().get(&row.key).await, Ok(Some(row)));
        number += 1;
        let row = done(store.routes().create(route(&text), plain(0)).await);
        assert_eq!(store.routes().get(&text).await, Ok(Some(row)));

        let mut said = event(&text);
        said.resource = text.clone();
        said.changed_fields = vec![text.clone(), String::new()];
        store.audit().append(said.clone()).await.expect("kept");
        let filter = AuditFilter { resource: Some(Text::Is(text)), ..AuditFilter::default() };
        let found = store.audit().list(filter, None, 10).await.expect("a list").rows;
        assert_eq!(found.into_iter().map(|row| row.event).collect::<Vec<_>>(), [said]);
    }
}

pub async fn no_text_is_read_as_a_command(store: &Shared) {
    for id in ["a1", "a2", "a3"] {
        done(store.accounts().create(account(id), plain(0)).await);
    }
    store.audit().append(event("e1")).await.expect("kept");
    for text in awkward() {
        let (accounts, keys) = (store.accounts(), store.api_keys());
        assert_eq!(accounts.get(&text).await, Ok(None));
        assert_eq!(accounts.by_provider(&text).await, Ok(Vec::new()));
        assert_eq!(accounts.delete(&text, None, plain(0)).await, Ok(Saved::Missing));
        assert_eq!(keys.by_prefix(&text).await, Ok(None));
        assert_eq!(keys.touch(vec![(text.clone(), at(0))]).await, Ok(0));
        let all = accounts.list(Page::first(10)).await.expect("a page").rows;
        let behind = all.iter().filter(|row| row.id > text).count();
        let page = accounts.list(Page::after(text.clone(), 10)).await.expect("a page");
        assert_eq!(page.rows.len(), behind, "in the order of bytes: {text:?}");
        for wanted in [Text::Is(text.clone()), Text::Contains(text)] {
            let filter = AuditFilter {
                actor: Some(wanted.clone()),
                method: Some(wanted.clone()),
                resource: Some(wanted.clone()),
                outcome: Some(wanted.clone()),
                api_key: Some(wanted),
                ..AuditFilter::default()
            };
            let found = store.audit().list(filter, None, 10).await.expect("a list");
            assert_eq!(found.rows, []);
        }
    }
    assert_eq!(store.accounts().list(Page::first(10)).await.expect("a page").rows.len(), 3);
}
