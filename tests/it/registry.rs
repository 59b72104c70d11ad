//! The pages below `docs/` are such as a registry shows: its own tool, `tfplugindocs`, reads them beside the schema that a core has of us.

use std::process::Command;

use serde_json::{Value, json};

use crate::consumers::built;
use crate::core::{Core, Workspace};
use crate::harness::{ROOT, scratch};

#[test]
fn the_registrys_own_check_accepts_the_docs() {
    let (Some(core), Some(tool)) = (Core::find("terraform-newest"), built("tfplugindocs")) else {
        return;
    };
    let workspace = Workspace::new(&core);
    workspace.write(
        "main.tf",
        "terraform {\n  required_providers {\n    flatcar = { source = \"flatcar-iac/flatcar\" }\n  }\n}\n",
    );
    let shown = workspace.run(&["providers", "schema", "-json"]).success();
    let mut schemas: Value = serde_json::from_str(&shown.stdout).unwrap();
    // The tool looks for the bare name.
    let ours = &schemas["provider_schemas"]["registry.terraform.io/flatcar-iac/flatcar"];
    schemas["provider_schemas"] = json!({ "flatcar": ours });
    let scratch = scratch();
    let file = scratch.path().join("schemas.json");
    std::fs::write(&file, schemas.to_string()).unwrap();
    let check = Command::new(tool)
        .args(["validate", "--provider-name", "flatcar", "--provider-dir"])
        .arg(ROOT)
        .arg("--providers-schema")
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        check.status.success(),
        "{}{}",
        String::from_utf8_lossy(&check.stdout),
        String::from_utf8_lossy(&check.stderr)
    );
}
