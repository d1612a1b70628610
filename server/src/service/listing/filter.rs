//! `filter`: a subset of AIP-160 over whitelisted fields.
//!
//! Owns: the tree that a filter is read into, and judging a row that is in memory by it. Leaves:
//! reading the text (`parse`), and compiling the tree to SQL (`store`).
//! Invariant: each test in a tree suits the kind of its field. Logic has two values: a test of a
//! missing field is false, `!=` is nothing but `NOT =`, and so both hold for a missing field.
//!
//! `name = "gpt-*"` fits the whole text, the asterisk any text; `name : gpt` finds it anywhere,
//! in upper or lower case; `list : word` asks for an item; `field : *` asks whether it is set.

mod parse;

use std::time::SystemTime;

use mediary_domain::Result;

use super::{Row, Value};

/// A filter, read and checked. One over no fields is `All` of nothing and accepts every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Term(Term),
}

/// One test of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub field: &'static str,
    /// The key of a label: `k` in `labels.k`.
    pub key: Option<String>,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is set, and neither an empty text nor an empty list.
    Set,
    Bool(bool),
    Number(Comparison, i64),
    Time(Comparison, SystemTime),
    /// By code points; equality is a pattern.
    Text(Comparison, String),
    /// The text fits; of a list, at least one item does.
    Fits(Pattern),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A text that must be, begin, end or be within another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// In lower case where case does not matter.
    pub text: String,
    /// Anything may stand before it.
    pub is_open_before: bool,
    /// Anything may stand after it.
    pub is_open_after: bool,
    pub ignores_case: bool,
}

/// A field that a filter may name.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    /// Another name of it.
    pub alias: Option<&'static str>,
    pub kind: FieldKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Text,
    /// A list of texts.
    List,
    /// A whole number.
    Number,
    Bool,
    /// A point in time, as RFC 3339 writes it in UTC.
    Time,
    /// An enum; its words may be written with or without their prefix.
    Word {
        prefix: &'static str,
        words: &'static [&'static str],
    },
    /// Texts by key, named `labels.key`.
    Labels,
}

impl Field {
    pub const fn new(name: &'static str, kind: FieldKind) -> Self {
        Self { name, alias: None, kind }
    }

    #[must_use]
    pub const fn or(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }
}

impl Filter {
    /// Reads a filter over `fields`; an empty one accepts everything.
    pub fn parse(text: &str, fields: &'static [Field]) -> Result<Self> {
        parse::filter(text, fields)
    }

    pub fn accepts(&self, row: &impl Row) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.accepts(row)),
            Self::Any(parts) => parts.iter().any(|part| part.accepts(row)),
            Self::Not(part) => !part.accepts(row),
            Self::Term(term) => term.test.holds(&row.value(term.field, term.key.as_deref())),
        }
    }
}

impl Test {
    fn holds(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Set, Value::Text(text)) => !text.is_empty(),
            (Self::Set, Value::List(items)) => !items.is_empty(),
            (Self::Set, value) => *value != Value::Missing,
            (Self::Bool(wanted), Value::Bool(value)) => value == wanted,
            (Self::Number(comparison, bound), Value::Number(value)) => {
                comparison.holds(value, bound)
            }
            (Self::Time(comparison, bound), Value::Time(value)) => comparison.holds(value, bound),
            (Self::Text(comparison, bound), Value::Text(text)) => {
                comparison.holds(text.as_ref(), bound.as_str())
            }
            (Self::Fits(pattern), Value::Text(text)) => pattern.fits(text),
            (Self::Fits(pattern), Value::List(items)) => {
                items.iter().any(|item| pattern.fits(item))
            }
            _ => false,
        }
    }
}

impl Comparison {
    fn holds<T: PartialOrd + ?Sized>(self, value: &T, bound: &T) -> bool {
        match self {
            Self::Equal => value == bound,
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Greater => value > bound,
            Self::GreaterOrEqual => value >= bound,
        }
    }
}

impl Pattern {
    /// Exactly this text.
    pub fn exactly(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_open_before: false, is_open_after: false, ignores_case: false }
    }

    pub fn fits(&self, text: &str) -> bool {
        if self.ignores_case {
            self.fits_as_is(&text.to_lowercase())
        } else {
            self.fits_as_is(text)
        }
    }

    fn fits_as_is(&self, text: &str) -> bool {
        match (self.is_open_before, self.is_open_after) {
            (false, false) => text == self.text,
            (false, true) => text.starts_with(&self.text),
            (true, false) => text.ends_with(&self.text),
            (true, true) => text.contains(&self.text),
        }
    }
}

#[cfg(test)]
mod tests;
