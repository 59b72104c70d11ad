//! What KubeVirt is asked and what its answers mean, without a cluster. `UPDATE=1` rewrites the
//! golden bodies in `tests/fixtures/kubevirt`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::shape::{is_checksum, is_quantity, validate};
use super::*;
use crate::cloud::tests::{are_as_recorded, complete, mark};
use crate::provider::{Model as _, Value};
use crate::worker_group::cloud::Meaning;

const IMAGE: &str = "quay.io/example/flatcar:4593.2.5";

fn shape(fields: &Json) -> Value {
    let mut whole = json!({"cpu": {"cores": 2}, "memory": {"guest": "4Gi"}});
    let fields = fields.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(fields);
    complete(&schema::group_schema(), &whole)
}

fn spec<'a>(mark: &'a Mark, shape: &'a Value, image: &'a str) -> Spec<'a> {
    Spec {
        name: "workers-k3x9-0",
        attempt: 0,
        ordinal: 0,
        mark,
        image,
        user_data: b"{}",
        shape,
    }
}

/// The body of a machine, and of its Secret where it has one.
fn bodies(fields: &Json) -> Vec<Json> {
    let mut fields = fields.clone();
    let own = fields.as_object_mut().unwrap();
    let image = own.remove("image").unwrap_or_else(|| IMAGE.into());
    let bytes = own
        .remove("user_data_bytes")
        .and_then(|bytes| bytes.as_u64());
    let bytes = usize::try_from(bytes.unwrap_or(2)).unwrap();
    let user_data = STANDARD.encode("x".repeat(bytes));
    let (mark, shape) = (mark(), shape(&fields));
    let image = image.as_str().unwrap();
    let spec = spec(&mark, &shape, image);
    let shape = Shape::from_value(spec.shape).unwrap();
    assert_eq!(misfit(image, &shape), None);
    let mut bodies = vec![request::machine(
        &spec,
        &shape,
        Source::of(image).unwrap().within("vms"),
        &user_data,
    )];
    if request::needs_secret(&user_data) {
        let mut secret = request::secret(spec.name, "0f3c", &mark, &user_data);
        secret["data"]["userdata"] = "…".into();
        bodies.push(secret);
    }
    bodies
}

/// What KubeVirt makes of a body, with this status.
fn made(body: &Json, status: &Json) -> VirtualMachine {
    let mut made = body.clone();
    made["metadata"]["uid"] = "0f3c".into();
    made["metadata"]["creationTimestamp"] = "2026-11-30T01:00:01Z".into();
    made["status"] = status.clone();
    serde_json::from_value(made).unwrap()
}

#[test]
fn bodies_are_as_recorded() {
    are_as_recorded("kubevirt", 16, |fields| {
        let bodies = bodies(&serde_json::from_str(fields).unwrap());
        let bodies = bodies
            .iter()
            .map(|body| serde_json::to_string_pretty(body).unwrap() + "\n");
        bodies.collect()
    });
}

#[test]
fn user_data_stand_in_the_machine_up_to_what_kubevirt_takes() {
    for (bytes, is_secret) in [
        (0, false),
        (1, false),
        (2_047, false),
        (2_048, false),
        (2_049, true),
        (2_050, true),
    ] {
        let user_data = STANDARD.encode("x".repeat(bytes));
        assert_eq!(request::needs_secret(&user_data), is_secret, "{bytes}");
    }
}

#[test]
fn a_machine_shows_what_was_asked_for() {
    for fields in [
        json!({"labels": {"team": "a"}, "annotations": {"b": "1"}}),
        json!({"cpu": null, "memory": null, "instancetype": {"name": "u1.medium"}, "run_strategy": "RerunOnFailure"}),
    ] {
        let body = &bodies(&fields)[0];
        let shape = Shape::from_value(&shape(&fields)).unwrap();
        let machine = made(body, &json!({"printableStatus": "Running"})).machine(Vec::new());
        assert_eq!(machine.observed, Facet::wanted(FACETS, &shape));
        assert_eq!((machine.mark, machine.image.as_str()), (mark(), IMAGE));
        assert_eq!(machine.id, "workers-k3x9-0/0f3c");
        assert!(machine.created.is_some());
    }
}

#[test]
fn every_status_is_a_phase_and_says_why() {
    let waits = json!([
        {"type": "Ready", "status": "False", "reason": "GuestNotRunning", "message": "Guest VM is not reported as running"},
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available:\u{7} 3 Insufficient memory."},
        {"type": "LiveMigratable", "status": "False", "reason": "No", "message": "does not matter"},
    ]);
    for (status, strategy, phase, says) in [
        (
            json!({"printableStatus": "Running"}),
            "Always",
            Phase::Running,
            None,
        ),
        (
            json!({"printableStatus": "Migrating"}),
            "Always",
            Phase::Running,
            Some("Migrating"),
        ),
        (
            json!({"printableStatus": "Paused"}),
            "Always",
            Phase::Stopped,
            Some("Paused"),
        ),
        (
            json!({"printableStatus": "Stopped"}),
            "Halted",
            Phase::Stopped,
            Some("Stopped"),
        ),
        (
            json!({"printableStatus": "Stopped"}),
            "Always",
            Phase::Pending,
            Some("Stopped"),
        ),
        (
            json!({"printableStatus": "Stopped", "created": true}),
            "RerunOnFailure",
            Phase::Stopped,
            Some("Stopped"),
        ),
        (
            json!({"printableStatus": "Stopped"}),
            "RerunOnFailure",
            Phase::Pending,
            Some("Stopped"),
        ),
        (
            json!({"printableStatus": "Stopping"}),
            "Halted",
            Phase::Stopped,
            Some("Stopping"),
        ),
        (json!({}), "Always", Phase::Pending, None),
        (
            json!({"printableStatus": "CrashLoopBackOff"}),
            "Always",
            Phase::Failed,
            Some("CrashLoopBackOff"),
        ),
        (
            json!({"printableStatus": "Never heard of"}),
            "Always",
            Phase::Pending,
            Some("Never heard of"),
        ),
        (
            json!({"printableStatus": "ErrorUnschedulable", "conditions": waits}),
            "Always",
            Phase::Pending,
            Some(
                "ErrorUnschedulable; GuestNotRunning: Guest VM is not reported as running; Unschedulable: 0/3 nodes are available:\u{fffd} 3 Insufficient memory.",
            ),
        ),
    ] {
        let mut body = bodies(&json!({}))[0].clone();
        body["spec"]["runStrategy"] = strategy.into();
        let machine = made(&body, &status).machine(Vec::new());
        assert_eq!(
            (machine.phase, machine.message.as_deref()),
            (phase, says),
            "{status}"
        );
    }
    let mut body = bodies(&json!({}))[0].clone();
    body["metadata"]["deletionTimestamp"] = "2026-11-30T02:00:00Z".into();
    let machine = made(&body, &json!({"printableStatus": "Running"})).machine(Vec::new());
    assert_eq!(machine.phase, Phase::Deleting);
}

#[test]
fn addresses_are_of_the_machines_own_instance() {
    let machine = made(
        &bodies(&json!({}))[0],
        &json!({"printableStatus": "Running"}),
    );
    let instance = |uid: &str| -> Instance {
        serde_json::from_value(json!({
            "metadata": {"name": "workers-k3x9-0", "ownerReferences": [{"uid": uid}]},
            "status": {"interfaces": [{"ipAddress": "10.0.0.5", "ipAddresses": ["10.0.0.5", "fd00::5"]}, {"name": "without"}]},
        }))
        .unwrap()
    };
    assert!(instance("0f3c").is_of(&machine));
    assert!(!instance("earlier").is_of(&machine));
    let machine = machine.machine(instance("0f3c").addresses());
    assert_eq!(machine.addresses, ["10.0.0.5", "fd00::5"]);
}

#[test]
fn an_image_says_what_it_is_made_from() {
    for (image, source) in [
        (IMAGE, Some(Source::ContainerDisk(IMAGE))),
        ("https://a/b.qcow2", Some(Source::Http("https://a/b.qcow2"))),
        ("docker://a/b", Some(Source::Registry("docker://a/b"))),
        ("pvc:a", Some(Source::Claim(None, "a"))),
        ("pvc:a/b", Some(Source::Claim(Some("a"), "b"))),
        (
            "pvc:images/flatcar-4593.2.5",
            Some(Source::Claim(Some("images"), "flatcar-4593.2.5")),
        ),
        ("snapshot:a", Some(Source::Snapshot(None, "a"))),
        ("snapshot:a/b/c", None),
        ("pvc:../secrets/a", None),
        ("pvc:", None),
        ("ftp://a/b", None),
        ("https://", None),
        ("a b", None),
        ("", None),
    ] {
        assert_eq!(Source::of(image), source, "{image}");
    }
}

#[test]
fn what_does_not_fit_together_is_said_on_its_attribute() {
    let volume = json!({"name": "root", "storage": "1Gi"});
    for (fields, at) in [
        (json!({}), vec![]),
        (json!({"cpu": null}), vec!["cpu"]),
        (
            json!({"instancetype": {"name": "a"}}),
            vec!["cpu", "memory"],
        ),
        (
            json!({"container_disk": {}, "data_volume": {"storage": "1Gi"}}),
            vec!["container_disk"],
        ),
        (
            json!({"data_volumes": [volume]}),
            vec!["data_volumes[0].name"],
        ),
        (
            json!({"networks": [{"name": "a"}, {"name": "b"}]}),
            vec!["networks"],
        ),
        (
            json!({"networks": [{"name": "a", "binding": "sriov"}]}),
            vec!["networks[0].binding"],
        ),
        (
            json!({"networks": [{"name": "a", "multus": {"network_name": "b"}}]}),
            vec!["networks[0].binding"],
        ),
        (
            json!({"labels": {"flatcar-uid": "a"}}),
            vec![r#"labels["flatcar-uid"]"#],
        ),
        (
            json!({"labels": {"vm.kubevirt.io/name": "a"}}),
            vec![r#"labels["vm.kubevirt.io/name"]"#],
        ),
        (
            json!({"labels": {"team": "a b"}}),
            vec![r#"labels["team"]"#],
        ),
        (
            json!({"annotations": {"a b": "c"}}),
            vec![r#"annotations["a b"]"#],
        ),
        (json!({"annotations": {"a": "b c"}}), vec![]),
    ] {
        let found = validate(&shape(&fields)).0;
        let found: Vec<String> = found
            .iter()
            .filter_map(|one| Some(one.path.as_ref()?.to_string()))
            .collect();
        assert_eq!(found, at, "{fields}");
    }
    assert!(validate(&Value::unknown()).0.is_empty());
    for (text, is_one) in [
        ("20Gi", true),
        ("20", true),
        ("Gi", false),
        ("20 Gi", false),
        ("-1Gi", false),
        ("", false),
    ] {
        assert_eq!(is_quantity(text), is_one, "{text}");
    }
    assert!(is_checksum(&format!("sha512:{}", "0".repeat(128))));
    assert!(!is_checksum(&format!("sha512:{}", "0".repeat(64))));
    assert!(!is_checksum("md5:0"));
}

#[test]
fn refusals_mean_what_their_reasons_say() {
    for (status, words, kind, attribute) in [
        (
            409,
            r#"virtualmachines.kubevirt.io "a" already exists (AlreadyExists)"#,
            Kind::AlreadyExists,
            None,
        ),
        (
            409,
            "the object has been modified (Conflict)",
            Kind::Unavailable,
            None,
        ),
        (
            403,
            "forbidden: exceeded quota: vms (Forbidden)",
            Kind::Quota,
            None,
        ),
        (
            403,
            "status unknown for quota: vms (Forbidden)",
            Kind::Unavailable,
            None,
        ),
        (
            403,
            "unable to create new content in namespace a because it is being terminated (Forbidden)",
            Kind::BadRequest,
            Some("kubevirt.namespace"),
        ),
        (
            403,
            r#"is forbidden: User "u" cannot create (Forbidden)"#,
            Kind::Forbidden,
            None,
        ),
        (
            404,
            r#"namespaces "a" not found (NotFound)"#,
            Kind::BadRequest,
            Some("kubevirt.namespace"),
        ),
        (
            404,
            "the server could not find the requested resource (NotFound)",
            Kind::BadRequest,
            None,
        ),
        (
            404,
            r#"virtualmachines.kubevirt.io "a" not found (NotFound)"#,
            Kind::NotFound,
            None,
        ),
        (
            422,
            "spec.template.spec.domain.cpu.cores: Invalid value (Invalid)",
            Kind::BadRequest,
            Some("kubevirt.cpu"),
        ),
        (
            422,
            "spec.template.spec.networks[0]: Invalid value (Invalid)",
            Kind::BadRequest,
            Some("kubevirt.networks"),
        ),
        (
            429,
            "too many requests (TooManyRequests)",
            Kind::RateLimit,
            None,
        ),
        (
            504,
            "the request timed out (Timeout)",
            Kind::Unavailable,
            None,
        ),
    ] {
        let found = Meaning::find(api::MEANINGS, Some(status), "", words);
        let blamed = found.1.filter(|_| attribute.is_some());
        assert_eq!((found.0, blamed), (kind, attribute), "{status} {words}");
    }
}
