//! The house rules that a machine can check, over the text of `src/` and `tests/`: who imports whom, how long files are, how they begin.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::ROOT;

/// Rooms by rank; an import goes to a lower rank or stays in its room.
const RANKS: [(&str, u8); 9] = [
    ("protocol", 0),
    ("http", 0),
    ("provider", 1),
    ("flatcar", 1),
    ("ignition", 2),
    ("image", 2),
    ("kubernetes", 2),
    ("worker_group", 3),
    ("cloud", 4),
];

/// In ranks 2 and 3, the files that translate between Terraform and the room, and alone may name `crate::provider`.
const FACES: [&str; 6] = [
    "data_source",
    "resource",
    "ephemeral",
    "function",
    "worker_group/cloud",
    "worker_group/model",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "util",
    "utils",
    "common",
    "helpers",
    "types",
    "error",
    "errors",
    "constants",
];

/// Lines before the first top-level test module.
const CEILING: usize = 600;

#[test]
fn imports_go_to_a_lower_rank_or_stay_in_their_room() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let Some((room, rank)) = room(&source.path) else {
            continue;
        };
        for (number, line) in source.production() {
            for named in rooms_named(line) {
                let Some(&(_, other)) = RANKS.iter().find(|(name, _)| *name == named) else {
                    continue;
                };
                if named != room && other >= rank {
                    wrong.push(format!("{}:{number}: {room} imports {named}", source.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_faces_of_the_domain_know_terraform() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let in_domain = room(&source.path).is_some_and(|(_, rank)| (2..=3).contains(&rank));
        if !in_domain || is_face(&source.path) {
            continue;
        }
        for (number, line) in source.production() {
            if rooms_named(line).contains(&"provider") {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    let long: Vec<String> = sources("src")
        .into_iter()
        .chain(sources("tests"))
        .filter(|source| !source.path.ends_with("/gen.rs"))
        .map(|source| (source.production().count(), source.path))
        .filter(|(lines, _)| *lines > CEILING)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_file_begins_by_saying_what_it_holds() {
    let silent: Vec<String> = sources("src")
        .into_iter()
        .chain(sources("tests"))
        .filter(|source| !source.path.ends_with("/gen.rs"))
        .filter(|source| !source.is_tests() && !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "no //! in {}", silent.join(", "));
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let empty: Vec<String> = sources("src")
        .into_iter()
        .map(|source| source.path)
        .filter(|path| {
            let mut parts = path.trim_end_matches(".rs").split('/');
            parts.any(|part| EMPTY_NAMES.contains(&part))
        })
        .collect();
    assert!(empty.is_empty(), "{}", empty.join(", "));
}

#[test]
fn nothing_is_put_off_and_no_test_is_switched_off() {
    // Written in halves, so that this file does not find itself.
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["#[ig", "nore"],
        ["should_", "panic"],
        ["#[al", "low("],
    ]
    .map(|halves| halves.concat());
    let mut found = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        if source.path.ends_with("/gen.rs") {
            continue;
        }
        for (number, line) in source.text.lines().enumerate() {
            // Variants whose names say all need no text; every other exception to a lint is an `expect` with its reason.
            let named = line.contains("missing_docs");
            if !named && words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A Rust file of ours.
struct Source {
    /// From the root of the project: `src/ignition/yaml.rs`.
    path: String,
    text: String,
}

impl Source {
    /// Whether it is the body of a test module in `src/`.
    fn is_tests(&self) -> bool {
        let mut parts = Path::new(&self.path).iter();
        self.path.starts_with("src/") && parts.any(|part| part == "tests" || part == "tests.rs")
    }

    /// Numbered lines before the first top-level test module; none of a file that holds tests only.
    fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.is_tests();
        self.text
            .lines()
            .take_while(move |line| !tests && !line.starts_with("#[cfg(test)]"))
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&Path::new(ROOT).join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has Rust files");
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).expect("a file of ours"),
            path: path
                .strip_prefix(ROOT)
                .expect("below the root")
                .to_str()
                .expect("a plain path")
                .to_owned(),
        })
        .collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of ours") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The room that a file of `src/` belongs to; `lib.rs` and `main.rs` belong to none and may import everything.
fn room(path: &str) -> Option<(&str, u8)> {
    let name = path.split('/').nth(1)?;
    RANKS.iter().find(|(room, _)| *room == name).copied()
}

fn is_face(path: &str) -> bool {
    let path = path.trim_end_matches(".rs");
    FACES
        .iter()
        .any(|face| path.ends_with(&format!("/{face}")) || path.contains(&format!("/{face}/")))
}

/// The first segments of all paths in a line that start with `crate::`, outside comments.
fn rooms_named(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    code.split("crate::")
        .skip(1)
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect()
}
