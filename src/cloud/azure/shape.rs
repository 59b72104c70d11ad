//! What a user says about one machine on Azure: the attribute `azure` of the group, as schema and
//! as struct.
//!
//! Names are those of `azurerm_linux_virtual_machine` and of `azurerm_network_interface` where they
//! have them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::provider::convert::or_empty;
use crate::provider::{Attribute, Type};
use crate::worker_group::cloud::OwnTags;

/// The attribute `azure` of the group.
pub(super) fn group_schema() -> Attribute {
    Attribute::object(
        "azure",
        "Virtual machines of Azure. `image` is a URN (`publisher:offer:sku:version`), or the id of an image, of a gallery's image, or of a \
         community gallery's.",
        attributes(),
    )
    .optional()
}

fn id(name: &'static str, says: &str) -> Attribute {
    Attribute::string(name, says)
        .optional()
        .pattern(ID_SAYS, is_id)
}

fn attributes() -> Vec<Attribute> {
    vec![
        Attribute::string("resource_group_name", "Resource group of the machines and their parts.").required().filled(),
        Attribute::string("location", "Region, such as `westeurope`.").required().filled(),
        Attribute::string("vm_size", "Size, such as `Standard_D2s_v5`.").required().filled(),
        Attribute::string("subnet_id", "Subnet that the machines are in.").required().pattern(ID_SAYS, is_id),
        id("network_security_group_id", "Network security group of the machines' network interfaces; changed in place."),
        Attribute::list(
            "zones",
            "Availability zones, such as `1`, that the machines are spread over in turn; when one has no capacity, the next one is tried. A change \
             places new machines, and replaces those whose own zone left the list.",
            Type::String,
        )
        .optional()
        .length(1..=8)
        .filled(),
        Attribute::object("os_disk", "The disk that the image is on; it goes with its machine.", disk_attributes(true)).optional(),
        Attribute::list_of(
            "data_disks",
            "Disks beside it, whose LUN is their place in the list; they go with their machine.",
            disk_attributes(false),
        )
        .optional()
        .length(0..=64),
        Attribute::bool("public_ip", "Whether a machine has a public IPv4 address of its own, which goes with it.").default(false),
        Attribute::string("admin_username", "User that the keys are for.").default("core").filled(),
        Attribute::list(
            "admin_ssh_keys",
            "Public keys of that user. Without one Azure is given a key that nobody has the private half of, and user data say who may log in.",
            Type::String,
        )
        .optional()
        .filled(),
        Attribute::object(
            "identity",
            "Managed identity of the machines.",
            vec![
                Attribute::string("type", "Kind.").required().one_of(["SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned"]),
                Attribute::list("identity_ids", "Ids of user assigned identities.", Type::String).optional().filled(),
            ],
        )
        .optional(),
        Attribute::string("priority", "`Spot`: machines that Azure may take back at any time.").default("Regular").one_of(["Regular", "Spot"]),
        Attribute::string("eviction_policy", "What becomes of a spot machine that is taken back.").optional().one_of(["Deallocate", "Delete"]),
        Attribute::number("max_bid_price", "Most US dollars an hour for a spot machine; `-1`, or left out: the price on demand.").optional(),
        Attribute::object(
            "plan",
            "Purchase plan of the image, as `flatcar_image` has it in `azure.plan`.",
            ["name", "product", "publisher"].map(|name| Attribute::string(name, "Of the marketplace.").required().filled()).into(),
        )
        .optional(),
        id("proximity_placement_group_id", "Proximity placement group."),
        Attribute::bool("accelerated_networking_enabled", "Whether network interfaces have accelerated networking.").default(false),
        id("capacity_reservation_group_id", "Capacity reservation group."),
        Attribute::set("application_security_group_ids", "Application security groups of the network interfaces; changed in place.", Type::String)
            .optional()
            .pattern(ID_SAYS, is_id),
        Attribute::set(
            POOLS,
            "Backend address pools of load balancers: a machine is entered when it is ready, and taken out before it goes; changed in place.",
            Type::String,
        )
        .optional()
        .length(1..=8)
        .pattern("The id of a pool, `/subscriptions/.../loadBalancers/.../backendAddressPools/...`", is_pool),
        Attribute::bool("boot_diagnostics", "Whether the serial console is kept, in Azure's own storage: what a machine said that does not come up.")
            .default(true),
        Attribute::string("user_data_as", "Where Azure is given user data: `user_data` can be read by whoever is on the machine, `custom_data` by root.")
            .default("user_data")
            .one_of(["user_data", "custom_data"]),
        Attribute::map("tags", "Tags of the machines, changed in place; their network interfaces, addresses and disks have them as they were at first.", Type::String)
            .optional(),
    ]
}

fn disk_attributes(is_of_image: bool) -> Vec<Attribute> {
    let size = Attribute::number("size_gb", "Size in GiB.");
    let mut attributes = vec![
        match is_of_image {
            true => size.optional(),
            false => size.required(),
        }
        .range(1..=65_536),
        Attribute::string(
            "storage_account_type",
            "Type, such as `Premium_LRS` or `StandardSSD_LRS`; without it Azure chooses.",
        )
        .optional()
        .filled(),
        id("disk_encryption_set_id", "Disk encryption set."),
    ];
    if is_of_image {
        let says = "Whether it is on the host itself: fast, free, and empty after a stop.";
        attributes.push(Attribute::bool("ephemeral", says).default(false));
    }
    attributes
}

/// The attribute, as a struct.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) resource_group_name: String,
    pub(super) location: String,
    pub(super) vm_size: String,
    pub(super) subnet_id: String,
    pub(super) network_security_group_id: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) zones: Vec<String>,
    pub(super) os_disk: Option<OsDisk>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) data_disks: Vec<Disk>,
    pub(super) public_ip: bool,
    pub(super) admin_username: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) admin_ssh_keys: Vec<String>,
    pub(super) identity: Option<Identity>,
    pub(super) priority: String,
    pub(super) eviction_policy: Option<String>,
    pub(super) max_bid_price: Option<f64>,
    pub(super) plan: Option<Plan>,
    pub(super) proximity_placement_group_id: Option<String>,
    pub(super) accelerated_networking_enabled: bool,
    pub(super) capacity_reservation_group_id: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) application_security_group_ids: BTreeSet<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) load_balancer_backend_address_pool_ids: BTreeSet<String>,
    pub(super) boot_diagnostics: bool,
    pub(super) user_data_as: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) tags: BTreeMap<String, String>,
}

/// One of `data_disks`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Disk {
    pub(super) size_gb: Option<i64>,
    pub(super) storage_account_type: Option<String>,
    pub(super) disk_encryption_set_id: Option<String>,
}

/// `os_disk`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct OsDisk {
    #[serde(flatten)]
    pub(super) disk: Disk,
    pub(super) ephemeral: bool,
}

/// `identity`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Identity {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) identity_ids: Vec<String>,
}

/// `plan`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) product: String,
    pub(super) publisher: String,
}

impl Shape {
    pub(super) fn is_spot(&self) -> bool {
        self.priority == "Spot"
    }
}

/// `/subscriptions/.../providers/...`
pub(super) fn is_id(text: &str) -> bool {
    let parts: Vec<&str> = text.trim_start_matches('/').split('/').collect();
    text.starts_with('/')
        && parts[0].eq_ignore_ascii_case("subscriptions")
        && parts.len() >= 8
        && parts.iter().all(|part| {
            !part.is_empty() && !part.contains(['?', '#', '%', ' ']) && !part.starts_with("..")
        })
}

fn is_pool(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    is_id(text)
        && parts.len() == 11
        && parts[7].eq_ignore_ascii_case("loadBalancers")
        && parts[9].eq_ignore_ascii_case("backendAddressPools")
}

const ID_SAYS: &str = "An id of Azure, `/subscriptions/.../resourceGroups/.../providers/...`";
pub(super) const POOLS: &str = "load_balancer_backend_address_pool_ids";
pub(super) const POOLS_ATTRIBUTE: &str = "azure.load_balancer_backend_address_pool_ids";
pub(super) const NSG: &str = "network_security_group_id";
pub(super) const ASGS: &str = "application_security_group_ids";
/// The image as the user named it: Azure writes the same in other letters.
pub(super) const IMAGE: &str = "flatcar-image";
/// The pools that the machine is, or may be, in; a tag holds 256 characters, and there are three of
/// them.
pub(super) const CLAIMS: [&str; 3] = ["flatcar-pools", "flatcar-pools-1", "flatcar-pools-2"];
/// Which of the tags are the user's: 38 short hashes and their commas fit into one tag's 256
/// characters.
pub(super) const OWN: OwnTags = OwnTags {
    field: "tags",
    list: "flatcar-tags",
    listed: |key| {
        // Azure tells keys apart whatever their case is.
        let bytes = Sha256::digest(key.to_lowercase().as_bytes());
        bytes
            .iter()
            .take(3)
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()[..5]
            .to_owned()
    },
};
/// Azure takes 50, and 12 are ours.
pub(super) const MOST_TAGS: usize = 38;
