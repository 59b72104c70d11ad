//! The Nodes of a real cluster: [`Nodes`] over its API. How all are is one list; what changes then
//! is one watch.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::drain::drained;
use super::node::nodes_of;
use super::{Drained, Eviction, Host, NodeError, Nodes, Progress, Settings, Status, Turn};
use crate::protocol::log;

#[async_trait]
impl Nodes for Connection {
    async fn status(&self, hosts: &[Host]) -> Result<BTreeMap<String, Status>, NodeError> {
        let (nodes, version) = self.listed().await?;
        let of_hosts = nodes_of(hosts, &nodes);
        self.remember(hosts, &of_hosts);
        let statuses = of_hosts.iter();
        let statuses: BTreeMap<String, Status> = statuses
            .map(|(host, node)| (host.clone(), node.status()))
            .collect();
        let mut known = self.known();
        known.hosts = hosts.to_vec();
        known.answered.clone_from(&statuses);
        known.version = version;
        Ok(statuses)
    }

    async fn changed(&self) {
        let mut watch = self.watch.lock().await;
        loop {
            match self.event(&mut watch).await {
                Ok(Some(event)) if self.matters(&event) => return,
                Ok(Some(_)) => {}
                // The server ends a watch now and then; it goes on from where it was.
                Ok(None) => {
                    *watch = None;
                    sleep(PAUSE).await;
                }
                Err(failed) if failed.is_expired() => {
                    *watch = None;
                    self.known().version.clear();
                    return;
                }
                Err(failed) if failed.is_passing() => {
                    *watch = None;
                    sleep(PAUSE).await;
                }
                Err(failed) => {
                    let failed = failed.error("Kubernetes Watch", "nodes");
                    log::warn("Nodes cannot be watched", &[("why", &failed)]);
                    std::future::pending().await
                }
            }
        }
    }

    async fn set(&self, hosts: &[Host], settings: &Settings) -> Result<(), NodeError> {
        let found = self.found(hosts).await?;
        let writes = found.into_values().map(|node| self.write(node, settings));
        let mut written = stream::iter(writes).buffer_unordered(AT_ONCE);
        let mut refused = None;
        while let Some(result) = written.next().await {
            refused = refused.or(result.err());
        }
        refused.map_or(Ok(()), Err)
    }

    async fn drain(
        &self,
        host: &Host,
        eviction: Eviction,
        deadline: Instant,
        progress: Progress<'_>,
    ) -> Result<Drained, NodeError> {
        let mut found = self.found(std::slice::from_ref(host)).await?;
        let Some(node) = found.remove(&host.name) else {
            return Ok(Drained::Empty);
        };
        drained(self, node, eviction, deadline, progress).await
    }

    async fn forget(&self, hosts: &[Host]) -> Result<(), NodeError> {
        let mut unknown = Vec::new();
        for host in hosts {
            let known = self.known().nodes.remove(&host.id);
            // While the machine was there this was its Node, however it was found.
            let is_gone = match &known {
                Some((name, uid)) => {
                    let deleted = self.delete(name, uid).await;
                    if let (Err(_), Some(known)) = (&deleted, known) {
                        self.known().nodes.insert(host.id.clone(), known);
                    }
                    deleted?
                }
                None => false,
            };
            let has_successor = self
                .known()
                .hosts
                .iter()
                .any(|other| other.name == host.name && other.id != host.id);
            // By name alone it may be the Node of the machine that came in its place.
            if !is_gone && !has_successor {
                // An address may be another machine's by now.
                unknown.push(Host {
                    addresses: Vec::new(),
                    ..host.clone()
                });
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let (nodes, _) = self.listed().await?;
        for node in nodes_of(&unknown, &nodes).into_values() {
            self.delete(&node.name, &node.uid).await?;
        }
        Ok(())
    }

    async fn turn(&self, holder: &str) -> Result<Turn, NodeError> {
        self.taken_turn(holder).await
    }

    async fn end_turn(&self, holder: &str) -> Result<(), NodeError> {
        self.ended_turn(holder).await
    }
}

/// Nodes that are written at a time.
const AT_ONCE: usize = 10;
/// Before a watch that broke off begins anew.
const PAUSE: Duration = Duration::from_secs(2);
