//! By what was learned: Thompson sampling over success, with duration and cost folded in.
//!
//! Each member is an arm. What is known of its success is a Beta distribution over the attempts
//! that it has seen; a chance of success is drawn from each, weighed by how quick and how cheap the
//! member is among the others, and the best draw is asked first. A member of which little is known
//! draws widely, so it gets its turn. All arms forget a little with each attempt at any of them: an
//! arm that is not asked becomes unknown again, and so a change is noticed.

use std::time::Duration;

use rand::{SeedableRng as _, rngs::StdRng};
use rand_distr::{Beta, Distribution as _};
use serde::{Deserialize, Serialize};

use crate::{clock::Clock, registry::AdaptiveRow};

/// What is left of a memory with each attempt: half of it after 23.
const KEPT: f64 = 0.97;
/// How far one attempt moves the mean duration and the mean cost.
const STEP: f64 = 0.1;

/// What is known of one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Arm {
    /// Over all time.
    pub attempts: u64,
    /// Of recent attempts, older ones counting less.
    pub successes: f64,
    pub failures: f64,
    /// Of those that succeeded, in seconds.
    pub duration: Option<f64>,
    /// Of those that succeeded, in 1e-12 USD.
    pub cost: Option<f64>,
}

impl Arm {
    pub fn evidence(&self) -> f64 {
        self.successes + self.failures
    }

    /// Mean chance of success; one half where nothing is known.
    pub fn success_rate(&self) -> f64 {
        (1.0 + self.successes) / (2.0 + self.evidence())
    }

    pub(super) fn forget_a_little(&mut self) {
        self.successes *= KEPT;
        self.failures *= KEPT;
    }

    pub(super) fn succeeded(&mut self, took: Duration, cost: f64) {
        self.attempts += 1;
        self.successes += 1.0;
        let moved = |mean: Option<f64>, now: f64| Some(mean.map_or(now, |m| m + STEP * (now - m)));
        self.duration = moved(self.duration, took.as_secs_f64());
        self.cost = moved(self.cost, cost);
    }

    pub(super) fn failed(&mut self) {
        self.attempts += 1;
        self.failures += 1.0;
    }

    /// A chance of success that what is known allows for; the mean one without chance.
    fn drawn(&self, rng: Option<&mut StdRng>) -> f64 {
        match (rng, Beta::new(1.0 + self.successes, 1.0 + self.failures)) {
            (Some(rng), Ok(belief)) => belief.sample(rng),
            _ => self.success_rate(),
        }
    }
}

/// The arms, best first.
pub fn order(arms: &[Arm], settings: &AdaptiveRow, chance: Option<&Clock>) -> Vec<usize> {
    let mut rng = chance.map(|clock| StdRng::from_seed(clock.random_key()));
    let least = |pick: fn(&Arm) -> Option<f64>| {
        arms.iter().filter_map(pick).min_by(f64::total_cmp).unwrap_or_default()
    };
    let (shortest, cheapest) = (least(|arm| arm.duration), least(|arm| arm.cost));
    let (success, latency, cost) = settings.weights();
    let score = |arm: &Arm| {
        let worth = success
            + latency * share(shortest, arm.duration, 1e-3)
            + cost * share(cheapest, arm.cost, 1.0);
        arm.drawn(rng.as_mut()) * worth
    };
    let scores: Vec<f64> = arms.iter().map(score).collect();
    let mut order: Vec<usize> = (0..arms.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    if let Some(clock) = chance
        && clock.chance() < settings.exploration()
        && !arms.is_empty()
    {
        // Any of them, however bad it looks.
        let lucky = (clock.chance() * arms.len() as f64) as usize;
        if let Some(at) = order.iter().position(|one| *one == lucky) {
            order[..=at].rotate_right(1);
        }
    }
    order
}

/// How near it is to the least of all: 1 for the least, and for one that nobody has measured.
fn share(least: f64, own: Option<f64>, grain: f64) -> f64 {
    own.map_or(1.0, |own| (least + grain) / (own + grain))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::seeded::Seeded;

    /// How a member answers: its chance of success, how long it takes, what it costs.
    #[derive(Clone, Copy)]
    struct Member(f64, u64, f64);

    /// Calls with fallbacks; how often each member was asked first, call by call.
    fn calls(
        clock: &Clock,
        arms: &mut [Arm],
        members: &[Member],
        settings: &AdaptiveRow,
        count: usize,
    ) -> Vec<usize> {
        let mut first = Vec::new();
        for _ in 0..count {
            let order = order(arms, settings, Some(clock));
            first.push(order[0]);
            for at in order {
                let Member(success, took, cost) = members[at];
                arms.iter_mut().for_each(Arm::forget_a_little);
                if clock.chance() < success {
                    arms[at].succeeded(Duration::from_millis(took), cost);
                    break;
                }
                arms[at].failed();
            }
        }
        first
    }

    fn share_of(first: &[usize], member: usize) -> f64 {
        first.iter().filter(|one| **one == member).count() as f64 / first.len() as f64
    }

    #[test]
    fn the_better_of_three_is_found_within_200_calls_and_followed_when_they_swap() {
        for seed in 0..50 {
            let clock = Seeded::clock(seed);
            let settings = AdaptiveRow::default();
            let mut arms = [Arm::default(); 3];
            let members = [Member(0.5, 100, 1.0), Member(0.95, 100, 1.0), Member(0.3, 100, 1.0)];
            let before = calls(&clock, &mut arms, &members, &settings, 200);
            let found = share_of(&before[150..], 1);
            assert!(found > 0.7, "{found} of seed {seed}: {arms:?}");

            let swapped = [members[1], members[0], members[2]];
            let after = calls(&clock, &mut arms, &swapped, &settings, 200);
            let followed = share_of(&after[150..], 0);
            assert!(followed > 0.7, "{followed} of seed {seed}: {arms:?}");
        }
    }

    #[test]
    fn among_equals_the_quick_and_the_cheap_are_preferred() {
        let clock = Seeded::clock(3);
        let both = [Member(0.95, 2_000, 1e6), Member(0.95, 200, 1e6), Member(0.95, 2_000, 1e9)];
        let latency = AdaptiveRow { latency_weight: Some(1.0), ..AdaptiveRow::default() };
        let first = calls(&clock, &mut [Arm::default(); 3], &both, &latency, 300);
        assert!(share_of(&first[100..], 1) > 0.8, "{first:?}");
        let cost = AdaptiveRow {
            latency_weight: Some(0.0),
            cost_weight: Some(2.0),
            ..AdaptiveRow::default()
        };
        let first = calls(&clock, &mut [Arm::default(); 3], &both, &cost, 300);
        assert!(share_of(&first[100..], 2) < 0.1, "{first:?}");
    }

    #[test]
    fn every_member_is_tried_now_and_then() {
        let clock = Seeded::clock(11);
        let settings = AdaptiveRow { exploration_share: Some(0.3), ..AdaptiveRow::default() };
        let members = [Member(1.0, 10, 1.0), Member(0.0, 10, 1.0), Member(0.0, 10, 1.0)];
        let first = calls(&clock, &mut [Arm::default(); 3], &members, &settings, 2_000);
        for bad in [1, 2] {
            let share = share_of(&first, bad);
            assert!((0.07..0.16).contains(&share), "{share}");
        }
    }

    #[test]
    fn without_chance_the_best_mean_is_first() {
        let arm = |successes, failures| Arm { successes, failures, ..Arm::default() };
        let arms = [arm(2.0, 8.0), arm(9.0, 1.0), arm(0.0, 0.0)];
        assert_eq!(order(&arms, &AdaptiveRow::default(), None), [1, 2, 0]);
    }

    proptest! {
        #[test]
        fn every_member_is_in_the_order_once(
            known in proptest::collection::vec((0.0..1e6_f64, 0.0..1e6_f64, 0.0..1e6_f64), 0..9),
            seed: u64,
        ) {
            let arm = |(successes, failures, took): (f64, f64, f64)| Arm {
                successes, failures, duration: Some(took), cost: Some(took), ..Arm::default()
            };
            let arms: Vec<Arm> = known.into_iter().map(arm).collect();
            let clock = Seeded::clock(seed);
            let mut order = order(&arms, &AdaptiveRow::default(), Some(&clock));
            order.sort_unstable();
            prop_assert_eq!(order, (0..arms.len()).collect::<Vec<_>>());
        }
    }
}
