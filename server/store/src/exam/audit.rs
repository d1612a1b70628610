//! The audit log: order, filters, pages.

use super::{at, event};
use crate::{AuditCursor, AuditFilter, Error, Order, Shared, Text};

async fn ids(store: &Shared, filter: AuditFilter) -> Vec<String> {
    let page = store.audit().list(filter, None, 1_000).await.expect("a list");
    assert_eq!(page.next, None);
    page.rows.into_iter().map(|row| row.event.id).collect()
}

pub async fn an_event_comes_back_as_it_was_kept(store: &Shared) {
    let mut full = event("e1");
    full.before_hash = Some([3; 32]);
    full.reason = "ROLE_INSUFFICIENT".into();
    let mut bare = event("e2");
    bare.after_hash = None;
    bare.changed_fields = Vec::new();
    store.audit().append(full.clone()).await.expect("kept");
    store.audit().append(bare.clone()).await.expect("kept");
    let page = store.audit().list(AuditFilter::default(), None, 10).await.expect("a list");
    let events: Vec<_> = page.rows.into_iter().map(|row| row.event).collect();
    assert_eq!(events, [bare, full]);
}

pub async fn events_come_newest_first_in_the_order_they_were_kept(store: &Shared) {
    // The clock jumps back; the order stays.
    for (id, seconds) in [("e1", 50), ("e2", 10), ("e3", 30)] {
        let mut one = event(id);
        one.at = at(seconds);
        store.audit().append(one).await.expect("kept");
    }
    assert_eq!(ids(store, AuditFilter::default()).await, ["e3", "e2", "e1"]);
    let oldest = AuditFilter { order: Order::OldestFirst, ..AuditFilter::default() };
    assert_eq!(ids(store, oldest).await, ["e1", "e2", "e3"]);
}

pub async fn filters_mean_what_they_say(store: &Shared) {
    for number in 0_u64..8 {
        let mut one = event(&format!("e{number}"));
        one.at = at(number);
        one.actor = if number % 2 == 0 { "ann" } else { "an_" }.into();
        one.method = if number < 4 { "v1.Accounts.Create" } else { "v1.Routes.Delete" }.into();
        one.resource = format!("accounts/a{}", number % 3);
        one.outcome = if number == 7 { "NOT_FOUND" } else { "OK" }.into();
        one.api_key = format!("key-{}", number / 4);
        store.audit().append(one).await.expect("kept");
    }
    let all = AuditFilter::default;
    let is = |text: &str| Some(Text::Is(text.into()));
    let contains = |text: &str| Some(Text::Contains(text.into()));
    let cases = [
        (AuditFilter { actor: is("an_"), ..all() }, vec!["e7", "e5", "e3", "e1"]),
        (AuditFilter { actor: contains("n_"), ..all() }, vec!["e7", "e5", "e3", "e1"]),
        (AuditFilter { actor: contains("%"), ..all() }, vec![]),
        (AuditFilter { method: contains("Routes"), ..all() }, vec!["e7", "e6", "e5", "e4"]),
        (AuditFilter { method: contains("routes"), ..all() }, vec![]),
        (AuditFilter { method: is("Routes"), ..all() }, vec![]),
        (AuditFilter { resource: is("accounts/a2"), ..all() }, vec!["e5", "e2"]),
        (AuditFilter { outcome: is("NOT_FOUND"), ..all() }, vec!["e7"]),
        (AuditFilter { api_key: is("key-1"), actor: is("ann"), ..all() }, vec!["e6", "e4"]),
        (AuditFilter { from: Some(at(6)), ..all() }, vec!["e7", "e6"]),
        (AuditFilter { until: Some(at(1)), ..all() }, vec!["e0"]),
        (AuditFilter { from: Some(at(2)), until: Some(at(4)), ..all() }, vec!["e3", "e2"]),
    ];
    for (filter, expected) in cases {
        assert_eq!(ids(store, filter.clone()).await, expected, "{filter:?}");
    }
}

pub async fn pages_hold_every_event_once_while_others_come(store: &Shared) {
    for number in 0..23 {
        store.audit().append(event(&format!("e{number:02}"))).await.expect("kept");
    }
    let (mut seen, mut after): (Vec<String>, Option<AuditCursor>) = (Vec::new(), None);
    let filter = AuditFilter { actor: Some(Text::Is("ann".into())), ..AuditFilter::default() };
    loop {
        let page = store.audit().list(filter.clone(), after, 5).await.expect("a page");
        assert!(page.rows.len() <= 5);
        seen.extend(page.rows.into_iter().map(|row| row.event.id));
        store.audit().append(event(&format!("late-{}", seen.len()))).await.expect("kept");
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..23).rev().map(|number| format!("e{number:02}")).collect();
    assert_eq!(seen, expected);
}

pub async fn an_event_is_kept_once(store: &Shared) {
    store.audit().append(event("e1")).await.expect("kept");
    let twice = store.audit().append(event("e1")).await;
    assert_eq!(twice, Err(Error::Exists("auditEvents/e1".into())));
    assert_eq!(ids(store, AuditFilter::default()).await, ["e1"]);
}
