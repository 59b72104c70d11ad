//! Every example in the docs is a configuration that a core accepts.

use std::fs;
use std::path::{Path, PathBuf};

use crate::core::{Core, Workspace};
use crate::harness::ROOT;

/// The quickstart is applied as a whole by `end_to_end`.
const APPLIED: &str = "quickstart";

#[test]
fn every_example_is_valid() {
    // The newest has all that an example may use; the oldest has neither ephemeral resources nor write-only attributes.
    let Some(core) = Core::find("terraform-newest") else {
        return;
    };
    let mut found = Vec::new();
    walk(&Path::new(ROOT).join("examples"), &mut found);
    assert!(!found.is_empty());
    for path in found {
        let text = fs::read_to_string(&path).expect("an example");
        if text.contains(" aws ") && !cfg!(feature = "aws") {
            println!("{}: this build has no AWS", path.display());
            continue;
        }
        let workspace = Workspace::new(&core);
        workspace.write("example.tf", &ours(&text));
        beside(path.parent().expect("below examples/"), &workspace, "");
        if !text.contains("required_providers") {
            workspace.write(
                "source.tf",
                "terraform {\n  required_providers {\n    flatcar = { source = \"flatcar-iac/flatcar\" }\n  }\n}\n",
            );
        }
        let run = workspace.run(&["validate", "-no-color"]);
        assert!(
            run.status.success(),
            "{}: {}\n{}",
            path.display(),
            run.stdout,
            run.stderr
        );
    }
}

/// The example without the top-level blocks of other providers, which cannot be had here.
fn ours(text: &str) -> String {
    let mut kept = String::new();
    let mut foreign = false;
    for line in text.lines() {
        let of = |start: &str| Some(line.strip_prefix(start)?.split('"').next()?.to_owned());
        if let Some(of) = of("resource \"")
            .or_else(|| of("data \""))
            .or_else(|| of("provider \""))
        {
            foreign = !of.starts_with("flatcar") && !of.starts_with("terraform_");
        }
        if !foreign {
            kept.push_str(line);
            kept.push('\n');
        }
        foreign = foreign && line != "}";
    }
    kept
}

/// What an example reads lies beside it.
fn beside(folder: &Path, workspace: &Workspace, below: &str) {
    for entry in fs::read_dir(folder).expect("a folder of ours") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let place = format!("{below}{}", name.expect("a plain name"));
        if path.is_dir() {
            beside(&path, workspace, &format!("{place}/"));
        } else if path.extension().is_none_or(|end| end != "tf") {
            let text = fs::read_to_string(&path).expect("a text");
            workspace.write(&place, &text);
        }
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of ours") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with(APPLIED) {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "tf") {
            found.push(path);
        }
    }
}
