//! Butane's `flatcar` variant and Ignition 3 as data: every field, its spelling in both formats,
//! and since when it exists.
//!
//! A new field is one row here. Source: Butane 0.28 (base v0_4, v0_5, v0_8_exp), Ignition 2.26.0
//! (config 3.0 to 3.7.0-experimental).

use crate::ignition::config::Kind::{Bool, Bytes, Int, Object, Objects, Text, Texts};
use crate::ignition::config::versions::{NEVER, V1_1, V1_2};
use crate::ignition::config::{Field, Shape};

/// What is read before the version is known.
pub(crate) static HEADER: Shape = Shape {
    name: "commonFields",
    key: "",
    fields: &[Field::sugar("version", Text), Field::sugar("variant", Text)],
};

/// The whole config.
pub(crate) static CONFIG: Shape = Shape {
    name: "Config",
    key: "",
    fields: &[
        Field::sugar("version", Text),
        Field::sugar("variant", Text),
        same("ignition", Object(&IGNITION)),
        Field::new(
            "kernel_arguments",
            "kernelArguments",
            Object(&KERNEL_ARGUMENTS),
        )
        .spec(3),
        same("passwd", Object(&PASSWD)),
        same("storage", Object(&STORAGE)),
        same("systemd", Object(&SYSTEMD)),
    ],
};

static IGNITION: Shape = Shape {
    name: "Ignition",
    key: "",
    fields: &[
        same("config", Object(&IGNITION_CONFIG)),
        same("proxy", Object(&PROXY)).spec(1),
        same("security", Object(&SECURITY)),
        same("timeouts", Object(&TIMEOUTS)),
        same("version", Text).since(NEVER).always(),
    ],
};

static IGNITION_CONFIG: Shape = Shape {
    name: "IgnitionConfig",
    key: "",
    fields: &[
        same("merge", Objects(&RESOURCE, "")),
        same("replace", Object(&RESOURCE)),
    ],
};

static PROXY: Shape = Shape {
    name: "Proxy",
    key: "",
    fields: &[
        Field::new("http_proxy", "httpProxy", Text),
        Field::new("https_proxy", "httpsProxy", Text),
        Field::new("no_proxy", "noProxy", Texts("string")),
    ],
};

static SECURITY: Shape = Shape {
    name: "Security",
    key: "",
    fields: &[same("tls", Object(&TLS))],
};

static TLS: Shape = Shape {
    name: "TLS",
    key: "",
    fields: &[Field::new(
        "certificate_authorities",
        "certificateAuthorities",
        Objects(&RESOURCE, ""),
    )],
};

static TIMEOUTS: Shape = Shape {
    name: "Timeouts",
    key: "",
    fields: &[
        Field::new("http_response_headers", "httpResponseHeaders", Int),
        Field::new("http_total", "httpTotal", Int),
    ],
};

/// Something to fetch, or to find inside the config.
pub(crate) static RESOURCE: Shape = Shape {
    name: "Resource",
    key: "source",
    fields: &[
        same("compression", Text),
        Field::new(
            "http_headers",
            "httpHeaders",
            Objects(&HTTP_HEADER, "HTTPHeaders"),
        )
        .spec(1),
        same("source", Text),
        Field::sugar("inline", Bytes),
        Field::sugar("local", Text),
        same("verification", Object(&VERIFICATION)),
    ],
};

/// A header of a request.
pub(crate) static HTTP_HEADER: Shape = Shape {
    name: "HTTPHeader",
    key: "name",
    fields: &[same("name", Text).always(), same("value", Text)],
};

/// The hash of a resource.
pub(crate) static VERIFICATION: Shape = Shape {
    name: "Verification",
    key: "",
    fields: &[same("hash", Text)],
};

static KERNEL_ARGUMENTS: Shape = Shape {
    name: "KernelArguments",
    key: "",
    fields: &[
        Field::new("should_exist", "shouldExist", Texts("KernelArgument")).shared_keys(),
        Field::new(
            "should_not_exist",
            "shouldNotExist",
            Texts("KernelArgument"),
        )
        .shared_keys(),
    ],
};

static PASSWD: Shape = Shape {
    name: "Passwd",
    key: "",
    fields: &[
        same("groups", Objects(&PASSWD_GROUP, "")),
        same("users", Objects(&PASSWD_USER, "")),
    ],
};

static PASSWD_GROUP: Shape = Shape {
    name: "PasswdGroup",
    key: "name",
    fields: &[
        same("gid", Int),
        same("name", Text).always(),
        Field::new("password_hash", "passwordHash", Text),
        Field::new("should_exist", "shouldExist", Bool).spec(2),
        same("system", Bool),
    ],
};

/// A user account.
pub(crate) static PASSWD_USER: Shape = Shape {
    name: "PasswdUser",
    key: "name",
    fields: &[
        same("gecos", Text),
        same("groups", Texts("Group")),
        Field::new("home_dir", "homeDir", Text),
        same("name", Text).always(),
        Field::new("no_create_home", "noCreateHome", Bool),
        Field::new("no_log_init", "noLogInit", Bool),
        Field::new("no_user_group", "noUserGroup", Bool),
        Field::new("password_hash", "passwordHash", Text),
        Field::new("primary_group", "primaryGroup", Text),
        Field::new(
            "ssh_authorized_keys",
            "sshAuthorizedKeys",
            Texts("SSHAuthorizedKey"),
        ),
        Field::sugar("ssh_authorized_keys_local", Texts("string")).since(V1_1),
        same("shell", Text),
        Field::new("should_exist", "shouldExist", Bool).spec(2),
        same("system", Bool),
        same("uid", Int),
    ],
};

static STORAGE: Shape = Shape {
    name: "Storage",
    key: "",
    fields: &[
        same("directories", Objects(&DIRECTORY, "")).shared_keys(),
        same("disks", Objects(&DISK, "")),
        same("files", Objects(&FILE, "")).shared_keys(),
        same("filesystems", Objects(&FILESYSTEM, "")),
        same("links", Objects(&LINK, "")).shared_keys(),
        same("luks", Objects(&LUKS, "")).spec(2),
        same("raid", Objects(&RAID, "")),
        Field::sugar("trees", Objects(&TREE, "")),
    ],
};

/// A directory to make.
pub(crate) static DIRECTORY: Shape = Shape {
    name: "Directory",
    key: "path",
    fields: &[
        same("group", Object(&NODE_GROUP)),
        same("overwrite", Bool),
        same("path", Text).always(),
        same("user", Object(&NODE_USER)),
        same("mode", Int),
    ],
};

/// A file to write.
pub(crate) static FILE: Shape = Shape {
    name: "File",
    key: "path",
    fields: &[
        same("group", Object(&NODE_GROUP)),
        same("overwrite", Bool),
        same("path", Text).always(),
        same("user", Object(&NODE_USER)),
        same("append", Objects(&RESOURCE, "")).unkeyed(),
        same("contents", Object(&RESOURCE)),
        same("mode", Int),
    ],
};

/// A link to make.
pub(crate) static LINK: Shape = Shape {
    name: "Link",
    key: "path",
    fields: &[
        same("group", Object(&NODE_GROUP)),
        same("overwrite", Bool),
        same("path", Text).always(),
        same("user", Object(&NODE_USER)),
        same("hard", Bool),
        same("target", Text),
    ],
};

/// The group that owns a node.
pub(crate) static NODE_GROUP: Shape = Shape {
    name: "NodeGroup",
    key: "",
    fields: &[same("id", Int), same("name", Text)],
};

/// The user that owns a node.
pub(crate) static NODE_USER: Shape = Shape {
    name: "NodeUser",
    key: "",
    fields: &[same("id", Int), same("name", Text)],
};

/// A disk and its partitions.
pub(crate) static DISK: Shape = Shape {
    name: "Disk",
    key: "device",
    fields: &[
        same("device", Text).always(),
        same("partitions", Objects(&PARTITION, "")),
        Field::new("wipe_table", "wipeTable", Bool),
    ],
};

/// A partition.
pub(crate) static PARTITION: Shape = Shape {
    name: "Partition",
    key: "number",
    fields: &[
        same("guid", Text),
        same("label", Text),
        same("number", Int),
        same("resize", Bool).spec(2),
        Field::new("should_exist", "shouldExist", Bool),
        Field::new("size_mib", "sizeMiB", Int),
        Field::new("start_mib", "startMiB", Int),
        Field::new("type_guid", "typeGuid", Text),
        Field::new("wipe_partition_entry", "wipePartitionEntry", Bool),
    ],
};

/// A filesystem to make.
pub(crate) static FILESYSTEM: Shape = Shape {
    name: "Filesystem",
    key: "device",
    fields: &[
        same("device", Text).always(),
        same("format", Text),
        same("label", Text),
        Field::new("mount_options", "mountOptions", Texts("string"))
            .spec(1)
            .unkeyed(),
        same("options", Texts("string")).unkeyed(),
        same("path", Text),
        same("uuid", Text),
        Field::new("wipe_filesystem", "wipeFilesystem", Bool),
        Field::sugar("with_mount_unit", Bool),
    ],
};

/// An encrypted device.
pub(crate) static LUKS: Shape = Shape {
    name: "Luks",
    key: "name",
    fields: &[
        same("cex", Object(&CEX)).since(V1_2).spec(5),
        same("clevis", Object(&CLEVIS)),
        same("device", Text),
        same("discard", Bool).since(V1_1).spec(4),
        Field::new("key_file", "keyFile", Object(&RESOURCE)),
        same("label", Text),
        same("name", Text).always(),
        Field::new("open_options", "openOptions", Texts("string"))
            .since(V1_1)
            .spec(4),
        same("options", Texts("LuksOption")).unkeyed(),
        same("uuid", Text),
        Field::new("wipe_volume", "wipeVolume", Bool),
    ],
};

static CEX: Shape = Shape {
    name: "Cex",
    key: "",
    fields: &[same("enabled", Bool)],
};

static CLEVIS: Shape = Shape {
    name: "Clevis",
    key: "",
    fields: &[
        same("custom", Object(&CLEVIS_CUSTOM)),
        same("tang", Objects(&TANG, "")),
        same("threshold", Int),
        same("tpm2", Bool),
    ],
};

/// A Clevis pin of one's own.
pub(crate) static CLEVIS_CUSTOM: Shape = Shape {
    name: "ClevisCustom",
    key: "",
    fields: &[
        same("config", Text),
        Field::new("needs_network", "needsNetwork", Bool),
        same("pin", Text),
    ],
};

/// A Tang server.
pub(crate) static TANG: Shape = Shape {
    name: "Tang",
    key: "url",
    fields: &[
        same("advertisement", Text).since(V1_1).spec(4),
        same("thumbprint", Text),
        same("url", Text),
    ],
};

/// A RAID array.
pub(crate) static RAID: Shape = Shape {
    name: "Raid",
    key: "name",
    fields: &[
        same("devices", Texts("Device")),
        same("level", Text),
        same("name", Text).always(),
        same("options", Texts("RaidOption")).unkeyed(),
        same("spares", Int),
    ],
};

/// A directory of files to embed.
pub(crate) static TREE: Shape = Shape {
    name: "Tree",
    key: "",
    fields: &[
        Field::sugar("group", Object(&NODE_GROUP)).since(V1_2),
        Field::sugar("local", Text),
        Field::sugar("path", Text),
        Field::sugar("user", Object(&NODE_USER)).since(V1_2),
        Field::sugar("file_mode", Int).since(V1_2),
        Field::sugar("dir_mode", Int).since(V1_2),
    ],
};

static SYSTEMD: Shape = Shape {
    name: "Systemd",
    key: "",
    fields: &[
        same("units", Objects(&UNIT, "")),
        Field::sugar("quadlets", Objects(&QUADLET, "")).since(V1_2),
    ],
};

/// A systemd unit.
pub(crate) static UNIT: Shape = Shape {
    name: "Unit",
    key: "name",
    fields: &[
        same("contents", Text),
        Field::sugar("contents_local", Text).since(V1_1),
        same("dropins", Objects(&DROPIN, "")),
        same("enabled", Bool),
        same("mask", Bool),
        same("name", Text).always(),
    ],
};

/// A drop-in of a unit.
pub(crate) static DROPIN: Shape = Shape {
    name: "Dropin",
    key: "name",
    fields: &[
        same("contents", Text),
        Field::sugar("contents_local", Text).since(V1_1),
        same("name", Text).always(),
    ],
};

/// A Podman quadlet.
pub(crate) static QUADLET: Shape = Shape {
    name: "Quadlet",
    key: "name",
    fields: &[
        Field::sugar("contents", Text),
        Field::sugar("contents_local", Text),
        Field::sugar("name", Text),
        Field::sugar("rootful", Bool),
        Field::sugar("dropins", Objects(&DROPIN, "")),
    ],
};

/// A field that both formats spell alike.
const fn same(name: &'static str, kind: crate::ignition::config::Kind) -> Field {
    Field::new(name, name, kind)
}
