//! What vSphere is asked and what its answers mean, without it. `UPDATE=1` rewrites the golden
//! bodies in `tests/fixtures/vsphere`.

use serde_json::{Value as Json, json};

use super::fault::MEANINGS;
use super::request::{clone, reconfigure};
use super::*;
use crate::cloud::tests::{are_as_recorded, complete, mark};
use crate::provider::{Model as _, Value};
use crate::worker_group::cloud::{Meaning, PROOF, UID};

fn shape(fields: &Json) -> Value {
    let mut whole = json!({"cluster": "c1"});
    let fields = fields.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(fields);
    complete(&shape::group_schema(), &whole)
}

fn spec<'a>(mark: &'a Mark, shape: &'a Value) -> Spec<'a> {
    Spec {
        name: "workers-k3x9-0",
        attempt: 0,
        ordinal: 0,
        mark,
        image: "templates/flatcar-4593.2.5",
        user_data: b"{}",
        shape,
    }
}

/// A template with a disk of 10 GiB and one adapter.
fn source() -> Source {
    let disk = json!({
        "_typeName": "VirtualDisk", "key": 2000, "controllerKey": 1000, "unitNumber": 0,
        "capacityInKB": 10 * 1024 * 1024, "capacityInBytes": 10_i64 << 30,
        "backing": {"_typeName": "VirtualDiskFlatVer2BackingInfo", "fileName": "[ssd] flatcar/flatcar.vmdk", "diskMode": "persistent"},
    });
    Source {
        of: Ref::new(VM, "vm-42"),
        snapshot: Some(Ref::new("VirtualMachineSnapshot", "snapshot-7")),
        disk: Some(disk),
        adapters: vec![json!({"_typeName": "VirtualVmxnet3", "key": 4000})],
    }
}

fn place(shape: &Shape) -> Place {
    let backing = |interface: &shape::Interface| match interface.network.as_str() {
        "VM Network" => {
            json!({"_typeName": "VirtualEthernetCardNetworkBackingInfo", "deviceName": "VM Network"})
        }
        _ => json!({
            "_typeName": "VirtualEthernetCardDistributedVirtualPortBackingInfo",
            "port": {"_typeName": "DistributedVirtualSwitchPortConnection", "switchUuid": "50 17", "portgroupKey": "dvportgroup-9"},
        }),
    };
    let named =
        |name: &Option<String>, kind: &str, id: &str| name.as_ref().map(|_| Ref::new(kind, id));
    Place {
        folder: Ref::new("Folder", "group-v3"),
        pool: Ref::new("ResourcePool", "resgroup-8"),
        host: named(&shape.host, "HostSystem", "host-10"),
        datastore: named(&shape.datastore, "Datastore", "datastore-12"),
        datastore_cluster: None,
        networks: shape.network_interface.iter().map(backing).collect(),
    }
}

fn body(fields: &Json, user_data: &str) -> Json {
    let (mark, written) = (mark(), shape(fields));
    let shape = Shape::from_value(&written).unwrap();
    let place = place(&shape);
    let address = shape.addresses.as_ref().map(|all| all.in_turn(0).remove(0));
    let spec = spec(&mark, &written);
    clone(
        &spec,
        &shape,
        &source(),
        &place,
        user_data,
        address.as_deref(),
    )
}

#[test]
fn bodies_are_as_recorded() {
    are_as_recorded("vsphere", 11, |fields| {
        let body = body(&serde_json::from_str(fields).unwrap(), "e30=");
        serde_json::to_string_pretty(&body).unwrap() + "\n"
    });
}

fn object(of: Ref, properties: Json) -> Object {
    Object::new(of, serde_json::from_value(properties).unwrap())
}

/// What a query answers of a machine that was made by this body.
fn made(body: &Json, more: &Json) -> Object {
    let config = &body["spec"]["config"];
    let mut properties = json!({
        "name": body["name"],
        "config.instanceUuid": "502E71FA",
        "runtime.powerState": {"_typeName": "string", "_value": "poweredOn"},
        "config.annotation": config["annotation"],
        "config.createDate": "2026-11-30T00:00:01.123456Z",
    });
    for option in config["extraConfig"].as_array().unwrap() {
        let key = option["key"].as_str().unwrap();
        properties[format!("config.extraConfig[\"{key}\"]")] = option.clone();
    }
    for (path, value) in more.as_object().unwrap() {
        properties[path.as_str()] = value.clone();
    }
    object(Ref::new(VM, "vm-77"), properties)
}

#[test]
fn a_virtual_machine_is_a_machine_with_all_that_it_says() {
    let fields = json!({
        "num_cpus": 4, "num_cores_per_socket": 2, "memory": 8192, "annotation": "a",
        "extra_config": {"team": "a"}, "shutdown_wait_timeout": 5,
    });
    let body = body(&fields, "e30=");
    let given = json!({"list": ["10.0.0.9"], "cidr": "10.0.0.0/24"});
    assert_eq!(
        Virtual(&made(
            &self::body(&json!({"addresses": given}), "e30="),
            &json!({})
        ))
        .addresses(),
        ["10.0.0.9"]
    );
    let net = json!({"_typeName": "ArrayOfGuestNicInfo", "_value": [
        {"ipAddress": ["10.0.0.7", "fe80::1"]}, {"ipAddress": ["169.254.1.1", "2001:db8::7"]}, {},
    ]});
    let found = made(
        &body,
        &json!({
            "guest.ipAddress": "10.0.0.7", "guest.net": net,
            "config.hardware.numCPU": {"_typeName": "int", "_value": 4},
            "config.hardware.numCoresPerSocket": 2, "config.hardware.memoryMB": 8192,
        }),
    );
    let of = Virtual(&found);
    let machine = of.machine();
    assert_eq!(
        (machine.id.as_str(), machine.name.as_str()),
        ("vm-77|502e71fa", "workers-k3x9-0")
    );
    assert_eq!(machine.mark, mark());
    assert_eq!(machine.image, "templates/flatcar-4593.2.5");
    assert_eq!(machine.addresses, ["10.0.0.7", "2001:db8::7"]);
    assert_eq!(machine.phase, Phase::Running);
    assert!(machine.created.is_some());
    let (mark, written) = (mark(), shape(&fields));
    let parsed = Shape::from_value(&written).unwrap();
    assert_eq!(Facet::wanted(FACETS, &parsed), machine.observed);
    assert!(of.is_of(&spec(&mark, &written)) && !of.is_being_made());
    let other = Spec {
        attempt: 1,
        ..spec(&mark, &written)
    };
    assert!(!of.is_of(&other));
    assert!(of.is_of_group("prod", "workers") && !of.is_of_group("prod", "worker"));
    let lost = object(Ref::new(VM, "vm-78"), json!({"name": "w"}));
    assert_eq!(Virtual(&lost).machine().mark, Mark::default());
    // Its configuration is not there before its clone is done.
    assert!(Virtual(&lost).is_being_made());
}

#[test]
fn a_machine_is_in_the_phase_that_its_power_and_its_host_tell() {
    for (power, connection, phase) in [
        ("poweredOn", "connected", Phase::Running),
        ("poweredOn", "disconnected", Phase::Running),
        ("poweredOff", "connected", Phase::Stopped),
        ("suspended", "connected", Phase::Stopped),
        ("poweredOff", "orphaned", Phase::Failed),
        ("poweredOff", "inaccessible", Phase::Failed),
    ] {
        let properties =
            json!({"runtime.powerState": power, "runtime.connectionState": connection});
        let found = object(Ref::new(VM, "vm-1"), properties);
        assert_eq!(
            Virtual(&found).machine().phase,
            phase,
            "{power} {connection}"
        );
    }
}

#[test]
fn packed_user_data_say_so() {
    for (user_data, encoding) in [("e30=", "base64"), ("H4sIAAAA", "gzip+base64")] {
        let body = body(&json!({}), user_data);
        let options = body["spec"]["config"]["extraConfig"].as_array().unwrap();
        let value = |key: &str| {
            let found = options.iter().find(|option| option["key"] == key);
            found.unwrap()["value"]["_value"].clone()
        };
        assert_eq!(value("guestinfo.ignition.config.data"), user_data);
        assert_eq!(value("guestinfo.ignition.config.data.encoding"), encoding);
    }
}

#[test]
fn a_mark_alone_leaves_notes_and_parameters_and_a_proof_that_it_does_not_know() {
    let without = Mark {
        proof: String::new(),
        ..mark()
    };
    let body = reconfigure(&without, None, &[]);
    let spec = &body["spec"];
    assert!(spec.get("annotation").is_none());
    let keys: Vec<&str> = spec["extraConfig"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|option| option["key"].as_str())
        .collect();
    assert!(keys.contains(&machine::key(UID).as_str()), "{keys:?}");
    assert!(!keys.contains(&machine::key(PROOF).as_str()), "{keys:?}");
    assert_eq!(keys.len(), 5);
}

#[test]
fn a_login_is_tried_again_unless_the_user_is_refused() {
    for (code, status) in [
        ("InvalidLogin", 401),
        ("NoPermission", 403),
        ("SystemError", 503),
        ("NotAuthenticated", 503),
    ] {
        let refused = fault::refusal(&json!({"_typeName": code}));
        let passes = refused.is_passing();
        assert!(
            refused.to_string().starts_with(&format!("{status} {code}")),
            "{refused}"
        );
        assert_eq!(passes, status == 503, "{code}");
    }
}

#[test]
fn a_fault_means_what_its_type_says() {
    for (code, words, kind, attribute) in [
        ("DuplicateName", "", Kind::AlreadyExists, None),
        ("FileAlreadyExists", "", Kind::AlreadyExists, None),
        ("InsufficientResourcesFault", "", Kind::Quota, None),
        ("InsufficientCpuResourcesFault", "", Kind::Quota, None),
        ("NoDiskSpace", "", Kind::Quota, Some("vsphere.datastore")),
        ("NotAuthenticated", "", Kind::Unauthenticated, None),
        ("NoPermission", "", Kind::Forbidden, None),
        ("ManagedObjectNotFound", "", Kind::NotFound, None),
        ("HostCommunication", "", Kind::Unavailable, None),
        ("TaskInProgress", "", Kind::Unavailable, None),
        (
            "InvalidDatastore",
            "",
            Kind::BadRequest,
            Some("vsphere.datastore"),
        ),
        ("Unheard", "", Kind::BadRequest, None),
    ] {
        let found = Meaning::find(MEANINGS, None, code, words);
        assert_eq!(found, (kind, attribute), "{code}");
    }
}

#[test]
fn what_does_not_go_together_is_told_before_vsphere_is_asked() {
    for (fields, at) in [
        (json!({}), vec![]),
        (json!({"cluster": null}), vec!["cluster"]),
        (json!({"host": "esx-1"}), vec!["cluster"]),
        (
            json!({"datastore": "a", "datastore_cluster": "b"}),
            vec!["datastore_cluster"],
        ),
        (
            json!({"linked_clone": true, "disk_size": 40}),
            vec!["disk_size"],
        ),
        (
            json!({"extra_config": {"flatcar.uid": "x"}}),
            vec!["extra_config[\"flatcar.uid\"]"],
        ),
        (
            json!({"extra_config": {"GuestInfo.ignition.config.data": "x"}}),
            vec!["extra_config[\"GuestInfo.ignition.config.data\"]"],
        ),
        (
            json!({"extra_config": {"a\"]": "x"}}),
            vec!["extra_config[\"a\"]\"]"],
        ),
        (
            json!({"extra_config": {"a": ""}}),
            vec!["extra_config[\"a\"]"],
        ),
    ] {
        let found = shape::validate(&shape(&fields)).0;
        let paths = found.iter().filter_map(|problem| problem.path.as_ref());
        let paths: Vec<String> = paths.map(ToString::to_string).collect();
        assert_eq!(paths.len(), at.len(), "{fields}: {found:?}");
        for (path, at) in paths.iter().zip(at) {
            assert!(path.contains(at.split('[').next().unwrap()), "{path}");
        }
    }
}

#[test]
fn a_property_that_cannot_be_read_does_not_count_as_not_set() {
    for (fault, expected) in [
        ("NoPermission", Ok(Some(true))),
        // A parameter that is not there.
        ("InvalidProperty", Ok(Some(false))),
        ("ManagedObjectNotFound", Ok(None)),
        ("HostCommunication", Err(Kind::Unavailable)),
    ] {
        let missing =
            json!({"path": "config.annotation", "fault": {"fault": {"_typeName": fault}}});
        let found = json!({"obj": {"type": VM, "value": "vm-1"}, "missingSet": [missing]});
        let found: object::Found = serde_json::from_value(found).unwrap();
        let found = found
            .object()
            .map(|one| one.map(|one| one.hidden.is_some()));
        let found = found.map_err(|fault| fault::localized("a", "b", &fault).kind);
        assert_eq!(found, expected, "{fault}");
    }
}
