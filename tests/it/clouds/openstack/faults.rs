//! Keystone, Nova, Glance and Neutron themselves, behind a proxy: what befalls a call, the services
//! do not know of. Only with `FLATCAR_ACC_OPENSTACK=1`; a server takes seconds, so that a run
//! without more words takes a sample.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json, json};

use super::server::{self, EXTERNAL_NETWORK, FLAVOR, IMAGES, NETWORK};
use super::world::World;
use crate::proxy::{Fate, Proxy};
use crate::worker_group::faults::wire::{Lag, Listing, Wire, not_yet, still};
use crate::worker_group::faults::{Fault, FaultyCloud, FaultyLife, Step, show};

#[tokio::test(flavor = "multi_thread")]
async fn openstack_carries_on_or_says_so() {
    let Some(server) = server::OpenStack::find("faults") else {
        return;
    };
    show(&OpenStack { server }, Some(SAMPLE)).await;
}

struct OpenStack {
    server: server::OpenStack,
}

struct Place {
    world: World,
    wire: Wire,
}

impl FaultyCloud for OpenStack {
    fn name(&self) -> &'static str {
        "openstack"
    }

    fn place(&self, _: usize) -> BoxFuture<'_, Box<dyn FaultyLife + '_>> {
        async move {
            let place = Place {
                world: World::of(self.server.clone()).await,
                wire: Wire::default(),
            };
            let place: Box<dyn FaultyLife> = Box::new(place);
            place
        }
        .boxed()
    }

    fn can_meet(&self, step: &Step, call: &str, fault: Fault) -> bool {
        match fault {
            // Nova answers a create when its database has the server, and knows it by its id from
            // then on.
            Fault::NotYet => call == LIST && step.creates,
            Fault::Still => call == LIST && step.deletes,
            // The answer to a delete has no body.
            Fault::Truncated => !call.contains(" DELETE "),
            _ => true,
        }
    }

    fn action(&self, call: &str) -> String {
        let (service, rest) = call.split_once(' ').unwrap_or_default();
        let service = match service {
            "keystone" => return "Keystone at http".to_owned(),
            "nova" => "Nova",
            "glance" => "Glance",
            "neutron" => "Neutron",
            // Which versions there are, asked before the first call of a service.
            _ => return "GET".to_owned(),
        };
        let action = match rest {
            "GET /" => "GET",
            "GET /servers/detail" => "GET servers",
            // Looked for by a create.
            "GET /servers/detail?name" => "POST servers",
            "GET /servers/{id}" => "GET server",
            "DELETE /servers/{id}" => "DELETE server",
            "PUT /floatingips/{id}" => "POST floatingips",
            rest if rest.contains("/metadata") => "metadata of a server",
            rest => {
                let (method, path) = rest.split_once(" /").unwrap_or_default();
                let noun = path.split('/').next().unwrap_or_default();
                return format!("{service} {method} {noun}");
            }
        };
        format!("{service} {action}")
    }

    fn words(&self, fault: Fault) -> &'static [&'static str] {
        match fault {
            Fault::Refused => &["refused", "discovery"],
            Fault::ResetBefore | Fault::ResetAfter => &["connection"],
            Fault::Silence => &["in time", "within"],
            Fault::Error500 => &["500"],
            Fault::Error503 => &["503"],
            Fault::Throttled | Fault::RetryAfter => &["429"],
            Fault::Expired => &["401", "requires authentication"],
            Fault::Forbidden => &["403", "not authorized", "discovery"],
            Fault::Truncated => &["not JSON", "connection"],
            Fault::NotYet | Fault::Still => &["404"],
        }
    }

    fn at_once(&self) -> usize {
        8
    }

    /// A server takes a second of two cores to come and go, and there are hundreds of cells.
    fn machines(&self) -> usize {
        1
    }
}

impl FaultyLife for Place {
    fn provider(&self) -> Json {
        json!({"openstack": self.world.block()})
    }

    fn shape(&self, tags: &Json) -> Json {
        json!({
            "cluster": self.world.cluster,
            "image": IMAGES[0],
            "openstack": {
                "flavor_name": FLAVOR,
                "networks": [{"name": NETWORK}],
                "security_groups": ["default"],
                "availability_zones": ["nova"],
                "floating_ip_pool": EXTERNAL_NETWORK,
                "metadata": tags,
            },
        })
    }

    fn order(&self, call: &str, fault: Fault) {
        match (call, fault) {
            (LIST, Fault::NotYet) => self.lag("nova POST /servers", fault, not_yet),
            (LIST, Fault::Still) => self.lag("nova DELETE /servers/{id}", fault, still),
            _ => {
                let service = call.split(' ').next().unwrap_or_default().to_owned();
                let answer = move || refusal(&service, fault);
                self.wire.order(&self.world.proxy, call, fault, answer);
            }
        }
    }

    fn wire(&self) -> Option<(&Wire, &Proxy)> {
        Some((&self.wire, &self.world.proxy))
    }

    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        async {
            let path = format!(
                "/servers/detail?tags=flatcar-cluster={}",
                self.world.cluster
            );
            let answer = self.world.client.get("compute", &path).await;
            let servers = answer["servers"].as_array().expect("a list");
            let there = servers.iter().filter(|server| {
                server["status"] != "DELETED" && server["OS-EXT-STS:task_state"] != "deleting"
            });
            let word = |of: &Json| of.as_str().expect("a word").to_owned();
            there
                .map(|server| (word(&server["name"]), word(&server["id"])))
                .collect()
        }
        .boxed()
    }

    /// Floating addresses.
    fn others(&self) -> BoxFuture<'_, Vec<String>> {
        async {
            let mark = format!(
                "flatcar-cluster={} flatcar-group=workers flatcar-uid=",
                self.world.cluster
            );
            let answer = self.world.client.get("network", "/v2.0/floatingips").await;
            let all = answer["floatingips"].as_array().expect("a list");
            let ours = all.iter().filter(|of| {
                let description = of["description"].as_str();
                description.is_some_and(|text| text.starts_with(&mark))
            });
            ours.map(|of| of["floating_ip_address"].to_string())
                .collect()
        }
        .boxed()
    }
}

impl Place {
    fn lag(&self, behind: &'static str, fault: Fault, lag: Lag<Json>) {
        let list = Listing {
            call: LIST,
            read: Arc::new(servers),
            write: Arc::new(|_, shown| {
                let shown: Vec<Json> = shown.into_values().collect();
                json!({"servers": shown}).to_string()
            }),
        };
        self.wire.lag(&self.world.proxy, list, behind, fault, lag);
    }
}

/// By id.
fn servers(body: &str) -> BTreeMap<String, Json> {
    let mut body: Map<String, Json> = serde_json::from_str(body).expect("JSON");
    let servers = body.remove("servers").unwrap_or_default();
    let servers = servers.as_array().cloned().unwrap_or_default();
    let by_id = |server: Json| (server["id"].to_string(), server);
    servers.into_iter().map(by_id).collect()
}

/// In the words of the service, or of what stands before it: a service that is not available is
/// told by the load balancer.
fn refusal(service: &str, fault: Fault) -> Fate {
    let (status, word, message) = match fault {
        Fault::Error500 => (
            500,
            "computeFault",
            "Unexpected API Error. Please report this.",
        ),
        Fault::Error503 => (503, "", ""),
        Fault::Throttled | Fault::RetryAfter => {
            (429, "overLimit", "This request was rate-limited.")
        }
        // By Keystone's middleware in each service.
        Fault::Expired => (
            401,
            "error",
            "The request you have made requires authentication.",
        ),
        _ => (
            403,
            "forbidden",
            "You are not authorized to perform the requested action.",
        ),
    };
    let fault_of = |word: &str| json!({word: {"code": status, "message": message}}).to_string();
    let page = format!("<html><body><h1>{status}</h1>\nAs ordered.\n</body></html>\n");
    let (kind, body) = match service {
        _ if fault == Fault::Error503 => ("text/html", page),
        _ if fault == Fault::Expired => ("application/json", fault_of(word)),
        "nova" => ("application/json", fault_of(word)),
        "neutron" => (
            "application/json",
            json!({"NeutronError": {"type": "Ordered", "message": message, "detail": ""}})
                .to_string(),
        ),
        "keystone" => ("application/json", fault_of("error")),
        _ => ("text/html", page),
    };
    let mut headers = vec![("Content-Type".to_owned(), kind.to_owned())];
    if fault == Fault::RetryAfter {
        headers.push(("Retry-After".to_owned(), "2".to_owned()));
    }
    Fate::Answer {
        status,
        headers,
        body,
    }
}

const LIST: &str = "nova GET /servers/detail";
/// A few lives at a time, beside one to which nothing happens.
const SAMPLE: usize = 18;
