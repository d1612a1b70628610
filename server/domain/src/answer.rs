//! What a model answers: events as they come, and the answer they add up to.

use bytes::Bytes;

use crate::{limits::RateLimitReport, usage::TokenUsage};

/// One step of an answer. Part indexes start at 0 and are never reused.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatEvent {
    /// The model name that the provider's answer carries.
    Model(String),
    Text {
        part: u32,
        text: String,
    },
    Reasoning {
        part: u32,
        text: String,
    },
    /// State that belongs to a reasoning part and goes back unchanged on the next turn.
    ReasoningState {
        part: u32,
        state: Bytes,
    },
    /// A tool call begins.
    ToolCall {
        part: u32,
        call_id: String,
        tool_name: String,
    },
    ToolArguments {
        part: u32,
        json: String,
    },
    PartDone {
        part: u32,
        kind: PartKind,
    },
    Citation(Citation),
    /// What the model said when it declined to answer; a piece of it.
    Refusal(String),
    /// What is left of the account's limits; once, before all others.
    Limits(RateLimitReport),
    /// Cumulative: the last one counts.
    Usage(TokenUsage),
    /// Always the last event. A stream that ends without it was cut.
    Finished {
        reason: FinishReason,
        /// The provider's own word; empty where it sent none.
        native: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    Text,
    Reasoning,
    ToolCall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    Other,
}

/// Where a piece of text comes from; offsets in code points of its part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Citation {
    pub part: u32,
    pub start: i64,
    pub end: i64,
    pub uri: String,
    pub title: String,
    pub cited_text: String,
}

/// Something that was changed or left out on the way to the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub code: &'static str,
    /// Path of the field in the request.
    pub field: String,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AnswerPart {
    Text(String),
    Reasoning { text: String, state: Bytes },
    ToolCall { call_id: String, tool_name: String, arguments_json: String },
}

/// The events of one answer, added up.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub parts: Vec<AnswerPart>,
    pub citations: Vec<Citation>,
    pub refusal: String,
    pub model: String,
    pub usage: Option<TokenUsage>,
    /// `None` until the terminal event has come.
    pub finished: Option<(FinishReason, String)>,
}

impl Answer {
    /// The pieces that it could have come in.
    pub fn into_events(self) -> Vec<ChatEvent> {
        let mut pieces = Vec::new();
        for (at, part) in self.parts.into_iter().enumerate() {
            let index = u32::try_from(at).unwrap_or(u32::MAX);
            let kind = match part {
                AnswerPart::Text(text) => {
                    pieces.push(ChatEvent::Text { part: index, text });
                    PartKind::Text
                }
                AnswerPart::Reasoning { text, state } => {
                    if !text.is_empty() {
                        pieces.push(ChatEvent::Reasoning { part: index, text });
                    }
                    if !state.is_empty() {
                        pieces.push(ChatEvent::ReasoningState { part: index, state });
                    }
                    PartKind::Reasoning
                }
                AnswerPart::ToolCall { call_id, tool_name, arguments_json } => {
                    pieces.push(ChatEvent::ToolCall { part: index, call_id, tool_name });
                    pieces.push(ChatEvent::ToolArguments { part: index, json: arguments_json });
                    PartKind::ToolCall
                }
            };
            pieces.push(ChatEvent::PartDone { part: index, kind });
        }
        pieces.extend(self.citations.into_iter().map(ChatEvent::Citation));
        pieces
    }

    pub fn add(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Model(model) => self.model = model,
            ChatEvent::Text { part, text } => {
                if let AnswerPart::Text(all) = self.part(part, || AnswerPart::Text(String::new())) {
                    all.push_str(&text);
                }
            }
            ChatEvent::Reasoning { part, text } => {
                if let AnswerPart::Reasoning { text: all, .. } = self.reasoning(part) {
                    all.push_str(&text);
                }
            }
            ChatEvent::ReasoningState { part, state } => {
                if let AnswerPart::Reasoning { state: all, .. } = self.reasoning(part) {
                    *all = [all.as_ref(), state.as_ref()].concat().into();
                }
            }
            ChatEvent::ToolCall { part, call_id, tool_name } => {
                self.part(part, || AnswerPart::ToolCall {
                    call_id,
                    tool_name,
                    arguments_json: String::new(),
                });
            }
            ChatEvent::ToolArguments { part, json } => {
                if let Some(AnswerPart::ToolCall { arguments_json, .. }) =
                    self.parts.get_mut(part as usize)
                {
                    arguments_json.push_str(&json);
                }
            }
            ChatEvent::PartDone { .. } | ChatEvent::Limits(_) => {}
            ChatEvent::Citation(citation) => self.citations.push(citation),
            ChatEvent::Refusal(text) => self.refusal.push_str(&text),
            ChatEvent::Usage(usage) => self.usage = Some(usage),
            ChatEvent::Finished { reason, native } => self.finished = Some((reason, native)),
        }
    }

    /// What it says, without what it thought and what it calls.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            AnswerPart::Text(text) => Some(text.as_str()),
            AnswerPart::Reasoning { .. } | AnswerPart::ToolCall { .. } => None,
        });
        texts.collect()
    }

    /// Whether it says anything.
    pub fn has_text(&self) -> bool {
        let says =
            |part: &AnswerPart| matches!(part, AnswerPart::Text(text) if !text.trim().is_empty());
        self.parts.iter().any(says)
    }

    fn reasoning(&mut self, index: u32) -> &mut AnswerPart {
        self.part(index, || AnswerPart::Reasoning { text: String::new(), state: Bytes::new() })
    }

    fn part(&mut self, index: u32, make: impl FnOnce() -> AnswerPart) -> &mut AnswerPart {
        let index = (index as usize).min(self.parts.len());
        if index == self.parts.len() {
            self.parts.push(make());
        }
        &mut self.parts[index]
    }
}
