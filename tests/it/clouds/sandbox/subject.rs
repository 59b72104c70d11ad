//! The sandbox: its own reference.

use flatcar::worker_group::cloud::{Entry, Machine};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::world::World;
use crate::worker_group::{Act, Subject, Trouble, conforms, entry};

#[tokio::test]
async fn the_sandbox_behaves_like_a_cloud() {
    conforms(&World::new(), &[]).await;
}

impl World {
    fn conditions(&self, conditions: Json) {
        let mut all = json!({"images": self.images(), "zones": ["sandbox-a", "sandbox-b"]});
        for (name, value) in conditions.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        self.order_faults(&all);
    }
}

impl Subject for World {
    fn entry(&self) -> &'static Entry {
        entry("sandbox")
    }

    fn configuration(&self, _: u32) -> Json {
        json!({"sandbox": self.block()})
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
        self.conditions(match trouble {
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
        self.conditions(json!({}));
        async {}.boxed()
    }

    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>> {
        let name = machine.name.as_str();
        let without = |fields: &[&str]| self.edit(name, |record| take(record, fields));
        match act {
            Act::Remove => self.remove(name),
            Act::Stop => self.stop_machine(name),
            Act::Retag => {
                let retag = |record: &mut Json| record["tags"]["team"] = json!("z");
                self.edit(name, retag);
            }
            Act::TagAsStranger => {
                return async { Err("nobody else tags the machines of a sandbox") }.boxed();
            }
            Act::TakeUid => without(&["uid"]),
            Act::Unmark => without(&[
                "cluster",
                "group",
                "uid",
                "generation",
                "unsaved",
                "origin",
                "proof",
            ]),
        }
        async { Ok(()) }.boxed()
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
