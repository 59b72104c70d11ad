//! A whole life, which each cloud has under its cores; and one pass over everything under each
//! core.

use std::collections::BTreeSet;

use serde_json::json;

use super::{GROUP, Stage, complete, settled, workspace};
use crate::core::{Core, Workspace};
use crate::harness::ROOT;

#[test]
fn the_quickstart_works_under_the_newest_terraform() {
    if let Some(core) = Core::find("terraform-newest") {
        quickstart(&core);
    }
}

#[test]
fn the_quickstart_works_under_the_oldest_terraform() {
    if let Some(core) = Core::find("terraform-oldest") {
        quickstart(&core);
    }
}

#[test]
fn the_quickstart_works_under_opentofu() {
    if let Some(core) = Core::find("tofu") {
        quickstart(&core);
    }
}

/// Create, change, scale, repair, import, destroy.
pub(crate) fn whole_life(core: &Core, stage: &dyn Stage) {
    let workspace = workspace(core, stage);
    let plan = workspace.plan();
    assert_eq!(plan.actions(GROUP), ["create"]);
    workspace.apply();
    let first = complete(&workspace, stage, 3);
    settled(&workspace);

    // The Butane config changes: the plan names every machine, and what changed, and not to what.
    workspace.variables(&json!({"message": "second"}));
    let plan = workspace.plan();
    assert_eq!(plan.actions(GROUP), ["update"]);
    let rollout = plan.rollout(GROUP);
    for name in first.keys() {
        let step = rollout
            .iter()
            .find(|step| step.0 == *name && step.1 == "delete");
        let reason = step.map(|step| step.2.as_str()).unwrap_or_default();
        assert!(
            reason.contains("/etc/motd"),
            "{name} in {rollout:?} of {}",
            plan.text
        );
        assert!(!reason.contains("second"), "{reason}");
    }
    let creates = rollout.iter().filter(|step| step.1 == "create").count();
    assert_eq!((creates, rollout.len()), (3, 6), "{rollout:?}");
    workspace.apply();
    let second = complete(&workspace, stage, 3);
    assert!(
        first.keys().all(|name| !second.contains_key(name)),
        "all rolled: {first:?}, {second:?}"
    );
    let planned: BTreeSet<&String> = rollout
        .iter()
        .filter(|step| step.1 == "create")
        .map(|step| &step.0)
        .collect();
    assert_eq!(
        planned,
        second.keys().collect(),
        "the plan named what it made"
    );
    settled(&workspace);

    // Scaling rolls nothing.
    workspace.variables(&json!({"message": "second", "replicas": 5}));
    let plan = workspace.plan();
    let rollout = plan.rollout(GROUP);
    assert_eq!(rollout.len(), 2, "{rollout:?}");
    assert!(rollout.iter().all(|step| step.1 == "create"), "{rollout:?}");
    workspace.apply();
    let five = complete(&workspace, stage, 5);
    assert!(
        second.iter().all(|(name, id)| five.get(name) == Some(id)),
        "{second:?} are still there in {five:?}"
    );

    // A machine goes behind our back: that one alone is repaired.
    let lost = second.keys().next().expect("a machine");
    stage.remove(&workspace, lost);
    let plan = workspace.plan();
    assert_eq!(plan.actions(GROUP), ["update"], "{}", plan.text);
    let rollout = plan.rollout(GROUP);
    // A cloud that still shows an ended machine has it deleted first.
    let (creates, rest): (Vec<_>, Vec<_>) = rollout.iter().partition(|step| step.1 == "create");
    assert_eq!(creates.len(), 1, "{rollout:?}");
    assert!(creates[0].2.contains(lost), "{rollout:?}");
    assert!(rest.iter().all(|step| step.0 == *lost), "{rollout:?}");
    workspace.apply();
    let repaired = complete(&workspace, stage, 5);
    for (name, id) in five.iter().filter(|(name, _)| *name != lost) {
        assert_eq!(repaired.get(name), Some(id), "{name} was not touched");
    }

    // Forgotten, and imported: no machine is touched.
    workspace.run(&["state", "rm", GROUP]).success();
    let id = format!(
        "{}/{}/{}/workers",
        stage.provider().split(' ').next().unwrap_or_default(),
        stage.scope(&workspace),
        stage.cluster()
    );
    workspace
        .run(&["import", "-no-color", GROUP, &id])
        .success();
    let plan = workspace.plan();
    assert_eq!(plan.actions(GROUP), ["update"], "{}", plan.text);
    assert_eq!(plan.rollout(GROUP), [], "{}", plan.text);
    workspace.apply();
    assert_eq!(complete(&workspace, stage, 5), repaired);
    settled(&workspace);

    // Scale in, then nothing is left.
    workspace.variables(&json!({"message": "second", "replicas": 1}));
    workspace.apply();
    complete(&workspace, stage, 1);
    workspace.destroy();
    complete(&workspace, stage, 0);
}

/// `examples/quickstart` as a user has it: all objects once, one apply, one destroy.
fn quickstart(core: &Core) {
    let workspace = Workspace::new(core);
    copy(&format!("{ROOT}/examples/quickstart"), &workspace, "");
    workspace.apply();
    let group = workspace.state(GROUP).expect("the group");
    let machines = group["machines"].as_object().expect("machines");
    assert_eq!(machines.len(), 3);
    assert!(
        machines
            .values()
            .all(|machine| machine["phase"] == "running"),
        "{machines:?}"
    );
    let image = workspace
        .state("data.flatcar_image.stable")
        .expect("the image");
    assert_ne!(image["verified_by"], "", "the signature was checked");
    assert!(workspace.plan().text.contains("No changes."));
    workspace.destroy();
    assert_eq!(workspace.state(GROUP), None);
}

/// Copies a folder's files into the workspace, without what a user's own runs left there.
fn copy(from: &str, workspace: &Workspace, below: &str) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a plain name");
        if name.starts_with(".flatcar")
            || name.starts_with(".terraform")
            || name.contains("tfstate")
        {
            continue;
        }
        let path = entry.path();
        let place = format!("{below}{name}");
        if path.is_dir() {
            copy(
                path.to_str().expect("a plain path"),
                workspace,
                &format!("{place}/"),
            );
        } else {
            let to = workspace.path().join(&place);
            std::fs::create_dir_all(to.parent().expect("below the workspace")).expect("a folder");
            std::fs::copy(&path, to).expect("a copy");
        }
    }
}
