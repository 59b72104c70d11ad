//! What fails, vanishes or dies while machines are made and replaced.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_may_succeed_later_is_tried_again() {
    let cases = [
        (Call::Create, Fault::Refused(Kind::Unavailable)),
        (Call::Create, Fault::Refused(Kind::RateLimit)),
        (Call::Create, Fault::Refused(Kind::Ambiguous)),
        (Call::Create, Fault::Lost),
        (Call::Create, Fault::Silent),
        (Call::List, Fault::Refused(Kind::Unavailable)),
        (Call::List, Fault::Silent),
        (Call::Delete, Fault::Refused(Kind::Unavailable)),
        (Call::Delete, Fault::Lost),
        (Call::Delete, Fault::Silent),
    ];
    for (call, fault) in cases {
        let memory = with(0..3);
        memory.order(call, "", fault);
        let test = Test {
            creates: &[3],
            deletes: &[0],
            ..TEST
        };
        let ended = run(&test, &memory).await;
        assert!(
            ended.problems.is_empty(),
            "{call:?} {fault:?} {:?}",
            ended.problems
        );
        assert_eq!(
            memory.names(),
            ["w-u-1", "w-u-2", "w-u-3"],
            "{call:?} {fault:?}"
        );
        assert_eq!(names(&ended), memory.names(), "{call:?} {fault:?}");
        assert!(memory.most() <= 4, "{call:?} {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_stays_wrong_ends_the_apply_with_the_machines_that_exist() {
    let cases = [
        (Kind::BadRequest, "Could not create machine w-u-4"),
        (Kind::Forbidden, "Could not create machine w-u-4"),
        (Kind::Unauthenticated, "Could not create machine w-u-4"),
        (Kind::Quota, "No quota or capacity for machine w-u-4"),
    ];
    for (kind, summary) in cases {
        let memory = with(0..3);
        memory.order(Call::Create, "w-u-4", Fault::Refused(kind));
        let test = Test {
            creates: &[3, 4, 5],
            deletes: &[0, 1, 2],
            ..TEST
        };
        let ended = run(&test, &memory).await;
        assert_eq!(summaries(&ended), [summary]);
        assert!(ended.problems[0].detail.contains(&format!("{kind:?}")));
        assert_eq!(memory.names(), ["w-u-1", "w-u-2", "w-u-3"]);
        assert_eq!(names(&ended), memory.names());
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_machine_that_does_not_serve_stops_the_roll_and_stays_to_be_looked_at() {
    for (fault, says) in [
        (Fault::Dead, "w-u-3 is failed."),
        (Fault::Stops, "w-u-3 is stopped."),
        (Fault::Hangs, "w-u-3 is not running in time."),
    ] {
        let memory = with(0..3);
        memory.order(Call::Create, "w-u-3", fault);
        let test = Test {
            creates: &[3, 4, 5],
            deletes: &[0, 1, 2],
            ..TEST
        };
        let ended = run(&test, &memory).await;
        assert_eq!(summaries(&ended), ["Machine does not serve: w-u-3"]);
        let detail = &ended.problems[0].detail;
        assert!(detail.starts_with(says), "{detail}");
        assert!(detail.ends_with("w-u-3: no bootable device"), "{detail}");
        assert_eq!(memory.names(), ["w-u-0", "w-u-1", "w-u-2", "w-u-3"]);
        assert_eq!(names(&ended), memory.names());
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_machine_that_vanishes_stops_the_roll() {
    let memory = with(0..3);
    memory.order(Call::Create, "w-u-3", Fault::Vanishes);
    let test = Test {
        creates: &[3, 4, 5],
        deletes: &[0, 1, 2],
        ..TEST
    };
    let ended = run(&test, &memory).await;
    assert_eq!(summaries(&ended), ["Machine vanished: w-u-3"]);
    assert_eq!(memory.names(), ["w-u-0", "w-u-1", "w-u-2"]);
    assert_eq!(names(&ended), memory.names());
}

#[tokio::test(start_paused = true)]
async fn within_the_failure_budget_a_dead_machine_is_made_again_under_its_name() {
    for fault in [Fault::Dead, Fault::Stops, Fault::Vanishes] {
        let memory = with(0..3);
        memory.order(Call::Create, "w-u-3", fault);
        let test = Test {
            creates: &[3],
            deletes: &[0],
            pace: Pace {
                max_failures: 1,
                ..TEST.pace
            },
            ..TEST
        };
        let ended = run(&test, &memory).await;
        assert!(ended.problems.is_empty(), "{fault:?} {:?}", ended.problems);
        assert_eq!(memory.names(), ["w-u-1", "w-u-2", "w-u-3"]);
        assert!(
            memory.log().contains(&"create w-u-3#1".to_owned()),
            "{:?}",
            memory.log()
        );
        assert!(memory.most() <= 4);
    }
}

/// Creates `w-u-2` beside two machines, and knows nothing of the one of that name: the list does
/// not show it.
async fn run_unlisted(memory: &Memory) -> Ended {
    let test = Test {
        creates: &[2],
        ..TEST
    };
    let mut listed = memory.machines();
    listed.truncate(2);
    run_over(&test, memory, None, &CancellationToken::new(), listed).await
}

#[tokio::test(start_paused = true)]
async fn a_create_that_answers_with_a_dying_machine_raises_the_attempt() {
    let memory = Memory {
        deletion: Duration::from_secs(600),
        ..with(0..2)
    };
    memory.put("w-u-2", &mark("2"));
    let leaving = memory.machines().pop().unwrap();
    memory.delete(&leaving).await.unwrap();
    let ended = run_unlisted(&memory).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert!(
        memory.log().contains(&"create w-u-2#1".to_owned()),
        "{:?}",
        memory.log()
    );
    let running = ended
        .machines
        .iter()
        .filter(|k| k.machine.phase == Phase::Running);
    assert_eq!(running.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_create_that_answers_with_what_an_earlier_apply_left_dead_makes_it_again_and_counts_no_failure()
 {
    let memory = with(0..2);
    memory.put_created(
        "w-u-2",
        &mark("1"),
        SystemTime::now() - Duration::from_secs(60),
    );
    memory.set("w-u-2", Phase::Failed);
    let ended = run_unlisted(&memory).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert!(
        memory.log().contains(&"create w-u-2#1".to_owned()),
        "{:?}",
        memory.log()
    );
    assert_eq!(memory.names(), ["w-u-0", "w-u-1", "w-u-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_came_to_nothing_is_asked_for_again_and_then_told() {
    for (times, left) in [(1, &[] as &[&str]), (2, &["w-u-1"])] {
        let memory = Memory {
            window: Duration::from_secs(10),
            ..with(0..3)
        };
        for _ in 0..times {
            memory.order(Call::Delete, "w-u-1", Fault::ComesBack);
        }
        let test = Test {
            replicas: 0,
            deletes: &[0, 1, 2],
            ..TEST
        };
        let start = Instant::now();
        let ended = run(&test, &memory).await;
        assert_eq!(names(&ended), left);
        assert_eq!(memory.names(), left);
        let told: Vec<&str> = ended.problems.iter().map(|p| p.detail.as_str()).collect();
        let said = "The cloud took the delete of w-u-1 on and did not carry it out: it is failed: the disk is busy.";
        assert_eq!(told, vec![said; left.len()]);
        let phases = ended.machines.iter().map(|known| known.machine.phase);
        assert!(phases.into_iter().all(|phase| phase == Phase::Failed));
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_machine_that_is_lost_meanwhile_is_made_up_for() {
    let memory = with(0..3);
    let test = Test {
        replicas: 4,
        creates: &[3],
        ..TEST
    };
    let cancel = CancellationToken::new();
    let lose = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        memory.remove("w-u-1");
    };
    let (ended, ()) = tokio::join!(run_with(&test, &memory, &cancel), lose);
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert_eq!(memory.names(), ["w-u-0", "w-u-100", "w-u-2", "w-u-3"]);
    assert_eq!(ended.next_ordinal, 101);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_a_late_list_does_not_show_is_neither_lost_nor_doubled() {
    let memory = Memory {
        lag: Duration::from_secs(30),
        window: Duration::from_secs(60),
        ..Memory::default()
    };
    let ended = run(
        &Test {
            creates: &[0, 1, 2],
            ..TEST
        },
        &memory,
    )
    .await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert_eq!(memory.names(), ["w-u-0", "w-u-1", "w-u-2"]);
    assert_eq!(memory.most(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_one_call_costs_that_call_and_never_what_exists() {
    for (call, object, creates, deletes, exist) in [
        // The third was made all the same, and the last look finds it.
        (
            Call::Create,
            "w-u-2",
            &[0, 1, 2][..],
            &[][..],
            &[0, 1, 2][..],
        ),
        (Call::List, "w", &[0, 1, 2], &[], &[0, 1, 2]),
        (Call::Delete, "w-u-11", &[0], &[10, 11, 12], &[0, 12]),
        (Call::Sweep, "w", &[], &[], &[10, 11, 12]),
    ] {
        let memory = match deletes.is_empty() && !creates.is_empty() {
            true => Memory::default(),
            false => with(10..13),
        };
        memory.order(call, object, Fault::Panics);
        let test = Test {
            creates,
            deletes,
            replicas: exist.len().max(1),
            pace: Pace {
                parallelism: 1,
                ..TEST.pace
            },
            ..TEST
        };
        let ended = run(&test, &memory).await;
        let existing: Vec<String> = exist.iter().map(|n| format!("w-u-{n}")).collect();
        let recorded = names(&ended);
        for name in &existing {
            assert!(recorded.contains(name), "{call:?}: {name} of {recorded:?}");
        }
        for name in memory.names() {
            assert!(recorded.contains(&name), "{call:?}: {name} of {recorded:?}");
        }
        if call != Call::Sweep {
            let said = &ended.problems[0].detail;
            assert!(said.contains("bug in the provider"), "{call:?}: {said}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_apply_itself_leaves_all_that_was_made_until_then() {
    let memory = with(10..11);
    let order = Order {
        user_data: &|name| match name {
            "w-u-2" => panic!("as ordered"),
            name => name.as_bytes().to_vec(),
        },
        ..order(&Test {
            replicas: 4,
            creates: &[0, 1, 2],
            ..TEST
        })
    };
    let ended = run_order(&memory, order, memory.machines()).await;
    assert_eq!(names(&ended), ["w-u-0", "w-u-1", "w-u-10"]);
    assert_eq!(names(&ended), memory.names());
    assert_eq!(summaries(&ended), ["The provider failed unexpectedly"]);
    assert!(ended.problems[0].detail.contains("bug in the provider"));
}
