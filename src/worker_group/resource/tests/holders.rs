//! Who holds a group, and what gives right over a machine.

use super::*;
use crate::worker_group::cloud::memory::Balancer;

/// All that exists, by id, with what it carries.
fn all(world: &World) -> BTreeMap<String, (String, Mark)> {
    let machines = world.memory.machines().into_iter();
    machines.map(|m| (m.id, (m.name, m.mark))).collect()
}

fn one(problems: &[String], summary: &str) -> String {
    let [told] = problems else {
        panic!("one problem, not {problems:?}");
    };
    assert!(told.starts_with(summary), "{told}");
    told.clone()
}

#[tokio::test(start_paused = true)]
async fn a_second_workspace_takes_nothing_over_before_the_first_one_has_refreshed() {
    let mut first = World::new("second-workspace", Memory::default()).await;
    first.run(json!({})).await;
    let before = all(&first);
    let mut second = World::elsewhere("second-workspace").await;
    let (_, problems) = second.run(json!({})).await;
    let told = one(
        &problems,
        "Group exists already: 3 machines of this cluster",
    );
    assert!(told.contains("held by another state"), "{told}");
    for name in first.memory.names() {
        assert!(told.contains(&name), "{told}");
    }
    assert!(second.state.is_null());
    assert_eq!(all(&first), before);
    first.is_settled(json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn what_another_states_create_has_begun_is_taken_over_by_adopt_alone() {
    for (policy, summary, taken) in [
        ("fail", Some("Group exists already"), false),
        ("keep", Some("Another group of this name exists"), false),
        ("adopt", None, true),
    ] {
        let id = format!("begun-{policy}");
        let mut first = World::new(&id, Memory::default()).await;
        first.run(json!({})).await;
        first.memory.cut_off();
        let before = all(&first);
        let mut second = World::elsewhere(&id).await;
        let (_, problems) = second.run(json!({"on_existing": policy})).await;
        match summary {
            Some(summary) => {
                let told = one(&problems, summary);
                assert!(told.contains("it may be under way"), "{told}");
                assert!(told.contains(&first.machine(2)), "{told}");
            }
            None => assert_eq!(problems, NOTHING),
        }
        let now = all(&second);
        let kept = before.iter().all(|(id, was)| now.get(id) == Some(was));
        assert_eq!(kept, !taken, "{policy}");
        assert!(before.keys().all(|id| now.contains_key(id)), "{policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_creates_at_once_one_ends_and_neither_takes_from_the_other() {
    for (policy, failed) in [("fail", 1), ("adopt", 1), ("keep", 0)] {
        let id = format!("at-once-{policy}");
        // What one makes shows in no list before the other has begun to make its own.
        let memory = Memory {
            lag: Duration::from_secs(5),
            window: Duration::from_secs(5),
            ..Memory::default()
        };
        let mut first = World::new(&id, memory).await;
        let mut second = World::elsewhere(&id).await;
        let changes = json!({"on_existing": policy});
        let ((_, one), (_, other)) =
            tokio::join!(first.run(changes.clone()), second.run(changes.clone()));
        let problems: Vec<&Vec<String>> = [&one, &other]
            .into_iter()
            .filter(|p| !p.is_empty())
            .collect();
        assert_eq!(problems.len(), failed, "{policy} {problems:?}");
        let uids = [first.uid(), second.uid()];
        let machines = first.memory.machines();
        for (world, uid) in [(&first, &uids[0]), (&second, &uids[1])] {
            let of_it: BTreeSet<String> = machines
                .iter()
                .filter(|machine| machine.mark.uid == *uid)
                .map(|machine| machine.name.clone())
                .collect();
            let group = world.group();
            let recorded = group.fields.machines.known().unwrap();
            assert_eq!(recorded.keys().cloned().collect::<BTreeSet<_>>(), of_it);
        }
        if let Some(problems) = problems.first() {
            let told = problems.join("\n");
            assert!(
                told.starts_with("Another state creates this group, too"),
                "{told}"
            );
            let winner = if one.is_empty() { &first } else { &second };
            assert!(told.contains(&winner.machine(0)), "{told}");
            assert!(told.contains("untaint"), "{told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_machine_with_its_tags_is_named_and_left_whatever_is_done() {
    let mut world = World::new("copy", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let original = world.memory.machines().remove(1);
    world.memory.put(&original.name, &original.mark);
    // Other names, and a name that no group makes.
    world.memory.put(&world.machine(7), &original.mark);
    world.memory.put(&world.machine(u64::MAX), &original.mark);
    world.memory.put("somebody", &original.mark);
    let strangers: Vec<(String, (String, Mark))> = all(&world).into_iter().skip(3).collect();
    assert_eq!(strangers.len(), 4);
    let unharmed = |world: &World, when: &str| {
        let now = all(world);
        for (id, was) in &strangers {
            assert_eq!(now.get(id), Some(was), "{when}");
        }
    };
    let told = "Machines carry the group's marks and are not its own: 4 machines carry";
    for (changes, steps, machines) in [
        (json!({}), 0, 3),
        (
            json!({"memory": {"tags": {"a": "b"}}, "deletion_protection": true}),
            3,
            3,
        ),
        (json!({"replicas": 4}), 4, 4),
        (json!({"replicas": 2}), 2, 2),
        (json!({"replicas": 2, "user_data": with_motd("b")}), 4, 2),
    ] {
        let (rollout, problems) = world.run(changes.clone()).await;
        assert_eq!(rollout.len(), steps, "{changes} {rollout:?}");
        assert!(!problems.is_empty(), "{changes}");
        for problem in &problems {
            assert!(problem.starts_with(told), "{changes} {problem}");
            for (id, _) in &strangers {
                assert!(problem.contains(&format!("({id})")), "{problem}");
            }
        }
        unharmed(&world, &changes.to_string());
        let group = world.group();
        let recorded = group.fields.machines.known().unwrap();
        assert_eq!(recorded.len(), machines, "{changes}");
        assert!(recorded.values().all(|m| all(&world).contains_key(&m.id)));
    }
    // The original is gone by now, and its copy is still none of the group's.
    assert!(!all(&world).contains_key(&original.id));
    let problems = world.destroy().await;
    one(&problems, told);
    unharmed(&world, "destroy");
    assert_eq!(world.memory.machines().len(), 4);
    assert!(world.state.is_null());
}

/// Its original was deleted by the very apply during which it was launched: no refresh has seen
/// both.
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_launched_while_its_original_is_rolled_is_left() {
    let mut world = World::new("copy-in-a-roll", Memory::default()).await;
    world.run(json!({})).await;
    let original = world.memory.machines().remove(1);
    let rolled = json!({"user_data": with_motd("b")});
    world.run(rolled.clone()).await;
    world.memory.put(&original.name, &original.mark);
    for (changes, steps) in [
        (rolled.clone(), 0),
        (json!({"user_data": with_motd("b"), "replicas": 2}), 1),
        (json!({"user_data": with_motd("c"), "replicas": 2}), 4),
    ] {
        let (rollout, problems) = world.run(changes.clone()).await;
        assert_eq!(rollout.len(), steps, "{changes} {rollout:?}");
        for problem in &problems {
            assert!(
                problem.starts_with("Machines carry the group's marks and are not its own"),
                "{changes} {problem}"
            );
        }
        assert!(world.memory.names().contains(&original.name), "{changes}");
    }
    one(&world.destroy().await, "Machines carry the group's marks");
    assert_eq!(world.memory.names(), [original.name]);
}

#[tokio::test(start_paused = true)]
async fn what_was_tagged_after_the_plan_is_not_deleted_by_its_apply() {
    let mut world = World::new("tagged", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let mark = Mark {
        generation: String::new(),
        proof: String::new(),
        ..world.memory.machines().remove(0).mark
    };
    let plan = world.plan(json!({"replicas": 1})).await;
    world.memory.put(&world.machine(3), &mark);
    let problems = world.apply(plan).await;
    one(&problems, "Machines carry the group's marks");
    assert_eq!(world.memory.names(), [world.machine(0), world.machine(3)]);
    let problems = world.destroy().await;
    one(&problems, "Machines carry the group's marks");
    assert_eq!(world.memory.machines().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_copy_gets_no_traffic() {
    let memory = Memory {
        balancer: Some(Balancer::default()),
        ..Memory::default()
    };
    let mut world = World::new("copy-traffic", memory).await;
    world.run(json!({"replicas": 1})).await;
    let machine = world.memory.machines().remove(0);
    world.memory.put("copy-of-a-worker", &machine.mark);
    world.memory.put(&world.machine(9), &machine.mark);
    world.run(json!({"replicas": 2})).await;
    let balancer = world.memory.balancer.as_ref().unwrap();
    let entered = [world.machine(0), world.machine(1)].map(|name| format!("enter {name}"));
    assert_eq!(balancer.log(), entered);
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_apply_has_made_stands_in_the_next_plan_and_is_not_doubled() {
    let mut world = World::new("killed-update", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    // The plan of the killed apply, applied again as it was saved.
    let plan = world.plan(json!({"replicas": 5})).await;
    world.made(3);
    let problems = world.apply(plan).await;
    assert_eq!(world.ordinals(), [0, 1, 2, 3, 4]);
    one(&problems, "Group has changed since the plan");
    world.is_settled(json!({"replicas": 5})).await;

    world.made(5);
    let (rollout, problems) = world.run(json!({"replicas": 5})).await;
    assert_eq!(rollout, ["delete 5: scale in to 5"]);
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn what_no_plan_has_shown_is_left_by_an_apply_and_recorded_by_a_destroy() {
    let mut world = World::new("unplanned", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let plan = world.plan(json!({"replicas": 2})).await;
    world.made(3);
    let problems = world.apply(plan).await;
    let told = one(&problems, "Machines of an earlier apply were found");
    assert!(told.contains(&world.machine(3)), "{told}");
    assert_eq!(world.memory.machines().len(), 3);
    let problems = world.destroy().await;
    let told = one(&problems, "Machines were found that no plan has shown");
    assert!(told.contains(&world.machine(3)), "{told}");
    assert_eq!(world.ordinals(), [3]);
    assert_eq!(world.destroy().await, NOTHING);
    assert!(world.memory.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_group_of_an_older_release_gets_a_secret_and_goes_on() {
    let mut world = World::new("no-secret", Memory::default()).await;
    world.run(json!({})).await;
    let Value::Map(fields) = &mut world.state else {
        panic!("a state")
    };
    fields.insert("proof_key".to_owned(), Value::Null);
    // Without a refresh before it, a plan promises that it stays so.
    let plan = world.plan(json!({"replicas": 2})).await;
    assert_eq!(world.apply(plan).await, NOTHING);
    assert!(world.group().fields.proof_key == Attr::Null);
    world.run(json!({})).await;
    world.is_settled(json!({})).await;
    let (_, problems) = world.run(json!({"replicas": 4})).await;
    assert_eq!(problems, NOTHING);
    world.made(5);
    let (rollout, problems) = world.run(json!({"replicas": 4})).await;
    assert_eq!(rollout, ["delete 5: scale in to 4"]);
    assert_eq!(problems, NOTHING);
}

/// A core that gets no answer keeps the attributes that were, and drops private state.
#[tokio::test(start_paused = true)]
async fn a_provider_that_is_killed_costs_no_machine_and_no_first_image() {
    let pinned = |changes: Json| {
        let mut all = json!({"image_update": "pinned"});
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let mut world = World::new("killed", Memory::default()).await;
    world.run(pinned(json!({}))).await;
    world.run(pinned(json!({"image": "other"}))).await;
    world.made(3);
    world.private.clear();
    let (rollout, problems) = world.run(pinned(json!({"image": "other"}))).await;
    assert_eq!(rollout, ["delete 3: scale in to 3"]);
    assert_eq!(problems, NOTHING);
    world.private.clear();
    let changes = pinned(json!({"image": "other", "replicas": 4}));
    let (rollout, problems) = world.run(changes.clone()).await;
    assert_eq!(rollout.len(), 1, "{rollout:?}");
    assert_eq!(problems, NOTHING);
    let images: BTreeSet<String> = world
        .memory
        .machines()
        .into_iter()
        .map(|machine| machine.image)
        .collect();
    assert_eq!(images, ["flatcar".to_owned()].into());
    world.is_settled(changes).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_of_this_very_state_is_told_as_such_and_never_adopted() {
    for policy in ["fail", "adopt"] {
        let id = format!("very-state-{policy}");
        let mut world = World::new(&id, Memory::default()).await;
        world.run(json!({})).await;
        // In the next apply, the element of a list moves: one process has seen the one that goes.
        let mut next = World::again(&id).await;
        next.state = std::mem::replace(&mut world.state, Value::Null);
        next.private = world.private.clone();
        next.refresh().await;
        let state = std::mem::replace(&mut next.state, Value::Null);
        let before = all(&next);
        let (_, problems) = next.run(json!({"on_existing": policy})).await;
        let told = one(&problems, "Group exists already");
        for words in ["held by this very state", "for_each", "moved"] {
            assert!(told.contains(words), "{words} {told}");
        }
        assert!(next.state.is_null());
        assert_eq!(all(&next), before);
        next.state = state;
        next.private = world.private.clone();
        assert_eq!(next.destroy().await, NOTHING);
        let (_, problems) = next.run(json!({"on_existing": policy})).await;
        assert_eq!(problems, NOTHING, "it is gone by now");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_adopts_what_it_should_replace_says_so() {
    let mut old = World::new("adopt-replace", Memory::default()).await;
    old.run(json!({})).await;
    let mut next = World::again("adopt-replace").await;
    next.run(json!({"on_existing": "adopt"})).await;
    let new = (next.state.clone(), next.private.clone());
    (next.state, next.private) = (old.state.clone(), old.private.clone());
    let told = one(
        &next.destroy().await,
        "Machines belong to another group now",
    );
    assert!(told.contains("Nothing was replaced"), "{told}");
    (next.state, next.private) = new;
    assert_eq!(next.ordinals(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn private_state_that_cannot_be_read_is_an_error_and_not_forgotten() {
    let mut world = World::new("private", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let (state, private) = (world.state.clone(), world.private.clone());
    let summary = "Private state of the group cannot be read";
    for broken in [&b"{"[..], b"[]", b"{\"first_image\": 3}"] {
        world.private = broken.to_vec();
        one(&world.refresh().await, summary);
        assert_eq!(world.private, broken);
        one(&world.plan(json!({"replicas": 4})).await.said, summary);
        one(&world.destroy().await, summary);
        assert!(world.state == state);
        world.private.clone_from(&private);
        let mut plan = world.plan(json!({"replicas": 4})).await;
        plan.private = broken.to_vec();
        one(&world.apply(plan).await, summary);
        assert!(world.state == state);
        world.private.clone_from(&private);
    }
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.is_settled(json!({})).await;
}
