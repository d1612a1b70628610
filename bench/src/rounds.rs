//! The order of the day: starts and open streams first, then rounds of load, each server in turn.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use tokio::time::sleep;

use crate::{
    Result,
    figures::{Figure, Figures, Who},
    load::{Caller, Kind, Phase, Sample},
    promises,
    targets::{Bench, Target},
};

/// How much is done.
pub struct Plan {
    pub starts: usize,
    pub rounds: usize,
    /// Streams that are open at once when their memory is measured.
    pub held: usize,
    /// Multiplies the length of every stretch of load.
    pub scale: f64,
}

/// Connections that carry the open streams.
const HOLDING: usize = 10;
/// After the port opens, until memory is idle.
const IDLE: Duration = Duration::from_millis(300);
const OPEN: Duration = Duration::from_millis(500);
/// What a server gets to give memory back.
const SETTLE: Duration = Duration::from_millis(1_500);
const SETTLE_AFTER_LOAD: Duration = Duration::from_secs(3);

/// Times within these, in nanoseconds, are a delayed acknowledgement that somebody waited for.
const STEP: (u64, u64) = (38_000_000, 48_000_000);
/// As wide as [`STEP`], half of it on each side: what chance brings there.
const AROUND: [(u64, u64); 2] = [(33_000_000, 38_000_000), (48_000_000, 53_000_000)];

/// How many times lie where Nagle's algorithm would put them.
#[derive(Clone, Copy, Default)]
pub struct Step {
    pub inside: u64,
    pub around: u64,
    pub all: u64,
}

/// Everything that came of a run.
#[derive(Default)]
pub struct Outcome {
    pub figures: Figures,
    pub steps: BTreeMap<Who, Step>,
    /// How often each server failed, and how first.
    pub failures: BTreeMap<Who, (u64, String)>,
}

impl Plan {
    pub fn full() -> Self {
        Self { starts: 3, rounds: 7, held: 1_000, scale: 1.0 }
    }

    pub fn quick() -> Self {
        Self { starts: 2, rounds: 3, held: 1_000, scale: 0.4 }
    }

    fn phase(&self, kind: Kind, model: &'static str, shape: (usize, usize), ms: u64) -> Phase {
        let (connections, callers) = shape;
        let length = Duration::from_millis(ms).mul_f64(self.scale);
        Phase { kind, model, connections, callers, length }
    }

    fn alone(&self) -> Phase {
        self.phase(Kind::Whole, "one", (1, 1), 1_200)
    }

    fn first_token(&self) -> Phase {
        self.phase(Kind::Stream, "one", (1, 1), 1_000)
    }

    fn unary(&self) -> Phase {
        self.phase(Kind::Whole, "one", (4, 32), 1_500)
    }

    fn burst(&self) -> Phase {
        self.phase(Kind::Stream, "many", (4, 16), 1_500)
    }

    fn paced(&self) -> Phase {
        self.phase(Kind::Stream, "paced", (10, 100), 2_000)
    }
}

/// Measures Mediary, or `gateway` in its place, beside the yardstick.
pub async fn run(plan: &Plan, bench: &Bench, gateway: Option<Target>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let direct = bench.direct(gateway.is_none());
    for _ in 0..plan.starts {
        fresh(plan, Who::Yardstick, &bench.yardstick()?, &mut outcome).await?;
        if gateway.is_none() {
            fresh(plan, Who::Subject, &bench.mediary()?, &mut outcome).await?;
        }
    }
    if let Some(gateway) = &gateway {
        fresh(plan, Who::Subject, gateway, &mut outcome).await?;
    }
    if gateway.is_none() {
        promises::measure(bench, &mut outcome.figures).await?;
    }
    let yardstick = bench.yardstick()?;
    let subject = gateway.map_or_else(|| bench.mediary(), Ok)?;
    sleep(IDLE).await;
    let idle = (yardstick.watched.rss_kib()?, subject.watched.rss_kib()?);
    for round in 0..plan.rounds {
        eprint!("\rround {} of {}", round + 1, plan.rounds);
        let mut turns = [(Who::Yardstick, &yardstick), (Who::Subject, &subject)];
        if round % 2 == 1 {
            turns.reverse();
        }
        // Side by side, because their differences are what counts.
        answers(plan, Who::Direct, &direct, &mut outcome).await?;
        for (who, target) in turns {
            answers(plan, who, &target.caller, &mut outcome).await?;
        }
        for (who, target) in turns {
            load(plan, who, target, &mut outcome).await?;
        }
    }
    eprintln!();
    sleep(SETTLE_AFTER_LOAD).await;
    for (who, target, idle) in
        [(Who::Yardstick, &yardstick, idle.0), (Who::Subject, &subject, idle.1)]
    {
        outcome.figures.push(who, Figure::RssAfterLoad, target.watched.rss_kib()? / idle);
    }
    Ok(outcome)
}

/// Start, memory at rest, memory with open streams, memory after them.
async fn fresh(plan: &Plan, who: Who, target: &Target, outcome: &mut Outcome) -> Result<()> {
    let figures = &mut outcome.figures;
    if let Some(server) = &target.server {
        figures.push(who, Figure::Startup, server.startup.as_secs_f64() * 1e6);
    }
    sleep(IDLE).await;
    let idle = target.watched.rss_kib()?;
    figures.push(who, Figure::IdleRss, idle);
    let held = target.caller.hold(HOLDING, plan.held).await?;
    sleep(OPEN).await;
    let open = target.watched.rss_kib()?;
    figures.push(who, Figure::StreamRss, (open - idle) / plan.held as f64);
    drop(held);
    sleep(SETTLE).await;
    figures.push(who, Figure::RssAfterStreams, target.watched.rss_kib()? / idle);
    Ok(())
}

/// One call at a time: what a caller waits for.
async fn answers(plan: &Plan, who: Who, caller: &Caller, outcome: &mut Outcome) -> Result<()> {
    let whole = caller.run(plan.alone()).await?;
    outcome.saw(who, &whole, &[&whole.whole])?;
    let first = caller.run(plan.first_token()).await?;
    outcome.saw(who, &first, &[&first.first])?;
    for (figure, times, quantile) in [
        (Figure::UnaryP50, &whole.whole, 0.5),
        (Figure::UnaryP99, &whole.whole, 0.99),
        (Figure::FirstTokenP50, &first.first, 0.5),
        (Figure::FirstTokenP99, &first.first, 0.99),
    ] {
        outcome.figures.push(who, figure, times.value_at_quantile(quantile) as f64 / 1e3);
    }
    Ok(())
}

/// Many calls at a time: what a call costs.
async fn load(plan: &Plan, who: Who, target: &Target, outcome: &mut Outcome) -> Result<()> {
    let (unary, cpu) = busy(target, plan.unary()).await?;
    outcome.saw(who, &unary, &[])?;
    outcome.figures.push(who, Figure::UnaryCpu, cpu / unary.calls as f64);
    outcome.figures.push(who, Figure::UnaryRate, unary.calls as f64 / unary.length.as_secs_f64());
    let (burst, cpu) = busy(target, plan.burst()).await?;
    outcome.saw(who, &burst, &[])?;
    outcome.figures.push(who, Figure::BurstTokenCpu, cpu / burst.tokens as f64);
    outcome.figures.push(who, Figure::TokenRate, burst.tokens as f64 / burst.length.as_secs_f64());
    let (paced, cpu) = busy(target, plan.paced()).await?;
    outcome.saw(who, &paced, &[&paced.gaps])?;
    outcome.figures.push(who, Figure::PacedTokenCpu, cpu / paced.tokens as f64);
    Ok(())
}

/// The load, and the microseconds of CPU that it took the server.
async fn busy(target: &Target, phase: Phase) -> Result<(Sample, f64)> {
    let before = target.watched.cpu()?;
    let sample = target.caller.run(phase).await?;
    let used = target.watched.cpu()?.saturating_sub(before);
    Ok((sample, used.as_secs_f64() * 1e6))
}

impl Outcome {
    /// Remembers failures, and which of `times` lie at the step.
    fn saw(&mut self, who: Who, sample: &Sample, times: &[&Histogram<u64>]) -> Result<()> {
        if let Some(first) = &sample.first_failure {
            let known = self.failures.entry(who).or_insert_with(|| (0, first.clone()));
            known.0 += sample.failures;
        }
        if sample.calls == 0 {
            let why = sample.first_failure.as_deref().unwrap_or("no call ended in time");
            return Err(format!("{who:?}: nothing to measure: {why}").into());
        }
        let step = self.steps.entry(who).or_default();
        for times in times {
            step.all += times.len();
            step.inside += times.count_between(STEP.0, STEP.1);
            step.around +=
                AROUND.iter().map(|(from, to)| times.count_between(*from, *to)).sum::<u64>();
        }
        Ok(())
    }
}
