//! Pages of keys, accounts and routes.

use super::{account, api_key, done, plain, route};
use crate::{Page, Shared};

#[derive(Clone, Copy, Debug)]
enum Noun {
    ApiKeys,
    Accounts,
    Routes,
}

const NOUNS: [Noun; 3] = [Noun::ApiKeys, Noun::Accounts, Noun::Routes];

async fn create(store: &Shared, noun: Noun, id: &str) {
    match noun {
        Noun::ApiKeys => drop(done(store.api_keys().create(api_key(id), plain(0)).await)),
        Noun::Accounts => drop(done(store.accounts().create(account(id), plain(0)).await)),
        Noun::Routes => drop(done(store.routes().create(route(id), plain(0)).await)),
    }
}

async fn delete(store: &Shared, noun: Noun, id: &str) {
    let deleted = match noun {
        Noun::ApiKeys => store.api_keys().delete(id, None, plain(0)).await,
        Noun::Accounts => store.accounts().delete(id, None, plain(0)).await,
        Noun::Routes => store.routes().delete(id, None, plain(0)).await,
    };
    done(deleted);
}

async fn page(store: &Shared, noun: Noun, page: Page) -> (Vec<String>, Option<String>) {
    macro_rules! ids {
        ($list:expr) => {{
            let paged = $list.await.expect("a page");
            (paged.rows.into_iter().map(|row| row.id).collect(), paged.next)
        }};
    }
    match noun {
        Noun::ApiKeys => ids!(store.api_keys().list(page)),
        Noun::Accounts => ids!(store.accounts().list(page)),
        Noun::Routes => ids!(store.routes().list(page)),
    }
}

pub async fn pages_hold_every_row_once(store: &Shared) {
    // Ids where one begins with another, and ids that only differ beyond it.
    let mut expected: Vec<String> = (0..30).map(|number| format!("row-{number}")).collect();
    expected.extend(["row", "row-", "row-1-", "ro", "s"].map(str::to_owned));
    for noun in NOUNS {
        for id in &expected {
            create(store, noun, id).await;
        }
    }
    expected.sort();
    for noun in NOUNS {
        for limit in [0, 1, 2, 7, 34, 35, 36, 1_000, u32::MAX] {
            let (mut seen, mut next) = page(store, noun, Page::first(limit)).await;
            while let Some(after) = next {
                let (rows, more) = page(store, noun, Page::after(after, limit)).await;
                assert!(rows.len() <= limit.max(1) as usize);
                seen.extend(rows);
                next = more;
            }
            assert_eq!(seen, expected, "{noun:?} by {limit}");
        }
        let beyond = page(store, noun, Page::after("t", 5)).await;
        assert_eq!(beyond, (Vec::new(), None));
    }
}

pub async fn rows_that_come_and_go_neither_repeat_nor_hide_others(store: &Shared) {
    for noun in NOUNS {
        for number in 0..20 {
            create(store, noun, &format!("r{number:02}")).await;
        }
        let (mut seen, mut next) = page(store, noun, Page::first(4)).await;
        while let Some(after) = next {
            // The row that the next page begins after goes, and one comes before it.
            delete(store, noun, &after).await;
            create(store, noun, &format!("a-{after}")).await;
            let (rows, more) = page(store, noun, Page::after(after, 4)).await;
            seen.extend(rows);
            next = more;
        }
        let expected: Vec<String> = (0..20).map(|number| format!("r{number:02}")).collect();
        assert_eq!(seen, expected, "{noun:?}");
    }
}
