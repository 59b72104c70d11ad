//! The tamper table: everything that someone between us and Flatcar could change, and what is said
//! of it.

use pgp::packet::RevocationCode;

use flatcar::flatcar::{Architecture, Version};
use flatcar::image::{Notice, Request};

use crate::harness::scratch;

use super::keys::{Key, Subkey};
use super::mirror::{Files, Release, stable};
use super::{OPENSTACK, local, release_files, request, resolve_with, told, write};

/// One way to change a file.
enum Change {
    /// One bit of its middle.
    Flip,
    Truncate,
    Append(&'static str),
    /// Two lines change places.
    Reorder,
    Empty,
    Remove,
    /// Another file of the mirror, with its signature, in its place.
    By(&'static str),
    /// The signature of another file.
    SignatureOf(&'static str),
    /// Something else that is signed by a stranger.
    Stranger,
    /// A signature that names a weak hash, by its number.
    Weak(u8),
    /// The right key signs it on another day, for so many days; none: for ever.
    Dated(&'static str, u32),
    /// So many good signatures in the place of one.
    Signatures(usize),
    /// So many bytes behind it.
    Longer(usize),
}

const VERSION: &str = "stable/amd64/current/version.txt";
const AMIS: &str = "stable/amd64/4593.2.5/flatcar_production_ami_all.json";
const PACKAGES: &str = "stable/amd64/4593.2.5/flatcar_production_image_packages.txt";
const DOCKER: &str = "stable/amd64/4593.2.5/rootfs-included-sysexts/docker-flatcar_packages.txt";
const DIGESTS: &str = "stable/amd64/4593.2.5/flatcar_production_openstack_image.img.DIGESTS.asc";

#[rustfmt::skip]
const TABLE: &[(&str, Change, &str, &str)] = &[
    ("openstack", Change::Flip, VERSION, "does not fit the file"),
    ("openstack", Change::Truncate, VERSION, "does not fit the file"),
    ("openstack", Change::Append("FLATCAR_VERSION=4593.2.9\n"), VERSION, "does not fit the file"),
    ("openstack", Change::Reorder, VERSION, "does not fit the file"),
    ("openstack", Change::Empty, VERSION, "does not fit the file"),
    ("openstack", Change::SignatureOf(AMIS), VERSION, "does not fit the file"),
    ("openstack", Change::By(AMIS), VERSION, "it has no FLATCAR_VERSION"),
    ("openstack", Change::By("stable/amd64/4593.2.4/version.txt"), "stable/amd64/4593.2.5/version.txt", "Not release 4593.2.5 but 4593.2.4"),
    ("openstack", Change::By("alpha/amd64/4790.0.0/version.txt"), VERSION, "4790.0.0 is a release of channel alpha, not of stable"),
    ("openstack", Change::Stranger, VERSION, "which is not accepted"),
    ("openstack", Change::Weak(2), VERSION, "hash SHA1"),
    ("openstack", Change::Weak(1), VERSION, "hash MD5"),
    ("openstack", Change::Flip, "stable/amd64/current/version.txt.sig", ""),
    ("openstack", Change::Truncate, "stable/amd64/current/version.txt.sig", "Signature check of version.txt failed"),
    ("openstack", Change::Empty, "stable/amd64/current/version.txt.sig", "the signature cannot be read"),
    ("openstack", Change::Remove, "stable/amd64/current/version.txt.sig", "so its file is not signed"),
    ("openstack", Change::Flip, PACKAGES, "does not fit the file"),
    ("openstack", Change::By("stable/amd64/4593.2.4/flatcar_production_image_packages.txt"), PACKAGES, "was signed on 2026-07-09, before 4593.2.5 was built on 2026-08-11"),
    ("openstack", Change::Remove, "stable/amd64/4593.2.5/flatcar_production_image_packages.txt.sig", "so its file is not signed"),
    ("openstack", Change::Flip, DOCKER, "does not fit the file"),
    ("openstack", Change::Flip, DIGESTS, ""),
    ("openstack", Change::Truncate, DIGESTS, "the signature cannot be read"),
    ("openstack", Change::Append("\n# SHA512 HASH\n0  x\n"), DIGESTS, "the signature cannot be read"),
    ("openstack", Change::By("stable/amd64/4593.2.4/flatcar_production_openstack_image.img.DIGESTS.asc"), DIGESTS, "before 4593.2.5 was built"),
    ("openstack", Change::By("stable/amd64/4593.2.5/flatcar_production_qemu_uefi_image.img.DIGESTS.asc"), DIGESTS, "says nothing of flatcar_production_openstack_image.img, only of flatcar_production_qemu_uefi_image.img"),
    ("openstack", Change::Stranger, DIGESTS, "which is not accepted"),
    ("aws", Change::Flip, AMIS, "does not fit the file"),
    ("aws", Change::Reorder, AMIS, "does not fit the file"),
    ("aws", Change::Truncate, AMIS, "does not fit the file"),
    ("aws", Change::Stranger, AMIS, "which is not accepted"),
    ("aws", Change::By("stable/amd64/4593.2.4/flatcar_production_ami_all.json"), AMIS, "before 4593.2.5 was built"),
    ("aws", Change::By(PACKAGES), AMIS, "Could not read the AMI list"),
    ("openstack", Change::Dated("2026-08-13", 3), VERSION, "was made to count until 2026-08-16 only"),
    ("openstack", Change::Dated("2026-08-13", 3), PACKAGES, "was made to count until 2026-08-16 only"),
    ("openstack", Change::Dated("2026-08-13", 3), DIGESTS, "was made to count until 2026-08-16 only"),
    ("openstack", Change::Dated("2026-08-22", 0), VERSION, "is dated 2026-08-22, which is still to come: today is 2026-08-20"),
    ("openstack", Change::Dated("2026-08-22", 0), DIGESTS, "is dated 2026-08-22, which is still to come: today is 2026-08-20"),
    ("aws", Change::Dated("2026-08-09", 0), AMIS, "was signed on 2026-08-09, before 4593.2.5 was built on 2026-08-11"),
    ("openstack", Change::Dated("2026-08-09", 0), VERSION, "was signed on 2026-08-09, before 4593.2.5 was built"),
    ("aws", Change::By(AMIS), "stable/amd64/4459.2.4/flatcar_production_ami_all.json", "was signed on 2026-08-13, more than 60 days after the version.txt of 4459.2.4 on 2026-02-09"),
    ("openstack", Change::By(DIGESTS), "stable/amd64/4459.2.4/flatcar_production_openstack_image.img.DIGESTS.asc", "more than 60 days after the version.txt of 4459.2.4"),
    ("openstack", Change::Signatures(9), VERSION, "there are more than 8 signatures in it"),
    ("openstack", Change::Signatures(200_000), VERSION, "longer than 65536 bytes"),
    ("openstack", Change::Longer(70_000), DIGESTS, "longer than 65536 bytes"),
    ("openstack", Change::Longer(5_000_000), VERSION, "longer than 4194304 bytes"),
    ("openstack", Change::Longer(5_000_000), PACKAGES, "longer than 4194304 bytes"),
];

fn files(key: &Key) -> Files {
    let mut files = release_files(key);
    stable().add_image(&mut files, key, "flatcar_production_qemu_uefi_image.img");
    let older = Release {
        version: Version::of(4593, 2, 4),
        built: "2026-07-07",
        signed: "2026-07-09",
        ..stable()
    };
    files.extend(older.files(key));
    older.add_image(&mut files, key, OPENSTACK);
    let oldest = Release {
        version: Version::of(4459, 2, 4),
        built: "2026-02-07",
        signed: "2026-02-09",
        ..stable()
    };
    files.extend(oldest.files(key));
    oldest.add_image(&mut files, key, OPENSTACK);
    let alpha = Release {
        channel: "alpha",
        version: Version::of(4790, 0, 0),
        ..stable()
    };
    files.extend(alpha.files(key));
    files
}

#[tokio::test]
async fn whatever_is_changed_is_refused_and_told() {
    let key = super::key();
    let stranger = super::key();
    let whole = files(&key);
    for (number, (platform, change, path, says)) in TABLE.iter().enumerate() {
        let mut files = whole.clone();
        apply(&mut files, change, path, &key, &stranger);
        assert_ne!(files, whole, "row {number} changes nothing");
        let folder = scratch();
        write(&files, folder.path());
        // An exact version where the current one is not what was changed.
        let mut request = request(platform);
        let release = path
            .split('/')
            .find_map(|part| part.parse::<Version>().ok());
        if let Some(release) = release {
            request.wanted = flatcar::image::release::Wanted::Exact(release);
        }
        let found = resolve_with(local(folder.path(), key.public()), &request).await;
        let notices = found
            .err()
            .unwrap_or_else(|| panic!("row {number} was believed"));
        let text = told(&notices).replace(&folder.path().display().to_string(), "");
        println!("{number}: {path}\n    {text}");
        assert!(text.contains(says), "row {number}: {text}");
        assert!(
            notices.iter().all(|notice| notice.summary.len() <= 60),
            "row {number}: {text}"
        );
    }
    let folder = scratch();
    write(&whole, folder.path());
    for platform in ["openstack", "aws"] {
        let found = resolve_with(local(folder.path(), key.public()), &request(platform)).await;
        assert!(found.is_ok(), "unchanged, it is believed");
    }
}

fn apply(files: &mut Files, change: &Change, path: &str, key: &Key, stranger: &Key) {
    let file = files[path].clone();
    let clear = path.ends_with(".asc");
    let changed = match change {
        Change::Flip => {
            let mut file = file;
            let middle = file.len() / 2;
            file[middle] ^= 1;
            file
        }
        Change::Truncate => file[..file.len() / 2].to_vec(),
        Change::Append(more) => [file.as_slice(), more.as_bytes()].concat(),
        Change::Reorder => {
            let text = String::from_utf8(file).unwrap();
            let mut lines: Vec<_> = text.lines().collect();
            lines.swap(2, 3);
            (lines.join("\n") + "\n").into_bytes()
        }
        Change::Empty => Vec::new(),
        Change::Remove => {
            files.remove(path);
            return;
        }
        Change::By(other) => {
            if !clear {
                let signature = files[&format!("{other}.sig")].clone();
                files.insert(format!("{path}.sig"), signature);
            }
            files[*other].clone()
        }
        Change::SignatureOf(other) => {
            let signature = files[&format!("{other}.sig")].clone();
            files.insert(format!("{path}.sig"), signature);
            file
        }
        Change::Stranger if clear => stranger
            .clear(0, "2026-08-13", "# SHA512 HASH\n")
            .into_bytes(),
        Change::Stranger => {
            files.insert(
                format!("{path}.sig"),
                stranger.detached(0, "2026-08-13", &file),
            );
            file
        }
        Change::Dated(on, days) if clear => {
            let text = String::from_utf8(files[&path.replace(".asc", "")].clone()).unwrap();
            key.clear_for(0, on, *days, &text).into_bytes()
        }
        Change::Dated(on, days) => {
            let signature = key.detached_for(0, on, *days, &file);
            files.insert(format!("{path}.sig"), signature);
            file
        }
        Change::Signatures(times) => {
            let signature = files.get_mut(&format!("{path}.sig")).unwrap();
            *signature = signature.repeat(*times);
            file
        }
        Change::Longer(bytes) => [file, vec![b'\n'; *bytes]].concat(),
        Change::Weak(hash) => {
            // Version 4, of binary data, EdDSA, SHA-512.
            let head = [4, 0, 22, 10];
            let signature = files.get_mut(&format!("{path}.sig")).unwrap();
            let at = signature
                .windows(4)
                .position(|window| window == head)
                .unwrap();
            signature[at + 3] = *hash;
            file
        }
    };
    files.insert(path.to_owned(), changed);
}

/// Subkeys and the days of their signatures. Releases are built two days before they are signed.
#[tokio::test]
async fn subkeys_count_in_their_own_time() {
    let compromised = || {
        Subkey::from("2025-03-07")
            .years(2)
            .revoked(RevocationCode::KeyCompromised, "2026-10-01")
    };
    let retired = || {
        Subkey::from("2025-03-07")
            .years(2)
            .revoked(RevocationCode::KeyRetired, "2026-08-01")
    };
    for (name, subkey, signed, says) in [
        (
            "current",
            Subkey::from("2025-03-07").years(2),
            "2026-08-13",
            "good",
        ),
        (
            "expired, signed before",
            Subkey::from("2023-03-07").years(2),
            "2024-02-14",
            "good",
        ),
        (
            "expired, signed after",
            Subkey::from("2023-03-07").years(2),
            "2026-08-13",
            "which expired on 2025-03-06, before the signature was made on 2026-08-13",
        ),
        (
            "signed before it existed",
            Subkey::from("2026-08-14"),
            "2026-08-13",
            "when key",
        ),
        (
            "revoked as compromised, signed before",
            compromised(),
            "2026-08-13",
            "which was revoked",
        ),
        ("retired, signed before", retired(), "2026-07-09", "good"),
        (
            "retired, signed after",
            retired(),
            "2026-08-13",
            "which was revoked",
        ),
        (
            "no reason given",
            Subkey::from("2025-03-07")
                .years(2)
                .revoked(RevocationCode::NoReason, "2026-10-01"),
            "2026-08-13",
            "which was revoked",
        ),
        (
            "not for signing",
            Subkey::from("2025-03-07").years(2).not_for_signing(),
            "2026-08-13",
            "not valid for signing",
        ),
        (
            "claimed by a stranger's primary key",
            Subkey::from("2025-03-07").years(2).claimed(),
            "2026-08-13",
            "not valid for signing",
        ),
    ] {
        let key = Key::new(&[subkey]);
        let release = Release {
            built: signed,
            signed,
            ..stable()
        };
        let mut files = release.files(&key);
        release.add_image(&mut files, &key, OPENSTACK);
        release.add_current(&mut files, "current");
        let folder = scratch();
        write(&files, folder.path());
        let settings = flatcar::image::source::Settings {
            feed_url: None,
            ..local(folder.path(), key.public())
        };
        let found = resolve_with(
            settings,
            &Request {
                architecture: Architecture::Amd64,
                ..request("openstack")
            },
        )
        .await;
        let text = match &found {
            Ok((image, _)) if image.verified_by == key.fingerprint() => "good".to_owned(),
            Ok(_) => "somebody else's".to_owned(),
            Err(notices) => told(notices as &[Notice]),
        };
        println!("{name}: {text}");
        assert!(text.contains(says), "{name}: {text}");
    }
}

/// A newer copy of a key in `signing_keys` takes its subkeys away from the older copy, too.
#[tokio::test]
async fn a_revocation_in_any_copy_of_a_key_counts() {
    let good = super::key();
    let file = b"file";
    let signature = good.detached(0, "2026-08-13", file);
    let now = super::august();
    let keyring = flatcar::image::signature::Keyring::new(&good.public()).unwrap();
    assert!(keyring.verify_detached(file, &signature, now).is_ok());
    let revoked = good.with_subkey_revoked(RevocationCode::KeyCompromised, "2026-08-14");
    for keys in [
        format!("{}\n{revoked}", good.public()),
        format!("{revoked}\n{}", good.public()),
    ] {
        let keyring = flatcar::image::signature::Keyring::new(&keys).unwrap();
        let refusal = keyring.verify_detached(file, &signature, now).unwrap_err();
        assert!(
            refusal.to_string().contains("which was revoked"),
            "{refusal}"
        );
    }
}
