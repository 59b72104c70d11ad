//! The attributes of preset `kubernetes`.

use super::profile;
use crate::ignition::preset::download::{is_sha256, is_source};
use crate::ignition::preset::kubernetes::{
    ARCHITECTURES, CLUSTER_DNS, CLUSTER_DOMAIN, CONTAINERD, EFFECTS, IP_FAMILIES, Method, download,
    is_authority, is_containerd, is_domain, is_flag, is_ip, is_label_key, is_label_value,
    is_own_flag, is_provider_id, is_registry, is_registry_of_images, is_server, is_token, is_user,
    is_version, own_config, refused_label,
};
use crate::ignition::preset::{is_address, is_text, is_word};
use crate::provider::diagnostics::Step;
use crate::provider::{Attribute, Diagnostic, Diagnostics, Path, Type, Value};

pub(super) fn kubernetes() -> Attribute {
    let mut attributes = cluster();
    attributes.extend(programs());
    attributes.extend(node());
    attributes.extend(containers());
    attributes.push(profile());
    Attribute::object(
        "kubernetes",
        "Preset: a worker that joins a Kubernetes cluster (1.33 to 1.37): the Kubernetes extension or its programs, checked by their \
         hashes; containerd; the kubelet; kernel modules and settings. Without `updates` it also switches updates of the operating system \
         off, for a machine that reboots by itself takes its pods with it: new images come by rolling the group.",
        attributes,
    )
    .optional()
}

fn cluster() -> Vec<Attribute> {
    vec![
        Attribute::string("version", "Release of Kubernetes.")
            .required()
            .pattern("A release such as `v1.34.2`, of 1.33 or newer", is_version),
        Attribute::string("server", "Address of the API server as the machines reach it.")
            .required()
            .pattern("An address such as `https://api.example.com:6443`, without a path", is_server),
        Attribute::string(
            "ca_certificate",
            "Certificate of the cluster's authority, PEM. The cluster is known by it: nothing is ever fetched unverified.",
        )
        .required()
        .pattern("One or more certificates in PEM form", is_authority),
        Attribute::string(
            "bootstrap_token",
            "Bootstrap token that machines join with. It is in the machines' user data: with `ephemeral \"flatcar_ignition\"` and \
             `user_data_wo` it is in no state.",
        )
        .required()
        .sensitive()
        .pattern("A token such as `abcdef.0123456789abcdef`", is_token),
        Attribute::string(
            "method",
            "How machines join: `kubelet-bootstrap`, where the kubelet asks for its certificate and this preset says its configuration, \
             or `kubeadm`, where `kubeadm join` does and takes the configuration from the cluster.",
        )
        .null_means(Method::NAMES[0])
        .one_of(Method::NAMES),
    ]
}

const TEMPLATE: &str = "An address that starts with `http://` or `https://`";
const SHA256: &str = "64 hexadecimal digits";

fn programs() -> Vec<Attribute> {
    let sha256 = |name, of: &str| {
        Attribute::string(
            name,
            &format!("SHA-256 of {of}. Left out it is looked up when the data source is read, and with it the machines change when the file does."),
        )
        .optional()
        .pattern(SHA256, is_sha256)
    };
    let url = |name, description: &str| {
        Attribute::string(name, description)
            .optional()
            .pattern(TEMPLATE, is_address)
    };
    vec![
        Attribute::string("architecture", "Processor of the machines.")
            .null_means(ARCHITECTURES[0])
            .one_of(ARCHITECTURES),
        Attribute::object(
            "sysext",
            "Where the Kubernetes system extension comes from. Left out it is Flatcar's own, from the sysext bakery.",
            vec![
                url(
                    "url",
                    &format!(
                        "Address of the extension for the machines; `{{version}}` and `{{arch}}` (`x86-64` or `arm64`) are filled in. \
                         Left out it is `{}`.",
                        download::SYSEXT_URL
                    ),
                ),
                sha256("sha256", "the extension"),
                Attribute::string(
                    "checksums_url",
                    &format!(
                        "Address of the file that has the extension's SHA-256, read where `sha256` is left out; `file://` is a mirror here; over `http://` nobody vouches for it. \
                         Left out it is `{}`.",
                        download::SYSEXT_CHECKSUMS_URL
                    ),
                )
                .optional()
                .pattern("An address that starts with `https://`, `http://` or `file://`", is_source),
            ],
        )
        .optional(),
        Attribute::object(
            "binaries",
            "Where the programs come from, in place of the extension: they lie in `/opt/bin` then.",
            vec![
                url(
                    "url",
                    &format!(
                        "Address of the programs for the machines; `{{version}}`, `{{arch}}` (`amd64` or `arm64`) and `{{binary}}` are filled \
                         in. Left out it is `{}`. Their hashes are looked up beside them, in a file of the same name with `.sha256`.",
                        download::BINARIES_URL
                    ),
                ),
                sha256("kubelet_sha256", "the kubelet"),
                sha256("kubeadm_sha256", "kubeadm, which only that method needs"),
                url("cni_plugins_url", "Archive of CNI plugins, unpacked to `/opt/cni/bin`. Many network add-ons bring their own."),
                sha256("cni_plugins_sha256", "that archive"),
            ],
        )
        .optional(),
        Attribute::bool(
            "auto_update",
            "Whether machines fetch patch releases of the extension by themselves, and ask for a reboot (`/run/reboot-required`) that \
             somebody such as kured has to do. What they fetch then is checked against a list from the same server, not against a hash in \
             the configuration.",
        )
        .null_means(false),
    ]
}

fn node() -> Vec<Attribute> {
    vec![
        Attribute::list(
            "cluster_dns",
            &format!("Addresses of the cluster's DNS service, for `kubelet-bootstrap`. Left out it is `{CLUSTER_DNS}`."),
            Type::String,
        )
        .optional()
        .pattern("Addresses of IPv4 or IPv6", is_ip),
        Attribute::string("cluster_domain", "Domain of the cluster's services, for `kubelet-bootstrap`.")
            .null_means(CLUSTER_DOMAIN)
            .pattern("A domain of lower-case letters, digits and `-`", is_domain),
        Attribute::map(
            "node_labels",
            "Labels that the kubelet gives its Node when it registers. A later change rolls the machines; `kubernetes.node_labels` of \
             `flatcar_worker_group` changes Nodes that are there.",
            Type::String,
        )
        .optional()
        .check("", check_labels)
        .pattern("Values of at most 63 letters, digits, `-`, `_` and `.`", is_label_value),
        Attribute::list_of(
            "node_taints",
            "Taints that the Node has from its first moment.",
            vec![
                Attribute::string("key", "Key of the taint.")
                    .required()
                    .pattern("A name such as `example.com/gpu`", is_label_key),
                Attribute::string("value", "Value of the taint.")
                    .optional()
                    .pattern("At most 63 letters, digits, `-`, `_` and `.`", is_label_value),
                Attribute::string("effect", "What the taint does to pods that do not tolerate it.")
                    .required()
                    .one_of(EFFECTS),
            ],
        )
        .optional(),
        Attribute::string(
            "cloud_provider",
            "`external` where a cloud controller manager runs: Nodes are tainted until it has completed them.",
        )
        .optional()
        .one_of(["external"]),
        Attribute::string(
            "provider_id",
            "The Node's `spec.providerID`, by which the group and the cloud controller find its machine, with variables of \
             `/run/metadata/flatcar` in it: on AWS `aws:///$${COREOS_EC2_AVAILABILITY_ZONE}/$${COREOS_EC2_INSTANCE_ID}` (`$${` is how HCL \
             writes `${`). Left out the cloud controller manager sets it.",
        )
        .optional()
        .pattern("An id such as `aws:///${COREOS_EC2_AVAILABILITY_ZONE}/${COREOS_EC2_INSTANCE_ID}`", is_provider_id),
        Attribute::list(
            "ip_families",
            "Families of the Node's addresses, its main one first. Left out it is IPv4, as the kubelet chooses.",
            Type::String,
        )
        .optional()
        .one_of(IP_FAMILIES)
        .length(1..=2),
        Attribute::string(
            "kubelet_config",
            "YAML or JSON that the kubelet merges over its configuration, field by field: a `KubeletConfiguration`, with or without its \
             `apiVersion` and `kind`, as text or by `yamlencode`.",
        )
        .optional()
        .check("", check_own_config),
        Attribute::map(
            "kubelet_flags",
            "Further flags of the kubelet, without `--`: `{ v = \"2\" }`.",
            Type::String,
        )
        .optional()
        .check("", check_flags)
        .pattern("Printable ASCII without blanks, quotes, `\\`, `$` and backquotes", is_word),
    ]
}

const TEXT: &str = "Text without control characters";

fn containers() -> Vec<Attribute> {
    vec![
        Attribute::string(
            "containerd_version",
            "Version of containerd on the image, of which the first number counts: `data.flatcar_image.x.components.containerd`. LTS 2024 \
             has 1.",
        )
        .null_means(CONTAINERD)
        .pattern("A version such as `2.1.5`, or `1` or `2`", is_containerd),
        Attribute::string("sandbox_image", "Image that holds a pod's namespaces. Left out it is containerd's own choice. containerd pulls it itself, without credentials.")
            .optional()
            .pattern("A name of an image such as `registry.k8s.io/pause:3.10.1`", is_word),
        Attribute::map(
            "registry_mirrors",
            "Mirrors by registry (`docker.io`, `registry.example.com:5000`; `_default` is all others), asked in their order and then the \
             registry itself. The address of a mirror with a path ends where containerd would add nothing more, and has `v2` in it: \
             `https://harbor.example.com/v2/hub`.",
            Type::List(Box::new(Type::String)),
        )
        .optional()
        .check("", check_mirrors),
        Attribute::map_of(
            "registry_credentials",
            "Credentials by the registry in an image's name, for all images that the kubelet pulls; a mirror is asked with none.",
            vec![
                Attribute::string("username", "Name of the user.").required(),
                Attribute::string("password", "Password or token of the user.").required().sensitive(),
            ],
        )
        .optional()
        .sensitive()
        .check("", check_registries),
        Attribute::string(
            "containerd_config",
            "TOML that containerd merges over the preset's configuration, with the `version` that this containerd wants. It is not read here: a \
             mistake keeps containerd from starting.",
        )
        .optional()
        .sensitive()
        .pattern(TEXT, is_text),
    ]
}

fn check_own_config(value: &Value, path: &Path) -> Diagnostics {
    let Value::String(text) = value else {
        return Diagnostics::none();
    };
    match own_config::json(text) {
        Ok(_) => Diagnostics::none(),
        Err(why) => refuse(path, "Not a kubelet configuration", &why),
    }
}

/// Elements of a map are checked one by one, with their key at the end of the path.
fn key_of(path: &Path) -> &str {
    match path.0.last() {
        Some(Step::Key(key)) => key,
        _ => "",
    }
}

fn check_labels(_: &Value, path: &Path) -> Diagnostics {
    let key = key_of(path);
    if !is_label_key(key) {
        return refuse(
            path,
            "Not a label",
            "the key of a label is a name of at most 63 letters, digits, `-`, `_` and `.`, after a domain and `/` where it has one",
        );
    }
    match refused_label(key) {
        Some(why) => refuse(path, "The kubelet may not set this label", why),
        None => Diagnostics::none(),
    }
}

fn check_flags(_: &Value, path: &Path) -> Diagnostics {
    match is_flag(key_of(path)) {
        true if is_own_flag(key_of(path)) => refuse(
            path,
            "Flag is the preset's",
            "the preset sets this flag, or what it stands for: use its attribute, or leave the flag out",
        ),
        true => Diagnostics::none(),
        false => refuse(
            path,
            "Not a flag",
            "a flag is written without `--`, in lower-case letters, digits and `-`",
        ),
    }
}

const REGISTRY: &str =
    "a registry is a host in lower case, with a port where it has one, or `_default`";

fn check_mirrors(value: &Value, path: &Path) -> Diagnostics {
    if !is_registry(key_of(path)) {
        return refuse(path, "Not a registry", REGISTRY);
    }
    let Value::List(endpoints) = value else {
        return Diagnostics::none();
    };
    if endpoints.is_empty() {
        return refuse(
            path,
            "No mirror",
            "there is no address in the list: leave the registry out",
        );
    }
    let mut problems = Diagnostics::none();
    for (index, endpoint) in endpoints.iter().enumerate() {
        if endpoints.iter().take(index).any(|other| other == endpoint) {
            problems.extend(refuse(
                &path.index(index),
                "Mirror stands there twice",
                "each address stands once in the list",
            ));
        }
        let wrong = match endpoint {
            Value::String(text) => !is_address(text),
            Value::Null => true,
            _ => false,
        };
        if wrong {
            problems.extend(refuse(
                &path.index(index),
                "Not an address",
                "the address of a mirror starts with `https://` or `http://` and has no blanks, quotes, `\\`, `$` and backquotes",
            ));
        }
    }
    problems
}

fn check_registries(value: &Value, path: &Path) -> Diagnostics {
    let Value::Map(registries) = value else {
        return Diagnostics::none();
    };
    let mut problems = Diagnostics::none();
    for (registry, credentials) in registries {
        let at = path.key(registry);
        if !is_registry_of_images(registry) {
            problems.extend(refuse(
                &at,
                "Not a registry",
                "a registry is a host in lower case, with a port where it has one",
            ));
        }
        if let Value::Map(fields) = credentials
            && let Some(Value::String(user)) = fields.get("username")
            && !is_user(user)
        {
            problems.extend(refuse(
                &at.attribute("username"),
                "Not a user's name",
                "the name of a user has no `:` in it",
            ));
        }
    }
    problems
}

fn refuse(path: &Path, summary: &str, why: &str) -> Diagnostics {
    Diagnostic::error(summary, format!("`{path}`: {why}."))
        .at(path.clone())
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::convert::to_value;

    #[test]
    fn what_is_wrong_in_a_map_is_reported_at_its_key() {
        let at = |attribute: &str, key: &str| Path::of(attribute).key(key);
        let text = to_value(&"https://a");
        let list = |values: &[&str]| to_value(&values);
        for (found, expected) in [
            (check_labels(&text, &at("l", "example.com/a")), vec![]),
            (check_labels(&text, &at("l", "a b")), vec!["Not a label"]),
            (
                check_labels(&text, &at("l", "node-role.kubernetes.io/worker")),
                vec!["The kubelet may not set this label"],
            ),
            (check_flags(&text, &at("f", "--v")), vec!["Not a flag"]),
            (
                check_flags(&text, &at("f", "node-ip")),
                vec!["Flag is the preset's"],
            ),
            (
                check_mirrors(&list(&["https://a", "https://a"]), &at("m", "a")),
                vec!["Mirror stands there twice"],
            ),
            (
                check_mirrors(&list(&["https://a"]), &at("m", "docker.io")),
                vec![],
            ),
            (
                check_mirrors(&list(&["https://a"]), &at("m", "https://a")),
                vec!["Not a registry"],
            ),
            (check_mirrors(&list(&[]), &at("m", "a")), vec!["No mirror"]),
            (
                check_mirrors(&list(&["a", "https://a", "ftp://a"]), &at("m", "a")),
                vec!["Not an address", "Not an address"],
            ),
            (
                check_registries(
                    &to_value(&std::collections::BTreeMap::from([("a/b", 1), ("c", 1)])),
                    &Path::of("c"),
                ),
                vec!["Not a registry"],
            ),
        ] {
            let summaries: Vec<&str> = found.0.iter().map(|it| it.summary.as_str()).collect();
            assert_eq!(summaries, expected);
        }
    }
}
