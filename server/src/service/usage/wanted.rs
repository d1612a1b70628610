//! A filter of a caller, as the store takes it.

use mediary_store::{AttemptField, Compared, FieldTest, Wanted, to_micros};

use crate::service::listing::{Comparison, Filter, Pattern, Term, Test};

/// Which rows a filter accepts; `term` says what one of its tests asks of a row.
pub fn wanted(filter: &Filter, term: &impl Fn(&Term) -> Wanted) -> Wanted {
    match filter {
        Filter::All(parts) => Wanted::All(parts.iter().map(|part| wanted(part, term)).collect()),
        Filter::Any(parts) => Wanted::Any(parts.iter().map(|part| wanted(part, term)).collect()),
        Filter::Not(part) => Wanted::Not(Box::new(wanted(part, term))),
        Filter::Term(one) => term(one),
    }
}

/// No row.
pub fn nothing() -> Wanted {
    Wanted::Any(Vec::new())
}

/// Nothing is asked of a field in another way than its kind allows: the filter was checked.
pub fn test(field: AttemptField, test: &Test) -> Wanted {
    let test = match test {
        Test::Set => FieldTest::Set,
        Test::Bool(_) => return nothing(),
        Test::Number(comparison, number) => FieldTest::Number(compared(*comparison), *number),
        Test::Time(comparison, time) => FieldTest::Number(compared(*comparison), to_micros(*time)),
        Test::Text(comparison, text) => FieldTest::Text(compared(*comparison), text.clone()),
        Test::Fits(pattern) => fits(pattern),
    };
    Wanted::Field(field, test)
}

pub fn fits(pattern: &Pattern) -> FieldTest {
    FieldTest::Fits {
        text: pattern.text.clone(),
        is_open_before: pattern.is_open_before,
        is_open_after: pattern.is_open_after,
        ignores_case: pattern.ignores_case,
    }
}

fn compared(comparison: Comparison) -> Compared {
    match comparison {
        Comparison::Equal => Compared::Equal,
        Comparison::Less => Compared::Less,
        Comparison::LessOrEqual => Compared::LessOrEqual,
        Comparison::Greater => Compared::Greater,
        Comparison::GreaterOrEqual => Compared::GreaterOrEqual,
    }
}
