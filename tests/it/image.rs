//! `flatcar_image` against release servers and mirrors of ours: every platform, every fault of the
//! network, every way to tamper.

mod cores;
mod keys;
mod mirror;
mod recorded;
pub(crate) mod server;
mod tampered;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use flatcar::flatcar::{Architecture, Date, Version, platform};
use flatcar::http::{Client, Kind};
use flatcar::image::published::{AzureOffer, AzureWish};
use flatcar::image::release::{Channel, Wanted};
use flatcar::image::source::{Settings, Source};
use flatcar::image::{Image, Notice, Request, resolve};

use crate::harness::{ROOT, scratch};
use keys::{Key, Subkey};
use mirror::{Files, Release, stable};
use server::{Fault, Server};

/// A key like Flatcar's current one.
fn key() -> Key {
    Key::new(&[Subkey::from("2025-03-07").years(2)])
}

/// A week after the release of the mirror.
fn august() -> SystemTime {
    Date::starting("2026-08-20").unwrap().start()
}

fn request(platform_name: &str) -> Request {
    Request {
        platform: platform(platform_name).unwrap(),
        channel: Channel::named("stable").unwrap(),
        architecture: Architecture::Amd64,
        wanted: Wanted::Current,
        region: Some("eu-central-1".to_owned()),
        azure: AzureWish {
            offer: AzureOffer::CoreVm,
            first_generation: false,
            gallery: None,
        },
    }
}

/// The release of August 2026 with one image file, current.
fn release_files(key: &Key) -> Files {
    let release = stable();
    let mut files = release.files(key);
    release.add_image(&mut files, key, OPENSTACK);
    release.add_current(&mut files, "current");
    files.insert("feed/releases.json".to_owned(), FEED.into());
    files
}

const OPENSTACK: &str = "flatcar_production_openstack_image.img";
const FEED: &str = r#"{
  "4593.2.5": {"channel": "stable", "architectures": ["amd64", "arm64"], "release_date": "2026-08-13 15:48:35 +0000", "major_software": {"ignition": ["2.24.0"]}, "release_notes": ""},
  "4593.2.4": {"channel": "stable", "architectures": ["amd64", "arm64"], "release_date": "2026-07-09 13:00:00 +0000", "major_software": {"ignition": ["2.24.0"]}, "release_notes": ""},
  "4459.2.4": {"channel": "stable", "architectures": ["amd64", "arm64"], "release_date": "2026-02-09 13:00:00 +0000", "major_software": {"ignition": ["2.22.0"]}, "release_notes": ""},
  "current": {"channel": "stable", "architectures": ["amd64", "arm64"], "release_date": "2026-08-13 15:48:35 +0000", "major_software": {}, "release_notes": ""}
}"#;

/// Puts files into a folder, as a mirror has them.
fn write(files: &Files, folder: &Path) {
    for (path, contents) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
}

/// A mirror in a folder.
fn local(folder: &Path, signing_keys: String) -> Settings {
    Settings {
        url: format!("file://{}/{{channel}}/{{arch}}", folder.display()),
        feed_url: Some(format!("file://{}/feed", folder.display())),
        signing_keys,
        clock: august,
        ..Settings::default()
    }
}

async fn resolve_with(
    settings: Settings,
    request: &Request,
) -> Result<(Image, Vec<Notice>), Vec<Notice>> {
    resolve(&Source::new(settings).unwrap(), request).await
}

fn told(notices: &[Notice]) -> String {
    let lines: Vec<_> = notices
        .iter()
        .map(|notice| format!("{}: {}", notice.summary, notice.detail))
        .collect();
    lines.join("\n")
}

#[tokio::test]
async fn an_image_comes_with_its_proof_and_what_is_inside() {
    let key = key();
    let server = Server::start(release_files(&key)).await;
    let (image, notices) = resolve_with(server.settings(key.public()), &request("openstack"))
        .await
        .unwrap_or_else(|notices| panic!("{}", told(&notices)));
    assert_eq!(notices, []);
    assert_eq!(image.version, Version::of(4593, 2, 5));
    assert_eq!(image.verified_by, key.fingerprint());
    assert_eq!(
        image.release_date.as_deref(),
        Some("2026-08-13 15:48:35 +0000")
    );
    assert_eq!(image.ignition_spec, Some("3.5.0"));
    let components: Vec<_> = image.components.unwrap().into_iter().collect();
    let expected = [
        ("containerd", "2.1.5"),
        ("docker", "28.0.4"),
        ("ignition", "2.24.0"),
        ("kernel", "6.12.102"),
        ("systemd", "257.9"),
    ];
    assert_eq!(
        components,
        expected.map(|(name, version)| (name.to_owned(), version.to_owned()))
    );
    let file = image.file.unwrap();
    assert_eq!(
        file.url,
        format!("{}/stable/amd64/4593.2.5/{OPENSTACK}", server.base())
    );
    assert_eq!(image.image, file.url);
    assert_eq!(file.sha512.len(), 128);
    let agents = server.user_agents();
    assert!(
        agents
            .iter()
            .all(|agent| agent.starts_with("terraform-provider-flatcar/")),
        "{agents:?}"
    );
}

#[tokio::test]
async fn two_hundred_data_sources_fetch_each_file_once() {
    let key = key();
    let server = Server::start(release_files(&key)).await;
    let source = Source::new(server.settings(key.public())).unwrap();
    let requests = [
        request("openstack"),
        request("aws"),
        request("gcp"),
        request("azure"),
    ];
    let all = (0..200).map(|number| resolve(&source, &requests[number % 4]));
    let results = futures::future::join_all(all).await;
    assert!(
        results.iter().all(Result::is_ok),
        "{:?}",
        results.iter().find(|result| result.is_err())
    );
    let fetched = server.requests();
    println!(
        "{} files, {} connections: {fetched:#?}",
        fetched.len(),
        server.connections()
    );
    assert!(fetched.values().all(|times| *times == 1), "{fetched:#?}");
    assert!(
        server.connections() <= fetched.len(),
        "{}",
        server.connections()
    );
    let started = Instant::now();
    resolve(&source, &requests[0]).await.unwrap();
    println!("from a warm cache: {:?}", started.elapsed());
}

#[tokio::test]
async fn one_after_another_they_share_one_connection() {
    let key = key();
    let server = Server::start(release_files(&key)).await;
    let client = Client::new(server.settings(String::new()).http);
    for path in release_files(&key).keys() {
        client
            .get(&format!("{}/{path}", server.base()), None, 1 << 20)
            .await
            .unwrap();
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_unchanged_file_is_not_sent_again() {
    let key = key();
    let server = Server::start(release_files(&key)).await;
    let client = Client::new(server.settings(String::new()).http);
    let url = format!("{}/stable/amd64/current/version.txt", server.base());
    let flatcar::http::Answer::File(file) = client.get(&url, None, 1 << 20).await.unwrap() else {
        panic!("no file");
    };
    let again = client
        .get(&url, file.etag.as_deref(), 1 << 20)
        .await
        .unwrap();
    assert!(matches!(again, flatcar::http::Answer::NotModified));
    server.replace("stable/amd64/current/version.txt", Some(b"new".to_vec()));
    let changed = client
        .get(&url, file.etag.as_deref(), 1 << 20)
        .await
        .unwrap();
    assert!(matches!(changed, flatcar::http::Answer::File(file) if file.body == b"new"));
}

#[tokio::test]
async fn a_fault_that_passes_is_not_seen() {
    let key = key();
    for fault in [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(429),
        Fault::Status(520),
        Fault::RetryAfter(503, 0),
        Fault::Reset,
        Fault::Silence,
        Fault::Truncated,
    ] {
        let files = release_files(&key);
        let server = Server::start(files.clone()).await;
        for path in files.keys() {
            server.fault(path, fault.clone(), 1);
        }
        let found = resolve_with(server.settings(key.public()), &request("openstack")).await;
        let (_, notices) = found.unwrap_or_else(|notices| panic!("{fault:?}: {}", told(&notices)));
        assert_eq!(notices, [], "{fault:?}");
        let times = server.requests();
        // The feed of the channel does not exist, and the whole one is asked in its place.
        let twice = times.iter().filter(|(path, _)| files.contains_key(*path));
        assert!(
            twice.clone().count() >= 8 && twice.clone().all(|(_, times)| *times == 2),
            "{fault:?}: {times:?}"
        );
    }
}

#[tokio::test]
async fn a_fault_that_stays_is_told_with_its_kind_and_what_to_do() {
    let key = key();
    let path = "stable/amd64/current/version.txt";
    for (fault, kind, attempts, says) in [
        (Fault::Status(500), Kind::Server, 4, "answered 500"),
        (Fault::Status(429), Kind::RateLimited, 4, "answered 429"),
        (
            Fault::RetryAfter(503, 3600),
            Kind::Server,
            1,
            "answered 503",
        ),
        (Fault::Status(403), Kind::Refused, 1, "password"),
        (Fault::Status(400), Kind::BadRequest, 1, "answered 400"),
        (Fault::Reset, Kind::Broken, 4, "after 4 attempts"),
        (Fault::Silence, Kind::Timeout, 4, "use a mirror"),
        (Fault::Truncated, Kind::Broken, 4, "after 4 attempts"),
        (
            Fault::Redirect(path.to_owned()),
            Kind::RedirectLoop,
            1,
            "without end",
        ),
        (Fault::Downgrade, Kind::Downgrade, 1, "from https to http"),
        (Fault::Html, Kind::Html, 1, "captive portal"),
    ] {
        let server = Server::start(release_files(&key)).await;
        server.fault(path, fault.clone(), usize::MAX);
        let settings = server.settings(key.public());
        let url = format!("{}/{path}?secret=1", server.base());
        let error = Client::new(settings.http.clone())
            .get(&url, None, 1 << 20)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.attempts),
            (kind, attempts),
            "{fault:?}: {error}"
        );
        assert!(!error.to_string().contains("secret"), "{error}");
        let notices = resolve_with(settings, &request("openstack"))
            .await
            .unwrap_err();
        let text = told(&notices);
        println!("{fault:?}\n    {text}");
        assert_eq!(notices.len(), 1, "{text}");
        assert!(text.contains(says), "{fault:?}: {text}");
        assert!(
            text.starts_with("Could not fetch version.txt: GET https://localhost"),
            "{text}"
        );
    }
}

/// What a hostile server may try with answers alone: each ends soon, and by its kind.
#[tokio::test]
async fn an_answer_that_leads_astray_or_never_ends_is_cut_off() {
    let server = Server::start(Files::new()).await;
    let next = |to: &str| Fault::Location(format!("{}/{to}", server.base()));
    for (path, fault) in [
        ("file", Fault::Location("file:///etc/hostname".to_owned())),
        ("nowhere", Fault::Location(String::new())),
        (
            "words",
            Fault::Location("no url at all \u{202e}".to_owned()),
        ),
        (
            "port",
            Fault::Location("https://localhost:99999/x".to_owned()),
        ),
        ("gopher", Fault::Location("gopher://localhost/x".to_owned())),
        ("endless", Fault::Endless),
        ("drip", Fault::Drip),
    ] {
        server.fault(path, fault, usize::MAX);
    }
    for hop in 0..20 {
        server.fault(
            &format!("hop{hop}"),
            next(&format!("hop{}", hop + 1)),
            usize::MAX,
        );
    }
    for (path, kinds) in [
        ("file", &[Kind::BadRequest][..]),
        ("gopher", &[Kind::Downgrade]),
        ("hop0", &[Kind::RedirectLoop]),
        ("endless", &[Kind::TooLarge]),
        ("drip", &[Kind::Timeout]),
        ("nowhere", &[Kind::BadRequest, Kind::RedirectLoop]),
        ("words", &[Kind::NotFound, Kind::BadRequest]),
        ("port", &[Kind::BadRequest, Kind::BadUrl]),
    ] {
        let url = format!("{}/{path}", server.base());
        let mut http = server.settings(String::new()).http;
        if path == "drip" {
            http.deadline = Duration::from_millis(500);
        }
        let error = Client::new(http)
            .get(&url, None, 1 << 20)
            .await
            .unwrap_err();
        assert!(
            kinds.contains(&error.kind),
            "{path}: {:?} {error}",
            error.kind
        );
    }
}

#[tokio::test]
async fn a_file_of_the_wrong_length_does_not_pass_its_signature() {
    let key = key();
    let server = Server::start(release_files(&key)).await;
    server.fault(
        "stable/amd64/current/version.txt",
        Fault::TooShort,
        usize::MAX,
    );
    let notices = resolve_with(server.settings(key.public()), &request("openstack"))
        .await
        .unwrap_err();
    assert!(
        told(&notices).contains("does not fit the file"),
        "{}",
        told(&notices)
    );
}

#[tokio::test]
async fn redirects_within_https_are_followed() {
    let key = key();
    let server = Server::start(release_files(&key)).await;
    let target = "stable/amd64/4593.2.5/version.txt".to_owned();
    server.fault(
        "stable/amd64/current/version.txt",
        Fault::Redirect(target),
        usize::MAX,
    );
    let found = resolve_with(server.settings(key.public()), &request("gcp")).await;
    assert!(found.is_ok());
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_not_trusted() {
    let key = key();
    let server = Server::start(release_files(&key)).await;
    let mut settings = server.settings(key.public());
    settings.http.extra_roots = Vec::new();
    let notices = resolve_with(settings, &request("gcp")).await.unwrap_err();
    assert!(
        told(&notices).contains("release_server.ca_certificate"),
        "{}",
        told(&notices)
    );
    let mut settings = server.settings(key.public());
    settings.http.extra_roots = b"nonsense".to_vec();
    let notices = resolve_with(settings, &request("gcp")).await.unwrap_err();
    assert!(
        told(&notices).contains("release_server.ca_certificate"),
        "{}",
        told(&notices)
    );
}

#[tokio::test]
async fn a_server_that_is_down_is_asked_once_and_the_feed_is_missed_with_a_warning() {
    let key = key();
    let server = Server::start(release_files(&key)).await;
    for path in ["feed/releases-stable.json", "feed/releases.json"] {
        server.fault(path, Fault::Status(500), usize::MAX);
    }
    let source = Source::new(server.settings(key.public())).unwrap();
    for _ in 0..5 {
        let (image, notices) = resolve(&source, &request("gcp")).await.unwrap();
        assert_eq!(image.release_date, None);
        assert!(
            told(&notices).contains("The release feed could not be read"),
            "{}",
            told(&notices)
        );
    }
    let asked = server.requests()["feed/releases-stable.json"];
    assert_eq!(
        asked, 2,
        "twice for the first data source, for the others not at all"
    );
}

#[tokio::test]
async fn without_verification_nothing_is_checked_and_nobody_signed() {
    let key = key();
    let mut files = release_files(&key);
    files.retain(|path, _| !path.ends_with(".sig") && !path.ends_with(".asc"));
    let folder = scratch();
    write(&files, folder.path());
    let notices = resolve_with(local(folder.path(), key.public()), &request("openstack"))
        .await
        .unwrap_err();
    assert!(
        told(&notices).contains("version.txt.sig does not exist"),
        "{}",
        told(&notices)
    );
    let settings = Settings {
        verify: false,
        ..local(folder.path(), String::new())
    };
    let (image, _) = resolve_with(settings, &request("openstack")).await.unwrap();
    assert_eq!(
        (image.verified_by.as_str(), image.file.unwrap().sha512.len()),
        ("", 128)
    );
}

#[tokio::test]
async fn versions_are_current_exact_or_the_newest_that_meets_a_constraint() {
    let key = key();
    let mut files = release_files(&key);
    for (version, built, signed) in [
        (Version::of(4593, 2, 4), "2026-07-07", "2026-07-09"),
        (Version::of(4459, 2, 4), "2026-02-07", "2026-02-09"),
    ] {
        let release = Release {
            version,
            built,
            signed,
            ..stable()
        };
        files.extend(release.files(&key));
        release.add_image(&mut files, &key, OPENSTACK);
    }
    let folder = scratch();
    write(&files, folder.path());
    let settings = local(folder.path(), key.public());
    let ask = async |channel: &str, version: &str, architecture| {
        let request = Request {
            channel: Channel::named(channel).unwrap(),
            wanted: Wanted::parse(version).unwrap(),
            architecture,
            ..request("openstack")
        };
        match resolve_with(settings.clone(), &request).await {
            Ok((image, notices)) => format!("{} {}", image.version, told(&notices))
                .trim_end()
                .to_owned(),
            Err(notices) => told(&notices),
        }
    };
    use Architecture::{Amd64, Arm64};
    for (channel, version, architecture, expected) in [
        ("stable", "current", Amd64, "4593.2.5"),
        ("stable", "4593.2.4", Amd64, "4593.2.4"),
        ("stable", "~> 4593.2", Amd64, "4593.2.5"),
        ("stable", "< 4593.2.5", Amd64, "4593.2.4"),
        ("stable", "~> 4459.2.0", Amd64, "4459.2.4"),
        ("stable", "= 4593.2.4", Amd64, "4593.2.4"),
        ("stable", "<= 4593.2", Amd64, "4459.2.4"),
        (
            "stable",
            "4593.2",
            Amd64,
            "No release meets the constraint: The newest releases of stable for amd64 are 4593.2.5, 4593.2.4, 4459.2.4. \
             As in Terraform's own constraints 4593.2 is 4593.2.0 alone; ~> 4593.2.0 is what begins with 4593.2. Change",
        ),
        (
            "stable",
            "~> 4600.2",
            Amd64,
            "No release meets the constraint: The newest releases of stable for amd64 are 4593.2.5, 4593.2.4, 4459.2.4. Change",
        ),
        (
            "beta",
            "~> 4600.2",
            Amd64,
            "No release meets the constraint: The feed lists no release of beta for amd64",
        ),
        (
            "stable",
            "4593.2.9",
            Amd64,
            "No release 4593.2.9 in stable for amd64: read file://",
        ),
        (
            "stable",
            "4628.0.0",
            Amd64,
            "The release is not of this channel: 4628.0.0 is a release of channel alpha, not of stable. Set channel = \"alpha\"",
        ),
        (
            "lts-2023",
            "4081.3.10",
            Amd64,
            "The release is not of this channel: 4081.3.10 is not of LTS 2023",
        ),
        (
            "stable",
            "current",
            Arm64,
            "No current release in stable for arm64",
        ),
    ] {
        let found = ask(channel, version, architecture).await;
        assert!(found.starts_with(expected), "{channel} {version}: {found}");
        let lists = found.contains("The newest there are");
        assert_eq!(
            found.contains("one of those"),
            lists && version == "current",
            "{found}"
        );
    }
    // A feed that somebody keeps back does not keep back what is current.
    let feed = folder.path().join("feed/releases.json");
    let whole = std::fs::read_to_string(&feed).unwrap();
    std::fs::write(&feed, whole.replace("\"4593.2.5\"", "\"x\"")).unwrap();
    assert_eq!(ask("stable", "~> 4593.2", Amd64).await, "4593.2.5");
    assert_eq!(ask("stable", "< 4593.2.5", Amd64).await, "4593.2.4");
    std::fs::write(&feed, whole).unwrap();
    std::fs::remove_dir_all(folder.path().join("stable/amd64/4593.2.4")).unwrap();
    let found = ask("stable", "< 4593.2.5", Amd64).await;
    let says = "The release is not on this server: The newest release that meets the constraint, 4593.2.4, is not on this server: read file://";
    assert!(found.starts_with(says), "{found}");
}

#[tokio::test]
async fn a_password_of_a_mirror_is_in_no_output() {
    let key = key();
    let server = Server::start(release_files(&key)).await;
    let settings = server.settings(key.public());
    let settings = Settings {
        url: settings.url.replace("://", "://user:s3cret@"),
        ..settings
    };
    let (image, _) = resolve_with(settings, &request("openstack")).await.unwrap();
    assert!(!format!("{image:?}").contains("s3cret"), "{image:?}");
    let file = image.file.unwrap();
    assert_eq!(image.image, file.url);
    assert!(file.signature_url.starts_with(&file.url));
}

#[tokio::test]
async fn a_constraint_without_a_feed_says_what_to_set() {
    let key = key();
    let folder = scratch();
    write(&release_files(&key), folder.path());
    let settings = Settings {
        feed_url: None,
        ..local(folder.path(), key.public())
    };
    let wanted = Wanted::parse("~> 4593.2").unwrap();
    let constrained = Request {
        wanted,
        ..request("openstack")
    };
    let notices = resolve_with(settings.clone(), &constrained)
        .await
        .unwrap_err();
    assert_eq!(notices[0].attribute, Some("version"));
    assert!(
        told(&notices).contains("release_server.feed_url"),
        "{}",
        told(&notices)
    );
    let (image, notices) = resolve_with(settings, &request("openstack")).await.unwrap();
    assert_eq!((image.release_date, notices), (None, Vec::new()));
}

#[tokio::test]
async fn warnings_come_before_the_evening_is_lost() {
    let key = Key::new(&[Subkey::from("2021-08-10").years(6)]);
    let mut files = release_files(&key);
    let stable_old = Release {
        version: Version::of(4230, 2, 0),
        built: "2025-05-01",
        signed: "2025-05-05",
        ..stable()
    };
    let lts = Release {
        channel: "lts",
        version: Version::of(4081, 3, 10),
        ..stable()
    };
    let lts_ended = Release {
        channel: "lts",
        version: Version::of(3510, 3, 8),
        built: "2025-08-15",
        signed: "2025-08-19",
        ..stable()
    };
    let lts_oldest = Release {
        channel: "lts",
        version: Version::of(3033, 3, 18),
        built: "2023-10-20",
        signed: "2023-10-25",
        ..stable()
    };
    for release in [&stable_old, &lts, &lts_ended, &lts_oldest] {
        files.extend(release.files(&key));
        release.add_image(&mut files, &key, "flatcar_production_openstack_image.img");
        release.add_image(
            &mut files,
            &key,
            "flatcar_production_openstack_image.img.gz",
        );
    }
    let newer: Vec<String> = (0..12)
        .map(|number| format!("\"4593.2.{number}\": {{\"channel\": \"stable\", \"architectures\": [\"amd64\"], \"release_date\": \"2026-08-13 15:48:35 +0000\"}}"))
        .collect();
    let folder = scratch();
    let ask = async |files: &Files, channel: &str, version: &str, platform: &str, offer| {
        write(files, folder.path());
        let mut request = Request {
            channel: Channel::named(channel).unwrap(),
            wanted: Wanted::parse(version).unwrap(),
            ..request(platform)
        };
        request.azure.offer = offer;
        match resolve_with(local(folder.path(), key.public()), &request).await {
            Ok((_, notices)) => notices,
            Err(notices) => panic!("{channel} {version} {platform}: {}", told(&notices)),
        }
    };
    use AzureOffer::{CoreVm, Free};
    for (channel, version, platform, offer, attribute, says) in [
        (
            "stable",
            "4230.2.0",
            "aws",
            CoreVm,
            "version",
            "4230.2.0 is from 2025-05-01, and Flatcar takes AMIs back after nine months",
        ),
        (
            "stable",
            "current",
            "azure",
            Free,
            "azure_offer",
            "azurerm_marketplace_agreement",
        ),
        (
            "stable",
            "current",
            "azure",
            CoreVm,
            "version",
            "Azure may not have this release yet",
        ),
        (
            "lts",
            "4081.3.10",
            "openstack",
            CoreVm,
            "channel",
            "LTS 2024 is past its end",
        ),
        (
            "lts-2023",
            "3510.3.8",
            "openstack",
            CoreVm,
            "channel",
            "LTS 2023 has ended",
        ),
        (
            "lts",
            "3033.3.18",
            "openstack",
            CoreVm,
            "channel",
            "LTS 2022 has ended",
        ),
    ] {
        let notices = ask(&files, channel, version, platform, offer).await;
        let found = notices
            .iter()
            .find(|notice| told(std::slice::from_ref(notice)).contains(says));
        let found =
            found.unwrap_or_else(|| panic!("{channel} {version} {platform}: {}", told(&notices)));
        assert_eq!(found.attribute, Some(attribute));
    }
    files.insert(
        "feed/releases.json".to_owned(),
        format!("{{{}}}", newer.join(",")).into_bytes(),
    );
    let notices = ask(&files, "stable", "4230.2.0", "gcp", CoreVm).await;
    assert!(
        told(&notices).contains("12 newer releases of stable exist"),
        "{}",
        told(&notices)
    );
    let notices = ask(&files, "stable", "current", "gcp", CoreVm).await;
    assert!(
        told(&notices).contains("The release server is behind"),
        "{}",
        told(&notices)
    );
    let package_list = "flatcar_production_image_packages.txt";
    std::fs::remove_file(folder.path().join(stable().directory()).join(package_list)).unwrap();
    files.remove(&format!("{}/{package_list}", stable().directory()));
    let notices = ask(&files, "stable", "4593.2.5", "gcp", CoreVm).await;
    assert!(
        told(&notices).contains("The release has no package list"),
        "{}",
        told(&notices)
    );
}

#[tokio::test]
async fn what_a_platform_lacks_is_told_on_its_attribute() {
    let key = key();
    let server = Server::start(release_files(&key)).await;
    server.replace(
        &format!("stable/amd64/4593.2.5/{OPENSTACK}.DIGESTS.asc"),
        None,
    );
    let settings = server.settings(key.public());
    let ask = async |platform: &str, region: &str, architecture| {
        let request = Request {
            region: Some(region.to_owned()),
            architecture,
            ..request(platform)
        };
        let notices = resolve_with(settings.clone(), &request).await.unwrap_err();
        (notices[0].attribute, told(&notices))
    };
    use Architecture::{Amd64, Arm64};
    for (platform, region, architecture, attribute, says) in [
        (
            "gcp",
            "",
            Arm64,
            Some("architecture"),
            "Flatcar publishes for Google Compute Engine on amd64 only",
        ),
        ("aws", "", Amd64, Some("region"), "AWS_REGION"),
        (
            "aws",
            "eu-south-2",
            Amd64,
            Some("region"),
            "eu-central-1, us-east-1",
        ),
        (
            "aws",
            "me-south-1",
            Amd64,
            Some("region"),
            "since April 2026",
        ),
        (
            "aws",
            "us-gov-west-1",
            Amd64,
            Some("region"),
            "not Flatcar's",
        ),
        (
            "oraclecloud",
            "",
            Amd64,
            Some("version"),
            "4593.2.5 has no image for oraclecloud",
        ),
        (
            "openstack",
            "",
            Amd64,
            Some("platform"),
            "is not published for this release",
        ),
    ] {
        let (found, text) = ask(platform, region, architecture).await;
        assert_eq!(found, attribute, "{text}");
        assert!(text.contains(says), "{platform} {region}: {text}");
    }
    server.replace(
        "stable/amd64/4593.2.5/flatcar_production_ami_all.json",
        None,
    );
    let source = Source::new(settings.clone()).unwrap();
    let notices = resolve(&source, &request("aws")).await.unwrap_err();
    assert!(
        told(&notices).contains(
            "owners = [\"075585003325\"] and filter name = \"Flatcar-stable-4593.2.5-hvm\""
        ),
        "{}",
        told(&notices)
    );
}

/// Where the quickstart's mirror lies.
fn demonstration() -> PathBuf {
    Path::new(ROOT).join("examples/quickstart/release")
}

/// The mirror of the quickstart is signed by a key of its own, whose secret is nowhere: `UPDATE=1`
/// makes mirror and key anew.
#[tokio::test]
async fn the_quickstart_ships_a_mirror_that_verifies() {
    if std::env::var_os("UPDATE").is_some() {
        let key = key();
        let release = stable();
        let mut files = release.files(&key);
        for image in [OPENSTACK, "flatcar_production_qemu_uefi_image.img"] {
            release.add_image(&mut files, &key, image);
        }
        release.add_current(&mut files, "current");
        files.insert("releases.json".to_owned(), FEED.into());
        files.insert("demo-key.asc".to_owned(), key.public().into_bytes());
        // Only what was written here before is taken away.
        let _ = std::fs::remove_dir_all(demonstration());
        write(&files, &demonstration());
    }
    let key = std::fs::read_to_string(demonstration().join("demo-key.asc")).unwrap();
    let settings = Settings {
        url: format!("file://{}/{{channel}}/{{arch}}", demonstration().display()),
        feed_url: Some(format!("file://{}", demonstration().display())),
        signing_keys: key,
        ..Settings::default()
    };
    for platform in ["openstack", "sandbox", "qemu", "aws", "gcp", "azure"] {
        let (image, _) = resolve_with(settings.clone(), &request(platform))
            .await
            .unwrap_or_else(|notices| panic!("{platform}: {}", told(&notices)));
        assert_eq!(image.version, Version::of(4593, 2, 5));
        if let Some(file) = image.file {
            let path = file.url.strip_prefix("file://").unwrap();
            let contents = std::fs::read(path).unwrap();
            assert_eq!(sha512(&contents), file.sha512);
        }
    }
    let stranger = Settings {
        signing_keys: String::new(),
        ..settings
    };
    let notices = resolve_with(stranger, &request("openstack"))
        .await
        .unwrap_err();
    assert!(
        told(&notices).contains("F88CFEDEFF29A5B4D9523864E25D9AED0593B34A"),
        "{}",
        told(&notices)
    );
}

fn sha512(contents: &[u8]) -> String {
    use sha2::Digest;
    let sum = sha2::Sha512::digest(contents);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is published for the newest release of each channel: the feature table. `-- --nocapture`
/// prints it.
#[tokio::test]
async fn every_platform_resolves_in_every_channel_that_has_it() {
    let key = Key::new(&[Subkey::from("2025-03-07").years(2)]);
    let releases = [
        ("stable", Version::of(4593, 2, 5)),
        ("beta", Version::of(4757, 1, 0)),
        ("alpha", Version::of(4790, 0, 0)),
        ("lts", Version::of(4081, 3, 10)),
    ];
    let mut files = Files::new();
    for (channel, version) in releases {
        for architecture in ["amd64", "arm64"] {
            let release = Release {
                channel,
                architecture,
                version,
                ..stable()
            };
            files.extend(release.files(&key));
            release.add_current(&mut files, "current");
            for row in flatcar::flatcar::PLATFORMS {
                if let Some(file) = row.file(version) {
                    release.add_image(&mut files, &key, file.name);
                }
            }
            release.add_image(&mut files, &key, "flatcar_production_pxe.vmlinuz");
        }
    }
    let folder = scratch();
    write(&files, folder.path());
    let source = Source::new(Settings {
        feed_url: None,
        ..local(folder.path(), key.public())
    })
    .unwrap();
    let mut table: BTreeMap<(usize, &str, &str), Vec<String>> = BTreeMap::new();
    for (position, row) in flatcar::flatcar::PLATFORMS.iter().enumerate() {
        for architecture in Architecture::ALL {
            for (channel, version) in releases {
                let request = Request {
                    platform: row,
                    channel: Channel::named(channel).unwrap(),
                    architecture: *architecture,
                    ..request("aws")
                };
                let has = row.architectures.contains(architecture) && row.file(version).is_some();
                let cell = match resolve(&source, &request).await {
                    Ok((image, _)) => {
                        assert!(has, "{} {channel}", row.name);
                        assert_eq!(image.version, version);
                        let published = image.file.is_none();
                        let short = image
                            .image
                            .rsplit('/')
                            .next()
                            .unwrap_or_default()
                            .to_owned();
                        if published { image.image } else { short }
                    }
                    Err(notices) => {
                        assert!(!has, "{} {channel}: {}", row.name, told(&notices));
                        notices[0].summary.clone()
                    }
                };
                table
                    .entry((position, row.name, architecture.name()))
                    .or_default()
                    .push(cell);
            }
        }
    }
    for ((_, platform, architecture), cells) in &table {
        println!("| {platform} | {architecture} | {} |", cells.join(" | "));
    }
    assert_eq!(table.len(), flatcar::flatcar::PLATFORMS.len() * 2);
}

#[test]
fn a_bad_key_or_bundle_is_told_when_the_source_is_opened() {
    let settings = Settings {
        signing_keys: "nonsense".to_owned(),
        ..Settings::default()
    };
    assert!(
        Source::new(settings)
            .unwrap_err()
            .contains("BEGIN PGP PUBLIC KEY BLOCK")
    );
}

/// How long something took, for `make bench`; no test depends on it.
fn say(what: &str, took: Duration) {
    eprintln!("{what}: {took:?}");
}
