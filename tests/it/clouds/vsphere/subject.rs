//! vCenter's simulator behind a proxy, which makes the trouble.

use std::any::Any;

use flatcar::worker_group::cloud::{Entry, Machine};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::depth;
use super::world::{IMAGES, World};
use crate::proxy::Fate;
use crate::worker_group::{Act, Bench, Subject, Trouble, conforms, entry};

#[tokio::test(flavor = "multi_thread")]
async fn vsphere_behaves_like_a_cloud() {
    let Some(vsphere) = World::find().await else {
        return;
    };
    conforms(&vsphere, depth::BEHAVIOURS).await;
}

impl World {
    /// The simulator of a behaviour that only vSphere promises.
    pub(super) fn seen_by<'a>(bench: &'a Bench<'_>) -> &'a Self {
        let subject: &dyn Any = bench.subject;
        subject.downcast_ref().expect("is vSphere")
    }

    /// Every call of this name is answered with this fault, and none of them carried out.
    pub(super) fn refuse(&self, name: &'static str, fault: &'static str) {
        self.proxy.each(name, move || fault_of(fault));
    }
}

impl Subject for World {
    fn entry(&self) -> &'static Entry {
        entry("vsphere")
    }

    fn configuration(&self, _: u32) -> Json {
        json!({"vsphere": self.block()})
    }

    fn shape(&self) -> Json {
        let mut shape = self.placed();
        shape["extra_config"] = json!({"team": "a", "cost": "1"});
        shape
    }

    fn tags(&self) -> &'static str {
        "extra_config"
    }

    fn takes_time(&self) -> bool {
        true
    }

    fn nowhere(&self) -> (&'static str, Json) {
        ("folder", json!("nowhere"))
    }

    fn images(&self) -> [&'static str; 2] {
        IMAGES
    }

    fn unknown_image(&self) -> &'static str {
        "nowhere/flatcar"
    }

    fn unknown_id(&self) -> String {
        "vm-999999|50000000-0000-4000-8000-000000000000".to_owned()
    }

    fn lacks(&self) -> Vec<&'static str> {
        vec![
            "a machine is pending before it runs",
            "a list may be late, and asking by id is not",
        ]
    }

    fn trouble(&self, trouble: Trouble) -> BoxFuture<'_, Result<(), &'static str>> {
        let mut can = Ok(());
        match trouble {
            Trouble::Quota => self.refuse(CREATE, "InsufficientResourcesFault"),
            Trouble::AnswerLost => self.proxy.once(CREATE, || Fate::ResetAfter),
            Trouble::RequestLost => self.proxy.once(CREATE, || Fate::ResetBefore),
            Trouble::Throttled => self.proxy.each(CREATE, || status(429)),
            Trouble::Expired => self.refuse(CREATE, "NotAuthenticated"),
            Trouble::Forbidden => self.refuse(CREATE, "NoPermission"),
            Trouble::Down => self.proxy.each(LIST, || status(503)),
            Trouble::SlowBoot => {
                can = Err("a machine runs from the moment at which its clone is there")
            }
            // The guest is asked, and takes its time.
            Trouble::SlowDelete => self.proxy.each(SHUTDOWN, || status(204)),
            Trouble::LateLists => {
                can = Err("properties are of the moment at which they are asked for")
            }
        }
        async move { can }.boxed()
    }

    fn calm(&self) -> BoxFuture<'_, ()> {
        self.proxy.order(|_, _| Fate::Pass);
        self.proxy.rewrite(SMALL, LARGE);
        async {}.boxed()
    }

    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>> {
        async move {
            let id = machine.id.as_str();
            match act {
                Act::Remove => self.remove(id).await,
                Act::Stop => self.stop(id).await,
                Act::Retag => self.set(id, &[("team", "z")]).await,
                Act::TagAsStranger => self.set(id, &[("stranger", "1")]).await,
                Act::TakeUid => self.set(id, &[("flatcar.uid", "")]).await,
                Act::Unmark => self.set(id, &MARK.map(|key| (key, ""))).await,
            }
            Ok(())
        }
        .boxed()
    }

    fn small_pages(&self) -> BoxFuture<'_, Result<(), &'static str>> {
        self.proxy.rewrite(LARGE, SMALL);
        async { Ok(()) }.boxed()
    }

    fn pages(&self) -> BoxFuture<'_, u64> {
        let pages = self.proxy.calls().into_iter();
        let pages = pages.filter(|call| call == CONTINUE);
        let pages = u64::try_from(pages.count()).expect("a count");
        async move { pages }.boxed()
    }
}

pub(super) const CREATE: &str = "vSphere CloneVM_Task";
pub(super) const LIST: &str = "vSphere RetrievePropertiesEx all";
/// Of objects that are known.
pub(super) const PROPERTIES: &str = "vSphere RetrievePropertiesEx VirtualMachine";
pub(super) const CONTINUE: &str = "vSphere ContinueRetrievePropertiesEx";
const SHUTDOWN: &str = "vSphere ShutdownGuest";
const LARGE: &str = r#""maxObjects":500}"#;
const SMALL: &str = r#""maxObjects":5}"#;
const MARK: [&str; 6] = [
    "flatcar.cluster",
    "flatcar.group",
    "flatcar.uid",
    "flatcar.generation",
    "flatcar.unsaved",
    "flatcar.proof",
];

/// In vCenter's words. See: *vSphere Web Services API*, "Faults".
pub(super) fn fault_of(kind: &str) -> Fate {
    let message = json!({"_typeName": "LocalizableMessage", "key": kind, "message": "As ordered."});
    Fate::Answer {
        status: 500,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: json!({"_typeName": kind, "faultMessage": [message]}).to_string(),
    }
}

/// In the words of what stands before it, which are none.
pub(super) fn status(status: u16) -> Fate {
    Fate::Answer {
        status,
        headers: Vec::new(),
        body: String::new(),
    }
}
