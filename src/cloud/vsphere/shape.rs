//! One machine's shape: the attribute `vsphere` of the group, its schema, its checks and what is
//! read of it. Names are those of `vsphere_virtual_machine` where that has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::provider::convert::or_empty;
use crate::provider::{Attribute, Diagnostics, Path, Type, Value};
use crate::worker_group::cloud::addresses::{self, ADDRESSES, Addresses};

/// The attribute `vsphere` of the group: one machine's shape.
pub(super) fn group_schema() -> Attribute {
    let place = |name, description: &str| {
        Attribute::string(name, description)
            .optional()
            .pattern(PLACE_SAYS, is_place)
    };
    Attribute::object(
        "vsphere",
        "Virtual machines of vSphere, cloned from a template. `image` is the template or machine, by its path below the datacenter's machines \
         (`templates/flatcar-4593.2.5`), by its whole inventory path (`/DC0/vm/templates/flatcar`) or by its id (`vm-42`). So are the other objects named.",
        vec![
            place("datacenter", "Datacenter; needed where there are several."),
            place("cluster", "Cluster whose own resource pool the machines are in; DRS chooses the host. One of `cluster`, `resource_pool` and `host` is needed."),
            place("resource_pool", "Resource pool, such as `cluster-1/Resources/workers`."),
            place("host", "Host, such as `cluster-1/esx-1.example.com`; a host of no cluster by its name alone."),
            place("datastore", "Datastore of the machines; without it, and without `datastore_cluster`, the template's."),
            place("datastore_cluster", "Cluster of datastores: Storage DRS recommends one for each machine."),
            place("folder", "Folder of the machines, below those of the datacenter; without it the datacenter's own."),
            Attribute::list_of(
                "network_interface",
                "Network adapters, in place of the template's; without it the template's.",
                vec![
                    Attribute::string("network", "Network or distributed port group.").required().pattern(PLACE_SAYS, is_place),
                    Attribute::string("adapter_type", "Kind of adapter.").default("vmxnet3").one_of(ADAPTERS.iter().map(|(word, _)| *word)),
                ],
            )
            .length(0..=10)
            .optional(),
            addresses::schema(),
            Attribute::number("num_cpus", "Virtual processors; without it the template's.").optional().range(1..=768),
            Attribute::number("num_cores_per_socket", "Of these in a socket; without it the template's.").optional().range(1..=768),
            Attribute::number("memory", "Memory in MiB, a multiple of 4; without it the template's.").optional().range(4..=25_165_824),
            Attribute::number("disk_size", "Size of the first disk in GiB, at least the template's; without it the template's.").optional().range(1..=63_488),
            Attribute::bool("linked_clone", "Whether disks share what the template's newest snapshot has; they cannot grow then.").default(false),
            Attribute::string("annotation", "Notes of the machines; changed in place. Without it they say whose the machines are.").optional(),
            Attribute::map("extra_config", "Advanced parameters of the machines, `disk.enableUUID` say; changed in place.", Type::String).optional().length(0..=MOST_EXTRA),
            Attribute::number(SHUTDOWN, "Minutes that a guest has to shut down before its machine is powered off and deleted; 0: it is powered off at once.")
                .default(GRACE)
                .range(0..=10),
        ],
    )
    .optional()
}

/// The attribute `vsphere` of the group, as a struct.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) datacenter: Option<String>,
    pub(super) cluster: Option<String>,
    pub(super) resource_pool: Option<String>,
    pub(super) host: Option<String>,
    pub(super) datastore: Option<String>,
    pub(super) datastore_cluster: Option<String>,
    pub(super) folder: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) network_interface: Vec<Interface>,
    pub(super) addresses: Option<Addresses>,
    pub(super) num_cpus: Option<i64>,
    pub(super) num_cores_per_socket: Option<i64>,
    pub(super) memory: Option<i64>,
    pub(super) disk_size: Option<i64>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) linked_clone: bool,
    pub(super) annotation: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) extra_config: BTreeMap<String, String>,
    pub(super) shutdown_wait_timeout: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Interface {
    pub(super) network: String,
    pub(super) adapter_type: String,
}

impl Shape {
    /// All names of the inventory that a clone needs, as one text.
    pub(super) fn places(&self) -> String {
        let named = [
            &self.datacenter,
            &self.cluster,
            &self.resource_pool,
            &self.host,
            &self.datastore,
            &self.datastore_cluster,
            &self.folder,
        ];
        let named = named
            .into_iter()
            .map(|one| one.as_deref().unwrap_or_default());
        let networks = self
            .network_interface
            .iter()
            .map(|one| one.network.as_str());
        let all: Vec<&str> = named.chain(networks).collect();
        all.join("\n")
    }
}

/// Pure; values may be unknown.
pub(super) fn validate(shape: &Value) -> Diagnostics {
    let mut found = Diagnostics::none();
    let is_set = |field: &str| !shape.field(field).is_null();
    let pools = ["cluster", "resource_pool", "host"];
    let named: Vec<&str> = pools.into_iter().filter(|field| is_set(field)).collect();
    if named.len() != 1 {
        let detail = match named[..] {
            [] => "A machine runs in a resource pool, and none is named. Set cluster, resource_pool or host.".to_owned(),
            _ => format!("{} are set, and each says where machines run. Leave one of them.", named.join(" and ")),
        };
        found.wrong(
            Path::of("cluster"),
            "Where machines run is not clear",
            detail,
        );
    }
    if is_set("datastore") && is_set("datastore_cluster") {
        let detail =
            "A machine's files are in one place. Leave out datastore, or datastore_cluster.";
        found.wrong(
            Path::of("datastore_cluster"),
            "Two places for the files",
            detail,
        );
    }
    if shape.field("linked_clone") == &Value::Bool(true) && is_set("disk_size") {
        let detail = "A disk that shares the template's blocks cannot grow. Leave out disk_size, or linked_clone.";
        found.wrong(Path::of("disk_size"), "A linked disk cannot grow", detail);
    }
    found.extend(addresses::validate(shape.field(ADDRESSES)));
    for (key, value) in shape.field("extra_config").entries() {
        let shown: String = key.chars().take(64).collect();
        let lower = key.to_ascii_lowercase();
        let at = Path::of("extra_config").key(key);
        if lower.starts_with(OURS) || lower.starts_with(IGNITION) {
            let detail = format!(
                "{shown:?} cannot be set: flatcar. and guestinfo.ignition. begin the keys that this provider writes. Choose another key."
            );
            found.wrong(at, "Key of extra_config is reserved", detail);
        } else if !is_key(key) {
            let detail = format!("{shown:?}: {KEY_SAYS}. Write another one.");
            found.wrong(at, "Key of extra_config has the wrong form", detail);
        } else if value.text().is_some_and(str::is_empty) {
            let detail = format!(
                "{shown:?} is empty, by which vSphere takes the parameter off. Leave it out."
            );
            found.wrong(at, "Value of extra_config is empty", detail);
        }
    }
    found
}

/// A name, a path or an id of the inventory.
fn is_place(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let path = text.strip_prefix('/').unwrap_or(text);
    text.len() <= 1_000 && !text.chars().any(char::is_control) && path.split('/').all(is_part)
}

/// A key stands in the path of a property, `config.extraConfig["key"]`.
pub(super) fn is_key(key: &str) -> bool {
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=128).contains(&key.len()) && key.bytes().all(is_one)
}

/// Kinds of network adapters, and the types that the API has for them.
pub(super) const ADAPTERS: [(&str, &str); 3] = [
    ("vmxnet3", "VirtualVmxnet3"),
    ("e1000e", "VirtualE1000e"),
    ("e1000", "VirtualE1000"),
];
/// Keys of ours begin so.
pub(super) const OURS: &str = "flatcar.";
const IGNITION: &str = "guestinfo.ignition.";
pub(super) const EXTRA: &str = "extra_config";
pub(super) const ANNOTATION: &str = "annotation";
pub(super) const SHUTDOWN: &str = "shutdown_wait_timeout";
/// Minutes that a guest has to shut down.
pub(super) const GRACE: u8 = 3;
const MOST_EXTRA: usize = 64;
const PLACE_SAYS: &str = "A name, a path with `/` between its parts, or an id of the inventory";
const KEY_SAYS: &str = "a key has letters, digits, `.`, `_`, `:` and `-`, at most 128";
