//! What the right side of a comparison means to the field on its left.

use mediary_domain::Result;

use super::{
    super::{Comparison, Field, FieldKind, Pattern, Test},
    nearest, quoted,
    token::{Literal, Operator},
    wrong_at,
};

/// The largest whole number that a decimal or an exponent may make.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The test that `operator` and `literal` make of a field; `!=` gives the one to be negated.
pub(super) fn test(field: &Field, operator: Operator, literal: Literal) -> Result<Test> {
    if literal.is_any() && operator == Operator::Has {
        return Ok(Test::Set);
    }
    let column = literal.column;
    match field.kind {
        FieldKind::Text | FieldKind::Labels => text(operator, literal),
        FieldKind::List => match operator {
            Operator::Has => Ok(Test::Fits(literal.pattern(false))),
            _ => Err(wrong_at(
                column,
                format!("{0} is a list; expected {0}:{1}", field.name, quoted(&literal.text)),
            )),
        },
        FieldKind::Number => Ok(Test::Number(operator.comparison(), number(&literal)?)),
        FieldKind::Time => Ok(Test::Time(operator.comparison(), time(&literal)?)),
        FieldKind::Bool => {
            only_equality(field, operator, column)?;
            match literal.plain() {
                Some("true") => Ok(Test::Bool(true)),
                Some("false") => Ok(Test::Bool(false)),
                _ => Err(wrong_at(column, "expected true or false")),
            }
        }
        FieldKind::Word { prefix, words } => {
            only_equality(field, operator, column)?;
            word(&literal, prefix, words)
        }
    }
}

/// The key that `labels:key` asks for.
pub(super) fn label_key(operator: Operator, literal: Literal) -> Result<String> {
    let is_key = operator == Operator::Has && !literal.is_open_before && !literal.is_open_after;
    if is_key {
        Ok(literal.text)
    } else {
        Err(wrong_at(literal.column, "expected a key: labels.key = value, or labels:key"))
    }
}

fn text(operator: Operator, literal: Literal) -> Result<Test> {
    match operator {
        Operator::Equal | Operator::NotEqual => Ok(Test::Fits(literal.pattern(false))),
        Operator::Has => {
            let mut pattern = literal.pattern(true);
            // Without a wildcard it may stand anywhere; with one, where that says.
            if !pattern.is_open_before && !pattern.is_open_after {
                pattern.is_open_before = true;
                pattern.is_open_after = true;
            }
            Ok(Test::Fits(pattern))
        }
        _ if literal.is_open_before || literal.is_open_after => {
            Err(wrong_at(literal.column, "expected no * here; it goes with = != and : only"))
        }
        _ => Ok(Test::Text(operator.comparison(), literal.text)),
    }
}

fn number(literal: &Literal) -> Result<i64> {
    let text = if literal.is_quoted { None } else { literal.plain() };
    let whole = text.and_then(|text| {
        text.parse::<i64>().ok().or_else(|| {
            let number = text.parse::<f64>().ok()?;
            // A name such as `inf` is no number either.
            (number.fract() == 0.0 && number.abs() <= MAX_EXACT).then_some(number as i64)
        })
    });
    whole.ok_or_else(|| wrong_at(literal.column, "expected a whole number, without quotes"))
}

fn time(literal: &Literal) -> Result<std::time::SystemTime> {
    literal.plain().and_then(|text| humantime::parse_rfc3339(text).ok()).ok_or_else(|| {
        wrong_at(literal.column, "expected a time in UTC such as \"2026-01-31T12:00:00Z\"")
    })
}

fn word(literal: &Literal, prefix: &str, words: &[&'static str]) -> Result<Test> {
    let named = literal.plain().unwrap_or("*");
    let bare = named.strip_prefix(prefix).unwrap_or(named);
    if let Some(word) = words.iter().find(|word| **word == bare) {
        return Ok(Test::Fits(Pattern::exactly(*word)));
    }
    let hint = match nearest(bare, words.iter().copied()) {
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    };
    Err(wrong_at(literal.column, format!("expected one of {}{hint}", words.join(", "))))
}

fn only_equality(field: &Field, operator: Operator, column: usize) -> Result<()> {
    match operator {
        Operator::Equal | Operator::NotEqual | Operator::Has => Ok(()),
        _ => Err(wrong_at(column, format!("{} has no order; expected = or !=", field.name))),
    }
}

impl Operator {
    /// `:` of a single value is `=`, and `!=` its negation.
    fn comparison(self) -> Comparison {
        match self {
            Self::Equal | Self::NotEqual | Self::Has => Comparison::Equal,
            Self::Less => Comparison::Less,
            Self::LessOrEqual => Comparison::LessOrEqual,
            Self::Greater => Comparison::Greater,
            Self::GreaterOrEqual => Comparison::GreaterOrEqual,
        }
    }
}

impl Literal {
    /// It is nothing but a wildcard.
    fn is_any(&self) -> bool {
        self.is_open_before && self.text.is_empty()
    }

    /// Its text where it has no wildcard.
    fn plain(&self) -> Option<&str> {
        (!self.is_open_before && !self.is_open_after).then_some(self.text.as_str())
    }

    fn pattern(self, ignores_case: bool) -> Pattern {
        Pattern {
            text: if ignores_case { self.text.to_lowercase() } else { self.text },
            is_open_before: self.is_open_before,
            is_open_after: self.is_open_after,
            ignores_case,
        }
    }
}
