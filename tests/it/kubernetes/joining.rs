//! Workers of preset `kubernetes`, joined by what joins on a machine: Kubernetes' own kubelet and
//! kubeadm, started within the root that Ignition laid out, as the units there start them, against
//! a real API server.
//!
//! containerd runs there, too, with its own configuration. It ends where the kubelet, by a
//! certificate that the cluster gave it, has registered its Node: what comes then is the network of
//! the cluster's choice. See [`HERE`] for what this is no machine for.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::server::Server;
use crate::consumers::kubernetes::containerd::Readers;
use crate::consumers::{built, kubernetes};
use crate::harness::{scratch, skip};

const TOKEN_ID: &str = "t0ken1";
const TOKEN_SECRET: &str = "0123456789abcdef";

/// What the guide asks of the cluster: group, and what it may.
const RIGHTS: &[(&str, &str)] = &[
    // Of kubeadm.
    (BOOTSTRAPPERS, "t-get-nodes"),
    (BOOTSTRAPPERS, "system:node-bootstrapper"),
    (
        BOOTSTRAPPERS,
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    ),
    (
        "system:nodes",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    ),
];

/// What a machine has and the root has not: systemd, which would make cgroups, the kernel settings
/// that the preset's sysctls make, and an address of its own.
const HERE: &[&str] = &[
    "--cgroup-driver=cgroupfs",
    "--cgroups-per-qos=false",
    "--enforce-node-allocatable=",
    "--protect-kernel-defaults=false",
    "--address=127.0.0.1",
];

/// What kubeadm looks for first, and does not find within the root.
const MISSING: &[&str] = &[
    "FileExisting-cp",
    "FileExisting-losetup",
    "FileExisting-mount",
    "FileContent--proc-sys-net-ipv4-ip_forward",
    "SystemVerification",
];

const BOOTSTRAPPERS: &str = "system:bootstrappers:kubeadm:default-node-token";

#[tokio::test]
async fn the_kubelet_and_kubeadm_join_with_what_the_preset_writes() {
    let Some(server) = Server::find().await else {
        return;
    };
    if fs::metadata("/proc/self").expect("our own process").uid() != 0 {
        return skip("the engine's files stage needs root");
    }
    let Some(engine) = built("engine") else {
        return;
    };
    let Some(containerd) = Readers::built() else {
        return;
    };
    let_machines_join(&server).await;
    let downloads = kubernetes::serve();
    let mut faults = Vec::new();
    for (name, worker) in kubernetes::workers() {
        let machine = Machine::of(&server, &engine, &worker, &downloads);
        let fault = match machine.joins(&server, &containerd).await {
            Ok(node) => differences(&node, &worker),
            Err(fault) => fault,
        };
        if !fault.is_empty() {
            faults.push(format!("{name}: {fault}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    // The check can fail.
    let (_, worker) = kubernetes::workers().remove(0);
    let machine = Machine::of(&server, &engine, &worker, &downloads);
    let path = machine.root.join("etc/kubernetes/kubelet.yaml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config + "maxPodz: 200\n").unwrap();
    let joined = machine.joins(&server, &containerd).await;
    let fault = joined.expect_err("a field that there is not");
    assert!(fault.contains("maxPodz"), "{fault}");
}

/// What a Node lacks of what its worker says.
fn differences(node: &Json, worker: &Json) -> String {
    let mut differences = String::new();
    for (key, value) in worker["node_labels"].as_object().into_iter().flatten() {
        if node["metadata"]["labels"][key] != *value {
            differences += &format!("it lacks the label {key}={value}\n");
        }
    }
    let taints = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for taint in worker["node_taints"].as_array().into_iter().flatten() {
        let is_it = |there: &Json| {
            ["key", "effect"]
                .iter()
                .all(|part| there[part] == taint[part])
        };
        if !taints.iter().any(is_it) {
            differences += &format!("it lacks the taint {taint}\n");
        }
    }
    // One that has no value until the machine runs stands in the unit as a variable.
    let id = worker["provider_id"]
        .as_str()
        .filter(|id| !id.contains("${"));
    if id.is_some_and(|id| node["spec"]["providerID"] != id) {
        differences += &format!("its providerID is {}\n", node["spec"]["providerID"]);
    }
    let major = match worker["containerd_version"].as_str() {
        Some(version) if version.starts_with("1.") || version == "1" => "containerd://1.",
        _ => "containerd://2.",
    };
    let runtime = &node["status"]["nodeInfo"]["containerRuntimeVersion"];
    if !runtime
        .as_str()
        .is_some_and(|runtime| runtime.starts_with(major))
    {
        differences += &format!("it runs {runtime}\n");
    }
    differences
}

/// A root with the programs of Kubernetes in it.
struct Machine {
    root: PathBuf,
    scratch: TempDir,
}

impl Machine {
    fn of(server: &Server, engine: &Path, worker: &Json, downloads: &str) -> Self {
        let scratch = scratch();
        let mut worker = worker.clone();
        worker["server"] = json!(server.host);
        worker["ca_certificate"] = json!(server.authority);
        worker["bootstrap_token"] = json!(format!("{TOKEN_ID}.{TOKEN_SECRET}"));
        let root = kubernetes::laid_out(engine, &worker, downloads, scratch.path());
        let machine = Self { root, scratch };
        let kubebox = server.kubeconfig.with_file_name("kubebox").canonicalize();
        let kubebox = kubebox.expect("kube.sh has linked it");
        for program in [
            "usr/bin/kubelet",
            "usr/bin/kubeadm",
            "opt/bin/kubelet",
            "opt/bin/kubeadm",
        ] {
            machine.put(&kubebox, Path::new(program));
        }
        machine
    }

    /// Starts what joins, as its units do, until there is a Node.
    async fn joins(&self, server: &Server, containerd: &Readers) -> Result<Json, String> {
        let mut runtime = self.runtime(containerd);
        self.until("containerd", &mut runtime, async || {
            self.has("run/containerd/containerd.sock")
        })
        .await?;
        let mut kubeadm = None;
        if self.has("etc/kubernetes/join.yaml") {
            let missing = format!("--ignore-preflight-errors={}", MISSING.join(","));
            let mut child = self.start("kubeadm-join.service", &[&missing]);
            self.until("kubeadm", &mut child, async || {
                ["config.yaml", "kubeadm-flags.env"]
                    .iter()
                    .all(|file| self.has(&format!("var/lib/kubelet/{file}")))
            })
            .await?;
            kubeadm = Some(child);
        }
        let mut kubelet = self.start("kubelet.service", HERE);
        let nodes = "/api/v1/nodes";
        let joined = self
            .until("kubelet", &mut kubelet, async || {
                let nodes = server.object(nodes).await;
                nodes["items"][0]["status"]["nodeInfo"].is_object()
                    && self.has("var/lib/kubelet/pki/kubelet-client-current.pem")
            })
            .await;
        let node = server.object(nodes).await["items"][0].clone();
        for child in kubeadm.iter_mut().chain([&mut kubelet, &mut runtime]) {
            let _ = child.kill().await;
        }
        server.ask(Method::DELETE, nodes, None).await;
        joined?;
        // It goes on with what it has understood.
        let log = self.log("kubelet");
        match log
            .lines()
            .find(|line| line.contains("lenient") || line.contains("unknown field"))
        {
            Some(line) => Err(line.to_owned()),
            None => Ok(node),
        }
    }

    /// A program, at this place of the root.
    fn put(&self, program: &Path, place: &Path) {
        let place = self.root.join(place.strip_prefix("/").unwrap_or(place));
        fs::create_dir_all(place.parent().expect("a folder")).unwrap();
        // What was downloaded here was no program.
        let _ = fs::remove_file(&place);
        if fs::hard_link(program, &place).is_err() {
            fs::copy(program, &place).unwrap();
        }
    }

    /// Links lead elsewhere within the root.
    fn has(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    /// `ExecStart` of a unit, within the root.
    fn start(&self, unit: &str, more: &[&str]) -> Child {
        let text = fs::read_to_string(self.root.join("etc/systemd/system").join(unit)).unwrap();
        let (_, command) = text.split_once("\nExecStart=").expect("a command");
        let command = command.replace("\\\n", " ");
        // What the machine's own services would have found out, and what kubeadm has.
        let of_kubeadm = fs::read_to_string(self.root.join("var/lib/kubelet/kubeadm-flags.env"));
        let of_kubeadm = of_kubeadm.unwrap_or_default();
        let of_kubeadm = of_kubeadm.split('"').nth(1).unwrap_or_default();
        let command = command
            .lines()
            .next()
            .unwrap()
            .replace("${NODE_IP}", "192.0.2.1,2001:db8::1")
            .replace("$KUBELET_KUBEADM_ARGS", of_kubeadm)
            .replace("%%", "%");
        let mut words = command.split_whitespace();
        let program = words.next().unwrap();
        let name = program.rsplit('/').next().unwrap();
        let words = words.chain(more.iter().copied());
        self.run(name, program, words)
    }

    /// containerd, as its unit on the image starts it.
    fn runtime(&self, containerd: &Readers) -> Child {
        let reader = containerd.of(&self.root);
        let program = Path::new("/").join(reader.file_name().expect("a file"));
        self.put(reader, &program);
        self.run(
            "containerd",
            &program.to_string_lossy(),
            ["containerd", "--config", "/etc/containerd/config.toml"],
        )
    }

    fn run<'a>(
        &self,
        name: &str,
        program: &str,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Child {
        let log = File::create(self.scratch.path().join(name)).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        // Of the machine here it sees processes, devices, and cgroups of version 2, which a kubelet
        // looks for first.
        let enter = "mount --bind \"$0\" \"$0\" && cd \"$0\" && mkdir -p dev proc run/containerd sys && mount --bind /dev dev && mount -t proc proc proc && mount -t sysfs sysfs sys && \
                     mount -t cgroup2 none sys/fs/cgroup && exec chroot . \"$@\"";
        Command::new("unshare")
            .args(["--mount", "sh", "-c", enter])
            .arg(&self.root)
            .arg(program)
            .args(words)
            .env("PATH", format!("/usr/sbin:/sbin:{path}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("it starts")
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.scratch.path().join(name)).unwrap_or_default()
    }

    async fn until(
        &self,
        name: &str,
        child: &mut Child,
        is_so: impl AsyncFn() -> bool,
    ) -> Result<(), String> {
        for _ in 0..1200 {
            let ended = child.try_wait().expect("it can be waited for");
            if is_so().await {
                return Ok(());
            }
            if ended.is_some() {
                break;
            }
            // Another process has no clock of ours.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("{name} got no further: {}", self.log(name)))
    }
}

/// What the guide asks of a cluster, and for kubeadm what kubeadm itself leaves in one.
async fn let_machines_join(server: &Server) {
    let object = |kind: &str, name: &str, more: Json| {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
        object
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        object
    };
    let group = |name: &str| json!([{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name}]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let mut objects = vec![(
        "/api/v1/namespaces/kube-system/secrets".to_owned(),
        object(
            "Secret",
            &format!("bootstrap-token-{TOKEN_ID}"),
            json!({
                "type": "bootstrap.kubernetes.io/token",
                "stringData": {
                    "token-id": TOKEN_ID,
                    "token-secret": TOKEN_SECRET,
                    "usage-bootstrap-authentication": "true",
                    "usage-bootstrap-signing": "true",
                    "auth-extra-groups": BOOTSTRAPPERS,
                },
            }),
        ),
    )];
    for (number, (subject, role)) in RIGHTS.iter().enumerate() {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": group(subject),
        });
        objects.push((
            format!("{rbac}/clusterrolebindings"),
            object(
                "ClusterRoleBinding",
                &format!("t-joining-{number}"),
                binding,
            ),
        ));
    }
    let get_nodes = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}],
    });
    let name = "t-get-nodes";
    objects.push((
        format!("{rbac}/clusterroles"),
        object("ClusterRole", name, get_nodes),
    ));
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": {"server": server.host, "certificate-authority-data": STANDARD.encode(&server.authority)}}],
    });
    let maps = [
        ("kube-public", "cluster-info", "kubeconfig", kubeconfig),
        (
            "kube-system",
            "kubeadm-config",
            "ClusterConfiguration",
            json!({"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration", "kubernetesVersion": "v1.37.2"}),
        ),
        (
            "kube-system",
            "kubelet-config",
            "kubelet",
            json!({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "cgroupDriver": "systemd"}),
        ),
    ];
    for (namespace, name, key, value) in maps {
        objects.push((
            format!("/api/v1/namespaces/{namespace}/configmaps"),
            object("ConfigMap", name, json!({"data": {key: value.to_string()}})),
        ));
        let role = object(
            "Role",
            name,
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [name], "verbs": ["get"]}],
            }),
        );
        objects.push((format!("{rbac}/namespaces/{namespace}/roles"), role));
        let reader = match namespace {
            "kube-public" => "system:unauthenticated",
            _ => BOOTSTRAPPERS,
        };
        let binding = object(
            "RoleBinding",
            name,
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": group(reader),
            }),
        );
        objects.push((
            format!("{rbac}/namespaces/{namespace}/rolebindings"),
            binding,
        ));
    }
    for (list, object) in objects {
        server.make(&list, object).await;
    }
    server
        .until(
            "the cluster signs its address",
            "/api/v1/namespaces/kube-public/configmaps/cluster-info",
            |map| {
                let signed = map["data"].as_object().into_iter().flatten();
                signed.clone().any(|(key, _)| key.starts_with("jws-"))
            },
        )
        .await;
}
