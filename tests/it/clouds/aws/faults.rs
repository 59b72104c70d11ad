//! EC2, load balancing and STS on moto, behind a proxy. A region for each few lives: moto looks at
//! every instance of a region in each list. Each life has a target group behind a listener, which
//! gives a machine that leaves it a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_ec2::types::Filter;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::world::World;
use super::{server, targets};
use crate::proxy::{Fate, Proxy};
use crate::worker_group::faults::wire::{Lag, Listing, Wire, not_yet};
use crate::worker_group::faults::{Fault, FaultyCloud, FaultyLife, Step, show};

#[tokio::test(flavor = "multi_thread")]
async fn aws_carries_on_or_says_so() {
    let Some(server) = server::Aws::start() else {
        return;
    };
    show(&Aws { server }, Some(SAMPLE)).await;
}

struct Aws {
    server: server::Aws,
}

struct Place<'a> {
    world: World,
    wire: Wire,
    proxy: Proxy,
    /// The stand-in itself: `http://127.0.0.1:5500`.
    endpoint: &'a str,
    target_group: String,
    cluster: String,
}

impl FaultyCloud for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn place(&self, number: usize) -> BoxFuture<'_, Box<dyn FaultyLife + '_>> {
        async move {
            let endpoint = &self.server.endpoint;
            let world = World::at(endpoint, REGIONS[number % REGIONS.len()]).await;
            let place = Place {
                target_group: targets::listening(&world.ec2, &world.elb, 1).await,
                world,
                wire: Wire::default(),
                proxy: Proxy::start(&[endpoint]),
                endpoint,
                cluster: format!("faults-{number}"),
            };
            let place: Box<dyn FaultyLife> = Box::new(place);
            place
        }
        .boxed()
    }

    fn can_meet(&self, step: &Step, call: &str, fault: Fault) -> bool {
        match fault {
            Fault::NotYet => BY_ID.contains(&call) || (is_list(call) && step.creates),
            Fault::Still => is_list(call) && step.deletes,
            _ => true,
        }
    }

    fn action(&self, call: &str) -> String {
        call.replace("DryRun", "(dry run)")
    }

    fn words(&self, fault: Fault) -> &'static [&'static str] {
        match fault {
            Fault::Refused => &["refused"],
            Fault::ResetBefore | Fault::ResetAfter => &["connection"],
            Fault::Silence => &["within"],
            Fault::Error500 => &["InternalError", "InternalFailure"],
            Fault::Error503 => &["Unavailable"],
            Fault::Throttled | Fault::RetryAfter => &["RequestLimitExceeded", "Throttling"],
            Fault::Expired => &["RequestExpired", "ExpiredToken"],
            Fault::Forbidden => &["UnauthorizedOperation", "AccessDenied"],
            Fault::Truncated => &["cut short"],
            Fault::NotYet | Fault::Still => &["NotFound", "InvalidTarget"],
        }
    }

    fn at_once(&self) -> usize {
        10
    }
}

impl FaultyLife for Place<'_> {
    fn provider(&self) -> Json {
        json!({"aws": self.world.block(&self.proxy.endpoint(0))})
    }

    fn shape(&self, tags: &Json) -> Json {
        json!({
            "cluster": self.cluster,
            "image": "ami-0f1a7ca7000000001",
            "aws": {
                "instance_type": "m5.large",
                "subnet_ids": self.world.subnets,
                "target_group_arns": [self.target_group],
                "tags": tags,
            },
        })
    }

    fn order(&self, call: &str, fault: Fault) {
        match (call, fault) {
            (_, Fault::NotYet | Fault::Still) if is_list(call) => self.lag(call, fault),
            _ => {
                let service = call.split(' ').next().unwrap_or_default().to_owned();
                let answer = move || refusal(&service, fault);
                self.wire.order(&self.proxy, call, fault, answer);
            }
        }
    }

    fn wire(&self) -> Option<(&Wire, &Proxy)> {
        Some((&self.wire, &self.proxy))
    }

    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        async {
            let filter = |name: &str, values: &[&str]| {
                let values = values.iter().map(|value| (*value).to_owned()).collect();
                Filter::builder()
                    .name(name)
                    .set_values(Some(values))
                    .build()
            };
            let states = ["pending", "running", "stopping", "stopped"];
            let answer = self
                .world
                .ec2
                .describe_instances()
                .filters(filter("tag:flatcar-cluster", &[&self.cluster]))
                .filters(filter("instance-state-name", &states))
                .send()
                .await
                .expect("lists");
            let reservations = answer.reservations().iter();
            let instances = reservations.flat_map(|reservation| reservation.instances());
            let name = |instance: &aws_sdk_ec2::types::Instance| {
                let tags = instance.tags().iter();
                let mut names = tags.filter(|tag| tag.key() == Some("Name"));
                names
                    .next()
                    .and_then(|tag| tag.value())
                    .unwrap_or_default()
                    .to_owned()
            };
            let id = |instance: &aws_sdk_ec2::types::Instance| {
                instance.instance_id().unwrap_or_default().to_owned()
            };
            instances
                .map(|instance| (name(instance), id(instance)))
                .collect()
        }
        .boxed()
    }

    fn traffic(&self, ids: BTreeSet<String>) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let targets = targets::staying(&self.world.elb, &self.target_group).await;
            if targets != ids {
                return Err(format!("{targets:?} get traffic instead of {ids:?}"));
            }
            let client = reqwest::Client::builder().no_proxy().build();
            let asked = client.expect("a client");
            let asked = asked.get(format!("{}/_rules", self.endpoint)).send();
            let rules: Json = asked.await.expect("answers").json().await.expect("JSON");
            let cut = rules["cut"].as_array().expect("a list");
            let ours = |cut: &&Json| cut[0] == self.target_group.as_str();
            match cut.iter().find(ours) {
                Some(cut) => Err(format!("{} went while it had traffic", cut[1])),
                None => Ok(()),
            }
        }
        .boxed()
    }
}

impl Place<'_> {
    /// Remembers what lists show, and changes the two that come after the first call which changes
    /// what there is: they do not show what no list before has shown, or show what the lists before
    /// have shown.
    fn lag(&self, call: &str, fault: Fault) {
        let of = LISTS.iter().find(|list| list.call == call);
        let list: &'static List = of.expect("a list");
        let (behind, lag): (_, Lag<String>) = match fault {
            Fault::NotYet => (list.grows_by, not_yet),
            // One that is shown is shown as it is.
            _ => (list.shrinks_by, |shown, known| {
                for (id, item) in known {
                    shown.entry(id.clone()).or_insert_with(|| item.clone());
                }
            }),
        };
        let listing = Listing {
            call: list.call,
            read: Arc::new(|body| list.read(body).items),
            write: Arc::new(|body, items| {
                list.write(Shown {
                    items,
                    ..list.read(body)
                })
            }),
        };
        self.wire.lag(&self.proxy, listing, behind, fault, lag);
    }
}

/// A call that lists something, and how its answer is made.
struct List {
    call: &'static str,
    grows_by: &'static str,
    shrinks_by: &'static str,
    open: &'static str,
    close: &'static str,
    /// How each item begins, and the id of its one instance.
    item: &'static str,
    id: &'static str,
}

const LISTS: [List; 2] = [
    List {
        call: "EC2 DescribeInstances",
        grows_by: "EC2 RunInstances",
        shrinks_by: "EC2 TerminateInstances",
        open: "<reservationSet>",
        close: "</reservationSet>",
        item: "<item><reservationId>",
        id: "<instanceId>",
    },
    List {
        call: "ELB DescribeTargetHealth",
        grows_by: "ELB RegisterTargets",
        shrinks_by: "ELB DeregisterTargets",
        open: "<TargetHealthDescriptions>",
        close: "</TargetHealthDescriptions>",
        item: "<member>",
        id: "<Id>",
    },
];

fn is_list(call: &str) -> bool {
    LISTS.iter().any(|list| list.call == call)
}

/// Items of a list by the id of their instance.
type Items = BTreeMap<String, String>;

/// An answer with a list in it.
struct Shown {
    before: String,
    items: Items,
    after: String,
}

impl List {
    fn read(&self, body: &str) -> Shown {
        let (open, close) = (self.open, self.close);
        let none = open.replace('>', " />");
        let body = body.replace(&none, &none.replace(' ', ""));
        let body = body.replace(&none.replace(' ', ""), &format!("{open}{close}"));
        let (before, rest) = body.split_once(open).expect("a list");
        let (set, after) = rest.split_once(close).expect("its end");
        let items = set.split(self.item).skip(1).map(|item| {
            let id = item.split_once(self.id).expect("an instance").1;
            let id = id.split('<').next().unwrap_or_default();
            (id.to_owned(), format!("{}{item}", self.item))
        });
        Shown {
            before: before.to_owned(),
            items: items.collect(),
            after: after.to_owned(),
        }
    }

    fn write(&self, shown: Shown) -> String {
        let items: String = shown.items.into_values().collect();
        let (open, close) = (self.open, self.close);
        format!("{}{open}{items}{close}{}", shown.before, shown.after)
    }
}

/// In the words of the service: codes and statuses are those of its "Common errors".
fn refusal(service: &str, fault: Fault) -> Fate {
    let ec2 = service == "EC2";
    let (status, code) = match fault {
        Fault::Error500 if ec2 => (500, "InternalError"),
        Fault::Error500 => (500, "InternalFailure"),
        Fault::Error503 if ec2 => (503, "Unavailable"),
        Fault::Error503 => (503, "ServiceUnavailable"),
        Fault::Throttled | Fault::RetryAfter if ec2 => (503, "RequestLimitExceeded"),
        Fault::Throttled | Fault::RetryAfter => (400, "Throttling"),
        Fault::Expired if ec2 => (400, "RequestExpired"),
        Fault::Expired => (403, "ExpiredToken"),
        Fault::Forbidden if ec2 => (403, "UnauthorizedOperation"),
        Fault::Forbidden => (403, "AccessDenied"),
        _ if ec2 => (400, "InvalidInstanceID.NotFound"),
        _ => (400, "InvalidTarget"),
    };
    let error = format!("<Error><Code>{code}</Code><Message>Ordered by the test</Message></Error>");
    let body = match ec2 {
        true => format!("<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"),
        false => format!("<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"),
    };
    let mut headers = vec![("Content-Type".to_owned(), "text/xml".to_owned())];
    if fault == Fault::RetryAfter {
        headers.push(("Retry-After".to_owned(), "2".to_owned()));
    }
    Fate::Answer {
        status,
        headers,
        body: format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}\n"),
    }
}

/// About a minute; moto, which is one process, takes ten for all that do not wait.
const SAMPLE: usize = 72;

/// Calls about instances that may be too young to be known everywhere.
const BY_ID: [&str; 4] = [
    "EC2 TerminateInstances",
    "EC2 CreateTags",
    "EC2 DeleteTags",
    "ELB RegisterTargets",
];
const REGIONS: [&str; 12] = [
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ap-south-1",
    "ap-northeast-1",
    "sa-east-1",
];
