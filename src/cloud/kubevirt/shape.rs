//! One machine's shape: the attribute `kubevirt` of the group as a struct, and its checks without
//! the cluster.
//!
//! In: `{instancetype = {name = "u1.medium"}, …}`. Out: a [`Shape`]; what does not fit together.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::provider::convert::or_empty;
use crate::provider::{Diagnostics, Path, Value};

/// The attribute `kubevirt` of the group, as a struct.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) namespace: Option<String>,
    pub(super) instancetype: Option<Reference>,
    pub(super) preference: Option<Reference>,
    pub(super) cpu: Option<Cpu>,
    pub(super) memory: Option<Memory>,
    pub(super) container_disk: Option<ContainerDisk>,
    pub(super) data_volume: Option<DataVolume>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) data_volumes: Vec<FurtherVolume>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) networks: Vec<Network>,
    pub(super) mac_policy: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) node_selector: BTreeMap<String, String>,
    pub(super) affinity: Option<Affinity>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) topology_spread_constraints: Vec<Spread>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) tolerations: Vec<Toleration>,
    pub(super) priority_class_name: Option<String>,
    pub(super) eviction_strategy: Option<String>,
    pub(super) run_strategy: String,
    pub(super) termination_grace_period_seconds: i64,
    pub(super) dns_policy: Option<String>,
    pub(super) dns_config: Option<Dns>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) access_credentials: Vec<Credential>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// Of an instance type or a preference; as KubeVirt has it, too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) kind: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cpu {
    pub(super) cores: i64,
    pub(super) sockets: i64,
    pub(super) threads: i64,
    pub(super) model: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) dedicated_cpu_placement: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) guest: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ContainerDisk {
    pub(super) image_pull_policy: Option<String>,
    pub(super) image_pull_secret: Option<String>,
    pub(super) path: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DataVolume {
    pub(super) storage: String,
    pub(super) storage_class_name: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) access_modes: BTreeSet<String>,
    pub(super) volume_mode: Option<String>,
    pub(super) checksum: Option<String>,
    pub(super) secret_ref: Option<String>,
    pub(super) cert_config_map: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FurtherVolume {
    pub(super) name: String,
    pub(super) storage: String,
    pub(super) storage_class_name: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) access_modes: BTreeSet<String>,
    pub(super) volume_mode: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) multus: Option<Multus>,
    pub(super) binding: String,
    pub(super) model: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Multus {
    pub(super) network_name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Affinity {
    #[serde(deserialize_with = "or_empty")]
    pub(super) node_affinity: Vec<Requirement>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) pod_anti_affinity: Vec<Apart>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Requirement {
    pub(super) key: String,
    pub(super) operator: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) values: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Apart {
    pub(super) topology_key: String,
    pub(super) required: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Spread {
    pub(super) max_skew: i64,
    pub(super) topology_key: String,
    pub(super) when_unsatisfiable: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Toleration {
    pub(super) key: Option<String>,
    pub(super) operator: String,
    pub(super) value: Option<String>,
    pub(super) effect: Option<String>,
    pub(super) toleration_seconds: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Dns {
    #[serde(deserialize_with = "or_empty")]
    pub(super) nameservers: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) searches: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Credential {
    pub(super) secret_name: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) users: Vec<String>,
}

/// Pure; values may be unknown.
pub(super) fn validate(shape: &Value) -> Diagnostics {
    let mut found = Diagnostics::none();
    let is_left_out = |field: &str| shape.field(field).is_null();
    if is_left_out("instancetype") {
        for field in ["cpu", "memory"]
            .into_iter()
            .filter(|field| is_left_out(field))
        {
            let detail = format!(
                "Nothing says how much {field} a machine has. Set {field}, or instancetype."
            );
            found.wrong(Path::of(field), "Size of machines is missing", detail);
        }
    } else if !matches!(shape.field("instancetype"), Value::Unknown(_)) {
        for field in ["cpu", "memory"]
            .into_iter()
            .filter(|field| !is_left_out(field))
        {
            let detail = format!(
                "The instance type says how much {field} a machine has, and KubeVirt takes no second word. Leave out {field}, or instancetype."
            );
            found.wrong(Path::of(field), "Size of machines is said twice", detail);
        }
    }
    if shape.field("container_disk").entries().next().is_some()
        && shape.field("data_volume").entries().next().is_some()
    {
        let detail = "A machine boots from a container image or from a disk of its own. Leave out one of container_disk and data_volume.";
        found.wrong(
            Path::of("container_disk"),
            "Machines boot from two disks",
            detail,
        );
    }
    for field in ["data_volumes", "networks"] {
        let mut names = BTreeSet::new();
        for (index, one) in shape.field(field).elements().iter().enumerate() {
            let name = one.field("name").text().unwrap_or_default();
            let is_ours = field == "data_volumes" && [ROOT, CLOUD_INIT].contains(&name);
            if !name.is_empty() && (is_ours || !names.insert(name.to_owned())) {
                let detail =
                    format!("{name} is of two of a machine's {field}. Choose another name.");
                let at = Path::of(field).index(index).attribute("name");
                found.wrong(at, "Name is taken", detail);
            }
        }
    }
    let pods = shape
        .field("networks")
        .elements()
        .iter()
        .filter(|one| one.field("multus").is_null());
    if pods.count() > 1 {
        let detail =
            "A machine is in the pod network once. Name networks of Multus for the others.";
        found.wrong(Path::of("networks"), "Pod network is there twice", detail);
    }
    for (index, one) in shape.field("networks").elements().iter().enumerate() {
        let is_pod = one.field("multus").is_null();
        let wrong = match one.field("binding").text() {
            Some("masquerade") => !is_pod && !matches!(one.field("multus"), Value::Unknown(_)),
            Some("sriov") => is_pod,
            _ => false,
        };
        if wrong {
            let detail = "masquerade is for the pod network, sriov for a network of Multus, and bridge for both. Write another binding.";
            let at = Path::of("networks").index(index).attribute("binding");
            found.wrong(at, "Binding does not fit its network", detail);
        }
    }
    for (field, is_value, says) in [
        (LABELS, is_label_value as fn(&str) -> bool, LABEL_SAYS),
        (ANNOTATIONS, is_annotation, ANNOTATION_SAYS),
    ] {
        for (key, value) in shape.field(field).entries() {
            let shown: String = key.chars().take(80).collect();
            let at = Path::of(field).key(key);
            if is_taken(key) {
                let detail = format!(
                    "{shown:?} cannot be set: flatcar- begins the keys of this provider, and kubevirt.io ends those of KubeVirt. Choose another key."
                );
                found.wrong(at, format!("Key of {field} is reserved"), detail);
            } else if !is_key(key) || !is_value(value.text().unwrap_or_default()) {
                let detail = format!("{shown:?}: {says}. Write another one.");
                found.wrong(at, format!("Entry of {field} has the wrong form"), detail);
            }
        }
    }
    found
}

/// A name of Kubernetes, of one label: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63 characters.
pub(super) fn is_name(text: &str) -> bool {
    let is_one = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_one)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What stands in a label.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_word(text)
}

fn is_word(text: &str) -> bool {
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(is_one)
        && is_end(text.bytes().next())
        && is_end(text.bytes().next_back())
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => {
            domain.len() <= 253 && domain.split('.').all(is_name) && is_word(name)
        }
        None => is_word(text),
    }
}

fn is_taken(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    key.starts_with(OURS) || domain == "kubevirt.io" || domain.ends_with(".kubevirt.io")
}

fn is_annotation(text: &str) -> bool {
    text.len() <= 65_536
}

/// `20Gi`
pub(super) fn is_quantity(text: &str) -> bool {
    let digits = text.trim_start_matches(|of: char| of.is_ascii_digit());
    let unit = ["", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"].contains(&digits);
    unit && digits.len() < text.len() && text.len() <= 24
}

/// `sha512:0f3c…`
pub(super) fn is_checksum(text: &str) -> bool {
    let is_hash = |hash: &str, digits: usize| {
        hash.len() == digits && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match text.split_once(':') {
        Some(("sha512", hash)) => is_hash(hash, 128),
        Some(("sha256", hash)) => is_hash(hash, 64),
        _ => false,
    }
}

/// Keys of ours begin so.
pub(super) const OURS: &str = "flatcar-";
/// Name of the volume that a machine boots from.
pub(super) const ROOT: &str = "root";
/// Name of the volume with the user data.
pub(super) const CLOUD_INIT: &str = "cloudinit";
pub(super) const LABELS: &str = "labels";
pub(super) const ANNOTATIONS: &str = "annotations";
pub(super) const RUN_STRATEGY: &str = "run_strategy";
pub(super) const CLUSTER_INSTANCETYPE: &str = "VirtualMachineClusterInstancetype";
pub(super) const INSTANCETYPE: &str = "VirtualMachineInstancetype";
pub(super) const CLUSTER_PREFERENCE: &str = "VirtualMachineClusterPreference";
pub(super) const PREFERENCE: &str = "VirtualMachinePreference";
pub(super) const NAME_SAYS: &str =
    "A name of lower-case letters, digits and hyphens, at most 63 characters";
const LABEL_SAYS: &str = "a label has letters, digits, -, _ and ., at most 63 each in value and key, both begin and end with a letter or digit, and the key may have a domain and a slash before it";
const ANNOTATION_SAYS: &str = "the key of an annotation has letters, digits, -, _ and ., at most 63, and may have a domain and a slash before it; its value at most 65,536 bytes";
