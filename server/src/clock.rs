//! Time, ids and chance: the only room that asks the machine for them.
//!
//! Everything else takes a [`Clock`], so that a test can hold all three still.

mod steady;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rand::Rng as _;
use uuid::Uuid;

pub use self::steady::Steady;

/// Crockford's base32 in lower case: no letter that looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Where time, ids and chance come from.
pub trait Source: Send + Sync {
    fn now(&self) -> Instant;
    fn wall(&self) -> SystemTime;
    /// How long the machine runs; `None` where it does not tell.
    fn uptime(&self) -> Option<Uptime> {
        None
    }
    /// Sortable by creation, 74 random bits at least.
    fn id(&self) -> Uuid;
    /// Evenly distributed in `0.0..1.0`.
    fn chance(&self) -> f64;
    /// Bytes that nobody can guess.
    fn fill(&self, bytes: &mut [u8]);
}

/// How long a machine has been running since one of its starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uptime {
    /// Which start.
    pub boot: String,
    pub since: Duration,
}

/// A cheap handle to the one source of the process.
#[derive(Clone)]
pub struct Clock(Arc<dyn Source>);

impl Clock {
    /// The machine's own.
    pub fn system() -> Self {
        Self(Arc::new(System))
    }

    pub fn new(source: Arc<dyn Source>) -> Self {
        Self(source)
    }

    /// Monotonic: for durations and deadlines.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// Wall clock: for what is shown and stored, never for ordering.
    pub fn wall(&self) -> SystemTime {
        self.0.wall()
    }

    /// What goes on whatever the wall clock is set to, also while this process does not run.
    pub fn uptime(&self) -> Option<Uptime> {
        self.0.uptime()
    }

    pub fn chance(&self) -> f64 {
        self.0.chance()
    }

    /// A key that only this process knows.
    pub fn random_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        self.0.fill(&mut key);
        key
    }

    /// Fills it with what nobody can guess.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    /// Characters of lower-case base32 that nobody can guess, 5 bits each.
    pub fn random_text(&self, characters: usize) -> String {
        let mut bytes = vec![0; characters];
        self.0.fill(&mut bytes);
        bytes.into_iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
    }

    /// A resource id of the contract: the letter of its kind and 25 characters of lower-case
    /// base32, sortable by creation and unguessable.
    pub fn resource_id(&self, letter: char) -> String {
        let mut bits = self.0.id().as_u128();
        let mut id = [0_u8; 25];
        for slot in id.iter_mut().rev() {
            *slot = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        std::iter::once(letter).chain(id.iter().map(|byte| char::from(*byte))).collect()
    }
}

/// A point `wait` from now, or none where that lies beyond what a clock can tell.
pub fn after(now: Instant, wait: Duration) -> Option<Instant> {
    now.checked_add(wait)
}

struct System;

#[expect(clippy::disallowed_methods, reason = "this is the room that may")]
impl Source for System {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    /// proc(5): `/proc/uptime` counts sleep as well, and nobody can set it.
    fn uptime(&self) -> Option<Uptime> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let since = Duration::try_from_secs_f64(seconds).ok()?;
        Some(Uptime { boot: boot.trim().to_owned(), since })
    }

    fn id(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn chance(&self) -> f64 {
        rand::rng().random()
    }

    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_ids_have_the_contracts_shape_and_sort_by_creation() {
        let clock = Clock::system();
        let ids: Vec<String> = (0..100).map(|_| clock.resource_id('g')).collect();
        for id in &ids {
            assert_eq!(id.len(), 26);
            assert!(id.starts_with('g'));
            assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        }
        assert!(ids.is_sorted());
    }
}

/// Time that stands still, and chance that is the same each time.
#[cfg(test)]
pub mod seeded {
    use std::{sync::Mutex, time::UNIX_EPOCH};

    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    pub struct Seeded {
        began: Instant,
        rng: Mutex<StdRng>,
    }

    impl Seeded {
        pub fn clock(seed: u64) -> Clock {
            let rng = Mutex::new(StdRng::seed_from_u64(seed));
            Clock::new(Arc::new(Self { began: Clock::system().now(), rng }))
        }
    }

    impl Source for Seeded {
        fn now(&self) -> Instant {
            self.began
        }

        fn wall(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(1_795_000_000)
        }

        fn id(&self) -> Uuid {
            Uuid::from_u128(self.rng.lock().unwrap().random())
        }

        fn chance(&self) -> f64 {
            self.rng.lock().unwrap().random()
        }

        fn fill(&self, bytes: &mut [u8]) {
            self.rng.lock().unwrap().fill(bytes);
        }
    }
}
