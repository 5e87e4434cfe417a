//! The sandbox's `reservationTtlMinutes`: a decimal number of minutes, read exactly.

use a4co_core::time::Millis;

/// The longest hold that may be asked for: a year, in milliseconds.
const HOLD_MS_MAX: u128 = 366 * 24 * 60 * 60 * 1000;
const MS_PER_MINUTE: u128 = 60_000;
/// Digits that are looked at; their product with [`MS_PER_MINUTE`] fits 128 bits.
const DIGITS_MAX: usize = 30;

/// The milliseconds of a JSON number of minutes, rounded up to a whole one: `0.05` are
/// 3,000. `None` where it is not above zero, is longer than a year or has too many digits.
pub(super) fn hold_ms(token: &str) -> Option<Millis> {
    let (number, exponent) = match token.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (token, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    // A minus sign is no digit, so what is below zero ends here.
    let significand: u128 = digits.parse().ok()?;
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = significand * MS_PER_MINUTE;
    let power = 10_u128.checked_pow(shift.unsigned_abs());
    let ms = match power {
        Some(power) if shift >= 0 => scaled.checked_mul(power)?,
        Some(power) => scaled.div_ceil(power),
        // Less than the smallest fraction of a millisecond, or more than any time.
        None if shift < 0 => 1,
        None => return None,
    };
    (ms <= HOLD_MS_MAX)
        .then(|| u64::try_from(ms).ok())
        .flatten()
        .map(Millis::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_read_exactly_and_rounded_up() {
        let cases = [
            ("15", Some(900_000)),
            ("0.05", Some(3_000)),
            ("0.001", Some(60)),
            ("0.00001", Some(1)),
            ("0.016666666666666666", Some(1_000)),
            ("1.5e1", Some(900_000)),
            ("5e-2", Some(3_000)),
            ("1E-400", Some(1)),
            ("527040", Some(31_622_400_000)),
            ("527041", None),
            ("1e400", None),
            ("1e99999999999", None),
            ("0", None),
            ("0.000", None),
            ("0e5", None),
            ("-1", None),
            ("-0.5", None),
        ];
        for (token, ms) in cases {
            assert_eq!(hold_ms(token), ms.map(Millis::new), "{token}");
        }
        assert_eq!(hold_ms(&format!("0.{}1", "1".repeat(400))), None);
    }
}
