//! What the catalog claims is shown by recorded traffic. For every wire, each word that a model's
//! row claims and each situation that every wire must master has a recording of the project's own,
//! and every vendor has an answer and a failure of its own. That recordings yield what they say is
//! the promise of recorded_traffic.rs, which plays all of them.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;
use support::{
    endpoints,
    recordings::{self, Case},
    replay::{self, question},
};
use toml::Table;

/// Wires, and the protocols of the recordings that show them at work.
const WIRES: [(&str, &[&str]); 6] = [
    ("openai_chat", &["openai-chat", "embeddings-openai"]),
    ("openai_responses", &["openai-responses"]),
    ("anthropic", &["anthropic-messages"]),
    ("gemini", &["gemini", "embeddings-gemini"]),
    ("cohere", &["cohere-v2", "embeddings-cohere"]),
    ("ollama", &["ollama", "embeddings-ollama"]),
];

/// The wire without a vendor: server/src/providers/sandbox/tests.rs shows what it claims.
const SANDBOX: &str = "sandbox";

type Shows = fn(&Case) -> bool;

/// Every word that a row may claim, and which recording shows that it is true.
const WORDS: [(&str, Shows); 17] = [
    ("text-to-text", says_something),
    ("image-to-text", looks_at_a_picture),
    ("text-embedding", |case| case.operation == "embed" && has(case, "vectors")),
    ("streaming", |case| case.streams() && says_something(case)),
    ("tools", |case| calls(case) >= 1),
    ("parallel-tools", |case| calls(case) >= 2),
    ("json-schema", |case| is_json(case) && asks_for(case, "schema")),
    ("json-object", |case| is_json(case) && asks_for(case, "json")),
    ("vision", looks_at_a_picture),
    ("reasoning", |case| {
        let is_told = case.text_fact("reasoning").is_some_and(|text| !text.is_empty());
        is_told || number(case, "reasoning_length") > 0 || number(case, "reasoning_tokens") > 0
    }),
    ("reasoning-budget", |case| {
        let budget = &question::plainly(case)["thinking_budget"];
        budget.is_i64() && number(case, "reasoning_tokens") > 0
    }),
    ("seed", |case| says_something(case) && question::seed(&question::plainly(case)).is_some()),
    ("dimensions", |case| makes_vectors(case, |asked| asked.length.is_some())),
    ("purpose", |case| makes_vectors(case, |asked| !asked.purpose.is_empty())),
    // Prices claim as well: that the tokens which they are for are counted apart.
    ("cached-input-token", |case| number(case, "cached_input_tokens") > 0),
    ("cache-write-token", |case| number(case, "cache_write_tokens") > 0),
    ("reasoning-token", |case| number(case, "reasoning_tokens") > 0),
];

/// Prices of what every answer counts.
const ALWAYS_COUNTED: [&str; 2] = ["input-token", "output-token"];

/// What every wire has to master.
const SITUATIONS: [(&str, Shows); 9] = [
    ("an answer", |case| !case.streams() && says_something(case)),
    ("a stream", |case| case.streams() && says_something(case)),
    ("a tool call", |case| calls(case) >= 1),
    ("a refusal", |case| {
        case.text_fact("finish_reason") == Some("content_filter")
            || case.fact("refusal").is_some()
            || fails_with(case, "content_filter")
    }),
    ("a rate limit", |case| fails_with(case, "rate_limited")),
    ("a wait that is told", |case| fails_with(case, "rate_limited") && has(case, "retry_after_ms")),
    ("rejected credentials", |case| fails_with(case, "authentication")),
    ("a broken stream", |case| case.fact("truncated").and_then(Value::as_bool) == Some(true)),
    ("overlong context", |case| fails_with(case, "context_length")),
];

/// Situations that a wire does not have, and why.
const NEVER: [(&str, &str, &str); 2] = [
    (
        "ollama",
        "a refusal",
        "its API has no word for one: a model that refuses says so in its text",
    ),
    ("ollama", "a wait that is told", "its cloud limits the rate and names no wait"),
];

/// Vendors that are shown by their wire's recordings alone: nothing about them is their own.
const AS_THEIR_WIRE: [(&str, &str); 1] =
    [("ollama-cloud", "the API of a local server, at the vendor and with a key")];

// --- what recordings show ---

fn has(case: &Case, fact: &str) -> bool {
    case.fact(fact).is_some()
}

fn number(case: &Case, fact: &str) -> i64 {
    case.number_fact(fact).filter(|_| case.succeeds()).unwrap_or(0)
}

fn says_something(case: &Case) -> bool {
    case.succeeds() && case.text_fact("text").is_some_and(|text| !text.is_empty())
}

fn looks_at_a_picture(case: &Case) -> bool {
    says_something(case) && question::pictures(&question::plainly(case)) > 0
}

fn calls(case: &Case) -> usize {
    let calls = case.fact("tool_calls").and_then(Value::as_array).map_or(0, Vec::len);
    if case.succeeds() { calls } else { 0 }
}

fn is_json(case: &Case) -> bool {
    case.succeeds()
        && case.text_fact("text").is_some_and(|text| serde_json::from_str::<Value>(text).is_ok())
}

fn asks_for(case: &Case, format: &str) -> bool {
    let (_, of) = question::MEANINGS.iter().find(|(what, _)| *what == "response format").unwrap();
    of(&question::plainly(case)) == format
}

fn makes_vectors(case: &Case, is_asked: fn(&endpoints::Asked) -> bool) -> bool {
    case.operation == "embed"
        && has(case, "vectors")
        && is_asked(&endpoints::Asked::of(&case.request.body))
}

fn fails_with(case: &Case, kind: &str) -> bool {
    case.text_fact("error_kind") == Some(kind)
}

fn is_played(case: &Case) -> bool {
    replay::is_supported(case) || endpoints::is_supported(case)
}

// --- what is claimed ---

struct Vendor {
    id: String,
    dialect: String,
    is_local: bool,
    is_open: bool,
    /// Its row says what it does differently.
    has_quirks: bool,
}

impl Vendor {
    fn of(row: &Table) -> Self {
        Self {
            id: text(row, "id"),
            dialect: text(row, "dialect"),
            is_local: text(row, "kind") == "local",
            is_open: row["open_models"].as_bool() == Some(true),
            has_quirks: ["openai", "openai_chat", "openai_responses"]
                .into_iter()
                .any(|table| row.contains_key(table)),
        }
    }
}

fn text(row: &Table, key: &str) -> String {
    row.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
}

fn texts(row: &Table, key: &str) -> Vec<String> {
    let list = row.get(key).and_then(toml::Value::as_array).into_iter().flatten();
    list.filter_map(toml::Value::as_str).map(str::to_owned).collect()
}

/// A wire and a word, and who claims it.
type Claims = BTreeMap<(String, String), String>;

/// What the row of a model says that it can do when it is asked with its wire.
fn claim(claims: &mut Claims, vendor: &Vendor, model: &Table) {
    let own = text(model, "dialect");
    let wire = if own.is_empty() { &vendor.dialect } else { &own };
    let prices = model.get("prices").and_then(toml::Value::as_array).into_iter().flatten();
    let units = prices.filter_map(toml::Value::as_table).map(|price| text(price, "unit"));
    let words = texts(model, "capabilities")
        .into_iter()
        .chain(texts(model, "features"))
        .chain(units.filter(|unit| !ALWAYS_COUNTED.contains(&unit.as_str())));
    for word in words {
        let name = format!("providers/{}/models/{}", vendor.id, text(model, "id"));
        claims.entry((wire.clone(), word)).or_insert(name);
    }
}

/// The rows of the built-in catalog.
fn catalog() -> (Vec<Vendor>, Claims) {
    let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("server/catalog");
    let read = |path: &Path| -> Table { fs::read_to_string(path).unwrap().parse().unwrap() };
    let (mut vendors, mut claims) = (Vec::new(), Claims::new());
    for entry in fs::read_dir(catalog.join("providers")).unwrap() {
        let vendor = Vendor::of(&read(&entry.unwrap().path()));
        let models = catalog.join(format!("models/{}.toml", vendor.id));
        if models.exists() {
            for model in read(&models)["models"].as_array().expect("models") {
                claim(&mut claims, &vendor, model.as_table().expect("a model"));
            }
        }
        if vendor.is_open {
            // What the server says of a model that nobody described.
            let model = "id = \"any\"\nfeatures = [\"streaming\"]\n\
                         capabilities = [\"text-to-text\", \"image-to-text\", \"text-embedding\"]";
            claim(&mut claims, &vendor, &model.parse().unwrap());
        }
        vendors.push(vendor);
    }
    assert!(vendors.len() > 20 && claims.len() > 40, "the catalog was not found");
    (vendors, claims)
}

// --- what is missing ---

/// The recordings of a wire that are played; `None` = there is no such wire.
fn of_wire<'a>(wire: &str, cases: &'a [Case]) -> Option<Vec<&'a Case>> {
    let (_, protocols) = WIRES.iter().find(|(name, _)| *name == wire)?;
    let is_its = |case: &&Case| protocols.contains(&replay::wire(case)) && is_played(case);
    Some(cases.iter().filter(is_its).collect())
}

fn unshown_claims(claims: &Claims, cases: &[Case]) -> Vec<String> {
    let mut missing = Vec::new();
    for ((wire, word), who) in claims.iter().filter(|((wire, _), _)| wire != SANDBOX) {
        let shows = WORDS.iter().find(|(known, _)| known == word);
        match (of_wire(wire, cases), shows) {
            (None, _) => missing.push(format!("{who}: no recording is known of wire {wire}")),
            (_, None) => missing.push(format!("{who}: nothing is known to show {word:?}")),
            (Some(cases), Some((_, shows))) if !cases.iter().any(|case| shows(case)) => {
                missing.push(format!("{who}: no recording of {wire} shows {word:?}"));
            }
            _ => {}
        }
    }
    missing
}

fn unshown_situations(cases: &[Case]) -> Vec<String> {
    let mut missing = Vec::new();
    for (wire, _) in WIRES {
        let cases = of_wire(wire, cases).expect("a wire");
        for (situation, shows) in SITUATIONS {
            let is_shown = cases.iter().any(|case| shows(case));
            let is_left_out = NEVER.iter().any(|(one, what, _)| (*one, *what) == (wire, situation));
            match (is_shown, is_left_out) {
                (false, false) => missing.push(format!("{wire}: no recording of {situation}")),
                (true, true) => missing.push(format!("{wire}: {situation} is shown after all")),
                _ => {}
            }
        }
    }
    missing
}

fn unshown_vendors(vendors: &[Vendor], cases: &[Case]) -> Vec<String> {
    let chats: Vec<&Case> = cases.iter().filter(|case| replay::is_supported(case)).collect();
    let mut missing = Vec::new();
    for vendor in vendors.iter().filter(|vendor| !vendor.is_local) {
        let own = chats.iter().copied().filter(|case| {
            let row = replay::provider_of(case);
            // One row of the stage for each version of Azure's API.
            let row = if row.starts_with(replay::AZURE_VERSIONED) { "azure" } else { &row };
            row == vendor.id
        });
        let (answers, rest): (Vec<&Case>, Vec<&Case>) = own.partition(|case| says_something(case));
        let failures = rest.into_iter().filter(|case| has(case, "error_kind")).count();
        let is_in_table = AS_THEIR_WIRE.iter().any(|(id, _)| *id == vendor.id);
        let id = &vendor.id;
        if is_in_table && (vendor.has_quirks || !answers.is_empty() || failures > 0) {
            missing.push(format!("{id}: it has something of its own: take it out of the table"));
        }
        if !is_in_table && answers.is_empty() {
            missing.push(format!("{id}: no recording of an answer of its own"));
        }
        if !is_in_table && failures == 0 {
            missing.push(format!("{id}: no recording of a failure of its own"));
        }
    }
    missing
}

fn own_recordings() -> Vec<Case> {
    recordings::all(&recordings::own())
}

fn all_of(missing: &[String]) -> String {
    format!("{} are missing:\n  {}", missing.len(), missing.join("\n  "))
}

#[test]
fn whatever_the_catalog_claims_is_shown_by_a_recording_of_its_wire() {
    let (_, claims) = catalog();
    let missing = unshown_claims(&claims, &own_recordings());
    assert!(missing.is_empty(), "{}", all_of(&missing));
}

#[test]
fn every_wire_masters_every_situation() {
    let (vendors, claims) = catalog();
    let wires = vendors.iter().map(|vendor| &vendor.dialect).chain(claims.keys().map(|key| &key.0));
    let wires: BTreeSet<&str> = wires.map(String::as_str).filter(|wire| *wire != SANDBOX).collect();
    assert_eq!(wires, WIRES.iter().map(|(wire, _)| *wire).collect(), "wires of the catalog");
    let missing = unshown_situations(&own_recordings());
    assert!(missing.is_empty(), "{}", all_of(&missing));
}

#[test]
fn every_vendor_has_an_answer_and_a_failure_of_its_own() {
    let (vendors, _) = catalog();
    for (id, _) in AS_THEIR_WIRE {
        assert!(vendors.iter().any(|vendor| vendor.id == id), "{id} is no row of the catalog");
    }
    let missing = unshown_vendors(&vendors, &own_recordings());
    assert!(missing.is_empty(), "{}", all_of(&missing));
}

#[test]
fn a_claim_a_wire_or_a_vendor_without_a_recording_is_found() {
    let cases = own_recordings();
    let vendor = |id: &str, dialect: &str, more: &str| {
        let row = format!(
            "id = \"{id}\"\ndialect = \"{dialect}\"\nkind = \"remote\"\nopen_models = false\n{more}"
        );
        Vendor::of(&row.parse().unwrap())
    };
    let found = |dialect: &str, row: &str| {
        let mut claims = Claims::new();
        claim(&mut claims, &vendor("lark", dialect, ""), &row.parse().unwrap());
        unshown_claims(&claims, &cases)
    };
    let row = |words: &str| {
        format!("id = \"m\"\ncapabilities = [\"text-to-text\"]\nfeatures = [{words}]\n")
    };
    let who = "providers/lark/models/m";

    assert_eq!(found("anthropic", &row("\"streaming\", \"tools\"")), Vec::<String>::new());
    // Anthropic has no seed, nobody reads thoughts, and no wire is called morse.
    assert_eq!(
        found("anthropic", &row("\"seed\"")),
        [format!("{who}: no recording of anthropic shows \"seed\"")]
    );
    assert_eq!(
        found("cohere", &row("\"telepathy\"")),
        [format!("{who}: nothing is known to show \"telepathy\"")]
    );
    assert_eq!(found("morse", &row("")), [format!("{who}: no recording is known of wire morse")]);
    // The wire of a model's own row is the one that counts, and so is what its prices are for.
    let other =
        row("\"seed\"") + "dialect = \"cohere\"\nprices = [{ unit = \"cache-write-token\" }]";
    assert_eq!(
        found("anthropic", &other),
        [format!("{who}: no recording of cohere shows \"cache-write-token\"")]
    );
    // A recording that shows something stands for it: without it, the claim is bare.
    let without: Vec<Case> =
        cases.iter().filter(|case| case.name != "ollama/chat-vision").cloned().collect();
    let (_, claims) = catalog();
    assert!(unshown_claims(&claims, &without).iter().any(|one| one.contains("image-to-text")));
    // A vendor whose row has quirks cannot hide in the table, and a new one is asked for its own.
    let missing = unshown_vendors(
        &[vendor("lark", "cohere", ""), vendor("ollama-cloud", "ollama", "[openai_chat]\n")],
        &cases,
    );
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(missing[0].starts_with("lark: no recording of an answer"), "{missing:?}");
    assert!(missing[2].starts_with("ollama-cloud: it has something of its own"), "{missing:?}");
}
