//! Points in time: as options say them, and as people read them.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;

/// The last second that has a date of four digits.
const END_OF_DATES: i64 = 253_402_300_799;

/// A point in time as an option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum When {
    Never,
    At(Timestamp),
    /// So long from now.
    In(Duration),
}

impl FromStr for When {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let whole = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            _ => text.to_owned(),
        };
        if let Ok(time) = whole.parse() {
            return Ok(Self::At(time));
        }
        humantime::parse_duration(text).map(Self::In).map_err(
            |_| "must be a time such as 30d, 12h, 2027-01-31, 2027-01-31T12:00:00Z, or never",
        )
    }
}

impl When {
    /// The point in time. None = never.
    pub(super) fn time(self) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::At(time) => Some(time),
            Self::In(wait) => {
                let time = now().checked_add(wait).map(Timestamp::from);
                let last = Timestamp { seconds: END_OF_DATES, nanos: 0 };
                Some(time.filter(|time| time.seconds < END_OF_DATES).unwrap_or(last))
            }
        }
    }

    /// The same looking back: so long ago. None = ever.
    pub(super) fn past(self) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::At(time) => Some(time),
            Self::In(ago) => {
                let time = now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
                Some(time.max(SystemTime::UNIX_EPOCH).into())
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line's one look at the clock")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// A time for people, to the second.
pub(super) fn time(time: Option<&Timestamp>) -> String {
    time.map(|time| Timestamp { nanos: 0, ..*time }.to_string()).unwrap_or_default()
}

/// How long it is until `time`, in seconds; negative = it is over.
pub(super) fn seconds_until(time: &Timestamp) -> i64 {
    time.seconds.saturating_sub(Timestamp::from(now()).seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_duration_a_date_or_never() {
        let at = |text: &str| text.parse::<When>();
        assert_eq!(at("never"), Ok(When::Never));
        assert_eq!(at("1970-01-02"), Ok(When::At(Timestamp { seconds: 86_400, nanos: 0 })));
        let noon = Timestamp { seconds: 43_200, nanos: 0 };
        assert_eq!(at("1970-01-01T12:00:00Z"), Ok(When::At(noon)));
        assert_eq!(at("30d"), Ok(When::In(Duration::from_secs(30 * 86_400))));
        for wrong in ["", "soon", "2027-13-01", "2027-02-30", "30", "-1d"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
        assert_eq!(time(Some(&Timestamp { seconds: 0, nanos: 5 })), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn however_long_it_has_a_date() {
        let far = When::In(Duration::from_secs(u64::MAX)).time().expect("a time");
        assert_eq!(far.seconds, END_OF_DATES);
    }
}
