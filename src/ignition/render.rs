//! All documents to one config: translated, lifted, merged, validated again, written.

pub(super) mod embedded;
mod overridden;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::ignition::butane::files::Files;
use crate::ignition::butane::translate::{self, Translated};
use crate::ignition::config::report::{self, Origin, Problems, Report, ReportEntry, Severity};
use crate::ignition::config::to_json::{self, Style, Writing};
use crate::ignition::config::versions::{NEWEST_MINOR, set_version, spec};
use crate::ignition::config::{Format, Object, Path, blame, from_json, merge, validate};
use crate::text::json;

/// Minor version of the Ignition that terraform-provider-ct writes.
const CT_MINOR: u8 = 4;

/// What to translate.
#[derive(Clone, Default)]
pub struct Input {
    /// Butane YAML or Ignition JSON, lowest first: presets, content, snippets. The label is the
    /// attribute to blame.
    pub documents: Vec<Document>,
}

/// One document. Its text may hold secrets: no `Debug`.
#[derive(Clone)]
pub struct Document {
    /// Whose it is.
    pub origin: Origin,
    /// Butane YAML or Ignition JSON.
    pub text: String,
}

/// How to translate and how to write.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Any entry of the report is a failure.
    pub strict: bool,
    /// Indent the JSON.
    pub pretty: bool,
    /// The root of `local:` and `trees:`; nothing outside it is read.
    pub files_dir: Option<PathBuf>,
    /// Whose bytes to write.
    pub style: Style,
    /// Data that the config carries is taken as it is: the reference does not look into it, and of
    /// a config that is not whole yet nobody can.
    pub data_unchecked: bool,
}

/// A rendered config. It may hold secrets: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Ignition JSON, without a line feed at its end.
    pub json: String,
    /// Its `ignition.version`: `"3.4.0"`.
    pub spec: &'static str,
    /// The document that this version comes from: the first of those with the highest.
    pub raised_by: Origin,
}

/// Renders documents, lowest first. Nothing is rendered when an entry is an error, or, in strict
/// mode, when there is an entry at all.
pub fn render(input: &Input, options: &Options) -> (Option<Rendered>, Report) {
    let files = Files::new(options.files_dir.as_deref());
    let mut documents: Vec<Translated> = Vec::with_capacity(input.documents.len());
    let mut report = Report::default();
    for (number, document) in input.documents.iter().enumerate() {
        let mut translated = translate::document(&document.text, document.origin, number, &files);
        report.append(std::mem::take(&mut translated.report));
        documents.push(translated);
    }
    // The first one of those with the highest version.
    let newest = documents
        .iter()
        .rev()
        .max_by_key(|document| document.spec_minor);
    let (highest, raised_by) = newest.map_or((CT_MINOR, Origin::Content), |document| {
        (document.spec_minor, document.origin)
    });
    let minor = match options.style {
        Style::Butane => highest,
        Style::Ct => CT_MINOR,
    };
    if minor < highest {
        refuse_newer(&documents, minor, &mut report);
    }
    if report.is_fatal() || report.reference_failure().is_some() {
        return (None, report);
    }
    let configs: Vec<Object> = documents
        .iter_mut()
        .filter_map(|document| document.config.take())
        .collect();
    let Some(config) = merge_all(configs, &documents, minor, options.style, &mut report) else {
        return (None, report);
    };
    if !options.data_unchecked {
        let found = embedded::check(&config, &documents);
        found.into_iter().for_each(|entry| report.push(entry));
        if report.is_fatal() {
            report.fail("data in the config is not what the config says");
            return (None, report);
        }
    }
    if options.strict && !report.entries.is_empty() {
        report.fail_strict();
        return (None, report);
    }
    let writing = Writing {
        style: options.style,
        pretty: options.pretty,
        spec_minor: minor,
    };
    let rendered = Rendered {
        json: to_json::write(&config, writing),
        spec: spec(minor),
        raised_by,
    };
    (Some(rendered), report)
}

/// terraform-provider-ct takes nothing newer than what it writes.
fn refuse_newer(documents: &[Translated], minor: u8, report: &mut Report) {
    for document in documents
        .iter()
        .filter(|document| document.spec_minor > minor)
    {
        let mut problems = Problems::default();
        problems.error(
            Path::default().name("version"),
            "unsupported config version",
        );
        for problem in problems.list {
            let mut entry = document.entry(problem);
            entry.listed = false;
            entry.advice = Some(format!(
                "With output_format \"ct\" use a version that gives Ignition {} or older",
                spec(minor)
            ));
            report.push(entry);
        }
        report.fail("unsupported config version");
    }
}

fn merge_all(
    mut configs: Vec<Object>,
    documents: &[Translated],
    minor: u8,
    style: Style,
    report: &mut Report,
) -> Option<Object> {
    for config in &mut configs {
        set_version(config, spec(minor));
    }
    if configs.len() < 2 {
        return configs.pop();
    }
    for (number, config) in configs.iter_mut().enumerate() {
        merge::stamp(config, number, &Path::default());
    }
    let merged = configs.iter().cloned().reduce(merge::objects)?;
    let severity = match style {
        Style::Butane => Severity::Error,
        // What that provider renders, it goes on to render.
        Style::Ct => Severity::Warning,
    };
    let clashes = clashes(&configs, &merged, documents, minor, report);
    for (mut entry, is_error) in clashes {
        if is_error {
            entry.severity = severity;
        }
        report.push(entry);
    }
    if report.is_fatal() {
        report.fail("merged config is invalid");
        return None;
    }
    warn_of_overridden(&configs, &merged, documents, report);
    Some(merged)
}

/// A preset's settings go without a word where a later document has its own.
fn warn_of_overridden(
    configs: &[Object],
    merged: &Object,
    documents: &[Translated],
    report: &mut Report,
) {
    let origins: Vec<Origin> = documents.iter().map(|document| document.origin).collect();
    for overridden in overridden::find(configs, merged, &origins) {
        let document = &documents[overridden.by.document];
        let path = match document.format {
            Format::Butane => overridden.by.path,
            Format::Ignition => from_json::path_in_json(&overridden.by.path),
        };
        let message = format!(
            "overrides preset {}: {}",
            overridden.preset, overridden.what
        );
        let mut problems = Problems::default();
        problems.warning(path, message);
        for problem in problems.list {
            let mut entry = document.entry(problem);
            entry.listed = false;
            entry.advice = Some(format!(
                "A machine gets what stands here, and not what the preset {} writes there: leave out one of the two",
                overridden.preset
            ));
            report.push(entry);
        }
    }
}

/// What is wrong with the merged config and with none of the documents alone, and whether it is an
/// error.
fn clashes(
    configs: &[Object],
    merged: &Object,
    documents: &[Translated],
    minor: u8,
    report: &Report,
) -> Vec<(ReportEntry, bool)> {
    let mut problems = Problems::default();
    validate::check(merged, minor, &mut problems);
    let mut parties = Parties::of(configs, minor);
    let mut found = Vec::new();
    for problem in problems.list {
        let is_error = problem.severity == Severity::Error;
        let message = problem.message.clone();
        let source = blame::written_at(merged, 0, &problem.path);
        let document = &documents[source.document];
        let path = match document.format {
            Format::Butane => source.path,
            Format::Ignition => from_json::path_in_json(&source.path),
        };
        let mut entry = document.entry(report::Problem { path, ..problem });
        let known = |old: &&ReportEntry| {
            old.origin == entry.origin && old.path == entry.path && old.message == entry.message
        };
        if report.entries.iter().any(|old| known(&old)) {
            continue;
        }
        let (one, other) = parties.find(source.document, &message);
        let (one, other) = (documents[one].origin, documents[other].origin);
        entry.listed = false;
        entry.advice = Some(format!(
            "{one} and {other} clash here: change one of the two"
        ));
        found.push((entry, is_error));
    }
    found
}

/// Which two documents clash.
struct Parties<'a> {
    configs: &'a [Object],
    minor: u8,
    /// What is wrong with the merge of two alone.
    messages: HashMap<(usize, usize), HashSet<String>>,
}

/// So many pairs of documents are merged to find out.
const PAIRS_MAX: usize = 200;

impl<'a> Parties<'a> {
    fn of(configs: &'a [Object], minor: u8) -> Self {
        Self {
            configs,
            minor,
            messages: HashMap::new(),
        }
    }

    /// The two documents whose merge alone has this problem.
    fn find(&mut self, blamed: usize, message: &str) -> (usize, usize) {
        let count = self.configs.len();
        let pairs = (0..count)
            .filter(|other| *other != blamed)
            .map(|other| (blamed.min(other), blamed.max(other)));
        let anywhere = (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other)));
        let mut candidates = pairs.chain(anywhere).take(PAIRS_MAX);
        candidates
            .find(|pair| self.has(*pair, message))
            .unwrap_or((0, count - 1))
    }

    fn has(&mut self, pair: (usize, usize), message: &str) -> bool {
        if self.messages.len() >= PAIRS_MAX && !self.messages.contains_key(&pair) {
            return false;
        }
        let (configs, minor) = (self.configs, self.minor);
        let messages = self.messages.entry(pair).or_insert_with(|| {
            let merged = merge::objects(configs[pair.0].clone(), configs[pair.1].clone());
            let mut problems = Problems::default();
            validate::check(&merged, minor, &mut problems);
            let found = problems.list.into_iter();
            found.map(|problem| problem.message).collect()
        });
        messages.contains(message)
    }
}

/// Merges one Ignition JSON over another by Ignition's rules alone: nothing is validated, not even
/// the version. `None` when one of them is no JSON of that shape.
pub fn merge_unchecked(parent: &str, child: &str) -> Option<String> {
    let read = |text: &str| {
        let nodes = json::parse(text).ok()?;
        let (config, mismatches) = from_json::decode(&nodes, NEWEST_MINOR);
        mismatches.is_empty().then_some(config)
    };
    let merged = merge::objects(read(parent)?, read(child)?);
    let writing = Writing {
        style: Style::Butane,
        pretty: false,
        spec_minor: NEWEST_MINOR,
    };
    Some(to_json::write(&merged, writing))
}
