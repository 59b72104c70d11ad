//! The translator against what the reference printed: recorded vectors, a corpus of real documents,
//! and fixtures of our own.
//!
//! Vectors and corpus are in `tests/fixtures/recorded`. Differences that we want are named, with
//! their reasons, in `tests/fixtures/ignition-exceptions.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flatcar::ignition::{self, Document, Input, Options, Origin, Rendered, Report, Style};
use serde_json::Value;

use crate::harness::recorded;

#[test]
fn every_command_line_vector_gives_what_the_command_printed() {
    let vectors = recorded("vectors/butane");
    let mut tally = Tally::new();
    let mut files: Vec<PathBuf> = fs::read_dir(vectors.join("cli"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    if !running_as_root() {
        files.push(vectors.join("cli-unprivileged.json"));
    }
    for file in files {
        for case in cases(&file) {
            let name = text(&case, "name");
            let (stdout, stderr, exit) = run_command(&case);
            let ours = format!("exit {exit}\n{stdout}{stderr}");
            let theirs = format!(
                "exit {}\n{}{}",
                case["exit"],
                text(&case, "stdout"),
                text(&case, "stderr")
            );
            tally.compare(&file_name(&file), name, &ours, &theirs);
        }
    }
    tally.finish();
}

#[test]
fn every_document_of_the_corpus_gives_what_the_command_printed() {
    let corpus = recorded("corpus/butane");
    let mut tally = Tally::new();
    let observed: BTreeMap<String, Value> =
        serde_json::from_str(&fs::read_to_string(corpus.join("observed.json")).unwrap()).unwrap();
    for (name, theirs) in observed {
        let document = fs::read(corpus.join(&name)).unwrap();
        let (stdout, stderr, exit) = print(render(
            &String::from_utf8_lossy(&document),
            &Options::default(),
        ));
        let ours = format!("exit {exit}\n{stdout}{stderr}");
        let theirs = format!(
            "exit {}\n{}{}",
            theirs["exit"],
            text(&theirs, "stdout"),
            text(&theirs, "stderr")
        );
        tally.compare("corpus", &name, &ours, &theirs);
    }
    tally.finish();
}

#[test]
fn snippets_give_what_terraform_provider_ct_renders() {
    let vectors = recorded("vectors/butane");
    let mut tally = Tally::new();
    for case in cases(&vectors.join("snippets.json")) {
        let name = text(&case, "name");
        let files = FilesDir::of(&case["files"]);
        let options = |style| Options {
            strict: case["strict"] == true,
            pretty: case["pretty"] == true,
            files_dir: files.path(),
            style,
            data_unchecked: true,
        };
        let snippets = case["snippets"].as_array().unwrap().iter();
        let mut documents = vec![document(Origin::Content, text(&case, "butane"))];
        documents.extend(
            snippets
                .enumerate()
                .map(|(i, s)| document(Origin::Snippet(i), s.as_str().unwrap())),
        );
        let input = Input { documents };
        let (rendered, _) = ignition::render(&input, &options(Style::Ct));
        let ours = rendered.map_or("error".to_owned(), |rendered| rendered.json);
        let theirs = case["rendered"].as_str().unwrap_or("error");
        tally.compare("snippets.json (ct)", name, &ours, theirs);
    }
    tally.finish();
}

#[test]
fn merging_gives_what_ignition_merges() {
    let vectors = recorded("vectors/butane");
    let mut tally = Tally::new();
    for case in cases(&vectors.join("merge.json")) {
        let merged =
            ignition::merge_unchecked(&case["parent"].to_string(), &case["child"].to_string());
        tally.compare(
            "merge.json",
            text(&case, "name"),
            &merged.unwrap_or_default(),
            text(&case, "merged"),
        );
    }
    tally.finish();
}

#[test]
fn a_mode_in_decimal_is_warned_of_exactly_where_the_reference_warns() {
    let vectors = recorded("vectors/butane");
    for case in cases(&vectors.join("decimal-mode.json")) {
        let kind = text(&case, "kind");
        let range = case["range"].as_array().unwrap();
        let warned: Vec<i64> = case["warned"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_i64().unwrap())
            .collect();
        let list = if kind.starts_with("dir") {
            "directories"
        } else {
            "files"
        };
        let mut ours = Vec::new();
        for mode in range[0].as_i64().unwrap()..=range[1].as_i64().unwrap() {
            let butane = format!(
                "variant: flatcar\nversion: 1.1.0\nstorage: {{{list}: [{{path: /a, mode: {mode}}}]}}\n"
            );
            let (_, report) = render(&butane, &Options::default());
            if report
                .entries
                .iter()
                .any(|e| e.message.contains("leading zero"))
            {
                ours.push(mode);
            }
        }
        assert_eq!(ours, warned, "{kind}");
    }
}

#[test]
fn every_fixture_gives_what_the_command_printed() {
    let mut tally = Tally::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/butane");
    let mut folders: Vec<PathBuf> = fs::read_dir(fixtures)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 25, "only {} fixtures", folders.len());
    for folder in folders {
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let files = folder.join("files");
        let options = Options {
            files_dir: files.is_dir().then(|| files.clone()),
            data_unchecked: true,
            ..Options::default()
        };
        let (stdout, stderr, _) = print(render(&read("config.bu"), &options));
        let ours = format!("{stdout}{stderr}").replace(&*files.to_string_lossy(), "%FilesDir%");
        let theirs = format!("{}{}", read("config.ign"), read("report.txt"));
        tally.compare("fixtures", &file_name(&folder), &ours, &theirs);
    }
    tally.finish();
}

/// Everything that is rendered of the vectors and the corpus, each text once.
pub(crate) fn renderings() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in fs::read_dir(recorded("vectors/butane/cli")).unwrap() {
        all.extend(
            cases(&file.unwrap().path())
                .iter()
                .map(|case| run_command(case).0),
        );
    }
    for entry in fs::read_dir(recorded("corpus/butane")).unwrap() {
        let document = fs::read(entry.unwrap().path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&document);
        all.extend(render(&text, &Options::default()).0.map(|it| it.json));
    }
    all.retain(|text| !text.is_empty());
    all
}

fn document(origin: Origin, text: &str) -> Document {
    Document {
        origin,
        text: text.to_owned(),
    }
}

fn render(butane: &str, options: &Options) -> (Option<Rendered>, Report) {
    let input = Input {
        documents: vec![document(Origin::Content, butane)],
    };
    ignition::render(&input, options)
}

/// What the command would print: standard output, standard error, exit status.
fn print((rendered, report): (Option<Rendered>, Report)) -> (String, String, u8) {
    let exit = u8::from(rendered.is_none());
    let stdout = rendered.map_or_else(String::new, |rendered| rendered.json + "\n");
    (stdout, report.reference_text(), exit)
}

fn run_command(case: &Value) -> (String, String, u8) {
    let files = FilesDir::of(&case["files"]);
    let options = Options {
        strict: case["strict"] == true,
        pretty: case["pretty"] == true,
        files_dir: files.path(),
        style: Style::Butane,
        data_unchecked: true,
    };
    let (stdout, stderr, exit) = print(render(text(case, "butane"), &options));
    (files.hide(&stdout), files.hide(&stderr), exit)
}

/// The files directory of a case.
struct FilesDir(Option<tempfile::TempDir>);

impl FilesDir {
    fn of(files: &Value) -> Self {
        let Some(files) = files.as_object() else {
            return Self(None);
        };
        let directory = tempfile::Builder::new()
            .prefix("f")
            .rand_bytes(4)
            .tempdir()
            .unwrap();
        let mut modes = Vec::new();
        for (name, entry) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
            let mut mode = entry["mode"]
                .as_str()
                .map(|mode| u32::from_str_radix(mode, 8).unwrap());
            if let Some(content) = entry.as_str().or(entry["content"].as_str()) {
                fs::write(&path, content).unwrap();
                mode = mode.or(Some(0o644));
            } else if let Some(base64) = entry["base64"].as_str() {
                fs::write(&path, STANDARD.decode(base64).unwrap()).unwrap();
                mode = mode.or(Some(0o644));
            } else if let Some(target) = entry["symlink"].as_str() {
                symlink(target, &path).unwrap();
            } else if entry["socket"] == true {
                UnixListener::bind(&path).unwrap();
            } else {
                fs::create_dir_all(&path).unwrap();
                mode = mode.or(Some(0o755));
            }
            modes.extend(mode.map(|mode| (path, mode)));
        }
        for (path, mode) in modes {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Self(Some(directory))
    }

    fn path(&self) -> Option<PathBuf> {
        self.0.as_ref().map(|directory| directory.path().to_owned())
    }

    fn hide(&self, text: &str) -> String {
        match &self.0 {
            Some(directory) => text.replace(&*directory.path().to_string_lossy(), "%FilesDir%"),
            None => text.to_owned(),
        }
    }
}

/// Counts per file, and every difference by name.
struct Tally {
    exceptions: BTreeMap<String, String>,
    counts: BTreeMap<String, [usize; 3]>,
    differences: Vec<String>,
}

impl Tally {
    fn new() -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ignition-exceptions.json");
        Self {
            exceptions: serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap(),
            counts: BTreeMap::new(),
            differences: Vec::new(),
        }
    }

    fn compare(&mut self, file: &str, name: &str, ours: &str, theirs: &str) {
        let kind = match (ours == theirs, self.exceptions.get(name)) {
            (true, None) => 0,
            (true, Some(_)) => {
                self.differences
                    .push(format!("{file}: {name}: an exception that is none"));
                1
            }
            (false, None) => {
                let mut text = format!("{file}: {name}");
                let _ = write!(
                    text,
                    "\n  ours:   {}\n  theirs: {}",
                    excerpt(ours, theirs),
                    excerpt(theirs, ours)
                );
                self.differences.push(text);
                1
            }
            (false, Some(_)) => 2,
        };
        self.counts.entry(file.to_owned()).or_default()[kind] += 1;
    }

    fn finish(self) {
        for (file, [equal, different, exceptions]) in &self.counts {
            eprintln!("{file}: {equal} equal, {different} different, {exceptions} exceptions");
        }
        for (name, reason) in &self.exceptions {
            eprintln!("exception {name}: {reason}");
        }
        assert!(!self.counts.is_empty(), "nothing was compared");
        assert!(
            self.differences.is_empty(),
            "{} differences\n{}",
            self.differences.len(),
            self.differences.join("\n")
        );
    }
}

/// From a little before the first difference.
fn excerpt(text: &str, other: &str) -> String {
    let same = text
        .chars()
        .zip(other.chars())
        .take_while(|(a, b)| a == b)
        .count();
    let shown: String = text
        .chars()
        .skip(same.saturating_sub(160))
        .take(420)
        .collect();
    format!("{shown:?}")
}

fn running_as_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // What this process makes belongs to it.
    let file = tempfile::NamedTempFile::new().unwrap();
    file.path().metadata().unwrap().uid() == 0
}

fn cases(file: &Path) -> Vec<Value> {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
