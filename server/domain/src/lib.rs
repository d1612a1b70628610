//! The nouns of Mediary.
//!
//! Owns: what a call, an answer, a usage, a price and a failure are, once they have been checked.
//! Leaves: where they come from (`service`), who serves them (`routing`, `providers`), how they
//! look on any wire. This crate knows nobody, so everybody may know it.

mod answer;
mod capability;
mod chat;
mod embed;
mod error;
mod inspection;
mod limits;
mod money;
mod target;
mod usage;

pub use answer::{Answer, AnswerPart, ChatEvent, Citation, FinishReason, PartKind, Warning};
pub use capability::{Capability, Kind as MediaKind};
pub use chat::{
    ChatCall, Image, Message, Parameter, Part, Reasoning, ReasoningOptions, ResponseFormat, Role,
    SetNevertheless, TextParameters, Tool, ToolCall, ToolChoice, ToolResult, UnsupportedPolicy,
};
pub use embed::{EmbedCall, EmbedOptions, Embedded};
pub use error::{Error, Kind, Resource, Result, Retry, Violation};
pub use inspection::{Inspection, LiveModel};
pub use limits::RateLimitReport;
pub use money::{PicoUsd, Price, PriceUnit, cost_of_tokens};
pub use target::Target;
pub use usage::{Billed, TokenUsage, UsageSource};
