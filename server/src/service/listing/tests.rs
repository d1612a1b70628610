#[cfg(test)]
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use mediary_domain::Kind;

use super::{order::Column, *};
use crate::clock::{Clock, Source};

/// A clock that stands until it is told to go on.
struct Standing {
    began: Instant,
    seconds: AtomicU64,
    ids: AtomicU64,
}

impl Source for Standing {
    fn now(&self) -> Instant {
        self.began
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds.load(Relaxed))
    }

    fn id(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(u128::from(self.ids.fetch_add(1, Relaxed)))
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

#[expect(clippy::disallowed_methods, reason = "a point in time for a clock that stands")]
fn tokens() -> (PageTokens, Arc<Standing>) {
    let source = Arc::new(Standing {
        began: Instant::now(),
        seconds: AtomicU64::new(1_800_000_000),
        ids: AtomicU64::new(0),
    });
    (PageTokens::new(&[7; 32], Clock::new(source.clone())), source)
}

#[derive(Clone, Debug, PartialEq)]
struct Thing {
    name: String,
    rank: Option<i64>,
}

impl Row for Thing {
    fn value(&self, field: &str, _: Option<&str>) -> Value<'_> {
        match field {
            "name" => self.name.as_str().into(),
            "rank" => self.rank.into(),
            _ => Value::Missing,
        }
    }
}

const THINGS: Listing = Listing {
    rpc: "test.Things.ListThings",
    filter: &[Field::new("name", FieldKind::Text), Field::new("rank", FieldKind::Number)],
    order: &["name", "rank"],
    usual_order: "name",
};

/// Out of order, with many equal ranks and many missing ones.
fn things(count: i64) -> Vec<Thing> {
    let thing =
        |n: i64| Thing { name: format!("thing-{n:05}"), rank: (n % 3 > 0).then_some(n % 5) };
    (0..count).map(|n| thing(n * 7_919 % count)).collect()
}

fn walk(
    tokens: &PageTokens,
    asked: Asked<'_>,
    mut rows: impl FnMut(usize) -> Vec<Thing>,
) -> Vec<Thing> {
    let mut seen = Vec::new();
    let mut token = String::new();
    for turn in 0.. {
        let asked = Asked { page_token: &token, ..asked };
        let page = THINGS.page(rows(turn), &asked, tokens).unwrap();
        seen.extend(page.rows);
        if page.next_page_token.is_empty() {
            break;
        }
        token = page.next_page_token;
    }
    seen
}

#[test]
fn pages_of_seven_show_a_thousand_rows_once() {
    let (tokens, _) = tokens();
    for order_by in ["", "name desc", "rank", "rank desc", "rank desc, name desc"] {
        let asked = Asked { page_size: 7, order_by, ..Asked::default() };
        let seen = walk(&tokens, asked, |_| things(1_000));
        let whole = Asked { page_size: i32::MAX, ..asked };
        let whole = THINGS.page(things(1_000), &whole, &tokens).unwrap();
        assert_eq!(whole.next_page_token, "");
        assert_eq!(seen, whole.rows, "{order_by}");
        let mut names: Vec<_> = seen.iter().map(|thing| &thing.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 1_000, "{order_by}");
    }
}

#[test]
fn rows_that_stay_are_shown_once_while_others_come_and_go() {
    let (tokens, _) = tokens();
    let asked = Asked { page_size: 7, order_by: "rank desc", ..Asked::default() };
    let is_lasting = |thing: &Thing| !thing.name.ends_with('3');
    let seen = walk(&tokens, asked, |turn| {
        let mut rows = things(100);
        rows.retain(|thing| turn % 2 == 0 || is_lasting(thing));
        rows
    });
    let lasting = seen.iter().filter(|thing| is_lasting(thing)).count();
    assert_eq!(lasting, 90);
}

#[test]
fn a_page_has_the_size_that_was_asked_for() {
    let (tokens, _) = tokens();
    let page = |page_size| {
        let asked = Asked { page_size, ..Asked::default() };
        THINGS.page(things(2_000), &asked, &tokens)
    };
    assert_eq!(page(0).unwrap().rows.len(), 50);
    assert_eq!(page(1).unwrap().rows.len(), 1);
    assert_eq!(page(5_000).unwrap().rows.len(), 1_000);
    let error = page(-1).unwrap_err();
    assert_eq!(
        (error.kind(), error.violations()[0].field.as_str()),
        (Kind::FieldInvalid, "page_size")
    );
    let asked = Asked { page_size: 10, ..Asked::default() };
    assert_eq!(THINGS.page(things(10), &asked, &tokens).unwrap().next_page_token, "");
    assert_eq!(THINGS.page(things(0), &asked, &tokens).unwrap().next_page_token, "");
}

#[test]
fn a_token_is_good_for_its_own_question_only() {
    let (tokens, _) = tokens();
    let asked = Asked {
        owner: "o",
        parent: "p",
        filter: "name:thing",
        order_by: "rank",
        page_size: 3,
        page_token: "",
    };
    let token = THINGS.page(things(10), &asked, &tokens).unwrap().next_page_token;
    let again = |asked: Asked<'_>, listing: &Listing, tokens: &PageTokens| {
        listing
            .page(things(10), &Asked { page_token: &token, ..asked }, tokens)
            .map_err(|e| e.kind())
    };
    assert!(again(asked, &THINGS, &tokens).is_ok());
    assert!(again(Asked { page_size: 5, ..asked }, &THINGS, &tokens).is_ok());
    let other_rpc = Listing { rpc: "test.Things.ListOthers", ..THINGS };
    let other_key = PageTokens::new(&[8; 32], Clock::system());
    for (asked, listing, tokens) in [
        (Asked { owner: "another", ..asked }, &THINGS, &tokens),
        (Asked { filter: "name:thin", ..asked }, &THINGS, &tokens),
        (Asked { filter: "", ..asked }, &THINGS, &tokens),
        (Asked { order_by: "rank desc", ..asked }, &THINGS, &tokens),
        (Asked { parent: "q", ..asked }, &THINGS, &tokens),
        (asked, &other_rpc, &tokens),
        (asked, &THINGS, &other_key),
    ] {
        assert_eq!(again(asked, listing, tokens).unwrap_err(), Kind::PageTokenInvalid);
    }
}

#[test]
fn a_token_that_was_touched_is_refused() {
    let (tokens, _) = tokens();
    let asked = Asked { page_size: 3, ..Asked::default() };
    let token = THINGS.page(things(10), &asked, &tokens).unwrap().next_page_token;
    let refused = |token: &str| {
        let page = THINGS.page(things(10), &Asked { page_token: token, ..asked }, &tokens);
        page.is_err_and(|error| error.kind() == Kind::PageTokenInvalid)
    };
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(refused(std::str::from_utf8(&bytes).unwrap()), "{at}");
        assert!(refused(&token[..at]) || at == 0);
    }
    for other in ["x", "====", "é", &format!("{token}A"), &format!("{token}="), &"A".repeat(99_999)]
    {
        assert!(refused(other), "{other}");
    }
}

#[test]
fn a_token_lasts_three_days_and_no_two_are_alike() {
    let (tokens, source) = tokens();
    let asked = Asked { page_size: 3, ..Asked::default() };
    let token = || THINGS.page(things(10), &asked, &tokens).unwrap().next_page_token;
    let (first, second) = (token(), token());
    assert_ne!(first, second);
    let open = || tokens.open(&Scope::of(THINGS.rpc, &asked), &first);
    source.seconds.fetch_add(3 * 86_400, Relaxed);
    assert_eq!(open().unwrap(), [Key::Text("thing-00002".to_owned())]);
    source.seconds.fetch_add(1, Relaxed);
    let error = open().unwrap_err();
    assert_eq!(error.kind(), Kind::PageTokenInvalid);
    assert!(error.to_string().contains("older than three days"));
}

#[test]
fn an_order_is_read_and_ends_with_the_name() {
    let order = |text| {
        Order::parse(text, &["name", "rank", "size"], "rank desc").map(|order| {
            let column =
                |one: &Column| format!("{}{}", one.field, if one.descending { "-" } else { "+" });
            order.columns().iter().map(column).collect::<Vec<_>>().join(" ")
        })
    };
    for (text, columns) in [
        ("", "rank- name+"),
        ("size", "size+ name+"),
        (" size  desc ,rank", "size- rank+ name+"),
        ("name desc", "name-"),
        ("rank,name desc,size", "rank+ name- size+"),
    ] {
        assert_eq!(order(text).unwrap(), columns, "{text}");
    }
    for (text, mend) in [
        ("rnak", "did you mean rank?"),
        ("colour", "the fields are name, rank, size"),
        ("rank,", "a comma with no field"),
        ("rank asc", "leave asc out"),
        ("rank down", "only desc"),
        ("rank desc desc", "only desc"),
        ("rank, rank desc", "names rank twice"),
        (&"rank,".repeat(500), "longer than"),
    ] {
        let error = order(text).unwrap_err();
        assert_eq!(
            (error.kind(), error.violations()[0].field.as_str()),
            (Kind::FieldInvalid, "order_by")
        );
        assert!(error.to_string().contains(mend), "{text}: {error}");
    }
}

#[test]
fn missing_comes_before_everything_and_times_sort_by_the_nanosecond() {
    let at = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    struct At(Value<'static>);
    impl Row for At {
        fn value(&self, _: &str, _: Option<&str>) -> Value<'_> {
            self.0.clone()
        }
    }
    let order = Order::parse("", &["name"], "name").unwrap();
    let keys: Vec<_> = [
        Value::Missing,
        Value::Time(SystemTime::UNIX_EPOCH - Duration::from_nanos(1)),
        Value::Time(at(0)),
        Value::Time(at(1)),
        Value::Number(i64::MAX),
        "".into(),
        "a".into(),
    ]
    .map(|value| order.keys(&At(value)))
    .to_vec();
    assert!(keys.is_sorted_by(|a, b| order.compare(a, b).is_lt()));
    let text = serde_json::to_string(&keys).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Vec<Key>>>(&text).unwrap(), keys);
}
