//! What OpenStack alone promises, on the services themselves.

use std::collections::BTreeSet;

use flatcar::provider::Value;
use flatcar::worker_group::cloud::{
    CloudError, Deletion, Growth, Kind, Machine, Mark, Phase, Spec,
};
use futures::FutureExt as _;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::server::{EXTERNAL_NETWORK, FLAVOR, IMAGES, NETWORK};
use super::subject::LIST;
use super::world::World;
use crate::worker_group::behaviours::errors_at;
use crate::worker_group::{Act, Behaviour, Bench, Shown, connect};

macro_rules! behaviours {
    ($($says:literal => $show:ident,)*) => {
        pub(super) const BEHAVIOURS: &[Behaviour] = &[
            $(Behaviour { says: $says, show: |bench| $show(bench).boxed() },)*
        ];
    };
}

behaviours! {
    "a server carries what the user wrote, and the mark in tags and metadata" => as_written,
    "an image goes by its id as well as by its name" => image_by_id,
    "two images of one name are refused, by the preflight and by a create" => image_twice,
    "flavor and network go by their ids" => ids,
    "machines take the listed addresses in turn, and are told when there are none left" => fixed_ips,
    "an address that is not of the network ends in a machine that failed, in Nova's words" => wrong_address,
    "security groups are those that are named, and others are drift" => security_groups,
    "what a cloud lacks is told by the preflight, each on its attribute" => preflight_names,
    "a server group holds, and a machine that it leaves no room for fails in Nova's words" => server_group,
    "a machine that no host can take fails in Nova's words" => no_valid_host,
    "boot from volume is refused by a cloud without volumes" => no_volumes,
    "creates that race for the last of the quota make no more than it allows" => quota_race,
    "a delete is taken on, and the machine is going until it is gone" => going,
    "a machine that takes no marks any more keeps no other from them, and is told as such" => marks_of_the_failed,
    "a list is whole beyond one page" => pages,
    "a floating IP is taken, listed and given back" => floating_ip,
    "the floating IP of a machine that is gone goes to the next one" => floating_ip_again,
    "the floating IP of a machine that vanished is given back" => floating_ip_vanished,
    "a floating IP of another uid, or of none, is neither given back nor handed on" => floating_ip_of_others,
    "a floating IP that somebody took away is drift, and is mended in place" => floating_ip_mended,
    "a pool that the user takes out gives its addresses back, and one that comes gives some" => floating_ip_in_place,
    "a server that is still being built lacks no floating IP, and has one once it runs" => floating_ip_building,
    "a pool that there is not is told before a change in place" => floating_ip_nowhere,
    "a create that was cut off before it had its floating IP gets one by a repeat" => floating_ip_cut_off,
    "a floating IP whose answer was lost is not doubled" => floating_ip_answer_lost,
    "a quota without a floating IP left makes a machine fail in Neutron's words" => floating_ip_quota,
    "a pool that does not reach the machine makes it fail in Neutron's words" => floating_ip_unreachable,
    "floating IPs cost a list one call, however many machines there are" => floating_ip_calls,
}

async fn as_written(bench: &Bench<'_>) -> Shown {
    let client = &World::seen_by(bench).client;
    let key = json!({"keypair": {"name": "ops", "type": "ssh", "public_key": PUBLIC_KEY}});
    // Another run may have left it.
    client
        .send(
            &client.user,
            "compute",
            Method::POST,
            "/os-keypairs",
            Some(key),
        )
        .await;
    let machine = running(
        bench,
        0,
        &[
            ("key_pair", json!("ops")),
            ("availability_zones", json!(["nova"])),
        ],
    )
    .await;
    assert_eq!(machine.zone, "nova");
    let server = server(bench, &machine).await;
    assert_eq!(server["key_name"], "ops");
    assert_eq!(server["config_drive"], "True");
    assert_eq!(server["flavor"]["original_name"], FLAVOR);
    let tags: BTreeSet<&str> = strings(&server["tags"]);
    let cluster = format!("flatcar-cluster={}", bench.mark.cluster);
    assert_eq!(tags, [cluster.as_str(), "flatcar-group=workers"].into());
    for (key, value) in bench.mark.pairs() {
        assert_eq!(server["metadata"][key], value);
    }
    assert_eq!(server["metadata"]["team"], "a");
    let without = running(bench, 1, &[("config_drive", json!(false))]).await;
    assert_eq!(self::server(bench, &without).await["config_drive"], "");
    Ok(())
}

async fn image_by_id(bench: &Bench<'_>) -> Shown {
    let images = World::seen_by(bench)
        .client
        .get("image", &format!("/v2/images?name={}", IMAGES[1]))
        .await;
    let id = images["images"][0]["id"].as_str().expect("an id");
    let problems = bench
        .cloud
        .preflight(id, &bench.shape, Growth::by(1))
        .await
        .expect("asks");
    assert!(problems.is_empty(), "{problems:?}");
    let name = bench.name(0);
    let spec = Spec {
        image: id,
        ..bench.spec(&name, 0)
    };
    let created = bench.cloud.create(&spec).await.expect("creates");
    let machine = settled(bench, &created.id).await;
    assert_eq!(
        (machine.phase, machine.image.as_str()),
        (Phase::Running, id)
    );
    assert_eq!(server(bench, &machine).await["image"]["id"], id);
    Ok(())
}

async fn image_twice(bench: &Bench<'_>) -> Shown {
    let client = &World::seen_by(bench).client;
    let image_name = bench.mark.cluster.as_str();
    let image = json!({"name": image_name, "disk_format": "raw", "container_format": "bare"});
    let mut made = Vec::new();
    for _ in 0..2 {
        let image = client.post("image", "/v2/images", image.clone()).await;
        made.push(image["id"].as_str().expect("an id").to_owned());
    }
    let problems = bench
        .cloud
        .preflight(image_name, &bench.shape, Growth::by(1))
        .await
        .expect("asks");
    assert_eq!(
        errors_at(&problems),
        ["image".to_owned()].into(),
        "{problems:?}"
    );
    assert!(
        problems.0[0].detail.contains("2 images of this name"),
        "{problems:?}"
    );
    let name = bench.name(0);
    let spec = Spec {
        image: image_name,
        ..bench.spec(&name, 0)
    };
    let error = bench.cloud.create(&spec).await.expect_err("which of them");
    assert_eq!(
        (error.kind, error.attribute),
        (Kind::BadRequest, Some("image")),
        "{error}"
    );
    for id in made {
        client.delete("image", &format!("/v2/images/{id}")).await;
    }
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn ids(bench: &Bench<'_>) -> Shown {
    let client = &World::seen_by(bench).client;
    let flavors = client.get("compute", "/flavors").await;
    let flavors = flavors["flavors"].as_array().expect("flavors");
    let flavor = flavors.iter().find(|flavor| flavor["name"] == FLAVOR);
    let network = network(bench).await;
    let changes = [
        ("flavor_name", Json::Null),
        ("flavor_id", flavor.expect("is there")["id"].clone()),
        ("networks", json!([{"uuid": network}])),
    ];
    let shape = bench.shape_with(&changes);
    let problems = bench
        .cloud
        .preflight(bench.image(), &shape, Growth::by(1))
        .await
        .expect("asks");
    assert!(problems.is_empty(), "{problems:?}");
    let machine = running(bench, 0, &changes).await;
    assert!(machine.addresses[0].starts_with("10.9."), "{machine:?}");
    Ok(())
}

async fn fixed_ips(bench: &Bench<'_>) -> Shown {
    // Of nobody else: no other behaviour asks for addresses, and another run is another process.
    let listed = [5, 6].map(|last| format!("10.9.{}.{last}", 100 + std::process::id() % 100));
    let changes = [("networks", json!([{"name": NETWORK, "fixed_ips": listed}]))];
    let made = join_all((0..2).map(|ordinal| make(bench, ordinal, &changes))).await;
    let mut addresses = BTreeSet::new();
    for created in made {
        let created = created.expect("creates");
        // Known at once.
        assert_eq!(created.addresses.len(), 1);
        let machine = settled(bench, &created.id).await;
        assert_eq!(
            (machine.phase, &machine.addresses),
            (Phase::Running, &created.addresses)
        );
        addresses.extend(machine.addresses);
    }
    assert_eq!(addresses, listed.into());
    let error = make(bench, 2, &changes).await.expect_err("none is left");
    assert_eq!(
        (error.kind, error.attribute),
        (Kind::Quota, Some("openstack.networks")),
        "{error}"
    );
    let machines = bench.list().await;
    assert_eq!(machines.len(), 2);
    bench.delete(&machines[0]).await;
    let third = running(bench, 2, &changes).await;
    assert_eq!(third.addresses, machines[0].addresses);
    for machine in bench.list().await {
        bench.delete(&machine).await;
    }
    Ok(())
}

async fn wrong_address(bench: &Bench<'_>) -> Shown {
    let changes = [(
        "networks",
        json!([{"name": NETWORK, "fixed_ips": ["192.0.2.5"]}]),
    )];
    let created = make(bench, 0, &changes).await.expect("is accepted");
    let machine = settled(bench, &created.id).await;
    assert_eq!(machine.phase, Phase::Failed);
    let words = machine.message.expect("says why");
    assert!(
        words.contains("192.0.2.5 is not a valid ip address"),
        "{words}"
    );
    Ok(())
}

async fn security_groups(bench: &Bench<'_>) -> Shown {
    let client = &World::seen_by(bench).client;
    let name = bench.mark.cluster.clone();
    let group = json!({"security_group": {"name": name}});
    client.post("network", "/v2.0/security-groups", group).await;
    let changes = [("security_groups", json!([name, "default"]))];
    let machine = running(bench, 0, &changes).await;
    let wanted = bench.cloud.wanted(&bench.shape_with(&changes));
    assert_eq!(
        machine.observed.get("security_groups"),
        wanted.get("security_groups")
    );
    let remove = json!({"removeSecurityGroup": {"name": name}});
    let path = format!("/servers/{}/action", machine.id);
    client.post("compute", &path, remove).await;
    let listed = bench.list().await;
    assert_eq!(listed[0].observed["security_groups"], "default");
    Ok(())
}

async fn preflight_names(bench: &Bench<'_>) -> Shown {
    let shape = bench.shape_with(&[
        ("flavor_name", json!("giant")),
        ("networks", json!([{"name": "nowhere"}])),
        ("security_groups", json!(["nobody"])),
        ("key_pair", json!("nobodys")),
        ("availability_zones", json!(["nova", "nowhere"])),
        (
            "server_group_id",
            json!("00000000-0000-0000-0000-000000000000"),
        ),
        ("boot_volume", json!({"size": 5})),
        // A network, and none of an external one.
        ("floating_ip_pool", json!(NETWORK)),
    ]);
    let problems = bench
        .cloud
        .preflight("no-image", &shape, Growth::by(1))
        .await
        .expect("asks");
    let expected = [
        "image",
        "openstack.availability_zones[1]",
        "openstack.boot_volume",
        "openstack.flavor_name",
        "openstack.floating_ip_pool",
        "openstack.key_pair",
        "openstack.networks",
        "openstack.security_groups",
        "openstack.server_group_id",
    ];
    assert_eq!(
        errors_at(&problems),
        expected.map(str::to_owned).into(),
        "{problems:?}"
    );
    assert_eq!(
        problems.0.len(),
        expected.len(),
        "one problem a fault: {problems:?}"
    );
    // A create of the same is refused on an attribute, too.
    for (attribute, value, kind) in [
        ("networks", json!([{"name": "nowhere"}]), Kind::BadRequest),
        ("security_groups", json!(["nobody"]), Kind::BadRequest),
        ("key_pair", json!("nobodys"), Kind::BadRequest),
        (
            "server_group_id",
            json!("00000000-0000-0000-0000-000000000000"),
            Kind::BadRequest,
        ),
        ("floating_ip_pool", json!(NETWORK), Kind::BadRequest),
    ] {
        let error = make(bench, 0, &[(attribute, value)])
            .await
            .expect_err("there is none");
        let blamed = format!("openstack.{attribute}");
        assert_eq!(
            (error.kind, error.attribute),
            (kind, Some(blamed.as_str())),
            "{error}"
        );
    }
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn server_group(bench: &Bench<'_>) -> Shown {
    let client = &World::seen_by(bench).client;
    let group = json!({"server_group": {"name": bench.mark.cluster, "policy": "anti-affinity"}});
    let group = client.post("compute", "/os-server-groups", group).await;
    let id = group["server_group"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let changes = [("server_group_id", json!(id))];
    let machine = running(bench, 0, &changes).await;
    let group = client
        .get("compute", &format!("/os-server-groups/{id}"))
        .await;
    assert_eq!(group["server_group"]["members"], json!([machine.id]));
    // There is one host.
    let second = make(bench, 1, &changes).await.expect("is accepted");
    let second = settled(bench, &second.id).await;
    assert_eq!(second.phase, Phase::Failed);
    assert!(
        second
            .message
            .as_deref()
            .is_some_and(|words| words.contains("No valid host was found")),
        "{second:?}"
    );
    bench.delete(&second).await;
    Ok(())
}

async fn no_valid_host(bench: &Bench<'_>) -> Shown {
    let client = &World::seen_by(bench).client;
    let flavor =
        json!({"flavor": {"name": bench.mark.cluster, "ram": 900_000_000, "vcpus": 1, "disk": 1}});
    client
        .ask(
            &client.admin,
            "compute",
            Method::POST,
            "/flavors",
            Some(flavor),
        )
        .await;
    let changes = [("flavor_name", json!(bench.mark.cluster))];
    let created = make(bench, 0, &changes).await.expect("is accepted");
    let machine = settled(bench, &created.id).await;
    assert_eq!(machine.phase, Phase::Failed);
    assert!(
        machine
            .message
            .as_deref()
            .is_some_and(|words| words.contains("No valid host was found")),
        "{machine:?}"
    );
    // Metadata of a server in ERROR cannot be changed, and nothing keeps it from being deleted.
    bench.delete(&machine).await;
    assert!(bench.list().await.is_empty());
    Ok(())
}

async fn no_volumes(bench: &Bench<'_>) -> Shown {
    let changes = [("boot_volume", json!({"size": 5}))];
    let problems = bench
        .cloud
        .preflight(bench.image(), &bench.shape_with(&changes), Growth::by(1))
        .await
        .expect("asks");
    assert_eq!(
        errors_at(&problems),
        ["openstack.boot_volume".to_owned()].into(),
        "{problems:?}"
    );
    // Nova itself accepts it, and says afterwards what is missing.
    let created = make(bench, 0, &changes).await.expect("is accepted");
    let machine = settled(bench, &created.id).await;
    assert_eq!(
        (machine.phase, machine.image.as_str()),
        (Phase::Failed, bench.image())
    );
    assert!(
        machine
            .message
            .as_deref()
            .is_some_and(|words| words.contains("volumev3 service not found")),
        "{machine:?}"
    );
    Ok(())
}

async fn quota_race(bench: &Bench<'_>) -> Shown {
    let stack = World::seen_by(bench);
    let path = format!("/os-quota-sets/{}/detail", stack.client.user.project);
    let quota = stack
        .client
        .ask(&stack.client.admin, "compute", Method::GET, &path, None)
        .await;
    let used = quota["quota_set"]["instances"]["in_use"]
        .as_i64()
        .expect("a number");
    stack.instances(used + 1).await;
    let made = join_all((0..6).map(|ordinal| make(bench, ordinal, &[]))).await;
    let (mut run, mut failed) = (0, 0);
    for created in made {
        match created {
            Ok(created) => {
                let machine = settled(bench, &created.id).await;
                match machine.phase {
                    Phase::Running => run += 1,
                    phase => {
                        assert_eq!(phase, Phase::Failed);
                        let words = machine.message.expect("says why");
                        assert!(words.contains("uota exceeded"), "{words}");
                        failed += 1;
                    }
                }
            }
            Err(error) => {
                assert_eq!(error.kind, Kind::Quota, "{error}");
                failed += 1;
            }
        }
    }
    // Nova itself may refuse all of them: each sees the others' claims.
    assert!(run <= 1, "{run} run");
    assert_eq!(run + failed, 6);
    Ok(())
}

async fn going(bench: &Bench<'_>) -> Shown {
    let machine = bench.create(0).await.expect("creates");
    assert_eq!(
        bench.cloud.delete(&machine).await.expect("is taken on"),
        Deletion::Going
    );
    loop {
        let listed = bench.list().await;
        let Some(seen) = listed.first() else { break };
        // Nova may not have begun.
        assert!(
            matches!(seen.phase, Phase::Deleting | Phase::Running),
            "{seen:?}"
        );
        tokio::task::yield_now().await;
    }
    bench.deleted(&machine).await;
    Ok(())
}

async fn marks_of_the_failed(bench: &Bench<'_>) -> Shown {
    let mut machines = Vec::new();
    for ordinal in 0..3 {
        machines.push(running(bench, ordinal, &[]).await);
    }
    let client = &World::seen_by(bench).client;
    let path = format!("/servers/{}/action", machines[0].id);
    let fails = json!({"os-resetState": {"state": "error"}});
    client
        .ask(&client.admin, "compute", Method::POST, &path, Some(fails))
        .await;
    let saved = Mark {
        unsaved: false,
        ..bench.mark.clone()
    };
    let error = bench
        .cloud
        .mark(&machines, &saved, &Value::Null)
        .await
        .expect_err("one takes none");
    assert_eq!(error.kind, Kind::BadRequest, "{error}");
    for machine in bench.list().await {
        let is_failed = machine.id == machines[0].id;
        assert_eq!(machine.phase == Phase::Failed, is_failed, "{machine:?}");
        assert_eq!(machine.mark.unsaved, is_failed, "{machine:?}");
    }
    Ok(())
}

async fn pages(bench: &Bench<'_>) -> Shown {
    let made = join_all((0..12).map(|ordinal| make(bench, ordinal, &[]))).await;
    let made: BTreeSet<String> = made
        .into_iter()
        .map(|made| made.expect("creates").id)
        .collect();
    // While Nova hands a new server to its host, a marker may skip one.
    for id in &made {
        settled(bench, id).await;
    }
    let stack = World::seen_by(bench);
    stack.proxy.order(|_, _| crate::proxy::Fate::Pass);
    let listed: BTreeSet<String> = bench
        .list()
        .await
        .into_iter()
        .map(|machine| machine.id)
        .collect();
    assert_eq!(listed, made);
    // Nova of `openstack.sh` gives ten at a time.
    assert_eq!(stack.proxy.calls(), [LIST, LIST]);
    Ok(())
}

async fn floating_ip(bench: &Bench<'_>) -> Shown {
    let changes = pool();
    let problems = bench
        .cloud
        .preflight(bench.image(), &bench.shape_with(&changes), Growth::by(1))
        .await
        .expect("asks");
    assert!(problems.is_empty(), "{problems:?}");
    let machine = running(bench, 0, &changes).await;
    let taken = taken(bench).await;
    let [address] = &taken[..] else {
        panic!("one address, not {taken:?}")
    };
    // The private one is first.
    assert_eq!(machine.addresses.len(), 2, "{machine:?}");
    assert!(machine.addresses[0].starts_with("10.9."), "{machine:?}");
    assert_eq!(machine.addresses[1], address["floating_ip_address"]);
    assert_eq!(address["port_details"]["device_id"], machine.id);
    let wanted = bench.cloud.wanted(&bench.shape_with(&changes));
    assert_eq!(
        machine.observed.get("floating_ip_pool"),
        wanted.get("floating_ip_pool")
    );
    bench.delete(&machine).await;
    sweep(bench).await;
    assert!(self::taken(bench).await.is_empty());
    Ok(())
}

async fn floating_ip_again(bench: &Bench<'_>) -> Shown {
    let first = running(bench, 0, &pool()).await;
    bench.delete(&first).await;
    let second = running(bench, 1, &pool()).await;
    assert_eq!(first.addresses[1], second.addresses[1]);
    assert_eq!(taken(bench).await.len(), 1);
    // What serves is not given back.
    sweep(bench).await;
    assert_eq!(taken(bench).await.len(), 1);
    clean(bench).await;
    Ok(())
}

async fn floating_ip_vanished(bench: &Bench<'_>) -> Shown {
    let machine = running(bench, 0, &pool()).await;
    bench.subject.behind(&machine, Act::Remove).await?;
    bench.gone(&machine).await;
    assert_eq!(taken(bench).await.len(), 1);
    // Another process, which knows no more than the shape in state.
    let configuration = bench.subject.configuration(2);
    let shape = bench.shape_with(&pool());
    let other = connect(bench.subject, &configuration, &shape, None).await;
    let other = other.unwrap_or_else(|problems| panic!("{problems:?}"));
    other.sweep(&bench.mark, 0).await.expect("sweeps");
    assert!(taken(bench).await.is_empty());
    Ok(())
}

async fn floating_ip_mended(bench: &Bench<'_>) -> Shown {
    let machine = running(bench, 0, &pool()).await;
    let client = &World::seen_by(bench).client;
    let id = taken(bench).await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let away = json!({"floatingip": {"port_id": null}});
    client
        .ask(
            &client.user,
            "network",
            Method::PUT,
            &format!("/v2.0/floatingips/{id}"),
            Some(away),
        )
        .await;
    let listed = bench.list().await;
    assert_eq!(listed[0].observed["floating_ip_pool"], "", "{listed:?}");
    assert_eq!(listed[0].phase, Phase::Running, "it runs without");
    bench
        .cloud
        .mark(&listed, &bench.mark, &bench.shape_with(&pool()))
        .await
        .expect("mends");
    let listed = bench.list().await;
    assert_eq!(listed[0].observed["floating_ip_pool"], EXTERNAL_NETWORK);
    assert_eq!(listed[0].addresses, machine.addresses);
    assert_eq!(taken(bench).await.len(), 1);
    clean(bench).await;
    Ok(())
}

async fn floating_ip_in_place(bench: &Bench<'_>) -> Shown {
    running(bench, 0, &[]).await;
    let with = bench.shape_with(&pool());
    let listed = bench.list().await;
    assert_eq!(listed[0].observed["floating_ip_pool"], "");
    bench
        .cloud
        .mark(&listed, &bench.mark, &with)
        .await
        .expect("marks");
    let listed = bench.list().await;
    assert_eq!(listed[0].observed["floating_ip_pool"], EXTERNAL_NETWORK);
    assert_eq!(
        (listed[0].addresses.len(), taken(bench).await.len()),
        (2, 1)
    );
    bench
        .cloud
        .mark(&listed, &bench.mark, &Value::Null)
        .await
        .expect("marks");
    assert_eq!(taken(bench).await.len(), 1, "marks alone");
    bench
        .cloud
        .mark(&listed, &bench.mark, &bench.shape)
        .await
        .expect("marks");
    let listed = bench.list().await;
    assert_eq!(listed[0].observed["floating_ip_pool"], "");
    assert_eq!(
        (listed[0].addresses.len(), taken(bench).await.len()),
        (1, 0)
    );
    Ok(())
}

async fn floating_ip_cut_off(bench: &Bench<'_>) -> Shown {
    let shape = bench.shape_with(&pool());
    let name = bench.name(0);
    let spec = Spec {
        shape: &shape,
        ..bench.spec(&name, 0)
    };
    let lost = bench.plainly().await;
    let created = lost.create(&spec).await.expect("creates");
    drop(lost);
    // Nobody here is to wait for its address: it runs, and lacks it.
    let machine = settled(bench, &created.id).await;
    assert_eq!(
        (machine.phase, machine.observed["floating_ip_pool"].as_str()),
        (Phase::Running, "")
    );
    assert!(taken(bench).await.is_empty());
    assert_eq!(
        bench.cloud.create(&spec).await.expect("answers").id,
        created.id
    );
    let machine = settled(bench, &created.id).await;
    assert_eq!(machine.observed["floating_ip_pool"], EXTERNAL_NETWORK);
    assert_eq!(taken(bench).await.len(), 1);
    clean(bench).await;
    Ok(())
}

async fn floating_ip_building(bench: &Bench<'_>) -> Shown {
    let shape = bench.shape_with(&pool());
    let name = bench.name(0);
    let spec = Spec {
        shape: &shape,
        ..bench.spec(&name, 0)
    };
    let earlier = bench.plainly().await;
    let created = earlier.create(&spec).await.expect("creates");
    drop(earlier);
    settled(bench, &created.id).await;
    let stack = World::seen_by(bench);
    stack.servers_are(|body| body.replace("\"ACTIVE\"", "\"BUILD\""));
    let listed = bench.list().await;
    assert_eq!(listed[0].phase, Phase::Pending);
    assert_eq!(listed[0].observed["floating_ip_pool"], EXTERNAL_NETWORK);
    bench
        .cloud
        .mark(&listed, &bench.mark, &shape)
        .await
        .expect("marks");
    assert!(taken(bench).await.is_empty(), "it has no use for one yet");
    stack.proxy.order(|_, _| crate::proxy::Fate::Pass);
    let machine = settled(bench, &created.id).await;
    assert_eq!(machine.observed["floating_ip_pool"], EXTERNAL_NETWORK);
    assert_eq!((machine.addresses.len(), taken(bench).await.len()), (2, 1));
    clean(bench).await;
    Ok(())
}

async fn floating_ip_nowhere(bench: &Bench<'_>) -> Shown {
    for (pool, expected) in [
        (EXTERNAL_NETWORK, &[][..]),
        (NETWORK, &["openstack.floating_ip_pool"]),
    ] {
        let shape = bench.shape_with(&[("floating_ip_pool", json!(pool))]);
        let asked = bench
            .cloud
            .preflight("not asked about", &shape, Growth::by(0))
            .await;
        let problems = asked.expect("asks");
        let expected = expected.iter().map(|path| (*path).to_owned()).collect();
        assert_eq!(errors_at(&problems), expected, "{pool}: {problems:?}");
        assert_eq!(problems.0.len(), expected.len(), "{pool}: {problems:?}");
    }
    Ok(())
}

async fn floating_ip_answer_lost(bench: &Bench<'_>) -> Shown {
    World::seen_by(bench)
        .proxy
        .once("neutron POST /floatingips", || {
            crate::proxy::Fate::ResetAfter
        });
    let machine = running(bench, 0, &pool()).await;
    assert_eq!(machine.addresses.len(), 2, "{machine:?}");
    assert_eq!(taken(bench).await.len(), 1);
    clean(bench).await;
    Ok(())
}

async fn floating_ip_quota(bench: &Bench<'_>) -> Shown {
    World::seen_by(bench).floating_ips(0).await;
    let problems = bench
        .cloud
        .preflight(bench.image(), &bench.shape_with(&pool()), Growth::by(1))
        .await
        .expect("asks");
    let paths: Vec<String> = problems
        .0
        .iter()
        .filter_map(|problem| problem.path.as_ref())
        .map(ToString::to_string)
        .collect();
    assert_eq!(paths, ["openstack.floating_ip_pool"], "{problems:?}");
    assert!(!problems.has_errors(), "{problems:?}");
    let created = make(bench, 0, &pool()).await.expect("creates");
    let machine = settled(bench, &created.id).await;
    assert_eq!(machine.phase, Phase::Failed);
    let words = machine.message.expect("says why");
    assert!(words.contains("Quota exceeded for resources"), "{words}");
    Ok(())
}

async fn floating_ip_unreachable(bench: &Bench<'_>) -> Shown {
    let client = &World::seen_by(bench).client;
    // Behind no router.
    let inside = json!({"network": {"name": bench.mark.cluster}});
    let inside = client.post("network", "/v2.0/networks", inside).await;
    let subnet = json!({"subnet": {"network_id": inside["network"]["id"], "ip_version": 4, "cidr": "10.77.0.0/24"}});
    client.post("network", "/v2.0/subnets", subnet).await;
    let alone = [
        ("networks", json!([{"name": bench.mark.cluster}])),
        pool()[0].clone(),
    ];
    let created = make(bench, 0, &alone).await.expect("creates");
    let machine = settled(bench, &created.id).await;
    assert_eq!(machine.phase, Phase::Failed);
    let words = machine.message.expect("says why");
    assert!(words.contains("is not reachable from subnet"), "{words}");
    // The first network that is reached has the address.
    let both = [
        (
            "networks",
            json!([{"name": bench.mark.cluster}, {"name": NETWORK}]),
        ),
        pool()[0].clone(),
    ];
    let machine = running(bench, 1, &both).await;
    assert_eq!(machine.addresses.len(), 3, "{machine:?}");
    let fixed = taken(bench).await[0]["fixed_ip_address"]
        .as_str()
        .map(str::to_owned);
    assert!(
        fixed.is_some_and(|fixed| fixed.starts_with("10.9.")),
        "{machine:?}"
    );
    clean(bench).await;
    Ok(())
}

async fn floating_ip_calls(bench: &Bench<'_>) -> Shown {
    for ordinal in 0..3 {
        running(bench, ordinal, &pool()).await;
    }
    let proxy = &World::seen_by(bench).proxy;
    proxy.order(|_, _| crate::proxy::Fate::Pass);
    let listed = bench.list().await;
    assert!(
        listed.iter().all(|machine| machine.addresses.len() == 2),
        "{listed:?}"
    );
    assert_eq!(proxy.calls(), [LIST, "neutron GET /floatingips"]);
    clean(bench).await;
    Ok(())
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

async fn running(bench: &Bench<'_>, ordinal: u64, changes: &[(&str, Json)]) -> Machine {
    let created = make(bench, ordinal, changes).await.expect("creates");
    let machine = settled(bench, &created.id).await;
    assert_eq!(machine.phase, Phase::Running, "{machine:?}");
    machine
}

/// As it is listed once it is pending no more.
async fn settled(bench: &Bench<'_>, id: &str) -> Machine {
    bench.booted(id).await
}

async fn server(bench: &Bench<'_>, machine: &Machine) -> Json {
    let path = format!("/servers/{}", machine.id);
    World::seen_by(bench).client.get("compute", &path).await["server"].take()
}

async fn network(bench: &Bench<'_>) -> Json {
    let path = format!("/v2.0/networks?name={NETWORK}");
    World::seen_by(bench).client.get("network", &path).await["networks"][0]["id"].take()
}

/// The floating IPs that carry the group's mark.
async fn taken(bench: &Bench<'_>) -> Vec<Json> {
    let mark = marked_with(bench, &bench.mark.uid);
    let all = World::seen_by(bench)
        .client
        .get("network", "/v2.0/floatingips")
        .await;
    let all = all["floatingips"].as_array().cloned().expect("a list");
    all.into_iter()
        .filter(|address| address["description"] == mark)
        .collect()
}

fn marked_with(bench: &Bench<'_>, uid: &str) -> String {
    let Mark { cluster, group, .. } = &bench.mark;
    format!("flatcar-cluster={cluster} flatcar-group={group} flatcar-uid={uid}")
}

/// Free addresses of this (cluster, name) that are another group's, or of an older release and
/// nobody knows whose.
async fn floating_ip_of_others(bench: &Bench<'_>) -> Shown {
    let machine = running(bench, 0, &pool()).await;
    let client = &World::seen_by(bench).client;
    let network = taken(bench).await[0]["floating_network_id"].clone();
    let Mark { cluster, group, .. } = &bench.mark;
    let mut others = Vec::new();
    for description in [
        marked_with(bench, "other"),
        format!("flatcar-cluster={cluster} flatcar-group={group}"),
    ] {
        let asked =
            json!({"floatingip": {"floating_network_id": network, "description": description}});
        let path = "/v2.0/floatingips";
        let made = client
            .ask(&client.user, "network", Method::POST, path, Some(asked))
            .await;
        let id = made["floatingip"]["id"].as_str().expect("an id").to_owned();
        others.push(format!("/v2.0/floatingips/{id}"));
    }
    // Nor are they handed to a machine.
    let second = running(bench, 1, &pool()).await;
    assert_ne!(machine.addresses[1], second.addresses[1]);
    assert_eq!(taken(bench).await.len(), 2);
    clean(bench).await;
    for path in &others {
        let left = client.get("network", path).await;
        assert_eq!(left["floatingip"]["port_id"], Json::Null, "{left}");
        client
            .ask(&client.user, "network", Method::DELETE, path, None)
            .await;
    }
    Ok(())
}

async fn sweep(bench: &Bench<'_>) {
    bench.cloud.sweep(&bench.mark, 0).await.expect("sweeps");
}

/// Nothing is left of the group.
async fn clean(bench: &Bench<'_>) {
    for machine in bench.list().await {
        bench.delete(&machine).await;
    }
    sweep(bench).await;
    assert!(taken(bench).await.is_empty());
}

fn strings(list: &Json) -> BTreeSet<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect()
}

fn pool() -> [(&'static str, Json); 1] {
    [("floating_ip_pool", json!(EXTERNAL_NETWORK))]
}

const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ops@example.org";
