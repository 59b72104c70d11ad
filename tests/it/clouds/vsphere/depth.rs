//! What vSphere alone promises.

use flatcar::worker_group::cloud::{CloudError, Deletion, Growth, Kind, Machine, Mark, Spec};
use futures::FutureExt as _;
use serde_json::{Value as Json, json};

use super::subject::{CONTINUE, LIST, PROPERTIES, fault_of};
use super::world::{IMAGES, World, called, until};
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
    "a machine has what the user wrote, its mark and its user data from the clone on" => as_written,
    "a session that has ended is opened anew, in a clone too" => session_ended,
    "a machine of the same name that is another one's is never touched" => namesake,
    "a machine that somebody has renamed, moved to another folder and to another host is found by its mark" => moved,
    "another machine that the server calls by the id of one that is gone is never touched" => another_of_its_id,
    "a machine that does not say which it is stays until it does" => speechless,
    "pages of a session that has ended are asked for again" => pages_end,
    "machines take addresses of a list, each another one, and free ones again" => addressed,
    "an address that another machine of the folder reports is not given" => reported,
    "two that take one address at a time do not run with it" => at_a_time,
    "the preflight counts the addresses that are free" => too_few_addresses,
    "a disk grows" => grown,
    "notes and parameters change in place, and those that left go" => in_place,
    "a machine whose guest need not shut down is powered off at once" => without_guest,
    "a guest that does not shut down in time is powered off" => guest_hangs,
    "what is not there is told by the preflight, each on its attribute" => preflight,
    "a server that is too old, and a wrong password, are told in one sentence" => logins,
    "a server is known by the thumbprint of its certificate, and another one is refused" => thumbprint,
    "a look at all machines costs two calls, however many there are" => two_calls,
}

async fn make(bench: &Bench<'_>, changes: &[(&str, Json)]) -> Result<Machine, CloudError> {
    let shape = bench.shape_with(changes);
    let name = bench.name(0);
    let spec = Spec {
        shape: &shape,
        ..bench.spec(&name, 0)
    };
    bench.cloud.create(&spec).await
}

async fn as_written(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let machine = make(bench, &[("num_cpus", json!(3))])
        .await
        .expect("creates");
    let one = vsphere.machine(&machine.id).await.expect("is there");
    for (key, value) in bench.mark.pairs() {
        assert_eq!(one.parameter(&key.replacen('-', ".", 1)), value, "{key}");
    }
    assert_eq!(one.name, bench.name(0));
    assert!(one.is_on);
    assert_eq!(one.hardware["numCPU"], 3);
    assert_eq!(one.hardware["memoryMB"], 2048);
    assert_eq!(one.parameter("team"), "a");
    let encoding = one.parameter("guestinfo.ignition.config.data.encoding");
    let data = one.parameter("guestinfo.ignition.config.data");
    let is_packed = data.starts_with("H4sI");
    assert_eq!(encoding, if is_packed { "gzip+base64" } else { "base64" });
    assert!(!data.is_empty());
    // Flatcar writes over it once it has run.
    let data = ("guestinfo.ignition.config.data", "e30=");
    vsphere.set(&machine.id, &[data]).await;
    let listed = bench.list().await;
    assert_eq!(listed[0].mark, bench.mark);
    let wanted = bench
        .cloud
        .wanted(&bench.shape_with(&[("num_cpus", json!(3))]));
    for (key, value) in wanted {
        assert_eq!(listed[0].observed.get(&key), Some(&value), "{key}");
    }
    Ok(())
}

async fn session_ended(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    vsphere.proxy.once(LIST, || fault_of("NotAuthenticated"));
    assert!(bench.list().await.is_empty());
    let clone = super::subject::CREATE;
    vsphere.proxy.once(clone, || fault_of("NotAuthenticated"));
    make(bench, &[]).await.expect("creates");
    assert_eq!(bench.list().await.len(), 1);
    let calls = vsphere.proxy.calls();
    let logins = calls.iter().filter(|call| *call == "vSphere Login");
    assert_eq!(logins.count(), 1, "{calls:?}");
    Ok(())
}

async fn namesake(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let (name, shape) = (bench.name(7), bench.shape_with(&[]));
    let spec = Spec {
        image: IMAGES[1],
        shape: &shape,
        ..bench.spec(&name, 7)
    };
    let other = bench.cloud.create(&spec).await.expect("creates");
    let rename = json!({"newName": bench.name(0)});
    vsphere
        .server
        .ask("VirtualMachine", &other.id, "Rename_Task", &rename)
        .await;
    let error = make(bench, &[]).await.expect_err("the name is taken");
    assert_eq!(error.kind, Kind::AlreadyExists, "{error}");
    assert!(error.message.contains(&other.id), "{error}");
    assert_eq!(
        vsphere.machine(&other.id).await.expect("is there").name,
        bench.name(0)
    );
    Ok(())
}

async fn moved(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let machine = make(bench, &[]).await.expect("creates");
    let elsewhere = json!({"list": [{"type": "VirtualMachine", "value": called(&machine.id)}]});
    let rename = json!({"newName": format!("{}-renamed", machine.name)});
    vsphere
        .server
        .ask("VirtualMachine", &machine.id, "Rename_Task", &rename)
        .await;
    let all = vsphere.vm_folder().await;
    vsphere
        .server
        .ask("Folder", &all, "MoveIntoFolder_Task", &elsewhere)
        .await;
    assert!(
        vsphere
            .machines()
            .await
            .iter()
            .all(|one| one.id != machine.id)
    );
    let host = vsphere.server.at_path("DC0/host/DC0_C0/DC0_C0_H1").await;
    let there = json!({"spec": {"host": {"type": "HostSystem", "value": host}}});
    vsphere
        .server
        .ask("VirtualMachine", &machine.id, "RelocateVM_Task", &there)
        .await;
    let listed = bench.list().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, machine.id);
    assert_eq!(listed[0].mark, bench.mark);
    for (key, value) in bench.cloud.wanted(&bench.shape_with(&[])) {
        assert_eq!(listed[0].observed.get(&key), Some(&value), "{key}");
    }
    bench.delete(&listed[0]).await;
    Ok(())
}

async fn another_of_its_id(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let other = make(bench, &[]).await.expect("creates");
    let gone = Machine {
        id: format!("{}|50000000-0000-4000-8000-000000000000", called(&other.id)),
        ..other.clone()
    };
    let found = bench.cloud.find(std::slice::from_ref(&gone.id)).await;
    assert_eq!(found.expect("answers"), []);
    let answer = bench.cloud.delete(&gone).await.expect("answers");
    assert_eq!(answer, Deletion::Gone);
    assert!(vsphere.machine(&other.id).await.expect("is there").is_on);
    Ok(())
}

async fn speechless(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let machine = make(bench, &[]).await.expect("creates");
    // Of a machine whose files cannot be reached there is no configuration.
    let of = json!({"type": "VirtualMachine", "value": called(&machine.id)});
    let mute = json!({"objects": [{"obj": of, "propSet": []}]}).to_string();
    let answer = move || Fate::Answer {
        status: 200,
        headers: Vec::new(),
        body: mute.clone(),
    };
    vsphere.proxy.each(PROPERTIES, answer);
    let found = bench.cloud.find(std::slice::from_ref(&machine.id)).await;
    let found: Vec<String> = found
        .expect("finds")
        .into_iter()
        .map(|one| one.id)
        .collect();
    assert_eq!(found, std::slice::from_ref(&machine.id));
    let error = bench.cloud.delete(&machine).await.expect_err("is not told");
    assert!(error.is_retryable(), "{error}");
    vsphere.proxy.order(|_, _| Fate::Pass);
    assert!(vsphere.machine(&machine.id).await.expect("is there").is_on);
    bench.delete(&machine).await;
    Ok(())
}

async fn pages_end(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    make(bench, &[]).await.expect("creates");
    bench.subject.small_pages().await?;
    vsphere.proxy.once(CONTINUE, || fault_of("InvalidArgument"));
    let whose = (bench.mark.cluster.as_str(), bench.mark.group.as_str());
    let error = bench.cloud.list(whose.0, whose.1).await;
    let error = error.expect_err("a page is missing");
    assert!(error.is_retryable(), "{error}");
    assert_eq!(bench.list().await.len(), 1);
    Ok(())
}

/// A network of this behaviour alone, whose machines are known to all.
fn listed(network: u8, list: &[&str]) -> (&'static str, Json) {
    let cidr = format!("198.51.{network}.0/24");
    let of = |ends: &&str| {
        let ends: Vec<String> = ends
            .split('-')
            .map(|end| format!("198.51.{network}.{end}"))
            .collect();
        ends.join("-")
    };
    let list: Vec<String> = list.iter().map(of).collect();
    (
        "addresses",
        json!({"cidr": cidr, "list": list, "interface": "en*"}),
    )
}

async fn addressed(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let shape = bench.shape_with(&[listed(100, &["10-11", "20"])]);
    let create = async |ordinal: u64| {
        let name = bench.name(ordinal);
        let spec = Spec {
            shape: &shape,
            ..bench.spec(&name, ordinal)
        };
        bench.cloud.create(&spec).await
    };
    let made = futures::join!(create(0), create(1), create(3));
    let made = [made.0, made.1, made.2].map(|made| made.expect("creates"));
    let mut has: Vec<&str> = made.iter().map(|one| one.addresses[0].as_str()).collect();
    assert_eq!(has[1], "198.51.100.11", "that of its ordinal");
    has.sort_unstable();
    assert_eq!(has, ["198.51.100.10", "198.51.100.11", "198.51.100.20"]);
    for listed in bench.list().await {
        let made = made
            .iter()
            .find(|made| made.id == listed.id)
            .expect("is made");
        assert_eq!(listed.addresses[0], made.addresses[0]);
        assert_eq!(listed.observed["addresses.list"], made.addresses[0]);
        let one = vsphere.machine(&made.id).await.expect("is there");
        assert!(one.is_on);
        assert_eq!(one.parameter("flatcar.address"), made.addresses[0]);
    }
    let error = create(4).await.expect_err("there are no more");
    assert_eq!(error.kind, Kind::Quota, "{error}");
    assert_eq!(error.attribute, Some("vsphere.addresses"));
    let gone = &made[1];
    bench.delete(gone).await;
    let next = create(4).await.expect("creates");
    assert_eq!(next.addresses[0], gone.addresses[0]);
    // Another process knows what the machines say.
    let other = bench.plainly().await;
    let name = bench.name(5);
    let spec = Spec {
        shape: &shape,
        ..bench.spec(&name, 5)
    };
    let error = other.create(&spec).await.expect_err("there are no more");
    assert_eq!(error.kind, Kind::Quota, "{error}");
    Ok(())
}

async fn reported(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let other = bench.create(9).await.expect("creates");
    vsphere.report(&other.name, "198.51.101.10").await;
    let made = make(bench, &[listed(101, &["10-11"])]).await;
    assert_eq!(made.expect("creates").addresses[0], "198.51.101.11");
    Ok(())
}

async fn at_a_time(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let shape = bench.shape_with(&[listed(102, &["10-29"])]);
    let other = bench.plainly().await;
    let create = async |cloud: &dyn flatcar::worker_group::cloud::Cloud, ordinal: u64| {
        let name = bench.name(ordinal);
        let spec = Spec {
            shape: &shape,
            ..bench.spec(&name, ordinal)
        };
        for _ in 0..20 {
            match cloud.create(&spec).await {
                Err(error) if error.is_retryable() => {
                    let is_there = vsphere.machines().await;
                    let named = is_there.iter().find(|one| one.name == name);
                    assert!(named.is_none_or(|one| !one.is_on), "{error}");
                }
                made => return made.expect("creates"),
            }
        }
        panic!("they never part")
    };
    // Of twenty addresses these two are the same one's.
    let (one, two) = futures::join!(create(bench.cloud.as_ref(), 0), create(other.as_ref(), 20));
    assert_ne!(one.addresses[0], two.addresses[0]);
    // Somebody gives a machine that is off an address that is taken.
    vsphere.stop(&one.id).await;
    let address = two.addresses[0].as_str();
    vsphere.set(&one.id, &[("flatcar.address", address)]).await;
    let stopped = bench.cloud.find(&[one.id]).await.expect("finds");
    let error = bench.cloud.start(&stopped).await.expect_err("it is taken");
    assert!(error.message.contains(&two.name), "{error}");
    Ok(())
}

async fn too_few_addresses(bench: &Bench<'_>) -> Shown {
    let shape = bench.shape_with(&[listed(103, &["10-12"])]);
    for (machines, at) in [(3, vec![]), (4, vec!["vsphere.addresses"])] {
        let growth = Growth::by(machines);
        let found = bench.cloud.preflight(IMAGES[0], &shape, growth).await;
        let found = errors_at(&found.expect("answers"));
        assert_eq!(found.into_iter().collect::<Vec<String>>(), at);
    }
    Ok(())
}

async fn grown(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let machine = make(bench, &[("disk_size", json!(37))])
        .await
        .expect("creates");
    let one = vsphere.machine(&machine.id).await.expect("is there");
    let devices = one.hardware["device"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let disk = devices.iter().find(|one| one["_typeName"] == "VirtualDisk");
    assert_eq!(disk.expect("a disk")["capacityInKB"], 37 * 1024 * 1024);
    Ok(())
}

async fn in_place(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let machine = make(bench, &[]).await.expect("creates");
    vsphere.set(&machine.id, &[("stranger", "1")]).await;
    let changes = [
        ("annotation", json!("On call: team b")),
        (
            "extra_config",
            json!({"team": "b", "disk.enableUUID": "TRUE"}),
        ),
    ];
    let shape = bench.shape_with(&changes);
    let listed = bench.list().await;
    let mark = Mark {
        proof: String::new(),
        unsaved: false,
        ..bench.mark.clone()
    };
    bench
        .cloud
        .mark(&listed, &mark, &shape)
        .await
        .expect("changes");
    let one = vsphere.machine(&machine.id).await.expect("is there");
    assert_eq!(one.annotation, "On call: team b");
    for (key, value) in [
        ("team", "b"),
        ("disk.enableUUID", "TRUE"),
        ("cost", ""),
        ("stranger", "1"),
        ("flatcar.proof", &bench.mark.proof),
    ] {
        assert_eq!(one.parameter(key), value, "{key}");
    }
    let listed = bench.list().await;
    for (key, value) in bench.cloud.wanted(&shape) {
        assert_eq!(listed[0].observed.get(&key), Some(&value), "{key}");
    }
    assert!(!listed[0].mark.unsaved);
    Ok(())
}

async fn without_guest(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let at_once = ("shutdown_wait_timeout", json!(0));
    make(bench, &[at_once]).await.expect("creates");
    // Who deletes it may know no shape.
    let machine = bench.list().await.remove(0);
    vsphere.proxy.order(|_, _| Fate::Pass);
    bench.cloud.delete(&machine).await.expect("deletes");
    let calls = vsphere.proxy.calls();
    assert!(
        calls.iter().any(|call| call == "vSphere PowerOffVM_Task"),
        "{calls:?}"
    );
    assert!(
        calls.iter().all(|call| call != "vSphere ShutdownGuest"),
        "{calls:?}"
    );
    assert!(vsphere.machine(&machine.id).await.is_none());
    Ok(())
}

async fn guest_hangs(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let machine = make(bench, &[]).await.expect("creates");
    // Somebody powers it off at last.
    let hangs = "vSphere ShutdownGuest";
    vsphere.proxy.each(hangs, || super::subject::status(204));
    let answer = bench.cloud.delete(&machine).await.expect("deletes");
    assert_eq!(answer, Deletion::Going);
    assert!(vsphere.machine(&machine.id).await.expect("is there").is_on);
    vsphere.stop(&machine.id).await;
    until("it is gone", || async {
        vsphere.machine(&machine.id).await.is_none().then_some(())
    })
    .await;
    bench.gone(&machine).await;
    Ok(())
}

async fn preflight(bench: &Bench<'_>) -> Shown {
    let growth = Growth::by(1);
    let said = async |image: &str, changes: &[(&str, Json)]| {
        let shape = bench.shape_with(changes);
        let found = bench.cloud.preflight(image, &shape, growth).await;
        let at = errors_at(&found.expect("answers"));
        at.into_iter().collect::<Vec<String>>()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(said(IMAGES[0], &[]).await, none);
    assert_eq!(said("nowhere", &[]).await, ["image"]);
    for (field, value) in [
        ("cluster", json!("nowhere")),
        ("datastore", json!("nowhere")),
        ("folder", json!("no/where")),
        ("datacenter", json!("nowhere")),
    ] {
        let found = said(IMAGES[0], &[(field, value)]).await;
        assert_eq!(found, [format!("vsphere.{field}")], "{field}");
    }
    let network = json!([{"network": "nowhere", "adapter_type": "vmxnet3"}]);
    let found = said(IMAGES[0], &[("network_interface", network)]).await;
    assert_eq!(found, ["vsphere.network_interface"]);
    let found = said(IMAGES[0], &[("linked_clone", json!(true))]).await;
    assert_eq!(found, ["vsphere.linked_clone"]);
    let found = said(IMAGES[0], &[("disk_size", json!(1))]).await;
    assert_eq!(found, ["vsphere.disk_size"]);
    Ok(())
}

async fn logins(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let said = async |block: Json| {
        let configuration = json!({"vsphere": block});
        let found = connect(bench.subject, &configuration, &bench.shape, None).await;
        let problems = found.err().expect("is refused");
        format!("{}: {}", problems.0[0].summary, problems.0[0].detail)
    };
    let mut block = vsphere.block();
    block["password"] = json!("s3cret-wrong");
    let wrong = said(block).await;
    assert!(wrong.contains("Could not log in to vSphere"), "{wrong}");
    assert!(wrong.contains("InvalidLogin"), "{wrong}");
    assert!(!wrong.contains("s3cret"), "{wrong}");
    let old = World::of(vsphere.server.clone()).await;
    old.proxy.rewrite("/vim25/8.0.1.0/", "/vim25/7.0.3.0/");
    let old = said(old.block()).await;
    assert!(old.contains("The vCenter Server is too old"), "{old}");
    Ok(())
}

async fn thumbprint(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    let mut block = vsphere.server.by_thumbprint();
    let known = json!({"vsphere": block});
    let found = connect(bench.subject, &known, &bench.shape, None).await;
    assert!(found.expect("connects").scope().await.is_ok());
    let is = block["thumbprint"].as_str().expect("text").to_uppercase();
    block["thumbprint"] = json!("0".repeat(64));
    let wrong = json!({"vsphere": block});
    let found = connect(bench.subject, &wrong, &bench.shape, None).await;
    let problems = found.err().expect("is refused");
    let detail = problems.0[0].detail.replace(':', "");
    assert!(detail.contains(&is), "{detail}");
    Ok(())
}

async fn two_calls(bench: &Bench<'_>) -> Shown {
    let vsphere = World::seen_by(bench);
    for ordinal in 0..4 {
        bench
            .create_on(bench.cloud.as_ref(), ordinal, 0)
            .await
            .expect("creates");
    }
    vsphere.proxy.order(|_, _| Fate::Pass);
    assert_eq!(bench.list().await.len(), 4);
    let calls = vsphere.proxy.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    Ok(())
}
