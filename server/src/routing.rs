//! Who may serve a call, in which order, and what to do when one fails.
//!
//! Owns: target -> plan (`plan`), fitting a call to a model (`fit`), the order and the
//! ways of presets (`strategy`), walking the plan (`course`, `run`, `embed`).
//! Leaves: what exists (`registry`), how a provider is spoken to (`providers`).

mod accounts;
mod course;
mod desk;
mod embed;
mod fit;
mod left_out;
mod limits;
mod outcome;
mod plan;
mod run;
mod strategy;

pub use self::{
    accounts::{Accounts, Position, SHOWN, Standing},
    course::{Course, Manner},
    desk::{CallFacts, CallKind, Desk},
    embed::{check_size, embed},
    left_out::{LeftOut, Why},
    limits::Limits,
    outcome::{Attempt, Outcome},
    plan::{Candidate, Setting, Wish, plan, survey},
    run::Step,
    strategy::{Learned, Statistics},
};
