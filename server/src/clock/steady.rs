//! Time by which limits count: it starts from the wall clock and goes on with the machine.
//!
//! A wall clock that jumps would give a minute's calls out twice, or keep them back for an hour. So
//! it is looked at once, when a store is new or the machine has started anew; after that the
//! machine's uptime counts, also from one process to the next.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use mediary_store::{SteadyTime, to_micros};

use super::{Clock, Uptime};

pub struct Steady {
    clock: Clock,
    anchor: Mutex<Anchor>,
    begin: SteadyTime,
}

/// What both clocks said at one moment.
struct Anchor {
    micros: i64,
    at: Instant,
}

impl Steady {
    /// Goes on from what a process before has kept.
    pub fn new(clock: Clock, kept: Option<SteadyTime>) -> Self {
        let uptime = clock.uptime();
        let begin = begin(&clock, kept, uptime.as_ref());
        let anchor = Mutex::new(Anchor { micros: begin.micros, at: clock.now() });
        Self { clock, anchor, begin }
    }

    /// What the next process goes on from: it stays true as long as the machine runs.
    pub fn begin(&self) -> SteadyTime {
        self.begin.clone()
    }

    /// Microseconds since 1970, or what was taken for it. Never goes back.
    pub fn micros(&self) -> i64 {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let passed = now.saturating_duration_since(anchor.at);
        if passed >= Duration::from_secs(1) {
            // A machine that slept, or a clock that somebody has set, is seen here.
            *anchor = Anchor { micros: self.by_uptime(anchor.micros, passed), at: now };
            return anchor.micros;
        }
        anchor.micros.saturating_add(micros(passed))
    }

    fn by_uptime(&self, before: i64, passed: Duration) -> i64 {
        match self.clock.uptime() {
            Some(Uptime { boot, since }) if boot == self.begin.boot => {
                let ran = micros(since).saturating_sub(self.begin.uptime_micros);
                self.begin.micros.saturating_add(ran).max(before)
            }
            _ => before.saturating_add(micros(passed)),
        }
    }
}

fn begin(clock: &Clock, kept: Option<SteadyTime>, uptime: Option<&Uptime>) -> SteadyTime {
    let wall = to_micros(clock.wall());
    let boot = uptime.map(|uptime| uptime.boot.clone()).unwrap_or_default();
    let now = uptime.map_or(0, |uptime| micros(uptime.since));
    let micros = match kept {
        None => wall,
        Some(kept) if !boot.is_empty() && kept.boot == boot => {
            kept.micros.saturating_add(now.saturating_sub(kept.uptime_micros))
        }
        // It was off for a while: only the wall clock knows for how long.
        Some(kept) => wall.max(kept.micros),
    };
    SteadyTime { micros, boot, uptime_micros: now }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{SystemTime, UNIX_EPOCH},
    };

    use uuid::Uuid;

    use super::*;
    use crate::clock::Source;

    /// Seconds of each clock.
    struct Set(Mutex<(u64, u64, u64, &'static str)>, Instant);

    impl Source for Set {
        fn now(&self) -> Instant {
            self.1 + Duration::from_secs(self.0.lock().unwrap().0)
        }
        fn wall(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(self.0.lock().unwrap().1)
        }
        fn uptime(&self) -> Option<Uptime> {
            let (_, _, since, boot) = *self.0.lock().unwrap();
            Some(Uptime { boot: boot.to_owned(), since: Duration::from_secs(since) })
        }
        fn id(&self) -> Uuid {
            Uuid::nil()
        }
        fn chance(&self) -> f64 {
            0.5
        }
        fn fill(&self, _: &mut [u8]) {}
    }

    #[test]
    fn no_jump_of_a_clock_is_seen_and_sleep_is() {
        let set = Arc::new(Set(Mutex::new((0, 1_000, 50, "one")), Clock::system().now()));
        let clock = Clock::new(set.clone());
        let steady = Steady::new(clock.clone(), None);
        let seconds = |steady: &Steady| steady.micros() / 1_000_000;
        assert_eq!(seconds(&steady), 1_000);
        // The wall clock jumps by an hour either way while five seconds pass.
        *set.0.lock().unwrap() = (5, 1_000 + 3_600, 55, "one");
        assert_eq!(seconds(&steady), 1_005);
        *set.0.lock().unwrap() = (6, 0, 56, "one");
        assert_eq!(seconds(&steady), 1_006);
        // The machine sleeps for a minute.
        *set.0.lock().unwrap() = (7, 0, 117, "one");
        assert_eq!(seconds(&steady), 1_067);
        // Another process, ten seconds later, with a clock that was set ahead in between.
        let kept = steady.begin();
        *set.0.lock().unwrap() = (0, 9_999, 127, "one");
        assert_eq!(seconds(&Steady::new(clock.clone(), Some(kept.clone()))), 1_077);
        // Another start of the machine: the wall clock is believed, unless it went back.
        *set.0.lock().unwrap() = (0, 9_999, 3, "two");
        assert_eq!(seconds(&Steady::new(clock.clone(), Some(kept.clone()))), 9_999);
        *set.0.lock().unwrap() = (0, 7, 3, "two");
        assert_eq!(seconds(&Steady::new(clock, Some(kept))), 1_000);
    }
}
