//! Where an answer's words come from: annotations of a message, and the lists that search models
//! send beside it. Source: OpenAI (url_citation), OpenRouter (web search), Perplexity
//! (search_results, citations).

use mediary_domain::{ChatEvent, Citation};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::parts::{Parts, Queue};

/// `{type: url_citation, url_citation: {..}}`.
#[derive(Deserialize)]
pub struct Annotation {
    #[serde(default)]
    url_citation: Option<UrlCitation>,
}

#[derive(Deserialize)]
struct UrlCitation {
    #[serde(default)]
    url: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    start_index: Option<i64>,
    #[serde(default)]
    end_index: Option<i64>,
}

#[derive(Deserialize)]
struct SearchResult {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    snippet: Option<String>,
}

/// The lists beside the answer: each chunk holds the whole list again, so the last one counts.
#[derive(Default)]
pub struct Sources {
    results: Option<String>,
    uris: Option<String>,
}

impl Sources {
    pub fn found(&mut self, results: Option<&RawValue>, uris: Option<&RawValue>) {
        for (kept, found) in [(&mut self.results, results), (&mut self.uris, uris)] {
            if let Some(found) = found.map(RawValue::get).filter(|json| json.starts_with('['))
                && kept.as_deref() != Some(found)
            {
                *kept = Some(found.to_owned());
            }
        }
    }

    pub fn cite(&self, annotation: Annotation, parts: &Parts, out: &mut Queue) {
        let Some(source) = annotation.url_citation else { return };
        out.push_back(ChatEvent::Citation(Citation {
            part: parts.last_text().unwrap_or(0),
            start: source.start_index.unwrap_or(0),
            end: source.end_index.unwrap_or(0),
            uri: source.url,
            title: source.title.unwrap_or_default(),
            cited_text: source.content.unwrap_or_default(),
        }));
    }

    /// The answer is complete: its text came from these.
    pub fn tell(&mut self, parts: &Parts, out: &mut Queue) {
        let Some(part) = parts.last_text() else { return };
        let results = self.results.take().unwrap_or_default();
        let results: Vec<SearchResult> = serde_json::from_str(&results).unwrap_or_default();
        let uris = self.uris.take().unwrap_or_default();
        let uris: Vec<String> = serde_json::from_str(&uris).unwrap_or_default();
        let of_result = |one: SearchResult| Citation {
            part,
            uri: one.url.unwrap_or_default(),
            title: one.title.unwrap_or_default(),
            cited_text: one.snippet.unwrap_or_default(),
            ..Citation::default()
        };
        let of_uri = |uri| Citation { part, uri, ..Citation::default() };
        let found: Vec<Citation> = if results.is_empty() {
            uris.into_iter().map(of_uri).collect()
        } else {
            results.into_iter().map(of_result).collect()
        };
        out.extend(found.into_iter().map(ChatEvent::Citation));
    }
}
