//! Which format and version a document is in, and what to write instead of one that is not taken.

use crate::ignition::butane::decode::{self, DecodeError};
use crate::ignition::config::fields::{self, HEADER, SPECS, Version};
use crate::ignition::config::{Object, Value};
use crate::ignition::text::json;
use crate::ignition::text::yaml::{Content, Nodes};
use crate::ignition::unread;

/// Why a document's header names nothing that can be translated.
pub(crate) struct Refused {
    /// The reference's words.
    pub(crate) exact: String,
    /// The key to blame, where one is.
    pub(crate) key: &'static str,
    /// What to write instead.
    pub(crate) advice: String,
}

const VARIANT_MISSING: &str = "error parsing variant; must be specified";
const VERSION_UNPARSABLE: &str = "error parsing version; must be a valid semver";
const RHCOS_REMOVED: &str = "rhcos variant has been removed; use openshift variant instead: \
                             https://coreos.github.io/butane/upgrading-openshift/";
const WRITE_FLATCAR: &str = "Begin the document with `variant: flatcar` and `version: 1.1.0`";

/// Other variants of Butane.
pub(crate) const OTHER_VARIANTS: [&str; 5] = ["fcos", "openshift", "r4e", "fiot", "rhcos"];
/// Root keys of a Container Linux Config, the format before Butane.
const CONTAINER_LINUX_KEYS: [&str; 6] = [
    "etcd",
    "flannel",
    "docker",
    "update",
    "locksmith",
    "networkd",
];

/// Reads `variant` and `version`.
pub(crate) fn decode(nodes: &Nodes) -> Result<Object, DecodeError> {
    decode::decode(nodes, &HEADER, 0, "config")
}

/// The version of the `flatcar` variant that the header names.
pub(crate) fn version(header: &Object, nodes: &Nodes) -> Result<&'static Version, Refused> {
    let variant = header.name("variant");
    if variant.is_empty() {
        return Err(Refused {
            exact: VARIANT_MISSING.to_owned(),
            key: "variant",
            advice: missing_variant(nodes),
        });
    }
    let Some(version) = semver(header.name("version")) else {
        return Err(Refused {
            exact: VERSION_UNPARSABLE.to_owned(),
            key: "version",
            advice: format!("Write one of {}", versions()),
        });
    };
    let found = fields::VERSIONS.iter().find(|known| known.name == version);
    match (variant, found) {
        ("flatcar", Some(found)) => Ok(found),
        ("rhcos", _) if version == "0.1.0" => Err(Refused {
            exact: RHCOS_REMOVED.to_owned(),
            key: "variant",
            advice: WRITE_FLATCAR.to_owned(),
        }),
        _ => Err(Refused {
            exact: format!("No translator exists for variant {variant} with version {version}"),
            key: if variant == "flatcar" {
                "version"
            } else {
                "variant"
            },
            advice: match variant {
                "flatcar" => format!("Write one of {}", versions()),
                variant if OTHER_VARIANTS.contains(&variant) => format!(
                    "The variant `{variant}` is made for another system than Flatcar. {WRITE_FLATCAR}; sections that Flatcar lacks \
                     (boot_device, grub, extensions, openshift) are then named one by one"
                ),
                _ => WRITE_FLATCAR.to_owned(),
            },
        }),
    }
}

/// Those that some release reads what comes of them.
fn versions() -> String {
    fields::VERSIONS
        .iter()
        .filter(|version| unread(version.spec).is_none())
        .map(|v| format!("`{}`", v.name))
        .collect::<Vec<_>>()
        .join(", ")
}

fn missing_variant(nodes: &Nodes) -> String {
    let Some(root) = nodes.root() else {
        return WRITE_FLATCAR.to_owned();
    };
    let has = |key: &str| nodes.child(root, key).is_some();
    let old_keys = CONTAINER_LINUX_KEYS.iter().any(|key| has(key));
    if old_keys || ["storage", "systemd", "passwd"].iter().any(|key| has(key)) {
        return format!(
            "{WRITE_FLATCAR}. A Container Linux Config is not Butane: write units and files in place of its sections etcd, flannel, \
             docker, update, locksmith and networkd (https://www.flatcar.org/docs/latest/provisioning/config-transpiler/)"
        );
    }
    match &nodes.get(root).content {
        Content::Scalar if nodes.get(root).text.starts_with("#cloud-config") => {
            format!("cloud-config is not Butane. {WRITE_FLATCAR}")
        }
        _ => WRITE_FLATCAR.to_owned(),
    }
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

/// Whether there is nothing in a document: blanks, comments, marks of its beginning and end.
pub(crate) fn is_blank(text: &str) -> bool {
    text.trim_start_matches(BYTE_ORDER_MARK)
        .lines()
        .all(|line| {
            let line = line.trim();
            let rest = line
                .strip_prefix("---")
                .or_else(|| line.strip_prefix("..."))
                .filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
            let rest = rest.unwrap_or(line).trim_start();
            rest.is_empty() || rest.starts_with('#')
        })
}

/// What some editors put at the beginning of a text.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Whether the text is an Ignition config in JSON rather than Butane, which may be written as JSON too.
pub(crate) fn is_ignition(text: &str) -> bool {
    let blank = [' ', '\t', '\r', '\n'];
    let Some(inside) = text.trim_start_matches(blank).strip_prefix('{') else {
        return false;
    };
    if !inside.trim_start_matches(blank).starts_with('"') {
        return false;
    }
    match json::parse(text) {
        Ok(nodes) => nodes.root().is_some_and(|root| {
            nodes.child(root, "ignition").is_some() && nodes.child(root, "variant").is_none()
        }),
        Err(_) => text.contains("\"ignition\"") && !text.contains("\"variant\""),
    }
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

/// The same, of a config that may have been rendered here from an experimental Butane version.
pub(crate) fn rendered_version(config: &Object) -> Result<u8, Refused> {
    let version = config
        .object("ignition")
        .map_or("", |ignition| ignition.name("version"));
    fields::VERSIONS
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
