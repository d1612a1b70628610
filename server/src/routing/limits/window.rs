//! Stretches of time that limits are for.

use std::time::Duration;

const SECOND: i64 = 1_000_000;
/// A minute is counted in parts of this length: whichever 60 seconds are looked at, at most a
/// minute's worth lies in them.
const PART: i64 = 5 * SECOND;
const PARTS: i64 = 60 * SECOND / PART;
const DAY: i64 = 86_400 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Any 60 seconds.
    Minute,
    /// From midnight to midnight, UTC.
    Day,
    /// From the first to the first, UTC.
    Month,
}

impl Window {
    pub fn word(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// The number of the stretch in which a moment lies, in microseconds since 1970.
    pub fn slot(self, micros: i64) -> i64 {
        match self {
            Self::Minute => micros.div_euclid(PART),
            Self::Day => micros.div_euclid(DAY),
            Self::Month => {
                let (year, month) = month_of(micros.div_euclid(DAY));
                year * 12 + month
            }
        }
    }

    /// The first stretch that counts together with this one.
    pub fn since(self, slot: i64) -> i64 {
        match self {
            Self::Minute => slot - PARTS,
            Self::Day | Self::Month => slot,
        }
    }

    /// How long until what was used in `slot` no longer counts.
    pub fn until_over(self, slot: i64, micros: i64) -> Duration {
        let end = match self {
            Self::Minute => (slot + PARTS + 1).saturating_mul(PART),
            Self::Day => (slot + 1).saturating_mul(DAY),
            Self::Month => first_day_of(slot + 1).saturating_mul(DAY),
        };
        Duration::from_micros(u64::try_from(end.saturating_sub(micros)).unwrap_or(0))
    }
}

/// Year and month (0 = January) of a day, counted from 1970-01-01. Howard Hinnant's
/// `civil_from_days`, with years that begin in March so that February comes last.
fn month_of(day: i64) -> (i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 2 } else { from_march - 10 };
    (era * 400 + year + i64::from(month < 2), month)
}

/// The day on which a month begins, as `slot` counts months.
fn first_day_of(slot: i64) -> i64 {
    let (year, month) = (slot.div_euclid(12), slot.rem_euclid(12));
    let year = if month < 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let from_march = (month + 10) % 12;
    let of_year = (153 * from_march + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        // By day since 1970: 2000-02-29, 2000-03-01, 2026-11-25, 2026-12-01, 1970-01-01.
        for (day, year, month) in [
            (11_016, 2000, 1),
            (11_017, 2000, 2),
            (20_782, 2026, 10),
            (20_788, 2026, 11),
            (0, 1970, 0),
        ] {
            assert_eq!(month_of(day), (year, month), "{day}");
        }
        for slot in 1970 * 12..2100 * 12 {
            let first = first_day_of(slot);
            assert_eq!(Window::Month.slot(first * DAY), slot);
            assert_eq!(Window::Month.slot(first * DAY - 1), slot - 1);
        }
    }

    #[test]
    fn whatever_is_used_in_sixty_seconds_is_counted_together() {
        let minute = Window::Minute;
        for begin in (0..10 * SECOND).step_by(777_777) {
            let last = minute.slot(begin + 60 * SECOND - 1);
            assert!(minute.since(last) <= minute.slot(begin));
            // And it is over soon after.
            let wait = minute.until_over(minute.slot(begin), begin);
            assert!(wait > Duration::from_secs(60) && wait <= Duration::from_secs(65), "{wait:?}");
        }
    }
}
