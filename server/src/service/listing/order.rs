//! `order_by`: comma-separated fields, each with ` desc` if wanted (AIP-132).
//!
//! Owns: parsing, and comparing rows by their sort keys. Invariant: the last column is unique, so
//! no two rows are equal and a page can end between any two.

use std::cmp::Ordering;

use mediary_domain::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Row, Value, nearest, quoted};

/// Longer ones cannot be of whitelisted fields, each named once.
const MAX_BYTES: usize = 1024;

/// Columns to sort by, the most important first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order(Vec<Column>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub field: &'static str,
    pub descending: bool,
}

/// What a row is sorted by in one column. What is missing comes before everything else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    Missing,
    Bool(bool),
    Number(i64),
    Text(String),
}

impl Order {
    /// Reads `order_by`; empty is `usual`. The first of `fields` is unique and breaks ties.
    pub fn parse(
        order_by: &str,
        fields: &'static [&'static str],
        usual: &'static str,
    ) -> Result<Self> {
        if order_by.len() > MAX_BYTES {
            return Err(refused(format!("must not be longer than {MAX_BYTES} bytes")));
        }
        let text = if order_by.trim().is_empty() { usual } else { order_by };
        let mut columns: Vec<Column> = Vec::new();
        for part in text.split(',') {
            let column = column(part, fields)?;
            if columns.iter().any(|known| known.field == column.field) {
                return Err(refused(format!("names {} twice", column.field)));
            }
            columns.push(column);
        }
        match fields.first() {
            Some(unique) if !columns.iter().any(|known| known.field == *unique) => {
                columns.push(Column { field: unique, descending: false });
            }
            _ => {}
        }
        Ok(Self(columns))
    }

    /// For a store that sorts by itself.
    pub fn columns(&self) -> &[Column] {
        &self.0
    }

    /// What `row` is sorted by, a key for each column.
    pub fn keys(&self, row: &impl Row) -> Vec<Key> {
        self.0.iter().map(|column| Key::of(row.value(column.field, None))).collect()
    }

    /// How two rows of these keys stand to each other.
    pub fn compare(&self, a: &[Key], b: &[Key]) -> Ordering {
        let columns = self.0.iter().zip(a.iter().zip(b));
        columns
            .map(|(column, (a, b))| if column.descending { b.cmp(a) } else { a.cmp(b) })
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl Key {
    fn of(value: Value<'_>) -> Self {
        match value {
            // Lists are not whitelisted for sorting.
            Value::Missing | Value::List(_) => Self::Missing,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(value) => Self::Number(value),
            Value::Time(time) => Self::Number(nanoseconds(time)),
            Value::Text(text) => Self::Text(text.into_owned()),
        }
    }
}

fn column(part: &str, fields: &'static [&'static str]) -> Result<Column> {
    let mut words = part.split_whitespace();
    let Some(named) = words.next() else {
        return Err(refused("has a comma with no field beside it"));
    };
    let Some(field) = fields.iter().find(|field| **field == named) else {
        let hint = match nearest(named, fields.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("the fields are {}", fields.join(", ")),
        };
        return Err(refused(format!("{} is no field to order by; {hint}", quoted(named))));
    };
    let descending = match (words.next(), words.next()) {
        (None, _) => false,
        (Some("desc"), None) => true,
        (Some("asc"), None) => {
            return Err(refused(format!("{field} ascends by itself; leave asc out")));
        }
        _ => return Err(refused(format!("after {field} only desc may stand, or a comma"))),
    };
    Ok(Column { field, descending })
}

/// Since 1970; what lies 292 years from there is as late, or as early, as can be.
fn nanoseconds(time: std::time::SystemTime) -> i64 {
    match time.duration_since(std::time::SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

fn refused(description: impl Into<String>) -> Error {
    Error::field("order_by", description)
}
