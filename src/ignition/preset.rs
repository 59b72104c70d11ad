//! Presets: a few typed settings to a Butane document, the lowest layer of a config. Nothing magic:
//! a user could have written it.
//!
//! `Updates { reboot_strategy: "off", .. }` becomes a file `/etc/flatcar/update.conf` with
//! `REBOOT_STRATEGY=off`. What a profile writes for an input never changes, for machines would
//! roll: other contents come as a next profile.
//!
//! Source: Flatcar's documentation of update strategies and of `update.conf`,
//! systemd-system.conf(5), systemd.exec(5).

pub mod download;
pub mod kubernetes;
mod sheet;
mod ssh_key;
pub mod sysext;

use std::collections::HashSet;
use std::fmt::Write;

use serde::{Deserialize, Deserializer, Serialize};

pub use self::sheet::is_text;
use super::{Document, Origin};

/// The newest profile, and the one without a choice.
pub const PROFILE: i64 = 1;

/// A setting of a preset that goes against another one: the attribute to blame, and why.
pub type Contradiction = (&'static str, &'static str);

/// When a machine updates itself, and when it may reboot for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    /// Which contents: 1.
    #[serde(deserialize_with = "profile")]
    pub profile: i64,
    /// Whether it fetches updates.
    #[serde(deserialize_with = "automatic")]
    pub automatic: bool,
    /// One of [`REBOOT_STRATEGIES`]; absent: `reboot`, or `off` where nothing is fetched.
    pub reboot_strategy: Option<String>,
    /// When it may reboot; absent: at any time.
    pub reboot_window: Option<RebootWindow>,
    /// A channel, or a group of one's own update server; absent: that of the image.
    pub channel: Option<String>,
    /// An update server; absent: Flatcar's.
    pub server: Option<String>,
}

/// Null stands for the newest.
fn profile<'de, D: Deserializer<'de>>(value: D) -> Result<i64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(PROFILE))
}

/// Null stands for yes.
fn automatic<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(true))
}

/// A time of every day or week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootWindow {
    /// `"Thu 04:00"`, `"thu 4:00"` or `"04:00"`, in UTC unless the machine has another zone.
    pub start: String,
    /// `"1h30m"`.
    pub length: String,
}

/// What locksmithd knows.
pub const REBOOT_STRATEGIES: [&str; 3] = ["reboot", "etcd-lock", "off"];

impl Updates {
    /// What cannot be meant together.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        if !self.automatic && self.server.is_some() {
            found.push((
                "server",
                "with automatic = false no server is asked: leave out one of the two",
            ));
        }
        if !self.automatic
            && self
                .reboot_strategy
                .as_deref()
                .is_some_and(|strategy| strategy != "off")
        {
            found.push((
                "reboot_strategy",
                "with automatic = false nothing is fetched that would need a reboot: leave it out, or set it to off",
            ));
        }
        if self.reboot_window.is_some() && self.strategy() == "off" {
            found.push(("reboot_window", "nothing reboots the machine in it: leave it out, or set reboot_strategy to reboot or etcd-lock"));
        }
        found
    }

    /// Whether its words are such as the files that it writes can hold.
    pub fn is_sound(&self) -> bool {
        let is_length =
            |text: &str| !text.contains(|char: char| char.is_whitespace() || char.is_control());
        self.channel.as_deref().is_none_or(is_group)
            && self.server.as_deref().is_none_or(is_address)
            && self
                .reboot_strategy
                .as_deref()
                .is_none_or(|strategy| REBOOT_STRATEGIES.contains(&strategy))
            && self
                .reboot_window
                .as_ref()
                .is_none_or(|window| is_window_start(&window.start) && is_length(&window.length))
    }

    /// Whether something on the machine reboots it that knows of no pods.
    pub fn reboots_by_itself(&self) -> bool {
        self.strategy() != "off"
    }

    fn strategy(&self) -> &str {
        let without = if self.automatic { "reboot" } else { "off" };
        self.reboot_strategy.as_deref().unwrap_or(without)
    }

    /// As Butane.
    pub fn document(&self) -> Document {
        let mut text = String::from(HEAD);
        text.push_str("storage:\n  files:\n");
        text.push_str("    - path: /etc/flatcar/update.conf\n      overwrite: true\n      mode: 0644\n      contents:\n        inline: |\n");
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "          {key}={value}");
        };
        if let Some(channel) = &self.channel {
            line("GROUP", channel);
        }
        // Not masked: update-engine must still mark a partition that has booted as good, else a
        // manual update falls back.
        match &self.server {
            Some(server) => line("SERVER", server),
            None if !self.automatic => line("SERVER", "disabled"),
            None => {}
        }
        line("REBOOT_STRATEGY", self.strategy());
        if let Some(window) = &self.reboot_window {
            line("LOCKSMITHD_REBOOT_WINDOW_START", &window.start);
            line("LOCKSMITHD_REBOOT_WINDOW_LENGTH", &window.length);
        }
        Document {
            origin: Origin::Preset("updates"),
            text,
        }
    }
}

/// What [`is_window_start`] takes, for a user.
pub const WINDOW_START: &str = "A time such as `04:00`, of every day, or `Thu 04:00`, of every week: hours (0 to 23) and minutes (0 to 59), \
                                before them a day by its first three letters in English (`Mon` to `Sun`)";

/// A time as locksmithd reads it: `"Thu 04:00"`, `"thu 4:00"`, `"04:00"`. It would also take what
/// stands behind the minutes, and pass over it: `4:00pm` would be four in the morning.
pub fn is_window_start(text: &str) -> bool {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    // A blank of another kind would end the line in the file, or stand in it.
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let time = match words[..] {
        [time] => time,
        [day, time] if DAYS.contains(&day.to_ascii_lowercase().as_str()) => time,
        _ => return false,
    };
    let number = |digits: &str, below: u8| {
        (1..=2).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && digits.parse().is_ok_and(|number: u8| number < below)
    };
    time.split_once(':')
        .is_some_and(|(hour, minute)| number(hour, 24) && number(minute, 60))
}

/// A channel or group that may stand in `update.conf`.
pub fn is_group(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// An address of http or https without what would end a word in a shell or a unit.
pub fn is_address(text: &str) -> bool {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty()) && is_word(text)
}

/// Printable ASCII without blanks, quotes, backslashes, `$` and `` ` ``.
pub fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"'\\$`".contains(&byte))
}

/// An element of `no_proxy`.
pub fn is_direct(text: &str) -> bool {
    is_word(text) && !text.contains(',')
}

/// A proxy for everything on a machine. Addresses may hold a password: no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Which contents: 1.
    #[serde(deserialize_with = "profile")]
    pub profile: i64,
    /// For `http://`.
    pub http_proxy: Option<String>,
    /// For `https://`.
    pub https_proxy: Option<String>,
    /// Hosts, domains and networks that are reached directly.
    pub no_proxy: Option<Vec<String>>,
}

impl Proxy {
    /// Whether a host is reached directly, as far as that can be told without asking anybody:
    /// networks count for every address.
    pub fn leaves_out(&self, host: &str) -> bool {
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        let direct = self.no_proxy.iter().flatten();
        direct.map(String::as_str).any(|direct| {
            let domain = direct.trim_start_matches("*.").trim_start_matches('.');
            let is_below = host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            direct == "*" || is_below || (is_address && direct.contains('/'))
        })
    }

    /// What cannot be meant together.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        if self.http_proxy.is_none() && self.https_proxy.is_none() {
            return vec![(
                "http_proxy",
                "neither http_proxy nor https_proxy is set: set one, or leave out proxy",
            )];
        }
        Vec::new()
    }

    /// Whether its addresses and words are such as the files that it writes can hold.
    pub fn is_sound(&self) -> bool {
        let addresses = [&self.http_proxy, &self.https_proxy];
        let mut words = self.no_proxy.iter().flatten();
        addresses
            .into_iter()
            .flatten()
            .all(|address| is_address(address))
            && words.all(|word| is_direct(word))
    }

    /// As Butane.
    pub fn document(&self) -> Document {
        let no_proxy = self.no_proxy.as_deref().filter(|hosts| !hosts.is_empty());
        let joined = no_proxy.map(|hosts| hosts.join(","));
        let variables: Vec<(&str, &str)> = [
            ("HTTP_PROXY", "http_proxy", self.http_proxy.as_deref()),
            ("HTTPS_PROXY", "https_proxy", self.https_proxy.as_deref()),
            ("NO_PROXY", "no_proxy", joined.as_deref()),
        ]
        .into_iter()
        .filter_map(|(upper, lower, value)| value.map(|value| [(upper, value), (lower, value)]))
        .flatten()
        .collect();

        let mut text = String::from(HEAD);
        text.push_str("ignition:\n  proxy:\n");
        for (key, value) in [
            ("http_proxy", &self.http_proxy),
            ("https_proxy", &self.https_proxy),
        ] {
            if let Some(value) = value {
                let _ = writeln!(text, "    {key}: {}", quoted(value));
            }
        }
        if let Some(hosts) = no_proxy {
            text.push_str("    no_proxy:\n");
            for host in hosts {
                let _ = writeln!(text, "      - {}", quoted(host));
            }
        }
        text.push_str("storage:\n  files:\n");
        text.push_str("    - path: /etc/flatcar/proxy.env\n      overwrite: true\n      mode: 0644\n      contents:\n        inline: |\n");
        for (variable, value) in &variables {
            let _ = writeln!(text, "          {variable}='{value}'");
        }
        text.push_str(
            "    - path: /etc/profile.d/10-proxy.sh\n      overwrite: true\n      mode: 0644\n      contents:\n        inline: |\n          \
             set -a\n          . /etc/flatcar/proxy.env\n          set +a\n",
        );
        text.push_str(
            "    - path: /etc/systemd/system.conf.d/10-proxy.conf\n      overwrite: true\n      mode: 0644\n      contents:\n        inline: \
             |\n          [Manager]\n",
        );
        for (variable, value) in &variables {
            let _ = writeln!(
                text,
                "          DefaultEnvironment=\"{variable}={}\"",
                value.replace('%', "%%")
            );
        }
        text.push_str("systemd:\n  units:\n");
        for unit in [
            "containerd.service",
            "kubelet.service",
            "update-engine.service",
        ] {
            let _ = write!(
                text,
                "    - name: {unit}\n      dropins:\n        - name: 10-proxy.conf\n          contents: |\n            [Service]\n            \
                 EnvironmentFile=/etc/flatcar/proxy.env\n"
            );
            if let ("update-engine.service", Some(all)) =
                (unit, self.https_proxy.as_ref().or(self.http_proxy.as_ref()))
            {
                let _ = writeln!(
                    text,
                    "            Environment=\"ALL_PROXY={}\"",
                    all.replace('%', "%%")
                );
            }
        }
        Document {
            origin: Origin::Preset("proxy"),
            text,
        }
    }
}

/// Keys of user `core`, one or more lines of an `authorized_keys` file each: comments and empty
/// lines are left out. Also the index of each element without a key, or with something else than
/// keys, and what is wrong. No document where no element is good.
pub fn ssh_authorized_keys(elements: &[String]) -> (Option<Document>, Vec<(usize, String)>) {
    let mut text = String::from(HEAD);
    text.push_str("passwd:\n  users:\n    - name: core\n      ssh_authorized_keys:\n");
    let mut seen = HashSet::new();
    let mut wrong = Vec::new();
    for (position, element) in elements.iter().enumerate() {
        let keys: Vec<&str> = element
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        let check = match keys.is_empty() {
            true => Err("it holds no key: leave it out".to_owned()),
            false => keys.iter().try_for_each(|key| ssh_key::check(key)),
        };
        if let Err(why) = check {
            wrong.push((position, why));
            continue;
        }
        for key in keys {
            if seen.insert(key) {
                let _ = writeln!(text, "        - {}", quoted(key));
            }
        }
    }
    let document = Document {
        origin: Origin::Preset("ssh_authorized_keys"),
        text,
    };
    ((!seen.is_empty()).then_some(document), wrong)
}

/// The oldest version that has all of it, so that a preset raises no config's version.
const HEAD: &str = "variant: flatcar\nversion: 1.0.0\n";

/// A double-quoted scalar.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            ' '..='~' => out.push(char),
            '\0'..='\u{ff}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(char));
            }
            '\u{100}'..='\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            _ => {
                let _ = write!(out, "\\U{:08x}", u32::from(char));
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::download::Checksums;
    use super::kubernetes::Kubernetes;
    use super::*;
    use crate::ignition::{Input, Options, render};

    /// `{"updates": {...}}`, the Butane that it becomes, and the Ignition of that.
    #[derive(Serialize, Deserialize)]
    struct Case {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        updates: Option<Updates>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proxy: Option<Proxy>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ssh_authorized_keys: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kubernetes: Option<serde_json::Value>,
        /// The preset `updates` says how the machine updates itself.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        beside_updates: bool,
        butane: String,
        ignition: String,
    }

    impl Case {
        fn document(&self) -> Document {
            if let Some(kubernetes) = &self.kubernetes {
                let kubernetes = Kubernetes::deserialize(kubernetes).expect("a worker");
                assert!(kubernetes.is_sound(), "{}", self.name);
                assert_eq!(kubernetes.contradictions(), [], "{}", self.name);
                return kubernetes.document(&Checksums::default(), !self.beside_updates);
            }
            match (&self.updates, &self.proxy, &self.ssh_authorized_keys) {
                (Some(updates), None, None) => updates.document(),
                (None, Some(proxy), None) => proxy.document(),
                (None, None, Some(keys)) => ssh_authorized_keys(keys).0.expect("keys"),
                _ => panic!("{} is not of one preset", self.name),
            }
        }
    }

    #[test]
    fn what_profile_1_writes_stays_as_it_is() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/ignition/presets-1.json"
        );
        let mut cases: Vec<Case> =
            serde_json::from_str(&std::fs::read_to_string(path).expect("fixtures")).expect("JSON");
        let mut different = Vec::new();
        for case in &mut cases {
            let document = case.document();
            let butane = document.text.clone();
            let (rendered, report) = render(
                &Input {
                    documents: vec![document],
                },
                &Options::default(),
            );
            let ignition =
                rendered.map_or_else(|| format!("{:?}", report.entries), |rendered| rendered.json);
            // Only a case without a recording is recorded: a released one never changes.
            if std::env::var_os("UPDATE").is_some() && case.butane.is_empty() {
                (case.butane, case.ignition) = (butane, ignition);
            } else if (&case.butane, &case.ignition) != (&butane, &ignition) {
                different.push(format!("{}:\n{butane}\n{ignition}", case.name));
            }
        }
        if std::env::var_os("UPDATE").is_some() {
            let text = serde_json::to_string_pretty(&cases).expect("JSON");
            std::fs::write(path, text + "\n").expect("fixtures");
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
    }

    /// What systemd reads in a file of variables (its `env-file.c`): quotes at the beginning of a
    /// value, a backslash before any letter, blanks at the end, comments at the beginning of a
    /// line.
    fn as_systemd_reads(file: &str) -> Vec<(String, String)> {
        let lines = file.lines().map(str::trim_start);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
        let variable = |line: &str| {
            let (key, rest) = line.split_once('=').expect("an assignment");
            let rest = rest.trim_start();
            let value = match rest.strip_prefix('\'') {
                Some(inside) => inside.split_once('\'').expect("a closing quote").0,
                None => rest.trim_end(),
            };
            assert!(!value.contains('\\') && !value.starts_with('"'), "{line}");
            (key.to_owned(), value.to_owned())
        };
        lines.map(variable).collect()
    }

    #[test]
    fn systemd_reads_in_files_of_variables_what_was_written() {
        // Every letter that a value may have.
        let letters: String = ('!'..='~')
            .filter(|one| is_word(&one.to_string()))
            .collect();
        let address = format!("http://user:{letters}@proxy.example:3128/?#");
        let host = letters.replace(',', "");
        assert!(is_address(&address) && is_direct(&host), "{address} {host}");
        let proxy = Proxy {
            profile: 1,
            http_proxy: Some(address.clone()),
            https_proxy: None,
            no_proxy: Some(vec![host.clone(), "#;".to_owned()]),
        };
        let updates = Updates {
            profile: 1,
            automatic: true,
            reboot_strategy: None,
            reboot_window: Some(RebootWindow {
                start: "Thu 04:00".to_owned(),
                length: "1h30m".to_owned(),
            }),
            channel: Some("stable".to_owned()),
            server: Some(address.clone()),
        };
        let of = |document: Document, path: &str| {
            let rest = document.text.split(&format!("- path: {path}\n")).nth(1);
            let rest = rest.and_then(|rest| rest.split("inline: |\n").nth(1));
            let lines = rest.expect("a file").lines();
            let lines = lines.map_while(|line| line.strip_prefix("          "));
            as_systemd_reads(&lines.collect::<Vec<_>>().join("\n"))
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let direct = format!("{host},#;");
        assert_eq!(
            of(proxy.document(), "/etc/flatcar/proxy.env"),
            [
                pair("HTTP_PROXY", &address),
                pair("http_proxy", &address),
                pair("NO_PROXY", &direct),
                pair("no_proxy", &direct),
            ]
        );
        assert_eq!(
            of(updates.document(), "/etc/flatcar/update.conf"),
            [
                pair("GROUP", "stable"),
                pair("SERVER", &address),
                pair("REBOOT_STRATEGY", "reboot"),
                pair("LOCKSMITHD_REBOOT_WINDOW_START", "Thu 04:00"),
                pair("LOCKSMITHD_REBOOT_WINDOW_LENGTH", "1h30m"),
            ]
        );
    }

    #[test]
    fn the_guide_shows_what_is_written() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/fixtures/ignition/presets-1.json"))
                .expect("JSON");
        let guide = include_str!("../../docs/guides/presets.md");
        let shown: Vec<&str> = guide
            .split("```yaml\n")
            .skip(1)
            .filter_map(|block| block.split("```\n").next())
            .collect();
        assert!(shown.len() >= 5, "only {} documents are shown", shown.len());
        for block in shown {
            let written = cases.iter().any(|case| case.document().text == block);
            assert!(written, "no case of presets-1.json writes\n{block}");
        }
    }

    #[test]
    fn the_guide_to_workers_shows_what_is_written() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/fixtures/ignition/presets-1.json"))
                .expect("JSON");
        let written: Vec<String> = cases.iter().map(|case| case.document().text).collect();
        let guide = include_str!("../../docs/guides/kubernetes-workers.md");
        let shown = guide.split("```yaml\n").skip(1);
        let shown: Vec<&str> = shown
            .filter_map(|rest| rest.split("```\n").next())
            .collect();
        assert!(shown.len() >= 20, "only {} parts are shown", shown.len());
        for part in shown {
            let is_written = written.iter().any(|text| text.contains(part));
            assert!(is_written, "no case of presets-1.json writes\n{part}");
        }
        // What a worker gets without any option is shown whole, but for its authority.
        let plain = cases
            .iter()
            .position(|case| case.name == "kubernetes, nothing chosen");
        let text = &written[plain.expect("the case")];
        let entries = text.split("    - ").skip(1);
        for entry in entries.filter(|entry| !entry.contains("BEGIN CERTIFICATE")) {
            let entry = entry.split("\n  links:").next().unwrap_or_default();
            let entry = entry.split("\nsystemd:").next().unwrap_or_default();
            assert!(
                guide.contains(entry.trim_end()),
                "not in the guide:\n{entry}"
            );
        }
    }

    #[test]
    fn a_host_is_reached_directly_by_name_domain_or_network() {
        let reaches = |no_proxy: &[&str], host: &str| {
            let no_proxy = no_proxy.iter().map(|it| (*it).to_owned()).collect();
            let proxy = Proxy {
                profile: 1,
                http_proxy: None,
                https_proxy: Some("http://proxy:3128".to_owned()),
                no_proxy: Some(no_proxy),
            };
            proxy.leaves_out(host)
        };
        for (no_proxy, host, expected) in [
            (vec![], "api.example.com", false),
            (vec!["localhost"], "api.example.com", false),
            (vec!["api.example.com"], "api.example.com", true),
            (vec![".example.com"], "api.example.com", true),
            (vec!["example.com"], "api.example.com", true),
            (vec!["pi.example.com"], "api.example.com", false),
            (vec!["10.0.0.0/8"], "10.0.0.1", true),
            (vec!["10.0.0.0/8"], "api.example.com", false),
            (vec!["*"], "api.example.com", true),
        ] {
            assert_eq!(reaches(&no_proxy, host), expected, "{no_proxy:?} {host}");
        }
    }

    #[test]
    fn contradictions_name_the_attribute() {
        let updates = |json: &str| -> Vec<&str> {
            let mut object: serde_json::Value = serde_json::from_str(json).expect("JSON");
            object["profile"] = 1.into();
            let updates: Updates = serde_json::from_value(object).expect("updates");
            updates
                .contradictions()
                .into_iter()
                .map(|(attribute, _)| attribute)
                .collect()
        };
        assert_eq!(updates(r#"{"automatic":true}"#), Vec::<&str>::new());
        assert_eq!(
            updates(r#"{"automatic":false,"reboot_strategy":"off","channel":"beta"}"#),
            Vec::<&str>::new()
        );
        assert_eq!(
            updates(
                r#"{"automatic":false,"reboot_strategy":"reboot","server":"https://a","reboot_window":{"start":"04:00","length":"1h"}}"#
            ),
            ["server", "reboot_strategy"]
        );
        assert_eq!(
            updates(r#"{"automatic":false,"reboot_window":{"start":"04:00","length":"1h"}}"#),
            ["reboot_window"]
        );
        let proxy = Proxy {
            profile: 1,
            http_proxy: None,
            https_proxy: None,
            no_proxy: None,
        };
        assert_eq!(proxy.contradictions().len(), 1);
    }

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2mD6pXxFWyNPKiy6tYbWDNoTqWmQ1sFcbzv3b8nVJm";

    #[test]
    fn keys_are_taken_line_by_line_and_every_bad_element_is_told() {
        let of = |keys: &[&str]| {
            ssh_authorized_keys(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>())
        };
        let (document, wrong) = of(&[
            &format!("{KEY} a\n"),
            &format!("# two\n{KEY} b\n\n{KEY} a"),
            "",
            "\n# x\n",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA",
        ]);
        let text = document.expect("keys").text;
        assert!(
            text.ends_with(&format!("        - \"{KEY} a\"\n        - \"{KEY} b\"\n")),
            "{text}"
        );
        let indexes: Vec<usize> = wrong.iter().map(|(index, _)| *index).collect();
        assert_eq!(indexes, [2, 3, 4]);
        assert!(wrong[0].1.contains("no key") && wrong[2].1.contains("private key"));
        assert!(of(&["AAAA"]).0.is_none());
    }

    #[test]
    fn words_for_files_are_checked_by_character() {
        for (text, good) in [
            ("Thu 04:00", true),
            ("04:00", true),
            ("23:59", true),
            ("24:00", false),
            ("4:00", true),
            ("4:5", true),
            ("Sun 4:00", true),
            ("sun 04:00", true),
            ("SUN 04:00", true),
            ("Thu  04:00", true),
            (" 04:00", true),
            ("Thursday 04:00", false),
            ("Thu 04:60", false),
            ("Thu 004:00", false),
            ("Thu 4", false),
            ("4:00pm", false),
            ("+4:00", false),
            ("Thu 04:00 UTC", false),
            ("Thu\t04:00", false),
            ("Thu 04:00\nGROUP=x", false),
            ("", false),
        ] {
            assert_eq!(is_window_start(text), good, "{text}");
        }
        for (text, good) in [
            ("http://proxy:3128", true),
            ("https://a:p%40b@proxy", true),
            ("proxy:3128", false),
            ("http://", false),
            ("http://a b", false),
            ("http://a\nB=c", false),
            ("http://a'", false),
            ("http://é", false),
        ] {
            assert_eq!(is_address(text), good, "{text}");
        }
        assert!(is_group("lts-2024") && !is_group("a b") && !is_group(""));
    }

    #[test]
    fn a_quoted_scalar_is_read_as_it_was() {
        let odd = "a \"b\" \\ \u{7f} \u{85} é \u{2028} \u{1f600} # : -";
        let document = ssh_authorized_keys(&[format!("{KEY} {odd}")])
            .0
            .expect("a key");
        let (rendered, _) = render(
            &Input {
                documents: vec![document],
            },
            &Options::default(),
        );
        let config: serde_json::Value =
            serde_json::from_str(&rendered.expect("it renders").json).expect("JSON");
        assert_eq!(
            config["passwd"]["users"][0]["sshAuthorizedKeys"][0],
            format!("{KEY} {odd}")
        );
    }
}
