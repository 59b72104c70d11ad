//! Ignition's rules for a config, and its check for entries that repeat. Storage and disks have a
//! file of their own.
//!
//! Source: Ignition 2.26.0, config/v3_3, v3_4, v3_7_experimental (facts, section 12). Each message
//! is a constant.

mod storage;

use std::collections::{HashMap, HashSet};

use crate::ignition::config::report::Problems;
use crate::ignition::config::versions::semver;
use crate::ignition::config::{At, Field, Object, Value, unit, url};
use crate::text::go::quote;

const DUPLICATE: &str = "duplicate entry defined";
const INVALID_VERSION: &str = "invalid config version (couldn't parse)";
const UNKNOWN_VERSION: &str = "unsupported config version";
const PATH_CONFLICTS_SYSTEMD: &str = "path conflicts with systemd unit or dropin";
const SOURCE_REQUIRED: &str = "source is required";
const INVALID_PROXY: &str = "proxies must be http(s)";
const INSECURE_PROXY: &str = "insecure plaintext HTTP proxy specified for HTTPS resources";
const COMPRESSION_INVALID: &str = "invalid compression method";
const VERIFICATION_WITHOUT_SOURCE: &str = "source must be specified if verification is specified";
const HASH_MALFORMED: &str = "malformed hash specifier";
const HASH_UNRECOGNIZED: &str = "unrecognized hash function";
const HASH_WRONG_SIZE: &str = "incorrect size for hash sum";
const HEADERS_UNSUPPORTED: &str = "cannot use HTTP headers with this source scheme";
const HEADER_NAME_EMPTY: &str = "HTTP header name can't be empty";
const HEADER_INVALID: &str = "unable to parse HTTP header";
const BOTH_ID_AND_NAME: &str = "cannot set both id and name";
const UNIT_EXTENSION: &str = "invalid systemd unit extension";
const DROPIN_EXTENSION: &str = "invalid systemd drop-in extension";

/// Extensions of systemd units.
const UNIT_EXTENSIONS: [&str; 12] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".snapshot",
    ".slice",
    ".scope",
];

/// Why the version of a config inside a config is not what it must be.
pub(crate) enum VersionProblem {
    Unparsable,
    Other,
}

/// Everything that is wrong with an Ignition config of the given minor version: first entries that
/// repeat, then the rules.
pub(crate) fn check(config: &Object, spec_minor: u8, problems: &mut Problems) {
    repeats(config, &At::ROOT, problems);
    rules_of(config, spec_minor, problems);
}

/// The rules alone.
pub(crate) fn rules_of(config: &Object, spec_minor: u8, problems: &mut Problems) {
    rules(config, &At::ROOT, spec_minor, problems);
}

/// Compares `ignition.version` with what it must be.
pub(crate) fn version(config: &Object, spec: &str) -> Result<(), VersionProblem> {
    let version = config
        .object("ignition")
        .map_or("", |ignition| ignition.name("version"));
    match semver(version) {
        None => Err(VersionProblem::Unparsable),
        Some(version) if version == spec => Ok(()),
        Some(_) => Err(VersionProblem::Other),
    }
}

/// The words for a version that is not what it must be.
pub(crate) fn version_message(problem: &VersionProblem) -> &'static str {
    match problem {
        VersionProblem::Unparsable => INVALID_VERSION,
        VersionProblem::Other => UNKNOWN_VERSION,
    }
}

/// Reports each later list element with a key that an earlier one has.
pub(crate) fn repeats(object: &Object, at: &At<'_>, problems: &mut Problems) {
    let mut shared: HashSet<String> = HashSet::new();
    for (field, value) in object
        .entries()
        .filter(|(field, _)| is_visible(field) && !field.unkeyed)
    {
        let mut own: HashSet<String> = HashSet::new();
        let seen = if field.shared_keys {
            &mut shared
        } else {
            &mut own
        };
        let at = at.name(field.name);
        match value {
            Value::Texts(texts) => {
                for (index, text) in texts.iter().enumerate() {
                    if !seen.insert(text.clone()) {
                        problems.error(at.path().index(index), DUPLICATE);
                    }
                }
            }
            Value::Objects(objects) => {
                for (index, object) in objects.iter().enumerate() {
                    if !seen.insert(object.key()) {
                        problems.error(at.path().index(index), DUPLICATE);
                    }
                }
            }
            _ => {}
        }
    }
    each_object(object, at, |object, at| repeats(object, at, problems));
}

fn is_visible(field: &Field) -> bool {
    field.spec != 255
}

/// Visits the objects of an object, in order.
pub(crate) fn each_object(object: &Object, at: &At<'_>, mut visit: impl FnMut(&Object, &At<'_>)) {
    for (field, value) in object.entries().filter(|(field, _)| is_visible(field)) {
        let at = at.name(field.name);
        match value {
            Value::Object(object) => visit(object, &at),
            Value::Objects(objects) => {
                for (index, object) in objects.iter().enumerate() {
                    visit(object, &at.index(index));
                }
            }
            _ => {}
        }
    }
}

fn rules(object: &Object, at: &At<'_>, minor: u8, problems: &mut Problems) {
    match object.shape.name {
        "Config" => paths_of_units(object, at, problems),
        "IgnitionConfig" => required_sources(object, "merge", at, minor, problems),
        "TLS" => required_sources(object, "certificate_authorities", at, minor, problems),
        "Proxy" => proxy(object, at, problems),
        "Resource" => resource(object, at, minor, problems),
        "HTTPHeader" => header(object, at, problems),
        "Verification" => verification(object, at, problems),
        "NodeUser" | "NodeGroup"
            if object.int("id").is_some() && object.filled("name").is_some() =>
        {
            problems.error(at.path(), BOTH_ID_AND_NAME);
        }
        "Systemd" => template_units(object, at, problems),
        "Unit" => systemd_unit(object, at, problems),
        "Dropin" => dropin(object, at, problems),
        _ => storage::rules(object, at, minor, problems),
    }
    each_object(object, at, |object, at| rules(object, at, minor, problems));
}

fn paths_of_units(config: &Object, at: &At<'_>, problems: &mut Problems) {
    const DIRECTORY: &str = "/etc/systemd/system/";
    let (Some(storage), Some(systemd)) = (config.object("storage"), config.object("systemd"))
    else {
        return;
    };
    let mut paths = HashSet::new();
    for unit in systemd.objects("units") {
        let path = format!("{DIRECTORY}{}", unit.name("name"));
        for dropin in unit
            .objects("dropins")
            .iter()
            .filter(|d| d.filled("contents").is_some())
        {
            paths.insert(format!("{path}.d/{}", dropin.name("name")));
        }
        if unit.filled("contents").is_some() {
            paths.insert(path);
        }
    }
    for list in ["files", "directories", "links"] {
        for (index, node) in storage.objects(list).iter().enumerate() {
            if paths.contains(node.name("path")) {
                let path = at
                    .path()
                    .name("storage")
                    .name(list)
                    .index(index)
                    .name("path");
                problems.error(path, PATH_CONFLICTS_SYSTEMD);
            }
        }
    }
}

fn required_sources(
    object: &Object,
    list: &'static str,
    at: &At<'_>,
    minor: u8,
    problems: &mut Problems,
) {
    for (index, resource) in object.objects(list).iter().enumerate() {
        let checked = match resource.filled("source") {
            None => Err(SOURCE_REQUIRED.to_owned()),
            Some(source) => url::check_source(source, minor),
        };
        if let Err(message) = checked {
            problems.error(at.path().name(list).index(index), message);
        }
    }
}

fn proxy(proxy: &Object, at: &At<'_>, problems: &mut Problems) {
    for (name, secure) in [("http_proxy", false), ("https_proxy", true)] {
        let Some(text) = proxy.text(name) else {
            continue;
        };
        let path = || at.path().name(name);
        match url::parse(text) {
            Err(message) => problems.error(path(), message),
            Ok(url) => match url.scheme.as_str() {
                "https" => {}
                "http" if !secure => {}
                "http" => problems.warning(path(), INSECURE_PROXY),
                _ => problems.error(path(), INVALID_PROXY),
            },
        }
    }
}

fn resource(resource: &Object, at: &At<'_>, minor: u8, problems: &mut Problems) {
    if !matches!(resource.text("compression"), None | Some("" | "gzip")) {
        problems.error(at.path().name("compression"), COMPRESSION_INVALID);
    }
    let hashed = resource
        .object("verification")
        .is_some_and(|v| v.is_set("hash"));
    if hashed && !resource.is_set("source") {
        problems.error(
            at.path().name("verification").name("hash"),
            VERIFICATION_WITHOUT_SOURCE,
        );
    }
    if let Some(source) = resource.filled("source")
        && let Err(message) = url::check_source(source, minor)
    {
        problems.error(at.path().name("source"), message);
    }
    if !resource.objects("http_headers").is_empty() {
        let checked = match resource.filled("source").map(url::parse) {
            Some(Ok(url)) if matches!(url.scheme.as_str(), "http" | "https") => Ok(()),
            Some(Ok(_)) => Err(HEADERS_UNSUPPORTED),
            Some(Err(_)) | None => Err(url::UNPARSABLE),
        };
        if let Err(message) = checked {
            problems.error(at.path().name("http_headers"), message);
        }
    }
}

fn header(header: &Object, at: &At<'_>, problems: &mut Problems) {
    if header.name("name").is_empty() {
        problems.error(at.path().name("name"), HEADER_NAME_EMPTY);
    }
    if header.text("value") == Some("") {
        problems.error(at.path().name("value"), HEADER_INVALID);
    }
}

fn verification(verification: &Object, at: &At<'_>, problems: &mut Problems) {
    let Some(hash) = verification.text("hash") else {
        return;
    };
    let message = match hash.split_once('-') {
        None => HASH_MALFORMED,
        Some(("sha512", sum)) if sum.len() == 128 => return,
        Some(("sha256", sum)) if sum.len() == 64 => return,
        Some(("sha512" | "sha256", _)) => HASH_WRONG_SIZE,
        Some(_) => HASH_UNRECOGNIZED,
    };
    problems.error(at.path().name("hash"), message);
}

/// Go's `path.Ext`: from the last dot of the last part.
fn extension(name: &str) -> &str {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    name[start..]
        .rfind('.')
        .map_or("", |dot| &name[start + dot..])
}

fn systemd_unit(unit: &Object, at: &At<'_>, problems: &mut Problems) {
    let name = unit.name("name");
    if !UNIT_EXTENSIONS.contains(&extension(name)) {
        problems.error(at.path().name("name"), UNIT_EXTENSION);
    }
    let Some(contents) = unit.text("contents") else {
        return;
    };
    match unit::parse(contents) {
        Err(reason) => problems.error(at.path().name("contents"), invalid_unit(&reason)),
        Ok(parsed) if unit.is_true("enabled") && !contents.is_empty() && !parsed.installs => {
            let message = format!(
                "unit {} is enabled, but has no install section so enable does nothing",
                quote(name)
            );
            problems.warning(at.path().name("contents"), message);
        }
        Ok(_) => {}
    }
}

fn dropin(dropin: &Object, at: &At<'_>, problems: &mut Problems) {
    if let Some(contents) = dropin.text("contents")
        && let Err(reason) = unit::parse(contents)
    {
        problems.error(at.path().name("contents"), invalid_unit(&reason));
    }
    if extension(dropin.name("name")) != ".conf" {
        problems.error(at.path().name("name"), DROPIN_EXTENSION);
    }
}

fn invalid_unit(reason: &str) -> String {
    format!("invalid unit content: {reason}")
}

/// Warns of enabled instances whose template has nothing to install.
fn template_units(systemd: &Object, at: &At<'_>, problems: &mut Problems) {
    let units: HashMap<&str, &Object> = systemd
        .objects("units")
        .iter()
        .map(|unit| (unit.name("name"), unit))
        .collect();
    for (index, unit) in systemd.objects("units").iter().enumerate() {
        let name = unit.name("name");
        let Some(template) = template_of(name).filter(|_| unit.is_true("enabled")) else {
            continue;
        };
        let contents = units
            .get(template.as_str())
            .and_then(|template| template.filled("contents"));
        if let Some(Ok(parsed)) = contents.map(unit::parse)
            && !parsed.installs
        {
            let (template, name) = (quote(&template), quote(name));
            let message =
                format!("template unit {template} for {name} doesn't have Install section");
            problems.warning(
                at.path().name("units").index(index).name("contents"),
                message,
            );
        }
    }
}

/// `a@.service` of `a@b.service`.
fn template_of(name: &str) -> Option<String> {
    let stem = name
        .strip_suffix(".service")
        .filter(|stem| !stem.contains('\n'))?;
    // The shortest prefix that has at least one character, with at least one after it.
    let first = stem.chars().next()?.len_utf8();
    let at = first + stem[first..].find('@')?;
    (at + 1 < stem.len()).then(|| format!("{}@.service", &stem[..at]))
}
