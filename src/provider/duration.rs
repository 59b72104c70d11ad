//! Go-style durations, as users of Terraform write them: `"1h30m"`, `"250ms"`, `"0"`.
//!
//! See: Go 1.25 `time.ParseDuration`.

use std::time::Duration;

/// `None` for what Go would refuse, for a negative one, and for more than some 290 years.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number = take(&mut rest, |letter| letter.is_ascii_digit() || letter == '.');
        let unit = take(&mut rest, |letter| {
            !letter.is_ascii_digit() && letter != '.'
        });
        let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        if !whole.is_empty() {
            let count: u128 = whole.parse().ok()?;
            total = total.checked_add(count.checked_mul(*nanoseconds)?)?;
        }
        let mut scale = *nanoseconds;
        for digit in fraction.bytes() {
            scale /= 10;
            total = total.checked_add(u128::from(digit - b'0') * scale)?;
        }
    }
    if text.is_empty() || total > i64::MAX as u128 {
        return None;
    }
    u64::try_from(total).ok().map(Duration::from_nanos)
}

/// The shortest form that [`parse`] reads back: `1h30m`, `90ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let mut left = duration.as_nanos();
    let mut text = String::new();
    for (unit, nanoseconds) in [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ] {
        if left >= nanoseconds {
            text += &format!("{}{unit}", left / nanoseconds);
            left %= nanoseconds;
        }
    }
    if text.is_empty() {
        text += "0s";
    }
    text
}

fn take<'a>(rest: &mut &'a str, accepts: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|letter| !accepts(letter)).unwrap_or(rest.len());
    let (taken, left) = rest.split_at(end);
    *rest = left;
    taken
}

const UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads_and_refuses_what_go_refuses() {
        for (text, milliseconds) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("15m", Some(900_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5h", Some(5_400_000)),
            (".5s", Some(500)),
            ("1.s", Some(1_000)),
            ("+2s", Some(2_000)),
            ("250ms", Some(250)),
            ("1500us", Some(1)),
            ("", None),
            ("15", None),
            ("m", None),
            (".s", None),
            ("1..5s", None),
            ("-1s", None),
            ("1d", None),
            ("1 h", None),
            ("99999999999999h", None),
        ] {
            let parsed = parse(text).map(|duration| duration.as_millis());
            assert_eq!(parsed, milliseconds, "{text:?}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for seconds in [0, 1, 59, 60, 3600, 5400, 86_461] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(parse(&format(duration)), Some(duration));
        }
        assert_eq!(format(Duration::from_secs(5400)), "1h30m");
    }
}
