//! A question to a language model, checked and ready to be translated.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A conversation to be continued by one model. Cannot be wrong once built: `service::text`
/// checks it at the door.
#[derive(Clone, Debug)]
pub struct ChatCall {
    pub messages: Vec<Message>,
    pub parameters: TextParameters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub role: Role,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub enum Part {
    Text(String),
    Image(Image),
    ToolCall(ToolCall),
    ToolResult(ToolResult),
    Reasoning(Reasoning),
}

#[derive(Clone, Debug)]
pub struct Image {
    /// IANA media type, found from the content.
    pub media_type: String,
    pub content: Bytes,
}

#[derive(Clone, Debug)]
pub struct ToolCall {
    pub call_id: String,
    pub tool_name: String,
    /// A JSON object as text, exactly as the model wrote it.
    pub arguments_json: String,
}

#[derive(Clone, Debug)]
pub struct ToolResult {
    pub call_id: String,
    /// Text and images only.
    pub parts: Vec<Part>,
    pub is_error: bool,
}

/// What a model thought in an earlier turn.
#[derive(Clone, Debug)]
pub struct Reasoning {
    pub text: String,
    /// Signature or encrypted state that only `provider` understands.
    pub opaque_state: Bytes,
    /// Id of the provider that wrote it; it is given back to nobody else.
    pub provider: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextParameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ReasoningOptions>,
    pub response_format: ResponseFormat,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    pub tool_choice: ToolChoice,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    pub unsupported: UnsupportedPolicy,
    /// JSON object for the provider that runs, by provider id; merged into the request body last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provider_options: Vec<(String, String)>,
    /// Which of those with a default of their own the caller has set nevertheless.
    #[serde(skip)]
    pub set: SetNevertheless,
}

/// Settings whose default can be asked for by name, so that it wins over what a route keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetNevertheless {
    pub response_format: bool,
    pub tool_choice: bool,
    pub unsupported: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReasoningOptions {
    /// `minimal`, `low`, `medium`, `high`, ...; `None` = the model's own.
    pub effort: Option<String>,
    pub budget_tokens: Option<i64>,
    /// Whether the caller wants to see it.
    pub include: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ResponseFormat {
    #[default]
    Text,
    Json,
    JsonSchema {
        name: String,
        /// JSON Schema 2020-12 as text, key order kept.
        schema_json: String,
        strict: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    pub tool_name: String,
    #[serde(default)]
    pub description: String,
    /// JSON Schema of the arguments as text, key order kept.
    #[serde(default)]
    pub parameters_schema_json: String,
    #[serde(default)]
    pub strict: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    #[default]
    Auto,
    None,
    Required,
    Tool(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsupportedPolicy {
    /// A parameter that the model cannot honour fails the call.
    #[default]
    Reject,
    /// It is left out and named in the answer's warnings.
    Drop,
}

impl ToolChoice {
    /// The same if these tools allow for it.
    fn among(self, tools: &[Tool]) -> Self {
        let fits = match &self {
            Self::Auto | Self::None => true,
            Self::Required => !tools.is_empty(),
            Self::Tool(name) => tools.iter().any(|tool| tool.tool_name == *name),
        };
        if fits { self } else { Self::Auto }
    }
}

/// A parameter that a provider or a model may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parameter {
    Temperature,
    TopP,
    TopK,
    Seed,
    Stop,
    FrequencyPenalty,
    PresencePenalty,
    ParallelToolCalls,
    Tools,
    ToolChoice,
    JsonObject,
    JsonSchema,
    Images,
    Reasoning,
}

impl Parameter {
    /// Its field below `parameters` (or in the messages) as the contract names it.
    pub fn field(self) -> &'static str {
        match self {
            Self::Temperature => "parameters.temperature",
            Self::TopP => "parameters.top_p",
            Self::TopK => "parameters.top_k",
            Self::Seed => "parameters.seed",
            Self::Stop => "parameters.stop",
            Self::FrequencyPenalty => "parameters.frequency_penalty",
            Self::PresencePenalty => "parameters.presence_penalty",
            Self::ParallelToolCalls => "parameters.parallel_tool_calls",
            Self::Tools => "parameters.tools",
            Self::ToolChoice => "parameters.tool_choice",
            Self::JsonObject => "parameters.response_format.json",
            Self::JsonSchema => "parameters.response_format.json_schema",
            Self::Images => "messages.parts.asset",
            Self::Reasoning => "parameters.reasoning",
        }
    }
}

impl TextParameters {
    /// These, and where one is not set that of `kept`: a route's, or a preset's.
    #[must_use]
    pub fn or(self, kept: &Self) -> Self {
        let list =
            |own: Vec<String>, kept: &[String]| if own.is_empty() { kept.to_vec() } else { own };
        let tools = if self.tools.is_empty() { kept.tools.clone() } else { self.tools };
        let is_own_format =
            self.set.response_format || self.response_format != ResponseFormat::default();
        let is_own_choice = self.set.tool_choice || self.tool_choice != ToolChoice::default();
        let is_own_policy =
            self.set.unsupported || self.unsupported != UnsupportedPolicy::default();
        let mut provider_options = self.provider_options;
        for (provider, json) in &kept.provider_options {
            if !provider_options.iter().any(|(own, _)| own == provider) {
                provider_options.push((provider.clone(), json.clone()));
            }
        }
        Self {
            max_output_tokens: self.max_output_tokens.or(kept.max_output_tokens),
            temperature: self.temperature.or(kept.temperature),
            top_p: self.top_p.or(kept.top_p),
            top_k: self.top_k.or(kept.top_k),
            seed: self.seed.or(kept.seed),
            frequency_penalty: self.frequency_penalty.or(kept.frequency_penalty),
            presence_penalty: self.presence_penalty.or(kept.presence_penalty),
            stop: list(self.stop, &kept.stop),
            reasoning: self.reasoning.or_else(|| kept.reasoning.clone()),
            response_format: if is_own_format {
                self.response_format
            } else {
                kept.response_format.clone()
            },
            tool_choice: if is_own_choice {
                self.tool_choice
            } else {
                kept.tool_choice.clone().among(&tools)
            },
            tools,
            parallel_tool_calls: self.parallel_tool_calls.or(kept.parallel_tool_calls),
            unsupported: if is_own_policy { self.unsupported } else { kept.unsupported },
            provider_options,
            set: self.set,
        }
    }

    /// Which refusable parameters this call uses.
    pub fn used(&self) -> Vec<Parameter> {
        let mut used = Vec::new();
        let mut note = |is_used: bool, parameter| {
            if is_used {
                used.push(parameter);
            }
        };
        note(self.temperature.is_some(), Parameter::Temperature);
        note(self.top_p.is_some(), Parameter::TopP);
        note(self.top_k.is_some(), Parameter::TopK);
        note(self.seed.is_some(), Parameter::Seed);
        note(!self.stop.is_empty(), Parameter::Stop);
        note(self.frequency_penalty.is_some(), Parameter::FrequencyPenalty);
        note(self.presence_penalty.is_some(), Parameter::PresencePenalty);
        note(self.parallel_tool_calls.is_some(), Parameter::ParallelToolCalls);
        note(!self.tools.is_empty(), Parameter::Tools);
        let forced = matches!(self.tool_choice, ToolChoice::Required | ToolChoice::Tool(_));
        note(forced, Parameter::ToolChoice);
        match self.response_format {
            ResponseFormat::Text => {}
            ResponseFormat::Json => note(true, Parameter::JsonObject),
            ResponseFormat::JsonSchema { .. } => note(true, Parameter::JsonSchema),
        }
        let asks = |r: &ReasoningOptions| r.effort.is_some() || r.budget_tokens.is_some();
        note(self.reasoning.as_ref().is_some_and(asks), Parameter::Reasoning);
        used
    }

    /// Forgets one of them, as if the caller had not set it.
    pub fn forget(&mut self, parameter: Parameter) {
        match parameter {
            Parameter::Temperature => self.temperature = None,
            Parameter::TopP => self.top_p = None,
            Parameter::TopK => self.top_k = None,
            Parameter::Seed => self.seed = None,
            Parameter::Stop => self.stop.clear(),
            Parameter::FrequencyPenalty => self.frequency_penalty = None,
            Parameter::PresencePenalty => self.presence_penalty = None,
            Parameter::ParallelToolCalls => self.parallel_tool_calls = None,
            Parameter::Tools => self.tools.clear(),
            Parameter::ToolChoice => self.tool_choice = ToolChoice::Auto,
            Parameter::JsonObject | Parameter::JsonSchema => {
                self.response_format = ResponseFormat::Text;
            }
            Parameter::Reasoning => self.reasoning = None,
            // An image cannot be forgotten without changing the question.
            Parameter::Images => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str) -> Tool {
        Tool {
            tool_name: name.to_owned(),
            description: String::new(),
            parameters_schema_json: String::new(),
            strict: false,
        }
    }

    fn kept() -> TextParameters {
        TextParameters {
            max_output_tokens: Some(10),
            temperature: Some(0.5),
            stop: vec!["end".to_owned()],
            response_format: ResponseFormat::Json,
            tools: vec![tool("look")],
            tool_choice: ToolChoice::Tool("look".to_owned()),
            unsupported: UnsupportedPolicy::Drop,
            provider_options: vec![("a".to_owned(), "{}".to_owned())],
            ..TextParameters::default()
        }
    }

    #[test]
    fn what_is_not_set_is_taken_from_what_is_kept() {
        assert_eq!(TextParameters::default().or(&kept()), kept());
        let own = TextParameters {
            temperature: Some(0.0),
            provider_options: vec![("b".to_owned(), "{}".to_owned())],
            ..TextParameters::default()
        };
        let merged = own.or(&kept());
        assert_eq!((merged.temperature, merged.max_output_tokens), (Some(0.0), Some(10)));
        assert_eq!(merged.provider_options.len(), 2);
    }

    #[test]
    fn a_default_that_was_asked_for_wins_too() {
        let set = SetNevertheless { response_format: true, tool_choice: true, unsupported: true };
        let merged = TextParameters { set, ..TextParameters::default() }.or(&kept());
        assert_eq!(merged.response_format, ResponseFormat::Text);
        assert_eq!(merged.tool_choice, ToolChoice::Auto);
        assert_eq!(merged.unsupported, UnsupportedPolicy::Reject);
    }

    #[test]
    fn a_kept_choice_among_other_tools_is_none() {
        let own = TextParameters { tools: vec![tool("sing")], ..TextParameters::default() };
        assert_eq!(own.or(&kept()).tool_choice, ToolChoice::Auto);
    }
}
