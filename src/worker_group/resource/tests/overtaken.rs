//! What happens between a plan and its apply.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_plan_that_the_cloud_has_overtaken_is_finished_safely() {
    let mut world = World::new("overtaken", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let plan = world.plan(json!({"replicas": 4})).await;
    assert_eq!(world.rollout(&plan.planned), ["create 3: scale out to 4"]);
    world.memory.remove(&world.machine(0));
    world.memory.set(&world.machine(1), Phase::Stopped);
    let stopped = world.machine(1);
    let problems = world.apply(plan).await.join("\n");
    for words in ["Group has changed since the plan", &stopped] {
        assert!(problems.contains(words), "{words}: {problems}");
    }
    assert!(
        world.memory.names().contains(&stopped),
        "it was not planned to go"
    );
    let (rollout, problems) = world.run(json!({"replicas": 4})).await;
    assert_eq!(problems, NOTHING);
    assert_eq!(rollout[0], "delete 1: stopped");
    assert_eq!(world.ordinals().len(), 4);
    world.is_settled(json!({"replicas": 4})).await;
}

/// What happens on the cloud between a plan and its apply.
struct Overtaken {
    id: &'static str,
    /// `replicas` before.
    before: u8,
    /// What the plan has seen already.
    seen: fn(&World),
    changes: Json,
    happens: fn(&World),
    /// All of these are told, with ordinals for names.
    says: &'static [&'static str],
    /// What exists afterwards.
    left: &'static [u64],
}

impl Overtaken {
    const CASE: Self = Self {
        id: "",
        before: 3,
        seen: |_| (),
        changes: Json::Null,
        happens: |_| (),
        says: &[],
        left: &[],
    };
}

#[tokio::test(start_paused = true)]
async fn what_happens_between_plan_and_apply_is_told_what_is_still_right_is_done_and_nothing_surprises()
 {
    let case = Overtaken::CASE;
    let cases = [
        Overtaken {
            id: "roll-lost",
            changes: json!({"user_data": with_motd("b")}),
            happens: |world| world.memory.remove(&world.machine(1)),
            says: &["delete of 1 was not needed any more"],
            left: &[3, 4, 5],
            ..case
        },
        Overtaken {
            id: "roll-all-lost",
            changes: json!({"user_data": with_motd("b")}),
            happens: |world| (0..3).for_each(|n| world.memory.remove(&world.machine(n))),
            says: &["delete of 0 was not needed", "delete of 2 was not needed"],
            left: &[3, 4, 5],
            ..case
        },
        Overtaken {
            id: "repair-recovered",
            seen: |world| world.memory.set(&world.machine(1), Phase::Stopped),
            changes: json!({}),
            happens: |world| world.memory.set(&world.machine(1), Phase::Running),
            says: &["delete of 1 was not needed", "create of 3 was not needed"],
            left: &[0, 1, 2],
            ..case
        },
        Overtaken {
            id: "overdue-came-up",
            seen: |world| {
                let since = SystemTime::now() - Duration::from_secs(3600);
                world.memory.hang(&world.machine(1), since);
            },
            changes: json!({}),
            happens: |world| world.memory.set(&world.machine(1), Phase::Running),
            says: &["delete of 1 was not needed", "create of 3 was not needed"],
            left: &[0, 1, 2],
            ..case
        },
        Overtaken {
            id: "scale-out-lost",
            changes: json!({"replicas": 4}),
            happens: |world| world.memory.remove(&world.machine(0)),
            says: &["create of 4 was needed as well"],
            left: &[1, 2, 3, 4],
            ..case
        },
        // Two were planned to go; with one that broke meanwhile only one may, and the broken one
        // was not planned to.
        Overtaken {
            id: "scale-in-broken",
            before: 5,
            changes: json!({}),
            happens: |world| world.memory.set(&world.machine(0), Phase::Stopped),
            says: &[
                "0 would have to go and is left for the next plan: stopped",
                "Scale-in cannot go on",
                "Not removed: ",
            ],
            left: &[0, 1, 2, 3],
            ..case
        },
        Overtaken {
            id: "scale-in-lost",
            before: 5,
            changes: json!({}),
            happens: |world| world.memory.remove(&world.machine(0)),
            says: &["delete of 3 was not needed any more"],
            left: &[1, 2, 3],
            ..case
        },
        Overtaken {
            id: "grown-by-others",
            changes: json!({"replicas": 4}),
            happens: |world| {
                world.made(3);
            },
            says: &["create of 3 was not needed"],
            left: &[0, 1, 2, 3],
            ..case
        },
        Overtaken {
            id: "tags-lost",
            changes: json!({"memory": {"tags": {"owner": "b"}}}),
            happens: |world| world.memory.remove(&world.machine(2)),
            says: &[
                "update of 2 was not needed",
                "create of 3 was needed as well: replaces 2, which is gone",
            ],
            left: &[0, 1, 3],
            ..case
        },
        Overtaken {
            id: "drifted",
            changes: json!({"replicas": 4}),
            happens: |world| world.memory.observe(&world.machine(0), "size", "huge"),
            says: &[
                "0 would have to go and is left for the next plan: memory.size changed outside",
            ],
            left: &[0, 1, 2, 3],
            ..case
        },
    ];
    for case in cases {
        let id = case.id;
        let mut world = World::new(&format!("overtaken-{id}"), Memory::default()).await;
        world.run(json!({"replicas": case.before})).await;
        (case.seen)(&world);
        world.refresh().await;
        let plan = world.plan(case.changes.clone()).await;
        assert!(!world.rollout(&plan.planned).is_empty(), "{id}");
        (case.happens)(&world);
        let before: BTreeSet<String> = world.memory.names().into_iter().collect();
        let planned = Group::from_value(&plan.planned).unwrap();
        let lines = planned.fields.rollout.known().cloned().unwrap();
        let planned: Vec<Step> = lines.iter().filter_map(|line| Step::parse(line)).collect();
        let problems = world.apply(plan).await.join("\n");
        let short = problems.replace(&format!("w-{}-", world.uid()), "");
        assert!(
            short.contains("Group has changed since the plan"),
            "{id} {short}"
        );
        for words in case.says {
            assert!(short.contains(words), "{id}: no {words:?} in {short}");
        }
        assert_eq!(world.ordinals(), case.left, "{id} {short}");
        let after: BTreeSet<String> = world.memory.names().into_iter().collect();
        for name in before.difference(&after) {
            let step = planned.iter().find(|step| step.machine == *name);
            assert_eq!(
                step.map(|step| step.action.as_str()),
                Some("delete"),
                "{id} {name}"
            );
        }
        // What was left undone is in the next plan.
        let (_, problems) = world.run(case.changes.clone()).await;
        assert_eq!(problems, NOTHING, "{id}");
        let replicas = case.changes["replicas"].as_u64().unwrap_or(3);
        assert_eq!(world.ordinals().len() as u64, replicas, "{id}");
        world.is_settled(case.changes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_another_state_has_adopted_since_the_plan_is_not_made_anew() {
    let id = "overtaken-adopted";
    let mut world = World::new(id, Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let plan = world.plan(json!({"replicas": 4})).await;
    let mut other = World::again(id).await;
    other.run(json!({"on_existing": "adopt"})).await;
    let before = world.memory.names();
    let state = world.state.clone();
    let problems = world.apply(plan).await;
    assert!(
        problems[0].starts_with("Machines belong to another group now"),
        "{problems:?}"
    );
    assert!(problems[0].contains("Nothing was changed"), "{problems:?}");
    assert_eq!(world.memory.names(), before);
    assert!(world.state == state);
}

#[tokio::test(start_paused = true)]
async fn a_preflight_refuses_before_anything_is_deleted() {
    let mut world = World::new("preflight", Memory::default()).await;
    world.run(json!({})).await;
    let absent = json!({"image": "absent", "image_update": "roll"});
    let (_, problems) = world.run(absent).await;
    assert!(
        problems[0].starts_with("Image does not exist"),
        "{problems:?}"
    );
    assert_eq!(world.ordinals(), [0, 1, 2]);
    world.is_settled(json!({})).await;

    // Where no machine is made, its image is not asked for.
    let (rollout, problems) = world
        .run(json!({"image": "absent", "memory": {"tags": {"owner": "b"}}}))
        .await;
    assert_eq!((rollout.len(), problems.len()), (3, 0), "{problems:?}");
}
