//! Recorded data of Flatcar's, walked whole: the feed, image types of 356 releases, AMI lists,
//! `version.txt`, digests.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

use flatcar::flatcar::{PLATFORMS, Version, ignition_of_release};
use flatcar::image::release::{Amis, Built, Channel, Digests, Feed};
use flatcar::image::signature::Keyring;
use serde_json::Value;

use crate::harness;

use super::say;

/// A recorded file as text.
fn recorded(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn path(name: &str) -> PathBuf {
    harness::recorded(&format!("data/flatcar/{name}"))
}

#[test]
fn image_files_are_right_for_every_release_on_record() {
    let text = recorded("image-types-by-release.json");
    let releases: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    assert!(releases.len() >= 356);
    let mut faults = Vec::new();
    for (name, release) in &releases {
        let version: Version = name.parse().unwrap();
        let types: Vec<&str> = release["image_types"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for row in PLATFORMS {
            for file in row
                .file(version)
                .iter()
                .filter(|file| !file.image_type.is_empty())
            {
                // What the build compresses unless told otherwise; the other forms are as they are.
                let told = release["compression"]
                    .get(file.image_type)
                    .and_then(Value::as_str);
                let compressions = match (told, file.disk_format, file.compression) {
                    (Some(list), _, _) => list.replace("none", ""),
                    (None, "ova" | "iso" | "box" | "cpio", own) | (None, _, own @ "tar.gz") => {
                        own.to_owned()
                    }
                    (None, ..) => "bz2".to_owned(),
                };
                let built = types.contains(&file.image_type)
                    && compressions
                        .split(',')
                        .any(|compression| compression == file.compression);
                if !built {
                    faults.push(format!("{name}: {} is not built", file.name));
                }
            }
            let any_built = row
                .files
                .iter()
                .any(|file| file.image_type.is_empty() || types.contains(&file.image_type));
            if any_built != row.file(version).is_some() {
                faults.push(format!("{name}: {} built: {any_built}", row.name));
            }
            // The preferred form is the one that needs least of the user: bare before gz before
            // bz2.
            if let Some(file) = row.file(version) {
                let told = release["compression"]
                    .get(file.image_type)
                    .and_then(Value::as_str);
                let bare = told.is_some_and(|list| list.split(',').any(|word| word == "none"));
                if bare != file.compression.is_empty()
                    && told.is_some()
                    && file.disk_format != "cpio"
                {
                    faults.push(format!("{name}: {} where {told:?} is built", file.name));
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults: {:#?}",
        faults.len(),
        &faults[..faults.len().min(20)]
    );
}

#[test]
fn the_feed_is_read_whole_and_fast() {
    let mut text = String::new();
    let packed = std::fs::File::open(path("releases.json.gz")).unwrap();
    flate2::read::GzDecoder::new(packed)
        .read_to_string(&mut text)
        .unwrap();
    let started = Instant::now();
    let feed = Feed::parse(&text).unwrap();
    say("the feed of 3.6 MB", started.elapsed());
    assert_eq!(
        feed.0.len(),
        540,
        "545 entries, five of which repeat another"
    );
    for (word, newest) in [
        ("stable", "4593.2.5"),
        ("beta", "4757.1.0"),
        ("alpha", "4790.0.0"),
        ("lts", "4081.3.10"),
        ("lts-2024", "4081.3.10"),
        ("lts-2023", "3510.3.8"),
        ("lts-2022", "3033.3.18"),
        ("lts-2021", "2605.32.1"),
    ] {
        let channel = Channel::named(word).unwrap();
        let found = feed.of(channel, "amd64").next().unwrap();
        assert_eq!(found.version.to_string(), newest, "{word}");
        assert!(found.published().is_some());
    }
    for release in feed.0.iter().filter(|release| release.channel != "edge") {
        let version = release.version;
        assert!(
            version
                .channel()
                .is_none_or(|channel| channel == release.channel),
            "{version}"
        );
        // The table begins with 2345.3.1.
        let known = ignition_of_release(version);
        let listed = release.components.get("ignition").map(String::as_str);
        assert!(
            known.is_none() || known == listed,
            "{version}: {known:?}, in the feed {listed:?}"
        );
        assert!(
            known.is_some() || version < Version::of(2345, 3, 1),
            "{version}"
        );
    }
}

#[test]
fn excerpts_of_the_feeds_of_channels_are_read() {
    for (name, channel) in [
        ("stable", "stable"),
        ("beta", "beta"),
        ("alpha", "alpha"),
        ("lts", "lts"),
    ] {
        let text = recorded(&format!("releases-{name}.excerpt.json"));
        let feed = Feed::parse(&text).unwrap();
        assert!(
            feed.0.iter().all(|release| release.channel == channel),
            "{name}"
        );
    }
}

#[test]
fn ami_lists_on_record_are_complete() {
    for (version, region, id) in [
        ("3510.2.8", "us-east-1", "ami-0604fd4b5a31a9e9f"),
        ("3510.2.8", "af-south-1", "ami-018d9b9d7151ab6c8"),
        ("3510.2.5", "", ""),
        ("3510.2.2", "", ""),
        ("2983.2.1", "", ""),
    ] {
        let text = recorded(&format!("ami_all-stable-amd64-{version}.json"));
        let Amis(amis) = Amis::parse(&text).unwrap();
        assert!(amis.len() >= 18, "{version}: {}", amis.len());
        if !id.is_empty() {
            assert_eq!(amis[region], id);
        }
    }
    let single = recorded("ami_all.single.sample.json");
    assert!(Amis::parse(&single).is_ok());
}

#[test]
fn version_txt_and_digests_on_record_are_read() {
    for (version, day) in [
        ("4593.2.5", "2026-08-11"),
        ("3510.2.8", ""),
        ("3510.2.5", ""),
        ("3510.2.2", ""),
        ("2983.2.1", ""),
    ] {
        let text = recorded(&format!("version-stable-amd64-{version}.txt"));
        let built = Built::parse(&text).unwrap();
        assert_eq!(built.version.to_string(), version);
        let on = built.on.map(|date| date.to_string()).unwrap_or_default();
        assert!(!on.is_empty() && on.starts_with(day), "{version}: {on}");
    }
    let text = recorded("version.txt-4593.2.5.DIGESTS");
    let digests = Digests::parse(&text).unwrap();
    let file = recorded("version-stable-amd64-4593.2.5.txt");
    assert_eq!(
        digests.sha512("version.txt"),
        Some(super::sha512(file.as_bytes()).as_str())
    );
}

#[test]
fn the_key_on_record_is_the_one_that_is_built_in() {
    let text = recorded("Flatcar_Image_Signing_Key.asc");
    assert_eq!(text.as_bytes(), flatcar::flatcar::SIGNING_KEY);
}

#[test]
fn the_key_is_parsed_once_and_a_small_file_verifies_fast() {
    let key = super::key();
    let started = Instant::now();
    let keyring = Keyring::new(&key.public()).unwrap();
    say("parsing the keys", started.elapsed());
    let signature = key.detached(0, "2026-08-13", b"FLATCAR_VERSION=4593.2.5\n");
    for round in ["the first file", "a further file"] {
        let started = Instant::now();
        keyring
            .verify_detached(b"FLATCAR_VERSION=4593.2.5\n", &signature, super::august())
            .unwrap();
        say(round, started.elapsed());
    }
}
