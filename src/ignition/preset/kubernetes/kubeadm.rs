//! Joining by kubeadm: its JoinConfiguration, and the unit that runs it until it has worked.
//!
//! Source: Kubernetes' reference of `kubeadm.k8s.io/v1beta4` and of `kubeadm join`.

use std::fmt::Write;

use super::kubelet::{JOINED, taint_yaml};
use super::{Kubernetes, Method};
use crate::http::pin;
use crate::ignition::preset::sheet::{Sheet, Unit};

const CONFIG: &str = "/etc/kubernetes/join.yaml";
/// A machine has joined once its kubelet has it. A kubelet writes [`JOINED`] when it starts, and
/// kubeadm gives up after five minutes: what waits longer for whoever signs is joined anew.
const CERTIFICATE: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

impl Kubernetes {
    pub(super) fn write_kubeadm(&self, sheet: &mut Sheet) {
        if self.method != Method::Kubeadm {
            return;
        }
        sheet.file(CONFIG, 0o600, &self.join_configuration());
        let kubeadm = self.program("kubeadm");
        let unit = format!(
            "[Unit]\nDescription=Join of the Kubernetes cluster\nDocumentation=https://kubernetes.io/docs/\nWants=network-online.target\n\
             After=network-online.target containerd.service\nConditionPathExists=!{CERTIFICATE}\nStartLimitIntervalSec=0\n\n\
             [Service]\nType=oneshot\nRemainAfterExit=true\n\
             ExecStartPre=/usr/bin/systemctl stop kubelet.service\nExecStartPre=/usr/bin/rm -f {JOINED}\nExecStart={kubeadm} join --config={CONFIG}\nRestart=on-failure\nRestartSec=10\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        );
        sheet.unit("kubeadm-join.service", Unit::Enabled(&unit, &[]));
    }

    fn join_configuration(&self) -> String {
        let mut yaml = format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  bootstrapToken:\n    apiServerEndpoint: \"{}\"\n    \
             token: \"{}\"\n    caCertHashes:\n",
            endpoint(&self.server),
            self.bootstrap_token
        );
        for hash in pin::pins(&self.ca_certificate).unwrap_or_default() {
            let _ = writeln!(yaml, "      - {hash}");
        }
        // A join that failed half-way has written both, and is tried again.
        yaml.push_str(
            "nodeRegistration:\n  criSocket: unix:///run/containerd/containerd.sock\n  ignorePreflightErrors:\n    \
             - FileAvailable--etc-kubernetes-bootstrap-kubelet.conf\n    - FileAvailable--etc-kubernetes-pki-ca.crt\n",
        );
        match self.node_taints.as_deref().unwrap_or_default() {
            // Without a list kubeadm adds none to a worker.
            [] => {}
            taints => {
                yaml.push_str("  taints:\n");
                for taint in taints {
                    yaml.push_str(&taint_yaml(taint, "    "));
                }
            }
        }
        yaml
    }
}

/// Host and port of the API server, as kubeadm wants them.
fn endpoint(server: &str) -> String {
    let rest = server.trim_start_matches("https://").trim_end_matches('/');
    let host = rest.split('/').next().unwrap_or_default();
    // The colons of an IPv6 address are inside brackets.
    match host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
        true => host.to_owned(),
        false => format!("{host}:443"),
    }
}
