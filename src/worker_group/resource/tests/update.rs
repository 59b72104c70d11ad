//! Updates: what rolls, what changes in place, and what has happened since the plan.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_image_rolls_as_image_update_says() {
    let other = |policy: &str| json!({"image": "other", "image_update": policy});
    let mut world = World::new("image", Memory::default()).await;
    world.run(json!({})).await;
    let (rollout, _) = world.run(other("new_only")).await;
    assert_eq!(rollout, NOTHING);
    let mut more = other("new_only");
    more["replicas"] = json!(4);
    world.run(more).await;
    let images = |world: &World| {
        let mut images: Vec<String> = world
            .memory
            .machines()
            .into_iter()
            .map(|m| m.image)
            .collect();
        images.sort();
        images.join(" ")
    };
    assert_eq!(images(&world), "flatcar flatcar flatcar other");
    let mut pinned = other("pinned");
    pinned["replicas"] = json!(5);
    world.run(pinned).await;
    assert_eq!(images(&world), "flatcar flatcar flatcar flatcar other");
    let mut roll = other("roll");
    roll["replicas"] = json!(5);
    let (rollout, problems) = world.run(roll).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout[1], "delete 0: image: flatcar -> other");
    assert_eq!(rollout.len(), 8);
    assert_eq!(images(&world), "other other other other other");
}

#[tokio::test(start_paused = true)]
async fn a_write_only_user_data_rolls_by_its_version_and_is_in_no_state() {
    let wo = |secret: &str, version: i64| json!({"user_data": null, "user_data_wo": with_motd(secret), "user_data_wo_version": version});
    let mut world = World::new("wo", Memory::default()).await;
    let (_, problems) = world.run(wo("s3cret-1", 1)).await;
    assert_eq!(problems, NOTHING);
    assert!(
        world
            .memory
            .user_data(&world.machine(0))
            .unwrap()
            .contains("s3cret-1")
    );
    let stored = world.state.to_json(&kind()).unwrap();
    assert!(!stored.contains("s3cret"));
    world.is_settled(wo("s3cret-2", 1)).await;
    let (rollout, _) = world.run(wo("s3cret-3", 2)).await;
    assert_eq!(rollout[1], "delete 0: user_data_wo_version: 1 -> 2");
    assert!(
        world
            .memory
            .user_data(&world.machine(3))
            .unwrap()
            .contains("s3cret-3")
    );
}

#[tokio::test(start_paused = true)]
async fn tags_change_in_place_and_drift_is_mended() {
    let tags = |owner: &str| json!({"memory": {"tags": {"owner": owner}}});
    let mut world = World::new("tags", Memory::default()).await;
    world.run(tags("a")).await;
    let (rollout, problems) = world.run(tags("b")).await;
    assert_eq!(rollout[0], "update 0: memory.tags changed");
    assert_eq!((rollout.len(), problems.len()), (3, 0));
    assert_eq!(world.ordinals(), [0, 1, 2]);
    assert!(
        world
            .memory
            .machines()
            .iter()
            .all(|m| m.observed["tags.owner"] == "b")
    );
    world.is_settled(tags("b")).await;

    world.memory.observe(&world.machine(1), "tags.owner", "x");
    let (rollout, _) = world.run(tags("b")).await;
    assert_eq!(rollout, ["update 1: memory.tags changed"]);
    world.is_settled(tags("b")).await;

    world.memory.observe(&world.machine(1), "size", "huge");
    let (rollout, _) = world.run(tags("b")).await;
    assert_eq!(
        rollout,
        [
            "create 3: replaces 1",
            "delete 1: memory.size changed outside of this configuration"
        ]
    );
    world.is_settled(tags("b")).await;

    world
        .memory
        .order(Call::Mark, "", Fault::Refused(Kind::Forbidden));
    let (_, problems) = world.run(tags("c")).await;
    assert!(
        problems[0].starts_with("Could not change machines in place"),
        "{problems:?}"
    );
    let (rollout, problems) = world.run(tags("c")).await;
    assert_eq!((rollout.len(), problems.len()), (3, 0));
    world.is_settled(tags("c")).await;
}

#[tokio::test(start_paused = true)]
async fn user_data_for_new_machines_only_rolls_nothing() {
    let mut world = World::new("wanted-new", Memory::default()).await;
    world.run(json!({})).await;
    let changed = |replicas: u8| json!({"user_data": with_motd("new"), "user_data_update": "new_only", "replicas": replicas});
    let (rollout, problems) = world.run(changed(3)).await;
    assert_eq!((rollout.len(), problems.len()), (0, 0), "{rollout:?}");
    let (rollout, _) = world.run(changed(4)).await;
    assert_eq!(rollout, ["create 3: scale out to 4"]);
    for (ordinal, new) in [(2, false), (3, true)] {
        let booted = world.memory.user_data(&world.machine(ordinal)).unwrap();
        assert_eq!(booted.contains("data:,new"), new, "{booted}");
    }
    world.is_settled(changed(4)).await;
}

#[tokio::test(start_paused = true)]
async fn without_set_hostname_user_data_is_booted_as_it_is() {
    let mut world = World::new("hostname", Memory::default()).await;
    world.run(json!({})).await;
    let plain = json!({"set_hostname": false});
    let (rollout, problems) = world.run(plain.clone()).await;
    assert_eq!((rollout.len(), problems.len()), (6, 0), "{rollout:?}");
    assert!(
        rollout.contains(&"delete 0: user_data: set_hostname changed".to_owned()),
        "{rollout:?}"
    );
    let booted = world.memory.user_data(&world.machine(3)).unwrap();
    assert_eq!(booted, IGNITION);
    world.is_settled(plain).await;
}

#[tokio::test(start_paused = true)]
async fn shares_in_percent_hold_for_a_whole_roll() {
    // Of three: two more (rounded up), one fewer (rounded down).
    let rolled = |motd: &str| {
        json!({
            "user_data": with_motd(motd),
            "rolling_update": {"max_surge": "50%", "max_unavailable": "34%", "canary": false}
        })
    };
    let mut world = World::new("percent", Memory::default()).await;
    world.run(rolled("a")).await;
    let (rollout, problems) = world.run(rolled("b")).await;
    assert_eq!((rollout.len(), problems.len()), (6, 0), "{rollout:?}");
    let first: Vec<&str> = rollout.iter().map(|step| &step[..8]).collect();
    assert_eq!(
        first[..3],
        ["delete 0", "create 3", "create 4"],
        "{rollout:?}"
    );
    assert_eq!(
        (world.memory.most(), world.memory.fewest_ready()),
        (5, Some(2))
    );
    assert_eq!(world.ordinals(), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_as_allowed_are_made_again_in_a_roll() {
    for (allowed, problems) in [(2, 0), (1, 1)] {
        let mut world = World::new(&format!("budget-{allowed}"), Memory::default()).await;
        world.run(json!({})).await;
        world.memory.order(Call::Create, "", Fault::Dead);
        world.memory.order(Call::Create, "", Fault::Dead);
        let rolled =
            json!({"replace_triggers": {"x": "1"}, "rolling_update": {"max_failures": allowed}});
        let (_, said) = world.run(rolled.clone()).await;
        assert_eq!(said.len(), problems, "{allowed} {said:?}");
        let (_, said) = world.run(rolled.clone()).await;
        assert_eq!(said, NOTHING, "{allowed}");
        world.is_settled(rolled).await;
    }
}

#[tokio::test(start_paused = true)]
async fn remove_first_names_what_goes() {
    let mut world = World::new("named", Memory::default()).await;
    world.run(json!({})).await;
    let named = json!({"replicas": 2, "remove_first": [world.machine(0)]});
    let (rollout, problems) = world.run(named.clone()).await;
    assert_eq!(rollout, ["delete 0: scale in to 2 (named in remove_first)"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [1, 2]);
    world.is_settled(named).await;
}

#[tokio::test(start_paused = true)]
async fn a_roll_that_stopped_goes_on_with_its_reasons() {
    let mut world = World::new("goes-on", Memory::default()).await;
    world.run(json!({})).await;
    world.memory.order(Call::Create, "", Fault::Dead);
    let rolled = json!({"replace_triggers": {"x": "1"}});
    let (_, problems) = world.run(rolled.clone()).await;
    assert!(
        problems[0].starts_with("Machine does not serve"),
        "{problems:?}"
    );
    assert!(problems[0].contains("Apply again to go on"), "{problems:?}");
    let (rollout, problems) = world.run(rolled.clone()).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout[0], "delete 3: scale in to 3 (failed)");
    assert!(
        rollout.contains(&"delete 0: replace_triggers[\"x\"] changed".to_owned()),
        "{rollout:?}"
    );
    // 4 and 5 were planned and never made: an ordinal is not used again all the same.
    assert_eq!(world.ordinals(), [6, 7, 8]);
    world.is_settled(rolled).await;
}
