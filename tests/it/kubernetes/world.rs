//! A group of the sandbox whose machines are Nodes of the real cluster, as the fault matrix and the
//! crash points have it: a pod on each Node, which a budget keeps from going with another one, a
//! Node beside them that takes what goes, and a proxy between the provider and the API.
//!
//! Worlds share a cluster and are in nobody's way: each has a namespace, a label on its Nodes, and
//! its Lease in that namespace, for the proxy puts that in place of `kube-system`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::kubelets::register;
use super::server::{Server, is_ready, text};
use crate::clouds::sandbox::world::{World as Sandbox, word};
use crate::proxy::Proxy;

/// One world.
pub(super) struct World {
    server: Arc<Server>,
    pub(super) sandbox: Sandbox,
    pub(super) proxy: Proxy,
    /// Of its pods and its Lease; and the label `world` of its Nodes.
    namespace: String,
    kubelets: JoinHandle<()>,
    pub(super) runtime: Handle,
}

impl World {
    /// One of its own, whose kubelets are played from now on.
    pub(super) async fn new(server: &Arc<Server>) -> Self {
        let namespace = server.namespace().await;
        let proxy = Proxy::before_tls(&server.host, &server.authority);
        proxy.rewrite("kube-system", &namespace);
        let keeper = json!({"metadata": {"labels": {"keeper": namespace}}});
        server.node(&keeper_of(&namespace), keeper).await;
        let budget = json!({
            "metadata": {"name": "web"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        });
        server.make(&budgets(&namespace), budget).await;
        let sandbox = Sandbox::new();
        let kubelets = tokio::spawn(played(
            Arc::clone(server),
            sandbox.path(""),
            namespace.clone(),
        ));
        Self {
            server: Arc::clone(server),
            sandbox,
            proxy,
            namespace,
            kubelets,
            runtime: Handle::current(),
        }
    }

    /// Name and id of each machine that is there and not going.
    pub(super) fn machines(&self) -> BTreeMap<String, String> {
        let records = self.sandbox.records().into_iter();
        let stay = records.filter(|(_, record)| record["gone_ms"].is_null());
        stay.map(|(name, record)| (name, word(&record, "id")))
            .collect()
    }

    /// Waits until a pod runs on each Node that takes some, and the budget knows of all.
    pub(super) async fn ready(&self) {
        for _ in 0..1200 {
            if self.is_ready().await {
                return;
            }
            // Other processes have no clock of ours.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("waited a minute until pods run in {}", self.namespace);
    }

    async fn is_ready(&self) -> bool {
        let nodes = self.nodes().await;
        let machines = self.machines();
        let (mut open, mut is_ready_all) = (BTreeSet::new(), true);
        for name in machines.keys() {
            match nodes.iter().find(|node| node["metadata"]["name"] == **name) {
                Some(node) if node["spec"]["unschedulable"] == true => {}
                Some(node) if is_ready(node) => {
                    open.insert(name.clone());
                }
                _ => is_ready_all = false,
            }
        }
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let list = self.server.object(&pods).await;
        let mut running = BTreeSet::new();
        for pod in list["items"].as_array().into_iter().flatten() {
            let of = text(&pod["metadata"]["labels"]["of"]);
            let at = text(&pod["spec"]["nodeName"]);
            let name = text(&pod["metadata"]["name"]);
            let ends = !pod["metadata"]["deletionTimestamp"].is_null();
            if at == of && pod["status"]["phase"] == "Running" && !ends {
                running.insert(of);
            } else if at != of && !at.is_empty() && open.contains(&of) && !ends {
                // It was moved, or the scheduler had not heard of its Node.
                let path = format!("{pods}/{name}");
                self.server.ask(Method::DELETE, &path, None).await;
            }
        }
        let budget = format!("{}/web", budgets(&self.namespace));
        let budget = self.server.object(&budget).await["status"].clone();
        let is_known = budget["currentHealthy"] == budget["expectedPods"]
            && (open.is_empty() || budget["disruptionsAllowed"] == 1);
        is_ready_all && open.is_subset(&running) && is_known
    }

    /// What is not as it has to be when no apply is under way: machines without a Node, and Nodes
    /// of machines that are left closed or discouraged.
    pub(super) async fn disorder(&self) -> Vec<String> {
        let nodes = self.nodes().await;
        let mut wrong = Vec::new();
        for name in self.machines().keys() {
            let Some(node) = nodes.iter().find(|node| node["metadata"]["name"] == **name) else {
                wrong.push(format!("machine {name} has no Node"));
                continue;
            };
            let spec = &node["spec"];
            let is_leaving = spec["taints"].to_string().contains("/leaving");
            if spec["unschedulable"] == true || is_leaving {
                wrong.push(format!("Node {name} is left closed: {spec}"));
            }
        }
        wrong
    }

    /// Nodes without a machine.
    pub(super) async fn left_over(&self) -> Vec<String> {
        let machines = self.machines();
        let nodes = self.nodes().await;
        let names = nodes.iter().map(|node| text(&node["metadata"]["name"]));
        let left = names.filter(|name| !machines.contains_key(name));
        left.map(|name| format!("Node {name} has no machine"))
            .collect()
    }

    /// Whose turn it is, and for how many seconds after it was last heard of; `None`: nobody's.
    pub(super) async fn holder(&self) -> Option<(String, u64)> {
        let spec = self.server.object(&self.lease()).await["spec"].clone();
        let holder = text(&spec["holderIdentity"]);
        let good_for = spec["leaseDurationSeconds"].as_u64().unwrap_or(u64::MAX);
        (!holder.is_empty()).then_some((holder, good_for))
    }

    /// As its time does.
    pub(super) async fn end_turn(&self) {
        let free = json!({"spec": {"holderIdentity": ""}});
        self.server.change(&self.lease(), free).await;
    }

    fn lease(&self) -> String {
        format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases/terraform-provider-flatcar",
            self.namespace
        )
    }

    async fn nodes(&self) -> Vec<Json> {
        let path = format!("/api/v1/nodes?labelSelector=world%3D{}", self.namespace);
        let list = self.server.object(&path).await;
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kubelets.abort();
        let (server, namespace) = (Arc::clone(&self.server), self.namespace.clone());
        // Where the runtime ends first, the next test removes it.
        self.runtime.spawn(async move {
            for path in [
                format!("/api/v1/nodes?labelSelector=world%3D{namespace}"),
                format!("/api/v1/nodes/{}", keeper_of(&namespace)),
                format!("/api/v1/namespaces/{namespace}"),
            ] {
                server.ask(Method::DELETE, &path, None).await;
            }
        });
    }
}

/// Kubelets, and the pods of their Nodes.
async fn played(server: Arc<Server>, sandbox: std::path::PathBuf, namespace: String) {
    let node = json!({
        "metadata": {"labels": {"world": namespace}},
        // A volume that nothing attaches: its detachment is looked for.
        "status": {"volumesInUse": ["kubernetes.io/csi/example.com^1"]},
    });
    let told = |name: &str| {
        let (server, namespace) = (Arc::clone(&server), namespace.clone());
        tokio::spawn(populated(server, namespace, name.to_owned()));
    };
    match register(&server, &sandbox, &node, told).await {}
}

/// Sets a pod on a Node once that is Ready; one that is gone before is passed over.
async fn populated(server: Arc<Server>, namespace: String, name: String) {
    let path = format!("/api/v1/nodes/{name}");
    loop {
        let node = server.object(&path).await;
        if node.is_null() {
            return;
        }
        if is_ready(&node) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let labels = json!({"app": "web", "of": name});
    let is = |key: &str, value: &str| json!({"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]});
    let here = is("kubernetes.io/hostname", &name);
    let set = json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "affinity": {"nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [here, is("keeper", &namespace)]},
                    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": here}],
                }},
                "terminationGracePeriodSeconds": 1,
                "tolerations": [{"key": "example.com/shared", "operator": "Exists"}],
                "containers": [{"name": "web", "image": "web"}],
            }},
        },
    });
    let sets = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
    // Also where the namespace is gone: its test has ended.
    server.ask(Method::POST, &sets, Some(set)).await;
}

fn keeper_of(namespace: &str) -> String {
    format!("keeper-{namespace}")
}

fn budgets(namespace: &str) -> String {
    format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets")
}
