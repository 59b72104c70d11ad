//! `storage.trees`: directories of local files, embedded file by file.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use crate::ignition::butane::confined::{Directory, Nature, Place};
use crate::ignition::butane::decode::lossy;
use crate::ignition::butane::files::{clean, failed};
use crate::ignition::butane::sugar::{Kitchen, path, set_contents};
use crate::ignition::config::fields::{DIRECTORY, FILE, LINK};
use crate::ignition::config::report::Problems;
use crate::ignition::config::{Object, Path, Value};

pub(crate) const NODE_EXISTS: &str =
    "matching filesystem node has existing contents or different type";
const ROOT_NOT_DIRECTORY: &str = "root of tree must be a directory";
const NOT_A_FILE: &str = "trees may only contain files, directories, and symlinks";
/// Directories inside each other beyond this are refused: each one stays open while those below it are walked.
const DEPTH_MAX: usize = 200;

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
            Ok((root, place)) => {
                let mut walk = Walk {
                    tree,
                    blame,
                    base: tree.filled("path").unwrap_or("/"),
                    nodes: &mut nodes,
                    storage,
                    open: Vec::new(),
                };
                walk.all(root, &place, kitchen);
            }
            Err(message) => kitchen.problems.error(blame, message),
        }
    }
}

/// Path and place of a tree. One that a link stands for is that link alone, as for the reference.
fn tree_root(tree: &Object, kitchen: &Kitchen<'_>) -> Result<(String, Place), String> {
    let root = kitchen.files.path_of(tree.name("local"))?;
    let place = kitchen.files.find(&root, "stat", true)?;
    if place.nature != Nature::Directory {
        return Err(ROOT_NOT_DIRECTORY.to_owned());
    }
    let place = kitchen.files.find(&root, "lstat", false)?;
    Ok((root, place))
}

struct Walk<'a> {
    tree: &'a Object,
    blame: Path,
    base: &'a str,
    nodes: &'a mut Nodes,
    storage: &'a mut Object,
    /// The directories on the way down.
    open: Vec<Open>,
}

/// A directory that is not at its end yet.
struct Open {
    directory: Directory,
    names: std::vec::IntoIter<OsString>,
    /// Its path, for messages.
    source: String,
    /// Where it comes to stand.
    target: String,
}

impl Walk<'_> {
    /// Everything in the tree, each directory before what is in it.
    fn all(&mut self, root: String, place: &Place, kitchen: &mut Kitchen<'_>) {
        let target = clean(&format!("{}/", self.base));
        if !self.entry(root, target, place, kitchen) {
            return;
        }
        while let Some(innermost) = self.open.last_mut() {
            let Some(name) = innermost.names.next() else {
                self.open.pop();
                continue;
            };
            let source = clean(&format!("{}/{}", innermost.source, name.to_string_lossy()));
            let target = clean(&format!("{}/{}", innermost.target, text(&name)));
            match innermost.directory.place(name) {
                Ok(place) => {
                    if !self.entry(source, target, &place, kitchen) {
                        return;
                    }
                }
                Err(error) => {
                    self.fail(failed("lstat", &source, &error), &mut kitchen.problems);
                }
            }
        }
    }

    /// One entry; whether to go on after it.
    fn entry(
        &mut self,
        source: String,
        target: String,
        place: &Place,
        kitchen: &mut Kitchen<'_>,
    ) -> bool {
        match kitchen.files.count_entry() {
            Ok(true) => {}
            Ok(false) => return false,
            Err(message) => {
                self.fail(message, &mut kitchen.problems);
                return false;
            }
        }
        match place.nature {
            Nature::Directory => self.directory(source, target, place, kitchen),
            Nature::File { executable } => self.file(&source, target, place, executable, kitchen),
            Nature::Link => self.link(&source, target, place, kitchen),
            Nature::Other => self.fail(NOT_A_FILE.to_owned(), &mut kitchen.problems),
        }
        true
    }

    fn fail(&self, message: String, problems: &mut Problems) {
        problems.error(self.blame.clone(), message);
    }

    fn directory(
        &mut self,
        source: String,
        target: String,
        place: &Place,
        kitchen: &mut Kitchen<'_>,
    ) {
        let owned = ["user", "group"]
            .iter()
            .any(|owner| self.tree.object(owner).is_some_and(|o| !o.is_empty()));
        if owned || self.tree.is_set("dir_mode") {
            if self.nodes.has(&target) {
                self.fail(NODE_EXISTS.to_owned(), &mut kitchen.problems);
                // The walk goes on below.
            } else {
                let mut directory = self.node(&DIRECTORY, target.clone(), kitchen);
                directory.set(
                    "mode",
                    Value::Int(self.tree.int("dir_mode").unwrap_or(0o755)),
                );
                self.nodes.add(self.storage, directory);
            }
        }
        if self.open.len() >= DEPTH_MAX {
            let message = format!("tree of more than {DEPTH_MAX} directories inside each other");
            return self.fail(message, &mut kitchen.problems);
        }
        let listed = place.directory().and_then(|directory| {
            let names = directory.names()?;
            Ok((directory, names.into_iter()))
        });
        match listed {
            Ok((directory, names)) => self.open.push(Open {
                directory,
                names,
                source,
                target,
            }),
            Err(error) => self.fail(failed("open", &source, &error), &mut kitchen.problems),
        }
    }

    fn file(
        &mut self,
        source: &str,
        target: String,
        place: &Place,
        executable: bool,
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
        let bytes = match kitchen.files.read_at(place, source) {
            Ok(bytes) => bytes,
            Err(message) => return self.fail(message, &mut kitchen.problems),
        };
        let mode = if executable { 0o755 } else { 0o644 };
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

    fn link(&mut self, source: &str, target: String, place: &Place, kitchen: &mut Kitchen<'_>) {
        let completed = self.nodes.links.get(&target).copied().filter(|index| {
            let link = &self.storage.objects("links")[*index];
            link.filled("target").is_none()
        });
        if completed.is_none() && self.nodes.has(&target) {
            return self.fail(NODE_EXISTS.to_owned(), &mut kitchen.problems);
        }
        let text = match place.target() {
            Ok(target) => Value::Text(text(&target)),
            Err(error) => {
                return self.fail(failed("readlink", source, &error), &mut kitchen.problems);
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

/// A name of the file system as the reference reads it.
fn text(name: &OsStr) -> String {
    lossy(name.as_encoded_bytes())
}
