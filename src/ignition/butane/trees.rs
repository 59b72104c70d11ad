//! `storage.trees`: directories of local files, embedded file by file.

use std::ffi::{OsStr, OsString};

use crate::ignition::butane::confined::{Directory, Nature, Place};
use crate::ignition::butane::desugar::{Desugar, NODE_EXISTS, TakenPaths, set_contents};
use crate::ignition::butane::files::failed;
use crate::ignition::config::fields::{DIRECTORY, FILE, LINK};
use crate::ignition::config::report::Problems;
use crate::ignition::config::{Object, Path, Shape, Value};
use crate::text::go::{clean, lossy};

const ROOT_NOT_DIRECTORY: &str = "root of tree must be a directory";
const NOT_A_FILE: &str = "trees may only contain files, directories, and symlinks";
/// Directories inside each other beyond this are refused: each one stays open while those below it
/// are walked.
const DEPTH_MAX: usize = 200;

/// Embeds all trees, in order, after everything that the user listed.
pub(crate) fn add_trees(config: &mut Object, desugar: &mut Desugar<'_>) {
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
    let mut taken = TakenPaths::of(storage);
    for (index, tree) in trees.iter().enumerate() {
        let blame = Path::of(&["storage", "trees"]).index(index);
        if let Err(message) = desugar.files.check_given() {
            desugar.problems.error(blame, message);
            return;
        }
        match tree_root(tree, desugar) {
            Ok((root, place)) => {
                let mut walk = Walk {
                    tree,
                    blame,
                    base: tree.filled("path").unwrap_or("/"),
                    taken: &mut taken,
                    storage,
                    open: Vec::new(),
                };
                walk.all(root, &place, desugar);
            }
            Err(message) => desugar.problems.error(blame, message),
        }
    }
}

/// Path and place of a tree. If its root is a link, the tree is that link alone, as in the
/// reference.
fn tree_root(tree: &Object, desugar: &Desugar<'_>) -> Result<(String, Place), String> {
    let root = desugar.files.path_of(tree.name("local"))?;
    let place = desugar.files.find(&root, "stat", true)?;
    if place.nature != Nature::Directory {
        return Err(ROOT_NOT_DIRECTORY.to_owned());
    }
    let place = desugar.files.find(&root, "lstat", false)?;
    Ok((root, place))
}

struct Walk<'a> {
    tree: &'a Object,
    blame: Path,
    base: &'a str,
    taken: &'a mut TakenPaths,
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
    /// Its path on the machine.
    target: String,
}

impl Walk<'_> {
    /// Everything in the tree, each directory before what is in it.
    fn all(&mut self, root: String, place: &Place, desugar: &mut Desugar<'_>) {
        let target = clean(&format!("{}/", self.base));
        if !self.entry(root, target, place, desugar) {
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
                    if !self.entry(source, target, &place, desugar) {
                        return;
                    }
                }
                Err(error) => {
                    self.fail(failed("lstat", &source, &error), &mut desugar.problems);
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
        desugar: &mut Desugar<'_>,
    ) -> bool {
        match desugar.files.count_entry() {
            Ok(true) => {}
            Ok(false) => return false,
            Err(message) => {
                self.fail(message, &mut desugar.problems);
                return false;
            }
        }
        match place.nature {
            Nature::Directory => self.directory(source, target, place, desugar),
            Nature::File { executable } => self.file(&source, target, place, executable, desugar),
            Nature::Link => self.link(&source, target, place, desugar),
            Nature::Other => self.fail(NOT_A_FILE.to_owned(), &mut desugar.problems),
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
        desugar: &mut Desugar<'_>,
    ) {
        let owned = ["user", "group"]
            .iter()
            .any(|owner| self.tree.object(owner).is_some_and(|o| !o.is_empty()));
        if owned || self.tree.is_set("dir_mode") {
            if self.taken.has(&target) {
                self.fail(NODE_EXISTS.to_owned(), &mut desugar.problems);
                // The walk goes on: what is in it may be reported, too.
            } else {
                let mut directory = self.node(&DIRECTORY, target.clone(), desugar);
                directory.set(
                    "mode",
                    Value::Int(self.tree.int("dir_mode").unwrap_or(0o755)),
                );
                self.taken.add(self.storage, directory);
            }
        }
        if self.open.len() >= DEPTH_MAX {
            let message = format!("tree of more than {DEPTH_MAX} directories inside each other");
            return self.fail(message, &mut desugar.problems);
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
            Err(error) => self.fail(failed("open", &source, &error), &mut desugar.problems),
        }
    }

    fn file(
        &mut self,
        source: &str,
        target: String,
        place: &Place,
        executable: bool,
        desugar: &mut Desugar<'_>,
    ) {
        let completed = self.taken.file(&target).filter(|index| {
            let file = &self.storage.objects("files")[*index];
            file.object("contents")
                .is_none_or(|contents| contents.filled("source").is_none())
        });
        if completed.is_none() && self.taken.has(&target) {
            return self.fail(NODE_EXISTS.to_owned(), &mut desugar.problems);
        }
        // A file that cannot be read takes its place all the same.
        let (index, is_new) = match completed {
            Some(index) => (index, false),
            None => {
                let file = self.node(&FILE, target, desugar);
                self.taken.add(self.storage, file);
                (self.storage.objects("files").len() - 1, true)
            }
        };
        let bytes = match desugar.files.read_at(place, source) {
            Ok(bytes) => bytes,
            Err(message) => return self.fail(message, &mut desugar.problems),
        };
        let mode = if executable { 0o755 } else { 0o644 };
        let file = &mut self.storage.objects_mut("files")[index];
        let contents = file.object_mut("contents");
        set_contents(contents, &bytes, self.blame.clone(), desugar);
        if is_new {
            contents.source = desugar.blame_whole(self.blame.clone());
        }
        if !file.is_set("mode") {
            file.set(
                "mode",
                Value::Int(self.tree.int("file_mode").unwrap_or(mode)),
            );
            file.field_sources
                .push(desugar.blame("mode", self.blame.clone()));
        }
    }

    fn link(&mut self, source: &str, target: String, place: &Place, desugar: &mut Desugar<'_>) {
        let completed = self.taken.link(&target).filter(|index| {
            let link = &self.storage.objects("links")[*index];
            link.filled("target").is_none()
        });
        if completed.is_none() && self.taken.has(&target) {
            return self.fail(NODE_EXISTS.to_owned(), &mut desugar.problems);
        }
        let text = match place.target() {
            Ok(target) => Value::Text(text(&target)),
            Err(error) => {
                return self.fail(failed("readlink", source, &error), &mut desugar.problems);
            }
        };
        if let Some(index) = completed {
            let link = &mut self.storage.objects_mut("links")[index];
            link.set("target", text);
            link.field_sources
                .push(desugar.blame("target", self.blame.clone()));
            return;
        }
        let mut link = self.node(&LINK, target, desugar);
        link.set("target", text);
        self.taken.add(self.storage, link);
    }

    /// A node of this tree: its path, its owner, its blame.
    fn node(&self, shape: &'static Shape, target: String, desugar: &Desugar<'_>) -> Object {
        let mut node = Object::new(shape);
        node.set("path", Value::Text(target));
        node.source = desugar.blame_whole(self.blame.clone());
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
