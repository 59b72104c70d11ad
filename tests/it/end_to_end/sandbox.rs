//! The sandbox from behind: its directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Call, Stage};
use crate::core::Workspace;

/// The directory `cloud` of the workspace.
pub(super) struct Sandbox;

impl Stage for Sandbox {
    fn provider(&self) -> String {
        r#"sandbox = { directory = "cloud" }"#.to_owned()
    }

    fn shape(&self) -> String {
        "sandbox = {}".to_owned()
    }

    fn image(&self) -> String {
        r#""flatcar-a""#.to_owned()
    }

    fn cluster(&self) -> String {
        "prod".to_owned()
    }

    fn machines(&self, workspace: &Workspace) -> BTreeMap<String, String> {
        let Ok(entries) = fs::read_dir(directory(workspace).join("machines")) else {
            return BTreeMap::new();
        };
        entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            // One that was deleted since the folder was read is gone.
            .filter_map(|path| fs::read(path).ok())
            .map(|text| {
                let record: Value = serde_json::from_slice(&text).expect("a record");
                let word = |name: &str| record[name].as_str().expect("a word").to_owned();
                (word("name"), word("id"))
            })
            .collect()
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        let path = directory(workspace).join(format!("machines/{name}.json"));
        fs::remove_file(path).expect("a record");
    }

    fn scope(&self, workspace: &Workspace) -> String {
        let id = fs::read_to_string(directory(workspace).join("id")).expect("the sandbox's id");
        id.trim().to_owned()
    }

    fn stall(&self, workspace: &Workspace, call: Call, nth: usize, done: bool) {
        let fault = if done { "stall_after" } else { "stall_before" };
        let rule = json!({"call": call.word(), "nth": nth, "fault": fault});
        order(workspace, &json!({"log_calls": true, "rules": [rule]}));
    }

    fn stalls(&self, workspace: &Workspace) -> bool {
        let read = |name: &str| {
            let text = fs::read(directory(workspace).join(name)).ok()?;
            serde_json::from_slice::<Value>(&text).ok()
        };
        let (Some(faults), Some(counted)) = (read("faults.json"), read("faults.counted.json"))
        else {
            return false;
        };
        let rule = &faults["rules"][0];
        let count = counted
            .as_object()
            .and_then(|counts| counts.values().next())
            .and_then(Value::as_u64);
        if count < rule["nth"].as_u64() {
            return false;
        }
        // It is counted before it is carried out; both happen under one lock.
        let (name, done) = (nth_machine(workspace, rule), rule["fault"] == "stall_after");
        let exists = self.machines(workspace).contains_key(&name);
        exists == ((rule["call"] == "create") == done)
    }

    fn go_on(&self, workspace: &Workspace) {
        for name in ["faults.json", "faults.counted.json", "calls.jsonl"] {
            // The last two are there only when something was called.
            let _ = fs::remove_file(directory(workspace).join(name));
        }
    }
}

/// Writes the sandbox's `faults.json`.
pub(super) fn order(workspace: &Workspace, faults: &Value) {
    workspace.write("cloud/faults.json", &faults.to_string());
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.path().join("cloud")
}

/// The machine that the stalled call is about.
fn nth_machine(workspace: &Workspace, rule: &Value) -> String {
    let log = fs::read_to_string(directory(workspace).join("calls.jsonl")).expect("the calls");
    let nth = rule["nth"].as_u64().expect("a number");
    let calls = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut calls = calls.filter(|line| line["call"] == rule["call"]);
    let call = calls.nth(usize::try_from(nth - 1).expect("small"));
    call.map(|call| call["machine"].as_str().unwrap_or_default().to_owned())
        .expect("a call that was counted was logged")
}
