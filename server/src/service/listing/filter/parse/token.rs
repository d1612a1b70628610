//! The words, signs and texts of a filter.
//!
//! Invariant: `at` stands between two characters, and never on a space when a method begins.

use mediary_domain::Result;

use super::{quoted, wrong_at};

pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Has,
}

/// The longer before its beginning.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    (":", Operator::Has),
];

/// The right side of a comparison.
#[derive(Debug, Default)]
pub(super) struct Literal {
    pub column: usize,
    /// Without wildcards at its ends.
    pub text: String,
    pub is_quoted: bool,
    /// A wildcard stood at its beginning, or was all of it.
    pub is_open_before: bool,
    /// A wildcard stood at its end, or was all of it.
    pub is_open_after: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut tokens = Self { text, at: 0 };
        tokens.advance(0);
        tokens
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// In characters, from 1.
    pub(super) fn column(&self) -> usize {
        self.column_at(self.at)
    }

    fn column_at(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().chars().count() + 1
    }

    /// Goes on by so many bytes, and over the spaces that follow.
    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    pub(super) fn take(&mut self, sign: char) -> bool {
        let is_here = self.rest().starts_with(sign);
        if is_here {
            self.advance(sign.len_utf8());
        }
        is_here
    }

    /// Takes `AND`, `OR` or `NOT` where it is a word of its own.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let is_here = self
            .rest()
            .strip_prefix(word)
            .is_some_and(|after| after.is_empty() || after.starts_with(ends_word));
        if is_here {
            self.advance(word.len());
        }
        is_here
    }

    /// The name of a field, and where it stands.
    pub(super) fn name(&mut self) -> Result<(usize, &'a str)> {
        let column = self.column();
        let rest = self.rest();
        let name = name_at(rest);
        if name.is_empty() || is_keyword(name) {
            return Err(wrong_at(
                column,
                match rest.chars().next() {
                    Some('"' | '\'') => {
                        "expected a field before the text; bare texts are not searched for"
                    }
                    _ => "expected a field to compare",
                },
            ));
        }
        // A dot and an operator may follow after spaces; a key may not.
        self.at += name.len();
        if !self.rest().starts_with('.') {
            self.advance(0);
        }
        Ok((column, name))
    }

    /// What follows a dot: `k` in `labels.k`, `a b` in `labels."a b"`.
    pub(super) fn key(&mut self) -> Result<Option<(usize, String)>> {
        if !self.rest().starts_with('.') {
            return Ok(None);
        }
        let dot = self.column();
        self.at += 1;
        let rest = self.rest();
        if rest.starts_with(['"', '\'']) {
            let literal = self.quoted_literal()?;
            if literal.is_open_before || literal.is_open_after {
                return Err(wrong_at(dot + 1, "expected a key without wildcards"));
            }
            return Ok(Some((dot, literal.text)));
        }
        let key = rest.split(|c: char| !(c.is_alphanumeric() || "_-./".contains(c))).next();
        let key = key.unwrap_or_default();
        if key.is_empty() {
            return Err(wrong_at(dot + 1, "expected a key after the dot"));
        }
        self.advance(key.len());
        Ok(Some((dot, key.to_owned())))
    }

    pub(super) fn operator(&mut self, name: &str) -> Result<Operator> {
        let rest = self.rest();
        if let Some((sign, operator)) = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            self.advance(sign.len());
            return Ok(*operator);
        }
        let name = quoted(name);
        Err(wrong_at(
            self.column(),
            match rest.starts_with('(') {
                true => format!("expected an operator after {name}; there are no functions"),
                false => format!("expected one of = != < > <= >= : after {name}"),
            },
        ))
    }

    pub(super) fn literal(&mut self) -> Result<Literal> {
        let rest = self.rest();
        if rest.starts_with(['"', '\'']) {
            return self.quoted_literal();
        }
        let column = self.column();
        let bare = rest.split(ends_bare).next().unwrap_or_default();
        if bare.is_empty() || is_keyword(bare) {
            return Err(wrong_at(column, "expected a value after the operator"));
        }
        let mut literal = Unfinished { column, ..Unfinished::default() };
        for c in bare.chars() {
            literal.push(c, c == '*');
        }
        self.advance(bare.len());
        literal.finish()
    }

    fn quoted_literal(&mut self) -> Result<Literal> {
        let column = self.column();
        let mut literal = Unfinished { column, is_quoted: true, ..Unfinished::default() };
        let mut chars = self.rest().char_indices();
        let quote = chars.next().map_or('"', |(_, quote)| quote);
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.advance(at + c.len_utf8());
                    return literal.finish();
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\'' | '\\' | '*'))) => literal.push(c, false),
                    Some((_, 'n')) => literal.push('\n', false),
                    Some((_, 't')) => literal.push('\t', false),
                    _ => {
                        let column = self.column_at(self.at + at);
                        return Err(wrong_at(column, r#"expected one of \" \' \\ \* \n \t"#));
                    }
                },
                _ => literal.push(c, c == '*'),
            }
        }
        Err(wrong_at(column, format!("expected a closing {quote} for the quote opened here")))
    }
}

/// A literal while it is read: wildcards may stand at its ends only.
#[derive(Default)]
struct Unfinished {
    column: usize,
    is_quoted: bool,
    text: String,
    /// A wildcard came first.
    is_open_before: bool,
    /// A wildcard came last so far.
    is_open_after: bool,
    has_inner_wildcard: bool,
}

impl Unfinished {
    fn push(&mut self, c: char, is_wildcard: bool) {
        if !is_wildcard {
            self.has_inner_wildcard |= self.is_open_after;
            self.text.push(c);
        } else if self.text.is_empty() {
            self.is_open_before = true;
        } else {
            self.is_open_after = true;
        }
    }

    fn finish(self) -> Result<Literal> {
        if self.has_inner_wildcard {
            return Err(wrong_at(
                self.column,
                r#"expected * at the beginning or the end only; write \* in quotes for an asterisk"#,
            ));
        }
        Ok(Literal {
            column: self.column,
            is_quoted: self.is_quoted,
            is_open_before: self.is_open_before,
            is_open_after: self.is_open_after || (self.is_open_before && self.text.is_empty()),
            text: self.text,
        })
    }
}

fn name_at(text: &str) -> &str {
    let name = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
    if name.starts_with(|c: char| c.is_ascii_digit()) { "" } else { name }
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "AND" | "OR" | "NOT")
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || "()".contains(c)
}

fn ends_bare(c: char) -> bool {
    c.is_whitespace() || "()\"'`\\,=<>!&|".contains(c)
}
