//! containerd as the reader of its configuration on a worker: its own programs, built from its Go
//! modules by `tests/consumers/build`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::consumers::built;

/// containerd 2 and 1.7, each as what reads its own version of the configuration.
pub(crate) struct Readers {
    two: PathBuf,
    one: PathBuf,
}

impl Readers {
    /// `None` after the test was skipped.
    pub(crate) fn built() -> Option<Self> {
        Some(Self {
            two: built("containerd")?,
            one: built("containerd-1")?,
        })
    }

    /// The one that reads the configuration below a root.
    pub(crate) fn of(&self, root: &Path) -> &Path {
        let config = fs::read_to_string(root.join("etc/containerd/config.toml")).unwrap();
        match config.starts_with("version = 2\n") {
            true => &self.one,
            false => &self.two,
        }
    }

    /// What containerd has against its configuration below a root.
    pub(super) fn complaints(&self, root: &Path) -> String {
        let reader = self.of(root);
        let config = fs::read(root.join("etc/containerd/config.toml")).unwrap();
        let mut complaints = String::new();
        let default = ask(root, reader, &["containerd", "config", "default"]);
        let known: BTreeSet<String> = settings(&default.stdout)
            .into_iter()
            .map(|(table, _)| plugin(&table))
            .collect();
        let dump = ask(
            root,
            reader,
            &[
                "containerd",
                "--config",
                "/etc/containerd/config.toml",
                "config",
                "dump",
            ],
        );
        if !dump.status.success() || !dump.stderr.is_empty() {
            complaints += &String::from_utf8_lossy(&dump.stderr);
        }
        let settled = settings(&dump.stdout);
        let own = fs::read(root.join("etc/containerd/conf.d/50-own.toml")).unwrap_or_default();
        for (table, setting) in settings(&config).into_iter().chain(settings(&own)) {
            if !known.contains(&plugin(&table)) {
                complaints += &format!("{table}: containerd has no such plugin\n");
            }
            // The dump is one file.
            let is_of_the_file = ["version =", "imports ="]
                .iter()
                .any(|key| setting.starts_with(key));
            if !is_of_the_file && !settled.contains(&(table.clone(), setting.clone())) {
                complaints += &format!("{table}: {setting} has come to nothing\n");
            }
        }
        complaints + &mirrors(root, reader)
    }
}

/// Every registry with mirrors: they are asked in their order, for pulls alone, and then the
/// registry itself.
fn mirrors(root: &Path, reader: &Path) -> String {
    let mut complaints = String::new();
    let Ok(registries) = fs::read_dir(root.join("etc/containerd/certs.d")) else {
        return complaints;
    };
    for registry in registries {
        let registry = registry.unwrap();
        let name = registry.file_name().into_string().unwrap();
        let said = fs::read_to_string(registry.path().join("hosts.toml")).unwrap();
        let answer = ask(root, reader, &["hosts", "/etc/containerd/certs.d", &name]);
        complaints += &String::from_utf8_lossy(&answer.stderr);
        let hosts: Vec<Value> = String::from_utf8(answer.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let mut expected: Vec<String> = said
            .lines()
            .filter_map(|line| line.strip_prefix("[host.\"")?.strip_suffix("\"]"))
            .map(|mirror| match mirror.contains("/v2") {
                true => mirror.to_owned(),
                false => format!("{mirror}/v2"),
            })
            .collect();
        let itself = match name.as_str() {
            "docker.io" => "registry-1.docker.io",
            name => name,
        };
        expected.push(format!("https://{itself}/v2"));
        let addresses: Vec<&str> = hosts
            .iter()
            .filter_map(|host| host["address"].as_str())
            .collect();
        if addresses != expected {
            complaints += &format!("{name}: containerd asks {addresses:?}, not {expected:?}\n");
        }
        let (_, of_mirrors) = hosts.split_last().unwrap();
        if of_mirrors
            .iter()
            .any(|host| host["push"] != false || host["pull"] != true)
        {
            complaints += &format!("{name}: {of_mirrors:?}\n");
        }
    }
    complaints
}

/// Within the root, where the paths of the configuration lead to its files.
fn ask(root: &Path, reader: &Path, arguments: &[&str]) -> Output {
    let name = reader.file_name().unwrap();
    let program = root.join(name);
    if !program.exists() && fs::hard_link(reader, &program).is_err() {
        fs::copy(reader, &program).unwrap();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("chroot")
        .arg(root)
        .arg(Path::new("/").join(name))
        .args(arguments)
        .env("PATH", format!("/usr/sbin:/sbin:{path}"))
        .output()
        .unwrap()
}

/// Tables with their settings, whatever way of quoting and indenting.
fn settings(toml: &[u8]) -> BTreeSet<(String, String)> {
    let mut table = String::new();
    let mut settings = BTreeSet::new();
    for line in String::from_utf8_lossy(toml).replace('\'', "\"").lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut table);
        } else if !line.is_empty() {
            settings.insert((table.clone(), line.to_owned()));
        }
    }
    settings
}

/// `plugins."io.containerd.cri.v1.images"` of a table within it.
fn plugin(table: &str) -> String {
    table.splitn(4, '"').take(2).collect::<Vec<_>>().join("\"")
}
