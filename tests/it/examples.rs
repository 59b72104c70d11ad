//! Every example in the docs is a configuration that a core accepts.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::core::{Core, Workspace};
use crate::harness::{ROOT, clouds_left_out};

/// The quickstart is applied as a whole by `end_to_end`, the modules are tested by `modules`, the
/// others are here.
const APPLIED: [&str; 5] = [
    "quickstart",
    "testing",
    "canary",
    "several-groups",
    "modules",
];

const SOURCE: &str = "terraform {\n  required_providers {\n    flatcar = { source = \"flatcar-iac/flatcar\" }\n  }\n}\n";

#[test]
fn every_example_is_valid() {
    // The newest has all that an example may use; the oldest has neither ephemeral resources nor
    // write-only attributes.
    let Some(core) = Core::find("terraform-newest") else {
        return;
    };
    let mut found = Vec::new();
    walk(&Path::new(ROOT).join("examples"), &mut found);
    assert!(!found.is_empty());
    for path in found {
        let text = fs::read_to_string(&path).expect("an example");
        // What a group on a cloud is written with.
        let lacks = |cloud: &String| text.contains(&format!(" {cloud} "));
        if clouds_left_out().iter().any(lacks) {
            println!("{}: this build has not its cloud", path.display());
            continue;
        }
        let workspace = Workspace::new(&core);
        workspace.write("example.tf", &ours(&text));
        beside(path.parent().expect("below examples/"), &workspace, "");
        if !text.contains("required_providers") {
            workspace.write("source.tf", SOURCE);
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

/// What a block of a page leaves to the reader: the rest of a configuration.
const LEFT_OUT: [&str; 3] = [
    "Reference to undeclared resource",
    "Reference to undeclared input variable",
    "Reference to undeclared local value",
];

#[test]
fn what_the_guides_write_is_what_the_schemas_take() {
    let Some(core) = Core::find("terraform-newest") else {
        return;
    };
    let mut tried = 0;
    for (page, number, block) in blocks() {
        // Tests of modules are run beside, on the module.
        let lacks = |cloud: &String| {
            format!("\n{block}").contains(&format!("\n{cloud} "))
                || block.contains(&format!(" {cloud} "))
        };
        if clouds_left_out().iter().any(lacks) || block.contains("\nrun \"") {
            continue;
        }
        let workspace = Workspace::new(&core);
        workspace.write("main.tf", &read_here(&whole(&ours(&block)), &workspace));
        if !block.contains("required_providers") {
            workspace.write("source.tf", SOURCE);
        }
        let run = workspace.run(&["validate", "-json"]);
        let said: Value = serde_json::from_str(&run.stdout).expect("JSON");
        let said = said["diagnostics"].as_array().expect("diagnostics");
        let wrong: Vec<String> = said
            .iter()
            .filter(|it| it["severity"] == "error")
            .filter(|it| !LEFT_OUT.iter().any(|known| it["summary"] == *known))
            .map(|it| format!("{} {}", it["summary"], it["detail"]))
            .collect();
        assert!(
            wrong.is_empty(),
            "{page}, block {number}: {wrong:#?}\n{block}"
        );
        tried += 1;
    }
    assert!(tried > 10, "{tried} blocks");
}

/// Arguments alone are those of a data source or a group, and `# ...` stands for what every group
/// has.
fn whole(block: &str) -> String {
    const OF_IGNITION: [&str; 3] = ["updates = ", "proxy = ", "ssh_authorized_keys = "];
    const GROUP: [(&str, &str); 6] = [
        ("cluster", "\"prod\""),
        ("name", "\"workers\""),
        ("replicas", "3"),
        ("image", "\"an-image\""),
        (
            "user_data",
            "\"{\\\"ignition\\\": {\\\"version\\\": \\\"3.3.0\\\"}}\"",
        ),
        ("sandbox", "{}"),
    ];
    let is_argument = block.lines().next().is_some_and(|line| {
        let word = line.split([' ', '{']).next().unwrap_or_default();
        line.starts_with("lifecycle") || line[word.len()..].starts_with(" = ")
    });
    let block = match is_argument {
        true if OF_IGNITION.iter().any(|name| block.starts_with(name)) => {
            return format!("data \"flatcar_ignition\" \"x\" {{\n{block}}}\n");
        }
        true => format!("resource \"flatcar_worker_group\" \"workers\" {{\n# ...\n{block}}}\n"),
        false => block.to_owned(),
    };
    let has = |name: &str| {
        let is_it = |line: &str| line.trim_start().split([' ', '=']).next() == Some(name);
        let stands_for = match name {
            "user_data" => "user_data_wo",
            "sandbox" => "aws",
            other => other,
        };
        block.lines().any(is_it) || block.contains(&format!("{stands_for} "))
    };
    let rest = GROUP.iter().filter(|(name, _)| !has(name));
    let rest: String = rest
        .map(|(name, value)| format!("  {name} = {value}\n"))
        .collect();
    block.replacen("# ...\n", &rest, 1)
}

/// What a block reads lies in the workspace.
fn read_here(block: &str, workspace: &Workspace) -> String {
    let block = block
        .replace("file(\"~/", "file(\"")
        .replace("${path.module}/", "");
    for call in block.split("file(\"").skip(1) {
        let name = call.split('"').next().unwrap_or_default();
        let place = Path::new(ROOT).join("examples/data-sources/flatcar_ignition/files");
        let text = match name.rsplit('.').next() {
            Some("crt" | "pem") => fs::read_to_string(place.join("cluster-ca.crt")).expect("ours"),
            Some("pub") => format!(
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} core",
                "A".repeat(43)
            ),
            _ => "variant: flatcar\nversion: 1.0.0\n".to_owned(),
        };
        workspace.write(name, &text);
    }
    block
}

/// The configurations in the pages: page, number and text.
fn blocks() -> Vec<(String, usize, String)> {
    let docs = Path::new(ROOT).join("docs");
    let guides = fs::read_dir(docs.join("guides")).expect("the guides");
    let mut pages: Vec<PathBuf> = guides.map(|entry| entry.expect("a page").path()).collect();
    pages.push(docs.join("index.md"));
    pages.sort();
    let mut blocks = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page");
        let name = page.file_name().and_then(|name| name.to_str());
        let fences = text.split("\n```").skip(1).step_by(2);
        for (number, fence) in fences.enumerate() {
            let (language, block) = fence.split_once('\n').unwrap_or_default();
            if ["hcl", "terraform"].contains(&language) {
                let name = name.expect("a plain name").to_owned();
                blocks.push((name, number + 1, format!("{block}\n")));
            }
        }
    }
    blocks
}

/// As the guide has it, file by file.
#[test]
fn a_module_is_tested_as_the_guide_says() {
    let place = Path::new(ROOT).join("examples/testing");
    let guide = fs::read_to_string(Path::new(ROOT).join("docs/guides/testing-modules.md"));
    let guide = guide.expect("the guide");
    for file in [
        "main.tf",
        "tests/mocked.tftest.hcl",
        "tests/sandbox.tftest.hcl",
    ] {
        let text = fs::read_to_string(place.join(file)).expect("a file of the module");
        assert!(guide.contains(&text), "the guide shows another {file}");
    }
    if !cfg!(feature = "aws") {
        println!("the module is for AWS, which this build has not");
        return;
    }
    for name in ["terraform", "terraform-oldest", "tofu"] {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let workspace = Workspace::new(&core);
        for file in ["main.tf", "worker.yaml"] {
            workspace.write(file, &fs::read_to_string(place.join(file)).expect("a text"));
        }
        beside(&place.join("tests"), &workspace, "tests/");
        let run = workspace.run(&["test", "-no-color"]);
        let passed = run.stdout.contains("3 passed, 0 failed");
        assert!(
            run.status.success() && passed,
            "{name}: {}\n{}",
            run.stdout,
            run.stderr
        );
        // The provider itself is asked to plan: what a mock could have made up is refused there.
        let main = fs::read_to_string(place.join("main.tf")).expect("a text");
        let real = main
            .replace("data.flatcar_ignition.worker.rendered", "\"a1b2c3d4\"")
            .replace("data.flatcar_image.stable.image", "\"ami-0a1b2c3d\"")
            .replace("data \"flatcar_i", "data \"other_i");
        let kept: String = ours(&real);
        workspace.write("main.tf", &kept);
        let run = workspace.run(&["plan", "-no-color", "-var", "sandbox=true"]);
        assert!(
            !run.status.success() && run.stderr.contains("User data is not Ignition JSON"),
            "{name}: {}\n{}",
            run.stdout,
            run.stderr
        );
    }
}

/// With the commands of `docs/guides/upgrading-flatcar.md`.
#[test]
fn a_canary_gets_a_release_before_the_others() {
    let (old, new) = ("flatcar-stable-4593.2.4", "flatcar-stable-4593.2.5");
    for name in ["terraform", "tofu"] {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let workspace = example(&core, "canary");
        let images = |variables: &[&str]| {
            let more = variables.iter().flat_map(|one| ["-var", one]);
            let arguments = ["apply", "-no-color", "-auto-approve"].into_iter();
            let arguments: Vec<&str> = arguments.chain(more).collect();
            let run = workspace.run(&arguments).success();
            (output(&workspace, "images"), run.stdout)
        };
        let next = format!("next={new}");
        let proved = format!("proved={new}");
        let (first, _) = images(&[&format!("next={old}")]);
        assert_eq!(first, json!({"canary": old, "workers": old}), "{name}");
        let (second, shown) = images(&[&next]);
        assert_eq!(second, json!({"canary": new, "workers": old}), "{name}");
        assert!(shown.contains("1 changed"), "{name}: {shown}");
        let (third, shown) = images(&[&next, &proved]);
        assert_eq!(third, json!({"canary": new, "workers": new}), "{name}");
        assert!(shown.contains("1 changed"), "{name}: {shown}");
    }
}

#[test]
fn several_groups_are_one_map() {
    for name in ["terraform", "tofu"] {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let workspace = example(&core, "several-groups");
        workspace.apply();
        let machines = output(&workspace, "machines");
        assert_eq!(machines, json!({"general": 3, "batch": 2}), "{name}");
        // One that is taken out leaves the others alone.
        workspace.variables(&json!({"groups": {"batch": {"replicas": 2, "size": "large", "motd": "a worker for what may be interrupted"}}}));
        let run = workspace.apply();
        let done = "0 added, 0 changed, 1 destroyed";
        assert!(run.stdout.contains(done), "{name}: {}", run.stdout);
    }
}

/// A workspace with all files of an example.
fn example(core: &Core, name: &str) -> Workspace {
    let place = Path::new(ROOT).join("examples").join(name);
    let workspace = Workspace::new(core);
    beside(&place, &workspace, "");
    let main = fs::read_to_string(place.join("main.tf"));
    workspace.write("main.tf", &main.expect("an example"));
    workspace
}

fn output(workspace: &Workspace, name: &str) -> Value {
    let shown = workspace.run(&["output", "-json", name]).success();
    serde_json::from_str(&shown.stdout).expect("JSON")
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
        if path.is_dir() && !APPLIED.iter().any(|name| path.ends_with(name)) {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "tf") {
            found.push(path);
        }
    }
}
