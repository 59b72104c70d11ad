//! What is created: a virtual machine, and the Secret with its user data where they are too long to
//! stand in it. Pure.
//!
//! In: a spec, its shape, user data in base64. Out: the bodies. The machine names its Secret before
//! that exists, for the Secret names the machine's uid: a launcher waits for it. See: KubeVirt API
//! v1, `VirtualMachine`; CDI, `DataVolume`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::image::Source;
use super::machine::{
    ATTEMPT, AWAITED, IMAGE, OWN_ANNOTATIONS, OWN_LABELS, STRATEGY, USER_DATA, secret_name,
};
use super::shape::{
    Affinity, CLOUD_INIT, Credential, FurtherVolume, Network, ROOT, Shape, Spread, Toleration,
};
use crate::http::rest::whole;
use crate::worker_group::cloud::{CLUSTER, GROUP, Mark, Spec};

/// Whether user data, in base64, are so many that KubeVirt wants them in a Secret.
pub(super) fn needs_secret(user_data: &str) -> bool {
    let padding = user_data
        .bytes()
        .rev()
        .take_while(|byte| *byte == b'=')
        .count();
    user_data.len() / 4 * 3 - padding.min(2) > INLINE_BYTES
}

/// The Secret of a machine that exists: it goes with it, and before it.
pub(super) fn secret(name: &str, uid: &str, mark: &Mark, user_data: &str) -> Json {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(name),
            "labels": of_group(mark),
            "ownerReferences": [{
                "apiVersion": "kubevirt.io/v1",
                "kind": "VirtualMachine",
                "name": name,
                "uid": uid,
                "blockOwnerDeletion": true,
            }],
        },
        "type": "Opaque",
        "data": {"userdata": user_data},
    })
}

/// By which lists find what is of a group.
pub(super) fn of_group(mark: &Mark) -> Json {
    json!({CLUSTER: mark.cluster, GROUP: mark.group})
}

/// All labels of a machine.
pub(super) fn labels(mark: &Mark, shape: &Shape) -> BTreeMap<String, String> {
    let mut labels = shape.labels.clone();
    labels.extend(mark.written());
    labels
}

/// The user's annotations, and which labels and annotations are the user's.
pub(super) fn annotations(shape: &Shape) -> BTreeMap<String, String> {
    let mut annotations = OWN_ANNOTATIONS.written(&shape.annotations);
    let labels = OWN_LABELS.written(&shape.labels).remove(OWN_LABELS.list);
    annotations.insert(OWN_LABELS.list.to_owned(), labels.unwrap_or_default());
    annotations.insert(STRATEGY.to_owned(), shape.run_strategy.clone());
    annotations
}

/// Labels and annotations of a machine's pods; those of the mark that change are not among them,
/// for a pod that runs keeps what it has.
pub(super) fn of_pods(mark: &Mark, shape: &Shape) -> Json {
    let mut labels = shape.labels.clone();
    labels.insert(CLUSTER.to_owned(), mark.cluster.clone());
    labels.insert(GROUP.to_owned(), mark.group.clone());
    json!({"labels": labels, "annotations": shape.annotations})
}

/// `user_data` are in base64. `source` is what the spec's image stands for.
pub(super) fn machine(spec: &Spec<'_>, shape: &Shape, source: Source<'_>, user_data: &str) -> Json {
    let mut annotations = annotations(shape);
    annotations.insert(ATTEMPT.to_owned(), spec.attempt.to_string());
    annotations.insert(IMAGE.to_owned(), spec.image.to_owned());
    if needs_secret(user_data) {
        annotations.insert(USER_DATA.to_owned(), AWAITED.to_owned());
    }
    let templates = templates(spec, shape, source);
    whole(json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": spec.name, "labels": labels(spec.mark, shape), "annotations": annotations},
        "spec": whole(json!({
            "runStrategy": shape.run_strategy,
            "instancetype": shape.instancetype,
            "preference": shape.preference,
            "dataVolumeTemplates": some(templates),
            "template": {"metadata": of_pods(spec.mark, shape), "spec": guest(spec, shape, source, user_data)},
        })),
    }))
}

fn guest(spec: &Spec<'_>, shape: &Shape, source: Source<'_>, user_data: &str) -> Json {
    let pod_network = [Network {
        name: "default".to_owned(),
        multus: None,
        binding: "masquerade".to_owned(),
        model: None,
    }];
    let networks = match shape.networks.as_slice() {
        [] => &pod_network,
        networks => networks,
    };
    let interfaces = networks.iter().map(|network| {
        let mac = (shape.mac_policy == DERIVED).then(|| mac_address(spec.name, &network.name));
        whole(json!({
            "name": network.name,
            network.binding.clone(): {},
            "model": network.model,
            "macAddress": mac,
        }))
    });
    let disk = |name: &str| json!({"name": name, "disk": {"bus": "virtio"}});
    let root = json!({"name": ROOT, "bootOrder": 1, "disk": {"bus": "virtio"}});
    let further = shape.data_volumes.iter().map(|volume| {
        let serial: String = volume.name.chars().take(SERIAL_CHARS).collect();
        json!({"name": volume.name, "serial": serial, "disk": {"bus": "virtio"}})
    });
    let disks: Vec<Json> = [root, disk(CLOUD_INIT)]
        .into_iter()
        .chain(further)
        .collect();
    let cpu = shape.cpu.as_ref().map(|cpu| {
        whole(json!({
            "cores": cpu.cores,
            "sockets": cpu.sockets,
            "threads": cpu.threads,
            "model": cpu.model,
            "dedicatedCpuPlacement": cpu.dedicated_cpu_placement.then_some(true),
        }))
    });
    let memory = shape
        .memory
        .as_ref()
        .map(|memory| json!({"guest": memory.guest}));
    let dns = shape.dns_config.as_ref().map(|dns| {
        whole(json!({"nameservers": some(dns.nameservers.clone()), "searches": some(dns.searches.clone())}))
    });
    whole(json!({
        "domain": whole(json!({
            "cpu": cpu,
            "memory": memory,
            "devices": {"disks": disks, "interfaces": interfaces.collect::<Vec<Json>>(), "rng": {}},
        })),
        "networks": networks.iter().map(network).collect::<Vec<Json>>(),
        "volumes": volumes(spec, shape, source, user_data),
        "nodeSelector": (!shape.node_selector.is_empty()).then_some(&shape.node_selector),
        "affinity": shape.affinity.as_ref().map(|of| affinity(spec.mark, of)),
        "topologySpreadConstraints": some(shape.topology_spread_constraints.iter().map(|of| spread(spec.mark, of)).collect()),
        "tolerations": some(shape.tolerations.iter().map(toleration).collect()),
        "priorityClassName": shape.priority_class_name,
        "evictionStrategy": shape.eviction_strategy,
        "terminationGracePeriodSeconds": shape.termination_grace_period_seconds,
        "dnsPolicy": shape.dns_policy,
        "dnsConfig": dns,
        "accessCredentials": some(shape.access_credentials.iter().map(credential).collect()),
    }))
}

fn network(network: &Network) -> Json {
    match &network.multus {
        Some(multus) => {
            json!({"name": network.name, "multus": {"networkName": multus.network_name}})
        }
        None => json!({"name": network.name, "pod": {}}),
    }
}

fn volumes(spec: &Spec<'_>, shape: &Shape, source: Source<'_>, user_data: &str) -> Vec<Json> {
    let root = match source {
        Source::ContainerDisk(image) => {
            let pull = shape.container_disk.clone().unwrap_or_default();
            let disk = whole(json!({
                "image": image,
                "imagePullPolicy": pull.image_pull_policy,
                "imagePullSecret": pull.image_pull_secret,
                "path": pull.path,
            }));
            json!({"name": ROOT, "containerDisk": disk})
        }
        _ => json!({"name": ROOT, "dataVolume": {"name": volume_of(spec.name, ROOT)}}),
    };
    let user_data = match needs_secret(user_data) {
        true => json!({"secretRef": {"name": secret_name(spec.name)}}),
        false => json!({"userDataBase64": user_data}),
    };
    let cloud_init = json!({"name": CLOUD_INIT, "cloudInitConfigDrive": user_data});
    let further = shape.data_volumes.iter().map(|volume| {
        let name = volume_of(spec.name, &volume.name);
        json!({"name": volume.name, "dataVolume": {"name": name}})
    });
    [root, cloud_init].into_iter().chain(further).collect()
}

/// DataVolumes that KubeVirt makes for the machine, which owns them.
fn templates(spec: &Spec<'_>, shape: &Shape, source: Source<'_>) -> Vec<Json> {
    let template = |name: &str, source: Json, volume: &FurtherVolume| {
        let storage = whole(json!({
            "resources": {"requests": {"storage": volume.storage}},
            "storageClassName": volume.storage_class_name,
            "accessModes": some(volume.access_modes.iter().collect()),
            "volumeMode": volume.volume_mode,
        }));
        json!({
            "metadata": {"name": volume_of(spec.name, name), "labels": of_group(spec.mark)},
            "spec": {"source": source, "storage": storage},
        })
    };
    let root = shape.data_volume.as_ref().and_then(|volume| {
        let place =
            |namespace: Option<&str>, name| whole(json!({"namespace": namespace, "name": name}));
        let from = match source {
            Source::ContainerDisk(_) => return None,
            Source::Http(url) => json!({"http": whole(json!({
                "url": url,
                "checksum": volume.checksum,
                "secretRef": volume.secret_ref,
                "certConfigMap": volume.cert_config_map,
            }))}),
            Source::Registry(url) => json!({"registry": whole(json!({
                "url": url,
                "secretRef": volume.secret_ref,
                "certConfigMap": volume.cert_config_map,
            }))}),
            Source::Claim(namespace, name) => json!({"pvc": place(namespace, name)}),
            Source::Snapshot(namespace, name) => json!({"snapshot": place(namespace, name)}),
        };
        let volume = volume.clone();
        let volume = FurtherVolume {
            name: ROOT.to_owned(),
            storage: volume.storage,
            storage_class_name: volume.storage_class_name,
            access_modes: volume.access_modes,
            volume_mode: volume.volume_mode,
        };
        Some(template(ROOT, from, &volume))
    });
    let further = shape.data_volumes.iter();
    let further = further.map(|volume| template(&volume.name, json!({"blank": {}}), volume));
    root.into_iter().chain(further).collect()
}

fn volume_of(machine: &str, volume: &str) -> String {
    format!("{machine}-{volume}")
}

fn affinity(mark: &Mark, affinity: &Affinity) -> Json {
    let expressions = affinity.node_affinity.iter().map(|one| {
        whole(json!({"key": one.key, "operator": one.operator, "values": some(one.values.clone())}))
    });
    let node = some(expressions.collect()).map(|expressions| {
        json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}})
    });
    let term =
        |key: &str| json!({"topologyKey": key, "labelSelector": {"matchLabels": of_group(mark)}});
    let (required, preferred): (Vec<_>, Vec<_>) = affinity
        .pod_anti_affinity
        .iter()
        .partition(|one| one.required);
    let required = required.iter().map(|one| term(&one.topology_key)).collect();
    let preferred = preferred
        .iter()
        .map(|one| json!({"weight": 100, "podAffinityTerm": term(&one.topology_key)}));
    let pods = whole(json!({
        "requiredDuringSchedulingIgnoredDuringExecution": some(required),
        "preferredDuringSchedulingIgnoredDuringExecution": some(preferred.collect()),
    }));
    whole(json!({
        "nodeAffinity": node,
        "podAntiAffinity": pods.as_object().filter(|terms| !terms.is_empty()),
    }))
}

fn spread(mark: &Mark, spread: &Spread) -> Json {
    json!({
        "maxSkew": spread.max_skew,
        "topologyKey": spread.topology_key,
        "whenUnsatisfiable": spread.when_unsatisfiable,
        "labelSelector": {"matchLabels": of_group(mark)},
    })
}

fn toleration(one: &Toleration) -> Json {
    whole(json!({
        "key": one.key,
        "operator": one.operator,
        "value": one.value,
        "effect": one.effect,
        "tolerationSeconds": one.toleration_seconds,
    }))
}

fn credential(one: &Credential) -> Json {
    let way = match one.users.is_empty() {
        true => json!({"configDrive": {}}),
        false => json!({"qemuGuestAgent": {"users": one.users}}),
    };
    json!({"sshPublicKey": {"source": {"secret": {"secretName": one.secret_name}}, "propagationMethod": way}})
}

/// Locally administered, and the same for the same interface of the same machine.
fn mac_address(machine: &str, interface: &str) -> String {
    let hash = Sha256::digest(format!("{machine}\n{interface}"));
    let bytes: Vec<String> = hash
        .iter()
        .take(5)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("02:{}", bytes.join(":"))
}

fn some<T>(elements: Vec<T>) -> Option<Vec<T>> {
    (!elements.is_empty()).then_some(elements)
}

/// KubeVirt's own limit, before base64.
const INLINE_BYTES: usize = 2_048;
/// What virtio shows of a serial number.
const SERIAL_CHARS: usize = 20;
const DERIVED: &str = "derived";
