//! Servers by name: the profiles of a user, and what wins over them.

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use support::{
    House,
    house::{Ran, run, well},
};
use tempfile::TempDir;

const ADMIN: &str = "an-admin-key-of-the-configuration";

/// A user with a home and nothing in the environment.
struct User(TempDir);

impl User {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn home(&self) -> &Path {
        self.0.path()
    }

    fn file(&self) -> PathBuf {
        self.home().join(".config/mediary/profiles.toml")
    }

    fn run(&self, arguments: &[&str], input: &str) -> Ran {
        self.run_with(&[], arguments, input)
    }

    fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Ran {
        let home = [("HOME", self.home().to_str().expect("a plain path"))];
        run(self.home(), &[&home, environment].concat(), arguments, input)
    }

    /// Makes a profile with the admin key.
    fn knows(&self, name: &str, house: &House) {
        let made = ["profile", "set", name, "--url", &house.url(), "--key-stdin"];
        well(self.run(&made, &format!("{ADMIN}\n")));
    }
}

/// A server that admits nobody without a key.
fn locked() -> House {
    House::plan()
        .config("auth.anonymous_role = \"none\"")
        .config("auth.admin_key = \"env:ADMIN\"")
        .env("ADMIN", ADMIN)
        .start()
}

/// Which server a command spoke to, as `doctor` tells.
fn answers(ran: &Ran) -> String {
    let line = ran.stdout.lines().find_map(|line| line.strip_prefix("server "));
    line.unwrap_or_else(|| panic!("{ran:?}")).trim().replace(" answers", "")
}

#[test]
fn a_profile_names_a_server_and_its_key() {
    let (user, house) = (User::new(), locked());
    user.knows("prod", &house);
    // The first one is in use at once.
    assert_eq!(answers(&well(user.run(&["doctor"], ""))), house.url());
    let listed = well(user.run(&["profile", "list"], ""));
    assert!(listed.stdout.contains("prod*") && listed.stdout.contains(&house.url()));
    for command in [
        &["profile", "list"][..],
        &["profile", "show"],
        &["profile", "show", "prod", "-o", "json"],
        &["profile", "list", "-o", "jsonl"],
        &["doctor"],
    ] {
        let ran = well(user.run(command, ""));
        assert!(!(ran.stdout + &ran.stderr).contains(ADMIN), "{command:?}");
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&user.file()), 0o600);
    assert_eq!(mode(user.file().parent().unwrap()), 0o700);
    let others = fs::read_dir(user.file().parent().unwrap()).unwrap().count();
    assert_eq!(others, 1, "nothing but the file is left");
}

#[test]
fn a_profile_is_chosen_changed_and_deleted() {
    let (user, one, two) = (User::new(), House::new(), House::new());
    well(user.run(&["profile", "set", "one", "--url", &one.url()], ""));
    well(user.run(&["profile", "set", "two", "--url", &two.url()], ""));
    assert_eq!(well(user.run(&["profile", "list", "-o", "id"], "")).stdout, "one\ntwo\n");
    assert_eq!(answers(&well(user.run(&["doctor"], ""))), one.url());
    well(user.run(&["profile", "use", "two"], ""));
    assert_eq!(answers(&well(user.run(&["doctor"], ""))), two.url());
    well(user.run(&["profile", "set", "two", "--url", &one.url()], ""));
    assert_eq!(answers(&well(user.run(&["doctor"], ""))), one.url());

    let unsure = user.run(&["profile", "delete", "two"], "");
    assert_eq!((unsure.code, unsure.stdout.as_str()), (2, ""));
    well(user.run(&["profile", "delete", "two", "--yes"], ""));
    assert_eq!(well(user.run(&["profile", "list", "-o", "id"], "")).stdout, "one\n");
    assert!(!fs::read_to_string(user.file()).unwrap().contains("two"));
}

#[test]
fn options_win_over_the_environment_and_that_over_profiles() {
    let (user, one, two) = (User::new(), House::new(), House::new());
    let (first, second) = (one.url(), two.url());
    well(user.run(&["profile", "set", "one", "--url", &first], ""));
    well(user.run(&["profile", "set", "two", "--url", &second], ""));
    let spoken_to = |environment: &[(&str, &str)], options: &[&str]| {
        answers(&well(user.run_with(environment, &[&["doctor"], options].concat(), "")))
    };
    assert_eq!(spoken_to(&[], &[]), first);
    assert_eq!(spoken_to(&[("MEDIARY_PROFILE", "two")], &[]), second);
    assert_eq!(spoken_to(&[("MEDIARY_PROFILE", "two")], &["--profile", "one"]), first);
    assert_eq!(spoken_to(&[("MEDIARY_URL", &second)], &[]), second);
    assert_eq!(spoken_to(&[("MEDIARY_URL", &second)], &["--url", &first]), first);
    assert_eq!(spoken_to(&[], &["--profile", "one", "--url", &second]), second);

    // Whoever names a profile is told that it does not count.
    let arguments = ["doctor", "--profile", "one"];
    let ran = well(user.run_with(&[("MEDIARY_URL", &second)], &arguments, ""));
    assert_eq!(answers(&ran), second);
    assert!(ran.stderr.contains("MEDIARY_URL names another server"), "{}", ran.stderr);
}

#[test]
fn the_key_of_a_profile_goes_to_its_own_server_alone() {
    let (user, house, other) = (User::new(), locked(), locked());
    user.knows("prod", &house);
    well(user.run(&["keys", "list"], ""));
    let (url, elsewhere) = (house.url(), other.url());
    well(user.run_with(&[("MEDIARY_URL", &url)], &["keys", "list"], ""));
    for (environment, options) in [
        (&[][..], &["--url", elsewhere.as_str()][..]),
        (&[("MEDIARY_URL", elsewhere.as_str())], &[]),
    ] {
        let ran = user.run_with(environment, &[&["keys", "list"], options].concat(), "");
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{ran:?}");
    }
    // Nor does it follow the profile to another address.
    let moved = well(user.run(&["profile", "set", "prod", "--url", &elsewhere], ""));
    assert!(moved.stderr.contains("its key was for"), "{}", moved.stderr);
    assert_eq!(user.run(&["keys", "list"], "").code, 4);
}

#[test]
fn a_key_of_the_environment_wins_over_that_of_the_profile() {
    let (user, house) = (User::new(), locked());
    user.knows("prod", &house);
    let wrong = [("MEDIARY_API_KEY", "nobody")];
    assert_eq!(user.run_with(&wrong, &["keys", "list"], "").code, 4);
    well(user.run_with(&wrong, &["keys", "list", "--api-key", ADMIN], ""));
    well(user.run(&["profile", "set", "prod", "--no-key"], ""));
    assert_eq!(user.run(&["keys", "list"], "").code, 4);
    fs::write(user.home().join("key"), format!("{ADMIN}\n")).unwrap();
    well(user.run(&["profile", "set", "prod", "--key-file", "key"], ""));
    well(user.run(&["keys", "list"], ""));
}

#[test]
fn what_cannot_be_a_profile_is_refused() {
    let user = User::new();
    for (arguments, says) in [
        (&["profile", "set", "a b"][..], "is no name for a profile"),
        (&["profile", "set", "none"], "is no name for a profile"),
        (&["profile", "set", "x", "--url", "ftp://host"], "cannot be the server"),
        (&["profile", "set", "x", "--key-env", "ABSENT"], "the variable ABSENT is not set"),
        (&["profile", "set", "x", "--key-file", "absent"], "cannot read `absent`"),
        (&["profile", "set", "x", "--key-stdin"], "is empty"),
        (&["profile", "set", "x", "--ca", "absent.pem"], "cannot read `absent.pem`"),
        (&["profile", "use", "x"], "there is no profile `x`"),
        (&["profile", "show"], "no profile is in use"),
        (&["models", "--profile", "x"], "there is no profile `x`"),
        (&["models", "--ca", "absent.pem"], "certificates in absent.pem cannot be read"),
    ] {
        let ran = user.run(arguments, "");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
    assert!(!user.file().exists());
    let homeless = run(user.home(), &[], &["profile", "set", "x"], "");
    assert_eq!(homeless.code, 2);
    assert!(homeless.stderr.contains("set HOME or XDG_CONFIG_HOME"), "{}", homeless.stderr);
}

#[test]
fn a_file_that_cannot_be_read_is_named_without_what_it_holds() {
    let (user, house) = (User::new(), House::new());
    user.knows("prod", &house);
    let text = fs::read_to_string(user.file()).unwrap();
    fs::write(user.file(), text.replace("api_key = ", "api_kee = ")).unwrap();
    for command in [&["models"][..], &["profile", "list"]] {
        let ran = user.run(command, "");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains("profiles.toml cannot be used"), "{}", ran.stderr);
        assert!(!ran.stderr.contains(ADMIN), "{}", ran.stderr);
    }
}

#[test]
fn the_file_stands_where_the_user_keeps_settings() {
    let (user, house) = (User::new(), House::new());
    let elsewhere = user.home().join("settings");
    let environment = [("XDG_CONFIG_HOME", elsewhere.to_str().unwrap())];
    let made = ["profile", "set", "here", "--url", &house.url()];
    well(user.run_with(&environment, &made, ""));
    assert!(elsewhere.join("mediary/profiles.toml").exists() && !user.file().exists());
    assert_eq!(answers(&well(user.run_with(&environment, &["doctor"], ""))), house.url());
}

#[test]
fn doctor_tells_that_others_can_read_the_profiles() {
    let (user, house) = (User::new(), House::new());
    user.knows("prod", &house);
    // The house has no keys; this one opens nothing there.
    well(user.run(&["profile", "set", "prod", "--no-key"], ""));
    fs::set_permissions(user.file(), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = well(user.run(&["doctor"], ""));
    assert!(ran.stdout.contains("others can read your profiles\n  fix: chmod 600 "));
    let report = well(user.run(&["doctor", "-o", "json"], ""));
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["findings"][0]["problem"], "others can read your profiles");
    // The next change mends it.
    well(user.run(&["profile", "use", "prod"], ""));
    assert!(!well(user.run(&["doctor"], "")).stdout.contains("others can read"));
}
