//! What a worker fetches before it is one: the Kubernetes extension, or its programs one by one.
//!
//! In: `v1.34.2` and where from. Out: [`Download`]s, such as `kubernetes-v1.34.2-x86-64.raw` with
//! the URL of its checksum.
//!
//! Source: flatcar/sysext-bakery, `docs/kubernetes.md`; Kubernetes' download page.

use super::super::download::Download;
use super::super::sysext::arch;
use super::{Binaries, Kubernetes, Method};

/// Where the extension is published.
pub const SYSEXT_URL: &str =
    "https://extensions.flatcar.org/extensions/kubernetes-{version}-{arch}.raw";
/// Where its hashes are.
pub const SYSEXT_CHECKSUMS_URL: &str =
    "https://extensions.flatcar.org/extensions/kubernetes/SHA256SUMS";
/// Where the programs are published, each with `.sha256` beside it.
pub const BINARIES_URL: &str = "https://dl.k8s.io/{version}/bin/linux/{arch}/{binary}";

impl Kubernetes {
    /// What the worker fetches, in the order of its files.
    pub fn downloads(&self) -> Vec<Download> {
        match &self.binaries {
            Some(binaries) => self.programs(binaries),
            None => vec![self.extension()],
        }
    }

    fn extension(&self) -> Download {
        let (url, sha256, checksums_url) = match &self.sysext {
            Some(sysext) => (&sysext.url, &sysext.sha256, &sysext.checksums_url),
            None => (&None, &None, &None),
        };
        let arch = arch(&self.architecture);
        let filled = |template: &Option<String>, default: &str| {
            let template = template.as_deref().unwrap_or(default);
            template
                .replace("{version}", &self.version)
                .replace("{arch}", arch)
        };
        Download {
            path: format!(
                "/opt/extensions/kubernetes/kubernetes-{}-{arch}.raw",
                self.version
            ),
            mode: 0o644,
            url: filled(url, SYSEXT_URL),
            sha256: lower(sha256),
            attribute: "kubernetes.sysext.sha256",
            checksums_url: filled(checksums_url, SYSEXT_CHECKSUMS_URL),
        }
    }

    fn programs(&self, binaries: &Binaries) -> Vec<Download> {
        let program = |name: &str, sha256: &Option<String>, attribute| {
            let template = binaries.url.as_deref().unwrap_or(BINARIES_URL);
            let url = template
                .replace("{version}", &self.version)
                .replace("{arch}", &self.architecture)
                .replace("{binary}", name);
            Download {
                path: format!("/opt/bin/{name}"),
                mode: 0o755,
                checksums_url: format!("{url}.sha256"),
                url,
                sha256: lower(sha256),
                attribute,
            }
        };
        let mut programs = vec![program(
            "kubelet",
            &binaries.kubelet_sha256,
            "kubernetes.binaries.kubelet_sha256",
        )];
        if self.method == Method::Kubeadm {
            programs.push(program(
                "kubeadm",
                &binaries.kubeadm_sha256,
                "kubernetes.binaries.kubeadm_sha256",
            ));
        }
        if let Some(url) = &binaries.cni_plugins_url {
            programs.push(Download {
                path: CNI_ARCHIVE.to_owned(),
                mode: 0o644,
                url: url.clone(),
                sha256: lower(&binaries.cni_plugins_sha256),
                attribute: "kubernetes.binaries.cni_plugins_sha256",
                checksums_url: format!("{url}.sha256"),
            });
        }
        programs
    }
}

/// Where the archive of the CNI plugins lies until it is unpacked.
pub(super) const CNI_ARCHIVE: &str = "/opt/cni/cni-plugins.tgz";

fn lower(hash: &Option<String>) -> Option<String> {
    hash.as_ref().map(|hash| hash.to_ascii_lowercase())
}
