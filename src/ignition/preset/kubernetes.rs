//! Preset `kubernetes`: a few settings to a worker that joins a cluster.
//!
//! In: `{version: "v1.34.2", server: "https://api.example.com:6443", ca_certificate,
//! bootstrap_token}`.
//! Out: Butane with the Kubernetes extension (or its programs), containerd, the kubelet and what
//! the kernel needs; every download is checked, and the cluster is known by its authority. What is
//! fetched is [`Kubernetes::downloads`]; what their hashes are is found by the caller.
//!
//! Source: Flatcar's *Getting started with Kubernetes*; Kubernetes 1.33 to 1.37.

mod containerd;
pub mod download;
mod kubeadm;
mod kubelet;
mod label;
pub mod own_config;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

pub use self::label::{is_label_key, is_label_value, refused_label};
use super::download::{Checksums, is_sha256};
use super::sheet::{Sheet, Unit, is_text};
use super::{Contradiction, is_address, is_word, sysext};
use crate::http::pin;
use crate::ignition::{Document, Origin};

/// A worker. It holds secrets: no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubernetes {
    /// Which contents: 1.
    #[serde(deserialize_with = "super::profile")]
    pub profile: i64,
    /// `"v1.34.2"`
    pub version: String,
    /// Of the machines: `amd64` or `arm64`.
    #[serde(deserialize_with = "architecture")]
    pub architecture: String,
    /// The API server as the machines reach it: `"https://api.example.com:6443"`.
    pub server: String,
    /// The cluster's authority, PEM.
    pub ca_certificate: String,
    /// `"abcdef.0123456789abcdef"`
    pub bootstrap_token: String,
    /// How it joins.
    #[serde(deserialize_with = "method")]
    pub method: Method,
    /// Where the extension is; absent: Flatcar's, with a hash that is looked up.
    pub sysext: Option<Sysext>,
    /// The programs one by one, in place of the extension.
    pub binaries: Option<Binaries>,
    /// Whether the extension follows the patch releases of its minor version by itself.
    #[serde(deserialize_with = "no")]
    pub auto_update: bool,
    /// The cluster's DNS service; with kubeadm that of the cluster's own configuration.
    #[serde(deserialize_with = "cluster_dns")]
    pub cluster_dns: Option<Vec<String>>,
    /// The domain of services.
    #[serde(deserialize_with = "cluster_domain")]
    pub cluster_domain: String,
    /// Labels that a kubelet may give its own Node.
    pub node_labels: Option<BTreeMap<String, String>>,
    /// Taints that the Node has from its first moment.
    pub node_taints: Option<Vec<Taint>>,
    /// `external`, where a cloud controller manager completes Nodes.
    pub cloud_provider: Option<String>,
    /// The Node's `spec.providerID`, with variables of `/run/metadata/flatcar`.
    pub provider_id: Option<String>,
    /// `["IPv4"]`, `["IPv6"]`, or both, the Node's main family first.
    pub ip_families: Option<Vec<String>>,
    /// Of the image: `"2.1.5"`; its first number counts.
    #[serde(deserialize_with = "containerd_version")]
    pub containerd_version: String,
    /// The image that holds a pod's namespaces; absent: containerd's.
    pub sandbox_image: Option<String>,
    /// Addresses by registry.
    pub registry_mirrors: Option<BTreeMap<String, Vec<String>>>,
    /// By registry.
    pub registry_credentials: Option<BTreeMap<String, Credentials>>,
    /// TOML that containerd merges over the preset's.
    pub containerd_config: Option<String>,
    /// YAML that the kubelet merges over its configuration.
    pub kubelet_config: Option<String>,
    /// Further flags of the kubelet, without `--`.
    pub kubelet_flags: Option<BTreeMap<String, String>>,
}

/// How a worker joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// The kubelet asks for its certificate itself; its configuration is the preset's.
    #[serde(rename = "kubelet-bootstrap")]
    Kubelet,
    /// `kubeadm join`; the kubelet's configuration is the cluster's.
    #[serde(rename = "kubeadm")]
    Kubeadm,
}

impl Method {
    /// Their names, the default first.
    pub const NAMES: [&str; 2] = ["kubelet-bootstrap", "kubeadm"];
}

/// Where the extension is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Sysext {
    pub url: Option<String>,
    pub sha256: Option<String>,
    pub checksums_url: Option<String>,
}

/// Where the programs are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Binaries {
    pub url: Option<String>,
    pub kubelet_sha256: Option<String>,
    pub kubeadm_sha256: Option<String>,
    pub cni_plugins_url: Option<String>,
    pub cni_plugins_sha256: Option<String>,
}

/// A taint of a Node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Taint {
    pub key: String,
    pub value: Option<String>,
    pub effect: String,
}

/// What opens a registry: no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

/// What a taint does.
pub const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
/// Processors that Kubernetes is built for here, the default first.
pub const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];
/// Families of addresses.
pub const IP_FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
/// The address of kubeadm's DNS service.
pub const CLUSTER_DNS: &str = "10.96.0.10";
/// The domain of services, unless a cluster has been set up otherwise.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// The containerd of the present stable release.
pub const CONTAINERD: &str = "2";

fn or<'de, D, T>(value: D, default: impl FnOnce() -> T) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(value)?.unwrap_or_else(default))
}

fn architecture<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    or(value, || ARCHITECTURES[0].to_owned())
}
fn method<'de, D: Deserializer<'de>>(value: D) -> Result<Method, D::Error> {
    or(value, || Method::Kubelet)
}
fn no<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    or(value, || false)
}
fn cluster_dns<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<String>>, D::Error> {
    or(value, || vec![CLUSTER_DNS.to_owned()]).map(Some)
}
fn cluster_domain<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    or(value, || CLUSTER_DOMAIN.to_owned())
}
fn containerd_version<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    or(value, || CONTAINERD.to_owned())
}

impl Kubernetes {
    /// What cannot be meant together.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        if self.sysext.is_some() && self.binaries.is_some() {
            found.push((
                "binaries",
                "Kubernetes comes from sysext or from binaries: leave out one of the two",
            ));
        }
        if self.auto_update && self.binaries.is_some() {
            found.push((
                "auto_update",
                "only the extension updates itself: leave it out, or leave out binaries",
            ));
        }
        if let Some(binaries) = &self.binaries
            && binaries.cni_plugins_url.is_none()
            && binaries.cni_plugins_sha256.is_some()
        {
            found.push((
                "binaries",
                "cni_plugins_sha256 is of nothing: set cni_plugins_url, too",
            ));
        }
        if self.method == Method::Kubeadm {
            let says =
                "with kubeadm the cluster says that: leave it out, or join by kubelet-bootstrap";
            let dns = self.cluster_dns.as_deref().unwrap_or_default();
            if !matches!(dns, [] | [_]) || dns.iter().any(|it| it != CLUSTER_DNS) {
                found.push(("cluster_dns", says));
            }
            if self.cluster_domain != CLUSTER_DOMAIN {
                found.push(("cluster_domain", says));
            }
        }
        if let Some([one, other]) = self.ip_families.as_deref()
            && one == other
        {
            found.push(("ip_families", "a family stands there twice"));
        }
        let taints = self.node_taints.as_deref().unwrap_or_default();
        let is_repeated = |(position, taint): (usize, &Taint)| {
            let earlier = taints.iter().take(position);
            let mut earlier = earlier.map(|taint| (&taint.key, &taint.effect));
            earlier.any(|other| other == (&taint.key, &taint.effect))
        };
        if taints.iter().enumerate().any(is_repeated) {
            found.push((
                "node_taints",
                "two taints have one key and effect, which no Node can have: remove one of them",
            ));
        }
        if let (Some([family]), Some(dns)) = (self.families(), self.cluster_dns.as_deref())
            && self.method == Method::Kubelet
            && !dns.is_empty()
            && dns
                .iter()
                .all(|address| address.contains(':') != (*family == "IPv6"))
        {
            found.push((
                "cluster_dns",
                "pods could not reach it: it has no address of the family in ip_families",
            ));
        }
        let list = self.downloads().into_iter().next();
        let list = list.filter(|_| self.auto_update && self.binaries.is_none());
        if list.is_some_and(|list| !sysext::is_list_for_machines(&list.checksums_url)) {
            found.push((
                "auto_update",
                "machines look for the list beside the extensions: sysext.checksums_url must be an https:// address that they reach and end with /SHA256SUMS",
            ));
        }
        // containerd 1 takes the whole table of a later file in place of the earlier one.
        let own = self.containerd_config.as_deref().unwrap_or_default();
        if !self.is_containerd_2() && own.contains("io.containerd.grpc.v1.cri") {
            found.push((
                "containerd_config",
                "containerd 1 would take this table of io.containerd.grpc.v1.cri in place of the preset's: leave it out, or write all of /etc/containerd/config.toml in content",
            ));
        }
        found
    }

    /// Those that Nodes have; IPv4 where nobody says.
    fn families(&self) -> Option<&[String]> {
        self.ip_families.as_deref().filter(|all| all.len() == 1)
    }

    /// Whether its words are such as the files that it writes can hold.
    pub fn is_sound(&self) -> bool {
        let labels = self.node_labels.iter().flatten();
        let taints = self.node_taints.iter().flatten();
        let mirrors = self.registry_mirrors.iter().flatten();
        let credentials = self.registry_credentials.iter().flatten();
        let flags = self.kubelet_flags.iter().flatten();
        let own = [&self.containerd_config, &self.kubelet_config];
        let families = self.ip_families.as_ref().map_or(1, Vec::len);
        is_version(&self.version)
            && ARCHITECTURES.contains(&self.architecture.as_str())
            && is_server(&self.server)
            && is_token(&self.bootstrap_token)
            && is_authority(&self.ca_certificate)
            && self.cluster_dns.iter().flatten().all(|it| is_ip(it))
            && is_domain(&self.cluster_domain)
            && labels.into_iter().all(|(key, value)| {
                is_label_key(key) && is_label_value(value) && refused_label(key).is_none()
            })
            && taints.into_iter().all(Taint::is_sound)
            && self
                .cloud_provider
                .as_deref()
                .is_none_or(|it| it == "external")
            && self.provider_id.as_deref().is_none_or(is_provider_id)
            && (1..=2).contains(&families)
            && self
                .ip_families
                .iter()
                .flatten()
                .all(|it| IP_FAMILIES.contains(&it.as_str()))
            && is_containerd(&self.containerd_version)
            && self.sandbox_image.as_deref().is_none_or(is_word)
            && mirrors.into_iter().all(|(host, endpoints)| {
                is_registry(host)
                    && !endpoints.is_empty()
                    && endpoints.iter().all(|it| is_address(it))
                    && !has_twice(endpoints)
            })
            && credentials
                .into_iter()
                .all(|(host, it)| is_registry_of_images(host) && is_user(&it.username))
            && flags
                .into_iter()
                .all(|(name, value)| is_flag(name) && !is_own_flag(name) && is_word(value))
            && self
                .kubelet_config
                .as_deref()
                .is_none_or(|own| own_config::json(own).is_ok())
            && own.into_iter().flatten().all(|text| is_text(text))
            && self
                .downloads()
                .iter()
                .all(|it| is_address(&it.url) && it.sha256.as_deref().is_none_or(is_sha256))
    }

    /// As Butane, with what the downloads' hashes are; `owns_updates`: nobody else says how the
    /// machine updates itself.
    pub fn document(&self, checksums: &Checksums, owns_updates: bool) -> Document {
        let mut sheet = Sheet::default();
        for download in self.downloads() {
            sheet.download(
                &download.path,
                download.mode,
                &download.url,
                checksums.of(&download),
            );
            if self.binaries.is_none() {
                sheet.link(&sysext::link("kubernetes"), &download.path);
            }
        }
        self.write_containerd(&mut sheet);
        self.write_kubelet(&mut sheet);
        self.write_kubeadm(&mut sheet);
        self.write_updates(&mut sheet, owns_updates);
        Document {
            origin: Origin::Preset("kubernetes"),
            text: sheet.text(),
        }
    }

    /// A machine that reboots by itself takes its pods with it: new machines bring what is new.
    fn write_updates(&self, sheet: &mut Sheet, owns_updates: bool) {
        if owns_updates {
            sheet.file(
                "/etc/flatcar/update.conf",
                0o644,
                "SERVER=disabled\nREBOOT_STRATEGY=off\n",
            );
            sheet.unit("locksmithd.service", Unit::Masked);
        }
        if !self.auto_update {
            return;
        }
        let minor = self.version.rsplit_once('.').map_or("", |(minor, _)| minor);
        let downloads = self.downloads();
        let list = downloads.first().map_or("", |it| it.checksums_url.as_str());
        let updates = sysext::Updates {
            name: "kubernetes",
            transfer: &format!("kubernetes-{minor}"),
            separator: '.',
            arch: sysext::arch(&self.architecture),
            list,
        };
        updates.write(sheet);
    }
}

impl Taint {
    fn is_sound(&self) -> bool {
        is_label_key(&self.key)
            && self.value.as_deref().is_none_or(is_label_value)
            && EFFECTS.contains(&self.effect.as_str())
    }
}

/// Whether the preset sets this flag, or what it stands for.
pub fn is_own_flag(name: &str) -> bool {
    OWN_FLAGS.contains(&name)
}

const OWN_FLAGS: [&str; 11] = [
    "bootstrap-kubeconfig",
    "cloud-provider",
    "config",
    "config-dir",
    "container-runtime-endpoint",
    "kubeconfig",
    "node-ip",
    "node-labels",
    "provider-id",
    "register-with-taints",
    "volume-plugin-dir",
];

/// Whether an address stands there twice, which no `hosts.toml` can hold.
pub fn has_twice(endpoints: &[String]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    !endpoints.iter().all(|endpoint| seen.insert(endpoint))
}

/// A registry that images come from: not `_default`.
pub fn is_registry_of_images(text: &str) -> bool {
    text != "_default" && is_registry(text)
}

/// A user's name before the `:` of a password.
pub fn is_user(text: &str) -> bool {
    !text.is_empty() && !text.contains(':')
}

/// A release of Kubernetes: `v1.34.2`.
pub fn is_version(text: &str) -> bool {
    let numbers: Vec<&str> = match text.strip_prefix("v1.") {
        Some(rest) => rest.split('.').collect(),
        None => return false,
    };
    let is_number = |digits: &&str| {
        (1..=4).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
    };
    let is_known = |minor: &str| {
        minor
            .parse::<u32>()
            .is_ok_and(|minor| minor >= OLDEST_MINOR)
    };
    numbers.len() == 2 && numbers.iter().all(is_number) && is_known(numbers[0])
}

/// Before 1.33 what is written here means something else, or nothing.
const OLDEST_MINOR: u32 = 33;

/// An address of https without a path.
pub fn is_server(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else {
        return false;
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (is_host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').unwrap_or((rest, "-"));
            (address.parse::<std::net::Ipv6Addr>().is_ok(), port)
        }
        None => {
            let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
            (is_domain(&host.to_ascii_lowercase()), port)
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty(),
    };
    is_host && is_port
}

/// Its host, without port and brackets.
pub fn server_host(server: &str) -> &str {
    let rest = server.strip_prefix("https://").unwrap_or(server);
    match rest.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => rest.split([':', '/']).next().unwrap_or(rest),
    }
}

/// A token of *Bootstrap Tokens*: six and sixteen characters.
pub fn is_token(text: &str) -> bool {
    let is_part = |part: &str, length| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.split_once('.')
        .is_some_and(|(id, secret)| is_part(id, 6) && is_part(secret, 16))
}

/// PEM certificates and nothing that a file could not hold.
pub fn is_authority(text: &str) -> bool {
    is_text(&text.replace('\r', "")) && pin::pins(text).is_ok()
}

/// An address of IPv4 or IPv6.
pub fn is_ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// A domain of lower-case labels.
pub fn is_domain(text: &str) -> bool {
    let is_name = |name: &str| {
        (1..=63).contains(&name.len())
            && !name.starts_with('-')
            && !name.ends_with('-')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_name)
}

/// A registry as it stands in the name of an image: `registry.example.com:5000`; `_default` is all
/// others.
pub fn is_registry(text: &str) -> bool {
    if text == "_default" {
        return true;
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().is_ok()),
        None => (text, true),
    };
    port && is_domain(host)
}

/// A version of containerd, or its first number.
pub fn is_containerd(text: &str) -> bool {
    let mut numbers = text.split('.');
    let first = numbers.next().unwrap_or_default();
    matches!(first, "1" | "2")
        && numbers.all(|part| {
            (1..=4).contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_digit())
        })
}

/// An id of the cloud, with `${VARIABLE}` in it where the machine has to say.
pub fn is_provider_id(text: &str) -> bool {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, tail)) = after.split_once('}') else {
            return false;
        };
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        if !is_name || before.bytes().any(|byte| !is_plain(byte)) {
            return false;
        }
        rest = tail;
    }
    text.contains("://") && rest.bytes().all(is_plain)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":/.-_".contains(&byte)
}

/// A flag's name without `--`.
pub fn is_flag(text: &str) -> bool {
    !text.starts_with('-')
        && !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn worker(changes: &Value) -> Kubernetes {
        let cases = include_str!("../../../tests/fixtures/ignition/presets-1.json");
        let cases: Value = serde_json::from_str(cases).unwrap();
        let mut cases = cases.as_array().unwrap().iter();
        let case = cases.find(|case| case["name"] == "kubernetes, nothing chosen");
        let mut worker = case.unwrap()["kubernetes"].clone();
        for (name, value) in changes.as_object().unwrap() {
            worker[name] = value.clone();
        }
        Kubernetes::deserialize(worker).unwrap()
    }

    #[test]
    fn words_that_no_file_could_hold_make_no_document() {
        for (name, good, bad) in [
            (
                "version",
                json!("v1.37.10"),
                vec![
                    json!("v1.20.0"),
                    json!("1.34.2"),
                    json!("v1.34"),
                    json!("v2.0.0"),
                    json!("v1.34.2-rc.1"),
                    json!("v1.x.1"),
                ],
            ),
            (
                "server",
                json!("https://[2001:db8::1]:6443/"),
                vec![
                    json!("http://a"),
                    json!("https://"),
                    json!("https://a/b"),
                    json!("https://a\nb"),
                    json!("https://u:p@a"),
                    json!("https://2001:db8::1:6443"),
                    json!("https://a:644333"),
                    json!("https://a:"),
                    json!("https://a..b"),
                    json!("https://[]"),
                    json!("https://a//"),
                ],
            ),
            (
                "bootstrap_token",
                json!("abcdef.0123456789abcdef"),
                vec![
                    json!("abcdef"),
                    json!("ABCDEF.0123456789abcdef"),
                    json!("abcdef.0123456789abcde"),
                    json!("abcdef.0123456789abcdef\n"),
                ],
            ),
            (
                "ca_certificate",
                json!(worker(&json!({})).ca_certificate + "# more\n"),
                vec![
                    json!(""),
                    json!("MIIB"),
                    json!(worker(&json!({})).ca_certificate + "\u{1b}"),
                ],
            ),
            (
                "cluster_dns",
                json!(["fd00::a", "10.96.0.10"]),
                vec![json!(["dns"]), json!(["10.96.0"])],
            ),
            (
                "cluster_domain",
                json!("a-b.example"),
                vec![
                    json!(""),
                    json!("a..b"),
                    json!("-a"),
                    json!("a b"),
                    json!("A"),
                ],
            ),
            (
                "node_labels",
                json!({"node.kubernetes.io/pool": ""}),
                vec![
                    json!({"kubernetes.io/role": "a"}),
                    json!({"a": "b,c=d"}),
                    json!({"": "a"}),
                ],
            ),
            (
                "node_taints",
                json!([{"key": "a/b", "value": null, "effect": "NoExecute"}]),
                vec![
                    json!([{"key": "a", "value": null, "effect": "Never"}]),
                    json!([{"key": "a: b", "value": null, "effect": "NoExecute"}]),
                    json!([{"key": "a", "value": "\"", "effect": "NoExecute"}]),
                ],
            ),
            ("cloud_provider", json!("external"), vec![json!("aws")]),
            (
                "provider_id",
                json!("openstack:///${A_1}"),
                vec![
                    json!("${A}"),
                    json!("aws:///${a}"),
                    json!("aws:///${A"),
                    json!("aws:///$A"),
                    json!("aws:///a b"),
                    json!("aws:///%i"),
                ],
            ),
            (
                "ip_families",
                json!(["IPv6", "IPv4"]),
                vec![json!([]), json!(["IPv5"]), json!(["IPv4", "IPv6", "IPv4"])],
            ),
            (
                "containerd_version",
                json!("1.7.23"),
                vec![json!("3"), json!(""), json!("2.x"), json!("2.1.5\n")],
            ),
            (
                "sandbox_image",
                json!("registry.example.com:5000/a@sha256:00"),
                vec![json!("a\"b"), json!("")],
            ),
            (
                "registry_mirrors",
                json!({"_default": ["http://10.0.0.1:5000/v2/x"]}),
                vec![
                    json!({"a/b": ["https://a"]}),
                    json!({"docker.io": []}),
                    json!({"docker.io": ["a"]}),
                    json!({"docker.io": ["https://a", "https://a"]}),
                    json!({"..": ["https://a"]}),
                ],
            ),
            (
                "registry_credentials",
                json!({"a:5000": {"username": "u", "password": "\n\""}}),
                vec![
                    json!({"a/b": {"username": "u", "password": "p"}}),
                    json!({"_default": {"username": "u", "password": "p"}}),
                    json!({"a": {"username": "u:x", "password": "p"}}),
                ],
            ),
            (
                "containerd_config",
                json!("\ta = 1\n"),
                vec![json!("\u{0}"), json!("a\r\n"), json!("\u{2028}")],
            ),
            ("kubelet_config", json!("a: é\n"), vec![json!("\u{85}")]),
            (
                "kubelet_flags",
                json!({"v": "2"}),
                vec![
                    json!({"--v": "2"}),
                    json!({"v": "2 --x"}),
                    json!({"node-ip": "::"}),
                    json!({"v": "$A"}),
                ],
            ),
            (
                "sysext",
                json!({"url": "https://a/{version}", "sha256": null, "checksums_url": null}),
                vec![json!({"url": "https://a/\n", "sha256": null, "checksums_url": null})],
            ),
        ] {
            let changed = |value: Value| worker(&json!({ name: value }));
            assert!(changed(good.clone()).is_sound(), "{name}: {good}");
            for value in bad {
                assert!(!changed(value.clone()).is_sound(), "{name}: {value}");
            }
        }
    }

    #[test]
    fn what_cannot_be_meant_together_is_blamed_on_one_attribute() {
        let binaries = json!({"url": null, "kubelet_sha256": null, "kubeadm_sha256": null, "cni_plugins_url": null, "cni_plugins_sha256": "00"});
        let sysext = json!({"url": null, "sha256": null, "checksums_url": null});
        for (changes, expected) in [
            (json!({}), vec![]),
            (
                json!({"sysext": sysext, "binaries": binaries, "auto_update": true}),
                vec!["binaries", "auto_update", "binaries"],
            ),
            (
                json!({"ip_families": ["IPv6", "IPv6"]}),
                vec!["ip_families"],
            ),
            (
                json!({"node_taints": [
                    {"key": "a", "value": null, "effect": "NoExecute"},
                    {"key": "a", "value": null, "effect": "NoSchedule"},
                    {"key": "a", "value": "b", "effect": "NoExecute"},
                ]}),
                vec!["node_taints"],
            ),
            (json!({"ip_families": ["IPv6"]}), vec!["cluster_dns"]),
            (
                json!({"ip_families": ["IPv6"], "cluster_dns": ["fd00::a"]}),
                vec![],
            ),
            (
                json!({"method": "kubeadm", "cluster_dns": ["10.0.0.10"], "cluster_domain": "prod.example"}),
                vec!["cluster_dns", "cluster_domain"],
            ),
            (
                json!({"method": "kubeadm", "ip_families": ["IPv6"]}),
                vec![],
            ),
            (
                json!({"auto_update": true, "sysext": {"url": null, "sha256": null, "checksums_url": "file:///m/SHA256SUMS"}}),
                vec!["auto_update"],
            ),
            (
                json!({"containerd_version": "1.7.1", "containerd_config": "[plugins.\"io.containerd.grpc.v1.cri\"]"}),
                vec!["containerd_config"],
            ),
        ] {
            let found = worker(&changes).contradictions();
            let found: Vec<&str> = found.into_iter().map(|(attribute, _)| attribute).collect();
            assert_eq!(found, expected, "{changes}");
        }
    }
}
