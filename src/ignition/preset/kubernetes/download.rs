//! What a worker fetches before it is one: the Kubernetes extension, or its programs one by one.
//! Nothing of it is used unless its hash is right.
//!
//! In: `v1.34.2` and where from. Out: [`Download`]s, such as `kubernetes-v1.34.2-x86-64.raw` with
//! the URL of its checksum. [`Checksums`] holds what was found there.
//!
//! Source: flatcar/sysext-bakery, `docs/kubernetes.md`; systemd.transfer sysupdate.d(5),
//! `url-file`: `SHA256SUMS` lies beside the files; Kubernetes' download page.

use std::collections::BTreeMap;

use super::{Binaries, Kubernetes, Method};

/// A file of the machine that comes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Where it comes to lie.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Where it comes from.
    pub url: String,
    /// Its SHA-256, where the user gives it.
    pub sha256: Option<String>,
    /// The attribute that gives it: `("sysext", "sha256")`.
    pub attribute: (&'static str, &'static str),
    /// A file that has it.
    pub checksums_url: String,
}

/// SHA-256 by the URL of what they are of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checksums(BTreeMap<String, String>);

/// Stands where a checksum is not looked up yet: of a config that is only checked.
const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Checksums {
    /// Takes from a file of checksums what it says about a download.
    ///
    /// # Errors
    /// It says nothing of it: why.
    pub fn take(&mut self, download: &Download, file: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(file).map_err(|_| "it is no text".to_owned())?;
        let name = file_name(&download.url);
        let found = match text.trim() {
            // `kubelet.sha256` holds the hash and nothing else.
            alone if is_sha256(alone) => alone,
            _ => text
                .lines()
                .filter_map(|line| line.split_once([' ', '\t']))
                .find(|(_, rest)| rest.trim_start().trim_start_matches('*').trim_end() == name)
                .map(|(hash, _)| hash)
                .ok_or_else(|| format!("it has no line for {name}"))?,
        };
        if !is_sha256(found) {
            return Err(format!("what it has for {name} is no SHA-256"));
        }
        let hash = found.to_ascii_lowercase();
        self.0.insert(download.url.clone(), hash);
        Ok(())
    }

    /// That of a download.
    pub(super) fn of<'a>(&'a self, download: &'a Download) -> &'a str {
        let found = self.0.get(&download.url);
        let known = download.sha256.as_ref().or(found);
        known.map_or(UNKNOWN, String::as_str)
    }
}

/// 64 hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn file_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// Where the extension is published.
pub const SYSEXT_URL: &str =
    "https://extensions.flatcar.org/extensions/kubernetes-{version}-{arch}.raw";
/// Where its hashes are.
pub const SYSEXT_CHECKSUMS_URL: &str =
    "https://extensions.flatcar.org/extensions/kubernetes/SHA256SUMS";
/// Where the programs are published, each with `.sha256` beside it.
pub const BINARIES_URL: &str = "https://dl.k8s.io/{version}/bin/linux/{arch}/{binary}";

/// Where systemd-sysext finds the extension.
pub(super) const EXTENSION: &str = "/etc/extensions/kubernetes.raw";

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
        let arch = match self.architecture.as_str() {
            "arm64" => "arm64",
            _ => "x86-64",
        };
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
            attribute: ("sysext", "sha256"),
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
                attribute: ("binaries", attribute),
            }
        };
        let mut programs = vec![program(
            "kubelet",
            &binaries.kubelet_sha256,
            "kubelet_sha256",
        )];
        if self.method == Method::Kubeadm {
            programs.push(program(
                "kubeadm",
                &binaries.kubeadm_sha256,
                "kubeadm_sha256",
            ));
        }
        if let Some(url) = &binaries.cni_plugins_url {
            programs.push(Download {
                path: CNI_ARCHIVE.to_owned(),
                mode: 0o644,
                url: url.clone(),
                sha256: lower(&binaries.cni_plugins_sha256),
                attribute: ("binaries", "cni_plugins_sha256"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn download(url: &str) -> Download {
        Download {
            path: String::new(),
            mode: 0,
            url: url.to_owned(),
            sha256: None,
            attribute: ("sysext", "sha256"),
            checksums_url: String::new(),
        }
    }

    #[test]
    fn a_checksum_is_that_of_the_very_file() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        let wanted = download("https://m.example/x/kubernetes-v1.34.2-x86-64.raw");
        let list = format!(
            "{b}  kubernetes-v1.34.20-x86-64.raw\n{b}  dir/kubernetes-v1.34.2-x86-64.raw\n{a}  kubernetes-v1.34.2-x86-64.raw\n"
        );
        let binary = format!("{b} *kubernetes-v1.34.2-x86-64.raw\r\n{a}  other\n");
        for (file, expected) in [
            (list, Ok(a.clone())),
            (binary, Ok(b.to_lowercase())),
            (format!("{b}\n"), Ok(b.to_lowercase())),
            (
                format!("{a}  other\n"),
                Err("it has no line for kubernetes-v1.34.2-x86-64.raw".to_owned()),
            ),
            (
                "abc  kubernetes-v1.34.2-x86-64.raw".to_owned(),
                Err("what it has for kubernetes-v1.34.2-x86-64.raw is no SHA-256".to_owned()),
            ),
            (
                String::new(),
                Err("it has no line for kubernetes-v1.34.2-x86-64.raw".to_owned()),
            ),
        ] {
            let mut checksums = Checksums::default();
            let taken = checksums.take(&wanted, file.as_bytes());
            let found = taken.map(|()| checksums.of(&wanted).to_owned());
            assert_eq!(found, expected, "{file}");
        }
        assert!(Checksums::default().take(&wanted, &[0xff]).is_err());
    }
}
