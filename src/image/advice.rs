//! What to tell the user when something is wrong: what answered, and what to do. What may go wrong
//! later is told in `warnings`.

use std::collections::BTreeMap;

use crate::flatcar::{CHANNELS, Date, Version};
use crate::http::{Kind, redacted};

use super::published::{Aws, AzureOffer};
use super::release::{Channel, Feed, Wanted};
use super::signature::Refusal;
use super::source::{Fault, Source};
use super::{Notice, Request, SIGNED_WITHIN_DAYS};

/// A file that could not be had or believed. `what` names it: `version.txt`.
pub(super) fn fault(source: &Source, what: &str, fault: &Fault) -> Notice {
    let todo = match fault {
        Fault::Http(error) => match error.kind {
            Kind::NotFound => "Check the version, or release_server.url where that is a mirror.",
            Kind::Refused => {
                "Where it is a mirror with a password, write it into release_server.url (https://user:password@...)."
            }
            Kind::Tls => {
                "Where it is a mirror with a certificate authority of its own, give that in release_server.ca_certificate; else check the clock, and who answers in the server's place."
            }
            Kind::Downgrade => "Give a URL in release_server.url that stays https.",
            Kind::Html => {
                "Something answers in the server's place: a captive portal, or a proxy that wants a log-in. Set HTTPS_PROXY and NO_PROXY as your network needs them, or use a mirror (release_server.url)."
            }
            Kind::RedirectLoop | Kind::BadRequest | Kind::BadUrl | Kind::TooLarge => {
                "Check release_server.url."
            }
            Kind::Setup => "Check release_server.ca_certificate.",
            Kind::Unreadable => "Put a regular file there, readable for the user who runs the plan.",
            Kind::RateLimited | Kind::Server | Kind::Connect | Kind::Timeout | Kind::Broken => {
                "Try again; where the network does not reach it, set HTTPS_PROXY or use a mirror (release_server.url)."
            }
        }
        .to_owned(),
        Fault::Unsigned(_) => {
            "A mirror has to hold the .sig and .DIGESTS.asc files too. Without them only release_server.verify = \"none\" helps, which trusts whoever answers."
                .to_owned()
        }
        Fault::Refused(_, Refusal::UnknownKey(_)) => format!(
            "Accepted are signatures under {}. Where it is a build of your own, put its public key into release_server.signing_keys; if Flatcar has a new key, compare its fingerprint on flatcar.org and put it there, or update the provider. Do not use the image otherwise.",
            source.fingerprints().join(", ")
        ),
        Fault::Refused(..) => {
            "Do not use the image. Try again; where it stays so, tell whoever runs the server in release_server.url."
                .to_owned()
        }
        Fault::Unparsable(..) => {
            "Try again; where it stays so, check release_server.url, and tell whoever runs that server."
                .to_owned()
        }
    };
    let summary = match fault {
        Fault::Http(_) => format!("Could not fetch the {what}"),
        Fault::Unsigned(_) => format!("The {what} is not signed"),
        Fault::Refused(..) => format!("Signature check of the {what} failed"),
        Fault::Unparsable(..) => format!("Could not read the {what}"),
    };
    Notice::new(
        summary.replace("the version.txt", "version.txt"),
        format!("{fault}. {todo}"),
    )
}

/// `version.txt` of another release than the asked one.
pub(super) fn another_release(url: &str, asked: Version, found: Version) -> Notice {
    let url = redacted(url);
    Notice::on(
        "version",
        format!("Not release {asked} but {found}"),
        format!(
            "{url} is signed, but for release {found}: a file of another release stands in its place. Do not use it; tell whoever runs the server in release_server.url."
        ),
    )
}

/// `version.txt` of another channel than the asked one.
pub(super) fn another_channel(url: &str, why: &str) -> Notice {
    let url = redacted(url);
    Notice::on(
        "channel",
        "A release of another channel",
        format!(
            "{url} is signed, but {why}: a file of another channel stands in its place. Do not use it; check release_server.url, and tell whoever runs that server."
        ),
    )
}

/// What Flatcar builds every night, in the place of a release.
pub(super) fn no_release_build(url: &str, version: Version, build: &str) -> Notice {
    let url = redacted(url);
    Notice::on(
        "version",
        format!("Not release {version} but a build on its way"),
        format!(
            "{url} is signed by Flatcar, but of build {version}+{build}, which was never released: it stands in a release's place. Do not use it; tell whoever runs the server in release_server.url."
        ),
    )
}

/// A file that was signed before the release was built, or before its `version.txt` was signed:
/// `than` says which, and `then` when.
pub(super) fn older(url: &str, version: Version, signed: Date, than: &str, then: Date) -> Notice {
    let url = redacted(url);
    Notice::new(
        format!("A file is older than release {version}"),
        format!(
            "{url} was signed on {signed}, before {than} on {then}: a file of an older release stands in its place. Do not use the image; tell whoever runs the server in release_server.url."
        ),
    )
}

/// A file that was signed long after the release was.
pub(super) fn newer(url: &str, version: Version, signed: Date, then: Date) -> Notice {
    let url = redacted(url);
    Notice::new(
        format!("A file is newer than release {version}"),
        format!(
            "{url} was signed on {signed}, more than {SIGNED_WITHIN_DAYS} days after the version.txt of {version} on {then}: a file of a newer release stands in its place. Do not use the image; tell whoever runs the server in release_server.url."
        ),
    )
}

/// Digests that are of another file.
pub(super) fn another_file(url: &str, name: &str, names: &[&str]) -> Notice {
    let url = redacted(url);
    let more = match names.len().saturating_sub(MOST_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names: Vec<String> = names
        .iter()
        .take(MOST_NAMES)
        .map(|name| short(name))
        .collect();
    Notice::new(
        "The digests are of another file",
        format!(
            "{url} is signed, but says nothing of {name}, only of {}{more}: a file of another image stands in its place. Do not use the image; tell whoever runs the server in release_server.url.",
            names.join(", ")
        ),
    )
}

/// So many names of somebody else's file are told, each as long as a file name of Flatcar's may be.
const MOST_NAMES: usize = 5;

fn short(name: &str) -> String {
    const MOST_CHARS: usize = 80;
    match name.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}...", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// What was asked for and is of another platform. A default that was written out harms nobody and
/// is not told.
pub(super) fn without_effect(request: &Request) -> Vec<Notice> {
    let azure = &request.azure;
    let platform = request.platform.name;
    let set = [
        ("region", "aws", request.region.is_some()),
        ("azure_offer", "azure", azure.offer != AzureOffer::CoreVm),
        ("azure_generation", "azure", azure.first_generation),
        ("azure_gallery", "azure", azure.gallery.is_some()),
    ];
    set.into_iter()
        .filter(|(_, of, is_set)| *is_set && *of != platform)
        .map(|(attribute, of, _)| {
            Notice::on(
                attribute,
                format!("Without effect on platform {platform}"),
                format!(
                    "{attribute} is for platform {of} only. Remove it, or set platform = \"{of}\"."
                ),
            )
        })
        .collect()
}

/// No such release; `found` is the one that a constraint led to.
pub(super) fn no_release(
    request: &Request,
    found: Option<Version>,
    fault: &Fault,
    feed: Option<&Feed>,
) -> Notice {
    let architecture = request.architecture.name();
    let channel = request.channel;
    let known: Vec<String> = feed
        .map(|feed| {
            feed.of(channel, architecture)
                .take(5)
                .map(|release| release.version.to_string())
                .collect()
        })
        .unwrap_or_default();
    let newest = match known.is_empty() {
        true => String::new(),
        false => format!(" The newest there are {}.", known.join(", ")),
    };
    let todo = match known.is_empty() {
        true => "Set",
        false => "Set version to one of those,",
    };
    match request.wanted {
        Wanted::Exact(version) => Notice::on(
            "version",
            format!("No release {version} in {channel} for {architecture}"),
            format!(
                "{fault}.{newest} Set another version, or check release_server.url where that is a mirror."
            ),
        ),
        Wanted::Meeting(_) => Notice::on(
            "version",
            "The release is not on this server",
            format!(
                "The newest release that meets the constraint{}, is not on this server: {fault}. Change the constraint, or renew the mirror that release_server.url names.",
                found
                    .map(|version| format!(", {version}"))
                    .unwrap_or_default()
            ),
        ),
        Wanted::Current => Notice::on(
            "channel",
            format!("No current release in {channel} for {architecture}"),
            format!(
                "{fault}.{newest} {todo} another channel or architecture, or check release_server.url where that is a mirror."
            ),
        ),
    }
}

/// No release meets the constraint.
pub(super) fn nothing_meets(feed: &Feed, request: &Request) -> Notice {
    let architecture = request.architecture.name();
    let known: Vec<String> = feed
        .of(request.channel, architecture)
        .take(5)
        .map(|release| release.version.to_string())
        .collect();
    let short = match &request.wanted {
        Wanted::Meeting(constraint) => constraint.short_equal(),
        _ => None,
    };
    let short = short.map_or_else(String::new, |short| {
        let zeros = match short.contains('.') {
            true => ".0",
            false => ".0.0",
        };
        format!(
            " As in Terraform's own constraints {short} is {short}{zeros} alone; ~> {short}.0 is what begins with {short}."
        )
    });
    Notice::on(
        "version",
        "No release meets the constraint",
        match known.is_empty() {
            true => format!(
                "The feed lists no release of {} for {architecture}.",
                request.channel
            ),
            false => format!(
                "The newest releases of {} for {architecture} are {}.{short} Change the constraint or the channel.",
                request.channel,
                known.join(", ")
            ),
        },
    )
}

/// A constraint without a feed.
pub(super) fn no_feed() -> Notice {
    Notice::on(
        "version",
        "A constraint needs the release feed",
        "release_server.url is not Flatcar's and release_server.feed_url is not set, so the releases are not known. Set release_server.feed_url to a directory with releases.json, or write current or an exact version.",
    )
}

/// The feed is not to be had, which is no reason to stop.
pub(super) fn feed_missing(fault: &Fault) -> Notice {
    Notice::new(
        "The release feed could not be read",
        format!(
            "{fault}. release_date is null, and warnings that need release dates are left out. Set release_server.feed_url to a mirror that can be reached."
        ),
    )
}

/// AWS without a region.
pub(super) fn no_region() -> Notice {
    Notice::on(
        "region",
        "An AWS image needs a region",
        "AMI ids differ by region. Set region, the provider's aws.region, or AWS_REGION.",
    )
}

/// The AMI list is not there: it has gone missing before.
pub(super) fn no_ami_list(fault: &Fault, aws: &Aws) -> Notice {
    Notice::new(
        "The AMI list is missing",
        format!(
            "{fault}. Use {} in the meantime, or another version.",
            aws.filter()
        ),
    )
}

/// A region that the list lacks.
pub(super) fn no_image_in_region(region: &str, amis: &BTreeMap<String, String>) -> Notice {
    // Flatcar has 20.
    let regions: Vec<&str> = amis.keys().map(String::as_str).take(50).collect();
    Notice::on(
        "region",
        format!("No Flatcar image in {region}"),
        format!(
            "This release is in {}. Use one of these, or copy the AMI of one into {region}.",
            regions.join(", ")
        ),
    )
}

/// A release that has no image for the platform.
pub(super) fn no_file(request: &Request, version: Version, feed: Option<&Feed>) -> Notice {
    let platform = request.platform;
    let newest = |channel: Channel| {
        let mut known = feed?.of(channel, request.architecture.name());
        known.find_map(|release| platform.file(release.version).map(|_| release.version))
    };
    let elsewhere: Vec<String> = CHANNELS
        .iter()
        .filter(|name| **name != request.channel.name)
        .filter_map(|name| {
            let release = newest(Channel { name, year: None })?;
            Some(format!("{name} (newest {release})"))
        })
        .collect();
    let first = (platform.files.iter())
        .filter_map(|file| file.since.last())
        .min();
    let todo = match (newest(request.channel), first) {
        (Some(release), _) => format!(
            "Set version to {release}, the newest of {} that has one.",
            request.channel
        ),
        (None, _) if !elsewhere.is_empty() => format!(
            "No release of {} has one. Set channel to one of {}.",
            request.channel,
            elsewhere.join(", ")
        ),
        (None, Some(first)) => format!(
            "Releases have one since about {first}. Set version to one from then on, where {} has any, or another channel.",
            request.channel
        ),
        (None, None) => "Set another version or channel.".to_owned(),
    };
    Notice::on(
        "version",
        format!("{version} has no image for {}", platform.name),
        format!(
            "Release {version} was not built for {}. {todo}",
            platform.title
        ),
    )
}

/// An image that should be there and is not.
pub(super) fn no_digests(fault: &Fault, name: &str, version: Version) -> Notice {
    Notice::on(
        "platform",
        format!("The image of {version} is missing"),
        format!(
            "{fault}, so {name} is not published for this release and architecture, or the mirror in release_server.url lacks it. Use another version or architecture."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::published::AzureWish;
    use super::*;
    use crate::flatcar::{Architecture, platform};

    fn request(platform_name: &str, channel: &str, version: &str) -> Request {
        Request {
            platform: platform(platform_name).unwrap(),
            channel: Channel::named(channel).unwrap(),
            architecture: Architecture::Amd64,
            wanted: Wanted::parse(version).unwrap(),
            region: None,
            azure: AzureWish {
                offer: AzureOffer::CoreVm,
                first_generation: false,
                gallery: None,
            },
        }
    }

    const FEED: &str = r#"{
        "4593.2.5": {"channel": "stable", "architectures": ["amd64"], "release_date": "2026-08-13 x", "major_software": {"kernel": ["6.12.102"], "systemd": ["257"]}},
        "4790.0.0": {"channel": "alpha", "architectures": ["amd64"], "release_date": "2026-08-13 x"},
        "4081.3.10": {"channel": "lts", "architectures": ["amd64"], "release_date": "2026-08-13 x"},
        "3033.3.18": {"channel": "lts", "architectures": ["amd64"], "release_date": "2023-10-25 x"},
        "3033.3.17": {"channel": "lts", "architectures": ["amd64"], "release_date": "2023-09-06 x"}
    }"#;

    /// Nobody is sent to a release that does not exist.
    #[test]
    fn what_a_release_lacks_is_named_where_it_is() {
        let feed = Feed::parse(FEED).unwrap();
        for (feed, platform_name, channel, version, says) in [
            (
                Some(&feed),
                "oraclecloud",
                "stable",
                "4593.2.5",
                "No release of stable has one. Set channel to one of alpha (newest 4790.0.0).",
            ),
            (
                Some(&feed),
                "proxmoxve",
                "lts",
                "4081.3.10",
                "Set channel to one of stable (newest 4593.2.5), alpha (newest 4790.0.0).",
            ),
            (
                Some(&feed),
                "kubevirt",
                "lts",
                "3510.3.8",
                "Set version to 4081.3.10, the newest of lts that has one.",
            ),
            (
                None,
                "oraclecloud",
                "stable",
                "4593.2.5",
                "where stable has any, or another channel",
            ),
        ] {
            let request = request(platform_name, channel, version);
            let told = no_file(&request, version.parse().unwrap(), feed).detail;
            assert!(told.contains(says), "{told}");
        }
    }
}
