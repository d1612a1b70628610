//! Calls of the last hours, and what was spent today and this month.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mediary_domain::PicoUsd;

use crate::routing::limits::Window;

/// Length of a part in which calls are counted together.
const PART: u64 = 300;
const PARTS: usize = 288;
/// The stretches that are shown, shortest first.
pub const SHOWN: [Duration; 3] =
    [Duration::from_secs(PART), Duration::from_secs(3_600), Duration::from_secs(86_400)];

#[derive(Debug, Default)]
pub struct Windows {
    /// Five minutes each, for a day: none until the first call, as most accounts are never used.
    parts: Vec<Part>,
    pub requests: i64,
    pub successes: i64,
    pub cost: PicoUsd,
    day: Spent,
    month: Spent,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    number: u64,
    requests: i64,
    successes: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    slot: i64,
    cost: PicoUsd,
}

impl Windows {
    pub fn add(&mut self, wall: SystemTime, succeeded: bool, cost: PicoUsd) {
        self.count(wall, 1, i64::from(succeeded));
        self.pay(wall, cost);
    }

    /// Calls of an earlier process.
    pub fn count(&mut self, wall: SystemTime, requests: i64, successes: i64) {
        self.requests += requests;
        self.successes += successes;
        let number = number(wall);
        if self.parts.is_empty() {
            self.parts = vec![Part::default(); PARTS];
        }
        let part = &mut self.parts[number as usize % PARTS];
        if part.number != number {
            *part = Part { number, ..Part::default() };
        }
        part.requests += requests;
        part.successes += successes;
    }

    pub fn pay(&mut self, wall: SystemTime, cost: PicoUsd) {
        self.cost += cost;
        for (spent, window) in [(&mut self.day, Window::Day), (&mut self.month, Window::Month)] {
            let slot = window.slot(micros(wall));
            if slot > spent.slot {
                *spent = Spent { slot, cost: PicoUsd(0) };
            }
            spent.cost += cost;
        }
    }

    /// Requests and successes within the last `length`.
    pub fn within(&self, length: Duration, now: SystemTime) -> (i64, i64) {
        let now = number(now);
        let parts = (length.as_secs() / PART).max(1);
        let of = self.parts.iter().filter(|part| part.number + parts > now && part.number <= now);
        of.fold((0, 0), |sum, part| (sum.0 + part.requests, sum.1 + part.successes))
    }

    pub fn day_cost(&self, now: SystemTime) -> PicoUsd {
        spent(self.day, Window::Day, now)
    }

    pub fn month_cost(&self, now: SystemTime) -> PicoUsd {
        spent(self.month, Window::Month, now)
    }
}

fn spent(spent: Spent, window: Window, now: SystemTime) -> PicoUsd {
    if spent.slot >= window.slot(micros(now)) { spent.cost } else { PicoUsd(0) }
}

fn number(wall: SystemTime) -> u64 {
    wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / PART
}

fn micros(wall: SystemTime) -> i64 {
    mediary_store::to_micros(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_ago_no_longer_counts() {
        let mut windows = Windows::default();
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds);
        windows.add(at(0), true, PicoUsd(5));
        windows.add(at(4_000), false, PicoUsd(7));
        let shown = |now| SHOWN.map(|length| windows.within(length, at(now)));
        assert_eq!(shown(4_000), [(1, 0), (1, 0), (2, 1)]);
        assert_eq!(shown(86_000), [(0, 0), (0, 0), (2, 1)]);
        assert_eq!(shown(200_000), [(0, 0); 3]);
        assert_eq!(windows.day_cost(at(4_001)), PicoUsd(12));
        assert_eq!(windows.day_cost(at(90_000)), PicoUsd(0));
        assert_eq!(windows.month_cost(at(90_000)), PicoUsd(12));
        assert_eq!((windows.requests, windows.successes, windows.cost), (2, 1, PicoUsd(12)));
    }
}
