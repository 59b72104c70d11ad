//! Creations: what they leave, what they take over, and what they say where they fall short.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_paused_creation_makes_no_machine_and_says_so() {
    let mut world = World::new("paused-create", Memory::default()).await;
    let (_, problems) = world.run(json!({"paused": true})).await;
    assert!(
        problems[0].starts_with("Group is paused: No machine was created."),
        "{problems:?}"
    );
    assert!(world.memory.names().is_empty());
    assert_eq!(
        world.destroy().await,
        NOTHING,
        "there is nothing to protect"
    );

    let mut world = World::new("paused-leftover", Memory::default()).await;
    world.run(json!({"replicas": 2})).await;
    world.memory.cut_off();
    let mut next = World::again("paused-leftover").await;
    let (_, problems) = next.run(json!({"paused": true})).await;
    assert!(
        problems[0].starts_with("Existing machines were taken over: 2 machines")
            && problems[1].contains("2 that exist were taken over"),
        "{problems:?}"
    );
    assert_eq!(next.ordinals(), [0, 1]);
    let (rollout, problems) = next.run(json!({})).await;
    assert_eq!(
        (rollout.len(), problems.len()),
        (1, 0),
        "{rollout:?} {problems:?}"
    );
    assert_eq!(next.memory.machines().len(), 3);
    next.is_settled(json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_falls_short_says_what_exists_and_the_next_apply_goes_on() {
    let mut world = World::new("short", Memory::default()).await;
    world
        .memory
        .order(Call::Create, "", Fault::Refused(Kind::Quota));
    let (_, problems) = world.run(json!({})).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("2 of 3 machines exist and are recorded"),
        "{problems:?}"
    );
    assert!(problems[0].contains("terraform untaint"), "{problems:?}");
    assert_eq!(world.ordinals().len(), 2);
    // Untainted.
    let (rollout, problems) = world.run(json!({})).await;
    assert_eq!(
        (rollout.len(), problems.len()),
        (1, 0),
        "{rollout:?} {problems:?}"
    );
    assert_eq!(world.ordinals().len(), 3);
    world.is_settled(json!({})).await;

    let mut world = World::new("short-warn", Memory::default()).await;
    world
        .memory
        .order(Call::Create, "", Fault::Refused(Kind::Quota));
    let (_, problems) = world.run(json!({"on_incomplete_create": "warn"})).await;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("of them run"), "{problems:?}");
    assert!(
        problems[0].contains("The next apply completes"),
        "{problems:?}"
    );
    assert!(!problems[0].contains("untaint"), "{problems:?}");
    assert_eq!(world.ordinals().len(), 2);

    for policy in ["error", "warn"] {
        let mut world = World::new(&format!("short-none-{policy}"), Memory::default()).await;
        for _ in 0..7 {
            let refused = Fault::Refused(Kind::Quota);
            world.memory.order(Call::Create, "", refused);
        }
        let changes = json!({"on_incomplete_create": policy, "replicas": 7});
        let (_, problems) = world.run(changes).await;
        assert_eq!(problems.len(), 1, "one cause, one error: {problems:?}");
        assert!(problems[0].contains("befell 7 machines"), "{problems:?}");
        assert!(problems[0].contains("-4 and 2 more"), "{problems:?}");
        assert!(problems[0].contains("No machine exists"), "{problems:?}");
        assert!(!problems[0].contains("untaint"), "{problems:?}");
        assert!(world.state.is_null());
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_ends_short_fails_or_warns_as_the_group_says_and_is_completed() {
    // what befalls creates, how often, machines that exist then, what is said
    let cases = [
        (
            Fault::Refused(Kind::Quota),
            1,
            2,
            "No quota or capacity for machine",
        ),
        (
            Fault::Refused(Kind::Forbidden),
            2,
            1,
            "Could not create machine",
        ),
        // One more than a creation makes again.
        (Fault::Dead, 6, 3, "Machine does not serve"),
    ];
    for (number, (fault, times, exist, said)) in cases.into_iter().enumerate() {
        for (policy, fails) in [
            (Json::Null, true),
            (json!("error"), true),
            (json!("warn"), false),
        ] {
            let what = format!("{fault:?} {policy}");
            let id = format!("ends-short-{number}-{policy}");
            let mut world = World::new(&id, Memory::default()).await;
            for _ in 0..times {
                world.memory.order(Call::Create, "", fault);
            }
            let config = json!({"on_incomplete_create": policy});
            let (_, problems) = world.run(config.clone()).await;
            assert_eq!(problems.len(), 1, "{what}: {problems:?}");
            assert!(problems[0].contains(said), "{what}: {problems:?}");
            assert_eq!(world.failed, fails, "{what}: {problems:?}");
            assert_eq!(world.ordinals().len(), exist, "{what}: {problems:?}");
            assert_eq!(problems[0].contains("untaint"), fails, "{what}");
            if fails {
                continue;
            }
            let (_, problems) = world.run(config.clone()).await;
            assert_eq!(problems, NOTHING, "{what}");
            assert_eq!(world.ordinals().len(), 3, "{what}");
            world.is_settled(config).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_makes_dead_machines_again() {
    let mut world = World::new("dead", Memory::default()).await;
    world.memory.order(Call::Create, "", Fault::Dead);
    world.memory.order(Call::Create, "", Fault::Stops);
    let (_, problems) = world.run(json!({})).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.is_settled(json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_creation_that_never_returned_left_is_taken_over() {
    let mut world = World::new("leftover", Memory::default()).await;
    world.run(json!({})).await;
    // The state was never saved.
    world.memory.cut_off();
    let mut next = World::again("leftover").await;
    let (_, problems) = next.run(json!({"replicas": 4})).await;
    let [told] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    assert!(
        told.starts_with("Existing machines were taken over: 3 machines of this cluster"),
        "{told}"
    );
    for words in [world.machine(2).as_str(), "of this state", "was cut off"] {
        assert!(told.contains(words), "{words} {told}");
    }
    assert_eq!(next.memory.machines().len(), 4);
    assert_eq!(next.ordinals().len(), 4);
    assert_eq!(
        next.memory
            .log()
            .iter()
            .filter(|l| l.starts_with("create"))
            .count(),
        4
    );
    next.is_settled(json!({"replicas": 4})).await;
    assert_eq!(next.destroy().await, NOTHING);
    assert!(next.memory.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn machines_of_another_state_are_treated_as_on_existing_says() {
    for (policy, problems_start, machines, adopted) in [
        ("fail", Some("Group exists already"), 3, false),
        ("keep", Some("Another group of this name exists"), 6, false),
        ("adopt", None, 3, true),
    ] {
        let id = format!("existing-{policy}");
        let mut world = World::new(&id, Memory::default()).await;
        world.run(json!({})).await;
        world.refresh().await;
        let old = world.uid();
        let mut next = World::again(&id).await;
        let (_, problems) = next.run(json!({"on_existing": policy})).await;
        let first = problems
            .first()
            .map(|p| p.split(':').next().unwrap_or_default());
        assert_eq!(first, problems_start, "{policy} {problems:?}");
        assert_eq!(next.memory.machines().len(), machines, "{policy}");
        let of_old = next
            .memory
            .machines()
            .iter()
            .filter(|m| m.mark.uid == old)
            .count();
        assert_eq!(of_old == 0, adopted, "{policy}");
        assert_eq!(next.state.is_null(), policy == "fail");
        if policy == "keep" {
            assert_eq!(next.destroy().await, NOTHING);
            assert_eq!(next.memory.machines().len(), 3, "the old group's stay");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn machines_that_another_creation_made_and_no_state_has_refreshed_yet_are_never_deleted() {
    for (policy, summary, machines) in [
        ("fail", Some("Group exists already"), 3),
        ("keep", Some("Another group of this name exists"), 6),
        ("adopt", None, 3),
    ] {
        for phase in [Phase::Running, Phase::Pending] {
            let id = format!("unsaved-{policy}-{phase:?}");
            let mut world = World::new(&id, Memory::default()).await;
            world.run(json!({})).await;
            world.memory.cut_off();
            for name in world.memory.names() {
                world.memory.set(&name, phase);
            }
            let ids = |world: &World| {
                let machines = world.memory.machines().into_iter();
                machines.map(|m| m.id).collect::<BTreeSet<_>>()
            };
            let before = ids(&world);
            let mut next = World::again(&id).await;
            let other = json!({"on_existing": policy, "user_data": with_motd("b")});
            let (_, problems) = next.run(other.clone()).await;
            let first = problems.iter().find_map(|p| p.split(':').next());
            let expected = match phase {
                Phase::Running => summary,
                _ => summary.or(first),
            };
            assert_eq!(first, expected, "{id} {problems:?}");
            assert!(ids(&next).is_superset(&before), "{id}");
            assert_eq!(ids(&next).len(), machines, "{id}");
            assert_eq!(next.state.is_null(), policy == "fail", "{id}");
            if policy == "adopt" && phase == Phase::Running {
                let (rollout, _) = next.run(other).await;
                assert!(rollout[1].starts_with("delete "), "{rollout:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_a_creation_that_never_returned_left_only_what_broke_is_deleted() {
    // One that failed is not worth a mark.
    for (phase, taken) in [(Phase::Stopped, 4), (Phase::Failed, 3)] {
        a_broken_leftover_is_deleted(phase, taken).await;
    }
}

async fn a_broken_leftover_is_deleted(phase: Phase, taken: usize) {
    let id = format!("leftover-{phase:?}");
    let mut world = World::new(&id, Memory::default()).await;
    world.run(json!({"replicas": 4})).await;
    world.memory.cut_off();
    let broken = world.machine(0);
    world.memory.set(&broken, phase);
    let mut next = World::again(&id).await;
    let (_, problems) = next.run(json!({"replicas": 2})).await;
    assert!(
        problems.len() == 1 && problems[0].contains(&format!("{taken} machines of this cluster")),
        "{problems:?}"
    );
    assert!(!next.memory.names().contains(&broken));
    assert_eq!(next.ordinals(), [1, 2, 3]);
    let (rollout, problems) = next.run(json!({"replicas": 2})).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout.len(), 1, "{rollout:?}");
    assert_eq!(next.ordinals().len(), 2);
    next.is_settled(json!({"replicas": 2})).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_adopts_its_predecessor_keeps_the_machines_when_that_is_destroyed() {
    let mut old = World::new("adopted", Memory::default()).await;
    old.run(json!({})).await;
    old.refresh().await;
    let mut next = World::again("adopted").await;
    let (_, problems) = next.run(json!({"on_existing": "adopt"})).await;
    assert_eq!(problems, NOTHING);
    let problems = old.destroy().await;
    let told = "Machines belong to another group now: Another group has adopted 3 machines";
    assert!(
        problems.len() == 1 && problems[0].starts_with(told),
        "{problems:?}"
    );
    assert!(old.state.is_null());
    assert_eq!(next.ordinals(), [0, 1, 2]);
    next.is_settled(json!({"on_existing": "adopt"})).await;
}

#[tokio::test(start_paused = true)]
async fn two_blocks_of_one_name_in_one_run_are_an_error() {
    let mut world = World::new("twice", Memory::default()).await;
    world.run(json!({})).await;
    world.state = Value::Null;
    let (_, problems) = world.run(json!({})).await;
    assert!(
        problems[0].starts_with("Two groups have one cluster and name"),
        "{problems:?}"
    );
    assert_eq!(world.memory.machines().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn machines_that_state_lost_are_taken_back() {
    let mut world = World::new("lost-state", Memory::default()).await;
    world.run(json!({"replicas": 2})).await;
    let (older, private) = (world.state.clone(), world.private.clone());
    world.run(json!({"replicas": 4})).await;
    world.state = older;
    world.private = private;
    let (rollout, problems) = world.run(json!({"replicas": 4})).await;
    assert_eq!((rollout.len(), problems.len()), (0, 0), "{rollout:?}");
    assert_eq!(world.ordinals(), [0, 1, 2, 3]);
    let (rollout, _) = world.run(json!({"replicas": 5})).await;
    assert_eq!(rollout, ["create 4: scale out to 5"]);
}

#[tokio::test(start_paused = true)]
async fn machines_of_a_predecessor_that_are_going_are_nobodys() {
    let memory = Memory {
        deletion: Duration::from_secs(600),
        ..Memory::default()
    };
    let mut old = World::new("going", memory).await;
    old.run(json!({})).await;
    old.refresh().await;
    for machine in old.memory.machines() {
        crate::worker_group::cloud::Answers::delete(&old.memory, &machine)
            .await
            .unwrap();
    }
    let mut next = World::again("going").await;
    let (_, problems) = next.run(json!({})).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(next.memory.names().len(), 6);
}
