//! Tables for people: no frames, cells that wrap inside the terminal.

use std::io;

use comfy_table::{ContentArrangement, Table};

use super::{
    out::{Out, clean},
    problem::Problem,
};

/// Rows under a header. In a pipe, a row is one line.
pub(super) fn table(
    out: &Out,
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if !header.is_empty() {
        table.set_header(header);
    }
    if let Some(width) = out.width {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| clean(cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Rows under a header as CSV (RFC 4180).
pub(super) fn csv<H: AsRef<[u8]>>(
    header: impl IntoIterator<Item = H>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let failed = |error: csv::Error| Problem::Output(io::Error::other(error));
    let mut writer = csv::Writer::from_writer(&mut bytes);
    writer.write_record(header).map_err(failed)?;
    for row in rows {
        writer.write_record(row).map_err(failed)?;
    }
    writer.flush().map_err(Problem::Output)?;
    drop(writer);
    String::from_utf8(bytes).map_err(|error| Problem::Output(io::Error::other(error)))
}

/// The word of an enum value for people: `MODEL_AVAILABILITY_NO_ACCOUNT` is `no account`.
pub(super) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).replace('_', " ").to_lowercase()
}

/// The id at the end of a resource name.
pub(super) fn id(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The resource name of what a person names by its id or by its name.
pub(super) fn named(collection: &str, name: &str) -> String {
    match name.split_once('/') {
        Some((given, _)) if given == collection => name.to_owned(),
        _ => format!("{collection}/{name}"),
    }
}

/// A number, or nothing where none is known.
pub(super) fn number(number: Option<i64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::global::Output;

    #[test]
    fn a_table_stays_within_the_terminal() {
        let out = Out { width: Some(40), ..Out::new(Output::Table, true) };
        let rows = [vec!["sandbox-text".to_owned(), "text-to-text, ".repeat(12)]];
        let table = table(&out, &["MODEL", "CAPABILITIES"], rows);
        assert!(table.lines().all(|line| line.chars().count() <= 40), "{table}");
    }

    #[test]
    fn cells_of_csv_hold_any_text() {
        let rows = [vec!["a, \"b\"\nc".to_owned(), String::new()]];
        let csv = csv(["one", "two"], rows).expect("written");
        assert_eq!(csv, "one,two\n\"a, \"\"b\"\"\nc\",\n");
    }

    #[test]
    fn a_row_in_a_pipe_is_a_line() {
        let out = Out { width: None, ..Out::new(Output::Table, true) };
        let rows = [vec!["a".to_owned(), "word ".repeat(60)]];
        assert_eq!(table(&out, &["A", "B"], rows).lines().count(), 2);
    }
}
