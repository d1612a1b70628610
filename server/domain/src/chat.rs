//! A question to a language model, checked and ready to be translated.

use bytes::Bytes;

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

#[derive(Clone, Debug, Default)]
pub struct TextParameters {
    pub max_output_tokens: Option<i64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<i64>,
    pub seed: Option<i64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub stop: Vec<String>,
    pub reasoning: Option<ReasoningOptions>,
    pub response_format: ResponseFormat,
    pub tools: Vec<Tool>,
    pub tool_choice: ToolChoice,
    pub parallel_tool_calls: Option<bool>,
    pub unsupported: UnsupportedPolicy,
    /// JSON object for the provider that runs, by provider id; merged into the request body last.
    pub provider_options: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default)]
pub struct ReasoningOptions {
    /// `minimal`, `low`, `medium`, `high`, ...; `None` = the model's own.
    pub effort: Option<String>,
    pub budget_tokens: Option<i64>,
    /// Whether the caller wants to see it.
    pub include: bool,
}

#[derive(Clone, Debug, Default)]
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

#[derive(Clone, Debug)]
pub struct Tool {
    pub tool_name: String,
    pub description: String,
    /// JSON Schema of the arguments as text, key order kept.
    pub parameters_schema_json: String,
    pub strict: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    #[default]
    Auto,
    None,
    Required,
    Tool(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnsupportedPolicy {
    /// A parameter that the model cannot honour fails the call.
    #[default]
    Reject,
    /// It is left out and named in the answer's warnings.
    Drop,
}

/// A parameter that a provider or a model may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
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
