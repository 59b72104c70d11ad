//! Traffic: machines are entered where they get some, and taken out before they go.

use super::*;
use crate::worker_group::cloud::memory::Balancer;

/// Machines of a group that a balancer sends traffic to.
fn balanced(ordinals: std::ops::Range<u64>, balancer: Balancer) -> Memory {
    for ordinal in ordinals.clone() {
        balancer.put(&format!("w-u-{ordinal}"));
    }
    Memory {
        balancer: Some(balancer),
        ..with(ordinals)
    }
}

fn balancer_log(memory: &Memory) -> Vec<String> {
    memory.balancer.as_ref().map(Balancer::log).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_old_machine_goes_after_the_new_one_gets_traffic_and_after_its_own_has_ended() {
    let memory = balanced(
        0..1,
        Balancer {
            serves_after: Duration::from_secs(60),
            drain_takes: Duration::from_secs(30),
            ..Balancer::default()
        },
    );
    let cluster = Arc::new(Cluster::default());
    let test = Test {
        replicas: 1,
        creates: &[1],
        deletes: &[0],
        ..TEST
    };
    let start = Instant::now();
    let ended = run_in(&test, &memory, &cluster, &CancellationToken::new()).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert_eq!(
        balancer_log(&memory),
        ["enter w-u-1", "leave w-u-0", "out w-u-0"]
    );
    assert_eq!(cluster.log(), GOES_AFTER);
    assert_eq!(ended.machines[0].node, "node-w-u-1");
    // Boot, health, and the end of the old one's traffic.
    let took = start.elapsed().as_secs();
    assert!((100..108).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_gets_no_traffic_does_not_count_and_no_old_one_goes_for_it() {
    let memory = balanced(
        0..3,
        Balancer {
            serves_after: Duration::from_secs(86_400),
            ..Balancer::default()
        },
    );
    let test = Test {
        creates: &[3, 4, 5],
        deletes: &[0, 1, 2],
        ..TEST
    };
    let ended = run(&test, &memory).await;
    assert_eq!(summaries(&ended), ["Machine does not serve: w-u-3"]);
    assert_eq!(memory.names(), ["w-u-0", "w-u-1", "w-u-2", "w-u-3"]);
    assert_eq!(balancer_log(&memory), ["enter w-u-3"]);
}

#[tokio::test(start_paused = true)]
async fn machines_that_leave_for_good_end_their_traffic_side_by_side() {
    let memory = balanced(
        0..12,
        Balancer {
            drain_takes: Duration::from_secs(300),
            ..Balancer::default()
        },
    );
    let start = Instant::now();
    let test = Test {
        replicas: 0,
        deletes: &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
        pace: Pace {
            parallelism: 2,
            ..TEST.pace
        },
        ..TEST
    };
    let ended = run(&test, &memory).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert!(memory.names().is_empty());
    let took = start.elapsed().as_secs();
    assert!((300..320).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_to_give_traffic_is_told_and_what_may_succeed_later_is_tried_again() {
    for (kind, problems) in [
        (Kind::Unavailable, &[][..]),
        (
            Kind::Forbidden,
            &["Could not find out which machines serve"],
        ),
    ] {
        let memory = balanced(
            0..1,
            Balancer {
                refuses: Arc::new(std::sync::Mutex::new(Some(kind))),
                ..Balancer::default()
            },
        );
        let test = Test {
            replicas: 1,
            creates: &[1],
            deletes: &[0],
            ..TEST
        };
        let ended = run(&test, &memory).await;
        assert_eq!(summaries(&ended), problems, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_does_not_wait_for_traffic_to_end() {
    let memory = balanced(
        0..3,
        Balancer {
            drain_takes: Duration::from_secs(3_600),
            ..Balancer::default()
        },
    );
    let cancel = CancellationToken::new();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        cancel.cancel();
    };
    let start = Instant::now();
    let test = Test {
        replicas: 0,
        deletes: &[2, 1, 0],
        ..TEST
    };
    let (ended, ()) = tokio::join!(run_with(&test, &memory, &cancel), stop);
    assert!(start.elapsed() < Duration::from_secs(40));
    assert_eq!(names(&ended), ["w-u-0", "w-u-1", "w-u-2"]);
    assert_eq!(names(&ended), memory.names());
}

#[tokio::test(start_paused = true)]
async fn a_balancer_that_does_not_answer_outlasts_neither_an_interrupt_nor_the_timeout() {
    let late = "Timeout of the operation is over";
    let unknown = "Could not find out which machines serve";
    // Machines at first, seconds until an interrupt, of the timeout, and at most of the whole.
    for (existing, interrupt, timeout, most, told) in [
        (2, Some(30), 3_600, 31, "Interrupted"),
        (2, None, 40, 40, late),
        (2, None, 3_600, 370, unknown),
        (0, Some(30), 3_600, 31, "Interrupted"),
        (0, None, 40, 40, late),
    ] {
        let memory = balanced(
            0..existing,
            Balancer {
                is_silent: true,
                ..Balancer::default()
            },
        );
        let test = Test {
            replicas: 1,
            creates: if existing == 0 { &[0] } else { &[] },
            deletes: if existing == 0 { &[] } else { &[0] },
            timeout: Duration::from_secs(timeout),
            ..TEST
        };
        let cancel = CancellationToken::new();
        let stop = async {
            if let Some(seconds) = interrupt {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                cancel.cancel();
            }
        };
        let start = Instant::now();
        let (ended, ()) = tokio::join!(run_with(&test, &memory, &cancel), stop);
        let took = start.elapsed();
        let case = format!("{existing} {interrupt:?} {timeout}: {took:?}");
        assert!(took <= Duration::from_secs(most), "{case}");
        assert_eq!(summaries(&ended), [told], "{case}");
        assert_eq!(names(&ended), memory.names(), "{case}");
        assert_eq!(memory.names().len(), existing.max(1) as usize, "{case}");
        // What does not go keeps its traffic.
        assert!(balancer_log(&memory).is_empty(), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_to_end_traffic_is_told_and_keeps_no_group_from_being_destroyed() {
    for kind in [Kind::Forbidden, Kind::Unavailable] {
        for (destroys, goes) in [(Destroys::Group, true), (Destroys::Machines, false)] {
            let memory = balanced(
                0..2,
                Balancer {
                    keeps: Some(kind),
                    ..Balancer::default()
                },
            );
            let test = Test {
                replicas: 0,
                deletes: &[1, 0],
                destroys,
                ..TEST
            };
            let ended = run(&test, &memory).await;
            let case = format!("{kind:?} {destroys:?}");
            assert_eq!(memory.names().is_empty(), goes, "{case}");
            assert_eq!(names(&ended), memory.names(), "{case}");
            let warned: Vec<&str> = ended.warnings.iter().map(|p| p.summary.as_str()).collect();
            let (problems, warnings): (&[&str], &[&str]) = match goes {
                true => (&[], &["Traffic of the group could not be ended"]),
                false => (&["Could not prepare the machines that leave"], &[]),
            };
            assert_eq!(summaries(&ended), problems, "{case}");
            assert_eq!(warned, warnings, "{case}");
        }
    }
}
