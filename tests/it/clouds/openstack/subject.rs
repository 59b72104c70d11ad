//! Nova, Glance and Neutron themselves, over a hypervisor that pretends
//! (`tests/servers/openstack.sh`); only with `FLATCAR_ACC_OPENSTACK=1`, for they take a minute to
//! start and 1.7 GB.

use std::any::Any;

use flatcar::worker_group::cloud::{
    CLUSTER, Entry, GENERATION, GROUP, Machine, PROOF, UID, UNSAVED,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::depth;
use super::server;
use super::world::World;
use crate::proxy::Fate;
use crate::worker_group::{Act, Bench, Subject, Trouble, conforms, entry};

#[tokio::test]
async fn openstack_behaves_like_a_cloud() {
    let Some(openstack) = World::find("conformance").await else {
        return;
    };
    conforms(&openstack, depth::BEHAVIOURS).await;
}

impl World {
    /// The services of a behaviour that only OpenStack promises.
    pub(super) fn seen_by<'a>(bench: &'a Bench<'_>) -> &'a Self {
        let subject: &dyn Any = bench.subject;
        subject.downcast_ref().expect("is OpenStack")
    }

    /// Every call of this name is answered so, and none of them carried out.
    pub(super) fn refuse(&self, name: &'static str, status: u16, body: &'static str) {
        self.proxy.each(name, move || Fate::Answer {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_owned(),
        });
    }

    /// What Nova says of servers says this instead.
    pub(super) fn servers_are(&self, change: fn(String) -> String) {
        self.proxy.order(
            move |_, call| match call.starts_with("nova GET /servers/") {
                true => Fate::Rewritten(change),
                false => Fate::Pass,
            },
        );
    }

    pub(super) async fn floating_ips(&self, quota: i64) {
        let path = format!("/v2.0/quotas/{}", self.client.user.project);
        let body = json!({"quota": {"floatingip": quota}});
        let client = &self.client;
        client
            .ask(&client.admin, "network", Method::PUT, &path, Some(body))
            .await;
    }

    pub(super) async fn instances(&self, quota: i64) {
        let path = format!("/os-quota-sets/{}", self.client.user.project);
        let body = json!({"quota_set": {"instances": quota, "cores": -1, "ram": -1}});
        let client = &self.client;
        client
            .ask(&client.admin, "compute", Method::PUT, &path, Some(body))
            .await;
    }
}

impl Subject for World {
    fn entry(&self) -> &'static Entry {
        entry("openstack")
    }

    fn configuration(&self, _: u32) -> Json {
        json!({"openstack": self.block()})
    }

    fn shape(&self) -> Json {
        json!({
            "flavor_name": server::FLAVOR,
            "networks": [{"name": server::NETWORK}],
            "metadata": {"team": "a", "cost": "1"},
        })
    }

    fn tags(&self) -> &'static str {
        "metadata"
    }

    fn takes_time(&self) -> bool {
        true
    }

    fn nowhere(&self) -> (&'static str, Json) {
        ("availability_zones", json!(["nowhere"]))
    }

    fn images(&self) -> [&'static str; 2] {
        server::IMAGES
    }

    fn unknown_image(&self) -> &'static str {
        "flatcar-nowhere"
    }

    fn lacks(&self) -> Vec<&'static str> {
        vec!["a list is whole beyond one page"]
    }

    fn unknown_id(&self) -> String {
        "00000000-0000-0000-0000-000000000000".to_owned()
    }

    fn trouble(&self, trouble: Trouble) -> BoxFuture<'_, Result<(), &'static str>> {
        async move {
            match trouble {
                Trouble::Quota => {
                    // Nova takes no quota below what is used.
                    let path = format!("/os-quota-sets/{}/detail", self.client.user.project);
                    let admin = &self.client.admin;
                    let quota = self
                        .client
                        .ask(admin, "compute", Method::GET, &path, None)
                        .await;
                    let used = quota["quota_set"]["instances"]["in_use"].as_i64();
                    self.instances(used.expect("a number")).await;
                }
                Trouble::AnswerLost => self.proxy.once(CREATE, || Fate::ResetAfter),
                Trouble::RequestLost => self.proxy.once(CREATE, || Fate::ResetBefore),
                Trouble::Throttled => self.refuse(CREATE, 429, r#"{"overLimit": {"code": 429, "message": "This request was rate-limited."}}"#),
                Trouble::Expired => self.refuse(CREATE, 401, r#"{"error": {"code": 401, "message": "The request you have made requires authentication."}}"#),
                Trouble::Forbidden => self.refuse(CREATE, 403, r#"{"forbidden": {"code": 403, "message": "Policy doesn't allow os_compute_api:servers:create to be performed."}}"#),
                Trouble::Down => self.proxy.order(|_, call| match call.starts_with(LIST) {
                    true => Fate::Answer { status: 503, headers: Vec::new(), body: "{}".to_owned() },
                    false => Fate::Pass,
                }),
                Trouble::SlowBoot => self.servers_are(|text| text.replace(r#""status": "ACTIVE""#, r#""status": "BUILD""#)),
                Trouble::SlowDelete => self.proxy.order(|_, call| match call {
                    "nova DELETE /servers/{id}" => Fate::Answer { status: 204, headers: Vec::new(), body: String::new() },
                    call if call.starts_with(LIST) => Fate::Rewritten(all_deleting),
                    _ => Fate::Pass,
                }),
                Trouble::LateLists => self.proxy.order(|_, call| match call.starts_with(LIST) {
                    true => Fate::Rewritten(|_| r#"{"servers": []}"#.to_owned()),
                    false => Fate::Pass,
                }),
            }
            Ok(())
        }
        .boxed()
    }

    fn calm(&self) -> BoxFuture<'_, ()> {
        async {
            self.proxy.order(|_, _| Fate::Pass);
            self.instances(-1).await;
            self.floating_ips(-1).await;
        }
        .boxed()
    }

    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>> {
        async move {
            let path = format!("/servers/{}", machine.id);
            let metadata = |key: &str, value: &str| json!({"metadata": {key: value}});
            let untag = async |keys: &[&str]| {
                for key in keys {
                    let path = format!("{path}/metadata/{key}");
                    self.client.delete("compute", &path).await;
                }
            };
            match act {
                Act::Remove => self.remove(&machine.id).await,
                Act::Stop => {
                    let stop = json!({"os-stop": null});
                    self.client
                        .post("compute", &format!("{path}/action"), stop)
                        .await;
                    while self.client.get("compute", &path).await["server"]["status"] != "SHUTOFF" {
                        tokio::task::yield_now().await;
                    }
                }
                Act::Retag => {
                    self.client
                        .post(
                            "compute",
                            &format!("{path}/metadata"),
                            metadata("team", "z"),
                        )
                        .await;
                }
                Act::TagAsStranger => {
                    self.client
                        .post(
                            "compute",
                            &format!("{path}/metadata"),
                            metadata("stranger", "1"),
                        )
                        .await;
                }
                Act::TakeUid => untag(&[UID]).await,
                Act::Unmark => untag(&[CLUSTER, GROUP, UID, GENERATION, UNSAVED, PROOF]).await,
            }
            Ok(())
        }
        .boxed()
    }

    fn small_pages(&self) -> BoxFuture<'_, Result<(), &'static str>> {
        async { Err("Nova's pages of ten are in OpenStack's own list") }.boxed()
    }

    fn pages(&self) -> BoxFuture<'_, u64> {
        async { 0 }.boxed()
    }
}

const CREATE: &str = "nova POST /servers";
/// So begins a create's look for its own name, too.
pub(super) const LIST: &str = "nova GET /servers/detail";

/// Whatever Nova does with the servers: one that is still being built has another task.
fn all_deleting(text: String) -> String {
    const TASK: &str = r#""OS-EXT-STS:task_state": "#;
    let mut parts = text.split(TASK);
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([',', '}']).expect("a value ends");
        all.extend([TASK, r#""deleting""#, &part[end..]]);
    }
    all
}
