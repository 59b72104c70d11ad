//! `provider::flatcar::ignition`, `merge`, `user_data` and `compare_versions`: pure, without a
//! provider block, all problems in one text.

use std::cmp::Ordering;

use super::butane::{header, source};
use super::user_data::{Compress, pack};
use super::{Document, Input, Options, Origin, Report, ReportEntry, Severity, render, rendered};
use crate::flatcar::known_platform;
use crate::protocol::value::Number;
use crate::provider::schema::{Parameter, Signature};
use crate::provider::{Function, FunctionError, Type, Value};

/// `provider::flatcar::ignition(butane, snippets...)`.
pub struct Render;

impl Function for Render {
    fn name(&self) -> &'static str {
        "ignition"
    }
    fn signature(&self) -> Signature {
        Signature {
            summary: "Butane to Ignition",
            description: "Ignition JSON of a Butane document (`variant: flatcar`) or of Ignition JSON, with snippets of either kind merged over \
                          it in order. Byte for byte what the `butane` command prints. The presets, `files_dir` and the `ct` format are in \
                          the data source. A function can give no warnings: it fails on errors, and on modes that were surely meant to be octal \
                          (`mode = 0600` in HCL is 600; write `parseint(\"0600\", 8)`).",
            parameters: vec![text("butane", "Butane YAML or Ignition JSON.")],
            variadic: Some(layers(
                "snippets",
                "Further documents of either kind; null ones, and those with nothing in them but blanks and comments, are skipped.",
            )),
            result: Type::String,
        }
    }
    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        merged(&arguments, "butane", "snippets")
    }
}

/// `provider::flatcar::merge(base, overlays...)`.
pub struct Merge;

impl Function for Merge {
    fn name(&self) -> &'static str {
        "merge"
    }
    fn signature(&self) -> Signature {
        Signature {
            summary: "Merge Ignition configs",
            description: "Ignition JSON of a base with overlays merged over it in order, by Ignition's rules: objects member by member, files, \
                          links and directories by path, units and users by name, plain lists united. All are lifted to the highest version \
                          present; the result is checked again.",
            parameters: vec![text("base", "Ignition JSON, or Butane YAML.")],
            variadic: Some(layers(
                "overlays",
                "Configs of either kind to merge over it; null ones, and those with nothing in them but blanks and comments, are skipped.",
            )),
            result: Type::String,
        }
    }
    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        merged(&arguments, "base", "overlays")
    }
}

/// `provider::flatcar::user_data(rendered, platform)`.
pub struct PackUserData;

impl Function for PackUserData {
    fn name(&self) -> &'static str {
        "user_data"
    }
    fn signature(&self) -> Signature {
        Signature {
            summary: "Ignition JSON to a platform's user data",
            description: "What the API of a platform takes as user data: the config as it is, or in base64 where the API wants that; wrapped in \
                          a small config that holds it compressed when it is larger than the platform takes.",
            parameters: vec![
                text(
                    "rendered",
                    "Ignition JSON, such as `data.flatcar_ignition.x.rendered`.",
                ),
                text("platform", "Platform, as in `platform` of the data source."),
            ],
            variadic: None,
            result: Type::String,
        }
    }
    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        let [Value::String(rendered), Value::String(name)] = &arguments[..] else {
            return Err(misfit());
        };
        let platform = known_platform(name)
            .map_err(|accepted| failed(1, format!("This platform is not known. {accepted}")))?;
        if !header::is_ignition(rendered) {
            return Err(failed(
                0,
                "This is not Ignition JSON: hand over what `rendered` of flatcar_ignition, or `provider::flatcar::ignition`, gives.",
            ));
        }
        let report = rendered::check(rendered, Origin::Argument("rendered"));
        // Ignition would pass over a key that it does not know, and nothing that is rendered here
        // has one.
        let (entries, _) = report.shown_of(|entry| {
            entry.severity == Severity::Error || entry.message.starts_with("unused key ")
        });
        let wrong: Vec<String> = entries.into_iter().map(line).collect();
        if !wrong.is_empty() {
            return Err(failed(0, wrong.join("\n")));
        }
        match pack(rendered, platform, Compress::Auto) {
            Ok(user_data) => Ok(Value::String(user_data.text)),
            Err(too_large) => Err(failed(0, too_large.to_string())),
        }
    }
}

/// `provider::flatcar::compare_versions(a, b)`.
pub struct CompareVersions;

impl Function for CompareVersions {
    fn name(&self) -> &'static str {
        "compare_versions"
    }
    fn signature(&self) -> Signature {
        Signature {
            summary: "Compare two versions",
            description: "Order of two versions: -1, 0 or 1, as the first version is lower than the second, equal, or higher. For releases of Flatcar (`4593.2.5`), \
                          Ignition specifications (`3.5.0`) and versions of Kubernetes (`v1.34.2`): numbers with dots, compared number by \
                          number, `v` before and `+...` after left out; one with `-...` after it is lower than the one without.",
            parameters: vec![text("a", "A version."), text("b", "Another one.")],
            variadic: None,
            result: Type::Number,
        }
    }
    fn call(&self, arguments: Vec<Value>) -> Result<Value, FunctionError> {
        let [Value::String(a), Value::String(b)] = &arguments[..] else {
            return Err(misfit());
        };
        let parsed = |argument: usize, text| {
            version(text).ok_or_else(|| {
                failed(
                    argument,
                    "This is not a version: numbers with dots, such as 4593.2.5 or v1.34.2.",
                )
            })
        };
        let number = match compare(&parsed(0, a)?, &parsed(1, b)?) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        };
        Ok(Value::Number(Number::Int(number)))
    }
}

fn text(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind: Type::String,
        description,
        allow_null: false,
    }
}

fn layers(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind: Type::String,
        description,
        allow_null: true,
    }
}

fn failed(argument: usize, text: impl Into<String>) -> FunctionError {
    FunctionError {
        argument: Some(argument),
        text: text.into(),
    }
}

fn misfit() -> FunctionError {
    FunctionError {
        argument: None,
        text: "The arguments are not of the function's types. This is a bug in the provider; please report it with the log.".into(),
    }
}

/// The documents among the arguments, each blamed by its position and by the name that its
/// parameter has.
fn merged(
    arguments: &[Value],
    first: &'static str,
    further: &'static str,
) -> Result<Value, FunctionError> {
    let documents = documents(arguments, first, further);
    let (rendered, mut report) = render(&Input { documents }, &Options::default());
    // Nobody would see the warning, and a machine would have a file that nobody can read, or
    // everybody.
    let mut is_refused = false;
    for entry in &mut report.entries {
        if [source::DECIMAL_MODE, source::DECIMAL_MODE_IN_JSON].contains(&entry.message.as_str()) {
            entry.severity = Severity::Error;
            is_refused = true;
        }
    }
    match rendered.filter(|_| !is_refused) {
        Some(rendered) => Ok(Value::String(rendered.json)),
        None => Err(refused(&report)),
    }
}

/// Empty ones are left out, the first one too where there are others.
fn documents(arguments: &[Value], first: &'static str, further: &'static str) -> Vec<Document> {
    let texts = || {
        arguments
            .iter()
            .enumerate()
            .filter_map(|(position, argument)| match argument {
                Value::String(text) => Some((position, text)),
                _ => None,
            })
    };
    let all_empty = texts().all(|(_, text)| header::is_blank(text));
    texts()
        .filter(|(position, text)| !header::is_blank(text) || (*position == 0 && all_empty))
        .map(|(position, text)| Document {
            origin: match position.checked_sub(1) {
                None => Origin::Argument(first),
                Some(index) => Origin::Further(further, index),
            },
            text: text.clone(),
        })
        .collect()
}

/// All that is wrong, warnings too: without an error nobody would see them.
fn refused(report: &Report) -> FunctionError {
    let (entries, more) = report.shown();
    let Some(first) = entries.first() else {
        return misfit();
    };
    let beyond = (!more.is_empty()).then(|| format!("There are {more}, which are not shown"));
    // Core names one argument; where several are to blame, the text names them.
    if entries.iter().all(|entry| entry.origin == first.origin) {
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| line(entry))
            .chain(beyond)
            .collect();
        let argument = match first.origin {
            Origin::Further(_, index) | Origin::Snippet(index) => index + 1,
            Origin::Argument(_) | Origin::Content | Origin::Preset(_) => 0,
        };
        return failed(argument, lines.join("\n"));
    }
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| format!("{}: {}", entry.origin, line(entry)))
        .chain(beyond)
        .collect();
    FunctionError {
        argument: None,
        text: lines.join("\n"),
    }
}

/// An entry of a report, with what to do about it.
fn line(entry: &ReportEntry) -> String {
    let advice = entry.advice.as_ref();
    advice.map_or_else(|| entry.to_string(), |advice| format!("{entry} ({advice})"))
}

/// Numbers, and what stands after a `-`.
struct Parsed<'a> {
    numbers: Vec<&'a str>,
    pre_release: Option<&'a str>,
}

fn version(text: &str) -> Option<Parsed<'_>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(version, _)| version);
    let (numbers, pre_release) = match text.split_once('-') {
        Some((_, "")) => return None,
        Some((numbers, pre_release)) => (numbers, Some(pre_release)),
        None => (text, None),
    };
    let numbers: Vec<&str> = numbers.split('.').collect();
    let all_digits =
        |number: &&str| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    numbers.iter().all(all_digits).then_some(Parsed {
        numbers,
        pre_release,
    })
}

fn compare(a: &Parsed<'_>, b: &Parsed<'_>) -> Ordering {
    let length = a.numbers.len().max(b.numbers.len());
    let by_numbers = (0..length)
        .map(|position| {
            let number = |parsed: &Parsed<'_>| {
                parsed
                    .numbers
                    .get(position)
                    .map_or("", |number| number.trim_start_matches('0'))
                    .to_owned()
            };
            by_value(&number(a), &number(b))
        })
        .find(|order| order.is_ne());
    by_numbers.unwrap_or_else(|| match (a.pre_release, b.pre_release) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => pre_releases(a, b),
    })
}

/// Digits without leading zeros.
fn by_value(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Semantic versioning 2.0, rule 11.
fn pre_releases(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => {
                let is_number = |text: &str| {
                    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
                };
                match (is_number(a), is_number(b)) {
                    (true, true) => by_value(a.trim_start_matches('0'), b.trim_start_matches('0')),
                    (true, false) => Ordering::Less,
                    (false, true) => Ordering::Greater,
                    (false, false) => a.cmp(b),
                }
            }
        };
        if order.is_ne() {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(function: &impl Function, arguments: &[Option<&str>]) -> Result<String, FunctionError> {
        let arguments = arguments
            .iter()
            .map(|text| text.map_or(Value::Null, |text| Value::String(text.to_owned())))
            .collect();
        function.call(arguments).map(|value| match value {
            Value::String(text) => text,
            Value::Number(number) => number
                .as_i64()
                .map(|number| number.to_string())
                .unwrap_or_default(),
            _ => String::new(),
        })
    }

    const BASE: &str = "variant: flatcar\nversion: 1.0.0\npasswd: {users: [{name: core}]}\n";

    #[test]
    fn snippets_of_either_kind_are_merged_and_null_ones_skipped() {
        let overlay = r#"{"ignition":{"version":"3.4.0"},"passwd":{"users":[{"name":"core","shell":"/bin/sh"}]}}"#;
        for function in [&Render as &dyn Function, &Merge] {
            let arguments = [
                Some(BASE),
                None,
                Some(""),
                Some(" \n# nothing\n---\n"),
                Some(overlay),
            ];
            let arguments = arguments
                .iter()
                .map(|text| text.map_or(Value::Null, |text| Value::String(text.to_owned())))
                .collect();
            let Ok(Value::String(json)) = function.call(arguments) else {
                panic!("{} failed", function.name());
            };
            assert_eq!(
                json,
                r#"{"ignition":{"version":"3.4.0"},"passwd":{"users":[{"name":"core","shell":"/bin/sh"}]}}"#
            );
        }
    }

    #[test]
    fn all_problems_are_in_one_text_with_the_argument_to_blame() {
        let bad = "variant: flatcar\nversion: 1.0.0\nstorage: {files: [{path: a}, {path: b}]}\n";
        let error = call(&Render, &[Some(BASE), None, Some(bad)]).expect_err("refused");
        assert_eq!(error.argument, Some(2));
        assert_eq!(
            error.text.matches("path not absolute").count(),
            2,
            "{}",
            error.text
        );
        let odd = format!("{bad}odd: 1\n");
        let error = call(&Render, &[Some(&odd)]).expect_err("refused");
        assert!(
            error
                .text
                .starts_with("warning at $.odd, line 4 col 1: unused key odd"),
            "{}",
            error.text
        );
        let error = call(&Render, &[Some(bad), Some(bad)]).expect_err("refused");
        assert_eq!(error.argument, None);
        assert!(
            error.text.contains(
                "butane: error at $.storage.files.0.path, line 3 col 26: path not absolute"
            ),
            "{}",
            error.text
        );
        assert!(error.text.contains("snippets[0]: "), "{}", error.text);
    }

    #[test]
    fn a_mode_that_lost_its_zero_is_refused_for_nobody_would_see_a_warning() {
        let butane = |mode: &str| {
            format!(
                "variant: flatcar\nversion: 1.1.0\nstorage: {{files: [{{path: /a, mode: {mode}}}]}}\n"
            )
        };
        let ignition = |mode: &str| {
            format!(
                r#"{{"ignition":{{"version":"3.4.0"}},"storage":{{"files":[{{"path":"/a","mode":{mode}}}]}}}}"#
            )
        };
        for good in [
            butane("0600"),
            butane("384"),
            ignition("384"),
            ignition("420"),
        ] {
            assert!(call(&Render, &[Some(&good)]).is_ok(), "{good}");
        }
        for wrong in [butane("600"), butane("644"), ignition("600")] {
            for function in [&Render as &dyn Function, &Merge] {
                let error = function
                    .call(vec![
                        Value::String(BASE.into()),
                        Value::String(wrong.clone()),
                    ])
                    .expect_err("refused");
                assert_eq!(error.argument, Some(1));
                assert!(
                    error.text.contains(r#"parseint("0644", 8)"#),
                    "{}",
                    error.text
                );
            }
        }
    }

    #[test]
    fn user_data_is_what_the_platform_takes() {
        let least = r#"{"ignition":{"version":"3.4.0"}}"#;
        assert_eq!(
            call(&PackUserData, &[Some(least), Some("qemu")]).expect("it fits"),
            least
        );
        assert_eq!(
            call(&PackUserData, &[Some(least), Some("aws")]).expect("it fits"),
            "eyJpZ25pdGlvbiI6eyJ2ZXJzaW9uIjoiMy40LjAifX0="
        );
        let error = call(&PackUserData, &[Some(least), Some("ec2")]).expect_err("unknown");
        assert!(
            error.argument == Some(1) && error.text.contains("It is called aws here"),
            "{}",
            error.text
        );
        let error = call(&PackUserData, &[Some(least), Some("moon")]).expect_err("unknown");
        assert!(
            error.argument == Some(1) && error.text.contains("aws, azure, gcp"),
            "{}",
            error.text
        );
        assert_eq!(
            call(&PackUserData, &[Some("e30="), Some("aws")])
                .expect_err("packed")
                .argument,
            Some(0)
        );
    }

    #[test]
    fn user_data_takes_nothing_but_a_sound_config() {
        for (text, words) in [
            ("{", "not Ignition JSON"),
            ("{}", "not Ignition JSON"),
            (
                r#"{"variant":"flatcar","version":"1.1.0"}"#,
                "not Ignition JSON",
            ),
            (
                r#"{"ignition":{"version":"3.4.0"}"#,
                "line 1 col 32: unexpected end of JSON input",
            ),
            (
                r#"{"ignition":{"version":"2.3.0"}}"#,
                "Ignition 2 and older are another format",
            ),
            (r#"{"ignition":{"version":"3.9.0"}}"#, "Use one of 3.0.0"),
            (
                r#"{"ignition":{"version":"3.4.0"},"odd":1}"#,
                "unused key odd",
            ),
            (
                r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"a"}]}}"#,
                "path not absolute",
            ),
        ] {
            let error = call(&PackUserData, &[Some(text), Some("aws")]).expect_err("refused");
            assert!(
                error.argument == Some(0) && error.text.contains(words),
                "{text}: {}",
                error.text
            );
        }
    }

    #[test]
    fn user_data_takes_what_every_version_renders() {
        for version in ["1.0.0", "1.1.0", "1.2.0-experimental"] {
            let butane = format!("variant: flatcar\nversion: {version}\n");
            let rendered = call(&Render, &[Some(&butane)]).expect("it renders");
            let user_data = call(&PackUserData, &[Some(&rendered), Some("qemu")]);
            assert_eq!(user_data.map_err(|error| error.text), Ok(rendered));
        }
    }

    #[test]
    fn merge_speaks_of_its_own_parameters_and_passes_over_an_empty_base() {
        let base = "variant: flatcar\nversion: 1.1.0\nstorage: {links: [{path: /l, target: /x}]}\n";
        let overlay = "variant: flatcar\nversion: 1.1.0\nstorage: {files: [{path: /l/below}]}\n";
        let error = call(&Merge, &[Some(base), None, Some(overlay)]).expect_err("they clash");
        assert!(
            error.text.contains("base and overlays[1] clash here"),
            "{}",
            error.text
        );
        let error = call(&Merge, &[Some("x: 1"), Some("y: 1")]).expect_err("refused");
        assert!(
            error.text.contains("base: error") && error.text.contains("overlays[0]: error"),
            "{}",
            error.text
        );
        assert!(call(&Merge, &[Some(""), None, Some(base)]).is_ok());
        let error = call(&Render, &[Some(""), Some("")]).expect_err("nothing");
        assert_eq!(error.argument, Some(0));
    }

    #[test]
    fn versions_compare_by_number() {
        for (a, b, order) in [
            ("4593.2.5", "4593.2.10", "-1"),
            ("4593.2.5", "4593.2.5", "0"),
            ("v1.34.2", "1.34.2", "0"),
            ("1.34", "1.34.0", "0"),
            ("1.34.0-rc.1", "1.34.0", "-1"),
            ("1.34.0-rc.2", "1.34.0-rc.10", "-1"),
            ("1.34.0-alpha", "1.34.0-1", "1"),
            ("1.34.0-alpha.1", "1.34.0-alpha", "1"),
            ("3.5.0", "3.4.0", "1"),
            ("99999999999999999999999", "99999999999999999999998", "1"),
            ("1.2+x", "1.2+y", "0"),
        ] {
            assert_eq!(
                call(&CompareVersions, &[Some(a), Some(b)]).expect("versions"),
                order,
                "{a} {b}"
            );
        }
        for (a, b, argument) in [
            ("x", "1", 0),
            ("1", "", 1),
            ("1..2", "1", 0),
            ("1-", "1", 0),
            ("current", "1", 0),
        ] {
            assert_eq!(
                call(&CompareVersions, &[Some(a), Some(b)])
                    .expect_err("refused")
                    .argument,
                Some(argument),
                "{a} {b}"
            );
        }
    }
}
