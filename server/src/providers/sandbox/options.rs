//! What a caller can make the sandbox do: its entry in `provider_options_json`.
//!
//! Owns: the names, their ranges, and saying what is wrong with them. Strict: an option that is
//! not known fails the call, because a test that asks for a failure must not pass by a typo.

use std::{ops::RangeInclusive, time::Duration};

use mediary_domain::{Error, Result, TextParameters};
use serde_json::{Map, Value};

use crate::dialect::failure::Class;

const FIELD: &str = "parameters.provider_options_json";
const TOKENS: RangeInclusive<u64> = 0..=1_000_000;
const LATENCY_MS: RangeInclusive<u64> = 0..=600_000;
const RETRY_AFTER_MS: RangeInclusive<u64> = 0..=86_400_000;
const TOKENS_PER_SECOND: RangeInclusive<f64> = 0.1..=1_000_000.0;
const USAGE: [(&str, bool); 2] = [("reported", true), ("none", false)];
const FAILURES: [(&str, Class); 12] = [
    ("rate_limited", Class::RateLimited),
    ("quota_exhausted", Class::QuotaExhausted),
    ("overloaded", Class::Overloaded),
    ("server_error", Class::ServerError),
    ("authentication", Class::Authentication),
    ("permission", Class::Permission),
    ("not_found", Class::NotFound),
    ("invalid_request", Class::InvalidRequest),
    ("context_length", Class::ContextLength),
    ("content_filter", Class::ContentFilter),
    ("timeout", Class::Timeout),
    ("model_output_invalid", Class::ModelOutput),
];

#[derive(Debug, PartialEq)]
pub(super) struct Options {
    /// The answer, word for word.
    pub(super) text: Option<String>,
    pub(super) latency: Duration,
    pub(super) token_gap: Option<Duration>,
    /// How many tokens of text to answer.
    pub(super) tokens: Option<usize>,
    pub(super) cut_after: Option<usize>,
    pub(super) hang_after: Option<usize>,
    pub(super) fail: Option<Fail>,
    pub(super) reports_usage: bool,
}

#[derive(Debug, PartialEq)]
pub(super) struct Fail {
    pub(super) class: Class,
    /// Share of calls that fail, 0 to 1.
    pub(super) rate: f64,
    /// 0 = before the answer begins.
    pub(super) after_tokens: usize,
    pub(super) retry_after: Option<Duration>,
}

impl Options {
    pub(super) fn read(provider: &str, parameters: &TextParameters) -> Result<Self> {
        let given = parameters.provider_options.iter().find(|(id, _)| id == provider);
        let object = match given.map(|(_, json)| serde_json::from_str(json)) {
            None => Map::new(),
            Some(Ok(Value::Object(object))) => object,
            Some(_) => return Err(wrong(provider, "must be a JSON object")),
        };
        let mut fields = Fields { path: provider.to_owned(), object, known: Vec::new() };
        let tokens_per_second = fields.number("tokens_per_second", TOKENS_PER_SECOND)?;
        let options = Self {
            text: fields.text("text")?,
            latency: fields.millis("latency_ms", LATENCY_MS)?.unwrap_or_default(),
            token_gap: tokens_per_second.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            tokens: fields.tokens("tokens")?,
            cut_after: fields.tokens("cut_after")?,
            hang_after: fields.tokens("hang_after")?,
            fail: fields.object("fail")?.map(Fail::read).transpose()?,
            reports_usage: fields.one_of("usage", &USAGE)?.unwrap_or(true),
        };
        fields.end()?;
        if options.text.is_some() && options.tokens.is_some() {
            return Err(wrong(&format!("{provider}.tokens"), "cannot be set together with text"));
        }
        Ok(options)
    }
}

impl Fail {
    fn read(mut fields: Fields) -> Result<Self> {
        let class = fields.one_of("kind", &FAILURES)?;
        let fail = Self {
            class: class.ok_or_else(|| wrong(&fields.at("kind"), "is missing"))?,
            rate: fields.number("rate", 0.0..=1.0)?.unwrap_or(1.0),
            after_tokens: fields.tokens("after_tokens")?.unwrap_or(0),
            retry_after: fields.millis("retry_after_ms", RETRY_AFTER_MS)?,
        };
        fields.end()?;
        Ok(fail)
    }
}

/// A JSON object that is read field by field; `null` counts as unset, what is left over is wrong.
struct Fields {
    path: String,
    object: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Takes a field through `read`; one that `read` has no use for must be `what`.
    fn take<T>(
        &mut self,
        key: &'static str,
        what: impl FnOnce() -> String,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>> {
        self.known.push(key);
        match self.object.shift_remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let value = read(value);
                value.map(Some).ok_or_else(|| wrong(&self.at(key), &format!("must be {}", what())))
            }
        }
    }

    fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        self.take(
            key,
            || "a string".to_owned(),
            |value| match value {
                Value::String(text) => Some(text),
                _ => None,
            },
        )
    }

    fn whole(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        let what = || format!("a whole number from {} to {}", range.start(), range.end());
        self.take(key, what, |value| value.as_u64().filter(|number| range.contains(number)))
    }

    fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let what = || format!("a number from {} to {}", range.start(), range.end());
        self.take(key, what, |value| value.as_f64().filter(|number| range.contains(number)))
    }

    fn tokens(&mut self, key: &'static str) -> Result<Option<usize>> {
        Ok(self.whole(key, TOKENS)?.and_then(|number| usize::try_from(number).ok()))
    }

    fn millis(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<Duration>> {
        Ok(self.whole(key, range)?.map(Duration::from_millis))
    }

    fn one_of<T: Copy>(&mut self, key: &'static str, names: &[(&str, T)]) -> Result<Option<T>> {
        let all = || names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        self.take(
            key,
            || format!("one of {}", all()),
            |value| {
                let found = names.iter().find(|(name, _)| value.as_str() == Some(name));
                found.map(|(_, meaning)| *meaning)
            },
        )
    }

    fn object(&mut self, key: &'static str) -> Result<Option<Self>> {
        let path = self.at(key);
        self.take(
            key,
            || "an object".to_owned(),
            |value| match value {
                Value::Object(object) => Some(Self { path, object, known: Vec::new() }),
                _ => None,
            },
        )
    }

    fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    fn end(&self) -> Result<()> {
        match self.object.keys().next() {
            None => Ok(()),
            Some(key) => {
                let known = self.known.join(", ");
                Err(wrong(&self.at(key), &format!("is not an option; there are {known}")))
            }
        }
    }
}

fn wrong(path: &str, what: &str) -> Error {
    Error::field(FIELD, format!("{path} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Options> {
        let provider_options = vec![
            ("other".to_owned(), r#"{"tokens": "not ours"}"#.to_owned()),
            ("sandbox".to_owned(), json.to_owned()),
        ];
        Options::read("sandbox", &TextParameters { provider_options, ..TextParameters::default() })
    }

    #[test]
    fn every_option_is_read_and_an_unset_one_has_its_default() {
        let all = r#"{"latency_ms": 20, "tokens_per_second": 50, "tokens": 9, "cut_after": 3,
            "hang_after": 4, "usage": "none", "text": null, "fail": {"kind": "overloaded",
            "rate": 0.5, "after_tokens": 2, "retry_after_ms": 1500}}"#;
        let expected = Options {
            text: None,
            latency: Duration::from_millis(20),
            token_gap: Some(Duration::from_millis(20)),
            tokens: Some(9),
            cut_after: Some(3),
            hang_after: Some(4),
            fail: Some(Fail {
                class: Class::Overloaded,
                rate: 0.5,
                after_tokens: 2,
                retry_after: Some(Duration::from_millis(1500)),
            }),
            reports_usage: false,
        };
        assert_eq!(read(all).unwrap(), expected);
        let none = read("{}").unwrap();
        assert!(none.reports_usage && none.fail.is_none() && none.token_gap.is_none());
    }

    #[test]
    fn a_wrong_option_is_refused_by_its_name() {
        for (json, words) in [
            ("[]", "sandbox must be a JSON object"),
            ("{", "sandbox must be a JSON object"),
            (r#"{"latency": 5}"#, "sandbox.latency is not an option; there are"),
            (r#"{"latency_ms": -1}"#, "sandbox.latency_ms must be a whole number from 0 to 600000"),
            (r#"{"tokens_per_second": 0}"#, "sandbox.tokens_per_second must be a number from 0.1"),
            (r#"{"text": 5}"#, "sandbox.text must be a string"),
            (r#"{"text": "a", "tokens": 5}"#, "sandbox.tokens cannot be set together with text"),
            (r#"{"usage": "some"}"#, "sandbox.usage must be one of reported, none"),
            (r#"{"fail": "timeout"}"#, "sandbox.fail must be an object"),
            (r#"{"fail": {}}"#, "sandbox.fail.kind is missing"),
            (r#"{"fail": {"kind": "bored"}}"#, "sandbox.fail.kind must be one of rate_limited,"),
            (r#"{"fail": {"kind": "timeout", "when": 1}}"#, "sandbox.fail.when is not an option"),
            (r#"{"fail": {"kind": "timeout", "rate": 2}}"#, "sandbox.fail.rate must be a number"),
        ] {
            let error = read(json).unwrap_err();
            let [violation] = error.violations() else { panic!("{json}: {error}") };
            assert_eq!(violation.field, "parameters.provider_options_json");
            assert!(violation.description.starts_with(words), "{json}: {}", violation.description);
        }
    }
}
