//! What KubeVirt says of the instance of a virtual machine that runs: its addresses.
//!
//! In: a `VirtualMachineInstance`, which has its machine's name. Out: `10.0.0.5`. See: KubeVirt API
//! v1.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::machine::{Metadata, VirtualMachine};

/// What is read of the instance that runs, which has its machine's name.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Instance {
    pub(super) metadata: Metadata,
    #[serde(default)]
    status: InstanceStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct InstanceStatus {
    interfaces: Vec<Interface>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Interface {
    ip_address: String,
    ip_addresses: Vec<String>,
}

impl Instance {
    /// Whether it is of this machine, and not of an earlier one of its name.
    pub(super) fn is_of(&self, machine: &VirtualMachine) -> bool {
        let mut owners = self.metadata.owner_references.iter();
        owners.any(|owner| owner.uid == machine.metadata.uid)
    }

    /// Each once.
    pub(super) fn addresses(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let interfaces = self.status.interfaces.iter();
        let all =
            interfaces.flat_map(|one| std::iter::once(&one.ip_address).chain(&one.ip_addresses));
        let all = all
            .filter(|address| !address.is_empty())
            .take(MOST_ADDRESSES);
        all.filter(|address| seen.insert((*address).clone()))
            .cloned()
            .collect()
    }
}

const MOST_ADDRESSES: usize = 64;
