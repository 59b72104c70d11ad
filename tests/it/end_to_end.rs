//! The whole life of a worker group under real cores, on each cloud that can be had here.
//!
//! One configuration, [`configuration`], on every [`Stage`]: what the cloud itself shows is
//! compared with what state says.

mod bad_input;
pub(crate) mod crash;
mod deferred;
mod ignored;
pub(crate) mod life;
mod lifecycle;
mod plans;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::core::{Core, Workspace};

/// Name in `tests/cores/core.sh`, and how its version starts.
const CORES: [(&str, &str); 4] = [
    ("terraform", "Terraform v1."),
    ("terraform-newest", "Terraform v1.15."),
    ("terraform-oldest", "Terraform v1.8."),
    ("tofu", "OpenTofu v1.12."),
];

/// The address of the one group in [`configuration`].
pub(crate) const GROUP: &str = "flatcar_worker_group.workers";

#[test]
fn every_core_is_of_the_version_that_it_is_meant_to_be() {
    for (name, version) in CORES {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let run = Workspace::new(&core).run(&["version"]).success();
        assert!(run.stdout.starts_with(version), "{name}: {}", run.stdout);
    }
}

/// A cloud as these tests see it: from behind the provider's back.
pub(crate) trait Stage {
    /// The provider's argument: `sandbox = { directory = "cloud" }`.
    fn provider(&self) -> String;
    /// The group's argument: `sandbox = {}`.
    fn shape(&self) -> String;
    /// What machines boot, as an expression.
    fn image(&self) -> String;
    /// The group's cluster: nothing else on this cloud is in it.
    fn cluster(&self) -> String;
    /// Name and id of every machine of the cluster that is not gone.
    fn machines(&self, workspace: &Workspace) -> BTreeMap<String, String>;
    /// Deletes one.
    fn remove(&self, workspace: &Workspace, name: &str);
    /// Whether [`Stage::stop`] does what it says.
    fn stops(&self) -> bool {
        false
    }
    /// Stops one.
    fn stop(&self, _workspace: &Workspace, _name: &str) {
        panic!("nobody stops machines on this cloud");
    }
    /// What stands between the cloud's name and the cluster in an import's id.
    fn scope(&self, workspace: &Workspace) -> String;
    /// Whose each machine is, by name: the mark's uid, and whether it is still marked as not saved.
    fn marks(&self, workspace: &Workspace) -> BTreeMap<String, (String, bool)>;
    /// Ids of the machines that the group's load balancer sends traffic to, to stay; `None`: it has
    /// none.
    fn targets(&self) -> Option<BTreeSet<String>> {
        None
    }
    /// What makes user data longer, where that matters.
    fn more_user_data(&self) -> String {
        String::new()
    }
    /// What is not as it has to be beside the cloud while no apply is under way.
    fn disorder(&self) -> Vec<String> {
        Vec::new()
    }
}

/// One group of three; the variables `replicas`, `message` and `parallelism` change it.
fn configuration(stage: &dyn Stage) -> String {
    format!(
        r#"
        terraform {{
          required_providers {{
            flatcar = {{ source = "flatcar-iac/flatcar" }}
          }}
        }}
        variable "replicas" {{ default = 3 }}
        variable "message" {{ default = "first" }}
        variable "parallelism" {{ default = 10 }}
        provider "flatcar" {{
          {provider}
        }}
        data "flatcar_ignition" "worker" {{
          strict  = true
          content = <<-EOT
            variant: flatcar
            version: 1.1.0
            storage:
              files:
                - path: /etc/motd
                  mode: 0644
                  contents:
                    inline: ${{var.message}}{more}
          EOT
        }}
        resource "flatcar_worker_group" "workers" {{
          cluster        = "{cluster}"
          name           = "workers"
          replicas       = var.replicas
          image          = {image}
          user_data      = data.flatcar_ignition.worker.rendered
          rolling_update = {{ parallelism = var.parallelism }}
          {shape}
        }}
        "#,
        provider = stage.provider(),
        more = match stage.more_user_data().as_str() {
            "" => String::new(),
            text => format!("{MORE}{text}"),
        },
        cluster = stage.cluster(),
        image = stage.image(),
        shape = stage.shape(),
    )
}

/// One more file, as the Butane config above is indented.
const MORE: &str = "
                - path: /etc/more
                  mode: 0644
                  contents:
                    inline: ";

/// A workspace with [`configuration`] in it.
pub(crate) fn workspace(core: &Core, stage: &dyn Stage) -> Workspace {
    let workspace = Workspace::new(core);
    workspace.write("main.tf", &configuration(stage));
    workspace
}

/// Name and id of each machine as state has it.
fn recorded(workspace: &Workspace) -> BTreeMap<String, String> {
    let group = workspace.state(GROUP).unwrap_or_else(|| json!({}));
    let machines = group["machines"].as_object();
    machines
        .into_iter()
        .flatten()
        .map(|(name, machine)| {
            (
                name.clone(),
                machine["id"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

/// The group is complete, and the cloud has what state has: nothing doubled, nothing orphaned.
/// Answers the machines.
pub(crate) fn complete(
    workspace: &Workspace,
    stage: &dyn Stage,
    replicas: usize,
) -> BTreeMap<String, String> {
    let exist = stage.machines(workspace);
    assert_eq!(exist, recorded(workspace), "the cloud, and state");
    assert_eq!(exist.len(), replicas, "{exist:?}");
    exist
}

/// A plan that finds nothing to do.
pub(crate) fn settled(workspace: &Workspace) {
    let plan = workspace.plan();
    assert_eq!(plan.actions(GROUP), ["no-op"], "{}", plan.text);
}

/// Machines by name; one of a name that another one has is named by its id, too.
pub(crate) fn by_name(
    machines: impl Iterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for (name, id) in machines {
        let name = match names.contains_key(&name) {
            true => format!("{name}, doubled as {id}"),
            false => name,
        };
        names.insert(name, id);
    }
    names
}
