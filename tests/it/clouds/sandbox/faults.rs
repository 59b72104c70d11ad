//! The sandbox's faults, as its own file orders them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::harness::scratch;
use crate::worker_group::faults::{Bench, Fault, Stage, Step, show};

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_carries_on_or_says_so() {
    show(&Sandbox, None).await;
}

struct Sandbox;

struct Directory(TempDir);

impl Stage for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn bench(&self, _: usize) -> BoxFuture<'_, Box<dyn Bench + '_>> {
        let directory = Directory(scratch());
        directory.calm();
        let bench: Box<dyn Bench> = Box::new(directory);
        async { bench }.boxed()
    }

    fn can_meet(&self, step: &Step, call: &str, fault: Fault) -> bool {
        let happens = match fault {
            Fault::NotYet => step.creates,
            Fault::Still => step.deletes,
            _ => true,
        };
        happens && rule(call, fault).is_some()
    }

    fn action(&self, call: &str) -> String {
        format!("Sandbox {call}")
    }

    fn words(&self, fault: Fault) -> &'static [&'static str] {
        match fault {
            Fault::ResetBefore | Fault::ResetAfter => &["the answer was lost"],
            Fault::Error503 => &["in trouble"],
            Fault::Throttled | Fault::RetryAfter => &["asked too often"],
            Fault::Expired => &["expired"],
            Fault::Forbidden => &["not allowed"],
            // None of these is an answer, or none that a directory gives: nothing can be said.
            Fault::Refused
            | Fault::Silence
            | Fault::Error500
            | Fault::Truncated
            | Fault::NotYet
            | Fault::Still => &[],
        }
    }

    fn is_logged(&self, fault: Fault) -> bool {
        matches!(fault, Fault::Error503 | Fault::Throttled)
    }

    fn at_once(&self) -> usize {
        16
    }

    fn stops(&self) -> bool {
        true
    }
}

impl Directory {
    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, rules: &[Json]) {
        let conditions = json!({"log_calls": true, "rules": rules});
        std::fs::write(self.path("faults.json"), conditions.to_string()).expect("writes");
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap_or_default()
    }
}

impl Bench for Directory {
    fn provider(&self) -> Json {
        json!({"sandbox": {"directory": self.0.path()}})
    }

    fn shape(&self, tags: &Json) -> Json {
        json!({"image": "flatcar", "sandbox": {"tags": tags}})
    }

    fn order(&self, call: &str, fault: Fault) {
        self.write(&[rule(call, fault).expect("one that can be ordered")]);
    }

    /// A rule is counted from the first call that is its own.
    fn met(&self) -> bool {
        let counted = serde_json::from_str(&self.read("faults.counted.json"));
        let counted: Json = counted.unwrap_or_default();
        counted.as_object().is_some_and(|rules| !rules.is_empty())
    }

    fn calm(&self) {
        self.write(&[]);
        for file in ["calls.jsonl", "faults.counted.json"] {
            let _ = std::fs::remove_file(self.path(file));
        }
    }

    fn calls(&self) -> BTreeSet<String> {
        let log = self.read("calls.jsonl");
        let call = |line: &str| {
            let line: Json = serde_json::from_str(line).expect("JSON");
            line["call"].as_str().expect("a word").to_owned()
        };
        log.lines().map(call).collect()
    }

    fn stop(&self) {
        let files = std::fs::read_dir(self.path("machines"));
        let mut paths: Vec<PathBuf> = files
            .into_iter()
            .flatten()
            .map(|file| file.expect("an entry").path())
            .collect();
        paths.sort();
        if let Some(path) = paths.first() {
            let text = std::fs::read_to_string(path).expect("a record");
            let mut record: Json = serde_json::from_str(&text).expect("JSON");
            record["stopped"] = json!(true);
            std::fs::write(path, record.to_string()).expect("writes");
        }
    }

    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        let files = std::fs::read_dir(self.path("machines"));
        let machines = files.into_iter().flatten().flatten().filter_map(|file| {
            let text = std::fs::read_to_string(file.path()).ok()?;
            let record: Json = serde_json::from_str(&text).ok()?;
            if !record["gone_ms"].is_null() {
                return None;
            }
            let word = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            Some((word("name"), word("id")))
        });
        let machines = machines.collect();
        async { machines }.boxed()
    }
}

/// `None`: a directory cannot do that.
fn rule(call: &str, fault: Fault) -> Option<Json> {
    let (kind, seconds) = match fault {
        Fault::ResetBefore => ("lost_before", 0),
        Fault::ResetAfter => ("lost", 0),
        Fault::Silence => ("delay", 10),
        Fault::Error503 => ("unavailable", 0),
        Fault::Throttled => ("throttled", 0),
        Fault::RetryAfter => ("throttled", 1),
        Fault::Expired => ("unauthenticated", 0),
        Fault::Forbidden => ("forbidden", 0),
        Fault::NotYet if call == "create" => ("unlisted", 2),
        Fault::Still if call == "delete" => ("slow_delete", 2),
        _ => return None,
    };
    let times = match fault.times() {
        usize::MAX => 0,
        times => times,
    };
    Some(json!({"call": call, "times": times, "fault": kind, "seconds": seconds}))
}
