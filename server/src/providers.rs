//! Every wire there is: the table of contents.
//!
//! A vendor of a shared dialect is a row of the catalog and not listed here. A vendor with a wire
//! of its own is one file below this room and one line below.

use std::sync::Arc;

pub mod anthropic;
pub mod cohere;
pub mod gemini;
pub mod sandbox;

use crate::{
    clock::Clock,
    dialect::openai_chat::OpenAiChat,
    provider::{Provider, ProviderRow},
    transport::Http,
};

/// What an adapter is built from.
pub struct Setup {
    pub http: Http,
    pub clock: Clock,
}

type Build = fn(&Setup, &ProviderRow) -> Arc<dyn Provider>;

/// The `dialect` of a provider's row, and what speaks it.
const ENTRIES: &[(&str, Build)] = &[
    ("openai_chat", |setup, row| {
        let quirks = row.openai_chat.clone();
        Arc::new(OpenAiChat::new(setup.http.clone(), setup.clock.clone(), quirks))
    }),
    ("anthropic", |setup, _| {
        Arc::new(anthropic::Anthropic::new(setup.http.clone(), setup.clock.clone()))
    }),
    ("gemini", |setup, _| Arc::new(gemini::Gemini::new(setup.http.clone(), setup.clock.clone()))),
    ("cohere", |setup, _| Arc::new(cohere::Cohere::new(setup.http.clone(), setup.clock.clone()))),
    ("sandbox", |setup, _| Arc::new(sandbox::Sandbox::new(setup.clock.clone()))),
];

/// The adapter for a row.
pub fn build(setup: &Setup, row: &ProviderRow) -> Result<Arc<dyn Provider>, String> {
    match ENTRIES.iter().find(|(dialect, _)| *dialect == row.dialect) {
        Some((_, build)) => Ok(build(setup, row)),
        None => {
            let known: Vec<_> = ENTRIES.iter().map(|(dialect, _)| *dialect).collect();
            Err(format!("dialect {:?} is not one of {}", row.dialect, known.join(", ")))
        }
    }
}
