//! What can be checked of a shape, and of tags, without asking EC2.
//!
//! In: values, some of them unknown. Out: problems, on paths relative to `aws`.

use super::shape::{NAME, RESERVED, ROOT_DEVICE, is_reserved};
use crate::provider::{Diagnostics, Path, Value};
use crate::worker_group::cloud::tagging::Rules;

/// Checks of known values that the schema alone cannot make.
pub(super) fn validate(shape: &Value) -> Diagnostics {
    let mut found = Diagnostics::none();
    check_volumes(shape, &mut found);
    let subnets = shape.field("subnet_ids").elements();
    for (index, subnet) in subnets.iter().enumerate() {
        if let Some(id) = subnet.text()
            && subnets[..index].contains(subnet)
        {
            found.wrong(
                Path::of("subnet_ids").index(index),
                "Subnet is listed twice",
                format!("Machines are spread evenly over the subnets, each listed once, and {id} is there twice. Take one out."),
            );
        }
    }
    let is_spot = matches!(shape.field("spot"), Value::Map(_));
    if is_spot && shape.field("tenancy").text() == Some("host") {
        found.wrong(
            Path::of("tenancy"),
            "Spot instances take no dedicated host",
            "tenancy is host; with spot it is default or dedicated. Choose one of these, or leave out spot.",
        );
    }
    let arns = shape.field("target_group_arns").elements();
    let arns = arns.iter().filter_map(Value::text);
    for text in arns.filter(|text| !is_target_group(text)) {
        found.wrong(
            Path::of("target_group_arns"),
            "Not the ARN of a target group",
            format!(
                "{text:?} is none. It looks like arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef: \
                 the arn of an aws_lb_target_group."
            ),
        );
    }
    found.extend(TAG_RULES.check(shape.field("tags")));
    let partition = shape.field("placement_partition_number");
    if !partition.is_null() && shape.field("placement_group").is_null() {
        found.wrong(
            Path::of("placement_partition_number"),
            "Partition has no placement group",
            "placement_partition_number is set, and a partition is one of a placement group. Set placement_group too.",
        );
    }
    found
}

fn check_volumes(shape: &Value, found: &mut Diagnostics) {
    let root = shape.field("root_volume");
    check_volume(root, &Path::of("root_volume"), found);
    let mut devices = vec![root.field("device_name").text().unwrap_or(ROOT_DEVICE)];
    let volumes = shape.field("data_volumes").elements();
    for (index, volume) in volumes.iter().enumerate() {
        let at = Path::of("data_volumes").index(index);
        check_volume(volume, &at, found);
        let device = volume.field("device_name").text();
        if volume.field("size").is_null() && volume.field("snapshot_id").is_null() {
            found.wrong(
                at.attribute("size"),
                "Data volume has no size",
                format!(
                    "A volume is as large as its size says, or as its snapshot, and {} has neither. Set size.",
                    device.unwrap_or("this one")
                ),
            );
        }
        let Some(device) = device else {
            continue;
        };
        if devices.contains(&device) {
            found.wrong(
                at.attribute("device_name"),
                "Two volumes have one device name",
                format!(
                    "{device} is of two volumes. Each volume of a machine needs a device name of its own, and the root volume has \
                     one too. Choose another one."
                ),
            );
        }
        devices.push(device);
    }
}

fn check_volume(volume: &Value, at: &Path, found: &mut Diagnostics) {
    // Objects that are only partly known may lack a default yet.
    let Some(kind) = volume.field("type").text() else {
        return;
    };
    for (attribute, kinds) in [
        ("iops", &["gp3", "io1", "io2"][..]),
        ("throughput", &["gp3"][..]),
    ] {
        if matches!(volume.field(attribute), Value::Number(_)) && !kinds.contains(&kind) {
            found.wrong(
                at.attribute(attribute),
                format!("Volume type takes no {attribute}"),
                format!(
                    "The type is {kind}, and only {} take {attribute}. Leave it out, or choose another type.",
                    kinds.join(", ")
                ),
            );
        }
    }
    if matches!(kind, "io1" | "io2") && volume.field("iops").is_null() {
        found.wrong(
            at.attribute("iops"),
            "Volume type needs iops",
            format!("The type is {kind}, and such volumes have the operations a second that iops says. Set iops."),
        );
    }
    if matches!(volume.field("encrypted"), Value::Bool(false))
        && let Some(key) = volume.field("kms_key_id").text()
    {
        found.wrong(
            at.attribute("kms_key_id"),
            "Key of a volume that is not encrypted",
            format!("KMS key {key} needs an encrypted volume, and encrypted is false. Leave one of the two out."),
        );
    }
}

fn is_target_group(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", _, "elasticloadbalancing", _, _, group] = parts[..] else {
        return false;
    };
    group.starts_with("targetgroup/") && group.split('/').count() == 3
}

/// What EC2 takes as a tag.
pub(super) static TAG_RULES: Rules = Rules {
    key_chars: 128,
    value_chars: 256,
    taken: |key, shown| {
        match key {
        NAME => Some(
            "Name is each machine's own name, and a tag of the group is the same on all of them. One that is edited on a machine stays as \
             it is. Choose another key."
                .to_owned(),
        ),
        key if is_reserved(key) => Some(format!(
            "Tag {shown} cannot be set. Keys that begin with aws: are Amazon's; {} are how the provider finds the group's machines \
             and names them. Choose another key.",
            RESERVED.join(", ")
        )),
        _ => None,
    }
    },
};
