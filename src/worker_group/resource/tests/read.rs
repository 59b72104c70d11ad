//! Refreshes: what is seen of machines, and what stays in state where nothing is.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_refresh_tells_of_machines_that_were_adopted_or_that_another_creation_left() {
    for (policy, summary, kept) in [
        ("adopt", "Machines belong to another group now", 0),
        ("keep", "Machines of another creation exist", 3),
    ] {
        let id = format!("strangers-{policy}");
        let mut old = World::new(&id, Memory::default()).await;
        old.run(json!({})).await;
        old.refresh().await;
        let mut next = World::again(&id).await;
        next.run(json!({"on_existing": policy})).await;
        if policy == "keep" {
            next.memory.cut_off();
        }
        let problems = old.refresh().await;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(summary), "{problems:?}");
        let name = next.group().fields.machines.known().unwrap().clone();
        let name = name.keys().next().unwrap().clone();
        assert!(problems[0].contains(&name), "{problems:?}");
        let known = old.group().fields.machines.known().unwrap().len();
        assert_eq!(known, kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_marks_were_taken_off_is_still_the_one_that_was_recorded() {
    let mut world = World::new("unmarked", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let name = world.machine(1);
    world.memory.unmark(&name);
    let (rollout, problems) = world.run(json!({})).await;
    assert_eq!(rollout, ["update 1: marks changed"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 1, 2]);
    let marks = world.memory.machines().into_iter().map(|machine| Mark {
        proof: String::new(),
        ..machine.mark
    });
    let marks: Vec<Mark> = marks.collect();
    assert_eq!(marks[0], marks[1]);
    world.is_settled(json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_somebody_changed_is_mended_and_rolls_nothing() {
    for generation in ["", "something else"] {
        let id = format!("remarked-{generation}");
        let mut world = World::new(&id, Memory::default()).await;
        world.run(json!({})).await;
        world.refresh().await;
        let mark = world.memory.machines().remove(1).mark;
        world.memory.remark(&world.machine(1), generation);
        let (rollout, problems) = world.run(json!({})).await;
        assert_eq!(rollout, ["update 1: marks changed"]);
        assert_eq!(problems, NOTHING);
        assert_eq!(world.memory.machines().remove(1).mark, mark);
        world.is_settled(json!({})).await;
        // Nor where the plan did not know of it.
        let plan = world.plan(json!({"replicas": 4})).await;
        world.memory.remark(&world.machine(1), generation);
        let problems = world.apply(plan).await.join("");
        assert!(problems.contains("as well: marks changed"), "{problems}");
        assert_eq!(world.ordinals(), [0, 1, 2, 3]);
        world.is_settled(json!({"replicas": 4})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_does_not_answer_changes_nothing_in_state() {
    let mut world = World::new("silent", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let before = world.state.clone();
    for kind in [
        Kind::Forbidden,
        Kind::Unauthenticated,
        Kind::BadRequest,
        Kind::NotFound,
    ] {
        world.memory.order(Call::List, "", Fault::Refused(kind));
        let problems = world.refresh().await;
        assert!(
            problems[0].starts_with("Could not read the group's machines"),
            "{problems:?}"
        );
        assert!(world.state == before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_young_machine_that_is_not_listed_yet_is_not_gone() {
    let memory = Memory {
        window: Duration::from_secs(300),
        ..Memory::default()
    };
    let mut world = World::new("young", memory).await;
    world.run(json!({"replicas": 1})).await;
    let name = world.machine(0);
    let taken = world.memory.hide(&name, SystemTime::now());
    world.refresh().await;
    assert_eq!(world.group().fields.machines.known().unwrap().len(), 1);
    world.memory.unhide(taken);
    world.is_settled(json!({"replicas": 1})).await;
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_goes_by_itself_is_no_matter() {
    let memory = Memory {
        deletion: Duration::from_secs(600),
        ..Memory::default()
    };
    let mut world = World::new("twin-going", memory).await;
    world.run(json!({})).await;
    world.refresh().await;
    let first = world.memory.machines().remove(1);
    world.memory.put(&first.name, &first.mark);
    let twin = world.memory.machines().pop().unwrap();
    let of_state = |world: &World| {
        let group = world.group();
        let machines = group.fields.machines.known().unwrap();
        machines[&first.name].clone()
    };
    crate::worker_group::cloud::Answers::delete(&world.memory, &twin)
        .await
        .unwrap();
    world.is_settled(json!({})).await;
    assert_eq!(of_state(&world).id, first.id);
    let (rollout, problems) = world.run(json!({"replicas": 4})).await;
    assert_eq!(rollout, ["create 3: scale out to 4"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(of_state(&world).id, first.id);
    assert_eq!(of_state(&world).phase, "running");
    assert_eq!(world.memory.names().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_boots_another_image_or_never_comes_up_is_replaced_alone() {
    let mut world = World::new("drifted", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    world.memory.reimage(&world.machine(1), "other");
    let (rollout, problems) = world.run(json!({})).await;
    assert_eq!(
        rollout,
        [
            "create 3: replaces 1",
            "delete 1: image changed outside of this configuration"
        ]
    );
    assert_eq!(problems, NOTHING);
    // It has been pending since an hour, and has five minutes.
    let four = json!({"replicas": 4, "timeouts": {"update": "30s"}});
    world.memory.order(Call::Create, "", Fault::Hangs);
    let (_, problems) = world.run(four.clone()).await;
    assert!(
        problems[0].starts_with("Timeout of the operation is over"),
        "{problems:?}"
    );
    let late = world.machine(4);
    let since = SystemTime::now() - Duration::from_secs(3600);
    let hidden = world.memory.hide(&late, since);
    world.memory.unhide(hidden);
    let (rollout, problems) = world.run(four.clone()).await;
    assert_eq!(
        rollout,
        [
            "delete 4: not running within machine_timeout",
            "create 5: replaces 4"
        ]
    );
    assert_eq!(problems, NOTHING);
    world.is_settled(four).await;
}

#[tokio::test(start_paused = true)]
async fn another_image_is_still_drift_after_an_apply_that_failed() {
    let mut world = World::new("drifted-still", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    world.memory.reimage(&world.machine(1), "other");
    world
        .memory
        .order(Call::Create, "", Fault::Refused(Kind::Forbidden));
    let (_, problems) = world.run(json!({})).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (rollout, problems) = world.run(json!({})).await;
    let drifted = "delete 1: image changed outside of this configuration".to_owned();
    assert!(rollout.contains(&drifted), "{rollout:?}");
    assert_eq!(problems, NOTHING);
    world.is_settled(json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_and_was_not_missed_gives_no_reason_later() {
    let mut world = World::new("not-missed", Memory::default()).await;
    world.run(json!({})).await;
    world.memory.remove(&world.machine(0));
    let (rollout, problems) = world.run(json!({"replicas": 2})).await;
    assert_eq!((rollout.len(), problems.len()), (0, 0), "{rollout:?}");
    let (rollout, _) = world.run(json!({})).await;
    assert_eq!(rollout, ["create 3: scale out to 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_state_of_version_0_is_read() {
    let world = World::new("version-0", Memory::default()).await;
    let request = pb::upgrade_resource_state::Request {
        type_name: "flatcar_worker_group".to_owned(),
        version: 0,
        raw_state: Some(pb::RawState {
            json: include_bytes!("../state_v0.json").to_vec(),
            ..Default::default()
        }),
    };
    let response = world
        .service
        .upgrade_resource_state(Request::new(request))
        .await;
    let response = response.unwrap().into_inner();
    assert_eq!(said(&response.diagnostics), NOTHING);
    let group = Group::from_value(&undynamic(response.upgraded_state)).unwrap();
    assert_eq!(group.fields.uid, Attr::Known("k3v9x2ab".to_owned()));
    assert_eq!(group.fields.machines.known().unwrap().len(), 2);
}
