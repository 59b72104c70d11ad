//! Platforms as a table: where user data goes and how much fits, and which image file of a release
//! is the platform's. The table is the feature list.
//!
//! In: `platform("openstack")` and release 4593.2.5. Out: `flatcar_production_openstack_image.img`,
//! qcow2, not compressed. Sources: flatcar/scripts `build_library/vm_image_util.sh` and
//! `ci-automation/vms.sh` at 356 release tags (file names), each platform's own documentation
//! (limits).

use super::Version;

/// Processor architectures, in Flatcar's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Architecture {
    Amd64,
    Arm64,
}

impl Architecture {
    /// Both.
    pub const ALL: &[Architecture] = &[Architecture::Amd64, Architecture::Arm64];

    /// `"amd64"`.
    pub const fn name(self) -> &'static str {
        match self {
            Architecture::Amd64 => "amd64",
            Architecture::Arm64 => "arm64",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }
}

/// What an API takes as user data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// Base64, standard alphabet, padded.
    Base64,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// The bytes before any encoding.
    Raw,
    /// The bytes of the base64 text.
    Encoded,
}

/// How user data gets to a machine of a platform.
#[derive(Debug, Clone, Copy)]
pub struct UserData {
    /// How much the platform takes.
    pub limit: Limit,
    /// More than this is known to make trouble, though it is not refused everywhere.
    pub warn_above: Option<usize>,
    /// What both count.
    pub measured: Measured,
    /// What the API takes.
    pub encoding: Encoding,
    /// Where it goes, in the platform's words.
    pub transport: &'static str,
}

/// How much user data a platform takes, with the page that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// At most so many bytes, as the platform's own documentation or API says.
    Documented(usize, &'static str),
    /// At most so many bytes, as others have found out.
    Stated(usize, &'static str),
    /// A file or an address, of any size.
    Unlimited,
    /// Nobody says. [`FITS_EVERYWHERE`] is what to stay below.
    Unknown,
}

impl Limit {
    /// Most bytes that the platform takes; absent where there is no limit, or none is known.
    pub fn most(self) -> Option<usize> {
        match self {
            Self::Documented(most, _) | Self::Stated(most, _) => Some(most),
            Self::Unlimited | Self::Unknown => None,
        }
    }
}

/// The least that a platform is known to take: user data of at most so many bytes is no matter
/// where the limit is not known.
pub const FITS_EVERYWHERE: usize = 16_384;

impl UserData {
    /// From which size on user data is better packed, or warned of: what is known to make trouble,
    /// or what might.
    pub fn wary_above(&self) -> Option<usize> {
        match self.limit {
            Limit::Unknown => Some(FITS_EVERYWHERE),
            _ => self.warn_above,
        }
    }

    /// Most bytes before encoding.
    pub fn raw_limit(&self) -> Option<usize> {
        self.limit.most().map(|limit| match self.measured {
            Measured::Raw => limit,
            Measured::Encoded => limit / 4 * 3,
        })
    }
}

/// Since which releases something holds: from the last entry on; before that, from each entry on
/// within its own major (Flatcar brings changes to branches that live on).
pub type Since = &'static [Version];

/// An image file that releases have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFile {
    /// The word of Flatcar's build for it: `openstack`.
    pub image_type: &'static str,
    /// `flatcar_production_openstack_image.img`
    pub name: &'static str,
    /// What is inside, after decompression: `qcow2`, `raw`, `vmdk`, `vhd`, `vhdx`, `ova`, `iso`,
    /// `cpio`, `box`.
    pub disk_format: &'static str,
    /// `""`, `gz`, `bz2`, `zip`, `tar.gz`.
    pub compression: &'static str,
    /// Which releases have it.
    pub since: Since,
}

impl ImageFile {
    /// Whether a release has this file, unless a row before it took its place.
    pub fn is_in(&self, release: Version) -> bool {
        since(self.since, release)
    }
}

fn since(entries: Since, release: Version) -> bool {
    match entries.split_last() {
        None => true,
        Some((last, branches)) => {
            release >= *last
                || branches
                    .iter()
                    .any(|branch| branch.major == release.major && release >= *branch)
        }
    }
}

/// A platform that Flatcar publishes for, or that takes one of its images.
#[derive(Debug)]
pub struct Platform {
    /// The user's word: `aws`.
    pub name: &'static str,
    /// Its own name: `Amazon EC2`.
    pub title: &'static str,
    /// Where user data goes.
    pub user_data: UserData,
    /// Image files, the preferred first: the first one that a release has is the platform's.
    /// Platforms that Flatcar publishes into (aws, azure, gcp) have one too, for own imports.
    pub files: &'static [ImageFile],
    /// The processors that Flatcar publishes it for.
    pub architectures: &'static [Architecture],
}

impl Platform {
    /// The image file that a release has for this platform.
    pub fn file(&self, release: Version) -> Option<&'static ImageFile> {
        self.files.iter().find(|file| file.is_in(release))
    }
}

/// The platform of a name.
pub fn platform(name: &str) -> Option<&'static Platform> {
    PLATFORMS.iter().find(|platform| platform.name == name)
}

/// Other words for platforms, and what they are here; `Err` says why one is not.
pub const SYNONYMS: &[(&str, Result<&str, &str>)] = &[
    ("ec2", Ok("aws")),
    ("ami", Ok("aws")),
    ("gce", Ok("gcp")),
    ("google", Ok("gcp")),
    ("azurerm", Ok("azure")),
    ("libvirt", Ok("qemu")),
    ("kvm", Ok("qemu")),
    ("qemu_uefi", Ok("qemu")),
    ("linode", Ok("akamai")),
    ("ovh", Ok("openstack")),
    ("ovhcloud", Ok("openstack")),
    ("vmware_ova", Ok("vsphere")),
    ("vcloud", Ok("vcd")),
    ("proxmox", Ok("proxmoxve")),
    ("oci", Ok("oraclecloud")),
    ("oracle", Ok("oraclecloud")),
    ("metal", Ok("baremetal")),
    ("hcloud", Ok("hetzner")),
    (
        "packet",
        Err(
            "Equinix Metal ended in June 2026, and Flatcar publishes nothing for it since alpha 4722.0.0",
        ),
    ),
    (
        "equinixmetal",
        Err(
            "Equinix Metal ended in June 2026, and Flatcar publishes nothing for it since alpha 4722.0.0",
        ),
    ),
];

/// The platform of a name that a user wrote.
/// # Errors
/// For the user: what the platform is called here, or which there are.
pub fn known_platform(word: &str) -> Result<&'static Platform, String> {
    if let Some(platform) = platform(word) {
        return Ok(platform);
    }
    let names: Vec<&str> = PLATFORMS.iter().map(|platform| platform.name).collect();
    let accepted = format!("Accepted: {}.", names.join(", "));
    Err(
        match SYNONYMS.iter().find(|(synonym, _)| *synonym == word) {
            Some((_, Ok(name))) => format!("It is called {name} here. {accepted}"),
            Some((_, Err(reason))) => format!("{reason}. {accepted}"),
            None => accepted,
        },
    )
}

const BOTH: &[Architecture] = Architecture::ALL;
const AMD64: &[Architecture] = &[Architecture::Amd64];

const ALWAYS: Since = &[];
/// A second, compressed form beside bz2.
const GZ: Since = &[
    Version::of(2605, 32, 1),
    Version::of(3033, 3, 3),
    Version::of(3227, 2, 0),
    Version::of(3277, 1, 0),
];
const OPENSTACK_BARE: Since = &[
    Version::of(3510, 3, 2),
    Version::of(3602, 2, 2),
    Version::of(3760, 1, 0),
];
const QEMU_BARE: Since = &[
    Version::of(3033, 3, 18),
    Version::of(3510, 3, 0),
    Version::of(3602, 2, 0),
    Version::of(3732, 1, 0),
];
const STACKIT: Since = &[
    Version::of(4230, 2, 1),
    Version::of(4344, 1, 1),
    Version::of(4372, 0, 1),
];
const NUTANIX: Since = &[Version::of(4459, 1, 1), Version::of(4515, 0, 0)];
const HYPERV_ZIP: Since = &[Version::of(3941, 0, 0)];
const HETZNER: Since = &[Version::of(3941, 1, 0)];
const SCALEWAY: Since = &[Version::of(3913, 0, 0)];
const SCALEWAY_BARE: Since = &[Version::of(3941, 1, 0)];
const KUBEVIRT: Since = &[Version::of(3975, 0, 0)];
const AKAMAI: Since = &[Version::of(4012, 0, 0)];
const PROXMOXVE: Since = &[Version::of(4152, 0, 0)];
const EXOSCALE_BARE: Since = &[Version::of(4722, 0, 0)];
const ORACLE: Since = &[Version::of(4722, 0, 0)];
const ORACLE_BARE: Since = &[Version::of(4722, 1, 0)];

const fn file(
    image_type: &'static str,
    name: &'static str,
    disk_format: &'static str,
    compression: &'static str,
    since: Since,
) -> ImageFile {
    ImageFile {
        image_type,
        name,
        disk_format,
        compression,
        since,
    }
}

const fn user_data(
    limit: Limit,
    measured: Measured,
    encoding: Encoding,
    transport: &'static str,
) -> UserData {
    UserData {
        limit,
        warn_above: None,
        measured,
        encoding,
        transport,
    }
}

const OPENSTACK_USER_DATA: UserData = user_data(
    Limit::Documented(
        65_535,
        "https://docs.openstack.org/nova/latest/user/metadata.html#user-data",
    ),
    Measured::Encoded,
    Encoding::Base64,
    "user_data",
);
const VMWARE_USER_DATA: UserData = UserData {
    limit: Limit::Stated(1_048_576, GUESTINFO),
    warn_above: Some(65_536),
    measured: Measured::Encoded,
    encoding: Encoding::Base64,
    transport: "guestinfo.ignition.config.data, with guestinfo.ignition.config.data.encoding = base64",
};
/// A value of guestinfo is of 64 KiB, and a VMX file of 1 MiB where nobody raised that.
const GUESTINFO: &str = "https://github.com/vmware-tanzu/vm-operator/issues/148";
const OVA: ImageFile = file(
    "vmware_ova",
    "flatcar_production_vmware_ova.ova",
    "ova",
    "",
    ALWAYS,
);
const OPENSTACK_FILES: &[ImageFile] = &[
    file(
        "openstack",
        "flatcar_production_openstack_image.img",
        "qcow2",
        "",
        OPENSTACK_BARE,
    ),
    file(
        "openstack",
        "flatcar_production_openstack_image.img.gz",
        "qcow2",
        "gz",
        GZ,
    ),
    file(
        "openstack",
        "flatcar_production_openstack_image.img.bz2",
        "qcow2",
        "bz2",
        ALWAYS,
    ),
];
const QEMU_FILES: &[ImageFile] = &[
    file(
        "qemu_uefi",
        "flatcar_production_qemu_uefi_image.img",
        "qcow2",
        "",
        QEMU_BARE,
    ),
    file(
        "qemu_uefi",
        "flatcar_production_qemu_uefi_image.img.bz2",
        "qcow2",
        "bz2",
        ALWAYS,
    ),
];

/// Every platform.
#[rustfmt::skip]
pub const PLATFORMS: &[Platform] = &[
    Platform {
        name: "aws",
        title: "Amazon EC2",
        user_data: user_data(Limit::Documented(16_384, "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html"),
            Measured::Raw, Encoding::Base64, "UserData"),
        files: &[file("ami", "flatcar_production_ami_image.bin.bz2", "raw", "bz2", ALWAYS)],
        architectures: BOTH,
    },
    Platform {
        name: "azure",
        title: "Microsoft Azure",
        user_data: user_data(Limit::Documented(65_535, "https://learn.microsoft.com/azure/virtual-machines/user-data"),
            Measured::Raw, Encoding::Base64, "userData"),
        files: &[file("azure", "flatcar_production_azure_image.vhd.bz2", "vhd", "bz2", ALWAYS)],
        architectures: BOTH,
    },
    Platform {
        name: "gcp",
        title: "Google Compute Engine",
        user_data: user_data(Limit::Documented(262_144, "https://cloud.google.com/compute/docs/metadata/setting-custom-metadata"),
            Measured::Raw, Encoding::Plain, "metadata key user-data"),
        files: &[file("gce", "flatcar_production_gce.tar.gz", "raw", "tar.gz", ALWAYS)],
        architectures: AMD64,
    },
    Platform {
        name: "openstack",
        title: "OpenStack",
        user_data: OPENSTACK_USER_DATA,
        files: OPENSTACK_FILES,
        architectures: BOTH,
    },
    Platform {
        name: "vsphere",
        title: "VMware vSphere",
        user_data: VMWARE_USER_DATA,
        files: &[OVA],
        architectures: AMD64,
    },
    Platform {
        name: "vcd",
        title: "VMware Cloud Director",
        // Its API writes one value of guestinfo.
        user_data: UserData { limit: Limit::Stated(65_536, GUESTINFO), warn_above: None, ..VMWARE_USER_DATA },
        files: &[OVA],
        architectures: AMD64,
    },
    Platform {
        name: "kubevirt",
        title: "KubeVirt",
        user_data: user_data(Limit::Documented(1_048_576, "https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size"),
            Measured::Encoded, Encoding::Base64, "cloudInitConfigDrive with secretRef (at most 2,048 bytes inline)"),
        files: &[file("kubevirt", "flatcar_production_kubevirt_image.qcow2", "qcow2", "", KUBEVIRT)],
        architectures: BOTH,
    },
    Platform {
        name: "sandbox",
        title: "the provider's own sandbox",
        user_data: user_data(Limit::Documented(16_384, "the guide to the sandbox: as much as EC2"),
            Measured::Raw, Encoding::Plain, "the machine's record"),
        files: QEMU_FILES,
        architectures: BOTH,
    },
    Platform {
        name: "qemu",
        title: "QEMU and libvirt",
        user_data: user_data(Limit::Unlimited, Measured::Raw, Encoding::Plain, "fw_cfg key opt/org.flatcar-linux/config"),
        files: QEMU_FILES,
        architectures: BOTH,
    },
    Platform {
        name: "baremetal",
        title: "bare metal, flatcar-install",
        user_data: user_data(Limit::Unlimited, Measured::Raw, Encoding::Plain, "flatcar-install -i"),
        // Not an image type of the build scripts: the image that all others are made from.
        files: &[file("", "flatcar_production_image.bin.bz2", "raw", "bz2", ALWAYS)],
        architectures: BOTH,
    },
    Platform {
        name: "pxe",
        title: "bare metal, network boot",
        user_data: user_data(Limit::Unlimited, Measured::Raw, Encoding::Plain, "kernel argument ignition.config.url"),
        files: &[file("pxe", "flatcar_production_pxe_image.cpio.gz", "cpio", "gz", ALWAYS)],
        architectures: BOTH,
    },
    Platform {
        name: "iso",
        title: "bare metal, CD",
        user_data: user_data(Limit::Unlimited, Measured::Raw, Encoding::Plain, "flatcar-install -i"),
        files: &[file("iso", "flatcar_production_iso_image.iso", "iso", "", ALWAYS)],
        architectures: AMD64,
    },
    Platform {
        name: "vmware",
        title: "VMware Workstation, Fusion and free ESXi",
        user_data: VMWARE_USER_DATA,
        files: &[file("vmware", "flatcar_production_vmware_image.vmdk.bz2", "vmdk", "bz2", ALWAYS)],
        architectures: AMD64,
    },
    Platform {
        name: "digitalocean",
        title: "DigitalOcean",
        user_data: user_data(Limit::Documented(65_536, "https://docs.digitalocean.com/reference/api/"), Measured::Raw, Encoding::Plain, "user_data"),
        files: &[
            file("digitalocean", "flatcar_production_digitalocean_image.bin.gz", "raw", "gz", GZ),
            file("digitalocean", "flatcar_production_digitalocean_image.bin.bz2", "raw", "bz2", ALWAYS),
        ],
        architectures: AMD64,
    },
    Platform {
        name: "hetzner",
        title: "Hetzner Cloud",
        user_data: user_data(Limit::Documented(32_768, "https://docs.hetzner.cloud/reference/cloud#tag/servers/create_server"),
            Measured::Raw, Encoding::Plain, "user_data"),
        files: &[file("hetzner", "flatcar_production_hetzner_image.bin.bz2", "raw", "bz2", HETZNER)],
        architectures: BOTH,
    },
    Platform {
        name: "akamai",
        title: "Akamai (Linode)",
        user_data: user_data(Limit::Documented(16_384, "https://techdocs.akamai.com/linode-api/reference/post-linode-instance"),
            Measured::Raw, Encoding::Base64, "metadata.user_data"),
        files: &[file("akamai", "flatcar_production_akamai_image.bin.gz", "raw", "gz", AKAMAI)],
        architectures: BOTH,
    },
    Platform {
        name: "scaleway",
        title: "Scaleway",
        user_data: user_data(Limit::Unknown, Measured::Raw, Encoding::Plain, "user_data key cloud-init"),
        files: &[
            file("scaleway", "flatcar_production_scaleway_image.qcow2", "qcow2", "", SCALEWAY_BARE),
            file("scaleway", "flatcar_production_scaleway_image.qcow2.bz2", "qcow2", "bz2", SCALEWAY),
        ],
        architectures: BOTH,
    },
    Platform {
        name: "stackit",
        title: "STACKIT",
        user_data: OPENSTACK_USER_DATA,
        files: &[file("stackit", "flatcar_production_stackit_image.img", "qcow2", "", STACKIT)],
        architectures: BOTH,
    },
    Platform {
        name: "proxmoxve",
        title: "Proxmox VE",
        user_data: user_data(Limit::Unlimited, Measured::Raw, Encoding::Plain, "cicustom user= snippet"),
        files: &[file("proxmoxve", "flatcar_production_proxmoxve_image.img", "qcow2", "", PROXMOXVE)],
        architectures: BOTH,
    },
    Platform {
        name: "nutanix",
        title: "Nutanix AHV",
        user_data: UserData {
            // Whether before or after base64 is not said.
            warn_above: Some(24_576),
            ..user_data(Limit::Stated(32_768, "https://github.com/nutanix-cloud-native/cluster-api-provider-nutanix/pull/408"),
                Measured::Raw, Encoding::Base64, "guest customization user data")
        },
        files: &[file("nutanix", "flatcar_production_nutanix_image.img.bz2", "qcow2", "bz2", NUTANIX)],
        architectures: AMD64,
    },
    Platform {
        name: "oraclecloud",
        title: "Oracle Cloud",
        user_data: user_data(Limit::Documented(32_000, "https://docs.oracle.com/en-us/iaas/api/#/en/iaas/latest/LaunchInstanceDetails"),
            Measured::Encoded, Encoding::Base64, "metadata key user_data"),
        files: &[
            file("oraclecloud", "flatcar_production_oraclecloud_image.img", "qcow2", "", ORACLE_BARE),
            file("oraclecloud", "flatcar_production_oraclecloud_image.img.bz2", "qcow2", "bz2", ORACLE),
        ],
        architectures: BOTH,
    },
    Platform {
        name: "exoscale",
        title: "Exoscale",
        user_data: user_data(Limit::Stated(32_767, "https://github.com/exoscale/terraform-provider-exoscale"),
            Measured::Encoded, Encoding::Plain, "user_data"),
        files: &[
            file("exoscale", "flatcar_production_exoscale_image.qcow2", "qcow2", "", EXOSCALE_BARE),
            file("exoscale", "flatcar_production_exoscale_image.img.bz2", "qcow2", "bz2", ALWAYS),
        ],
        architectures: AMD64,
    },
    Platform {
        name: "hyperv",
        title: "Hyper-V",
        user_data: user_data(Limit::Unknown, Measured::Raw, Encoding::Plain, "KVP values ignition.config.N of about 1 KiB each"),
        files: &[
            file("hyperv_vhdx", "flatcar_production_hyperv_vhdx_image.vhdx.zip", "vhdx", "zip", HYPERV_ZIP),
            file("hyperv", "flatcar_production_hyperv_image.vhd.bz2", "vhd", "bz2", ALWAYS),
        ],
        architectures: AMD64,
    },
    Platform {
        name: "cloudstack",
        title: "Apache CloudStack",
        user_data: UserData {
            // What vm.userdata.max.length is where nobody raised it.
            warn_above: Some(32_768),
            ..user_data(Limit::Documented(1_048_576, "https://cloudstack.apache.org/api/apidocs-4.20/apis/deployVirtualMachine.html"),
                Measured::Encoded, Encoding::Base64, "userdata (POST)")
        },
        files: &[file("cloudstack", "flatcar_production_cloudstack_image.bin.bz2", "raw", "bz2", ALWAYS)],
        architectures: AMD64,
    },
    Platform {
        name: "brightbox",
        title: "Brightbox",
        user_data: user_data(Limit::Stated(16_384, "https://github.com/brightbox/terraform-provider-brightbox"),
            Measured::Encoded, Encoding::Base64, "user_data"),
        // Brightbox takes the OpenStack image; its own name for it is gone from the build since
        // 3760.1.0.
        files: OPENSTACK_FILES,
        architectures: BOTH,
    },
    Platform {
        name: "vagrant",
        title: "Vagrant with VirtualBox",
        user_data: user_data(Limit::Unknown, Measured::Raw, Encoding::Plain, "Vagrantfile, ignition.config"),
        files: &[file("vagrant", "flatcar_production_vagrant.box", "box", "", ALWAYS)],
        architectures: AMD64,
    },
];
