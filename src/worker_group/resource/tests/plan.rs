//! Plans: what they say, and what they leave open.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_plan_says_machine_by_machine_what_changes_and_why_and_apply_does_that() {
    let cases = [
        (
            "user-data",
            json!({"user_data": with_motd("s3cret")}),
            "user_data: ",
        ),
        (
            "size",
            json!({"memory": {"size": "large"}}),
            "memory.size changed",
        ),
        (
            "triggers",
            json!({"replace_triggers": {"kernel": "2"}}),
            "replace_triggers[\"kernel\"] changed",
        ),
    ];
    for (id, changes, reason) in cases {
        let mut world = World::new(&format!("why-{id}"), Memory::default()).await;
        world.run(json!({"user_data": with_motd("a")})).await;
        let mut changes = changes;
        if changes.get("user_data").is_none() {
            changes["user_data"] = json!(with_motd("a"));
        }
        let (rollout, problems) = world.run(changes.clone()).await;
        assert_eq!(problems, NOTHING);
        assert_eq!(rollout.len(), 6, "{rollout:?}");
        // In the order of their beginning: one more machine may exist, none may be missing.
        assert_eq!(rollout[0], "create 3: replaces 0");
        assert!(
            rollout[1].starts_with(&format!("delete 0: {reason}")),
            "{rollout:?}"
        );
        assert_eq!(world.ordinals(), [3, 4, 5]);
        world.is_settled(changes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_spelled_otherwise_rolls_nothing() {
    let mut world = World::new("spelling", Memory::default()).await;
    world.run(json!({})).await;
    let spaced = "{ \"ignition\" : { \"version\" : \"3.3.0\" } }";
    for changes in [
        json!({"user_data": spaced}),
        json!({"memory": {"size": "small"}}),
        json!({"image_update": "roll"}),
        json!({"image_update": "pinned"}),
        json!({"user_data_update": "new_only"}),
        json!({"rolling_update": {"max_surge": "50%"}}),
        json!({"set_hostname": true}),
        json!({"timeouts": {"create": "1h"}}),
    ] {
        let before = world.memory.log().len();
        let (_, problems) = world.run(changes.clone()).await;
        assert_eq!(problems, NOTHING, "{changes}");
        assert_eq!(world.memory.log().len(), before, "{changes}");
        world.is_settled(changes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_group_is_planned_and_left_alone() {
    let mut world = World::new("paused", Memory::default()).await;
    world.run(json!({})).await;
    let paused = json!({"paused": true, "user_data": with_motd("b")});
    let before = world.memory.log().len();
    let (rollout, problems) = world.run(paused.clone()).await;
    // What is planned is nothing, and what is left undone is told.
    assert_eq!(rollout, NOTHING);
    let first = format!(
        "Group is paused: 6 steps are left undone: create {} (replaces {}); delete {} (user_data: ",
        world.machine(3),
        world.machine(0),
        world.machine(0)
    );
    assert!(problems[0].starts_with(&first), "{problems:?}");
    assert_eq!(world.memory.log().len(), before);
    world.refresh().await;
    let plan = world.plan(paused).await;
    assert!(plan.planned == world.state);
    let (rollout, problems) = world.run(json!({"user_data": with_motd("b")})).await;
    assert_eq!(problems, NOTHING);
    assert!(rollout[1].starts_with("delete 0: user_data"), "{rollout:?}");
    assert_eq!(world.ordinals(), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_input_makes_what_depends_on_it_unknown_and_nothing_else() {
    let mut world = World::new("unknown", Memory::default()).await;
    world.run(json!({})).await;
    for key in ["user_data", "image", "replicas", "replace_triggers"] {
        let plan = world.plan(json!({key: "<unknown>"})).await;
        let group = Group::from_value(&plan.planned).unwrap();
        assert!(group.fields.rollout.is_unknown(), "{key}");
        assert!(group.fields.machines.is_unknown(), "{key}");
        assert!(group.fields.generation.is_unknown(), "{key}");
        assert!(group.fields.uid.known().is_some(), "{key}");
        assert_eq!(plan.said, NOTHING);
    }
    let fresh = World::new("unknown-create", Memory::default()).await;
    let plan = fresh.plan(json!({"user_data": "<unknown>"})).await;
    let group = Group::from_value(&plan.planned).unwrap();
    assert_eq!(group.fields.rollout, Whole::Known(Vec::new()));
    assert_eq!(group.fields.cloud, Attr::Known("memory".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_touches_no_machine_has_no_step_whatever_the_last_apply_did() {
    let mut world = World::new("no-step", Memory::default()).await;
    world.run(json!({"replicas": 2})).await;
    let (last, _) = world.run(json!({"replicas": 3})).await;
    assert_eq!(last.len(), 1);
    let longer = json!({"machine_timeout": "6m"});
    for changes in [json!({}), longer.clone(), longer.clone()] {
        world.refresh().await;
        let plan = world.plan(changes.clone()).await;
        assert_eq!(world.rollout(&plan.planned), NOTHING, "{changes}");
        world.apply(plan).await;
    }
    let (last, _) = world.run(json!({"replicas": 1})).await;
    assert_eq!(last.len(), 2);
    world.memory.remove(&world.machine(0));
    let (rollout, problems) = world.run(json!({"replicas": 0})).await;
    assert_eq!((rollout, problems), (Vec::new(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_name_or_a_cluster_that_changes_replaces_the_group() {
    let mut world = World::new("renamed", Memory::default()).await;
    world.run(json!({})).await;
    let both = json!({"name": "v", "cluster": "test", "replicas": 2});
    for (changes, what) in [
        (json!({"name": "v"}), "A change of name makes"),
        (json!({"cluster": "test"}), "A change of cluster makes"),
        (both, "2 others"),
    ] {
        let plan = world.plan(changes).await;
        assert!(plan.replaces);
        let [said] = &plan.said[..] else {
            panic!("{:?}", plan.said)
        };
        assert!(said.starts_with("Group is replaced: "), "{said}");
        assert!(said.contains(what), "{said}");
        assert!(said.contains(&world.machine(2)), "{said}");
    }
    let plan = world.plan(json!({"replicas": 1})).await;
    assert!(!plan.replaces);
    assert_eq!(plan.said, NOTHING);
}

#[tokio::test(start_paused = true)]
async fn another_cloud_replaces_the_group_and_the_plan_says_which_machines_go() {
    let mut world = World::new("moved", Memory::default()).await;
    world.run(json!({})).await;
    let moved = json!({"memory": null, "second": {}});
    let plan = world.plan(moved.clone()).await;
    assert!(plan.replaces);
    assert_eq!(plan.said.len(), 1, "{:?}", plan.said);
    assert!(
        plan.said[0].starts_with("Group is replaced: A change of memory and second makes"),
        "{:?}",
        plan.said
    );
    assert!(plan.said[0].contains(&world.machine(0)), "{:?}", plan.said);
    world.run(json!({"deletion_protection": true})).await;
    let plan = world.plan(moved).await;
    assert!(
        plan.said[0].starts_with("Group is protected from deletion"),
        "{:?}",
        plan.said
    );
}
