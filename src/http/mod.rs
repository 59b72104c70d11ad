//! One HTTP client: deadlines, retry with back-off, redirects only within https, errors by kind,
//! nothing secret in a message. It fetches files; [`api`] is its like for calls of REST APIs.
//!
//! In: `https://stable.release.flatcar-linux.net/amd64-usr/current/version.txt`, or
//! `file://mirror/version.txt`. Out: the file's bytes, or an [`Error`] that callers ask for its
//! [`Kind`]. [`cache`] keeps files for the life of the process.

pub mod api;
pub mod cache;
pub mod jwt;
mod local;
pub mod pin;
pub mod rest;
pub mod thumbprint;
pub mod token;
pub mod wait;

pub use self::local::{certificates, of_home, small_file};

use std::error::Error as _;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{StatusCode, redirect};

/// What is sent as `User-Agent`; the release servers' CDN turns nameless clients away.
pub const USER_AGENT: &str = concat!(
    "terraform-provider-flatcar/",
    env!("CARGO_PKG_VERSION"),
    " (+https://github.com/flatcar-iac/terraform-provider-flatcar)"
);

/// No answer of a server, of whatever kind, and no file in the place of one is read beyond this.
/// The largest that there is, the release feed, has 4 MB; callers that know better ask for less.
pub const MOST_BYTES: usize = 32 * 1024 * 1024;

/// How long and how often to try, and whom to trust.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// For the TCP and TLS handshake of one attempt.
    pub connect_timeout: Duration,
    /// The longest silence within an answer.
    pub read_timeout: Duration,
    /// For everything, all attempts and pauses together.
    pub deadline: Duration,
    /// The first try included.
    pub attempts: u32,
    /// The pause before the first retry, doubled for each one after it; a random half of it is
    /// taken away.
    pub back_off: Duration,
    /// No pause is longer; a server that asks for a longer one (`Retry-After`) is not asked again.
    pub longest_pause: Duration,
    /// PEM certificates trusted beside the system's.
    pub extra_roots: Vec<u8>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(15),
            deadline: Duration::from_secs(120),
            attempts: 4,
            back_off: Duration::from_millis(500),
            longest_pause: Duration::from_secs(20),
            extra_roots: Vec::new(),
        }
    }
}

/// Made at once, opened (system certificates read, proxies looked up) with the first request.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    inner: OnceLock<Result<reqwest::Client, String>>,
}

/// A file as it was fetched.
#[derive(PartialEq, Eq)]
#[allow(missing_docs)]
pub struct File {
    pub body: Vec<u8>,
    /// Identifies this version of it, where the server says one.
    pub etag: Option<String>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({} bytes, {:?})", self.body.len(), self.etag)
    }
}

/// A request that brought no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// `"GET"`.
    pub method: &'static str,
    /// Without user, password, query and fragment.
    pub url: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Of the last answer; absent where none came.
    pub status: Option<u16>,
    /// What a caller acts on.
    pub kind: Kind,
    /// The last failure in its own words: `connection refused`.
    pub message: String,
}

/// Kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server says that there is no such file: 404, 410, or no such local file.
    NotFound,
    /// 401, 403, 407.
    Refused,
    /// Any other 4xx.
    BadRequest,
    /// 429, to the last attempt.
    RateLimited,
    /// 5xx, to the last attempt.
    Server,
    /// No connection: name, address, TCP, proxy.
    Connect,
    /// The server's certificate is not trusted, or TLS failed otherwise.
    Tls,
    /// Silence, or the deadline passed.
    Timeout,
    /// The connection broke within the answer, which came short.
    Broken,
    /// Sent around in circles.
    RedirectLoop,
    /// Sent from https to http; not followed.
    Downgrade,
    /// Longer than the caller takes.
    TooLarge,
    /// An HTML page in place of the file: an error page with status 200, a captive portal, a
    /// proxy's log-in page.
    Html,
    /// Not an https, http or file URL.
    BadUrl,
    /// The client could not be set up: a bad `extra_roots`.
    Setup,
    /// A local file that cannot be read.
    Unreadable,
}

impl Kind {
    fn worth_a_retry(self) -> bool {
        matches!(
            self,
            Kind::RateLimited | Kind::Server | Kind::Connect | Kind::Timeout | Kind::Broken
        )
    }
}

impl Error {
    /// Whether the file is definitely not there.
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)?;
        match self.status {
            Some(status) => write!(f, " answered {status}")?,
            None => write!(f, " failed")?,
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if self.attempts > 1 {
            write!(f, " (after {} attempts)", self.attempts)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// What [`Client::get`] brought.
#[derive(Debug)]
pub enum Answer {
    /// The file.
    File(File),
    /// It is still the one of the given ETag.
    NotModified,
}

impl Client {
    /// A client of its own connections.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            inner: OnceLock::new(),
        }
    }

    /// Fetches a file of at most `max_bytes`, and of at most [`MOST_BYTES`]; with `etag`, only if
    /// it is another one by now.
    ///
    /// # Errors
    /// When no attempt within the deadline brought it, or when another attempt would not help.
    pub async fn get(
        &self,
        url: &str,
        etag: Option<&str>,
        max_bytes: usize,
    ) -> Result<Answer, Error> {
        let max_bytes = max_bytes.min(MOST_BYTES);
        if let Some(path) = local::path_of(url) {
            return local::read(url, path, etag, max_bytes, self.settings.deadline).await;
        }
        let failed = |attempts, failure: Failure| Error {
            method: "GET",
            url: redacted(url),
            attempts,
            status: failure.status,
            kind: failure.kind,
            message: failure.message,
        };
        let target = reqwest::Url::parse(url)
            .ok()
            .filter(|target| matches!(target.scheme(), "https" | "http"))
            .ok_or_else(|| {
                failed(
                    0,
                    Failure::new(
                        Kind::BadUrl,
                        "it must begin with https://, http:// or file://",
                    ),
                )
            })?;
        let client = self
            .open()
            .map_err(|message| failed(0, Failure::new(Kind::Setup, message)))?;
        let started = tokio::time::Instant::now();
        let mut attempt = 1;
        loop {
            let left = self.settings.deadline.saturating_sub(started.elapsed());
            let outcome =
                tokio::time::timeout(left, attempt_once(client, target.clone(), etag, max_bytes))
                    .await;
            let failure = match outcome {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::new(
                    Kind::Timeout,
                    format!("no answer within {:?}", self.settings.deadline),
                ),
            };
            let pause = pause(&self.settings, attempt, failure.retry_after, random_unit());
            let in_time = started.elapsed() + pause.unwrap_or_default() < self.settings.deadline;
            match pause {
                Some(pause) if failure.kind.worth_a_retry() && in_time => {
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
                _ => return Err(failed(attempt, failure)),
            }
        }
    }

    fn open(&self) -> Result<&reqwest::Client, String> {
        self.inner
            .get_or_init(|| build(&self.settings))
            .as_ref()
            .map_err(Clone::clone)
    }
}

struct Failure {
    kind: Kind,
    status: Option<u16>,
    message: String,
    retry_after: Option<Duration>,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: None,
            message: message.into(),
            retry_after: None,
        }
    }
}

/// Why a redirect was not followed; found again in the sources of reqwest's error.
#[derive(Debug)]
enum Strayed {
    Downgrade,
    Loop,
}

impl fmt::Display for Strayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strayed::Downgrade => "it redirects from https to http, which is not followed",
            Strayed::Loop => "it redirects without end",
        })
    }
}

impl std::error::Error for Strayed {}

const MOST_REDIRECTS: usize = 8;

/// Whether these are certificates in PEM that a client can be told to trust. Dials nothing.
///
/// # Errors
/// A sentence that says why not.
pub fn check_roots(roots: &[u8]) -> Result<(), String> {
    let settings = Settings {
        extra_roots: roots.to_vec(),
        ..Settings::default()
    };
    build(&settings).map(drop)
}

fn build(settings: &Settings) -> Result<reqwest::Client, String> {
    let policy = redirect::Policy::custom(|attempt| {
        let from_https = attempt
            .previous()
            .last()
            .is_some_and(|from| from.scheme() == "https");
        if from_https && attempt.url().scheme() != "https" {
            attempt.error(Strayed::Downgrade)
        } else if attempt.previous().len() > MOST_REDIRECTS
            || attempt.previous().contains(attempt.url())
        {
            attempt.error(Strayed::Loop)
        } else {
            attempt.follow()
        }
    });
    let builder = builder(&settings.extra_roots)?
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.read_timeout)
        .redirect(policy)
        .referer(false);
    builder.build().map_err(|problem| chain(&problem))
}

/// What all clients are made of: who asks, and whom it trusts.
fn builder(extra_roots: &[u8]) -> Result<reqwest::ClientBuilder, String> {
    let builder = reqwest::Client::builder().user_agent(USER_AGENT);
    if extra_roots.is_empty() {
        return Ok(builder);
    }
    let roots = reqwest::Certificate::from_pem_bundle(extra_roots);
    let roots = roots.map_err(|problem| chain(&problem))?;
    match roots.is_empty() {
        true => Err("there is no PEM certificate in the CA bundle".to_owned()),
        false => Ok(builder.tls_certs_merge(roots)),
    }
}

async fn attempt_once(
    client: &reqwest::Client,
    target: reqwest::Url,
    etag: Option<&str>,
    max_bytes: usize,
) -> Result<Answer, Failure> {
    let mut request = client.get(target);
    if let Some(etag) = etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let mut response = request.send().await.map_err(classify)?;
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED && etag.is_some() {
        return Ok(Answer::NotModified);
    }
    if !status.is_success() {
        return Err(Failure {
            kind: kind_of_status(status),
            status: Some(status.as_u16()),
            message: status.canonical_reason().unwrap_or_default().to_owned(),
            retry_after: retry_after(response.headers(), SystemTime::now()),
        });
    }
    let too_large = || {
        let message = format!("the answer is longer than {max_bytes} bytes");
        Err(Failure::new(Kind::TooLarge, message))
    };
    let Some(body) = body(&mut response, max_bytes).await.map_err(classify)? else {
        return too_large();
    };
    if is_html(response.headers(), &body) {
        return Err(Failure {
            status: Some(status.as_u16()),
            ..Failure::new(Kind::Html, "an HTML page in place of the file")
        });
    }
    let etag = response.headers().get(ETAG);
    let etag = etag
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    Ok(Answer::File(File { body, etag }))
}

/// What an answer holds; `None` where that is longer, of which no more is read than tells so.
async fn body(
    response: &mut reqwest::Response,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let declared = response.content_length().unwrap_or_default();
    if usize::try_from(declared).is_ok_and(|bytes| bytes > max_bytes) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn kind_of_status(status: StatusCode) -> Kind {
    match status.as_u16() {
        404 | 410 => Kind::NotFound,
        401 | 403 | 407 => Kind::Refused,
        429 => Kind::RateLimited,
        408 => Kind::Timeout,
        500.. => Kind::Server,
        // A redirect that names no place, and the like.
        _ => Kind::BadRequest,
    }
}

fn classify(problem: reqwest::Error) -> Failure {
    let problem = problem.without_url();
    if let Some(strayed) = sources(&problem).find_map(|source| source.downcast_ref::<Strayed>()) {
        let kind = match strayed {
            Strayed::Downgrade => Kind::Downgrade,
            Strayed::Loop => Kind::RedirectLoop,
        };
        return Failure::new(kind, strayed.to_string());
    }
    let tls = sources(&problem).any(is_tls);
    let kind = if tls {
        Kind::Tls
    } else if problem.is_timeout() {
        Kind::Timeout
    } else if problem.is_connect() {
        Kind::Connect
    } else if problem.is_builder() {
        Kind::BadUrl
    } else {
        Kind::Broken
    };
    Failure::new(kind, chain(&problem))
}

/// An `io::Error` hides what it wraps from `source`, and there may be one in another.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner))
}

fn sources<'a>(
    problem: &'a reqwest::Error,
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(problem.source(), |source| (*source).source())
}

/// The innermost source says it best: `connection refused` rather than `error sending request`.
fn chain(problem: &reqwest::Error) -> String {
    sources(problem)
        .last()
        .map_or_else(|| problem.to_string(), ToString::to_string)
}

/// How long to wait before the next attempt; `None`: there is none. `unit` is random, in 0..=1.
fn pause(
    settings: &Settings,
    attempt: u32,
    asked: Option<Duration>,
    unit: f64,
) -> Option<Duration> {
    if attempt >= settings.attempts {
        return None;
    }
    if let Some(asked) = asked {
        return (asked <= settings.longest_pause).then_some(asked);
    }
    let whole = settings
        .back_off
        .saturating_mul(1 << (attempt - 1).min(16))
        .min(settings.longest_pause);
    Some(whole.mul_f64(1.0 - unit / 2.0))
}

/// Not for secrets: spreads the retries of many clients.
fn random_unit() -> f64 {
    let random = std::hash::RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// `Retry-After`: seconds or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    wait::asked(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/html"));
    let start = body.trim_ascii_start();
    let looks = [b"<!doctype html".as_slice(), b"<html"]
        .iter()
        .any(|tag| start.len() >= tag.len() && start[..tag.len()].eq_ignore_ascii_case(tag));
    // A server that calls every file HTML is wrong about the files, not about the page.
    looks || (declared && start.starts_with(b"<"))
}

/// What may be shown of a URL: no user, password, query or fragment.
pub fn redacted(url: &str) -> String {
    if url.starts_with("file://") {
        return url.to_owned();
    }
    let Some(mut parsed) = reqwest::Url::parse(url)
        .ok()
        .filter(|parsed| matches!(parsed.scheme(), "https" | "http"))
    else {
        return "(not an https URL)".to_owned();
    };
    // These fail for URLs that cannot have a user, which then have none.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.set_query(None);
    parsed.set_fragment(None);
    parsed.to_string()
}

/// Whether an API may be asked there: http or https, a host, and nothing that does not belong into
/// a request line or a diagnostic.
pub fn is_endpoint(url: &str) -> bool {
    // A parser is content with any number of slashes, of either kind.
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.starts_with('/'))
        && url.bytes().all(|byte| byte.is_ascii_graphic())
        && reqwest::Url::parse(url).is_ok_and(|parsed| {
            matches!(parsed.scheme(), "https" | "http")
                && parsed.has_host()
                && parsed.username().is_empty()
                && parsed.password().is_none()
                && parsed.query().is_none()
                && parsed.fragment().is_none()
        })
        && !url.contains(['@', '\\'])
}

/// Whether nobody between reads what is sent there: https, or this machine.
pub fn is_private(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let is_here = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

/// What [`is_endpoint`] takes.
pub const ENDPOINT_SAYS: &str = "A URL of ASCII characters that begins with `https://` or `http://`, without user, password, query and fragment";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: reqwest::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn pauses_double_to_a_ceiling_and_lose_at_most_half() {
        let settings = Settings {
            attempts: 9,
            back_off: Duration::from_secs(1),
            longest_pause: Duration::from_secs(20),
            ..Settings::default()
        };
        let seconds = |attempt, asked, unit| {
            pause(&settings, attempt, asked, unit).map(|pause| pause.as_secs_f64())
        };
        for (attempt, asked, unit, expected) in [
            (1, None, 0.0, Some(1.0)),
            (1, None, 1.0, Some(0.5)),
            (3, None, 0.0, Some(4.0)),
            (6, None, 0.0, Some(20.0)),
            (8, None, 1.0, Some(10.0)),
            (9, None, 0.0, None),
            (1, Some(7), 0.0, Some(7.0)),
            (1, Some(20), 1.0, Some(20.0)),
            (1, Some(21), 0.0, None),
        ] {
            let asked = asked.map(Duration::from_secs);
            assert_eq!(seconds(attempt, asked, unit), expected, "attempt {attempt}");
        }
        assert!(
            (0..100)
                .map(|_| random_unit())
                .all(|unit| (0.0..=1.0).contains(&unit))
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Tue, 24 Nov 2026 09:00:00 GMT").unwrap();
        for (value, expected) in [
            ("3", Some(3)),
            ("Tue, 24 Nov 2026 09:00:05 GMT", Some(5)),
            ("Tue, 24 Nov 2026 08:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(
                retry_after(&headers(RETRY_AFTER, value), now),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn nothing_secret_of_a_url_is_shown() {
        assert_eq!(
            redacted("https://user:word@mirror.example/a/version.txt?token=x#y"),
            "https://mirror.example/a/version.txt"
        );
        assert_eq!(redacted("user:word@"), "(not an https URL)");
    }

    #[test]
    fn an_endpoint_is_a_url_that_can_be_asked_and_told() {
        for (url, is_one) in [
            ("http://127.0.0.1:4566", true),
            ("https://ec2.eu-central-1.amazonaws.com/", true),
            ("https://keystone.example:5000/v3", true),
            ("http://[::1]:5000", true),
            ("", false),
            ("foo", false),
            ("foo.example:80", false),
            ("http://", false),
            ("http:///v3", false),
            ("http://\u{fc} b", false),
            ("http://\u{fc}.example", false),
            ("http://a b", false),
            (" http://a", false),
            ("http://a\n", false),
            ("ftp://a", false),
            ("file:///a", false),
            ("http://user:word@a", false),
            ("http://user@a", false),
            ("http://@a", false),
            ("http://a/?b", false),
            ("http://a/#b", false),
        ] {
            assert_eq!(is_endpoint(url), is_one, "{url}");
        }
    }

    #[test]
    fn a_page_is_told_from_a_file() {
        let html = headers(CONTENT_TYPE, "text/html; charset=utf-8");
        let none = HeaderMap::new();
        assert!(is_html(&none, b"\n <!DOCTYPE HTML><title>Sign in</title>"));
        assert!(is_html(&none, b"<html>"));
        assert!(is_html(&html, b"<h1>Down</h1>"));
        assert!(!is_html(&html, b"FLATCAR_BUILD=4593\n"));
        assert!(!is_html(&none, b"{}"));
        assert!(!is_html(&none, b"<ovf:Envelope/>"));
    }

    #[tokio::test]
    async fn a_url_of_another_scheme_is_refused() {
        let client = Client::new(Settings::default());
        for url in ["ftp://a/b", "version.txt", ""] {
            let error = client.get(url, None, 10).await.unwrap_err();
            assert_eq!(error.kind, Kind::BadUrl, "{url}");
        }
    }
}
