//! What rolls and what does not: places, sets, fields that change in place, and what nobody knows
//! since an import.

use super::*;
use crate::worker_group::generation::{Generation, Written};

/// A configuration in which these attributes are as state has them: what core's `ignore_changes`
/// makes of it.
fn ignoring(world: &World, names: &[&str], changes: &Json) -> Json {
    let state: Json = serde_json::from_str(&world.state.to_json(&kind()).unwrap()).unwrap();
    let mut config = changes.clone();
    for name in names {
        config[*name] = state[*name].clone();
    }
    config
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_since_an_import_rolls_nothing_and_makes_no_machine() {
    let made = json!({
        "user_data": with_motd("a"), "replace_triggers": {"kernel": "1"}, "set_hostname": false,
        "memory": {"size": "large", "disks": [{"name": "b"}], "tags": {"owner": "a"}}
    });
    // what is ignored, what is said of new machines then
    let cases: [(&[&str], &[&str]); 5] = [
        (&["user_data"], &["User data of new machines is not known"]),
        (&["memory"], &["Shape of new machines is not known"]),
        (&["replace_triggers"], &[]),
        (
            &["user_data", "memory"],
            &[
                "User data of new machines is not known",
                "Shape of new machines is not known",
            ],
        ),
        (
            &["user_data", "memory", "replace_triggers", "set_hostname"],
            &[
                "User data of new machines is not known",
                "Shape of new machines is not known",
            ],
        ),
    ];
    for (number, (ignored, expected)) in cases.into_iter().enumerate() {
        let mut world = World::new(&format!("ignored-{number}"), Memory::default()).await;
        world.run(made.clone()).await;
        world.refresh().await;
        world.import("memory/memory/1/prod/w", None).await;
        world.refresh().await;

        let with = |world: &World, replicas: u32| {
            let mut config = ignoring(world, ignored, &made);
            config["replicas"] = json!(replicas);
            config
        };
        let before = world.memory.log().len();
        for _ in 0..2 {
            let (rollout, problems) = world.run(with(&world, 3)).await;
            assert_eq!(
                (rollout.len(), problems.len()),
                (0, 0),
                "{ignored:?} {rollout:?}"
            );
        }
        world.is_settled(with(&world, 3)).await;
        assert_eq!(world.memory.log().len(), before, "{ignored:?}");

        let plan = world.plan(with(&world, 4)).await;
        let summaries: Vec<&str> = plan
            .said
            .iter()
            .map(|said| said.split(':').next().unwrap())
            .collect();
        assert_eq!(summaries, expected, "{ignored:?}");

        // Fewer need nothing that is not known.
        let (rollout, problems) = world.run(with(&world, 2)).await;
        assert_eq!(problems, NOTHING, "{ignored:?}");
        assert_eq!(rollout, ["delete 2: scale in to 2"], "{ignored:?}");

        // What the configuration says is known.
        let (rollout, problems) = world.run(made.clone()).await;
        assert_eq!(problems, NOTHING, "{ignored:?}");
        assert_eq!(rollout, ["create 3: scale out to 3"], "{ignored:?}");
        world.is_settled(made.clone()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_field_of_the_shape_that_nobody_knows_since_an_import_rolls_nothing_by_itself() {
    let disks = json!([{"name": "b"}]);
    // how machines were made; what is ignored within the shape and so stays null; the first plan
    // after the import; what it warns of
    let cases = [
        // All else is as the import read it.
        (
            json!({"size": "large", "disks": disks}),
            json!({"size": "large", "disks": null}),
            0,
            None,
        ),
        // No import reads the zone either, so a hash of both tells nothing of one.
        (
            json!({"size": "large", "disks": disks, "zone": "z"}),
            json!({"size": "large", "disks": null, "zone": "z"}),
            6,
            Some("memory.disks, memory.networks"),
        ),
        // Everything is said, or was never there: there is nothing to warn of.
        (
            json!({"size": "large", "disks": disks, "zone": "z"}),
            json!({"size": "huge", "disks": disks, "zone": "z"}),
            6,
            None,
        ),
        (json!({"size": "large"}), json!({"size": "huge"}), 6, None),
        (json!({}), json!({"size": "huge"}), 6, None),
        (
            json!({"disks": disks, "zone": "z"}),
            json!({"disks": disks, "zone": "z"}),
            0,
            None,
        ),
    ];
    for (number, (made, now, steps, warned)) in cases.into_iter().enumerate() {
        let mut world = World::new(&format!("nested-{number}"), Memory::default()).await;
        world.run(json!({"memory": made})).await;
        world.refresh().await;
        world.import("memory/memory/1/prod/w", None).await;
        world.refresh().await;
        let plan = world.plan(json!({"memory": now})).await;
        let rollout = world.rollout(&plan.planned);
        assert_eq!(rollout.len(), steps, "{made} {now} {rollout:?}");
        let said: Vec<bool> = plan
            .said
            .iter()
            .map(|said| {
                said.starts_with("Imported machines have more than this says")
                    && warned.is_some_and(|fields| said.contains(fields))
            })
            .collect();
        assert_eq!(
            said,
            Vec::from_iter(warned.map(|_| true)),
            "{:?}",
            plan.said
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_makes_no_machine_in_place_of_one_that_is_lost_either() {
    let id = "ignored-lost";
    let mut world = World::new(id, Memory::default()).await;
    let made = json!({"user_data": with_motd("a")});
    world.run(made.clone()).await;
    world.refresh().await;
    world.import("memory/memory/1/prod/w", None).await;
    let ignored = json!({"user_data": null, "paused": false});
    world.run(ignored.clone()).await;
    // It goes between plan and apply.
    world.refresh().await;
    let plan = world
        .plan(json!({"user_data": null, "memory": {"tags": {"a": "b"}}}))
        .await;
    assert_eq!(plan.said, NOTHING);
    let lost = world.machine(1);
    world.memory.remove(&lost);
    let problems = world.apply(plan).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("User data of new machines is not known"));
    // The way on.
    let (rollout, problems) = world.run(made.clone()).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout, ["create 3: replaces 1, which is gone"]);
    world.is_settled(made).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_of_a_group_that_was_imported_without_a_machine_makes_none() {
    let id = "ignored-empty";
    let mut world = World::new(id, Memory::default()).await;
    let made = json!({"user_data": with_motd("a"), "replicas": 0});
    world.run(made.clone()).await;
    let uid = world.uid();
    let empty = |replicas: u32| json!({"user_data": null, "replicas": replicas});
    for is_applied_first in [false, true] {
        world.import("", Some(identity_of(&uid))).await;
        assert_eq!(world.refresh().await, NOTHING);
        if is_applied_first {
            assert_eq!(world.run(empty(0)).await.1, NOTHING);
            world.is_settled(empty(0)).await;
        }
        let plan = world.plan(empty(2)).await;
        assert_eq!(plan.said.len(), 1, "{:?}", plan.said);
        let said = &plan.said[0];
        assert!(
            said.starts_with("User data of new machines is not known"),
            "{said}"
        );
        assert!(said.contains("was never said"), "{said}");
        // A plan that is applied all the same makes none.
        let plan = world.plan(empty(2)).await;
        let problems = world.apply(plan).await;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(world.memory.names(), NOTHING);

        // What the configuration says is known; and none at all can be said.
        let none = json!({"user_data": IGNITION, "replicas": 2});
        let (rollout, problems) = world.run(none).await;
        assert_eq!(problems, NOTHING);
        assert_eq!(rollout.len(), 2, "{rollout:?}");
        let (_, problems) = world.run(made.clone()).await;
        assert_eq!(problems, NOTHING);
        world.is_settled(made.clone()).await;
    }
    // What was made here without user data is known to have none.
    let mut world = World::new("ignored-empty-made", Memory::default()).await;
    world.run(empty(0)).await;
    let (rollout, problems) = world.run(empty(1)).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout, ["create 0: scale out to 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_without_user_data_is_known_to_have_none() {
    let mut world = World::new("import-none-given", Memory::default()).await;
    let none = |replicas: u32| json!({"user_data": null, "replicas": replicas});
    world.run(none(3)).await;
    world.refresh().await;
    world.import("memory/memory/1/prod/w", None).await;
    let (rollout, problems) = world.run(none(4)).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout, ["create 3: scale out to 4"]);
}

#[tokio::test(start_paused = true)]
async fn places_place_new_machines_and_replace_those_that_are_where_they_may_no_longer_be() {
    let subnets = |subnets: &[&str], replicas: u32| json!({"memory": {"subnets": subnets}, "replicas": replicas});
    let mut world = World::new("places", Memory::default()).await;
    world.run(subnets(&["a", "b"], 3)).await;
    world.refresh().await;
    for (listed, replicas, expected) in [
        (&["b", "a"][..], 3, &[][..]),
        (&["b", "c", "a"], 3, &[]),
        (&["b", "c", "a"], 4, &["create 3: scale out to 4"]),
        (&["c", "a", "b"], 3, &["delete 3: scale in to 3"]),
        (
            &["c", "a"],
            3,
            &[
                "create 4: replaces 1",
                "delete 1: memory.subnets does not allow b",
            ],
        ),
        (&[], 3, &[]),
        (&["a", "c"], 3, &[]),
    ] {
        let (rollout, problems) = world.run(subnets(listed, replicas)).await;
        assert_eq!(problems, NOTHING, "{listed:?}");
        assert_eq!(rollout, expected, "{listed:?}");
        world.is_settled(subnets(listed, replicas)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_grow_with_replicas_and_a_machine_keeps_its_own() {
    let addresses = |listed: &[&str], replicas: u32| {
        let networks = json!([{"name": "private", "addresses": listed}, {"name": "public"}]);
        json!({"memory": {"networks": networks}, "replicas": replicas})
    };
    let mut world = World::new("addresses", Memory::default()).await;
    world.run(addresses(&["1", "2"], 2)).await;
    let (rollout, _) = world.run(addresses(&["1", "2", "3"], 3)).await;
    assert_eq!(rollout, ["create 2: scale out to 3"]);
    let (rollout, _) = world.run(addresses(&["2", "3", "4", "5"], 3)).await;
    assert_eq!(
        rollout,
        [
            "create 3: replaces 0",
            "delete 0: memory.networks.addresses does not allow 1"
        ]
    );
    world.is_settled(addresses(&["2", "3", "4", "5"], 3)).await;
}

#[tokio::test(start_paused = true)]
async fn sets_have_no_order_and_security_groups_change_in_place() {
    let shape = |disks: [&str; 2], groups: &[&str]| {
        let disks: Vec<Json> = disks.iter().map(|name| json!({"name": name})).collect();
        json!({"memory": {"disks": disks, "groups": groups}})
    };
    let mut world = World::new("sets", Memory::default()).await;
    world.run(shape(["a", "b"], &["web", "ssh"])).await;
    let (rollout, _) = world.run(shape(["b", "a"], &["ssh", "web"])).await;
    assert_eq!(rollout, NOTHING);
    let (rollout, _) = world.run(shape(["b", "a"], &["ssh"])).await;
    assert_eq!(rollout[0], "update 0: memory.groups changed");
    assert_eq!(rollout.len(), 3);
    world.is_settled(shape(["b", "a"], &["ssh"])).await;
    let (rollout, _) = world.run(shape(["b", "c"], &["ssh"])).await;
    assert_eq!(rollout[1], "delete 0: memory.disks changed");
    assert_eq!(rollout.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_others_change_in_place_is_ignored_where_the_configuration_ignores_it() {
    let made = json!({"memory": {"tags": {"owner": "a"}}});
    let mut world = World::new("ignored-tags", Memory::default()).await;
    world.run(made.clone()).await;
    // All of them, then one of them alone.
    for strangers in [0..3, 1..2] {
        for ordinal in strangers {
            let machine = world.machine(ordinal);
            world.memory.observe(&machine, "tags.owner", "policy");
        }
        world.refresh().await;
        let tags = |world: &World| match &world.group().clouds["memory"] {
            Value::Map(shape) => shape["tags"].clone(),
            _ => Value::Null,
        };
        let shown = Value::String("policy".to_owned());
        assert_eq!(
            tags(&world),
            Value::Map([("owner".to_owned(), shown)].into())
        );
        let ignored = ignoring(&world, &["memory"], &made);
        world.is_settled(ignored.clone()).await;
        // A new machine has what state shows, and nothing else is touched.
        let mut more = ignored.clone();
        more["replicas"] = json!(4);
        let plan = world.plan(more).await;
        assert_eq!(world.rollout(&plan.planned), ["create 3: scale out to 4"]);

        // Without it, what differs is changed back.
        let plan = world.plan(made.clone()).await;
        let steps = world.rollout(&plan.planned);
        assert!(
            steps
                .iter()
                .all(|step| step.ends_with("memory.tags changed")),
            "{steps:?}"
        );
        assert_eq!(world.run(made.clone()).await.1, NOTHING);
        let owners = world.memory.machines();
        assert!(owners.iter().all(|m| m.observed["tags.owner"] == "a"));
        world.is_settled(made.clone()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn drift_of_what_marks_of_the_first_release_tell_of_is_mended_in_place_too() {
    let made = json!({"memory": {"groups": ["a"], "subnets": ["x"]}});
    let mut world = World::new("first-release", Memory::default()).await;
    world.run(made.clone()).await;
    // As the first release left it: its marks count groups and subnets.
    let group = world.group();
    let wanted = group.wanted(&memory::ENTRY, &Private::default()).unwrap();
    let mark = Generation::of(&Written {
        shape: &wanted.first_form,
        ..wanted.as_written()
    });
    assert_ne!(mark, wanted.generation());
    let before = wanted.generation().to_string();
    let state = world.state.to_json(&kind()).unwrap();
    let state = state.replace(&before, &mark.to_string());
    world.state = Value::from_json(state.as_bytes(), &kind()).unwrap();
    for ordinal in 0..3 {
        let machine = world.machine(ordinal);
        world.memory.remark(&machine, &mark.to_string());
    }
    world.is_settled(made.clone()).await;

    world.memory.observe(&world.machine(1), "groups", "a,b");
    let mut more = made.clone();
    more["replicas"] = json!(4);
    let (rollout, problems) = world.run(more.clone()).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(
        rollout,
        [
            "update 1: memory.groups changed",
            "create 3: scale out to 4"
        ]
    );
    world.is_settled(more).await;
    let generation = world.group().fields.generation;
    assert_eq!(generation, Attr::Known(mark.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_compared_with_the_machines_that_exist_at_a_time() {
    let config = |surge: &str, motd: &str, replicas: u32| {
        json!({
            "user_data": with_motd(motd), "replicas": replicas,
            "rolling_update": {"max_surge": surge, "max_unavailable": if surge == "0" { "1" } else { "0" }}
        })
    };
    for (quota, surge, replicas, warned) in [
        (4, "1", 3, None),
        (3, "1", 3, Some("Write max_surge = \"0\"")),
        (3, "0", 3, None),
        (4, "1", 4, Some("Write max_surge = \"0\"")),
        (3, "0", 4, Some("Ask for more")),
    ] {
        let id = format!("quota-{quota}-{surge}-{replicas}");
        let memory = Memory {
            quota: Some(quota),
            ..Memory::default()
        };
        let mut world = World::new(&id, memory).await;
        assert_eq!(world.run(config("0", "a", 3)).await.1, NOTHING);
        let (_, problems) = world.run(config(surge, "b", replicas)).await;
        let said: Vec<bool> = problems
            .iter()
            .map(|said| warned.is_some_and(|words| said.contains(words)))
            .collect();
        let expected: Vec<bool> = warned.iter().map(|_| true).collect();
        assert_eq!(said, expected, "{id} {problems:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_roll_without_room_for_one_more_machine_says_that_it_can_do_without() {
    for (surge, replicas, said) in [("1", 3, true), ("0", 3, false), ("1", 4, false)] {
        let id = format!("no-room-{surge}-{replicas}");
        let mut world = World::new(&id, Memory::default()).await;
        let config = |motd: &str, replicas: u32| {
            let update = json!({"max_surge": surge, "max_unavailable": if surge == "0" { "1" } else { "0" }});
            json!({"user_data": with_motd(motd), "replicas": replicas, "rolling_update": update})
        };
        world.run(config("a", 3)).await;
        let full = Fault::Refused(Kind::Quota);
        world.memory.order(Call::Create, "", full);
        let motd = if replicas == 3 { "b" } else { "a" };
        let (_, problems) = world.run(config(motd, replicas)).await;
        assert!(
            problems[0].starts_with("No quota or capacity for machine"),
            "{problems:?}"
        );
        assert_eq!(problems[0].contains("max_surge"), said, "{problems:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_somebody_stopped_is_replaced_started_or_left_as_the_group_says() {
    for (word, expected, ordinals) in [
        (
            Json::Null,
            &["delete 1: stopped", "create 3: replaces 1"][..],
            &[0, 2, 3][..],
        ),
        (
            json!("replace"),
            &["delete 1: stopped", "create 3: replaces 1"],
            &[0, 2, 3],
        ),
        (json!("start"), &["start 1: stopped"], &[0, 1, 2]),
        (json!("leave"), &[], &[0, 1, 2]),
    ] {
        let id = format!("on-stopped-{word}");
        let mut world = World::new(&id, Memory::default()).await;
        let config = |replicas: u32, motd: &str| json!({"on_stopped": word, "replicas": replicas, "user_data": with_motd(motd)});
        world.run(config(3, "a")).await;
        let stopped = world.machine(1);
        world.memory.set(&stopped, Phase::Stopped);
        let (rollout, problems) = world.run(config(3, "a")).await;
        assert_eq!(problems, NOTHING, "{word}");
        assert_eq!(rollout, expected, "{word}");
        assert_eq!(world.ordinals(), ordinals, "{word}");
        world.is_settled(config(3, "a")).await;
        let phases = world.memory.machines();
        let stays = phases.iter().filter(|m| m.phase == Phase::Stopped).count();
        assert_eq!(stays, usize::from(word == "leave"), "{word}");
        // It holds up neither scaling nor a roll, which replaces it too.
        let (_, problems) = world.run(config(4, "a")).await;
        assert_eq!(problems, NOTHING, "{word}");
        assert_eq!(world.ordinals().len(), 4, "{word}");
        let (_, problems) = world.run(config(4, "b")).await;
        assert_eq!(problems, NOTHING, "{word}");
        world.is_settled(config(4, "b")).await;
        let machines = world.memory.machines();
        assert!(machines.iter().all(|m| m.phase == Phase::Running), "{word}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_is_told_and_tried_again_by_the_next_apply() {
    let mut world = World::new("start-refused", Memory::default()).await;
    let config = json!({"on_stopped": "start"});
    world.run(config.clone()).await;
    let stopped = world.machine(1);
    world.memory.set(&stopped, Phase::Stopped);
    world
        .memory
        .order(Call::Start, "", Fault::Refused(Kind::Forbidden));
    let (_, problems) = world.run(config.clone()).await;
    assert_eq!(problems.len(), 1, "it is said once: {problems:?}");
    assert!(
        problems[0].starts_with("Could not start machines"),
        "{problems:?}"
    );
    assert_eq!(world.ordinals(), [0, 1, 2]);
    let (rollout, problems) = world.run(config.clone()).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout, ["start 1: stopped"]);
    world.is_settled(config).await;
}
