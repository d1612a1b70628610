//! One limit: what of it this process has leased from the store, and gives out.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mediary_store::{Error, Lease, Leased, Store, Unused};

use super::Window;
use crate::clock::Steady;

/// The part of a limit that is leased at a time: what a crash loses of it, at most.
const PART: i64 = 16;

pub struct Meter {
    subject: Arc<str>,
    name: String,
    window: Window,
    purse: Mutex<Purse>,
    /// Held while the store is asked: those who come meanwhile would ask for the same.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Purse {
    /// The stretch that `left` is for.
    slot: i64,
    /// Leased and not used. Negative: used and not leased.
    left: i64,
    /// Earlier stretches, and what came back of them: told to the store with the next question.
    returned: Vec<(i64, i64)>,
    /// The last word of the store.
    known: Option<Known>,
}

/// How much of a limit was given out, to all that share it.
#[derive(Clone, Copy)]
struct Known {
    limit: i64,
    /// The first stretch that counts: when it is over, there is more.
    first: i64,
    used: i64,
}

pub enum Refused {
    /// `None` = it never fits.
    Full {
        wait: Option<Duration>,
    },
    Store(Error),
}

pub enum Overdrawn {
    Covered,
    /// More is used than was leased.
    Owing,
    /// The store has no more to lease.
    Refused(Refused),
}

impl Meter {
    pub fn new(subject: Arc<str>, name: String, window: Window) -> Self {
        let (purse, asking) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { subject, name, window, purse, asking }
    }

    pub fn subject(&self) -> &Arc<str> {
        &self.subject
    }

    pub fn window(&self) -> Window {
        self.window
    }

    /// Takes `amount` out of the limit; the stretch it was taken from.
    pub async fn take(
        &self,
        amount: i64,
        limit: i64,
        steady: &Steady,
        store: &dyn Store,
    ) -> Result<i64, Refused> {
        if let Some(taken) = self.at_hand(amount, limit, steady.micros()) {
            return taken;
        }
        let _asking = self.asking.lock().await;
        let now = steady.micros();
        if let Some(taken) = self.at_hand(amount, limit, now) {
            return taken;
        }
        let lease = self.lease(amount, limit, now);
        let slot = lease.slot;
        let leased = store.quotas().lease(lease).await.map_err(Refused::Store)?;
        let mut purse = self.purse();
        purse.take_over(leased, limit);
        // Somebody may have given something back meanwhile.
        if purse.left >= amount {
            purse.left -= amount;
            return Ok(slot);
        }
        Err(self.full(&purse, now))
    }

    /// What can be told without the store: that there is enough, or that there was not.
    fn at_hand(&self, amount: i64, limit: i64, now: i64) -> Option<Result<i64, Refused>> {
        if amount > limit {
            return Some(Err(Refused::Full { wait: None }));
        }
        let mut purse = self.purse();
        if purse.slot == self.window.slot(now) && purse.left >= amount {
            purse.left -= amount;
            return Some(Ok(purse.slot));
        }
        self.lacks(&mut purse, amount, limit, now).then(|| Err(self.full(&purse, now)))
    }

    /// Why it would refuse, as far as is known.
    pub fn refuses(&self, amount: i64, limit: i64, now: i64) -> Option<Refused> {
        if amount > limit {
            return Some(Refused::Full { wait: None });
        }
        let mut purse = self.purse();
        let is_enough = purse.slot == self.window.slot(now) && purse.left >= amount;
        (!is_enough && self.lacks(&mut purse, amount, limit, now)).then(|| self.full(&purse, now))
    }

    /// What is left, as far as is known.
    pub fn left(&self, limit: i64, now: i64) -> i64 {
        let mut purse = self.purse();
        self.lacks(&mut purse, 0, limit, now);
        let left = purse.known.map_or(limit, |known| limit - known.used + purse.unused());
        left.clamp(0, limit)
    }

    /// Whether the store has said, of this time and this limit, that there is not so much.
    fn lacks(&self, purse: &mut Purse, amount: i64, limit: i64, now: i64) -> bool {
        let Some(known) = purse.known else { return false };
        if known.limit != limit || self.window.until_over(known.first, now).is_zero() {
            purse.known = None;
            return false;
        }
        known.limit - known.used + purse.unused() < amount
    }

    fn full(&self, purse: &Purse, now: i64) -> Refused {
        let first = purse.known.map_or(purse.slot, |known| known.first);
        Refused::Full { wait: Some(self.window.until_over(first, now)) }
    }

    fn lease(&self, amount: i64, limit: i64, now: i64) -> Lease {
        let slot = self.window.slot(now);
        let mut purse = self.purse();
        if purse.slot != slot {
            let (before, left) = (purse.slot, purse.left);
            (purse.slot, purse.left) = (slot, 0);
            purse.put_back(before, left);
        }
        let needed = amount - purse.left;
        Lease {
            subject: self.subject.to_string(),
            meter: self.name.clone(),
            slot,
            since: self.window.since(slot),
            limit,
            want: needed.max(limit / PART).max(1),
            unused: std::mem::take(&mut purse.returned),
        }
    }

    /// Takes what is in the purse and beyond, for a call that runs.
    pub fn overdraw(&self, amount: i64, limit: i64, now: i64) -> Overdrawn {
        let mut purse = self.purse();
        purse.left -= amount;
        if purse.left >= 0 {
            return Overdrawn::Covered;
        }
        if self.lacks(&mut purse, 0, limit, now) {
            return Overdrawn::Refused(self.full(&purse, now));
        }
        Overdrawn::Owing
    }

    /// Puts back what was taken from a stretch. Negative: takes more, whatever is left.
    pub fn give(&self, amount: i64, slot: i64) {
        let mut purse = self.purse();
        // What is used beyond what was taken is used now.
        if slot == purse.slot || amount < 0 {
            purse.left += amount;
        } else {
            purse.put_back(slot, amount);
        }
    }

    /// What is to be given back for good.
    pub fn unused(&self) -> Vec<Unused> {
        let mut purse = self.purse();
        let (slot, left) = (purse.slot, std::mem::take(&mut purse.left));
        purse.put_back(slot, left);
        let unused = std::mem::take(&mut purse.returned).into_iter().map(|(slot, amount)| Unused {
            subject: self.subject.to_string(),
            meter: self.name.clone(),
            slot,
            amount,
        });
        unused.collect()
    }

    fn purse(&self) -> MutexGuard<'_, Purse> {
        self.purse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Purse {
    fn put_back(&mut self, slot: i64, amount: i64) {
        if amount == 0 {
            return;
        }
        match self.returned.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, returned)) => *returned += amount,
            None => self.returned.push((slot, amount)),
        }
    }

    /// All that the store believes to be used and is not.
    fn unused(&self) -> i64 {
        self.left + self.returned.iter().map(|(_, amount)| amount).sum::<i64>()
    }

    fn take_over(&mut self, leased: Leased, limit: i64) {
        self.left += leased.granted;
        let first = leased.first.unwrap_or(self.slot);
        self.known = Some(Known { limit, first, used: leased.used });
    }
}
