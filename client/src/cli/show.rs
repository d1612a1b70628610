//! How resources and lists of them are printed, in every form that `-o` has.
//!
//! Owns: the forms, paging, and the options of a list. Leaves: the columns (each command), the
//! terminal (`out`).

use clap::Args;
use prost::{Message, Name};
use serde_json::json;

use super::{
    global::Output,
    json,
    out::{Out, Tone},
    problem::Problem,
    table::{csv, table},
};
use crate::{Error, Result};

/// Items of one page.
const PAGE: i32 = 100;
/// Most that a page can hold: for whoever wants all.
pub(super) const WHOLE_PAGE: i32 = 1000;

/// Options of every list.
#[derive(Debug, Clone, Default, Args)]
pub struct ListArgs {
    /// Only those that fit, such as 'display_name:"test"'
    #[arg(long, value_name = "FILTER")]
    pub(super) filter: Option<String>,
    /// All of them, not only the first 100
    #[arg(long)]
    pub(super) all_pages: bool,
}

/// What a list gave.
pub(super) struct Listed<M> {
    pub(super) items: Vec<M>,
    pub(super) more: bool,
}

/// How a list of one kind of resource looks.
pub(super) struct Columns<M> {
    /// What the list is called in JSON, as in the contract.
    pub(super) list: &'static str,
    pub(super) header: &'static [&'static str],
    pub(super) row: fn(&M) -> Vec<String>,
    /// What `-o id` prints of one.
    pub(super) id: fn(&M) -> &str,
}

impl ListArgs {
    /// Reads one page or all of them. `fetch` gets the size of a page and its token.
    pub(super) async fn read<M>(
        &self,
        mut fetch: impl AsyncFnMut(i32, String) -> Result<(Vec<M>, String)>,
    ) -> Result<Listed<M>, Problem> {
        if !self.all_pages {
            let (items, next) = fetch(PAGE, String::new()).await?;
            return Ok(Listed { items, more: !next.is_empty() });
        }
        let (mut items, mut token) = (Vec::new(), String::new());
        loop {
            let (page, next) = fetch(WHOLE_PAGE, token.clone()).await?;
            items.extend(page);
            if next.is_empty() {
                return Ok(Listed { items, more: false });
            }
            // Such a server would be asked for ever.
            if next == token {
                return Err(Error::protocol("the next page has the token of this one").into());
            }
            token = next;
        }
    }

    /// What `more` wants besides the filter of the options.
    pub(super) fn filter_and(&self, more: impl IntoIterator<Item = String>) -> String {
        let mut parts: Vec<String> = more.into_iter().collect();
        match (&self.filter, parts.is_empty()) {
            (Some(filter), true) => return filter.clone(),
            (Some(filter), false) => parts.insert(0, format!("({filter})")),
            (None, _) => {}
        }
        parts.join(" AND ")
    }
}

/// Prints a list.
pub(super) fn list<M: Message + Name>(
    out: &Out,
    columns: &Columns<M>,
    listed: &Listed<M>,
) -> Result<(), Problem> {
    match out.form {
        Output::Json => {
            let list = json::list(&listed.items);
            return out.json(&json!({ (columns.list): list, "more": listed.more }));
        }
        Output::Jsonl => {
            listed.items.iter().try_for_each(|one| out.json(&json::message(one)))?;
        }
        Output::Id => listed.items.iter().try_for_each(|one| out.line((columns.id)(one)))?,
        Output::Csv => {
            let header = columns.header.iter().map(|name| name.to_lowercase());
            out.text(&csv(header, listed.items.iter().map(columns.row))?)?;
        }
        Output::Table => {
            out.line(&table(out, columns.header, listed.items.iter().map(columns.row)))?;
        }
    }
    more(out, listed.more);
    Ok(())
}

/// Says so if a list goes on.
pub(super) fn more(out: &Out, more: bool) {
    if more {
        out.note(Tone::Aside, "there are more: --all-pages lists them");
    }
}

/// Prints one resource: `id` of it, or all of it, or the `rows` that people read. Rows without a
/// value are left out.
pub(super) fn one<M: Message + Name>(
    out: &Out,
    resource: &M,
    id: &str,
    rows: impl IntoIterator<Item = (&'static str, String)>,
) -> Result<(), Problem> {
    match out.form {
        Output::Json | Output::Jsonl => out.json(&json::message(resource)),
        Output::Id => out.line(id),
        Output::Csv => {
            let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
            out.text(&csv(["field", "value"], rows)?)
        }
        Output::Table => {
            let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
            let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
            out.line(&table(out, &[], rows))
        }
    }
}

/// A text of the filter language.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_filter_both_count() {
        let args = ListArgs { filter: Some("a = 1 OR b = 2".into()), all_pages: false };
        assert_eq!(args.filter_and([]), "a = 1 OR b = 2");
        let provider = format!("provider = {}", quote("a\"b"));
        assert_eq!(args.filter_and([provider]), "(a = 1 OR b = 2) AND provider = \"a\\\"b\"");
        assert_eq!(ListArgs::default().filter_and([]), "");
    }
}
