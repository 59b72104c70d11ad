//! What can be checked of a shape, and of tags, without asking EC2.
//!
//! In: values, some of them unknown. Out: problems, on paths relative to `aws`.

use super::shape::{NAME, RESERVED, ROOT_DEVICE, is_reserved};
use crate::provider::{Diagnostic, Diagnostics, Path, Value};

/// The problems found so far.
#[derive(Default)]
struct Problems(Diagnostics);

impl Problems {
    fn at(&mut self, path: Path, summary: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Diagnostic::error(summary, detail).at(path));
    }
}

/// Checks of known values that the schema alone cannot make.
pub(super) fn validate(shape: &Value) -> Diagnostics {
    let mut found = Problems::default();
    check_volumes(shape, &mut found);
    let subnets = shape.field("subnet_ids").elements();
    for (index, subnet) in subnets.iter().enumerate() {
        if let Some(id) = subnet.text()
            && subnets[..index].contains(subnet)
        {
            found.at(
                Path::of("subnet_ids").index(index),
                "Subnet is listed twice",
                format!("Machines are spread evenly over the subnets, each listed once, and {id} is there twice. Take one out."),
            );
        }
    }
    let is_spot = matches!(shape.field("spot"), Value::Map(_));
    if is_spot && shape.field("tenancy").text() == Some("host") {
        found.at(
            Path::of("tenancy"),
            "Spot instances take no dedicated host",
            "tenancy is host; with spot it is default or dedicated. Choose one of these, or leave out spot.",
        );
    }
    let arns = shape.field("target_group_arns").elements();
    for text in arns
        .iter()
        .filter_map(Value::text)
        .filter(|text| !is_target_group(text))
    {
        found.at(
            Path::of("target_group_arns"),
            "Not the ARN of a target group",
            format!(
                "{text:?} is none. It looks like arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef: \
                 the arn of an aws_lb_target_group."
            ),
        );
    }
    for (key, value) in shape.field("tags").entries() {
        check_tag(key, value, &mut found);
    }
    let partition = shape.field("placement_partition_number");
    if !partition.is_null() && shape.field("placement_group").is_null() {
        found.at(
            Path::of("placement_partition_number"),
            "Partition has no placement group",
            "placement_partition_number is set, and a partition is one of a placement group. Set placement_group too.",
        );
    }
    found.0
}

/// The same of the provider block's default tags.
pub(super) fn check_defaults(defaults: &Value, at: &Path) -> Diagnostics {
    let mut found = Problems::default();
    for (key, value) in defaults.field("tags").entries() {
        check_tag(key, value, &mut found);
    }
    found.0.under(at)
}

fn check_volumes(shape: &Value, found: &mut Problems) {
    let root = shape.field("root_volume");
    check_volume(root, &Path::of("root_volume"), found);
    let mut devices = vec![root.field("device_name").text().unwrap_or(ROOT_DEVICE)];
    let volumes = shape.field("data_volumes").elements();
    for (index, volume) in volumes.iter().enumerate() {
        let at = Path::of("data_volumes").index(index);
        check_volume(volume, &at, found);
        let device = volume.field("device_name").text();
        if volume.field("size").is_null() && volume.field("snapshot_id").is_null() {
            found.at(
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
            found.at(
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

fn check_volume(volume: &Value, at: &Path, found: &mut Problems) {
    // Objects that are only partly known may lack a default yet.
    let Some(kind) = volume.field("type").text() else {
        return;
    };
    for (attribute, kinds) in [
        ("iops", &["gp3", "io1", "io2"][..]),
        ("throughput", &["gp3"][..]),
    ] {
        if matches!(volume.field(attribute), Value::Number(_)) && !kinds.contains(&kind) {
            found.at(
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
        found.at(
            at.attribute("iops"),
            "Volume type needs iops",
            format!("The type is {kind}, and such volumes have the operations a second that iops says. Set iops."),
        );
    }
    if matches!(volume.field("encrypted"), Value::Bool(false))
        && let Some(key) = volume.field("kms_key_id").text()
    {
        found.at(
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

fn check_tag(key: &str, value: &Value, found: &mut Problems) {
    let at = || Path::of("tags").key(key);
    // Core shows the resource's line alone for what is nested: the words say which it is.
    let named = shortened(key);
    let length = key.chars().count();
    if !(1..=128).contains(&length) {
        found.at(
            at(),
            "Tag key has the wrong length",
            format!(
                "{named} has {length} characters, and a tag key has 1 to 128. Write another key."
            ),
        );
    }
    let length = value.text().unwrap_or_default().chars().count();
    if length > 256 {
        found.at(
            at(),
            "Tag value is too long",
            format!("The value of {named} has {length} characters, and a tag value has at most 256. Shorten it."),
        );
    }
    if key == NAME {
        found.at(
            at(),
            "Tag key is taken",
            "Name is each machine's own name, and a tag of the group is the same on all of them. One that is edited on a machine stays as \
             it is. Choose another key.",
        );
    } else if is_reserved(key) {
        found.at(
            at(),
            "Tag key is taken",
            format!(
                "Tag {named} cannot be set. Keys that begin with aws: are Amazon's; {} are how the provider finds the group's machines \
                 and names them. Choose another key.",
                RESERVED.join(", ")
            ),
        );
    }
}

/// A key as it is shown.
fn shortened(key: &str) -> String {
    let mut shown: String = key.chars().take(60).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
