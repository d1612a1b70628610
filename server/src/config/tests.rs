//! Promises of the configuration, each told as an operator would see it.

#[cfg(test)]
use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::*;

mod published;

/// A folder with a `mediary.toml`, and an environment of its own.
struct Desk {
    folder: TempDir,
    environment: Vec<(String, String)>,
    overrides: Vec<(String, String)>,
}

impl Desk {
    fn with(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("mediary.toml"), text).unwrap();
        Self { folder, environment: Vec::new(), overrides: Vec::new() }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.overrides.push((key.to_owned(), value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self) -> Result<Loaded, Problems> {
        load(Source {
            path: Some(self.path("mediary.toml")),
            environment: Environment::from_iter(self.environment.clone()),
            overrides: self.overrides.clone(),
        })
    }

    /// The whole report, with the folder's own name left out.
    fn report(&self) -> String {
        let report = self.load().expect_err("the configuration is wrong").to_string();
        report.replace(&format!("{}/", self.folder.path().display()), "")
    }

    fn origin_of(&self, key: &str) -> (String, String) {
        let rows = self.load().unwrap().show_origins();
        let (_, value, origin) = rows.into_iter().find(|row| row.0 == key).unwrap();
        (value, origin.replace(&format!("{}/", self.folder.path().display()), ""))
    }
}

/// `field: line` of every problem.
fn places(problems: &Problems) -> Vec<String> {
    let place = |one: &Problem| format!("{}: {}", one.field(), one.line().unwrap_or_default());
    problems.iter().map(place).collect()
}

#[test]
fn nothing_set_gives_the_documented_defaults() {
    let config = Desk::with("").load().unwrap().config;
    assert_eq!(config.listen.address.to_string(), "127.0.0.1:8484");
    assert_eq!(config.listen.max_message_bytes, 4_194_304);
    assert_eq!(config.listen.drain_timeout.to_string(), "30s");
    assert_eq!(config.outbound.idle_timeout.get().as_secs(), 300);
    assert_eq!(config.log.format, LogFormat::Auto);
    assert!(config.accounts.is_empty() && !config.catalog.auto_includes_sandbox);
}

#[test]
fn all_problems_come_at_once_with_their_lines() {
    let desk = Desk::with(
        r#"[listen]
max_conections = 10
max_streams_per_connection = 0
drain_timeout = "soon"
max_message_bytes = 1.5

[log]
format = "jsn"
level = "inof"

[[accounts]]
id = "Main Account"
base_uri = "ftp://example.com"

[[accounts]]
id = "second"
provider = "openai"
api_key = "env:NOT_THERE"

[[accounts]]
id = "second"
provider = "openai"
base_uri = 7
"#,
    );
    let problems = desk.load().unwrap_err();
    let expected = [
        "listen.max_conections: 2",
        "listen.max_streams_per_connection: 3",
        "listen.drain_timeout: 4",
        "listen.max_message_bytes: 5",
        "log.format: 8",
        "log.level: 9",
        "accounts[0].provider: 11",
        "accounts[0].id: 12",
        "accounts[0].base_uri: 13",
        "accounts[1].api_key: 18",
        "accounts[2].id: 21",
        "accounts[2].base_uri: 23",
    ];
    assert_eq!(places(&problems), expected);
    assert!(problems.to_string().ends_with("12 problems in the configuration"));
}

#[test]
fn a_misspelt_key_is_shown_with_a_caret_and_the_right_name() {
    let report = Desk::with("[stream]\nhearbeat_interval = \"15s\"\n").report();
    let expected = "\
error: stream.hearbeat_interval: unknown key in stream
 --> mediary.toml:2:1
  |
2 | hearbeat_interval = ...
  | ^^^^^^^^^^^^^^^^^
  = help: did you mean `heartbeat_interval`?

1 problem in the configuration";
    assert_eq!(report, expected);
}

#[test]
fn a_key_in_the_wrong_section_is_sent_to_the_right_one() {
    let report = Desk::with("[listen]\nheartbeat_interval = \"15s\"\n").report();
    assert!(report.contains("`heartbeat_interval` exists as `stream.heartbeat_interval`"));
}

#[test]
fn syntax_errors_look_like_the_others() {
    let report = Desk::with("[listen]\naddress = \n\n[log]\nlevel = \"info\n").report();
    assert!(report.contains("--> mediary.toml:2:"), "{report}");
    assert!(report.contains("5 | level = \"info\n"), "{report}");
    assert!(report.ends_with("2 problems in the configuration"), "{report}");
}

#[test]
fn each_layer_lies_over_the_one_before() {
    let mut desk = Desk::with("[listen]\nmax_connections = 1\n");
    let key = "listen.max_connections";
    let row = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(desk.origin_of("log.level"), row("info", "default"));
    assert_eq!(desk.origin_of(key), row("1", "mediary.toml:2"));
    desk = desk.env("MEDIARY__LISTEN__MAX_CONNECTIONS", "2");
    assert_eq!(desk.origin_of(key), row("2", "MEDIARY__LISTEN__MAX_CONNECTIONS"));
    desk = desk.flag(key, "3");
    assert_eq!(desk.origin_of(key), row("3", "command line"));
    assert_eq!(desk.load().unwrap().config.listen.max_connections, 3);
}

#[test]
fn variables_set_texts_as_they_are_and_lists_in_toml() {
    let desk = Desk::with("")
        .env("MEDIARY__LOG__LEVEL", "info,h2=warn")
        .env("MEDIARY__LISTEN__ALLOWED_ORIGINS", r#"["https://a.example", "app://b"]"#)
        .env("MEDIARY__ACCOUNTS", r#"[{ id = "a", provider = "openai", api_key = "sk-1" }]"#)
        .env("MEDIARY__STREAM__HEARTBEAT_INTERVAL", "");
    let loaded = desk.load().unwrap();
    assert_eq!(loaded.config.log.level, "info,h2=warn");
    assert_eq!(loaded.config.listen.allowed_origins, ["https://a.example", "app://b"]);
    assert_eq!(loaded.config.accounts[0].api_key.as_ref().map(Secret::expose), Some("sk-1"));
    assert!(loaded.warnings.is_empty(), "the environment is a fit place for a key");
}

#[test]
fn a_wrong_variable_is_named_with_what_it_holds() {
    let desk = Desk::with("")
        .env("MEDIARY__LISTEN__MAX_CONNECTIONS", "lots")
        .env("MEDIARY__LISTEN__ALLOWED_ORIGINS", "[\"https://a.example/path\"]")
        .env("MEDIARY__LISTEN__ADRESS", "127.0.0.1:1");
    let expected = "\
error: unknown variable: there is no such key
 --> environment variable MEDIARY__LISTEN__ADRESS
  = help: did you mean `MEDIARY__LISTEN__ADDRESS`?

error: listen.allowed_origins[0]: must be an exact origin such as \"https://app.example.com\": \
scheme, host and port in lower case, without path and wildcard
 --> environment variable MEDIARY__LISTEN__ALLOWED_ORIGINS
  |
  | [\"https://a.example/path\"]
  |  ^^^^^^^^^^^^^^^^^^^^^^^^

error: listen.max_connections: must be a whole number, not a text
 --> environment variable MEDIARY__LISTEN__MAX_CONNECTIONS
  |
  | lots
  | ^^^^

3 problems in the configuration";
    assert_eq!(desk.report(), expected);
}

#[test]
fn an_unknown_key_on_the_command_line_is_an_error() {
    let report = Desk::with("").flag("listen.adress", "127.0.0.1:1").report();
    assert!(report.contains("--> command line, listen.adress"), "{report}");
    assert!(report.contains("did you mean `listen.address`?"), "{report}");
}

#[test]
fn keys_are_found_where_references_point() {
    let accounts = [r"env:KEY", "file:key.txt", "${KEY}", "${GONE:-sk-default}", "${GONE:-}"];
    let mut text = String::new();
    for (index, key) in accounts.iter().enumerate() {
        text +=
            &format!("[[accounts]]\nid = \"a{index}\"\nprovider = \"p\"\napi_key = \"{key}\"\n");
    }
    let desk = Desk::with(&text).env("KEY", "sk-env");
    fs::write(desk.path("key.txt"), "sk-file\n").unwrap();
    let loaded = desk.load().unwrap();
    let keys: Vec<_> =
        loaded.config.accounts.iter().map(|one| one.api_key.as_ref().map(Secret::expose)).collect();
    let expected = ["sk-env", "sk-file", "sk-env", "sk-default"].map(Some);
    assert_eq!(keys[..4], expected);
    assert_eq!(keys[4], None);
    assert_eq!(loaded.warnings.len(), 1, "the default is a key in the file");
    assert!(loaded.warnings[0].contains("mediary.toml:16: accounts[3].api_key"));
}

#[test]
fn a_reference_to_nothing_is_an_error() {
    let text =
        |key: &str| format!("accounts = [{{ id = \"a\", provider = \"p\", api_key = \"{key}\" }}]");
    for (key, says) in [
        ("env:GONE", "the environment variable GONE is not set"),
        ("file:gone.txt", "cannot read "),
        ("${GONE}", "the environment variable GONE is not set"),
        ("${GONE", "`${` is not closed with `}`"),
        ("env:", "`env:` must be followed by the name of a variable"),
    ] {
        let report = Desk::with(&text(key)).report();
        assert!(report.contains(says), "{report}");
    }
}

#[test]
fn a_key_never_comes_to_light() {
    let account = "[[accounts]]\nid = \"main\"\nprovider = \"openai\"\n";
    let loaded = Desk::with(&format!("{account}api_key = \"sk-live\"\n")).load().unwrap();
    let shown = format!("{loaded:?} {:?} {:?}", loaded.config, loaded.show_origins());
    assert!(shown.contains("***") && !shown.contains("sk-live"), "{shown}");
    assert_eq!(loaded.warnings.len(), 1);

    for wrong in [
        "apikey = \"sk-live\"",
        "api_key = sk-live",
        "api_key = \"sk-live",
        "api_key = [\"sk-live\"]",
        "api_key = \"\"\"sk-live\n\u{1}\"\"\"",
        "api_key = \"sk-live\\nx\"",
        "api_key = \"\"\"\nsk-live\u{1}\"\"\"",
        "api_key: \"sk-live\"",
        "api_key \"sk-live\"",
        "\"api-key\" \"sk-live\"",
        "api_key =\n\"sk-live",
        "accounts = [{ api_key = \"sk-live\" }]",
        "key = \"sk-live\"",
        "base_uri = { api_key = \"sk-live\" }",
        "base_uri = \"https://x, api_key = \"sk-live\"",
    ] {
        let report = Desk::with(&format!("{account}{wrong}\n")).report();
        assert!(!report.contains("sk-live"), "{report}");
    }
    let list = r#"[{ id = "a", provider = "p", api_key = "sk-live", wait = 1 }]"#;
    let report = Desk::with("")
        .env("MEDIARY__ACCOUNTS", list)
        .env("MEDIARY__ACCOUNT__API_KEY", "sk-live")
        .report();
    assert!(!report.contains("sk-live") && report.contains("2 problems"), "{report}");
}

#[test]
fn a_public_address_needs_a_word() {
    for address in ["0.0.0.0:8484", "[::]:8484", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        let text = format!("[listen]\naddress = \"{address}\"\n");
        let report = Desk::with(&text).report();
        assert!(report.contains("listen.allow_insecure_public = true"), "{report}");
        assert!(Desk::with(&format!("{text}allow_insecure_public = true")).load().is_ok());
    }
    for address in ["127.0.0.2:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(Desk::with(&format!("[listen]\naddress = \"{address}\"\n")).load().is_ok());
    }
}

#[test]
fn a_named_file_must_exist() {
    let environment = || Environment::from_iter([("MEDIARY_CONFIG", "/nowhere/mediary.toml")]);
    let source = Source { environment: environment(), ..Source::default() };
    let report = load(source).unwrap_err().to_string();
    assert!(report.contains("--> /nowhere/mediary.toml"), "{report}");
    assert!(report.contains("MEDIARY_CONFIG names this file"), "{report}");

    let desk = Desk::with("");
    let path = Some(desk.path("mediary.toml"));
    let loaded = load(Source { path, environment: environment(), ..Source::default() });
    assert!(loaded.is_ok(), "the option is stronger than the variable");
}

#[test]
fn the_folder_of_the_catalog_starts_beside_the_file() {
    let desk = Desk::with("[catalog]\ndirectory = \"rows\"\n");
    assert!(desk.report().contains("rows is not a folder"));
    fs::create_dir(desk.path("rows")).unwrap();
    assert_eq!(desk.load().unwrap().config.catalog.directory, Some(desk.path("rows")));
}
