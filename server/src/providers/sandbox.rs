//! The sandbox: a provider without a vendor, for trying everything around a model.
//!
//! Owns: what is answered to a call (which tools, which JSON, how much text) and how it ends.
//! Leaves: the caller's wishes (`options`), reading the call (`question`), made-up words (`words`),
//! values from JSON Schema (`example`), the stream and its pace (`play`), vectors (`embed`).
//! Invariant: the same request gives the same answer, token by token.

mod embed;
mod example;
mod options;
mod pattern;
mod play;
mod question;
mod schema;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use mediary_domain::{
    Capability, ChatCall, EmbedOptions, Embedded, Error, FinishReason, ResponseFormat, Result,
    TextParameters, Tool, ToolChoice,
};
use serde_json::{Value, json};

use self::{
    options::{Fail, Options},
    play::{Ending, Pace, Piece, Script, play},
    question::Question,
    words::{Words, tokens},
};
use crate::{
    clock::Clock,
    dialect::failure::{self, Class, refused},
    provider::{CallContext, ChatStream, Provider},
};

/// The model that always thinks first.
const REASONING_MODEL: &str = "sandbox-reasoning";
/// Longest answer of a model whose row names none.
const MAX_TOKENS: i64 = 8192;
/// Letters of a token: a word where there are spaces, a piece where there are none.
const WORD: usize = 16;
const JSON_PIECE: usize = 8;

pub struct Sandbox {
    clock: Clock,
}

impl Sandbox {
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }

    /// How the answer ends, and after how many tokens: whatever was asked for and comes first.
    fn ending(&self, cx: &CallContext, call: &ChatCall, options: &Options) -> (usize, Ending) {
        let fail = options.fail.as_ref().filter(|fail| self.strikes(fail, call));
        let fail = fail.map(|fail| (fail.after_tokens, Ending::Failed(failed(cx, fail))));
        let cut = options.cut_after.map(|after| (after, Ending::Cut));
        let hang = options.hang_after.map(|after| (after, Ending::Hang));
        let first = [fail, cut, hang].into_iter().flatten().min_by_key(|(after, _)| *after);
        first.unwrap_or((usize::MAX, Ending::Finished))
    }

    fn strikes(&self, fail: &Fail, call: &ChatCall) -> bool {
        let draw = match call.parameters.seed {
            _ if fail.rate >= 1.0 => 0.0,
            Some(seed) => Words::new(seed.cast_unsigned(), "fail").unit(),
            None => self.clock.chance(),
        };
        draw < fail.rate
    }
}

#[async_trait]
impl Provider for Sandbox {
    fn offers(&self) -> &[Capability] {
        &[Capability::TextToText, Capability::ImageToText, Capability::TextEmbedding]
    }

    async fn embed(
        &self,
        cx: &CallContext,
        texts: &[String],
        options: &EmbedOptions,
    ) -> Result<Embedded> {
        Ok(embed::embed(cx, texts, options))
    }

    async fn count_tokens(&self, _: &CallContext, call: &ChatCall) -> Result<i64> {
        Ok(Question::of(call).tokens())
    }

    async fn chat(&self, cx: &CallContext, call: &ChatCall) -> Result<ChatStream> {
        let options = Options::read(&cx.provider.id, &call.parameters)?;
        let (after, ending) = match self.ending(cx, call, &options) {
            (0, Ending::Failed(error)) => {
                if options.latency > Duration::ZERO {
                    tokio::time::sleep(options.latency).await;
                }
                return Err(error);
            }
            other => other,
        };
        let question = Question::of(call);
        let (pieces, finish) = answer(cx, &question, &options)?;
        Ok(play(Script {
            model: cx.model.provider_model_id.clone(),
            pieces,
            finish,
            after,
            ending,
            input_tokens: options.reports_usage.then(|| question.tokens()),
            pace: Pace { latency: options.latency, token_gap: options.token_gap },
        }))
    }
}

/// The failure that was asked for, as any vendor's would look: with a status where it comes in
/// place of an answer, without one inside a stream.
fn failed(cx: &CallContext, fail: &Fail) -> Error {
    let status = match fail.class {
        Class::Authentication => StatusCode::UNAUTHORIZED,
        Class::Permission => StatusCode::FORBIDDEN,
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::RateLimited | Class::QuotaExhausted => StatusCode::TOO_MANY_REQUESTS,
        Class::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        Class::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Class::Redirect => StatusCode::TEMPORARY_REDIRECT,
        Class::ServerError | Class::Misconfigured | Class::Cancelled => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        Class::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Class::InvalidRequest
        | Class::Parameter
        | Class::ContextLength
        | Class::ContentFilter
        | Class::ModelOutput => StatusCode::BAD_REQUEST,
    };
    let words = failure::Words {
        message: "this failure was asked for by the option fail".to_owned(),
        kind: fail.class.as_str().to_owned(),
        ..failure::Words::default()
    };
    let status = (fail.after_tokens == 0).then_some(status);
    refused(cx, fail.class, status, words, fail.retry_after)
}

/// What is answered, token by token, and why it stops there.
fn answer(
    cx: &CallContext,
    question: &Question<'_>,
    options: &Options,
) -> Result<(Vec<Piece>, FinishReason)> {
    let parameters = question.parameters();
    let own = cx.model.max_output_tokens.unwrap_or(MAX_TOKENS);
    let most = parameters.max_output_tokens.map_or(own, |asked| asked.min(own));
    let most = usize::try_from(most).unwrap_or(0);
    let seed = parameters.seed.map_or_else(|| question.hash(), i64::cast_unsigned);

    let mut pieces = thoughts(cx, parameters, seed);
    let tools = if options.text.is_some() { Vec::new() } else { tools(question) };
    let mut finish = FinishReason::ToolCalls;
    for (nth, (index, tool)) in tools.iter().enumerate() {
        let call_id = format!("call_{}_{:012x}", nth + 1, question.hash() >> 16);
        pieces.push(Piece::ToolCall { call_id, tool_name: tool.tool_name.clone() });
        let mut words = Words::new(seed.wrapping_add(nth as u64), "arguments");
        let json = arguments(*index, tool, &mut words)?.to_string();
        pieces.extend(tokens(&json, JSON_PIECE).map(|piece| Piece::Arguments(piece.to_owned())));
    }
    if tools.is_empty() {
        finish = FinishReason::Stop;
        let is_prose = matches!(parameters.response_format, ResponseFormat::Text);
        let text = text(question, options, most, seed)?;
        let text = before_stop(&text, &parameters.stop);
        let piece = if is_prose { WORD } else { JSON_PIECE };
        pieces.extend(tokens(text, piece).map(|token| Piece::Text(token.to_owned())));
    }
    let is_cut = play::limit(&mut pieces, most);
    Ok((pieces, if is_cut { FinishReason::Length } else { finish }))
}

/// The thinking before the answer, and the state that goes with it.
fn thoughts(cx: &CallContext, parameters: &TextParameters, seed: u64) -> Vec<Piece> {
    let (effort, budget) = match &parameters.reasoning {
        Some(asked) => (asked.effort.as_deref(), asked.budget_tokens),
        None => (None, None),
    };
    let is_off = effort == Some("none") || budget == Some(0);
    let is_asked = effort.is_some() || budget.is_some();
    if is_off || !(is_asked || cx.model.provider_model_id == REASONING_MODEL) {
        return Vec::new();
    }
    let sentences = match effort {
        Some("minimal") => 1,
        Some("low") => 2,
        Some("high") => 5,
        _ => 3,
    };
    let mut text = "The sandbox pretends to think.".to_owned();
    Words::new(seed, "reasoning").sentences(sentences, &mut text);
    let most = budget.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(0));
    let thoughts = tokens(&text, WORD).take(most).map(|token| Piece::Reasoning(token.to_owned()));
    let state = Bytes::copy_from_slice(&Words::new(seed, "state").next().to_be_bytes());
    thoughts.chain([Piece::ReasoningState(state)]).collect()
}

/// The tools that are called now, with their places in the request; none once they have answered.
fn tools<'a>(question: &Question<'a>) -> Vec<(usize, &'a Tool)> {
    let parameters = question.parameters();
    let all = parameters.tools.iter().enumerate();
    if !question.results().is_empty() {
        return Vec::new();
    }
    match &parameters.tool_choice {
        ToolChoice::None => Vec::new(),
        ToolChoice::Tool(name) => all.filter(|(_, tool)| tool.tool_name == *name).collect(),
        ToolChoice::Auto | ToolChoice::Required => {
            let most = if parameters.parallel_tool_calls == Some(true) { 2 } else { 1 };
            all.take(most).collect()
        }
    }
}

fn arguments(index: usize, tool: &Tool, words: &mut Words) -> Result<Value> {
    if tool.parameters_schema_json.is_empty() {
        return Ok(json!({}));
    }
    let field = format!("parameters.tools[{index}].parameters_schema_json");
    example::object(&field, &tool.parameters_schema_json, words)
}

fn text(question: &Question<'_>, options: &Options, most: usize, seed: u64) -> Result<String> {
    if let Some(text) = &options.text {
        return Ok(text.clone());
    }
    let mut words = Words::new(seed, "text");
    // One more than may be said, so that the limit is noticed.
    let wanted = options.tokens.map(|wanted| wanted.min(most.saturating_add(1)));
    match &question.parameters().response_format {
        ResponseFormat::Text => Ok(question.reply(&mut words, wanted)),
        ResponseFormat::Json => {
            Ok(json!({ "answer": question.reply(&mut words, wanted), "sandbox": true }).to_string())
        }
        ResponseFormat::JsonSchema { schema_json, .. } => {
            let field = "parameters.response_format.json_schema.schema_json";
            Ok(example::any(field, schema_json, &mut words)?.to_string())
        }
    }
}

fn before_stop<'a>(text: &'a str, stop: &[String]) -> &'a str {
    let first = stop.iter().filter_map(|stop| text.find(stop.as_str())).min();
    &text[..first.unwrap_or(text.len())]
}
