use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::super::shape::{Shape, group_schema};
use super::*;
use crate::cloud::tests::{are_as_recorded, complete};
use crate::provider::{Model as _, Value};
use crate::worker_group::cloud::Mark;

const SUBNET: &str = "/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v/subnets/workers";

fn shape(written: &Json) -> Shape {
    let mut shape = json!({
        "resource_group_name": "Workers", "location": "westeurope", "vm_size": "Standard_D2s_v5", "subnet_id": SUBNET,
        "admin_ssh_keys": ["ssh-ed25519 AAAA ops"],
    });
    let written = written.as_object().unwrap().clone();
    shape.as_object_mut().unwrap().extend(written);
    Shape::from_value(&complete(&group_schema(), &shape)).unwrap()
}

/// One file a feature: image and shape, and beside it the three bodies of a machine.
#[test]
fn a_create_carries_the_mark_and_only_what_the_user_wrote() {
    are_as_recorded("azure", 10, |written| {
        let written: Json = serde_json::from_str(written).unwrap();
        let image = written["image"].as_str().unwrap();
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
            shape: &Value::Null,
        };
        let shape = shape(&written["azure"]);
        let parts = Parts::of(&Place::new("S", Some("Workers")), &spec);
        let zone = shape.zones.first().map(String::as_str);
        let body = machine(&spec, &shape, &parts, zone, "e30=");
        let reference = &body["properties"]["storageProfile"]["imageReference"];
        assert_eq!(image_text(reference), image);
        let made = json!({
            "networkInterface": nic(&spec, &shape, &parts),
            "publicIPAddress": shape.public_ip.then(|| address(&spec, &shape)),
            "virtualMachine": body,
        });
        serde_json::to_string_pretty(&made).unwrap() + "\n"
    });
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
        let again = Parts::by_path(&parts.machine).unwrap();
        assert_eq!((again.nic, again.address), (parts.nic, parts.address));
    }
    assert_eq!(
        Place::new("S", None).all(MACHINES),
        "/subscriptions/s/providers/Microsoft.Compute/virtualMachines"
    );
    assert_eq!(Place::canonical("/nonsense"), None);
}

#[test]
fn a_key_that_nobody_has_is_one_that_azure_takes() {
    let bytes = STANDARD
        .decode(NOBODYS_KEY.split(' ').nth(1).unwrap())
        .unwrap();
    // "ssh-rsa", 65537 and a number of 2048 bits, each with its length before it.
    assert_eq!(bytes.len(), 4 + 7 + 4 + 3 + 4 + 257);
    assert!(bytes[22] == 0 && bytes[23] & 0x80 != 0 && bytes.last().unwrap() & 1 == 1);
}
