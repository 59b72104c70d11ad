//! One machine's shape: the attribute `openstack` of the group, its schema, its checks, what is
//! read of it, and the metadata that servers carry of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::provider::convert::or_empty;
use crate::provider::rules::{addresses, exactly_one};
use crate::provider::{Attribute, Diagnostics, Path, Type, Value};
use crate::worker_group::cloud::{Named, OwnTags, is_uuid, listed};

/// The attribute `openstack` of the group: one machine's shape.
pub(super) fn group_schema() -> Attribute {
    Attribute::object(
        "openstack",
        "Servers of OpenStack Nova. `image` is an id or a name of Glance.",
        vec![
            Attribute::string("flavor_name", "Name of the flavor; this or `flavor_id`.").optional().filled(),
            Attribute::string("flavor_id", "Id of the flavor; this or `flavor_name`.").optional().filled(),
            Attribute::list_of(
                "networks",
                "Networks of the servers, one port in each; absent: Nova's `auto`.",
                vec![
                    Attribute::string("name", "Name of the network; this or `uuid`.").optional().filled(),
                    Attribute::string("uuid", "Id of the network; this or `name`.").optional().filled(),
                    Attribute::list(
                        "fixed_ips",
                        "Addresses that the servers take, each the first that is free: as many as `replicas` and `max_surge` together. The \
                         list may grow; servers whose own address left it are replaced.",
                        Type::String,
                    )
                    .optional(),
                ],
            )
            .optional(),
            Attribute::list(
                "security_groups",
                "Names of security groups, in any order; changed in place. Absent: new servers have the project's default, and those that exist \
                 keep theirs.",
                Type::String,
            ).optional().filled(),
            Attribute::string("key_pair", "Name of a key pair.").optional().filled(),
            Attribute::list(
                "availability_zones",
                "Zones that the servers are spread over in turn. A change places new servers, and replaces those whose own zone left the list.",
                Type::String,
            ).optional().filled(),
            Attribute::bool("config_drive", "Whether user data is on a config drive too, for networks without a metadata service.")
                .default(true),
            Attribute::string("server_group_id", "Server group (affinity, anti-affinity) of the servers.").optional().filled(),
            Attribute::object(
                "boot_volume",
                "Volume that a server boots from and that is deleted with it; absent: the flavor's own disk.",
                vec![
                    Attribute::number("size", "Size in GiB.").required().range(1..=65_536),
                    Attribute::string("type", "Type of volume; absent: the cloud's default. Needs Nova 2.67.").optional().filled(),
                ],
            )
            .optional(),
            Attribute::map("metadata", "Metadata of the servers; changed in place.", Type::String).optional(),
            Attribute::string(
                "floating_ip_pool",
                "External network, by name or id, that each server has a floating IP of; changed in place. It is on the server's first \
                 network that the external one reaches, and given back with the server.",
            )
            .optional()
            .filled(),
        ],
    )
    .optional()
}

/// The attribute `openstack` of the group, as a struct.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) flavor_name: Option<String>,
    pub(super) flavor_id: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) networks: Vec<Network>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) security_groups: Vec<String>,
    pub(super) key_pair: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) availability_zones: Vec<String>,
    pub(super) config_drive: bool,
    pub(super) server_group_id: Option<String>,
    pub(super) boot_volume: Option<Volume>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) floating_ip_pool: Option<String>,
}

/// One of `networks`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Network {
    name: Option<String>,
    uuid: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) fixed_ips: Vec<String>,
}

/// `boot_volume`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Volume {
    pub(super) size: i64,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}

impl Network {
    pub(super) fn named(&self) -> Named<'_> {
        Named::either(&self.uuid, &self.name)
    }
}

impl Shape {
    pub(super) fn flavor(&self) -> Named<'_> {
        Named::either(&self.flavor_id, &self.flavor_name)
    }

    /// What has to be looked up for a server, as a text that tells it from others.
    pub(super) fn names(&self, image: &str) -> String {
        let (flavor, pool) = (self.flavor(), &self.floating_ip_pool);
        format!("{image} {flavor:?} {:?} {pool:?}", self.networks)
    }

    /// The user's metadata with the list of their keys, and the pool.
    pub(super) fn own_metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = OWN.written(&self.metadata);
        let pool = self.floating_ip_pool.clone();
        metadata.extend(pool.map(|pool| (POOL.to_owned(), pool)));
        metadata
    }

    /// The groups as Nova reports them: by name. Ids cannot be compared.
    pub(super) fn groups(&self) -> Option<String> {
        let groups: BTreeSet<&str> = self.security_groups.iter().map(String::as_str).collect();
        let is_comparable = !groups.is_empty() && !groups.iter().any(|group| is_uuid(group));
        is_comparable.then(|| listed(&groups, ", "))
    }
}

/// Pure; values may be unknown.
pub(super) fn validate(shape: &Value) -> Diagnostics {
    let flavor = ["flavor_name", "flavor_id"];
    let mut problems = exactly_one(shape, flavor, Path::of("flavor_name"));
    for (number, network) in shape.field("networks").elements().iter().enumerate() {
        if matches!(network, Value::Map(_)) {
            let at = Path::of("networks").index(number);
            let listed = network.field("fixed_ips").elements();
            problems.extend(addresses(listed, &at.attribute("fixed_ips")));
            problems.extend(exactly_one(network, ["name", "uuid"], at));
        }
    }
    let at = Path::of("metadata");
    let keys = || shape.field("metadata").entries().map(|(key, _)| key);
    let named: usize = keys().map(|key| key.len() + 1).sum();
    if named > METADATA_BYTES {
        let detail = format!(
            "Together the keys take {named} bytes, {METADATA_BYTES} at most. Use fewer or shorter keys."
        );
        problems.wrong(at.clone(), "Too many metadata keys", detail);
    }
    for key in keys().filter(|key| key.starts_with(OURS)) {
        let detail = format!(
            "{key:?} cannot be set: keys that begin with {OURS} mark the machines of a group. Choose another key."
        );
        problems.wrong(at.key(key), "Metadata key is reserved", detail);
    }
    problems
}

/// The field of the shape that names a pool of floating addresses, and the attribute.
pub(super) const FIELD: &str = "floating_ip_pool";
pub(super) const ATTRIBUTE: &str = "openstack.floating_ip_pool";
pub(super) const GROUPS: &str = "security_groups";
pub(super) const ZONES: &str = "availability_zones";
pub(super) const FIXED_IPS: &str = "networks.fixed_ips";
/// Which metadata are the user's.
pub(super) const OWN: OwnTags = OwnTags {
    field: "metadata",
    list: "flatcar-keys",
    listed: str::to_owned,
};
/// Metadata of ours begin so.
const OURS: &str = "flatcar-";
/// The image as the user named it: Nova knows ids alone, and none where a volume is booted.
pub(super) const IMAGE: &str = "flatcar-image";
/// The pool of its floating address, as the user named it.
pub(super) const POOL: &str = "flatcar-floating-ip-pool";
/// Which try of the name this server is.
pub(super) const ATTEMPT: &str = "flatcar-attempt";
/// Nova's limit of one value: the keys of ours are listed in one.
const METADATA_BYTES: usize = 255;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(in super::super) fn shape(fields: serde_json::Value) -> Value {
        let mut shape: BTreeMap<String, Value> = [
            "flavor_name",
            "flavor_id",
            "networks",
            "security_groups",
            "key_pair",
            "availability_zones",
            "server_group_id",
            "boot_volume",
            "metadata",
            "floating_ip_pool",
        ]
        .map(|name| (name.to_owned(), Value::Null))
        .into();
        shape.insert("config_drive".to_owned(), Value::Bool(true));
        for (key, value) in fields.as_object().unwrap() {
            shape.insert(key.clone(), crate::provider::convert::to_value(value));
        }
        Value::Map(shape)
    }

    #[test]
    fn a_shape_that_says_a_thing_twice_or_not_at_all_is_refused_on_its_attribute() {
        for (written, expected) in [
            (json!({"flavor_name": "m1"}), vec![]),
            (json!({}), vec!["flavor_name"]),
            (
                json!({"flavor_name": "m1", "flavor_id": "1"}),
                vec!["flavor_name"],
            ),
            (
                json!({"flavor_id": "1", "networks": [{"name": null, "uuid": null, "fixed_ips": null}]}),
                vec!["networks[0]"],
            ),
            (
                json!({"flavor_id": "1", "networks": [{"name": "a", "uuid": null, "fixed_ips": ["10.0.0.5", "10.0.0.5", "10.0.0", "fd00::1"]}]}),
                vec!["networks[0].fixed_ips[1]", "networks[0].fixed_ips[2]"],
            ),
            (
                json!({"flavor_id": "1", "metadata": {"flatcar-uid": "x"}}),
                vec!["metadata[\"flatcar-uid\"]"],
            ),
        ] {
            let problems = validate(&shape(written.clone()));
            let paths: Vec<String> = problems
                .0
                .iter()
                .map(|problem| problem.path.clone().unwrap().to_string())
                .collect();
            assert_eq!(paths, expected, "{written}");
        }
    }

    #[test]
    fn blanks_are_refused_on_their_attribute() {
        for (written, blamed) in [
            (json!({"flavor_name": ""}), "openstack.flavor_name"),
            (json!({"flavor_id": " "}), "openstack.flavor_id"),
            (
                json!({"networks": [{"name": ""}]}),
                "openstack.networks[0].name",
            ),
            (
                json!({"networks": [{"uuid": ""}]}),
                "openstack.networks[0].uuid",
            ),
            (
                json!({"security_groups": ["a", ""]}),
                "openstack.security_groups[1]",
            ),
            (json!({"key_pair": ""}), "openstack.key_pair"),
            (
                json!({"availability_zones": [""]}),
                "openstack.availability_zones[0]",
            ),
            (json!({"server_group_id": ""}), "openstack.server_group_id"),
            (
                json!({"boot_volume": {"size": 1, "type": ""}}),
                "openstack.boot_volume.type",
            ),
            (
                json!({"floating_ip_pool": ""}),
                "openstack.floating_ip_pool",
            ),
        ] {
            let config = crate::provider::convert::to_value(&json!({"openstack": written}));
            let problems = crate::provider::check(&[group_schema()], &config).0;
            let paths: Vec<String> = problems
                .into_iter()
                .filter_map(|problem| Some(problem.path?.to_string()))
                .collect();
            assert_eq!(paths, [blamed], "{written}");
        }
    }
}
