//! `reasoning_details`: thinking with its signatures, as routers pass it on, kept so that it can go
//! back unchanged. Source: OpenRouter, reasoning tokens ("preserving reasoning").

use mediary_domain::{ChatEvent, PartKind};
use serde::{Deserialize, Serialize};

use super::super::parts::{Parts, Queue};

/// One block, or a piece of it.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Detail {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<i64>,
}

impl Detail {
    /// What of it people can read.
    pub fn said(&self) -> String {
        self.text.as_ref().or(self.summary.as_ref()).cloned().unwrap_or_default()
    }

    fn is_piece_of(&self, other: &Self) -> bool {
        self.kind == other.kind && self.index.is_some() && self.index == other.index
    }

    fn grow(&mut self, piece: Self) {
        for (whole, piece) in [
            (&mut self.text, piece.text),
            (&mut self.summary, piece.summary),
            (&mut self.data, piece.data),
        ] {
            match (whole, piece) {
                (Some(whole), Some(piece)) => whole.push_str(&piece),
                (whole @ None, piece) => *whole = piece,
                (Some(_), None) => {}
            }
        }
        for (whole, piece) in [
            (&mut self.signature, piece.signature),
            (&mut self.id, piece.id),
            (&mut self.format, piece.format),
        ] {
            if piece.is_some() {
                *whole = piece;
            }
        }
    }
}

/// The blocks of one stretch of thinking.
#[derive(Default)]
pub struct Details(Vec<Detail>);

impl Details {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, pieces: Vec<Detail>) {
        for piece in pieces {
            match self.0.iter_mut().find(|one| piece.is_piece_of(one)) {
                Some(one) => one.grow(piece),
                None => self.0.push(piece),
            }
        }
    }

    /// Thinking has ended: the reasoning part that flows gets the blocks as its state.
    pub fn seal(&mut self, parts: &mut Parts, out: &mut Queue) {
        let Some((part, PartKind::Reasoning)) = parts.flowing() else { return };
        if let Ok(state) = serde_json::to_vec(&std::mem::take(&mut self.0)) {
            if state != b"[]" {
                out.push_back(ChatEvent::ReasoningState { part, state: state.into() });
            }
            parts.close_flow(out);
        }
    }
}
