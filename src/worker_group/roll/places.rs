//! The places of a machine's life beside the cloud itself: its Node, and where it gets traffic.
//!
//! After *running* a machine joins the cluster, then is entered where it gets traffic, and counts once it gets some. Before *delete* it is
//! taken out there, then drained. The engine sees one thing that answers both.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::Calls;
use crate::kubernetes::{Host, NodeError, Nodes};
use crate::worker_group::cloud::{CloudError, Members};

/// The Nodes of a group, and the members of what its cloud balances.
pub(crate) struct Places<'a> {
    nodes: &'a dyn Nodes,
    calls: Calls<'a>,
    members: Option<&'a dyn Members>,
    /// Names of machines that leave: they are not entered again.
    leaving: BTreeSet<String>,
}

impl<'a> Places<'a> {
    /// For an apply that deletes these machines.
    pub(crate) fn new(nodes: &'a dyn Nodes, calls: Calls<'a>, leaving: &[String]) -> Self {
        Self {
            nodes,
            calls,
            members: calls.cloud.members(),
            leaving: leaving.iter().cloned().collect(),
        }
    }
}

#[async_trait]
impl Nodes for Places<'_> {
    async fn joined(&self, hosts: &[Host]) -> Result<BTreeMap<String, String>, NodeError> {
        let mut joined = self.nodes.joined(hosts).await?;
        let Some(members) = self.members else {
            return Ok(joined);
        };
        let up = hosts.iter().filter(|host| joined.contains_key(&host.name));
        let (leaving, staying): (Vec<Host>, Vec<Host>) = up
            .cloned()
            .partition(|host| self.leaving.contains(&host.name));
        let mut serve = match staying.is_empty() {
            true => BTreeSet::new(),
            false => self.calls.enter(members, &staying).await.map_err(refused)?,
        };
        // One that leaves serves until it is out, however it fares there: what comes in its place has to get traffic first.
        let out = members.out(&leaving);
        let names = leaving.into_iter().map(|host| host.name);
        serve.extend(names.filter(|name| !out.contains(name)));
        joined.retain(|name, _| serve.contains(name));
        Ok(joined)
    }

    /// All that leave begin at once, so that they need not wait one after the other.
    async fn cordon(&self, hosts: &[Host]) -> Result<(), NodeError> {
        self.nodes.cordon(hosts).await?;
        match self.members {
            Some(members) => self.calls.leave(members, hosts).await.map_err(refused),
            None => Ok(()),
        }
    }

    /// Nothing new comes to a machine before what runs on it is moved away.
    async fn drain(&self, host: &Host) -> Result<(), NodeError> {
        if let Some(members) = self.members {
            let hosts = std::slice::from_ref(host);
            self.calls.leave(members, hosts).await.map_err(refused)?;
            members.left(host).await.map_err(refused)?;
        }
        self.nodes.drain(host).await
    }

    async fn forget(&self, host: &Host) -> Result<(), NodeError> {
        self.nodes.forget(host).await
    }
}

fn refused(error: CloudError) -> NodeError {
    NodeError {
        retryable: error.is_retryable(),
        message: error.to_string(),
    }
}
