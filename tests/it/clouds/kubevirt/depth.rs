//! What KubeVirt alone promises.

use flatcar::provider::Value;
use flatcar::worker_group::cloud::{
    CloudError, Deletion, Growth, Kind, Machine, Mark, Phase, Spec,
};
use futures::FutureExt as _;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::subject::{SECRET, refusal};
use super::world::{World, text, until};
use crate::worker_group::behaviours::errors_at;
use crate::worker_group::{Behaviour, Bench, Shown};

macro_rules! behaviours {
    ($($says:literal => $show:ident,)*) => {
        pub(super) const BEHAVIOURS: &[Behaviour] = &[
            $(Behaviour { says: $says, show: |bench| $show(bench).boxed() },)*
        ];
    };
}

behaviours! {
    "a machine carries what the user wrote, the mark in labels, and few user data itself" => as_written,
    "many user data are in a Secret that the machine owns, and that goes with it" => in_a_secret,
    "a machine whose Secret was never made is failed, and the next try of its create makes it" => secret_missing,
    "a machine without its Secret stays failed in a state that has taken it" => secret_missing_in_state,
    "a machine whose Secret is refused goes at once" => secret_refused,
    "a machine of the same name and another uid is never touched" => namesake,
    "a machine that a finalizer holds is going until that is taken off" => held,
    "labels of others stay, whoever changes a machine meanwhile" => meanwhile,
    "the run strategy and annotations change in place, and a stopped machine stays stopped" => in_place,
    "what cannot be placed says so in the scheduler's words" => unschedulable,
    "a guest that ends in failure says so" => failing,
    "what the cluster lacks is told by the preflight, each on its attribute" => preflight,
    "what a role lacks is told by the preflight, and makes nothing" => preflight_of_roles,
}

async fn make(
    bench: &Bench<'_>,
    changes: &[(&str, Json)],
    length: usize,
) -> Result<Machine, CloudError> {
    let shape = bench.shape_with(changes);
    let name = bench.name(0);
    let user_data = long(length);
    let spec = Spec {
        shape: &shape,
        user_data: user_data.as_bytes(),
        ..bench.spec(&name, 0)
    };
    bench.cloud.create(&spec).await
}

fn long(length: usize) -> String {
    let contents = "x".repeat(length);
    format!(
        r#"{{"ignition":{{"version":"3.4.0"}},"storage":{{"files":[{{"path":"/a","contents":{{"source":"data:,{contents}"}}}}]}}}}"#
    )
}

const MANY: usize = 4_000;

async fn as_written(bench: &Bench<'_>) -> Shown {
    let kubevirt = World::seen_by(bench);
    let changes = [
        ("mac_policy", json!("derived")),
        ("annotations", json!({"example.com/note": "b"})),
    ];
    let created = make(bench, &changes, 10).await.expect("creates");
    let machine = bench.booted(&created.id).await;
    let one = kubevirt.machine(&machine.name).await;
    for (key, value) in bench.mark.pairs() {
        assert_eq!(one["metadata"]["labels"][key], value);
    }
    assert_eq!(one["metadata"]["annotations"]["example.com/note"], "b");
    let guest = &one["spec"]["template"]["spec"];
    assert_eq!(guest["domain"]["memory"]["guest"], "128Mi");
    let mac = text(&guest["domain"]["devices"]["interfaces"][0]["macAddress"]);
    assert!(mac.starts_with("02:") && mac.len() == 17, "{mac}");
    let volumes = guest["volumes"].as_array().expect("volumes");
    assert_eq!(volumes[0]["containerDisk"]["image"], bench.image());
    assert!(volumes[1]["cloudInitConfigDrive"]["userDataBase64"].is_string());
    assert!(kubevirt.secrets().await.is_empty());
    Ok(())
}

async fn in_a_secret(bench: &Bench<'_>) -> Shown {
    let kubevirt = World::seen_by(bench);
    let created = make(bench, &[], MANY).await.expect("creates");
    let machine = bench.booted(&created.id).await;
    let one = kubevirt.machine(&machine.name).await;
    let volumes = &one["spec"]["template"]["spec"]["volumes"];
    let name = text(&volumes[1]["cloudInitConfigDrive"]["secretRef"]["name"]);
    assert!(!one.to_string().contains("userDataBase64"));
    let secret = kubevirt
        .server
        .ask(Method::GET, &kubevirt.at("secrets", &name), None)
        .await;
    assert!(secret["data"]["userdata"].is_string(), "{name}");
    assert_eq!(
        secret["metadata"]["ownerReferences"][0]["uid"],
        one["metadata"]["uid"]
    );
    bench.delete(&machine).await;
    assert!(
        kubevirt.secrets().await.is_empty(),
        "it goes before its machine"
    );
    Ok(())
}

async fn secret_missing(bench: &Bench<'_>) -> Shown {
    let kubevirt = World::seen_by(bench);
    kubevirt
        .proxy
        .each(SECRET, || refusal(500, "InternalError", "As ordered."));
    let error = make(bench, &[], MANY).await.expect_err("is half made");
    assert_eq!(error.kind, Kind::Ambiguous, "{error}");
    let listed = bench.list().await;
    assert_eq!(listed[0].phase, Phase::Failed, "{listed:?}");
    let message = listed[0].message.clone().unwrap_or_default();
    assert!(message.contains("Secret"), "{message}");
    bench.subject.calm().await;
    let again = make(bench, &[], MANY).await.expect("makes the rest");
    assert_eq!(again.id, listed[0].id);
    let machine = bench.booted(&again.id).await;
    assert_eq!(machine.phase, Phase::Running, "{machine:?}");
    assert_eq!(kubevirt.secrets().await.len(), 1);
    Ok(())
}

async fn secret_missing_in_state(bench: &Bench<'_>) -> Shown {
    let kubevirt = World::seen_by(bench);
    kubevirt
        .proxy
        .each(SECRET, || refusal(500, "InternalError", "As ordered."));
    make(bench, &[], MANY).await.expect_err("is half made");
    bench.subject.calm().await;
    let listed = bench.list().await;
    let saved = Mark {
        unsaved: false,
        ..bench.mark.clone()
    };
    bench
        .cloud
        .mark(&listed, &saved, &Value::Null)
        .await
        .expect("marks");
    let listed = bench.list().await;
    assert!(!listed[0].mark.unsaved);
    assert_eq!(listed[0].phase, Phase::Failed, "{listed:?}");
    Ok(())
}

async fn secret_refused(bench: &Bench<'_>) -> Shown {
    let kubevirt = World::seen_by(bench);
    let says = r#"secrets "w" is forbidden: exceeded quota: vms, requested: secrets=1, used: secrets=9, limited: secrets=9"#;
    kubevirt.refuse(SECRET, 403, "Forbidden", says);
    let error = make(bench, &[], MANY).await.expect_err("is refused");
    assert_eq!(error.kind, Kind::Quota, "{error}");
    until("it is gone", || async {
        bench.list().await.is_empty().then_some(())
    })
    .await;
    Ok(())
}

async fn namesake(bench: &Bench<'_>) -> Shown {
    let kubevirt = World::seen_by(bench);
    let first = bench.create(0).await.expect("creates");
    kubevirt.remove(&first.name).await;
    let spec = json!({"runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {}}}}});
    let body = json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": first.name}, "spec": spec});
    let path = kubevirt.at("virtualmachines", "");
    let other = kubevirt.server.ask(Method::POST, &path, Some(&body)).await;
    let machines = std::slice::from_ref(&first);
    for shape in [&Value::Null, &bench.shape] {
        bench
            .cloud
            .mark(machines, &bench.mark, shape)
            .await
            .expect("passes it over");
    }
    bench.cloud.start(machines).await.expect("passes it over");
    assert_eq!(
        bench.cloud.delete(&first).await.expect("is gone"),
        Deletion::Gone
    );
    assert!(
        bench
            .cloud
            .find(std::slice::from_ref(&first.id))
            .await
            .expect("finds")
            .is_empty()
    );
    let now = kubevirt.machine(&first.name).await;
    assert_eq!(now["metadata"]["uid"], other["metadata"]["uid"]);
    assert_eq!(now["metadata"]["labels"], Json::Null);
    assert_eq!(now["spec"]["runStrategy"], "Halted");
    let error = bench.create(0).await.expect_err("the name is taken");
    assert_eq!(error.kind, Kind::AlreadyExists, "{error}");
    Ok(())
}

async fn held(bench: &Bench<'_>) -> Shown {
    let kubevirt = World::seen_by(bench);
    let machine = bench.create(0).await.expect("creates");
    let one = kubevirt.machine(&machine.name).await;
    let mut finalizers = one["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    finalizers.push(json!("example.com/held"));
    kubevirt
        .change(
            &machine.name,
            &json!({"metadata": {"finalizers": finalizers}}),
        )
        .await;
    assert_eq!(
        bench.cloud.delete(&machine).await.expect("deletes"),
        Deletion::Going
    );
    until("all others are done with it", || async {
        let one = kubevirt.machine(&machine.name).await;
        (one["metadata"]["finalizers"] == json!(["example.com/held"])).then_some(())
    })
    .await;
    assert_eq!(bench.list().await[0].phase, Phase::Deleting);
    assert_eq!(
        bench.cloud.delete(&machine).await.expect("deletes"),
        Deletion::Going
    );
    kubevirt
        .change(&machine.name, &json!({"metadata": {"finalizers": null}}))
        .await;
    bench.gone(&machine).await;
    bench.deleted(&machine).await;
    Ok(())
}

async fn meanwhile(bench: &Bench<'_>) -> Shown {
    let kubevirt = World::seen_by(bench);
    let machine = bench.create(0).await.expect("creates");
    let other = json!({"metadata": {"labels": {"other": "1"}, "annotations": {"other": "1"}}});
    kubevirt.change(&machine.name, &other).await;
    let shape = bench.shape_with(&[("labels", json!({"team": "b"}))]);
    let seen = bench.list().await;
    // Somebody is faster than the patch that takes a label off.
    let (calls, tries) = (&kubevirt.proxy, std::sync::atomic::AtomicUsize::new(0));
    calls.order(move |_, call| {
        let is_first = call == "patch virtualmachines (take off)"
            && tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        match is_first {
            true => refusal(409, "Conflict", "the object has been modified; please apply your changes to the latest version and try again"),
            false => crate::proxy::Fate::Pass,
        }
    });
    bench
        .cloud
        .mark(&seen, &bench.mark, &shape)
        .await
        .expect("marks");
    let one = kubevirt.machine(&machine.name).await;
    let labels = &one["metadata"]["labels"];
    assert_eq!(
        (&labels["other"], &labels["team"], &labels["cost"]),
        (&json!("1"), &json!("b"), &Json::Null)
    );
    assert_eq!(one["metadata"]["annotations"]["other"], "1");
    let of_pods = &one["spec"]["template"]["metadata"]["labels"];
    assert_eq!(
        (&of_pods["team"], &of_pods["cost"]),
        (&json!("b"), &Json::Null)
    );
    Ok(())
}

async fn in_place(bench: &Bench<'_>) -> Shown {
    let kubevirt = World::seen_by(bench);
    bench.create(0).await.expect("creates");
    let changes = [
        ("run_strategy", json!("RerunOnFailure")),
        ("annotations", json!({"a": "1"})),
    ];
    let shape = bench.shape_with(&changes);
    bench
        .cloud
        .mark(&bench.list().await, &bench.mark, &shape)
        .await
        .expect("marks");
    let listed = bench.list().await;
    for (key, value) in bench.cloud.wanted(&shape) {
        assert_eq!(listed[0].observed.get(&key), Some(&value), "{key}");
    }
    kubevirt.stop(&listed[0].name).await;
    bench
        .cloud
        .mark(&bench.list().await, &bench.mark, &shape)
        .await
        .expect("marks");
    let one = kubevirt.machine(&listed[0].name).await;
    assert_eq!(one["spec"]["runStrategy"], "Halted");
    bench
        .cloud
        .start(&bench.list().await)
        .await
        .expect("starts");
    let machine = bench.booted(&listed[0].id).await;
    assert_eq!(machine.phase, Phase::Running, "{machine:?}");
    let one = kubevirt.machine(&listed[0].name).await;
    assert_eq!(one["spec"]["runStrategy"], "RerunOnFailure");
    Ok(())
}

async fn unschedulable(bench: &Bench<'_>) -> Shown {
    let changes = [("node_selector", json!({"disk": "none-such"}))];
    make(bench, &changes, 10).await.expect("creates");
    let machine = until("the scheduler has spoken", || async {
        let listed = bench.list().await;
        let message = listed[0].message.clone().unwrap_or_default();
        message
            .contains("ErrorUnschedulable")
            .then(|| listed[0].clone())
    })
    .await;
    assert_eq!(machine.phase, Phase::Pending, "{machine:?}");
    let message = machine.message.unwrap_or_default();
    assert!(message.contains("nodes are available"), "{message}");
    Ok(())
}

async fn failing(bench: &Bench<'_>) -> Shown {
    let changes = [("annotations", json!({"test/boot": "fail"}))];
    make(bench, &changes, 10).await.expect("creates");
    let machine = until("it has given up", || async {
        let listed = bench.list().await;
        (listed[0].phase == Phase::Failed).then(|| listed[0].clone())
    })
    .await;
    let message = machine.message.unwrap_or_default();
    assert!(message.contains("CrashLoopBackOff"), "{message}");
    Ok(())
}

async fn preflight(bench: &Bench<'_>) -> Shown {
    let missing = |kind: &str| json!({"name": "none-such", "kind": kind});
    for (changes, image, blamed) in [
        (
            vec![
                ("instancetype", missing("VirtualMachineInstancetype")),
                ("preference", missing("VirtualMachineClusterPreference")),
                ("cpu", Json::Null),
                ("memory", Json::Null),
            ],
            bench.image(),
            vec!["kubevirt.instancetype", "kubevirt.preference"],
        ),
        (
            vec![(
                "networks",
                json!([{"name": "a", "multus": {"network_name": "none-such"}, "binding": "bridge"}]),
            )],
            bench.image(),
            vec!["kubevirt.networks"],
        ),
        (vec![], "https://example.com/flatcar.qcow2", vec!["image"]),
        (
            vec![("data_volume", json!({"storage": "20Gi"}))],
            bench.image(),
            vec!["image"],
        ),
    ] {
        let shape = bench.shape_with(&changes);
        let problems = bench
            .cloud
            .preflight(image, &shape, Growth::by(1))
            .await
            .expect("asks");
        let found: Vec<String> = errors_at(&problems).into_iter().collect();
        assert_eq!(found, blamed, "{problems:?}");
    }
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn preflight_of_roles(bench: &Bench<'_>) -> Shown {
    let kubevirt = World::seen_by(bench);
    let says = r#"secrets is forbidden: User "u" cannot create resource "secrets" in API group "" in the namespace "vms""#;
    let trial = "create secrets (trial)";
    kubevirt.refuse(trial, 403, "Forbidden", says);
    let problems = bench
        .cloud
        .preflight(bench.image(), &bench.shape, Growth::by(1))
        .await;
    let problems = problems.expect("asks").0;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let detail = &problems[0].detail;
    assert!(
        detail.contains("resources: [\"secrets\"], verbs: [\"create\"]"),
        "{detail}"
    );
    assert!(bench.list().await.is_empty());
    Ok(())
}
