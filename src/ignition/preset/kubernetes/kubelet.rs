//! The kubelet of a worker: its configuration, flags and unit, and how it joins by TLS bootstrap.
//!
//! Source: Kubernetes' reference of `kubelet` and of `kubelet.config.k8s.io/v1beta1`, *TLS
//! bootstrapping*, *Kubelet configuration directory*.

use std::fmt::Write;

use super::download::CNI_ARCHIVE;
use super::{Kubernetes, Method, Taint, own_config};
use crate::ignition::preset::sheet::{Sheet, Unit};

/// Where the authority of the cluster lies.
const CA: &str = "/etc/kubernetes/pki/ca.crt";
/// What the kubelet joins with.
pub(super) const BOOTSTRAP: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
/// What it has of the cluster once it has joined.
pub(super) const JOINED: &str = "/etc/kubernetes/kubelet.conf";
/// Where drop-ins of its configuration lie; files end with `.conf`.
const CONFIG_DIR: &str = "/etc/kubernetes/kubelet.conf.d";
/// `/usr` cannot be written, and plugins are put there at run time.
const VOLUME_PLUGINS: &str = "/opt/libexec/kubernetes/kubelet-plugins/volume/exec/";
pub(super) const HEAD: &str =
    "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

impl Kubernetes {
    pub(super) fn write_kubelet(&self, sheet: &mut Sheet) {
        match self.method {
            Method::Kubelet => {
                sheet.file(CA, 0o644, &ended(&self.ca_certificate.replace('\r', "")));
                sheet.file(BOOTSTRAP, 0o600, &self.kubeconfig());
                sheet.file("/etc/kubernetes/kubelet.yaml", 0o644, &self.configuration());
            }
            // The rest of the configuration is the cluster's, which kubeadm fetches.
            Method::Kubeadm => {
                let own = format!(
                    "{HEAD}cgroupDriver: systemd\nresolvConf: /run/systemd/resolve/resolv.conf\n\
                     volumePluginDir: {VOLUME_PLUGINS}\n"
                );
                sheet.file(&format!("{CONFIG_DIR}/10-flatcar.conf"), 0o644, &own);
            }
        }
        if let Some(own) = &self.kubelet_config {
            let own = own_config::json(own).unwrap_or_default();
            sheet.file(&format!("{CONFIG_DIR}/50-own.conf"), 0o644, &own);
        }
        if self.is_dual_stack() {
            sheet.file("/opt/bin/kubelet-node-ip", 0o755, &self.node_ip_script());
        }
        // A setting of the kernel that the kubelet would else refuse to start over is among these.
        sheet.file("/etc/modules-load.d/kubernetes.conf", 0o644, MODULES);
        sheet.file("/etc/sysctl.d/90-kubernetes.conf", 0o644, &self.sysctls());
        sheet.file(
            "/etc/systemd/journald.conf.d/10-kubernetes.conf",
            0o644,
            "[Journal]\nSystemMaxUse=5G\n",
        );
        // The extension's own drop-in of this name would start the kubelet another way.
        let dropins = [("10-kubeadm.conf", "# In place of the extension's.\n")];
        let unit = self.kubelet_unit();
        sheet.unit("kubelet.service", Unit::Enabled(&unit, &dropins));
    }

    /// By which the kubelet asks for its own certificate, knowing the cluster by its authority.
    pub(super) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n  - name: cluster\n    cluster:\n      server: {}\n      \
             certificate-authority: {CA}\nusers:\n  - name: bootstrap\n    user:\n      token: \"{}\"\ncontexts:\n  - name: bootstrap\n    \
             context:\n      cluster: cluster\n      user: bootstrap\ncurrent-context: bootstrap\n",
            self.server, self.bootstrap_token
        )
    }

    fn configuration(&self) -> String {
        let mut yaml = format!(
            "{HEAD}authentication:\n  anonymous:\n    enabled: false\n  webhook:\n    enabled: true\n  x509:\n    clientCAFile: {CA}\n\
             authorization:\n  mode: Webhook\ncgroupDriver: systemd\n"
        );
        let dns = self.cluster_dns.as_deref().unwrap_or_default();
        if !dns.is_empty() {
            yaml.push_str("clusterDNS:\n");
            for address in dns {
                let _ = writeln!(yaml, "  - \"{address}\"");
            }
        }
        let _ = write!(
            yaml,
            "clusterDomain: \"{}\"\ncontainerLogMaxFiles: 5\ncontainerLogMaxSize: 100Mi\n\
             containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n\
             evictionHard:\n  imagefs.available: 15%\n  memory.available: 100Mi\n  nodefs.available: 10%\n  nodefs.inodesFree: 5%\n\
             kubeReserved:\n  cpu: 200m\n  ephemeral-storage: 1Gi\n  memory: 200Mi\n\
             maxParallelImagePulls: 10\nprotectKernelDefaults: true\n",
            self.cluster_domain
        );
        let taints = self.node_taints.as_deref().unwrap_or_default();
        if !taints.is_empty() {
            yaml.push_str("registerWithTaints:\n");
            for taint in taints {
                yaml.push_str(&taint_yaml(taint, "  "));
            }
        }
        let _ = write!(
            yaml,
            "resolvConf: /run/systemd/resolve/resolv.conf\nrotateCertificates: true\nserializeImagePulls: false\n\
             shutdownGracePeriod: 60s\nshutdownGracePeriodCriticalPods: 20s\n\
             systemReserved:\n  cpu: 200m\n  ephemeral-storage: 1Gi\n  memory: 200Mi\nvolumePluginDir: {VOLUME_PLUGINS}\n"
        );
        yaml
    }

    fn is_dual_stack(&self) -> bool {
        self.ip_families.as_ref().is_some_and(|all| all.len() > 1)
    }

    fn sysctls(&self) -> String {
        let mut text = String::from(SYSCTLS);
        let families = self.ip_families.as_deref().unwrap_or_default();
        if families.iter().any(|family| family == "IPv6") {
            // A machine that forwards takes no router advertisements, and so no address, else.
            text.push_str("net.ipv6.conf.all.forwarding = 1\nnet.ipv6.conf.all.accept_ra = 2\nnet.ipv6.conf.default.accept_ra = 2\n");
        }
        text
    }

    /// The addresses of both families by which the machine reaches others, in the wanted order.
    fn node_ip_script(&self) -> String {
        let order: Vec<&str> = self
            .ip_families
            .iter()
            .flatten()
            .map(|family| match family.as_str() {
                "IPv6" => "$(address -6 2001:db8::1)",
                _ => "$(address -4 192.0.2.1)",
            })
            .collect();
        format!(
            "#!/bin/bash\n# For the kubelet's --node-ip: the addresses that packets to others come from.\nset -euo pipefail\n\
             address() {{\n  local route\n  route=$(ip -o \"$1\" route get \"$2\")\n  [[ $route =~ ' src '([^ ]+) ]] && echo \"${{BASH_REMATCH[1]}}\"\n}}\n\
             one={}\nother={}\nmkdir -p /run/kubernetes\necho \"NODE_IP=$one,$other\" > /run/kubernetes/node-ip\n",
            order.first().unwrap_or(&""),
            order.last().unwrap_or(&"")
        )
    }

    fn kubelet_unit(&self) -> String {
        let mut unit = String::from(
            "[Unit]\nDescription=Kubelet\nDocumentation=https://kubernetes.io/docs/\nWants=network-online.target containerd.service\n\
             After=network-online.target containerd.service\n",
        );
        if self.uses_metadata() {
            unit.push_str("Wants=coreos-metadata.service\nAfter=coreos-metadata.service\n");
        }
        // It is started until it works, however long the cluster is away.
        unit.push_str("StartLimitIntervalSec=0\n\n[Service]\n");
        if self.uses_metadata() {
            unit.push_str("EnvironmentFile=/run/metadata/flatcar\n");
        }
        if self.is_dual_stack() {
            unit.push_str("EnvironmentFile=-/run/kubernetes/node-ip\n");
        }
        if self.method == Method::Kubeadm {
            unit.push_str("EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\n");
        }
        let _ = writeln!(
            unit,
            "ExecStartPre=/usr/bin/mkdir -p /etc/kubernetes/manifests {CONFIG_DIR} /opt/cni/bin {VOLUME_PLUGINS}"
        );
        match &self.binaries {
            None => unit.push_str(
                "ExecStartPre=/usr/bin/cp -r --remove-destination /usr/local/bin/cni/. /opt/cni/bin/\n",
            ),
            Some(binaries) if binaries.cni_plugins_url.is_some() => {
                let _ = writeln!(
                    unit,
                    "ExecStartPre=/usr/bin/tar -x -z --no-same-owner --no-overwrite-dir --skip-old-files -f {CNI_ARCHIVE} -C /opt/cni/bin"
                );
            }
            Some(_) => {}
        }
        if self.is_dual_stack() {
            unit.push_str("ExecStartPre=/opt/bin/kubelet-node-ip\n");
        }
        let _ = write!(unit, "ExecStart={}", self.program("kubelet"));
        for flag in self.flags() {
            let _ = write!(unit, " \\\n  {flag}");
        }
        unit.push_str("\nRestart=always\nRestartSec=5\n\n[Install]\nWantedBy=multi-user.target\n");
        unit
    }

    fn flags(&self) -> Vec<String> {
        let mut flags = vec![
            format!("--bootstrap-kubeconfig={BOOTSTRAP}"),
            format!("--kubeconfig={JOINED}"),
        ];
        match self.method {
            Method::Kubelet => {
                flags.push("--config=/etc/kubernetes/kubelet.yaml".to_owned());
                if self.kubelet_config.is_some() {
                    flags.push(format!("--config-dir={CONFIG_DIR}"));
                }
            }
            Method::Kubeadm => {
                flags.push("--config=/var/lib/kubelet/config.yaml".to_owned());
                flags.push(format!("--config-dir={CONFIG_DIR}"));
            }
        }
        if let Some(provider) = &self.cloud_provider {
            flags.push(format!("--cloud-provider={provider}"));
        }
        if let Some(id) = &self.provider_id {
            flags.push(format!("--provider-id={id}"));
        }
        match self.ip_families.as_deref() {
            Some([only]) if only == "IPv6" => flags.push("--node-ip=::".to_owned()),
            Some([_, _]) => flags.push("--node-ip=${NODE_IP}".to_owned()),
            _ => {}
        }
        let labels = self.node_labels.iter().flatten();
        let labels: Vec<String> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if !labels.is_empty() {
            flags.push(format!("--node-labels={}", labels.join(",")));
        }
        if self.method == Method::Kubeadm {
            // What kubeadm works out for this machine.
            flags.push("$KUBELET_KUBEADM_ARGS".to_owned());
        }
        let own = self.kubelet_flags.iter().flatten();
        flags.extend(own.map(|(name, value)| format!("--{name}={}", value.replace('%', "%%"))));
        flags
    }

    /// Whether a word of the unit comes from what the cloud says of the machine.
    fn uses_metadata(&self) -> bool {
        self.provider_id
            .as_ref()
            .is_some_and(|id| id.contains("${"))
    }

    /// Where a program of Kubernetes lies.
    pub(super) fn program(&self, name: &str) -> String {
        match self.binaries {
            Some(_) => format!("/opt/bin/{name}"),
            None => format!("/usr/bin/{name}"),
        }
    }
}

/// A taint as an element of a list.
pub(super) fn taint_yaml(taint: &Taint, indent: &str) -> String {
    let mut yaml = format!("{indent}- key: \"{}\"\n", taint.key);
    if let Some(value) = &taint.value {
        let _ = writeln!(yaml, "{indent}  value: \"{value}\"");
    }
    let _ = writeln!(yaml, "{indent}  effect: {}", taint.effect);
    yaml
}

/// With a line feed at its end, and no blank lines there.
fn ended(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

const MODULES: &str = "br_netfilter\nip_vs\nip_vs_rr\nip_vs_sh\nip_vs_wrr\nnf_conntrack\noverlay\n";

const SYSCTLS: &str = "fs.inotify.max_user_instances = 8192\nfs.inotify.max_user_watches = 1048576\n\
                       kernel.keys.root_maxbytes = 25000000\nkernel.keys.root_maxkeys = 1000000\n\
                       kernel.panic = 10\nkernel.panic_on_oops = 1\n\
                       net.bridge.bridge-nf-call-ip6tables = 1\nnet.bridge.bridge-nf-call-iptables = 1\n\
                       net.ipv4.ip_forward = 1\nvm.overcommit_memory = 1\nvm.panic_on_oom = 0\n";
