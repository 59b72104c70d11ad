//! What cores do around a group besides changing it: states of earlier releases, `removed`,
//! replacement, imports, saved plans that the cloud has overtaken, and a sandbox that another
//! process holds.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value as Json, json};

use super::{GROUP, Stage, complete, configuration, recorded, settled, workspace};
use crate::clouds::sandbox::{Sandbox, order};
use crate::core::{Core, Workspace};
use crate::harness::ROOT;

/// Each under a Terraform that has every feature, and under OpenTofu.
fn under_each(check: fn(&Core)) {
    for name in ["terraform-newest", "tofu"] {
        if let Some(core) = Core::find(name) {
            println!("under {name}");
            check(&core);
        }
    }
}

/// [`configuration`] on the sandbox with more written into its group.
fn with(more: &str) -> String {
    let text = configuration(&Sandbox);
    let changed = text.replace("rolling_update =", &format!("{more}\n rolling_update ="));
    assert_ne!(changed, text);
    changed
}

/// [`configuration`] on the sandbox with something in place of its group.
fn instead(of_the_group: &str) -> String {
    let text = configuration(&Sandbox);
    let (before, _) = text
        .split_once(r#"resource "flatcar_worker_group""#)
        .expect("a group");
    format!("{before}\n{of_the_group}\n")
}

#[test]
fn a_state_of_version_0_that_an_earlier_build_wrote_is_read_and_nothing_changes() {
    under_each(|core| {
        let workspace = Workspace::new(core);
        let folder = format!("{ROOT}/tests/fixtures/state/v0");
        copy(Path::new(&folder), workspace.path());
        let path = workspace.path().join("state.json");
        let mut state = fs::read_to_string(path).expect("the state");
        if core.name == "tofu" {
            // A source without a host is of the core's own registry.
            state = state.replace("registry.terraform.io", "registry.opentofu.org");
        }
        workspace.write("terraform.tfstate", &state);
        let before = Sandbox.machines(&workspace);
        assert_eq!(before.len(), 3, "{before:?}");
        let refreshed = workspace.plan();
        assert_eq!(refreshed.actions(GROUP), ["no-op"], "{}", refreshed.text);
        workspace.apply();
        assert_eq!(complete(&workspace, &Sandbox, 3), before);
        // It goes on from there, with the ordinals that were never used.
        workspace.variables(&json!({"replicas": 4}));
        let rollout = workspace.plan().rollout(GROUP);
        assert_eq!(rollout.len(), 1, "{rollout:?}");
        assert!(rollout[0].0.ends_with("-4"), "{rollout:?}");
        workspace.apply();
        complete(&workspace, &Sandbox, 4);
        settled(&workspace);
        workspace.destroy();
        complete(&workspace, &Sandbox, 0);
    });
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&place).expect("a folder");
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), &place).expect("a copy");
        }
    }
}

/// The commands of `docs/guides/troubleshooting.md`.
#[test]
fn whoever_watches_an_apply_reads_a_line_for_each_step() {
    under_each(|core| {
        let mut workspace = workspace(core, &Sandbox);
        workspace.set("FLATCAR_PROGRESS", "progress.jsonl");
        let steps = |workspace: &Workspace| -> BTreeMap<String, Vec<String>> {
            let path = workspace.path().join("progress.jsonl");
            let text = fs::read_to_string(&path).expect("lines");
            fs::remove_file(path).expect("ours");
            let mut steps = BTreeMap::<String, Vec<String>>::new();
            let mut last = Json::Null;
            for line in text.lines() {
                last = serde_json::from_str(line).expect("a line of JSON");
                assert_eq!(last["group"], "workers", "{line}");
                let step = last["step"].as_str().expect("a word");
                let machine = last["machine"].as_str().expect("a name");
                steps
                    .entry(machine.to_owned())
                    .or_default()
                    .push(step.to_owned());
            }
            assert_eq!(last["done"], last["of"], "{text}");
            steps
        };
        let comes = ["creating", "starting", "ready"];
        let goes = ["deleting", "gone"];
        workspace.apply();
        let made = steps(&workspace);
        assert_eq!(made.len(), 3, "{made:?}");
        assert!(made.values().all(|steps| *steps == comes), "{made:?}");
        workspace.variables(&json!({"message": "second"}));
        workspace.apply();
        let rolled = steps(&workspace);
        assert_eq!(rolled.len(), 6, "{rolled:?}");
        for (machine, steps) in rolled {
            match made.contains_key(&machine) {
                true => assert_eq!(steps, goes, "{machine}"),
                false => assert_eq!(steps, comes, "{machine}"),
            }
        }
    });
}

#[test]
fn a_group_that_is_removed_without_being_destroyed_keeps_its_machines() {
    under_each(|core| {
        let workspace = workspace(core, &Sandbox);
        workspace.apply();
        let machines = complete(&workspace, &Sandbox, 3);
        let removed =
            "removed {\n from = flatcar_worker_group.workers\n lifecycle { destroy = false }\n}";
        workspace.write("main.tf", &instead(removed));
        workspace.apply();
        assert_eq!(workspace.state(GROUP), None);
        assert_eq!(Sandbox.machines(&workspace), machines);
        // And back.
        workspace.write("main.tf", &configuration(&Sandbox));
        let id = format!("sandbox/{}/prod/workers", Sandbox.scope(&workspace));
        workspace
            .run(&["import", "-no-color", GROUP, &id])
            .success();
        workspace.apply();
        assert_eq!(complete(&workspace, &Sandbox, 3), machines);
        settled(&workspace);
    });
}

#[test]
fn a_replacement_that_creates_first_keeps_the_old_group_until_the_new_one_stands() {
    under_each(|core| {
        let workspace = Workspace::new(core);
        let keep = with("on_existing = \"keep\"\n lifecycle { create_before_destroy = true }");
        workspace.write("main.tf", &keep);
        workspace.apply();
        let old = complete(&workspace, &Sandbox, 3);
        let replace = format!("-replace={GROUP}");
        let apply = ["apply", "-no-color", "-auto-approve", replace.as_str()];
        let run = workspace.run(&apply).success();
        assert!(
            run.stdout.contains("Another group of this name exists"),
            "{}",
            run.stdout
        );
        let new = complete(&workspace, &Sandbox, 3);
        assert!(
            old.keys().all(|name| !new.contains_key(name)),
            "{old:?} {new:?}"
        );
        settled(&workspace);

        // Without the word for it nothing is made beside the machines of another state, and nothing
        // is deleted.
        workspace.write("main.tf", &keep.replace("\"keep\"", "\"fail\""));
        workspace.apply();
        let errors = workspace.run(&apply).failure().errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("on_existing"), "{errors:?}");
        assert_eq!(complete(&workspace, &Sandbox, 3), new);

        // Another name, and whose machines go is told by the plan.
        workspace.write("main.tf", &keep.replace(r#"= "workers""#, r#"= "others""#));
        let plan = workspace.plan();
        assert_eq!(plan.actions(GROUP), ["create", "delete"], "{}", plan.text);
        assert!(plan.text.contains("Group is replaced"), "{}", plan.text);
        for name in new.keys() {
            assert!(plan.text.contains(name), "{name} in {}", plan.text);
        }
        workspace.apply();
        let others = complete(&workspace, &Sandbox, 3);
        assert!(
            others.keys().all(|name| name.starts_with("others-")),
            "{others:?}"
        );
        workspace.destroy();
        complete(&workspace, &Sandbox, 0);
    });
}

#[test]
fn a_group_is_imported_by_its_identity() {
    // OpenTofu 1.12 knows ids only.
    let Some(core) = Core::find("terraform-newest") else {
        return;
    };
    let workspace = workspace(&core, &Sandbox);
    workspace.apply();
    let machines = complete(&workspace, &Sandbox, 3);
    let uid = workspace.state(GROUP).expect("the group")["uid"].clone();
    for identity in ["", &format!("uid = {uid}")] {
        workspace.run(&["state", "rm", GROUP]).success();
        let scope = Sandbox.scope(&workspace);
        let import = format!(
            r#"import {{
              to = {GROUP}
              identity = {{
                cloud = "sandbox"
                scope = "{scope}"
                cluster = "prod"
                name = "workers"
                {identity}
              }}
            }}"#
        );
        workspace.write("import.tf", &import);
        let plan = workspace.plan();
        assert_eq!(plan.rollout(GROUP), [], "{}", plan.text);
        assert!(plan.text.contains("1 to import"), "{}", plan.text);
        workspace.run(&["apply", "-no-color", "plan.out"]).success();
        assert_eq!(complete(&workspace, &Sandbox, 3), machines);
        settled(&workspace);
        fs::remove_file(workspace.path().join("import.tf")).expect("the import");
    }
}

#[test]
fn a_configuration_that_a_core_generates_from_an_import_is_valid() {
    under_each(|core| {
        let workspace = Workspace::new(core);
        let shape = r#"sandbox = { size = "large", tags = { team = "a" } }"#;
        let text = configuration(&Sandbox).replace("sandbox = {}", shape);
        workspace.write("main.tf", &text);
        workspace.apply();
        let machines = complete(&workspace, &Sandbox, 3);
        workspace.run(&["state", "rm", GROUP]).success();
        let id = format!("sandbox/{}/prod/workers", Sandbox.scope(&workspace));
        let import = format!("import {{\n to = {GROUP}\n id = \"{id}\"\n}}");
        workspace.write("main.tf", &instead(&import));
        let run = workspace.run(&["plan", "-no-color", "-generate-config-out=made.tf"]);
        run.success();
        let made = fs::read_to_string(workspace.path().join("made.tf")).expect("what was made");
        // Of the user data no cloud has more than what it booted: that is the user's to write.
        let rendered = "user_data = data.flatcar_ignition.worker.rendered";
        let lines = made
            .lines()
            .map(|line| match line.trim().split(' ').next() {
                Some("user_data") => rendered,
                _ => line,
            });
        let written = lines.collect::<Vec<_>>().join("\n");
        assert_ne!(written, made);
        workspace.write("made.tf", &written);
        let plan = workspace.plan();
        assert_eq!(plan.rollout(GROUP), [], "{made}\n{}", plan.text);
        workspace.apply();
        assert_eq!(complete(&workspace, &Sandbox, 3), machines);
        settled(&workspace);
    });
}

#[test]
fn a_saved_plan_that_the_cloud_has_overtaken_does_what_is_still_right() {
    under_each(|core| {
        let workspace = workspace(core, &Sandbox);
        workspace.apply();
        let first = complete(&workspace, &Sandbox, 3);
        let names: Vec<&String> = first.keys().collect();

        // A roll is planned, and a machine goes before it begins.
        workspace.variables(&json!({"message": "second"}));
        let planned = workspace.plan().rollout(GROUP);
        Sandbox.remove(&workspace, names[1]);
        let run = workspace.run(&["apply", "-no-color", "plan.out"]).success();
        let told = words(&run.stdout);
        assert!(told.contains("Group has changed since the plan"), "{told}");
        let lost = format!("delete of {} was not needed any more", names[1]);
        assert!(told.contains(&lost), "{told}");
        assert!(told.contains("nothing is left to do"), "{told}");
        let second = complete(&workspace, &Sandbox, 3);
        let creates = planned.iter().filter(|step| step.1 == "create");
        let creates: Vec<&String> = creates.map(|step| &step.0).collect();
        assert_eq!(second.keys().collect::<Vec<_>>(), creates);
        settled(&workspace);

        // Another machine is planned, and one of the others stops: it was not planned to go, and
        // stays until the next plan.
        let names: Vec<&String> = second.keys().collect();
        workspace.variables(&json!({"message": "second", "replicas": 4}));
        workspace.plan();
        stop(&workspace, names[0]);
        // Three serve, of four that were asked for: no success, and the state has all of them.
        let run = workspace.run(&["apply", "-no-color", "plan.out"]).failure();
        let left = format!(
            "{} would have to go and is left for the next plan: stopped",
            names[0]
        );
        let said = words(&format!("{}{}", run.stdout, run.stderr));
        for words in ["Fewer machines serve than wanted", &left] {
            assert!(said.contains(words), "{words} in {said}");
        }
        assert!(Sandbox.machines(&workspace).contains_key(names[0]));
        let rollout = workspace.plan().rollout(GROUP);
        assert_eq!(
            (rollout[0].0.as_str(), rollout[0].1.as_str()),
            (names[0].as_str(), "delete"),
            "{rollout:?}"
        );
        workspace.apply();
        complete(&workspace, &Sandbox, 4);
        settled(&workspace);
    });
}

/// The text without the frames of warnings and their line breaks.
fn words(text: &str) -> String {
    let lines = text.lines();
    let lines = lines.map(|line| line.trim_start_matches(['╷', '│', '╵', ' ']).trim_end());
    lines.collect::<Vec<_>>().join(" ")
}

fn stop(workspace: &Workspace, machine: &str) {
    let name = format!("cloud/machines/{machine}.json");
    let text = fs::read_to_string(workspace.path().join(&name)).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    record["stopped"] = json!(true);
    workspace.write(&name, &record.to_string());
}

#[test]
fn a_sandbox_that_another_process_holds_is_told_before_the_time_is_over() {
    let Some(core) = Core::find("terraform") else {
        return;
    };
    let workspace = Workspace::new(&core);
    workspace.write("main.tf", &with("timeouts = { read = \"5s\" }"));
    workspace.apply();
    let lock = File::options()
        .write(true)
        .open(workspace.path().join("cloud/lock"))
        .expect("the lock");
    lock.lock().expect("it is free");
    let errors = workspace.run(&["plan", "-no-color"]).failure().errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("held by another process"), "{errors:?}");
    assert!(errors[0].contains("in 5 seconds"), "{errors:?}");
    lock.unlock().expect("it is ours");
    settled(&workspace);

    order(&workspace, &json!({"quota": "many"}));
    let errors = workspace.run(&["plan", "-no-color"]).failure().errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    for word in ["faults.json", "a whole number from 0", "Correct the file"] {
        assert!(errors[0].contains(word), "{errors:?}");
    }
    assert_eq!(Sandbox.machines(&workspace), recorded(&workspace));
}
