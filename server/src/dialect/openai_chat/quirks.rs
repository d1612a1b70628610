//! What a vendor of this dialect does differently; the `[openai_chat]` table of its row.

use mediary_domain::Parameter;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// The field that limits the answer.
    pub max_tokens_field: MaxTokensField,
    pub seed_field: SeedField,
    /// The role that system messages are sent with.
    pub system_role: SystemRole,
    /// Whether `stream_options.include_usage` may be sent.
    pub stream_options: bool,
    /// Parameters that the vendor refuses, whatever the model.
    pub refuses: Vec<Parameter>,
    /// Whether `top_k` is taken; OpenAI itself has none.
    pub accepts_top_k: bool,
    pub reasoning_effort: ReasoningEffort,
    /// How reasoning of earlier turns goes back.
    pub reasoning_history: ReasoningHistory,
    pub tool_call_id: ToolCallId,
    /// The word for "some tool must be called".
    pub tool_choice_required: RequiredWord,
    /// The text itself carries `<think>...</think>`.
    pub think_tags: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            max_tokens_field: MaxTokensField::MaxCompletionTokens,
            seed_field: SeedField::Seed,
            system_role: SystemRole::System,
            stream_options: true,
            refuses: Vec::new(),
            accepts_top_k: false,
            reasoning_effort: ReasoningEffort::Field,
            reasoning_history: ReasoningHistory::Drop,
            tool_call_id: ToolCallId::Any,
            tool_choice_required: RequiredWord::Required,
            think_tags: false,
        }
    }
}

impl Quirks {
    /// Every parameter that a call to this vendor may not use.
    pub fn refused(&self) -> Vec<Parameter> {
        let mut refused = self.refuses.clone();
        if !self.accepts_top_k {
            refused.push(Parameter::TopK);
        }
        if self.reasoning_effort == ReasoningEffort::None {
            refused.push(Parameter::Reasoning);
        }
        refused
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    MaxTokens,
    MaxCompletionTokens,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SeedField {
    Seed,
    RandomSeed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    System,
    Developer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningEffort {
    /// `reasoning_effort: "low"`.
    Field,
    /// `reasoning: {effort, max_tokens}`.
    Object,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningHistory {
    Drop,
    ReasoningContent,
    Reasoning,
    /// `reasoning_details`, unchanged; `reasoning` where there are none.
    Details,
    /// The content becomes a list with a part of type `thinking`.
    ThinkingParts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolCallId {
    Any,
    /// Nine letters or digits; foreign ids are rewritten.
    Alnum9,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RequiredWord {
    Required,
    Any,
}
