//! Problems, collected: severity, place and words of each, and which of them a user sees.

use std::fmt;

use crate::ignition::config::Path;
pub use crate::ignition::config::tally::Severity;
use crate::ignition::config::tally::{Counts, Tally};
use crate::ignition::config::versions::OTHER_VARIANTS;

/// Of one report, this many entries are shown, errors first.
const SHOWN: usize = 200;

/// Where a document came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A preset, by its attribute.
    Preset(&'static str),
    /// `content`.
    Content,
    /// `snippets[n]`.
    Snippet(usize),
    /// A parameter of a function, by its name.
    Argument(&'static str),
    /// One of a function's further arguments: `overlays[n]`.
    Further(&'static str, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset(name) | Self::Argument(name) => out.write_str(name),
            Self::Content => out.write_str("content"),
            Self::Snippet(index) => write!(out, "snippets[{index}]"),
            Self::Further(name, index) => write!(out, "{name}[{index}]"),
        }
    }
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// They stand in the order in which the reference reports them: the first thousand errors, and
    /// the first thousand warnings.
    pub entries: Vec<ReportEntry>,
    pub(crate) tally: Tally,
    failure: Option<Failure>,
}

/// One problem. It names keys and positions, never what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportEntry {
    /// How bad it is.
    pub severity: Severity,
    /// The document to blame.
    pub origin: Origin,
    /// `$.storage.files.0.path`; `$` for the whole document.
    pub path: String,
    /// From 1; none where there is no place to point at.
    pub line: Option<u64>,
    /// From 1, in characters.
    pub column: Option<u64>,
    /// What is wrong: `path not specified`.
    pub message: String,
    /// What to do about it, where that is known.
    pub advice: Option<String>,
    /// The reference's words where they quote from the document.
    pub(crate) exact: Option<Quoting>,
    /// It is about a local file, which may not be there yet, or about what is in one.
    pub(crate) of_files: bool,
    /// The reference's report has it too.
    pub(crate) listed: bool,
    /// A user sees it. What is no fault in a config that Terraform's languages have written is kept
    /// for comparing only.
    pub(crate) shown: bool,
}

/// Words of the reference that may quote from a document, and so do not show in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Quoting(pub(crate) String);

impl fmt::Debug for Quoting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(not shown)")
    }
}

/// Why nothing was rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    Translation(Quoting),
    Strict,
}

/// The beginning of the warning about a key that nobody reads.
pub(crate) const UNUSED_KEY: &str = "unused key ";

const STRICT: &str = "Config produced warnings and --strict was specified";

impl ReportEntry {
    fn write(&self, message: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })?;
        let with_path = self.path != "$";
        if with_path {
            write!(out, " at {}", self.path)?;
        }
        if let Some(line) = self.line {
            out.write_str(if with_path { ", " } else { " at " })?;
            write!(out, "line {line}")?;
            if let Some(column) = self.column {
                write!(out, " col {column}")?;
            }
        }
        write!(out, ": {message}")
    }
}

impl fmt::Display for ReportEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&self.message, out)
    }
}

/// An entry in exactly the reference's words.
struct Exact<'a>(&'a ReportEntry);

impl fmt::Display for Exact<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.exact.as_ref().map(|exact| exact.0.as_str());
        self.0.write(exact.unwrap_or(&self.0.message), out)
    }
}

impl Report {
    /// There is an error among the entries.
    pub fn is_fatal(&self) -> bool {
        self.entries.iter().any(|e| e.severity == Severity::Error)
    }

    /// The entries to show, in order, and how many there are beyond. Warnings give way to errors.
    pub fn shown(&self) -> (Vec<&ReportEntry>, Counts) {
        self.shown_of(|_| true)
    }

    /// As [`Self::shown`], of the entries that are `wanted` alone.
    pub fn shown_of(&self, wanted: impl Fn(&ReportEntry) -> bool) -> (Vec<&ReportEntry>, Counts) {
        let is_error = |entry: &ReportEntry| entry.severity == Severity::Error;
        let wanted: Vec<&ReportEntry> = self
            .entries
            .iter()
            .filter(|entry| entry.shown && wanted(entry))
            .collect();
        let errors = wanted.iter().filter(|entry| is_error(entry)).count();
        let (mut errors_left, mut warnings_left) =
            (errors.min(SHOWN), SHOWN.saturating_sub(errors));
        let (mut shown, mut more) = (Vec::new(), self.tally.more());
        for entry in wanted {
            let left = match is_error(entry) {
                true => &mut errors_left,
                false => &mut warnings_left,
            };
            match left.checked_sub(1) {
                Some(fewer) => {
                    *left = fewer;
                    shown.push(entry);
                }
                None => *more.of(entry.severity) += 1,
            }
        }
        (shown, more)
    }

    /// The entries exactly as the reference prints them. They may quote from the documents: for
    /// comparing only, never for a user.
    pub fn reference_entries(&self) -> String {
        let listed = self.entries.iter().filter(|e| e.listed);
        listed.map(|entry| format!("{}\n", Exact(entry))).collect()
    }

    /// Exactly what the reference prints on standard error. It may quote from the documents: for
    /// comparing only, never for a user.
    pub fn reference_text(&self) -> String {
        let mut text = self.reference_entries();
        match &self.failure {
            Some(Failure::Translation(failure)) => {
                text.push_str(&format!("Error translating config: {}\n", failure.0))
            }
            Some(Failure::Strict) => text.push_str(&format!("{STRICT}\n")),
            None => {}
        }
        text
    }

    /// Why nothing was rendered, in the reference's words. They may quote from the documents: for
    /// comparing only.
    pub fn reference_failure(&self) -> Option<&str> {
        match &self.failure {
            Some(Failure::Translation(failure)) => Some(&failure.0),
            Some(Failure::Strict) => Some(STRICT),
            None => None,
        }
    }

    pub(crate) fn fail(&mut self, failure: impl Into<String>) {
        if self.failure.is_none() {
            self.failure = Some(Failure::Translation(Quoting(failure.into())));
        }
    }

    pub(crate) fn fail_strict(&mut self) {
        if self.failure.is_none() {
            self.failure = Some(Failure::Strict);
        }
    }

    pub(crate) fn push(&mut self, entry: ReportEntry) {
        if self.tally.take(entry.severity, 1) == 1 {
            self.entries.push(entry);
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.tally.append(other.tally);
        other.entries.into_iter().for_each(|entry| self.push(entry));
        if self.failure.is_none() {
            self.failure = other.failure;
        }
    }
}

/// How messages of the reference begin that then quote from the document: this much may be shown.
const QUOTING: [&str; 5] = [
    "invalid unit content: found garbage after section name",
    "expected base64, got",
    "invalid character",
    "json: cannot unmarshal",
    "No translator exists for variant",
];

/// The message without what it quotes from the document; `None` when it quotes nothing.
pub(crate) fn redacted(message: &str) -> Option<String> {
    let shown = QUOTING.iter().find(|start| message.starts_with(**start))?;
    let rest = &message[shown.len()..];
    // `invalid character 'x' after ...`, but `invalid character for media type` quotes nothing.
    match *shown {
        "invalid character" if !rest.starts_with(" '") => None,
        "invalid character" => {
            let after = rest
                .get(2..)
                .and_then(|quoted| quoted.rfind("' ").or_else(|| quoted.rfind('\'')));
            let words = after.and_then(|at| rest.get(at + 3..)).unwrap_or("");
            Some(format!("{shown}{words}"))
        }
        "json: cannot unmarshal" => {
            let into = rest.find(" into ").map_or("", |at| &rest[at..]);
            let what = rest.split_whitespace().next().unwrap_or("");
            Some(format!("{shown} {what}{into}"))
        }
        "No translator exists for variant" => {
            let variant = rest.split_whitespace().next().unwrap_or("");
            let known = variant == "flatcar" || OTHER_VARIANTS.contains(&variant);
            Some(match known {
                true => format!("{shown} {variant} with this version"),
                false => "No translator exists for this variant".to_owned(),
            })
        }
        _ => Some((*shown).to_owned()),
    }
}

/// What to do about some messages: how they begin, and one imperative sentence.
const ADVICE: [(&str, &str); 16] = [
    (
        "unknown anchor",
        "Write a value that begins with an asterisk in quotes",
    ),
    (
        "cannot unmarshal a tag",
        "Write a value that begins with an exclamation mark in quotes",
    ),
    (
        "unused key",
        "Remove the key, or correct its spelling; it is ignored",
    ),
    (
        "unreasonable mode would be reasonable if its digits were octal",
        "JSON has no octal numbers: write 420 for 0644, or parseint(\"0644\", 8) in HCL",
    ),
    (
        "unreasonable mode",
        "Write the mode in octal, with a leading zero: 0644. HCL drops that zero: inside yamlencode and jsonencode write parseint(\"0644\", 8)",
    ),
    (
        "setuid/setgid/sticky bits are not supported",
        "Leave these bits out, and set them with a unit or a line of tmpfiles.d: no release of Flatcar reads such a version yet",
    ),
    ("local file paths are relative", "Set files_dir"),
    (
        "local file path traverses",
        "Keep the file inside files_dir; symbolic links that lead out of it are not followed",
    ),
    (
        "cannot unmarshal !!str into int",
        "Write a number, without quotes",
    ),
    (
        "cannot unmarshal !!str into bool",
        "Write true or false, without quotes",
    ),
    (
        "cannot unmarshal !!map into []",
        "Begin each element of the list with a dash",
    ),
    (
        "matching filesystem node",
        "Remove one of the two that make this path",
    ),
    ("config generated", "Correct the errors above"),
    (
        "overwrite must be false",
        "Give the file contents, or leave overwrite out",
    ),
    ("path not absolute", "Begin the path with a slash"),
    (
        "path is not fully simplified",
        "Write the path without //, ., .. and a slash at its end",
    ),
];

/// One imperative sentence about a message, where there is one.
pub(crate) fn advice(message: &str) -> Option<&'static str> {
    ADVICE
        .iter()
        .find(|(start, _)| message.starts_with(start))
        .map(|(_, advice)| *advice)
}

/// A problem at a path, before its position is known.
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) path: Path,
    pub(crate) message: String,
    /// A last step of the path that no schema knows.
    pub(crate) unknown_key: Option<String>,
    /// It is about a local file, or about what is in one.
    pub(crate) of_files: bool,
    /// What to do, where the message alone does not say it.
    pub(crate) advice: Option<String>,
}

impl Problem {
    fn new(severity: Severity, path: Path, message: String) -> Self {
        Self {
            severity,
            path,
            message,
            unknown_key: None,
            of_files: false,
            advice: None,
        }
    }
}

/// Problems in the order of finding: the first thousand errors, and the first thousand warnings.
#[derive(Default)]
pub(crate) struct Problems {
    pub(crate) list: Vec<Problem>,
    pub(crate) tally: Tally,
}

impl Problems {
    pub(crate) fn error(&mut self, path: Path, message: impl Into<String>) {
        self.push(Problem::new(Severity::Error, path, message.into()));
    }

    pub(crate) fn warning(&mut self, path: Path, message: impl Into<String>) {
        self.push(Problem::new(Severity::Warning, path, message.into()));
    }

    /// Reports the same error `count` times.
    pub(crate) fn errors(&mut self, count: usize, path: impl Fn() -> Path, message: &str) {
        for _ in 0..self.tally.take(Severity::Error, count) {
            self.list
                .push(Problem::new(Severity::Error, path(), message.to_owned()));
        }
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        if self.tally.take(problem.severity, 1) == 1 {
            self.list.push(problem);
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.tally.append(other.tally);
        other
            .list
            .into_iter()
            .for_each(|problem| self.push(problem));
    }

    pub(crate) fn is_fatal(&self) -> bool {
        self.list.iter().any(|p| p.severity == Severity::Error)
    }
}
