//! What is wrong with a configuration, told so that it can be put right at once.
//!
//! Owns: the report, a block per problem.
//! Leaves: finding problems (`layers`, `validate`, `checks`).
//! Invariant: no key of a provider is part of a problem.

use std::{fmt, path::PathBuf};

use super::excerpt::Excerpt;

/// Where a text came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Variable(String),
    Override(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(super) place: Option<Place>,
    pub(super) excerpt: Option<Excerpt>,
    pub(super) field: String,
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// Reports follow the order of the texts and of what stands in them.
    pub(super) rank: (usize, usize),
}

impl Problem {
    /// The dotted key, empty where the problem is about none.
    pub fn field(&self) -> &str {
        &self.field
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// File with line and column, variable or option; none for what is missing altogether.
    pub fn place(&self) -> Option<String> {
        Some(match (self.place.as_ref()?, &self.excerpt) {
            (Place::File(path), Some(at)) => {
                format!("{}:{}:{}", path.display(), at.line, at.column)
            }
            (Place::File(path), None) => path.display().to_string(),
            (Place::Variable(name), _) => format!("environment variable {name}"),
            (Place::Override(key), _) => format!("command line, {key}"),
        })
    }

    /// From 1; none outside of files.
    pub fn line(&self) -> Option<usize> {
        let excerpt = self.excerpt.as_ref()?;
        matches!(self.place, Some(Place::File(_))).then_some(excerpt.line)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, message, .. } = self;
        match field.as_str() {
            "" => writeln!(f, "error: {message}")?,
            _ => writeln!(f, "error: {field}: {message}")?,
        }
        let number = self.line().map_or_else(String::new, |line| line.to_string());
        let margin = " ".repeat(number.len().max(1));
        if let Some(place) = self.place() {
            writeln!(f, "{margin}--> {place}")?;
        }
        if let Some(Excerpt { text, indent, carets, .. }) = &self.excerpt {
            let number = if number.is_empty() { " " } else { &number };
            let carets = "^".repeat(*carets);
            writeln!(f, "{margin} |\n{number} | {text}\n{margin} | {indent}{carets}")?;
        }
        match &self.help {
            Some(help) => writeln!(f, "{margin} = help: {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong, in the order in which it stands in the texts.
#[derive(Clone, Debug)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|one| one.rank);
        Self(problems)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 problem in the configuration"),
            count => write!(f, "{count} problems in the configuration"),
        }
    }
}

impl std::error::Error for Problems {}
