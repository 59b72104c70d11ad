//! `ignore_changes` under real cores: after an import, and of what others change on machines.

use std::fs;

use serde_json::{Value, json};

use super::{GROUP, Stage, complete, configuration, settled};
use crate::clouds::sandbox::Sandbox;
use crate::core::{Core, Workspace};

/// Each under a Terraform that has every feature, and under OpenTofu.
fn under_each(check: fn(&Core)) {
    for name in ["terraform-newest", "tofu"] {
        if let Some(core) = Core::find(name) {
            println!("under {name}");
            check(&core);
        }
    }
}

/// A group of which no import reads everything; `ignored` is what its `ignore_changes` says.
fn ignoring(ignored: Option<&str>) -> String {
    let text = configuration(&Sandbox);
    let shape = r#"sandbox = { size = "large", boot_time = "10ms", tags = { owner = "us" } }"#;
    let lifecycle = ignored.map_or(String::new(), |ignored| {
        format!("lifecycle {{ ignore_changes = {ignored} }}")
    });
    let more = format!("{shape}\n replace_triggers = {{ kernel = \"1\" }}\n {lifecycle}");
    let changed = text.replace("sandbox = {}", &more);
    assert_ne!(changed, text);
    changed
}

#[test]
fn what_no_import_reads_and_the_configuration_ignores_rolls_nothing_and_makes_no_machine() {
    const USER_DATA: &str = "User data of new machines is not known";
    const SHAPE: &str = "Shape of new machines is not known";
    under_each(|core| {
        let workspace = Workspace::new(core);
        workspace.write("main.tf", &ignoring(None));
        workspace.apply();
        let id = format!("sandbox/{}/prod/workers", Sandbox.scope(&workspace));
        for (ignored, said) in [
            ("[user_data]", &[USER_DATA][..]),
            ("[sandbox]", &[SHAPE]),
            ("all", &[USER_DATA, SHAPE]),
            ("[replace_triggers]", &[]),
        ] {
            println!("ignoring {ignored}");
            let machines = complete(&workspace, &Sandbox, 3);
            workspace.run(&["state", "rm", GROUP]).success();
            workspace.write("main.tf", &ignoring(Some(ignored)));
            workspace
                .run(&["import", "-no-color", GROUP, &id])
                .success();
            workspace.apply();
            assert_eq!(complete(&workspace, &Sandbox, 3), machines);
            settled(&workspace);

            let lost = machines.keys().next().expect("a machine");
            Sandbox.remove(&workspace, lost);
            if said.is_empty() {
                workspace.apply();
            } else {
                let errors = workspace.run(&["plan", "-no-color"]).failure().errors();
                assert_eq!(errors.len(), said.len(), "{errors:?}");
                for words in said {
                    let is_said = errors.iter().any(|error| error.contains(words));
                    assert!(is_said, "{errors:?}");
                }
                // Written down it is known.
                workspace.write("main.tf", &ignoring(None));
                workspace.apply();
            }
            let now = complete(&workspace, &Sandbox, 3);
            let kept = machines.keys().filter(|name| now.contains_key(*name));
            assert_eq!(kept.count(), 2, "{now:?}");
            settled(&workspace);
        }
        workspace.destroy();
    });
}

#[test]
fn a_tag_that_others_rewrite_is_left_alone_where_it_is_ignored_and_changed_back_elsewhere() {
    under_each(|core| {
        let workspace = Workspace::new(core);
        workspace.write("main.tf", &ignoring(None));
        workspace.apply();
        let machines = complete(&workspace, &Sandbox, 3);
        let name = machines.keys().next().expect("a machine");
        let path = format!("cloud/machines/{name}.json");
        let record = || -> Value {
            let text = fs::read_to_string(workspace.path().join(&path)).expect("a record");
            serde_json::from_str(&text).expect("JSON")
        };
        let mut retagged = record();
        retagged["tags"]["owner"] = json!("policy");
        workspace.write(&path, &retagged.to_string());
        for ignored in ["[sandbox.tags]", "[sandbox]", "all"] {
            workspace.write("main.tf", &ignoring(Some(ignored)));
            settled(&workspace);
            workspace.apply();
            assert_eq!(record()["tags"]["owner"], "policy", "{ignored}");
        }
        workspace.write("main.tf", &ignoring(None));
        let plan = workspace.plan();
        assert_eq!(plan.actions(GROUP), ["update"], "{}", plan.text);
        workspace.apply();
        assert_eq!(record()["tags"]["owner"], "us");
        assert_eq!(complete(&workspace, &Sandbox, 3), machines);
        settled(&workspace);
    });
}
