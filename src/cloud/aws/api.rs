//! EC2's words: requests from specs, machines from instances. Pure; nothing is sent here.
//!
//! In: a spec and one subnet. Out: the input of one RunInstances. See: EC2 API reference, 2016-11-15.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesInputBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, CapacityReservationSpecification, CapacityReservationTarget,
    CreditSpecificationRequest, EbsBlockDevice, Filter, IamInstanceProfileSpecification, Instance,
    InstanceInterruptionBehavior, InstanceMarketOptionsRequest, InstanceMetadataOptionsRequest,
    InstanceNetworkInterface, InstanceNetworkInterfaceSpecification, InstanceStateName, MarketType,
    Placement, ResourceType, RunInstancesMonitoringEnabled, SpotInstanceType, SpotMarketOptions,
    Tag, TagSpecification,
};
use sha2::{Digest as _, Sha256};

use super::shape::{MACHINE, NAME, Shape, TAGS, TAGS_TAKEN, TARGET_GROUPS, is_reserved};
use super::targets;
use crate::worker_group::cloud::{GENERATION, Machine, Mark, PROOF, Phase, Spec, UNSAVED};

/// The request that makes one machine in one subnet. `user_data` is base64.
pub(super) fn run_instances(
    spec: &Spec<'_>,
    shape: &Shape,
    user_data: &str,
    subnet: Option<&str>,
) -> RunInstancesInputBuilder {
    let request = RunInstancesInputBuilder::default()
        .client_token(client_token(spec, subnet))
        .min_count(1)
        .max_count(1)
        .image_id(spec.image)
        .instance_type(shape.instance_type.as_str().into())
        .user_data(user_data)
        .set_key_name(shape.key_name.clone())
        .set_block_device_mappings(Some(block_devices(shape)))
        .set_iam_instance_profile(shape.iam_instance_profile.as_deref().map(profile))
        .set_instance_market_options(market(shape))
        .metadata_options(
            InstanceMetadataOptionsRequest::builder()
                .http_tokens(shape.metadata_http_tokens.as_str().into())
                .set_http_put_response_hop_limit(shape.metadata_http_put_response_hop_limit)
                .build(),
        )
        .set_monitoring(shape.monitoring.map(|enabled| {
            RunInstancesMonitoringEnabled::builder()
                .enabled(enabled)
                .build()
        }))
        .set_ebs_optimized(shape.ebs_optimized)
        .set_placement(placement(shape))
        .set_credit_specification(shape.cpu_credits.as_deref().map(|credits| {
            CreditSpecificationRequest::builder()
                .cpu_credits(credits)
                .build()
        }))
        .set_capacity_reservation_specification(shape.capacity_reservation_id.as_deref().map(
            |id| {
                CapacityReservationSpecification::builder()
                    .capacity_reservation_target(
                        CapacityReservationTarget::builder()
                            .capacity_reservation_id(id)
                            .build(),
                    )
                    .build()
            },
        ))
        .set_tag_specifications(Some(tag_specifications(spec, shape)));
    network(request, shape, subnet)
}

/// The same for the same machine, attempt and subnet, and for nothing else: EC2 then makes it once. At most 64 ASCII characters.
pub(super) fn client_token(spec: &Spec<'_>, subnet: Option<&str>) -> String {
    let text = format!(
        "{}\n{}\n{}",
        spec.name,
        spec.attempt,
        subnet.unwrap_or_default()
    );
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The subnets in the order in which a machine tries them: each machine of a group begins with the next one.
pub(super) fn subnets(shape: &Shape, ordinal: u64) -> Vec<Option<&str>> {
    let mut subnets: Vec<Option<&str>> = shape
        .subnet_ids
        .iter()
        .flatten()
        .map(|subnet| Some(subnet.as_str()))
        .collect();
    if subnets.is_empty() {
        return vec![None];
    }
    let count = u64::try_from(subnets.len()).unwrap_or(1);
    subnets.rotate_left(usize::try_from(ordinal % count).unwrap_or(0));
    subnets
}

/// Only where a public address is said: then subnet and groups must be said of the interface, and nowhere else.
fn network(
    request: RunInstancesInputBuilder,
    shape: &Shape,
    subnet: Option<&str>,
) -> RunInstancesInputBuilder {
    let groups = shape
        .vpc_security_group_ids
        .as_ref()
        .map(|groups| groups.iter().cloned().collect());
    let subnet = subnet.map(str::to_owned);
    match shape.associate_public_ip_address {
        None => request.set_subnet_id(subnet).set_security_group_ids(groups),
        Some(public) => request.network_interfaces(
            InstanceNetworkInterfaceSpecification::builder()
                .device_index(0)
                .associate_public_ip_address(public)
                .delete_on_termination(true)
                .set_subnet_id(subnet)
                .set_groups(groups)
                .build(),
        ),
    }
}

/// That they go with their machine is said of each: EC2's default for volumes beside the root one is to leave them.
fn block_devices(shape: &Shape) -> Vec<BlockDeviceMapping> {
    let root = shape.root();
    let mut devices = vec![
        BlockDeviceMapping::builder()
            .device_name(&root.device_name)
            .ebs(
                EbsBlockDevice::builder()
                    .delete_on_termination(true)
                    .set_volume_size(root.size)
                    .volume_type(root.kind.as_str().into())
                    .set_iops(root.iops)
                    .set_throughput(root.throughput)
                    .encrypted(root.encrypted)
                    .set_kms_key_id(root.kms_key_id)
                    .build(),
            )
            .build(),
    ];
    for volume in shape.data_volumes.iter().flatten() {
        devices.push(
            BlockDeviceMapping::builder()
                .device_name(&volume.device_name)
                .ebs(
                    EbsBlockDevice::builder()
                        .delete_on_termination(true)
                        .set_volume_size(volume.size)
                        .volume_type(volume.kind.as_str().into())
                        .set_iops(volume.iops)
                        .set_throughput(volume.throughput)
                        .encrypted(volume.encrypted)
                        .set_kms_key_id(volume.kms_key_id.clone())
                        .set_snapshot_id(volume.snapshot_id.clone())
                        .build(),
                )
                .build(),
        );
    }
    devices
}

fn profile(profile: &str) -> IamInstanceProfileSpecification {
    let builder = IamInstanceProfileSpecification::builder();
    if profile.starts_with("arn:") {
        builder.arn(profile).build()
    } else {
        builder.name(profile).build()
    }
}

/// One-time requests that end in termination: a group replaces machines, it does not wait for one to come back.
fn market(shape: &Shape) -> Option<InstanceMarketOptionsRequest> {
    let spot = shape.spot.as_ref()?;
    Some(
        InstanceMarketOptionsRequest::builder()
            .market_type(MarketType::Spot)
            .spot_options(
                SpotMarketOptions::builder()
                    .set_max_price(spot.max_price.clone())
                    .spot_instance_type(SpotInstanceType::OneTime)
                    .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
                    .build(),
            )
            .build(),
    )
}

fn placement(shape: &Shape) -> Option<Placement> {
    if shape.placement_group.is_none() && shape.tenancy.is_none() {
        return None;
    }
    Some(
        Placement::builder()
            .set_group_name(shape.placement_group.clone())
            .set_partition_number(shape.placement_partition_number)
            .set_tenancy(shape.tenancy.as_deref().map(Into::into))
            .build(),
    )
}

fn tag_specifications(spec: &Spec<'_>, shape: &Shape) -> Vec<TagSpecification> {
    let names = || [tag(NAME, spec.name), tag(MACHINE, spec.name)].into_iter();
    let of_instance = mark_tags(spec.mark).into_iter().chain(user_tags(shape));
    let of_parts = part_tags(spec.mark).into_iter().chain(user_tags(shape));
    let of_instance = of_instance.chain(target_groups(shape));
    let mut of_instance: Vec<Tag> = of_instance.chain(names()).collect();
    if of_instance.len() > TAGS_TAKEN {
        of_instance.retain(|tag| tag.key() != Some(PROOF));
    }
    let of_parts: Vec<Tag> = of_parts.chain(names()).collect();
    [
        (ResourceType::Instance, of_instance),
        (ResourceType::Volume, of_parts.clone()),
        (ResourceType::NetworkInterface, of_parts),
    ]
    .into_iter()
    .map(|(kind, mut tags)| {
        tags.sort_by(|one, other| one.key.cmp(&other.key));
        TagSpecification::builder()
            .resource_type(kind)
            .set_tags(Some(tags))
            .build()
    })
    .collect()
}

/// Where the machine will be registered, said before it is.
fn target_groups(shape: &Shape) -> Option<Tag> {
    let arns = shape.target_group_arns.as_ref()?;
    let ids = arns.iter().map(|arn| targets::id_of(arn));
    (!arns.is_empty()).then(|| tag(TARGET_GROUPS, &targets::claim(ids)))
}

/// The mark as tags.
pub(super) fn mark_tags(mark: &Mark) -> Vec<Tag> {
    mark.pairs()
        .into_iter()
        .map(|(key, value)| tag(key, &value))
        .collect()
}

/// The mark as tags of a volume or an interface: whose it is, and not what changes while it lives.
pub(super) fn part_tags(mark: &Mark) -> Vec<Tag> {
    mark.pairs()
        .into_iter()
        .filter(|(key, _)| ![GENERATION, UNSAVED, PROOF].contains(key))
        .map(|(key, value)| tag(key, &value))
        .collect()
}

/// The user's tags, and the tag that says which they are.
pub(super) fn user_tags(shape: &Shape) -> Vec<Tag> {
    let tags: Vec<(&String, &String)> = shape.tags.iter().flatten().collect();
    let hashes: Vec<String> = tags.iter().map(|(key, _)| short_hash(key)).collect();
    tags.into_iter()
        .map(|(key, value)| tag(key, value))
        .chain([tag(TAGS, &hashes.join(","))])
        .collect()
}

/// 42 of these and their commas fit into one tag's 256 characters.
fn short_hash(key: &str) -> String {
    Sha256::digest(key.as_bytes())
        .iter()
        .take(3)
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()[..5]
        .to_owned()
}

/// A tag.
pub(super) fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// `name` is one of `values`.
pub(super) fn filter<S: Into<String>>(name: &str, values: impl IntoIterator<Item = S>) -> Filter {
    Filter::builder()
        .name(name)
        .set_values(Some(values.into_iter().map(Into::into).collect()))
        .build()
}

/// States of instances that are not gone. EC2 lists terminated ones for an hour.
pub(super) const ALIVE: [&str; 5] = ["pending", "running", "stopping", "stopped", "shutting-down"];

/// An instance as a machine; `None` for one that carries no mark, or a part of one.
pub(super) fn machine(instance: &Instance) -> Option<Machine> {
    let tags = tags(instance);
    let part = |key: &str| tags.get(key).copied().filter(|value| !value.is_empty());
    let mark = Mark::from_pairs(part)?;
    let name = part(MACHINE).or_else(|| part(NAME))?;
    Some(machine_of(instance, name, mark))
}

/// The same whatever its tags are: what it lacks of the mark is empty, and so is its name where no tag says one.
pub(super) fn found(instance: &Instance) -> Machine {
    let tags = tags(instance);
    let part = |key: &str| tags.get(key).copied().filter(|value| !value.is_empty());
    let mark = Mark::parts(part);
    let name = part(MACHINE).or_else(|| part(NAME));
    machine_of(instance, name.unwrap_or_default(), mark)
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
