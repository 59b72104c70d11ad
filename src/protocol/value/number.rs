//! Terraform's numbers: decimals of any size. `"0.1"` stays `0.1`, `18446744073709551616` stays
//! what it is, and `1 == 1.0 == 1e0`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A number that never passes through `f64` unless it came as one. Compared by value: `1 == 1.0`.
#[derive(Debug, Clone)]
pub enum Number {
    /// What fits in 64 bits with a sign.
    Int(i64),
    /// What needs the 64th bit.
    Uint(u64),
    /// A finite binary fraction (or an infinity), as core sends those that 64 bits hold exactly.
    Float(f64),
    /// A decimal that neither of the above holds exactly, in the grammar of JSON's numbers: `0.1`,
    /// `-1.5e400`.
    Decimal(String),
}

impl Number {
    /// Reads a decimal; a sign `+` and leading zeros are taken too. `None`: not a number.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(int) = text.parse() {
            return Some(Self::Int(int));
        }
        if let Ok(uint) = text.parse() {
            return Some(Self::Uint(uint));
        }
        let exact = Exact::parse(text)?;
        Some(match exact.integer() {
            Some(integer) => integer,
            None => Self::Decimal(exact.to_string()),
        })
    }

    /// The number as an integer, if it is one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(int) = self {
            return Some(*int);
        }
        match self.exact()?.integer()? {
            Self::Int(int) => Some(int),
            _ => None,
        }
    }

    /// The number as an integer, if it is one that fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self.exact()?.integer()? {
            Self::Int(int) => u64::try_from(int).ok(),
            Self::Uint(uint) => Some(uint),
            _ => None,
        }
    }

    /// The nearest binary fraction; for the few places that want no exactness.
    pub fn to_f64(&self) -> f64 {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "the nearest is what is asked for"
            )]
            Self::Int(int) => *int as f64,
            #[expect(
                clippy::cast_precision_loss,
                reason = "the nearest is what is asked for"
            )]
            Self::Uint(uint) => *uint as f64,
            Self::Float(float) => *float,
            Self::Decimal(text) => text.parse().unwrap_or(f64::NAN),
        }
    }

    /// `None`: infinite.
    fn exact(&self) -> Option<Exact> {
        match self {
            Self::Int(int) => Exact::parse(&int.to_string()),
            Self::Uint(uint) => Exact::parse(&uint.to_string()),
            // The longest binary fraction of 64 bits has 1074 decimals; they are printed exactly.
            Self::Float(float) if float.is_finite() => Exact::parse(&format!("{float:.1074}")),
            Self::Float(_) => None,
            Self::Decimal(text) => Exact::parse(text),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Uint(a), Self::Uint(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            _ => self.cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.exact(), other.exact()) {
            (Some(a), Some(b)) => a.cmp(&b),
            (None, None) => self.to_f64().total_cmp(&other.to_f64()),
            (None, Some(_)) => self.to_f64().total_cmp(&0.0),
            (Some(_), None) => 0.0_f64.total_cmp(&other.to_f64()),
        }
    }
}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.exact() {
            Some(exact) => exact.hash(state),
            None => (self.to_f64() > 0.0).hash(state),
        }
    }
}

impl fmt::Display for Number {
    /// A JSON number, except for infinities, which JSON lacks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => write!(f, "{int}"),
            Self::Uint(uint) => write!(f, "{uint}"),
            Self::Float(float) => match self.exact() {
                Some(exact) => write!(f, "{exact}"),
                None => write!(f, "{float}"),
            },
            Self::Decimal(text) => write!(f, "{text}"),
        }
    }
}

impl From<i64> for Number {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<u64> for Number {
    fn from(uint: u64) -> Self {
        match i64::try_from(uint) {
            Ok(int) => Self::Int(int),
            Err(_) => Self::Uint(uint),
        }
    }
}

/// `(-1)^negative * 0.DIGITS * 10^point`, without zeros at either end of the digits; zero has none,
/// and no sign.
#[derive(PartialEq, Eq, Hash)]
struct Exact {
    negative: bool,
    digits: String,
    point: i64,
}

impl Exact {
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0');
        if significant.is_empty() {
            return Some(Self {
                negative: false,
                digits: String::new(),
                point: 0,
            });
        }
        let leading_zeros = digits.len() - significant.len();
        let before_point = i64::try_from(whole.len()).ok()? - i64::try_from(leading_zeros).ok()?;
        let point = exponent.checked_add(before_point)?;
        if point.unsigned_abs() > FARTHEST_POINT {
            return None;
        }
        Some(Self {
            negative,
            digits: significant.trim_end_matches('0').to_owned(),
            point,
        })
    }

    /// As one of the integer kinds, where it is one and fits.
    fn integer(&self) -> Option<Number> {
        let length = i64::try_from(self.digits.len()).ok()?;
        if self.digits.is_empty() {
            return Some(Number::Int(0));
        }
        if self.point < length || self.point > 20 {
            return None;
        }
        let zeros = "0".repeat(usize::try_from(self.point - length).ok()?);
        let sign = if self.negative { "-" } else { "" };
        let text = format!("{sign}{}{zeros}", self.digits);
        text.parse()
            .map(Number::Int)
            .or_else(|_| text.parse().map(Number::Uint))
            .ok()
    }
}

impl fmt::Display for Exact {
    /// Plain where that is short, else with an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            negative,
            digits,
            point,
        } = self;
        if digits.is_empty() {
            return f.write_str("0");
        }
        if *negative {
            f.write_str("-")?;
        }
        let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        match usize::try_from(*point) {
            Ok(0) => write!(f, "0.{digits}"),
            Ok(whole) if *point < length => {
                write!(f, "{}.{}", &digits[..whole], &digits[whole..])
            }
            Ok(_) if *point <= length + MOST_ZEROS => {
                write!(
                    f,
                    "{digits}{}",
                    "0".repeat(usize::try_from(point - length).unwrap_or(0))
                )
            }
            Err(_) if *point > -MOST_ZEROS => {
                write!(
                    f,
                    "0.{}{digits}",
                    "0".repeat(usize::try_from(-point).unwrap_or(0))
                )
            }
            _ => write!(f, "0.{digits}e{point}"),
        }
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |exact: &Self| match (exact.digits.is_empty(), exact.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let magnitude = (self.point, &self.digits).cmp(&(other.point, &other.digits));
        sign(self).cmp(&sign(other)).then(if self.negative {
            magnitude.reverse()
        } else {
            magnitude
        })
    }
}

/// Core holds no number as large or as small; the bound keeps exponents from overflowing.
const FARTHEST_POINT: u64 = 1 << 31;

/// Core writes all zeros of every number; beyond so many an exponent is the lesser evil.
const MOST_ZEROS: i64 = 1_000;
