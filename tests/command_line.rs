//! The commands of the binary, as a person and as a script meet them: what stands on stdout, what
//! on stderr, and which exit code tells what.

mod support;

use std::{fs, net::TcpListener};

use serde_json::{Value, json};
use support::{
    House, Reply,
    house::{Ran, run},
    vendors::{BARE, OPENAI_HELLO, QUICK, Street, rows},
};
use tempfile::TempDir;

const SANDBOX: [&str; 3] = ["chat", "-m", "sandbox-text"];
const COMMANDS: [&str; 18] = [
    "serve",
    "config",
    "completions",
    "chat",
    "models",
    "providers",
    "capabilities",
    "keys",
    "accounts",
    "routes",
    "presets",
    "workflows",
    "resolve",
    "usage",
    "attempts",
    "audit",
    "doctor",
    "profile",
];
const ADMIN: &str = "an-admin-key-of-the-configuration";
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

fn chat(house: &House, more: &[&str], input: &str) -> Ran {
    house.run(&[&SANDBOX, more].concat(), input)
}

/// One JSON value on stdout and nothing else.
fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// The rows of a table, cells apart by two spaces.
fn table(ran: &Ran) -> Vec<Vec<&str>> {
    ran.stdout
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect()
}

fn went_well(ran: &Ran) {
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
}

// --- chat ---

#[test]
fn a_question_is_answered_on_stdout_and_nothing_else_is_said() {
    let house = House::new();
    let ran = chat(&house, &["say", "hello"], "");
    went_well(&ran);
    assert!(ran.stdout.contains("You said: \"say hello\""), "{}", ran.stdout);
    assert!(ran.stdout.ends_with(".\n") && !ran.stdout.ends_with("\n\n"), "{:?}", ran.stdout);
}

#[test]
fn a_question_may_come_from_stdin() {
    let house = House::new();
    let named = chat(&house, &["say hello"], "");
    let piped = chat(&house, &[], "say hello\n");
    went_well(&piped);
    assert_eq!(piped.stdout, named.stdout);
}

#[test]
fn the_model_may_come_from_the_environment() {
    let house = House::new();
    let url = house.url();
    let environment = [("MEDIARY_URL", url.as_str()), ("MEDIARY_MODEL", "sandbox-text")];
    let ran = run(house.folder.path(), &environment, &["chat", "hi"], "");
    went_well(&ran);
    assert!(ran.stdout.contains("You said: \"hi\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_piped_in_follows_the_question() {
    let street = Street::new().await;
    street.openai.always(Reply::sse(OPENAI_HELLO));
    let ran = street.house.run(&["chat", "-m", QUICK, "sum", "up:"], "first line\nsecond line\n");
    went_well(&ran);
    assert_eq!(ran.stdout, "Hello!\n");
    let body = street.openai.last_asked().json();
    let asked = json!([{ "role": "user", "content": "sum up:\n\nfirst line\nsecond line" }]);
    assert_eq!(body["messages"], asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_reaches_the_vendor() {
    let street = Street::new().await;
    street.openai.always(Reply::sse(OPENAI_HELLO));
    let options = [
        "chat",
        "-m",
        QUICK,
        "--system",
        "be kind",
        "--max-tokens",
        "7",
        "--seed",
        "-3",
        "--temperature",
        "0.5",
        "--reasoning",
        "high",
        "--json",
        "say hello",
    ];
    let ran = street.house.run(&options, "");
    went_well(&ran);
    let body = street.openai.last_asked().json();
    assert_eq!(body["messages"][0]["content"], "be kind");
    assert_eq!(body["messages"][1]["content"], "say hello");
    let limit = [&body["max_tokens"], &body["max_completion_tokens"]];
    assert!(limit.contains(&&json!(7)), "{body}");
    assert_eq!(body["seed"], -3);
    assert_eq!(body["temperature"], 0.5);
    assert_eq!(body["reasoning_effort"], "high");
    assert_eq!(body["response_format"]["type"], "json_object");
}

#[test]
fn a_seed_decides_the_answer() {
    let house = House::new();
    let say = |seed: &str| chat(&house, &["--seed", seed, "say hello"], "").stdout;
    assert_eq!(say("1"), say("1"));
    assert_ne!(say("1"), say("2"));
}

#[test]
fn the_whole_answer_is_the_streamed_one() {
    let house = House::new();
    for model in ["sandbox-text", "sandbox-reasoning"] {
        let streamed = house.run(&["chat", "-m", model, "say hello"], "");
        let whole = house.run(&["chat", "-m", model, "--no-stream", "say hello"], "");
        went_well(&streamed);
        assert_eq!((whole.code, whole.stdout, whole.stderr), (0, streamed.stdout, streamed.stderr));
    }
}

#[test]
fn an_answer_in_json_has_the_names_of_the_contract() {
    let house = House::new();
    for more in [&["-o", "json"][..], &["-o", "json", "--no-stream"]] {
        let ran = chat(&house, &[more, &["say hello"]].concat(), "");
        went_well(&ran);
        let answer = json_of(&ran);
        let text = answer["text"].as_str().expect("a text");
        assert!(text.contains("say hello"));
        assert_eq!(answer["complete"], true);
        assert_eq!(answer["error"], Value::Null);
        assert_eq!(answer["message"]["role"], "MESSAGE_ROLE_ASSISTANT");
        assert_eq!(answer["message"]["parts"], json!([{ "text": text }]));
        assert_eq!(answer["finish_reason"], "FINISH_REASON_STOP");
        assert_eq!(answer["model"], "providers/sandbox/models/sandbox-text");
        assert_eq!(answer["usage"]["source"], "USAGE_SOURCE_REPORTED");
        assert!(answer["usage"]["output_tokens"].as_i64().expect("a number") > 10);
        assert!(answer["cost_pico_usd"].is_i64() && answer["warnings"] == json!([]));
        assert_eq!(answer["attempts"][0]["state"], "ATTEMPT_STATE_SUCCEEDED");
    }
}

#[test]
fn an_answer_follows_the_schema_in_a_file() {
    let house = House::new();
    let file = |name: &str, text: &str| fs::write(house.folder.path().join(name), text).unwrap();
    file(
        "weather.json",
        r#"{"type":"object","properties":{"city":{"type":"string"},"celsius":{"type":"integer"},
           "sky":{"enum":["clear","grey"]}},"required":["city","celsius","sky"],
           "additionalProperties":false}"#,
    );
    file("half.json", "{\"type\":");
    file("list.json", "[1]");

    let ran = chat(&house, &["--schema", "weather.json", "Oslo?"], "");
    went_well(&ran);
    let weather = json_of(&ran);
    assert!(weather["city"].is_string() && weather["celsius"].is_i64(), "{weather}");
    assert!(["clear", "grey"].contains(&weather["sky"].as_str().unwrap()));
    assert_eq!(weather.as_object().unwrap().len(), 3);

    for (name, code, says) in [
        ("half.json", 2, "`half.json` is not JSON"),
        ("none.json", 2, "cannot read `none.json`"),
        ("list.json", 1, "schema_json"),
    ] {
        let ran = chat(&house, &["--schema", name, "Oslo?"], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(says), "{}", ran.stderr);
    }
}

#[test]
fn pictures_are_asked_about() {
    let house = House::new();
    let file = |name: &str, bytes: &[u8]| fs::write(house.folder.path().join(name), bytes).unwrap();
    file("one.png", PNG);
    file("large.png", &vec![7; (1 << 20) + 1]);
    file("empty.png", b"");
    file("text.png", b"not a picture");

    let ran = chat(&house, &["--image", "one.png", "--image", "one.png", "what is this?"], "");
    went_well(&ran);
    assert_eq!(ran.stdout.matches("image/png").count(), 2, "{}", ran.stdout);

    for (name, code, says) in [
        ("none.png", 2, "cannot read `none.png`"),
        ("large.png", 2, "larger than 1 MiB"),
        ("empty.png", 2, "is empty"),
        ("text.png", 1, "no known format"),
    ] {
        let ran = chat(&house, &["--image", name, "what is this?"], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
}

#[test]
fn thinking_is_shown_on_stderr_and_only_where_asked_for() {
    let house = House::new();
    for more in [&[][..], &["--no-stream"]] {
        let ask = ["chat", "-m", "sandbox-reasoning", "say hello"];
        let quiet = house.run(&[&ask[..], more].concat(), "");
        let loud = house.run(&[&ask[..], &["--show-reasoning"], more].concat(), "");
        went_well(&quiet);
        assert_eq!((loud.code, &loud.stdout), (0, &quiet.stdout));
        assert!(loud.stderr.contains("pretends to think"), "{}", loud.stderr);
        assert!(!loud.stdout.contains("pretends to think"), "{}", loud.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usage_line_tells_model_tokens_and_cost_on_stderr() {
    let street = Street::new().await;
    street.openai.always(Reply::sse(OPENAI_HELLO));
    let ran = street.house.run(&["chat", "-m", QUICK, "--usage", "say hello"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Hello!\n"));
    // 9 tokens at 1 and 2 at 2 USD per million.
    let line = format!("{QUICK} | 9 tokens in | 2 out | $0.000013 | first token ");
    assert!(ran.stderr.starts_with(&line), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn a_conversation_needs_a_terminal_or_a_question() {
    let house = House::new();
    for input in ["", " \n"] {
        let ran = chat(&house, &[], input);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains("nothing to ask"), "{}", ran.stderr);
    }
}

// --- how it went ---

#[test]
fn wrong_usage_is_2() {
    let house = House::new();
    for wrong in [
        &["nonsense"][..],
        &[],
        &["chat", "--modle", "x", "hi"],
        &["chat", "-m", "a", "--preset", "b", "hi"],
        &["chat", "--max-tokens", "many", "hi"],
        &["models", "show"],
        &["models", "-o", "yaml"],
        &["chat", "-o", "id", "hi"],
        &["doctor", "-o", "id"],
        &["accounts", "add", "openai", "--key-stdin", "--key-env", "X"],
        &["routes", "set", "text", "--model", "a", "--auto"],
        &["completions", "tcsh"],
        &["config"],
        &["doctor", "--url", "http://not a host"],
    ] {
        let ran = house.run(wrong, "");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{wrong:?}: {ran:?}");
        assert!(!ran.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn what_the_server_refuses_is_1_and_names_the_field() {
    let house = House::new();
    let ran = chat(&house, &["--temperature", "7", "hi"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("parameters.temperature: must be at least 0 and at most 2"));
}

#[test]
fn a_failure_comes_with_its_fix() {
    let house = House::new();
    for (model, cause, fix) in [
        ("nobody", "error: nobody does not exist", "fix: `mediary models` lists what there is"),
        (
            "providers/openai/models/gpt-4-1-mini",
            "error: no account at OpenAI can be used",
            "fix: where the server runs, export OPENAI_API_KEY=..., or `mediary accounts add openai",
        ),
    ] {
        let ran = house.run(&["chat", "-m", model, "hi"], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(ran.stderr.starts_with(cause), "{}", ran.stderr);
        assert!(ran.stderr.lines().any(|line| line.starts_with(fix)), "{}", ran.stderr);
    }
}

#[test]
fn nobody_listening_is_3() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = TempDir::new().unwrap();
    let url = format!("http://{gone}");
    for command in [
        &["chat", "hi"][..],
        &["chat", "--no-stream", "hi"],
        &["models"],
        &["models", "show", "x"],
        &["providers"],
        &["capabilities"],
        &["keys", "list"],
        &["accounts", "add", "openai", "--ref", "env:X"],
        &["routes", "show", "text"],
        &["resolve"],
        &["audit"],
        &["usage"],
        &["attempts"],
        &["doctor"],
    ] {
        let ran = run(folder.path(), &[], &[command, &["--url", &url]].concat(), "");
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{command:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: cannot reach the server"), "{}", ran.stderr);
        let fix =
            format!("fix: start it with `mediary serve`, or name another with --url (tried {url})");
        assert!(ran.stderr.contains(&fix), "{}", ran.stderr);
    }
}

#[test]
fn a_key_that_is_not_accepted_is_4() {
    let house = House::plan()
        .config("auth.anonymous_role = \"none\"")
        .config("auth.admin_key = \"env:ADMIN\"")
        .env("ADMIN", ADMIN)
        .start();
    let with_key = |key: &str, arguments: &[&str]| {
        let url = house.url();
        run(house.folder.path(), &[("MEDIARY_URL", &url), ("MEDIARY_API_KEY", key)], arguments, "")
    };
    let made = with_key(ADMIN, &["keys", "create", "--role", "viewer"]);
    let viewer = made.stdout.trim();
    for (key, fix) in [
        ("", "fix: name your key with --api-key"),
        ("my-own-key", "fix: check --api-key"),
        (viewer, "fix: use a key of role user"),
    ] {
        let ran = with_key(key, &["chat", "hi"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{ran:?}");
        assert!(ran.stderr.contains(fix), "{}", ran.stderr);
        assert!(key.is_empty() || !ran.stderr.contains(key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_5_and_says_when_to_come_back() {
    let street = Street::new().await;
    let body = r#"{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}"#;
    street.openai.always(Reply::json(429, body).header("retry-after", "7"));
    for more in [&[][..], &["--no-stream"]] {
        let ran = street.house.run(&[&["chat", "-m", QUICK, "hi"], more].concat(), "");
        assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{ran:?}");
        assert!(ran.stderr.contains("Rate limit reached"), "{}", ran.stderr);
        assert!(ran.stderr.contains("fix: try again in 7 s"), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_vendor_rejects_is_the_servers_to_mend() {
    let street = Street::new().await;
    let body = r#"{"error":{"message":"no","code":"invalid_api_key"}}"#;
    street.openai.always(Reply::json(401, body));
    let ran = street.house.run(&["chat", "-m", QUICK, "hi"], "");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("fix: check the key of the server's account at openai"));
}

#[test]
fn an_answer_that_met_its_limit_is_shown_and_is_1() {
    let house = House::new();
    for more in [&[][..], &["--no-stream"]] {
        let ran = chat(&house, &[&["--max-tokens", "3", "hi"], more].concat(), "");
        assert_eq!((ran.code, ran.stdout.as_str()), (1, "Hello! This is\n"), "{ran:?}");
        assert!(ran.stderr.contains("error: the answer is cut"), "{}", ran.stderr);
    }
    let ran = chat(&house, &["--max-tokens", "3", "-o", "json", "hi"], "");
    let answer = json_of(&ran);
    assert_eq!((ran.code, &answer["complete"]), (1, &json!(false)));
    assert_eq!(answer["text"], "Hello! This is");
    assert_eq!(answer["finish_reason"], "FINISH_REASON_LENGTH");
    assert!(answer["error"]["message"].as_str().unwrap().contains("cut"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_shown_and_is_1() {
    let street = Street::new().await;
    let end = OPENAI_HELLO.find("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish").unwrap();
    street.openai.always(Reply::sse(OPENAI_HELLO).cut_after(end));

    let ran = street.house.run(&["chat", "-m", QUICK, "hi"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "Hello!\n"), "{ran:?}");
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("fix: ask again; what arrived is not whole"), "{}", ran.stderr);

    let ran = street.house.run(&["chat", "-m", QUICK, "-o", "json", "hi"], "");
    let answer = json_of(&ran);
    assert_eq!(
        (ran.code, &answer["complete"], &answer["text"]),
        (1, &json!(false), &json!("Hello!"))
    );
    assert_eq!(answer["error"]["reason"], "UPSTREAM_TRUNCATED");
    assert_eq!(answer["error"]["code"], "Unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_the_model_lacks_is_named_with_the_model() {
    let street = Street::new().await;
    let ran = street.house.run(&["chat", "-m", BARE, "--json", "--reasoning", "low", "hi"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains(BARE) && ran.stderr.contains("parameters.reasoning"));
    assert!(ran.stderr.contains("fix: leave out parameters."), "{}", ran.stderr);
}

// --- what there is ---

#[test]
fn models_are_listed_and_narrowed_down() {
    let house = House::new();
    let ran = house.run(&["models", "--provider", "sandbox"], "");
    went_well(&ran);
    let rows = table(&ran);
    assert_eq!(rows[0], ["PROVIDER", "MODEL", "STATE", "CONTEXT", "CAPABILITIES"]);
    assert_eq!(rows[1][..3], ["sandbox", "sandbox-embedding", "usable"]);
    assert_eq!(rows[2][..4], ["sandbox", "sandbox-reasoning", "usable", "131072"]);
    assert_eq!(rows[3][..3], ["sandbox", "sandbox-text", "usable"]);
    assert_eq!(rows.len(), 4);

    let first = house.run(&["models"], "");
    let all = house.run(&["models", "--all-pages"], "");
    assert_eq!(first.stdout.lines().count(), 101, "a page of 100");
    assert!(first.stderr.contains("--all-pages"), "{}", first.stderr);
    went_well(&all);
    assert!(table(&all).starts_with(&table(&first)), "the first page comes first");
    assert!(all.stdout.lines().count() > 101);

    let reasoning = ["--provider", "sandbox", "--filter", "features:\"reasoning\""];
    for (narrow, names) in [
        (&reasoning[..], &["providers/sandbox/models/sandbox-reasoning"][..]),
        (&["--provider", "sandbox", "--capability", "text-to-video"], &[]),
    ] {
        let ran = house.run(&[&["models", "-o", "json"], narrow].concat(), "");
        went_well(&ran);
        let list = json_of(&ran);
        let found = list["models"].as_array().unwrap();
        assert_eq!(found.iter().map(|model| &model["name"]).collect::<Vec<_>>(), names);
        assert_eq!(list["more"], false);
    }
    let ran = house.run(&["models", "--filter", "features:("], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
}

#[test]
fn a_model_is_shown_by_name_and_by_id() {
    let house = House::new();
    let short = house.run(&["models", "show", "sandbox-text"], "");
    let long = house.run(&["models", "show", "providers/sandbox/models/sandbox-text"], "");
    let json = house.run(&["models", "show", "sandbox-text", "-o", "json"], "");
    went_well(&short);
    went_well(&json);
    assert_eq!(short.stdout, long.stdout);
    for line in ["providers/sandbox/models/sandbox-text", "131072", "$1 per million", "usable"] {
        assert!(short.stdout.contains(line), "{line}: {}", short.stdout);
    }
    let model = json_of(&json);
    assert_eq!(model["name"], "providers/sandbox/models/sandbox-text");
    assert_eq!(model["context_tokens"], 131_072);
    assert_eq!(model["availability"], "MODEL_AVAILABILITY_USABLE");

    for absent in ["nobody", "providers/sandbox/models/nobody"] {
        let ran = house.run(&["models", "show", absent], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(ran.stderr.contains("fix: `mediary models` lists what there is"), "{}", ran.stderr);
    }
}

#[test]
fn an_id_of_several_models_is_not_guessed_at() {
    let twin = "[[models]]\nid = \"twin\"\nprovider_model_id = \"twin\"\n\
                capabilities = [\"text-to-text\"]\ninput_kinds = [\"text\"]\n\
                output_kinds = [\"text\"]\n";
    let plan = House::plan().row("models/openai.toml", twin).row("models/anthropic.toml", twin);
    let house = plan.start();
    let ran = house.run(&["models", "show", "twin"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    for name in ["providers/openai/models/twin", "providers/anthropic/models/twin"] {
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
}

#[test]
fn providers_and_capabilities_are_listed() {
    let house = rows(House::plan()).env("OPENAI_API_KEY", "sk-1").start();
    let providers = house.run(&["providers"], "");
    went_well(&providers);
    let rows = table(&providers);
    assert_eq!(rows[0], ["PROVIDER", "NAME", "STATE", "WHERE", "CAPABILITIES"]);
    let state = |id: &str| rows.iter().find(|row| row[0] == id).map(|row| row[2]);
    assert_eq!(state("openai"), Some("not called yet"));
    assert_eq!(state("anthropic"), Some("not configured"));
    assert!(!providers.stdout.contains("sk-1"));
    let list = json_of(&house.run(&["providers", "-o", "json"], ""));
    let openai =
        list["providers"].as_array().unwrap().iter().find(|one| one["name"] == "providers/openai");
    assert_eq!(openai.unwrap()["configured"], true);

    let capabilities = house.run(&["capabilities"], "");
    went_well(&capabilities);
    let rows = table(&capabilities);
    assert_eq!(rows[0], ["CAPABILITY", "FROM", "TO", "USABLE MODELS"]);
    let text = rows.iter().find(|row| row[0] == "text-to-text").expect("text");
    assert_eq!(text[1..3], ["text", "text"]);
    assert!(text[3].parse::<u32>().unwrap() > 2, "OpenAI's and the sandbox's");
    let list = json_of(&house.run(&["capabilities", "-o", "json"], ""));
    assert!(
        list["capabilities"].as_array().unwrap().iter().any(|one| one["id"] == "text-to-video")
    );
}

// --- doctor ---

#[test]
fn doctor_tells_what_is_missing_and_how_to_mend_it() {
    let house = House::new();
    let ran = house.run(&["doctor"], "");
    went_well(&ran);
    assert!(ran.stdout.contains(&format!("server     {} answers", house.url())));
    assert!(ran.stdout.contains("openai: not configured\n  fix: export OPENAI_API_KEY=...\n"));
    assert!(ran.stdout.contains("mediary chat --model sandbox-text"), "{}", ran.stdout);

    let report = json_of(&house.run(&["doctor", "-o", "json"], ""));
    assert_eq!((&report["reachable"], &report["url"]), (&json!(true), &json!(house.url())));
    let providers = report["providers"].as_array().unwrap();
    let openai = providers.iter().find(|one| one["name"] == "providers/openai").unwrap();
    assert_eq!(
        (&openai["configured"], &openai["fix"]),
        (&json!(false), &json!("export OPENAI_API_KEY=..."))
    );
    assert!(report["suggestion"].is_string());
}

#[test]
fn doctor_sees_the_keys_of_the_server_and_shows_none() {
    let house = House::plan().env("OPENAI_API_KEY", "sk-of-the-server").start();
    let ran = house.run(&["doctor"], "");
    went_well(&ran);
    assert!(ran.stdout.contains("provider   openai: configured, not called yet"));
    assert!(ran.stdout.contains("anthropic: not configured"));
    assert!(!ran.stdout.contains("no provider is configured"), "{}", ran.stdout);
    let json = house.run(&["doctor", "-o", "json"], "");
    assert_eq!(json_of(&json)["suggestion"], Value::Null);
    assert!(!ran.stdout.contains("sk-of") && !json.stdout.contains("sk-of"));
}

#[test]
fn doctor_tells_programs_that_nobody_listens() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = TempDir::new().unwrap();
    let url = format!("http://{gone}");
    let ran = run(folder.path(), &[("MEDIARY_URL", &url)], &["doctor", "-o", "json"], "");
    let report = json_of(&ran);
    assert_eq!((ran.code, &report["reachable"]), (3, &json!(false)));
    assert!(report["error"]["message"].as_str().unwrap().contains("cannot reach"));
}

// --- help and dress ---

#[test]
fn completions_are_printed_for_every_shell() {
    let folder = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let ran = run(folder.path(), &[], &["completions", shell], "");
        went_well(&ran);
        for command in COMMANDS {
            assert!(ran.stdout.contains(command), "{shell} lacks {command}");
        }
    }
}

#[test]
fn help_names_every_command_and_every_command_has_help() {
    let folder = TempDir::new().unwrap();
    let environment = [("MEDIARY_API_KEY", "my-own-key")];
    let help = run(folder.path(), &environment, &["--help"], "");
    went_well(&help);
    for command in COMMANDS {
        let is_listed = help.stdout.lines().any(|line| line.trim_start().starts_with(command));
        assert!(is_listed, "{command}: {}", help.stdout);
        let own = run(folder.path(), &environment, &[command, "--help"], "");
        went_well(&own);
        assert!(own.stdout.contains(&format!("Usage: mediary {command}")), "{}", own.stdout);
        assert!(!own.stdout.contains("my-own-key"), "a key is shown");
    }
    assert!(!help.stdout.contains("my-own-key"), "a key is shown");
    let version = run(folder.path(), &[], &["--version"], "");
    assert_eq!(version.stdout, format!("mediary {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_no_terminal_gets_no_colours() {
    let house = House::new();
    let url = house.url();
    for environment in [
        &[("MEDIARY_URL", url.as_str())][..],
        &[("MEDIARY_URL", &url), ("NO_COLOR", "1"), ("TERM", "xterm-256color")],
    ] {
        for command in [
            &["--help"][..],
            &["nonsense"],
            &["models"],
            &["models", "show", "sandbox-text"],
            &["models", "show", "nobody"],
            &["providers"],
            &["doctor"],
            &["chat", "-m", "sandbox-text", "--usage", "hi"],
            &["chat", "-m", "nobody", "hi"],
        ] {
            let ran = run(house.folder.path(), environment, command, "");
            let printed = ran.stdout + &ran.stderr;
            assert!(!printed.contains('\u{1b}'), "{command:?}: {printed:?}");
        }
    }
}
