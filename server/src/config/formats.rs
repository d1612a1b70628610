//! What texts may look like.
//!
//! Owns: the named formats of the schema, each with its check and the words for what it expects.
//! Leaves: rules between several keys (`checks`).

use std::{net::SocketAddr, time::Duration};

use http::Uri;
use tracing_subscriber::EnvFilter;

/// Longer waits are slips of the keyboard, and would reach the end of some clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long something may be kept.
const SHORTEST_KEPT: Duration = Duration::from_secs(60 * 60);
const LONGEST_KEPT: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// A `format` of the schema.
pub(super) struct Format {
    pub(super) name: &'static str,
    /// Ends the sentence "must be".
    pub(super) expects: &'static str,
    pub(super) accepts: fn(&str) -> bool,
}

pub(super) const FORMATS: [Format; 9] = [
    Format {
        name: "socket-address",
        expects: "an IP address and a port such as \"127.0.0.1:8484\" or \"[::1]:8484\"",
        accepts: |text| text.parse::<SocketAddr>().is_ok(),
    },
    Format {
        name: "duration-or-zero",
        expects: "a duration of up to a year such as \"15s\", \"500ms\" or \"1m 30s\"",
        accepts: |text| duration(text).is_some(),
    },
    Format {
        name: "duration-above-zero",
        expects: "a duration above zero and up to a year such as \"15s\", \"500ms\" or \"1m 30s\"",
        accepts: |text| duration(text).is_some_and(|length| !length.is_zero()),
    },
    Format {
        name: "retention",
        expects: "a duration of an hour to 100 years such as \"36h\" or \"400d\"",
        accepts: |text| {
            humantime::parse_duration(text)
                .is_ok_and(|length| (SHORTEST_KEPT..=LONGEST_KEPT).contains(&length))
        },
    },
    Format {
        name: "slug",
        expects: "a lower-case letter followed by up to 62 lower-case letters, digits and dashes",
        accepts: |_| true, // its pattern says it all
    },
    Format {
        name: "http-uri",
        expects: "an http or https address such as \"https://api.example.com/v1\", without user, \
                  password, query and fragment",
        accepts: is_http_uri,
    },
    Format {
        name: "web-origin",
        expects: "an exact origin such as \"https://app.example.com\": scheme, host and port in \
                  lower case, without path and wildcard",
        accepts: is_origin,
    },
    Format {
        name: "host",
        expects: "a host such as \"media.example.com\" or \"media.example.com:8484\", in lower \
                  case, without scheme and path",
        accepts: is_host,
    },
    Format {
        name: "log-filter",
        expects: "error, warn, info, debug, trace, off, or directives such as \
                  \"info,mediary_server=debug\"",
        accepts: is_log_filter,
    },
];

pub(super) fn by_name(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|length| *length <= LONGEST)
}

/// Also for addresses that come by the contract.
pub fn is_http_uri(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let Some(authority) = uri.authority() else { return false };
    let port = authority.as_str().strip_prefix(authority.host());
    matches!(uri.scheme_str(), Some("http" | "https"))
        && !authority.host().is_empty()
        && !text.contains(['@', '?', '#'])
        && (port == Some("") || uri.port_u16().is_some())
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| is_plain(b) || b"+-.".contains(&b))
        && is_host(host)
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| is_plain(b) || b"-._:[]".contains(&b))
}

fn is_plain(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// A lone word is a level: the filter itself would take a misspelt one for the name of a target.
fn is_log_filter(text: &str) -> bool {
    let is_known = |part: &str| {
        part.contains(['=', ':', '['])
            || LEVELS.contains(&part.trim().to_ascii_lowercase().as_str())
    };
    text.split(',').all(is_known) && EnvFilter::builder().parse(text).is_ok()
}
