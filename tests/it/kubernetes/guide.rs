//! The guide *From Ubuntu to Flatcar*, as it is written: each file of it is written, and each
//! command is run, in their order.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::kubelets;
use super::server::Server;
use crate::core::{Core, Workspace};
use crate::harness::ROOT;

/// What the guide tells its reader to do.
#[derive(Debug, PartialEq)]
enum Step {
    Write(String, String),
    Run(String),
}

/// Blocks of Terraform, below the name of their file, and lines of blocks of shell.
fn steps(guide: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut before = "";
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let block = lines.by_ref().take_while(|line| *line != "```");
        match line {
            "```terraform" => {
                let text: Vec<&str> = block.collect();
                let name = before.trim_matches(|letter| matches!(letter, '`' | ':'));
                steps.push(Step::Write(name.to_owned(), text.join("\n")));
            }
            "```sh" => steps.extend(block.map(|line| Step::Run(line.to_owned()))),
            line if line.starts_with("```") => drop(block.count()),
            "" => {}
            line => before = line,
        }
    }
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_from_ubuntu_to_flatcar_does_what_the_guide_says() {
    let Some(server) = Server::find().await else {
        return;
    };
    let guide =
        std::fs::read_to_string(Path::new(ROOT).join("docs/guides/from-ubuntu-to-flatcar.md"));
    let steps = steps(&guide.expect("the guide"));
    assert_eq!(steps.len(), 10, "{steps:#?}");
    for name in ["terraform-newest", "tofu"] {
        let Some(core) = Core::find(name) else {
            continue;
        };
        for node in ["ubuntu-1", "ubuntu-2"] {
            server.node(node, json!({})).await;
        }
        let namespace = server.namespace().await;
        server.web(&namespace, 4, 3, json!({})).await;
        let mut workspace = Workspace::new(&core);
        let kubeconfig = server.kubeconfig.display().to_string();
        workspace.set("KUBECONFIG", &kubeconfig);
        let workspace = Arc::new(workspace);
        let mut applied = 0;
        for step in &steps {
            match step {
                Step::Write(file, text) => workspace.write(file, text),
                Step::Run(line) if line == "terraform apply" => {
                    apply(&server, &workspace).await;
                    applied += 1;
                    let pods = server.pods(&namespace).await;
                    let old = pods.iter().filter(|(_, node)| node.starts_with("ubuntu"));
                    // They leave with the second apply, and none comes back with the third.
                    assert_eq!(old.count() > 0, applied == 1, "{applied}: {pods:?}");
                    let settled = workspace.run(&["plan", "-no-color", "-detailed-exitcode"]);
                    assert_eq!(settled.status.code(), Some(0), "{}", settled.stdout);
                }
                Step::Run(line) => run(&server, &workspace, line).await,
            }
        }
        let nodes = server.names("/api/v1/nodes").await;
        assert!(
            nodes.len() == 2 && nodes.iter().all(|node| node.starts_with("flatcar-")),
            "{nodes:?}"
        );
        workspace.write("drain.tf", "");
        let end = Arc::clone(&workspace);
        server.clear().await;
        tokio::task::spawn_blocking(move || end.destroy())
            .await
            .expect("ends");
    }
}

/// Applies while kubelets are played.
async fn apply(server: &Server, workspace: &Arc<Workspace>) {
    let sandbox = workspace.path().join(".flatcar-sandbox");
    let core = Arc::clone(workspace);
    let applied = tokio::task::spawn_blocking(move || core.apply());
    tokio::select! {
        applied = applied => drop(applied.expect("applies")),
        never = kubelets::play(server, &sandbox) => match never {},
    }
}

/// Runs a line of shell where the configuration is.
async fn run(server: &Server, workspace: &Workspace, line: &str) {
    let kubectl = server.kubeconfig.with_file_name("kubebox");
    let script = format!(
        "kubectl() {{ \"{}\" kubectl \"$@\"; }}\n{line}",
        kubectl.display()
    );
    let shell = tokio::process::Command::new("bash")
        .args(["-ceu", &script])
        .current_dir(workspace.path())
        .env("KUBECONFIG", &server.kubeconfig)
        .kill_on_drop(true)
        .output();
    let shell = shell.await.expect("a shell");
    let told = String::from_utf8_lossy(&shell.stderr);
    assert!(shell.status.success(), "{line}: {told}");
}
