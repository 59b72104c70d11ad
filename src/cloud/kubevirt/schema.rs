//! The attribute `kubevirt` of the group, as Terraform knows it. Names are those of KubeVirt's API
//! and of CDI's, with underscores.

use super::shape::{
    ANNOTATIONS, CLUSTER_INSTANCETYPE, CLUSTER_PREFERENCE, INSTANCETYPE, LABELS, NAME_SAYS,
    PREFERENCE, RUN_STRATEGY, is_checksum, is_name, is_quantity,
};
use crate::kubernetes::label;
use crate::provider::{Attribute, Type};

/// The attribute `kubevirt` of the group: one machine's shape.
pub(super) fn group_schema() -> Attribute {
    let text = |name, description: &str| Attribute::string(name, description).optional().filled();
    let reference = |name, of: &str, [cluster, own]: [&'static str; 2]| {
        Attribute::object(
            name,
            &format!("{of} that says what is left out here."),
            vec![
                object("name", "Its name, such as `u1.medium`."),
                Attribute::string(
                    "kind",
                    "Its kind: of the whole cluster, or of the namespace.",
                )
                .default(cluster)
                .one_of([cluster, own]),
            ],
        )
        .optional()
    };
    let mut attributes = vec![
        Attribute::string("namespace", "Namespace of the machines; without it that of the provider block. A group moves to another one by being made anew.")
            .optional()
            .pattern(NAME_SAYS, is_name),
        reference("instancetype", "Instance type", [CLUSTER_INSTANCETYPE, INSTANCETYPE]),
        reference("preference", "Preference", [CLUSTER_PREFERENCE, PREFERENCE]),
        Attribute::object(
            "cpu",
            "Processors of the guest; needed, with `memory`, where there is no `instancetype`.",
            vec![
                Attribute::number("cores", "Cores of a socket.").default(1).range(1..=1024),
                Attribute::number("sockets", "Sockets.").default(1).range(1..=1024),
                Attribute::number("threads", "Threads of a core.").default(1).range(1..=1024),
                text("model", "Model, such as `host-passthrough`; without it KubeVirt's default."),
                Attribute::bool("dedicated_cpu_placement", "Whether processors of the host are the guest's alone.").default(false),
            ],
        )
        .optional(),
        Attribute::object(
            "memory",
            "Memory of the guest.",
            vec![quantity("guest", "Its size, such as `4Gi`.").required()],
        )
        .optional(),
        Attribute::object(
            "container_disk",
            "How an `image` that is a container image is pulled.",
            vec![
                Attribute::string("image_pull_policy", "When it is pulled; without it Kubernetes' own rule.")
                    .optional()
                    .one_of(["Always", "IfNotPresent", "Never"]),
                text("image_pull_secret", "Secret of the namespace that the registry takes."),
                text("path", "Path of the disk in the image; without it the only file in `/disk`."),
            ],
        )
        .optional(),
        Attribute::object(
            "data_volume",
            "Disk that each machine boots from, made from `image` and deleted with the machine. Needed unless `image` is a container image.",
            [
                storage(),
                vec![
                    Attribute::string("checksum", "What an image at a URL has to be: `sha512:` and the hash that `flatcar_image` has. KubeVirt 1.8 does not know it yet, and drops it.")
                        .optional()
                        .pattern("`sha512:` or `sha256:` and a hash in hexadecimal digits", is_checksum),
                    text("secret_ref", "Secret of the namespace with `accessKeyId` and `secretKey` for the URL."),
                    text("cert_config_map", "ConfigMap of the namespace with the authority of the URL's certificate."),
                ],
            ]
            .concat(),
        )
        .optional(),
        Attribute::list_of(
            "data_volumes",
            "Further disks, made and deleted with the machine; in any order.",
            [vec![named("name", "Name, and serial number: `/dev/disk/by-id/virtio-<name>` has at most 20 characters of it.")], storage()].concat(),
        )
        .optional()
        .length(0..=16),
        Attribute::list_of(
            "networks",
            "Network interfaces, in this order; without any the pod network by masquerade.",
            vec![
                named("name", "Name of the interface."),
                Attribute::object(
                    "multus",
                    "A network of Multus; without it the pod network.",
                    vec![filled("network_name", "Its NetworkAttachmentDefinition: `name`, or `namespace/name`.").required()],
                )
                .optional(),
                Attribute::string("binding", "How the guest is connected.").default("masquerade").one_of(["masquerade", "bridge", "sriov"]),
                Attribute::string("model", "Model of the card; without it `virtio`.")
                    .optional()
                    .one_of(["virtio", "e1000", "e1000e", "igb", "ne2k_pci", "pcnet", "rtl8139"]),
            ],
        )
        .optional()
        .length(0..=16),
        Attribute::string("mac_policy", "Where MAC addresses come from: `generated` is KubeVirt's choice at each start, `derived` is made from the machine's name and stays.")
            .default("generated")
            .one_of(["generated", "derived"]),
    ];
    attributes.extend(placement());
    attributes.extend(life());
    Attribute::object(
        "kubevirt",
        "Virtual machines of KubeVirt. `image` is a container image (`quay.io/example/flatcar:4593.2.5`), or what `data_volume` is made from: a URL, `docker://` \
         and a container image, `pvc:` or `snapshot:` and a name, or namespace and name.",
        attributes,
    )
    .optional()
}

/// Where machines are placed.
fn placement() -> Vec<Attribute> {
    let text = |name, description: &str| Attribute::string(name, description).optional().filled();
    vec![
        Attribute::map(
            "node_selector",
            "Labels of the nodes that machines may be on.",
            Type::String,
        )
        .optional(),
        Attribute::object(
            "affinity",
            "Further rules of where machines are.",
            vec![
                Attribute::list_of(
                    "node_affinity",
                    "What nodes have to be, all of it.",
                    vec![
                        filled("key", "Label of a node.").required(),
                        Attribute::string("operator", "How it is compared.")
                            .default("In")
                            .one_of(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
                        Attribute::list("values", "Values.", Type::String).optional(),
                    ],
                )
                .optional(),
                Attribute::list_of(
                    "pod_anti_affinity",
                    "Domains in which the group has one machine at most.",
                    vec![
                        filled(
                            "topology_key",
                            "Label of nodes that tells domains apart: `kubernetes.io/hostname`.",
                        )
                        .required(),
                        Attribute::bool(
                            "required",
                            "Whether a machine rather waits than shares one.",
                        )
                        .default(true),
                    ],
                )
                .optional(),
            ],
        )
        .optional(),
        Attribute::list_of(
            "topology_spread_constraints",
            "How evenly the group's machines are spread.",
            vec![
                Attribute::number("max_skew", "By how many machines domains may differ.")
                    .default(1)
                    .range(1..=1000),
                filled(
                    "topology_key",
                    "Label of nodes that tells domains apart: `topology.kubernetes.io/zone`.",
                )
                .required(),
                Attribute::string(
                    "when_unsatisfiable",
                    "What becomes of a machine that fits nowhere.",
                )
                .default("ScheduleAnyway")
                .one_of(["ScheduleAnyway", "DoNotSchedule"]),
            ],
        )
        .optional(),
        Attribute::list_of(
            "tolerations",
            "Taints of nodes that machines bear.",
            vec![
                text("key", "Key of the taint; without it all."),
                Attribute::string("operator", "How `value` is compared.")
                    .default("Equal")
                    .one_of(["Equal", "Exists"]),
                text("value", "Its value."),
                Attribute::string("effect", "Its effect; without it all.")
                    .optional()
                    .one_of(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
                Attribute::number("toleration_seconds", "How long `NoExecute` is borne.")
                    .optional()
                    .range(0..=31_536_000),
            ],
        )
        .optional(),
        text("priority_class_name", "Priority class."),
    ]
}

/// How machines live.
fn life() -> Vec<Attribute> {
    let texts = |name, description| {
        Attribute::list(name, description, Type::String)
            .optional()
            .filled()
    };
    vec![
        Attribute::string("eviction_strategy", "What becomes of a machine whose node is drained; without it the cluster's default.")
            .optional()
            .one_of(["None", "LiveMigrate", "LiveMigrateIfPossible", "External"]),
        Attribute::string(RUN_STRATEGY, "Whether a machine that ends runs again; changed in place.").default("Always").one_of(["Always", "RerunOnFailure"]),
        Attribute::number("termination_grace_period_seconds", "How long a guest may take to shut down.").default(180).range(0..=86_400),
        Attribute::string("dns_policy", "Whom the guest asks for names; without it Kubernetes' default.")
            .optional()
            .one_of(["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]),
        Attribute::object(
            "dns_config",
            "Further settings of it.",
            vec![texts("nameservers", "Addresses of name servers."), texts("searches", "Domains that short names are looked for in.")],
        )
        .optional(),
        Attribute::list_of(
            "access_credentials",
            "Public keys for SSH that the namespace's Secrets hold.",
            vec![
                object("secret_name", "Secret, each value of which is a key."),
                texts("users", "Users whose keys the guest agent writes; without any they stand in the config drive."),
            ],
        )
        .optional(),
        Attribute::map(LABELS, "Labels of the machines; changed in place. Pods have them from their next start on.", Type::String).optional().length(0..=64),
        Attribute::map(ANNOTATIONS, "Annotations of the machines; changed in place. Pods have them from their next start on.", Type::String).optional().length(0..=64),
    ]
}

fn storage() -> Vec<Attribute> {
    vec![
        quantity("storage", "Size, such as `20Gi`.").required(),
        Attribute::string("storage_class_name", "Storage class; without it the cluster's default.").optional().filled(),
        Attribute::set("access_modes", "Access modes; without any those of CDI's profile of the storage class. Machines that migrate need `ReadWriteMany`.", Type::String)
            .optional()
            .one_of(["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]),
        Attribute::string("volume_mode", "Whether it is a block device or in a file; without it what the profile says.").optional().one_of(["Block", "Filesystem"]),
    ]
}

fn filled(name: &'static str, description: &str) -> Attribute {
    Attribute::string(name, description).filled()
}

/// An object of the cluster.
fn object(name: &'static str, description: &str) -> Attribute {
    Attribute::string(name, description).required().pattern(
        "A name of lower-case letters, digits, hyphens and dots, at most 253 characters",
        label::is_name,
    )
}

fn named(name: &'static str, description: &str) -> Attribute {
    Attribute::string(name, description)
        .required()
        .pattern(NAME_SAYS, is_name)
}

fn quantity(name: &'static str, description: &str) -> Attribute {
    Attribute::string(name, description)
        .pattern("A quantity of Kubernetes, such as `20Gi`", is_quantity)
}
