//! Writes to the terminal: results to stdout, everything else to stderr.
//!
//! Owns: colour, the width, and keeping control characters of models away from the terminal.
//! Leaves: what is said.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _, Write as _},
};

use serde_json::Value;
use terminal_size::{Width, terminal_size};

use super::{global::Output, problem::Problem};
use crate::env;

/// Where and how to write.
pub(super) struct Out {
    pub(super) form: Output,
    /// Columns of the terminal that stdout is. None = it is none.
    pub(super) width: Option<u16>,
    pub(super) colour: bool,
}

/// How a line on stderr looks.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    Plain,
    Aside,
    Warning,
    Bad,
    Fix,
}

impl Out {
    pub(super) fn new(form: Output, no_color: bool) -> Self {
        let colour = !no_color && env::var("NO_COLOR").is_none() && io::stderr().is_terminal();
        let width = io::stdout().is_terminal().then(|| match terminal_size() {
            Some((Width(columns), _)) => columns,
            None => 80,
        });
        Self { form, width, colour }
    }

    /// Whether programs read it.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.form, Output::Json | Output::Jsonl)
    }

    /// Writes a piece of a result, at once.
    pub(super) fn text(&self, text: &str) -> Result<(), Problem> {
        let text = if self.width.is_some() { clean(text) } else { Cow::Borrowed(text) };
        raw(text.as_bytes())
    }

    /// Writes a result that people read.
    pub(super) fn line(&self, line: &str) -> Result<(), Problem> {
        self.text(&format!("{line}\n"))
    }

    /// Writes a result as one JSON object, in a line where there is one a line.
    pub(super) fn json(&self, value: &Value) -> Result<(), Problem> {
        let text =
            if self.form == Output::Jsonl { value.to_string() } else { format!("{value:#}") };
        raw(format!("{text}\n").as_bytes())
    }

    /// Says something about the result, one line or more.
    pub(super) fn note(&self, tone: Tone, text: &str) {
        self.aside(tone, text);
        let _ = writeln!(io::stderr());
    }

    /// Says a piece of something about the result.
    pub(super) fn aside(&self, tone: Tone, text: &str) {
        let text = clean(text);
        let mut stderr = io::stderr().lock();
        // Nobody can be told that stderr is gone.
        let _ = if self.colour {
            write!(stderr, "\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            write!(stderr, "{text}")
        };
        let _ = stderr.flush();
    }
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Aside => "2",
            Self::Warning => "33",
            Self::Bad => "1;31",
            Self::Fix => "32",
        }
    }
}

/// Writes bytes to stdout as they are.
pub(super) fn raw(bytes: &[u8]) -> Result<(), Problem> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Problem::Output)
}

/// Without what could steer a terminal.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(steers) { Cow::Owned(text.replace(steers, "")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b]0;title\x07\n\tb\u{9b}31m"), "a]0;title\n\tb31m");
        assert_eq!(clean("žluťoučký 🐎"), "žluťoučký 🐎");
    }
}
