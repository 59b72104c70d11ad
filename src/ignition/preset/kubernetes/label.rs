//! Labels of Nodes: what one may be, and which a kubelet may not give itself.
//!
//! Source: Kubernetes' *Labels and selectors*, and the NodeRestriction admission plugin.

/// An optional domain and a name: `example.com/pool`, `pool`.
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => super::is_domain(domain) && is_name(name),
        None => is_name(text),
    }
}

/// A name, or nothing.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

fn is_name(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Why a kubelet may not set this label on its own Node, if it may not: it would not start, or the
/// API server would refuse it.
pub fn refused_label(key: &str) -> Option<&'static str> {
    let (domain, _) = key.split_once('/')?;
    let within = |parent: &str| {
        domain
            .strip_suffix(parent)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let is_reserved = within("kubernetes.io") || within("k8s.io");
    let is_free = within("kubelet.kubernetes.io") || within("node.kubernetes.io");
    (is_reserved && !is_free && !OF_KUBELETS.contains(&key)).then_some(
        "a kubelet may not give this label to its own Node: set it with kubernetes.node_labels of flatcar_worker_group",
    )
}

/// Those of reserved domains that kubelets set.
const OF_KUBELETS: [&str; 10] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_the_api_server_takes_of_a_kubelet() {
        for (key, form, refused) in [
            ("pool", true, false),
            ("example.com/pool", true, false),
            ("Example.com/pool", false, false),
            ("example.com/", false, false),
            ("a/b/c", false, false),
            ("-a", false, false),
            ("kubernetes.io/role", true, true),
            ("kubernetes.io/os", true, false),
            ("node-role.kubernetes.io/worker", true, true),
            ("node-restriction.kubernetes.io/a", true, true),
            ("node.kubernetes.io/instance-type", true, false),
            ("x.node.kubernetes.io/a", true, false),
            ("x.kubelet.kubernetes.io/a", true, false),
            ("notkubernetes.io/a", true, false),
            ("storage.k8s.io/a", true, true),
        ] {
            assert_eq!(is_label_key(key), form, "{key}");
            assert_eq!(refused_label(key).is_some(), refused, "{key}");
        }
        assert!(is_label_value("") && is_label_value("a_b.c-1") && !is_label_value("a b"));
        assert!(!is_label_value(&"a".repeat(64)));
    }
}
