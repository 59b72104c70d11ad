//! Warnings that save an evening: what is old, what may be gone by now, what may be kept back.
//!
//! In: what was asked for and found, the feed where there is one, the day. Out: a [`Notice`] each.

use crate::flatcar::{Date, LTS_STREAMS, LtsStream, Version, spec_of_release};

use super::published::{AWS_KEPT_DAYS, AWS_OWNER, AzureOffer, GCP_KEPT};
use super::release::{Components, Feed, Wanted};
use super::{Notice, Request};

/// What the warnings are about.
pub(super) struct Circumstances<'a> {
    pub(super) request: &'a Request,
    pub(super) version: Version,
    /// By the feed, else the day of the build.
    pub(super) published: Option<Date>,
    pub(super) feed: Option<&'a Feed>,
    pub(super) components: Option<&'a Components>,
    /// The day of the signature of `version.txt`, else of the build.
    pub(super) proven: Option<Date>,
    pub(super) today: Date,
}

impl Circumstances<'_> {
    /// What to do about a release that is too old, by what is known of newer ones.
    fn newer_version(&self) -> String {
        let (channel, architecture) = (self.request.channel, self.request.architecture.name());
        let known = self.feed.map(|feed| feed.of(channel, architecture).next());
        match known.map(|newest| newest.map(|newest| newest.version)) {
            Some(Some(newest)) if newest > self.version => {
                format!("Set version to a newer release; the newest of {channel} is {newest}.")
            }
            Some(_) => format!("{channel} has no newer release: set another channel."),
            None if self.request.wanted == Wanted::Current => {
                format!("It is the current release of {channel}: set another channel.")
            }
            None => format!("Set version to a newer release of {channel}, or another channel."),
        }
    }
}

/// So long a stream of long-term support lives, as Flatcar promises: 18 months.
const LTS_DAYS: i64 = 548;

/// So long before its end one should know.
const LTS_NOTICE_DAYS: i64 = 92;

/// So long a release takes to Azure's marketplace, at worst.
const AZURE_LAG_DAYS: i64 = 7;

/// Warnings that save an evening.
pub(super) fn all(about: Circumstances<'_>) -> Vec<Notice> {
    let platform = match about.request.platform.name {
        "aws" => aws(&about),
        "azure" => azure(&about),
        "gcp" => gcp(&about),
        _ => None,
    };
    let components = match about.components {
        Some(components) => disagreement(&about, components),
        None => Some(Notice::new(
            "The release has no package list",
            format!(
                "components is null, and ignition_spec is what the provider knows of release {}. Where they are needed, set version to a release that has one: all since 2022 do.",
                about.version
            ),
        )),
    };
    let age = stale(&about).or_else(|| standing_still(&about));
    [lts(&about), platform, components, age]
        .into_iter()
        .flatten()
        .collect()
}

/// The package list is signed and names no release; the feed names the release and is not signed.
/// Where they differ, one of them is not what it says.
fn disagreement(about: &Circumstances<'_>, components: &Components) -> Option<Notice> {
    let listed = &about.feed?.find(about.version)?.components;
    let differ: Vec<String> = components
        .iter()
        .filter_map(|(name, version)| Some((name, version, listed.get(name)?)))
        // The feed has the major of systemd only.
        .filter(|(_, version, listed)| {
            let rest = version.strip_prefix(listed.as_str());
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .map(|(name, version, listed)| format!("{name} {version} in place of {listed}"))
        .collect();
    (!differ.is_empty()).then(|| {
        Notice::new(
            "Package list and release feed disagree",
            format!(
                "For {} the signed package list has {}. Either the feed is wrong, or the list is of another release or architecture: compare with the release notes before components or ignition_spec decide anything.",
                about.version,
                differ.join(", ")
            ),
        )
    })
}

/// The longest that a channel has stood still was 64 days, between 2020 and 2026 ...
const CHANNEL_RESTS_DAYS: i64 = 75;

/// ... and of long-term support 224.
const LTS_RESTS_DAYS: i64 = 240;

/// Whoever answers for the server may keep back new releases for ever; signatures do not tell.
/// Their age does.
fn standing_still(about: &Circumstances<'_>) -> Option<Notice> {
    let has_ended =
        |stream: &LtsStream| stream.major == about.version.major && stream.ended.is_some();
    let is_lts = about.request.channel.name == "lts";
    if about.request.wanted != Wanted::Current || (is_lts && LTS_STREAMS.iter().any(has_ended)) {
        return None;
    }
    let rests = match is_lts {
        true => LTS_RESTS_DAYS,
        false => CHANNEL_RESTS_DAYS,
    };
    let proven = about.proven?;
    let age = about.today.days_since(proven);
    (age > rests).then(|| {
        Notice::on(
            "version",
            format!("The current release is {age} days old"),
            format!(
                "{} is of {proven}, and {} has never stood still for more than {rests} days: newer releases, with security fixes, may be kept back. Where release_server.url is a mirror, renew it, or set version = \"{}\" if it stands still on purpose; else look for newer releases on flatcar.org.",
                about.version, about.request.channel, about.version
            ),
        )
    })
}

fn aws(about: &Circumstances<'_>) -> Option<Notice> {
    let published = about.published?;
    let age = about.today.days_since(published);
    (age > AWS_KEPT_DAYS).then(|| {
        Notice::on(
            "version",
            "The AMI may no longer exist",
            format!(
                "{} is from {published}, and Flatcar takes AMIs back after nine months. {} Whether the AMI is still there tells data \"aws_ami\" with aws.name and owner {AWS_OWNER}.",
                about.version,
                about.newer_version()
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
    (current && (0..=AZURE_LAG_DAYS).contains(&age)).then(|| {
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
                "{newer} newer releases of {} exist, and Flatcar keeps {GCP_KEPT} older images of a channel there. {}",
                about.request.channel.name,
                about.newer_version()
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
        let reads = spec_of_release(about.version).filter(|spec| spec.starts_with("2."));
        let reads = reads.map_or_else(String::new, |spec| {
            format!(
                " Its Ignition reads no specification newer than {spec}, and so nothing that flatcar_ignition renders."
            )
        });
        return Some(Notice::on(
            "channel",
            format!("LTS {year} has ended"),
            format!(
                "Its last release is of {ended}; it gets no security fixes.{reads} Move to a newer stream, or to stable."
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

/// The feed follows the release server, never the other way: a newer release in it means that the
/// server is behind.
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

    fn about<'a>(request: &'a Request, version: &str, today: &str) -> Circumstances<'a> {
        Circumstances {
            request,
            version: version.parse().unwrap(),
            published: None,
            feed: None,
            components: None,
            proven: None,
            today: Date::starting(today).unwrap(),
        }
    }

    fn day(text: &str) -> Option<Date> {
        Date::starting(text)
    }

    const FEED: &str = r#"{
        "4593.2.5": {"channel": "stable", "architectures": ["amd64"], "release_date": "2026-08-13 x", "major_software": {"kernel": ["6.12.102"], "systemd": ["257"]}},
        "4790.0.0": {"channel": "alpha", "architectures": ["amd64"], "release_date": "2026-08-13 x"},
        "4081.3.10": {"channel": "lts", "architectures": ["amd64"], "release_date": "2026-08-13 x"},
        "3033.3.18": {"channel": "lts", "architectures": ["amd64"], "release_date": "2023-10-25 x"},
        "3033.3.17": {"channel": "lts", "architectures": ["amd64"], "release_date": "2023-09-06 x"}
    }"#;

    #[test]
    fn the_end_of_a_stream_is_told_before_and_after_it() {
        for (channel, version, today, says) in [
            ("lts-2024", "4081.3.10", "2026-04-01", ""),
            (
                "lts-2024",
                "4081.3.10",
                "2026-06-01",
                "LTS 2024 is near its end",
            ),
            (
                "lts-2024",
                "4081.3.10",
                "2026-08-20",
                "LTS 2024 is past its end",
            ),
            (
                "lts-2023",
                "3510.3.8",
                "2026-08-20",
                "gets no security fixes. Move",
            ),
            (
                "lts-2022",
                "3033.3.18",
                "2026-08-20",
                "no specification newer than 2.3.0",
            ),
        ] {
            let request = request("openstack", channel, "current");
            let notice = lts(&about(&request, version, today));
            let told = notice.map(|notice| format!("{}: {}", notice.summary, notice.detail));
            let told = told.unwrap_or_default();
            assert!(
                told.contains(says) && told.is_empty() == says.is_empty(),
                "{told}"
            );
        }
    }

    #[test]
    fn a_current_release_that_stands_still_is_told_with_its_age() {
        for (channel, wanted, version, proven, today, days) in [
            (
                "stable",
                "current",
                "4593.2.5",
                "2026-08-13",
                "2026-10-27",
                None,
            ),
            (
                "stable",
                "current",
                "4593.2.5",
                "2026-08-13",
                "2026-10-28",
                Some(76),
            ),
            (
                "stable",
                "4593.2.5",
                "4593.2.5",
                "2026-08-13",
                "2027-10-28",
                None,
            ),
            (
                "alpha",
                "current",
                "4790.0.0",
                "2026-08-13",
                "2026-12-01",
                Some(110),
            ),
            (
                "lts",
                "current",
                "4081.3.10",
                "2026-08-13",
                "2027-04-10",
                None,
            ),
            (
                "lts",
                "current",
                "4081.3.10",
                "2026-08-13",
                "2027-04-11",
                Some(241),
            ),
            (
                "lts-2022",
                "current",
                "3033.3.18",
                "2023-10-25",
                "2027-04-11",
                None,
            ),
            (
                "stable",
                "current",
                "4593.2.5",
                "2026-08-13",
                "2026-01-01",
                None,
            ),
            ("stable", "current", "4593.2.5", "", "2027-01-01", None),
        ] {
            let request = request("openstack", channel, wanted);
            let about = Circumstances {
                proven: day(proven),
                ..about(&request, version, today)
            };
            let told = standing_still(&about).map(|notice| notice.summary);
            let expected = days.map(|days| format!("The current release is {days} days old"));
            assert_eq!(told, expected, "{channel} {wanted} {today}");
        }
    }

    #[test]
    fn a_package_list_that_the_feed_contradicts_is_told() {
        let feed = Feed::parse(FEED).unwrap();
        let request = request("openstack", "stable", "current");
        for (name, version, says) in [
            ("kernel", "6.12.102", ""),
            ("systemd", "257.9", ""),
            ("systemd", "2571", "systemd 2571 in place of 257"),
            ("kernel", "6.6.95", "kernel 6.6.95 in place of 6.12.102"),
            ("docker", "28.0.4", ""),
        ] {
            let about = Circumstances {
                feed: Some(&feed),
                ..about(&request, "4593.2.5", "2026-08-20")
            };
            let components = Components::from([(name.to_owned(), version.to_owned())]);
            let told = disagreement(&about, &components).map(|notice| notice.detail);
            let told = told.unwrap_or_default();
            assert!(
                told.contains(says) && told.is_empty() == says.is_empty(),
                "{told}"
            );
        }
    }

    /// Nobody is sent to a release that does not exist.
    #[test]
    fn advice_names_releases_that_there_are() {
        let feed = Feed::parse(FEED).unwrap();
        for (feed, channel, wanted, version, says) in [
            (
                Some(&feed),
                "lts-2022",
                "3033.3.17",
                "3033.3.17",
                "the newest of lts-2022 is 3033.3.18",
            ),
            (
                Some(&feed),
                "lts-2022",
                "current",
                "3033.3.18",
                "lts-2022 has no newer release: set another channel",
            ),
            (
                Some(&feed),
                "stable",
                "current",
                "4593.2.5",
                "stable has no newer release: set another channel",
            ),
            (
                None,
                "stable",
                "current",
                "4593.2.5",
                "the current release of stable: set another channel",
            ),
            (
                None,
                "stable",
                "4593.2.4",
                "4593.2.4",
                "a newer release of stable, or another channel",
            ),
        ] {
            let request = request("aws", channel, wanted);
            let about = Circumstances {
                feed,
                published: day("2024-01-01"),
                ..about(&request, version, "2026-08-20")
            };
            let told = aws(&about).unwrap().detail;
            assert!(told.contains(says), "{told}");
        }
    }
}
