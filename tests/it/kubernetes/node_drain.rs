//! `flatcar_node_drain` on a real cluster, under a real core.

use serde_json::json;

use super::server::Server;
use crate::core::{Core, Workspace};

const DRAIN: &str = "flatcar_node_drain.it";

/// A workspace with one drain of these arguments; the variables `drained` and `trigger` change it.
fn workspace(server: &Server, core: &Core, arguments: &str) -> Workspace {
    let mut workspace = Workspace::new(core);
    let kubeconfig = server.kubeconfig.display().to_string();
    workspace.set("KUBE_CONFIG_PATH", &kubeconfig);
    workspace.write(
        "main.tf",
        &format!(
            r#"
            terraform {{
              required_providers {{
                flatcar = {{ source = "flatcar-iac/flatcar" }}
              }}
            }}
            variable "drained" {{ default = false }}
            variable "trigger" {{ default = "1" }}
            variable "host" {{ default = null }}
            provider "flatcar" {{
              kubernetes = {{ host = var.host }}
            }}
            resource "flatcar_node_drain" "it" {{
              drained  = var.drained
              triggers = {{ a = var.trigger }}
              {arguments}
            }}
            "#
        ),
    );
    workspace
}

/// Three Nodes, `a` and `b` of Ubuntu, and four pods of which a budget keeps so many.
async fn cluster(server: &Server, kept: usize) -> String {
    for (name, os) in [("a", "ubuntu"), ("b", "ubuntu"), ("c", "flatcar")] {
        server
            .node(name, json!({"metadata": {"labels": {"os": os}}}))
            .await;
    }
    let namespace = server.namespace().await;
    server.web(&namespace, 4, kept, json!({})).await;
    namespace
}

async fn is_closed(server: &Server, name: &str) -> bool {
    let node = server.object(&format!("/api/v1/nodes/{name}")).await;
    node["spec"]["unschedulable"] == true
}

async fn closed(server: &Server) -> Vec<&'static str> {
    let mut closed = Vec::new();
    for name in ["a", "b", "c"] {
        if is_closed(server, name).await {
            closed.push(name);
        }
    }
    closed
}

/// Nodes that pods of a namespace run on.
async fn nodes_of(server: &Server, namespace: &str) -> Vec<String> {
    let pods = server.pods(namespace).await;
    let mut nodes: Vec<String> = pods.into_iter().map(|(_, node)| node).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_emptied_while_it_says_so_and_before_it_goes() {
    let Some(server) = Server::find().await else {
        return;
    };
    for name in ["terraform-newest", "tofu"] {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let namespace = cluster(&server, 3).await;
        // Somebody else has closed this one.
        server
            .change("/api/v1/nodes/b", json!({"spec": {"unschedulable": true}}))
            .await;
        let workspace = workspace(&server, &core, r#"selector = "os=ubuntu""#);
        let set = |drained: bool, trigger: &str| {
            workspace.variables(&json!({"drained": drained, "trigger": trigger}));
        };
        workspace.apply();
        assert_eq!(
            closed(&server).await,
            ["b"],
            "{name}: a new one touches nothing"
        );
        assert_eq!(workspace.state(DRAIN).unwrap()["emptied"], json!([]));

        set(true, "1");
        workspace.apply();
        assert_eq!(closed(&server).await, ["a", "b"], "{name}");
        assert_eq!(nodes_of(&server, &namespace).await, ["c"], "{name}");
        assert_eq!(
            workspace.state(DRAIN).unwrap()["emptied"],
            json!(["a", "b"])
        );
        assert!(workspace.plan().actions(DRAIN) == ["no-op"], "{name}");

        // What somebody has opened is seen, and closed again.
        server
            .change("/api/v1/nodes/a", json!({"spec": {"unschedulable": false}}))
            .await;
        assert_eq!(workspace.plan().actions(DRAIN), ["update"], "{name}");
        workspace.apply();
        assert_eq!(closed(&server).await, ["a", "b"], "{name}");

        // Open again, but for what somebody else has closed.
        set(false, "1");
        workspace.apply();
        assert_eq!(closed(&server).await, ["b"], "{name}");

        // A trigger: each is emptied, and open after it.
        server
            .change("/api/v1/nodes/c", json!({"spec": {"unschedulable": true}}))
            .await;
        server.restart_web(&namespace).await;
        assert!(
            nodes_of(&server, &namespace)
                .await
                .contains(&"a".to_owned())
        );
        server
            .change("/api/v1/nodes/c", json!({"spec": {"unschedulable": false}}))
            .await;
        set(false, "2");
        workspace.apply();
        assert_eq!(nodes_of(&server, &namespace).await, ["c"], "{name}");
        assert_eq!(closed(&server).await, ["b"], "{name}");

        workspace.destroy();
        assert_eq!(
            closed(&server).await,
            ["a", "b"],
            "{name}: what it stands for goes next"
        );
        server.clear().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_in_the_way_ends_it_and_the_next_apply_goes_on() {
    let Some(server) = Server::find().await else {
        return;
    };
    let Some(core) = Core::find("terraform-newest") else {
        return;
    };
    let namespace = cluster(&server, 4).await;
    let arguments = r#"
      nodes      = ["a", "b", "gone"]
      timeout    = "2s"
      on_destroy = "uncordon"
    "#;
    let workspace = workspace(&server, &core, arguments);
    workspace.apply();
    workspace.variables(&json!({"drained": true}));
    let failed = workspace
        .run(&["apply", "-no-color", "-auto-approve"])
        .failure();
    let errors = failed.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("Could not drain Node"), "{errors:?}");
    assert!(
        errors[0].contains("disruption budget web needs 4"),
        "{errors:?}"
    );
    let told = format!("{}{}", failed.stdout, failed.stderr);
    assert!(told.contains("The cluster has no Node gone"), "{told}");
    assert_eq!(closed(&server).await, ["a", "b"]);
    let state = workspace.state(DRAIN).unwrap();
    assert_eq!(state["drained"], json!(null), "{state}");
    // Who asks for it no more finds the Nodes open again.
    workspace.variables(&json!({"drained": false}));
    assert_eq!(workspace.plan().actions(DRAIN), ["update"]);
    workspace.apply();
    assert_eq!(closed(&server).await, Vec::<&str>::new());
    workspace.variables(&json!({"drained": true}));

    let budget = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/web");
    server
        .change(&budget, json!({"spec": {"minAvailable": 3}}))
        .await;
    server
        .until("the budget allows one", &budget, |budget| {
            budget["status"]["disruptionsAllowed"] == 1
        })
        .await;
    let relaxed = std::fs::read_to_string(workspace.path().join("main.tf")).unwrap();
    workspace.write("main.tf", &relaxed.replace("\"2s\"", "\"1m\""));
    workspace.apply();
    assert_eq!(nodes_of(&server, &namespace).await, ["c"]);
    workspace.destroy();
    assert_eq!(closed(&server).await, Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_a_drain_soon() {
    let Some(server) = Server::find().await else {
        return;
    };
    let Some(core) = Core::find("tofu") else {
        return;
    };
    cluster(&server, 4).await;
    let workspace = workspace(&server, &core, r#"selector = "os=ubuntu""#);
    workspace.apply();
    workspace.variables(&json!({"drained": true}));
    let running = workspace.start(&["apply", "-no-color", "-auto-approve"]);
    server
        .until("it is under way", "/api/v1/nodes/a", |node| {
            node["spec"]["unschedulable"] == true
        })
        .await;
    running.interrupt();
    // Its own time is fifteen minutes.
    let ended = running.wait().failure();
    let told = format!("{}{}", ended.stdout, ended.stderr);
    assert!(told.contains("Interrupted"), "{told}");
    let state = workspace.state(DRAIN).unwrap();
    assert_eq!(state["drained"], json!(null), "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_keeps_it_or_not_as_on_timeout_says() {
    let Some(server) = Server::find().await else {
        return;
    };
    let Some(core) = Core::find("terraform-newest") else {
        return;
    };
    let nobody = json!({"host": "https://127.0.0.1:1"});
    for (on_timeout, goes) in [("fail", false), ("skip", true)] {
        let arguments = format!(
            r#"
            nodes      = ["a"]
            on_timeout = "{on_timeout}"
            timeouts   = {{ delete = "3s" }}
            "#
        );
        let workspace = workspace(&server, &core, &arguments);
        workspace.apply();
        workspace.variables(&nobody);
        let run = workspace.run(&["destroy", "-no-color", "-auto-approve"]);
        assert_eq!(run.status.success(), goes, "{on_timeout}: {}", run.stderr);
        assert_eq!(workspace.state(DRAIN).is_none(), goes, "{on_timeout}");
        let told = format!("{}{}", run.stdout, run.stderr);
        assert!(
            told.contains("Could not find the Nodes"),
            "{on_timeout}: {told}"
        );
    }
}
