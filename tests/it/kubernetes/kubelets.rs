//! Kubelets of machines of the sandbox: each machine that runs gets a Node, as a kubelet registers
//! it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::server::{Server, registered};
use crate::clouds::sandbox::world::{World, word};

/// Registers Nodes for as long as it is polled: `tokio::select!` it with what needs them.
pub(super) async fn play(server: &Server, sandbox: &Path) -> Infallible {
    let node = json!({"metadata": {"labels": {"machines": "sandbox"}}});
    register(server, sandbox, &node, |_| {}).await
}

/// The same with these fields in the Nodes, each of which is told by its name. A kubelet takes a
/// moment to start, so that an apply comes to watch for its Node. One that finds a Node of its name
/// takes it for its own.
pub(super) async fn register(
    server: &Server,
    sandbox: &Path,
    more: &Json,
    told: impl Fn(&str),
) -> Infallible {
    let sandbox = World::at(sandbox.to_owned());
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    loop {
        for (name, record) in sandbox.records() {
            let looks = seen.entry(word(&record, "id")).or_default();
            *looks += 1;
            if *looks == STARTS {
                let node = registered(&name, more);
                let (status, answer) = server.ask(Method::POST, NODES, Some(node)).await;
                assert!(
                    status.is_success() || status.as_u16() == 409,
                    "{name}: {answer}"
                );
                told(&name);
            }
        }
        // The provider tells nobody that it has made a machine.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const NODES: &str = "/api/v1/nodes";
/// Looks at its machine.
const STARTS: u32 = 8;
