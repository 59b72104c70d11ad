//! Flatcar's facts as tables: versions, channels, LTS streams, the Ignition spec of each release;
//! platforms with their image files and user-data limits are in [`platform`].
//!
//! In: a release's number, `4593.2.5`. Out: `spec_of_release(4593.2.5) == Some("3.5.0")`. Sources:
//! flatcar/scripts (build and release jobs, tags up to alpha 4790.0.0), the release feed of
//! 2026-08-13, coreos/ignition `docs/release-notes.md`.

mod date;
mod platform;

use std::fmt;
use std::str::FromStr;

pub use date::Date;
pub use platform::{
    Architecture, Encoding, FITS_EVERYWHERE, ImageFile, Limit, Measured, PLATFORMS, Platform,
    SYNONYMS, Since, UserData, known_platform, platform,
};

/// Names of the channels, most used first. LTS streams (`lts-2024`) are in [`LTS_STREAMS`].
pub const CHANNELS: &[&str] = &["stable", "beta", "alpha", "lts"];

/// Where Flatcar publishes a channel, `{arch}` being `amd64` or `arm64`.
pub const RELEASE_URL: &str = "https://{channel}.release.flatcar-linux.net/{arch}-usr";

/// The directory of the release feed, `releases.json` in it.
pub const FEED_URL: &str = "https://www.flatcar.org/releases-json";

/// Fingerprint of the primary key that signs every release.
pub const SIGNING_KEY_FINGERPRINT: &str = "F88CFEDEFF29A5B4D9523864E25D9AED0593B34A";

/// The public signing key, as published at
/// `https://www.flatcar.org/security/image-signing-key/Flatcar_Image_Signing_Key.asc`.
pub const SIGNING_KEY: &[u8] = include_bytes!("Flatcar_Image_Signing_Key.asc");

/// A release's number: `4593.2.5`. Orders as releases of one channel do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    /// `Version::of(4593, 2, 5)`.
    pub const fn of(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// The channel that the number tells. Absent up to major 2605, whose numbers do not tell it
    /// reliably (its LTS stream is 2605.10.1 to 2605.32.1).
    pub fn channel(self) -> Option<&'static str> {
        if self.major <= 2605 {
            return None;
        }
        match self.minor {
            0 => Some("alpha"),
            1 => Some("beta"),
            2 => Some("stable"),
            3 => Some("lts"),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The release that a name of an image tells, where it says that it is Flatcar's:
/// `flatcar-stable-4593.2.5`, or the address of a file. Absent where there is none, or one from
/// before Ignition's table begins, which may as well be a date.
pub fn release_in(image: &str) -> Option<Version> {
    if !image.to_ascii_lowercase().contains("flatcar") {
        return None;
    }
    image
        .split(|char: char| !char.is_ascii_digit() && char != '.')
        .filter_map(|word| word.trim_matches('.').parse().ok())
        .find(|release| ignition_of_release(*release).is_some())
}

/// A text that is no release number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let mut parts = text.split('.');
        let mut next = || {
            parts
                .next()
                .filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|part| part.parse().ok())
                .ok_or(NotAVersion)
        };
        let version = Version::of(next()?, next()?, next()?);
        match parts.next() {
            None => Ok(version),
            Some(_) => Err(NotAVersion),
        }
    }
}

/// A stream of long-term support: one a year, supported for about 18 months.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct LtsStream {
    pub year: u16,
    pub major: u32,
    /// First and last release, `YYYY-MM-DD`; the last is absent while the stream lives.
    pub first: &'static str,
    pub ended: Option<&'static str>,
}

/// The streams so far, newest first.
pub const LTS_STREAMS: &[LtsStream] = &[
    LtsStream {
        year: 2024,
        major: 4081,
        first: "2025-01-30",
        ended: None,
    },
    LtsStream {
        year: 2023,
        major: 3510,
        first: "2023-10-05",
        ended: Some("2025-08-19"),
    },
    LtsStream {
        year: 2022,
        major: 3033,
        first: "2022-05-05",
        ended: Some("2023-10-25"),
    },
    LtsStream {
        year: 2021,
        major: 2605,
        first: "2020-12-16",
        ended: Some("2022-10-17"),
    },
];

/// Newest stable Ignition spec by the version of Ignition, newest first. Older ones (0.x) know the
/// specs 1 and 2 only.
const SPECS: &[((u32, u32), &str)] = &[
    ((2, 26), "3.6.0"),
    ((2, 20), "3.5.0"),
    ((2, 15), "3.4.0"),
    ((2, 11), "3.3.0"),
    ((2, 7), "3.2.0"),
    ((2, 3), "3.1.0"),
    ((2, 0), "3.0.0"),
    ((0, 32), "2.3.0"),
    ((0, 22), "2.2.0"),
];

/// The newest spec that an Ignition of this version (`2.24.0`) reads: `3.5.0`.
pub fn spec_of_ignition(version: &str) -> Option<&'static str> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let number = (parts.next()??, parts.next()??);
    SPECS
        .iter()
        .find(|(since, _)| number >= *since)
        .map(|(_, spec)| *spec)
}

/// Ignition by release, newest first; a branch (same major) of its own where it was updated later
/// there. Computed from the 545 entries of the release feed, and a test walks them.
const IGNITION: &[(Version, &str)] = &[
    (Version::of(4547, 0, 0), "2.24.0"),
    (Version::of(4459, 0, 0), "2.22.0"),
    (Version::of(4344, 0, 0), "2.21.0"),
    (Version::of(4152, 0, 0), "2.20.0"),
    (Version::of(4012, 0, 0), "2.19.0"),
    (Version::of(3913, 0, 0), "2.18.0"),
    (Version::of(3535, 0, 0), "2.15.0"),
    (Version::of(3277, 0, 0), "2.14.0"),
    (Version::of(3185, 0, 0), "2.13.0"),
    (Version::of(3066, 0, 0), "0.36.1"),
    (Version::of(3046, 0, 0), "0.34.0"),
    (Version::of(3033, 2, 3), "0.36.1"),
    (Version::of(2345, 3, 1), "0.34.0"),
];

/// The version of Ignition that a release carries: `2.24.0`. Absent before 2345.3.1 (March 2020). A
/// release newer than this table has at least the newest that it knows.
pub fn ignition_of_release(release: Version) -> Option<&'static str> {
    IGNITION
        .iter()
        .find(|(since, _)| release >= *since)
        .map(|(_, ignition)| *ignition)
}

/// The newest Ignition spec that a release reads: `3.5.0`.
pub fn spec_of_release(release: Version) -> Option<&'static str> {
    ignition_of_release(release).and_then(spec_of_ignition)
}

/// The newest Ignition spec that any release of this table reads, and the version of Ignition that
/// reads it: `("3.5.0", "2.24.0")`.
pub fn newest_spec() -> Option<(&'static str, &'static str)> {
    let (_, ignition) = IGNITION.first()?;
    Some((spec_of_ignition(ignition)?, ignition))
}

/// The first release (major) that reads a 3.x spec (`3.4.0`): what to name when a release is too
/// old for a config.
pub fn first_release_with_spec(spec: &str) -> Option<Version> {
    let number = |text: &str| {
        let mut parts = text.split('.').map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    let wanted = number(spec)?;
    IGNITION
        .iter()
        .take_while(|(_, ignition)| {
            spec_of_ignition(ignition)
                .and_then(number)
                .is_some_and(|has| has >= wanted)
        })
        .last()
        .map(|(since, _)| *since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers_and_nothing_else() {
        assert_eq!("4593.2.5".parse(), Ok(Version::of(4593, 2, 5)));
        for text in [
            "",
            "4593",
            "4593.2",
            "4593.2.5.1",
            "4593.2.",
            "v4593.2.5",
            "4593.2.x",
            " 4593.2.5",
            "+1.2.3",
            "99999999999.0.0",
            "4593.2.5+nightly-20260821-2100",
        ] {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion), "{text}");
        }
    }

    #[test]
    fn a_release_is_read_off_an_images_name_where_it_surely_is_one() {
        for (image, release) in [
            ("flatcar-stable-4593.2.5", Some(Version::of(4593, 2, 5))),
            ("Flatcar_4081.3.10", Some(Version::of(4081, 3, 10))),
            (
                "https://stable.release.flatcar-linux.net/amd64-usr/4593.2.5/flatcar_production_qemu_uefi_image.img",
                Some(Version::of(4593, 2, 5)),
            ),
            (
                "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4593.2.5",
                Some(Version::of(4593, 2, 5)),
            ),
            ("ami-0123456789", None),
            ("golden-4593.2.5", None),
            ("flatcar-2024.1.15", None),
            ("flatcar", None),
            ("flatcar-1.2.3.4", None),
        ] {
            assert_eq!(release_in(image), release, "{image}");
        }
    }

    #[test]
    fn the_spec_of_a_release_is_what_its_ignition_reads() {
        for (release, spec) in [
            (Version::of(2345, 3, 0), None),
            (Version::of(2605, 32, 1), Some("2.3.0")),
            (Version::of(3033, 3, 18), Some("2.3.0")),
            (Version::of(3510, 3, 8), Some("3.3.0")),
            (Version::of(4081, 3, 10), Some("3.4.0")),
            (Version::of(4593, 2, 5), Some("3.5.0")),
            (Version::of(9999, 0, 0), Some("3.5.0")),
        ] {
            assert_eq!(spec_of_release(release), spec, "{release}");
        }
        assert_eq!(spec_of_ignition("2.26.0"), Some("3.6.0"));
        assert_eq!(spec_of_ignition("nonsense"), None);
        assert_eq!(
            first_release_with_spec("3.5.0"),
            Some(Version::of(4152, 0, 0))
        );
        assert_eq!(
            first_release_with_spec("3.4.0"),
            Some(Version::of(3535, 0, 0))
        );
        assert_eq!(
            first_release_with_spec("3.3.0"),
            Some(Version::of(3185, 0, 0))
        );
        assert_eq!(first_release_with_spec("3.6.0"), None);
        assert_eq!(newest_spec(), Some(("3.5.0", "2.24.0")));
    }

    #[test]
    fn platforms_have_distinct_names_and_synonyms_lead_to_them() {
        for (position, row) in PLATFORMS.iter().enumerate() {
            assert!(
                PLATFORMS[..position]
                    .iter()
                    .all(|earlier| earlier.name != row.name),
                "{} is there twice",
                row.name
            );
            assert!(
                !row.files.is_empty() && !row.architectures.is_empty(),
                "{}",
                row.name
            );
        }
        for (word, meaning) in SYNONYMS {
            assert!(platform(word).is_none(), "{word} is a platform itself");
            if let Ok(name) = meaning {
                assert!(platform(name).is_some(), "{word} leads to {name}");
            }
        }
    }

    #[test]
    fn an_encoded_limit_leaves_three_quarters() {
        let limit = |name| platform(name).and_then(|row| row.user_data.raw_limit());
        assert_eq!(limit("openstack"), Some(49_149));
        assert_eq!(limit("aws"), Some(16_384));
        assert_eq!(limit("qemu"), None);
        assert_eq!(limit("oraclecloud"), Some(24_000));
    }

    #[test]
    fn every_platform_says_what_it_takes_and_where_that_is_said() {
        for row in PLATFORMS {
            let user_data = row.user_data;
            let is_file = ["qemu", "baremetal", "pxe", "iso", "proxmoxve"].contains(&row.name);
            match user_data.limit {
                Limit::Documented(most, source) | Limit::Stated(most, source) => {
                    assert!(
                        source.contains("://") || row.name == "sandbox",
                        "{}",
                        row.name
                    );
                    assert!(most >= FITS_EVERYWHERE * 3 / 4 && !is_file, "{}", row.name);
                    assert!(
                        user_data.wary_above().is_none_or(|wary| wary < most),
                        "{}",
                        row.name
                    );
                }
                Limit::Unlimited => assert!(is_file, "{}", row.name),
                Limit::Unknown => assert_eq!(
                    user_data.wary_above(),
                    Some(FITS_EVERYWHERE),
                    "{}",
                    row.name
                ),
            }
        }
    }
}
