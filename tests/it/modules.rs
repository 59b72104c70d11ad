//! The modules below `examples/modules`: each is valid and passes its own tests, under each core,
//! and has the files and the page that a registry shows. A new folder is picked up by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::core::{Core, Workspace};
use crate::harness::{ROOT, clouds_left_out};

/// Where users have them from; in a test they lie beside the configuration.
const SOURCE: &str = "github.com/flatcar-iac/terraform-provider-flatcar//examples/modules";

/// What each cloud has in words of its own, or has not.
const OF_ONE_CLOUD: [&str; 5] = ["image", "release", "spot", "tags", "zones"];

#[test]
fn every_module_passes_its_own_tests() {
    for name in ["terraform", "terraform-oldest", "tofu"] {
        let Some(core) = Core::find(name) else {
            continue;
        };
        for module in ours_alone() {
            let workspace = Workspace::new(&core);
            copy(&module, &workspace, "");
            workspace.run(&["validate", "-no-color"]).success();
            let run = workspace.run(&["test", "-no-color"]).success();
            let runs = runs(&module);
            let passed = format!("{runs} passed, 0 failed");
            assert!(
                runs > 0 && run.stdout.contains(&passed),
                "{name}: {}: not {passed}: {}",
                module.display(),
                run.stdout
            );
        }
    }
}

#[test]
fn every_module_has_what_a_registry_shows() {
    for module in modules() {
        let shown = module.display();
        let read = |file: &str| {
            fs::read_to_string(module.join(file))
                .unwrap_or_else(|_| panic!("{shown} has no {file}"))
        };
        read("main.tf");
        read("versions.tf");
        let page = read("README.md");
        for (file, start) in [("variables.tf", "variable \""), ("outputs.tf", "output \"")] {
            let text = read(file);
            let blocks: Vec<&str> = text.split("\n}\n").collect();
            for block in blocks {
                let Some(name) = block.trim_start().strip_prefix(start) else {
                    continue;
                };
                let name = name.split('"').next().expect("a name");
                assert!(block.contains("description"), "{shown}: {name}");
                assert!(
                    page.contains(&format!("\n| `{name}` |")),
                    "{shown}/README.md does not list `{name}`"
                );
            }
        }
        assert!(runs(&module) > 0, "{shown} has no tests");
    }
}

/// A module is had alone, so what all clouds take and give is written in each: in the same words.
#[test]
fn what_the_modules_of_clouds_share_is_written_alike() {
    let mut written: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for module in modules() {
        let place = place(&module);
        if place.contains('/') || place == "cluster-workers" {
            continue;
        }
        for file in ["variables.tf", "outputs.tf"] {
            let text = fs::read_to_string(module.join(file)).expect("a module");
            for block in text.split("\n}\n") {
                let (head, body) = block.split_once('{').unwrap_or((block, ""));
                let of = written.entry(head.trim().to_owned()).or_default();
                of.insert(place.clone(), body.to_owned());
            }
        }
    }
    let is_own = |head: &String| {
        OF_ONE_CLOUD
            .iter()
            .any(|name| head.contains(&format!("\"{name}\"")))
    };
    let mut shared = 0;
    for (head, of) in written
        .iter()
        .filter(|(head, of)| of.len() > 1 && !is_own(head))
    {
        shared += 1;
        let texts: BTreeSet<&String> = of.values().collect();
        assert_eq!(texts.len(), 1, "{head}: {:?}", of.keys());
    }
    assert!(shared > 10, "{shared}");
}

/// The modules have what is written there, and take it.
#[test]
fn what_the_modules_pages_write_is_what_they_take() {
    let Some(core) = Core::find("terraform-newest") else {
        return;
    };
    for module in ours_alone() {
        let page = fs::read_to_string(module.join("README.md")).expect("a page");
        let block = page.split("\n```hcl\n").nth(1).expect("a configuration");
        let block = block.split("\n```").next().expect("its end");
        let workspace = Workspace::new(&core);
        for other in modules() {
            copy(&other, &workspace, &format!("modules/{}/", place(&other)));
        }
        let block = block.replace(SOURCE, "./modules");
        assert!(block.contains("./modules/"), "{}", module.display());
        workspace.write("main.tf", &block);
        workspace.write("worker.yaml", "variant: flatcar\nversion: 1.1.0\n");
        workspace.run(&["get", "-no-color"]).success();
        workspace.run(&["validate", "-no-color"]).success();
    }
}

/// Every folder with a module.
fn modules() -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&Path::new(ROOT).join("examples/modules"), &mut found);
    assert!(found.len() > 4, "{found:?}");
    found
}

/// Those that need no other provider, for these cannot be had here, and no cloud that this build
/// has not.
fn ours_alone() -> Vec<PathBuf> {
    let left_out = clouds_left_out();
    let has = |module: &PathBuf| {
        let needed = fs::read_to_string(module.join("versions.tf")).expect("a module");
        if !needed.contains("\"flatcar-iac/flatcar\"") {
            return false;
        }
        let text = fs::read_to_string(module.join("main.tf")).expect("a module");
        let lacks = |cloud: &&String| text.contains(&format!("\n  {cloud} = "));
        let Some(cloud) = left_out.iter().find(lacks) else {
            return true;
        };
        println!("{}: this build has no {cloud}", module.display());
        false
    };
    modules().into_iter().filter(has).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("main.tf").exists() {
        found.push(folder.to_owned());
    }
    let entries = fs::read_dir(folder).expect("a folder of ours");
    let mut paths: Vec<PathBuf> = entries.map(|it| it.expect("an entry").path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.is_dir()) {
        walk(path, found);
    }
}

/// Below `examples/modules`.
fn place(module: &Path) -> String {
    let all = Path::new(ROOT).join("examples/modules");
    let place = module.strip_prefix(all).expect("one of the modules");
    place.display().to_string()
}

/// How many `run` blocks its tests have.
fn runs(module: &Path) -> usize {
    let Ok(entries) = fs::read_dir(module.join("tests")) else {
        return 0;
    };
    let texts = entries.map(|it| fs::read_to_string(it.expect("an entry").path()).expect("a text"));
    let runs = |text: String| {
        text.lines()
            .filter(|line| line.starts_with("run \""))
            .count()
    };
    texts.map(runs).sum()
}

/// The files of one module, and not of those below it.
fn copy(module: &Path, workspace: &Workspace, below: &str) {
    for entry in fs::read_dir(module).expect("a folder of ours") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("a plain name");
        if name == "tests" {
            copy(&path, workspace, &format!("{below}tests/"));
        } else if path.is_file() {
            let text = fs::read_to_string(&path).expect("a text");
            workspace.write(&format!("{below}{name}"), &text);
        }
    }
}
