//! What all list RPCs have in common: a filter, an order, and pages.
//!
//! Owns: the little languages of `filter` and `order_by`, page tokens, and the one way through
//! all three for rows that are in memory. Leaves: which rows there are and how they look on the
//! wire (the services), and compiling a [`Filter`] and an [`Order`] to SQL (`store`).
//! Invariant: walking the pages shows every row that stays once, whatever comes and goes between.

mod filter;
mod order;
mod page;

use std::{borrow::Cow, time::SystemTime};

use mediary_domain::Result;

pub use self::{
    filter::{Comparison, Field, FieldKind, Filter, Pattern, Term, Test},
    order::{Key, Order},
    page::{MAX_PAGE_SIZE, Page, PageTokens, Scope, page_size},
};

/// What one list RPC lets its callers ask for.
pub struct Listing {
    /// Full name of the RPC; its page tokens are good for no other.
    pub rpc: &'static str,
    /// Fields that `filter` may name.
    pub filter: &'static [Field],
    /// Fields that `order_by` may name. The first is unique and breaks ties.
    pub order: &'static [&'static str],
    /// The order where none is asked for.
    pub usual_order: &'static str,
}

/// What a caller asked of a list RPC. Fields that the request lacks stay empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Who asks: its tokens are good for nobody else.
    pub owner: &'a str,
    pub parent: &'a str,
    pub filter: &'a str,
    pub order_by: &'a str,
    pub page_size: i32,
    pub page_token: &'a str,
}

/// A row as filters and orders see it.
pub trait Row {
    /// The value of a whitelisted field; `key` is what follows the dot in `labels.key`.
    fn value(&self, field: &str, key: Option<&str>) -> Value<'_>;
}

/// What a row has in a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Not set. No comparison with it holds, so its negation does.
    Missing,
    Bool(bool),
    Number(i64),
    Time(SystemTime),
    /// Also the word of an enum, without its prefix.
    Text(Cow<'a, str>),
    List(Vec<&'a str>),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::Missing, Self::Number)
    }
}

impl Listing {
    /// The page that was asked for.
    pub fn page<R: Row>(
        &self,
        rows: impl IntoIterator<Item = R>,
        asked: &Asked<'_>,
        tokens: &PageTokens,
    ) -> Result<Page<R>> {
        let filter = Filter::parse(asked.filter, self.filter)?;
        let order = Order::parse(asked.order_by, self.order, self.usual_order)?;
        let rows = rows.into_iter().filter(|row| filter.accepts(row)).collect();
        tokens.page(&Scope::of(self.rpc, asked), &order, rows, asked.page_size, asked.page_token)
    }
}

/// The word that was probably meant.
fn nearest<'a>(named: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let named = named.to_lowercase();
    among
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&word.to_lowercase(), &named), word))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// A caller's text in a message of ours: quoted, and not longer than a line.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests;
