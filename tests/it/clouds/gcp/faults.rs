//! Compute Engine's stand-in behind a proxy: what befalls a call, it does not know of. Each life
//! has an unmanaged instance group in each zone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value as Json, json};

use super::subject::{CREATE, DELETE, LIST, refusal};
use super::world::{IMAGES, Server, World, ZONES, id};
use crate::proxy::{Fate, Proxy};
use crate::worker_group::faults::wire::{Lag, Listing, Wire, not_yet, still};
use crate::worker_group::faults::{Fault, FaultyCloud, FaultyLife, Step, show};

#[tokio::test(flavor = "multi_thread")]
async fn gcp_carries_on_or_says_so() {
    let Some(server) = Server::find() else {
        return;
    };
    show(&Gcp { server }, Some(SAMPLE)).await;
}

struct Gcp {
    server: Server,
}

struct Place {
    world: World,
    wire: Wire,
    groups: Vec<String>,
}

impl FaultyCloud for Gcp {
    fn name(&self) -> &'static str {
        "gcp"
    }

    fn place(&self, _: usize) -> BoxFuture<'_, Box<dyn FaultyLife + '_>> {
        async move {
            let world = World::of(self.server.clone());
            let place: Box<dyn FaultyLife> = Box::new(Place {
                groups: world.make_groups(),
                world,
                wire: Wire::default(),
            });
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
        let method = match call {
            "POST /token" => return "The login by the service account's key".to_owned(),
            LIST => "instances.aggregatedList",
            // Looked for by a create.
            CREATE | "compute GET /aggregated/instances?name" => "instances.insert",
            DELETE => "instances.delete",
            "compute GET /zones/{id}/instances/{id}" => "instances.get",
            call if call.starts_with("compute GET /aggregated/") => {
                let kind = call.rsplit('/').next().unwrap_or_default();
                return format!("Compute {kind}.aggregatedList");
            }
            "compute GET /zones" => "zones.list",
            "compute GET /global/images/{id}" => "images.get",
            "compute GET /zones/{id}/instanceGroups/{id}" => "instanceGroups.get",
            call if call.contains("instanceGroups") => {
                let verb = call.rsplit('/').next().unwrap_or_default();
                return format!("Compute instanceGroups.{verb}");
            }
            call => {
                let verb = call.rsplit('/').next().unwrap_or_default();
                return format!("Compute instances.{verb}");
            }
        };
        format!("Compute {method}")
    }

    fn words(&self, fault: Fault) -> &'static [&'static str] {
        match fault {
            Fault::Refused => &["refused"],
            Fault::ResetBefore | Fault::ResetAfter => &["connection"],
            Fault::Silence => &["in time", "within"],
            Fault::Error500 => &["500"],
            Fault::Error503 => &["503"],
            Fault::Throttled | Fault::RetryAfter => &["rateLimitExceeded", "429"],
            Fault::Expired => &["401"],
            Fault::Forbidden => &["403"],
            Fault::Truncated => &["not JSON", "connection"],
            Fault::NotYet | Fault::Still => &["404"],
        }
    }

    fn at_once(&self) -> usize {
        8
    }

    fn stops(&self) -> bool {
        true
    }
}

impl FaultyLife for Place {
    fn provider(&self) -> Json {
        json!({"gcp": self.world.block()})
    }

    fn shape(&self, tags: &Json) -> Json {
        json!({
            "cluster": self.world.cluster,
            "image": IMAGES[0],
            "gcp": {
                "zones": ZONES,
                "machine_type": "e2-small",
                "instance_groups": self.groups,
                "labels": tags,
                // So that each call that changes machines in place is made by a change.
                "metadata": tags,
                "network_tags": [format!("team-{}", tags["team"].as_str().unwrap_or_default())],
            },
        })
    }

    fn order(&self, call: &str, fault: Fault) {
        match (call, fault) {
            (LIST, Fault::NotYet) => self.lag(CREATE, fault, not_yet),
            (LIST, Fault::Still) => self.lag(DELETE, fault, still),
            _ => {
                let answer = move || refused(fault);
                self.wire.order(&self.world.proxy, call, fault, answer);
            }
        }
    }

    fn wire(&self) -> Option<(&Wire, &Proxy)> {
        Some((&self.wire, &self.world.proxy))
    }

    fn stop(&self) {
        let mut machines = self.world.alive();
        machines.sort();
        if let Some((_, id)) = machines.first() {
            self.world.stop(id);
        }
    }

    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        async { self.world.alive() }.boxed()
    }

    fn traffic(&self, ids: BTreeSet<String>) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let members = self.world.members();
            match members == ids {
                true => Ok(()),
                false => Err(format!("{members:?} get traffic instead of {ids:?}")),
            }
        }
        .boxed()
    }

    /// Disks that no instance uses.
    fn others(&self) -> BoxFuture<'_, Vec<String>> {
        async {
            let of_zone = |zone: &&str| {
                let listed = self
                    .world
                    .server()
                    .ask("GET", &format!("zones/{zone}/disks"), None);
                let disks = listed["items"].as_array().cloned().unwrap_or_default();
                let unused = disks.into_iter().filter(|disk| disk["users"].is_null());
                unused
                    .map(|disk| disk["name"].to_string())
                    .collect::<Vec<_>>()
            };
            ZONES.iter().flat_map(of_zone).collect()
        }
        .boxed()
    }
}

impl Place {
    fn lag(&self, behind: &'static str, fault: Fault, lag: Lag<Json>) {
        let list = Listing {
            call: LIST,
            read: Arc::new(instances),
            write: Arc::new(|_, shown| {
                let shown: Vec<Json> = shown.into_values().collect();
                json!({"items": {"zones/any": {"instances": shown}}}).to_string()
            }),
        };
        self.wire.lag(&self.world.proxy, list, behind, fault, lag);
    }
}

/// By id.
fn instances(body: &str) -> BTreeMap<String, Json> {
    let body: Map<String, Json> = serde_json::from_str(body).expect("JSON");
    let places = body.get("items").and_then(Json::as_object);
    let places = places.into_iter().flat_map(Map::values);
    let instances = places.filter_map(|place| place["instances"].as_array());
    let by_id = |instance: &Json| (id(instance), instance.clone());
    instances.flatten().map(by_id).collect()
}

/// In Google's words, or in those of what stands before it.
fn refused(fault: Fault) -> Fate {
    let mut fate = match fault {
        Fault::Error500 => refusal(
            500,
            "backendError",
            "Internal error. Please try again or contact Google Support.",
        ),
        Fault::Error503 => Fate::Answer {
            status: 503,
            headers: vec![("Content-Type".to_owned(), "text/html".to_owned())],
            body: "<html><title>Error 503 (Service Unavailable)</title></html>".to_owned(),
        },
        Fault::Throttled => refusal(403, "rateLimitExceeded", "Rate Limit Exceeded"),
        Fault::RetryAfter => refusal(429, "rateLimitExceeded", "Rate Limit Exceeded"),
        Fault::Expired => refusal(401, "authError", "Invalid Credentials"),
        _ => refusal(
            403,
            "forbidden",
            "Required 'compute' permission for 'projects/test-project'",
        ),
    };
    if let (Fault::RetryAfter, Fate::Answer { headers, .. }) = (fault, &mut fate) {
        headers.push(("Retry-After".to_owned(), "2".to_owned()));
    }
    fate
}

/// A few lives at a time, beside one to which nothing happens.
const SAMPLE: usize = 40;
