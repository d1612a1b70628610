//! Wires that many vendors share, and the pieces that wires are made of.
//!
//! A dialect knows one wire and the quirks that its rows declare; it never asks which vendor it
//! talks to.

pub mod effort;
pub mod exchange;
pub mod failure;
pub mod functions;
pub mod lines;
pub mod listing;
pub mod openai;
pub mod openai_chat;
pub mod openai_responses;
pub mod options;
pub mod parts;
pub mod said;
pub mod sole;
pub mod sse;
pub mod text;
pub mod wire_stream;
