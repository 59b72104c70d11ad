//! What a release server says: `version.txt`, AMI lists, digests, package lists and the release
//! feed, each parsed to what we use of it; and how a user names a release: channel and version.
//!
//! In: `FLATCAR_VERSION=4593.2.5` and the like. Out: [`Built`], [`Amis`], [`Digests`],
//! [`Packages`], [`Feed`]. Sources: flatcar/scripts `build_image` and
//! `ci-automation/ci_automation_common.sh`, flatcar/mantle `cmd/plume/prerelease.go`,
//! flatcar/flatcar-website `tools/release-scripts/releases_as_json.py`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;

use crate::flatcar::{CHANNELS, Date, LTS_STREAMS, Version, spec_of_ignition};

use super::constraint::Constraint;

/// A channel: `stable`, `beta`, `alpha`, `lts` (the newest stream) or one stream, `lts-2024`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Channel {
    pub name: &'static str,
    pub year: Option<u16>,
}

impl Channel {
    /// From the user's word.
    ///
    /// # Errors
    /// A sentence that says which words there are.
    pub fn named(word: &str) -> Result<Self, String> {
        if word == "edge" {
            return Err(
                "The channel edge ended with 2466.99.0 in April 2020 and gets no security fixes. Use alpha for the newest contents."
                    .to_owned(),
            );
        }
        if let Some(name) = CHANNELS.iter().find(|name| **name == word) {
            return Ok(Self { name, year: None });
        }
        let year = word
            .strip_prefix("lts-")
            .filter(|year| year.len() == 4)
            .and_then(|year| year.parse().ok())
            .filter(|year| (2021..2100).contains(year));
        match year {
            Some(year) => Ok(Self {
                name: "lts",
                year: Some(year),
            }),
            None => Err(format!("Accepted: {}.", Self::words().join(", "))),
        }
    }

    /// The words that there are today.
    pub fn words() -> Vec<String> {
        let streams = LTS_STREAMS
            .iter()
            .map(|stream| format!("lts-{}", stream.year));
        let channels = CHANNELS.iter().map(ToString::to_string);
        channels.chain(streams).collect()
    }

    /// The directory that leads to its current release.
    pub fn current_directory(self) -> String {
        match self.year {
            Some(year) => format!("current-{year}"),
            None => "current".to_owned(),
        }
    }

    /// The major of its stream, where it is one that is known.
    pub fn major(self) -> Option<u32> {
        let stream = LTS_STREAMS
            .iter()
            .find(|stream| Some(stream.year) == self.year);
        stream.map(|stream| stream.major)
    }

    /// The year of the stream that a release of a channel is of.
    pub fn year_of(channel: &str, version: Version) -> Option<u16> {
        let of_lts = LTS_STREAMS.iter().filter(|_| channel == "lts");
        let mut stream = of_lts.filter(|stream| stream.major == version.major);
        stream.next().map(|stream| stream.year)
    }

    /// Whether a release is of this channel, and of its stream.
    pub fn has(self, release: &Release) -> bool {
        release.channel == self.name
            && match self.year {
                Some(_) => Self::year_of(self.name, release.version) == self.year,
                None => true,
            }
    }

    /// Why a release cannot be of this channel, judging by its number.
    pub fn refuses(self, version: Version) -> Option<String> {
        match version.channel() {
            Some(name) if name != self.name => {
                return Some(format!(
                    "{version} is a release of channel {name}, not of {self}"
                ));
            }
            _ => {}
        }
        match (self.year, self.major()) {
            (Some(year), Some(major)) if major != version.major => Some(format!(
                "{version} is not of LTS {year}, whose releases are {major}.x"
            )),
            _ => None,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.year {
            Some(year) => write!(f, "-{year}"),
            None => Ok(()),
        }
    }
}

/// Which release of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Wanted {
    Current,
    Exact(Version),
    /// The newest one that meets all: `~> 4593.2`, `>= 4459, < 4600`.
    Meeting(Constraint),
}

impl Wanted {
    /// From the user's word.
    ///
    /// # Errors
    /// A sentence that says which forms there are.
    pub fn parse(word: &str) -> Result<Self, String> {
        if word == "current" {
            return Ok(Wanted::Current);
        }
        let constraint = Constraint::parse(word).ok_or_else(|| {
            "Accepted: current, a release (4593.2.5), or constraints as Terraform's own (~> 4593.2; >= 4459.2.0, < 4600; operators =, !=, >, >=, <, <=, ~>)."
                .to_owned()
        })?;
        Ok(match constraint.exact() {
            Some(version) => Wanted::Exact(version),
            None => Wanted::Meeting(constraint),
        })
    }
}

/// No version, date or name of a release is longer; what is comes from somebody else.
const MOST_CHARS: usize = 64;

/// What may be passed on to an output or a message: a short word of visible characters.
fn is_word(text: &str) -> bool {
    (1..=MOST_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `version.txt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// `FLATCAR_VERSION`.
    pub version: Version,
    /// What `FLATCAR_VERSION` has behind a `+` where it is no release: `nightly-20260821-2100`.
    pub build: Option<String>,
    /// The day of `FLATCAR_BUILD_ID`, where that is a date, as it is in every release.
    pub on: Option<Date>,
}

impl Built {
    /// # Errors
    /// What is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(|value| value.trim().trim_matches('"'))
        };
        let version = value("FLATCAR_VERSION").ok_or("it has no FLATCAR_VERSION")?;
        // What is no release adds `+` and its id.
        let (number, build) = match version.split_once('+') {
            Some((number, build)) => (number, Some(build.chars().take(MOST_CHARS).collect())),
            None => (version, None),
        };
        Ok(Self {
            version: number
                .parse()
                .map_err(|_| "its FLATCAR_VERSION is not three numbers".to_owned())?,
            build,
            on: value("FLATCAR_BUILD_ID").and_then(Date::starting),
        })
    }
}

/// Without the parser's own words, which repeat what stands there.
fn not_such(problem: serde_json::Error) -> String {
    format!(
        "it is not JSON of the form that it should have, at line {}, column {}",
        problem.line(),
        problem.column()
    )
}

/// `flatcar_production_ami_all.json`: region to AMI id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amis(pub BTreeMap<String, String>);

impl Amis {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct List {
            amis: Vec<Ami>,
        }
        #[derive(Deserialize)]
        struct Ami {
            name: String,
            hvm: Option<String>,
        }
        let list: List = serde_json::from_str(text).map_err(not_such)?;
        let amis: BTreeMap<_, _> = list
            .amis
            .into_iter()
            .filter_map(|ami| Some((ami.name, ami.hvm?)))
            .collect();
        let is_ami = |id: &str| id.starts_with("ami-") && is_word(id);
        match amis
            .iter()
            .find(|(region, id)| !is_ami(id) || !is_word(region))
        {
            Some((region, _)) if is_word(region) => {
                Err(format!("the id for {region} is not an AMI id"))
            }
            Some(_) => Err("it has a region that is no word".to_owned()),
            None if amis.is_empty() => Err("it lists no AMI".to_owned()),
            None => Ok(Self(amis)),
        }
    }
}

/// A `.DIGESTS` file: SHA-512 by file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests(BTreeMap<String, String>);

impl Digests {
    /// # Errors
    /// What is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut sums = BTreeMap::new();
        let mut in_sha512 = false;
        for line in text.lines() {
            if let Some(title) = line.strip_prefix('#') {
                in_sha512 = title.trim() == "SHA512 HASH";
            } else if let Some((sum, name)) = line.split_once("  ").filter(|_| in_sha512) {
                if sum.len() != 128 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err("its SHA-512 is not 128 hexadecimal digits".to_owned());
                }
                let known = sums.insert(name.trim_end().to_owned(), sum.to_ascii_lowercase());
                if known.is_some() {
                    return Err("it has two SHA-512 sums of one file".to_owned());
                }
            }
        }
        match sums.is_empty() {
            true => Err("it has no SHA-512 sums".to_owned()),
            false => Ok(Self(sums)),
        }
    }

    /// The sum of a file.
    pub fn sha512(&self, file_name: &str) -> Option<&str> {
        self.0.get(file_name).map(String::as_str)
    }

    /// The files that it is about.
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// Versions of what a release is made of; keys as in the feed: kernel, systemd, containerd, docker,
/// ignition.
pub type Components = BTreeMap<String, String>;

/// Packages that are [`Components`].
const COMPONENTS: &[(&str, &str)] = &[
    ("sys-kernel/coreos-kernel", "kernel"),
    ("sys-apps/systemd", "systemd"),
    ("app-containers/containerd", "containerd"),
    ("app-emulation/containerd", "containerd"),
    ("app-containers/docker", "docker"),
    ("app-emulation/docker", "docker"),
    ("sys-apps/ignition", "ignition"),
];

/// A package list: lines `category/name-version-rN::repository`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages(pub Components);

impl Packages {
    /// # Errors
    /// When there is no package in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut components = Components::new();
        let mut packages = 0;
        for line in text.lines() {
            let Some((package, _)) = line.split_once("::") else {
                continue;
            };
            packages += 1;
            for (name, component) in COMPONENTS {
                let version = package
                    .strip_prefix(name)
                    .and_then(|rest| rest.strip_prefix('-'))
                    // `docker-cli-28.0.4` is another package than `docker-28.0.4`.
                    .filter(|version| version.starts_with(|first: char| first.is_ascii_digit()));
                if let Some(version) = version {
                    let plain = version.split("-r").next().unwrap_or(version);
                    if is_word(plain) {
                        components.insert((*component).to_owned(), plain.to_owned());
                    }
                }
            }
        }
        match packages {
            0 => Err("it lists no package".to_owned()),
            _ => Ok(Self(components)),
        }
    }
}

/// A release as the feed has it. The feed is not signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Release {
    pub version: Version,
    pub channel: String,
    pub architectures: Vec<String>,
    /// `2026-08-13 15:48:35 +0000`
    pub release_date: String,
    pub components: Components,
}

impl Release {
    /// The day of its publication.
    pub fn published(&self) -> Option<Date> {
        Date::starting(&self.release_date)
    }

    /// The newest Ignition spec that it reads.
    pub fn ignition_spec(&self) -> Option<&'static str> {
        spec_of_ignition(self.components.get("ignition")?)
    }
}

/// The release feed, newest release first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed(pub Vec<Release>);

impl Feed {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Entry {
            channel: String,
            #[serde(default)]
            architectures: Vec<String>,
            #[serde(default)]
            release_date: String,
            #[serde(default)]
            major_software: HashMap<String, Vec<String>>,
        }
        let entries: HashMap<String, Entry> = serde_json::from_str(text).map_err(not_such)?;
        let mut releases: Vec<Release> = entries
            .into_iter()
            // `current` and `current-2024` repeat a numbered entry and have no number of their own.
            .filter(|(_, entry)| is_word(&entry.channel))
            .filter_map(|(key, entry)| {
                Some(Release {
                    version: key.parse().ok()?,
                    channel: entry.channel,
                    architectures: (entry.architectures.into_iter())
                        .filter(|name| is_word(name))
                        .collect(),
                    release_date: Some(entry.release_date)
                        .filter(|date| date.len() <= MOST_CHARS && Date::starting(date).is_some())
                        .unwrap_or_default(),
                    components: entry
                        .major_software
                        .into_iter()
                        .filter_map(|(name, versions)| Some((name, versions.into_iter().next()?)))
                        .filter(|(name, version)| is_word(name) && is_word(version))
                        .collect(),
                })
            })
            .collect();
        releases.sort_by_key(|release| std::cmp::Reverse(release.version));
        match releases.is_empty() {
            true => Err("it lists no release".to_owned()),
            false => Ok(Self(releases)),
        }
    }

    /// The entry of a release.
    pub fn find(&self, version: Version) -> Option<&Release> {
        self.0.iter().find(|release| release.version == version)
    }

    /// Releases of a channel (of an LTS stream, by its major) for an architecture, newest first.
    pub fn of<'a>(
        &'a self,
        channel: Channel,
        architecture: &'a str,
    ) -> impl Iterator<Item = &'a Release> {
        self.0.iter().filter(move |release| {
            channel.has(release)
                && release
                    .architectures
                    .iter()
                    .any(|known| known == architecture)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_words_and_edge_is_refused_with_the_reason() {
        assert_eq!(Channel::named("lts-2024").unwrap().to_string(), "lts-2024");
        assert_eq!(
            Channel::named("lts-2024").unwrap().current_directory(),
            "current-2024"
        );
        assert_eq!(
            Channel::named("beta").unwrap().current_directory(),
            "current"
        );
        assert_eq!(Channel::named("lts-2031").unwrap().major(), None);
        assert!(Channel::named("edge").unwrap_err().contains("April 2020"));
        for word in [
            "",
            "Stable",
            "lts2024",
            "lts-24",
            "lts-20244",
            "lts-1999",
            "lts-",
        ] {
            let error = Channel::named(word).unwrap_err();
            assert!(
                error.contains("stable, beta, alpha, lts, lts-2024"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_release_of_another_channel_is_told_by_its_number() {
        let refuses = |channel: &str, version: &str| {
            Channel::named(channel)
                .unwrap()
                .refuses(version.parse().unwrap())
        };
        for (channel, version) in [
            ("stable", "4593.2.5"),
            ("lts", "4081.3.10"),
            ("lts-2024", "4081.3.10"),
            ("lts-2021", "2605.32.1"),
            ("lts-2030", "9999.3.0"),
            ("stable", "2605.12.0"),
        ] {
            assert_eq!(refuses(channel, version), None, "{channel} {version}");
        }
        for (channel, version, says) in [
            ("stable", "4628.0.0", "of channel alpha"),
            ("alpha", "4593.2.5", "of channel stable"),
            ("lts-2023", "4081.3.10", "3510.x"),
        ] {
            assert!(
                refuses(channel, version).unwrap().contains(says),
                "{channel} {version}"
            );
        }
    }

    #[test]
    fn a_release_is_asked_for_by_word_number_or_constraint() {
        let parsed = |word| Wanted::parse(word).unwrap();
        assert_eq!(parsed("current"), Wanted::Current);
        for word in ["4593.2.5", "= 4593.2.5", "v4593.2.5"] {
            assert_eq!(parsed(word), Wanted::Exact(Version::of(4593, 2, 5)));
        }
        for word in ["~> 4593.2", "4593.2", "= 4593.2.99999999999"] {
            assert!(matches!(parsed(word), Wanted::Meeting(_)), "{word}");
        }
        for word in ["latest", "", "Current", "99999999999999999999.0.0"] {
            assert!(
                Wanted::parse(word).unwrap_err().contains("current"),
                "{word}"
            );
        }
    }

    #[test]
    fn version_txt_tells_version_and_day() {
        let built = Built::parse(
            "FLATCAR_BUILD=4593\nFLATCAR_VERSION=4593.2.5\nFLATCAR_VERSION_ID=4593.2.5\nFLATCAR_BUILD_ID=\"2026-08-11-2350\"\n",
        )
        .unwrap();
        assert_eq!(built.version, Version::of(4593, 2, 5));
        assert_eq!(built.on.unwrap().to_string(), "2026-08-11");
        assert_eq!(built.build, None);
        let own =
            Built::parse("FLATCAR_VERSION=4799.0.0+dev-1\nFLATCAR_BUILD_ID=\"dev-1\"\n").unwrap();
        assert_eq!((own.version, own.on), (Version::of(4799, 0, 0), None));
        assert_eq!(own.build.as_deref(), Some("dev-1"));
        for text in [
            "",
            "FLATCAR_VERSION=\n",
            "FLATCAR_VERSION=new\n",
            "FLATCAR_VERSION_ID=1.2.3\n",
            "FLATCAR_VERSION=99999999999999999999.0.0\n",
            "FLATCAR_VERSION=4593.2.-5\n",
            "FLATCAR_VERSION=٤٥٩٣.2.5\n",
        ] {
            assert!(Built::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn digests_give_the_sha512_of_a_name_and_nothing_weaker() {
        let sum = "5F".repeat(64);
        let text = format!(
            "# MD5 HASH\n{}  a.img\n# SHA1 HASH\n{}  a.img\n# SHA512 HASH\n{sum}  a.img\n",
            "0".repeat(32),
            "0".repeat(40)
        );
        let digests = Digests::parse(&text).unwrap();
        assert_eq!(digests.sha512("a.img"), Some(sum.to_lowercase().as_str()));
        assert_eq!(digests.sha512("b.img"), None);
        let twice = format!("# SHA512 HASH\n{sum}  a.img\n{}  a.img\n", "0".repeat(128));
        for text in [
            "",
            "# MD5 HASH\n00  a.img\n",
            "# SHA512 HASH\n5f  a.img\n",
            &twice,
        ] {
            assert!(Digests::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn packages_tell_the_components() {
        let list = "app-containers/docker-28.0.4::portage-stable\napp-containers/docker-cli-28.0.4-r2::portage-stable\n\
            sys-apps/ignition-2.24.0-r4::coreos-overlay\nsys-apps/systemd-257.9-r1::portage-stable\n\
            sys-kernel/coreos-kernel-6.12.102::coreos-overlay\nsys-kernel/coreos-modules-6.12.99::coreos-overlay\n";
        let expected = [
            ("docker", "28.0.4"),
            ("ignition", "2.24.0"),
            ("kernel", "6.12.102"),
            ("systemd", "257.9"),
        ];
        let expected = expected.map(|(name, version)| (name.to_owned(), version.to_owned()));
        assert_eq!(Packages::parse(list).unwrap().0, BTreeMap::from(expected));
        assert!(Packages::parse("<html>").is_err());
    }

    #[test]
    fn an_ami_list_has_ids() {
        let amis = Amis::parse(
            r#"{"amis":[{"name":"us-east-1","hvm":"ami-1","pv":"aki-1"},{"name":"x"}]}"#,
        )
        .unwrap();
        assert_eq!(
            amis.0.into_iter().collect::<Vec<_>>(),
            [("us-east-1".to_owned(), "ami-1".to_owned())]
        );
        for text in [
            "",
            "{}",
            r#"{"amis":[]}"#,
            r#"{"amis":[{"name":"x","hvm":"i-1"}]}"#,
            r#"{"amis":[{"name":"x","hvm":"ami-1\u001b[2J"}]}"#,
            r#"{"amis":[{"name":"x y","hvm":"ami-1"}]}"#,
            r#"{"amis":"spoken by a mirror"}"#,
        ] {
            let told = Amis::parse(text).unwrap_err();
            assert!(
                told.len() < 100 && !told.contains("spoken"),
                "{text}: {told}"
            );
        }
    }

    #[test]
    fn the_feed_is_ordered_and_current_is_no_release() {
        let feed = Feed::parse(
            r#"{"4459.2.4":{"channel":"stable","architectures":["amd64"],"release_date":"2026-03-01 10:00:00 +0000","major_software":{"ignition":["2.22.0"]},"release_notes":"x"},
                "4593.2.5":{"channel":"stable","architectures":["amd64","arm64"],"release_date":"2026-08-13 15:48:35 +0000","major_software":{"ignition":["2.24.0"]},"release_notes":"x"},
                "current":{"channel":"stable","architectures":["amd64"],"release_date":"2026-08-13 15:48:35 +0000","major_software":{}}}"#,
        )
        .unwrap();
        let versions: Vec<_> = feed
            .0
            .iter()
            .map(|release| release.version.to_string())
            .collect();
        assert_eq!(versions, ["4593.2.5", "4459.2.4"]);
        assert_eq!(feed.0[0].ignition_spec(), Some("3.5.0"));
        let stable = Channel::named("stable").unwrap();
        assert_eq!(feed.of(stable, "arm64").count(), 1);
        let odd = Feed::parse(
            r#"{"4593.2.5":{"channel":"stable","release_date":"2026-99-99","major_software":{"kernel":["6.12\u202e"],"docker":["28.0.4"],"ignition":[]}},
                "99999999999999999999.0.0":{"channel":"stable"},"4593.2.4":{"channel":"st\u001b[1mable"},"4294967295.4294967295.4294967295":{"channel":"stable","release_date":"9999-12-31 x"}}"#,
        )
        .unwrap();
        let dates: Vec<_> = odd
            .0
            .iter()
            .map(|release| release.release_date.as_str())
            .collect();
        assert_eq!(dates, ["9999-12-31 x", ""]);
        let components: Vec<_> = odd.0[1].components.keys().collect();
        assert_eq!(components, ["docker"]);
        assert!(Feed::parse("[]").is_err());
        assert!(Feed::parse("{}").is_err());
    }
}
