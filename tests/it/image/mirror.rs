//! The files of a release, signed: what a release server or a mirror holds below
//! `{channel}/{arch}`.

use std::collections::BTreeMap;

use flatcar::flatcar::Version;
use sha2::{Digest, Sha512};

use super::keys::Key;

/// Path to contents.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A release to be.
pub(crate) struct Release<'a> {
    pub(crate) channel: &'a str,
    pub(crate) architecture: &'a str,
    pub(crate) version: Version,
    /// Days of the build and of the signatures.
    pub(crate) built: &'a str,
    pub(crate) signed: &'a str,
    /// The subkey that signs.
    pub(crate) subkey: usize,
}

/// An official release of 2026-08.
pub(crate) fn stable() -> Release<'static> {
    Release {
        channel: "stable",
        architecture: "amd64",
        version: Version::of(4593, 2, 5),
        built: "2026-08-11",
        signed: "2026-08-13",
        subkey: 0,
    }
}

/// The AMI list of the demonstration; no such AMI exists.
const AMIS: &str = "{\n  \"amis\": [\n    {\n      \"name\": \"eu-central-1\",\n      \"hvm\": \"ami-0de00000000000001\"\n    },\n    {\n      \"name\": \"us-east-1\",\n      \"hvm\": \"ami-0de00000000000002\"\n    }\n  ]\n}\n";

impl Release<'_> {
    /// Where it lies.
    pub(crate) fn directory(&self) -> String {
        format!("{}/{}/{}", self.channel, self.architecture, self.version)
    }

    /// `version.txt`.
    pub(crate) fn version_txt(&self) -> String {
        let Version {
            major,
            minor,
            patch,
        } = self.version;
        format!(
            "FLATCAR_BUILD={major}\nFLATCAR_BRANCH={minor}\nFLATCAR_PATCH={patch}\nFLATCAR_VERSION={0}\nFLATCAR_VERSION_ID={0}\n\
             FLATCAR_BUILD_ID=\"{1}-2350\"\nFLATCAR_SDK_VERSION={major}.0.0\n",
            self.version, self.built
        )
    }

    /// All its files: lists, and image files that hold a line of text.
    pub(crate) fn files(&self, key: &Key) -> Files {
        let mut files = Files::new();
        let mut add = |name: &str, contents: &str| {
            let path = format!("{}/{name}", self.directory());
            self.add(&mut files, key, &path, contents.as_bytes());
        };
        add("version.txt", &self.version_txt());
        add("flatcar_production_ami_all.json", AMIS);
        add(
            "flatcar_production_image_packages.txt",
            "sys-apps/ignition-2.24.0-r4::coreos-overlay\nsys-apps/systemd-257.9-r1::portage-stable\n\
             sys-kernel/coreos-kernel-6.12.102::coreos-overlay\n",
        );
        add(
            "rootfs-included-sysexts/containerd-flatcar_packages.txt",
            "app-containers/containerd-2.1.5::portage-stable\n",
        );
        add(
            "rootfs-included-sysexts/docker-flatcar_packages.txt",
            "app-containers/docker-28.0.4::portage-stable\n",
        );
        files
    }

    /// Adds a stand-in for an image file, with its digests.
    pub(crate) fn add_image(&self, files: &mut Files, key: &Key, name: &str) {
        let contents = format!("In place of {name} of Flatcar {}.\n", self.version);
        let path = format!("{}/{name}", self.directory());
        self.add(files, key, &path, contents.as_bytes());
        let sum: String = Sha512::digest(contents.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let digests = format!("# SHA512 HASH\n{sum}  {name}\n");
        let signed = key.clear(self.subkey, self.signed, &digests);
        files.insert(format!("{path}.DIGESTS"), digests.into_bytes());
        files.insert(format!("{path}.DIGESTS.asc"), signed.into_bytes());
    }

    /// Makes it the current one.
    pub(crate) fn add_current(&self, files: &mut Files, name: &str) {
        for file in ["version.txt", "version.txt.sig"] {
            let contents = files[&format!("{}/{file}", self.directory())].clone();
            let current = format!("{}/{}/{name}/{file}", self.channel, self.architecture);
            files.insert(current, contents);
        }
    }

    /// A file and its signature.
    pub(crate) fn add(&self, files: &mut Files, key: &Key, path: &str, contents: &[u8]) {
        let signature = key.detached(self.subkey, self.signed, contents);
        files.insert(path.to_owned(), contents.to_vec());
        files.insert(format!("{path}.sig"), signature);
    }
}
