//! What the engine asks of Nodes, each as a row, against a real API server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flatcar::kubernetes::access::{Access, Exec, Secret};
use flatcar::kubernetes::{
    Api, Connection, Drained, Effect, Eviction, Host, Left, Nodes as _, Rules, Scheduling,
    Settings, Status, Taint, Turn,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::server::{Server, pod, text};
use crate::harness::scratch;

type Row = (&'static str, for<'a> fn(&'a Server) -> BoxFuture<'a, ()>);

/// Each begins in a cluster without Nodes.
const ROWS: &[Row] = &[
    ("a Node is found by whatever it says of its machine", |s| {
        found(s).boxed()
    }),
    ("a Node that does not serve says why", |s| {
        unready(s).boxed()
    }),
    ("a change is told, by a watch", |s| changed(s).boxed()),
    (
        "labels of ours come and go, and those of others stay",
        |s| labels(s).boxed(),
    ),
    (
        "taints of ours come and go, and those of others stay",
        |s| taints(s).boxed(),
    ),
    ("what is written at one moment all gets there", |s| {
        at_once(s).boxed()
    }),
    (
        "a cordon of somebody else is none of ours to take back",
        |s| cordons(s).boxed(),
    ),
    (
        "pods move past a budget that is in the way for a while",
        |s| moves(s).boxed(),
    ),
    (
        "a budget that allows nothing is told in its own words",
        |s| blocked(s).boxed(),
    ),
    ("pods that are forced go without asking budgets", |s| {
        forced(s).boxed()
    }),
    (
        "pods that may not go end a drain before any is moved",
        |s| in_the_way(s).boxed(),
    ),
    ("a pod has the grace period of the group", |s| {
        grace(s).boxed()
    }),
    ("a pod or Node that vanishes is no failure", |s| {
        vanishes(s).boxed()
    }),
    ("a drain that would help nobody says why", |s| {
        useless(s).boxed()
    }),
    ("a machine keeps its volumes until they are detached", |s| {
        volumes(s).boxed()
    }),
    (
        "the Nodes of machines that are gone are deleted, and no other",
        |s| forget(s).boxed(),
    ),
    ("a certificate, a kubeconfig and a program log in", |s| {
        logins(s).boxed()
    }),
    ("one group at a time has the turn", |s| turns(s).boxed()),
    (
        "a Lease that others have written, or left, is taken in its time",
        |s| leases(s).boxed(),
    ),
    (
        "a pod that its controller sets on a closed Node again is left there",
        |s| returns(s).boxed(),
    ),
    ("what keeps a pod that ends is told", |s| ending(s).boxed()),
    ("a right that is missing is named", |s| forbidden(s).boxed()),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_of_a_real_cluster_do_what_the_engine_asks() {
    let mut shown = 0;
    for (says, show) in ROWS {
        let Some(server) = Server::find().await else {
            return;
        };
        println!("{says}");
        show(&server).await;
        shown += 1;
    }
    assert_eq!(shown, ROWS.len());
}

fn connection(server: &Server, token: &str, rules: Rules) -> Connection {
    let access = Access {
        host: Some(server.host.clone()),
        token: Some(Secret::new(token)),
        cluster_ca_certificate: Some(server.authority.clone()),
        ..Access::default()
    };
    let endpoint = access.endpoint(&|_| None).expect("an endpoint");
    Connection::new(Arc::new(Api::new(endpoint).expect("an API")), rules)
}

fn admin(server: &Server) -> Connection {
    connection(server, "admintoken", Rules::default())
}

fn host(name: &str) -> Host {
    Host {
        name: name.to_owned(),
        id: format!("i-{name}"),
        addresses: Vec::new(),
        created: None,
    }
}

async fn status(connection: &Connection, host: &Host) -> Status {
    let mut found = connection
        .status(std::slice::from_ref(host))
        .await
        .expect("an answer");
    found.remove(&host.name).unwrap_or(Status::Absent)
}

fn name_of(status: &Status) -> String {
    status
        .node()
        .map(|node| node.name.clone())
        .unwrap_or_default()
}

/// Cordons a Node as the engine does, and drains it.
async fn drained(
    connection: &Connection,
    node: &str,
    eviction: Eviction,
    seconds: u64,
) -> (Drained, Vec<Left>) {
    let hosts = [host(node)];
    let closed = Settings::scheduling(Scheduling::Closed);
    connection.set(&hosts, &closed).await.expect("is closed");
    let told = Mutex::new(Vec::new());
    let progress = |left: &[Left]| told.lock().unwrap().extend(left.iter().cloned());
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let drained = connection
        .drain(&hosts[0], eviction, deadline, &progress)
        .await;
    (drained.expect("an answer"), told.into_inner().unwrap())
}

/// Two Nodes, and a namespace whose pods run on the first one alone, until it is closed.
async fn two(server: &Server) -> String {
    server
        .node(
            "a",
            json!({"metadata": {"labels": {"first": "yes", "machines": "rows"}}}),
        )
        .await;
    server
        .node("b", json!({"metadata": {"labels": {"machines": "rows"}}}))
        .await;
    server.namespace().await
}

async fn found(server: &Server) {
    let of = |node: &str, name: &str, id: &str| Host {
        name: name.to_owned(),
        id: id.to_owned(),
        addresses: vec![format!("10.1.1.{}", node.len())],
        created: None,
    };
    server
        .node(
            "by-id",
            json!({"spec": {"providerID": "aws:///eu-central-1a/i-0abc"}}),
        )
        .await;
    server.node("by-name", json!({})).await;
    server
        .node(
            "by-host-name",
            json!({"metadata": {"labels": {"kubernetes.io/hostname": "w-u-7"}}}),
        )
        .await;
    server.node("by-address", json!({})).await;
    let address =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.1.1.10"}]}});
    server
        .change("/api/v1/nodes/by-address/status", address)
        .await;
    let connection = admin(server);
    for (host, expected) in [
        (of("x", "w-u-1", "i-0abc"), "by-id"),
        (of("x", "by-name", "i-1"), "by-name"),
        (of("x", "w-u-7", "i-2"), "by-host-name"),
        (of("by-address", "w-u-8", "i-3"), "by-address"),
        (of("x", "w-u-9", "i-0ab"), ""),
    ] {
        assert_eq!(
            name_of(&status(&connection, &host).await),
            expected,
            "{host:?}"
        );
    }
}

async fn unready(server: &Server) {
    server
        .make("/api/v1/nodes", json!({"metadata": {"name": "silent"}}))
        .await;
    let external = json!({"spec": {"taints": [{"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"}]}});
    server.node("external", external).await;
    server.node("ready", json!({})).await;
    let connection = admin(server);
    for (name, expected) in [
        ("silent", Some("its kubelet has not said how it is")),
        (
            "external",
            Some("its cloud controller has not initialized it"),
        ),
        ("ready", None),
    ] {
        match (status(&connection, &host(name)).await, expected) {
            (Status::Ready(node), None) => assert!(!node.kubelet.is_empty(), "{node:?}"),
            // A controller may have said by now that the kubelet is silent.
            (Status::NotReady(_, why), Some(words)) => {
                assert!(why.contains(words) || why.contains("Kubelet"), "{why}")
            }
            (status, _) => panic!("{name}: {status:?}"),
        }
    }
    assert_eq!(status(&connection, &host("nobody")).await, Status::Absent);
}

async fn changed(server: &Server) {
    server.node("a", json!({})).await;
    let connection = admin(server);
    let hosts = [host("a"), host("late")];
    connection.status(&hosts).await.expect("an answer");
    let soon = |what: &'static str| {
        let told = tokio::time::timeout(Duration::from_secs(60), connection.changed());
        async move { told.await.unwrap_or_else(|_| panic!("{what} was not told")) }
    };
    let (_, ()) = tokio::join!(server.node("late", json!({})), soon("a Node that came"));
    connection.status(&hosts).await.expect("an answer");
    let label = json!({"metadata": {"labels": {"new": "label"}}});
    let (_, ()) = tokio::join!(server.change("/api/v1/nodes/a", label), soon("a label"));
    connection.status(&hosts).await.expect("an answer");
    let (_, ()) = tokio::join!(
        server.ask(Method::DELETE, "/api/v1/nodes/a", None),
        soon("a Node that went")
    );
    assert_eq!(status(&connection, &hosts[0]).await, Status::Absent);
    // What is none of the group's is nobody's matter.
    let connection = admin(server);
    assert_eq!(
        status(&connection, &hosts[1])
            .await
            .node()
            .map(|node| node.name.as_str()),
        Some("late")
    );
    server.node("other", json!({})).await;
    let quiet = tokio::time::timeout(Duration::from_millis(500), connection.changed()).await;
    assert!(quiet.is_err(), "told of a Node that is no host's");
}

fn labelled(labels: &[(&str, &str)]) -> Settings {
    let labels = labels.iter();
    Settings {
        labels: Some(
            labels
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        ),
        ..Settings::default()
    }
}

async fn labels(server: &Server) {
    server
        .node("a", json!({"metadata": {"labels": {"theirs": "b"}}}))
        .await;
    let connection = admin(server);
    let hosts = [host("a"), host("nobody")];
    for wanted in [
        &[("pool", "a"), ("node-role.kubernetes.io/worker", "")] as &[_],
        &[("pool", "b")],
        &[("pool", "b"), ("theirs", "ours")],
        &[],
    ] {
        let settings = labelled(wanted);
        connection.set(&hosts, &settings).await.expect("is set");
        let node = status(&connection, &hosts[0])
            .await
            .node()
            .cloned()
            .expect("a Node");
        assert!(node.lacks(&settings).is_empty(), "{node:?}");
        let object = server.object("/api/v1/nodes/a").await;
        let labels = &object["metadata"]["labels"];
        let has: BTreeMap<String, String> = serde_json::from_value(labels.clone()).expect("labels");
        let is_there = |(key, value): &(&str, &str)| has.get(*key).is_some_and(|has| has == value);
        assert!(wanted.iter().all(is_there), "{has:?}");
        assert_eq!(
            has.contains_key("pool"),
            wanted.iter().any(|(key, _)| *key == "pool"),
            "{has:?}"
        );
        assert_eq!(
            has.get("kubernetes.io/hostname").map(String::as_str),
            Some("a")
        );
    }
    // One that was deleted under an apply is not made again.
    connection
        .set(&hosts[..1], &labelled(&[]))
        .await
        .expect("is set");
    server.ask(Method::DELETE, "/api/v1/nodes/a", None).await;
    connection
        .set(&hosts, &labelled(&[("pool", "a")]))
        .await
        .expect("is passed over");
    assert!(server.names("/api/v1/nodes").await.is_empty());
}

fn taint(key: &str, value: &str, effect: Effect) -> Taint {
    Taint {
        key: key.to_owned(),
        value: value.to_owned(),
        effect,
    }
}

fn tainted(taints: &[Taint]) -> Settings {
    Settings {
        taints: Some(taints.to_vec()),
        ..Settings::default()
    }
}

async fn taints(server: &Server) {
    let theirs = json!({"key": "theirs", "value": "x", "effect": "NoSchedule"});
    server
        .node("a", json!({"spec": {"taints": [theirs]}}))
        .await;
    let connection = admin(server);
    let hosts = [host("a")];
    let gpu = taint("gpu", "yes", Effect::NoSchedule);
    let later = taint("gpu", "", Effect::PreferNoSchedule);
    for wanted in [
        vec![gpu.clone()],
        vec![gpu, later.clone()],
        vec![later],
        vec![],
    ] {
        let settings = tainted(&wanted);
        connection.set(&hosts, &settings).await.expect("is set");
        let node = status(&connection, &hosts[0])
            .await
            .node()
            .cloned()
            .expect("a Node");
        assert!(node.lacks(&settings).is_empty(), "{node:?}");
        // The cluster's own go once the Node is ready.
        let others = node.taints.iter().filter(|taint| {
            !wanted.contains(taint) && !taint.key.starts_with("node.kubernetes.io/")
        });
        let others: Vec<String> = others.map(|taint| taint.key.clone()).collect();
        assert_eq!(others, ["theirs"]);
    }
}

async fn at_once(server: &Server) {
    server.node("a", json!({})).await;
    let connection = admin(server);
    let hosts = [host("a")];
    let wanted = [
        labelled(&[("pool", "a")]),
        tainted(&[taint("gpu", "", Effect::NoSchedule)]),
        Settings::scheduling(Scheduling::Closed),
    ];
    let sets = wanted
        .iter()
        .map(|settings| connection.set(&hosts, settings));
    for set in futures::future::join_all(sets).await {
        set.expect("is set");
    }
    let node = status(&connection, &hosts[0])
        .await
        .node()
        .cloned()
        .expect("a Node");
    assert!(
        wanted
            .iter()
            .all(|settings| node.lacks(settings).is_empty()),
        "{node:?}"
    );
    assert_eq!(node.scheduling, Scheduling::Closed);
}

async fn cordons(server: &Server) {
    server.node("a", json!({})).await;
    let connection = admin(server);
    let hosts = [host("a")];
    let unschedulable = async || {
        let node = server.object("/api/v1/nodes/a").await;
        node["spec"]["unschedulable"].as_bool().unwrap_or(false)
    };
    let set = async |scheduling| {
        let settings = Settings::scheduling(scheduling);
        connection.set(&hosts, &settings).await.expect("is set");
        let status = status(&connection, &hosts[0]).await;
        status.node().expect("a Node").scheduling
    };
    for scheduling in [
        Scheduling::Discouraged,
        Scheduling::Closed,
        Scheduling::Discouraged,
        Scheduling::Open,
    ] {
        assert_eq!(set(scheduling).await, scheduling);
        assert_eq!(unschedulable().await, scheduling == Scheduling::Closed);
    }
    server
        .change("/api/v1/nodes/a", json!({"spec": {"unschedulable": true}}))
        .await;
    for scheduling in [Scheduling::Closed, Scheduling::Open] {
        assert_eq!(set(scheduling).await, Scheduling::Open);
        assert!(unschedulable().await, "a cordon of somebody else's is gone");
    }
}

async fn moves(server: &Server) {
    let namespace = two(server).await;
    server
        .web(&namespace, 3, 2, json!({"machines": "rows"}))
        .await;
    daemon_set(server, &namespace).await;
    let on_a = async || {
        let pods = server.pods(&namespace).await.into_iter();
        let here: Vec<String> = pods
            .filter(|(_, node)| node == "a")
            .map(|(name, _)| name)
            .collect();
        here
    };
    let before = on_a().await;
    assert!(
        before.iter().any(|name| name.starts_with("agent")),
        "{before:?}"
    );
    let (drained, told) = drained(&admin(server), "a", Eviction::Allowed, 120).await;
    assert_eq!(drained, Drained::Empty);
    let after = on_a().await;
    assert!(
        after.len() == 1 && after[0].starts_with("agent"),
        "{after:?}"
    );
    assert_eq!(told.is_empty(), before.len() == 1, "{told:?}");
    let path = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/web");
    server
        .until("the pods run elsewhere", &path, |budget| {
            budget["status"]["currentHealthy"] == 3
        })
        .await;
}

async fn daemon_set(server: &Server, namespace: &str) {
    let labels = json!({"app": "agent"});
    let set = json!({
        "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod(json!({"machines": "rows"}))},
        },
    });
    server
        .make(
            &format!("/apis/apps/v1/namespaces/{namespace}/daemonsets"),
            set,
        )
        .await;
    let path = format!("/apis/apps/v1/namespaces/{namespace}/daemonsets/agent");
    server
        .until("its pods run", &path, |set| {
            set["status"]["numberReady"] == 2
        })
        .await;
}

async fn blocked(server: &Server) {
    let namespace = two(server).await;
    server.web(&namespace, 2, 2, json!({"first": "yes"})).await;
    let began = Instant::now();
    let (drained, told) = drained(&admin(server), "a", Eviction::Allowed, 3).await;
    let Drained::Left(left) = drained else {
        panic!("{drained:?}");
    };
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left.iter()
            .all(|left| left.pod.starts_with(&format!("{namespace}/web-"))),
        "{left:?}"
    );
    assert!(
        left.iter()
            .any(|left| left.why.contains("disruption budget web needs 2")),
        "{left:?}"
    );
    assert!(
        told.iter().any(|told| told.why.contains("budget")),
        "{told:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(30));
    // The pods have not been touched.
    assert_eq!(server.pods(&namespace).await.len(), 2);
}

async fn forced(server: &Server) {
    let namespace = two(server).await;
    server.web(&namespace, 1, 1, json!({"first": "yes"})).await;
    bare(server, &namespace, json!({})).await;
    let (drained, _) = drained(&admin(server), "a", Eviction::Forced, 60).await;
    assert_eq!(drained, Drained::Empty);
    assert!(
        server
            .pods(&namespace)
            .await
            .iter()
            .all(|(_, node)| node != "a")
    );
}

/// A pod on the first Node that no controller has made.
async fn bare(server: &Server, namespace: &str, more: Json) {
    let mut object = json!({"metadata": {"name": "bare"}, "spec": pod(json!({"first": "yes"}))});
    for (part, fields) in more.as_object().into_iter().flatten() {
        for (key, value) in fields.as_object().into_iter().flatten() {
            object[part][key] = value.clone();
        }
    }
    server
        .make(&format!("/api/v1/namespaces/{namespace}/pods"), object)
        .await;
    let path = format!("/api/v1/namespaces/{namespace}/pods/bare");
    server
        .until("a pod runs", &path, |pod| {
            pod["status"]["phase"] == "Running"
        })
        .await;
}

async fn in_the_way(server: &Server) {
    let namespace = two(server).await;
    server.web(&namespace, 1, 0, json!({"first": "yes"})).await;
    bare(server, &namespace, json!({})).await;
    let (strict, _) = drained(&admin(server), "a", Eviction::Allowed, 60).await;
    let Drained::InTheWay(left) = strict else {
        panic!("{strict:?}");
    };
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(
        left[0].pod.ends_with("/bare") && left[0].why.contains("force is false"),
        "{left:?}"
    );
    assert_eq!(server.pods(&namespace).await.len(), 2, "none was moved");
    let (around, _) = drained(&admin(server), "a", Eviction::Around, 60).await;
    let Drained::Left(left) = around else {
        panic!("{around:?}");
    };
    assert!(
        left.len() == 1 && left[0].pod.ends_with("/bare"),
        "{left:?}"
    );
    let pods = server.pods(&namespace).await;
    let stay = pods.iter().filter(|(_, node)| node == "a");
    assert_eq!(stay.count(), 1, "what may go has gone: {pods:?}");
    let force = Rules {
        force: true,
        ..Rules::default()
    };
    let (freely, _) = drained(
        &connection(server, "admintoken", force),
        "a",
        Eviction::Allowed,
        60,
    )
    .await;
    assert_eq!(freely, Drained::Empty);
}

async fn grace(server: &Server) {
    let namespace = two(server).await;
    // Whoever holds it lets go only when it has been looked at.
    bare(
        server,
        &namespace,
        json!({"metadata": {"finalizers": ["example.com/held"]}}),
    )
    .await;
    let rules = Rules {
        force: true,
        grace_period: Some(Duration::from_secs(7)),
        ..Rules::default()
    };
    let path = format!("/api/v1/namespaces/{namespace}/pods/bare");
    let looked = async {
        let ends = |pod: &Json| !pod["metadata"]["deletionTimestamp"].is_null();
        let pod = server.until("the pod ends", &path, ends).await;
        server
            .change(&path, json!({"metadata": {"finalizers": null}}))
            .await;
        pod["metadata"]["deletionGracePeriodSeconds"].clone()
    };
    let connection = connection(server, "admintoken", rules);
    let ((drained, _), seconds) =
        tokio::join!(drained(&connection, "a", Eviction::Allowed, 60), looked);
    assert_eq!((drained, seconds), (Drained::Empty, json!(7)));
}

async fn vanishes(server: &Server) {
    let namespace = two(server).await;
    server.web(&namespace, 1, 1, json!({"first": "yes"})).await;
    let connection = admin(server);
    let gone = async {
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/web");
        server.ask(Method::DELETE, &path, None).await;
    };
    let ((pods_gone, _), ()) = tokio::join!(drained(&connection, "a", Eviction::Allowed, 60), gone);
    assert_eq!(pods_gone, Drained::Empty);
    let (nobody, _) = drained(&connection, "nobody", Eviction::Allowed, 60).await;
    assert_eq!(nobody, Drained::Empty);
    // A budget keeps the pod, and the Node goes.
    let namespace = server.namespace().await;
    server
        .change("/api/v1/nodes/a", json!({"spec": {"unschedulable": false}}))
        .await;
    server.web(&namespace, 1, 1, json!({"first": "yes"})).await;
    let node_gone = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.ask(Method::DELETE, "/api/v1/nodes/a", None).await;
    };
    let ((drained, _), ()) =
        tokio::join!(drained(&connection, "a", Eviction::Allowed, 60), node_gone);
    assert_eq!(drained, Drained::Empty);
}

async fn useless(server: &Server) {
    let namespace = two(server).await;
    server.web(&namespace, 1, 0, json!({"first": "yes"})).await;
    let connection = admin(server).with_patience(Duration::ZERO);
    let told = async |expected: &str| {
        let (drained, _) = drained(&connection, "a", Eviction::Allowed, 60).await;
        match drained {
            Drained::Useless(why) => assert!(why.contains(expected), "{why}"),
            drained => panic!("{drained:?} is not {expected}"),
        }
    };
    for annotation in [
        "kubermatic.io/skip-eviction",
        "machine.cluster.x-k8s.io/exclude-node-draining",
    ] {
        server
            .change(
                "/api/v1/nodes/a",
                json!({"metadata": {"annotations": {annotation: "true"}}}),
            )
            .await;
        told(annotation).await;
        server
            .change(
                "/api/v1/nodes/a",
                json!({"metadata": {"annotations": {annotation: null}}}),
            )
            .await;
    }
    server
        .change("/api/v1/nodes/b", json!({"spec": {"unschedulable": true}}))
        .await;
    told("there is no other Node").await;
    server
        .change("/api/v1/nodes/b", json!({"spec": {"unschedulable": false}}))
        .await;
    // Nobody plays its kubelet any more.
    let silent = json!({"metadata": {"annotations": {"kwok.x-k8s.io/node": null}}});
    server.change("/api/v1/nodes/a", silent).await;
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "made so"}]}});
    server.change("/api/v1/nodes/a/status", unready).await;
    told("is not ready").await;
}

async fn volumes(server: &Server) {
    two(server).await;
    let attachment = json!({
        "metadata": {"name": "t-held", "finalizers": ["example.com/held"]},
        "spec": {"attacher": "example.com", "nodeName": "a", "source": {"persistentVolumeName": "pv-1"}},
    });
    server
        .make("/apis/storage.k8s.io/v1/volumeattachments", attachment)
        .await;
    let attached = json!({"status": {"volumesAttached": [{"name": "kubernetes.io/csi/example.com^1", "devicePath": ""}]}});
    server.change("/api/v1/nodes/a/status", attached).await;
    let connection = admin(server);
    let (kept, told) = drained(&connection, "a", Eviction::Allowed, 3).await;
    let expected = Left {
        pod: "volume pv-1".to_owned(),
        why: "it is still attached to the Node".to_owned(),
    };
    assert_eq!(kept, Drained::Left(vec![expected.clone()]));
    assert!(told.contains(&expected), "{told:?}");
    let path = "/apis/storage.k8s.io/v1/volumeattachments/t-held";
    let let_go = async {
        server.ask(Method::DELETE, path, None).await;
        server
            .change(path, json!({"metadata": {"finalizers": null}}))
            .await;
    };
    let ((gone, _), ()) = tokio::join!(drained(&connection, "a", Eviction::Allowed, 60), let_go);
    assert_eq!(gone, Drained::Empty);
}

async fn forget(server: &Server) {
    for name in ["a", "b", "c"] {
        server.node(name, json!({})).await;
    }
    let address = json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.1.1.1"}]}});
    server.change("/api/v1/nodes/c/status", address).await;
    let connection = admin(server);
    connection
        .forget(&[host("a"), host("nobody")])
        .await
        .expect("is forgotten");
    connection.forget(&[host("a")]).await.expect("is forgotten");
    assert_eq!(server.names("/api/v1/nodes").await, ["b", "c"]);
    // An address alone may be another machine's by now, unless the Node was this one's before.
    let by_address = Host {
        addresses: vec!["10.1.1.1".to_owned()],
        ..host("w-u-0")
    };
    connection
        .forget(std::slice::from_ref(&by_address))
        .await
        .expect("is forgotten");
    assert_eq!(server.names("/api/v1/nodes").await, ["b", "c"]);
    assert_eq!(name_of(&status(&connection, &by_address).await), "c");
    connection
        .forget(&[by_address])
        .await
        .expect("is forgotten");
    assert_eq!(server.names("/api/v1/nodes").await, ["b"]);
    // It has registered anew since it was seen.
    assert_eq!(name_of(&status(&connection, &host("b")).await), "b");
    server.ask(Method::DELETE, "/api/v1/nodes/b", None).await;
    server.node("b", json!({})).await;
    connection.forget(&[host("b")]).await.expect("is forgotten");
    assert!(server.names("/api/v1/nodes").await.is_empty());
}

async fn turns(server: &Server) {
    let connection = || connection(server, "admintoken", Rules::default());
    let (one, other) = (connection(), connection());
    let asked = |connection: Connection, holder: &'static str| async move {
        let turn = connection.turn(holder).await.expect("an answer");
        (connection, turn)
    };
    let (one, turn) = asked(one, "prod/a-1").await;
    assert_eq!(turn, Turn::Ours);
    let (other, turn) = asked(other, "prod/b-1").await;
    assert_eq!(turn, Turn::Of("prod/a-1".to_owned()));
    // It is kept, also by another process of the same group, and nobody else can end it.
    let (one, turn) = asked(one, "prod/a-1").await;
    assert_eq!(turn, Turn::Ours);
    other.end_turn("prod/b-1").await.expect("an answer");
    let (again, turn) = asked(connection(), "prod/a-1").await;
    assert_eq!(turn, Turn::Ours);
    let (other, turn) = asked(other, "prod/b-1").await;
    assert_eq!(turn, Turn::Of("prod/a-1".to_owned()));
    again.end_turn("prod/a-1").await.expect("an answer");
    let (_, turn) = asked(other, "prod/b-1").await;
    assert_eq!(turn, Turn::Ours);
    let (_, turn) = asked(one, "prod/a-1").await;
    assert_eq!(turn, Turn::Of("prod/b-1".to_owned()));
}

async fn leases(server: &Server) {
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let path = format!("{leases}/terraform-provider-flatcar");
    // By clocks that are wrong: how long nothing changes is what counts.
    for (spec, is_free) in [
        (json!({}), true),
        (json!({"holderIdentity": ""}), true),
        (
            json!({"holderIdentity": "dead", "leaseDurationSeconds": 2, "renewTime": "2020-01-01T00:00:00.000000Z"}),
            false,
        ),
        (
            json!({"holderIdentity": "ahead", "leaseDurationSeconds": 2, "renewTime": "2099-01-01T00:00:00.000000Z"}),
            false,
        ),
        (
            json!({"holderIdentity": "of a user", "leaseDurationSeconds": 2}),
            false,
        ),
    ] {
        server.ask(Method::DELETE, &path, None).await;
        let lease = json!({"metadata": {"name": "terraform-provider-flatcar"}, "spec": spec});
        server.make(leases, lease).await;
        let connection = admin(server);
        let mut turn = connection.turn("prod/a-1").await.expect("an answer");
        if !is_free {
            let holder = text(&spec["holderIdentity"]);
            assert_eq!(turn, Turn::Of(holder.clone()), "{spec}");
            // Whoever is heard of keeps it.
            let label = json!({"metadata": {"labels": {"heard": "yes"}}});
            tokio::time::sleep(Duration::from_secs(1)).await;
            server.change(&path, label).await;
            turn = connection.turn("prod/a-1").await.expect("an answer");
            assert_eq!(turn, Turn::Of(holder.clone()), "{spec}");
            let began = Instant::now();
            while turn != Turn::Ours {
                assert_eq!(turn, Turn::Of(holder.clone()), "{spec}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                turn = connection.turn("prod/a-1").await.expect("an answer");
            }
            assert!(began.elapsed() >= Duration::from_secs(1), "{spec}");
        }
        assert_eq!(turn, Turn::Ours, "{spec}");
        connection.end_turn("prod/a-1").await.expect("an answer");
        let holder = server.object(&path).await["spec"]["holderIdentity"].clone();
        assert_eq!(text(&holder), "", "{spec}");
    }
    // One that is deleted under its holder is made anew.
    let connection = admin(server);
    connection.turn("prod/a-1").await.expect("an answer");
    server.ask(Method::DELETE, &path, None).await;
    assert_eq!(
        connection.turn("prod/a-1").await.expect("an answer"),
        Turn::Ours
    );
    server.ask(Method::DELETE, &path, None).await;
    connection.end_turn("prod/a-1").await.expect("an answer");
}

async fn returns(server: &Server) {
    let namespace = two(server).await;
    let labels = json!({"app": "store"});
    let mut spec = pod(json!({"first": "yes"}));
    spec["tolerations"] = json!([{"operator": "Exists"}]);
    let set = json!({
        "metadata": {"name": "store"},
        "spec": {
            "serviceName": "store",
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    });
    let sets = format!("/apis/apps/v1/namespaces/{namespace}/statefulsets");
    server.make(&sets, set).await;
    let path = format!("{sets}/store");
    let all_run = |set: &Json| set["status"]["readyReplicas"] == 2;
    server.until("its pods run", &path, all_run).await;
    let uids = async || {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let pods = server.object(&pods).await;
        let items = pods["items"].as_array().cloned().unwrap_or_default();
        let uids = items.iter().map(|pod| text(&pod["metadata"]["uid"]));
        uids.collect::<Vec<_>>()
    };
    let before = uids().await;
    let (drained, _) = drained(&admin(server), "a", Eviction::Allowed, 60).await;
    assert_eq!(drained, Drained::Empty);
    // Each was asked to go once.
    let after = uids().await;
    assert!(before.iter().all(|uid| !after.contains(uid)), "{after:?}");
    server.ask(Method::DELETE, &path, None).await;
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let none = |pods: &Json| pods["items"] == json!([]);
    server.until("they are gone", &pods, none).await;
}

async fn ending(server: &Server) {
    let namespace = two(server).await;
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    bare(server, &namespace, held).await;
    let rules = Rules {
        force: true,
        ..Rules::default()
    };
    let connection = connection(server, "admintoken", rules);
    let path = format!("/api/v1/namespaces/{namespace}/pods/bare");
    for eviction in [Eviction::Allowed, Eviction::Forced] {
        let (drained, _) = drained(&connection, "a", eviction, 3).await;
        let Drained::Left(left) = drained else {
            panic!("{eviction:?}: {drained:?}");
        };
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(
            left[0].why, "it ends, and finalizers keep it: example.com/held",
            "{eviction:?}"
        );
    }
    let let_go = json!({"metadata": {"finalizers": null}});
    server.change(&path, let_go).await;
}

async fn forbidden(server: &Server) {
    server.node("a", json!({})).await;
    let nobody = connection(server, "usertoken", Rules::default());
    let error = nobody.status(&[host("a")]).await.expect_err("is refused");
    let said = error.to_string();
    assert!(!error.retryable, "{said}");
    assert!(
        said.contains(
            r#"its role lacks the rule apiGroups: [""], resources: ["nodes"], verbs: ["list"]"#
        ),
        "{said}"
    );
    let stranger = connection(server, "wrong", Rules::default());
    let error = stranger.status(&[host("a")]).await.expect_err("is refused");
    assert!(
        error.to_string().contains("401") && !error.retryable,
        "{error}"
    );
    assert!(!text(&json!(error.to_string())).contains("wrong"));
}

async fn logins(server: &Server) {
    server.node("a", json!({})).await;
    let folder = scratch();
    let openssl = |arguments: &[&str]| {
        let mut command = std::process::Command::new("openssl");
        let done = command.args(arguments).current_dir(folder.path()).output();
        let done = done.expect("openssl runs");
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    };
    let pki = server.kubeconfig.with_file_name("pki");
    let of_authority = |name: &str| pki.join(name).display().to_string();
    let (authority, key) = (of_authority("ca.crt"), of_authority("ca.key"));
    let subject = "/O=system:masters/CN=test";
    // A certificate without extensions is of a version that no TLS takes.
    std::fs::write(
        folder.path().join("extensions"),
        "extendedKeyUsage=clientAuth",
    )
    .expect("is written");
    openssl(&[
        "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "csr", "-subj", subject,
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        "csr",
        "-CA",
        &authority,
        "-CAkey",
        &key,
        "-set_serial",
        "7",
        "-out",
        "crt",
        "-extfile",
        "extensions",
    ]);
    let secret = |name: &str| {
        let text = std::fs::read_to_string(folder.path().join(name)).expect("a file");
        Some(Secret::new(text))
    };
    let direct = || Access {
        host: Some(server.host.clone()),
        cluster_ca_certificate: Some(server.authority.clone()),
        ..Access::default()
    };
    let certificate = Access {
        client_certificate: secret("crt"),
        client_key: secret("key"),
        // The server's certificate has this name, too.
        tls_server_name: Some("localhost".to_owned()),
        ..direct()
    };
    let config = Access {
        config_path: Some(server.kubeconfig.display().to_string()),
        ..Access::default()
    };
    let credential = r#"echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"admintoken"}}'"#;
    let program = Access {
        exec: Some(Exec {
            api_version: "client.authentication.k8s.io/v1".to_owned(),
            command: "sh".to_owned(),
            args: Some(vec!["-c".to_owned(), credential.to_owned()]),
            ..Exec::default()
        }),
        ..direct()
    };
    for access in [certificate, config, program] {
        let endpoint = access.endpoint(&|_| None).expect("an endpoint");
        let api = Arc::new(Api::new(endpoint).expect("an API"));
        let connection = Connection::new(api, Rules::default());
        assert_eq!(name_of(&status(&connection, &host("a")).await), "a");
    }
}
