//! `flatcar_image` and `flatcar_releases` under real cores: a case per family of platforms, and
//! what a user sees when something is wrong.

use crate::core::{Core, Workspace};
use crate::harness::ROOT;

const PROVIDER: &str = r#"
terraform {
  required_providers {
    flatcar = { source = "flatcar-iac/flatcar" }
  }
}
provider "flatcar" {
  release_server = {
    url          = "file://ROOT/examples/quickstart/release/{channel}/{arch}"
    feed_url     = "file://ROOT/examples/quickstart/release"
    signing_keys = file("ROOT/examples/quickstart/release/demo-key.asc")
  }
}
"#;

const FAMILIES: &str = r#"
data "flatcar_image" "all" {
  for_each = toset(["aws", "azure", "gcp", "openstack", "qemu"])
  platform = each.key
  region   = each.key == "aws" ? "us-east-1" : null
}
data "flatcar_image" "constraint" {
  platform = "openstack"
  version  = "~> 4593.2.1"
}
data "flatcar_releases" "stable" {
  channel = "stable"
}
output "images" {
  value = { for name, image in data.flatcar_image.all : name => image.image }
}
output "facts" {
  value = [
    data.flatcar_image.constraint.version,
    data.flatcar_image.constraint.ignition_spec,
    data.flatcar_image.constraint.components.kernel,
    data.flatcar_image.all["azure"].azure.offer,
    tostring(data.flatcar_image.all["azure"].azure.plan == null),
    data.flatcar_releases.stable.releases[0].version,
    tostring(length(data.flatcar_releases.stable.releases)),
  ]
}
"#;

fn workspace(core: &Core, more: &str) -> Workspace {
    let workspace = Workspace::new(core);
    workspace.write("provider.tf", &PROVIDER.replace("ROOT", ROOT));
    workspace.write("main.tf", more);
    workspace
}

#[test]
fn images_of_every_family_are_read_by_every_core() {
    for name in ["terraform", "tofu"] {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let workspace = workspace(&core, FAMILIES);
        workspace.apply().success();
        let outputs: serde_json::Value =
            serde_json::from_str(&workspace.run(&["output", "-json"]).success().stdout).unwrap();
        let images = &outputs["images"]["value"];
        assert_eq!(images["aws"], "ami-0de00000000000002", "{name}");
        assert_eq!(
            images["azure"],
            "kinvolk:flatcar-container-linux-corevm-amd64:stable-gen2:4593.2.5"
        );
        assert_eq!(
            images["gcp"],
            "projects/kinvolk-public/global/images/flatcar-stable-4593-2-5"
        );
        let file = images["openstack"].as_str().unwrap();
        assert!(
            file.ends_with("/4593.2.5/flatcar_production_openstack_image.img"),
            "{file}"
        );
        let expected = serde_json::json!([
            "4593.2.5",
            "3.5.0",
            "6.12.102",
            "flatcar-container-linux-corevm-amd64",
            "true",
            "4593.2.5",
            "3"
        ]);
        assert_eq!(outputs["facts"]["value"], expected, "{name}");
        let again = workspace.run(&["plan", "-detailed-exitcode"]);
        again.success();
    }
}

#[test]
fn what_is_wrong_is_told_on_its_attribute() {
    let Some(core) = Core::find("tofu") else {
        return;
    };
    for (configuration, expected) in [
        (
            r#"platform = "ec2""#,
            "It is called aws here. Accepted: aws, azure, gcp",
        ),
        (r#"platform = "packet""#, "Equinix Metal ended in June 2026"),
        (
            "platform = \"qemu\"\n  channel = \"edge\"",
            "Use alpha for the newest contents",
        ),
        (
            "platform = \"qemu\"\n  version = \"latest\"",
            "Accepted: current, a release",
        ),
        (
            "platform = \"gcp\"\n  architecture = \"arm64\"",
            "on amd64 only",
        ),
        (
            "platform = \"qemu\"\n  version = \"4628.0.0\"",
            "is a release of channel alpha, not of stable",
        ),
        (
            "platform = \"qemu\"\n  version = \"4593.2.4\"",
            "No release 4593.2.4 in stable for amd64",
        ),
        (r#"platform = "aws""#, "An AWS image needs a region"),
        (
            "platform = \"aws\"\n  region = \"eu-south-2\"",
            "This release is in eu-central-1, us-east-1",
        ),
    ] {
        let block = format!("data \"flatcar_image\" \"x\" {{\n  {configuration}\n}}\n");
        let errors = workspace(&core, &block)
            .run(&["plan", "-no-color"])
            .failure()
            .errors();
        assert_eq!(errors.len(), 1, "{configuration}: {errors:#?}");
        let text = errors[0].replace('\n', " ");
        assert!(text.contains(expected), "{configuration}: {text}");
    }
}
