//! The plan of a data source that is read during apply: core prints its configuration, and no
//! secret may stand in it.

use super::CORES;
use crate::core::{Core, Workspace};

const SECRET: &str = "hunter2hunter2";

/// A config that is known only when something else has been made.
const CONFIGURATION: &str = r#"
    terraform {
      required_providers {
        flatcar = { source = "flatcar-iac/flatcar" }
      }
    }
    resource "terraform_data" "first" {}
    data "flatcar_ignition" "late" {
      content = <<-EOT
        variant: flatcar
        version: 1.1.0
        storage:
          files:
            - path: /etc/token
              mode: 0600
              contents:
                inline: hunter2hunter2
            - path: /etc/id
              mode: 0600
              contents:
                inline: ${terraform_data.first.id}
      EOT
      snippets = [<<-EOT
        variant: flatcar
        version: 1.1.0
        passwd:
          users:
            - name: core
              password_hash: hunter2hunter2
      EOT
      ]
      updates = { reboot_strategy = "off", server = "https://user:hunter2hunter2@updates.example.com" }
      proxy = {
        http_proxy  = "http://user:hunter2hunter2@proxy.example.com:3128"
        https_proxy = "http://user:hunter2hunter2@proxy.example.com:3128"
      }
    }
    output "sha256" { value = data.flatcar_ignition.late.sha256 }
"#;

#[test]
fn what_is_read_during_apply_shows_neither_secrets_nor_defaults_as_unknown() {
    for (name, _) in CORES {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let workspace = Workspace::new(&core);
        workspace.write("main.tf", CONFIGURATION);
        let plan = workspace.run(&["plan", "-no-color"]).success().stdout;
        assert!(!plan.contains(SECRET), "{name}: {plan}");
        // Core aligns what it prints.
        let words = plan.split_whitespace().collect::<Vec<_>>().join(" ");
        for line in [
            "data.flatcar_ignition.late will be read during apply",
            "+ content = (sensitive value)",
            "+ http_proxy = (sensitive value)",
            "+ server = (sensitive value)",
        ] {
            assert!(words.contains(line), "{name}: no {line:?} in {plan}");
        }
        for default in [
            "strict",
            "pretty_print",
            "output_format",
            "compress",
            "automatic",
            "profile",
        ] {
            assert!(
                !plan
                    .lines()
                    .any(|line| line.trim_start().starts_with(&format!("+ {default} "))),
                "{name}: {default} in {plan}"
            );
        }
        let applied = workspace.apply().success();
        assert!(!applied.stdout.contains(SECRET), "{name}");
        let shown = workspace.run(&["show", "-no-color"]).success().stdout;
        assert!(!shown.contains(SECRET), "{name}: {shown}");
        // Nothing has changed since: what was null stays null.
        let again = workspace.plan();
        assert_eq!(
            again.actions("data.flatcar_ignition.late"),
            Vec::<String>::new(),
            "{name}"
        );
    }
}
