//! KubeVirt under real cores. User data are so long that each machine has a Secret.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;
use tokio::runtime::{Builder, Runtime};

use super::world::{IMAGES, Server, World, text, until};
use crate::core::{Core, Workspace};
use crate::end_to_end::crash::{Wired, each_point};
use crate::end_to_end::life::whole_life;
use crate::end_to_end::{Stage, by_name};
use crate::harness::ROOT;
use crate::proxy::Proxy;

#[test]
fn a_group_lives_on_kubevirt_under_terraform() {
    if let (Some(core), Some(kubevirt)) = (Core::find("terraform"), KubeVirt::find()) {
        whole_life(&core, &kubevirt);
        assert_eq!(kubevirt.disorder(), Vec::<String>::new());
    }
}

#[test]
fn a_group_lives_on_kubevirt_under_opentofu() {
    if let (Some(core), Some(kubevirt)) = (Core::find("tofu"), KubeVirt::find()) {
        whole_life(&core, &kubevirt);
        assert_eq!(kubevirt.disorder(), Vec::<String>::new());
    }
}

#[test]
fn an_apply_on_kubevirt_goes_on_wherever_it_ended() {
    each_point("kubevirt", 16, || {
        let kubevirt = KubeVirt::find()?;
        Some(Box::new(kubevirt))
    });
}

#[test]
fn a_group_lives_on_kubevirt_with_the_rights_that_the_guide_gives_and_no_others() {
    if let (Some(core), Some(kubevirt)) = (Core::find("terraform"), KubeVirt::find()) {
        let token = kubevirt.runtime.block_on(kubevirt.world.account(&role()));
        whole_life(&core, &KubeVirt { token, ..kubevirt });
    }
}

/// The role of the guide.
fn role() -> String {
    let guide = Path::new(ROOT).join("docs/kubevirt.md");
    let guide = std::fs::read_to_string(guide).expect("the guide");
    let (_, rest) = guide.split_once("```yaml\n").expect("a role");
    rest.split_once("\n```").expect("its end").0.to_owned()
}

/// One test's namespace.
pub(super) struct KubeVirt {
    pub(super) world: World,
    runtime: Runtime,
    token: String,
}

impl KubeVirt {
    /// The server that runs, or `skipped: …`.
    fn find() -> Option<Self> {
        let server = Server::find()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let world = runtime.block_on(World::of(server));
        let token = "admintoken".to_owned();
        Some(Self {
            world,
            runtime,
            token,
        })
    }

    /// Those that are not going: a delete is never taken back.
    fn alive(&self) -> Vec<Json> {
        let machines = self.runtime.block_on(self.world.machines()).into_iter();
        machines
            .filter(|one| one["metadata"]["deletionTimestamp"].is_null())
            .collect()
    }
}

impl Stage for KubeVirt {
    fn provider(&self) -> String {
        format!(
            "kubevirt = {{ host = {:?}, token = {:?}, namespace = {:?} }}",
            self.world.proxy.endpoint(0),
            self.token,
            self.world.namespace
        )
    }

    fn shape(&self) -> String {
        r#"kubevirt = { cpu = { cores = 1 }, memory = { guest = "128Mi" }, termination_grace_period_seconds = 1 }"#.to_owned()
    }

    fn image(&self) -> String {
        format!("{:?}", IMAGES[0])
    }

    /// So that user data are more than stand in a machine; Butane packs what repeats itself.
    fn more_user_data(&self) -> String {
        let step = |state: &u64| {
            Some(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            )
        };
        let numbers = std::iter::successors(Some(1_u64), step).skip(1).take(250);
        numbers.map(|number| format!("{number:016x}")).collect()
    }

    fn cluster(&self) -> String {
        self.world.namespace.clone()
    }

    fn machines(&self, _: &Workspace) -> BTreeMap<String, String> {
        let alive = self.runtime.block_on(self.world.alive());
        by_name(alive.into_iter())
    }

    fn remove(&self, _: &Workspace, name: &str) {
        self.runtime.block_on(self.world.remove(name));
    }

    fn stops(&self) -> bool {
        true
    }

    fn stop(&self, _: &Workspace, name: &str) {
        self.runtime.block_on(self.world.stop(name));
    }

    fn scope(&self, _: &Workspace) -> String {
        let path = format!("/api/v1/namespaces/{}", self.world.namespace);
        let namespace =
            self.runtime
                .block_on(self.world.server.ask(reqwest::Method::GET, &path, None));
        format!(
            "{}/{}",
            self.world.namespace,
            text(&namespace["metadata"]["uid"])
        )
    }

    fn marks(&self, _: &Workspace) -> BTreeMap<String, (String, bool)> {
        let mark = |one: Json| {
            let metadata = &one["metadata"];
            let unsaved = metadata["labels"]["flatcar-unsaved"].as_str();
            let unsaved = !unsaved.is_some_and(|word| word.starts_with("false"));
            (
                text(&metadata["name"]),
                (text(&metadata["labels"]["flatcar-uid"]), unsaved),
            )
        };
        self.alive().into_iter().map(mark).collect()
    }

    /// Each machine has its Secret, and there are no others.
    fn disorder(&self) -> Vec<String> {
        let has = |what: &str| {
            let world = &self.world;
            self.runtime.block_on(async { world.all(what).await })
        };
        self.runtime
            .block_on(until("what is going is gone", || async {
                let machines = self.world.machines().await;
                let going = |one: &Json| !one["metadata"]["deletionTimestamp"].is_null();
                (!machines.iter().any(going)).then_some(())
            }));
        let owned: BTreeMap<String, String> = has("secrets")
            .iter()
            .map(|one| {
                (
                    text(&one["metadata"]["name"]),
                    text(&one["metadata"]["ownerReferences"][0]["uid"]),
                )
            })
            .collect();
        let wanted: BTreeMap<String, String> = has("virtualmachines")
            .iter()
            .map(|one| {
                (
                    format!("{}-user-data", text(&one["metadata"]["name"])),
                    text(&one["metadata"]["uid"]),
                )
            })
            .collect();
        match owned == wanted {
            true => Vec::new(),
            false => vec![format!("Secrets are {owned:?} instead of {wanted:?}")],
        }
    }
}

impl Wired for KubeVirt {
    /// Machines come by their controller's own pace.
    const TIMEOUT: &str = "40s";

    fn proxy(&self) -> &Proxy {
        &self.world.proxy
    }
}
