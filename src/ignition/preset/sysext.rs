//! A system extension of the sysext bakery: a name and a version to the Butane that puts it on a
//! machine.
//!
//! In: `{name: "tailscale", version: "v1.78.1", architecture: "amd64"}` and a hash. Out: a file
//! below `/opt/extensions`, the link by which systemd-sysext finds it, and, where asked,
//! what looks for newer ones.
//!
//! Source: flatcar/sysext-bakery, `docs/`; systemd-sysext(8); sysupdate.d(5), `url-file`:
//! `SHA256SUMS` lies beside the files.

use super::download::{Checksums, Download};
use super::sheet::{Sheet, Unit};

/// Where extensions are published.
pub const URL: &str = "https://extensions.flatcar.org/extensions/{name}-{version}-{arch}.raw";
/// Where their hashes are.
pub const CHECKSUMS_URL: &str = "https://extensions.flatcar.org/extensions/{name}/SHA256SUMS";

/// An extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysext {
    /// `"tailscale"`: the name that it must lie under.
    pub name: String,
    /// As the bakery writes it: `"v1.78.1"`, `"2.34.0"`.
    pub version: String,
    /// Of the machines: `amd64` or `arm64`.
    pub architecture: String,
    /// Its address, with places for name, version and processor.
    pub url: String,
    /// That of the list that has its hash, with the same places.
    pub checksums_url: String,
    /// Its SHA-256, where the user gives it.
    pub sha256: Option<String>,
    /// Whether machines fetch newer ones by themselves.
    pub auto_update: bool,
}

impl Sysext {
    /// The file that machines fetch.
    pub fn download(&self) -> Download {
        let (name, version, arch) = (&self.name, &self.version, arch(&self.architecture));
        Download {
            path: format!("/opt/extensions/{name}/{name}-{version}-{arch}.raw"),
            mode: 0o644,
            url: self.filled(&self.url),
            sha256: self.sha256.as_ref().map(|it| it.to_ascii_lowercase()),
            attribute: "sha256",
            checksums_url: self.filled(&self.checksums_url),
        }
    }

    fn filled(&self, template: &str) -> String {
        template
            .replace("{name}", &self.name)
            .replace("{version}", &self.version)
            .replace("{arch}", arch(&self.architecture))
    }

    /// Versions of it in a list, for this processor.
    pub fn listed(&self, file: &[u8]) -> Vec<String> {
        let start = format!("{}-", self.name);
        let end = format!("-{}.raw", arch(&self.architecture));
        let lines = String::from_utf8_lossy(file);
        let names = lines
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        let mut versions: Vec<String> = names
            .filter_map(|name| {
                let name = name.trim_start_matches('*');
                name.strip_prefix(&start)?.strip_suffix(&end)
            })
            .filter(|version| {
                let number = version.strip_prefix('v').unwrap_or(version);
                is_version(version) && number.starts_with(|first: char| first.is_ascii_digit())
            })
            .map(str::to_owned)
            .collect();
        versions.sort_by_cached_key(|version| by_number(version));
        versions.dedup();
        versions
    }

    /// As Butane.
    pub fn snippet(&self, checksums: &Checksums) -> String {
        let download = self.download();
        let mut sheet = Sheet::default();
        let hash = checksums.of(&download);
        sheet.download(&download.path, download.mode, &download.url, hash);
        sheet.link(&link(&self.name), &download.path);
        if self.auto_update {
            let updates = Updates {
                name: &self.name,
                transfer: &self.name,
                separator: '-',
                arch: arch(&self.architecture),
                list: &download.checksums_url,
            };
            updates.write(&mut sheet);
        }
        sheet.text()
    }
}

/// The bakery's word for a processor.
pub(super) fn arch(architecture: &str) -> &'static str {
    match architecture {
        "arm64" => "arm64",
        _ => "x86-64",
    }
}

/// Where systemd-sysext finds an extension of this name.
pub(super) fn link(name: &str) -> String {
    format!("/etc/extensions/{name}.raw")
}

/// What machines do once a day: they look for newer versions of an extension, and ask for a reboot
/// where there was one.
pub(super) struct Updates<'a> {
    /// The extension.
    pub(super) name: &'a str,
    /// What its files begin with, and the name of the rule: `kubernetes-v1.34`.
    pub(super) transfer: &'a str,
    /// What stands between that and the version.
    pub(super) separator: char,
    /// The bakery's word for the processor.
    pub(super) arch: &'a str,
    /// The list of hashes, beside which the files lie.
    pub(super) list: &'a str,
}

impl Updates<'_> {
    pub(super) fn write(&self, sheet: &mut Sheet) {
        let Self {
            name,
            transfer,
            separator,
            arch,
            list,
        } = self;
        let directory = list.trim_end_matches(LIST).replace('%', "%%");
        let pattern = format!("{transfer}{separator}@v-{arch}.raw");
        let link = link(name);
        sheet.file(
            &format!("/etc/sysupdate.{name}.d/{transfer}.conf"),
            0o644,
            &format!(
                "[Transfer]\nVerify=false\n\n[Source]\nType=url-file\nPath={directory}\nMatchPattern={pattern}\n\n\
                 [Target]\nInstancesMax=3\nType=regular-file\nPath=/opt/extensions/{name}\nMatchPattern={pattern}\n\
                 CurrentSymlink={link}\n"
            ),
        );
        // systemd-sysupdate wants a component of its own beside those that are named.
        sheet.file(
            "/etc/sysupdate.d/noop.conf",
            0o644,
            "[Source]\nType=regular-file\nPath=/\nMatchPattern=invalid@v.raw\n\n[Target]\nType=regular-file\nPath=/\n",
        );
        sheet.unit(
            "systemd-sysupdate.service",
            Unit::DropIn(
                &format!("10-{name}.conf"),
                &format!(
                    "[Service]\nExecStartPre=/usr/bin/sh -c 'readlink -f {link} > /run/{name}-extension'\n\
                     ExecStartPre=/usr/lib/systemd/systemd-sysupdate -C {name} update\n\
                     ExecStartPost=/usr/bin/sh -c 'readlink -f {link} | cmp -s - /run/{name}-extension \
                     || touch /run/reboot-required'\n"
                ),
            ),
        );
        sheet.unit("systemd-sysupdate.timer", Unit::Started);
    }
}

const LIST: &str = "SHA256SUMS";

/// Whether machines find a list of hashes there, and the extensions beside it, by themselves:
/// nobody else checks what they fetch then.
pub fn is_list_for_machines(url: &str) -> bool {
    let name = url.rsplit_once('/').map(|(_, name)| name);
    url.starts_with("https://") && name == Some(LIST)
}

/// The name of an extension: it stands in names of files and of systemd's components.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A version of an extension: it stands in names of files.
pub fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.+~".contains(&byte))
}

/// `v1.9.0` before `v1.10.0`: digits count as numbers.
fn by_number(version: &str) -> Vec<(u64, String)> {
    version
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(|part| {
            let digits = part.trim_start_matches(|c: char| !c.is_ascii_digit());
            let number: String = digits.chars().take_while(char::is_ascii_digit).collect();
            (number.parse().unwrap_or_default(), part.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tailscale() -> Sysext {
        Sysext {
            name: "tailscale".to_owned(),
            version: "v1.78.1".to_owned(),
            architecture: "amd64".to_owned(),
            url: URL.to_owned(),
            checksums_url: CHECKSUMS_URL.to_owned(),
            sha256: Some("0A".repeat(32)),
            auto_update: false,
        }
    }

    #[test]
    fn an_extension_is_a_file_that_is_checked_and_a_link() {
        let snippet = tailscale().snippet(&Checksums::default());
        let expected = format!(
            "variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n    - path: /opt/extensions/tailscale/tailscale-v1.78.1-x86-64.raw\n      \
             overwrite: true\n      mode: 0644\n      contents:\n        \
             source: \"https://extensions.flatcar.org/extensions/tailscale-v1.78.1-x86-64.raw\"\n        verification:\n          \
             hash: sha256-{}\n  links:\n    - path: /etc/extensions/tailscale.raw\n      overwrite: true\n      hard: false\n      \
             target: /opt/extensions/tailscale/tailscale-v1.78.1-x86-64.raw\n",
            "0a".repeat(32)
        );
        assert_eq!(snippet, expected);
        let updated = Sysext {
            auto_update: true,
            ..tailscale()
        };
        let snippet = updated.snippet(&Checksums::default());
        for words in [
            "/etc/sysupdate.tailscale.d/tailscale.conf",
            "Path=https://extensions.flatcar.org/extensions/tailscale/\n",
            "MatchPattern=tailscale-@v-x86-64.raw\n",
            "CurrentSymlink=/etc/extensions/tailscale.raw\n",
            "systemd-sysupdate -C tailscale update",
        ] {
            assert!(snippet.contains(words), "{words}: {snippet}");
        }
    }

    #[test]
    fn versions_of_a_list_are_those_of_the_extension_and_the_processor_the_newest_last() {
        let hash = "0a".repeat(32);
        let names = [
            "tailscale-v1.10.0-x86-64.raw",
            "tailscale-v1.9.3-x86-64.raw",
            "tailscale-v1.10.0-arm64.raw",
            "tailscale-exit-v1.1.0-x86-64.raw",
            "tailscale-v1.9.3-x86-64.raw",
            "tailscale.conf",
            "tailscale-v1$(x)-x86-64.raw",
        ];
        let list: String = names.map(|name| format!("{hash}  {name}\n")).concat();
        assert_eq!(tailscale().listed(list.as_bytes()), ["v1.9.3", "v1.10.0"]);
        assert_eq!(tailscale().listed(&[0xff, b'\n']), [""; 0]);
    }

    #[test]
    fn names_and_versions_are_those_of_files() {
        for (text, name, version) in [
            ("docker_compose", true, true),
            ("docker-compose", true, true),
            ("v1.34.2+k3s1", false, true),
            ("", false, false),
            ("../x", false, false),
            ("a/b", false, false),
            ("a b", false, false),
            ("a$b", false, false),
            (".hidden", false, false),
        ] {
            assert_eq!((is_name(text), is_version(text)), (name, version), "{text}");
        }
        for (url, is) in [
            ("https://m.example/x/SHA256SUMS", true),
            ("file:///m/SHA256SUMS", false),
            ("http://m.example/x/SHA256SUMS", false),
            ("https://m.example/x/sums", false),
        ] {
            assert_eq!(is_list_for_machines(url), is, "{url}");
        }
    }
}
