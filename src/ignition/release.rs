//! Whether the Ignition of a Flatcar release reads a config.
//!
//! `("3.5.0", "4081.2.0")`: no, that one reads up to 3.4.0; releases from 4152.0.0 on do.

use crate::flatcar::{
    Version, first_release_with_spec, ignition_of_release, newest_spec, spec_of_release,
};

/// Checks a config's version against a release (`4593.2.5`), or against the newest version that an
/// image reads (`3.5.0`).
/// # Errors
/// What it reads instead, and what to do.
pub fn check_release(spec: &str, release: Version) -> Result<(), String> {
    // Numbers of releases begin at 1000, those of configs end long before.
    let newest = if release.major < 10 {
        Some(release.to_string())
    } else {
        spec_of_release(release).map(str::to_owned)
    };
    // An Ignition reads every stable version up to its newest, and one experimental one after it,
    // which changes without notice.
    if newest
        .as_deref()
        .is_some_and(|newest| number(spec) <= number(newest) && !spec.contains('-'))
    {
        return Ok(());
    }
    let mut text = match (
        ignition_of_release(release).filter(|_| release.major >= 10),
        &newest,
    ) {
        (Some(ignition), Some(newest)) => {
            format!(
                "Flatcar {release} has Ignition {ignition}, which reads configs of version {newest} and older"
            )
        }
        (None, Some(newest)) => format!("The image reads configs of version {newest} and older"),
        (_, None) => {
            format!("Flatcar {release} has an Ignition that reads no configs of version 3")
        }
    };
    text.push_str(&format!("; this one has version {spec}. "));
    let reads_3 = newest.as_deref().and_then(number) >= Some((3, 0));
    text.push_str(&match (unread(spec), first_release_with_spec(spec)) {
        (Some(why), _) => why,
        (None, Some(first)) if reads_3 => {
            format!("Use Flatcar {first} or newer, or an older version of Butane or Ignition in the config.")
        }
        (None, first) => format!(
            "All configs that are rendered here are of version 3: use Flatcar {} or newer.",
            first.unwrap_or(Version::of(3185, 0, 0))
        ),
    });
    Err(text)
}

/// Why no release reads a config of this version, as far as is known here; nothing where one does.
pub fn unread(spec: &str) -> Option<String> {
    let (newest, ignition) = newest_spec()?;
    // One experimental version is read after the newest, and changes without notice.
    if number(spec) <= number(newest) && !spec.contains('-') {
        return None;
    }
    Some(format!(
        "No release of Flatcar that this provider knows reads configs of version {spec}: the newest have Ignition {ignition}, which reads \
         {newest} and older, and a machine would stop in its emergency shell. Use an older version of Butane or Ignition in the config."
    ))
}

/// `3.7.0-experimental` as (3, 7).
fn number(spec: &str) -> Option<(u32, u32)> {
    let mut parts = spec.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_reads_what_its_ignition_reads() {
        for (spec, release, words) in [
            ("3.3.0", "4593.2.5", None),
            ("3.5.0", "4593.2.5", None),
            ("3.4.0", "3602.2.0", None),
            (
                "3.4.0",
                "3510.3.8",
                Some(
                    "Ignition 2.14.0, which reads configs of version 3.3.0 and older; this one has version 3.4.0. Use Flatcar 3535.0.0 or newer",
                ),
            ),
            (
                "3.3.0",
                "3033.2.4",
                Some(
                    "version 2.3.0 and older; this one has version 3.3.0. All configs that are rendered here are of version 3: use Flatcar 3185.0.0 or newer.",
                ),
            ),
            (
                "3.4.0",
                "2303.3.1",
                Some(
                    "no configs of version 3; this one has version 3.4.0. All configs that are rendered here are of version 3: use Flatcar 3535.0.0 or newer.",
                ),
            ),
            (
                "3.7.0-experimental",
                "4593.2.5",
                Some(
                    "No release of Flatcar that this provider knows reads configs of version 3.7.0-experimental: the newest have Ignition 2.24.0",
                ),
            ),
            ("3.4.0", "3.4.0", None),
            (
                "3.5.0",
                "3.4.0",
                Some(
                    "The image reads configs of version 3.4.0 and older; this one has version 3.5.0. Use Flatcar 4152.0.0",
                ),
            ),
        ] {
            let got = check_release(spec, release.parse().expect("a release"));
            match (&got, words) {
                (Ok(()), None) => {}
                (Err(text), Some(words)) if text.contains(words) => {}
                _ => panic!("{spec} on {release}: {got:?}"),
            }
        }
    }

    #[test]
    fn what_no_release_reads_is_told_without_a_release_too() {
        for spec in ["3.0.0", "3.3.0", "3.5.0"] {
            assert_eq!(unread(spec), None, "{spec}");
        }
        for spec in ["3.5.0-experimental", "3.6.0", "3.7.0-experimental"] {
            let answer = unread(spec).unwrap_or_default();
            assert!(answer.contains("reads 3.5.0 and older"), "{spec}: {answer}");
        }
    }
}
