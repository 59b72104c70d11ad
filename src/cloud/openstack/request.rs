//! The body of a server's create: pure.
//!
//! In: a spec, its shape and what names were resolved to. Out: `{"server": {...}}` of `POST /servers`.
//! See: Compute API 2.1, Create Server, microversion 2.52.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::api::{ATTEMPT, IMAGE, KEYS, POOL};
use super::shape::{Network, Shape};
use crate::worker_group::cloud::Spec;

/// What the names of a shape are on the cloud.
pub(super) struct Resolved {
    pub(super) image_id: String,
    pub(super) flavor_id: String,
    /// One for each of the shape's networks.
    pub(super) network_ids: Vec<String>,
    /// One for each of the shape's networks: the address that this machine takes, where the user lists some.
    pub(super) fixed_ips: Vec<Option<String>>,
}

/// `user_data` is in Nova's form: base64.
pub(super) fn create(spec: &Spec<'_>, shape: &Shape, resolved: &Resolved, user_data: &str) -> Json {
    let mut server = Map::new();
    server.insert("name".into(), json!(spec.name));
    server.insert("flavorRef".into(), json!(resolved.flavor_id));
    match &shape.boot_volume {
        None => {
            server.insert("imageRef".into(), json!(resolved.image_id));
        }
        Some(volume) => {
            let mut disk = json!({
                "boot_index": 0, "source_type": "image", "destination_type": "volume",
                "uuid": resolved.image_id, "volume_size": volume.size, "delete_on_termination": true,
            });
            // `volume_type` needs microversion 2.67; without it the cloud's default type is taken.
            if let (Some(kind), Some(disk)) = (&volume.kind, disk.as_object_mut()) {
                disk.insert("volume_type".into(), json!(kind));
            }
            server.insert("block_device_mapping_v2".into(), json!([disk]));
        }
    }
    let networks: Vec<Json> = resolved
        .network_ids
        .iter()
        .zip(&resolved.fixed_ips)
        .map(|(id, address)| match address {
            Some(address) => json!({"uuid": id, "fixed_ip": address}),
            None => json!({"uuid": id}),
        })
        .collect();
    let networks = match networks.is_empty() {
        true => json!("auto"),
        false => Json::Array(networks),
    };
    server.insert("networks".into(), networks);
    if !shape.security_groups.is_empty() {
        let groups: Vec<Json> = shape
            .security_groups
            .iter()
            .map(|name| json!({"name": name}))
            .collect();
        server.insert("security_groups".into(), Json::Array(groups));
    }
    if let Some(key) = &shape.key_pair {
        server.insert("key_name".into(), json!(key));
    }
    if let Some(zone) = zone(&shape.availability_zones, spec.ordinal) {
        server.insert("availability_zone".into(), json!(zone));
    }
    server.insert("config_drive".into(), json!(shape.config_drive));
    server.insert("user_data".into(), json!(user_data));
    server.insert("metadata".into(), json!(metadata(spec, shape)));
    server.insert(
        "tags".into(),
        json!(tags(&spec.mark.cluster, &spec.mark.group)),
    );
    let mut body = json!({"server": server});
    if let (Some(group), Some(body)) = (&shape.server_group_id, body.as_object_mut()) {
        body.insert("os:scheduler_hints".into(), json!({"group": group}));
    }
    body
}

/// The mark, the user's, and what only a create knows.
fn metadata(spec: &Spec<'_>, shape: &Shape) -> BTreeMap<String, String> {
    let mut metadata = metadata_of(shape);
    metadata.extend(
        spec.mark
            .pairs()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value)),
    );
    metadata.insert(IMAGE.to_owned(), spec.image.to_owned());
    metadata.insert(ATTEMPT.to_owned(), spec.attempt.to_string());
    metadata
}

/// The user's, and which keys these are: what others add stays theirs.
pub(super) fn metadata_of(shape: &Shape) -> BTreeMap<String, String> {
    let keys: Vec<&str> = shape.metadata.keys().map(String::as_str).collect();
    let mut metadata = shape.metadata.clone();
    metadata.insert(KEYS.to_owned(), keys.join(","));
    if let Some(pool) = &shape.floating_ip_pool {
        metadata.insert(POOL.to_owned(), pool.clone());
    }
    metadata
}

/// What servers are listed by: metadata cannot be asked for.
pub(super) fn tags(cluster: &str, group: &str) -> [String; 2] {
    [
        format!("flatcar-cluster={cluster}"),
        format!("flatcar-group={group}"),
    ]
}

/// Machines are spread over the zones in turn.
fn zone(zones: &[String], ordinal: u64) -> Option<&String> {
    let count = u64::try_from(zones.len()).ok().filter(|count| *count > 0)?;
    zones.get(usize::try_from(ordinal % count).ok()?)
}

/// The first address of each network's list that no machine of the group has and none being made takes.
///
/// # Errors
/// The number of the network whose addresses are all in use.
pub(super) fn free_addresses<'a>(
    networks: &[Network],
    taken: impl Fn(&str) -> bool + 'a,
) -> Result<Vec<Option<String>>, usize> {
    networks
        .iter()
        .enumerate()
        .map(|(number, network)| {
            if network.fixed_ips.is_empty() {
                return Ok(None);
            }
            let free = network.fixed_ips.iter().find(|address| !taken(address));
            free.map(|address| Some(address.clone())).ok_or(number)
        })
        .collect()
}
