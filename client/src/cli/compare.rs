//! `compare`: several models answer the same, side by side.
//!
//! Each line of an answer goes to stdout behind the name of its member, as soon as it is whole;
//! everything else goes to stderr.

use clap::Args;
use futures::TryStreamExt as _;
use mediary_proto::v1::{self, compare_event, text_event::Kind};
use serde_json::{Value, json};

use super::{
    chat::{
        prompt::{self, Prompt},
        turn::usage_line,
    },
    global::Output,
    json,
    out::{Out, Tone},
    problem::Problem,
};
use crate::{Answer, Client, Error, TextRequest, target};

/// Options of `compare`.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// What to ask; what is piped in is added
    #[arg(value_name = "PROMPT")]
    prompt: Vec<String>,
    /// A model, such as sandbox-text; 2 to 8 of them
    #[arg(short, long = "model", value_name = "MODEL", required = true)]
    models: Vec<String>,
    /// Instructions that stand above the conversation
    #[arg(short, long, value_name = "TEXT")]
    system: Option<String>,
    /// Randomness, from 0 to 2
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f64>,
    /// Most tokens of each answer
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<i64>,
    /// Seed, to get the same answers again where the models can
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    seed: Option<i64>,
    /// Show model, tokens, cost and times of each answer, on stderr
    #[arg(long)]
    usage: bool,
}

/// One of those that are compared.
#[derive(Default)]
struct Member {
    /// What its lines begin with.
    tag: String,
    answer: Answer,
    /// What of its last line has come.
    line: String,
}

/// `compare`
pub(super) async fn run(client: &Client, out: &Out, args: CompareArgs) -> Result<(), Problem> {
    let Prompt::Once(text) = prompt::read(&args.prompt)? else {
        let message = "there is nothing to ask: name a prompt, or pipe one in".to_owned();
        return Err(Problem::Usage(message));
    };
    let mut members: Vec<Member> =
        tags(&args.models).into_iter().map(|tag| Member { tag, ..Member::default() }).collect();
    let request = args.request(text);
    let end = tokio::select! {
        biased;
        Ok(()) = tokio::signal::ctrl_c() => Err(Problem::Interrupted),
        end = follow(client, out, request, &mut members) => end,
    };
    if out.is_json() {
        print(out, &args.models, &members, end.as_ref().err())?;
    }
    for member in &members {
        member.remark(out, args.usage);
    }
    end?;
    let failed = members.iter().filter(|one| !one.answer.is_complete()).count();
    match failed {
        0 => Ok(()),
        _ => Err(Problem::Cut(format!("{failed} of {} did not answer", members.len()))),
    }
}

async fn follow(
    client: &Client,
    out: &Out,
    request: v1::CompareTextRequest,
    members: &mut [Member],
) -> Result<(), Problem> {
    let mut events = client.compare(request).await?;
    while let Some(event) = events.try_next().await? {
        let Some(compare_event::Kind::Member(v1::CompareMemberEvent {
            member,
            event: Some(event),
        })) = event.kind
        else {
            continue;
        };
        let member = usize::try_from(member).ok().and_then(|at| members.get_mut(at));
        let member = member.ok_or_else(|| Error::protocol("an event is of no member"))?;
        member.answer.add(&event);
        if !out.is_json() {
            member.show(out, &event)?;
        }
    }
    Ok(())
}

impl Member {
    fn show(&mut self, out: &Out, event: &v1::TextEvent) -> Result<(), Problem> {
        match &event.kind {
            Some(Kind::TextDelta(delta)) => self.line.push_str(&delta.text),
            Some(Kind::Notice(notice)) => {
                out.note(Tone::Aside, &format!("{}{}", self.tag, notice.detail));
            }
            Some(Kind::Restarted(restarted)) => {
                self.end_line(out)?;
                let note = format!("{}starting over: {}", self.tag, restarted.reason);
                out.note(Tone::Warning, &note);
            }
            Some(Kind::Finished(_) | Kind::Failed(_)) => return self.end_line(out),
            _ => {}
        }
        while let Some(end) = self.line.find('\n') {
            let line: String = self.line.drain(..=end).collect();
            out.text(&format!("{}{line}", self.tag))?;
        }
        Ok(())
    }

    fn end_line(&mut self, out: &Out) -> Result<(), Problem> {
        match std::mem::take(&mut self.line) {
            line if line.is_empty() => Ok(()),
            line => out.line(&format!("{}{line}", self.tag)),
        }
    }

    fn failure(&self) -> Option<Problem> {
        let status = self.answer.failed.as_ref()?.status.clone().unwrap_or_default();
        Some(Problem::Call(Error::from(status)))
    }

    /// Says what is worth knowing besides the text.
    fn remark(&self, out: &Out, usage: bool) {
        for warning in &self.answer.warnings {
            out.note(Tone::Warning, &format!("{}warning: {}", self.tag, warning.detail));
        }
        if let Some(Problem::Call(error)) = self.failure() {
            out.note(Tone::Bad, &format!("{}error: {}", self.tag, error.message()));
        }
        if usage && !self.answer.model.is_empty() {
            let line = usage_line(&self.answer.clone().into_response());
            out.note(Tone::Aside, &format!("{}{line}", self.tag));
        }
    }
}

/// One object with all answers; in lines, one for each.
fn print(
    out: &Out,
    targets: &[String],
    members: &[Member],
    problem: Option<&Problem>,
) -> Result<(), Problem> {
    let answers = members.iter().zip(targets).map(|(member, target)| {
        let failure = member.failure();
        let failure = if member.answer.is_complete() { None } else { failure.as_ref().or(problem) };
        let mut answer = json::answer(member.answer.clone().into_response(), failure);
        if let Value::Object(fields) = &mut answer {
            fields.insert("complete".to_owned(), member.answer.is_complete().into());
            fields.insert("target".to_owned(), target.as_str().into());
        }
        answer
    });
    let answers: Vec<Value> = answers.collect();
    if out.form == Output::Jsonl {
        return answers.iter().try_for_each(|answer| out.json(answer));
    }
    out.json(&json!({ "members": answers, "error": problem.map(Problem::json) }))
}

/// The names as they stand before the lines: of one width, and none twice.
fn tags(models: &[String]) -> Vec<String> {
    let names = models.iter().enumerate().map(|(at, model)| {
        match models[..at].iter().filter(|one| *one == model).count() {
            0 => model.clone(),
            before => format!("{model}#{}", before + 1),
        }
    });
    let names: Vec<String> = names.collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    names.iter().map(|name| format!("{name:width$} | ")).collect()
}

impl CompareArgs {
    fn request(&self, text: String) -> v1::CompareTextRequest {
        let mut request = TextRequest::default();
        if let Some(system) = &self.system {
            request = request.system(system);
        }
        request.parameters.temperature = self.temperature;
        request.parameters.max_output_tokens = self.max_tokens;
        request.parameters.seed = self.seed;
        request.user(text).compare(self.models.iter().map(target::model))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_before_the_lines_tell_twins_apart() {
        let tags = tags(&["a".to_owned(), "bcd".to_owned(), "a".to_owned()]);
        assert_eq!(tags, ["a   | ", "bcd | ", "a#2 | "]);
    }
}
