//! Azure under real cores.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tokio::runtime::{Builder, Runtime};

use super::faults::{id_of, name_of};
use super::world::{IMAGES, SIZE, World};
use crate::core::{Core, Workspace};
use crate::end_to_end::crash::{Wired, each_point};
use crate::end_to_end::life::whole_life;
use crate::end_to_end::{Stage, by_name};
use crate::harness::wait_until;
use crate::proxy::Proxy;

#[test]
fn a_group_lives_on_azure_under_terraform() {
    lives("terraform");
}

#[test]
fn a_group_lives_on_azure_under_opentofu() {
    lives("tofu");
}

fn lives(core: &'static str) {
    if let (Some(core), Some(azure)) = (Core::find(core), Azure::find()) {
        whole_life(&core, &azure);
        azure.is_empty();
    }
}

#[test]
fn an_apply_on_azure_goes_on_wherever_it_ended() {
    each_point("azure", 24, || Some(Box::new(Azure::find_with_a_pool()?)));
}

/// The window within which the provider believes no absence.
const LAG: Duration = Duration::from_secs(11);

/// One test's view of a subscription.
pub(crate) struct Azure {
    world: World,
    runtime: Runtime,
    /// Whether machines are to be in the backend address pool: an import knows no shape, and so no
    /// pool.
    has_pool: bool,
}

impl Azure {
    /// The stand-in that runs, or `skipped: …`.
    pub(crate) fn find() -> Option<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let world = runtime.block_on(World::find())?;
        Some(Self {
            world,
            runtime,
            has_pool: false,
        })
    }

    /// The same with a pool that every machine is to be in.
    fn find_with_a_pool() -> Option<Self> {
        let mut azure = Self::find()?;
        azure.has_pool = true;
        Some(azure)
    }

    fn seen(&self) -> Vec<Json> {
        self.runtime.block_on(self.world.machines())
    }

    /// No network interface, no address and no disk stays behind.
    fn is_empty(&self) {
        let parts = self.runtime.block_on(self.world.parts());
        assert!(parts.is_empty(), "left behind: {parts:#?}");
    }
}

impl Stage for Azure {
    fn provider(&self) -> String {
        format!("azure = {}", self.world.block())
    }

    fn shape(&self) -> String {
        let shape = self.world.shape();
        let pools = match self.has_pool {
            true => format!("[{:?}]", self.world.pool("workers")),
            false => "null".to_owned(),
        };
        format!(
            r#"azure = {{ resource_group_name = {}, location = "westeurope", vm_size = "{SIZE}", subnet_id = {}, zones = ["1", "2"], public_ip = true,
                load_balancer_backend_address_pool_ids = {pools} }}"#,
            shape["resource_group_name"], shape["subnet_id"]
        )
    }

    fn image(&self) -> String {
        format!("{:?}", IMAGES[0])
    }

    fn cluster(&self) -> String {
        self.world.cluster.clone()
    }

    fn machines(&self, _: &Workspace) -> BTreeMap<String, String> {
        by_name(
            self.seen()
                .iter()
                .map(|machine| (name_of(machine), id_of(machine))),
        )
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        // A younger one that is missing counts as not listed yet.
        let since = Instant::now();
        wait_until("machines are older than lists may lag", || {
            (since.elapsed() > LAG).then_some(())
        });
        let id = self.machines(workspace)[name].clone();
        self.runtime.block_on(self.world.remove(&id));
    }

    fn stops(&self) -> bool {
        true
    }

    fn stop(&self, workspace: &Workspace, name: &str) {
        let id = self.machines(workspace)[name].clone();
        self.runtime.block_on(self.world.stop(&id));
    }

    fn scope(&self, _: &Workspace) -> String {
        self.world.scope()
    }

    fn marks(&self, _: &Workspace) -> BTreeMap<String, (String, bool)> {
        let mark = |machine: &Json| {
            let tag = |key: &str| machine["tags"][key].as_str().unwrap_or_default().to_owned();
            (
                name_of(machine),
                (
                    tag("flatcar-uid"),
                    !tag("flatcar-unsaved").starts_with("false"),
                ),
            )
        };
        self.seen().iter().map(mark).collect()
    }

    fn targets(&self) -> Option<BTreeSet<String>> {
        if !self.has_pool {
            return None;
        }
        let pool = self
            .runtime
            .block_on(self.world.get(&self.world.pool("workers")))?;
        let members = pool["properties"]["backendIPConfigurations"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let name = |one: &Json| {
            let nic = one["id"]
                .as_str()?
                .split("/ipConfigurations/")
                .next()?
                .rsplit('/')
                .next()?;
            Some(nic.trim_end_matches("-nic").to_owned())
        };
        let names: BTreeSet<String> = members.iter().filter_map(name).collect();
        let ids = self
            .seen()
            .iter()
            .map(id_of)
            .filter(|id| {
                let (path, _) = id.split_once('|').expect("a number");
                names.contains(path.rsplit('/').next().unwrap_or_default())
            })
            .collect();
        Some(ids)
    }
}

impl Wired for Azure {
    fn proxy(&self) -> &Proxy {
        &self.world.proxy
    }
}

impl Drop for Azure {
    /// The end of every crash point: nothing of a group that is destroyed stays, and of one that is
    /// there only what its machines have.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let machines: Vec<String> = self
            .seen()
            .iter()
            .map(|one| one["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        let parts = self.runtime.block_on(self.world.parts());
        let is_of_one = |part: &&String| {
            let name = part.rsplit('/').next().unwrap_or_default();
            machines.iter().any(|machine| {
                ["-nic", "-ip", "-os"]
                    .iter()
                    .any(|end| name == format!("{machine}{end}"))
            })
        };
        let orphans: Vec<&String> = parts.iter().filter(|part| !is_of_one(part)).collect();
        assert!(orphans.is_empty(), "left behind: {orphans:#?}");
    }
}
