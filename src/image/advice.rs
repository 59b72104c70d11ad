//! What to tell the user when something is wrong, or will be: what answered, and what to do.

use std::collections::BTreeMap;

use crate::flatcar::{Date, LTS_STREAMS, Platform, Version};
use crate::http::{Kind, redacted};

use super::published::{AWS_KEPT_DAYS, AWS_OWNER, Aws, AzureOffer, GCP_KEPT};
use super::release::{Feed, Wanted};
use super::signature::Refusal;
use super::source::{Fault, Source};
use super::{Notice, Request};

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
            Kind::Unreadable => "Make the file readable for the user who runs the plan.",
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

/// A file that was signed before the release was built.
pub(super) fn older(url: &str, version: Version, signed: Date, built: Date) -> Notice {
    let url = redacted(url);
    Notice::new(
        format!("A file is older than release {version}"),
        format!(
            "{url} was signed on {signed}, before {version} was built on {built}: a file of an older release stands in its place. Do not use the image; tell whoever runs the server in release_server.url."
        ),
    )
}

/// Digests that are of another file.
pub(super) fn another_file(url: &str, name: &str, names: &[&str]) -> Notice {
    let url = redacted(url);
    Notice::new(
        "The digests are of another file",
        format!(
            "{url} is signed, but says nothing of {name}, only of {}: a file of another image stands in its place. Do not use the image; tell whoever runs the server in release_server.url.",
            names.join(", ")
        ),
    )
}

/// What was asked for and is of another platform. A default that was written out harms nobody and is not told.
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
    Notice::on(
        "version",
        "No release meets the constraint",
        match known.is_empty() {
            true => format!(
                "The feed lists no release of {} for {architecture}.",
                request.channel
            ),
            false => format!(
                "The newest releases of {} for {architecture} are {}. Change the constraint or the channel.",
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
    let regions: Vec<&str> = amis.keys().map(String::as_str).collect();
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
pub(super) fn no_file(platform: &Platform, version: Version) -> Notice {
    let since = platform
        .files
        .iter()
        .filter_map(|file| file.since.last())
        .min();
    let since = since.map_or_else(String::new, |since| {
        format!(" Releases have one since about {since}.")
    });
    Notice::on(
        "version",
        format!("{version} has no image for {}", platform.name),
        format!(
            "Release {version} was not built for {}.{since} Use a newer release or another channel.",
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

/// What the warnings are about.
pub(super) struct Circumstances<'a> {
    pub(super) request: &'a Request,
    pub(super) version: Version,
    /// By the feed, else the day of the build.
    pub(super) published: Option<Date>,
    pub(super) feed: Option<&'a Feed>,
    pub(super) has_components: bool,
    pub(super) today: Date,
}

/// So long a stream of long-term support lives, as Flatcar promises: 18 months.
const LTS_DAYS: i64 = 548;

/// So long before its end one should know.
const LTS_NOTICE_DAYS: i64 = 92;

/// So long a release takes to Azure's marketplace, at worst.
const AZURE_LAG_DAYS: i64 = 7;

/// Warnings that save an evening.
pub(super) fn warnings(about: Circumstances<'_>) -> Vec<Notice> {
    let platform = match about.request.platform.name {
        "aws" => aws(&about),
        "azure" => azure(&about),
        "gcp" => gcp(&about),
        _ => None,
    };
    let components = (!about.has_components).then(|| {
        Notice::new(
            "The release has no package list",
            format!(
                "components is null, and ignition_spec is what the provider knows of release {}. Use a newer release where they are needed.",
                about.version
            ),
        )
    });
    [lts(&about), platform, components, stale(&about)]
        .into_iter()
        .flatten()
        .collect()
}

fn aws(about: &Circumstances<'_>) -> Option<Notice> {
    let published = about.published?;
    let age = about.today.days_since(published);
    (age > AWS_KEPT_DAYS).then(|| {
        Notice::on(
            "version",
            "The AMI may no longer exist",
            format!(
                "{} is from {published}, and Flatcar takes AMIs back after nine months. Use a newer version; whether the AMI is still there tells data \"aws_ami\" with aws.name and owner {AWS_OWNER}.",
                about.version
            ),
        )
    })
}

fn azure(about: &Circumstances<'_>) -> Option<Notice> {
    let wish = &about.request.azure;
    if wish.gallery.is_none() && wish.offer == AzureOffer::Free {
        return Some(Notice::on(
            "azure_offer",
            "The offer's terms have to be accepted",
            "Once per subscription: resource \"azurerm_marketplace_agreement\" with the values of azure.plan, or az vm image terms accept --urn. azure_offer = \"corevm\" has the same image without plan and terms.",
        ));
    }
    let age = about.today.days_since(about.published?);
    let current = about.request.wanted == Wanted::Current;
    (current && age <= AZURE_LAG_DAYS).then(|| {
        Notice::on(
            "version",
            "Azure may not have this release yet",
            format!(
                "{} is {age} days old, and Azure's marketplace gets releases by hand, some days later. If the machine cannot be created, set version to the release before it.",
                about.version
            ),
        )
    })
}

fn gcp(about: &Circumstances<'_>) -> Option<Notice> {
    let newer = about
        .feed?
        .0
        .iter()
        .filter(|release| {
            release.channel == about.request.channel.name && release.version > about.version
        })
        .count();
    (newer > GCP_KEPT).then(|| {
        Notice::on(
            "version",
            "The image is probably no longer on GCP",
            format!(
                "{newer} newer releases of {} exist, and Flatcar keeps {GCP_KEPT} older images of a channel there. Use a newer version.",
                about.request.channel.name
            ),
        )
    })
}

fn lts(about: &Circumstances<'_>) -> Option<Notice> {
    if about.request.channel.name != "lts" {
        return None;
    }
    let stream = LTS_STREAMS
        .iter()
        .find(|stream| stream.major == about.version.major)?;
    let year = stream.year;
    if let Some(ended) = stream.ended {
        return Some(Notice::on(
            "channel",
            format!("LTS {year} has ended"),
            format!(
                "Its last release is of {ended}; it gets no security fixes. Move to a newer stream, or to stable."
            ),
        ));
    }
    let first = Date::starting(stream.first)?;
    let age = about.today.days_since(first);
    if age > LTS_DAYS {
        return Some(Notice::on(
            "channel",
            format!("LTS {year} is past its end"),
            format!(
                "It began on {first}, and the about 18 months that a stream is supported have passed: do not count on further security fixes. Move to a newer stream, or to stable."
            ),
        ));
    }
    (age > LTS_DAYS - LTS_NOTICE_DAYS).then(|| {
        Notice::on(
            "channel",
            format!("LTS {year} is near its end"),
            format!(
                "It began on {first}, and a stream is supported for about 18 months. Plan the move to the next stream, or to stable."
            ),
        )
    })
}

/// The feed follows the release server, never the other way: a newer release in it means that the server is behind.
fn stale(about: &Circumstances<'_>) -> Option<Notice> {
    if about.request.wanted != Wanted::Current {
        return None;
    }
    let newest = about
        .feed?
        .of(about.request.channel, about.request.architecture.name())
        .map(|release| release.version)
        // The newest LTS stream is current, whatever was released last in an older one.
        .next()
        .filter(|newest| *newest > about.version)?;
    Some(Notice::on(
        "version",
        "The release server is behind",
        format!(
            "It says that {} is current, while {newest} has been released. Where release_server.url is a mirror, renew it; else try again later.",
            about.version
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::published::AzureWish;
    use super::super::release::Channel;
    use super::*;
    use crate::flatcar::{Architecture, platform};

    #[test]
    fn the_end_of_a_stream_is_told_before_and_after_it() {
        for (today, says) in [
            ("2026-04-01", None),
            ("2026-06-01", Some("LTS 2024 is near its end")),
            ("2026-08-20", Some("LTS 2024 is past its end")),
        ] {
            let request = Request {
                platform: platform("openstack").unwrap(),
                channel: Channel::named("lts-2024").unwrap(),
                architecture: Architecture::Amd64,
                wanted: Wanted::Current,
                region: None,
                azure: AzureWish {
                    offer: AzureOffer::CoreVm,
                    first_generation: false,
                    gallery: None,
                },
            };
            let notice = lts(&Circumstances {
                request: &request,
                version: Version::of(4081, 3, 10),
                published: None,
                feed: None,
                has_components: true,
                today: Date::starting(today).unwrap(),
            });
            assert_eq!(notice.map(|notice| notice.summary).as_deref(), says);
        }
    }
}
