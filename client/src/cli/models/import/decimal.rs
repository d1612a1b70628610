//! Exact prices out of JSON numbers such as `2.5e-06`, which no floating point number is.

/// Digits after the point of a USD that are kept: 1e-12 USD.
const PLACES: i32 = 12;
/// A USD per token and more is no price of a token.
const MOST_DIGITS: usize = 12;

/// Whole pico-USD, and whether they are not quite what stands there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pico {
    pub(super) pico: i64,
    pub(super) is_rounded: bool,
}

/// The amount that a number of USD means, rounded to the nearest.
pub(super) fn pico(number: &str) -> Result<Pico, &'static str> {
    const NONE: &str = "is no number";
    if number.starts_with('-') {
        return Err("is negative");
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| NONE)?;
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(part) {
        return Err(NONE);
    }
    let digits = format!("{whole}{part}");
    let digits = digits.trim_start_matches('0');
    let places = i32::try_from(part.len()).map_err(|_| NONE)?;
    let shift = exponent.saturating_add(PLACES).saturating_sub(places);
    let length = i32::try_from(digits.len()).map_err(|_| NONE)?;
    // How many of the digits stand before the point.
    let before = usize::try_from(length.saturating_add(shift).max(0)).map_err(|_| NONE)?;
    if digits.is_empty() {
        return Ok(Pico { pico: 0, is_rounded: false });
    }
    if before > MOST_DIGITS {
        return Err("is more than a USD for a token");
    }
    let (kept, lost) = digits.split_at(before.min(digits.len()));
    let kept: i64 = format!("0{kept:0<before$}").parse().map_err(|_| NONE)?;
    // The first digit that is lost is the first after the point only if none before it is zero.
    let is_half = length.saturating_add(shift) >= 0 && lost.starts_with(['5', '6', '7', '8', '9']);
    let is_rounded = lost.bytes().any(|byte| byte != b'0');
    Ok(Pico { pico: kept + i64::from(is_half), is_rounded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_map_are_exact() {
        for (text, pico_usd) in [
            ("2.5e-06", 2_500_000),
            ("2.5E-6", 2_500_000),
            ("0.0000025", 2_500_000),
            ("1.5e-07", 150_000),
            ("3e-08", 30_000),
            ("0.00003", 30_000_000),
            ("0", 0),
            ("0.0", 0),
            ("0e-7", 0),
            ("1.25e-10", 125),
            ("0.15", 150_000_000_000),
            ("1e-12", 1),
        ] {
            assert_eq!(pico(text), Ok(Pico { pico: pico_usd, is_rounded: false }), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_pico_usd_is_rounded_to_the_nearest_and_told() {
        for (text, pico_usd) in [
            ("8.000000000000001e-07", 800_000),
            ("1.9999999999999999e-06", 2_000_000),
            ("1.5e-12", 2),
            ("4e-13", 0),
            ("6e-13", 1),
            ("6e-14", 0),
        ] {
            assert_eq!(pico(text), Ok(Pico { pico: pico_usd, is_rounded: true }), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "", ".", "-1e-6", "1,5", "free", "1e", "1e-", "e-6", "NaN", "\"\"", "5", "1e99",
            "1e-6 ",
        ] {
            assert!(pico(text).is_err(), "{text}");
        }
        assert!(pico(&format!("1e{}", i64::MAX)).is_err());
        assert!(pico(&format!("1e-{}", i32::MAX)).is_ok_and(|pico| pico.is_rounded));
    }
}
