//! What a vendor of this dialect does differently; the `[openai_responses]` table of its row.

use mediary_domain::Parameter;
use serde::{Deserialize, Serialize};

/// What this wire has no field for.
const ABSENT: [Parameter; 5] = [
    Parameter::Seed,
    Parameter::Stop,
    Parameter::TopK,
    Parameter::FrequencyPenalty,
    Parameter::PresencePenalty,
];

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// Parameters that the vendor refuses, whatever the model.
    pub refuses: Vec<Parameter>,
    /// Whether sealed thinking may be asked for: `include: ["reasoning.encrypted_content"]`.
    pub encrypted_reasoning: bool,
    /// Whether a summary of the thinking may be asked for.
    pub reasoning_summary: bool,
    /// Whether thinking that is not sealed goes back as text.
    pub reasoning_text_history: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            refuses: Vec::new(),
            encrypted_reasoning: true,
            reasoning_summary: true,
            reasoning_text_history: false,
        }
    }
}

impl Quirks {
    /// Every parameter that a call to this vendor may not use.
    pub fn refused(&self) -> Vec<Parameter> {
        ABSENT.into_iter().chain(self.refuses.iter().copied()).collect()
    }
}
