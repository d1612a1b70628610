//! Everything that is wrong with a request, said at once.

use mediary_domain::{Error, Result};

/// Collects what is wrong.
#[derive(Default)]
pub struct Problems(Option<Error>);

impl Problems {
    pub fn field(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.add(Error::field(field, description));
    }

    /// The first failure names the kind; all name their fields.
    pub fn add(&mut self, error: Error) {
        self.0 = Some(match self.0.take() {
            Some(first) => first.and(error),
            None => error,
        });
    }

    /// Those of a part of a request: its fields begin with `from`, and with `to` in the whole.
    pub fn part(&mut self, part: Self, from: &str, to: &str) {
        let Some(error) = part.0 else { return };
        let moved = Error::new(error.kind(), error.message().to_owned());
        self.add(error.violations().iter().fold(moved, |moved, one| {
            let rest = one.field.strip_prefix(from).unwrap_or(&one.field);
            moved.violation(format!("{to}{rest}"), one.description.as_str())
        }));
    }

    /// What was parsed, if nothing is wrong with it.
    pub fn result<T>(self, parsed: T) -> Result<T> {
        self.0.map_or(Ok(parsed), Err)
    }
}
