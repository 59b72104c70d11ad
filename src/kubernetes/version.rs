//! Versions of kubelets: what a group asks for, and what a Node reports.
//!
//! In: `1.34`, `1.34.2` or `v1.34.2`, as a user writes it. Out: whether `v1.34.2-eks-1a2b3c` is one
//! of these: what is not written is not looked at, and what comes after the numbers is not either.

use std::fmt;

/// A version that a kubelet is to report: `1.34`, any patch of it, or `1.34.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KubeletVersion {
    major: u16,
    minor: u16,
    /// `None`: any.
    patch: Option<u16>,
}

/// What a version has to be, for a diagnostic.
pub(crate) const VERSION_SAYS: &str =
    "A version of Kubernetes such as `1.34`, `1.34.2` or `v1.34.2`";

/// Whether it is a version that can be asked for.
pub(crate) fn is_version(text: &str) -> bool {
    KubeletVersion::parse(text).is_some()
}

impl KubeletVersion {
    /// Of what a user writes; `None`: it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.');
        let (major, minor) = (number(numbers.next()?)?, number(numbers.next()?)?);
        let patch = numbers.next().map(number);
        match (patch, numbers.next()) {
            (Some(None), _) | (_, Some(_)) => None,
            (patch, None) => Some(Self {
                major,
                minor,
                patch: patch.flatten(),
            }),
        }
    }

    /// Whether a kubelet that reports this (`v1.34.2`, `v1.34.2+k3s1`) is of it.
    pub(crate) fn is_reported_by(&self, kubelet: &str) -> bool {
        let numbers = kubelet.split(['-', '+']).next().unwrap_or_default();
        let reported = Self::parse(numbers);
        reported.is_some_and(|reported| {
            (reported.major, reported.minor) == (self.major, self.minor)
                && self.patch.is_none_or(|patch| reported.patch == Some(patch))
        })
    }
}

impl fmt::Display for KubeletVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            major,
            minor,
            patch,
        } = self;
        match patch {
            Some(patch) => write!(f, "{major}.{minor}.{patch}"),
            None => write!(f, "{major}.{minor}"),
        }
    }
}

/// Digits, as a version has them.
fn number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain && is_short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_two_or_three_numbers() {
        for (text, shown) in [
            ("1.34", Some("1.34")),
            ("v1.34", Some("1.34")),
            ("1.34.2", Some("1.34.2")),
            ("v1.34.0", Some("1.34.0")),
            ("1", None),
            ("", None),
            ("v", None),
            ("1.", None),
            ("1.34.", None),
            ("1.34.2.1", None),
            ("1.34.2-rc.1", None),
            ("1.34.x", None),
            ("1.+4", None),
            ("1.034", None),
            ("1.99999", None),
            ("vv1.34", None),
            (" 1.34", None),
        ] {
            let version = KubeletVersion::parse(text);
            let version = version.map(|version| version.to_string());
            assert_eq!(version.as_deref(), shown, "{text:?}");
            assert_eq!(is_version(text), shown.is_some(), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_written_is_not_looked_at() {
        for (asked, kubelet, is_it) in [
            ("1.34", "v1.34.0", true),
            ("1.34", "v1.34.12-eks-1a2b3c", true),
            ("1.34.2", "v1.34.2", true),
            ("v1.34.2", "v1.34.2+k3s1", true),
            ("1.34.2", "v1.34.2-gke.100", true),
            ("1.34.2", "v1.34.20", false),
            ("1.34.2", "v1.34", false),
            ("1.3", "v1.34.2", false),
            ("1.34", "v1.3.4", false),
            ("1.34", "v2.34.1", false),
            ("1.34", "", false),
            ("1.34", "fake", false),
        ] {
            let asked = KubeletVersion::parse(asked).unwrap();
            assert_eq!(asked.is_reported_by(kubelet), is_it, "{asked} {kubelet}");
        }
    }
}
