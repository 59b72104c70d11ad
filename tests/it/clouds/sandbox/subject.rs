//! The sandbox: its own reference.

use std::path::PathBuf;

use flatcar::worker_group::cloud::{Entry, Machine};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::harness::scratch;
use crate::worker_group::{Act, Subject, Trouble, conforms, entry};

struct Sandbox {
    directory: TempDir,
}

#[tokio::test]
async fn the_sandbox_behaves_like_a_cloud() {
    let sandbox = Sandbox {
        directory: scratch(),
    };
    conforms(&sandbox, &[]).await;
}

impl Sandbox {
    fn order(&self, conditions: Json) {
        let mut all = json!({"images": self.images(), "zones": ["sandbox-a", "sandbox-b"]});
        for (name, value) in conditions.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        std::fs::write(self.path("faults.json"), all.to_string()).expect("writes");
        // A rule counts from the start when it is ordered again.
        let _ = std::fs::remove_file(self.path("faults.counted.json"));
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn edit(&self, machine: &Machine, change: impl FnOnce(&mut Json)) {
        let path = self.path(&format!("machines/{}.json", machine.name));
        let text = std::fs::read_to_string(&path).expect("reads");
        let mut record: Json = serde_json::from_str(&text).expect("is JSON");
        change(&mut record);
        std::fs::write(&path, record.to_string()).expect("writes");
    }
}

impl Subject for Sandbox {
    fn entry(&self) -> &'static Entry {
        entry("sandbox")
    }

    fn configuration(&self, _: u32) -> Json {
        json!({"sandbox": {"directory": self.directory.path()}})
    }

    fn shape(&self) -> Json {
        json!({
            "boot_time": "0s",
            "zone": "sandbox-a",
            "size": "small",
            "tags": {"team": "a", "cost": "1"},
        })
    }

    fn nowhere(&self) -> (&'static str, Json) {
        ("zone", json!("sandbox-z"))
    }

    fn images(&self) -> [&'static str; 2] {
        ["flatcar-a", "flatcar-b"]
    }

    fn unknown_image(&self) -> &'static str {
        "flatcar-z"
    }

    fn lacks(&self) -> Vec<&'static str> {
        vec![
            "tags of others stay, and are no drift",
            "a list is whole beyond one page",
        ]
    }

    fn unknown_id(&self) -> String {
        "sbx-0000000000000000".to_owned()
    }

    fn trouble(&self, trouble: Trouble) -> BoxFuture<'_, Result<(), &'static str>> {
        let rule = |call: &str, fault: &str| json!({"rules": [{"call": call, "fault": fault}]});
        self.order(match trouble {
            Trouble::Quota => json!({"quota": 0}),
            Trouble::AnswerLost => rule("create", "lost"),
            Trouble::RequestLost => rule("create", "lost_before"),
            Trouble::Throttled => rule("create", "throttled"),
            Trouble::Expired => rule("create", "unauthenticated"),
            Trouble::Forbidden => rule("create", "forbidden"),
            Trouble::Down => rule("list", "unavailable"),
            // The shape says it.
            Trouble::SlowBoot => json!({}),
            Trouble::SlowDelete => json!({"delete_seconds": 3600}),
            Trouble::LateLists => json!({"list_lag_seconds": 3600}),
        });
        async { Ok(()) }.boxed()
    }

    fn calm(&self) -> BoxFuture<'_, ()> {
        self.order(json!({}));
        async {}.boxed()
    }

    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>> {
        let done = match act {
            Act::Remove => {
                let file = self.path(&format!("machines/{}.json", machine.name));
                std::fs::remove_file(file).expect("removes");
                Ok(())
            }
            Act::Stop => {
                self.edit(machine, |record| record["stopped"] = json!(true));
                Ok(())
            }
            Act::Retag => {
                self.edit(machine, |record| record["tags"]["team"] = json!("z"));
                Ok(())
            }
            Act::TagAsStranger => Err("nobody else tags the machines of a sandbox"),
            Act::TakeUid => {
                self.edit(machine, |record| take(record, &["uid"]));
                Ok(())
            }
            Act::Unmark => {
                let mark = [
                    "cluster",
                    "group",
                    "uid",
                    "generation",
                    "unsaved",
                    "origin",
                    "proof",
                ];
                self.edit(machine, |record| take(record, &mark));
                Ok(())
            }
        };
        async move { done }.boxed()
    }

    fn small_pages(&self) -> BoxFuture<'_, Result<(), &'static str>> {
        async { Err("a directory has no pages") }.boxed()
    }

    fn pages(&self) -> BoxFuture<'_, u64> {
        async { 0 }.boxed()
    }
}

fn take(record: &mut Json, fields: &[&str]) {
    for field in fields {
        let taken = record.as_object_mut().and_then(|all| all.remove(*field));
        assert!(taken.is_some(), "{field} of {record}");
    }
}
