//! What vSphere says of a virtual machine, as a machine: its phase, its mark in its advanced
//! parameters, and its shape as far as that can be seen. Pure.
//!
//! In: properties of a `VirtualMachine`. Out: a machine. Only single parameters are asked for, by
//! their keys: user data stand beside them. See: *vSphere Web Services API*, `VirtualMachine`,
//! `VirtualMachineConfigInfo.extraConfig`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value as Json;

use super::known::{NUMBER, id_of};
use super::object::{Object, plain};
use super::shape::{ANNOTATION, EXTRA, GRACE, OURS, SHUTDOWN, Shape, is_key};
use crate::flatcar::Date;
use crate::worker_group::cloud::addresses::LISTED;
use crate::worker_group::cloud::{
    CLUSTER, Facet, GENERATION, GROUP, Machine, Mark, OwnTags, PROOF, Phase, Spec, UID, UNSAVED,
};

/// Paths that tell whose a machine is: all machines are asked for these.
pub(super) fn whose() -> Vec<String> {
    [key(CLUSTER), key(GROUP), OWN.list.to_owned()]
        .iter()
        .map(|key| option(key))
        .collect()
}

/// Paths of what is asked for of a group's machines, whose own parameters have these keys.
pub(super) fn paths(own: &BTreeSet<String>) -> Vec<String> {
    let marks = [CLUSTER, GROUP, UID, GENERATION, UNSAVED, PROOF].map(key);
    let ours = [ATTEMPT, IMAGE, NOTES, MINUTES, ADDRESS, OWN.list].map(str::to_owned);
    let keys = marks.iter().chain(&ours).chain(own);
    let plain = PLAIN.iter().map(|path| (*path).to_owned());
    plain.chain(keys.map(|key| option(key))).collect()
}

/// Paths that tell which address a machine has: all machines are asked for these.
pub(super) fn first_address() -> [String; 3] {
    [
        NAME.to_owned(),
        "guest.ipAddress".to_owned(),
        option(ADDRESS),
    ]
}

const PLAIN: [&str; 11] = [
    NAME,
    NUMBER,
    "runtime.powerState",
    "runtime.connectionState",
    "guest.ipAddress",
    "guest.net",
    "config.createDate",
    "config.annotation",
    "config.hardware.numCPU",
    "config.hardware.numCoresPerSocket",
    "config.hardware.memoryMB",
];
const NAME: &str = "name";

/// A machine's parameter. One that is not set has no value.
fn option(key: &str) -> String {
    format!("config.extraConfig[\"{key}\"]")
}

/// `flatcar-cluster` stands in a machine's file as `flatcar.cluster`.
pub(super) fn key(name: &str) -> String {
    name.replacen("flatcar-", OURS, 1)
}

/// A virtual machine with what [`paths`] asks for.
pub(super) struct Virtual<'a>(pub(super) &'a Object);

impl Virtual<'_> {
    fn option(&self, key: &str) -> Option<&str> {
        plain(&self.0.get(&option(key))["value"]).as_str()
    }

    /// Keys of its own parameters that are the user's.
    pub(super) fn own_keys(&self) -> BTreeSet<String> {
        let list = self.option(OWN.list).unwrap_or_default();
        // Somebody may have written anything there, and it goes into the path of a property.
        let keys = list.split(',').filter(|key| is_key(key));
        keys.map(str::to_owned).collect()
    }

    pub(super) fn is_of_group(&self, cluster: &str, group: &str) -> bool {
        self.option(&key(CLUSTER)) == Some(cluster) && self.option(&key(GROUP)) == Some(group)
    }

    /// What it lacks of the mark is empty.
    pub(super) fn machine(&self) -> Machine {
        let phase = self.phase();
        Machine {
            id: id_of(self.0),
            name: self.0.text(NAME).to_owned(),
            zone: String::new(),
            addresses: self.addresses(),
            image: self.option(IMAGE).unwrap_or_default().to_owned(),
            phase,
            message: self.message(phase),
            mark: Mark::parts(|name| self.option(&key(name))),
            created: Date::moment_with_offset(self.0.text("config.createDate")),
            observed: Facet::seen(FACETS, self.0),
        }
    }

    /// Whether it is what an earlier try of this create has made; its mark may have been rewritten
    /// since.
    pub(super) fn is_of(&self, spec: &Spec<'_>) -> bool {
        let said = |key: &str| self.option(key).unwrap_or_default();
        said(ATTEMPT) == spec.attempt.to_string()
            && said(IMAGE) == spec.image
            && said(&key(PROOF)) == spec.mark.proof
    }

    /// Whether it is still being cloned: its configuration is not there before that is done.
    pub(super) fn is_being_made(&self) -> bool {
        self.0.get(NUMBER).is_null()
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.text("runtime.powerState") == "poweredOn"
    }

    /// A host that does not answer says nothing of its machines, which may run all the same.
    fn phase(&self) -> Phase {
        match self.0.text("runtime.connectionState") {
            "orphaned" | "invalid" | "inaccessible" => Phase::Failed,
            _ if self.is_on() => Phase::Running,
            _ => Phase::Stopped,
        }
    }

    fn message(&self, phase: Phase) -> Option<String> {
        let state = |path: &str| self.0.text(path).to_owned();
        match phase {
            Phase::Failed => Some(state("runtime.connectionState")),
            Phase::Stopped => Some(state("runtime.powerState")),
            _ => None,
        }
    }

    /// The one that the group gave it first, then that which VMware Tools take for its own; none
    /// that holds only on its link.
    pub(super) fn addresses(&self) -> Vec<String> {
        let mut addresses = self.all_addresses();
        addresses.truncate(MOST_ADDRESSES);
        addresses
    }

    /// However many a guest reports.
    pub(super) fn all_addresses(&self) -> Vec<String> {
        let firsts = [self.option(ADDRESS), Some(self.0.text("guest.ipAddress"))];
        let others = self.0.list("guest.net").iter();
        let others =
            others.flat_map(|net| plain(&net["ipAddress"]).as_array().into_iter().flatten());
        let all = firsts.into_iter().flatten();
        let mut addresses: Vec<String> = Vec::new();
        for address in all.chain(others.filter_map(Json::as_str)) {
            let is_known = addresses.iter().any(|known| known == address);
            if is_global(address) && !is_known {
                addresses.push(address.to_owned());
            }
        }
        addresses
    }
}

fn is_global(address: &str) -> bool {
    match address.parse() {
        Ok(IpAddr::V4(address)) => !address.is_link_local() && !address.is_loopback(),
        Ok(IpAddr::V6(address)) => !address.is_unicast_link_local() && !address.is_loopback(),
        Err(_) => false,
    }
}

fn number(object: &Object, path: &str) -> Option<String> {
    Some(object.get(path).as_i64()?.to_string())
}

/// What machines show of their shape.
pub(super) const FACETS: &[Facet<Shape, Object>] = &[
    Facet::whole(
        "num_cpus",
        |shape| shape.num_cpus.map(|number| number.to_string()),
        |object| number(object, "config.hardware.numCPU"),
    ),
    Facet::whole(
        "num_cores_per_socket",
        |shape| shape.num_cores_per_socket.map(|number| number.to_string()),
        |object| number(object, "config.hardware.numCoresPerSocket"),
    ),
    Facet::whole(
        "memory",
        |shape| shape.memory.map(|number| number.to_string()),
        |object| number(object, "config.hardware.memoryMB"),
    ),
    Facet::whole(
        SHUTDOWN,
        |shape| Some(minutes(shape)),
        |object| Some(Virtual(object).option(MINUTES)?.to_owned()),
    ),
    Facet::whole(
        LISTED,
        |_| None,
        |object| Some(Virtual(object).option(ADDRESS)?.to_owned()),
    ),
    // Where they say whose the machine is, they are nobody's to write.
    Facet::whole(
        ANNOTATION,
        |shape| Some(shape.annotation.clone().unwrap_or_default()),
        |object| {
            let is_users = Virtual(object).option(NOTES) == Some("user");
            let notes = object.text("config.annotation");
            Some(if is_users {
                notes.to_owned()
            } else {
                String::new()
            })
        },
    ),
    Facet::parts(
        EXTRA,
        |shape| shape.extra_config.clone(),
        |object| {
            let of = Virtual(object);
            let keys = of.own_keys();
            let options = keys
                .iter()
                .filter_map(|key| Some((key.clone(), of.option(key)?)));
            let set = options.filter(|(_, value)| !value.is_empty());
            let shown: BTreeMap<String, String> =
                set.map(|(key, value)| (key, value.to_owned())).collect();
            shown
        },
    ),
];

/// How long a guest has to shut down.
pub(super) fn minutes(shape: &Shape) -> String {
    let minutes = shape.shutdown_wait_timeout;
    minutes.unwrap_or(i64::from(GRACE)).to_string()
}

/// Which advanced parameters are the user's.
pub(super) const OWN: OwnTags = OwnTags {
    field: EXTRA,
    list: "flatcar.extra_config",
    listed: str::to_owned,
};
/// What only a create knows: which try of the name this is, and of which image.
pub(super) const ATTEMPT: &str = "flatcar.attempt";
pub(super) const IMAGE: &str = "flatcar.image";
/// The address that the group gave it.
pub(super) const ADDRESS: &str = "flatcar.address";
/// How long its guest has to shut down: whoever deletes it may know no shape.
pub(super) const MINUTES: &str = "flatcar.shutdown_wait_timeout";
/// Whose words a machine's notes are.
pub(super) const NOTES: &str = "flatcar.annotation";
const MOST_ADDRESSES: usize = 32;
