//! Every answer is accounted for: where the provider sends no numbers, they are estimated and
//! marked so.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use mediary_domain::{ChatCall, ChatEvent, Part, Result, TokenUsage, UsageSource};

use super::{ChatStream, ModelRow};

/// Bytes of text that make a token, on average over English prose and code.
const BYTES_PER_TOKEN: usize = 4;
/// Tokens of an image where nothing is known about it: the low end of what vendors charge.
const TOKENS_PER_IMAGE: i64 = 256;
/// Tokens of an answer whose length nobody has limited.
const USUAL_OUTPUT: i64 = 1_000;
/// What a message costs beside its text.
const TOKENS_PER_MESSAGE: i64 = 4;

/// Passes an answer on and adds an estimated usage before its end if none was reported.
pub fn accounted(answer: ChatStream, call: &ChatCall) -> ChatStream {
    Box::pin(Accounted {
        answer,
        input: estimate_input(call),
        written: 0,
        reported: false,
        held: None,
    })
}

/// What a call probably costs in input tokens.
pub fn estimate_input(call: &ChatCall) -> i64 {
    fn tokens(parts: &[Part]) -> i64 {
        parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => of_text(text.len()),
                Part::Image(_) => TOKENS_PER_IMAGE,
                Part::ToolCall(call) => of_text(call.tool_name.len() + call.arguments_json.len()),
                Part::ToolResult(result) => tokens(&result.parts),
                Part::Reasoning(reasoning) => of_text(reasoning.text.len()),
            })
            .sum()
    }
    let tools = call.parameters.tools.iter().map(|tool| {
        of_text(tool.tool_name.len() + tool.description.len() + tool.parameters_schema_json.len())
    });
    call.messages.iter().map(|one| TOKENS_PER_MESSAGE + tokens(&one.parts)).sum::<i64>()
        + tools.sum::<i64>()
}

/// What a call will probably use.
pub fn expected(model: &ModelRow, call: &ChatCall) -> TokenUsage {
    let output = call.parameters.max_output_tokens.unwrap_or(USUAL_OUTPUT);
    TokenUsage {
        input: estimate_input(call),
        output: output.min(model.max_output_tokens.unwrap_or(i64::MAX)),
        source: UsageSource::Estimated,
        ..TokenUsage::default()
    }
}

/// What an answer probably cost of which nobody reported anything.
pub fn estimated(input: i64, written: usize) -> TokenUsage {
    TokenUsage {
        input,
        output: of_text(written),
        source: UsageSource::Estimated,
        ..TokenUsage::default()
    }
}

/// Bytes of an event that the model wrote.
pub fn written(event: &ChatEvent) -> usize {
    match event {
        ChatEvent::Text { text, .. }
        | ChatEvent::Reasoning { text, .. }
        | ChatEvent::Refusal(text)
        | ChatEvent::ToolArguments { json: text, .. } => text.len(),
        _ => 0,
    }
}

/// What a text of so many bytes probably costs.
pub fn of_text(bytes: usize) -> i64 {
    i64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(i64::MAX)
}

/// How many bytes of text so many tokens probably are.
pub fn bytes_of(tokens: i64) -> usize {
    usize::try_from(tokens).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_TOKEN)
}

struct Accounted {
    answer: ChatStream,
    input: i64,
    written: usize,
    reported: bool,
    held: Option<ChatEvent>,
}

impl Stream for Accounted {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = self.held.take() {
            return Poll::Ready(Some(Ok(event)));
        }
        let Some(event) = ready!(self.answer.as_mut().poll_next(task)?) else {
            return Poll::Ready(None);
        };
        self.written += written(&event);
        match &event {
            ChatEvent::Usage(_) => self.reported = true,
            ChatEvent::Finished { .. } if !self.reported => {
                let usage = estimated(self.input, self.written);
                self.held = Some(event);
                return Poll::Ready(Some(Ok(ChatEvent::Usage(usage))));
            }
            _ => {}
        }
        Poll::Ready(Some(Ok(event)))
    }
}
