//! `Retry-After`, as every server that we ask may write it. See: RFC 9110, 10.2.3.

use std::time::{Duration, SystemTime};

/// How long a server asks to wait: `"120"`, or `"Fri, 31 Dec 1999 23:59:59 GMT"`. A longer time
/// than [`LONGEST`] is taken for that, a moment that has passed for none; `None` is what cannot be
/// read.
pub fn asked(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse().map_or(LONGEST, Duration::from_secs);
        return Some(seconds.min(LONGEST));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(LONGEST))
}

/// Nobody waits for that long: whoever is asked to gives up.
pub const LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date_and_never_longer_than_a_day() {
        let now = httpdate::parse_http_date("Fri, 31 Dec 1999 23:00:00 GMT").unwrap();
        for (value, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("86401", Some(86_400)),
            ("18446744073709551615", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("Fri, 31 Dec 1999 23:00:30 GMT", Some(30)),
            ("Thu, 30 Dec 1999 23:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:00:00 GMT", Some(86_400)),
            ("-1", None),
            ("1e3", None),
            ("", None),
            ("soon", None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(asked(value, now), expected, "{value:?}");
        }
    }
}
