//! EC2 on moto, behind a layer that keeps client tokens and states in time, with microburst for
//! faults (`tests/servers/aws.sh`).

use std::any::Any;

use aws_sdk_ec2::types::Tag;
use flatcar::worker_group::cloud::{
    CLUSTER, Entry, GENERATION, GROUP, Machine, PROOF, UID, UNSAVED,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::world::World;
use super::{depth, server, targets};
use crate::worker_group::{Act, Bench, Subject, Trouble, conforms, entry};

pub(super) struct Aws {
    pub(super) server: server::Aws,
    pub(super) world: World,
    pub(super) http: reqwest::Client,
    pub(super) group: String,
}

#[tokio::test]
async fn aws_behaves_like_a_cloud() {
    let Some(aws) = Aws::start().await else {
        return;
    };
    conforms(&aws, &[depth::BEHAVIOURS, targets::BEHAVIOURS].concat()).await;
}

impl Aws {
    /// The stand-in of a behaviour that only EC2 promises.
    pub(super) fn of<'a>(bench: &'a Bench<'_>) -> &'a Self {
        let subject: &dyn Any = bench.subject;
        subject.downcast_ref().expect("is EC2")
    }

    async fn start() -> Option<Self> {
        let server = server::Aws::start()?;
        let world = World::at(&server.endpoint, REGION).await;
        let groups = world.ec2.describe_security_groups().send().await;
        let groups = groups.expect("has security groups");
        Some(Self {
            group: groups
                .security_groups()
                .iter()
                .find_map(|group| group.group_id())
                .expect("a default group")
                .to_owned(),
            world,
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
            server,
        })
    }

    /// microburst listens two ports above the layer, and passes on what no rule of it meets.
    pub(super) fn faulty(&self) -> String {
        let (host, port) = self.server.endpoint.rsplit_once(':').expect("has a port");
        let port: u16 = port.parse().expect("a number");
        format!("{host}:{}", port + 2)
    }

    pub(super) async fn rules(&self, rules: Json) {
        let answer = self
            .http
            .post(format!("{}/_microburst/rules", self.faulty()))
            .json(&rules)
            .send()
            .await
            .expect("microburst answers");
        assert!(answer.status().is_success(), "{answer:?}");
    }

    pub(super) async fn timing(&self, timing: Json) {
        let answer = self
            .http
            .put(format!("{}/_rules", self.server.endpoint))
            .json(&timing)
            .send()
            .await
            .expect("the layer answers");
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

impl Subject for Aws {
    fn entry(&self) -> &'static Entry {
        entry("aws")
    }

    fn configuration(&self, retries: u32) -> Json {
        let mut block = self.world.block(&self.faulty());
        block["max_retries"] = json!(retries);
        json!({"aws": block})
    }

    fn shape(&self) -> Json {
        json!({
            "instance_type": "m5.large",
            "subnet_ids": self.world.subnets,
            "vpc_security_group_ids": [self.group],
            "metadata_http_tokens": "required",
            "tags": {"team": "a", "cost": "1"},
        })
    }

    fn nowhere(&self) -> (&'static str, Json) {
        ("subnet_ids", json!(["subnet-00000000000000000"]))
    }

    fn images(&self) -> [&'static str; 2] {
        ["ami-0f1a7ca7000000001", "ami-0f1a7ca7000000002"]
    }

    fn unknown_image(&self) -> &'static str {
        "ami-00000000000000000"
    }

    fn lacks(&self) -> Vec<&'static str> {
        let mut lacks = vec!["a list may be late, and asking by id is not"];
        if depth::has_credentials() {
            lacks.extend(depth::OF_FILES);
        }
        lacks
    }

    fn unknown_id(&self) -> String {
        "i-00000000000000000".to_owned()
    }

    fn trouble(&self, trouble: Trouble) -> BoxFuture<'_, Result<(), &'static str>> {
        let error = |operation: &str, code: &str, status: u16| json!([{"service": "ec2", "operation": operation, "error": {"code": code, "status": status}}]);
        async move {
            match trouble {
                Trouble::Quota => self.rules(error("RunInstances", "VcpuLimitExceeded", 400)).await,
                Trouble::AnswerLost => {
                    self.rules(json!([{
                        "service": "ec2", "operation": "RunInstances", "times": 1, "response": {"abort_frac": 0.0},
                    }]))
                    .await;
                }
                Trouble::RequestLost => {
                    self.rules(json!([{"service": "ec2", "operation": "RunInstances", "times": 1, "reset": true}])).await;
                }
                Trouble::Throttled => self.rules(error("RunInstances", "RequestLimitExceeded", 503)).await,
                Trouble::Expired => self.rules(error("RunInstances", "RequestExpired", 400)).await,
                Trouble::Forbidden => self.rules(error("RunInstances", "UnauthorizedOperation", 403)).await,
                Trouble::Down => self.rules(error("DescribeInstances", "Unavailable", 503)).await,
                Trouble::SlowBoot => self.timing(json!({"pending": 3600})).await,
                Trouble::SlowDelete => self.timing(json!({"stopping": 3600})).await,
                Trouble::LateLists => return Err("moto shows every instance at once"),
            }
            Ok(())
        }
        .boxed()
    }

    fn calm(&self) -> BoxFuture<'_, ()> {
        async {
            self.rules(json!([])).await;
            self.timing(
                json!({"pending": 0, "stopping": 0, "healthy": 0, "unhealthy": 0, "page": 0}),
            )
            .await;
        }
        .boxed()
    }

    fn behind<'a>(
        &'a self,
        machine: &'a Machine,
        act: Act,
    ) -> BoxFuture<'a, Result<(), &'static str>> {
        async move {
            let tag = |key: &str, value: &str| {
                self.world
                    .ec2
                    .create_tags()
                    .resources(&machine.id)
                    .tags(Tag::builder().key(key).value(value).build())
                    .send()
            };
            let untag = |keys: &[&str]| {
                let tags = keys.iter().map(|key| Tag::builder().key(*key).build());
                let call = self.world.ec2.delete_tags().resources(&machine.id);
                let call = call.set_tags(Some(tags.collect())).send();
                async { call.await.map(|_| ()) }
            };
            match act {
                Act::Remove => {
                    self.world
                        .ec2
                        .terminate_instances()
                        .instance_ids(&machine.id)
                        .send()
                        .await
                        .expect("terminates");
                }
                Act::Stop => {
                    self.world
                        .ec2
                        .stop_instances()
                        .instance_ids(&machine.id)
                        .send()
                        .await
                        .expect("stops");
                }
                Act::Retag => {
                    tag("team", "z").await.expect("tags");
                }
                Act::TagAsStranger => {
                    tag("stranger", "1").await.expect("tags");
                }
                Act::TakeUid => untag(&[UID]).await.expect("takes it off"),
                Act::Unmark => {
                    let mark = [CLUSTER, GROUP, UID, GENERATION, UNSAVED, PROOF];
                    untag(&mark).await.expect("takes them off");
                }
            }
            Ok(())
        }
        .boxed()
    }

    /// All in one call: how they came to be makes no difference to a list.
    fn small_pages(&self) -> BoxFuture<'_, Result<(), &'static str>> {
        async {
            self.timing(json!({"page": 5})).await;
            Ok(())
        }
        .boxed()
    }

    fn pages(&self) -> BoxFuture<'_, u64> {
        async {
            let place = format!("{}/_rules", self.server.endpoint);
            let answer = self
                .http
                .get(place)
                .send()
                .await
                .expect("the layer answers");
            let rules: Json = answer.json().await.expect("its rules");
            rules["pages"].as_u64().expect("a count")
        }
        .boxed()
    }
}

pub(super) const REGION: &str = "eu-central-1";
