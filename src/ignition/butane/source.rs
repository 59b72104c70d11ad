//! What is checked of a Butane config before it is translated: keys that nobody reads, and what
//! Ignition cannot check any more afterwards.

use crate::ignition::butane::decode::known;
use crate::ignition::butane::{inline_config, quadlets};
use crate::ignition::config::report::{self, Origin, Problems, Report, ReportEntry, Severity};
use crate::ignition::config::{At, Format, Kind, Object, Path, Value, keys};
use crate::text::yaml::{Content, NodeId, Nodes};

pub(crate) const DECIMAL_MODE: &str =
    "unreasonable mode would be reasonable if specified in octal; remember to add a leading zero";
/// The same warning for Ignition JSON, which has no octal numbers.
pub(crate) const DECIMAL_MODE_IN_JSON: &str =
    "unreasonable mode would be reasonable if its digits were octal";
const MOUNT_UNIT_NO_FORMAT: &str = "format is required if with_mount_unit is true";
const MOUNT_UNIT_NO_PATH: &str =
    "path is required if with_mount_unit is true and format is not swap";
const QUADLET_EXTENSION: &str = "unsupported file extension for quadlet: must be one of .container, .volume, .network, .kube, .image, \
                                 .build, .pod, or .artifact";
const TEMPLATE_CONTENTS: &str = "template instances cannot have contents or contents_local";
const TOO_MANY_CONTENTS: &str = "only one of the following can be set: contents, contents_local";
const TOO_MANY_SOURCES: &str = "only one of the following can be set: inline, local, source";
const TREE_NO_LOCAL: &str = "local is required";

/// Warns of every key that the schema of this version lacks, and of objects that cannot be looked
/// into.
pub(crate) fn unused_keys(nodes: &Nodes, config: &Object, version: u8, origin: Origin) -> Report {
    let mut search = Search {
        nodes,
        version,
        origin,
        report: Report::default(),
    };
    if let Some(root) = nodes.root() {
        search.object(root, config, &At::ROOT);
    }
    search.report
}

struct Search<'a> {
    nodes: &'a Nodes,
    version: u8,
    origin: Origin,
    report: Report,
}

impl Search<'_> {
    fn object(&mut self, id: NodeId, object: &Object, at: &At<'_>) {
        let Content::Mapping(pairs) = &self.nodes.get(id).content else {
            let path = at.path().to_string();
            let message = format!(
                "context tree does not match content tree at {path}. Line and column reporting may be inconsistent. Unused keys may \
                 not be reported"
            );
            // Nothing is lost below a null: Terraform's languages write null for what is left out.
            let shown = !(self.nodes.is_null(id) && object.is_empty());
            self.warn(id, path, message, None, shown);
            return;
        };
        for (key, _) in pairs {
            let name = &self.nodes.get(*key).text;
            if object
                .entries()
                .all(|(field, _)| field.name != name || !known(field, self.version))
            {
                self.warn(
                    *key,
                    format!("{}.{name}", at.path()),
                    format!("{}{name}", report::UNUSED_KEY),
                    keys::advice(object.shape, name, self.version, Format::Butane),
                    true,
                );
            }
        }
        for (field, value) in object.entries() {
            let Some(child) = self
                .nodes
                .child(id, field.name)
                .filter(|_| known(field, self.version))
            else {
                continue;
            };
            let at = at.name(field.name);
            match (&field.kind, value) {
                (_, Value::Object(object)) => self.object(child, object, &at),
                (Kind::Object(shape), _) => self.object(child, &Object::new(shape), &at),
                (_, Value::Objects(objects)) => {
                    for (index, object) in objects.iter().enumerate() {
                        if let Some(element) = self.nodes.element(child, index) {
                            self.object(element, object, &at.index(index));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn warn(
        &mut self,
        id: NodeId,
        path: String,
        message: String,
        advice: Option<String>,
        shown: bool,
    ) {
        let node = self.nodes.get(id);
        self.report.push(ReportEntry {
            severity: Severity::Warning,
            origin: self.origin,
            path,
            line: Some(node.line),
            column: Some(node.column),
            advice: advice.or_else(|| report::advice(&message).map(str::to_owned)),
            message,
            exact: None,
            of_files: false,
            listed: true,
            shown,
        });
    }
}

/// Checks every object of a Butane config. `spec_minor` is that of the Ignition to come.
pub(crate) fn check(object: &Object, at: &At<'_>, spec_minor: u8, problems: &mut Problems) {
    match object.shape.name {
        "Resource" => check_resource(object, at, spec_minor, problems),
        "Filesystem" => check_filesystem(object, at, problems),
        "Directory" | "File" => check_mode(object, at, problems),
        "Tree" if object.name("local").is_empty() => problems.error(at.path(), TREE_NO_LOCAL),
        "Unit" | "Dropin" => check_contents(object, at, problems),
        "Quadlet" => check_quadlet(object, at, problems),
        _ => {}
    }
    for (field, value) in object.entries() {
        let at = at.name(field.name);
        match value {
            Value::Object(object) => check(object, &at, spec_minor, problems),
            Value::Objects(objects) => {
                for (index, object) in objects.iter().enumerate() {
                    check(object, &at.index(index), spec_minor, problems);
                }
            }
            _ => {}
        }
    }
}

fn check_resource(resource: &Object, at: &At<'_>, spec_minor: u8, problems: &mut Problems) {
    let is_set = |name: &&&str| resource.is_set(name);
    let set: Vec<&&str> = ["local", "inline", "source"]
        .iter()
        .filter(is_set)
        .collect();
    if let [_, .., last] = set[..] {
        return problems.error(at.path().name(last), TOO_MANY_SOURCES);
    }
    if let Value::Bytes(inline) = resource.get("inline")
        && at.path().to_string().starts_with("$.ignition.config")
    {
        inline_config::check(inline, &at.path(), spec_minor, problems);
    }
}

fn check_filesystem(filesystem: &Object, at: &At<'_>, problems: &mut Problems) {
    if !filesystem.is_true("with_mount_unit") {
        return;
    }
    match filesystem.filled("format") {
        None => problems.error(at.path().name("format"), MOUNT_UNIT_NO_FORMAT),
        Some("swap") => {}
        Some(_) if filesystem.filled("path").is_none() => {
            problems.error(at.path().name("path"), MOUNT_UNIT_NO_PATH)
        }
        Some(_) => {}
    }
}

fn check_contents(unit: &Object, at: &At<'_>, problems: &mut Problems) {
    if unit.is_set("contents") && unit.is_set("contents_local") {
        problems.error(at.path().name("contents_local"), TOO_MANY_CONTENTS);
    }
}

fn check_quadlet(quadlet: &Object, at: &At<'_>, problems: &mut Problems) {
    let name = quadlet.name("name");
    if !quadlets::EXTENSIONS
        .iter()
        .any(|extension| name.ends_with(extension))
    {
        return problems.error(at.path().name("name"), QUADLET_EXTENSION);
    }
    if quadlets::template_of(name).is_none() {
        return check_contents(quadlet, at, problems);
    }
    for contents in ["contents", "contents_local"] {
        if quadlet.is_set(contents) {
            problems.error(at.path().name(contents), TEMPLATE_CONTENTS);
        }
    }
}

fn check_mode(node: &Object, at: &At<'_>, problems: &mut Problems) {
    if has_decimal_mode(node) {
        problems.warning(at.path().name("mode"), DECIMAL_MODE);
    }
}

fn has_decimal_mode(node: &Object) -> bool {
    let nature = match node.shape.name {
        "Directory" => Nature::Directory,
        _ => Nature::File,
    };
    node.int("mode")
        .is_some_and(|mode| looks_decimal(mode, nature))
}

/// Warns of modes of an Ignition config that were meant to be octal. The reference does not.
pub(crate) fn check_modes_in_json(config: &Object, problems: &mut Problems) {
    let Some(storage) = config.object("storage") else {
        return;
    };
    for list in ["directories", "files"] {
        for (index, node) in storage.objects(list).iter().enumerate() {
            if has_decimal_mode(node) {
                let path = Path::default().name("storage").name(list).index(index);
                problems.warning(path.name("mode"), DECIMAL_MODE_IN_JSON);
            }
        }
    }
}

/// What a mode is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Directory,
    File,
}

/// Whether a mode looks like 644 where 0644 was meant: its digits, read as octal, make a usual
/// mode, and the number itself does not.
pub(crate) fn looks_decimal(mode: i64, nature: Nature) -> bool {
    if !(0..=7777).contains(&mode) {
        return false;
    }
    match i64::from_str_radix(&mode.to_string(), 8) {
        Ok(meant) => !is_usual(mode, nature) && is_usual(meant, nature),
        Err(_) => false,
    }
}

fn is_usual(mode: i64, nature: Nature) -> bool {
    const SETUID: i64 = 0o4000;
    const SETGID: i64 = 0o2000;
    const STICKY: i64 = 0o1000;
    if mode == 0 {
        return true;
    }
    // Each class may do what the wider one may: from all, to the group, to the owner.
    let mut granted = 0;
    for class in [mode & 7, mode >> 3 & 7, mode >> 6 & 7] {
        let (reads, runs) = (class & 4 != 0, class & 1 != 0);
        let loses = granted & !class != 0;
        let runs_what_others_only_read = runs && granted & 4 != 0 && granted & 1 == 0;
        let blind = class & 3 != 0 && !reads;
        if loses || runs_what_others_only_read || blind {
            return false;
        }
        granted |= class;
    }
    let (reads, writes, runs) = (granted & 4 != 0, granted & 2 != 0, granted & 1 != 0);
    let special = match nature {
        Nature::Directory => {
            runs && mode & SETUID == 0 && (mode & (SETGID | STICKY) == 0 || writes)
        }
        Nature::File => {
            mode & STICKY == 0 && (mode & (SETUID | SETGID) == 0 || (runs && mode & 2 == 0))
        }
    };
    reads && special
}
