//! What a user reads in a plan under real cores: what stays is not shown as going, steps are shown
//! whole, `for_each` plans at once.

use serde_json::{Value, json};

use super::{GROUP, Stage, complete, configuration, settled, workspace};
use crate::clouds::sandbox::{Sandbox, order};
use crate::core::{Core, Plan, Workspace};
use crate::harness::ROOT;

/// The oldest and the newest Terraform, and OpenTofu.
fn under_each(check: fn(&Core)) {
    for name in ["terraform-newest", "terraform-oldest", "tofu"] {
        if let Some(core) = Core::find(name) {
            println!("under {name}");
            check(&core);
        }
    }
}

/// Lines of a plan's text that take something away.
fn taken_away(plan: &Plan) -> Vec<&str> {
    let (_, actions) = plan.text.split_once("following actions:").expect("actions");
    let lines = actions.lines().map(str::trim_start);
    lines.filter(|line| line.starts_with("- ")).collect()
}

/// Addresses and actions of all that a plan changes, but for the group.
fn others(plan: &Plan) -> Vec<String> {
    let changes = plan.json["resource_changes"].as_array();
    let changes = changes.into_iter().flatten();
    changes
        .filter(|change| change["address"] != GROUP && change["mode"] == "managed")
        .filter(|change| change["change"]["actions"] != json!(["no-op"]))
        .map(|change| {
            let actions = change["change"]["actions"].as_array().expect("actions");
            let words: Vec<&str> = actions.iter().filter_map(Value::as_str).collect();
            format!(
                "{} {}",
                words.join("+"),
                change["address"].as_str().unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn what_is_made_for_each_slot_plans_at_once_and_changes_only_with_its_machine() {
    under_each(|core| {
        let workspace = Workspace::new(core);
        let example = std::fs::read_to_string(format!("{ROOT}/examples/slots/main.tf"));
        workspace.write("main.tf", &example.expect("the example"));
        let record = |number: usize| format!(r#"terraform_data.record["{number}"]"#);
        let plan = workspace.plan();
        let all: Vec<String> = (0..3).map(|n| format!("create {}", record(n))).collect();
        assert_eq!(others(&plan), all, "{}", plan.text);
        workspace.apply();
        settled(&workspace);
        let addresses = |workspace: &Workspace| -> Vec<Value> {
            let slots = workspace.state(GROUP).expect("the group")["slots"].clone();
            let slots = slots.as_object().expect("slots").len();
            let record = |n| workspace.state(&record(n)).expect("a record")["output"].clone();
            (0..slots).map(record).collect()
        };
        let first = addresses(&workspace);
        assert!(
            first.iter().all(|record| record["address"].is_string()),
            "{first:?}"
        );

        // Out: nothing but what is added.
        workspace.variables(&json!({"replicas": 4}));
        let plan = workspace.plan();
        assert_eq!(
            others(&plan),
            [format!("create {}", record(3))],
            "{}",
            plan.text
        );
        assert_eq!(taken_away(&plan), [""; 0], "{}", plan.text);
        workspace.apply();
        settled(&workspace);
        assert_eq!(addresses(&workspace)[..3], first);

        // A roll changes each in place; the address of each slot is its new machine's.
        workspace.variables(&json!({"replicas": 4, "message": "second"}));
        let plan = workspace.plan();
        let all: Vec<String> = (0..4).map(|n| format!("update {}", record(n))).collect();
        assert_eq!(others(&plan), all, "{}", plan.text);
        workspace.apply();
        settled(&workspace);
        let second = addresses(&workspace);
        assert!(
            first
                .iter()
                .zip(&second)
                .all(|(a, b)| a["address"] != b["address"] && a["name"] == b["name"])
        );

        // One is lost: its record alone changes.
        let group = workspace.state(GROUP).expect("the group");
        let lost = group["slots"]["1"].as_str().expect("a name").to_owned();
        let place = workspace
            .path()
            .join(format!(".flatcar-sandbox/machines/{lost}.json"));
        std::fs::remove_file(place).expect("a record");
        let plan = workspace.plan();
        assert_eq!(
            others(&plan),
            [format!("update {}", record(1))],
            "{}",
            plan.text
        );
        workspace.apply();
        settled(&workspace);

        // In: the newest one goes, which is what took the lost one's slot, and no other record
        // changes; out: the free slot is filled first.
        workspace.variables(&json!({"replicas": 3, "message": "second"}));
        let plan = workspace.plan();
        assert_eq!(
            others(&plan),
            [format!("delete {}", record(1))],
            "{}",
            plan.text
        );
        // The condition on rollout stops what is too much.
        workspace.apply();
        workspace.variables(&json!({"replicas": 9, "message": "second"}));
        workspace.apply();
        workspace.variables(&json!({"replicas": 3, "message": "second"}));
        let errors = workspace.run(&["plan", "-no-color"]).failure().errors();
        assert!(errors[0].contains("More than five machines"), "{errors:?}");
        workspace.variables(&json!({"replicas": 9, "message": "second"}));
        settled(&workspace);
        workspace.destroy();
    });
}

#[test]
fn a_plan_shows_all_of_its_steps_and_what_was_done_is_no_change() {
    under_each(|core| {
        let workspace = workspace(core, &Sandbox);
        workspace.apply();
        let unchanged = |workspace: &Workspace| {
            for arguments in [
                &["plan", "-no-color", "-detailed-exitcode"][..],
                &["plan", "-no-color", "-detailed-exitcode", "-refresh=false"],
            ] {
                let run = workspace.run(arguments);
                assert_eq!(
                    run.status.code(),
                    Some(0),
                    "{arguments:?}\n{}{}",
                    run.stdout,
                    run.stderr
                );
                assert!(!run.stdout.contains("changed outside"), "{}", run.stdout);
            }
            let run = workspace
                .run(&["plan", "-no-color", "-refresh-only"])
                .success();
            assert!(run.stdout.contains("No changes."), "{}", run.stdout);
        };
        unchanged(&workspace);

        // Deletes are refused twice: the third plan shows the same steps, all of them.
        workspace.variables(&json!({"replicas": 1}));
        let refused = json!({"rules": [{"call": "delete", "times": 0, "fault": "forbidden"}]});
        order(&workspace, &refused);
        let mut shown = Vec::new();
        for _ in 0..3 {
            let plan = workspace.plan();
            let steps: Vec<String> = plan
                .text
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix("+ \"delete "))
                .map(str::to_owned)
                .collect();
            assert_eq!(steps.len(), 2, "{}", plan.text);
            shown.push(steps);
            workspace.run(&["apply", "-no-color", "plan.out"]).failure();
            let group = workspace.state(GROUP).expect("the group");
            assert_eq!(group["rollout"], json!([]), "nothing was done");
        }
        assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:?}");
        Sandbox.go_on(&workspace);
        workspace.apply();
        complete(&workspace, &Sandbox, 1);
        let group = workspace.state(GROUP).expect("the group");
        assert_eq!(
            group["rollout"].as_array().map(Vec::len),
            Some(2),
            "history"
        );
        unchanged(&workspace);
        workspace.destroy();
    });
}

#[test]
fn a_plan_that_a_loss_has_overtaken_ends_in_an_error_and_the_next_one_is_empty() {
    under_each(|core| {
        let workspace = workspace(core, &Sandbox);
        workspace.apply();
        let first = complete(&workspace, &Sandbox, 3);
        workspace.variables(&json!({"replicas": 4}));
        workspace.plan();
        let lost = first.keys().next().expect("a machine");
        Sandbox.remove(&workspace, lost);
        let run = workspace.run(&["apply", "-no-color", "plan.out"]).failure();
        let errors = run.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        for words in ["Group has changed since the plan", lost, "Plan again"] {
            assert!(errors[0].contains(words), "{words} in {errors:?}");
        }
        complete(&workspace, &Sandbox, 4);
        settled(&workspace);
        workspace.destroy();
    });
}

#[test]
fn a_plan_of_many_machines_is_readable() {
    let Some(core) = Core::find("terraform-newest") else {
        return;
    };
    let workspace = workspace(&core, &Sandbox);
    let text = configuration(&Sandbox).replace(
        "var.parallelism }",
        "var.parallelism, max_surge = \"100%\", canary = false }",
    );
    workspace.write("main.tf", &text);
    workspace.variables(&json!({"replicas": 60, "parallelism": 60}));
    workspace.apply();
    workspace.variables(&json!({"replicas": 60, "parallelism": 60, "message": "second"}));
    let plan = workspace.plan();
    assert_eq!(plan.rollout(GROUP).len(), 120);
    let lines: Vec<&str> = plan.text.lines().collect();
    println!("{} lines for a roll of 60", lines.len());
    assert!(lines.len() < 60 * 16, "{} lines", lines.len());
    // The last that is read is how many, and why.
    let end = lines[lines.len().saturating_sub(16)..].join("\n");
    assert!(end.contains("60 machines are deleted"), "{end}");
    assert!(
        end.contains("60: user_data: file /etc/motd changed"),
        "{end}"
    );
    workspace.destroy();
}
