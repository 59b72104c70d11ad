//! A directory that no name and no symbolic link leads out of.
//!
//! `Directory::open("conf")`, then `find("etc/motd", true)` gives a [`Place`] whose nature is that
//! of what is opened: the way there is gone name by name from one open directory to the next, so
//! that nothing can be put in its place in between. A link is followed as long as it stays inside.
//! Where the system cannot do that (Windows), paths are checked and then opened.

use std::ffi::OsString;
use std::fs::File;
use std::io;

#[cfg(not(unix))]
use self::by_path as system;
#[cfg(unix)]
use self::step_by_step as system;

/// An open directory.
pub(crate) struct Directory(system::Handle);

/// Where something is: the directory that holds it, and its name there.
pub(crate) struct Place {
    directory: Directory,
    /// `None` stands for the directory itself.
    name: Option<OsString>,
    pub(crate) nature: Nature,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Directory,
    File {
        /// Its owner, its group or all may execute it.
        executable: bool,
    },
    Link,
    /// A socket, a pipe, a device.
    Other,
}

/// Why nothing was found.
pub(crate) enum Unreachable {
    /// The way leads out of the directory.
    Outside,
    Failed(io::Error),
}

impl From<io::Error> for Unreachable {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Links on one way beyond this are a circle, as for the system.
const LINKS_MAX: usize = 40;

impl Directory {
    /// Opens a directory by its path, whatever links are on the way to it.
    /// # Errors
    /// The system's.
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        system::Handle::open(path).map(Self)
    }

    /// Finds `a/b/c` below. A link at its very end is followed only when `through` says so; every
    /// other one is.
    /// # Errors
    /// When it is not there, or not below.
    pub(crate) fn find(&self, below: &str, through: bool) -> Result<Place, Unreachable> {
        self.0.find(below, through)
    }

    /// What is in it, by name and in order.
    /// # Errors
    /// The system's.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = self.0.names()?;
        names.sort();
        Ok(names)
    }

    /// What has this name in it.
    /// # Errors
    /// The system's.
    pub(crate) fn place(&self, name: OsString) -> io::Result<Place> {
        Ok(Place {
            nature: self.0.nature(&name)?,
            directory: Self(self.0.another()?),
            name: Some(name),
        })
    }
}

impl Place {
    /// Opens a file for reading.
    /// # Errors
    /// The system's; one when it is no file, or no longer.
    pub(crate) fn file(&self) -> io::Result<File> {
        match &self.name {
            Some(name) => self.directory.0.file(name),
            None => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Opens a directory.
    /// # Errors
    /// The system's; one when it is no directory, or no longer.
    pub(crate) fn directory(&self) -> io::Result<Directory> {
        match &self.name {
            Some(name) => self.directory.0.directory(name).map(Directory),
            None => self.directory.0.another().map(Directory),
        }
    }

    /// The text of a link.
    /// # Errors
    /// The system's.
    pub(crate) fn target(&self) -> io::Result<OsString> {
        match &self.name {
            Some(name) => self.directory.0.target(name),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

#[cfg(unix)]
mod step_by_step {
    use std::collections::VecDeque;
    use std::ffi::{OsStr, OsString};
    use std::fs::File;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Component, Path, PathBuf};

    use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};
    use rustix::io::Errno;

    use super::{Directory, LINKS_MAX, Nature, Place, Unreachable};

    /// A directory to go on from needs no right to be listed.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const PASSING: OFlags = OFlags::PATH;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const PASSING: OFlags = OFlags::RDONLY;

    pub(super) struct Handle {
        directory: OwnedFd,
        /// Its absolute paths, for links that name one: as given, and without links. Empty for one
        /// that was found.
        paths: Vec<PathBuf>,
    }

    impl Handle {
        pub(super) fn open(path: &str) -> io::Result<Self> {
            let flags = PASSING | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = openat(rustix::fs::CWD, path, flags, Mode::empty())?;
            let paths = [std::path::absolute(path), std::fs::canonicalize(path)];
            Ok(Self {
                directory,
                paths: paths.into_iter().flatten().collect(),
            })
        }

        pub(super) fn another(&self) -> io::Result<Self> {
            Ok(Self {
                directory: self.directory.try_clone()?,
                paths: Vec::new(),
            })
        }

        pub(super) fn find(&self, below: &str, through: bool) -> Result<Place, Unreachable> {
            let mut way: VecDeque<OsString> = below.split('/').map(OsString::from).collect();
            let mut passed: Vec<Self> = Vec::new();
            let mut links = 0;
            while let Some(name) = way.pop_front() {
                if name.is_empty() || name == "." {
                    continue;
                }
                if name == ".." {
                    passed.pop().ok_or(Unreachable::Outside)?;
                    continue;
                }
                let here = passed.last().unwrap_or(self);
                let is_last = way.iter().all(|name| name.is_empty() || name == ".");
                if is_last {
                    let nature = here.nature(&name)?;
                    if nature != Nature::Link || !through {
                        return Ok(Place {
                            directory: Directory(here.another()?),
                            name: Some(name),
                            nature,
                        });
                    }
                } else {
                    match here.directory(&name) {
                        Ok(next) => {
                            passed.push(next);
                            continue;
                        }
                        // It is no link, so the error says why the way ends here.
                        Err(error) if here.target(&name).is_err() => return Err(error.into()),
                        Err(_) => {}
                    }
                }
                links += 1;
                if links > LINKS_MAX {
                    return Err(io::Error::from(Errno::LOOP).into());
                }
                let target = PathBuf::from(here.target(&name)?);
                let target = match target.is_absolute() {
                    true => {
                        passed.clear();
                        self.below(&target).ok_or(Unreachable::Outside)?
                    }
                    false => target,
                };
                for part in target.components().rev() {
                    way.push_front(part.as_os_str().to_owned());
                }
            }
            Ok(Place {
                directory: Directory(passed.last().unwrap_or(self).another()?),
                name: None,
                nature: Nature::Directory,
            })
        }

        /// The rest of an absolute path that begins with this directory's.
        fn below(&self, target: &Path) -> Option<PathBuf> {
            // The system reads `..` as text does only where no link stands before it.
            if target.components().any(|part| part == Component::ParentDir) {
                return None;
            }
            self.paths
                .iter()
                .find_map(|path| target.strip_prefix(path).ok())
                .map(Path::to_owned)
        }

        pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let listed = openat(&self.directory, ".", flags, Mode::empty())?;
            let mut names = Vec::new();
            for entry in Dir::new(listed)? {
                let name = entry?.file_name().to_bytes().to_vec();
                if name != b"." && name != b".." {
                    names.push(OsString::from_vec(name));
                }
            }
            Ok(names)
        }

        pub(super) fn nature(&self, name: &OsStr) -> io::Result<Nature> {
            let stat = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Nature::Directory,
                FileType::Symlink => Nature::Link,
                FileType::RegularFile => Nature::File {
                    executable: stat.st_mode & 0o111 != 0,
                },
                _ => Nature::Other,
            })
        }

        pub(super) fn directory(&self, name: &OsStr) -> io::Result<Self> {
            let flags = PASSING | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(Self {
                directory: openat(&self.directory, name, flags, Mode::empty())?,
                paths: Vec::new(),
            })
        }

        pub(super) fn file(&self, name: &OsStr) -> io::Result<File> {
            // Opening a pipe must not wait, and a device is better not opened at all.
            if self.nature(name)? == Nature::Other {
                return Err(Errno::NXIO.into());
            }
            let flags = OFlags::RDONLY
                | OFlags::NOFOLLOW
                | OFlags::NONBLOCK
                | OFlags::NOCTTY
                | OFlags::CLOEXEC;
            let file = openat(&self.directory, name, flags, Mode::empty())?;
            match FileType::from_raw_mode(fstat(&file)?.st_mode) {
                FileType::RegularFile => Ok(File::from(file)),
                FileType::Directory => Err(Errno::ISDIR.into()),
                _ => Err(Errno::NXIO.into()),
            }
        }

        pub(super) fn target(&self, name: &OsStr) -> io::Result<OsString> {
            let target = readlinkat(&self.directory, name, Vec::new())?;
            Ok(OsStr::from_bytes(target.to_bytes()).to_owned())
        }
    }
}

#[cfg(not(unix))]
mod by_path {
    use std::ffi::{OsStr, OsString};
    use std::fs::{self, File, Metadata};
    use std::io;
    use std::path::{Path, PathBuf};

    use super::{Directory, Nature, Place, Unreachable};

    pub(super) struct Handle {
        /// Without links.
        path: PathBuf,
    }

    impl Handle {
        pub(super) fn open(path: &str) -> io::Result<Self> {
            let path = fs::canonicalize(path)?;
            match path.is_dir() {
                true => Ok(Self { path }),
                false => Err(io::ErrorKind::NotADirectory.into()),
            }
        }

        pub(super) fn another(&self) -> io::Result<Self> {
            let path = self.path.clone();
            Ok(Self { path })
        }

        pub(super) fn find(&self, below: &str, through: bool) -> Result<Place, Unreachable> {
            let path = self.path.join(below);
            let (holder, name) = match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) if !through => (self.inside(parent)?, Some(name)),
                _ => (self.inside(&path)?, None),
            };
            let (holder, name) = match (name, holder.is_dir()) {
                (Some(name), _) => (holder, Some(name.to_owned())),
                (None, true) => (holder, None),
                (None, false) => (
                    holder.parent().map(Path::to_owned).unwrap_or_default(),
                    holder.file_name().map(OsStr::to_owned),
                ),
            };
            let directory = Self { path: holder };
            let nature = match &name {
                Some(name) => directory.nature(name)?,
                None => Nature::Directory,
            };
            Ok(Place {
                directory: Directory(directory),
                name,
                nature,
            })
        }

        fn inside(&self, path: &Path) -> Result<PathBuf, Unreachable> {
            let real = fs::canonicalize(path)?;
            match real.starts_with(&self.path) {
                true => Ok(real),
                false => Err(Unreachable::Outside),
            }
        }

        pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
            fs::read_dir(&self.path)?
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect()
        }

        pub(super) fn nature(&self, name: &OsStr) -> io::Result<Nature> {
            fs::symlink_metadata(self.path.join(name)).map(|metadata| nature_of(&metadata))
        }

        pub(super) fn directory(&self, name: &OsStr) -> io::Result<Self> {
            match self.nature(name)? {
                Nature::Directory => Ok(Self {
                    path: self.path.join(name),
                }),
                _ => Err(io::ErrorKind::NotADirectory.into()),
            }
        }

        pub(super) fn file(&self, name: &OsStr) -> io::Result<File> {
            match self.nature(name)? {
                Nature::File { .. } => File::open(self.path.join(name)),
                Nature::Directory => Err(io::ErrorKind::IsADirectory.into()),
                Nature::Link | Nature::Other => Err(io::ErrorKind::InvalidInput.into()),
            }
        }

        pub(super) fn target(&self, name: &OsStr) -> io::Result<OsString> {
            fs::read_link(self.path.join(name)).map(PathBuf::into_os_string)
        }
    }

    fn nature_of(metadata: &Metadata) -> Nature {
        match metadata.file_type() {
            kind if kind.is_dir() => Nature::Directory,
            kind if kind.is_file() => Nature::File { executable: false },
            kind if kind.is_symlink() => Nature::Link,
            _ => Nature::Other,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    /// What is read through the directory, or why nothing is.
    fn read(root: &Directory, below: &str) -> String {
        let place = match root.find(below, true) {
            Ok(place) => place,
            Err(Unreachable::Outside) => return "outside".to_owned(),
            Err(Unreachable::Failed(error)) => return error.to_string(),
        };
        let mut text = String::new();
        match place
            .file()
            .and_then(|mut file| file.read_to_string(&mut text))
        {
            Ok(_) => text,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn links_are_followed_inside_and_nowhere_else() {
        let around = tempfile::tempdir().unwrap();
        let (path, root) = (around.path(), around.path().join("top"));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(path.join("secret"), "secret").unwrap();
        fs::write(root.join("a/b/file"), "inside").unwrap();
        let _socket = UnixListener::bind(root.join("socket")).unwrap();
        mkfifoat(CWD, root.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        symlink(&root, path.join("other-name")).unwrap();
        for (name, target) in [
            ("down", "a/b/file"),
            ("a/up", "../a/./b//file"),
            ("a/b/out", "../../../secret"),
            ("out", "../secret"),
            ("out-and-in", "../top/a/b/file"),
            ("directory", "a/b"),
            ("through", "directory/../b/file"),
            ("circle", "circle"),
            ("dangling", "a/nothing"),
            ("dangling-out", "../nothing"),
            ("etc", "/etc"),
            ("device", "/dev/zero"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        symlink(root.join("a/b"), root.join("absolute")).unwrap();
        symlink(path.join("other-name/a/b/file"), root.join("by-other-name")).unwrap();
        symlink(root.join("../secret"), root.join("absolute-out")).unwrap();

        let given = path.join("other-name").display().to_string();
        let root = Directory::open(&given).unwrap();
        let different: Vec<_> = [
            ("a/b/file", "inside"),
            ("a//b/./file", "inside"),
            ("a/../a/b/file", "inside"),
            ("../secret", "outside"),
            ("a/../../secret", "outside"),
            ("down", "inside"),
            ("a/up", "inside"),
            ("a/b/out", "outside"),
            ("out", "outside"),
            // It comes back, but by a name that anybody may move meanwhile.
            ("out-and-in", "outside"),
            ("directory/file", "inside"),
            ("directory/../b/file", "inside"),
            ("through", "inside"),
            ("absolute/file", "inside"),
            ("by-other-name", "inside"),
            ("absolute-out", "outside"),
            ("dangling-out", "outside"),
            ("etc/passwd", "outside"),
            ("device", "outside"),
            ("circle", "Too many levels of symbolic links (os error 40)"),
            ("dangling", "No such file or directory (os error 2)"),
            ("a/b/file/c", "Not a directory (os error 20)"),
            ("a", "Is a directory (os error 21)"),
            ("socket", "No such device or address (os error 6)"),
            ("pipe", "No such device or address (os error 6)"),
        ]
        .into_iter()
        .map(|(below, expected)| (below, expected, read(&root, below)))
        .filter(|(_, expected, got)| expected != got)
        .collect();
        assert!(different.is_empty(), "{different:#?}");
    }

    /// Reads again and again while somebody changes what is there.
    fn while_changing(root: &Path, below: &str, change: impl Fn(bool) + Send + 'static) {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let changing = thread::spawn({
            let stop = stop.clone();
            move || {
                let mut turn = false;
                while !stop.load(Ordering::Relaxed) {
                    change(turn);
                    turn = !turn;
                }
            }
        });
        let Ok(root) = Directory::open(&root.display().to_string()) else {
            panic!("{} cannot be opened", root.display());
        };
        let seen: Vec<String> = (0..3_000).map(|_| read(&root, below)).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(changing.join().is_ok());
        assert!(seen.iter().all(|text| text != "secret"));
    }

    #[test]
    fn what_is_switched_while_it_is_read_does_not_lead_out() {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().join("top");
        for directory in ["outside", "top", "top/safe"] {
            fs::create_dir(around.path().join(directory)).unwrap();
        }
        fs::write(around.path().join("outside/file"), "secret").unwrap();
        fs::write(root.join("safe/file"), "inside").unwrap();
        for (name, targets) in [
            ("file", ["../outside/file", "safe/file"]),
            ("directory", ["../outside", "safe"]),
        ] {
            let link = root.join(name);
            let changed = link.clone();
            symlink(targets[1], &link).unwrap();
            let below = if name == "file" {
                "file"
            } else {
                "directory/file"
            };
            while_changing(&root, below, move |turn| {
                let new = changed.with_extension("new");
                symlink(targets[usize::from(turn)], &new).unwrap();
                fs::rename(&new, &changed).unwrap();
            });
            // A file or directory in place of the link, too.
            let (link, safe) = (root.join(name), root.join("safe"));
            let kept = root.join(format!("{name}-kept"));
            fs::remove_file(&link).unwrap();
            match name {
                "file" => fs::copy(safe.join("file"), &kept).map(drop).unwrap(),
                _ => {
                    fs::create_dir(&kept).unwrap();
                    fs::copy(safe.join("file"), kept.join("file")).unwrap();
                }
            }
            while_changing(&root, below, move |turn| match turn {
                true => fs::rename(&link, &kept).unwrap_or(()),
                false => {
                    let _ = fs::remove_file(&link);
                    match kept.exists() {
                        true => fs::rename(&kept, &link).unwrap_or(()),
                        false => symlink(targets[0], &link).unwrap_or(()),
                    }
                }
            });
        }
    }
}
