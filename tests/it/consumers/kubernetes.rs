//! What preset `kubernetes` writes, read by what reads it on a machine: the Ignition engine fetches
//! the downloads, checks their hashes and lays a root out, systemd verifies the units that lie
//! there, and containerd takes its configuration. The kubelet and kubeadm need a cluster:
//! `tests/it/kubernetes`.

pub(crate) mod containerd;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use flatcar::ignition::preset::download::Checksums;
use flatcar::ignition::preset::kubernetes::Kubernetes;
use flatcar::ignition::{self, Input, Options};
use serde::Deserialize as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{built, lay_out, run};
use crate::harness::{ROOT, scratch, skip};

/// What every download holds here.
const PROGRAM: &[u8] = b"#!/bin/sh\n";

#[test]
fn systemd_and_containerd_accept_every_worker() {
    if fs::metadata("/proc/self").expect("our own process").uid() != 0 {
        return skip("the engine's files stage needs root");
    }
    let analyze = Command::new("systemd-analyze")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !analyze.is_ok_and(|status| status.success()) {
        return skip("systemd-analyze is missing: on Debian, install systemd");
    }
    let Some(engine) = built("engine") else {
        return;
    };
    let Some(containerd) = containerd::Readers::built() else {
        return;
    };
    let server = serve();
    let mut faults = Vec::new();
    let workers = workers();
    assert!(workers.len() >= 12, "{}", workers.len());
    for (name, worker) in workers {
        let machine = scratch();
        let root = laid_out(&engine, &worker, &server, machine.path());
        of_the_image(&root);
        let said = verify(&root) + &containerd.complaints(&root);
        if !said.is_empty() {
            faults.push(format!("{name}:\n{said}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    // The checks can fail.
    let machine = scratch();
    of_the_image(machine.path());
    let unit = machine.path().join("etc/systemd/system/kubelet.service");
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    fs::write(
        &unit,
        "[Service]\nExecStart=/usr/bin/none\nRestart=perhaps\n",
    )
    .unwrap();
    let said = verify(machine.path());
    assert!(
        said.contains("/usr/bin/none") && said.contains("perhaps"),
        "{said}"
    );
    for (config, complaint) in [
        (
            "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nsnapshoter = \"overlayfs\"\n",
            "snapshoter",
        ),
        (
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_imag = \"x\"\n",
            "sandbox_imag",
        ),
        (
            "version = 3\n[plugins.\"io.containerd.cri.v2.images\"]\nsnapshotter = \"overlayfs\"\n",
            "no such plugin",
        ),
    ] {
        let place = machine.path().join("etc/containerd");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("config.toml"), config).unwrap();
        let said = containerd.complaints(machine.path());
        assert!(said.contains(complaint), "{config}: {said}");
    }
}

/// What systemd has against the units below a root.
fn verify(root: &Path) -> String {
    let mut said = String::new();
    let place = root.join("etc/systemd/system");
    for entry in fs::read_dir(place).unwrap() {
        let unit = entry.unwrap().file_name().into_string().unwrap();
        if !["kubelet.service", "kubeadm-join.service"].contains(&unit.as_str()) {
            continue;
        }
        let answer = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--root"])
            .arg(root)
            .arg(&unit)
            .output()
            .unwrap();
        if !answer.status.success() || !answer.stderr.is_empty() {
            said += &String::from_utf8_lossy(&answer.stderr);
        }
    }
    said
}

/// What a Flatcar image has below `/usr`, as far as units name it: programs, and the units that
/// come before.
fn of_the_image(root: &Path) {
    for program in [
        "cp",
        "kubeadm",
        "kubelet",
        "mkdir",
        "rm",
        "sh",
        "systemctl",
        "tar",
    ] {
        let path = root.join("usr/bin").join(program);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, PROGRAM).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let units = root.join("usr/lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    for unit in ["containerd.service", "coreos-metadata.service"] {
        fs::write(units.join(unit), "[Service]\nExecStart=/usr/bin/sh\n").unwrap();
    }
    for unit in fs::read_dir("/usr/lib/systemd/system").unwrap() {
        let unit = unit.unwrap();
        let name = unit.file_name().into_string().unwrap();
        if name.ends_with(".target") && unit.path().is_file() {
            fs::copy(unit.path(), units.join(&name)).unwrap();
        }
    }
}

/// The workers of the preset's fixtures, by name: what a user writes.
pub(crate) fn workers() -> Vec<(String, Value)> {
    let path = Path::new(ROOT).join("tests/fixtures/ignition/presets-1.json");
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    cases
        .iter()
        .filter(|case| !case["kubernetes"].is_null())
        .map(|case| (case["name"].to_string(), case["kubernetes"].clone()))
        .collect()
}

/// A root as Ignition leaves it behind for this worker, whose downloads come from `server`.
pub(crate) fn laid_out(engine: &Path, worker: &Value, server: &str, machine: &Path) -> PathBuf {
    let root = machine.join("root");
    lay_out(&root);
    fs::write(machine.join("config.ign"), rendered(worker, server)).unwrap();
    for stage in ["fetch", "files"] {
        run(engine, stage, machine);
    }
    root
}

fn rendered(worker: &Value, server: &str) -> String {
    let hash: String = Sha256::digest(PROGRAM)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut worker = worker.clone();
    match &worker["binaries"] {
        Value::Null => {
            let checksums = worker["sysext"]["checksums_url"].clone();
            worker["sysext"] = json!({"url": format!("{server}/{{version}}-{{arch}}.raw"), "sha256": hash, "checksums_url": checksums});
        }
        binaries => {
            let plugins = binaries["cni_plugins_url"]
                .is_string()
                .then(|| format!("{server}/cni.tgz"));
            worker["binaries"] = json!({
                "url": format!("{server}/{{binary}}"),
                "kubelet_sha256": hash,
                "kubeadm_sha256": hash,
                "cni_plugins_sha256": plugins.as_ref().map(|_| &hash),
                "cni_plugins_url": plugins,
            });
        }
    }
    let worker = Kubernetes::deserialize(worker).unwrap();
    let input = Input {
        documents: vec![worker.document(&Checksums::default(), true)],
    };
    let (rendered, report) = ignition::render(&input, &Options::default());
    rendered
        .unwrap_or_else(|| panic!("{:?}", report.entries))
        .json
}

/// Answers every request with the program; ends with the tests.
pub(crate) fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&piece[..read]),
        }
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        PROGRAM.len()
    );
    // A client that has gone needs no answer.
    let _ = stream.write_all(&[head.as_bytes(), PROGRAM].concat());
}
