//! What is told of the work: logs, figures for Prometheus, traces.
//!
//! Never keys, prompts or bodies. Leaves: what is worth telling (the room that does it), and where
//! the figures are read (`http`).

mod logs;
mod metrics;
mod tally;

pub use self::{
    logs::start,
    metrics::{CallEnd, Metrics},
    tally::{Served, Tally},
};
