//! Data that a config carries itself, as a machine will take it: unpacked where `compression` says
//! so, and held against `verification.hash`. What fails there ends in the emergency shell; here it
//! is an error with the places that do not go together.
//!
//! `{"source": "data:,hello", "compression": "gzip"}` is refused: `hello` is not gzip.
//!
//! Source: Ignition 2.26 (`docs/configuration-v3_5.md`: a hash is that of the unpacked contents).

use std::io::{self, Read as _};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256, Sha512};

use crate::ignition::butane::translate::Translated;
use crate::ignition::config::report::{Problem, ReportEntry, Severity};
use crate::ignition::config::validate::each_object;
use crate::ignition::config::versions::rendered_version;
use crate::ignition::config::{At, Format, Object, Path, blame, from_json};
use crate::ignition::packing::data_url;
use crate::text::json;

const NOT_GZIP: &str = "compression is gzip, but the data is not";
const DAMAGED: &str = "compressed data is cut off or damaged";
const NOT_HEXADECIMAL: &str = "verification.hash is not hexadecimal";
const OTHER_HASH: &str = "verification.hash is not that of the data";
const NOT_CHECKED: &str = "compressed data is too large to be checked";

const NO_CONFIG: &str = "the data is no Ignition config";
const NO_CONFIG_ADVICE: &str = "Ignition reads JSON here, and a machine with anything else does not boot: give Butane in snippets, or translate it first";

/// So many bytes of one config are unpacked.
const UNPACKED_MAX: u64 = 64 << 20;
/// Configs inside configs beyond this are not looked into.
const INSIDE_MAX: usize = 4;

/// What is wrong with one resource of a config.
struct Fault {
    resource: Path,
    /// The field to blame, and the one that it does not go with.
    fields: [&'static [&'static str]; 2],
    severity: Severity,
    message: &'static str,
    advice: String,
}

const COMPRESSION: &[&str] = &["compression"];
const HASH: &[&str] = &["verification", "hash"];
const SOURCE: &[&str] = &["source"];

/// Everything that is wrong with the data in a config that was made of `documents`.
pub(crate) fn check(config: &Object, documents: &[Translated]) -> Vec<ReportEntry> {
    let mut faults = Vec::new();
    visit(config, &At::ROOT, &mut Some(UNPACKED_MAX), 0, &mut faults);
    faults
        .into_iter()
        .map(|fault| entry(config, documents, fault))
        .collect()
}

/// `left` says how much may still be unpacked, `None` once it was too much; `inside` says how many
/// configs are around this one.
fn visit(
    object: &Object,
    at: &At<'_>,
    left: &mut Option<u64>,
    inside: usize,
    faults: &mut Vec<Fault>,
) {
    if object.shape.name == "Resource"
        && let Some((fields, severity, message, advice)) = fault_of(object, left)
    {
        faults.push(Fault {
            resource: at.path(),
            fields,
            severity,
            message,
            advice: advice.to_owned(),
        });
    }
    each_object(object, at, |below, at| {
        visit(below, at, left, inside, faults);
        if object.shape.name != "IgnitionConfig" || inside >= INSIDE_MAX {
            return;
        }
        let Ok(config) = config_in(below, left) else {
            faults.push(Fault {
                resource: at.path(),
                fields: [SOURCE, SOURCE],
                severity: Severity::Error,
                message: NO_CONFIG,
                advice: NO_CONFIG_ADVICE.to_owned(),
            });
            return;
        };
        if let Some(config) = config {
            let mut found = Vec::new();
            visit(&config, &At::ROOT, left, inside + 1, &mut found);
            faults.extend(found.into_iter().map(|fault| Fault {
                resource: at.path(),
                fields: [SOURCE, SOURCE],
                severity: fault.severity,
                message: fault.message,
                advice: format!(
                    "It is in the config that is given here, at {}. {}",
                    from_json::path_in_json(&fault.resource),
                    fault.advice
                ),
            }));
        }
    });
}

/// The config that a resource of `ignition.config` carries; `None` where it does not, or cannot be
/// looked into.
///
/// # Errors
/// What it carries is no JSON, which no Ignition reads.
fn config_in(resource: &Object, left: &mut Option<u64>) -> Result<Option<Object>, ()> {
    let Some(bytes) = resource.filled("source").and_then(data_url::decode) else {
        return Ok(None);
    };
    let text = match resource.text("compression") {
        None | Some("") => String::from_utf8(bytes).map_err(|_| ())?,
        Some(_) => {
            let (Some(most), mut text) = (*left, String::new()) else {
                return Ok(None);
            };
            let read = MultiGzDecoder::new(&bytes[..])
                .take(most + 1)
                .read_to_string(&mut text);
            *left = most.checked_sub(text.len() as u64);
            match read.ok().and(*left) {
                Some(_) => text,
                None => return Ok(None),
            }
        }
    };
    let nodes = json::parse(&text).map_err(|_| ())?;
    let (config, _) = from_json::decode(&nodes, u8::MAX - 1);
    let Ok(minor) = rendered_version(&config) else {
        return Ok(None);
    };
    let (config, mismatches) = from_json::decode(&nodes, minor);
    Ok(mismatches.is_empty().then_some(config))
}

type Wrong = (
    [&'static [&'static str]; 2],
    Severity,
    &'static str,
    &'static str,
);

fn fault_of(resource: &Object, left: &mut Option<u64>) -> Option<Wrong> {
    let packed = resource.text("compression") == Some("gzip");
    let hash = match resource.object("verification").and_then(|v| v.text("hash")) {
        None => None,
        Some(text) => match Expected::of(text) {
            Some(expected) => Some(expected),
            None => {
                let advice = "Write the digits 0 to 9 and a to f after the name and the dash";
                return Some(([HASH, HASH], Severity::Error, NOT_HEXADECIMAL, advice));
            }
        },
    };
    // Data that is too large to be checked is reported once.
    if (packed && left.is_none()) || (!packed && hash.is_none()) {
        return None;
    }
    let source = resource.filled("source")?;
    let bytes = data_url::decode(source)?;
    let mut sum = hash.map(|expected| (expected.digest(), expected));
    let unpacked = match packed {
        true => unpack(&bytes, left, &mut sum),
        false => {
            if let Some((digest, _)) = &mut sum {
                digest.update(&bytes);
            }
            Ok(())
        }
    };
    match unpacked {
        Err(Unpacking::NotGzip) => Some((
            [COMPRESSION, SOURCE],
            Severity::Error,
            NOT_GZIP,
            "Leave compression out where the data is given as it is: it is packed here where that pays",
        )),
        Err(Unpacking::Damaged) => Some((
            [SOURCE, COMPRESSION],
            Severity::Error,
            DAMAGED,
            "Give the whole gzip stream, or the data as it is without compression",
        )),
        Err(Unpacking::TooLarge) => Some((
            [SOURCE, COMPRESSION],
            Severity::Warning,
            NOT_CHECKED,
            "Let the machine fetch what is as large as that",
        )),
        Ok(()) => {
            let (digest, expected) = sum?;
            (!expected.is_met_by(digest)).then_some((
                [HASH, SOURCE],
                Severity::Error,
                OTHER_HASH,
                "Write the hash of the data before it is packed, or leave verification out: data in the config itself needs none",
            ))
        }
    }
}

/// Why packed data gives nothing.
enum Unpacking {
    NotGzip,
    Damaged,
    TooLarge,
}

/// Unpacks into the digest.
fn unpack(
    bytes: &[u8],
    left: &mut Option<u64>,
    sum: &mut Option<(Sum, Expected)>,
) -> Result<(), Unpacking> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(Unpacking::NotGzip);
    }
    let most = left.unwrap_or_default();
    let mut reader = MultiGzDecoder::new(bytes).take(most + 1);
    let (mut unpacked, mut block) = (0, vec![0; 1 << 16]);
    let end = loop {
        match reader.read(&mut block) {
            Ok(0) => break Ok(()),
            Ok(count) => {
                unpacked += count as u64;
                if let Some((digest, _)) = sum {
                    digest.update(&block[..count]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break Err(Unpacking::Damaged),
        }
    };
    // Damaged data has cost as much.
    *left = most.checked_sub(unpacked);
    left.ok_or(Unpacking::TooLarge).and(end)
}

/// A hash as a config states it: its function, and its bytes.
struct Expected {
    is_sha512: bool,
    bytes: Vec<u8>,
}

/// A hash that is being computed.
enum Sum {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Expected {
    /// Only its digits are checked here; validation has checked the rest of its form.
    fn of(text: &str) -> Option<Self> {
        let (function, digits) = text.split_once('-')?;
        let digits = digits.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            let is_digits = pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_digits.then(|| u8::from_str_radix(pair, 16).ok())?
        });
        Some(Self {
            is_sha512: function == "sha512",
            bytes: digits.collect::<Option<_>>()?,
        })
    }

    fn digest(&self) -> Sum {
        match self.is_sha512 {
            true => Sum::Sha512(Box::default()),
            false => Sum::Sha256(Sha256::new()),
        }
    }

    fn is_met_by(&self, sum: Sum) -> bool {
        match sum {
            Sum::Sha256(sum) => sum.finalize()[..] == self.bytes,
            Sum::Sha512(sum) => sum.finalize()[..] == self.bytes,
        }
    }
}

impl Sum {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(sum) => sum.update(bytes),
            Self::Sha512(sum) => sum.update(bytes),
        }
    }
}

/// The fault at the place to blame, with the other place where that is in another document.
fn entry(config: &Object, documents: &[Translated], fault: Fault) -> ReportEntry {
    let place = |field: &[&'static str]| {
        let steps = field.iter().copied();
        let path = steps.fold(fault.resource.clone(), |path, name| path.name(name));
        let source = blame::written_at(config, 0, &path);
        let document = &documents[source.document];
        let path = match document.format {
            Format::Butane => source.path,
            Format::Ignition => from_json::path_in_json(&source.path),
        };
        let mut entry = document.entry(Problem {
            severity: fault.severity,
            path,
            message: fault.message.to_owned(),
            unknown_key: None,
            of_files: false,
            advice: None,
        });
        entry.listed = false;
        entry
    };
    let [mut blamed, other] = fault.fields.map(place);
    let elsewhere = match other.origin == blamed.origin {
        true => String::new(),
        false => format!(
            "{} is in {}, {} in {} ({}{}). ",
            fault.fields[0].join("."),
            blamed.origin,
            match fault.fields[1] == SOURCE {
                true => "the data".to_owned(),
                false => fault.fields[1].join("."),
            },
            other.origin,
            other.path,
            other
                .line
                .map_or_else(String::new, |line| format!(", line {line}")),
        ),
    };
    // A merge has put this data beside a field that was meant for other data.
    let beside = match (other.origin == blamed.origin, fault.message) {
        (false, NOT_GZIP) => Some("set compression to \"\""),
        (false, OTHER_HASH) => Some("set verification.hash"),
        _ => None,
    };
    blamed.advice = Some(match beside {
        Some(what) => format!("{elsewhere}Where the data is, {what}, too"),
        None => format!("{elsewhere}{}", fault.advice),
    });
    blamed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ignition::packing::deflate::gzip;
    use crate::ignition::rendered::refusals;
    use crate::ignition::{Document, Input, Options, Origin, Style, render};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    /// `origin: path: message` of each entry, with what stands before the advice that every such
    /// entry has.
    fn reported(texts: &[&str], style: Style) -> Vec<String> {
        let documents = texts.iter().enumerate().map(|(index, text)| Document {
            origin: match index {
                0 => Origin::Content,
                index => Origin::Snippet(index - 1),
            },
            text: match text.starts_with('{') {
                true => (*text).to_owned(),
                false => format!("variant: flatcar\nversion: 1.1.0\n{text}\n"),
            },
        });
        let input = Input {
            documents: documents.collect(),
        };
        let options = Options {
            style,
            ..Options::default()
        };
        let (rendered, report) = render(&input, &options);
        assert_eq!(rendered.is_none(), report.is_fatal());
        let shown = |entry: &ReportEntry| {
            let advice = entry.advice.clone().unwrap_or_default();
            let both = advice.split_once("). ").map_or("", |(both, _)| both);
            format!("{}: {}: {}{both}", entry.origin, entry.path, entry.message)
                .replace("$.storage.files.0.contents", "~")
        };
        report.entries.iter().map(shown).collect()
    }

    fn file(contents: &str) -> String {
        format!("storage: {{files: [{{path: /a, contents: {{{contents}}}}}]}}")
    }

    #[test]
    fn data_that_no_machine_can_use_is_refused_with_the_places_that_do_not_go_together() {
        let packed = format!("data:;base64,{}", STANDARD.encode(gzip(b"hello")));
        let twice = [gzip(b"he"), gzip(b"llo")].concat();
        let twice = format!("data:;base64,{}", STANDARD.encode(twice));
        let zipped = gzip(&b"some words again and again, ".repeat(9));
        let cut = STANDARD.encode(&zipped[..zipped.len() - 6]);
        let garbage = STANDARD.encode([gzip(b"hello"), b"garbage".to_vec()].concat());
        let sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let sum512 = "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da\
                      0c4663475c2e5c3adef46f73bcdec043";
        let zeros = "0".repeat(64);
        let inner = r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","contents":{"compression":"gzip","source":"data:,x"}}]}}"#;
        let inner_packed = format!("data:;base64,{}", STANDARD.encode(gzip(inner.as_bytes())));
        let (not_gzip, other) = (
            "content: ~.compression: compression is gzip, but the data is not",
            "content: ~.verification.hash: verification.hash is not that of the data",
        );
        let cases: Vec<(Vec<String>, Vec<&str>)> = vec![
            (vec![file("inline: hello")], vec![]),
            (
                vec!["ignition: {config: {replace: {source: \"data:,notjson\"}}}".to_owned()],
                vec!["content: $.ignition.config.replace.source: the data is no Ignition config"],
            ),
            (vec![file("inline: hello, compression: gzip")], vec![not_gzip]),
            (vec![file(&format!("source: \"{packed}\", compression: gzip"))], vec![]),
            (vec![file(&format!("source: \"{twice}\", compression: gzip, verification: {{hash: sha256-{sum}}}"))], vec![]),
            // The data of a remote source is not at hand; only its hash is.
            (vec![file(&format!("source: \"https://x/\", compression: gzip, verification: {{hash: sha256-{zeros}}}"))], vec![]),
            (
                vec![file(&format!("source: \"https://x/\", verification: {{hash: sha256-{}}}", "x".repeat(64)))],
                vec!["content: ~.verification.hash: verification.hash is not hexadecimal"],
            ),
            (
                vec![file(&format!("source: \"data:;base64,{cut}\", compression: gzip"))],
                vec!["content: ~.source: compressed data is cut off or damaged"],
            ),
            (
                vec![file(&format!("source: \"data:;base64,{garbage}\", compression: gzip"))],
                vec!["content: ~.source: compressed data is cut off or damaged"],
            ),
            (vec![file(&format!("inline: hello, verification: {{hash: sha256-{sum}}}"))], vec![]),
            (vec![file(&format!("inline: hello, verification: {{hash: sha256-{}}}", sum.to_uppercase()))], vec![]),
            (vec![file(&format!("inline: hello, verification: {{hash: sha512-{sum512}}}"))], vec![]),
            (vec![file(&format!("inline: \"h%llo\", verification: {{hash: sha256-{sum}}}"))], vec![other]),
            // Of the data before it was packed, by us or by the user.
            (
                vec![file(&format!("inline: {}, verification: {{hash: sha256-{zeros}}}", "hello".repeat(50)))],
                vec![other],
            ),
            (
                vec![file(&format!("source: \"{packed}\", compression: gzip, verification: {{hash: sha256-{sum}}}"))],
                vec![],
            ),
            (
                vec!["storage: {files: [{path: /a, append: [{inline: x, compression: gzip}]}]}".to_owned()],
                vec!["content: $.storage.files.0.append.0.compression: compression is gzip, but the data is not"],
            ),
            (
                vec!["storage: {luks: [{name: a, device: /a, key_file: {inline: x, compression: gzip}}]}".to_owned()],
                vec!["content: $.storage.luks.0.key_file.compression: compression is gzip, but the data is not"],
            ),
            (
                vec!["ignition: {security: {tls: {certificate_authorities: [{inline: x, compression: gzip}]}}}".to_owned()],
                vec!["content: $.ignition.security.tls.certificate_authorities.0.compression: compression is gzip, but the data is not"],
            ),
            (
                vec!["ignition: {config: {replace: {source: \"data:,x\", compression: gzip}}}".to_owned()],
                vec!["content: $.ignition.config.replace.compression: compression is gzip, but the data is not"],
            ),
            (
                vec!["ignition: {config: {merge: [{source: \"data:,x\", compression: gzip}]}}".to_owned()],
                vec!["content: $.ignition.config.merge.0.compression: compression is gzip, but the data is not"],
            ),
            // A config inside the config, as it is and packed.
            (
                vec![format!("ignition: {{config: {{merge: [{{inline: '{inner}'}}]}}}}")],
                vec!["content: $.ignition.config.merge.0.inline: compression is gzip, but the data is not"],
            ),
            (
                vec![format!("ignition: {{config: {{replace: {{source: \"{inner_packed}\", compression: gzip}}}}}}")],
                vec!["content: $.ignition.config.replace.source: compression is gzip, but the data is not"],
            ),
            // A parent that Butane has packed, and a child that says nothing of compression.
            (
                vec![
                    file(&format!("inline: {}", "hello".repeat(50))),
                    r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","contents":{"source":"data:,hello"}}]}}"#.to_owned(),
                ],
                vec![
                    "content: ~.inline: compression is gzip, but the data is notcompression is in content, the data in snippets[0] \
                     (~.source, line 1",
                ],
            ),
            (
                vec![
                    file(&format!("inline: hello, verification: {{hash: sha256-{sum}}}")),
                    file("inline: other"),
                ],
                vec![
                    "content: ~.verification.hash: verification.hash is not that of the dataverification.hash is in content, the data in \
                     snippets[0] (~.inline, line 3",
                ],
            ),
            (
                vec![
                    file(&format!("inline: hello, verification: {{hash: sha256-{sum}}}")),
                    file("inline: hello"),
                ],
                vec![],
            ),
        ];
        for (texts, expected) in cases {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            for style in [Style::Butane, Style::Ct] {
                assert_eq!(reported(&texts, style), expected, "{texts:?}");
            }
        }
    }

    #[test]
    fn what_unpacks_to_more_than_is_looked_at_is_told_once() {
        let packed = STANDARD.encode(gzip(&[0; 1000]));
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
        let Ok(nodes) = crate::text::json::parse(&text) else {
            panic!("it is JSON");
        };
        let (config, _) = from_json::decode(&nodes, 4);
        for (left, expected) in [(5_000, 0), (4_999, 1), (2_000, 1)] {
            let mut faults = Vec::new();
            visit(&config, &At::ROOT, &mut Some(left), 0, &mut faults);
            let messages: Vec<&str> = faults.iter().map(|fault| fault.message).collect();
            assert_eq!(messages, vec![NOT_CHECKED; expected], "{left}");
        }
    }

    #[test]
    fn user_data_of_a_group_is_looked_into_as_well() {
        let text = r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","contents":{"compression":"gzip","source":"data:,x"}}]}}"#;
        let refused = refusals(text);
        assert_eq!(refused.len(), 1);
        assert!(
            refused[0].starts_with("error at $.storage.files.0.contents.compression, line 1 col"),
            "{refused:?}"
        );
    }
}
