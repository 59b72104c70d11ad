//! The life of a group of the sandbox whose machines are Nodes, as a core drives it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::kubelets;
use super::server::{Server, role_of_the_guide};
use crate::harness::scratch;
use crate::worker_group::faults::group::{Group, Problem};

/// A group, its sandbox, and who plays its kubelets.
struct World<'a> {
    server: &'a Server,
    sandbox: TempDir,
    group: Group,
}

impl<'a> World<'a> {
    async fn new(server: &'a Server, token: &str) -> Self {
        let sandbox = scratch();
        let group = Group::start(&provider(server, sandbox.path(), token)).await;
        Self {
            server,
            sandbox,
            group,
        }
    }

    /// Applies while kubelets are played.
    async fn apply(&mut self, config: &Json) -> Vec<Problem> {
        let played = kubelets::play(self.server, self.sandbox.path());
        tokio::select! {
            problems = self.group.apply(config) => problems,
            never = played => match never {},
        }
    }

    /// Nodes of the cluster; the machines of state are the same ones.
    async fn nodes(&self) -> BTreeSet<String> {
        let nodes: BTreeSet<String> = self
            .server
            .names("/api/v1/nodes")
            .await
            .into_iter()
            .collect();
        let machines: BTreeSet<String> = self.group.machines().into_keys().collect();
        assert_eq!(nodes, machines, "Nodes, and machines of state");
        nodes
    }

    async fn node(&self, name: &str) -> Json {
        self.server.object(&format!("/api/v1/nodes/{name}")).await
    }
}

fn provider(server: &Server, sandbox: &Path, token: &str) -> Json {
    json!({
        "sandbox": {"directory": sandbox},
        "kubernetes": {"host": server.host, "token": token, "cluster_ca_certificate": server.authority},
    })
}

/// A group of the sandbox, with more of these.
fn config(replicas: usize, motd: &str, kubernetes: Json) -> Json {
    let ignition = json!({
        "ignition": {"version": "3.3.0"},
        "storage": {"files": [{"path": "/etc/motd", "contents": {"source": format!("data:,{motd}")}}]},
    });
    json!({
        "name": "workers",
        "cluster": "prod",
        "replicas": replicas,
        "image": "flatcar-a",
        "user_data": ignition.to_string(),
        "sandbox": {"boot_time": "0s", "zone": "sandbox-a", "size": "small"},
        "kubernetes": kubernetes,
        "set_hostname": true,
        "image_update": "new_only",
        "user_data_update": "roll",
        "machine_timeout": "2m",
        "paused": false,
        "deletion_protection": false,
        "on_existing": "fail",
        "on_incomplete_create": "error",
        "rolling_update": {
            "max_surge": "1", "max_unavailable": "0", "canary": true, "min_ready": "0s", "max_failures": 0, "parallelism": 10,
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_a_cluster_lives_with_the_least_role_and_leaves_no_node() {
    let Some(server) = Server::find().await else {
        return;
    };
    let account = server
        .account(&role_of_the_guide("flatcar-worker-groups"))
        .await;
    let turns = role_of_the_guide("flatcar-turns");
    server.allow(&account, &turns).await;
    let mut world = World::new(&server, &account.token).await;
    let taint = json!({"key": "dedicated", "value": "web", "effect": "NoSchedule"});
    let kubernetes = json!({"node_labels": {"pool": "web"}, "node_taints": [taint]});
    let first = config(2, "one", kubernetes.clone());
    assert!(world.apply(&first).await.is_empty());
    let before = world.nodes().await;
    for name in &before {
        let node = world.node(name).await;
        assert_eq!(node["metadata"]["labels"]["pool"], "web", "{node}");
        assert!(
            node["spec"]["taints"].as_array().unwrap().contains(&taint),
            "{node}"
        );
    }
    assert_eq!(world.group.unsettled(&first).await, None);

    // What somebody changed is seen, and mended on that Node alone.
    let name = before.first().unwrap();
    server
        .change(
            &format!("/api/v1/nodes/{name}"),
            json!({"metadata": {"labels": {"pool": "other"}}}),
        )
        .await;
    assert!(world.group.unsettled(&first).await.is_some());
    assert!(world.apply(&first).await.is_empty());
    assert_eq!(world.node(name).await["metadata"]["labels"]["pool"], "web");
    let relabelled = config(
        2,
        "one",
        json!({"node_labels": {"tier": "front"}, "node_taints": [taint], "drain": {"timeout": "1m"}}),
    );
    assert!(world.apply(&relabelled).await.is_empty());
    assert_eq!(world.nodes().await, before);
    let labels = world.node(name).await["metadata"]["labels"].clone();
    assert_eq!(
        (&labels["tier"], &labels["pool"]),
        (&json!("front"), &Json::Null)
    );

    // What an apply that was cut off has closed is seen, and opened.
    let by_us = format!("/api/v1/nodes/{name}?fieldManager=terraform-provider-flatcar");
    let mark = json!({"annotations": {"flatcar-iac.github.io/cordoned": "true"}});
    server
        .change(
            &by_us,
            json!({"metadata": mark, "spec": {"unschedulable": true}}),
        )
        .await;
    assert!(world.group.unsettled(&relabelled).await.is_some());
    let problems = world.apply(&relabelled).await;
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(world.node(name).await["spec"]["unschedulable"], Json::Null);
    assert_eq!(world.group.unsettled(&relabelled).await, None);

    // A machine that is lost takes its Node with it, once another is made in its place.
    let lost = before.first().unwrap();
    let record = format!("machines/{lost}.json");
    std::fs::remove_file(world.sandbox.path().join(record)).expect("a machine");
    let problems = world.apply(&relabelled).await;
    assert!(problems.is_empty(), "{problems:?}");
    let repaired = world.nodes().await;
    assert!(
        repaired.len() == 2 && !repaired.contains(lost),
        "{repaired:?}"
    );
    let before = repaired;

    // Nobody would ask the Nodes any more.
    let without = config(2, "one", Json::Null);
    assert_eq!(
        world.group.unsettled(&without).await.as_deref(),
        Some("a plan warns: Labels and taints stay on the Nodes")
    );
    assert_eq!(world.group.unsettled(&relabelled).await, None);

    // A roll: pods move past a budget that keeps two of three.
    let namespace = server.namespace().await;
    server
        .web(&namespace, 3, 2, json!({"machines": "sandbox"}))
        .await;
    let rolled = config(2, "two", kubernetes.clone());
    let problems = world.apply(&rolled).await;
    assert!(problems.is_empty(), "{problems:?}");
    let after = world.nodes().await;
    assert!(after.is_disjoint(&before), "{before:?}, {after:?}");
    assert!(
        world.group.warnings.is_empty(),
        "{:?}",
        world.group.warnings
    );
    let path = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/web");
    server
        .until("all pods run again", &path, |budget| {
            budget["status"]["currentHealthy"] == 3
        })
        .await;

    // One goes: its pods move to the other.
    let problems = world.apply(&config(1, "two", kubernetes.clone())).await;
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(world.nodes().await.len(), 1);
    assert_eq!(
        world.node(world.nodes().await.first().unwrap()).await["spec"]["unschedulable"],
        Json::Null
    );

    // There is nowhere to go, and the budget is in the way: the time that there is for it is over
    // soon.
    let mut soon = kubernetes;
    soon["drain"] = json!({"timeout": "5s"});
    let problems = world.apply(&config(1, "two", soon)).await;
    assert!(problems.is_empty(), "{problems:?}");
    let problems = world.group.destroy().await;
    assert!(problems.is_empty(), "{problems:?}");
    assert!(world.nodes().await.is_empty());
    assert!(!world.group.end().await.contains(&account.token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_evictions_keeps_the_machine_and_is_told_the_rule() {
    let Some(server) = Server::find().await else {
        return;
    };
    let role = role_of_the_guide("flatcar-worker-groups").replace("pods/eviction", "pods/nothing");
    let account = server.account(&role).await;
    let mut world = World::new(&server, &account.token).await;
    assert!(world.apply(&config(2, "one", json!({}))).await.is_empty());
    let before = world.nodes().await;
    let namespace = server.namespace().await;
    // The newest goes first.
    let newest = json!({"kubernetes.io/hostname": before.last()});
    server.web(&namespace, 4, 0, newest).await;
    let problems = world.apply(&config(1, "one", json!({}))).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let rule = r#"resources: ["pods/eviction"], verbs: ["create"]"#;
    assert!(problems[0].detail.contains(rule), "{problems:?}");
    assert_eq!(world.nodes().await, before);
    // What stays is open to pods again.
    for name in &before {
        assert_ne!(world.node(name).await["spec"]["unschedulable"], json!(true));
    }
    // Destroyed, it goes, and what the cluster would not do is said.
    assert!(world.group.destroy().await.is_empty());
    assert!(!world.group.warnings.is_empty());
    assert!(world.group.machines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_stays_in_the_way_keeps_the_machine_and_is_named() {
    let Some(server) = Server::find().await else {
        return;
    };
    let mut world = World::new(&server, "admintoken").await;
    let drain = json!({"drain": {"timeout": "3s"}});
    assert!(
        world
            .apply(&config(2, "one", drain.clone()))
            .await
            .is_empty()
    );
    let before = world.nodes().await;
    let namespace = server.namespace().await;
    // The newest goes first.
    let newest = json!({"kubernetes.io/hostname": before.last()});
    server.web(&namespace, 4, 4, newest).await;
    let problems = world.apply(&config(1, "one", drain)).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let Problem { summary, detail } = &problems[0];
    assert!(summary.starts_with("Could not drain machine"), "{summary}");
    assert!(detail.contains("disruption budget web needs 4"), "{detail}");
    assert_eq!(world.nodes().await, before);
    assert!(world.group.destroy().await.is_empty());
    assert!(world.nodes().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_node_does_not_come_says_why() {
    let Some(server) = Server::find().await else {
        return;
    };
    let mut world = World::new(&server, "admintoken").await;
    let mut config = config(1, "one", json!({}));
    config["machine_timeout"] = json!("2s");
    // Nobody plays a kubelet.
    let problems = world.group.apply(&config).await;
    let said = format!("{problems:?}");
    assert!(
        said.contains("has no Node in the cluster") && said.contains("journalctl -u kubelet"),
        "{said}"
    );
    assert!(world.group.destroy().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_counts_once_its_kubelet_is_of_the_version_that_is_asked_for() {
    let Some(server) = Server::find().await else {
        return;
    };
    let mut world = World::new(&server, "admintoken").await;
    let node = json!({"status": {"nodeInfo": {"kubeletVersion": "v1.34.2"}}});
    let asking = |version: &str, motd: &str| {
        let mut config = config(1, motd, json!({"kubelet_version": version}));
        config["machine_timeout"] = json!("5s");
        config
    };
    let path = world.sandbox.path().to_owned();
    let played = kubelets::register(&server, &path, &node, |_| {});
    tokio::pin!(played);
    let mut apply = async |group: &mut Group, config: &Json| {
        tokio::select! {
            problems = group.apply(config) => problems,
            never = &mut played => match never {},
        }
    };
    let group = &mut world.group;
    let problems = apply(group, &asking("1.34", "one")).await;
    assert!(problems.is_empty(), "{problems:?}");
    let first = group.machines();
    // A change alone asks nobody.
    for version in ["v1.34.2", "1.35"] {
        let problems = apply(group, &asking(version, "one")).await;
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(group.machines(), first);
        assert_eq!(group.unsettled(&asking(version, "one")).await, None);
    }
    // What comes is asked, as often as it takes, and nothing goes before it has joined.
    for _ in 0..2 {
        let problems = apply(group, &asking("1.35", "two")).await;
        let said = format!("{problems:?}");
        assert!(said.contains("where kubelet_version is 1.35"), "{said}");
        assert!(said.contains("v1.34.2"), "{said}");
        let there = group.machines();
        assert!(
            first.keys().all(|name| there.contains_key(name)),
            "{there:?}"
        );
    }
    let problems = apply(group, &asking("1.34", "two")).await;
    assert!(problems.is_empty(), "{problems:?}");
    let there = group.machines();
    assert!(there.len() == 1 && there != first, "{there:?}");
    assert!(group.destroy().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_is_a_warning_at_plan_and_an_error_at_apply() {
    let Some(server) = Server::find().await else {
        return;
    };
    let mut world = World::new(&server, "admintoken").await;
    let labels = json!({"node_labels": {"pool": "web"}});
    assert!(
        world
            .apply(&config(1, "one", labels.clone()))
            .await
            .is_empty()
    );
    let mut away = provider(&server, world.sandbox.path(), "admintoken");
    // Nobody listens there.
    away["kubernetes"]["host"] = json!("https://127.0.0.1:1");
    world.group.restart(&away).await;
    let unsettled = world
        .group
        .unsettled(&config(1, "one", labels.clone()))
        .await;
    assert_eq!(
        unsettled.as_deref(),
        Some("a plan warns: Nodes could not be looked at")
    );
    world
        .group
        .restart(&provider(&server, world.sandbox.path(), "admintoken"))
        .await;
    assert_eq!(world.group.unsettled(&config(1, "one", labels)).await, None);
    assert!(world.group.destroy().await.is_empty());
    assert!(world.nodes().await.is_empty());
}
