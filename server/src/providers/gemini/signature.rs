//! Where a thought signature stood, so that it goes back to the same place.
//!
//! Google signs parts of any kind: a call, a text, a thought, or an empty text at the end of a
//! stream. Callers keep a signature as the state of a reasoning part beside the signed one; its
//! first word says what it belongs to.

use bytes::Bytes;

/// Stands for the signature of a call that another model made: Gemini 3 refuses a call without
/// one. Source: Gemini API, thought signatures, "migrating from other models".
pub const NOT_SIGNED: &str = "skip_thought_signature_validator";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The next tool call.
    Call,
    /// The text before it.
    Text,
    /// The thought that it is the state of.
    Thought,
    /// A part of its own that says nothing.
    Alone,
}

const WORDS: [(Place, &str); 4] = [
    (Place::Call, "call:"),
    (Place::Text, "text:"),
    (Place::Thought, "thought:"),
    (Place::Alone, "alone:"),
];

pub fn state(place: Place, signature: &str) -> Bytes {
    let word = WORDS.iter().find(|(one, _)| *one == place).map_or("", |(_, word)| *word);
    [word, signature].concat().into()
}

pub fn read(state: &[u8]) -> Option<(Place, &str)> {
    let state = std::str::from_utf8(state).ok()?;
    WORDS.iter().find_map(|(place, word)| Some((*place, state.strip_prefix(word)?)))
}
