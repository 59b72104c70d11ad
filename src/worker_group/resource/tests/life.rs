//! A whole life, on a cloud that is one file and one row.

use super::*;

#[test]
fn the_schemas_that_a_row_brings_are_such_as_core_takes() {
    let provider = provider(WorkerGroup::new(CLOUDS));
    let faults = crate::provider::validity::faults(&provider);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_created_scaled_rolled_repaired_and_destroyed() {
    let mut world = World::new("life", Memory::default()).await;
    let (rollout, problems) = world.run(json!({})).await;
    assert_eq!((rollout.len(), problems.len()), (0, 0), "{problems:?}");
    assert_eq!(world.ordinals(), [0, 1, 2]);
    assert!(world.memory.machines().iter().all(|m| !m.mark.unsaved));
    let booted = world.memory.user_data(&world.machine(1)).unwrap();
    assert!(
        booted.contains(&format!("data:,{}", world.machine(1))),
        "{booted}"
    );
    world.is_settled(json!({})).await;
    assert!(world.memory.machines().iter().all(|m| !m.mark.unsaved));

    let (rollout, problems) = world.run(json!({"replicas": 5})).await;
    assert_eq!(
        rollout,
        ["create 3: scale out to 5", "create 4: scale out to 5"]
    );
    assert_eq!(problems, NOTHING);
    world.is_settled(json!({"replicas": 5})).await;
    assert!(world.memory.machines().iter().all(|m| !m.mark.unsaved));

    world.memory.remove(&world.machine(1));
    let (rollout, problems) = world.run(json!({"replicas": 5})).await;
    assert_eq!(rollout, ["create 5: replaces 1, which is gone"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 2, 3, 4, 5]);
    world.is_settled(json!({"replicas": 5})).await;

    let (rollout, problems) = world.run(json!({"replicas": 3})).await;
    assert_eq!(
        rollout,
        ["delete 5: scale in to 3", "delete 4: scale in to 3"]
    );
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 2, 3]);

    world.memory.set(&world.machine(2), Phase::Stopped);
    let (rollout, problems) = world.run(json!({})).await;
    assert_eq!(rollout, ["delete 2: stopped", "create 6: replaces 2"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 3, 6]);

    assert_eq!(world.destroy().await, NOTHING);
    assert!(world.state.is_null());
    assert!(world.memory.names().is_empty());
}
