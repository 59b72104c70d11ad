//! The body of an instance's create: pure. And the id by which Compute Engine knows a request
//! again.
//!
//! In: a spec, its shape and a zone. Out: the body of `instances.insert`. See: Compute Engine API
//! v1, `Instance`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::api::region_of;
use super::instance::{self, description};
use super::shape::{BootDisk, DataDisk, LOCAL_SSD, Shape, USER_DATA, hash};
use crate::http::rest::whole;
use crate::worker_group::cloud::Spec;

/// `user_data` is in Google's form: plain.
pub(super) fn insert(spec: &Spec<'_>, shape: &Shape, user_data: &str, zone: &str) -> Json {
    let region = region_of(zone);
    let of_region = |kind: &str, link: &str| match link.contains('/') {
        true => link.to_owned(),
        false => format!("regions/{region}/{kind}/{link}"),
    };
    let network = match (&shape.network, &shape.subnetwork) {
        (Some(link), _) if link.contains('/') => Some(link.clone()),
        (Some(name), _) => Some(format!("global/networks/{name}")),
        // The subnetwork says which network it is of.
        (None, Some(_)) => None,
        (None, None) => Some("global/networks/default".to_owned()),
    };
    let subnetwork = shape.subnetwork.as_ref();
    let access = shape.access_config.as_ref().map(|access| {
        [json!({"type": "ONE_TO_ONE_NAT", "name": "External NAT", "networkTier": access.network_tier})]
    });
    let interface = whole(json!({
        "network": network,
        "subnetwork": subnetwork.map(|link| of_region("subnetworks", link)),
        "nicType": shape.nic_type,
        "accessConfigs": access,
    }));
    let account = shape.service_account.as_ref();
    let account = account.map(|one| [json!({"email": one.email, "scopes": one.scopes})]);
    let shielded = shape.shielded_instance_config.as_ref().map(|shielded| {
        json!({
            "enableSecureBoot": shielded.enable_secure_boot,
            "enableVtpm": shielded.enable_vtpm,
            "enableIntegrityMonitoring": shielded.enable_integrity_monitoring,
        })
    });
    let confidential = shape.confidential_instance_type.as_ref();
    let confidential = confidential.map(|kind| json!({"confidentialInstanceType": kind}));
    let reservation = shape.reservation_affinity.as_ref().map(|reservation| {
        whole(json!({
            "consumeReservationType": reservation.kind,
            "key": reservation.values.as_ref().map(|_| RESERVATION),
            "values": reservation.values,
        }))
    });
    let accelerators = shape.guest_accelerators.iter().map(|one| {
        let kind = format!("zones/{zone}/acceleratorTypes/{}", one.kind);
        json!({"acceleratorType": kind, "acceleratorCount": one.count})
    });
    let policies = shape.resource_policies.iter();
    let policies = policies.map(|link| of_region("resourcePolicies", link));
    let items = metadata(
        &shape.metadata,
        BTreeMap::from([(USER_DATA.to_owned(), user_data.to_owned())]),
    );
    whole(json!({
        "name": spec.name,
        "description": description(spec),
        "machineType": format!("zones/{zone}/machineTypes/{}", shape.machine_type),
        "labels": instance::labels(spec.mark, shape, zone),
        "metadata": {"items": items},
        "tags": some(shape.network_tags.iter()).map(|items| json!({"items": items})),
        "disks": disks(spec, shape, zone),
        "networkInterfaces": [interface],
        "canIpForward": shape.can_ip_forward.then_some(true),
        "serviceAccounts": account,
        "scheduling": scheduling(shape),
        "shieldedInstanceConfig": shielded,
        "confidentialInstanceConfig": confidential,
        "reservationAffinity": reservation,
        "guestAccelerators": some(accelerators),
        "minCpuPlatform": shape.min_cpu_platform,
        "resourcePolicies": some(policies),
        "deletionProtection": shape.deletion_protection.then_some(true),
    }))
}

fn some<T>(elements: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let elements: Vec<T> = elements.collect();
    (!elements.is_empty()).then_some(elements)
}

/// That they go with their machine is said of each: Google's default is to leave them.
fn disks(spec: &Spec<'_>, shape: &Shape, zone: &str) -> Vec<Json> {
    let kind_of = |kind: &str| format!("zones/{zone}/diskTypes/{kind}");
    let key = |link: &Option<String>| link.as_ref().map(|link| json!({"kmsKeyName": link}));
    let size = |size: Option<i64>| size.map(|size| size.to_string());
    let BootDisk {
        size_gb,
        kind,
        kms_key_self_link,
    } = shape.boot_disk.clone().unwrap_or_default();
    let boot = whole(json!({
        "boot": true,
        "autoDelete": true,
        "diskEncryptionKey": key(&kms_key_self_link),
        "initializeParams": whole(json!({
            "sourceImage": spec.image,
            "diskSizeGb": size(size_gb),
            "diskType": kind.as_deref().map(kind_of),
        })),
    }));
    let data = shape.data_disks.iter().map(|disk| {
        let DataDisk {
            device_name, kind, ..
        } = disk;
        let is_local = kind == LOCAL_SSD;
        let snapshot = disk.snapshot.as_ref().map(|link| match link.contains('/') {
            true => link.clone(),
            false => format!("global/snapshots/{link}"),
        });
        whole(json!({
            "autoDelete": true,
            "deviceName": device_name,
            "type": is_local.then_some("SCRATCH"),
            "interface": is_local.then_some("NVME"),
            "diskEncryptionKey": key(&disk.kms_key_self_link),
            "initializeParams": whole(json!({
                "diskType": kind_of(kind),
                "diskSizeGb": size(disk.size_gb),
                "sourceSnapshot": snapshot,
            })),
        }))
    });
    std::iter::once(boot).chain(data).collect()
}

/// What cannot be moved to another host stops for its maintenance.
fn scheduling(shape: &Shape) -> Option<Json> {
    if let Some(spot) = &shape.spot {
        return Some(json!({
            "provisioningModel": "SPOT",
            "preemptible": true,
            "automaticRestart": false,
            "onHostMaintenance": "TERMINATE",
            "instanceTerminationAction": spot.instance_termination_action,
        }));
    }
    let stays = !shape.guest_accelerators.is_empty() || shape.confidential_instance_type.is_some();
    stays.then(|| json!({"onHostMaintenance": "TERMINATE"}))
}

/// Items of metadata: the user's, which of them are the user's, and these.
pub(super) fn metadata(
    own: &BTreeMap<String, String>,
    others: BTreeMap<String, String>,
) -> Vec<Json> {
    let keys: Vec<&str> = own.keys().map(String::as_str).collect();
    let mut items = others;
    items.extend(own.clone());
    items.insert(METADATA_KEYS.to_owned(), keys.join(","));
    let items = items.into_iter();
    items
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect()
}

/// A UUID (RFC 9562, version 8) that is the same for the same machine, attempt, zone and image, and
/// for nothing else: Compute Engine then makes it once. `salt` tells a second request of these from
/// the first, whose operation has failed.
pub(super) fn request_id(spec: &Spec<'_>, zone: &str, salt: &str) -> String {
    let of = format!(
        "{}\n{}\n{zone}\n{}\n{salt}",
        spec.name, spec.attempt, spec.image
    );
    let hash = hash(&of);
    format!(
        "{}-{}-8{}-a{}-{}",
        &hash[..8],
        &hash[8..12],
        &hash[12..15],
        &hash[15..18],
        &hash[18..30]
    )
}

/// The item of metadata that lists keys of the user's, with commas between them.
pub(super) const METADATA_KEYS: &str = "flatcar-metadata-keys";
const RESERVATION: &str = "compute.googleapis.com/reservation-name";
