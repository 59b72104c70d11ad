//! Which format and version a document is in, and what to write instead of one that is not taken.

use crate::ignition::butane::decode::{self, DecodeError};
use crate::ignition::config::Object;
use crate::ignition::config::fields::HEADER;
use crate::ignition::config::versions::{OTHER_VARIANTS, Refused, VERSIONS, Version, semver};
use crate::ignition::release::unread;
use crate::text::json;
use crate::text::yaml::{Content, Nodes};

const VARIANT_MISSING: &str = "error parsing variant; must be specified";
const VERSION_UNPARSABLE: &str = "error parsing version; must be a valid semver";
const RHCOS_REMOVED: &str = "rhcos variant has been removed; use openshift variant instead: \
                             https://coreos.github.io/butane/upgrading-openshift/";
const WRITE_FLATCAR: &str = "Begin the document with `variant: flatcar` and `version: 1.1.0`";

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
    let found = VERSIONS.iter().find(|known| known.name == version);
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

/// The versions whose Ignition some release reads.
fn versions() -> String {
    VERSIONS
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

/// Some editors put this at the beginning of a text.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Whether the text is an Ignition config in JSON rather than Butane, which may be written as JSON
/// too.
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
