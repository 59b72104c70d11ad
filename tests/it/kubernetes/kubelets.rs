//! Kubelets of machines of the sandbox: each machine that runs gets a Node, as a kubelet registers it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::server::Server;

/// Registers Nodes for as long as it is polled: `tokio::select!` it with what needs them.
pub(super) async fn play(server: &Server, sandbox: &Path) -> Infallible {
    let nodes = server.names("/api/v1/nodes").await;
    let mut known: BTreeSet<String> = nodes.into_iter().collect();
    loop {
        for entry in std::fs::read_dir(sandbox.join("machines"))
            .into_iter()
            .flatten()
        {
            let name = entry.expect("an entry").file_name();
            let name = name.to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(".json") else {
                continue;
            };
            if known.insert(name.to_owned()) {
                server
                    .node(
                        name,
                        json!({"metadata": {"labels": {"machines": "sandbox"}}}),
                    )
                    .await;
            }
        }
        // The provider tells nobody that it has made a machine.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
