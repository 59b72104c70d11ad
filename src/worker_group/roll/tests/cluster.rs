//! Nodes: what an apply makes of a cluster that helps. One that is away stands beside.

use super::*;
use crate::kubernetes::{KubeletVersion, OnTimeout, Scheduling};
use crate::worker_group::cloud::memory::cluster::Ask;

pub(super) async fn run_here(test: &Test, memory: &Memory, cluster: &Arc<Cluster>) -> Ended {
    run_in(test, memory, cluster, &CancellationToken::new()).await
}

pub(super) fn warnings(ended: &Ended) -> Vec<&str> {
    ended.warnings.iter().map(|p| p.summary.as_str()).collect()
}

/// One machine takes another one's place.
pub(super) const ROLL: Test = Test {
    replicas: 1,
    creates: &[1],
    deletes: &[0],
    ..TEST
};

/// Three machines are destroyed.
pub(super) const DESTROY: Test = Test {
    replicas: 0,
    deletes: &[2, 1, 0],
    destroys: Destroys::Group,
    ..TEST
};

#[tokio::test(start_paused = true)]
async fn a_new_machine_counts_only_after_it_has_joined_and_been_up_for_min_ready() {
    let memory = with(0..1);
    let cluster = Arc::new(Cluster {
        joins_after: Duration::from_secs(20),
        ..Cluster::default()
    });
    let start = Instant::now();
    let test = Test {
        pace: Pace {
            min_ready: Duration::from_secs(30),
            ..TEST.pace
        },
        ..ROLL
    };
    let ended = run_here(&test, &memory, &cluster).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    let took = start.elapsed().as_secs();
    assert!((60..64).contains(&took), "{took}");
    assert_eq!(cluster.log(), GOES_AFTER);
    assert_eq!(ended.machines[0].node, "node-w-u-1");
}

#[tokio::test(start_paused = true)]
async fn a_machine_joins_when_its_kubelet_is_of_the_version_that_is_asked_for_and_is_not_asked_again()
 {
    for (asked, before, after, is_joined) in [
        ("1.34", "v1.33.9", "v1.34.2", true),
        ("1.34.2", "v1.33.9", "v1.34.2-eks-1a2b3c", true),
        ("1.34", "v1.34.2", "v1.33.9", false),
        ("1.34.2", "v1.34.2", "v1.34.1", false),
        ("1.34", "v1.34.2", "", false),
    ] {
        let case = format!("{asked}: {before} -> {after}");
        let memory = with(0..2);
        let cluster = Arc::new(Cluster::default());
        *cluster.kubelet_version.lock().unwrap() = KubeletVersion::parse(asked);
        for (host, kubelet) in [("w-u-0", before), ("w-u-1", before), ("w-u-2", after)] {
            cluster.runs(host, kubelet);
        }
        // Both have joined; one goes, and one stays as it is.
        for host in ["w-u-0", "w-u-1"] {
            cluster.known(host);
        }
        let test = Test {
            replicas: 2,
            creates: &[2],
            deletes: &[0],
            ..TEST
        };
        // It is there, and not ready yet.
        cluster.unready("w-u-2", "KubeletNotReady: network");
        let comes_up = async {
            tokio::time::sleep(Duration::from_secs(45)).await;
            cluster.unready("w-u-2", "");
        };
        let (ended, ()) = tokio::join!(run_here(&test, &memory, &cluster), comes_up);
        assert_eq!(
            ended.problems.is_empty(),
            is_joined,
            "{case}: {:?}",
            ended.problems
        );
        let new = ended
            .machines
            .iter()
            .find(|known| known.machine.name == "w-u-2");
        let node = new.map(|known| known.node.as_str()).unwrap();
        match is_joined {
            true => {
                assert_eq!(memory.names(), ["w-u-1", "w-u-2"], "{case}");
                assert_eq!(node, "node-w-u-2", "{case}");
            }
            false => {
                // What was there stays, and the new one is asked again by the next apply.
                assert_eq!(memory.names(), ["w-u-0", "w-u-1", "w-u-2"], "{case}");
                assert_eq!(node, "", "{case}");
                let said = &ended.problems[0].detail;
                let reports =
                    format!("its kubelet reports {after:?}, where kubelet_version is {asked}");
                assert!(said.contains(&reports), "{case}: {said}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_unready_in_between_is_to_be_ready_for_min_ready_anew() {
    let memory = with(0..1);
    let cluster = Arc::new(Cluster::default());
    let test = Test {
        pace: Pace {
            min_ready: Duration::from_secs(30),
            ..TEST.pace
        },
        ..ROLL
    };
    let flaps = async {
        tokio::time::sleep(Duration::from_secs(25)).await;
        cluster.unready("w-u-1", "KubeletNotReady: network");
        tokio::time::sleep(Duration::from_secs(5)).await;
        cluster.unready("w-u-1", "");
    };
    let start = Instant::now();
    let (ended, ()) = tokio::join!(run_here(&test, &memory, &cluster), flaps);
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    let took = start.elapsed().as_secs();
    assert!((60..64).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_or_fails_wakes_an_apply_between_its_looks() {
    // A cloud that is looked at once a minute.
    let memory = Memory {
        pause: Duration::from_secs(60),
        ..with(0..1)
    };
    let cluster = Arc::new(Cluster {
        joins_after: Duration::from_secs(125),
        ..Cluster::default()
    });
    cluster.known("w-u-0");
    let start = Instant::now();
    let ended = run_here(&ROLL, &memory, &cluster).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    // Not before it was first asked for, after its boot, and then not at the next look.
    let took = start.elapsed().as_secs();
    assert!((135..165).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn every_leaving_node_is_closed_before_the_first_is_drained() {
    let memory = with(0..3);
    let cluster = Arc::new(Cluster {
        drain_takes: Duration::from_secs(5),
        ..Cluster::default()
    });
    let test = Test {
        replicas: 1,
        deletes: &[2, 1],
        ..TEST
    };
    let ended = run_here(&test, &memory, &cluster).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    let log = cluster.log();
    assert_eq!(log[..2], ["close w-u-2", "close w-u-1"]);
    let mut rest = log[2..].to_vec();
    rest.sort_unstable();
    assert_eq!(
        rest,
        ["drain w-u-1", "drain w-u-2", "forget w-u-1", "forget w-u-2"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_holds_none_of_the_calls_that_go_on_at_a_time() {
    let memory = with(0..6);
    let cluster = Arc::new(Cluster {
        drain_takes: Duration::from_secs(100),
        ..Cluster::default()
    });
    let test = Test {
        replicas: 0,
        deletes: &[5, 4, 3, 2, 1, 0],
        pace: Pace {
            parallelism: 1,
            ..TEST.pace
        },
        ..TEST
    };
    let start = Instant::now();
    let ended = run_here(&test, &memory, &cluster).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert!(memory.names().is_empty());
    let took = start.elapsed().as_secs();
    assert!((100..110).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_emptied_in_time_meets_what_on_timeout_says() {
    // on_timeout, whether the group is destroyed, seconds of the operation and of the drain;
    // seconds at least; whether it goes, what is said.
    let stays = "Could not drain machine w-u-0";
    let goes = "Drain took too long: w-u-0";
    use OnTimeout::{Fail, Force, Skip};
    for (on_timeout, destroys, operation, drain, least, left, said) in [
        (None, Destroys::Machines, 3_600, 900, 900, true, stays),
        (Some(Fail), Destroys::Machines, 3_600, 900, 900, true, stays),
        (
            Some(Force),
            Destroys::Machines,
            3_600,
            900,
            900,
            false,
            goes,
        ),
        (Some(Skip), Destroys::Machines, 3_600, 900, 900, false, goes),
        (None, Destroys::Group, 3_600, 900, 900, false, goes),
        (Some(Fail), Destroys::Group, 3_600, 900, 900, true, stays),
        // The operation has less time than the drain.
        (None, Destroys::Group, 600, 900, 480, false, goes),
        (None, Destroys::Machines, 600, 900, 480, true, stays),
        (None, Destroys::Machines, 3_600, 0, 0, true, stays),
    ] {
        let case = format!("{on_timeout:?} {destroys:?} {operation} {drain}");
        let memory = with(0..2);
        let cluster = Arc::new(Cluster::default());
        cluster.keep(
            "w-u-0",
            "shop/web-0",
            "budget shop/web allows no disruption",
        );
        let test = Test {
            replicas: usize::from(destroys == Destroys::Machines),
            deletes: match destroys {
                Destroys::Machines => &[0],
                Destroys::Group => &[0, 1],
            },
            destroys,
            timeout: Duration::from_secs(operation),
            drain: Some(Drain {
                timeout: Duration::from_secs(drain),
                on_timeout,
            }),
            ..TEST
        };
        let start = Instant::now();
        let ended = run_here(&test, &memory, &cluster).await;
        let took = start.elapsed().as_secs();
        assert!((least..least + 70).contains(&took), "{case}: {took}");
        assert!(took < operation, "{case}: {took}");
        let names = memory.names();
        assert_eq!(names.contains(&"w-u-0".to_owned()), left, "{case}");
        let (told, detail) = match left {
            true => (summaries(&ended), &ended.problems[0].detail),
            false => (warnings(&ended), &ended.warnings[0].detail),
        };
        assert_eq!(told, [said], "{case}");
        assert!(
            detail.contains("1 pod was left: shop/web-0 (budget shop/web allows no disruption)"),
            "{case}: {detail}"
        );
        let forced = cluster.log().contains(&"force w-u-0".to_owned());
        let forces = on_timeout.is_none() && !left || on_timeout == Some(Force);
        assert_eq!(forced, forces, "{case}");
        // What stays takes pods again.
        assert!(cluster.held().is_empty(), "{case}: {:?}", cluster.held());
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_go_goes_before_pods_that_are_in_the_way_are_left_or_forced() {
    use OnTimeout::{Fail, Force, Skip};
    let bare = ("shop/debug", "nothing would make it anew elsewhere");
    let kept = ("shop/web-0", "budget shop/web allows no disruption");
    // on_timeout, whether a budget keeps another pod; seconds that it takes, what is said, what was
    // done to the Node.
    let stays = "Could not drain machine w-u-0";
    let (late, soon) = (
        "Drain took too long: w-u-0",
        "Machine was not emptied: w-u-0",
    );
    for (on_timeout, is_kept, seconds, said, done) in [
        (Fail, true, 0, stays, vec![]),
        (Skip, false, 0, soon, vec!["drain around w-u-0"]),
        (Skip, true, 900, late, vec![]),
        (
            Force,
            false,
            0,
            soon,
            vec!["drain around w-u-0", "force w-u-0"],
        ),
        (Force, true, 900, late, vec!["force w-u-0"]),
    ] {
        let case = format!("{on_timeout:?} {is_kept}");
        let memory = with(0..2);
        let cluster = Arc::new(Cluster::default());
        cluster.block("w-u-0", bare.0, bare.1);
        if is_kept {
            cluster.keep("w-u-0", kept.0, kept.1);
        }
        let test = Test {
            replicas: 1,
            deletes: &[0],
            drain: Some(Drain {
                on_timeout: Some(on_timeout),
                ..DRAIN
            }),
            ..TEST
        };
        let start = Instant::now();
        let ended = run_here(&test, &memory, &cluster).await;
        let took = start.elapsed().as_secs();
        assert!((seconds..seconds + 70).contains(&took), "{case}: {took}");
        let (told, detail) = match on_timeout {
            Fail => (summaries(&ended), &ended.problems[0].detail),
            Skip | Force => (warnings(&ended), &ended.warnings[0].detail),
        };
        assert_eq!(told, [said], "{case}");
        assert!(detail.contains(bare.0), "{case}: {detail}");
        let log = cluster.log();
        let drains = log.iter().map(String::as_str);
        let drains = drains.filter(|line| line.contains("drain") || line.contains("force"));
        assert_eq!(drains.collect::<Vec<_>>(), done, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_of_no_use_is_told_of_and_waited_for_by_nobody() {
    let memory = with(0..1);
    let cluster = Arc::new(Cluster::default());
    cluster.spare("w-u-0", "the Node is not ready");
    let start = Instant::now();
    let ended = run_here(&ROLL, &memory, &cluster).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert_eq!(warnings(&ended), ["Machine was not drained: w-u-0"]);
    assert_eq!(memory.names(), ["w-u-1"]);
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_has_not_joined_in_time_is_told_with_the_reason() {
    for (unready, said) in [
        (
            None,
            "it has no Node in the cluster; on the machine, journalctl -u kubelet says why",
        ),
        (
            Some("KubeletNotReady: container runtime network not ready"),
            "its Node node-w-u-1 is not ready: KubeletNotReady: container runtime network not ready",
        ),
    ] {
        let memory = with(0..1);
        let cluster = Arc::new(Cluster {
            joins_after: match unready {
                None => Duration::from_secs(86_400),
                Some(_) => Duration::ZERO,
            },
            ..Cluster::default()
        });
        cluster.known("w-u-0");
        if let Some(why) = unready {
            cluster.unready("w-u-1", why);
        }
        let ended = run_here(&ROLL, &memory, &cluster).await;
        assert_eq!(summaries(&ended), ["Machine does not serve: w-u-1"]);
        let detail = &ended.problems[0].detail;
        let whole = format!("w-u-1 is running, but has not joined in time: {said}.");
        assert!(detail.starts_with(&whole), "{detail}");
        assert_eq!(memory.names(), ["w-u-0", "w-u-1"]);
        assert!(cluster.held().is_empty(), "{:?}", cluster.held());
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_machine_stays_while_a_node_that_was_counted_is_not_ready_any_more() {
    let memory = with(0..2);
    let cluster = Arc::new(Cluster {
        drain_takes: Duration::from_secs(60),
        ..Cluster::default()
    });
    let test = Test {
        replicas: 2,
        creates: &[2, 3],
        deletes: &[0, 1],
        ..TEST
    };
    // The first new one fails while the first old one is drained.
    let fails = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        cluster.unready("w-u-2", "KubeletNotReady: disk pressure");
    };
    let (ended, ()) = tokio::join!(run_here(&test, &memory, &cluster), fails);
    assert_eq!(summaries(&ended), ["Machine does not serve: w-u-2"]);
    let detail = &ended.problems[0].detail;
    assert!(detail.contains("disk pressure"), "{detail}");
    let left = memory.names();
    assert!(left.contains(&"w-u-1".to_owned()), "{left:?}");
    assert!(cluster.held().is_empty(), "{:?}", cluster.held());
}

#[tokio::test(start_paused = true)]
async fn what_an_apply_that_was_cut_off_has_closed_is_opened_where_it_stays() {
    let memory = with(0..3);
    let cluster = Arc::new(Cluster::default());
    cluster.left("w-u-1", Scheduling::Closed);
    cluster.left("w-u-2", Scheduling::Discouraged);
    let test = Test {
        creates: &[3],
        deletes: &[0],
        ..TEST
    };
    let ended = run_here(&test, &memory, &cluster).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert_eq!(cluster.log()[..2], ["open w-u-1", "open w-u-2"]);
    assert!(cluster.held().is_empty(), "{:?}", cluster.held());
}

#[tokio::test(start_paused = true)]
async fn what_another_state_adopts_while_it_is_drained_is_open_again() {
    let memory = with(0..1);
    let cluster = Arc::new(Cluster {
        drain_takes: Duration::from_secs(30),
        ..Cluster::default()
    });
    let adopts = async {
        tokio::time::sleep(Duration::from_secs(25)).await;
        memory.adopt("w-u-0", "other");
    };
    let (ended, ()) = tokio::join!(run_here(&ROLL, &memory, &cluster), adopts);
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert_eq!(memory.names(), ["w-u-0", "w-u-1"]);
    assert!(cluster.held().is_empty(), "{:?}", cluster.held());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_where_nothing_is_drained_is_not_asked_to() {
    let memory = with(0..1);
    let cluster = Arc::new(Cluster::default());
    let test = Test {
        drain: None,
        ..ROLL
    };
    let ended = run_here(&test, &memory, &cluster).await;
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert_eq!(cluster.log(), ["forget w-u-0"]);
    assert_eq!(cluster.calls(Ask::Set) + cluster.calls(Ask::Drain), 0);
}
