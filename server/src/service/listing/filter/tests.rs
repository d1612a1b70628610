#[cfg(test)]
use std::{borrow::Cow, time::Duration};

use mediary_domain::{Error, Kind};
use proptest::prelude::*;

use super::*;

const FIELDS: &[Field] = &[
    Field::new("name", FieldKind::Text),
    Field::new("family", FieldKind::Text),
    Field::new("capabilities", FieldKind::List).or("capability"),
    Field::new("context_tokens", FieldKind::Number),
    Field::new("price", FieldKind::Number),
    Field::new("local", FieldKind::Bool),
    Field::new("create_time", FieldKind::Time),
    Field::new(
        "lifecycle",
        FieldKind::Word { prefix: "MODEL_LIFECYCLE_", words: &["ACTIVE", "DEPRECATED"] },
    ),
    Field::new("labels", FieldKind::Labels),
];

struct Example;

impl Row for Example {
    fn value(&self, field: &str, key: Option<&str>) -> Value<'_> {
        match (field, key) {
            ("name", _) => "GPT-4.1 *mini* \"x\"".into(),
            ("family", _) => Value::Text(Cow::Borrowed("")),
            ("capabilities", _) => Value::List(vec!["text-to-text", "image-to-text"]),
            ("context_tokens", _) => Value::Number(128_000),
            ("local", _) => Value::Bool(false),
            ("create_time", _) => Value::Time(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)),
            ("lifecycle", _) => "ACTIVE".into(),
            ("labels", Some("team")) => "search".into(),
            ("labels", Some("a b")) => "1".into(),
            _ => Value::Missing,
        }
    }
}

fn accepts(filter: &str) -> bool {
    Filter::parse(filter, FIELDS)
        .unwrap_or_else(|error| panic!("{filter}: {error}"))
        .accepts(&Example)
}

fn refusal(filter: &str) -> Error {
    Filter::parse(filter, FIELDS).expect_err(filter)
}

#[test]
fn a_filter_accepts_what_it_says() {
    for filter in [
        "",
        "  \n ",
        // texts
        r#"name = "GPT-4.1 *""#,
        r#"name = "*mini\* \"x\"" AND name = "GPT*""#,
        r#"name = 'GPT-4.1 \*mini\* "x"'"#,
        "name = GPT-4.1*",
        "name = *",
        "name != gpt*",
        "name != x",
        "name : gpt",
        "name:MINI",
        "name:gpt*",
        r#"name:"\*Mini\*""#,
        "name > GPT AND name<H",
        "name >= G AND name <= H",
        r#"family = """#,
        "NOT family:*",
        // lists
        r#"capabilities:"text-to-text""#,
        "capability:image-to-text",
        "capability:*-to-text",
        "capability:text* AND NOT capability:video*",
        "capability:*",
        // numbers
        "context_tokens = 128000",
        "context_tokens >= 128e3",
        "context_tokens>127999 AND context_tokens<128001",
        "context_tokens != -5",
        "context_tokens:128000",
        // missing
        "price != 3",
        "NOT price = 3",
        "NOT price < 3 AND NOT price >= 3",
        "-price:*",
        // bools, times, enums
        "local = false",
        "local:false AND local != true",
        "create_time > \"1970-01-01T23:59:59Z\"",
        "create_time = 1970-01-02T00:00:00Z",
        "lifecycle = ACTIVE",
        "lifecycle = MODEL_LIFECYCLE_ACTIVE",
        r#"lifecycle != "DEPRECATED""#,
        // labels
        "labels.team = search",
        "labels.team:SEA",
        "labels:team",
        "labels.team:*",
        r#"labels."a b" = 1"#,
        "NOT labels:rank",
        "labels.rank != 1",
        // logic
        "NOT (local = true)",
        "-(local = true OR price = 1)",
        "-local=true",
        "((((( local = false )))))",
        "NOT(local=true)AND(local=false)",
    ] {
        assert!(accepts(filter), "{filter}");
    }
}

#[test]
fn a_filter_leaves_out_what_it_does_not_say() {
    for filter in [
        "name = gpt*",
        "name = GPT",
        "name = *mini",
        "name < GPT",
        r#"name:"x*""#,
        "family:*",
        "capability:text",
        "NOT capability:*-to-text",
        "context_tokens < 128000",
        "context_tokens != 128000",
        "price = 0",
        "price >= 0 OR price < 0",
        "price:*",
        "local = true",
        "local:true",
        "create_time < 1970-01-02T00:00:00Z",
        "lifecycle = DEPRECATED",
        "lifecycle != ACTIVE",
        "labels.rank = 1",
        "labels:rank",
        "labels.Team = search",
        "-name:gpt",
    ] {
        assert!(!accepts(filter), "{filter}");
    }
}

#[test]
fn or_binds_tighter_than_and() {
    let truth = |bit: bool| if bit { "local = false" } else { "local = true" };
    for bits in 0..8_u8 {
        let [a, b, c] = [bits & 1 > 0, bits & 2 > 0, bits & 4 > 0];
        let [x, y, z] = [a, b, c].map(truth);
        assert_eq!(accepts(&format!("{x} AND {y} OR {z}")), a && (b || c));
        assert_eq!(accepts(&format!("{x} OR {y} AND {z}")), (a || b) && c);
        assert_eq!(accepts(&format!("({x} AND {y}) OR {z}")), (a && b) || c);
        assert_eq!(accepts(&format!("NOT {x} OR {y} AND NOT {z}")), (!a || b) && !c);
        assert_eq!(accepts(&format!("-({x} OR {y}) AND -{z}")), !(a || b || c));
    }
}

#[test]
fn a_tree_is_as_flat_as_its_text() {
    let tree = Filter::parse("local = true AND price > 1 AND labels.k != v", FIELDS).unwrap();
    let term = |field, key: Option<&str>, test| {
        Filter::Term(Term { field, key: key.map(str::to_owned), test })
    };
    let fits = term("labels", Some("k"), Test::Fits(Pattern::exactly("v")));
    assert_eq!(
        tree,
        Filter::All(vec![
            term("local", None, Test::Bool(true)),
            term("price", None, Test::Number(Comparison::Greater, 1)),
            Filter::Not(Box::new(fits)),
        ])
    );
}

#[test]
fn a_refusal_names_the_column_and_the_mend() {
    for (filter, column, mend) in [
        ("hello", 6, "expected one of = != < > <= >= : after \"hello\""),
        ("\"hello\"", 1, "bare texts are not searched for"),
        ("local = true hello", 14, "expected AND, OR or the end"),
        ("local = true and price = 1", 14, "in capitals"),
        ("local = true && price = 1", 14, "in words"),
        ("local = true AND", 17, "expected a field"),
        ("AND local = true", 1, "expected a field"),
        ("NOT NOT local = true", 5, "expected a field"),
        ("naem = x", 1, "did you mean name?"),
        ("local = true AND contextTokens > 1", 18, "did you mean context_tokens?"),
        ("zzz = 1", 1, "expected one of name, family, capabilities"),
        ("name.first = x", 5, "name has no parts"),
        ("labels. = x", 8, "expected a key"),
        ("labels = x", 10, "labels.key = value"),
        ("size(name) = 1", 5, "there are no functions"),
        ("name == x", 7, "expected a value"),
        ("name =", 7, "expected a value"),
        ("name = OR", 8, "expected a value"),
        ("name = a*b", 8, "at the beginning or the end only"),
        ("name < a*", 8, "goes with = != and : only"),
        ("name = \"a", 8, "expected a closing \""),
        (r#"name = "é\d""#, 10, "expected one of \\\""),
        ("capability = x", 14, "expected capabilities:\"x\""),
        ("context_tokens > many", 18, "a whole number"),
        ("context_tokens > \"1\"", 18, "without quotes"),
        ("context_tokens > 1.5", 18, "a whole number"),
        ("context_tokens > inf", 18, "a whole number"),
        ("context_tokens = 1*", 18, "a whole number"),
        ("local = yes", 9, "expected true or false"),
        ("local > false", 9, "has no order"),
        ("create_time > today", 15, "2026-01-31T12:00:00Z"),
        ("lifecycle = ACTIV", 13, "ACTIVE, DEPRECATED; did you mean ACTIVE?"),
        ("lifecycle = ACT*", 13, "expected one of ACTIVE"),
        ("(local = true", 14, "expected \")\""),
        ("local = true)", 13, "without its \"(\""),
        ("((((((local = true))))))", 7, "levels of parentheses"),
    ] {
        let error = refusal(filter);
        let violation = &error.violations()[0];
        assert_eq!(error.kind(), Kind::FilterInvalid);
        assert_eq!(violation.field, "filter");
        let text = &violation.description;
        assert!(text.starts_with(&format!("column {column}: ")), "{filter}: {text}");
        assert!(text.contains(mend), "{filter}: {text}");
    }
}

#[test]
fn a_filter_has_its_limits() {
    let terms = |count: usize| vec!["local = false"; count].join(" AND ");
    assert!(accepts(&terms(20)));
    assert!(refusal(&terms(21)).to_string().contains("more than 20 comparisons"));
    assert!(refusal(&" ".repeat(1025)).to_string().contains("1024 bytes"));
    assert!(refusal(&format!("{} = 1", "x".repeat(900))).to_string().len() < 300);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = Filter::parse(&text, FIELDS).map(|filter| filter.accepts(&Example));
    }

    #[test]
    fn no_mixture_of_its_words_makes_it_panic(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "name", "labels", "local", "AND", "OR", "NOT", "-", "(", ")", "=", "!=", "<", ":",
                ".", "*", "\"", "'", "\\", "é", "\u{3000}", " ", "1e300", "true", ",",
            ]),
            0..24,
        )
    ) {
        let text = words.concat();
        let _ = Filter::parse(&text, FIELDS).map(|filter| filter.accepts(&Example));
    }

    #[test]
    fn a_quoted_text_fits_itself_and_only_itself(text in "\\PC{0,40}", other in "\\PC{0,4}") {
        let escaped: String = text
            .chars()
            .flat_map(|c| "\"\\*".contains(c).then_some('\\').into_iter().chain([c]))
            .collect();
        let filter = Filter::parse(&format!("name = \"{escaped}\""), FIELDS).unwrap();
        let Filter::Term(Term { test: Test::Fits(pattern), .. }) = filter else {
            panic!("not a term")
        };
        prop_assert!(pattern.fits(&text));
        prop_assert_eq!(pattern.fits(&format!("{text}{other}")), other.is_empty());
    }
}
