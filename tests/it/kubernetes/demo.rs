//! `make demo-kubernetes`, as it is shown to others.

use std::path::Path;
use std::process::Command;

use super::server::Server;
use crate::core::Core;
use crate::harness::{ROOT, provider};

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_shows_what_it_says_and_leaves_nothing() {
    let Some(server) = Server::find().await else {
        return;
    };
    for name in ["terraform-newest", "tofu"] {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let demo = Path::new(ROOT).join("examples/kubernetes/demo.sh");
        let mut command = tokio::process::Command::from(Command::new(demo));
        let shown = command
            .env("DEMO_CORE", core.path())
            .env("DEMO_PROVIDER", provider())
            .kill_on_drop(true)
            .output();
        let shown = shown.await.expect("the demonstration starts");
        let text = String::from_utf8_lossy(&shown.stdout);
        let told = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success(), "{name}: {text}\n{told}");
        for words in [
            "Apply complete! Resources: 1 added",
            "Plan: 0 to add, 1 to change, 0 to destroy.",
            "image:",
            "disruption budget",
            "left: 0 machines, 0 Nodes, 0 bootstrap tokens",
        ] {
            assert!(text.contains(words), "{name}: {words} is not in {text}");
        }
        assert!(server.names("/api/v1/nodes").await.is_empty());
    }
}
