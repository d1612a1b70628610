//! Limits: together nobody gets more than they allow.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::{Lease, Leased, Shared, SteadyTime, Unused};

fn lease(slot: i64, want: i64) -> Lease {
    Lease {
        subject: "accounts/a1".into(),
        meter: "requests-minute".into(),
        slot,
        since: slot - 2,
        limit: 10,
        want,
        unused: Vec::new(),
    }
}

pub async fn a_limit_gives_out_what_it_has(store: &Shared) {
    let ask = |lease| store.quotas().lease(lease);
    let leased = Leased { granted: 7, used: 7, first: Some(5) };
    assert_eq!(ask(lease(5, 7)).await, Ok(leased));
    let leased = Leased { granted: 3, used: 10, first: Some(5) };
    assert_eq!(ask(lease(6, 7)).await, Ok(leased));
    let leased = Leased { granted: 0, used: 10, first: Some(5) };
    assert_eq!(ask(lease(7, 1)).await, Ok(leased));
    // The first stretch no longer counts.
    let leased = Leased { granted: 7, used: 10, first: Some(6) };
    assert_eq!(ask(lease(8, 9)).await, Ok(leased));
    // Another's limit, and another of the same.
    for other in [
        Lease { subject: "accounts/a2".into(), ..lease(8, 10) },
        Lease { meter: "requests-day".into(), ..lease(8, 10) },
    ] {
        assert_eq!(ask(other).await.map(|leased| leased.granted), Ok(10));
    }
}

pub async fn a_clock_that_is_set_back_gives_nothing_out_twice(store: &Shared) {
    let ask = |lease| store.quotas().lease(lease);
    assert_eq!(ask(lease(100, 10)).await.map(|leased| leased.granted), Ok(10));
    for slot in [99, 50, 0, -7] {
        assert_eq!(ask(lease(slot, 1)).await.map(|leased| leased.granted), Ok(0), "at {slot}");
    }
    assert_eq!(ask(lease(103, 1)).await.map(|leased| leased.granted), Ok(1));
}

pub async fn what_was_not_used_can_be_had_again(store: &Shared) {
    let quotas = store.quotas();
    assert_eq!(quotas.lease(lease(1, 10)).await.map(|leased| leased.granted), Ok(10));
    let unused = |amount| Unused {
        subject: "accounts/a1".into(),
        meter: "requests-minute".into(),
        slot: 1,
        amount,
    };
    assert_eq!(quotas.give_back(vec![unused(4)]).await, Ok(()));
    assert_eq!(quotas.lease(lease(2, 10)).await.map(|leased| leased.granted), Ok(4));
    // With the next question, too.
    let with = Lease { unused: vec![(2, 3)], ..lease(3, 10) };
    assert_eq!(quotas.lease(with).await.map(|leased| leased.granted), Ok(3));
    // More than was taken makes no more of it.
    assert_eq!(quotas.give_back(vec![unused(1_000)]).await, Ok(()));
    assert_eq!(quotas.lease(lease(3, 100)).await.map(|leased| leased.granted), Ok(6));
    // What was used beyond a lease counts.
    assert_eq!(quotas.give_back(vec![Unused { slot: 3, ..unused(-5) }]).await, Ok(()));
    assert_eq!(quotas.lease(lease(4, 1)).await.map(|leased| leased.granted), Ok(0));
}

pub async fn many_at_once_get_no_more_than_there_is(store: &Shared) {
    let store = Arc::clone(store);
    let mut asking = JoinSet::new();
    for _ in 0..64 {
        let store = store.clone();
        asking.spawn(async move { store.quotas().lease(lease(1, 1)).await });
    }
    let granted = asking.join_all().await.into_iter().map(|leased| leased.map(|one| one.granted));
    let granted: crate::Result<Vec<i64>> = granted.collect();
    assert_eq!(granted.map(|all| all.into_iter().sum()), Ok(10));
}

pub async fn its_time_is_kept(store: &Shared) {
    let quotas = store.quotas();
    assert_eq!(quotas.steady_time().await, Ok(None));
    for micros in [7, 5] {
        let time = SteadyTime { micros, boot: "b'oot".into(), uptime_micros: 3 };
        assert_eq!(quotas.keep_steady_time(time.clone()).await, Ok(()));
        assert_eq!(quotas.steady_time().await, Ok(Some(time)));
    }
}
