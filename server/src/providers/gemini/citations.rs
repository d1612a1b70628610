//! What an answer rests on: grounding and citations, told once the text is whole.
//!
//! Google counts bytes of UTF-8 over the whole text; the contract counts code points of a part.

use mediary_domain::{ChatEvent, Citation};
use serde::Deserialize;

use crate::dialect::{parts::Queue, text::Text};

#[derive(Default)]
pub struct Citations {
    /// Everything that was said: offsets come after it and speak of bytes.
    text: String,
    /// Where each text part begins in `text`.
    parts: Vec<(u32, usize)>,
    found: Vec<Found>,
    /// Sources that no stretch of the text is said to rest on.
    loose: Vec<Source>,
}

#[derive(PartialEq)]
struct Found {
    start: usize,
    end: usize,
    source: Source,
}

#[derive(Clone, Default, PartialEq)]
struct Source {
    uri: String,
    title: String,
    quote: String,
}

impl Citations {
    /// Text that was sent to a part.
    pub fn said(&mut self, part: u32, text: &str) {
        if self.parts.last().is_none_or(|(last, _)| *last != part) {
            self.parts.push((part, self.text.len()));
        }
        self.text.push_str(text);
    }

    /// A stream may repeat what it has told; it is kept once. `bases` is where each part of the
    /// present content begins, for stretches that name their part.
    pub fn ground(&mut self, grounding: Grounding<'_>, bases: &[usize]) {
        let sources: Vec<Source> = grounding
            .grounding_chunks
            .unwrap_or_default()
            .into_iter()
            .map(|chunk| {
                let place = chunk.web.or(chunk.retrieved_context).or(chunk.maps);
                place.map(Place::source).unwrap_or_default()
            })
            .collect();
        if !sources.is_empty() {
            self.loose = sources;
        }
        for support in grounding.grounding_supports.unwrap_or_default() {
            let segment = support.segment.unwrap_or_default();
            let base = match segment.part_index.unwrap_or(0) {
                0 => 0,
                part => bases.get(part).copied().unwrap_or(0),
            };
            let start = base + segment.start_index.unwrap_or(0);
            let end = base + segment.end_index.unwrap_or(0);
            for index in support.grounding_chunk_indices.unwrap_or_default() {
                if let Some(source) = self.loose.get(index).cloned() {
                    self.find(Found { start, end, source });
                }
            }
        }
    }

    pub fn cite(&mut self, metadata: Metadata<'_>) {
        for one in metadata.citations.or(metadata.citation_sources).unwrap_or_default() {
            let (start, end) = (one.start_index.unwrap_or(0), one.end_index.unwrap_or(0));
            let source = Place { uri: one.uri, title: one.title, text: None }.source();
            self.find(Found { start, end, source });
        }
    }

    fn find(&mut self, found: Found) {
        if !self.found.contains(&found) {
            self.found.push(found);
        }
    }

    pub fn tell(&mut self, out: &mut Queue) {
        let mut found = std::mem::take(&mut self.found);
        if found.is_empty() {
            let loose = std::mem::take(&mut self.loose);
            found.extend(loose.into_iter().map(|source| Found { start: 0, end: 0, source }));
        }
        for one in found {
            if let Some((part, start, end)) = self.place(one.start, one.end) {
                let Source { uri, title, quote } = one.source;
                let citation = Citation { part, start, end, uri, title, cited_text: quote };
                out.push_back(ChatEvent::Citation(citation));
            }
        }
    }

    /// The part that a stretch begins in, and its code points there.
    fn place(&self, start: usize, end: usize) -> Option<(u32, i64, i64)> {
        let start = self.text.floor_char_boundary(start);
        let at = self.parts.iter().rposition(|(_, begin)| *begin <= start)?;
        let (part, begin) = self.parts[at];
        let limit = self.parts.get(at + 1).map_or(self.text.len(), |(_, next)| *next);
        let end = self.text.floor_char_boundary(end).clamp(start, limit.max(start));
        let points = |range: &str| i64::try_from(range.chars().count()).unwrap_or(i64::MAX);
        let first = points(&self.text[begin..start]);
        Some((part, first, first + points(&self.text[start..end])))
    }

    /// How much was said up to now.
    pub fn length(&self) -> usize {
        self.text.len()
    }
}

// --- wire ---

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grounding<'a> {
    #[serde(borrow, default)]
    grounding_chunks: Option<Vec<Chunk<'a>>>,
    #[serde(default)]
    grounding_supports: Option<Vec<Support>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow, default)]
    web: Option<Place<'a>>,
    #[serde(borrow, default)]
    retrieved_context: Option<Place<'a>>,
    #[serde(borrow, default)]
    maps: Option<Place<'a>>,
}

#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow, default)]
    uri: Option<Text<'a>>,
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
}

impl Place<'_> {
    fn source(self) -> Source {
        let text = |text: Option<Text<'_>>| text.map(Text::into_string).unwrap_or_default();
        Source { uri: text(self.uri), title: text(self.title), quote: text(self.text) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Support {
    #[serde(default)]
    segment: Option<Segment>,
    #[serde(default)]
    grounding_chunk_indices: Option<Vec<usize>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Segment {
    #[serde(default)]
    part_index: Option<usize>,
    #[serde(default)]
    start_index: Option<usize>,
    #[serde(default)]
    end_index: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<'a> {
    #[serde(borrow, default)]
    citations: Option<Vec<Cited<'a>>>,
    /// The name of the same list at the Gemini API.
    #[serde(borrow, default)]
    citation_sources: Option<Vec<Cited<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cited<'a> {
    #[serde(default)]
    start_index: Option<usize>,
    #[serde(default)]
    end_index: Option<usize>,
    #[serde(borrow, default)]
    uri: Option<Text<'a>>,
    #[serde(borrow, default)]
    title: Option<Text<'a>>,
}
