//! What Azure alone promises: parts that go with their machine and never stay behind, zones in
//! turn, pools of load balancers, plans.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use flatcar::kubernetes::Host;
use flatcar::provider::{Severity, Value};
use flatcar::worker_group::cloud::{
    Cloud, CloudError, Deletion, Growth, Kind, Machine, Mark, Phase, Spec,
};
use futures::FutureExt as _;
use futures::future::join_all;
use serde_json::{Value as Json, json};

use super::subject::{CREATE, LIST};
use super::world::World;
use crate::proxy::Fate;
use crate::worker_group::{Act, Behaviour, Bench, Shown, connect};

macro_rules! behaviours {
    ($($says:literal => $show:ident,)*) => {
        pub(super) const BEHAVIOURS: &[Behaviour] = &[
            $(Behaviour { says: $says, show: |bench| $show(bench).boxed() },)*
        ];
    };
}

behaviours! {
    "interface, address and disks go with their machine" => parts_go_along,
    "what never came to be is swept, and what somebody else tagged so stays" => swept,
    "what a refused create has made is swept" => refused_is_swept,
    "what a create of this state that was killed has left goes with the next one" => killed_is_swept,
    "a machine that somebody made where one of ours was is not touched" => namesake,
    "a repeat puts nothing over a machine that runs" => repeat_puts_nothing,
    "an interface of a stranger is never put over" => strangers_interface,
    "a zone without room gives way to the next one, and all of them are told" => next_zone,
    "an allocation that fails later is a failed machine, and the next attempt begins in another zone" => failed_later,
    "a quota says which it is and how much is left" => quota_is_told,
    "an operation that takes its time is waited for" => slow_operation,
    "another operation in the way is waited for" => another_operation,
    "a list of twenty machines takes three calls" => three_calls,
    "a public address stands after the private one" => public_address,
    "security groups change in place" => regrouped,
    "a spot machine that was taken back is stopped, and can be started" => evicted,
    "a machine is entered in its pools when it is ready, and taken out before it goes" => pools,
    "a pool that drains is waited for" => drained,
    "another list of pools moves machines in place" => moved,
    "an image with a plan is made where its terms are accepted" => plan,
    "every option that Azure takes is taken" => all_options,
    "the preflight finds what does not fit, each on its attribute" => preflight,
    "a resource group that is gone is a group without machines" => gone_group,
    "a console that is not kept is none" => no_console,
}

async fn parts_go_along(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let before = azure.parts().await.len();
    let disks = json!([{"size_gb": 10}, {"size_gb": 20}]);
    let shape = bench.shape_with(&[("public_ip", json!(true)), ("data_disks", disks)]);
    let machine = create(bench, &shape, 0).await.expect("creates");
    assert_eq!(
        azure.parts().await.len(),
        before + 5,
        "an interface, an address and three disks"
    );
    bench.delete(&machine).await;
    assert_eq!(azure.parts().await.len(), before);
    Ok(())
}

async fn swept(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let before = azure.parts().await;
    // The machine's own call is never sent.
    azure.proxy.once(CREATE, || Fate::ResetBefore);
    let shape = bench.shape_with(&[("public_ip", json!(true))]);
    let cloud = connected(bench, &shape).await;
    let name = bench.name(0);
    cloud
        .create(&Spec {
            shape: &shape,
            ..bench.spec(&name, 0)
        })
        .await
        .expect_err("is lost");
    assert_eq!(azure.parts().await.len(), before.len() + 2);
    // A policy of the subscription copies tags, say.
    let others = azure.network("networkInterfaces/jumphost");
    let configuration =
        json!([{"name": "a", "properties": {"subnet": {"id": azure.subnet("workers")}}}]);
    let body = json!({"location": "westeurope", "tags": bench.mark.written(), "properties": {"ipConfigurations": configuration}});
    azure.put(&others, body).await;
    let running = create(bench, &bench.shape, 1).await.expect("creates");
    cloud.sweep(&bench.mark, 0).await.expect("sweeps");
    let left: BTreeSet<String> = azure.parts().await.into_iter().collect();
    assert!(left.contains(&others), "{left:?}");
    assert_eq!(
        left.len(),
        before.len() + 3,
        "that, and the parts of the machine that runs: {left:?}"
    );
    assert_eq!(bench.list().await[0].id, running.id);
    azure.remove(&others).await;
    Ok(())
}

async fn refused_is_swept(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let before = azure.parts().await.len();
    azure.control(json!({"cores": 0})).await;
    bench.create(0).await.expect_err("there is no quota");
    bench.cloud.sweep(&bench.mark, 0).await.expect("sweeps");
    assert_eq!(azure.parts().await.len(), before);
    Ok(())
}

async fn killed_is_swept(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let before = azure.parts().await.len();
    let shape = bench.shape_with(&[("public_ip", json!(true))]);
    let cloud = connected(bench, &shape).await;
    let of = |uid: &str, unsaved, origin: &str| Mark {
        uid: uid.to_owned(),
        unsaved,
        origin: origin.to_owned(),
        ..bench.mark.clone()
    };
    let (own, other) = ("0f3c9a1e5b7d2468", "8642d7b5e1a9c3f0");
    let left = async |mark: Mark| {
        azure.proxy.once(CREATE, || Fate::ResetBefore);
        let name = format!("{}-{}-0", mark.group, mark.uid);
        let spec = Spec {
            shape: &shape,
            mark: &mark,
            ..bench.spec(&name, 0)
        };
        cloud.create(&spec).await.expect_err("is lost");
    };
    left(of("killed", true, own)).await;
    left(of("elsewhere", true, other)).await;
    left(of("unknown", true, "")).await;
    left(of("saved", false, own)).await;
    assert_eq!(azure.parts().await.len(), before + 8);
    // The next create of that state; one of another, and what is no create, take nothing.
    for (unsaved, origin, stay) in [(false, own, 8), (true, "", 8), (true, own, 6)] {
        let asks = of("next", unsaved, origin);
        cloud.sweep(&asks, 0).await.expect("sweeps");
        let parts = azure.parts().await;
        assert_eq!(parts.len(), before + stay, "{unsaved} {origin}: {parts:?}");
    }
    let parts = azure.parts().await;
    assert!(!parts.iter().any(|id| id.contains("-killed-")), "{parts:?}");
    // What a machine uses stays.
    let used = of("running", true, own);
    let name = format!("{}-running-0", used.group);
    let spec = Spec {
        shape: &shape,
        mark: &used,
        ..bench.spec(&name, 0)
    };
    let running = cloud.create(&spec).await.expect("creates");
    let parts = azure.parts().await.len();
    let next = of("next", true, own);
    cloud.sweep(&next, 0).await.expect("sweeps");
    assert_eq!(azure.parts().await.len(), parts);
    bench.delete(&running).await;
    for uid in ["elsewhere", "unknown", "saved"] {
        cloud.sweep(&of(uid, false, ""), 0).await.expect("sweeps");
    }
    assert_eq!(azure.parts().await.len(), before);
    Ok(())
}

async fn namesake(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let ours = bench.create(0).await.expect("creates");
    azure.remove(&ours.id).await;
    // Somebody makes another one under its name, and a policy copies its tags.
    let theirs = bench.create(0).await.expect("creates");
    assert_ne!(theirs.id, ours.id);
    let found = bench.cloud.find(std::slice::from_ref(&ours.id)).await;
    assert_eq!(found.expect("finds"), []);
    let deleted = bench.cloud.delete(&ours).await.expect("answers");
    assert_eq!(deleted, Deletion::Gone);
    assert!(azure.get(&theirs.id).await.is_some());
    bench.delete(&theirs).await;
    Ok(())
}

async fn repeat_puts_nothing(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let machine = bench.create(0).await.expect("creates");
    azure.proxy.order(|_, _| Fate::Pass);
    let again = bench.create(0).await.expect("answers");
    assert_eq!(again.id, machine.id);
    let calls = azure.proxy.calls();
    assert!(calls.iter().all(|call| !call.contains("PUT")), "{calls:?}");
    Ok(())
}

async fn strangers_interface(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let nic = azure.network(&format!("networkInterfaces/{}-nic", bench.name(0)));
    let configuration =
        json!([{"name": "a", "properties": {"subnet": {"id": azure.subnet("workers")}}}]);
    azure
        .put(
            &nic,
            json!({"location": "westeurope", "properties": {"ipConfigurations": configuration}}),
        )
        .await;
    let error = bench.create(0).await.expect_err("the name is taken");
    assert_eq!(error.kind, Kind::AlreadyExists, "{error}");
    bench.cloud.sweep(&bench.mark, 0).await.expect("sweeps");
    assert!(azure.get(&nic).await.is_some());
    azure.remove(&nic).await;
    Ok(())
}

async fn next_zone(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let shape = bench.shape_with(&[("zones", json!(["1", "2"]))]);
    azure.control(json!({"full": ["1"]})).await;
    create(bench, &shape, 0).await.expect("creates");
    let listed = bench.list().await;
    assert_eq!(listed[0].zone, "westeurope-2");
    assert_eq!(listed[0].observed["zones"], "2");
    azure.control(json!({"full": ["1", "2"]})).await;
    let error = create(bench, &shape, 1)
        .await
        .expect_err("there is no room");
    assert_eq!(error.kind, Kind::Quota, "{error}");
    assert!(error.message.contains("SkuNotAvailable"), "{error}");
    assert_eq!(bench.list().await.len(), 1);
    bench.cloud.sweep(&bench.mark, 0).await.expect("sweeps");
    Ok(())
}

async fn failed_later(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let fault = json!({"match": "PUT .*virtualMachines", "kind": "operation", "code": "ZonalAllocationFailed", "text": "No capacity.", "times": 1});
    azure.control(json!({"faults": [fault]})).await;
    let shape = bench.shape_with(&[("zones", json!(["1", "2"]))]);
    let machine = create(bench, &shape, 0).await.expect("is accepted");
    let listed = bench.list().await;
    assert_eq!(listed[0].phase, Phase::Failed, "{listed:?}");
    let message = listed[0].message.as_deref().unwrap_or_default();
    assert!(
        message.contains("ZonalAllocationFailed: No capacity."),
        "{message}"
    );
    bench.delete(&machine).await;
    let name = bench.name(0);
    let cloud = connected(bench, &shape).await;
    cloud
        .create(&Spec {
            shape: &shape,
            attempt: 1,
            ..bench.spec(&name, 0)
        })
        .await
        .expect("creates");
    let listed = bench.list().await;
    assert_eq!(
        (listed[0].zone.as_str(), listed[0].name.as_str()),
        ("westeurope-2", name.as_str())
    );
    Ok(())
}

async fn quota_is_told(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    azure.control(json!({"cores": 1})).await;
    let error = bench.create(0).await.expect_err("there is no quota");
    assert!(
        error.message.contains("standardDSv5Family Cores quota"),
        "{error}"
    );
    assert!(error.message.contains("Current Limit: 1"), "{error}");
    let problems = bench
        .cloud
        .preflight(bench.image(), &bench.shape, Growth::by(3))
        .await
        .expect("asks");
    assert!(problems.has_errors(), "{problems:?}");
    assert!(
        problems.0[0]
            .detail
            .contains("may have 1 standardDSv5Family vCPUs"),
        "{problems:?}"
    );
    bench.cloud.sweep(&bench.mark, 0).await.expect("sweeps");
    Ok(())
}

async fn slow_operation(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    azure
        .control(json!({"seconds": {"create:microsoft.network/networkinterfaces": 0.3}}))
        .await;
    bench.create(0).await.expect("creates");
    assert!(
        azure
            .proxy
            .calls()
            .iter()
            .any(|call| call.contains("operations")),
        "{:?}",
        azure.proxy.calls()
    );
    let fault = json!({"match": "PUT .*networkInterfaces", "kind": "operation", "code": "QuotaExceeded", "text": "Too many.", "times": 1});
    azure.control(json!({"seconds": {"create:microsoft.network/networkinterfaces": 0.1}, "faults": [fault]})).await;
    let error = bench.create(1).await.expect_err("fails");
    assert_eq!(error.kind, Kind::Quota, "{error}");
    bench.cloud.sweep(&bench.mark, 0).await.expect("sweeps");
    Ok(())
}

async fn another_operation(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    azure.refuse(CREATE, 409, "RetryableErrorDueToAnotherOperation");
    let error = bench.create(0).await.expect_err("is refused");
    assert_eq!(error.kind, Kind::RateLimit, "{error}");
    bench.subject.calm().await;
    bench.create(0).await.expect("creates");
    Ok(())
}

async fn three_calls(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let created = join_all((0..20).map(|ordinal| bench.create(ordinal))).await;
    assert!(created.iter().all(Result::is_ok), "{created:?}");
    azure.proxy.order(|_, _| Fate::Pass);
    assert_eq!(bench.list().await.len(), 20);
    let mut calls = azure.proxy.calls();
    calls.sort();
    assert_eq!(
        calls,
        [
            "arm GET networkInterfaces",
            LIST,
            "arm GET virtualMachines?statusOnly"
        ]
    );
    Ok(())
}

async fn public_address(bench: &Bench<'_>) -> Shown {
    let shape = bench.shape_with(&[("public_ip", json!(true))]);
    create(bench, &shape, 0).await.expect("creates");
    let listed = bench.list().await;
    let [private, public] = &listed[0].addresses[..] else {
        panic!("two addresses: {listed:?}");
    };
    assert!(
        private.starts_with("10.0.") && public.starts_with("203.0.113."),
        "{listed:?}"
    );
    Ok(())
}

async fn regrouped(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let nsg = |name: &str| json!(azure.network(&format!("networkSecurityGroups/{name}")));
    let asgs = |names: &[&str]| {
        json!(
            names
                .iter()
                .map(|name| azure.network(&format!("applicationSecurityGroups/{name}")))
                .collect::<Vec<_>>()
        )
    };
    let first = bench.shape_with(&[
        ("network_security_group_id", nsg("one")),
        ("application_security_group_ids", asgs(&["one"])),
    ]);
    create(bench, &first, 0).await.expect("creates");
    for (nsg, asgs) in [
        (nsg("two"), asgs(&["one", "two"])),
        (Json::Null, Json::Null),
    ] {
        let shape = bench.shape_with(&[
            ("network_security_group_id", nsg),
            ("application_security_group_ids", asgs),
        ]);
        let before = bench.list().await;
        let wanted = bench.cloud.wanted(&shape);
        assert_ne!(
            before[0].observed["network_security_group_id"],
            wanted["network_security_group_id"]
        );
        bench
            .cloud
            .mark(&before, &bench.mark, &shape)
            .await
            .expect("changes");
        let after = bench.list().await;
        for (key, value) in &wanted {
            assert_eq!(after[0].observed.get(key), Some(value), "{key}");
        }
        assert_eq!(after[0].id, before[0].id);
    }
    Ok(())
}

async fn evicted(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let shape = bench.shape_with(&[
        ("priority", json!("Spot")),
        ("eviction_policy", json!("Deallocate")),
        ("max_bid_price", json!(0.05)),
    ]);
    let machine = create(bench, &shape, 0).await.expect("creates");
    azure
        .ask(
            reqwest::Method::POST,
            &format!(
                "{}/simulateEviction",
                machine.id.split('|').next().expect("a path")
            ),
            None,
        )
        .await;
    let listed = bench.list().await;
    assert_eq!(listed[0].phase, Phase::Stopped);
    assert!(
        listed[0]
            .message
            .as_deref()
            .is_some_and(|words| words.contains("deallocated")),
        "{listed:?}"
    );
    bench.cloud.start(&listed).await.expect("starts");
    assert_eq!(bench.list().await[0].phase, Phase::Running);
    Ok(())
}

async fn pools(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let (cloud, shape) = balanced(bench, &["workers"]).await;
    let machine = made(bench, cloud.as_ref(), &shape, 0).await;
    let hosts = [host(&machine)];
    assert!(members(azure, "workers").await.is_empty(), "not by itself");
    let places = cloud.members().expect("has pools");
    places.enter(&hosts).await.expect("enters");
    assert_eq!(members(azure, "workers").await.len(), 1);
    list(bench, cloud.as_ref()).await;
    let serving = places.enter(&hosts).await.expect("looks");
    assert_eq!(serving, [machine.name.clone()].into());
    places.leave(&hosts).await.expect("leaves");
    places.left(&hosts[0]).await.expect("has left");
    assert!(members(azure, "workers").await.is_empty());
    list(bench, cloud.as_ref()).await;
    assert_eq!(places.out(&hosts), [machine.name.clone()].into());
    // Somebody took it out: that is seen.
    let listed = list(bench, cloud.as_ref()).await;
    let key = format!(
        "load_balancer_backend_address_pool_ids.{}",
        azure.pool("workers")
    );
    assert_eq!(listed[0].observed.get(&key), None);
    assert!(cloud.wanted(&shape).contains_key(&key));
    Ok(())
}

async fn drained(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let (cloud, shape) = balanced(bench, &["slow"]).await;
    let machine = made(bench, cloud.as_ref(), &shape, 0).await;
    let hosts = [host(&machine)];
    let places = cloud.members().expect("has pools");
    places.enter(&hosts).await.expect("enters");
    list(bench, cloud.as_ref()).await;
    let began = Instant::now();
    places.leave(&hosts).await.expect("leaves");
    places.left(&hosts[0]).await.expect("has left");
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert!(members(azure, "slow").await.is_empty());
    Ok(())
}

async fn moved(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let (cloud, shape) = balanced(bench, &["workers"]).await;
    let machine = made(bench, cloud.as_ref(), &shape, 0).await;
    cloud
        .members()
        .expect("has pools")
        .enter(&[host(&machine)])
        .await
        .expect("enters");
    let (other, shape) = balanced(bench, &["slow"]).await;
    let listed = list(bench, other.as_ref()).await;
    other
        .mark(&listed, &bench.mark, &shape)
        .await
        .expect("moves");
    assert!(members(azure, "workers").await.is_empty());
    assert_eq!(members(azure, "slow").await.len(), 1);
    let listed = list(bench, other.as_ref()).await;
    for (key, value) in other.wanted(&shape) {
        assert_eq!(listed[0].observed.get(&key), Some(&value), "{key}");
    }
    Ok(())
}

async fn plan(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let image = "kinvolk:flatcar-container-linux-free:stable-gen2:latest";
    let plan = json!({"name": "stable-gen2", "product": "flatcar-container-linux-free", "publisher": "kinvolk"});
    let shape = bench.shape_with(&[("plan", plan)]);
    let ask = async |shape: &Value| {
        bench
            .cloud
            .preflight(image, shape, Growth::by(1))
            .await
            .expect("asks")
    };
    let problems = ask(&bench.shape).await;
    assert!(
        problems.0[0]
            .detail
            .contains("product = \"flatcar-container-linux-free\""),
        "{problems:?}"
    );
    let problems = ask(&shape).await;
    assert!(
        problems.0[0].detail.contains("az vm image terms accept"),
        "{problems:?}"
    );
    let accepted = format!(
        "/subscriptions/{}/providers/Microsoft.MarketplaceOrdering/offerTypes/virtualmachine/publishers/kinvolk/offers/\
         flatcar-container-linux-free/plans/stable-gen2/agreements/current",
        azure.subscription
    );
    azure.put(&accepted, json!({})).await;
    assert!(ask(&shape).await.is_empty());
    let name = bench.name(0);
    let cloud = connected(bench, &shape).await;
    cloud
        .create(&Spec {
            image,
            shape: &shape,
            ..bench.spec(&name, 0)
        })
        .await
        .expect("creates");
    assert_eq!(bench.list().await[0].image, image);
    let second = bench.name(1);
    let without = Spec {
        image,
        ..bench.spec(&second, 1)
    };
    let error = bench.cloud.create(&without).await.expect_err("has no plan");
    assert_eq!(
        (error.kind, error.attribute),
        (Kind::BadRequest, Some("azure.plan")),
        "{error}"
    );
    bench.cloud.sweep(&bench.mark, 0).await.expect("sweeps");
    Ok(())
}

async fn all_options(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let id = |kind: &str| format!("{}/providers/{kind}/x", azure.group());
    let shape = bench.shape_with(&[
        ("os_disk", json!({"size_gb": 64, "storage_account_type": "Premium_LRS", "disk_encryption_set_id": id("Microsoft.Compute/diskEncryptionSets")})),
        ("data_disks", json!([{"size_gb": 10, "storage_account_type": "StandardSSD_LRS"}])),
        ("public_ip", json!(true)),
        ("admin_username", json!("ops")),
        ("admin_ssh_keys", json!(["ssh-ed25519 AAAA ops"])),
        ("identity", json!({"type": "SystemAssigned, UserAssigned", "identity_ids": [id("Microsoft.ManagedIdentity/userAssignedIdentities")]})),
        ("proximity_placement_group_id", json!(id("Microsoft.Compute/proximityPlacementGroups"))),
        ("capacity_reservation_group_id", json!(id("Microsoft.Compute/capacityReservationGroups"))),
        ("accelerated_networking_enabled", json!(true)),
        ("user_data_as", json!("custom_data")),
        ("boot_diagnostics", json!(false)),
    ]);
    // The stand-in refuses what Microsoft's types do not know.
    create(bench, &shape, 0).await.expect("creates");
    Ok(())
}

async fn preflight(bench: &Bench<'_>) -> Shown {
    let azure = World::seen_by(bench);
    let image = bench.image();
    for (change, image, blamed) in [
        (
            ("vm_size", json!("Standard_Nothing")),
            image,
            "azure.vm_size",
        ),
        (("vm_size", json!("Standard_M128s")), image, "azure.vm_size"),
        (("vm_size", json!("Standard_D2ps_v5")), image, "image"),
        (("zones", json!(["1", "9"])), image, "azure.zones[1]"),
        (
            ("resource_group_name", json!("nowhere")),
            image,
            "azure.resource_group_name",
        ),
        (
            ("os_disk", json!({"size_gb": 5})),
            image,
            "azure.os_disk.size_gb",
        ),
        (
            ("os_disk", json!({"ephemeral": true})),
            image,
            "azure.os_disk",
        ),
        (
            ("data_disks", json!(vec![json!({"size_gb": 1}); 5])),
            image,
            "azure.data_disks",
        ),
        (
            (
                "load_balancer_backend_address_pool_ids",
                json!([azure.pool("nowhere")]),
            ),
            image,
            "azure.load_balancer_backend_address_pool_ids",
        ),
        (
            ("tags", json!({})),
            "/CommunityGalleries/x/Images/y",
            "image",
        ),
        (("tags", json!({})), "nonsense", "image"),
    ] {
        let what = format!("{change:?} {image}");
        let shape = bench.shape_with(&[change]);
        let problems = bench
            .cloud
            .preflight(image, &shape, Growth::by(1))
            .await
            .expect("asks");
        let errors = problems
            .0
            .iter()
            .filter(|one| one.severity == Severity::Error);
        let paths: Vec<String> = errors
            .filter_map(|one| Some(one.path.as_ref()?.to_string()))
            .collect();
        assert_eq!(paths, [blamed], "{what}: {problems:?}");
    }
    let community = "/CommunityGalleries/flatcar-23485951-527a-48d6-9d11-6931ff0afc2e/Images/flatcar-stable-amd64/Versions/latest";
    let problems = bench
        .cloud
        .preflight(community, &bench.shape, Growth::by(1))
        .await
        .expect("asks");
    assert!(problems.is_empty(), "{problems:?}");
    Ok(())
}

async fn gone_group(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    let shape = bench.shape_with(&[("resource_group_name", json!("nowhere"))]);
    let cloud = connected(bench, &shape).await;
    assert!(list(bench, cloud.as_ref()).await.is_empty());
    cloud.sweep(&bench.mark, 0).await.expect("sweeps nothing");
    let elsewhere = Machine {
        id: machine.id.replace("/workers/", "/nowhere/"),
        ..machine
    };
    assert_eq!(
        cloud.delete(&elsewhere).await.expect("is gone"),
        flatcar::worker_group::cloud::Deletion::Gone
    );
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

async fn no_console(bench: &Bench<'_>) -> Shown {
    let shape = bench.shape_with(&[("boot_diagnostics", json!(false))]);
    let machine = create(bench, &shape, 0).await.expect("creates");
    assert_eq!(bench.cloud.console(&machine).await.expect("asks"), None);
    bench.subject.behind(&machine, Act::Remove).await?;
    Ok(())
}

async fn connected(bench: &Bench<'_>, shape: &Value) -> Box<dyn Cloud> {
    let cloud = connect(bench.subject, &bench.subject.configuration(0), shape, None).await;
    cloud.unwrap_or_else(|problems| panic!("{problems:?}"))
}

async fn create(bench: &Bench<'_>, shape: &Value, ordinal: u64) -> Result<Machine, CloudError> {
    let name = bench.name(ordinal);
    bench
        .cloud
        .create(&Spec {
            shape,
            ..bench.spec(&name, ordinal)
        })
        .await
}

async fn balanced(bench: &Bench<'_>, names: &[&str]) -> (Box<dyn Cloud>, Value) {
    let azure = World::seen_by(bench);
    let pools: Vec<String> = names.iter().map(|name| azure.pool(name)).collect();
    let shape = bench.shape_with(&[("load_balancer_backend_address_pool_ids", json!(pools))]);
    (connected(bench, &shape).await, shape)
}

/// A machine as it is listed.
async fn made(bench: &Bench<'_>, cloud: &dyn Cloud, shape: &Value, ordinal: u64) -> Machine {
    let name = bench.name(ordinal);
    cloud
        .create(&Spec {
            shape,
            ..bench.spec(&name, ordinal)
        })
        .await
        .expect("creates");
    list(bench, cloud).await.remove(0)
}

async fn list(bench: &Bench<'_>, cloud: &dyn Cloud) -> Vec<Machine> {
    cloud
        .list(&bench.mark.cluster, &bench.mark.group)
        .await
        .expect("lists")
}

/// Interfaces in a pool.
async fn members(azure: &World, pool: &str) -> Vec<Json> {
    let pool = azure.get(&azure.pool(pool)).await.expect("is there");
    pool["properties"]["backendIPConfigurations"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

fn host(machine: &Machine) -> Host {
    Host {
        name: machine.name.clone(),
        id: machine.id.clone(),
        addresses: machine.addresses.clone(),
        created: machine.created,
    }
}
