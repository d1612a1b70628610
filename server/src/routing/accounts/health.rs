//! How the calls of one account went: what they say about the next one, and what people see.

use std::time::{Duration, Instant, SystemTime};

use mediary_domain::{Error, Kind, PicoUsd, RateLimitReport, Retry};

use super::{
    breaker::{Breaker, Pass},
    windows::Windows,
};
use crate::routing::outcome::Attempt;

/// How much a call counts in what is smoothed.
const NEWEST: f64 = 0.2;
/// A caller that goes away sooner says nothing about the provider.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many times the usual wait is too long.
const TOO_LONG: u32 = 4;
/// The wait after a refusal that names none; doubled with each in a row.
const USUAL_WAIT: Duration = Duration::from_secs(1);
const MOST_WAIT: Duration = Duration::from_secs(60);
/// An account whose money at the provider is spent is asked again after this.
const SPENT_WAIT: Duration = Duration::from_secs(60);
/// The longest that an account is left alone because its provider says that nothing is left: some
/// tell when all of a day is there again, of which a part comes back much sooner.
const EMPTY_WAIT: Duration = Duration::from_secs(60);

/// What an attempt says about the account that served it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Succeeded,
    /// The provider, or the way to it, is at fault.
    Failed,
    /// The provider is well: what was asked cannot be had.
    Answered,
    /// The provider wants to be left alone for this long.
    Limited(Duration),
    /// The provider does not take the key.
    Rejected,
    /// Nothing: whoever asked went away.
    Unknown,
}

#[derive(Debug)]
pub struct Health {
    pub breaker: Breaker,
    /// Until when the provider wants to be left alone, by both clocks.
    pub closed_until: Option<(Instant, SystemTime)>,
    /// Set when the provider does not take the key.
    pub rejected: bool,
    refusals_in_a_row: u32,
    /// Calls that run.
    pub running: u32,
    /// Those of them that were asked elsewhere before.
    pub again: u32,
    /// Part of the calls that succeed, newer ones counting more.
    pub success: f64,
    /// Seconds to the first piece of an answer, or to the whole of one that has no pieces.
    pub latency: Option<f64>,
    pub last_error: Option<(Error, SystemTime)>,
    pub windows: Windows,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            breaker: Breaker::default(),
            closed_until: None,
            rejected: false,
            refusals_in_a_row: 0,
            running: 0,
            again: 0,
            success: 1.0,
            latency: None,
            last_error: None,
            windows: Windows::default(),
        }
    }
}

impl Health {
    /// Forgets everything but what runs and what is counted.
    pub fn begin_anew(&mut self) {
        let Self { windows, running, again, .. } = std::mem::take(self);
        *self = Self { windows, running, again, ..Self::default() };
    }

    /// Whether one more call may be made now.
    pub fn pass(&self, now: Instant, is_last: bool) -> Pass {
        match self.closed_for(now) {
            Some(wait) => Pass::No(wait),
            None => self.breaker.pass(now, self.running, is_last),
        }
    }

    /// How long the provider still wants to be left alone.
    pub fn closed_for(&self, now: Instant) -> Option<Duration> {
        let (until, _) = self.closed_until?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// What a call to it will probably take: the less, the better. Calls that run count, so that
    /// those who come together do not all choose the same.
    pub fn load(&self) -> f64 {
        let latency = self.latency.unwrap_or(0.0).max(0.001);
        let success = self.success.clamp(0.05, 1.0);
        latency * f64::from(self.running + 1) / (success * success)
    }

    pub fn ended(
        &mut self,
        attempt: &Attempt,
        now: Instant,
        wall: SystemTime,
        chance: f64,
    ) -> Verdict {
        let verdict = self.verdict(attempt);
        match verdict {
            Verdict::Succeeded | Verdict::Answered => {
                self.refusals_in_a_row = 0;
                self.breaker.answered(now);
            }
            Verdict::Failed => self.breaker.failed(now, chance),
            Verdict::Limited(wait) => {
                self.refusals_in_a_row = self.refusals_in_a_row.saturating_add(1);
                self.close(wait, now, wall);
            }
            Verdict::Rejected => self.rejected = true,
            Verdict::Unknown => {}
        }
        if let Some(wait) = attempt.limits.and_then(|limits| until_more(&limits)) {
            self.close(wait, now, wall);
        }
        let succeeded = verdict == Verdict::Succeeded;
        match verdict {
            Verdict::Succeeded | Verdict::Failed | Verdict::Limited(_) | Verdict::Rejected => {
                smooth(&mut self.success, f64::from(u8::from(succeeded)));
                self.windows.add(wall, succeeded, attempt.cost);
            }
            Verdict::Answered | Verdict::Unknown => self.windows.spend(wall, attempt.cost),
        }
        if succeeded {
            let seconds = attempt.first_token.unwrap_or(attempt.took).as_secs_f64();
            match &mut self.latency {
                Some(latency) => smooth(latency, seconds),
                None => self.latency = Some(seconds),
            }
        } else if let (Some(error), false) = (&attempt.failure, verdict == Verdict::Unknown) {
            self.last_error = Some((error.clone(), wall));
        }
        verdict
    }

    /// Leaves it alone for a while.
    pub fn close(&mut self, wait: Duration, now: Instant, wall: SystemTime) {
        if self.closed_for(now).is_none_or(|known| known < wait) {
            self.closed_until = Some((now + wait, wall + wait));
        }
    }

    fn verdict(&self, attempt: &Attempt) -> Verdict {
        let Some(error) = &attempt.failure else { return Verdict::Succeeded };
        match error.kind() {
            Kind::UpstreamUnavailable
            | Kind::UpstreamTimeout
            | Kind::UpstreamTruncated
            | Kind::UpstreamProtocol => Verdict::Failed,
            Kind::UpstreamRateLimited => {
                let doubled = USUAL_WAIT.saturating_mul(1 << self.refusals_in_a_row.min(6));
                Verdict::Limited(match error.retry() {
                    // What a provider asks for is longer than what nobody has asked for.
                    Retry::Later(wait) => wait.max(doubled.min(MOST_WAIT)),
                    Retry::Never | Retry::Elsewhere => doubled.min(MOST_WAIT),
                })
            }
            Kind::UpstreamQuotaSpent => Verdict::Limited(SPENT_WAIT),
            // A key that may not use one model is a good one for others.
            Kind::CredentialsRejected
                if error.facts().get("upstreamKind").is_some_and(|kind| kind == "permission") =>
            {
                Verdict::Answered
            }
            Kind::CredentialsRejected => Verdict::Rejected,
            Kind::Cancelled | Kind::DeadlineExceeded | Kind::ShuttingDown => self.given_up(attempt),
            Kind::Bug | Kind::BudgetExceeded => Verdict::Unknown,
            _ => Verdict::Answered,
        }
    }

    /// A caller went away. Before anything came, and after a time in which something should have,
    /// that is the provider's fault.
    fn given_up(&self, attempt: &Attempt) -> Verdict {
        let usual = self.latency.map(|seconds| Duration::from_secs_f64(seconds.min(600.0)));
        let patience = usual.map_or(PATIENCE, |usual| PATIENCE.max(usual * TOO_LONG));
        if attempt.first_token.is_none() && attempt.took >= patience {
            Verdict::Failed
        } else {
            Verdict::Unknown
        }
    }
}

/// How long to leave an account alone whose provider says that nothing is left.
fn until_more(limits: &RateLimitReport) -> Option<Duration> {
    let wait = |left: Option<i64>, reset: Option<Duration>| reset.filter(|_| left == Some(0));
    let waits = [
        wait(limits.requests_remaining, limits.requests_reset),
        wait(limits.tokens_remaining, limits.tokens_reset),
    ];
    waits.into_iter().flatten().max().map(|wait| wait.min(EMPTY_WAIT))
}

fn smooth(value: &mut f64, new: f64) {
    *value += NEWEST * (new - *value);
}

/// Money is counted whoever is at fault.
impl Windows {
    fn spend(&mut self, wall: SystemTime, cost: PicoUsd) {
        if cost > PicoUsd(0) {
            self.pay(wall, cost);
        }
    }
}
