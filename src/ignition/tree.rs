//! `storage.trees`: directories of local files, embedded file by file.

use std::collections::HashMap;
use std::fs::{self, Metadata};

use crate::ignition::butane::{DIRECTORY, FILE, LINK};
use crate::ignition::config::{Object, Path, Value};
use crate::ignition::files::{clean, reason};
use crate::ignition::report::Problems;
use crate::ignition::sugar::{Kitchen, path, set_contents};

pub(crate) const NODE_EXISTS: &str =
    "matching filesystem node has existing contents or different type";
const ROOT_NOT_DIRECTORY: &str = "root of tree must be a directory";
const NOT_A_FILE: &str = "trees may only contain files, directories, and symlinks";
/// A tree of more entries is refused: no user data holds them.
const ENTRIES_MAX: usize = 100_000;

/// The paths that a config already has, and where.
pub(crate) struct Nodes {
    files: HashMap<String, usize>,
    links: HashMap<String, usize>,
    directories: HashMap<String, usize>,
}

impl Nodes {
    pub(crate) fn of(storage: &Object) -> Self {
        let of = |list: &str| {
            let nodes = storage.objects(list).iter().enumerate();
            nodes
                .map(|(index, node)| (node.name("path").to_owned(), index))
                .collect()
        };
        Self {
            files: of("files"),
            links: of("links"),
            directories: of("directories"),
        }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        [&self.files, &self.links, &self.directories]
            .iter()
            .any(|nodes| nodes.contains_key(path))
    }

    /// Appends a node to its list.
    pub(crate) fn add(&mut self, storage: &mut Object, node: Object) {
        let (list, nodes) = match node.shape.name {
            "File" => ("files", &mut self.files),
            "Link" => ("links", &mut self.links),
            _ => ("directories", &mut self.directories),
        };
        let list = storage.objects_mut(list);
        nodes.insert(node.name("path").to_owned(), list.len());
        list.push(node);
    }
}

/// Embeds all trees, in order, after everything that the user listed.
pub(crate) fn add_trees(config: &mut Object, kitchen: &mut Kitchen<'_>) {
    if config
        .object("storage")
        .is_none_or(|storage| storage.objects("trees").is_empty())
    {
        return;
    }
    let storage = config.object_mut("storage");
    let Value::Objects(trees) = storage.take("trees") else {
        return;
    };
    let mut nodes = Nodes::of(storage);
    for (index, tree) in trees.iter().enumerate() {
        let blame = path(&["storage", "trees"]).index(index);
        if let Err(message) = kitchen.files.check_given() {
            kitchen.problems.error(blame, message);
            return;
        }
        match tree_root(tree, kitchen) {
            Ok(root) => {
                let mut walk = Walk {
                    tree,
                    blame,
                    base: tree.filled("path").unwrap_or("/"),
                    root: &root,
                    entries: 0,
                    nodes: &mut nodes,
                    storage,
                };
                walk.entry(&root, kitchen);
            }
            Err(message) => kitchen.problems.error(blame, message),
        }
    }
}

fn tree_root(tree: &Object, kitchen: &Kitchen<'_>) -> Result<String, String> {
    let root = kitchen.files.path_of(tree.name("local"))?;
    kitchen.files.check_real(&root)?;
    let metadata = fs::metadata(&root).map_err(|e| format!("stat {root}: {}", reason(&e)))?;
    match metadata.is_dir() {
        true => Ok(root),
        false => Err(ROOT_NOT_DIRECTORY.to_owned()),
    }
}

struct Walk<'a> {
    tree: &'a Object,
    blame: Path,
    base: &'a str,
    root: &'a str,
    entries: usize,
    nodes: &'a mut Nodes,
    storage: &'a mut Object,
}

impl Walk<'_> {
    fn entry(&mut self, source: &str, kitchen: &mut Kitchen<'_>) {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            if self.entries == ENTRIES_MAX + 1 {
                self.fail(
                    format!("tree of more than {ENTRIES_MAX} entries"),
                    &mut kitchen.problems,
                );
            }
            return;
        }
        let metadata = match fs::symlink_metadata(source) {
            Ok(metadata) => metadata,
            Err(error) => {
                return self.fail(
                    format!("lstat {source}: {}", reason(&error)),
                    &mut kitchen.problems,
                );
            }
        };
        let relative = source.strip_prefix(self.root).unwrap_or_default();
        let target = clean(&format!("{}/{relative}", self.base));
        let kind = metadata.file_type();
        if kind.is_dir() {
            self.directory(source, target, kitchen);
        } else if kind.is_file() {
            self.file(source, target, &metadata, kitchen);
        } else if kind.is_symlink() {
            self.link(source, target, kitchen);
        } else {
            self.fail(NOT_A_FILE.to_owned(), &mut kitchen.problems);
        }
    }

    fn fail(&self, message: String, problems: &mut Problems) {
        problems.error(self.blame.clone(), message);
    }

    fn directory(&mut self, source: &str, target: String, kitchen: &mut Kitchen<'_>) {
        let owned = ["user", "group"]
            .iter()
            .any(|owner| self.tree.object(owner).is_some_and(|o| !o.is_empty()));
        if owned || self.tree.is_set("dir_mode") {
            if self.nodes.has(&target) {
                self.fail(NODE_EXISTS.to_owned(), &mut kitchen.problems);
                // The walk goes on below.
            } else {
                let mut directory = self.node(&DIRECTORY, target, kitchen);
                directory.set(
                    "mode",
                    Value::Int(self.tree.int("dir_mode").unwrap_or(0o755)),
                );
                self.nodes.add(self.storage, directory);
            }
        }
        let entries = fs::read_dir(source).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut names = match entries {
            Ok(entries) => entries
                .into_iter()
                .map(|e| e.file_name())
                .collect::<Vec<_>>(),
            Err(error) => {
                return self.fail(
                    format!("open {source}: {}", reason(&error)),
                    &mut kitchen.problems,
                );
            }
        };
        names.sort();
        for name in names {
            self.entry(
                &clean(&format!("{source}/{}", name.to_string_lossy())),
                kitchen,
            );
        }
    }

    fn file(
        &mut self,
        source: &str,
        target: String,
        metadata: &Metadata,
        kitchen: &mut Kitchen<'_>,
    ) {
        let completed = self.nodes.files.get(&target).copied().filter(|index| {
            let file = &self.storage.objects("files")[*index];
            file.object("contents")
                .is_none_or(|contents| contents.filled("source").is_none())
        });
        if completed.is_none() && self.nodes.has(&target) {
            return self.fail(NODE_EXISTS.to_owned(), &mut kitchen.problems);
        }
        // A file that cannot be read is in its place all the same.
        let (index, is_new) = match completed {
            Some(index) => (index, false),
            None => {
                let file = self.node(&FILE, target, kitchen);
                self.nodes.add(self.storage, file);
                (self.storage.objects("files").len() - 1, true)
            }
        };
        let bytes = match kitchen.files.read_at(source) {
            Ok(bytes) => bytes,
            Err(message) => return self.fail(message, &mut kitchen.problems),
        };
        let mode = if is_executable(metadata) {
            0o755
        } else {
            0o644
        };
        let file = &mut self.storage.objects_mut("files")[index];
        let contents = file.object_mut("contents");
        set_contents(contents, &bytes, self.blame.clone(), kitchen);
        if is_new {
            contents.source = kitchen.blame_whole(self.blame.clone());
        }
        if !file.is_set("mode") {
            file.set(
                "mode",
                Value::Int(self.tree.int("file_mode").unwrap_or(mode)),
            );
            file.field_sources
                .push(kitchen.blame("mode", self.blame.clone()));
        }
    }

    fn link(&mut self, source: &str, target: String, kitchen: &mut Kitchen<'_>) {
        let completed = self.nodes.links.get(&target).copied().filter(|index| {
            let link = &self.storage.objects("links")[*index];
            link.filled("target").is_none()
        });
        if completed.is_none() && self.nodes.has(&target) {
            return self.fail(NODE_EXISTS.to_owned(), &mut kitchen.problems);
        }
        let text = match fs::read_link(source) {
            Ok(text) => Value::Text(text.to_string_lossy().into_owned()),
            Err(error) => {
                return self.fail(
                    format!("readlink {source}: {}", reason(&error)),
                    &mut kitchen.problems,
                );
            }
        };
        if let Some(index) = completed {
            let link = &mut self.storage.objects_mut("links")[index];
            link.set("target", text);
            link.field_sources
                .push(kitchen.blame("target", self.blame.clone()));
            return;
        }
        let mut link = self.node(&LINK, target, kitchen);
        link.set("target", text);
        self.nodes.add(self.storage, link);
    }

    /// A node of this tree: its path, its owner, its blame.
    fn node(
        &self,
        shape: &'static crate::ignition::config::Shape,
        target: String,
        kitchen: &Kitchen<'_>,
    ) -> Object {
        let mut node = Object::new(shape);
        node.set("path", Value::Text(target));
        node.source = kitchen.blame_whole(self.blame.clone());
        for owner in ["user", "group"] {
            if let Some(object) = self.tree.object(owner) {
                node.set(owner, Value::Object(object.clone()));
            }
        }
        node
    }
}

#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    false
}
