//! EC2's words: requests from specs, and tags. Pure; nothing is sent here.
//!
//! In: a spec and one subnet. Out: one RunInstances. See: EC2 API reference, 2016-11-15.

use std::collections::BTreeMap;

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesInputBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, CapacityReservationSpecification, CapacityReservationTarget,
    CreditSpecificationRequest, EbsBlockDevice, Filter, IamInstanceProfileSpecification,
    InstanceInterruptionBehavior, InstanceMarketOptionsRequest, InstanceMetadataOptionsRequest,
    InstanceNetworkInterfaceSpecification, MarketType, Placement, ResourceType,
    RunInstancesMonitoringEnabled, SpotInstanceType, SpotMarketOptions, Tag, TagSpecification,
};

use super::shape::{MACHINE, NAME, OWN, Shape, TAGS_TAKEN, TARGET_GROUPS, Volume, hash, id_of};
use crate::worker_group::cloud::{GENERATION, Mark, PROOF, Spec, UNSAVED, in_turn};

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
        .set_capacity_reservation_specification(reservation(shape))
        .set_tag_specifications(Some(tag_specifications(spec, shape)));
    network(request, shape, subnet)
}

/// One a machine, attempt and subnet: EC2 then makes it once. At most 64 ASCII characters.
pub(super) fn client_token(spec: &Spec<'_>, subnet: Option<&str>) -> String {
    let subnet = subnet.unwrap_or_default();
    hash(&format!("{}\n{}\n{subnet}", spec.name, spec.attempt))
}

/// The subnets in the order in which a machine tries them; `None` is for EC2 to choose.
pub(super) fn subnets(shape: &Shape, ordinal: u64) -> Vec<Option<&str>> {
    let subnets: Vec<&String> = shape.subnet_ids.iter().flatten().collect();
    let subnets = in_turn(&subnets, ordinal).into_iter();
    match subnets.len() {
        0 => vec![None],
        _ => subnets.map(|subnet| Some(&**subnet)).collect(),
    }
}

/// With a public address, subnet and groups must be said of the interface, and nowhere else.
fn network(
    request: RunInstancesInputBuilder,
    shape: &Shape,
    subnet: Option<&str>,
) -> RunInstancesInputBuilder {
    let groups = shape.vpc_security_group_ids.as_ref();
    let groups = groups.map(|groups| groups.iter().cloned().collect());
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

/// Each has to be said to go with its machine: EC2 else leaves volumes beside the root one.
fn block_devices(shape: &Shape) -> Vec<BlockDeviceMapping> {
    let device = |(volume, snapshot): (Volume, Option<String>)| {
        let disk = EbsBlockDevice::builder()
            .delete_on_termination(true)
            .set_volume_size(volume.size)
            .volume_type(volume.kind.as_str().into())
            .set_iops(volume.iops)
            .set_throughput(volume.throughput)
            .encrypted(volume.encrypted)
            .set_kms_key_id(volume.kms_key_id)
            .set_snapshot_id(snapshot);
        let device = BlockDeviceMapping::builder().device_name(volume.device_name);
        device.ebs(disk.build()).build()
    };
    shape.volumes().into_iter().map(device).collect()
}

fn reservation(shape: &Shape) -> Option<CapacityReservationSpecification> {
    let id = shape.capacity_reservation_id.as_ref()?;
    let target = CapacityReservationTarget::builder().capacity_reservation_id(id);
    let reservation = CapacityReservationSpecification::builder();
    Some(
        reservation
            .capacity_reservation_target(target.build())
            .build(),
    )
}

fn profile(profile: &str) -> IamInstanceProfileSpecification {
    let builder = IamInstanceProfileSpecification::builder();
    if profile.starts_with("arn:") {
        builder.arn(profile).build()
    } else {
        builder.name(profile).build()
    }
}

/// One-time requests that end in termination: a group replaces machines that are taken away.
fn market(shape: &Shape) -> Option<InstanceMarketOptionsRequest> {
    let spot = shape.spot.as_ref()?;
    let options = SpotMarketOptions::builder()
        .set_max_price(spot.max_price.clone())
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate);
    let market = InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot);
    Some(market.spot_options(options.build()).build())
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
    let common = || {
        let names = [tag(NAME, spec.name), tag(MACHINE, spec.name)];
        let tags = shape.tags.clone().unwrap_or_default();
        user_tags(&tags).into_iter().chain(names)
    };
    let of_instance = mark_tags(spec.mark).into_iter().chain(common());
    let mut of_instance: Vec<Tag> = of_instance.chain(target_groups(shape)).collect();
    if of_instance.len() > TAGS_TAKEN {
        of_instance.retain(|tag| tag.key() != Some(PROOF));
    }
    let of_parts: Vec<Tag> = part_tags(spec.mark).into_iter().chain(common()).collect();
    [
        (ResourceType::Instance, of_instance),
        (ResourceType::Volume, of_parts.clone()),
        (ResourceType::NetworkInterface, of_parts),
    ]
    .into_iter()
    .map(|(kind, mut tags)| {
        tags.sort_by(|one, other| one.key.cmp(&other.key));
        let of_kind = TagSpecification::builder().resource_type(kind);
        of_kind.set_tags(Some(tags)).build()
    })
    .collect()
}

/// Where the machine will be registered, said before it is.
fn target_groups(shape: &Shape) -> Option<Tag> {
    let arns = shape.target_group_arns.as_ref()?;
    let ids = arns.iter().map(|arn| id_of(arn));
    (!arns.is_empty()).then(|| tag(TARGET_GROUPS, &claim(ids)))
}

/// The text of that tag: at most 256 characters, 15 ids.
pub(super) fn claim<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let ids: Vec<&str> = ids.into_iter().take(TAGGED).collect();
    ids.join(" ")
}

/// Ids in a tag of 256 characters.
const TAGGED: usize = 15;

/// The mark as tags.
pub(super) fn mark_tags(mark: &Mark) -> Vec<Tag> {
    let pairs = mark.pairs().into_iter();
    pairs.map(|(key, value)| tag(key, &value)).collect()
}

/// The mark as tags of a volume or an interface: whose it is, and not what changes while it lives.
pub(super) fn part_tags(mark: &Mark) -> Vec<Tag> {
    let pairs = mark.pairs().into_iter();
    let pairs = pairs.filter(|(key, _)| ![GENERATION, UNSAVED, PROOF].contains(key));
    pairs.map(|(key, value)| tag(key, &value)).collect()
}

/// The user's tags, and the tag that says which they are.
pub(super) fn user_tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    let tags = OWN.written(tags).into_iter();
    tags.map(|(key, value)| tag(&key, &value)).collect()
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
