//! The fault matrix of a cluster's API: machines are on the sandbox, Nodes and their pods in the
//! real cluster, and a proxy on the way there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};

use super::server::Server;
use super::world::World;
use crate::proxy::{Fate, Proxy};
use crate::worker_group::faults::wire::Wire;
use crate::worker_group::faults::{Fault, FaultyCloud, FaultyLife, Step, show};

/// Only where it is asked for (`make faults-full CLOUDS=kubernetes`): beside other tests on two
/// processors, Nodes take longer to come than a life gives them.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_in_trouble_is_carried_on_with_or_told() {
    if std::env::var_os("FLATCAR_FAULTS").is_none() {
        println!("not asked for: make faults-full CLOUDS=kubernetes");
        return;
    }
    let Some(server) = Server::find().await else {
        return;
    };
    let cluster = Cluster {
        server: Arc::new(server),
    };
    show(&cluster, Some(SAMPLE)).await;
}

struct Cluster {
    server: Arc<Server>,
}

struct Place {
    world: World,
    wire: Wire,
    /// Whether the last fault lasts as long as its operation: nobody can be told, then, that
    /// something has ended.
    lasts: AtomicBool,
}

impl FaultyCloud for Cluster {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn place(&self, _: usize) -> BoxFuture<'_, Box<dyn FaultyLife + '_>> {
        async move {
            let place = Place {
                world: World::new(&self.server).await,
                wire: Wire::default(),
                lasts: AtomicBool::default(),
            };
            let place: Box<dyn FaultyLife> = Box::new(place);
            place
        }
        .boxed()
    }

    fn can_meet(&self, _: &Step, _: &str, fault: Fault) -> bool {
        // Lists of an API server are of the moment at which they are asked for.
        !matches!(fault, Fault::NotYet | Fault::Still)
    }

    fn action(&self, call: &str) -> String {
        let verb = call.split(' ').next().unwrap_or_default();
        let action = match verb {
            "create" if call.contains("eviction") => "Evict",
            "list" => "List",
            "watch" => "List",
            "get" => "Get",
            "create" => "Create",
            "delete" => "Delete",
            _ => "Patch",
        };
        format!("Kubernetes {action}")
    }

    fn words(&self, fault: Fault) -> &'static [&'static str] {
        match fault {
            Fault::Refused => &["refused"],
            Fault::ResetBefore | Fault::ResetAfter | Fault::Truncated => &["connection"],
            Fault::Silence => &["within"],
            Fault::Error500 => &["500"],
            Fault::Error503 => &["503"],
            Fault::Throttled | Fault::RetryAfter => &["429"],
            Fault::Expired => &["401"],
            Fault::Forbidden => &["403"],
            Fault::NotYet | Fault::Still => &[],
        }
    }

    fn warnings(&self) -> &'static [&'static str] {
        &[ALONE, UNTURNED, UNSEEN]
    }

    fn at_once(&self) -> usize {
        8
    }
}

impl FaultyLife for Place {
    fn provider(&self) -> Json {
        let credential = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": "admintoken"},
        });
        // A program that logs in, as most clusters of clouds have it: what has expired can be had
        // anew.
        json!({
            "sandbox": self.world.sandbox.block(),
            "kubernetes": {
                "host": self.world.proxy.endpoint(0),
                "exec": {
                    "api_version": "client.authentication.k8s.io/v1",
                    "command": "echo",
                    "args": [credential.to_string()],
                },
            },
        })
    }

    fn shape(&self, tags: &Json) -> Json {
        json!({
            "image": "flatcar-a",
            "sandbox": {"tags": tags},
            "machine_timeout": "30s",
            "kubernetes": {
                "node_labels": tags,
                "node_taints": [{"key": "example.com/shared", "effect": "PreferNoSchedule"}],
                "drain": {"timeout": "1m"},
            },
        })
    }

    fn order(&self, call: &str, fault: Fault) {
        let of = call.to_owned();
        self.lasts
            .store(fault.times() == usize::MAX, Ordering::SeqCst);
        let answer = move || refusal(&of, fault);
        self.wire.order(&self.world.proxy, call, fault, answer);
    }

    fn wire(&self) -> Option<(&Wire, &Proxy)> {
        Some((&self.wire, &self.world.proxy))
    }

    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        async {
            self.world.ready().await;
            self.world.machines().into_iter().collect()
        }
        .boxed()
    }

    fn in_order<'a>(&'a self, warnings: &'a [String]) -> BoxFuture<'a, Result<(), String>> {
        async move {
            if warnings.iter().any(|warning| warning == ALONE) {
                return Ok(());
            }
            let mut wrong = self.world.disorder().await;
            let lasts = self.lasts.load(Ordering::SeqCst);
            // An error has named them.
            if !lasts {
                wrong.extend(self.world.left_over().await);
            }
            if let Some((holder, good_for)) = self.world.holder().await {
                match lasts && good_for <= 60 {
                    // A turn ends by itself; the next operation is not asked about this one.
                    true => self.world.end_turn().await,
                    false => wrong.push(format!("the Lease is held by {holder}")),
                }
            }
            match wrong.is_empty() {
                true => Ok(()),
                false => Err(wrong.join("; ")),
            }
        }
        .boxed()
    }
}

/// In the words of the API server.
fn refusal(call: &str, fault: Fault) -> Fate {
    let (verb, rest) = call.split_once(' ').unwrap_or_default();
    let resource = rest.split(' ').next().unwrap_or_default();
    let (status, reason, message) = match fault {
        Fault::Error500 => (
            500,
            "InternalError",
            "Internal error occurred: as ordered".to_owned(),
        ),
        Fault::Error503 => (
            503,
            "ServiceUnavailable",
            "the server is currently unable to handle the request".to_owned(),
        ),
        // Of its priorities and fairness, and of budgets.
        Fault::Throttled | Fault::RetryAfter => (
            429,
            "TooManyRequests",
            "Too many requests, please try again later.".to_owned(),
        ),
        Fault::Expired => (401, "Unauthorized", "Unauthorized".to_owned()),
        _ => (
            403,
            "Forbidden",
            format!(
                "{resource} is forbidden: User \"workers\" cannot {verb} resource \"{resource}\" in API group \"\" at the cluster scope"
            ),
        ),
    };
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": status,
    });
    let mut headers = BTreeMap::from([("Content-Type", "application/json")]);
    if fault == Fault::RetryAfter {
        headers.insert("Retry-After", "1");
    }
    Fate::Answer {
        status,
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: body.to_string(),
    }
}

/// A group is destroyed, and its Nodes may be left.
const ALONE: &str = "Cluster does not help to destroy the group";
const UNTURNED: &str = "Other groups of the cluster are not waited for";
const UNSEEN: &str = "Nodes could not be looked at";
/// Cells of a run without more words.
const SAMPLE: usize = 40;
