//! Bodies of what is asked for: pure.
//!
//! In: a spec, its shape, what is cloned and where to. Out: the body of `CloneVM_Task`; and of
//! `ReconfigVM_Task` for what changes in place. See: *vSphere Web Services API*,
//! `VirtualMachineCloneSpec`, `VirtualMachineConfigSpec`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::inventory::{Place, Source};
use super::machine::{ADDRESS, ATTEMPT, IMAGE, MINUTES, NOTES, OWN, key, minutes};
use super::object::Ref;
use super::shape::{ADAPTERS, Shape};
use crate::http::rest::whole;
use crate::worker_group::cloud::{Mark, Spec};

/// `user_data` is in the platform's form: base64 of what may be packed. The machine is powered on
/// by the same call, unless it has an address of a list.
pub(super) fn clone(
    spec: &Spec<'_>,
    shape: &Shape,
    source: &Source,
    place: &Place,
    user_data: &str,
    address: Option<&str>,
) -> Json {
    let json = |of: &Option<Ref>| of.as_ref().map(Ref::json);
    let linked = shape.linked_clone.then_some(&source.snapshot);
    let location = whole(json!({
        "_typeName": "VirtualMachineRelocateSpec",
        "pool": place.pool.json(),
        "host": json(&place.host),
        "datastore": json(&place.datastore),
        "diskMoveType": linked.map(|_| "createNewChildDiskBacking"),
    }));
    let devices = devices(shape, source, place);
    let config = whole(json!({
        "_typeName": "VirtualMachineConfigSpec",
        "annotation": notes(spec.mark, shape),
        "numCPUs": shape.num_cpus,
        "numCoresPerSocket": shape.num_cores_per_socket,
        "memoryMB": shape.memory,
        "deviceChange": (!devices.is_empty()).then_some(devices),
        "extraConfig": options(extra(spec, shape, user_data, address)),
    }));
    json!({
        "folder": place.folder.json(),
        "name": spec.name,
        "spec": whole(json!({
            "_typeName": "VirtualMachineCloneSpec",
            "location": location,
            "config": config,
            "snapshot": linked.and_then(|snapshot| snapshot.as_ref()).map(Ref::json),
            "template": false,
            "powerOn": address.is_none(),
        })),
    })
}

/// What Storage DRS is asked for such a clone.
pub(super) fn placement(spec: &Spec<'_>, source: &Source, place: &Place, clone: &Json) -> Json {
    json!({
        "_typeName": "StoragePlacementSpec",
        "type": "clone",
        "vm": source.of.json(),
        "cloneName": spec.name,
        "cloneSpec": clone["spec"],
        "folder": place.folder.json(),
        "resourcePool": place.pool.json(),
        "podSelectionSpec": {
            "_typeName": "StorageDrsPodSelectionSpec",
            "storagePod": place.datastore_cluster.as_ref().map(Ref::json),
        },
    })
}

/// The mark, and with a shape what changes in place. `gone` are keys that left the configuration.
pub(super) fn reconfigure(mark: &Mark, shape: Option<&Shape>, gone: &[&str]) -> Json {
    let mut extra = marked(mark);
    if let Some(shape) = shape {
        extra.extend(OWN.written(&shape.extra_config));
        // An empty value takes a parameter off.
        extra.extend(gone.iter().map(|key| ((*key).to_owned(), String::new())));
        extra.insert(NOTES.to_owned(), whose_notes(shape).to_owned());
        extra.insert(MINUTES.to_owned(), minutes(shape));
    }
    json!({"spec": whole(json!({
        "_typeName": "VirtualMachineConfigSpec",
        "annotation": shape.map(|shape| notes(mark, shape)),
        "extraConfig": options(extra),
    }))})
}

fn extra(
    spec: &Spec<'_>,
    shape: &Shape,
    user_data: &str,
    address: Option<&str>,
) -> BTreeMap<String, String> {
    let mut extra = OWN.written(&shape.extra_config);
    extra.extend(address.map(|address| (ADDRESS.to_owned(), address.to_owned())));
    extra.extend(marked(spec.mark));
    let packed = match user_data.starts_with(GZIP) {
        true => "gzip+base64",
        false => "base64",
    };
    for (key, value) in [
        (ATTEMPT, spec.attempt.to_string().as_str()),
        (IMAGE, spec.image),
        (NOTES, whose_notes(shape)),
        (MINUTES, minutes(shape).as_str()),
        (DATA, user_data),
        (ENCODING, packed),
    ] {
        extra.insert(key.to_owned(), value.to_owned());
    }
    extra
}

fn marked(mark: &Mark) -> BTreeMap<String, String> {
    let pairs = mark.pairs().into_iter();
    pairs.map(|(name, value)| (key(name), value)).collect()
}

fn options(extra: BTreeMap<String, String>) -> Vec<Json> {
    let option = |(key, value): (String, String)| {
        let value = json!({"_typeName": "string", "_value": value});
        json!({"_typeName": "OptionValue", "key": key, "value": value})
    };
    extra.into_iter().map(option).collect()
}

/// For whoever looks at a machine.
fn notes(mark: &Mark, shape: &Shape) -> String {
    match &shape.annotation {
        Some(notes) => notes.clone(),
        None => format!(
            "Flatcar worker group {} of cluster {} ({}), made by terraform-provider-flatcar.",
            mark.group, mark.cluster, mark.uid
        ),
    }
}

fn whose_notes(shape: &Shape) -> &'static str {
    match shape.annotation {
        Some(_) => "user",
        None => "provider",
    }
}

/// Adapters in place of the template's, and a larger disk.
fn devices(shape: &Shape, source: &Source, place: &Place) -> Vec<Json> {
    let change = |operation: &str, device: Json| json!({"_typeName": "VirtualDeviceConfigSpec", "operation": operation, "device": device});
    let mut changes = Vec::new();
    if let (Some(size), Some(disk)) = (kib(shape), &source.disk) {
        let mut disk = disk.clone();
        disk["capacityInKB"] = size.into();
        disk["capacityInBytes"] = size.saturating_mul(1_024).into();
        if Some(size) != source.disk_size() {
            changes.push(change("edit", disk));
        }
    }
    if shape.network_interface.is_empty() {
        return changes;
    }
    let removed = source.adapters.iter().cloned();
    changes.extend(removed.map(|adapter| change("remove", adapter)));
    let interfaces = shape.network_interface.iter().zip(&place.networks);
    for (key, (interface, backing)) in (1_i64..).zip(interfaces) {
        let known = ADAPTERS.iter();
        let mut known = known.filter(|(word, _)| *word == interface.adapter_type);
        let kind = known.next().map_or(ADAPTERS[0].1, |(_, kind)| kind);
        let connected = json!({
            "_typeName": "VirtualDeviceConnectInfo",
            "startConnected": true,
            "allowGuestControl": true,
            "connected": true,
        });
        // New devices have keys below zero, which only tell them apart.
        changes.push(change(
            "add",
            json!({
                "_typeName": kind,
                "key": -key,
                "addressType": "generated",
                "backing": backing,
                "connectable": connected,
            }),
        ));
    }
    changes
}

/// The size of the first disk.
pub(super) fn kib(shape: &Shape) -> Option<i64> {
    shape.disk_size?.checked_mul(1_024 * 1_024)
}

pub(super) const CLONE: &str = "vSphere CloneVM_Task";
/// Base64 of what gzip begins with.
const GZIP: &str = "H4sI";
/// Where Ignition finds it. Flatcar writes an empty config over it once it has run.
const DATA: &str = "guestinfo.ignition.config.data";
const ENCODING: &str = "guestinfo.ignition.config.data.encoding";
