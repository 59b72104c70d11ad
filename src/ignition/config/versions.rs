//! The versions of Butane's `flatcar` variant and of Ignition 3 as data, and how a config's own
//! version is read and written.
//!
//! Source: Butane 0.28 (base v0_4, v0_5, v0_8_exp), Ignition 2.26.0 (config 3.0 to
//! 3.7.0-experimental).

use crate::ignition::config::{Object, Value};

/// A version of the `flatcar` variant.
pub(crate) struct Version {
    /// What a document has as its `version`.
    pub(crate) name: &'static str,
    /// Its number, which `Field::since` counts in.
    pub(crate) order: u8,
    /// The reference's package, as its decoder's messages have it.
    pub(crate) package: &'static str,
    /// `ignition.version` of what comes out.
    pub(crate) spec: &'static str,
    /// The minor version of `spec`.
    pub(crate) spec_minor: u8,
    /// A field of a LUKS device that this version refuses, with the reference's words.
    pub(crate) refused_in_luks: (&'static str, &'static str),
}

/// The `order` of these versions, for `Field::since`.
pub(super) const V1_1: u8 = 1;
pub(super) const V1_2: u8 = 2;
/// The field is in Ignition alone.
pub(super) const NEVER: u8 = 255;

/// The versions of `variant: flatcar`.
pub(crate) static VERSIONS: [Version; 3] = [
    Version {
        name: "1.0.0",
        order: 0,
        package: "v0_4",
        spec: "3.3.0",
        spec_minor: 3,
        refused_in_luks: ("clevis", "clevis is not supported in this spec version"),
    },
    Version {
        name: "1.1.0",
        order: V1_1,
        package: "v0_5",
        spec: "3.4.0",
        spec_minor: 4,
        refused_in_luks: ("clevis", "clevis is not supported in this spec version"),
    },
    Version {
        name: "1.2.0-experimental",
        order: V1_2,
        package: "v0_8_exp",
        spec: "3.7.0-experimental",
        spec_minor: 7,
        refused_in_luks: (
            "cex",
            "cex is not currently supported on the target platform",
        ),
    },
];

/// Ignition's versions that are taken as JSON, by minor version.
pub(crate) static SPECS: [&str; 6] = ["3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0"];

/// Other variants of Butane.
pub(crate) const OTHER_VARIANTS: [&str; 5] = ["fcos", "openshift", "r4e", "fiot", "rhcos"];
/// The minor version of Ignition that has every field.
pub(crate) const NEWEST_MINOR: u8 = 7;

/// The Ignition version of a minor version: `3.4.0` of 4.
pub(crate) fn spec(minor: u8) -> &'static str {
    let butane = VERSIONS
        .iter()
        .find(|version| version.spec_minor == minor)
        .map(|version| version.spec);
    butane
        .or_else(|| SPECS.get(usize::from(minor)).copied())
        .unwrap_or("3.5.0")
}

/// A version in its normal form: `01.1.0-` is `1.1.0`.
pub(crate) fn semver(text: &str) -> Option<String> {
    let (rest, metadata) = text.split_once('+').unwrap_or((text, ""));
    let (numbers, pre_release) = rest.split_once('-').unwrap_or((rest, ""));
    let numbers: Option<Vec<i64>> = numbers
        .split('.')
        .map(|number| number.parse().ok())
        .collect();
    let numbers = numbers.filter(|numbers| numbers.len() == 3)?;
    let identifiers = |text: &str| {
        text.is_empty()
            || text.split('.').all(|part| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
    };
    if !identifiers(pre_release) || !identifiers(metadata) {
        return None;
    }
    let mut normal = numbers
        .iter()
        .map(i64::to_string)
        .collect::<Vec<_>>()
        .join(".");
    for (mark, part) in [('-', pre_release), ('+', metadata)] {
        if !part.is_empty() {
            normal.push(mark);
            normal.push_str(part);
        }
    }
    Some(normal)
}

/// Why a document's header names nothing that can be translated.
pub(crate) struct Refused {
    /// The reference's words.
    pub(crate) exact: String,
    /// The key to blame, where one is.
    pub(crate) key: &'static str,
    /// What to write instead.
    pub(crate) advice: String,
}

/// The minor version of an Ignition 3 config, or why it is refused.
pub(crate) fn ignition_version(config: &Object) -> Result<u8, Refused> {
    let version = config
        .object("ignition")
        .map_or("", |ignition| ignition.name("version"));
    let refused = |exact: &str, advice: String| Refused {
        exact: exact.to_owned(),
        key: "version",
        advice,
    };
    let known = SPECS.iter().position(|spec| *spec == version);
    if let Some(minor) = known.and_then(|minor| u8::try_from(minor).ok()) {
        return Ok(minor);
    }
    match semver(version) {
        None => Err(refused(
            "invalid config version (couldn't parse)",
            format!("Set ignition.version to one of {}", SPECS.join(", ")),
        )),
        Some(version) if version.starts_with("2.") || version.starts_with("1.") => Err(refused(
            "unsupported config version",
            "Ignition 2 and older are another format. Write the config in Butane (`variant: flatcar`, `version: 1.1.0`), or convert it \
             with the ign-converter tool (https://github.com/coreos/ign-converter)"
                .to_owned(),
        )),
        Some(_) => Err(refused(
            "unsupported config version",
            format!("Use one of {}", SPECS.join(", ")),
        )),
    }
}

/// As [`ignition_version`], of a config that may have been rendered here from an experimental
/// version of Butane.
pub(crate) fn rendered_version(config: &Object) -> Result<u8, Refused> {
    let version = config
        .object("ignition")
        .map_or("", |ignition| ignition.name("version"));
    VERSIONS
        .iter()
        .find(|known| known.spec == version)
        .map_or_else(|| ignition_version(config), |known| Ok(known.spec_minor))
}

/// Writes `ignition.version`.
pub(crate) fn set_version(config: &mut Object, spec: &str) {
    config
        .object_mut("ignition")
        .set("version", Value::Text(spec.to_owned()));
}
