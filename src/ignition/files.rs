//! Local files: read below `files_dir` and nowhere else.
//!
//! The reference keeps to the directory by the path's text alone and follows symbolic links wherever they lead. Here a link that leaves
//! the directory is refused like a `..` that does: a named exception.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Where `local:` and `trees:` are looked for, and how much may still be read.
pub(crate) struct Files {
    root: Option<Root>,
    left: Cell<u64>,
}

struct Root {
    /// As given.
    given: String,
    /// With all links resolved; `None` when it does not exist.
    real: Option<PathBuf>,
}

/// Bytes that one rendering may read: user data of this size fits no platform.
const BYTES_MAX: u64 = 48 << 20;

const NO_FILES_DIR: &str =
    "local file paths are relative to a files directory that must be specified with -d/--files-dir";
const OUTSIDE: &str = "local file path traverses outside the files directory";

impl Files {
    pub(crate) fn new(files_dir: Option<&Path>) -> Self {
        let root = files_dir
            .filter(|dir| !dir.as_os_str().is_empty())
            .map(|dir| Root {
                given: dir.to_string_lossy().into_owned(),
                real: fs::canonicalize(dir).ok(),
            });
        Self {
            root,
            left: Cell::new(BYTES_MAX),
        }
    }

    /// That there is a directory at all.
    pub(crate) fn check_given(&self) -> Result<(), String> {
        self.root
            .as_ref()
            .map(|_| ())
            .ok_or_else(|| NO_FILES_DIR.to_owned())
    }

    /// `a/../b` below the files directory, as a cleaned path; refused when its text leads out.
    pub(crate) fn path_of(&self, local: &str) -> Result<String, String> {
        let root = self.root.as_ref().ok_or_else(|| NO_FILES_DIR.to_owned())?;
        let joined = clean(&format!("{}/{local}", root.given));
        let (inside, dir) = (absolute(&joined), absolute(&root.given));
        match inside == dir || inside.starts_with(&format!("{dir}/")) {
            true => Ok(joined),
            false => Err(OUTSIDE.to_owned()),
        }
    }

    /// The bytes of a local file, or the reference's words for why there are none.
    pub(crate) fn read(&self, local: &str) -> Result<Vec<u8>, String> {
        self.read_at(&self.path_of(local)?)
    }

    /// The same for a path from [`Self::path_of`] or from below it.
    pub(crate) fn read_at(&self, path: &str) -> Result<Vec<u8>, String> {
        self.check_real(path)?;
        let failed = |what: &str, error: &io::Error| format!("{what} {path}: {}", reason(error));
        let metadata = fs::metadata(path).map_err(|e| failed("open", &e))?;
        if metadata.is_dir() {
            File::open(path).map_err(|e| failed("open", &e))?;
            return Err(format!("read {path}: is a directory"));
        }
        if !metadata.is_file() {
            return Err(format!("open {path}: no such device or address"));
        }
        if metadata.len() > self.left.get() {
            return Err(format!(
                "{path} has {} bytes: a config may embed {} bytes of local files in all",
                metadata.len(),
                BYTES_MAX
            ));
        }
        let mut bytes = Vec::new();
        File::open(path)
            .map_err(|e| failed("open", &e))?
            .take(self.left.get())
            .read_to_end(&mut bytes)
            .map_err(|e| failed("read", &e))?;
        self.left.set(self.left.get() - bytes.len() as u64);
        Ok(bytes)
    }

    /// That no symbolic link on the way leaves the directory. What does not exist is for the reader to tell.
    pub(crate) fn check_real(&self, path: &str) -> Result<(), String> {
        let root = self.root.as_ref().and_then(|root| root.real.as_ref());
        match (root, fs::canonicalize(path)) {
            (Some(root), Ok(real)) if !real.starts_with(root) => Err(OUTSIDE.to_owned()),
            _ => Ok(()),
        }
    }
}

/// A failed call's reason as Go words it.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// A path without `//`, `.`, `..` where they can be resolved by text alone; "." for nothing.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        return clean(path);
    }
    let here = std::env::current_dir().unwrap_or_default();
    clean(&format!("{}/{path}", here.to_string_lossy()))
}
