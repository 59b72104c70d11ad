//! Nodes: what an apply makes of a cluster that refuses, falls silent or is gone.

use super::cluster::{DESTROY, ROLL, run_here, warnings};
use super::*;
use crate::kubernetes::OnTimeout;
use crate::worker_group::cloud::memory::cluster::{Ask, Trouble};

/// A cluster that meets every call with this.
fn away(trouble: Trouble) -> Arc<Cluster> {
    let cluster = Cluster::default();
    cluster.always(trouble);
    Arc::new(cluster)
}

/// An interrupt after so many seconds.
async fn interrupt(cancel: &CancellationToken, seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    cancel.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_try_that_has_no_time_for_an_answer_hides_no_refusal() {
    let memory = with(0..1);
    let cluster = Arc::new(Cluster::default());
    // At 0, 0.5, 1.5, 3.5 and 7.5 seconds; the next one would be half a second before the end.
    for _ in 0..5 {
        cluster.order(Ask::Set, Trouble::Unavailable);
    }
    cluster.order(Ask::Set, Trouble::Silent);
    let timeout = Duration::from_secs(12);
    let test = Test {
        drain: Some(Drain { timeout, ..DRAIN }),
        ..ROLL
    };
    let ended = run_here(&test, &memory, &cluster).await;
    assert_eq!(
        summaries(&ended),
        ["Could not prepare the machines that leave"]
    );
    let detail = &ended.problems[0].detail;
    assert!(detail.contains("503 apiserver not ready"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_cluster_does_not_keep_machine_timeout_from_ending_the_wait() {
    for trouble in [Trouble::Silent, Trouble::Unavailable] {
        let memory = Memory::default();
        let test = Test {
            replicas: 1,
            creates: &[0],
            ..TEST
        };
        let start = Instant::now();
        let ended = run_here(&test, &memory, &away(trouble)).await;
        let took = start.elapsed().as_secs();
        assert!((300..310).contains(&took), "{trouble:?} {took}");
        assert_eq!(summaries(&ended), ["Machine does not serve: w-u-0"]);
        let said = match trouble {
            Trouble::Silent => "Kubernetes Status for 1 machine answered nothing within",
            _ => "503 apiserver not ready",
        };
        let detail = &ended.problems[0].detail;
        assert!(detail.contains(said), "{detail}");
        assert_eq!(names(&ended), memory.names());
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_waits_for_no_cluster_and_opens_what_stays() {
    for (ask, test) in [
        (Ask::Status, ROLL),
        (Ask::Set, ROLL),
        (Ask::Drain, ROLL),
        (Ask::Forget, ROLL),
        (Ask::Set, DESTROY),
        (Ask::Drain, DESTROY),
        (Ask::Forget, DESTROY),
    ] {
        let case = format!("{ask:?} {:?}", test.destroys);
        let memory = with(0..if test.replicas == 0 { 3 } else { 1 });
        let cluster = Arc::new(Cluster::default());
        cluster.order(ask, Trouble::Silent);
        let cancel = CancellationToken::new();
        let start = Instant::now();
        let (ended, ()) = tokio::join!(
            run_in(&test, &memory, &cluster, &cancel),
            interrupt(&cancel, 20)
        );
        let took = start.elapsed().as_secs();
        assert!((20..26).contains(&took), "{case}: {took}");
        assert_eq!(summaries(&ended), ["Interrupted"], "{case}");
        assert_eq!(names(&ended), memory.names(), "{case}");
        assert!(cluster.held().is_empty(), "{case}: {:?}", cluster.held());
        if ask == Ask::Forget {
            assert!(cluster.log().contains(&"forget w-u-0".to_owned()), "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_away_is_told_of_once_and_keeps_no_group_from_being_destroyed() {
    for trouble in [Trouble::Silent, Trouble::Unavailable, Trouble::Forbidden] {
        for (on_timeout, goes) in [
            (None, true),
            (Some(OnTimeout::Force), true),
            (Some(OnTimeout::Skip), true),
            (Some(OnTimeout::Fail), false),
        ] {
            let memory = with(0..3);
            let test = Test {
                drain: Some(Drain {
                    on_timeout,
                    ..DRAIN
                }),
                ..DESTROY
            };
            let cluster = away(trouble);
            let start = Instant::now();
            let ended = run_here(&test, &memory, &cluster).await;
            let took = start.elapsed().as_secs();
            let case = format!("{trouble:?} {on_timeout:?} {took}");
            assert!(took < 400, "{case}");
            assert_eq!(
                memory.names().is_empty(),
                goes,
                "{case}: {:?}",
                ended.problems
            );
            assert_eq!(names(&ended), memory.names(), "{case}");
            if goes {
                assert!(ended.problems.is_empty(), "{case}: {:?}", ended.problems);
                assert_eq!(
                    warnings(&ended),
                    ["Cluster does not help to destroy the group"],
                    "{case}"
                );
                // Nobody asks on, and none is asked how the machines are.
                assert!(cluster.calls(Ask::Set) <= 100, "{case}");
                assert_eq!(cluster.calls(Ask::Drain), 0, "{case}");
            } else {
                assert_eq!(
                    summaries(&ended),
                    ["Could not prepare the machines that leave"],
                    "{case}"
                );
            }
            assert_eq!(cluster.calls(Ask::Status), 0, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_goes_away_in_the_middle_of_a_destroy_keeps_no_machine() {
    for ask in [Ask::Drain, Ask::Forget] {
        for trouble in [Trouble::Silent, Trouble::Forbidden] {
            let memory = with(0..3);
            let cluster = Arc::new(Cluster::default());
            for _ in 0..20 {
                cluster.order(ask, trouble);
            }
            let ended = run_here(&DESTROY, &memory, &cluster).await;
            let case = format!("{ask:?} {trouble:?} {:?}", ended.problems);
            assert!(memory.names().is_empty(), "{case}");
            assert!(ended.problems.is_empty(), "{case}");
            assert!(!ended.warnings.is_empty(), "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_refuses_halts_a_roll_and_what_stays_is_open() {
    let cases = [
        (Ask::Status, "Could not find out which machines serve"),
        (Ask::Set, "Could not prepare the machines that leave"),
        (Ask::Drain, "Could not drain machine w-u-0"),
    ];
    for (ask, summary) in cases {
        let memory = with(0..1);
        let cluster = Arc::new(Cluster::default());
        cluster.order(ask, Trouble::Forbidden);
        let ended = run_here(&ROLL, &memory, &cluster).await;
        assert_eq!(summaries(&ended), [summary]);
        let detail = &ended.problems[0].detail;
        assert!(detail.contains("403 nodes is forbidden"), "{detail}");
        assert!(memory.names().contains(&"w-u-0".to_owned()), "{ask:?}");
        assert!(cluster.held().is_empty(), "{ask:?} {:?}", cluster.held());
    }
}

#[tokio::test(start_paused = true)]
async fn one_answer_that_is_missing_is_asked_for_again() {
    for ask in [Ask::Status, Ask::Set, Ask::Drain, Ask::Forget] {
        for trouble in [Trouble::Unavailable, Trouble::Silent] {
            for creates in [&[3][..], &[]] {
                // A drain has no answer before its end: there is nothing to be missed.
                if (ask, trouble) == (Ask::Drain, Trouble::Silent) {
                    continue;
                }
                let memory = with(0..3);
                let cluster = Arc::new(Cluster::default());
                cluster.order(ask, trouble);
                let test = Test {
                    replicas: 2 + creates.len(),
                    creates,
                    deletes: &[0],
                    ..TEST
                };
                let ended = run_here(&test, &memory, &cluster).await;
                let case = format!("{ask:?} {trouble:?} {creates:?}");
                assert!(ended.problems.is_empty(), "{case}: {:?}", ended.problems);
                assert!(ended.warnings.is_empty(), "{case}: {:?}", ended.warnings);
                assert_eq!(memory.names().len(), test.replicas, "{case}");
                assert!(cluster.log().contains(&"forget w-u-0".to_owned()), "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_away_during_a_drain_is_asked_until_the_time_is_over() {
    for (times, left) in [(20, false), (2_000, true)] {
        let memory = with(0..1);
        let cluster = Arc::new(Cluster::default());
        for _ in 0..times {
            cluster.order(Ask::Drain, Trouble::Unavailable);
        }
        let start = Instant::now();
        let ended = run_here(&ROLL, &memory, &cluster).await;
        let took = start.elapsed().as_secs();
        assert!(took < 930, "{times}: {took}");
        assert_eq!(memory.names().contains(&"w-u-0".to_owned()), left);
        if left {
            let detail = &ended.problems[0].detail;
            assert!(detail.contains("503 apiserver not ready"), "{detail}");
        }
    }
}
