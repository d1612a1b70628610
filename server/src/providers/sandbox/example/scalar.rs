//! Texts and numbers that fit their keywords.

use serde_json::{Number, Value};

use super::{
    super::{pattern, schema::Object, words::Words},
    size,
};

/// Longest text that a schema gets, in characters.
const LONGEST: usize = 8192;

pub(super) fn string(schema: &Object, words: &mut Words) -> Option<String> {
    let least = size(schema, "minLength").unwrap_or(0);
    let most = size(schema, "maxLength").unwrap_or(LONGEST);
    if least > LONGEST || most < least {
        return None;
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        let fits = |text: &String| (least..=most).contains(&text.chars().count());
        return (0..32).filter_map(|_| pattern::example(pattern, words)).find(fits);
    }
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    if let Some(text) = formatted(format, words) {
        return Some(text);
    }
    let mut text = words.pair();
    while text.chars().count() < least {
        text.push(' ');
        text.push_str(words.noun());
    }
    Some(text.chars().take(most).collect())
}

fn formatted(format: &str, words: &mut Words) -> Option<String> {
    let mut from = |first: usize, count: usize| first + words.below(count);
    let date = format!("20{:02}-{:02}-{:02}", from(20, 10), from(1, 12), from(1, 28));
    let time = format!("{:02}:{:02}:{:02}Z", from(0, 24), from(0, 60), from(0, 60));
    let text = match format {
        "date" => date,
        "time" => time,
        "date-time" => format!("{date}T{time}"),
        "duration" => format!("PT{}M", from(1, 59)),
        "ipv4" => format!("192.0.2.{}", from(1, 254)),
        "ipv6" => format!("2001:db8::{:x}", from(1, 0xffff)),
        "email" | "idn-email" => format!("{}@example.com", words.noun()),
        "hostname" | "idn-hostname" => format!("{}.example.com", words.noun()),
        "uri" | "iri" | "uri-reference" | "iri-reference" => {
            format!("https://example.com/{}", words.noun())
        }
        "json-pointer" => format!("/{}", words.noun()),
        "uuid" => {
            let (high, low) = (words.next(), words.next());
            format!(
                "{:08x}-{:04x}-4{:03x}-{:x}{:03x}-{:012x}",
                high >> 32,
                (high >> 16) & 0xffff,
                high & 0xfff,
                8 + (low >> 62),
                (low >> 48) & 0xfff,
                low & 0xffff_ffff_ffff
            )
        }
        _ => return None,
    };
    Some(text)
}

/// A number between its bounds and on its step; without bounds one of the first hundred.
pub(super) fn number(schema: &Object, is_whole: bool, words: &mut Words) -> Option<Value> {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let step = bound("multipleOf").or(is_whole.then_some(1.0)).filter(|step| *step > 0.0);
    // A whole number may have a step with a fraction: 0.5 allows the same ones as 1.
    let step =
        step.map(|step| if is_whole && step.fract() != 0.0 { whole_step(step) } else { step });
    let grain = step.unwrap_or(0.01);
    let low = highest(bound("minimum"), bound("exclusiveMinimum"));
    let high = highest(bound("maximum").map(|n| -n), bound("exclusiveMaximum").map(|n| -n));
    let high = high.map(|(value, is_open)| (-value, is_open));

    let first = low.map(|(value, is_open)| {
        let steps = (value / grain).ceil();
        if is_open && steps * grain <= value { steps + 1.0 } else { steps }
    });
    let last = high.map(|(value, is_open)| {
        let steps = (value / grain).floor();
        if is_open && steps * grain >= value { steps - 1.0 } else { steps }
    });
    let spread = if step.is_some() { 99.0 } else { 9999.0 };
    let (first, last) = match (first, last) {
        (None, None) => (1.0, spread),
        (Some(first), None) => (first, first + spread),
        (None, Some(last)) => (if last >= 1.0 { 1.0 } else { last - spread }, last),
        (Some(first), Some(last)) => (first, last),
    };
    if first > last {
        // Nothing on the grain lies between; without a step any point between will do.
        let (Some((low, _)), Some((high, _)), None) = (low, high, step) else { return None };
        return Number::from_f64(low + (high - low) / 2.0).map(Value::Number);
    }
    let choices = (last - first).min(1e6) as usize + 1;
    let value = (first + words.below(choices) as f64) * grain;
    if is_whole || value.fract() == 0.0 && step.is_some() {
        return (value.abs() < 9.0e18).then(|| (value as i64).into());
    }
    // Back to the decimals that the steps have: 3 * 0.1 is not 0.3 in binary.
    let value = format!("{value:.9}").parse().unwrap_or(value);
    Number::from_f64(value).map(Value::Number)
}

/// The bound that counts, and whether it is itself excluded.
fn highest(closed: Option<f64>, open: Option<f64>) -> Option<(f64, bool)> {
    match (closed, open) {
        (None, None) => None,
        (Some(closed), None) => Some((closed, false)),
        (None, Some(open)) => Some((open, true)),
        (Some(closed), Some(open)) if closed > open => Some((closed, false)),
        (Some(_), Some(open)) => Some((open, true)),
    }
}

fn whole_step(step: f64) -> f64 {
    let multiple = (1..=1000).map(|n| step * f64::from(n)).find(|n| (n - n.round()).abs() < 1e-9);
    multiple.map_or(step, f64::round)
}
