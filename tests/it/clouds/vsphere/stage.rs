//! vSphere under real cores.

use std::collections::BTreeMap;

use tokio::runtime::{Builder, Runtime};

use super::world::{IMAGES, Server, World};
use crate::core::{Core, Workspace};
use crate::end_to_end::crash::{Wired, each_point};
use crate::end_to_end::life::whole_life;
use crate::end_to_end::{Stage, by_name};
use crate::proxy::Proxy;

#[test]
fn a_group_lives_on_vsphere_under_terraform() {
    if let (Some(core), Some(vsphere)) = (Core::find("terraform"), VSphere::find()) {
        whole_life(&core, &vsphere);
    }
}

#[test]
fn a_group_lives_on_vsphere_under_opentofu() {
    if let (Some(core), Some(vsphere)) = (Core::find("tofu"), VSphere::find()) {
        whole_life(&core, &vsphere);
    }
}

#[test]
fn an_apply_on_vsphere_goes_on_wherever_it_ended() {
    each_point("vsphere", 24, || {
        let vsphere = VSphere::find()?;
        Some(Box::new(vsphere))
    });
}

/// One test's folder.
struct VSphere {
    world: World,
    runtime: Runtime,
}

impl VSphere {
    /// The simulator that runs, or `skipped: …`.
    fn find() -> Option<Self> {
        let server = Server::find()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let world = runtime.block_on(World::of(server));
        Some(Self { world, runtime })
    }
}

impl Stage for VSphere {
    fn provider(&self) -> String {
        format!("vsphere = {}", self.world.block())
    }

    fn shape(&self) -> String {
        format!("vsphere = {}", self.world.placed())
    }

    fn image(&self) -> String {
        format!("{:?}", IMAGES[0])
    }

    fn cluster(&self) -> String {
        self.world.cluster.clone()
    }

    fn machines(&self, _: &Workspace) -> BTreeMap<String, String> {
        let alive = self.runtime.block_on(self.world.alive());
        by_name(alive.into_iter())
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        let id = &self.machines(workspace)[name];
        self.runtime.block_on(self.world.remove(id));
    }

    fn stops(&self) -> bool {
        true
    }

    fn stop(&self, workspace: &Workspace, name: &str) {
        let id = &self.machines(workspace)[name];
        self.runtime.block_on(self.world.stop(id));
    }

    fn scope(&self, _: &Workspace) -> String {
        self.runtime.block_on(self.world.scope())
    }

    fn marks(&self, _: &Workspace) -> BTreeMap<String, (String, bool)> {
        let machines = self.runtime.block_on(self.world.machines()).into_iter();
        let mark = |one: super::world::One| {
            let unsaved = !one.parameter("flatcar.unsaved").starts_with("false");
            (one.name.clone(), (one.parameter("flatcar.uid"), unsaved))
        };
        machines.map(mark).collect()
    }
}

impl Wired for VSphere {
    const TIMEOUT: &str = "20s";

    fn proxy(&self) -> &Proxy {
        &self.world.proxy
    }
}
