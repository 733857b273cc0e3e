//! The two forms of a time in a signature.

use std::time::{SystemTime, UNIX_EPOCH};

/// A time as a signature carries it.
pub(crate) struct Stamp {
    /// `20150830`.
    pub(crate) date: String,
    /// `20150830T123600Z`.
    pub(crate) full: String,
}

const DAY: u64 = 24 * 60 * 60;

impl Stamp {
    /// None: before 1970 or after 9999.
    pub(crate) fn new(time: SystemTime) -> Option<Self> {
        let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let (year, month, day) = date(seconds / DAY)?;
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let date = format!("{year:04}{month:02}{day:02}");
        let full = format!("{date}T{hour:02}{minute:02}{second:02}Z");
        Some(Self { date, full })
    }
}

/// Year, month and day of a day counted from 1970-01-01.
fn date(days: u64) -> Option<(u64, usize, u64)> {
    // Whole periods of 400 years have the same number of days, so what is left is counted off year by year.
    const PERIOD: u64 = 400 * 365 + 97;
    let mut year = 1970 + days / PERIOD * 400;
    let mut left = days % PERIOD;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (month, length) in months.into_iter().enumerate() {
        if left < length {
            return (year <= 9999).then_some((year, month + 1, left + 1));
        }
        left -= length;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_of_the_calendar() {
        let full = |seconds| Stamp::new(UNIX_EPOCH + Duration::from_secs(seconds)).map(|s| s.full);
        assert_eq!(full(0).as_deref(), Some("19700101T000000Z"));
        assert_eq!(full(1_440_938_160).as_deref(), Some("20150830T123600Z"));
        assert_eq!(full(951_782_399).as_deref(), Some("20000228T235959Z"));
        assert_eq!(full(951_782_400).as_deref(), Some("20000229T000000Z"));
        assert_eq!(full(1_798_761_599).as_deref(), Some("20261231T235959Z"));
        assert_eq!(full(4_107_542_400).as_deref(), Some("21000301T000000Z"));
        assert_eq!(full(253_402_300_799).as_deref(), Some("99991231T235959Z"));
        assert_eq!(full(253_402_300_800), None);
    }
}
