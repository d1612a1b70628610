//! Plays an answer: its events, at the pace and to the end that was asked for.
//!
//! Owns: part numbers, the count of what was sent, waiting. Leaves: what is said (`sandbox`).
//! Without a pace nothing waits and no timer is made; a stream that is dropped is gone.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use mediary_domain::{ChatEvent, Error, FinishReason, Kind, PartKind, TokenUsage, UsageSource};
use tokio::time::Sleep;

use crate::{
    dialect::parts::{Parts, Queue},
    provider::ChatStream,
};

/// A step of an answer; each is one token, except the reasoning's state.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Reasoning(String),
    ReasoningState(Bytes),
    Text(String),
    ToolCall { call_id: String, tool_name: String },
    Arguments(String),
}

impl Piece {
    fn is_token(&self) -> bool {
        !matches!(self, Self::ReasoningState(_))
    }
}

#[derive(Debug)]
pub(super) enum Ending {
    Finished,
    /// The connection is lost.
    Cut,
    /// Nothing more comes, for ever.
    Hang,
    Failed(Error),
}

pub(super) struct Pace {
    /// Before the first token.
    pub(super) latency: Duration,
    /// From one token to the next; `None` = as fast as they are taken.
    pub(super) token_gap: Option<Duration>,
}

pub(super) struct Script {
    pub(super) model: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) finish: FinishReason,
    /// The ending comes after this many tokens, or with the last one.
    pub(super) after: usize,
    pub(super) ending: Ending,
    /// `None` = no usage is reported.
    pub(super) input_tokens: Option<i64>,
    pub(super) pace: Pace,
}

/// Keeps the first `most` tokens; says whether there were more.
pub(super) fn limit(pieces: &mut Vec<Piece>, most: usize) -> bool {
    let mut count = 0;
    let end = pieces.iter().position(|piece| {
        count += usize::from(piece.is_token());
        count > most
    });
    if let Some(end) = end {
        pieces.truncate(end);
    }
    end.is_some()
}

pub(super) fn play(script: Script) -> ChatStream {
    let Script { model, pieces, finish, after, ending, input_tokens, pace } = script;
    Box::pin(async_stream::stream! {
        let mut said = Said::default();
        let mut timer = Timer::start(&pace).await;
        yield Ok(ChatEvent::Model(model));
        for piece in pieces {
            if piece.is_token() {
                if said.tokens == after {
                    break;
                }
                if said.tokens > 0 {
                    timer.next_token().await;
                }
            }
            said.say(piece);
            while let Some(event) = said.queue.pop_front() {
                yield Ok(event);
            }
        }
        match ending {
            Ending::Finished => {
                said.end(finish, input_tokens);
                while let Some(event) = said.queue.pop_front() {
                    yield Ok(event);
                }
            }
            Ending::Cut => yield Err(Error::new(
                Kind::UpstreamTruncated,
                "the provider's answer ended before it was complete",
            )),
            Ending::Failed(error) => yield Err(error),
            Ending::Hang => std::future::pending().await,
        }
    })
}

/// What was said so far.
#[derive(Default)]
struct Said {
    parts: Parts,
    queue: Queue,
    tool: Option<u32>,
    tokens: usize,
    thought: usize,
}

impl Said {
    fn say(&mut self, piece: Piece) {
        let queue = &mut self.queue;
        self.tokens += usize::from(piece.is_token());
        match piece {
            Piece::Reasoning(text) => {
                self.thought += 1;
                self.parts.reasoning(text, queue);
            }
            Piece::ReasoningState(state) => {
                let part = self.parts.flow(PartKind::Reasoning, queue);
                queue.push_back(ChatEvent::ReasoningState { part, state });
            }
            Piece::Text(text) => self.parts.text(text, queue),
            Piece::ToolCall { call_id, tool_name } => {
                self.parts.close_all(queue);
                self.tool = Some(self.parts.open_tool(call_id, tool_name, queue));
            }
            Piece::Arguments(json) => {
                if let Some(part) = self.tool {
                    queue.push_back(ChatEvent::ToolArguments { part, json });
                }
            }
        }
    }

    fn end(&mut self, reason: FinishReason, input_tokens: Option<i64>) {
        self.parts.close_all(&mut self.queue);
        let count = |tokens: usize| i64::try_from(tokens).unwrap_or(i64::MAX);
        if let Some(input) = input_tokens {
            self.queue.push_back(ChatEvent::Usage(TokenUsage {
                input,
                output: count(self.tokens),
                reasoning: (self.thought > 0).then_some(count(self.thought)),
                source: UsageSource::Reported,
                ..TokenUsage::default()
            }));
        }
        let native = match reason {
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
            FinishReason::Stop | FinishReason::ContentFilter | FinishReason::Other => "stop",
        };
        self.queue.push_back(ChatEvent::Finished { reason, native: native.to_owned() });
    }
}

/// One timer for a whole answer. Each token is due a gap after the one before was due, not after
/// it was taken, so that the pace holds on average however coarse the timer is.
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    gap: Duration,
}

impl Timer {
    async fn start(pace: &Pace) -> Self {
        let waits = pace.latency > Duration::ZERO || pace.token_gap.is_some();
        let mut sleep = waits.then(|| Box::pin(tokio::time::sleep(pace.latency)));
        if let Some(sleep) = &mut sleep {
            sleep.as_mut().await;
        }
        let gap = pace.token_gap.unwrap_or_default();
        Self { sleep: sleep.filter(|_| pace.token_gap.is_some()), gap }
    }

    async fn next_token(&mut self) {
        if let Some(sleep) = &mut self.sleep {
            let due = sleep.deadline() + self.gap;
            sleep.as_mut().reset(due);
            sleep.as_mut().await;
        }
    }
}
