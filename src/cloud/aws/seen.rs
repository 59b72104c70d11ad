//! What EC2 says of an instance, as a machine: its phase, its mark, its shape as far as seen. Pure.
//!
//! In: an instance of DescribeInstances. Out: a machine. See: EC2 API reference, 2016-11-15.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use aws_sdk_ec2::types::{Instance, InstanceNetworkInterface, InstanceStateName, Placement};

use super::shape::{MACHINE, NAME, OWN, Shape, TARGET_GROUPS, is_reserved};
use super::targets::{TargetGroups, Targets};
use crate::worker_group::cloud::{Backends as _, Facet, Looks, Machine, Mark, Phase, listed};

/// States of instances that are not gone. EC2 lists terminated ones for an hour.
pub(super) const ALIVE: [&str; 5] = ["pending", "running", "stopping", "stopped", "shutting-down"];

/// An instance as a machine; `None` for one that carries no mark, or a part of one.
pub(super) fn machine(instance: &Instance) -> Option<Machine> {
    let machine = found(instance);
    let is_ours = machine.mark.is_whole() && !machine.name.is_empty();
    is_ours.then_some(machine)
}

/// The same whatever its tags are: what it lacks of mark and name is empty.
pub(super) fn found(instance: &Instance) -> Machine {
    let tags = tags(instance);
    let part = |key: &str| tags.get(key).copied().filter(|value| !value.is_empty());
    let name = part(MACHINE).or_else(|| part(NAME));
    machine_of(instance, name.unwrap_or_default(), Mark::parts(part))
}

/// An instance of which name and mark are known.
pub(super) fn machine_of(instance: &Instance, name: &str, mark: Mark) -> Machine {
    let phase = phase(instance);
    let zone = instance.placement().and_then(Placement::availability_zone);
    let addresses = [
        instance.private_ip_address(),
        instance.public_ip_address(),
        instance.ipv6_address(),
    ];
    let addresses = addresses.into_iter().flatten();
    let addresses = addresses.filter(|address| !address.is_empty());
    Machine {
        id: instance.instance_id().unwrap_or_default().to_owned(),
        name: name.to_owned(),
        zone: zone.unwrap_or_default().to_owned(),
        addresses: addresses.map(str::to_owned).collect(),
        image: instance.image_id().unwrap_or_default().to_owned(),
        phase,
        message: message(instance, phase),
        mark,
        created: created(instance, phase),
        observed: Facet::seen(FACETS, instance),
    }
}

fn tags(instance: &Instance) -> BTreeMap<&str, &str> {
    instance
        .tags()
        .iter()
        .filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default())))
        .collect()
}

/// The interface that an instance was made with.
pub(super) fn first_interface(instance: &Instance) -> Option<&InstanceNetworkInterface> {
    let place = |interface: &&InstanceNetworkInterface| {
        let attached = interface.attachment();
        let index = attached.and_then(|attached| attached.device_index());
        index.unwrap_or_default()
    };
    instance.network_interfaces().iter().min_by_key(place)
}

/// Its security groups, which are those of its first interface.
pub(super) fn groups(instance: &Instance) -> BTreeSet<&str> {
    let of_interface = first_interface(instance).map(InstanceNetworkInterface::groups);
    let groups = match of_interface {
        Some(groups) if !groups.is_empty() => groups,
        _ => instance.security_groups(),
    };
    groups.iter().filter_map(|group| group.group_id()).collect()
}

/// When EC2 made it, which is when its first interface was attached: a Node that is older is
/// another machine's. While it starts, when it was last launched: it has run before.
fn created(instance: &Instance, phase: Phase) -> Option<SystemTime> {
    let attached = first_interface(instance).and_then(InstanceNetworkInterface::attachment);
    let made = attached.and_then(|attached| SystemTime::try_from(*attached.attach_time()?).ok());
    made.filter(|_| phase != Phase::Pending)
        .or_else(|| launched(instance))
}

/// When EC2 last launched it.
pub(super) fn launched(instance: &Instance) -> Option<SystemTime> {
    SystemTime::try_from(*instance.launch_time()?).ok()
}

fn phase(instance: &Instance) -> Phase {
    match instance.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Pending) | None => Phase::Pending,
        Some(InstanceStateName::Running) => Phase::Running,
        Some(InstanceStateName::ShuttingDown) => Phase::Deleting,
        Some(InstanceStateName::Stopping | InstanceStateName::Stopped) => Phase::Stopped,
        Some(_) => Phase::Failed,
    }
}

fn message(instance: &Instance, phase: Phase) -> Option<String> {
    if matches!(phase, Phase::Pending | Phase::Running) {
        return None;
    }
    let reason = instance.state_reason()?;
    let words = [reason.code(), reason.message()].into_iter().flatten();
    let words: Vec<&str> = words.filter(|words| !words.is_empty()).collect();
    // EC2 repeats the code at the beginning of the message.
    match words[..] {
        [code, message] if message.starts_with(code) => Some(message.to_owned()),
        [] => None,
        _ => Some(words.join(": ")),
    }
}

/// What instances show of their shape. Where they are registered adds `targets`.
pub(super) const FACETS: &[Facet<Shape, Instance>] = &[
    Facet::whole(
        "instance_type",
        |shape| Some(shape.instance_type.clone()),
        |instance| Some(instance.instance_type()?.as_str().to_owned()),
    ),
    Facet::whole(
        "vpc_security_group_ids",
        |shape| Some(listed(shape.vpc_security_group_ids.as_ref()?, ",")),
        |instance| Some(listed(&groups(instance), ",")),
    ),
    Facet::whole(
        "subnet_ids",
        |_| None,
        |instance| Some(instance.subnet_id()?.to_owned()),
    ),
    Facet::parts(
        OWN.field,
        |shape| shape.tags.clone().unwrap_or_default(),
        |instance| {
            let tags = tags(instance).into_iter();
            OWN.seen(tags.filter(|(key, _)| *key == OWN.list || !is_reserved(key)))
        },
    ),
    Facet::parts(
        TargetGroups::FIELD,
        |shape| Targets::wanted(shape.target_group_arns.iter().flatten()),
        |_| Looks::new(),
    ),
];

/// Whether it runs.
pub(super) fn is_running(instance: &&Instance) -> bool {
    phase(instance) == Phase::Running
}

/// The target groups that an instance's tag names, by id.
pub(super) fn claims(instance: &Instance) -> BTreeSet<String> {
    let tags = tags(instance);
    let ids = tags.get(TARGET_GROUPS).map(|ids| ids.split_whitespace());
    ids.into_iter().flatten().map(str::to_owned).collect()
}
