//! What is measured, and the numbers of all rounds.

use std::collections::BTreeMap;

/// One number of one server in one round. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    UnaryCpu,
    BurstTokenCpu,
    PacedTokenCpu,
    UnaryP50,
    UnaryP99,
    FirstTokenP50,
    FirstTokenP99,
    UnaryRate,
    TokenRate,
    /// KiB.
    IdleRss,
    /// KiB for each open stream.
    StreamRss,
    /// Divided by the idle RSS of the same process.
    RssAfterStreams,
    RssAfterLoad,
    Startup,
    /// From the end of a stream's reader to the end of the vendor's connection.
    CancelP50,
    CancelP99,
    /// From a stream's deadline to its end.
    LateP50,
    LateP99,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The vendor itself, called by the load generator.
    Direct,
    Yardstick,
    /// Mediary, or the gateway of `--against`.
    Subject,
}

/// The middle of all rounds, and how far they spread.
#[derive(Clone, Copy)]
pub struct Spread {
    pub middle: f64,
    pub least: f64,
    pub most: f64,
}

#[derive(Default)]
pub struct Figures(BTreeMap<(Who, Figure), Vec<f64>>);

impl Figures {
    pub fn push(&mut self, who: Who, figure: Figure, value: f64) {
        self.0.entry((who, figure)).or_default().push(value);
    }

    /// One value a round, in order.
    fn rounds(&self, who: Who, figure: Figure) -> &[f64] {
        self.0.get(&(who, figure)).map_or(&[], Vec::as_slice)
    }

    /// `added`: what the direct call of the same round took is subtracted.
    pub fn values(&self, who: Who, figure: Figure, added: bool) -> Vec<f64> {
        let values = self.rounds(who, figure);
        if !added {
            return values.to_vec();
        }
        let direct = self.rounds(Who::Direct, figure);
        values.iter().zip(direct).map(|(value, direct)| value - direct).collect()
    }
}

impl Spread {
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let middle = if sorted.len() % 2 == 1 {
            sorted[half]
        } else {
            f64::midpoint(sorted[half - 1], sorted[half])
        };
        Some(Self { middle, least, most })
    }

    /// The ratio of the middles, and the ratios of the single rounds around it. `None` where there
    /// is nothing to divide by.
    pub fn ratio(above: &[f64], below: &[f64]) -> Option<Self> {
        let middle =
            Self::of(above)?.middle / Self::of(below).filter(|one| one.middle > 0.0)?.middle;
        let rounds = above.iter().zip(below).filter(|(_, below)| **below > 0.0);
        let rounds = Self::of(&rounds.map(|(above, below)| above / below).collect::<Vec<_>>())?;
        Some(Self { middle, ..rounds })
    }
}
