//! Places for Kubernetes in a machine's life: *joined* after running, *drained* before delete.
//!
//! The engine of worker groups waits here. [`NoNodes`] is a group that is no part of a cluster: a machine has joined when it runs, and
//! there is nothing to drain.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

/// A machine as its Node is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The machine's name; the Node's too where the group sets host names.
    pub name: String,
    /// The cloud's own id, the last part of the Node's `spec.providerID`.
    pub id: String,
    /// To find a Node whose name the platform made.
    pub addresses: Vec<String>,
}

/// The Nodes of a group's machines. Calls are idempotent, and retried by the caller when [`NodeError::retryable`].
#[async_trait]
pub trait Nodes: Send + Sync {
    /// Of these hosts, those whose Node is there and Ready: host name to Node name (`""` where there are no Nodes). One list for all.
    async fn joined(&self, hosts: &[Host]) -> Result<BTreeMap<String, String>, NodeError>;

    /// Keeps new pods away from these hosts. Called for all that leave before the first is drained.
    async fn cordon(&self, hosts: &[Host]) -> Result<(), NodeError>;

    /// Moves the pods off a host and waits until they are gone, as the group's `drain` says. A host without a Node is drained.
    async fn drain(&self, host: &Host) -> Result<(), NodeError>;

    /// Removes the Node object of a host that no longer exists.
    async fn forget(&self, host: &Host) -> Result<(), NodeError>;
}

/// What the cluster did not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeError {
    /// What was tried and what answered, without secrets.
    pub message: String,
    /// Whether a later try may succeed.
    pub retryable: bool,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NodeError {}

/// No cluster: everything has joined, nothing needs draining.
#[derive(Debug, Clone, Copy)]
pub struct NoNodes;

#[async_trait]
impl Nodes for NoNodes {
    async fn joined(&self, hosts: &[Host]) -> Result<BTreeMap<String, String>, NodeError> {
        Ok(hosts
            .iter()
            .map(|host| (host.name.clone(), String::new()))
            .collect())
    }

    async fn cordon(&self, _hosts: &[Host]) -> Result<(), NodeError> {
        Ok(())
    }

    async fn drain(&self, _host: &Host) -> Result<(), NodeError> {
        Ok(())
    }

    async fn forget(&self, _host: &Host) -> Result<(), NodeError> {
        Ok(())
    }
}
