//! What attempts have taught about presets and their members, in this process.
//!
//! Owns: counting, and writing what was learned down from time to time, in one batch and off the
//! way of any call. Leaves: what is made of it (`adaptive`).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use mediary_domain::{Error, Kind, PicoUsd};
use mediary_store::Learning;
use tokio::time::sleep;
use tracing::warn;

use super::adaptive::Arm;

/// How often what was learned is written down.
const KEEPING: Duration = Duration::from_secs(5);
/// What is left of the recent success of a preset with each attempt.
const KEPT: f64 = 0.98;

/// A cheap handle to what the process has learned.
#[derive(Clone, Default)]
pub struct Learned(Arc<Mutex<HashMap<String, Lessons>>>);

/// What one preset has taught.
#[derive(Default)]
struct Lessons {
    statistics: Statistics,
    /// By model.
    arms: BTreeMap<String, (Arm, SystemTime)>,
    /// There is something that is not written down.
    is_new: bool,
}

/// How attempts of a preset went since the process has started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    pub attempts: i64,
    pub successes: i64,
    pub cost: PicoUsd,
    recent: f64,
    recent_successes: f64,
}

impl Statistics {
    /// Of recent attempts, older ones counting less; `None` = there were none.
    pub fn success_rate(&self) -> Option<f64> {
        (self.recent > 0.0).then(|| self.recent_successes / self.recent)
    }
}

/// What one attempt teaches.
pub struct Lesson<'a> {
    /// Id of the preset.
    pub preset: &'a str,
    /// Name of the member's model.
    pub member: &'a str,
    pub verdict: Verdict,
    pub took: Duration,
    pub cost: PicoUsd,
    pub at: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Succeeded,
    Failed,
    /// It failed by fault of the request.
    Blameless,
    /// It was let go before it could end.
    Cancelled,
}

impl Verdict {
    pub fn of(failure: Option<&Error>) -> Self {
        let Some(failure) = failure else { return Self::Succeeded };
        match failure.kind() {
            Kind::Cancelled | Kind::ShuttingDown | Kind::ClientTooSlow => Self::Cancelled,
            // Too slow for a caller, or no longer there.
            Kind::DeadlineExceeded | Kind::NotFound => Self::Failed,
            _ if failure.may_succeed_elsewhere() => Self::Failed,
            _ => Self::Blameless,
        }
    }
}

impl Learned {
    /// With what was written down before.
    pub fn of(rows: &[mediary_store::Learned]) -> Self {
        let learned = Self::default();
        let mut all = learned.lessons();
        for row in rows {
            match serde_json::from_str::<Arm>(&row.json) {
                Ok(arm) => {
                    let lessons = all.entry(row.preset.clone()).or_default();
                    lessons.arms.insert(row.member.clone(), (arm, row.update_time));
                }
                Err(error) => {
                    let (preset, member) = (&row.preset, &row.member);
                    warn!("what presets/{preset} has learned of {member} is lost: {error}");
                }
            }
        }
        drop(all);
        learned
    }

    pub fn hear(&self, lesson: &Lesson<'_>) {
        let mut all = self.lessons();
        if !all.contains_key(lesson.preset) {
            all.insert(lesson.preset.to_owned(), Lessons::default());
        }
        if let Some(lessons) = all.get_mut(lesson.preset) {
            lessons.hear(lesson);
        }
    }

    /// What is known of these members.
    pub fn arms<'a>(&self, preset: &str, members: impl Iterator<Item = &'a str>) -> Vec<Arm> {
        let all = self.lessons();
        let lessons = all.get(preset);
        let arm = |member: &str| lessons.and_then(|one| one.arms.get(member));
        members.map(|member| arm(member).map_or_else(Arm::default, |(arm, _)| *arm)).collect()
    }

    /// What is known of one of them, and since when; `None` = nothing.
    pub fn arm(&self, preset: &str, member: &str) -> Option<(Arm, SystemTime)> {
        self.lessons().get(preset)?.arms.get(member).copied()
    }

    pub fn statistics(&self, preset: &str) -> Statistics {
        self.lessons().get(preset).map(|one| one.statistics).unwrap_or_default()
    }

    /// A preset that is gone has taught nothing.
    pub fn forget(&self, preset: &str) {
        self.lessons().remove(preset);
    }

    /// Writes down what is new, for ever.
    pub async fn keep(&self, store: &dyn Learning) {
        loop {
            sleep(KEEPING).await;
            self.keep_now(store).await;
        }
    }

    /// Writes down what is new.
    pub async fn keep_now(&self, store: &dyn Learning) {
        let rows = self.news();
        if rows.is_empty() {
            return;
        }
        let presets: Vec<String> = rows.iter().map(|row| row.preset.clone()).collect();
        if let Err(error) = store.keep(rows).await {
            warn!("what presets have learned is not kept: {error}");
            // The next time.
            let mut all = self.lessons();
            for preset in presets {
                if let Some(lessons) = all.get_mut(&preset) {
                    lessons.is_new = true;
                }
            }
        }
    }

    fn news(&self) -> Vec<mediary_store::Learned> {
        let mut rows = Vec::new();
        for (preset, lessons) in self.lessons().iter_mut() {
            if !std::mem::take(&mut lessons.is_new) {
                continue;
            }
            for (member, (arm, at)) in &lessons.arms {
                if let Ok(json) = serde_json::to_string(arm) {
                    rows.push(mediary_store::Learned {
                        preset: preset.clone(),
                        member: member.clone(),
                        json,
                        update_time: *at,
                    });
                }
            }
        }
        rows
    }

    fn lessons(&self) -> MutexGuard<'_, HashMap<String, Lessons>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lessons {
    fn hear(&mut self, lesson: &Lesson<'_>) {
        let statistics = &mut self.statistics;
        statistics.cost += lesson.cost;
        if lesson.verdict == Verdict::Cancelled {
            return;
        }
        let succeeded = lesson.verdict == Verdict::Succeeded;
        statistics.attempts += 1;
        statistics.successes += i64::from(succeeded);
        statistics.recent = statistics.recent * KEPT + 1.0;
        statistics.recent_successes =
            statistics.recent_successes * KEPT + f64::from(u8::from(succeeded));
        if lesson.verdict == Verdict::Blameless {
            return;
        }
        for (arm, _) in self.arms.values_mut() {
            arm.forget_a_little();
        }
        if !self.arms.contains_key(lesson.member) {
            self.arms.insert(lesson.member.to_owned(), (Arm::default(), lesson.at));
        }
        if let Some((arm, at)) = self.arms.get_mut(lesson.member) {
            *at = lesson.at;
            if succeeded {
                arm.succeeded(lesson.took, lesson.cost.0 as f64);
            } else {
                arm.failed();
            }
        }
        self.is_new = true;
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn lesson(member: &'static str, verdict: Verdict) -> Lesson<'static> {
        Lesson {
            preset: "p",
            member,
            verdict,
            took: Duration::from_millis(500),
            cost: PicoUsd(7),
            at: UNIX_EPOCH,
        }
    }

    #[test]
    fn what_is_written_down_comes_back_and_only_news_are_written() {
        let learned = Learned::default();
        learned.hear(&lesson("a", Verdict::Succeeded));
        learned.hear(&lesson("a", Verdict::Failed));
        learned.hear(&lesson("b", Verdict::Succeeded));
        let rows = learned.news();
        assert_eq!(rows.len(), 2);
        assert_eq!(learned.news(), []);
        let again = Learned::of(&rows);
        assert_eq!(again.arm("p", "a"), learned.arm("p", "a"));
        let (arm, _) = again.arm("p", "a").unwrap();
        assert_eq!((arm.attempts, arm.duration, arm.cost), (2, Some(0.5), Some(7.0)));
        assert_eq!(again.news(), []);
        learned.forget("p");
        assert_eq!(learned.arm("p", "a"), None);
    }

    #[test]
    fn what_was_cancelled_teaches_nothing_and_costs_all_the_same() {
        let learned = Learned::default();
        learned.hear(&lesson("a", Verdict::Cancelled));
        assert_eq!(learned.arm("p", "a"), None);
        learned.hear(&lesson("a", Verdict::Blameless));
        assert_eq!(learned.arm("p", "a"), None);
        let statistics = learned.statistics("p");
        assert_eq!((statistics.attempts, statistics.successes), (1, 0));
        assert_eq!(statistics.cost, PicoUsd(14));
        assert_eq!(statistics.success_rate(), Some(0.0));
        assert_eq!(learned.statistics("other").success_rate(), None);
    }

    #[test]
    fn a_failure_teaches_if_another_would_have_done_better() {
        let of = |kind| Verdict::of(Some(&Error::new(kind, "x")));
        assert_eq!(Verdict::of(None), Verdict::Succeeded);
        assert_eq!(of(Kind::UpstreamUnavailable), Verdict::Failed);
        assert_eq!(of(Kind::DeadlineExceeded), Verdict::Failed);
        assert_eq!(of(Kind::UpstreamRejected), Verdict::Blameless);
        assert_eq!(of(Kind::ShuttingDown), Verdict::Cancelled);
        assert_eq!(of(Kind::Cancelled), Verdict::Cancelled);
    }
}
