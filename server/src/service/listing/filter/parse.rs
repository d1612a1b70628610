//! Reads the text of a filter.
//!
//! Owns: the grammar, its limits, and saying where a filter is wrong. A word or a text is read in
//! `token`; what a value means to its field is decided in `value`.
//!
//! ```text
//! expression  = factor { "AND" factor }       OR binds tighter than AND, as AIP-160 has it
//! factor      = term { "OR" term }
//! term        = [ "NOT" | "-" ] ( "(" expression ")" | restriction )
//! restriction = field operator value
//! ```

mod token;
mod value;

use mediary_domain::{Error, Kind, Result};

use self::token::{Operator, Tokens};
use super::{Field, FieldKind, Filter, Term, Test};
use crate::service::listing::{nearest, quoted};

const MAX_BYTES: usize = 1024;
const MAX_TERMS: usize = 20;
const MAX_DEPTH: usize = 5;

pub(super) fn filter(text: &str, fields: &'static [Field]) -> Result<Filter> {
    if text.len() > MAX_BYTES {
        let description = format!("must not be longer than {MAX_BYTES} bytes");
        return Err(invalid().violation("filter", description));
    }
    let mut parser = Parser { tokens: Tokens::new(text), fields, terms: 0, depth: 0 };
    if parser.tokens.is_at_end() {
        return Ok(Filter::All(Vec::new()));
    }
    let filter = parser.expression()?;
    if parser.tokens.is_at_end() { Ok(filter) } else { Err(parser.not_the_end()) }
}

fn invalid() -> Error {
    Error::new(Kind::FilterInvalid, "the filter is not valid")
}

/// Something else was expected at `column`, counted in characters from 1.
fn wrong_at(column: usize, expected: impl AsRef<str>) -> Error {
    let expected = expected.as_ref();
    invalid()
        .fact("column", column.to_string())
        .violation("filter", format!("column {column}: {expected}"))
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    fields: &'static [Field],
    terms: usize,
    depth: usize,
}

impl Parser<'_> {
    fn expression(&mut self) -> Result<Filter> {
        let mut parts = vec![self.factor()?];
        while self.tokens.take_word("AND") {
            parts.push(self.factor()?);
        }
        Ok(one_or(parts, Filter::All))
    }

    fn factor(&mut self) -> Result<Filter> {
        let mut parts = vec![self.term()?];
        while self.tokens.take_word("OR") {
            parts.push(self.term()?);
        }
        Ok(one_or(parts, Filter::Any))
    }

    fn term(&mut self) -> Result<Filter> {
        let is_negated = self.tokens.take_word("NOT") || self.tokens.take('-');
        let term = if self.tokens.take('(') { self.group()? } else { self.restriction()? };
        Ok(if is_negated { Filter::Not(Box::new(term)) } else { term })
    }

    fn group(&mut self) -> Result<Filter> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let column = self.tokens.column();
            return Err(wrong_at(column, format!("more than {MAX_DEPTH} levels of parentheses")));
        }
        let inner = self.expression()?;
        if !self.tokens.take(')') {
            return Err(self.not_the_end());
        }
        self.depth -= 1;
        Ok(inner)
    }

    fn restriction(&mut self) -> Result<Filter> {
        let (column, name) = self.tokens.name()?;
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(wrong_at(column, format!("more than {MAX_TERMS} comparisons")));
        }
        let (dot, key) = match self.tokens.key()? {
            Some((column, key)) => (column, Some(key)),
            None => (column, None),
        };
        let operator = self.tokens.operator(name)?;
        let field = self.field(column, name)?;
        if key.is_some() && field.kind != FieldKind::Labels {
            return Err(wrong_at(dot, format!("{} has no parts to name", field.name)));
        }
        let literal = self.tokens.literal()?;
        let (key, test) = match (field.kind, key) {
            // `labels:k` asks for the key itself.
            (FieldKind::Labels, None) => (Some(value::label_key(operator, literal)?), Test::Set),
            (_, key) => (key, value::test(field, operator, literal)?),
        };
        let term = Filter::Term(Term { field: field.name, key, test });
        Ok(if operator == Operator::NotEqual { Filter::Not(Box::new(term)) } else { term })
    }

    fn field(&self, column: usize, name: &str) -> Result<&'static Field> {
        let is_named = |field: &&Field| field.name == name || field.alias == Some(name);
        self.fields.iter().find(is_named).ok_or_else(|| {
            let names = self.fields.iter().flat_map(|field| [Some(field.name), field.alias]);
            let hint = match nearest(name, names.flatten()) {
                Some(near) => format!("did you mean {near}?"),
                None => {
                    let names: Vec<_> = self.fields.iter().map(|field| field.name).collect();
                    format!("expected one of {}", names.join(", "))
                }
            };
            wrong_at(column, format!("{} is no field to filter by; {hint}", quoted(name)))
        })
    }

    /// After a whole comparison stands something that cannot follow it.
    fn not_the_end(&self) -> Error {
        let rest = self.tokens.rest();
        let column = self.tokens.column();
        let word = rest.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
        let expected = match rest.chars().next() {
            None => "expected \")\"",
            Some(')') => "expected AND, OR or the end, not \")\" without its \"(\"",
            Some('&' | '|') => "expected AND or OR, in words",
            _ if word.eq_ignore_ascii_case("AND") || word.eq_ignore_ascii_case("OR") => {
                "expected AND or OR, in capitals and with a space after it"
            }
            _ => "expected AND, OR or the end; a text with spaces or signs needs quotes",
        };
        wrong_at(column, expected)
    }
}

fn one_or(mut parts: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            many(parts)
        }
    }
}
