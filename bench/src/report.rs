//! The table, the bars, and what else a reader should know.

use std::{fmt::Write as _, fs, thread::available_parallelism, time::SystemTime};

use crate::{
    figures::{Figure, Figures, Spread, Who},
    rounds::{Outcome, Step},
};

/// RSS after load that still counts as idle, of the idle RSS.
const RETURNED: f64 = 1.2;

struct Row {
    label: &'static str,
    figure: Figure,
    /// What the direct call took is subtracted.
    added: bool,
    /// Values are divided by this.
    unit: f64,
    digits: usize,
    bar: Bar,
}

#[derive(Clone, Copy)]
enum Bar {
    None,
    /// Of the yardstick.
    Ratio(f64),
    /// Of what Mediary itself has, in the unit of the row.
    Value(f64),
}

const ROWS: &[Row] = &[
    row("CPU per unary call, µs", Figure::UnaryCpu, 1.0, 1).bar(Bar::Ratio(1.5)),
    row("CPU per streamed token, at once, µs", Figure::BurstTokenCpu, 1.0, 2).bar(Bar::Ratio(2.0)),
    row("CPU per streamed token, paced, µs", Figure::PacedTokenCpu, 1.0, 2).bar(Bar::Ratio(2.0)),
    row("added latency p50, µs", Figure::UnaryP50, 1.0, 0).added(),
    row("added latency p99, µs", Figure::UnaryP99, 1.0, 0).added().bar(Bar::Ratio(1.5)),
    row("added time to first token p50, µs", Figure::FirstTokenP50, 1.0, 0).added(),
    row("added time to first token p99, µs", Figure::FirstTokenP99, 1.0, 0).added(),
    row("unary calls a second, 32 at a time", Figure::UnaryRate, 1.0, 0),
    row("tokens a second, 16 streams", Figure::TokenRate, 1.0, 0),
    row("RSS idle, MiB", Figure::IdleRss, 1_024.0, 1).bar(Bar::Value(30.0)),
    row("RSS per open stream, KiB", Figure::StreamRss, 1.0, 1).bar(Bar::Value(32.0)),
    row("RSS after 1,000 streams / idle", Figure::RssAfterStreams, 1.0, 2),
    row("RSS after load / idle", Figure::RssAfterLoad, 1.0, 2).bar(Bar::Value(RETURNED)),
    row("start-up, ms", Figure::Startup, 1_000.0, 1),
    row("cancel to vendor's socket closed p50, ms", Figure::CancelP50, 1_000.0, 2),
    row("cancel to vendor's socket closed p99, ms", Figure::CancelP99, 1_000.0, 2)
        .bar(Bar::Value(100.0)),
    row("deadline overshoot p50, ms", Figure::LateP50, 1_000.0, 2),
    row("deadline overshoot p99, ms", Figure::LateP99, 1_000.0, 2).bar(Bar::Value(100.0)),
];

const fn row(label: &'static str, figure: Figure, unit: f64, digits: usize) -> Row {
    Row { label, figure, added: false, unit, digits, bar: Bar::None }
}

impl Row {
    const fn added(self) -> Self {
        Self { added: true, ..self }
    }

    const fn bar(self, bar: Bar) -> Self {
        Self { bar, ..self }
    }

    fn values(&self, figures: &Figures, who: Who) -> Vec<f64> {
        let values = figures.values(who, self.figure, self.added);
        values.into_iter().map(|value| value / self.unit).collect()
    }

    fn ratio(&self, figures: &Figures) -> Option<Spread> {
        let below = self.values(figures, Who::Yardstick);
        Spread::ratio(&self.values(figures, Who::Subject), &below)
    }

    /// What stands below the bar, the bar, and whether it was kept. `None`: it has no bar.
    fn check(&self, figures: &Figures) -> Option<(f64, f64, bool)> {
        let (found, bar) = match self.bar {
            Bar::None => return None,
            Bar::Ratio(bar) => (self.ratio(figures), bar),
            Bar::Value(bar) => (Spread::of(&self.values(figures, Who::Subject)), bar),
        };
        // Nothing to compare with is not a pass.
        let found = found.map_or(f64::NAN, |found| found.middle);
        Some((found, bar, found <= bar))
    }
}

/// The table in Markdown: medians of the rounds, least and most in brackets.
pub fn table(outcome: &Outcome, subject: &str) -> String {
    let figures = &outcome.figures;
    let mut text = format!("| | yardstick | {subject} | ratio |\n|---|---:|---:|---:|\n");
    for row in ROWS {
        let cell = |who| spread(Spread::of(&row.values(figures, who)), row.digits);
        let (yardstick, mediary) = (cell(Who::Yardstick), cell(Who::Subject));
        let ratio = spread(row.ratio(figures), 2);
        let _ = writeln!(text, "| {} | {yardstick} | {mediary} | {ratio} |", row.label);
    }
    text
}

fn spread(spread: Option<Spread>, digits: usize) -> String {
    match spread {
        None => "–".to_owned(),
        Some(Spread { middle, least, most }) if least == most => format!("{middle:.digits$}"),
        Some(Spread { middle, least, most }) => {
            format!("{middle:.digits$} ({least:.digits$}–{most:.digits$})")
        }
    }
}

/// One line for each bar, and whether all were kept.
pub fn checks(outcome: &Outcome) -> (String, bool) {
    let mut text = String::new();
    let mut kept = true;
    for row in ROWS {
        let Some((found, bar, passed)) = row.check(&outcome.figures) else { continue };
        let verdict = if passed { "PASS" } else { "MISS" };
        let of = if matches!(row.bar, Bar::Ratio(_)) { " times the yardstick" } else { "" };
        let _ = writeln!(text, "{verdict}  {}: {found:.2}{of}, bar {bar}", row.label);
        kept &= passed;
    }
    (text, kept)
}

/// The direct call, delayed acknowledgements, failures.
pub fn notes(outcome: &Outcome, subject: &str) -> String {
    let direct = |figure| {
        let values = outcome.figures.values(Who::Direct, figure, false);
        spread(Spread::of(&values), 0)
    };
    let mut text = format!(
        "direct call of the vendor: p50 {} µs, p99 {} µs; first token p50 {} µs, p99 {} µs\n",
        direct(Figure::UnaryP50),
        direct(Figure::UnaryP99),
        direct(Figure::FirstTokenP50),
        direct(Figure::FirstTokenP99),
    );
    for (who, step) in &outcome.steps {
        let (name, Step { inside, around, all }) = (name(*who, subject), *step);
        let seen = inside > 2 * around && inside * 1_000 > all;
        let verdict = if seen { "SEEN: somebody waits for an acknowledgement" } else { "none" };
        let _ = writeln!(
            text,
            "40 ms step, {name}: {verdict} ({inside} of {all} times in 38–48 ms, {around} beside it)"
        );
    }
    for who in [Who::Yardstick, Who::Subject] {
        let after = outcome.figures.values(who, Figure::RssAfterLoad, false);
        let Some(after) = Spread::of(&after).map(|after| after.middle) else { continue };
        let verdict = if after <= RETURNED { "within" } else { "not within" };
        let name = name(who, subject);
        let _ = writeln!(text, "RSS after load, {name}: {verdict} 20 % of idle ({after:.2})");
    }
    for (who, (count, first)) in &outcome.failures {
        let _ = writeln!(text, "FAILURES, {}: {count}, first: {first}", name(*who, subject));
    }
    text
}

fn name(who: Who, subject: &str) -> &str {
    match who {
        Who::Direct => "direct",
        Who::Yardstick => "yardstick",
        Who::Subject => subject,
    }
}

/// When and on what.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let date = humantime::format_rfc3339_seconds(SystemTime::now());
    format!(
        "{date}, {cores} cores of {}, Linux {}, load average {}",
        model.map_or("an unnamed CPU", |(_, name)| name),
        kernel.trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    )
}
