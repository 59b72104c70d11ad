//! One machine's shape: the attribute `openstack` of the group, its schema, its checks, and what is read of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::api::OURS;
use super::{bad, is_uuid};
use crate::provider::{Attribute, Diagnostic, Diagnostics, Model as _, Path, Type, Value};
use crate::worker_group::cloud::CloudError;

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
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) flavor_name: Option<String>,
    pub(super) flavor_id: Option<String>,
    pub(super) networks: Vec<Network>,
    pub(super) security_groups: Vec<String>,
    pub(super) key_pair: Option<String>,
    pub(super) availability_zones: Vec<String>,
    pub(super) config_drive: bool,
    pub(super) server_group_id: Option<String>,
    pub(super) boot_volume: Option<Volume>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) floating_ip_pool: Option<String>,
}

/// As the user writes it.
#[derive(serde::Serialize, serde::Deserialize)]
struct Written {
    flavor_name: Option<String>,
    flavor_id: Option<String>,
    networks: Option<Vec<WrittenNetwork>>,
    security_groups: Option<Vec<String>>,
    key_pair: Option<String>,
    availability_zones: Option<Vec<String>>,
    config_drive: bool,
    server_group_id: Option<String>,
    boot_volume: Option<Volume>,
    metadata: Option<BTreeMap<String, String>>,
    floating_ip_pool: Option<String>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct WrittenNetwork {
    name: Option<String>,
    uuid: Option<String>,
    fixed_ips: Option<Vec<String>>,
}

#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) named: Named,
    pub(super) fixed_ips: Vec<String>,
}

/// A thing by its name, which has to be looked up, or by its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    Name(String),
    Id(String),
}

impl Named {
    pub(super) fn of(text: &str) -> Self {
        match is_uuid(text) {
            true => Self::Id(text.to_owned()),
            false => Self::Name(text.to_owned()),
        }
    }
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Volume {
    pub(super) size: i64,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}

impl Shape {
    pub(super) fn read(shape: &Value) -> Result<Self, CloudError> {
        let written = Written::from_value(shape).map_err(|problems| {
            let text: Vec<&str> = problems
                .0
                .iter()
                .map(|problem| problem.detail.as_str())
                .collect();
            bad("the shape", &text.join("; "), None)
        })?;
        let networks = written.networks.unwrap_or_default();
        Ok(Self {
            flavor_name: written.flavor_name,
            flavor_id: written.flavor_id,
            networks: networks
                .into_iter()
                .map(|network| Network {
                    named: match (network.uuid, network.name) {
                        (Some(id), _) => Named::Id(id),
                        (None, name) => Named::Name(name.unwrap_or_default()),
                    },
                    fixed_ips: network.fixed_ips.unwrap_or_default(),
                })
                .collect(),
            security_groups: written.security_groups.unwrap_or_default(),
            key_pair: written.key_pair,
            availability_zones: written.availability_zones.unwrap_or_default(),
            config_drive: written.config_drive,
            server_group_id: written.server_group_id,
            boot_volume: written.boot_volume,
            metadata: written.metadata.unwrap_or_default(),
            floating_ip_pool: written.floating_ip_pool,
        })
    }

    pub(super) fn flavor(&self) -> Named {
        match (&self.flavor_id, &self.flavor_name) {
            (Some(id), _) => Named::Id(id.clone()),
            (None, name) => Named::Name(name.clone().unwrap_or_default()),
        }
    }
}

/// Pure; values may be unknown.
pub(super) fn validate(shape: &Value) -> Diagnostics {
    let mut problems = Diagnostics::none();
    let Value::Map(shape) = shape else {
        return problems;
    };
    let one_of = |object: &BTreeMap<String, Value>,
                  a: &str,
                  b: &str,
                  at: &Path,
                  problems: &mut Diagnostics| {
        let is_null = |name: &str| matches!(object.get(name), None | Some(Value::Null));
        if is_null(a) == is_null(b)
            && !matches!(object.get(a), Some(Value::Unknown(_)))
            && !matches!(object.get(b), Some(Value::Unknown(_)))
        {
            let found = if is_null(a) { "neither is" } else { "both are" };
            problems.push(
                Diagnostic::error(
                    format!("Exactly one of {a} and {b} is needed"),
                    format!("Of {a} and {b} {found} set. Set one of the two."),
                )
                .at(at.clone()),
            );
        }
    };
    one_of(
        shape,
        "flavor_name",
        "flavor_id",
        &Path::of("flavor_name"),
        &mut problems,
    );
    if let Some(Value::List(networks)) = shape.get("networks") {
        for (number, network) in networks.iter().enumerate() {
            if let Value::Map(network) = network {
                let at = Path::of("networks").index(number).attribute("fixed_ips");
                problems.extend(addresses(network.get("fixed_ips"), &at));
                one_of(
                    network,
                    "name",
                    "uuid",
                    &Path::of("networks").index(number),
                    &mut problems,
                );
            }
        }
    }
    if let Some(Value::Map(metadata)) = shape.get("metadata") {
        let named: usize = metadata.keys().map(|key| key.len() + 1).sum();
        if named > METADATA_BYTES {
            problems.push(
                Diagnostic::error(
                    "Too many metadata keys",
                    format!("Together the keys take {named} bytes, {METADATA_BYTES} at most. Use fewer or shorter keys."),
                )
                .at(Path::of("metadata")),
            );
        }
        for key in metadata.keys().filter(|key| key.starts_with(OURS)) {
            problems.push(
                Diagnostic::error(
                    "Metadata key is reserved",
                    format!("{key:?} cannot be set: keys that begin with {OURS} mark the machines of a group. Choose another key."),
                )
                .at(Path::of("metadata").key(key)),
            );
        }
    }
    problems
}

/// Addresses that are none, or twice there.
fn addresses(listed: Option<&Value>, at: &Path) -> Diagnostics {
    let mut problems = Diagnostics::none();
    let Some(Value::List(listed)) = listed else {
        return problems;
    };
    let mut seen: BTreeSet<IpAddr> = BTreeSet::new();
    for (number, address) in listed.iter().enumerate() {
        let Value::String(text) = address else {
            continue;
        };
        let problem = match text.parse() {
            Ok(address) if seen.insert(address) => continue,
            Ok(_) => Diagnostic::error(
                "Address is listed twice",
                format!("{text} can be of one server only. Take one of them out."),
            ),
            Err(_) => Diagnostic::error(
                "Not an IP address",
                format!("{text:?} is none. Write an address of the network, such as 10.0.0.5."),
            ),
        };
        problems.push(problem.at(at.index(number)));
    }
    problems
}

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
