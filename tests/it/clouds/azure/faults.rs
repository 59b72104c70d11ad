//! Azure's stand-in behind a proxy, which does to each call what a network, or a tired Resource
//! Manager, does. Each life has a subscription of its own, and a load balancer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::subject::{CREATE, LIST, refusal};
use super::world::{IMAGES, World, endpoint};
use crate::proxy::{Fate, Proxy};
use crate::worker_group::faults::wire::{Lag, Listing, Wire, not_yet, still};
use crate::worker_group::faults::{Fault, FaultyCloud, FaultyLife, Step, show};

#[tokio::test(flavor = "multi_thread")]
async fn azure_carries_on_or_says_so() {
    let Some(endpoint) = endpoint() else {
        return;
    };
    show(&Azure { endpoint }, Some(SAMPLE)).await;
}

struct Azure {
    endpoint: String,
}

struct Place {
    world: World,
    wire: Wire,
}

impl FaultyCloud for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn place(&self, _: usize) -> BoxFuture<'_, Box<dyn FaultyLife + '_>> {
        async move {
            let place = Place {
                world: World::at(&self.endpoint).await,
                wire: Wire::default(),
            };
            let place: Box<dyn FaultyLife> = Box::new(place);
            place
        }
        .boxed()
    }

    fn can_meet(&self, step: &Step, call: &str, fault: Fault) -> bool {
        match fault {
            Fault::NotYet => call == LIST && step.creates,
            Fault::Still => call == LIST && step.deletes,
            _ => true,
        }
    }

    fn action(&self, call: &str) -> String {
        if call.starts_with("entra ") {
            return "Entra ID at http".to_owned();
        }
        let call = call
            .replace("arm ", "Azure ")
            .replace("/{name}", "")
            .replace("?statusOnly", "");
        call.replace("GET versions", "GET images")
            .replace("Azure GET operations", "Azure")
    }

    fn words(&self, fault: Fault) -> &'static [&'static str] {
        match fault {
            Fault::Refused => &["refused"],
            Fault::ResetBefore | Fault::ResetAfter => &["connection"],
            Fault::Silence => &["in time", "within"],
            Fault::Error500 => &["500"],
            Fault::Error503 => &["503"],
            Fault::Throttled | Fault::RetryAfter => &["429"],
            Fault::Expired => &["401"],
            Fault::Forbidden => &["403"],
            Fault::Truncated => &["not JSON", "connection"],
            Fault::NotYet | Fault::Still => &["404"],
        }
    }

    fn at_once(&self) -> usize {
        8
    }
}

impl FaultyLife for Place {
    fn provider(&self) -> Json {
        json!({"azure": self.world.block()})
    }

    fn shape(&self, tags: &Json) -> Json {
        let world = &self.world;
        let mut shape = world.shape();
        let nsg = if tags["team"] == "a" { "one" } else { "two" };
        shape["network_security_group_id"] =
            json!(world.network(&format!("networkSecurityGroups/{nsg}")));
        shape["public_ip"] = json!(true);
        shape["load_balancer_backend_address_pool_ids"] = json!([world.pool("workers")]);
        shape["tags"] = tags.clone();
        json!({"cluster": world.cluster, "image": IMAGES[0], "azure": shape})
    }

    fn order(&self, call: &str, fault: Fault) {
        match (call, fault) {
            (LIST, Fault::NotYet) => self.lag(CREATE, fault, not_yet),
            (LIST, Fault::Still) => self.lag("arm DELETE virtualMachines/{name}", fault, still),
            _ => {
                let is_login = call.starts_with("entra ");
                self.wire.order(&self.world.proxy, call, fault, move || {
                    refused(is_login, fault)
                });
            }
        }
    }

    fn wire(&self) -> Option<(&Wire, &Proxy)> {
        Some((&self.wire, &self.world.proxy))
    }

    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        async {
            let machines = self.world.machines().await;
            machines
                .iter()
                .map(|machine| (name_of(machine), id_of(machine)))
                .collect()
        }
        .boxed()
    }

    fn traffic(&self, ids: BTreeSet<String>) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let pool = self
                .world
                .get(&self.world.pool("workers"))
                .await
                .expect("is there");
            let members = pool["properties"]["backendIPConfigurations"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let names = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
            let interface = |one: &Json| {
                let id = one["id"].as_str().expect("an id");
                let nic = id.split("/ipConfigurations/").next().unwrap_or_default();
                names(nic).trim_end_matches("-nic").to_owned()
            };
            let members: BTreeSet<String> = members.iter().map(interface).collect();
            let path = |id: &String| id.split('|').next().map(str::to_owned);
            let paths = ids.iter().filter_map(path);
            let expected: BTreeSet<String> = paths.map(|path| names(&path)).collect();
            match members == expected {
                true => Ok(()),
                false => Err(format!("{members:?} get traffic instead of {expected:?}")),
            }
        }
        .boxed()
    }

    /// Network interfaces, addresses and disks.
    fn others(&self) -> BoxFuture<'_, Vec<String>> {
        self.world.parts().boxed()
    }
}

pub(super) fn name_of(machine: &Json) -> String {
    machine["properties"]["osProfile"]["computerName"]
        .as_str()
        .expect("a name")
        .to_owned()
}

/// As the provider writes it.
pub(super) fn id_of(machine: &Json) -> String {
    let id = machine["id"].as_str().expect("an id");
    let parts: Vec<&str> = id.split('/').collect();
    let (subscription, group) = (parts[2].to_lowercase(), parts[4].to_lowercase());
    format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{}|{}",
        parts[8],
        machine["properties"]["vmId"].as_str().expect("a number")
    )
}

impl Place {
    fn lag(&self, behind: &'static str, fault: Fault, lag: Lag<Json>) {
        let list = Listing {
            call: LIST,
            read: Arc::new(machines),
            write: Arc::new(|_, shown| {
                let shown: Vec<Json> = shown.into_values().collect();
                json!({"value": shown}).to_string()
            }),
        };
        self.wire.lag(&self.world.proxy, list, behind, fault, lag);
    }
}

/// By id.
fn machines(body: &str) -> BTreeMap<String, Json> {
    let body: Json = serde_json::from_str(body).expect("JSON");
    let machines = body["value"].as_array().cloned().unwrap_or_default();
    machines
        .into_iter()
        .map(|machine| (machine["id"].to_string(), machine))
        .collect()
}

/// In the words of Resource Manager, or of Entra ID.
fn refused(is_login: bool, fault: Fault) -> Fate {
    let (status, code) = match fault {
        Fault::Error500 => (500, "InternalServerError"),
        Fault::Error503 => (503, "ServerTimeout"),
        Fault::Throttled | Fault::RetryAfter => (429, "TooManyRequests"),
        Fault::Expired => (401, "ExpiredAuthenticationToken"),
        _ => (403, "AuthorizationFailed"),
    };
    let Fate::Answer {
        status,
        mut headers,
        mut body,
    } = refusal(status, code)
    else {
        unreachable!("a refusal is an answer");
    };
    if is_login {
        body = json!({"error": "temporarily_unavailable", "error_description": "AADSTS90033: As ordered. Trace ID: 0"}).to_string();
    }
    if fault == Fault::RetryAfter {
        headers.push(("Retry-After".to_owned(), "2".to_owned()));
    }
    Fate::Answer {
        status,
        headers,
        body,
    }
}

/// A few lives at a time, beside one to which nothing happens.
const SAMPLE: usize = 40;
