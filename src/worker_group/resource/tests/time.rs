//! Time, and clouds that do not answer.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_operation_ends_within_its_own_timeout() {
    let timeouts = json!({"create": "20s", "read": "10s", "update": "30s", "delete": "40s"});
    let config = |motd: &str| json!({"timeouts": timeouts, "user_data": with_motd(motd)});
    let within = |start: Instant, seconds: u64, what: &str| {
        let took = start.elapsed();
        assert!(took <= Duration::from_secs(seconds), "{what} {took:?}");
        assert!(
            took >= Duration::from_secs(seconds * 9 / 10),
            "{what} {took:?}"
        );
    };
    let slow = Memory {
        boot: Duration::from_secs(100),
        ..Memory::default()
    };
    let mut world = World::new("timeout-create", slow).await;
    let start = Instant::now();
    let (_, problems) = world.run(config("a")).await;
    within(start, 20, "create");
    assert!(
        problems[0].starts_with("Timeout of the operation is over: It may take 20s, "),
        "{problems:?}"
    );
    assert_eq!(world.ordinals(), [0, 1, 2]);

    let mut world = World::new("timeout", Memory::default()).await;
    world.run(config("a")).await;
    world.refresh().await;
    let before = world.state.clone();
    world.memory.order(Call::List, "", Fault::Silent);
    let start = Instant::now();
    let problems = world.refresh().await;
    within(start, 10, "read");
    assert!(
        problems[0].contains("nothing within 10 seconds"),
        "{problems:?}"
    );
    assert!(world.state == before);

    world.memory.order(Call::Create, "", Fault::Hangs);
    let plan = world.plan(config("b")).await;
    let start = Instant::now();
    let problems = world.apply(plan).await;
    within(start, 30, "update");
    assert!(
        problems[0].starts_with("Timeout of the operation is over"),
        "{problems:?}"
    );
    world.memory.order(Call::Delete, "", Fault::Silent);
    let start = Instant::now();
    let problems = world.destroy().await;
    within(start, 40, "delete");
    assert!(!problems.is_empty());
    assert!(!world.state.is_null());
    assert_eq!(world.destroy().await, NOTHING);
    assert!(world.memory.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn once_the_time_is_used_up_nothing_more_is_asked() {
    let config =
        |owner: &str| json!({"timeouts": {"update": "30s"}, "memory": {"tags": {"owner": owner}}});
    let mut world = World::new("timeout-sweep", Memory::default()).await;
    world.run(config("a")).await;
    world.refresh().await;
    let swept = world.memory.calls(Call::Sweep);
    assert_eq!(swept, 1);
    let plan = world.plan(config("b")).await;
    world.memory.order(Call::Mark, "", Fault::Silent);
    world.memory.order(Call::Sweep, "", Fault::Silent);
    let problems = world.apply(plan).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("Could not change machines in place"),
        "{problems:?}"
    );
    assert_eq!(world.memory.calls(Call::Sweep), swept);
}

#[tokio::test(start_paused = true)]
async fn where_a_cloud_does_not_say_what_exists_it_is_asked_for_nothing_more() {
    let memory = Memory {
        deletion: Duration::from_secs(10),
        ..Memory::default()
    };
    let mut world = World::new("blind-sweep", memory).await;
    world.run(json!({})).await;
    world.refresh().await;
    let swept = world.memory.calls(Call::Sweep);
    let refused = Fault::Refused(Kind::Forbidden);
    world.memory.order(Call::Find, "", refused);
    let problems = world.destroy().await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("Could not list the group's machines"),
        "{problems:?}"
    );
    assert_eq!(world.memory.calls(Call::Sweep), swept);
    assert_eq!(world.destroy().await, NOTHING);
    assert_eq!(world.memory.calls(Call::Sweep), swept + 1);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_in_trouble_is_told_of_once() {
    for (kind, told) in [(Kind::Unavailable, 1), (Kind::Forbidden, 2)] {
        let id = format!("trouble-{kind:?}");
        let mut world = World::new(&id, Memory::default()).await;
        world.run(json!({})).await;
        world.refresh().await;
        world
            .memory
            .order(Call::Create, "", Fault::Refused(Kind::BadRequest));
        for _ in 0..5 {
            world.memory.order(Call::Sweep, "", Fault::Refused(kind));
        }
        let (_, problems) = world.run(json!({"replicas": 4})).await;
        assert_eq!(problems.len(), told, "{problems:?}");
        assert!(problems[0].starts_with("Could not create machine"));
    }
}
