//! The sandbox's faults, as its own file orders them.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::world::{World, word};
use crate::worker_group::faults::{Fault, FaultyCloud, FaultyLife, Step, show};

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_carries_on_or_says_so() {
    show(&Sandbox, None).await;
}

struct Sandbox;

impl FaultyCloud for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn place(&self, _: usize) -> BoxFuture<'_, Box<dyn FaultyLife + '_>> {
        let world = World::new();
        world.calm();
        let place: Box<dyn FaultyLife> = Box::new(world);
        async { place }.boxed()
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

impl World {
    fn rules(&self, rules: &[Json]) {
        let faults = json!({"log_calls": true, "rules": rules});
        self.order_faults(&faults);
    }
}

impl FaultyLife for World {
    fn provider(&self) -> Json {
        json!({"sandbox": self.block()})
    }

    fn shape(&self, tags: &Json) -> Json {
        json!({"image": "flatcar", "sandbox": {"tags": tags}})
    }

    fn order(&self, call: &str, fault: Fault) {
        self.rules(&[rule(call, fault).expect("one that can be ordered")]);
    }

    /// A rule is counted from the first call that is its own.
    fn met(&self) -> bool {
        let counted = self.read("faults.counted.json").unwrap_or_default();
        counted.as_object().is_some_and(|rules| !rules.is_empty())
    }

    fn calm(&self) {
        self.rules(&[]);
        self.forget("calls.jsonl");
    }

    fn calls(&self) -> BTreeSet<String> {
        let calls = self.logged();
        calls.iter().map(|call| word(call, "call")).collect()
    }

    fn stop(&self) {
        if let Some(name) = self.records().keys().next() {
            self.stop_machine(name);
        }
    }

    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        let records = self.records();
        let stay = records
            .iter()
            .filter(|(_, record)| record["gone_ms"].is_null());
        let machines = stay.map(|(name, record)| (name.clone(), word(record, "id")));
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
