//! How the members of a preset are used.
//!
//! Owns: the order in which they are asked, and what is learned of them. Knows neither text nor any
//! other kind of work: only `ensemble`, which compares answers, does.
//! Leaves: who the members are (`registry`), whether one can be asked at all (`plan`).

mod adaptive;
mod ensemble;
mod judge;
mod learned;
mod sequential;
mod weighted;

pub use self::{
    ensemble::Ensemble,
    learned::{Learned, Lesson, Statistics, Verdict},
};
use crate::{
    clock::Clock,
    registry::{PresetRow, Strategy},
};

/// In which order its members are asked, as indexes: each of them, once.
///
/// Without a clock nothing is left to chance: that is the order to be expected, for those who want
/// to see it.
pub fn order(preset: &PresetRow, learned: &Learned, chance: Option<&Clock>) -> Vec<usize> {
    match preset.strategy {
        Strategy::Sequential | Strategy::Ensemble => sequential::order(preset.members.len()),
        Strategy::Weighted => {
            let weights = preset.members.iter().map(|one| one.weight.unwrap_or(1.0));
            weighted::order(&weights.collect::<Vec<_>>(), chance)
        }
        Strategy::Adaptive => {
            let arms = learned.arms(&preset.id, preset.members.iter().map(|one| &*one.model));
            adaptive::order(&arms, &preset.adaptive.unwrap_or_default(), chance)
        }
    }
}
