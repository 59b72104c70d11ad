use serde_json::{Value as Json, json};

use super::super::shape::Shape;
use super::*;
use crate::worker_group::cloud::Mark;

const SUBNET: &str = "/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v/subnets/workers";

fn shape(written: Json) -> Shape {
    let mut shape = json!({
        "resource_group_name": "Workers", "location": "westeurope", "vm_size": "Standard_D2s_v5", "subnet_id": SUBNET,
        "network_security_group_id": null, "zones": null, "os_disk": null, "data_disks": null, "public_ip": false, "admin_username": "core",
        "admin_ssh_keys": ["ssh-ed25519 AAAA ops"], "identity": null, "priority": "Regular", "eviction_policy": null, "max_bid_price": null,
        "plan": null, "proximity_placement_group_id": null, "accelerated_networking_enabled": false, "capacity_reservation_group_id": null,
        "application_security_group_ids": null, "load_balancer_backend_address_pool_ids": null, "boot_diagnostics": true,
        "user_data_as": "user_data", "tags": null,
    });
    for (key, value) in written.as_object().unwrap() {
        shape[key] = value.clone();
    }
    serde_json::from_value(shape).unwrap()
}

/// One file a feature: the three bodies of a machine. `UPDATE=1` writes them.
#[test]
fn a_create_carries_the_mark_and_only_what_the_user_wrote() {
    let id = |kind: &str, name: &str| {
        format!("/subscriptions/s/resourceGroups/rg/providers/{kind}/{name}")
    };
    let urn = "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4593.2.5";
    let gallery = format!(
        "{}/images/flatcar/versions/1.0.0",
        id("Microsoft.Compute/galleries", "g")
    );
    let community = "/CommunityGalleries/flatcar-1/Images/flatcar-stable-amd64/Versions/latest";
    for (feature, image, written) in [
        ("bare", urn, json!({})),
        (
            "keys",
            urn,
            json!({"admin_ssh_keys": null, "admin_username": "ops", "user_data_as": "custom_data", "boot_diagnostics": false}),
        ),
        (
            "disks",
            &gallery,
            json!({
            "os_disk": {"ephemeral": false, "size_gb": 64, "storage_account_type": "Premium_LRS", "disk_encryption_set_id": id("Microsoft.Compute/diskEncryptionSets", "d")},
            "data_disks": [{"size_gb": 10, "storage_account_type": null, "disk_encryption_set_id": null},
                {"size_gb": 20, "storage_account_type": "StandardSSD_LRS", "disk_encryption_set_id": null}]}),
        ),
        (
            "ephemeral",
            community,
            json!({"os_disk": {"size_gb": null, "storage_account_type": null, "disk_encryption_set_id": null, "ephemeral": true}}),
        ),
        (
            "network",
            urn,
            json!({
            "public_ip": true, "accelerated_networking_enabled": true,
            "network_security_group_id": id("Microsoft.Network/networkSecurityGroups", "n"),
            "application_security_group_ids": [id("Microsoft.Network/applicationSecurityGroups", "a")],
            "load_balancer_backend_address_pool_ids": [id("Microsoft.Network/loadBalancers", "l") + "/backendAddressPools/p"]}),
        ),
        (
            "spot",
            urn,
            json!({"priority": "Spot", "eviction_policy": "Delete", "max_bid_price": 0.05}),
        ),
        (
            "place",
            urn,
            json!({
            "zones": ["1", "2"], "proximity_placement_group_id": id("Microsoft.Compute/proximityPlacementGroups", "p"),
            "capacity_reservation_group_id": id("Microsoft.Compute/capacityReservationGroups", "c")}),
        ),
        (
            "identity",
            urn,
            json!({"identity": {"type": "SystemAssigned, UserAssigned", "identity_ids": [id("Microsoft.ManagedIdentity/userAssignedIdentities", "i")]}}),
        ),
        (
            "plan",
            "kinvolk:flatcar-container-linux-free:stable-gen2:latest",
            json!({
            "plan": {"name": "stable-gen2", "product": "flatcar-container-linux-free", "publisher": "kinvolk"}}),
        ),
        ("tags", urn, json!({"tags": {"team": "a", "cost": "1"}})),
    ] {
        let mark = Mark {
            cluster: "prod".to_owned(),
            group: "workers".to_owned(),
            uid: "abc".to_owned(),
            generation: "g".to_owned(),
            unsaved: true,
            ..Mark::default()
        };
        let spec = Spec {
            name: "workers-abc-3",
            attempt: 0,
            ordinal: 3,
            mark: &mark,
            image,
            user_data: b"{}",
            shape: &crate::provider::Value::Null,
        };
        let shape = shape(written);
        let place = Place::new("S", Some("Workers"));
        let parts = Parts::of(&place, &spec);
        let zone = shape.zones.first().map(String::as_str);
        let body = machine(&spec, &shape, &parts, zone, "e30=");
        assert_eq!(
            image_text(&body["properties"]["storageProfile"]["imageReference"]),
            image
        );
        let made = json!({
            "networkInterface": nic(&spec, &shape, &parts),
            "publicIPAddress": shape.public_ip.then(|| address(&spec, &shape)),
            "virtualMachine": body,
        });
        let made = serde_json::to_string_pretty(&made).unwrap() + "\n";
        let file = format!(
            "{}/tests/fixtures/azure/{feature}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &made).unwrap();
        }
        assert_eq!(
            made,
            std::fs::read_to_string(&file).unwrap_or_default(),
            "{feature}: UPDATE=1 writes it"
        );
    }
}

#[test]
fn names_are_derived_and_an_attempt_has_names_of_its_own() {
    let mark = Mark::default();
    let place = Place::new("S", Some("Workers"));
    let base =
        "/subscriptions/s/resourceGroups/workers/providers/Microsoft.Compute/virtualMachines";
    for (attempt, name) in [(0, "preflight"), (2, "preflight-a2")] {
        let parts = Parts::of(
            &place,
            &Spec {
                attempt,
                ..Spec::trial(&mark, "i")
            },
        );
        assert_eq!(parts.machine, format!("{base}/{name}"));
        let again = Parts::by_id(&parts.machine).unwrap();
        assert_eq!((again.nic, again.address), (parts.nic, parts.address));
    }
    assert_eq!(
        Place::new("S", None).all(MACHINES),
        "/subscriptions/s/providers/Microsoft.Compute/virtualMachines"
    );
    assert_eq!(Place::canonical("/nonsense"), None);
}

#[test]
fn a_key_that_nobody_has_is_one_of_its_machine() {
    let key = nobodys_key("workers-abc-3");
    assert_eq!(key, nobodys_key("workers-abc-3"));
    assert_ne!(key, nobodys_key("workers-abc-4"));
    let bytes = STANDARD.decode(key.split(' ').nth(1).unwrap()).unwrap();
    // "ssh-rsa", 65537 and a number of 2048 bits, each with its length before it.
    assert_eq!(bytes.len(), 4 + 7 + 4 + 3 + 4 + 257);
    assert!(bytes[22] == 0 && bytes[23] & 0x80 != 0 && bytes.last().unwrap() & 1 == 1);
}
