//! The ledger: an attempt is kept once and as it was, found by what it was, and added up exactly.

use std::{sync::Arc, time::Duration};

use super::at;
use crate::{
    AccountTotals, AttemptFailure, AttemptField, AttemptRow, AttemptState, AttemptsAsked, Billed,
    Compared, FieldTest, PicoUsd, Shared, TokenUsage, UsageAsked, UsageSource, UsageSum, Wanted,
};

/// An attempt that succeeded and ended `id` seconds after the beginning of the exam.
fn attempt(id: i64, call: &str) -> AttemptRow {
    let seconds = id.unsigned_abs();
    AttemptRow {
        id,
        call: call.into(),
        kind: "chat".into(),
        index: 1,
        is_last: true,
        owner: "ann".into(),
        api_key: "apiKeys/k1".into(),
        capability: "text-to-text".into(),
        route: String::new(),
        preset: String::new(),
        model: "providers/p/models/m".into(),
        provider: "providers/p".into(),
        account: "accounts/a1".into(),
        start: at(seconds) - Duration::from_millis(100),
        end: at(seconds),
        took: Duration::from_micros(100),
        call_took: Duration::from_micros(120),
        first_token: Some(Duration::from_micros(40)),
        state: AttemptState::Succeeded,
        failure: None,
        upstream_request_id: String::new(),
        usage: Some(TokenUsage { input: 10, output: 2, ..TokenUsage::default() }),
        cost: PicoUsd(1_000),
        labels: [("team".to_owned(), "search".to_owned())].into(),
    }
}

/// One that failed before its call went on.
fn failed(id: i64, call: &str) -> AttemptRow {
    AttemptRow {
        is_last: false,
        state: AttemptState::Failed,
        first_token: None,
        failure: Some(AttemptFailure {
            code: 14,
            reason: "UPSTREAM_UNAVAILABLE".into(),
            message: "p: 50% of us are \"down\"".into(),
            http_status: Some(503),
            excerpt: "50% of us are \"down\"".into(),
        }),
        usage: None,
        cost: PicoUsd(0),
        ..attempt(id, call)
    }
}

async fn keep(store: &Shared, rows: impl IntoIterator<Item = AttemptRow>) {
    let rows: Arc<[AttemptRow]> = rows.into_iter().collect();
    assert_eq!(store.ledger().append(rows).await, Ok(()));
}

fn newest_first() -> Vec<(AttemptField, bool)> {
    vec![(AttemptField::Start, true)]
}

async fn found(store: &Shared, wanted: Wanted) -> Vec<i64> {
    let asked = AttemptsAsked { wanted, order: newest_first(), after: None, limit: 1_000 };
    let page = store.ledger().list(asked).await.expect("a page");
    page.rows.into_iter().map(|row| row.id).collect()
}

fn is(field: AttemptField, text: &str) -> Wanted {
    fits(field, text, [false; 3])
}

fn fits(
    field: AttemptField,
    text: &str,
    [is_open_before, is_open_after, ignores_case]: [bool; 3],
) -> Wanted {
    let text = text.to_owned();
    let test = FieldTest::Fits { text, is_open_before, is_open_after, ignores_case };
    Wanted::Field(field, test)
}

fn usage(group_by: &[AttemptField]) -> UsageAsked {
    UsageAsked {
        from: at(0),
        until: at(1_000_000),
        bucket: None,
        group_by: group_by.to_vec(),
        wanted: Wanted::default(),
        most: 1_000,
    }
}

async fn sums(store: &Shared, asked: UsageAsked) -> Vec<UsageSum> {
    store.ledger().sums(asked).await.expect("sums").expect("as many as may be")
}

pub async fn an_attempt_comes_back_as_it_was_kept(store: &Shared) {
    assert_eq!(store.ledger().last_id().await, Ok(0));
    let usage = TokenUsage {
        input: 7,
        cached_input: Some(3),
        cache_write: Some(0),
        output: 5,
        reasoning: Some(1),
        cost: Some(PicoUsd(i64::MAX)),
        billed: Some(Billed { input: 1, output: 2 }),
        source: UsageSource::Estimated,
    };
    let labels = [("a.b\"'$[0]\u{e4}", "x"), ("", "\0%_"), ("k", "")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let rows = [
        AttemptRow { usage: Some(usage), labels: labels.into(), ..attempt(7, "g1") },
        failed(8, "g2"),
        AttemptRow { state: AttemptState::Cancelled, ..failed(9, "g3") },
        AttemptRow {
            route: "routes/r".into(),
            preset: "presets/p".into(),
            upstream_request_id: "req_1".into(),
            ..attempt(10, "g4")
        },
    ];
    keep(store, rows.clone()).await;
    let asked = AttemptsAsked { order: newest_first(), limit: 10, ..AttemptsAsked::default() };
    let page = store.ledger().list(asked).await.expect("a page");
    assert_eq!(page.rows, rows.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(page.next, None);
    assert_eq!(store.ledger().last_id().await, Ok(10));
}

pub async fn a_batch_is_kept_once(store: &Shared) {
    // Of a size that no statement has.
    let rows = || (1..=149).map(|id| attempt(id, &format!("g{id}")));
    keep(store, rows()).await;
    keep(store, rows().chain([attempt(150, "g150")])).await;
    let changed = AttemptRow { cost: PicoUsd(9), ..attempt(150, "g150") };
    keep(store, [changed]).await;
    let [all] = sums(store, usage(&[])).await.try_into().expect("one sum");
    assert_eq!((all.attempts, all.cost), (150, 150_000));
    keep(store, []).await;
}

pub async fn pages_hold_every_attempt_once_in_every_order(store: &Shared) {
    // Starts and costs that many have in common.
    let rows = (1_i64..=90).map(|id| AttemptRow {
        start: at((id % 7).unsigned_abs()),
        cost: PicoUsd(id % 5),
        ..attempt(id, "g")
    });
    keep(store, rows.clone()).await;
    let (start, cost) = (AttemptField::Start, AttemptField::Cost);
    for order in [
        vec![(start.clone(), true)],
        vec![(start.clone(), false)],
        vec![(cost.clone(), true), (start.clone(), false)],
        vec![(cost, false), (start, true)],
    ] {
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let asked =
                AttemptsAsked { order: order.clone(), after, limit: 13, ..Default::default() };
            let page = store.ledger().list(asked).await.expect("a page");
            seen.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut expected: Vec<AttemptRow> = rows.clone().collect();
        let descends = order.last().is_some_and(|(_, descends)| *descends);
        expected.sort_by(|one, other| {
            let by = |field: &AttemptField| match field {
                AttemptField::Cost => one.cost.cmp(&other.cost),
                _ => one.start.cmp(&other.start),
            };
            let turned = |ordering: std::cmp::Ordering, turn| {
                if turn { ordering.reverse() } else { ordering }
            };
            let columns = order.iter().map(|(field, turn)| turned(by(field), *turn));
            let ids = turned(one.id.cmp(&other.id), descends);
            columns.chain([ids]).find(|ordering| ordering.is_ne()).unwrap_or(ids)
        });
        let ids = |rows: &[AttemptRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(ids(&seen), ids(&expected), "{order:?}");
    }
}

pub async fn filters_mean_what_they_say(store: &Shared) {
    let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let odd = "a.b\"c'%";
    keep(
        store,
        [
            AttemptRow { owner: "100%_sure".into(), ..attempt(1, "g1") },
            AttemptRow { owner: "100".into(), labels: label(odd, "X"), ..attempt(2, "g2") },
            AttemptRow { owner: "Ann".into(), labels: label("team", ""), ..attempt(3, "g3") },
            failed(4, "g3"),
        ],
    )
    .await;
    use AttemptField::{Call, HttpStatus, Label, Owner, Preset, Reason, Start, State};
    let field = Wanted::Field;
    let not = |wanted: Wanted| Wanted::Not(Box::new(wanted));
    let team = || Label("team".into());
    let text = |compared, text: &str| FieldTest::Text(compared, text.into());
    for (wanted, ids) in [
        (Wanted::default(), &[4, 3, 2, 1][..]),
        (Wanted::Any(Vec::new()), &[]),
        (is(Call, "g3"), &[4, 3]),
        (is(Owner, "100%_sure"), &[1]),
        (is(Owner, "100%"), &[]),
        (is(Owner, "ann"), &[4]),
        (fits(Owner, "100", [false, true, false]), &[2, 1]),
        (fits(Owner, "_sure", [true, false, false]), &[1]),
        (fits(Owner, "0", [true, true, false]), &[2, 1]),
        (fits(Owner, "ann", [false, false, true]), &[4, 3]),
        (fits(Owner, "", [true, false, false]), &[4, 3, 2, 1]),
        (field(Owner, text(Compared::GreaterOrEqual, "Ann")), &[4, 3]),
        (field(Owner, text(Compared::Less, "100%")), &[2]),
        (is(State, "failed"), &[4]),
        (not(is(State, "failed")), &[3, 2, 1]),
        (is(Reason, "UPSTREAM_UNAVAILABLE"), &[4]),
        (field(HttpStatus, FieldTest::Number(Compared::Equal, 503)), &[4]),
        (field(HttpStatus, FieldTest::Number(Compared::Less, 600)), &[4]),
        (not(field(HttpStatus, FieldTest::Number(Compared::Less, 600))), &[3, 2, 1]),
        (field(HttpStatus, FieldTest::Set), &[4]),
        (field(Preset, FieldTest::Set), &[]),
        (is(Label(odd.into()), "X"), &[2]),
        (is(Label("b\"c'%".into()), "X"), &[]),
        (is(team(), "search"), &[4, 1]),
        (not(is(team(), "search")), &[3, 2]),
        (field(team(), FieldTest::Set), &[4, 1]),
        (field(Start, FieldTest::Number(Compared::Greater, crate::to_micros(at(3)))), &[4]),
        (Wanted::All(vec![is(Call, "g3"), not(is(State, "failed"))]), &[3]),
        (Wanted::Any(vec![is(Call, "g1"), is(Call, "g2")]), &[2, 1]),
    ] {
        assert_eq!(found(store, wanted.clone()).await, ids, "{wanted:?}");
    }
}

pub async fn sums_are_exact_and_a_call_counts_with_its_last_attempt(store: &Shared) {
    let large = PicoUsd(i64::MAX - 1);
    let other = |id, call: &str| AttemptRow {
        model: "providers/p/models/n".into(),
        index: 2,
        ..attempt(id, call)
    };
    keep(
        store,
        [
            // Falls back from m to n.
            AttemptRow { cost: PicoUsd(7), ..failed(1, "g1") },
            other(2, "g1"),
            // Was about to go on when its caller went away.
            failed(3, "g2"),
            AttemptRow { cost: large, labels: Default::default(), ..attempt(4, "g3") },
            AttemptRow { cost: large, labels: Default::default(), ..attempt(5, "g4") },
            AttemptRow {
                usage: Some(TokenUsage {
                    input: i64::MAX,
                    output: 1,
                    reasoning: Some(1),
                    source: UsageSource::Estimated,
                    ..TokenUsage::default()
                }),
                ..attempt(6, "g5")
            },
        ],
    )
    .await;
    let [all] = sums(store, usage(&[])).await.try_into().expect("one sum");
    assert_eq!((all.calls, all.calls_succeeded, all.attempts), (5, 4, 6));
    assert_eq!(all.cost, 2 * i128::from(large.0) + 7 + 2 * 1_000);
    let used = all.usage.expect("a usage");
    assert_eq!((used.output, used.reasoning), (7, Some(1)));
    assert_eq!(used.source, UsageSource::Estimated);
    assert_eq!(all.took.p50, Some(Duration::from_micros(120)));

    let by_model = sums(store, usage(&[AttemptField::Model])).await;
    let seen = by_model.iter().map(|sum| (&sum.groups[..], sum.calls, sum.attempts, sum.cost));
    let [m, n] = ["m", "n"].map(|id| [format!("providers/p/models/{id}")]);
    let cost_of_m = all.cost - 1_000;
    assert_eq!(seen.collect::<Vec<_>>(), [(&m[..], 4, 5, cost_of_m), (&n[..], 1, 1, 1_000)]);

    let team = AttemptField::Label("team".into());
    let by_label = sums(store, usage(&[team.clone(), AttemptField::Owner])).await;
    let seen = by_label.iter().map(|sum| (sum.groups.join(" "), sum.attempts));
    let expected = [(" ann", 2), ("search ann", 4)];
    assert_eq!(seen.collect::<Vec<_>>(), expected.map(|(group, n)| (group.to_owned(), n)));

    let of_team = UsageAsked { wanted: is(team.clone(), "search"), ..usage(&[]) };
    let [of_team] = sums(store, of_team).await.try_into().expect("one sum");
    assert_eq!((of_team.calls, of_team.attempts, of_team.cost), (3, 4, 2_007));
    let of_n = UsageAsked { wanted: is(AttemptField::Model, &n[0]), ..usage(&[]) };
    assert_eq!(sums(store, of_n).await[0].attempts, 1);

    let few = UsageAsked { most: 1, ..usage(&[team]) };
    assert_eq!(store.ledger().sums(few).await, Ok(None), "there are more than may be");
}

pub async fn sums_fall_into_the_buckets_in_which_attempts_ended(store: &Shared) {
    // 1,795,000,000 is 40 seconds into a minute.
    keep(store, [1, 19, 20, 79, 80].map(|id| attempt(id, &format!("g{id}")))).await;
    let asked = UsageAsked { bucket: Some(Duration::from_secs(60)), ..usage(&[]) };
    let minutes = sums(store, asked).await;
    let first = minutes.first().expect("a bucket").bucket;
    assert_eq!(first, 1_795_000_000 / 60);
    let seen = minutes.iter().map(|sum| (sum.bucket - first, sum.calls));
    assert_eq!(seen.collect::<Vec<_>>(), [(0, 2), (1, 2), (2, 1)]);
    let within = UsageAsked { from: at(19), until: at(80), ..usage(&[]) };
    let [some] = sums(store, within).await.try_into().expect("one sum");
    assert_eq!(some.calls, 3, "the first moment counts, the last does not");
    let none = UsageAsked { from: at(81), ..usage(&[]) };
    assert_eq!(sums(store, none).await, []);
}

pub async fn accounts_are_told_what_they_did(store: &Shared) {
    let of = |account: &str, row: AttemptRow| AttemptRow { account: account.into(), ..row };
    keep(
        store,
        [
            attempt(1, "g1"),
            attempt(2, "g2"),
            failed(3, "g3"),
            of("accounts/a2", attempt(4, "g3")),
            attempt(5, "g4"),
        ],
    )
    .await;
    let total = |account: &str, requests, successes| AccountTotals {
        account: account.into(),
        requests,
        successes,
        tokens: successes * 12,
        cost: PicoUsd(successes * 1_000),
    };
    let mut totals = store.ledger().totals(at(2)).await.expect("totals");
    totals.sort_by(|one, other| one.account.cmp(&other.account));
    assert_eq!(totals, [total("accounts/a1", 3, 2), total("accounts/a2", 1, 1)]);
    let outcomes = store.ledger().outcomes(at(1), 2).await.expect("outcomes");
    let seen = outcomes.iter().map(|one| (one.account.as_str(), one.end, one.state));
    let (failed, succeeded) = (AttemptState::Failed, AttemptState::Succeeded);
    assert_eq!(
        seen.collect::<Vec<_>>(),
        [
            ("accounts/a1", at(3), failed),
            ("accounts/a2", at(4), succeeded),
            ("accounts/a1", at(5), succeeded),
        ]
    );
    assert_eq!(outcomes[0].reason, "UPSTREAM_UNAVAILABLE");
}

pub async fn only_what_is_old_is_forgotten(store: &Shared) {
    keep(store, (1..=10).map(|id| attempt(id, "g"))).await;
    assert_eq!(store.ledger().forget_before(at(6), 3).await, Ok(3));
    assert_eq!(store.ledger().forget_before(at(6), 3).await, Ok(2));
    assert_eq!(store.ledger().forget_before(at(6), 3).await, Ok(0));
    assert_eq!(found(store, Wanted::default()).await, [10, 9, 8, 7, 6]);
}
