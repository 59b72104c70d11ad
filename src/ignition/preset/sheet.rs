//! A Butane document in the making: files, links and units go in, its text comes out.
//!
//! `sheet.file("/etc/motd", 0o644, "Hello\n")` becomes `- path: /etc/motd`, `mode: 0644` and an
//! `inline` literal, so that the guide can show what a preset writes as a user would have written
//! it.

use std::fmt::Write;

/// Files, links and units, each in the order in which they were added.
#[derive(Default)]
pub(super) struct Sheet {
    files: String,
    links: String,
    units: String,
}

/// What becomes of a unit beside its contents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit<'a> {
    /// Written, with drop-ins of these names, and started at boot.
    Enabled(&'a str, &'a [(&'a str, &'a str)]),
    /// Started at boot, as the image or an extension has it.
    Started,
    /// Never started.
    Masked,
    /// A drop-in of this name is added to it.
    DropIn(&'a str, &'a str),
}

impl Sheet {
    /// A file with these contents; what the image has there is replaced.
    pub(super) fn file(&mut self, path: &str, mode: u32, contents: &str) {
        self.entry(path, mode);
        self.files.push_str("      contents:\n");
        literal(&mut self.files, "        inline", contents);
    }

    /// A file that Ignition fetches and checks.
    pub(super) fn download(&mut self, path: &str, mode: u32, url: &str, sha256: &str) {
        self.entry(path, mode);
        let _ = write!(
            self.files,
            "      contents:\n        source: {}\n        verification:\n          hash: sha256-{sha256}\n",
            super::quoted(url)
        );
    }

    fn entry(&mut self, path: &str, mode: u32) {
        let _ = write!(
            self.files,
            "    - path: {path}\n      overwrite: true\n      mode: {mode:04o}\n"
        );
    }

    /// A symbolic link; what the image has there is replaced.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        let _ = write!(
            self.links,
            "    - path: {path}\n      overwrite: true\n      hard: false\n      target: {target}\n"
        );
    }

    /// A unit.
    pub(super) fn unit(&mut self, name: &str, unit: Unit<'_>) {
        let _ = writeln!(self.units, "    - name: {name}");
        match unit {
            Unit::Enabled(contents, dropins) => {
                self.units.push_str("      enabled: true\n");
                literal(&mut self.units, "      contents", contents);
                self.dropins(dropins);
            }
            Unit::Started => self.units.push_str("      enabled: true\n"),
            Unit::Masked => self.units.push_str("      mask: true\n"),
            Unit::DropIn(name, contents) => self.dropins(&[(name, contents)]),
        }
    }

    fn dropins(&mut self, dropins: &[(&str, &str)]) {
        if !dropins.is_empty() {
            self.units.push_str("      dropins:\n");
        }
        for (name, contents) in dropins {
            let _ = writeln!(self.units, "        - name: {name}");
            literal(&mut self.units, "          contents", contents);
        }
    }

    /// The document.
    pub(super) fn text(&self) -> String {
        let mut text = String::from(super::HEAD);
        if !self.files.is_empty() || !self.links.is_empty() {
            text.push_str("storage:\n");
        }
        for (list, entries) in [("files", &self.files), ("links", &self.links)] {
            if !entries.is_empty() {
                let _ = write!(text, "  {list}:\n{entries}");
            }
        }
        if !self.units.is_empty() {
            let _ = write!(text, "systemd:\n  units:\n{}", self.units);
        }
        text
    }
}

/// `key: |` and the text below it, which ends with one line feed.
fn literal(out: &mut String, key: &str, contents: &str) {
    // The indentation of the first line would count as that of all.
    let indented = contents
        .lines()
        .find(|line| !line.is_empty())
        .is_some_and(|line| line.starts_with([' ', '\t']));
    let indicator = if indented { "2" } else { "" };
    let _ = writeln!(out, "{key}: |{indicator}");
    let indent = key.len() - key.trim_start().len() + 2;
    for line in contents.trim_end_matches('\n').lines() {
        match line.is_empty() {
            true => out.push('\n'),
            false => {
                let _ = writeln!(out, "{:indent$}{line}", "");
            }
        }
    }
}

/// Whether a literal can hold the text: no controls but tabs and line feeds, and nothing that YAML
/// takes for a line break or leaves out.
pub fn is_text(text: &str) -> bool {
    text.chars().all(|char| match char {
        '\n' | '\t' => true,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => false,
        char => !char.is_control(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ignition::{Document, Input, Options, Origin, render};

    #[test]
    fn a_literal_is_read_as_it_was_written() {
        for contents in [
            "plain\n",
            "  indented first\nthen not\n",
            "\n\n  blank lines before\n",
            "\ttab\n",
            "# comment: {a: [b}\n\n  more  \n---\n...\n",
            "é \u{1f600} %\\\"'\n",
        ] {
            assert!(is_text(contents), "{contents:?}");
            let mut sheet = Sheet::default();
            sheet.file("/f", 0o600, contents);
            sheet.unit("a.service", Unit::DropIn("b.conf", contents));
            let document = Document {
                origin: Origin::Content,
                text: sheet.text(),
            };
            let input = Input {
                documents: vec![document],
            };
            let (rendered, report) = render(&input, &Options::default());
            let rendered = rendered.unwrap_or_else(|| panic!("{:?}", report.entries));
            let config: serde_json::Value = serde_json::from_str(&rendered.json).unwrap();
            let dropin = &config["systemd"]["units"][0]["dropins"][0]["contents"];
            assert_eq!(dropin, contents, "{}", sheet.text());
        }
    }
}
