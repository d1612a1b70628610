//! Splits `<think>...</think>` out of text, for models whose server leaves it in.

use super::super::parts::{Parts, Queue};

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Only a tag at the very start of the answer opens: later ones are what the model talks about.
#[derive(Default)]
pub struct ThinkTags {
    state: State,
    /// Text that may turn out to be a tag.
    held: String,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Thinking,
    Text,
}

impl ThinkTags {
    pub fn feed(&mut self, text: &str, parts: &mut Parts, out: &mut Queue) {
        if self.state == State::Text {
            return parts.text(text.to_owned(), out);
        }
        self.held.push_str(text);
        if self.state == State::Start {
            let start = self.held.trim_start();
            if let Some(rest) = start.strip_prefix(OPEN) {
                self.held = rest.to_owned();
                self.state = State::Thinking;
            } else if OPEN.starts_with(start) {
                return;
            } else {
                self.state = State::Text;
                return parts.text(std::mem::take(&mut self.held), out);
            }
        }
        match self.held.find(CLOSE) {
            Some(at) => {
                let rest = self.held.split_off(at);
                parts.reasoning(std::mem::take(&mut self.held), out);
                self.state = State::Text;
                parts.text(rest[CLOSE.len()..].to_owned(), out);
            }
            None => {
                let safe = self.held.len() - tail_that_may_close(&self.held);
                let rest = self.held.split_off(safe);
                parts.reasoning(std::mem::replace(&mut self.held, rest), out);
            }
        }
    }

    pub fn end(&mut self, parts: &mut Parts, out: &mut Queue) {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Thinking => parts.reasoning(held, out),
            State::Start | State::Text => parts.text(held, out),
        }
    }
}

/// How many bytes at the end could be the beginning of a closing tag.
fn tail_that_may_close(text: &str) -> usize {
    (1..CLOSE.len()).rev().find(|&n| text.ends_with(&CLOSE[..n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use mediary_domain::{Answer, AnswerPart};

    use super::*;

    fn split(text: &str, size: usize) -> (String, String) {
        let (mut think, mut parts, mut out) =
            (ThinkTags::default(), Parts::default(), Queue::new());
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(size) {
            think.feed(&piece.iter().collect::<String>(), &mut parts, &mut out);
        }
        think.end(&mut parts, &mut out);
        let mut answer = Answer::default();
        out.into_iter().for_each(|event| answer.add(event));
        let (mut reasoning, mut said) = (String::new(), String::new());
        for part in answer.parts {
            match part {
                AnswerPart::Text(text) => said.push_str(&text),
                AnswerPart::Reasoning { text, .. } => reasoning.push_str(&text),
                AnswerPart::ToolCall { .. } => {}
            }
        }
        (reasoning, said)
    }

    #[test]
    fn tags_are_found_wherever_the_pieces_are_cut() {
        for size in 1..12 {
            let cut = split("<think>a < b </th ok</think>\n\nsee <think>", size);
            assert_eq!(cut, ("a < b </th ok".to_owned(), "\n\nsee <think>".to_owned()), "{size}");
            assert_eq!(split("plain <think>", size), (String::new(), "plain <think>".to_owned()));
            assert_eq!(split("<thi", size), (String::new(), "<thi".to_owned()));
        }
    }
}
