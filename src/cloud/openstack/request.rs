//! The body of a server's create: pure.
//!
//! In: a spec, its shape and what names were resolved to. Out: `{"server": {...}}` of `POST
//! /servers`.
//! See: Compute API 2.1, Create Server, microversion 2.52.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::names::Ids;
use super::shape::{ATTEMPT, IMAGE, Shape, Volume};
use crate::http::rest::whole;
use crate::worker_group::cloud::{Spec, in_turn};

/// `user_data` is in Nova's form: base64. `fixed_ips` has one for each of the shape's networks: the
/// address that this machine takes, where the user lists some.
pub(super) fn create(
    spec: &Spec<'_>,
    shape: &Shape,
    ids: &Ids,
    fixed_ips: &[Option<String>],
    user_data: &str,
) -> Json {
    let disk = |volume: &Volume| {
        // The type needs microversion 2.67; without it the cloud's default type is taken.
        whole(json!({
            "boot_index": 0, "source_type": "image", "destination_type": "volume", "uuid": ids.image,
            "volume_size": volume.size, "delete_on_termination": true, "volume_type": volume.kind,
        }))
    };
    let networks = ids.networks.iter().zip(fixed_ips);
    let networks = networks.map(|(id, address)| whole(json!({"uuid": id, "fixed_ip": address})));
    let networks: Vec<Json> = networks.collect();
    let groups = shape.security_groups.iter();
    let groups: Vec<Json> = groups.map(|name| json!({"name": name})).collect();
    let server = json!({
        "name": spec.name,
        "flavorRef": ids.flavor,
        "imageRef": shape.boot_volume.is_none().then_some(&ids.image),
        "block_device_mapping_v2": shape.boot_volume.as_ref().map(|volume| [disk(volume)]),
        "networks": match networks.is_empty() {
            true => json!("auto"),
            false => json!(networks),
        },
        "security_groups": (!groups.is_empty()).then_some(groups),
        "key_name": shape.key_pair,
        "availability_zone": in_turn(&shape.availability_zones, spec.ordinal).first(),
        "config_drive": shape.config_drive,
        "user_data": user_data,
        "metadata": metadata(spec, shape),
        "tags": tags(&spec.mark.cluster, &spec.mark.group),
    });
    let hints = shape.server_group_id.as_ref();
    let hints = hints.map(|group| json!({"group": group}));
    whole(json!({"server": whole(server), "os:scheduler_hints": hints}))
}

/// The mark, the user's, and what only a create knows.
fn metadata(spec: &Spec<'_>, shape: &Shape) -> BTreeMap<String, String> {
    let mut metadata = shape.own_metadata();
    metadata.extend(spec.mark.written());
    metadata.insert(IMAGE.to_owned(), spec.image.to_owned());
    metadata.insert(ATTEMPT.to_owned(), spec.attempt.to_string());
    metadata
}

/// What servers are listed by: metadata cannot be asked for.
pub(super) fn tags(cluster: &str, group: &str) -> [String; 2] {
    [
        format!("flatcar-cluster={cluster}"),
        format!("flatcar-group={group}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::shape::tests::shape;
    use super::*;
    use crate::provider::{Model as _, Value};
    use crate::worker_group::cloud::Mark;

    fn spec<'a>(mark: &'a Mark, shape: &'a Value) -> Spec<'a> {
        Spec {
            name: "workers-abc-3",
            attempt: 1,
            ordinal: 3,
            mark,
            image: "flatcar",
            user_data: b"{}",
            shape,
        }
    }

    fn mark() -> Mark {
        Mark {
            cluster: "prod".to_owned(),
            group: "workers".to_owned(),
            uid: "abc".to_owned(),
            generation: "g".to_owned(),
            unsaved: true,
            origin: String::new(),
            proof: String::new(),
        }
    }

    #[test]
    fn a_create_carries_the_mark_and_only_what_the_user_wrote() {
        let metadata = json!({
            "flatcar-cluster": "prod", "flatcar-group": "workers", "flatcar-uid": "abc", "flatcar-generation": "g",
            "flatcar-unsaved": "true", "flatcar-image": "flatcar", "flatcar-attempt": "1", "flatcar-keys": ""
        });
        let common = json!({
            "name": "workers-abc-3", "flavorRef": "f1", "config_drive": true, "user_data": "e30=", "metadata": metadata,
            "tags": ["flatcar-cluster=prod", "flatcar-group=workers"],
        });
        for (feature, written, expected, hints) in [
            (
                "bare",
                json!({}),
                json!({"imageRef": "i1", "networks": "auto"}),
                None,
            ),
            (
                "networks",
                json!({"networks": [{"name": "a", "uuid": null, "fixed_ips": null}, {"name": null, "uuid": "n2", "fixed_ips": ["10.0.0.5"]}]}),
                json!({"imageRef": "i1", "networks": [{"uuid": "n1"}, {"uuid": "n2", "fixed_ip": "10.0.0.5"}]}),
                None,
            ),
            (
                "zones, groups, key",
                json!({"availability_zones": ["z1", "z2"], "security_groups": ["web", "ssh"], "key_pair": "ops"}),
                json!({"imageRef": "i1", "networks": "auto", "availability_zone": "z2", "security_groups": [{"name": "web"}, {"name": "ssh"}],
                    "key_name": "ops"}),
                None,
            ),
            (
                "boot volume",
                json!({"boot_volume": {"size": 20, "type": "ssd"}}),
                json!({"networks": "auto", "block_device_mapping_v2": [{"boot_index": 0, "source_type": "image", "destination_type": "volume",
                    "uuid": "i1", "volume_size": 20, "delete_on_termination": true, "volume_type": "ssd"}]}),
                None,
            ),
            (
                "server group",
                json!({"server_group_id": "sg"}),
                json!({"imageRef": "i1", "networks": "auto"}),
                Some(json!({"group": "sg"})),
            ),
        ] {
            let (mark, written) = (mark(), shape(written));
            let parsed = Shape::from_value(&written).unwrap();
            let networks = 1..=parsed.networks.len();
            let ids = Ids {
                image: "i1".to_owned(),
                flavor: "f1".to_owned(),
                networks: networks.map(|n| format!("n{n}")).collect(),
                wish: None,
            };
            let listed = parsed.networks.iter().map(|one| one.fixed_ips.first());
            let fixed_ips: Vec<Option<String>> = listed.map(Option::<&String>::cloned).collect();
            let body = create(&spec(&mark, &written), &parsed, &ids, &fixed_ips, "e30=");
            let mut server = common.clone();
            server
                .as_object_mut()
                .unwrap()
                .extend(expected.as_object().unwrap().clone());
            assert_eq!(body["server"], server, "{feature}");
            assert_eq!(body.get("os:scheduler_hints"), hints.as_ref(), "{feature}");
        }
    }
}
