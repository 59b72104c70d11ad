//! What a scalar's text means: yaml.v3's rules, YAML 1.2 with leftovers of 1.1 (`0644` is octal,
//! `yes` is a boolean where one is wanted).

use std::borrow::Cow;

pub(crate) const STR: &str = "!!str";
pub(crate) const INT: &str = "!!int";
pub(crate) const FLOAT: &str = "!!float";
pub(crate) const BOOL: &str = "!!bool";
pub(crate) const NULL: &str = "!!null";
pub(crate) const TIMESTAMP: &str = "!!timestamp";
pub(crate) const BINARY: &str = "!!binary";
pub(crate) const MERGE: &str = "!!merge";

/// What a scalar is, once its text and tag are looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    /// Beyond `i64`.
    Unsigned(u64),
    Float(f64),
    Timestamp,
    /// The text itself.
    Text,
}

/// `tag:yaml.org,2002:int` as `!!int`; others as they are.
pub(crate) fn short_tag(tag: String) -> Cow<'static, str> {
    match tag.strip_prefix("tag:yaml.org,2002:") {
        Some(name) => Cow::Owned(format!("!!{name}")),
        None => Cow::Owned(tag),
    }
}

/// A tag as it may be shown. Only YAML's own are shown by name: any other may be a value whose
/// quotes were forgotten.
pub(crate) fn shown_tag(tag: &str) -> &str {
    const OWN: [&str; 10] = [
        STR, BOOL, INT, FLOAT, NULL, TIMESTAMP, BINARY, MERGE, "!!seq", "!!map",
    ];
    if OWN.contains(&tag) { tag } else { "a tag" }
}

/// The meaning of a scalar with this tag. `Err` holds the tag that its text has instead.
pub(crate) fn resolve(
    tag: &str,
    text: &str,
) -> Result<(Cow<'static, str>, Resolved), &'static str> {
    match tag {
        STR => return Ok((Cow::Borrowed(STR), Resolved::Text)),
        BOOL | INT | FLOAT | NULL | TIMESTAMP => {}
        other => return Ok((Cow::Owned(other.to_owned()), Resolved::Text)),
    }
    let (found, value) = resolve_hinted(text, tag == TIMESTAMP);
    match (tag == found, tag, value) {
        (true, _, value) => Ok((Cow::Borrowed(found), value)),
        #[expect(clippy::cast_precision_loss, reason = "the reference converts alike")]
        (_, FLOAT, Resolved::Int(int)) => Ok((Cow::Borrowed(FLOAT), Resolved::Float(int as f64))),
        _ => Err(found),
    }
}

/// The tag and the meaning of a plain scalar without a tag.
pub(crate) fn resolve_untagged(text: &str) -> (&'static str, Resolved) {
    resolve_hinted(text, true)
}

fn resolve_hinted(text: &str, timestamps: bool) -> (&'static str, Resolved) {
    let first = match text.bytes().next() {
        None => return (NULL, Resolved::Null),
        Some(first) => first,
    };
    let word = match first {
        b'+' | b'-' | b'.' | b'0'..=b'9' | b'~' => true,
        letter => b"yYnNtTfFoO".contains(&letter),
    };
    if !word {
        return (STR, Resolved::Text);
    }
    match text {
        "true" | "True" | "TRUE" => return (BOOL, Resolved::Bool(true)),
        "false" | "False" | "FALSE" => return (BOOL, Resolved::Bool(false)),
        "~" | "null" | "Null" | "NULL" => return (NULL, Resolved::Null),
        ".nan" | ".NaN" | ".NAN" => return (FLOAT, Resolved::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return (FLOAT, Resolved::Float(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return (FLOAT, Resolved::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    match first {
        b'.' => match float(text) {
            Some(float) => (FLOAT, Resolved::Float(float)),
            None => (STR, Resolved::Text),
        },
        b'+' | b'-' | b'0'..=b'9' => number(text, timestamps),
        _ => (STR, Resolved::Text),
    }
}

fn number(text: &str, timestamps: bool) -> (&'static str, Resolved) {
    if timestamps && is_timestamp(text) {
        return (TIMESTAMP, Resolved::Timestamp);
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.as_bytes().first() {
        Some(b'-') => (true, &plain[1..]),
        Some(b'+') => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    let (radix, digits) = radix(digits);
    if !digits.is_empty() && digits.bytes().all(|d| char::from(d).is_digit(radix)) {
        match u64::from_str_radix(digits, radix) {
            Ok(value) if negative => {
                if let Some(value) = 0i64.checked_sub_unsigned(value) {
                    return (INT, Resolved::Int(value));
                }
            }
            Ok(value) => match i64::try_from(value) {
                Ok(value) => return (INT, Resolved::Int(value)),
                // A sign is only taken within 64 signed bits.
                Err(_) if !plain.starts_with('+') => return (INT, Resolved::Unsigned(value)),
                Err(_) => {}
            },
            Err(_) => {}
        }
    }
    match float(&plain) {
        Some(float) => (FLOAT, Resolved::Float(float)),
        None => (STR, Resolved::Text),
    }
}

fn radix(digits: &str) -> (u32, &str) {
    let lower = |prefix: &str, other: &str| {
        digits
            .strip_prefix(prefix)
            .or_else(|| digits.strip_prefix(other))
    };
    if let Some(rest) = lower("0x", "0X") {
        (16, rest)
    } else if let Some(rest) = lower("0b", "0B") {
        (2, rest)
    } else if let Some(rest) = lower("0o", "0O") {
        (8, rest)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, and finite.
fn float(text: &str) -> Option<f64> {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    if let Some(exponent) = exponent {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if exponent.is_empty() || !digits(exponent) {
            return None;
        }
    }
    text.parse::<f64>().ok().filter(|float| float.is_finite())
}

/// `2006-1-2`, alone or with `15:4:5.9` after `T`, `t` (then a zone) or a blank.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 5 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    };
    let mut parts = date.split('-').map(short_number);
    let (Some(Some(year)), Some(Some(month)), Some(Some(day)), None) = (
        date.split('-').next().map(|y| y.parse::<u32>().ok()),
        parts.nth(1),
        parts.next(),
        parts.next(),
    ) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
        && match time {
            None => true,
            Some(time) if time.starts_with(' ') => is_clock(&time[1..]),
            Some(time) => split_zone(&time[1..]).is_some_and(is_clock),
        }
}

fn split_zone(time: &str) -> Option<&str> {
    if let Some(clock) = time.strip_suffix('Z') {
        return Some(clock);
    }
    let at = time.rfind(['+', '-'])?;
    let zone = &time.as_bytes()[at + 1..];
    let ok = zone.len() == 5
        && zone[2] == b':'
        && [0, 1, 3, 4].iter().all(|i| zone[*i].is_ascii_digit());
    ok.then(|| &time[..at])
}

fn is_clock(clock: &str) -> bool {
    let mut parts = clock.split(':');
    let (Some(hour), Some(minute), Some(second), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (second, fraction) = second.split_once(['.', ',']).unwrap_or((second, "0"));
    short_number(hour).is_some_and(|h| h < 24)
        && short_number(minute).is_some_and(|m| m < 60)
        && short_number(second).is_some_and(|s| s < 60)
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

/// One or two digits.
fn short_number(text: &str) -> Option<u32> {
    let ok = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
    ok.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_scalar_means_what_the_reference_says() {
        for (text, tag, value) in [
            ("0644", INT, Resolved::Int(420)),
            ("-0644", INT, Resolved::Int(-420)),
            ("0689", FLOAT, Resolved::Float(689.0)),
            ("0x_f", INT, Resolved::Int(15)),
            ("1__0", INT, Resolved::Int(10)),
            ("0x", STR, Resolved::Text),
            ("18446744073709551615", INT, Resolved::Unsigned(u64::MAX)),
            (
                "18446744073709551616",
                FLOAT,
                Resolved::Float(18_446_744_073_709_551_616.0),
            ),
            ("1e400", STR, Resolved::Text),
            ("1:30", STR, Resolved::Text),
            ("2020-01-01", TIMESTAMP, Resolved::Timestamp),
            ("2020-02-30", STR, Resolved::Text),
            ("2020-01-01T00:00:00Z", TIMESTAMP, Resolved::Timestamp),
            ("2020-1-1 1:2:3.5", TIMESTAMP, Resolved::Timestamp),
            ("yes", STR, Resolved::Text),
            ("TRUE", BOOL, Resolved::Bool(true)),
            ("nULL", STR, Resolved::Text),
            ("", NULL, Resolved::Null),
            (".5", FLOAT, Resolved::Float(0.5)),
            (".", STR, Resolved::Text),
        ] {
            assert_eq!(resolve_untagged(text), (tag, value), "{text}");
        }
    }

    #[test]
    fn a_tag_that_the_text_does_not_bear_out_is_refused() {
        assert_eq!(resolve(BOOL, "yes"), Err(STR));
        assert_eq!(resolve(INT, "1.5"), Err(FLOAT));
        assert!(resolve(FLOAT, "2").is_ok());
        assert!(resolve("!foo", "5").is_ok());
    }
}
