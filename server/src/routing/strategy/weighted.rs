//! By chance, in proportion to weights.

use crate::clock::Clock;

/// Drawn one after the other, without putting back: who is first is so as often as its weight
/// says, and who takes over from it as well. Without chance the heaviest comes first.
pub fn order(weights: &[f64], chance: Option<&Clock>) -> Vec<usize> {
    // A race of exponential clocks: each rings after a time that is the shorter the heavier it is.
    let rings = |weight: f64| match chance {
        Some(clock) => -(1.0 - clock.chance()).ln() / weight,
        None => 1.0 / weight,
    };
    let times: Vec<f64> = weights.iter().map(|weight| rings(*weight)).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| times[*a].total_cmp(&times[*b]));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::seeded::Seeded;

    #[test]
    fn each_is_first_as_often_as_its_weight_says_and_second_as_well() {
        const CALLS: usize = 2_000;
        let clock = Seeded::clock(7);
        let mut first = [0_usize; 3];
        let mut second_after_0 = [0_usize; 3];
        for _ in 0..CALLS {
            let order = order(&[5.0, 3.0, 2.0], Some(&clock));
            first[order[0]] += 1;
            if order[0] == 0 {
                second_after_0[order[1]] += 1;
            }
        }
        for (count, share) in first.into_iter().zip([0.5, 0.3, 0.2]) {
            let got = count as f64 / CALLS as f64;
            assert!((got - share).abs() < 0.03, "{got} for {share}: {first:?}");
        }
        let got = second_after_0[1] as f64 / first[0] as f64;
        assert!((got - 0.6).abs() < 0.05, "{got}");
    }

    #[test]
    fn without_chance_the_heaviest_is_first() {
        assert_eq!(order(&[1.0, 3.0, 3.0, 2.0], None), [1, 2, 3, 0]);
    }

    proptest! {
        #[test]
        fn every_member_is_in_the_order_once(
            weights in proptest::collection::vec(1e-9..1e9_f64, 0..9),
            seed: u64,
        ) {
            let mut order = order(&weights, Some(&Seeded::clock(seed)));
            order.sort_unstable();
            prop_assert_eq!(order, (0..weights.len()).collect::<Vec<_>>());
        }
    }
}
