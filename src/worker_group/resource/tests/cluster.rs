//! Groups whose machines are Nodes of a cluster in memory, opened for each operation.

use std::sync::{Arc, PoisonError};

use super::*;
use crate::kubernetes::{Drain, OnTimeout, Settings};
use crate::worker_group::cloud::memory::cluster::{Ask, Cluster, Trouble, opened};
use crate::worker_group::resource::cluster::Opening;

/// How the cluster of a test is opened.
#[derive(Clone)]
enum Door {
    Open(Arc<Cluster>),
    /// What becomes of machines on destroy.
    Refuses(Option<OnTimeout>),
    Silent,
}

/// By the id of a test's cloud.
fn doors() -> std::sync::MutexGuard<'static, BTreeMap<String, Door>> {
    static DOORS: Mutex<BTreeMap<String, Door>> = Mutex::new(BTreeMap::new());
    DOORS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open<'a>(context: &'a Context, _group: &'a Group) -> Option<Opening<'a>> {
    let Value::Map(memory) = context.setting("memory") else {
        return None;
    };
    let Some(Value::String(id)) = memory.get("id") else {
        return None;
    };
    let door = doors().get(id).cloned()?;
    let on_timeout = match &door {
        Door::Refuses(on_timeout) => *on_timeout,
        _ => None,
    };
    let drain = Drain {
        timeout: Duration::from_secs(900),
        on_timeout,
    };
    let settings = match &door {
        Door::Open(cluster) => cluster.settings.lock().unwrap().clone(),
        Door::Refuses(_) | Door::Silent => Settings::default(),
    };
    Some(Opening {
        on_timeout,
        settings,
        waits: true,
        cluster: Box::pin(async move {
            match door {
                Door::Open(cluster) => Ok(opened(&cluster, Some(drain))),
                Door::Silent => std::future::pending().await,
                Door::Refuses(_) => Err(Diagnostic::error(
                    "Could not open the cluster",
                    "Its token is expired.",
                )
                .into()),
            }
        }),
    })
}

async fn joined(id: &str, door: Door) -> World {
    doors().insert(id.to_owned(), door);
    let resource = WorkerGroup {
        open_cluster: Some(open),
        ..WorkerGroup::new(CLOUDS)
    };
    World::with(resource, id, memory::open(id, Memory::default())).await
}

fn node_names(world: &World) -> Vec<String> {
    let group = world.group();
    let machines = group.fields.machines.known().unwrap();
    machines
        .values()
        .map(|note| note.node_name.clone())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_group_of_a_cluster_is_created_rolled_and_destroyed_in_order() {
    let cluster = Arc::new(Cluster::default());
    let mut world = joined("joined", Door::Open(Arc::clone(&cluster))).await;
    let changes = json!({"replicas": 1});
    assert_eq!(world.run(changes).await.1, NOTHING);
    let uid = world.uid();
    let log = || -> Vec<String> {
        let short = |line: &String| line.replace(&format!("w-{uid}-"), "");
        cluster.log().iter().map(short).collect()
    };
    assert_eq!(node_names(&world), [format!("node-{}", world.machine(0))]);
    assert!(log().is_empty(), "{:?}", log());
    let changes = json!({"replicas": 1, "user_data": with_motd("new")});
    assert_eq!(world.run(changes).await.1, NOTHING);
    assert_eq!(log(), ["discourage 0", "close 0", "drain 0", "forget 0"]);
    assert_eq!(node_names(&world), [format!("node-{}", world.machine(1))]);
    assert_eq!(world.destroy().await, NOTHING);
    assert_eq!(log()[4..], ["close 1", "drain 1", "forget 1"]);
    assert!(world.memory.names().is_empty());
}

fn labelled(value: &str) -> Settings {
    Settings {
        labels: Some([("pool".to_owned(), value.to_owned())].into()),
        ..Settings::default()
    }
}

#[tokio::test(start_paused = true)]
async fn labels_are_set_at_join_and_what_somebody_took_off_is_seen_and_mended_in_place() {
    let cluster = Arc::new(Cluster::default());
    *cluster.settings.lock().unwrap() = labelled("a");
    let mut world = joined("labels", Door::Open(Arc::clone(&cluster))).await;
    assert_eq!(world.run(json!({"replicas": 2})).await.1, NOTHING);
    let (first, second) = (world.machine(0), world.machine(1));
    let set = |name: &str| format!("label {name} pool=a");
    let mut log = cluster.log();
    log.sort();
    assert_eq!(log, [set(&first), set(&second)]);
    world.is_settled(json!({"replicas": 2})).await;
    cluster.unlabel(&second);
    let (planned, told) = world.run(json!({"replicas": 2})).await;
    assert_eq!(told, NOTHING);
    assert_eq!(planned, ["update 1: kubernetes.node_labels changed"]);
    assert_eq!(cluster.log()[2..], [set(&second)]);
    world.is_settled(json!({"replicas": 2})).await;
    // One that stumbles is asked once more.
    for _ in 0..2 {
        cluster.order(Ask::Status, Trouble::Unavailable);
    }
    let (_, told) = world.run(json!({"replicas": 2})).await;
    assert_eq!(told, NOTHING);
    // A cluster that is away keeps no plan from being made.
    for _ in 0..3 {
        cluster.order(Ask::Status, Trouble::Unavailable);
    }
    let (_, told) = world.run(json!({"replicas": 2})).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("Nodes could not be looked at"),
        "{told:?}"
    );
    assert_eq!(world.ordinals(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_and_a_refresh_open_no_cluster() {
    let cluster = Arc::new(Cluster::default());
    let mut world = joined("quiet", Door::Open(Arc::clone(&cluster))).await;
    assert_eq!(world.run(json!({})).await.1, NOTHING);
    let asked = cluster.calls(Ask::Status);
    doors().insert("quiet".to_owned(), Door::Silent);
    world.is_settled(json!({})).await;
    assert_eq!(cluster.calls(Ask::Status), asked);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_cannot_be_opened_ends_an_apply_before_anything_is_touched() {
    let mut world = joined("shut", Door::Refuses(None)).await;
    let refused = ["Could not open the cluster: Its token is expired."];
    assert_eq!(world.run(json!({})).await.1, refused);
    assert!(world.memory.names().is_empty());
    doors().remove("shut");
    assert_eq!(world.run(json!({})).await.1, NOTHING);
    doors().insert("shut".to_owned(), Door::Refuses(None));
    let changes = json!({"user_data": with_motd("new")});
    let (_, told) = world.run(changes).await;
    // A refresh has told before that names of Nodes are not known yet.
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("goes unseen in this plan"), "{told:?}");
    assert_eq!(told[1..], refused);
    assert_eq!(world.ordinals(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_cannot_be_opened_keeps_no_group_from_being_destroyed_unless_it_should() {
    for (id, door, gone, said) in [
        (
            "gone",
            Door::Refuses(None),
            true,
            "Could not open the cluster",
        ),
        (
            "gone-fail",
            Door::Refuses(Some(OnTimeout::Fail)),
            false,
            "Could not open the cluster",
        ),
        ("mute", Door::Silent, true, "Cluster does not answer"),
    ] {
        let cluster = Arc::new(Cluster::default());
        let mut world = joined(id, Door::Open(cluster)).await;
        assert_eq!(world.run(json!({})).await.1, NOTHING);
        doors().insert(id.to_owned(), door);
        let start = Instant::now();
        let told = world.destroy().await;
        assert_eq!(told.len(), 1, "{id}: {told:?}");
        assert!(told[0].starts_with(said), "{id}: {told:?}");
        assert_eq!(
            told[0].contains("deleted without the cluster"),
            gone,
            "{id}"
        );
        assert_eq!(world.state.is_null(), gone, "{id}");
        assert_eq!(world.memory.names().is_empty(), gone, "{id}");
        assert!(start.elapsed() < Duration::from_secs(70), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_in_the_way_is_told_with_what_keeps_it() {
    let cluster = Arc::new(Cluster::default());
    let mut world = joined("budget", Door::Open(Arc::clone(&cluster))).await;
    assert_eq!(world.run(json!({"replicas": 2})).await.1, NOTHING);
    let last = world.machine(1);
    cluster.keep(&last, "shop/web-0", "budget shop/web allows no disruption");
    let (_, told) = world.run(json!({"replicas": 1})).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Could not drain machine"), "{told:?}");
    assert!(told[0].contains("shop/web-0 (budget shop/web allows no disruption)"));
    assert!(told[0].contains("2 machines"), "{told:?}");
    assert_eq!(world.ordinals(), [0, 1]);
    assert!(cluster.held().is_empty(), "{:?}", cluster.held());
    // Destroyed, it is told, and goes.
    let told = world.destroy().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Drain took too long"), "{told:?}");
    assert!(world.state.is_null() && world.memory.names().is_empty());
}
