//! What a machine fetches at its first boot. Nothing of it is used unless its hash is right.
//!
//! In: an address, and that of a file of checksums. [`Checksums`] holds what was found there.

use std::collections::BTreeMap;

use super::is_address;

/// A file of the machine that comes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Where it comes to lie.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Where it comes from.
    pub url: String,
    /// Its SHA-256, where the user gives it.
    pub sha256: Option<String>,
    /// The attribute that gives it: `"kubernetes.sysext.sha256"`.
    pub attribute: &'static str,
    /// A file that has it.
    pub checksums_url: String,
}

/// SHA-256 by the URL of what they are of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checksums(BTreeMap<String, String>);

/// Stands where a checksum is not looked up yet: of a config that is only checked.
const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Checksums {
    /// Takes from a file of checksums what it says about a download.
    ///
    /// # Errors
    /// It says nothing of it: why.
    pub fn take(&mut self, download: &Download, file: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(file).map_err(|_| "it is no text".to_owned())?;
        let name = file_name(&download.url);
        let found = match text.trim() {
            // `kubelet.sha256` holds the hash and nothing else.
            alone if is_sha256(alone) => alone,
            _ => text
                .lines()
                .filter_map(|line| line.split_once([' ', '\t']))
                .find(|(_, rest)| rest.trim_start().trim_start_matches('*').trim_end() == name)
                .map(|(hash, _)| hash)
                .ok_or_else(|| format!("it has no line for {name}"))?,
        };
        if !is_sha256(found) {
            return Err(format!("what it has for {name} is no SHA-256"));
        }
        let hash = found.to_ascii_lowercase();
        self.0.insert(download.url.clone(), hash);
        Ok(())
    }

    /// That of a download.
    pub fn of<'a>(&'a self, download: &'a Download) -> &'a str {
        let found = self.0.get(&download.url);
        let known = download.sha256.as_ref().or(found);
        known.map_or(UNKNOWN, String::as_str)
    }
}

/// An address, or a mirror on this machine.
pub fn is_source(text: &str) -> bool {
    let path = text.strip_prefix("file://");
    is_address(text) || path.is_some_and(|path| !path.is_empty())
}

/// 64 hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn file_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn download(url: &str) -> Download {
        Download {
            path: String::new(),
            mode: 0,
            url: url.to_owned(),
            sha256: None,
            attribute: "sha256",
            checksums_url: String::new(),
        }
    }

    #[test]
    fn a_checksum_is_that_of_the_very_file() {
        let (a, b) = ("a".repeat(64), "B".repeat(64));
        let wanted = download("https://m.example/x/kubernetes-v1.34.2-x86-64.raw");
        let list = format!(
            "{b}  kubernetes-v1.34.20-x86-64.raw\n{b}  dir/kubernetes-v1.34.2-x86-64.raw\n{a}  kubernetes-v1.34.2-x86-64.raw\n"
        );
        let binary = format!("{b} *kubernetes-v1.34.2-x86-64.raw\r\n{a}  other\n");
        for (file, expected) in [
            (list, Ok(a.clone())),
            (binary, Ok(b.to_lowercase())),
            (format!("{b}\n"), Ok(b.to_lowercase())),
            (
                format!("{a}  other\n"),
                Err("it has no line for kubernetes-v1.34.2-x86-64.raw".to_owned()),
            ),
            (
                "abc  kubernetes-v1.34.2-x86-64.raw".to_owned(),
                Err("what it has for kubernetes-v1.34.2-x86-64.raw is no SHA-256".to_owned()),
            ),
            (
                String::new(),
                Err("it has no line for kubernetes-v1.34.2-x86-64.raw".to_owned()),
            ),
        ] {
            let mut checksums = Checksums::default();
            let taken = checksums.take(&wanted, file.as_bytes());
            let found = taken.map(|()| checksums.of(&wanted).to_owned());
            assert_eq!(found, expected, "{file}");
        }
        assert!(Checksums::default().take(&wanted, &[0xff]).is_err());
    }
}
