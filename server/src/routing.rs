//! Who may serve a call, in which order, and what to do when one fails.
//!
//! Owns: target -> plan (`plan`), fitting a call to a model (`fit`), walking the plan (`run`, `embed`).
//! Leaves: what exists (`registry`), how a provider is spoken to (`providers`).

mod accounts;
mod desk;
mod embed;
mod fit;
mod left_out;
mod limits;
mod plan;
mod run;

pub use self::{
    accounts::{Accounts, Position, SHOWN, Standing},
    desk::{CallFacts, CallKind, Desk},
    embed::{check_size, embed},
    left_out::{LeftOut, Why},
    limits::Limits,
    plan::{Candidate, Setting, Wish, plan, survey},
    run::{Attempt, Outcome, Run, Step},
};
