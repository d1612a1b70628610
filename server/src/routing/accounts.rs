//! Accounts as they are right now: which of them may be asked, which one is best, what runs there.
//!
//! Owns: choosing among the accounts of a model, letting a call in and out, what its end says about
//! the account. Leaves: how health is judged (`health`, `breaker`), what is limited (`limits`), which
//! accounts exist (the registry), keeping that a key was refused (the service).
//! Lives in this process alone; limits are shared by the store.

mod breaker;
mod health;
mod windows;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use mediary_domain::{Error, Kind, PicoUsd, TokenUsage};
use mediary_store::{AccountTotals, AttemptState, Store, Version, from_micros, to_micros};
use tokio::sync::mpsc;

use self::{
    breaker::Pass,
    health::{Health, Verdict},
};
pub use self::{breaker::Position, windows::SHOWN};
use super::{
    limits::{self, Demand, Expected, Limits, Reservation, Window},
    outcome::Attempt,
};
use crate::{access::Key, clock::Clock, registry::Account};

/// Calls of one account that were asked elsewhere before: so many, and this part of those that run.
const FREE_AGAIN: u32 = 3;
const SHARE_AGAIN: f64 = 0.2;
/// Accounts whose loads differ by less are equals: their weights decide.
const EQUAL: f64 = 1.25;
/// Attempts of earlier processes that are looked at, to show how accounts did.
const MOST_RECALLED: u32 = 50_000;
/// What a refusal that no time ends asks its caller to wait.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Every account of this process. A cheap handle.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    clock: Clock,
    limits: Limits,
    /// Whether how they are decides; else their order does.
    by_health: bool,
    live: RwLock<HashMap<String, Arc<Live>>>,
    rejections: mpsc::UnboundedSender<Arc<Account>>,
}

/// One account.
struct Live(Mutex<State>);

#[derive(Default)]
struct State {
    health: Health,
    /// What it was when it was last looked at: another key or address begins anew.
    seen: Option<Seen>,
}

#[derive(PartialEq)]
struct Seen {
    key_fingerprint: String,
    base_uri: String,
    version: Option<Version>,
}

/// Accounts that serve one model: those that may be asked, best first, and those that may not.
#[derive(Default)]
pub struct Choice {
    pub open: Vec<Arc<Account>>,
    pub closed: Vec<(Arc<Account>, Closed)>,
}

/// Why an account is not asked now.
pub enum Closed {
    /// The provider does not take its key.
    Rejected(Error),
    /// The provider wants to be left alone.
    Limited(Error),
    /// Its calls fail.
    Broken(Error),
    /// A limit or a budget of it is used up.
    Full(Error),
}

impl Closed {
    pub fn error(self) -> Error {
        match self {
            Self::Rejected(error)
            | Self::Limited(error)
            | Self::Broken(error)
            | Self::Full(error) => error,
        }
    }
}

/// A call that runs at an account, and what is reserved for it. Dropped, it is over and its
/// reservation is given back.
pub struct Place {
    live: Arc<Live>,
    again: bool,
    reservation: Reservation,
}

/// How an account looks from outside.
pub struct Standing {
    pub rejected: bool,
    pub closed_until: Option<SystemTime>,
    pub position: Position,
    pub retry_time: Option<SystemTime>,
    pub failures_in_a_row: u32,
    pub last_error: Option<(Error, SystemTime)>,
    /// Requests and successes of each stretch of [`SHOWN`].
    pub windows: [(i64, i64); SHOWN.len()],
    pub requests: i64,
    pub successes: i64,
    /// `None` = no call has ended.
    pub success_rate: Option<f64>,
    pub latency: Option<Duration>,
    pub cost: PicoUsd,
    pub day_cost: PicoUsd,
    pub month_cost: PicoUsd,
}

impl Accounts {
    /// With the end of a channel that hears of accounts whose keys are refused.
    pub fn new(
        clock: Clock,
        limits: Limits,
        by_health: bool,
    ) -> (Self, mpsc::UnboundedReceiver<Arc<Account>>) {
        let (rejections, heard) = mpsc::unbounded_channel();
        let live = RwLock::default();
        (Self(Arc::new(Inner { clock, limits, by_health, live, rejections })), heard)
    }

    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Sorts accounts into those that may be asked and those that may not. `expected` is what the
    /// call will probably use there.
    pub fn choose<'a>(
        &self,
        accounts: impl Iterator<Item = &'a Arc<Account>>,
        expected: impl Fn() -> Expected,
    ) -> Choice {
        let now = self.0.clock.now();
        let mut choice = Choice::default();
        let mut open = Vec::new();
        for account in accounts {
            let live = self.live(account);
            let (load, closed) = {
                let state = live.state();
                (state.health.load(), self.closed(account, &state.health, now, false))
            };
            let closed = closed.or_else(|| self.full(account, &expected));
            match closed {
                Some(why) => choice.closed.push((account.clone(), why)),
                None => open.push((account, load)),
            }
        }
        choice.open = self.in_order(open);
        choice
    }

    /// The better of two that chance picks, then the others by load.
    fn in_order(&self, mut open: Vec<(&Arc<Account>, f64)>) -> Vec<Arc<Account>> {
        let mut order = Vec::with_capacity(open.len());
        if open.len() > 1 && self.0.by_health {
            let one = open.remove(self.pick(&open));
            let other = open.remove(self.pick(&open));
            let (better, worse) = if one.1 * EQUAL < other.1 {
                (one, other)
            } else if other.1 * EQUAL < one.1 {
                (other, one)
            } else {
                // Equals: whom the weights picked first.
                (one, other)
            };
            order.push(better.0.clone());
            open.push(worse);
            open.sort_by(|one, other| one.1.total_cmp(&other.1));
        }
        order.extend(open.into_iter().map(|(account, _)| account.clone()));
        order
    }

    /// One by chance, in proportion to weight and to what its limits leave.
    fn pick(&self, open: &[(&Arc<Account>, f64)]) -> usize {
        let weights: Vec<f64> = open.iter().map(|(account, _)| self.weight(account)).collect();
        let mut at = self.0.clock.chance() * weights.iter().sum::<f64>();
        for (n, weight) in weights.iter().enumerate() {
            at -= weight;
            if at < 0.0 {
                return n;
            }
        }
        open.len() - 1
    }

    fn weight(&self, account: &Account) -> f64 {
        let parts = limits::of_account(account, Expected::default());
        let left = parts.iter().filter_map(|demand| {
            let left = self.0.limits.left(demand)?;
            Some(left as f64 / demand.limit.max(1) as f64)
        });
        account.settings.weight.unwrap_or(1.0) * left.fold(1.0, f64::min).max(0.01)
    }

    fn closed(
        &self,
        account: &Account,
        health: &Health,
        now: Instant,
        is_last: bool,
    ) -> Option<Closed> {
        if self.0.by_health { closed_to(account, health, now, is_last) } else { None }
    }

    fn full(&self, account: &Account, expected: impl Fn() -> Expected) -> Option<Closed> {
        let settings = &account.settings;
        if settings.limits.is_none() && settings.budget.is_none() {
            return None;
        }
        let demands = limits::of_account(account, expected());
        self.0.limits.known_refusal(&demands).map(Closed::Full)
    }

    /// Lets a call in, but for its limits: those are told, to be reserved. `is_last` = nobody else
    /// can be asked; `again` = somebody else was.
    pub fn enter(
        &self,
        account: &Account,
        key: Option<&Key>,
        expected: impl FnOnce() -> Expected,
        is_last: bool,
        again: bool,
    ) -> Result<(Place, Vec<Demand>), Error> {
        let live = self.live(account);
        {
            let mut state = live.state();
            let health = &mut state.health;
            if let Some(closed) = self.closed(account, health, self.0.clock.now(), is_last) {
                return Err(closed.error());
            }
            let most = account.settings.limits.and_then(|limits| limits.concurrent_requests);
            if let Some(most) = most.filter(|most| i64::from(health.running) >= i64::from(*most)) {
                let error = Error::new(
                    Kind::RateLimited,
                    format!("the account has {most} calls at the same time and may have no more"),
                );
                return Err(error.retry_after(A_MOMENT).fact("limit", most.to_string()));
            }
            let budget = if !self.0.by_health {
                u32::MAX
            } else {
                FREE_AGAIN + (f64::from(health.running) * SHARE_AGAIN) as u32
            };
            if again && health.again >= budget {
                let error = Error::new(
                    Kind::UpstreamUnavailable,
                    "too many calls that failed elsewhere ask this account",
                );
                return Err(error
                    .retry_after(A_MOMENT)
                    .fact("provider", account.provider.as_str()));
            }
            health.running += 1;
            health.again += u32::from(again);
        }
        let place = Place { live, again, reservation: Reservation::default() };
        let settings = &account.settings;
        let is_limited = settings.limits.is_some() || settings.budget.is_some();
        let demands = match (is_limited, key) {
            (false, None) => Vec::new(),
            (_, key) => {
                let expected = expected();
                let of_key = key.map(|key| limits::of_key(key, expected)).unwrap_or_default();
                let mut demands = limits::of_account(account, expected);
                demands.extend(of_key);
                demands
            }
        };
        Ok((place, demands))
    }

    /// What an attempt that has ended says about its account.
    pub fn ended(&self, attempt: &Attempt) {
        let Inner { clock, rejections, .. } = &*self.0;
        let live = self.live(&attempt.account);
        let (now, wall, chance) = (clock.now(), clock.wall(), clock.chance());
        let verdict = live.state().health.ended(attempt, now, wall, chance);
        if verdict == Verdict::Rejected && self.0.by_health {
            // Without a listener the process ends.
            let _ = rejections.send(attempt.account.clone());
        }
    }

    /// A test has found that the provider takes the key and answers.
    pub fn is_well(&self, account: &Account) {
        let live = self.live(account);
        let mut state = live.state();
        state.health.rejected = false;
        state.health.closed_until = None;
        state.health.breaker = breaker::Breaker::default();
    }

    /// Goes on from what earlier processes have kept of their attempts.
    pub async fn remember(
        &self,
        store: &dyn Store,
        known: impl Fn(&str) -> Option<Arc<Account>>,
    ) -> mediary_store::Result<()> {
        let wall = self.0.clock.wall();
        let now = to_micros(wall);
        let since = |window: Window| from_micros(window.begin(window.slot(now)));
        let ledger = store.ledger();
        let by_account = |all: Vec<AccountTotals>| -> HashMap<String, AccountTotals> {
            all.into_iter().map(|one| (one.account.clone(), one)).collect()
        };
        let day = by_account(ledger.totals(since(Window::Day)).await?);
        let month = by_account(ledger.totals(since(Window::Month)).await?);
        let cost = |of: &HashMap<String, AccountTotals>, name: &str| {
            of.get(name).map(|one| one.cost).unwrap_or_default()
        };
        for all in ledger.totals(SystemTime::UNIX_EPOCH).await? {
            let Some(account) = known(&all.account) else { continue };
            let (day, month) = (cost(&day, &all.account), cost(&month, &all.account));
            self.live(&account).state().health.windows.remember(wall, day, month, &all);
        }
        let recent = wall.checked_sub(SHOWN[SHOWN.len() - 1]).unwrap_or(wall);
        for one in ledger.outcomes(recent, MOST_RECALLED).await? {
            let Some(account) = known(&one.account) else { continue };
            if one.state != AttemptState::Cancelled {
                let succeeded = one.state == AttemptState::Succeeded;
                self.live(&account).state().health.windows.recall(one.end, succeeded);
            }
        }
        Ok(())
    }

    pub fn standing(&self, account: &Account) -> Standing {
        let (now, wall) = (self.0.clock.now(), self.0.clock.wall());
        let live = self.live(account);
        let state = live.state();
        let health = &state.health;
        let windows = &health.windows;
        let position = health.breaker.position(now);
        let closed_until = health.closed_for(now).and(health.closed_until).map(|(_, until)| until);
        let opens = match position {
            Position::Open(until) => Some(wall + until.saturating_duration_since(now)),
            Position::Closed | Position::HalfOpen => None,
        };
        Standing {
            rejected: health.rejected,
            closed_until,
            position,
            retry_time: closed_until.max(opens),
            failures_in_a_row: health.breaker.failures(),
            last_error: health.last_error.clone(),
            windows: SHOWN.map(|length| windows.within(length, wall)),
            requests: windows.requests,
            successes: windows.successes,
            success_rate: (windows.requests > 0).then_some(health.success),
            latency: health.latency.and_then(|one| Duration::try_from_secs_f64(one).ok()),
            cost: windows.cost,
            day_cost: windows.day_cost(wall),
            month_cost: windows.month_cost(wall),
        }
    }

    fn live(&self, account: &Account) -> Arc<Live> {
        let known = {
            let all = self.0.live.read().unwrap_or_else(PoisonError::into_inner);
            all.get(&account.id).cloned()
        };
        let live = known.unwrap_or_else(|| {
            let mut all = self.0.live.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Live(Mutex::default()));
            all.entry(account.id.clone()).or_insert_with(new).clone()
        });
        live.state().see(account);
        live
    }
}

impl State {
    /// Forgets what was found of another key, or before somebody changed the account.
    fn see(&mut self, account: &Account) {
        let version = account.stamp.map(|stamp| stamp.version);
        let is_known = |seen: &Seen| {
            seen.key_fingerprint == account.key_fingerprint && seen.base_uri == account.base_uri
        };
        match &self.seen {
            Some(seen) if is_known(seen) && seen.version == version => return,
            Some(seen) if is_known(seen) => self.health.rejected = false,
            Some(_) => self.health.begin_anew(),
            None => {}
        }
        self.seen = Some(Seen {
            key_fingerprint: account.key_fingerprint.clone(),
            base_uri: account.base_uri.clone(),
            version,
        });
    }
}

impl Live {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub fn holding(mut self, reservation: Reservation) -> Self {
        self.reservation = reservation;
        self
    }

    /// Makes room for more than was expected.
    pub fn grow(&mut self, to: Expected) -> Result<(), Error> {
        self.reservation.grow(to)
    }

    /// Whether nothing limits the call.
    pub fn is_free(&self) -> bool {
        self.reservation.is_empty()
    }

    /// The call has ended, and used so much.
    pub fn settle(mut self, usage: Option<&TokenUsage>, cost: PicoUsd) {
        std::mem::take(&mut self.reservation).settle(usage, cost);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.live.state();
        let health = &mut state.health;
        health.running = health.running.saturating_sub(1);
        health.again = health.again.saturating_sub(u32::from(self.again));
    }
}

fn closed_to(account: &Account, health: &Health, now: Instant, is_last: bool) -> Option<Closed> {
    let provider = account.provider.as_str();
    if health.rejected {
        let message = format!("{provider} does not take the key of the account that is left");
        let error = Error::new(Kind::CredentialsRejected, message).fact("provider", provider);
        return Some(Closed::Rejected(error));
    }
    if let Some(wait) = health.closed_for(now) {
        let message = format!("{provider} has asked to be left alone for a while");
        let error = Error::new(Kind::UpstreamRateLimited, message).fact("provider", provider);
        return Some(Closed::Limited(error.retry_after(wait)));
    }
    match health.pass(now, is_last) {
        Pass::Free | Pass::Probe => None,
        Pass::No(wait) => {
            let message = format!("calls to {provider} fail: it is tried again in a moment");
            let error = Error::new(Kind::UpstreamUnavailable, message).fact("provider", provider);
            Some(Closed::Broken(error.retry_after(wait.max(Duration::from_millis(100)))))
        }
    }
}

#[cfg(test)]
mod tests;
