//! What is published about the configuration says what the server does.

#[cfg(test)]
use std::fs;

use super::{Desk, schema, schema_json};

/// The page for operators.
const PAGE: &str = include_str!("../../../../docs/configuration.md");

#[test]
fn the_published_schema_is_current() {
    let published = include_str!("../../../../docs/config.schema.json");
    let hint = "run: mediary config schema > docs/config.schema.json";
    assert!(published == schema_json(), "{hint}");
}

#[test]
fn the_documented_example_loads_and_lists_every_key() {
    let (_, rest) = PAGE.split_once("```toml\n#:schema").unwrap();
    let (example, _) = rest.split_once("\n```").unwrap();
    let (_, example) = example.split_once('\n').unwrap();
    let vault_key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let desk = Desk::with(example)
        .env("OPENAI_API_KEY", "sk-1")
        .env("AZURE_OPENAI_API_KEY", "sk-3")
        .env("MEDIARY_ADMIN_KEY", "a-key-of-24-characters-or-more")
        .env("MEDIARY_VAULT_KEY", vault_key)
        .env("MEDIARY_FORMER_VAULT_KEY", vault_key);
    fs::create_dir(desk.path("catalog")).unwrap();
    fs::create_dir(desk.path("keys")).unwrap();
    fs::create_dir(desk.path("secrets")).unwrap();
    fs::write(desk.path("keys/anthropic"), "sk-2").unwrap();
    let loaded = desk.load().map_err(|problems| problems.to_string()).unwrap();
    assert!(loaded.warnings.is_empty());
    for key in schema::keys(&schema::schema()) {
        let name = key.rsplit('.').next().unwrap();
        assert!(example.contains(name), "the example leaves {key} out");
    }
    let defaults = Desk::with("").load().unwrap().config;
    let (shown, usual) = (format!("{:?}", loaded.config.listen), format!("{:?}", defaults.listen));
    assert_eq!(shown, usual, "the example shows the defaults");
}

#[test]
fn the_documented_report_is_a_real_one() {
    let text = r#"[listen]
address = "0.0.0.0:8484"
max_conections = 500

[stream]
heartbeat_interval = "15 sec"

[[accounts]]
id = "openai-main"
provider = "openai"
api_key = "env:OPENAI_KEY"
"#;
    let report = Desk::with(text).env("MEDIARY__LOG__FORMAT", "jsno").report();
    assert!(PAGE.contains(&report), "the page should show:\n{report}");
}
