//! One machine's shape: the attribute `gcp` of the group, its schema, its checks and what is read
//! of it. Names are those of Google's own provider, `google_compute_instance`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::provider::convert::or_empty;
use crate::provider::{Attribute, Diagnostics, Path, Type, Value};

/// The attribute `gcp` of the group: one machine's shape.
pub(super) fn group_schema() -> Attribute {
    let link = |name, description: &str| Attribute::string(name, description).optional().filled();
    Attribute::object(
        "gcp",
        "Instances of Google Compute Engine. `image` is a path such as `projects/kinvolk-public/global/images/flatcar-stable-4593-2-5`.",
        vec![
            Attribute::list(
                "zones",
                "Zones that the machines are spread over in turn; where one has no room, the next one is tried. A change places new machines, and \
                 replaces those whose own zone left the list.",
                Type::String,
            )
            .required()
            .length(1..=MOST_ZONES)
            .pattern("A zone such as `europe-west3-a`", is_name),
            Attribute::string("machine_type", "Machine type, such as `e2-standard-4`.").required().pattern("A name of a machine type", is_name),
            link("network", "Network, by name or self link; the project's `default` where there is no `subnetwork` either."),
            link("subnetwork", "Subnetwork, by name (of each zone's region) or self link."),
            Attribute::string("nic_type", "Kind of network interface; without it Google's default.").optional().one_of(["GVNIC", "VIRTIO_NET"]),
            Attribute::object(
                "access_config",
                "Gives each machine an external IPv4 address of its own, which goes with it; `{}` is enough.",
                vec![Attribute::string("network_tier", "Network tier.").default("PREMIUM").one_of(["PREMIUM", "STANDARD"])],
            )
            .optional(),
            Attribute::bool("can_ip_forward", "Whether packets of other addresses than its own pass a machine, as some networks of pods need.").default(false),
            Attribute::set("network_tags", "Network tags, by which firewalls find machines; changed in place.", Type::String)
                .optional()
                .length(0..=64)
                .pattern("A tag of lower-case letters, digits and hyphens", is_name),
            Attribute::object(
                "service_account",
                "Service account of the machines; absent: none.",
                vec![
                    Attribute::string("email", "Its e-mail address.").default("default").filled(),
                    Attribute::list("scopes", "What it may be used for, as URLs.", Type::String).default([SCOPE]).filled(),
                ],
            )
            .optional(),
            Attribute::object(
                "boot_disk",
                "The disk that a machine boots from and that goes with it.",
                vec![
                    Attribute::number("size_gb", "Size in GB; at least the image's. Without it the image's.").optional().range(1..=65_536),
                    Attribute::string("type", "Type of disk, such as `pd-ssd`; without it Google's default.").optional().pattern("A name of a disk type", is_name),
                    link("kms_key_self_link", "KMS key that encrypts it; without it Google's own."),
                ],
            )
            .optional(),
            Attribute::list_of(
                "data_disks",
                "Further disks, made and deleted with the machine; in any order.",
                vec![
                    Attribute::string("device_name", "Name below `/dev/disk/by-id/google-`.").required().pattern("A name of lower-case letters, digits and hyphens", is_name),
                    Attribute::number("size_gb", "Size in GB. Needed unless a snapshot says it, or the type is `local-ssd`.").optional().range(1..=65_536),
                    Attribute::string("type", "Type of disk; `local-ssd` is a disk of the host.").default("pd-balanced").pattern("A name of a disk type", is_name),
                    link("snapshot", "Snapshot to start from, by name or self link."),
                    link("kms_key_self_link", "KMS key that encrypts it; without it Google's own."),
                ],
            )
            .optional(),
            Attribute::object(
                "shielded_instance_config",
                "Shielded VM; absent: Google's default for the image.",
                vec![
                    Attribute::bool("enable_secure_boot", "Whether only signed boot loaders and kernels boot; Flatcar's own are not signed by a key that Google has.").default(false),
                    Attribute::bool("enable_vtpm", "Whether there is a virtual TPM.").default(true),
                    Attribute::bool("enable_integrity_monitoring", "Whether the boot is measured and compared.").default(true),
                ],
            )
            .optional(),
            Attribute::string("confidential_instance_type", "Kind of Confidential VM; absent: none.").optional().one_of(["SEV", "SEV_SNP", "TDX"]),
            Attribute::object(
                "spot",
                "Makes the machines Spot VMs. One that Google takes back is stopped or deleted, and what the next apply does with a stopped one says `on_stopped`.",
                vec![Attribute::string("instance_termination_action", "What Google does when it takes one back.").default("STOP").one_of(["STOP", "DELETE"])],
            )
            .optional(),
            Attribute::object(
                "reservation_affinity",
                "Which reservations the machines use; absent: Google's default, any that fits.",
                vec![
                    Attribute::string("type", "Kind of reservation.").required().one_of(["ANY_RESERVATION", "SPECIFIC_RESERVATION", "NO_RESERVATION"]),
                    Attribute::list("values", "Names of the reservations, for `SPECIFIC_RESERVATION`.", Type::String).optional().filled(),
                ],
            )
            .optional(),
            Attribute::list_of(
                "guest_accelerators",
                "Accelerators of each machine; it then stops for maintenance of its host.",
                vec![
                    Attribute::string("type", "Type of accelerator, such as `nvidia-l4`.").required().pattern("A name of an accelerator type", is_name),
                    Attribute::number("count", "How many.").required().range(1..=16),
                ],
            )
            .optional(),
            link("min_cpu_platform", "Oldest CPU platform, such as `Intel Ice Lake`."),
            Attribute::list("resource_policies", "Resource policies, by name (of each zone's region) or self link: placement, schedules.", Type::String).optional().filled(),
            Attribute::bool("deletion_protection", "Whether Compute Engine refuses to delete the machines, to this provider too; changed in place.").default(false),
            Attribute::set(
                "instance_groups",
                "Unmanaged instance groups, by self link or id (`projects/p/zones/z/instanceGroups/g`), one or more a zone: a machine that is ready is \
                 entered in those of its own zone, and taken out, with time for its connections, before it goes. Changed in place.",
                Type::String,
            )
            .optional()
            .length(0..=MOST_GROUPS)
            .pattern(GROUP_SAYS, |link| group(link).is_some()),
            Attribute::map("labels", "Labels of the instances; changed in place.", Type::String).optional().length(0..=MOST_LABELS),
            Attribute::map("metadata", "Metadata of the instances beside the user data; changed in place, and compared with what was written last.", Type::String).optional(),
        ],
    )
    .optional()
}

/// The attribute `gcp` of the group, as a struct.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) zones: Vec<String>,
    pub(super) machine_type: String,
    pub(super) network: Option<String>,
    pub(super) subnetwork: Option<String>,
    pub(super) nic_type: Option<String>,
    pub(super) access_config: Option<AccessConfig>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) can_ip_forward: bool,
    #[serde(deserialize_with = "or_empty")]
    pub(super) network_tags: BTreeSet<String>,
    pub(super) service_account: Option<ServiceAccount>,
    pub(super) boot_disk: Option<BootDisk>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) data_disks: Vec<DataDisk>,
    pub(super) shielded_instance_config: Option<Shielded>,
    pub(super) confidential_instance_type: Option<String>,
    pub(super) spot: Option<Spot>,
    pub(super) reservation_affinity: Option<Reservation>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) guest_accelerators: Vec<Accelerator>,
    pub(super) min_cpu_platform: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) resource_policies: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) deletion_protection: bool,
    #[serde(deserialize_with = "or_empty")]
    pub(super) instance_groups: BTreeSet<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AccessConfig {
    pub(super) network_tier: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ServiceAccount {
    pub(super) email: String,
    pub(super) scopes: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct BootDisk {
    pub(super) size_gb: Option<i64>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) kms_key_self_link: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DataDisk {
    pub(super) device_name: String,
    pub(super) size_gb: Option<i64>,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) snapshot: Option<String>,
    pub(super) kms_key_self_link: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shielded {
    pub(super) enable_secure_boot: bool,
    pub(super) enable_vtpm: bool,
    pub(super) enable_integrity_monitoring: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Spot {
    pub(super) instance_termination_action: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Reservation {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) values: Option<Vec<String>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Accelerator {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) count: i64,
}

/// Zone and name of an instance group: `("europe-west3-a", "web")`.
pub(super) fn group(link: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = link.split('/').collect();
    match parts[..] {
        [.., "projects", _, "zones", zone, "instanceGroups", name]
            if is_name(zone) && is_name(name) =>
        {
            Some((zone, name))
        }
        _ => None,
    }
}

/// Pure; values may be unknown.
pub(super) fn validate(shape: &Value) -> Diagnostics {
    let mut found = Diagnostics::none();
    let zones = shape.field("zones").elements();
    for (index, zone) in zones.iter().enumerate() {
        if let (Some(name), true) = (zone.text(), zones[..index].contains(zone)) {
            let detail = format!(
                "Machines are spread evenly over the zones, each listed once, and {name} is there twice. Take one out."
            );
            found.wrong(
                Path::of("zones").index(index),
                "Zone is listed twice",
                detail,
            );
        }
    }
    let mut names = BTreeSet::new();
    for (index, disk) in shape.field("data_disks").elements().iter().enumerate() {
        let at = Path::of("data_disks").index(index);
        let name = disk.field("device_name").text().unwrap_or_default();
        let kind = disk.field("type").text();
        let is_local = kind == Some(LOCAL_SSD);
        let has = |field: &str| !disk.field(field).is_null();
        if kind.is_some() && is_local == (has("size_gb") || has("snapshot")) {
            let detail = match is_local {
                true => format!(
                    "{name} is a local-ssd, which has the host's size, and no contents. Leave out size_gb and snapshot."
                ),
                false => format!(
                    "A disk is as large as its size says, or as its snapshot, and {name} has neither. Set size_gb."
                ),
            };
            found.wrong(
                at.attribute("size_gb"),
                "Size of a data disk does not fit",
                detail,
            );
        }
        if !name.is_empty() && !names.insert(name.to_owned()) {
            let detail = format!(
                "{name} is of two disks. Each disk of a machine needs a name of its own. Choose another one."
            );
            found.wrong(
                at.attribute("device_name"),
                "Two disks have one device name",
                detail,
            );
        }
    }
    for (field, is_good, says) in [
        ("labels", is_label as fn(&str, &str) -> bool, LABEL_SAYS),
        ("metadata", is_datum as fn(&str, &str) -> bool, DATUM_SAYS),
    ] {
        for (key, value) in shape.field(field).entries() {
            let shown: String = key.chars().take(64).collect();
            if key.starts_with(OURS) || key.starts_with("goog-") || key == USER_DATA {
                let detail = format!(
                    "{shown:?} cannot be set: flatcar- and goog- begin the keys of this provider and of Google, and user-data is the group's user_data. Choose another key."
                );
                found.wrong(
                    Path::of(field).key(key),
                    format!("Key of {field} is reserved"),
                    detail,
                );
            } else if !is_good(key, value.text().unwrap_or_default()) {
                let detail = format!("{shown:?}: {says}. Write another one.");
                found.wrong(
                    Path::of(field).key(key),
                    format!("Entry of {field} has the wrong form"),
                    detail,
                );
            }
        }
    }
    let reservation = shape.field("reservation_affinity");
    if let Some(kind) = reservation.field("type").text() {
        let lists = !reservation.field("values").is_null();
        if lists != (kind == "SPECIFIC_RESERVATION") {
            let detail = "SPECIFIC_RESERVATION goes with values, the names of the reservations, and no other type does. Set both, or leave values out.";
            found.wrong(
                Path::of("reservation_affinity").attribute("values"),
                "Reservations do not fit their type",
                detail,
            );
        }
    }
    found
}

/// A name of Compute Engine: `[a-z]([-a-z0-9]*[a-z0-9])?`, at most 63 characters.
pub(super) fn is_name(text: &str) -> bool {
    let begins = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    begins && !text.ends_with('-') && is_label_value(text) && !text.contains('_') && text.is_ascii()
}

/// What stands in a label: lower-case letters of any script, digits, `_` and `-`.
pub(super) fn is_label_value(text: &str) -> bool {
    let is_one = |letter: char| match letter {
        '-' | '_' => true,
        letter if letter.is_ascii() => letter.is_ascii_lowercase() || letter.is_ascii_digit(),
        letter => letter.is_alphanumeric() && !letter.is_uppercase(),
    };
    text.chars().count() <= 63 && text.chars().all(is_one)
}

fn is_label(key: &str, value: &str) -> bool {
    let begins = key
        .chars()
        .next()
        .is_some_and(|letter| letter.is_lowercase());
    begins && is_label_value(key) && is_label_value(value)
}

fn is_datum(key: &str, value: &str) -> bool {
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&key.len()) && key.bytes().all(is_one) && value.len() <= DATUM_BYTES
}

/// Hexadecimal digits, 64 of them.
pub(super) fn hash(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keys of ours begin so.
pub(super) const OURS: &str = "flatcar-";
/// Where Ignition finds it.
pub(super) const USER_DATA: &str = "user-data";
pub(super) const LOCAL_SSD: &str = "local-ssd";
pub(super) const GROUPS: &str = "instance_groups";
pub(super) const TAGS: &str = "network_tags";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const MOST_ZONES: usize = 16;
/// An instance has 64 labels at most: 40 are the user's, and their names stand in four of ours.
const MOST_LABELS: usize = 40;
/// Of all zones; those of one machine stand in labels of it.
const MOST_GROUPS: usize = 32;
const DATUM_BYTES: usize = 262_144;
const LABEL_SAYS: &str = "a label has lower-case letters, digits, _ and -, at most 63 each in key and value, and its key begins with a letter";
const DATUM_SAYS: &str = "a key of metadata has letters, digits, _ and -, at most 128, and its value at most 262,144 bytes";
const GROUP_SAYS: &str =
    "A self link or id of an unmanaged instance group, `projects/p/zones/z/instanceGroups/g`";
