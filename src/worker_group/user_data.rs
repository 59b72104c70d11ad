//! User data of a group: what is refused, and what each machine gets.

use crate::flatcar;
use crate::ignition::user_data::{Compress, pack};
use crate::ignition::{Unusable, check_user_data, merge_hostname};

/// Why user data cannot be what a machine boots with; never a part of it, for it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// At most 60 characters.
    pub(crate) summary: &'static str,
    /// What to write instead.
    pub(crate) detail: String,
}

/// What is wrong with user data for machines of this platform; `host` is the longest name that is merged into it, if any is.
pub(crate) fn fault(text: &str, platform: &str, host: Option<&str>) -> Option<Fault> {
    let whole = match host {
        Some(host) => merge_hostname(text, host),
        None => check_user_data(text).map(|()| text.to_owned()),
    };
    let whole = match whole {
        Ok(whole) => whole,
        Err(unusable) => {
            return Some(Fault {
                summary: match unusable {
                    Unusable::Packed => "User data is already packed",
                    Unusable::Replaces => "User data discards the host name",
                    _ => "User data is not Ignition JSON",
                },
                detail: unusable.to_string(),
            });
        }
    };
    let platform = flatcar::platform(platform)?;
    pack(&whole, platform, Compress::Auto)
        .err()
        .map(|too_large| Fault {
            summary: "User data is too large",
            detail: too_large.to_string(),
        })
}

/// The config with `/etc/hostname`. One that cannot take it was refused when it was checked, and stays as it is.
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
            (data, None, Some("User data is already packed")),
            (url, Some("h"), Some("User data discards the host name")),
            (url, None, None),
            (&large, None, Some("User data is too large")),
        ];
        for (text, host, summary) in cases {
            let fault = fault(text, "aws", host);
            let found = fault.as_ref().map(|fault| fault.summary);
            assert_eq!(
                found,
                summary,
                "{}",
                text.chars().take(60).collect::<String>()
            );
            let named = fault.is_none_or(|fault| {
                fault.summary != "User data is not Ignition JSON"
                    || fault.detail.contains(".rendered")
            });
            assert!(named);
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
