//! One document, Butane or Ignition JSON, to an Ignition config and the report about it: the
//! reference's stages in their order.
//!
//! A stage with an error hides those after it, but not the warnings before it.

use crate::ignition::butane::decode::{self, DecodeError, Misfit};
use crate::ignition::butane::desugar::Desugar;
use crate::ignition::butane::files::Files;
use crate::ignition::butane::{header, source, sugar};
use crate::ignition::config::fields::CONFIG;
use crate::ignition::config::report::{
    self, Origin, Problem, Problems, Report, ReportEntry, Severity,
};
use crate::ignition::config::versions::{self, Refused, Version};
use crate::ignition::config::{At, Format, Object, Path, blame, from_json, validate};
use crate::text::json;
use crate::text::yaml::{self, Nodes};

const SOURCE_INVALID: &str = "source config is invalid";
const GENERATED_INVALID: &str = "config generated was invalid";

/// What became of a document.
pub(crate) struct Translated {
    pub(crate) origin: Origin,
    pub(crate) format: Format,
    pub(crate) nodes: Nodes,
    /// An Ignition config; none when there was an error.
    pub(crate) config: Option<Object>,
    /// Minor version of that Ignition.
    pub(crate) spec_minor: u8,
    pub(crate) report: Report,
}

/// Translates a document. `number` is its place among all documents.
pub(crate) fn document(text: &str, origin: Origin, number: usize, files: &Files) -> Translated {
    let mut translated = Translated {
        origin,
        format: Format::Butane,
        nodes: Nodes::new(),
        config: None,
        spec_minor: 0,
        report: Report::default(),
    };
    // Ignition reads no byte-order mark, and what is rendered from it has none. A YAML scanner
    // passes over it.
    let unmarked = text.strip_prefix(header::BYTE_ORDER_MARK).unwrap_or(text);
    if header::is_ignition(unmarked) {
        let text = unmarked;
        translated.format = Format::Ignition;
        translated.ignition(text, versions::ignition_version);
    } else {
        translated.butane(text, number, files);
    }
    translated
}

/// Reads what `render` gives: Ignition JSON of every version that it writes.
pub(crate) fn rendered(text: &str, origin: Origin) -> Translated {
    let mut translated = Translated {
        origin,
        format: Format::Ignition,
        nodes: Nodes::new(),
        config: None,
        spec_minor: 0,
        report: Report::default(),
    };
    translated.ignition(text, versions::rendered_version);
    translated
}

impl Translated {
    fn butane(&mut self, text: &str, number: usize, files: &Files) {
        match yaml::parse(text) {
            Ok(nodes) => self.nodes = nodes,
            Err(error) => {
                self.report
                    .fail(format!("Error unmarshaling yaml: yaml: {}", error.exact));
                let entry = self.unlisted("$", &error.message);
                self.report.push(ReportEntry {
                    line: error.line,
                    column: error.column,
                    ..entry
                });
                return;
            }
        }
        let header = match header::decode(&self.nodes) {
            Ok(header) => header,
            Err(error) => {
                self.cannot_decode(error, "Error unmarshaling yaml: ");
                return;
            }
        };
        let version = match header::version(&header, &self.nodes) {
            Ok(version) => version,
            Err(refused) => return self.refuse(refused),
        };
        self.spec_minor = version.spec_minor;
        let config = match decode::decode(&self.nodes, &CONFIG, version.order, version.package) {
            Ok(config) => config,
            Err(error) => {
                if let Some(config) = self.cannot_decode(error, "") {
                    let (order, origin) = (version.order, self.origin);
                    self.warn_beside_misfits(source::unused_keys(
                        &self.nodes,
                        &config,
                        order,
                        origin,
                    ));
                }
                return;
            }
        };
        self.report = source::unused_keys(&self.nodes, &config, version.order, self.origin);
        self.config = self.translate(config, version, number, files);
    }

    fn translate(
        &mut self,
        mut config: Object,
        version: &Version,
        number: usize,
        files: &Files,
    ) -> Option<Object> {
        let mut desugar = Desugar {
            document: number,
            files,
            problems: Problems::default(),
        };
        source::check(
            &config,
            &At::ROOT,
            version.spec_minor,
            &mut desugar.problems,
        );
        if desugar.problems.is_fatal() {
            return self.fail(desugar.problems, SOURCE_INVALID);
        }
        let checked = desugar.problems.list.len();
        sugar::take_out(&mut config, &mut desugar);
        let mut problems = desugar.problems;
        for problem in &mut problems.list[checked..] {
            problem.of_files = problem.path.leads_to_files();
        }
        if !problems.is_fatal() {
            refuse_fields(&config, version, &mut problems);
        }
        if problems.is_fatal() {
            return self.fail(problems, SOURCE_INVALID);
        }
        versions::set_version(&mut config, version.spec);
        self.attach(problems);
        let mut problems = Problems::default();
        validate::check(&config, version.spec_minor, &mut problems);
        for problem in &mut problems.list {
            problem.path = blame::written_in_reference(&config, number, &problem.path).path;
            problem.of_files = problem.path.leads_to_files();
        }
        if problems.is_fatal() {
            return self.fail(problems, GENERATED_INVALID);
        }
        self.attach(problems);
        Some(config)
    }

    fn ignition(&mut self, text: &str, version: fn(&Object) -> Result<u8, Refused>) {
        match json::parse(text) {
            Ok(nodes) => self.nodes = nodes,
            Err(error) => {
                self.report.fail(error.exact);
                let entry = self.unlisted("$", &error.message);
                self.report.push(ReportEntry {
                    line: Some(error.line),
                    column: Some(error.column),
                    ..entry
                });
                return;
            }
        }
        // The version decides which fields there are.
        let (config, _) = from_json::decode(&self.nodes, u8::MAX - 1);
        let minor = match version(&config) {
            Ok(minor) => minor,
            Err(refused) => return self.refuse(refused),
        };
        self.spec_minor = minor;
        let (config, mismatches) = from_json::decode(&self.nodes, minor);
        if !mismatches.is_empty() {
            let mut warnings = Problems::default();
            from_json::unused_keys(&self.nodes, &config, minor, &mut warnings);
            for mismatch in mismatches {
                self.report.fail(mismatch.exact);
                let entry = self.unlisted("$", &mismatch.message);
                self.report.push(ReportEntry {
                    line: Some(mismatch.line),
                    column: Some(mismatch.column),
                    ..entry
                });
            }
            let mut beside = Report::default();
            for problem in warnings.list {
                beside.push(self.entry(problem));
            }
            self.warn_beside_misfits(beside);
            return;
        }
        let mut problems = Problems::default();
        validate::check(&config, minor, &mut problems);
        for problem in &mut problems.list {
            problem.path = from_json::path_in_json(&problem.path);
        }
        from_json::unused_keys(&self.nodes, &config, minor, &mut problems);
        if problems.is_fatal() {
            self.fail(problems, "config is not valid");
            return;
        }
        self.attach(problems);
        let mut modes = Problems::default();
        source::check_modes_in_json(&config, &mut modes);
        for problem in modes.list {
            let mut entry = self.entry(problem);
            entry.listed = false;
            self.report.push(entry);
        }
        self.config = Some(config);
    }

    fn fail(&mut self, problems: Problems, failure: &str) -> Option<Object> {
        self.attach(problems);
        self.report.fail(failure);
        None
    }

    /// Gives problems their positions.
    fn attach(&mut self, problems: Problems) {
        self.report.tally.append(problems.tally);
        for problem in problems.list {
            let entry = self.entry(problem);
            self.report.push(entry);
        }
    }

    /// A problem of this document as an entry of the report.
    pub(crate) fn entry(&self, problem: Problem) -> ReportEntry {
        let position = blame::position(&self.nodes, &problem.path, problem.unknown_key.as_deref());
        // Nothing is lost below a null: Terraform's languages write null for what is left out.
        let shown = !problem.message.starts_with("context tree does not match")
            || !blame::is_null_at(&self.nodes, &problem.path);
        let mut path = problem.path.to_string();
        if let Some(key) = problem.unknown_key {
            path = format!("{path}.{key}");
        }
        ReportEntry {
            severity: problem.severity,
            origin: self.origin,
            path,
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            advice: problem
                .advice
                .or_else(|| report::advice(&problem.message).map(str::to_owned)),
            exact: report::redacted(&problem.message)
                .map(|_| report::Quoting(problem.message.clone())),
            message: report::redacted(&problem.message).unwrap_or(problem.message),
            of_files: problem.of_files,
            listed: true,
            shown,
        }
    }

    /// Warns of unused keys in a document of which not everything fits. The reference stops before
    /// it looks for them. What does not fit is reported already.
    fn warn_beside_misfits(&mut self, warnings: Report) {
        self.report.tally.append(warnings.tally);
        for entry in warnings.entries {
            if entry.message.starts_with(report::UNUSED_KEY) {
                self.report.push(ReportEntry {
                    listed: false,
                    ..entry
                });
            }
        }
    }

    /// Reports why, and returns what fits.
    fn cannot_decode(&mut self, error: DecodeError, prefix: &str) -> Option<Box<Object>> {
        let (misfits, config) = match error {
            DecodeError::Stopped(misfit) => {
                self.report.fail(format!("{prefix}yaml: {}", misfit.exact));
                (vec![misfit], None)
            }
            DecodeError::Misfits(misfits, config) => {
                let lines: Vec<String> = misfits
                    .iter()
                    .map(|m| format!("  line {}: {}", m.line, m.exact))
                    .collect();
                self.report.fail(format!(
                    "{prefix}yaml: unmarshal errors:\n{}",
                    lines.join("\n")
                ));
                (misfits, Some(config))
            }
        };
        for Misfit {
            line,
            column,
            message,
            ..
        } in misfits
        {
            let entry = self.unlisted("$", &message);
            self.report.push(ReportEntry {
                line: Some(line),
                column: Some(column),
                ..entry
            });
        }
        config
    }

    fn refuse(&mut self, refused: Refused) {
        let mut path = Path::default();
        if self.format == Format::Ignition {
            path = path.name("ignition");
        }
        path = path.name(refused.key);
        let position = blame::position(&self.nodes, &path, None);
        let entry = self.unlisted(&path.to_string(), &refused.exact);
        self.report.push(ReportEntry {
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            advice: Some(refused.advice),
            ..entry
        });
        self.report.fail(refused.exact);
    }

    /// An entry about what the reference prints outside its report.
    fn unlisted(&self, path: &str, message: &str) -> ReportEntry {
        ReportEntry {
            severity: Severity::Error,
            origin: self.origin,
            path: path.to_owned(),
            line: None,
            column: None,
            message: report::redacted(message).unwrap_or_else(|| message.to_owned()),
            advice: report::advice(message).map(str::to_owned),
            exact: None,
            of_files: false,
            listed: false,
            shown: true,
        }
    }
}

/// What Flatcar refuses of a config that Ignition would take.
fn refuse_fields(config: &Object, version: &Version, problems: &mut Problems) {
    let (name, message) = version.refused_in_luks;
    let Some(storage) = config.object("storage") else {
        return;
    };
    for (index, luks) in storage.objects("luks").iter().enumerate() {
        if luks.object(name).is_some_and(|object| !object.is_empty()) {
            let path = Path::default()
                .name("storage")
                .name("luks")
                .index(index)
                .name(name);
            problems.error(path, message);
        }
    }
}
