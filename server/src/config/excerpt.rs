//! The line that a problem is about, fit to be shown.
//!
//! Owns: line, column and caret of a byte range, and hiding what may be a key of a provider.
//! Leaves: the words around it (`problem`).

use std::{collections::BTreeSet, ops::Range};

use super::secret;

const CUT: &str = " ...";

/// One line of a text with a range of it pointed out.
#[derive(Clone, Debug)]
pub(super) struct Excerpt {
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    pub(super) text: String,
    /// As wide as the text before the range.
    pub(super) indent: String,
    pub(super) carets: usize,
}

impl Excerpt {
    /// `harmless` are the keys whose values may be shown.
    pub(super) fn new(source: &str, range: Range<usize>, harmless: &BTreeSet<String>) -> Self {
        let start = source.floor_char_boundary(range.start);
        let end = source.floor_char_boundary(range.end).max(start);
        let first = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let last = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let line = source[first..last].trim_end();
        let goes_on = !line.starts_with('[') && goes_on_hidden(&source[..first], harmless);
        let cut = if goes_on { Some(0) } else { hidden_from(line, harmless) };
        let text = cut.map_or_else(|| line.to_owned(), |at| format!("{}{CUT}", &line[..at]));
        let before = &source[first..start];
        let column = before.chars().count() + 1;
        let shown = text.chars().count();
        let wide = source[start..end.min(last)].trim_end().chars().count();
        let indent = before.chars().map(|c| if c == '\t' { c } else { ' ' });
        Self {
            line: line_of(source, start),
            column,
            indent: indent.take(shown.saturating_sub(1)).collect(),
            carets: wide.min((shown + 1).saturating_sub(column)).max(1),
            text,
        }
    }
}

pub(super) fn line_of(source: &str, at: usize) -> usize {
    source[..source.floor_char_boundary(at)].matches('\n').count() + 1
}

/// Where a value begins that may be a key of a provider. The text may be broken and the name
/// misspelt, so whatever follows a name that is not known to be harmless counts.
fn hidden_from(line: &str, harmless: &BTreeSet<String>) -> Option<usize> {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        let name = name_before(&line[..at]);
        let is_told = harmless.contains(name);
        let is_hidden = match (quote, c) {
            (None, '=') => !is_told && !starts_with_reference(&line[at + 1..]),
            // In quotes almost anything is text, unless the quotes are themselves the mistake.
            (Some(_), '=' | ':') => !is_told && is_telling(name),
            (None, _) => {
                let is_over = !in_name(c) && !line[at..].trim_start().starts_with('=');
                is_over && !is_told && is_telling(name)
            }
            _ => false,
        };
        if is_hidden {
            return Some(if c == '=' { at + 1 } else { at });
        }
        match quote {
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// Whether the line after `before` may go on with a hidden value.
fn goes_on_hidden(before: &str, harmless: &BTreeSet<String>) -> bool {
    let Some(line) = before.lines().rev().find(|line| line.contains('=')) else { return false };
    hidden_from(line, harmless).is_some_and(|at| {
        let rest = line[at..].trim_end();
        rest.is_empty()
            || rest.ends_with(['[', '\\'])
            || ['"', '\''].iter().any(|quote| rest.matches(*quote).count() % 2 == 1)
    })
}

/// References say where a key is, not what it is.
fn starts_with_reference(rest: &str) -> bool {
    let mut parts = rest.trim_start().splitn(3, '"');
    let (before, inner, after) = (parts.next(), parts.next(), parts.next());
    before == Some("") && after.is_some() && inner.is_some_and(secret::is_reference)
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn name_before(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(['"', '\'']);
    let start = text.char_indices().rev().take_while(|(_, c)| in_name(*c)).last();
    start.map_or("", |(at, _)| &text[at..])
}

fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["key", "secret", "token", "pass"].iter().any(|word| name.contains(word))
}
