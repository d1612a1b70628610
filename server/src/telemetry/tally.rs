//! What one call adds up while it runs, for whoever tells of it at its end.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mediary_domain::Kind;

use crate::{provider::ModelRow, routing::CallKind};

/// Shared by all who serve one call; empty where nobody asks. A cheap handle.
#[derive(Clone, Default)]
pub struct Tally(Option<Arc<Mutex<Sums>>>);

#[derive(Default)]
struct Sums {
    upstream: Spans,
    last: Option<Served>,
}

/// When providers were at work, apart from each other and in order.
#[derive(Default)]
struct Spans(Vec<(Instant, Instant)>);

impl Spans {
    /// What ran side by side is counted once. They come in the order of their ends.
    fn add(&mut self, mut begin: Instant, end: Instant) {
        while let Some((from, to)) = self.0.last().copied()
            && to >= begin
        {
            begin = begin.min(from);
            self.0.pop();
        }
        self.0.push((begin, end));
    }

    /// `None` = nobody was asked.
    fn sum(&self) -> Option<Duration> {
        let all = self.0.iter().map(|(from, to)| to.saturating_duration_since(*from));
        (!self.0.is_empty()).then(|| all.sum())
    }
}

/// The attempt that ended last.
#[derive(Clone)]
pub struct Served {
    pub kind: CallKind,
    pub model: Arc<ModelRow>,
    pub first_token: Option<Instant>,
    pub end: Instant,
    pub output_tokens: i64,
    pub failure: Option<Kind>,
}

impl Tally {
    /// An empty one for a call that begins.
    pub fn begin() -> Self {
        Self(Some(Arc::default()))
    }

    /// A provider was at work from `begin` to `served.end`.
    pub fn served(&self, begin: Instant, served: Served) {
        if let Some(mut sums) = self.sums() {
            sums.upstream.add(begin, served.end);
            sums.last = Some(served);
        }
    }

    /// How long providers were at work; `None` = nobody was asked.
    pub fn upstream(&self) -> Option<Duration> {
        self.sums()?.upstream.sum()
    }

    pub fn last(&self) -> Option<Served> {
        self.sums()?.last.clone()
    }

    fn sums(&self) -> Option<MutexGuard<'_, Sums>> {
        // Whole between any two statements, so a panic elsewhere leaves nothing half done.
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn what_ran_side_by_side_is_counted_once_and_gaps_are_not() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut spans = Spans::default();
        assert_eq!(spans.sum(), None);
        for (from, to) in [(10, 20), (15, 40), (50, 60)] {
            spans.add(at(from), at(to));
        }
        assert_eq!(spans.sum(), Some(Duration::from_millis(40)));
        // One that spans all of them.
        spans.add(at(0), at(100));
        assert_eq!(spans.sum(), Some(Duration::from_millis(100)));
        assert_eq!(Tally::default().upstream(), None);
    }
}
