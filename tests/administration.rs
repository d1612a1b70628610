//! What an admin does on the command line: keys of callers, and who changed what.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{
    House,
    house::{Ran, run, value, well},
};

const ADMIN: &str = "an-admin-key-of-the-configuration";

/// A server that admits nobody without a key.
fn locked() -> House {
    House::plan()
        .config("auth.anonymous_role = \"none\"")
        .config("auth.admin_key = \"env:ADMIN\"")
        .env("ADMIN", ADMIN)
        .start()
}

/// Runs a command with a key of a caller.
fn with_key(house: &House, key: &str, arguments: &[&str]) -> Ran {
    let url = house.url();
    let environment = [("MEDIARY_URL", url.as_str()), ("MEDIARY_API_KEY", key)];
    run(house.folder.path(), &environment, arguments, "")
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

// --- keys ---

#[test]
fn a_key_is_made_and_its_secret_stands_alone_on_stdout() {
    let house = locked();
    let made = well(with_key(&house, ADMIN, &["keys", "create", "--role", "user", "--id", "ci"]));
    let secret = made.stdout.strip_suffix('\n').expect("a line");
    assert!(secret.starts_with("mdy_") && !secret.contains(char::is_whitespace), "{secret:?}");
    assert!(made.stderr.contains("apiKeys/ci may do what a user may"), "{}", made.stderr);
    well(with_key(&house, secret, &["models"]));
    let refused = with_key(&house, secret, &["keys", "list"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (4, ""));
    assert!(refused.stderr.contains("fix: use a key of role admin"), "{}", refused.stderr);

    let quiet = well(with_key(&house, ADMIN, &["keys", "create", "--role", "user", "-o", "id"]));
    assert_eq!((quiet.stdout.lines().count(), quiet.stderr.as_str()), (1, ""));
    well(with_key(&house, quiet.stdout.trim(), &["models"]));
    let whole =
        well(with_key(&house, ADMIN, &["keys", "create", "--role", "viewer", "-o", "json"]));
    let whole = json_of(&whole);
    assert_eq!(whole["api_key"]["role"], "ROLE_VIEWER");
    well(with_key(&house, whole["secret"].as_str().unwrap(), &["models"]));

    for command in [&["keys", "list"][..], &["keys", "show", "ci"], &["audit"], &["doctor"]] {
        for form in ["table", "json", "jsonl"] {
            let ran = well(with_key(&house, ADMIN, &[command, &["-o", form]].concat()));
            assert!(!(ran.stdout + &ran.stderr).contains(secret), "{command:?} -o {form}");
        }
    }
}

#[test]
fn a_key_is_listed_changed_disabled_and_deleted() {
    let house = House::new();
    let options = ["--role", "operator", "--owner", "team", "--name", "Build", "--model"];
    let limits = ["sandbox/-", "--route", "text", "--requests-per-day", "100"];
    well(house.run(&[&["keys", "create", "--id", "ci"], &options[..], &limits].concat(), ""));
    let shown = well(house.run(&["keys", "show", "apiKeys/ci"], ""));
    for (name, expected) in [
        ("name", "apiKeys/ci"),
        ("title", "Build"),
        ("role", "operator"),
        ("owner", "team"),
        ("state", "enabled"),
        ("routes", "routes/text"),
        ("models", "providers/sandbox/models/-"),
        ("limits", "100 requests per day"),
    ] {
        assert_eq!(value(&shown, name), expected, "{name}: {}", shown.stdout);
    }

    let change = ["--role", "user", "--model", "sandbox-text", "--requests-per-day", "none"];
    let more = ["--route", "none", "--concurrent-requests", "2", "--expires", "2099-01-31"];
    let changed = well(house.run(&[&["keys", "update", "ci"], &change[..], &more].concat(), ""));
    for (name, expected) in [
        ("title", "Build"),
        ("role", "user"),
        ("routes", ""),
        ("models", "providers/sandbox/models/sandbox-text"),
        ("limits", "2 at a time"),
        ("ends", "2099-01-31T00:00:00Z"),
    ] {
        assert_eq!(value(&changed, name), expected, "{name}: {}", changed.stdout);
    }
    let endless = well(house.run(&["keys", "update", "ci", "--expires", "never"], ""));
    assert_eq!(value(&endless, "ends"), "");
    assert_eq!(value(&well(house.run(&["keys", "disable", "ci"], "")), "state"), "disabled");
    assert_eq!(value(&well(house.run(&["keys", "enable", "ci"], "")), "state"), "enabled");

    let gone = well(house.run(&["keys", "delete", "ci", "--yes"], ""));
    assert_eq!((gone.stdout.as_str(), gone.stderr.as_str()), ("", "apiKeys/ci is deleted\n"));
    let absent = house.run(&["keys", "show", "ci"], "");
    assert_eq!((absent.code, absent.stdout.as_str()), (1, ""));
    assert!(absent.stderr.contains("fix: `mediary keys list` lists what there is"));
}

#[test]
fn keys_are_listed_in_every_form() {
    let house = House::new();
    for id in ["a", "b"] {
        well(house.run(&["keys", "create", "--role", "user", "--id", id], ""));
    }
    let table = well(house.run(&["keys", "list"], ""));
    assert!(table.stdout.starts_with("KEY  NAME  ROLE  OWNER  STATE"), "{}", table.stdout);
    assert_eq!(well(house.run(&["keys", "list", "-o", "id"], "")).stdout, "a\nb\n");
    let lines = well(house.run(&["keys", "list", "-o", "jsonl"], "")).stdout;
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let whole = json_of(&well(house.run(&["keys", "list", "-o", "json"], "")));
    assert_eq!(whole, json!({ "api_keys": lines, "more": false }));
    let filter = ["keys", "list", "-o", "id", "--filter", "name = \"apiKeys/b\""];
    assert_eq!(well(house.run(&filter, "")).stdout, "b\n");
}

#[test]
fn what_the_server_refuses_is_told_by_its_option() {
    let house = House::new();
    let wrong = ["--requests-per-day", "0", "--name", "a\nb"];
    let ran = house.run(&[&["keys", "create"][..], &wrong].concat(), "");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let mut told: Vec<&str> = ran.stderr.lines().map(|line| line.trim_start()).collect();
    told.sort_unstable();
    let begins = ["--name: must", "--requests-per-day: must", "error: --role: must"];
    assert_eq!(told.len(), begins.len(), "{}", ran.stderr);
    for (line, begin) in told.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
    let id = house.run(&["keys", "create", "--role", "user", "--id", "No Id"], "");
    assert!(id.stderr.starts_with("error: --id: "), "{}", id.stderr);
    for wrong in [
        &["--role", "king"][..],
        &["--expires", "soon"],
        &["--usd-per-day", "1,50"],
        &["--requests-per-day", "many"],
    ] {
        let ran = house.run(&[&["keys", "create"][..], wrong].concat(), "");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(ran.stderr.contains(wrong[0]), "{}", ran.stderr);
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let house = House::new();
    let made = ["keys", "create", "--role", "user", "--id", "ci", "--dry-run"];
    let checked = well(house.run(&made, ""));
    assert_eq!(value(&checked, "role"), "user");
    assert!(checked.stderr.contains("only checked"), "{}", checked.stderr);
    assert_eq!(well(house.run(&["keys", "list", "-o", "id"], "")).stdout, "");
    let wrong = house.run(&["keys", "create", "--dry-run"], "");
    assert_eq!(wrong.code, 1, "{wrong:?}");

    well(house.run(&["keys", "create", "--role", "user", "--id", "ci"], ""));
    let checked = well(house.run(&["keys", "update", "ci", "--role", "admin", "--dry-run"], ""));
    assert_eq!(value(&checked, "role"), "admin");
    assert_eq!(value(&well(house.run(&["keys", "show", "ci"], "")), "role"), "user");
}

#[test]
fn what_cannot_be_taken_back_wants_a_yes() {
    let house = House::new();
    well(house.run(&["keys", "create", "--role", "user", "--id", "ci"], ""));
    for input in ["", "y\n"] {
        let ran = house.run(&["keys", "delete", "ci"], input);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains("add --yes"), "{}", ran.stderr);
    }
    assert_eq!(well(house.run(&["keys", "list", "-o", "id"], "")).stdout, "ci\n");
}

#[test]
fn a_change_of_one_version_leaves_another_alone() {
    let house = House::new();
    well(house.run(&["keys", "create", "--role", "user", "--id", "ci"], ""));
    let shown = well(house.run(&["keys", "show", "ci"], ""));
    let etag = value(&shown, "etag").to_owned();
    assert!(!etag.is_empty() && !etag.contains('"'), "{etag}");
    let rename =
        |name: &str| house.run(&["keys", "update", "ci", "--name", name, "--etag", &etag], "");
    assert_eq!(value(&well(rename("first")), "title"), "first");
    let stale = rename("second");
    assert_eq!((stale.code, stale.stdout.as_str()), (1, ""));
    assert!(stale.stderr.contains("fix: look at it with `show`"), "{}", stale.stderr);
    let stale = house.run(&["keys", "delete", "ci", "--yes", "--etag", &etag], "");
    assert_eq!(stale.code, 1);
    assert_eq!(value(&well(house.run(&["keys", "show", "ci"], "")), "title"), "first");
}

#[test]
fn a_key_may_be_described_in_a_file() {
    let house = House::new();
    let write = |name: &str, text: &str| fs::write(house.folder.path().join(name), text).unwrap();
    write("key.toml", "role = \"ROLE_USER\"\nowner = \"team\"\n[limits]\nrequests_per_day = 5\n");
    let made = ["keys", "create", "--id", "ci", "-f", "key.toml", "--name", "Build"];
    well(house.run(&made, ""));
    let shown = well(house.run(&["keys", "show", "ci"], ""));
    assert_eq!(value(&shown, "owner"), "team");
    assert_eq!(value(&shown, "limits"), "5 requests per day");
    assert_eq!(value(&shown, "title"), "Build");

    // What `-o json` prints can be changed and sent back; its etag guards it.
    let mut whole = json_of(&well(house.run(&["keys", "show", "ci", "-o", "json"], "")));
    whole["display_name"] = "Edited".into();
    whole["limits"] = Value::Null;
    let edited = whole.to_string();
    let changed = well(house.run(&["keys", "update", "ci", "-f", "-"], &edited));
    assert_eq!((value(&changed, "title"), value(&changed, "limits")), ("Edited", ""));
    let stale = house.run(&["keys", "update", "ci", "-f", "-"], &edited);
    assert_eq!(stale.code, 1, "{stale:?}");
    assert!(stale.stderr.contains("changed meanwhile"), "{}", stale.stderr);

    write("unknown.json", "{\"colour\": \"red\"}");
    write("half.json", "{\"role\":");
    write("half.toml", "role = \"ROLE_USER\"\nowner = a-secret-thing\n");
    write("list.json", "[1]");
    for (file, says) in [
        ("unknown.json", "colour"),
        ("half.json", "`half.json` is not JSON"),
        ("half.toml", "`half.toml` is not TOML: line 2"),
        ("list.json", "must hold one object"),
        ("none.json", "cannot read `none.json`"),
    ] {
        let ran = house.run(&["keys", "create", "-f", file], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains(says) && !ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    let nothing = house.run(&["keys", "update", "ci"], "");
    assert_eq!(nothing.code, 2);
    assert!(nothing.stderr.contains("nothing to change"), "{}", nothing.stderr);
}

// --- what was done ---

#[test]
fn who_changed_what_is_listed_newest_first() {
    let house = locked();
    well(with_key(&house, ADMIN, &["keys", "create", "--role", "user", "--id", "ci"]));
    well(with_key(&house, ADMIN, &["keys", "update", "ci", "--name", "Build"]));
    let missing = with_key(&house, ADMIN, &["keys", "delete", "nobody", "--yes"]);
    assert_eq!(missing.code, 1);
    let all = well(with_key(&house, ADMIN, &["audit"]));
    let table: Vec<Vec<&str>> =
        all.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let [_head, deleted, updated, created] = table.as_slice() else {
        panic!("a head and three changes: {}", all.stdout)
    };
    // The first column is the time.
    assert_eq!(deleted[1..3], ["admin", "DeleteApiKey"]);
    assert_eq!(updated[1..], ["admin", "UpdateApiKey", "apiKeys/ci", "OK", "display_name"]);
    assert_eq!(created[1..], ["admin", "CreateApiKey", "apiKeys/ci", "OK"]);
    let count = |more: &[&str]| {
        let arguments = [&["audit", "-o", "jsonl"], more].concat();
        well(with_key(&house, ADMIN, &arguments)).stdout.lines().count()
    };
    assert_eq!(count(&["--failed"]), 1);
    assert_eq!(count(&["--resource", "apiKeys/ci"]), 2);
    assert_eq!(count(&["--since", "1h"]), 3);
    assert_eq!(count(&["--since", "2099-01-01"]), 0);
    assert_eq!(count(&["--since", "1h", "--failed", "--filter", "method:\"Update\""]), 0);
}

#[test]
fn doctor_tells_which_keys_end_and_what_it_may_not_see() {
    let house = locked();
    let create = |id: &str, role: &str, expires: &str| {
        let made = ["keys", "create", "--id", id, "--role", role, "--expires", expires];
        well(with_key(&house, ADMIN, &made)).stdout.trim().to_owned()
    };
    create("soon", "user", "3d 12h");
    create("later", "user", "300d");
    let viewer = create("viewer", "viewer", "never");
    let ran = well(with_key(&house, ADMIN, &["doctor"]));
    assert!(
        ran.stdout.contains("apiKeys/soon: it ends in 3 days\n  fix: mediary keys update soon")
    );
    assert!(!ran.stdout.contains("apiKeys/later"), "{}", ran.stdout);
    let report = json_of(&well(with_key(&house, ADMIN, &["doctor", "-o", "json"])));
    assert_eq!(report["findings"][0]["about"], "apiKeys/soon");

    let report = json_of(&well(with_key(&house, &viewer, &["doctor", "-o", "json"])));
    assert_eq!(report["findings"], json!([]));
    let unseen = report["not_seen"].to_string();
    assert!(unseen.contains("keys") && unseen.contains("accounts"), "{unseen}");
}
