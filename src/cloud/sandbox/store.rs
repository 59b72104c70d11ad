//! The records of a sandbox on disk: one JSON file a machine, written whole or not at all, under
//! one lock.
//!
//! In: a directory. Out: records, `machines/workers-k3x9-0.json`. A file that somebody deletes is a
//! machine that is gone; a file that somebody edits is a machine that changed. Nothing outside of
//! the directory is read, written or removed, whatever stands in it: a link is not followed, and a
//! record is that of its file's name or an error.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::record::Record;

/// A sandbox's directory. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) directory: PathBuf,
    /// Whether each step on disk is counted and may be held: see [`STEPS`].
    pub(super) steps: bool,
}

/// Held while anything in the directory is read or changed; other processes wait.
pub(super) struct Locked<'a> {
    store: &'a Store,
    now_ms: u64,
    _lock: File,
}

impl Store {
    /// A directory, with its steps counted where the environment asks for that.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            steps: std::env::var_os(STEPS).is_some_and(|value| value == "1"),
        }
    }

    /// Whether there is a sandbox in this directory yet.
    pub(super) fn exists(&self) -> bool {
        fs::symlink_metadata(self.directory.join(ID)).is_ok_and(|id| id.is_file())
    }

    /// Takes the lock, unless it is held; makes the directory where there is none.
    pub(super) fn try_lock(&self, now_ms: u64) -> io::Result<Option<Locked<'_>>> {
        let machines = self.directory.join(MACHINES);
        match fs::symlink_metadata(&machines) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                return Err(bad(
                    MACHINES,
                    "it has to be a directory, and no link to one",
                ));
            }
            Err(_) => fs::create_dir_all(machines)?,
        }
        is_there(&self.directory, LOCK)?;
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
    /// What tells this directory from another one, wherever it is moved: `"sandbox-9f31c2d4"`. Made
    /// on first use.
    pub(super) fn id(&self) -> io::Result<String> {
        match self.bytes(ID)? {
            Some(bytes) => {
                let id = String::from_utf8_lossy(&bytes).trim().to_owned();
                match is_name(&id) {
                    true => Ok(id),
                    false => Err(bad(
                        ID,
                        "an id is made of lower-case letters, digits and hyphens",
                    )),
                }
            }
            None => {
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
        let records = names
            .iter()
            .filter_map(|name| self.record(name).transpose());
        let records: Vec<Record> = records.collect::<io::Result<_>>()?;
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        for Record { id, name, .. } in &records {
            if let Some(other) = names.insert(id, name) {
                let why = format!("its id is that of {}, too", machine_path(other).display());
                return Err(bad(machine_path(name), &why));
            }
        }
        Ok(records)
    }

    /// How many machines there are.
    pub(super) fn count(&self) -> io::Result<usize> {
        Ok(fs::read_dir(self.store.directory.join(MACHINES))?
            .filter_map(Result::ok)
            .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "json"))
            .count())
    }

    /// The machine of this name; absent also when its file went away just now, or its going is
    /// over.
    pub(super) fn record(&self, name: &str) -> io::Result<Option<Record>> {
        if !is_name(name) {
            return Ok(None);
        }
        let record: Option<Record> = self.load(machine_path(name))?;
        if let Some(record) = &record {
            if record.name != name {
                let why = "the name in it is another one than the file's";
                return Err(bad(machine_path(name), why));
            }
            if !is_id(&record.id) {
                let why = "an id is `sbx-` and up to 59 letters and digits";
                return Err(bad(machine_path(name), why));
            }
        }
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
        if !is_name(name) {
            return Err(bad(MACHINES, "no machine has such a name"));
        }
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
        let Some(bytes) = self.bytes(file)? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&bytes).map(Some);
        read.map_err(|error| bad(file, &error.to_string()))
    }

    /// What a file of the directory holds; absent: `None`.
    fn bytes(&self, file: impl AsRef<Path>) -> io::Result<Option<Vec<u8>>> {
        let file = file.as_ref();
        if !is_there(&self.store.directory, file)? {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let opened = match File::open(self.store.directory.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        opened.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        match u64::try_from(bytes.len()) {
            Ok(length) if length <= MOST_BYTES => Ok(Some(bytes)),
            _ => Err(bad(file, &format!("it is longer than {MOST_BYTES} bytes"))),
        }
    }

    /// Writes a JSON file beside the machines.
    pub(super) fn store<T: Serialize>(&self, file: &str, value: &T) -> io::Result<()> {
        self.write(file, &serde_json::to_vec(value)?)
    }

    /// Adds a line to a file beside the machines.
    pub(super) fn append(&self, file: &str, line: &str) -> io::Result<()> {
        is_there(&self.store.directory, file)?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.store.directory.join(file))?;
        file.write_all(format!("{line}\n").as_bytes())
    }

    /// Whole or not at all: a process that is killed here leaves the old file and a `.new` that the
    /// next one overwrites.
    fn write(&self, file: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let path = self.store.directory.join(file);
        let new = path.with_extension("new");
        self.step("write", || write_anew(&new, bytes))?;
        self.step("rename", || fs::rename(&new, &path))
    }

    /// One step on disk. Where [`STEPS`] asks for it and the directory holds a file `steps`, a line
    /// is added to it, the Nth; and `hold/N-before` and `hold/N-after` are read: a FIFO there holds
    /// the step until it is written to, and a text is the error that the step ends with. So a test
    /// can end a process at each step.
    fn step<T>(&self, what: &str, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if !self.store.steps {
            return work();
        }
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

fn is_id(id: &str) -> bool {
    let rest = id.strip_prefix("sbx-");
    rest.is_some_and(|rest| {
        (1..60).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// A file of the directory that somebody has made what it must not be.
fn bad(file: impl AsRef<Path>, why: &str) -> io::Error {
    let message = format!(
        "{} is not what it has to be: {why}",
        file.as_ref().display()
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Whether there is such a file. A link, or a thing that never ends, is an error.
fn is_there(directory: &Path, file: impl AsRef<Path>) -> io::Result<bool> {
    match fs::symlink_metadata(directory.join(&file)) {
        Ok(found) if found.is_file() => Ok(true),
        Ok(_) => Err(bad(file, "it has to be a plain file, and no link to one")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a file that is made here: whatever stands in its place, a link too, is taken away before.
fn write_anew(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).open(path)?;
    file.write_all(bytes)
}

fn machine_path(name: &str) -> PathBuf {
    Path::new(MACHINES).join(format!("{name}.json"))
}

const MACHINES: &str = "machines";
const ID: &str = "id";
/// No file of a sandbox comes near that.
const MOST_BYTES: u64 = 1 << 20;
/// Set to `1`, the environment variable that lets tests end a process at each of its steps on disk.
pub(super) const STEPS: &str = "FLATCAR_SANDBOX_STEPS";
/// The file that is locked, beside the machines.
pub(super) const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::super::record::Boot;
    use super::*;
    use crate::worker_group::cloud::Mark;

    fn record(name: &str) -> Record {
        Record {
            id: "sbx-1".to_owned(),
            name: name.to_owned(),
            mark: Mark {
                cluster: "prod".to_owned(),
                group: "w".to_owned(),
                uid: "u".to_owned(),
                generation: "1".to_owned(),
                unsaved: false,
                origin: String::new(),
                proof: String::new(),
            },
            image: "flatcar".to_owned(),
            user_data_sha256: String::new(),
            user_data_bytes: 0,
            zone: "a".to_owned(),
            size: "small".to_owned(),
            tags: BTreeMap::new(),
            address: "10.0.0.1".to_owned(),
            attempt: 0,
            created_ms: u64::MAX,
            booted_ms: 0,
            boot: Boot::Runs,
            listed_ms: 0,
            gone_ms: None,
            stopped: false,
            spec_sha256: String::new(),
        }
    }

    #[test]
    fn a_record_is_that_of_its_file_or_an_error() {
        for (file, name, id, said) in [
            ("w-1", "w-1", "sbx-1", None),
            (
                "w-1",
                "../../victim",
                "sbx-1",
                Some("another one than the file's"),
            ),
            ("w-1", "w-2", "sbx-1", Some("another one than the file's")),
            ("w-1", "w-1", "", Some("an id is `sbx-`")),
            ("w-1", "w-1", "sbx-\u{1b}[2J", Some("an id is `sbx-`")),
            (
                "w-1",
                "w-1",
                "sbx-0",
                Some("that of machines/w-0.json, too"),
            ),
            // No name of a machine, and so no machine.
            ("W_1", "W_1", "sbx-1", None),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::new(directory.path().join("sandbox"));
            let victim = directory.path().join("victim.json");
            fs::write(&victim, "{}").unwrap();
            let locked = store.try_lock(0).unwrap().unwrap();
            let other = Record {
                id: "sbx-0".to_owned(),
                ..record("w-0")
            };
            locked.save(&other).unwrap();
            let written = Record {
                id: id.to_owned(),
                gone_ms: (name == "../../victim").then_some(0),
                ..record(name)
            };
            let text = serde_json::to_string(&written).unwrap();
            fs::write(store.directory.join(format!("machines/{file}.json")), text).unwrap();
            let error = locked.records().err().map(|error| error.to_string());
            match said {
                None => assert_eq!(error, None, "{file} {name:?} {id:?}"),
                Some(said) => {
                    let error = error.unwrap_or_default();
                    assert!(error.contains(said), "{name:?} {id:?}: {error}");
                    assert!(error.starts_with("machines/w-1.json"), "{error}");
                }
            }
            assert!(locked.remove("../../victim").is_err());
            assert!(victim.exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_link_leads_out_of_the_directory() {
        use std::os::unix::fs::symlink;

        for place in [
            "machines/w-1.json",
            "machines/w-1.new",
            "id",
            "lock",
            "faults.json",
            "calls.jsonl",
            "machines",
        ] {
            let directory = tempfile::tempdir().unwrap();
            let victim = directory.path().join("victim");
            let store = Store::new(directory.path().join("sandbox"));
            match place {
                "machines" => fs::create_dir_all(&store.directory).unwrap(),
                _ => fs::create_dir_all(store.directory.join("machines")).unwrap(),
            }
            match place {
                "machines" => fs::create_dir(&victim).unwrap(),
                _ => fs::write(&victim, "{}").unwrap(),
            }
            symlink(&victim, store.directory.join(place)).unwrap();
            let opened = store.try_lock(0);
            let locked = match place {
                "lock" | "machines" => {
                    let error = opened.err().unwrap().to_string();
                    assert!(
                        error.starts_with(place) && error.contains("no link"),
                        "{error}"
                    );
                    continue;
                }
                _ => opened.unwrap().unwrap(),
            };
            let said = match place {
                "machines/w-1.json" => locked.record("w-1").err(),
                "machines/w-1.new" => locked.save(&record("w-1")).err(),
                "id" => locked.id().err(),
                "calls.jsonl" => locked.append(place, "a line").err(),
                _ => locked.load::<serde_json::Value>(place).err(),
            };
            match place {
                "machines/w-1.new" => assert!(said.is_none(), "{said:?}"),
                _ => {
                    let said = said.unwrap().to_string();
                    assert!(
                        said.starts_with(place) && said.contains("no link"),
                        "{said}"
                    );
                }
            }
            assert_eq!(fs::read_to_string(victim).unwrap(), "{}", "{place}");
        }
    }

    #[test]
    fn steps_are_counted_over_processes_and_end_as_ordered() {
        let directory = tempfile::tempdir().unwrap();
        let place = |file: &str| directory.path().join(file);
        let mut store = Store::new(directory.path().to_owned());
        fs::write(place("steps"), "").unwrap();
        drop(store.try_lock(0).unwrap());
        let steps = fs::read_to_string(place("steps")).unwrap();
        assert_eq!(steps, "", "nobody has asked for it");
        store.steps = true;
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
