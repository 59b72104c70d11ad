//! KubeVirt's API server behind a proxy: what befalls a call, it does not know of. Each machine of
//! these lives has a Secret.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::subject::refusal;
use super::world::{IMAGES, Server, World, until};
use crate::proxy::{Fate, Proxy};
use crate::worker_group::faults::wire::Wire;
use crate::worker_group::faults::{Fault, FaultyCloud, FaultyLife, Step, show};

/// Only where it is asked for (`make faults-full CLOUDS=kubevirt`): its rows are not on the page
/// yet.
#[tokio::test(flavor = "multi_thread")]
async fn kubevirt_carries_on_or_says_so() {
    if std::env::var_os("FLATCAR_FAULTS").is_none() {
        println!("not asked for: make faults-full CLOUDS=kubevirt");
        return;
    }
    let Some(server) = Server::find() else {
        return;
    };
    show(&KubeVirt { server }, Some(SAMPLE)).await;
}

struct KubeVirt {
    server: Server,
}

struct Place {
    world: World,
    wire: Wire,
}

impl FaultyCloud for KubeVirt {
    fn name(&self) -> &'static str {
        "kubevirt"
    }

    fn place(&self, _: usize) -> BoxFuture<'_, Box<dyn FaultyLife + '_>> {
        async move {
            let place: Box<dyn FaultyLife> = Box::new(Place {
                world: World::of(self.server.clone()).await,
                wire: Wire::default(),
            });
            place
        }
        .boxed()
    }

    fn can_meet(&self, _: &Step, _: &str, fault: Fault) -> bool {
        // Lists of an API server are of the moment at which they are asked for.
        !matches!(fault, Fault::NotYet | Fault::Still)
    }

    fn action(&self, call: &str) -> String {
        let mut words = call.split(' ');
        let verb = match words.next().unwrap_or_default() {
            "list" => "List",
            "get" => "Get",
            "create" => "Create",
            "delete" => "Delete",
            _ => "Patch",
        };
        let kind = match words.next().unwrap_or_default() {
            "virtualmachines" => "VirtualMachine",
            "virtualmachineinstances" => "VirtualMachineInstance",
            "secrets" => "Secret",
            "events" => "Event",
            _ => "Namespace",
        };
        format!("Kubernetes {verb} {kind}")
    }

    fn words(&self, fault: Fault) -> &'static [&'static str] {
        match fault {
            Fault::Refused => &["refused"],
            Fault::ResetBefore | Fault::ResetAfter | Fault::Truncated => &["connection"],
            Fault::Silence => &["within", "in time"],
            Fault::Error500 => &["500"],
            Fault::Error503 => &["503"],
            Fault::Throttled | Fault::RetryAfter => &["429"],
            Fault::Expired => &["401"],
            Fault::Forbidden => &["403"],
            Fault::NotYet | Fault::Still => &[],
        }
    }

    fn at_once(&self) -> usize {
        4
    }

    fn stops(&self) -> bool {
        true
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
        let exec = json!({
            "api_version": "client.authentication.k8s.io/v1",
            "command": "echo",
            "args": [credential.to_string()],
        });
        let mut block = self.world.block();
        block["token"] = Json::Null;
        block["exec"] = exec;
        json!({"kubevirt": block})
    }

    fn shape(&self, tags: &Json) -> Json {
        json!({
            "cluster": self.world.namespace,
            "image": IMAGES[0],
            "kubevirt": {
                "cpu": {"cores": 1},
                "memory": {"guest": "128Mi"},
                "termination_grace_period_seconds": 1,
                "labels": tags,
            },
        })
    }

    fn more_user_data(&self) -> String {
        "x".repeat(3_000)
    }

    fn order(&self, call: &str, fault: Fault) {
        let of = call.to_owned();
        let answer = move || refused(&of, fault);
        self.wire.order(&self.world.proxy, call, fault, answer);
    }

    fn wire(&self) -> Option<(&Wire, &Proxy)> {
        Some((&self.wire, &self.world.proxy))
    }

    fn stop(&self) {
        let stopped = async {
            let mut machines = self.world.alive().await;
            machines.sort();
            if let Some((name, _)) = machines.first() {
                self.world.stop(name).await;
            }
        };
        block_in_place(|| Handle::current().block_on(stopped));
    }

    fn machines(&self) -> BoxFuture<'_, Vec<(String, String)>> {
        self.world.alive().boxed()
    }

    /// Secrets, once all machines that are going are gone.
    fn others(&self) -> BoxFuture<'_, Vec<String>> {
        async {
            until("what is going is gone", || async {
                let machines = self.world.machines().await;
                let going = |one: &Json| !one["metadata"]["deletionTimestamp"].is_null();
                (!machines.iter().any(going)).then_some(())
            })
            .await;
            self.world.secrets().await
        }
        .boxed()
    }
}

/// In the words of the API server.
fn refused(call: &str, fault: Fault) -> Fate {
    let mut words = call.split(' ');
    let (verb, resource) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let mut fate = match fault {
        Fault::Error500 => refusal(500, "InternalError", "Internal error occurred: as ordered"),
        Fault::Error503 => {
            let says = "the server is currently unable to handle the request";
            refusal(503, "ServiceUnavailable", says)
        }
        Fault::Throttled | Fault::RetryAfter => {
            let says = "Too many requests, please try again later.";
            refusal(429, "TooManyRequests", says)
        }
        Fault::Expired => refusal(401, "Unauthorized", "Unauthorized"),
        _ => {
            let says = format!(
                r#"{resource} is forbidden: User "workers" cannot {verb} resource "{resource}" in API group "" in the namespace "vms""#
            );
            refusal(403, "Forbidden", &says)
        }
    };
    if let (Fault::RetryAfter, Fate::Answer { headers, .. }) = (fault, &mut fate) {
        headers.push(("Retry-After".to_owned(), "1".to_owned()));
    }
    fate
}

/// Cells of a run without more words.
const SAMPLE: usize = 40;
