//! User data of a group: what is refused, and what each machine gets.

use crate::flatcar::{self, Version};
use crate::ignition::user_data::{Compress, pack};
use crate::ignition::{
    Unusable, check_release, check_user_data, merge_hostname, refusals, unread, version_of,
};

/// Why user data cannot be what a machine boots with; never a part of it, for it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// At most 60 characters.
    pub(crate) summary: &'static str,
    /// What to write instead.
    pub(crate) detail: String,
}

/// That no release, or not the one of the group's image, reads a config of this version.
fn unreadable(text: &str, release: Option<Version>) -> Option<Fault> {
    let spec = version_of(text)?;
    let (summary, detail) = match release.map(|release| check_release(&spec, release)) {
        Some(Ok(())) => return None,
        Some(Err(why)) => ("The image cannot read the user data", why),
        None => ("No release reads this user data", unread(&spec)?),
    };
    Some(Fault { summary, detail })
}

/// What is wrong with user data for machines of this platform; `host` is the longest name that is
/// merged into it, if any is, and `release` that of the image, where it is known.
pub(crate) fn faults(
    text: &str,
    platform: &str,
    host: Option<&str>,
    release: Option<Version>,
) -> Vec<Fault> {
    let unusable = |unusable: Unusable| {
        vec![Fault {
            summary: match unusable {
                Unusable::Packed => "User data is already packed",
                Unusable::Replaces => "User data discards the host name",
                _ => "User data is not Ignition JSON",
            },
            detail: unusable.to_string(),
        }]
    };
    if let Err(why) = check_user_data(text) {
        return unusable(why);
    }
    let refused = refusals(text);
    if !refused.is_empty() {
        let fault = |refusal| Fault {
            summary: "No machine boots with this user data",
            detail: format!(
                "Ignition would refuse it: {refusal}. What data.flatcar_ignition.NAME.rendered gives has been checked for that."
            ),
        };
        return refused.into_iter().map(fault).collect();
    }
    if let Some(fault) = unreadable(text, release) {
        return vec![fault];
    }
    let whole = match host.map(|host| merge_hostname(text, host)) {
        None => text.to_owned(),
        Some(Ok(merged)) => merged,
        Some(Err(why)) => return unusable(why),
    };
    let packed = flatcar::platform(platform).map(|known| pack(&whole, known, Compress::Auto));
    match packed {
        Some(Err(too_large)) => vec![Fault {
            summary: "User data is too large",
            detail: too_large.to_string(),
        }],
        Some(Ok(_)) | None => Vec::new(),
    }
}

/// The config with `/etc/hostname`. One that cannot take it was refused when it was checked, and
/// stays as it is.
pub(crate) fn with_hostname(text: &str, host: &str) -> String {
    merge_hostname(text, host).unwrap_or_else(|_| text.to_owned())
}

/// What a machine without user data boots with, where a host name is merged.
pub(crate) const EMPTY: &str = r#"{"ignition":{"version":"3.3.0"}}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_rendered_ignition_is_refused_and_says_what_to_write() {
        let data = r#"{"ignition":{"version":"3.3.0","config":{"replace":{"source":"data:;base64,AA","compression":"gzip"}}}}"#;
        let url = r#"{"ignition":{"version":"3.3.0","config":{"replace":{"source":"https://example.com/x"}}}}"#;
        let large = format!(
            r#"{{"ignition":{{"version":"3.3.0"}},"x":"{}"}}"#,
            noise(40_000)
        );
        let cases = [
            (EMPTY, Some("h"), None),
            (
                "eyJpZ25pdGlvbiI6e319",
                None,
                Some("User data is not Ignition JSON"),
            ),
            (
                "variant: flatcar",
                None,
                Some("User data is not Ignition JSON"),
            ),
            ("{}", None, Some("User data is not Ignition JSON")),
            (
                "\u{feff}{\"ignition\":{\"version\":\"3.3.0\"}}",
                None,
                Some("User data is not Ignition JSON"),
            ),
            (data, None, Some("User data is already packed")),
            (url, Some("h"), Some("User data discards the host name")),
            (url, None, None),
            (&large, None, Some("User data is too large")),
        ];
        for (text, host, summary) in cases {
            let faults = faults(text, "aws", host, None);
            let found: Vec<&str> = faults.iter().map(|fault| fault.summary).collect();
            let expected: Vec<&str> = summary.into_iter().collect();
            let beginning: String = text.chars().take(60).collect();
            assert_eq!(found, expected, "{beginning}");
            for fault in faults {
                let of_format = fault.summary == "User data is not Ignition JSON";
                assert!(!of_format || fault.detail.contains(".rendered"));
            }
        }
    }

    #[test]
    fn a_config_that_no_machine_of_the_group_can_read_is_refused() {
        let of = |spec: &str| format!(r#"{{"ignition":{{"version":"{spec}"}}}}"#);
        for (spec, image, words) in [
            ("3.4.0", "ami-0123456789", None),
            ("3.4.0", "flatcar-4593.2.5", None),
            (
                "3.7.0-experimental",
                "ami-0123456789",
                Some("No release reads this user data"),
            ),
            (
                "3.7.0-experimental",
                "flatcar-4593.2.5",
                Some("The image cannot read the user data"),
            ),
            (
                "3.4.0",
                "flatcar-3510.3.8",
                Some("The image cannot read the user data"),
            ),
        ] {
            let faults = faults(&of(spec), "aws", None, flatcar::release_in(image));
            let told: Vec<&str> = faults.iter().map(|fault| fault.summary).collect();
            assert_eq!(told, Vec::from_iter(words), "{spec} on {image}");
        }
    }

    #[test]
    fn the_size_counts_with_the_host_name_in_it() {
        let config = |length| {
            let text = noise(length);
            format!(
                r#"{{"ignition":{{"version":"3.3.0"}},"storage":{{"files":[{{"path":"/a","contents":{{"source":"data:,{text}"}}}}]}}}}"#
            )
        };
        let fits = |length: usize, host| faults(&config(length), "aws", host, None).is_empty();
        let (mut most, mut too_much) = (1_000, 100_000);
        while too_much - most > 1 {
            let middle = usize::midpoint(most, too_much);
            match fits(middle, None) {
                true => most = middle,
                false => too_much = middle,
            }
        }
        assert!(fits(most, None) && !fits(most, Some("workers-abcdefgh-999999")));
        assert!(fits(most - 2_000, Some("workers-abcdefgh-999999")));
    }

    #[test]
    fn what_ignition_would_refuse_is_refused_fault_by_fault_and_without_a_value() {
        let ignition = r#""ignition":{"version":"3.4.0"}"#;
        let cases: [(String, &[&str]); 8] = [
            (
                r#"{"ignition":{"version":"3.99.0"}}"#.to_owned(),
                &["$.ignition.version"],
            ),
            (
                format!(r#"{{{ignition},"storage":"s3cret"}}"#),
                &["line 1 col"],
            ),
            (
                format!(r#"{{{ignition},"storage":{{"files":{{"path":"s3cret"}}}}}}"#),
                &["line 1 col"],
            ),
            (
                format!(r#"{{{ignition},"storage":{{"files":[{{"path":"s3cret"}}]}}}}"#),
                &["$.storage.files.0.path"],
            ),
            (
                format!(
                    r#"{{{ignition},"storage":{{"files":[{{"path":"s3cret"}}]}},"systemd":{{"units":[{{"name":"s3cret"}}]}}}}"#
                ),
                &["$.storage.files.0.path", "$.systemd.units.0.name"],
            ),
            (
                format!(r#"{{{ignition},"passwd":{{"users":[{{"name":7}}]}}}}"#),
                &["line 1 col"],
            ),
            // Ignition passes over a key that it does not know.
            (format!(r#"{{{ignition},"later":1}}"#), &[]),
            (format!(r#"{{{ignition}}}"#), &[]),
        ];
        for (text, places) in cases {
            for host in [None, Some("h")] {
                let faults = faults(&text, "sandbox", host, None);
                assert_eq!(faults.len(), places.len(), "{text} {faults:?}");
                for (fault, place) in faults.iter().zip(places) {
                    assert_eq!(fault.summary, "No machine boots with this user data");
                    assert!(fault.detail.contains(place), "{}", fault.detail);
                    assert!(!fault.detail.contains("s3cret"), "{}", fault.detail);
                }
            }
        }
    }

    /// Text that does not compress.
    fn noise(length: usize) -> String {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
        };
        (0..length).map(|_| next()).collect()
    }
}
