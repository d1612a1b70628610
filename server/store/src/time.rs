//! Times as they are kept: microseconds since 1970, before it negative. That holds every time of
//! the contract, and every backend can do it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds, rounded down; times that no backend can hold become the nearest one that it can.
pub fn to_micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(error) => {
            let before = error.duration().as_nanos().div_ceil(1_000);
            i64::try_from(before).map_or(i64::MIN, |micros| -micros)
        }
    }
}

pub fn from_micros(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    let time = if micros < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_to_the_microsecond_on_both_sides_of_1970() {
        for micros in [0, 1, -1, -1_000_001, 1_900_000_000_000_000, 253_402_300_799_999_999] {
            assert_eq!(to_micros(from_micros(micros)), micros);
        }
        assert_eq!(to_micros(UNIX_EPOCH - Duration::from_nanos(1)), -1);
        assert_eq!(to_micros(UNIX_EPOCH + Duration::from_nanos(1_999)), 1);
    }
}
