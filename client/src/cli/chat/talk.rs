//! A conversation at the terminal, turn by turn.
//!
//! Keeps the whole history, sealed thinking included, so that the model can go on with it. A turn
//! that was stopped or failed is forgotten: half an answer would mislead the next one.

use std::{io, thread};

use mediary_proto::v1::part::Kind;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{prompt::user, turn::Turn};
use crate::{
    TextRequest,
    cli::{out::Tone, problem::Problem},
    target,
};

const HELP: &str = "/model NAME changes the model, /clear forgets the conversation, /quit leaves; \
                    Ctrl+C stops an answer, Ctrl+D leaves";

/// What a line asks for.
#[derive(Debug, PartialEq)]
enum Line<'a> {
    Nothing,
    Quit,
    Clear,
    Help,
    Model(&'a str),
    Say(&'a str),
}

/// Talks until the user leaves. `images` go with the first question.
pub(super) async fn talk(
    turn: &Turn<'_>,
    opening: TextRequest,
    mut images: Vec<Kind>,
) -> Result<(), Problem> {
    let out = turn.out;
    let mut request = opening.clone();
    let mut lines = lines();
    out.note(Tone::Aside, HELP);
    loop {
        out.aside(Tone::Fix, "> ");
        let line = tokio::select! {
            line = lines.recv() => line,
            Ok(()) = tokio::signal::ctrl_c() => {
                out.note(Tone::Aside, "\nCtrl+D or /quit leaves");
                continue;
            }
        };
        let Some(line) = line else { break };
        match understand(&line) {
            Line::Nothing => {}
            Line::Quit => return Ok(()),
            Line::Help => out.note(Tone::Aside, HELP),
            Line::Clear => {
                request.messages.clone_from(&opening.messages);
                out.note(Tone::Aside, "forgotten");
            }
            Line::Model(name) => request.target = Some(target::model(name)),
            Line::Say(text) => {
                let pictures = std::mem::take(&mut images);
                let question = request.clone().message(user(pictures.clone(), text.to_owned()));
                match next(turn, question).await? {
                    Some(longer) => request = longer,
                    None => images = pictures,
                }
            }
        }
    }
    out.note(Tone::Aside, "");
    Ok(())
}

/// The conversation with the answer to its last question. None = there was no whole answer.
async fn next(turn: &Turn<'_>, question: TextRequest) -> Result<Option<TextRequest>, Problem> {
    let (response, end) = turn.ask(question.clone()).await;
    match end {
        Err(problem @ Problem::Output(_)) => return Err(problem),
        Err(Problem::Interrupted) => {
            turn.out.note(Tone::Aside, "\nstopped; this turn is forgotten");
            return Ok(None);
        }
        // An answer that met a limit can be gone on with.
        Err(problem @ Problem::Cut(_)) => problem.tell(turn.out, turn.url),
        Err(problem) => {
            problem.tell(turn.out, turn.url);
            return Ok(None);
        }
        Ok(()) => {}
    }
    let message = response.message.filter(|message| !message.parts.is_empty());
    Ok(message.map(|message| question.message(message)))
}

fn understand(line: &str) -> Line<'_> {
    let line = line.trim();
    match line.split_once(char::is_whitespace).unwrap_or((line, "")) {
        ("", _) => Line::Nothing,
        ("/quit" | "/exit", "") => Line::Quit,
        ("/clear", "") => Line::Clear,
        ("/model", name) if !name.is_empty() => Line::Model(name.trim()),
        (word, "") if word.starts_with('/') => Line::Help,
        _ => Line::Say(line),
    }
}

/// The lines of standard input until its end. A thread of its own reads, for a read that waits
/// cannot be given up, and must not keep the process alive.
fn lines() -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_begins_an_order_only_where_there_is_one() {
        assert_eq!(understand(" /quit "), Line::Quit);
        assert_eq!(understand("/model  gpt-x"), Line::Model("gpt-x"));
        assert_eq!(understand("/model"), Line::Help);
        assert_eq!(understand("/etc/passwd is what?"), Line::Say("/etc/passwd is what?"));
        assert_eq!(understand("  "), Line::Nothing);
    }
}
