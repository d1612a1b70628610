//! Who may serve a call, in which order, and what to do when one fails.
//!
//! Owns: target -> plan (`plan`), fitting a call to a model (`fit`), walking the plan (`run`, `embed`).
//! Leaves: what exists (`registry`), how a provider is spoken to (`providers`).

mod embed;
mod fit;
mod plan;
mod run;

pub use self::{
    embed::{check_size, embed},
    plan::{Wish, plan},
    run::{Outcome, Run, Step},
};
