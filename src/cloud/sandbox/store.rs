//! The records of a sandbox on disk: one JSON file a machine, written whole or not at all, under one lock.
//!
//! In: a directory. Out: records, `machines/workers-k3x9-0.json`. A file that somebody deletes is a machine that is gone; a file that
//! somebody edits is a machine that changed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use crate::worker_group::cloud::{Machine, Mark, Phase};

/// A machine as it stands on disk. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// `"sbx-0f3a..."`, another one for each machine that ever had this name.
    pub(super) id: String,
    pub(super) name: String,
    #[serde(flatten, deserialize_with = "what_is_left")]
    pub(super) mark: Mark,
    pub(super) image: String,
    /// The digest, never the text: user data holds secrets.
    pub(super) user_data_sha256: String,
    pub(super) user_data_bytes: usize,
    pub(super) zone: String,
    pub(super) size: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) address: String,
    pub(super) attempt: u32,
    pub(super) created_ms: u64,
    /// When it leaves pending.
    pub(super) booted_ms: u64,
    pub(super) boot: Boot,
    /// From when on a list shows it.
    pub(super) listed_ms: u64,
    /// Until when it is going; absent: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone_ms: Option<u64>,
    /// Set by hand to stop a machine behind the provider's back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) stopped: bool,
    /// Digest over everything that the create asked for: tells a repeat from a clash of names.
    pub(super) spec_sha256: String,
}

/// How the boot ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Boot {
    Runs,
    Fails,
    Hangs,
}

impl Record {
    /// Where the machine is in its life at this moment.
    pub(super) fn phase(&self, now_ms: u64) -> Phase {
        match self.boot {
            _ if self.gone_ms.is_some() => Phase::Deleting,
            _ if self.stopped => Phase::Stopped,
            Boot::Hangs => Phase::Pending,
            _ if now_ms < self.booted_ms => Phase::Pending,
            Boot::Fails => Phase::Failed,
            Boot::Runs => Phase::Running,
        }
    }

    /// The cloud's own words for one that does not run.
    pub(super) fn message(&self, now_ms: u64) -> Option<String> {
        match self.phase(now_ms) {
            Phase::Failed => Some("the boot failed: no bootable device".to_owned()),
            Phase::Stopped => Some("stopped by somebody".to_owned()),
            _ => None,
        }
    }

    /// As the worker group sees it.
    pub(super) fn machine(&self, now_ms: u64) -> Machine {
        let mut observed: BTreeMap<String, String> = self
            .tags
            .iter()
            .map(|(key, value)| (format!("tags.{key}"), value.clone()))
            .collect();
        observed.insert("size".to_owned(), self.size.clone());
        observed.insert("zone".to_owned(), self.zone.clone());
        Machine {
            id: self.id.clone(),
            name: self.name.clone(),
            zone: self.zone.clone(),
            addresses: vec![self.address.clone()],
            image: self.image.clone(),
            phase: self.phase(now_ms),
            message: self.message(now_ms),
            mark: self.mark.clone(),
            created: Some(UNIX_EPOCH + Duration::from_millis(self.created_ms)),
            observed,
        }
    }
}

/// A hand may have taken parts of the mark off: they are empty then.
fn what_is_left<'de, D: Deserializer<'de>>(record: D) -> Result<Mark, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Left {
        cluster: String,
        group: String,
        uid: String,
        generation: String,
        unsaved: bool,
    }
    let left = Left::deserialize(record)?;
    Ok(Mark {
        cluster: left.cluster,
        group: left.group,
        uid: left.uid,
        generation: left.generation,
        unsaved: left.unsaved,
    })
}

/// A sandbox's directory. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) directory: PathBuf,
}

/// Held while anything in the directory is read or changed; other processes wait.
pub(super) struct Locked<'a> {
    store: &'a Store,
    now_ms: u64,
    _lock: File,
}

impl Store {
    /// Whether there is a sandbox in this directory yet.
    pub(super) fn exists(&self) -> bool {
        self.directory.join(ID).is_file()
    }

    /// Takes the lock, unless it is held; makes the directory where there is none.
    pub(super) fn try_lock(&self, now_ms: u64) -> io::Result<Option<Locked<'_>>> {
        fs::create_dir_all(self.directory.join(MACHINES))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.directory.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let locked = Locked {
            store: self,
            now_ms,
            _lock: lock,
        };
        // Reading changes nothing: whatever a call reads is one step.
        locked.step("look", || Ok(()))?;
        Ok(Some(locked))
    }
}

impl Locked<'_> {
    /// What tells this directory from another one, wherever it is moved: `"sandbox-9f31c2d4"`. Made on first use.
    pub(super) fn id(&self) -> io::Result<String> {
        let path = self.store.directory.join(ID);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seed = format!(
                    "{} {} {:?}",
                    self.now_ms,
                    std::process::id(),
                    fs::canonicalize(&self.store.directory)?
                );
                let id = format!("sandbox-{}", &sha256_hex(seed.as_bytes())[..8]);
                self.write(ID, format!("{id}\n").as_bytes())?;
                Ok(id)
            }
            Err(error) => Err(error),
        }
    }

    /// Every machine, by name.
    pub(super) fn records(&self) -> io::Result<Vec<Record>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.store.directory.join(MACHINES))? {
            let file_name = entry?.file_name();
            if let Some(name) = file_name
                .to_str()
                .and_then(|name| name.strip_suffix(".json"))
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        names
            .iter()
            .filter_map(|name| self.record(name).transpose())
            .collect()
    }

    /// How many machines there are.
    pub(super) fn count(&self) -> io::Result<usize> {
        Ok(fs::read_dir(self.store.directory.join(MACHINES))?
            .filter_map(Result::ok)
            .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "json"))
            .count())
    }

    /// The machine of this name; absent also when its file went away just now, or its going is over.
    pub(super) fn record(&self, name: &str) -> io::Result<Option<Record>> {
        if !is_name(name) {
            return Ok(None);
        }
        let record: Option<Record> = self.load(machine_path(name))?;
        if record
            .as_ref()
            .and_then(|record| record.gone_ms)
            .is_some_and(|gone_ms| gone_ms <= self.now_ms)
        {
            self.remove(name)?;
            return Ok(None);
        }
        Ok(record)
    }

    /// Writes a machine.
    pub(super) fn save(&self, record: &Record) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(record)?;
        text.push(b'\n');
        self.write(machine_path(&record.name), &text)
    }

    /// Removes a machine; one that is not there is removed.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.store.directory.join(machine_path(name));
        match self.step("remove", || fs::remove_file(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A JSON file of the directory; absent: `None`.
    pub(super) fn load<T: for<'de> Deserialize<'de>>(
        &self,
        file: impl AsRef<Path>,
    ) -> io::Result<Option<T>> {
        let file = file.as_ref();
        match fs::read(self.store.directory.join(file)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let message = format!("{} is not what it has to be: {error}", file.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a JSON file beside the machines.
    pub(super) fn store<T: Serialize>(&self, file: &str, value: &T) -> io::Result<()> {
        self.write(file, &serde_json::to_vec(value)?)
    }

    /// Adds a line to a file beside the machines.
    pub(super) fn append(&self, file: &str, line: &str) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.store.directory.join(file))?;
        file.write_all(format!("{line}\n").as_bytes())
    }

    /// Whole or not at all: a process that is killed here leaves the old file and a `.new` that the next one overwrites.
    fn write(&self, file: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let path = self.store.directory.join(file);
        let new = path.with_extension("new");
        self.step("write", || fs::write(&new, bytes))?;
        self.step("rename", || fs::rename(&new, &path))
    }

    /// One step on disk. Where the directory holds a file `steps`, a line is added to it, the Nth; and `hold/N-before` and `hold/N-after`
    /// are read: a FIFO there holds the step until it is written to, and a text is the error that the step ends with. So a test can end
    /// a process at each step.
    fn step<T>(&self, what: &str, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let steps = self.store.directory.join("steps");
        let Ok(earlier) = fs::read_to_string(&steps) else {
            return work();
        };
        fs::write(steps, format!("{earlier}{what}\n"))?;
        let number = earlier.lines().count() + 1;
        let hold = |when: &str| {
            let place = self.store.directory.join(format!("hold/{number}-{when}"));
            match fs::read_to_string(place) {
                Ok(error) if !error.is_empty() => Err(io::Error::other(error)),
                _ => Ok(()),
            }
        };
        hold("before")?;
        let done = work()?;
        hold("after")?;
        Ok(done)
    }
}

/// Lower-case hexadecimal SHA-256.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// Whether a name is one that a file may have.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.len() <= 63
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn machine_path(name: &str) -> PathBuf {
    Path::new(MACHINES).join(format!("{name}.json"))
}

const MACHINES: &str = "machines";
const ID: &str = "id";
/// The file that is locked, beside the machines.
pub(super) const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_over_processes_and_end_as_ordered() {
        let directory = tempfile::tempdir().unwrap();
        let place = |file: &str| directory.path().join(file);
        let store = Store {
            directory: directory.path().to_owned(),
        };
        fs::write(place("steps"), "").unwrap();
        fs::create_dir(place("hold")).unwrap();
        fs::write(place("hold/3-before"), "no disk").unwrap();
        fs::write(place("hold/6-after"), "no answer").unwrap();
        let write = || {
            let written = store.try_lock(0).unwrap().unwrap().write("file", b"text");
            written.map_err(|error| error.to_string())
        };
        assert_eq!(write(), Err("no disk".to_owned()));
        assert!(!place("file").exists(), "it was only written beside it");
        assert_eq!(write(), Err("no answer".to_owned()));
        assert!(place("file").exists(), "carried out all the same");
        let steps = fs::read_to_string(place("steps")).unwrap();
        assert_eq!(steps, "look\nwrite\nrename\nlook\nwrite\nrename\n");
    }
}
