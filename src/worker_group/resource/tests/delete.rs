//! Deletions: what they refuse, and what they leave.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_protected_group_refuses_to_be_destroyed() {
    let mut world = World::new("protected", Memory::default()).await;
    world.run(json!({"deletion_protection": true})).await;
    let problems = world.destroy().await;
    assert!(
        problems[0].starts_with("Group is protected from deletion"),
        "{problems:?}"
    );
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.run(json!({})).await;
    assert_eq!(world.destroy().await, NOTHING);
}

#[tokio::test(start_paused = true)]
async fn what_a_replacement_deposed_is_deleted_in_spite_of_its_protection_where_the_environment_says_so()
 {
    for (flag, summary) in [
        ("deletion_protection", "Group is protected from deletion"),
        ("paused", "Group is paused"),
    ] {
        let id = format!("lifted-{flag}");
        let mut old = World::new(&id, Memory::default()).await;
        old.run(json!({})).await;
        old.run(json!({flag: true})).await;
        let refused = [old.plan_destroy().await, old.destroy().await];
        for said in refused {
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with(summary), "{said:?}");
            assert!(
                said[0].contains("deposed") && said[0].contains("FLATCAR_LIFT_PROTECTION=prod/w "),
                "{said:?}"
            );
        }
        for (list, is_lifted) in [("prod/wx,prod,w,/,prod/,*", false), ("test/w,prod/w", true)] {
            let mut world = World::lifting(list, &id).await;
            (world.state, world.private) = (old.state.clone(), old.private.clone());
            let planned = world.plan_destroy().await;
            let summary = match is_lifted {
                true => "Protection of the group is lifted: FLATCAR_LIFT_PROTECTION names prod/w",
                false => summary,
            };
            assert!(planned[0].starts_with(summary), "{list} {planned:?}");
            let problems = world.destroy().await;
            assert_eq!(problems.is_empty(), is_lifted, "{list} {problems:?}");
            assert_eq!(world.memory.names().is_empty(), is_lifted, "{list}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_protected_group_is_not_emptied_either() {
    let mut world = World::new("protected-empty", Memory::default()).await;
    let protected =
        |replicas: u8, on: bool| json!({"deletion_protection": on, "replicas": replicas});
    world.run(protected(3, true)).await;
    world.refresh().await;
    let plan = world.plan(protected(0, true)).await;
    assert!(
        plan.said[0].starts_with("Group is protected from deletion")
            && plan.said[0].contains("all 3 machines"),
        "{:?}",
        plan.said
    );
    // One at a time is no deletion of the group.
    let (rollout, problems) = world.run(protected(1, true)).await;
    assert_eq!((rollout.len(), problems.len()), (2, 0), "{problems:?}");
    let paused = json!({"deletion_protection": true, "replicas": 0, "paused": true});
    let plan = world.plan(paused).await;
    assert!(
        plan.said[0].starts_with("Group is paused"),
        "{:?}",
        plan.said
    );
    let (rollout, problems) = world.run(protected(0, false)).await;
    assert_eq!((rollout.len(), problems.len()), (1, 0), "{problems:?}");
    let (_, problems) = world.run(protected(0, true)).await;
    assert_eq!(problems, NOTHING, "there is nothing to protect");
}

#[tokio::test(start_paused = true)]
async fn a_paused_group_is_neither_destroyed_nor_replaced() {
    let mut world = World::new("paused-destroy", Memory::default()).await;
    world.run(json!({})).await;
    world.run(json!({"paused": true})).await;
    for changes in [
        json!({"paused": true, "name": "v"}),
        json!({"cluster": "test"}),
    ] {
        let plan = world.plan(changes).await;
        assert!(
            plan.said[0].starts_with("Group is paused"),
            "{:?}",
            plan.said
        );
    }
    let problems = world.destroy().await;
    assert!(problems[0].starts_with("Group is paused"), "{problems:?}");
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.run(json!({})).await;
    assert_eq!(world.destroy().await, NOTHING);
}

#[tokio::test(start_paused = true)]
async fn a_destroy_names_what_a_replacement_that_was_cut_off_leaves_running() {
    let keep = json!({"on_existing": "keep", "replicas": 1});
    let mut old = World::new("cut-off", Memory::default()).await;
    old.run(keep.clone()).await;
    old.refresh().await;
    // The process that replaces it is killed, and its state is lost.
    let mut lost = World::again("cut-off").await;
    lost.run(keep.clone()).await;
    lost.memory.cut_off();
    // The next one changes nothing, and destroys.
    let mut next = World::again("cut-off").await;
    (next.state, next.private) = (old.state.clone(), old.private.clone());
    let (rollout, problems) = next.run(keep).await;
    assert_eq!((rollout.len(), problems.len()), (0, 1), "{problems:?}");
    let problems = next.destroy().await;
    assert!(next.state.is_null());
    assert_eq!(next.memory.names(), [lost.machine(0)]);
    let told = format!(
        "Machines of another creation are left: 1 machine of this cluster and name was not deleted with the group, but made by a \
         creation whose state was never seen: {}. Where a replacement",
        lost.machine(0)
    );
    assert!(
        problems.len() == 1 && problems[0].starts_with(&told),
        "{problems:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_that_replaces_another_of_its_name_leaves_its_machines_alone_and_each_goes_with_its_own()
 {
    let mut old = World::new("replace", Memory::default()).await;
    old.run(json!({})).await;
    old.refresh().await;
    // create_before_destroy: one process creates the new group, then deletes the old one.
    let keep = json!({"on_existing": "keep"});
    let (state, private) = (
        std::mem::replace(&mut old.state, Value::Null),
        old.private.clone(),
    );
    let mut world = World::again("replace").await;
    let (_, problems) = world.run(keep.clone()).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (new_state, new_private) = (world.state.clone(), world.private.clone());
    world.state = state;
    world.private = private;
    assert_eq!(world.destroy().await, NOTHING);
    world.state = new_state;
    world.private = new_private;
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.is_settled(keep).await;
}
