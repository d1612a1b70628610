//! When a provider says to come back.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

/// The wait that the headers ask for: `retry-after-ms`, else `retry-after` in seconds or as an
/// HTTP date (RFC 9110, 10.2.3).
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    if let Some(ms) = text("retry-after-ms").and_then(number) {
        return Duration::try_from_secs_f64(ms / 1_000.0).ok();
    }
    let value = text(header::RETRY_AFTER.as_str())?;
    match number(value) {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

/// The duration that a text begins with, such as `1m2.5s` or `250 ms`, and what follows it.
pub fn leading_duration(text: &str) -> Option<(Duration, &str)> {
    let mut seconds = 0.0;
    let mut rest = text;
    let mut is_told = false;
    while let Some(end) = rest.find(|c: char| !c.is_ascii_digit() && c != '.') {
        let Ok(number) = rest[..end].parse::<f64>() else { break };
        let unit = rest[end..].trim_start();
        let (scale, word) = if unit.starts_with("ms") {
            (0.001, "ms")
        } else if unit.starts_with('s') {
            (1.0, "s")
        } else if unit.starts_with('m') {
            (60.0, "m")
        } else if unit.starts_with('h') {
            (3_600.0, "h")
        } else {
            break;
        };
        seconds += number * scale;
        is_told = true;
        rest = &unit[word.len()..];
    }
    let told = is_told.then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()?;
    Some((told, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(name: &'static str, value: &str) -> Option<Duration> {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
        retry_after(&headers, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn seconds_milliseconds_and_dates_are_understood_and_nonsense_is_not() {
        assert_eq!(wait("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(wait("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(
            wait("retry-after", "Thu, 01 Jan 1970 00:00:30 GMT"),
            Some(Duration::from_secs(30))
        );
        for nonsense in ["", "soon", "-3", "NaN", "inf", "1e400"] {
            assert_eq!(wait("retry-after", nonsense), None, "{nonsense}");
        }
    }
}
