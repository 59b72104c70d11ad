//! `file://` URLs: regular files only, as much of them as may be, and not for longer than a server
//! would get.
//!
//! In: `file:///srv/mirror/version.txt`. Out: its bytes, with the time of its last change as ETag.

use std::fs::{File as Open, Metadata};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Answer, Error, File, Kind};

/// `file:///a/b` and `file://./b`: a path that does not begin with a slash is relative to where the
/// provider runs, which is the root module's directory (so that `file://${path.module}/...` works).
pub(super) fn path_of(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("file://")?;
    if let Some(path) = reqwest::Url::parse(url)
        .ok()
        .filter(|_| rest.starts_with('/') || rest.starts_with("localhost/"))
        .and_then(|parsed| parsed.to_file_path().ok())
    {
        return Some(path);
    }
    Some(rest.into())
}

/// The file of a URL, or that it is still the one of the ETag.
pub(super) async fn read(
    url: &str,
    path: PathBuf,
    etag: Option<&str>,
    max_bytes: usize,
    deadline: Duration,
) -> Result<Answer, Error> {
    let known = etag.map(str::to_owned);
    // A folder of the network may be silent, too.
    let reading = tokio::task::spawn_blocking(move || read_now(&path, known.as_deref(), max_bytes));
    let answer = match tokio::time::timeout(deadline, reading).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err((Kind::Unreadable, "reading it was broken off".to_owned())),
        Err(_) => Err((
            Kind::Timeout,
            format!("it was not read within {deadline:?}"),
        )),
    };
    answer.map_err(|(kind, message)| Error {
        method: "read",
        url: url.to_owned(),
        attempts: 1,
        status: None,
        kind,
        message,
    })
}

/// A file that says how a server is reached: certificates, profiles, clouds. Regular, and not
/// longer than any such file is.
///
/// # Errors
/// The system's words, or ours, for why it is not read.
pub fn small_file(path: &Path) -> Result<Vec<u8>, String> {
    match read_now(path, None, SMALL_FILE) {
        Ok(Answer::File(file)) => Ok(file.body),
        Ok(Answer::NotModified) => Ok(Vec::new()),
        Err((_, why)) => Err(why),
    }
}

/// A path as users write it: one that begins with `~/` is below their home.
pub fn of_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// A file of PEM certificates, each of which can be trusted: some clients end the process over one
/// that is none.
///
/// # Errors
/// Those of [`small_file`]; or that it holds no certificate, or something else.
pub fn certificates(path: &Path) -> Result<Vec<u8>, String> {
    let pem = small_file(path)?;
    let mut trusted = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        trusted
            .add(certificate)
            .map_err(|error| error.to_string())?;
    }
    match trusted.is_empty() {
        true => Err("no PEM certificate is in it".to_owned()),
        false => Ok(pem),
    }
}

/// All the certificates that a system trusts have 0.2 MB.
const SMALL_FILE: usize = 4 * 1024 * 1024;

type Failure = (Kind, String);

fn read_now(path: &Path, etag: Option<&str>, max_bytes: usize) -> Result<Answer, Failure> {
    // Before it is opened: opening a pipe waits for somebody who writes into it.
    is_regular(&std::fs::metadata(path).map_err(unreadable)?)?;
    let file = Open::open(path).map_err(unreadable)?;
    // And after, for what was opened is what counts.
    let metadata = file.metadata().map_err(unreadable)?;
    is_regular(&metadata)?;
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    let too_large = || {
        let message = format!("the file is longer than {max_bytes} bytes");
        Err((Kind::TooLarge, message))
    };
    if metadata.len() > limit {
        return too_large();
    }
    let version = version(&metadata);
    if version.is_some() && version.as_deref() == etag {
        return Ok(Answer::NotModified);
    }
    let mut body = Vec::new();
    // It may grow meanwhile, and files of /proc say that they are empty.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut body)
        .map_err(unreadable)?;
    if body.len() > max_bytes {
        return too_large();
    }
    Ok(Answer::File(File {
        body,
        etag: version,
    }))
}

fn is_regular(metadata: &Metadata) -> Result<(), Failure> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err((Kind::Unreadable, "it is not a regular file".to_owned())),
    }
}

fn version(metadata: &Metadata) -> Option<String> {
    let changed = metadata.modified().ok()?;
    let since = changed.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(format!("{}-{}", since.as_nanos(), metadata.len()))
}

fn unreadable(problem: std::io::Error) -> Failure {
    let kind = match problem.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Kind::NotFound,
        _ => Kind::Unreadable,
    };
    (kind, problem.to_string())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::{Client, Settings};
    use super::*;

    #[test]
    fn a_small_file_is_regular_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("some"), "certificates").unwrap();
        let long = Open::create(place("long")).unwrap();
        long.set_len(SMALL_FILE as u64 + 1).unwrap();
        assert_eq!(small_file(&place("some")).unwrap(), b"certificates");
        for (path, why) in [
            (place("long"), "longer than 4194304 bytes"),
            (folder.path().to_owned(), "not a regular file"),
            (PathBuf::from("/dev/zero"), "not a regular file"),
            (place("none"), "No such file"),
        ] {
            let told = small_file(&path).unwrap_err();
            assert!(told.contains(why), "{}: {told}", path.display());
        }
    }

    #[test]
    fn certificates_are_such_as_can_be_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let pem = |kind: &str, der: &[u8]| {
            let text = STANDARD.encode(der);
            format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
        };
        let good = pem("CERTIFICATE", made.cert.der());
        let key = pem("PRIVATE KEY", &made.signing_key.serialize_der());
        let broken = pem("CERTIFICATE", b"no certificate");
        for (name, text, is_good) in [
            ("one.pem", good.clone(), true),
            ("two.pem", format!("{good}{good}"), true),
            ("key.pem", key, false),
            ("empty.pem", String::new(), false),
            ("half.pem", format!("{good}{broken}"), false),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, &text).unwrap();
            let read = certificates(&path);
            assert_eq!(read.is_ok(), is_good, "{name}: {read:?}");
            assert!(read.is_err() || read.unwrap() == text.as_bytes());
        }
    }

    async fn get(url: &str, etag: Option<&str>, max_bytes: usize) -> Result<Answer, Error> {
        let client = Client::new(Settings::default());
        client.get(url, etag, max_bytes).await
    }

    #[test]
    fn a_file_url_may_be_relative() {
        let path = |url| path_of(url).map(|path| path.display().to_string());
        assert_eq!(path("file:///a%20b/c").as_deref(), Some("/a b/c"));
        assert_eq!(path("file://./release/x").as_deref(), Some("./release/x"));
        assert_eq!(path("file://modules/r").as_deref(), Some("modules/r"));
        assert_eq!(path("https://a/b"), None);
    }

    #[tokio::test]
    async fn local_files_are_read_compared_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("version.txt");
        std::fs::write(&path, "abc").unwrap();
        let url = format!("file://{}", path.display());
        let Answer::File(file) = get(&url, None, 3).await.unwrap() else {
            panic!("no file");
        };
        assert_eq!(file.body, b"abc");
        let again = get(&url, file.etag.as_deref(), 3).await.unwrap();
        assert!(matches!(again, Answer::NotModified));
        let error = get(&url, None, 2).await.unwrap_err();
        assert_eq!(error.kind, Kind::TooLarge);
        for absent in [format!("{url}.sig"), format!("{url}/x")] {
            let error = get(&absent, None, 3).await.unwrap_err();
            assert!(error.is_not_found(), "{error}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_no_regular_file_or_never_ends_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("link")).unwrap();
        let mut cases: Vec<_> = ["pipe", "socket", "folder", "link"]
            .map(|name| (at(name), Kind::Unreadable))
            .into();
        cases.push(("/dev/zero".into(), Kind::Unreadable));
        if cfg!(target_os = "linux") {
            // Says that it is empty, and is not.
            cases.push(("/proc/self/status".into(), Kind::TooLarge));
        }
        for (path, kind) in cases {
            let url = format!("file://{}", path.display());
            let error = get(&url, None, 10).await.unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
        }
    }
}
