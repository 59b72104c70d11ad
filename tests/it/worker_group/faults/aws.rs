//! EC2 and STS on moto, behind a proxy. A region for each few lives: moto looks at every instance of a region in each list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ec2::types::Filter;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::wire::Wire;
use super::{Bench, Fault, Stage, Step, show};
use crate::proxy::Fate;
use crate::servers;

#[tokio::test(flavor = "multi_thread")]
async fn aws_carries_on_or_says_so() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Some(server) = servers::Aws::start() else {
        return;
    };
    show(&Aws { server }, None).await;
}

struct Aws {
    server: servers::Aws,
}

struct Place {
    wire: Wire,
    ec2: Client,
    region: &'static str,
    cluster: String,
    subnets: Vec<String>,
}

impl Stage for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn bench(&self, number: usize) -> BoxFuture<'_, Box<dyn Bench + '_>> {
        async move {
            let region = REGIONS[number % REGIONS.len()];
            let ec2 = Client::from_conf(
                aws_sdk_ec2::Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::new(region))
                    .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                    .endpoint_url(&self.server.endpoint)
                    .build(),
            );
            let subnets = ec2.describe_subnets().send().await.expect("has subnets");
            let ids = subnets
                .subnets()
                .iter()
                .filter_map(|subnet| subnet.subnet_id());
            let place = Place {
                wire: Wire::start(&[&self.server.endpoint]),
                region,
                cluster: format!("faults-{number}"),
                subnets: ids.map(str::to_owned).collect(),
                ec2,
            };
            let place: Box<dyn Bench> = Box::new(place);
            place
        }
        .boxed()
    }

    fn can_meet(&self, step: &Step, call: &str, fault: Fault) -> bool {
        match fault {
            Fault::NotYet => BY_ID.contains(&call) || (call == LIST && step.creates),
            Fault::Still => call == LIST && step.deletes,
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
            Fault::NotYet | Fault::Still => &["NotFound"],
        }
    }

    fn at_once(&self) -> usize {
        10
    }
}

impl Bench for Place {
    fn provider(&self) -> Json {
        json!({"aws": {
            "access_key": "test",
            "secret_key": "test",
            "region": self.region,
            "endpoint": self.wire.proxy.endpoint(0),
        }})
    }

    fn shape(&self, tags: &Json) -> Json {
        json!({
            "cluster": self.cluster,
            "image": "ami-0f1a7ca7000000001",
            "aws": {"instance_type": "m5.large", "subnet_ids": self.subnets, "tags": tags},
        })
    }

    fn order(&self, call: &str, fault: Fault) {
        match (call, fault) {
            (LIST, Fault::NotYet) => self.hide_what_is_new(),
            (LIST, Fault::Still) => self.show_what_is_gone(),
            _ => {
                let service = call.split(' ').next().unwrap_or_default().to_owned();
                self.wire
                    .order(call, fault, move || refusal(&service, fault));
            }
        }
    }

    fn met(&self) -> bool {
        self.wire.met()
    }

    fn calm(&self) {
        self.wire.calm();
    }

    fn calls(&self) -> BTreeSet<String> {
        self.wire.calls()
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
}

impl Place {
    /// After a create, two lists do not show what no list before it has shown.
    fn hide_what_is_new(&self) {
        self.after("EC2 RunInstances", Fault::NotYet, |shown, known| {
            shown.retain(|id, _| known.contains_key(id));
        });
    }

    /// After a delete, two lists show what the lists before it have shown.
    fn show_what_is_gone(&self) {
        self.after("EC2 TerminateInstances", Fault::Still, |shown, known| {
            for (id, item) in known {
                shown.entry(id.clone()).or_insert_with(|| item.clone());
            }
        });
    }

    /// Remembers what lists show, and changes those that come after this call.
    fn after(&self, call: &'static str, fault: Fault, change: Change) {
        let begun = AtomicBool::new(false);
        let changed = AtomicUsize::new(0);
        let known = Arc::<Mutex<Items>>::default();
        let met = Arc::clone(&self.wire.met);
        self.wire.proxy.order(move |_, name| {
            if name == call {
                begun.store(true, Ordering::SeqCst);
            }
            if name != LIST {
                return Fate::Pass;
            }
            let known = Arc::clone(&known);
            if !begun.load(Ordering::SeqCst) {
                return Fate::Changed(Box::new(move |body| {
                    let items = Instances::read(&body).items;
                    known
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(items);
                    body
                }));
            }
            if changed.fetch_add(1, Ordering::SeqCst) >= fault.times() {
                return Fate::Pass;
            }
            met.store(true, Ordering::SeqCst);
            Fate::Changed(Box::new(move |body| {
                let known = known.lock().unwrap_or_else(PoisonError::into_inner);
                let mut list = Instances::read(&body);
                change(&mut list.items, &known);
                list.write()
            }))
        });
    }
}

/// Reservations by the id of their one instance.
type Items = BTreeMap<String, String>;
type Change = fn(&mut Items, &Items);

/// An answer of DescribeInstances.
struct Instances {
    before: String,
    items: Items,
    after: String,
}

impl Instances {
    fn read(body: &str) -> Self {
        let body = body.replace("<reservationSet />", "<reservationSet/>");
        let body = body.replace("<reservationSet/>", &format!("{OPEN}{CLOSE}"));
        let (before, rest) = body.split_once(OPEN).expect("a list of reservations");
        let (set, after) = rest.split_once(CLOSE).expect("its end");
        let items = set.split(ITEM).skip(1).map(|item| {
            let id = item.split_once("<instanceId>").expect("an instance").1;
            let id = id.split('<').next().unwrap_or_default();
            (id.to_owned(), format!("{ITEM}{item}"))
        });
        Self {
            before: before.to_owned(),
            items: items.collect(),
            after: after.to_owned(),
        }
    }

    fn write(self) -> String {
        let items: String = self.items.into_values().collect();
        format!("{}{OPEN}{items}{CLOSE}{}", self.before, self.after)
    }
}

const OPEN: &str = "<reservationSet>";
const CLOSE: &str = "</reservationSet>";
const ITEM: &str = "<item><reservationId>";

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
        _ => (400, "InvalidInstanceID.NotFound"),
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

const LIST: &str = "EC2 DescribeInstances";
/// Calls about instances that may be too young for EC2 to know everywhere.
const BY_ID: [&str; 3] = ["EC2 TerminateInstances", "EC2 CreateTags", "EC2 DeleteTags"];
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
