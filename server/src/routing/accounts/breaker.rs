//! Whether calls are let through to an account whose provider fails.
//!
//! Opens after failures in a row, or when most of the last seconds' calls fail. Then one call at a
//! time tries it out; each success doubles how many may run at once, so that those who waited do
//! not come all together.

use std::time::{Duration, Instant};

const IN_A_ROW: u32 = 5;
/// Looked at together, of which at least `LEAST` must have ended and half have failed.
const RECENT: u64 = 10;
const LEAST: u32 = 20;
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);
/// Calls at once with which it counts as whole again.
const WHOLE: u32 = 64;

#[derive(Debug)]
pub struct Breaker {
    state: State,
    failures: u32,
    /// How often it has opened without being whole again in between.
    openings: u32,
    recent: Recent,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    /// Nothing passes until then.
    Open(Instant),
    /// So many may run at once.
    Recovering(u32),
}

/// How it stands, for those who are shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    Closed,
    Open(Instant),
    HalfOpen,
}

/// Whether a call may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Free,
    /// To try it out.
    Probe,
    /// Not before then.
    No(Duration),
}

/// Calls of the last seconds, by second.
#[derive(Debug, Default)]
struct Recent {
    start: Option<Instant>,
    seconds: [Second; RECENT as usize],
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    ended: u32,
    failed: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed, failures: 0, openings: 0, recent: Recent::default() }
    }
}

impl Breaker {
    /// Whether one more call may pass beside those that run. `is_last`: nobody else could be asked,
    /// so one call at a time passes even while it is open.
    pub fn pass(&self, now: Instant, running: u32, is_last: bool) -> Pass {
        match self.state {
            State::Closed => Pass::Free,
            State::Open(until) if now >= until || is_last => {
                if running == 0 {
                    Pass::Probe
                } else {
                    Pass::No(until.saturating_duration_since(now).max(Duration::from_secs(1)))
                }
            }
            State::Open(until) => Pass::No(until.saturating_duration_since(now)),
            State::Recovering(most) if running < most => Pass::Probe,
            State::Recovering(_) => Pass::No(Duration::from_secs(1)),
        }
    }

    pub fn position(&self, now: Instant) -> Position {
        match self.state {
            State::Closed => Position::Closed,
            State::Open(until) if now < until => Position::Open(until),
            State::Open(_) | State::Recovering(_) => Position::HalfOpen,
        }
    }

    /// The provider answered, be it with a refusal.
    pub fn answered(&mut self, now: Instant) {
        self.failures = 0;
        self.recent.add(now, false);
        match self.state {
            State::Closed => {}
            State::Open(_) => self.state = State::Recovering(2),
            State::Recovering(most) if most * 2 >= WHOLE => {
                *self = Self::default();
            }
            State::Recovering(most) => self.state = State::Recovering(most * 2),
        }
    }

    /// The provider did not answer, or said that it cannot. `chance` in `0.0..1.0` spreads those
    /// that fail together.
    pub fn failed(&mut self, now: Instant, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        self.recent.add(now, true);
        let opens = match self.state {
            State::Closed => self.failures >= IN_A_ROW || self.recent.is_bad(now),
            State::Open(until) => now >= until,
            State::Recovering(_) => true,
        };
        if opens {
            let doubled = SHORTEST.saturating_mul(1 << self.openings.min(6));
            let length = doubled.min(LONGEST).mul_f64(0.8 + 0.4 * chance);
            self.openings = self.openings.saturating_add(1);
            self.state = State::Open(now + length);
        }
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }
}

impl Recent {
    fn add(&mut self, now: Instant, failed: bool) {
        let number = self.number(now);
        let second = &mut self.seconds[(number % RECENT) as usize];
        if second.number != number {
            *second = Second { number, ..Second::default() };
        }
        second.ended = second.ended.saturating_add(1);
        second.failed = second.failed.saturating_add(u32::from(failed));
    }

    fn is_bad(&mut self, now: Instant) -> bool {
        let number = self.number(now);
        let recent = self.seconds.iter().filter(|one| number - one.number < RECENT);
        let (ended, failed) =
            recent.fold((0, 0), |sum, one| (sum.0 + one.ended, sum.1 + one.failed));
        ended >= LEAST && failed * 2 > ended
    }

    fn number(&mut self, now: Instant) -> u64 {
        let start = *self.start.get_or_insert(now);
        // The first has a number of its own: 0 is what was never counted.
        RECENT + now.saturating_duration_since(start).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_after_failures_in_a_row_and_tries_one_call_at_a_time() {
        let mut now = Clock::system().now();
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.failed(now, 0.5);
        }
        breaker.answered(now);
        for _ in 0..4 {
            breaker.failed(now, 0.5);
        }
        assert_eq!(breaker.pass(now, 7, false), Pass::Free);
        breaker.failed(now, 0.5);
        assert_eq!(breaker.pass(now, 0, false), Pass::No(5 * SECOND));
        // Who has nobody else tries all the same, one at a time.
        assert_eq!(breaker.pass(now, 0, true), Pass::Probe);
        assert!(matches!(breaker.pass(now, 1, true), Pass::No(_)));
        now += 5 * SECOND;
        assert_eq!(breaker.pass(now, 0, false), Pass::Probe);
        assert!(matches!(breaker.pass(now, 1, false), Pass::No(_)));
        // Not well yet: twice as long.
        breaker.failed(now, 0.5);
        assert_eq!(breaker.pass(now, 0, false), Pass::No(10 * SECOND));
    }

    #[test]
    fn it_lets_them_back_in_by_and_by() {
        let mut now = Clock::system().now();
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            breaker.failed(now, 0.5);
        }
        now += 6 * SECOND;
        let mut allowed = 1;
        while breaker.pass(now, 1_000, false) != Pass::Free {
            assert_eq!(breaker.pass(now, allowed - 1, false), Pass::Probe);
            assert!(matches!(breaker.pass(now, allowed, false), Pass::No(_)), "{allowed}");
            breaker.answered(now);
            allowed *= 2;
        }
        assert_eq!(allowed, 64);
        assert_eq!(breaker.position(now), Position::Closed);
    }

    #[test]
    fn it_opens_when_most_of_many_fail_and_not_for_a_few() {
        let mut now = Clock::system().now();
        let mut breaker = Breaker::default();
        let mut ended = 0;
        while breaker.position(now) == Position::Closed && ended < 100 {
            // Two of three fail, never five in a row.
            if ended % 3 == 0 {
                breaker.answered(now)
            } else {
                breaker.failed(now, 0.5)
            }
            ended += 1;
            now += SECOND / 5;
        }
        assert!((20..=22).contains(&ended), "{ended}");

        let mut slow = Breaker::default();
        for n in 0..100 {
            if n % 3 == 0 {
                slow.answered(now)
            } else {
                slow.failed(now, 0.5)
            }
            now += SECOND;
        }
        assert_eq!(slow.position(now), Position::Closed);
    }
}
