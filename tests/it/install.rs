//! The provider as its users install it: packed by `tests/package`, found by `init` in a folder or on a web server, and upgraded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::core::{Core, Workspace};
use crate::harness::{ROOT, provider, scratch, skip};
use crate::image::server::Server;

/// The later one is made of the same build: what is upgraded here is the installation, and who reads the state.
const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];

/// A core, and the registry that stands for a source without a host.
const CORES: [(&str, &str); 2] = [
    ("terraform", "registry.terraform.io"),
    ("tofu", "registry.opentofu.org"),
];

/// Both versions, packed.
static PACKED: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = scratch();
    for version in VERSIONS {
        pack(folder.path(), version, &[]);
    }
    folder
});

/// Packs the provider that the tests use, without what a debugger reads.
fn pack(folder: &Path, version: &str, environment: &[(&str, &str)]) {
    let place = scratch();
    let binary = place.path().join("provider");
    let stripped = Command::new("strip")
        .arg("-o")
        .arg(&binary)
        .arg(provider())
        .status();
    assert!(stripped.expect("strip, of the C compiler").success());
    let packed = Command::new(Path::new(ROOT).join("tests/package"))
        .arg(folder)
        .arg(format!("{}={}", platform(), binary.display()))
        .env("VERSION", version)
        .envs(environment.iter().copied())
        .output()
        .expect("tests/package starts");
    let said = String::from_utf8_lossy(&packed.stderr);
    assert!(packed.status.success(), "{said}");
}

fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}_{architecture}", std::env::consts::OS)
}

#[test]
fn a_folder_of_packages_is_a_mirror() {
    for (name, registry) in CORES {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let mirror = scratch();
        for file in packages() {
            let place = mirror.path().join(registry).join("flatcar-iac/flatcar");
            fs::create_dir_all(&place).expect("a mirror");
            let to = place.join(file.file_name().expect("a name"));
            fs::copy(&file, to).expect("a package");
        }
        let path = mirror.path().display();
        let method = format!("filesystem_mirror {{\n path = \"{path}\"\n }}");
        let workspace = Workspace::new(&core);
        installs_and_upgrades(&workspace, &method, &["h1:"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_of_packages_is_a_mirror() {
    for (name, registry) in CORES {
        let Some(core) = Core::find(name) else {
            continue;
        };
        let file = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let at = format!("{registry}/flatcar-iac/flatcar/{name}");
            Some((at, fs::read(&path).ok()?))
        };
        let server = Server::start(packages().into_iter().filter_map(file).collect()).await;
        let mut workspace = Workspace::new(&core);
        workspace.write("home/authority.pem", server.authority());
        let authority = workspace.path().join("home/authority.pem");
        workspace.set("SSL_CERT_FILE", &authority.display().to_string());
        let method = format!("network_mirror {{\n url = \"{}/\"\n }}", server.base());
        installs_and_upgrades(&workspace, &method, &["h1:", "zh:"]);
    }
}

/// All that `tests/package` has made.
fn packages() -> Vec<PathBuf> {
    let entries = fs::read_dir(PACKED.path()).expect("packages");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// A group that one version has made is nothing to do for the next.
fn installs_and_upgrades(workspace: &Workspace, method: &str, hashes: &[&str]) {
    let settings = format!("provider_installation {{\n {method}\n}}\n");
    workspace.write("home/settings.tfrc", &settings);
    for (version, constraint) in VERSIONS.into_iter().zip(["1.0.0", ">= 1.0.0"]) {
        workspace.write("main.tf", &GROUP.replace("CONSTRAINT", constraint));
        workspace.run(&["init", "-upgrade", "-no-color"]).success();
        let lock = fs::read_to_string(workspace.path().join(".terraform.lock.hcl"));
        let lock = lock.expect("a lock file");
        assert!(lock.contains(&format!("\"{version}\"")), "{lock}");
        for kind in hashes {
            assert!(lock.contains(&format!("\"{kind}")), "{kind}: {lock}");
        }
        if version == VERSIONS[0] {
            workspace.apply();
        }
        let plan = workspace.run(&["plan", "-no-color", "-detailed-exitcode"]);
        assert_eq!(plan.status.code(), Some(0), "{}", plan.stdout);
    }
    // What was locked is what is installed: a package that was changed since is refused.
    let lock = workspace.path().join(".terraform.lock.hcl");
    let text = fs::read_to_string(&lock).expect("a lock file");
    let hash = text
        .split("\"h1:")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let other = text.replace(
        hash.expect("a hash"),
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    );
    let without: String = other
        .lines()
        .filter(|line| !line.contains("\"zh:"))
        .map(|line| format!("{line}\n"))
        .collect();
    workspace.write(".terraform.lock.hcl", &without);
    fs::remove_dir_all(workspace.path().join(".terraform")).expect("what init made");
    let refused = workspace.run(&["init", "-no-color"]);
    assert!(!refused.status.success(), "{}", refused.stdout);
    assert!(refused.stderr.contains("checksum"), "{}", refused.stderr);
}

const GROUP: &str = r#"
terraform {
  required_providers {
    flatcar = {
      source  = "flatcar-iac/flatcar"
      version = "CONSTRAINT"
    }
  }
}
provider "flatcar" {
  sandbox = { directory = "cloud" }
}
data "flatcar_ignition" "worker" {
  content = "variant: flatcar\nversion: 1.1.0\n"
}
resource "flatcar_worker_group" "workers" {
  cluster   = "prod"
  name      = "workers"
  replicas  = 2
  image     = "flatcar-a"
  user_data = data.flatcar_ignition.worker.rendered
  sandbox   = {}
}
"#;

#[test]
fn packing_twice_gives_the_same_bytes() {
    let again = scratch();
    pack(again.path(), VERSIONS[0], &[]);
    for name in [
        format!("{}.zip", platform()),
        "SHA256SUMS".to_owned(),
        "manifest.json".to_owned(),
    ] {
        let name = format!("terraform-provider-flatcar_{}_{name}", VERSIONS[0]);
        let [first, second] =
            [PACKED.path(), again.path()].map(|folder| fs::read(folder.join(&name)));
        assert!(first.expect("a file") == second.expect("a file"), "{name}");
    }
}

#[test]
fn the_sums_are_signed_by_the_key_that_is_named() {
    let home = scratch();
    let gpg = |arguments: &[&str]| {
        let run = Command::new("gpg")
            .args(["--batch", "--no-tty"])
            .args(arguments)
            .env("GNUPGHOME", home.path())
            .output();
        run.map(|output| {
            (
                output.status.success(),
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )
        })
    };
    let made = gpg(&[
        "--passphrase",
        "",
        "--quick-generate-key",
        "release@example.com",
        "rsa3072",
        "sign",
        "never",
    ]);
    let Ok((made, said)) = made else {
        return skip("gpg is not installed");
    };
    assert!(made, "{said}");
    let folder = scratch();
    let place = home.path().display().to_string();
    pack(
        folder.path(),
        VERSIONS[0],
        &[
            ("GPG_FINGERPRINT", "release@example.com"),
            ("GNUPGHOME", &place),
        ],
    );
    let sums = folder.path().join(format!(
        "terraform-provider-flatcar_{}_SHA256SUMS",
        VERSIONS[0]
    ));
    let sums = sums.display().to_string();
    let verify = || gpg(&["--verify", &format!("{sums}.sig"), &sums]).expect("gpg");
    let (good, said) = verify();
    assert!(good, "{said}");
    let text = fs::read_to_string(&sums).expect("sums");
    fs::write(&sums, text.replacen('a', "b", 1)).expect("sums");
    assert!(!verify().0, "other sums are not signed");
    let _ = Command::new("gpgconf")
        .args(["--kill", "all"])
        .env("GNUPGHOME", home.path())
        .status();
}
