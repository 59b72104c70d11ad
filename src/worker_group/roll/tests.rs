//! The engine on a cloud in memory: what an apply does to machines. What concerns traffic and Nodes
//! stands beside.

mod away;
mod cluster;
mod failures;
mod traffic;
mod whose;

use std::sync::LazyLock;

use super::*;
use crate::kubernetes::{Destroys, Drain};
use crate::provider::Model as _;
use crate::worker_group::cloud::memory::cluster::{Cluster, opened};
use crate::worker_group::cloud::memory::{Call, Fault, Memory, Shape};
use crate::worker_group::cloud::{Answers as _, Kind};
use crate::worker_group::generation::Rolls;
use crate::worker_group::plan::Share;

fn mark(generation: &str) -> Mark {
    Mark {
        cluster: "prod".to_owned(),
        group: "w".to_owned(),
        uid: "u".to_owned(),
        generation: generation.to_owned(),
        unsaved: false,
        origin: String::new(),
        proof: String::new(),
    }
}

/// What a test orders; the rest is as users have it by default.
struct Test {
    replicas: usize,
    surge: usize,
    unavailable: usize,
    canary: bool,
    creates: &'static [u64],
    deletes: &'static [u64],
    pace: Pace,
    timeout: Duration,
    destroys: Destroys,
    drain: Option<Drain>,
}

const TEST: Test = Test {
    replicas: 3,
    surge: 1,
    unavailable: 0,
    canary: false,
    creates: &[],
    deletes: &[],
    pace: Pace {
        parallelism: 10,
        min_ready: Duration::ZERO,
        machine_timeout: Duration::from_secs(300),
        max_failures: 0,
    },
    timeout: Duration::from_secs(3600),
    destroys: Destroys::Machines,
    drain: Some(DRAIN),
};

const DRAIN: Drain = Drain {
    timeout: Duration::from_secs(900),
    on_timeout: None,
};

async fn run_with(test: &Test, memory: &Memory, cancel: &CancellationToken) -> Ended {
    run_over(test, memory, None, cancel, memory.machines()).await
}

/// With a cluster.
async fn run_in(
    test: &Test,
    memory: &Memory,
    cluster: &Arc<Cluster>,
    cancel: &CancellationToken,
) -> Ended {
    run_over(test, memory, Some(cluster), cancel, memory.machines()).await
}

/// The same where the list at its start has shown these.
async fn run_over(
    test: &Test,
    memory: &Memory,
    cluster: Option<&Arc<Cluster>>,
    cancel: &CancellationToken,
    listed: Vec<Machine>,
) -> Ended {
    let mut existing = known(listed);
    if let Some(cluster) = cluster {
        for known in &mut existing {
            let name = &known.machine.name;
            if cluster.has_joined(name) {
                known.node = format!("node-{name}");
            }
        }
    }
    let cluster = cluster.map(|cluster| opened(cluster, test.drain));
    let order = order(test);
    let cloud = memory.clone().opened();
    let calls = Calls {
        cloud: cloud.as_ref(),
        cancel,
        deadline: Instant::now() + test.timeout,
    };
    let named = existing.iter().filter(|known| !known.node.is_empty());
    let places = NodesAndTraffic::new(cluster.as_ref(), calls, &order.deletes, test.destroys)
        .joined_before(named.map(|known| known.machine.name.as_str()));
    Roll::new(calls, &places, order, existing).run().await
}

/// An order, on a group that is no part of a cluster.
async fn run_order(memory: &Memory, order: Order<'_>, existing: Vec<Machine>) -> Ended {
    let cancel = CancellationToken::new();
    let cloud = memory.clone().opened();
    let calls = Calls {
        cloud: cloud.as_ref(),
        cancel: &cancel,
        deadline: Instant::now() + TEST.timeout,
    };
    let places = NodesAndTraffic::new(None, calls, &order.deletes, Destroys::Machines);
    let roll = Roll::new(calls, &places, order, known(existing));
    roll.run().await
}

fn known(machines: Vec<Machine>) -> Vec<Known> {
    let known = |machine| Known {
        machine,
        node: String::new(),
    };
    machines.into_iter().map(known).collect()
}

/// Nothing is said of machines.
static SHAPE: LazyLock<Value> = LazyLock::new(|| Shape::default().to_value());

fn order(test: &Test) -> Order<'static> {
    let name = |ordinal: &u64| format!("w-u-{ordinal}");
    let share = Share::Count;
    Order {
        mark: mark("2"),
        prefix: "w-u-".to_owned(),
        image: "flatcar",
        shape: &SHAPE,
        user_data: &|name| name.as_bytes().to_vec(),
        limits: Limits::new(
            test.replicas,
            share(test.surge),
            share(test.unavailable),
            test.canary,
        ),
        creates: test.creates.iter().map(name).collect(),
        deletes: test.deletes.iter().map(name).collect(),
        next_ordinal: 100,
        pace: test.pace,
        timeout: "1h".to_owned(),
        leftovers: Leftovers::Leave,
        gives_way: false,
        secret: Secret::default(),
        ignored_ids: BTreeSet::new(),
        window_closes: None,
    }
}

async fn run(test: &Test, memory: &Memory) -> Ended {
    run_with(test, memory, &CancellationToken::new()).await
}

fn with(ordinals: std::ops::Range<u64>) -> Memory {
    let memory = Memory::default();
    for ordinal in ordinals {
        memory.put(&format!("w-u-{ordinal}"), &mark("1"));
    }
    memory
}

fn names(ended: &Ended) -> Vec<String> {
    let mut names: Vec<String> = ended
        .machines
        .iter()
        .map(|k| k.machine.name.clone())
        .collect();
    names.sort();
    names
}

fn summaries(ended: &Ended) -> Vec<&str> {
    ended.problems.iter().map(|p| p.summary.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn machines_are_created_side_by_side_and_waited_for_together() {
    let memory = Memory::default();
    let start = Instant::now();
    let ended = run(
        &Test {
            creates: &[0, 1, 2],
            ..TEST
        },
        &memory,
    )
    .await;
    assert_eq!(names(&ended), ["w-u-0", "w-u-1", "w-u-2"]);
    assert_eq!(names(&ended), memory.names());
    assert!(ended.problems.is_empty(), "{:?}", ended.problems);
    assert!(
        ended
            .machines
            .iter()
            .all(|k| k.machine.phase == Phase::Running)
    );
    let took = start.elapsed();
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert!(
        memory.calls(Call::List) < 20,
        "{}",
        memory.calls(Call::List)
    );
    assert_eq!(memory.calls(Call::Find), 0);
}

#[tokio::test(start_paused = true)]
async fn a_roll_stays_inside_surge_and_availability_and_takes_as_long_as_its_batches() {
    // surge, unavailable, canary, most machines, fewest ready, batches
    let cases = [
        (1, 0, false, 7, 6, 6),
        (3, 0, false, 9, 6, 2),
        (0, 2, false, 6, 4, 3),
        (2, 2, false, 8, 4, 2),
        (3, 0, true, 9, 6, 3),
        (0, 2, true, 6, 4, 4),
    ];
    for (surge, unavailable, canary, most, fewest, batches) in cases {
        let memory = with(0..6);
        let start = Instant::now();
        let test = Test {
            replicas: 6,
            surge,
            unavailable,
            canary,
            creates: &[6, 7, 8, 9, 10, 11],
            deletes: &[0, 1, 2, 3, 4, 5],
            ..TEST
        };
        let ended = run(&test, &memory).await;
        assert!(ended.problems.is_empty(), "{:?}", ended.problems);
        assert_eq!(
            memory.names(),
            ["w-u-10", "w-u-11", "w-u-6", "w-u-7", "w-u-8", "w-u-9"]
        );
        assert!(
            memory.most() <= most,
            "{} {surge} {unavailable}",
            memory.most()
        );
        assert!(
            memory.fewest_ready().unwrap() >= fewest,
            "{surge} {unavailable}"
        );
        let ideal = memory.boot * batches;
        let took = start.elapsed();
        assert!(
            took <= ideal.mul_f64(1.15),
            "{took:?} {ideal:?} {surge} {unavailable} {canary}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_soon_and_keeps_what_exists() {
    let memory = with(0..3);
    let cancel = CancellationToken::new();
    let test = Test {
        creates: &[3, 4, 5],
        deletes: &[0, 1, 2],
        ..TEST
    };
    let stop = async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        cancel.cancel();
    };
    let start = Instant::now();
    let (ended, ()) = tokio::join!(run_with(&test, &memory, &cancel), stop);
    assert!(start.elapsed() < Duration::from_secs(21));
    assert_eq!(summaries(&ended), ["Interrupted"]);
    assert_eq!(names(&ended), memory.names());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_the_operation_ends_it_and_keeps_what_exists() {
    let memory = Memory {
        boot: Duration::from_secs(100),
        ..Memory::default()
    };
    let test = Test {
        creates: &[0, 1, 2],
        timeout: Duration::from_secs(60),
        ..TEST
    };
    let ended = run(&test, &memory).await;
    assert_eq!(summaries(&ended), ["Timeout of the operation is over"]);
    assert_eq!(names(&ended), ["w-u-0", "w-u-1", "w-u-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_cloud_makes_no_operation_longer_than_its_timeout() {
    for (call, seconds) in [
        (Call::Create, 10),
        (Call::Create, 50),
        (Call::List, 10),
        (Call::Delete, 10),
        (Call::Delete, 300),
    ] {
        let memory = Memory {
            boot: Duration::from_secs(100),
            ..with(0..2)
        };
        memory.order(call, "", Fault::Silent);
        let test = Test {
            replicas: 2,
            unavailable: 2,
            creates: &[2, 3],
            deletes: &[0, 1],
            timeout: Duration::from_secs(seconds),
            ..TEST
        };
        let start = Instant::now();
        let ended = run(&test, &memory).await;
        let took = start.elapsed();
        assert!(took <= test.timeout, "{call:?} {took:?} of {seconds}");
        let told = summaries(&ended);
        assert!(
            seconds > 200 || told.contains(&"Timeout of the operation is over"),
            "{call:?} {told:?}"
        );
        // What was carried out and not answered is found by the last look.
        assert_eq!(names(&ended), memory.names(), "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_deleted_as_far_as_it_goes() {
    let memory = Memory {
        deletion: Duration::from_secs(20),
        ..with(0..3)
    };
    memory.order(Call::Delete, "w-u-1", Fault::Refused(Kind::Forbidden));
    let test = Test {
        replicas: 0,
        deletes: &[0, 1, 2],
        ..TEST
    };
    let ended = run(&test, &memory).await;
    assert_eq!(summaries(&ended), ["Could not delete machine w-u-1"]);
    assert_eq!(names(&ended), ["w-u-1"]);
    assert_eq!(memory.names(), ["w-u-1"]);
    let again = run(
        &Test {
            deletes: &[1],
            ..test
        },
        &memory,
    )
    .await;
    assert!(again.problems.is_empty() && again.machines.is_empty());
    assert!(memory.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_is_not_asked_for_one_by_one() {
    let memory = Memory {
        deletion: Duration::from_secs(20),
        one_by_one: true,
        ..with(0..3)
    };
    let test = Test {
        replicas: 0,
        deletes: &[0, 1, 2],
        ..TEST
    };
    let start = Instant::now();
    let ended = run(&test, &memory).await;
    assert!(ended.problems.is_empty() && ended.machines.is_empty());
    assert!(memory.names().is_empty());
    assert_eq!(memory.calls(Call::Find), 0);
    assert!(start.elapsed() < Duration::from_secs(23));
}

#[tokio::test(start_paused = true)]
async fn however_long_a_cloud_asks_to_wait_what_was_made_is_recorded() {
    for wait in [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_secs(7_200),
    ] {
        for call in [Call::Create, Call::List] {
            let memory = Memory::default();
            let object = match call {
                Call::Create => "w-u-2",
                _ => "w",
            };
            memory.order(call, object, Fault::Throttled(wait));
            let test = Test {
                creates: &[0, 1, 2],
                ..TEST
            };
            let ended = run(&test, &memory).await;
            assert_eq!(names(&ended), memory.names(), "{call:?} {wait:?}");
            let said = &ended.problems[0].detail;
            assert!(said.contains("answered RateLimit"), "{said}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_ends_short_is_never_a_success() {
    let used_up = |test| Order {
        next_ordinal: 1_000_000_000,
        ..order(test)
    };
    let test = Test {
        creates: &[0, 1],
        ..TEST
    };
    for (what, memory, order, summary) in [
        (
            "no name is left for the third",
            Memory::default(),
            used_up(&test),
            "Group has no names left",
        ),
        (
            "one has stopped, and was not planned to go",
            {
                let memory = with(0..3);
                memory.set("w-u-1", Phase::Stopped);
                memory
            },
            order(&TEST),
            "Fewer machines serve than wanted",
        ),
    ] {
        let ended = run_order(&memory, order, memory.machines()).await;
        assert_eq!(summaries(&ended), [summary], "{what}");
        assert_eq!(names(&ended), memory.names(), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_cloud_says_is_shown_and_obeyed_by_no_terminal() {
    let memory = with(0..1);
    memory.retell("w-u-0", |machine| {
        machine.zone = "a\u{1b}[2J\nb".to_owned();
        machine.addresses = vec!["10.0.0.1\u{202e}".to_owned()];
        machine.image = "flat\u{7}car".to_owned();
    });
    let cloud = memory.clone().opened();
    let calls = |cancel| Calls {
        cloud: cloud.as_ref(),
        cancel,
        deadline: Instant::now() + TEST.timeout,
    };
    let cancel = CancellationToken::new();
    let listed = calls(&cancel).list("prod", "w").await.unwrap();
    let [machine] = &listed[..] else {
        panic!("{listed:?}")
    };
    assert_eq!(machine.zone, "a b");
    assert_eq!(machine.addresses, ["10.0.0.1\u{fffd}"]);
    assert_eq!(machine.image, "flat\u{fffd}car");
    for id in ["", "i-1\u{1b}[2J"] {
        memory.retell("w-u-0", |machine| id.clone_into(&mut machine.id));
        let error = calls(&cancel).list("prod", "w").await.unwrap_err();
        assert!(error.message.contains("whose id"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_console_is_cut_and_cleaned_and_may_hold_secrets() {
    let memory = Memory::default();
    let console =
        (0..100).map(|line| format!("\u{1b}[32m{line}\u{1b}[0m {}\r\n", "x".repeat(1_000)));
    memory.says(&console.collect::<String>());
    memory.order(Call::Create, "w-u-0", Fault::Dead);
    let test = Test {
        replicas: 1,
        creates: &[0],
        ..TEST
    };
    let ended = run(&test, &memory).await;
    let said = &ended.problems[0].detail;
    assert!(said.contains("may be secrets"), "{said}");
    assert!(!said.contains(['\u{1b}', '\r']), "{said:?}");
    let shown = said.lines().filter(|line| line.contains("xxx"));
    assert_eq!(shown.count(), 15);
    assert!(said.contains("\n99 xxx") && said.len() < 5_000, "{said}");
}

/// What a cluster sees of a machine that goes once another one has come.
const GOES_AFTER: [&str; 4] = [
    "discourage w-u-0",
    "close w-u-0",
    "drain w-u-0",
    "forget w-u-0",
];

#[tokio::test(start_paused = true)]
async fn a_window_that_closes_lets_what_has_begun_end_and_begins_no_more() {
    let test = Test {
        creates: &[3, 4, 5],
        deletes: &[0, 1, 2],
        ..TEST
    };
    // Before anything, in the middle, and when all has been done.
    for (closes, machines, problems) in [
        (
            0,
            &["w-u-0", "w-u-1", "w-u-2"],
            &["Roll window is closed"][..],
        ),
        (12, &["w-u-2", "w-u-3", "w-u-4"], &["Roll window is closed"]),
        (3600, &["w-u-3", "w-u-4", "w-u-5"], &[]),
    ] {
        let memory = with(0..3);
        let order = Order {
            window_closes: Some(Instant::now() + Duration::from_secs(closes)),
            ..order(&test)
        };
        let ended = run_order(&memory, order, memory.machines()).await;
        assert_eq!(names(&ended), machines, "{closes}");
        assert_eq!(summaries(&ended), problems, "{closes}");
    }
}
