//! The whole life of a worker group under real cores.

use crate::core::{Core, Workspace};

/// Name in `tests/cores/core.sh`, and how its version starts.
const CORES: [(&str, &str); 4] = [
    ("terraform", "Terraform v1."),
    ("terraform-newest", "Terraform v1.15."),
    ("terraform-oldest", "Terraform v1.8."),
    ("tofu", "OpenTofu v1.12."),
];

#[test]
fn every_core_is_of_the_version_that_it_is_meant_to_be() {
    for (name, version) in CORES {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let run = Workspace::new(&core).run(&["version"]).success();
        assert!(run.stdout.starts_with(version), "{name}: {}", run.stdout);
    }
}
