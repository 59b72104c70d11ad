//! Compute Engine under real cores.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::world::{IMAGES, PROJECT, World, ZONES, id, text};
use crate::core::{Core, Workspace};
use crate::end_to_end::crash::{Wired, each_point};
use crate::end_to_end::life::whole_life;
use crate::end_to_end::{Stage, by_name};
use crate::harness::wait_until;
use crate::proxy::Proxy;

#[test]
fn a_group_lives_on_gcp_under_terraform() {
    if let (Some(core), Some(gcp)) = (Core::find("terraform"), Gcp::find()) {
        whole_life(&core, &gcp);
    }
}

#[test]
fn a_group_lives_on_gcp_under_opentofu() {
    if let (Some(core), Some(gcp)) = (Core::find("tofu"), Gcp::find()) {
        whole_life(&core, &gcp);
    }
}

#[test]
fn an_apply_on_gcp_goes_on_wherever_it_ended() {
    each_point("gcp", 24, || {
        let gcp = Gcp::find()?;
        let groups = gcp.world.make_groups();
        Some(Box::new(Gcp { groups, ..gcp }))
    });
}

/// The window within which the provider believes no absence.
const LAG: Duration = Duration::from_secs(11);

/// One test's view of the project.
struct Gcp {
    world: World,
    /// Links of instance groups that every machine is to be in.
    groups: Vec<String>,
}

impl Gcp {
    /// The stand-in that runs, or `skipped: …`.
    fn find() -> Option<Self> {
        let world = World::find()?;
        let groups = Vec::new();
        Some(Self { world, groups })
    }
}

impl Stage for Gcp {
    fn provider(&self) -> String {
        format!("gcp = {}", self.world.block())
    }

    fn shape(&self) -> String {
        let groups = match self.groups.is_empty() {
            true => String::new(),
            false => format!(", instance_groups = {:?}", self.groups),
        };
        format!(r#"gcp = {{ zones = {ZONES:?}, machine_type = "e2-small"{groups} }}"#)
    }

    fn image(&self) -> String {
        format!("{:?}", IMAGES[0])
    }

    fn cluster(&self) -> String {
        self.world.cluster.clone()
    }

    fn machines(&self, _: &Workspace) -> BTreeMap<String, String> {
        let instances = self.world.instances().into_iter();
        // Going is as good as gone: a delete is never taken back.
        let there = instances.filter(|one| one["status"] != "STOPPING");
        by_name(there.map(|one| (text(&one["name"]), id(&one))))
    }

    fn remove(&self, workspace: &Workspace, name: &str) {
        // A younger one that is missing counts as not listed yet.
        let since = Instant::now();
        wait_until("machines are older than lists may lag", || {
            (since.elapsed() > LAG).then_some(())
        });
        self.world.remove(&self.machines(workspace)[name]);
    }

    fn stops(&self) -> bool {
        true
    }

    fn stop(&self, workspace: &Workspace, name: &str) {
        self.world.stop(&self.machines(workspace)[name]);
    }

    fn scope(&self, _: &Workspace) -> String {
        PROJECT.to_owned()
    }

    fn marks(&self, _: &Workspace) -> BTreeMap<String, (String, bool)> {
        let mark = |one: serde_json::Value| {
            let labels = &one["labels"];
            let unsaved = labels["flatcar-unsaved"].as_str();
            let unsaved = !unsaved.is_some_and(|word| word.starts_with("false"));
            (text(&one["name"]), (text(&labels["flatcar-uid"]), unsaved))
        };
        self.world.instances().into_iter().map(mark).collect()
    }

    fn targets(&self) -> Option<BTreeSet<String>> {
        (!self.groups.is_empty()).then(|| self.world.members())
    }
}

impl Wired for Gcp {
    /// An operation is waited for.
    const TIMEOUT: &str = "20s";

    fn proxy(&self) -> &Proxy {
        &self.world.proxy
    }
}
