//! What reads our configs on a machine: the real Ignition engine puts three workers onto a scratch
//! root, where their configs say, and the real `ignition-validate` accepts everything that we
//! render.
//!
//! `tests/consumers/build` builds both. What has to lie on the root is written down in
//! `tests/fixtures/worker` (see its README).

pub(crate) mod kubernetes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flatcar::ignition::{self, Document, Input, Options, Origin};

use crate::harness::{ROOT, builds, scratch, skip};
use crate::ignition as vectors;

/// The users and groups of a Flatcar image that the workers speak of.
const IMAGE: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\ncore:x:500:500:Flatcar Admin:/home/core:/bin/bash\n",
    ),
    ("etc/shadow", "root:*:15887:0:::::\ncore:*:15887:0:::::\n"),
    (
        "etc/group",
        "root:x:0:root\nwheel:x:10:root,core\ndocker:x:233:core\ncore:x:500:\n",
    ),
    (
        "etc/gshadow",
        "root:*::root\nwheel:*::root,core\ndocker:*::core\ncore:!::\n",
    ),
    ("etc/motd", "Flatcar\n"),
    ("etc/hostname", "localhost\n"),
    ("etc/flatcar/update.conf", "GROUP=beta\n"),
];

/// The engine's own notes, and those of the user database.
const NOTES: &[&str] = &[
    "/etc/.ignition-result.json",
    "/etc/.pwd.lock",
    "/etc/passwd",
    "/etc/passwd-",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/group",
    "/etc/group-",
    "/etc/gshadow",
    "/etc/gshadow-",
];

#[test]
fn the_engine_puts_every_worker_where_its_config_says() {
    if fs::metadata("/proc/self").expect("our own process").uid() != 0 {
        return skip("the engine's files stage needs root");
    }
    let Some(engine) = built("engine") else {
        return;
    };
    let mut faults = String::new();
    let workers = folders(&Path::new(ROOT).join("tests/fixtures/worker"));
    assert_eq!(workers.len(), 3, "{workers:?}");
    for worker in workers {
        let machine = scratch();
        let root = machine.path().join("root");
        lay_out(&root);
        let before = tree(&root);
        let config = machine.path().join("config.ign");
        fs::write(&config, rendered(&worker)).unwrap();
        for stage in ["fetch", "files"] {
            run(&engine, stage, machine.path());
        }
        let mut after = tree(&root);
        after.retain(|path, entry| {
            !NOTES.contains(&path.as_str()) && before.get(path) != Some(entry)
        });
        let said = Said::read(&worker);
        faults += &said.against(&root, &after, &worker);
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn a_long_file_of_a_worker_travels_compressed() {
    let config = rendered(&Path::new(ROOT).join("tests/fixtures/worker/storage"));
    assert!(config.contains(r#""compression":"gzip""#));
    let rules = "tests/fixtures/worker/storage/files/rules.nft";
    let plain = fs::metadata(Path::new(ROOT).join(rules)).unwrap().len();
    assert!((config.len() as u64) < plain, "{} of {plain}", config.len());
}

#[test]
fn ignition_validate_accepts_everything_that_we_render() {
    let Some(validate) = built("validate") else {
        return;
    };
    let mut configs: BTreeSet<String> = vectors::renderings();
    for place in ["tests/fixtures/worker", "tests/fixtures/butane"] {
        for folder in folders(&Path::new(ROOT).join(place)) {
            configs.extend(render(&folder));
        }
    }
    let folder = scratch();
    let file = folder.path().join("config.ign");
    let mut refused = Vec::new();
    for config in &configs {
        fs::write(&file, config).unwrap();
        let answer = Command::new(&validate).arg(&file).output().unwrap();
        if !answer.status.success() {
            let why = String::from_utf8_lossy(&answer.stderr).into_owned();
            refused.push(format!("{config}\n{why}"));
        }
    }
    println!(
        "{} of {} accepted",
        configs.len() - refused.len(),
        configs.len()
    );
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    fs::write(
        &file,
        r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"a"}]}}"#,
    )
    .unwrap();
    let answer = Command::new(&validate).arg(&file).output().unwrap();
    assert!(!answer.status.success(), "it accepts anything");
}

/// The program, or `None` after the test was skipped.
pub(crate) fn built(what: &str) -> Option<PathBuf> {
    if !builds() {
        let home = std::env::var_os("HOME")
            .map(PathBuf::from)
            .unwrap_or_default();
        let there = home
            .join(".cache/terraform-provider-flatcar/consumers")
            .join(what);
        if !there.exists() {
            skip(&format!(
                "{what} is not here, and takes minutes to build: make testacc does"
            ));
            return None;
        }
        return Some(there);
    }
    let go = Command::new("go")
        .arg("version")
        .stdout(Stdio::null())
        .status();
    if !go.is_ok_and(|status| status.success()) {
        skip("Go is missing");
        return None;
    }
    if what == "engine" && !Path::new("/usr/include/blkid/blkid.h").exists() {
        skip("libblkid's headers are missing: on Debian, install libblkid-dev");
        return None;
    }
    let build = Command::new(Path::new(ROOT).join("tests/consumers/build"))
        .arg(what)
        .output()
        .unwrap();
    assert!(
        build.status.success(),
        "{}",
        String::from_utf8_lossy(&build.stderr)
    );
    Some(PathBuf::from(
        String::from_utf8(build.stdout).unwrap().trim_end(),
    ))
}

fn folders(place: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

fn rendered(worker: &Path) -> String {
    render(worker).unwrap_or_else(|| panic!("{} is not rendered", worker.display()))
}

fn render(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("config.bu")).unwrap();
    let document = Document {
        origin: Origin::Content,
        text,
    };
    let input = Input {
        documents: vec![document],
    };
    let options = Options {
        files_dir: Some(folder.join("files")).filter(|files| files.is_dir()),
        ..Options::default()
    };
    ignition::render(&input, &options)
        .0
        .map(|rendered| rendered.json)
}

/// A root as a Flatcar image begins with.
fn lay_out(root: &Path) {
    for (path, text) in IMAGE {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let home = root.join("home/core");
    fs::create_dir_all(&home).unwrap();
    chown(&home, Some(500), Some(500)).unwrap();
    let link = root.join("etc/localtime");
    std::os::unix::fs::symlink("../usr/share/zoneinfo/UTC", link).unwrap();
}

fn run(engine: &Path, stage: &str, machine: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    let done = Command::new(engine)
        .args(["-platform", "file", "-stage", stage, "-log-to-stdout"])
        .arg("-root")
        .arg(machine.join("root"))
        .arg("-config-cache")
        .arg(machine.join("cache"))
        .arg("-state-file")
        .arg(machine.join("state"))
        .env("IGNITION_CONFIG_FILE", machine.join("config.ign"))
        // Users are made by programs that are there for root alone.
        .env("PATH", format!("/usr/sbin:/sbin:{path}"))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{stage}: {log}");
}

/// One entry of a root: its line in `root.txt` without the path, and what stands in it.
#[derive(PartialEq, Eq)]
struct Entry {
    line: String,
    contents: Vec<u8>,
}

/// Everything below a root, by absolute path.
fn tree(root: &Path) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let owner = format!("{}:{}", meta.uid(), meta.gid());
        let mode = meta.permissions().mode() & 0o7777;
        let (line, contents) = if meta.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            (format!("link {owner} -> {}", target.display()), Vec::new())
        } else if meta.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            (format!("directory {mode:04o} {owner}"), Vec::new())
        } else {
            (format!("file {mode:04o} {owner}"), fs::read(&path).unwrap())
        };
        let name = format!("/{}", path.strip_prefix(root).unwrap().display());
        entries.insert(name, Entry { line, contents });
    }
    entries
}

/// What `root.txt` says.
struct Said {
    entries: BTreeMap<String, Entry>,
    /// A file, and how one of its lines begins.
    lines: Vec<(String, String)>,
    /// Two names of one file.
    same: Vec<(String, String)>,
}

impl Said {
    fn read(worker: &Path) -> Self {
        let mut said = Self {
            entries: BTreeMap::new(),
            lines: Vec::new(),
            same: Vec::new(),
        };
        let text = fs::read_to_string(worker.join("root.txt")).unwrap();
        let mut last = String::new();
        for line in text.lines() {
            if let Some(text) = line.strip_prefix("    ") {
                let contents = &mut said.entries.get_mut(&last).unwrap().contents;
                if text == r"\ no line feed at the end" {
                    contents.pop();
                } else {
                    contents.extend_from_slice(format!("{text}\n").as_bytes());
                }
                continue;
            }
            let (kind, rest) = line.split_once(' ').unwrap();
            let (first, rest) = rest.split_once(' ').unwrap();
            match kind {
                "line" => said.lines.push((first.to_owned(), rest.to_owned())),
                "same" => said.same.push((first.to_owned(), rest.to_owned())),
                "link" => {
                    let (path, target) = rest.split_once(" -> ").unwrap();
                    let line = format!("link {first} -> {target}");
                    said.insert(path, line, Vec::new());
                }
                _ => {
                    let (owner, rest) = rest.split_once(' ').unwrap();
                    let (path, local) = rest.split_once(" = ").unzip();
                    let local =
                        local.map(|name| fs::read(worker.join("files").join(name)).unwrap());
                    let path = path.unwrap_or(rest);
                    path.clone_into(&mut last);
                    said.insert(
                        path,
                        format!("{kind} {first} {owner}"),
                        local.unwrap_or_default(),
                    );
                }
            }
        }
        assert!(said.entries.len() >= 10, "{}", worker.display());
        said
    }

    fn insert(&mut self, path: &str, line: String, contents: Vec<u8>) {
        let twice = self
            .entries
            .insert(path.to_owned(), Entry { line, contents });
        assert!(twice.is_none(), "{path} stands there twice");
    }

    /// What differs on the machine, a line each; empty when nothing does.
    fn against(&self, root: &Path, found: &BTreeMap<String, Entry>, worker: &Path) -> String {
        let mut faults = String::new();
        let name = worker.file_name().unwrap().to_string_lossy();
        let paths: BTreeSet<&String> = self.entries.keys().chain(found.keys()).collect();
        for path in paths {
            let (said, is) = (self.entries.get(path), found.get(path));
            let parent = format!("{}/", path.trim_end_matches('/'));
            let implied = said.is_none()
                && is.is_some_and(|entry| entry.line == "directory 0755 0:0")
                && self.entries.keys().any(|other| other.starts_with(&parent));
            if said != is && !implied {
                let _ = writeln!(
                    faults,
                    "{name}: {path}\n  said:  {}\n  is:    {}",
                    shown(said),
                    shown(is)
                );
            }
        }
        let file = |path: &str| root.join(path.trim_start_matches('/'));
        for (path, start) in &self.lines {
            let text = fs::read_to_string(file(path)).unwrap();
            if !text.lines().any(|line| line.starts_with(start.as_str())) {
                let _ = writeln!(faults, "{name}: {path} has no line {start}\n{text}");
            }
        }
        for (one, other) in &self.same {
            let number = |path: &str| fs::metadata(file(path)).map(|meta| meta.ino()).ok();
            if number(one).is_none() || number(one) != number(other) {
                let _ = writeln!(faults, "{name}: {one} and {other} are two files");
            }
        }
        faults
    }
}

fn shown(entry: Option<&Entry>) -> String {
    entry.map_or_else(
        || "nothing".to_owned(),
        |entry| {
            let text = String::from_utf8_lossy(&entry.contents);
            let start: String = text.chars().take(400).collect();
            format!("{} {start:?}", entry.line)
        },
    )
}
