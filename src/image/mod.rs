//! Channel, version, architecture and platform in; the right, signature-checked image out.
//!
//! In: `Request {stable, current, amd64, openstack}`. Out: [`Image`] with release 4593.2.5, the URL
//! of `flatcar_production_openstack_image.img` and its SHA-512, what is inside it, and [`Notice`]s
//! that save an evening.
//!
//! `version.txt` on the release server is the authority for *current*; the release feed serves
//! history, constraints and dates and is not signed. Version, image and SHA-512 come from signed
//! data only, and so do the components.

mod advice;
pub mod constraint;
pub mod data_source;
pub mod published;
pub mod release;
pub mod signature;
pub mod source;
mod warnings;

use crate::flatcar::{
    Architecture, Date, ImageFile, Platform, SIGNING_KEY_FINGERPRINT, Version, spec_of_ignition,
    spec_of_release,
};

use constraint::Constraint;
use published::{Aws, Azure, AzureWish, Gcp, aws_region_hint};
use release::{Amis, Built, Channel, Components, Digests, Feed, Packages, Wanted};
use source::{Signed, Source, without_user};

/// What is asked for.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Request {
    pub platform: &'static Platform,
    pub channel: Channel,
    pub architecture: Architecture,
    pub wanted: Wanted,
    /// Of AWS.
    pub region: Option<String>,
    pub azure: AzureWish,
}

/// An image, and what is inside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The release.
    pub version: Version,
    /// What the cloud's API takes: AMI id, URN or gallery id, image path; elsewhere the file's URL.
    pub image: String,
    /// As the feed has it; absent where there is no feed, or the feed does not have the release
    /// yet.
    pub release_date: Option<String>,
    /// Absent where the release has no package list.
    pub components: Option<Components>,
    /// The newest Ignition spec that it reads; absent for releases before 2345.3.1.
    pub ignition_spec: Option<&'static str>,
    /// Of platforms that take a file.
    pub file: Option<FileFacts>,
    #[allow(missing_docs)]
    pub aws: Option<Aws>,
    #[allow(missing_docs)]
    pub azure: Option<Azure>,
    #[allow(missing_docs)]
    pub gcp: Option<Gcp>,
    /// Fingerprint of the primary key that signed the release; empty where signatures are not
    /// checked.
    pub verified_by: String,
}

/// An image file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FileFacts {
    pub url: String,
    pub file: &'static ImageFile,
    /// Of the file as it is downloaded.
    pub sha512: String,
    pub signature_url: String,
    /// The kernel that goes with a network boot image.
    pub kernel_url: Option<String>,
    pub kernel_sha512: Option<String>,
}

/// Something to tell the user: an error or a warning, as the caller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The attribute to blame.
    pub attribute: Option<&'static str>,
    /// What failed, at most 60 characters.
    pub summary: String,
    /// What answered, and what to do.
    pub detail: String,
}

impl Notice {
    /// About an attribute.
    pub fn on(
        attribute: &'static str,
        summary: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            attribute: Some(attribute),
            summary: summary.into(),
            detail: detail.into(),
        }
    }

    /// About no attribute.
    pub fn new(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            attribute: None,
            summary: summary.into(),
            detail: detail.into(),
        }
    }
}

/// What cannot be had, whatever the servers say: for validation.
pub fn check(request: &Request) -> Vec<Notice> {
    let mut notices = Vec::new();
    let platform = request.platform;
    if !platform.architectures.contains(&request.architecture) {
        let has: Vec<_> = platform
            .architectures
            .iter()
            .map(|architecture| architecture.name())
            .collect();
        let architecture = request.architecture.name();
        notices.push(Notice::on(
            "architecture",
            format!("There is no {architecture} image for {}", platform.name),
            format!(
                "Flatcar publishes for {} on {} only. Use architecture = \"{}\", or another platform.",
                platform.title,
                has.join(", "),
                has.join("\" or \"")
            ),
        ));
    }
    if let Wanted::Exact(version) = request.wanted
        && let Some(why) = request.channel.refuses(version)
    {
        let other = version.channel().unwrap_or("another");
        notices.push(Notice::on(
            "version",
            "The release is not of this channel",
            format!(
                "{why}. Set channel = \"{other}\", or a version of {}.",
                request.channel
            ),
        ));
    }
    if platform.name == "azure" {
        notices.extend(request.azure.check(request.channel, request.architecture));
    }
    if platform.name == "aws"
        && let Some(region) = &request.region
        && let Some(hint) = aws_region_hint(region)
    {
        notices.push(Notice::on(
            "region",
            format!("No Flatcar image in {region}"),
            hint,
        ));
    }
    notices
}

/// Finds the image.
///
/// # Errors
/// One notice a fault; nothing was found then.
pub async fn resolve(
    source: &Source,
    request: &Request,
) -> Result<(Image, Vec<Notice>), Vec<Notice>> {
    let impossible = check(request);
    if !impossible.is_empty() {
        return Err(impossible);
    }
    let release = find_release(source, request)
        .await
        .map_err(|notice| vec![notice])?;
    let (feed, components, place) = tokio::join!(
        feed(source, request),
        components(source, &release),
        place(source, request, &release)
    );
    let mut notices = Vec::new();
    let feed = feed.unwrap_or_else(|notice| {
        notices.push(notice);
        None
    });
    let (components, place) = match (components, place) {
        (Ok(components), Ok(place)) => (components, place),
        (components, place) => {
            return Err(components.err().into_iter().chain(place.err()).collect());
        }
    };
    let listed = feed.as_ref().and_then(|feed| feed.find(release.version));
    let published = listed
        .and_then(release::Release::published)
        .or(release.built.on);
    notices.extend(warnings::all(warnings::Circumstances {
        request,
        version: release.version,
        published,
        feed: feed.as_deref(),
        components: components.as_ref(),
        proven: release.signed.or(release.built.on),
        today: source.today(),
    }));
    let ignition = components
        .as_ref()
        .and_then(|components| components.get("ignition"));
    let image = Image {
        version: release.version,
        image: place.image,
        release_date: listed
            .map(|release| release.release_date.clone())
            .filter(|date| !date.is_empty()),
        ignition_spec: match ignition {
            Some(ignition) => spec_of_ignition(ignition),
            None => spec_of_release(release.version),
        },
        components,
        file: place.file,
        aws: place.aws,
        azure: place.azure,
        gcp: place.gcp,
        verified_by: release.verified_by,
    };
    Ok((image, notices))
}

/// A release that exists and is proven.
struct Found {
    version: Version,
    built: Built,
    /// The day of the signature of its `version.txt`; absent where signatures are not checked.
    signed: Option<Date>,
    directory: String,
    verified_by: String,
}

/// A day is left for clocks.
const CLOCK_DAYS: i64 = 1;

/// A release's files are signed within days; lists that had to be mended came weeks later.
const SIGNED_WITHIN_DAYS: i64 = 60;

impl Found {
    fn url(&self, file: &str) -> String {
        format!("{}/{file}", self.directory)
    }

    /// Files that do not name their release have only the day of their signature to be told by. One
    /// that was signed before the release was built belongs to an older one; one that was signed
    /// long after its `version.txt`, to a newer.
    fn accept<T>(&self, url: &str, signed: &Signed<T>) -> Result<(), Notice> {
        let Some(signer) = &signed.signer else {
            return Ok(());
        };
        let day = Date::of(signer.signed_at);
        if let Some(built) = self.built.on
            && built.days_since(day) > CLOCK_DAYS
        {
            return Err(advice::older(
                url,
                self.version,
                day,
                &format!("{} was built", self.version),
                built,
            ));
        }
        let Some(own) = self.signed else {
            return Ok(());
        };
        let after = day.days_since(own);
        // Only of builds of one's own: Flatcar's say when they were built.
        if self.built.on.is_none() && after < -SIGNED_WITHIN_DAYS {
            let than = &format!("the version.txt of {} was signed", self.version);
            return Err(advice::older(url, self.version, day, than, own));
        }
        match after > SIGNED_WITHIN_DAYS {
            true => Err(advice::newer(url, self.version, day, own)),
            false => Ok(()),
        }
    }
}

async fn find_release(source: &Source, request: &Request) -> Result<Found, Notice> {
    let channel = request.channel;
    let (name, exact) = match &request.wanted {
        Wanted::Current => (channel.current_directory(), None),
        Wanted::Exact(version) => (version.to_string(), Some(*version)),
        Wanted::Meeting(constraint) => {
            let version = newest_that_meets(source, request, constraint).await?;
            (version.to_string(), Some(version))
        }
    };
    let directory = source.directory(channel, request.architecture, &name);
    let url = format!("{directory}/version.txt");
    let signed = match source.signed(&url, Built::parse).await {
        Ok(signed) => signed,
        Err(fault) if fault.is_not_found() => {
            let feed = match source.has_feed() {
                true => source.feed(Some(channel)).await.ok(),
                false => None,
            };
            return Err(advice::no_release(request, exact, &fault, feed.as_deref()));
        }
        Err(fault) => return Err(advice::fault(source, "version.txt", &fault)),
    };
    let version = signed.value.version;
    if let Some(asked) = exact.filter(|asked| *asked != version) {
        return Err(advice::another_release(&url, asked, version));
    }
    if let Some(why) = channel.refuses(version) {
        return Err(advice::another_channel(&url, &why));
    }
    let signer = signed.signer.as_ref();
    let found = Found {
        version,
        built: signed.value.clone(),
        signed: signer.map(|signer| Date::of(signer.signed_at)),
        directory: source.directory(channel, request.architecture, &version.to_string()),
        verified_by: signer.map_or_else(String::new, |signer| signer.fingerprint.clone()),
    };
    if let Some(build) = no_release(&found) {
        return Err(advice::no_release_build(&url, version, build));
    }
    found.accept(&url, &signed)?;
    Ok(found)
}

/// By the feed, which is not signed and is said to lag behind; so what is current, which is signed,
/// counts too.
async fn newest_that_meets(
    source: &Source,
    request: &Request,
    constraint: &Constraint,
) -> Result<Version, Notice> {
    if !source.has_feed() {
        return Err(advice::no_feed());
    }
    let (channel, architecture) = (request.channel, request.architecture);
    let directory = source.directory(channel, architecture, &channel.current_directory());
    let url = format!("{directory}/version.txt");
    let (feed, current) = tokio::join!(
        source.feed(Some(channel)),
        source.signed(&url, Built::parse)
    );
    let feed = feed.map_err(|fault| advice::fault(source, "release feed", &fault))?;
    let current = match &current {
        Ok(signed) if signed.value.build.is_none() => Some(signed.value.version),
        Ok(_) => None,
        // A mirror of single releases.
        Err(fault) if fault.is_not_found() => None,
        Err(fault) => return Err(advice::fault(source, "version.txt", fault)),
    };
    let current = current.filter(|version| channel.refuses(*version).is_none());
    feed.of(channel, architecture.name())
        .map(|release| release.version)
        .chain(current)
        .filter(|version| constraint.is_met_by(*version))
        .max()
        .ok_or_else(|| advice::nothing_meets(&feed, request))
}

/// The build of a number that is no release: Flatcar signs what it builds every night with the key
/// of its releases, while builds of one's own have a key of their own.
fn no_release(found: &Found) -> Option<&str> {
    let build = found.built.build.as_deref()?;
    (found.verified_by == SIGNING_KEY_FINGERPRINT).then_some(build)
}

/// The feed, which one can do without: an error here is a warning.
async fn feed(source: &Source, request: &Request) -> Result<Option<std::sync::Arc<Feed>>, Notice> {
    if !source.has_feed() {
        return Ok(None);
    }
    match source.feed(Some(request.channel)).await {
        Ok(feed) => Ok(Some(feed)),
        Err(fault) => Err(advice::feed_missing(&fault)),
    }
}

/// Since this release containerd and Docker are extensions with package lists of their own.
const EXTENSIONS_SINCE: Version = Version::of(3794, 0, 0);

/// What a release is made of, from its signed package lists.
async fn components(source: &Source, release: &Found) -> Result<Option<Components>, Notice> {
    let list = async |file: &str| {
        let url = release.url(file);
        match source.signed(&url, Packages::parse).await {
            Ok(signed) => release.accept(&url, &signed).map(|()| Some(signed)),
            Err(fault) if fault.is_not_found() => Ok(None),
            Err(fault) => Err(advice::fault(source, "package list", &fault)),
        }
    };
    let extension = async |file: &str| match release.version >= EXTENSIONS_SINCE {
        true => list(file).await,
        false => Ok(None),
    };
    let (base, containerd, docker) = tokio::join!(
        list("flatcar_production_image_packages.txt"),
        extension("rootfs-included-sysexts/containerd-flatcar_packages.txt"),
        extension("rootfs-included-sysexts/docker-flatcar_packages.txt")
    );
    let Some(base) = base? else {
        return Ok(None);
    };
    let mut components = base.value.0.clone();
    for extension in [containerd?, docker?].into_iter().flatten() {
        components.extend(extension.value.0.clone());
    }
    Ok(Some(components))
}

/// Where a platform has the image.
#[derive(Default)]
struct Place {
    image: String,
    file: Option<FileFacts>,
    aws: Option<Aws>,
    azure: Option<Azure>,
    gcp: Option<Gcp>,
}

async fn place(source: &Source, request: &Request, release: &Found) -> Result<Place, Notice> {
    let (channel, version, architecture) = (request.channel, release.version, request.architecture);
    match request.platform.name {
        "aws" => aws(source, request, release).await,
        "azure" => {
            let azure = Azure::new(&request.azure, channel, version, architecture);
            Ok(Place {
                image: azure
                    .urn
                    .clone()
                    .or_else(|| azure.gallery_image_id.clone())
                    .unwrap_or_default(),
                azure: Some(azure),
                ..Place::default()
            })
        }
        "gcp" => {
            let gcp = Gcp::new(channel, version);
            Ok(Place {
                image: gcp.image(),
                gcp: Some(gcp),
                ..Place::default()
            })
        }
        _ => file(source, request, release).await,
    }
}

async fn aws(source: &Source, request: &Request, release: &Found) -> Result<Place, Notice> {
    let region = request.region.as_deref().unwrap_or_default();
    if region.is_empty() {
        return Err(advice::no_region());
    }
    let url = release.url("flatcar_production_ami_all.json");
    let named = |amis| {
        Aws::new(
            request.channel,
            release.version,
            request.architecture,
            region,
            amis,
        )
    };
    let amis = match source.signed(&url, Amis::parse).await {
        Ok(signed) => {
            release.accept(&url, &signed)?;
            signed.value.0.clone()
        }
        Err(fault) if fault.is_not_found() => {
            return Err(advice::no_ami_list(&fault, &named(Default::default())));
        }
        Err(fault) => return Err(advice::fault(source, "AMI list", &fault)),
    };
    let Some(id) = amis.get(region).cloned() else {
        return Err(advice::no_image_in_region(region, &amis));
    };
    Ok(Place {
        image: id,
        aws: Some(named(amis)),
        ..Place::default()
    })
}

/// Before this release digests were written per group of files, not per file.
const DIGESTS_PER_FILE_SINCE: Version = Version::of(3277, 0, 0);

const PXE_KERNEL: &str = "flatcar_production_pxe.vmlinuz";

async fn file(source: &Source, request: &Request, release: &Found) -> Result<Place, Notice> {
    let Some(file) = request.platform.file(release.version) else {
        // Of all channels: to name one that has it.
        let feed = match source.has_feed() {
            true => source.feed(None).await.ok(),
            false => None,
        };
        return Err(advice::no_file(request, release.version, feed.as_deref()));
    };
    let kernel = (request.platform.name == "pxe").then_some(PXE_KERNEL);
    let (sha512, kernel_sha512) = tokio::join!(sha512(source, release, file.name), async {
        match kernel {
            Some(kernel) => sha512(source, release, kernel).await.map(Some),
            None => Ok(None),
        }
    });
    let url = without_user(&release.url(file.name));
    Ok(Place {
        image: url.clone(),
        file: Some(FileFacts {
            signature_url: format!("{url}.sig"),
            url,
            file,
            sha512: sha512?,
            kernel_url: kernel.map(|kernel| without_user(&release.url(kernel))),
            kernel_sha512: kernel_sha512?,
        }),
        ..Place::default()
    })
}

async fn sha512(source: &Source, release: &Found, name: &str) -> Result<String, Notice> {
    let url = release.url(&format!("{name}.DIGESTS.asc"));
    let mut answer = (url.clone(), source.digests(&url).await);
    if release.version < DIGESTS_PER_FILE_SINCE
        && let Err(fault) = &answer.1
        && fault.is_not_found()
    {
        let group = name.split("_image.").next().unwrap_or(name);
        let group = group.split('.').next().unwrap_or(group);
        let url = release.url(&format!("{group}.DIGESTS.asc"));
        answer = (url.clone(), source.digests(&url).await);
    }
    let (url, digests) = answer;
    let digests = digests.map_err(|fault| match fault.is_not_found() {
        true => advice::no_digests(&fault, name, release.version),
        false => advice::fault(source, "digests", &fault),
    })?;
    release.accept(&url, &digests)?;
    let of_file = |digests: &Digests| digests.sha512(name).map(str::to_owned);
    of_file(&digests.value).ok_or_else(|| advice::another_file(&url, name, &digests.value.names()))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::signature::Signer;
    use super::*;

    fn day(text: &str) -> Option<Date> {
        (!text.is_empty()).then(|| Date::starting(text).unwrap())
    }

    fn found(built: &str, signed: &str) -> Found {
        Found {
            version: Version::of(4593, 2, 5),
            built: Built {
                version: Version::of(4593, 2, 5),
                build: None,
                on: day(built),
            },
            signed: day(signed),
            directory: "file:///mirror".to_owned(),
            verified_by: String::new(),
        }
    }

    #[test]
    fn a_file_without_a_name_is_told_by_the_day_of_its_signature() {
        for (built, own, signed, says) in [
            ("2026-08-11", "2026-08-13", "2026-08-13", ""),
            ("2026-08-11", "2026-08-13", "2026-08-10", ""),
            (
                "2026-08-11",
                "2026-08-13",
                "2026-08-09",
                "before 4593.2.5 was built",
            ),
            ("2026-08-11", "2026-08-13", "2026-10-12", ""),
            ("2026-08-11", "2026-08-13", "2026-10-13", "60 days after"),
            ("2026-08-11", "2027-08-13", "2027-08-14", ""),
            ("", "2026-08-13", "2026-06-15", ""),
            ("", "2026-08-13", "2026-06-13", "before the version.txt"),
            ("", "2026-08-13", "2026-10-13", "60 days after"),
            ("2026-08-11", "", "2030-10-13", ""),
            ("", "", "2030-10-13", ""),
        ] {
            let signed_at: SystemTime = day(signed).unwrap().start();
            let file = Signed {
                value: (),
                signer: Some(Signer {
                    fingerprint: String::new(),
                    signed_at,
                }),
            };
            let verdict = found(built, own).accept("file:///mirror/x", &file);
            let told = verdict
                .err()
                .map_or_else(String::new, |notice| notice.detail);
            let row = format!("{built} {own} {signed}: {told}");
            assert!(
                told.contains(says) && told.is_empty() == says.is_empty(),
                "{row}"
            );
        }
    }

    #[test]
    fn what_flatcar_built_at_night_is_no_release() {
        for (build, key, refused) in [
            (Some("nightly-20260821-2100"), SIGNING_KEY_FINGERPRINT, true),
            (None, SIGNING_KEY_FINGERPRINT, false),
            (Some("dev-1"), "0000", false),
            (Some("dev-1"), "", false),
        ] {
            let mut found = found("2026-08-11", "2026-08-13");
            found.built.build = build.map(str::to_owned);
            found.verified_by = key.to_owned();
            assert_eq!(no_release(&found).is_some(), refused, "{build:?} {key}");
        }
    }
}
