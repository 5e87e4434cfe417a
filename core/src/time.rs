//! Points in time and lengths of time, in whole milliseconds.
//!
//! They are apart from any clock: core never reads one, `now` is always an argument. A
//! [`Timestamp`] can be written as RFC 3339 here, because that needs arithmetic alone;
//! reading what a person wrote is the adapters' work.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time in milliseconds, never negative.
///
/// At rest it is a `u64` (a varint in postcard).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(u64);

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest length, about 584 million years.
    pub const MAX: Self = Self(u64::MAX);

    /// A length of `ms` milliseconds.
    #[must_use]
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }

    /// A length of `secs` seconds, or [`Millis::MAX`] where that does not fit.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// A length of `minutes` minutes, or [`Millis::MAX`] where that does not fit.
    #[must_use]
    pub const fn from_minutes(minutes: u64) -> Self {
        Self(minutes.saturating_mul(60 * 1000))
    }

    /// A length of `hours` hours, or [`Millis::MAX`] where that does not fit.
    #[must_use]
    pub const fn from_hours(hours: u64) -> Self {
        Self(hours.saturating_mul(60 * 60 * 1000))
    }

    /// The length in milliseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` where it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(ms) => Some(Self(ms)),
            None => None,
        }
    }

    /// The sum, at most [`Millis::MAX`].
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or `None` where `other` is longer.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(ms) => Some(Self(ms)),
            None => None,
        }
    }

    /// The difference, at least [`Millis::ZERO`].
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This length `factor` times, or `None` where it does not fit.
    #[must_use]
    pub const fn checked_mul(self, factor: u64) -> Option<Self> {
        match self.0.checked_mul(factor) {
            Some(ms) => Some(Self(ms)),
            None => None,
        }
    }

    /// This length `factor` times, at most [`Millis::MAX`].
    #[must_use]
    pub const fn saturating_mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

/// Written as a number of milliseconds: `1500 ms`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, without leap seconds, from
/// there to the end of the year 9999, which is as far as RFC 3339 can write.
///
/// At rest it is a `u64` (a varint in postcard); decoding refuses anything past
/// [`Timestamp::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const UNIX_EPOCH: Self = Self(0);
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The point `ms` milliseconds after the Unix epoch, at most [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_unix_ms(ms: u64) -> Self {
        if ms > Self::MAX.0 {
            return Self::MAX;
        }
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// The point `length` later, or `None` past [`Timestamp::MAX`].
    #[must_use]
    pub const fn checked_add(self, length: Millis) -> Option<Self> {
        match self.0.checked_add(length.0) {
            Some(ms) if ms <= Self::MAX.0 => Some(Self(ms)),
            _ => None,
        }
    }

    /// The point `length` later, at most [`Timestamp::MAX`].
    #[must_use]
    pub const fn saturating_add(self, length: Millis) -> Self {
        Self::from_unix_ms(self.0.saturating_add(length.0))
    }

    /// The point `length` earlier, or `None` before the Unix epoch.
    #[must_use]
    pub const fn checked_sub(self, length: Millis) -> Option<Self> {
        match self.0.checked_sub(length.0) {
            Some(ms) => Some(Self(ms)),
            None => None,
        }
    }

    /// The point `length` earlier, at least [`Timestamp::UNIX_EPOCH`].
    #[must_use]
    pub const fn saturating_sub(self, length: Millis) -> Self {
        Self(self.0.saturating_sub(length.0))
    }

    /// How long ago `earlier` was, or `None` where it is in the future.
    #[must_use]
    pub const fn checked_since(self, earlier: Self) -> Option<Millis> {
        match self.0.checked_sub(earlier.0) {
            Some(ms) => Some(Millis(ms)),
            None => None,
        }
    }

    /// How long ago `earlier` was, [`Millis::ZERO`] where it is in the future: clocks
    /// jump back, and an age is then better zero than wrong.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.678Z`, always 24 characters,
/// so that the text sorts as the time does.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms_of_day) = (self.0 / MS_PER_DAY, self.0 % MS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
        let (second, ms) = (ms_of_day / 1000 % 60, ms_of_day % 1000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ms = u64::deserialize(deserializer)?;
        if ms > Self::MAX.0 {
            return Err(de::Error::custom("a timestamp lies past the year 9999"));
        }
        Ok(Self(ms))
    }
}

const MS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// Year, month (1..=12) and day (1..=31) of the Gregorian calendar for a number of days
/// since 1970-01-01.
///
/// Years are counted from 1 March, which puts the leap day at the end, in eras of 400
/// years, which all have the same length (Howard Hinnant, "chrono-compatible low-level
/// date algorithms").
const fn civil_from_days(days_since_epoch: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    const DAYS_FROM_MARCH_OF_YEAR_0_TO_EPOCH: u64 = 719_468;

    let days = days_since_epoch + DAYS_FROM_MARCH_OF_YEAR_0_TO_EPOCH;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(unix_ms: u64, text: &str) {
        assert_eq!(Timestamp::from_unix_ms(unix_ms).to_string(), text);
    }

    #[test]
    fn timestamps_are_written_as_rfc_3339() {
        check(0, "1970-01-01T00:00:00.000Z");
        check(1, "1970-01-01T00:00:00.001Z");
        check(MS_PER_DAY - 1, "1970-01-01T23:59:59.999Z");
        check(MS_PER_DAY, "1970-01-02T00:00:00.000Z");
        check(68_169_600_000, "1972-02-29T00:00:00.000Z");
        check(68_256_000_000, "1972-03-01T00:00:00.000Z");
        check(951_782_399_999, "2000-02-28T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(951_868_800_000, "2000-03-01T00:00:00.000Z");
        check(978_220_800_000, "2000-12-31T00:00:00.000Z");
        check(1_767_323_045_678, "2026-01-02T03:04:05.678Z");
        // 2100 has no leap day.
        check(4_107_455_999_999, "2100-02-27T23:59:59.999Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        check(Timestamp::MAX.unix_ms(), "9999-12-31T23:59:59.999Z");
        check(Timestamp::MAX.unix_ms() + 1, "9999-12-31T23:59:59.999Z");
        check(u64::MAX, "9999-12-31T23:59:59.999Z");
    }

    /// Counts the calendar up day by day, which shares nothing with the formula.
    #[test]
    fn every_day_to_the_year_9999_is_the_one_after_the_day_before() {
        let mut expected = (1970, 1, 1);
        let last = Timestamp::MAX.unix_ms() / MS_PER_DAY;
        for days in 0..=last {
            assert_eq!(civil_from_days(days), expected, "day {days}");
            let (year, month, day) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days_of_month = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (month, day) if day == days_of_month => (year, month + 1, 1),
                (month, day) => (year, month, day + 1),
            };
        }
        assert_eq!(expected, (10_000, 1, 1));
    }

    #[test]
    fn lengths_saturate_or_say_so() {
        assert_eq!(Millis::from_secs(2), Millis::new(2_000));
        assert_eq!(Millis::from_minutes(15), Millis::new(900_000));
        assert_eq!(Millis::from_hours(24), Millis::new(MS_PER_DAY));
        assert_eq!(Millis::from_secs(u64::MAX), Millis::MAX);
        assert_eq!(Millis::MAX.checked_add(Millis::new(1)), None);
        assert_eq!(Millis::MAX.saturating_add(Millis::new(1)), Millis::MAX);
        assert_eq!(Millis::ZERO.checked_sub(Millis::new(1)), None);
        assert_eq!(Millis::ZERO.saturating_sub(Millis::new(1)), Millis::ZERO);
        assert_eq!(Millis::new(3).checked_mul(2), Some(Millis::new(6)));
        assert_eq!(Millis::MAX.checked_mul(2), None);
        assert_eq!(Millis::MAX.saturating_mul(2), Millis::MAX);
        assert_eq!(Millis::new(1500).to_string(), "1500 ms");
    }

    #[test]
    fn timestamps_stay_in_range() {
        let one = Millis::new(1);
        assert_eq!(Timestamp::MAX.checked_add(one), None);
        assert_eq!(Timestamp::MAX.checked_add(Millis::MAX), None);
        assert_eq!(Timestamp::MAX.saturating_add(Millis::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::UNIX_EPOCH.checked_sub(one), None);
        let epoch = Timestamp::UNIX_EPOCH;
        assert_eq!(epoch.saturating_sub(one), epoch);
        assert_eq!(epoch.checked_since(Timestamp::MAX), None);
        assert_eq!(epoch.saturating_since(Timestamp::MAX), Millis::ZERO);
    }

    #[test]
    fn decoding_refuses_what_cannot_be_written() {
        let encoded = postcard::to_allocvec(&Timestamp::MAX).expect("memory suffices");
        assert_eq!(postcard::from_bytes(&encoded), Ok(Timestamp::MAX));
        let past = Timestamp::MAX.unix_ms() + 1;
        let encoded = postcard::to_allocvec(&past).expect("memory suffices");
        assert!(postcard::from_bytes::<Timestamp>(&encoded).is_err());
    }

    proptest! {
        #[test]
        fn adding_and_since_are_inverse(ms in 0..=Timestamp::MAX.unix_ms(), length in any::<u64>()) {
            let (earlier, length) = (Timestamp::from_unix_ms(ms), Millis::new(length));
            match earlier.checked_add(length) {
                Some(later) => {
                    prop_assert_eq!(later.checked_since(earlier), Some(length));
                    prop_assert_eq!(later.checked_sub(length), Some(earlier));
                    prop_assert_eq!(earlier.saturating_add(length), later);
                }
                None => prop_assert_eq!(earlier.saturating_add(length), Timestamp::MAX),
            }
        }

        #[test]
        fn text_sorts_as_time_does(a in any::<u64>(), b in any::<u64>()) {
            let (a, b) = (Timestamp::from_unix_ms(a >> 16), Timestamp::from_unix_ms(b >> 16));
            prop_assert_eq!(a.to_string().len(), 24);
            prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
        }
    }
}
