//! `models import-prices`: the community's price map becomes rows of the catalog.

mod support;

use std::fs;

use support::{
    House, Reply, Vendor,
    ask::question,
    house::{Ran, value, well},
    vendors::OPENAI_HELLO,
};

/// In the format of the true map, which has some thousand entries.
const MAP: &str = r#"{
  "sample_spec": {
    "input_cost_per_token": 0.0, "litellm_provider": "one of https://docs.litellm.ai/docs/providers",
    "max_input_tokens": "max input tokens, if the provider specifies it", "mode": "one of: chat, embedding"
  },
  "gpt-4.1-mini": {
    "input_cost_per_token": 9e-07, "output_cost_per_token": 1.6e-06, "litellm_provider": "openai",
    "max_input_tokens": 1047576, "max_output_tokens": 32768, "mode": "chat"
  },
  "gpt-of-the-test": {
    "cache_read_input_token_cost": 1.25e-06, "input_cost_per_token": 2.5e-06,
    "litellm_provider": "openai", "max_input_tokens": 128000, "max_output_tokens": 16384,
    "max_tokens": 16384, "mode": "chat", "output_cost_per_token": 1e-05,
    "source": "https://prices.example/openai",
    "supports_function_calling": true, "supports_response_schema": true, "supports_vision": true
  },
  "together_ai/acme/large-2": {
    "input_cost_per_token": 8.000000000000001e-07, "output_cost_per_token": 8e-07,
    "litellm_provider": "together_ai", "mode": "chat"
  },
  "text-embedding-of-the-test": {
    "input_cost_per_token": 2e-08, "output_cost_per_token": 0.0, "litellm_provider": "openai",
    "max_input_tokens": 8191, "mode": "embedding", "output_vector_size": 1536
  },
  "pro-of-the-test": {
    "input_cost_per_token": 2e-05, "litellm_provider": "openai", "mode": "responses"
  },
  "bedrock/acme.large-v1": {
    "input_cost_per_token": 1e-06, "litellm_provider": "bedrock", "mode": "chat"
  },
  "256-x-256/dall-e-2": {
    "input_cost_per_pixel": 2.4414e-07, "litellm_provider": "openai", "mode": "image_generation"
  },
  "free-of-the-test": {
    "input_cost_per_token": "free", "litellm_provider": "openai", "mode": "chat"
  },
  "garbage": 17
}"#;
const MODEL: &str = "providers/openai/models/gpt-of-the-test";

fn import(house: &House, map: &str, options: &[&str]) -> Ran {
    fs::write(house.folder.path().join("map.json"), map).unwrap();
    house.run(&[&["models", "import-prices", "map.json"], options].concat(), "")
}

/// The line of an entry without the blanks between its columns.
fn line(ran: &Ran, entry: &str) -> String {
    let mut lines = ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = lines.find(|words| words.first() == Some(&entry));
    found.unwrap_or_else(|| panic!("no {entry}: {}", ran.stdout)).join(" ")
}

#[tokio::test]
async fn models_of_the_map_are_added_and_what_they_cost_is_counted() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();

    let ran = well(import(&house, MAP, &[]));

    for (entry, told) in [
        ("gpt-of-the-test", "taken openai/gpt-of-the-test"),
        ("text-embedding-of-the-test", "taken openai/text-embedding-of-the-test"),
        (
            "together_ai/acme/large-2",
            "taken together/acme-large-2 input_cost_per_token 8.000000000000001e-07 is rounded to \
             800000e-12",
        ),
        ("gpt-4.1-mini", "kept openai/gpt-4-1-mini the row has prices of its own"),
        ("sample_spec", "not supported explains the map"),
        ("pro-of-the-test", "not supported is asked with the Responses API"),
        ("bedrock/acme.large-v1", "not supported no provider here is what the map calls bedrock"),
        ("256-x-256/dall-e-2", "not supported mode image_generation"),
        ("free-of-the-test", "not supported input_cost_per_token is no number"),
        ("garbage", "not supported is no JSON object"),
    ] {
        let line = line(&ran, entry);
        assert!(line.starts_with(&format!("{entry} {told}")), "{line}");
    }
    assert_eq!(ran.stderr, "3 taken, 1 kept, 6 not supported\n");
    let shown = well(house.run(&["models", "show", MODEL], ""));
    assert_eq!(value(&shown, "context tokens"), "128000");
    assert_eq!(value(&shown, "output tokens"), "16384");
    assert_eq!(value(&shown, "features"), "streaming, tools, json-schema, vision");
    assert_eq!(value(&shown, "capabilities"), "text-to-text, image-to-text");
    let model = house.client().get_model(MODEL).await.unwrap();
    let sources = model.prices.iter().map(|price| price.source.as_str());
    let source = "LiteLLM price map, after https://prices.example/openai";
    assert_eq!(sources.collect::<Vec<_>>(), [source; 3]);
    assert!(model.prices.iter().all(|price| price.effective_time.is_some()));

    vendor.replies([Reply::sse(OPENAI_HELLO)]);
    let answer = house.client().generate(question(MODEL, "say hello")).await.unwrap();
    assert_eq!(answer.cost_pico_usd, 9 * 2_500_000 + 2 * 10_000_000);
}

#[test]
fn a_dry_run_changes_nothing_and_a_provider_narrows_the_map() {
    let house = House::new();
    let ran = well(import(&house, MAP, &["--dry-run", "-o", "id"]));
    let names = [
        "openai/models/gpt-of-the-test",
        "openai/models/text-embedding-of-the-test",
        "together/models/acme-large-2",
    ]
    .map(|name| format!("providers/{name}\n"));
    assert_eq!(ran.stdout, names.concat());
    assert!(ran.stderr.ends_with("only checked: nothing is changed\n"), "{}", ran.stderr);
    assert_eq!(house.run(&["models", "show", MODEL], "").code, 1);

    let ran = well(import(&house, MAP, &["--provider", "together", "-o", "jsonl"]));
    let line: serde_json::Value = serde_json::from_str(&ran.stdout).expect("one line");
    assert_eq!(line["entry"], "together_ai/acme/large-2");
    assert_eq!(line["outcome"], "taken");
    assert_eq!(house.run(&["models", "show", MODEL], "").code, 1);
}

#[tokio::test]
async fn a_later_map_adds_its_prices_and_keeps_those_that_held_before() {
    let house = House::new();
    well(import(&house, MAP, &["--from", "2026-01-01"]));
    let again = well(import(&house, MAP, &["--from", "2026-02-01"]));
    assert!(again.stderr.starts_with("3 unchanged, 1 kept"), "{}", again.stderr);

    let cheaper = MAP.replace("2.5e-06", "2e-06");
    let ran = well(import(&house, &cheaper, &["--from", "2026-03-01"]));
    assert!(line(&ran, "gpt-of-the-test").contains(" changed "), "{}", ran.stdout);
    let model = house.client().get_model(MODEL).await.unwrap();
    let inputs = model.prices.iter().filter(|price| price.unit == "input-token");
    assert_eq!(inputs.count(), 2);

    let ran = well(import(&house, MAP, &["--overwrite", "--from", "2026-03-01"]));
    assert!(line(&ran, "gpt-4.1-mini").contains(" changed "), "{}", ran.stdout);
    let shown = well(house.run(&["models", "show", "gpt-4-1-mini"], ""));
    assert!(shown.stdout.contains("input-token $0.9 per million, from 2026-03-01"), "{shown:?}");
}

#[test]
fn one_entry_that_the_server_refuses_stops_no_other() {
    let house = House::new();
    let map = MAP.replace("gpt-of-the-test", "123");
    let ran = import(&house, &map, &[]);
    assert_eq!(ran.code, 1);
    assert!(line(&ran, "123").starts_with("123 refused"), "{}", ran.stdout);
    assert!(ran.stderr.contains("2 taken") && ran.stderr.contains("the server refused 1 of 10"));

    let broken = import(&house, "{\"a\": ", &[]);
    assert_eq!((broken.code, broken.stdout.as_str()), (2, ""));
    assert!(broken.stderr.contains("is no price map"), "{}", broken.stderr);
}
