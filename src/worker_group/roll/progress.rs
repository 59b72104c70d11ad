//! What an apply is at, for whoever watches it: a line of the log for each step of a machine
//! (`TF_LOG_PROVIDER=info`), and a line of JSON in the file that `FLATCAR_PROGRESS` names. A core
//! itself shows nothing but *Still modifying*.
//!
//! `{"time":"2026-11-30T09:00:00.000000Z","cluster":"prod","group":"workers","machine":"workers-k3-0","id":"i-0f3c","step":"ready","done":1,"of":6}`

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::time::SystemTime;

use serde_json::json;

use super::{Lifecycle, Order, Tracked};
use crate::protocol::log;

/// Names a file that lines are added to.
const VARIABLE: &str = "FLATCAR_PROGRESS";

/// How far the machines of an apply are, as was last written.
pub(super) struct Progress {
    cluster: String,
    group: String,
    /// Steps of machines that this apply makes or deletes: as many as come and go.
    of: usize,
    done: usize,
    /// Step and id, by name.
    last: BTreeMap<String, (Step, String)>,
    file: Option<File>,
}

/// Where a machine is that this apply makes or deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Creating,
    /// It exists, and is waited for.
    Starting,
    Ready,
    Failed,
    /// Its traffic ends, and its pods move away.
    Draining,
    Deleting,
    Gone,
}

impl Step {
    fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Draining => "draining",
            Self::Deleting => "deleting",
            Self::Gone => "gone",
        }
    }

    /// `None`: the machine is nothing of this apply's doing, or not yet.
    fn of(tracked: &Tracked) -> Option<Self> {
        Some(match tracked.stage {
            Lifecycle::Creating => Self::Creating,
            Lifecycle::Booting | Lifecycle::Unclear if tracked.ours => Self::Starting,
            Lifecycle::Ready if tracked.ours => Self::Ready,
            Lifecycle::Broken if tracked.ours => Self::Failed,
            Lifecycle::Draining | Lifecycle::Drained => Self::Draining,
            Lifecycle::Deleting | Lifecycle::Going => Self::Deleting,
            _ => return None,
        })
    }
}

impl Progress {
    /// Of an apply that is about to begin.
    pub(super) fn new(order: &Order<'_>) -> Self {
        let of = order.creates.len() + order.deletes.len();
        let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty() && of > 0);
        let file = path.and_then(|path| {
            let opened = OpenOptions::new().append(true).create(true).open(path);
            if let Err(error) = &opened {
                let fields: [log::Field<'_>; 2] = [("variable", &VARIABLE), ("error", error)];
                log::warn("progress is not written", &fields);
            }
            opened.ok()
        });
        Self {
            cluster: order.mark.cluster.clone(),
            group: order.mark.group.clone(),
            of,
            done: 0,
            last: BTreeMap::new(),
            file,
        }
    }

    /// Writes what is another step than before, where anybody reads it.
    pub(super) fn look(&mut self, tracked: &[Tracked]) {
        if self.file.is_none() && !log::enabled(log::Module::Provider, log::Level::Info) {
            return;
        }
        for (machine, step, id) in self.changes(tracked) {
            self.write(&machine, step, &id);
        }
    }

    fn changes(&mut self, tracked: &[Tracked]) -> Vec<(String, Step, String)> {
        let mut changes = Vec::new();
        for one in tracked {
            let Some(step) = Step::of(one) else {
                continue;
            };
            if self
                .last
                .get(&one.name)
                .is_none_or(|(last, _)| *last != step)
            {
                let id = one.machine.as_ref().map(|machine| machine.id.clone());
                let now = (step, id.unwrap_or_default());
                self.last.insert(one.name.clone(), now.clone());
                changes.push((one.name.clone(), now.0, now.1));
            }
        }
        // Who is tracked no longer was deleted, or never came to be.
        let names: BTreeSet<&str> = tracked.iter().map(|one| one.name.as_str()).collect();
        let vanished = self
            .last
            .extract_if(.., |name, _| !names.contains(name.as_str()));
        changes.extend(vanished.map(|(name, (step, id))| match step {
            Step::Draining | Step::Deleting => (name, Step::Gone, id),
            _ => (name, Step::Failed, id),
        }));
        changes
    }

    fn write(&mut self, machine: &str, step: Step, id: &str) {
        if matches!(step, Step::Ready | Step::Gone) {
            self.done += 1;
            self.of = self.of.max(self.done);
        }
        let count = format!("{} of {}", self.done, self.of);
        let fields: [log::Field<'_>; 5] = [
            ("cluster", &self.cluster),
            ("group", &self.group),
            ("machine", &machine),
            ("id", &id),
            ("done", &count),
        ];
        log::info(step.word(), &fields);
        let Some(file) = &mut self.file else {
            return;
        };
        let line = json!({
            "time": log::timestamp(SystemTime::now()),
            "cluster": self.cluster,
            "group": self.group,
            "machine": machine,
            "id": id,
            "step": step.word(),
            "done": self.done,
            "of": self.of,
        });
        // One write a line: several groups may share the file.
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            let fields: [log::Field<'_>; 2] = [("variable", &VARIABLE), ("error", &error)];
            log::warn("progress is not written any more", &fields);
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn each_step_is_written_once_and_machines_of_before_are_not() {
        let mut progress = Progress {
            cluster: "prod".to_owned(),
            group: "w".to_owned(),
            of: 2,
            done: 0,
            last: BTreeMap::new(),
            file: None,
        };
        let now = Instant::now();
        let at = |name: &str, stage, ours, leaves| Tracked {
            stage,
            ours,
            leaves,
            ..Tracked::created(name, 0, now)
        };
        // New, old and going, old and staying, as they are look by look; what is written then.
        type Written = &'static [(&'static str, Step)];
        let looks: [(Vec<Tracked>, Written); 6] = [
            (
                vec![
                    at("new", Lifecycle::Creating, true, false),
                    at("old", Lifecycle::Booting, false, true),
                    at("stays", Lifecycle::Booting, false, false),
                ],
                &[("new", Step::Creating)],
            ),
            (
                vec![
                    at("new", Lifecycle::Booting, true, false),
                    at("old", Lifecycle::Ready, false, true),
                    at("stays", Lifecycle::Ready, false, false),
                ],
                &[("new", Step::Starting)],
            ),
            (
                vec![
                    at("new", Lifecycle::Ready, true, false),
                    at("old", Lifecycle::Draining, false, true),
                    at("stays", Lifecycle::Ready, false, false),
                ],
                &[("new", Step::Ready), ("old", Step::Draining)],
            ),
            (
                vec![
                    at("new", Lifecycle::Ready, true, false),
                    at("old", Lifecycle::Drained, false, true),
                    at("stays", Lifecycle::Ready, false, false),
                ],
                &[],
            ),
            (
                vec![
                    at("new", Lifecycle::Ready, true, false),
                    at("old", Lifecycle::Going, false, true),
                    at("stays", Lifecycle::Broken, false, false),
                ],
                &[("old", Step::Deleting)],
            ),
            (
                vec![
                    at("new", Lifecycle::Ready, true, false),
                    at("stays", Lifecycle::Broken, false, false),
                ],
                &[("old", Step::Gone)],
            ),
        ];
        for (number, (tracked, wanted)) in looks.into_iter().enumerate() {
            let changes = progress.changes(&tracked);
            let changes: Vec<(&str, Step)> = changes
                .iter()
                .map(|(name, step, _)| (name.as_str(), *step))
                .collect();
            assert_eq!(changes, wanted, "{number}");
        }
    }
}
