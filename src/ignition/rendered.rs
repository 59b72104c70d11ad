//! Rendered configs side by side: what makes two of them one, what differs between two, and a host
//! name put into one.
//!
//! Two configs are one when a machine would come out the same: order of keys, whitespace, the
//! packing of contents and of the whole, and the version of Ignition do not count. Differences are
//! given by name, `file /etc/motd changed`, never by what is inside.

use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Map, Value as Json, json};

use crate::ignition::butane::{header, translate};
use crate::ignition::config::report::{Origin, Report, Severity};
use crate::ignition::config::to_json::{self, Style, Writing};
use crate::ignition::config::versions::{NEWEST_MINOR, semver};
use crate::ignition::config::{Kind, Object, Value, from_json};
use crate::ignition::packing::data_url;
use crate::ignition::render::embedded;
use crate::text::json;

/// This many bytes of one text are unpacked, wrappers and contents together; what is beyond stays
/// packed.
const UNPACKED_MAX: u64 = 64 << 20;
/// Configs inside configs beyond this stay packed.
const WRAPPERS_MAX: usize = 4;
/// This many differences are given by name.
const DIFFERENCES_MAX: usize = 50;
const HOSTNAME: &str = "/etc/hostname";

/// Why a text cannot serve as a machine's user data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is base64 already.
    Base64,
    /// It is a wrapper around a compressed config.
    Packed,
    /// It replaces itself with another config, and would discard what is merged into it.
    Replaces,
    /// It is Butane.
    Butane,
    /// It is Ignition 2 or older.
    OldIgnition,
    /// It is JSON, but no Ignition config.
    NotIgnition,
    /// It is JSON with more inside each other than any config has.
    TooDeep,
    /// A byte-order mark stands before it.
    Marked,
    /// It is something else.
    NotJson,
}

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Base64 => {
                "It is base64. Give the Ignition JSON itself: data.flatcar_ignition.NAME.rendered, not .user_data and no base64encode(); \
                 it is packed and encoded for the cloud here."
            }
            Self::Packed => {
                "It is packed already. Give the Ignition JSON itself: data.flatcar_ignition.NAME.rendered, not .user_data; it is packed \
                 for the cloud here."
            }
            Self::Replaces => {
                "Its ignition.config.replace would discard the host name that set_hostname merges into it. Use ignition.config.merge \
                 instead, or set set_hostname = false."
            }
            Self::Butane => {
                "It is Butane. Render it first: give data.flatcar_ignition.NAME.rendered, with this text as the data source's content."
            }
            Self::OldIgnition => {
                "It is Ignition 2 or older, which the group cannot merge into. Write the config in Butane and give \
                 data.flatcar_ignition.NAME.rendered."
            }
            Self::NotIgnition => {
                "It is JSON without an ignition.version. Give an Ignition 3 config: data.flatcar_ignition.NAME.rendered."
            }
            Self::TooDeep => {
                "It is JSON of more than 127 levels inside each other, and no Ignition config is as deep. Remove the key that Ignition does not \
                 know, or give data.flatcar_ignition.NAME.rendered."
            }
            Self::Marked => {
                "It begins with a byte-order mark, which Ignition does not read. Save the file without one, or give it to \
                 data.flatcar_ignition as content, and its .rendered here."
            }
            Self::NotJson => "It is no Ignition config. Give Ignition 3 JSON: data.flatcar_ignition.NAME.rendered.",
        })
    }
}

impl std::error::Error for Unusable {}

/// Checks that the text is an Ignition 3 config, neither packed nor encoded.
/// # Errors
/// What it is instead.
pub fn check_user_data(text: &str) -> Result<(), Unusable> {
    parse(text).map(|_| ())
}

/// The version of an Ignition 3 config: `3.4.0`.
pub fn version_of(text: &str) -> Option<String> {
    let config = parse(text).ok()?;
    config["ignition"]["version"].as_str().map(str::to_owned)
}

/// What `render` gives, checked again: everything that is wrong with an Ignition config of a
/// version that it writes.
pub(crate) fn check(text: &str, origin: Origin) -> Report {
    let mut translated = translate::rendered(text, origin);
    if let Some(config) = &translated.config {
        let found = embedded::check(config, std::slice::from_ref(&translated));
        found
            .into_iter()
            .for_each(|entry| translated.report.push(entry));
    }
    translated.report
}

/// What keeps a machine from booting with an Ignition 3 config, with the place and without a value:
/// `error at $.storage.files.0.path, line 1 col 60: path not specified`. Empty when nothing does.
pub fn refusals(text: &str) -> Vec<String> {
    let report = check(text, Origin::Argument("user_data"));
    let (entries, more) = report.shown_of(|entry| entry.severity == Severity::Error);
    let shown = entries.into_iter().map(|entry| match &entry.advice {
        Some(advice) => format!("{entry} ({advice})"),
        None => entry.to_string(),
    });
    let beyond = (more.errors > 0).then(|| more.to_string());
    shown.chain(beyond).collect()
}

/// The config with `/etc/hostname` as its own file, in place of whatever it has at that path.
/// # Errors
/// When the text is no Ignition 3 config, or one that replaces itself with another.
pub fn merge_hostname(text: &str, hostname: &str) -> Result<String, Unusable> {
    merge_file(text, HOSTNAME, hostname)
}

/// The config with a file of these contents, in place of whatever it has at that path.
/// # Errors
/// When the text is no Ignition 3 config, or one that replaces itself with another.
pub fn merge_file(text: &str, path: &str, contents: &str) -> Result<String, Unusable> {
    let mut config = parse(text)?;
    if !config["ignition"]["config"]["replace"]["source"].is_null() {
        return Err(Unusable::Replaces);
    }
    let file = json!({
        "overwrite": true,
        "path": path,
        "contents": { "compression": "", "source": data_url::as_they_are(contents.as_bytes()) },
        "mode": 0o644,
    });
    let storage = member(&mut config, "storage", || Json::Object(Map::new()));
    if !storage.is_object() {
        return Err(Unusable::NotIgnition);
    }
    for list in ["directories", "files", "links"] {
        if let Some(nodes) = storage.get_mut(list).and_then(Json::as_array_mut) {
            nodes.retain(|node| node["path"] != path);
        }
    }
    if let Json::Array(files) = member(storage, "files", || Json::Array(Vec::new())) {
        files.push(file);
    }
    Ok(config.to_string())
}

/// The member of that name, made when there is none or null.
fn member<'a>(object: &'a mut Json, name: &str, make: fn() -> Json) -> &'a mut Json {
    let member = &mut object[name];
    if member.is_null() {
        *member = make();
    }
    member
}

fn parse(text: &str) -> Result<Json, Unusable> {
    let trimmed = text.trim();
    if text.starts_with(header::BYTE_ORDER_MARK) {
        return Err(Unusable::Marked);
    }
    if !trimmed.starts_with('{') {
        return Err(if is_base64(trimmed) {
            Unusable::Base64
        } else if trimmed.lines().any(|line| line.starts_with("variant:")) {
            Unusable::Butane
        } else {
            Unusable::NotJson
        });
    }
    let config = serde_json::from_str::<Json>(trimmed).map_err(|_| match json::parse(trimmed) {
        // Only serde_json's depth is exceeded: the reader here needs no stack.
        Ok(_) => Unusable::TooDeep,
        Err(_) => Unusable::NotJson,
    })?;
    if config["variant"].is_string() {
        return Err(Unusable::Butane);
    }
    let version = config["ignition"]["version"].as_str().and_then(semver);
    match version
        .as_deref()
        .map(|version| version.split('.').next().unwrap_or_default())
    {
        None => return Err(Unusable::NotIgnition),
        Some("3") => {}
        Some(_) => return Err(Unusable::OldIgnition),
    }
    let replace = &config["ignition"]["config"]["replace"];
    let inside = replace["source"]
        .as_str()
        .is_some_and(|source| source.starts_with("data:"));
    match inside && replace["compression"] == "gzip" {
        true => Err(Unusable::Packed),
        false => Ok(config),
    }
}

fn is_base64(text: &str) -> bool {
    let lines: String = text.split_whitespace().collect();
    lines.len() >= 16 && STANDARD.decode(lines).is_ok()
}

/// Bytes that are equal for two configs that make the same machine. A text that is no Ignition
/// config stands for itself.
pub fn canonical(text: &str) -> Vec<u8> {
    match normal_form(text) {
        Some(config) => write(&config).into_bytes(),
        None => text.as_bytes().to_vec(),
    }
}

/// What differs between two configs, by name and without contents: `unit kubelet.service added`.
/// Empty when they are one.
pub fn differences(old: &str, new: &str) -> Vec<String> {
    let (Some(before), Some(after)) = (normal_form(old), normal_form(new)) else {
        return match old == new {
            true => Vec::new(),
            false => vec!["the whole config changed".to_owned()],
        };
    };
    let mut differences = Vec::new();
    compare_objects(&before, &after, "", &mut differences);
    let more = differences.len().saturating_sub(DIFFERENCES_MAX);
    if more > 0 {
        differences.truncate(DIFFERENCES_MAX);
        differences.push(format!("{more} more differences"));
    }
    differences
}

/// Lists whose elements are named: the list's name in its object, and the user's word for an
/// element.
const NAMED: [(&str, &str); 11] = [
    ("directories", "directory"),
    ("disks", "disk"),
    ("files", "file"),
    ("filesystems", "filesystem on"),
    ("links", "link"),
    ("luks", "encrypted device"),
    ("raid", "array"),
    ("units", "unit"),
    ("dropins", "drop-in"),
    ("users", "user"),
    ("groups", "group"),
];

fn compare_objects(before: &Object, after: &Object, path: &str, differences: &mut Vec<String>) {
    for ((field, old), (_, new)) in before.entries().zip(after.entries()) {
        if old == new || (old.is_empty() && new.is_empty()) {
            continue;
        }
        let path = match path {
            "" => field.name.to_owned(),
            path => format!("{path}.{}", field.name),
        };
        let word = NAMED
            .iter()
            .find(|(list, _)| *list == field.name)
            .map(|(_, word)| *word);
        match (&field.kind, word) {
            (Kind::Object(shape), _) => {
                let empty = Object::new(shape);
                let side = |value| match value {
                    Value::Object(object) => object,
                    _ => empty.clone(),
                };
                compare_objects(&side(old.clone()), &side(new.clone()), &path, differences);
            }
            (Kind::Objects(..), Some(word)) => {
                compare_lists(list(old), list(new), word, differences)
            }
            _ => differences.push(format!("{path} changed")),
        }
    }
}

fn list(value: &Value) -> &[Object] {
    match value {
        Value::Objects(objects) => objects,
        _ => &[],
    }
}

/// The first one of each key.
fn by_key(list: &[Object]) -> HashMap<String, &Object> {
    list.iter()
        .rev()
        .map(|object| (object.key(), object))
        .collect()
}

fn compare_lists(before: &[Object], after: &[Object], word: &str, differences: &mut Vec<String>) {
    let start = differences.len();
    let (old_ones, new_ones) = (by_key(before), by_key(after));
    for new in after {
        let key = new.key();
        match old_ones.get(&key) {
            None => differences.push(format!("{word} {key} added")),
            Some(old) if *old != new => differences.push(format!("{word} {key} changed")),
            Some(_) => {}
        }
    }
    for old in before {
        let key = old.key();
        if !new_ones.contains_key(&key) {
            differences.push(format!("{word} {key} removed"));
        }
    }
    if differences.len() == start {
        differences.push(format!("order of {word} entries changed"));
    }
}

/// The config unwrapped, with plain contents, sorted lists and no version.
fn normal_form(text: &str) -> Option<Object> {
    let mut config = read(text)?;
    let mut left = UNPACKED_MAX;
    for _ in 0..WRAPPERS_MAX {
        match wrapped(&config, &mut left).and_then(|text| read(&text)) {
            Some(inner) => config = inner,
            None => break,
        }
    }
    config.object_mut("ignition").set("version", Value::Unset);
    normalize(&mut config, &mut left);
    Some(config)
}

fn read(text: &str) -> Option<Object> {
    let nodes = json::parse(text.trim_start_matches('\u{feff}')).ok()?;
    let (config, mismatches) = from_json::decode(&nodes, NEWEST_MINOR);
    let version = config
        .object("ignition")?
        .text("version")
        .and_then(semver)?;
    (mismatches.is_empty() && version.starts_with("3.")).then_some(config)
}

/// The config that this one is nothing but a wrapper of.
fn wrapped(config: &Object, left: &mut u64) -> Option<String> {
    let replace = config
        .object("ignition")?
        .object("config")?
        .object("replace")?;
    let mut rest = config.clone();
    let ignition = rest.object_mut("ignition");
    ignition.set("version", Value::Unset);
    ignition.object_mut("config").set("replace", Value::Unset);
    let verified = replace
        .object("verification")
        .is_some_and(|v| !v.is_empty());
    if !rest.is_empty() || verified {
        return None;
    }
    String::from_utf8(contents(replace, left)?).ok()
}

fn normalize(object: &mut Object, left: &mut u64) {
    if object.shape.name == "Resource" {
        if let Some(bytes) = contents(object, left) {
            object.set("source", Value::Text(data_url::as_they_are(&bytes)));
            object.set("compression", Value::Unset);
        }
        if object.text("compression") == Some("") {
            object.set("compression", Value::Unset);
        }
    }
    for (field, value) in object.entries_mut() {
        match value {
            Value::Object(object) => normalize(object, left),
            Value::Objects(objects) => {
                for object in objects.iter_mut() {
                    normalize(object, left);
                }
                // The order of users decides who gets which free id, that of the others decides
                // nothing.
                if matches!(
                    field.name,
                    "directories" | "files" | "links" | "units" | "dropins"
                ) {
                    objects.sort_by_key(Object::key);
                }
            }
            Value::Texts(texts) if field.name == "ssh_authorized_keys" => texts.sort(),
            _ => {}
        }
        if value.is_empty() {
            *value = Value::Unset;
        }
    }
}

/// The bytes of a resource that carries them itself, unpacked as far as `left` reaches.
fn contents(resource: &Object, left: &mut u64) -> Option<Vec<u8>> {
    let source = resource.text("source")?;
    let bytes = match source.strip_prefix("data:;base64,") {
        Some(base64) => STANDARD.decode(base64).ok()?,
        None => unescape(source.strip_prefix("data:,")?)?,
    };
    match resource.text("compression") {
        None | Some("") => Some(bytes),
        Some("gzip") => {
            let mut plain = Vec::new();
            let mut reader = GzDecoder::new(&bytes[..]).take(*left);
            let unpacked = reader.read_to_end(&mut plain);
            let room = left
                .checked_sub(plain.len() as u64)
                .filter(|room| *room > 0);
            *left = room.unwrap_or_default();
            unpacked.ok().and(room).map(|_| plain)
        }
        Some(_) => None,
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    Some(bytes)
}

fn write(config: &Object) -> String {
    to_json::write(
        config,
        Writing {
            style: Style::Butane,
            pretty: false,
            spec_minor: NEWEST_MINOR,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ignition::{Document, Input, Options, Origin, render};

    fn rendered(body: &str, version: &str, options: &Options) -> String {
        let text = format!("variant: flatcar\nversion: {version}\n{body}");
        let input = Input {
            documents: vec![Document {
                origin: Origin::Content,
                text,
            }],
        };
        render(&input, options).0.unwrap().json
    }

    fn config(body: &str) -> String {
        rendered(body, "1.1.0", &Options::default())
    }

    const BASE: &str = "storage:\n  files:\n  - path: /etc/motd\n    contents: {inline: hello}\n  - path: /b\nsystemd:\n  units:\n  - name: a.service\n";

    #[test]
    fn whitespace_order_packing_style_and_version_do_not_count() {
        let plain = config(BASE);
        let pretty = Options {
            pretty: true,
            style: Style::Ct,
            ..Options::default()
        };
        let gzip = STANDARD.encode(crate::ignition::packing::deflate::gzip(b"hello"));
        let same = [
            rendered(BASE, "1.1.0", &pretty),
            rendered(BASE, "1.0.0", &Options::default()),
            plain.replace("data:,hello", "data:;base64,aGVsbG8="),
            plain.replace(
                r#""compression":"","source":"data:,hello""#,
                &format!(r#""source":"data:;base64,{gzip}","compression":"gzip""#),
            ),
            format!(
                r#"{{"ignition":{{"version":"3.3.0","config":{{"replace":{{"compression":"gzip","source":"data:;base64,{}"}}}}}}}}"#,
                STANDARD.encode(crate::ignition::packing::deflate::gzip(plain.as_bytes()))
            ),
        ];
        for other in same {
            assert_ne!(other, plain);
            assert_eq!(
                String::from_utf8(canonical(&other)),
                String::from_utf8(canonical(&plain))
            );
            assert_eq!(differences(&plain, &other), Vec::<String>::new());
        }
    }

    #[test]
    fn contents_that_unpack_to_more_than_all_may_together_stay_packed() {
        let packed = STANDARD.encode(crate::ignition::packing::deflate::gzip(&[0; 1000]));
        let file = |n| {
            format!(
                r#"{{"path":"/{n}","contents":{{"compression":"gzip","source":"data:;base64,{packed}"}}}}"#
            )
        };
        let files: Vec<String> = (0..5).map(file).collect();
        let text = format!(
            r#"{{"ignition":{{"version":"3.4.0"}},"storage":{{"files":[{}]}}}}"#,
            files.join(",")
        );
        for (mut left, expected) in [(10_000, 5), (5_001, 5), (5_000, 4), (2_500, 2), (0, 0)] {
            let mut config = read(&text).unwrap();
            normalize(&mut config, &mut left);
            let files = config.object("storage").unwrap().objects("files");
            let unpacked = files.iter().filter(|file| {
                let contents = file.object("contents").unwrap();
                contents.text("compression").is_none()
            });
            assert_eq!(unpacked.count(), expected, "{left}");
        }
    }

    #[test]
    fn differences_are_told_by_name_and_without_contents() {
        let old = config(BASE);
        let new = config(
            "storage:\n  files:\n  - path: /etc/motd\n    contents: {inline: secret}\n  - path: /c\nsystemd:\n  units:\n  - name: \
             a.service\n    dropins: [{name: x.conf}]\n  - name: kubelet.service\nkernel_arguments: {should_exist: [quiet]}\n\
             passwd: {users: [{name: core, ssh_authorized_keys: [k]}]}\nignition: {timeouts: {http_total: 5}}\n",
        );
        assert_eq!(
            differences(&old, &new),
            [
                "ignition.timeouts.http_total changed",
                "kernel_arguments.should_exist changed",
                "user core added",
                "file /c added",
                "file /etc/motd changed",
                "file /b removed",
                "unit a.service changed",
                "unit kubelet.service added",
            ]
        );
        assert_ne!(canonical(&old), canonical(&new));
        assert_eq!(differences(&old, "no config"), ["the whole config changed"]);
        let links: String = (0..70)
            .map(|n| format!("\n  - {{path: /l{n}, target: /x}}"))
            .collect();
        let many = differences(&old, &config(&format!("storage:\n  links:{links}\n")));
        assert_eq!(many.len(), 51);
        assert_eq!(many[50], "23 more differences");
    }

    #[test]
    fn a_host_name_takes_the_place_of_whatever_was_there() {
        for body in [
            "",
            BASE,
            "storage: {links: [{path: /etc/hostname, target: /x}]}\n",
            "storage: {files: [{path: /etc/hostname, append: [{inline: x}], contents: {inline: old}}]}\n",
        ] {
            let merged = merge_hostname(&config(body), "workers-1").unwrap();
            let parsed: Json = serde_json::from_str(&merged).unwrap();
            let files = parsed["storage"]["files"].as_array().unwrap();
            let hostname = files.last().unwrap();
            assert_eq!(hostname["contents"]["source"], "data:,workers-1");
            assert_eq!(hostname["overwrite"], true);
            assert_eq!(merged.matches(HOSTNAME).count(), 1, "{merged}");
            assert!(ignition_config::Config::parse_slice(merged.as_bytes()).is_ok());
        }
    }

    #[test]
    fn user_data_in_another_form_is_refused_by_what_it_is() {
        let plain = config(BASE);
        let replaces =
            r#"{"ignition":{"version":"3.4.0","config":{"replace":{"source":"https://x"}}}}"#;
        let packed = replaces.replace(
            "https://x\"",
            "data:;base64,H4s=\",\"compression\":\"gzip\"",
        );
        let cases = [
            (STANDARD.encode(&plain), Unusable::Base64),
            (packed, Unusable::Packed),
            (
                "variant: flatcar\nversion: 1.1.0\n".to_owned(),
                Unusable::Butane,
            ),
            (r#"{"variant":"flatcar"}"#.to_owned(), Unusable::Butane),
            (
                r#"{"ignition":{"version":"2.3.0"}}"#.to_owned(),
                Unusable::OldIgnition,
            ),
            ("{}".to_owned(), Unusable::NotIgnition),
            ("#cloud-config\n".to_owned(), Unusable::NotJson),
            (
                format!(
                    r#"{{"ignition":{{"version":"3.4.0"}},"x":{}{}}}"#,
                    "[".repeat(9_000),
                    "]".repeat(9_000)
                ),
                Unusable::TooDeep,
            ),
            (
                format!(r#"{{"ignition":{}"#, "[".repeat(100_000)),
                Unusable::NotJson,
            ),
            (String::new(), Unusable::NotJson),
        ];
        for (text, problem) in cases {
            assert_eq!(check_user_data(&text), Err(problem), "{text}");
            assert_eq!(merge_hostname(&text, "a"), Err(problem), "{text}");
        }
        assert_eq!(check_user_data(&plain), Ok(()));
        assert_eq!(check_user_data(replaces), Ok(()));
        assert_eq!(merge_hostname(replaces, "a"), Err(Unusable::Replaces));
    }
}
