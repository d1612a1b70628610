//! One answer: asks, shows it as it comes, and tells whether it is whole.
//!
//! The text goes to stdout, everything else to stderr.

use futures::TryStreamExt as _;
use mediary_proto::v1::{
    self, FinishReason, GenerateTextResponse, part, reasoning_delta::Content, text_event::Kind,
};

use crate::{
    Answer, Client, TextRequest,
    cli::{
        json,
        out::{Out, Tone},
        problem::Problem,
    },
};

/// How answers are asked for and shown.
pub(super) struct Turn<'a> {
    pub(super) client: &'a Client,
    pub(super) out: &'a Out,
    pub(super) url: &'a str,
    pub(super) stream: bool,
    pub(super) reasoning: bool,
    pub(super) usage: bool,
}

/// What is on the screen.
#[derive(Default)]
struct Screen {
    thinking: bool,
    open_line: bool,
}

impl Turn<'_> {
    /// Asks once; with `-o json` the object is printed whether the answer is whole or not.
    pub(super) async fn once(&self, request: TextRequest) -> Result<(), Problem> {
        let (response, end) = self.ask(request).await;
        if self.out.is_json() {
            self.out.json(&json::answer(response, end.as_ref().err()))?;
        }
        end
    }

    /// Asks, and gives what arrived; it is whole only if the second part is fine.
    pub(super) async fn ask(
        &self,
        request: TextRequest,
    ) -> (GenerateTextResponse, Result<(), Problem>) {
        let mut screen = Screen::default();
        let mut response = GenerateTextResponse::default();
        let answered = tokio::select! {
            biased;
            Ok(()) = tokio::signal::ctrl_c() => Err(Problem::Interrupted),
            answered = self.receive(request, &mut response, &mut screen) => answered,
        };
        let closed = self.close(&mut screen);
        self.remark(&response);
        let end = answered.and(closed).and_then(|()| whole(&response));
        (response, end)
    }

    async fn receive(
        &self,
        request: TextRequest,
        response: &mut GenerateTextResponse,
        screen: &mut Screen,
    ) -> Result<(), Problem> {
        if self.stream {
            let mut answer = Answer::default();
            let end = self.follow(request, &mut answer, screen).await;
            *response = answer.into_response();
            return end;
        }
        *response = self.client.generate(request).await?;
        self.show_whole(response, screen)
    }

    async fn follow(
        &self,
        request: TextRequest,
        answer: &mut Answer,
        screen: &mut Screen,
    ) -> Result<(), Problem> {
        let mut events = self.client.stream(request).await?;
        while let Some(event) = events.try_next().await? {
            answer.add(&event);
            self.show(&event, screen)?;
        }
        Ok(())
    }

    fn show(&self, event: &v1::TextEvent, screen: &mut Screen) -> Result<(), Problem> {
        match &event.kind {
            Some(Kind::TextDelta(delta)) => self.show_text(&delta.text, screen),
            Some(Kind::ReasoningDelta(v1::ReasoningDelta {
                content: Some(Content::Text(text)),
                ..
            })) => {
                self.show_reasoning(text, screen);
                Ok(())
            }
            Some(Kind::Notice(notice)) => {
                self.out.note(Tone::Aside, &notice.detail);
                Ok(())
            }
            Some(Kind::Restarted(restarted)) => {
                let closed = self.close(screen);
                self.out.note(Tone::Warning, &format!("starting over: {}", restarted.reason));
                closed
            }
            _ => Ok(()),
        }
    }

    fn show_whole(
        &self,
        response: &GenerateTextResponse,
        screen: &mut Screen,
    ) -> Result<(), Problem> {
        for part in response.message.iter().flat_map(|message| &message.parts) {
            match &part.kind {
                Some(part::Kind::Text(text)) => self.show_text(text, screen)?,
                Some(part::Kind::Reasoning(reasoning)) => {
                    self.show_reasoning(&reasoning.text, screen);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn show_text(&self, text: &str, screen: &mut Screen) -> Result<(), Problem> {
        if self.out.is_json() || text.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut screen.thinking) {
            self.out.note(Tone::Aside, "\n");
        }
        screen.open_line = !text.ends_with('\n');
        self.out.text(text)
    }

    fn show_reasoning(&self, text: &str, screen: &mut Screen) {
        if self.reasoning && !text.is_empty() {
            screen.thinking = true;
            self.out.aside(Tone::Aside, text);
        }
    }

    /// Ends the line that is being written.
    fn close(&self, screen: &mut Screen) -> Result<(), Problem> {
        if std::mem::take(&mut screen.thinking) {
            self.out.note(Tone::Aside, "");
        }
        if std::mem::take(&mut screen.open_line) { self.out.text("\n") } else { Ok(()) }
    }

    /// Says what is worth knowing besides the text.
    fn remark(&self, response: &GenerateTextResponse) {
        for warning in &response.warnings {
            self.out.note(Tone::Warning, &format!("warning: {}", warning.detail));
        }
        if !response.refusal.is_empty() {
            self.out.note(Tone::Warning, &format!("declined: {}", response.refusal));
        }
        if self.usage && !response.model.is_empty() {
            self.out.note(Tone::Aside, &usage_line(response));
        }
    }
}

/// Whether the answer is all that the model had to say.
fn whole(response: &GenerateTextResponse) -> Result<(), Problem> {
    let why = match response.finish_reason() {
        FinishReason::Length => "the answer is cut: the output limit or the context was used up",
        FinishReason::ContentFilter => "the answer was declined or cut for safety",
        FinishReason::Cancelled => "the answer was stopped",
        FinishReason::TimeLimit => "the answer is cut: a time limit of the provider was met",
        FinishReason::Stop
        | FinishReason::ToolCalls
        | FinishReason::Other
        | FinishReason::Unspecified => return Ok(()),
    };
    Err(Problem::Cut(why.to_owned()))
}

/// An answer's model, tokens, cost and times.
pub(in crate::cli) fn usage_line(response: &GenerateTextResponse) -> String {
    let mut facts = vec![response.model.clone()];
    if let Some(usage) = &response.usage {
        facts.push(format!("{} tokens in", usage.input_tokens));
        facts.push(match usage.reasoning_tokens {
            Some(thought) => format!("{} out ({thought} thinking)", usage.output_tokens),
            None => format!("{} out", usage.output_tokens),
        });
    }
    facts.push(cost(response.cost_pico_usd));
    if let Some(first) = seconds(response.first_token_duration.as_ref()) {
        facts.push(format!("first token {first:.2} s"));
    }
    if let Some(total) = seconds(response.total_duration.as_ref()) {
        facts.push(format!("{total:.2} s"));
    }
    facts.join(" | ")
}

fn cost(pico_usd: i64) -> String {
    match pico_usd {
        0 => "no cost known".to_owned(),
        // 1e-12 USD; a token may cost less than a millionth of a USD.
        cost => format!("${:.6}", cost as f64 / 1e12),
    }
}

fn seconds(duration: Option<&prost_types::Duration>) -> Option<f64> {
    duration.map(|one| one.seconds as f64 + f64::from(one.nanos) / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_line_tells_model_tokens_cost_and_times() {
        let response = GenerateTextResponse {
            model: "providers/openai/models/gpt-x".into(),
            usage: Some(v1::TokenUsage {
                input_tokens: 12,
                output_tokens: 34,
                reasoning_tokens: Some(5),
                ..Default::default()
            }),
            cost_pico_usd: 123_000_000,
            first_token_duration: Some(prost_types::Duration { seconds: 0, nanos: 250_000_000 }),
            total_duration: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
            ..Default::default()
        };
        assert_eq!(
            usage_line(&response),
            "providers/openai/models/gpt-x | 12 tokens in | 34 out (5 thinking) | $0.000123 | \
             first token 0.25 s | 1.50 s"
        );
    }

    #[test]
    fn an_answer_that_met_a_limit_is_not_whole() {
        let finish_reason = FinishReason::Length.into();
        let response = GenerateTextResponse { finish_reason, ..Default::default() };
        assert!(matches!(whole(&response), Err(Problem::Cut(_))));
    }
}
