//! A connection to the Nodes of a cluster: which Node is whose, as far as it is known, and the
//! calls about one Node.
//!
//! Which Node is whose is remembered for the operation, so that a single one is asked for by its
//! name. What is written is guarded by the version that was read, and tried again on what is there
//! by then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::api::{Api, Body, Call, Event, Failed, Rule, Watch};
use super::node::{CORDONED, DRAINED, Found, MANAGER, nodes_of};
use super::pod::Rules;
use super::{Host, NodeError, Settings, Status};

/// The Nodes of one cluster, for one operation on one group.
pub struct Connection {
    pub(super) api: Arc<Api>,
    pub(super) rules: Rules,
    /// How long a drain has to look useless before it is given up.
    pub(super) patience: Duration,
    /// What a Node carries that is cordoned here.
    mark: &'static str,
    known: Mutex<Known>,
    pub(super) watch: tokio::sync::Mutex<Option<Watch>>,
    /// Which volumes were attached to which Nodes, when that was last asked.
    attached: tokio::sync::Mutex<Option<(Instant, Attached)>>,
}

/// Name of a Node, and of a volume that is attached to it.
pub(super) type Attached = Arc<Vec<(String, String)>>;

/// What is known from earlier answers.
#[derive(Default)]
pub(super) struct Known {
    /// Those of the last [`super::Nodes::status`], and what it answered.
    pub(super) hosts: Vec<Host>,
    pub(super) answered: BTreeMap<String, Status>,
    /// Of the list; `""`: it has to be asked for anew.
    pub(super) version: String,
    /// Name and uid of the Nodes of hosts, by the machine's id: a later machine may have its name.
    pub(super) nodes: BTreeMap<String, (String, String)>,
    /// The turn of somebody else, as it was first seen: what has changed it, and when.
    pub(super) turn: Option<(String, Instant)>,
}

impl Connection {
    /// Of this API. Dials nothing.
    pub fn new(api: Arc<Api>, rules: Rules) -> Self {
        Self {
            api,
            rules,
            patience: PATIENCE,
            mark: CORDONED,
            known: Mutex::default(),
            watch: tokio::sync::Mutex::default(),
            attached: tokio::sync::Mutex::default(),
        }
    }

    /// Gives up a drain once it has looked useless for so long.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// For Nodes that are chosen by themselves: no group takes their cordon for its own.
    pub(super) fn of_no_group(self) -> Self {
        Self {
            mark: DRAINED,
            ..self
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        // A panic under this lock leaves what is still whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All Nodes of the cluster, and the version of the list.
    pub(super) async fn listed(&self) -> Result<(Vec<Found>, String), NodeError> {
        let listed = self.api.list(NODES, &[], ("", "nodes", "list"), Found::of);
        listed
            .await
            .map_err(|failed| failed.error("Kubernetes List", "nodes"))
    }

    /// Those of them that a selector selects.
    pub(super) async fn labelled(&self, selector: &str) -> Result<Vec<Found>, NodeError> {
        let query = [("labelSelector", selector)];
        let listed = self
            .api
            .list(NODES, &query, ("", "nodes", "list"), Found::of);
        match listed.await {
            Ok((nodes, _)) => Ok(nodes),
            Err(failed) => Err(failed.error("Kubernetes List", "nodes")),
        }
    }

    /// The Nodes of hosts, by host name.
    pub(super) async fn found(&self, hosts: &[Host]) -> Result<BTreeMap<String, Found>, NodeError> {
        let mut found = BTreeMap::new();
        if hosts.len() <= FEW {
            for host in hosts {
                let known = self.known().nodes.get(&host.id).cloned();
                let Some((name, uid)) = known else {
                    break;
                };
                match self.node(&name).await? {
                    Some(node) if node.uid == uid && node.is_of(host) => {
                        found.insert(host.name.clone(), node)
                    }
                    _ => break,
                };
            }
            if found.len() == hosts.len() {
                return Ok(found);
            }
        }
        let (nodes, _) = self.listed().await?;
        let of_hosts = nodes_of(hosts, &nodes);
        self.remember(hosts, &of_hosts);
        let of_hosts = of_hosts.into_iter();
        Ok(of_hosts.map(|(host, node)| (host, node.clone())).collect())
    }

    pub(super) fn remember(&self, hosts: &[Host], found: &BTreeMap<String, &Found>) {
        let mut known = self.known();
        for host in hosts {
            match found.get(&host.name) {
                Some(node) => {
                    let node = (node.name.clone(), node.uid.clone());
                    known.nodes.insert(host.id.clone(), node);
                }
                None => {
                    known.nodes.remove(&host.id);
                }
            }
        }
    }

    /// A Node as it is now.
    pub(super) async fn node(&self, name: &str) -> Result<Option<Found>, NodeError> {
        let asked = self.ask(Method::GET, name, &[], None, "get").await;
        match asked {
            Ok(node) => Ok(Some(Found::of(&node))),
            Err(failed) if failed.is_not_found() => Ok(None),
            Err(failed) => Err(failed.error("Kubernetes Get", node_of(name))),
        }
    }

    async fn ask(
        &self,
        method: Method,
        name: &str,
        query: &[(&str, &str)],
        body: Option<Body>,
        verb: &'static str,
    ) -> Result<Json, Failed> {
        let path = ["api", "v1", "nodes", name];
        self.api
            .call(Call {
                method,
                path: &path,
                query,
                body,
                rule: ("", "nodes", verb),
            })
            .await
    }

    /// Sets what is to be set on one Node; one that is gone is passed over.
    pub(super) async fn write(&self, node: Found, settings: &Settings) -> Result<(), NodeError> {
        let name = node.name.clone();
        let failed = |failed: Failed| failed.error("Kubernetes Patch", node_of(&name));
        let mut node = node;
        if let Some(labels) = node.labels_to_apply(settings) {
            let query = [("fieldManager", MANAGER), ("force", "true")];
            let body = Some(Body::Apply(labels));
            match self.ask(Method::PATCH, &name, &query, body, "patch").await {
                Ok(answer) => node = Found::of(&answer),
                Err(gone) if gone.is_not_found() => return Ok(()),
                Err(refused) => return Err(failed(refused)),
            }
        }
        for _ in 0..TRIES {
            let Some(patch) = node.patch(settings, self.mark) else {
                return Ok(());
            };
            let query = [("fieldManager", MANAGER)];
            let body = Some(Body::Merge(patch));
            match self.ask(Method::PATCH, &name, &query, body, "patch").await {
                Ok(_) => return Ok(()),
                Err(gone) if gone.is_not_found() => return Ok(()),
                Err(changed) if changed.is_conflict() => match self.node(&name).await? {
                    Some(now) if now.uid == node.uid => node = now,
                    _ => return Ok(()),
                },
                Err(refused) => return Err(failed(refused)),
            }
        }
        let conflict = Failed {
            status: Some(409),
            message: "it changes faster than it can be written".to_owned(),
            ..Failed::default()
        };
        Err(failed(conflict))
    }

    /// Which volumes are attached to which Nodes: one list for all who ask within a moment. One
    /// that is a moment old shows no volume as detached that is not.
    pub(super) async fn attachments(&self) -> Result<Attached, Failed> {
        let mut held = self.attached.lock().await;
        if let Some((asked, attached)) = &*held
            && asked.elapsed() < FRESH
        {
            return Ok(Arc::clone(attached));
        }
        let text = |value: &Json| value.as_str().map(str::to_owned);
        let read = |attachment: &Json| {
            let spec = &attachment["spec"];
            let volume = text(&spec["source"]["persistentVolumeName"]);
            Some((
                text(&spec["nodeName"])?,
                volume.unwrap_or_else(|| "of a pod".to_owned()),
            ))
        };
        let asked = Instant::now();
        let (listed, _) = self
            .api
            .list(ATTACHMENTS, &[], LIST_ATTACHMENTS, read)
            .await?;
        let attached = Arc::new(listed.into_iter().flatten().collect());
        *held = Some((asked, Arc::clone(&attached)));
        Ok(attached)
    }

    /// Deletes this Node; `false`: there is another one of its name.
    pub(super) async fn delete(&self, name: &str, uid: &str) -> Result<bool, NodeError> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
        });
        let body = Some(Body::Json(options));
        match self.ask(Method::DELETE, name, &[], body, "delete").await {
            Ok(_) => Ok(true),
            Err(gone) if gone.is_not_found() => Ok(true),
            Err(other) if other.is_conflict() => Ok(false),
            Err(refused) => Err(refused.error("Kubernetes Delete", node_of(name))),
        }
    }

    /// Whether an event makes the last answer another one.
    pub(super) fn matters(&self, event: &Event) -> bool {
        let mut known = self.known();
        match event {
            Event::Bookmark(version) => {
                known.version.clone_from(version);
                false
            }
            Event::Is(node) => {
                let node = Found::of(node);
                known.version.clone_from(&node.version);
                let nodes = [node];
                let of_hosts = nodes_of(&known.hosts, &nodes);
                of_hosts
                    .into_iter()
                    .any(|(host, node)| known.answered.get(&host) != Some(&node.status()))
            }
            Event::Gone(node) => {
                let node = Found::of(node);
                known.version.clone_from(&node.version);
                let answered = known.answered.values().filter_map(Status::node);
                answered
                    .map(|node| &node.name)
                    .any(|name| *name == node.name)
            }
        }
    }

    /// The next event of the watch, which begins where there is none; `None`: it is over.
    pub(super) async fn event(&self, watch: &mut Option<Watch>) -> Result<Option<Event>, Failed> {
        if watch.is_none() {
            let version = self.known().version.clone();
            if version.is_empty() {
                return std::future::pending().await;
            }
            *watch = Some(self.api.watch(NODES, &[], &version, WATCH_NODES).await?);
        }
        match watch {
            Some(watch) => watch.next().await,
            None => Ok(None),
        }
    }
}

fn node_of(name: &str) -> String {
    format!("Node {name}")
}

const NODES: &[&str] = &["api", "v1", "nodes"];
const ATTACHMENTS: &[&str] = &["apis", "storage.k8s.io", "v1", "volumeattachments"];
const LIST_ATTACHMENTS: Rule = ("storage.k8s.io", "volumeattachments", "list");
/// Shorter than the pauses between questions of one drain.
const FRESH: Duration = Duration::from_secs(1);
const WATCH_NODES: Rule = ("", "nodes", "watch");
/// So few Nodes are asked for one by one, where they are known.
const FEW: usize = 3;
/// A kubelet that is restarted, or a control plane that hears none for a while, is back within it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of a patch that meets another version.
const TRIES: u32 = 10;
