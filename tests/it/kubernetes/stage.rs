//! A group of a cluster under a real core, as crash points have it: it ends at calls of the
//! cluster's API.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Builder;

use super::server::Server;
use super::world::World;
use crate::clouds::sandbox::world::word;
use crate::core::Workspace;
use crate::end_to_end::Stage;
use crate::end_to_end::crash::{Wired, each_point};
use crate::proxy::Proxy;

/// Only where it is asked for (`make crash-full CLOUDS=kubernetes`): beside other tests on two
/// processors, a drain may take longer than an apply gets.
#[test]
fn an_apply_on_a_cluster_goes_on_wherever_it_ended() {
    if std::env::var_os("FLATCAR_CRASH").is_none() {
        println!("not asked for: make crash-full CLOUDS=kubernetes");
        return;
    }
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let Some(server) = runtime.block_on(Server::find()) else {
        return;
    };
    let server = Arc::new(server);
    each_point("kubernetes", SAMPLE, || {
        Some(Box::new(runtime.block_on(World::new(&server))))
    });
}

impl Stage for World {
    fn provider(&self) -> String {
        format!(
            "sandbox = {{ directory = {:?} }}\nkubernetes = {{ host = {:?}, token = \"admintoken\" }}",
            self.sandbox.path(""),
            self.proxy.endpoint(0),
        )
    }

    fn shape(&self) -> String {
        "sandbox = {}
        machine_timeout = \"1m\"
        kubernetes = {
          node_labels = { pool = \"web\" }
          node_taints = [{ key = \"example.com/shared\", effect = \"PreferNoSchedule\" }]
          drain       = { timeout = \"1m\" }
        }"
        .to_owned()
    }

    fn image(&self) -> String {
        r#""flatcar-a""#.to_owned()
    }

    fn cluster(&self) -> String {
        "prod".to_owned()
    }

    fn machines(&self, _: &Workspace) -> BTreeMap<String, String> {
        World::machines(self)
    }

    fn remove(&self, _: &Workspace, name: &str) {
        self.sandbox.remove(name);
    }

    fn scope(&self, _: &Workspace) -> String {
        let id = std::fs::read_to_string(self.sandbox.path("id")).expect("the sandbox's id");
        id.trim().to_owned()
    }

    fn marks(&self, _: &Workspace) -> BTreeMap<String, (String, bool)> {
        let records = self.sandbox.records().into_iter();
        records
            .map(|(name, record)| (name, (word(&record, "uid"), record["unsaved"] == true)))
            .collect()
    }

    fn disorder(&self) -> Vec<String> {
        self.runtime.block_on(async {
            let mut wrong = World::disorder(self).await;
            wrong.extend(self.left_over().await);
            // Who was killed cannot give it up; it ends by itself.
            if let Some((holder, good_for)) = self.holder().await
                && good_for > 60
            {
                wrong.push(format!("the Lease is {holder}'s for {good_for} seconds"));
            }
            wrong
        })
    }
}

impl Wired for World {
    /// Nodes come in their own time.
    const TIMEOUT: &str = "40s";

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn ready(&self) {
        self.runtime.block_on(World::ready(self));
    }
}

/// Points of a run without more words.
const SAMPLE: usize = 16;
