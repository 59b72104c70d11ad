//! What a plan of an update knows, what it shows, and what an apply that comes to another end says.

use super::*;

fn field<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, key| match value {
        Value::Map(entries) => entries.get(*key).unwrap_or(&Value::Null),
        _ => &Value::Null,
    })
}

fn keys(value: &Value) -> Vec<String> {
    match value {
        Value::Map(entries) => entries.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

impl World {
    /// `0:1 1:3`: slots, and the ordinals of the machines that hold them; `?` is unknown, `-`
    /// nobody.
    fn slots(&self, of: &Value) -> String {
        let Value::Map(slots) = field(of, &["slots"]) else {
            return "none".to_owned();
        };
        let held = slots.iter().map(|(slot, name)| match name {
            Value::String(name) => {
                let ordinal = crate::worker_group::plan::ordinal(name).unwrap();
                format!("{slot}:{ordinal}")
            }
            Value::Null => format!("{slot}:-"),
            _ => format!("{slot}:?"),
        });
        held.collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_knows_the_machines_that_stay_and_the_names_of_new_ones() {
    let mut world = World::new("promised", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let tags = json!({"memory": {"tags": {"owner": "b"}}});
    let rolled = json!({"user_data": with_motd("b")});
    // what is written, ordinals afterwards, those of which all is known, of the others what is not
    type Case = (
        Json,
        &'static [u64],
        &'static [u64],
        &'static [&'static str],
    );
    let cases: [Case; 5] = [
        (json!({"replicas": 4}), &[0, 1, 2, 3], &[0, 1, 2], &[]),
        (json!({"replicas": 2}), &[0, 1], &[0, 1], &[]),
        (rolled, &[3, 4, 5], &[], &[]),
        (tags, &[0, 1, 2], &[], &["addresses"]),
        (json!({"paused": true}), &[0, 1, 2], &[0, 1, 2], &[]),
    ];
    for (written, after, known, unknown) in cases {
        let plan = world.plan(written.clone()).await;
        let machines = field(&plan.planned, &["machines"]);
        let names: Vec<String> = after
            .iter()
            .map(|ordinal| world.machine(*ordinal))
            .collect();
        assert_eq!(keys(machines), names, "{written}");
        for (ordinal, name) in after.iter().zip(&names) {
            let before = field(&world.state, &["machines", name]);
            let planned = field(machines, &[name]);
            if known.contains(ordinal) {
                assert!(planned == before, "{written} {name}");
            } else if unknown.is_empty() {
                assert!(matches!(planned, Value::Unknown(_)), "{written} {name}");
            } else {
                let Value::Map(attributes) = planned else {
                    unreachable!("{name} is an object");
                };
                let open = attributes
                    .iter()
                    .filter(|(_, value)| matches!(value, Value::Unknown(_)))
                    .map(|(attribute, _)| attribute.as_str());
                assert_eq!(open.collect::<Vec<_>>(), unknown, "{written} {name}");
            }
        }
        let plain = field(&plan.planned, &["slots"]);
        assert!(plain.is_wholly_known(), "{written}");
    }
}

#[tokio::test(start_paused = true)]
async fn slots_are_known_before_the_group_is_made_and_go_to_successors() {
    let mut world = World::new("slots", Memory::default()).await;
    for unknown in ["user_data", "image"] {
        let plan = world.plan(json!({ unknown: "<unknown>" })).await;
        assert_eq!(world.slots(&plan.planned), "0:? 1:? 2:?", "{unknown}");
    }
    let plan = world.plan(json!({"replicas": "<unknown>"})).await;
    assert_eq!(world.slots(&plan.planned), "none");
    let plan = world.plan(json!({})).await;
    assert_eq!(world.slots(&plan.planned), "0:? 1:? 2:?");
    assert_eq!(world.apply(plan).await, NOTHING);
    assert_eq!(world.slots(&world.state), "0:0 1:1 2:2");

    // Lost and made again, rolled, out and in.
    world.memory.remove(&world.machine(1));
    world.refresh().await;
    assert_eq!(world.slots(&world.state), "0:0 1:- 2:2");
    let steps = [
        (json!({}), "0:0 1:3 2:2"),
        (json!({"replicas": 4}), "0:0 1:3 2:2 3:4"),
        (json!({"replicas": 3}), "0:0 1:3 2:2"),
        (json!({"user_data": with_motd("b")}), "0:5 1:7 2:6"),
        (
            json!({"user_data": with_motd("b"), "replicas": 2, "remove_first": [world.machine(5)]}),
            "1:7 2:6",
        ),
        (json!({"user_data": with_motd("b")}), "0:8 1:7 2:6"),
    ];
    for (written, slots) in steps {
        world.refresh().await;
        let plan = world.plan(written.clone()).await;
        assert_eq!(world.slots(&plan.planned), slots, "{written}");
        assert_eq!(world.apply(plan).await, NOTHING, "{written}");
        assert_eq!(world.slots(&world.state), slots, "{written}");
        world.is_settled(written).await;
    }

    // While an input is not known, the keys are, but where it is open which machines go.
    let open = |replicas| json!({"user_data": "<unknown>", "replicas": replicas});
    for (replicas, slots) in [(3, "0:? 1:? 2:?"), (4, "0:? 1:? 2:? 3:?"), (2, "none")] {
        let plan = world.plan(open(replicas)).await;
        assert_eq!(world.slots(&plan.planned), slots, "{replicas}");
    }

    // A paused group has the slots of what it lacks.
    let paused = json!({"user_data": with_motd("b"), "replicas": 4, "paused": true});
    world.run(paused.clone()).await;
    assert_eq!(world.slots(&world.state), "0:8 1:7 2:6 3:-");
}

#[tokio::test(start_paused = true)]
async fn a_plan_shows_its_steps_whole_whatever_the_last_one_was() {
    let mut world = World::new("shown", Memory::default()).await;
    world.run(json!({})).await;
    let two = json!({"replicas": 2});
    world
        .memory
        .order(Call::Delete, "", Fault::Refused(Kind::Forbidden));
    let (planned, problems) = world.run(two.clone()).await;
    assert_eq!(planned, ["delete 2: scale in to 2"]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    // What did not happen is no history.
    let empty = Whole::Known(Vec::new());
    assert_eq!(world.group().fields.rollout, empty);
    world
        .memory
        .order(Call::Delete, "", Fault::Refused(Kind::Forbidden));
    world.run(two.clone()).await;
    // The plan starts from nothing, so a core shows all of it; and it is the same without a
    // refresh.
    world.take_up().await;
    assert_eq!(world.group().fields.rollout, empty);
    let plan = world.plan(two.clone()).await;
    assert_eq!(world.rollout(&plan.planned), ["delete 2: scale in to 2"]);
    assert_eq!(world.apply(plan).await, NOTHING);
    assert_eq!(world.group().fields.rollout.known().unwrap().len(), 1);
    // What was done is no drift.
    world.take_up().await;
    let before = world.state.clone();
    assert_eq!(world.refresh().await, NOTHING);
    assert!(world.state == before);
    assert_eq!(world.group().fields.rollout, empty);
    world.is_settled(two).await;
}

#[tokio::test(start_paused = true)]
async fn history_after_an_error_is_what_was_done() {
    let mut world = World::new("history", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let second = world.machine(1);
    let plan = world.plan(json!({"user_data": with_motd("b")})).await;
    assert_eq!(world.rollout(&plan.planned).len(), 6);
    world
        .memory
        .order(Call::Delete, &second, Fault::Refused(Kind::Forbidden));
    let problems = world.apply(plan).await;
    assert!(!problems.is_empty());
    let done = world.rollout(&world.state.clone());
    assert!(!done.is_empty() && done.len() < 6, "{done:?}");
    for step in &done {
        assert!(!step.starts_with("delete 1:"), "{done:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_lost_since_the_plan_is_made_again_and_the_apply_says_plan_again() {
    let mut world = World::new("lost-since", Memory::default()).await;
    world.run(json!({})).await;
    world.refresh().await;
    let four = json!({"replicas": 4});
    let plan = world.plan(four.clone()).await;
    let lost = world.machine(1);
    world.memory.remove(&lost);
    let problems = world.apply(plan).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let said = problems[0].replace(&format!("w-{}-", world.uid()), "");
    assert_eq!(
        said,
        "Group has changed since the plan: create of 4 was needed as well: scale out to 4. What is right was done, and is \
         recorded: 4 machines of 4. But the plan knew other machines (1 machine of the plan not there: 1; 1 machine there and not in the \
         plan: 4), and what else is made from them was planned for those. Plan again, and apply that."
    );
    assert_eq!(world.ordinals(), [0, 2, 3, 4]);
    assert_eq!(world.slots(&world.state), "0:0 1:3 2:2 3:4");
    world.is_settled(four).await;

    // Where the loss makes no difference to what the plan knew, it is told, and nothing is left.
    let one = json!({"replicas": 3});
    let plan = world.plan(one.clone()).await;
    world.memory.remove(&world.machine(4));
    let problems = world.apply(plan).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].ends_with("nothing is left to do."),
        "{problems:?}"
    );
    world.is_settled(one).await;
}

#[tokio::test(start_paused = true)]
async fn one_healthy_machine_is_replaced_once_with_surge() {
    let mut world = World::new("replace-one", Memory::default()).await;
    world.run(json!({})).await;
    let written = json!({"replace_machines": [world.machine(1)]});
    let (rollout, problems) = world.run(written.clone()).await;
    assert_eq!(
        rollout,
        [
            "create 3: replaces 1",
            "delete 1: named in replace_machines"
        ]
    );
    assert_eq!(problems, NOTHING);
    assert_eq!(world.ordinals(), [0, 2, 3]);
    assert_eq!(world.slots(&world.state), "0:0 1:3 2:2");
    // It is gone for good: the name stays without effect.
    world.is_settled(written).await;

    let wrong = json!({"replace_machines": ["w-other-1", world.machine(9)]});
    let (rollout, problems) = world.run(wrong).await;
    assert_eq!((rollout.len(), problems.len()), (0, 1), "{problems:?}");
    assert!(
        problems[0].starts_with("Machine to replace does not exist"),
        "{problems:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_plan_of_many_steps_says_how_many_and_why() {
    let mut world = World::new("many", Memory::default()).await;
    let of =
        |replicas: u64, text: &str| json!({"replicas": replicas, "user_data": with_motd(text)});
    world.run(of(60, "a")).await;
    world.refresh().await;
    let plan = world.plan(of(60, "b")).await;
    assert_eq!(
        plan.said,
        [
            "60 machines are deleted: 60 created, 60 deleted.\nAt most 61 exist at a time and at least 60 serve, 10 calls at a time, one \
             new machine first, alone.\n60: user_data: file /etc/motd changed\nEach step stands in rollout, in its order. With paused = \
             true an apply leaves all machines alone."
        ]
    );
    let plan = world.plan(of(40, "a")).await;
    assert_eq!(plan.said, NOTHING, "20 steps are read one by one");
    let plan = world.plan(of(39, "a")).await;
    assert!(
        plan.said[0].contains("21: scale in to 39"),
        "{:?}",
        plan.said
    );
}

#[tokio::test(start_paused = true)]
async fn reasons_and_private_state_stay_short_over_a_long_life() {
    let mut world = World::new("long-life", Memory::default()).await;
    let of = |text: &str, image: &str, replicas: u64| json!({"user_data": with_motd(text), "user_data_update": "new_only", "image": image, "replicas": replicas});
    world.run(of("0", "i-0", 3)).await;
    let mut sizes = Vec::new();
    for number in 1..40 {
        let (text, image) = (number.to_string(), format!("i-{number}"));
        world.run(of(&text, &image, 3)).await;
        sizes.push(world.private.len());
    }
    assert!(sizes[38] <= sizes[1] + 100, "{sizes:?}");
    let rolled = json!({"user_data": with_motd("40"), "image": "i-40", "image_update": "roll"});
    let (rollout, _) = world.run(rolled).await;
    assert_eq!(
        rollout[1],
        "delete 0: user_data: file /etc/motd changed; image: i-0 -> i-40"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_remembered_until_it_is_replaced_and_no_more_of_it_than_can_be_missing() {
    let mut world = World::new("gone", Memory::default()).await;
    let of = |owner: usize| json!({"memory": {"tags": {"owner": owner.to_string()}}});
    world.run(of(0)).await;
    for round in 1..20 {
        let lost = world.machine(u64::try_from(round - 1).unwrap());
        world.memory.remove(&lost);
        // What is lost is made again, and something else fails.
        world
            .memory
            .order(Call::Mark, "", Fault::Refused(Kind::Forbidden));
        let (rollout, problems) = world.run(of(round)).await;
        assert_eq!(problems.len(), 1, "{problems:?}");
        let gone = format!("replaces {}, which is gone", round - 1);
        let replaced: Vec<&String> = rollout
            .iter()
            .filter(|step| step.ends_with("gone"))
            .collect();
        assert_eq!(replaced.len(), 1, "{rollout:?}");
        assert!(replaced[0].ends_with(&gone), "{rollout:?}");
        let private = Private::read(&world.private).unwrap();
        assert_eq!(private.gone, NOTHING, "round {round}");
    }
    // Two places, and one of them is filled: the other one's machine is still missing.
    world.run(of(20)).await;
    for ordinal in [19, 20] {
        world.memory.remove(&world.machine(ordinal));
    }
    world
        .memory
        .order(Call::Create, "", Fault::Refused(Kind::Forbidden));
    let mut config = of(20);
    config["rolling_update"] = json!({"parallelism": 1});
    world.run(config.clone()).await;
    let (rollout, problems) = world.run(config.clone()).await;
    assert_eq!(problems, NOTHING);
    assert!(!rollout.is_empty());
    world.is_settled(config).await;
}

#[test]
fn no_more_is_remembered_of_what_is_gone_than_can_be_missing() {
    let names = |ordinals: &[u64]| -> Vec<String> {
        ordinals
            .iter()
            .map(|ordinal| format!("w-u-{ordinal}"))
            .collect()
    };
    // remembered, gone now, replicas, remembered then, the lowest unused ordinal
    for (before, now, replicas, expected, next) in [
        (&[][..], &[10, 9][..], 3, &[9, 10][..], 11),
        (&[2, 3], &[3, 10], 3, &[2, 3, 10], 11),
        (&[2, 3], &[9, 10], 3, &[3, 9, 10], 11),
        (&[2, 3], &[], 0, &[], 5),
    ] {
        let mut private = Private {
            next_ordinal: 5,
            gone: names(before),
            ..Private::default()
        };
        private.lose(names(now), replicas);
        assert_eq!(private.gone, names(expected));
        assert_eq!(private.next_ordinal, next);
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_without_slots_has_them_when_it_is_taken_up() {
    let world = World::new("taken-up", Memory::default()).await;
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
    let state = undynamic(response.unwrap().into_inner().upgraded_state);
    assert_eq!(world.slots(&state), "0:0 1:1");
    assert!(field(&state, &["rollout"]) == &Value::List(Vec::new()));
}
