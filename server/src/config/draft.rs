//! A configuration in the making: the layers so far, where each value stands, and what is wrong.
//!
//! Owns: the tree, the place of every value in the text it came from, and the list of problems.
//! Leaves: filling it (`layers`), judging it (`validate`, `checks`).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    excerpt::{Excerpt, line_of},
    origin::Origin,
    problem::{Place, Problem, Problems},
    schema,
    sections::Config,
};

/// Values by JSON pointer, as in `/accounts/0/id`.
pub(super) struct Draft {
    pub(super) schema: Value,
    pub(super) tree: Value,
    texts: Vec<Text>,
    marks: BTreeMap<String, Mark>,
    harmless: BTreeSet<String>,
    problems: Vec<Problem>,
    is_readable: bool,
}

struct Text {
    place: Place,
    content: String,
}

/// Where a value stands: the text by number, its key and the value in bytes.
#[derive(Clone)]
pub(super) struct Mark {
    pub(super) text: usize,
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// What a problem points at.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Key,
    Value,
}

impl Draft {
    pub(super) fn new(schema: Value) -> Self {
        let mut harmless = BTreeSet::new();
        collect_harmless(&schema, &mut harmless);
        Self {
            schema,
            tree: Value::Object(Map::new()),
            texts: Vec::new(),
            marks: BTreeMap::new(),
            harmless,
            problems: Vec::new(),
            is_readable: true,
        }
    }

    /// False after a text could not be read to its end.
    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Keeps a text that values will be marked in.
    pub(super) fn keep(&mut self, place: Place, content: &str) -> usize {
        self.texts.push(Text { place, content: content.to_owned() });
        self.texts.len() - 1
    }

    /// Marks a value; what lay at or below the pointer before is forgotten.
    pub(super) fn mark(&mut self, pointer: &str, mark: Mark) {
        let below = format!("{pointer}/");
        self.marks.retain(|known, _| known != pointer && !known.starts_with(&below));
        self.marks.insert(pointer.to_owned(), mark);
    }

    /// Puts a value below the root, making tables on the way.
    pub(super) fn put(&mut self, path: &[&str], value: Value) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut node = &mut self.tree;
        for key in parents {
            let Value::Object(table) = node else { return }; // reported as being no table
            node = table.entry(*key).or_insert_with(|| Value::Object(Map::new()));
        }
        if let Value::Object(table) = node {
            table.insert((*last).to_owned(), value);
        }
    }

    pub(super) fn text_at(&self, pointer: &str) -> Option<&str> {
        self.tree.pointer(pointer)?.as_str()
    }

    pub(super) fn accounts(&self) -> &[Value] {
        let list = self.tree.pointer("/accounts").and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    pub(super) fn origin(&self, pointer: &str) -> Origin {
        let Some(mark) = self.marks.get(pointer) else { return Origin::Default };
        let text = &self.texts[mark.text];
        match &text.place {
            Place::File(path) => {
                Origin::File { path: path.clone(), line: line_of(&text.content, mark.value.start) }
            }
            Place::Variable(name) => Origin::Environment { variable: name.clone() },
            Place::Override(_) => Origin::Flag,
        }
    }

    /// Relative paths at `pointer` start here.
    pub(super) fn folder(&self, pointer: &str) -> PathBuf {
        match self.origin(pointer) {
            Origin::File { path, .. } => path.parent().map(Path::to_path_buf).unwrap_or_default(),
            _ => PathBuf::new(),
        }
    }

    /// Reports what is wrong with the value at `pointer`, or with the nearest table around it.
    pub(super) fn report(
        &mut self,
        pointer: &str,
        part: Part,
        message: String,
        help: Option<String>,
    ) {
        let around = pointer.match_indices('/').map(|(at, _)| &pointer[..at]);
        let mut candidates: Vec<_> = around.chain([pointer]).collect();
        candidates.reverse();
        let mark = candidates.into_iter().find_map(|one| self.marks.get(one)).cloned();
        let at = mark.map(|mark| match part {
            Part::Key => (mark.text, mark.key),
            Part::Value => (mark.text, mark.value),
        });
        self.add(at, dotted(pointer), message, help);
    }

    /// Reports that a kept text is no TOML; the first reason of a line, the others follow from it.
    pub(super) fn report_syntax(
        &mut self,
        text: usize,
        range: Range<usize>,
        field: &str,
        message: String,
    ) {
        let Text { place, content } = &self.texts[text];
        self.is_readable &= !matches!(place, Place::File(_));
        let line = line_of(content, range.start);
        let known = |one: &Problem| one.place.as_ref() == Some(place) && one.line() == Some(line);
        if !self.problems.iter().any(known) {
            self.add(Some((text, range)), field.to_owned(), message, None);
        }
    }

    /// Reports what is wrong with a whole file, variable or option.
    pub(super) fn report_place(&mut self, place: Place, message: String, help: Option<String>) {
        self.is_readable &= !matches!(place, Place::File(_));
        let rank = (self.texts.len(), 0);
        let field = String::new();
        let place = Some(place);
        self.problems.push(Problem { place, excerpt: None, field, message, help, rank });
    }

    fn add(
        &mut self,
        at: Option<(usize, Range<usize>)>,
        field: String,
        message: String,
        help: Option<String>,
    ) {
        let rank = at.as_ref().map_or((0, 0), |(text, range)| (*text, range.start));
        let (place, excerpt) = at
            .map(|(text, range)| {
                let Text { place, content } = &self.texts[text];
                (place.clone(), Excerpt::new(content, range, &self.harmless))
            })
            .unzip();
        self.problems.push(Problem { place, excerpt, field, message, help, rank });
    }

    pub(super) fn into_problems(self) -> Problems {
        Problems::new(self.problems)
    }

    /// The configuration, if nothing is wrong with it.
    pub(super) fn finish(mut self) -> Result<Config, Problems> {
        match serde_json::from_value(self.tree.take()) {
            Ok(config) if self.problems.is_empty() => return Ok(config),
            Err(error) if self.problems.is_empty() => {
                self.add(None, String::new(), error.to_string(), None);
            }
            _ => {}
        }
        Err(self.into_problems())
    }
}

fn collect_harmless(node: &Value, keys: &mut BTreeSet<String>) {
    let node = node.get("items").unwrap_or(node);
    for (key, inner) in schema::properties(node) {
        // Whoever puts a provider's key in the wrong place calls it so, too.
        if !schema::is_secret(inner) && key != "key" {
            keys.insert(key.to_owned());
        }
        collect_harmless(inner, keys);
    }
}

/// The segments of a JSON pointer (RFC 6901), still escaped; none for the whole document.
pub(super) fn segments(pointer: &str) -> impl Iterator<Item = &str> {
    pointer.strip_prefix('/').into_iter().flat_map(|rest| rest.split('/'))
}

/// `/accounts/0/id` as it is written by people: `accounts[0].id`.
pub(super) fn dotted(pointer: &str) -> String {
    let mut text = String::new();
    for segment in segments(pointer) {
        if !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit()) {
            text += &format!("[{segment}]");
        } else {
            text += if text.is_empty() { "" } else { "." };
            text += &segment.replace("~1", "/").replace("~0", "~");
        }
    }
    text
}
