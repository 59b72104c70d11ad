//! Nova, Glance and Neutron themselves, over a hypervisor that pretends (`tests/servers/openstack.sh`); only with
//! `FLATCAR_ACC_OPENSTACK=1`, for they take a minute to start and 1.7 GB.

use flatcar::worker_group::cloud::{Entry, Machine, Mark};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::{Act, Subject, Trouble, conforms, entry};
use crate::servers::openstack::{self, Client};

#[tokio::test]
async fn openstack_behaves_like_a_cloud() {
    let Some(openstack) = OpenStack::find("conformance").await else {
        return;
    };
    conforms(&openstack, &[]).await;
}

struct OpenStack {
    server: openstack::OpenStack,
    client: Client,
}

impl OpenStack {
    async fn find(project: &'static str) -> Option<Self> {
        let server = openstack::OpenStack::find(project)?;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = server.client().await;
        Some(Self { server, client })
    }

    async fn instances(&self, quota: i64) {
        let path = format!("/os-quota-sets/{}", self.client.user.project);
        let body = json!({"quota_set": {"instances": quota, "cores": -1, "ram": -1}});
        let client = &self.client;
        client
            .ask(&client.admin, "compute", Method::PUT, &path, Some(body))
            .await;
    }
}

impl Subject for OpenStack {
    fn entry(&self) -> &'static Entry {
        entry("openstack")
    }

    fn configuration(&self, _: u32) -> Json {
        json!({"openstack": self.server.block()})
    }

    fn shape(&self) -> Json {
        json!({
            "flavor_name": openstack::FLAVOR,
            "networks": [{"name": openstack::NETWORK}],
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
        openstack::IMAGES
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
                    Ok(())
                }
                Trouble::SlowBoot | Trouble::SlowDelete | Trouble::LateLists => {
                    Err("the hypervisor that pretends boots and deletes at its own pace")
                }
                _ => Err(
                    "the real services cannot be told to fail, and no proxy stands before them yet",
                ),
            }
        }
        .boxed()
    }

    fn calm(&self) -> BoxFuture<'_, ()> {
        self.instances(-1).boxed()
    }

    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>> {
        async move {
            let path = format!("/servers/{}", machine.id);
            let metadata = |key: &str, value: &str| json!({"metadata": {key: value}});
            match act {
                Act::Remove => self.client.delete("compute", &path).await,
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
            }
            Ok(())
        }
        .boxed()
    }

    fn crowd<'a>(&'a self, _: &'a Mark, _: usize) -> BoxFuture<'a, Result<(), &'static str>> {
        async { Err("a thousand servers take an hour") }.boxed()
    }
}
