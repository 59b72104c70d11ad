//! Constraints on releases, by the rules that Terraform has for `required_version` and for modules.
//!
//! In: `~> 4593.2` or `>= 4459.2.0, < 4600`. Out: a [`Constraint`], which says of a release whether
//! it meets it. A number with fewer parts than another one is filled up with zeros, so that `=
//! 4593.2` is release 4593.2.0 alone. A pre-release (`4593.2.5-alpha`) stands below its release;
//! Flatcar's releases are none. What follows a `+` does not count.
//! See: hashicorp/go-version 1.9, `constraint.go`; the table of the test was compared with it.

use std::cmp::Ordering;

use crate::flatcar::Version;

/// All of some conditions on a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    operator: Operator,
    /// As written, at least one.
    numbers: Vec<u64>,
    is_pre_release: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Pessimistic,
}

/// Longer ones first, so that `>=` is not read as `>`.
const OPERATORS: &[(&str, Operator)] = &[
    ("~>", Operator::Pessimistic),
    (">=", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("!=", Operator::NotEqual),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("=", Operator::Equal),
];

impl Constraint {
    /// Conditions with commas between them; absent where one is none.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(',')
            .map(Condition::parse)
            .collect::<Option<_>>()
            .map(Self)
    }

    /// Whether a release meets it.
    pub fn is_met_by(&self, version: Version) -> bool {
        self.0.iter().all(|condition| condition.is_met_by(version))
    }

    /// The one release that it names, where it is nothing but a release: `= 4593.2.5`.
    pub fn exact(&self) -> Option<Version> {
        match self.0.as_slice() {
            [
                Condition {
                    operator: Operator::Equal,
                    numbers,
                    is_pre_release: false,
                },
            ] => match numbers.as_slice() {
                [major, minor, patch] => Some(Version::of(
                    u32::try_from(*major).ok()?,
                    u32::try_from(*minor).ok()?,
                    u32::try_from(*patch).ok()?,
                )),
                _ => None,
            },
            _ => None,
        }
    }

    /// The numbers of a condition that asks for one release and names only the beginning of one, as
    /// written: `4593.2`.
    pub fn short_equal(&self) -> Option<String> {
        let is_short = |condition: &&Condition| {
            condition.operator == Operator::Equal && condition.numbers.len() < 3
        };
        let short = self.0.iter().find(is_short)?;
        let numbers: Vec<String> = short.numbers.iter().map(u64::to_string).collect();
        Some(numbers.join("."))
    }
}

impl Condition {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        let (operator, number) = OPERATORS
            .iter()
            .find_map(|(word, operator)| Some((*operator, text.strip_prefix(word)?)))
            .unwrap_or((Operator::Equal, text));
        let number = number.trim_ascii();
        let number = number.strip_prefix('v').unwrap_or(number);
        let (number, build) = apart(number, '+');
        let (numbers, pre_release) = apart(number, '-');
        let words = [build, pre_release];
        if !words.into_iter().flatten().all(is_words) {
            return None;
        }
        Some(Self {
            operator,
            numbers: numbers.split('.').map(whole).collect::<Option<_>>()?,
            is_pre_release: pre_release.is_some(),
        })
    }

    fn is_met_by(&self, version: Version) -> bool {
        let order = self.order_of(version);
        match self.operator {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Pessimistic => {
                let fixed = self.numbers.len().saturating_sub(1);
                let has = parts(version);
                order.is_ge()
                    && !self.is_pre_release
                    && self.numbers.len() <= has.len()
                    && has.get(..fixed) == self.numbers.get(..fixed)
            }
        }
    }

    /// How a release stands to the number of the condition.
    fn order_of(&self, version: Version) -> Ordering {
        let has = parts(version);
        let length = self.numbers.len().max(has.len());
        let at = |numbers: &[u64], position: usize| numbers.get(position).copied().unwrap_or(0);
        let by_numbers = (0..length)
            .map(|position| at(&has, position).cmp(&at(&self.numbers, position)))
            .find(|order| order.is_ne());
        match (by_numbers, self.is_pre_release) {
            (Some(order), _) => order,
            (None, true) => Ordering::Greater,
            (None, false) => Ordering::Equal,
        }
    }
}

fn parts(version: Version) -> [u64; 3] {
    [version.major, version.minor, version.patch].map(u64::from)
}

fn apart(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Digits only, and no more than Terraform counts with.
fn whole(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse::<i64>().ok())??;
    u64::try_from(number).ok()
}

/// Words with dots between them: `rc.1`.
fn is_words(text: &str) -> bool {
    let in_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'~');
    text.split('.')
        .all(|word| !word.is_empty() && word.bytes().all(in_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASES: &[&str] = &[
        "4592.9.9", "4593.1.9", "4593.2.0", "4593.2.4", "4593.2.5", "4593.2.9", "4593.3.0",
        "4594.0.0", "5000.2.0",
    ];

    #[rustfmt::skip]
    const TABLE: &[(&str, &str)] = &[
        ("= 4593.2", "4593.2.0"),
        ("4593.2", "4593.2.0"),
        ("!= 4593.2", "4592.9.9 4593.1.9 4593.2.4 4593.2.5 4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
        ("> 4593.2", "4593.2.4 4593.2.5 4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
        ("< 4593.2", "4592.9.9 4593.1.9"),
        (">= 4593.2", "4593.2.0 4593.2.4 4593.2.5 4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
        ("<= 4593.2", "4592.9.9 4593.1.9 4593.2.0"),
        ("~> 4593.2", "4593.2.0 4593.2.4 4593.2.5 4593.2.9 4593.3.0"),
        ("~> 4593", "4593.1.9 4593.2.0 4593.2.4 4593.2.5 4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
        ("~> 4593.2.4", "4593.2.4 4593.2.5 4593.2.9"),
        ("= 4593.2.5", "4593.2.5"),
        ("!= 4593.2.5", "4592.9.9 4593.1.9 4593.2.0 4593.2.4 4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
        ("<= 4593.2.4", "4592.9.9 4593.1.9 4593.2.0 4593.2.4"),
        (">= 4593.2.0, < 4594", "4593.2.0 4593.2.4 4593.2.5 4593.2.9 4593.3.0"),
        (">= 4593,!= 4593.2.5, < 4594", "4593.1.9 4593.2.0 4593.2.4 4593.2.9 4593.3.0"),
        (">= 4593.2.5 , <4593.2.9", "4593.2.5"),
        ("= 4593.2.5.0", "4593.2.5"),
        ("> 4593.2.5.1", "4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
        ("< 4593.2.5.1", "4592.9.9 4593.1.9 4593.2.0 4593.2.4 4593.2.5"),
        ("~> 4593.2.5.0", ""),
        ("~> 4593.2.5.1", ""),
        ("= 4593.2.5-alpha", ""),
        (">= 4593.2.5-alpha", "4593.2.5 4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
        ("> 4593.2.5-a.b.c", "4593.2.5 4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
        ("< 4593.2.5-alpha", "4592.9.9 4593.1.9 4593.2.0 4593.2.4"),
        ("<= 4593.2.5-1", "4592.9.9 4593.1.9 4593.2.0 4593.2.4"),
        ("!= 4593.2.5-alpha", "4592.9.9 4593.1.9 4593.2.0 4593.2.4 4593.2.5 4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
        ("~> 4593.2.5-alpha", ""),
        ("= 4593.2.5+build.1", "4593.2.5"),
        ("v4593.2.5", "4593.2.5"),
        ("~> v4593.2", "4593.2.0 4593.2.4 4593.2.5 4593.2.9 4593.3.0"),
        ("  >=4593.2.5  ", "4593.2.5 4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
        ("04593.2.5", "4593.2.5"),
        ("> 9223372036854775807", ""),
        ("<= 9223372036854775807", "4592.9.9 4593.1.9 4593.2.0 4593.2.4 4593.2.5 4593.2.9 4593.3.0 4594.0.0 5000.2.0"),
    ];

    #[test]
    fn constraints_mean_what_terraform_means_by_them() {
        for (text, met) in TABLE {
            let constraint = Constraint::parse(text).unwrap();
            let meets = |release: &&&str| constraint.is_met_by(release.parse().unwrap());
            let found: Vec<&str> = RELEASES.iter().filter(meets).copied().collect();
            assert_eq!(found.join(" "), *met, "{text}");
        }
    }

    #[test]
    fn what_terraform_refuses_is_refused() {
        for text in [
            "",
            " ",
            "latest",
            "~> ",
            ">= 4593,",
            ",4593",
            "^4593",
            "4593.x",
            "== 4593.2.5",
            "= = 1",
            ">= 4593 < 4594",
            "=> 4593",
            "4593.",
            ".4593",
            "4593..2",
            "4593.2.5+",
            "4593.2.5+a+b",
            "4593.2.5-a..b",
            "4593.2.5-alpha_1",
            "> 4593.2.5_1",
            "V4593.2.5",
            "v",
            "> 9223372036854775808",
            "> 99999999999999999999",
            "> -1",
            "> +1",
            "> ٤",
            ">\u{a0}4593",
        ] {
            assert_eq!(Constraint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn one_whole_release_is_named_exactly() {
        for (text, release) in [
            ("= 4593.2.5", Some(Version::of(4593, 2, 5))),
            ("v4593.2.5", Some(Version::of(4593, 2, 5))),
            ("= 4593.2.5+b", Some(Version::of(4593, 2, 5))),
            ("= 4593.2", None),
            ("= 4593.2.5-alpha", None),
            ("= 4593.2.5, > 4593", None),
            (">= 4593.2.5", None),
            ("= 4593.2.99999999999", None),
        ] {
            assert_eq!(Constraint::parse(text).unwrap().exact(), release, "{text}");
        }
        let short = |text| Constraint::parse(text).unwrap().short_equal();
        assert_eq!(short(">= 4459, = 4593.2").as_deref(), Some("4593.2"));
        assert_eq!(short("~> 4593.2"), None);
    }
}
