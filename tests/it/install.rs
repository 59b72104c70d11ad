//! The provider as its users install it: packed by `tests/package`, found by `init` in a folder or
//! on a web server, and upgraded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::core::{Core, Workspace};
use crate::harness::{ROOT, provider, scratch, skip};
use crate::image::server::Server;

/// The later one is made of the same build: what is upgraded here is the installation, and who
/// reads the state.
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
        installs_and_upgrades(&workspace, &method);
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
        installs_and_upgrades(&workspace, &method);
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
fn installs_and_upgrades(workspace: &Workspace, method: &str) {
    let settings = format!("provider_installation {{\n {method}\n}}\n");
    workspace.write("home/settings.tfrc", &settings);
    for (version, constraint) in VERSIONS.into_iter().zip(["1.0.0", ">= 1.0.0"]) {
        workspace.write("main.tf", &GROUP.replace("CONSTRAINT", constraint));
        workspace.run(&["init", "-upgrade", "-no-color"]).success();
        let lock = fs::read_to_string(workspace.path().join(".terraform.lock.hcl"));
        let lock = lock.expect("a lock file");
        assert!(lock.contains(&format!("\"{version}\"")), "{lock}");
        assert!(lock.contains("\"h1:"), "{lock}");
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
    // OpenTofu believes the mirror for the zip.
    let of_files = other.lines().filter(|line| !line.contains("\"zh:"));
    let of_files: String = of_files.map(|line| format!("{line}\n")).collect();
    workspace.write(".terraform.lock.hcl", &of_files);
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

/// A key to sign with, and the agent that has it.
struct Key {
    home: TempDir,
}

impl Key {
    const NAME: &str = "release@example.com";

    /// `None` after having said why.
    fn new() -> Option<Self> {
        let key = Self { home: scratch() };
        let gpg = Command::new("gpg").arg("--version").output();
        if gpg.is_err() {
            skip("gpg is not installed");
            return None;
        }
        let make = ["--passphrase", "", "--quick-generate-key", Self::NAME];
        key.gpg(&[&make[..], &["rsa3072", "sign", "never"]].concat());
        Some(key)
    }

    fn gpg(&self, arguments: &[&str]) -> String {
        let output = Command::new("gpg")
            .args(["--batch", "--no-tty"])
            .args(arguments)
            .env("GNUPGHOME", self.home.path())
            .output()
            .expect("gpg starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let end = Command::new("gpgconf")
            .args(["--kill", "all"])
            .env("GNUPGHOME", self.home.path())
            .status();
        drop(end);
    }
}

/// The provider registry protocol: what is packed, told by a registry of one provider. A core
/// checks the signature, and locks both kinds of hashes.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_takes_what_is_packed() {
    let Some(key) = Key::new() else {
        return;
    };
    let [version, _] = VERSIONS;
    let folder = scratch();
    let home = key.home.path().display().to_string();
    let signed = [("GPG_FINGERPRINT", Key::NAME), ("GNUPGHOME", &home)];
    pack(folder.path(), version, &signed);
    let armor = key.gpg(&["--armor", "--export"]);
    let listed = key.gpg(&["--list-keys", "--with-colons"]);
    let line = listed.lines().find(|line| line.starts_with("pub:"));
    let id = line.and_then(|line| line.split(':').nth(4)).expect("a key");
    let platform = platform();
    let (os, arch) = platform.split_once('_').expect("both");
    let name = format!("terraform-provider-flatcar_{version}");
    let zip = format!("{name}_{platform}.zip");
    let sums = fs::read_to_string(folder.path().join(format!("{name}_SHA256SUMS")));
    let sums = sums.expect("sums");
    let sum = sums.lines().find_map(|line| line.strip_suffix(&zip));
    let manifest = fs::read(folder.path().join(format!("{name}_manifest.json")));
    let manifest: Value = serde_json::from_slice(&manifest.expect("it")).expect("JSON");
    let protocols = &manifest["metadata"]["protocol_versions"];
    let files = [
        zip.clone(),
        format!("{name}_SHA256SUMS"),
        format!("{name}_SHA256SUMS.sig"),
    ];
    for (core, _) in CORES {
        let Some(core) = Core::find(core) else {
            continue;
        };
        let mut served: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for file in &files {
            let text = fs::read(folder.path().join(file)).expect("a file");
            served.insert(format!("files/{file}"), text);
        }
        let at = "v1/providers/flatcar-iac/flatcar";
        let there = json!([{"os": os, "arch": arch}]);
        let versions =
            json!({"versions": [{"version": version, "protocols": protocols, "platforms": there}]});
        let download = json!({
            "protocols": protocols,
            "os": os,
            "arch": arch,
            "filename": zip,
            "download_url": format!("/files/{zip}"),
            "shasums_url": format!("/files/{name}_SHA256SUMS"),
            "shasums_signature_url": format!("/files/{name}_SHA256SUMS.sig"),
            "shasum": sum.expect("its sum").trim(),
            "signing_keys": {"gpg_public_keys": [{"key_id": id, "ascii_armor": armor}]},
        });
        for (path, json) in [
            (
                ".well-known/terraform.json".to_owned(),
                json!({"providers.v1": "/v1/providers/"}),
            ),
            (format!("{at}/versions"), versions),
            (format!("{at}/{version}/download/{os}/{arch}"), download),
        ] {
            served.insert(path, json.to_string().into_bytes());
        }
        let server = Server::start(served).await;
        let mut workspace = Workspace::new(&core);
        workspace.write("home/authority.pem", server.authority());
        let authority = workspace.path().join("home/authority.pem");
        workspace.set("SSL_CERT_FILE", &authority.display().to_string());
        workspace.write(
            "home/settings.tfrc",
            "provider_installation {\n direct {}\n}\n",
        );
        let host = server.base().replace("https://", "");
        let group = GROUP.replace("CONSTRAINT", version);
        workspace.write(
            "main.tf",
            &group.replace(
                "flatcar-iac/flatcar",
                &format!("{host}/flatcar-iac/flatcar"),
            ),
        );
        let run = workspace.run(&["init", "-no-color"]).success();
        assert!(
            run.stdout.contains(&id[..8]),
            "who signed it is said: {}",
            run.stdout
        );
        let lock = fs::read_to_string(workspace.path().join(".terraform.lock.hcl"));
        let lock = lock.expect("a lock file");
        assert!(lock.contains("\"h1:") && lock.contains("\"zh:"), "{lock}");
        workspace.apply();
        // Other sums than those that were signed.
        let more = format!("{}  other.zip\n", "0".repeat(64));
        let other = format!("{sums}{more}").into_bytes();
        server.replace(&format!("files/{name}_SHA256SUMS"), Some(other));
        fs::remove_dir_all(workspace.path().join(".terraform")).expect("what init made");
        fs::remove_file(workspace.path().join(".terraform.lock.hcl")).expect("a lock file");
        let refused = workspace.run(&["init", "-no-color"]);
        assert!(!refused.status.success(), "{}", refused.stdout);
        assert!(refused.stderr.contains("signature"), "{}", refused.stderr);
    }
}
