//! What the provider fills in: `uid`, `proof_key`, `machines`, `slots`, `rollout` and the like.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::provider::{Attribute, Type};

/// A machine of `machines`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) id: String,
    pub(crate) zone: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) image: String,
    pub(crate) generation: String,
    pub(crate) node_name: String,
    pub(crate) phase: String,
}

/// A step of `rollout`, which has it as one line: `delete w-k3v9x2ab-0: user_data: file /etc/motd
/// changed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) machine: String,
    pub(crate) action: String,
    pub(crate) reason: String,
}

impl Step {
    /// As [`fmt::Display`] wrote it.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (action, rest) = line.split_once(' ')?;
        let (machine, reason) = rest.split_once(": ")?;
        Some(Self {
            machine: machine.to_owned(),
            action: action.to_owned(),
            reason: reason.to_owned(),
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            machine,
            action,
            reason,
        } = self;
        write!(f, "{action} {machine}: {reason}")
    }
}

pub(super) fn computed() -> Vec<Attribute> {
    let text = |name, description| Attribute::string(name, description).computed();
    vec![
        text("uid", "Identity of this group among others of its name; part of its machines' names."),
        text(
            "proof_key",
            "Keys the marks by which the group proves which machines it made. In state, so that it outlives a provider that is killed.",
        )
        .sensitive(),
        text("cloud", "Name of the group's cloud."),
        text("scope", "Where on the cloud its machines are, such as account and region."),
        text("generation", "Hashes of what the machines are made from: user data, shape, triggers, image."),
        Attribute::map_of(
            "machines",
            "Machines by name. In the plan of a change those that stay are known, and the names of those that are made.",
            machine(),
        )
        .computed(),
        Attribute::map(
            "slots",
            "Names of machines by slot: `0`, `1` and so on, as many as `replicas`. A machine keeps its slot for its life, and what replaces \
             it takes it over. The keys are known before the group is made, so `for_each` takes it. A slot that no machine holds is null.",
            Type::String,
        )
        .computed(),
        Attribute::list(
            "rollout",
            "What this plan does, in the order in which it begins: `create`, `start`, `update` or `delete`, the machine, and after a colon why, \
             without contents. Empty where no machine changes, and in a creation. After an apply it is what was done, until the next plan.",
            Type::String,
        )
        .computed(),
    ]
}

fn machine() -> Vec<Attribute> {
    let text = |name, description| Attribute::string(name, description).computed();
    vec![
        text("id", "The cloud's own id."),
        text("zone", "Availability zone; empty where there are none."),
        Attribute::list(
            "addresses",
            "IP addresses, private ones first.",
            Type::String,
        )
        .computed(),
        text("image", "Image that it booted."),
        text("generation", "Hashes of what it was made from."),
        text(
            "node_name",
            "Name of its Node; empty where it is in no cluster.",
        ),
        text(
            "phase",
            "One of `pending`, `running`, `stopped`, `failed`, `deleting`.",
        ),
    ]
}
