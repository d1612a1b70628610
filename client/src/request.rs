//! Short ways to say what is wanted. Plain contract messages work everywhere as well.

use std::collections::BTreeMap;

use crate::v1;

/// A conversation to answer, in either way.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct TextRequest {
    /// Who answers. None = the default of the server.
    pub target: Option<v1::ModelTarget>,
    /// The conversation so far, oldest first.
    pub messages: Vec<v1::Message>,
    /// How to answer.
    pub parameters: v1::TextParameters,
    /// Labels for usage reports.
    pub labels: BTreeMap<String, String>,
    /// Makes the call safe to repeat. Empty = the client makes one up.
    pub request_id: String,
}

impl TextRequest {
    /// A conversation with `target`, still empty.
    pub fn new(target: v1::ModelTarget) -> Self {
        Self { target: Some(target), ..Self::default() }
    }

    /// Adds instructions.
    pub fn system(self, text: impl Into<String>) -> Self {
        self.message(message::system(text))
    }

    /// Adds something that the user says.
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(message::user(text))
    }

    /// Adds a turn.
    pub fn message(mut self, message: v1::Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Sets randomness, 0 to 2.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.parameters.temperature = Some(temperature);
        self
    }

    /// Sets the most tokens of the answer.
    pub fn max_output_tokens(mut self, tokens: i64) -> Self {
        self.parameters.max_output_tokens = Some(tokens);
        self
    }

    /// Asks `targets` side by side in place of its own.
    pub fn compare(
        mut self,
        targets: impl IntoIterator<Item = v1::ModelTarget>,
    ) -> v1::CompareTextRequest {
        let labels = std::mem::take(&mut self.labels);
        let request_id = std::mem::take(&mut self.request_id);
        let (_, messages, parameters) = self.parts();
        let members = targets
            .into_iter()
            .map(|target| v1::CompareMember { target: Some(target), parameters: None });
        let members = members.collect();
        v1::CompareTextRequest { members, messages, parameters, labels, request_id }
    }

    fn parts(self) -> (Option<v1::ModelTarget>, Vec<v1::Message>, Option<v1::TextParameters>) {
        let parameters = Some(self.parameters).filter(|one| *one != v1::TextParameters::default());
        (self.target, self.messages, parameters)
    }
}

impl From<TextRequest> for v1::GenerateTextRequest {
    fn from(mut request: TextRequest) -> Self {
        let labels = std::mem::take(&mut request.labels);
        let request_id = std::mem::take(&mut request.request_id);
        let (target, messages, parameters) = request.parts();
        Self { target, messages, parameters, labels, request_id }
    }
}

impl From<TextRequest> for v1::StreamTextRequest {
    fn from(mut request: TextRequest) -> Self {
        let labels = std::mem::take(&mut request.labels);
        let request_id = std::mem::take(&mut request.request_id);
        let (target, messages, parameters) = request.parts();
        Self { target, messages, parameters, labels, request_id, ..Self::default() }
    }
}

/// Who shall answer.
pub mod target {
    use crate::v1::{AutoTarget, ModelTarget, model_target::Target};

    /// This model: its resource name, or an id or alias that is unique.
    pub fn model(name: impl Into<String>) -> ModelTarget {
        target(Target::Model(name.into()))
    }

    /// The members of a preset.
    pub fn preset(name: impl Into<String>) -> ModelTarget {
        target(Target::Preset(name.into()))
    }

    /// The models of a task.
    pub fn route(task: impl Into<String>) -> ModelTarget {
        target(Target::Route(task.into()))
    }

    /// The default of what is asked.
    pub fn auto() -> ModelTarget {
        target(Target::Auto(AutoTarget::default()))
    }

    fn target(target: Target) -> ModelTarget {
        ModelTarget { target: Some(target), ..ModelTarget::default() }
    }
}

/// Turns of a conversation.
pub mod message {
    use crate::v1::{Message, MessageRole, Part, part::Kind};

    /// Instructions that stand above the conversation.
    pub fn system(text: impl Into<String>) -> Message {
        of(MessageRole::System, [Kind::Text(text.into())])
    }

    /// What the user says.
    pub fn user(text: impl Into<String>) -> Message {
        of(MessageRole::User, [Kind::Text(text.into())])
    }

    /// What the model said.
    pub fn assistant(text: impl Into<String>) -> Message {
        of(MessageRole::Assistant, [Kind::Text(text.into())])
    }

    /// A turn of any parts.
    pub fn of(role: MessageRole, kinds: impl IntoIterator<Item = Kind>) -> Message {
        let parts = kinds.into_iter().map(|kind| Part { kind: Some(kind) }).collect();
        Message { role: role.into(), parts }
    }
}
