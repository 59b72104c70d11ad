//! What Compute Engine alone promises.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use flatcar::provider::Severity;
use flatcar::worker_group::cloud::{
    CloudError, Deletion, Growth, Kind, Machine, Mark, Members, Phase, Spec,
};
use futures::FutureExt as _;
use serde_json::{Value as Json, json};

use super::subject::{CREATE, ended, refusal};
use super::world::{World, ZONES, at};
use crate::proxy::Fate;
use crate::worker_group::behaviours::errors_at;
use crate::worker_group::{Behaviour, Bench, Shown, connect};

macro_rules! behaviours {
    ($($says:literal => $show:ident,)*) => {
        pub(super) const BEHAVIOURS: &[Behaviour] = &[
            $(Behaviour { says: $says, show: |bench| $show(bench).boxed() },)*
        ];
    };
}

behaviours! {
    "an instance carries what the user wrote, the mark in labels, and user data in metadata" => as_written,
    "machines are spread over the zones, and a zone without room gives them to the next one" => next_zone,
    "a machine that no zone has room for is told in Google's words, and makes nothing" => no_zone,
    "a machine that is in another zone already is not made a second time" => other_zone,
    "an answer that Google gives again to the same request is looked at again" => replayed,
    "a failure that Google tells again is not the last word" => failed_again,
    "an operation that goes on is left to itself" => slow_operation,
    "an instance of the same name and another number is never touched" => namesake,
    "a label that somebody changes meanwhile stays" => outdated_labels,
    "metadata and tags change in place, beside what others wrote, and user data stay" => in_place,
    "a machine that is protected is told as such, and goes when it is no longer" => protected,
    "a part of a list is no list" => unreachable,
    "what is suspended is resumed" => suspended,
    "a machine is in the instance groups of its own zone, and out of them before it goes" => instance_groups,
    "an instance group that somebody emptied is drift, and is mended in place" => emptied_group,
    "connections get the time that the backend service gives them" => draining,
    "what the project lacks is told by the preflight, each on its attribute" => preflight,
    "a quota without room is told by the preflight" => preflight_quota,
}

async fn make(
    bench: &Bench<'_>,
    ordinal: u64,
    changes: &[(&str, Json)],
) -> Result<Machine, CloudError> {
    let shape = bench.shape_with(changes);
    let name = bench.name(ordinal);
    let spec = Spec {
        shape: &shape,
        ..bench.spec(&name, ordinal)
    };
    bench.cloud.create(&spec).await
}

async fn as_written(bench: &Bench<'_>) -> Shown {
    let gcp = World::seen_by(bench);
    let changes = [
        ("subnetwork", json!("workers")),
        ("access_config", json!({"network_tier": "PREMIUM"})),
        ("boot_disk", json!({"size_gb": 20, "type": "pd-ssd"})),
        (
            "data_disks",
            json!([{"device_name": "data", "size_gb": 10, "type": "pd-balanced"}]),
        ),
        ("metadata", json!({"serial-port-enable": "TRUE"})),
    ];
    let created = make(bench, 0, &changes).await.expect("creates");
    let machine = bench.booted(&created.id).await;
    let zone = ZONES[0];
    assert_eq!(machine.zone, zone);
    assert_eq!(machine.addresses.len(), 2, "{machine:?}");
    let one = gcp.instance(&machine.id);
    for (key, value) in bench.mark.pairs() {
        assert_eq!(one["labels"][key], value);
    }
    let items = one["metadata"]["items"].as_array().expect("metadata");
    let item = |key: &str| {
        items
            .iter()
            .find(|item| item["key"] == key)
            .map(|item| item["value"].clone())
    };
    assert_eq!(
        item("user-data"),
        Some(json!(r#"{"ignition":{"version":"3.4.0"}}"#))
    );
    assert_eq!(item("serial-port-enable"), Some(json!("TRUE")));
    let disks = one["disks"].as_array().expect("disks");
    assert!(
        disks.iter().all(|disk| disk["autoDelete"] == true),
        "{disks:?}"
    );
    assert_eq!(disks.len(), 2);
    bench.delete(&machine).await;
    let left = gcp.server().ask(
        "GET",
        &format!("zones/{zone}/disks?filter=name%3D{}", machine.name),
        None,
    );
    assert_eq!(left["items"], Json::Null, "disks go with their instance");
    Ok(())
}

const SHORT: &str = "The zone 'projects/test-project/zones/europe-west3-a' does not have enough resources available to fulfill the request.";

async fn next_zone(bench: &Bench<'_>) -> Shown {
    let gcp = World::seen_by(bench);
    let [first, second] = [0, 1].map(|ordinal| bench.create(ordinal));
    assert_eq!(first.await.expect("creates").zone, ZONES[0]);
    assert_eq!(second.await.expect("creates").zone, ZONES[1]);
    // Twice: what is over at once might be an old answer.
    let tries = AtomicUsize::new(0);
    gcp.proxy.order(move |_, call| {
        match call == CREATE && tries.fetch_add(1, Ordering::Relaxed) < 2 {
            true => ended("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", SHORT),
            false => Fate::Pass,
        }
    });
    let third = bench.create(2).await.expect("creates in the next one");
    assert_eq!(third.zone, ZONES[1]);
    let listed = bench.list().await;
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert_eq!(bench.create(2).await.expect("creates again").id, third.id);
    Ok(())
}

async fn no_zone(bench: &Bench<'_>) -> Shown {
    fails(bench, 0, 2);
    let error = bench.create(0).await.expect_err("no room");
    assert_eq!(error.kind, Kind::Quota, "{error}");
    assert!(
        error.message.contains("ZONE_RESOURCE_POOL_EXHAUSTED"),
        "{error}"
    );
    assert!(error.message.contains("enough resources"), "{error}");
    assert!(bench.list().await.is_empty());
    let made = bench.create(0).await.expect("creates once there is room");
    assert_eq!(bench.booted(&made.id).await.phase, Phase::Running);
    Ok(())
}

/// So many of the operations that make this machine end for want of room.
fn fails(bench: &Bench<'_>, ordinal: u64, times: u32) {
    let name = bench.name(ordinal);
    let fault = json!({
        "match": format!("^POST .*/instances\\?.*{name:?}"), "kind": "operation", "code": "ZONE_RESOURCE_POOL_EXHAUSTED", "text": SHORT, "times": times,
    });
    let server = World::seen_by(bench).server();
    server.control(&json!({"faults": [fault]}));
}

async fn other_zone(bench: &Bench<'_>) -> Shown {
    let turned = [("zones", json!([ZONES[1], ZONES[0]]))];
    let first = bench.create(0).await.expect("creates");
    assert_eq!(first.zone, ZONES[0]);
    let other = bench.plainly().await;
    let shape = bench.shape_with(&turned);
    let name = bench.name(0);
    let spec = Spec {
        shape: &shape,
        ..bench.spec(&name, 0)
    };
    let second = other.create(&spec).await.expect("finds it");
    assert_eq!(second.id, first.id);
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn replayed(bench: &Bench<'_>) -> Shown {
    let one = [("zones", json!([ZONES[0]]))];
    let first = make(bench, 0, &one).await.expect("creates");
    let first = bench.booted(&first.id).await;
    bench.delete(&first).await;
    let again = make(bench, 0, &one).await.expect("answers");
    assert_eq!(
        (&again.id, again.phase),
        (&first.id, Phase::Failed),
        "{again:?}"
    );
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn failed_again(bench: &Bench<'_>) -> Shown {
    let one = [("zones", json!([ZONES[0]]))];
    fails(bench, 0, 1);
    let error = make(bench, 0, &one).await.expect_err("no room");
    assert_eq!(error.kind, Kind::Quota, "{error}");
    // The same request would be answered with the same operation.
    let made = make(bench, 0, &one)
        .await
        .expect("creates by another request");
    assert_eq!(bench.booted(&made.id).await.phase, Phase::Running);
    Ok(())
}

async fn slow_operation(bench: &Bench<'_>) -> Shown {
    World::seen_by(bench).proxy.order(|_, call| match call {
        "compute GET /zones/{id}/operations/{id}" => refusal(403, "forbidden", "No."),
        _ => Fate::Pass,
    });
    let machine = make(bench, 0, &[]).await.expect("was taken on");
    assert_eq!(machine.phase, Phase::Pending);
    assert_eq!(bench.booted(&machine.id).await.phase, Phase::Running);
    Ok(())
}

async fn namesake(bench: &Bench<'_>) -> Shown {
    let gcp = World::seen_by(bench);
    let first = bench.create(0).await.expect("creates");
    gcp.remove(&first.id);
    let body = json!({
        "name": first.name, "machineType": format!("zones/{}/machineTypes/e2-small", ZONES[0]),
        "disks": [{"boot": true, "autoDelete": true, "initializeParams": {"sourceImage": bench.image()}}], "networkInterfaces": [{"network": "global/networks/default"}],
        "labels": bench.mark.written(),
    });
    gcp.server().ask(
        "POST",
        &format!("zones/{}/instances", ZONES[0]),
        Some(&body),
    );
    let listed = bench.list().await;
    assert_eq!(listed.len(), 1);
    let (same, other) = (&listed[0], &first);
    assert_eq!(same.name, other.name);
    assert_ne!(same.id, other.id);
    assert_eq!(
        bench.cloud.delete(other).await.expect("is gone"),
        Deletion::Gone
    );
    let saved = Mark {
        unsaved: false,
        ..bench.mark.clone()
    };
    bench
        .cloud
        .mark(std::slice::from_ref(other), &saved, &bench.shape)
        .await
        .expect("marks nothing");
    assert!(
        bench
            .cloud
            .find(std::slice::from_ref(&other.id))
            .await
            .expect("finds")
            .is_empty()
    );
    let still = gcp.instance(&same.id);
    assert_eq!(
        still["labels"]["flatcar-unsaved"],
        bench.mark.written()["flatcar-unsaved"]
    );
    let error = bench.create(0).await.expect_err("is none of ours");
    assert_eq!(error.kind, Kind::AlreadyExists, "{error}");
    gcp.remove(&same.id);
    Ok(())
}

async fn outdated_labels(bench: &Bench<'_>) -> Shown {
    let gcp = World::seen_by(bench);
    let machine = bench.create(0).await.expect("creates");
    bench.list().await;
    gcp.relabel(&machine.id, |labels| {
        labels.insert("stranger".to_owned(), json!("1"));
    });
    let saved = Mark {
        unsaved: false,
        ..bench.mark.clone()
    };
    bench
        .cloud
        .mark(std::slice::from_ref(&machine), &saved, &bench.shape)
        .await
        .expect("marks");
    let labels = &gcp.instance(&machine.id)["labels"];
    assert_eq!(labels["stranger"], "1");
    assert_eq!(
        labels["flatcar-unsaved"],
        saved.written()["flatcar-unsaved"]
    );
    Ok(())
}

async fn in_place(bench: &Bench<'_>) -> Shown {
    let gcp = World::seen_by(bench);
    let created = make(bench, 0, &[("metadata", json!({"a": "1", "b": "2"}))])
        .await
        .expect("creates");
    let machine = bench.booted(&created.id).await;
    let mut metadata = gcp.instance(&machine.id)["metadata"].clone();
    metadata["items"]
        .as_array_mut()
        .expect("items")
        .push(json!({"key": "ssh-keys", "value": "x"}));
    let body = json!({"items": metadata["items"], "fingerprint": metadata["fingerprint"]});
    gcp.server().ask(
        "POST",
        &format!("{}/setMetadata", at(&machine.id)),
        Some(&body),
    );
    let changes = [
        ("metadata", json!({"b": "3", "c": "4"})),
        ("network_tags", json!(["ssh"])),
    ];
    let shape = bench.shape_with(&changes);
    let differs = |machine: &Machine, field: &str| {
        machine.observed.get(field) != bench.cloud.wanted(&shape).get(field)
    };
    assert!(differs(&machine, "metadata") && differs(&machine, "network_tags"));
    bench
        .cloud
        .mark(std::slice::from_ref(&machine), &bench.mark, &shape)
        .await
        .expect("marks");
    let machine = &bench.list().await[0];
    assert!(
        !differs(machine, "metadata") && !differs(machine, "network_tags"),
        "{machine:?}"
    );
    let one = gcp.instance(&machine.id);
    let items = one["metadata"]["items"].as_array().expect("items");
    let mut items: Vec<(&str, &str)> = items
        .iter()
        .map(|item| {
            (
                item["key"].as_str().unwrap(),
                item["value"].as_str().unwrap(),
            )
        })
        .collect();
    items.sort_unstable();
    let expected = [
        ("b", "3"),
        ("c", "4"),
        ("flatcar-metadata-keys", "b,c"),
        ("ssh-keys", "x"),
        ("user-data", r#"{"ignition":{"version":"3.4.0"}}"#),
    ];
    assert_eq!(items, expected);
    assert_eq!(one["tags"]["items"], json!(["ssh"]));
    Ok(())
}

async fn protected(bench: &Bench<'_>) -> Shown {
    let created = make(bench, 0, &[("deletion_protection", json!(true))])
        .await
        .expect("creates");
    let machine = bench.booted(&created.id).await;
    let error = bench
        .cloud
        .delete(&machine)
        .await
        .expect_err("is protected");
    assert_eq!(
        (error.kind, error.attribute),
        (Kind::BadRequest, Some("gcp.deletion_protection")),
        "{error}"
    );
    assert_eq!(bench.list().await[0].phase, Phase::Running);
    bench
        .cloud
        .mark(std::slice::from_ref(&machine), &bench.mark, &bench.shape)
        .await
        .expect("lets it go");
    bench.delete(&machine).await;
    Ok(())
}

async fn unreachable(bench: &Bench<'_>) -> Shown {
    bench.create(0).await.expect("creates");
    let gcp = World::seen_by(bench);
    for body in [
        r#"{"items": {}, "unreachables": ["zones/europe-west3-a"]}"#,
        r#"{"items": {"zones/europe-west3-a": {"warning": {"code": "UNREACHABLE"}}}}"#,
    ] {
        gcp.proxy
            .order(move |_, call| match call == super::subject::LIST {
                true => Fate::Changed(Box::new(move |_| body.to_owned())),
                false => Fate::Pass,
            });
        let Mark { cluster, group, .. } = &bench.mark;
        let error = bench
            .cloud
            .list(cluster, group)
            .await
            .expect_err("a part only");
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        assert!(error.message.contains("europe-west3-a"), "{error}");
    }
    Ok(())
}

async fn suspended(bench: &Bench<'_>) -> Shown {
    let gcp = World::seen_by(bench);
    let machine = bench.create(0).await.expect("creates");
    gcp.server()
        .ask("POST", &format!("{}/suspend", at(&machine.id)), None);
    let listed = bench.list().await;
    assert_eq!(listed[0].phase, Phase::Stopped, "{listed:?}");
    bench.cloud.start(&listed).await.expect("starts");
    assert_eq!(bench.booted(&machine.id).await.phase, Phase::Running);
    Ok(())
}

fn host(machine: &Machine) -> flatcar::kubernetes::Host {
    flatcar::kubernetes::Host {
        name: machine.name.clone(),
        id: machine.id.clone(),
        addresses: Vec::new(),
        created: None,
    }
}

/// A cloud of a shape with instance groups, and machines in both zones.
async fn with_groups(
    bench: &Bench<'_>,
    name: &str,
) -> (
    Box<dyn flatcar::worker_group::cloud::Cloud>,
    flatcar::provider::Value,
    Vec<String>,
) {
    let gcp = World::seen_by(bench);
    let links: Vec<String> = ZONES
        .iter()
        .map(|zone| {
            let path = format!("zones/{zone}/instanceGroups");
            gcp.server()
                .ask("POST", &path, Some(&json!({"name": name})));
            format!("projects/test-project/{path}/{name}")
        })
        .collect();
    let shape = bench.shape_with(&[("instance_groups", json!(links))]);
    let configuration = bench.subject.configuration(2);
    let cloud = connect(bench.subject, &configuration, &shape, None)
        .await
        .expect("connects");
    for ordinal in 0..2 {
        let name = bench.name(ordinal);
        let spec = Spec {
            shape: &shape,
            ..bench.spec(&name, ordinal)
        };
        let created = cloud.create(&spec).await.expect("creates");
        bench.booted(&created.id).await;
    }
    (cloud, shape, links)
}

async fn members_of(bench: &Bench<'_>, name: &str) -> BTreeSet<String> {
    let gcp = World::seen_by(bench);
    let of_zone = |zone: &&str| {
        let path = format!("zones/{zone}/instanceGroups/{name}/listInstances");
        let listed = gcp.server().ask("POST", &path, Some(&json!({})));
        let listed = listed["items"].as_array().cloned().unwrap_or_default();
        let names = listed.iter().map(|one| {
            one["instance"]
                .as_str()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap()
                .to_owned()
        });
        names.collect::<Vec<_>>()
    };
    ZONES.iter().flat_map(of_zone).collect()
}

async fn instance_groups(bench: &Bench<'_>) -> Shown {
    let name = format!("in-{}", bench.mark.cluster);
    let (cloud, shape, _) = with_groups(bench, &name).await;
    let Mark { cluster, group, .. } = &bench.mark;
    let listed = cloud.list(cluster, group).await.expect("lists");
    let members: &dyn Members = cloud.members().expect("has some");
    let hosts: Vec<_> = listed.iter().map(host).collect();
    let names: BTreeSet<String> = listed.iter().map(|machine| machine.name.clone()).collect();
    members.enter(&hosts).await.expect("enters");
    assert_eq!(members_of(bench, &name).await, names);
    let listed = cloud.list(cluster, group).await.expect("lists");
    assert_eq!(members.enter(&hosts).await.expect("are in"), names);
    for machine in &listed {
        for (key, value) in cloud.wanted(&shape) {
            assert_eq!(
                machine.observed.get(&key),
                Some(&value),
                "{key}: {machine:?}"
            );
        }
    }
    members.leave(&hosts[..1]).await.expect("leaves");
    members.left(&hosts[0]).await.expect("is out");
    assert_eq!(
        members_of(bench, &name).await,
        [hosts[1].name.clone()].into()
    );
    assert_eq!(members.out(&hosts), [hosts[0].name.clone()].into());
    members.leave(&hosts[..1]).await.expect("leaves again");
    // A group that the user takes out: machines are taken out of it in place.
    cloud
        .mark(&listed, &bench.mark, &bench.shape)
        .await
        .expect("marks");
    assert!(members_of(bench, &name).await.is_empty());
    Ok(())
}

async fn emptied_group(bench: &Bench<'_>) -> Shown {
    let gcp = World::seen_by(bench);
    let name = format!("em-{}", bench.mark.cluster);
    let (cloud, shape, links) = with_groups(bench, &name).await;
    let Mark { cluster, group, .. } = &bench.mark;
    let listed = cloud.list(cluster, group).await.expect("lists");
    cloud
        .mark(&listed, &bench.mark, &shape)
        .await
        .expect("enters");
    let everybody: BTreeSet<String> = listed.iter().map(|machine| machine.name.clone()).collect();
    assert_eq!(members_of(bench, &name).await, everybody);
    let first = listed
        .iter()
        .find(|machine| machine.zone == ZONES[0])
        .expect("one there");
    let body = json!({"instances": [{"instance": format!("https://www.googleapis.com/compute/v1/projects/test-project/zones/{}/instances/{}", ZONES[0], first.name)}]});
    gcp.server().ask(
        "POST",
        &format!("zones/{}/instanceGroups/{name}/removeInstances", ZONES[0]),
        Some(&body),
    );
    let listed = cloud.list(cluster, group).await.expect("lists");
    let key = format!("instance_groups.{}", links[0]);
    let seen = listed
        .iter()
        .filter(|machine| !machine.observed.contains_key(&key));
    assert_eq!(
        seen.map(|machine| &machine.id).collect::<Vec<_>>(),
        [&first.id]
    );
    cloud
        .mark(&listed, &bench.mark, &shape)
        .await
        .expect("enters again");
    assert_eq!(members_of(bench, &name).await, everybody);
    Ok(())
}

async fn draining(bench: &Bench<'_>) -> Shown {
    let gcp = World::seen_by(bench);
    let name = format!("dr-{}", bench.mark.cluster);
    let (cloud, _, links) = with_groups(bench, &name).await;
    let service = json!({
        "name": name, "backends": [{"group": format!("https://www.googleapis.com/compute/v1/{}", links[0])}], "connectionDraining": {"drainingTimeoutSec": 2},
    });
    gcp.server()
        .ask("POST", "global/backendServices", Some(&service));
    let Mark { cluster, group, .. } = &bench.mark;
    let listed = cloud.list(cluster, group).await.expect("lists");
    let members = cloud.members().expect("has some");
    let hosts: Vec<_> = listed
        .iter()
        .filter(|machine| machine.zone == ZONES[0])
        .map(host)
        .collect();
    members.enter(&hosts).await.expect("enters");
    cloud.list(cluster, group).await.expect("lists");
    let began = std::time::Instant::now();
    members.leave(&hosts).await.expect("leaves");
    assert!(!members_of(bench, &name).await.contains(&hosts[0].name));
    members.left(&hosts[0]).await.expect("is out");
    assert!(began.elapsed().as_secs() >= 2, "{:?}", began.elapsed());
    Ok(())
}

async fn preflight(bench: &Bench<'_>) -> Shown {
    let told = async |image: &str, changes: &[(&str, Json)]| {
        let shape = bench.shape_with(changes);
        let problems = bench
            .cloud
            .preflight(image, &shape, Growth::by(1))
            .await
            .expect("asks");
        let warnings = problems
            .0
            .iter()
            .filter(|problem| problem.severity == Severity::Warning);
        let warnings: Vec<String> = warnings.map(|problem| problem.summary.clone()).collect();
        (
            errors_at(&problems).into_iter().collect::<Vec<_>>(),
            warnings,
        )
    };
    let image = bench.image();
    let path = |name: &str| format!("projects/kinvolk-public/global/images/{name}");
    let subnetwork = "projects/test-project/regions/us-central1/subnetworks/workers";
    let one = |zone: &str| json!([zone]);
    let link = format!(
        "projects/test-project/zones/{}/instanceGroups/nobodys",
        ZONES[0]
    );
    for (image, changes, errors, warnings) in [
        (
            image,
            vec![("machine_type", json!("giant-1"))],
            vec!["gcp.machine_type"],
            vec![],
        ),
        (
            image,
            vec![
                ("machine_type", json!("n2-standard-2")),
                ("zones", json!([ZONES[0], "us-central1-a"])),
            ],
            vec![],
            vec!["Some zones have no such machine type"],
        ),
        (
            image,
            vec![("machine_type", json!("t2a-standard-2"))],
            vec!["gcp.machine_type"],
            vec![],
        ),
        (
            image,
            vec![("subnetwork", json!("nobodys")), ("zones", one(ZONES[0]))],
            vec!["gcp.subnetwork"],
            vec![],
        ),
        (
            image,
            vec![("subnetwork", json!(subnetwork)), ("zones", one(ZONES[0]))],
            vec!["gcp.subnetwork"],
            vec![],
        ),
        (
            image,
            vec![("boot_disk", json!({"size_gb": 5}))],
            vec!["gcp.boot_disk.size_gb"],
            vec![],
        ),
        (
            image,
            vec![("instance_groups", json!([link]))],
            vec!["gcp.instance_groups"],
            vec!["Some zones have no instance group"],
        ),
        (
            &path("flatcar-stable-4152-2-0"),
            vec![],
            vec![],
            vec!["Image is deprecated"],
        ),
        (
            &path("flatcar-stable-3975-2-0"),
            vec![],
            vec!["image"],
            vec![],
        ),
        ("flatcar-stable", vec![], vec!["image"], vec![]),
        (&path("family/flatcar-stable"), vec![], vec![], vec![]),
    ] {
        let (found, warned) = told(image, &changes).await;
        assert_eq!(
            (found, warned),
            (
                errors.iter().map(ToString::to_string).collect(),
                warnings.iter().map(ToString::to_string).collect()
            ),
            "{image} {changes:?}"
        );
    }
    // What cannot be is refused by a create, too.
    for (attribute, value, blamed) in [
        ("machine_type", json!("giant-1"), "gcp.machine_type"),
        ("subnetwork", json!("nobodys"), "gcp.subnetwork"),
        ("boot_disk", json!({"size_gb": 5}), "gcp.boot_disk"),
    ] {
        let error = make(bench, 0, &[(attribute, value)])
            .await
            .expect_err("cannot be");
        assert_eq!(
            (error.kind, error.attribute),
            (Kind::BadRequest, Some(blamed)),
            "{error}"
        );
    }
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn preflight_quota(bench: &Bench<'_>) -> Shown {
    let gcp = World::seen_by(bench);
    // Where no other test has machines: they would have no quota either.
    let shape = bench.shape_with(&[("zones", json!(["us-central1-a"]))]);
    for (metric, limit, severity) in [
        ("CPUS", 0, Some(Severity::Error)),
        ("INSTANCES", 0, Some(Severity::Error)),
        ("PREEMPTIBLE_CPUS", 0, None),
    ] {
        gcp.server()
            .control(&json!({"quotas": {"us-central1": {metric: limit}}}));
        let problems = bench
            .cloud
            .preflight(bench.image(), &shape, Growth::by(3))
            .await
            .expect("asks");
        let severities: Vec<Severity> = problems.0.iter().map(|problem| problem.severity).collect();
        assert_eq!(
            severities,
            Vec::from_iter(severity),
            "{metric}: {problems:?}"
        );
    }
    Ok(())
}
