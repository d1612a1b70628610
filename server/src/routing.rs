//! Who may serve a call, in which order, and what to do when one fails.
//!
//! Owns: target -> plan (`plan`), fitting a call to a model (`fit`), walking the plan (`run`, `embed`).
//! Leaves: what exists (`registry`), how a provider is spoken to (`providers`).

mod desk;
mod embed;
mod fit;
mod left_out;
mod plan;
mod run;
mod strategy;

pub use self::{
    desk::{CallFacts, CallKind, Desk},
    embed::{check_size, embed},
    left_out::{LeftOut, Why},
    plan::{Candidate, Setting, Wish, plan, survey},
    run::{Outcome, Run, Step},
    strategy::{Learned, Statistics},
};
