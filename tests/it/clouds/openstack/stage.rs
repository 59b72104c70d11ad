//! OpenStack under real cores.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value as Json;
use tokio::runtime::{Builder, Runtime};

use super::server::{FLAVOR, IMAGES, NETWORK, OpenStack};
use super::world::World;
use crate::core::Workspace;
use crate::end_to_end::crash::{Wired, each_point, saved};
use crate::end_to_end::{Stage, by_name};
use crate::harness::wait_until;
use crate::proxy::Proxy;

#[test]
fn an_apply_on_openstack_goes_on_wherever_it_ended() {
    each_point("openstack", 12, || Some(Box::new(Nova::find()?)));
}

/// The window within which the provider believes no absence.
const LAG: Duration = Duration::from_secs(11);

/// One test's view of the OpenStack that runs beside the tests, in the project `crash`.
pub(crate) struct Nova {
    world: World,
    runtime: Runtime,
    /// Ids of servers that were ever seen.
    seen: RefCell<BTreeSet<String>>,
}

impl Nova {
    /// The OpenStack that runs, or `skipped: …`.
    pub(crate) fn find() -> Option<Self> {
        let server = OpenStack::find("crash")?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        Some(Self {
            world: runtime.block_on(World::of(server)),
            runtime,
            seen: RefCell::default(),
        })
    }

    /// The cluster's servers that are not gone. While Nova builds others, a list may lack one: it
    /// is asked twice, and for each server that was ever seen, or that state has, by its id.
    fn servers(&self, workspace: Option<&Workspace>) -> Vec<Json> {
        let recorded = workspace.and_then(saved).map(|(_, machines)| machines);
        let mut seen = self.seen.borrow_mut();
        seen.extend(recorded.into_iter().flatten().map(|(_, id)| id));
        let mut found = BTreeMap::new();
        for _ in 0..2 {
            let listed = self.ask("/servers/detail").expect("a list");
            for server in listed["servers"].as_array().expect("servers") {
                if server["metadata"]["flatcar-cluster"] == self.world.cluster.as_str() {
                    found.insert(text(&server["id"]), server.clone());
                }
            }
        }
        let missing: Vec<String> = seen
            .iter()
            .filter(|id| !found.contains_key(*id))
            .cloned()
            .collect();
        for id in missing {
            if let Some(mut one) = self.ask(&format!("/servers/{id}")) {
                found.insert(id, one["server"].take());
            }
        }
        seen.extend(found.keys().cloned());
        let mut servers: Vec<Json> = found.into_values().collect();
        // Nova says so for a moment before it forgets it.
        servers.retain(|server| server["status"] != "DELETED");
        servers
    }

    /// `None`: it does not exist.
    fn ask(&self, path: &str) -> Option<Json> {
        self.runtime.block_on(async {
            let user = &self.world.client.user;
            let answer = self
                .world
                .client
                .send(user, "compute", Method::GET, path, None);
            let answer = answer.await;
            if answer.status() == StatusCode::NOT_FOUND {
                return None;
            }
            assert!(answer.status().is_success(), "{path}: {answer:?}");
            Some(answer.json().await.expect("JSON"))
        })
    }
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Stage for Nova {
    fn provider(&self) -> String {
        format!("openstack = {}", self.world.block())
    }

    fn shape(&self) -> String {
        format!(
            r#"openstack = {{ flavor_name = "{FLAVOR}", networks = [{{ name = "{NETWORK}" }}] }}"#
        )
    }

    fn image(&self) -> String {
        format!("{:?}", IMAGES[0])
    }

    fn cluster(&self) -> String {
        self.world.cluster.clone()
    }

    fn machines(&self, workspace: &Workspace) -> BTreeMap<String, String> {
        let servers = self.servers(Some(workspace));
        let machine = |server: &Json| (text(&server["name"]), text(&server["id"]));
        by_name(servers.iter().map(machine))
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        // A younger one that is missing counts as not listed yet.
        let since = Instant::now();
        wait_until("machines are older than lists may lag", || {
            (since.elapsed() > LAG).then_some(())
        });
        let id = self.machines(workspace)[name].clone();
        self.runtime.block_on(self.world.remove(&id));
        wait_until("the server is gone", || {
            (!self.machines(workspace).contains_key(name)).then_some(())
        });
    }

    fn scope(&self, _: &Workspace) -> String {
        format!("RegionOne/{}", self.world.client.user.project)
    }

    fn marks(&self, workspace: &Workspace) -> BTreeMap<String, (String, bool)> {
        let mark = |server: &Json| {
            let metadata = &server["metadata"];
            let unsaved = metadata["flatcar-unsaved"].as_str();
            let unsaved = !unsaved.is_some_and(|word| word.starts_with("false"));
            (
                text(&server["name"]),
                (text(&metadata["flatcar-uid"]), unsaved),
            )
        };
        self.servers(Some(workspace)).iter().map(mark).collect()
    }
}

impl Wired for Nova {
    const TIMEOUT: &str = "60s";

    fn proxy(&self) -> &Proxy {
        &self.world.proxy
    }
}

impl Drop for Nova {
    /// What a test that failed left behind would be in the way of others.
    fn drop(&mut self) {
        for server in self.servers(None) {
            let path = format!("/servers/{}", text(&server["id"]));
            let request = self.world.client.send(
                &self.world.client.user,
                "compute",
                Method::DELETE,
                &path,
                None,
            );
            self.runtime.block_on(request);
        }
    }
}
