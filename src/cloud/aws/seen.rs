//! What EC2 says of an instance, as a machine: its phase, its mark, and its shape as far as that can be seen. Pure.
//!
//! In: an instance of DescribeInstances. Out: a machine. See: EC2 API reference, 2016-11-15.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use aws_sdk_ec2::types::{Instance, InstanceNetworkInterface, InstanceStateName, Placement};

use super::api::short_hash;
use super::shape::{MACHINE, NAME, TAGS, TARGET_GROUPS, is_reserved};
use crate::worker_group::cloud::{Machine, Mark, Phase};

/// States of instances that are not gone. EC2 lists terminated ones for an hour.
pub(super) const ALIVE: [&str; 5] = ["pending", "running", "stopping", "stopped", "shutting-down"];

/// An instance as a machine; `None` for one that carries no mark, or a part of one.
pub(super) fn machine(instance: &Instance) -> Option<Machine> {
    let machine = found(instance);
    let mark = &machine.mark;
    let needed = [&machine.name, &mark.cluster, &mark.group, &mark.uid];
    needed
        .iter()
        .all(|part| !part.is_empty())
        .then_some(machine)
}

/// The same whatever its tags are: what it lacks of the mark is empty, and so is its name where no tag says one.
pub(super) fn found(instance: &Instance) -> Machine {
    let tags = tags(instance);
    let part = |key: &str| tags.get(key).copied().filter(|value| !value.is_empty());
    let name = part(MACHINE).or_else(|| part(NAME));
    machine_of(instance, name.unwrap_or_default(), Mark::parts(part))
}

/// An instance of which name and mark are known.
pub(super) fn machine_of(instance: &Instance, name: &str, mark: Mark) -> Machine {
    let phase = phase(instance);
    Machine {
        id: instance.instance_id().unwrap_or_default().to_owned(),
        name: name.to_owned(),
        zone: instance
            .placement()
            .and_then(Placement::availability_zone)
            .unwrap_or_default()
            .to_owned(),
        addresses: [
            instance.private_ip_address(),
            instance.public_ip_address(),
            instance.ipv6_address(),
        ]
        .into_iter()
        .flatten()
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
        .collect(),
        image: instance.image_id().unwrap_or_default().to_owned(),
        phase,
        message: message(instance, phase),
        mark,
        created: launched(instance),
        observed: observed(instance, &tags(instance)),
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
        attached.and_then(|attached| attached.device_index())
    };
    instance
        .network_interfaces()
        .iter()
        .min_by_key(|interface| place(interface).unwrap_or_default())
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

/// When EC2 launched it.
pub(super) fn launched(instance: &Instance) -> Option<SystemTime> {
    instance
        .launch_time()
        .and_then(|time| SystemTime::try_from(*time).ok())
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
    let words: Vec<&str> = [reason.code(), reason.message()]
        .into_iter()
        .flatten()
        .filter(|words| !words.is_empty())
        .collect();
    // EC2 repeats the code at the beginning of the message.
    match words[..] {
        [code, message] if message.starts_with(code) => Some(message.to_owned()),
        [] => None,
        _ => Some(words.join(": ")),
    }
}

/// Tags of other tools are not ours to compare.
fn observed(instance: &Instance, tags: &BTreeMap<&str, &str>) -> BTreeMap<String, String> {
    let ours: Vec<&str> = tags
        .get(TAGS)
        .map(|hashes| hashes.split(',').collect())
        .unwrap_or_default();
    let mut observed: BTreeMap<String, String> = tags
        .iter()
        .filter(|(key, _)| !is_reserved(key) && ours.contains(&short_hash(key).as_str()))
        .map(|(key, value)| (format!("tags.{key}"), (*value).to_owned()))
        .collect();
    if let Some(kind) = instance.instance_type() {
        observed.insert("instance_type".to_owned(), kind.as_str().to_owned());
    }
    let groups: Vec<&str> = groups(instance).into_iter().collect();
    observed.insert("vpc_security_group_ids".to_owned(), groups.join(","));
    if let Some(subnet) = instance.subnet_id() {
        observed.insert("subnet_ids".to_owned(), subnet.to_owned());
    }
    observed
}

/// The target groups that an instance's tag names, by id.
pub(super) fn claims(instance: &Instance) -> BTreeSet<String> {
    let tags = tags(instance);
    let ids = tags.get(TARGET_GROUPS).map(|ids| ids.split_whitespace());
    ids.into_iter().flatten().map(str::to_owned).collect()
}
