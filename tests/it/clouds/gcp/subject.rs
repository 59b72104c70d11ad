//! Compute Engine's stand-in behind a proxy, which makes the trouble.

use std::any::Any;

use flatcar::worker_group::cloud::{
    CLUSTER, Entry, GENERATION, GROUP, Machine, PROOF, UID, UNSAVED,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::depth;
use super::world::{IMAGES, World, ZONES};
use crate::proxy::Fate;
use crate::worker_group::{Act, Bench, Subject, Trouble, conforms, entry};

#[tokio::test(flavor = "multi_thread")]
async fn gcp_behaves_like_a_cloud() {
    let Some(gcp) = World::find() else {
        return;
    };
    conforms(&gcp, depth::BEHAVIOURS).await;
}

impl World {
    /// The stand-in of a behaviour that only Compute Engine promises.
    pub(super) fn seen_by<'a>(bench: &'a Bench<'_>) -> &'a Self {
        let subject: &dyn Any = bench.subject;
        subject.downcast_ref().expect("is Compute Engine")
    }

    /// Every call of this name is answered so, and none of them carried out.
    pub(super) fn refuse(&self, name: &'static str, status: u16, reason: &'static str) {
        let answer = move || refusal(status, reason, "As ordered.");
        self.proxy.each(name, answer);
    }

    /// What is said of instances says this instead.
    fn instances_are(&self, change: fn(String) -> String) {
        self.proxy
            .order(move |_, call| match SHOWS.contains(&call) {
                true => Fate::Rewritten(change),
                false => Fate::Pass,
            });
    }
}

impl Subject for World {
    fn entry(&self) -> &'static Entry {
        entry("gcp")
    }

    fn configuration(&self, _: u32) -> Json {
        json!({"gcp": self.block()})
    }

    fn shape(&self) -> Json {
        json!({
            "zones": ZONES,
            "machine_type": "e2-small",
            "network_tags": ["web"],
            "labels": {"team": "a", "cost": "1"},
        })
    }

    fn tags(&self) -> &'static str {
        "labels"
    }

    fn takes_time(&self) -> bool {
        true
    }

    fn nowhere(&self) -> (&'static str, Json) {
        ("zones", json!(["nowhere-a"]))
    }

    fn images(&self) -> [&'static str; 2] {
        IMAGES
    }

    fn unknown_image(&self) -> &'static str {
        "projects/kinvolk-public/global/images/flatcar-nowhere-1"
    }

    fn unknown_id(&self) -> String {
        "europe-west3-a/1".to_owned()
    }

    fn lacks(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn trouble(&self, trouble: Trouble) -> BoxFuture<'_, Result<(), &'static str>> {
        match trouble {
            Trouble::Quota => self.proxy.order(|_, call| match call == CREATE {
                true => ended(
                    "QUOTA_EXCEEDED",
                    "Quota 'CPUS' exceeded. Limit: 24.0 in region europe-west3.",
                ),
                false => Fate::Pass,
            }),
            Trouble::AnswerLost => self.proxy.once(CREATE, || Fate::ResetAfter),
            Trouble::RequestLost => self.proxy.once(CREATE, || Fate::ResetBefore),
            Trouble::Throttled => self.refuse(CREATE, 403, "rateLimitExceeded"),
            Trouble::Expired => self.refuse(CREATE, 401, "authError"),
            Trouble::Forbidden => self.refuse(CREATE, 403, "forbidden"),
            Trouble::Down => self.refuse(LIST, 503, "backendError"),
            Trouble::SlowBoot => self.instances_are(|text| {
                text.replace(r#""status": "RUNNING""#, r#""status": "STAGING""#)
            }),
            Trouble::SlowDelete => self.proxy.order(|_, call| match call {
                DELETE => Fate::Answer {
                    status: 200,
                    headers: Vec::new(),
                    body: json!({"name": "operation-1", "status": "RUNNING"}).to_string(),
                },
                call if SHOWS.contains(&call) => Fate::Rewritten(|text| {
                    text.replace(r#""status": "RUNNING""#, r#""status": "STOPPING""#)
                }),
                _ => Fate::Pass,
            }),
            Trouble::LateLists => self.proxy.order(|_, call| match call == LIST {
                true => Fate::Rewritten(|_| r#"{"items": {}}"#.to_owned()),
                false => Fate::Pass,
            }),
        }
        async { Ok(()) }.boxed()
    }

    fn calm(&self) -> BoxFuture<'_, ()> {
        self.proxy.order(|_, _| Fate::Pass);
        self.server().control(
            &json!({"page": 500, "quotas": {}, "seconds": {"insert": 0.1, "delete": 0.1}}),
        );
        async {}.boxed()
    }

    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>> {
        let set = |key: &str, value: &str| {
            self.relabel(&machine.id, |labels| {
                labels.insert(key.to_owned(), json!(value));
            });
        };
        let unset = |keys: &[&str]| {
            self.relabel(&machine.id, |labels| {
                labels.retain(|key, _| !keys.contains(&key.as_str()))
            });
        };
        match act {
            Act::Remove => self.remove(&machine.id),
            Act::Stop => self.stop(&machine.id),
            Act::Retag => set("team", "z"),
            Act::TagAsStranger => set("stranger", "1"),
            Act::TakeUid => unset(&[UID]),
            Act::Unmark => unset(&[CLUSTER, GROUP, UID, GENERATION, UNSAVED, PROOF]),
        }
        async { Ok(()) }.boxed()
    }

    fn small_pages(&self) -> BoxFuture<'_, Result<(), &'static str>> {
        self.server().control(&json!({"page": 5}));
        async { Ok(()) }.boxed()
    }

    fn pages(&self) -> BoxFuture<'_, u64> {
        let pages = self.server().control(&json!({}))["pages"].as_u64();
        async move { pages.expect("a count") }.boxed()
    }
}

pub(super) const CREATE: &str = "compute POST /zones/{id}/instances";
pub(super) const DELETE: &str = "compute DELETE /zones/{id}/instances/{id}";
pub(super) const LIST: &str = "compute GET /aggregated/instances";
const SHOWS: [&str; 3] = [
    LIST,
    "compute GET /aggregated/instances?name",
    "compute GET /zones/{id}/instances/{id}",
];

/// In Google's words.
pub(super) fn refusal(status: u16, reason: &str, message: &str) -> Fate {
    let error = json!({"code": status, "message": message, "errors": [{"message": message, "domain": "global", "reason": reason}]});
    Fate::Answer {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: json!({"error": error}).to_string(),
    }
}

/// An operation that was taken on and has failed.
pub(super) fn ended(code: &str, message: &str) -> Fate {
    let operation = json!({
        "name": "operation-1", "status": "DONE", "targetId": "1", "httpErrorStatusCode": 403,
        "error": {"errors": [{"code": code, "message": message}]},
    });
    Fate::Answer {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: operation.to_string(),
    }
}
