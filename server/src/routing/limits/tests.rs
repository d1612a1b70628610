#[cfg(test)]
use std::{
    sync::{Arc, Mutex},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use mediary_store_sqlite::{Settings, SqliteStore};
use tempfile::TempDir;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::*;
use crate::clock::{Clock, Source};

/// A clock that stands until it is moved.
struct Held(Instant, Mutex<Duration>);

impl Held {
    fn pass(&self, time: Duration) {
        *self.1.lock().unwrap() += time;
    }
}

impl Source for Held {
    fn now(&self) -> Instant {
        self.0 + *self.1.lock().unwrap()
    }
    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_000_000) + *self.1.lock().unwrap()
    }
    fn id(&self) -> Uuid {
        Uuid::nil()
    }
    fn chance(&self) -> f64 {
        0.5
    }
    fn fill(&self, _: &mut [u8]) {}
}

struct Room {
    held: Arc<Held>,
    store: Shared,
    _folder: TempDir,
}

impl Room {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(Settings::new(folder.path())).await.unwrap();
        let held = Arc::new(Held(Clock::system().now(), Mutex::default()));
        Self { held, store: Arc::new(store), _folder: folder }
    }

    /// What a process has that begins now.
    fn limits(&self) -> Limits {
        Limits::new(self.store.clone(), Steady::new(Clock::new(self.held.clone()), None))
    }
}

fn demand(counted: Counted, window: Window, limit: i64, amount: i64) -> Demand {
    Demand { subject: "accounts/a".into(), counted, window, limit, amount }
}

fn a_call() -> Vec<Demand> {
    vec![demand(Counted::Requests, Window::Minute, 60, 1)]
}

/// How many of 500 callers that come at once are let in.
async fn crowd(limits: &Limits, demands: &[Demand]) -> Vec<Reservation> {
    let mut calls = JoinSet::new();
    for _ in 0..500 {
        let (limits, demands) = (limits.clone(), demands.to_vec());
        calls.spawn(async move { limits.reserve(demands).await });
    }
    calls.join_all().await.into_iter().filter_map(Result::ok).collect()
}

fn settle_all(reservations: Vec<Reservation>, cost: PicoUsd) {
    for one in reservations {
        one.settle(None, cost);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_five_hundred_callers_as_many_get_in_as_may() {
    let room = Room::new().await;
    let limits = room.limits();
    let first = crowd(&limits, &a_call()).await;
    assert_eq!(first.len(), 60);
    settle_all(first, PicoUsd(0));
    let refused = limits.reserve(a_call()).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::RateLimited);
    let Retry::Later(wait) = refused.retry() else { panic!("{refused}") };
    assert!(wait > Duration::from_secs(59) && wait <= Duration::from_secs(65), "{wait:?}");
    // Killed: the next process knows what was used.
    let next = room.limits();
    assert_eq!(crowd(&next, &a_call()).await.len(), 0);
    room.held.pass(wait);
    assert_eq!(crowd(&next, &a_call()).await.len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_loses_is_a_part_and_what_ends_well_loses_nothing() {
    let room = Room::new().await;
    let limits = room.limits();
    let held = limits.reserve(a_call()).await.unwrap();
    held.settle(None, PicoUsd(0));
    let crashed = crowd(&room.limits(), &a_call()).await.len();
    assert!((56..60).contains(&crashed), "{crashed}");

    let room = Room::new().await;
    let limits = room.limits();
    let held = limits.reserve(a_call()).await.unwrap();
    held.settle(None, PicoUsd(0));
    limits.close().await;
    assert_eq!(crowd(&room.limits(), &a_call()).await.len(), 59);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_a_cent_is_never_overspent() {
    let cent = 10_000_000_000;
    let room = Room::new().await;
    let mut spent = 0;
    // Every call was expected to cost 0.07 cent, and costs 0.05.
    let demands = vec![
        demand(Counted::Cost, Window::Day, cent, 700_000_000),
        demand(Counted::Cost, Window::Month, cent, 700_000_000),
    ];
    let mut limits = room.limits();
    for round in 0..8 {
        let calls = crowd(&limits, &demands).await;
        spent += i64::try_from(calls.len()).unwrap() * 500_000_000;
        settle_all(calls, PicoUsd(500_000_000));
        assert!(spent <= cent, "{spent} after round {round}");
        if round == 3 {
            // Killed.
            limits = room.limits();
        }
        room.held.pass(Duration::from_secs(300));
    }
    assert!(spent >= cent * 8 / 10, "only {spent} of {cent} could be spent");
    let refused = limits.reserve(demands).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::BudgetExceeded);
    assert_eq!(refused.facts()["quota"], "cost-day");
    assert!(!refused.to_string().contains("accounts/a"), "{refused}");
}

#[tokio::test]
async fn what_was_expected_and_not_used_can_be_had_again() {
    let room = Room::new().await;
    let limits = room.limits();
    let tokens = |amount| vec![demand(Counted::Tokens, Window::Minute, 1_000, amount)];
    let first = limits.reserve(tokens(900)).await.unwrap();
    assert!(limits.reserve(tokens(200)).await.is_err());
    let usage = TokenUsage { input: 60, output: 40, ..TokenUsage::default() };
    first.settle(Some(&usage), PicoUsd(0));
    let second = limits.reserve(tokens(800)).await.unwrap();
    // Seven seconds later, in another part of the minute.
    room.held.pass(Duration::from_secs(7));
    assert!(limits.reserve(tokens(200)).await.is_err());
    drop(second);
    assert!(limits.reserve(tokens(901)).await.is_err());
    let last = limits.reserve(tokens(900)).await;
    assert!(last.is_ok(), "{:?}", last.err());
}

#[tokio::test]
async fn a_call_that_is_refused_by_one_limit_takes_nothing_of_the_others() {
    let room = Room::new().await;
    let limits = room.limits();
    let demands = |cost| {
        vec![
            demand(Counted::Requests, Window::Minute, 2, 1),
            demand(Counted::Cost, Window::Day, 100, cost),
        ]
    };
    for _ in 0..5 {
        assert_eq!(
            limits.reserve(demands(101)).await.err().map(|error| error.retry()),
            Some(Retry::Never)
        );
    }
    for _ in 0..2 {
        limits.reserve(demands(50)).await.unwrap().settle(None, PicoUsd(50));
    }
    assert!(limits.reserve(demands(0)).await.is_err());
    assert!(limits.known_refusal(&demands(0)).is_some());
    assert_eq!(limits.left(&demands(0)[1]), Some(0));
}

#[tokio::test]
async fn a_call_that_grows_takes_what_is_left_and_no_more() {
    let room = Room::new().await;
    let limits = room.limits();
    let cost = |amount| vec![demand(Counted::Cost, Window::Day, 100, amount)];
    let mut call = limits.reserve(cost(10)).await.unwrap();
    let grown = |cost| Expected { tokens: 0, cost: PicoUsd(cost) };
    let mut refused = None;
    for cost in (10..1_000).step_by(10) {
        // What is leased beside the answer arrives between two pieces of it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Err(error) = call.grow(grown(cost)) {
            refused = Some((cost, error));
            break;
        }
    }
    let (cost_then, error) = refused.unwrap();
    assert_eq!(error.kind(), Kind::BudgetExceeded);
    assert!((100..=130).contains(&cost_then), "{cost_then}");
    call.settle(None, PicoUsd(cost_then));
    assert!(limits.reserve(cost(1)).await.is_err());
}
