//! Numbers the parts of an answer, for wires that do not.

use std::collections::VecDeque;

use mediary_domain::{ChatEvent, PartKind};

/// Events that are decoded and wait to be taken.
pub type Queue = VecDeque<ChatEvent>;

/// Opens and closes parts as deltas come. Text and reasoning close each other; tool calls stay
/// open until the answer ends, because their pieces may interleave.
#[derive(Default)]
pub struct Parts {
    next: u32,
    flowing: Option<(u32, PartKind)>,
    tools: Vec<u32>,
    /// The part that text flowed into last.
    text: Option<u32>,
}

impl Parts {
    pub fn text(&mut self, text: String, out: &mut Queue) {
        if !text.is_empty() {
            let part = self.flow(PartKind::Text, out);
            out.push_back(ChatEvent::Text { part, text });
        }
    }

    pub fn reasoning(&mut self, text: String, out: &mut Queue) {
        if !text.is_empty() {
            let part = self.flow(PartKind::Reasoning, out);
            out.push_back(ChatEvent::Reasoning { part, text });
        }
    }

    /// The part that text or reasoning flows into now, opened where needed.
    pub fn flow(&mut self, kind: PartKind, out: &mut Queue) -> u32 {
        match self.flowing {
            Some((part, open)) if open == kind => part,
            _ => {
                self.close_flow(out);
                let part = self.take();
                self.flowing = Some((part, kind));
                if kind == PartKind::Text {
                    self.text = Some(part);
                }
                part
            }
        }
    }

    /// What flows now, if anything does.
    pub fn flowing(&self) -> Option<(u32, PartKind)> {
        self.flowing
    }

    /// The part that text flowed into last: what a source speaks of.
    pub fn last_text(&self) -> Option<u32> {
        self.text
    }

    pub fn close_flow(&mut self, out: &mut Queue) {
        if let Some((part, kind)) = self.flowing.take() {
            out.push_back(ChatEvent::PartDone { part, kind });
        }
    }

    pub fn open_tool(&mut self, call_id: String, tool_name: String, out: &mut Queue) -> u32 {
        let part = self.take();
        self.tools.push(part);
        out.push_back(ChatEvent::ToolCall { part, call_id, tool_name });
        part
    }

    pub fn close_tool(&mut self, part: u32, out: &mut Queue) {
        self.tools.retain(|open| *open != part);
        out.push_back(ChatEvent::PartDone { part, kind: PartKind::ToolCall });
    }

    /// Closes whatever is open: the answer has ended.
    pub fn close_all(&mut self, out: &mut Queue) {
        self.close_flow(out);
        for part in std::mem::take(&mut self.tools) {
            out.push_back(ChatEvent::PartDone { part, kind: PartKind::ToolCall });
        }
    }

    fn take(&mut self) -> u32 {
        let part = self.next;
        self.next += 1;
        part
    }
}
