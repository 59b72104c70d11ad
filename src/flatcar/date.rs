//! Days: what releases, supports and signatures are told apart by. In: `2026-08-13 15:48:35 +0000`.
//! Out: `2026-08-13`.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A day of the Gregorian calendar, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    /// From a text that begins with `YYYY-MM-DD`.
    pub fn starting(text: &str) -> Option<Self> {
        let text = text.get(..10).filter(|text| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'-')
        })?;
        let mut parts = text
            .split('-')
            .map(|part| part.parse::<u16>().ok().map(i64::from));
        let date = Self {
            year: parts.next()??,
            month: parts.next()??,
            day: parts.next()??,
        };
        let same = parts.next().is_none() && Self::of_days(date.days()) == date;
        same.then_some(date)
    }

    /// The moment of a text like `2026-11-24T09:00:00Z`, from 1970 on.
    pub fn moment(text: &str) -> Option<SystemTime> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let date = Self::starting(date).filter(|day| day.year >= 1970 && date.len() == 10)?;
        let numbers: Option<Vec<u64>> = time
            .split(':')
            .map(|part| part.parse::<u8>().ok().map(u64::from))
            .collect();
        let [hour @ 0..24, minute @ 0..60, second @ 0..=60] = numbers?[..] else {
            return None;
        };
        let of_day = Duration::from_secs((hour * 60 + minute) * 60 + second);
        date.start().checked_add(of_day)
    }

    /// The same of a text with fractions of a second, which do not matter, and an offset:
    /// `2026-11-24T01:00:00.000-08:00`, `2026-11-24T09:00:00.123456Z`.
    pub fn moment_with_offset(text: &str) -> Option<SystemTime> {
        let (time, rest) = text.split_at_checked(19)?;
        let moment = Self::moment(&format!("{time}Z"))?;
        let offset = rest.trim_start_matches(|of: char| of == '.' || of.is_ascii_digit());
        let number = |at: std::ops::Range<usize>| offset.get(at)?.parse::<u64>().ok();
        let shift = match offset {
            "Z" => 0,
            _ => number(1..3)? * 3_600 + number(4..6)? * 60,
        };
        let shift = Duration::from_secs(shift);
        match offset.starts_with('-') {
            true => moment.checked_add(shift),
            false => moment.checked_sub(shift),
        }
    }

    /// A moment as [`Date::moment`] reads it: `2026-11-24T09:00:00Z`.
    pub fn stamp(moment: SystemTime) -> String {
        let since = moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let (day, of_day) = (Self::of(moment), since.as_secs() % 86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        format!("{day}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// The day of a moment.
    pub fn of(moment: SystemTime) -> Self {
        let since = moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self::of_days(i64::try_from(since.as_secs() / 86_400).unwrap_or(i64::MAX / 86_400))
    }

    /// Its first moment.
    pub fn start(self) -> SystemTime {
        let seconds = u64::try_from(self.days() * 86_400).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Days from `earlier` to this one.
    pub fn days_since(self, earlier: Date) -> i64 {
        self.days() - earlier.days()
    }

    // Days since 1970-01-01, by counting years from March so that the leap day is a year's last.
    fn days(self) -> i64 {
        let year = if self.month <= 2 {
            self.year - 1
        } else {
            self.year
        };
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
            - 719_468
    }

    fn of_days(days: i64) -> Self {
        // A first guess that is never too late, then step.
        let mut year = 1970 + days.div_euclid(if days < 0 { 365 } else { 366 });
        let new_year = |year| {
            Self {
                year,
                month: 1,
                day: 1,
            }
            .days()
        };
        while new_year(year + 1) <= days {
            year += 1;
        }
        let mut month = 12;
        let first = |month| {
            Self {
                year,
                month,
                day: 1,
            }
            .days()
        };
        while first(month) > days {
            month -= 1;
        }
        Self {
            year,
            month,
            day: days - first(month) + 1,
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        assert_eq!(Date::of_days(0).to_string(), "1970-01-01");
        for days in -800_000..60_000 {
            assert_eq!(Date::of_days(days).days(), days);
        }
        let seconds = Duration::from_secs(1_519_654_316);
        let moment = SystemTime::UNIX_EPOCH + seconds;
        assert_eq!(Date::of(moment).to_string(), "2018-02-26");
        assert!(Date::of(moment).start() <= moment);
    }

    #[test]
    fn only_dates_that_exist_are_read() {
        for text in ["2026-08-13", "2026-08-13 15:48:35 +0000", "2024-02-29-0001"] {
            assert_eq!(Date::starting(text).unwrap().to_string(), text[..10]);
        }
        for text in [
            "",
            "2026-08",
            "2026-13-01",
            "2025-02-29",
            "2026-8-130",
            "+026-08-13x",
        ] {
            assert_eq!(Date::starting(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_that_is_none_is_not_known_whatever_it_says() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-24T09:00:01Z", Some(1_795_510_801)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799)),
            ("1969-12-31T23:59:59Z", None),
            ("10000-01-01T00:00:00Z", None),
            ("9223372036854775807-01-01T00:00:00Z", None),
            ("2026-11-24T9223372036854775807:00:00Z", None),
            ("2026-9223372036854775807-24T00:00:00Z", None),
            ("2026-11--24T00:00:00Z", None),
            ("2026-11-24 09:00:01Z", None),
            ("", None),
        ] {
            let expected =
                seconds.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(Date::moment(text), expected, "{text:?}");
            if let Some(moment) = expected {
                assert_eq!(Date::stamp(moment), text);
            }
        }
    }
}
