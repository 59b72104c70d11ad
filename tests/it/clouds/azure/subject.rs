//! Azure's stand-in in the list of behaviours.

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
async fn azure_behaves_like_a_cloud() {
    let Some(azure) = World::find().await else {
        return;
    };
    conforms(&azure, depth::BEHAVIOURS).await;
}

impl World {
    /// The stand-in of a behaviour that only Azure promises.
    pub(super) fn seen_by<'a>(bench: &'a Bench<'_>) -> &'a Self {
        let subject: &dyn Any = bench.subject;
        subject.downcast_ref().expect("is Azure")
    }

    /// Every call of this name is answered so, and none of them carried out.
    pub(super) fn refuse(&self, name: &'static str, status: u16, code: &'static str) {
        self.proxy.each(name, move || refusal(status, code));
    }
}

/// In Resource Manager's form.
pub(super) fn refusal(status: u16, code: &str) -> Fate {
    Fate::Answer {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: json!({"error": {"code": code, "message": "As ordered."}}).to_string(),
    }
}

impl Subject for World {
    fn entry(&self) -> &'static Entry {
        entry("azure")
    }

    fn configuration(&self, _: u32) -> Json {
        json!({"azure": self.block()})
    }

    fn shape(&self) -> Json {
        let mut shape = World::shape(self);
        shape["tags"] = json!({"team": "a", "cost": "1"});
        shape
    }

    fn nowhere(&self) -> (&'static str, Json) {
        ("subnet_id", json!(self.subnet("nowhere")))
    }

    fn images(&self) -> [&'static str; 2] {
        IMAGES
    }

    fn unknown_image(&self) -> &'static str {
        "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:9.9.9"
    }

    fn unknown_id(&self) -> String {
        format!(
            "/subscriptions/{}/resourcegroups/workers/providers/Microsoft.Compute/virtualMachines/nobody|{}",
            self.subscription, self.subscription
        )
    }

    fn lacks(&self) -> Vec<&'static str> {
        vec!["a list may be late, and asking by id is not"]
    }

    fn trouble(&self, trouble: Trouble) -> BoxFuture<'_, Result<(), &'static str>> {
        async move {
            let slow = |what: &str| json!({"seconds": {format!("{what}:microsoft.compute/virtualmachines"): 3600}});
            match trouble {
                Trouble::Quota => {
                    self.control(json!({"cores": 0})).await;
                }
                Trouble::AnswerLost => self.proxy.once(CREATE, || Fate::ResetAfter),
                Trouble::RequestLost => self.proxy.once(CREATE, || Fate::ResetBefore),
                Trouble::Throttled => self.refuse(CREATE, 429, "TooManyRequests"),
                Trouble::Expired => self.refuse(CREATE, 401, "ExpiredAuthenticationToken"),
                Trouble::Forbidden => self.refuse(CREATE, 403, "AuthorizationFailed"),
                Trouble::Down => self.refuse(LIST, 503, "ServerTimeout"),
                Trouble::SlowBoot => {
                    self.control(slow("create")).await;
                }
                Trouble::SlowDelete => {
                    self.control(slow("delete")).await;
                }
                Trouble::LateLists => return Err("Resource Manager is asked for a machine by the lists it is in"),
            }
            Ok(())
        }
        .boxed()
    }

    fn calm(&self) -> BoxFuture<'_, ()> {
        async {
            self.proxy.order(|_, _| Fate::Pass);
            self.control(json!({})).await;
        }
        .boxed()
    }

    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>> {
        async move {
            let id = machine.id.as_str();
            let untag = async |keys: &[&str]| {
                let mut tags = self.get(id).await.expect("is there")["tags"].take();
                let kept = tags.as_object_mut().expect("tags");
                kept.retain(|key, _| !keys.contains(&key.as_str()));
                self.tag(id, "Replace", tags).await;
            };
            match act {
                Act::Remove => self.remove(id).await,
                Act::Stop => self.stop(id).await,
                Act::Retag => self.tag(id, "Merge", json!({"team": "z"})).await,
                Act::TagAsStranger => self.tag(id, "Merge", json!({"stranger": "1"})).await,
                Act::TakeUid => untag(&[UID]).await,
                Act::Unmark => untag(&[CLUSTER, GROUP, UID, GENERATION, UNSAVED, PROOF]).await,
            }
            Ok(())
        }
        .boxed()
    }

    fn small_pages(&self) -> BoxFuture<'_, Result<(), &'static str>> {
        async {
            self.control(json!({"page": 5})).await;
            Ok(())
        }
        .boxed()
    }

    fn pages(&self) -> BoxFuture<'_, u64> {
        World::pages(self).boxed()
    }
}

pub(super) const CREATE: &str = "arm PUT virtualMachines/{name}";
pub(super) const LIST: &str = "arm GET virtualMachines";
