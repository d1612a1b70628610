//! Limits of calls, tokens and money: what a call will probably use is reserved before it is asked,
//! and settled once when it has ended.
//!
//! Owns: which limits a call has to fit into, and the reservation. Leaves: one limit (`meter`), what
//! is kept (the store), whether an account works (`accounts`).
//! Invariant: what was reserved and is not settled is given back, whichever way a call ends.

mod meter;
mod window;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use mediary_domain::{Error, Kind, PicoUsd, Price, Retry, TokenUsage, cost_of_tokens};
use mediary_store::Shared;
use tokio_util::task::TaskTracker;

use self::meter::{Meter, Refused};
pub use self::window::Window;
use crate::{
    access::Key,
    clock::Steady,
    registry::{Account, Budget},
};

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    Requests,
    Tokens,
    /// Pico-USD.
    Cost,
}

/// One limit that a call has to fit into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Whose limit it is: `accounts/{account}` or `apiKeys/{key}`.
    pub subject: Arc<str>,
    pub counted: Counted,
    pub window: Window,
    pub limit: i64,
    pub amount: i64,
}

/// What a call will probably use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub tokens: i64,
    pub cost: PicoUsd,
}

impl Expected {
    pub fn of(usage: &TokenUsage, prices: &[Price]) -> Self {
        let tokens = usage.input.saturating_add(usage.output);
        Self { tokens, cost: cost_of_tokens(usage, prices) }
    }
}

/// Every limit of this process. A cheap handle.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    store: Shared,
    steady: Steady,
    meters: RwLock<HashMap<MeterKey, Arc<Meter>>>,
    /// Questions to the store that no call waits for.
    tasks: TaskTracker,
}

type MeterKey = (Arc<str>, Counted, Window);

impl Limits {
    pub fn new(store: Shared, steady: Steady) -> Self {
        let (meters, tasks) = (RwLock::default(), TaskTracker::new());
        Self(Arc::new(Inner { store, steady, meters, tasks }))
    }

    /// Reserves all of it, or nothing.
    pub async fn reserve(&self, demands: Vec<Demand>) -> Result<Reservation, Error> {
        let mut reservation = Reservation::default();
        for demand in demands {
            let meter = self.meter(&demand);
            match meter.take(demand.amount, demand.limit, &self.0.steady, &*self.0.store).await {
                Ok(slot) => reservation.holds.push(Hold {
                    limits: self.clone(),
                    counted: demand.counted,
                    limit: demand.limit,
                    slot,
                    amount: demand.amount,
                    meter,
                }),
                // What was held so far is given back when it is dropped.
                Err(refused) => return Err(told(&demand, refused)),
            }
        }
        Ok(reservation)
    }

    /// Why a call would be refused, as far as that is known without asking the store.
    pub fn known_refusal(&self, demands: &[Demand]) -> Option<Error> {
        demands.iter().find_map(|demand| {
            let meter = self.known(demand)?;
            let refused = meter.refuses(demand.amount, demand.limit, self.0.steady.micros())?;
            Some(told(demand, refused))
        })
    }

    /// What the limit leaves, as far as this process knows; `None` = it was never asked.
    pub fn left(&self, demand: &Demand) -> Option<i64> {
        Some(self.known(demand)?.left(demand.limit, self.0.steady.micros()))
    }

    /// Gives back what was leased and not used, when the process ends.
    pub async fn close(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        let unused: Vec<_> = {
            let meters = self.0.meters.read().unwrap_or_else(PoisonError::into_inner);
            meters.values().flat_map(|meter| meter.unused()).collect()
        };
        if !unused.is_empty()
            && let Err(error) = self.0.store.quotas().give_back(unused).await
        {
            tracing::warn!("what limits had left is not given back: {error}");
        }
    }

    fn known(&self, demand: &Demand) -> Option<Arc<Meter>> {
        let meters = self.0.meters.read().unwrap_or_else(PoisonError::into_inner);
        meters.get(&(demand.subject.clone(), demand.counted, demand.window)).cloned()
    }

    fn meter(&self, demand: &Demand) -> Arc<Meter> {
        self.known(demand).unwrap_or_else(|| {
            let key = (demand.subject.clone(), demand.counted, demand.window);
            let mut meters = self.0.meters.write().unwrap_or_else(PoisonError::into_inner);
            let new = || {
                let name = format!("{}-{}", demand.counted.word(), demand.window.word());
                Arc::new(Meter::new(demand.subject.clone(), name, demand.window))
            };
            meters.entry(key).or_insert_with(new).clone()
        })
    }
}

/// What a call holds of its limits. Dropped without being settled, it is given back whole.
#[derive(Default)]
pub struct Reservation {
    holds: Vec<Hold>,
}

struct Hold {
    limits: Limits,
    meter: Arc<Meter>,
    counted: Counted,
    limit: i64,
    slot: i64,
    amount: i64,
}

impl Reservation {
    /// Whether nothing limits the call.
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    /// Makes it hold so much, where the call has grown beyond what was expected. The failure says
    /// which limit does not allow it.
    pub fn grow(&mut self, to: Expected) -> Result<(), Error> {
        for hold in &mut self.holds {
            let needed = match hold.counted {
                Counted::Requests => continue,
                Counted::Tokens => to.tokens,
                Counted::Cost => to.cost.0,
            };
            let more = needed - hold.amount;
            if more <= 0 {
                continue;
            }
            let inner = &hold.limits.0;
            // What is in hand is taken at once; what has to be leased is leased beside the answer.
            let taken = hold.meter.overdraw(more, hold.limit, inner.steady.micros());
            hold.amount = needed;
            match taken {
                meter::Overdrawn::Covered => {}
                meter::Overdrawn::Owing => {
                    let (limits, meter, limit) =
                        (hold.limits.clone(), hold.meter.clone(), hold.limit);
                    inner.tasks.spawn(async move {
                        // What it finds out is met by the next that asks.
                        let _ = meter.take(0, limit, &limits.0.steady, &*limits.0.store).await;
                    });
                }
                meter::Overdrawn::Refused(refused) => {
                    let demand = hold.demand();
                    return Err(told(&demand, refused));
                }
            }
        }
        Ok(())
    }

    /// Replaces what was expected by what was used. What a failed call used is nothing but a call.
    pub fn settle(mut self, usage: Option<&TokenUsage>, cost: PicoUsd) {
        for hold in self.holds.drain(..) {
            let used = match hold.counted {
                Counted::Requests => hold.amount,
                Counted::Tokens => {
                    usage.map_or(0, |usage| usage.input.saturating_add(usage.output))
                }
                Counted::Cost => cost.0,
            };
            hold.meter.give(hold.amount.saturating_sub(used), hold.slot);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        for hold in &self.holds {
            hold.meter.give(hold.amount, hold.slot);
        }
    }
}

impl Hold {
    fn demand(&self) -> Demand {
        Demand {
            subject: self.meter.subject().clone(),
            counted: self.counted,
            window: self.meter.window(),
            limit: self.limit,
            amount: self.amount,
        }
    }
}

impl Counted {
    fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
        }
    }
}

/// The limits of an account that a call has to fit into.
pub fn of_account(account: &Account, expected: Expected) -> Vec<Demand> {
    let limits = account.settings.limits.unwrap_or_default();
    let budget = account.settings.budget.unwrap_or_default();
    if limits == crate::registry::Limits::default() && budget == Budget::default() {
        return Vec::new();
    }
    let subject: Arc<str> = account.name().into();
    demands(
        &subject,
        [
            limits.requests_per_minute,
            limits.requests_per_day,
            limits.tokens_per_minute,
            limits.tokens_per_day,
            budget.day_pico_usd,
            budget.month_pico_usd,
        ],
        expected,
    )
}

/// The limits of a key that a call has to fit into; how many calls it may make is counted at the
/// door.
pub fn of_key(key: &Key, expected: Expected) -> Vec<Demand> {
    let settings = &key.settings;
    let limits = [
        None,
        None,
        settings.tokens_per_minute,
        settings.tokens_per_day,
        settings.day_pico_usd,
        settings.month_pico_usd,
    ];
    if limits.iter().all(Option::is_none) {
        return Vec::new();
    }
    demands(&key.name().into(), limits, expected)
}

fn demands(subject: &Arc<str>, limits: [Option<i64>; 6], expected: Expected) -> Vec<Demand> {
    let kinds = [
        (Counted::Requests, Window::Minute, 1),
        (Counted::Requests, Window::Day, 1),
        (Counted::Tokens, Window::Minute, expected.tokens),
        (Counted::Tokens, Window::Day, expected.tokens),
        (Counted::Cost, Window::Day, expected.cost.0),
        (Counted::Cost, Window::Month, expected.cost.0),
    ];
    let all = limits.into_iter().zip(kinds).filter_map(|(limit, (counted, window, amount))| {
        let limit = limit?;
        // How many tokens an answer has is a guess: it shall not keep the call out for ever.
        let amount = if counted == Counted::Tokens { amount.min(limit) } else { amount };
        Some(Demand { subject: subject.clone(), counted, window, limit, amount })
    });
    all.collect()
}

/// What a caller hears of a limit that it does not fit into.
fn told(demand: &Demand, refused: Refused) -> Error {
    let Demand { subject, counted, window, limit, amount } = demand;
    let span = window.word();
    let wait = match refused {
        Refused::Store(error) => return error.into(),
        Refused::Full { wait } => wait,
    };
    let unit = match counted {
        Counted::Requests => "calls",
        Counted::Tokens => "tokens",
        Counted::Cost => "pico-USD",
    };
    // Which accounts there are is for operators to see.
    let subject = if subject.starts_with("accounts/") { "the account" } else { &**subject };
    let kind = if *counted == Counted::Cost { Kind::BudgetExceeded } else { Kind::RateLimited };
    let message = match wait {
        Some(_) => format!("{subject} may use {limit} {unit} a {span}, and too few are left"),
        None => format!("{subject} may use {limit} {unit} a {span}: {amount} never fit"),
    };
    let error = Error::new(kind, message)
        .fact("subject", subject)
        .fact("quota", format!("{}-{span}", counted.word()))
        .fact("limit", limit.to_string());
    match wait {
        Some(wait) => error.retry_after(wait.max(Duration::from_millis(1))),
        None => error.with_retry(Retry::Never),
    }
}

#[cfg(test)]
mod tests;
