//! The configuration as an operator meets it on the command line: everything that is wrong at
//! once and where, which layer wins, and no key in sight.

mod support;

use std::{fs, net::TcpListener};

use support::house::{Ran, run};
use tempfile::TempDir;

/// What reads the configuration and refuses a bad one.
const READERS: [&[&str]; 4] =
    [&["serve"], &["serve", "--check"], &["config", "check"], &["config", "show"]];

struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    /// With a `mediary.toml`.
    fn with(config: &str) -> Self {
        let desk = Self::new();
        desk.write("mediary.toml", config);
        desk
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(self.0.path(), &[], arguments, "")
    }

    fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        run(self.0.path(), environment, arguments, "")
    }

    /// The line of `config show` for a key.
    fn shown(&self, key: &str, environment: &[(&str, &str)], more: &[&str]) -> String {
        let ran = self.run_with(environment, &[&["config", "show", "--origin"], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let line = ran.stdout.lines().find(|line| line.starts_with(&format!("{key} = ")));
        line.unwrap_or_else(|| panic!("{key} is not shown:\n{}", ran.stdout)).to_owned()
    }
}

/// Refused with exit code 2, and nothing on stdout.
fn report(ran: Ran) -> String {
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    ran.stderr
}

#[test]
fn everything_that_is_wrong_is_reported_at_once_with_its_place() {
    let desk = Desk::with(
        "[listen]\naddress = \"0.0.0.0:8484\"\nmax_conections = 500\n\n[stream]\n\
         heartbeat_interval = \"15 sec\"\n\n[[accounts]]\nid = \"main\"\nprovider = \"openai\"\n\
         api_key = \"env:OPENAI_KEY\"\n\n[[accounts]]\nid = \"main\"\n",
    );
    for reader in READERS {
        let report = report(desk.run_with(&[("MEDIARY__LOG__FORMAT", "jsno")], reader));
        let mut rest = report.as_str();
        // In the order of the file, the variables after it.
        for expected in [
            "error: listen.address: other machines can reach this address",
            " --> mediary.toml:2:11",
            "address = \"0.0.0.0:8484\"",
            "          ^^^^^^^^^^^^^^",
            "error: listen.max_conections: unknown key in listen",
            " --> mediary.toml:3:1",
            "help: did you mean `max_connections`?",
            "error: stream.heartbeat_interval: must be a duration",
            " --> mediary.toml:6:22",
            "error: accounts[0].api_key: the environment variable OPENAI_KEY is not set",
            " --> mediary.toml:11:11",
            "error: accounts[1].id: there is another account named `main`",
            " --> mediary.toml:14:6",
            "the first one is at mediary.toml:9",
            "error: log.format: must be one of auto, pretty or json",
            " --> environment variable MEDIARY__LOG__FORMAT",
            "help: did you mean `json`?",
        ] {
            let (_, after) = rest
                .split_once(expected)
                .unwrap_or_else(|| panic!("{reader:?}: {expected:?} is missing in:\n{report}"));
            rest = after;
        }
        assert!(report.contains("accounts[1].provider: is missing"), "{report}");
        assert!(report.trim_end().ends_with("7 problems in the configuration"), "{report}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_reported_with_line_and_column() {
    let desk = Desk::with("[listen]\nmax_connections = 1\nmax_streams_per_connection = [1,\n");
    for reader in READERS {
        let report = report(desk.run(reader));
        assert!(report.contains(" --> mediary.toml:3:"), "{report}");
        assert!(report.contains("1 problem in the configuration"), "{report}");
    }
}

#[test]
fn a_file_that_is_named_must_exist() {
    let desk = Desk::new();
    let by_option = report(desk.run(&["config", "check", "--config", "other.toml"]));
    assert!(by_option.contains("cannot be read") && by_option.contains("other.toml"));
    let variable = [("MEDIARY_CONFIG", "other.toml")];
    let by_variable = report(desk.run_with(&variable, &["config", "check"]));
    assert!(by_variable.contains("MEDIARY_CONFIG names this file"), "{by_variable}");
    assert_eq!(desk.run(&["config", "check"]).code, 0, "the usual one need not exist");
}

#[test]
fn a_sound_configuration_is_said_to_be_sound() {
    let desk = Desk::with("listen.address = \"127.0.0.1:9001\"\n");
    let check = desk.run(&["config", "check"]);
    assert_eq!((check.code, check.stdout.as_str()), (0, "the configuration is sound\n"));
    let serve = desk.run(&["serve", "--check"]);
    assert_eq!(
        (serve.code, serve.stdout.as_str()),
        (0, "the configuration and the catalog are sound\n")
    );
    assert_eq!((check.stderr.as_str(), serve.stderr.as_str()), ("", ""));
}

#[test]
fn a_bad_row_of_the_catalog_stops_the_start_with_its_file() {
    let desk = Desk::with("catalog.directory = \"catalog\"\n");
    desk.write("catalog/models/openai.toml", "[[models]]\nid = \"Bad Id\"\n");
    desk.write("catalog/models/nobody.toml", "models = []\n");
    desk.write("catalog/providers/mine.toml", "id = \"mine\"\ndisplay_name = \"Mine\"\n");
    let ran = desk.run(&["serve", "--check"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    for file in ["models/openai.toml", "models/nobody.toml", "providers/mine.toml"] {
        assert!(ran.stderr.contains(file), "{file}: {}", ran.stderr);
    }
    assert_ne!(desk.run(&["serve"]).code, 0);

    let desk = Desk::with("[[accounts]]\nid = \"a\"\nprovider = \"openia\"\n");
    let ran = desk.run(&["serve", "--check"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("account a: there is no provider \"openia\""), "{}", ran.stderr);
}

#[test]
fn each_layer_lies_over_the_one_before_and_is_named() {
    const KEY: &str = "listen.max_connections";
    let (empty, desk) = (Desk::new(), Desk::with("[listen]\nmax_connections = 11\n"));
    let variable = [("MEDIARY__LISTEN__MAX_CONNECTIONS", "22")];
    let option = ["--set", "listen.max_connections=33"];
    assert_eq!(empty.shown(KEY, &[], &[]), "listen.max_connections = 16384  # default");
    assert_eq!(desk.shown(KEY, &[], &[]), "listen.max_connections = 11  # mediary.toml:2");
    assert_eq!(
        desk.shown(KEY, &variable, &[]),
        "listen.max_connections = 22  # MEDIARY__LISTEN__MAX_CONNECTIONS"
    );
    assert_eq!(desk.shown(KEY, &variable, &option), "listen.max_connections = 33  # command line");
    let unset = [("MEDIARY__LISTEN__MAX_CONNECTIONS", "")];
    assert_eq!(desk.shown(KEY, &unset, &[]), "listen.max_connections = 11  # mediary.toml:2");
}

#[test]
fn the_file_is_the_named_one_then_the_variables_then_the_usual_one() {
    let desk = Desk::with("log.level = \"error\"\n");
    desk.write("by-variable.toml", "log.level = \"warn\"\n");
    desk.write("by-option.toml", "log.level = \"debug\"\n");
    let variable = [("MEDIARY_CONFIG", "by-variable.toml")];
    let option = ["--config", "by-option.toml"];
    assert_eq!(desk.shown("log.level", &[], &[]), "log.level = error  # mediary.toml:1");
    let shown = desk.shown("log.level", &variable, &[]);
    assert_eq!(shown, "log.level = warn  # by-variable.toml:1");
    let shown = desk.shown("log.level", &variable, &option);
    assert_eq!(shown, "log.level = debug  # by-option.toml:1");
}

#[test]
fn every_key_is_shown_and_on_request_where_it_comes_from() {
    let desk = Desk::new();
    let ran = desk.run(&["config", "show", "--origin"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../docs/config.schema.json")).unwrap();
    let sections = schema["properties"].as_object().unwrap();
    for section in sections.keys() {
        assert!(ran.stdout.contains(section.as_str()), "{section}: {}", ran.stdout);
    }
    assert!(ran.stdout.lines().all(|line| line.contains(" = ") && line.ends_with("  # default")));
    let plain = desk.run(&["config", "show"]);
    assert_eq!(plain.stdout, ran.stdout.replace("  # default\n", "\n"));
}

#[test]
fn programs_read_the_settings_as_json() {
    let desk = Desk::with("listen.max_connections = 5\n");
    let whole = desk.run(&["config", "show", "--origin", "-o", "json"]);
    let whole: serde_json::Value = serde_json::from_str(&whole.stdout).unwrap();
    let settings = whole["settings"].as_array().unwrap();
    let changed = settings.iter().find(|one| one["key"] == "listen.max_connections").unwrap();
    assert_eq!((&changed["value"], &changed["origin"]), (&"5".into(), &"mediary.toml:1".into()));
    let lines = desk.run(&["config", "show", "-o", "jsonl"]).stdout;
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert!(lines.clone().all(|one| one["origin"].is_null() && one["value"].is_string()));
    assert_eq!(lines.count(), settings.len());
}

#[test]
fn an_override_that_fits_no_key_is_an_error_with_what_is_meant() {
    let desk = Desk::new();
    let variable = [("MEDIARY__LISTEN__ADRESS", "127.0.0.1:1")];
    let report_of_variable = report(desk.run_with(&variable, &["config", "check"]));
    assert!(
        report_of_variable.contains("did you mean `MEDIARY__LISTEN__ADDRESS`?"),
        "{report_of_variable}"
    );
    let by_option = report(desk.run(&["config", "check", "--set", "listen.adress=x"]));
    assert!(by_option.contains("did you mean `listen.address`?"), "{by_option}");
    assert!(by_option.contains("command line, listen.adress"), "{by_option}");
    let no_pair = desk.run(&["config", "check", "--set", "listen.address"]);
    assert_eq!(no_pair.code, 2);
    assert!(no_pair.stderr.contains("KEY=VALUE"), "{}", no_pair.stderr);
}

#[test]
fn keys_are_shown_nowhere() {
    const KEY: &str = "sk-the-very-key";
    let desk = Desk::with(
        "[[accounts]]\nid = \"in-clear\"\nprovider = \"openai\"\napi_key = \"sk-the-very-key\"\n\
         [[accounts]]\nid = \"from-file\"\nprovider = \"openai\"\napi_key = \"file:key\"\n\
         [[accounts]]\nid = \"from-variable\"\nprovider = \"openai\"\napi_key = \"env:KEY\"\n\
         [[accounts]]\nid = \"within\"\nprovider = \"openai\"\napi_key = \"${KEY:-sk-the-very-key}\"\n",
    );
    desk.write("key", &format!("{KEY}\n"));
    let environment = [("KEY", KEY), ("OPENAI_API_KEY", KEY)];
    let show = desk.run_with(&environment, &["config", "show", "--origin"]);
    assert_eq!(show.code, 0, "{}", show.stderr);
    assert!(show.stdout.contains("accounts[0].api_key = ***  # mediary.toml:4"));
    assert!(show.stdout.contains("accounts[1].api_key = file:key  # mediary.toml:8"));
    assert!(show.stdout.contains("accounts[2].api_key = env:KEY  # mediary.toml:12"));
    for reader in [
        &["config", "show"][..],
        &["config", "show", "-o", "json"],
        &["config", "check"],
        &["serve", "--check"],
    ] {
        let ran = desk.run_with(&environment, reader);
        let printed = ran.stdout + &ran.stderr;
        assert!(!printed.contains(KEY), "{reader:?}:\n{printed}");
    }
    let check = desk.run_with(&environment, &["config", "check"]);
    assert_eq!(check.code, 0);
    assert!(
        check.stdout.contains("warning: mediary.toml:4: accounts[0].api_key holds the key itself")
    );

    let list = "[{ id = \"a\", provider = \"openai\", api_key = \"sk-the-very-key\" }]";
    let shown = desk.run_with(&[("MEDIARY__ACCOUNTS", list)], &["config", "show", "--origin"]);
    assert!(shown.stdout.contains("accounts[0].api_key = ***  # MEDIARY__ACCOUNTS"));
    assert!(!shown.stdout.contains(KEY));
}

#[test]
fn keys_are_left_out_of_reports() {
    const KEY: &str = "sk-the-very-key";
    for (what, file) in [
        (
            "a list",
            "[[accounts]]\nid = \"a\"\nprovider = \"openai\"\napi_key = [\"sk-the-very-key\"]\n",
        ),
        (
            "another name",
            "[[accounts]]\nid = \"a\"\nprovider = \"openai\"\napikey = \"sk-the-very-key\"\n",
        ),
        ("one line", "accounts = [{ id = \"a\", api_key = \"sk-the-very-key\" }]\n"),
        (
            "no end",
            "[[accounts]]\nid = \"a\"\nprovider = \"openai\"\napi_key = \"sk-the-very-key\n",
        ),
        ("the wrong place", "api_key = \"sk-the-very-key\"\n"),
    ] {
        let report = report(Desk::with(file).run(&["config", "check"]));
        assert!(!report.contains(KEY), "{what}:\n{report}");
        assert!(report.contains("mediary.toml:"), "{what}:\n{report}");
    }
    let list = "[{ id = \"a\", api_key = \"sk-the-very-key\" }]";
    let ran = Desk::new().run_with(&[("MEDIARY__ACCOUNTS", list)], &["config", "check"]);
    let report = report(ran);
    assert!(!report.contains(KEY) && report.contains("MEDIARY__ACCOUNTS"), "{report}");
}

#[test]
fn an_address_that_others_reach_needs_a_word_of_consent() {
    for address in ["0.0.0.0:8484", "[::]:8484", "192.168.1.7:80", "[::ffff:10.0.0.1]:80"] {
        let desk = Desk::with(&format!("listen.address = \"{address}\"\n"));
        for reader in READERS {
            let report = report(desk.run(reader));
            assert!(report.contains("other machines can reach this address"), "{report}");
            assert!(report.contains("allow_insecure_public"), "{report}");
        }
        let consent = ["serve", "--check", "--set", "listen.allow_insecure_public=true"];
        assert_eq!(desk.run(&consent).code, 0, "{address}");
    }
    let by_flag = report(Desk::new().run(&["serve", "--listen", "0.0.0.0:0"]));
    assert!(by_flag.contains("command line, listen.address"), "{by_flag}");
    for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let ran = Desk::new().run(&["serve", "--check", "--listen", address]);
        assert_eq!(ran.code, 0, "{address}: {}", ran.stderr);
    }
}

/// The flag wins over the variable, the variable over the file: the taken port tells who did.
#[test]
fn a_port_in_use_is_named_and_is_1() {
    let taken = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (of_file, of_variable, of_flag) = (taken(), taken(), taken());
    let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    let (of_file, of_variable, of_flag) = (
        (address(&of_file), of_file),
        (address(&of_variable), of_variable),
        (address(&of_flag), of_flag),
    );
    let desk = Desk::with(&format!("listen.address = \"{}\"\n", of_file.0));
    let variable = [("MEDIARY__LISTEN__ADDRESS", of_variable.0.as_str())];
    for (ran, address) in [
        (desk.run(&["serve"]), &of_file.0),
        (desk.run_with(&variable, &["serve"]), &of_variable.0),
        (desk.run_with(&variable, &["serve", "--listen", &of_flag.0]), &of_flag.0),
    ] {
        assert_eq!(ran.code, 1, "{ran:?}");
        let problem = ran.stderr.lines().find(|line| line.starts_with("error: ")).expect("a line");
        assert!(problem.contains(address.as_str()) && problem.contains("in use"), "{problem}");
    }
}

#[test]
fn the_schema_is_the_published_one() {
    let ran = Desk::new().run(&["config", "schema"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout == include_str!("../docs/config.schema.json"),
        "docs/config.schema.json is old"
    );
    let schema: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(schema["properties"]["listen"].is_object());
}
