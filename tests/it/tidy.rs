//! House rules that a compiler does not check: who may import whom, how long a file may be, how it
//! begins, what it may not say.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::path::{Path, PathBuf};

use crate::harness::ROOT;

/// An import goes to a lower rank or stays in its room; see ARCHITECTURE.md. Two rooms of one rank
/// know nothing of each other.
const RANKS: &[(&str, u8)] = &[
    ("protocol", 0),
    ("http", 0),
    ("text", 1),
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
const FACES: &[&str] = &[
    "data_source",
    "resource",
    "ephemeral",
    "function",
    "provider_block",
];
const FACES_OF_GROUPS: &[&str] = &["cloud", "model"];

const CEILING: usize = 600;
/// Columns of a comment.
const COLUMNS: usize = 100;

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
fn files_and_folders_beside_each_other_import_in_one_direction() {
    let sources = sources();
    let files = sources
        .iter()
        .map(|file| (file.module(), file.production.as_str()));
    let found = circles(&files.collect::<Vec<_>>());
    assert!(found.is_empty(), "import each other: {found:#?}");
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
fn a_comment_is_a_hundred_columns_wide_and_no_wider() {
    let mut faults = Vec::new();
    for path in files(&["src", "tests", "benches"], &["rs"]) {
        if stem(&path) == "gen" {
            continue;
        }
        for (number, line) in text(&path).lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            // What is shown as it is (JSON, code) has no place to be broken at.
            let is_shown = line.contains("{\"") || line.contains("assert_eq!(");
            if is_comment && !is_shown && line.chars().count() > COLUMNS {
                faults.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
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
    for (one, other, is_circle) in [
        ("use super::b::B;", "use crate::room::a::A;", true),
        (
            "use crate::room::{b::{B, C}, d};",
            "use super::{a, d};",
            true,
        ),
        (
            "fn f() { crate::room::b::f() }",
            "use super::a::inner::A;",
            true,
        ),
        ("use super::b::B;", "use super::{A, d::D};", true),
        ("use super::b::B;", "use super::{A, e::E};", false),
        ("use super::b::B;", "// use super::a::A;", false),
        ("use super::b::B;", "use crate::a::A;", false),
        ("mod inner;\nuse self::inner::I;", "", false),
    ] {
        let files = [
            (vec!["a"], ""),
            (vec!["room", "a"], one),
            (vec!["room", "a", "inner"], "use super::A;"),
            (vec!["room", "b"], other),
            (vec!["room", "d"], "use super::a::A;"),
        ];
        let found = circles(&files);
        assert_eq!(!found.is_empty(), is_circle, "{one} {other}: {found:?}");
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

impl Source {
    /// Its names from the root of the crate; none for the root itself.
    fn module(&self) -> Vec<&str> {
        let names = iter::once(&self.room).chain(&self.stems);
        let names = names.map(String::as_str);
        names
            .filter(|name| !matches!(*name, "mod" | "lib" | "main"))
            .collect()
    }
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

/// A folder, and what in it imports each other.
type Circle = (String, BTreeSet<String>);

/// All circles between files and folders that stand beside each other. A file and the folder of its
/// own parts are one.
fn circles(files: &[(Vec<&str>, &str)]) -> BTreeSet<Circle> {
    let modules: BTreeSet<&[&str]> = files.iter().map(|(module, _)| &module[..]).collect();
    let mut imports: BTreeMap<&[&str], BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for (module, source) in files {
        for path in paths(module, source) {
            let Some(imported) = (0..=path.len())
                .rev()
                .find_map(|length| modules.get(&path[..length]))
            else {
                continue;
            };
            let both = module.iter().zip(*imported);
            let common = both.take_while(|(one, other)| one == other).count();
            if let (Some(one), Some(other)) = (module.get(common), imported.get(common)) {
                let folder = imports.entry(&module[..common]).or_default();
                folder.entry(*one).or_default().insert(*other);
            }
        }
    }
    let mut found = BTreeSet::new();
    for (folder, imports) in imports {
        let reached: BTreeMap<&str, BTreeSet<&str>> = imports
            .keys()
            .map(|name| (*name, reached_from(name, &imports)))
            .collect();
        for (name, reached_by_it) in &reached {
            let with_it: BTreeSet<String> = reached_by_it
                .iter()
                .filter(|other| reached.get(*other).is_some_and(|back| back.contains(name)))
                .map(|other| (*other).to_owned())
                .collect();
            if !with_it.is_empty() {
                found.insert((folder.join("/"), with_it));
            }
        }
    }
    found
}

fn reached_from<'a>(name: &str, imports: &BTreeMap<&str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&str> = vec![name];
    while let Some(next) = left.pop() {
        for other in imports.get(next).into_iter().flatten() {
            if reached.insert(*other) {
                left.push(other);
            }
        }
    }
    reached
}

/// The paths from `crate::` and `super::` in a module's source, from the root of the crate; each
/// branch of a group is one.
fn paths<'a>(module: &[&'a str], source: &'a str) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    for (start, up) in [("crate::", 0), ("super::", 1)] {
        for (at, _) in source.match_indices(start) {
            let path = &source[at + start.len()..];
            // `super::super::` is met at its first.
            if !is_comment(source, path) && !source[..at].ends_with("::") {
                let mut base = match up {
                    0 => Vec::new(),
                    _ => module[..module.len().saturating_sub(1)].to_vec(),
                };
                let mut path = path;
                while let Some(rest) = path.strip_prefix("super::") {
                    base.pop();
                    path = rest;
                }
                branches(path, base, &mut found);
            }
        }
    }
    found
}

/// Reads one path, groups included; what stands behind it is given back.
fn branches<'a>(path: &'a str, mut base: Vec<&'a str>, found: &mut Vec<Vec<&'a str>>) -> &'a str {
    let mut rest = path;
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            rest = group;
            while let Some(next) = rest.find(|letter: char| letter == '}' || is_of_a_word(letter)) {
                if let Some(behind) = rest[next..].strip_prefix('}') {
                    return behind;
                }
                rest = branches(&rest[next..], base.clone(), found);
            }
            return rest;
        }
        let name = word(rest);
        base.push(name);
        match rest[name.len()..].strip_prefix("::") {
            Some(below) if below.starts_with('{') || below.starts_with(is_of_a_word) => {
                rest = below;
            }
            _ => {
                found.push(base);
                return &rest[name.len()..];
            }
        }
    }
}

/// Whether the line that `path` (the rest of `statement`) begins in is a comment.
fn is_comment(statement: &str, path: &str) -> bool {
    let before = &statement[..statement.len() - path.len()];
    let line = before.rsplit('\n').next().unwrap_or_default();
    line.trim_start().starts_with("//")
}

fn word(path: &str) -> &str {
    let end = path
        .find(|letter| !is_of_a_word(letter))
        .unwrap_or(path.len());
    &path[..end]
}

fn is_of_a_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn rank(room: &str) -> Option<u8> {
    RANKS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, rank)| *rank)
}

/// Files of these kinds below these folders, or these files themselves; what is built or fetched is
/// left out.
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
