//! Which rows of the ledger are wanted, as SQL. The texts are ours; what callers say is bound, and
//! compared without wildcards.

use mediary_store::{AttemptField, Compared, FieldTest, Wanted};
use sqlx::{QueryBuilder, Sqlite};

/// Pushes a condition that is true or false, and never null.
pub(super) fn push(query: &mut QueryBuilder<Sqlite>, wanted: &Wanted) {
    match wanted {
        Wanted::All(parts) => push_each(query, parts, "TRUE", " AND "),
        Wanted::Any(parts) => push_each(query, parts, "FALSE", " OR "),
        Wanted::Not(part) => {
            query.push("NOT ");
            push(query, part);
        }
        Wanted::Field(field, test) => {
            query.push("((");
            push_test(query, field, test);
            // A field that is missing makes it null.
            query.push(") IS TRUE)");
        }
    }
}

fn push_each(query: &mut QueryBuilder<Sqlite>, parts: &[Wanted], none: &str, between: &str) {
    query.push("(");
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            query.push(between);
        }
        push(query, part);
    }
    query.push(if parts.is_empty() { none } else { "" }).push(")");
}

fn push_test(query: &mut QueryBuilder<Sqlite>, field: &AttemptField, test: &FieldTest) {
    match test {
        FieldTest::Set => {
            push_field(query, field);
            query.push(" <> ''");
        }
        FieldTest::Number(compared, number) => {
            push_field(query, field);
            query.push(sign(*compared)).push_bind(*number);
        }
        FieldTest::Text(compared, text) => {
            push_field(query, field);
            query.push(sign(*compared)).push_bind(text.clone());
        }
        FieldTest::Fits { text, is_open_before, is_open_after, ignores_case } => {
            let [open, close] = if *ignores_case { ["LOWER(", ")"] } else { ["", ""] };
            let push_value = |query: &mut QueryBuilder<Sqlite>| {
                query.push(open);
                push_field(query, field);
                query.push(close);
            };
            match (is_open_before, is_open_after) {
                (false, false) => {
                    push_value(query);
                    query.push(" = ").push_bind(text.clone());
                }
                (true, true) => {
                    query.push("INSTR(");
                    push_value(query);
                    query.push(", ").push_bind(text.clone()).push(") > 0");
                }
                (false, true) => {
                    query.push("SUBSTR(");
                    push_value(query);
                    query.push(", 1, LENGTH(").push_bind(text.clone()).push(")) = ");
                    query.push_bind(text.clone());
                }
                // The last 0 characters would be all of them.
                (true, false) if text.is_empty() => {
                    push_value(query);
                    query.push(" IS NOT NULL");
                }
                (true, false) => {
                    query.push("SUBSTR(");
                    push_value(query);
                    query.push(", -LENGTH(").push_bind(text.clone()).push(")) = ");
                    query.push_bind(text.clone());
                }
            }
        }
    }
}

/// Pushes the value of a field; null where it is missing.
pub(super) fn push_field(query: &mut QueryBuilder<Sqlite>, field: &AttemptField) {
    match field {
        AttemptField::Label(key) => {
            // By key and not by path: a key may hold any character.
            query.push("(SELECT l.value FROM JSON_EACH(a.labels) AS l WHERE l.key = ");
            query.push_bind(key.clone()).push(")");
        }
        field => {
            query.push(column(field));
        }
    }
}

/// The value of a field that needs nothing bound. Joined are attempts as `a`, their facets as `f`,
/// and their notes, if there are any, as `n`.
pub(super) fn column(field: &AttemptField) -> &'static str {
    match field {
        AttemptField::Call => "a.call",
        AttemptField::Kind => "f.kind",
        AttemptField::Owner => "f.owner",
        AttemptField::ApiKey => "f.api_key",
        AttemptField::Capability => "f.capability",
        AttemptField::Route => "f.route",
        AttemptField::Preset => "f.preset",
        AttemptField::Model => "f.model",
        AttemptField::Provider => "f.provider",
        AttemptField::Account => "f.account",
        AttemptField::State => {
            "CASE a.state WHEN 0 THEN 'succeeded' WHEN 1 THEN 'failed' ELSE 'cancelled' END"
        }
        AttemptField::Reason => "COALESCE(n.reason, '')",
        AttemptField::HttpStatus => "n.http_status",
        AttemptField::Start => "a.started_at",
        AttemptField::Cost => "a.cost",
        AttemptField::Label(_) => "a.labels",
    }
}

fn sign(compared: Compared) -> &'static str {
    match compared {
        Compared::Equal => " = ",
        Compared::Less => " < ",
        Compared::LessOrEqual => " <= ",
        Compared::Greater => " > ",
        Compared::GreaterOrEqual => " >= ",
    }
}
