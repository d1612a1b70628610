//! How many connections there may be, and who has to go for a newcomer.
//!
//! Owns: the places, one a connection, in all and of one address. Whoever has never made a call
//! holds its place only as long as nobody else wants it: silent peers, however many, keep no
//! caller out.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio_util::sync::CancellationToken;

/// All places of a listener.
pub struct Places {
    most: usize,
    most_of_one: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Those that have never made a call, the oldest first.
    silent: BTreeMap<u64, (IpAddr, CancellationToken)>,
    next: u64,
}

/// A connection's right to be there. Dropping it frees the place.
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
    number: u64,
    is_silent: AtomicBool,
    /// Fired when a newcomer has got this place.
    pub taken: CancellationToken,
}

impl Places {
    pub fn new(most: usize, most_of_one: Option<usize>) -> Arc<Self> {
        let most_of_one = most_of_one.unwrap_or_else(|| (most - most / 3).max(1));
        Arc::new(Self { most, most_of_one, state: Mutex::default() })
    }

    /// A place for a peer; `None` = all are held by callers.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = subscriber(address);
        let mut state = self.state();
        let of_one = state.by_address.get(&address).copied().unwrap_or_default();
        let is_free = (of_one < self.most_of_one || state.evict(|one| one == address))
            && (state.open < self.most || state.evict(|_| true));
        if !is_free {
            return None;
        }
        let (number, taken) = (state.next, CancellationToken::new());
        state.next += 1;
        state.open += 1;
        *state.by_address.entry(address).or_default() += 1;
        state.silent.insert(number, (address, taken.clone()));
        let is_silent = AtomicBool::new(true);
        Some(Place { places: self.clone(), address, number, is_silent, taken })
    }

    /// Has the oldest silent peer leave; false if there is none.
    pub fn evict(&self) -> bool {
        self.state().evict(|_| true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn evict(&mut self, whom: impl Fn(IpAddr) -> bool) -> bool {
        let oldest = self.silent.iter().find(|(_, (address, _))| whom(*address));
        let Some(number) = oldest.map(|(number, _)| *number) else { return false };
        let Some((address, taken)) = self.silent.remove(&number) else { return false };
        taken.cancel();
        self.free(address);
        true
    }

    fn free(&mut self, address: IpAddr) {
        self.open -= 1;
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Place {
    /// The peer makes a call: from now on nobody is given its place.
    pub fn called(&self) {
        if self.is_silent.load(Ordering::Relaxed) {
            self.is_silent.store(false, Ordering::Relaxed);
            self.places.state().silent.remove(&self.number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.silent.remove(&self.number);
        // One that was given away was counted off then.
        if !self.taken.is_cancelled() {
            state.free(self.address);
        }
    }
}

/// Who is meant by an address: of IPv6 a subscriber has a whole network of 64 bits.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(one) if !one.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(one.to_bits() >> 64 << 64))
        }
        one => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_oldest_silent_peer_leaves_for_a_newcomer_and_a_caller_never_does() {
        let places = Places::new(3, Some(3));
        let [caller, first, second] =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|peer| places.take(address(peer)).unwrap());
        caller.called();
        let third = places.take(address("10.0.0.4")).unwrap();
        assert!(first.taken.is_cancelled() && !second.taken.is_cancelled());
        // Its place was counted off when it was given away, not when it goes.
        drop(first);
        second.called();
        third.called();
        assert!(places.take(address("10.0.0.5")).is_none());
        drop(second);
        assert!(places.take(address("10.0.0.5")).is_some());
        assert!(!caller.taken.is_cancelled());
        drop((caller, third));
        assert_eq!(places.state().open, 0);
        assert!(places.state().by_address.is_empty() && places.state().silent.is_empty());
    }

    #[test]
    fn one_address_has_its_share_and_an_ipv6_network_counts_as_one() {
        let places = Places::new(9, None);
        let held: Vec<_> = (1..=6)
            .map(|n| places.take(address(&format!("2001:db8::{n}"))).unwrap())
            .inspect(Place::called)
            .collect();
        assert!(places.take(address("2001:db8::ffff")).is_none());
        assert!(places.take(address("2001:db8:0:1::1")).is_some());
        assert!(places.take(address("::ffff:10.0.0.1")).is_some());
        drop(held);
    }
}
