//! `roll_window`: what waits for it, and what does not. Windows are about the present, for the
//! face reads the clock itself.

use std::time::{Duration, SystemTime};

use super::*;
use crate::flatcar::Date;

/// An hour that begins so many seconds from now.
fn window(from_now: i64) -> Json {
    let now = SystemTime::now();
    let opens = match u64::try_from(from_now) {
        Ok(later) => now + Duration::from_secs(later),
        Err(_) => now - Duration::from_secs(from_now.unsigned_abs()),
    };
    let stamp = Date::stamp(opens);
    json!({"start": &stamp[11..16], "length": "4h"})
}

fn with(window: &Json, changes: Json) -> Json {
    let mut all = changes;
    all["roll_window"] = window.clone();
    all
}

#[tokio::test(start_paused = true)]
async fn healthy_machines_wait_for_the_window_and_nothing_else_does() {
    let mut world = World::new("window", Memory::default()).await;
    let closed = window(6 * 3600);
    // Created, scaled and changed in place.
    for changes in [
        json!({}),
        json!({"replicas": 2}),
        json!({"replicas": 3}),
        json!({"memory": {"tags": {"owner": "a"}}}),
    ] {
        let (_, problems) = world.run(with(&closed, changes)).await;
        assert_eq!(problems, NOTHING);
    }
    let roll = json!({"memory": {"tags": {"owner": "a"}}, "user_data": with_motd("new")});
    let before = world.memory.names();
    let (rollout, problems) = world.run(with(&closed, roll.clone())).await;
    assert_eq!(rollout.len(), 6);
    assert_eq!(problems.len(), 2, "{problems:?}");
    let [foreseen, refused] = [&problems[0], &problems[1]];
    assert!(
        foreseen.starts_with("Roll window is closed: This plan replaces 3 healthy machines"),
        "{foreseen}"
    );
    assert!(
        refused.starts_with("Roll window is closed: 3 healthy machines would be replaced"),
        "{refused}"
    );
    assert_eq!(world.memory.names(), before);
    // What is gone is replaced at any time.
    let same = json!({"memory": {"tags": {"owner": "a"}}});
    world.memory.remove(&before[0]);
    let (rollout, problems) = world.run(with(&closed, same)).await;
    assert_eq!(rollout.len(), 1, "{rollout:?}");
    assert_eq!(problems, NOTHING);
    assert_eq!(world.memory.names().len(), 3);
    // So it is beside a roll, which waits.
    let before = world.memory.names();
    world.memory.remove(&before[0]);
    let (rollout, problems) = world.run(with(&closed, roll.clone())).await;
    assert_eq!(rollout.len(), 5, "{rollout:?}");
    assert!(
        problems[1].starts_with("Roll window is closed"),
        "{problems:?}"
    );
    let now = world.memory.names();
    assert_eq!(now[..2], before[1..]);
    assert_eq!(now.len(), 3);
    let (rollout, problems) = world.run(with(&window(-3600), roll)).await;
    assert_eq!(rollout.len(), 4);
    assert_eq!(problems, NOTHING);
}
