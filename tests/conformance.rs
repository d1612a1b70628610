//! What others say of the listener: h2spec of its HTTP/2, and the probe that orchestrators use of
//! its health.

mod support;

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Output},
};

use support::{House, certificates::Authority};

/// Where we do otherwise, and why: none may be added without a reason.
const EXCEPTIONS: [(&str, &str); 1] = [(
    "Sends invalid connection preface",
    // One port speaks HTTP/1.1 as well: what is no preface is read as that, answered with 400, and
    // the connection is closed then. h2spec takes the answer for a broken frame.
    "is answered as HTTP/1.1",
)];

/// Runs a tool that `scripts/go-tool` builds on first use.
fn tool(arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/go-tool");
    Command::new(script).args(arguments).output().expect("scripts/go-tool runs")
}

/// The names of the tests that failed. Some of them send what is wrong with a stream after their
/// request, and it counts only if it comes before our answer, which waits for nothing: on a busy
/// machine it may be late. So what fails has to fail ten times.
fn failures(house: &House, more: &[&str]) -> BTreeSet<String> {
    let mut failed = failures_once(house, more);
    for _ in 0..9 {
        if failed.len() > EXCEPTIONS.len() {
            let again = failures_once(house, more);
            failed.retain(|name| again.contains(name));
        }
    }
    failed
}

/// h2spec has to have run them all.
fn failures_once(house: &House, more: &[&str]) -> BTreeSet<String> {
    let (host, port) = house.address.rsplit_once(':').unwrap();
    let ran = tool(&[&["h2spec", "-h", host, "-p", port, "-o", "5"], more].concat());
    let report = String::from_utf8_lossy(&ran.stdout).into_owned();
    let sum = report.lines().last().unwrap_or_default();
    println!("h2spec {}: {sum}", more.concat());
    let count: usize = sum.split(' ').next().unwrap().parse().unwrap_or_else(|_| {
        panic!("h2spec did not run: {report}{}", String::from_utf8_lossy(&ran.stderr))
    });
    assert!(count >= 145 && sum.contains(" 0 skipped"), "{report}");
    let failed = report.lines().filter_map(|line| line.split_once("× "));
    failed.map(|(_, name)| name.split_once(": ").unwrap().1.to_owned()).collect()
}

#[test]
fn h2spec_finds_no_fault_beyond_the_known_ones_in_clear_and_over_tls() {
    let known: BTreeSet<String> = EXCEPTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(failures(&House::new(), &[]), known);
    assert_eq!(failures(&Authority::new().house().start(), &["-t", "-k"]), known);
}

#[test]
fn the_probe_of_orchestrators_says_serving_in_clear_and_over_tls() {
    let serving = |ran: &Output| {
        let told = String::from_utf8_lossy(&[&ran.stdout[..], &ran.stderr].concat()).into_owned();
        assert!(ran.status.success() && told.contains("SERVING"), "{told}");
    };
    let house = House::new();
    let probe = ["grpc-health-probe", "-addr", &house.address];
    serving(&tool(&probe));
    serving(&tool(&[&probe[..], &["-service", "mediary.v1.TextService"]].concat()));

    let authority = Authority::new();
    let house = authority.house().file("ca.pem", authority.pem()).start();
    let ca = house.folder.path().join("ca.pem");
    let probe = ["grpc-health-probe", "-addr", &house.address, "-tls"];
    serving(&tool(&[&probe[..], &["-tls-ca-cert", ca.to_str().unwrap()]].concat()));
}
