//! The pages below `docs/` are such as a registry shows: its own tool, `tfplugindocs`, reads them
//! beside the schema that a core has of us, and what they link to is there for its readers.

use std::path::{Path, PathBuf};
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

#[test]
fn the_workflows_are_such_as_their_own_check_accepts() {
    let Some(tool) = built("actionlint") else {
        return;
    };
    // Without the shell's own check, which may or may not be on a machine.
    let check = Command::new(tool)
        .args(["-shellcheck=", "-pyflakes="])
        .current_dir(ROOT)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success(), "{said}");
}

/// What a registry shows of `docs/`, beside `index.md`.
const SHOWN: [&str; 5] = [
    "data-sources",
    "ephemeral-resources",
    "functions",
    "guides",
    "resources",
];
/// Where a reader of the registry finds the rest.
const REPOSITORY: &str = "https://github.com/flatcar-iac/terraform-provider-flatcar/blob/main/";

#[test]
fn what_the_docs_link_to_is_there_for_who_reads_them_in_a_registry() {
    let docs = Path::new(ROOT).join("docs");
    let mut pages = vec![docs.join("index.md")];
    for folder in SHOWN {
        let entries = std::fs::read_dir(docs.join(folder)).unwrap();
        pages.extend(entries.map(|entry| entry.unwrap().path()));
    }
    let mut wrong = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        let place = page.parent().unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if !leads_somewhere(link, place, &pages) {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a link of a page in this folder leads to another page, to a file of the repository, or
/// to somebody else's.
fn leads_somewhere(link: &str, place: &Path, pages: &[PathBuf]) -> bool {
    let file = link.split('#').next().unwrap();
    match file.strip_prefix(REPOSITORY) {
        Some(file) => Path::new(ROOT).join(file).is_file(),
        None if file.is_empty() || file.contains("://") => true,
        None => {
            let file = place.join(file).canonicalize().ok();
            pages.iter().any(|page| page.canonicalize().ok() == file)
        }
    }
}
