//! One machine on EC2: the attribute `aws` of the group as schema and as struct, and its tags.
//!
//! Names are those of `aws_instance` where it has them. See: EC2 RunInstances, 2016-11-15.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::provider::{Attribute, Type};
use crate::worker_group::cloud::{CLUSTER, GENERATION, GROUP, OwnTags, PROOF, UID, UNSAVED};

/// The attribute `aws` of the group.
pub(super) fn group_schema() -> Attribute {
    Attribute::object("aws", "EC2 instances.", attributes()).optional()
}

fn attributes() -> Vec<Attribute> {
    vec![
        Attribute::string("instance_type", "Instance type, such as `m7g.large`.").required().filled(),
        Attribute::list(
            "subnet_ids",
            "Subnets that the machines are spread over in turn; when one has no capacity, the next one is tried. Without it EC2 takes a \
             subnet of the default VPC. A change places new machines, and replaces those whose own subnet left the list.",
            Type::String,
        )
        .optional()
        .length(1..=64)
        .filled(),
        Attribute::set(
            "vpc_security_group_ids",
            "Security groups; changed in place. Without it EC2 takes the default group of the VPC for new machines, and those that exist \
             keep theirs.",
            Type::String,
        )
        .optional()
        .length(1..=16)
        .filled(),
        Attribute::string(
            "iam_instance_profile",
            "Instance profile, by name or ARN.",
        )
        .optional()
        .filled(),
        Attribute::string("key_name", "EC2 key pair of user `core`.").optional().filled(),
        Attribute::object("root_volume", "The volume that the image is on.", root_volume())
            .optional(),
        Attribute::list_of(
            "data_volumes",
            "Volumes beside the root volume, in any order; they go with their machine.",
            data_volume(),
        )
        .optional()
        .length(0..=24),
        Attribute::bool(
            "associate_public_ip_address",
            "Whether a machine gets a public IPv4 address. Without it the subnet decides.",
        )
        .optional(),
        Attribute::object(
            "spot",
            "Makes the machines spot instances; one that EC2 takes back is replaced by the next apply.",
            vec![
                Attribute::string(
                    "max_price",
                    "Most US dollars an hour, such as `0.05`. Without it the price on demand.",
                )
                .optional()
                .pattern("A decimal number", is_price),
            ],
        )
        .optional(),
        Attribute::string(
            "metadata_http_tokens",
            "Whether the instance metadata service wants a session token (IMDSv2).",
        )
        .default(TOKENS)
        .one_of(["required", "optional"]),
        Attribute::number(
            "metadata_http_put_response_hop_limit",
            "Network hops that a metadata token may take; pods need 2. Without it the account's setting decides.",
        )
        .optional()
        .range(1..=64),
        Attribute::bool("monitoring", "Whether CloudWatch measures each minute.").optional(),
        Attribute::bool("ebs_optimized", "Whether EBS has bandwidth of its own, for types where it has not by itself.")
            .optional(),
        Attribute::string("placement_group", "Placement group that the machines are in.").optional().filled(),
        Attribute::number("placement_partition_number", "Partition of the placement group.")
            .optional()
            .range(1..=7),
        Attribute::string("tenancy", "Hardware that the machines are on.")
            .optional()
            .one_of(["default", "dedicated", "host"]),
        Attribute::string("capacity_reservation_id", "Capacity reservation to use.").optional().filled(),
        Attribute::string("cpu_credits", "How burstable types pay for bursts.")
            .optional()
            .one_of(["standard", "unlimited"]),
        Attribute::set(
            "target_group_arns",
            "Target groups of load balancers, of target type `instance`, by ARN. A machine is registered when it runs (and has joined), counts \
             once each of them finds it healthy, and is deregistered and drained before it is deleted; changed in place.",
            Type::String,
        )
        .optional()
        .length(0..=MOST_TARGET_GROUPS),
        Attribute::map(
            "tags",
            "Tags of instances, volumes and network interfaces; changed in place.",
            Type::String,
        )
        .optional()
        .length(0..=MOST_TAGS),
    ]
}

fn root_volume() -> Vec<Attribute> {
    let device = Attribute::string("device_name", "The image's root device.").default(ROOT_DEVICE);
    volume(
        device,
        "Size in GiB; at least the image's. Without it the image's.",
    )
}

fn data_volume() -> Vec<Attribute> {
    let device = Attribute::string("device_name", "Device, such as `/dev/sdf`.").required();
    let mut attributes = volume(device, "Size in GiB. Needed unless a snapshot says it.");
    let snapshot = Attribute::string("snapshot_id", "Snapshot to start from.");
    attributes.push(snapshot.optional().filled());
    attributes
}

fn volume(device: Attribute, size: &str) -> Vec<Attribute> {
    vec![
        device.filled(),
        Attribute::number("size", size).optional().range(1..=65_536),
        Attribute::string("type", "Volume type.")
            .default(VOLUME_TYPE)
            .one_of(["gp2", "gp3", "io1", "io2", "sc1", "st1", "standard"]),
        Attribute::number("iops", "Operations a second, for `gp3`, `io1` and `io2`.")
            .optional()
            .range(100..=256_000),
        Attribute::number("throughput", "MiB a second, for `gp3`.")
            .optional()
            .range(125..=2_000),
        Attribute::bool("encrypted", "Whether the volume is encrypted.").default(ENCRYPTED),
        Attribute::string(
            "kms_key_id",
            "KMS key. Without it the account's default key for EBS.",
        )
        .optional()
        .filled(),
    ]
}

/// The attribute `aws` of the group, as a struct.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) instance_type: String,
    pub(super) subnet_ids: Option<Vec<String>>,
    pub(super) vpc_security_group_ids: Option<BTreeSet<String>>,
    pub(super) iam_instance_profile: Option<String>,
    pub(super) key_name: Option<String>,
    pub(super) root_volume: Option<Volume>,
    pub(super) data_volumes: Option<Vec<DataVolume>>,
    pub(super) associate_public_ip_address: Option<bool>,
    pub(super) spot: Option<Spot>,
    pub(super) metadata_http_tokens: String,
    pub(super) metadata_http_put_response_hop_limit: Option<i32>,
    pub(super) monitoring: Option<bool>,
    pub(super) ebs_optimized: Option<bool>,
    pub(super) placement_group: Option<String>,
    pub(super) placement_partition_number: Option<i32>,
    pub(super) tenancy: Option<String>,
    pub(super) capacity_reservation_id: Option<String>,
    pub(super) cpu_credits: Option<String>,
    #[serde(default)]
    pub(super) target_group_arns: Option<BTreeSet<String>>,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

/// `root_volume`; left out it has these defaults too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Volume {
    pub(super) device_name: String,
    pub(super) size: Option<i32>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) iops: Option<i32>,
    pub(super) throughput: Option<i32>,
    pub(super) encrypted: bool,
    pub(super) kms_key_id: Option<String>,
}

impl Default for Volume {
    fn default() -> Self {
        Self {
            device_name: ROOT_DEVICE.to_owned(),
            size: None,
            kind: VOLUME_TYPE.to_owned(),
            iops: None,
            throughput: None,
            encrypted: ENCRYPTED,
            kms_key_id: None,
        }
    }
}

/// One of `data_volumes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct DataVolume {
    #[serde(flatten)]
    volume: Volume,
    snapshot_id: Option<String>,
}

/// `spot`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spot {
    pub(super) max_price: Option<String>,
}

impl Shape {
    /// All volumes, the root one first, and the snapshots that they start from.
    pub(super) fn volumes(&self) -> Vec<(Volume, Option<String>)> {
        let data = self.data_volumes.iter().flatten().cloned();
        let data = data.map(|data| (data.volume, data.snapshot_id));
        std::iter::once((self.root(), None)).chain(data).collect()
    }

    /// The root volume, its defaults where the user says nothing.
    pub(super) fn root(&self) -> Volume {
        self.root_volume.clone().unwrap_or_default()
    }
}

/// Whether a tag is Amazon's or the provider's.
pub(super) fn is_reserved(key: &str) -> bool {
    key.to_ascii_lowercase().starts_with("aws:") || RESERVED.contains(&key)
}

/// 64 hexadecimal digits.
pub(super) fn hash(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_price(text: &str) -> bool {
    text.parse::<f64>()
        .is_ok_and(|price| price > 0.0 && price.is_finite())
}

/// The last part of a target group's ARN, which alone tells those of an account and region apart:
/// `0123456789abcdef`.
pub(super) fn id_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// The machine's name, as AWS shows it.
pub(super) const NAME: &str = "Name";
/// The machine's name, as the provider reads it: people edit [`NAME`].
pub(super) const MACHINE: &str = "flatcar-machine";
/// Which tags are the user's: 42 short hashes and their commas fit into 256 characters.
pub(super) const OWN: OwnTags = OwnTags {
    field: "tags",
    list: "flatcar-tags",
    listed: |key| hash(key)[..5].to_owned(),
};
/// The ids of the target groups that the machine is, or may be, registered in.
pub(super) const TARGET_GROUPS: &str = "flatcar-target-groups";
pub(super) const RESERVED: [&str; 10] = [
    CLUSTER,
    GROUP,
    UID,
    GENERATION,
    UNSAVED,
    PROOF,
    MACHINE,
    OWN.list,
    TARGET_GROUPS,
    NAME,
];
/// Those that leave the list and those that come fit into one tag.
const MOST_TARGET_GROUPS: usize = 7;
/// EC2 takes so many.
pub(super) const TAGS_TAKEN: usize = 50;
/// The proof gives way where a configuration uses all others, as it could before there was one.
const MOST_TAGS: usize = TAGS_TAKEN - (RESERVED.len() - 1);
pub(super) const ROOT_DEVICE: &str = "/dev/xvda";
const VOLUME_TYPE: &str = "gp3";
const ENCRYPTED: bool = true;
const TOKENS: &str = "required";
