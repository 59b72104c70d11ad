//! What Compute Engine says of an instance, as a machine: its phase, its mark in its labels, and
//! its shape as far as that can be seen. Pure.
//!
//! In: an instance of `instances.aggregatedList`. Out: a machine. Metadata are not asked for, for
//! all user data of a group are in them: a label has a hash of the user's own, and the description
//! has what only a create knows. See: Compute Engine API v1, `Instance`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::api::tail;
use super::shape::{OURS, Shape, TAGS, group, hash};
use crate::flatcar::Date;
use crate::worker_group::cloud::{Facet, Machine, Mark, OwnTags, PROOF, Phase, Spec, listed};

/// An instance, of which the fields in [`FIELDS`] are asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance {
    id: String,
    pub(super) name: String,
    zone: String,
    pub(super) status: String,
    #[serde(default)]
    status_message: Option<String>,
    #[serde(default)]
    creation_timestamp: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) label_fingerprint: String,
    #[serde(default)]
    pub(super) tags: Tags,
    #[serde(default)]
    machine_type: String,
    #[serde(default)]
    pub(super) deletion_protection: bool,
    #[serde(default)]
    network_interfaces: Vec<Interface>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Tags {
    #[serde(default)]
    pub(super) items: BTreeSet<String>,
    #[serde(default)]
    pub(super) fingerprint: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interface {
    #[serde(rename = "networkIP", default)]
    network_ip: Option<String>,
    #[serde(default)]
    access_configs: Vec<Access>,
}

#[derive(Debug, Clone, Deserialize)]
struct Access {
    #[serde(rename = "natIP", default)]
    nat_ip: Option<String>,
}

/// What is asked for of an instance.
pub(super) const FIELDS: &str = "id,name,zone,status,statusMessage,creationTimestamp,description,labels,labelFingerprint,tags,machineType,\
    deletionProtection,networkInterfaces(networkIP,accessConfigs/natIP)";

impl Instance {
    /// `europe-west3-a/5000000000000000001`: a number is never used again, a name is.
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.zone(), self.id)
    }

    pub(super) fn zone(&self) -> &str {
        tail(&self.zone)
    }

    /// `None` for one that belongs to no group, be it that it lacks only a part of its mark.
    pub(super) fn machine(&self) -> Option<Machine> {
        let machine = self.found();
        machine.mark.is_whole().then_some(machine)
    }

    /// The same whatever its labels are: what it lacks of the mark is empty.
    pub(super) fn found(&self) -> Machine {
        let phase = self.phase();
        let interfaces = self.network_interfaces.iter();
        let own = interfaces.clone().filter_map(|one| one.network_ip.clone());
        let external = interfaces.flat_map(|one| &one.access_configs);
        let external = external.filter_map(|access| access.nat_ip.clone());
        let message = self.status_message.clone().filter(|text| !text.is_empty());
        let stopped = || (phase == Phase::Stopped).then(|| format!("status {}", self.status));
        Machine {
            id: self.id(),
            name: self.name.clone(),
            zone: self.zone().to_owned(),
            addresses: own.chain(external).collect(),
            image: said(&self.description, IMAGE).to_owned(),
            phase,
            message: message.or_else(stopped),
            mark: Mark::parts(|key| self.labels.get(key).map(String::as_str)),
            created: Date::moment_with_offset(&self.creation_timestamp),
            observed: Facet::seen(FACETS, self),
        }
    }

    /// Whether it is what an earlier try of this create has made; its mark may have been rewritten
    /// since.
    pub(super) fn is_of(&self, spec: &Spec<'_>) -> bool {
        let proof = self.labels.get(PROOF).map_or("", String::as_str);
        self.description == description(spec) && proof == spec.mark.proof
    }

    /// One that somebody deletes says the same as one that somebody stops: who deletes it here
    /// knows.
    fn phase(&self) -> Phase {
        match self.status.as_str() {
            "PROVISIONING" | "STAGING" | "PENDING" | "REPAIRING" => Phase::Pending,
            "DEPROVISIONING" => Phase::Deleting,
            "STOPPING" | "PENDING_STOP" | "SUSPENDING" | "STOPPED" | "SUSPENDED" | "TERMINATED" => {
                Phase::Stopped
            }
            _ => Phase::Running,
        }
    }

    /// Names of the instance groups of its zone that it says it is in.
    pub(super) fn claims(&self) -> BTreeSet<String> {
        let named = self.labels.iter().filter(|(key, _)| key.starts_with(CLAIM));
        named.map(|(_, name)| claim(self.zone(), name)).collect()
    }

    /// Its labels with a mark, and, where there is a shape, with those of the shape in place of
    /// those that an earlier one had: the instance groups are these.
    pub(super) fn labels_with(
        &self,
        mark: &Mark,
        own: Option<(&Shape, &BTreeSet<String>)>,
    ) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        if let Some((shape, claims)) = own {
            let before = own_labels(&self.labels);
            labels.retain(|key, _| {
                !before.contains_key(key) && !LISTS.iter().any(|list| key.starts_with(list))
            });
            labels.extend(of_shape(shape, claims.iter().map(|claim| tail(claim))));
        }
        labels.extend(mark.written());
        labels
    }
}

/// What instances show of their shape.
pub(super) const FACETS: &[Facet<Shape, Instance>] = &[
    Facet::whole(
        "machine_type",
        |shape| Some(shape.machine_type.clone()),
        |instance| Some(tail(&instance.machine_type).to_owned()),
    ),
    Facet::whole(
        "zones",
        |_| None,
        |instance| Some(instance.zone().to_owned()),
    ),
    Facet::whole(
        TAGS,
        |shape| Some(listed(&shape.network_tags, ", ")),
        |instance| Some(listed(&instance.tags.items, ", ")),
    ),
    Facet::whole(
        "deletion_protection",
        |shape| Some(shape.deletion_protection.to_string()),
        |instance| Some(instance.deletion_protection.to_string()),
    ),
    Facet::whole(
        "metadata",
        |shape| Some(hash_of(&shape.metadata)),
        |instance| Some(instance.labels.get(METADATA).cloned().unwrap_or_default()),
    ),
    Facet::parts(
        OWN.field,
        |shape| shape.labels.clone(),
        |instance| own_labels(&instance.labels),
    ),
];

/// All labels of a new instance.
pub(super) fn labels(mark: &Mark, shape: &Shape, zone: &str) -> BTreeMap<String, String> {
    let groups = shape.instance_groups.iter().filter_map(|link| group(link));
    let names = groups.filter(|(of, _)| *of == zone).map(|(_, name)| name);
    let mut labels = of_shape(shape, names);
    labels.extend(mark.written());
    labels
}

/// The user's, which they are, a hash of the user's metadata, and the instance groups.
fn of_shape<'a>(shape: &Shape, groups: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let mut labels = OWN.written(&shape.labels);
    let list = labels.remove(OWN.list).unwrap_or_default();
    let hashes: Vec<&str> = list.split(',').filter(|hash| !hash.is_empty()).collect();
    for (number, hashes) in hashes.chunks(HASHES_IN_A_LABEL).enumerate() {
        labels.insert(format!("{}-{number}", OWN.list), hashes.join("_"));
    }
    for (number, name) in groups.enumerate() {
        labels.insert(format!("{CLAIM}{number}"), name.to_owned());
    }
    labels.insert(METADATA.to_owned(), hash_of(&shape.metadata));
    labels
}

fn own_labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let lists = labels.iter().filter(|(key, _)| key.starts_with(OWN.list));
    let lists: Vec<String> = lists.map(|(_, list)| list.replace('_', ",")).collect();
    let list = lists.join(",");
    let others = labels.iter().filter(|(key, _)| !key.starts_with(OURS));
    let others = others.map(|(key, value)| (key.as_str(), value.as_str()));
    OWN.seen(others.chain([(OWN.list, list.as_str())]))
}

fn hash_of(metadata: &BTreeMap<String, String>) -> String {
    let parts: Vec<String> = metadata
        .iter()
        .map(|(key, value)| format!("{key}\n{}\n{value}", value.len()))
        .collect();
    hash(&parts.join("\n"))[..20].to_owned()
}

/// What only a create knows: which try of the name this is, and of which image.
pub(super) fn description(spec: &Spec<'_>) -> String {
    format!("Flatcar {ATTEMPT}{} {IMAGE}{}", spec.attempt, spec.image)
}

fn said<'a>(description: &'a str, key: &str) -> &'a str {
    let word = description
        .split(' ')
        .find_map(|word| word.strip_prefix(key));
    word.unwrap_or_default()
}

/// An instance group as a machine names it: `europe-west3-a/instanceGroups/web`.
pub(super) fn claim(zone: &str, name: &str) -> String {
    format!("{zone}/instanceGroups/{name}")
}

/// Which labels are the user's: five digits each of the hashes of their keys, ten in a label.
const OWN: OwnTags = OwnTags {
    field: "labels",
    list: "flatcar-labels",
    listed: |key| hash(key)[..5].to_owned(),
};
const HASHES_IN_A_LABEL: usize = 10;
/// Keys of labels that name instance groups begin so.
const CLAIM: &str = "flatcar-instance-group-";
/// The label that has a hash of the user's metadata.
const METADATA: &str = "flatcar-metadata";
const LISTS: [&str; 2] = [OWN.list, CLAIM];
const ATTEMPT: &str = "attempt=";
const IMAGE: &str = "image=";
