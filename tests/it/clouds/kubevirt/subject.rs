//! A cluster with KubeVirt behind a proxy, which makes the trouble.

use std::any::Any;

use flatcar::worker_group::cloud::{
    CLUSTER, Entry, GENERATION, GROUP, Machine, PROOF, UID, UNSAVED,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::depth;
use super::world::{IMAGES, World};
use crate::proxy::Fate;
use crate::worker_group::{Act, Bench, Subject, Trouble, conforms, entry};

#[tokio::test(flavor = "multi_thread")]
async fn kubevirt_behaves_like_a_cloud() {
    let Some(kubevirt) = World::find().await else {
        return;
    };
    conforms(&kubevirt, depth::BEHAVIOURS).await;
}

impl World {
    /// The cluster of a behaviour that only KubeVirt promises.
    pub(super) fn seen_by<'a>(bench: &'a Bench<'_>) -> &'a Self {
        let subject: &dyn Any = bench.subject;
        subject.downcast_ref().expect("is KubeVirt")
    }

    /// Every call of this name is answered so, and none of them carried out.
    pub(super) fn refuse(
        &self,
        name: &'static str,
        status: u16,
        reason: &'static str,
        message: &'static str,
    ) {
        self.proxy
            .each(name, move || refusal(status, reason, message));
    }
}

impl Subject for World {
    fn entry(&self) -> &'static Entry {
        entry("kubevirt")
    }

    fn configuration(&self, _: u32) -> Json {
        json!({"kubevirt": self.block()})
    }

    fn shape(&self) -> Json {
        json!({
            "cpu": {"cores": 1},
            "memory": {"guest": "128Mi"},
            "termination_grace_period_seconds": 1,
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
        ("namespace", json!("nowhere"))
    }

    fn images(&self) -> [&'static str; 2] {
        IMAGES
    }

    fn unknown_image(&self) -> &'static str {
        "pvc:nowhere"
    }

    fn unknown_id(&self) -> String {
        "workers-0/5c1a7c52-0000-4000-8000-000000000001".to_owned()
    }

    fn lacks(&self) -> Vec<&'static str> {
        vec!["a list may be late, and asking by id is not"]
    }

    fn trouble(&self, trouble: Trouble) -> BoxFuture<'_, Result<(), &'static str>> {
        match trouble {
            Trouble::Quota => self.refuse(
                CREATE,
                403,
                "Forbidden",
                r#"virtualmachines.kubevirt.io "w" is forbidden: exceeded quota: vms, requested: count/virtualmachines.kubevirt.io=1, used: count/virtualmachines.kubevirt.io=9, limited: count/virtualmachines.kubevirt.io=9"#,
            ),
            Trouble::AnswerLost => self.proxy.once(CREATE, || Fate::ResetAfter),
            Trouble::RequestLost => self.proxy.once(CREATE, || Fate::ResetBefore),
            Trouble::Throttled => {
                let says = "Too many requests, please try again later.";
                self.refuse(CREATE, 429, "TooManyRequests", says);
            }
            Trouble::Expired => self.refuse(CREATE, 401, "Unauthorized", "Unauthorized"),
            Trouble::Forbidden => {
                let says = r#"virtualmachines.kubevirt.io is forbidden: User "u" cannot create resource "virtualmachines" in API group "kubevirt.io" in the namespace "vms""#;
                self.refuse(CREATE, 403, "Forbidden", says);
            }
            Trouble::Down => {
                let says = "the server is currently unable to handle the request";
                self.refuse(LIST, 503, "ServiceUnavailable", says);
            }
            Trouble::SlowBoot => self.proxy.order(|_, call| match SHOWS.contains(&call) {
                true => Fate::Rewritten(|text| {
                    text.replace(r#""printableStatus":"Running""#, r#""printableStatus":"Starting""#)
                }),
                false => Fate::Pass,
            }),
            Trouble::SlowDelete => self.proxy.order(|_, call| match call {
                DELETE => Fate::Answer {
                    status: 200,
                    headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                    body: json!({"kind": "VirtualMachine"}).to_string(),
                },
                call if SHOWS.contains(&call) => Fate::Rewritten(|text| {
                    let going = r#""deletionTimestamp":"2026-11-01T00:00:00Z","creationTimestamp":"#;
                    text.replace(r#""creationTimestamp":"#, going)
                }),
                _ => Fate::Pass,
            }),
            Trouble::LateLists => {
                return async { Err("lists are of the store's newest version") }.boxed();
            }
        }
        async { Ok(()) }.boxed()
    }

    fn calm(&self) -> BoxFuture<'_, ()> {
        self.proxy.order(|_, _| Fate::Pass);
        async {}.boxed()
    }

    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>> {
        let name = &machine.name;
        let keys = [CLUSTER, GROUP, UID, GENERATION, UNSAVED, PROOF];
        let keys = keys.into_iter().map(|key| (key.to_owned(), Json::Null));
        let labels = match act {
            Act::Remove | Act::Stop => Json::Null,
            Act::Retag => json!({"team": "z"}),
            Act::TagAsStranger => json!({"stranger": "1"}),
            Act::TakeUid => json!({UID: null}),
            Act::Unmark => Json::Object(keys.collect()),
        };
        async move {
            match act {
                Act::Remove => self.remove(name).await,
                Act::Stop => self.stop(name).await,
                _ => {
                    let patch = json!({"metadata": {"labels": labels}});
                    self.change(name, &patch).await;
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn small_pages(&self) -> BoxFuture<'_, Result<(), &'static str>> {
        self.proxy.rewrite("limit=500", "limit=5");
        async { Ok(()) }.boxed()
    }

    fn pages(&self) -> BoxFuture<'_, u64> {
        // A list of one page is one call.
        let lists = self.proxy.calls().into_iter().filter(|call| call == LIST);
        let pages = u64::try_from(lists.count()).expect("a count");
        async move { pages }.boxed()
    }
}

pub(super) const CREATE: &str = "create virtualmachines";
pub(super) const DELETE: &str = "delete virtualmachines";
pub(super) const LIST: &str = "list virtualmachines";
pub(super) const SECRET: &str = "create secrets";
const SHOWS: [&str; 2] = [LIST, "get virtualmachines"];

/// In an API server's words.
pub(super) fn refusal(status: u16, reason: &str, message: &str) -> Fate {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": status});
    Fate::Answer {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string(),
    }
}
