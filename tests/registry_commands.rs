//! Accounts, routes and rows of the catalog on the command line.

mod support;

use std::fs;

use support::{
    House,
    house::{Ran, run, value, well},
};

// --- accounts ---

/// A server that keeps keys of accounts, and may read some of its own variables for them.
fn with_vault() -> House {
    House::plan()
        .config("vault.key = \"env:VAULT\"")
        .config("vault.readable_variables = [\"TEAM_*\"]")
        .env("VAULT", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
        .env("TEAM_KEY", "sk-of-the-team-4567")
        .start()
}

#[test]
fn the_key_of_an_account_comes_from_a_variable_a_file_or_stdin_and_is_shown_nowhere() {
    const KEY: &str = "sk-a-very-secret-key-1234";
    let house = with_vault();
    fs::write(house.folder.path().join("key"), format!("{KEY}\n")).unwrap();
    let url = house.url();
    let environment = [("MEDIARY_URL", url.as_str()), ("MY_KEY", KEY)];
    let mut printed = String::new();
    for (id, from, input) in [
        ("by-variable", &["--key-env", "MY_KEY"][..], ""),
        ("by-file", &["--key-file", "key"], ""),
        ("by-stdin", &["--key-stdin"], "sk-a-very-secret-key-1234\n"),
        ("by-reference", &["--ref", "env:TEAM_KEY"], ""),
    ] {
        let arguments = [&["accounts", "add", "openai", "--id", id], from].concat();
        let ran = well(run(house.folder.path(), &environment, &arguments, input));
        let hint = if id == "by-reference" { "...4567" } else { "...1234" };
        assert_eq!((value(&ran, "provider"), value(&ran, "secret")), ("providers/openai", hint));
        printed += &(ran.stdout + &ran.stderr);
    }
    for form in ["table", "json", "jsonl"] {
        for command in [&["accounts", "list"][..], &["accounts", "show", "by-file"], &["audit"]] {
            let ran = well(house.run(&[command, &["-o", form]].concat(), ""));
            printed += &(ran.stdout + &ran.stderr);
        }
    }
    assert!(!printed.contains(KEY) && !house.log().contains(KEY));
    let listed = ["accounts", "list", "--provider", "openai", "-o", "id"];
    let listed = well(house.run(&listed, ""));
    assert_eq!(listed.stdout, "by-file\nby-reference\nby-stdin\nby-variable\n");
}

#[test]
fn an_account_that_cannot_be_is_refused_by_the_option_that_is_wrong() {
    let house = with_vault();
    for (arguments, code, says) in [
        (&["openai"][..], 1, "error: --key-env, --key-file or --key-stdin: "),
        (&["openai", "--ref", "env:HOME"], 1, "error: --ref: "),
        (&["openai", "--ref", "env:TEAM_KEY", "--weight", "0"], 1, "error: --weight: "),
        (&["openai", "--key-env", "ABSENT"], 2, "error: the variable ABSENT is not set"),
        (&["openai", "--key-stdin"], 2, "error: standard input holds no key"),
        (&["openai", "--key-file", "absent"], 2, "error: cannot read `absent`"),
        (&["nobody", "--ref", "env:TEAM_KEY"], 1, "error: providers/nobody does not exist"),
    ] {
        let ran = house.run(&[&["accounts", "add"], arguments].concat(), "");
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.starts_with(says), "{}", ran.stderr);
    }
    let two_lines = house.run(&["accounts", "add", "openai", "--key-stdin"], "sk-1\nsk-2\n");
    assert_eq!(two_lines.code, 2);
    assert!(!two_lines.stderr.contains("sk-"), "{}", two_lines.stderr);
}

#[test]
fn an_account_is_changed_disabled_enabled_and_deleted() {
    let house = with_vault();
    let made = ["accounts", "add", "openai", "--id", "main", "--ref", "env:TEAM_KEY"];
    well(house.run(&[&made[..], &["--dry-run"]].concat(), ""));
    assert_eq!(house.run(&["accounts", "show", "main"], "").code, 1);
    well(house.run(&made, ""));
    let change = ["--name", "Main", "--weight", "2.5", "--requests-per-minute", "50"];
    let more = ["--usd-per-month", "12.50", "--model", "gpt-4-1-mini"];
    let changed = [&["accounts", "update", "main"], &change[..], &more].concat();
    let changed = well(house.run(&changed, ""));
    for (name, expected) in [
        ("title", "Main"),
        ("weight", "2.5"),
        ("limits", "50 requests per minute, $12.50 per month"),
        ("models", "providers/openai/models/gpt-4-1-mini"),
        ("secret", "...4567"),
    ] {
        assert_eq!(value(&changed, name), expected, "{name}: {}", changed.stdout);
    }
    let disabled = well(house.run(&["accounts", "disable", "main"], ""));
    assert_eq!(value(&disabled, "state"), "disabled");
    let told = well(house.run(&["doctor"], "")).stdout;
    assert!(told.contains("accounts/main: an operator has disabled it\n  fix: mediary accounts"));
    let enabled = well(house.run(&["accounts", "enable", "main"], ""));
    assert_eq!(value(&enabled, "state"), "active");
    assert_eq!(house.run(&["accounts", "delete", "main"], "").code, 2);
    well(house.run(&["accounts", "delete", "main", "--yes"], ""));
    assert_eq!(house.run(&["accounts", "show", "main"], "").code, 1);
}

#[test]
fn a_server_that_keeps_no_keys_says_so_and_doctor_does_too() {
    let house = House::new();
    let ran = house.run(&["accounts", "add", "openai", "--key-stdin"], "sk-1234\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("MEDIARY__VAULT__KEY"), "{}", ran.stderr);
    let told = well(house.run(&["doctor"], "")).stdout;
    assert!(told.contains("vault: the server cannot keep keys of accounts"), "{told}");
    assert!(!well(with_vault().run(&["doctor"], "")).stdout.contains("vault"));
}

// --- routes ---

#[test]
fn a_task_is_assigned_and_who_would_serve_it_is_explained() {
    let house = House::new();
    let unassigned = house.run(&["resolve", "--task", "text"], "");
    assert_eq!((unassigned.code, unassigned.stdout.as_str()), (1, ""));
    assert!(unassigned.stderr.contains("fix: `mediary routes set"), "{}", unassigned.stderr);

    let set = ["routes", "set", "text", "--model", "sandbox-text"];
    let made = [&set[..], &["--fallback", "sandbox-reasoning", "--max-cost", "0.05"]].concat();
    let checked = well(house.run(&[&made[..], &["--dry-run"]].concat(), ""));
    assert!(checked.stderr.contains("only checked"), "{}", checked.stderr);
    assert_eq!(well(house.run(&["routes", "list", "-o", "id"], "")).stdout, "");
    let made = well(house.run(&made, ""));
    assert_eq!(value(&made, "capability"), "text-to-text");
    assert!(value(&made, "served by").ends_with("sandbox-text"), "{}", made.stdout);
    assert!(value(&made, "else by").ends_with("sandbox-reasoning"), "{}", made.stdout);
    assert_eq!(value(&made, "most cost"), "$0.05");

    let order = well(house.run(&["resolve", "--task", "text", "-o", "id"], ""));
    let names =
        ["sandbox-text", "sandbox-reasoning"].map(|id| format!("providers/sandbox/models/{id}\n"));
    assert_eq!(order.stdout, names.concat());
    let tokens = ["--input-tokens", "1000", "--output-tokens", "200"];
    let explained = [&["resolve", "--task", "text"], &tokens[..]].concat();
    let explained = well(house.run(&explained, ""));
    let rows: Vec<&str> = explained.stdout.lines().collect();
    assert!(rows[0].starts_with("MODEL") && rows[1].contains("yes") && rows[1].contains("$0.0014"));

    // Another model, and the fallbacks stay; then they go.
    let other = ["routes", "set", "text", "--model", "sandbox-reasoning", "--fallback", "none"];
    let changed = well(house.run(&other, ""));
    assert_eq!(value(&changed, "else by"), "");
    assert!(value(&changed, "served by").ends_with("sandbox-reasoning"));
    let answer = house.run(&["chat", "--task", "text", "hi"], "");
    assert!(well(answer).stdout.contains("You said: \"hi\""));

    assert_eq!(house.run(&["routes", "delete", "text"], "").code, 2);
    well(house.run(&["routes", "delete", "text", "--yes"], ""));
    assert_eq!(house.run(&["routes", "show", "text"], "").code, 1);
}

#[test]
fn a_route_that_cannot_be_is_refused_by_the_option_that_is_wrong() {
    let house = House::new();
    for (arguments, says) in [
        (&["text"][..], "nothing to change"),
        (&["text", "--capability", "text-to-text"], "--model, --preset or --auto: "),
        (&["text", "--model", "nobody"], "there is no model `nobody`"),
        (&["No Task", "--auto", "--capability", "text-to-text"], "TASK: "),
        (&["text", "--auto", "--capability", "mind-reading"], "--capability: "),
    ] {
        let ran = house.run(&[&["routes", "set"], arguments].concat(), "");
        assert_ne!(ran.code, 0);
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    }
}

#[test]
fn nobody_to_ask_is_1_with_the_reasons() {
    let house = House::new();
    let ran = house.run(&["resolve", "-m", "providers/openai/models/gpt-4-1-mini"], "");
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("no account at OpenAI can be used"), "{ran:?}");
    assert!(ran.stderr.contains("fix: `mediary doctor`"), "{}", ran.stderr);
}

// --- rows of the catalog ---

#[test]
fn a_provider_and_its_model_are_added_changed_and_deleted() {
    let house = House::new();
    let made = ["providers", "add", "my-vllm", "--protocol", "openai-chat", "--kind", "local"];
    let more = ["--base-uri", "http://127.0.0.1:9/v1", "--auth-scheme", "none"];
    let provider = well(house.run(&[&made[..], &more].concat(), ""));
    assert_eq!(value(&provider, "address"), "http://127.0.0.1:9/v1");
    assert_eq!((value(&provider, "where"), value(&provider, "from")), ("local", "manual"));

    let row = "provider_model_id = \"meta/llama-3\"\ncapabilities = [\"text-to-text\"]\n\
               input_kinds = [\"text\"]\noutput_kinds = [\"text\"]\n\
               [[prices]]\nunit = \"input-token\"\nmicro_usd_per_million = 150000\n";
    fs::write(house.folder.path().join("row.toml"), row).unwrap();
    let made = ["models", "add", "my-vllm", "-f", "row.toml", "--context-tokens", "8000"];
    let model = well(house.run(&made, ""));
    assert_eq!(value(&model, "name"), "providers/my-vllm/models/meta-llama-3");
    assert_eq!(value(&model, "context tokens"), "8000");
    assert_eq!(value(&model, "price"), "input-token $0.15 per million");

    let change = ["--alias", "ll", "--price", "input-token=0.2", "--lifecycle", "deprecated"];
    let changed = [&["models", "update", "meta-llama-3"], &change[..]].concat();
    let changed = well(house.run(&changed, ""));
    assert_eq!(value(&changed, "price"), "input-token $0.2 per million");
    assert!(value(&changed, "state").contains("deprecated"), "{}", changed.stdout);
    assert_eq!(value(&well(house.run(&["models", "show", "ll"], "")), "context tokens"), "8000");

    let used = house.run(&["providers", "delete", "my-vllm", "--yes"], "");
    assert_eq!(used.code, 1, "{used:?}");
    assert!(used.stderr.contains("--force"), "{}", used.stderr);
    well(house.run(&["models", "delete", "ll", "--yes"], ""));
    well(house.run(&["providers", "delete", "my-vllm", "--yes"], ""));
    assert_eq!(house.run(&["providers", "show", "my-vllm"], "").code, 1);
}

#[test]
fn a_built_in_row_is_overlaid_and_comes_back() {
    let house = House::new();
    let title = |ran: Ran| value(&well(ran), "title").to_owned();
    let before = title(house.run(&["models", "show", "sandbox-text"], ""));
    let renamed = house.run(&["models", "update", "sandbox-text", "--name", "Mine"], "");
    assert_eq!(title(renamed), "Mine");
    well(house.run(&["models", "delete", "sandbox-text", "--yes"], ""));
    assert_eq!(title(house.run(&["models", "show", "sandbox-text"], "")), before);
}
