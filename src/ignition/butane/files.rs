//! Local files: read below `files_dir` and nowhere else.
//!
//! The reference keeps to the directory by the path's text alone and follows symbolic links
//! wherever they lead. Here a link that leaves the directory is refused like a `..` that does: a
//! named exception. What is judged is what was opened, not its path.

use std::cell::Cell;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use crate::ignition::butane::confined::{Directory, Nature, Place, Unreachable};
use crate::text::go::clean;

/// Where `local:` and `trees:` are looked for, and how much may still be read.
pub(crate) struct Files {
    root: Option<Root>,
    bytes_left: Cell<u64>,
    entries_left: Cell<usize>,
}

struct Root {
    /// The path as it was given, in its simplest form.
    given: String,
    directory: io::Result<Directory>,
}

/// Bytes that one rendering may read: user data of this size fits no platform.
const BYTES_MAX: u64 = 48 << 20;
/// Entries that the trees of one rendering may have.
const ENTRIES_MAX: usize = 100_000;

const NO_FILES_DIR: &str =
    "local file paths are relative to a files directory that must be specified with -d/--files-dir";
const OUTSIDE: &str = "local file path traverses outside the files directory";

impl Files {
    pub(crate) fn new(files_dir: Option<&Path>) -> Self {
        let root = files_dir
            .filter(|dir| !dir.as_os_str().is_empty())
            .map(|dir| {
                let given = clean(&dir.to_string_lossy());
                Root {
                    directory: Directory::open(&given),
                    given,
                }
            });
        Self {
            root,
            bytes_left: Cell::new(BYTES_MAX),
            entries_left: Cell::new(ENTRIES_MAX),
        }
    }

    /// Checks that a directory was given.
    pub(crate) fn check_given(&self) -> Result<(), String> {
        self.root().map(|_| ())
    }

    fn root(&self) -> Result<&Root, String> {
        self.root.as_ref().ok_or_else(|| NO_FILES_DIR.to_owned())
    }

    /// `a/../b` below the files directory, as a cleaned path; refused when its text leads out.
    pub(crate) fn path_of(&self, local: &str) -> Result<String, String> {
        let root = self.root()?;
        let joined = clean(&format!("{}/{local}", root.given));
        match below(&joined, &root.given) {
            Some(_) => Ok(joined),
            None => Err(OUTSIDE.to_owned()),
        }
    }

    /// The bytes of a local file, or the reference's words for why there are none.
    pub(crate) fn read(&self, local: &str) -> Result<Vec<u8>, String> {
        let path = self.path_of(local)?;
        let place = self.find(&path, "open", true)?;
        self.read_at(&place, &path)
    }

    /// What stands at a path from [`Self::path_of`]; `call` is the one that fails, in the
    /// reference's words.
    pub(crate) fn find(&self, path: &str, call: &str, through: bool) -> Result<Place, String> {
        let root = self.root()?;
        let below = below(path, &root.given).ok_or_else(|| OUTSIDE.to_owned())?;
        let directory = root
            .directory
            .as_ref()
            .map_err(|error| failed(call, path, error))?;
        directory
            .find(&below, through)
            .map_err(|unreachable| match unreachable {
                // A path that leads to nothing is reported in the reference's words.
                Unreachable::Outside => match fs::metadata(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        failed(call, path, &error)
                    }
                    _ => OUTSIDE.to_owned(),
                },
                Unreachable::Failed(error) => failed(call, path, &error),
            })
    }

    /// The bytes of a file that was found.
    pub(crate) fn read_at(&self, place: &Place, path: &str) -> Result<Vec<u8>, String> {
        if place.nature == Nature::Directory {
            place
                .directory()
                .and_then(|directory| directory.names())
                .map_err(|error| failed("open", path, &error))?;
            return Err(format!("read {path}: is a directory"));
        }
        let file = place.file().map_err(|error| failed("open", path, &error))?;
        let (left, mut bytes) = (self.bytes_left.get(), Vec::new());
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length <= left {
            // A file may grow while it is read, and some report that they are empty.
            file.take(left + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| failed("read", path, &error))?;
        }
        let length = length.max(bytes.len() as u64);
        let Some(left) = left.checked_sub(length) else {
            return Err(format!(
                "{path} has {length} bytes: a config may embed {BYTES_MAX} bytes of local files in all"
            ));
        };
        self.bytes_left.set(left);
        Ok(bytes)
    }

    /// Counts an entry of a tree.
    /// # Errors
    /// When there are too many. Later calls answer `false`: nothing more is to be walked.
    pub(crate) fn count_entry(&self) -> Result<bool, String> {
        match self.entries_left.get() {
            0 => Ok(false),
            1 => {
                self.entries_left.set(0);
                Err(format!("trees of more than {ENTRIES_MAX} entries in all"))
            }
            left => {
                self.entries_left.set(left - 1);
                Ok(true)
            }
        }
    }
}

/// The rest of a path that begins with a directory's.
fn below(path: &str, directory: &str) -> Option<String> {
    let (inside, directory) = (absolute(path), absolute(directory));
    let rest = inside.strip_prefix(&directory)?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest.to_owned()),
        None if rest.is_empty() => Some(String::new()),
        None if directory.ends_with('/') => Some(rest.to_owned()),
        None => None,
    }
}

/// A call that failed, in the reference's words.
pub(crate) fn failed(call: &str, path: &str, error: &io::Error) -> String {
    format!("{call} {path}: {}", reason(error))
}

/// A failed call's reason as Go words it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        return clean(path);
    }
    let here = std::env::current_dir().unwrap_or_default();
    clean(&format!("{}/{path}", here.to_string_lossy()))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_files_dir_by_way_of_what_is_not_there_is_as_narrow_as_any() {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().join("d");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), "inside").unwrap();
        fs::write(around.path().join("secret"), "secret").unwrap();
        symlink("../secret", root.join("link")).unwrap();
        for given in [
            root.clone(),
            around.path().join("nope/../d"),
            root.join("."),
            root.join("nope/.."),
        ] {
            let files = Files::new(Some(&given));
            assert_eq!(files.read("file").as_deref(), Ok(&b"inside"[..]));
            assert_eq!(files.read("link"), Err(OUTSIDE.to_owned()), "{given:?}");
        }
        let missing = root.join("nope");
        let answer = Files::new(Some(&missing)).read("file");
        let path = missing.display();
        assert_eq!(
            answer,
            Err(format!("open {path}/file: no such file or directory"))
        );
    }

    #[test]
    fn what_grows_while_it_is_read_or_hides_its_size_is_not_cut_off() {
        let files = Files::new(Some(Path::new("/proc/self")));
        // It says that it has 0 bytes.
        assert!(files.read("status").is_ok_and(|bytes| !bytes.is_empty()));
        let files = Files::new(Some(Path::new("/proc/self")));
        files.bytes_left.set(10);
        assert!(
            files
                .read("status")
                .is_err_and(|answer| answer.contains("bytes of local files in all"))
        );
    }
}
