//! What KubeVirt says of a virtual machine, as a machine: its phase, its mark in its labels, and
//! its shape as far as that can be seen. Pure.
//!
//! In: a `VirtualMachine` of a list, which may hold user data: they are not read. Out: a machine.
//! What it has in the words of KubeVirt and of the scheduler is its message. See: KubeVirt API v1,
//! `VirtualMachineStatus`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shape::{ANNOTATIONS, LABELS, OURS, ROOT, RUN_STRATEGY, Shape};
use crate::flatcar::Date;
use crate::protocol::visible::{cut, one_line};
use crate::worker_group::cloud::{Facet, Looks, Machine, Mark, OwnTags, PROOF, Phase, Spec};

/// What is read of one.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct VirtualMachine {
    pub(super) metadata: Metadata,
    #[serde(default)]
    spec: MachineSpec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    creation_timestamp: String,
    deletion_timestamp: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) owner_references: Vec<Owner>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Owner {
    pub(super) uid: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MachineSpec {
    run_strategy: String,
    running: Option<bool>,
    instancetype: Option<Named>,
    preference: Option<Named>,
    template: Template,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: Guest,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Guest {
    domain: Domain,
    volumes: Vec<Volume>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Domain {
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    cores: i64,
    sockets: i64,
    threads: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Memory {
    guest: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    name: String,
    container_disk: Option<Disk>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Disk {
    image: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    printable_status: String,
    /// Whether there is an instance of it.
    created: bool,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
    reason: String,
    message: String,
}

impl VirtualMachine {
    /// `workers-k3x9-0/0f3c…`: a uid is never used again, a name is.
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.metadata.name, self.metadata.uid)
    }

    /// With the addresses that its instance has; what it lacks of the mark is empty.
    pub(super) fn machine(&self, addresses: Vec<String>) -> Machine {
        let Metadata { labels, .. } = &self.metadata;
        let phase = self.phase();
        Machine {
            id: self.id(),
            name: self.metadata.name.clone(),
            zone: String::new(),
            addresses,
            image: self.image(),
            phase,
            message: self.message(phase),
            mark: Mark::parts(|key| labels.get(key).map(String::as_str)),
            created: Date::moment(&self.metadata.creation_timestamp),
            observed: Facet::seen(FACETS, self),
        }
    }

    /// Whether it is what an earlier try of this create has made; its mark may have been rewritten
    /// since.
    pub(super) fn is_of(&self, spec: &Spec<'_>) -> bool {
        let proof = self.metadata.labels.get(PROOF).map_or("", String::as_str);
        let attempt = self.said(ATTEMPT) == spec.attempt.to_string();
        attempt && self.image() == spec.image && proof == spec.mark.proof
    }

    /// Whether an instance of it may be there.
    pub(super) fn may_run(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Whether somebody has stopped it, or it has come to an end.
    pub(super) fn is_halted(&self) -> bool {
        self.spec.run_strategy == HALTED || self.spec.running == Some(false)
    }

    /// KubeVirt's own word for how it is.
    pub(super) fn status(&self) -> &str {
        &self.status.printable_status
    }

    /// Whether its user data are to be in a Secret that its create may not have come to.
    pub(super) fn may_lack_secret(&self) -> bool {
        let is_there = matches!(self.phase(), Phase::Pending | Phase::Running);
        is_there && self.said(USER_DATA) == AWAITED
    }

    /// How it was asked to run.
    pub(super) fn strategy(&self) -> &str {
        match self.said(STRATEGY) {
            "" => ALWAYS,
            strategy => strategy,
        }
    }

    fn said(&self, key: &str) -> &str {
        self.metadata
            .annotations
            .get(key)
            .map_or("", String::as_str)
    }

    fn image(&self) -> String {
        let mut volumes = self.spec.template.spec.volumes.iter();
        let root = volumes.find(|volume| volume.name == ROOT);
        match root.and_then(|root| root.container_disk.as_ref()) {
            Some(disk) => disk.image.clone(),
            None => self.said(IMAGE).to_owned(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        if self.metadata.deletion_timestamp.is_some() {
            return Phase::Deleting;
        }
        let status = self.status.printable_status.as_str();
        match status {
            "Running" | "Migrating" | "Unknown" => Phase::Running,
            PAUSED => Phase::Stopped,
            _ if self.is_halted() => Phase::Stopped,
            // One that is new says so too, until its instance is made, and so does one between an
            // end and the next start.
            "Stopped" if self.status.created && self.spec.run_strategy != ALWAYS => Phase::Stopped,
            "CrashLoopBackOff" | "DataVolumeError" => Phase::Failed,
            // What cannot be placed, or pulled, may be a little later.
            _ => Phase::Pending,
        }
    }

    fn message(&self, phase: Phase) -> Option<String> {
        if phase == Phase::Running && self.status.printable_status == "Running" {
            return None;
        }
        let status = match self.status.printable_status.as_str() {
            "" => return None,
            status => status,
        };
        let told = self.status.conditions.iter().filter(|condition| {
            let is_good = match condition.r#type.as_str() {
                "Paused" | "Failure" => "False",
                "Ready" | "PodScheduled" | "DataVolumesReady" | "Synchronized" | "StorageReady" => {
                    "True"
                }
                _ => return false,
            };
            condition.status != is_good && !condition.message.is_empty()
        });
        let mut words: Vec<String> = Vec::new();
        for condition in told {
            let said = format!("{}: {}", condition.reason, condition.message);
            if !words.iter().any(|word| word.contains(&condition.message)) {
                words.push(said);
            }
        }
        let all = std::iter::once(status.to_owned())
            .chain(words)
            .collect::<Vec<_>>()
            .join("; ");
        Some(cut(&one_line(&all), MESSAGE_CHARS).into_owned())
    }
}

/// The name of a machine's Secret.
pub(super) fn secret_name(machine: &str) -> String {
    format!("{machine}-user-data")
}

/// It waits for user data that nobody has any more.
pub(super) fn without_secret(machine: &mut Machine) {
    if matches!(machine.phase, Phase::Pending | Phase::Running) {
        machine.phase = Phase::Failed;
        let name = secret_name(&machine.name);
        machine.message = Some(format!(
            "its create ended before the Secret {name} was made"
        ));
    }
}

/// What machines show of their shape.
pub(super) const FACETS: &[Facet<Shape, VirtualMachine>] = &[
    Facet::whole(
        "instancetype",
        |shape| shape.instancetype.as_ref().map(|of| of.name.clone()),
        |machine| machine.spec.instancetype.as_ref().map(|of| of.name.clone()),
    ),
    Facet::whole(
        "preference",
        |shape| shape.preference.as_ref().map(|of| of.name.clone()),
        |machine| machine.spec.preference.as_ref().map(|of| of.name.clone()),
    ),
    Facet::whole(
        "cpu",
        |shape| {
            shape
                .cpu
                .as_ref()
                .map(|cpu| processors([cpu.cores, cpu.sockets, cpu.threads]))
        },
        |machine| {
            machine
                .spec
                .template
                .spec
                .domain
                .cpu
                .as_ref()
                .map(|cpu| processors([cpu.cores, cpu.sockets, cpu.threads]))
        },
    ),
    Facet::whole(
        "memory",
        |shape| shape.memory.as_ref().map(|memory| memory.guest.clone()),
        |machine| {
            machine
                .spec
                .template
                .spec
                .domain
                .memory
                .as_ref()
                .map(|memory| memory.guest.clone())
        },
    ),
    // One that somebody has halted shows that by its phase.
    Facet::whole(
        RUN_STRATEGY,
        |shape| Some(shape.run_strategy.clone()),
        |machine| (!machine.is_halted()).then(|| machine.spec.run_strategy.clone()),
    ),
    Facet::parts(
        LABELS,
        |shape| shape.labels.clone(),
        |machine| own(&OWN_LABELS, &machine.metadata.labels, machine),
    ),
    Facet::parts(
        ANNOTATIONS,
        |shape| shape.annotations.clone(),
        |machine| own(&OWN_ANNOTATIONS, &machine.metadata.annotations, machine),
    ),
];

fn processors([cores, sockets, threads]: [i64; 3]) -> String {
    format!("{cores} cores, {sockets} sockets, {threads} threads")
}

fn own(own: &OwnTags, pairs: &BTreeMap<String, String>, machine: &VirtualMachine) -> Looks {
    let others = pairs.iter().filter(|(key, _)| !key.starts_with(OURS));
    let others = others.map(|(key, value)| (key.as_str(), value.as_str()));
    own.seen(others.chain([(own.list, machine.said(own.list))]))
}

/// The annotation that lists which labels are the user's.
pub(super) const OWN_LABELS: OwnTags = OwnTags {
    field: LABELS,
    list: "flatcar-labels",
    listed: str::to_owned,
};
/// The same of annotations.
pub(super) const OWN_ANNOTATIONS: OwnTags = OwnTags {
    field: ANNOTATIONS,
    list: "flatcar-annotations",
    listed: str::to_owned,
};
/// Annotations of what only a create knows: which try of the name this is, and of which image; and
/// how it is to run.
pub(super) const ATTEMPT: &str = "flatcar-attempt";
pub(super) const IMAGE: &str = "flatcar-image";
pub(super) const STRATEGY: &str = "flatcar-run-strategy";
/// The annotation that says whether a machine's Secret is known to be there: [`AWAITED`] from the
/// create on, [`WRITTEN`] with the first mark after it.
pub(super) const USER_DATA: &str = "flatcar-user-data";
pub(super) const AWAITED: &str = "awaited";
pub(super) const WRITTEN: &str = "written";
const ALWAYS: &str = "Always";
const HALTED: &str = "Halted";
const PAUSED: &str = "Paused";
const MESSAGE_CHARS: usize = 1_000;
