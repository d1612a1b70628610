//! Every wire there is: the table of contents.
//!
//! A vendor of a shared dialect is a row of the catalog and not listed here. A vendor with a wire
//! of its own is one file below this room and one line below.

use std::sync::Arc;

pub mod anthropic;
pub mod cohere;
pub mod gemini;
pub mod ollama;
pub mod sandbox;

use crate::{
    clock::Clock,
    dialect::{
        exchange::{Refuse, Upstream},
        openai::{self, OpenAi},
        openai_chat::OpenAiChat,
        openai_responses::OpenAiResponses,
    },
    provider::{Provider, ProviderRow},
    transport::Http,
};

/// What an adapter is built from.
pub struct Setup {
    pub http: Http,
    pub clock: Clock,
}

impl Setup {
    /// The questions of a wire that says no in the words that `refuse` reads.
    fn upstream(&self, refuse: Refuse) -> Upstream {
        Upstream::new(self.http.clone(), self.clock.clone(), refuse)
    }
}

type Build = fn(&Setup, &ProviderRow) -> Arc<dyn Provider>;

/// The `dialect` of a row, and what speaks it.
const ENTRIES: &[(&str, Build)] = &[
    ("openai_chat", |setup, row| {
        Arc::new(OpenAiChat::new(openai_api(setup, row), row.openai_chat.clone()))
    }),
    ("openai_responses", |setup, row| {
        Arc::new(OpenAiResponses::new(openai_api(setup, row), row.openai_responses.clone()))
    }),
    ("anthropic", |setup, _| Arc::new(anthropic::Anthropic::new(setup))),
    ("gemini", |setup, _| Arc::new(gemini::Gemini::new(setup))),
    ("cohere", |setup, _| Arc::new(cohere::Cohere::new(setup))),
    ("ollama", |setup, _| Arc::new(ollama::Ollama::new(setup))),
    ("sandbox", |setup, _| Arc::new(sandbox::Sandbox::new(setup.clock.clone()))),
];

fn openai_api(setup: &Setup, row: &ProviderRow) -> OpenAi {
    OpenAi { upstream: setup.upstream(openai::failure::of_reply), quirks: row.openai.clone() }
}

/// The adapter that speaks `dialect` to the provider of a row.
pub fn build(setup: &Setup, dialect: &str, row: &ProviderRow) -> Result<Arc<dyn Provider>, String> {
    match ENTRIES.iter().find(|(name, _)| *name == dialect) {
        Some((_, build)) => Ok(build(setup, row)),
        None => {
            let known: Vec<_> = ENTRIES.iter().map(|(dialect, _)| *dialect).collect();
            Err(format!("dialect {dialect:?} is not one of {}", known.join(", ")))
        }
    }
}
