//! Limits per key: calls in a minute and a day (UTC), calls and streams at the same time.
//!
//! Counted in this process alone, from its start.

use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mediary_domain::{Error, Kind, Result};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::KeySettings;

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * 60;
/// What a refusal that no window ends asks its caller to wait.
const A_MOMENT: Duration = Duration::from_secs(1);

/// What is going on with one key.
#[derive(Default)]
pub struct Counts {
    windows: Mutex<[Window; 2]>,
    calls: AtomicU32,
    streams: AtomicU32,
}

/// Calls since its begin.
#[derive(Clone, Copy, Default)]
struct Window {
    /// In lengths of the window since 1970.
    number: u64,
    calls: u32,
}

/// A call that runs; it is over when this is dropped.
pub struct CallPlace(Option<Arc<Counts>>);

/// A stream that is open; it is closed when this is dropped.
pub struct StreamPlace {
    counts: Arc<Counts>,
    revoked: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Counts {
    pub fn begin_call(
        self: &Arc<Self>,
        limits: &KeySettings,
        now: SystemTime,
    ) -> Result<CallPlace> {
        let KeySettings { requests_per_minute, requests_per_day, concurrent_requests, .. } = limits;
        if requests_per_minute.is_some() || requests_per_day.is_some() {
            self.count(*requests_per_minute, *requests_per_day, now)?;
        }
        let Some(most) = *concurrent_requests else { return Ok(CallPlace(None)) };
        if !enter(&self.calls, most) {
            let error = Error::new(
                Kind::RateLimited,
                format!("the key has {most} calls at the same time and may have no more"),
            );
            return Err(error.retry_after(A_MOMENT).fact("limit", most.to_string()));
        }
        Ok(CallPlace(Some(self.clone())))
    }

    pub fn begin_stream(
        self: &Arc<Self>,
        most: u32,
        revoked: &CancellationToken,
    ) -> Result<StreamPlace> {
        if !enter(&self.streams, most) {
            let error = Error::new(
                Kind::TooManyStreams,
                format!("the key has {most} streams open and may have no more: end one first"),
            );
            return Err(error.fact("limit", most.to_string()));
        }
        let revoked = Box::pin(revoked.clone().cancelled_owned());
        Ok(StreamPlace { counts: self.clone(), revoked })
    }

    /// Counts in both windows or in none.
    fn count(&self, per_minute: Option<u32>, per_day: Option<u32>, now: SystemTime) -> Result<()> {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        for (window, length) in windows.iter_mut().zip([MINUTE, DAY]) {
            let number = seconds / length;
            // A clock that was set back stays in the window that it left.
            if number > window.number {
                *window = Window { number, calls: 0 };
            }
        }
        for ((window, limit), length) in
            windows.iter().zip([per_minute, per_day]).zip([MINUTE, DAY])
        {
            if let Some(limit) = limit.filter(|limit| window.calls >= *limit) {
                let end = (window.number + 1).saturating_mul(length);
                let wait = Duration::from_secs(end.saturating_sub(seconds).clamp(1, length));
                let span = if length == MINUTE { "minute" } else { "day" };
                let error = Error::new(
                    Kind::RateLimited,
                    format!("the key may make {limit} calls a {span} and has made them"),
                );
                return Err(error.retry_after(wait).fact("limit", limit.to_string()));
            }
        }
        for window in windows.iter_mut() {
            window.calls = window.calls.saturating_add(1);
        }
        Ok(())
    }
}

/// One more, unless there are `most` already.
fn enter(count: &AtomicU32, most: u32) -> bool {
    let more = |now: u32| (now < most).then_some(now + 1);
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
}

impl StreamPlace {
    /// Ready once the key may not be used any more.
    pub fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.revoked.as_mut().poll(cx)
    }
}

impl Drop for CallPlace {
    fn drop(&mut self) {
        if let Some(counts) = &self.0 {
            counts.calls.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.counts.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_minute_holds_its_calls_and_a_refused_one_does_not_count() {
        let counts = Arc::new(Counts::default());
        let limits = KeySettings {
            requests_per_minute: Some(2),
            requests_per_day: Some(3),
            ..KeySettings::default()
        };
        let call = |seconds| counts.begin_call(&limits, at(seconds)).map(drop);
        assert!(call(10 * DAY).is_ok() && call(10 * DAY + 1).is_ok());
        let refused = call(10 * DAY + 20).unwrap_err();
        assert_eq!(refused.kind(), Kind::RateLimited);
        assert_eq!(refused.retry(), mediary_domain::Retry::Later(Duration::from_secs(40)));
        // Set back by an hour: still the same minute.
        assert!(call(10 * DAY - 3_600).is_err());
        assert!(call(10 * DAY + 60).is_ok());
        let of_the_day = call(10 * DAY + 120).unwrap_err();
        assert_eq!(
            of_the_day.retry(),
            mediary_domain::Retry::Later(Duration::from_secs(DAY - 120))
        );
        assert!(call(11 * DAY).is_ok());
    }

    #[test]
    fn what_ends_makes_room() {
        let counts = Arc::new(Counts::default());
        let limits = KeySettings { concurrent_requests: Some(1), ..KeySettings::default() };
        let call = counts.begin_call(&limits, at(0)).unwrap();
        assert!(counts.begin_call(&limits, at(0)).is_err());
        drop(call);
        assert!(counts.begin_call(&limits, at(0)).is_ok());
        let never = CancellationToken::new();
        let stream = counts.begin_stream(1, &never).unwrap();
        assert!(counts.begin_stream(1, &never).is_err());
        drop(stream);
        assert!(counts.begin_stream(1, &never).is_ok());
    }
}
