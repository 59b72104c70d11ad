//! The sandbox from behind: its directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use super::world::{World, word};
use crate::core::{Core, Workspace};
use crate::end_to_end::Stage;
use crate::end_to_end::crash::{Call, Ground, Meets, each_point};
use crate::end_to_end::life::whole_life;

#[test]
fn a_group_lives_on_the_sandbox_under_terraform() {
    if let Some(core) = Core::find("terraform") {
        whole_life(&core, &Sandbox);
    }
}

#[test]
fn a_group_lives_on_the_sandbox_under_opentofu() {
    if let Some(core) = Core::find("tofu") {
        whole_life(&core, &Sandbox);
    }
}

#[test]
fn an_apply_on_the_sandbox_goes_on_wherever_it_ended() {
    each_point("sandbox", 60, || Some(Box::new(Steps::default())));
}

/// The directory `cloud` of the workspace.
pub(crate) struct Sandbox;

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
        let records = of(workspace).records().into_iter();
        records
            .map(|(name, record)| (name, word(&record, "id")))
            .collect()
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        of(workspace).remove(name);
    }

    fn stops(&self) -> bool {
        true
    }

    fn stop(&self, workspace: &Workspace, name: &str) {
        of(workspace).stop_machine(name);
    }

    fn scope(&self, workspace: &Workspace) -> String {
        let id = fs::read_to_string(of(workspace).path("id")).expect("the sandbox's id");
        id.trim().to_owned()
    }

    fn marks(&self, workspace: &Workspace) -> BTreeMap<String, (String, bool)> {
        let records = of(workspace).records().into_iter();
        let mark = |record: &Value| (word(record, "uid"), record["unsaved"] == true);
        records
            .map(|(name, record)| (name, mark(&record)))
            .collect()
    }
}

impl Sandbox {
    /// From now on the call is never answered, when it is made for the `nth` time; `done`: but
    /// carried out.
    pub(crate) fn stall(&self, workspace: &Workspace, call: &str, nth: usize, done: bool) {
        let fault = if done { "stall_after" } else { "stall_before" };
        let rule = json!({"call": call, "nth": nth, "fault": fault});
        order(workspace, &json!({"log_calls": true, "rules": [rule]}));
    }

    /// Whether that call has been made.
    pub(crate) fn stalls(&self, workspace: &Workspace) -> bool {
        let world = of(workspace);
        let (Some(faults), Some(counted)) =
            (world.read("faults.json"), world.read("faults.counted.json"))
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

    /// Everything is answered again.
    pub(crate) fn go_on(&self, workspace: &Workspace) {
        for file in ["faults.json", "faults.counted.json", "calls.jsonl"] {
            of(workspace).forget(file);
        }
    }
}

/// The sandbox of a workspace.
fn of(workspace: &Workspace) -> World {
    World::at(workspace.path().join("cloud"))
}

/// Writes the sandbox's `faults.json`.
pub(crate) fn order(workspace: &Workspace, faults: &Value) {
    of(workspace).order_faults(faults);
}

/// The machine that the stalled call is about.
fn nth_machine(workspace: &Workspace, rule: &Value) -> String {
    let nth = rule["nth"].as_u64().expect("a number");
    let calls = of(workspace).logged().into_iter();
    let mut calls = calls.filter(|line| line["call"] == rule["call"]);
    let call = calls.nth(usize::try_from(nth - 1).expect("small"));
    call.map(|call| call["machine"].as_str().unwrap_or_default().to_owned())
        .expect("a call that was counted was logged")
}

/// The sandbox, step by step: every look at its directory, write, rename and removal is one call
/// (`docs/guides/sandbox.md`).
#[derive(Default)]
pub(crate) struct Steps {
    gate: Mutex<Option<Gate>>,
}

/// A FIFO that holds a step while we have it open.
struct Gate {
    place: PathBuf,
    /// Set when the provider has come to it.
    open: Arc<Mutex<Option<File>>>,
    opener: JoinHandle<()>,
}

impl Gate {
    fn new(place: PathBuf) -> Self {
        let made = Command::new("mkfifo").arg(&place).status();
        assert!(made.expect("mkfifo").success());
        let open = Arc::<Mutex<Option<File>>>::default();
        let (path, shared) = (place.clone(), Arc::clone(&open));
        let opener = thread::spawn(move || {
            // Returns when the other side opens it.
            *lock(&shared) = OpenOptions::new().write(true).open(path).ok();
        });
        Self {
            place,
            open,
            opener,
        }
    }

    fn leave(self) {
        // Should nobody have come, the opener waits still: both sides at once never wait.
        let both = OpenOptions::new().read(true).write(true).open(&self.place);
        self.opener.join().expect("it only waits");
        lock(&self.open).take();
        drop(both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ground for Steps {
    fn stage(&self) -> &dyn Stage {
        &Sandbox
    }

    fn order(&self, workspace: &Workspace, call: Call<'_>, meets: Meets) {
        let number = call.number;
        workspace.write("cloud/steps", "");
        workspace.write("cloud/hold/README", "what each step meets");
        let place = |when: &str| of(workspace).path(&format!("hold/{number}-{when}"));
        let gate = match meets {
            Meets::Nothing => None,
            Meets::HoldBefore => Some(Gate::new(place("before"))),
            Meets::HoldAfter => Some(Gate::new(place("after"))),
            Meets::Lost => {
                fs::write(place("after"), "the answer was lost").expect("a file");
                None
            }
        };
        *lock(&self.gate) = gate;
    }

    fn holds(&self) -> bool {
        let gate = lock(&self.gate);
        gate.as_ref().is_some_and(|gate| lock(&gate.open).is_some())
    }

    fn release(&self) {
        if let Some(gate) = lock(&self.gate).take() {
            gate.leave();
        }
    }

    fn end(&self, workspace: &Workspace) -> Vec<String> {
        self.release();
        let steps = fs::read_to_string(of(workspace).path("steps")).expect("the steps");
        fs::remove_file(of(workspace).path("steps")).expect("the steps");
        fs::remove_dir_all(of(workspace).path("hold")).expect("what was ordered");
        steps.lines().map(str::to_owned).collect()
    }

    fn waits_for_the_answer(&self) -> bool {
        true
    }
}
