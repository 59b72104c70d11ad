//! containerd of a worker: its configuration, mirrors of registries and what opens private ones.
//!
//! Source: containerd `docs/cri/config.md` (version 3 for containerd 2, version 2 for 1.7) and
//! `docs/hosts.md`; Kubernetes' *Configuring nodes to authenticate to a private registry*.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Credentials, Kubernetes};
use crate::ignition::preset::sheet::{Sheet, Unit};

impl Kubernetes {
    pub(super) fn write_containerd(&self, sheet: &mut Sheet) {
        sheet.file(
            "/etc/containerd/config.toml",
            0o644,
            &self.containerd_toml(),
        );
        if let Some(own) = &self.containerd_config {
            sheet.file("/etc/containerd/conf.d/50-own.toml", 0o600, own);
        }
        for (registry, endpoints) in self.registry_mirrors.iter().flatten() {
            let path = format!("/etc/containerd/certs.d/{registry}/hosts.toml");
            sheet.file(&path, 0o644, &hosts_toml(endpoints));
        }
        if let Some(credentials) = &self.registry_credentials {
            sheet.file(
                "/var/lib/kubelet/config.json",
                0o600,
                &docker_config(credentials),
            );
        }
        sheet.file(
            "/etc/crictl.yaml",
            0o644,
            "runtime-endpoint: unix:///run/containerd/containerd.sock\n",
        );
        // The unit of the image reads the file that CONTAINERD_CONFIG names.
        sheet.unit(
            "containerd.service",
            Unit::DropIn(
                "10-kubernetes.conf",
                "[Service]\nEnvironment=CONTAINERD_CONFIG=/etc/containerd/config.toml\n",
            ),
        );
    }

    /// Whether containerd is one that knows configurations of version 3.
    pub(super) fn is_containerd_2(&self) -> bool {
        self.containerd_version.split('.').next() != Some("1")
    }

    fn containerd_toml(&self) -> String {
        let (version, images, runtime) = match self.is_containerd_2() {
            true => (
                3,
                "io.containerd.cri.v1.images",
                "io.containerd.cri.v1.runtime",
            ),
            false => (2, "io.containerd.grpc.v1.cri", "io.containerd.grpc.v1.cri"),
        };
        // SELinux labels, cgroups and the score are those of the configuration that Flatcar ships.
        let mut toml = format!(
            "version = {version}\noom_score = -999\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n\
             \n[plugins.\"{runtime}\"]\nenable_selinux = true\n"
        );
        match &self.sandbox_image {
            Some(image) if self.is_containerd_2() => {
                let _ = write!(
                    toml,
                    "\n[plugins.\"{images}\".pinned_images]\nsandbox = \"{image}\"\n"
                );
            }
            Some(image) => {
                let _ = writeln!(toml, "sandbox_image = \"{image}\"");
            }
            None => {}
        }
        let _ = write!(
            toml,
            "\n[plugins.\"{images}\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n\
             \n[plugins.\"{runtime}\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
             \n[plugins.\"{runtime}\".containerd.runtimes.runc.options]\nSystemdCgroup = true\n"
        );
        toml
    }
}

/// Mirrors in the order in which they are asked; the registry itself is asked last.
fn hosts_toml(endpoints: &[String]) -> String {
    let mut toml = String::new();
    for (position, endpoint) in endpoints.iter().enumerate() {
        if position > 0 {
            toml.push('\n');
        }
        let _ = write!(
            toml,
            "[host.\"{endpoint}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
        );
        // containerd adds /v2 to an address, unless it is told that it stands there already.
        let path = endpoint.split_once("://").map_or("", |(_, rest)| rest);
        if path.split('/').skip(1).any(|segment| segment == "v2") {
            toml.push_str("override_path = true\n");
        }
    }
    toml
}

/// The kubelet's own credentials for all images, in Docker's form.
fn docker_config(credentials: &BTreeMap<String, Credentials>) -> String {
    let auths: serde_json::Map<String, serde_json::Value> = credentials
        .iter()
        .map(|(registry, Credentials { username, password })| {
            let key = match registry.as_str() {
                // Docker Hub's name in this file is of old.
                "docker.io" => "https://index.docker.io/v1/",
                registry => registry,
            };
            let auth = STANDARD.encode(format!("{username}:{password}"));
            (key.to_owned(), serde_json::json!({ "auth": auth }))
        })
        .collect();
    format!("{}\n", serde_json::json!({ "auths": auths }))
}
