//! When a group may replace healthy machines: on some days of the week, from a time on, for so
//! long, in UTC.
//!
//! In: `{days = ["Sat"], start = "22:00", length = "6h"}` and a moment. Out: whether it is within,
//! and until when, or when the next one begins. What is broken or gone is mended at any time, and
//! groups are scaled and changed in place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::provider::{Attr, Attribute, Type, duration};

/// `roll_window`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct RollWindow {
    days: Attr<Vec<Attr<String>>>,
    start: Attr<String>,
    length: Attr<String>,
}

/// The same, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// By [`DAYS`].
    days: [bool; 7],
    /// After midnight.
    start: Duration,
    length: Duration,
}

/// How a window stands at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    /// Until then.
    Open(SystemTime),
    /// Until then.
    Closed(SystemTime),
}

pub(crate) fn schema() -> Attribute {
    Attribute::object(
        "roll_window",
        "When healthy machines may be replaced, in UTC; absent: at any time. Outside of it an apply replaces none and is an error that says so; what \
         else was planned is done. One that is still replacing machines when it closes begins with no further one. Machines that are broken or gone are replaced at \
         any time, and groups are created, scaled, changed in place and destroyed.",
        vec![
            Attribute::set("days", "Days on which it opens; absent: every day.", Type::String)
                .one_of(DAYS)
                .length(1..=DAYS.len())
                .optional(),
            Attribute::string("start", "When it opens.")
                .required()
                .pattern(TIME_SAYS, |text| time_of_day(text).is_some()),
            Attribute::string("length", "How long it stays open.")
                .required()
                .duration()
                .pattern(LENGTH_SAYS, |text| {
                    duration::parse(text).is_none_or(|length| (SHORTEST..=LONGEST).contains(&length))
                }),
        ],
    )
    .optional()
}

impl Window {
    /// `None` while something of it is not known.
    pub(crate) fn of(written: &RollWindow) -> Option<Self> {
        let days = match &written.days {
            Attr::Null => [true; 7],
            Attr::Unknown => return None,
            Attr::Known(names) => {
                let mut days = [false; 7];
                for name in names {
                    let day = DAYS
                        .iter()
                        .position(|day| name.known().is_some_and(|name| name == day))?;
                    days[day] = true;
                }
                days
            }
        };
        Some(Self {
            days,
            start: time_of_day(written.start.known()?)?,
            length: duration::parse(written.length.known()?)?,
        })
    }

    /// How it stands now. A window that overlaps its next one closes with the last of them.
    pub(crate) fn stands(&self, now: SystemTime) -> Stands {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let today = now.as_secs() / DAY.as_secs();
        let mut open_until = None;
        // The longest one lasts a week.
        for day in today.saturating_sub(7)..=today + 8 {
            // The first day of 1970 was a Thursday.
            let is_one = self.days[usize::try_from((day + 3) % 7).unwrap_or_default()];
            let opens = Duration::from_secs(day * DAY.as_secs()) + self.start;
            let closes = opens + self.length;
            if !is_one || closes <= now {
                continue;
            }
            match open_until {
                None if opens > now => return Stands::Closed(UNIX_EPOCH + opens),
                None => open_until = Some(closes),
                Some(until) if opens <= until => open_until = Some(closes),
                Some(_) => break,
            }
        }
        Stands::Open(UNIX_EPOCH + open_until.unwrap_or(now))
    }
}

/// `22:00`.
fn time_of_day(text: &str) -> Option<Duration> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, below: u64| {
        let is_two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|number: &u64| is_two && *number < below)
    };
    Some(Duration::from_secs(
        number(hour, 24)? * 3600 + number(minute, 60)? * 60,
    ))
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY: Duration = Duration::from_secs(86_400);
/// Nothing could ever be replaced in less.
const SHORTEST: Duration = Duration::from_secs(60);
/// A week has no more.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);
const TIME_SAYS: &str = "From `00:00` to `23:59`";
const LENGTH_SAYS: &str = "From `1m` to `168h`";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flatcar::Date;

    fn window(days: &[&str], start: &str, length: &str) -> Window {
        let days: Vec<_> = days
            .iter()
            .map(|day| Attr::Known((*day).to_owned()))
            .collect();
        let written = RollWindow {
            days: match days.is_empty() {
                true => Attr::Null,
                false => Attr::Known(days),
            },
            start: Attr::Known(start.to_owned()),
            length: Attr::Known(length.to_owned()),
        };
        Window::of(&written).expect("a window")
    }

    #[test]
    fn a_moment_is_within_a_window_or_before_one() {
        // 2026-11-30 is a Monday.
        for (days, start, length, now, expected) in [
            (
                &[][..],
                "22:00",
                "2h",
                "2026-11-30T22:00:00Z",
                "open 2026-12-01T00:00:00Z",
            ),
            (
                &[],
                "22:00",
                "2h",
                "2026-11-30T21:59:59Z",
                "closed 2026-11-30T22:00:00Z",
            ),
            (
                &[],
                "22:00",
                "2h",
                "2026-12-01T00:00:00Z",
                "closed 2026-12-01T22:00:00Z",
            ),
            // Past midnight.
            (
                &[],
                "22:00",
                "6h",
                "2026-12-01T03:59:59Z",
                "open 2026-12-01T04:00:00Z",
            ),
            (
                &["Sat"],
                "22:00",
                "6h",
                "2026-11-30T22:30:00Z",
                "closed 2026-12-05T22:00:00Z",
            ),
            (
                &["Sat"],
                "22:00",
                "6h",
                "2026-12-06T01:00:00Z",
                "open 2026-12-06T04:00:00Z",
            ),
            (
                &["Mon"],
                "00:00",
                "1m",
                "2026-11-30T00:01:00Z",
                "closed 2026-12-07T00:00:00Z",
            ),
            (
                &["Sat", "Sun"],
                "08:00",
                "24h",
                "2026-12-05T09:00:00Z",
                "open 2026-12-07T08:00:00Z",
            ),
            (
                &["Fri"],
                "18:00",
                "60h",
                "2026-12-06T23:00:00Z",
                "open 2026-12-07T06:00:00Z",
            ),
            (
                &["Tue"],
                "10:00",
                "168h",
                "2026-12-01T09:00:00Z",
                "open 2026-12-15T10:00:00Z",
            ),
        ] {
            let now = Date::moment(now).expect("a moment");
            let stands = match window(days, start, length).stands(now) {
                Stands::Open(until) => format!("open {}", Date::stamp(until)),
                Stands::Closed(until) => format!("closed {}", Date::stamp(until)),
            };
            assert_eq!(stands, expected, "{days:?} {start} {length}");
        }
    }

    #[test]
    fn what_is_no_time_of_a_day_is_refused() {
        for text in [
            "", "4:00", "24:00", "04:60", "04:00:00", "-1:00", "+1:00", " 4:00",
        ] {
            assert_eq!(time_of_day(text), None, "{text}");
        }
        assert_eq!(time_of_day("23:59"), Some(Duration::from_secs(86_340)));
    }
}
