//! A sandbox from behind: its directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::harness::scratch;

/// One sandbox.
pub(crate) struct World {
    directory: PathBuf,
    /// Where it goes with the value.
    _scratch: Option<TempDir>,
}

impl World {
    /// One of its own.
    pub(crate) fn new() -> Self {
        let scratch = scratch();
        Self {
            directory: scratch.path().to_owned(),
            _scratch: Some(scratch),
        }
    }

    /// The one in this directory.
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self {
            directory,
            _scratch: None,
        }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// The attribute of the provider block.
    pub(crate) fn block(&self) -> Json {
        json!({"directory": self.directory})
    }

    /// What happens from now on: its `faults.json`. Rules count from the start.
    pub(crate) fn order_faults(&self, faults: &Json) {
        fs::create_dir_all(&self.directory).expect("a directory");
        fs::write(self.path("faults.json"), faults.to_string()).expect("writes");
        self.forget("faults.counted.json");
    }

    /// Removes a file that is there only when something was called.
    pub(crate) fn forget(&self, file: &str) {
        let _ = fs::remove_file(self.path(file));
    }

    /// A file of it as JSON, where it is there.
    pub(crate) fn read(&self, file: &str) -> Option<Json> {
        let text = fs::read(self.path(file)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The calls that were made, as they were logged.
    pub(crate) fn logged(&self) -> Vec<Json> {
        let log = fs::read_to_string(self.path("calls.jsonl")).unwrap_or_default();
        let calls = log.lines().map(serde_json::from_str);
        calls.filter_map(Result::ok).collect()
    }

    /// Its machines, by name.
    pub(crate) fn records(&self) -> BTreeMap<String, Json> {
        let entries = fs::read_dir(self.path("machines"));
        let paths = entries.into_iter().flatten();
        let paths = paths.map(|entry| entry.expect("an entry").path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            // One that was deleted since the folder was read is gone.
            .filter_map(|path| fs::read(path).ok())
            .map(|text| serde_json::from_slice(&text).expect("a record"))
            .map(|record: Json| (word(&record, "name"), record))
            .collect()
    }

    /// Somebody changes a machine.
    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(&mut Json)) {
        let path = self.path(&format!("machines/{name}.json"));
        let text = fs::read(&path).expect("a record");
        let mut record: Json = serde_json::from_slice(&text).expect("a record");
        change(&mut record);
        fs::write(&path, record.to_string()).expect("a record");
    }

    /// Somebody stops one.
    pub(crate) fn stop_machine(&self, name: &str) {
        self.edit(name, |record| record["stopped"] = json!(true));
    }

    /// Somebody deletes one.
    pub(crate) fn remove(&self, name: &str) {
        let path = self.path(&format!("machines/{name}.json"));
        fs::remove_file(path).expect("a record");
    }
}

pub(crate) fn word(record: &Json, name: &str) -> String {
    record[name].as_str().expect("a word").to_owned()
}
