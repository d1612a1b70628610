//! What was asked: the parts of a call that the sandbox speaks about.
//!
//! Owns: the reply in words, the count of the input, the hash that stands in for a seed.

use mediary_domain::{ChatCall, Image, Part, Role, TextParameters, ToolResult};

use super::{
    WORD,
    words::{Hash, Words, tokens},
};

/// Longest quotation of what was said, in bytes.
const QUOTE: usize = 500;
/// How much of an image counts for the hash, beside its size.
const IMAGE_HEAD: usize = 4 << 10;
const LABEL: &str = "This is the sandbox, no model was asked.";
const GREETINGS: [&str; 4] = ["hello", "hi", "hey", "greetings"];

pub(super) struct Question<'a>(&'a ChatCall);

impl<'a> Question<'a> {
    pub(super) fn of(call: &'a ChatCall) -> Self {
        Self(call)
    }

    pub(super) fn parameters(&self) -> &'a TextParameters {
        &self.0.parameters
    }

    /// The tool results that the conversation ends with, with the names of their tools.
    pub(super) fn results(&self) -> Vec<(&'a str, &'a ToolResult)> {
        let is_result = |part: &Part| matches!(part, Part::ToolResult(_));
        let messages = &self.0.messages;
        let last = messages.iter().rev().take_while(|one| one.parts.iter().any(is_result)).count();
        let parts = messages[messages.len() - last..].iter().flat_map(|one| &one.parts);
        let results = parts.filter_map(|part| match part {
            Part::ToolResult(result) => Some((self.tool_of(&result.call_id), result)),
            _ => None,
        });
        results.collect()
    }

    /// The answer in words: what was said, then made-up sentences. `wanted` tokens of it, where
    /// a number was asked for.
    pub(super) fn reply(&self, words: &mut Words, wanted: Option<usize>) -> String {
        let mut reply = self.opening();
        reply.push_str(" Some words to go on:");
        words.sentences(2, &mut reply);
        let Some(wanted) = wanted else { return reply };
        let mut count = tokens(&reply, WORD).count();
        while count < wanted {
            let before = reply.len();
            words.sentences(1, &mut reply);
            count += tokens(&reply[before..], WORD).count();
        }
        let end = tokens(&reply, WORD).take(wanted).map(str::len).sum();
        reply.truncate(end);
        reply
    }

    /// Tokens of the whole conversation: its words.
    pub(super) fn tokens(&self) -> i64 {
        fn count(parts: &[Part]) -> usize {
            let words = |text: &str| tokens(text, WORD).count();
            let parts = parts.iter().map(|part| match part {
                Part::Text(text) => words(text),
                Part::Image(_) => 0,
                Part::ToolCall(call) => words(&call.tool_name) + words(&call.arguments_json),
                Part::ToolResult(result) => count(&result.parts),
                Part::Reasoning(reasoning) => words(&reasoning.text),
            });
            parts.sum()
        }
        let all = self.0.messages.iter().map(|message| count(&message.parts)).sum::<usize>();
        i64::try_from(all).unwrap_or(i64::MAX)
    }

    /// Stands for the conversation: changes with every message.
    pub(super) fn hash(&self) -> u64 {
        fn add(parts: &[Part], hash: &mut Hash) {
            for part in parts {
                match part {
                    Part::Text(text) => hash.add(text.as_bytes()),
                    Part::Image(image) => {
                        hash.add(&image.content.len().to_be_bytes());
                        hash.add(&image.content[..image.content.len().min(IMAGE_HEAD)]);
                    }
                    Part::ToolCall(call) => {
                        hash.add(call.tool_name.as_bytes());
                        hash.add(call.arguments_json.as_bytes());
                    }
                    Part::ToolResult(result) => {
                        hash.add(result.call_id.as_bytes());
                        add(&result.parts, hash);
                    }
                    Part::Reasoning(reasoning) => hash.add(reasoning.text.as_bytes()),
                }
            }
        }
        let mut hash = Hash::default();
        for message in &self.0.messages {
            hash.add(&[message.role as u8]);
            add(&message.parts, &mut hash);
        }
        hash.value()
    }

    fn opening(&self) -> String {
        let mut text = LABEL.to_owned();
        let results = self.results();
        for (tool, result) in &results {
            let verb = if result.is_error { "failed" } else { "answered" };
            let said = said(&result.parts);
            match said.trim() {
                "" => text.push_str(&format!(" The tool {tool} {verb} without a word.")),
                said => text.push_str(&format!(" The tool {tool} {verb}: {}", quoted(said))),
            }
        }
        if results.is_empty() {
            match self.last_words().trim() {
                "" => text.push_str(" You sent no text."),
                said => {
                    if is_greeting(said) {
                        text.insert_str(0, "Hello! ");
                    }
                    text.push_str(&format!(" You said: {}", quoted(said)));
                }
            }
        }
        let images = self.images();
        if !images.is_empty() {
            let noun = if images.len() == 1 { "image" } else { "images" };
            let each = images
                .iter()
                .map(|one| format!("{} ({} bytes)", one.media_type, one.content.len()));
            let list = each.collect::<Vec<_>>().join(", ");
            text.push_str(&format!(" With it came {} {noun}: {list}.", images.len()));
        }
        text
    }

    fn last_words(&self) -> String {
        let last = self.0.messages.iter().rev().find(|message| message.role == Role::User);
        last.map(|message| said(&message.parts)).unwrap_or_default()
    }

    /// The images of the last message, those of its tool results included.
    fn images(&self) -> Vec<&'a Image> {
        let parts = self.0.messages.last().map_or(&[][..], |message| &message.parts);
        let parts = parts.iter().flat_map(|part| match part {
            Part::ToolResult(result) => result.parts.as_slice(),
            other => std::slice::from_ref(other),
        });
        let images = parts.filter_map(|part| match part {
            Part::Image(image) => Some(image),
            _ => None,
        });
        images.collect()
    }

    fn tool_of(&self, call_id: &str) -> &'a str {
        let parts = self.0.messages.iter().flat_map(|message| &message.parts);
        let name = parts.rev().find_map(|part| match part {
            Part::ToolCall(call) if call.call_id == call_id => Some(call.tool_name.as_str()),
            _ => None,
        });
        name.unwrap_or("without a name")
    }
}

fn said(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn is_greeting(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_alphanumeric()).take(20);
    words.any(|word| GREETINGS.iter().any(|greeting| word.eq_ignore_ascii_case(greeting)))
}

/// In quotation marks, cut where it is long, and with the end of a sentence.
fn quoted(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(QUOTE)];
    let more = if cut.len() < text.len() { "…" } else { "" };
    let stop = if cut.ends_with(['.', '!', '?']) || !more.is_empty() { "" } else { "." };
    format!("\"{cut}{more}\"{stop}")
}
