//! House rules that a compiler does not check: who may import whom, how long a file may be, how it begins, what it may not say.

use std::path::{Path, PathBuf};

use crate::harness::ROOT;

/// An import goes to a lower rank or stays in its room; see ARCHITECTURE.md. Two rooms of one rank know nothing of each other.
const RANKS: &[(&str, u8)] = &[
    ("protocol", 0),
    ("http", 0),
    ("provider", 1),
    ("flatcar", 1),
    ("ignition", 2),
    ("image", 2),
    ("kubernetes", 2),
    ("worker_group", 3),
    ("cloud", 4),
    ("lib", 5),
    ("main", 5),
];

/// In ranks 2 and 3 only these may know that Terraform exists.
const FACES: &[&str] = &["data_source", "resource", "ephemeral", "function"];
const FACES_OF_GROUPS: &[&str] = &["cloud", "model"];

const CEILING: usize = 600;

/// File names that say nothing of what is in the file.
const NO_NAMES: &[&str] = &[
    "util",
    "utils",
    "common",
    "types",
    "error",
    "errors",
    "constants",
    "helpers",
    "misc",
];

#[test]
fn an_import_goes_to_a_lower_rank_or_stays_in_its_room() {
    let mut faults = Vec::new();
    for file in sources() {
        faults.extend(imports_against_rank(&file.room, &file.production));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_domain_knows_nothing_of_terraform_but_in_its_faces() {
    let mut faults = Vec::new();
    for file in sources() {
        let face = file.stems.iter().any(|stem| {
            FACES.contains(&stem.as_str())
                || (file.room == "worker_group" && FACES_OF_GROUPS.contains(&stem.as_str()))
        });
        let domain = matches!(rank(&file.room), Some(2 | 3));
        let knows = imports(&file.production).any(|room| room == "provider");
        if domain && knows && !face {
            faults.push(file.path);
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|file| (file.production.lines().count(), file.path))
        .filter(|(lines, _)| *lines > CEILING)
        .collect();
    assert!(long.is_empty(), "longer than {CEILING} lines: {long:#?}");
}

#[test]
fn every_file_begins_with_what_it_holds() {
    let mut faults = Vec::new();
    for path in files(&["src", "tests"], &["rs"]) {
        if stem(&path) != "tests" && !text(&path).starts_with("//! ") {
            faults.push(path);
        }
    }
    assert!(faults.is_empty(), "without a `//!` head: {faults:#?}");
}

#[test]
fn no_file_is_called_like_a_drawer() {
    let drawers: Vec<_> = files(&["src", "tests"], &["rs"])
        .into_iter()
        .filter(|path| NO_NAMES.contains(&stem(path).as_str()))
        .collect();
    assert!(drawers.is_empty(), "{drawers:#?}");
}

#[test]
fn every_exception_from_a_lint_carries_its_reason() {
    let mut faults = Vec::new();
    for file in sources() {
        for (number, line) in file.all.lines().enumerate() {
            let attribute = line.trim_start();
            let bare = attribute.starts_with("#[allow(") || attribute.starts_with("#![allow(");
            // Variants whose names say all need no text.
            if bare && !attribute.contains("missing_docs") {
                faults.push(format!("{}:{}", file.path.display(), number + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn nothing_is_said_that_belongs_elsewhere() {
    // Put together here, so that this file does not say them.
    let words = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("#[ig", "nore"),
        concat!("should_", "panic"),
    ];
    let mut faults = Vec::new();
    let kinds = [
        "rs", "md", "toml", "tf", "sh", "py", "yaml", "yml", "json", "go", "proto",
    ];
    let places = [
        "src",
        "tests",
        "docs",
        "examples",
        "proto",
        "bench",
        ".ci",
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "GNUmakefile",
    ];
    for path in files(&places, &kinds) {
        for (number, line) in text(&path).lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_guide_begins_with_what_a_registry_shows_of_it() {
    let mut faults = Vec::new();
    for path in files(&["docs/guides"], &["md"]) {
        let text = text(&path);
        let title = text.lines().find_map(|line| line.strip_prefix("# "));
        let front = format!(
            "---\npage_title: \"{}\"\nsubcategory: \"\"\ndescription: |-\n  ",
            title.unwrap_or_default()
        );
        let rest = text.strip_prefix(&front).unwrap_or_default();
        if !rest.contains("\n---\n\n# ") {
            faults.push(path);
        }
    }
    assert!(faults.is_empty(), "without front matter: {faults:#?}");
}

#[test]
fn the_rules_find_what_they_look_for() {
    for (room, line, faults) in [
        ("ignition", "use crate::flatcar::CHANNELS;", 0),
        ("ignition", "use crate::image::Image;", 1),
        (
            "ignition",
            "use crate::{flatcar, worker_group::plan, cloud};",
            2,
        ),
        ("ignition", "let x = crate::cloud::ALL;", 1),
        ("protocol", "use crate::provider::Service;", 1),
        ("protocol", "pub(crate) use crate::protocol::value;", 0),
        ("cloud", "use crate::worker_group::cloud::Entry;", 0),
        ("ignition", "// see crate::cloud", 0),
    ] {
        assert_eq!(imports_against_rank(room, line).len(), faults, "{line}");
    }
    let file = "//! Head.\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    assert_eq!(production(file).lines().count(), 3);
    let outside = "//! Head.\n#[cfg(test)]\nmod tests;\nfn a() {}\n";
    assert_eq!(production(outside).lines().count(), 4);
}

struct Source {
    path: PathBuf,
    room: String,
    /// Names of the file and of the folders of its room that it is in.
    stems: Vec<String>,
    all: String,
    /// Up to the tests.
    production: String,
}

/// What is written by hand in `src/`; files of tests have no production lines.
fn sources() -> Vec<Source> {
    let paths = files(&["src"], &["rs"]);
    let tests = files_of_tests(&paths);
    let root = Path::new(ROOT).join("src");
    let mut sources = Vec::new();
    for path in paths {
        if path.ends_with("protocol/gen.rs") {
            continue;
        }
        let below = path.strip_prefix(&root).unwrap();
        let stems: Vec<String> = below.iter().map(|part| stem(Path::new(part))).collect();
        let all = text(&path);
        let of_tests = tests
            .iter()
            .any(|test| path.with_extension("").starts_with(test));
        sources.push(Source {
            room: stems[0].clone(),
            stems: stems[1..].to_vec(),
            production: if of_tests {
                String::new()
            } else {
                production(&all)
            },
            all,
            path,
        });
    }
    assert!(sources.len() > 20, "the sources are found");
    sources
}

/// Modules that are declared as `#[cfg(test)] mod name;`, as path without an extension.
fn files_of_tests(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut modules = Vec::new();
    for path in paths {
        let folder = match stem(path).as_str() {
            "mod" | "lib" | "main" => path.parent().unwrap().to_owned(),
            _ => path.with_extension(""),
        };
        let source = text(path);
        let mut lines = source.lines().peekable();
        while let Some(line) = lines.next() {
            let next = lines.peek().copied().unwrap_or_default();
            if line == "#[cfg(test)]"
                && let Some(name) = next.strip_suffix(';')
                && let Some((_, name)) = name.split_once("mod ")
            {
                modules.push(folder.join(name));
            }
        }
    }
    modules
}

fn production(source: &str) -> String {
    let inline = |(at, _): &(usize, &str)| {
        let rest = &source[*at..];
        rest.lines()
            .nth(1)
            .is_some_and(|line| line.ends_with('{') && line.contains("mod "))
    };
    let end = source
        .match_indices("#[cfg(test)]\n")
        .filter(|(at, _)| *at == 0 || source[..*at].ends_with('\n'))
        .find(inline)
        .map_or(source.len(), |(at, _)| at);
    source[..end].to_owned()
}

fn imports_against_rank(room: &str, source: &str) -> Vec<String> {
    let ours = rank(room).unwrap_or_else(|| panic!("{room} has no rank: add it to RANKS"));
    imports(source)
        .filter(|other| *other != room)
        .filter(|other| rank(other).is_some_and(|theirs| theirs >= ours))
        .map(|other| format!("{room} imports {other}"))
        .collect()
}

/// Rooms that are named as `crate::room` or in `use crate::{room, ...}`, outside comments.
fn imports(source: &str) -> impl Iterator<Item = &str> {
    source
        .split(';')
        .flat_map(|statement| {
            statement
                .split("crate::")
                .skip(1)
                .map(move |path| (statement, path))
        })
        .filter(|(statement, path)| !is_comment(statement, path))
        .flat_map(|(_, path)| match path.strip_prefix('{') {
            Some(group) => group
                .split([',', '{', '}'])
                .map(|item| item.trim().split("::").next().unwrap_or_default())
                .collect::<Vec<_>>(),
            None => vec![word(path)],
        })
}

/// Whether the line that `path` (the rest of `statement`) begins in is a comment.
fn is_comment(statement: &str, path: &str) -> bool {
    let before = &statement[..statement.len() - path.len()];
    let line = before.rsplit('\n').next().unwrap_or_default();
    line.trim_start().starts_with("//")
}

fn word(path: &str) -> &str {
    let end = path
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .unwrap_or(path.len());
    &path[..end]
}

fn rank(room: &str) -> Option<u8> {
    RANKS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, rank)| *rank)
}

/// Files of these kinds below these folders, or these files themselves; what is built or fetched is left out.
fn files(places: &[&str], kinds: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = places
        .iter()
        .map(|place| Path::new(ROOT).join(place))
        .filter(|place| place.exists())
        .collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| {
                !matches!(stem(path).as_str(), ".terraform" | "target" | "fixtures")
            }));
            continue;
        }
        let kind = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if kinds.contains(&kind.as_str()) || places.iter().any(|place| path.ends_with(place)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
