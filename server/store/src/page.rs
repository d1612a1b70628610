//! How rows are asked for, page by page. A page begins after the last row of the one before, so
//! rows that come or go meanwhile neither repeat nor hide others.

use std::time::SystemTime;

/// One page, by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Id after which it begins. None = at the start.
    pub after: Option<String>,
    /// Most rows in it; 0 counts as 1.
    pub limit: u32,
}

impl Page {
    pub fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }

    pub fn after(id: impl Into<String>, limit: u32) -> Self {
        Self { after: Some(id.into()), limit }
    }
}

/// The rows of one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged<T, C = String> {
    pub rows: Vec<T>,
    /// Where the next page begins. None = this is the last.
    pub next: Option<C>,
}

impl<T, C> Paged<T, C> {
    /// A page of at most `limit` out of the rows that were read, one more than that if there are
    /// more.
    pub fn cut(mut rows: Vec<T>, limit: u32, cursor: impl Fn(&T) -> C) -> Self {
        let limit = limit.max(1) as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(cursor) } else { None };
        Self { rows, next }
    }
}

/// Place in the audit log: the order in which events were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditCursor(pub i64);

/// Which events are wanted. Empty = all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub actor: Option<Text>,
    pub api_key: Option<Text>,
    pub method: Option<Text>,
    pub resource: Option<Text>,
    pub outcome: Option<Text>,
    /// Not before this time.
    pub from: Option<SystemTime>,
    /// Before this time.
    pub until: Option<SystemTime>,
    pub order: Order,
}

/// What a text must be like. No character has a special meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    Is(String),
    Contains(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    NewestFirst,
    OldestFirst,
}
